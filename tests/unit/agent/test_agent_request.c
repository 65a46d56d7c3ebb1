/* Whose a hook request is, and the run hook's body. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/image/agent/agent_request.h"
#include "tests/lib/cmocka.h"

static struct buf body;

static int set_up(void **state)
{
    buf_init(&body, REQUEST_BODY_MAX);
    return 0;
}

static int tear_down(void **state)
{
    buf_fini(&body);
    return 0;
}

/* --- whose request it is ---------------------------------------------------------------------- */

static bool is_forwarded(const char *target, const char *headers)
{
    static const struct http_limits limits = {.head_bytes = 1024, .headers = 8, .body_bytes = 0};
    char text[512];
    struct http_request r;
    int n = snprintf(text, sizeof text, "POST %s HTTP/1.1\r\n%s\r\n", target, headers);
    size_t len = (size_t)n;
    http_request_begin(&r);
    assert_int_equal(http_request_read(&r, &limits, text, &len), HTTP_READ_HEAD);
    return agent_request_is_forwarded(&r);
}

static void local_request_is_the_platforms(void **state)
{
    assert_false(is_forwarded("/x", ""));
    assert_false(is_forwarded("/x", "Host: localhost:9000\r\n"));
    assert_false(is_forwarded("/x", "host: 127.0.0.1\r\nX: y\r\n"));
    assert_false(is_forwarded("/x", "Host: [::1]:65535\r\n"));
    assert_false(is_forwarded("http://LocalHost:1/a?b", "Host: localhost\r\n"));
}

static void request_for_another_host_is_forwarded(void **state)
{
    assert_true(is_forwarded("/x", "Host: example.com\r\n"));
    assert_true(is_forwarded("/x", "Host: localhost.example.com\r\n"));
    assert_true(is_forwarded("/x", "Host: localhost:0\r\n"));
    assert_true(is_forwarded("/x", "Host: localhost:\r\n"));
    assert_true(is_forwarded("/x", "Host:\r\n"));
    assert_true(is_forwarded("/x", "Host: localhost\r\nX-Amzn-RequestId: 1\r\n"));
    assert_true(is_forwarded("http://example.com/", "Host: localhost\r\n"));
    assert_true(is_forwarded("http://localhost@example.com/", "Host: localhost\r\n"));
}

/* --- the run hook's body ------------------------------------------------------------------------
 */

static bool parse(const char *text, struct agent_run_body *out)
{
    buf_reset(&body);
    return agent_run_body_parse(slice_of(text), out, &body);
}

static void wrapped_payload_is_taken_out(void **state)
{
    struct agent_run_body b;
    assert_true(parse("{\"microvmId\":\"microvm-1\",\"runHookPayload\":\"AQID\"}", &b));
    assert_string_equal(b.microvm_id, "microvm-1");
    assert_true(b.has_payload && slice_eq_cstr(buf_slice(&body), "AQID"));
    assert_true(parse(" { \"x\" : [1, -2.5e3, {\"y\":[], \"z\":{}}, null, true, \"\\\"\"],"
                      "\"runHookPayload\":\"a\\u003d\\/\\u00e9\\ud83d\\ude00\" }\n",
                      &b));
    assert_true(slice_eq_cstr(buf_slice(&body), "a=/\xc3\xa9\xf0\x9f\x98\x80"));
    assert_string_equal(b.microvm_id, "");
}

static void bare_payload_is_taken_as_it_is(void **state)
{
    struct agent_run_body b;
    assert_true(parse("AQIDBA==\n", &b));
    assert_true(b.has_payload && slice_eq_cstr(buf_slice(&body), "AQIDBA=="));
}

static void body_without_payload_has_none(void **state)
{
    struct agent_run_body b;
    assert_true(parse("{}", &b));
    assert_false(b.has_payload);
    assert_true(parse("{\"runHookPayload\":null,\"microvmId\":7}", &b));
    assert_false(b.has_payload);
    assert_false(parse("", &b));
}

/* 65 of them, one more than are followed. */
#define EIGHT(x) x x x x x x x x
#define DEEP EIGHT(EIGHT("[")) "["
#define SHALLOW EIGHT(EIGHT("]")) "]"

static void body_that_is_no_json_is_refused(void **state)
{
    struct agent_run_body b;
    static const char *const bodies[] = {"{",
                                         "{\"a\"}",
                                         "{\"a\":}",
                                         "{\"a\":1,}",
                                         "{\"a\":1}x",
                                         "{\"a\":01}",
                                         "{\"a\":1.}",
                                         "{\"a\":[1}",
                                         "{\"a\":{\"b\":1]}",
                                         "{\"a\":[,1]}",
                                         "{\"a\":tru}",
                                         "{\"a\":\"\n\"}",
                                         "{\"a\":\"\\x\"}",
                                         "{\"a\":\"\\u12g4\"}",
                                         "{\"a\":" DEEP "1" SHALLOW "}",
                                         "{\"microvmId\":\"\\u0000\"}",
                                         "{\"runHookPayload\":\"\xff\"}",
                                         "{\"runHookPayload\":\"a\",\"runHookPayload\":\"b\"}"};
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        if (parse(bodies[i], &b)) {
            fail_msg("accepted: %s", bodies[i]);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(local_request_is_the_platforms), CASE(request_for_another_host_is_forwarded),
        CASE(wrapped_payload_is_taken_out),   CASE(bare_payload_is_taken_as_it_is),
        CASE(body_without_payload_has_none),  CASE(body_that_is_no_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
