/* Calls against a scripted server: what is sent, how answers are judged, what is sent again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/aws/errors.h"
#include "common/aws/internal.h"
#include "common/base/clock.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"
#include "tests/unit/aws/aws_fixture.h"

/* A server, as a rule one answer after the other of which the last one stays, and a client of it.
 */
struct script {
    struct aws_client_options options; /* for SQS, until a case says otherwise */
    struct aws_client *client;
    struct http_server *server;
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

static void open_client(struct script *s)
{
    struct err e;
    MUST(aws_client_open(&s->options, &s->client, &e));
}

static void serve_by(struct script *s, served_fn *handler, void *arg)
{
    s->server = http_server_start(handler, arg);
    s->options.endpoint = http_server_url(s->server);
    open_client(s);
}

static void serve(struct script *s, const struct scripted *answers, size_t count)
{
    s->answers = answers;
    s->count = count;
    serve_by(s, answer, s);
}

static int set_up(void **state)
{
    struct script *s = calloc(1, sizeof *s);
    assert_non_null(s);
    (void)aws_fixture_begin(NULL);
    (void)setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "the-secret-key", 1);
    (void)setenv("AWS_SESSION_TOKEN", "the-session-token", 1);
    s->options.service = "sqs";
    s->options.region = "eu-west-1";
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct script *s = *state;
    aws_client_close(s->client);
    if (s->server != NULL) {
        http_server_stop(s->server);
    }
    clock_set_source(NULL);
    free(s);
    return aws_fixture_end(NULL);
}

static const struct aws_call put = {.operation = "SendMessage",
                                    .target = "AmazonSQS",
                                    .content_type = "application/x-amz-json-1.0",
                                    .body = {"{\"a\":\"what was sent\"}", 21}};

static void send_works(struct script *s, const struct aws_call *call)
{
    struct http_response r;
    struct err e;
    MUST(aws_send(s->client, call, &r, NULL, &e));
    http_response_fini(&r);
}

static void send_fails(struct script *s, const struct aws_call *call, enum err_class class,
                       struct err *e)
{
    struct http_response r;
    must_fail(aws_send(s->client, call, &r, NULL, e), e, class);
}

static void call_is_signed_and_its_answer_given(void **state)
{
    static const struct scripted ok = {200, "", "{\"MessageId\":\"1\"}"};
    struct script *s = *state;
    struct http_response r;
    struct err e;
    serve(s, &ok, 1);
    MUST(aws_send(s->client, &put, &r, NULL, &e));
    assert_string_equal(r.body.data, "{\"MessageId\":\"1\"}");
    assert_int_equal(r.sends, 1);
    http_response_fini(&r);
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(q->method, "POST");
    assert_string_equal(q->target, "/");
    assert_string_equal(served_header(q, "X-Amz-Target"), "AmazonSQS.SendMessage");
    assert_string_equal(served_header(q, "Content-Type"), "application/x-amz-json-1.0");
    assert_string_equal(served_header(q, "X-Amz-Security-Token"), "the-session-token");
    assert_string_equal(served_header(q, "Host"), http_server_url(s->server) + 7);
    const char *authorization = served_header(q, "Authorization");
    assert_non_null(strstr(authorization, "Credential=AKIDEXAMPLE/"));
    assert_non_null(strstr(authorization, "/eu-west-1/sqs/aws4_request"));
    assert_non_null(
        strstr(authorization,
               "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target,"));
}

static void refusal_tells_operation_name_status_request_and_mend(void **state)
{
    static const struct scripted no = {
        400, "x-amzn-RequestId: id-1\r\n",
        "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"No such queue.\"}"};
    static const struct aws_error_rule rules[] = {
        {"QueueDoesNotExist", ERR_NOT_FOUND, "make the queue"}, {NULL, ERR_NONE, NULL}};
    struct script *s = *state;
    struct http_response r;
    struct aws_refusal refusal;
    struct err e;
    s->options.rules = rules;
    serve(s, &no, 1);
    must_fail(aws_send(s->client, &put, &r, &refusal, &e), &e, ERR_NOT_FOUND);
    assert_int_equal(e.code, 400);
    assert_string_equal(e.message, "SendMessage: QueueDoesNotExist: No such queue. (HTTP 400, "
                                   "request id-1): make the queue");
    assert_string_equal(refusal.name, "QueueDoesNotExist");
    assert_int_equal(refusal.status, 400);
    assert_non_null(strstr(refusal.body.data, "No such queue."));
    assert_true(aws_changed_nothing(&e));
    aws_refusal_fini(&refusal);
}

static void path_query_and_method_go_out_as_they_are(void **state)
{
    static const struct scripted ok = {200, "", ""};
    struct script *s = *state;
    const struct aws_call call = {
        .operation = "GetMicrovm",
        .method = "GET",
        .path = slice_of("/2025-09-09/microvms/arn%3Aaws%3Alambda%3Aeu-west-1"),
        .query = slice_of("nextToken=a%2Fb%3D%3D&maxResults=5")};
    s->options.service = "lambda";
    serve(s, &ok, 1);
    send_works(s, &call);
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(q->method, "GET");
    assert_string_equal(q->target, "/2025-09-09/microvms/arn%3Aaws%3Alambda%3Aeu-west-1"
                                   "?nextToken=a%2Fb%3D%3D&maxResults=5");
    assert_string_equal(served_header(q, "Content-Type"), "");
    assert_string_equal(served_header(q, "X-Amz-Target"), "");
}

