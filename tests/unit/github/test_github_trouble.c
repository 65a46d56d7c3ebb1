/*
 * Trouble with GitHub: who said it (err.from), from which the subject of an error follows, and an
 * installation that a webhook names and GitHub does not know.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/github/github_fixture.h"

#define MINT "POST /app/installations/42/access_tokens"
#define UNKNOWN_MINT "POST /app/installations/7/access_tokens"
#define LOOKUP "GET /orgs/acme/installation"
#define JITCONFIG "POST /orgs/acme/actions/runners/generate-jitconfig"
#define GROUPS "GET /orgs/acme/actions/runner-groups"
#define GROUP_FULL "{\"message\":\"Runner group 1 has reached max limit of 10000 runners.\"}"

static char label[] = "small";
static char *label_items[] = {label};
static const struct config_list labels = {label_items, 1};

static int register_at(struct github *g, int64_t installation, struct err *e)
{
    struct github_jit jit = {.config = NULL};
    struct github_scope s = github_scope_parse("acme", installation);
    const struct github_register r = {
        .scope = &s, .name = "mf-1", .labels = &labels, .group = "Default"};
    int rc = github_register_runner(g, &r, &jit, e);
    github_jit_fini(&jit);
    return rc;
}

static void works(struct fixture *f)
{
    fixture_route(f, (struct route){JITCONFIG, 201, NULL, JIT_BODY, 0});
    fixture_route(f, (struct route){GROUPS, 200, NULL, GROUPS_BODY, 0});
}

static void assert_said(struct fixture *f, enum err_from from, enum err_class class, int code)
{
    struct err e = {.class = ERR_NONE};
    assert_int_equal(register_at(f->github, 42, &e), -1);
    if (e.from != from || e.class != class || e.code != code) {
        fail_msg("from %d class %s code %d: %s", (int)e.from, err_class_name(e.class), e.code,
                 e.message);
    }
}

/* --- who said it --- */

static void refusal_of_the_app_is_said_to_the_app(void **state)
{
    static const struct {
        struct route route;
        enum err_class class;
    } table[] = {
        {{MINT, 401, NULL, "{\"message\":\"A JSON web token could not be decoded\"}", 1}, ERR_AUTH},
        {{MINT, 403, NULL, "{\"message\":\"This installation has been suspended\"}", 1}, ERR_AUTH},
        {{MINT, 502, NULL, "<html>", 1}, ERR_RETRY},
        {{MINT, 429, "Retry-After: 30\r\n", "", 1}, ERR_THROTTLED},
    };
    struct fixture *f = *state;
    works(f);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        fixture_route(f, table[i].route);
        assert_said(f, ERR_FROM_APP, table[i].class, table[i].route.status);
    }
    fixture_route(f, (struct route){MINT, 201, NULL, "<html>", 1});
    assert_said(f, ERR_FROM_APP, ERR_RETRY, 0);
    assert_int_equal(http_server_count(f->server, JITCONFIG), 0);
}

static void refusal_of_a_registration_is_said_by_github(void **state)
{
    static const struct {
        struct route route;
        enum err_class class;
    } table[] = {
        {{JITCONFIG, 403, NULL, "{\"message\":\"\"}", 1}, ERR_AUTH},
        {{JITCONFIG, 422, NULL, GROUP_FULL, 1}, ERR_CAPACITY},
        {{JITCONFIG, 422, NULL, "{\"message\":\"Invalid label\"}", 1}, ERR_PERMANENT},
        {{JITCONFIG, 500, NULL, "", 1}, ERR_RETRY},
        {{JITCONFIG, 503, NULL, "<html>", 1}, ERR_RETRY},
    };
    struct fixture *f = *state;
    works(f);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        fixture_route(f, table[i].route);
        assert_said(f, ERR_FROM_GITHUB, table[i].class, table[i].route.status);
    }
    fixture_route(f, (struct route){JITCONFIG, 201, NULL, "<html>", 1});
    assert_said(f, ERR_FROM_GITHUB, ERR_RETRY, 0);
    fixture_route(f, (struct route){GROUPS, 200, NULL, "<html>", 1});
    fixture_move_clock(INT64_C(24) * 3600 * 1000);
    assert_said(f, ERR_FROM_GITHUB, ERR_RETRY, 0);
    fixture_route(f, (struct route){GROUPS, 200, NULL, "{\"runner_groups\":[]}", 1});
    assert_said(f, ERR_FROM_GITHUB, ERR_PERMANENT, 0); /* the job is not to blame */
}

