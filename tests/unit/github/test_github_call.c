#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

#define RUNNER_BODY "{\"id\":5,\"name\":\"mf-5\",\"status\":\"online\",\"busy\":true}"
#define MINT "POST /app/installations/42/access_tokens"
#define GET_RUNNER "GET /orgs/acme/actions/runners/5"

static const struct route runner_route = {GET_RUNNER, 200, NULL, RUNNER_BODY, 0};

static int get_runner(struct fixture *f, struct err *e)
{
    struct github_runner r;
    struct github_scope s = fixture_org();
    int rc = github_get_runner(f->github, &s, 5, &r, e);
    if (rc == 0) {
        assert_int_equal(r.id, 5);
        assert_string_equal(r.name, "mf-5");
        assert_true(r.online && r.busy);
    }
    return rc;
}

static void assert_ok(struct fixture *f)
{
    struct err e = {.class = ERR_NONE};
    if (get_runner(f, &e) != 0) {
        fail_msg("%s", e.message);
    }
}

static const struct served_request *last_request(struct fixture *f)
{
    return http_server_request(f->server, http_server_count(f->server, "") - 1);
}

/* --- who calls -------------------------------------------------------------------------------- */

static void an_app_call_mints_a_token_and_uses_it(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    assert_ok(f);
    const struct served_request *mint = http_server_request(f->server, 0);
    assert_string_equal(mint->target, "/app/installations/42/access_tokens");
    assert_true(slice_starts_with(slice_of(served_header(mint, "Authorization")),
                                  SLICE("Bearer eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.")));
    const struct served_request *call = http_server_request(f->server, 1);
    assert_string_equal(call->target, "/orgs/acme/actions/runners/5");
    assert_string_equal(served_header(call, "Authorization"), "Bearer ghs_1");
    assert_string_equal(served_header(call, "User-Agent"), "mayfly/" MAYFLY_VERSION);
    assert_string_equal(served_header(call, "Accept"), "application/vnd.github+json");
    assert_string_equal(served_header(call, "X-GitHub-Api-Version"), "2022-11-28");
    assert_string_equal(f->ledger.taken, "github:42");
    assert_true(f->ledger.burst == 60 && f->ledger.per_second > 1.4);
}

static void a_personal_token_is_used_as_it_is(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    assert_ok(f);
    assert_int_equal(http_server_count(f->server, ""), 1);
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghp_personal");
    assert_string_equal(f->ledger.taken, "github:token");
}

static void a_personal_token_refused_is_auth_at_once(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){GET_RUNNER, 401, NULL, "{\"message\":\"Bad credentials\"}", 0});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.code, 401);
    assert_non_null(strstr(e.message, "Bad credentials"));
    assert_non_null(strstr(e.message, "github.token"));
    assert_null(strstr(e.message, "ghp_"));
    assert_int_equal(http_server_count(f->server, ""), 1);
}

static void a_token_is_kept_until_five_minutes_before_its_end(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    assert_ok(f);
    fixture_move_clock(INT64_C(54) * 60 * 1000);
    assert_ok(f);
    assert_int_equal(f->minted, 1);
    fixture_move_clock(INT64_C(2) * 60 * 1000);
    assert_ok(f);
    assert_int_equal(f->minted, 2);
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghs_2");
}

static void a_token_that_seems_expired_at_birth_is_used_for_a_minute(void **state)
{
    struct fixture *f = *state;
    f->token_life_ms = -3600000;
    fixture_route(f, runner_route);
    assert_ok(f);
    assert_ok(f);
    assert_int_equal(f->minted, 1);
    fixture_move_clock(61000);
    assert_ok(f);
    assert_int_equal(f->minted, 2);
}

static void a_failed_renewal_uses_the_token_that_is_left(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    assert_ok(f);
    fixture_route(f, (struct route){MINT, 502, NULL, "", 0});
    fixture_move_clock(INT64_C(57) * 60 * 1000);
    assert_ok(f);
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghs_1");
}

/* Stands in for the one of common/base (see the CMakeLists): the time passes at once. */
void __wrap_clock_sleep_until(int64_t mono_ms);
static int64_t slept_ms;
void __wrap_clock_sleep_until(int64_t mono_ms)
{
    int64_t ms = mono_ms - clock_mono_ms();
    slept_ms += ms;
    fixture_move_clock(ms);
}

