/*
 * The queue on SQS: a put, in batches of SQS's maximum size, several of them in parallel.
 *
 * A lane's messages keep their order within a batch; batches of one put may overtake each other.
 * When SQS accepts only part of a batch, the rest is sent again while the failure is not the
 * sender's. A put that cannot be completed fails as a whole, and the messages sent stay (at least
 * once).
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/queue/sqs/internal.h"

#define TRIES_MAX 4
#define PAUSE_BASE_MS 50
#define PAUSE_CAP_MS 1000

struct batch {    /* of one lane */
    size_t first; /* index into put.order */
    size_t n;
};

struct put {
    struct queue_sqs *q;
    const struct queue_item *items;
    size_t *order; /* the items' indexes, lane by lane */
    struct batch *batches;
    size_t batch_count;
    int64_t until_ms; /* monotonic: no retry after this */
    atomic_bool failed;
    pthread_mutex_t lock; /* of the two below */
    size_t missing;
    struct err error; /* the first */
};

static struct sqs_record record_of_item(const struct queue_item *item)
{
    return (struct sqs_record){
        .body = item->body, .key = item->key, .group = item->group, .delay_ms = item->delay_ms};
}

/* --- batches --- */
/* Stable, so that a lane keeps its order; a put has few lanes. */
static void order_by_lane(struct put *p, size_t n)
{
    bool *placed = calloc(n, sizeof *placed);
    size_t next = 0;
    ASSERT(placed != NULL);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i; !placed[i] && k < n; k++) {
            if (k == i || (!placed[k] && strcmp(p->items[k].lane, p->items[i].lane) == 0)) {
                p->order[next++] = k;
                placed[k] = k != i;
            }
        }
        placed[i] = true;
    }
    free(placed);
}

static void cut_batches(struct put *p, size_t n)
{
    const char *lane = "";
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const struct queue_item *item = &p->items[p->order[i]];
        const struct sqs_record record = record_of_item(item);
        size_t size = queue_sqs_size(&record);
        struct batch *last = p->batch_count > 0 ? &p->batches[p->batch_count - 1] : NULL;
        if (last == NULL || last->n == SQS_BATCH_MAX || bytes + size > SQS_BATCH_BYTES_MAX ||
            strcmp(lane, item->lane) != 0) {
            last = &p->batches[p->batch_count++];
            *last = (struct batch){.first = i};
            bytes = 0;
            lane = item->lane;
        }
        last->n++;
        bytes += size;
    }
}

/* --- one batch --- */
static const struct queue_item *item_of(const struct put *p, const struct batch *b, size_t i)
{
    return &p->items[p->order[b->first + i]];
}

static void write_batch(const struct put *p, const struct batch *b, const struct sqs_target *t,
                        const struct sqs_failure *left, struct buf *out)
{
    bool any = false;
    bool with_groups = queue_sqs_takes_groups(p->q, t);
    queue_sqs_begin(out, t);
    buf_append_cstr(out, ",\"Entries\":[");
    for (size_t i = 0; i < b->n; i++) {
        if (!left[i].failed) {
            continue;
        }
        struct sqs_record record = record_of_item(item_of(p, b, i));
        record.group = with_groups ? record.group : "";
        buf_printf(out, "%s{\"Id\":\"%zu\"", any ? "," : "", i);
        (void)queue_sqs_write(&record, out);
        buf_append_byte(out, '}');
        any = true;
    }
    buf_append_cstr(out, "]}");
}

/* Entries that the response does not confirm stay failed. */
static void merge_results(struct sqs_failure *left, const struct sqs_failure *now, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (left[i].failed) {
            left[i] = now[i];
        }
    }
}

/* The error of the failed entries, a permanent one if there is any; 0 if none failed. */
static int batch_error(const struct batch *b, const struct sqs_target *t,
                       const struct sqs_failure *left, struct err *e)
{
    const struct sqs_failure *worst = NULL;
    size_t count = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (!left[i].failed) {
            continue;
        }
        count++;
        if (worst == NULL || queue_sqs_failure_class(&left[i]) == ERR_PERMANENT) {
            worst = &left[i];
        }
    }
    if (worst == NULL) {
        return 0;
    }
    return err_set(e, queue_sqs_failure_class(worst), 0,
                   "queue %s: SendMessageBatch: SQS rejected %zu of %zu messages: %s%s%s", t->name,
                   count, b->n, worst->code, worst->message[0] != '\0' ? ": " : "", worst->message);
}

