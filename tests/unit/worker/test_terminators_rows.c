/*
 * Which rows the terminators end, how often, and what they leave to others. A wait ends at once, and the
 * clock has moved on by it.
 */
#include "common/base/metrics.h"
#include "tests/unit/worker/world.h"
#include "worker/terminators.h"

#define GRACE_MS 500
#define LOOK_MS 2000

static struct terminators *terminators;
static int64_t failures; /* that were counted before the case */

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);
bool __real_wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms);
bool __wrap_wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms);

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    assert_ptr_equal(s, &world.worker.working);
    (void)call_begin("wakeup_sleep", NULL, "timeout_ms=%lld", (long long)timeout_ms);
    world.now_ms += timeout_ms;
    return wakeup_raised(s);
}

/* For a row, as long as it takes. */
bool __wrap_wakeup_wait(struct wakeup *s, uint64_t seen, int64_t timeout_ms)
{
    (void)call_begin("wakeup_wait", NULL, "timeout_ms=%lld", (long long)timeout_ms);
    return __real_wakeup_wait(s, seen, 600000);
}

static int64_t ended_now(void)
{
    return metric_value(metrics_counter("mayfly_worker_vms_terminated_total", ""));
}

static int64_t failures_now(void)
{
    return metric_value(metrics_counter("mayfly_worker_vm_terminate_errors_total", ""));
}

static int set_up(void **state)
{
    int rc = world_set_up(state);
    wakeup_init(&world.worker.working);
    world.config->worker.terminate_grace_period_ms = GRACE_MS;
    world.config->limits.terminate_rate = (struct config_rate){.per_second = 100, .burst = 1000};
    failures = failures_now();
    return rc;
}

/* It has looked once and waits for a row. */
static void start(void)
{
    struct err e = {0};
    MUST(terminators_start(&world.worker, 1, &terminators, &e));
    calls_wait_count("wakeup_wait", "timeout_ms=2000", 1);
}

/* It waits again, for the n-th time. */
static void wait_idle(size_t n)
{
    calls_wait_count("wakeup_wait", NULL, n);
}

static void stop(void)
{
    wakeup_raise(&world.worker.working);
    terminators_join(terminators);
    terminators = NULL;
}

static int tear_down(void **state)
{
    stop();
    wakeup_fini(&world.worker.working);
    return world_tear_down(state);
}

/* A row that has been `ending` for so long, its machine and its registration. */
static struct ledger_vm *add(const char *class_name, const char *name, int64_t ending_for_ms)
{
    struct ledger_vm *vm = memory_vm(world.url, name);
    (void)snprintf(vm->class_name, sizeof vm->class_name, "%s", class_name);
    (void)snprintf(vm->host, sizeof vm->host, "%s", fleet_host(world.worker.fleet));
    (void)snprintf(vm->vm_id, sizeof vm->vm_id, "id-%s", name);
    (void)snprintf(vm->scope, sizeof vm->scope, "acme");
    vm->installation_id = 11;
    vm->runner_id = scripted_github_add_runner(name, false, false)->id;
    vm->state = VM_ENDING;
    vm->ending_ms = world.now_ms - ending_for_ms;
    (void)scripted_vms_add(class_name, name, VM_RUN_RUNNING);
    return vm;
}

static void wait_ended(const char *name)
{
    char gone[96];
    (void)snprintf(gone, sizeof gone, "vm=%s to=gone ", name);
    calls_wait_count("ledger_vm_advance", gone, 1);
}

static void given_vm_is_ended_and_its_slot_announced(void **state)
{
    struct ledger_vm vm = *add("small", "a", 0);
    int64_t ended = ended_now();
    start();
    terminators_add(terminators, &vm);
    wait_ended("a");
    stop();
    assert_int_equal(ended_now(), ended + 1);
    assert_string_equal(calls_args("vm_terminate", NULL, 1), "class=small id=id-a grace_ms=500");
    assert_string_equal(calls_args("github_delete_runner", NULL, 1), "scope=acme id=1001");
    assert_int_equal(memory_vm(world.url, "a")->state, VM_GONE);
    assert_int_equal(wakeup_count(&world.worker.intake), 1);
    assert_int_equal(failures_now(), failures);
}

/* A host that was full is tried again at once. */
static void vm_that_ended_begins_its_hosts_next_probe(void **state)
{
    struct ledger_vm vm = *add("small", "a", 0);
    struct subjects s = {0};
    struct err full;
    const struct verdict v = {.subject = SUBJECT_HOST, .at_once = true, .needs_launch = true};
    (void)state;
    (void)err_set(&full, ERR_CAPACITY, 12, "full");
    full.retry_after_ms = 20000;
    subjects_add_host(fleet_host(world.worker.fleet), &s);
    (void)circuits_failed(world.worker.circuits, world.config, &s, &v, 1, "", &full);
    assert_int_equal(circuits_stop_of(world.worker.circuits, &s).wait_ms, 20000);
    start();
    terminators_add(terminators, &vm);
    wait_ended("a");
    stop();
    assert_int_equal(circuits_stop_of(world.worker.circuits, &s).wait_ms, 0);
}

