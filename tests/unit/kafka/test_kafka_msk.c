/*
 * The token of MSK's IAM. The signatures are those of AWS's own aws-msk-iam-sasl-signer-python
 * 1.0.2 for the same keys, region and time.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/kafka/internal.h"
#include "tests/lib/cmocka.h"

#include <openssl/evp.h>

#define TIME_MS 1440938160000 /* 20150830T123600Z */

static const struct aws_keys keys = {.access_key = (char[]){"AKIDEXAMPLE"},
                                     .secret_key =
                                         (char[]){"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
                                     .session_token = (char[]){""}};

/* The URL in a token, which must be base64url without padding. */
static void decode(const struct buf *token, char *out, size_t size)
{
    char text[4096];
    assert_true(token->len + 4 < sizeof text && size > token->len);
    size_t n = 0;
    for (; n < token->len; n++) {
        char c = token->data[n];
        assert_null(strchr("+/=", c));
        text[n] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    while (n % 4 != 0) {
        text[n++] = '=';
    }
    int decoded = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)n);
    assert_true(decoded > 0);
    out[decoded - (int)(n - token->len)] = '\0';
}

static void sign(const struct aws_keys *k, const char *region, char *url, size_t size)
{
    struct buf token;
    struct err e;
    buf_init(&token, 4000);
    assert_int_equal(kafka_msk_sign(k, region, TIME_MS, &token, &e), 0);
    decode(&token, url, size);
    buf_fini(&token);
}

#define BEFORE_TOKEN                                                                               \
    "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect&"                       \
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&"                                                            \
    "X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fkafka-cluster%2Faws4_request&"          \
    "X-Amz-Date=20150830T123600Z&X-Amz-Expires=900&"
#define AFTER_SIGNATURE "&User-Agent=mayfly%2F" MAYFLY_VERSION

static void token_is_as_the_published_signer_makes_it(void **state)
{
    char url[4096];
    sign(&keys, "us-east-1", url, sizeof url);
    assert_string_equal(
        url, BEFORE_TOKEN
        "X-Amz-SignedHeaders=host&"
        "X-Amz-Signature="
        "c413a83bc64a339e31a5e5e9ed99d778ff843206b427540cafa5122c01e3e993" AFTER_SIGNATURE);
}

static void session_token_is_part_of_what_is_signed(void **state)
{
    char url[4096];
    struct aws_keys with = keys;
    with.session_token = (char[]){"AQoDYXdzEPT//////////wEXAMPLE+tc764/zz=="};
    sign(&with, "us-east-1", url, sizeof url);
    assert_string_equal(
        url, BEFORE_TOKEN
        "X-Amz-Security-Token="
        "AQoDYXdzEPT%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEXAMPLE%2Btc764%2Fzz%3D%3D&"
        "X-Amz-SignedHeaders=host&"
        "X-Amz-Signature="
        "d82377517afb38dde705e8bbbf51f79f9146e7c35c2fdc6d6035b2e54a6bc652" AFTER_SIGNATURE);
}

static void credentials_too_long_to_be_signed_are_an_error(void **state)
{
    static char token[80000];
    struct aws_keys with = keys;
    struct buf out;
    struct err e = {0};
    memset(token, 't', sizeof token - 1);
    with.session_token = token;
    buf_init(&out, 1 << 20);
    assert_int_equal(kafka_msk_sign(&with, "us-east-1", TIME_MS, &out, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

/* --- through a cluster, with the process's credentials --- */
static void token_lasts_a_quarter_of_an_hour_from_now(void **state)
{
    struct kafka_cluster *c;
    struct kafka_token token;
    struct err e;
    setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    assert_int_equal(
        kafka_cluster_new("kafka://b:9098/x?tls=1&sasl=msk-iam&region=eu-west-1", NULL, 0, &c, &e),
        0);
    int64_t before_ms = clock_wall_ms();
    assert_int_equal(c->make_token(c, &token, &e), 0);
    assert_in_range(token.expires_ms, before_ms + 900000, clock_wall_ms() + 900000);
    char url[4096];
    decode(&token.text, url, sizeof url);
    assert_non_null(strstr(url, "https://kafka.eu-west-1.amazonaws.com/?"));
    kafka_token_fini(&token);
    kafka_cluster_free(c);
}

static void region_is_found_as_all_of_aws(void **state)
{
    struct kafka_cluster *c;
    struct err e;
    setenv("AWS_REGION", "ap-south-1", 1);
    assert_int_equal(kafka_cluster_new("kafka://b:9098/x?tls=1&sasl=msk-iam", NULL, 0, &c, &e), 0);
    assert_string_equal(c->region, "ap-south-1");
    kafka_cluster_free(c);
    assert_int_equal(
        kafka_cluster_new("kafka://b/x?tls=1&sasl=msk-iam&region=A%20b", NULL, 0, &c, &e), -1);
    assert_non_null(strstr(e.message, "not an AWS region"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_is_as_the_published_signer_makes_it),
        cmocka_unit_test(session_token_is_part_of_what_is_signed),
        cmocka_unit_test(credentials_too_long_to_be_signed_are_an_error),
        cmocka_unit_test(token_lasts_a_quarter_of_an_hour_from_now),
        cmocka_unit_test(region_is_found_as_all_of_aws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
