/* What answers of AWS mean: names and messages in all their places, classes, waits, dates. */
#include <stdlib.h>
#include <string.h>

#include "common/aws/errors.h"
#include "tests/lib/cmocka.h"

static struct aws_answer read_answer(int status, const char *headers, const char *body)
{
    struct http_response r = {.status = status};
    struct aws_answer a;
    buf_init(&r.headers, 4096);
    buf_init(&r.body, 65536);
    buf_append_cstr(&r.headers, headers);
    buf_append_cstr(&r.body, body);
    aws_answer_read(&r, &a);
    http_response_fini(&r);
    return a;
}

static void name_is_found_wherever_a_service_puts_it(void **state)
{
    static const struct {
        const char *headers;
        const char *body;
        const char *name;
    } cases[] = {
        {"x-amzn-errortype: ThrottlingException:http://internal/\r\n", "{}", "ThrottlingException"},
        {"X-Amzn-ErrorType: ValidationException\r\n", "", "ValidationException"},
        {"", "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException\"}",
         "ResourceNotFoundException"},
        {"", "{\"__type\":\"NotFoundException\"}", "NotFoundException"},
        {"", "{\"code\":\"Conflict\"}", "Conflict"},
        {"", "{\"Error\":{\"Code\":\"ExpiredToken\",\"Message\":\"m\"}}", "ExpiredToken"},
        {"x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\r\n", "",
         "AWS.SimpleQueueService.NonExistentQueue"},
        {"", " <?xml version=\"1.0\"?><ErrorResponse><Error><Code>InvalidClientTokenId</Code>",
         "InvalidClientTokenId"},
        {"", "<html><body>502 Bad Gateway</body></html>", ""},
        {"", "{\"message\":null}", ""},
        {"", "{broken", ""},
        {"x-amzn-errortype: a name with blanks\r\n", "", ""},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct aws_answer a = read_answer(400, cases[i].headers, cases[i].body);
        assert_string_equal(a.name, cases[i].name);
    }
}

static void message_is_one_printable_line(void **state)
{
    struct aws_answer a = read_answer(400, "", "{\"Message\":\"  first\\tline\\nsecond\"}");
    assert_string_equal(a.message, "first?line");
    a = read_answer(400, "", "{\"message\":\"a\",\"Message\":\"b\"}");
    assert_string_equal(a.message, "a");
    a = read_answer(400, "",
                    "<Error><Code>X</Code><Message>it&apos;s &lt;here&gt;</Message></Error>");
    assert_string_equal(a.message, "it's <here>");
}

/* A refused launch must not put the runner's configuration into a log. */
static void message_leaves_out_what_was_sent(void **state)
{
    struct buf body;
    buf_init(&body, 8192);
    buf_append_cstr(&body, "{\"message\":\"1 validation error detected: Value '");
    for (int i = 0; i < 50; i++) {
        buf_append_cstr(&body, "PAYLOAD ");
    }
    buf_append_cstr(&body, "' at 'runHookPayload' failed; got ");
    for (int i = 0; i < 50; i++) {
        buf_append_cstr(&body, "PAYLOAD");
    }
    buf_append_cstr(&body, " don't ask\"}");
    struct aws_answer a = read_answer(400, "", body.data);
    assert_string_equal(a.message, "1 validation error detected: Value (...) at 'runHookPayload' "
                                   "failed; got (...) don't ask");
    buf_fini(&body);
}

static void name_gives_the_class(void **state)
{
    static const struct {
        const char *name;
        int status;
        enum err_class class;
    } cases[] = {
        {"ThrottlingException", 400, ERR_THROTTLED},
        {"ServiceQuotaExceededException", 402, ERR_CAPACITY},
        {"AccessDeniedException", 403, ERR_AUTH},
        {"UnrecognizedClientException", 403, ERR_AUTH},
        {"ValidationException", 400, ERR_PERMANENT},
        {"ResourceNotFoundException", 404, ERR_NOT_FOUND},
        {"ConflictException", 409, ERR_CONFLICT},
        {"InternalServerException", 500, ERR_RETRY},
        {"NeverHeardOfException", 400, ERR_RETRY},
        {"NeverHeardOfException", 404, ERR_RETRY},
        {"NeverHeardOfException", 403, ERR_AUTH},
        {"", 429, ERR_THROTTLED},
        {"", 401, ERR_AUTH},
        {"", 403, ERR_AUTH},
        {"", 404, ERR_RETRY},
        {"", 413, ERR_PERMANENT},
        {"", 502, ERR_RETRY},
        {"", 301, ERR_RETRY},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct aws_answer a = {.message = "m"};
        assert_true(slice_to_cstr(slice_of(cases[i].name), a.name, sizeof a.name));
        struct aws_verdict v = aws_classify(&a, cases[i].status, NULL);
        assert_int_equal(v.class, cases[i].class);
        assert_true(strlen(v.hint) > 5);
    }
}

