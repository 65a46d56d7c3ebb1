/*
 * What SQS refuses: whose trouble it is, and what to do. Only what is wrong with a message itself
 * is permanent; the rest is the queue's trouble, and the same call succeeds when it is over. And what
 * it costs to redrive and delete many dead letters.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/queue/scripted_sqs.h"

#define REFUSAL(name) "{\"__type\":\"com.amazonaws.sqs#" name "\",\"message\":\"no\"}"

static const struct {
    int status;
    enum err_class class;
    const char *body;
    const char *says;
} refusals[] = {
    {400, ERR_AUTH, REFUSAL("QueueDoesNotExist"), "create the queue"},
    {400, ERR_AUTH, REFUSAL("AccessDeniedException"), "allow the operation"},
    {403, ERR_AUTH, REFUSAL("AccessDenied"), "allow the operation"},
    {403, ERR_AUTH, REFUSAL("ExpiredTokenException"), "renew them"},
    {403, ERR_AUTH, REFUSAL("InvalidClientTokenId"), "check the credentials"},
    {400, ERR_AUTH, REFUSAL("KmsAccessDenied"), "kms:GenerateDataKey"},
    {400, ERR_AUTH, REFUSAL("KmsDisabled"), "check the key's state"},
    {400, ERR_AUTH, REFUSAL("KmsInvalidState"), "check the key's state"},
    {400, ERR_AUTH, REFUSAL("KmsNotFound"), "check the key's state"},
    {400, ERR_AUTH, REFUSAL("KmsOptInRequired"), "check the key's state"},
    {400, ERR_THROTTLED, REFUSAL("KmsThrottled"), "KMS throttles"},
    {400, ERR_AUTH, REFUSAL("InvalidAddress"), "check the queue's URL"},
    {400, ERR_AUTH, REFUSAL("InvalidSecurity"), "check that the endpoint"},
    {400, ERR_AUTH, REFUSAL("UnsupportedOperation"), "check that the endpoint"},
    {400, ERR_THROTTLED, REFUSAL("RequestThrottled"), "faster than"},
    {400, ERR_THROTTLED, REFUSAL("OverLimit"), "120,000"},
    {429, ERR_THROTTLED, "", "faster than"},
    {500, ERR_RETRY, REFUSAL("InternalFailure"), "try again"},
    {503, ERR_RETRY, REFUSAL("ServiceUnavailable"), "try again"},
    {502, ERR_RETRY, "<html>Bad Gateway</html>", "check the endpoint"},
};

/* The same answer to every try of one call. */
static void refuse(struct scripted_sqs *f, struct scripted script[16], const char *operation,
                   size_t i)
{
    for (size_t n = 0; n < 15; n++) {
        script[n] = (struct scripted){operation, refusals[i].status, refusals[i].body, NULL};
        f->used[n] = false;
    }
    script[15] = (struct scripted){0};
    f->script = script;
}

static void refused_calls_are_the_queues_trouble(void **state)
{
    struct scripted_sqs *f = *state;
    struct scripted script[16];
    number_items(1);
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct queue_message m;
        size_t got = 5;
        struct err e;
        refuse(f, script, "SendMessageBatch", i);
        must_fail_saying(queue_put(f->q, items, 1, &e), &e, refusals[i].class, refusals[i].says);
        must_fail_saying(-1, &e, refusals[i].class, "queue m-events");
        refuse(f, script, "ReceiveMessage", i);
        must_fail_saying(queue_receive(f->q, "events", 1, HOUR_MS, 0, &m, &got, &e), &e,
                         refusals[i].class, refusals[i].says);
        assert_int_equal(got, 5);
        f->script = NULL;
        MUST(queue_put(f->q, items, 1, &e));
    }
}

static void refused_calls_of_a_holder_are_the_queues_trouble(void **state)
{
    struct scripted_sqs *f = *state;
    struct scripted script[16];
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct queue_return back = {.reason = "again"};
        struct err e;
        f->used[0] = false;
        f->script = (const struct scripted[]){{"ReceiveMessage", 200, MESSAGE(""), NULL}, {0}};
        struct queue_message m = must_take(f, 60000);
        refuse(f, script, "ChangeMessageVisibility", i);
        must_fail_saying(queue_extend(f->q, &m, HOUR_MS, &e), &e, refusals[i].class,
                         refusals[i].says);
        must_fail_saying(queue_nack(f->q, &m, &back, &e), &e, refusals[i].class, refusals[i].says);
        refuse(f, script, "DeleteMessageBatch", i);
        must_fail_saying(queue_ack(f->q, &m, 1, &e), &e, refusals[i].class, refusals[i].says);
        f->script = NULL;
        MUST(queue_ack(f->q, &m, 1, &e));
        queue_message_fini(&m);
    }
}

