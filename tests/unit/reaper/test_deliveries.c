/*
 * Lost deliveries: which entries of GitHub's log are recovered, how often, and at what cost.
 */
#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

#define CALLS 12

const char world_config[] =
    WORLD_CONFIG("\"reaper\": {\"relaunch_after\": \"2h\", \"deliveries\": {\"interval\": \"1m\","
                 " \"initial_lookback\": \"1h\", \"overlap\": \"2m\", \"calls_per_sweep\": 12}}",
                 WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\""));

/* Sweeps a minute apart, so that each begins a reading or goes on with one. */
static void sweep_by_the_minute(int n)
{
    world_sweep(n, MINUTE_MS + 1);
}

static int set_up_with_a_log(void **state)
{
    (void)world_set_up(state);
    world_set_recovered();
    scripted_github.has_hook = true;
    return 0;
}

/* Of GitHub. */
static int calls(void)
{
    const char *const functions[] = {"github_list_deliveries", "github_delivery_payload",
                                     "github_redeliver", "github_get_job"};
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        n += calls_count(functions[i], NULL);
    }
    return (int)n;
}

static void add_job_that_is_over(int64_t id)
{
    struct ledger_job *job = world_add_job(id, "completed");
    job->state = JOB_DONE;
    job->ended_ms = clock_wall_ms();
}

static void failed_deliveries_go_to_their_lanes_once(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, 3 * MINUTE_MS);
    (void)scripted_github_add_delivery(2, "queued", 202, 2 * MINUTE_MS);
    (void)scripted_github_add_delivery(1, "completed", 0, MINUTE_MS);
    sweep_by_the_minute(6);
    assert_int_equal(world_puts(), 2);
    assert_string_equal(world_put(0, "lane"), "launch.small"); /* the older one first */
    assert_non_null(strstr(calls_args("queue_put", NULL, 1), " n=2 {lane=launch.small key=1 "));
    assert_non_null(strstr(calls_args("queue_put", NULL, 1), " {lane=events key=1 "));
    assert_string_equal(world_put(1, "lane"), "events");
    assert_int_equal(world_puts_for(1), 2);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 2);
}

static void delivery_that_succeeded_later_is_left_alone(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, 3 * MINUTE_MS);
    scripted_github_add_delivery(1, "queued", 202, MINUTE_MS)->entry.redelivery = true;
    sweep_by_the_minute(3);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 0);
}

static void delivery_that_failed_again_is_recovered_once(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, 3 * MINUTE_MS);
    scripted_github_add_delivery(1, "queued", 502, MINUTE_MS)->entry.redelivery = true;
    sweep_by_the_minute(3);
    assert_int_equal(world_puts(), 1);
}

static void other_events_and_other_labels_are_left_alone(void **state)
{
    struct scripted_delivery *d = scripted_github_add_delivery(1, "queued", 503, MINUTE_MS);
    memcpy(d->entry.event, "ping", 5);
    d = scripted_github_add_delivery(2, "queued", 503, MINUTE_MS);
    memcpy(strstr(d->payload, "self-hosted"), "gpu-hosting", 11);
    sweep_by_the_minute(4);
    assert_int_equal(world_puts(), 0);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 1); /* of the second, once */
}

static void first_reading_looks_back_no_further_than_its_window(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, HOUR_MS + MINUTE_MS);
    (void)scripted_github_add_delivery(2, "queued", 503, HOUR_MS - MINUTE_MS);
    sweep_by_the_minute(1);
    assert_int_equal(world_puts_for(1), 0);
    assert_int_equal(world_puts_for(2), 1);
}

