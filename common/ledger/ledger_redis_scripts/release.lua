-- Gives a lease back, if it is the holder's; its fence stays.
local name, holder = arg(), arg()
local row = redis.call('HGET', root .. 'leases', name)
if row then
  local held_by, _, fence = string.match(row, '^([^%z]*)%z([^%z]*)%z(.*)$')
  if held_by == holder then
    redis.call('HSET', root .. 'leases', name, table.concat({'', '0', fence}, '\0'))
  end
end
return {int(now), 'done'}
