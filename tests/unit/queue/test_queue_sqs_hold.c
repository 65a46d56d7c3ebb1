/*
 * The queue on SQS against a scripted one: the steps of a nack and a dead letter, leases that are
 * over, queues that are missing, and what their settings are warned of.
 */
#include "tests/unit/queue/scripted_sqs.h"

#include <stdlib.h>
#include <string.h>

/* --- what the holder of a lease does --- */
static void take_scripted(struct scripted_sqs *f, struct queue_message *m,
                          const struct scripted *then)
{
    static struct scripted script[16];
    size_t n = 0;
    script[n++] =
        (struct scripted){"ReceiveMessage", 200,
                          MESSAGE("\"attempts\":{\"DataType\":\"Number\",\"StringValue\":\"2\"},"
                                  "\"key\":{\"DataType\":\"String\",\"StringValue\":\"42\"}"),
                          NULL};
    for (; then != NULL && then->operation != NULL; then++) {
        script[n++] = *then;
    }
    script[n] = (struct scripted){0};
    f->script = script;
    *m = must_take(f, HOUR_MS);
}

#define STALE                                                                                      \
    "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValueException\",\"message\":\"Value AQEB "   \
    "for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available "  \
    "for visibility timeout change.\"}"
#define TOO_LONG                                                                                   \
    "{\"__type\":\"InvalidParameterValue\",\"message\":\"Value 3600 for parameter "                \
    "VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the " \
    "limit [43200 seconds]\"}"

static void attempt_spent_is_sent_anew_before_the_old_one_goes(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    struct queue_return back = {.delay_ms = 5000, .spend_attempt = true, .reason = "it failed"};
    struct err e;
    take_scripted(f, &m, NULL);
    MUST(queue_nack(f->q, &m, &back, &e));
    json_t *copy = asked(f, "SendMessage", 0);
    assert_non_null(copy);
    assert_string_equal(attribute_of(copy, "id"), "id-1");
    assert_string_equal(attribute_of(copy, "key"), "42");
    assert_string_equal(attribute_of(copy, "attempts"), "3");
    assert_string_equal(attribute_of(copy, "reason"), "it failed");
    assert_string_equal(attribute_of(copy, "enqueued"), "1000000000000");
    assert_string_equal(text_of(copy, "MessageGroupId"), "octo/repo");
    assert_string_equal(text_of(copy, "MessageBody"), "body");
    assert_int_equal(json_integer_value(json_object_get(copy, "DelaySeconds")), 5);
    json_decref(copy);
    size_t n = http_server_count(f->server, "");
    static const char *const steps[] = {"ChangeMessageVisibility", "SendMessage", "DeleteMessage"};
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(operation_of(http_server_request(f->server, n - 3 + i)), steps[i]);
    }
    queue_message_fini(&m);
}

static void return_that_spends_nothing_is_one_call(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    struct queue_return back = {.delay_ms = HOUR_MS, .reason = "no slot"};
    struct err e;
    take_scripted(f, &m, NULL);
    MUST(queue_nack(f->q, &m, &back, &e));
    json_t *hide = asked(f, "ChangeMessageVisibility", 0);
    assert_int_equal(json_integer_value(json_object_get(hide, "VisibilityTimeout")), 3600);
    json_decref(hide);
    assert_int_equal(times_asked(f, "SendMessage"), 0);
    queue_message_fini(&m);
}

static void delay_past_12_hours_is_sent_anew(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    struct queue_return back = {.delay_ms = HOUR_MS};
    struct err e;
    take_scripted(f, &m,
                  (const struct scripted[]){{"ChangeMessageVisibility", 400, TOO_LONG, NULL},
                                            {"ChangeMessageVisibility", 400, TOO_LONG, NULL},
                                            {0}});
    MUST(queue_nack(f->q, &m, &back, &e));
    json_t *copy = asked(f, "SendMessage", 0);
    assert_string_equal(attribute_of(copy, "hold"), "3600000");
    assert_string_equal(attribute_of(copy, "attempts"), "2");
    json_decref(copy);
    assert_int_equal(times_asked(f, "DeleteMessage"), 1);
    queue_message_fini(&m);
}