/* The codes of single entries of a batch. */
static void refused_entries_have_their_classes(void **state)
{
    static const struct {
        const char *code;
        bool sender_fault;
        enum err_class class;
    } cases[] = {
        {"InvalidMessageContents", true, ERR_PERMANENT},
        {"Unheard", true, ERR_PERMANENT},
        {"AccessDenied", true, ERR_AUTH},
        {"KmsAccessDenied", true, ERR_AUTH},
        {"QueueDoesNotExist", true, ERR_AUTH},
        {"ThrottlingException", true, ERR_THROTTLED},
        {"InternalError", false, ERR_RETRY},
        {"Unheard", false, ERR_RETRY},
    };
    struct scripted_sqs *f = *state;
    number_items(1);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char body[256];
        struct scripted script[16];
        struct err e;
        (void)snprintf(body, sizeof body,
                       "{\"Failed\":[{\"Id\":\"0\",\"Code\":\"%s\",\"SenderFault\":%s}]}",
                       cases[i].code, cases[i].sender_fault ? "true" : "false");
        for (size_t n = 0; n < 15; n++) {
            script[n] = (struct scripted){"SendMessageBatch", 200, body, NULL};
            f->used[n] = false;
        }
        script[15] = (struct scripted){0};
        f->script = script;
        must_fail_saying(queue_put(f->q, items, 1, &e), &e, cases[i].class, cases[i].code);
    }
}

/* --- dead letters: each is changed where it is received, and none is looked for --- */
#define DEAD(id)                                                                                   \
    "{\"MessageId\":\"" id "\",\"ReceiptHandle\":\"handle-" id "\",\"Body\":\"" id                 \
    "\",\"Attributes\":{\"SentTimestamp\":\"1000000000000\"}}"

static enum queue_verdict judge_by_body(void *arg, const struct queue_entry *entry)
{
    int *judged = arg;
    (*judged)++;
    if (strcmp(entry->message.body, "redrive") == 0) {
        return QUEUE_REDRIVE;
    }
    return strcmp(entry->message.body, "delete") == 0 ? QUEUE_DELETE : QUEUE_LEAVE;
}

static const struct scripted three_dead[] = {
    {"ListQueues", 200, "{\"QueueUrls\":[\"https://sqs.test/1/m-events\"]}", NULL},
    {"GetQueueAttributes", 200, "{\"Attributes\":{\"ApproximateNumberOfMessages\":\"3\"}}", NULL},
    {"ReceiveMessage", 200,
     "{\"Messages\":[" DEAD("redrive") "," DEAD("stays") "," DEAD("delete") "]}", NULL},
    {"DeleteMessage", 403, REFUSAL("AccessDenied"), NULL},
    {0}};

static void dead_letters_are_changed_where_they_are_received(void **state)
{
    struct scripted_sqs *f = *state;
    int64_t done = 0;
    int judged = 0;
    struct err e;
    f->script = three_dead;
    f->used[3] = true; /* nothing is refused */
    MUST(queue_judge_dead(f->q, judge_by_body, &judged, &done, &e));
    assert_int_equal(judged, 3);
    assert_int_equal(done, 2);
    assert_int_equal(times_asked(f, "ReceiveMessage"), 2); /* and one that finds nothing more */
    assert_int_equal(times_asked(f, "SendMessage"), 1);
    assert_int_equal(times_asked(f, "DeleteMessage"), 2);
    json_t *sent = asked(f, "SendMessage", 0);
    assert_string_equal(text_of(sent, "QueueUrl"), "https://sqs.test/1/m-events");
    assert_string_equal(text_of(sent, "MessageBody"), "redrive");
    json_decref(sent);
    json_t *shown = asked(f, "ChangeMessageVisibilityBatch", 0);
    assert_int_equal(json_array_size(json_object_get(shown, "Entries")),
                     1); /* the one that stays */
    json_decref(shown);
}

