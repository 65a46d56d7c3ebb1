#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/github/scale_sets/internal.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

#define TOKEN "POST /orgs/acme/actions/runners/registration-token"
#define CONNECT "POST /actions/runner-registration"
#define SETS " /tenant/_apis/runtime/runnerscalesets"
#define FIND "GET" SETS "?runnerGroupId=1&name=blue&api-version=6.0-preview"
#define BOM "\xef\xbb\xbf"
#define STATISTICS                                                                                 \
    "{\"totalAvailableJobs\":1,\"totalAssignedJobs\":7,\"totalRunningJobs\":2,"                    \
    "\"totalRegisteredRunners\":5,\"totalBusyRunners\":2,\"totalIdleRunners\":3}"
#define FACTS                                                                                      \
    "\"repositoryName\":\"web\",\"ownerName\":\"acme\",\"jobId\":\"0b1c-%s\","                     \
    "\"jobWorkflowRef\":\"acme/web/.github/workflows/ci.yml@refs/heads/main\","                    \
    "\"jobDisplayName\":\"build (1)\",\"workflowRunId\":33714470481,"                              \
    "\"requestLabels\":[\"blue\"],\"queueTime\":\"2026-11-30T10:00:00.5Z\""

static const struct route token_route = {
    TOKEN, 201, NULL, "{\"token\":\"AAREG\",\"expires_at\":\"2030-01-01T00:00:00Z\"}", 0};
static const struct route found_route = {
    FIND, 200, NULL, BOM "{\"count\":1,\"value\":[{\"id\":9,\"name\":\"blue\"}]}", 0};

/* Nothing waits for GitHub's other parts to know a token. */
void __wrap_clock_sleep_until(int64_t mono_ms);
void __wrap_clock_sleep_until(int64_t mono_ms)
{
    (void)mono_ms;
}

/* The texts of routes, which outlive their test by nothing. */
static struct buf texts[8];
static size_t text_count;

static const char *keep(struct buf text)
{
    ASSERT(text_count < COUNT_OF(texts));
    texts[text_count] = text;
    return texts[text_count++].data;
}

static void forget_texts(void)
{
    while (text_count > 0) {
        buf_fini(&texts[--text_count]);
    }
}

static const char *connection_body(struct fixture *f, int64_t life_ms)
{
    char claims[64];
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, BOM "{\"url\":\"%s/tenant/\",\"token\":\"e30.", http_server_url(f->server));
    (void)snprintf(claims, sizeof claims, "{\"exp\":%lld}",
                   (long long)(clock_wall_ms() + life_ms) / 1000);
    codec_base64url(&body, slice_of(claims));
    buf_append_cstr(&body, ".sig\"}");
    return keep(body);
}

static const char *session_body(struct fixture *f, const char *token)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body,
               BOM "{\"sessionId\":\"s-1\",\"messageQueueUrl\":\"%s/queue/9?s=1\","
                   "\"messageQueueAccessToken\":\"%s\",\"statistics\":" STATISTICS "}",
               http_server_url(f->server), token);
    return keep(body);
}

static void serve_set(struct fixture *f)
{
    fixture_route(f, token_route);
    fixture_route(f, found_route);
    fixture_route(f, (struct route){CONNECT, 200, NULL, connection_body(f, 3600000), 0});
    fixture_route(
        f, (struct route){"POST" SETS "/9/sessions", 200, NULL, session_body(f, "queue-1"), 0});
}

static struct github_scale_set blue(void)
{
    return (struct github_scale_set){
        .scope = github_scope_parse("acme#set:blue", 42), .name = "blue", .group = "Default"};
}

static struct github_set_session *open_blue(struct fixture *f)
{
    struct err e;
    struct github_scale_set set = blue();
    struct github_set_statistics statistics;
    struct github_set_session *s = NULL;
    assert_int_equal(github_set_open(f->github, &set, "host-1", &statistics, &s, &e), 0);
    assert_int_equal(statistics.assigned, 7);
    assert_int_equal(statistics.running, 2);
    return s;
}