static void stale_lease_moves_nothing(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    struct queue_return back = {.spend_attempt = true, .reason = "late"};
    struct err e;
    take_scripted(f, &m,
                  (const struct scripted[]){{"ChangeMessageVisibility", 400, STALE, NULL},
                                            {"ChangeMessageVisibility", 400, STALE, NULL},
                                            {"ChangeMessageVisibility", 400, STALE, NULL},
                                            {0}});
    must_fail_saying(queue_nack(f->q, &m, &back, &e), &e, ERR_CONFLICT, "ChangeMessageVisibility");
    must_fail_saying(queue_dead_letter(f->q, &m, "late", &e), &e, ERR_CONFLICT, "queue m-events");
    must_fail_saying(queue_extend(f->q, &m, HOUR_MS, &e), &e, ERR_CONFLICT, "m-events");
    assert_int_equal(times_asked(f, "SendMessage"), 0);
    assert_int_equal(times_asked(f, "DeleteMessage"), 0);
    queue_message_fini(&m);
}

static void copy_that_was_not_sent_leaves_the_old_one(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    struct err e;
    take_scripted(f, &m,
                  (const struct scripted[]){
                      {"SendMessage", 500, "{\"__type\":\"InternalError\"}", NULL}, {0}});
    must_fail_saying(queue_dead_letter(f->q, &m, "dead", &e), &e, ERR_RETRY, "queue m-events-dead");
    assert_int_equal(times_asked(f, "DeleteMessage"), 0);
    queue_message_fini(&m);
}

static void refusal_for_another_parameter_is_no_conflict(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m;
    struct err e;
    take_scripted(f, &m,
                  (const struct scripted[]){{"ChangeMessageVisibility", 400,
                                             "{\"__type\":\"InvalidParameterValue\",\"message\":"
                                             "\"Value 99999 for parameter VisibilityTimeout is "
                                             "invalid\"}",
                                             NULL},
                                            {0}});
    must_fail_saying(queue_extend(f->q, &m, 20 * HOUR_MS, &e), &e, ERR_PERMANENT,
                     "VisibilityTimeout");
    queue_message_fini(&m);
}

static void done_tells_lost_ones_apart_from_failures(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_message m[3];
    struct err e;
    take_scripted(f, &m[0], NULL);
    m[1] = m[0];
    m[2] = m[0];
    f->script = (const struct scripted[]){
        {"DeleteMessageBatch", 200,
         "{\"Successful\":[{\"Id\":\"0\"}],\"Failed\":["
         "{\"Id\":\"1\",\"SenderFault\":true,\"Code\":\"ReceiptHandleIsInvalid\"},"
         "{\"Id\":\"2\",\"SenderFault\":false,\"Code\":\"InternalError\"}]}",
         NULL},
        {0}};
    memset(f->used, 0, sizeof f->used);
    must_fail_saying(queue_ack(f->q, m, 3, &e), &e, ERR_CONFLICT, "1 of 3");
    assert_int_equal(times_asked(f, "DeleteMessageBatch"), 2);
    json_t *again = asked(f, "DeleteMessageBatch", 1);
    assert_int_equal(json_array_size(json_object_get(again, "Entries")), 1);
    assert_string_equal(text_of(json_array_get(json_object_get(again, "Entries"), 0), "Id"), "2");
    json_decref(again);
    queue_message_fini(&m[0]);
}

/* --- queues and their settings --- */
#define NO_QUEUE                                                                                   \
    "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"The specified queue does "  \
    "not exist.\"}"

static void missing_queue_is_named_with_what_to_do(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue *open = f->q;
    struct err e;
    f->script = (const struct scripted[]){
        {"GetQueueUrl", 400, NO_QUEUE, NULL}, {"SendMessageBatch", 400, NO_QUEUE, NULL}, {0}};
    must_fail_saying(scripted_sqs_open(f, "other?poll_wait=5s", &e), &e, ERR_AUTH,
                     "queue other-events");
    assert_non_null(strstr(e.message, "create=1"));
    assert_ptr_equal(f->q, open);
    /* One that goes later is looked up anew. */
    number_items(1);
    size_t before = times_asked(f, "GetQueueUrl");
    must_fail_saying(queue_put(f->q, items, 1, &e), &e, ERR_AUTH, "queue m-events");
    MUST(queue_put(f->q, items, 1, &e));
    assert_int_equal(times_asked(f, "GetQueueUrl"), before + 1);
}

