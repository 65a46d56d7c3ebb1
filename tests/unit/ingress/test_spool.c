#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/log.h"
#include "ingress/spool.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define PATIENCE_MS 30000
#define LONG_US (PATIENCE_MS * 1000LL)

static int64_t ahead_ms; /* atomic: of the wall clock */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000 +
           __atomic_load_n(&ahead_ms, __ATOMIC_RELAXED);
}

static int64_t mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static bool (*is_crowded)(void *arg);
static char folder[64];
static char path[96];
static char queue_url[96]; /* of the queue behind the spool */
static struct spool *spool;
static int arrived[256]; /* the numbers of the messages received from the queue, in order */
static size_t arrived_count;

/* What the queue behind the spool, and the spool's file, do wrong; under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    enum err_class refusal;   /* of puts and pings; ERR_NONE: they succeed */
    enum err_class closed;    /* of opening it */
    enum err_class poisoned;  /* of a put with message 1 */
    enum err_class disk_full; /* of the spool's file */
    bool blocked;             /* puts wait until it is false */
} wrong;

static void replan(void)
{
    const struct call_plan plans[] = {
        {.function = "queue_put", .with = "memory:", .waits = wrong.blocked},
        {.function = "queue_put", .with = "memory:", .fails = wrong.refusal},
        {.function = "queue_ping", .with = "memory:", .fails = wrong.refusal},
        {.function = "queue_open", .with = "memory:", .fails = wrong.closed},
        {.function = "queue_put", .with = "sqlite:", .fails = wrong.disk_full},
        {.function = "queue_put", .with = " {lane=launch.small key=1 ", .fails = wrong.poisoned},
    };
    calls_replan(plans, COUNT_OF(plans));
}

static void fail_with(enum err_class *what, enum err_class class)
{
    pthread_mutex_lock(&lock);
    *what = class;
    replan();
    pthread_mutex_unlock(&lock);
}

static void refuse(enum err_class class)
{
    fail_with(&wrong.refusal, class);
}

static void block(bool blocked)
{
    pthread_mutex_lock(&lock);
    wrong.blocked = blocked;
    replan();
    pthread_mutex_unlock(&lock);
}

static int told; /* atomic: calls of opened() */

static void opened(struct queue *q)
{
    assert_non_null(q);
    __atomic_add_fetch(&told, 1, __ATOMIC_RELAXED);
}

static int64_t after_ms;

static int open_spool(int64_t max_messages, struct err *e)
{
    const struct spool_options o = {.path = path,
                                    .queue_url = queue_url,
                                    .max_messages = max_messages,
                                    .max_age_ms = 60000,
                                    .batch = 4,
                                    .retry_ms = 100,
                                    .after_ms = after_ms,
                                    .commit_threads = 2,
                                    .opened = opened};
    spool = NULL;
    return spool_open(&o, &spool, e);
}

static void open_good(int64_t max_messages)
{
    struct err e = {0};
    MUST(open_spool(max_messages, &e));
}

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/mayfly-spool-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spool.db", folder);
    snprintf(queue_url, sizeof queue_url, "memory:/%s", folder);
    calls_reset();
    memset(&wrong, 0, sizeof wrong);
    told = 0;
    arrived_count = 0;
    ahead_ms = 0;
    after_ms = PATIENCE_MS;
    is_crowded = NULL;
    return 0;
}

static int tear_down(void **state)
{
    struct err e = {0};
    spool_close(spool);
    spool = NULL;
    return fs_remove_tree(folder, &e);
}

/* One batch, of consecutive numbers, which the bodies say too; of one group, since groups are served in
 * turn. */
static int commit_until(int from, int to, int64_t deadline_us, bool *spooled, struct err *e)
{
    char keys[16][8];
    char bodies[16][16];
    struct queue_item items[16];
    assert_in_range(to - from, 1, 16);
    for (int i = 0; i < to - from; i++) {
        snprintf(keys[i], sizeof keys[i], "%d", from + i);
        snprintf(bodies[i], sizeof bodies[i], "number %d", from + i);
        items[i] = (struct queue_item){.lane = "launch.small",
                                       .body = slice_of(bodies[i]),
                                       .key = keys[i],
                                       .group = "acme/app"};
    }
    const struct spool_caller caller = {deadline_us, is_crowded, NULL};
    return spool_commit(spool, items, (size_t)(to - from), &caller, spooled, e);
}

