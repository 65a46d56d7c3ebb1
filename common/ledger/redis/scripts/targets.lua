-- Of each target, its slots in use and how long until its bucket has a launch token.
local answer = {int(now), 'done'}
for _ = 1, number() do
  local target, bucket, per_second, burst = arg(), arg(), number(), number()
  local b = bucket_load(bucket)
  local set_back = clock_set_back(b)
  bucket_refill(b, per_second, burst)
  -- As in capacity.lua.
  if set_back and per_second > 0 then
    bucket_save(bucket, b)
  end
  answer[#answer + 1] = count('targets', target)
  answer[#answer + 1] = int(bucket_wait(b, per_second, 1))
end
return answer
