/* Calls against a scripted server: what is sent, how answers are judged, what is sent again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/aws/aws.h"
#include "common/aws/aws_errors.h"
#include "common/aws/aws_internal.h"
#include "common/base/clock.h"
#include "tests/unit/aws/aws_fixture.h"

/* One answer after the other; the last one stays. */
struct script {
    struct http_server *server;
    struct aws_client *client;
    const struct scripted {
        int status;
        const char *headers;
        const char *body;
    } * answers;
    size_t count;
    size_t next;
};

static void answer(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct script *s = arg;
    const struct scripted *now = &s->answers[s->next];
    (void)q;
    s->next += s->next + 1 < s->count ? 1 : 0;
    a->status = now->status;
    buf_append_cstr(&a->headers, now->headers);
    buf_append_cstr(&a->body, now->body);
}

static void open_with(struct script *s, const char *service, const struct aws_error_rule *rules)
{
    struct err e;
    s->server = http_server_start(answer, s);
    struct aws_client_options o = {.service = service,
                                   .region = "eu-west-1",
                                   .endpoint = http_server_url(s->server),
                                   .rules = rules};
    assert_int_equal(aws_client_open(&o, &s->client, &e), 0);
}

static void close_script(struct script *s)
{
    aws_client_close(s->client);
    http_server_stop(s->server);
}

static int set_up(void **state)
{
    (void)aws_fixture_begin(state);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key", 1);
    (void)setenv("AWS_SESSION_TOKEN", "the-session-token", 1);
    return 0;
}

static const struct aws_call put = {.operation = "SendMessage",
                                    .target = "AmazonSQS",
                                    .content_type = "application/x-amz-json-1.0",
                                    .body = {"{\"a\":\"what was sent\"}", 21}};

static void call_is_signed_and_its_answer_given(void **state)
{
    static const struct scripted ok = {200, "", "{\"MessageId\":\"1\"}"};
    struct script s = {.answers = &ok, .count = 1};
    struct http_response r;
    struct err e;
    (void)state;
    open_with(&s, "sqs", NULL);
    assert_int_equal(aws_send(s.client, &put, &r, NULL, &e), 0);
    assert_string_equal(r.body.data, "{\"MessageId\":\"1\"}");
    assert_int_equal(r.sends, 1);
    http_response_fini(&r);
    const struct served_request *q = http_server_request(s.server, 0);
    assert_string_equal(q->method, "POST");
    assert_string_equal(q->target, "/");
    assert_string_equal(served_header(q, "X-Amz-Target"), "AmazonSQS.SendMessage");
    assert_string_equal(served_header(q, "Content-Type"), "application/x-amz-json-1.0");
    assert_string_equal(served_header(q, "X-Amz-Security-Token"), "the-session-token");
    assert_string_equal(served_header(q, "Host"), http_server_url(s.server) + 7);
    const char *authorization = served_header(q, "Authorization");
    assert_non_null(strstr(authorization, "Credential=AKIDEXAMPLE/"));
    assert_non_null(strstr(authorization, "/eu-west-1/sqs/aws4_request"));
    assert_non_null(
        strstr(authorization,
               "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target,"));
    close_script(&s);
}

