-- Counts a sign: ledger_rule_signs.
local subject, sweep = arg(), number()
local row = redis.call('HGET', root .. 'suspects', subject)
local last, signs = 0, 0
if row then
  last, signs = string.match(row, '^(%S+) (%S+)$')
  last, signs = tonumber(last), tonumber(signs)
end
local after = signs + 1
if signs == 0 or sweep > last + 1 then
  after = 1
elseif sweep < last then
  after = 0
elseif sweep == last then
  after = signs
end
if after ~= 0 and not (after == signs and sweep == last) then
  redis.call('HSET', root .. 'suspects', subject, int(sweep) .. ' ' .. int(after))
  redis.call('ZADD', root .. 'suspect_ages', int(now), subject)
end
return {int(now), 'done', after}
