/*
 * Jobs whose deliveries left no trace: which repositories are read, when, and what is made of their
 * jobs.
 */
#include <stdlib.h>

#include "common/ledger/kinds.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

/* An App, so that there are installations; its key is never read, as GitHub is scripted. */
const char world_config[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
    " \"github\": {\"app\": {\"id\": \"7\", \"private_key\": \"kms:alias/x\"},"
    "  \"repositories\": [\"acme/*\"]},"
    " \"reaper\": {\"relaunch_after\": \"2m\", \"job_scan_interval\": \"6m\"},"
    " \"classes\": [" WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\"") "]}";

static int set_up(void **state)
{
    (void)world_set_up(state);
    world_sweep(1, SECOND_MS); /* a new ledger: nothing is to be recovered */
    world_pass(4 * MINUTE_MS); /* the active ones are read again */
    calls_reset();
    return 0;
}

static void add_job(int64_t id, const char *status, const char *repository, int64_t age_ms)
{
    struct github_job *job = scripted_github_add_job(id, status);
    struct scripted_job *facts = &scripted_github.job_facts[scripted_github.job_count - 1];
    job->runner_id = strcmp(status, "queued") != 0 ? 77 : 0;
    facts->repository = repository;
    facts->created_ms = world.now_ms - age_ms;
}

static void note(const char *repository)
{
    repositories_note(&reaper.noted, world.ledger, repository, 11);
}

static size_t rounds(const char *repository)
{
    char with[120];
    (void)snprintf(with, sizeof with, "repository=%s installation=11 status=queued page=1.",
                   repository);
    return calls_count("github_list_runs", with);
}

static void job_of_an_active_repository_is_found_within_ten_minutes(void **state)
{
    note("acme/app");
    world_sweep(30, 20 * SECOND_MS); /* rounds begin at any time */
    add_job(1, "queued", "acme/app", 0);
    world_sweep(30, 20 * SECOND_MS);
    assert_int_equal(world_puts_for(1), 1);
    world_sweep(60, 20 * SECOND_MS);
    assert_int_equal(world_puts_for(1), 1); /* the ledger knows it */
    assert_true(rounds("acme/app") <= 8);
}

static void job_whose_delivery_may_be_on_its_way_is_left_alone(void **state)
{
    note("acme/app");
    add_job(1, "queued", "acme/app", MINUTE_MS);
    world_sweep(1, SECOND_MS);
    assert_int_equal(rounds("acme/app"), 1);
    assert_int_equal(world_puts(), 0);
}

static void job_that_runs_or_has_ended_is_recorded_without_a_launch(void **state)
{
    struct ledger_job *waits = world_add_job(1, "in_progress");
    waits->waiting_ms = world.now_ms;
    scripted_github.jobs[0].runner_id = 77;
    add_job(2, "in_progress", "acme/app", HOUR_MS);
    note("acme/app");
    world_sweep(1, SECOND_MS);
    assert_int_equal(memory_job(world.url, 1)->state, JOB_RUNNING);
    assert_int_equal(memory_job(world.url, 2)->state, JOB_RUNNING);
    assert_int_equal(world_puts(), 0);
}

static void repository_without_a_job_for_a_week_is_read_no_more(void **state)
{
    note("acme/app");
    world_sweep(1, 8 * 24 * HOUR_MS);
    size_t before = rounds("acme/app");
    world_sweep(30, MINUTE_MS);
    assert_int_equal(rounds("acme/app"), before);
}

static void list_other_repositories(void)
{
    static const char *const names[] = {"acme/a", "acme/b", "acme/c", "acme/d"};
    scripted_github.installations[0] =
        (struct github_installation){.id = 11, .owner = "acme", .is_organization = true};
    scripted_github.installation_count = 1;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        scripted_github.repositories[i] = names[i];
    }
    scripted_github.repository_count = COUNT_OF(names);
}

static void every_other_repository_is_read_once_within_a_day(void **state)
{
    list_other_repositories();
    scripted_github.page_size = 3;
    reaper.lost_jobs.installations_due_ms = 0;
    add_job(1, "queued", "acme/d", 0);
    world_sweep(24 * 6, 10 * MINUTE_MS);
    assert_int_equal(world_puts_for(1), 1);
    for (const char *name = "abc"; *name != '\0'; name++) { /* d has had a job */
        const char repository[] = {'a', 'c', 'm', 'e', '/', *name, '\0'};
        assert_in_range(rounds(repository), 1, 2);
    }
}

