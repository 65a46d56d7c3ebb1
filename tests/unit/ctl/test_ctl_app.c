/* `mayflyctl app create`: what is asked of GitHub, which requests the local page takes, and what is
 * read from GitHub's answer. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/github/app_needs.h"
#include "deploy/ctl/app/app.h"
#include "tests/lib/cmocka.h"

#define HOOK "https://m.example/webhook"

static int read_plan(const struct ctl_given *given, int count, struct app_plan *out, struct err *e)
{
    struct ctl c = {.given = given, .given_count = count};
    int rc = app_plan_read(&c, out, e);
    assert_int_equal(c.exit_code, rc == 0 ? 0 : CTL_EXIT_USAGE);
    return rc;
}

static void pages_are_found_by_the_api(void **state)
{
    static const struct {
        const char *api;
        const char *web;
    } cases[] = {
        {"https://api.github.com", "https://github.com"},
        {"https://ghe.example.com/api/v3", "https://ghe.example.com"},
        {"https://ghe.example.com:8443/api/v3", "https://ghe.example.com:8443"},
        {"https://api.acme.ghe.com", "https://acme.ghe.com"},
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
    };
    char web[APP_URL_SIZE];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(app_web_of(cases[i].api, web, sizeof web));
        assert_string_equal(web, cases[i].web);
    }
    assert_false(app_web_of("https://api.github.com", web, 8));
}

static void options_that_cannot_be_meant_are_refused(void **state)
{
    static const struct {
        struct ctl_given given[3];
        const char *says;
    } cases[] = {
        {{{"--organization", "acme"}}, "--webhook-url is missing"},
        {{{"--webhook-url", HOOK}}, "--organization is missing"},
        {{{"--webhook-url", HOOK}, {"--organization", "a/b"}}, "--organization must be"},
        {{{"--webhook-url", HOOK}, {"--organization", "acme?x"}}, "--organization must be"},
        {{{"--webhook-url", "m.example"}, {"--organization", "acme"}}, "the webhook's URL must"},
        {{{"--webhook-url", "https://m.example/\"><b"}, {"--organization", "acme"}},
         "the webhook's URL must"},
        {{{"--webhook-url", HOOK}, {"--organization", "acme"}, {"--scope", "repo"}},
         "--scope must"},
        {{{"--webhook-url", HOOK},
          {"--organization", "acme"},
          {"--name", "a name of more than thirty-four letters"}},
         "--name must have"},
        {{{"--webhook-url", HOOK}, {"--organization", "acme"}, {"--api-url", "https://github.com"}},
         "--api-url is GitHub's web site"},
        {{{"--webhook-url", HOOK}, {"--organization", "acme"}, {"--api-url", "https://a.b/x?y=\""}},
         "--api-url must be"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct app_plan plan;
        struct err e = {0};
        int count = 0;
        while (count < 3 && cases[i].given[count].name != NULL) {
            count++;
        }
        assert_int_equal(read_plan(cases[i].given, count, &plan, &e), -1);
        if (strstr(e.message, cases[i].says) == NULL) {
            fail_msg("\"%s\" has not \"%s\"", e.message, cases[i].says);
        }
    }
}

static json_t *manifest_of(const char *scope)
{
    const struct ctl_given given[] = {
        {"--webhook-url", HOOK "?a=1&b"}, {"--organization", "acme"}, {"--scope", scope}};
    struct app_plan plan;
    struct err e = {0};
    struct buf text;
    buf_init(&text, 8192);
    assert_int_equal(read_plan(given, 3, &plan, &e), 0);
    app_manifest(&plan, "http://127.0.0.1:4000/created", &text);
    json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buf_fini(&text);
    return root;
}

/* Without an ingress the hook is active all the same: GitHub logs nothing of an inactive one. */
static void app_that_is_pulled_has_an_active_hook_to_nowhere(void **state)
{
    const struct ctl_given given[] = {{"--pull", ""}, {"--organization", "acme"}};
    struct app_plan plan;
    struct err e = {0};
    struct buf text;
    (void)state;
    buf_init(&text, 8192);
    assert_int_equal(read_plan(given, 2, &plan, &e), 0);
    assert_true(plan.pull);
    app_manifest(&plan, "http://127.0.0.1:4000/created", &text);
    assert_non_null(strstr(text.data, "\"hook_attributes\":{\"active\":true,\"url\":"
                                      "\"https://mayfly.invalid/webhook\"}"));
    buf_fini(&text);
}

