/*
 * The sqlite queue: what only this backend promises (strict order), and its file's troubles.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/metrics.h"
#include "common/queue/queue.h"
#include "common/queue/sqlite/wait.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define HOUR_MS (3600LL * 1000)

struct fixture {
    char dir[256];
    char path[280];
    char url[300];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *temp = getenv("TMPDIR");
    assert_non_null(f);
    (void)snprintf(f->dir, sizeof f->dir, "%s/mayfly-queue-XXXXXX", temp != NULL ? temp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->path, sizeof f->path, "%s/queue.db", f->dir);
    (void)snprintf(f->url, sizeof f->url, "sqlite://%s", f->path);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err e;
    clock_set_source(NULL);
    assert_int_equal(fs_remove_tree(f->dir, &e), 0);
    free(f);
    return 0;
}

static struct queue *must_open(const char *url)
{
    struct queue *q = NULL;
    struct err e;
    MUST(queue_open(url, &q, &e));
    return q;
}

static void must_put(struct queue *q, const char *lane, const char *body, int64_t delay_ms)
{
    struct queue_item item = {
        .lane = lane, .body = slice_of(body), .key = "", .delay_ms = delay_ms, .group = ""};
    struct err e;
    MUST(queue_put(q, &item, 1, &e));
}

static struct queue_message must_take(struct queue *q, const char *lane, int64_t lease_ms,
                                      const char *body)
{
    struct queue_message m = {0};
    size_t got = 0;
    struct err e;
    MUST(queue_receive(q, lane, 1, lease_ms, 30000, &m, &got, &e));
    assert_int_equal(got, 1);
    assert_string_equal(m.body, body);
    return m;
}

static void must_find_nothing(struct queue *q, const char *lane)
{
    struct queue_message m;
    size_t got = 9;
    struct err e;
    MUST(queue_receive(q, lane, 1, HOUR_MS, 0, &m, &got, &e));
    assert_int_equal(got, 0);
}

static void by_hand(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- numbers --- */
static void numbers_that_others_wrote_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    int64_t now_ms = clock_wall_ms();
    must_put(q, "events", "1", 0);
    must_put(q, "events", "2", 0);
    by_hand(f->path, "UPDATE messages SET attempts = 9223372036854775807, "
                     "enqueued_ms = -9223372036854775807 WHERE id = 1;"
                     "UPDATE messages SET attempts = -1, enqueued_ms = 253402300800000 "
                     "WHERE id = 2");
    struct queue_message m = must_take(q, "events", HOUR_MS, "1");
    assert_int_equal(m.attempts, QUEUE_ATTEMPTS_MAX);
    assert_in_range(m.enqueued_ms, now_ms, clock_wall_ms());
    queue_message_fini(&m);
    m = must_take(q, "events", HOUR_MS, "2");
    assert_int_equal(m.attempts, 0);
    assert_in_range(m.enqueued_ms, now_ms, clock_wall_ms());
    queue_message_fini(&m);
    queue_close(q);
}

/* --- order --- */
static void messages_come_oldest_first_and_an_expired_one_in_its_place(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    struct queue_return at_once = {.delay_ms = 0, .reason = "no slot"};
    static const char *const bodies[] = {"1", "2", "3"};
    struct queue_message m[3];
    struct err e;
    for (int i = 0; i < 3; i++) {
        must_put(q, "events", bodies[i], 0);
    }
    m[0] = must_take(q, "events", HOUR_MS, "1");
    m[1] = must_take(q, "events", 1, "2");
    MUST(queue_nack(q, &m[0], &at_once, &e));
    while (clock_wall_ms() <= m[1].leased_until_ms) {
    }
    static const char *const then[] = {"2", "3", "1"};
    for (int i = 0; i < 3; i++) {
        struct queue_message again = must_take(q, "events", HOUR_MS, then[i]);
        queue_message_fini(&again);
    }
    queue_message_fini(&m[0]);
    queue_message_fini(&m[1]);
    queue_close(q);
}

