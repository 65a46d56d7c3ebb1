/*
 * Conformance of a ledger backend: what deliveries, and what GitHub's API says, do to a job and to
 * the VM whose runner they name.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdio.h>
#include <string.h>

/* --- queued and held --- */
static void queued_unknown_waits_and_is_demand(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_effect effect = must_apply(f->l, queued(1));
    assert_false(effect.known_before);
    assert_true(effect.changed);
    assert_int_equal(effect.after, JOB_WAITING);
    assert_string_equal(effect.vm.name, "");
    assert_int_equal(must_balance(f->l).demand, 1);
    assert_int_equal(must_balance(f->l).oldest_waiting_ms, START_MS);
}

static void queued_twice_changes_nothing_more(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, queued(1));
    clock_at(1000);
    struct ledger_effect effect = must_apply(f->l, queued(1));
    assert_true(effect.known_before);
    assert_false(effect.changed);
    assert_int_equal(effect.before, JOB_WAITING);
    assert_int_equal(must_balance(f->l).demand, 1);
    assert_int_equal(must_get(f->l, 1).waiting_ms, START_MS);
    assert_int_equal(lines_of(f->l, 1, "queued", ""), 1);
}

static void queued_gives_all_its_fields(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev = queued(100520616165); /* beyond 32 bits, as GitHub's are */
    ev.received_ms = START_MS - 700;
    (void)must_apply(f->l, ev);
    struct ledger_job job = must_get(f->l, ev.job.id);
    assert_int_equal(job.facts.id, 100520616165);
    assert_int_equal(job.facts.run_id, ev.job.run_id);
    assert_int_equal(job.facts.run_attempt, 1);
    assert_int_equal(job.facts.installation_id, 99);
    assert_int_equal(job.facts.created_ms, START_MS - 5000);
    assert_int_equal(job.waiting_ms, START_MS - 700); /* since we have it, not since we read it */
    assert_int_equal(job.updated_ms, START_MS);
    assert_string_equal(job.facts.repository, "octo/app");
    assert_string_equal(job.facts.organization, "octo");
    assert_string_equal(job.scope, SCOPE);
    assert_string_equal(job.facts.class_name, "small");
    assert_string_equal(job.facts.name, "build");
    assert_string_equal(job.facts.workflow, "CI");
    assert_string_equal(job.facts.labels, "self-hosted,microvm");
    assert_string_equal(job.facts.runner_name, "");
    assert_int_equal(job.running_ms + job.ended_ms + job.relaunched_ms + job.relaunches, 0);
}

/* A delivery that had no name adds none, and takes none away. */
static void name_of_the_workflow_is_kept_whatever_its_characters(void **state)
{
    static const char rockets[] = "\xf0\x9f\x9a\x80 \"\xf0\x9f\x9a\x80\"\n'\\ \xf0\x9f\x9a\x80";
    struct ledger_fixture *f = *state;
    struct job_event named = queued(1);
    struct job_event unnamed = queued(2);
    struct job_event longest = queued(3);
    (void)snprintf(named.job.workflow, sizeof named.job.workflow, "%s", rockets);
    unnamed.job.workflow[0] = '\0';
    for (size_t at = 0; at + 4 < sizeof longest.job.workflow; at += 4) {
        memcpy(longest.job.workflow + at, rockets, 4);
    }
    (void)must_apply(f->l, named);
    (void)must_apply(f->l, unnamed);
    (void)must_apply(f->l, longest);
    named.action = JOB_ACTION_COMPLETED;
    named.job.workflow[0] = '\0';
    (void)must_apply(f->l, named);
    assert_string_equal(must_get(f->l, 1).facts.workflow, rockets);
    assert_string_equal(must_get(f->l, 2).facts.workflow, "");
    assert_string_equal(must_get(f->l, 3).facts.workflow, longest.job.workflow);
    unnamed = completed(2, "elsewhere", "success");
    (void)must_apply(f->l, unnamed);
    assert_string_equal(must_get(f->l, 2).facts.workflow, "CI");
}

static void held_job_is_seen_and_no_demand(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(must_apply(f->l, held(1)).after, JOB_SEEN);
    assert_int_equal(must_apply(f->l, waiting(2)).after, JOB_SEEN);
    assert_int_equal(must_balance(f->l).demand, 0);
    assert_int_equal(lines_of(f->l, 1, "held", ""), 1);
}

