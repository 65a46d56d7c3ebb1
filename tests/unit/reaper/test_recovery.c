/*
 * A ledger that was lost: when it is noticed, and what is read from GitHub then.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/ledger/kinds.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] =
    WORLD_CONFIG("\"reaper\": {\"relaunch_after\": \"2h\", \"deliveries\": {\"interval\": \"1h\","
                 " \"initial_lookback\": \"1h\", \"overlap\": \"2m\"}}",
                 WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\""));

#define APP 501
#define SITE 502

static int set_up_with_a_log(void **state)
{
    (void)world_set_up(state);
    scripted_github.has_hook = true;
    return 0;
}

static struct scripted_delivery *deliver(int64_t job, int64_t repository, int64_t age_ms)
{
    struct scripted_delivery *d = scripted_github_add_delivery(job, "queued", 202, age_ms);
    d->entry.repository_id = repository;
    return d;
}

/* A job at GitHub, whose `queued` was accepted so long ago. */
static struct github_job *add_accepted(int64_t id, const char *status, int64_t repository)
{
    struct github_job *job = scripted_github_add_job(id, status);
    scripted_github.job_facts[scripted_github.job_count - 1].repository =
        repository == SITE ? "acme/site" : "acme/app";
    job->runner_id = strcmp(status, "in_progress") == 0 ? 77 : 0;
    (void)deliver(id, repository, 10 * MINUTE_MS);
    return job;
}

static int put_for(int64_t job_id)
{
    char key[32];
    int n = 0;
    (void)snprintf(key, sizeof key, "%lld", (long long)job_id);
    for (int i = 0; i < world_puts(); i++) {
        n += strcmp(world_put(i, "key"), key) == 0 ? 1 : 0;
    }
    return n;
}

static int state_of(int64_t job_id)
{
    struct ledger_job job;
    struct err e = {0};
    return ledger_job_get(world.ledger, job_id, &job, &e) == 0 ? (int)job.state : -1;
}

static struct ledger_cell cell(const char *name)
{
    struct ledger_cell c;
    struct err e;
    MUST(ledger_cell_get(world.ledger, LEDGER_KIND_RECOVERY, name, &c, &e));
    return c;
}

static bool is_over(void)
{
    return strstr(cell("fleet").value, " none ") != NULL;
}

static size_t repositories_left(void)
{
    struct ledger_cell *list = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_cell_list(world.ledger, LEDGER_KIND_RECOVER, &list, &n, &e));
    free(list);
    return n;
}

/* Without what the ledger says of its own completeness. */
static void empty_ledger(void)
{
    struct ledger_cell c = cell("fleet");
    struct err e;
    MUST(ledger_cell_put(world.ledger, LEDGER_KIND_RECOVERY, "fleet", NULL, c.version, NULL, &e));
}

static void sweep_until_over(void)
{
    for (int i = 0; i < 20 && (i < 2 || !is_over()); i++) {
        world_sweep(1, SECOND_MS);
    }
    assert_true(is_over());
    assert_int_equal(repositories_left(), 0);
}

static void jobs_whose_deliveries_were_accepted_are_read_from_github(void **state)
{
    (void)add_accepted(1, "queued", APP);
    (void)add_accepted(2, "in_progress", APP);
    (void)add_accepted(3, "completed", APP);
    (void)add_accepted(4, "queued", SITE);
    sweep_until_over();
    assert_int_equal(state_of(1), JOB_WAITING);
    assert_int_equal(state_of(2), JOB_RUNNING); /* no VM for it */
    assert_int_equal(state_of(3), -1);
    assert_int_equal(state_of(4), JOB_WAITING);
    assert_int_equal(world_puts(), 2);
    assert_int_equal(put_for(1), 1);
    assert_int_equal(put_for(4), 1);
    assert_string_equal(world_put(0, "lane"), "launch.small");
    assert_int_equal(calls_count("github_delivery_payload", NULL), 0);
    assert_int_equal(calls_count("github_delivery_repository", NULL), 2);
}

