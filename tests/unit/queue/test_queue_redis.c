/*
 * What the Redis queue promises beyond the conformance suite, on a real server: bounded memory, a
 * full server, limited users, its own layout. Called with the server's URL, which has no options.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"
#include "common/queue/queue.h"
#include "common/redis/store.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define HOUR_MS (3600LL * 1000)
#define LONG_WAIT_MS 30000

static const char *server;

struct fixture {
    char prefix[32];
    struct redis_store *raw; /* for looking behind the queue */
    struct queue *q;
};

/* user: "" or "name:password@". */
static void url_of(const struct fixture *f, const char *user, char *out, size_t size)
{
    (void)snprintf(out, size, "redis://%s%s?prefix=%s", user, server + strlen("redis://"),
                   f->prefix);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char url[512];
    struct err e;
    assert_non_null(f);
    random_hex(f->prefix, 8);
    url_of(f, "", url, sizeof url);
    if (redis_store_open(url, &f->raw, &e) != 0 || queue_open(url, &f->q, &e) != 0) {
        fail_msg("%s", e.message);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    queue_close(f->q);
    redis_store_close(f->raw);
    free(f);
    return 0;
}

/* A command of words; a key is written as ":q:…" and gets the deployment's root. */
static struct redis_reply *say(const struct fixture *f, const char *const *words)
{
    struct redis_args args;
    struct redis_reply *r = NULL;
    struct err e;
    redis_args_init(&args);
    for (; *words != NULL; words++) {
        char key[256];
        (void)snprintf(key, sizeof key, "%s%s", **words == ':' ? redis_store_root(f->raw) : "",
                       *words);
        redis_arg_text(&args, key);
    }
    MUST(redis_store_call(f->raw, &args, &r, &e));
    redis_args_fini(&args);
    return r;
}
#define SAY(f, ...) say(f, (const char *const[]){__VA_ARGS__, NULL})

static void put(struct queue *q, const char *lane, const char *body, const char *key)
{
    struct queue_item item = {.lane = lane, .body = slice_of(body), .key = key, .group = ""};
    struct err e;
    MUST(queue_put(q, &item, 1, &e));
}

static struct queue_message take(struct queue *q, const char *lane)
{
    struct queue_message m = {0};
    size_t got = 0;
    struct err e;
    MUST(queue_receive(q, lane, 1, HOUR_MS, LONG_WAIT_MS, &m, &got, &e));
    assert_int_equal(got, 1);
    return m;
}

static void finish(struct queue *q, struct queue_message *m)
{
    struct err e;
    MUST(queue_ack(q, m, 1, &e));
    queue_message_fini(m);
}

/* --- memory --- */
static size_t count_keys(const struct fixture *f)
{
    char pattern[128];
    (void)snprintf(pattern, sizeof pattern, "%s:q:*", redis_store_root(f->raw));
    struct redis_reply *r = SAY(f, "KEYS", pattern);
    size_t n = redis_reply_count(r);
    redis_reply_free(r);
    return n;
}

static void finished_messages_leave_nothing_behind(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 300; i++) {
        char key[16];
        struct queue_return back = {.delay_ms = i % 2, .reason = "later", .spend_attempt = true};
        struct err e;
        (void)snprintf(key, sizeof key, "%d", i);
        put(f->q, "events", "body", key);
        struct queue_message m = take(f->q, "events");
        if (i % 3 == 0) {
            MUST(queue_nack(f->q, &m, &back, &e));
            queue_message_fini(&m);
            m = take(f->q, "events");
        }
        if (i % 5 == 0) {
            MUST(queue_dead_letter(f->q, &m, "dead", &e));
            MUST(queue_delete(f->q, m.id, &e));
            queue_message_fini(&m);
        } else {
            finish(f->q, &m);
        }
    }
    assert_int_equal(count_keys(f), 4); /* version, seq, lanes, the stream of the lane's dead */
}

