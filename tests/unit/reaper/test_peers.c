/*
 * Sweeps while the circuit of GitHub, an installation or a provider's target is open: nothing that
 * depends on it is called or concluded, the rest goes on, and one call finds out when it is over.
 */
#include <stdlib.h>

#include "common/base/backoff.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] = WORLD_TWO_CLASSES;

#define PAUSE_MS (5 * SECOND_MS) /* circuit.open_duration: the first pause at most */
#define TARGET "target:lambda/r/1"
#define API "github:api"

static struct circuit circuit_of(const char *name)
{
    struct circuit c;
    struct err e;
    MUST(circuit_load(world.ledger, name, &c, &e));
    return c;
}

static bool is_open(const char *name)
{
    struct circuit c = circuit_of(name);
    return circuit_is_open(&c, world.now_ms);
}

static enum circuit_change open_it(struct circuit *c, void *arg)
{
    const struct circuit_opening *o = arg;
    return circuit_open(c, o, "", world.now_ms);
}

/* Stands in for the one of common/base (see the CMakeLists): a pause that is drawn at random may be
 * over within the sweep that opened the circuit. */
int64_t __wrap_backoff_full_jitter_ms(int64_t base_ms, int64_t cap_ms, int attempt);
int64_t __wrap_backoff_full_jitter_ms(int64_t base_ms, int64_t cap_ms, int attempt)
{
    return backoff_ceiling_ms(base_ms, cap_ms, attempt);
}

/* As a worker has opened it. */
static void open_circuit(const char *name, int64_t wait_ms, bool needs_launch)
{
    struct circuit_opening o = {.wait_ms = wait_ms, .needs_launch = needs_launch, .why = "test"};
    struct circuit c;
    enum circuit_change did;
    struct err e;
    MUST(circuit_update(world.ledger, name, open_it, &o, &c, &did, &e));
    world_pass(SECOND_MS); /* the reaper reads it again */
}

static enum circuit_change hold_it(struct circuit *c, void *arg)
{
    (void)arg;
    c->open_until_ms = world.now_ms + 2 * PAUSE_MS;
    return CIRCUIT_COUNTED;
}

/* It lasts, and PAUSE_MS later it is over. */
static void hold_open(const char *name)
{
    struct circuit c;
    enum circuit_change did;
    struct err e;
    MUST(circuit_update(world.ledger, name, hold_it, NULL, &c, &did, &e));
    world_pass(PAUSE_MS);
}

static void fail_as(const char *function, const char *with, const struct err *e)
{
    calls_plan(&(struct call_plan){.function = function,
                                   .with = with,
                                   .fails = e->class,
                                   .code = e->code,
                                   .from = e->from,
                                   .retry_after_ms = e->retry_after_ms});
}

/* The circuit of that name, as this host alone sees it. */
static bool is_open_here(const char *name)
{
    char here[LEDGER_CELL_NAME];
    (void)snprintf(here, sizeof here, "%s@%s", name, fleet_host(reaper.fleet));
    return is_open(here);
}

static const struct err unreachable = {.class = ERR_RETRY};

static struct ledger_vm *add_late_vm(void)
{
    struct ledger_vm *vm = world_add_large_vm("mf-c28ee50a-t-a", VM_LAUNCHED, 3 * HOUR_MS);
    vm->deadline_ms = world.now_ms - HOUR_MS;
    vm->job_id = 0;
    (void)world_add_large_machine("mf-c28ee50a-t-a", VM_RUN_RUNNING);
    return vm;
}

/* --- a provider's target --- */

