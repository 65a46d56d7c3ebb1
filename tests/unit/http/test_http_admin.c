#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/metrics.h"
#include "common/http/admin.h"
#include "common/http/client.h"
#include "tests/lib/cmocka.h"

struct fixture {
    struct admin *admin;
    bool ready;
    bool healthy;
    int gate; /* `ready` returns after one byte came from this pipe; -1: at once */
    int refreshed;
    struct metric *gauge;
};

static bool is_ready(void *arg, struct buf *why)
{
    struct fixture *f = arg;
    char byte;
    assert_true(f->gate < 0 || read(f->gate, &byte, 1) == 1);
    buf_append_cstr(why, f->ready ? "" : "the queue is unreachable");
    return f->ready;
}

static bool is_healthy(void *arg, struct buf *why)
{
    struct fixture *f = arg;
    buf_append_cstr(why, f->healthy ? "" : "the loop has not moved for 60 s");
    return f->healthy;
}

static void refresh(void *arg)
{
    struct fixture *f = arg;
    f->refreshed++;
    metric_set(f->gauge, f->refreshed);
}

static int set_up(void **state)
{
    struct err e;
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->ready = true;
    f->healthy = true;
    f->gate = -1;
    f->gauge = metrics_gauge("mayfly_ingress_connections", "");
    const struct admin_options o = {.listen = "127.0.0.1:0",
                                    .healthy = is_healthy,
                                    .ready = is_ready,
                                    .refresh = refresh,
                                    .arg = f};
    assert_int_equal(admin_start(&o, &f->admin, &e), 0);
    assert_true(admin_port(f->admin) > 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    admin_stop(f->admin);
    free(f);
    return 0;
}

static int dial(const struct fixture *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)admin_port(f->admin))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    size_t length = strlen(text);
    assert_int_equal(send(fd, text, length, MSG_NOSIGNAL), (ssize_t)length);
}

/* All that comes until the server closes. */
static void hear(int fd, struct buf *out)
{
    char chunk[4096];
    ssize_t n = 0;
    while ((n = recv(fd, chunk, sizeof chunk, 0)) > 0) {
        buf_append(out, (struct slice){chunk, (size_t)n});
    }
    (void)close(fd);
    buf_append_cstr(out, "");
}

static const char *ask(const struct fixture *f, const char *request)
{
    static char answer[262144];
    struct buf out;
    buf_init(&out, sizeof answer);
    int fd = dial(f);
    say(fd, request);
    hear(fd, &out);
    (void)snprintf(answer, sizeof answer, "%s", out.data);
    buf_fini(&out);
    return answer;
}

static void assert_status(const char *answer, const char *status)
{
    char line[64];
    (void)snprintf(line, sizeof line, "HTTP/1.1 %s ", status);
    assert_true(slice_starts_with(slice_of(answer), slice_of(line)));
}

