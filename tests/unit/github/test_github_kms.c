/* An App whose key never leaves KMS: what is signed, how often KMS is called, what a refusal says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "common/base/codec.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/github_fixture.h"

#define KEY_ARN "arn:aws:kms:eu-west-1:123456789012:key/k-1"

/* KMS with the fixture's key. */
struct kms {
    struct http_server *http;
    int signs;
    bool denies;
    const char *type; /* of the denial; NULL: AccessDeniedException */
};

static void sign_digest(struct slice digest, struct buf *out)
{
    unsigned char signature[512];
    size_t length = sizeof signature;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(fixture_key(), NULL);
    assert_non_null(ctx);
    assert_int_equal(EVP_PKEY_sign_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()), 1);
    assert_int_equal(
        EVP_PKEY_sign(ctx, signature, &length, (const unsigned char *)digest.ptr, digest.len), 1);
    EVP_PKEY_CTX_free(ctx);
    buf_append_cstr(out, "{\"Signature\":\"");
    codec_base64(out, (struct slice){(const char *)signature, length});
    buf_append_cstr(out, "\"}");
}

static void answer(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct kms *k = arg;
    struct buf digest;
    json_t *asked = json_loadb(q->body.data, q->body.len, 0, NULL);
    const char *message = json_string_value(json_object_get(asked, "Message"));
    assert_string_equal(served_header(q, "X-Amz-Target"), "TrentService.Sign");
    assert_non_null(strstr(served_header(q, "Authorization"), "/eu-west-1/kms/aws4_request"));
    assert_string_equal(json_string_value(json_object_get(asked, "KeyId")), KEY_ARN);
    assert_string_equal(json_string_value(json_object_get(asked, "MessageType")), "DIGEST");
    assert_string_equal(json_string_value(json_object_get(asked, "SigningAlgorithm")),
                        "RSASSA_PKCS1_V1_5_SHA_256");
    k->signs++;
    if (k->denies) {
        a->status = 400;
        buf_printf(&a->body, "{\"__type\":\"%s\",\"message\":\"not you\"}",
                   k->type != NULL ? k->type : "AccessDeniedException");
    } else {
        buf_init(&digest, 64);
        assert_true(codec_unbase64(&digest, slice_of(message)));
        sign_digest(buf_slice(&digest), &a->body);
        buf_fini(&digest);
    }
    json_decref(asked);
}

static struct kms kms;

/* The fixture's GitHub, opened anew with a key of KMS. */
static int set_up(void **state)
{
    struct err e;
    kms = (struct kms){0};
    kms.http = http_server_start(answer, &kms);
    (void)setenv("AWS_ENDPOINT_URL_KMS", http_server_url(kms.http), 1);
    (void)setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "SK", 1);
    (void)setenv("HOME", "/nonexistent", 1);
    if (fixture_set_up_app(state) != 0) {
        return -1;
    }
    struct fixture *f = *state;
    github_close(f->github);
    free(f->config.github.app_key);
    f->config.github.app_key = slice_dup(SLICE("kms:" KEY_ARN));
    return github_open(&f->config, &f->ledger, &f->github, &e);
}

static int tear_down(void **state)
{
    int rc = fixture_tear_down(state);
    if (kms.http != NULL) {
        http_server_stop(kms.http);
    }
    return rc;
}

static void unbase64url(struct slice in, struct buf *out)
{
    struct buf standard;
    buf_init(&standard, 8192);
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        buf_append_byte(&standard, c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (standard.len % 4 != 0) {
        buf_append_byte(&standard, '=');
    }
    assert_true(codec_unbase64(out, buf_slice(&standard)));
    buf_fini(&standard);
}

static void assert_signed_by_the_key(struct slice jwt)
{
    struct buf signature;
    struct slice head;
    struct slice claims;
    struct slice tail;
    buf_init(&signature, 8192);
    (void)slice_cut(jwt, '.', &head, &tail);
    (void)slice_cut(tail, '.', &claims, &tail);
    unbase64url(tail, &signature);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, fixture_key()), 1);
    assert_int_equal(EVP_DigestVerify(ctx, (const unsigned char *)signature.data, signature.len,
                                      (const unsigned char *)jwt.ptr, head.len + 1 + claims.len),
                     1);
    EVP_MD_CTX_free(ctx);
    buf_fini(&signature);
}

