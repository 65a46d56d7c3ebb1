/*
 * The balance: for which jobs another launch message is put, what it carries, and what is read for
 * that how often.
 */
#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

#define PATIENCE_MS MINUTE_MS

const char world_config[] =
    WORLD_CONFIG("\"limits\": {\"max_vms\": 5, \"max_vms_per_repository\": 2}, \"reaper\": "
                 "{\"relaunch_after\": \"1m\"}",
                 WORLD_SMALL("\"max_vms\": 4") ", " WORLD_LARGE("\"max_vms\": 2"));

static struct ledger_job *add_large_job(int64_t id)
{
    struct ledger_job *job = world_add_job(id, "queued");
    memcpy(job->facts.class_name, "large", 6);
    return job;
}

/* Counters are the process's: what one grew by. */
static int64_t failures(void)
{
    return world_task_errors("relaunch");
}

/* --- the message --- */

static void message_carries_all_that_a_launch_needs(void **state)
{
    struct err e;
    struct launch_request r;
    const struct ledger_job *job = world_add_job(42, "queued");
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "lane"), "launch.small");
    assert_string_equal(world_put(0, "key"), "42");
    assert_string_equal(world_put(0, "group"), "acme/app");
    assert_int_equal(launch_request_decode(slice_of(world_put(0, "body")), &r, &e), 0);
    assert_string_equal(r.reason, "relaunch");
    assert_string_equal(r.class_name, "small");
    assert_string_equal(r.scope, "");
    assert_int_equal(r.requested_ms, clock_wall_ms());
    assert_int_equal(r.job.id, 42);
    assert_int_equal(r.job.run_id, 420);
    assert_int_equal(r.job.run_attempt, 2);
    assert_int_equal(r.job.installation_id, 11);
    assert_int_equal(r.job.created_ms, 1790000000000);
    assert_string_equal(r.job.repository, "acme/app");
    assert_string_equal(r.job.organization, "acme");
    assert_string_equal(r.job.name, job->facts.name);
    assert_string_equal(r.job.workflow, job->facts.workflow);
    assert_string_equal(r.job.labels, job->facts.labels);
    assert_string_equal(r.job.class_name, "small");
}

static void message_that_cannot_be_put_leaves_the_job_as_it_was(void **state)
{
    const struct ledger_job *job = world_add_job(42, "queued");
    int64_t before = failures();
    world_fail("queue_put", NULL, ERR_RETRY);
    sweep(&reaper);
    assert_int_equal(job->relaunched_ms, 0);
    assert_int_equal(failures() - before, 1);
    world_heal();
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_int_equal(job->relaunched_ms, clock_wall_ms());
    assert_int_equal(failures() - before, 1);
}

/* --- what it is decided on --- */

static size_t depths_before_balances;

static void note_depths(void)
{
    depths_before_balances = calls_count("queue_depths", NULL);
}

static void messages_of_every_class_are_counted_before_the_balances_which_are_read_once(
    void **state)
{
    (void)world_add_job(42, "queued");
    (void)add_large_job(43);
    world_happens("ledger_balances", NULL, 1, note_depths);
    sweep(&reaper);
    assert_int_equal(world_puts(), 2);
    assert_string_equal(world_put(0, "lane"), "launch.small");
    assert_string_equal(world_put(1, "lane"), "launch.large");
    assert_int_equal(depths_before_balances, 2);
    assert_int_equal(calls_count("queue_depths", "lane=launch."), 2);
    assert_int_equal(calls_count("ledger_balances", NULL), 1); /* for the stuck jobs, too */
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_balances", NULL), 2);
}

static void balances_that_cannot_be_read_are_a_failure_and_nothing_is_put(void **state)
{
    (void)world_add_job(42, "queued");
    int64_t before = failures();
    world_fail("ledger_balances", NULL, ERR_RETRY);
    sweep(&reaper);
    assert_int_equal(failures() - before, 1);
    assert_int_equal(world_puts(), 0);
    world_heal();
    sweep(&reaper);
    assert_int_equal(failures() - before, 1);
    assert_int_equal(world_puts(), 1);
}