static void refusal_tells_operation_name_status_request_and_mend(void **state)
{
    static const struct scripted no = {
        400, "x-amzn-RequestId: id-1\r\n",
        "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"No such queue.\"}"};
    static const struct aws_error_rule rules[] = {
        {"QueueDoesNotExist", ERR_NOT_FOUND, "make the queue"}, {NULL, ERR_NONE, NULL}};
    struct script s = {.answers = &no, .count = 1};
    struct http_response r;
    struct aws_refusal refusal;
    struct err e;
    (void)state;
    open_with(&s, "sqs", rules);
    assert_int_equal(aws_send(s.client, &put, &r, &refusal, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(e.code, 400);
    assert_string_equal(e.message, "SendMessage: QueueDoesNotExist: No such queue. (HTTP 400, "
                                   "request id-1): make the queue");
    assert_string_equal(refusal.name, "QueueDoesNotExist");
    assert_int_equal(refusal.status, 400);
    assert_non_null(strstr(refusal.body.data, "No such queue."));
    assert_true(aws_changed_nothing(&e));
    aws_refusal_fini(&refusal);
    close_script(&s);
}

static void send_fails(struct script *s, const struct aws_call *call, struct err *e)
{
    struct http_response r;
    assert_int_equal(aws_send(s->client, call, &r, NULL, e), -1);
}

static void path_query_and_method_go_out_as_they_are(void **state)
{
    static const struct scripted ok = {200, "", ""};
    struct script s = {.answers = &ok, .count = 1};
    struct http_response r;
    struct err e;
    const struct aws_call call = {
        .operation = "GetMicrovm",
        .method = "GET",
        .path = slice_of("/2025-09-09/microvms/arn%3Aaws%3Alambda%3Aeu-west-1"),
        .query = slice_of("nextToken=a%2Fb%3D%3D&maxResults=5")};
    (void)state;
    open_with(&s, "lambda", NULL);
    assert_int_equal(aws_send(s.client, &call, &r, NULL, &e), 0);
    http_response_fini(&r);
    const struct served_request *q = http_server_request(s.server, 0);
    assert_string_equal(q->method, "GET");
    assert_string_equal(q->target, "/2025-09-09/microvms/arn%3Aaws%3Alambda%3Aeu-west-1"
                                   "?nextToken=a%2Fb%3D%3D&maxResults=5");
    assert_string_equal(served_header(q, "Content-Type"), "");
    assert_string_equal(served_header(q, "X-Amz-Target"), "");
    close_script(&s);
}

static void url_that_cannot_be_sent_is_not(void **state)
{
    static const char *const paths[] = {"no-slash", "/a b", "/a?b", "/a#b", "/\xc3\xa4"};
    static const struct scripted ok = {200, "", ""};
    struct script s = {.answers = &ok, .count = 1};
    struct err e;
    (void)state;
    open_with(&s, "lambda", NULL);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        const struct aws_call call = {.operation = "Op", .path = slice_of(paths[i])};
        send_fails(&s, &call, &e);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_true(aws_changed_nothing(&e));
    }
    const struct aws_call plus = {.operation = "Op", .query = slice_of("token=secret+word")};
    send_fails(&s, &plus, &e);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_null(strstr(e.message, "secret"));
    assert_int_equal(http_server_count(s.server, ""), 0);
    close_script(&s);
}

static void connections_are_used_again(void **state)
{
    static const struct scripted ok = {200, "", "{}"};
    struct script s = {.answers = &ok, .count = 1};
    struct http_response r;
    struct err e;
    (void)state;
    open_with(&s, "sqs", NULL);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(aws_send(s.client, &put, &r, NULL, &e), 0);
        http_response_fini(&r);
    }
    assert_int_equal(http_server_request(s.server, 4)->connection, 1);
    close_script(&s);
}

static void redirect_is_an_answer_and_not_followed(void **state)
{
    static const struct scripted moved = {301, "Location: /elsewhere\r\n", ""};
    struct script s = {.answers = &moved, .count = 1};
    struct err e;
    (void)state;
    open_with(&s, "sqs", NULL);
    send_fails(&s, &put, &e);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(http_server_count(s.server, "POST"), 1);
    close_script(&s);
}

/* Signed for the service, whatever stands between. */
static void proxy_of_the_configuration_is_taken(void **state)
{
    static const struct scripted ok = {200, "", "{}"};
    struct script s = {.answers = &ok, .count = 1};
    struct aws_client_options o = {
        .service = "sqs", .region = "eu-west-1", .endpoint = "http://sqs.example.test/base"};
    struct http_response r;
    struct err e;
    (void)state;
    s.server = http_server_start(answer, &s);
    struct aws_defaults d = {"", "", "", http_server_url(s.server), false, false};
    aws_set_defaults(&d);
    assert_int_equal(aws_client_open(&o, &s.client, &e), 0);
    assert_int_equal(aws_send(s.client, &put, &r, NULL, &e), 0);
    http_response_fini(&r);
    const struct served_request *q = http_server_request(s.server, 0);
    assert_string_equal(q->target, "http://sqs.example.test/base");
    assert_string_equal(served_header(q, "Host"), "sqs.example.test");
    close_script(&s);
}

/* --- the clock -------------------------------------------------------------------------------- */

#define NOW_MS INT64_C(1795000000000)

static int64_t fake_mono_us(void)
{
    return 1000000;
}

static int64_t fake_wall_ms(void)
{
    return NOW_MS;
}

static const struct clock_source fake = {fake_mono_us, fake_wall_ms};

