/* The configuration's way to AWS: the section `aws` holds for its calls, and values that AWS keeps
 * are fetched by them. */
#include <stdlib.h>

#include "common/aws/aws.h"
#include "common/config/aws.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"
#include "tests/unit/http/http_server.h"

static void answer(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    if (strstr(q->body.data, "/mayfly/token") != NULL) {
        buf_append_cstr(&a->body, "{\"Parameter\":{\"Value\":\"t-9\\n\"}}");
    } else {
        a->status = 400;
        buf_append_cstr(&a->body, "{\"__type\":\"ParameterNotFound\"}");
    }
}

static int set_up(void **state)
{
    (void)setenv("AWS_ACCESS_KEY_ID", "AK", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "SK", 1);
    (void)setenv("AWS_REGION", "us-east-1", 1);
    (void)setenv("HOME", "/nonexistent", 1);
    config_aws_use();
    *state = http_server_start(answer, NULL);
    return 0;
}

static int tear_down(void **state)
{
    static const struct aws_defaults none = {"", "", "", "", false, false};
    http_server_stop(*state);
    config_set_fetcher(NULL);
    aws_set_defaults(&none);
    return 0;
}

static char *text_with(const struct http_server *s, const char *token)
{
    struct buf text;
    buf_init(&text, 65536);
    buf_printf(&text,
               GOOD_TOP "github: {token: '%s', webhook_secrets: [a-long-secret]}\n" GOOD_CLASSES
                        "aws: {region: eu-central-1, endpoint: '%s'}\n",
               token, http_server_url(s));
    return buf_take(&text);
}

static void value_is_fetched_from_where_the_section_says(void **state)
{
    struct http_server *s = *state;
    char *text = text_with(s, "ssm:/mayfly/token");
    struct config *c = parse_ok(text, CONFIG_FOR_WORKER);
    assert_string_equal(c->github.token, "t-9");
    const struct served_request *q = http_server_request(s, 0);
    assert_string_equal(q->body.data, "{\"Name\":\"/mayfly/token\",\"WithDecryption\":true}");
    assert_non_null(strstr(served_header(q, "Authorization"), "/eu-central-1/ssm/aws4_request"));
    config_free(c);
    free(text);
}

static void value_that_is_missing_is_named_with_its_mend(void **state)
{
    char *text = text_with(*state, "ssm:/mayfly/none");
    char *all = complaints_of(text, CONFIG_FOR_WORKER);
    assert_non_null(strstr(all, "m.yaml:3: github.token: ssm:/mayfly/none: GetParameter: "
                                "ParameterNotFound (HTTP 400"));
    assert_non_null(strstr(all, "create the parameter, or check its name and the region"));
    free(all);
    free(text);
}

static void nothing_is_asked_when_nothing_is_kept_there(void **state)
{
    struct http_server *s = *state;
    char *text = text_with(s, "plain");
    config_free(parse_ok(text, CONFIG_FOR_WORKER));
    assert_int_equal(http_server_count(s, ""), 0);
    free(text);
}

static void section_holds_for_all_calls(void **state)
{
    struct http_server *s = *state;
    char *text = text_with(s, "plain");
    struct config *c = parse_ok(text, CONFIG_FOR_WORKER);
    struct aws_client_options o = {.service = "sqs"};
    struct aws_client *client = NULL;
    struct err e;
    config_aws_apply(&c->aws);
    assert_int_equal(aws_client_open(&o, &client, &e), 0);
    assert_string_equal(aws_client_region(client), "eu-central-1");
    assert_string_equal(aws_client_endpoint(client), http_server_url(s));
    aws_client_close(client);
    config_free(c);
    free(text);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(value_is_fetched_from_where_the_section_says),
        CASE(value_that_is_missing_is_named_with_its_mend),
        CASE(nothing_is_asked_when_nothing_is_kept_there),
        CASE(section_holds_for_all_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
