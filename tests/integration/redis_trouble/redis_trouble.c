/*
 * The queue and the ledger on a real Redis server that refuses: out of memory, a user without
 * permission to write, a replica, a full disk. Called with the server's URL, which has no options,
 * and its directory.
 *
 * Each trouble ends while the same handles are in use, and everything must go on by itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"
#include "common/redis/store.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_way.h"

#define HOUR_MS (3600LL * 1000)
#define LONG_WAIT_MS 30000
#define HEADROOM_BYTES (2LL * 1024 * 1024)
#define SHORT_OF_BYTES (256LL * 1024)
#define BODY_BYTES (16 * 1024)
#define READY 6 /* messages of the lane "events" before the trouble */

static const char *server;
static char snapshot_path[512];

struct fixture {
    char prefix[32];
    struct redis_store *admin;
    struct queue *q;
    struct ledger *l;
    struct ledger_vm vm; /* launched */
};

/* --- the server --- */
static struct redis_reply *command(const struct fixture *f, const char *line)
{
    struct slice rest = slice_of(line);
    struct redis_args args;
    struct redis_reply *r = NULL;
    struct err e;
    redis_args_init(&args);
    while (rest.len > 0) {
        struct slice word;
        (void)slice_cut(rest, ' ', &word, &rest);
        redis_arg(&args, word);
    }
    must_succeed(redis_store_call(f->admin, &args, &r, &e), &e, line);
    redis_args_fini(&args);
    return r;
}

static void run_command(const struct fixture *f, const char *line)
{
    redis_reply_free(command(f, line));
}

static int64_t info(const struct fixture *f, const char *section, const char *name)
{
    char line[64];
    (void)snprintf(line, sizeof line, "INFO %s", section);
    struct redis_reply *r = command(f, line);
    char *text = slice_dup(redis_reply_bytes(r));
    const char *at = strstr(text, name);
    assert_non_null(at);
    int64_t n = strtoll(at + strlen(name), NULL, 10);
    free(text);
    redis_reply_free(r);
    return n;
}

static void set_maxmemory(const struct fixture *f, int64_t bytes)
{
    char line[64];
    (void)snprintf(line, sizeof line, "CONFIG SET maxmemory %lld", (long long)bytes);
    run_command(f, line);
}

/* --- the fixture --- */
static void open_url(const struct fixture *f, const char *user, char *out, size_t size)
{
    (void)snprintf(out, size, "redis://%s%s?prefix=%s", user, server + strlen("redis://"),
                   f->prefix);
}