static void manifest_has_what_the_table_says_and_no_more(void **state)
{
    static const char *const scopes[] = {"organization", "repository"};
    (void)state;
    for (size_t s = 0; s < COUNT_OF(scopes); s++) {
        json_t *root = manifest_of(scopes[s]);
        const json_t *has = json_object_get(root, "default_permissions");
        size_t needed = 0;
        for (size_t i = 0; i < GITHUB_APP_NEEDS; i++) {
            const struct github_app_need *need = &github_app_needs[i];
            if (github_app_needs_it(need, s == 0, s == 1, false)) {
                assert_string_equal(ctl_str(has, need->name), need->level);
                needed++;
            }
        }
        assert_int_equal(json_object_size(has), needed);
        assert_int_equal(needed, 3);
        const json_t *events = json_object_get(root, "default_events");
        assert_int_equal(json_array_size(events), 1);
        assert_string_equal(json_string_value(json_array_get(events, 0)), "workflow_job");
        const json_t *hook = json_object_get(root, "hook_attributes");
        assert_string_equal(ctl_str(hook, "url"), HOOK "?a=1&b");
        assert_true(json_is_true(json_object_get(hook, "active")));
        assert_true(json_is_false(json_object_get(root, "public")));
        assert_string_equal(ctl_str(root, "redirect_url"), "http://127.0.0.1:4000/created");
        assert_string_equal(ctl_str(root, "name"), "mayfly-acme");
        json_decref(root);
    }
}

static void app_that_gives_up_jobs_asks_for_more(void **state)
{
    const struct ctl_given given[] = {
        {"--webhook-url", HOOK}, {"--organization", "acme"}, {"--give-up", ""}};
    struct app_plan plan;
    struct err e = {0};
    struct buf text;
    (void)state;
    buf_init(&text, 8192);
    assert_int_equal(read_plan(given, 3, &plan, &e), 0);
    app_manifest(&plan, "http://127.0.0.1:4000/created", &text);
    assert_non_null(strstr(text.data, "\"actions\":\"write\",\"checks\":\"write\""));
    assert_null(strstr(text.data, "\"actions\":\"read\""));
    buf_fini(&text);
}

static void form_goes_to_the_owners_page(void **state)
{
    struct app_plan plan = {.web = "https://github.com", .organization = "acme"};
    struct buf text;
    (void)state;
    buf_init(&text, 1024);
    app_form_action(&plan, "s1", &text);
    assert_string_equal(text.data,
                        "https://github.com/organizations/acme/settings/apps/new?state=s1");
    buf_reset(&text);
    plan.organization = "";
    app_form_action(&plan, "s1", &text);
    assert_string_equal(text.data, "https://github.com/settings/apps/new?state=s1");
    buf_fini(&text);
}

/* --- requests --- */

struct visit {
    struct app_session session;
    char start[64];
    char cookie[96];
};

static void begin(struct visit *v)
{
    app_session_init(&v->session, 4000);
    (void)snprintf(v->start, sizeof v->start, "/start/%s", v->session.token);
    (void)snprintf(v->cookie, sizeof v->cookie, "a=b; mayfly_app_4000=%s", v->session.cookie);
}

static struct app_verdict ask(struct visit *v, const char *path, const char *query,
                              const char *cookie)
{
    struct app_verdict out;
    const struct app_request r = {.path = slice_of(path),
                                  .query = slice_of(query),
                                  .host = "127.0.0.1:4000",
                                  .cookie = cookie};
    app_session_judge(&v->session, &r, &out);
    return out;
}

static struct app_verdict return_with(struct visit *v, const char *code, const char *cookie)
{
    char query[1024];
    (void)snprintf(query, sizeof query, "code=%s&state=%s", code, v->session.state);
    return ask(v, "/created", query, cookie);
}

static void one_browser_is_let_in_and_its_return_is_exchanged(void **state)
{
    struct visit v;
    (void)state;
    begin(&v);
    struct app_verdict out = ask(&v, v.start, NULL, NULL);
    assert_int_equal(out.step, APP_SHOW);
    assert_true(out.set_cookie);
    assert_int_equal(ask(&v, v.start, NULL, v.cookie).step, APP_SHOW); /* a second tab */
    out = return_with(&v, "a1B2-._~", v.cookie);
    assert_int_equal(out.step, APP_EXCHANGE);
    assert_string_equal(out.code, "a1B2-._~");
}

