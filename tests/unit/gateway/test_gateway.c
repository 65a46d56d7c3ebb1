/* The real gateway, with this test in QEMU's and the supervisor's place: what a guest's frames reach
 * on this host, and what the gateway reports. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/vm/qemu/net_frame.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/net_frames.h"

#define WAIT_MS 10000
#define PROXY_CONNECTIONS 32

static const char *program;

struct gateway {
    pid_t pid;
    int frames;
    int reports;
    char text[8192]; /* all reports so far */
    size_t text_len;
    uint8_t in[200000];
    size_t in_len;
};

static void write_frame(const struct gateway *g, const struct net_frame *f)
{
    uint8_t all[4 + sizeof f->bytes] = {0, 0, (uint8_t)(f->len >> 8), (uint8_t)f->len};
    memcpy(all + 4, f->bytes, f->len);
    assert_int_equal(write(g->frames, all, 4 + f->len), 4 + f->len);
}

static bool readable(int fd, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t left = deadline_ms - clock_mono_ms();
    return poll(&p, 1, left < 0 ? 0 : (int)left) == 1;
}

/* The kinds of the frames that come until one of `kind`; fails when none comes. */
static void expect_frame(struct gateway *g, char kind)
{
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    for (;;) {
        size_t len = g->in_len < 4 ? 0 : (size_t)g->in[2] << 8 | g->in[3];
        if (g->in_len >= 4 && g->in_len >= 4 + len) {
            char is = frame_kind(g->in + 4, len);
            g->in_len -= 4 + len;
            memmove(g->in, g->in + 4 + len, g->in_len);
            if (is == kind) {
                return;
            }
            continue;
        }
        if (!readable(g->frames, deadline_ms)) {
            fail_msg("no frame %c came; reports: %s", kind, g->text);
        }
        ssize_t n = read(g->frames, g->in + g->in_len, sizeof g->in - g->in_len);
        assert_true(n > 0);
        g->in_len += (size_t)n;
    }
}

static bool read_reports(struct gateway *g, int64_t deadline_ms)
{
    if (!readable(g->reports, deadline_ms)) {
        return false;
    }
    ssize_t n = read(g->reports, g->text + g->text_len, sizeof g->text - 1 - g->text_len);
    g->text_len += n > 0 ? (size_t)n : 0;
    g->text[g->text_len] = '\0';
    return n > 0;
}

static void expect_report(struct gateway *g, const char *part)
{
    int64_t deadline_ms = clock_mono_ms() + WAIT_MS;
    while (strstr(g->text, part) == NULL) {
        if (!read_reports(g, deadline_ms)) {
            fail_msg("no report \"%s\" in: %s", part, g->text);
        }
    }
}

/* words: NULL at their end. */
static void start(struct gateway *g, const char *const *words)
{
    char *argv[16] = {slice_dup(slice_of(program))};
    int frames[2];
    int reports[2];
    memset(g, 0, sizeof *g);
    for (size_t i = 0; words[i] != NULL; i++) {
        argv[i + 1] = slice_dup(slice_of(words[i]));
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, frames), 0);
    assert_int_equal(pipe2(reports, O_CLOEXEC), 0);
    g->pid = fork();
    if (g->pid == 0) {
        int report = fcntl(reports[1], F_DUPFD, 10);
        int stream = fcntl(frames[1], F_DUPFD, 10);
        (void)dup2(report, 3);
        (void)dup2(stream, 4);
        (void)close_range(5, ~0U, 0);
        (void)execv(program, argv);
        _exit(127);
    }
    for (size_t i = 0; argv[i] != NULL; i++) {
        free(argv[i]);
    }
    close(frames[1]);
    close(reports[1]);
    g->frames = frames[0];
    g->reports = reports[0];
}

static void start_ready(struct gateway *g, const char *const *words)
{
    static const char *const router = "10.0.2.2";
    start(g, words);
    expect_report(g, "READY\n");
    struct net_frame f = frame_arp(router);
    write_frame(g, &f);
    expect_frame(g, 'A');
}

static int stop(struct gateway *g)
{
    int status = 0;
    close(g->frames);
    assert_int_equal(waitpid(g->pid, &status, 0), g->pid);
    close(g->reports);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int listen_on_loopback(int type, uint16_t *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof to;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_true(type == SOCK_DGRAM || listen(fd, 100) == 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&to, &size), 0);
    *port = ntohs(to.sin_port);
    return fd;
}