static void later_reading_goes_back_to_the_mark_and_at_most_three_days(void **state)
{
    world_set_mark(world.now_ms - 100 * HOUR_MS);
    (void)scripted_github_add_delivery(1, "queued", 503, 73 * HOUR_MS);
    (void)scripted_github_add_delivery(2, "queued", 503, 71 * HOUR_MS);
    (void)scripted_github_add_delivery(3, "queued", 202, MINUTE_MS);
    int64_t newest = scripted_github.deliveries[0].entry.delivered_ms;
    sweep_by_the_minute(1);
    assert_int_equal(world_puts_for(1), 0);
    assert_int_equal(world_puts_for(2), 1);
    assert_int_equal(world_mark(), newest);
    /* One that appears late, within the margin, is still found. */
    scripted_github_add_delivery(4, "queued", 503, 0)->entry.delivered_ms = newest - MINUTE_MS;
    scripted_github_add_delivery(5, "queued", 503, 0)->entry.delivered_ms = newest - 3 * MINUTE_MS;
    sweep_by_the_minute(1);
    assert_int_equal(world_puts_for(4), 1);
    assert_int_equal(world_puts_for(5), 0);
}

static void long_log_is_read_page_by_page(void **state)
{
    for (int i = 1; i <= 350; i++) {
        (void)scripted_github_add_delivery(i, "queued", i % 100 == 0 ? 503 : 202, (360 - i) * 1000);
    }
    sweep_by_the_minute(1);
    assert_int_equal(calls_count("github_list_deliveries", NULL), 4);
    assert_int_equal(world_puts(), 3);
}

static void each_sweep_keeps_within_its_calls(void **state)
{
    for (int i = 1; i <= 130; i++) {
        (void)scripted_github_add_delivery(i, "queued", 503, (200 - i) * 1000);
    }
    for (int i = 0; i < 20; i++) {
        int before = calls();
        sweep(&reaper);
        world_pass(10);
        assert_true(calls() - before <= CALLS);
    }
    assert_int_equal(world_puts(), 130);
    for (int i = 1; i <= 130; i++) {
        assert_int_equal(world_puts_for(i), 1);
    }
}

/* A payload that is refused costs a second call, which counts as well; the last one may be one too
 * many. */
static void each_sweep_keeps_within_its_calls_when_github_has_to_deliver_again(void **state)
{
    for (int i = 1; i <= 30; i++) {
        scripted_github_add_delivery(i, "queued", 503, (200 - i) * 1000)->payload_fails = ERR_AUTH;
    }
    for (int i = 0; i < 10; i++) {
        int before = calls();
        sweep(&reaper);
        world_pass(10);
        assert_true(calls() - before <= CALLS + 1);
    }
    assert_int_equal(calls_count("github_redeliver", NULL), 30);
}

static void page_longer_than_asked_for_is_read_in_parts(void **state)
{
    scripted_github.page_size = 130;
    for (int i = 1; i <= 150; i++) {
        (void)scripted_github_add_delivery(i, "queued", 503, (200 - i) * 1000);
    }
    sweep_by_the_minute(30);
    assert_int_equal(world_puts(), 150);
    for (int i = 1; i <= 150; i++) {
        assert_int_equal(world_puts_for(i), 1);
    }
}

static void delivery_of_a_job_that_is_over_is_looked_at_once(void **state)
{
    add_job_that_is_over(1);
    (void)scripted_github_add_delivery(1, "queued", 503, 0);
    (void)scripted_github_add_delivery(2, "queued", 202, 0);
    sweep(&reaper);
    world_pass(MINUTE_MS + 1);
    (void)scripted_github_add_delivery(3, "queued", 202,
                                       0); /* the margin reaches back behind the first */
    sweep_by_the_minute(2);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 1);
    assert_int_equal(world_puts(), 0);
}

/* What was dealt with is remembered by this process; the next holder may deal with it once more,
 * and only as far back as the margin. */