static void refuse_times(struct fixture *f, int times)
{
    fixture_route(f, (struct route){GET_RUNNER, 401, NULL, "", times});
    slept_ms = 0;
}

static void token_that_has_grown_old_is_minted_anew_once(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    assert_ok(f);
    fixture_move_clock(60000);
    refuse_times(f, 1);
    assert_ok(f);
    assert_int_equal(f->minted, 2);
    assert_int_equal(slept_ms, 0);
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghs_2");
}

/* GitHub's parts learn of it one after another. */
static void new_token_that_is_not_known_everywhere_yet_is_used_again(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    for (int times = 1; times <= 3; times++) {
        fixture_move_clock(INT64_C(3600) * 1000);
        refuse_times(f, times);
        assert_ok(f);
        assert_int_equal(f->minted, times);
        assert_in_range(slept_ms, 1000 * ((1 << times) - 1) - 100, 1000 * ((1 << times) - 1));
    }
}

static void refusal_is_one_that_a_new_token_meets_for_seconds(void **state)
{
    struct fixture *f = *state;
    struct err e;
    refuse_times(f, 0);
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.code, 401);
    assert_int_equal(e.from, ERR_FROM_GITHUB);
    assert_non_null(strstr(e.message, "clock"));
    assert_int_equal(f->minted, 2);
    assert_in_range(slept_ms, 13000, 14000);
    assert_int_equal(http_server_count(f->server, GET_RUNNER), 8);
    assert_int_equal(get_runner(f, &e), -1);
    assert_true(f->minted > 2); /* none of them is used any more */
}

struct caller {
    struct fixture *f;
    struct err e;
    int rc;
};

static void *call_in_thread(void *arg)
{
    struct caller *c = arg;
    struct github_runner r;
    struct github_scope s = fixture_org();
    c->rc = github_get_runner(c->f->github, &s, 5, &r, &c->e);
    return NULL;
}

static void many_threads_mint_one_token(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[12];
    struct caller callers[12];
    fixture_route(f, runner_route);
    f->mint_waits_for = COUNT_OF(threads) - 1;
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        callers[i] = (struct caller){.f = f};
        assert_int_equal(pthread_create(&threads[i], NULL, call_in_thread, &callers[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(callers[i].rc, 0);
    }
    assert_int_equal(http_server_count(f->server, MINT), 1);
    assert_int_equal(http_server_count(f->server, GET_RUNNER), COUNT_OF(threads));
}

static void an_app_key_refused_says_what_to_mend(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){MINT, 401, NULL,
                                    "{\"message\":\"A JSON web token could not be decoded\"}", 0});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "github.app"));
    assert_non_null(strstr(e.message, "clock"));
    assert_null(strstr(e.message, "eyJ"));
}

static void an_installation_that_is_gone_is_auth(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){MINT, 404, NULL, "{\"message\":\"Not Found\"}", 0});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "not installed on acme"));
}

/* --- which installation ----------------------------------------------------------------------- */

static void an_unknown_installation_is_looked_up_once_for_its_owner(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_runner r;
    struct github_job job;
    struct github_scope s = github_scope_parse("Acme", 0);
    fixture_route(f, (struct route){"GET /orgs/Acme/installation", 200, NULL, "{\"id\":42}", 0});
    fixture_route(f, (struct route){"GET /orgs/Acme/actions", 200, NULL, RUNNER_BODY, 0});
    fixture_route(f, (struct route){"GET /repos/acme/site/actions/jobs/9", 200, NULL,
                                    "{\"id\":9,\"status\":\"queued\"}", 0});
    assert_int_equal(github_get_runner(f->github, &s, 5, &r, &e), 0);
    assert_string_equal(f->ledger.taken, "github:42");
    assert_int_equal(github_get_runner(f->github, &s, 5, &r, &e), 0);
    assert_int_equal(github_get_job(f->github, "acme/site", 0, 9, &job, &e), 0);
    assert_int_equal(http_server_count(f->server, "GET /orgs/Acme/installation"), 1);
    assert_int_equal(f->minted, 1);
}

