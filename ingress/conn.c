#include "ingress/conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "common/base/clock.h"
#include "ingress/stats.h"

#define EVICT_AFTER_MS 1000

/* edges[from] holds a bit for each state that may follow. */
#define TO(state) (1U << (state))
static const unsigned edges[CONN_STATES] = {
    [CONN_IDLE] = TO(CONN_READING) | TO(CONN_CLOSED),
    [CONN_READING] = TO(CONN_ANSWERING) | TO(CONN_CLOSED),
    [CONN_ANSWERING] = TO(CONN_WRITING) | TO(CONN_CLOSED),
    [CONN_WRITING] = TO(CONN_IDLE) | TO(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

void conn_set_init(struct conn_set *set, const struct conn_limits *limits,
                   void (*on_gone)(void *arg, struct conn *c), void *arg)
{
    *set = (struct conn_set){.limits = *limits, .on_gone = on_gone, .arg = arg};
    for (size_t i = 0; i < CONN_STATES; i++) {
        TAILQ_INIT(&set->in_state[i]);
    }
    TAILQ_INIT(&set->newborn);
}

void conn_set_fini(struct conn_set *set)
{
    ASSERT(set->count == 0);
    free(set->by_fd);
    set->by_fd = NULL;
}

void conn_set_state(struct conn *c, enum conn_state next)
{
    ASSERT((edges[c->state] & TO(next)) != 0);
    TAILQ_REMOVE(&c->set->in_state[c->state], c, link);
    c->state = next;
    c->since_ms = clock_mono_ms();
    TAILQ_INSERT_TAIL(&c->set->in_state[next], c, link);
}

/* The input buffer of a connection changed: a first byte begins a request, and a peer that sends
 * far ahead of its answers is cut off. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;
    if (info->n_added == 0 || c->fd < 0) {
        return;
    }
    if (c->state == CONN_IDLE) {
        conn_set_state(c, CONN_READING);
    }
    if (evbuffer_get_length(input) > c->set->limits.input_limit_bytes) {
        /* Not closed from inside its own buffer: no more is read, and the deadline ends it. */
        bufferevent_disable(c->bev, EV_READ);
    }
}

static void destroy(struct conn *c)
{
    struct conn_set *set = c->set;
    set->count--;
    stats_connections(-1);
    set->on_gone(set->arg, c);
    free(c);
}

/* evhttp ends the connection: the one exit. */
static void conn_on_close(struct evhttp_connection *evcon, void *arg)
{
    struct conn *c = arg;
    (void)evcon;
    conn_set_state(c, CONN_CLOSED);
    TAILQ_REMOVE(&c->set->in_state[CONN_CLOSED], c, link);
    ASSERT(c->set->by_fd[c->fd] == c);
    c->set->by_fd[c->fd] = NULL;
    destroy(c);
}

struct bufferevent *conn_new(struct conn_set *set, struct event_base *base, SSL *ssl)
{
    struct bufferevent *bev =
        ssl != NULL ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                     BEV_OPT_CLOSE_ON_FREE)
                    : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    struct conn *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    if (bev == NULL || evbuffer_add_cb(bufferevent_get_input(bev), on_input, c) == NULL) {
        free(c);
        if (bev != NULL) {
            bufferevent_free(bev);
        } else {
            SSL_free(ssl);
        }
        return NULL;
    }
    if (ssl != NULL) {
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    }
    *c = (struct conn){
        .set = set, .bev = bev, .fd = -1, .since_ms = clock_mono_ms(), .plain = ssl == NULL};
    /* Held until adopted, in case evhttp gives up in between. */
    bufferevent_incref(bev);
    TAILQ_INSERT_TAIL(&set->newborn, c, link);
    set->count++;
    stats_connections(1);
    return bev;
}

static void index_by_fd(struct conn *c)
{
    struct conn_set *set = c->set;
    size_t fd = (size_t)c->fd;
    if (fd >= set->by_fd_size) {
        size_t size = set->by_fd_size == 0 ? 256 : set->by_fd_size;
        while (size <= fd) {
            size *= 2;
        }
        struct conn **bigger = calloc(size, sizeof(struct conn *));
        ASSERT(bigger != NULL);
        for (size_t i = 0; i < set->by_fd_size; i++) {
            bigger[i] = set->by_fd[i];
        }
        free(set->by_fd);
        set->by_fd = bigger;
        set->by_fd_size = size;
    }
    ASSERT(set->by_fd[fd] == NULL);
    set->by_fd[fd] = c;
}

