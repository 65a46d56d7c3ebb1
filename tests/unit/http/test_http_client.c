#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/client.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/http/http_server.h"

struct fixture {
    struct http_server *server;
    struct http_server *other;
    struct http_client *client;
    served_fn *script;
};

static void play(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct fixture *f = arg;
    if (f->script != NULL) {
        f->script(f, q, a);
        return;
    }
    buf_append_cstr(&a->headers, "X-Answer: forty-two\r\n");
    buf_append_cstr(&a->body, "hello");
}

static struct http_client *make_client(const char *proxy)
{
    struct http_client *c = NULL;
    struct err e;
    const struct http_client_options o = {.user_agent = "mayfly/test",
                                          .proxy = proxy,
                                          .connect_timeout_ms = 5000,
                                          .timeout_ms = 20000,
                                          .max_idle = 4};
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    return c;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->server = http_server_start(play, f);
    f->other = http_server_start(play, f);
    f->client = make_client("");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->client);
    http_server_stop(f->server);
    http_server_stop(f->other);
    free(f);
    return 0;
}

static const char *url(const struct http_server *s, const char *path)
{
    static char text[512];
    (void)snprintf(text, sizeof text, "%s%s", http_server_url(s), path);
    return text;
}

static int get(const struct fixture *f, const char *path, struct http_response *out, struct err *e)
{
    static const char *const headers[] = {"Authorization: Bearer sesame"};
    const struct http_request r = {
        .method = "GET", .url = url(f->server, path), .headers = headers, .header_count = 1};
    return http_send(f->client, &r, out, e);
}

static void get_ok_returns_body_and_headers(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    assert_int_equal(get(f, "/x?q=1", &r, &e), 0);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.data, "hello");
    assert_true(slice_eq_cstr(http_header(&r, "x-ANSWER"), "forty-two"));
    assert_int_equal(http_header(&r, "x-none").len, 0);
    http_response_fini(&r);
    const struct served_request *q = http_server_request(f->server, 0);
    assert_string_equal(q->target, "/x?q=1");
    assert_string_equal(served_header(q, "User-Agent"), "mayfly/test");
    assert_string_equal(served_header(q, "Authorization"), "Bearer sesame");
    /* What is asked for is not unpacked: a small answer cannot become a large one. */
    assert_string_equal(served_header(q, "Accept-Encoding"), "");
}

static void post_with_body_sends_it(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    const struct http_request q = {
        .method = "POST", .url = url(f->server, "/p"), .body = SLICE("{\"a\":1}")};
    assert_int_equal(http_send(f->client, &q, &r, &e), 0);
    http_response_fini(&r);
    assert_string_equal(http_server_request(f->server, 0)->method, "POST");
    assert_string_equal(http_server_request(f->server, 0)->body.data, "{\"a\":1}");
    assert_string_equal(served_header(http_server_request(f->server, 0), "Expect"), "");
}

static void post_without_body_sends_length_zero(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    const struct http_request q = {.method = "POST", .url = url(f->server, "/p")};
    assert_int_equal(http_send(f->client, &q, &r, &e), 0);
    http_response_fini(&r);
    assert_string_equal(served_header(http_server_request(f->server, 0), "Content-Length"), "0");
}

static void other_methods_are_sent_as_named(void **state)
{
    static const char *const methods[] = {"DELETE", "PUT", "PATCH", "HEAD"};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        struct http_response r;
        struct err e;
        const struct http_request q = {.method = methods[i], .url = url(f->server, "/m")};
        assert_int_equal(http_send(f->client, &q, &r, &e), 0);
        assert_int_equal(r.status, 200);
        http_response_fini(&r);
        assert_string_equal(http_server_request(f->server, i)->method, methods[i]);
    }
}

static void two_calls_share_one_connection(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 5; i++) {
        struct http_response r;
        struct err e;
        assert_int_equal(get(f, "/again", &r, &e), 0);
        http_response_fini(&r);
        assert_int_equal(http_server_request(f->server, i)->connection, 1);
    }
}

static void fail_with_503(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->status = 503;
    buf_append_cstr(&a->body, "busy");
}