static void refused_delete_ends_the_pass_and_the_rest_is_shown_again(void **state)
{
    struct scripted_sqs *f = *state;
    int64_t done = 9;
    int judged = 0;
    struct err e;
    f->script = three_dead;
    must_fail_saying(queue_judge_dead(f->q, judge_by_body, &judged, &done, &e), &e, ERR_AUTH,
                     "its dead letter was not deleted");
    assert_int_equal(done, 0);
    assert_int_equal(judged, 1);
    json_t *shown = asked(f, "ChangeMessageVisibilityBatch", 0);
    assert_int_equal(json_array_size(json_object_get(shown, "Entries")), 3);
    json_decref(shown);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, scripted_sqs_setup, scripted_sqs_teardown)

#define NO_GROUPS                                                                                  \
    "Value octo/repo for parameter MessageGroupId is invalid. Reason: The request include "        \
    "parameter that is not valid for this queue type."

static void must_put(struct scripted_sqs *f, const char *lane)
{
    struct err e;
    const struct queue_item item = {
        .lane = lane, .body = SLICE("body"), .key = "", .group = "octo/repo"};
    MUST(queue_put(f->q, &item, 1, &e));
}

static bool had_group(struct scripted_sqs *f, size_t n)
{
    json_t *batch = asked(f, "SendMessageBatch", n);
    bool had =
        text_of(json_array_get(json_object_get(batch, "Entries"), 0), "MessageGroupId")[0] != '\0';
    json_decref(batch);
    return had;
}

static void queue_that_refuses_groups_gets_its_messages_without(void **state)
{
    struct scripted_sqs *f = *state;
    const struct scripted script[] = {
        {"SendMessageBatch", 200,
         "{\"Failed\":[{\"Id\":\"0\",\"SenderFault\":true,\"Code\":\"InvalidParameterValue\","
         "\"Message\":\"" NO_GROUPS "\"}]}",
         NULL},
        {0}};
    f->script = script;
    must_put(f, "events");
    must_put(f, "events");
    must_put(f, "launch.a");
    assert_int_equal(times_asked(f, "SendMessageBatch"), 4);
    assert_true(had_group(f, 0));
    assert_false(had_group(f, 1));
    assert_false(had_group(f, 2));
    assert_true(had_group(f, 3)); /* another queue may take them */
}

static void message_that_is_sent_again_alone_goes_without_its_group_too(void **state)
{
    struct scripted_sqs *f = *state;
    const struct scripted script[] = {
        {"ReceiveMessage", 200, MESSAGE(""), NULL},
        {"SendMessage", 400,
         "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValueException\",\"message\":\"" NO_GROUPS
         "\"}",
         NULL},
        {0}};
    struct queue_return back = {.reason = "again", .spend_attempt = true};
    struct err e;
    f->script = script;
    struct queue_message m = must_take(f, HOUR_MS);
    MUST(queue_nack(f->q, &m, &back, &e));
    queue_message_fini(&m);
    assert_int_equal(times_asked(f, "SendMessage"), 2);
    json_t *again = asked(f, "SendMessage", 1);
    assert_string_equal(text_of(again, "MessageGroupId"), "");
    json_decref(again);
}

static void refusal_of_groups_that_is_repeated_is_the_messages_error(void **state)
{
    struct scripted_sqs *f = *state;
    static const char refusal[] =
        "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValueException\",\"message\":\"" NO_GROUPS
        "\"}";
    const struct scripted script[] = {
        {"SendMessageBatch", 400, refusal, NULL}, {"SendMessageBatch", 400, refusal, NULL}, {0}};
    struct err e;
    f->script = script;
    number_items(1);
    must_fail_saying(queue_put(f->q, items, 1, &e), &e, ERR_PERMANENT, "MessageGroupId");
    assert_int_equal(times_asked(f, "SendMessageBatch"), 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(refused_calls_are_the_queues_trouble),
        CASE(refused_calls_of_a_holder_are_the_queues_trouble),
        CASE(refused_entries_have_their_classes),
        CASE(dead_letters_are_changed_where_they_are_received),
        CASE(refused_delete_ends_the_pass_and_the_rest_is_shown_again),
        CASE(queue_that_refuses_groups_gets_its_messages_without),
        CASE(message_that_is_sent_again_alone_goes_without_its_group_too),
        CASE(refusal_of_groups_that_is_repeated_is_the_messages_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