static void commit(int from, int to, bool wanted_spooled)
{
    struct err e = {0};
    bool spooled = !wanted_spooled;
    MUST(commit_until(from, to, mono_us() + LONG_US, &spooled, &e));
    assert_int_equal(spooled, wanted_spooled);
}

static void commit_refused(int from, int to, enum err_class class)
{
    struct err e = {0};
    bool spooled;
    must_fail(commit_until(from, to, mono_us() + LONG_US, &spooled, &e), &e, class);
}

static int64_t held(void)
{
    struct spool_view view;
    spool_read_state(spool, &view);
    return view.messages;
}

static void wait_direct(void)
{
    struct spool_view view;
    int64_t until_us = mono_us() + LONG_US;
    for (spool_read_state(spool, &view); !view.direct; spool_read_state(spool, &view)) {
        assert_true(mono_us() < until_us);
        (void)poll(NULL, 0, 1);
    }
    assert_int_equal(view.messages, 0);
    assert_int_equal(view.oldest_age_ms, 0);
}

/* Takes what arrived at the queue, waiting for the first of it. */
static void collect(int64_t wait_ms)
{
    struct queue *q = NULL;
    struct queue_message m[64];
    size_t got = 0;
    struct err e;
    MUST(queue_open(queue_url, &q, &e));
    do {
        MUST(queue_receive(q, "launch.small", 64, LONG_US, wait_ms, m, &got, &e));
        for (size_t i = 0; i < got; i++) {
            assert_true(arrived_count < COUNT_OF(arrived));
            arrived[arrived_count++] = (int)strtol(m[i].key, NULL, 10);
            queue_message_fini(&m[i]);
        }
        wait_ms = 0;
    } while (got > 0);
    queue_close(q);
}

/* Exactly these numbers arrived, in order, with all that belongs to them. */
static void check_arrived(int from, int to)
{
    collect(0);
    assert_int_equal(arrived_count, to - from);
    for (int i = 0; i < to - from; i++) {
        char text[128];
        assert_int_equal(arrived[i], from + i);
        snprintf(text, sizeof text,
                 " {lane=launch.small key=%d group=acme/app delay_ms=0 body=number %d}", from + i,
                 from + i);
        assert_true(calls_done("queue_put", text) > 0);
    }
}

static void healthy_queue_takes_deliveries_directly(void **state)
{
    open_good(100);
    commit(0, 3, false);
    assert_int_equal(held(), 0);
    check_arrived(0, 3);
    assert_int_equal(__atomic_load_n(&told, __ATOMIC_RELAXED), 1);
}

static void refused_put_is_spooled_and_moved_on_in_order(void **state)
{
    const enum err_class classes[] = {ERR_RETRY, ERR_THROTTLED, ERR_CAPACITY, ERR_AUTH};
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        arrived_count = 0;
        open_good(100);
        refuse(classes[i]);
        commit(0, 6, true);
        commit(6, 11, true);
        assert_int_equal(held(), 11);
        check_arrived(0, 0);
        refuse(ERR_NONE);
        wait_direct();
        check_arrived(0, 11);
        commit(11, 12, false);
        check_arrived(0, 12);
        spool_close(spool);
        spool = NULL;
    }
}

static void failed_drain_keeps_everything(void **state)
{
    open_good(100);
    refuse(ERR_RETRY);
    commit(0, 6, true);
    calls_wait_count("queue_put", "memory:", 5);
    assert_int_equal(held(), 6);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 6);
}

/* A put of 0 and 1 hangs, and is handed over to the spool. Nobody waits for the queue any more but the
 * drainer and the put left behind. */
static void commit_handed_over(void)
{
    block(true);
    commit(0, 2, true);
    commit(2, 3, true);
    commit(3, 4, true);
    assert_int_equal(held(), 4);
}

/* What was handed over arrives in the end, and is not put a second time. */
static void check_handed_over_once(void)
{
    block(false);
    wait_direct();
    check_arrived(0, 4);
    assert_int_equal(calls_count("queue_put", "{lane=launch.small key=0 "), 1);
    commit(4, 5, false);
}

static void stuck_put_is_spooled_and_not_tried_twice(void **state)
{
    after_ms = 500;
    open_good(100);
    commit_handed_over();
    check_handed_over_once();
}

static bool crowd_seen;

