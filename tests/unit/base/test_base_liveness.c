/* A loop that moves, waits, or is stuck, by a clock of the test's. */
#include <pthread.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/liveness.h"
#include "tests/lib/cmocka.h"

#define LIMIT_MS 1000

static int64_t now_us;

static int64_t test_mono_us(void)
{
    return now_us;
}

static int64_t test_wall_ms(void)
{
    return 0;
}

static int set_up(void **state)
{
    static const struct clock_source source = {test_mono_us, test_wall_ms};
    (void)state;
    now_us = 5000000;
    clock_set_source(&source);
    liveness_enter("the loop", LIMIT_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    liveness_leave();
    clock_set_source(NULL);
    return 0;
}

static void pass_ms(int64_t ms)
{
    now_us += ms * 1000;
}

static void assert_alive(void)
{
    struct buf why;
    buf_init(&why, 1024);
    assert_true(liveness_check(&why));
    assert_int_equal(why.len, 0);
    buf_fini(&why);
}

static void assert_stuck(const char *reason)
{
    struct buf why;
    buf_init(&why, 1024);
    assert_false(liveness_check(&why));
    assert_string_equal(why.data, reason);
    buf_fini(&why);
}

static void loop_that_beats_is_alive(void **state)
{
    for (int i = 0; i < 3; i++) {
        pass_ms(LIMIT_MS);
        assert_alive();
        liveness_beat();
    }
}

static void loop_without_beat_is_stuck_until_it_moves(void **state)
{
    pass_ms(LIMIT_MS + 1);
    assert_stuck("the loop has not moved for 1 s");
    pass_ms(LIMIT_MS * 9);
    assert_stuck("the loop has not moved for 10 s");
    liveness_beat();
    assert_alive();
}

static void loop_that_rests_is_alive(void **state)
{
    liveness_rest();
    pass_ms(LIMIT_MS * 100);
    assert_alive();
    liveness_beat();
    assert_alive();
    pass_ms(LIMIT_MS + 1);
    assert_stuck("the loop has not moved for 1 s");
}

/* A wait of common/base, during which the clock passes the limit. */
static void *look_during_the_wait(void *arg)
{
    (void)arg;
    pass_ms(LIMIT_MS * 2);
    assert_alive();
    return NULL;
}

static void timed_wait_rests_and_beats_after(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    pthread_t other;
    cond_init(&cond);
    pthread_mutex_lock(&lock);
    pass_ms(LIMIT_MS);
    while (cond_wait_until(&cond, &lock, cond_deadline_us(0))) {
    }
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
    pass_ms(LIMIT_MS);
    assert_alive(); /* the end of the wait was a beat */
    liveness_rest();
    assert_int_equal(pthread_create(&other, NULL, look_during_the_wait, NULL), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    liveness_beat();
}

static void *beat_without_entering(void *arg)
{
    (void)arg;
    liveness_beat();
    liveness_rest();
    return NULL;
}

static void beat_of_another_thread_is_not_the_loops(void **state)
{
    pthread_t other;
    pass_ms(LIMIT_MS + 1);
    assert_int_equal(pthread_create(&other, NULL, beat_without_entering, NULL), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_stuck("the loop has not moved for 1 s");
}

static void *enter_and_stay(void *arg)
{
    pthread_barrier_t *both = arg;
    liveness_enter("another loop", LIMIT_MS * 3);
    pthread_barrier_wait(both);
    pthread_barrier_wait(both);
    liveness_leave();
    return NULL;
}

static void each_loop_has_its_limit_and_a_loop_that_left_is_forgotten(void **state)
{
    pthread_barrier_t both;
    pthread_t other;
    assert_int_equal(pthread_barrier_init(&both, NULL, 2), 0);
    assert_int_equal(pthread_create(&other, NULL, enter_and_stay, &both), 0);
    pthread_barrier_wait(&both);
    pass_ms(LIMIT_MS * 2);
    assert_stuck("the loop has not moved for 2 s");
    pass_ms(LIMIT_MS * 2);
    assert_stuck("another loop has not moved for 4 s; the loop has not moved for 4 s");
    pthread_barrier_wait(&both);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_stuck("the loop has not moved for 4 s");
    pthread_barrier_destroy(&both);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(loop_that_beats_is_alive),
        CASE(loop_without_beat_is_stuck_until_it_moves),
        CASE(loop_that_rests_is_alive),
        CASE(timed_wait_rests_and_beats_after),
        CASE(beat_of_another_thread_is_not_the_loops),
        CASE(each_loop_has_its_limit_and_a_loop_that_left_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
