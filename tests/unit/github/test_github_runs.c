/*
 * Workflow runs and their jobs: every item of a page or an error, and jobs as deliveries tell them.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/webhook.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/github/github_fixture.h"

#define RUNS "/repos/acme/app/actions/runs"
#define NEXT "Link: <https://x/next>; rel=\"next\"\r\n"
#define RUN(id, private)                                                                           \
    "{\"id\":" id ",\"status\":\"queued\",\"created_at\":\"2026-11-20T18:12:0" id                  \
    "Z\",\"repository\":{\"full_name\":\"acme/app\"," private "\"owner\":{\"login\":\"acme\","     \
                                                              "\"type\":\"Organization\"}}}"
#define JOB(id, status)                                                                            \
    "{\"id\":" id ",\"run_id\":7,\"run_attempt\":2,\"status\":\"" status                           \
    "\",\"conclusion\":null,\"name\":\"build\",\"workflow_name\":\"CI\",\"labels\":[\"self-"       \
    "hosted\",\"linux\"],"                                                                         \
    "\"created_at\":\"2026-11-20T18:12:03Z\",\"runner_id\":null,\"runner_name\":null,"             \
    "\"steps\":[{\"name\":\"x\"}]}"

struct seen {
    struct github_run runs[8];
    char status[8][JOB_STATUS_SIZE];
    char delivery[8][2048];
    size_t count;
    bool more;
};

static int see_run(void *arg, const struct github_run *run)
{
    struct seen *s = arg;
    s->runs[s->count++] = *run;
    return 0;
}

static void see_job(void *arg, const char *status, struct slice delivery)
{
    struct seen *s = arg;
    (void)snprintf(s->status[s->count], sizeof s->status[0], "%s", status);
    assert_true(slice_to_cstr(delivery, s->delivery[s->count++], sizeof s->delivery[0]));
}

static const struct github_runs_query queued = {.repository = "acme/app",
                                                .installation_id = 42,
                                                .status = "queued",
                                                .created_until = "",
                                                .page = 1};
static const struct github_run run_7 = {
    .id = 7, .installation_id = 42, .repository = "acme/app", .organization = "acme"};

static int list_runs(struct fixture *f, const struct github_runs_query *q, struct seen *seen,
                     struct err *e)
{
    *seen = (struct seen){.count = 0};
    return github_list_runs(f->github, q, see_run, seen, &seen->more, e);
}

static void runs_are_listed_page_by_page(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    struct err e;
    fixture_route(
        f, (struct route){
               "GET " RUNS "?status=queued&per_page=100&page=1", 200, NEXT,
               "{\"total_count\":2,\"workflow_runs\":[" RUN("1", "\"private\":true,") "]}", 0});
    struct github_runs_query second = queued;
    second.page = 2;
    second.created_until = "2026-11-20T18:12:01Z";
    fixture_route(f, (struct route){
                         "GET " RUNS "?status=queued&per_page=100&page=2&created=%3C%3D2026-11-"
                         "20T18%3A12%3A01Z",
                         200, NULL, "{\"total_count\":2,\"workflow_runs\":[" RUN("2", "") "]}", 0});
    MUST(list_runs(f, &queued, &seen, &e));
    assert_true(seen.more);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.runs[0].id, 1);
    assert_int_equal(seen.runs[0].installation_id, 42);
    assert_string_equal(seen.runs[0].repository, "acme/app");
    assert_string_equal(seen.runs[0].organization, "acme");
    assert_string_equal(seen.runs[0].created, "2026-11-20T18:12:01Z");
    assert_false(seen.runs[0].is_public);
    MUST(list_runs(f, &second, &seen, &e));
    assert_false(seen.more);
    assert_true(seen.runs[0].is_public); /* GitHub does not say that it is private */
}

