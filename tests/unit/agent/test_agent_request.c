/* The reader of hook requests, byte by byte and whole; and the run hook's body. */
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

static int status_of(const char *text)
{
    struct agent_request r;
    enum request_read read = agent_request_parse(slice_of(text), &r, &body);
    return read == REQUEST_BAD ? r.status : read == REQUEST_WHOLE ? 200 : 0;
}

/* Every proper prefix must be unfinished, the whole must be whole. */
static void expect_whole(const char *text, const char *want_body)
{
    struct agent_request r;
    struct slice all = slice_of(text);
    for (size_t i = 0; i < all.len; i++) {
        char *part = malloc(i + 1); /* exactly as long: a sanitizer sees a read behind it */
        assert_non_null(part);
        memcpy(part, text, i);
        assert_int_equal(agent_request_parse((struct slice){part, i}, &r, &body), REQUEST_MORE);
        free(part);
    }
    assert_int_equal(agent_request_parse(all, &r, &body), REQUEST_WHOLE);
    assert_int_equal(r.used, all.len);
    assert_true(slice_eq_cstr(buf_slice(&body), want_body));
}

static void request_by_length_is_whole_at_its_last_byte(void **state)
{
    expect_whole("POST /x HTTP/1.1\r\nHost: localhost:9000\r\ncontent-LENGTH: 5\r\n\r\nhello",
                 "hello");
    expect_whole("POST /x HTTP/1.1\nContent-Length:0\n\n", "");
    expect_whole("POST /x HTTP/1.1\r\n\r\n", "");
}

static void request_in_chunks_is_whole_at_its_last_byte(void **state)
{
    expect_whole("POST /x HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
                 "3\r\nhel\r\n2;name=value\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
                 "hello");
}

static void requests_behind_one_another_are_cut_apart(void **state)
{
    struct agent_request r;
    const char *text = "POST /a HTTP/1.1\r\nContent-Length: 1\r\n\r\nAGET /b HTTP/1.0\r\n\r\n";
    struct slice in = slice_of(text);
    assert_int_equal(agent_request_parse(in, &r, &body), REQUEST_WHOLE);
    assert_true(slice_eq_cstr(r.target, "/a") && r.keep_alive);
    assert_true(slice_eq_cstr(buf_slice(&body), "A"));
    in.ptr += r.used;
    in.len -= r.used;
    assert_int_equal(agent_request_parse(in, &r, &body), REQUEST_WHOLE);
    assert_true(slice_eq_cstr(r.method, "GET") && slice_eq_cstr(r.target, "/b"));
    assert_false(r.keep_alive);
    assert_int_equal(body.len, 0);
}

static void connection_header_decides_keep_alive(void **state)
{
    struct agent_request r;
    const char *closing = "POST /a HTTP/1.1\r\nConnection: Close\r\n\r\n";
    const char *keeping = "POST /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_int_equal(agent_request_parse(slice_of(closing), &r, &body), REQUEST_WHOLE);
    assert_false(r.keep_alive);
    assert_int_equal(agent_request_parse(slice_of(keeping), &r, &body), REQUEST_WHOLE);
    assert_true(r.keep_alive);
}

static void connection_header_is_a_list(void **state)
{
    struct agent_request r;
    static const char *const closing[] = {
        "POST /a HTTP/1.1\r\nConnection: close, TE\r\n\r\n",
        "POST /a HTTP/1.1\r\nConnection: TE ,\tClose\r\n\r\n",
        "POST /a HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
        "POST /a HTTP/1.0\r\nConnection: TE\r\n\r\n"};
    for (size_t i = 0; i < COUNT_OF(closing); i++) {
        assert_int_equal(agent_request_parse(slice_of(closing[i]), &r, &body), REQUEST_WHOLE);
        assert_false(r.keep_alive);
    }
    const char *keeping = "POST /a HTTP/1.1\r\nConnection: TE, closed\r\n\r\n";
    assert_int_equal(agent_request_parse(slice_of(keeping), &r, &body), REQUEST_WHOLE);
    assert_true(r.keep_alive);
}

static void empty_lines_before_a_request_are_skipped(void **state)
{
    expect_whole("\r\nPOST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", "hi");
    expect_whole("\n\r\nPOST /x HTTP/1.1\r\n\r\n", "");
    assert_int_equal(status_of("\r\n\r\n\r\n\r\n"), 400);
    assert_int_equal(status_of("\rPOST /x HTTP/1.1\r\n\r\n"), 400);
}

static void absolute_target_becomes_a_path(void **state)
{
    struct agent_request r;
    assert_int_equal(
        agent_request_parse(SLICE("POST http://localhost:1/a?b HTTP/1.1\r\n\r\n"), &r, &body),
        REQUEST_WHOLE);
    assert_true(slice_eq_cstr(r.target, "/a?b") && !r.forwarded);
    assert_int_equal(status_of("POST http://localhost HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("POST https://localhost/ HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("POST http:/// HTTP/1.1\r\n\r\n"), 200);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
                     400);
}

static void malformed_requests_are_refused_as_soon_as_they_are_seen(void **state)
{
    assert_int_equal(status_of("\x16\x03\x01\x02"), 400); /* TLS */
    assert_int_equal(status_of("PO\x01ST"), 400);
    assert_int_equal(status_of("POST\r\n\r\n"), 400);
    assert_int_equal(status_of("POST x HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("PO@ST /x HTTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("POST /x FTP/1.1\r\n\r\n"), 400);
    assert_int_equal(status_of("POST /x HTTP/2.0\r\n\r\n"), 505);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nno colon\r\n\r\n"), 400);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nbad name: 1\r\n\r\n"), 400);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"), 501);
}

static void lengths_that_lie_are_refused(void **state)
{
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nContent-Length: -0\r\n\r\n"), 400);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nContent-Length: 1x\r\n\r\n"), 400);
    assert_int_equal(
        status_of("POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
    assert_int_equal(
        status_of("POST /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        400);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nContent-Length: 32769\r\n\r\n"), 413);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n8001\r\n"),
                     413);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"), 400);
    assert_int_equal(status_of("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab"),
                     400);
}

static void head_without_end_is_refused_at_its_limit(void **state)
{
    char *text = malloc(REQUEST_HEAD_MAX + 1);
    assert_non_null(text);
    memset(text, 'a', REQUEST_HEAD_MAX);
    text[REQUEST_HEAD_MAX] = '\0';
    assert_int_equal(status_of(text), 431);
    text[REQUEST_HEAD_MAX - 1] = '\0';
    assert_int_equal(status_of(text), 0);
    free(text);
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
                                         "{\"a\":\"\\ud800\"}",
                                         "{\"a\":\"\\udc00\"}",
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
        CASE(request_by_length_is_whole_at_its_last_byte),
        CASE(request_in_chunks_is_whole_at_its_last_byte),
        CASE(requests_behind_one_another_are_cut_apart),
        CASE(connection_header_decides_keep_alive),
        CASE(connection_header_is_a_list),
        CASE(empty_lines_before_a_request_are_skipped),
        CASE(absolute_target_becomes_a_path),
        CASE(malformed_requests_are_refused_as_soon_as_they_are_seen),
        CASE(lengths_that_lie_are_refused),
        CASE(head_without_end_is_refused_at_its_limit),
        CASE(wrapped_payload_is_taken_out),
        CASE(bare_payload_is_taken_as_it_is),
        CASE(body_without_payload_has_none),
        CASE(body_that_is_no_json_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