static void vm_refused_for_speed_is_ended_in_its_next_turn(void **state)
{
    struct ledger_vm vm = *add("small", "a", 0);
    calls_plan(&(struct call_plan){
        .function = "vm_terminate", .times = 2, .fails = ERR_THROTTLED, .retry_after_ms = 700});
    start();
    terminators_add(terminators, &vm);
    wait_ended("a");
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 3);
    assert_int_equal(failures_now(), failures + 2);
}

/* Until it is found by a look, or by the reaper. */
static void vm_that_cannot_be_ended_is_left_alone_for_now(void **state)
{
    struct ledger_vm a = *add("small", "a", 0);
    struct ledger_vm b = *add("small", "b", 0);
    calls_plan(&(struct call_plan){.function = "vm_terminate", .times = 1, .fails = ERR_RETRY});
    start();
    terminators_add(terminators, &a);
    terminators_add(terminators, &b);
    wait_ended("b");
    wait_idle(2);
    stop();
    assert_int_equal(calls_count("vm_terminate", "id=id-a "), 1);
    assert_int_equal(failures_now(), failures + 1);
    assert_int_equal(wakeup_count(&world.worker.intake), 1);
}

static void vm_that_another_ended_is_no_failure(void **state)
{
    struct ledger_vm a = *add("small", "a", 0);
    struct ledger_vm b = *add("small", "b", 0);
    calls_plan(&(struct call_plan){
        .function = "ledger_vm_advance", .with = "vm=a to=gone", .fails = ERR_CONFLICT});
    start();
    terminators_add(terminators, &a);
    terminators_add(terminators, &b);
    wait_ended("b");
    stop();
    assert_int_equal(calls_count("vm_terminate", "id=id-a "), 1);
    assert_int_equal(failures_now(), failures);
}

/* Rows that a scan may find are in more than one worker's hands. */
static void overdue_vm_that_another_ended_takes_no_turn(void **state)
{
    (void)state;
    struct ledger_vm a = *add("large", "a", GRACE_MS + LOOK_MS + 1);
    struct ledger_vm b = *add("large", "b", 0);
    memory_vm(world.url, "a")->state = VM_GONE;
    start();
    terminators_add(terminators, &a);
    terminators_add(terminators, &b);
    wait_ended("b");
    stop();
    assert_int_equal(calls_count("vm_terminate", "id=id-a "), 0);
    assert_int_equal(calls_count("ledger_rate_take", NULL), 1);
    assert_int_equal(failures_now(), failures);
}

/* VMs are not ended faster for want of a count. */
static void ledger_that_does_not_answer_is_asked_for_a_turn_again(void **state)
{
    struct ledger_vm vm = *add("large", "a", 0);
    calls_plan(&(struct call_plan){.function = "ledger_rate_take", .times = 1, .fails = ERR_RETRY});
    start();
    terminators_add(terminators, &vm);
    wait_ended("a");
    stop();
    assert_string_equal(calls_args("wakeup_sleep", NULL, 1), "timeout_ms=1000");
    assert_int_equal(calls_count("ledger_rate_take", NULL), 2);
}

static void worker_that_ends_waits_for_no_turn(void **state)
{
    struct ledger_vm vm = *add("large", "a", 0);
    calls_plan(&(struct call_plan){.function = "ledger_rate_take", .fails = ERR_RETRY});
    start();
    terminators_add(terminators, &vm);
    calls_wait_count("wakeup_sleep", NULL, 2);
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

static void vms_that_nobody_ends_are_found(void **state)
{
    (void)add("small", "left", GRACE_MS + LOOK_MS + 1);
    (void)add("small", "recent", GRACE_MS + LOOK_MS);
    (void)snprintf(add("small", "elsewhere", 60000)->host, 8, "another");
    struct ledger_vm *unknown = add("large", "unknown", 60000); /* the reaper looks for it */
    unknown->vm_id[0] = '\0';
    unknown->registered_ms = 1;
    start();
    wait_ended("left");
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 1);
    assert_int_equal(failures_now(), failures);
}

