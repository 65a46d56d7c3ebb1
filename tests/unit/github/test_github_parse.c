#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/base/codec.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

/* --- the App's JWT ---------------------------------------------------------------------------- */

/* base64url without padding back to bytes, by way of the standard alphabet. */
static void unbase64url(struct slice text, struct buf *out)
{
    struct buf standard;
    buf_init(&standard, 8192);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        buf_append_byte(&standard, c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (standard.len % 4 != 0) {
        buf_append_byte(&standard, '=');
    }
    assert_true(codec_unbase64(out, buf_slice(&standard)));
    buf_fini(&standard);
}

static struct github_signer signer_here(void)
{
    return (struct github_signer){.key = fixture_key()};
}

static void jwt_verifies_with_the_public_key(void **state)
{
    struct buf jwt;
    struct buf signature;
    struct slice head;
    struct slice claims;
    struct slice tail;
    struct err e;
    struct github_signer signer = signer_here();
    buf_init(&jwt, 8192);
    buf_init(&signature, 8192);
    assert_int_equal(github_jwt_sign(&signer, "123456", 1700000000123, &jwt, &e), 0);
    slice_cut(buf_slice(&jwt), '.', &head, &tail);
    slice_cut(tail, '.', &claims, &tail);
    unbase64url(tail, &signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, fixture_key()), 1);
    assert_int_equal(EVP_DigestVerify(ctx, (const unsigned char *)signature.data, signature.len,
                                      (const unsigned char *)jwt.data, head.len + 1 + claims.len),
                     1);
    EVP_MD_CTX_free(ctx);
    buf_fini(&signature);
    buf_fini(&jwt);
}

static json_t *claims_of(const char *app_id, int64_t now_ms, size_t part)
{
    struct buf jwt;
    struct buf text;
    struct slice head;
    struct slice tail;
    struct err e;
    struct github_signer signer = signer_here();
    buf_init(&jwt, 8192);
    buf_init(&text, 8192);
    assert_int_equal(github_jwt_sign(&signer, app_id, now_ms, &jwt, &e), 0);
    slice_cut(buf_slice(&jwt), '.', &head, &tail);
    for (size_t i = 0; i < part; i++) {
        slice_cut(tail, '.', &head, &tail);
    }
    unbase64url(head, &text);
    json_t *root = json_loadb(text.data, text.len, 0, NULL);
    assert_non_null(root);
    buf_fini(&text);
    buf_fini(&jwt);
    return root;
}

static void jwt_claims_are_as_github_wants(void **state)
{
    json_t *head = claims_of("Iv23\"li", 1700000000123, 0);
    json_t *claims = claims_of("Iv23\"li", 1700000000123, 1);
    json_t *other = claims_of("Iv23\"li", 1700000000123, 1);
    assert_string_equal(json_string_value(json_object_get(head, "alg")), "RS256");
    assert_int_equal(json_integer_value(json_object_get(claims, "iat")), 1700000000 - 60);
    assert_int_equal(json_integer_value(json_object_get(claims, "exp")), 1700000000 - 60 + 600);
    assert_string_equal(json_string_value(json_object_get(claims, "iss")), "Iv23\"li");
    const char *jti = json_string_value(json_object_get(claims, "jti"));
    assert_int_equal(strlen(jti), 32);
    assert_string_not_equal(jti, json_string_value(json_object_get(other, "jti")));
    json_decref(head);
    json_decref(claims);
    json_decref(other);
}

/* --- what answers mean ------------------------------------------------------------------------ */

#define NOW_MS INT64_C(1700000000000)

struct meaning {
    int status;
    const char *headers;
    const char *body;
    int hits;
    enum err_class class;
    int64_t wait_ms;
    bool close;
};

