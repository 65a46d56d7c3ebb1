/*
 * Several Apps: who serves an owner, rotation, an App that is refused, an installation whose limit is
 * used up, rotation of keys.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/fleet/verdict.h"
#include "common/github/budget.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

/* The script: Apps 1 to 3, whose installation ids on acme are 101 to 103, and on solo 201 to 203. Each
 * calls an API of its own, "/1" to "/3", so that the script knows it; the tokens name the installation. */
#define APPS 3

struct several {
    struct fixture base; /* the first member: the tests and the server get it */
    int calls[APPS + 1]; /* with a token of that App's installation on acme */
    int registered[APPS + 1];
    int solo_calls[APPS + 1];
    int lookups[APPS + 1];
    int minted[APPS + 1];
    int refused[APPS + 1]; /* status of its calls with an installation's token; 0: it works */
    bool suspended[APPS + 1];
    bool absent[APPS + 1]; /* not installed on acme */
    int64_t left[APPS + 1];
    bool key_refused[APPS + 1];
};

static void not_found(struct served_answer *a)
{
    a->status = 404;
    buf_append_cstr(&a->body, "{\"message\":\"Not Found\"}");
}

static void answer_app(struct several *s, int app, const struct served_request *q,
                       struct served_answer *a)
{
    const char *path = q->target + strlen("/1");
    bool acme = strcasestr(path, "/acme/") != NULL;
    bool solo = strstr(path, "/solo/") != NULL;
    if (s->key_refused[app]) {
        a->status = 401;
        buf_append_cstr(&a->body, "{\"message\":\"A JSON web token could not be decoded\"}");
    } else if (acme || solo) {
        s->lookups[app]++;
        if (acme && s->absent[app]) {
            not_found(a);
            return;
        }
        a->status = 200;
        buf_printf(&a->body, "{\"id\":%d}", (acme ? 100 : 200) + app);
    } else if (strstr(path, "/access_tokens") != NULL) {
        int id = atoi(path + strlen("/app/installations/"));
        if (id % 100 != app) {
            not_found(a); /* another App's */
            return;
        }
        s->minted[app]++;
        a->status = s->suspended[app] ? 403 : 201;
        if (s->suspended[app]) {
            buf_append_cstr(&a->body, "{\"message\":\"This installation has been suspended\"}");
        } else {
            buf_printf(&a->body, "{\"token\":\"ghs_%d\",\"expires_at\":\"2040-01-01T00:00:00Z\"}",
                       id);
        }
    } else if (strncmp(path, "/app/installations?", 19) == 0) {
        a->status = 200;
        buf_printf(&a->body,
                   "[{\"id\":%d,\"account\":{\"login\":\"Acme\",\"type\":\"Organization\"},"
                   "\"suspended_at\":%s},"
                   "{\"id\":%d,\"account\":{\"login\":\"solo\",\"type\":\"Organization\"}}]",
                   100 + app, s->suspended[app] ? "\"2026-01-01T00:00:00Z\"" : "null", 200 + app);
    } else {
        not_found(a);
    }
}

static void answer_installation(struct several *s, int id, const struct served_request *q,
                                struct served_answer *a)
{
    int app = id % 100;
    bool registers = strstr(q->target, "generate-jitconfig") != NULL;
    s->calls[app] += id < 200;
    s->solo_calls[app] += id >= 200;
    if (s->left[app] >= 0) {
        buf_printf(&a->headers,
                   "x-ratelimit-limit: 1000\r\nx-ratelimit-remaining: %lld\r\n"
                   "x-ratelimit-reset: %lld\r\n",
                   (long long)s->left[app], (long long)(clock_wall_ms() / 1000 + 600));
    }
    if (s->refused[app] != 0) {
        a->status = s->refused[app];
        buf_append_cstr(&a->body, "{\"message\":\"Resource not accessible by integration\"}");
    } else if (strstr(q->target, "/actions/runner-groups") != NULL) {
        a->status = 200;
        buf_append_cstr(&a->body, GROUPS_BODY);
    } else if (registers) {
        s->registered[app]++;
        a->status = 201;
        buf_append_cstr(&a->body, JIT_BODY);
    } else {
        a->status = 200;
        buf_append_cstr(&a->body,
                        "{\"id\":9,\"name\":\"mf-1\",\"status\":\"offline\",\"busy\":false}");
    }
}

