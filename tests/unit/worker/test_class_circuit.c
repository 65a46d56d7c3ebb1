/*
 * The circuit of a class: what stops a class, who tries it again, and what starts it. Two workers
 * share a ledger in memory; time is the test's own.
 */
#include "common/ledger/circuit.h"
#include "tests/unit/worker/world.h"
#include "worker/class_circuit.h"

#define PAUSE_MS 60000

static struct class_circuit *one;
static struct class_circuit *two;
static int64_t next_job;

/* The ledger's record, and whether there is one. */
static struct circuit record(void)
{
    struct circuit c;
    struct err e = {0};
    MUST(circuit_load(world.worker.ledger, "class:small", &c, &e));
    return c;
}

static bool has_record(void)
{
    struct ledger_cell cell;
    struct err e = {0};
    MUST(ledger_cell_get(world.worker.ledger, "circuit", "class:small", &cell, &e));
    return cell.version > 0;
}

static size_t looks_and_puts(void)
{
    return calls_count("ledger_cell_get", NULL) + calls_count("ledger_cell_put", NULL);
}

static int set_up(void **state)
{
    int rc = world_set_up(state);
    next_job = 1;
    one = class_circuit_new(world.worker.ledger, "small");
    two = class_circuit_new(world.worker.ledger, "small");
    return rc;
}

static int tear_down(void **state)
{
    class_circuit_free(one);
    class_circuit_free(two);
    return world_tear_down(state);
}

static void pass(int64_t ms)
{
    world.now_ms += ms;
}

static struct class_circuit_refusal refuse_job(struct class_circuit *b, const char *message,
                                               int64_t job)
{
    struct err e = {0};
    (void)err_set(&e, ERR_PERMANENT, 422, "no such image");
    return class_circuit_record_refusal(b, world.config, message, job, &e);
}

/* Takes a message, the launch of which is refused. */
static struct class_circuit_refusal refuse(struct class_circuit *b)
{
    char message[32];
    (void)snprintf(message, sizeof message, "m-%lld", (long long)next_job);
    class_circuit_received(b, world.config, message);
    return refuse_job(b, message, next_job++);
}

static void launch(struct class_circuit *b)
{
    class_circuit_received(b, world.config, "good");
    class_circuit_record_success(b, "good");
}

static void refusals_in_a_row_stop_the_class_everywhere(void **state)
{
    for (int i = 0; i < 4; i++) {
        assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
        assert_false(refuse(i % 2 == 0 ? one : two).stopped);
    }
    struct class_circuit_refusal last = refuse(one);
    assert_true(last.stopped);
    assert_int_equal(last.delay_ms, 2 * PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), PAUSE_MS);
    pass(1000);
    assert_int_equal(class_circuit_wait_ms(two, world.config), PAUSE_MS - 1000);
}

static void success_of_any_worker_begins_the_count_anew(void **state)
{
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
    stop();
    for (int i = 0; i < 10; i++) {
        assert_true(refuse_job(i % 2 == 0 ? one : two, "earlier", 100 + i).stopped);
    }
    assert_int_equal(class_circuit_wait_ms(one, world.config), PAUSE_MS);
    assert_int_equal(record().opens, 1);
}

static void refuse_by_the_other(void)
{
    (void)refuse(two);
}

/* Of refusals that are counted at once none is lost, and exactly one opens it. */
static void refusals_counted_at_once_all_count(void **state)
{
    for (int i = 0; i < 3; i++) {
        (void)refuse(one);
    }
    calls_plan(&(struct call_plan){
        .function = "ledger_cell_put", .times = 1, .happens = refuse_by_the_other});
    assert_true(refuse(one).stopped);
    assert_int_equal(record().failures, 5);
    assert_int_equal(record().opens, 1);
    assert_int_equal(record().open_until_ms, world.now_ms + PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), PAUSE_MS);
}

static void after_the_pause_one_worker_tries_one_message(void **state)
{
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    assert_true(class_circuit_wait_ms(two, world.config) > 0);
    class_circuit_received(one, world.config, "m");
    assert_true(class_circuit_wait_ms(one, world.config) > 0);
    assert_true(class_circuit_wait_ms(two, world.config) > 0);
}

static void success_of_the_try_starts_the_class_everywhere(void **state)
{
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    launch(one);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    pass(1000);
    assert_int_equal(class_circuit_wait_ms(two, world.config), 0);
    assert_false(refuse(two).stopped);
}

static void refusal_of_the_try_doubles_the_pause_up_to_its_bound(void **state)
{
    const int64_t pauses[] = {2, 4, 8, 15, 15};
    stop();
    pass(PAUSE_MS);
    for (size_t i = 0; i < COUNT_OF(pauses); i++) {
        struct class_circuit *b = i % 2 == 0 ? one : two;
        pass(1000);
        assert_int_equal(class_circuit_wait_ms(b, world.config), 0);
        assert_true(refuse(b).stopped);
        assert_int_equal(class_circuit_wait_ms(b, world.config), pauses[i] * PAUSE_MS);
        pass(pauses[i] * PAUSE_MS);
    }
}