static int try_put(struct queue *q, const char *lane, struct slice body, struct err *e)
{
    struct queue_item item = {.lane = lane, .body = body, .key = "7", .group = ""};
    return queue_put(q, &item, 1, e);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char url[512];
    char acl[256];
    struct err e;
    assert_non_null(f);
    random_hex(f->prefix, 8);
    open_url(f, "", url, sizeof url);
    MUST(redis_store_open(url, &f->admin, &e));
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s on >secret ~* &* +@all", f->prefix);
    run_command(f, acl);
    char user[64];
    (void)snprintf(user, sizeof user, "%s:secret@", f->prefix);
    open_url(f, user, url, sizeof url);
    MUST(queue_open(url, &f->q, &e));
    MUST(ledger_open(url, &f->l, &e));
    f->vm = way_launch(f->l, 7);
    for (int i = 0; i < READY; i++) {
        MUST(try_put(f->q, "events", SLICE("an event"), &e));
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    set_maxmemory(f, 0); /* where the case has failed */
    run_command(f, "REPLICAOF NO ONE");
    (void)rmdir(snapshot_path);
    queue_close(f->q);
    ledger_close(f->l);
    redis_store_close(f->admin);
    free(f);
    return 0;
}

/* --- steps --- */
static struct queue_message take(struct queue *q, const char *lane)
{
    struct queue_message m = {0};
    size_t got = 0;
    struct err e;
    MUST(queue_receive(q, lane, 1, HOUR_MS, LONG_WAIT_MS, &m, &got, &e));
    assert_int_equal(got, 1);
    return m;
}

static int try_reserve(struct ledger *l, int64_t job_id, struct ledger_reservation *out,
                       struct err *e)
{
    struct job_event ev = way_event(job_id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = way_caps(),
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box"};
    return ledger_reserve(l, &r, out, e);
}

/* --- out of memory --- */
static size_t fill_up(const struct fixture *f, struct err *refused)
{
    char *body = calloc(1, BODY_BYTES);
    size_t n = 0;
    assert_non_null(body);
    memset(body, 'x', BODY_BYTES);
    set_maxmemory(f, info(f, "memory", "used_memory:") + HEADROOM_BYTES);
    while (try_put(f->q, "launch.small", (struct slice){body, BODY_BYTES}, refused) == 0) {
        assert_in_range(++n, 1, 10 * (HEADROOM_BYTES / BODY_BYTES));
    }
    free(body);
    set_maxmemory(f, info(f, "memory", "used_memory:") - SHORT_OF_BYTES);
    return n;
}

/* All that frees memory, a lease or a slot, and what programs need to stay alive. */
static void ledger_goes_on(struct ledger *l, const struct ledger_vm *vm)
{
    struct ledger_bucket bucket = {.name = "github:1", .per_second = 1, .burst = 5};
    struct ledger_reservation again;
    int64_t n = 0;
    bool held = false;
    struct err e;
    way_note(l, 7, JOB_ACTION_IN_PROGRESS, vm->name);
    MUST(ledger_log_event(l, 7, "", "note", "on a full server", &e));
    MUST(ledger_lease(l, "sweep", "me", HOUR_MS, &held, &n, &e));
    assert_true(held);
    MUST(ledger_counter_add(l, "made", 1, &n, &e));
    MUST(ledger_cell_put(l, "program", "me", "here", 0, NULL, &e));
    MUST(ledger_rate_take(l, &bucket, 1, &n, &e));
    MUST(ledger_rate_pause(l, "github:1", clock_wall_ms() + HOUR_MS, &e));
    way_complete(l, 7, vm->name);
    assert_int_equal(way_used(l), 0);
    /* The message of a job that has ended is recognised as obsolete, and can be acked. */
    MUST(try_reserve(l, 7, &again, &e));
    assert_int_equal(again.outcome, LEDGER_OBSOLETE);
    assert_true(way_lines(l, 7, "note") >= 1);
    MUST(ledger_tidy(l, clock_wall_ms() + 2 * HOUR_MS, 100, &n, &e));
    assert_int_equal(n, 5); /* the job, its VM, three buckets */
}

static void queue_goes_on(struct queue *q)
{
    struct queue_return later = {.delay_ms = HOUR_MS, .reason = "later", .spend_attempt = true};
    struct queue_return now = {.reason = "now"};
    struct queue_entry *dead = NULL;
    size_t n = 0;
    struct err e;
    struct queue_message m[5];
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        m[i] = take(q, "events");
    }
    MUST(queue_extend(q, &m[0], HOUR_MS, &e));
    MUST(queue_ack(q, &m[0], 1, &e));
    MUST(queue_nack(q, &m[1], &later, &e));
    MUST(queue_nack(q, &m[2], &now, &e));
    MUST(queue_dead_letter(q, &m[3], "broken", &e));
    MUST(queue_dead_letter(q, &m[4], "broken", &e));
    MUST(queue_redrive(q, m[3].id, &e));
    MUST(queue_delete(q, m[4].id, &e));
    MUST(queue_dead(q, NULL, 10, &dead, &n, &e));
    assert_int_equal(n, 0);
    queue_entries_free(dead, n);
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        queue_message_fini(&m[i]);
    }
}

/* A program that starts while the server is full. */
static void programs_can_start(const struct fixture *f)
{
    struct queue *q = NULL;
    struct ledger *l = NULL;
    char url[512];
    struct err e;
    open_url(f, "", url, sizeof url);
    MUST(queue_open(url, &q, &e));
    MUST(ledger_open(url, &l, &e));
    queue_close(q);
    ledger_close(l);
}

static void full_server_refuses_reserve_and_put_and_lets_all_else_go_on(void **state)
{
    struct fixture *f = *state;
    struct ledger_reservation r;
    struct err full = {0};
    struct err e;
    size_t n = fill_up(f, &full);
    must_fail_saying(-1, &full, ERR_CAPACITY, "raise maxmemory");
    must_fail_saying(-1, &full, ERR_CAPACITY, server + strlen("redis://"));
    must_fail_saying(try_put(f->q, "events", SLICE("x"), &e), &e, ERR_CAPACITY, "queue put");
    must_fail_saying(try_reserve(f->l, 8, &r, &e), &e, ERR_CAPACITY, "raise maxmemory");
    programs_can_start(f);
    queue_goes_on(f->q);
    ledger_goes_on(f->l, &f->vm);
    must_fail(ledger_job_get(f->l, 8, &(struct ledger_job){0}, &e), &e, ERR_NOT_FOUND);
    for (size_t i = 0; i < n; i++) {
        struct queue_message m = take(f->q, "launch.small");
        MUST(queue_ack(f->q, &m, 1, &e));
        queue_message_fini(&m);
    }
    MUST(try_put(f->q, "events", SLICE("x"), &e));
    MUST(try_reserve(f->l, 8, &r, &e));
    assert_int_equal(r.outcome, LEDGER_RESERVED);
}

