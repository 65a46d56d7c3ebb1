/*
 * The operations of the Redis queue, each an atomic Lua script.
 *
 * The ready messages of a lane are in sorted sets, one of each group and one of all. A list (t) has
 * the groups with ready messages: a receive takes the first group, its first message, and puts the
 * group behind the others. The end of a lease is a score in a sorted set (h), so that the next one
 * to expire is found in O(log n), to know how long to sleep. A message whose lease expired is given
 * before ready ones. A returned message goes behind those of its group. All times are the server's.
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

/* join: the message is ready, behind those of its group. A queue that is emptied while programs run gets
 * its version again with the first message, so that those who look at it later know it for one. */
#define LUA_JOIN                                                                                   \
    "local function join(id, lane, group, turn)\n"                                                 \
    "  local g = Q .. 'g:' .. lane .. ':' .. group\n"                                              \
    "  redis.call('ZADD', Q .. 'r:' .. lane, turn, id)\n"                                          \
    "  redis.call('ZADD', g, turn, id)\n"                                                          \
    "  if redis.call('ZCARD', g) == 1 then redis.call('RPUSH', Q .. 't:' .. lane, group) end\n"    \
    "end\n"                                                                                        \
    "local function next_number()\n"                                                               \
    "  local n = redis.call('INCR', Q .. 'seq')\n"                                                 \
    "  if n == 1 then redis.call('SET', Q .. 'version', " QUEUE_REDIS_VERSION_TEXT ", 'NX') end\n" \
    "  return string.format('%.0f', n)\n"                                                          \
    "end\n"

/* held: the record {lane, key, group} if the caller still holds the lease, else nil. */
#define LUA_HELD                                                                                   \
    "local function held(id, lease)\n"                                                             \
    "  local r = redis.call('HMGET', Q .. 'm:' .. id, 'n', 'p', 'l', 'k', 'g')\n"                  \
    "  if r[1] == lease and r[2] == 'l' then return {r[3], r[4], r[5]} end\n"                      \
    "  return nil\n"                                                                               \
    "end\n"                                                                                        \
    "local function leave(id, r) redis.call('ZREM', Q .. 'h:' .. r[1], id) end\n"                  \
    "local function forget(id, key)\n"                                                             \
    "  redis.call('DEL', Q .. 'm:' .. id)\n"                                                       \
    "  if key ~= '' then redis.call('ZREM', Q .. 'k:' .. key, id) end\n"                           \
    "end\n"

/* ARGV: this program's layout version. Returns the stored layout's version. */
const struct redis_script queue_script_open = {
    "queue open", "#!lua flags=allow-oom\n"
                  "redis.call('SET', KEYS[1] .. ':q:version', ARGV[1], 'NX')\n"
                  "return redis.call('GET', KEYS[1] .. ':q:version')\n"};

/* ARGV: lane, key, group, delay in ms, body for each message. */
const struct redis_script queue_script_put = {
    "queue put",
    "#!lua\n" LUA_BASE LUA_WAKE LUA_JOIN "local ready, delays = {}, {}\n"
    "for i = 1, #ARGV, 5 do\n"
    "  local lane, key, group, delay = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])\n"
    "  local id = next_number()\n"
    "  if not ready[lane] then\n"
    "    ready[lane], delays[lane] = 0, -1\n"
    "    redis.call('SADD', Q .. 'lanes', lane)\n"
    "  end\n"
    "  local place = 'r'\n"
    "  if delay > 0 then\n"
    "    place = 'd'\n"
    "    redis.call('ZADD', Q .. 'd:' .. lane, now + delay, id)\n"
    "    if delays[lane] < 0 or delay < delays[lane] then delays[lane] = delay end\n"
    "  else\n"
    "    join(id, lane, group, id)\n"
    "    ready[lane] = ready[lane] + 1\n"
    "  end\n"
    "  redis.call('HSET', Q .. 'm:' .. id, 'l', lane, 'k', key, 'g', group, 'b', ARGV[i + 4],\n"
    "             'a', 0, 'e', now, 'n', 0, 'p', place)\n"
    "  if key ~= '' then redis.call('ZADD', Q .. 'k:' .. key, id, id) end\n"
    "end\n"
    "for lane, n in pairs(ready) do wake(lane, n, delays[lane]) end\n"
    "return 0\n"};

