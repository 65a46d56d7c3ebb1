/* The reader of HTTP requests: what it takes and what it refuses, the same however the bytes come. */
#include "common/http/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "tests/lib/cmocka.h"

static const struct http_limits limits = {
    .head_bytes = 512, .headers = 8, .body_bytes = 64, .host_is_needed = true};

struct found {
    enum http_read read;
    struct http_request request;
    bool had_head;
    size_t heads;
    size_t removed; /* bytes that the reader took out of the middle */
    char *data;
    size_t len;
};

/* Feeds `text` in pieces of `first` bytes, then of `step`, each time at another place in memory. */
static void feed(struct slice text, size_t first, size_t step, struct found *f)
{
    size_t fed = 0;
    *f = (struct found){.read = HTTP_READ_MORE};
    http_request_begin(&f->request);
    while (f->read == HTTP_READ_MORE && fed < text.len) {
        size_t n = fed == 0 ? first : step;
        n = n < text.len - fed ? n : text.len - fed;
        char *moved = malloc(f->len + n);
        assert_non_null(moved);
        memcpy(moved, f->len > 0 ? f->data : "", f->len);
        memcpy(moved + f->len, text.ptr + fed, n);
        free(f->data);
        f->data = moved;
        f->len += n;
        fed += n;
        do {
            size_t before = f->len;
            f->read = http_request_read(&f->request, &limits, f->data, &f->len);
            f->removed += before - f->len;
            f->heads += f->read == HTTP_READ_HEAD;
        } while (f->read == HTTP_READ_HEAD);
    }
}

static void assert_slice(struct slice s, const char *expected)
{
    if (!slice_eq_cstr(s, expected)) {
        fail_msg("\"%.*s\" instead of \"%s\"", SLICE_ARG(s), expected);
    }
}

#define HOST "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST

/* --- what is taken ---------------------------------------------------------------------------- */

struct taken {
    const char *text;
    const char *method, *path, *query, *body;
    bool keeps_alive;
    const char *rest; /* of the text, behind the request */
};

static const struct taken takens[] = {
    {GET "\r\n", "GET", "/", "", "", true, ""},
    {GET "\r\nGET /next", "GET", "/", "", "", true, "GET /next"},
    {"\r\n\r\n" GET "\r\n", "GET", "/", "", "", true, ""},
    {"GET / HTTP/1.0\r\n\r\n", "GET", "/", "", "", false, ""},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET", "/", "", "", true, ""},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/", "", "", true, ""},
    {"GET / HTTP/1.1\r\nHost: [fe80::1%251]:80\r\n\r\n", "GET", "/", "", "", true, ""},
    {"GET / HTTP/1.7\r\n" HOST "\r\n", "GET", "/", "", "", true, ""},
    {GET "Connection: te, close\r\n\r\n", "GET", "/", "", "", false, ""},
    {GET "Connection: close\r\nConnection: keep-alive\r\n\r\n", "GET", "/", "", "", false, ""},
    {"POST //webhook/?a=b?c HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcd", "POST",
     "//webhook/", "a=b?c", "abc", true, "d"},
    {"POST http://h:1/p HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", "POST", "/p", "", "", true,
     ""},
    {"GET HTTPS://h HTTP/1.1\r\n" HOST "\r\n", "GET", "/", "", "", true, ""},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS", "*", "", "", true, ""},
    {GET "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", "GET", "/", "", "ab", true, ""},
    {GET "Content-Length: 002\r\n\r\nab", "GET", "/", "", "ab", true, ""},
    {GET "A:\r\nB: \t \r\nC:\tx y\t\r\n\r\n", "GET", "/", "", "", true, ""},
    {GET "A: \xc3\xa9\xff\r\n\r\n", "GET", "/", "", "", true, ""},
    {GET "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\nGET",
     "GET", "/", "", "abc0123456789", true, "GET"},
    {GET
     "Transfer-Encoding: CHUNKED\r\n\r\n1 ;x\r\na\r\n00\r\nTrailer: x\r\nContent-Length: 9\r\n\r\n",
     "GET", "/", "", "a", true, ""},
    {GET "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET", "/", "", "", true, ""},
    {GET "Transfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n0\r\n\r\n", "GET", "/", "", "\r\n", true,
     ""},
};

static void assert_taken(const struct taken *t, size_t first, size_t step)
{
    struct found f;
    feed(slice_of(t->text), first, step, &f);
    if (f.read != HTTP_READ_WHOLE || f.heads != 1) {
        fail_msg("%s: read %d, %zu heads, %d %s", t->text, (int)f.read, f.heads, f.request.status,
                 f.request.why != NULL ? f.request.why : "");
    }
    assert_slice(f.request.method, t->method);
    assert_slice(f.request.path, t->path);
    assert_slice(f.request.query, t->query);
    assert_slice(f.request.body, t->body);
    assert_int_equal(f.request.keeps_alive, t->keeps_alive);
    struct slice rest = {f.data + f.request.used, f.len - f.request.used};
    assert_true(slice_starts_with(slice_of(t->rest), rest));
    free(f.data);
}