/* Without an item the list would be a shorter one. */
static void list_with_a_run_that_cannot_be_read_is_an_error(void **state)
{
    static const char *const bodies[] = {"{}", "[]", "{\"workflow_runs\":[{\"id\":\"x\"}]}", "x"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct fixture *f = *state;
        struct seen seen;
        struct err e;
        fixture_route(f, (struct route){"GET " RUNS "?", 200, NULL, bodies[i], 1});
        assert_int_equal(list_runs(f, &queued, &seen, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_int_equal(e.from, ERR_FROM_GITHUB);
    }
}

static void one_run_is_read(void **state)
{
    struct fixture *f = *state;
    struct github_run run;
    struct err e;
    fixture_route(f,
                  (struct route){"GET " RUNS "/7", 200, NULL, RUN("7", "\"private\":false,"), 1});
    MUST(github_get_run(f->github, "acme/app", 42, 7, &run, &e));
    assert_int_equal(run.id, 7);
    assert_string_equal(run.organization, "acme");
    assert_true(run.is_public);
    must_fail_saying(github_get_run(f->github, "acme/app", 42, 8, &run, &e), &e, ERR_NOT_FOUND,
                     "workflow run 8 of acme/app");
    fixture_route(f, (struct route){"GET " RUNS "/9", 200, NULL, "[]", 1});
    must_fail(github_get_run(f->github, "acme/app", 42, 9, &run, &e), &e, ERR_RETRY);
}

static void missing_permission_is_told_apart(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    struct err e;
    fixture_route(f, (struct route){"GET " RUNS "?", 403, "X-RateLimit-Remaining: 4999\r\n",
                                    "{\"message\":\"Resource not accessible by integration\"}", 1});
    assert_int_equal(list_runs(f, &queued, &seen, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.from, ERR_FROM_GITHUB);
    assert_non_null(strstr(e.message, "acme/app"));
    assert_int_equal(list_runs(f, &queued, &seen, &e), -1); /* without a route: 404 */
    assert_int_equal(e.class, ERR_NOT_FOUND);
}

/* What webhook_parse makes of a job in a list is what it makes of the job's delivery. */
static enum webhook_verdict parse(const struct fixture *f, const char *body, struct job_event *ev)
{
    const char *reason = "";
    const struct webhook_request r = {.event = SLICE("workflow_job"),
                                      .delivery = SLICE("list"),
                                      .content_type = SLICE("application/json"),
                                      .body = slice_of(body)};
    (void)f;
    static const char text[] =
        "{\"deployment\": \"t\", \"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\","
        " \"github\": {\"token\": \"x\"}, \"classes\": [{\"name\": \"small\", \"labels\": "
        "[\"self-hosted\", \"linux\"], \"provider\": \"qemu\", \"max_vms\": 1,"
        " \"qemu\": {\"image\": \"/none\"}}]}";
    struct config *c = NULL;
    struct err e;
    MUST(config_parse(slice_of(text), "test", CONFIG_FOR_REAPER, &c, NULL, &e));
    enum webhook_verdict v = webhook_parse(&r, c, ev, &reason);
    config_free(c);
    return v;
}

static void jobs_of_a_run_are_told_as_deliveries(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.count = 0};
    struct job_event ev = {.runner_id = 1};
    struct err e;
    fixture_route(f,
                  (struct route){
                      "GET " RUNS "/7/jobs?filter=latest&per_page=100&page=3", 200, NULL,
                      "{\"total_count\":4,\"jobs\":[" JOB("11", "queued") "," JOB(
                          "12", "waiting") "," JOB("13", "pending") "," JOB("14", "completed") "]}",
                      0});
    MUST(github_list_run_jobs(f->github, &run_7, 3, see_job, &seen, &seen.more, &e));
    assert_false(seen.more);
    assert_int_equal(seen.count, 3); /* none is sent of a pending one */
    assert_string_equal(seen.status[0], "queued");
    assert_null(strstr(seen.delivery[0], "steps"));
    assert_int_equal(parse(f, seen.delivery[0], &ev), WEBHOOK_LAUNCH);
    assert_int_equal(ev.job.id, 11);
    assert_int_equal(ev.job.run_id, 7);
    assert_int_equal(ev.job.run_attempt, 2);
    assert_int_equal(ev.job.installation_id, 42);
    assert_int_equal(ev.job.created_ms, clock_parse_utc("2026-11-20T18:12:03Z"));
    assert_string_equal(ev.job.repository, "acme/app");
    assert_string_equal(ev.job.organization, "acme");
    assert_string_equal(ev.job.class_name, "small");
    assert_string_equal(ev.job.name, "build");
    assert_string_equal(ev.job.workflow, "CI");
    assert_int_equal(parse(f, seen.delivery[1], &ev), WEBHOOK_EVENT); /* held back */
    assert_int_equal(parse(f, seen.delivery[2], &ev), WEBHOOK_EVENT);
    assert_int_equal(ev.action, JOB_ACTION_COMPLETED);
}

static void job_of_a_public_repository_is_refused_as_its_delivery_is(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.count = 0};
    struct github_run run = run_7;
    struct job_event ev;
    struct err e;
    run.is_public = true;
    run.organization[0] = '\0';
    fixture_route(f, (struct route){"GET " RUNS "/7/jobs?", 200, NEXT,
                                    "{\"jobs\":[" JOB("11", "queued") "]}", 0});
    MUST(github_list_run_jobs(f->github, &run, 1, see_job, &seen, &seen.more, &e));
    assert_true(seen.more);
    assert_int_equal(parse(f, seen.delivery[0], &ev), WEBHOOK_REFUSED);
    assert_string_equal(ev.job.organization, "");
}

static void list_with_a_job_that_cannot_be_read_is_an_error(void **state)
{
    static const char *const bodies[] = {"{}", "{\"jobs\":[{\"id\":1}]}",
                                         "{\"jobs\":[{\"status\":\"queued\"}]}"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct fixture *f = *state;
        struct seen seen = {.count = 0};
        struct err e;
        fixture_route(f, (struct route){"GET " RUNS "/7/jobs?", 200, NULL, bodies[i], 1});
        assert_int_equal(github_list_run_jobs(f->github, &run_7, 1, see_job, &seen, &seen.more, &e),
                         -1);
        assert_int_equal(e.class, ERR_RETRY);
    }
}

int main(void)
{
    fixture_main_clock();
    const struct CMUnitTest tests[] = {
        APP_CASE(runs_are_listed_page_by_page),
        APP_CASE(list_with_a_run_that_cannot_be_read_is_an_error),
        APP_CASE(one_run_is_read),
        APP_CASE(missing_permission_is_told_apart),
        APP_CASE(jobs_of_a_run_are_told_as_deliveries),
        APP_CASE(job_of_a_public_repository_is_refused_as_its_delivery_is),
        APP_CASE(list_with_a_job_that_cannot_be_read_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
