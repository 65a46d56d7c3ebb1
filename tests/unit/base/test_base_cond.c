/* Waiting by the kernel's monotonic clock. */
#include <pthread.h>
#include <time.h>

#include "common/base/cond.h"
#include "tests/lib/cmocka.h"

static int64_t kernel_us(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void deadline_is_by_the_monotonic_clock_and_bounded(void **state)
{
    int64_t before = kernel_us();
    int64_t now = cond_deadline_us(0);
    assert_in_range(now, before, kernel_us());
    int64_t past = cond_deadline_us(-5);
    assert_in_range(past, now, kernel_us());
    int64_t later = cond_deadline_us(1500);
    assert_in_range(later, now + 1500000, kernel_us() + 1500000);
    assert_true(cond_deadline_us(INT64_MAX) > later);
}

static void wait_ends_at_its_deadline_and_no_earlier(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    cond_init(&cond);
    pthread_mutex_lock(&lock);
    int64_t until = cond_deadline_us(30);
    while (cond_wait_until(&cond, &lock, until)) {
    }
    assert_true(kernel_us() >= until);
    assert_false(cond_wait_until(&cond, &lock, cond_deadline_us(0)));
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadline_is_by_the_monotonic_clock_and_bounded),
        cmocka_unit_test(wait_ends_at_its_deadline_and_no_earlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