static void rate_limit_says_when_it_ends(void **state)
{
    struct fixture *f = *state;
    struct err e;
    char headers[128];
    works(f);
    (void)snprintf(headers, sizeof headers,
                   "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: %" PRId64 "\r\n",
                   clock_wall_ms() / 1000 + 600);
    fixture_route(f, (struct route){JITCONFIG, 403, headers, "", 0});
    assert_int_equal(register_at(f->github, 42, &e), -1);
    assert_int_equal(e.from, ERR_FROM_GITHUB);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_in_range(e.retry_after_ms, 590000, 601000);
}

static void hang_up(struct fixture *f, const struct served_request *q, struct served_answer *a)
{
    (void)f;
    (void)q;
    a->hang_up = true;
}

static void silence_has_no_code(void **state)
{
    struct fixture *f = *state;
    f->script = hang_up;
    assert_said(f, ERR_FROM_APP, ERR_RETRY, 0);
}

static void ledger_that_keeps_the_rates_is_not_github(void **state)
{
    struct fixture *f = *state;
    f->ledger.broken = true;
    assert_said(f, ERR_FROM_LEDGER, ERR_RETRY, 5);
}

static void proxy_is_not_github(void **state)
{
    struct fixture *f = *state;
    struct github *other = NULL;
    struct err e;
    struct config c = f->config;
    char proxy[64];
    char api[] = "http://api.example.test";
    (void)snprintf(proxy, sizeof proxy, "%s", http_server_url(f->server));
    c.github.proxy = proxy;
    c.github.api_url = api;
    fixture_route(f, (struct route){"POST http://api.example.test/", 407, NULL, "", 0});
    assert_int_equal(github_open(&c, NULL, &other, &e), 0);
    assert_int_equal(register_at(other, 42, &e), -1);
    assert_int_equal(e.from, ERR_FROM_PROXY);
    assert_non_null(strstr(e.message, "proxy"));
    github_close(other);
}

/* It is all that we have, as an App's key is. */
static void personal_token_refused_is_said_to_the_app(void **state)
{
    struct fixture *f = *state;
    works(f);
    fixture_route(f, (struct route){JITCONFIG, 403, NULL, "{\"message\":\"\"}", 1});
    assert_said(f, ERR_FROM_GITHUB, ERR_AUTH, 403);
    fixture_route(f, (struct route){JITCONFIG, 401, NULL, "{\"message\":\"Bad credentials\"}", 0});
    assert_said(f, ERR_FROM_APP, ERR_AUTH, 401);
}

/* --- an unknown installation --- */

static void unknown_installation_is_replaced_by_the_owners_and_kept(void **state)
{
    struct fixture *f = *state;
    struct err e;
    works(f);
    fixture_route(f, (struct route){LOOKUP, 200, NULL, "{\"id\":42}", 0});
    for (int i = 0; i < 20; i++) {
        assert_int_equal(register_at(f->github, 7, &e), 0);
    }
    assert_int_equal(http_server_count(f->server, UNKNOWN_MINT), 1);
    assert_int_equal(http_server_count(f->server, LOOKUP), 1);
    assert_int_equal(http_server_count(f->server, MINT), 1);
    assert_int_equal(http_server_count(f->server, JITCONFIG), 20);
    assert_string_equal(f->ledger.taken, "github:42");
}

static void installation_that_github_knows_is_not_looked_up(void **state)
{
    struct fixture *f = *state;
    struct err e;
    works(f);
    assert_int_equal(register_at(f->github, 42, &e), 0);
    fixture_route(f, (struct route){MINT, 403, NULL, "{\"message\":\"suspended\"}", 0});
    fixture_move_clock(INT64_C(2) * 3600 * 1000);
    assert_int_equal(register_at(f->github, 42, &e), -1);
    assert_int_equal(http_server_count(f->server, LOOKUP), 0);
}

