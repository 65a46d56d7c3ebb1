#include "common/redis/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/cond.h"

#define PAUSE_BASE_MS 50
#define PAUSE_CAP_MS 2000

struct lent { /* a connection and the generation it was made in */
    struct redis_conn *conn;
    int64_t generation;
};

struct redis_pool {
    const struct redis_url *url;
    SSL_CTX *tls;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t given;
    struct lent *idle; /* a stack: the last used one is the likeliest to be alive */
    size_t idle_count;
    struct lent *out; /* in use by calls */
    size_t out_count;
    size_t connecting;
    int64_t generation; /* grows when the existing connections are to the wrong server */
    int failures;       /* consecutive failed connects */
    int64_t not_before; /* monotonic: when the next connect is allowed */
    char host[256];     /* of the cluster's redirection; "": the URL's */
    int port;
};

struct redis_pool *redis_pool_new(const struct redis_url *url, SSL_CTX *tls)
{
    struct redis_pool *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->url = url;
    p->tls = tls;
    p->idle = calloc(url->connections, sizeof *p->idle);
    p->out = calloc(url->connections, sizeof *p->out);
    ASSERT(p->idle != NULL && p->out != NULL);
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0);
    cond_init(&p->given);
    return p;
}

void redis_pool_free(struct redis_pool *p)
{
    if (p == NULL) {
        return;
    }
    ASSERT(p->out_count == 0 && p->connecting == 0);
    for (size_t i = 0; i < p->idle_count; i++) {
        redis_conn_close(p->idle[i].conn);
    }
    SSL_CTX_free(p->tls);
    pthread_cond_destroy(&p->given);
    pthread_mutex_destroy(&p->lock);
    free(p->idle);
    free(p->out);
    free(p);
}

/* --- connecting --- */
/* The present address. host: a buffer for a copy, since another thread may change it. */
static struct redis_place present_address(const struct redis_pool *p, char *host, size_t size)
{
    bool moved = p->host[0] != '\0';
    (void)snprintf(host, size, "%s", moved ? p->host : p->url->host);
    return (struct redis_place){p->url, p->tls, host, moved ? p->port : p->url->port};
}

static int pause_error(const struct redis_pool *p, int64_t left_ms, struct err *e)
{
    (void)err_set(e, ERR_RETRY, ECONNREFUSED,
                  "Redis at %s is unreachable; the next attempt is in %lld ms",
                  p->url->socket[0] != '\0' ? p->url->socket : p->url->host, (long long)left_ms);
    e->retry_after_ms = left_ms;
    return -1;
}

static void record_connect(struct redis_pool *p, bool connected)
{
    if (connected) {
        p->failures = 0;
        p->not_before = 0;
        return;
    }
    p->failures++;
    p->host[0] = '\0'; /* the redirection's target may be down */
    p->not_before =
        clock_mono_ms() + backoff_full_jitter_ms(PAUSE_BASE_MS, PAUSE_CAP_MS, p->failures);
}

/* Under the lock, which it releases while it connects. */
static int connect_new(struct redis_pool *p, int64_t deadline_mono, struct lent *out, struct err *e)
{
    char host[256];
    int64_t pause = p->not_before - clock_mono_ms();
    if (pause > 0) {
        return pause_error(p, pause, e);
    }
    struct redis_place place = present_address(p, host, sizeof host);
    out->generation = p->generation;
    p->connecting++;
    pthread_mutex_unlock(&p->lock);
    int rc = redis_conn_open(&place, deadline_mono, &out->conn, e);
    pthread_mutex_lock(&p->lock);
    p->connecting--;
    record_connect(p, rc == 0);
    return rc;
}

int redis_pool_connect(struct redis_pool *p, int64_t deadline_mono, struct redis_conn **out,
                       struct err *e)
{
    char host[256];
    pthread_mutex_lock(&p->lock);
    struct redis_place place = present_address(p, host, sizeof host);
    pthread_mutex_unlock(&p->lock);
    return redis_conn_open(&place, deadline_mono, out, e);
}

