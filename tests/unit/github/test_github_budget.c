/* The budget of reconciling, and the limits of registrations. */
#include "common/github/budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/github/github_fixture.h"

#define RUNNER "GET /orgs/acme/actions/runners/1"
#define RUNNER_BODY "{\"id\":1,\"name\":\"mf-1\",\"status\":\"online\",\"busy\":false}"
#define LIST "GET /orgs/acme/actions/runners?"
#define JITCONFIG "POST /orgs/acme/actions/runners/generate-jitconfig"

static char label[] = "small";
static char *label_items[] = {label};
static const struct config_list labels = {label_items, 1};

/* GitHub reports that limit, and what remains until its window ends `ends_in_s` from now. */
static void hear(struct fixture *f, int limit, int remaining, int64_t ends_in_s)
{
    struct err e;
    struct github_runner runner;
    char headers[256];
    struct github_scope s = fixture_org();
    (void)snprintf(headers, sizeof headers,
                   "X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\n"
                   "X-RateLimit-Reset: %" PRId64 "\r\nX-RateLimit-Resource: core\r\n",
                   limit, remaining, clock_wall_ms() / 1000 + ends_in_s);
    fixture_route(f, (struct route){RUNNER, 200, headers, RUNNER_BODY, 1});
    MUST(github_get_runner(f->github, &s, 1, &runner, &e));
    f->ledger.takes = 0;
}

static bool allows(struct fixture *f, enum github_purpose purpose, int64_t calls)
{
    struct github_scope s = fixture_org();
    return github_budget_allows(f->github, &s, purpose, calls);
}

static void refuse_next(struct fixture *f)
{
    f->ledger.takes = 0;
    f->ledger.waits[0] = 1000;
    f->ledger.wait_count = 1;
}

static int64_t deferred(const char *purpose)
{
    char text[64];
    (void)snprintf(text, sizeof text, "purpose=\"%s\"", purpose);
    return metric_value(metrics_counter("mayfly_github_deferred_total", text));
}

/* Half of what an even use would have left may go at once, the rest is spread, and the kept part is left. */
static void intake_bursts_and_then_is_spread_over_the_hour(void **state)
{
    (void)state;
    int64_t pause_ms = -1;
    struct github_hour h = {.limit = 5000, .left = 5000, .kept = 1000, .until_reset_ms = 3600000};
    assert_int_equal(github_pace_calls(&h, 8, &pause_ms), 8);
    assert_int_equal(pause_ms, 0);
    assert_int_equal(github_pace_calls(&h, 100000, &pause_ms), 2000);
    h.left = 3000;
    assert_int_equal(github_pace_calls(&h, 8, &pause_ms), 1);
    assert_int_equal(pause_ms, 1800); /* 2,000 calls in an hour */
    h.until_reset_ms = 1800000;       /* half an hour later nothing was used: all may be */
    assert_int_equal(github_pace_calls(&h, 8, &pause_ms), 8);
    assert_int_equal(pause_ms, 0);
    h.left = 1000;
    assert_int_equal(github_pace_calls(&h, 8, &pause_ms), 0);
    assert_int_equal(pause_ms, 1800000);
    h.until_reset_ms = -5; /* the clocks differ */
    assert_int_equal(github_pace_calls(&h, 8, &pause_ms), 0);
    assert_true(pause_ms > 0);
}

/* Whatever is asked for, an hour's calls stay below the limit less the kept part. */
static void intake_of_an_hour_leaves_the_kept_part(void **state)
{
    (void)state;
    struct github_hour h = {.limit = 5000, .left = 5000, .kept = 1750, .until_reset_ms = 3600000};
    while (h.until_reset_ms > 0) {
        int64_t pause_ms = 0;
        h.left -= github_pace_calls(&h, 8, &pause_ms);
        h.until_reset_ms -= pause_ms > 250 ? pause_ms : 250;
    }
    assert_in_range(h.left, 1750, 1800);
}

