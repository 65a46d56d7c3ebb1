-- The rows of what stands in a range of an index, with their names.
local index, hash, command = root .. arg(), root .. arg(), arg()
local range = {}
for i = 1, number() do
  range[i] = arg()
end
local names = redis.call(command, index, unpack(range))
local rows = {}
if #names > 0 then
  for i, row in ipairs(redis.call('HMGET', hash, unpack(names))) do
    rows[i] = row or ''
  end
end
return {int(now), 'done', names, rows}
