/*
 * Conformance of a queue backend that several machines share: clocks that differ by a minute, and a
 * server that is killed and comes back.
 *
 * Not for a store that belongs to one machine; the second kind is skipped where the server was not
 * started by with_redis.
 */
#include "tests/conformance/queue_suite.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"

#define MINUTE_MS 60000

/* --- a process whose clock is wrong --- */
static int64_t skew_ms;

static int64_t system_mono_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t skewed_wall_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + skew_ms;
}

static int skewed_verb(struct queue *q, const char *verb, int64_t ms, struct err *e)
{
    struct queue_item item = {.lane = "events", .body = SLICE("skewed"), .key = "", .group = ""};
    struct queue_message m = {0};
    size_t got = 0;
    if (strcmp(verb, "put") == 0) {
        item.delay_ms = ms;
        return queue_put(q, &item, 1, e);
    }
    if (queue_receive(q, "events", 1, ms, 0, &m, &got, e) != 0) {
        return -1;
    }
    printf("%zu\n", got);
    queue_message_fini(&m);
    return 0;
}

/* skewed SKEW_MS put|take MS: one call with the wall clock off by so much; a take says how many it
 * got. MS: the delay, or the lease. */
int queue_child_skewed(const char *url, int argc, char **argv)
{
    static const struct clock_source source = {system_mono_us, skewed_wall_ms};
    struct queue *q = NULL;
    struct err e;
    if (argc != 3) {
        return 2;
    }
    skew_ms = strtoll(argv[0], NULL, 10);
    clock_set_source(&source);
    if (queue_open(url, &q, &e) != 0 ||
        skewed_verb(q, argv[1], strtoll(argv[2], NULL, 10), &e) != 0) {
        fprintf(stderr, "child: %s\n", e.message);
        return 1;
    }
    queue_close(q);
    return 0;
}

/* Runs it; how many messages a take got, or -1 after a put. */
static long skewed(const struct queue_fixture *f, const char *skew, const char *verb,
                   const char *ms)
{
    struct conformance_process p;
    const char *const args[] = {skew, verb, ms, NULL};
    long got = -1;
    conformance_spawn(&p, "skewed", f->store.url, args);
    while (conformance_read_line(&p)) {
        got = strtol(p.line, NULL, 10);
    }
    assert_int_equal(conformance_wait(&p), 0);
    return got;
}

static const char *const skews[] = {"60000", "-60000"};

static void clock_off_by_a_minute_ends_no_lease_early(void **state)
{
    struct queue_fixture *f = *state;
    if (limited(QUEUE_STATE_IN_PROCESS)) {
        skip();
    }
    must_put(f->q, "events", "mine");
    struct queue_message m = must_take(f->q, "events", MINUTE_MS / 2);
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        assert_int_equal(skewed(f, skews[i], "take", "1000"), 0);
    }
    must_be_done(f->q, &m);
}

static void clock_off_by_a_minute_lengthens_no_lease(void **state)
{
    struct queue_fixture *f = *state;
    if (limited(QUEUE_STATE_IN_PROCESS)) {
        skip();
    }
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        must_put(f->q, "events", "theirs");
        assert_int_equal(skewed(f, skews[i], "take", "50"), 1);
        /* Within LONG_WAIT_MS, which is shorter than the skew. */
        struct queue_message m = must_take_body(f->q, "events", HOUR_MS, "theirs");
        must_be_done(f->q, &m);
    }
}

static void clock_off_by_a_minute_changes_no_delay(void **state)
{
    struct queue_fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        (void)skewed(f, skews[i], "put", "50");
        struct queue_message m = must_take_body(f->q, "events", HOUR_MS, "skewed");
        assert_in_range(m.enqueued_ms, clock_wall_ms() - LONG_WAIT_MS, clock_wall_ms());
        must_be_done(f->q, &m);
        (void)skewed(f, skews[i], "put", "30000");
        must_find_nothing(f->q, "events");
        assert_int_equal(must_depth(f->q, "events").delayed, (int)i + 1);
    }
}

