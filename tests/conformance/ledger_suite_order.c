/*
 * Conformance of a ledger backend: whatever the order in which deliveries arrive, and however
 * often, a job and its VM end in the same state; and the VM of a job that failed is held.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdio.h>

#define EVENTS_MAX 5

struct story {
    struct job_event events[EVENTS_MAX];
    int count;
    enum ledger_job_state end;
    bool vm_ends;
};

static void must_have_ended(struct ledger *l, const struct story *s, int64_t job_id, const char *vm)
{
    struct ledger_job job = must_get(l, job_id);
    assert_string_equal(ledger_job_state_name(job.state), ledger_job_state_name(s->end));
    struct ledger_vm row = must_see_vm(l, vm);
    assert_int_equal(row.state, s->vm_ends ? VM_ENDING : VM_LAUNCHED);
    assert_int_equal(row.job_id, s->vm_ends ? job_id : 0);
    if (s->vm_ends) {
        assert_string_equal(job.facts.runner_name, vm);
        assert_string_equal(row.end_reason, "job completed: success");
    }
}

/* Tells the story in that order to a job and a VM of its own. */
static void tell_in_order(struct ledger *l, const struct story *s, const int *order, int64_t job_id)
{
    /* The VM was launched for another job, which is over by now. */
    struct ledger_vm vm = must_get_vm(l, job_id + 1000000);
    bring(l, &vm, VM_LAUNCHED);
    (void)must_apply(l, completed(job_id + 1000000, "", "cancelled"));
    for (int i = 0; i < s->count; i++) {
        struct job_event ev = s->events[order[i]];
        ev.job.id = job_id;
        if (ev.job.runner_name[0] != '\0') {
            (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", vm.name);
        }
        (void)must_apply(l, ev);
        if (i % 2 == 0) {
            (void)must_apply(l, ev); /* GitHub delivers some twice */
        }
    }
    must_have_ended(l, s, job_id, vm.name);
    /* So that the next VM is not called surplus. */
    if (!s->vm_ends) {
        must_advance(l, vm.name, VM_ENDING);
    }
}

/* Calls tell_in_order for every permutation (Heap's algorithm), on a slow store for every seventh
 * of many. Returns the next free job id as if all had been told. */
static int64_t tell_in_every_order(struct ledger_fixture *f, const struct story *s, int64_t job_id)
{
    int order[EVENTS_MAX];
    int counter[EVENTS_MAX] = {0};
    int stride = s->count > 3 && ledger_times(f->store.url, 10, 1) == 1 ? 7 : 1;
    for (int i = 0; i < s->count; i++) {
        order[i] = i;
    }
    tell_in_order(f->l, s, order, job_id++);
    for (int i = 0; i < s->count;) {
        if (counter[i] >= i) {
            counter[i++] = 0;
            continue;
        }
        int j = i % 2 == 0 ? 0 : counter[i];
        int swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
        if (job_id % stride == 0) {
            tell_in_order(f->l, s, order, job_id);
        }
        job_id++;
        counter[i]++;
        i = 0;
    }
    return job_id;
}

static void every_order_of_a_plain_job_ends_alike(void **state)
{
    struct ledger_fixture *f = *state;
    struct story s = {
        .events = {queued(1), in_progress(1, "ours"), completed(1, "ours", "success")},
        .count = 3,
        .end = JOB_DONE,
        .vm_ends = true,
    };
    assert_int_equal(tell_in_every_order(f, &s, 1), 1 + 6);
    assert_int_equal(must_balance(f->l).demand, 0);
    assert_int_equal(must_balance(f->l).supply, 0);
}

static void every_order_of_a_job_with_an_environment_ends_alike(void **state)
{
    struct ledger_fixture *f = *state;
    struct story s = {
        .events = {held(1), waiting(1), queued(1), in_progress(1, "ours"),
                   completed(1, "ours", "success")},
        .count = 5,
        .end = JOB_DONE,
        .vm_ends = true,
    };
    assert_int_equal(tell_in_every_order(f, &s, 1), 1 + 120);
    assert_int_equal(must_balance(f->l).demand, 0);
    assert_int_equal(must_balance(f->l).supply, 0);
}

static void every_order_of_a_cancelled_job_ends_alike(void **state)
{
    struct ledger_fixture *f = *state;
    struct story s = {
        .events = {held(1), waiting(1), queued(1), completed(1, "", "cancelled")},
        .count = 4,
        .end = JOB_CANCELLED,
    };
    assert_int_equal(tell_in_every_order(f, &s, 1), 1 + 24);
    assert_int_equal(must_balance(f->l).demand, 0);
}

static void every_order_of_an_approval_waits(void **state)
{
    struct ledger_fixture *f = *state;
    struct story s = {
        .events = {held(1), waiting(1), queued(1)},
        .count = 3,
        .end = JOB_WAITING,
    };
    assert_int_equal(tell_in_every_order(f, &s, 1), 1 + 6);
    assert_int_equal(must_balance(f->l).demand, 6);
}

/* The launch message travels on another lane than the events. */
static void launch_message_after_any_event_decides_by_the_state(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, held(1));
    assert_int_equal(must_reserve(f->l, queued(1), wide_caps()).outcome, LEDGER_RESERVED);
    assert_int_equal(must_reserve(f->l, queued(2), wide_caps()).outcome, LEDGER_RESERVED);
    (void)must_apply(f->l, in_progress(3, "elsewhere"));
    assert_int_equal(must_reserve(f->l, queued(3), wide_caps()).outcome, LEDGER_OBSOLETE);
    (void)must_apply(f->l, completed(4, "", "cancelled"));
    assert_int_equal(must_reserve(f->l, queued(4), wide_caps()).outcome, LEDGER_OBSOLETE);
    assert_int_equal(must_get(f->l, 3).state, JOB_RUNNING);
    assert_int_equal(must_get(f->l, 4).state, JOB_CANCELLED);
    must_be_consistent(f->l, 4);
}

