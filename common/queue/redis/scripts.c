/*
 * The operations of the Redis queue, each an atomic Lua script.
 *
 * A lane is a stream read by one consumer group. The end of a lease is a score in a sorted set (h),
 * not the stream's idle time: XAUTOCLAIM has one idle time for all entries and walks the whole
 * pending list. Leases here differ by message and can be extended, and the next one to expire must
 * be found in O(log n) to know how long to sleep. An entry whose lease expired is claimed by its id
 * (XCLAIM) before new entries are read, so it keeps its place ahead of later ones. A returned
 * message gets a new entry, at the end. All times are the server's.
 *
 * Every script except put frees memory in the end, so it runs on a full server too (allow-oom). On
 * a full server put is rejected before it has written anything.
 */
#include "common/queue/redis/internal.h"

#define LUA_BASE                                                                                   \
    "local Q = KEYS[1] .. ':q:'\n"                                                                 \
    "local clock = redis.call('TIME')\n"                                                           \
    "local now = clock[1] * 1000 + math.floor(clock[2] / 1000)\n"

/* pcall: without permission for the channel a put still succeeds, and the receivers poll. */
#define LUA_WAKE                                                                                   \
    "local function wake(lane, ready, delay)\n"                                                    \
    "  redis.pcall('PUBLISH', Q .. 'wake', lane .. ' ' .. ready .. ' ' .. delay)\n"                \
    "end\n"

/* held: the record {lane, key, entry} if the caller still holds the lease, else nil. */
#define LUA_HELD                                                                                   \
    "local function held(id, lease)\n"                                                             \
    "  local r = redis.call('HMGET', Q .. 'm:' .. id, 'n', 'p', 'l', 'k', 's')\n"                  \
    "  if r[1] == lease and r[2] == 'l' then return {r[3], r[4], r[5]} end\n"                      \
    "  return nil\n"                                                                               \
    "end\n"                                                                                        \
    "local function leave(id, r)\n" /* removes the entry from its lane's stream and leases */      \
    "  redis.call('XACK', Q .. 's:' .. r[1], 'mayfly', r[3])\n"                                    \
    "  redis.call('XDEL', Q .. 's:' .. r[1], r[3])\n"                                              \
    "  redis.call('ZREM', Q .. 'h:' .. r[1], id)\n"                                                \
    "end\n"                                                                                        \
    "local function forget(id, key)\n"                                                             \
    "  redis.call('DEL', Q .. 'm:' .. id)\n"                                                       \
    "  if key ~= '' then redis.call('ZREM', Q .. 'k:' .. key, id) end\n"                           \
    "end\n"

/* ARGV: this program's layout version. Returns the stored layout's version. */
const struct redis_script queue_script_open = {
    "queue open", "#!lua flags=allow-oom\n"
                  "redis.call('SET', KEYS[1] .. ':q:version', ARGV[1], 'NX')\n"
                  "return redis.call('GET', KEYS[1] .. ':q:version')\n"};

/* ARGV: lane, key, delay in ms, body for each message. */
const struct redis_script queue_script_put = {
    "queue put",
    "#!lua\n" LUA_BASE LUA_WAKE "local ready, delays = {}, {}\n"
    "for i = 1, #ARGV, 4 do\n"
    "  local lane, key, delay = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])\n"
    "  local id = string.format('%.0f', redis.call('INCR', Q .. 'seq'))\n"
    "  if not ready[lane] then\n"
    "    ready[lane], delays[lane] = 0, -1\n"
    "    if redis.call('SADD', Q .. 'lanes', lane) == 1 then\n"
    "      redis.pcall('XGROUP', 'CREATE', Q .. 's:' .. lane, 'mayfly', '0', 'MKSTREAM')\n"
    "    end\n"
    "  end\n"
    "  local place, entry = 'r', ''\n"
    "  if delay > 0 then\n"
    "    place = 'd'\n"
    "    redis.call('ZADD', Q .. 'd:' .. lane, now + delay, id)\n"
    "    if delays[lane] < 0 or delay < delays[lane] then delays[lane] = delay end\n"
    "  else\n"
    "    entry = redis.call('XADD', Q .. 's:' .. lane, '*', 'i', id)\n"
    "    ready[lane] = ready[lane] + 1\n"
    "  end\n"
    "  redis.call('HSET', Q .. 'm:' .. id, 'l', lane, 'k', key, 'b', ARGV[i + 3], 'a', 0,\n"
    "             'e', now, 'n', 0, 'p', place, 's', entry)\n"
    "  if key ~= '' then redis.call('ZADD', Q .. 'k:' .. key, id, id) end\n"
    "end\n"
    "for lane, n in pairs(ready) do wake(lane, n, delays[lane]) end\n"
    "return 0\n"};