static void send_syn(struct gateway *g, const char *to, uint16_t from, uint16_t port)
{
    struct net_frame f = frame_tcp_syn(NULL, to, from, port);
    write_frame(g, &f);
}

static void send_udp(struct gateway *g, const char *to, uint16_t port)
{
    struct net_frame f = frame_udp(NULL, to, 40000, port, "data");
    write_frame(g, &f);
}

/* --- the cases -------------------------------------------------------------------------------- */

static void listed_port_of_the_loopback_is_reached_and_no_other(void **state)
{
    static struct gateway g;
    char allow[64];
    uint16_t port;
    uint16_t other;
    int listed = listen_on_loopback(SOCK_STREAM, &port);
    int secret = listen_on_loopback(SOCK_STREAM, &other);
    (void)snprintf(allow, sizeof allow, "allow=127.0.0.1:%d", (int)port);
    const char *const words[] = {"mode=internet", allow, NULL};
    start_ready(&g, words);
    send_syn(&g, "10.0.2.2", 40001, port);
    expect_frame(&g, 'S');
    send_syn(&g, "10.0.2.2", 40002, other);
    expect_frame(&g, 'X');
    expect_report(&g, "REFUSED loopback 1 tcp 127.0.0.1 ");
    send_syn(&g, "127.0.0.1", 40003, port);
    expect_frame(&g, 'X');
    send_syn(&g, "fec0::2", 40004, port);
    expect_frame(&g, 'X');
    assert_true(readable(listed, clock_mono_ms() + WAIT_MS));
    assert_false(readable(secret, 0));
    assert_int_equal(stop(&g), 0);
    close(listed);
    close(secret);
}

/* With a listed port libslirp leads every way to the router to the loopback. */
static void datagram_reaches_the_loopback_by_no_way(void **state)
{
    static struct gateway g;
    static const char *const ways[] = {"10.0.2.2",  "10.0.2.255", "255.255.255.255",
                                       "127.0.0.1", "10.0.2.3",   "10.0.2.77"};
    static const char *const words[] = {"mode=internet", "allow=127.0.0.1:1", NULL};
    uint16_t port;
    int secret = listen_on_loopback(SOCK_DGRAM, &port);
    start_ready(&g, words);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        send_udp(&g, ways[i], port);
    }
    send_syn(&g, "10.0.2.2", 40009, port);
    expect_frame(&g, 'X'); /* all before it were handled */
    assert_int_equal(stop(&g), 0);
    assert_false(readable(secret, 0));
    close(secret);
}

static void datagram_over_ipv6_reaches_the_loopback_by_no_way(void **state)
{
    static struct gateway g;
    static const char *const ways[] = {"fec0::2", "fec0::3", "fec0::77", "::1", "ff02::1"};
    static const char *const words[] = {"mode=internet", "allow=[::1]:1", NULL};
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t size = sizeof to;
    int secret = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (secret < 0 || bind(secret, (struct sockaddr *)&to, size) != 0) {
        skip(); /* no IPv6 here */
    }
    assert_int_equal(getsockname(secret, (struct sockaddr *)&to, &size), 0);
    start_ready(&g, words);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        send_udp(&g, ways[i], ntohs(to.sin6_port));
    }
    send_syn(&g, "fec0::2", 40009, ntohs(to.sin6_port));
    expect_frame(&g, 'X');
    assert_int_equal(stop(&g), 0);
    assert_false(readable(secret, 0));
    close(secret);
}

static void refusals_name_their_kind(void **state)
{
    static struct gateway g;
    static const char *const words[] = {"mode=internet", NULL};
    start_ready(&g, words);
    send_syn(&g, "169.254.169.254", 40001, 80);
    expect_frame(&g, 'X');
    expect_report(&g, "REFUSED link_local 1 tcp 169.254.169.254 80\n");
    send_udp(&g, "192.168.1.1", 53);
    expect_report(&g, "REFUSED private 1 udp 192.168.1.1 53\n");
    struct net_frame f = frame_tcp_syn(NULL, "64:ff9b::a9fe:a9fe", 40002, 80);
    write_frame(&g, &f);
    expect_report(&g, "link_local 1 tcp 64:ff9b::a9fe:a9fe 80\n");
    f = frame_tcp_syn(NULL, "140.82.112.3", 40003, 443);
    f.bytes[14 + 6] = 0x20; /* a fragment */
    write_frame(&g, &f);
    expect_report(&g, "REFUSED packet 1 ip ");
    assert_int_equal(stop(&g), 0);
}

