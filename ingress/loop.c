#include "ingress/loop.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/thread.h"
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
/* All methods, known to evhttp or not: this program answers them itself. */
#define ALL_METHODS 0xffff

/* --- accepting --- */

/* The loop of this thread: evhttp replaces the argument of its listener's callbacks with its own,
 * also for the error callback. */
static _Thread_local struct loop *this_loop;

static void pause_accepting(struct loop *l, const char *why)
{
    l->accepting = false;
    evconnlistener_disable(l->listener);
    stats_accept_paused(why);
}

static bool somebody_waits(const struct loop *l)
{
    struct pollfd p = {.fd = l->listener != NULL ? evconnlistener_get_fd(l->listener) : -1,
                       .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* At the limit idle and slow connections are closed, several at once: who holds all places with slow
 * requests takes new ones as fast as they are freed. */
static void resume_accepting(struct loop *l)
{
    bool full = l->conns.count >= l->bounds.connections && somebody_waits(l);
    for (size_t n = 0; full && n <= l->bounds.connections / EVICT_SHARE; n++) {
        full = conn_evict(&l->conns, clock_mono_ms());
    }
    if (l->listener != NULL && l->conns.count < l->bounds.connections &&
        clock_mono_ms() >= l->accept_ms) {
        l->accepting = true;
        evconnlistener_enable(l->listener);
    }
}

static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
    struct loop *l = arg;
    SSL *ssl = NULL;
    (void)base;
    if (l->shared.tls != NULL) {
        ssl = tls_session(l->shared.tls);
        ASSERT(ssl != NULL);
    }
    struct bufferevent *bev = conn_new(&l->conns, ssl);
    ASSERT(bev != NULL);
    if (l->conns.count >= l->bounds.connections && l->accepting) {
        pause_accepting(l, "connections");
        log_warn("accept_paused", LOG_STR("reason", "connections"),
                 LOG_INT("connections", (int64_t)l->conns.count));
    }
    return bev;
}

/* Out of descriptors or kernel memory: an immediate retry would only use the CPU. Established
 * connections are served; the kernel holds the rest. */
static void on_accept_error(struct evconnlistener *listener, void *evhttps)
{
    struct loop *l = this_loop;
    int errnum = errno;
    char text[128];
    (void)listener;
    (void)evhttps;
    pause_accepting(l, "descriptors");
    l->accept_ms = clock_mono_ms() + ACCEPT_PAUSE_MS;
    if (l->accept_logged_ms == 0 || l->accept_ms - l->accept_logged_ms >= ACCEPT_WARN_MS) {
        l->accept_logged_ms = l->accept_ms;
        log_warn("accept_paused", LOG_STR("reason", "descriptors"),
                 LOG_STR("error", strerror_r(errnum, text, sizeof text)),
                 LOG_INT("connections", (int64_t)l->conns.count),
                 LOG_STR("action", "accepting is retried every 100 ms"),
                 LOG_STR("hint", "raise the limit of open files (systemd: LimitNOFILE) or lower "
                                 "ingress.max_connections"));
    }
}

/* --- draining --- */

static bool is_drained(const struct loop *l)
{
    return l->draining && l->listener == NULL && l->conns.count == 0 && l->with_intake == 0 &&
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
    if (l->bound != NULL) {
        evhttp_del_accept_socket(l->http, l->bound);
        l->bound = NULL;
        l->listener = NULL;
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

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;
    (void)fd;
    (void)what;
    conn_adopt(&l->conns);
    conn_shed(&l->conns);
    request_admit_waiting(l);
    request_submit(l);
    conn_flush(&l->conns);
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
    stats_in_flight(intake_in_flight(l->shared.intake));
    on_turn(fd, what, arg);
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
    if (l->http != NULL) {
        evhttp_free(l->http); /* with its listener */
    }
    event_free(l->turn_event);
    if (l->tick_event != NULL) {
        event_free(l->tick_event);
    }
    if (l->mailbox_event != NULL) {
        event_free(l->mailbox_event);
    }
    if (l->reply != NULL) {
        evbuffer_free(l->reply);
    }
    event_base_free(l->base);
    conn_set_fini(&l->conns);
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
                                 c->admission_timeout_ms};
    for (size_t i = 0; i < COUNT_OF(deadlines); i++) {
        ms = deadlines[i] / 8 < ms ? deadlines[i] / 8 : ms;
    }
    ms = ms < 5 ? 5 : ms;
    return (struct timeval){.tv_sec = 0, .tv_usec = ms * 1000};
}

static void configure_http(struct loop *l, const struct config_ingress *c)
{
    evhttp_set_allowed_methods(l->http, ALL_METHODS);
    evhttp_set_max_headers_size(l->http, (ev_ssize_t)c->max_header_size_bytes);
    evhttp_set_max_body_size(l->http, (ev_ssize_t)c->max_body_size_bytes);
    evhttp_set_bevcb(l->http, on_accept, l);
    evhttp_set_gencb(l->http, request_handle, l);
}

/* On success the socket belongs to evhttp. */
static bool add_listener(struct loop *l, int listen_fd)
{
    l->listener = evconnlistener_new(l->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE, 0, listen_fd);
    if (l->listener == NULL) {
        return false;
    }
    l->bound = evhttp_bind_listener(l->http, l->listener);
    if (l->bound == NULL) {
        evconnlistener_free(l->listener);
        return false;
    }
    evconnlistener_set_error_cb(l->listener, on_accept_error);
    l->accepting = true;
    return true;
}

static bool create_events(struct loop *l)
{
    const struct config_ingress *c = &l->shared.config->ingress;
    struct timeval tick = tick_interval(c);
    l->reply = evbuffer_new();
    if (l->reply == NULL || (l->http = evhttp_new(l->base)) == NULL) {
        return false;
    }
    configure_http(l, c);
    l->mailbox_event =
        event_new(l->base, mailbox_fd(&l->mailbox), EV_READ | EV_PERSIST, on_mailbox, l);
    l->tick_event = event_new(l->base, -1, EV_PERSIST, on_tick, l);
    return l->mailbox_event != NULL && l->tick_event != NULL &&
           event_add(l->mailbox_event, NULL) == 0 && event_add(l->tick_event, &tick) == 0;
}

static void *run_loop(void *arg)
{
    struct loop *l = arg;
    this_loop = l;
    liveness_enter("an event loop", LOOP_STUCK_MS);
    int ended = event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
    liveness_leave();
    ASSERT(ended == 0 && is_drained(l));
    return NULL;
}

static struct loop *loop_new(const struct loop_shared *shared, const struct loop_bounds *bounds,
                             struct err *e)
{
    const struct config_ingress *c = &shared->config->ingress;
    const struct conn_limits limits = {.request_timeout_ms = c->request_timeout_ms,
                                       .idle_timeout_ms = c->idle_timeout_ms,
                                       .input_limit_bytes = (size_t)c->max_body_size_bytes +
                                                            (size_t)c->max_header_size_bytes +
                                                            65536,
                                       .held_limit_bytes = bounds->request_bytes};
    struct loop *l = calloc(1, sizeof *l);
    ASSERT(l != NULL);
    if (mailbox_init(&l->mailbox, e) != 0) {
        free(l);
        return NULL;
    }
    l->shared = *shared;
    l->bounds = *bounds;
    l->outgoing_last = &l->outgoing;
    TAILQ_INIT(&l->admission_queue);
    TAILQ_INIT(&l->waiting);
    buf_init(&l->text, REPLY_LIMIT_BYTES);
    l->base = new_base();
    l->turn_event = l->base != NULL ? event_new(l->base, -1, 0, on_turn, l) : NULL;
    ASSERT(l->turn_event != NULL);
    conn_set_init(&l->conns, l->base, l->turn_event, &limits);
    return l;
}

int loop_start(const struct loop_shared *shared, int listen_fd, const struct loop_bounds *bounds,
               struct loop **out, struct err *e)
{
    struct loop *l = loop_new(shared, bounds, e);
    if (l == NULL) {
        return -1;
    }
    if (!create_events(l) || !add_listener(l, listen_fd)) {
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