static void ledger_that_is_complete_is_left_alone(void **state)
{
    sweep_until_over();
    (void)add_accepted(1, "queued", APP);
    world_sweep(30, 10 * SECOND_MS);
    assert_int_equal(state_of(1), -1);
    assert_int_equal(calls_count("github_list_runs", NULL), 0);
}

static void ledger_that_was_emptied_is_recovered_once_more(void **state)
{
    (void)add_accepted(1, "queued", APP);
    sweep_until_over();
    assert_int_equal(put_for(1), 1);
    (void)add_accepted(2, "queued", APP);
    empty_ledger();
    sweep_until_over();
    assert_int_equal(put_for(1), 1); /* which the ledger knows */
    assert_int_equal(put_for(2), 1);
}

/* The cell as it was, under a version that this process has seen to pass. */
static void ledger_that_went_back_is_recovered(void **state)
{
    sweep_until_over();
    (void)add_accepted(1, "queued", APP);
    reaper.recovery.seen_version = cell("fleet").version + 1;
    scripted_github.deliveries[0].entry.delivered_ms = world.now_ms - MINUTE_MS;
    sweep_until_over();
    assert_int_equal(put_for(1), 1);
}

static void ledger_that_was_not_in_use_is_recovered_since_then(void **state)
{
    sweep_until_over();
    (void)add_accepted(1, "queued", APP);
    (void)add_accepted(2, "queued", SITE);
    scripted_github.deliveries[1].entry.delivered_ms = world.now_ms + 2 * HOUR_MS; /* job 1 */
    world_pass(4 * HOUR_MS);
    sweep_until_over();
    assert_int_equal(put_for(1), 1);
    assert_int_equal(put_for(2), 0); /* of ten minutes before it was complete */
}

static void operator_asks_for_a_longer_time(void **state)
{
    struct err e;
    char value[32];
    sweep_until_over();
    (void)add_accepted(1, "queued", APP);
    scripted_github.deliveries[0].entry.delivered_ms = world.now_ms - 5 * HOUR_MS;
    (void)snprintf(value, sizeof value, "%lld", (long long)(world.now_ms - 6 * HOUR_MS));
    MUST(ledger_cell_put(world.ledger, LEDGER_KIND_RECOVERY, LEDGER_RECOVERY_REQUEST, value, 0,
                         NULL, &e));
    sweep_until_over();
    assert_int_equal(put_for(1), 1);
    assert_int_equal(cell(LEDGER_RECOVERY_REQUEST).version, 0);
}

static void request_that_is_on_its_lane_still_is_not_put_again(void **state)
{
    (void)add_accepted(1, "queued", APP);
    world_add_messages("launch.small", QUEUE_READY, "1", 1);
    sweep_until_over();
    assert_int_equal(state_of(1), JOB_WAITING);
    assert_int_equal(put_for(1), 0);
}

static void jobs_that_are_held_back_or_of_public_repositories_get_no_vm(void **state)
{
    (void)add_accepted(1, "waiting", APP);
    (void)add_accepted(2, "queued", SITE);
    scripted_github.job_facts[1].is_public = true;
    sweep_until_over();
    assert_int_equal(world_puts(), 0);
    assert_int_equal(state_of(2), -1);
}

/* What was begun is in the ledger. */
static void another_reaper_goes_on(void **state)
{
    static struct reaper heir;
    world_add_reaper(&heir, world_config, "two");
    (void)add_accepted(1, "queued", APP);
    (void)add_accepted(2, "queued", SITE);
    world_fail("github_list_run_jobs", "repository=acme/site", ERR_RETRY);
    world_sweep(4, SECOND_MS);
    assert_int_equal(repositories_left(), 1);
    assert_int_equal(put_for(1), 1);
    reaper_release_leases(&reaper);
    world_heal();
    for (int i = 0; i < 3; i++) {
        sweep(&heir);
        world_pass(SECOND_MS);
    }
    assert_true(is_over());
    assert_int_equal(put_for(1), 1);
    assert_int_equal(put_for(2), 1);
    world_close_reaper(&heir);
}