static const struct served_request *last_request(struct fixture *f, const char *line)
{
    char wanted[1100];
    for (size_t i = http_server_count(f->server, ""); i > 0; i--) {
        const struct served_request *q = http_server_request(f->server, i - 1);
        (void)snprintf(wanted, sizeof wanted, "%s %s", q->method, q->target);
        if (strncmp(wanted, line, strlen(line)) == 0) {
            return q;
        }
    }
    fail_msg("no request %s", line);
    return NULL;
}

static int tear_down(void **state)
{
    forget_texts();
    return fixture_tear_down(state);
}

/* --- the connection --------------------------------------------------------------------------- */

static void opening_leads_from_rest_to_the_session(void **state)
{
    struct fixture *f = *state;
    serve_set(f);
    struct github_set_session *s = open_blue(f);
    assert_string_equal(served_header(last_request(f, CONNECT), "Authorization"),
                        "RemoteAuth AAREG");
    json_t *body = json_loads(last_request(f, CONNECT)->body.data, 0, NULL);
    char url[256];
    (void)snprintf(url, sizeof url, "%s/acme", http_server_url(f->server));
    assert_string_equal(json_string_value(json_object_get(body, "url")), url);
    assert_string_equal(json_string_value(json_object_get(body, "runner_event")), "register");
    json_decref(body);
    assert_int_equal(
        strncmp(served_header(last_request(f, FIND), "Authorization"), "Bearer e30.", 11), 0);
    assert_string_equal(last_request(f, "POST" SETS "/9/sessions")->body.data,
                        "{\"ownerName\":\"host-1\"}");
    github_set_close(s);
    assert_int_equal(http_server_count(f->server, "DELETE" SETS "/9/sessions/s-1?api-version"), 1);
    assert_int_equal(http_server_count(f->server, TOKEN), 1);
}

static void set_that_is_missing_is_created(void **state)
{
    struct fixture *f = *state;
    serve_set(f);
    fixture_route(f, (struct route){FIND, 200, NULL, "{\"count\":0,\"value\":[]}", 0});
    fixture_route(f, (struct route){"POST" SETS "?", 200, NULL, "{\"id\":9}", 0});
    github_set_close(open_blue(f));
    assert_string_equal(last_request(f, "POST" SETS "?")->body.data,
                        "{\"name\":\"blue\",\"runnerGroupId\":1,\"labels\":[{\"type\":\"System\","
                        "\"name\":\"blue\"}],\"RunnerSetting\":{\"disableUpdate\":true}}");
}

static void connection_is_renewed_a_minute_before_its_token_expires(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct set_connection c;
    struct github_scope scope = fixture_org();
    serve_set(f);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(set_connection_get(f->github, &scope, &c, &e), 0);
        set_connection_fini(&c);
    }
    assert_int_equal(http_server_count(f->server, CONNECT), 1);
    fixture_move_clock(3600000 - 59000);
    assert_int_equal(set_connection_get(f->github, &scope, &c, &e), 0);
    set_connection_fini(&c);
    fixture_move_clock(59000 - 3600000);
    assert_int_equal(http_server_count(f->server, CONNECT), 2);
}

static void refused_admin_token_is_replaced_once(void **state)
{
    struct fixture *f = *state;
    serve_set(f);
    fixture_route(f, (struct route){FIND, 401, NULL, "{}", 1});
    github_set_close(open_blue(f));
    assert_int_equal(http_server_count(f->server, CONNECT), 2);
}

static void registration_token_that_is_not_known_yet_is_tried_again(void **state)
{
    struct fixture *f = *state;
    serve_set(f);
    fixture_route(f, (struct route){CONNECT, 401, NULL, "{}", 1});
    fixture_route(f, (struct route){CONNECT, 403, NULL, "{}", 1});
    github_set_close(open_blue(f));
    assert_int_equal(http_server_count(f->server, CONNECT), 3);
    assert_int_equal(http_server_count(f->server, TOKEN), 1);
}