static void held_vm_is_left_until_it_has_ended_or_its_time_is_over(void **state)
{
    int64_t long_ago_ms = GRACE_MS + LOOK_MS + 60000;
    (void)state;
    add("large", "held", long_ago_ms)->hold_ms = long_ago_ms + 1000;
    add("large", "over", long_ago_ms)->hold_ms = 60000 - 1;
    add("large", "at-deadline", long_ago_ms)->hold_ms = long_ago_ms + 1000;
    memory_vm(world.url, "at-deadline")->deadline_ms = world.now_ms - GRACE_MS - LOOK_MS - 1;
    start();
    wait_ended("over");
    wait_ended("at-deadline");
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 2);
    assert_int_equal(failures_now(), failures);
}

/* They are in the hands of those who use the rate up. */
static void overdue_vms_that_have_no_turn_are_left(void **state)
{
    (void)state;
    world.config->limits.terminate_rate = (struct config_rate){.per_second = 0.001, .burst = 1};
    (void)add("small", "a", 60000);
    (void)add("small", "b", 60000);
    start();
    wait_idle(2);
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 1);
    assert_int_equal(calls_count("ledger_rate_take", NULL), 2);
    assert_int_equal(calls_count("wakeup_sleep", NULL), 0);
}

static void pass_interval(void)
{
    world.now_ms += LOOK_MS;
}

/* Rows that this host cannot end do not hide the rest. */
static void each_look_goes_on_where_the_last_one_ended(void **state)
{
    for (int i = 0; i < 64; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "vm-%02d", i);
        (void)snprintf(add("small", name, 60000)->host, 8, "another");
    }
    (void)add("small", "vm-last", 60000);
    calls_plan(
        &(struct call_plan){.function = "ledger_vm_list", .times = 2, .happens = pass_interval});
    const struct ledger_vm elsewhere = {.class_name = "small", .host = "another"};
    start();
    terminators_add(terminators, &elsewhere); /* wakes it */
    calls_wait_count("ledger_vm_list", NULL, 3);
    stop();
    assert_string_equal(calls_args("ledger_vm_list", NULL, 1), "states=0x10 after= max=64");
    assert_string_equal(calls_args("ledger_vm_list", NULL, 2), "states=0x10 after=vm-63 max=64");
    assert_string_equal(calls_args("ledger_vm_list", NULL, 3), "states=0x10 after= max=64");
    assert_int_equal(memory_vm(world.url, "vm-last")->state, VM_GONE);
}

static void looks_are_an_interval_apart(void **state)
{
    struct ledger_vm vm = *add("small", "a", 0);
    start();
    terminators_add(terminators, &vm);
    wait_idle(2);
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 1);
    assert_int_equal(calls_count("ledger_vm_list", NULL), 1);
}

/* What finds no room among them is found by a look. */
static void no_more_rows_wait_than_there_is_room_for(void **state)
{
    struct ledger_vm a = *add("small", "a", 0);
    struct ledger_vm b = *add("small", "b", 0);
    struct ledger_vm elsewhere = {.class_name = "small", .host = "another"};
    start();
    calls_plan(&(struct call_plan){.function = "vm_terminate", .waits = true});
    terminators_add(terminators, &a);
    calls_wait_count("vm_terminate", NULL, 1);
    for (int i = 0; i < 1024; i++) {
        terminators_add(terminators, &elsewhere);
    }
    terminators_add(terminators, &b);
    calls_replan(NULL, 0);
    wait_ended("a");
    wait_idle(2);
    stop();
    assert_int_equal(calls_count("vm_terminate", NULL), 1);
}

static void terminators_without_threads_do_not_start(void **state)
{
    struct err e = {0};
    forbid_threads();
    int rc = terminators_start(&world.worker, 1, &terminators, &e);
    allow_threads();
    must_fail(rc, &e, ERR_CAPACITY);
    assert_null(terminators);
    assert_true(wakeup_raised(&world.worker.working));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(given_vm_is_ended_and_its_slot_announced),
        CASE(vm_that_ended_begins_its_hosts_next_probe),
        CASE(vm_refused_for_speed_is_ended_in_its_next_turn),
        CASE(vm_that_cannot_be_ended_is_left_alone_for_now),
        CASE(vm_that_another_ended_is_no_failure),
        CASE(overdue_vm_that_another_ended_takes_no_turn),
        CASE(ledger_that_does_not_answer_is_asked_for_a_turn_again),
        CASE(worker_that_ends_waits_for_no_turn),
        CASE(vms_that_nobody_ends_are_found),
        CASE(held_vm_is_left_until_it_has_ended_or_its_time_is_over),
        CASE(overdue_vms_that_have_no_turn_are_left),
        CASE(each_look_goes_on_where_the_last_one_ended),
        CASE(looks_are_an_interval_apart),
        CASE(no_more_rows_wait_than_there_is_room_for),
        CASE(terminators_without_threads_do_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