static void requests_are_read_however_their_bytes_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(takens); i++) {
        size_t len = strlen(takens[i].text);
        for (size_t first = 1; first <= len; first++) {
            assert_taken(&takens[i], first, len);
        }
        assert_taken(&takens[i], 1, 1);
        assert_taken(&takens[i], 2, 3);
    }
}

static void a_part_of_a_request_is_no_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(takens); i++) {
        size_t whole = strlen(takens[i].text) - strlen(takens[i].rest);
        for (size_t len = 1; len < whole; len++) {
            struct found f;
            feed((struct slice){takens[i].text, len}, len, 1, &f);
            assert_int_equal(f.read, HTTP_READ_MORE);
            free(f.data);
        }
    }
}

/* --- what is refused -------------------------------------------------------------------------- */

struct refused {
    const char *text;
    int status;
};

#define CHUNKED GET "Transfer-Encoding: chunked\r\n\r\n"
#define TEN "0123456789"
#define FIFTY TEN TEN TEN TEN TEN
#define FIVE_HUNDRED FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY

static const struct refused refuseds[] = {
    {"\x16\x03\x01", 400},
    {"GET /\x01", 400},
    {"\r\n\r\n\r\nGET / HTTP/1.1\r\n", 400},
    {"GET / HTTP/1.1\n", 400},
    {"GET / HTTP/1.1\rX", 400},
    {"\nGET / HTTP/1.1\r\n", 400},
    {"GET  / HTTP/1.1\r\n", 400},
    {"GET / HTTP/1.1 \r\n", 400},
    {"GET /\r\n", 400},
    {"GET /a b HTTP/1.1\r\n", 400},
    {"GET\t/ HTTP/1.1\r\n", 400},
    {" GET / HTTP/1.1\r\n", 400},
    {"G@T / HTTP/1.1\r\n", 400},
    {"GET / http/1.1\r\n", 400},
    {"GET / HTTP/1.11\r\n", 400},
    {"GET / HTTP/2.0\r\n", 505},
    {"PRI * HTTP/2.0\r\n", 505},
    {"GET /a#b HTTP/1.1\r\n", 400},
    {"GET /\xc3\xa9 HTTP/1.1\r\n", 400},
    {"GET a HTTP/1.1\r\n", 400},
    {"CONNECT a:1 HTTP/1.1\r\n", 400},
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {GET HOST, 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a@b\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n", 400},
    {GET "A : b\r\n", 400},
    {GET ": b\r\n", 400},
    {GET " folded: x\r\n", 400},
    {GET "A: b\r\n\tfolded\r\n", 400},
    {GET "no colon\r\n", 400},
    {GET "A: b\n", 400},
    {GET "A: b\x7f", 400},
    {GET "Content-Length: +1\r\n", 400},
    {GET "Content-Length: -1\r\n", 400},
    {GET "Content-Length: 0x1\r\n", 400},
    {GET "Content-Length: 1, 1\r\n", 400},
    {GET "Content-Length:\r\n", 400},
    {GET "Content-Length: 18446744073709551617\r\n", 400},
    {GET "Content-Length: 1\r\nContent-Length: 2\r\n", 400},
    {GET "Content-Length: 65\r\n\r\n", 413},
    {GET "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {GET "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
    {GET "Transfer-Encoding: gzip, chunked\r\n", 501},
    {GET "Transfer-Encoding: xchunked\r\n", 501},
    {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {GET "Expect: more\r\n", 417},
    {GET "1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n", 431},
    {GET "A: " FIVE_HUNDRED, 431},
    {"GET /" FIVE_HUNDRED FIFTY, 414},
    {CHUNKED "+1\r\n", 400},
    {CHUNKED "0x1\r\n", 400},
    {CHUNKED " 1\r\n", 400},
    {CHUNKED "1 \r\n", 400},
    {CHUNKED "\r\n", 400},
    {CHUNKED ";x\r\n", 400},
    {CHUNKED "1\n", 400},
    {CHUNKED "1\r\nab\r\n", 400},
    {CHUNKED "1\r\na\n", 400},
    {CHUNKED "41\r\n", 413},
    {CHUNKED "fffffffffffffffff\r\n", 413},
    {CHUNKED "20\r\n" TEN TEN TEN "01\r\n21\r\n", 413},
    {CHUNKED "1;" FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY, 400},
    {CHUNKED "0\r\nno trailer\r\n", 400},
    {CHUNKED "0\r\nA: " FIVE_HUNDRED FIFTY, 431},
};

static void assert_refused(const struct refused *t, size_t first, size_t step)
{
    struct found f;
    feed(slice_of(t->text), first, step, &f);
    if (f.read != HTTP_READ_BAD || f.request.status != t->status) {
        fail_msg("%s: read %d, status %d", t->text, (int)f.read, f.request.status);
    }
    assert_non_null(f.request.why);
    free(f.data);
}

static void what_two_could_read_differently_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refuseds); i++) {
        size_t len = strlen(refuseds[i].text);
        for (size_t first = 1; first <= len; first++) {
            assert_refused(&refuseds[i], first, len);
        }
        assert_refused(&refuseds[i], 1, 1);
    }
}

