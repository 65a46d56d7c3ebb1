/* The queue on SQS: names and URLs, and the form of a message. Nothing is sent. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue/sqs/internal.h"
#include "tests/lib/cmocka.h"

/* --- names and URLs --- */
static struct sqs_url must_parse(const char *url)
{
    struct sqs_url u;
    struct err e;
    if (sqs_url_parse(url, &u, &e) != 0) {
        fail_msg("%s: %s", url, e.message);
    }
    return u;
}

static void must_refuse(const char *url, const char *word)
{
    struct sqs_url u;
    struct err e;
    assert_int_equal(sqs_url_parse(url, &u, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    if (strstr(e.message, word) == NULL) {
        fail_msg("%s: \"%s\" is not in: %s", url, word, e.message);
    }
}

static void assert_queue(const struct sqs_url *u, const char *lane, bool dead, const char *expected)
{
    char name[SQS_ADDRESS_SIZE];
    struct err e;
    if (sqs_url_queue(u, lane, dead, name, &e) != 0) {
        fail_msg("%s: %s", lane, e.message);
    }
    assert_string_equal(name, expected);
}

static void lane_names_its_queues_and_is_read_back(void **state)
{
    struct sqs_url u = must_parse("sqs://Prod-1");
    char lane[QUEUE_LANE_MAX + 1];
    assert_queue(&u, "events", false, "Prod-1-events");
    assert_queue(&u, "events", true, "Prod-1-events-dead");
    assert_queue(&u, "launch.small-x64", false, "Prod-1-launch_small-x64");
    assert_true(sqs_url_lane(&u, "Prod-1-events", lane));
    assert_string_equal(lane, "events");
    assert_true(sqs_url_lane(&u, "Prod-1-launch_small-x64", lane));
    assert_string_equal(lane, "launch.small-x64");
    sqs_url_fini(&u);
}

static void queues_of_others_are_no_lanes_of_ours(void **state)
{
    static const char *const others[] = {"prod-2-events",
                                         "prod-2-launch_a",
                                         "prod-events-dead",
                                         "prod-launch_a-dead",
                                         "prod-launch_",
                                         "prod-other",
                                         "prod",
                                         "prodevents",
                                         "staging-events"};
    struct sqs_url u = must_parse("sqs://prod");
    char lane[QUEUE_LANE_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (sqs_url_lane(&u, others[i], lane)) {
            fail_msg("%s was taken for lane %s", others[i], lane);
        }
    }
    sqs_url_fini(&u);
}

static void lane_that_cannot_be_named_is_refused(void **state)
{
    struct sqs_url u = must_parse("sqs://a-prefix-of-some-length");
    char name[SQS_ADDRESS_SIZE];
    char lane[QUEUE_LANE_MAX + 1];
    struct err e;
    /* 80 characters with all its ends, and one more. */
    size_t longest = SQS_NAME_MAX - strlen(u.prefix) - strlen("-") - strlen("-dead");
    memset(lane, 'x', sizeof lane);
    lane[longest] = '\0';
    assert_int_equal(sqs_url_queue(&u, lane, true, name, &e), 0);
    assert_int_equal(strlen(name), 80);
    lane[longest] = 'x';
    lane[longest + 1] = '\0';
    assert_int_equal(sqs_url_queue(&u, lane, false, name, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "81"));
    assert_int_equal(sqs_url_queue(&u, "launch.gpu-dead", false, name, &e), -1);
    assert_non_null(strstr(e.message, "dead-letter queue"));
    sqs_url_fini(&u);
}

static void options_are_read(void **state)
{
    struct sqs_url u = must_parse("sqs://m?region=eu-west-1&endpoint=http%3A%2F%2F127.0.0.1%3A1&"
                                  "account=123456789012&create=1&poll_wait=20s&senders=3&"
                                  "timeout=700ms");
    assert_string_equal(u.prefix, "m");
    assert_string_equal(u.region, "eu-west-1");
    assert_string_equal(u.endpoint, "http://127.0.0.1:1");
    assert_string_equal(u.account, "123456789012");
    assert_true(u.create);
    assert_int_equal(u.poll_wait_ms, 20000);
    assert_int_equal(u.senders, 3);
    assert_int_equal(u.timeout_ms, 700);
    sqs_url_fini(&u);
    u = must_parse("sqs://m");
    assert_false(u.create);
    assert_int_equal(u.poll_wait_ms, 10000);
    sqs_url_fini(&u);
}

static void named_queues_take_the_place_of_the_prefix(void **state)
{
    struct sqs_url u =
        must_parse("sqs://?queue.events=https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F1%2Fjobs&"
                   "queue.launch.a=small_jobs&dead.launch.a=graves");
    char name[SQS_ADDRESS_SIZE];
    struct err e;
    assert_queue(&u, "events", false, "https://sqs.eu-west-1.amazonaws.com/1/jobs");
    assert_queue(&u, "events", true, "https://sqs.eu-west-1.amazonaws.com/1/jobs-dead");
    assert_queue(&u, "launch.a", false, "small_jobs");
    assert_queue(&u, "launch.a", true, "graves");
    assert_int_equal(sqs_url_queue(&u, "launch.b", false, name, &e), -1);
    assert_non_null(strstr(e.message, "launch.b"));
    sqs_url_fini(&u);
    u = must_parse("sqs://p?dead.events=graves");
    assert_queue(&u, "events", false, "p-events");
    assert_queue(&u, "events", true, "graves");
    sqs_url_fini(&u);
}

static void bad_urls_are_refused_with_the_reason(void **state)
{
    must_refuse("sqs://", "names no queues");
    must_refuse("sqs://a_b", "prefix");
    must_refuse("sqs://a/b", "prefix");
    must_refuse("sqs://jobs.fifo", "FIFO");
    must_refuse("sqs://m?queue.events=jobs.fifo", "FIFO");
    must_refuse("sqs://m?queue.events=a%20b", "not the name");
    must_refuse("sqs://m?queue.=jobs", "no lane");
    must_refuse("sqs://m?poll_wait=0s", "1s to 20s");
    must_refuse("sqs://m?poll_wait=21s", "1s to 20s");
    must_refuse("sqs://m?create=yes", "0 to 1");
    must_refuse("sqs://m?account=12", "12 digits");
    must_refuse("sqs://m?region=%zz", "region");
    must_refuse("sqs://m?wait=3", "\"wait\"");
    must_refuse("sqs://"
                "m23456789012345678901234567890123456789012345678901234567890123456789012345678901",
                "prefix");
}

/* --- messages --- */
/* What SQS would make of a record: a received message with the same body and attributes. */
static json_t *sent(const struct sqs_record *r, size_t *size)
{
    struct buf text;
    buf_init(&text, SQS_REQUEST_MAX_BYTES);
    buf_append_cstr(&text, "{\"x\":0");
    *size = queue_sqs_write(r, &text);
    buf_append_byte(&text, '}');
    json_t *o = json_loadb(text.data, text.len, 0, NULL);
    assert_non_null(o);
    buf_fini(&text);
    json_object_set(o, "Body", json_object_get(o, "MessageBody"));
    json_object_set_new(o, "ReceiptHandle", json_string("handle"));
    json_object_set_new(o, "MessageId", json_string("sqs-id"));
    json_t *group = json_object_get(o, "MessageGroupId");
    json_object_set_new(o, "Attributes",
                        json_pack("{s:s, s:s}", "SentTimestamp", "1700000000000", "MessageGroupId",
                                  group != NULL ? json_string_value(group) : ""));
    return o;
}

static struct sqs_received there_and_back(const struct sqs_record *r)
{
    struct sqs_received back;
    size_t size;
    json_t *o = sent(r, &size);
    assert_int_equal(size, queue_sqs_size(r));
    assert_true(queue_sqs_read(o, "events", &back));
    json_decref(o);
    return back;
}

static void plain_message_is_its_body_alone(void **state)
{
    size_t size;
    struct sqs_record r = {.body = SLICE("{\"job\": \"caf\xc3\xa9 \xf0\x9f\x9a\x80\"}")};
    json_t *o = sent(&r, &size);
    assert_string_equal(json_string_value(json_object_get(o, "MessageBody")), r.body.ptr);
    assert_null(json_object_get(o, "MessageAttributes"));
    assert_null(json_object_get(o, "MessageGroupId"));
    assert_int_equal(json_integer_value(json_object_get(o, "DelaySeconds")), 0);
    assert_int_equal(size, r.body.len);
    json_decref(o);
    struct sqs_received back = there_and_back(&r);
    assert_string_equal(back.m.id, "sqs-id");
    assert_int_equal(back.m.enqueued_ms, 1700000000000);
    assert_int_equal(back.due_ms, 0);
    queue_message_fini(&back.m);
}

static void everything_comes_back(void **state)
{
    struct sqs_record r = {.body = SLICE("body"),
                           .id = "first-id",
                           .key = "42",
                           .group = "octo/repo",
                           .reason = "GitHub answered 502",
                           .lane = "launch.a",
                           .attempts = 3,
                           .enqueued_ms = 1600000000000,
                           .dead_lettered_ms = 1600000000001,
                           .delay_ms = 901000};
    struct sqs_received back = there_and_back(&r);
    assert_string_equal(back.m.id, "first-id");
    assert_string_equal(back.m.key, "42");
    assert_string_equal(back.m.lane, "events"); /* of the queue that it was in */
    assert_string_equal(back.m.body, "body");
    assert_int_equal(back.m.attempts, 3);
    assert_int_equal(back.m.enqueued_ms, 1600000000000);
    assert_string_equal(back.group, "octo/repo");
    assert_string_equal(back.reason, "GitHub answered 502");
    assert_int_equal(back.dead_lettered_ms, 1600000000001);
    assert_int_equal(back.due_ms, 1700000000000 + 901000);
    queue_message_fini(&back.m);
}

static void what_sqs_refuses_goes_as_base64(void **state)
{
    static const struct slice bodies[] = {
        {"", 0},
        {"a\0b", 3},
        {"\x01", 1},
        {"\xff\xfe", 2},
        {"\xc0\x80", 2},         /* a NUL in two bytes */
        {"\xed\xa0\x80", 3},     /* a surrogate */
        {"\xef\xbf\xbf", 3},     /* U+FFFF */
        {"\xf4\x90\x80\x80", 4}, /* past the last */
        {"caf\xc3", 4},          /* cut */
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct sqs_record r = {.body = bodies[i]};
        size_t size;
        json_t *o = sent(&r, &size);
        const char *text = json_string_value(json_object_get(o, "MessageBody"));
        assert_int_equal(text[0], '=');
        json_decref(o);
        struct sqs_received back = there_and_back(&r);
        assert_int_equal(back.m.body_len, bodies[i].len);
        assert_memory_equal(back.m.body, bodies[i].ptr, bodies[i].len);
        queue_message_fini(&back.m);
    }
}

static void reason_with_odd_bytes_is_cleaned(void **state)
{
    struct sqs_record r = {.body = SLICE("x"), .reason = "bad \x01 \xff byte"};
    struct sqs_received back = there_and_back(&r);
    assert_string_equal(back.reason, "bad ? ? byte");
    queue_message_fini(&back.m);
}

/* Numbers as anyone may send them: none moves a time beyond what can be reckoned with. */
static void numbers_out_of_bounds_count_as_not_there(void **state)
{
    static const struct {
        const char *sent, *hold, *attempts, *enqueued;
        bool read;
        int64_t due_ms, counted, enqueued_ms;
    } cases[] = {
        {"1000", "500", "3", "900", true, 1500, 3, 900},
        {"0", "1", "1000000", "253402300799999", true, 1, 1000000, 253402300799999},
        {"1000", "-1", "-1", "-1", true, 0, 0, 1000},
        {"1000", "9223372036854775807", "9223372036854775807", "9223372036854775807", true, 0, 0,
         1000},
        {"1000", "253402300800000", "1000001", "253402300800000", true, 0, 0, 1000},
        {"253402300799999", "253402300799999", "1", "1", true, 506804601599998, 1, 1},
        {"-1", "9223372036854775807", "1", "1", false, 0, 0, 0},
        {"-9223372036854775808", "1", "1", "1", false, 0, 0, 0},
        {"9223372036854775807", "1", "1", "1", false, 0, 0, 0},
        {"99999999999999999999", "1", "1", "1", false, 0, 0, 0},
        {"", "1", "1", "1", false, 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sqs_received back;
        json_t *o = json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:{s:s}, s:{s:s}, s:{s:s}}}",
                              "MessageId", "id", "ReceiptHandle", "h", "Body", "x", "Attributes",
                              "SentTimestamp", cases[i].sent, "MessageAttributes", "hold",
                              "StringValue", cases[i].hold, "attempts", "StringValue",
                              cases[i].attempts, "enqueued", "StringValue", cases[i].enqueued);
        assert_int_equal(queue_sqs_read(o, "events", &back), cases[i].read);
        if (cases[i].read) {
            assert_int_equal(back.due_ms, cases[i].due_ms);
            assert_int_equal(back.m.attempts, cases[i].counted);
            assert_int_equal(back.m.enqueued_ms, cases[i].enqueued_ms);
            queue_message_fini(&back.m);
        }
        json_decref(o);
    }
}