static bool put_hangs(void *arg)
{
    crowd_seen = calls_count("queue_put", "memory:") > 0;
    return crowd_seen;
}

static void stuck_put_is_spooled_earlier_in_a_crowd(void **state)
{
    crowd_seen = false;
    after_ms = 3000;
    is_crowded = put_hangs;
    open_good(100);
    commit_handed_over();
    assert_true(crowd_seen);
    check_handed_over_once();
}

/* It may have reached the queue, and may not: at least once. */
static void stuck_put_that_fails_is_tried_again(void **state)
{
    after_ms = 500;
    open_good(100);
    refuse(ERR_RETRY);
    commit_handed_over();
    block(false);
    calls_wait_count("queue_put", "memory:", 2);
    assert_int_equal(held(), 4);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 4);
}

static void deadline_before_that_is_kept_too(void **state)
{
    struct err e = {0};
    bool spooled = false;
    open_good(100);
    block(true);
    assert_int_equal(commit_until(0, 1, mono_us() + 20000, &spooled, &e), 0);
    assert_true(spooled);
    block(false);
    wait_direct();
    check_arrived(0, 1);
}

static void deadline_already_past_is_spooled_unput(void **state)
{
    struct err e = {0};
    bool spooled = false;
    open_good(100);
    assert_int_equal(commit_until(0, 1, mono_us() - 1, &spooled, &e), 0);
    assert_true(spooled);
    wait_direct();
    check_arrived(0, 1);
}

static void new_delivery_goes_behind_what_is_spooled(void **state)
{
    open_good(100);
    refuse(ERR_RETRY);
    commit(0, 2, true);
    size_t before = calls_count("queue_put", "memory:");
    block(true);
    refuse(ERR_NONE);
    calls_wait_count("queue_put", "memory:", before + 1);
    commit(2, 3, true);
    block(false);
    wait_direct();
    check_arrived(0, 3);
}

static void full_spool_refuses_until_there_is_room(void **state)
{
    open_good(4);
    refuse(ERR_RETRY);
    commit(0, 3, true);
    commit_refused(9, 11, ERR_CAPACITY);
    commit(3, 4, true);
    commit_refused(9, 10, ERR_CAPACITY);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 4);
    commit(4, 5, false);
}

static void spool_over_age_refuses_and_still_moves_on(void **state)
{
    struct spool_view view;
    open_good(100);
    refuse(ERR_RETRY);
    commit(0, 1, true);
    __atomic_store_n(&ahead_ms, 50000, __ATOMIC_RELAXED);
    commit(1, 2, true);
    __atomic_store_n(&ahead_ms, 61000, __ATOMIC_RELAXED);
    commit_refused(9, 10, ERR_CAPACITY);
    spool_close(spool);
    open_good(100);
    commit_refused(9, 10, ERR_CAPACITY);
    spool_read_state(spool, &view);
    assert_true(view.over_age);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 2);
    commit(2, 3, false);
}

static void full_disk_refuses_and_counts_nothing(void **state)
{
    open_good(100);
    refuse(ERR_RETRY);
    fail_with(&wrong.disk_full, ERR_PERMANENT); /* whatever it says, GitHub is to come again */
    commit_refused(0, 1, ERR_CAPACITY);
    assert_int_equal(held(), 0);
    fail_with(&wrong.disk_full, ERR_NONE);
    commit(0, 1, true);
    fail_with(&wrong.disk_full, ERR_CAPACITY);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 1);
}

static void restart_moves_on_what_it_finds_first(void **state)
{
    open_good(100);
    refuse(ERR_RETRY);
    commit(0, 6, true);
    calls_wait_count("queue_put", "memory:", 2);
    spool_close(spool);
    open_good(100);
    assert_int_equal(held(), 6);
    commit(6, 7, true);
    assert_int_equal(calls_count("queue_put", "{lane=launch.small key=6 "), 0);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 7);
}

static void queue_away_at_the_start_is_opened_later(void **state)
{
    fail_with(&wrong.closed, ERR_RETRY);
    open_good(100);
    commit(0, 2, true);
    calls_wait_count("queue_open", "memory:", 3);
    fail_with(&wrong.closed, ERR_NONE);
    wait_direct();
    check_arrived(0, 2);
    assert_int_equal(__atomic_load_n(&told, __ATOMIC_RELAXED), 1);
}

