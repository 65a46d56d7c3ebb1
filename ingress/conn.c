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
    [CONN_READING] = TO(CONN_PROCESSING) | TO(CONN_CLOSED),
    [CONN_PROCESSING] = TO(CONN_WRITING) | TO(CONN_CLOSED),
    [CONN_WRITING] = TO(CONN_IDLE) | TO(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

#define BUCKETS_MIN 64

void conn_set_init(struct conn_set *set, struct event_base *base, struct event *turn,
                   const struct conn_limits *limits)
{
    *set = (struct conn_set){.base = base, .turn = turn, .limits = *limits};
    for (size_t i = 0; i < CONN_STATES; i++) {
        TAILQ_INIT(&set->in_state[i]);
    }
    TAILQ_INIT(&set->newborn);
    TAILQ_INIT(&set->unsent);
}

void conn_set_fini(struct conn_set *set)
{
    ASSERT(set->count == 0);
    free(set->buckets);
    set->buckets = NULL;
}

/* --- from evhttp's connection to struct conn --- */

static struct conn **conn_bucket(const struct conn_set *set, const struct evhttp_connection *evcon)
{
    /* Allocations of that size are some hundred bytes apart. */
    uint64_t hash = ((uint64_t)(uintptr_t)evcon >> 4) * 0x9e3779b97f4a7c15U;
    return &set->buckets[(hash >> 32) & (set->bucket_count - 1)];
}

static void add_to_bucket(struct conn_set *set, struct conn *c)
{
    struct conn **bucket = conn_bucket(set, c->evcon);
    c->hash_next = *bucket;
    *bucket = c;
}

static void grow_buckets(struct conn_set *set)
{
    size_t old_count = set->bucket_count;
    struct conn **old = set->buckets;
    set->bucket_count = old_count == 0 ? BUCKETS_MIN : old_count * 2;
    set->buckets = calloc(set->bucket_count, sizeof(struct conn *));
    ASSERT(set->buckets != NULL);
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct conn *c = old[i];
            old[i] = c->hash_next;
            add_to_bucket(set, c);
        }
    }
    free(old);
}

static void remove_from_bucket(struct conn *c)
{
    struct conn **at = conn_bucket(c->set, c->evcon);
    while (*at != c) {
        ASSERT(*at != NULL);
        at = &(*at)->hash_next;
    }
    *at = c->hash_next;
}

struct conn *conn_of(const struct conn_set *set, struct evhttp_request *req)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    struct conn *c = evcon != NULL && set->bucket_count > 0 ? *conn_bucket(set, evcon) : NULL;
    while (c != NULL && c->evcon != evcon) {
        c = c->hash_next;
    }
    return c;
}

/* --- states --- */

static void hold(struct conn *c, size_t bytes)
{
    c->set->held = c->set->held - c->held + bytes;
    c->held = bytes;
    if (c->set->held > c->set->limits.held_limit_bytes) {
        event_active(c->set->turn, 0, 0);
    }
}

void conn_set_state(struct conn *c, enum conn_state next)
{
    ASSERT((edges[c->state] & TO(next)) != 0);
    TAILQ_REMOVE(&c->set->in_state[c->state], c, link);
    c->state = next;
    c->since_ms = clock_mono_ms();
    TAILQ_INSERT_TAIL(&c->set->in_state[next], c, link);
    if (next == CONN_IDLE) {
        hold(c, evbuffer_get_length(bufferevent_get_input(c->bev)));
        c->has_nul = false;
        conn_io_resume(c);
    }
}

/* Neither HTTP's framing nor JSON nor a form contains NUL bytes, but evhttp would end a header
 * there. */
static bool has_nul_behind(struct evbuffer *input, size_t offset)
{
    struct evbuffer_ptr from;
    return evbuffer_ptr_set(input, &from, offset, EVBUFFER_PTR_SET) == 0 &&
           evbuffer_search(input, "", 1, &from).pos >= 0;
}

/* The first byte begins a request, whoever has read it. */
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;
    if (info->n_added == 0 || c->fd < 0) {
        return;
    }
    if (c->state == CONN_IDLE) {
        conn_set_state(c, CONN_READING);
    }
    hold(c, c->held + info->n_added);
    c->has_nul = c->has_nul || has_nul_behind(input, info->orig_size - info->n_deleted);
    if (!c->plain && evbuffer_get_length(input) > c->set->limits.input_limit_bytes) {
        /* The peer sends far ahead of its answers. It is not closed from inside its own buffer
         * callback: reading stops, and the deadline closes it. */
        bufferevent_disable(c->bev, EV_READ);
    }
}

/* evhttp has output. */
static void on_output(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;
    (void)output;
    if (info->n_added > 0 && !c->unsent) {
        c->unsent = true;
        TAILQ_INSERT_TAIL(&c->set->unsent, c, unsent_link);
        event_active(c->set->turn, 0, 0);
    }
}