static void judge(const struct meaning *m, struct github_verdict *v)
{
    struct http_response r = {.status = m->status};
    buf_init(&r.headers, 4096);
    buf_init(&r.body, 65536);
    buf_append_cstr(&r.headers, "HTTP/1.1 200 X\r\n");
    buf_append_cstr(&r.headers, m->headers);
    buf_append_cstr(&r.headers, "\r\n");
    buf_append_cstr(&r.body, m->body);
    struct github_silence silence = {.pause_ms = 60000, .hits = m->hits};
    github_judge(&r, NOW_MS, &silence, v);
    http_response_fini(&r);
}

static void limit_without_a_time_pauses_as_configured(void **state)
{
    struct http_response r = {.status = 429};
    struct github_verdict v;
    buf_init(&r.headers, 16);
    buf_init(&r.body, 16);
    struct github_silence silence = {.pause_ms = 3000};
    github_judge(&r, NOW_MS, &silence, &v);
    assert_int_equal(v.wait_ms, 3000);
    silence.hits = 2;
    github_judge(&r, NOW_MS, &silence, &v);
    assert_int_equal(v.wait_ms, 12000);
    silence = (struct github_silence){.pause_ms = 3600000, .hits = 9};
    github_judge(&r, NOW_MS, &silence, &v);
    assert_int_equal(v.wait_ms, 65 * 60 * 1000); /* no longer than GitHub's own window */
    http_response_fini(&r);
}

static void every_answer_has_its_meaning(void **state)
{
    static const char limit[] = "{\"message\":\"API rate limit exceeded for installation ID 1.\"}";
    static const char second[] = "{\"message\":\"You have exceeded a secondary rate limit.\"}";
    static const char refused[] = "{\"message\":\"Resource not accessible by integration\"}";
    static const struct meaning table[] = {
        {200, "", "", 0, ERR_NONE, 0, false},
        {201, "", "{}", 0, ERR_NONE, 0, false},
        {204, "", "", 0, ERR_NONE, 0, false},
        {400, "", "", 0, ERR_PERMANENT, 0, false},
        {401, "", "", 0, ERR_AUTH, 0, false},
        {404, "", "", 0, ERR_NOT_FOUND, 0, false},
        {404, "Retry-After: 7\r\n", "", 0, ERR_NOT_FOUND, 0, false},
        {422, "Retry-After: 7\r\n", "", 0, ERR_PERMANENT, 0, false},
        {408, "", "", 0, ERR_RETRY, 0, false},
        {409, "", "", 0, ERR_CONFLICT, 0, false},
        {410, "", "", 0, ERR_PERMANENT, 0, false},
        {422, "", "", 0, ERR_PERMANENT, 0, false},
        {302, "", "", 0, ERR_RETRY, 0, false},
        {304, "", "", 0, ERR_RETRY, 0, false},
        {500, "", "<html>", 0, ERR_RETRY, 0, false},
        {502, "", "", 0, ERR_RETRY, 0, false},
        {503, "Retry-After: 7\r\n", "", 0, ERR_RETRY, 7000, false},
        {599, "", "", 0, ERR_RETRY, 0, false},
        /* retry-after rules over everything else */
        {403, "Retry-After: 30\r\n", refused, 0, ERR_THROTTLED, 30000, true},
        {429, "Retry-After: 30\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1700000900\r\n",
         limit, 0, ERR_THROTTLED, 30000, true},
        {429, "Retry-After: 0\r\n", "", 0, ERR_THROTTLED, 1000, true},
        {429, "Retry-After: 99999999999\r\n", "", 0, ERR_THROTTLED, 3900000, true},
        /* then the reset, a second after it */
        {403, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1700000900\r\n", limit, 0,
         ERR_THROTTLED, 901000, true},
        {429, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1700000900\r\n", "", 0, ERR_THROTTLED,
         901000, true},
        {403, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1600000000\r\n", limit, 0,
         ERR_THROTTLED, 1000, true},
        {403, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 9223372036854775807\r\n", limit, 0,
         ERR_THROTTLED, 60000, true},
        {403, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: soon\r\n", limit, 0, ERR_THROTTLED,
         60000, true},
        /* then a minute, doubled each time */
        {403, "X-RateLimit-Remaining: 4000\r\n", second, 0, ERR_THROTTLED, 60000, true},
        {403, "", second, 1, ERR_THROTTLED, 120000, true},
        {429, "", "", 0, ERR_THROTTLED, 60000, true},
        {429, "Retry-After: Fri, 20 Nov 2026 18:12:03 GMT\r\n", "", 2, ERR_THROTTLED, 240000, true},
        {429, "", "", 1000, ERR_THROTTLED, 960000, true},
        {403, "", "{\"message\":\"You have triggered an abuse detection mechanism\"}", 0,
         ERR_THROTTLED, 60000, true},
        /* and a 403 without a mark of a limit is a refusal */
        {403, "X-RateLimit-Remaining: 4000\r\n", refused, 0, ERR_AUTH, 0, false},
        {403, "", "", 0, ERR_AUTH, 0, false},
        {403, "", "rate limit, but no JSON", 0, ERR_AUTH, 0, false},
        /* the last call of the window succeeded */
        {200, "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1700000900\r\n", "", 0, ERR_NONE,
         901000, true},
        {200,
         "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1700000900\r\n"
         "X-RateLimit-Resource: search\r\n",
         "", 0, ERR_NONE, 0, false},
        {200, "X-RateLimit-Remaining: 0\r\n", "", 0, ERR_NONE, 0, false},
        {200, "X-RateLimit-Remaining: 1\r\nX-RateLimit-Reset: 1700000900\r\n", "", 0, ERR_NONE, 0,
         false},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        struct github_verdict v;
        judge(&table[i], &v);
        if (v.class != table[i].class || v.wait_ms != table[i].wait_ms ||
            v.close != table[i].close) {
            fail_msg("row %zu (%d, %s%s): class %s, wait %lld, close %d", i, table[i].status,
                     table[i].headers, table[i].body, err_class_name(v.class), (long long)v.wait_ms,
                     (int)v.close);
        }
    }
}

