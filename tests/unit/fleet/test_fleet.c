/*
 * Ending a VM, above all one whose machine nobody can name; and the rates of the provider's calls.
 * The ledger, GitHub and the provider are scripted here, and no time passes but the script's (the
 * test links with --wrap=stop_sleep).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/stop.h"
#include "common/fleet/fleet.h"

#define MAX_DURATION_S 600
#define GRACE_MS 5000
#define BUCKETS_MAX 8
#define HOLD_MS ((int64_t)MAX_DURATION_S * 1000 + GRACE_MS)

static struct script {
    bool host_bound;
    enum err_class terminate; /* ERR_NONE: it works */
    enum err_class delete;
    int terminated;
    char terminated_id[VM_ID_MAX + 1];
    int deleted;
    enum ledger_vm_state row;
    int moves; /* calls that move it */
    int64_t now_ms;
    struct fleet *fleet;
    struct vm_pace pace[2];
    size_t paces;
    const char *domain;
    int64_t tokens; /* of every bucket; none: one comes each 100 ms */
    enum err_class take;
    char taken[BUCKETS_MAX][128];
    struct ledger_bucket bucket; /* the last one asked for */
    size_t takes;
    char paused[BUCKETS_MAX][128];
    int64_t paused_until_ms;
    size_t pauses;
} script;

static int64_t wall(void)
{
    return script.now_ms;
}

static int64_t mono(void)
{
    return script.now_ms * 1000;
}

int vm_open_paced(const struct config_class *class, const char *deployment,
                  const struct vm_pace *pace, struct vm_provider **out, struct err *e)
{
    (void)class;
    (void)deployment;
    (void)e;
    if (script.paces < COUNT_OF(script.pace)) {
        script.pace[script.paces++] = *pace;
    }
    *out = (struct vm_provider *)&script; /* never looked into */
    return 0;
}

void vm_close(struct vm_provider *p)
{
    (void)p;
}

bool vm_host_bound(const struct vm_provider *p)
{
    (void)p;
    return script.host_bound;
}

int vm_terminate(struct vm_provider *p, const char *id, int64_t grace_ms, struct err *e)
{
    (void)p;
    (void)grace_ms;
    script.terminated++;
    assert_true(slice_to_cstr(slice_of(id), script.terminated_id, sizeof script.terminated_id));
    return script.terminate == ERR_NONE ? 0 : err_set(e, script.terminate, 0, "scripted");
}

const char *vm_domain(const struct vm_provider *p)
{
    (void)p;
    return script.domain;
}

const char *vm_call_name(enum vm_call c)
{
    static const char *const names[] = {"run", "terminate", "describe", "list"};
    return names[c];
}

int ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                     int64_t *wait_ms, struct err *e)
{
    (void)l;
    assert_int_equal(cost, 1);
    assert_true(slice_to_cstr(slice_of(b->name), script.taken[script.takes % BUCKETS_MAX], 128));
    script.bucket = *b;
    script.takes++;
    if (script.take != ERR_NONE) {
        return err_set(e, script.take, 0, "scripted");
    }
    *wait_ms = script.tokens > 0 ? 0 : 100;
    script.tokens -= script.tokens > 0 ? 1 : 0;
    return 0;
}

int ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e)
{
    (void)l;
    (void)e;
    assert_true(slice_to_cstr(slice_of(name), script.paused[script.pauses++ % BUCKETS_MAX], 128));
    script.paused_until_ms = until_ms;
    return 0;
}

bool __wrap_stop_sleep(struct stop *s, int64_t timeout_ms);
bool __wrap_stop_sleep(struct stop *s, int64_t timeout_ms)
{
    script.now_ms += timeout_ms;
    script.tokens += script.now_ms % 1000 == 0 ? 1 : 0;
    return stop_raised(s);
}

struct github_scope github_scope_parse(const char *name, int64_t installation_id)
{
    (void)name;
    return (struct github_scope){.installation_id = installation_id};
}

