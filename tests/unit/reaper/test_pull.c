/*
 * Pulling: which deliveries of GitHub's log are fetched, how often, in which order, and that none is lost or
 * handled twice whatever fails and whoever dies.
 */
#include <stdlib.h>

#include "common/ledger/kinds.h"
#include "reaper/pull/internal.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

#define INTERVAL_MS 5000
#define OVERLAP_MS (2 * MINUTE_MS)

const char world_config[] =
    "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\", \"github\": "
    "{\"token\": \"x\", \"hook\": {\"id\": 7, \"organization\": \"acme\"}, "
    "\"pull\": {\"interval\": \"5s\"}}, "
    "\"reaper\": {\"relaunch_after\": \"1h\", "
    "\"deliveries\": {\"initial_lookback\": \"1h\", \"overlap\": \"2m\"}}, \"classes\": "
    "[" WORLD_SMALL("\"max_vms\": 4, \"max_duration\": \"1h\"") "]}";

static struct pull *pull;
static struct reaper heir;

/* calls.h serves one thread. */
static struct pull *new_pull(struct reaper *r)
{
    struct pull *p = pull_new(r);
    assert_non_null(p);
    p->fetch_threads = 1;
    return p;
}

static int set_up_with_a_log(void **state)
{
    (void)world_set_up(state);
    world_set_recovered();
    scripted_github.has_hook = true;
    pull = new_pull(&reaper);
    return 0;
}

static int tear_down_pull(void **state)
{
    pull_free(pull);
    return world_tear_down(state);
}

/* As the thread would, for so long. */
static void turn_for(struct pull *p, int64_t ms)
{
    int64_t end_ms = world.now_ms + ms;
    while (world.now_ms <= end_ms) {
        int64_t wait_ms = pull_turn(p);
        world_pass(wait_ms > 0 ? wait_ms : 1);
    }
}

/* Another process takes over: this one died. */
static void die_and_inherit(void)
{
    pull_free(pull);
    world_add_reaper(&heir, world_config, "two");
    pull = new_pull(&heir);
    world_pass(10 * MINUTE_MS);
}

static void end_heir(void)
{
    pull_free(pull);
    world_close_reaper(&heir);
    pull = NULL;
}

static int payloads(void)
{
    return (int)calls_count("github_delivery_payload", NULL);
}

static int lists(void)
{
    return (int)calls_count("github_list_deliveries", NULL);
}

/* Deliveries of jobs `from` to `to`, a second apart, the last one `age_ms` ago. */
static void add_queued(int from, int to, int64_t age_ms)
{
    for (int i = from; i <= to; i++) {
        (void)scripted_github_add_delivery(i, "queued", 502, age_ms + (to - i) * SECOND_MS);
    }
}

/* How many launch requests of that job are on the queue. */
static int requests_of(int job)
{
    struct queue_entry *found = NULL;
    size_t n = 0;
    int requests = 0;
    char key[16];
    struct err e;
    (void)snprintf(key, sizeof key, "%d", job);
    MUST(queue_find(world.queue, key, 100, &found, &n, &e));
    for (size_t i = 0; i < n; i++) {
        requests += strcmp(found[i].message.lane, "launch.small") == 0;
    }
    queue_entries_free(found, n);
    return requests;
}

static void assert_put_once(int from, int to)
{
    for (int i = from; i <= to; i++) {
        assert_int_equal(requests_of(i), 1);
    }
}

/* --- what is fetched --- */

static void deliveries_that_nobody_accepted_are_pulled_once_in_their_order(void **state)
{
    add_queued(1, 3, MINUTE_MS);
    (void)scripted_github_add_delivery(1, "completed", 0, SECOND_MS);
    turn_for(pull, MINUTE_MS);
    assert_int_equal(payloads(), 4);
    assert_int_equal(calls_count("queue_put", NULL), 1); /* one batch */
    const char *put = calls_args("queue_put", NULL, 1);
    const char *first = strstr(put, "{lane=launch.small key=1 ");
    const char *third = strstr(put, "{lane=launch.small key=3 ");
    assert_true(first != NULL && third != NULL && first < third);
    assert_non_null(strstr(third, "{lane=events key=1 "));
}

static void accepted_ones_and_other_events_are_left_alone(void **state)
{
    (void)scripted_github_add_delivery(1, "queued", 202, MINUTE_MS);
    memcpy(scripted_github_add_delivery(2, "queued", 502, MINUTE_MS)->entry.event, "ping", 5);
    memcpy(scripted_github_add_delivery(3, "queued", 502, MINUTE_MS)->entry.action, "newest", 7);
    (void)scripted_github_add_delivery(4, "queued", 502, 2 * MINUTE_MS);
    scripted_github_add_delivery(4, "queued", 202, MINUTE_MS)->entry.redelivery = true;
    turn_for(pull, MINUTE_MS);
    assert_int_equal(payloads(), 0);
    assert_int_equal(calls_count("queue_put", NULL), 0);
}