static void lanes_are_listed_page_by_page_and_ours_alone(void **state)
{
    struct scripted_sqs *f = *state;
    struct queue_depth *all = NULL;
    size_t n = 0;
    struct err e;
    f->script = (const struct scripted[]){
        {"ListQueues", 200,
         "{\"QueueUrls\":[\"https://sqs.test/1/m-events\",\"https://sqs.test/1/m-2-events\","
         "\"https://sqs.test/1/m-events-dead\"],\"NextToken\":\"more\"}",
         NULL},
        {"ListQueues", 200, "{\"QueueUrls\":[\"https://sqs.test/1/m-launch_a\"]}", NULL},
        {"GetQueueAttributes", 200,
         "{\"Attributes\":{\"ApproximateNumberOfMessages\":\"3\","
         "\"ApproximateNumberOfMessagesNotVisible\":\"2\","
         "\"ApproximateNumberOfMessagesDelayed\":\"1\"}}",
         NULL},
        {0}};
    MUST(queue_depths(f->q, NULL, &all, &n, &e));
    assert_int_equal(n, 1); /* launch.a is empty */
    assert_string_equal(all[0].lane, "events");
    assert_int_equal(all[0].ready, 3);
    assert_int_equal(all[0].leased, 2);
    assert_int_equal(all[0].delayed, 1);
    assert_int_equal(all[0].dead, 0);
    free(all);
    json_t *second = asked(f, "ListQueues", 1);
    assert_string_equal(text_of(second, "NextToken"), "more");
    json_decref(second);
}

static void check_warns_of_what_could_lose_a_job(void **state)
{
    struct scripted_sqs *f = *state;
    struct buf out;
    struct err e;
    f->script = (const struct scripted[]){
        {"ListQueues", 200, "{\"QueueUrls\":[\"https://sqs.test/1/m-events\"]}", NULL},
        {"GetQueueAttributes", 200,
         "{\"Attributes\":{\"MessageRetentionPeriod\":\"3600\",\"MaximumMessageSize\":\"2048\","
         "\"RedrivePolicy\":\"{\\\"deadLetterTargetArn\\\":\\\"arn\\\",\\\"maxReceiveCount\\\":5}"
         "\"}}",
         NULL},
        {"GetQueueUrl", 400, NO_QUEUE, NULL},
        {"ListQueues", 200, "{\"QueueUrls\":[\"https://sqs.test/1/m-events\"]}", NULL},
        {"GetQueueAttributes", 200,
         "{\"Attributes\":{\"MessageRetentionPeriod\":\"1209600\",\"MaximumMessageSize\":"
         "\"262144\",\"RedrivePolicy\":\"{\\\"maxReceiveCount\\\":\\\"1000\\\"}\"}}",
         NULL},
        {0}};
    buf_init(&out, 16384);
    MUST(queue_check(f->q, true, &out, &e));
    assert_non_null(
        strstr(out.data, "m-events: its redrive policy dead-letters a message after 5"));
    assert_non_null(strstr(out.data, "waiting jobs after 3600 s"));
    assert_non_null(strstr(out.data, "larger than 2048 bytes"));
    assert_non_null(strstr(out.data, "m-events-dead of lane events, for its dead letters, does"));
    buf_reset(&out);
    MUST(queue_check(f->q, true, &out, &e));
    assert_string_equal(out.data != NULL ? out.data : "", "");
    buf_fini(&out);
}

static void check_without_the_list_looks_at_what_is_used(void **state)
{
    struct scripted_sqs *f = *state;
    struct buf out;
    struct err e;
    f->script = (const struct scripted[]){
        {"ListQueues", 403, "{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}", NULL},
        {"GetQueueAttributes", 200, "{\"Attributes\":{\"MessageRetentionPeriod\":\"60\"}}", NULL},
        {0}};
    buf_init(&out, 16384);
    MUST(queue_check(f->q, true, &out, &e));
    assert_non_null(strstr(out.data, "since ListQueues failed"));
    assert_non_null(strstr(out.data, "m-events: SQS deletes waiting jobs"));
    buf_fini(&out);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, scripted_sqs_setup, scripted_sqs_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(attempt_spent_is_sent_anew_before_the_old_one_goes),
        CASE(return_that_spends_nothing_is_one_call),
        CASE(delay_past_12_hours_is_sent_anew),
        CASE(stale_lease_moves_nothing),
        CASE(copy_that_was_not_sent_leaves_the_old_one),
        CASE(refusal_for_another_parameter_is_no_conflict),
        CASE(done_tells_lost_ones_apart_from_failures),
        CASE(missing_queue_is_named_with_what_to_do),
        CASE(lanes_are_listed_page_by_page_and_ours_alone),
        CASE(check_warns_of_what_could_lose_a_job),
        CASE(check_without_the_list_looks_at_what_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
