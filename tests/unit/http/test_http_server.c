/* Streams of the small server: who reads slowly, who leaves, and what waits for many readers. */
#include "tests/lib/cmocka.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/server.h"

#define EVENT_BYTES ((size_t)8 << 20) /* more than the sockets hold */
#define STALL_MS 50
#define CONNECTIONS 32
#define PENDING_BYTES ((size_t)20 << 20)

static struct http_server *server;
static pthread_t thread;
static char *event;
static size_t event_bytes = EVENT_BYTES;
static size_t streams; /* atomic: as of the last push */
static int pushes;     /* atomic */
static struct {
    const char *limit;
    int reached; /* atomic */
} limits[] = {{.limit = HTTP_LIMIT_CONNECTIONS},
              {.limit = HTTP_LIMIT_HEAD},
              {.limit = HTTP_LIMIT_RESPONSE_TIME},
              {.limit = HTTP_LIMIT_STALLED},
              {.limit = HTTP_LIMIT_UNREAD}};

static void on_limit(void *arg, const char *limit)
{
    (void)arg;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        if (strcmp(limits[i].limit, limit) == 0) {
            __atomic_fetch_add(&limits[i].reached, 1, __ATOMIC_ACQ_REL);
        }
    }
}

/* How often since the last call. */
static int reached(const char *limit)
{
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        if (strcmp(limits[i].limit, limit) == 0) {
            return __atomic_exchange_n(&limits[i].reached, 0, __ATOMIC_ACQ_REL);
        }
    }
    return -1;
}

static void on_wake(void *arg)
{
    (void)arg;
    http_server_push(server, (struct slice){event, event_bytes});
    __atomic_store_n(&streams, http_server_streams(server), __ATOMIC_RELEASE);
    __atomic_fetch_add(&pushes, 1, __ATOMIC_ACQ_REL);
}

static void on_request(void *arg, struct http_exchange *x, const struct http_request *r)
{
    const struct http_page stream = {
        .status = 200, .type = "text/event-stream", .body = SLICE(": hello\n\n")};
    const struct http_page large = {
        .status = 200, .type = "text/plain", .body = {event, EVENT_BYTES}};
    (void)arg;
    if (slice_eq_cstr(r->path, "/never")) {
        return;
    }
    if (slice_eq_cstr(r->path, "/large") || !http_exchange_stream(x, &stream)) {
        http_exchange_reply(x, &large);
    }
}

static void *run(void *arg)
{
    http_server_run(arg);
    return NULL;
}

static int start(int64_t stall_ms)
{
    struct err e;
    const struct http_server_options o = {.what = "test",
                                          .listen = "127.0.0.1:0",
                                          .hint = "",
                                          .connections = CONNECTIONS,
                                          .streams = 4,
                                          .stall_ms = stall_ms,
                                          .pending_bytes = PENDING_BYTES,
                                          .reply_seconds = 60,
                                          .headers = "",
                                          .on_request = on_request,
                                          .on_wake = on_wake,
                                          .on_limit = on_limit};
    event = calloc(1, EVENT_BYTES);
    assert_non_null(event);
    memset(event, 'x', EVENT_BYTES);
    assert_int_equal(http_server_open(&o, &server, &e), 0);
    assert_int_equal(pthread_create(&thread, NULL, run, server), 0);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return start(STALL_MS);
}

static int set_up_without_stalls(void **state)
{
    (void)state;
    return start(60000);
}

static int tear_down(void **state)
{
    (void)state;
    http_server_stop(server);
    assert_int_equal(pthread_join(thread, NULL), 0);
    http_server_close(server);
    free(event);
    return 0;
}

static int receive_bytes; /* that a peer's socket holds; 0: as usual */

