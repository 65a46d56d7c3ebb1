#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

/* A source that counts, fails on demand, and can hold its answer until others wait. */
struct source {
    struct github_cache *cache;
    int fetched;
    bool fails;
    size_t waits_for; /* so many threads wait in the cache before it answers */
    bool held;        /* and nobody holds it */
    int64_t fresh_ms;
    int64_t valid_ms;
};

static int fetch(void *arg, struct github_fetched *out, struct err *e)
{
    struct source *s = arg;
    int number = __atomic_add_fetch(&s->fetched, 1, __ATOMIC_RELAXED);
    while (github_cache_waiting(s->cache) < s->waits_for ||
           __atomic_load_n(&s->held, __ATOMIC_RELAXED)) {
        sched_yield();
    }
    if (s->fails) {
        return err_set(e, ERR_RETRY, 500 + number, "no luck");
    }
    buf_printf(&out->value, "value-%d", number);
    out->fresh_ms = clock_wall_ms() + s->fresh_ms;
    out->valid_ms = clock_wall_ms() + s->valid_ms;
    return 0;
}

static int set_up(void **state)
{
    struct source *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->cache = github_cache_new();
    s->fresh_ms = 1000000;
    s->valid_ms = 2000000;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct source *s = *state;
    github_cache_free(s->cache);
    free(s);
    return 0;
}

/* The value, or "error N". */
static const char *get(struct source *s, const char *key, bool *cached)
{
    static _Thread_local char text[64];
    struct buf out;
    struct err e;
    buf_init(&out, 64);
    if (github_cache_get(s->cache, key, fetch, s, &out, cached, &e) != 0) {
        (void)snprintf(text, sizeof text, "error %d", e.code);
    } else {
        (void)snprintf(text, sizeof text, "%s", out.data);
    }
    buf_fini(&out);
    return text;
}

static void a_value_is_fetched_once_while_fresh(void **state)
{
    struct source *s = *state;
    bool cached = true;
    assert_string_equal(get(s, "a", &cached), "value-1");
    assert_false(cached);
    assert_string_equal(get(s, "a", &cached), "value-1");
    assert_true(cached);
    assert_string_equal(get(s, "b", &cached), "value-2");
    assert_false(cached);
}

static void a_stale_value_is_renewed(void **state)
{
    struct source *s = *state;
    assert_string_equal(get(s, "a", NULL), "value-1");
    fixture_move_clock(999000);
    assert_string_equal(get(s, "a", NULL), "value-1");
    fixture_move_clock(2000);
    assert_string_equal(get(s, "a", NULL), "value-2");
}

static void a_failed_renewal_keeps_the_valid_value_and_pauses(void **state)
{
    struct source *s = *state;
    assert_string_equal(get(s, "a", NULL), "value-1");
    fixture_move_clock(1001000);
    s->fails = true;
    assert_string_equal(get(s, "a", NULL), "value-1");
    assert_string_equal(get(s, "a", NULL), "value-1");
    assert_int_equal(s->fetched, 2);
    fixture_move_clock(11000);
    assert_string_equal(get(s, "a", NULL), "value-1");
    assert_int_equal(s->fetched, 3);
    fixture_move_clock(1000000);
    assert_string_equal(get(s, "a", NULL), "error 504");
    s->fails = false;
    assert_string_equal(get(s, "a", NULL), "value-5");
}

static void a_dropped_value_is_fetched_again_but_a_newer_one_stays(void **state)
{
    struct source *s = *state;
    assert_string_equal(get(s, "a", NULL), "value-1");
    github_cache_drop(s->cache, "a", SLICE("another"));
    assert_string_equal(get(s, "a", NULL), "value-1");
    github_cache_drop(s->cache, "a", SLICE("value-1"));
    assert_string_equal(get(s, "a", NULL), "value-2");
    github_cache_drop(s->cache, "a", SLICE("value-1"));
    github_cache_drop(s->cache, "b", SLICE("value-1"));
    assert_string_equal(get(s, "a", NULL), "value-2");
}

static void *get_in_thread(void *arg)
{
    return strdup(get(arg, "a", NULL));
}

/* One fetches, the others wait: the fetch itself ends only when all of them do. */
static void assert_all_get(struct source *s, const char *expected)
{
    pthread_t threads[8];
    s->waits_for = COUNT_OF(threads) - 1;
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, get_in_thread, s), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *text = NULL;
        assert_int_equal(pthread_join(threads[i], &text), 0);
        assert_string_equal(text, expected);
        free(text);
    }
    assert_int_equal(s->fetched, 1);
}

static void threads_that_wait_share_one_fetch(void **state)
{
    assert_all_get(*state, "value-1");
}

static void threads_that_wait_share_one_failure(void **state)
{
    struct source *s = *state;
    s->fails = true;
    assert_all_get(s, "error 501");
}

/* While one thread renews, the value that still is valid serves the others without waiting. */
static void a_valid_value_serves_during_its_renewal(void **state)
{
    struct source *s = *state;
    pthread_t thread;
    void *text = NULL;
    assert_string_equal(get(s, "a", NULL), "value-1");
    fixture_move_clock(1001000);
    __atomic_store_n(&s->held, true, __ATOMIC_RELAXED);
    assert_int_equal(pthread_create(&thread, NULL, get_in_thread, s), 0);
    while (__atomic_load_n(&s->fetched, __ATOMIC_RELAXED) < 2) {
        sched_yield();
    }
    assert_string_equal(get(s, "a", NULL), "value-1");
    __atomic_store_n(&s->held, false, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(thread, &text), 0);
    assert_string_equal(text, "value-2");
    free(text);
}

static void past_the_bound_the_first_to_expire_goes(void **state)
{
    struct source *s = *state;
    char key[16];
    bool cached = false;
    s->valid_ms = 1500000;
    (void)get(s, "short", NULL);
    s->valid_ms = 2000000;
    for (int i = 0; i < CACHE_ENTRIES_MAX; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)get(s, key, NULL);
    }
    (void)get(s, "k5", &cached);
    assert_true(cached);
    (void)get(s, "short", &cached);
    assert_false(cached);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_value_is_fetched_once_while_fresh),
        CASE(a_stale_value_is_renewed),
        CASE(a_failed_renewal_keeps_the_valid_value_and_pauses),
        CASE(a_dropped_value_is_fetched_again_but_a_newer_one_stays),
        CASE(threads_that_wait_share_one_fetch),
        CASE(threads_that_wait_share_one_failure),
        CASE(a_valid_value_serves_during_its_renewal),
        CASE(past_the_bound_the_first_to_expire_goes),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