int github_delete_runner(struct github *g, const struct github_scope *scope, int64_t id,
                         struct err *e)
{
    (void)g;
    (void)scope;
    assert_int_equal(id, 77);
    script.deleted++;
    return script.delete == ERR_NONE ? 0 : err_set(e, script.delete, 422, "busy");
}

int github_find_runner(struct github *g, const struct github_scope *scope, const char *name,
                       struct github_runner *out, struct err *e)
{
    (void)g;
    (void)scope;
    (void)name;
    (void)out;
    return err_set(e, ERR_NOT_FOUND, 404, "none");
}

int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                      struct err *e)
{
    (void)l;
    (void)changed;
    (void)e;
    assert_true(a->to >= script.row);
    script.moves++;
    script.row = a->to;
    return 0;
}

static char text_arm[] = "arm";
static char text_big[] = "big";
static char text_t[] = "t";

static int setup(void **state)
{
    static const struct clock_source source = {mono, wall};
    struct err e;
    struct config_class classes[] = {
        {.name = text_arm, .max_duration_seconds = MAX_DURATION_S},
        {.name = text_big, .max_duration_seconds = MAX_DURATION_S},
    };
    struct config c = {.deployment = text_t, .classes = classes, .class_count = 2};
    c.limits.terminate_rate = (struct config_rate){10, 100};
    c.limits.describe_rate = (struct config_rate){100, 50};
    c.limits.list_rate = (struct config_rate){7, 3};
    c.reaper.deadline_grace_ms = GRACE_MS;
    (void)state;
    script = (struct script){.now_ms = 1790000000000, .domain = "lambda/r/1"};
    clock_set_source(&source);
    return fleet_open(&c, NULL, NULL, &script.fleet, &e);
}

static int teardown(void **state)
{
    (void)state;
    fleet_close(script.fleet);
    clock_set_source(NULL);
    return 0;
}

/* A row in that state, registered, whose machine has that id. */
static struct ledger_vm row(enum ledger_vm_state state, const char *vm_id)
{
    struct ledger_vm vm = {.name = "mf-t-arm-1", .class_name = "arm", .state = state};
    assert_true(slice_to_cstr(slice_of(vm_id), vm.vm_id, sizeof vm.vm_id));
    vm.reserved_ms = script.now_ms - 1000;
    if (state != VM_RESERVED) {
        vm.runner_id = 77;
        vm.registered_ms = script.now_ms - 900;
    }
    if (state == VM_ENDING) {
        vm.ending_ms = script.now_ms;
    }
    script.row = state;
    return vm;
}

static int end(const struct ledger_vm *vm, bool spare, bool nothing_runs, struct err *e)
{
    struct fleet_end how = {.reason = "test", .spare_if_busy = spare, .nothing_runs = nothing_runs};
    *e = (struct err){0};
    return fleet_end_vm(script.fleet, vm, &how, e);
}

static void end_known_machine_frees_the_slot(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    assert_int_equal(end(&vm, false, false, &e), 0);
    assert_string_equal(script.terminated_id, "microvm-1");
    assert_int_equal(script.row, VM_GONE);
    assert_int_equal(script.deleted, 1);
}

static void end_failed_terminate_keeps_the_slot(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    script.terminate = ERR_THROTTLED;
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(script.row, VM_ENDING);
}

static void end_unnamed_machine_of_this_host_is_ended_by_its_name(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_REGISTERED, "");
    script.host_bound = true;
    vm.host[0] = '\0';
    assert_true(slice_to_cstr(slice_of(fleet_host(script.fleet)), vm.host, sizeof vm.host));
    assert_int_equal(fleet_hold_ms(script.fleet, &vm), 0);
    assert_int_equal(end(&vm, false, false, &e), 0);
    assert_string_equal(script.terminated_id, "mf-t-arm-1");
    assert_int_equal(script.row, VM_GONE);
}

