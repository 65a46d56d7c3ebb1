/*
 * What an observer of a ledger is called about: each change of state once, and nothing else.
 */
#include <stdio.h>

#include "common/ledger/observer.h"
#include "tests/conformance/ledger_suite.h"

/* Each transition as a line "job 1 >waiting" or "vm 1 reserved>registered"; the number is a job's. */
struct seen {
    char text[2048];
    char last_reason[320];
    char vm_id[192];
    int count;
};

static void see(void *arg, const struct ledger_transition *t)
{
    struct seen *s = arg;
    size_t at = strlen(s->text);
    bool job = t->job != NULL;
    assert_true(job != (t->vm != NULL));
    assert_true(t->at_ms > 0);
    (void)snprintf(s->text + at, sizeof s->text - at, "%s %lld %s>%s\n", job ? "job" : "vm",
                   (long long)(job ? t->job->facts.id : t->vm->for_job), t->from, t->to);
    (void)snprintf(s->last_reason, sizeof s->last_reason, "%s", t->reason);
    if (!job) {
        (void)snprintf(s->vm_id, sizeof s->vm_id, "%s", t->vm->vm_id);
    }
    s->count++;
}

/* Fails unless exactly these lines came since the last call. */
static void must_have_seen(struct seen *s, const char *expected)
{
    assert_string_equal(s->text, expected);
    s->text[0] = '\0';
}

static void every_transition_of_a_job_and_its_vm_is_observed_once(void **state)
{
    struct ledger_fixture *f = *state;
    struct seen s = {.count = 0};
    ledger_observe(f->l, see, &s);
    struct ledger_vm vm = must_get_vm(f->l, 1);
    must_have_seen(&s, "job 1 >waiting\nvm 1 >reserved\n");
    (void)must_apply(f->l, queued(1));
    must_have_seen(&s, "");
    bring(f->l, &vm, VM_LAUNCHED);
    must_have_seen(&s, "vm 1 reserved>registered\nvm 1 registered>launched\n");
    assert_true(s.vm_id[0] != '\0');
    (void)must_apply(f->l, in_progress(1, vm.name));
    (void)must_apply(f->l, in_progress(1, vm.name));
    must_have_seen(&s, "job 1 waiting>running\nvm 1 launched>busy\n");
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    must_have_seen(&s, "job 1 running>done\nvm 1 busy>ending\n");
    assert_string_equal(s.last_reason, "job completed: success");
    assert_true(must_advance(f->l, vm.name, VM_GONE));
    assert_false(must_advance(f->l, vm.name, VM_GONE));
    must_have_seen(&s, "vm 1 ending>gone\n");
}

static void reconciling_and_holding_are_observed(void **state)
{
    struct ledger_fixture *f = *state;
    struct seen s = {.count = 0};
    struct err e;
    ledger_observe(f->l, see, &s);
    (void)must_apply(f->l, held(1));
    must_have_seen(&s, "job 1 >seen\n");
    struct ledger_vm vm = must_get_vm(f->l, 1);
    must_have_seen(&s, "job 1 seen>waiting\nvm 1 >reserved\n");
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    s.text[0] = '\0';
    MUST(ledger_reconcile_job(f->l, 1, JOB_DONE, NULL, "status completed", &e));
    MUST(ledger_reconcile_job(f->l, 1, JOB_DONE, NULL, "status completed", &e));
    must_have_seen(&s, "job 1 running>done\nvm 1 busy>ending\n");
}

static void what_changes_no_state_is_not_observed(void **state)
{
    struct ledger_fixture *f = *state;
    struct seen s = {.count = 0};
    struct err e;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    ledger_observe(f->l, see, &s);
    MUST(ledger_log_event(f->l, 1, vm.name, "retry", "launch failed", &e));
    MUST(ledger_job_relaunched(f->l, 1, &e));
    MUST(ledger_vm_heartbeat(f->l, vm.name, &e));
    assert_int_equal(must_reserve(f->l, queued(1), wide_caps()).outcome, LEDGER_SATISFIED);
    struct ledger_advance back = step(vm.name, VM_GONE);
    assert_int_equal(ledger_vm_advance(f->l, &back, NULL, &e), -1); /* not an allowed edge */
    must_have_seen(&s, "");
}

/* The job's launch waits at the cap: it is queued once, however often its message is received. */
static void a_reservation_that_waits_is_observed_as_queued_once(void **state)
{
    struct ledger_fixture *f = *state;
    struct seen s = {.count = 0};
    struct ledger_caps none = wide_caps();
    none.fleet = 1;
    (void)must_get_vm(f->l, 1);
    ledger_observe(f->l, see, &s);
    assert_int_equal(must_reserve(f->l, queued(2), none).outcome, LEDGER_FULL_FLEET);
    assert_int_equal(must_reserve(f->l, queued(2), none).outcome, LEDGER_FULL_FLEET);
    must_have_seen(&s, "job 2 >waiting\n");
}

const struct CMUnitTest ledger_observer_tests[] = {
    LEDGER_TEST(every_transition_of_a_job_and_its_vm_is_observed_once),
    LEDGER_TEST(reconciling_and_holding_are_observed),
    LEDGER_TEST(what_changes_no_state_is_not_observed),
    LEDGER_TEST(a_reservation_that_waits_is_observed_as_queued_once),
};
const size_t ledger_observer_test_count = COUNT_OF(ledger_observer_tests);