static void script(struct fixture *f, const struct served_request *q, struct served_answer *a)
{
    struct several *s = (struct several *)(void *)f;
    const char *minted = strstr(served_header(q, "authorization"), "ghs_");
    if (minted != NULL) {
        answer_installation(s, atoi(minted + 4), q, a);
    } else {
        answer_app(s, q->target[1] - '0', q, a);
    }
}

/* --- set-up --- */

static struct config_app app_config(const struct several *s, int number, const char *organization)
{
    char text[1200];
    struct config_app app = {.key = slice_dup(slice_of(fixture_key_pem()))};
    (void)snprintf(text, sizeof text, "app-%d", number);
    app.id = slice_dup(slice_of(text));
    (void)snprintf(text, sizeof text, "%s/%d", http_server_url(s->base.server), number);
    app.api_url = slice_dup(slice_of(text));
    if (organization != NULL) {
        config_list_add(&app.organizations, slice_of(organization));
    }
    return app;
}

static void set_apps(struct several *s, const char *const organizations[], size_t n)
{
    struct config_github *c = &s->base.config.github;
    c->apps = calloc(n, sizeof *c->apps);
    ASSERT(c->apps != NULL);
    c->app_count = n;
    for (size_t i = 0; i < n; i++) {
        c->apps[i] = app_config(s, (int)i + 1, organizations[i]);
        s->left[i + 1] = -1;
    }
}

static void free_apps(struct config_github *c)
{
    for (size_t i = 0; i < c->app_count; i++) {
        free(c->apps[i].id);
        free(c->apps[i].key);
        free(c->apps[i].api_url);
        config_list_fini(&c->apps[i].organizations);
    }
    free(c->apps);
}

/* The fixture's own handle is closed, and one with these Apps opened. */
static struct several *with_apps(void **state, const char *const organizations[], size_t n)
{
    struct err e;
    struct several *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    fixture_make(&s->base);
    s->base.script = script;
    set_apps(s, organizations, n);
    assert_int_equal(github_open(&s->base.config, &s->base.ledger, &s->base.github, &e), 0);
    *state = s;
    return s;
}

static int tear_down(void **state)
{
    struct several *s = *state;
    free_apps(&s->base.config.github);
    return fixture_tear_down(state);
}

static const char *const rotation[] = {"acme", "ACME", "solo"};

static int register_one(struct several *s, const char *scope, struct err *e)
{
    char *labels[] = {(char[]){"linux"}};
    const struct config_list list = {labels, 1};
    const struct github_scope of = github_scope_parse(scope, 999); /* of a delivery */
    const struct github_register r = {
        .scope = &of, .name = "mf-1", .labels = &list, .group = "Default"};
    struct github_jit jit = {.config = NULL};
    int rc = github_register_runner(s->base.github, &r, &jit, e);
    github_jit_fini(&jit);
    return rc;
}

static int look(struct several *s, const char *scope, struct err *e)
{
    struct github_runner runner;
    const struct github_scope of = github_scope_parse(scope, 999);
    return github_get_runner(s->base.github, &of, 9, &runner, e);
}

/* --- who serves an owner --- */

static void owner_is_served_by_the_apps_that_name_it(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(register_one(s, "solo", &e), 0);
    }
    assert_int_equal(s->registered[3], 6);
    assert_int_equal(s->registered[1] + s->registered[2], 0);
    assert_int_equal(s->lookups[3], 1); /* by owner, once; the delivery's id is not used */
    assert_int_equal(s->minted[3], 1);
    assert_int_equal(look(s, "nobody", &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "no App serves nobody"));
    assert_int_equal(verdict_of(&e, false).subject, SUBJECT_INSTALLATION);
}