static void url_that_cannot_be_sent_is_not(void **state)
{
    static const char *const paths[] = {"no-slash", "/a b", "/a?b", "/a#b", "/\xc3\xa4"};
    static const struct scripted ok = {200, "", ""};
    struct script *s = *state;
    struct err e;
    s->options.service = "lambda";
    serve(s, &ok, 1);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        const struct aws_call call = {.operation = "Op", .path = slice_of(paths[i])};
        send_fails(s, &call, ERR_PERMANENT, &e);
        assert_true(aws_changed_nothing(&e));
    }
    const struct aws_call plus = {.operation = "Op", .query = slice_of("token=secret+word")};
    send_fails(s, &plus, ERR_PERMANENT, &e);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_null(strstr(e.message, "secret"));
    assert_int_equal(http_server_count(s->server, ""), 0);
}

static void connections_are_used_again(void **state)
{
    static const struct scripted ok = {200, "", "{}"};
    struct script *s = *state;
    serve(s, &ok, 1);
    for (int i = 0; i < 5; i++) {
        send_works(s, &put);
    }
    assert_int_equal(http_server_request(s->server, 4)->connection, 1);
}

static void redirect_is_an_answer_and_not_followed(void **state)
{
    static const struct scripted moved = {301, "Location: /elsewhere\r\n", ""};
    struct script *s = *state;
    struct err e;
    serve(s, &moved, 1);
    send_fails(s, &put, ERR_RETRY, &e);
    assert_int_equal(http_server_count(s->server, "POST"), 1);
}

/* Signed for the service, whatever stands between. */
static void proxy_of_the_configuration_is_taken(void **state)
{
    static const struct scripted ok = {200, "", "{}"};
    struct script *s = *state;
    s->answers = &ok;
    s->count = 1;
    s->server = http_server_start(answer, s);
    s->options.endpoint = "http://sqs.example.test/base";
    struct aws_defaults d = {"", "", "", http_server_url(s->server), false, false};
    aws_set_defaults(&d);
    open_client(s);
    send_works(s, &put);
    const struct served_request *q = http_server_request(s->server, 0);
    assert_string_equal(q->target, "http://sqs.example.test/base");
    assert_string_equal(served_header(q, "Host"), "sqs.example.test");
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
    struct script *s = *state;
    struct http_response r;
    struct err e;
    clock_set_source(&fake);
    serve(s, answers, COUNT_OF(answers));
    MUST(aws_send(s->client, &put, &r, NULL, &e));
    assert_int_equal(r.sends, 1); /* the refused one did nothing */
    http_response_fini(&r);
    send_works(s, &put);
    assert_int_equal(http_server_count(s->server, "POST"), 3);
    assert_string_equal(served_header(http_server_request(s->server, 0), "X-Amz-Date"),
                        "20261118T110640Z");
    assert_string_equal(served_header(http_server_request(s->server, 1), "X-Amz-Date"),
                        "20261118T120640Z");
    assert_string_equal(served_header(http_server_request(s->server, 2), "X-Amz-Date"),
                        "20261118T120640Z");
}

static void refusal_for_the_signature_with_a_right_clock_is_final(void **state)
{
    static const struct scripted no = {403, "Date: Wed, 18 Nov 2026 11:09:40 GMT\r\n",
                                       "{\"__type\":\"InvalidSignatureException\",\"message\":"
                                       "\"The signature does not match.\\n\\n"
                                       "The Canonical String was\\n'POST\\n/\\nsecret-query=1'\"}"};
    struct script *s = *state;
    struct err e;
    clock_set_source(&fake);
    serve(s, &no, 1);
    send_fails(s, &put, ERR_AUTH, &e);
    assert_null(strstr(e.message, "secret-query"));
    assert_int_equal(http_server_count(s->server, "POST"), 1);
}

/* An hour that is learnt from a success, and forgotten as the clock is set right. */
static void skew_is_learnt_from_each_answer_and_follows_the_clock(void **state)
{
    static const struct scripted answers[] = {
        {200, "Date: Wed, 18 Nov 2026 12:06:40 GMT\r\n", "{}"},
        {200, "Date: Wed, 18 Nov 2026 12:06:41 GMT\r\n", "{}"}, /* a slow answer, or a fast one */
        {200, "", "{}"},
        {400, "Date: Wed, 18 Nov 2026 11:06:40 GMT\r\n", "{\"__type\":\"x\",\"message\":\"x\"}"},
        {200, "", "{}"}};
    struct script *s = *state;
    struct err e;
    clock_set_source(&fake);
    serve(s, answers, COUNT_OF(answers));
    assert_int_equal(aws_wall_ms(), NOW_MS);
    for (int i = 0; i < 3; i++) {
        send_works(s, &put);
        assert_int_equal(aws_wall_ms(), NOW_MS + 3600 * 1000);
    }
    assert_int_equal(aws_send(s->client, &put, &(struct http_response){0}, NULL, &e), -1);
    assert_int_equal(aws_wall_ms(), NOW_MS);
    send_works(s, &put);
    assert_string_equal(served_header(http_server_request(s->server, 2), "X-Amz-Date"),
                        "20261118T120640Z");
    assert_string_equal(served_header(http_server_request(s->server, 4), "X-Amz-Date"),
                        "20261118T110640Z");
}