static void message_of_a_stranger_is_read(void **state)
{
    struct sqs_received back;
    json_t *o = json_pack("{s:s, s:s, s:s, s:{s:s}, s:{s:{s:s}, s:{s:s}}}", "MessageId", "id",
                          "ReceiptHandle", "h", "Body", "=not base64", "Attributes",
                          "SentTimestamp", "5", "MessageAttributes", "encoding", "StringValue",
                          "base64", "attempts", "StringValue", "many");
    assert_true(queue_sqs_read(o, "events", &back));
    assert_string_equal(back.m.body, "=not base64");
    assert_int_equal(back.m.attempts, 0);
    queue_message_fini(&back.m);
    json_object_del(o, "ReceiptHandle");
    assert_false(queue_sqs_read(o, "events", &back));
    json_decref(o);
}

static void groups_are_sqs_characters_and_stay_apart(void **state)
{
    char out[SQS_GROUP_MAX + 1];
    char other[SQS_GROUP_MAX + 1];
    char text[300];
    queue_sqs_group("octo-org/some.repo_1", out);
    assert_string_equal(out, "octo-org/some.repo_1");
    queue_sqs_group("", out);
    assert_string_equal(out, "");
    queue_sqs_group("with space", out);
    queue_sqs_group("with_space", other);
    assert_string_not_equal(out, other);
    assert_null(strchr(out, ' '));
    memset(text, 'r', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    queue_sqs_group(text, out);
    text[sizeof text - 2] = 's';
    queue_sqs_group(text, other);
    assert_true(strlen(out) <= SQS_GROUP_MAX);
    assert_string_not_equal(out, other);
    text[SQS_GROUP_MAX] = '\0';
    queue_sqs_group(text, out);
    assert_string_equal(out, text);
    queue_sqs_group(other, out); /* one that was made is its own */
    assert_string_equal(out, other);
}

static void receipt_holds_the_longest_handle(void **state)
{
    struct queue_message m = {0};
    struct sqs_lease lease;
    char handle[SQS_HANDLE_MAX + 1];
    char group[SQS_GROUP_MAX + 1];
    memset(handle, 'h', SQS_HANDLE_MAX);
    handle[SQS_HANDLE_MAX] = '\0';
    memset(group, 'g', SQS_GROUP_MAX);
    group[SQS_GROUP_MAX] = '\0';
    queue_sqs_receipt(&m, group, handle, INT64_MAX);
    assert_true(queue_sqs_lease(&m, &lease));
    assert_string_equal(lease.handle, handle);
    assert_string_equal(lease.group, group);
    assert_true(lease.until_mono_ms == INT64_MAX);
    queue_sqs_receipt(&m, "", "h", 1);
    assert_true(queue_sqs_lease(&m, &lease));
    assert_string_equal(lease.group, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lane_names_its_queues_and_is_read_back),
        cmocka_unit_test(queues_of_others_are_no_lanes_of_ours),
        cmocka_unit_test(lane_that_cannot_be_named_is_refused),
        cmocka_unit_test(options_are_read),
        cmocka_unit_test(named_queues_take_the_place_of_the_prefix),
        cmocka_unit_test(bad_urls_are_refused_with_the_reason),
        cmocka_unit_test(plain_message_is_its_body_alone),
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(what_sqs_refuses_goes_as_base64),
        cmocka_unit_test(reason_with_odd_bytes_is_cleaned),
        cmocka_unit_test(message_of_a_stranger_is_read),
        cmocka_unit_test(numbers_out_of_bounds_count_as_not_there),
        cmocka_unit_test(groups_are_sqs_characters_and_stay_apart),
        cmocka_unit_test(receipt_holds_the_longest_handle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