/* The frame before is too long, and the frame itself comes in two parts. */
static void frames_are_found_in_any_pieces(void **state)
{
    static struct gateway g;
    static const char *const words[] = {"mode=internet", NULL};
    static uint8_t all[4 + 60000 + 4 + 100] = {0, 0, 60000 >> 8, 60000 & 0xff};
    start_ready(&g, words);
    struct net_frame f = frame_tcp_syn(NULL, "10.9.9.9", 40001, 80);
    all[60007] = (uint8_t)f.len;
    memcpy(all + 60008, f.bytes, f.len);
    size_t first = 60008 + 20;
    assert_int_equal(write(g.frames, all, first), first);
    assert_int_equal(write(g.frames, all + first, f.len - 20), f.len - 20);
    expect_frame(&g, 'X');
    assert_int_equal(stop(&g), 0);
}

static void stream_of_no_frames_ends_it(void **state)
{
    static struct gateway g;
    static const char *const words[] = {"mode=internet", NULL};
    int status = -1;
    start_ready(&g, words);
    assert_int_equal(write(g.frames, "\xff\xff\xff\xff", 4), 4);
    assert_int_equal(waitpid(g.pid, &status, 0), g.pid);
    assert_true(WIFEXITED(status));
    close(g.frames);
    close(g.reports);
}

static void proxy_mode_reaches_the_proxy_alone(void **state)
{
    static struct gateway g;
    char proxy[64];
    uint16_t port;
    int listener = listen_on_loopback(SOCK_STREAM, &port);
    (void)snprintf(proxy, sizeof proxy, "proxy=localhost/%d", (int)port);
    const char *const words[] = {"mode=proxy", proxy, NULL};
    start_ready(&g, words);
    send_syn(&g, "10.0.2.2", 40001, 3128);
    expect_frame(&g, 'S');
    assert_true(readable(listener, clock_mono_ms() + WAIT_MS));
    send_syn(&g, "140.82.112.3", 40002, 443);
    expect_frame(&g, 'X');
    expect_report(&g, "REFUSED closed 1 tcp 140.82.112.3 443\n");
    send_udp(&g, "10.0.2.3", 53);
    expect_report(&g, "REFUSED host_address 1 udp 10.0.2.3 53\n");
    assert_int_equal(stop(&g), 0);
    close(listener);
}

static void proxy_mode_bounds_the_connections(void **state)
{
    static struct gateway g;
    char proxy[64];
    uint16_t port;
    int listener = listen_on_loopback(SOCK_STREAM, &port);
    (void)snprintf(proxy, sizeof proxy, "proxy=127.0.0.1/%d", (int)port);
    const char *const words[] = {"mode=proxy", proxy, NULL};
    start_ready(&g, words);
    for (uint16_t i = 0; i < PROXY_CONNECTIONS; i++) {
        send_syn(&g, "10.0.2.2", (uint16_t)(41000 + i), 3128);
        expect_frame(&g, 'S');
    }
    send_syn(&g, "10.0.2.2", 42000, 3128);
    expect_frame(&g, 'X');
    expect_report(&g, "REFUSED connections 1 tcp 127.0.0.1 3128\n");
    assert_int_equal(stop(&g), 0);
    close(listener);
}

static void bad_word_is_an_error_with_its_text(void **state)
{
    static const char *const bad[] = {"mode=user", "allow=10.0.0.1/8", "proxy=host", "x=y", "x"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        static struct gateway g;
        const char *const words[] = {bad[i], NULL};
        start(&g, words);
        expect_report(&g, "ERR mayfly-vm-net does not take \"");
        expect_report(&g, bad[i]);
        assert_int_equal(stop(&g), 2);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listed_port_of_the_loopback_is_reached_and_no_other),
        cmocka_unit_test(datagram_reaches_the_loopback_by_no_way),
        cmocka_unit_test(datagram_over_ipv6_reaches_the_loopback_by_no_way),
        cmocka_unit_test(refusals_name_their_kind),
        cmocka_unit_test(frames_are_found_in_any_pieces),
        cmocka_unit_test(stream_of_no_frames_ends_it),
        cmocka_unit_test(proxy_mode_reaches_the_proxy_alone),
        cmocka_unit_test(proxy_mode_bounds_the_connections),
        cmocka_unit_test(bad_word_is_an_error_with_its_text),
    };
    if (argc != 2) {
        return 2;
    }
    program = argv[1];
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