static int connect_to_server(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)http_server_port(server))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int small = receive_bytes;
    assert_true(small == 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static int ask(const char *path)
{
    char request[80];
    int fd = connect_to_server();
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", path);
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* Reads n bytes; returns how many came before the end. */
static size_t take(int fd, size_t n)
{
    static char bytes[1 << 16];
    size_t taken = 0;
    ssize_t got = 1;
    while (taken < n && got > 0) {
        got = recv(fd, bytes, n - taken < sizeof bytes ? n - taken : sizeof bytes, 0);
        taken += got > 0 ? (size_t)got : 0;
    }
    return taken;
}

/* The head and the first bytes, so that the stream has begun. */
static int begin_stream(void)
{
    char last[5] = "";
    int fd = ask("/stream");
    while (strcmp(last, "lo\n\n") != 0) {
        memmove(last, last + 1, 3);
        assert_int_equal(recv(fd, last + 3, 1, 0), 1);
    }
    return fd;
}

static void push(void)
{
    const uint64_t one = 1;
    int before = __atomic_load_n(&pushes, __ATOMIC_ACQUIRE);
    assert_int_equal(write(http_server_wake_fd(server), &one, sizeof one), sizeof one);
    while (__atomic_load_n(&pushes, __ATOMIC_ACQUIRE) == before) {
        (void)usleep(1000);
    }
}

static void reader_that_stalls_is_closed_and_the_others_go_on(void **state)
{
    (void)state;
    int slow = begin_stream();
    int quick = begin_stream();
    size_t events = 0;
    do {
        push();
        events++;
        assert_int_equal(take(quick, EVENT_BYTES), EVENT_BYTES);
    } while (__atomic_load_n(&streams, __ATOMIC_ACQUIRE) == 2);
    assert_true(events > 1);
    assert_int_equal(__atomic_load_n(&streams, __ATOMIC_ACQUIRE), 1);
    assert_int_equal(reached(HTTP_LIMIT_STALLED), 1);
    assert_true(take(slow, 3 * EVENT_BYTES) < 3 * EVENT_BYTES); /* what the sockets held */
    (void)close(slow);
    (void)close(quick);
}

/* Hours of them would fit into what the kernel keeps for it. */
static void reader_of_small_events_that_takes_none_is_closed(void **state)
{
    size_t sent = 0;
    (void)state;
    receive_bytes = 4096;
    int fd = begin_stream();
    receive_bytes = 0;
    event_bytes = 200;
    do {
        push();
        sent += event_bytes;
        (void)usleep(10000);
    } while (__atomic_load_n(&streams, __ATOMIC_ACQUIRE) == 1 && sent < EVENT_BYTES / 16);
    event_bytes = EVENT_BYTES;
    assert_int_equal(__atomic_load_n(&streams, __ATOMIC_ACQUIRE), 0);
    assert_int_equal(reached(HTTP_LIMIT_STALLED), 1);
    (void)close(fd);
}

static void reader_that_is_late_gets_whole_events(void **state)
{
    (void)state;
    int fd = begin_stream();
    push();
    push(); /* of which it sees nothing, unless the first was read by then */
    assert_int_equal(take(fd, EVENT_BYTES), EVENT_BYTES);
    push();
    assert_int_equal(take(fd, EVENT_BYTES), EVENT_BYTES);
    (void)close(fd);
}

/* The sockets hold a part of each. */
static void responses_that_nobody_reads_have_a_limit(void **state)
{
    char head[16] = "HTTP/1.1 200";
    int fds[30];
    size_t n = 0;
    (void)state;
    while (n < COUNT_OF(fds) && strcmp(head, "HTTP/1.1 200") == 0) {
        fds[n] = ask("/large");
        assert_int_equal(recv(fds[n++], head, 12, MSG_WAITALL), 12);
    }
    assert_true(n > 1);
    assert_string_equal(head, "HTTP/1.1 503");
    assert_int_equal(reached(HTTP_LIMIT_UNREAD), 1);
    assert_true(take(fds[0], 2 * EVENT_BYTES) > EVENT_BYTES);
    for (size_t i = 0; i < n; i++) {
        (void)close(fds[i]);
    }
}

static void oldest_connection_gives_way_and_is_counted(void **state)
{
    int fds[CONNECTIONS + 2];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = ask("/never");
    }
    assert_int_equal(take(fds[0], 1), 0); /* closed, each by one that came later */
    assert_int_equal(take(fds[1], 1), 0);
    assert_int_equal(reached(HTTP_LIMIT_CONNECTIONS), 2);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        (void)close(fds[i]);
    }
}

static void head_that_is_too_long_or_too_late_is_counted(void **state)
{
    static const char name[] = "GET / HTTP/1.1\r\nX: ";
    char head[13] = "";
    static char filling[16384];
    int fd = connect_to_server();
    (void)state;
    memset(filling, 'x', sizeof filling);
    assert_int_equal(send(fd, name, sizeof name - 1, MSG_NOSIGNAL), sizeof name - 1);
    assert_int_equal(send(fd, filling, sizeof filling, MSG_NOSIGNAL), sizeof filling);
    assert_int_equal(recv(fd, head, sizeof head - 1, MSG_WAITALL), sizeof head - 1);
    assert_string_equal(head, "HTTP/1.1 431");
    assert_int_equal(reached(HTTP_LIMIT_HEAD), 1);
    int late = connect_to_server();
    assert_int_equal(take(late, 1), 0);
    assert_int_equal(reached(HTTP_LIMIT_HEAD), 1);
    (void)close(late);
    (void)close(fd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(reader_that_stalls_is_closed_and_the_others_go_on),
        CASE(reader_of_small_events_that_takes_none_is_closed),
        cmocka_unit_test_setup_teardown(reader_that_is_late_gets_whole_events,
                                        set_up_without_stalls, tear_down),
        CASE(responses_that_nobody_reads_have_a_limit),
        CASE(oldest_connection_gives_way_and_is_counted),
        CASE(head_that_is_too_long_or_too_late_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
