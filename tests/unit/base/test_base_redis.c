/*
 * The Redis store against a server that plays a script: what goes out, and what each answer means.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/redis/store.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/base/fake_redis.h"

#define OK "+OK\r\n"
#define PONG "+PONG\r\n"
#define VERSION_7 "$21\r\nredis_version:7.0.15\r\r\n"
#define GREETING                                                                                   \
    {                                                                                              \
        "INFO server", VERSION_7                                                                   \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }

static const struct redis_script script = {"a script", "return 1"};
/* printf 'return 1' | sha1sum */
#define SHA "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"

static int try_open(const struct fake_redis *f, const char *user, const char *options,
                    struct redis_store **out, struct err *e)
{
    char url[256];
    (void)snprintf(url, sizeof url, "redis://%s127.0.0.1:%d%s", user, f->port, options);
    return redis_store_open(url, out, e);
}

static struct redis_store *opened(const struct fake_redis *f, const char *options)
{
    struct redis_store *s = NULL;
    struct err e;
    if (try_open(f, "", options, &s, &e) != 0) {
        fail_msg("open: %s", e.message);
    }
    return s;
}

static int call(struct redis_store *s, const char *word, struct redis_reply **out, struct err *e)
{
    struct redis_args args;
    redis_args_init(&args);
    redis_arg_text(&args, word);
    int rc = redis_store_call(s, &args, out, e);
    redis_args_fini(&args);
    return rc;
}

static int eval(struct redis_store *s, bool write, struct redis_reply **out, struct err *e)
{
    struct redis_args args;
    redis_args_init(&args);
    redis_arg_int(&args, -7);
    int rc = write ? redis_store_write(s, &script, &args, out, e)
                   : redis_store_eval(s, &script, &args, out, e);
    redis_args_fini(&args);
    return rc;
}

/* --- opening --- */
static void open_says_who_we_are_and_which_database(void **state)
{
    static const struct fake_turn turns[] = {
        {"AUTH ann s3cret", OK}, {"SELECT 4", OK}, GREETING, END};
    struct redis_store *s = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    assert_int_equal(try_open(&f, "ann:s3cret@", "/4?prefix=blue", &s, &e), 0);
    assert_string_equal(redis_store_root(s), "{mayfly:blue}");
    redis_store_close(s);
    fake_redis_end(&f);
}

