/*
 * The circuit of a class: what stops a class, who tries it again, and what starts it. Two workers
 * share the cells of a scripted ledger; time is the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ledger/circuit.h"
#include "worker/class_circuit.h"

#define PAUSE_MS 60000
#define LEASE_MS 30000

static struct {
    struct ledger_cell cell;
    int64_t now_ms;
    int gets;
    int puts;
    bool down;
    /* What the other worker does between a look and a put. */
    void (*meanwhile)(void);
} store;

static int64_t mono_us(void)
{
    return store.now_ms * 1000;
}

static int64_t wall_ms(void)
{
    return 1800000000000 + store.now_ms;
}

static void assert_cell(const char *kind, const char *name)
{
    assert_string_equal(kind, "circuit");
    assert_string_equal(name, "class:small");
}

int ledger_cell_get(struct ledger *l, const char *kind, const char *name, struct ledger_cell *out,
                    struct err *e)
{
    (void)l;
    assert_cell(kind, name);
    store.gets++;
    if (store.down) {
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    *out = store.cell;
    return 0;
}

int ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                    int64_t expected, int64_t *version, struct err *e)
{
    void (*meanwhile)(void) = store.meanwhile;
    (void)l;
    assert_cell(kind, name);
    assert_null(version);
    store.meanwhile = NULL;
    if (meanwhile != NULL) {
        meanwhile();
    }
    store.puts++;
    if (store.down || expected != store.cell.version) {
        return err_set(e, store.down ? ERR_RETRY : ERR_CONFLICT, 0, "scripted");
    }
    store.cell.version = value != NULL ? store.cell.version + 1 : 0;
    (void)snprintf(store.cell.value, sizeof store.cell.value, "%s", value != NULL ? value : "");
    return 0;
}

static struct circuit record(void)
{
    struct circuit c;
    circuit_decode(store.cell.value, &c);
    return c;
}

static struct class_circuit *one;
static struct class_circuit *two;
static struct config config;
static int64_t next_job;

static int set_up(void **state)
{
    (void)state;
    static const struct clock_source source = {.mono_us = mono_us, .wall_ms = wall_ms};
    clock_set_source(&source);
    log_set_level(LOG_ERROR);
    memset(&store, 0, sizeof store);
    store.now_ms = 1000000;
    next_job = 1;
    config.breaker =
        (struct config_breaker){.failures = 5, .pause_ms = PAUSE_MS, .max_pause_ms = 15 * PAUSE_MS};
    config.worker.lease_ms = LEASE_MS;
    one = class_circuit_new(NULL, "small");
    two = class_circuit_new(NULL, "small");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    class_circuit_free(one);
    class_circuit_free(two);
    return 0;
}

static void pass(int64_t ms)
{
    store.now_ms += ms;
}

static struct class_circuit_refusal refuse_job(struct class_circuit *b, const char *message,
                                               int64_t job)
{
    struct err e = {0};
    (void)err_set(&e, ERR_PERMANENT, 422, "no such image");
    return class_circuit_refused(b, &config, message, job, &e);
}

/* Takes a message, the launch of which is refused. */
static struct class_circuit_refusal refuse(struct class_circuit *b)
{
    char message[32];
    (void)snprintf(message, sizeof message, "m-%lld", (long long)next_job);
    class_circuit_taken(b, message);
    return refuse_job(b, message, next_job++);
}

static void launch(struct class_circuit *b)
{
    class_circuit_taken(b, "good");
    class_circuit_launched(b, "good");
}

static void refusals_in_a_row_stop_the_class_everywhere(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(class_circuit_wait_ms(one, &config), 0);
        assert_false(refuse(i % 2 == 0 ? one : two).stopped);
    }
    struct class_circuit_refusal last = refuse(one);
    assert_true(last.stopped);
    assert_int_equal(last.delay_ms, 2 * PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), PAUSE_MS);
    pass(1000);
    assert_int_equal(class_circuit_wait_ms(two, &config), PAUSE_MS - 1000);
}

static void success_of_any_worker_begins_the_count_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        (void)refuse(one);
    }
    pass(1000);
    launch(two);
    for (int i = 0; i < 4; i++) {
        assert_false(refuse(one).stopped);
    }
    assert_true(refuse(one).stopped);
}

static void one_job_does_not_stop_its_class(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse_job(one, "m", 42).stopped);
    }
}

static void stop(void)
{
    for (int i = 0; i < 5; i++) {
        (void)refuse(one);
    }
}

static void what_was_taken_before_goes_back_and_opens_it_no_further(void **state)
{
    (void)state;
    stop();
    for (int i = 0; i < 10; i++) {
        assert_true(refuse_job(i % 2 == 0 ? one : two, "earlier", 100 + i).stopped);
    }
    assert_int_equal(class_circuit_wait_ms(one, &config), PAUSE_MS);
    assert_int_equal(record().opens, 1);
}

static void refuse_by_the_other(void)
{
    (void)refuse(two);
}

/* Of refusals that are counted at once none is lost, and exactly one opens it. */
static void refusals_counted_at_once_all_count(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        (void)refuse(one);
    }
    store.meanwhile = refuse_by_the_other;
    assert_true(refuse(one).stopped);
    assert_int_equal(record().failures, 5);
    assert_int_equal(record().opens, 1);
    assert_int_equal(record().open_until_ms, wall_ms() + PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), PAUSE_MS);
}