/* ARGV: lane, max, lease in ms. Returns {ms until the next message is due or -1, the leases' end,
 * {{id, lane, key, attempts, enqueued, body, lease number}, …}}. */
const struct redis_script queue_script_receive = {
    "queue receive",
    "#!lua flags=allow-oom\n" LUA_BASE
    "local lane, max, over = ARGV[1], tonumber(ARGV[2]), now + ARGV[3]\n"
    "local s, h, d = Q .. 's:' .. lane, Q .. 'h:' .. lane, Q .. 'd:' .. lane\n"
    "local out = {}\n"
    /* A delayed message that is due joins the end of the lane. */
    "local due = redis.call('ZRANGE', d, '-inf', now, 'BYSCORE', 'LIMIT', 0, 256)\n"
    "for _, id in ipairs(due) do\n"
    "  redis.call('ZREM', d, id)\n"
    "  redis.call('HSET', Q .. 'm:' .. id, 'p', 'r', 's', redis.call('XADD', s, '*', 'i', id))\n"
    "end\n"
    "local function give(id, entry)\n"
    "  local m = Q .. 'm:' .. id\n"
    "  local r = redis.call('HMGET', m, 'k', 'a', 'e', 'b')\n"
    "  if not r[4] then\n" /* an entry whose record was deleted by hand */
    "    redis.call('ZREM', h, id)\n"
    "    if entry then redis.call('XACK', s, 'mayfly', entry) redis.call('XDEL', s, entry) end\n"
    "    return\n"
    "  end\n"
    "  local lease = redis.call('HINCRBY', m, 'n', 1)\n"
    "  redis.call('HSET', m, 'p', 'l')\n"
    "  redis.call('ZADD', h, over, id)\n"
    "  out[#out + 1] = {id, lane, r[1], r[2], r[3], r[4], lease}\n"
    "end\n"
    "for _, id in ipairs(redis.call('ZRANGE', h, '-inf', now, 'BYSCORE', 'LIMIT', 0, max)) do\n"
    "  local entry = redis.call('HGET', Q .. 'm:' .. id, 's')\n"
    "  if entry then redis.call('XCLAIM', s, 'mayfly', 'mayfly', 0, entry, 'JUSTID') end\n"
    "  give(id, entry)\n"
    "end\n"
    "if #out < max and redis.call('EXISTS', s) == 1 then\n"
    "  local new = redis.call('XREADGROUP', 'GROUP', 'mayfly', 'mayfly', 'COUNT', max - #out,\n"
    "                         'STREAMS', s, '>')\n"
    "  if new then\n"
    "    for _, e in ipairs(new[1][2]) do give(e[2][2], e[1]) end\n"
    "  end\n"
    "end\n"
    "local left = -1\n"
    "for _, z in ipairs({h, d}) do\n"
    "  local first = redis.call('ZRANGE', z, 0, 0, 'WITHSCORES')\n"
    "  if first[2] and (left < 0 or first[2] - now < left) then\n"
    "    left = math.max(first[2] - now, 0)\n"
    "  end\n"
    "end\n"
    "return {left, over, out}\n"};

/* ARGV: id, lease number for each message. Returns how many leases were lost. */
const struct redis_script queue_script_ack = {
    "queue ack", "#!lua flags=allow-oom\n" LUA_BASE LUA_HELD "local lost = 0\n"
                 "for i = 1, #ARGV, 2 do\n"
                 "  local r = held(ARGV[i], ARGV[i + 1])\n"
                 "  if r then\n"
                 "    leave(ARGV[i], r)\n"
                 "    forget(ARGV[i], r[2])\n"
                 "  else\n"
                 "    lost = lost + 1\n"
                 "  end\n"
                 "end\n"
                 "return lost\n"};

/* ARGV: id, lease number, lease in ms. Returns the lease's new end, or 0 if the lease was lost. */
const struct redis_script queue_script_extend = {
    "queue extend", "#!lua flags=allow-oom\n" LUA_BASE LUA_HELD "local r = held(ARGV[1], ARGV[2])\n"
                    "if not r then return 0 end\n"
                    "redis.call('ZADD', Q .. 'h:' .. r[1], now + ARGV[3], ARGV[1])\n"
                    "return now + ARGV[3]\n"};

/* ARGV: id, lease number, delay in ms, attempts to add, whether a reason follows, reason. Returns
 * 1, or 0 if the lease was lost. */
