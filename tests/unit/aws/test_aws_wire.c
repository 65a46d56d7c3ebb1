/*
 * Over the wire, against stand-ins that judge with AWS's own signer: every kind of call that Mayfly
 * makes, with and without a session token, a clock that is off, keys that end.
 * MAYFLY_FAKE_SIGNATURES judges any service, MAYFLY_FAKE_AWS is STS, the metadata, SSM, Secrets
 * Manager and KMS.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/fake.h"
#include "tests/unit/aws/aws_fixture.h"

/* As the stand-in is started; see CMakeLists.txt. */
#define KEY "AKIDEXAMPLE"
#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define TOKEN_KEY "ASIAEXAMPLE"
#define TOKEN "IQoJb3JpZ2luX2VjEA//+/token=="

static const char *signatures;
static const char *aws;

static int begin(void **state)
{
    (void)aws_fixture_begin(state);
    (void)setenv("AWS_REGION", "us-east-1", 1);
    return 0;
}

static void set_keys(const char *key, const char *secret, const char *token)
{
    (void)setenv("AWS_ACCESS_KEY_ID", key, 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", secret, 1);
    (void)setenv("AWS_SESSION_TOKEN", token, 1);
}

static struct aws_client *opened(const char *service, const char *region, const char *endpoint)
{
    struct aws_client_options o = {.service = service, .region = region, .endpoint = endpoint};
    struct aws_client *c = NULL;
    struct err e = {0};
    int rc = aws_client_open(&o, &c, &e);
    if (rc != 0) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(rc, 0);
    return c;
}

/* --- every kind of call ----------------------------------------------------------------------- */

#define ARN "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Amicrovm-image%3Amayfly"
#define VMS "/2025-09-09/microvms"
#define CURSOR "nextToken=eyJ2IjoiMSJ9%2Ba%2Fb%3D%3D"
#define FORM "application/x-www-form-urlencoded"
#define JSON_0 "application/x-amz-json-1.0"
#define JSON_1 "application/x-amz-json-1.1"
#define SQS "AmazonSQS"
#define DYNAMO "DynamoDB_20120810"
#define SECRETS "secretsmanager"

static const struct kind {
    const char *service;
    const char *region;
    const char *method;
    const char *target;
    const char *operation;
    const char *type;
    const char *path;
    const char *query;
    const char *body;
} kinds[] = {
    {"sqs", "us-east-1", "POST", SQS, "SendMessageBatch", JSON_0, "/", "",
     "{\"QueueUrl\":\"https://sqs.us-east-1.amazonaws.com/1/q\",\"Entries\":[]}"},
    {"sqs", "eu-west-1", "POST", SQS, "ReceiveMessage", JSON_0, "/", "", "{\"a\":\"\xc3\xa4\"}"},
    {"dynamodb", "us-east-1", "POST", DYNAMO, "TransactWriteItems", JSON_0, "/", "", "{}"},
    {"dynamodb", "us-east-1", "POST", DYNAMO, "Query", JSON_0, "", "", "{\"TableName\":\"t\"}"},
    {"lambda", "us-east-1", "POST", NULL, "RunMicrovm", NULL, VMS, "",
     "{\"imageIdentifier\":\"arn:aws:lambda:us-east-1:1:microvm-image:m\"}"},
    {"lambda", "us-east-1", "GET", NULL, "GetMicrovm", NULL, VMS "/microvm-0abc", "", ""},
    {"lambda", "us-east-1", "GET", NULL, "ListMicrovms", NULL, VMS, CURSOR "&maxResults=50", ""},
    {"lambda", "us-east-1", "GET", NULL, "ListMicrovms", NULL, VMS,
     "maxResults=50&imageIdentifier=" ARN "&" CURSOR, ""},
    {"lambda", "us-east-1", "DELETE", NULL, "TerminateMicrovm", NULL, VMS "/microvm-0abc", "", ""},
    {"lambda", "us-east-1", "POST", NULL, "SuspendMicrovm", NULL, VMS "/m/suspend", "", ""},
    {"lambda", "us-east-1", "POST", NULL, "CreateMicrovmAuthToken", NULL, VMS "/m/auth-token", "",
     "{\"expirationInMinutes\":5}"},
    {"lambda", "us-east-1", "GET", NULL, "GetMicrovmImage", NULL, "/2025-09-09/microvm-images/" ARN,
     "", ""},
    {"lambda", "us-east-1", "PATCH", NULL, "UpdateMicrovmImageVersion", NULL,
     "/2025-09-09/microvm-images/" ARN "/versions/3.0", "", "{\"status\":\"ACTIVE\"}"},
    {"lambda", "us-east-1", "PUT", NULL, "UpdateMicrovmImage", NULL,
     "/2025-09-09/microvm-images/" ARN, "", "{}"},
    {"lambda", "us-east-1", "GET", NULL, "Odd", NULL, "/a%2Fb/$LATEST/~x/%20y/a:b", "b=2&a=1&a=0&c",
     ""},
    {"sts", "us-east-1", "POST", NULL, "AssumeRole", FORM, "/", "",
     "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws"},
    {"sts", "us-east-1", "GET", NULL, "GetCallerIdentity", NULL, "/",
     "Version=2011-06-15&Action=GetCallerIdentity", ""},
    {"ssm", "us-east-1", "POST", "AmazonSSM", "GetParameter", JSON_1, "/", "",
     "{\"Name\":\"/mayfly/x\",\"WithDecryption\":true}"},
    {SECRETS, "us-east-1", "POST", SECRETS, "GetSecretValue", JSON_1, "/", "", "{}"},
    {"kms", "us-east-1", "POST", "TrentService", "Sign", JSON_1, "/", "", "{\"KeyId\":\"k\"}"},
};

static void assert_text(const json_t *object, const char *key, const char *want)
{
    const char *is = json_string_value(json_object_get(object, key));
    assert_non_null(is);
    assert_string_equal(is, want);
}

static void assert_understood(const struct kind *k, const struct http_response *r, const char *key)
{
    char target[512];
    json_t *told = json_loadb(r->body.data, r->body.len, 0, NULL);
    (void)snprintf(target, sizeof target, "%s%s%s", k->path[0] != '\0' ? k->path : "/",
                   k->query[0] != '\0' ? "?" : "", k->query);
    assert_text(told, "service", k->service);
    assert_text(told, "region", k->region);
    assert_text(told, "key", key);
    assert_text(told, "method", k->method);
    assert_text(told, "target", target);
    assert_int_equal(json_integer_value(json_object_get(told, "bytes")), strlen(k->body));
    json_decref(told);
}

static void send_each_kind(const char *key)
{
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        const struct kind *k = &kinds[i];
        struct aws_client *c = opened(k->service, k->region, signatures);
        const struct aws_call call = {.operation = k->operation,
                                      .target = k->target,
                                      .method = k->method,
                                      .content_type = k->type,
                                      .path = slice_of(k->path),
                                      .query = slice_of(k->query),
                                      .body = slice_of(k->body)};
        struct http_response r;
        struct err e = {0};
        int rc = aws_send(c, &call, &r, NULL, &e);
        if (rc != 0) {
            print_message("%s\n", e.message);
        }
        assert_int_equal(rc, 0);
        assert_understood(k, &r, key);
        http_response_fini(&r);
        aws_client_close(c);
    }
}

