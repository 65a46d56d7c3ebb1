/* Calls against a scripted server: what is sent, how answers are judged, what is sent again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/aws/aws.h"
#include "common/aws/aws_internal.h"
#include "tests/unit/http/http_server.h"

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
    aws_forget_skew();
}

static int set_up(void **state)
{
    (void)state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(call_is_signed_and_its_answer_given, set_up),
        cmocka_unit_test_setup(refusal_tells_operation_name_status_request_and_mend, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