static void a_nul_is_refused_wherever_it_is_in_the_head(void **state)
{
    static const char text[] = GET "Name: value\r\n\r\n";
    (void)state;
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char with[sizeof text];
        struct found f;
        memcpy(with, text, sizeof text);
        with[i] = '\0';
        feed((struct slice){with, sizeof text - 1}, 1, 1, &f);
        assert_int_equal(f.read, HTTP_READ_BAD);
        assert_int_equal(f.request.status, 400);
        free(f.data);
    }
}

/* --- the rest --------------------------------------------------------------------------------- */

static void headers_come_one_by_one(void **state)
{
    static const char text[] = GET "A:\r\nB:  x: y \r\n\r\n";
    struct slice headers, name, value;
    struct found f;
    (void)state;
    feed(slice_of(text), 1, 1, &f);
    headers = f.request.headers;
    assert_true(http_request_next_header(&headers, &name, &value));
    assert_slice(name, "Host");
    assert_slice(value, "a");
    assert_true(http_request_next_header(&headers, &name, &value));
    assert_slice(name, "A");
    assert_slice(value, "");
    assert_true(http_request_next_header(&headers, &name, &value));
    assert_slice(name, "B");
    assert_slice(value, "x: y");
    assert_false(http_request_next_header(&headers, &name, &value));
    free(f.data);
}

static void a_client_that_waits_is_known_when_the_head_is(void **state)
{
    char text[] = GET "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    char old[] = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    struct http_request r;
    size_t len = sizeof text - 1;
    (void)state;
    http_request_begin(&r);
    assert_int_equal(http_request_read(&r, &limits, text, &len), HTTP_READ_HEAD);
    assert_true(r.waits_for_body);
    assert_int_equal(r.length, 2);
    assert_int_equal(http_request_read(&r, &limits, text, &len), HTTP_READ_MORE);
    http_request_begin(&r);
    len = sizeof old - 1;
    assert_int_equal(http_request_read(&r, &limits, old, &len), HTTP_READ_HEAD);
    assert_false(r.waits_for_body);
}

static void the_authority_of_a_url_is_kept_apart(void **state)
{
    struct found f;
    (void)state;
    feed(slice_of("GET http://user@h:1?x HTTP/1.1\r\n" HOST "\r\n"), 1, 1, &f);
    assert_int_equal(f.read, HTTP_READ_WHOLE);
    assert_slice(f.request.authority,
                 "user@h:1?x"); /* nobody asks for that; no path is read from it */
    assert_slice(f.request.path, "/");
    free(f.data);
}

static void lines_of_chunks_do_not_add_up(void **state)
{
    static const char head[] = CHUNKED;
    char line[400];
    struct buf text;
    struct found f;
    (void)state;
    buf_init(&text, 64 * 1024);
    buf_append_cstr(&text, head);
    (void)snprintf(line, sizeof line, "1;%0240d\r\na\r\n", 7);
    for (size_t i = 0; i < limits.body_bytes; i++) {
        buf_append_cstr(&text, line);
    }
    buf_append_cstr(&text, "0\r\n\r\n");
    assert_false(text.failed);
    feed(buf_slice(&text), 100, 100, &f);
    assert_int_equal(f.read, HTTP_READ_WHOLE);
    assert_int_equal(f.request.body.len, limits.body_bytes);
    assert_true(f.removed > 8 * 1024 && f.len < 6 * 1024);
    free(f.data);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_however_their_bytes_come),
        cmocka_unit_test(a_part_of_a_request_is_no_request),
        cmocka_unit_test(what_two_could_read_differently_is_refused),
        cmocka_unit_test(a_nul_is_refused_wherever_it_is_in_the_head),
        cmocka_unit_test(headers_come_one_by_one),
        cmocka_unit_test(a_client_that_waits_is_known_when_the_head_is),
        cmocka_unit_test(the_authority_of_a_url_is_kept_apart),
        cmocka_unit_test(lines_of_chunks_do_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
