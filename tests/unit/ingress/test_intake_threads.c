/*
 * How many commit threads work: one while it keeps up, more when a batch is full or commits are slow.
 */

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "ingress/intake.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define THREADS 3

static struct queue *queue;
static struct intake *in;
static struct dedupe *dedupe;
static struct mailbox mailbox;
static int64_t now_us =
    1000000; /* atomic: the monotonic clock, which stands but for take_a_second */

static int64_t mono_us(void)
{
    return __atomic_load_n(&now_us, __ATOMIC_RELAXED);
}

static int64_t wall_ms(void)
{
    return 1700000000000;
}

/* --- committers that sleep --- */
static int sleepers; /* atomic: how many began to */

int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    __atomic_add_fetch(&sleepers, 1, __ATOMIC_RELAXED);
    return __real_pthread_cond_wait(cond, mutex);
}

static void wait_for_sleepers(int count)
{
    for (int tries = 0; __atomic_load_n(&sleepers, __ATOMIC_RELAXED) < count; tries++) {
        assert_true(tries < 30000);
        (void)poll(NULL, 0, 1);
    }
}

static void open_intake(int64_t batch)
{
    struct err e = {0};
    const struct intake_options o = {.queue = queue,
                                     .dedupe = dedupe,
                                     .commit_threads = THREADS,
                                     .batch = batch,
                                     .max_in_flight = 1000,
                                     .enqueue_timeout_ms = 60000};
    sleepers = 0;
    assert_int_equal(intake_start(&o, &in, &e), 0);
    wait_for_sleepers(THREADS);
}

static int set_up(void **state)
{
    struct err e = {0};
    calls_reset();
    MUST(queue_open("memory://intake-threads", &queue, &e));
    dedupe = dedupe_new(1000);
    assert_int_equal(mailbox_init(&mailbox, &e), 0);
    return 0;
}

static int tear_down(void **state)
{
    calls_reset();
    intake_stop(in);
    in = NULL;
    queue_close(queue);
    mailbox_fini(&mailbox);
    dedupe_free(dedupe);
    return 0;
}

static void block(bool blocked)
{
    const struct call_plan plan = {.function = "queue_put", .waits = true};
    calls_replan(&plan, blocked ? 1 : 0);
}

/* n deliveries at once. */
static void submit(int n)
{
    struct delivery *list = NULL;
    for (int i = 0; i < n; i++) {
        struct delivery *d = calloc(1, sizeof *d);
        assert_non_null(d);
        d->home = &mailbox;
        d->submitted_us = clock_mono_us();
        d->next = list;
        d->messages.count = 1;
        struct job_message *m = &d->messages.list[0];
        buf_init(&m->body, 16);
        buf_append_cstr(&m->body, "{}");
        memcpy(m->lane, "events", sizeof "events");
        list = d;
        assert_true(intake_reserve(in));
    }
    intake_submit(in, list);
}

static void collect(int n)
{
    while (n > 0) {
        struct pollfd p = {.fd = mailbox_fd(&mailbox), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 30000), 1);
        struct delivery *next;
        for (struct delivery *d = mailbox_take(&mailbox); d != NULL; d = next) {
            next = d->next;
            assert_int_equal(d->result, DELIVERY_QUEUED);
            job_messages_fini(&d->messages);
            free(d);
            intake_release(in);
            n--;
        }
    }
    assert_int_equal(n, 0);
}

static void full_batches_are_committed_at_once(void **state)
{
    open_intake(1);
    block(true);
    submit(THREADS);
    calls_wait_count("queue_put", NULL, THREADS);
    block(false);
    collect(THREADS);
}

/* The others are asleep, and one that was woken too early would take a part of the batch. */
static void second_committer_waits_for_a_whole_batch(void **state)
{
    open_intake(8);
    block(true);
    submit(1);
    calls_wait_count("queue_put", NULL, 1);
    for (int i = 0; i < 7; i++) {
        submit(1);
        (void)poll(NULL, 0, 2); /* for a thread that should not be awake */
    }
    submit(1);
    calls_wait_count("queue_put", NULL, 2);
    assert_int_equal(calls_count("queue_put", " n=8 "), 1);
    block(false);
    collect(9);
}

static void take_a_second(void)
{
    __atomic_add_fetch(&now_us, 1000000, __ATOMIC_RELAXED);
}

static void slow_commits_are_made_side_by_side(void **state)
{
    const struct call_plan slow = {.function = "queue_put", .happens = take_a_second};
    open_intake(8);
    calls_plan(&slow);
    submit(1);
    collect(1);
    wait_for_sleepers(THREADS + 1);
    block(true);
    for (size_t i = 1; i <= THREADS; i++) {
        submit(1);
        calls_wait_count("queue_put", NULL, 1 + i);
    }
    block(false);
    collect(THREADS);
}

/* A put that hangs, on one connection of several to the queue, holds up what it has taken alone. */
static void commit_that_hangs_is_not_waited_for(void **state)
{
    open_intake(8);
    block(true);
    submit(1);
    calls_wait_count("queue_put", NULL, 1);
    submit(1); /* too early for a second thread */
    take_a_second();
    intake_tick(in);
    calls_wait_count("queue_put", NULL, 2);
    take_a_second();
    submit(1);
    calls_wait_count("queue_put", NULL, 3);
    block(false);
    collect(3);
}

/* After a commit a few deliveries wait for more, and not for ever. */
static void few_that_waited_are_committed_without_others(void **state)
{
    open_intake(64);
    block(true);
    submit(1);
    calls_wait_count("queue_put", NULL, 1);
    submit(2);
    block(false);
    collect(3);
    assert_int_equal(calls_count("queue_put", " n=2 "), 1);
}

int main(void)
{
    const struct clock_source clocks = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&clocks);
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(full_batches_are_committed_at_once),
        CASE(second_committer_waits_for_a_whole_batch),
        CASE(slow_commits_are_made_side_by_side),
        CASE(commit_that_hangs_is_not_waited_for),
        CASE(few_that_waited_are_committed_without_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
