/*
 * Holds connections to 127.0.0.1 from many addresses, and sends on each the bytes of a file: the first
 * ones at once, the rest one by one, or all of it again and again. A connection that is closed is
 * opened anew. Prints "ready" when as many connections as wanted were open or refused once, and the
 * counts as JSON after SIGTERM.
 *
 *   ingress-attacker PORT FROM SOURCES CONNECTIONS FILE FIRST PAUSE_MS RATE
 *
 * FROM: the first of SOURCES IPv4 addresses. FIRST: bytes sent at once; 0: the file again and again,
 * and what is answered is dropped. PAUSE_MS: between two of the bytes behind them. RATE: connections
 * opened a second at most.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"

#define EVENTS 1024
#define TURN_MS 10
#define BURST_MS 50 /* connections of so much time are opened at once at most */
#define FILE_MAX ((size_t)64 << 20)

struct peer {
    int fd; /* -1: closed */
    bool connected;
    size_t sent;
    int64_t next_ms; /* when the next byte is due */
};

static struct {
    int64_t port;
    uint32_t from;
    int64_t sources;
    int64_t count;
    int64_t first;
    int64_t pause_ms;
    int64_t rate;
    struct buf text;
    int epoll;
    struct peer *peers;
    int64_t opened;
    int64_t closed;
    int64_t rounds;
} attack;

static volatile sig_atomic_t ended;

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

static void close_peer(struct peer *p)
{
    close(p->fd);
    p->fd = -1;
    attack.closed++;
}

static void open_peer(struct peer *p)
{
    int64_t index = p - attack.peers;
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)attack.port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p};
    int on = 1;
    from.sin_addr.s_addr = htonl(attack.from + (uint32_t)(index % attack.sources));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT(fd >= 0);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    ASSERT(bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
    *p = (struct peer){.fd = fd};
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) {
        close_peer(p);
        return;
    }
    ASSERT(epoll_ctl(attack.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    attack.opened++;
}

/* False: it is closed. */
static bool drop_answers(struct peer *p)
{
    static char space[65536];
    ssize_t n;
    while ((n = recv(p->fd, space, sizeof space, 0)) > 0) {
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Sends up to `until`; false: it is closed. */
static bool send_up_to(struct peer *p, size_t until)
{
    while (p->sent < until) {
        ssize_t n = send(p->fd, attack.text.data + p->sent, until - p->sent, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == ENOTCONN;
        }
        p->connected = true;
        p->sent += (size_t)n;
    }
    return true;
}

static bool send_again_and_again(struct peer *p)
{
    bool open = true;
    for (int i = 0; i < 64 && open; i++) {
        open = send_up_to(p, attack.text.len);
        if (p->sent < attack.text.len) {
            break;
        }
        p->sent = 0;
        attack.rounds++;
    }
    return open;
}

static void on_peer(struct peer *p, uint32_t events)
{
    bool open = (events & (EPOLLERR | EPOLLHUP)) == 0;
    if (open && (events & EPOLLIN) != 0) {
        open = drop_answers(p);
    }
    if (open && attack.first == 0) {
        open = send_again_and_again(p);
    } else if (open) {
        open = send_up_to(p, (size_t)attack.first > p->sent ? (size_t)attack.first : p->sent);
    }
    if (!open) {
        close_peer(p);
    }
}

static void send_a_byte(struct peer *p, int64_t now_ms)
{
    if (p->fd >= 0 && p->connected && now_ms >= p->next_ms && p->sent + 1 < attack.text.len) {
        p->next_ms = now_ms + attack.pause_ms;
        if (p->sent >= (size_t)attack.first && !send_up_to(p, p->sent + 1)) {
            close_peer(p);
        }
    }
}

static void take_turn(int64_t *budget)
{
    static struct epoll_event events[EVENTS];
    int n = epoll_wait(attack.epoll, events, EVENTS, TURN_MS);
    for (int i = 0; i < n; i++) {
        on_peer(events[i].data.ptr, events[i].events);
    }
    int64_t now_ms = clock_mono_ms();
    for (int64_t i = 0; i < attack.count; i++) {
        struct peer *p = &attack.peers[i];
        if (attack.first > 0) {
            send_a_byte(p, now_ms);
        } else if (p->fd >= 0) {
            on_peer(p, EPOLLIN); /* it stopped at its own bound, which is no event */
        }
        if (p->fd < 0 && *budget > 0) {
            *budget -= 1;
            open_peer(p);
        }
    }
}

/* Since the last turn; what a slow machine kept it from opening is not made up for in one burst. */
static int64_t budget_of_turn(int64_t *last_ms)
{
    int64_t now_ms = clock_mono_ms();
    int64_t passed_ms = now_ms - *last_ms < BURST_MS ? now_ms - *last_ms : BURST_MS;
    int64_t budget = passed_ms * attack.rate / 1000;
    *last_ms = budget > 0 ? now_ms : *last_ms;
    return budget;
}

static void run(void)
{
    int64_t last_ms = clock_mono_ms();
    int64_t used = 0;
    bool ready = false;
    while (!ended) {
        int64_t budget = budget_of_turn(&last_ms);
        int64_t left = budget;
        take_turn(&left);
        used += budget - left;
        if (!ready && used >= attack.count) {
            ready = true;
            puts("ready");
            fflush(stdout);
        }
    }
    printf("{\"opened\":%lld,\"closed\":%lld,\"rounds\":%lld}\n", (long long)attack.opened,
           (long long)attack.closed, (long long)attack.rounds);
}

static void read_arguments(char **argv)
{
    int64_t *const numbers[] = {&attack.sources, &attack.count};
    int64_t *const more[] = {&attack.first, &attack.pause_ms, &attack.rate};
    struct in_addr from;
    struct err e = {0};
    ASSERT(slice_to_int64(slice_of(argv[1]), &attack.port));
    ASSERT(inet_pton(AF_INET, argv[2], &from) == 1);
    attack.from = ntohl(from.s_addr);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        ASSERT(slice_to_int64(slice_of(argv[3 + i]), numbers[i]));
    }
    buf_init(&attack.text, FILE_MAX);
    ASSERT(fs_read(argv[5], &attack.text, &e) == 0);
    for (size_t i = 0; i < COUNT_OF(more); i++) {
        ASSERT(slice_to_int64(slice_of(argv[6 + i]), more[i]));
    }
    ASSERT((size_t)attack.first < attack.text.len);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    ASSERT(argc == 9);
    read_arguments(argv);
    (void)signal(SIGTERM, on_end);
    ASSERT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    attack.peers = calloc((size_t)attack.count, sizeof *attack.peers);
    attack.epoll = epoll_create1(EPOLL_CLOEXEC);
    ASSERT(attack.peers != NULL && attack.epoll >= 0);
    for (int64_t i = 0; i < attack.count; i++) {
        attack.peers[i].fd = -1;
    }
    run();
    return 0;
}