static void rotation_goes_on_after_a_restart(void **state)
{
    static struct reaper heir;
    list_other_repositories();
    reaper.lost_jobs.installations_due_ms = 0;
    world_sweep(11 * 6, 10 * MINUTE_MS); /* about half of it */
    assert_int_equal(rounds("acme/a"), 1);
    assert_int_equal(rounds("acme/d"), 0);
    reaper_release_leases(&reaper);
    world_add_reaper(&heir, world_config, "two");
    for (int i = 0; i < 8 * 6; i++) {
        sweep(&heir);
        world_pass(10 * MINUTE_MS);
    }
    assert_int_equal(rounds("acme/a"), 1);
    assert_int_equal(rounds("acme/d"), 1);
    world_close_reaper(&heir);
}

static void repository_that_is_not_admitted_is_not_read(void **state)
{
    note("other/app");
    world_sweep(3, 10 * MINUTE_MS);
    assert_int_equal(calls_count("github_list_runs", NULL), 0);
}

static void refused_lists_are_noted_and_stop_no_other(void **state)
{
    struct ledger_cell *notices = NULL;
    size_t n = 0;
    struct err e;
    calls_plan(&(struct call_plan){.function = "github_list_runs",
                                   .with = "acme/app",
                                   .fails = ERR_AUTH,
                                   .code = 403,
                                   .from = ERR_FROM_GITHUB});
    note("acme/app");
    note("acme/site");
    add_job(1, "queued", "acme/site", HOUR_MS);
    world_sweep(3, 10 * MINUTE_MS);
    assert_int_equal(world_puts_for(1), 1);
    MUST(ledger_cell_list(world.ledger, LEDGER_KIND_NOTICE, &notices, &n, &e));
    bool noted = false;
    for (size_t i = 0; i < n; i++) {
        noted = noted || strstr(notices[i].value, "1 repositories") != NULL;
    }
    free(notices);
    assert_true(noted);
}

static void refused_by_the_budget_it_goes_on_later(void **state)
{
    note("acme/app");
    add_job(1, "queued", "acme/app", HOUR_MS);
    scripted_github.refuses[GITHUB_RECONCILE] = true;
    world_sweep(3, MINUTE_MS);
    assert_int_equal(calls_count("github_list_runs", NULL), 0);
    scripted_github.refuses[GITHUB_RECONCILE] = false;
    world_sweep(1, MINUTE_MS);
    assert_int_equal(world_puts_for(1), 1);
}

/* As where the log may not be read. */
static void recovery_that_lasts_stops_no_search(void **state)
{
    struct err e;
    char since[32];
    scripted_github.has_hook = true;
    calls_plan(&(struct call_plan){.function = "github_list_deliveries",
                                   .fails = ERR_NOT_FOUND,
                                   .code = 404,
                                   .from = ERR_FROM_GITHUB});
    (void)snprintf(since, sizeof since, "%lld", (long long)(world.now_ms - HOUR_MS));
    MUST(ledger_cell_put(world.ledger, LEDGER_KIND_RECOVERY, LEDGER_RECOVERY_REQUEST, since, 0,
                         NULL, &e));
    note("acme/app");
    add_job(1, "queued", "acme/app", HOUR_MS);
    world_sweep(3, MINUTE_MS);
    assert_int_equal(world_puts_for(1), 0); /* the recovery goes first */
    world_sweep(10, MINUTE_MS);
    assert_int_equal(world_puts_for(1), 1);
    assert_int_equal(reaper.recovery.stage, RECOVERY_LOG);
}

#define ACTIVE(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACTIVE(job_of_an_active_repository_is_found_within_ten_minutes),
        ACTIVE(job_whose_delivery_may_be_on_its_way_is_left_alone),
        ACTIVE(job_that_runs_or_has_ended_is_recorded_without_a_launch),
        ACTIVE(repository_without_a_job_for_a_week_is_read_no_more),
        ACTIVE(every_other_repository_is_read_once_within_a_day),
        ACTIVE(rotation_goes_on_after_a_restart),
        ACTIVE(repository_that_is_not_admitted_is_not_read),
        ACTIVE(refused_lists_are_noted_and_stop_no_other),
        ACTIVE(refused_by_the_budget_it_goes_on_later),
        ACTIVE(recovery_that_lasts_stops_no_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
