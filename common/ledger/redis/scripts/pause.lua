-- Closes a bucket for so many ms from now; never shortens an earlier pause.
local name, for_ms = arg(), number()
local b = bucket_load(name)
if b.paused < now + for_ms then
  b.paused = now + for_ms
  bucket_save(name, b)
end
return {int(now), 'done'}
