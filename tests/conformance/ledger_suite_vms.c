/*
 * Conformance of a ledger backend: a VM's own way, and lists of VMs.
 */
#include "tests/conformance/ledger_suite.h"

#include "common/ledger/images.h"

#include <stdio.h>

/* --- edges --- */
enum verdict { NO, MOVES, STAYS };

/* A VM in any state, by the ways that lead there. */
static struct ledger_vm vm_in_state(struct ledger *l, int64_t job_id, enum ledger_vm_state s)
{
    struct ledger_vm vm = must_get_vm(l, job_id);
    bring(l, &vm, s);
    (void)must_apply(l, completed(job_id, "", "cancelled")); /* the next one needs demand */
    return must_see_vm(l, vm.name);
}

static void every_step_from_every_state_does_what_the_table_says(void **state)
{
    struct ledger_fixture *f = *state;
    static const enum verdict table[6][6] = {
        [VM_RESERVED] = {STAYS, MOVES, NO, MOVES, MOVES, NO},
        [VM_REGISTERED] = {NO, STAYS, MOVES, MOVES, MOVES, NO},
        [VM_LAUNCHED] = {NO, NO, STAYS, MOVES, MOVES, NO},
        [VM_BUSY] = {NO, NO, STAYS, STAYS, MOVES, NO},
        [VM_ENDING] = {NO, NO, STAYS, NO, STAYS, MOVES},
        [VM_GONE] = {NO, NO, NO, NO, NO, STAYS},
    };
    int64_t id = 1;
    for (int from = VM_RESERVED; from <= VM_GONE; from++) {
        for (int to = VM_RESERVED; to <= VM_GONE; to++, id++) {
            struct ledger_vm vm = vm_in_state(f->l, id, (enum ledger_vm_state)from);
            struct ledger_advance a = step(vm.name, (enum ledger_vm_state)to);
            bool changed = false;
            struct err e;
            int rc = ledger_vm_advance(f->l, &a, &changed, &e);
            enum ledger_vm_state now = must_see_vm(f->l, vm.name).state;
            if (table[from][to] == NO) {
                must_fail(rc, &e, ERR_CONFLICT);
                assert_non_null(strstr(e.message, vm.name));
            } else {
                MUST(rc);
                assert_int_equal(changed, table[from][to] == MOVES);
            }
            assert_int_equal(now, table[from][to] == MOVES ? to : from);
            if (now < VM_BUSY) {
                must_advance(f->l, vm.name, VM_ENDING);
            }
        }
    }
    must_be_consistent(f->l, id);
}

static void each_step_keeps_its_time_and_facts(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    for (int s = VM_REGISTERED; s <= VM_GONE; s++) {
        clock_at(100 * s);
        must_advance(f->l, vm.name, (enum ledger_vm_state)s);
    }
    vm = must_see_vm(f->l, vm.name);
    assert_int_equal(vm.reserved_ms, START_MS);
    assert_int_equal(vm.registered_ms, START_MS + 100);
    assert_int_equal(vm.launched_ms, START_MS + 200);
    assert_int_equal(vm.busy_ms, START_MS + 300);
    assert_int_equal(vm.ending_ms, START_MS + 400);
    assert_int_equal(vm.gone_ms, START_MS + 500);
    assert_int_equal(vm.runner_id, 12);
    assert_int_equal(vm.deadline_ms, START_MS + HOUR_MS);
    assert_string_equal(vm.vm_id, "vm-1");
    assert_string_equal(vm.end_reason, "the test says so");
}

/* Only a launch that goes on is stamped; one that is over says so. */
static void heartbeat_stamps_a_launching_row_alone(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    int64_t last_ms = START_MS;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    assert_int_equal(must_see_vm(f->l, vm.name).heartbeat_ms, START_MS);
    for (int s = VM_RESERVED; s <= VM_GONE; s++) {
        clock_at(100 * s);
        if (s > VM_RESERVED) {
            must_advance(f->l, vm.name, (enum ledger_vm_state)s);
        }
        clock_at(100 * s + 50);
        int rc = ledger_vm_heartbeat(f->l, vm.name, &e);
        if (s >= VM_ENDING) {
            must_fail(rc, &e, ERR_CONFLICT);
        } else {
            MUST(rc);
        }
        last_ms = s <= VM_REGISTERED ? START_MS + 100 * s + 50 : last_ms;
        assert_int_equal(must_see_vm(f->l, vm.name).heartbeat_ms, last_ms);
        assert_int_equal(must_see_vm(f->l, vm.name).state, s);
    }
    must_fail(ledger_vm_heartbeat(f->l, "mf-none", &e), &e, ERR_NOT_FOUND);
    must_be_consistent(f->l, 1);
}