/* Its messages wait in its lane, and are not counted for nothing either. */
static void paused_class_gets_no_message_and_another_does(void **state)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    (void)world_add_job(42, "queued");
    (void)add_large_job(43);
    MUST(ledger_pause_begin(world.ledger, "small", "me", "", &p, &began, &e));
    calls_reset();
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "lane"), "launch.large");
    assert_int_equal(calls_count("queue_depths", "lane=launch."), 1);
    MUST(ledger_pause_end(world.ledger, "small", &p, &e));
    calls_reset();
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "lane"), "launch.small");
}

static void messages_of_one_class_are_nothing_to_another(void **state)
{
    (void)add_large_job(43);
    world_add_messages("launch.small", QUEUE_READY, "9999", 100);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "lane"), "launch.large");
}

static void fill(const char *class_name, int n)
{
    for (int i = 0; i < n; i++) {
        char name[] = {'m', 'f', '-', class_name[0], '-', (char)('0' + i), '\0'};
        if (class_name[0] == 'l') {
            (void)world_add_large_vm(name, VM_BUSY, SECOND_MS);
            (void)world_add_large_machine(name, VM_RUN_RUNNING);
        } else {
            (void)world_add_running(name, VM_BUSY, SECOND_MS);
        }
    }
}

static void full_class_gets_no_message_and_another_does(void **state)
{
    (void)world_add_job(42, "queued");
    (void)add_large_job(43);
    fill("large", 2);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "lane"), "launch.small");
    assert_int_equal(calls_count("queue_depths", "lane=launch."), 1);
}

static void full_fleet_gets_no_message_at_all(void **state)
{
    (void)world_add_job(42, "queued");
    (void)add_large_job(43);
    fill("large", 1);
    fill("small", 4);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("ledger_balances", NULL), 1); /* the stuck jobs' */
}

/* Where the other scope has all it needs, the lane's messages are this one's. */
static void scope_that_lacks_nothing_makes_no_job_overdue(void **state)
{
    world_add_job(42, "queued")->waiting_ms = clock_wall_ms() - 100 * PATIENCE_MS;
    world_add_messages("launch.small", QUEUE_READY, "9999", 100);
    world_add_demand("other", 3);
    struct ledger_vm *vm = world_add_supply("other", 3);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    world_move(vm, VM_BUSY);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

static void fill_repository(const char *repository, int n)
{
    for (int i = 0; i < n; i++) {
        char name[] = {'m', 'f', '-', repository[5], '-', (char)('0' + i), '\0'};
        struct ledger_vm *vm = world_add_running(name, VM_BUSY, SECOND_MS);
        (void)snprintf(vm->repository, sizeof vm->repository, "%s", repository);
    }
}

static struct ledger_job *add_noisy_job(int64_t id)
{
    struct ledger_job *job = world_add_job(id, "queued");
    (void)snprintf(job->facts.repository, sizeof job->facts.repository, "acme/noisy");
    return job;
}

static void messages_of_a_repository_at_its_cap_cover_no_other(void **state)
{
    (void)add_noisy_job(41);
    (void)add_noisy_job(43); /* without a message: it waits for a slot all the same */
    (void)world_add_job(42, "queued");
    world_add_messages("launch.small", QUEUE_DELAYED, "41", 1);
    world_add_messages("launch.small", QUEUE_DELAYED, "9999", 100);
    fill_repository("acme/noisy", 1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0); /* it may still get a slot */
    fill_repository("acme/noisy", 2);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "key"), "42");
    assert_int_equal(calls_count("github_get_job", NULL), 1);
}

/* The two first of 150 older ones have slots. */
static void job_behind_many_of_a_repository_at_its_cap_is_found(void **state)
{
    for (int64_t id = 1; id <= 150; id++) {
        add_noisy_job(id)->waiting_ms -= HOUR_MS;
    }
    (void)world_add_job(200, "queued");
    fill_repository("acme/noisy", 2);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "key"), "200");
    assert_int_equal(calls_count("github_get_job", NULL), 1);
}