static void another_reaper_recovers_what_lies_within_the_margin_again(void **state)
{
    static struct reaper heir;
    world_add_reaper(&heir, world_config, "two");
    (void)scripted_github_add_delivery(1, "queued", 503, 5 * MINUTE_MS);
    (void)scripted_github_add_delivery(2, "queued", 503, MINUTE_MS);
    (void)scripted_github_add_delivery(3, "queued", 202, 0);
    sweep(&reaper);
    world_pass(MINUTE_MS);
    sweep(&reaper);
    assert_int_equal(world_puts(), 2);
    reaper_release_leases(&reaper);
    sweep(&heir);
    assert_int_equal(world_puts_for(1), 1);
    assert_int_equal(world_puts_for(2), 2);
    world_pass(MINUTE_MS + 1);
    sweep(&heir);
    assert_int_equal(world_puts(), 3);
    world_close_reaper(&heir);
}

static void what_fails_during_a_reading_is_the_next_ones(void **state)
{
    for (int i = 1; i <= 30; i++) {
        (void)scripted_github_add_delivery(i, "queued", 503, (200 - i) * 1000);
    }
    for (int i = 31; i <= 130; i += 10) {
        sweep(&reaper);
        for (int k = i; k < i + 10; k++) {
            world_pass(10);
            (void)scripted_github_add_delivery(k, "queued", 503, 0);
        }
    }
    assert_true(world_mark() > 0); /* the first reading has come to its end all the same */
    sweep_by_the_minute(20);
    assert_int_equal(world_puts(), 130);
}

static void payload_refused_is_asked_for_again_once_for_each_attempt(void **state)
{
    scripted_github_add_delivery(1, "queued", 503, 2 * MINUTE_MS)->payload_fails = ERR_AUTH;
    sweep_by_the_minute(3);
    assert_int_equal(calls_count("github_redeliver", NULL), 1);
    assert_int_equal(world_puts(), 0);
    struct scripted_delivery *again = scripted_github_add_delivery(1, "queued", 503, 0);
    again->entry.redelivery = true;
    again->payload_fails = ERR_AUTH;
    sweep_by_the_minute(3);
    assert_int_equal(calls_count("github_redeliver", NULL), 2);
}

static void payload_and_redelivery_refused_is_told_and_left(void **state)
{
    struct scripted_delivery *d = scripted_github_add_delivery(1, "queued", 503, MINUTE_MS);
    d->payload_fails = ERR_NOT_FOUND;
    d->redeliver_fails = ERR_AUTH;
    sweep_by_the_minute(5);
    assert_int_equal(calls_count("github_redeliver", NULL), 1);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 1);
    assert_int_equal(world_mark(), scripted_github.deliveries[0].entry.delivered_ms);
}

static void one_that_cannot_be_had_now_keeps_the_mark_and_stops_no_other(void **state)
{
    scripted_github_add_delivery(1, "queued", 503, 20 * MINUTE_MS)->payload_fails = ERR_RETRY;
    (void)scripted_github_add_delivery(2, "queued", 503, 10 * MINUTE_MS);
    int64_t missed_ms = scripted_github.deliveries[1].entry.delivered_ms;
    sweep_by_the_minute(5);
    assert_int_equal(world_puts_for(2), 1);
    assert_int_equal(world_mark(), missed_ms);
    scripted_github.deliveries[1].payload_fails = ERR_NONE;
    sweep_by_the_minute(2);
    assert_int_equal(world_puts_for(1), 1);
    assert_int_equal(world_puts_for(2), 1);
    assert_true(world_mark() > missed_ms);
}

static void limit_of_github_ends_the_sweeps_part(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, 20 * MINUTE_MS);
    (void)scripted_github_add_delivery(2, "queued", 503, 3 * MINUTE_MS);
    scripted_github.deliveries[0].payload_fails = ERR_THROTTLED;
    scripted_github.deliveries[1].payload_fails = ERR_THROTTLED;
    sweep_by_the_minute(1);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 1);
    scripted_github.deliveries[0].payload_fails = ERR_NONE;
    scripted_github.deliveries[1].payload_fails = ERR_NONE;
    sweep_by_the_minute(1);
    assert_int_equal(world_puts(), 2);
}

static void is_slow(void)
{
    world_pass(10 * 1000); /* reaper.interval */
}

