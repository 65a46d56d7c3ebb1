/*
 * Wrappers of the queue's front: see calls.h. Each call's arguments begin with the handle's URL,
 * except for calls on received messages.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/queue/queue.h"
#include "tests/lib/calls.h"

int __real_queue_open(const char *url, struct queue **out, struct err *e);
int __wrap_queue_open(const char *url, struct queue **out, struct err *e);
void __real_queue_close(struct queue *q);
void __wrap_queue_close(struct queue *q);
int __real_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);
int __wrap_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);
int __real_queue_find(struct queue *q, const char *key, size_t max, struct queue_entry **out,
                      size_t *n, struct err *e);
int __wrap_queue_find(struct queue *q, const char *key, size_t max, struct queue_entry **out,
                      size_t *n, struct err *e);
int __real_queue_depths(struct queue *q, const char *lane, struct queue_depth **out, size_t *n,
                        struct err *e);
int __wrap_queue_depths(struct queue *q, const char *lane, struct queue_depth **out, size_t *n,
                        struct err *e);
int __real_queue_ping(struct queue *q, struct err *e);
int __wrap_queue_ping(struct queue *q, struct err *e);
int __real_queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms,
                         int64_t wait_ms, struct queue_message *out, size_t *got, struct err *e);
int __real_queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e);
int __real_queue_ack(struct queue *q, const struct queue_message *m, size_t n, struct err *e);
int __real_queue_nack(struct queue *q, const struct queue_message *m, const struct queue_return *r,
                      struct err *e);
int __real_queue_dead_letter(struct queue *q, const struct queue_message *m, const char *reason,
                             struct err *e);
int __wrap_queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms,
                         int64_t wait_ms, struct queue_message *out, size_t *got, struct err *e);
int __wrap_queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e);
int __wrap_queue_ack(struct queue *q, const struct queue_message *m, size_t n, struct err *e);
int __wrap_queue_nack(struct queue *q, const struct queue_message *m, const struct queue_return *r,
                      struct err *e);
int __wrap_queue_dead_letter(struct queue *q, const struct queue_message *m, const char *reason,
                             struct err *e);

/* --- the URLs of handles --- */
#define HANDLES_MAX 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct handle {
    const struct queue *q; /* NULL: free */
    char url[200];
} handles[HANDLES_MAX]; /* under the lock */

static void remember(const struct queue *from, const struct queue *to, const char *url)
{
    pthread_mutex_lock(&lock);
    struct handle *h = handles;
    while (h < handles + HANDLES_MAX && h->q != from) {
        h++;
    }
    ASSERT(h < handles + HANDLES_MAX);
    h->q = to;
    (void)snprintf(h->url, sizeof h->url, "%s", url);
    pthread_mutex_unlock(&lock);
}

static const char *url_of(const struct queue *q)
{
    const char *url = "?";
    pthread_mutex_lock(&lock);
    for (size_t i = 0; q != NULL && i < HANDLES_MAX; i++) {
        url = handles[i].q == q ? handles[i].url : url;
    }
    pthread_mutex_unlock(&lock);
    return url;
}

/* --- the calls --- */
int __wrap_queue_open(const char *url, struct queue **out, struct err *e)
{
    struct call c = call_begin("queue_open", e, "%s", url);
    int rc = c.goes_on ? __real_queue_open(url, out, e) : -1;
    if (rc == 0) {
        remember(NULL, *out, url);
    }
    return call_end(&c, rc, e);
}

void __wrap_queue_close(struct queue *q)
{
    if (q != NULL) {
        remember(q, NULL, "");
    }
    __real_queue_close(q);
}

/* "URL n=1 {lane=events key=7 group=acme/app delay_ms=0 body=…}" */
int __wrap_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e)
{
    struct buf text;
    buf_init(&text, n * (QUEUE_BODY_MAX_BYTES + 512));
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, " {lane=%s key=%s group=%s delay_ms=%lld body=%.*s}", items[i].lane,
                   items[i].key != NULL ? items[i].key : "",
                   items[i].group != NULL ? items[i].group : "", (long long)items[i].delay_ms,
                   SLICE_ARG(items[i].body));
    }
    struct call c = call_begin("queue_put", e, "%s n=%zu%s", url_of(q), n, text.data);
    buf_fini(&text);
    return call_end(&c, c.goes_on ? __real_queue_put(q, items, n, e) : -1, e);
}