/* The launch's answer was lost: the machine may run, so the slot is not free. */
static void end_machine_nobody_can_name_keeps_the_slot(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_REGISTERED, "");
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(fleet_hold_ms(script.fleet, &vm), HOLD_MS);
    assert_int_equal(script.row, VM_ENDING);
    assert_int_equal(script.terminated, 0);
    assert_int_equal(script.deleted, 1); /* so that its runner gets no job */
}

/* Not even when the provider should have ended it: it may have failed to. */
static void end_held_row_stays_until_somebody_knows_that_none_runs(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_ENDING, "");
    script.now_ms += HOLD_MS - 1;
    assert_int_equal(fleet_hold_ms(script.fleet, &vm), 1);
    script.now_ms += 1;
    assert_int_equal(fleet_hold_ms(script.fleet, &vm), 0);
    assert_true(fleet_machine_unknown(script.fleet, &vm));
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(script.row, VM_ENDING);
    assert_int_equal(script.deleted, 0); /* that was done when it became ending */
    assert_int_equal(end(&vm, false, true, &e), 0);
    assert_int_equal(script.row, VM_GONE);
    assert_int_equal(script.terminated, 0);
}

static void end_held_row_whose_machine_was_found_is_ended(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_ENDING, "microvm-9");
    assert_int_equal(end(&vm, false, false, &e), 0);
    assert_string_equal(script.terminated_id, "microvm-9");
    assert_int_equal(script.row, VM_GONE);
    assert_int_equal(script.moves, 1); /* it was ending already */
}

static void end_row_that_surely_has_no_machine_frees_the_slot(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm refused = row(VM_REGISTERED, "");
    assert_int_equal(end(&refused, false, true, &e), 0);
    assert_int_equal(script.row, VM_GONE);
    struct ledger_vm never_asked = row(VM_RESERVED, "");
    assert_int_equal(fleet_hold_ms(script.fleet, &never_asked), 0);
    assert_int_equal(end(&never_asked, true, false, &e), 0);
    assert_int_equal(script.row, VM_GONE);
    assert_int_equal(script.terminated, 0);
}

/* Its record was never written, but its runner took a job: it is there. */
static void end_unrecorded_machine_after_its_job_keeps_the_slot(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_ENDING, "");
    vm.job_id = 42;
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(script.row, VM_ENDING);
    assert_int_equal(script.deleted, 0);
}

