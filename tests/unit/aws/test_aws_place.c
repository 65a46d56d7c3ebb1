/* Region and endpoint: the order of places, and the hosts, as the official SDK makes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/aws/aws_fixture.h"

static const struct {
    const char *service;
    const char *region;
    bool fips;
    bool dual_stack;
    const char *host;
} hosts[] = {
    {"sqs", "eu-west-1", false, false, "sqs.eu-west-1.amazonaws.com"},
    {"sqs", "eu-west-1", true, false, "sqs-fips.eu-west-1.amazonaws.com"},
    {"sqs", "eu-west-1", false, true, "sqs.eu-west-1.api.aws"},
    {"lambda", "us-east-1", true, true, "lambda-fips.us-east-1.api.aws"},
    {"lambda", "us-gov-west-1", true, false, "lambda-fips.us-gov-west-1.amazonaws.com"},
    {"dynamodb", "us-gov-west-1", true, false, "dynamodb.us-gov-west-1.amazonaws.com"},
    {"dynamodb", "us-gov-west-1", true, true, "dynamodb-fips.us-gov-west-1.api.aws"},
    {"kms", "us-gov-east-1", true, false, "kms-fips.us-gov-east-1.amazonaws.com"},
    {"ssm", "cn-north-1", false, false, "ssm.cn-north-1.amazonaws.com.cn"},
    {"ssm", "cn-north-1", false, true, "ssm.cn-north-1.api.amazonwebservices.com.cn"},
    {"secretsmanager", "eu-west-1", false, true, "secretsmanager.eu-west-1.amazonaws.com"},
    {"secretsmanager", "us-iso-east-1", false, true, "secretsmanager.us-iso-east-1.api.aws.ic.gov"},
    {"sts", "us-isob-east-1", false, false, "sts.us-isob-east-1.sc2s.sgov.gov"},
    {"sts", "us-isof-south-1", false, false, "sts.us-isof-south-1.csp.hci.ic.gov"},
    {"kms", "eu-isoe-west-1", false, false, "kms.eu-isoe-west-1.cloud.adc-e.uk"},
    {"kms", "eusc-de-east-1", true, false, "kms-fips.eusc-de-east-1.amazonaws.eu"},
};

static void host_of_each_partition_is_the_sdks(void **state)
{
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct buf host;
        buf_init(&host, 256);
        aws_host(hosts[i].service, hosts[i].region, hosts[i].fips, hosts[i].dual_stack, &host);
        assert_string_equal(host.data, hosts[i].host);
        buf_fini(&host);
    }
}

static void assert_place(const struct aws_client_options *o, const char *region,
                         const char *endpoint)
{
    struct aws_place place;
    struct err e;
    assert_int_equal(aws_place_find(o, &place, &e), 0);
    if (region != NULL) {
        assert_string_equal(place.region, region);
    }
    if (endpoint != NULL) {
        assert_string_equal(place.endpoint, endpoint);
    }
    aws_place_fini(&place);
}

/* Each place is taken away after it was seen to win. */
static void region_comes_from_the_first_place_that_has_one(void **state)
{
    struct aws_client_options o = {.service = "sqs", .region = "eu-west-1"};
    struct aws_defaults d = {"eu-west-2", "", "", "", false, false};
    struct aws_place place;
    struct err e;
    aws_fixture_file("config",
                     "[default]\nregion = eu-north-1\n[profile b]\nregion = eu-south-1\n");
    (void)setenv("AWS_REGION", "us-east-1", 1);
    (void)setenv("AWS_DEFAULT_REGION", "us-east-2", 1);
    aws_set_defaults(&d);
    assert_place(&o, "eu-west-1", NULL);
    o.region = "";
    assert_place(&o, "eu-west-2", NULL);
    d.region = "";
    aws_set_defaults(&d);
    assert_place(&o, "us-east-1", NULL);
    (void)unsetenv("AWS_REGION");
    assert_place(&o, "us-east-2", NULL);
    (void)unsetenv("AWS_DEFAULT_REGION");
    assert_place(&o, "eu-north-1", NULL);
    (void)setenv("AWS_PROFILE", "b", 1);
    assert_place(&o, "eu-south-1", NULL);
    (void)setenv("AWS_PROFILE", "none", 1);
    assert_int_equal(aws_place_find(&o, &place, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "AWS_REGION"));
    assert_non_null(strstr(e.message, "profile none"));
    assert_non_null(strstr(e.message, "set aws.region"));
}

static void region_is_told_by_the_metadata(void **state)
{
    struct aws_client_options o = {.service = "sqs"};
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"GET /v4/id/task", 200, "", "{\"TaskARN\":\"arn:aws:ecs:eu-central-1:1:task/c/t\"}", 1, 0},
        {"PUT /latest/api/token", 200, "", "session", 0, 0},
        {"GET /latest/meta-data/placement/region", 200, "", "eu-central-2", 0, 0}};
    char uri[128];
    fixture_serve(&s, answers, COUNT_OF(answers));
    (void)snprintf(uri, sizeof uri, "%s/v4/id", http_server_url(s.http));
    (void)setenv("ECS_CONTAINER_METADATA_URI_V4", uri, 1);
    assert_place(&o, "eu-central-1", NULL);
    (void)unsetenv("ECS_CONTAINER_METADATA_URI_V4");
    (void)unsetenv("AWS_EC2_METADATA_DISABLED");
    (void)setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", http_server_url(s.http), 1);
    assert_place(&o, "eu-central-2", NULL);
    fixture_stop(&s);
}

static void region_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"eu west", "EU-WEST-1", "eu-west-1/x", "-x", "eu.west"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct aws_client_options o = {.service = "sqs", .region = bad[i]};
        struct aws_place place;
        struct err e;
        assert_int_equal(aws_place_find(&o, &place, &e), -1);
        assert_non_null(strstr(e.message, bad[i]));
    }
}

