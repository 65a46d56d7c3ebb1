/* Termination of VMs, above all of one whose VM id is unknown; and the rates of the provider's
 * calls. GitHub and the providers are scripted (tests/lib), the ledger is one in memory, and only
 * the script advances time (the test links with --wrap=wakeup_sleep). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/wakeup.h"
#include "common/fleet/fleet.h"
#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"
#include "tests/lib/scripted_vms.h"

#define MAX_DURATION_MS 600000
#define GRACE_MS 5000
#define LEDGER "memory://fleet"
#define VM "mf-t-arm-1"
#define HOLD_MS ((int64_t)MAX_DURATION_MS + GRACE_MS)

static struct script {
    int64_t now_ms;
    struct ledger *ledger;
    struct fleet *fleet;
    struct github_runner *runner; /* of the row */
} script = {.now_ms = 1790000000000};

static int64_t wall(void)
{
    return script.now_ms;
}

static int64_t mono(void)
{
    return script.now_ms * 1000;
}

int __real_ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e);

static void drain(const char *name, double per_second, int64_t burst)
{
    const struct ledger_bucket bucket = {.name = name, .per_second = per_second, .burst = burst};
    struct err e;
    for (int64_t wait_ms = 0; wait_ms == 0;) {
        MUST(__real_ledger_rate_take(script.ledger, &bucket, 1, &wait_ms, &e));
    }
}

static void drain_list(void)
{
    drain("list/lambda/r/1", 7, 3);
}

static void drain_describe(void)
{
    drain("describe/lambda/r/1", 100, 50);
}

static enum ledger_vm_state row_state(void)
{
    struct ledger_vm vm;
    struct err e;
    MUST(ledger_vm_get(script.ledger, VM, &vm, &e));
    return vm.state;
}

bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);
bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    script.now_ms += timeout_ms;
    return wakeup_raised(s);
}

static char text_arm[] = "arm";
static char text_big[] = "big";
static char text_metal[] = "metal";
static char text_lambda[] = "lambda";
static char text_qemu[] = "qemu";
static char text_t[] = "t";

static int setup(void **state)
{
    static const struct clock_source source = {mono, wall};
    struct err e;
    struct config_class classes[] = {
        {.name = text_arm, .provider = text_lambda, .max_duration_ms = MAX_DURATION_MS},
        {.name = text_big, .provider = text_lambda, .max_duration_ms = MAX_DURATION_MS},
        {.name = text_metal, .provider = text_qemu, .max_duration_ms = MAX_DURATION_MS},
    };
    struct config c = {.deployment = text_t, .classes = classes, .class_count = COUNT_OF(classes)};
    c.places = (const struct config_class *[]){&classes[0], &classes[1], &classes[2]};
    c.place_count = COUNT_OF(classes);
    c.limits.terminate_rate = (struct config_rate){10, 100};
    c.limits.describe_rate = (struct config_rate){100, 50};
    c.limits.list_rate = (struct config_rate){7, 3};
    c.reaper.deadline_grace_period_ms = GRACE_MS;
    /* Each test an hour later: the ledger is the same, and its buckets are full again. */
    script = (struct script){.now_ms = script.now_ms + 3600000};
    clock_set_source(&source);
    calls_reset();
    scripted_vms_reset();
    scripted_github_reset();
    script.runner = scripted_github_add_runner(VM, false, false);
    script.runner->id = 77;
    MUST(ledger_open(LEDGER, &script.ledger, &e));
    return fleet_open(&c, "this-host", script.ledger, NULL, &script.fleet, &e);
}

static int teardown(void **state)
{
    fleet_close(script.fleet);
    ledger_close(script.ledger);
    clock_set_source(NULL);
    return 0;
}

/* A row in that state, registered, with that VM id. */
static struct ledger_vm row(enum ledger_vm_state state, const char *vm_id)
{
    struct ledger_vm vm = {
        .name = VM, .class_name = "arm", .scope = "acme", .installation_id = 11, .state = state};
    assert_true(slice_to_cstr(slice_of(vm_id), vm.vm_id, sizeof vm.vm_id));
    vm.reserved_ms = script.now_ms - 1000;
    if (state != VM_RESERVED) {
        vm.runner_id = 77;
        vm.registered_ms = script.now_ms - 900;
    }
    if (state == VM_ENDING) {
        vm.ending_ms = script.now_ms;
    }
    *memory_vm(LEDGER, VM) = vm;
    return vm;
}

