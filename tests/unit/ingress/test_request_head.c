#include <stdio.h>
#include <string.h>

#include "ingress/request_head.h"
#include "tests/lib/cmocka.h"

#define SIGNATURE "sha256=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MAX_BODY 1000

static const struct http_limits limits = {
    .head_bytes = 4096, .headers = 64, .body_bytes = 1 << 20, .host_is_needed = true};

/* GitHub's, line by line; a test changes or omits one. */
struct lines {
    const char *request;
    const char *length;
    const char *type;
    const char *signature;
};
static const struct lines good = {
    .request = "POST /webhook HTTP/1.1\r\n",
    .length = "content-length: 2\r\n",
    .type = "CONTENT-TYPE: application/json\r\n",
    .signature = "X-Hub-Signature-256: " SIGNATURE "\r\n",
};

/* The verdict on a head; *h borrows from static memory. */
static enum head_verdict judge(const struct lines *lines, struct request_head *h, struct answer *a)
{
    static char text[2048];
    struct http_request r;
    int n = snprintf(text, sizeof text,
                     "%sHost: x\r\n%s%sX-Github-Event: ping\r\nx-github-delivery: d\r\n%s\r\n",
                     lines->request, lines->length, lines->type, lines->signature);
    size_t len = (size_t)n;
    assert_in_range(n, 1, sizeof text - 1);
    http_request_begin(&r);
    assert_int_equal(http_request_read(&r, &limits, text, &len), HTTP_READ_HEAD);
    request_head_read(r.headers, h);
    return request_head_judge(&r, h, SLICE("/webhook"), MAX_BODY, a);
}

static void githubs_head_goes_on(void **state)
{
    struct request_head h;
    struct answer a;
    assert_int_equal(judge(&good, &h, &a), HEAD_IS_WEBHOOK);
    assert_true(slice_eq_cstr(h.event, "ping"));
    assert_true(slice_eq_cstr(h.delivery, "d"));
    assert_true(slice_eq_cstr(h.content_type, "application/json"));
    assert_true(slice_eq_cstr(h.signature, SIGNATURE));
}

static void chunked_goes_on(void **state)
{
    struct request_head h;
    struct answer a;
    struct lines lines = good;
    lines.length = "Transfer-Encoding: Chunked\r\n";
    assert_int_equal(judge(&lines, &h, &a), HEAD_IS_WEBHOOK);
}

static void first_of_two_signatures_counts(void **state)
{
    struct request_head h;
    struct answer a;
    struct lines lines = good;
    lines.signature = "X-Hub-Signature-256: " SIGNATURE "\r\nX-Hub-Signature-256: sha256=11\r\n";
    assert_int_equal(judge(&lines, &h, &a), HEAD_IS_WEBHOOK);
    assert_true(slice_eq_cstr(h.signature, SIGNATURE));
    lines.signature = "X-Hub-Signature-256: sha256=11\r\nX-Hub-Signature-256: " SIGNATURE "\r\n";
    assert_int_equal(judge(&lines, &h, &a), HEAD_REFUSED);
}

static void path_is_taken_as_proxies_join_it(void **state)
{
    static const char *const ours[] = {"POST //webhook HTTP/1.1\r\n", "POST /webhook/ HTTP/1.1\r\n",
                                       "POST ///webhook//?a=/b HTTP/1.1\r\n"};
    static const char *const others[] = {
        "POST / HTTP/1.1\r\n", "POST // HTTP/1.1\r\n", "POST /webhook/x HTTP/1.1\r\n",
        "POST /x/webhook HTTP/1.1\r\n", "POST /Webhook HTTP/1.1\r\n"};
    struct request_head h;
    struct answer a;
    struct lines lines = good;
    for (size_t i = 0; i < COUNT_OF(ours); i++) {
        lines.request = ours[i];
        assert_int_equal(judge(&lines, &h, &a), HEAD_IS_WEBHOOK);
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        lines.request = others[i];
        assert_int_equal(judge(&lines, &h, &a), HEAD_REFUSED);
        assert_int_equal(a.code, 404);
    }
}

static void health_is_asked_without_a_signature(void **state)
{
    struct request_head h;
    struct answer a;
    struct lines lines = {"GET /healthz HTTP/1.1\r\n", "", "", ""};
    assert_int_equal(judge(&lines, &h, &a), HEAD_ASKS_HEALTH);
    lines.request = "HEAD //healthz/?x HTTP/1.1\r\n";
    assert_int_equal(judge(&lines, &h, &a), HEAD_ASKS_HEALTH);
    lines.request = "POST /healthz HTTP/1.1\r\n";
    assert_int_equal(judge(&lines, &h, &a), HEAD_REFUSED);
    assert_int_equal(a.code, 404);
}

/* What is wrong in several ways is refused for the first of them. */
static void refusals_have_an_order(void **state)
{
    static const char many[] = "content-length: 1001\r\n";
    const struct {
        struct lines lines;
        int code;
        const char *reason;
    } rows[] = {
        {{"GET /x HTTP/1.1\r\n", many, "", ""}, 404, "other_path"},
        {{"GET /webhook HTTP/1.1\r\n", many, "", ""}, 405, "method"},
        {{good.request, many, "", ""}, 415, "content_type"},
        {{good.request, many, "Content-Type: text/plain\r\n", ""}, 415, "content_type"},
        {{good.request, "", good.type, ""}, 411, "no_length"},
        {{good.request, many, good.type, ""}, 413, "too_large"},
        {{good.request, good.length, good.type, ""}, 401, "no_signature"},
        {{good.request, good.length, good.type, "X-Hub-Signature: sha1=00\r\n"},
         401,
         "no_signature"},
        {{good.request, good.length, good.type, "X-Hub-Signature-256: sha256=00\r\n"},
         401,
         "bad_signature"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct request_head h;
        struct answer a = {0};
        assert_int_equal(judge(&rows[i].lines, &h, &a), HEAD_REFUSED);
        assert_int_equal(a.code, rows[i].code);
        assert_string_equal(a.reason, rows[i].reason);
    }
}

static void refusals_of_the_reader_have_reasons(void **state)
{
    static const int codes[] = {400, 413, 414, 417, 431, 501, 505};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct answer a = request_head_refusal(&(struct http_request){.status = codes[i]});
        assert_int_equal(a.code, codes[i]);
        assert_true(a.close);
        assert_int_equal(strcmp(a.reason, "bad_request") == 0, codes[i] == 400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(githubs_head_goes_on),
        cmocka_unit_test(chunked_goes_on),
        cmocka_unit_test(first_of_two_signatures_counts),
        cmocka_unit_test(path_is_taken_as_proxies_join_it),
        cmocka_unit_test(health_is_asked_without_a_signature),
        cmocka_unit_test(refusals_have_an_order),
        cmocka_unit_test(refusals_of_the_reader_have_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
