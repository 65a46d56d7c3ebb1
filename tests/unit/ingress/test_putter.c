/*
 * Puts that are given up, before and after they began: none costs its thread for ever, and what was
 * taken back is not put.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "common/base/clock.h"
#include "ingress/putter.h"

#define PATIENCE_US (30 * 1000000LL)
#define ROUNDS 500

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool blocked;
    size_t begun;
    size_t ended;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e)
{
    (void)q;
    (void)e;
    assert_int_equal(n, 1);
    assert_string_equal(items[0].lane, "events");
    pthread_mutex_lock(&script.lock);
    script.begun++;
    pthread_cond_broadcast(&script.changed);
    while (script.blocked) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    script.ended++;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
    return 0;
}

static void block(bool blocked)
{
    pthread_mutex_lock(&script.lock);
    script.blocked = blocked;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
}

static size_t begun(void)
{
    pthread_mutex_lock(&script.lock);
    size_t count = script.begun;
    pthread_mutex_unlock(&script.lock);
    return count;
}

static void wait_ended(size_t count)
{
    pthread_mutex_lock(&script.lock);
    while (script.ended < count) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    pthread_mutex_unlock(&script.lock);
}

static int put(struct putters *p, int64_t patience_us, struct err *e)
{
    struct queue_item item = {.lane = "events", .body = SLICE("body"), .key = "1"};
    return putters_put(p, NULL, &item, 1, clock_mono_us() + patience_us, e);
}

/* As a committer does whose putter may still be at an earlier put. */
static void put_in_the_end(struct putters *p)
{
    struct err e = {0};
    int64_t give_up = clock_mono_us() + PATIENCE_US;
    while (put(p, PATIENCE_US, &e) != 0) {
        assert_int_equal(e.class, ERR_RETRY);
        assert_true(clock_mono_us() < give_up);
        clock_sleep_until(clock_mono_ms() + 1);
    }
}

static int set_up(void **state)
{
    (void)state;
    script.blocked = false;
    script.begun = script.ended = 0;
    return 0;
}

static void put_given_up_before_it_began_costs_no_thread(void **state)
{
    struct err e = {0};
    struct putters *p;
    (void)state;
    assert_int_equal(putters_new(1, &p, &e), 0);
    for (int i = 0; i < ROUNDS; i++) {
        (void)!put(p, 1, &e); /* whether it began in a millionth of a second is chance */
        put_in_the_end(p);
    }
    putters_free(p);
    assert_in_range(script.ended, ROUNDS, 2 * ROUNDS);
    assert_int_equal(script.begun, script.ended);
}

static void put_given_up_after_it_began_keeps_its_thread_until_it_returns(void **state)
{
    struct err e = {0};
    struct putters *p;
    (void)state;
    assert_int_equal(putters_new(1, &p, &e), 0);
    block(true);
    while (begun() == 0) {
        assert_int_equal(put(p, 20000, &e), -1);
    }
    assert_int_equal(put(p, PATIENCE_US, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(begun(), 1);
    block(false);
    wait_ended(1);
    put_in_the_end(p);
    putters_free(p);
    assert_int_equal(script.ended, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(put_given_up_before_it_began_costs_no_thread, set_up),
        cmocka_unit_test_setup(put_given_up_after_it_began_keeps_its_thread_until_it_returns,
                               set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