static void try_without_a_verdict_lets_the_next_one_try(void **state)
{
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    class_circuit_received(one, world.config, "m");
    class_circuit_release_probe(one, "another");
    assert_true(class_circuit_wait_ms(two, world.config) > 0);
    class_circuit_release_probe(one, "m");
    pass(1000); /* the record is looked at once a second */
    assert_int_equal(class_circuit_wait_ms(two, world.config), 0);
}

static void worker_that_died_over_its_try_blocks_nobody_for_ever(void **state)
{
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    class_circuit_received(one, world.config, "m");
    pass(TIMEOUT_MS);
    assert_true(class_circuit_wait_ms(two, world.config) > 0);
    pass(LEASE_MS);
    assert_int_equal(class_circuit_wait_ms(two, world.config), 0);
}

static void try_that_outlasts_a_lease_is_still_the_only_one(void **state)
{
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    pass(LEASE_MS - 1); /* it waited for a message */
    class_circuit_received(one, world.config, "slow");
    for (int64_t booting = 0; booting < TIMEOUT_MS; booting += LEASE_MS) {
        pass(LEASE_MS);
        assert_true(class_circuit_wait_ms(two, world.config) > 0);
    }
    assert_true(refuse_job(one, "slow", next_job++).stopped);
    assert_int_equal(record().opens, 2); /* its verdict counts */
}

static void well_class_costs_no_writes_and_one_look_a_second(void **state)
{
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    size_t looked = looks_and_puts();
    for (int i = 0; i < 100; i++) {
        assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
        launch(one);
        pass(9);
    }
    assert_int_equal(looks_and_puts(), looked);
}

static void success_leaves_no_record(void **state)
{
    stop();
    assert_true(has_record());
    launch(one);
    assert_false(has_record());
    (void)refuse(one);
    launch(two); /* within the second in which it does not look */
    pass(1000);
    launch(two);
    assert_false(has_record());
}

/* The probe found no message yet: it stays this worker's, without a write a look. */
static void probe_without_a_message_is_kept_and_then_given_up(void **state)
{
    stop();
    pass(PAUSE_MS);
    assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    size_t puts = calls_count("ledger_cell_put", NULL);
    for (int64_t waited = 0; waited < LEASE_MS - 2000; waited += 1000) {
        pass(1000);
        assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
        assert_true(class_circuit_wait_ms(two, world.config) > 0);
    }
    assert_int_equal(calls_count("ledger_cell_put", NULL), puts);
    pass(2000);
    assert_int_equal(class_circuit_wait_ms(two, world.config), 0);
    pass(1000);
    assert_true(class_circuit_wait_ms(one, world.config) > 0);
    class_circuit_received(one, world.config,
                           "m"); /* its time has expired, but the message it received is launched */
    assert_true(refuse_job(one, "m", 77).stopped);
    assert_int_equal(record().opens, 1);
}

static void circuit_is_off_at_zero_and_stops_nothing_without_the_ledger(void **state)
{
    world.config->circuit.failure_threshold = 0;
    for (int i = 0; i < 20; i++) {
        assert_false(refuse(one).stopped);
    }
    world.config->circuit.failure_threshold = 5;
    world_fail("ledger_cell_get", ERR_RETRY);
    world_fail("ledger_cell_put", ERR_RETRY);
    for (int i = 0; i < 20; i++) {
        assert_false(refuse(one).stopped);
        pass(1000);
        assert_int_equal(class_circuit_wait_ms(one, world.config), 0);
    }
}

static void only_what_would_fail_again_counts(void **state)
{
    const enum err_class counts[] = {ERR_PERMANENT, ERR_AUTH, ERR_NOT_FOUND};
    const enum err_class does_not[] = {ERR_RETRY, ERR_THROTTLED, ERR_CAPACITY, ERR_CONFLICT};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct err e = {.class = counts[i]};
        assert_true(class_circuit_is_refusal(&e));
    }
    for (size_t i = 0; i < COUNT_OF(does_not); i++) {
        struct err e = {.class = does_not[i]};
        assert_false(class_circuit_is_refusal(&e));
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
        CASE(worker_that_died_over_its_try_blocks_nobody_for_ever),
        CASE(try_that_outlasts_a_lease_is_still_the_only_one),
        CASE(well_class_costs_no_writes_and_one_look_a_second),
        CASE(success_leaves_no_record),
        CASE(probe_without_a_message_is_kept_and_then_given_up),
        CASE(circuit_is_off_at_zero_and_stops_nothing_without_the_ledger),
        CASE(only_what_would_fail_again_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