static void many_runs_are_read_over_several_sweeps_and_pages(void **state)
{
    scripted_github.page_size = 30;
    for (int i = 1; i <= 100; i++) {
        (void)add_accepted(i, "queued", APP);
    }
    sweep_until_over();
    for (int i = 1; i <= 100; i++) {
        assert_int_equal(put_for(i), 1);
    }
}

static void is_slow(void)
{
    world_pass(10 * SECOND_MS); /* reaper.interval */
}

static void slow_github_leaves_the_rest_to_the_next_sweep(void **state)
{
    for (int i = 1; i <= 9; i++) {
        (void)add_accepted(i, "queued", APP);
    }
    world_happens("github_list_runs", NULL, 1, is_slow);
    world_sweep(2, SECOND_MS);
    size_t read = calls_count("github_list_run_jobs", NULL);
    assert_true(read < 9);
    sweep_until_over();
    assert_int_equal(calls_count("github_list_run_jobs", NULL), 9);
}

/* Nor one that is suspended, whose circuit is open: it is not asked either. */
static void installation_without_calls_keeps_no_other_waiting(void **state)
{
    scripted_github.page_size = 1;
    (void)add_accepted(1, "queued", APP);
    (void)add_accepted(3, "queued", APP);
    (void)add_accepted(2, "queued", SITE);
    scripted_github.deliveries[0].entry.installation_id = 22;
    scripted_github.refuses[GITHUB_RECONCILE] = true;
    scripted_github.refused_installation = 11;
    world_sweep(4, SECOND_MS);
    assert_int_equal(put_for(1) + put_for(3), 0);
    assert_int_equal(put_for(2), 1);
    assert_false(is_over());
    scripted_github.refuses[GITHUB_RECONCILE] = false;
    sweep_until_over();
    assert_int_equal(put_for(1), 1);
    assert_int_equal(put_for(2), 1);
    assert_int_equal(put_for(3), 1);
}

/* The second reading goes on where the first one stopped. */
static void run_out_of_calls(void)
{
    scripted_github.refuses[GITHUB_RECONCILE] = true;
}

static void lists_that_were_begun_are_not_read_again(void **state)
{
    (void)add_accepted(1, "queued", APP);
    (void)add_accepted(2, "queued", SITE);
    world_happens("github_list_run_jobs", "repository=acme/app", 1, run_out_of_calls);
    world_sweep(4, SECOND_MS);
    size_t read = calls_count("github_list_runs", "repository=acme/app");
    assert_int_equal(read, 2);
    scripted_github.refuses[GITHUB_RECONCILE] = false;
    sweep_until_over();
    assert_int_equal(calls_count("github_list_runs", "repository=acme/app"), read);
    assert_int_equal(put_for(1), 1);
    assert_int_equal(put_for(2), 1);
}

/* An operator need not wait for what cannot be read. */
static void request_is_carried_out_while_another_recovery_lasts(void **state)
{
    struct err e;
    world_fail("github_list_runs", "repository=acme/site", ERR_RETRY);
    (void)add_accepted(1, "queued", SITE);
    world_sweep(3, SECOND_MS);
    assert_false(is_over());
    (void)add_accepted(2, "queued", APP);
    char value[32];
    (void)snprintf(value, sizeof value, "%lld", (long long)(world.now_ms - 2 * HOUR_MS));
    MUST(ledger_cell_put(world.ledger, LEDGER_KIND_RECOVERY, LEDGER_RECOVERY_REQUEST, value, 0,
                         NULL, &e));
    world_sweep(4, SECOND_MS);
    assert_int_equal(put_for(2), 1);
    assert_int_equal(cell(LEDGER_RECOVERY_REQUEST).version, 0);
}