static void a_repository_is_looked_up_by_its_own_path(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_job job;
    fixture_route(f,
                  (struct route){"GET /repos/acme/site/installation", 200, NULL, "{\"id\":42}", 0});
    fixture_route(f, (struct route){"GET /repos/acme/site/actions/jobs/9", 200, NULL,
                                    "{\"id\":9,\"status\":\"queued\"}", 0});
    assert_int_equal(github_get_job(f->github, "acme/site", 0, 9, &job, &e), 0);
    assert_int_equal(http_server_count(f->server, "GET /repos/acme/site/installation"), 1);
}

static void an_app_that_is_not_installed_is_auth(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_runner r;
    struct github_scope s = github_scope_parse("acme", 0);
    assert_int_equal(github_get_runner(f->github, &s, 5, &r, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "not installed on acme"));
}

/* The App was removed and installed anew: the id that was looked up is stale. */
static void a_stale_installation_is_looked_up_again(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_runner r;
    struct github_scope s = github_scope_parse("acme", 0);
    fixture_route(f, (struct route){"GET /orgs/acme/installation", 200, NULL, "{\"id\":42}", 0});
    fixture_route(f, (struct route){"GET /orgs/acme/installation", 200, NULL, "{\"id\":41}", 1});
    fixture_route(
        f, (struct route){"POST /app/installations/41/", 201, NULL, "{\"token\":\"ghs_old\"}", 1});
    fixture_route(f, runner_route);
    assert_int_equal(github_get_runner(f->github, &s, 5, &r, &e), 0);
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghs_old");
    fixture_move_clock(INT64_C(20) * 60 * 1000);
    assert_int_equal(github_get_runner(f->github, &s, 5, &r, &e), 0);
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghs_1");
    assert_string_equal(f->ledger.taken, "github:42");
}

static void a_configured_installation_goes_before_the_payloads(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_runner r;
    struct github *other = NULL;
    struct github_scope s = github_scope_parse("acme", 7);
    f->config.github.installation = 42;
    fixture_route(f, runner_route);
    assert_int_equal(github_open(&f->config, NULL, &other, &e), 0);
    assert_int_equal(github_get_runner(other, &s, 5, &r, &e), 0);
    assert_int_equal(http_server_count(f->server, MINT), 1);
    github_close(other);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void a_short_wait_for_the_bucket_is_slept(void **state)
{
    struct fixture *f = *state;
    fixture_route(f, runner_route);
    f->ledger.waits[0] = 1;
    f->ledger.waits[1] = 1;
    f->ledger.wait_count = 2;
    assert_ok(f);
    assert_int_equal(f->ledger.takes, 4); /* two waits, the mint, the call */
}

static void a_long_wait_for_the_bucket_is_the_callers(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, runner_route);
    f->ledger.waits[0] = 60000;
    f->ledger.wait_count = 1;
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.retry_after_ms, 60000);
    assert_int_equal(http_server_count(f->server, ""), 0);
}

static void a_ledger_out_of_reach_is_its_own_error(void **state)
{
    struct fixture *f = *state;
    struct err e;
    f->ledger.broken = true;
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "the store is away"));
    assert_int_equal(http_server_count(f->server, ""), 0);
}

static void a_limit_closes_the_bucket_for_all(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){GET_RUNNER, 429, "Retry-After: 30\r\n", "", 0});
    int64_t before_ms = clock_wall_ms();
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.code, 429);
    assert_int_equal(e.retry_after_ms, 30000);
    assert_string_equal(f->ledger.paused, "github:42");
    assert_true(f->ledger.paused_until_ms >= before_ms + 30000);
    assert_true(f->ledger.paused_until_ms <= clock_wall_ms() + 30000);
    assert_int_equal(http_server_count(f->server, GET_RUNNER), 1);
}

static void a_limit_on_minting_stops_that_installation_alone(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){MINT, 403, "Retry-After: 5\r\n", "", 0});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.retry_after_ms, 5000);
    assert_string_equal(f->ledger.paused, "github:app/42");
}