/* --- refusals of all writes --- */
/* Every write of both fails with the class and the words, and none says anything about a job. */
static void all_writes_fail(const struct fixture *f, enum err_class class, const char *says)
{
    struct job_event ev = way_event(7, JOB_ACTION_IN_PROGRESS, f->vm.name);
    struct ledger_bucket bucket = {.name = "github:1", .per_second = 1, .burst = 5};
    struct ledger_reservation r;
    struct ledger_effect effect;
    int64_t n = 0;
    bool held;
    struct err e;
    must_fail_saying(try_reserve(f->l, 8, &r, &e), &e, class, says);
    must_fail_saying(ledger_apply_event(f->l, &ev, "octo", &effect, &e), &e, class, says);
    must_fail_saying(ledger_vm_advance(
                         f->l, &(struct ledger_advance){.vm = f->vm.name, .to = VM_BUSY}, NULL, &e),
                     &e, class, says);
    must_fail_saying(ledger_log_event(f->l, 7, "", "note", "x", &e), &e, class, says);
    must_fail_saying(ledger_lease(f->l, "sweep", "me", HOUR_MS, &held, &n, &e), &e, class, says);
    must_fail_saying(ledger_counter_add(f->l, "made", 1, &n, &e), &e, class, says);
    must_fail_saying(ledger_rate_take(f->l, &bucket, 1, &n, &e), &e, class, says);
    must_fail_saying(try_put(f->q, "events", SLICE("x"), &e), &e, class, says);
}

static void all_calls_of_the_holder_fail(const struct fixture *f, struct queue_message *m,
                                         enum err_class class, const char *says)
{
    struct queue_return back = {.reason = "again"};
    struct queue_message none;
    size_t got;
    struct err e;
    must_fail_saying(queue_receive(f->q, "events", 1, HOUR_MS, 0, &none, &got, &e), &e, class,
                     says);
    must_fail_saying(queue_extend(f->q, m, HOUR_MS, &e), &e, class, says);
    must_fail_saying(queue_nack(f->q, m, &back, &e), &e, class, says);
    must_fail_saying(queue_dead_letter(f->q, m, "x", &e), &e, class, says);
    must_fail_saying(queue_ack(f->q, m, 1, &e), &e, class, says);
}

static void everything_goes_on(const struct fixture *f, struct queue_message *m)
{
    struct ledger_reservation r;
    struct err e;
    MUST(queue_ack(f->q, m, 1, &e));
    queue_message_fini(m);
    queue_goes_on(f->q);
    ledger_goes_on(f->l, &f->vm);
    MUST(try_put(f->q, "events", SLICE("x"), &e));
    MUST(try_reserve(f->l, 8, &r, &e));
    assert_int_equal(r.outcome, LEDGER_RESERVED);
}

static void withdrawn_permission_is_the_servers_trouble_and_passes(void **state)
{
    struct fixture *f = *state;
    struct queue_message m = take(f->q, "events");
    char acl[128];
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s -@write", f->prefix);
    run_command(f, acl);
    all_writes_fail(f, ERR_AUTH, "deploy/docs/redis.md");
    all_calls_of_the_holder_fail(f, &m, ERR_AUTH, "deploy/docs/redis.md");
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s +@write -@scripting", f->prefix);
    run_command(f, acl);
    all_writes_fail(f, ERR_AUTH, "deploy/docs/redis.md");
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s resetkeys", f->prefix);
    run_command(f, acl);
    all_writes_fail(f, ERR_AUTH, "deploy/docs/redis.md");
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s +@all ~*", f->prefix);
    run_command(f, acl);
    everything_goes_on(f, &m);
}