const struct redis_script queue_script_nack = {
    "queue nack", "#!lua flags=allow-oom\n" LUA_BASE LUA_WAKE LUA_HELD
                  "local id, delay = ARGV[1], tonumber(ARGV[3])\n"
                  "local m = Q .. 'm:' .. id\n"
                  "local r = held(id, ARGV[2])\n"
                  "if not r then return 0 end\n"
                  "redis.call('HINCRBY', m, 'n', 1)\n"
                  "redis.call('HINCRBY', m, 'a', ARGV[4])\n"
                  "if ARGV[5] == '1' then redis.call('HSET', m, 'r', ARGV[6]) end\n"
                  "if delay > 0 then\n"
                  "  leave(id, r)\n"
                  "  redis.call('ZADD', Q .. 'd:' .. r[1], now + delay, id)\n"
                  "  redis.call('HSET', m, 'p', 'd', 's', '')\n"
                  "  wake(r[1], 0, delay)\n"
                  "else\n" /* behind those never tried */
                  "  leave(id, r)\n"
                  "  redis.call('HSET', m, 'p', 'r',\n"
                  "             's', redis.call('XADD', Q .. 's:' .. r[1], '*', 'i', id))\n"
                  "  wake(r[1], 1, -1)\n"
                  "end\n"
                  "return 1\n"};

/* ARGV: id, lease number, reason. Returns 1, or 0 if the lease was lost. */
const struct redis_script queue_script_dead_letter = {
    "queue dead_letter", "#!lua flags=allow-oom\n" LUA_BASE LUA_HELD "local id = ARGV[1]\n"
                         "local r = held(id, ARGV[2])\n"
                         "if not r then return 0 end\n"
                         "leave(id, r)\n"
                         "redis.call('HINCRBY', Q .. 'm:' .. id, 'n', 1)\n"
                         "redis.call('HSET', Q .. 'm:' .. id, 'p', 'x', 'u', now, 'r', ARGV[3],\n"
                         "           's', redis.call('XADD', Q .. 'x:' .. r[1], '*', 'i', id))\n"
                         "return 1\n"};

/* --- status, dead letters, search --- */
/* delivered: the last entry of the lane that was ever delivered. record: as redis/admin.c reads it,
 * {id, lane, key, attempts, enqueued, body, place, due, dead-lettered, reason, ahead}. */
#define LUA_ADMIN                                                                                  \
    "local function delivered(lane)\n"                                                             \
    "  local groups = redis.pcall('XINFO', 'GROUPS', Q .. 's:' .. lane)\n"                         \
    "  local g = groups[1] or {}\n"                                                                \
    "  for i = 1, #g, 2 do\n"                                                                      \
    "    if g[i] == 'last-delivered-id' then return g[i + 1] end\n"                                \
    "  end\n"                                                                                      \
    "  return '0-0'\n"                                                                             \
    "end\n"                                                                                        \
    "local function count_due(set) return redis.call('ZCOUNT', set, '-inf', now) end\n"            \
    "local function ahead(id, lane, entry)\n"                                                      \
    "  local s, h, d = Q .. 's:' .. lane, Q .. 'h:' .. lane, Q .. 'd:' .. lane\n"                  \
    "  local rank = redis.call('ZRANK', h, id)\n"                                                  \
    "  if rank then return rank end\n"                                                             \
    "  rank = redis.call('ZRANK', d, id)\n"                                                        \
    "  if rank then\n"                                                                             \
    "    return redis.call('XLEN', s) - redis.call('ZCARD', h) + count_due(h) + rank\n"            \
    "  end\n"                                                                                      \
    "  local before = #redis.call('XRANGE', s, '(' .. delivered(lane), '(' .. entry,\n"            \
    "                             'COUNT', 1001)\n"                                                \
    "  return before > 1000 and -1 or count_due(h) + before\n"                                     \
    "end\n"                                                                                        \
    "local function record(id)\n"                                                                  \
    "  local r = redis.call('HMGET', Q .. 'm:' .. id, 'l', 'k', 'a', 'e', 'b', 'p', 's', 'u',\n"   \
    "                       'r')\n"                                                                \
    "  if not r[5] then return nil end\n"                                                          \
    "  local place, due, line = r[6], 0, -1\n"                                                     \
    "  if place == 'l' or place == 'd' then\n"                                                     \
    "    local set = Q .. (place == 'l' and 'h:' or 'd:') .. r[1]\n"                               \
    "    due = tonumber(redis.call('ZSCORE', set, id) or '0')\n"                                   \
    "    if due <= now then place, due = 'r', 0 end\n"                                             \
    "  end\n"                                                                                      \
    "  if place == 'r' then line = ahead(id, r[1], r[7]) end\n"                                    \
    "  return {id, r[1], r[2], r[3], r[4], r[5], place, due, r[8] or 0, r[9] or '', line}\n"       \
    "end\n"

/* ARGV: lane, or "" for all that hold messages. Returns {{lane, ready, leased, delayed, dead, age
 * of the oldest ready}, …}. */