static void secondary_limits_in_a_row_double_the_wait(void **state)
{
    static const char body[] = "{\"message\":\"You have exceeded a secondary rate limit\"}";
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, runner_route);
    fixture_route(f, (struct route){GET_RUNNER, 403, NULL, body, 2});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.retry_after_ms, 60000);
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.retry_after_ms, 120000);
    assert_ok(f);
    fixture_route(f, (struct route){GET_RUNNER, 403, NULL, body, 1});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.retry_after_ms, 60000);
}

static void the_last_call_of_the_window_closes_the_bucket(void **state)
{
    struct fixture *f = *state;
    char headers[128];
    (void)snprintf(headers, sizeof headers,
                   "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: %" PRId64 "\r\n",
                   clock_wall_ms() / 1000 + 100);
    fixture_route(f, (struct route){GET_RUNNER, 200, headers, RUNNER_BODY, 0});
    assert_ok(f);
    assert_string_equal(f->ledger.paused, "github:42");
}

static void a_refusal_names_the_permission(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){
                         GET_RUNNER, 403,
                         "X-Accepted-GitHub-Permissions: organization_self_hosted_runners=read\r\n",
                         "{\"message\":\"Resource not accessible by integration\"}", 0});
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.code, 403);
    assert_non_null(strstr(e.message, "organization_self_hosted_runners=read"));
    assert_non_null(strstr(e.message, "Resource not accessible"));
    assert_int_equal(f->ledger.pauses, 0);
}

/* --- everything else that can come back --------------------------------------------------------
 */

static void every_status_has_its_class(void **state)
{
    static const struct {
        int status;
        enum err_class class;
    } table[] = {{400, ERR_PERMANENT}, {404, ERR_NOT_FOUND}, {409, ERR_CONFLICT},
                 {422, ERR_PERMANENT}, {500, ERR_RETRY},     {502, ERR_RETRY},
                 {503, ERR_RETRY},     {504, ERR_RETRY}};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct err e;
        fixture_route(f, (struct route){GET_RUNNER, table[i].status, "X-GitHub-Request-Id: A:B\r\n",
                                        "{\"message\":\"because\"}", 1});
        assert_int_equal(get_runner(f, &e), -1);
        assert_int_equal(e.class, table[i].class);
        assert_int_equal(e.code, table[i].status);
        assert_non_null(strstr(e.message, "because"));
        assert_non_null(strstr(e.message, "A:B"));
        assert_non_null(strstr(e.message, "/orgs/acme/actions/runners/5"));
    }
}

