-- Takes or renews a lease: ledger_rule_lease, on the server's clock.
local name, holder, ttl = arg(), arg(), number()
local row = redis.call('HGET', root .. 'leases', name) or '\0000\0000'
local held_by, ends, fence = string.match(row, '^([^%z]*)%z([^%z]*)%z(.*)$')
if held_by ~= holder and held_by ~= '' and tonumber(ends) > now then
  return {int(now), 'done', 0, fence}
end
if held_by ~= holder then
  fence = int(tonumber(fence) + 1)
end
redis.call('HSET', root .. 'leases', name, table.concat({holder, int(now + ttl), fence}, '\0'))
return {int(now), 'done', 1, fence}