static void queue_that_will_never_open_is_an_error(void **state)
{
    struct err e = {0};
    fail_with(&wrong.closed, ERR_PERMANENT);
    must_fail(open_spool(100, &e), &e, ERR_PERMANENT);
    assert_null(spool);
}

static void message_refused_for_good_fails_and_is_not_spooled(void **state)
{
    open_good(100);
    fail_with(&wrong.poisoned, ERR_PERMANENT);
    commit_refused(0, 3, ERR_PERMANENT);
    assert_int_equal(held(), 0);
    commit(5, 6, false);
}

static void poisoned_message_in_the_spool_is_buried_alone(void **state)
{
    struct queue *file = NULL;
    struct queue_entry *dead = NULL;
    size_t n = 0;
    struct err e = {0};
    open_good(100);
    refuse(ERR_RETRY);
    commit(0, 3, true);
    fail_with(&wrong.poisoned, ERR_PERMANENT);
    refuse(ERR_NONE);
    wait_direct();
    collect(0);
    assert_int_equal(arrived_count, 2);
    assert_int_equal(arrived[0], 0);
    assert_int_equal(arrived[1], 2);
    spool_close(spool);
    spool = NULL;
    char url[128];
    snprintf(url, sizeof url, "sqlite://%s", path);
    MUST(queue_open(url, &file, &e));
    MUST(queue_dead(file, NULL, 10, &dead, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(dead[0].message.key, "1");
    queue_entries_free(dead, n);
    queue_close(file);
}

static void queue_that_refuses_all_for_good_buries_nothing(void **state)
{
    open_good(100);
    refuse(ERR_RETRY);
    commit(0, 3, true);
    refuse(ERR_PERMANENT);
    calls_wait_count("queue_put", "memory:", calls_count("queue_put", "memory:") + 9);
    assert_int_equal(held(), 3);
    refuse(ERR_RETRY); /* before it accepts all: a message refused alone is rightly a dead letter */
    calls_wait_count("queue_put", "memory:", calls_count("queue_put", "memory:") + 3);
    refuse(ERR_NONE);
    wait_direct();
    check_arrived(0, 3);
}

static void *commit_many(void *arg)
{
    int base = *(const int *)arg;
    for (int i = 0; i < 20; i++) {
        struct err e = {0};
        bool spooled;
        if (commit_until(base + i, base + i + 1, mono_us() + LONG_US, &spooled, &e) != 0) {
            return arg;
        }
        if (i % 7 == 3 || i % 7 == 6) {
            refuse(i % 7 == 3 ? ERR_RETRY : ERR_NONE);
        }
    }
    return NULL;
}

static void committers_and_outages_lose_nothing(void **state)
{
    pthread_t threads[3];
    int bases[3] = {100, 200, 300};
    open_good(1000);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &bases[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed = &bases[i];
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    refuse(ERR_NONE);
    wait_direct();
    bool seen[400] = {false};
    size_t distinct = 0;
    collect(0);
    for (size_t i = 0; i < arrived_count; i++) {
        distinct += !seen[arrived[i]];
        seen[arrived[i]] = true;
    }
    assert_int_equal(distinct, 60);
}

int main(void)
{
    const struct clock_source clocks = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&clocks);
    log_set_level(LOG_ERROR);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(healthy_queue_takes_deliveries_directly),
        CASE(refused_put_is_spooled_and_moved_on_in_order),
        CASE(failed_drain_keeps_everything),
        CASE(stuck_put_is_spooled_and_not_tried_twice),
        CASE(stuck_put_is_spooled_earlier_in_a_crowd),
        CASE(stuck_put_that_fails_is_tried_again),
        CASE(deadline_before_that_is_kept_too),
        CASE(deadline_already_past_is_spooled_unput),
        CASE(new_delivery_goes_behind_what_is_spooled),
        CASE(full_spool_refuses_until_there_is_room),
        CASE(spool_over_age_refuses_and_still_moves_on),
        CASE(full_disk_refuses_and_counts_nothing),
        CASE(restart_moves_on_what_it_finds_first),
        CASE(queue_away_at_the_start_is_opened_later),
        CASE(queue_that_will_never_open_is_an_error),
        CASE(message_refused_for_good_fails_and_is_not_spooled),
        CASE(poisoned_message_in_the_spool_is_buried_alone),
        CASE(queue_that_refuses_all_for_good_buries_nothing),
        CASE(committers_and_outages_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