int __wrap_queue_find(struct queue *q, const char *key, size_t max, struct queue_entry **out,
                      size_t *n, struct err *e)
{
    struct call c = call_begin("queue_find", e, "%s key=%s max=%zu", url_of(q), key, max);
    return call_end(&c, c.goes_on ? __real_queue_find(q, key, max, out, n, e) : -1, e);
}

int __wrap_queue_depths(struct queue *q, const char *lane, struct queue_depth **out, size_t *n,
                        struct err *e)
{
    struct call c =
        call_begin("queue_depths", e, "%s lane=%s", url_of(q), lane != NULL ? lane : "*");
    return call_end(&c, c.goes_on ? __real_queue_depths(q, lane, out, n, e) : -1, e);
}

int __wrap_queue_ping(struct queue *q, struct err *e)
{
    struct call c = call_begin("queue_ping", e, "%s", url_of(q));
    return call_end(&c, c.goes_on ? __real_queue_ping(q, e) : -1, e);
}

int __wrap_queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms,
                         int64_t wait_ms, struct queue_message *out, size_t *got, struct err *e)
{
    struct call c = call_begin("queue_receive", e, "lane=%s max=%zu lease_ms=%lld wait_ms=%lld",
                               lane, max, (long long)lease_ms, (long long)wait_ms);
    return call_end(
        &c, c.goes_on ? __real_queue_receive(q, lane, max, lease_ms, wait_ms, out, got, e) : -1, e);
}

/* As a store may, each extension returns another receipt, which has the new deadline. The real
 * store gets its own receipt. */
static void cut_extension(struct queue_message *m)
{
    m->receipt[strcspn(m->receipt, "+")] = '\0';
}

static int extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct queue_message own = *m;
    cut_extension(&own);
    if (__real_queue_extend(q, &own, lease_ms, e) != 0) {
        return -1;
    }
    size_t len = strlen(own.receipt);
    (void)snprintf(own.receipt + len, sizeof own.receipt - len, "+%lld",
                   (long long)own.leased_until_ms);
    *m = own;
    return 0;
}

static int done(struct queue *q, const struct queue_message *m, size_t n, struct err *e)
{
    struct queue_message *own = calloc(n, sizeof *own);
    ASSERT(own != NULL);
    for (size_t i = 0; i < n; i++) {
        own[i] = m[i];
        cut_extension(&own[i]);
    }
    int rc = __real_queue_ack(q, own, n, e);
    free(own);
    return rc;
}

int __wrap_queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct call c =
        call_begin("queue_extend", e, "id=%s lease_ms=%lld", m->id, (long long)lease_ms);
    return call_end(&c, c.goes_on ? extend(q, m, lease_ms, e) : -1, e);
}

/* "id=1 id=3" */
int __wrap_queue_ack(struct queue *q, const struct queue_message *m, size_t n, struct err *e)
{
    struct buf text;
    buf_init(&text, n * sizeof m->id + 4 * n);
    for (size_t i = 0; i < n; i++) {
        buf_printf(&text, "%sid=%s", i > 0 ? " " : "", m[i].id);
    }
    struct call c = call_begin("queue_ack", e, "%s", text.data);
    buf_fini(&text);
    return call_end(&c, c.goes_on ? done(q, m, n, e) : -1, e);
}

int __wrap_queue_nack(struct queue *q, const struct queue_message *m, const struct queue_return *r,
                      struct err *e)
{
    struct call c = call_begin("queue_nack", e, "id=%s delay_ms=%lld%s reason=%s", m->id,
                               (long long)r->delay_ms, r->spend_attempt ? " spent" : "", r->reason);
    struct queue_message own = *m;
    cut_extension(&own);
    return call_end(&c, c.goes_on ? __real_queue_nack(q, &own, r, e) : -1, e);
}

int __wrap_queue_dead_letter(struct queue *q, const struct queue_message *m, const char *reason,
                             struct err *e)
{
    struct call c = call_begin("queue_dead_letter", e, "id=%s reason=%s", m->id, reason);
    struct queue_message own = *m;
    cut_extension(&own);
    return call_end(&c, c.goes_on ? __real_queue_dead_letter(q, &own, reason, e) : -1, e);
}
