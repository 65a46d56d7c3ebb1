#include "common/redis/store.h"
#include "tests/bench/fleet/lay.h"
#include "tests/bench/ledger/ways.h"

/* ARGV: the model's id and VM, the first copy's id, then a VM's name for each copy. The model being
 * alone, what is counted of it is every count of one. */
static const struct redis_script copying = {
    .name = "bench lay",
    .text = "local at = KEYS[1] .. ':l:'\n"
            "local model, model_vm, first, n = ARGV[1], ARGV[2], tonumber(ARGV[3]), #ARGV - 3\n"
            "local function wide(id) return string.format('%020d', id) end\n"
            "local function plain(text) return (text:gsub('%p', '%%%0')) end\n"
            "local model_wide = wide(model)\n"
            "local lines_of = {j = redis.call('LRANGE', at .. 'lines:j:' .. model_wide, 0, -1),\n"
            "  v = redis.call('LRANGE', at .. 'lines:v:' .. model_vm, 0, -1)}\n"
            "local job = redis.call('HGET', at .. 'jobs', model_wide)\n"
            "local vm = redis.call('HGET', at .. 'vms', model_vm)\n"
            "local ended = redis.call('ZSCORE', at .. 'ended', model_wide)\n"
            "local gone = redis.call('ZSCORE', at .. 'gone', model_vm)\n"
            "for i = 0, n - 1 do\n"
            "  local id, name = string.format('%d', first + i), ARGV[4 + i]\n"
            "  local function as_copy(text)\n"
            "    return (text:gsub(model, id):gsub(plain(model_vm), name))\n"
            "  end\n"
            "  redis.call('HSET', at .. 'jobs', wide(id), as_copy(job))\n"
            "  redis.call('ZADD', at .. 'ended', ended, wide(id))\n"
            "  redis.call('HSET', at .. 'vms', name, as_copy(vm))\n"
            "  redis.call('ZADD', at .. 'gone', gone, name)\n"
            "  redis.call('ZADD', at .. 'names', 0, name)\n"
            "  redis.call('SADD', at .. 'job_vms:' .. wide(id), name)\n"
            "  redis.call('SADD', at .. 'vm_jobs:' .. name, wide(id))\n"
            "  for kind, key in pairs({j = wide(id), v = name}) do\n"
            "    for _, line in ipairs(lines_of[kind]) do\n"
            "      redis.call('RPUSH', at .. 'lines:' .. kind .. ':' .. key, as_copy(line))\n"
            "    end\n"
            "  end\n"
            "end\n"
            "for _, key in ipairs({'counts', 'scope_vms'}) do\n"
            "  for _, field in ipairs(redis.call('HKEYS', at .. key)) do\n"
            "    redis.call('HINCRBY', at .. key, field, n)\n"
            "  end\n"
            "end\n"
            "redis.call('HINCRBY', at .. 'meta', 'freed', n)\n",
};

static void copy_some(struct redis_store *s, const char *model_vm, int64_t first, int64_t n)
{
    struct err e = {0};
    struct redis_args args;
    struct redis_reply *reply = NULL;
    redis_args_init(&args);
    redis_arg_int(&args, LAY_MODEL);
    redis_arg_text(&args, model_vm);
    redis_arg_int(&args, first);
    for (int64_t i = 0; i < n; i++) {
        redis_arg_text(&args, lay_vm_name(first + i).text);
    }
    must(redis_store_eval(s, &copying, &args, &reply, &e), &e);
    redis_reply_free(reply);
    redis_args_fini(&args);
}

void lay_in_redis(const char *url, const char *model_vm, int64_t n)
{
    struct err e = {0};
    struct redis_store *s = NULL;
    must(redis_store_open(url, &s, &e), &e);
    for (int64_t first = 1; first <= n; first += LAY_AT_ONCE) {
        int64_t left = n - first + 1;
        copy_some(s, model_vm, first, left < LAY_AT_ONCE ? left : LAY_AT_ONCE);
    }
    redis_store_close(s);
}
