/*
 * Proxies in trouble: whose fault an error is, and what it says about the proxy.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
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
    bool silent;
    struct http_client *client; /* without a proxy setting */
};

static void refuse_as_a_proxy(void *arg, const struct served_request *q, struct served_answer *a)
{
    const struct fixture *f = arg;
    (void)q;
    a->silent = f->silent;
    a->status = 407;
    buf_append_cstr(&a->headers, "Proxy-Authenticate: Basic realm=\"squid\"\r\n");
}

static struct http_client *make_client(const char *proxy)
{
    struct http_client *c = NULL;
    struct err e;
    const struct http_client_options o = {.user_agent = "mayfly/test",
                                          .proxy = proxy,
                                          .proxy_setting = "github.proxy",
                                          .connect_timeout_ms = 5000,
                                          .timeout_ms = 20000};
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    return c;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->server = http_server_start(refuse_as_a_proxy, f);
    f->client = make_client("");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_client_free(f->client);
    http_server_stop(f->server);
    free(f);
    return 0;
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

/* The same proxy for a setting and for the environment, with a user and a password. */
static char *proxy_at(int port)
{
    static char text[96];
    (void)snprintf(text, sizeof text, "http://user:hush@127.0.0.1:%d", port);
    return text;
}

static int port_of(const struct http_server *s)
{
    int64_t port = 0;
    assert_true(slice_to_int64(slice_of(strrchr(http_server_url(s), ':') + 1), &port));
    return (int)port;
}

static void assert_proxys_fault(struct http_client *c, const char *place, int port,
                                const char *setting, const char *what)
{
    struct http_response r;
    struct err e;
    char name[64];
    const struct http_request q = {.method = "POST", .url = place, .body = SLICE("{}")};
    (void)snprintf(name, sizeof name, "proxy 127.0.0.1:%d %s", port, what);
    assert_int_equal(http_send(c, &q, &r, &e), -1);
    assert_int_equal(e.from, ERR_FROM_PROXY);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    assert_non_null(strstr(e.message, name));
    assert_non_null(strstr(e.message, setting));
    assert_null(strstr(e.message, "hush"));
}

static void assert_proxys_fault_by_setting(const char *place, int port, const char *what)
{
    struct http_client *c = make_client(proxy_at(port));
    assert_proxys_fault(c, place, port, "github.proxy", what);
    http_client_free(c);
}

static void assert_proxys_fault_by_environment(const struct fixture *f, const char *place, int port,
                                               const char *name, const char *what)
{
    (void)setenv(name, proxy_at(port), 1);
    assert_proxys_fault(f->client, place, port, name, what);
    (void)unsetenv(name);
}

static void proxy_that_wants_a_password_is_not_the_services_fault(void **state)
{
    struct fixture *f = *state;
    assert_proxys_fault_by_setting("http://api.example.test/x", port_of(f->server), "answered 407");
    assert_proxys_fault_by_setting("https://api.example.test/x", port_of(f->server),
                                   "answered 407");
    assert_proxys_fault_by_environment(f, "http://api.example.test/x", port_of(f->server),
                                       "http_proxy", "answered 407");
    assert_proxys_fault_by_environment(f, "https://api.example.test/x", port_of(f->server),
                                       "HTTPS_PROXY", "answered 407");
    assert_proxys_fault_by_environment(f, "https://api.example.test/x", port_of(f->server),
                                       "all_proxy", "answered 407");
    assert_int_equal(http_server_count(f->server, "CONNECT api.example.test:443"), 3);
    assert_int_equal(http_server_count(f->server, "POST http://api.example.test/x"), 2);
}

static void proxy_that_cannot_be_reached_is_not_the_services_fault(void **state)
{
    struct fixture *f = *state;
    int port = closed_port();
    assert_proxys_fault_by_setting("http://api.example.test/x", port, "cannot be reached");
    assert_proxys_fault_by_setting("https://api.example.test/x", port, "cannot be reached");
    assert_proxys_fault_by_environment(f, "http://api.example.test/x", port, "http_proxy",
                                       "cannot be reached");
    assert_proxys_fault_by_environment(f, "https://api.example.test/x", port, "https_proxy",
                                       "cannot be reached");
    assert_proxys_fault_by_environment(f, "https://api.example.test/x", port, "HTTPS_PROXY",
                                       "cannot be reached");
    assert_proxys_fault_by_environment(f, "https://api.example.test/x", port, "ALL_PROXY",
                                       "cannot be reached");
}

/* A service that is away, or that answers 407 itself, is not its proxy's fault. */
static void service_in_trouble_beside_a_proxy_is_not_the_proxys_fault(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    char text[64];
    (void)snprintf(text, sizeof text, "http://127.0.0.1:%d/x", closed_port());
    const struct http_request away = {.method = "GET", .url = text};
    (void)setenv("http_proxy", proxy_at(port_of(f->server)), 1);
    (void)setenv("NO_PROXY", "127.0.0.1", 1);
    int rc = http_send(f->client, &away, &r, &e);
    (void)unsetenv("NO_PROXY");
    (void)unsetenv("http_proxy");
    assert_int_equal(rc, -1);
    assert_int_equal(e.from, ERR_FROM_US);
    const struct http_request here = {.method = "GET", .url = http_server_url(f->server)};
    assert_int_equal(http_send(f->client, &here, &r, &e), 0);
    assert_int_equal(r.status, 407);
    http_response_fini(&r);
}

/* It was reached: whether it or the service hangs is not known. */
static void proxy_that_hangs_may_not_be_at_fault(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err e;
    struct http_client *c = make_client(proxy_at(port_of(f->server)));
    const struct http_request q = {
        .method = "GET", .url = "https://api.example.test/x", .timeout_ms = 50};
    f->silent = true;
    assert_int_equal(http_send(c, &q, &r, &e), -1);
    assert_int_equal(e.from, ERR_FROM_US);
    assert_int_equal(e.code, HTTP_NOT_SENT);
    http_client_free(c);
}

/* libcurl's own messages quote such a proxy whole. */
static void proxy_that_cannot_be_parsed_shows_no_password(void **state)
{
    static const char *const proxies[] = {"http://user:hush@127.0.0.1:999999",
                                          "gopher://user:hush@127.0.0.1:1", "http://user:hush@"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(proxies); i++) {
        struct http_response r;
        struct err e;
        struct http_client *c = make_client(proxies[i]);
        const struct http_request q = {.method = "GET", .url = "http://api.example.test/x"};
        assert_int_equal(http_send(c, &q, &r, &e), -1);
        assert_null(strstr(e.message, "hush"));
        http_client_free(c);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(proxy_that_wants_a_password_is_not_the_services_fault),
        CASE(proxy_that_cannot_be_reached_is_not_the_services_fault),
        CASE(service_in_trouble_beside_a_proxy_is_not_the_proxys_fault),
        CASE(proxy_that_hangs_may_not_be_at_fault),
        CASE(proxy_that_cannot_be_parsed_shows_no_password),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