static void launch_recorded_after_the_events_keeps_the_state(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm busy = must_get_vm(f->l, 1);
    bring(f->l, &busy, VM_REGISTERED);
    (void)must_apply(f->l, in_progress(1, busy.name));
    assert_false(must_advance(f->l, busy.name, VM_LAUNCHED));
    busy = must_see_vm(f->l, busy.name);
    assert_int_equal(busy.state, VM_BUSY);
    assert_string_equal(busy.vm_id, "vm-1");
    assert_int_equal(busy.deadline_ms, START_MS + HOUR_MS);
    assert_int_equal(busy.launched_ms, START_MS);
    (void)must_apply(f->l, completed(1, busy.name, "success"));
    struct ledger_vm ending = must_get_vm(f->l, 2);
    bring(f->l, &ending, VM_REGISTERED);
    (void)must_apply(f->l, completed(2, ending.name, "success"));
    assert_false(must_advance(f->l, ending.name, VM_LAUNCHED));
    ending = must_see_vm(f->l, ending.name);
    assert_int_equal(ending.state, VM_ENDING);
    assert_string_equal(ending.vm_id, "vm-1"); /* so that it can be terminated */
}

static void launch_recorded_twice_stays_and_another_vm_is_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct ledger_advance a = {.vm = vm.name, .to = VM_LAUNCHED, .vm_id = "vm-2"};
    struct err e;
    bring(f->l, &vm, VM_LAUNCHED);
    assert_false(must_advance(f->l, vm.name, VM_LAUNCHED));
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_CONFLICT);
    assert_string_equal(must_see_vm(f->l, vm.name).vm_id, "vm-1");
}

static void launch_of_a_vm_that_is_gone_is_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct err e;
    bring(f->l, &vm, VM_REGISTERED);
    must_advance(f->l, vm.name, VM_ENDING);
    must_advance(f->l, vm.name, VM_GONE);
    struct ledger_advance a = step(vm.name, VM_LAUNCHED);
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_CONFLICT);
    assert_string_equal(must_see_vm(f->l, vm.name).vm_id, "");
}

static void step_on_what_was_seen_is_refused_once_the_row_moved_on(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct err e;
    bring(f->l, &vm, VM_REGISTERED);
    struct ledger_vm seen = must_see_vm(f->l, vm.name);
    struct ledger_advance a = {.vm = vm.name, .to = VM_ENDING, .seen = &seen};
    seen.heartbeat_ms--; /* there was a heartbeat since */
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_CONFLICT);
    seen.heartbeat_ms++;
    must_advance(f->l, vm.name, VM_LAUNCHED);
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_CONFLICT);
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_LAUNCHED);
    seen = must_see_vm(f->l, vm.name);
    MUST(ledger_vm_advance(f->l, &a, NULL, &e));
    MUST(ledger_vm_advance(f->l, &a, NULL, &e)); /* the answer to the first may have been lost */
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_ENDING);
}

static void first_reason_of_ending_stays(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct ledger_advance late = {.vm = vm.name, .to = VM_ENDING, .reason = "later"};
    struct ledger_advance gone = {.vm = vm.name, .to = VM_GONE};
    struct err e;
    must_advance(f->l, vm.name, VM_ENDING);
    MUST(ledger_vm_advance(f->l, &late, NULL, &e));
    MUST(ledger_vm_advance(f->l, &gone, NULL, &e));
    assert_string_equal(must_see_vm(f->l, vm.name).end_reason, "the test says so");
}

static void long_reason_is_cut(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    char reason[400];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    struct ledger_advance a = {.vm = vm.name, .to = VM_ENDING, .reason = reason};
    struct err e;
    MUST(ledger_vm_advance(f->l, &a, NULL, &e));
    assert_int_equal(strlen(must_see_vm(f->l, vm.name).end_reason), sizeof vm.end_reason - 1);
}

static void busy_told_by_github_takes_the_job_from_a_late_event(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_BUSY);
    assert_int_equal(must_see_vm(f->l, vm.name).job_id, 0);
    assert_false(must_apply(f->l, in_progress(1, vm.name)).vm_changed);
    assert_int_equal(must_see_vm(f->l, vm.name).job_id, 1);
}

static void unknown_vm_and_bad_steps_are_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct err e;
    struct ledger_advance a = step("mf-test-small-000000000000", VM_ENDING);
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_NOT_FOUND);
    must_fail(ledger_vm_get(f->l, "nobody", &vm, &e), &e, ERR_NOT_FOUND);
    a = (struct ledger_advance){.vm = vm.name, .to = VM_REGISTERED};
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_PERMANENT);
    a = (struct ledger_advance){.vm = "", .to = VM_ENDING};
    must_fail(ledger_vm_advance(f->l, &a, NULL, &e), &e, ERR_PERMANENT);
}