static void refused_password_is_auth_and_not_told(void **state)
{
    static const struct fake_turn turns[] = {
        {"AUTH s3cret", "-WRONGPASS invalid username-password pair\r\n"}, END};
    struct redis_store *s = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    assert_int_equal(try_open(&f, ":s3cret@", "", &s, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_null(strstr(e.message, "s3cret"));
    assert_null(s);
    fake_redis_end(&f);
}

static void old_server_is_refused(void **state)
{
    static const struct fake_turn turns[] = {{"INFO server", "$19\r\nredis_version:6.2.7\r\n"},
                                             END};
    struct redis_store *s = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    assert_int_equal(try_open(&f, "", "", &s, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "6.2.7"));
    fake_redis_end(&f);
}

static void server_without_waitaof_is_told_at_the_open(void **state)
{
    static const struct fake_turn turns[] = {
        GREETING, {"COMMAND INFO waitaof", "*1\r\n*-1\r\n"}, END};
    struct redis_store *s = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    assert_int_equal(try_open(&f, "", "?wait_aof=1", &s, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "WAITAOF"));
    fake_redis_end(&f);
}

static void nobody_there_is_retry_at_once_with_a_pause(void **state)
{
    static const struct fake_turn turns[] = {GREETING, END};
    struct redis_reply *r = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "");
    fake_redis_end(&f);
    bool paused = false;
    for (int i = 0; i < 50; i++) {
        e = (struct err){0};
        assert_int_equal(call(s, "PING", &r, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        paused = paused || e.retry_after_ms > 0;
    }
    assert_true(paused);
    redis_store_close(s);
}

/* --- calls --- */
/* Whatever a server refuses is its own trouble: never permanent, never about the row or message. */
static void error_replies_have_their_classes(void **state)
{
    static const struct {
        const char *answer;
        enum err_class class;
        const char *says;
    } cases[] = {
        {"-LOADING Redis is loading the dataset in memory\r\n", ERR_RETRY, "still reading"},
        {"-BUSY Redis is busy running a script\r\n", ERR_RETRY, "BUSY"},
        {"-READONLY You can't write against a read only replica.\r\n", ERR_RETRY, "the primary's"},
        {"-MASTERDOWN Link with MASTER is down\r\n", ERR_RETRY, "check the primary"},
        {"-CLUSTERDOWN The cluster is down\r\n", ERR_RETRY, "check its nodes"},
        {"-NOREPLICAS Not enough good replicas to write.\r\n", ERR_RETRY, "min-replicas-to-write"},
        {"-MYSTERY never heard of\r\n", ERR_RETRY, "never heard of"},
        {"-OOMPH never heard of\r\n", ERR_RETRY, "OOMPH"},
        {"-ERR no such thing\r\n", ERR_RETRY, "no such thing"},
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", ERR_CAPACITY,
         "raise maxmemory"},
        {"-MISCONF Errors writing to the AOF file\r\n", ERR_CAPACITY, "free space"},
        {"-WRONGTYPE Operation against a key\r\n", ERR_AUTH, "a prefix of its own"},
        {"-CROSSSLOT Keys in request\r\n", ERR_AUTH, "leads to Redis"},
        {"-NOPERM this user has no permissions\r\n", ERR_AUTH, "deploy/docs/redis.md"},
        {"-ERR The user executing the script can't run this command script: 1\r\n", ERR_AUTH,
         "deploy/docs/redis.md"},
        {"-ERR unknown command 'EVALSHA'\r\n", ERR_AUTH, "all its commands"},
        {"-ERR Error compiling script\r\n", ERR_AUTH, "leads to Redis"},
        {"-NOAUTH Authentication required.\r\n", ERR_AUTH, "the password in the URL"},
        {"-WRONGPASS invalid\r\n", ERR_AUTH, "the password in the URL"},
        {"-ERR DB index is out of range\r\n", ERR_AUTH, "database's number"},
        {"-\r\n", ERR_RETRY, "Redis replied"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct fake_turn turns[] = {GREETING, {"GET", cases[i].answer}, END};
        struct redis_reply *r = NULL;
        struct fake_redis f;
        struct err e;
        fake_redis_begin(&f, turns);
        struct redis_store *s = opened(&f, "");
        must_fail_saying(call(s, "GET", &r, &e), &e, cases[i].class, cases[i].says);
        must_fail_saying(-1, &e, cases[i].class, redis_store_server(s));
        assert_null(r);
        redis_store_close(s);
        fake_redis_end(&f);
    }
}

static void unknown_script_is_loaded_and_run_once(void **state)
{
    static const struct fake_turn turns[] = {
        GREETING,
        {"EVALSHA " SHA " 1 {mayfly:mayfly} -7", "-NOSCRIPT No matching script.\r\n"},
        {"SCRIPT LOAD return 1", "$40\r\n" SHA "\r\n"},
        {"EVALSHA " SHA " 1 {mayfly:mayfly} -7", "*3\r\n:9007199254740993\r\n$2\r\n12\r\n$-1\r\n"},
        END};
    struct redis_reply *r = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "");
    assert_int_equal(eval(s, false, &r, &e), 0);
    assert_int_equal(redis_reply_count(r), 3);
    assert_true(redis_reply_int(redis_reply_at(r, 0), 0) == 9007199254740993LL);
    assert_int_equal(redis_reply_int(redis_reply_at(r, 1), 0), 12);
    assert_int_equal(redis_reply_bytes(redis_reply_at(r, 2)).len, 0);
    assert_int_equal(redis_reply_int(redis_reply_at(r, 2), -3), -3);
    assert_null(redis_reply_at(r, 3));
    redis_reply_free(r);
    redis_store_close(s);
    fake_redis_end(&f);
}

static void connection_lost_before_a_call_is_replaced(void **state)
{
    static const struct fake_turn turns[] = {GREETING, {"BYE", FAKE_CLOSE}, {"GET", PONG}, END};
    struct redis_reply *r = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "");
    /* Closed in the middle: the call may have been carried out, so it is not repeated by itself. */
    assert_int_equal(call(s, "BYE", &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(call(s, "GET", &r, &e), 0);
    redis_reply_free(r);
    redis_store_close(s);
    fake_redis_end(&f);
}

static void slow_answer_ends_at_the_deadline_and_is_not_anothers(void **state)
{
    static const struct fake_turn turns[] = {
        GREETING, {"SLOW", FAKE_HANG}, {"GET", "$5\r\nright\r\n"}, END};
    struct redis_reply *r = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "?timeout=100ms");
    assert_int_equal(call(s, "SLOW", &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(call(s, "GET", &r, &e), 0);
    assert_true(slice_eq_cstr(redis_reply_bytes(r), "right"));
    redis_reply_free(r);
    redis_store_close(s);
    fake_redis_end(&f);
}

static void peer_that_speaks_no_redis_is_an_error(void **state)
{
    static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "$-5\r\nx\r\n",
                                          "*99999999999999999999\r\n", "$abc\r\n"};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct fake_turn turns[] = {{"INFO server", answers[i]}, END};
        struct redis_store *s = NULL;
        struct fake_redis f;
        struct err e;
        fake_redis_begin(&f, turns);
        assert_int_equal(try_open(&f, "", "?timeout=500ms", &s, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        fake_redis_end(&f);
    }
}

static void moved_is_followed_once(void **state)
{
    char moved[64];
    struct fake_redis from;
    struct fake_redis to;
    struct redis_reply *r = NULL;
    struct err e;
    static const struct fake_turn there[] = {{"GET", PONG}, {"GET", PONG}, END};
    fake_redis_begin(&to, there);
    (void)snprintf(moved, sizeof moved, "-MOVED 3999 127.0.0.1:%d\r\n", to.port);
    const struct fake_turn here[] = {GREETING, {"GET", moved}, END};
    fake_redis_begin(&from, here);
    struct redis_store *s = opened(&from, "");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(call(s, "GET", &r, &e), 0);
        redis_reply_free(r);
    }
    redis_store_close(s);
    fake_redis_end(&from);
    fake_redis_end(&to);
}

/* --- confirmed writes --- */
static void write_waits_for_replicas_and_tells_if_they_lack(void **state)
{
    static const struct fake_turn turns[] = {GREETING,
                                             {"EVALSHA " SHA, ":1\r\n"},
                                             {"WAIT 2 ", ":2\r\n"},
                                             {"EVALSHA " SHA, ":1\r\n"},
                                             {"WAIT 2 ", ":1\r\n"},
                                             {"EVALSHA " SHA, ":1\r\n"}, /* a read waits for none */
                                             END};
    struct redis_reply *r = NULL;
    struct fake_redis f;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "?wait_replicas=2");
    assert_int_equal(eval(s, true, &r, &e), 0);
    redis_reply_free(r);
    assert_int_equal(eval(s, true, &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(eval(s, false, &r, &e), 0);
    redis_reply_free(r);
    redis_store_close(s);
    fake_redis_end(&f);
}

static void write_waits_for_the_disk(void **state)
{
    static const struct fake_turn turns[] = {
        GREETING,
        {"COMMAND INFO waitaof", "*1\r\n*1\r\n$7\r\nwaitaof\r\n"},
        {"EVALSHA " SHA, ":1\r\n"},
        {"WAITAOF 1 0 ", "*2\r\n:1\r\n:0\r\n"},
        {"EVALSHA " SHA, ":1\r\n"},
        {"WAITAOF 1 0 ", "*2\r\n:0\r\n:0\r\n"},
        {"EVALSHA " SHA, ":1\r\n"},
        {"WAITAOF 1 0 ", "-ERR WAITAOF cannot be used when appendonly is disabled.\r\n"},
        {"EVALSHA " SHA, "-OOM full\r\n"},
        {"WAITAOF 1 0 ", "*2\r\n:0\r\n:0\r\n"},
        END};
    static const enum err_class classes[] = {ERR_NONE, ERR_RETRY, ERR_AUTH, ERR_CAPACITY};
    struct fake_redis f;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "?wait_aof=1");
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        struct redis_reply *r = NULL;
        struct err e = {0};
        assert_int_equal(eval(s, true, &r, &e), classes[i] == ERR_NONE ? 0 : -1);
        assert_int_equal(e.class, classes[i]);
        redis_reply_free(r);
    }
    redis_store_close(s);
    fake_redis_end(&f);
}

/* --- what the server's settings say --- */
static void check_warns_of_what_may_lose_jobs(void **state)
{
    static const struct fake_turn turns[] = {
        GREETING,
        {"INFO everything", "$48\r\naof_enabled:0\r\nmaxmemory_policy:allkeys-lru\r\nx:1\r\n"},
        {"CONFIG GET appendfsync", "*2\r\n$11\r\nappendfsync\r\n$8\r\neverysec\r\n"},
        {"INFO everything", "$44\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n\r\n"},
        {"CONFIG GET appendfsync", "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n"},
        {"INFO everything", "-NOPERM no\r\n"},
        {"CONFIG GET appendfsync", "-ERR unknown command 'CONFIG'\r\n"},
        END};
    struct fake_redis f;
    struct buf out;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "");
    buf_init(&out, 4096);
    assert_int_equal(redis_store_check(s, &out, &e), 0);
    assert_non_null(strstr(out.data, "appendonly is off"));
    assert_non_null(strstr(out.data, "maxmemory-policy is allkeys-lru"));
    assert_non_null(strstr(out.data, "appendfsync is everysec"));
    buf_reset(&out);
    assert_int_equal(redis_store_check(s, &out, &e), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(redis_store_check(s, &out, &e), 0);
    assert_non_null(strstr(out.data, "INFO is forbidden"));
    assert_non_null(strstr(out.data, "CONFIG is forbidden"));
    buf_fini(&out);
    redis_store_close(s);
    fake_redis_end(&f);
}

/* --- notes --- */
#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$17\r\n{mayfly:mayfly}:n\r\n:1\r\n"
#define NOTE(text) "*3\r\n$7\r\nmessage\r\n$17\r\n{mayfly:mayfly}:n\r\n$2\r\n" text "\r\n"

static void subscription_comes_back_and_says_so(void **state)
{
    static const struct fake_turn turns[] = {GREETING,
                                             {"SUBSCRIBE {mayfly:mayfly}:n", SUBSCRIBED NOTE("hi")},
                                             {"CUT", FAKE_CLOSE},
                                             {"SUBSCRIBE", "-NOPERM no right to the channel\r\n"},
                                             {"SUBSCRIBE", SUBSCRIBED NOTE("yo")},
                                             END};
    static const enum redis_event expected[] = {REDIS_EVENT_SUBSCRIBED, REDIS_EVENT_MESSAGE,
                                                REDIS_EVENT_LOST, REDIS_EVENT_SUBSCRIBED,
                                                REDIS_EVENT_MESSAGE};
    struct redis_reply *r = NULL;
    struct fake_redis f;
    struct slice payload;
    struct err e;
    fake_redis_begin(&f, turns);
    struct redis_store *s = opened(&f, "");
    struct redis_subscription *u = redis_subscription_open(s, ":n");
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        if (expected[i] == REDIS_EVENT_LOST) {
            assert_int_equal(call(s, "CUT", &r, &e), -1);
            /* The subscription is the fake's second connection. */
            (void)shutdown(f.fds[1], SHUT_RDWR);
        }
        assert_int_equal(redis_subscription_next(u, 30000, &payload), expected[i]);
        if (expected[i] == REDIS_EVENT_MESSAGE) {
            assert_true(slice_eq_cstr(payload, i == 1 ? "hi" : "yo"));
        }
    }
    assert_int_equal(redis_subscription_next(u, 1, &payload), REDIS_EVENT_TIMEOUT);
    redis_subscription_end(u);
    assert_int_equal(redis_subscription_next(u, 30000, &payload), REDIS_EVENT_ENDED);
    redis_subscription_close(u);
    redis_store_close(s);
    fake_redis_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_says_who_we_are_and_which_database),
        cmocka_unit_test(refused_password_is_auth_and_not_told),
        cmocka_unit_test(old_server_is_refused),
        cmocka_unit_test(server_without_waitaof_is_told_at_the_open),
        cmocka_unit_test(nobody_there_is_retry_at_once_with_a_pause),
        cmocka_unit_test(error_replies_have_their_classes),
        cmocka_unit_test(unknown_script_is_loaded_and_run_once),
        cmocka_unit_test(connection_lost_before_a_call_is_replaced),
        cmocka_unit_test(slow_answer_ends_at_the_deadline_and_is_not_anothers),
        cmocka_unit_test(peer_that_speaks_no_redis_is_an_error),
        cmocka_unit_test(moved_is_followed_once),
        cmocka_unit_test(write_waits_for_replicas_and_tells_if_they_lack),
        cmocka_unit_test(write_waits_for_the_disk),
        cmocka_unit_test(check_warns_of_what_may_lose_jobs),
        cmocka_unit_test(subscription_comes_back_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