static void app_without_organizations_serves_all_others(void **state)
{
    static const char *const organizations[] = {NULL, "acme"};
    struct several *s = with_apps(state, organizations, 2);
    struct err e;
    assert_int_equal(look(s, "Acme/site", &e), 0);
    assert_int_equal(look(s, "solo", &e), 0);
    assert_int_equal(s->calls[2], 1);
    assert_int_equal(s->calls[1], 0);
    assert_int_equal(s->solo_calls[1], 1);
}

/* --- rotation --- */

static void apps_of_one_organization_register_in_turn(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(register_one(s, "acme", &e), 0);
        assert_int_equal(look(s, "acme", &e), 0);
    }
    assert_int_equal(s->registered[1], 10);
    assert_int_equal(s->registered[2], 10);
    assert_int_equal(s->lookups[1] + s->lookups[2], 2);
}

static void registrations_have_a_rate_for_each_installation(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    s->base.github->jit_rate = (struct config_rate){2.75, 15};
    assert_int_equal(register_one(s, "solo", &e), 0);
    assert_int_equal(register_one(s, "solo", &e), 0);
    assert_true(fixture_took(&s->base, "jit/github:203@"));
    assert_true(fixture_took(&s->base, "github:203@"));
    assert_false(fixture_took(&s->base, "jit/github:101"));
    /* Of one App that rate is narrower than its organization's; of two it is not. */
    s->base.github->registration_rate = (struct config_rate){4.75, 75};
    assert_int_equal(register_one(s, "solo", &e), 0);
    assert_false(fixture_took(&s->base, "registrations/"));
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_true(fixture_took(&s->base, "registrations/acme"));
}

static void other_calls_go_where_most_of_the_limit_is_left(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    s->left[1] = 400;
    s->left[2] = 700;
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(register_one(s, "acme", &e), 0);
    s->calls[1] = s->calls[2] = 0;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(look(s, "acme", &e), 0);
    }
    assert_int_equal(s->calls[2], 5);
    s->left[2] = 100;
    assert_int_equal(look(s, "acme", &e), 0);
    assert_int_equal(look(s, "acme", &e), 0);
    assert_int_equal(s->calls[1], 1);
}

static void installation_whose_limit_is_used_up_is_skipped(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    s->left[1] = 0;
    s->left[2] = 500;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(register_one(s, "acme", &e), 0);
    }
    s->registered[1] = s->registered[2] = 0;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(register_one(s, "acme", &e), 0);
    }
    assert_int_equal(s->registered[1], 0);
    assert_int_equal(s->registered[2], 6);
}

/* --- an App that is refused --- */