static void after_the_pause_one_worker_tries_one_message(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    assert_true(class_circuit_wait_ms(two, &config) > 0);
    class_circuit_taken(one, "m");
    assert_true(class_circuit_wait_ms(one, &config) > 0);
    assert_true(class_circuit_wait_ms(two, &config) > 0);
}

static void success_of_the_try_starts_the_class_everywhere(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    launch(one);
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    pass(1000);
    assert_int_equal(class_circuit_wait_ms(two, &config), 0);
    assert_false(refuse(two).stopped);
}

static void refusal_of_the_try_doubles_the_pause_up_to_its_bound(void **state)
{
    (void)state;
    const int64_t pauses[] = {2, 4, 8, 15, 15};
    stop();
    pass(PAUSE_MS);
    for (size_t i = 0; i < COUNT_OF(pauses); i++) {
        struct class_circuit *b = i % 2 == 0 ? one : two;
        pass(1000);
        assert_int_equal(class_circuit_wait_ms(b, &config), 0);
        assert_true(refuse(b).stopped);
        assert_int_equal(class_circuit_wait_ms(b, &config), pauses[i] * PAUSE_MS);
        pass(pauses[i] * PAUSE_MS);
    }
}

static void try_without_a_verdict_lets_the_next_one_try(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    class_circuit_taken(one, "m");
    class_circuit_no_verdict(one, "another");
    assert_true(class_circuit_wait_ms(two, &config) > 0);
    class_circuit_no_verdict(one, "m");
    pass(1000); /* the record is looked at once a second */
    assert_int_equal(class_circuit_wait_ms(two, &config), 0);
}

static void worker_that_died_over_its_try_blocks_nobody(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    class_circuit_taken(one, "m");
    pass(LEASE_MS);
    assert_int_equal(class_circuit_wait_ms(two, &config), 0);
}

static void well_class_costs_no_writes_and_one_look_a_second(void **state)
{
    (void)state;
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    int looked = (store.gets + store.puts);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(class_circuit_wait_ms(one, &config), 0);
        launch(one);
        pass(9);
    }
    assert_int_equal((store.gets + store.puts), looked);
}

static void success_leaves_no_record(void **state)
{
    (void)state;
    stop();
    assert_true(store.cell.version > 0);
    launch(one);
    assert_int_equal(store.cell.version, 0);
    (void)refuse(one);
    launch(two); /* within the second in which it does not look */
    pass(1000);
    launch(two);
    assert_int_equal(store.cell.version, 0);
}

/* The probe found no message yet: it stays this worker's, without a write a look. */
static void probe_without_a_message_is_kept_and_then_given_up(void **state)
{
    (void)state;
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    int puts = store.puts;
    for (int64_t waited = 0; waited < LEASE_MS - 2000; waited += 1000) {
        pass(1000);
        assert_int_equal(class_circuit_wait_ms(one, &config), 0);
        assert_true(class_circuit_wait_ms(two, &config) > 0);
    }
    assert_int_equal(store.puts, puts);
    pass(2000);
    assert_int_equal(class_circuit_wait_ms(two, &config), 0);
    pass(1000);
    assert_true(class_circuit_wait_ms(one, &config) > 0);
    class_circuit_taken(one, "m"); /* its time is over, but the message it took is launched */
    assert_true(refuse_job(one, "m", 77).stopped);
    assert_int_equal(record().opens, 1);
}

static void circuit_is_off_at_zero_and_stops_nothing_without_the_ledger(void **state)
{
    (void)state;
    config.breaker.failures = 0;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse(one).stopped);
    }
    config.breaker.failures = 5;
    store.down = true;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse(one).stopped);
        pass(1000);
        assert_int_equal(class_circuit_wait_ms(one, &config), 0);
    }
}

static void only_what_would_fail_again_counts(void **state)
{
    (void)state;
    const enum err_class counts[] = {ERR_PERMANENT, ERR_AUTH, ERR_NOT_FOUND};
    const enum err_class does_not[] = {ERR_RETRY, ERR_THROTTLED, ERR_CAPACITY, ERR_CONFLICT};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct err e = {.class = counts[i]};
        assert_true(class_circuit_counts(&e));
    }
    for (size_t i = 0; i < COUNT_OF(does_not); i++) {
        struct err e = {.class = does_not[i]};
        assert_false(class_circuit_counts(&e));
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(refusals_in_a_row_stop_the_class_everywhere),
        CASE(success_of_any_worker_begins_the_count_anew),
        CASE(one_job_does_not_stop_its_class),
        CASE(what_was_taken_before_goes_back_and_opens_it_no_further),
        CASE(refusals_counted_at_once_all_count),
        CASE(after_the_pause_one_worker_tries_one_message),
        CASE(success_of_the_try_starts_the_class_everywhere),
        CASE(refusal_of_the_try_doubles_the_pause_up_to_its_bound),
        CASE(try_without_a_verdict_lets_the_next_one_try),
        CASE(worker_that_died_over_its_try_blocks_nobody),
        CASE(well_class_costs_no_writes_and_one_look_a_second),
        CASE(success_leaves_no_record),
        CASE(probe_without_a_message_is_kept_and_then_given_up),
        CASE(circuit_is_off_at_zero_and_stops_nothing_without_the_ledger),
        CASE(only_what_would_fail_again_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