static void target_that_cannot_be_reached_is_not_called_every_sweep(void **state)
{
    struct ledger_vm *vm = add_late_vm();
    scripted_vms.domain = "lambda/r/1";
    fail_as("vm_list", "class=large", &unreachable);
    fail_as("vm_terminate", "class=large", &unreachable);
    sweep_times(1);
    assert_false(is_open(TARGET));
    sweep_times(1); /* two lists, and the deadline's terminations */
    assert_true(is_open(TARGET));
    hold_open(TARGET);
    size_t lists = calls_count("vm_list", "class=large");
    size_t ends = calls_count("vm_terminate", NULL);
    sweep_times(20);
    assert_int_equal(calls_count("vm_list", "class=large"), lists);
    assert_int_equal(calls_count("vm_terminate", NULL), ends);
    assert_true(calls_count("vm_list", "class=small") > 20); /* others go on */
    world_pass(PAUSE_MS);
    sweep_times(1);
    assert_int_equal(calls_count("vm_list", "class=large"), lists + 1); /* the probe */
    assert_int_equal(circuit_of(TARGET).opens, 2);
    world_heal();
    world_pass(2 * PAUSE_MS);
    sweep_times(1); /* no worker is needed */
    assert_false(is_open(TARGET));
    sweep_times(1); /* deadlines come before lists */
    assert_int_equal(vm->state, VM_GONE);
}

/* Other hosts' workers and reapers go on. */
static void names_that_this_host_does_not_resolve_stop_this_host_alone(void **state)
{
    static const char *const lists[] = {"vm_list", "github_list_runners"};
    (void)state;
    (void)add_late_vm();
    scripted_vms.domain = "lambda/r/1";
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        calls_plan(&(struct call_plan){
            .function = lists[i], .fails = ERR_RETRY, .code = -1, .of_this_host = true});
    }
    sweep_times(20);
    assert_false(is_open(TARGET));
    assert_false(is_open(API));
    assert_true(is_open_here(TARGET));
    assert_true(is_open_here(API));
    world_heal();
    world_pass(HOUR_MS);
    sweep_times(3);
    assert_false(is_open_here(TARGET));
    assert_false(is_open_here(API));
}

static void quota_of_launches_stops_no_sweep(void **state)
{
    struct ledger_vm *vm = add_late_vm();
    scripted_vms.domain = "lambda/r/1";
    open_circuit(TARGET, HOUR_MS, true);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(calls_done("vm_list", "class=large"), 1);
    assert_true(is_open(TARGET)); /* only a launch shows that it is over */
}

static void list_that_is_refused_or_throttled_stops_no_launch(void **state)
{
    static const struct err answers[] = {{.class = ERR_THROTTLED, .code = 429},
                                         {.class = ERR_AUTH, .code = 403},
                                         {.class = ERR_RETRY, .code = 500},
                                         {.class = ERR_RETRY, .from = ERR_FROM_LEDGER}};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        world_anew();
        scripted_vms.domain = "lambda/r/1";
        fail_as("vm_list", "class=large", &answers[i]);
        world_sweep(6, MINUTE_MS);
        assert_true(calls_count("vm_list", "class=large") >= 6);
        assert_false(is_open(TARGET));
        open_circuit(TARGET, PAUSE_MS, false); /* but it is no successful probe */
        world_sweep(1, PAUSE_MS);
        sweep_times(1);
        assert_true(is_open(TARGET));
    }
}

static void target_that_refuses_the_probes_request_is_reachable(void **state)
{
    const struct err refused = {.class = ERR_PERMANENT, .code = 400};
    scripted_vms.domain = "lambda/r/1";
    open_circuit(TARGET, SECOND_MS / 2, false);
    fail_as("vm_list", "class=large", &refused);
    sweep_times(1);
    assert_false(is_open(TARGET));
}

static void open_target_ends_no_vm_that_was_not_listed(void **state)
{
    struct ledger_vm *vm = world_add_large_vm("mf-c28ee50a-t-a", VM_LAUNCHED, HOUR_MS);
    vm->deadline_ms = world.now_ms + 2 * HOUR_MS;
    (void)world_add_runner_of(vm, false, false);
    scripted_vms.domain = "lambda/r/1";
    open_circuit(TARGET, HOUR_MS / 2, false);
    world_sweep(20, MINUTE_MS);
    world_assert_nothing_ended();
    assert_int_equal(calls_count("vm_describe", "class=large"), 0);
}

