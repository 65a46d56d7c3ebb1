-- Takes tokens of a bucket.
local name, per_second, burst, cost = arg(), number(), number(), number()
local b = bucket_load(name)
local set_back = clock_set_back(b)
bucket_refill(b, per_second, burst)
local wait = bucket_wait(b, per_second, cost)
if wait == 0 then
  bucket_spend(b, per_second, cost)
end
if per_second > 0 and (wait == 0 or set_back) then
  bucket_save(name, b)
end
return {int(now), 'done', int(wait)}