static void clock_that_is_wrong_is_learnt_from_a_refusal(void **state)
{
    /* An hour ahead of NOW_MS, which is 2026-11-18T11:06:40Z. */
    static const struct scripted answers[] = {
        {403, "Date: Wed, 18 Nov 2026 12:06:40 GMT\r\n",
         "{\"__type\":\"InvalidSignatureException\",\"message\":\"Signature expired\"}"},
        {200, "", "{}"}};
    struct script s = {.answers = answers, .count = 2};
    struct http_response r;
    struct err e;
    (void)state;
    clock_set_source(&fake);
    open_with(&s, "sqs", NULL);
    assert_int_equal(aws_send(s.client, &put, &r, NULL, &e), 0);
    assert_int_equal(r.sends, 1); /* the refused one did nothing */
    http_response_fini(&r);
    assert_int_equal(aws_send(s.client, &put, &r, NULL, &e), 0);
    http_response_fini(&r);
    assert_int_equal(http_server_count(s.server, "POST"), 3);
    assert_string_equal(served_header(http_server_request(s.server, 0), "X-Amz-Date"),
                        "20261118T110640Z");
    assert_string_equal(served_header(http_server_request(s.server, 1), "X-Amz-Date"),
                        "20261118T120640Z");
    assert_string_equal(served_header(http_server_request(s.server, 2), "X-Amz-Date"),
                        "20261118T120640Z");
    close_script(&s);
    clock_set_source(NULL);
}

static void refusal_for_the_signature_with_a_right_clock_is_final(void **state)
{
    static const struct scripted no = {403, "Date: Wed, 18 Nov 2026 11:09:40 GMT\r\n",
                                       "{\"__type\":\"InvalidSignatureException\",\"message\":"
                                       "\"The signature does not match.\\n\\n"
                                       "The Canonical String was\\n'POST\\n/\\nsecret-query=1'\"}"};
    struct script s = {.answers = &no, .count = 1};
    struct err e;
    (void)state;
    clock_set_source(&fake);
    open_with(&s, "sqs", NULL);
    send_fails(&s, &put, &e);
    assert_int_equal(e.class, ERR_AUTH);
    assert_null(strstr(e.message, "secret-query"));
    assert_int_equal(http_server_count(s.server, "POST"), 1);
    close_script(&s);
    clock_set_source(NULL);
}

static void clock_is_set_once_for_a_call(void **state)
{
    static const struct scripted no = {403, "Date: Wed, 18 Nov 2026 12:06:40 GMT\r\n",
                                       "{\"__type\":\"RequestTimeTooSkewed\",\"message\":\"x\"}"};
    struct script s = {.answers = &no, .count = 1};
    struct err e;
    (void)state;
    clock_set_source(&fake);
    open_with(&s, "sqs", NULL);
    send_fails(&s, &put, &e);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(http_server_count(s.server, "POST"), 2);
    close_script(&s);
    clock_set_source(NULL);
}

/* --- credentials ------------------------------------------------------------------------------ */

/* Refuses AK1 and takes the keys of the container after it. */
static void refuse_first_keys(void *arg, const struct served_request *q, struct served_answer *a)
{
    int *given = arg;
    if (strcmp(q->method, "GET") == 0) {
        (*given)++;
        buf_printf(&a->body, "{\"AccessKeyId\":\"AK%d\",\"SecretAccessKey\":\"s\"}", *given);
    } else if (strstr(served_header(q, "Authorization"), "Credential=AK1/") != NULL) {
        a->status = 403;
        buf_append_cstr(&a->body,
                        "{\"__type\":\"ExpiredTokenException\",\"message\":\"It has expired\"}");
    }
}

static void keys_that_have_expired_are_renewed_and_the_call_sent_again(void **state)
{
    int given = 0;
    struct http_server *server = http_server_start(refuse_first_keys, &given);
    struct aws_client_options o = {
        .service = "sqs", .region = "eu-west-1", .endpoint = http_server_url(server)};
    struct aws_client *c = NULL;
    struct http_response r;
    struct err e;
    char uri[128];
    (void)state;
    (void)aws_fixture_begin(NULL);
    (void)snprintf(uri, sizeof uri, "%s/keys", http_server_url(server));
    (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, 1);
    assert_int_equal(aws_client_open(&o, &c, &e), 0);
    assert_int_equal(aws_send(c, &put, &r, NULL, &e), 0);
    http_response_fini(&r);
    assert_int_equal(http_server_count(server, "POST"), 2);
    assert_int_equal(http_server_count(server, "GET"), 2);
    aws_client_close(c);
    http_server_stop(server);
}

static void keys_that_stay_refused_are_not_tried_twice(void **state)
{
    static const struct scripted no = {
        403, "", "{\"__type\":\"ExpiredTokenException\",\"message\":\"It has expired\"}"};
    struct script s = {.answers = &no, .count = 1};
    struct err e;
    (void)state;
    open_with(&s, "sqs", NULL);
    send_fails(&s, &put, &e);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(http_server_count(s.server, "POST"), 1);
    close_script(&s);
}