static void full_server_refuses_puts_and_lets_the_rest_go_on(void **state)
{
    struct fixture *f = *state;
    struct queue_item item = {.lane = "events", .body = SLICE("x"), .key = "", .group = ""};
    struct queue_return back = {.reason = "again"};
    struct err e;
    put(f->q, "events", "1", "");
    put(f->q, "events", "2", "");
    redis_reply_free(SAY(f, "CONFIG", "SET", "maxmemory", "1"));
    int rc = queue_put(f->q, &item, 1, &e);
    struct queue_message m = take(f->q, "events");
    MUST(queue_extend(f->q, &m, HOUR_MS, &e));
    struct err after;
    must_succeed(queue_nack(f->q, &m, &back, &after), &after, "queue_nack");
    queue_message_fini(&m);
    for (int i = 0; i < 2; i++) {
        m = take(f->q, "events");
        finish(f->q, &m);
    }
    redis_reply_free(SAY(f, "CONFIG", "SET", "maxmemory", "0"));
    assert_int_equal(rc, -1);
    put(f->q, "events", "3", "");
    m = take(f->q, "events");
    assert_string_equal(m.body, "3"); /* nothing stayed of the refused one */
    finish(f->q, &m);
}

static void refused_put_says_capacity(void **state)
{
    struct fixture *f = *state;
    struct queue_item item = {.lane = "events", .body = SLICE("x"), .key = "", .group = ""};
    struct err e = {0};
    redis_reply_free(SAY(f, "CONFIG", "SET", "maxmemory", "1"));
    int rc = queue_put(f->q, &item, 1, &e);
    redis_reply_free(SAY(f, "CONFIG", "SET", "maxmemory", "0"));
    assert_int_equal(rc, -1);
    assert_int_equal(e.class, ERR_CAPACITY);
}

static void record_removed_by_hand_is_passed_over(void **state)
{
    struct fixture *f = *state;
    put(f->q, "events", "gone", "");
    put(f->q, "events", "there", "");
    redis_reply_free(SAY(f, "DEL", ":q:m:1"));
    struct queue_message m = take(f->q, "events");
    assert_string_equal(m.body, "there");
    finish(f->q, &m);
    struct redis_reply *len = SAY(f, "ZCARD", ":q:r:events");
    assert_int_equal(redis_reply_int(len, -1), 0);
    redis_reply_free(len);
}

/* --- order --- */
static void returned_message_goes_behind_those_never_tried(void **state)
{
    struct fixture *f = *state;
    struct queue_return back = {.reason = "no slot"};
    struct queue_entry *found = NULL;
    size_t n = 0;
    struct err e;
    put(f->q, "events", "first", "1");
    put(f->q, "events", "second", "2");
    put(f->q, "events", "third", "3");
    struct queue_message m = take(f->q, "events");
    MUST(queue_nack(f->q, &m, &back, &e));
    queue_message_fini(&m);
    MUST(queue_find(f->q, "3", 9, &found, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(found[0].ahead, 1);
    queue_entries_free(found, n);
    MUST(queue_find(f->q, "1", 9, &found, &n, &e));
    assert_int_equal(found[0].place, QUEUE_READY);
    assert_int_equal(found[0].ahead, 2);
    queue_entries_free(found, n);
    static const char *const order[] = {"second", "third", "first"};
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        m = take(f->q, "events");
        assert_string_equal(m.body, order[i]);
        finish(f->q, &m);
    }
}

#define MANY 250

static void long_lists_come_whole_and_in_order(void **state)
{
    struct fixture *f = *state;
    struct queue_entry *list = NULL;
    size_t n = 0;
    struct err e;
    for (int i = 0; i < MANY; i++) {
        put(f->q, i % 2 == 0 ? "launch.a" : "launch.b", "x", "one-key");
    }
    MUST(queue_find(f->q, "one-key", MANY - 20, &list, &n, &e));
    assert_int_equal(n, MANY - 20);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(strtoul(list[i].message.id, NULL, 10), i + 1);
    }
    queue_entries_free(list, n);
    for (int i = 0; i < MANY; i++) {
        struct queue_message m = take(f->q, i % 2 == 0 ? "launch.a" : "launch.b");
        MUST(queue_dead_letter(f->q, &m, "dead", &e));
        queue_message_fini(&m);
    }
    MUST(queue_dead(f->q, NULL, MANY - 20, &list, &n, &e));
    assert_int_equal(n, MANY - 20);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(strtoul(list[i].message.id, NULL, 10), i + 1);
    }
    queue_entries_free(list, n);
    MUST(queue_dead(f->q, "launch.b", 2 * MANY, &list, &n, &e));
    assert_int_equal(n, MANY / 2);
    queue_entries_free(list, n);
}