static int send_once(const struct put *p, const struct batch *b, const struct sqs_target *t,
                     struct sqs_failure *left, struct err *e)
{
    struct sqs_failure now[SQS_BATCH_MAX];
    json_t *reply;
    struct buf body;
    buf_init(&body, SQS_REQUEST_MAX_BYTES);
    write_batch(p, b, t, left, &body);
    ASSERT(!body.failed);
    const struct sqs_call call = {
        .operation = "SendMessageBatch", .target = t, .body = buf_slice(&body)};
    int rc = queue_sqs_send(p->q, &call, &reply, NULL, e);
    buf_fini(&body);
    if (rc != 0) {
        return -1;
    }
    queue_sqs_failures(reply, b->n, now);
    json_decref(reply);
    merge_results(left, now, b->n);
    return batch_error(b, t, left, e);
}

/* Sleeps the back-off and returns true if a retry may succeed and is in time. */
static bool wait_before_retry(const struct put *p, int try, const struct err *e)
{
    if (try >= TRIES_MAX || (e->class != ERR_RETRY && e->class != ERR_THROTTLED)) {
        return false;
    }
    int64_t pause_ms = backoff_full_jitter_ms(PAUSE_BASE_MS, PAUSE_CAP_MS, try);
    pause_ms = e->retry_after_ms > pause_ms ? e->retry_after_ms : pause_ms;
    int64_t at_ms = clock_mono_ms() + pause_ms;
    if (at_ms >= p->until_ms || atomic_load(&p->failed)) {
        return false;
    }
    while (clock_mono_ms() < at_ms) {
        clock_sleep_until(at_ms);
    }
    return true;
}

static void record_failure(struct put *p, const struct sqs_failure *left, size_t n,
                           const struct err *e)
{
    pthread_mutex_lock(&p->lock);
    if (!atomic_load(&p->failed)) {
        p->error = *e;
    }
    for (size_t i = 0; i < n; i++) {
        p->missing += left[i].failed ? 1 : 0;
    }
    atomic_store(&p->failed, true);
    pthread_mutex_unlock(&p->lock);
}

static void send_batch(void *arg, size_t part)
{
    struct put *p = arg;
    const struct batch *b = &p->batches[part];
    struct sqs_failure left[SQS_BATCH_MAX];
    struct sqs_target target;
    struct err e = {0};
    for (size_t i = 0; i < b->n; i++) {
        left[i] = (struct sqs_failure){.failed = true};
    }
    if (atomic_load(&p->failed)) {
        record_failure(p, left, b->n, &e);
        return;
    }
    int rc = queue_sqs_target(p->q, item_of(p, b, 0)->lane, false, &target, &e);
    if (rc == 0) {
        int try = 0;
        do {
            rc = send_once(p, b, &target, left, &e);
            if (rc != 0 && queue_sqs_drops_groups(p->q, &target, &e)) {
                rc = send_once(p, b, &target, left, &e);
            }
        } while (rc != 0 && wait_before_retry(p, ++try, &e));
    }
    if (rc != 0) {
        record_failure(p, left, b->n, &e);
    }
}

/* --- the put --- */
int queue_sqs_put(void *state, const struct queue_item *items, size_t n, struct err *e)
{
    struct queue_sqs *q = state;
    struct put p = {.q = q,
                    .items = items,
                    .until_ms = clock_mono_ms() + q->config.timeout_ms,
                    .lock = PTHREAD_MUTEX_INITIALIZER};
    p.order = calloc(n, sizeof *p.order);
    p.batches = calloc(n, sizeof *p.batches);
    ASSERT(p.order != NULL && p.batches != NULL);
    order_by_lane(&p, n);
    cut_batches(&p, n);
    sqs_pool_run(q->pool, send_batch, &p, p.batch_count);
    free(p.order);
    free(p.batches);
    pthread_mutex_destroy(&p.lock);
    if (!atomic_load(&p.failed)) {
        return 0;
    }
    *e = p.error;
    return n == 1 ? -1
                  : err_wrap(e, "%zu of %zu messages were not put (the others were)", p.missing, n);
}