/* --- time --- */
static _Atomic int64_t jump_ms;

static int64_t real_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t jumping_wall_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + atomic_load(&jump_ms);
}

static const struct clock_source jumping = {real_mono_us, jumping_wall_ms};

static void clock_that_jumps_ends_leases_early_or_late_but_loses_nothing(void **state)
{
    struct fixture *f = *state;
    atomic_store(&jump_ms, 0);
    clock_set_source(&jumping);
    struct queue *q = must_open(f->url);
    struct err e;
    must_put(q, "events", "x", 0);
    struct queue_message first = must_take(q, "events", 30000, "x");
    atomic_store(&jump_ms, 60000);
    struct queue_message second = must_take(q, "events", 30000, "x");
    must_fail_saying(queue_ack(q, &first, 1, &e), &e, ERR_CONFLICT, "lease");
    atomic_store(&jump_ms, -60000);
    must_find_nothing(q, "events");
    MUST(queue_extend(q, &second, 30000, &e));
    MUST(queue_ack(q, &second, 1, &e));
    must_find_nothing(q, "events");
    queue_message_fini(&first);
    queue_message_fini(&second);
    queue_close(q);
}

static void message_returned_by_a_clock_a_year_ahead_is_received(void **state)
{
    struct fixture *f = *state;
    struct err e;
    atomic_store(&jump_ms, 365 * 24 * HOUR_MS);
    clock_set_source(&jumping);
    struct queue *q = must_open(f->url);
    must_put(q, "events", "x", 0);
    struct queue_message first = must_take(q, "events", 30000, "x");
    const struct queue_return later = {.delay_ms = HOUR_MS};
    MUST(queue_nack(q, &first, &later, &e));
    queue_close(q);
    atomic_store(&jump_ms, 0);
    q = must_open(f->url); /* a process that did not see the clock set back */
    struct queue_message second = must_take(q, "events", 30000, "x");
    atomic_store(&jump_ms, 20 * 24 * HOUR_MS);
    must_put(q, "events", "later", HOUR_MS);
    atomic_store(&jump_ms, 0);
    must_find_nothing(q, "events"); /* a delay may be that long */
    queue_message_fini(&first);
    queue_message_fini(&second);
    queue_close(q);
}

static void delay_does_not_grow_when_the_clock_is_set_back(void **state)
{
    struct fixture *f = *state;
    atomic_store(&jump_ms, 20 * HOUR_MS);
    clock_set_source(&jumping);
    struct queue *q = must_open(f->url);
    must_put(q, "events", "x", HOUR_MS);
    must_find_nothing(q, "events");
    atomic_store(&jump_ms, 0);
    must_find_nothing(q, "events");
    atomic_store(&jump_ms, HOUR_MS);
    struct queue_message m = must_take(q, "events", 30000, "x");
    queue_message_fini(&m);
    queue_close(q);
}

static void *take_delayed(void *arg)
{
    struct queue *q = arg;
    struct queue_message m = must_take(q, "events", HOUR_MS, "in an hour");
    queue_message_fini(&m);
    return NULL;
}

static void waiting_take_notices_that_the_clock_jumped(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    atomic_store(&jump_ms, 0);
    clock_set_source(&jumping);
    struct queue *q = must_open(f->url);
    must_put(q, "events", "in an hour", HOUR_MS);
    must_find_nothing(q, "events");
    assert_int_equal(pthread_create(&thread, NULL, take_delayed, q), 0);
    atomic_store(&jump_ms, HOUR_MS);
    assert_int_equal(pthread_join(thread, NULL), 0);
    queue_close(q);
}

/* --- a waiter in this process is woken at once, not by the watch over the file --- */
static struct told {
    size_t count;
    char lane[2][16];
    int64_t ready[2];
    int64_t due_ms[2];
} told;