static void end_spares_a_busy_runner(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_REGISTERED, "");
    script.delete = ERR_CONFLICT;
    assert_int_equal(end(&vm, true, false, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(script.row, VM_REGISTERED);
    script.delete = ERR_NONE;
    assert_int_equal(end(&vm, true, false, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(script.row, VM_ENDING);
    assert_int_equal(script.deleted, 2); /* once refused, once done; not a third time */
}

static void end_of_an_unknown_class_is_told(void **state)
{
    (void)state;
    struct err e;
    struct ledger_vm vm = row(VM_LAUNCHED, "microvm-1");
    assert_true(slice_to_cstr(SLICE("other"), vm.class_name, sizeof vm.class_name));
    assert_int_equal(fleet_hold_ms(script.fleet, &vm), 0);
    assert_int_equal(end(&vm, false, false, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(script.row, VM_LAUNCHED);
}

/* --- rates --- */

static void turn_to_end_is_taken_from_the_bucket_of_its_domain(void **state)
{
    (void)state;
    struct err e;
    int64_t wait_ms = -1;
    const struct config_rate rate = {10, 4};
    script.tokens = 1;
    assert_int_equal(fleet_may_end(script.fleet, "arm", &rate, &wait_ms, &e), 0);
    assert_int_equal(wait_ms, 0);
    assert_string_equal(script.taken[0], "terminate/lambda/r/1");
    assert_true(script.bucket.per_second > 9.9 && script.bucket.per_second < 10.1);
    assert_int_equal(script.bucket.burst, 4);
    assert_int_equal(fleet_may_end(script.fleet, "big", &rate, &wait_ms, &e), 0);
    assert_int_equal(wait_ms, 100);
    assert_string_equal(script.taken[1], script.taken[0]);
    assert_int_equal(fleet_may_end(script.fleet, "other", &rate, &wait_ms, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    script.domain = "";
    assert_int_equal(fleet_may_end(script.fleet, "arm", &rate, &wait_ms, &e), 0);
    assert_non_null(strstr(script.taken[2], fleet_host(script.fleet)));
}

static void read_waits_for_its_turn_and_not_for_ever(void **state)
{
    (void)state;
    struct err e;
    const struct vm_pace *pace = &script.pace[0];
    int64_t begin = script.now_ms;
    assert_int_equal(pace->wait(pace->arg, VM_CALL_LIST, &e), 0);
    assert_int_equal(script.now_ms - begin, 1000);
    assert_string_equal(script.taken[0], "list/lambda/r/1");
    assert_int_equal(script.bucket.burst, 3);
    script.now_ms += 1; /* so that no token comes any more */
    begin = script.now_ms;
    assert_int_equal(pace->wait(pace->arg, VM_CALL_DESCRIBE, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "limits.describe_rate"));
    assert_int_equal(script.now_ms - begin, 5000);
    assert_int_equal(script.bucket.burst, 50);
}

static void read_gives_up_when_the_program_ends(void **state)
{
    (void)state;
    struct err e;
    const struct vm_pace *pace = &script.pace[1];
    fleet_interrupt(script.fleet);
    assert_int_equal(pace->wait(pace->arg, VM_CALL_LIST, &e), -1);
    assert_int_equal(script.takes, 1);
    script.take = ERR_RETRY;
    assert_int_equal(pace->wait(pace->arg, VM_CALL_LIST, &e), -1);
    assert_non_null(strstr(e.message, "scripted"));
}

static void throttled_call_closes_what_the_service_counts_together(void **state)
{
    (void)state;
    const struct vm_pace *pace = &script.pace[0];
    pace->throttled(pace->arg, VM_CALL_TERMINATE, 7000);
    assert_int_equal(script.pauses, 1);
    assert_string_equal(script.paused[0], "terminate/lambda/r/1");
    assert_int_equal(script.paused_until_ms, script.now_ms + 7000);
    pace->throttled(pace->arg, VM_CALL_RUN, 0);
    assert_int_equal(script.pauses, 3);
    assert_string_equal(script.paused[1], "launch.arm");
    assert_string_equal(script.paused[2], "launch.big");
    assert_int_equal(script.paused_until_ms, script.now_ms + 1000);
}

static void throttled_call_closes_no_longer_than_the_bucket_is_empty(void **state)
{
    (void)state;
    const struct vm_pace *pace = &script.pace[0];
    pace->throttled(pace->arg, VM_CALL_DESCRIBE, 7000); /* 100 a second, 50 at once */
    assert_int_equal(script.paused_until_ms, script.now_ms + 500);
    pace->throttled(pace->arg, VM_CALL_LIST, 200); /* 7 a second, 3 at once */
    assert_int_equal(script.paused_until_ms, script.now_ms + 200);
    pace->throttled(pace->arg, VM_CALL_TERMINATE, 30000); /* 10 a second, 100 at once */
    assert_int_equal(script.paused_until_ms, script.now_ms + 10000);
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
        WITH_FLEET(end_of_an_unknown_class_is_told),
        WITH_FLEET(turn_to_end_is_taken_from_the_bucket_of_its_domain),
        WITH_FLEET(read_waits_for_its_turn_and_not_for_ever),
        WITH_FLEET(read_gives_up_when_the_program_ends),
        WITH_FLEET(throttled_call_closes_what_the_service_counts_together),
        WITH_FLEET(throttled_call_closes_no_longer_than_the_bucket_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