static void page_of_a_scope_follows_from_the_api(void **state)
{
    static const char *const cases[][3] = {
        {"https://api.github.com", "acme", "https://github.com/acme"},
        {"https://api.octo.ghe.com", "acme/web", "https://octo.ghe.com/acme/web"},
        {"https://ghes.example/api/v3", "acme", "https://ghes.example/acme"},
        {"http://127.0.0.1:80", "acme", "http://127.0.0.1:80/acme"}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e;
        struct buf url;
        struct github_scope s = github_scope_parse(cases[i][1], 0);
        buf_init(&url, 1024);
        assert_int_equal(set_web_url(cases[i][0], &s, &url, &e), 0);
        assert_string_equal(url.data, cases[i][2]);
        buf_fini(&url);
    }
}

static void another_session_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_scale_set set = blue();
    struct github_set_statistics statistics;
    struct github_set_session *s = NULL;
    serve_set(f);
    fixture_route(f, (struct route){"POST" SETS "/9/sessions", 409, NULL,
                                    "{\"typeName\":\"RunnerScaleSetSessionConflictException\","
                                    "\"message\":\"already has an active session\"}",
                                    1});
    assert_int_equal(github_set_open(f->github, &set, "x", &statistics, &s, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(e.from, ERR_FROM_GITHUB);
    assert_non_null(strstr(e.message, "already has an active session"));
    assert_null(strstr(e.message, "e30."));
}

/* --- messages --------------------------------------------------------------------------------- */

static bool never_waits_on(void *arg)
{
    (void)arg;
    return false;
}

static bool waits_on(void *arg)
{
    ++*(int *)arg;
    return true;
}

static int poll_set(struct github_set_session *s, struct github_set_message *m, struct err *e)
{
    int waits = 0;
    return github_set_poll(s, 10, waits_on, &waits, m, e);
}

/* A message whose jobs are the array, as JSON text in JSON. */
static const char *message_body(const char *jobs)
{
    struct buf body;
    buf_init(&body, 16384);
    buf_append_cstr(&body, BOM "{\"messageId\":31,\"messageType\":\"RunnerScaleSetJobMessages\","
                               "\"statistics\":" STATISTICS ",\"body\":");
    buf_append_json(&body, slice_of(jobs));
    buf_append_byte(&body, '}');
    return keep(body);
}

static void poll_reads_what_became_of_jobs(void **state)
{
    struct fixture *f = *state;
    struct err e;
    char jobs[4096];
    struct github_set_message m;
    serve_set(f);
    (void)snprintf(jobs, sizeof jobs,
                   "[{\"messageType\":\"JobAvailable\",\"runnerRequestId\":77," FACTS "},"
                   "{\"messageType\":\"JobStarted\",\"runnerRequestId\":0,\"runnerId\":5,"
                   "\"runnerName\":\"mf-1\"," FACTS "},"
                   "{\"messageType\":\"JobCompleted\",\"runnerId\":5,\"result\":\"canceled\","
                   "\"runnerName\":\"mf-1\"," FACTS "},"
                   "{\"messageType\":\"SomethingNew\"},17]",
                   "a", "b", "b");
    fixture_route(f, (struct route){"GET /queue/9?s=1", 200, NULL, message_body(jobs), 2});
    struct github_set_session *s = open_blue(f);
    assert_int_equal(poll_set(s, &m, &e), 0);
    github_set_message_fini(&m);
    assert_int_equal(poll_set(s, &m, &e), 0); /* not deleted: it comes again */
    assert_null(strstr(last_request(f, "GET /queue")->target, "lastMessageId"));
    assert_int_equal(m.id, 31);
    assert_int_equal(m.statistics.assigned, 7);
    assert_int_equal(m.count, 3);
    assert_int_equal(m.jobs[0].request_id, 77);
    const struct job_event *started = &m.jobs[1].event;
    assert_int_equal(m.jobs[1].what, SET_JOB_STARTED);
    assert_int_equal(started->action, JOB_ACTION_IN_PROGRESS);
    assert_int_equal(started->runner_id, 5);
    assert_string_equal(started->job.runner_name, "mf-1");
    assert_string_equal(started->job.repository, "acme/web");
    assert_string_equal(started->job.workflow, ".github/workflows/ci.yml");
    assert_string_equal(started->job.labels, "blue");
    assert_int_equal(started->job.run_id, 33714470481);
    assert_int_equal(started->job.created_ms, clock_parse_utc("2026-11-30T10:00:00.5Z"));
    assert_true(github_is_set_job(started->job.id));
    const struct job_event *completed = &m.jobs[2].event;
    assert_int_equal(completed->action, JOB_ACTION_COMPLETED);
    assert_string_equal(completed->job.conclusion, "cancelled");
    assert_int_equal(completed->job.id, started->job.id);
    github_set_message_fini(&m);
    assert_string_equal(served_header(last_request(f, "GET /queue"), "X-ScaleSetMaxCapacity"),
                        "10");
    assert_string_equal(served_header(last_request(f, "GET /queue"), "Authorization"),
                        "Bearer queue-1");
    fixture_route(f, (struct route){"DELETE /queue/9/31?s=1", 204, NULL, NULL, 0});
    assert_int_equal(github_set_delete_message(s, 31, &e), 0);
    fixture_route(f, (struct route){"GET /queue/9?s=1&lastMessageId=31", 202, NULL, NULL, 0});
    assert_int_equal(poll_set(s, &m, &e), 0);
    assert_int_equal(m.id, 0);
    github_set_close(s);
}

static void empty_200_is_no_message(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_set_message m;
    serve_set(f);
    fixture_route(f, (struct route){"GET /queue/9", 200, NULL, NULL, 0});
    struct github_set_session *s = open_blue(f);
    assert_int_equal(poll_set(s, &m, &e), 0);
    assert_int_equal(m.id, 0);
    github_set_close(s);
}

static void expired_queue_token_is_renewed_by_the_session(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_set_message m;
    serve_set(f);
    fixture_route(f, (struct route){"GET /queue/9", 202, NULL, NULL, 0});
    fixture_route(f, (struct route){"GET /queue/9", 401, NULL, "{}", 1});
    fixture_route(f, (struct route){"PATCH" SETS "/9/sessions/s-1", 200, NULL,
                                    session_body(f, "queue-2"), 0});
    struct github_set_session *s = open_blue(f);
    assert_int_equal(poll_set(s, &m, &e), 0);
    assert_string_equal(served_header(last_request(f, "GET /queue"), "Authorization"),
                        "Bearer queue-2");
    github_set_close(s);
}

static void jobs_are_acquired_with_the_sessions_token(void **state)
{
    struct fixture *f = *state;
    struct err e;
    static const int64_t ids[] = {77, 78};
    serve_set(f);
    fixture_route(f, (struct route){"POST" SETS "/9/acquirejobs?api-version=6.0-preview", 200, NULL,
                                    "{\"count\":1,\"value\":[77]}", 0});
    struct github_set_session *s = open_blue(f);
    assert_int_equal(github_set_acquire(s, ids, 2, &e), 0);
    const struct served_request *q = last_request(f, "POST" SETS "/9/acquirejobs");
    assert_string_equal(q->body.data, "[77,78]");
    assert_string_equal(served_header(q, "Authorization"), "Bearer queue-1");
    github_set_close(s);
}

static void answer_nothing(struct fixture *f, const struct served_request *q,
                           struct served_answer *a)
{
    (void)f;
    a->silent = strncmp(q->target, "/queue/", 7) == 0;
    a->status = 204;
}

static void wait_that_is_ended_ends_a_poll(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_set_message m;
    serve_set(f);
    f->script = answer_nothing;
    fixture_route(f, (struct route){"POST /app/installations/42/access_tokens", 201, NULL,
                                    "{\"token\":\"ghs_1\",\"expires_at\":"
                                    "\"2030-01-01T00:00:00Z\"}",
                                    0});
    struct github_set_session *s = open_blue(f);
    assert_int_equal(github_set_poll(s, 10, never_waits_on, NULL, &m, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, HTTP_STOPPED);
    github_set_close(s);
}

/* --- runners ---------------------------------------------------------------------------------- */

#define SET_JIT "{\"runner\":{\"id\":23,\"name\":\"mf-1\"},\"encodedJITConfig\":\"eyJhIjoxfQ==\"}"

static int register_runner(struct fixture *f, struct err *e)
{
    static char label[] = "unused";
    static char *items[] = {label};
    static const struct config_list labels = {items, 1};
    struct github_scope scope = github_scope_parse("acme#set:blue", 42);
    const struct github_register r = {
        .scope = &scope, .name = "mf-1", .labels = &labels, .group = "Default"};
    struct github_jit jit = {.config = NULL};
    int rc = github_register_runner(f->github, &r, &jit, e);
    if (rc == 0) {
        assert_int_equal(jit.runner_id, 23);
        assert_string_equal(jit.config, "eyJhIjoxfQ==");
    }
    github_jit_fini(&jit);
    return rc;
}

static void runner_of_a_sets_scope_registers_in_the_set(void **state)
{
    struct fixture *f = *state;
    struct err e;
    serve_set(f);
    fixture_route(f, (struct route){"POST" SETS "/9/generatejitconfig", 200, NULL, SET_JIT, 0});
    for (int i = 0; i < 20; i++) {
        assert_int_equal(register_runner(f, &e), 0);
    }
    assert_string_equal(last_request(f, "POST" SETS "/9/generatejitconfig")->body.data,
                        "{\"name\":\"mf-1\",\"workFolder\":\"_work\"}");
    assert_int_equal(http_server_count(f->server, FIND), 1);
    assert_int_equal(http_server_count(f->server, CONNECT), 1);
}

static void runner_of_a_lost_answer_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct err e;
    serve_set(f);
    fixture_route(f, (struct route){"POST" SETS "/9/generatejitconfig", 200, NULL, SET_JIT, 0});
    fixture_route(f, (struct route){"POST" SETS "/9/generatejitconfig", 409, NULL,
                                    "{\"typeName\":\"AgentExistsException\"}", 1});
    fixture_route(f, (struct route){"GET /tenant/_apis/distributedtask/pools/0/agents?agentName=",
                                    200, NULL, "{\"count\":1,\"value\":[{\"id\":6}]}", 0});
    fixture_route(f, (struct route){"DELETE /tenant/_apis/distributedtask/pools/0/agents/6?", 204,
                                    NULL, NULL, 0});
    assert_int_equal(register_runner(f, &e), 0);
    assert_int_equal(http_server_count(f->server, "DELETE /tenant"), 1);
}

static void set_that_was_made_anew_is_looked_up_again(void **state)
{
    struct fixture *f = *state;
    struct err e;
    serve_set(f);
    fixture_route(f, (struct route){"POST" SETS "/9/generatejitconfig", 200, NULL, SET_JIT, 0});
    assert_int_equal(register_runner(f, &e), 0);
    fixture_route(f, (struct route){"POST" SETS "/9/generatejitconfig", 404, NULL, "{}", 0});
    fixture_route(f, (struct route){"POST" SETS "/10/generatejitconfig", 200, NULL, SET_JIT, 0});
    fixture_route(f, (struct route){FIND, 200, NULL, "{\"count\":1,\"value\":[{\"id\":10}]}", 0});
    assert_int_equal(register_runner(f, &e), 0);
    assert_int_equal(http_server_count(f->server, "POST" SETS "/10/generatejitconfig"), 1);
}

static void set_that_nobody_has_created_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct err e;
    serve_set(f);
    fixture_route(f, (struct route){FIND, 200, NULL, "{\"count\":0,\"value\":[]}", 0});
    assert_int_equal(register_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(e.from, ERR_FROM_GITHUB);
    assert_non_null(strstr(e.message, "mayfly-reaper creates it"));
    assert_int_equal(http_server_count(f->server, "POST" SETS), 0);
}

/* --- hostile answers -------------------------------------------------------------------------- */

static void answers_that_make_no_sense_are_errors(void **state)
{
    static const char *const bodies[] = {
        "",
        "[]",
        "null",
        "{\"messageId\":\"1\",\"statistics\":{}}",
        "{\"messageId\":1}",
        "{\"sessionId\":\"s\",\"messageQueueUrl\":\"ftp://x\",\"messageQueueAccessToken\":\"t\","
        "\"statistics\":{}}",
        "{\"sessionId\":\"s\",\"messageQueueUrl\":\"http://x\",\"messageQueueAccessToken\":"
        "\"t\\r\\nX: y\",\"statistics\":{}}",
        "{\"url\":\"http://x\",\"token\":\"a b\"}",
        "{\"runner\":{\"id\":-1},\"encodedJITConfig\":\"x\"}"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct err e;
        int64_t id;
        struct github_jit jit;
        struct github_set_message m;
        struct set_session_facts facts;
        struct set_connection c = {{0}, {0}};
        struct slice body = slice_of(bodies[i]);
        assert_int_equal(set_parse_message(body, &m, &e), -1);
        assert_int_equal(set_parse_session(body, &facts, &e), -1);
        assert_int_equal(set_parse_connection(body, &c, &e), -1);
        assert_int_equal(set_parse_jit(body, &jit, &e), -1);
        assert_int_equal(set_parse_first_id(body, &id, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
    }
}

static void number_of_a_job_is_one_that_every_reader_reads(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        char guid[40];
        (void)snprintf(guid, sizeof guid, "0b1c%04d-0000-4000-8000-000000000000", i);
        int64_t id = github_set_job_id(slice_of(guid));
        assert_true(github_is_set_job(id));
        assert_true(id < INT64_C(1) << 53);
        assert_int_equal(id, github_set_job_id(slice_of(guid)));
    }
    assert_false(github_is_set_job(INT64_C(100520616165)));
}

#define SET_CASE(name) cmocka_unit_test_setup_teardown(name, fixture_set_up_app, tear_down)

int main(void)
{
    fixture_main_clock();
    const struct CMUnitTest tests[] = {
        SET_CASE(opening_leads_from_rest_to_the_session),
        SET_CASE(set_that_is_missing_is_created),
        SET_CASE(connection_is_renewed_a_minute_before_its_token_expires),
        SET_CASE(refused_admin_token_is_replaced_once),
        SET_CASE(registration_token_that_is_not_known_yet_is_tried_again),
        cmocka_unit_test(page_of_a_scope_follows_from_the_api),
        SET_CASE(another_session_is_a_conflict),
        SET_CASE(poll_reads_what_became_of_jobs),
        SET_CASE(empty_200_is_no_message),
        SET_CASE(expired_queue_token_is_renewed_by_the_session),
        SET_CASE(jobs_are_acquired_with_the_sessions_token),
        SET_CASE(wait_that_is_ended_ends_a_poll),
        SET_CASE(runner_of_a_sets_scope_registers_in_the_set),
        SET_CASE(runner_of_a_lost_answer_is_replaced),
        SET_CASE(set_that_was_made_anew_is_looked_up_again),
        SET_CASE(set_that_nobody_has_created_is_not_found),
        cmocka_unit_test(answers_that_make_no_sense_are_errors),
        cmocka_unit_test(number_of_a_job_is_one_that_every_reader_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