static size_t deletions(void)
{
    return calls_count("github_delete_runner", "scope=acme id=77");
}

static size_t terminated(const char *args)
{
    return calls_count("vm_terminate", args);
}

static int end(const struct ledger_vm *vm, bool spare, bool nothing_runs, struct err *e)
{
    struct fleet_termination how = {.reason = "test",
                                    .evidence = spare ? FLEET_SUSPECT : FLEET_OVER,
                                    .nothing_runs = nothing_runs};
    *e = (struct err){0};
    return fleet_terminate_vm(script.fleet, vm, &how, e);
}

static void end_known_machine_frees_the_slot(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    assert_int_equal(end(&vm, false, false, &e), 0);
    assert_int_equal(terminated("class=arm id=microvm-1 grace_ms=0"), 1);
    assert_int_equal(row_state(), VM_GONE);
    assert_int_equal(deletions(), 1);
}

static void end_failed_terminate_keeps_the_slot(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    calls_plan(&(struct call_plan){.function = "vm_terminate", .fails = ERR_THROTTLED});
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(row_state(), VM_ENDING);
}

static void end_unnamed_machine_of_this_host_is_ended_by_its_name(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_REGISTERED, "");
    assert_true(slice_to_cstr(SLICE("metal"), vm.class_name, sizeof vm.class_name));
    assert_true(slice_to_cstr(slice_of(fleet_host(script.fleet)), vm.host, sizeof vm.host));
    assert_int_equal(fleet_slot_hold_ms(script.fleet, &vm), 0);
    assert_int_equal(end(&vm, false, false, &e), 0);
    assert_int_equal(terminated("class=metal id=" VM " grace_ms=0"), 1);
    assert_int_equal(row_state(), VM_GONE);
}

/* The launch's response was lost: the VM may run, so the slot is not released. */
static void end_machine_nobody_can_name_keeps_the_slot(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_REGISTERED, "");
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(fleet_slot_hold_ms(script.fleet, &vm), HOLD_MS);
    assert_int_equal(row_state(), VM_ENDING);
    assert_int_equal(terminated(NULL), 0);
    assert_int_equal(deletions(), 1); /* so that its runner gets no job */
}

/* Not even when the provider should have ended it: it may have failed to. */
static void end_held_row_stays_until_somebody_knows_that_none_runs(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_ENDING, "");
    script.now_ms += HOLD_MS - 1;
    assert_int_equal(fleet_slot_hold_ms(script.fleet, &vm), 1);
    script.now_ms += 1;
    assert_int_equal(fleet_slot_hold_ms(script.fleet, &vm), 0);
    assert_true(fleet_vm_id_unknown(script.fleet, &vm));
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(row_state(), VM_ENDING);
    assert_int_equal(deletions(), 0); /* that was done when it became ending */
    assert_int_equal(end(&vm, false, true, &e), 0);
    assert_int_equal(row_state(), VM_GONE);
    assert_int_equal(terminated(NULL), 0);
}

static void end_held_row_whose_machine_was_found_is_ended(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_ENDING, "microvm-9");
    assert_int_equal(end(&vm, false, false, &e), 0);
    assert_int_equal(terminated("class=arm id=microvm-9 grace_ms=0"), 1);
    assert_int_equal(row_state(), VM_GONE);
    assert_int_equal(calls_count("ledger_vm_advance", NULL), 1); /* it was ending already */
}

static void end_row_that_surely_has_no_machine_frees_the_slot(void **state)
{
    struct err e;
    struct ledger_vm refused = row(VM_REGISTERED, "");
    assert_int_equal(end(&refused, false, true, &e), 0);
    assert_int_equal(row_state(), VM_GONE);
    struct ledger_vm never_asked = row(VM_RESERVED, "");
    assert_int_equal(fleet_slot_hold_ms(script.fleet, &never_asked), 0);
    assert_int_equal(end(&never_asked, true, false, &e), 0);
    assert_int_equal(row_state(), VM_GONE);
    assert_int_equal(deletions(), 1); /* of the refused one: this one was never registered */
    assert_int_equal(terminated(NULL), 0);
}

