/*
 * Every step of the Redis ledger while one of its requests does not reach the server, or its answer
 * does not come back: see ledger_faults.h.
 */
#include "tests/unit/ledger/ledger_faults.h"
#include "tests/unit/ledger/test_ledger_redis.h"

struct redis_conn;

/* --- the request that fails --- */
static int fails_at; /* counted from 1; 0: none does */
static bool loses;   /* the answer, not the request */
static struct faults_seen seen;
static void (*before_send)(void); /* what others do meanwhile; NULL: nothing */

int __real_redis_conn_send(struct redis_conn *c, struct slice wire, int64_t deadline_mono,
                           struct err *e);
int __wrap_redis_conn_send(struct redis_conn *c, struct slice wire, int64_t deadline_mono,
                           struct err *e);
int __real_redis_conn_read(struct redis_conn *c, int64_t deadline_mono, struct redis_reply **out,
                           struct err *e);
int __wrap_redis_conn_read(struct redis_conn *c, int64_t deadline_mono, struct redis_reply **out,
                           struct err *e);

int __wrap_redis_conn_send(struct redis_conn *c, struct slice wire, int64_t deadline_mono,
                           struct err *e)
{
    void (*others)(void) = before_send;
    if (others != NULL) {
        before_send = NULL; /* they send, too */
        others();
        before_send = others;
    }
    if (++seen.all == fails_at && !loses) {
        return err_set(e, ERR_RETRY, 0, "the request was not sent");
    }
    return __real_redis_conn_send(c, wire, deadline_mono, e);
}

int __wrap_redis_conn_read(struct redis_conn *c, int64_t deadline_mono, struct redis_reply **out,
                           struct err *e)
{
    struct redis_reply *answer = NULL;
    if (__real_redis_conn_read(c, deadline_mono, &answer, e) != 0) {
        return -1;
    }
    if (++seen.writes == fails_at && loses) {
        redis_reply_free(answer);
        return err_set(e, ERR_RETRY, 0, "the answer was lost");
    }
    *out = answer;
    return 0;
}

static struct faults_seen arm(int n)
{
    struct faults_seen before = seen;
    seen = (struct faults_seen){.all = 0};
    fails_at = n;
    return before;
}

/* --- deployments --- */
static void *fixture;

static struct ledger *open_new(void)
{
    assert_int_equal(redis_fixture_setup(&fixture), 0);
    return ((struct redis_fixture *)fixture)->l;
}

static void close_it(struct ledger *l)
{
    (void)l;
    assert_int_equal(redis_fixture_teardown(&fixture), 0);
}

/* All keys of the deployment, what they hold in one order, and nothing of the deployment's name. */
static const struct redis_script dump_script = {
    "dump",
    "local lines, root = {}, KEYS[1] .. ':l:'\n"
    "for _, key in ipairs(redis.call('KEYS', root .. '*')) do\n"
    "  local kind, parts = redis.call('TYPE', key).ok, {}\n"
    "  if kind == 'list' then\n"
    "    parts = redis.call('LRANGE', key, 0, -1)\n"
    "  elseif kind == 'set' then\n"
    "    parts = redis.call('SMEMBERS', key)\n"
    "    table.sort(parts)\n"
    "  elseif kind == 'zset' then\n"
    "    parts = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')\n"
    "  else\n"
    "    local flat = redis.call('HGETALL', key)\n"
    "    for i = 1, #flat, 2 do\n"
    "      parts[#parts + 1] = flat[i] .. '=' .. flat[i + 1]\n"
    "    end\n"
    "    table.sort(parts)\n"
    "  end\n"
    "  for i, part in ipairs(parts) do\n"
    "    lines[#lines + 1] = string.sub(key, #root + 1) .. ' ' .. i .. ' ' .. part .. '\\n'\n"
    "  end\n"
    "end\n"
    "table.sort(lines)\n"
    "return (string.gsub(table.concat(lines), '%z', '|'))\n"};

static char *dump(void)
{
    struct redis_fixture *f = fixture;
    struct redis_args none;
    struct redis_reply *r = NULL;
    struct err e;
    redis_args_init(&none);
    MUST(redis_store_eval(f->store, &dump_script, &none, &r, &e));
    char *text = slice_dup(redis_reply_bytes(r));
    redis_reply_free(r);
    redis_args_fini(&none);
    return text;
}

/* --- cases --- */
static const struct faults_store store = {.open = open_new,
                                          .close = close_it,
                                          .dump = dump,
                                          .arm = arm,
                                          .fails = ERR_RETRY,
                                          .in_parts = true};

static void step_of_which_a_request_is_not_sent_changes_nothing(void **state)
{
    (void)state;
    loses = false;
    faults_refuse(&store);
}

static void step_of_which_an_answer_is_lost_can_be_repeated(void **state)
{
    (void)state;
    loses = true;
    faults_lose(&store);
}

static void opening_of_which_a_request_is_not_sent_fails(void **state)
{
    (void)state;
    struct ledger *first = open_new();
    const char *url = ((struct redis_fixture *)fixture)->url;
    loses = false;
    for (int n = 1;; n++) {
        struct ledger *l = NULL;
        struct err e;
        (void)arm(n);
        int rc = ledger_open(url, &l, &e);
        if (arm(0).all < n) {
            must_succeed(rc, &e, url);
            ledger_close(l);
            break;
        }
        must_fail(rc, &e, ERR_RETRY);
        assert_null(l);
    }
    close_it(first);
}

static void change_mark(void)
{
    static int version;
    char row[32];
    (void)snprintf(row, sizeof row, "%d|5", ++version);
    (void)redis_fixture_call(fixture, "HSET", "cells:counter", "opens", row);
}

static void row_that_others_change_time_and_again_is_given_up(void **state)
{
    struct ledger *l = open_new();
    int64_t n = -1;
    struct err e;
    (void)state;
    MUST(ledger_counter_set(l, "opens", 5, &e));
    before_send = change_mark;
    int rc = ledger_counter_add(l, "opens", 1, &n, &e);
    before_send = NULL;
    must_fail_saying(rc, &e, ERR_RETRY, "changed 100 times");
    assert_int_equal(n, -1);
    MUST(ledger_counter_add(l, "opens", 1, &n, &e));
    assert_int_equal(n, 6);
    close_it(l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_of_which_a_request_is_not_sent_changes_nothing),
        cmocka_unit_test(step_of_which_an_answer_is_lost_can_be_repeated),
        cmocka_unit_test(opening_of_which_a_request_is_not_sent_fails),
        cmocka_unit_test(row_that_others_change_time_and_again_is_given_up),
    };
    if (!redis_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on redis: faults", tests, NULL, NULL);
}