static void approved_job_is_queued_again_and_waits(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, held(1));
    (void)must_apply(f->l, waiting(1));
    struct ledger_effect effect = must_apply(f->l, queued(1));
    assert_true(effect.known_before && effect.changed);
    assert_int_equal(effect.before, JOB_SEEN);
    assert_int_equal(effect.after, JOB_WAITING);
    assert_int_equal(must_balance(f->l).demand, 1);
}

static void waiting_after_the_second_queued_moves_nothing_back(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, held(1));
    (void)must_apply(f->l, queued(1));
    assert_false(must_apply(f->l, waiting(1)).changed);
    assert_false(must_apply(f->l, held(1)).changed);
    assert_int_equal(must_get(f->l, 1).state, JOB_WAITING);
    assert_int_equal(must_balance(f->l).demand, 1);
}

static void queued_without_a_class_is_only_seen(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev = queued(1);
    ev.job.class_name[0] = '\0';
    assert_int_equal(must_apply(f->l, ev).after, JOB_SEEN);
    assert_int_equal(must_apply(f->l, queued(1)).after, JOB_WAITING);
    assert_string_equal(must_get(f->l, 1).facts.class_name, "small");
    must_be_consistent(f->l, 1);
}

static void rerun_is_a_job_of_its_own(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, queued(1));
    (void)must_apply(f->l, completed(1, "elsewhere", "failure"));
    struct job_event again = queued(2);
    again.job.run_id = 7001;
    again.job.run_attempt = 2;
    assert_false(must_apply(f->l, again).known_before);
    assert_int_equal(must_get(f->l, 1).state, JOB_DONE);
    assert_int_equal(must_get(f->l, 2).state, JOB_WAITING);
}

/* --- in progress --- */
static void in_progress_unknown_job_runs(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_effect effect = must_apply(f->l, in_progress(1, "elsewhere"));
    assert_false(effect.known_before);
    assert_int_equal(effect.after, JOB_RUNNING);
    assert_string_equal(effect.vm.name, "");
    assert_string_equal(must_get(f->l, 1).facts.runner_name, "elsewhere");
    assert_int_equal(must_balance(f->l).demand, 0);
}

static void in_progress_with_our_runner_makes_its_vm_busy(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    clock_at(500);
    struct ledger_effect effect = must_apply(f->l, in_progress(1, vm.name));
    assert_string_equal(effect.vm.name, vm.name);
    assert_true(effect.vm_changed);
    assert_int_equal(effect.vm.state, VM_BUSY);
    vm = must_see_vm(f->l, vm.name);
    assert_int_equal(vm.job_id, 1);
    assert_int_equal(vm.busy_ms, START_MS + 500);
    assert_int_equal(must_balance(f->l).demand, 0);
    assert_int_equal(must_balance(f->l).supply, 0);
    assert_int_equal(slots_used(f->l), 1);
}

static void in_progress_of_unknown_job_with_our_runner_makes_its_vm_busy(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    assert_true(must_apply(f->l, in_progress(2, vm.name)).vm_changed);
    assert_int_equal(must_see_vm(f->l, vm.name).job_id, 2);
    assert_int_equal(must_get(f->l, 2).state, JOB_RUNNING);
}

static void in_progress_again_changes_nothing_more(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    struct ledger_effect effect = must_apply(f->l, in_progress(1, vm.name));
    assert_false(effect.changed || effect.vm_changed);
    assert_string_equal(effect.vm.name, vm.name);
    assert_int_equal(effect.vm.state, VM_BUSY);
}

static void in_progress_before_the_launch_was_recorded_makes_busy(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm reserved = must_get_vm(f->l, 1);
    struct ledger_vm registered = must_get_vm(f->l, 2);
    bring(f->l, &registered, VM_REGISTERED);
    assert_int_equal(must_apply(f->l, in_progress(1, reserved.name)).vm.state, VM_BUSY);
    assert_int_equal(must_apply(f->l, in_progress(2, registered.name)).vm.state, VM_BUSY);
    must_be_consistent(f->l, 2);
}