static void vm_of_this_host_that_was_ended_begins_its_hosts_probe(void **state)
{
    char host[LEDGER_CELL_NAME];
    struct ledger_vm *vm = world_add_running("mf-c28ee50a-t-a", VM_LAUNCHED, HOUR_MS / 2);
    (void)snprintf(host, sizeof host, "host:%s", fleet_host(reaper.fleet));
    open_circuit(host, HOUR_MS, true);
    sweep_times(1);
    assert_true(circuit_of(host).open_until_ms > world.now_ms);
    vm->deadline_ms = world.now_ms - MINUTE_MS;
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_true(circuit_of(host).open_until_ms <= world.now_ms);
}

/* --- GitHub --- */

static void add_demand(void)
{
    (void)world_add_job(6001, "queued");
    scripted_github.has_hook = true;
    world_empty_queue();
}

static size_t github_calls(void)
{
    return calls_count("github_list_runners", NULL) + calls_count("github_get_job", NULL) +
           calls_count("github_list_deliveries", NULL) +
           calls_count("github_list_installations", NULL) +
           calls_count("github_delete_runner", NULL) + calls_count("github_get_runner", NULL);
}

static void github_that_is_away_is_called_once_a_pause(void **state)
{
    static const char *const functions[] = {"github_list_runners", "github_get_job",
                                            "github_list_deliveries"};
    add_demand();
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        fail_as(functions[i], NULL, &unreachable);
    }
    sweep_times(1);
    assert_true(is_open(API)); /* three calls in a row */
    assert_int_equal(github_calls(), 3);
    hold_open(API);
    sweep_times(20);
    assert_int_equal(github_calls(), 3);
    world_pass(PAUSE_MS);
    sweep_times(1);
    assert_int_equal(github_calls(), 4);
    assert_int_equal(world_puts(), 1); /* the job whose status was asked before it was known */
    world_heal();
    world_pass(2 * PAUSE_MS);
    sweep_times(1);
    assert_false(is_open(API));
    assert_int_equal(calls_done("github_list_runners", NULL), 2);
}

/* Its job is not asked about, since the answer is known. */
static void lost_delivery_of_an_owner_in_trouble_is_recovered_without_a_call(void **state)
{
    (void)state;
    scripted_github.has_hook = true;
    world_set_mark(world.now_ms - 5 * HOUR_MS);
    (void)scripted_github_add_delivery(3, "queued", 503, 3 * HOUR_MS);
    open_circuit("installation:acme", HOUR_MS, false);
    sweep_times(3);
    assert_int_equal(world_puts(), 1);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
}

/* Nothing could be launched for it now. */
static void job_is_not_relaunched_while_github_is_away(void **state)
{
    int64_t errors = world_task_errors("stale_runners");
    add_demand();
    open_circuit(API, MINUTE_MS, false);
    sweep_times(5);
    assert_int_equal(world_task_errors("stale_runners"), errors); /* it is said once, elsewhere */
    assert_int_equal(github_calls(), 0);
    assert_int_equal(world_puts(), 0);
    world_pass(MINUTE_MS);
    sweep_times(1);
    assert_int_equal(world_puts(), 1);
}

static void suspended_installation_is_left_alone_and_others_are_not(void **state)
{
    const struct err suspended = {.class = ERR_AUTH, .code = 403, .from = ERR_FROM_APP};
    fail_as("github_list_runners", "scope=acme", &suspended);
    sweep_times(1);
    hold_open("installation:acme");
    sweep_times(4);
    assert_true(is_open("installation:acme"));
    assert_false(is_open("installation:other"));
    assert_false(is_open(API));
    assert_int_equal(calls_count("github_list_runners", "scope=acme"), 1);
    assert_int_equal(calls_done("github_list_runners", "scope=other"), 5);
    world_heal();
    world_pass(PAUSE_MS);
    sweep_times(1);
    assert_false(is_open("installation:acme"));
}

