/*
 * A dead worker's launches: which rows are terminated, and when a message is kept.
 */
#include "tests/unit/worker/world.h"
#include "worker/takeover.h"

#define LIMIT_MS 35000 /* a lease and a sixth */
#define CONFIRM_MS 10000
#define ROWS 600 /* more than two pages */

static int rows;
static int64_t ahead_ms; /* of this process's clock, the store's */

int64_t __real_ledger_now_ms(struct ledger *l);
int64_t __wrap_ledger_now_ms(struct ledger *l);
int64_t __wrap_ledger_now_ms(struct ledger *l)
{
    return __real_ledger_now_ms(l) + ahead_ms;
}

/* A row that its worker stamped silent_ms ago. */
static struct ledger_vm *add(int64_t for_job, const char *scope, const char *class,
                             int64_t silent_ms)
{
    char name[16];
    (void)snprintf(name, sizeof name, "vm-%04d", ++rows);
    struct ledger_vm *vm = memory_vm(world.url, name);
    (void)snprintf(vm->scope, sizeof vm->scope, "%s", scope);
    (void)snprintf(vm->class_name, sizeof vm->class_name, "%s", class);
    (void)snprintf(vm->host, sizeof vm->host, "%s", fleet_host(world.worker.fleet));
    vm->installation_id = 11;
    vm->for_job = for_job;
    vm->heartbeat_ms = WORLD_BEGAN_MS - silent_ms;
    return vm;
}

static int take_over(struct takeover *out, struct err *e)
{
    const struct launch_request request = {.job.id = 42, .class_name = "small"};
    return takeover_dead_launch(&world.worker, world.config, &request, "acme", out, e);
}

/* The first look, and the time after it. Rows that are there are older by that much then. */
static void confirm_silence(void)
{
    struct err e = {0};
    struct takeover t;
    MUST(take_over(&t, &e));
    assert_false(t.ended);
    world.now_ms += CONFIRM_MS;
}

/* ended_row "": none is touched. */
static void assert_takeover(const char *ended_row, bool ended, int64_t wait_ms)
{
    struct err e = {0};
    struct takeover t;
    char machine[64];
    size_t before = calls_count("vm_terminate", NULL);
    size_t moves = calls_count("ledger_vm_advance", NULL);
    MUST(take_over(&t, &e));
    assert_int_equal(t.ended, ended);
    assert_int_equal(t.wait_ms, wait_ms);
    assert_int_equal(calls_count("vm_terminate", NULL), before + ended);
    if (ended) {
        assert_int_equal(calls_count("ledger_vm_advance", NULL), moves + 2);
        struct ledger_vm *vm = memory_vm(world.url, ended_row);
        (void)snprintf(machine, sizeof machine, "class=small id=%s grace_ms=0", ended_row);
        assert_string_equal(calls_args("vm_terminate", NULL, before + 1), machine);
        assert_string_equal(vm->end_reason, "its worker died; the launch starts again");
        assert_int_equal(vm->state, VM_GONE);
    }
}

static void launches_that_go_on_are_left_alone(void **state)
{
    assert_takeover("", false, 0);
    add(1, "acme", "small", LIMIT_MS);
    add(42, "acme", "small", LIMIT_MS + 1)->state = VM_LAUNCHED;
    assert_takeover("", false, 0);
}

static void heartbeats_age_by_the_clock_of_the_ledger(void **state)
{
    add(1, "acme", "small", LIMIT_MS + 60000);
    ahead_ms = -60000; /* this worker's clock is a minute ahead: the launch is alive */
    assert_takeover("", false, 0);
    ahead_ms = -59999;
    confirm_silence();
    assert_takeover("vm-0001", true, 0);
    ahead_ms = 0;
}

static void message_is_kept_while_its_own_launch_goes_on(void **state)
{
    add(1, "acme", "small", 0);
    struct ledger_vm *own = add(42, "acme", "small", 15000);
    assert_takeover("", false, LIMIT_MS - 15000 + 1);
    own->heartbeat_ms = WORLD_BEGAN_MS - LIMIT_MS;
    assert_takeover("", false, 1);
}

static void dead_launch_of_another_host_keeps_the_message_and_is_left_to_that_host(void **state)
{
    memcpy(add(1, "acme", "small", LIMIT_MS + 1)->host, "other-host", sizeof "other-host");
    assert_takeover("", false, LIMIT_MS);
    add(2, "acme", "small", LIMIT_MS + 1);
    confirm_silence();
    assert_takeover("vm-0002", true, 0);
}

static void dead_launch_of_any_job_of_the_scope_and_class_is_ended(void **state)
{
    add(1, "acme", "large", LIMIT_MS + 1);
    add(1, "other", "small", LIMIT_MS + 1);
    assert_takeover("", false, 0);
    add(42, "acme", "small", 0);
    add(7, "acme", "small", LIMIT_MS + 1);
    confirm_silence();
    assert_takeover("vm-0004", true, 0);
}

static void dead_launch_behind_pages_of_others_is_found(void **state)
{
    for (int i = 1; i < ROWS; i++) {
        add(100 + i, "acme", "small", 0);
    }
    add(42, "acme", "small", LIMIT_MS + 1);
    confirm_silence();
    assert_takeover("vm-0600", true, 0);
}

static struct ledger_vm *add_dead_registered(void)
{
    struct ledger_vm *vm = add(7, "acme", "small", LIMIT_MS + 1);
    vm->state = VM_REGISTERED;
    vm->runner_id = scripted_github_add_runner(vm->name, false, false)->id;
    return vm;
}