static void in_progress_on_a_vm_that_ends_moves_the_job_alone(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm ending = must_get_vm(f->l, 1);
    struct ledger_vm gone = must_get_vm(f->l, 2);
    must_advance(f->l, ending.name, VM_ENDING);
    must_advance(f->l, gone.name, VM_ENDING);
    must_advance(f->l, gone.name, VM_GONE);
    struct ledger_effect effect = must_apply(f->l, in_progress(1, ending.name));
    assert_true(effect.changed);
    assert_false(effect.vm_changed);
    assert_int_equal(effect.vm.state, VM_ENDING);
    assert_false(must_apply(f->l, in_progress(2, gone.name)).vm_changed);
    assert_int_equal(must_see_vm(f->l, gone.name).state, VM_GONE);
    must_be_consistent(f->l, 2);
}

static void theft_makes_the_thief_busy_and_leaves_demand(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm for_1 = must_get_vm(f->l, 1);
    bring(f->l, &for_1, VM_LAUNCHED);
    (void)must_apply(f->l, queued(2)); /* no VM of its own yet */
    (void)must_apply(f->l, in_progress(2, for_1.name));
    assert_int_equal(must_see_vm(f->l, for_1.name).for_job, 1);
    assert_int_equal(must_see_vm(f->l, for_1.name).job_id, 2);
    assert_int_equal(must_balance(f->l).demand, 1);
    assert_int_equal(must_balance(f->l).supply, 0);
    /* Job 1's message, redelivered, now launches for it. */
    assert_int_equal(must_reserve(f->l, queued(1), wide_caps()).outcome, LEDGER_RESERVED);
}

static void runner_given_back_and_given_another_job_follows_it(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    (void)must_apply(f->l, in_progress(2, vm.name));
    assert_int_equal(must_see_vm(f->l, vm.name).job_id, 2);
    (void)must_apply(f->l, in_progress(1, vm.name)); /* a duplicate takes it not back */
    assert_int_equal(must_see_vm(f->l, vm.name).job_id, 2);
    assert_false(must_apply(f->l, completed(1, vm.name, "cancelled")).vm_changed);
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_BUSY);
    assert_true(must_apply(f->l, completed(2, vm.name, "success")).vm_changed);
}

/* --- completed --- */
static void completed_with_our_runner_ends_its_vm_from_any_state(void **state)
{
    struct ledger_fixture *f = *state;
    for (int64_t s = VM_RESERVED; s <= VM_BUSY; s++) {
        struct ledger_vm vm = must_get_vm(f->l, 10 + s);
        bring(f->l, &vm, (enum ledger_vm_state)s);
        struct ledger_effect effect = must_apply(f->l, completed(10 + s, vm.name, "success"));
        assert_int_equal(effect.after, JOB_DONE);
        assert_true(effect.vm_changed);
        assert_int_equal(effect.vm.state, VM_ENDING);
        vm = must_see_vm(f->l, vm.name);
        assert_string_equal(vm.end_reason, "job completed: success");
        assert_int_equal(vm.job_id, 10 + s);
    }
    assert_int_equal(slots_used(f->l), 4); /* ending still holds a slot */
    must_be_consistent(f->l, 20);
}

static void completed_for_another_job_than_launched_for_ends_its_vm(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(2, vm.name));
    assert_true(must_apply(f->l, completed(2, vm.name, "failure")).vm_changed);
    assert_int_equal(must_get(f->l, 1).state, JOB_WAITING);
}

static void completed_without_runner_is_cancelled_and_demand_falls(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    struct ledger_effect effect = must_apply(f->l, completed(1, "", "cancelled"));
    assert_int_equal(effect.after, JOB_CANCELLED);
    assert_string_equal(effect.vm.name, "");
    assert_int_equal(must_balance(f->l).demand, 0);
    assert_int_equal(must_balance(f->l).supply, 1); /* it serves another, or idles out */
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_LAUNCHED);
    assert_string_equal(must_get(f->l, 1).facts.conclusion, "cancelled");
}

static void completed_unknown_job_makes_later_queued_obsolete(void **state)
{
    struct ledger_fixture *f = *state;
    assert_int_equal(must_apply(f->l, completed(1, "", "skipped")).after, JOB_CANCELLED);
    assert_int_equal(must_apply(f->l, completed(2, "elsewhere", "success")).after, JOB_DONE);
    assert_false(must_apply(f->l, queued(1)).changed);
    assert_false(must_apply(f->l, queued(2)).changed);
    assert_int_equal(must_reserve(f->l, queued(1), wide_caps()).outcome, LEDGER_OBSOLETE);
    assert_int_equal(must_reserve(f->l, queued(2), wide_caps()).outcome, LEDGER_OBSOLETE);
    assert_int_equal(must_balance(f->l).demand, 0);
}