static void healthz_answers_ok(void **state)
{
    const char *answer = ask(*state, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(answer, "200");
    assert_non_null(strstr(answer, "\r\n\r\nok\n"));
    assert_non_null(strstr(answer, "Connection: close\r\n"));
}

static void healthz_of_a_stuck_program_answers_503_and_why(void **state)
{
    struct fixture *f = *state;
    f->healthy = false;
    const char *answer = ask(f, "GET /healthz HTTP/1.1\r\n\r\n");
    assert_status(answer, "503");
    assert_non_null(strstr(answer, "\r\n\r\nstuck: the loop has not moved for 60 s\n"));
}

/* The store of `ready` is silent: it costs no page but /readyz its answer. */
static void healthz_does_not_wait_for_readyz(void **state)
{
    struct fixture *f = *state;
    struct buf first;
    struct buf second;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    f->gate = gate[0];
    int waits = dial(f);
    say(waits, "GET /readyz HTTP/1.1\r\n\r\n");
    assert_status(ask(f, "GET /healthz HTTP/1.1\r\n\r\n"), "200");
    int waits_too = dial(f);
    say(waits_too, "HEAD /readyz HTTP/1.1\r\n\r\n");
    assert_status(ask(f, "GET /metrics HTTP/1.1\r\n\r\n"), "200");
    /* One call may serve both, or one each. */
    assert_int_equal(write(gate[1], "ab", 2), 2);
    buf_init(&first, 4096);
    buf_init(&second, 4096);
    hear(waits, &first);
    hear(waits_too, &second);
    assert_status(first.data, "200");
    assert_non_null(strstr(first.data, "\r\n\r\nready\n"));
    assert_status(second.data, "200");
    assert_null(strstr(second.data, "\r\n\r\nready\n"));
    buf_fini(&first);
    buf_fini(&second);
    close(gate[0]);
    close(gate[1]);
}

static void peer_that_leaves_before_readyz_answers_harms_nothing(void **state)
{
    struct fixture *f = *state;
    int gate[2];
    assert_int_equal(pipe(gate), 0);
    f->gate = gate[0];
    int leaves = dial(f);
    say(leaves, "GET /readyz HTTP/1.1\r\n\r\n");
    assert_status(ask(f, "GET /healthz HTTP/1.1\r\n\r\n"), "200");
    close(leaves);
    assert_int_equal(write(gate[1], "ab", 2), 2);
    assert_status(ask(f, "GET /readyz HTTP/1.1\r\n\r\n"), "200");
    close(gate[0]);
    close(gate[1]);
}

static void readyz_not_ready_answers_503_and_why(void **state)
{
    struct fixture *f = *state;
    assert_status(ask(f, "GET /readyz HTTP/1.1\r\n\r\n"), "200");
    f->ready = false;
    const char *answer = ask(f, "GET /readyz HTTP/1.1\r\n\r\n");
    assert_status(answer, "503");
    assert_non_null(strstr(answer, "the queue is unreachable"));
}

static void metrics_are_refreshed_and_rendered(void **state)
{
    struct fixture *f = *state;
    const char *answer = ask(f, "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_status(answer, "200");
    assert_non_null(strstr(answer, "text/plain; version=0.0.4"));
    assert_non_null(strstr(answer, "mayfly_ingress_connections 1\n"));
    assert_non_null(
        strstr(ask(f, "GET /metrics HTTP/1.0\r\n\r\n"), "mayfly_ingress_connections 2\n"));
}

static void an_unknown_path_answers_404(void **state)
{
    assert_status(ask(*state, "GET /nothing HTTP/1.1\r\n\r\n"), "404");
    assert_status(ask(*state, "GET /healthzz HTTP/1.1\r\n\r\n"), "404");
}

static void other_methods_answer_405_with_allow(void **state)
{
    const char *answer = ask(*state, "POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi");
    assert_status(answer, "405");
    assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
}

static void head_answers_without_body(void **state)
{
    const char *answer = ask(*state, "HEAD /healthz HTTP/1.1\r\n\r\n");
    assert_status(answer, "200");
    assert_non_null(strstr(answer, "Content-Length: 3\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void nonsense_answers_400(void **state)
{
    static const char *const requests[] = {"\r\n\r\n\r\n", "hello\r\n\r\n", "GET /metrics\r\n\r\n",
                                           "GET metrics HTTP/1.1\r\n\r\n",
                                           "GET /metrics SMTP/1\r\n\r\n"};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        assert_status(ask(*state, requests[i]), "400");
    }
}

static void a_header_without_end_answers_431(void **state)
{
    char request[9000];
    memset(request, 'a', sizeof request);
    memcpy(request, "GET /metrics HTTP/1.1\r\nX: ", 26);
    request[sizeof request - 1] = '\0';
    assert_status(ask(*state, request), "431");
}

static void a_request_in_pieces_is_answered(void **state)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    struct buf out;
    int fd = dial(*state);
    buf_init(&out, 4096);
    for (const char *p = request; *p != '\0'; p++) {
        assert_int_equal(send(fd, p, 1, MSG_NOSIGNAL), 1);
    }
    hear(fd, &out);
    assert_status(out.data, "200");
    buf_fini(&out);
}

static void a_peer_that_stops_sending_still_gets_the_answer(void **state)
{
    struct buf out;
    int fd = dial(*state);
    buf_init(&out, 4096);
    say(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    hear(fd, &out);
    assert_status(out.data, "200");
    buf_fini(&out);
}

static void a_head_that_does_not_end_ends_the_connection(void **state)
{
    char byte = 0;
    int fd = dial(*state);
    say(fd, "GET /healthz HTTP/1.1\r\nHost: ");
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
}

/* Many more idle peers than places: the next one is served, whatever they do. */
static void idle_peers_give_way_to_the_next(void **state)
{
    int idle[170];
    char byte;
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        idle[i] = dial(*state);
    }
    assert_status(ask(*state, "GET /healthz HTTP/1.1\r\n\r\n"), "200");
    assert_int_equal(recv(idle[0], &byte, 1, 0), 0);
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        (void)close(idle[i]);
    }
}

static void a_stop_with_open_connections_returns(void **state)
{
    struct fixture *f = *state;
    char byte = 0;
    int fd = dial(f);
    assert_status(ask(f, "GET /healthz HTTP/1.1\r\n\r\n"), "200");
    admin_stop(f->admin);
    f->admin = NULL;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    (void)close(fd);
}

static void an_empty_address_means_no_admin(void **state)
{
    struct err e;
    struct admin *a = (struct admin *)state;
    const struct admin_options o = {.listen = ""};
    assert_int_equal(admin_start(&o, &a, &e), 0);
    assert_null(a);
    assert_int_equal(admin_port(a), 0);
    admin_stop(a);
}

static void a_bad_address_is_permanent(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct admin *a = NULL;
    char taken[64];
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%d", admin_port(f->admin));
    const char *const bad[] = {"127.0.0.1", "nowhere", "127.0.0.1:http-but-not", taken};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const struct admin_options o = {.listen = bad[i]};
        assert_int_equal(admin_start(&o, &a, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_non_null(strstr(e.message, bad[i]));
    }
}

static void an_ipv6_address_in_brackets_is_understood(void **state)
{
    struct err e;
    struct admin *a = NULL;
    const struct admin_options o = {.listen = "[::1]:0"};
    if (admin_start(&o, &a, &e) != 0) {
        /* A machine without IPv6: the address was understood all the same. */
        assert_non_null(strstr(e.message, "cannot listen"));
        return;
    }
    assert_true(admin_port(a) > 0);
    admin_stop(a);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* --- a Unix socket --- */

struct in_folder {
    char folder[64];
    char path[96];
    char address[128];
};

static int set_up_folder(void **state)
{
    static struct in_folder f;
    (void)snprintf(f.folder, sizeof f.folder, "/tmp/mayfly-admin-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    (void)snprintf(f.path, sizeof f.path, "%s/admin.sock", f.folder);
    (void)snprintf(f.address, sizeof f.address, "unix:%s", f.path);
    *state = &f;
    return 0;
}

static int tear_down_folder(void **state)
{
    struct in_folder *f = *state;
    (void)unlink(f->path);
    return rmdir(f->folder);
}

static void a_unix_socket_is_served_for_owner_and_group(void **state)
{
    const struct in_folder *f = *state;
    const struct admin_options o = {.listen = f->address};
    const struct http_client_options c = {
        .user_agent = "test", .proxy = "", .unix_socket = f->path, .timeout_ms = 10000};
    const struct http_request r = {.method = "GET", .url = "http://localhost/healthz"};
    struct http_response response;
    struct http_client *client;
    struct admin *a;
    struct admin *second;
    struct stat st;
    struct err e;
    assert_int_equal(admin_start(&o, &a, &e), 0);
    assert_int_equal(admin_port(a), 0);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(http_client_new(&c, &client, &e), 0);
    assert_int_equal(http_send(client, &r, &response, &e), 0);
    assert_int_equal(response.status, 200);
    http_response_fini(&response);
    http_client_free(client);
    /* It is in use, and stays. */
    assert_int_equal(admin_start(&o, &second, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(access(f->path, F_OK), 0);
    admin_stop(a);
    assert_int_not_equal(access(f->path, F_OK), 0);
}

static void a_unix_socket_that_a_kill_left_is_taken_over(void **state)
{
    const struct in_folder *f = *state;
    const struct admin_options o = {.listen = f->address};
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct admin *a;
    struct err e;
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    assert_int_equal(admin_start(&o, &a, &e), 0);
    admin_stop(a);
}

static void a_file_in_the_place_of_a_unix_socket_stays(void **state)
{
    const struct in_folder *f = *state;
    const struct admin_options o = {.listen = f->address};
    struct admin *a;
    struct err e;
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    (void)fclose(file);
    assert_int_equal(admin_start(&o, &a, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, f->path));
    assert_int_equal(access(f->path, F_OK), 0);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up_folder, tear_down_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(healthz_answers_ok),
        CASE(healthz_of_a_stuck_program_answers_503_and_why),
        CASE(healthz_does_not_wait_for_readyz),
        CASE(peer_that_leaves_before_readyz_answers_harms_nothing),
        CASE(readyz_not_ready_answers_503_and_why),
        CASE(metrics_are_refreshed_and_rendered),
        CASE(an_unknown_path_answers_404),
        CASE(other_methods_answer_405_with_allow),
        CASE(head_answers_without_body),
        CASE(nonsense_answers_400),
        CASE(a_header_without_end_answers_431),
        CASE(a_head_that_does_not_end_ends_the_connection),
        CASE(a_request_in_pieces_is_answered),
        CASE(a_peer_that_stops_sending_still_gets_the_answer),
        CASE(idle_peers_give_way_to_the_next),
        CASE(a_stop_with_open_connections_returns),
        CASE(an_empty_address_means_no_admin),
        CASE(a_bad_address_is_permanent),
        CASE(an_ipv6_address_in_brackets_is_understood),
        IN_FOLDER(a_unix_socket_is_served_for_owner_and_group),
        IN_FOLDER(a_unix_socket_that_a_kill_left_is_taken_over),
        IN_FOLDER(a_file_in_the_place_of_a_unix_socket_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