/* --- every edge and every other pair --- */
static void put_in_state(struct ledger *l, int64_t id, enum ledger_job_state s)
{
    static const char *const runner = "elsewhere";
    struct job_event events[] = {
        [JOB_SEEN] = held(id),
        [JOB_WAITING] = queued(id),
        [JOB_RUNNING] = in_progress(id, runner),
        [JOB_DONE] = completed(id, runner, "success"),
        [JOB_CANCELLED] = completed(id, "", "cancelled"),
    };
    assert_int_equal(must_apply(l, events[s]).after, s);
}

static void every_delivery_in_every_state_does_what_the_table_says(void **state)
{
    struct ledger_fixture *f = *state;
    /* columns: held, waiting, queued, in_progress, completed with a runner, without */
    static const enum ledger_job_state after[5][6] = {
        [JOB_SEEN] = {JOB_SEEN, JOB_SEEN, JOB_WAITING, JOB_RUNNING, JOB_DONE, JOB_CANCELLED},
        [JOB_WAITING] = {JOB_WAITING, JOB_WAITING, JOB_WAITING, JOB_RUNNING, JOB_DONE,
                         JOB_CANCELLED},
        [JOB_RUNNING] = {JOB_RUNNING, JOB_RUNNING, JOB_RUNNING, JOB_RUNNING, JOB_DONE, JOB_DONE},
        [JOB_DONE] = {JOB_DONE, JOB_DONE, JOB_DONE, JOB_DONE, JOB_DONE, JOB_DONE},
        [JOB_CANCELLED] = {JOB_CANCELLED, JOB_CANCELLED, JOB_CANCELLED, JOB_CANCELLED,
                           JOB_CANCELLED, JOB_CANCELLED},
    };
    int64_t id = 1;
    for (int from = JOB_SEEN; from <= JOB_CANCELLED; from++) {
        for (int what = 0; what < 6; what++, id++) {
            struct job_event events[] = {held(id),
                                         waiting(id),
                                         queued(id),
                                         in_progress(id, "elsewhere"),
                                         completed(id, "elsewhere", "success"),
                                         completed(id, "", "cancelled")};
            put_in_state(f->l, id, (enum ledger_job_state)from);
            struct ledger_effect effect = must_apply(f->l, events[what]);
            assert_int_equal(effect.before, from);
            assert_int_equal(effect.after, after[from][what]);
            assert_int_equal(effect.changed, from != (int)after[from][what]);
            assert_int_equal(must_get(f->l, id).state, after[from][what]);
        }
    }
    must_be_consistent(f->l, id);
}

/* --- hold_ms --- */