/* Its record was never written, but its runner took a job: it is there. */
static void end_unrecorded_machine_after_its_job_keeps_the_slot(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_ENDING, "");
    vm.job_id = 42;
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(end(&vm, true, false, &e), -1);
    assert_int_equal(row_state(), VM_ENDING);
    assert_int_equal(deletions(), 0);
}

static void end_spares_a_busy_runner(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_REGISTERED, "");
    script.runner->busy = true;
    assert_int_equal(end(&vm, true, false, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(row_state(), VM_BUSY);                 /* as GitHub says */
    must_fail(end(&vm, true, false, &e), &e, ERR_CONFLICT); /* the row is no longer as seen */
    assert_int_equal(calls_count("github_get_runner", NULL), 1);
    script.runner->busy = false; /* in the list, but GitHub has just given it a job */
    calls_plan(&(struct call_plan){.function = "github_delete_runner", .fails = ERR_CONFLICT});
    vm = row(VM_REGISTERED, "");
    must_fail(end(&vm, true, false, &e), &e, ERR_CONFLICT);
    assert_int_equal(row_state(), VM_BUSY);
    calls_replan(NULL, 0);
    vm = row(VM_REGISTERED, "");
    assert_int_equal(end(&vm, true, false, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(row_state(), VM_ENDING);
    assert_int_equal(deletions(), 2); /* once refused, once done; not a third time */
}

static int end_as(const struct ledger_vm *vm, enum fleet_evidence evidence, struct err *e)
{
    struct fleet_termination how = {.reason = "test", .evidence = evidence};
    *e = (struct err){0};
    return fleet_terminate_vm(script.fleet, vm, &how, e);
}

/* Its `busy` may be late: only its own agent knows that it idles, or an operator decides. */
static void end_spares_an_online_runner_unless_it_was_requested(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    script.runner->online = true;
    must_fail_saying(end_as(&vm, FLEET_SUSPECT, &e), &e, ERR_CONFLICT, "online");
    assert_int_equal(row_state(), VM_LAUNCHED);
    assert_int_equal(deletions() + terminated(NULL), 0);
    script.runner->busy = true;
    must_fail(end_as(&vm, FLEET_REQUESTED, &e), &e, ERR_CONFLICT);
    assert_int_equal(row_state(), VM_BUSY);
    assert_int_equal(deletions() + terminated(NULL), 0);
    script.runner->busy = false;
    vm = row(VM_BUSY, "microvm-1"); /* although the ledger says so: GitHub vetoes, or not */
    MUST(end_as(&vm, FLEET_REQUESTED, &e));
    assert_int_equal(deletions(), 1);
    assert_int_equal(row_state(), VM_GONE);
}

/* GitHub answers 404 when access is lost: with the VMs of a whole organization at work. */
static void end_without_an_answer_of_github_ends_nothing(void **state)
{
    static const char *const functions[] = {"github_get_runner", "github_delete_runner"};
    static const enum err_class classes[] = {ERR_NOT_FOUND, ERR_AUTH, ERR_RETRY, ERR_THROTTLED};
    static const enum ledger_vm_state states[] = {VM_REGISTERED, VM_LAUNCHED, VM_BUSY};
    struct err e;
    for (size_t i = 0; i < COUNT_OF(functions) * COUNT_OF(classes) * COUNT_OF(states); i++) {
        const enum err_class class = classes[i / 2 % COUNT_OF(classes)];
        const struct call_plan plan = {.function = functions[i % 2], .fails = class};
        struct ledger_vm vm = row(states[i / 2 / COUNT_OF(classes)], "microvm-1");
        calls_replan(&plan, 1);
        must_fail(end_as(&vm, FLEET_SUSPECT, &e), &e, class == ERR_NOT_FOUND ? ERR_RETRY : class);
        assert_int_equal(row_state(), vm.state);
        assert_int_equal(terminated(NULL), 0);
    }
}

static void end_of_a_runner_that_is_gone_asks_github_nothing(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_BUSY, "microvm-1");
    memory_vm(LEDGER, VM)->heartbeat_ms++;
    must_fail(end_as(&vm, FLEET_RUNNER_GONE, &e), &e, ERR_CONFLICT); /* the row moved on */
    vm = row(VM_BUSY, "microvm-1");
    MUST(end_as(&vm, FLEET_RUNNER_GONE, &e));
    assert_int_equal(calls_count("github_get_runner", NULL) + deletions(), 0);
    assert_int_equal(row_state(), VM_GONE);
}

static void end_of_a_row_that_moved_on_since_it_was_read_does_nothing(void **state)
{
    struct err e;
    struct ledger_vm seen = row(VM_REGISTERED, "");
    (void)row(VM_LAUNCHED, "microvm-1"); /* its worker was alive after all */
    must_fail(end(&seen, true, false, &e), &e, ERR_CONFLICT);
    assert_int_equal(row_state(), VM_LAUNCHED);
    seen = row(VM_REGISTERED, "");
    memory_vm(LEDGER, VM)->heartbeat_ms++;
    must_fail(end(&seen, true, false, &e), &e, ERR_CONFLICT);
    assert_int_equal(row_state(), VM_REGISTERED);
    assert_int_equal(deletions() + terminated(NULL), 0);
}

static void row_is_stamped(void)
{
    memory_vm(LEDGER, VM)->heartbeat_ms++;
}

/* Between the deletion and the step the ledger itself decides. */
static void end_of_a_row_that_moves_on_meanwhile_ends_no_machine(void **state)
{
    struct err e;
    struct ledger_vm seen = row(VM_REGISTERED, "microvm-1");
    calls_plan(&(struct call_plan){
        .function = "ledger_vm_advance", .with = " to=ending ", .happens = row_is_stamped});
    must_fail(end(&seen, true, false, &e), &e, ERR_CONFLICT);
    assert_int_equal(row_state(), VM_REGISTERED);
    assert_int_equal(terminated(NULL), 0);
}

/* As when a launch was taken over and its row is gone before the provider responds. */
static void end_of_a_machine_in_hand_needs_no_row(void **state)
{
    struct err e;
    struct ledger_vm in_hand = row(VM_REGISTERED, "microvm-1");
    (void)row(VM_GONE, "");
    MUST(end(&in_hand, false, false, &e));
    assert_int_equal(terminated("class=arm id=microvm-1 grace_ms=0"), 1);
    assert_int_equal(deletions(), 1);
    assert_int_equal(row_state(), VM_GONE);
    /* The row may even have been deleted by retention. */
    calls_plan(&(struct call_plan){.function = "ledger_vm_advance", .fails = ERR_NOT_FOUND});
    MUST(end(&in_hand, false, false, &e));
    assert_int_equal(terminated("class=arm id=microvm-1 grace_ms=0"), 2);
    calls_reset();
    struct ledger_vm nothing_in_hand = row(VM_REGISTERED, "");
    (void)row(VM_GONE, "");
    must_fail(end(&nothing_in_hand, false, false, &e), &e, ERR_CONFLICT);
    in_hand = row(VM_REGISTERED, "microvm-1");
    (void)row(VM_GONE, "");
    must_fail(end(&in_hand, true, false, &e), &e, ERR_CONFLICT);
    assert_int_equal(terminated(NULL), 0);
}

static void end_of_an_unknown_class_is_told(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    assert_true(slice_to_cstr(SLICE("other"), vm.class_name, sizeof vm.class_name));
    assert_int_equal(fleet_slot_hold_ms(script.fleet, &vm), 0);
    must_fail(end(&vm, false, false, &e), &e, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "put it back"));
    assert_int_equal(row_state(), VM_LAUNCHED);
}

static void end_goes_no_further_than_the_ledger_does(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    calls_plan(&(struct call_plan){
        .function = "ledger_vm_advance", .with = " to=ending ", .times = 1, .fails = ERR_RETRY});
    must_fail(end(&vm, false, false, &e), &e, ERR_RETRY);
    assert_int_equal(terminated(NULL) + deletions(), 0);
    assert_int_equal(row_state(), VM_LAUNCHED);
    calls_plan(&(struct call_plan){
        .function = "ledger_vm_advance", .with = " to=gone ", .times = 1, .fails = ERR_RETRY});
    must_fail(end(&vm, false, false, &e), &e, ERR_RETRY);
    assert_int_equal(terminated(NULL), 1);
    assert_int_equal(row_state(), VM_ENDING);
    /* Its answer alone is lost: the next one finds the row where it is to be. */
    calls_plan(&(struct call_plan){.function = "ledger_vm_advance",
                                   .with = " to=gone ",
                                   .times = 1,
                                   .fails = ERR_RETRY,
                                   .carried_out = true});
    must_fail(end(&vm, false, false, &e), &e, ERR_RETRY);
    assert_int_equal(row_state(), VM_GONE);
}

static void end_writes_its_reason_once(void **state)
{
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    MUST(end(&vm, false, false, &e));
    assert_string_equal(calls_args("ledger_vm_advance", NULL, 1),
                        "vm=" VM " to=ending runner_id=0 vm_id=- deadline_ms=0 reason=test");
    assert_string_equal(calls_args("ledger_vm_advance", NULL, 2),
                        "vm=" VM " to=gone runner_id=0 vm_id=- deadline_ms=0 reason=-");
    assert_int_equal(calls_count("ledger_vm_advance", NULL), 2);
}

/* --- rates --- */

static void turn_to_end_is_taken_from_the_bucket_of_its_domain(void **state)
{
    struct err e;
    int64_t wait_ms = -1;
    const struct config_rate rate = {10, 6}; /* less 2, but not on this host */
    for (int i = 0; i < 4; i++) {
        MUST(fleet_terminate_turn(script.fleet, "arm", &rate, &wait_ms, &e));
        assert_int_equal(wait_ms, 0);
    }
    MUST(fleet_terminate_turn(script.fleet, "big", &rate, &wait_ms, &e));
    assert_int_equal(wait_ms, 100);
    assert_int_equal(
        calls_count("ledger_rate_take", "name=terminate/lambda/r/1 per_second=10 burst=4 cost=1"),
        5);
    must_fail(fleet_terminate_turn(script.fleet, "other", &rate, &wait_ms, &e), &e, ERR_NOT_FOUND);
    MUST(fleet_terminate_turn(script.fleet, "metal", &rate, &wait_ms, &e));
    assert_int_equal(wait_ms, 0);
    assert_int_equal(calls_count("ledger_rate_take", "name=terminate/host/"), 1);
    assert_int_equal(calls_count("ledger_rate_take", "burst=6"), 1);
    assert_int_equal(calls_count("ledger_rate_take", fleet_host(script.fleet)), 1);
}

static int list(const char *class_name, struct err *e)
{
    struct vm_info *machines = NULL;
    size_t n = 0;
    int rc = vm_list(fleet_provider(script.fleet, class_name), &machines, &n, e);
    free(machines);
    return rc;
}

static int describe(struct err *e)
{
    struct vm_info info;
    return vm_describe(fleet_provider(script.fleet, "arm"), "microvm-1", &info, e);
}

static void read_waits_for_its_turn_and_not_for_ever(void **state)
{
    struct err e;
    int64_t begin = script.now_ms;
    drain_list();
    MUST(list("arm", &e));
    assert_in_range(script.now_ms - begin, 1000 / 7, 1000 / 7 + 2);
    assert_int_equal(
        calls_count("ledger_rate_take", "name=list/lambda/r/1 per_second=7 burst=3 cost=1"), 2);
    calls_plan(&(struct call_plan){.function = "ledger_rate_take", .happens = drain_describe});
    begin = script.now_ms;
    must_fail_saying(describe(&e), &e, ERR_RETRY, "limits.describe_rate");
    assert_in_range(script.now_ms - begin, 5000 - 11, 5000);
    assert_in_range(e.retry_after_ms, 1, 11);
    assert_true(calls_count("ledger_rate_take",
                            "name=describe/lambda/r/1 per_second=100 burst=50 cost=1") > 100);
}

static void read_gives_up_when_the_program_ends(void **state)
{
    struct err e;
    drain_list();
    fleet_interrupt(script.fleet);
    must_fail(list("big", &e), &e, ERR_RETRY);
    assert_int_equal(calls_count("ledger_rate_take", NULL), 1);
    calls_plan(&(struct call_plan){.function = "ledger_rate_take", .fails = ERR_PERMANENT});
    must_fail_saying(list("big", &e), &e, ERR_PERMANENT, "scripted");
}

static void must_be_paused(size_t n, const char *name, int64_t for_ms)
{
    char args[128];
    (void)snprintf(args, sizeof args, "name=%s until_ms=%lld", name,
                   (long long)(script.now_ms + for_ms));
    assert_string_equal(calls_args("ledger_rate_pause", NULL, n), args);
}

/* The service refuses one call of that function, and names that time. */
static void refuse(const char *function, int64_t retry_after_ms)
{
    struct err e;
    struct vm_provider *arm = fleet_provider(script.fleet, "arm");
    const struct vm_spec spec = {
        .name = VM, .client_token = "token", .payload = SLICE("payload"), .max_duration_ms = 1};
    char id[VM_ID_MAX + 1];
    const struct call_plan plan = {
        .function = function, .fails = ERR_THROTTLED, .retry_after_ms = retry_after_ms};
    calls_replan(&plan, 1);
    must_fail(strcmp(function, "vm_run") == 0         ? vm_run(arm, &spec, id, &e)
              : strcmp(function, "vm_terminate") == 0 ? vm_terminate(arm, "microvm-1", 0, &e)
              : strcmp(function, "vm_describe") == 0  ? describe(&e)
                                                      : list("arm", &e),
              &e, ERR_THROTTLED);
}

static void throttled_call_closes_what_the_service_counts_together(void **state)
{
    refuse("vm_terminate", 7000);
    must_be_paused(1, "terminate/lambda/r/1", 7000);
    refuse("vm_run", 0);
    must_be_paused(2, "launch.big", 1000);
    must_be_paused(3, "launch.arm", 1000);
    assert_int_equal(calls_count("ledger_rate_pause", NULL), 3);
}

static void throttled_call_closes_no_longer_than_the_bucket_is_empty(void **state)
{
    refuse("vm_describe", 7000); /* 100 a second, 50 at once */
    must_be_paused(1, "describe/lambda/r/1", 500);
    refuse("vm_list", 200); /* 7 a second, 3 at once */
    must_be_paused(2, "list/lambda/r/1", 200);
    refuse("vm_terminate", 30000); /* 10 a second, 100 at once */
    must_be_paused(3, "terminate/lambda/r/1", 10000);
}

static void lists_that_are_throttled_get_half_the_rate_until_it_is_quiet(void **state)
{
    struct err e;
    refuse("vm_list", 200);
    refuse("vm_list", 200); /* at half the rate, and then at a quarter */
    calls_replan(NULL, 0);
    for (int minutes = 0; minutes < 4; minutes++, script.now_ms += 61000) {
        MUST(list("arm", &e));
    }
    assert_non_null(strstr(calls_args("ledger_rate_take", "=1.75 burst=1", 1), "list/lambda/r/1"));
    assert_int_equal(calls_count("ledger_rate_take", "=7 burst=3"), 1 + 2); /* first and last */
}

#define WITH_FLEET(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        WITH_FLEET(end_known_machine_frees_the_slot),
        WITH_FLEET(end_failed_terminate_keeps_the_slot),
        WITH_FLEET(end_unnamed_machine_of_this_host_is_ended_by_its_name),
        WITH_FLEET(end_machine_nobody_can_name_keeps_the_slot),
        WITH_FLEET(end_held_row_stays_until_somebody_knows_that_none_runs),
        WITH_FLEET(end_held_row_whose_machine_was_found_is_ended),
        WITH_FLEET(end_row_that_surely_has_no_machine_frees_the_slot),
        WITH_FLEET(end_unrecorded_machine_after_its_job_keeps_the_slot),
        WITH_FLEET(end_spares_a_busy_runner),
        WITH_FLEET(end_spares_an_online_runner_unless_it_was_requested),
        WITH_FLEET(end_without_an_answer_of_github_ends_nothing),
        WITH_FLEET(end_of_a_runner_that_is_gone_asks_github_nothing),
        WITH_FLEET(end_of_a_row_that_moved_on_since_it_was_read_does_nothing),
        WITH_FLEET(end_of_a_row_that_moves_on_meanwhile_ends_no_machine),
        WITH_FLEET(end_of_a_machine_in_hand_needs_no_row),
        WITH_FLEET(end_of_an_unknown_class_is_told),
        WITH_FLEET(end_goes_no_further_than_the_ledger_does),
        WITH_FLEET(end_writes_its_reason_once),
        WITH_FLEET(turn_to_end_is_taken_from_the_bucket_of_its_domain),
        WITH_FLEET(read_waits_for_its_turn_and_not_for_ever),
        WITH_FLEET(read_gives_up_when_the_program_ends),
        WITH_FLEET(throttled_call_closes_what_the_service_counts_together),
        WITH_FLEET(throttled_call_closes_no_longer_than_the_bucket_is_empty),
        WITH_FLEET(lists_that_are_throttled_get_half_the_rate_until_it_is_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