static void without_keys_nothing_is_sent(void **state)
{
    static const struct scripted ok = {200, "", ""};
    struct script s = {.answers = &ok, .count = 1};
    struct err e;
    (void)state;
    (void)unsetenv("AWS_ACCESS_KEY_ID");
    (void)unsetenv("AWS_SECRET_ACCESS_KEY");
    open_with(&s, "sqs", NULL);
    send_fails(&s, &put, &e);
    assert_int_equal(e.class, ERR_AUTH);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_true(aws_changed_nothing(&e));
    assert_non_null(strstr(e.message, "SendMessage: no AWS credentials: environment: "));
    assert_int_equal(http_server_count(s.server, ""), 0);
    close_script(&s);
}

/* --- what is known after a failure ------------------------------------------------------------ */

static void hang_up(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->hang_up = true;
}

static void call_without_an_answer_may_have_worked(void **state)
{
    struct http_server *server = http_server_start(hang_up, NULL);
    struct aws_client_options o = {
        .service = "sqs", .region = "eu-west-1", .endpoint = http_server_url(server)};
    struct aws_client *c = NULL;
    struct http_response r;
    struct aws_refusal refusal;
    struct err e;
    (void)state;
    assert_int_equal(aws_client_open(&o, &c, &e), 0);
    assert_int_equal(aws_send(c, &put, &r, &refusal, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, 0);
    assert_false(aws_changed_nothing(&e));
    assert_int_equal(refusal.status, 0);
    assert_string_equal(refusal.name, "");
    aws_refusal_fini(&refusal);
    aws_client_close(c);
    http_server_stop(server);
}

static void call_to_nobody_was_not_sent(void **state)
{
    struct aws_client_options o = {
        .service = "sqs", .region = "eu-west-1", .endpoint = "http://127.0.0.1:9"};
    struct aws_client *c = NULL;
    struct http_response r;
    struct err e;
    (void)state;
    assert_int_equal(aws_client_open(&o, &c, &e), 0);
    assert_int_equal(aws_send(c, &put, &r, NULL, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_true(aws_changed_nothing(&e));
    aws_client_close(c);
}

static void silent(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->silent = true;
}

static void call_has_a_time_of_its_own(void **state)
{
    struct http_server *server = http_server_start(silent, NULL);
    struct aws_client_options o = {.service = "sqs",
                                   .region = "eu-west-1",
                                   .endpoint = http_server_url(server),
                                   .timeout_ms = 60000};
    struct aws_client *c = NULL;
    struct http_response r;
    struct err e;
    struct aws_call soon = put;
    (void)state;
    soon.timeout_ms = 50;
    assert_int_equal(aws_client_open(&o, &c, &e), 0);
    assert_int_equal(aws_send(c, &soon, &r, NULL, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, 0);
    aws_client_close(c);
    http_server_stop(server);
}

static void outcomes_are_counted(void **state)
{
    static const struct scripted answers[] = {{200, "", "{}"},
                                              {429, "", "{\"__type\":\"ThrottlingException\"}"}};
    struct script s = {.answers = answers, .count = 2};
    struct http_response r;
    struct err e;
    struct buf text;
    struct aws_call call = put;
    (void)state;
    call.operation = "CountedOperation";
    open_with(&s, "sqs", NULL);
    assert_int_equal(aws_send(s.client, &call, &r, NULL, &e), 0);
    http_response_fini(&r);
    send_fails(&s, &call, &e);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.retry_after_ms, 1000);
    close_script(&s);
    buf_init(&text, (size_t)1 << 20);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "mayfly_aws_calls_total{service=\"sqs\",operation="
                                      "\"CountedOperation\",outcome=\"ok\"} 1\n"));
    assert_non_null(strstr(text.data, "mayfly_aws_calls_total{service=\"sqs\",operation="
                                      "\"CountedOperation\",outcome=\"throttled\"} 1\n"));
    assert_non_null(strstr(text.data, "mayfly_aws_resends_total{service=\"sqs\",reason="));
    buf_fini(&text);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, aws_fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(call_is_signed_and_its_answer_given),
        CASE(refusal_tells_operation_name_status_request_and_mend),
        CASE(path_query_and_method_go_out_as_they_are),
        CASE(url_that_cannot_be_sent_is_not),
        CASE(connections_are_used_again),
        CASE(redirect_is_an_answer_and_not_followed),
        CASE(proxy_of_the_configuration_is_taken),
        CASE(clock_that_is_wrong_is_learnt_from_a_refusal),
        CASE(refusal_for_the_signature_with_a_right_clock_is_final),
        CASE(clock_is_set_once_for_a_call),
        CASE(keys_that_have_expired_are_renewed_and_the_call_sent_again),
        CASE(keys_that_stay_refused_are_not_tried_twice),
        CASE(without_keys_nothing_is_sent),
        CASE(call_without_an_answer_may_have_worked),
        CASE(call_to_nobody_was_not_sent),
        CASE(call_has_a_time_of_its_own),
        CASE(outcomes_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