/* --- borrowing --- */
static bool pop_idle(struct redis_pool *p, struct lent *out)
{
    while (p->idle_count > 0) {
        struct lent top = p->idle[--p->idle_count];
        if (top.generation == p->generation && !redis_conn_stale(top.conn)) {
            *out = top;
            return true;
        }
        redis_conn_close(top.conn);
    }
    return false;
}

static int wait_for_one(struct redis_pool *p, int64_t deadline_mono, struct err *e)
{
    int64_t left = deadline_mono - clock_mono_ms();
    if (left <= 0) {
        return err_set(e, ERR_RETRY, ETIMEDOUT,
                       "all %zu connections to Redis are in use; raise connections in its URL",
                       p->url->connections);
    }
    (void)cond_wait_until(&p->given, &p->lock, cond_deadline_us(left));
    return 0;
}

static int borrow_locked(struct redis_pool *p, int64_t deadline_mono, struct lent *out,
                         struct err *e)
{
    for (;;) {
        if (pop_idle(p, out)) {
            return 0;
        }
        if (p->out_count + p->connecting < p->url->connections) {
            return connect_new(p, deadline_mono, out, e);
        }
        if (wait_for_one(p, deadline_mono, e) != 0) {
            return -1;
        }
    }
}

int redis_pool_take(struct redis_pool *p, int64_t deadline_mono, struct redis_conn **out,
                    struct err *e)
{
    struct lent one = {0};
    pthread_mutex_lock(&p->lock);
    int rc = borrow_locked(p, deadline_mono, &one, e);
    if (rc == 0) {
        p->out[p->out_count++] = one;
        *out = one.conn;
    } else {
        pthread_cond_signal(&p->given);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void redis_pool_give(struct redis_pool *p, struct redis_conn *c, bool broken)
{
    pthread_mutex_lock(&p->lock);
    size_t i = 0;
    while (i < p->out_count && p->out[i].conn != c) {
        i++;
    }
    ASSERT(i < p->out_count);
    struct lent one = p->out[i];
    p->out[i] = p->out[--p->out_count];
    broken = broken || one.generation != p->generation;
    if (!broken) {
        p->idle[p->idle_count++] = one;
    }
    pthread_cond_signal(&p->given);
    pthread_mutex_unlock(&p->lock);
    if (broken) {
        redis_conn_close(c);
    }
}

/* --- other servers --- */
bool redis_pool_move(struct redis_pool *p, struct slice moved)
{
    struct slice word;
    struct slice rest;
    struct slice slot;
    struct slice where;
    int64_t port;
    char host[sizeof p->host];
    if (!slice_cut(moved, ' ', &word, &rest) || !slice_eq_cstr(word, "MOVED") ||
        !slice_cut(rest, ' ', &slot, &where)) {
        return false;
    }
    size_t colon = where.len; /* the last one: an IPv6 address holds others */
    while (colon > 0 && where.ptr[colon - 1] != ':') {
        colon--;
    }
    if (colon < 1 || !slice_to_int64((struct slice){where.ptr + colon, where.len - colon}, &port) ||
        port < 1 || port > 65535 ||
        !slice_to_cstr((struct slice){where.ptr, colon - 1}, host, sizeof host)) {
        return false;
    }
    pthread_mutex_lock(&p->lock);
    p->generation++;
    p->port = (int)port;
    /* An empty host means the server that sent the redirection. */
    if (host[0] != '\0' || p->host[0] == '\0') {
        (void)snprintf(p->host, sizeof p->host, "%s", host[0] != '\0' ? host : p->url->host);
    }
    pthread_mutex_unlock(&p->lock);
    return true;
}

void redis_pool_renew(struct redis_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->generation++;
    p->host[0] = '\0';
    pthread_mutex_unlock(&p->lock);
}