/* ARGV: lane, max, lease in ms. Returns {ms until the next message is due or -1, the leases' end,
 * {{id, lane, key, attempts, enqueued, body, lease number}, …}}. */
const struct redis_script queue_script_receive = {
    "queue receive",
    "#!lua flags=allow-oom\n" LUA_BASE LUA_JOIN
    "local lane, max, over = ARGV[1], tonumber(ARGV[2]), now + ARGV[3]\n"
    "local h, d, t = Q .. 'h:' .. lane, Q .. 'd:' .. lane, Q .. 't:' .. lane\n"
    "local out = {}\n"
    /* A delayed message that is due joins the end of its group. */
    "local due = redis.call('ZRANGE', d, '-inf', now, 'BYSCORE', 'LIMIT', 0, 256)\n"
    "for _, id in ipairs(due) do\n"
    "  redis.call('ZREM', d, id)\n"
    "  local group = redis.call('HGET', Q .. 'm:' .. id, 'g')\n"
    "  if group then\n"
    "    redis.call('HSET', Q .. 'm:' .. id, 'p', 'r')\n"
    "    join(id, lane, group, next_number())\n"
    "  end\n"
    "end\n"
    "local function give(id)\n"
    "  local m = Q .. 'm:' .. id\n"
    "  local r = redis.call('HMGET', m, 'k', 'a', 'e', 'b')\n"
    "  if not r[4] then\n" /* its record was deleted by hand */
    "    redis.call('ZREM', h, id)\n"
    "    return\n"
    "  end\n"
    "  local lease = redis.call('HINCRBY', m, 'n', 1)\n"
    "  redis.call('HSET', m, 'p', 'l')\n"
    "  redis.call('ZADD', h, over, id)\n"
    "  out[#out + 1] = {id, lane, r[1], r[2], r[3], r[4], lease}\n"
    "end\n"
    "for _, id in ipairs(redis.call('ZRANGE', h, '-inf', now, 'BYSCORE', 'LIMIT', 0, max)) do\n"
    "  give(id)\n"
    "end\n"
    "while #out < max do\n"
    "  local group = redis.call('LPOP', t)\n"
    "  if not group then break end\n"
    "  local g = Q .. 'g:' .. lane .. ':' .. group\n"
    "  local first = redis.call('ZPOPMIN', g)[1]\n"
    "  if redis.call('ZCARD', g) > 0 then redis.call('RPUSH', t, group) end\n"
    "  if first then\n"
    "    redis.call('ZREM', Q .. 'r:' .. lane, first)\n"
    "    give(first)\n"
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
    "queue nack", "#!lua flags=allow-oom\n" LUA_BASE LUA_WAKE LUA_HELD LUA_JOIN
                  "local id, delay = ARGV[1], tonumber(ARGV[3])\n"
                  "local m = Q .. 'm:' .. id\n"
                  "local r = held(id, ARGV[2])\n"
                  "if not r then return 0 end\n"
                  "redis.call('HINCRBY', m, 'n', 1)\n"
                  "redis.call('HINCRBY', m, 'a', ARGV[4])\n"
                  "if ARGV[5] == '1' then redis.call('HSET', m, 'r', ARGV[6]) end\n"
                  "leave(id, r)\n"
                  "if delay > 0 then\n"
                  "  redis.call('ZADD', Q .. 'd:' .. r[1], now + delay, id)\n"
                  "  redis.call('HSET', m, 'p', 'd')\n"
                  "  wake(r[1], 0, delay)\n"
                  "else\n" /* behind those never tried */
                  "  redis.call('HSET', m, 'p', 'r')\n"
                  "  join(id, r[1], r[3], next_number())\n"
                  "  wake(r[1], 1, -1)\n"
                  "end\n"
                  "return 1\n"};