static void redelivery_of_what_was_pulled_is_not_fetched_again(void **state)
{
    add_queued(1, 1, MINUTE_MS);
    turn_for(pull, 10 * SECOND_MS);
    scripted_github_add_delivery(1, "queued", 502, 0)->entry.redelivery = true;
    turn_for(pull, 5 * MINUTE_MS);
    assert_int_equal(payloads(), 1);
    assert_put_once(1, 1);
}

static void job_of_other_labels_is_fetched_once_and_ignored(void **state)
{
    struct scripted_delivery *d = scripted_github_add_delivery(1, "queued", 502, MINUTE_MS);
    memcpy(strstr(d->payload, "self-hosted"), "gpu-hosting", 11);
    turn_for(pull, MINUTE_MS);
    assert_int_equal(payloads(), 1);
    assert_int_equal(calls_count("queue_put", NULL), 0);
}

static void first_reading_looks_back_no_further_than_its_window(void **state)
{
    add_queued(1, 1, HOUR_MS + MINUTE_MS);
    add_queued(2, 2, 50 * MINUTE_MS);
    turn_for(pull, MINUTE_MS);
    assert_int_equal(requests_of(1), 0);
    assert_put_once(2, 2);
}

/* --- what it costs --- */

static void quiet_log_costs_a_call_for_each_interval(void **state)
{
    add_queued(1, 5, MINUTE_MS);
    turn_for(pull, SECOND_MS);
    int before = lists();
    turn_for(pull, 10 * MINUTE_MS);
    assert_in_range(lists() - before, 10 * MINUTE_MS / INTERVAL_MS - 2,
                    10 * MINUTE_MS / INTERVAL_MS + 1);
    assert_int_equal(payloads(), 5);
}

static void long_log_is_read_page_by_page_and_then_no_more(void **state)
{
    add_queued(1, 350, MINUTE_MS);
    turn_for(pull, SECOND_MS);
    assert_int_equal(lists(), 4);
    turn_for(pull, INTERVAL_MS);
    assert_int_equal(payloads(), 350);
    assert_put_once(1, 350);
    turn_for(pull, INTERVAL_MS);
    assert_in_range(lists(), 6, 8); /* one page in each interval */
}

/* 150 newer ones stand before it: a page does not reach back to it, a deep reading does. */
static void entry_that_appears_late_is_found(void **state)
{
    add_queued(1, 1, 0);
    turn_for(pull, 10 * SECOND_MS);
    int64_t now_ms = world.now_ms;
    for (int i = 3; i <= 152; i++) {
        scripted_github_add_delivery(i, "queued", 502, 0)->entry.delivered_ms = now_ms + i;
    }
    turn_for(pull, 10 * SECOND_MS);
    (void)scripted_github_add_delivery(2, "queued", 502,
                                       0); /* and now to its place, above the first */
    struct scripted_delivery late = scripted_github.deliveries[0];
    late.entry.delivered_ms = now_ms - SECOND_MS;
    memmove(&scripted_github.deliveries[0], &scripted_github.deliveries[1], 150 * sizeof late);
    scripted_github.deliveries[150] = late;
    turn_for(pull, OVERLAP_MS);
    assert_put_once(2, 2);
    assert_put_once(3, 152);
}

static void limit_of_github_spreads_the_calls(void **state)
{
    add_queued(1, 20, MINUTE_MS);
    scripted_github.intake_pause_ms = 2 * SECOND_MS;
    turn_for(pull, 20 * SECOND_MS);
    assert_in_range(payloads() + lists(), 9, 12);
    scripted_github.intake_ends = true;
    int before = payloads() + lists();
    turn_for(pull, 20 * SECOND_MS);
    assert_int_equal(payloads() + lists(), before);
    scripted_github.intake_ends = false;
    scripted_github.intake_pause_ms = 0;
    turn_for(pull, 10 * SECOND_MS);
    assert_int_equal(payloads(), 20);
    assert_put_once(1, 20);
}

/* --- trouble --- */

static void github_away_for_an_hour_costs_time_alone(void **state)
{
    add_queued(1, 5, MINUTE_MS);
    turn_for(pull, 10 * SECOND_MS);
    world_fail("github_list_deliveries", NULL, ERR_RETRY);
    int before = lists();
    add_queued(6, 100, 0);
    turn_for(pull, HOUR_MS);
    assert_in_range(lists() - before, 110, 300); /* two to four a minute */
    struct ledger_cell notice;
    struct err e;
    MUST(ledger_cell_get(world.ledger, LEDGER_KIND_NOTICE, "pull: GitHub's delivery log", &notice,
                         &e));
    assert_true(notice.version > 0);
    world_heal();
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 100);
    assert_int_equal(payloads(), 100);
    MUST(ledger_cell_get(world.ledger, LEDGER_KIND_NOTICE, "pull: GitHub's delivery log", &notice,
                         &e));
    assert_int_equal(notice.version, 0);
}

