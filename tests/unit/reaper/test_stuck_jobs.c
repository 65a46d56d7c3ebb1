/* Jobs that wait although runners idle: GitHub is asked, rarely and about few, and the ledger
 * follows. */
#include "tests/unit/reaper/world.h"

#include "tests/lib/must.h"

#define PATIENCE_MS MINUTE_MS /* reaper.relaunch_after */

const char world_config[] =
    WORLD_CONFIG("\"reaper\": {\"relaunch_after\": \"1m\"}", WORLD_SMALL("\"max_vms\": 40"));

static struct ledger_vm *add_idle(const char *name, int64_t age_ms)
{
    (void)scripted_github_add_runner(name, true, false);
    return world_add_running(name, VM_LAUNCHED, age_ms);
}

static void job_whose_end_was_lost_is_settled_although_supply_covers_it(void **state)
{
    (void)world_add_job(42, "completed");
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 1);
    assert_int_equal(calls_count("ledger_reconcile_job", "job=42 to=cancelled "), 1);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("ledger_log_event", NULL), 0);
    assert_int_equal(world_ended(), 0);
}

static void job_that_does_wait_is_told_and_stays(void **state)
{
    (void)world_add_job(42, "queued");
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
    assert_int_equal(calls_count("ledger_log_event", NULL), 1);
    assert_int_equal(calls_count("ledger_log_event", "job=42 vm= what=stuck_with_idle_runners "),
                     1);
    assert_int_equal(world_puts(), 0);
}

static void job_of_a_paused_class_is_not_stuck(void **state)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    (void)world_add_job(42, "queued");
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    MUST(ledger_pause_begin(world.ledger, "small", "me", "", &p, &began, &e));
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    assert_int_equal(calls_count("ledger_log_event", NULL), 0);
}

static void group_that_does_not_admit_the_repository_is_named(void **state)
{
    (void)world_add_job(42, "queued");
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    scripted_github.refusing_group = "Default";
    sweep(&reaper);
    assert_int_equal(
        calls_count("github_group_admits", "scope=acme group=Default repository=acme/app."), 1);
    assert_int_equal(calls_count("ledger_log_event", "job=42 vm= what=not_admitted "), 1);
    assert_int_equal(calls_count("ledger_log_event", "job=42 vm= what=stuck_with_idle_runners "),
                     0);
}

static void groups_are_asked_about_for_few_jobs_of_a_look(void **state)
{
    for (int64_t i = 0; i < 20; i++) {
        (void)world_add_job(42 + i, "queued");
    }
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    world_add_messages("launch.small", QUEUE_READY, "9999", 20);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 20);
    assert_int_equal(calls_count("github_group_admits", NULL), 3);
}

static void group_that_cannot_be_asked_about_is_not_blamed(void **state)
{
    (void)world_add_job(42, "queued");
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    scripted_github.refusing_group = "Default";
    calls_plan(&(struct call_plan){.function = "github_group_admits", .fails = ERR_RETRY});
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_log_event", "job=42 vm= what=stuck_with_idle_runners "),
                     1);
}

/* Before it ends for being idle. */
static void vm_that_is_to_end_soon_is_noticed(void **state)
{
    world_end();
    world_begin(WORLD_CONFIG("\"reaper\": {\"relaunch_after\": \"10m\"}",
                             WORLD_SMALL("\"idle_timeout\": \"40s\"")));
    (void)world_add_job(42, "queued");
    (void)add_idle("mf-c28ee50a-t-a", 21 * SECOND_MS);
    sweep(&reaper);
    assert_int_equal(calls_count("github_group_admits", NULL), 1);
}

static void vm_that_is_young_busy_or_of_another_scope_contradicts_nothing(void **state)
{
    (void)world_add_job(42, "completed");
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS - SECOND_MS);
    add_idle("mf-c28ee50a-t-b", PATIENCE_MS + SECOND_MS)->state = VM_BUSY;
    struct ledger_vm *elsewhere = add_idle("mf-c28ee50a-t-c", PATIENCE_MS + SECOND_MS);
    memcpy(elsewhere->scope, "other", 6);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
}