static struct ledger_vm reserve_with_hold(struct ledger *l, int64_t job_id)
{
    struct job_event ev = queued(job_id);
    const struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = ask(&request, wide_caps());
    struct ledger_reservation out;
    struct err e;
    r.hold_ms = 60000;
    MUST(ledger_reserve(l, &r, &out, &e));
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    bring(l, &out.vm, VM_LAUNCHED);
    (void)must_apply(l, in_progress(job_id, out.vm.name));
    return must_see_vm(l, out.vm.name);
}

static void vm_of_a_failed_job_is_held(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = reserve_with_hold(f->l, 1);
    assert_int_equal(vm.hold_ms, 60000);
    assert_int_equal(ledger_vm_held_until_ms(&vm), 0);
    (void)must_apply(f->l, completed(1, vm.name, "failure"));
    vm = must_see_vm(f->l, vm.name);
    assert_int_equal(vm.state, VM_ENDING);
    int64_t end_ms = vm.ending_ms + 60000;
    end_ms = vm.deadline_ms > 0 && vm.deadline_ms < end_ms ? vm.deadline_ms : end_ms;
    assert_int_equal(ledger_vm_held_until_ms(&vm), end_ms);
    assert_int_equal(slots_used(f->l), 1);
    (void)must_apply(f->l, completed(1, vm.name, "failure"));
    assert_int_equal(must_see_vm(f->l, vm.name).hold_ms, 60000);
    must_be_consistent(f->l, 1);
}

static void vm_of_another_job_is_not_held(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = reserve_with_hold(f->l, 1);
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    assert_int_equal(must_see_vm(f->l, vm.name).hold_ms, 0);
    vm = must_get_vm(f->l, 2); /* of a class without */
    (void)must_apply(f->l, in_progress(2, vm.name));
    (void)must_apply(f->l, completed(2, vm.name, "failure"));
    vm = must_see_vm(f->l, vm.name);
    assert_int_equal(ledger_vm_held_until_ms(&vm), 0);
}

static void end_of_a_held_vm_may_be_asked_for(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    struct ledger_vm vm = reserve_with_hold(f->l, 1);
    struct ledger_advance a = {.vm = vm.name, .to = VM_ENDING, .reason = "asked for", .seen = &vm};
    (void)must_apply(f->l, completed(1, vm.name, "failure"));
    MUST(ledger_vm_advance(f->l, &a, NULL, &e)); /* by who has seen it before it was held */
    assert_int_equal(must_see_vm(f->l, vm.name).hold_ms, 60000);
    a.seen = NULL;
    MUST(ledger_vm_advance(f->l, &a, NULL, &e));
    vm = must_see_vm(f->l, vm.name);
    assert_int_equal(vm.hold_ms, 0);
    assert_string_equal(vm.end_reason, "asked for");
    assert_int_equal(lines_of(f->l, 1, "ending", "asked for"), 1);
    assert_true(must_advance(f->l, vm.name, VM_GONE));
    must_be_consistent(f->l, 1);
}

static void reconciled_job_that_failed_holds_its_vm(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    struct ledger_vm vm = reserve_with_hold(f->l, 1);
    MUST(ledger_reconcile_job(f->l, 1, JOB_DONE, "failure", "GitHub says so", &e));
    assert_int_equal(must_see_vm(f->l, vm.name).hold_ms, 60000);
    assert_string_equal(must_get(f->l, 1).facts.conclusion, "failure");
    vm = reserve_with_hold(f->l, 2);
    MUST(ledger_reconcile_job(f->l, 2, JOB_DONE, NULL, "GitHub says so", &e));
    assert_int_equal(must_see_vm(f->l, vm.name).hold_ms, 0);
}

const struct CMUnitTest ledger_order_tests[] = {
    LEDGER_TEST(every_order_of_a_plain_job_ends_alike),
    LEDGER_TEST(every_order_of_a_job_with_an_environment_ends_alike),
    LEDGER_TEST(every_order_of_a_cancelled_job_ends_alike),
    LEDGER_TEST(every_order_of_an_approval_waits),
    LEDGER_TEST(launch_message_after_any_event_decides_by_the_state),
    LEDGER_TEST(every_delivery_in_every_state_does_what_the_table_says),
    LEDGER_TEST(vm_of_a_failed_job_is_held),
    LEDGER_TEST(vm_of_another_job_is_not_held),
    LEDGER_TEST(end_of_a_held_vm_may_be_asked_for),
    LEDGER_TEST(reconciled_job_that_failed_holds_its_vm),
};
const size_t ledger_order_test_count = COUNT_OF(ledger_order_tests);
