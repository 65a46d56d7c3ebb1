/*
 * A load of signed deliveries: one body, a new delivery id for each request, over many connections.
 *
 *   ingress-load --port P --body FILE --secret TEXT [--host A] [--path /webhook] [--connections C]
 *                [--requests N | --seconds S] [--rate R] [--acked FILE]
 *
 * With --rate the requests come at that rate whatever the answers take, and a latency counts from
 * when the request was due, so that a stalled server cannot hide its stall. Prints one JSON object;
 * --acked gets the delivery id of every 202, one a line. One thread; a tool of the tests, not
 * installed. Ends with 0 if every request was answered, 1 otherwise.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/base/random.h"

#define GUID_LEN 36
#define ANSWER_LIMIT_BYTES 4096
#define STATUS_MAX 600
/* Latencies in 10 us steps up to 20 s. */
#define LATENCY_STEP_US 10
#define LATENCY_STEPS 2000000

struct options {
    const char *host;
    int64_t port;
    const char *path;
    const char *body;
    const char *secret;
    const char *acked;
    int64_t connections;
    int64_t requests;
    int64_t seconds;
    int64_t rate;
};

enum peer_state { PEER_CONNECTING, PEER_IDLE, PEER_SENDING, PEER_READING };

struct peer {
    int fd;
    enum peer_state state;
    size_t sent;
    int64_t due_us;
    char guid[GUID_LEN + 1];
    char answer[ANSWER_LIMIT_BYTES];
    size_t answer_len;
    struct peer *next_idle;
};

struct load {
    struct options o;
    int epoll;
    struct sockaddr_in address;
    struct buf request;
    size_t guid_at; /* where the delivery id stands in the request */
    struct peer *peers;
    struct peer *idle;
    char run[9];   /* makes the ids of this run its own */
    int64_t alive; /* connections that are open or being opened */
    int64_t started;
    int64_t answered;
    int64_t failed;
    int64_t begun_us;
    int64_t status[STATUS_MAX];
    int32_t *latency;
    int64_t slowest_us;
    FILE *acked;
};

NORETURN static void die(const char *what)
{
    fprintf(stderr, "ingress-load: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* --- the request ------------------------------------------------------------------------------ */

static void make_request(struct load *l)
{
    struct buf body;
    struct err e = {0};
    unsigned char digest[32];
    char hex[65];
    buf_init(&body, 32U * 1024 * 1024);
    if (fs_read(l->o.body, &body, &e) != 0) {
        fprintf(stderr, "ingress-load: %s\n", e.message);
        exit(2);
    }
    unsigned size = sizeof digest;
    HMAC(EVP_sha256(), l->o.secret, (int)strlen(l->o.secret), (const unsigned char *)body.data,
         body.len, digest, &size);
    codec_hex(digest, sizeof digest, hex);
    buf_init(&l->request, body.len + 4096);
    buf_printf(
        &l->request,
        "POST %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\nUser-Agent: GitHub-Hookshot/load\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n"
        "X-GitHub-Event: workflow_job\r\nX-GitHub-Hook-ID: 292430182\r\n"
        "X-GitHub-Hook-Installation-Target-Type: organization\r\n"
        "X-GitHub-Hook-Installation-Target-ID: 79929171\r\nX-Hub-Signature-256: sha256=%s\r\n"
        "X-GitHub-Delivery: ",
        l->o.path, l->o.host, body.len, hex);
    l->guid_at = l->request.len;
    for (int i = 0; i < GUID_LEN; i++) {
        buf_append_byte(&l->request, '0');
    }
    buf_append_cstr(&l->request, "\r\n\r\n");
    buf_append(&l->request, buf_slice(&body));
    ASSERT(!l->request.failed);
    buf_fini(&body);
}

/* --- connections ------------------------------------------------------------------------------ */

static void watch(struct load *l, struct peer *p, int operation, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = p};
    if (epoll_ctl(l->epoll, operation, p->fd, &ev) != 0) {
        die("epoll_ctl");
    }
}

static void open_peer(struct load *l, struct peer *p)
{
    int on = 1;
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        die("socket");
    }
    p->state = PEER_CONNECTING;
    if (connect(p->fd, (struct sockaddr *)&l->address, sizeof l->address) != 0 &&
        errno != EINPROGRESS) {
        l->failed++;
        close(p->fd);
        return;
    }
    l->alive++;
    watch(l, p, EPOLL_CTL_ADD, EPOLLOUT);
}

static void make_idle(struct load *l, struct peer *p)
{
    p->state = PEER_IDLE;
    p->next_idle = l->idle;
    l->idle = p;
}

/* The server hung up. A request under way has failed; the connection is opened anew. */
static void lose_peer(struct load *l, struct peer *p)
{
    bool connecting = p->state == PEER_CONNECTING;
    if (p->state == PEER_SENDING || p->state == PEER_READING || connecting) {
        l->failed++;
    }
    struct peer **at = &l->idle;
    while (*at != NULL && *at != p) {
        at = &(*at)->next_idle;
    }
    if (*at == p) {
        *at = p->next_idle;
    }
    close(p->fd);
    p->fd = -1;
    l->alive--;
    if (!connecting) {
        open_peer(l, p);
    }
}