static void endpoint_comes_from_the_first_place_that_has_one(void **state)
{
    struct aws_client_options o = {
        .service = "sqs", .region = "eu-west-1", .endpoint = "http://option:1/base/"};
    struct aws_defaults d = {"", "", "http://default", "", false, false};
    aws_fixture_file("config", "[default]\nservices = s\nendpoint_url = http://profile\n"
                               "[services s]\nsqs =\n  endpoint_url = http://service\n");
    (void)setenv("AWS_ENDPOINT_URL_SQS", "http://sqs", 1);
    (void)setenv("AWS_ENDPOINT_URL", "http://all", 1);
    aws_set_defaults(&d);
    assert_place(&o, NULL, "http://option:1/base");
    o.endpoint = NULL;
    assert_place(&o, NULL, "http://default");
    d.endpoint = "";
    aws_set_defaults(&d);
    assert_place(&o, NULL, "http://sqs");
    (void)unsetenv("AWS_ENDPOINT_URL_SQS");
    assert_place(&o, NULL, "http://all");
    (void)unsetenv("AWS_ENDPOINT_URL");
    assert_place(&o, NULL, "http://service");
    o.service = "ssm";
    assert_place(&o, NULL, "http://profile");
    (void)setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
    assert_place(&o, NULL, "https://ssm.eu-west-1.amazonaws.com");
}

static void endpoint_of_a_service_has_the_sdks_name(void **state)
{
    struct aws_client_options o = {.service = "secretsmanager", .region = "eu-west-1"};
    (void)setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://secrets", 1);
    (void)setenv("AWS_ENDPOINT_URL_LAMBDA_MICROVMS", "http://vms", 1);
    assert_place(&o, NULL, "http://secrets");
    o.service = "lambda";
    assert_place(&o, NULL, "http://vms");
}

static void fips_and_dual_stack_are_switched_on_anywhere(void **state)
{
    struct aws_client_options o = {.service = "sqs", .region = "eu-west-1"};
    struct aws_defaults d = {"", "", "", "", true, true};
    aws_set_defaults(&d);
    assert_place(&o, NULL, "https://sqs-fips.eu-west-1.api.aws");
    d.fips = d.dual_stack = false;
    aws_set_defaults(&d);
    (void)setenv("AWS_USE_FIPS_ENDPOINT", "true", 1);
    assert_place(&o, NULL, "https://sqs-fips.eu-west-1.amazonaws.com");
    (void)unsetenv("AWS_USE_FIPS_ENDPOINT");
    aws_fixture_file("config", "[default]\nuse_dualstack_endpoint = true\n");
    assert_place(&o, NULL, "https://sqs.eu-west-1.api.aws");
    (void)setenv("AWS_USE_DUALSTACK_ENDPOINT", "false", 1);
    assert_place(&o, NULL, "https://sqs.eu-west-1.amazonaws.com");
}

static void endpoint_that_is_none_is_refused_without_being_shown(void **state)
{
    static const char *const bad[] = {"sqs.example",         "ftp://sqs", "http://u:secret@sqs",
                                      "http://sqs?x=secret", "http://",   "http://a b"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct aws_client_options o = {.service = "sqs", .region = "eu-west-1", .endpoint = bad[i]};
        struct aws_client *c = NULL;
        struct err e;
        assert_int_equal(aws_client_open(&o, &c, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_null(strstr(e.message, "secret"));
    }
}

static void defaults_hold_while_a_client_is_open(void **state)
{
    struct aws_client_options o = {.service = "sqs"};
    struct aws_defaults d = {"eu-west-2", "", "", "", false, false};
    struct aws_client *c = NULL;
    struct err e;
    aws_set_defaults(&d);
    assert_int_equal(aws_client_open(&o, &c, &e), 0);
    assert_string_equal(aws_client_region(c), "eu-west-2");
    assert_string_equal(aws_client_endpoint(c), "https://sqs.eu-west-2.amazonaws.com");
    d.region = "eu-west-3";
    aws_set_defaults(&d);
    assert_place(&o, "eu-west-2", NULL);
    aws_client_close(c);
    aws_set_defaults(&d);
    assert_place(&o, "eu-west-3", NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, aws_fixture_begin, aws_fixture_end)

static void assert_ca_file(const char *expected)
{
    const struct aws_client_options o = {.service = "sqs", .region = "eu-west-1"};
    struct aws_place place;
    struct err e;
    assert_int_equal(aws_place_find(&o, &place, &e), 0);
    assert_string_equal(place.ca_file, expected);
    aws_place_fini(&place);
}

static void ca_file_is_the_environments_else_the_profiles(void **state)
{
    assert_ca_file("");
    aws_fixture_file("config", "[default]\nca_bundle = /profile.pem\n");
    assert_ca_file("/profile.pem");
    (void)setenv("AWS_CA_BUNDLE", "/environment.pem", 1);
    assert_ca_file("/environment.pem");
    (void)unsetenv("AWS_CA_BUNDLE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_of_each_partition_is_the_sdks),
        CASE(ca_file_is_the_environments_else_the_profiles),
        CASE(region_comes_from_the_first_place_that_has_one),
        CASE(region_is_told_by_the_metadata),
        CASE(region_that_is_none_is_refused),
        CASE(endpoint_comes_from_the_first_place_that_has_one),
        CASE(endpoint_of_a_service_has_the_sdks_name),
        CASE(fips_and_dual_stack_are_switched_on_anywhere),
        CASE(endpoint_that_is_none_is_refused_without_being_shown),
        CASE(defaults_hold_while_a_client_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
