/* Threads, and what is said when there can be none. */
#include <pthread.h>
#include <string.h>

#include "common/base/thread.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

static void *count(void *arg)
{
    __atomic_add_fetch((int *)arg, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void threads_all_run_and_are_joined(void **state)
{
    struct threads t = {0};
    struct err e;
    int ran = 0;
    assert_int_equal(threads_start(&t, 5, "a thread of the test", count, &ran, &e), 0);
    assert_int_equal(t.count, 5);
    threads_join(&t);
    assert_int_equal(ran, 5);
    assert_int_equal(t.count, 0);
    threads_join(&t);
}

/* What a limit of memory does to a thread of the usual size. */
static void thread_without_memory_is_an_error_with_a_hint(void **state)
{
    pthread_t thread;
    struct threads t = {0};
    struct err e = {0};
    int ran = 0;
    forbid_threads();
    int one = thread_start(&thread, "the thread of the test", count, &ran, &e);
    int many = threads_start(&t, 3, "a thread of the test", count, &ran, &e);
    allow_threads();
    assert_int_equal(one, -1);
    assert_int_equal(many, -1);
    assert_int_equal(t.count, 0);
    assert_int_equal(e.class, ERR_CAPACITY);
    assert_non_null(strstr(e.message, "cannot start a thread of the test: "));
    assert_non_null(strstr(e.message, "configure fewer threads"));
    assert_non_null(strstr(e.message, "ulimit -v"));
    threads_join(&t);
    assert_int_equal(ran, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_all_run_and_are_joined),
        cmocka_unit_test(thread_without_memory_is_an_error_with_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