static void reading_that_is_interrupted_goes_on_where_it_was(void **state)
{
    add_queued(1, 350, MINUTE_MS);
    world_fail("github_list_deliveries", "cursor=2", ERR_RETRY); /* from the second page on */
    turn_for(pull, 10 * SECOND_MS);
    assert_int_equal(world_mark(), 0);
    world_heal();
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 350);
    assert_int_equal(calls_done("github_list_deliveries", "cursor= ") +
                             calls_done("github_list_deliveries", "cursor=2") >
                         0,
                     1);
}

static void payload_that_cannot_be_had_now_keeps_the_mark_and_stops_no_other(void **state)
{
    add_queued(1, 20, MINUTE_MS);
    struct scripted_delivery *oldest = &scripted_github.deliveries[19];
    oldest->payload_fails = ERR_RETRY;
    turn_for(pull, HOUR_MS / 2);
    assert_put_once(2, 20);
    assert_true(world_mark() < oldest->entry.delivered_ms);
    oldest->payload_fails = ERR_NONE;
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 20);
    assert_true(world_mark() > oldest->entry.delivered_ms);
}

static void payload_that_github_refuses_is_given_up_and_stops_no_other(void **state)
{
    add_queued(1, 20, MINUTE_MS);
    scripted_github.deliveries[19].payload_fails = ERR_NOT_FOUND;
    int64_t newest_ms = scripted_github.deliveries[0].entry.delivered_ms;
    turn_for(pull, 5 * SECOND_MS);
    assert_put_once(2, 20);
    turn_for(pull, 10 * MINUTE_MS);
    assert_int_equal(requests_of(1), 0);
    assert_int_equal(payloads(), 19 + 6);
    assert_int_equal(world_mark(), newest_ms);
}

static void credentials_that_are_refused_lose_no_delivery(void **state)
{
    add_queued(1, 3, MINUTE_MS);
    world_fail("github_delivery_payload", NULL, ERR_AUTH);
    turn_for(pull, HOUR_MS / 2);
    world_heal();
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 3);
}

static void queue_that_is_away_loses_nothing_and_doubles_nothing(void **state)
{
    add_queued(1, 20, MINUTE_MS);
    world_fail("queue_put", NULL, ERR_RETRY);
    turn_for(pull, 5 * MINUTE_MS);
    assert_int_equal(world_mark(), 0);
    world_heal();
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 20);
}

static void ledger_that_is_away_loses_nothing_and_doubles_nothing(void **state)
{
    add_queued(1, 20, MINUTE_MS);
    world_fail("ledger_cell_put", NULL, ERR_RETRY);
    turn_for(pull, 5 * MINUTE_MS);
    world_heal();
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 20);
    assert_int_equal(world_mark(), scripted_github.deliveries[0].entry.delivered_ms);
}

/* --- who dies, and who goes on --- */

static void another_reaper_goes_on_and_fetches_nothing_twice(void **state)
{
    add_queued(1, 30, MINUTE_MS);
    turn_for(pull, 10 * SECOND_MS);
    add_queued(31, 40, 0);
    die_and_inherit();
    turn_for(pull, MINUTE_MS);
    assert_int_equal(payloads(), 40);
    assert_put_once(1, 40);
    end_heir();
}

/* The queue has confirmed the batch, and its record was never written. */
static void batch_that_was_put_and_not_recorded_is_put_once(void **state)
{
    add_queued(1, 20, MINUTE_MS);
    world_fail("ledger_cell_put", LEDGER_KIND_PULLED, ERR_RETRY);
    (void)pull_turn(pull);
    int before = payloads();
    assert_int_equal(before, PULL_BATCH);
    world_heal();
    die_and_inherit();
    turn_for(pull, MINUTE_MS);
    assert_put_once(1, 20);
    assert_int_equal(payloads(), before + 20);
    end_heir();
}

/* Only one of two has the lease. */
static void second_reaper_waits(void **state)
{
    world_add_reaper(&heir, world_config, "two");
    struct pull *second = new_pull(&heir);
    add_queued(1, 30, MINUTE_MS);
    for (int i = 0; i < 60; i++) {
        int64_t a = pull_turn(pull);
        int64_t b = pull_turn(second);
        world_pass(a < b ? a + 1 : b + 1);
    }
    assert_int_equal(payloads(), 30);
    assert_put_once(1, 30);
    assert_false(second->held);
    pull_free(second);
    world_close_reaper(&heir);
}