void __real_queue_sqlite_waiters_notify(struct queue_sqlite_waiters *w, const char *lane,
                                        int64_t ready, int64_t due_ms);
void __wrap_queue_sqlite_waiters_notify(struct queue_sqlite_waiters *w, const char *lane,
                                        int64_t ready, int64_t due_ms);
void __wrap_queue_sqlite_waiters_notify(struct queue_sqlite_waiters *w, const char *lane,
                                        int64_t ready, int64_t due_ms)
{
    if (told.count < COUNT_OF(told.ready)) {
        (void)snprintf(told.lane[told.count], sizeof told.lane[0], "%s", lane);
        told.ready[told.count] = ready;
        told.due_ms[told.count] = due_ms;
    }
    told.count++;
    __real_queue_sqlite_waiters_notify(w, lane, ready, due_ms);
}

static void put_tells_the_waiters_of_each_lane_what_came_and_when_it_is_due(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    const struct queue_item items[] = {
        {.lane = "events", .body = SLICE("now"), .key = ""},
        {.lane = "launch.small", .body = SLICE("later"), .key = "", .delay_ms = HOUR_MS}};
    struct err e;
    told = (struct told){0};
    int64_t before = clock_wall_ms();
    MUST(queue_put(q, items, 2, &e));
    assert_int_equal(told.count, 2);
    assert_string_equal(told.lane[0], "events");
    assert_int_equal(told.ready[0], 1);
    assert_int_equal(told.due_ms[0], INT64_MAX);
    assert_string_equal(told.lane[1], "launch.small");
    assert_int_equal(told.ready[1], 0);
    assert_in_range(told.due_ms[1], before + HOUR_MS, clock_wall_ms() + HOUR_MS);
    queue_close(q);
}

/* --- one statement of a call fails, and the store is well --- */
static void put_with_one_message_refused_puts_none(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    struct queue_item items[40]; /* written many at once; one of the second lot is refused */
    struct err e;
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        items[i] = (struct queue_item){
            .lane = "events", .body = SLICE("a"), .key = i == 25 ? "refused" : ""};
    }
    by_hand(f->path, "CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN NEW.key = 'refused' "
                     "BEGIN SELECT RAISE(FAIL, 'refused by hand'); END");
    must_fail_saying(queue_put(q, items, COUNT_OF(items), &e), &e, ERR_CONFLICT, "refused by hand");
    must_find_nothing(q, "events");
    queue_close(q);
}

static void take_that_cannot_lease_fails_and_leaves_the_message_ready(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    struct queue_message m = {0};
    size_t got = 9;
    struct err e;
    must_put(q, "events", "x", 0);
    by_hand(f->path, "CREATE TRIGGER refuse BEFORE UPDATE ON messages "
                     "BEGIN SELECT RAISE(FAIL, 'refused by hand'); END");
    must_fail_saying(queue_receive(q, "events", 1, HOUR_MS, 0, &m, &got, &e), &e, ERR_CONFLICT,
                     "refused by hand");
    by_hand(f->path, "DROP TRIGGER refuse");
    m = must_take(q, "events", HOUR_MS, "x");
    queue_message_fini(&m);
    queue_close(q);
}

/* --- the file --- */
static void must_refuse(const char *url, const char *says)
{
    struct queue *q = NULL;
    struct err e;
    must_fail_saying(queue_open(url, &q, &e), &e, ERR_PERMANENT, says);
    assert_null(q);
}

static void newer_file_is_refused_with_both_versions(void **state)
{
    struct fixture *f = *state;
    queue_close(must_open(f->url));
    by_hand(f->path, "PRAGMA user_version = 42");
    must_refuse(f->url, "has version 42; this program supports up to 5");
}

