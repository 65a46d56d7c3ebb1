#include "ingress/loop.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "ingress/exchange.h"
#include "ingress/loop_internal.h"
#include "ingress/stats.h"

#define EVICT_SHARE 16 /* of the places, at once */
#define REPLY_LIMIT_BYTES 1024
#define TICK_MAX_MS 250
/* A turn takes milliseconds. */
#define LOOP_STUCK_MS (30 * 1000)
/* The grace period of a connection that has sent nothing yet, from the beginning of the drain. */
#define DRAIN_GRACE_MS 1000
/* After a failed accept, and between two warnings about it. */
#define ACCEPT_PAUSE_MS 100
#define ACCEPT_WARN_MS (60 * 1000)
/* In one turn of the loop. */
#define ACCEPT_MAX 64
#define HEADERS_MAX 128

/* --- accepting --- */

static void pause_accepting(struct loop *l, const char *why)
{
    l->accepting = false;
    (void)event_del(l->accept_event);
    stats_accept_paused(why);
}

static bool somebody_waits(const struct loop *l)
{
    struct pollfd p = {.fd = l->listen_fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static bool has_place(const struct loop *l)
{
    return l->conns.count < l->bounds.connections;
}

/* At the limit others give way, several at once: who holds all places with slow requests takes new
 * ones as fast as they are freed. */
static bool make_place(struct loop *l)
{
    for (size_t n = 0; !has_place(l) || n <= l->bounds.connections / EVICT_SHARE; n++) {
        if (!conn_evict(&l->conns, clock_mono_ms())) {
            break;
        }
    }
    return has_place(l);
}

static void resume_accepting(struct loop *l)
{
    bool may_accept = l->listen_fd >= 0 && clock_mono_ms() >= l->accept_ms;
    if (may_accept && (has_place(l) || (somebody_waits(l) && make_place(l)))) {
        l->accepting = true;
        (void)event_add(l->accept_event, NULL);
    }
}

static void warn_of_descriptors(struct loop *l, int errnum)
{
    char text[128];
    int64_t now_ms = clock_mono_ms();
    if (l->accept_logged_ms == 0 || now_ms - l->accept_logged_ms >= ACCEPT_WARN_MS) {
        l->accept_logged_ms = now_ms;
        log_warn("accept_paused", LOG_STR("reason", "descriptors"),
                 LOG_STR("error", strerror_r(errnum, text, sizeof text)),
                 LOG_INT("connections", (int64_t)l->conns.count),
                 LOG_STR("action", "a connection gives way for each new one; where none can, "
                                   "accepting is retried every 100 ms"),
                 LOG_STR("hint", "raise the limit of open files (systemd: LimitNOFILE) or lower "
                                 "ingress.max_connections"));
    }
}

/* Out of descriptors or kernel memory. One connection gives way, as at the limit; where that does not
 * help, an immediate retry would only use the CPU. Established connections are served; the kernel
 * holds the rest. */
static int accept_without_descriptors(struct loop *l, struct sockaddr_storage *from,
                                      socklen_t *size)
{
    int fd = -1;
    warn_of_descriptors(l, errno);
    if (conn_evict(&l->conns, clock_mono_ms())) {
        fd = accept4(l->listen_fd, (struct sockaddr *)from, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    if (fd < 0) {
        pause_accepting(l, "descriptors");
        l->accept_ms = clock_mono_ms() + ACCEPT_PAUSE_MS;
    }
    return fd;
}

static void rest_at_limit(struct loop *l)
{
    pause_accepting(l, "connections");
    log_warn("accept_paused", LOG_STR("reason", "connections"),
             LOG_INT("connections", (int64_t)l->conns.count));
}

/* The peer may have gone before it was accepted (accept(2)). */
static bool is_of_this_peer(int errnum)
{
    return errnum == ECONNABORTED || errnum == EINTR || errnum == EPROTO || errnum == ENETDOWN ||
           errnum == EHOSTDOWN || errnum == EHOSTUNREACH || errnum == ENETUNREACH;
}

static void take_connection(struct loop *l, int fd, const struct sockaddr *from, socklen_t size)
{
    SSL *ssl = l->shared.tls != NULL ? tls_session(l->shared.tls) : NULL;
    struct ip_address peer;
    uint16_t port;
    ASSERT(ip_address_of(from, size, &peer, &port));
    conn_new(&l->conns, fd, ssl, &peer, peers_is_proxy(l->shared.peers, &peer));
}

/* Whether there may be more. */
static bool accept_one(struct loop *l)
{
    if (!has_place(l)) {
        if (!somebody_waits(l)) {
            return false;
        }
        if (!make_place(l)) {
            rest_at_limit(l);
            return false;
        }
    }
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    int fd = accept4(l->listen_fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN) {
        return false;
    }
    if (fd < 0 && !is_of_this_peer(errno)) {
        fd = accept_without_descriptors(l, &from, &size);
        if (fd < 0) {
            return false;
        }
    }
    if (fd >= 0) {
        take_connection(l, fd, (const struct sockaddr *)&from, size);
    }
    return true;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    (void)fd;
    (void)what;
    for (int n = 0; n < ACCEPT_MAX && accept_one(l); n++) {
    }
}

/* --- draining --- */

static bool is_drained(const struct loop *l)
{
    return l->draining && l->listen_fd < 0 && l->conns.count == 0 && l->with_intake == 0 &&
           l->admission_queue_length == 0;
}

static void begin_drain(struct loop *l, int64_t ms)
{
    l->draining = true;
    l->drain_until_ms = clock_mono_ms() + ms;
    /* The listener closes at the end of this turn, after it has accepted what the kernel holds. */
    event_active(l->turn_event, 0, 0);
}

static void close_listener(struct loop *l)
{
    if (l->listen_fd >= 0) {
        (void)event_del(l->accept_event);
        (void)close(l->listen_fd);
        l->listen_fd = -1;
    }
}

static void continue_drain(struct loop *l, int64_t now_ms)
{
    close_listener(l);
    conn_close_idle(&l->conns, now_ms, DRAIN_GRACE_MS);
    if (now_ms >= l->drain_until_ms) {
        conn_close_all(&l->conns);
    }
    if (is_drained(l)) {
        event_base_loopbreak(l->base);
    }
}

/* --- the loop's events --- */

const char *loop_date(struct loop *l)
{
    time_t now = time(NULL);
    if (now != l->date_s) {
        struct tm tm;
        l->date_s = now;
        (void)strftime(l->date, sizeof l->date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    }
    return l->date;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    (void)fd;
    (void)what;
    request_admit_waiting(l);
    request_submit(l);
    conn_reap(&l->conns);
    if (l->draining) {
        continue_drain(l, clock_mono_ms());
    } else if (!l->accepting) {
        resume_accepting(l);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    liveness_beat();
    conn_expire(&l->conns, clock_mono_ms());
    request_expire(l, clock_mono_us());
    intake_tick(l->shared.intake);
    stats_in_flight(intake_in_flight(l->shared.intake));
    on_turn(fd, what, arg);
    conn_trim(&l->conns);
}

static void on_mailbox(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    struct delivery *d = mailbox_take(&l->mailbox);
    int64_t drain_ms = __atomic_load_n(&l->drain_ms, __ATOMIC_ACQUIRE);
    (void)fd;
    (void)what;
    while (d != NULL) {
        struct delivery *next = d->next;
        request_finish(l, (struct pending *)d);
        d = next;
    }
    if (drain_ms > 0 && !l->draining) {
        begin_drain(l, drain_ms);
    }
    event_active(l->turn_event, 0, 0);
}

/* --- lifetime --- */

static void loop_free(struct loop *l)
{
    conn_set_fini(&l->conns);
    if (l->accept_event != NULL) {
        event_free(l->accept_event);
    }
    if (l->listen_fd >= 0) {
        (void)close(l->listen_fd);
    }
    event_free(l->turn_event);
    if (l->tick_event != NULL) {
        event_free(l->tick_event);
    }
    if (l->mailbox_event != NULL) {
        event_free(l->mailbox_event);
    }
    event_base_free(l->base);
    buf_fini(&l->text);
    mailbox_fini(&l->mailbox);
    free(l);
}

/* Only one thread uses the loop's base, so it needs no locks. (libevent's change list would save
 * calls on TLS connections, but it calls epoll for descriptors that are already closed, and another
 * loop may have reused the number.) */
static struct event_base *new_base(void)
{
    struct event_base *base = NULL;
    struct event_config *config = event_config_new();
    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config != NULL) {
        event_config_free(config);
    }
    return base;
}

static struct timeval tick_interval(const struct config_ingress *c)
{
    int64_t ms = TICK_MAX_MS;
    const int64_t deadlines[] = {c->request_timeout_ms, c->idle_timeout_ms, c->enqueue_timeout_ms,
                                 c->admission_timeout_ms, c->head_timeout_ms};
    for (size_t i = 0; i < COUNT_OF(deadlines); i++) {
        ms = deadlines[i] / 8 < ms ? deadlines[i] / 8 : ms;
    }
    ms = ms < 5 ? 5 : ms;
    return (struct timeval){.tv_sec = 0, .tv_usec = ms * 1000};
}

static bool create_events(struct loop *l)
{
    const struct config_ingress *c = &l->shared.config->ingress;
    struct timeval tick = tick_interval(c);
    l->accept_event = event_new(l->base, l->listen_fd, EV_READ | EV_PERSIST, on_accept, l);
    l->mailbox_event =
        event_new(l->base, mailbox_fd(&l->mailbox), EV_READ | EV_PERSIST, on_mailbox, l);
    l->tick_event = event_new(l->base, -1, EV_PERSIST, on_tick, l);
    l->accepting = true;
    return l->accept_event != NULL && l->mailbox_event != NULL && l->tick_event != NULL &&
           event_add(l->accept_event, NULL) == 0 && event_add(l->mailbox_event, NULL) == 0 &&
           event_add(l->tick_event, &tick) == 0;
}

static void *run_loop(void *arg)
{
    struct loop *l = arg;
    liveness_enter("an event loop", LOOP_STUCK_MS);
    int ended = event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
    liveness_leave();
    ASSERT(ended == 0 && is_drained(l));
    return NULL;
}

static struct conn_limits limits_of(const struct config_ingress *c,
                                    const struct loop_bounds *bounds)
{
    return (struct conn_limits){
        .head_timeout_ms =
            c->head_timeout_ms < c->request_timeout_ms ? c->head_timeout_ms : c->request_timeout_ms,
        .request_timeout_ms = c->request_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .connections = bounds->connections,
        .held_bytes = (size_t)c->max_unverified_memory_bytes,
        .http = {.head_bytes = (size_t)c->max_header_size_bytes,
                 .headers = HEADERS_MAX,
                 .body_bytes = (size_t)c->max_body_size_bytes,
                 .host_is_needed = true},
    };
}

static struct loop *loop_new(const struct loop_shared *shared, int listen_fd,
                             const struct loop_bounds *bounds, struct err *e)
{
    const struct conn_limits limits = limits_of(&shared->config->ingress, bounds);
    struct loop *l = calloc(1, sizeof *l);
    ASSERT(l != NULL);
    if (mailbox_init(&l->mailbox, e) != 0) {
        free(l);
        return NULL;
    }
    l->shared = *shared;
    l->bounds = *bounds;
    l->listen_fd = listen_fd;
    l->outgoing_last = &l->outgoing;
    TAILQ_INIT(&l->admission_queue);
    TAILQ_INIT(&l->waiting);
    buf_init(&l->text, REPLY_LIMIT_BYTES);
    l->base = new_base();
    l->turn_event = l->base != NULL ? event_new(l->base, -1, 0, on_turn, l) : NULL;
    ASSERT(l->turn_event != NULL);
    conn_set_init(&l->conns, l->base, l->turn_event, &limits, peers_shares(l->shared.peers),
                  &exchange_handler, l);
    return l;
}

int loop_start(const struct loop_shared *shared, int listen_fd, const struct loop_bounds *bounds,
               struct loop **out, struct err *e)
{
    struct loop *l = loop_new(shared, listen_fd, bounds, e);
    if (l == NULL) {
        (void)close(listen_fd);
        return -1;
    }
    if (!create_events(l)) {
        loop_free(l);
        return err_set(e, ERR_CAPACITY, 0, "an event loop could not be set up");
    }
    if (thread_start(&l->thread, "an event loop's thread", run_loop, l, e) != 0) {
        loop_free(l);
        return -1;
    }
    *out = l;
    return 0;
}

void loop_drain(struct loop *l, int64_t timeout_ms)
{
    /* Never 0, which means "no drain requested". */
    __atomic_store_n(&l->drain_ms, timeout_ms + 1, __ATOMIC_RELEASE);
    mailbox_wake(&l->mailbox);
}

void loop_join(struct loop *l)
{
    if (l != NULL) {
        pthread_join(l->thread, NULL);
        loop_free(l);
    }
}