/* What an installation's limit says is another's than the App's own. */
static void intake_from_a_hooks_log_is_paced_by_its_own_limit(void **state)
{
    struct fixture *f = *state;
    int64_t pause_ms = 0;
    const struct github_hook app = {.id = 0};
    const struct github_hook hook = {.id = 7, .scope = fixture_org()};
    assert_int_equal(github_intake_calls(f->github, &hook, 8, &pause_ms), 8); /* not known yet */
    hear(f, 5000, 1700, 1800);                                                /* 35 % are kept */
    assert_int_equal(github_intake_calls(f->github, &hook, 8, &pause_ms), 0);
    assert_in_range(pause_ms, 1790000, 1801000);
    assert_int_equal(github_intake_calls(f->github, &app, 8, &pause_ms), 8);
    assert_int_equal(pause_ms, 0);
}

static void share_is_a_fifth_of_what_github_allows_an_hour(void **state)
{
    struct fixture *f = *state;
    hear(f, 5000, 4000, 600);
    assert_true(allows(f, GITHUB_RECONCILE, 7));
    assert_string_equal(f->ledger.taken, "reconcile/github:42");
    assert_int_equal(f->ledger.cost, 7);
    assert_int_equal(f->ledger.burst, 250);
    assert_in_range((int64_t)(f->ledger.per_second * 3600 + 0.5), 750, 750); /* 1,000 an hour */
    hear(f, 15000, 9000, 600);
    assert_true(allows(f, GITHUB_EARLY_END, 1));
    assert_int_equal(f->ledger.burst, 750);
    assert_true(allows(f, GITHUB_LAUNCH, 1));
    assert_int_equal(f->ledger.takes, 1); /* a launch takes nothing here */
}

/* What is exported is of the installation with the smallest share left; of a window that is over,
 * nothing. */
static void lowest_rate_is_that_of_a_window_that_lasts(void **state)
{
    struct fixture *f = *state;
    struct github_rate rate;
    assert_false(github_lowest_rate(f->github, &rate));
    hear(f, 5000, 1250, 600);
    assert_true(github_lowest_rate(f->github, &rate));
    assert_int_equal(rate.limit, 5000);
    assert_int_equal(rate.left, 1250);
    assert_int_equal(metric_value(metrics_gauge("mayfly_github_rate_remaining", "")), 1250);
    assert_int_equal(metric_value(metrics_gauge("mayfly_github_rate_limit", "")), 5000);
    assert_int_equal(metric_value(metrics_gauge("mayfly_github_rate_reset_timestamp_seconds", "")),
                     rate.reset_ms / 1000);
    hear(f, 5000, 4999, -5);
    assert_false(github_lowest_rate(f->github, &rate));
}

static void question_above_the_share_is_for_later(void **state)
{
    struct fixture *f = *state;
    int64_t before = deferred("early_end");
    hear(f, 5000, 4000, 600);
    refuse_next(f);
    assert_false(allows(f, GITHUB_EARLY_END, 1));
    assert_int_equal(deferred("early_end"), before + 1);
    assert_true(allows(f, GITHUB_EARLY_END, 1));
    assert_int_equal(deferred("early_end"), before + 1);
}

static void when_little_remains_only_early_ends_are_asked_about(void **state)
{
    struct fixture *f = *state;
    hear(f, 5000, 750, 600);
    assert_true(allows(f, GITHUB_RECONCILE, 1));
    hear(f, 5000, 749, 600);
    assert_false(allows(f, GITHUB_RECONCILE, 1));
    assert_int_equal(f->ledger.takes, 0);
    assert_true(allows(f, GITHUB_EARLY_END, 1));
    fixture_move_clock(INT64_C(601) * 1000); /* GitHub's next hour */
    assert_true(allows(f, GITHUB_RECONCILE, 1));
}

static void server_without_limits_has_no_budget(void **state)
{
    struct fixture *f = *state;
    refuse_next(f);
    assert_true(allows(f, GITHUB_RECONCILE, 1000000));
    assert_int_equal(f->ledger.takes, 0);
}