const struct redis_script queue_script_depths = {
    "queue depths",
    "#!lua flags=no-writes\n" LUA_BASE LUA_ADMIN "local lanes, out = {ARGV[1]}, {}\n"
    "if ARGV[1] == '' then lanes = redis.call('SMEMBERS', Q .. 'lanes') end\n"
    "for _, lane in ipairs(lanes) do\n"
    "  local s, h, d = Q .. 's:' .. lane, Q .. 'h:' .. lane, Q .. 'd:' .. lane\n"
    "  local held, delayed = redis.call('ZCARD', h), redis.call('ZCARD', d)\n"
    "  local over, due = count_due(h), count_due(d)\n"
    "  local fresh = redis.call('XLEN', s) - held\n"
    "  local dead = redis.call('XLEN', Q .. 'x:' .. lane)\n"
    "  local first = {}\n"
    "  if over > 0 then first[1] = redis.call('ZRANGE', h, 0, 0)[1] end\n"
    "  if due > 0 then first[#first + 1] = redis.call('ZRANGE', d, 0, 0)[1] end\n"
    "  if fresh > 0 then\n"
    "    local e = redis.call('XRANGE', s, '(' .. delivered(lane), '+', 'COUNT', 1)[1]\n"
    "    if e then first[#first + 1] = e[2][2] end\n"
    "  end\n"
    "  local age = 0\n"
    "  for _, id in ipairs(first) do\n"
    "    age = math.max(age, now - (redis.call('HGET', Q .. 'm:' .. id, 'e') or now))\n"
    "  end\n"
    "  if ARGV[1] ~= '' or fresh + held + delayed + dead > 0 then\n"
    "    out[#out + 1] = {lane, fresh + over + due, held - over, delayed - due, dead, age}\n"
    "  end\n"
    "end\n"
    "return out\n"};

/* ARGV: lane, the entry of the dead stream to start after ("-" from the start), how many. Returns
 * {the last entry or "" at the end, {record, …}}; with the lane "", {the lanes}. */
const struct redis_script queue_script_dead = {
    "queue dead", "#!lua flags=no-writes\n" LUA_BASE LUA_ADMIN
                  "if ARGV[1] == '' then return redis.call('SMEMBERS', Q .. 'lanes') end\n"
                  "local from = ARGV[2] == '-' and '-' or '(' .. ARGV[2]\n"
                  "local out, last = {}, ''\n"
                  "local entries = redis.call('XRANGE', Q .. 'x:' .. ARGV[1], from, '+',\n"
                  "                           'COUNT', ARGV[3])\n"
                  "for _, e in ipairs(entries) do\n"
                  "  last = e[1]\n"
                  "  out[#out + 1] = record(e[2][2])\n"
                  "end\n"
                  "return {last, out}\n"};

/* ARGV: key, the id to start after, how many. Returns as queue_script_dead, with an id. */
const struct redis_script queue_script_find = {
    "queue find", "#!lua flags=no-writes\n" LUA_BASE LUA_ADMIN "local out, last = {}, ''\n"
                  "local ids = redis.call('ZRANGE', Q .. 'k:' .. ARGV[1], '(' .. ARGV[2], '+inf',\n"
                  "                       'BYSCORE', 'LIMIT', 0, ARGV[3])\n"
                  "for _, id in ipairs(ids) do\n"
                  "  last = id\n"
                  "  out[#out + 1] = record(id)\n"
                  "end\n"
                  "return {last, out}\n"};

/* ARGV: id. Both return 1, or 0 if no dead letter has it. */
const struct redis_script queue_script_redrive = {
    "queue redrive", "#!lua flags=allow-oom\n" LUA_BASE LUA_WAKE "local m = Q .. 'm:' .. ARGV[1]\n"
                     "local r = redis.call('HMGET', m, 'p', 'l', 's')\n"
                     "if r[1] ~= 'x' then return 0 end\n"
                     "redis.call('XDEL', Q .. 'x:' .. r[2], r[3])\n"
                     "redis.call('HSET', m, 'p', 'r', 'a', 0, 'u', 0,\n"
                     "           's', redis.call('XADD', Q .. 's:' .. r[2], '*', 'i', ARGV[1]))\n"
                     "wake(r[2], 1, -1)\n"
                     "return 1\n"};

const struct redis_script queue_script_delete = {
    "queue delete", "#!lua flags=allow-oom\n" LUA_BASE LUA_HELD
                    "local r = redis.call('HMGET', Q .. 'm:' .. ARGV[1], 'p', 'l', 's', 'k')\n"
                    "if r[1] ~= 'x' then return 0 end\n"
                    "redis.call('XDEL', Q .. 'x:' .. r[2], r[3])\n"
                    "forget(ARGV[1], r[4])\n"
                    "return 1\n"};
