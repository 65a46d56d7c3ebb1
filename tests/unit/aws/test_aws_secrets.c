/*
 * Secrets that AWS keeps, against the stand-in whose judge is AWS's own signer: parameters, secrets
 * and their members, what failures say, and a key of KMS whose signatures OpenSSL accepts.
 * MAYFLY_FAKE_AWS is the stand-in's address.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "common/aws/internal.h"
#include "common/aws/secrets.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/fake.h"
#include "tests/unit/aws/aws_fixture.h"

#define SECRET_ARN "arn:aws:secretsmanager:us-east-1:123456789012:secret:mayfly"

static const char *aws;

static int begin(void **state)
{
    (void)aws_fixture_begin(state);
    (void)setenv("AWS_ENDPOINT_URL", aws, 1);
    (void)setenv("AWS_REGION", "us-east-1", 1);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key", 1);
    return 0;
}

static int end(void **state)
{
    fake_faults(aws, NULL);
    return aws_fixture_end(state);
}

static void assert_value(const char *written, const char *want)
{
    struct buf out;
    struct err e = {0};
    buf_init(&out, 65536);
    int rc = aws_secret_fetch(slice_of(written), &out, &e);
    if (rc != 0) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(rc, 0);
    assert_string_equal(out.data, want);
    buf_fini(&out);
}

static void assert_failure(const char *written, enum err_class class, const char *what)
{
    struct buf out;
    struct err e = {0};
    buf_init(&out, 65536);
    assert_int_equal(aws_secret_fetch(slice_of(written), &out, &e), -1);
    if (strstr(e.message, what) == NULL || e.class != class) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(e.class, class);
    assert_non_null(strstr(e.message, what));
    assert_null(strstr(e.message, "whole-secret"));
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void parameter_is_fetched_less_a_line_end(void **state)
{
    fake_post(aws, "/parameters",
              "{\"name\":\"/mayfly/pem\",\"value\":\"a\\nb\\r\\n\",\"type\":\"SecureString\"}");
    assert_value("ssm:/mayfly/pem", "a\nb");
}

static void secret_is_fetched_whole_or_by_a_member(void **state)
{
    fake_post(aws, "/secrets",
              "{\"name\":\"mayfly\",\"value\":\"{\\\"token\\\":\\\"t+1\\\",\\\"n\\\":1}\"}");
    fake_post(aws, "/secrets", "{\"name\":\"plain\",\"value\":\"whole-secret\"}");
    assert_value("secretsmanager:mayfly", "{\"token\":\"t+1\",\"n\":1}");
    assert_value("secretsmanager:mayfly#token", "t+1");
    assert_value("secretsmanager:plain", "whole-secret");
    assert_failure("secretsmanager:plain#token", ERR_PERMANENT, "is not a JSON object");
    assert_failure("secretsmanager:mayfly#n", ERR_PERMANENT, "has no text \"n\"");
    assert_failure("secretsmanager:mayfly#other", ERR_PERMANENT, "has no text \"other\"");
}

static void failure_names_what_is_written_and_the_mend(void **state)
{
    assert_failure("ssm:/no/such", ERR_NOT_FOUND, "ssm:/no/such: GetParameter: ParameterNotFound");
    assert_failure("ssm:/no/such", ERR_NOT_FOUND, "create the parameter, or check its name");
    assert_failure("secretsmanager:none", ERR_NOT_FOUND, "secretsmanager:none: GetSecretValue");
    assert_failure("ssm:", ERR_PERMANENT, "write ssm:NAME");
    assert_failure("secretsmanager:#x", ERR_PERMANENT, "write secretsmanager:ARN[#json-key]");
    fake_faults(aws, "[{\"operation\":\"GetParameter\",\"preset\":\"denied\"}]");
    assert_failure("ssm:/mayfly/pem", ERR_AUTH, "allow the operation in the policy");
}

static void read_is_tried_again_while_aws_is_busy(void **state)
{
    fake_post(aws, "/parameters", "{\"name\":\"busy\",\"value\":\"v\"}");
    fake_faults(aws, "[{\"operation\":\"GetParameter\",\"preset\":\"unavailable\",\"times\":2}]");
    assert_value("ssm:busy", "v");
}

/* The endpoint of the stand-in takes any region, but the signature tells which one was meant. */
static void arn_tells_the_region(void **state)
{
    (void)unsetenv("AWS_REGION");
    assert_failure("ssm:name", ERR_PERMANENT, "no AWS region");
    assert_failure("secretsmanager:" SECRET_ARN "-none", ERR_NOT_FOUND, "GetSecretValue");
}

static void assert_verifies(const char *pem, struct slice text, const struct buf *signature)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_non_null(key);
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestVerify(ctx, (const unsigned char *)signature->data, signature->len,
                                      (const unsigned char *)text.ptr, text.len),
                     1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    BIO_free(bio);
}

static void signature_of_kms_is_the_keys(void **state)
{
    struct aws_kms *k = NULL;
    struct buf signature;
    struct err e = {0};
    json_t *key = fake_call(aws, "POST", "/kms", "{\"id\":\"app-key\"}");
    const char *pem = json_string_value(json_object_get(key, "public_pem"));
    assert_non_null(pem);
    buf_init(&signature, 2048);
    assert_int_equal(aws_kms_open(SLICE("kms:app-key"), &k, &e), 0);
    int rc = aws_kms_sign(k, SLICE("header.claims"), &signature, &e);
    if (rc != 0) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(rc, 0);
    assert_verifies(pem, SLICE("header.claims"), &signature);
    aws_kms_close(k);
    buf_reset(&signature);
    assert_int_equal(aws_kms_open(SLICE("kms:no-such-key"), &k, &e), 0);
    assert_int_equal(aws_kms_sign(k, SLICE("x"), &signature, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_non_null(strstr(e.message, "kms:no-such-key: Sign: NotFoundException"));
    aws_kms_close(k);
    buf_fini(&signature);
    json_decref(key);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(parameter_is_fetched_less_a_line_end),
        CASE(secret_is_fetched_whole_or_by_a_member),
        CASE(failure_names_what_is_written_and_the_mend),
        CASE(read_is_tried_again_while_aws_is_busy),
        CASE(arn_tells_the_region),
        CASE(signature_of_kms_is_the_keys),
    };
    aws = getenv("MAYFLY_FAKE_AWS");
    if (aws == NULL) {
        print_message("MAYFLY_FAKE_AWS is not set: run it by CTest\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
