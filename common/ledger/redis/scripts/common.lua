-- What the ledger's scripts share; it stands before each of them. KEYS[1] is the deployment's root:
-- all its keys begin with that one hash tag. ARGV[1] is always the time that a test gives, or empty
-- for the server's own clock.
local root = KEYS[1] .. ':l:'
local cursor = 1

local function arg()
  local value = ARGV[cursor]
  cursor = cursor + 1
  return value
end

local function number()
  return tonumber(arg())
end

local function clock()
  local given = arg()
  if given ~= '' then
    return tonumber(given)
  end
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local now = clock()

local function int(n)
  return string.format('%.0f', n)
end

local function count(key, field)
  return tonumber(redis.call('HGET', root .. key, field) or '0')
end

-- --- rows that must be as the caller knew them ---
local CLOCK_SKEW_MS = 5000

-- Returns nil if they are, else the answer: what each of them is now. The clock counts as a row: a
-- step that was decided by another time than the server's is decided anew.
local function moved_on()
  local same = true
  local rows = {}
  for i = 1, number() do
    local key, field, expected = arg(), arg(), arg()
    local row = ''
    if key == 'clock' then
      same = same and math.abs(now - tonumber(expected)) <= CLOCK_SKEW_MS
    else
      row = redis.call('HGET', root .. key, field) or ''
      same = same and row == expected
    end
    rows[i] = row
  end
  if same then
    return nil
  end
  return {int(now), 'moved', rows}
end

-- --- writes ---
-- A count that nothing needs any more leaves no field behind; what else stands under its name in
-- another hash goes with it.
local function tally(key, field, by, companion)
  if redis.call('HINCRBY', key, field, by) == 0 then
    redis.call('HDEL', key, field)
    if companion then
      redis.call('HDEL', companion, field)
    end
  end
end

-- One line of a timeline, unless its last one says the same. Beyond `most`, the oldest but the
-- `first` goes.
local function log_line(key, most, first, job, vm, text)
  local last = redis.call('LINDEX', key, -1)
  if last and string.match(last, '^[^%z]*%z[^%z]*%z[^%z]*%z[^%z]*%z(.*)$') == text then
    return false
  end
  local seq = redis.call('HINCRBY', root .. 'meta', 'seq', 1)
  local line = table.concat({int(seq), int(now), job, vm, text}, '\0')
  if redis.call('RPUSH', key, line) > most then
    redis.call('LSET', key, first, '')
    redis.call('LREM', key, 1, '')
  end
  return true
end

-- A store that is emptied while programs run is a ledger again with the first write: else nobody who looks
-- at it later would know it for one. Looked at first: a full server refuses a write that changes nothing too.
local function apply()
  if redis.call('HEXISTS', root .. 'meta', 'format') == 0 then
    redis.call('HSET', root .. 'meta', 'format', 1)
  end
  for _ = 1, number() do
    local n, what, key = number(), arg(), root .. arg()
    local rest = {}
    for i = 1, n do
      rest[i] = arg()
    end
    if what == 'tally' then
      tally(key, rest[1], rest[2], rest[3] and root .. rest[3])
    elseif what == 'log_line' then
      log_line(key, tonumber(rest[1]), tonumber(rest[2]), rest[3], rest[4], rest[5])
    elseif what == 'freed' then
      -- Nothing rests on the note, and not every user may publish.
      redis.pcall('PUBLISH', root .. 'freed', redis.call('HINCRBY', key, 'freed', 1))
    else
      redis.call(what, key, unpack(rest))
    end
  end
end

-- --- rate buckets: the same rules as rules.c's, on the server's clock ---
local CLOCK_STEP_MS = 60000
local FULL = 1e15
local FAR_MS = 1e15
local TOKEN_DUST = 1e-6

local function bucket_load(name)
  local row = redis.call('HGET', root .. 'buckets', name)
  if not row then
    return {tokens = FULL, at = now, paused = 0}
  end
  local tokens, at, paused = string.match(row, '^(%S+) (%S+) (%S+)$')
  return {tokens = tonumber(tokens), at = tonumber(at), paused = tonumber(paused)}
end

-- `ages` is for tidying: a bucket is idle when neither its tokens nor its pause are news.
local function bucket_save(name, b)
  redis.call('HSET', root .. 'buckets', name,
              string.format('%.17g %.0f %.0f', b.tokens, b.at, b.paused))
  redis.call('ZADD', root .. 'bucket_ages', int(math.max(b.at, b.paused)), name)
end

local function clock_set_back(b)
  return b.at - now > CLOCK_STEP_MS
end

local function bucket_refill(b, per_second, burst)
  if per_second <= 0 then
    return
  end
  local elapsed = math.max(0, now - b.at)
  b.tokens = b.tokens + elapsed * per_second / 1000
  if elapsed > 0 or clock_set_back(b) then
    b.at = now
  end
  b.tokens = math.min(b.tokens, math.max(1, burst))
end

local function bucket_wait(b, per_second, cost)
  local pause = math.max(0, b.paused - now)
  local missing = cost - b.tokens
  if per_second <= 0 or missing <= TOKEN_DUST then
    return pause
  end
  local ms = math.ceil(missing / per_second * 1000 - TOKEN_DUST) + (b.at - now)
  if ms >= FAR_MS then
    return math.max(pause, FAR_MS)
  end
  return math.max(pause, math.max(1, ms))
end

local function bucket_spend(b, per_second, cost)
  if per_second > 0 then
    b.tokens = math.max(0, b.tokens - cost)
  end
end

-- The two buckets that a launch takes from, refilled, and how long until both have a token.
local function launch_rate(names, rates)
  local both = {set_back = false, wait = 0}
  for i = 1, 2 do
    local b = bucket_load(names[i])
    both.set_back = both.set_back or clock_set_back(b)
    bucket_refill(b, rates[i].per_second, rates[i].burst)
    both.wait = math.max(both.wait, bucket_wait(b, rates[i].per_second, 1))
    both[i] = b
  end
  return both
end

local function launch_rate_save(names, rates, both)
  for i = 1, 2 do
    if rates[i].per_second > 0 then
      bucket_save(names[i], both[i])
    end
  end
end