static int call_app(struct fixture *f, struct err *e)
{
    struct http_response r;
    const struct github_call call = {
        .op = GITHUB_OP_LIST_DELIVERIES, .method = "GET", .path = "/app/hook/deliveries"};
    int rc = github_call_app(f->github, &f->github->identities[0], &call, &r, e);
    if (rc == 0) {
        http_response_fini(&r);
    }
    return rc;
}

static void token_of_the_app_is_signed_by_kms_once_for_some_minutes(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){"GET /app/hook/deliveries", 200, NULL, "[]", 0});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call_app(f, &e), 0);
    }
    assert_int_equal(kms.signs, 1);
    const char *authorization = served_header(http_server_request(f->server, 0), "Authorization");
    assert_int_equal(strncmp(authorization, "Bearer ", 7), 0);
    assert_signed_by_the_key(slice_of(authorization + 7));
    fixture_move_clock(INT64_C(5) * 60000);
    assert_int_equal(call_app(f, &e), 0);
    assert_int_equal(kms.signs, 2);
}

static void token_that_github_refuses_is_signed_anew_once(void **state)
{
    struct fixture *f = *state;
    struct err e;
    fixture_route(f, (struct route){"GET /app/hook/deliveries", 200, NULL, "[]", 0});
    assert_int_equal(call_app(f, &e), 0);
    fixture_route(f, (struct route){"GET /app/hook/deliveries", 401, NULL, "{}", 1});
    assert_int_equal(call_app(f, &e), 0);
    assert_int_equal(kms.signs, 2);
    fixture_route(f, (struct route){"GET /app/hook/deliveries", 401, NULL, "{}", 0});
    assert_int_equal(call_app(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(kms.signs, 3);
}

static void refusal_of_kms_names_setting_and_key(void **state)
{
    struct fixture *f = *state;
    struct err e;
    kms.denies = true;
    assert_int_equal(call_app(f, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.from, ERR_FROM_KMS);
    assert_non_null(strstr(e.message, "KMS did not sign for GitHub: github.app.private_key: "
                                      "kms:" KEY_ARN ": Sign: AccessDeniedException: not you"));
    assert_int_equal(http_server_count(f->server, ""), 0);
}

/* Neither GitHub nor an installation is to blame. */
static void kms_that_fails_is_said_to_be_kms(void **state)
{
    static const struct {
        const char *type;
        enum err_class class;
    } cases[] = {{"NotFoundException", ERR_AUTH},
                 {"ThrottlingException", ERR_THROTTLED},
                 {"KMSInternalException", ERR_RETRY}};
    struct fixture *f = *state;
    const struct github_scope scope = fixture_org();
    struct github_runner runner;
    struct err e;
    kms.denies = true;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        kms.type = cases[i].type;
        assert_int_equal(github_get_runner(f->github, &scope, 1, &runner, &e), -1);
        assert_int_equal(e.class, cases[i].class);
        assert_int_equal(e.from, ERR_FROM_KMS);
        assert_null(strstr(e.message, "not installed"));
        fixture_move_clock(60000);
    }
    http_server_stop(kms.http);
    kms.http = NULL;
    assert_int_equal(github_get_runner(f->github, &scope, 1, &runner, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.from, ERR_FROM_KMS);
    assert_int_equal(http_server_count(f->server, ""), 0);
}

static void key_without_a_region_is_refused_at_the_start(void **state)
{
    struct fixture *f = *state;
    struct github *g = NULL;
    struct err e;
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    (void)unsetenv("AWS_REGION");
    (void)unsetenv("AWS_DEFAULT_REGION");
    free(f->config.github.app_key);
    f->config.github.app_key = slice_dup(SLICE("kms:alias/github"));
    assert_int_equal(github_open(&f->config, &f->ledger, &g, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "github.app.private_key: kms: no AWS region"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(token_of_the_app_is_signed_by_kms_once_for_some_minutes),
        CASE(token_that_github_refuses_is_signed_anew_once),
        CASE(refusal_of_kms_names_setting_and_key),
        CASE(kms_that_fails_is_said_to_be_kms),
        CASE(key_without_a_region_is_refused_at_the_start),
    };
    fixture_main_clock();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