static void refuse_lists(void)
{
    calls_plan(&(struct call_plan){
        .function = "github_list_runs", .fails = ERR_AUTH, .code = 403, .from = ERR_FROM_GITHUB});
}

static void deliveries_are_read_where_jobs_may_not_be_listed(void **state)
{
    refuse_lists();
    (void)deliver(1, APP, 10 * MINUTE_MS);
    (void)deliver(2, APP, 9 * MINUTE_MS);
    (void)scripted_github_add_delivery(2, "completed", 200, 8 * MINUTE_MS);
    (void)deliver(3, SITE, 2 * HOUR_MS); /* too old */
    sweep_until_over();
    assert_int_equal(calls_count("github_list_runs", NULL), 1);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 3);
    assert_int_equal(put_for(1), 1);
    assert_int_equal(put_for(2), 2); /* the launch, and the event that makes it needless */
    assert_int_equal(put_for(3), 0);
}

static void count_warning(void *ctx, struct slice line)
{
    int *n = ctx;
    *n += memmem(line.ptr, line.len, "\"job_list_failed\"", 17) != NULL &&
                  memmem(line.ptr, line.len, "\"warn\"", 6) != NULL
              ? 1
              : 0;
}

/* Each sweep tries it again. */
static void repository_that_cannot_be_read_is_warned_of_once_for_each_reason(void **state)
{
    int warnings = 0;
    (void)add_accepted(1, "queued", APP);
    log_set_writer(count_warning, &warnings);
    log_set_level(LOG_WARN);
    world_fail("github_list_runs", NULL, ERR_RETRY);
    world_sweep(10, MINUTE_MS);
    assert_true(calls_count("github_list_runs", NULL) > 2);
    assert_int_equal(warnings, 1);
    world_heal();
    world_fail("github_list_runs", NULL, ERR_AUTH);
    world_sweep(10, MINUTE_MS);
    assert_int_equal(warnings, 2);
    world_heal();
    sweep_until_over();
    assert_int_equal(put_for(1), 1);
    world_fail("github_list_runs", NULL, ERR_RETRY);
    empty_ledger(); /* another recovery */
    world_sweep(10, MINUTE_MS);
    log_set_writer(NULL, NULL);
    log_set_level(LOG_ERROR);
    assert_int_equal(warnings, 3);
    world_heal();
}

static void without_a_log_it_ends_at_once(void **state)
{
    scripted_github.has_hook = false;
    (void)add_accepted(1, "queued", APP);
    world_sweep(1, SECOND_MS);
    assert_true(is_over());
    assert_int_equal(world_puts(), 0);
}

#define WITH_LOG(name) cmocka_unit_test_setup_teardown(name, set_up_with_a_log, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(jobs_whose_deliveries_were_accepted_are_read_from_github),
        WITH_LOG(ledger_that_is_complete_is_left_alone),
        WITH_LOG(ledger_that_was_emptied_is_recovered_once_more),
        WITH_LOG(ledger_that_went_back_is_recovered),
        WITH_LOG(ledger_that_was_not_in_use_is_recovered_since_then),
        WITH_LOG(operator_asks_for_a_longer_time),
        WITH_LOG(request_that_is_on_its_lane_still_is_not_put_again),
        WITH_LOG(jobs_that_are_held_back_or_of_public_repositories_get_no_vm),
        WITH_LOG(another_reaper_goes_on),
        WITH_LOG(many_runs_are_read_over_several_sweeps_and_pages),
        WITH_LOG(slow_github_leaves_the_rest_to_the_next_sweep),
        WITH_LOG(installation_without_calls_keeps_no_other_waiting),
        WITH_LOG(lists_that_were_begun_are_not_read_again),
        WITH_LOG(request_is_carried_out_while_another_recovery_lasts),
        WITH_LOG(deliveries_are_read_where_jobs_may_not_be_listed),
        WITH_LOG(repository_that_cannot_be_read_is_warned_of_once_for_each_reason),
        WITH_LOG(without_a_log_it_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