void conn_adopt(struct conn_set *set)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&set->newborn)) != NULL) {
        bufferevent_event_cb on_event = NULL;
        void *evcon = NULL;
        struct bufferevent *bev = c->bev;
        TAILQ_REMOVE(&set->newborn, c, link);
        /* evhttp offers no callback for a new connection; its own callbacks on the bufferevent
         * have the connection as their argument, and none are set when it has let go of it. */
        bufferevent_getcb(bev, NULL, NULL, &on_event, &evcon);
        if (on_event == NULL) {
            bufferevent_decref(bev);
            destroy(c);
            continue;
        }
        c->fd = (int)bufferevent_getfd(bev);
        ASSERT(c->fd >= 0 && evhttp_connection_get_bufferevent(evcon) == bev);
        evhttp_connection_set_closecb(evcon, conn_on_close, c);
        index_by_fd(c);
        TAILQ_INSERT_TAIL(&set->in_state[CONN_IDLE], c, link);
        bufferevent_decref(bev);
        if (evbuffer_get_length(bufferevent_get_input(bev)) > 0) {
            conn_set_state(c, CONN_READING);
        }
    }
}

struct conn *conn_of(const struct conn_set *set, struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    if (evcon == NULL) {
        return NULL;
    }
    int fd = (int)bufferevent_getfd(evhttp_connection_get_bufferevent(evcon));
    return fd >= 0 && (size_t)fd < set->by_fd_size ? set->by_fd[fd] : NULL;
}

void conn_close(struct conn *c, const char *why)
{
    stats_closed(why);
    /* evhttp takes a timeout as the end of the connection in every state; it frees all that is
     * its own, and comes back by conn_on_close. */
    bufferevent_trigger_event(c->bev, BEV_EVENT_READING | BEV_EVENT_TIMEOUT, 0);
}

static void expire_list(struct conn_list *list, int64_t before_ms, const char *why)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(list)) != NULL && c->since_ms <= before_ms) {
        conn_close(c, why);
    }
}

void conn_expire(struct conn_set *set, int64_t now_ms)
{
    int64_t request_ms = now_ms - set->limits.request_timeout_ms;
    expire_list(&set->in_state[CONN_READING], request_ms, "deadline");
    expire_list(&set->in_state[CONN_WRITING], request_ms, "deadline");
    expire_list(&set->in_state[CONN_IDLE], now_ms - set->limits.idle_timeout_ms, "idle");
}

/* Whether bytes wait in the kernel that the loop has not read yet. */
static bool has_unread(const struct conn *c)
{
    int unread = 0;
    return ioctl(c->fd, FIONREAD, &unread) == 0 && unread > 0;
}

void conn_close_idle(struct conn_set *set, int64_t now_ms, int64_t grace_ms)
{
    struct conn *c = TAILQ_FIRST(&set->in_state[CONN_IDLE]);
    while (c != NULL) {
        struct conn *next = TAILQ_NEXT(c, link);
        bool fresh = c->served == 0 && now_ms - c->since_ms < grace_ms;
        if (!fresh && !has_unread(c)) {
            conn_close(c, "drain");
        }
        c = next;
    }
}

bool conn_evict(struct conn_set *set, int64_t now_ms)
{
    struct conn *c = TAILQ_FIRST(&set->in_state[CONN_IDLE]);
    if (c == NULL || now_ms - c->since_ms < EVICT_AFTER_MS || has_unread(c)) {
        return false;
    }
    conn_close(c, "evicted");
    return true;
}

void conn_close_all(struct conn_set *set)
{
    conn_adopt(set);
    for (size_t i = 0; i < CONN_CLOSED; i++) {
        struct conn *c;
        while ((c = TAILQ_FIRST(&set->in_state[i])) != NULL) {
            conn_close(c, "drain");
        }
    }
}