static void slow_github_leaves_the_rest_to_the_next_sweep(void **state)
{
    for (int64_t i = 1; i <= 9; i++) {
        (void)scripted_github_add_delivery(i, "queued", 503, MINUTE_MS);
    }
    world_happens("github_delivery_payload", NULL, 1, is_slow);
    sweep_by_the_minute(1);
    assert_int_equal(calls(), 4);
    assert_int_equal(world_mark(), 0); /* the reading goes on */
    sweep_by_the_minute(1);
    assert_int_equal(world_puts(), 9);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 9);
    assert_true(world_mark() > 0);
}

static void queue_that_is_down_loses_nothing(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, MINUTE_MS);
    world_fail("queue_put", NULL, ERR_RETRY);
    sweep_by_the_minute(3);
    world_heal();
    sweep_by_the_minute(3);
    assert_int_equal(world_puts_for(1), 1);
}

static void log_that_cannot_be_read_is_read_later(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 503, MINUTE_MS);
    world_fail("github_list_deliveries", NULL, ERR_RETRY);
    sweep_by_the_minute(2);
    assert_int_equal(world_mark(), 0);
    world_heal();
    sweep_by_the_minute(2);
    assert_int_equal(world_puts_for(1), 1);
}

static void job_that_is_over_or_runs_is_launched_for_no_more(void **state)
{
    add_job_that_is_over(1);
    (void)scripted_github_add_delivery(1, "queued", 503, 5 * MINUTE_MS);
    world_set_mark(world.now_ms - 5 * HOUR_MS);
    (void)scripted_github_add_job(2, "completed");
    (void)scripted_github_add_job(3, "queued");
    (void)scripted_github_add_delivery(2, "queued", 503, 4 * HOUR_MS);
    (void)scripted_github_add_delivery(3, "queued", 503, 3 * HOUR_MS);
    sweep_by_the_minute(3);
    assert_int_equal(world_puts_for(1), 0);
    assert_int_equal(world_puts_for(2), 0);
    assert_int_equal(world_puts_for(3), 1);
    assert_int_equal(calls_count("github_get_job", NULL), 2);
}

static void job_of_a_public_repository_is_recovered_only_if_allowed(void **state)
{
    struct scripted_delivery *d = scripted_github_add_delivery(1, "queued", 503, 2 * MINUTE_MS);
    char *at = strstr(d->payload, "\"private\":true");
    assert_non_null(at);
    memcpy(at, "\"private\":null", 14);
    (void)scripted_github_add_delivery(2, "queued", 503, MINUTE_MS);
    sweep_by_the_minute(3);
    assert_int_equal(world_puts_for(1), 0);
    assert_int_equal(world_puts_for(2), 1);
    assert_int_equal(calls_count("github_delivery_payload", NULL), 2); /* once, not every minute */
}

static void without_a_log_to_read_nothing_is_asked(void **state)
{
    scripted_github.has_hook = false;
    (void)scripted_github_add_delivery(1, "queued", 503, MINUTE_MS);
    sweep_by_the_minute(3);
    assert_int_equal(calls(), 0);
}

static void quiet_log_costs_one_call_in_an_interval(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 202, MINUTE_MS);
    for (int i = 0; i < 60; i++) {
        sweep(&reaper);
        world_pass(10 * 1000);
    }
    assert_int_equal(calls(), 10);
}

/* A worker saw an event whose predecessor is missing. */
static void missing_delivery_is_looked_for_in_the_next_sweep(void **state)
{
    struct err e = {0};
    int64_t count = 0;
    (void)scripted_github_add_delivery(1, "queued", 202, MINUTE_MS);
    sweep(&reaper);
    for (int i = 1; i <= 3; i++) {
        world_pass(10 * SECOND_MS);
        sweep(&reaper);
        assert_int_equal(calls(), i);
        MUST(ledger_counter_add(reaper.ledger, LEDGER_COUNTER_GAPS, 1, &count, &e));
        world_pass(SECOND_MS);
        sweep(&reaper);
        assert_int_equal(calls(), i + 1);
    }
}