/* GitHub is unreachable: not every message calls it each second. */
static void row_that_cannot_be_ended_is_looked_at_again_after_the_limit(void **state)
{
    (void)add_dead_registered();
    confirm_silence();
    world_fail("github_delete_runner", ERR_RETRY);
    assert_takeover("", false, LIMIT_MS);
    assert_int_equal(calls_count("github_delete_runner", NULL), 1);
    world_heal();
    assert_takeover("vm-0001", true, 0);
}

static void row_that_cannot_be_ended_hides_no_other_dead_row(void **state)
{
    for (int i = 0; i < 300; i++) {
        (void)add_dead_registered();
    }
    confirm_silence();
    calls_plan(
        &(struct call_plan){.function = "github_delete_runner", .times = 299, .fails = ERR_RETRY});
    assert_takeover("vm-0300", true, 0);
}

static void time_passes(void)
{
    world.now_ms += 4000;
}

/* Each of them costs a call that times out; the launch's step may last 60 s. */
static void rows_that_cannot_be_ended_are_not_tried_for_long(void **state)
{
    for (int i = 0; i < 100; i++) {
        (void)add_dead_registered();
    }
    confirm_silence();
    calls_plan(&(struct call_plan){
        .function = "github_delete_runner", .happens = time_passes, .fails = ERR_RETRY});
    assert_takeover("", false, LIMIT_MS);
    assert_int_equal(calls_count("github_delete_runner", NULL), 3);
}

static void row_whose_runner_is_busy_is_recorded_and_no_supply(void **state)
{
    struct err e = {0};
    struct takeover t;
    struct ledger_vm *vm = add_dead_registered();
    scripted_github.runners[0].busy = true;
    confirm_silence();
    MUST(take_over(&t, &e));
    assert_true(t.ended); /* reserve again */
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    assert_int_equal(calls_count("github_get_runner", "scope=acme id=1001"), 1);
    assert_int_equal(vm->state, VM_BUSY); /* and not requested again */
    assert_takeover("", false, 0);
    assert_int_equal(calls_count("github_get_runner", NULL), 1);
    assert_int_equal(calls_count("github_delete_runner", NULL), 0);
}

/* It may have got a job a moment ago: only its agent knows. */
static void row_whose_runner_is_online_is_left_alone(void **state)
{
    struct ledger_vm *vm = add_dead_registered();
    scripted_github.runners[0].online = true;
    confirm_silence();
    assert_takeover("", false, LIMIT_MS);
    assert_int_equal(vm->state, VM_REGISTERED);
    assert_int_equal(calls_count("github_delete_runner", NULL), 0);
}

/* --- a ledger that refused writes: everyone falls silent --- */
static void launch_that_reports_after_an_outage_of_the_ledger_is_left_alone(void **state)
{
    struct ledger_vm *alive = add_dead_registered();
    assert_takeover("", false, CONFIRM_MS);
    assert_int_equal(calls_count("ledger_log_event", NULL), 1);
    world.now_ms += CONFIRM_MS - 1;
    assert_takeover("", false, CONFIRM_MS);
    alive->heartbeat_ms = world.now_ms;
    world.now_ms += 1;
    assert_takeover("", false, 0);
    assert_int_equal(calls_count("github_delete_runner", NULL), 0);
    /* Its worker dies after all: that is another silence. */
    world.now_ms += LIMIT_MS + 1;
    assert_takeover("", false, CONFIRM_MS);
    world.now_ms += CONFIRM_MS;
    assert_takeover("vm-0001", true, 0);
}

static void silence_does_not_count_while_the_ledger_refuses_writes(void **state)
{
    (void)add_dead_registered();
    world_fail("ledger_log_event", ERR_THROTTLED);
    assert_takeover("", false, LIMIT_MS);
    world.now_ms += 10 * CONFIRM_MS;
    assert_takeover("", false, LIMIT_MS);
    world_heal();
    assert_takeover("", false, CONFIRM_MS);
    world.now_ms += CONFIRM_MS;
    assert_takeover("vm-0001", true, 0);
}

static void ledger_that_fails_is_an_error(void **state)
{
    struct err e = {0};
    struct takeover out;
    world_fail("ledger_vm_list", ERR_RETRY);
    must_fail(take_over(&out, &e), &e, ERR_RETRY);
}

static int set_up(void **state)
{
    rows = 0;
    return world_set_up(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launches_that_go_on_are_left_alone),
        CASE(heartbeats_age_by_the_clock_of_the_ledger),
        CASE(message_is_kept_while_its_own_launch_goes_on),
        CASE(dead_launch_of_any_job_of_the_scope_and_class_is_ended),
        CASE(dead_launch_of_another_host_keeps_the_message_and_is_left_to_that_host),
        CASE(dead_launch_behind_pages_of_others_is_found),
        CASE(row_that_cannot_be_ended_is_looked_at_again_after_the_limit),
        CASE(row_that_cannot_be_ended_hides_no_other_dead_row),
        CASE(rows_that_cannot_be_ended_are_not_tried_for_long),
        CASE(row_whose_runner_is_busy_is_recorded_and_no_supply),
        CASE(row_whose_runner_is_online_is_left_alone),
        CASE(launch_that_reports_after_an_outage_of_the_ledger_is_left_alone),
        CASE(silence_does_not_count_while_the_ledger_refuses_writes),
        CASE(ledger_that_fails_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