/* Job 1's machine takes job 2, whose message is the only one left: it launches for job 1. */
static void message_of_a_running_job_launches_for_the_one_it_left_waiting(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(2, vm.name));
    assert_int_equal(must_balance(f->l).demand, 1);
    assert_int_equal(must_balance(f->l).supply, 0);
    assert_int_equal(must_reserve(f->l, queued(2), wide_caps()).outcome, LEDGER_RESERVED);
    assert_int_equal(must_reserve(f->l, queued(2), wide_caps()).outcome, LEDGER_OBSOLETE);
    assert_int_equal(must_get(f->l, 2).state, JOB_RUNNING);
    assert_int_equal(must_balance(f->l).supply, 1);
}

static void completed_with_a_foreign_runner_touches_no_vm(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    struct ledger_effect effect = must_apply(f->l, completed(1, "elsewhere", "success"));
    assert_int_equal(effect.after, JOB_DONE);
    assert_string_equal(effect.vm.name, "");
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_LAUNCHED);
}

static void completed_without_runner_of_a_running_job_is_done_and_ends_its_vm(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    struct ledger_effect effect = must_apply(f->l, completed(1, "", "cancelled"));
    assert_int_equal(effect.after, JOB_DONE);
    assert_string_equal(effect.vm.name, vm.name);
    assert_int_equal(effect.vm.state, VM_ENDING);
}

static void late_in_progress_of_a_job_that_is_over_ends_its_vm(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, completed(1, "", "cancelled"));
    struct ledger_effect effect = must_apply(f->l, in_progress(1, vm.name));
    assert_false(effect.changed);
    assert_true(effect.vm_changed); /* its runner had its one job */
    assert_int_equal(effect.vm.state, VM_ENDING);
}

static void completed_ends_no_vm_that_is_busy_with_another_job(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    assert_false(must_apply(f->l, completed(2, vm.name, "cancelled")).vm_changed);
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_BUSY);
}

/* GitHub sends it again when failed jobs of the run are re-run. */
static void completed_again_changes_nothing_and_ends_no_later_vm(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm first = must_get_vm(f->l, 1);
    bring(f->l, &first, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, first.name));
    (void)must_apply(f->l, completed(1, first.name, "success"));
    assert_true(must_advance(f->l, first.name, VM_GONE));
    clock_at(1000);
    struct ledger_vm later = must_get_vm(f->l, 2);
    bring(f->l, &later, VM_LAUNCHED);
    for (int i = 0; i < 2; i++) {
        const char *runner = i == 0 ? first.name : later.name;
        struct ledger_effect effect = must_apply(f->l, completed(1, runner, "success"));
        assert_false(effect.changed);
        assert_false(effect.vm_changed);
    }
    assert_int_equal(must_get(f->l, 1).ended_ms, START_MS);
    assert_int_equal(must_see_vm(f->l, later.name).state, VM_LAUNCHED);
    assert_int_equal(must_see_vm(f->l, first.name).state, VM_GONE);
}

/* --- settle --- */
static void settle_goes_forward_only(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    (void)must_apply(f->l, queued(1));
    MUST(ledger_reconcile_job(f->l, 1, JOB_RUNNING, NULL, "status in_progress", &e));
    assert_int_equal(must_get(f->l, 1).state, JOB_RUNNING);
    MUST(ledger_reconcile_job(f->l, 1, JOB_CANCELLED, NULL, "conclusion cancelled", &e));
    assert_int_equal(must_get(f->l, 1).state, JOB_DONE); /* it had a runner */
    MUST(ledger_reconcile_job(f->l, 1, JOB_RUNNING, NULL, "stale", &e));
    assert_int_equal(must_get(f->l, 1).state, JOB_DONE);
    (void)must_apply(f->l, queued(2));
    MUST(ledger_reconcile_job(f->l, 2, JOB_CANCELLED, NULL, "conclusion cancelled", &e));
    assert_int_equal(must_get(f->l, 2).state, JOB_CANCELLED);
    MUST(ledger_reconcile_job(f->l, 2, JOB_DONE, NULL, "stale", &e));
    assert_int_equal(must_get(f->l, 2).state, JOB_CANCELLED);
    must_be_consistent(f->l, 2);
}