/* 20 jobs, their messages in the lane, 5 of them received: nothing is missing. */
static void messages_of_a_queue_that_cannot_search_cover_all_the_same(void **state)
{
    for (int64_t id = 1; id <= 20; id++) {
        (void)world_add_job(id, "queued");
    }
    world.queue_cannot_find = true;
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_READY, "9999", 15);
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 5);
    fill_repository("acme/noisy", 2);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_READY, "9999", 19);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_int_equal(calls_count("github_get_job", NULL), 1);
}

/* Its VMs go to others, as GitHub gives them. */
static void job_relaunched_in_vain_is_relaunched_ever_more_rarely(void **state)
{
    static const int64_t minutes[] = {0, 1, 2, 4, 8, 16, 32, 64, 96, 128};
    int64_t began_ms = clock_wall_ms();
    size_t at = 0;
    (void)world_add_job(42, "queued");
    struct ledger_vm *other = world_add_running("mf-other", VM_BUSY, SECOND_MS);
    for (int64_t minute = 0; at < COUNT_OF(minutes); minute++) {
        int before = world_puts();
        other->busy_ms = clock_wall_ms();
        other->deadline_ms = other->busy_ms + HOUR_MS;
        sweep(&reaper);
        if (world_puts() > before) {
            assert_int_equal(minute, minutes[at++]);
            world_empty_queue();
        }
        world_pass(PATIENCE_MS + 1);
        assert_in_range(minute, 0, 200);
    }
    assert_in_range(clock_wall_ms() - began_ms, 128 * MINUTE_MS, 200 * MINUTE_MS);
}

/* A broken image: no VM gets a job, or at most one of another class or scope does. */
static void job_whose_vms_are_lost_is_relaunched_without_delay(void **state)
{
    (void)world_add_job(42, "queued");
    struct ledger_vm *before = world_add_running("mf-before", VM_BUSY, SECOND_MS);
    struct ledger_vm *scope = world_add_running("mf-scope", VM_BUSY, SECOND_MS);
    memcpy(scope->scope, "other", 6);
    struct ledger_vm *class = world_add_large_vm("mf-class", VM_BUSY, SECOND_MS);
    (void)world_add_large_machine("mf-class", VM_RUN_RUNNING);
    before->busy_ms = clock_wall_ms() - 1;
    for (int i = 1; i <= 20; i++) {
        scope->busy_ms = clock_wall_ms();
        class->busy_ms = clock_wall_ms();
        sweep(&reaper);
        assert_int_equal(world_puts(), i);
        world_empty_queue();
        world_pass(PATIENCE_MS + 1);
    }
}

/* --- when --- */

static void assert_put_after(int64_t ms)
{
    world_add_job(42, "queued")->waiting_ms = clock_wall_ms();
    world_pass(ms);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

static void shortage_is_launched_for_as_soon_as_it_is_certain(void **state)
{
    assert_put_after(5 * SECOND_MS);
    assert_int_equal(calls_count("github_get_job", NULL), 1);
}

/* Behind a cap all jobs of a lane wait, and an estimate may be a few short. */
static void lane_that_is_not_empty_by_estimate_lacks_no_message(void **state)
{
    for (int64_t id = 1; id <= 20; id++) {
        (void)world_add_job(id, "queued");
    }
    world.queue_cannot_find = true;
    world.queue_estimates = true;
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_READY, "9999", 18);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    world_empty_queue();
    sweep(&reaper);
    assert_int_equal(world_puts(), 20);
}

static void shortage_by_estimated_depths_is_certain_later(void **state)
{
    world.queue_estimates = true;
    assert_put_after(15 * SECOND_MS);
}

static void three_relaunches_are_close_together_and_the_next_is_not(void **state)
{
    static const int64_t seconds[] = {0, 6, 12, 72, 132, 192};
    int64_t began_ms = clock_wall_ms();
    (void)world_add_job(42, "queued");
    for (size_t i = 0; i < COUNT_OF(seconds);) {
        int before = world_puts();
        sweep(&reaper);
        if (world_puts() > before) {
            assert_int_equal(clock_wall_ms() - began_ms, seconds[i++] * SECOND_MS);
            world_empty_queue();
        }
        world_pass(SECOND_MS);
    }
}