static void installation_that_is_configured_is_not_replaced(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct github *other = NULL;
    works(f);
    fixture_route(f, (struct route){LOOKUP, 200, NULL, "{\"id\":42}", 0});
    f->config.github.installation = 7;
    assert_int_equal(github_open(&f->config, NULL, &other, &e), 0);
    assert_int_equal(register_at(other, 42, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.from, ERR_FROM_APP);
    assert_int_equal(http_server_count(f->server, LOOKUP), 0);
    assert_int_equal(http_server_count(f->server, MINT), 0);
    github_close(other);
}

static void app_that_is_nowhere_installed_is_said_to_the_app(void **state)
{
    struct fixture *f = *state;
    struct err e;
    works(f);
    assert_int_equal(register_at(f->github, 7, &e), -1);
    assert_int_equal(e.from, ERR_FROM_APP);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.code, 404);
    assert_int_equal(http_server_count(f->server, LOOKUP), 1);
}

/* A portal or a proxy that answers 200 to everything is not GitHub. */
static void page_in_place_of_the_rate_limits_is_no_sign_of_life(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){"GET /rate_limit", 200, NULL, "{\"resources\":{}}", 1});
    assert_int_equal(github_ping(f->github, &e), 0);
    fixture_route(f, (struct route){"GET /rate_limit", 200, NULL, "<html>", 1});
    assert_int_equal(github_ping(f->github, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
}

static int any_runner(void *arg, const struct github_runner *r)
{
    (void)arg;
    (void)r;
    return 0;
}

/* Lists a scope's runners of which each page is this. */
static int list_of(struct fixture *f, const char *page, int pages, struct err *e)
{
    struct github_scope s = github_scope_parse("acme", 42);
    const char *next =
        "Link: <https://github.test/orgs/acme/actions/runners?page=2>; rel=\"next\"\r\n";
    fixture_route(f, (struct route){"GET /orgs/acme/actions/runners", 200, NULL, page, 1});
    if (pages > 1) {
        fixture_route(f, (struct route){"GET /orgs/acme/actions/runners", 200, next, page, 1});
    }
    return github_list_runners(f->github, &s, GITHUB_RECONCILE, any_runner, NULL, e);
}

#define ONE_RUNNER                                                                                 \
    "\"runners\":[{\"id\":1,\"name\":\"a\",\"status\":\"online\",\"busy\":true,\"labels\":[]}]}"

static void list_that_names_fewer_runners_than_it_counts_is_no_list(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must_fail_saying(list_of(f, "{\"total_count\":5,\"runners\":[]}", 1, &e), &e, ERR_RETRY,
                     "names 0 and counts 5");
    must_fail_saying(list_of(f, "{\"total_count\":2," ONE_RUNNER, 1, &e), &e, ERR_RETRY,
                     "names 1 and counts 2");
    MUST(list_of(f, "{\"total_count\":1," ONE_RUNNER, 1, &e));
    MUST(list_of(f, "{\"total_count\":0,\"runners\":[]}", 1, &e));
}

static void list_of_several_pages_may_miss_those_that_moved_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct err e;
    MUST(list_of(f, "{\"total_count\":7," ONE_RUNNER, 2, &e));
    must_fail_saying(list_of(f, "{\"total_count\":8," ONE_RUNNER, 2, &e), &e, ERR_RETRY,
                     "names 2 and counts 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APP_CASE(refusal_of_the_app_is_said_to_the_app),
        APP_CASE(refusal_of_a_registration_is_said_by_github),
        APP_CASE(rate_limit_says_when_it_ends),
        APP_CASE(silence_has_no_code),
        APP_CASE(ledger_that_keeps_the_rates_is_not_github),
        APP_CASE(proxy_is_not_github),
        APP_CASE(list_that_names_fewer_runners_than_it_counts_is_no_list),
        APP_CASE(list_of_several_pages_may_miss_those_that_moved_meanwhile),
        TOKEN_CASE(personal_token_refused_is_said_to_the_app),
        TOKEN_CASE(page_in_place_of_the_rate_limits_is_no_sign_of_life),
        APP_CASE(unknown_installation_is_replaced_by_the_owners_and_kept),
        APP_CASE(installation_that_github_knows_is_not_looked_up),
        APP_CASE(installation_that_is_configured_is_not_replaced),
        APP_CASE(app_that_is_nowhere_installed_is_said_to_the_app),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