static void settle_ends_the_vm_that_was_busy_with_the_job(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    struct err e;
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    MUST(ledger_reconcile_job(f->l, 1, JOB_DONE, NULL, "conclusion success", &e));
    assert_int_equal(must_see_vm(f->l, vm.name).state, VM_ENDING);
}

static void settle_refuses_unknown_jobs_and_other_states(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    must_fail(ledger_reconcile_job(f->l, 5, JOB_DONE, NULL, "x", &e), &e, ERR_NOT_FOUND);
    must_fail(ledger_reconcile_job(f->l, 5, JOB_WAITING, NULL, "x", &e), &e, ERR_PERMANENT);
}

/* --- waiting long --- */
static void jobs_waiting_are_the_old_ones_oldest_first(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    struct err e;
    for (int64_t i = 0; i < 4; i++) {
        clock_at(1000 * (4 - i));
        (void)must_apply(f->l, queued(1 + i)); /* job 4 is the oldest */
    }
    clock_at(10000);
    struct job_event other = queued(9);
    (void)snprintf(other.job.class_name, sizeof other.job.class_name, "large");
    (void)must_apply(f->l, other);
    (void)must_apply(f->l, in_progress(3, "elsewhere"));
    MUST(ledger_jobs_waiting(f->l, SCOPE, "small", START_MS + 4000, 10, &jobs, &n, &e));
    assert_int_equal(n, 2); /* 1 is too young, 3 runs, 9 is of another class */
    assert_int_equal(jobs[0].facts.id, 4);
    assert_int_equal(jobs[1].facts.id, 2);
    free(jobs);
    jobs = NULL;
    MUST(ledger_jobs_waiting(f->l, SCOPE, "small", START_MS + 9000, 1, &jobs, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(jobs[0].facts.id, 4);
    free(jobs);
}

static void relaunched_job_has_patience_anew(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    struct err e;
    (void)must_apply(f->l, queued(1));
    clock_at(5000);
    MUST(ledger_job_relaunched(f->l, 1, &e));
    assert_int_equal(must_get(f->l, 1).relaunched_ms, START_MS + 5000);
    assert_int_equal(must_get(f->l, 1).relaunches, 1);
    MUST(ledger_jobs_waiting(f->l, SCOPE, "small", START_MS + 4000, 10, &jobs, &n, &e));
    assert_int_equal(n, 0);
    free(jobs);
    jobs = NULL;
    MUST(ledger_jobs_waiting(f->l, SCOPE, "small", START_MS + 5001, 10, &jobs, &n, &e));
    assert_int_equal(n, 1);
    free(jobs);
    must_fail(ledger_job_relaunched(f->l, 2, &e), &e, ERR_NOT_FOUND);
}

/* --- running without news --- */
static void must_run(struct ledger *l, int64_t from_ms, int64_t before_ms, size_t max,
                     const char *expected)
{
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    char ids[64] = "";
    struct err e;
    MUST(ledger_jobs_running(l, START_MS + from_ms, START_MS + before_ms, max, &jobs, &n, &e));
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(ids);
        assert_int_equal(jobs[i].state, JOB_RUNNING);
        (void)snprintf(ids + len, sizeof ids - len, "%lld ", (long long)jobs[i].facts.id);
    }
    free(jobs);
    assert_string_equal(ids, expected);
}

static void jobs_running_are_those_without_news_oldest_first(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    for (int64_t i = 1; i <= 4; i++) {
        clock_at(1000 * (5 - i));
        (void)must_apply(f->l, in_progress(i, "elsewhere")); /* job 4 is the oldest */
    }
    (void)must_apply(f->l, queued(9));
    must_run(f->l, 0, 4000, 10, "4 3 2 ");
    must_run(f->l, 2000, 4001, 10, "3 2 1 ");
    must_run(f->l, 0, 4000, 2, "4 3 ");
    (void)must_apply(f->l, completed(3, "elsewhere", "success"));
    clock_at(9000);
    MUST(ledger_job_asked(f->l, 4, &e));
    MUST(ledger_job_asked(f->l, 3, &e)); /* it is over */
    MUST(ledger_job_asked(f->l, 9, &e)); /* it waits */
    must_run(f->l, 0, 9001, 10, "2 1 4 ");
    must_run(f->l, 0, 9000, 10, "2 1 ");
    assert_int_equal(must_get(f->l, 4).updated_ms, START_MS + 9000);
    assert_int_equal(must_get(f->l, 4).running_ms, START_MS + 1000);
    must_fail(ledger_job_asked(f->l, 5, &e), &e, ERR_NOT_FOUND);
    must_be_consistent(f->l, 9);
}

static void bad_deliveries_are_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_effect effect;
    struct ledger_job job;
    struct err e;
    struct job_event ev = queued(0);
    must_fail(ledger_apply_event(f->l, &ev, SCOPE, &effect, &e), &e, ERR_PERMANENT);
    ev = queued(1);
    must_fail(ledger_apply_event(f->l, &ev, "", &effect, &e), &e, ERR_PERMANENT);
    ev.job.repository[0] = '\0';
    must_fail(ledger_apply_event(f->l, &ev, SCOPE, &effect, &e), &e, ERR_PERMANENT);
    must_fail(ledger_job_get(f->l, 1, &job, &e), &e, ERR_NOT_FOUND);
}