/* --- freed --- */
static void freed_grows_with_every_slot_and_once(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    int64_t before;
    int64_t now;
    struct err e;
    MUST(ledger_release_seq(f->l, &before, &e));
    bring(f->l, &vm, VM_ENDING);
    MUST(ledger_release_seq(f->l, &now, &e));
    assert_int_equal(now, before); /* ending still holds it */
    must_advance(f->l, vm.name, VM_GONE);
    must_advance(f->l, vm.name, VM_GONE);
    MUST(ledger_release_seq(f->l, &now, &e));
    assert_int_equal(now, before + 1);
    assert_int_equal(slots_used(f->l), 0);
}

/* --- lists --- */
static void list_gives_the_states_asked_for_by_name(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    struct err e;
    for (int64_t s = VM_RESERVED; s <= VM_GONE; s++) {
        (void)vm_in_state(f->l, 1 + 2 * s, (enum ledger_vm_state)s);
        /* vm_in_state's starting ones leave supply for the next: one more job makes room. */
        (void)must_apply(f->l, queued(100 + s));
    }
    MUST(ledger_vm_list(f->l, 1U << VM_BUSY | 1U << VM_GONE, "", 10, &vms, &n, &e));
    assert_int_equal(n, 2);
    assert_true(strcmp(vms[0].name, vms[1].name) < 0);
    assert_int_equal((1U << vms[0].state) | (1U << vms[1].state), 1U << VM_BUSY | 1U << VM_GONE);
    free(vms);
    vms = NULL;
    MUST(ledger_vm_list(f->l, 1U << VM_LAUNCHED, "", 10, &vms, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(vms[0].vm_id, "vm-1");
    free(vms);
}

static void list_continues_behind_a_name(void **state)
{
    struct ledger_fixture *f = *state;
    char after[VM_NAME_SIZE] = "";
    size_t seen = 0;
    struct err e;
    for (int64_t id = 1; id <= 7; id++) {
        (void)must_get_vm(f->l, id);
    }
    for (;;) {
        struct ledger_vm *vms = NULL;
        size_t n = 0;
        MUST(ledger_vm_list(f->l, 1U << VM_RESERVED, after, 3, &vms, &n, &e));
        for (size_t i = 0; i < n; i++) {
            assert_true(strcmp(after, vms[i].name) < 0);
            (void)snprintf(after, sizeof after, "%s", vms[i].name);
        }
        free(vms);
        seen += n;
        if (n < 3) {
            break;
        }
    }
    assert_int_equal(seen, 7);
}

/* --- scopes --- */
static void scopes_are_those_of_rows_that_still_stand_without_groups(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_scope *scopes = NULL;
    size_t n = 0;
    int64_t removed;
    struct err e;
    (void)must_apply(f->l, queued(5)); /* a job alone registers nothing */
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct job_event ev = queued(2);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve grouped = ask(&request, wide_caps());
    struct ledger_reservation out;
    grouped.scope = SCOPE "#quiet";
    MUST(ledger_reserve(f->l, &grouped, &out, &e));
    MUST(ledger_scopes(f->l, &scopes, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(scopes[0].name, SCOPE);
    assert_int_equal(scopes[0].installation_id, 99);
    free(scopes);
    scopes = NULL;
    bring(f->l, &vm, VM_GONE);
    MUST(ledger_tidy(f->l, START_MS + HOUR_MS, 100, &removed, &e));
    MUST(ledger_scopes(f->l, &scopes, &n, &e));
    assert_int_equal(n, 1);
    assert_string_equal(scopes[0].name, SCOPE);
    free(scopes);
    scopes = NULL;
    bring(f->l, &out.vm, VM_GONE);
    MUST(ledger_tidy(f->l, START_MS + HOUR_MS, 100, &removed, &e));
    MUST(ledger_scopes(f->l, &scopes, &n, &e));
    assert_int_equal(n, 0);
    free(scopes);
}

static struct ledger_adoption adoption(const char *name)
{
    return (struct ledger_adoption){.name = name,
                                    .class_name = "small",
                                    .provider = "lambda",
                                    .host = "",
                                    .vm_id = "microvm-7",
                                    .started_ms = START_MS - 5000,
                                    .deadline_ms = START_MS + HOUR_MS};
}

/* It may run a job, so that caps hold although nobody reserved it; no runner of it is known. */
static void adopted_vm_holds_a_slot_and_is_no_supply(void **state)
{
    struct ledger_fixture *f = *state;
    const struct ledger_adoption a = adoption("adopted-1");
    struct ledger_balance *balances = NULL;
    struct ledger_scope *scopes = NULL;
    bool added = false;
    size_t n = 9;
    struct err e;
    MUST(ledger_vm_adopt(f->l, &a, &added, &e));
    assert_true(added);
    struct ledger_vm vm = must_see_vm(f->l, "adopted-1");
    assert_true(ledger_vm_is_adopted(&vm));
    assert_int_equal(vm.state, VM_BUSY);
    assert_string_equal(vm.vm_id, "microvm-7");
    assert_string_equal(vm.class_name, "small");
    assert_string_equal(vm.provider, "lambda");
    assert_int_equal(vm.launched_ms, START_MS - 5000);
    assert_int_equal(vm.deadline_ms, START_MS + HOUR_MS);
    assert_int_equal(slots_used(f->l), 1);
    must_be_consistent(f->l, 1);
    MUST(ledger_scopes(f->l, &scopes, &n, &e));
    assert_int_equal(n, 0);
    free(scopes);
    MUST(ledger_balances(f->l, &balances, &n, &e));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(balances[i].supply, 0);
    }
    free(balances);
    struct ledger_caps caps = wide_caps();
    caps.class_max = 1;
    assert_int_equal(must_reserve(f->l, queued(1), caps).outcome, LEDGER_FULL_CLASS);
    must_advance(f->l, "adopted-1", VM_ENDING);
    must_advance(f->l, "adopted-1", VM_GONE);
    assert_int_equal(slots_used(f->l), 0);
    must_be_consistent(f->l, 1);
    assert_int_equal(must_reserve(f->l, queued(1), caps).outcome, LEDGER_RESERVED);
}

static void vm_is_adopted_once_and_whatever_the_caps_are(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    struct ledger_adoption a = adoption("adopted-1");
    bool added = false;
    struct err e;
    caps.fleet = 1;
    assert_int_equal(must_reserve(f->l, queued(1), caps).outcome, LEDGER_RESERVED);
    for (int i = 0; i < 3; i++) {
        MUST(ledger_vm_adopt(f->l, &a, &added, &e));
        assert_int_equal(added, i == 0);
    }
    assert_int_equal(slots_used(f->l), 2);
    must_advance(f->l, "adopted-1", VM_ENDING);
    must_advance(f->l, "adopted-1", VM_GONE);
    MUST(ledger_vm_adopt(f->l, &a, &added, &e)); /* it had its row */
    assert_false(added);
    assert_int_equal(slots_used(f->l), 1);
    must_be_consistent(f->l, 1);
    a.name = "adopted-2";
    MUST(ledger_vm_adopt(f->l, &a, &added, &e));
    assert_true(added);
    a.name = "adopted-3";
    MUST(ledger_vm_adopt(f->l, &a, &added, &e));
    assert_int_equal(slots_used(f->l), 3);
    must_be_consistent(f->l, 1);
    a.vm_id = "";
    must_fail(ledger_vm_adopt(f->l, &a, &added, &e), &e, ERR_PERMANENT);
}

/* --- the version of a class's image --- */

static struct ledger_vm launch_version(struct ledger *l, int64_t job_id, const char *version,
                                       enum ledger_image_part part)
{
    struct err e;
    struct ledger_vm vm = must_get_vm(l, job_id);
    struct ledger_advance a = {.vm = vm.name,
                               .to = VM_REGISTERED,
                               .runner_id = job_id,
                               .image_version = version,
                               .image_part = part};
    MUST(ledger_vm_advance(l, &a, NULL, &e));
    assert_true(must_advance(l, vm.name, VM_LAUNCHED));
    vm = must_see_vm(l, vm.name);
    assert_string_equal(vm.image_version, version);
    assert_int_equal(vm.image_part, part);
    return vm;
}

static void fail_vm(struct ledger *l, const char *vm)
{
    struct err e;
    struct ledger_advance a = {
        .vm = vm, .to = VM_ENDING, .reason = "it never came", .image_failed = true};
    MUST(ledger_vm_advance(l, &a, NULL, &e));
}

static struct ledger_image must_see_image(struct ledger *l)
{
    struct err e;
    struct ledger_image i;
    MUST(ledger_image_get(l, "small", &i, &e));
    return i;
}

/* A VM counts once, in the step that ends it, however often that is asked for. */
static void end_of_a_vm_counts_once_for_its_image(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    struct ledger_image i = must_see_image(f->l);
    assert_int_equal(i.version, 0);
    ledger_image_begin(&i, "arn:image", "3.0", START_MS);
    assert_true(ledger_image_offer(&i, "4.0", START_MS));
    MUST(ledger_image_put(f->l, &i, &e));
    must_fail(ledger_image_put(f->l, &i, &e), &e, ERR_CONFLICT);

    struct ledger_vm vm = launch_version(f->l, 1, "4.0", IMAGE_IS_CANARY);
    (void)must_apply(f->l, in_progress(1, vm.name));
    assert_int_equal(must_see_image(f->l).jobs, 0);
    (void)must_apply(f->l, completed(1, vm.name, "failure"));
    (void)must_apply(f->l, completed(1, vm.name, "failure"));
    assert_true(must_advance(f->l, vm.name, VM_GONE));
    assert_int_equal(must_see_image(f->l).jobs, 1);

    vm = launch_version(f->l, 2, "4.0", IMAGE_IS_CANARY);
    (void)must_apply(f->l, in_progress(2, vm.name));
    MUST(ledger_reconcile_job(f->l, 2, JOB_DONE, NULL, "GitHub says so", &e));
    assert_int_equal(must_see_image(f->l).jobs, 2);

    vm = launch_version(f->l, 3, "3.0", IMAGE_IS_GOOD);
    fail_vm(f->l, vm.name);
    fail_vm(f->l, vm.name);
    assert_int_equal(must_see_image(f->l).good_failures, 1);
    vm = launch_version(f->l, 4, "3.0", IMAGE_IS_GOOD);
    (void)must_apply(f->l, completed(4, vm.name, "success"));
    i = must_see_image(f->l);
    assert_int_equal(i.good_jobs, 1);

    i.good_failures = 0;
    MUST(ledger_image_put(f->l, &i, &e));
    for (int64_t job = 5; job < 8; job++) {
        vm = launch_version(f->l, job, "4.0", IMAGE_IS_CANARY);
        fail_vm(f->l, vm.name);
    }
    i = must_see_image(f->l);
    assert_string_equal(i.good, "3.0");
    assert_string_equal(i.canary, "");
    assert_string_equal(i.rejected[0], "4.0");
    assert_string_equal(i.why, "it never came");
}

static void twentieth_job_makes_the_canary_good(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    struct ledger_image i = must_see_image(f->l);
    ledger_image_begin(&i, "arn:image", "3.0", START_MS);
    assert_true(ledger_image_offer(&i, "4.0", START_MS));
    MUST(ledger_image_put(f->l, &i, &e));
    for (int64_t job = 1; job <= IMAGE_CANARY_JOBS; job++) {
        assert_string_equal(must_see_image(f->l).good, "3.0");
        struct ledger_vm vm = launch_version(f->l, job, "4.0", IMAGE_IS_CANARY);
        (void)must_apply(f->l, completed(job, vm.name, "success"));
    }
    i = must_see_image(f->l);
    assert_string_equal(i.good, "4.0");
    assert_string_equal(i.former, "3.0");
    assert_string_equal(i.canary, "");
}

const struct CMUnitTest ledger_vm_tests[] = {
    LEDGER_TEST(every_step_from_every_state_does_what_the_table_says),
    LEDGER_TEST(each_step_keeps_its_time_and_facts),
    LEDGER_TEST(heartbeat_stamps_a_launching_row_alone),
    LEDGER_TEST(launch_recorded_after_the_events_keeps_the_state),
    LEDGER_TEST(launch_recorded_twice_stays_and_another_vm_is_refused),
    LEDGER_TEST(launch_of_a_vm_that_is_gone_is_refused),
    LEDGER_TEST(step_on_what_was_seen_is_refused_once_the_row_moved_on),
    LEDGER_TEST(first_reason_of_ending_stays),
    LEDGER_TEST(long_reason_is_cut),
    LEDGER_TEST(busy_told_by_github_takes_the_job_from_a_late_event),
    LEDGER_TEST(unknown_vm_and_bad_steps_are_refused),
    LEDGER_TEST(freed_grows_with_every_slot_and_once),
    LEDGER_TEST(list_gives_the_states_asked_for_by_name),
    LEDGER_TEST(list_continues_behind_a_name),
    LEDGER_TEST(scopes_are_those_of_rows_that_still_stand_without_groups),
    LEDGER_TEST(adopted_vm_holds_a_slot_and_is_no_supply),
    LEDGER_TEST(vm_is_adopted_once_and_whatever_the_caps_are),
    LEDGER_TEST(end_of_a_vm_counts_once_for_its_image),
    LEDGER_TEST(twentieth_job_makes_the_canary_good),
};
const size_t ledger_vm_test_count = COUNT_OF(ledger_vm_tests);