static void signature_of_every_call_is_aws_own(void **state)
{
    set_keys(KEY, SECRET, "");
    send_each_kind(KEY);
}

static void signature_with_a_session_token_is_aws_own(void **state)
{
    set_keys(TOKEN_KEY, SECRET, TOKEN);
    send_each_kind(TOKEN_KEY);
}

static void large_body_is_signed_whole(void **state)
{
    struct aws_client *c = opened("sqs", "us-east-1", signatures);
    struct buf body;
    struct http_response r;
    struct err e;
    set_keys(KEY, SECRET, "");
    buf_init(&body, (size_t)1 << 20);
    for (int i = 0; i < 20000; i++) {
        buf_printf(&body, "line %d\n", i);
    }
    const struct aws_call call = {.operation = "SendMessage",
                                  .target = SQS,
                                  .content_type = JSON_0,
                                  .body = buf_slice(&body)};
    assert_int_equal(aws_send(c, &call, &r, NULL, &e), 0);
    http_response_fini(&r);
    buf_fini(&body);
    aws_client_close(c);
}

static const struct aws_call receive = {
    .operation = "ReceiveMessage", .target = SQS, .content_type = JSON_0, .body = {"{}", 2}};

static void key_that_is_wrong_is_refused(void **state)
{
    struct aws_client *c = opened("sqs", "us-east-1", signatures);
    struct http_response r;
    struct err e;
    set_keys(KEY, "another-secret", "");
    assert_int_equal(aws_send(c, &receive, &r, NULL, &e), -1);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "ReceiveMessage: InvalidSignatureException"));
    aws_client_close(c);
}