static void job_that_waits_for_less_than_its_patience_is_left_alone(void **state)
{
    world_add_job(42, "completed")->waiting_ms = clock_wall_ms() - PATIENCE_MS + SECOND_MS;
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 0);
}

static void github_is_asked_once_in_a_patience_and_about_twenty(void **state)
{
    for (int64_t i = 0; i < 50; i++) {
        (void)world_add_job(42 + i, "queued");
    }
    (void)add_idle("mf-c28ee50a-t-a", PATIENCE_MS + SECOND_MS);
    world_add_messages("launch.small", QUEUE_READY, "9999", 50); /* the balance lacks nothing */
    sweep(&reaper);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 20);
    world_pass(PATIENCE_MS);
    sweep(&reaper);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 40);
}

/* Deleted, or not readable: checked rarely, and cancelled when GitHub would have cancelled it. */
static void job_that_github_does_not_know_is_asked_about_ever_more_rarely_and_ends_after_days(
    void **state)
{
    struct ledger_job *job = world_add_job(42, "queued");
    scripted_github.jobs[0].id = 7;
    const int64_t apart[] = {1, 2, 4, 8, 10, 10}; /* patiences */
    for (size_t i = 0; i < COUNT_OF(apart); i++) {
        sweep(&reaper);
        sweep(&reaper);
        assert_int_equal(calls_count("github_get_job", NULL), (int)i + 1);
        world_pass(apart[i] * PATIENCE_MS - SECOND_MS);
        sweep(&reaper);
        assert_int_equal(calls_count("github_get_job", NULL), (int)i + 1);
        world_pass(SECOND_MS);
    }
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 0);
    job->waiting_ms = clock_wall_ms() - 50 * 3600 * 1000LL;
    sweep(&reaper);
    assert_int_equal(calls_count("ledger_reconcile_job", NULL), 1);
    assert_int_equal(calls_count("ledger_reconcile_job", "job=42 to=cancelled "), 1);
    assert_int_equal(world_puts(), 0);
}

static void job_that_github_knows_again_is_launched_for(void **state)
{
    (void)world_add_job(42, "queued");
    scripted_github.jobs[0].id = 7;
    sweep(&reaper);
    scripted_github.jobs[0].id = 42;
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    world_pass(PATIENCE_MS);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

/* Two classes with different relaunch_after: the task runs as often as the shorter one requires. */
static void look_comes_once_in_the_shortest_patience(void **state)
{
    world_end();
    world_begin(WORLD_CONFIG("\"reaper\": {\"relaunch_after\": \"1m\"}",
                             WORLD_SMALL("\"relaunch_after\": \"20s\"") ", " WORLD_LARGE(
                                 "\"relaunch_after\": \"90s\"")));
    (void)world_add_job(42, "queued");
    (void)add_idle("mf-c28ee50a-t-a", 21 * SECOND_MS);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 1);
    world_pass(20 * SECOND_MS - 1);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 1);
    world_pass(1);
    sweep(&reaper);
    assert_int_equal(calls_count("github_get_job", NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(job_whose_end_was_lost_is_settled_although_supply_covers_it),
        CASE(job_that_does_wait_is_told_and_stays),
        CASE(job_of_a_paused_class_is_not_stuck),
        CASE(group_that_does_not_admit_the_repository_is_named),
        CASE(groups_are_asked_about_for_few_jobs_of_a_look),
        CASE(group_that_cannot_be_asked_about_is_not_blamed),
        CASE(vm_that_is_to_end_soon_is_noticed),
        CASE(vm_that_is_young_busy_or_of_another_scope_contradicts_nothing),
        CASE(job_that_waits_for_less_than_its_patience_is_left_alone),
        CASE(github_is_asked_once_in_a_patience_and_about_twenty),
        CASE(job_that_github_does_not_know_is_asked_about_ever_more_rarely_and_ends_after_days),
        CASE(job_that_github_knows_again_is_launched_for),
        CASE(look_comes_once_in_the_shortest_patience),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
