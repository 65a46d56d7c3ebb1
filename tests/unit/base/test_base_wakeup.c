/* Stops: raised for ever, woken once, waited on by time; and the signals of a program. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/wakeup.h"
#include "tests/lib/cmocka.h"

#define LONG_MS 60000 /* a test that waits this long has failed */

static void wait_ends_when_its_time_is_over(void **state)
{
    struct wakeup s;
    wakeup_init(&s);
    int64_t before = clock_mono_ms();
    assert_false(wakeup_wait(&s, wakeup_count(&s), 20));
    assert_false(wakeup_sleep(&s, 20));
    assert_true(clock_mono_ms() - before >= 40);
    assert_false(wakeup_wait(&s, wakeup_count(&s), 0));
    wakeup_fini(&s);
}

static void raised_stop_never_waits_again(void **state)
{
    struct wakeup s;
    wakeup_init(&s);
    assert_false(wakeup_raised(&s));
    wakeup_raise(&s);
    assert_true(wakeup_raised(&s));
    int64_t before = clock_mono_ms();
    assert_true(wakeup_wait(&s, wakeup_count(&s), LONG_MS));
    assert_true(wakeup_sleep(&s, LONG_MS));
    assert_true(clock_mono_ms() - before < LONG_MS);
    wakeup_fini(&s);
}

static void wake_between_look_and_wait_is_not_missed(void **state)
{
    struct wakeup s;
    wakeup_init(&s);
    uint64_t seen = wakeup_count(&s);
    wakeup_signal(&s);
    int64_t before = clock_mono_ms();
    assert_false(wakeup_wait(&s, seen, LONG_MS));
    assert_true(clock_mono_ms() - before < LONG_MS);
    assert_true(wakeup_count(&s) != seen);
    wakeup_fini(&s);
}

static void wake_does_not_end_a_sleep(void **state)
{
    struct wakeup s;
    wakeup_init(&s);
    wakeup_signal(&s);
    int64_t before = clock_mono_ms();
    assert_false(wakeup_sleep(&s, 30));
    assert_true(clock_mono_ms() - before >= 30);
    wakeup_fini(&s);
}

struct sleeper {
    struct wakeup *stop;
    bool raised;
};

static void *sleep_long(void *arg)
{
    struct sleeper *x = arg;
    x->raised = wakeup_sleep(x->stop, LONG_MS);
    return NULL;
}

static void raise_wakes_every_sleeper(void **state)
{
    pthread_t threads[3];
    struct sleeper sleepers[3];
    struct wakeup s;
    wakeup_init(&s);
    for (size_t i = 0; i < 3; i++) {
        sleepers[i] = (struct sleeper){&s, false};
        assert_int_equal(pthread_create(&threads[i], NULL, sleep_long, &sleepers[i]), 0);
    }
    wakeup_raise(&s);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(sleepers[i].raised);
    }
    wakeup_fini(&s);
}

static void signal_is_waited_for(void **state)
{
    signals_block();
    assert_int_equal(signals_wait(1), 0);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(signals_wait(LONG_MS), SIGHUP);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(signals_wait(LONG_MS), SIGTERM);
    assert_int_equal(signals_wait(0), 0);
}

static void write_to_a_closed_pipe_does_not_kill(void **state)
{
    int fds[2];
    signals_block();
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    close(fds[1]);
}

static int interrupted; /* atomic: set in a handler, read by another thread */

static void on_other_signal(int number)
{
    int errnum = errno;
    (void)number;
    __atomic_store_n(&interrupted, 1, __ATOMIC_SEQ_CST);
    errno = errnum;
}

/* Interrupts the waiting thread with a signal it does not wait for, and only then sends one. */
static void *interrupt_then_terminate(void *arg)
{
    pthread_t waiter = *(pthread_t *)arg;
    while (__atomic_load_n(&interrupted, __ATOMIC_SEQ_CST) == 0) {
        (void)pthread_kill(waiter, SIGUSR1);
        (void)sched_yield();
    }
    (void)pthread_kill(waiter, SIGTERM);
    return NULL;
}

static void other_signal_does_not_end_the_wait(void **state)
{
    struct sigaction action = {.sa_handler = on_other_signal};
    pthread_t self = pthread_self();
    pthread_t thread;
    signals_block();
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_then_terminate, &self), 0);
    assert_int_equal(signals_wait(LONG_MS), SIGTERM);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_ends_when_its_time_is_over),
        cmocka_unit_test(raised_stop_never_waits_again),
        cmocka_unit_test(wake_between_look_and_wait_is_not_missed),
        cmocka_unit_test(wake_does_not_end_a_sleep),
        cmocka_unit_test(raise_wakes_every_sleeper),
        cmocka_unit_test(signal_is_waited_for),
        cmocka_unit_test(other_signal_does_not_end_the_wait),
        cmocka_unit_test(write_to_a_closed_pipe_does_not_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