static void an_error_status_is_an_answer(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = fail_with_503;
    assert_int_equal(get(f, "/", &r, &e), 0);
    assert_int_equal(r.status, 503);
    assert_string_equal(r.body.data, "busy");
    http_response_fini(&r);
}

static void say_much(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    for (int i = 0; i < 1000; i++) {
        buf_append_cstr(&a->body, "0123456789");
    }
}

static void a_body_over_the_limit_is_permanent(void **state)
{
    struct fixture *f = *state;
    struct http_response r = {.status = 7};
    struct err e;
    struct http_request q = {
        .method = "GET", .url = url(f->server, "/big?key=hush"), .response_limit_bytes = 9999};
    f->script = say_much;
    assert_int_equal(http_send(f->client, &q, &r, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "/big"));
    assert_null(strstr(e.message, "hush"));
    assert_int_equal(r.status, 7);
    q.response_limit_bytes = 10000;
    assert_int_equal(http_send(f->client, &q, &r, &e), 0);
    assert_int_equal(r.body.len, 10000);
    http_response_fini(&r);
}

static void say_many_headers(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    for (int i = 0; i < 2000; i++) {
        buf_printf(&a->headers, "X-Header-%d: 0123456789012345678901234567890123456789\r\n", i);
    }
}

static void headers_over_the_limit_are_refused(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = say_many_headers;
    assert_int_equal(get(f, "/", &r, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
}

static void say_nothing(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->silent = true;
}

static void silence_past_the_deadline_is_retry(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = say_nothing;
    const struct http_request q = {
        .method = "GET", .url = url(f->server, "/slow?token=hush"), .timeout_ms = 50};
    assert_int_equal(http_send(f->client, &q, &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "GET 127.0.0.1"));
    assert_non_null(strstr(e.message, "/slow"));
    assert_null(strstr(e.message, "hush"));
}

static void say_a_byte_at_a_time(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->trickle = true;
}

/* Each byte is in time; the answer is not. */
static void a_body_that_never_ends_is_retry_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = say_a_byte_at_a_time;
    const struct http_request q = {.method = "GET", .url = url(f->server, "/"), .timeout_ms = 200};
    assert_int_equal(http_send(f->client, &q, &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
}

static void hang_up(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    (void)q;
    a->hang_up = true;
}

static void a_hang_up_is_retry(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = hang_up;
    assert_int_equal(get(f, "/", &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_null(strstr(e.message, "sesame"));
}

/* A port that was ours a moment ago and where nobody listens. */
static int closed_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

static void a_refused_connection_is_retry(void **state)
{
    struct fixture *f = *state;
    char text[128];
    struct http_response r;
    struct err e;
    (void)snprintf(text, sizeof text, "http://user:hush@127.0.0.1:%d/a", closed_port());
    const struct http_request q = {.method = "GET", .url = text};
    assert_int_equal(http_send(f->client, &q, &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "firewall"));
    assert_false(e.of_this_host);
    assert_null(strstr(e.message, "hush"));
}

/* Another host may resolve it. */
static void a_name_that_is_not_resolved_is_this_hosts_trouble(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    char url[128];
    /* No label is longer than 63 characters: nobody is asked. */
    (void)snprintf(url, sizeof url, "http://%064d.test/x", 0);
    const struct http_request q = {.method = "GET", .url = url};
    assert_int_equal(http_send(f->client, &q, &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_true(e.of_this_host);
    assert_non_null(strstr(e.message, "DNS of this host"));
}

static void a_senseless_url_is_permanent(void **state)
{
    static const char *const urls[] = {"ftp://127.0.0.1/x", "file:///etc/passwd", "http://", ""};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct http_response r;
        struct err e;
        const struct http_request q = {.method = "GET", .url = urls[i]};
        assert_int_equal(http_send(f->client, &q, &r, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
    }
}

/* "/hop/307/same" leads to /end here, "/hop/307/other" to /end on the other server, "/loop" to
 * itself, "/ftp" out of HTTP. */
static void redirect(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct fixture *f = arg;
    struct slice target = slice_of(q->target);
    int64_t status = 307;
    if (slice_starts_with(target, SLICE("/hop/"))) {
        bool other = strstr(q->target, "other") != NULL;
        assert_true(slice_to_int64((struct slice){q->target + 5, 3}, &status));
        a->status = (int)status;
        buf_printf(&a->headers, "Location: %s/end\r\nX-Hop: 1\r\n",
                   http_server_url(other ? f->other : f->server));
        buf_append_cstr(&a->body, "moved");
    } else if (slice_eq_cstr(target, "/loop")) {
        a->status = 302;
        buf_append_cstr(&a->headers, "Location: /loop\r\n");
    } else if (slice_starts_with(target, SLICE("/to/"))) {
        const char *port = strrchr(http_server_url(f->server), ':');
        a->status = 302;
        buf_printf(&a->headers, "Location: %s%s/end\r\n",
                   strstr(q->target, "name") != NULL    ? "http://localhost"
                   : strstr(q->target, "https") != NULL ? "https://127.0.0.1"
                   : strstr(q->target, "user") != NULL  ? "http://127.0.0.1@localhost"
                                                        : "http://[127.0.0.1",
                   port);
    } else if (slice_eq_cstr(target, "/ftp")) {
        a->status = 302;
        buf_append_cstr(&a->headers, "Location: ftp://127.0.0.1/x\r\n");
    } else {
        buf_append_cstr(&a->body, "arrived");
    }
}

static void a_redirect_on_the_host_keeps_authorization(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = redirect;
    assert_int_equal(get(f, "/hop/301/same", &r, &e), 0);
    assert_string_equal(r.body.data, "arrived");
    assert_int_equal(http_header(&r, "x-hop").len, 0);
    http_response_fini(&r);
    assert_string_equal(served_header(http_server_request(f->server, 1), "Authorization"),
                        "Bearer sesame");
}

static void a_redirect_to_another_host_is_not_followed(void **state)
{
    static const char *const paths[] = {"/hop/301/other", "/hop/302/other", "/hop/303/other",
                                        "/hop/307/other", "/hop/308/other"};
    struct fixture *f = *state;
    struct http_response r;
    f->script = redirect;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct err e = {0};
        assert_int_equal(get(f, paths[i], &r, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_non_null(strstr(e.message, "it redirects (3"));
        assert_non_null(strstr(e.message, http_server_url(f->other) + strlen("http://")));
    }
    assert_int_equal(http_server_count(f->server, ""), COUNT_OF(paths));
    assert_int_equal(http_server_count(f->other, ""), 0);
}

/* Another name of the same address is another host: only its name says whose it is. */
static void a_redirect_to_another_name_or_scheme_is_not_followed(void **state)
{
    static const char *const paths[] = {"/to/name", "/to/https", "/to/user", "/to/broken"};
    struct fixture *f = *state;
    struct http_response r;
    f->script = redirect;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct err e = {0};
        assert_int_equal(get(f, paths[i], &r, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_non_null(strstr(e.message, "which is not followed"));
        assert_int_equal(http_server_count(f->server, ""), i + 1);
    }
}

static void a_303_is_followed_with_get(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    const struct http_request q = {
        .method = "PATCH", .url = url(f->server, "/hop/303/same"), .body = SLICE("body")};
    f->script = redirect;
    assert_int_equal(http_send(f->client, &q, &r, &e), 0);
    assert_string_equal(r.body.data, "arrived");
    http_response_fini(&r);
    assert_string_equal(http_server_request(f->server, 1)->method, "GET");
    assert_int_equal(http_server_request(f->server, 1)->body.len, 0);
}

static void a_redirected_post_stays_a_post(void **state)
{
    static const char *const paths[] = {"/hop/301/same", "/hop/302/same", "/hop/307/same",
                                        "/hop/308/same"};
    struct fixture *f = *state;
    f->script = redirect;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct http_response r;
        struct err e;
        const struct http_request q = {
            .method = "POST", .url = url(f->server, paths[i]), .body = SLICE("body")};
        assert_int_equal(http_send(f->client, &q, &r, &e), 0);
        http_response_fini(&r);
        const struct served_request *last = http_server_request(f->server, 2 * i + 1);
        assert_string_equal(last->method, "POST");
        assert_string_equal(last->body.data, "body");
    }
}

static void a_redirect_in_a_circle_ends(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = redirect;
    assert_int_equal(get(f, "/loop", &r, &e), -1);
    assert_int_equal(http_server_count(f->server, "GET /loop"), 6);
    assert_int_equal(e.class, ERR_RETRY);
}

static void a_redirect_out_of_http_is_refused(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    f->script = redirect;
    assert_int_equal(get(f, "/ftp", &r, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "which is not followed"));
}

static void a_proxy_gets_the_whole_url(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    struct http_client *c = make_client(http_server_url(f->server));
    const struct http_request q = {.method = "GET", .url = "http://api.example.test/x"};
    assert_int_equal(http_send(c, &q, &r, &e), 0);
    http_response_fini(&r);
    http_client_free(c);
    assert_string_equal(http_server_request(f->server, 0)->target, "http://api.example.test/x");
}

/* For answers that are secrets, and for signed requests, which no other host may get. */
static void a_direct_client_takes_no_proxy_and_no_redirect(void **state)
{
    struct fixture *f = *state;
    struct http_client *c = NULL;
    struct http_response r;
    struct err e;
    const struct http_client_options o = {.user_agent = "mayfly/test",
                                          .proxy = "",
                                          .connect_timeout_ms = 5000,
                                          .timeout_ms = 20000,
                                          .no_proxy = true,
                                          .no_redirects = true};
    const struct http_request q = {.method = "GET", .url = url(f->server, "/hop/307/other")};
    f->script = redirect;
    (void)setenv("http_proxy", http_server_url(f->other), 1);
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    int rc = http_send(c, &q, &r, &e);
    (void)unsetenv("http_proxy");
    assert_int_equal(rc, 0);
    assert_int_equal(r.status, 307);
    http_response_fini(&r);
    assert_int_equal(http_server_count(f->other, ""), 0);
    http_client_free(c);
}

static void *call_often(void *arg)
{
    const struct fixture *f = arg;
    char text[128];
    (void)snprintf(text, sizeof text, "%s/t", http_server_url(f->server));
    for (int i = 0; i < 25; i++) {
        struct http_response r;
        struct err e;
        const struct http_request q = {.method = "GET", .url = text};
        if (http_send(f->client, &q, &r, &e) != 0 || strcmp(r.body.data, "hello") != 0) {
            return arg;
        }
        http_response_fini(&r);
    }
    return NULL;
}

static void many_threads_share_one_client(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[8];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, call_often, f), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(http_server_count(f->server, "GET /t"), 8 * 25);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(get_ok_returns_body_and_headers),
        CASE(post_with_body_sends_it),
        CASE(post_without_body_sends_length_zero),
        CASE(other_methods_are_sent_as_named),
        CASE(two_calls_share_one_connection),
        CASE(an_error_status_is_an_answer),
        CASE(a_body_over_the_limit_is_permanent),
        CASE(headers_over_the_limit_are_refused),
        CASE(silence_past_the_deadline_is_retry),
        CASE(a_body_that_never_ends_is_retry_at_the_deadline),
        CASE(a_hang_up_is_retry),
        CASE(a_refused_connection_is_retry),
        CASE(a_name_that_is_not_resolved_is_this_hosts_trouble),
        CASE(a_senseless_url_is_permanent),
        CASE(a_redirect_on_the_host_keeps_authorization),
        CASE(a_redirect_to_another_host_is_not_followed),
        CASE(a_redirect_to_another_name_or_scheme_is_not_followed),
        CASE(a_303_is_followed_with_get),
        CASE(a_redirected_post_stays_a_post),
        CASE(a_redirect_in_a_circle_ends),
        CASE(a_redirect_out_of_http_is_refused),
        CASE(a_proxy_gets_the_whole_url),
        CASE(a_direct_client_takes_no_proxy_and_no_redirect),
        CASE(many_threads_share_one_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