/* --- one request ------------------------------------------------------------------------------ */

static void send_more(struct load *l, struct peer *p)
{
    while (p->sent < l->request.len) {
        size_t guid_end = l->guid_at + GUID_LEN;
        const char *from = l->request.data + p->sent;
        size_t len = l->request.len - p->sent;
        int flags = MSG_NOSIGNAL;
        if (p->sent < l->guid_at) {
            /* The head goes in one piece with the id; copied, since the request is shared. */
            memcpy(l->request.data + l->guid_at, p->guid, GUID_LEN);
        } else if (p->sent < guid_end) {
            from = p->guid + (p->sent - l->guid_at);
            len = guid_end - p->sent;
            flags |= MSG_MORE;
        }
        ssize_t n = send(p->fd, from, len, flags);
        if (n < 0 && errno == EAGAIN) {
            watch(l, p, EPOLL_CTL_MOD, EPOLLOUT | EPOLLIN);
            return;
        }
        if (n < 0) {
            lose_peer(l, p);
            return;
        }
        p->sent += (size_t)n;
    }
    if (p->state == PEER_SENDING) {
        p->state = PEER_READING;
        watch(l, p, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static void start_request(struct load *l, int64_t due_us)
{
    struct peer *p = l->idle;
    l->idle = p->next_idle;
    l->started++;
    snprintf(p->guid, sizeof p->guid, "%s-0000-4000-8000-%012llx", l->run,
             (unsigned long long)l->started);
    p->sent = 0;
    p->answer_len = 0;
    p->due_us = due_us;
    p->state = PEER_SENDING;
    send_more(l, p);
}

static void record(struct load *l, const struct peer *p, int status)
{
    int64_t took_us = clock_mono_us() - p->due_us;
    int64_t step = took_us / LATENCY_STEP_US;
    l->latency[step < LATENCY_STEPS ? step : LATENCY_STEPS - 1]++;
    l->slowest_us = took_us > l->slowest_us ? took_us : l->slowest_us;
    l->status[status > 0 && status < STATUS_MAX ? status : 0]++;
    l->answered++;
    if (status == 202 && l->acked != NULL) {
        fprintf(l->acked, "%s\n", p->guid);
    }
}

/* Whether a whole answer is there; *status and *closing are set then. */
static bool is_whole(const struct peer *p, int *status, bool *closing)
{
    const char *end = memmem(p->answer, p->answer_len, "\r\n\r\n", 4);
    if (end == NULL || p->answer_len < 12) {
        return false;
    }
    size_t head = (size_t)(end - p->answer) + 4;
    const char *length = memmem(p->answer, head, "Content-Length: ", 16);
    *status = (int)strtol(p->answer + 9, NULL, 10);
    *closing = memmem(p->answer, head, "Connection: close", 17) != NULL;
    return p->answer_len >= head + (length != NULL ? strtoul(length + 16, NULL, 10) : 0);
}

static void read_more(struct load *l, struct peer *p)
{
    int status = 0;
    bool closing = false;
    ssize_t n = recv(p->fd, p->answer + p->answer_len, sizeof p->answer - p->answer_len, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        lose_peer(l, p);
        return;
    }
    p->answer_len += (size_t)n;
    if (p->state != PEER_READING || !is_whole(p, &status, &closing)) {
        return;
    }
    record(l, p, status);
    make_idle(l, p);
    if (closing) {
        lose_peer(l, p);
    }
}

static void on_event(struct load *l, struct peer *p, uint32_t events)
{
    if (p->state == PEER_CONNECTING) {
        int errnum = 0;
        socklen_t size = sizeof errnum;
        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &errnum, &size) != 0 || errnum != 0) {
            lose_peer(l, p);
            return;
        }
        watch(l, p, EPOLL_CTL_MOD, EPOLLIN);
        make_idle(l, p);
    } else if (p->state == PEER_SENDING && (events & EPOLLOUT) != 0) {
        send_more(l, p);
    } else {
        read_more(l, p);
    }
}

/* --- the run ---------------------------------------------------------------------------------- */

static bool may_start(const struct load *l, int64_t now_us)
{
    if (l->o.requests > 0 && l->started >= l->o.requests) {
        return false;
    }
    return l->o.seconds == 0 || now_us - l->begun_us < l->o.seconds * 1000000;
}

static int64_t due_of_next(const struct load *l, int64_t now_us)
{
    return l->o.rate == 0 ? now_us : l->begun_us + l->started * 1000000 / l->o.rate;
}

static bool is_over(const struct load *l, int64_t now_us)
{
    bool answered = l->answered + l->failed >= l->started;
    bool lost = l->o.seconds > 0 && now_us - l->begun_us > (l->o.seconds + 15) * 1000000;
    return lost || l->alive == 0 || (answered && !may_start(l, now_us));
}

static int wait_ms(const struct load *l, int64_t now_us)
{
    if (l->o.rate == 0 || l->idle == NULL || !may_start(l, now_us)) {
        return 100;
    }
    int64_t left_us = due_of_next(l, now_us) - now_us;
    return left_us <= 0 ? 0 : (int)((left_us + 999) / 1000);
}

static void run(struct load *l)
{
    struct epoll_event events[512];
    int64_t now_us = clock_mono_us();
    l->begun_us = now_us;
    while (!is_over(l, now_us)) {
        int n = epoll_wait(l->epoll, events, COUNT_OF(events), wait_ms(l, now_us));
        for (int i = 0; i < n; i++) {
            on_event(l, events[i].data.ptr, events[i].events);
        }
        now_us = clock_mono_us();
        while (l->idle != NULL && may_start(l, now_us) && due_of_next(l, now_us) <= now_us) {
            start_request(l, due_of_next(l, now_us));
        }
    }
}

static double percentile_ms(const struct load *l, double share)
{
    int64_t wanted = (int64_t)((double)l->answered * share);
    int64_t seen = 0;
    for (size_t i = 0; i < LATENCY_STEPS; i++) {
        seen += l->latency[i];
        if (seen > wanted) {
            return (double)i * LATENCY_STEP_US / 1000.0;
        }
    }
    return (double)l->slowest_us / 1000.0;
}

static void report(const struct load *l)
{
    double seconds = (double)(clock_mono_us() - l->begun_us) / 1e6;
    const char *comma = "";
    printf("{\"requests\":%lld,\"answered\":%lld,\"failed\":%lld,\"seconds\":%.3f,\"rps\":%.0f,"
           "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,\"status\":{",
           (long long)l->started, (long long)l->answered, (long long)l->failed, seconds,
           (double)l->answered / seconds, percentile_ms(l, 0.5), percentile_ms(l, 0.99),
           (double)l->slowest_us / 1000.0);
    for (int i = 0; i < STATUS_MAX; i++) {
        if (l->status[i] > 0) {
            printf("%s\"%d\":%lld", comma, i, (long long)l->status[i]);
            comma = ",";
        }
    }
    printf("}}\n");
}

static bool read_option(struct options *o, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **text;
        int64_t *number;
    } known[] = {
        {"--host", &o->host, NULL},         {"--port", NULL, &o->port},
        {"--path", &o->path, NULL},         {"--body", &o->body, NULL},
        {"--secret", &o->secret, NULL},     {"--acked", &o->acked, NULL},
        {"--requests", NULL, &o->requests}, {"--connections", NULL, &o->connections},
        {"--seconds", NULL, &o->seconds},   {"--rate", NULL, &o->rate},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(name, known[i].name) != 0) {
            continue;
        }
        if (known[i].text != NULL) {
            *known[i].text = value;
            return true;
        }
        return slice_to_int64(slice_of(value), known[i].number) && *known[i].number >= 0;
    }
    return false;
}