static void garbage_and_hang_ups_are_retry(void **state)
{
    struct fixture *f = *state;
    struct err e;
    static const char *const bodies[] = {"", "<html>", "{\"id\":", "[1]", "{\"id\":\"5\"}"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        fixture_route(f, (struct route){GET_RUNNER, 200, NULL, bodies[i], 1});
        assert_int_equal(get_runner(f, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
    }
}

static void hang_up(struct fixture *f, const struct served_request *q, struct served_answer *a)
{
    (void)f;
    (void)q;
    a->hang_up = true;
}

static void no_answer_is_retry_and_counted(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct metric *failed = metrics_histogram(
        "mayfly_call_seconds", "service=\"github\",operation=\"get\",outcome=\"retry\"", NULL, 0);
    int64_t before = metric_value(failed);
    f->script = hang_up;
    assert_int_equal(get_runner(f, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "/orgs/acme/actions/runners/5"));
    assert_int_equal(metric_value(failed), before + 1);
}

static void a_moved_repository_is_followed_with_the_token(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github_job job;
    char headers[256];
    (void)snprintf(headers, sizeof headers, "Location: %s/repositories/1/actions/jobs/9\r\n",
                   http_server_url(f->server));
    fixture_route(f, (struct route){"GET /repos/acme/old/actions/jobs/9", 301, headers, "", 0});
    fixture_route(f, (struct route){"GET /repositories/1/actions/jobs/9", 200, NULL,
                                    "{\"id\":9,\"status\":\"completed\",\"conclusion\":\"success\","
                                    "\"runner_id\":3,\"runner_name\":\"mf-3\"}",
                                    0});
    assert_int_equal(github_get_job(f->github, "acme/old", 42, 9, &job, &e), 0);
    assert_string_equal(job.status, "completed");
    assert_string_equal(job.conclusion, "success");
    assert_int_equal(job.runner_id, 3);
    assert_string_equal(job.runner_name, "mf-3");
    assert_string_equal(served_header(last_request(f), "Authorization"), "Bearer ghs_1");
}

static void an_enterprise_server_has_its_api_below_a_path(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github *other = NULL;
    struct github_runner r;
    struct github_scope s = fixture_org();
    char text[128];
    struct config c = f->config;
    (void)snprintf(text, sizeof text, "%s/api/v3/", http_server_url(f->server));
    c.github.api_url = text;
    fixture_route(
        f, (struct route){"GET /api/v3/orgs/acme/actions/runners/5", 200, NULL, RUNNER_BODY, 0});
    assert_int_equal(github_open(&c, NULL, &other, &e), 0);
    assert_int_equal(github_get_runner(other, &s, 5, &r, &e), 0);
    github_close(other);
}

static void what_cannot_work_is_refused_at_open(void **state)
{
    struct fixture *f = *state;
    char empty[] = "";
    char word[] = "api.github.com";
    char token[] = "ghp_a\nX-Evil: 1";
    char good[] = "ghp_a";
    char id[] = "1";
    char key[] = "no key";
    const struct config_github table[] = {
        {.api_url = word, .token = good, .app_id = empty, .app_key = empty},
        {.api_url = f->config.github.api_url, .token = token, .app_id = empty, .app_key = empty},
        {.api_url = f->config.github.api_url, .token = empty, .app_id = empty, .app_key = empty},
        {.api_url = f->config.github.api_url, .token = good, .app_id = id, .app_key = key},
        {.api_url = f->config.github.api_url, .token = empty, .app_id = id, .app_key = key},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct github *other = NULL;
        struct err e;
        struct config c = {.github = table[i]};
        c.github.api_version = empty;
        c.github.proxy = empty;
        assert_int_equal(github_open(&c, NULL, &other, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_null(strstr(e.message, "Evil"));
        assert_null(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_CASE(an_app_call_mints_a_token_and_uses_it),
        TOKEN_CASE(a_personal_token_is_used_as_it_is),
        TOKEN_CASE(a_personal_token_refused_is_auth_at_once),
        APP_CASE(a_token_is_kept_until_five_minutes_before_its_end),
        APP_CASE(a_token_that_seems_expired_at_birth_is_used_for_a_minute),
        APP_CASE(a_failed_renewal_uses_the_token_that_is_left),
        APP_CASE(token_that_has_grown_old_is_minted_anew_once),
        APP_CASE(new_token_that_is_not_known_everywhere_yet_is_used_again),
        APP_CASE(refusal_is_one_that_a_new_token_meets_for_seconds),
        APP_CASE(many_threads_mint_one_token),
        APP_CASE(an_app_key_refused_says_what_to_mend),
        APP_CASE(an_installation_that_is_gone_is_auth),
        APP_CASE(an_unknown_installation_is_looked_up_once_for_its_owner),
        APP_CASE(a_repository_is_looked_up_by_its_own_path),
        APP_CASE(an_app_that_is_not_installed_is_auth),
        APP_CASE(a_stale_installation_is_looked_up_again),
        APP_CASE(a_configured_installation_goes_before_the_payloads),
        APP_CASE(a_short_wait_for_the_bucket_is_slept),
        APP_CASE(a_long_wait_for_the_bucket_is_the_callers),
        APP_CASE(a_ledger_out_of_reach_is_its_own_error),
        APP_CASE(a_limit_closes_the_bucket_for_all),
        APP_CASE(a_limit_on_minting_stops_that_installation_alone),
        APP_CASE(secondary_limits_in_a_row_double_the_wait),
        APP_CASE(the_last_call_of_the_window_closes_the_bucket),
        APP_CASE(a_refusal_names_the_permission),
        APP_CASE(every_status_has_its_class),
        APP_CASE(garbage_and_hang_ups_are_retry),
        TOKEN_CASE(no_answer_is_retry_and_counted),
        APP_CASE(a_moved_repository_is_followed_with_the_token),
        TOKEN_CASE(an_enterprise_server_has_its_api_below_a_path),
        APP_CASE(what_cannot_work_is_refused_at_open),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