static void freeze(void)
{
    world_pass(10 * MINUTE_MS);
    world_take_lease("pull");
}

/* It was frozen while it fetched, and another one has gone on. */
static void reaper_that_lost_its_lease_puts_nothing(void **state)
{
    add_queued(1, 3, MINUTE_MS);
    world_happens("github_delivery_payload", NULL, 1, freeze);
    turn_for(pull, MINUTE_MS);
    assert_int_equal(calls_count("queue_put", NULL), 0);
    struct err e;
    MUST(ledger_lease_release(world.ledger, "pull", "another", &e));
    turn_for(pull, 2 * MINUTE_MS);
    assert_put_once(1, 3);
}

static size_t records(void)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_cell_list(world.ledger, LEDGER_KIND_PULLED, &cells, &n, &e));
    free(cells);
    return n;
}

static void records_are_removed_when_the_mark_has_passed_them(void **state)
{
    for (int i = 1; i <= 200; i += 10) {
        add_queued(i, i + 9, 0);
        turn_for(pull, MINUTE_MS);
    }
    assert_in_range(records(), 2, 10);
    assert_put_once(1, 200);
}

/* --- beside the rest of the reaper --- */

static void sweeps_leave_failed_deliveries_and_the_mark_to_pulling(void **state)
{
    add_queued(1, 3, MINUTE_MS);
    world_sweep(5, MINUTE_MS);
    assert_int_equal(lists() + payloads(), 0);
    assert_int_equal(world_mark(), 0);
    assert_int_equal(calls_count("github_redeliver", NULL), 0);
}

static void old_job_that_no_longer_waits_gets_no_vm(void **state)
{
    world_set_mark(world.now_ms - 5 * HOUR_MS);
    (void)scripted_github_add_job(1, "completed");
    (void)scripted_github_add_job(2, "queued");
    add_queued(1, 2, 3 * HOUR_MS);
    turn_for(pull, MINUTE_MS);
    assert_int_equal(requests_of(1), 0);
    assert_put_once(2, 2);
}

static void no_room_for_all_of_a_log_loses_none(void **state)
{
    struct seen s;
    struct github_delivery d = {.id = 1};
    seen_init(&s);
    for (int64_t i = SEEN_WAITING_MAX + 5; i > 0; i--) { /* the newest first */
        d.id = i;
        d.delivered_ms = i;
        (void)snprintf(d.guid, sizeof d.guid, "%lld", (long long)i);
        seen_add(&s, &d, false);
    }
    seen_sort(&s);
    assert_int_equal(s.waiting_count, SEEN_WAITING_MAX);
    assert_int_equal(seen_oldest_ms(&s), 1);
    assert_int_equal(s.dropped_ms, SEEN_WAITING_MAX + 1);
    seen_fini(&s);
}

#define PULL_CASE(name) cmocka_unit_test_setup_teardown(name, set_up_with_a_log, tear_down_pull)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PULL_CASE(deliveries_that_nobody_accepted_are_pulled_once_in_their_order),
        PULL_CASE(accepted_ones_and_other_events_are_left_alone),
        PULL_CASE(redelivery_of_what_was_pulled_is_not_fetched_again),
        PULL_CASE(job_of_other_labels_is_fetched_once_and_ignored),
        PULL_CASE(first_reading_looks_back_no_further_than_its_window),
        PULL_CASE(quiet_log_costs_a_call_for_each_interval),
        PULL_CASE(long_log_is_read_page_by_page_and_then_no_more),
        PULL_CASE(entry_that_appears_late_is_found),
        PULL_CASE(limit_of_github_spreads_the_calls),
        PULL_CASE(github_away_for_an_hour_costs_time_alone),
        PULL_CASE(reading_that_is_interrupted_goes_on_where_it_was),
        PULL_CASE(payload_that_cannot_be_had_now_keeps_the_mark_and_stops_no_other),
        PULL_CASE(payload_that_github_refuses_is_given_up_and_stops_no_other),
        PULL_CASE(credentials_that_are_refused_lose_no_delivery),
        PULL_CASE(queue_that_is_away_loses_nothing_and_doubles_nothing),
        PULL_CASE(ledger_that_is_away_loses_nothing_and_doubles_nothing),
        PULL_CASE(another_reaper_goes_on_and_fetches_nothing_twice),
        PULL_CASE(batch_that_was_put_and_not_recorded_is_put_once),
        PULL_CASE(second_reaper_waits),
        PULL_CASE(reaper_that_lost_its_lease_puts_nothing),
        PULL_CASE(records_are_removed_when_the_mark_has_passed_them),
        PULL_CASE(sweeps_leave_failed_deliveries_and_the_mark_to_pulling),
        PULL_CASE(old_job_that_no_longer_waits_gets_no_vm),
        PULL_CASE(no_room_for_all_of_a_log_loses_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
