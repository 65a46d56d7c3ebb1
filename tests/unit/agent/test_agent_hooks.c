/* The hook server over real sockets, in this process; time is handed in, so deadlines cost none. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deploy/image/agent/agent_hooks.h"
#include "tests/lib/cmocka.h"

#define NOW 1000000
#define PREFIX "/aws/lambda-microvms/runtime/v1/"

struct bed {
    struct agent_hooks hooks;
    int calls[HOOK_COUNT];
    int answer;
    char body[64]; /* of the last call */
};

static int on_hook(void *ctx, enum agent_hook hook, struct slice body)
{
    struct bed *b = ctx;
    b->calls[hook]++;
    assert_true(slice_to_cstr(body, b->body, sizeof(b->body)));
    return b->answer;
}

static int set_up(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    struct err e;
    assert_non_null(b);
    const struct agent_hooks_options options = {
        .address = "127.0.0.1", .request_ms = 10000, .held_ms = 15000, .fn = on_hook, .ctx = b};
    assert_int_equal(agent_hooks_open(&b->hooks, &options, &e), 0);
    b->answer = 200;
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *b = *state;
    agent_hooks_close(&b->hooks);
    free(b);
    return 0;
}

/* --- the platform's end -------------------------------------------------------------------------
 */

/* Of an interface that is up and not the loopback. */
static bool find_own_address(char out[INET_ADDRSTRLEN])
{
    struct ifaddrs *list;
    bool found = false;
    assert_int_equal(getifaddrs(&list), 0);
    for (const struct ifaddrs *i = list; i != NULL && !found; i = i->ifa_next) {
        if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET &&
            (i->ifa_flags & (IFF_UP | IFF_LOOPBACK)) == IFF_UP) {
            struct sockaddr_in addr;
            memcpy(&addr, i->ifa_addr, sizeof(addr));
            found = inet_ntop(AF_INET, &addr.sin_addr, out, INET_ADDRSTRLEN) != NULL;
        }
    }
    freeifaddrs(list);
    return found;
}

