/* The console: which requests are served, what they return, and its limits. */
#include "tests/lib/cmocka.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/http/request.h"
#include "deploy/ctl/commands.h"
#include "deploy/ctl/console/console.h"
#include "tests/lib/must.h"

#define TOKEN "0123456789abcdef"

/* --- guard.c --- */

static struct guard_verdict judge(const struct guard *g, const char *request)
{
    static const struct http_limits limits = {
        .head_bytes = 8192, .headers = 64, .host_is_needed = true};
    static char bytes[2048];
    struct http_request r;
    size_t len = (size_t)snprintf(bytes, sizeof bytes, "%s", request);
    http_request_begin(&r);
    if (http_request_read(&r, &limits, bytes, &len) == HTTP_READ_BAD) {
        return (struct guard_verdict){r.status, r.why};
    }
    return guard_judge(g, &r);
}

static int status_with_host(const struct guard *g, const char *host)
{
    char request[400];
    (void)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host);
    return judge(g, request).status;
}

static void host_of_a_stranger_is_refused_and_loopback_or_listed_served(void **state)
{
    static const char *const good[] = {
        "127.0.0.1", "127.0.0.1:9110", "127.8.7.6:1",    "localhost",          "LOCALHOST:80",
        "[::1]",     "[::1]:9110",     "fleet.acme.org", "Fleet.Acme.org:443", "[fd00::7]:9110"};
    static const char *const bad[] = {"evil.example",
                                      "127.0.0.1.evil.example",
                                      "localhost.",
                                      "localhost:x",
                                      "",
                                      ":9110",
                                      "[::2]",
                                      "10.0.0.5",
                                      "fleet.acme.org.",
                                      "2130706433",
                                      "0x7f.1",
                                      "acme.org",
                                      "evil.example:80@127.0.0.1",
                                      "[::1]evil:80"};
    struct guard g = {.host_count = 0};
    struct err e;
    (void)state;
    MUST(guard_add_hosts(&g, "fleet.acme.org, [fd00::7]:1", &e));
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(status_with_host(&g, good[i]), 200);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int status = status_with_host(&g, bad[i]);
        assert_true(status == 421 || status == 400); /* the latter: it is no host */
    }
    assert_int_equal(
        judge(&g, "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 421);
    assert_int_equal(guard_add_hosts(&g, "a b", &e), -1);
    assert_int_equal(guard_add_hosts(&g, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", &e), -1);
}

static void api_needs_the_whole_token_and_files_need_none(void **state)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
        {"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
        {"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
        {"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
        {"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " TOKEN "\r\n\r\n",
         200},
        {"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcde\r\n"
         "\r\n",
         401},
        {"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " TOKEN "0\r\n\r\n",
         401},
        {"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \r\n\r\n", 401},
        {"GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: " TOKEN "\r\n\r\n", 401},
        {"GET /api/jobs?token=" TOKEN " HTTP/1.1\r\nHost: localhost\r\n\r\n", 401},
    };
    struct guard g = {.host_count = 0};
    struct err e;
    (void)state;
    MUST(guard_set_token(&g, SLICE("  " TOKEN "\n"), &e));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(judge(&g, cases[i].request).status, cases[i].status);
    }
    assert_int_equal(guard_set_token(&g, SLICE("short"), &e), -1);
    assert_int_equal(guard_set_token(&g, SLICE("0123456789 abcdef"), &e), -1);
}

static void page_of_another_site_and_other_methods_get_nothing(void **state)
{
    const struct guard g = {.host_count = 0};
    (void)state;
    assert_int_equal(
        judge(&g, "GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n")
            .status,
        403);
    assert_int_equal(
        judge(&g, "GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-site\r\n\r\n")
            .status,
        403);
    assert_int_equal(
        judge(&g,
              "GET /api/jobs HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n")
            .status,
        200);
    assert_int_equal(judge(&g, "POST /api/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
    assert_int_equal(judge(&g, "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 405);
    assert_int_equal(judge(&g, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
}

static void local_is_loopback_and_unix_sockets_alone(void **state)
{
    static const struct {
        const char *listen;
        bool is_local;
    } cases[] = {{"127.0.0.1:0", true}, {"[::1]:0", true},      {"unix:/run/x", true},
                 {"0.0.0.0:0", false},  {"10.1.2.3:80", false}, {":80", false}};
    struct err e;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool is_local = !cases[i].is_local;
        MUST(guard_is_local(cases[i].listen, &is_local, &e));
        assert_int_equal(is_local, cases[i].is_local);
    }
}

/* --- routes.c --- */

static void route_decodes_parameters_into_options(void **state)
{
    struct route_call r;
    struct err e;
    (void)state;
    MUST(
        route_read(SLICE("/api/jobs"), SLICE("class=a%20b&repository=acme%2Fapp&limit=5"), &r, &e));
    assert_string_equal(r.command->words[0], "jobs");
    assert_int_equal(r.given_count, 3);
    assert_string_equal(r.given[0].name, "--class");
    assert_string_equal(r.given[0].value, "a b");
    assert_string_equal(r.given[1].value, "acme/app");
    MUST(route_read(SLICE("/api/why"), SLICE("job=https%3A%2F%2Fx%2Fjob%2F7%3Fa"), &r, &e));
    assert_int_equal(r.argc, 1);
    assert_string_equal(r.argv[0], "https://x/job/7?a");
}

static void route_refuses_what_changes_something_and_what_it_does_not_know(void **state)
{
    static const struct {
        const char *path;
        const char *query;
        enum err_class class;
    } bad[] = {
        {"/api/pause", "", ERR_NOT_FOUND},
        {"/api/dlq/redrive", "", ERR_NOT_FOUND},
        {"/api/", "", ERR_NOT_FOUND},
        {"/api/why", "", ERR_PERMANENT},
        {"/api/jobs", "watch=1", ERR_PERMANENT},
        {"/api/jobs", "class=%zz", ERR_PERMANENT},
        {"/api/jobs", "class=%00", ERR_PERMANENT},
        {"/api/status", "config=x", ERR_PERMANENT},
        {"/api/why", "job=1&job=2", ERR_PERMANENT},
        {"/api/cost", "by=job", ERR_PERMANENT},
        {"/api/cost", "by=workflow", ERR_PERMANENT},
    };
    struct route_call r;
    struct err e;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(route_read(slice_of(bad[i].path), slice_of(bad[i].query), &r, &e), -1);
        assert_int_equal(e.class, bad[i].class);
    }
}

/* --- latency.c --- */

static void latency_is_the_median_of_each_class(void **state)
{
    static const int64_t waits[] = {900, 100, 300, 200, 400};
    struct ledger_job jobs[7] = {{.state = JOB_DONE}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        jobs[i] = (struct ledger_job){.waiting_ms = 1000, .running_ms = 1000 + waits[i]};
        (void)snprintf(jobs[i].facts.class_name, CLASS_NAME_SIZE, "small");
    }
    jobs[5] = (struct ledger_job){.waiting_ms = 1000, .running_ms = 0}; /* never ran */
    jobs[6] = (struct ledger_job){.waiting_ms = 5, .running_ms = 7, .facts.class_name = "large"};
    json_t *list = latency_of(jobs, COUNT_OF(jobs));
    assert_int_equal(json_array_size(list), 2);
    assert_int_equal(ctl_int(json_array_get(list, 0), "median_ms"), 300);
    assert_int_equal(ctl_int(json_array_get(list, 0), "p90_ms"), 900);
    assert_int_equal(ctl_int(json_array_get(list, 0), "jobs"), 5);
    assert_string_equal(ctl_str(json_array_get(list, 1), "class"), "large");
    json_decref(list);
    list = latency_of(NULL, 0);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* --- the server --- */

static struct config *config;
static struct ledger *ledger;
static struct queue *queue;
static struct guard guard;
static struct console *console;
static pthread_t thread;

static void *run(void *arg)
{
    console_run(arg);
    return NULL;
}

static int set_up(void **state)
{
    struct err e;
    const struct ctl ctl = {.config = config};
    const struct console_options o = {
        .listen = "127.0.0.1:0", .guard = &guard, .ctl = &ctl, .every_ms = 20};
    (void)state;
    MUST(console_open(&o, &console, &e));
    assert_int_equal(pthread_create(&thread, NULL, run, console), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    console_stop(console);
    assert_int_equal(pthread_join(thread, NULL), 0);
    console_close(console);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)console_port(console))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static int ask(const char *method, const char *path)
{
    char request[512];
    int fd = dial();
    int n = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method,
                     path);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* Until the server closes, or `until` has come. Static: valid until the next call. */
static const char *hear(int fd, const char *until)
{
    static char heard[1 << 20];
    size_t len = 0;
    ssize_t n = 0;
    heard[0] = '\0';
    while ((until == NULL || strstr(heard, until) == NULL) &&
           (n = recv(fd, heard + len, sizeof heard - 1 - len, 0)) > 0) {
        len += (size_t)n;
        heard[len] = '\0';
    }
    return heard;
}

static const char *get(const char *path)
{
    int fd = ask("GET", path);
    const char *heard = hear(fd, NULL);
    (void)close(fd);
    return heard;
}

static bool has_status(const char *response, int status)
{
    char line[40];
    (void)snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    return strncmp(response, line, strlen(line)) == 0;
}

static void every_response_has_the_headers_that_protect(void **state)
{
    static const char *const paths[] = {"/", "/nothing", "/api/jobs", "/api/nothing",
                                        "/api/why?job=x"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        const char *heard = get(paths[i]);
        assert_non_null(strstr(heard, "Content-Security-Policy: default-src 'none'; script-src "
                                      "'self';"));
        assert_null(strstr(heard, "unsafe"));
        assert_non_null(strstr(heard, "X-Content-Type-Options: nosniff\r\n"));
        assert_non_null(strstr(heard, "Referrer-Policy: no-referrer\r\n"));
    }
    assert_true(has_status(get("/"), 200));
    assert_true(has_status(get("/nothing"), 404));
    assert_true(has_status(get("/api/nothing"), 404));
    assert_true(has_status(get("/api/why?job=x"), 400));
}

static void api_returns_what_the_command_does(void **state)
{
    (void)state;
    assert_non_null(strstr(get("/api/jobs"), "\r\n\r\n{\"jobs\":[],\"next\":null}"));
    assert_non_null(strstr(get("/api/vms"), "\r\n\r\n[]"));
    assert_non_null(strstr(get("/api/status"), "\"deployment\":\"t\""));
    assert_non_null(strstr(get("/api/usual?class=small"), "\"jobs\":0,\"steps\":[]"));
    assert_non_null(strstr(get("/api/why?job=77"), "\"outcome\":\"unknown\""));
}

static void file_that_the_browser_has_is_not_sent_again(void **state)
{
    const struct console_file *f = console_file_of(SLICE("/main.mjs"));
    char request[400];
    (void)state;
    assert_non_null(f);
    int fd = dial();
    int n =
        snprintf(request, sizeof request,
                 "GET /main.mjs HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: %s\r\n\r\n", f->etag);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    const char *heard = hear(fd, NULL);
    assert_true(has_status(heard, 304));
    assert_non_null(strstr(heard, "Content-Length: 0\r\n"));
    (void)close(fd);
}

static void stream_sends_events_of_one_line_each(void **state)
{
    (void)state;
    int fd = ask("GET", "/api/stream");
    const char *heard = hear(fd, "\"viewers\"");
    assert_true(has_status(heard, 200));
    assert_non_null(strstr(heard, "Content-Type: text/event-stream\r\n"));
    assert_null(strstr(heard, "Content-Length"));
    const char *event = strstr(heard, "event: snapshot\ndata: {\"version\"");
    assert_non_null(event);
    (void)hear(fd, "\n\nevent: snapshot\ndata: "); /* and another */
    (void)close(fd);
}

static void more_streams_than_the_limit_are_refused_until_one_ends(void **state)
{
    int fds[CONSOLE_STREAMS_MAX];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = ask("GET", "/api/stream");
        assert_true(has_status(hear(fds[i], "\r\n\r\n"), 200));
    }
    const char *heard = get("/api/stream");
    assert_true(has_status(heard, 503));
    assert_non_null(strstr(heard, "Retry-After: 10\r\n"));
    assert_true(has_status(get("/api/jobs"), 200)); /* all else is served */
    (void)close(fds[0]);
    bool served = false;
    while (!served) { /* the test's time limit ends it */
        int fd = ask("GET", "/api/stream");
        served = has_status(hear(fd, "\r\n\r\n"), 200);
        (void)close(fd);
    }
    for (size_t i = 1; i < COUNT_OF(fds); i++) {
        (void)close(fds[i]);
    }
}

static void head_has_no_body_and_begins_no_stream(void **state)
{
    static const char *const paths[] = {"/", "/api/jobs", "/api/stream"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        int fd = ask("HEAD", paths[i]);
        const char *heard = hear(fd, NULL);
        assert_true(has_status(heard, 200));
        assert_string_equal(strstr(heard, "\r\n\r\n"), "\r\n\r\n");
        (void)close(fd);
    }
}

static char folder[] = "/tmp/mayfly-console-XXXXXX";

static int open_stores(void **state)
{
    char text[400];
    struct err e;
    (void)state;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(text, sizeof text,
                   "{\"deployment\": \"t\", \"queue\": \"sqlite://%s/q\", \"ledger\": "
                   "\"sqlite://%s/l\", \"github\": {\"token\": \"x\"}, \"classes\": [{\"name\": "
                   "\"small\", \"labels\": [\"linux\"], \"qemu\": {\"image\": \"/i\"}}]}",
                   folder, folder);
    MUST(config_parse(slice_of(text), "test", CONFIG_FOR_CTL, &config, NULL, &e));
    MUST(ledger_open(config->ledger, &ledger, &e));
    MUST(queue_open(config->queue, &queue, &e));
    return 0;
}

static int close_stores(void **state)
{
    struct err e;
    (void)state;
    queue_close(queue);
    ledger_close(ledger);
    config_free(config);
    MUST(fs_remove_tree(folder, &e));
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_of_a_stranger_is_refused_and_loopback_or_listed_served),
        cmocka_unit_test(api_needs_the_whole_token_and_files_need_none),
        cmocka_unit_test(page_of_another_site_and_other_methods_get_nothing),
        cmocka_unit_test(local_is_loopback_and_unix_sockets_alone),
        cmocka_unit_test(route_decodes_parameters_into_options),
        cmocka_unit_test(route_refuses_what_changes_something_and_what_it_does_not_know),
        cmocka_unit_test(latency_is_the_median_of_each_class),
        CASE(every_response_has_the_headers_that_protect),
        CASE(api_returns_what_the_command_does),
        CASE(file_that_the_browser_has_is_not_sent_again),
        CASE(stream_sends_events_of_one_line_each),
        CASE(more_streams_than_the_limit_are_refused_until_one_ends),
        CASE(head_has_no_body_and_begins_no_stream),
    };
    return cmocka_run_group_tests(tests, open_stores, close_stores);
}