static void job_whose_vm_is_on_its_way_is_not_the_one_that_is_relaunched(void **state)
{
    static const enum ledger_vm_state states[] = {VM_RESERVED, VM_REGISTERED, VM_LAUNCHED};
    for (int64_t id = 1; id <= 4; id++) {
        char name[] = {'m', 'f', '-', (char)('0' + id), '\0'};
        (void)world_add_job(id, "queued");
        if (id != 3) {
            world_add_running(name, states[id % 3], SECOND_MS)->for_job = id;
        }
    }
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_string_equal(world_put(0, "key"), "3");
    assert_int_equal(calls_count("github_get_job", NULL), 1);
}

/* Their VMs exist, so the messages are nobody else's. */
static void messages_of_launches_in_progress_cover_no_other_job(void **state)
{
    world.queue_cannot_find = true;
    world_empty_queue();
    (void)world_add_job(41, "queued");
    (void)world_add_job(42, "queued");
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    struct ledger_vm *vm = world_add_running("mf-launching", VM_REGISTERED, SECOND_MS);
    vm->for_job = 41;
    sweep(&reaper);
    assert_int_equal(world_puts(), 1); /* the one that was put covers the other */
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 1);
    world_pass(10 * SECOND_MS);
    sweep(&reaper);
    assert_int_equal(world_puts(), 2);
    assert_string_equal(world_put(1, "key"), "42");
}