static void set_up(struct load *l)
{
    random_hex(l->run, 4);
    l->latency = calloc(LATENCY_STEPS, sizeof l->latency[0]);
    l->peers = calloc((size_t)l->o.connections, sizeof l->peers[0]);
    ASSERT(l->latency != NULL && l->peers != NULL);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)l->o.port)};
    if (l->epoll < 0 || inet_pton(AF_INET, l->o.host, &l->address.sin_addr) != 1) {
        die(l->o.host);
    }
    if (l->o.acked != NULL && (l->acked = fopen(l->o.acked, "w")) == NULL) {
        die(l->o.acked);
    }
    for (int64_t i = 0; i < l->o.connections; i++) {
        open_peer(l, &l->peers[i]);
    }
}

int main(int argc, char **argv)
{
    struct load l = {.o = {.host = "127.0.0.1", .path = "/webhook", .connections = 64}};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!read_option(&l.o, argv[i], argv[i + 1])) {
            fprintf(stderr, "ingress-load: bad option %s %s\n", argv[i], argv[i + 1]);
            return 2;
        }
    }
    if (l.o.body == NULL || l.o.secret == NULL || l.o.port == 0 || argc % 2 == 0 ||
        (l.o.requests == 0 && l.o.seconds == 0)) {
        fprintf(stderr, "ingress-load: --port, --body, --secret and --requests or --seconds\n");
        return 2;
    }
    make_request(&l);
    set_up(&l);
    run(&l);
    report(&l);
    if (l.acked != NULL && fclose(l.acked) != 0) {
        die(l.o.acked);
    }
    bool all_answered = l.failed == 0 && l.answered == l.started;
    free(l.peers);
    free(l.latency);
    buf_fini(&l.request);
    return all_answered ? 0 : 1;
}