/* --- a server that is killed and comes back --- */
/* Kills the server and starts it anew with its files; returns when it answers. */
static void restart_server(const struct queue_fixture *f)
{
    char program[600];
    const char *path = f->store.url + strlen("redis://");
    const char *slash = path + strcspn(path, "?");
    int status = 0;
    pid_t pid;
    while (*slash != '/') {
        slash--;
    }
    (void)snprintf(program, sizeof program, "%.*s/restart", (int)(slash - path), path);
    char *argv[] = {program, NULL};
    assert_int_equal(posix_spawn(&pid, program, NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void only_with_a_server_of_our_own(const struct queue_fixture *f)
{
    if (strncmp(f->store.url, "redis:///", 9) != 0) {
        skip();
    }
}

/* Repeats a call as long as its error says that this is right. */
static bool again(int rc, const struct err *e, int *attempt)
{
    if (rc == 0 || e->class != ERR_RETRY || *attempt > 1000) {
        return false;
    }
    clock_sleep_until(clock_mono_ms() + backoff_full_jitter_ms(5, 100, ++*attempt));
    return true;
}

/* insist: puts numbered messages until killed and says each number once it is confirmed. */
int queue_child_insist(const char *url, int argc, char **argv)
{
    struct queue *q = NULL;
    struct err e;
    (void)argc;
    (void)argv;
    if (queue_open(url, &q, &e) != 0) {
        return 1;
    }
    for (int number = 0;; number++) {
        char body[32];
        int attempt = 0;
        int rc;
        (void)snprintf(body, sizeof body, "%d", number);
        struct queue_item item = {
            .lane = "events", .body = slice_of(body), .key = body, .group = ""};
        do {
            rc = queue_put(q, &item, 1, &e);
        } while (again(rc, &e, &attempt));
        if (rc != 0) {
            fprintf(stderr, "child: %s: %s\n", err_class_name(e.class), e.message);
            return 1;
        }
        (void)printf("%d\n", number);
        (void)fflush(stdout);
    }
}

static long read_numbers(struct conformance_process *p, int lines)
{
    long last = -1;
    for (int i = 0; i < lines; i++) {
        assert_true(conformance_read_line(p));
        last = strtol(p->line, NULL, 10);
    }
    return last;
}

#define NUMBERS_MAX 200000

/* Takes everything; each number up to `confirmed` must be there, twice at the most often. */
static void check_numbers(struct queue *q, long confirmed)
{
    unsigned char *seen = calloc(NUMBERS_MAX, 1);
    size_t got = 1;
    assert_non_null(seen);
    while (got > 0) {
        struct queue_message m[64];
        struct err e;
        MUST(queue_receive(q, "events", 64, HOUR_MS, 0, m, &got, &e));
        for (size_t i = 0; i < got; i++) {
            seen[strtoul(m[i].body, NULL, 10) % NUMBERS_MAX]++;
        }
        if (got > 0) {
            MUST(queue_ack(q, m, got, &e));
        }
        for (size_t i = 0; i < got; i++) {
            queue_message_fini(&m[i]);
        }
    }
    for (long i = 0; i <= confirmed; i++) {
        assert_in_range(seen[i], 1, 2);
    }
    free(seen);
}

static void server_killed_in_the_middle_loses_nothing_confirmed(void **state)
{
    struct queue_fixture *f = *state;
    struct conformance_process p;
    struct err e;
    only_with_a_server_of_our_own(f);
    must_put(f->q, "launch.held", "held");
    struct queue_message held = must_take(f->q, "launch.held", HOUR_MS);
    conformance_spawn(&p, "insist", f->store.url, NULL);
    long last = -1;
    for (int round = 0; round < 3; round++) {
        (void)read_numbers(&p, 20);
        restart_server(f);
        last = read_numbers(&p, 20);
    }
    assert_int_equal(kill(p.pid, SIGKILL), 0);
    while (conformance_read_line(&p)) {
        last = strtol(p.line, NULL, 10);
    }
    assert_int_equal(conformance_wait(&p), -SIGKILL);
    assert_true(last >= 119 && last < NUMBERS_MAX);
    check_numbers(f->q, last);
    MUST(queue_extend(f->q, &held, HOUR_MS, &e));
    must_be_done(f->q, &held);
}

static void restarted_server_still_wakes_those_who_wait(void **state)
{
    struct queue_fixture *f = *state;
    only_with_a_server_of_our_own(f);
    must_put(f->q, "events", "before");
    struct queue_message m = must_take_body(f->q, "events", HOUR_MS, "before");
    must_be_done(f->q, &m);
    must_find_nothing(f->q, "events");
    restart_server(f);
    struct queue *other = must_open(f->store.url);
    must_put(other, "events", "after");
    m = must_take_body(f->q, "events", HOUR_MS, "after");
    must_be_done(f->q, &m);
    queue_close(other);
}

const struct CMUnitTest queue_machine_tests[] = {
    QUEUE_TEST(clock_off_by_a_minute_ends_no_lease_early),
    QUEUE_TEST(clock_off_by_a_minute_lengthens_no_lease),
    QUEUE_TEST(clock_off_by_a_minute_changes_no_delay),
    QUEUE_TEST(server_killed_in_the_middle_loses_nothing_confirmed),
    QUEUE_TEST(restarted_server_still_wakes_those_who_wait),
};
const size_t queue_machine_test_count = COUNT_OF(queue_machine_tests);
