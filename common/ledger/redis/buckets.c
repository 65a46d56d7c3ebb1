#include "common/base/clock.h"
#include "common/ledger/redis/redis.h"

#define EXACT (1LL << 53) /* Lua counts in doubles */

int ledger_redis_rate_take(void *state, const struct ledger_bucket *b, int64_t cost,
                           int64_t *wait_ms, struct err *e)
{
    static const struct redis_script script = {"ledger take", ledger_redis_lua_take};
    struct ledger_redis_name rate = ledger_redis_named("%.17g", b->per_second);
    struct redis_reply *r = NULL;
    struct redis_args a;
    ledger_redis_args(&a);
    redis_arg_text(&a, b->name);
    redis_arg(&a, ledger_redis_slice(&rate));
    redis_arg_int(&a, b->burst);
    redis_arg_int(&a, cost);
    /* A token that a failover restores is harmless, so this write need not be durable. */
    int rc = ledger_redis_eval(state, &script, &a, false, &r, e);
    redis_args_fini(&a);
    if (rc != 0) {
        return -1;
    }
    *wait_ms = redis_reply_int(redis_reply_at(r, 2), 0);
    redis_reply_free(r);
    return 0;
}

/* Sent as a duration, so that the two clocks need not agree. */
int ledger_redis_rate_pause(void *state, const char *name, int64_t until_ms, struct err *e)
{
    static const struct redis_script script = {"ledger pause", ledger_redis_lua_pause};
    struct redis_reply *r = NULL;
    struct redis_args a;
    int64_t for_ms = until_ms - clock_wall_ms();
    ledger_redis_args(&a);
    redis_arg_text(&a, name);
    redis_arg_int(&a, for_ms < EXACT / 2 ? for_ms : EXACT / 2);
    int rc = ledger_redis_eval(state, &script, &a, true, &r, e);
    redis_args_fini(&a);
    redis_reply_free(r);
    return rc;
}