/* --- creation and end --- */

static void free_conn(struct conn *c)
{
    struct conn_set *set = c->set;
    if (c->unsent) {
        TAILQ_REMOVE(&set->unsent, c, unsent_link);
    }
    hold(c, 0);
    set->count--;
    stats_connections(-1);
    if (c->watcher != NULL) {
        *c->watcher = NULL;
    }
    /* The loop may accept again, or is drained. */
    event_active(set->turn, 0, 0);
    free(c);
}

/* evhttp ends the connection: the only exit. */
static void conn_on_close(struct evhttp_connection *evcon, void *arg)
{
    struct conn *c = arg;
    (void)evcon;
    conn_set_state(c, CONN_CLOSED);
    TAILQ_REMOVE(&c->set->in_state[CONN_CLOSED], c, link);
    remove_from_bucket(c);
    conn_io_close(c);
    free_conn(c);
}

static struct bufferevent *new_bufferevent(struct conn_set *set, SSL *ssl, struct conn *c)
{
    struct bufferevent *bev =
        ssl != NULL ? bufferevent_openssl_socket_new(set->base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                                     BEV_OPT_CLOSE_ON_FREE)
                    : bufferevent_socket_new(set->base, -1, 0);
    if (bev == NULL) {
        SSL_free(ssl);
        return NULL;
    }
    if (evbuffer_add_cb(bufferevent_get_input(bev), on_input, c) == NULL ||
        (ssl == NULL && evbuffer_add_cb(bufferevent_get_output(bev), on_output, c) == NULL)) {
        bufferevent_free(bev);
        return NULL;
    }
    if (ssl != NULL) {
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    }
    return bev;
}

struct bufferevent *conn_new(struct conn_set *set, SSL *ssl)
{
    struct conn *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    *c = (struct conn){.set = set, .fd = -1, .since_ms = clock_mono_ms(), .plain = ssl == NULL};
    c->bev = new_bufferevent(set, ssl, c);
    if (c->bev == NULL) {
        free(c);
        return NULL;
    }
    /* A reference until adopted, in case evhttp frees it in between. */
    bufferevent_incref(c->bev);
    TAILQ_INSERT_TAIL(&set->newborn, c, link);
    set->count++;
    stats_connections(1);
    event_active(set->turn, 0, 0);
    return c->bev;
}

/* evhttp has no callback for a new connection; but its own callbacks on the bufferevent have its
 * connection as their argument, and none are set once it has freed it. */
static bool find_evcon(struct conn *c)
{
    bufferevent_event_cb on_event = NULL;
    void *evcon = NULL;
    bufferevent_getcb(c->bev, NULL, NULL, &on_event, &evcon);
    if (on_event == NULL) {
        return false;
    }
    ASSERT(evhttp_connection_get_bufferevent(evcon) == c->bev);
    c->evcon = evcon;
    return true;
}

static void adopt_conn(struct conn *c)
{
    struct conn_set *set = c->set;
    c->fd = (int)bufferevent_getfd(c->bev);
    ASSERT(c->fd >= 0);
    if (set->count > set->bucket_count) {
        grow_buckets(set);
    }
    add_to_bucket(set, c);
    evhttp_connection_set_closecb(c->evcon, conn_on_close, c);
    TAILQ_INSERT_TAIL(&set->in_state[CONN_IDLE], c, link);
    if (c->plain && !conn_io_open(c)) {
        conn_close(c, "memory");
    }
}

void conn_adopt(struct conn_set *set)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&set->newborn)) != NULL) {
        struct bufferevent *bev = c->bev;
        TAILQ_REMOVE(&set->newborn, c, link);
        ASSERT(TAILQ_FIRST(&set->newborn) != c);
        if (find_evcon(c)) {
            adopt_conn(c);
        } else {
            free_conn(c);
        }
        bufferevent_decref(bev);
    }
}

void conn_close(struct conn *c, const char *why)
{
    stats_closed(why);
    /* evhttp treats a timeout as the end of the connection in every state; it frees its own
     * objects, and calls conn_on_close. */
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

/* Whether the kernel holds bytes that the loop has not read yet. */
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
        c = TAILQ_FIRST(&set->in_state[CONN_READING]);
    }
    if (c == NULL || now_ms - c->since_ms < EVICT_AFTER_MS) {
        return false;
    }
    conn_close(c, "evicted");
    return true;
}

void conn_shed(struct conn_set *set)
{
    struct conn *c;
    while (set->held > set->limits.held_limit_bytes &&
           (c = TAILQ_FIRST(&set->in_state[CONN_READING])) != NULL) {
        conn_close(c, "memory");
    }
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