static int dial_at(const struct bed *b, const char *address)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->hooks.port)};
    assert_int_equal(inet_pton(AF_INET, address, &addr.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static int dial(const struct bed *b)
{
    return dial_at(b, "127.0.0.1");
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Lets the server work until the client has something to read, or the other side has closed. */
static void serve(struct bed *b, int fd, int64_t now_ms)
{
    for (;;) {
        struct pollfd pfd[2] = {{.fd = fd, .events = POLLIN},
                                {.fd = b->hooks.epoll_fd, .events = POLLIN}};
        agent_hooks_work(&b->hooks, now_ms);
        assert_true(poll(pfd, 2, 30000) > 0);
        if (pfd[0].revents != 0) {
            return;
        }
    }
}

/* The status of one answer, read to its empty line; 0: the connection is closed, -1: reset. */
static int read_status(struct bed *b, int fd, int64_t now_ms)
{
    char text[512];
    size_t n = 0;
    int64_t status = 0;
    while (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(n < sizeof(text));
        serve(b, fd, now_ms);
        ssize_t got = recv(fd, text + n, 1, 0);
        if (got <= 0) {
            assert_int_equal(n, 0);
            return got == 0 ? 0 : -1;
        }
        n++;
    }
    assert_memory_equal(text, "HTTP/1.1 ", 9);
    assert_true(slice_to_int64((struct slice){text + 9, 3}, &status));
    return (int)status;
}

static int ask(struct bed *b, int fd, const char *text)
{
    put(fd, text);
    return read_status(b, fd, NOW);
}

static int ask_once(struct bed *b, const char *text)
{
    int fd = dial(b);
    int status = ask(b, fd, text);
    close(fd);
    return status;
}

/* --- the cases ----------------------------------------------------------------------------------
 */

static void hooks_are_told_apart(void **state)
{
    struct bed *b = *state;
    int fd = dial(b);
    char text[200];
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        snprintf(text, sizeof(text), "POST " PREFIX "%s HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
                 agent_hook_name((enum agent_hook)hook));
        assert_int_equal(ask(b, fd, text), 200); /* on one connection */
        assert_int_equal(b->calls[hook], 1);
        assert_string_equal(b->body, "hi");
    }
    close(fd);
}

static void what_is_no_hook_is_refused(void **state)
{
    struct bed *b = *state;
    assert_int_equal(ask_once(b, "GET " PREFIX "ready HTTP/1.1\r\n\r\n"), 405);
    assert_int_equal(ask_once(b, "POST " PREFIX "readyx HTTP/1.1\r\n\r\n"), 404);
    assert_int_equal(ask_once(b, "POST " PREFIX " HTTP/1.1\r\n\r\n"), 404);
    assert_int_equal(ask_once(b, "POST /ready HTTP/1.1\r\n\r\n"), 404);
    assert_int_equal(b->calls[HOOK_READY], 0);
    assert_int_equal(ask_once(b, "POST " PREFIX "ready?x=1 HTTP/1.1\r\n\r\n"), 200);
}

static void usual_variants_are_understood(void **state)
{
    struct bed *b = *state;
    assert_int_equal(ask_once(b, "POST http://localhost:9000" PREFIX "ready HTTP/1.1\r\n\r\n"),
                     200);
    assert_int_equal(ask_once(b, "POST HTTP://127.0.0.1" PREFIX "ready HTTP/1.1\r\n\r\n"), 200);
    assert_int_equal(ask_once(b, "POST " PREFIX "ready/ HTTP/1.1\r\n\r\n"), 200);
    assert_int_equal(ask_once(b, "POST " PREFIX "ready/?x=1 HTTP/1.1\r\n\r\n"), 200);
    assert_int_equal(ask_once(b, "\r\nPOST " PREFIX "ready HTTP/1.1\r\n\r\n"), 200);
    assert_int_equal(b->calls[HOOK_READY], 5);
    assert_int_equal(ask_once(b, "POST " PREFIX "ready// HTTP/1.1\r\n\r\n"), 404);
}

static void connection_with_close_in_a_list_is_closed(void **state)
{
    struct bed *b = *state;
    int fd = dial(b);
    assert_int_equal(ask(b, fd, "POST " PREFIX "ready HTTP/1.1\r\nConnection: close, TE\r\n\r\n"),
                     200);
    assert_int_equal(read_status(b, fd, NOW), 0);
    close(fd);
}

static void client_that_waits_is_asked_for_its_body(void **state)
{
    struct bed *b = *state;
    int fd = dial(b);
    for (int i = 0; i < 2; i++) { /* each request on the connection anew */
        assert_int_equal(ask(b, fd,
                             "POST " PREFIX "run HTTP/1.1\r\nExpect: 100-continue\r\n"
                             "Content-Length: 2\r\n\r\n"),
                         100);
        assert_int_equal(b->calls[HOOK_RUN], i);
        put(fd, "h");
        assert_int_equal(ask(b, fd, "i"), 200); /* not asked again */
        assert_string_equal(b->body, "hi");
    }
    close(fd);
    assert_int_equal(ask_once(b, "POST " PREFIX "run HTTP/1.1\r\nExpect: tea\r\n\r\n"), 417);
}

/* What comes through a VM's public endpoint, or is meant for another host. */
static void forwarded_request_is_refused(void **state)
{
    struct bed *b = *state;
    static const char *const heads[] = {"Host: 1a2b.microvm.example", "x-amzn-RequestId: 1",
                                        "Host: localhost.evil.example", "Host: localhost:99999",
                                        "Host:"};
    char text[200];
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        snprintf(text, sizeof(text), "POST " PREFIX "terminate HTTP/1.1\r\n%s\r\n\r\n", heads[i]);
        assert_int_equal(ask_once(b, text), 403);
    }
    assert_int_equal(ask_once(b, "POST http://evil.example" PREFIX "terminate HTTP/1.1\r\n\r\n"),
                     403);
    assert_int_equal(b->calls[HOOK_TERMINATE], 0);
    assert_int_equal(
        ask_once(b, "POST " PREFIX "terminate HTTP/1.1\r\nHost: LOCALHOST:9000\r\n\r\n"), 200);
    assert_int_equal(ask_once(b, "POST " PREFIX "terminate HTTP/1.1\r\nHost: [::1]\r\n\r\n"), 200);
}

/* An address of this host that is not on its loopback stands for another machine's. */
static void peer_that_is_not_local_is_refused(void **state)
{
    struct bed *b = *state;
    struct agent_hooks_options options = b->hooks.options;
    struct err e;
    char address[INET_ADDRSTRLEN];
    if (!find_own_address(address)) {
        skip();
    }
    agent_hooks_close(&b->hooks);
    options.address = "0.0.0.0";
    assert_int_equal(agent_hooks_open(&b->hooks, &options, &e), 0);
    int fd = dial_at(b, address);
    assert_int_equal(ask(b, fd, "POST " PREFIX "terminate HTTP/1.1\r\n\r\n"), 403);
    assert_int_equal(b->calls[HOOK_TERMINATE], 0);
    close(fd);
    assert_int_equal(ask_once(b, "POST " PREFIX "terminate HTTP/1.1\r\n\r\n"), 200);
}

static void answer_of_the_hook_is_told(void **state)
{
    struct bed *b = *state;
    b->answer = 503;
    assert_int_equal(ask_once(b, "POST " PREFIX "ready HTTP/1.1\r\n\r\n"), 503);
}

static void tls_greeting_is_answered_400_and_closed(void **state)
{
    struct bed *b = *state;
    int fd = dial(b);
    assert_int_equal(send(fd, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, MSG_NOSIGNAL),
                     11);
    assert_int_equal(read_status(b, fd, NOW), 400);
    assert_int_equal(read_status(b, fd, NOW), 0);
    close(fd);
    assert_int_equal(ask_once(b, "POST " PREFIX "ready HTTP/1.1\r\n\r\n"), 200);
}

static void slow_request_is_ended_at_its_deadline(void **state)
{
    struct bed *b = *state;
    int fd = dial(b);
    struct pollfd pfd = {.fd = b->hooks.epoll_fd, .events = POLLIN};
    put(fd, "POST " PREFIX "run HTTP/1.1\r\nContent-Le");
    assert_int_equal(poll(&pfd, 1, 30000), 1);
    agent_hooks_work(&b->hooks, NOW);
    /* The bytes may come after the connection. */
    while (b->hooks.connections[0].input.len == 0) {
        assert_int_equal(poll(&pfd, 1, 30000), 1);
        agent_hooks_work(&b->hooks, NOW);
    }
    assert_int_equal(agent_hooks_deadline(&b->hooks), NOW + 10000);
    put(fd, "ngth: "); /* a trickle does not move it */
    assert_int_equal(poll(&pfd, 1, 30000), 1);
    agent_hooks_work(&b->hooks, NOW + 9999);
    assert_int_equal(agent_hooks_deadline(&b->hooks), NOW + 10000);
    assert_int_equal(read_status(b, fd, NOW + 10000), 408);
    close(fd);
}

static void silent_connection_is_closed_at_its_deadline(void **state)
{
    struct bed *b = *state;
    int fd = dial(b);
    struct pollfd pfd = {.fd = b->hooks.epoll_fd, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, 30000), 1);
    agent_hooks_work(&b->hooks, NOW);
    assert_int_equal(read_status(b, fd, NOW + 10000), 0);
    close(fd);
    assert_int_equal(agent_hooks_deadline(&b->hooks), INT64_MAX);
}

