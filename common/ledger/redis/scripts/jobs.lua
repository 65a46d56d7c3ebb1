-- The entries of an index of jobs that follow a given one, which need not exist any more, with their rows.
-- Where they begin is found by halving, so that the index may have any size.
local index, command = root .. arg(), arg()
local after_score, after_id, max = number(), arg(), number()
local newest_first = command == 'ZREVRANGE'

local function follows(rank)
  local entry = redis.call(command, index, rank, rank, 'WITHSCORES')
  local id, score = entry[1], tonumber(entry[2])
  if score ~= after_score then
    return (score > after_score) ~= newest_first
  end
  return id ~= after_id and (id > after_id) ~= newest_first
end

local low, high = 0, redis.call('ZCARD', index)
while low < high do
  local middle = math.floor((low + high) / 2)
  if follows(middle) then
    high = middle
  else
    low = middle + 1
  end
end
local found = redis.call(command, index, low, low + max - 1, 'WITHSCORES')
local names, rows, scores = {}, {}, {}
for i = 1, #found, 2 do
  names[#names + 1] = found[i]
  scores[#scores + 1] = int(tonumber(found[i + 1]))
end
if #names > 0 then
  for i, row in ipairs(redis.call('HMGET', root .. 'jobs', unpack(names))) do
    rows[i] = row or ''
  end
end
return {int(now), 'done', names, rows, scores}