static void clock_is_set_once_for_a_call(void **state)
{
    static const struct scripted no = {403, "Date: Wed, 18 Nov 2026 12:06:40 GMT\r\n",
                                       "{\"__type\":\"RequestTimeTooSkewed\",\"message\":\"x\"}"};
    struct script *s = *state;
    struct err e;
    clock_set_source(&fake);
    serve(s, &no, 1);
    send_fails(s, &put, ERR_AUTH, &e);
    assert_int_equal(http_server_count(s->server, "POST"), 2);
}

/* --- credentials ------------------------------------------------------------------------------ */

static void forget_keys(void)
{
    (void)unsetenv("AWS_ACCESS_KEY_ID");
    (void)unsetenv("AWS_SECRET_ACCESS_KEY");
    (void)unsetenv("AWS_SESSION_TOKEN");
}

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
    static int given;
    struct script *s = *state;
    char uri[128];
    given = 0;
    forget_keys();
    serve_by(s, refuse_first_keys, &given);
    (void)snprintf(uri, sizeof uri, "%s/keys", http_server_url(s->server));
    (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, 1);
    send_works(s, &put);
    assert_int_equal(http_server_count(s->server, "POST"), 2);
    assert_int_equal(http_server_count(s->server, "GET"), 2);
}

static void keys_that_stay_refused_are_not_tried_twice(void **state)
{
    static const struct scripted no = {
        403, "", "{\"__type\":\"ExpiredTokenException\",\"message\":\"It has expired\"}"};
    struct script *s = *state;
    struct err e;
    serve(s, &no, 1);
    send_fails(s, &put, ERR_AUTH, &e);
    assert_int_equal(http_server_count(s->server, "POST"), 1);
}

static void without_keys_nothing_is_sent(void **state)
{
    static const struct scripted ok = {200, "", ""};
    struct script *s = *state;
    struct err e;
    forget_keys();
    serve(s, &ok, 1);
    send_fails(s, &put, ERR_AUTH, &e);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_true(aws_changed_nothing(&e));
    assert_non_null(strstr(e.message, "SendMessage: no AWS credentials: environment: "));
    assert_int_equal(http_server_count(s->server, ""), 0);
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
    struct script *s = *state;
    struct http_response r;
    struct aws_refusal refusal;
    struct err e;
    serve_by(s, hang_up, NULL);
    must_fail(aws_send(s->client, &put, &r, &refusal, &e), &e, ERR_RETRY);
    assert_int_equal(e.code, 0);
    assert_false(aws_changed_nothing(&e));
    assert_int_equal(refusal.status, 0);
    assert_string_equal(refusal.name, "");
    aws_refusal_fini(&refusal);
}

static void call_to_nobody_was_not_sent(void **state)
{
    struct script *s = *state;
    struct err e;
    s->options.endpoint = "http://127.0.0.1:9";
    open_client(s);
    send_fails(s, &put, ERR_RETRY, &e);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_true(aws_changed_nothing(&e));
}

static void silent(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->silent = true;
}

static void call_has_a_time_of_its_own(void **state)
{
    struct script *s = *state;
    struct aws_call soon = put;
    struct err e;
    soon.timeout_ms = 50;
    s->options.timeout_ms = 60000;
    serve_by(s, silent, NULL);
    send_fails(s, &soon, ERR_RETRY, &e);
    assert_int_equal(e.code, 0);
}

static void outcomes_are_counted(void **state)
{
    static const struct scripted answers[] = {{200, "", "{}"},
                                              {429, "", "{\"__type\":\"ThrottlingException\"}"}};
    struct script *s = *state;
    struct err e;
    struct buf text;
    struct aws_call call = put;
    call.operation = "CountedOperation";
    serve(s, answers, COUNT_OF(answers));
    send_works(s, &call);
    send_fails(s, &call, ERR_THROTTLED, &e);
    assert_int_equal(e.retry_after_ms, 1000);
    buf_init(&text, (size_t)1 << 20);
    metrics_render(&text);
    assert_non_null(strstr(text.data, "mayfly_call_seconds_count{service=\"sqs\",operation="
                                      "\"CountedOperation\",outcome=\"ok\"} 1\n"));
    assert_non_null(strstr(text.data, "mayfly_call_seconds_count{service=\"sqs\",operation="
                                      "\"CountedOperation\",outcome=\"throttled\"} 1\n"));
    assert_non_null(strstr(text.data, "mayfly_aws_resends_total{service=\"sqs\",reason="));
    buf_fini(&text);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

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
        CASE(skew_is_learnt_from_each_answer_and_follows_the_clock),
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