static void refused_app_does_not_stop_another(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    s->refused[1] = 403;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(register_one(s, "acme", &e), 0);
    }
    assert_int_equal(s->registered[2], 8);
    assert_int_equal(s->calls[1], 1); /* then it is left alone for a minute */
    s->refused[2] = 403;
    assert_int_equal(register_one(s, "acme", &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
}

static void suspended_or_absent_app_does_not_stop_another(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    s->suspended[1] = true;
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(s->registered[2], 2);
    s->absent[2] = true;
    s->suspended[1] = false;
    fixture_move_clock(3 * 3600 * INT64_C(1000)); /* the id is looked up again, and not found */
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(s->registered[1], 1);
}

static void key_that_github_refuses_stops_its_own_organizations_alone(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    s->key_refused[3] = true;
    s->key_refused[1] = true;
    assert_int_equal(register_one(s, "solo", &e), -1);
    assert_true(e.of_one_app);
    assert_int_equal(verdict_of(&e, false).subject, SUBJECT_INSTALLATION);
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(s->registered[2], 2);
    assert_int_equal(github_ping(s->base.github, &e), -1); /* App 2 has no such page here */
}

/* --- installations --- */

struct told {
    char owners[8][SCOPE_SIZE];
    int64_t ids[8];
    bool suspended[8];
    size_t count;
};

static int tell(void *arg, const struct github_installation *i)
{
    struct told *t = arg;
    (void)snprintf(t->owners[t->count], SCOPE_SIZE, "%s", i->owner);
    t->suspended[t->count] = i->suspended;
    t->ids[t->count++] = i->id;
    return 0;
}

static void each_owner_is_listed_once_of_the_app_that_serves_it(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct told t = {.count = 0};
    struct err e;
    assert_int_equal(github_list_installations(s->base.github, tell, &t, &e), 0);
    assert_int_equal(t.count, 2);
    assert_string_equal(t.owners[0], "Acme");
    assert_int_equal(t.ids[0], 101);
    assert_string_equal(t.owners[1], "solo");
    assert_int_equal(t.ids[1], 203);
    assert_int_equal(register_one(s, "solo", &e), 0);
    assert_int_equal(s->lookups[3], 0); /* known from the list */
    s->suspended[1] = true;
    t.count = 0;
    assert_int_equal(github_list_installations(s->base.github, tell, &t, &e), 0);
    assert_int_equal(t.count, 2);
    assert_int_equal(t.ids[0], 102); /* the other App's is not suspended */
    s->suspended[2] = true;
    t.count = 0;
    assert_int_equal(github_list_installations(s->base.github, tell, &t, &e), 0);
    assert_int_equal(t.count, 2);
    assert_int_equal(t.ids[1], 101); /* listed all the same: nothing may be concluded from it */
    assert_true(t.suspended[1]);
    s->suspended[2] = false;
    s->key_refused[1] = true;
    t.count = 0;
    assert_int_equal(github_list_installations(s->base.github, tell, &t, &e), -1);
    assert_int_equal(t.count, 2); /* the others are listed all the same */
    assert_int_equal(t.ids[0], 102);
}

/* --- an enterprise --- */

static void enterprise_is_the_tokens_and_all_else_the_apps(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct err e;
    assert_int_equal(register_one(s, "enterprises/big", &e), -1);
    assert_non_null(strstr(e.message, "no token serves enterprises/big: give github.token"));
    github_close(s->base.github);
    free(s->base.config.github.token);
    s->base.config.github.token = slice_dup(SLICE("ghs_300")); /* as the script reads tokens */
    assert_int_equal(github_open(&s->base.config, &s->base.ledger, &s->base.github, &e), 0);
    assert_int_equal(register_one(s, "enterprises/big#Fast ones", &e), 0);
    assert_int_equal(s->registered[0], 1);
    assert_true(fixture_took(&s->base, "github:token"));
    assert_int_equal(http_server_count(s->base.server,
                                       "POST /enterprises/big/actions/runners/generate-jitconfig"),
                     1);
    assert_int_equal(look(s, "acme", &e), 0);
    assert_int_equal(s->calls[1] + s->calls[2], 1);
}

static void scope_of_a_job_follows_its_class(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct config *c = &s->base.config;
    char text[] = "enterprise";
    char slug[] = "big";
    char none[] = "";
    struct config_class class = {.scope = text, .runner_group = none};
    struct job job = {.repository = "acme/site", .organization = "acme"};
    c->github.enterprise = slug;
    struct github_scope scope = github_scope_of(c, &class, &job);
    assert_string_equal(scope.name, "enterprises/big");
    assert_true(scope.is_enterprise && !scope.is_repository);
    scope = github_scope_parse("enterprises/big#quiet", 7);
    assert_true(scope.is_enterprise && !scope.is_repository);
    assert_string_equal(scope.group, "quiet");
    job.organization[0] = '\0'; /* a user's: no enterprise has runners for it */
    scope = github_scope_of(c, &class, &job);
    assert_string_equal(scope.name, "acme/site");
    assert_true(scope.is_repository && !scope.is_enterprise);
    assert_false(github_scope_of(c, NULL, &job).is_enterprise);
}

/* --- keys --- */

static void keys_and_organizations_are_reloaded(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct config_github *c = &s->base.config.github;
    struct err e;
    struct buf changed;
    buf_init(&changed, 256);
    assert_int_equal(github_reload(s->base.github, &s->base.config, &changed, &e), 0);
    assert_int_equal(changed.len, 0);
    free(c->apps[1].key);
    c->apps[1].key = fixture_other_key_pem();
    free(c->apps[2].key);
    c->apps[2].key = slice_dup(SLICE("no key"));
    assert_int_equal(github_reload(s->base.github, &s->base.config, &changed, &e), -1);
    assert_non_null(strstr(e.message, "github.apps[2].private_key: "));
    assert_int_equal(register_one(s, "acme", &e), 0); /* with the keys that they had */
    assert_int_equal(register_one(s, "acme", &e), 0);
    assert_int_equal(s->registered[2], 1);
    free(c->apps[1].key);
    c->apps[1].key = slice_dup(slice_of(fixture_key_pem()));
    free(c->apps[2].key);
    c->apps[2].key = fixture_other_key_pem();
    config_list_add(&c->apps[0].organizations, SLICE("solo"));
    assert_int_equal(github_reload(s->base.github, &s->base.config, &changed, &e), 0);
    assert_string_equal(changed.data, "app-3");
    assert_int_equal(register_one(s, "solo", &e), 0);
    assert_int_equal(register_one(s, "solo", &e), 0);
    assert_int_equal(s->registered[1] + s->registered[3], 3);
    assert_int_equal(s->registered[3], 1);
    buf_fini(&changed);
}

#define CALLERS 3
#define RELOADS 20

struct caller {
    struct several *s;
    int stop; /* read with __atomic */
    int failed;
};

static void *call_on(void *arg)
{
    struct caller *c = arg;
    while (!__atomic_load_n(&c->stop, __ATOMIC_ACQUIRE)) {
        struct github_app app;
        struct err e;
        /* No such page in the script: but the request was signed. */
        bool failed = look(c->s, "acme", &e) != 0;
        (void)!github_get_app(c->s->base.github, 0, &app, &e);
        __atomic_fetch_add(&c->failed, failed, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void calls_go_on_while_keys_are_replaced(void **state)
{
    struct several *s = with_apps(state, rotation, 3);
    struct caller c = {.s = s};
    pthread_t threads[CALLERS];
    char *keys[] = {fixture_other_key_pem(), s->base.config.github.apps[0].key};
    struct buf changed;
    struct err e;
    buf_init(&changed, 4096);
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_on, &c), 0);
    }
    for (size_t i = 0; i < RELOADS; i++) {
        s->base.config.github.apps[0].key = keys[i % 2];
        assert_int_equal(github_reload(s->base.github, &s->base.config, &changed, &e), 0);
    }
    __atomic_store_n(&c.stop, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < CALLERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(c.failed, 0);
    assert_int_equal(changed.len, RELOADS * strlen("app-1 ") - 1);
    free(keys[0]);
    buf_fini(&changed);
}

#define CASE(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(owner_is_served_by_the_apps_that_name_it),
        CASE(app_without_organizations_serves_all_others),
        CASE(apps_of_one_organization_register_in_turn),
        CASE(registrations_have_a_rate_for_each_installation),
        CASE(other_calls_go_where_most_of_the_limit_is_left),
        CASE(installation_whose_limit_is_used_up_is_skipped),
        CASE(refused_app_does_not_stop_another),
        CASE(suspended_or_absent_app_does_not_stop_another),
        CASE(key_that_github_refuses_stops_its_own_organizations_alone),
        CASE(each_owner_is_listed_once_of_the_app_that_serves_it),
        CASE(enterprise_is_the_tokens_and_all_else_the_apps),
        CASE(scope_of_a_job_follows_its_class),
        CASE(keys_and_organizations_are_reloaded),
        CASE(calls_go_on_while_keys_are_replaced),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