static void recovered_job_waits_since_it_was_delivered(void **state)
{
    char received[40];
    int64_t delivered_ms = clock_wall_ms() - 3 * MINUTE_MS;
    (void)scripted_github_add_delivery(1, "queued", 503, 3 * MINUTE_MS);
    sweep(&reaper);
    assert_true(world_puts_for(1) > 0);
    (void)snprintf(received, sizeof received, "\"requested_ms\":%lld", (long long)delivered_ms);
    assert_int_equal(calls_count("queue_put", received), 1);
    (void)snprintf(received, sizeof received, "\"received_ms\":%lld", (long long)delivered_ms);
    assert_int_equal(calls_count("queue_put", received), 1);
}

static void new_holder_of_the_lease_begins_at_the_mark(void **state)
{
    for (int i = 1; i <= 30; i++) {
        (void)scripted_github_add_delivery(i, "queued", 503, (200 - i) * 1000);
    }
    sweep(&reaper); /* begins a reading, and does not come to its end */
    assert_true(reaper.walk.under_way);
    world_set_mark(scripted_github.deliveries[0].entry.delivered_ms); /* another one did */
    world_take_lease("sweep");                                        /* another one did */
    world_give_leases_back();
    int before = world_puts();
    sweep(&reaper);
    /* Its own pass is dropped: it would continue with stale data. */
    assert_int_equal(reaper.walk.fence, reaper.fleet_signs.fence);
    assert_int_equal(reaper.walk.until_ms, world_mark() - 2 * MINUTE_MS);
    assert_true(world_puts() > before);
}

#define WITH_LOG(name) cmocka_unit_test_setup_teardown(name, set_up_with_a_log, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(failed_deliveries_go_to_their_lanes_once),
        WITH_LOG(delivery_that_succeeded_later_is_left_alone),
        WITH_LOG(delivery_that_failed_again_is_recovered_once),
        WITH_LOG(other_events_and_other_labels_are_left_alone),
        WITH_LOG(first_reading_looks_back_no_further_than_its_window),
        WITH_LOG(later_reading_goes_back_to_the_mark_and_at_most_three_days),
        WITH_LOG(long_log_is_read_page_by_page),
        WITH_LOG(each_sweep_keeps_within_its_calls),
        WITH_LOG(each_sweep_keeps_within_its_calls_when_github_has_to_deliver_again),
        WITH_LOG(page_longer_than_asked_for_is_read_in_parts),
        WITH_LOG(delivery_of_a_job_that_is_over_is_looked_at_once),
        WITH_LOG(another_reaper_recovers_what_lies_within_the_margin_again),
        WITH_LOG(what_fails_during_a_reading_is_the_next_ones),
        WITH_LOG(payload_refused_is_asked_for_again_once_for_each_attempt),
        WITH_LOG(payload_and_redelivery_refused_is_told_and_left),
        WITH_LOG(one_that_cannot_be_had_now_keeps_the_mark_and_stops_no_other),
        WITH_LOG(limit_of_github_ends_the_sweeps_part),
        WITH_LOG(slow_github_leaves_the_rest_to_the_next_sweep),
        WITH_LOG(queue_that_is_down_loses_nothing),
        WITH_LOG(log_that_cannot_be_read_is_read_later),
        WITH_LOG(job_that_is_over_or_runs_is_launched_for_no_more),
        WITH_LOG(job_of_a_public_repository_is_recovered_only_if_allowed),
        WITH_LOG(without_a_log_to_read_nothing_is_asked),
        WITH_LOG(quiet_log_costs_one_call_in_an_interval),
        WITH_LOG(missing_delivery_is_looked_for_in_the_next_sweep),
        WITH_LOG(recovered_job_waits_since_it_was_delivered),
        WITH_LOG(new_holder_of_the_lease_begins_at_the_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