static void clock_of_aws_is_taken_over(void **state)
{
    struct http_response r;
    struct err e;
    set_keys(KEY, SECRET, "");
    static const char *const offsets[] = {"{\"clock_offset_s\":7200}", "{\"clock_offset_s\":-7200}",
                                          "{\"clock_offset_s\":0}"};
    struct aws_client *c = opened("sqs", "us-east-1", signatures);
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        fake_post(signatures, "/config", offsets[i]);
        assert_int_equal(aws_send(c, &receive, &r, NULL, &e), 0);
        http_response_fini(&r);
    }
    aws_client_close(c);
}

static void *send_some(void *arg)
{
    for (int i = 0; i < 20; i++) {
        struct http_response r;
        struct err e;
        if (aws_send(arg, &receive, &r, NULL, &e) != 0) {
            return NULL;
        }
        http_response_fini(&r);
    }
    return arg;
}

static void threads_share_a_client(void **state)
{
    pthread_t threads[6];
    set_keys(TOKEN_KEY, SECRET, TOKEN);
    struct aws_client *c = opened("sqs", "us-east-1", signatures);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, send_some, c), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *done = NULL;
        assert_int_equal(pthread_join(threads[i], &done), 0);
        assert_ptr_equal(done, c);
    }
    aws_client_close(c);
}

/* --- credentials of the stand-in -------------------------------------------------------------- */

static void set_url(const char *variable, const char *path)
{
    char url[256];
    (void)snprintf(url, sizeof url, "%s%s", aws, path);
    (void)setenv(variable, url, 1);
}

/* SSM takes what the source gave. */
static void assert_parameter_is_read(void)
{
    struct aws_client *c = opened("ssm", "us-east-1", aws);
    struct http_response r;
    struct err e = {0};
    const struct aws_call call = {
        .operation = "GetParameter",
        .target = "AmazonSSM",
        .content_type = JSON_1,
        .body = slice_of("{\"Name\":\"/mayfly/secret\",\"WithDecryption\":true}")};
    int rc = aws_send(c, &call, &r, NULL, &e);
    if (rc != 0) {
        print_message("%s\n", e.message);
    }
    assert_int_equal(rc, 0);
    assert_non_null(strstr(r.body.data, "the-parameter"));
    http_response_fini(&r);
    aws_client_close(c);
}

static void container_gives_keys_that_work(void **state)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v2/credentials/task");
    assert_parameter_is_read();
}

static void instance_gives_keys_that_work(void **state)
{
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
    set_url("AWS_EC2_METADATA_SERVICE_ENDPOINT", "");
    assert_parameter_is_read();
}

static void web_identity_gives_keys_that_work(void **state)
{
    aws_fixture_file("token", "web-token");
    (void)setenv("AWS_WEB_IDENTITY_TOKEN_FILE", aws_fixture_path(".aws/token"), 1);
    (void)setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/web", 1);
    set_url("AWS_ENDPOINT_URL_STS", "");
    assert_parameter_is_read();
}

/* Three signed steps: the container's keys assume a role, that role another. */
static void chain_of_roles_gives_keys_that_work(void **state)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v2/credentials/task");
    set_url("AWS_ENDPOINT_URL_STS", "");
    aws_fixture_file("config", "[default]\nrole_arn = arn:aws:iam::123456789012:role/two\n"
                               "source_profile = one\nexternal_id = a+b/c=\n"
                               "[profile one]\nrole_arn = arn:aws:iam::123456789012:role/one\n"
                               "credential_source = EcsContainer\nduration_seconds = 900\n");
    assert_parameter_is_read();
}

static void keys_that_aws_revokes_are_renewed(void **state)
{
    set_url("AWS_CONTAINER_CREDENTIALS_FULL_URI", "/v2/credentials/task");
    struct aws_credentials *held = aws_credentials_acquire();
    assert_parameter_is_read();
    fake_post(aws, "/revoke", "{\"as\":\"expired\"}");
    assert_parameter_is_read();
    aws_credentials_release(held);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, aws_fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(signature_of_every_call_is_aws_own), CASE(signature_with_a_session_token_is_aws_own),
        CASE(large_body_is_signed_whole),         CASE(key_that_is_wrong_is_refused),
        CASE(clock_of_aws_is_taken_over),         CASE(threads_share_a_client),
        CASE(container_gives_keys_that_work),     CASE(instance_gives_keys_that_work),
        CASE(web_identity_gives_keys_that_work),  CASE(chain_of_roles_gives_keys_that_work),
        CASE(keys_that_aws_revokes_are_renewed),
    };
    signatures = getenv("MAYFLY_FAKE_SIGNATURES");
    aws = getenv("MAYFLY_FAKE_AWS");
    if (signatures == NULL || aws == NULL) {
        print_message("MAYFLY_FAKE_SIGNATURES and MAYFLY_FAKE_AWS are not set: run it by CTest\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