const struct CMUnitTest ledger_job_tests[] = {
    LEDGER_TEST(queued_unknown_waits_and_is_demand),
    LEDGER_TEST(queued_twice_changes_nothing_more),
    LEDGER_TEST(queued_gives_all_its_fields),
    LEDGER_TEST(name_of_the_workflow_is_kept_whatever_its_characters),
    LEDGER_TEST(held_job_is_seen_and_no_demand),
    LEDGER_TEST(approved_job_is_queued_again_and_waits),
    LEDGER_TEST(waiting_after_the_second_queued_moves_nothing_back),
    LEDGER_TEST(queued_without_a_class_is_only_seen),
    LEDGER_TEST(rerun_is_a_job_of_its_own),
    LEDGER_TEST(in_progress_unknown_job_runs),
    LEDGER_TEST(in_progress_with_our_runner_makes_its_vm_busy),
    LEDGER_TEST(in_progress_of_unknown_job_with_our_runner_makes_its_vm_busy),
    LEDGER_TEST(in_progress_again_changes_nothing_more),
    LEDGER_TEST(in_progress_before_the_launch_was_recorded_makes_busy),
    LEDGER_TEST(in_progress_on_a_vm_that_ends_moves_the_job_alone),
    LEDGER_TEST(theft_makes_the_thief_busy_and_leaves_demand),
    LEDGER_TEST(runner_given_back_and_given_another_job_follows_it),
    LEDGER_TEST(completed_with_our_runner_ends_its_vm_from_any_state),
    LEDGER_TEST(completed_for_another_job_than_launched_for_ends_its_vm),
    LEDGER_TEST(completed_without_runner_is_cancelled_and_demand_falls),
    LEDGER_TEST(completed_unknown_job_makes_later_queued_obsolete),
    LEDGER_TEST(message_of_a_running_job_launches_for_the_one_it_left_waiting),
    LEDGER_TEST(completed_with_a_foreign_runner_touches_no_vm),
    LEDGER_TEST(completed_without_runner_of_a_running_job_is_done_and_ends_its_vm),
    LEDGER_TEST(late_in_progress_of_a_job_that_is_over_ends_its_vm),
    LEDGER_TEST(completed_ends_no_vm_that_is_busy_with_another_job),
    LEDGER_TEST(completed_again_changes_nothing_and_ends_no_later_vm),
    LEDGER_TEST(settle_goes_forward_only),
    LEDGER_TEST(settle_ends_the_vm_that_was_busy_with_the_job),
    LEDGER_TEST(settle_refuses_unknown_jobs_and_other_states),
    LEDGER_TEST(jobs_waiting_are_the_old_ones_oldest_first),
    LEDGER_TEST(relaunched_job_has_patience_anew),
    LEDGER_TEST(jobs_running_are_those_without_news_oldest_first),
    LEDGER_TEST(bad_deliveries_are_refused),
};
const size_t ledger_job_test_count = COUNT_OF(ledger_job_tests);