static void others_on_this_machine_are_refused(void **state)
{
    struct visit v;
    struct visit other;
    char query[200];
    (void)state;
    begin(&v);
    begin(&other);
    assert_int_equal(ask(&v, "/", NULL, NULL).status, 404);
    assert_int_equal(ask(&v, other.start, NULL, NULL).status, 404);
    assert_int_equal(return_with(&v, "abc", v.cookie).status, 403); /* nobody was let in yet */
    assert_int_equal(ask(&v, v.start, NULL, NULL).step, APP_SHOW);
    assert_int_equal(ask(&v, v.start, NULL, NULL).status, 403); /* who read the URL later */
    assert_int_equal(ask(&v, v.start, NULL, other.cookie).status, 403);
    assert_int_equal(return_with(&v, "abc", NULL).status, 403);
    assert_int_equal(return_with(&v, "abc", other.cookie).status, 403);
    (void)snprintf(query, sizeof query, "code=abc&state=%s", other.session.state);
    assert_int_equal(ask(&v, "/created", query, v.cookie).status, 403);
    assert_int_equal(ask(&v, "/created", "code=abc", v.cookie).status, 403);
    assert_int_equal(ask(&v, "/created", NULL, v.cookie).status, 403);
    (void)snprintf(query, sizeof query, "code=abc&state=%s&code=def", v.session.state);
    assert_int_equal(ask(&v, "/created", query, v.cookie).status, 403);
    assert_int_equal(return_with(&v, "abc", v.cookie).step, APP_EXCHANGE);
}

static void host_of_another_name_is_refused(void **state)
{
    static const char *const hosts[] = {NULL,
                                        "",
                                        "evil.example:4000",
                                        "127.0.0.1",
                                        "127.0.0.1:4001",
                                        "127.0.0.1:40000",
                                        "localhost:4000"};
    struct visit v;
    (void)state;
    begin(&v);
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct app_verdict out;
        const struct app_request r = {.path = slice_of(v.start), .host = hosts[i]};
        app_session_judge(&v.session, &r, &out);
        assert_int_equal(out.status, 421);
        assert_int_equal(out.step, APP_REFUSE);
    }
    assert_false(v.session.opened);
}

static void strange_code_is_refused(void **state)
{
    static const char *const codes[] = {"",    "..",  ".",   "a/b",      "a%2Fb", "a+b",
                                        "a?b", "a#b", "a b", "\xc3\xa9", "a\"b",  "a%00"};
    struct visit v;
    char much[600];
    (void)state;
    begin(&v);
    (void)ask(&v, v.start, NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        assert_int_equal(return_with(&v, codes[i], v.cookie).status, 400);
    }
    memset(much, 'a', sizeof much);
    much[APP_CODE_SIZE] = '\0';
    assert_int_equal(return_with(&v, much, v.cookie).status, 400);
    much[APP_CODE_SIZE - 1] = '\0';
    assert_int_equal(return_with(&v, much, v.cookie).step, APP_EXCHANGE);
}

/* --- GitHub's answer --- */

static void answer_without_credentials_is_refused(void **state)
{
#define REST                                                                                       \
    "\"slug\":\"m\",\"html_url\":\"https://github.com/apps/m\",\"webhook_secret\":\"a-secret\""
    static const char *const bodies[] = {
        "",
        "[]",
        "{}",
        "{\"id\":-1," REST ",\"pem\":\"x\"}",
        "{\"id\":1," REST "}",
        "{\"id\":1," REST
        ",\"pem\":\"-----BEGIN RSA PRIVATE KEY-----\\nAAAA\\n-----END RSA PRIVATE "
        "KEY-----\\n\"}",
        "{\"id\":1,\"slug\":\"../x\",\"html_url\":\"https://github.com/apps/m\"}",
        "{\"id\":1,\"slug\":\"m\",\"html_url\":\"https://github.com.evil.example/apps/m\"}",
        "{\"id\":1,\"slug\":\"m\",\"html_url\":\"javascript:alert(1)\"}"};
    const struct app_plan plan = {.web = "https://github.com"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct app_credentials got;
        struct err e = {0};
        app_credentials_init(&got);
        assert_int_equal(app_convert_read(&plan, slice_of(bodies[i]), &got, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_null(strstr(e.message, "a-secret"));
        app_credentials_fini(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_found_by_the_api),
        cmocka_unit_test(options_that_cannot_be_meant_are_refused),
        cmocka_unit_test(app_that_is_pulled_has_an_active_hook_to_nowhere),
        cmocka_unit_test(manifest_has_what_the_table_says_and_no_more),
        cmocka_unit_test(app_that_gives_up_jobs_asks_for_more),
        cmocka_unit_test(form_goes_to_the_owners_page),
        cmocka_unit_test(one_browser_is_let_in_and_its_return_is_exchanged),
        cmocka_unit_test(others_on_this_machine_are_refused),
        cmocka_unit_test(host_of_another_name_is_refused),
        cmocka_unit_test(strange_code_is_refused),
        cmocka_unit_test(answer_without_credentials_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