static void oversized_request_is_refused(void **state)
{
    struct bed *b = *state;
    char *head = malloc(20001);
    assert_non_null(head);
    memset(head, 'a', 20000);
    head[20000] = '\0';
    assert_int_equal(ask_once(b, head), 414);
    free(head);
    assert_int_equal(ask_once(b, "POST " PREFIX "run HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"),
                     413);
    assert_int_equal(b->calls[HOOK_RUN], 0);
}

static void many_connections_do_not_keep_the_platform_out(void **state)
{
    struct bed *b = *state;
    int idle[3 * HOOKS_CONNECTIONS_MAX];
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        idle[i] = dial(b);
        agent_hooks_work(&b->hooks, NOW + (int64_t)i);
    }
    int fd = dial(b);
    put(fd, "POST " PREFIX "terminate HTTP/1.1\r\n\r\n");
    assert_int_equal(read_status(b, fd, NOW + 1000), 200);
    close(fd);
    for (size_t i = 0; i < COUNT_OF(idle); i++) {
        close(idle[i]);
    }
}

static void held_request_is_answered_later_and_the_next_one_too(void **state)
{
    struct bed *b = *state;
    struct pollfd pfd = {.fd = b->hooks.epoll_fd, .events = POLLIN};
    int fd = dial(b);
    b->answer = HOOK_LATER;
    put(fd, "POST " PREFIX "terminate HTTP/1.1\r\n\r\nPOST " PREFIX "suspend HTTP/1.1\r\n\r\n");
    while (b->calls[HOOK_TERMINATE] == 0) {
        assert_int_equal(poll(&pfd, 1, 30000), 1);
        agent_hooks_work(&b->hooks, NOW);
    }
    assert_int_equal(b->calls[HOOK_SUSPEND], 0);
    assert_int_equal(agent_hooks_deadline(&b->hooks), NOW + 15000);
    b->answer = 200;
    agent_hooks_answer(&b->hooks, HOOK_TERMINATE, 200, NOW);
    assert_int_equal(read_status(b, fd, NOW), 200);
    assert_int_equal(read_status(b, fd, NOW), 200);
    assert_int_equal(b->calls[HOOK_SUSPEND], 1);
    close(fd);
}