/* As a file of version 3 was: nothing counts its messages. */
static void older_file_is_counted_once_and_keeps_count(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    must_put(q, "events", "x", 0);
    must_put(q, "events", "y", HOUR_MS);
    queue_close(q);
    by_hand(f->path,
            "DROP TRIGGER message_moved; DROP TRIGGER message_removed; DROP TABLE tally; "
            "DROP INDEX messages_dead; CREATE INDEX messages_dead ON messages (place, lane) "
            "WHERE place = 3; PRAGMA user_version = 3");
    q = must_open(f->url);
    must_put(q, "events", "z", 0);
    struct queue_depth *d = NULL;
    size_t n = 0;
    struct err e;
    MUST(queue_depths(q, NULL, &d, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(d->ready, 2);
    assert_int_equal(d->delayed, 1);
    free(d);
    queue_close(q);
}

static void file_that_is_no_queue_is_refused(void **state)
{
    struct fixture *f = *state;
    by_hand(f->path, "CREATE TABLE t (x)");
    must_refuse(f->url, "not a Mayfly queue");
    must_refuse("sqlite://relative.db", "sqlite:///path");
}

static void removed_file_is_told_by_put_take_and_ping(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    struct queue_item item = {.lane = "events", .body = SLICE("x"), .key = "", .group = ""};
    struct queue_message m;
    size_t got = 0;
    struct err e;
    assert_int_equal(unlink(f->path), 0);
    must_fail_saying(queue_put(q, &item, 1, &e), &e, ERR_AUTH, "removed");
    must_fail_saying(queue_receive(q, "events", 1, HOUR_MS, HOUR_MS, &m, &got, &e), &e, ERR_AUTH,
                     "removed");
    must_fail_saying(queue_ping(q, &e), &e, ERR_AUTH, "removed");
    queue_close(q);
}

static void *take_in_vain(void *arg)
{
    struct queue_message m;
    size_t got = 0;
    struct err *e = malloc(sizeof *e);
    if (e != NULL && queue_receive(arg, "events", 1, HOUR_MS, HOUR_MS, &m, &got, e) == 0) {
        e->class = ERR_NONE;
    }
    return e;
}

static void waiting_take_hears_of_a_removed_file(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_create(&thread, NULL, take_in_vain, q), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    must_fail_saying(-1, result, ERR_AUTH, "removed");
    free(result);
    queue_close(q);
}

/* A file system of its own with little room; false where the system does not let us. */
static bool mount_small(const char *dir)
{
    int flags = CLONE_NEWNS | (geteuid() != 0 ? CLONE_NEWUSER : 0);
    return unshare(flags) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", dir, "tmpfs", 0, "size=1m") == 0;
}

static void full_disk_is_told_and_forgotten_once_there_is_room(void **state)
{
    struct fixture *f = *state;
    static char body[4000];
    int64_t confirmed = 0;
    struct err e;
    if (!mount_small(f->dir)) {
        print_message("no right to mount a small file system: skipped\n");
        skip();
    }
    struct queue *q = must_open(f->url);
    struct queue_item item = {
        .lane = "events", .body = {body, sizeof body}, .key = "", .group = ""};
    while (queue_put(q, &item, 1, &e) == 0) {
        confirmed++;
        assert_in_range(confirmed, 1, 1000);
    }
    must_fail_saying(-1, &e, ERR_CAPACITY, "free space");
    assert_int_equal(mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    MUST(queue_put(q, &item, 1, &e));
    struct queue_depth *depth = NULL;
    size_t n = 0;
    MUST(queue_depths(q, "events", &depth, &n, &e));
    assert_int_equal(depth[0].ready, confirmed + 1);
    free(depth);
    queue_close(q);
    assert_int_equal(umount2(f->dir, MNT_DETACH), 0);
}

/* --- metrics --- */
static void calls_are_counted_by_lane(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    struct queue_return back = {.reason = "r"};
    struct queue_message m;
    struct err e;
    struct buf text;
    must_put(q, "launch.counted", "x", 0);
    m = must_take(q, "launch.counted", HOUR_MS, "x");
    MUST(queue_nack(q, &m, &back, &e));
    must_fail_saying(queue_ack(q, &m, 1, &e), &e, ERR_CONFLICT, "lease");
    queue_message_fini(&m);
    m = must_take(q, "launch.counted", HOUR_MS, "x");
    MUST(queue_ack(q, &m, 1, &e));
    queue_message_fini(&m);
    buf_init(&text, 1024 * 1024);
    metrics_render(&text);
    static const char *const lines[] = {
        "mayfly_queue_put_total{lane=\"launch.counted\"} 1\n",
        "mayfly_queue_received_total{lane=\"launch.counted\"} 2\n",
        "mayfly_queue_nacked_total{lane=\"launch.counted\"} 1\n",
        "mayfly_queue_acked_total{lane=\"launch.counted\"} 1\n",
        "mayfly_queue_lease_lost_total{lane=\"launch.counted\"} 1\n",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        assert_non_null(strstr(text.data, lines[i]));
    }
    buf_fini(&text);
    queue_close(q);
}

static void lanes_past_the_limit_are_counted_together(void **state)
{
    struct fixture *f = *state;
    struct queue *q = must_open(f->url);
    struct buf text;
    for (int i = 0; i < 80; i++) {
        char lane[32];
        (void)snprintf(lane, sizeof lane, "launch.many-%d", i);
        must_put(q, lane, "x", 0);
    }
    buf_init(&text, 1024 * 1024);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "mayfly_queue_put_total{lane=\"launch.many-5\"} 1\n"));
    assert_null(strstr(text.data, "launch.many-79"));
    assert_non_null(strstr(text.data, "mayfly_queue_put_total{lane=\"other\"} 17\n"));
    buf_fini(&text);
    queue_close(q);
}

static void unknown_scheme_is_refused_with_those_there_are(void **state)
{
    struct queue *q = NULL;
    struct err e = {0};
    (void)state;
    assert_int_equal(queue_open("rabbit://user:secret@host", &q, &e), -1);
    assert_null(q);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_string_equal(e.message, "there is no queue of the scheme \"rabbit\": write one of "
                                   "sqlite:///path/to/file, redis://HOST:PORT, sqs://PREFIX, "
                                   "kafka://HOST:PORT/NAME");
    assert_int_equal(queue_open("no-url-at-all", &q, &e), -1);
}

#define QUEUE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_scheme_is_refused_with_those_there_are),
        QUEUE_TEST(numbers_that_others_wrote_are_bounded),
        QUEUE_TEST(messages_come_oldest_first_and_an_expired_one_in_its_place),
        QUEUE_TEST(clock_that_jumps_ends_leases_early_or_late_but_loses_nothing),
        QUEUE_TEST(message_returned_by_a_clock_a_year_ahead_is_received),
        QUEUE_TEST(delay_does_not_grow_when_the_clock_is_set_back),
        QUEUE_TEST(waiting_take_notices_that_the_clock_jumped),
        QUEUE_TEST(put_tells_the_waiters_of_each_lane_what_came_and_when_it_is_due),
        QUEUE_TEST(put_with_one_message_refused_puts_none),
        QUEUE_TEST(take_that_cannot_lease_fails_and_leaves_the_message_ready),
        QUEUE_TEST(older_file_is_counted_once_and_keeps_count),
        QUEUE_TEST(newer_file_is_refused_with_both_versions),
        QUEUE_TEST(file_that_is_no_queue_is_refused),
        QUEUE_TEST(removed_file_is_told_by_put_take_and_ping),
        QUEUE_TEST(waiting_take_hears_of_a_removed_file),
        QUEUE_TEST(calls_are_counted_by_lane),
        QUEUE_TEST(lanes_past_the_limit_are_counted_together),
        /* Last: it leaves the process in a mount name space of its own. */
        QUEUE_TEST(full_disk_is_told_and_forgotten_once_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