/* A permission, or a page that fails, is no reason to launch nothing. */
static void list_that_is_not_permitted_opens_no_circuit(void **state)
{
    static const struct err answers[] = {{.class = ERR_AUTH, .code = 403},
                                         {.class = ERR_NOT_FOUND, .code = 404},
                                         {.class = ERR_RETRY, .code = 502}};
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        world_anew();
        fail_as("github_list_runners", NULL, &answers[i]);
        sweep_times(10);
        MUST(ledger_cell_list(world.ledger, CIRCUIT_KIND, &cells, &n, &e));
        free(cells);
        assert_int_equal(n, 0);
    }
}

static void list_alone_does_not_show_that_runners_can_be_registered(void **state)
{
    open_circuit("installation:acme", SECOND_MS / 2, true);
    sweep_times(3);
    assert_int_equal(calls_done("github_list_runners", "scope=acme"), 3);
    assert_true(is_open("installation:acme"));
}

static void vm_past_its_deadline_ends_although_github_is_away(void **state)
{
    struct ledger_vm *vm = add_late_vm();
    (void)world_add_runner_of(vm, false, false);
    open_circuit(API, HOUR_MS, false);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(github_calls(), 0);
    world_pass(HOUR_MS);
    sweep_times(3);
    assert_int_equal(calls_done("github_delete_runner", NULL), 1);
}

static void vm_whose_end_github_must_allow_waits_for_github(void **state)
{
    struct ledger_vm *vm = world_add_missing("mf-c28ee50a-t-a", VM_LAUNCHED);
    vm->deadline_ms = world.now_ms + 2 * HOUR_MS;
    open_circuit(API, HOUR_MS, false);
    world_sweep(10, MINUTE_MS);
    world_assert_nothing_ended();
    assert_int_equal(github_calls(), 0);
    world_pass(HOUR_MS);
    world_sweep(8, MINUTE_MS);
    assert_int_equal(vm->state, VM_GONE);
}

static void proxy_that_fails_is_left_alone_for_the_rest_of_the_sweep(void **state)
{
    const struct err refused = {.class = ERR_RETRY, .code = 407, .from = ERR_FROM_PROXY};
    add_demand();
    fail_as("github_list_runners", NULL, &refused);
    fail_as("github_get_job", NULL, &refused);
    sweep_times(1);
    assert_int_equal(github_calls(), 1);
    sweep_times(1);
    assert_int_equal(github_calls(), 2);
    assert_int_equal(calls_done("vm_list", "class=large"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(target_that_cannot_be_reached_is_not_called_every_sweep),
        CASE(names_that_this_host_does_not_resolve_stop_this_host_alone),
        CASE(quota_of_launches_stops_no_sweep),
        CASE(list_that_is_refused_or_throttled_stops_no_launch),
        CASE(target_that_refuses_the_probes_request_is_reachable),
        CASE(open_target_ends_no_vm_that_was_not_listed),
        CASE(vm_of_this_host_that_was_ended_begins_its_hosts_probe),
        CASE(github_that_is_away_is_called_once_a_pause),
        CASE(lost_delivery_of_an_owner_in_trouble_is_recovered_without_a_call),
        CASE(job_is_not_relaunched_while_github_is_away),
        CASE(suspended_installation_is_left_alone_and_others_are_not),
        CASE(list_that_is_not_permitted_opens_no_circuit),
        CASE(list_alone_does_not_show_that_runners_can_be_registered),
        CASE(vm_past_its_deadline_ends_although_github_is_away),
        CASE(vm_whose_end_github_must_allow_waits_for_github),
        CASE(proxy_that_fails_is_left_alone_for_the_rest_of_the_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