static void rule_of_the_service_comes_first_by_either_name(void **state)
{
    static const struct aws_error_rule rules[] = {
        {"ConflictException", ERR_PERMANENT, "the token was used"},
        {"AWS.SimpleQueueService.NonExistentQueue", ERR_NOT_FOUND, "make it"},
        {NULL, ERR_NONE, NULL}};
    struct aws_answer a = {.name = "ConflictException", .message = "m"};
    assert_int_equal(aws_classify(&a, 409, rules).class, ERR_PERMANENT);
    assert_string_equal(aws_classify(&a, 409, rules).hint, "the token was used");
    a = read_answer(400, "x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\r\n",
                    "{\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\"}");
    assert_string_equal(a.name, "QueueDoesNotExist");
    assert_int_equal(aws_classify(&a, 400, rules).class, ERR_NOT_FOUND);
}

static void refusal_without_a_word_points_at_the_region(void **state)
{
    struct aws_answer a =
        read_answer(403, "x-amzn-errortype: AccessDeniedException\r\n", "{\"Message\":null}");
    struct aws_verdict v = aws_classify(&a, 403, NULL);
    assert_int_equal(v.class, ERR_AUTH);
    assert_non_null(strstr(v.hint, "region"));
    a = read_answer(403, "", "<html>");
    assert_non_null(strstr(aws_classify(&a, 403, NULL).hint, "proxy"));
}

static void wait_is_read_from_header_or_body_and_bounded(void **state)
{
    assert_int_equal(read_answer(429, "Retry-After: 3\r\n", "").retry_after_ms, 3000);
    assert_int_equal(read_answer(429, "", "{\"retryAfterSeconds\":7}").retry_after_ms, 7000);
    assert_int_equal(read_answer(429, "Retry-After: 99999999\r\n", "").retry_after_ms, 3600000);
    assert_int_equal(read_answer(429, "Retry-After: -1\r\n", "").retry_after_ms, 0);
    assert_int_equal(read_answer(429, "", "{\"retryAfterSeconds\":\"7\"}").retry_after_ms, 0);
}

static void date_is_read_or_refused(void **state)
{
    static const char *const bad[] = {"", "Sun, 06 Nov 1994 08:49:37", "1994-11-06T08:49:37Z",
                                      "Sun, 06 Nov 1994 08:49:37 GMT and more"};
    assert_int_equal(aws_http_date(SLICE("Sun, 06 Nov 1994 08:49:37 GMT")), 784111777000);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(aws_http_date(slice_of(bad[i])), -1);
    }
}

static void xml_gives_the_text_of_a_leaf_alone(void **state)
{
    struct buf out;
    buf_init(&out, 20);
    assert_true(aws_xml_text(SLICE("<a><b>x&amp;&#43;&#x2f;&#300;&#;&b</b></a>"), "b", &out));
    assert_string_equal(out.data, "x&+/&#300;&#;&b");
    buf_reset(&out);
    assert_false(aws_xml_text(SLICE("<a><b>x</b></a>"), "a", &out));
    assert_false(aws_xml_text(SLICE("<b>x"), "b", &out));
    assert_false(aws_xml_text(SLICE(""), "b", &out));
    assert_false(aws_xml_text(SLICE("<b>longer than it may be</b>"), "b", &out));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_is_found_wherever_a_service_puts_it),
        cmocka_unit_test(message_is_one_printable_line),
        cmocka_unit_test(message_leaves_out_what_was_sent),
        cmocka_unit_test(name_gives_the_class),
        cmocka_unit_test(rule_of_the_service_comes_first_by_either_name),
        cmocka_unit_test(refusal_without_a_word_points_at_the_region),
        cmocka_unit_test(wait_is_read_from_header_or_body_and_bounded),
        cmocka_unit_test(date_is_read_or_refused),
        cmocka_unit_test(xml_gives_the_text_of_a_leaf_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