static void held_request_is_given_up_at_its_deadline(void **state)
{
    struct bed *b = *state;
    struct pollfd pfd = {.fd = b->hooks.epoll_fd, .events = POLLIN};
    int fd = dial(b);
    b->answer = HOOK_LATER;
    put(fd, "POST " PREFIX "terminate HTTP/1.1\r\n\r\n");
    while (b->calls[HOOK_TERMINATE] == 0) {
        assert_int_equal(poll(&pfd, 1, 30000), 1);
        agent_hooks_work(&b->hooks, NOW);
    }
    assert_int_equal(read_status(b, fd, NOW + 15000), 503);
    close(fd);
}

static void port_that_is_taken_is_an_error(void **state)
{
    struct bed *b = *state;
    struct agent_hooks other;
    struct err e;
    const struct agent_hooks_options options = {.address = "127.0.0.1", .port = b->hooks.port};
    const struct agent_hooks_options name = {.address = "localhost"};
    assert_int_equal(agent_hooks_open(&other, &options, &e), -1);
    assert_int_equal(e.code, EADDRINUSE);
    assert_int_equal(agent_hooks_open(&other, &name, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* A job may call without end. */
static void calls_are_logged_up_to_a_limit(void **state)
{
    struct bed *b = *state;
    for (int i = 0; i < HOOKS_LOGGED_MAX; i++) {
        assert_true(agent_hooks_may_log(&b->hooks));
    }
    assert_false(agent_hooks_may_log(&b->hooks));
    assert_false(agent_hooks_may_log(&b->hooks));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hooks_are_told_apart),
        CASE(calls_are_logged_up_to_a_limit),
        CASE(what_is_no_hook_is_refused),
        CASE(usual_variants_are_understood),
        CASE(connection_with_close_in_a_list_is_closed),
        CASE(client_that_waits_is_asked_for_its_body),
        CASE(forwarded_request_is_refused),
        CASE(peer_that_is_not_local_is_refused),
        CASE(answer_of_the_hook_is_told),
        CASE(tls_greeting_is_answered_400_and_closed),
        CASE(slow_request_is_ended_at_its_deadline),
        CASE(silent_connection_is_closed_at_its_deadline),
        CASE(oversized_request_is_refused),
        CASE(many_connections_do_not_keep_the_platform_out),
        CASE(held_request_is_answered_later_and_the_next_one_too),
        CASE(held_request_is_given_up_at_its_deadline),
        CASE(port_that_is_taken_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