static int any(void *arg, const struct github_runner *r)
{
    (void)arg;
    (void)r;
    return 0;
}

/* The pages after the first; what the bucket does not hold closes it for as long as it refills. */
static void list_takes_its_pages_together_or_is_read_later(void **state)
{
    struct fixture *f = *state;
    struct github_scope s = fixture_org();
    struct err e = {0};
    static const char next[] = "Link: <http://x/?page=2>; rel=\"next\"\r\n";
    hear(f, 5000, 4000, 600);
    fixture_route(f, (struct route){LIST, 200, next,
                                    "{\"total_count\":10000,\"runners\":[" RUNNER_BODY "]}", 1});
    f->ledger.waits[0] = 0; /* the call */
    f->ledger.waits[1] = 1; /* the pages */
    f->ledger.wait_count = 2;
    assert_int_equal(github_list_runners(f->github, &s, GITHUB_RECONCILE, any, NULL, &e), -1);
    if (!github_budget_refused(&e)) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(f->ledger.cost, 99);
    assert_int_equal(http_server_count(f->server, LIST), 1);
    f->ledger.wait_count = 0;
    assert_true(allows(f, GITHUB_RECONCILE, 400));
    assert_int_equal(f->ledger.cost, 250);
    assert_string_equal(f->ledger.paused, "reconcile/github:42");
    int64_t closed_ms = f->ledger.paused_until_ms - clock_wall_ms();
    assert_in_range(closed_ms, 719000, 720000); /* 150 calls, at 750 an hour */
}

static int register_one(struct fixture *f, struct err *e)
{
    struct github_jit jit = {.config = NULL};
    struct github_scope s = fixture_org();
    const struct github_register r = {
        .scope = &s, .name = "mf-1", .labels = &labels, .group = "Default"};
    int rc = github_register_runner(f->github, &r, &jit, e);
    github_jit_fini(&jit);
    return rc;
}

static void registrations_have_buckets_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    fixture_route(f, (struct route){JITCONFIG, 201, NULL, JIT_BODY, 0});
    fixture_route(
        f, (struct route){"GET /orgs/acme/actions/runner-groups", 200, NULL, GROUPS_BODY, 0});
    MUST(register_one(f, &e));
    size_t without = f->ledger.takes;
    f->github->jit_rate = (struct config_rate){2.75, 15};
    f->github->registration_rate = (struct config_rate){4.75, 75};
    f->ledger.takes = 0;
    MUST(register_one(f, &e)); /* the App's token and the group are known by now */
    assert_int_equal(f->ledger.takes, 2);
    f->ledger.waits[0] = 60000;
    f->ledger.wait_count = 1;
    f->ledger.takes = 0;
    assert_int_equal(register_one(f, &e), -1);
    assert_string_equal(f->ledger.taken, "jit/github:42");
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.from, ERR_FROM_GITHUB);
    assert_int_equal(e.code, 0);
    assert_int_equal(e.retry_after_ms, 60000);
    f->github->jit_rate.per_second = 0;
    f->ledger.takes = 0;
    assert_int_equal(register_one(f, &e), -1);
    assert_string_equal(f->ledger.taken, "registrations/acme");
    assert_true(without > 2);
}

int main(void)
{
    fixture_main_clock();
    const struct CMUnitTest tests[] = {
        APP_CASE(lowest_rate_is_that_of_a_window_that_lasts),
        cmocka_unit_test(intake_bursts_and_then_is_spread_over_the_hour),
        cmocka_unit_test(intake_of_an_hour_leaves_the_kept_part),
        APP_CASE(intake_from_a_hooks_log_is_paced_by_its_own_limit),
        APP_CASE(share_is_a_fifth_of_what_github_allows_an_hour),
        APP_CASE(question_above_the_share_is_for_later),
        APP_CASE(when_little_remains_only_early_ends_are_asked_about),
        APP_CASE(server_without_limits_has_no_budget),
        APP_CASE(list_takes_its_pages_together_or_is_read_later),
        APP_CASE(registrations_have_buckets_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