/* The connections of a user that was removed are closed; new ones are refused. */
static void removed_user_is_the_servers_trouble_and_passes(void **state)
{
    struct fixture *f = *state;
    struct queue_message m = take(f->q, "events");
    char acl[128];
    struct err e = {0};
    int64_t until = clock_mono_ms() + LONG_WAIT_MS;
    (void)snprintf(acl, sizeof acl, "ACL DELUSER %s", f->prefix);
    run_command(f, acl);
    do { /* a pause after a failed connect says only when the next one is */
        assert_true(clock_mono_ms() < until);
        assert_int_equal(ledger_log_event(f->l, 7, "", "note", "x", &e), -1);
        assert_true(e.class == ERR_AUTH || e.class == ERR_RETRY);
    } while (e.class != ERR_AUTH);
    must_fail_saying(-1, &e, ERR_AUTH, "check the user and the password");
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s on >secret ~* &* +@all", f->prefix);
    run_command(f, acl);
    while (ledger_log_event(f->l, 7, "", "note", "x", &e) != 0 ||
           queue_extend(f->q, &m, HOUR_MS, &e) != 0) {
        assert_true(clock_mono_ms() < until);
    }
    everything_goes_on(f, &m);
}

static void replica_is_transient(void **state)
{
    struct fixture *f = *state;
    struct queue_message m = take(f->q, "events");
    run_command(f, "REPLICAOF 127.0.0.1 1");
    all_writes_fail(f, ERR_RETRY, "it is a replica");
    all_calls_of_the_holder_fail(f, &m, ERR_RETRY, "it is a replica");
    programs_can_start(f);
    run_command(f, "REPLICAOF NO ONE");
    everything_goes_on(f, &m);
}

/* One that takes over may lack the last writes. Without the permission to ask nothing is known. */
static void server_that_takes_over_has_another_history(void **state)
{
    struct fixture *f = *state;
    char before[LEDGER_HISTORY_SIZE];
    char now[LEDGER_HISTORY_SIZE];
    char acl[128];
    struct err e;
    MUST(ledger_history(f->l, before, &e));
    MUST(ledger_history(f->l, now, &e));
    assert_int_equal(strlen(before), 40);
    assert_string_equal(now, before);
    run_command(f, "REPLICAOF 127.0.0.1 1");
    run_command(f, "REPLICAOF NO ONE");
    MUST(ledger_history(f->l, now, &e));
    assert_int_equal(strlen(now), 40);
    assert_string_not_equal(now, before);
    (void)snprintf(acl, sizeof acl, "ACL SETUSER %s -info", f->prefix);
    run_command(f, acl);
    MUST(ledger_history(f->l, now, &e));
    assert_string_equal(now, "");
}

/* --- a disk that takes nothing: here, the snapshot's file is a directory --- */
static void snapshot(const struct fixture *f, const char *status)
{
    char line[64];
    (void)snprintf(line, sizeof line, "rdb_last_bgsave_status:%s", status);
    int64_t until = clock_mono_ms() + LONG_WAIT_MS;
    run_command(f, "BGSAVE");
    for (;;) {
        struct redis_reply *r = command(f, "INFO persistence");
        char *text = slice_dup(redis_reply_bytes(r));
        bool there = strstr(text, "rdb_bgsave_in_progress:0") != NULL && strstr(text, line) != NULL;
        free(text);
        redis_reply_free(r);
        if (there) {
            return;
        }
        assert_true(clock_mono_ms() < until);
    }
}

static void full_disk_is_the_servers_trouble_and_passes(void **state)
{
    struct fixture *f = *state;
    struct queue_message m = take(f->q, "events");
    (void)unlink(snapshot_path);
    assert_int_equal(mkdir(snapshot_path, 0700), 0);
    snapshot(f, "err");
    all_writes_fail(f, ERR_CAPACITY, "free space on its disk");
    all_calls_of_the_holder_fail(f, &m, ERR_CAPACITY, "free space on its disk");
    programs_can_start(f);
    assert_int_equal(rmdir(snapshot_path), 0);
    snapshot(f, "ok");
    everything_goes_on(f, &m);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        CASE(full_server_refuses_reserve_and_put_and_lets_all_else_go_on),
        CASE(withdrawn_permission_is_the_servers_trouble_and_passes),
        CASE(removed_user_is_the_servers_trouble_and_passes),
        CASE(replica_is_transient),
        CASE(server_that_takes_over_has_another_history),
        CASE(full_disk_is_the_servers_trouble_and_passes),
    };
    if (argc != 3) {
        fprintf(stderr, "usage: %s REDIS-URL DIRECTORY\n", argv[0]);
        return 2;
    }
    server = argv[1];
    (void)snprintf(snapshot_path, sizeof snapshot_path, "%s/dump.rdb", argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