/* A runner group that does not admit its repository: nobody else gets the VMs either. */
static void job_whose_vms_idle_and_end_is_relaunched_ever_more_rarely(void **state)
{
    struct err e = {0};
    struct ledger_job *job = world_add_job(42, "queued");
    job->relaunches = 5;
    job->relaunched_ms = clock_wall_ms();
    MUST(ledger_counter_set(reaper.ledger, LEDGER_COUNTER_JOBLESS "small", 3, &e));
    world_pass(8 * PATIENCE_MS - 1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

static void event_of_the_job_in_the_queue_is_no_launch_message(void **state)
{
    (void)world_add_job(42, "queued");
    world_add_messages("events", QUEUE_READY, "42", 1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

/* --- what GitHub says of the job --- */

static void job_that_runs_on_a_runner_is_settled_as_running(void **state)
{
    (void)world_add_job(42, "in_progress");
    scripted_github.jobs[0].runner_id = 9;
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 1);
    assert_string_equal(calls_args("ledger_reconcile_job", NULL, 1),
                        "job=42 to=running why=reported by GitHub's API; the event was lost");
}

static void job_in_progress_without_a_runner_waits(void **state)
{
    (void)world_add_job(42, "in_progress");
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
    assert_int_equal(world_puts(), 1);
}

static void queued_job_that_once_had_a_runner_waits(void **state)
{
    (void)world_add_job(42, "queued");
    scripted_github.jobs[0].runner_id = 9;
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
    assert_int_equal(world_puts(), 1);
}

static void job_that_ended_on_a_runner_is_done(void **state)
{
    (void)world_add_job(42, "completed");
    scripted_github.jobs[0].runner_id = 9;
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", "job=42 to=done "), 1);
}

static void job_that_github_cannot_be_asked_about_is_launched_for(void **state)
{
    (void)world_add_job(42, "completed");
    world_fail("github_get_job", NULL, ERR_RETRY);
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
    assert_int_equal(world_puts(), 1);
}

static void add_unknown_jobs(int64_t first, int64_t last)
{
    for (int64_t id = first; id <= last; id++) {
        (void)world_add_job(id, "queued");
        scripted_github.jobs[scripted_github.job_count - 1].id = 7000 + id;
    }
}

/* A sweep, and how many jobs it checked at GitHub. */
static size_t sweep_asks(void)
{
    size_t before = calls_count("github_get_job", NULL);
    sweep(&reaper);
    return calls_count("github_get_job", NULL) - before;
}

/* More jobs that GitHub does not know than can be remembered, and one that does wait behind them.
 */
static void of_many_unknown_jobs_a_sweep_asks_about_ten_and_the_next_goes_on(void **state)
{
    add_unknown_jobs(1, 70);
    (void)world_add_job(71, "queued");
    for (int i = 0; i < 7; i++) {
        assert_int_equal(sweep_asks(), 10);
        assert_int_equal(world_puts(), 0);
        world_pass(SECOND_MS);
    }
    assert_int_equal(sweep_asks(), 1);
    assert_int_equal(world_puts(), 1);
    for (int i = 0; i < 50; i++) {
        world_pass(10 * SECOND_MS);
        assert_in_range(sweep_asks(), 0, 10);
    }
    assert_int_equal(world_puts(), 1);
}

/* 65 jobs that GitHub does not know, and space to remember 64: the one that is due first is
 * replaced, not one with a longer delay. */
static void of_too_many_unknown_jobs_the_one_asked_about_soonest_is_forgotten(void **state)
{
    add_unknown_jobs(1, 1);
    assert_int_equal(sweep_asks(), 1);
    world_pass(PATIENCE_MS);
    add_unknown_jobs(2, 65);
    for (int i = 0; i < 6; i++) { /* the first is put off for two patiences now, the rest for one */
        assert_int_equal(sweep_asks(), 10);
    }
    assert_int_equal(sweep_asks(), 5);
    assert_int_equal(calls_count("github_get_job", "job=1."), 2);
    assert_true(sweep_asks() > 0); /* about one that was forgotten, but not about the first */
    assert_int_equal(calls_count("github_get_job", "job=1."), 2);
    assert_int_equal(world_puts(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(message_carries_all_that_a_launch_needs),
        CASE(message_that_cannot_be_put_leaves_the_job_as_it_was),
        CASE(messages_of_every_class_are_counted_before_the_balances_which_are_read_once),
        CASE(balances_that_cannot_be_read_are_a_failure_and_nothing_is_put),
        CASE(paused_class_gets_no_message_and_another_does),
        CASE(messages_of_one_class_are_nothing_to_another),
        CASE(full_class_gets_no_message_and_another_does),
        CASE(full_fleet_gets_no_message_at_all),
        CASE(scope_that_lacks_nothing_makes_no_job_overdue),
        CASE(messages_of_a_repository_at_its_cap_cover_no_other),
        CASE(job_behind_many_of_a_repository_at_its_cap_is_found),
        CASE(messages_of_a_queue_that_cannot_search_cover_all_the_same),
        CASE(job_whose_vms_are_lost_is_relaunched_without_delay),
        CASE(job_relaunched_in_vain_is_relaunched_ever_more_rarely),
        CASE(shortage_is_launched_for_as_soon_as_it_is_certain),
        CASE(lane_that_is_not_empty_by_estimate_lacks_no_message),
        CASE(shortage_by_estimated_depths_is_certain_later),
        CASE(three_relaunches_are_close_together_and_the_next_is_not),
        CASE(job_whose_vm_is_on_its_way_is_not_the_one_that_is_relaunched),
        CASE(messages_of_launches_in_progress_cover_no_other_job),
        CASE(job_whose_vms_idle_and_end_is_relaunched_ever_more_rarely),
        CASE(event_of_the_job_in_the_queue_is_no_launch_message),
        CASE(job_that_runs_on_a_runner_is_settled_as_running),
        CASE(job_in_progress_without_a_runner_waits),
        CASE(queued_job_that_once_had_a_runner_waits),
        CASE(job_that_ended_on_a_runner_is_done),
        CASE(job_that_github_cannot_be_asked_about_is_launched_for),
        CASE(of_many_unknown_jobs_a_sweep_asks_about_ten_and_the_next_goes_on),
        CASE(of_too_many_unknown_jobs_the_one_asked_about_soonest_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