/* ARGV: id, lease number, reason, attempts. Returns 1, or 0 if the lease was lost. */
const struct redis_script queue_script_dead_letter = {
    "queue dead_letter", "#!lua flags=allow-oom\n" LUA_BASE LUA_HELD "local id = ARGV[1]\n"
                         "local r = held(id, ARGV[2])\n"
                         "if not r then return 0 end\n"
                         "leave(id, r)\n"
                         "redis.call('HINCRBY', Q .. 'm:' .. id, 'n', 1)\n"
                         "redis.call('HSET', Q .. 'm:' .. id, 'p', 'x', 'u', now, 'r', ARGV[3],\n"
                         "           'a', ARGV[4],\n"
                         "           's', redis.call('XADD', Q .. 'x:' .. r[1], '*', 'i', id))\n"
                         "return 1\n"};

/* --- status, dead letters, search --- */
/* record: as redis/admin.c reads it, {id, lane, key, attempts, enqueued, body, place, due,
 * dead-lettered, reason, ahead}. */
#define LUA_ADMIN                                                                                  \
    "local function count_due(set) return redis.call('ZCOUNT', set, '-inf', now) end\n"            \
    "local function ahead(id, lane, group)\n"                                                      \
    "  local g, h, d = Q .. 'g:' .. lane .. ':' .. group, Q .. 'h:' .. lane, Q .. 'd:' .. lane\n"  \
    "  local rank = redis.call('ZRANK', h, id)\n"                                                  \
    "  if rank then return rank end\n"                                                             \
    "  rank = redis.call('ZRANK', d, id)\n"                                                        \
    "  if rank then return redis.call('ZCARD', g) + count_due(h) + rank end\n"                     \
    "  return count_due(h) + (redis.call('ZRANK', g, id) or 0)\n"                                  \
    "end\n"                                                                                        \
    "local function record(id)\n"                                                                  \
    "  local r = redis.call('HMGET', Q .. 'm:' .. id, 'l', 'k', 'a', 'e', 'b', 'p', 'g', 'u',\n"   \
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
    "  local r, h, d = Q .. 'r:' .. lane, Q .. 'h:' .. lane, Q .. 'd:' .. lane\n"
    "  local held, delayed = redis.call('ZCARD', h), redis.call('ZCARD', d)\n"
    "  local over, due = count_due(h), count_due(d)\n"
    "  local fresh = redis.call('ZCARD', r)\n"
    "  local dead = redis.call('XLEN', Q .. 'x:' .. lane)\n"
    "  local first = {}\n"
    "  if over > 0 then first[1] = redis.call('ZRANGE', h, 0, 0)[1] end\n"
    "  if due > 0 then first[#first + 1] = redis.call('ZRANGE', d, 0, 0)[1] end\n"
    "  if fresh > 0 then first[#first + 1] = redis.call('ZRANGE', r, 0, 0)[1] end\n"
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
    "queue redrive",
    "#!lua flags=allow-oom\n" LUA_BASE LUA_WAKE LUA_JOIN "local m = Q .. 'm:' .. ARGV[1]\n"
    "local r = redis.call('HMGET', m, 'p', 'l', 's', 'g')\n"
    "if r[1] ~= 'x' then return 0 end\n"
    "redis.call('XDEL', Q .. 'x:' .. r[2], r[3])\n"
    "redis.call('HSET', m, 'p', 'r', 'a', 0, 'u', 0)\n"
    "join(ARGV[1], r[2], r[4], next_number())\n"
    "wake(r[2], 1, -1)\n"
    "return 1\n"};

const struct redis_script queue_script_delete = {
    "queue delete", "#!lua flags=allow-oom\n" LUA_BASE LUA_HELD
                    "local r = redis.call('HMGET', Q .. 'm:' .. ARGV[1], 'p', 'l', 's', 'k')\n"
                    "if r[1] ~= 'x' then return 0 end\n"
                    "redis.call('XDEL', Q .. 'x:' .. r[2], r[3])\n"
                    "forget(ARGV[1], r[4])\n"
                    "return 1\n"};