static void a_verdict_keeps_only_printable_text(void **state)
{
    struct github_verdict v;
    const struct meaning m = {
        .status = 403,
        .headers = "X-Accepted-GitHub-Permissions: organization_self_hosted_runners=write\r\n"
                   "X-GitHub-Request-Id: AB:\x01\r\n",
        .body = "{\"message\":\"no\\n\\u001b[31m\"}"};
    judge(&m, &v);
    assert_string_equal(v.message, "no??[31m");
    assert_string_equal(v.permissions, "organization_self_hosted_runners=write");
    assert_string_equal(v.request_id, "AB:?");
}

/* --- parsers ---------------------------------------------------------------------------------- */

static int count_runner(void *arg, const struct github_runner *r)
{
    (void)r;
    ++*(size_t *)arg;
    return 0;
}

static void senseless_answers_are_retry(void **state)
{
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "{",
        "\xff\xfe",
        "{\"id\":0,\"status\":\"queued\"}",
        "{\"id\":-5,\"token\":\"\",\"status\":\"queued\"}",
        "{\"id\":\"7\",\"runners\":{},\"runner_groups\":7,\"token\":7,\"status\":\"queued\"}",
        "{\"id\":1.5,\"runners\":null,\"token\":\"a b\",\"encoded_jit_config\":\"\"}",
        "{\"id\":99999999999999999999,\"status\":\"queued\"}",
        "{\"runner\":{\"id\":1},\"encoded_jit_config\":\"not base64!\"}",
        "{\"runner\":[],\"encoded_jit_config\":\"AAAA\",\"token\":\"a\\r\\nX: y\"}",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct slice body = slice_of(bodies[i]);
        struct github_runner runner;
        struct github_page page;
        struct github_jit jit;
        struct github_job job;
        struct buf token;
        struct err e;
        struct github_group group;
        int64_t id = 0;
        size_t n = 0;
        buf_init(&token, 4096);
        assert_int_equal(github_parse_runner(body, &runner, &e), -1);
        assert_int_equal(github_parse_runners(body, count_runner, &n, &page, &e), -1);
        assert_int_equal(github_parse_jit(body, &jit, &e), -1);
        assert_int_equal(github_parse_groups(body, "Default", &group, &n, &e), -1);
        assert_int_equal(github_parse_job(body, &job, &e), -1);
        assert_int_equal(github_parse_installation(body, &id, &e), -1);
        assert_int_equal(github_parse_token(body, &token, &id, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        buf_fini(&token);
    }
}

static void a_job_is_read_with_wide_ids_and_nulls(void **state)
{
    struct github_job job;
    struct err e;
    assert_int_equal(github_parse_job(SLICE("{\"id\":100520616165,\"status\":\"queued\","
                                            "\"conclusion\":null,\"runner_id\":null,"
                                            "\"runner_name\":null}"),
                                      &job, &e),
                     0);
    assert_int_equal(job.id, 100520616165);
    assert_string_equal(job.status, "queued");
    assert_string_equal(job.conclusion, "");
    assert_int_equal(job.runner_id, 0);
    assert_string_equal(job.runner_name, "");
}

static void labels_of_a_job_are_joined(void **state)
{
    struct github_job job;
    struct err e;
    struct buf body;
    (void)state;
    assert_int_equal(
        0, github_parse_job(SLICE("{\"id\":9,\"status\":\"queued\",\"run_id\":7,\"name\":\"build\","
                                  "\"created_at\":\"2026-11-20T18:12:03Z\","
                                  "\"labels\":[\"self-hosted\",\"gpu\"]}"),
                            &job, &e));
    assert_int_equal(job.run_id, 7);
    assert_true(job.created_ms > 0);
    assert_string_equal(job.labels, "self-hosted,gpu");
    assert_int_equal(0, github_parse_job(SLICE("{\"id\":9,\"status\":\"queued\","
                                               "\"labels\":[\"self-hosted,gpu\"]}"),
                                         &job, &e));
    assert_string_equal(job.labels, "\"self-hosted,gpu\"");
    buf_init(&body, 4096);
    buf_append_cstr(&body, "{\"id\":9,\"status\":\"queued\",\"labels\":[\"a\"");
    for (int i = 0; i < JOB_LABELS_SIZE / 4; i++) {
        buf_append_cstr(&body, ",\"long\"");
    }
    buf_append_cstr(&body, "]}");
    assert_int_equal(0, github_parse_job(buf_slice(&body), &job, &e));
    assert_true(strstr(job.labels, ",long," JOB_LABELS_CUT) != NULL);
    assert_int_equal(job.run_id, 0);
    assert_int_equal(job.created_ms, 0);
    buf_fini(&body);
}

static void a_token_of_any_length_is_taken(void **state)
{
    struct buf body;
    struct buf token;
    struct err e;
    int64_t expires_ms = 0;
    buf_init(&body, 32768);
    buf_init(&token, GITHUB_TOKEN_BYTES);
    buf_append_cstr(&body, "{\"token\":\"ghs_1_");
    for (int i = 0; i < 8000; i++) {
        buf_append_byte(&body, i % 50 == 0 ? '.' : 'x');
    }
    buf_append_cstr(&body, "\",\"expires_at\":\"2026-11-20T18:12:03Z\"}");
    assert_int_equal(github_parse_token(buf_slice(&body), &token, &expires_ms, &e), 0);
    assert_int_equal(token.len, 8006);
    assert_int_equal(expires_ms, 1795198323000);
    buf_fini(&token);
    buf_fini(&body);
}

static void more_pages_follow_link_or_a_full_page(void **state)
{
    struct slice next =
        SLICE("<https://x/?page=2>; rel=\"next\", <https://x/?page=9>; rel=\"last\"");
    struct slice last =
        SLICE("<https://x/?page=1>; rel=\"prev\", <https://x/?page=1>; rel=\"first\"");
    struct slice none = {NULL, 0};
    assert_true(github_more_pages(next, 30));
    assert_false(github_more_pages(last, 100));
    assert_true(github_more_pages(none, 100));
    assert_false(github_more_pages(none, 99));
    assert_false(github_more_pages(next, 0));
}

/* --- scopes ----------------------------------------------------------------------------------- */

static void the_scope_of_a_job_follows_configuration_and_owner(void **state)
{
    char organization[] = "organization";
    char repository[] = "repository";
    char none[] = "";
    char group[] = "Default";
    char quiet[] = "acme/Quiet=quiet-group";
    char rest[] = "other/*=theirs";
    char own[] = "acme/own=default";
    char *groups[] = {quiet, rest, own};
    struct config c = {.github = {.scope = organization,
                                  .runner_group = group,
                                  .groups = {groups, COUNT_OF(groups)}}};
    struct config_class class = {.scope = none, .runner_group = none};
    const struct {
        const char *repository;
        const char *organization;
        const char *of_fleet;
        char *of_class;
        const char *name;
        const char *group;
    } cases[] = {
        {"acme/site", "acme", organization, none, "acme", ""},
        {"acme/quiet", "acme", organization, none, "acme", "quiet-group"},
        {"acme/own", "acme", organization, none, "acme", ""}, /* it is the class's */
        {"other/any", "other", organization, none, "other", "theirs"},
        {"someone/site", "", organization, none, "someone/site", ""},
        {"acme/quiet", "acme", repository, none, "acme/quiet", ""},
        {"acme/quiet", "acme", organization, repository, "acme/quiet", ""},
        {"acme/quiet", "acme", repository, organization, "acme", "quiet-group"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct job job = {.installation_id = 5};
        char name[SCOPE_SIZE];
        (void)snprintf(job.repository, sizeof job.repository, "%s", cases[i].repository);
        (void)snprintf(job.organization, sizeof job.organization, "%s", cases[i].organization);
        c.github.scope = strcmp(cases[i].of_fleet, repository) == 0 ? repository : organization;
        class.scope = cases[i].of_class;
        struct github_scope s = github_scope_of(&c, &class, &job);
        assert_string_equal(s.name, cases[i].name);
        assert_string_equal(s.group, cases[i].group);
        assert_int_equal(s.is_repository, strchr(cases[i].name, '/') != NULL);
        assert_int_equal(s.installation_id, 5);
        scope_name_make(s.name, s.group, name);
        struct github_scope again = github_scope_parse(name, 5);
        assert_string_equal(again.name, s.name);
        assert_string_equal(again.group, s.group);
        assert_int_equal(again.is_repository, s.is_repository);
        assert_int_equal(again.installation_id, 5);
    }
}

static void names_that_are_none_of_githubs_are_refused(void **state)
{
    char longer[200];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    const char *const bad[] = {"",      ".",    "..", "../..", "a/..", "a/b/c", "a b",
                               "a/b?c", "a%2f", "/",  "a/",    "/b",   "a\nb",  longer};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct buf path;
        struct err e;
        struct github_scope s = github_scope_parse(bad[i], 0);
        buf_init(&path, 1024);
        assert_int_equal(github_path_scope(&path, &s, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        buf_fini(&path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jwt_verifies_with_the_public_key),
        cmocka_unit_test(jwt_claims_are_as_github_wants),
        cmocka_unit_test(every_answer_has_its_meaning),
        cmocka_unit_test(limit_without_a_time_pauses_as_configured),
        cmocka_unit_test(a_verdict_keeps_only_printable_text),
        cmocka_unit_test(senseless_answers_are_retry),
        cmocka_unit_test(a_job_is_read_with_wide_ids_and_nulls),
        cmocka_unit_test(labels_of_a_job_are_joined),
        cmocka_unit_test(a_token_of_any_length_is_taken),
        cmocka_unit_test(more_pages_follow_link_or_a_full_page),
        cmocka_unit_test(the_scope_of_a_job_follows_configuration_and_owner),
        cmocka_unit_test(names_that_are_none_of_githubs_are_refused),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