/* --- the server's side --- */
static void user_without_the_channel_queues_and_polls(void **state)
{
    struct fixture *f = *state;
    struct queue *limited = NULL;
    char url[512];
    struct err e;
    redis_reply_free(
        SAY(f, "ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "resetchannels"));
    url_of(f, "limited:secret@", url, sizeof url);
    MUST(queue_open(url, &limited, &e));
    put(limited, "events", "1", "");
    struct queue_message m = take(limited, "events");
    finish(limited, &m);
    struct queue_item later = {
        .lane = "events", .body = SLICE("2"), .key = "", .group = "", .delay_ms = 50};
    MUST(queue_put(f->q, &later, 1, &e));
    m = take(limited, "events");
    finish(limited, &m);
    queue_close(limited);
    redis_reply_free(SAY(f, "ACL", "DELUSER", "limited"));
}

static void user_without_the_keys_is_refused_at_the_open(void **state)
{
    struct fixture *f = *state;
    struct queue *q = NULL;
    char url[512];
    struct err e;
    redis_reply_free(
        SAY(f, "ACL", "SETUSER", "stranger", "on", ">secret", "~elsewhere:*", "+@all"));
    url_of(f, "stranger:secret@", url, sizeof url);
    must_fail_saying(queue_open(url, &q, &e), &e, ERR_AUTH, "allow it to this user");
    url_of(f, "stranger:wrong@", url, sizeof url);
    assert_int_equal(queue_open(url, &q, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    redis_reply_free(SAY(f, "ACL", "DELUSER", "stranger"));
}

static void newer_layout_is_refused(void **state)
{
    struct fixture *f = *state;
    struct queue *q = NULL;
    char url[512];
    struct err e;
    redis_reply_free(SAY(f, "SET", ":q:version", "3"));
    url_of(f, "", url, sizeof url);
    assert_int_equal(queue_open(url, &q, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_null(q);
}

/* While a program has it open. */
static void emptied_queue_is_known_again_with_its_first_message(void **state)
{
    struct fixture *f = *state;
    struct queue *looking = NULL;
    char url[512];
    struct err e;
    put(f->q, "events", "lost", "");
    redis_reply_free(SAY(f, "FLUSHALL"));
    url_of(f, "", url, sizeof url);
    assert_int_equal(queue_open_existing(url, &looking, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    put(f->q, "events", "first", "");
    MUST(queue_open_existing(url, &looking, &e));
    queue_close(looking);
}

static void prefixes_do_not_mix(void **state)
{
    struct fixture *f = *state;
    void *other = NULL;
    struct queue_depth *all = NULL;
    size_t n = 9;
    struct err e;
    assert_int_equal(setup(&other), 0);
    put(f->q, "events", "mine", "");
    MUST(queue_depths(((struct fixture *)other)->q, NULL, &all, &n, &e));
    assert_int_equal(n, 0);
    free(all);
    assert_int_equal(teardown(&other), 0);
}

static void safe_settings_raise_no_warning(void **state)
{
    struct fixture *f = *state;
    struct buf out;
    struct err e;
    buf_init(&out, 4096);
    MUST(queue_check(f->q, true, &out, &e));
    assert_string_equal(out.len > 0 ? out.data : "", "");
    redis_reply_free(SAY(f, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"));
    MUST(queue_check(f->q, true, &out, &e));
    redis_reply_free(SAY(f, "CONFIG", "SET", "maxmemory-policy", "noeviction"));
    assert_non_null(strstr(out.data, "allkeys-lru"));
    buf_fini(&out);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(finished_messages_leave_nothing_behind),
        CASE(full_server_refuses_puts_and_lets_the_rest_go_on),
        CASE(refused_put_says_capacity),
        CASE(record_removed_by_hand_is_passed_over),
        CASE(returned_message_goes_behind_those_never_tried),
        CASE(long_lists_come_whole_and_in_order),
        CASE(user_without_the_channel_queues_and_polls),
        CASE(user_without_the_keys_is_refused_at_the_open),
        CASE(newer_layout_is_refused),
        CASE(emptied_queue_is_known_again_with_its_first_message),
        CASE(prefixes_do_not_mix),
        CASE(safe_settings_raise_no_warning),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s URL\n", argv[0]);
        return 2;
    }
    server = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
