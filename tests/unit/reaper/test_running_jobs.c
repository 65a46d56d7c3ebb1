/* Jobs that run although no VM here runs them: GitHub is asked, ever more rarely, and they end. */
#include "tests/unit/reaper/world.h"

#define PATIENCE_MS MINUTE_MS /* reaper.relaunch_after */
#define ELSEWHERE_MS (10 * MINUTE_MS)
#define VM "mf-c28ee50a-t-a"

const char world_config[] =
    WORLD_CONFIG("\"reaper\": {\"relaunch_after\": \"1m\"}", WORLD_SMALL("\"max_vms\": 40"));

static struct ledger_job *add_running_job(int64_t id, const char *github_status, const char *runner)
{
    struct ledger_job *job = world_add_job(id, github_status);
    job->state = JOB_RUNNING;
    job->running_ms = job->updated_ms = clock_wall_ms();
    (void)snprintf(job->facts.runner_name, sizeof job->facts.runner_name, "%s", runner);
    return job;
}

static int questions(void)
{
    return (int)calls_count("github_get_job", NULL);
}

static void assert_asked_after(int64_t ms)
{
    int before = questions();
    world_pass(ms - PATIENCE_MS); /* the task runs once in one */
    sweep(&reaper);
    assert_int_equal(questions(), before);
    world_pass(PATIENCE_MS);
    sweep(&reaper);
    assert_int_equal(questions(), before + 1);
}

static void job_whose_vm_has_ended_is_asked_about_and_is_over(void **state)
{
    struct ledger_job *job = add_running_job(42, "completed", VM);
    struct ledger_vm *vm = world_add_vm(VM, VM_BUSY, HOUR_MS);
    struct vm_info *listed = world_list_vm(VM, VM_RUN_RUNNING);
    (void)scripted_github_add_runner(VM, true, true);
    vm->job_id = 42;
    world_pass(HOUR_MS / 2); /* it runs for long, on a VM that is well */
    sweep(&reaper);
    assert_int_equal(questions(), 0);
    vm->state = VM_GONE;
    vm->gone_ms = clock_wall_ms();
    listed->state = VM_RUN_ENDED;
    assert_asked_after(PATIENCE_MS);
    assert_int_equal(calls_count("ledger_reconcile_job", "job=42 to=done "), 1);
    assert_int_equal(job->state, JOB_DONE);
    assert_int_equal(world_task_errors("running_jobs"), 0);
    world_sweep(3, HOUR_MS);
    assert_int_equal(questions(), 1);
}

/* Its VM is busy with another one by now, so that VM stays. */
static void job_whose_runner_runs_another_is_asked_about_and_the_vm_stays(void **state)
{
    struct ledger_job *job = add_running_job(42, "completed", VM);
    struct ledger_vm *vm = world_add_running(VM, VM_BUSY, HOUR_MS);
    (void)scripted_github_add_runner(VM, true, true);
    vm->job_id = 43;
    assert_asked_after(PATIENCE_MS);
    assert_int_equal(job->state, JOB_DONE);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(world_ended(), 0);
}

static void job_of_a_runner_elsewhere_is_asked_about_ever_more_rarely(void **state)
{
    struct ledger_job *job = add_running_job(42, "in_progress", "somebody-elses");
    assert_asked_after(ELSEWHERE_MS);
    for (int i = 0; i < 6; i++) {
        assert_asked_after(ELSEWHERE_MS << i);
    }
    assert_int_equal(job->state, JOB_RUNNING);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
    scripted_github_add_job(42, "completed");
    scripted_github.jobs[0].id = 7;
    assert_asked_after(ELSEWHERE_MS << 6);
    assert_int_equal(job->state, JOB_DONE);
}

static void job_that_github_does_not_know_ends_after_days(void **state)
{
    struct ledger_job *job = add_running_job(42, "in_progress", "somebody-elses");
    scripted_github.jobs[0].id = 7;
    world_sweep(6 * 24 - 1, HOUR_MS);
    assert_int_equal(job->state, JOB_RUNNING);
    assert_in_range(questions(), 8, 20);
    world_sweep(3, HOUR_MS);
    assert_int_equal(job->state, JOB_DONE);
}

/* Nothing is known then, and the next run asks again; after days no answer is needed. */
static void job_that_github_cannot_be_asked_about_is_asked_about_again(void **state)
{
    struct ledger_job *job = add_running_job(42, "completed", "somebody-elses");
    world_fail("github_get_job", NULL, ERR_RETRY);
    assert_asked_after(ELSEWHERE_MS);
    assert_int_equal(job->state, JOB_RUNNING);
    world_heal();
    assert_asked_after(PATIENCE_MS);
    assert_int_equal(job->state, JOB_DONE);
}

static void run_asks_about_fifty_and_the_next_about_the_others(void **state)
{
    for (int64_t i = 0; i < 60; i++) {
        (void)add_running_job(42 + i, "in_progress", "somebody-elses");
    }
    world_pass(ELSEWHERE_MS);
    sweep(&reaper);
    assert_int_equal(questions(), 50);
    world_pass(PATIENCE_MS);
    sweep(&reaper);
    assert_int_equal(questions(), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(job_whose_vm_has_ended_is_asked_about_and_is_over),
        CASE(job_whose_runner_runs_another_is_asked_about_and_the_vm_stays),
        CASE(job_of_a_runner_elsewhere_is_asked_about_ever_more_rarely),
        CASE(job_that_github_does_not_know_ends_after_days),
        CASE(job_that_github_cannot_be_asked_about_is_asked_about_again),
        CASE(run_asks_about_fifty_and_the_next_about_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
