/*
 * The queue on Amazon SQS: the calls of a lease's holder, and how SQS differs from the contract.
 *
 * Each lane has a standard queue and a dead-letter queue (sqs/url.h). SQS cannot change a message.
 * To store something (a spent attempt, a reason, the dead-lettering), the message is sent again and
 * the old copy deleted after it; a crash between the two duplicates the message, but never loses
 * it. Before that, the old copy is hidden for the time that both calls may take, which also
 * verifies that the caller holds the lease.
 *
 * Differences from queue.h:
 * - Times are whole seconds, rounded up; a lease lasts 12 hours at most, extensions included.
 * - A lease that expired by this process's clock is rejected without a call, even if no other
 *   process received the message since. Before it expires, SQS does not distinguish a handle used
 *   twice from one used once: a second ack or nack may succeed and change nothing, and two holders
 *   of one handle may both succeed.
 * - A nack that spends no attempt stores no reason; the message waits hidden, and depths count it
 *   as leased.
 * - A standard queue has no order: a returned message may come before those never tried.
 * - Depths are SQS's estimates, without the age of the oldest. There is no search.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/job/lane.h"
#include "common/queue/sqs/internal.h"

#define TRIES_MAX 3

/* --- opening --- */
static int open_client(struct queue_sqs *q, struct err *e)
{
    const struct aws_client_options options = {
        .service = "sqs",
        .region = q->config.region,
        .endpoint = q->config.endpoint,
        .timeout_ms = q->config.timeout_ms,
        .max_idle = (size_t)q->config.senders + 16,
        .rules = queue_sqs_rules,
    };
    return aws_client_open(&options, &q->client, e);
}

static void sqs_close_queue(void *state)
{
    struct queue_sqs *q = state;
    sqs_pool_free(q->pool);
    aws_client_close(q->client);
    while (q->lanes != NULL) {
        struct sqs_lane *next = q->lanes->next;
        free(q->lanes);
        q->lanes = next;
    }
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    sqs_url_fini(&q->config);
    free(q);
}

static struct queue_sqs *new_state(void)
{
    struct queue_sqs *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    ASSERT(pthread_mutex_init(&q->lock, NULL) == 0);
    cond_init(&q->changed);
    return q;
}

/* The lane to check the service with: the one that every program needs. */
static const char *first_lane(const struct queue_sqs *q)
{
    return q->config.prefix[0] != '\0' ? EVENTS_LANE : q->config.named[0].lane;
}

static int find_first_lane(struct queue_sqs *q, struct err *e)
{
    struct sqs_target target;
    bool there = false;
    if (queue_sqs_find_target(q, first_lane(q), false, &target, &there, e) != 0) {
        return -1;
    }
    if (!there) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "there is no queue %s in %s: the URL's prefix or region is wrong, or no "
                       "daemon has run with it yet",
                       target.name, aws_client_region(q->client));
    }
    return 0;
}

static int make_first_lane(struct queue_sqs *q, struct err *e)
{
    struct sqs_target target;
    return queue_sqs_target(q, first_lane(q), false, &target, e);
}

static int sqs_open_queue(const char *url, bool existing, void **out_state, struct err *e)
{
    struct queue_sqs *q = new_state();
    if (sqs_url_parse(url, &q->config, e) != 0 || open_client(q, e) != 0 ||
        (existing ? find_first_lane(q, e) : make_first_lane(q, e)) != 0) {
        sqs_close_queue(q);
        return -1;
    }
    q->pool = sqs_pool_new((size_t)q->config.senders);
    *out_state = q;
    return 0;
}

static void sqs_wake(void *state)
{
    struct queue_sqs *q = state;
    pthread_mutex_lock(&q->lock);
    q->interrupted = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static int64_t sqs_poll_wait(const void *state)
{
    const struct queue_sqs *q = state;
    return q->config.poll_wait_ms;
}

static int sqs_ping(void *state, struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_target target;
    json_t *attributes = NULL;
    if (queue_sqs_target(q, first_lane(q), false, &target, e) != 0 ||
        queue_sqs_attributes(q, &target, "\"QueueArn\"", &attributes, e) != 0) {
        return -1;
    }
    json_decref(attributes);
    return 0;
}

/* --- calls on one message --- */
int64_t queue_sqs_seconds(int64_t ms)
{
    return ms > 0 ? (ms + 999) / 1000 : 0;
}

static int simple_call(struct queue_sqs *q, const char *operation, const struct sqs_target *t,
                       const struct buf *body, struct aws_refusal *refusal, struct err *e)
{
    json_t *reply;
    const struct sqs_call call = {.operation = operation, .target = t, .body = buf_slice(body)};
    if (queue_sqs_send(q, &call, &reply, refusal, e) != 0) {
        return -1;
    }
    json_decref(reply);
    return 0;
}

static int send_one_once(struct queue_sqs *q, const struct sqs_target *t,
                         const struct sqs_record *r, struct err *e)
{
    struct sqs_record record = *r;
    struct buf body;
    record.group = queue_sqs_takes_groups(q, t) ? record.group : "";
    buf_init(&body, SQS_REQUEST_MAX_BYTES);
    queue_sqs_begin(&body, t);
    (void)queue_sqs_write(&record, &body);
    buf_append_byte(&body, '}');
    ASSERT(!body.failed);
    int rc = simple_call(q, "SendMessage", t, &body, NULL, e);
    buf_fini(&body);
    return rc;
}

int queue_sqs_send_one(struct queue_sqs *q, const struct sqs_target *t, const struct sqs_record *r,
                       struct err *e)
{
    int rc = send_one_once(q, t, r, e);
    return rc != 0 && queue_sqs_drops_groups(q, t, e) ? send_one_once(q, t, r, e) : rc;
}

static void write_handle(struct buf *out, const struct sqs_target *t, const char *handle)
{
    buf_init(out, 16 * 1024);
    queue_sqs_begin(out, t);
    buf_append_cstr(out, ",\"ReceiptHandle\":");
    buf_append_json(out, slice_of(handle));
}

/* The error code for an expired handle is a general one; only its message mentions the handle. */
static void classify_handle_error(const struct aws_refusal *r, bool *too_long, struct err *e)
{
    const char *words = r->body.data != NULL ? r->body.data : "";
    *too_long = strstr(words, "Total VisibilityTimeout") != NULL;
    if (!*too_long && queue_sqs_is_stale(r->name) &&
        (strncmp(r->name, "InvalidParameterValue", 21) != 0 ||
         strstr(words, "ReceiptHandle") != NULL || strstr(words, "receipt handle") != NULL ||
         strstr(words, "visibility timeout change") != NULL)) {
        e->class = ERR_CONFLICT;
    }
}

int queue_sqs_hide(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                   int64_t seconds, bool *too_long, struct err *e)
{
    struct aws_refusal refusal = {0};
    struct buf body;
    write_handle(&body, t, handle);
    buf_printf(&body, ",\"VisibilityTimeout\":%" PRId64 "}", seconds);
    int rc = simple_call(q, "ChangeMessageVisibility", t, &body, &refusal, e);
    *too_long = false;
    if (rc != 0) {
        classify_handle_error(&refusal, too_long, e);
    }
    aws_refusal_fini(&refusal);
    buf_fini(&body);
    return rc;
}

int queue_sqs_delete(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                     struct err *e)
{
    struct aws_refusal refusal = {0};
    struct buf body;
    bool ignored;
    write_handle(&body, t, handle);
    buf_append_byte(&body, '}');
    int rc = simple_call(q, "DeleteMessage", t, &body, &refusal, e);
    if (rc != 0) {
        classify_handle_error(&refusal, &ignored, e);
    }
    aws_refusal_fini(&refusal);
    buf_fini(&body);
    return rc;
}

/* --- calls of a lease's holder --- */
static int sqs_lease_lost(const struct queue_message *m, const char *call, size_t lost_count,
                          size_t n, struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0,
                   "%s: the lease of %zu of %zu messages (first: %s of %s) expired", call,
                   lost_count, n, m->id, m->lane);
}

/* Reads the lease; ERR_CONFLICT if it expired by this process's clock. */
static int check_lease(const struct queue_message *m, const char *call, struct sqs_lease *out,
                       struct err *e)
{
    return queue_sqs_lease(m, out) && clock_mono_ms() < out->until_mono_ms
               ? 0
               : sqs_lease_lost(m, call, 1, 1, e);
}

static int sqs_extend(void *state, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_target target;
    struct sqs_lease lease;
    char handle[SQS_HANDLE_MAX + 1];
    bool too_long;
    int64_t seconds = queue_sqs_seconds(lease_ms);
    if (check_lease(m, "extend", &lease, e) != 0 ||
        queue_sqs_target(q, m->lane, false, &target, e) != 0) {
        return -1;
    }
    if (queue_sqs_hide(q, &target, lease.handle, seconds, &too_long, e) != 0) {
        return -1;
    }
    m->leased_until_ms = clock_wall_ms() + seconds * 1000;
    /* The handle points into the receipt, which is overwritten. */
    ASSERT(slice_to_cstr(slice_of(lease.handle), handle, sizeof handle));
    queue_sqs_receipt(m, lease.group, handle, clock_mono_ms() + seconds * 1000);
    return 0;
}

/* If the old copy cannot be deleted, it is delivered again and processed twice. */
static int delete_old(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                      struct err *e)
{
    for (int try = 1;; try++) {
        if (queue_sqs_delete(q, t, handle, e) == 0) {
            return 0;
        }
        if (try == TRIES_MAX || e->class != ERR_RETRY) {
            return err_wrap(e, "the message was sent again, and its old copy was not deleted");
        }
    }
}

/* Sends the message again as `r` and deletes the old copy, if the caller still holds the lease. */
static int resend_and_delete(struct queue_sqs *q, const struct queue_message *m,
                             const struct sqs_lease *lease, const struct sqs_target *to,
                             const struct sqs_record *r, struct err *e)
{
    struct sqs_target from;
    bool too_long;
    if (queue_sqs_target(q, m->lane, false, &from, e) != 0) {
        return -1;
    }
    /* A message leased for 12 hours cannot be hidden longer, but can still be replaced. */
    int64_t steps_s = queue_sqs_seconds((1 + TRIES_MAX) * q->config.timeout_ms);
    if (queue_sqs_hide(q, &from, lease->handle, steps_s, &too_long, e) != 0 && !too_long) {
        return -1;
    }
    if (queue_sqs_send_one(q, to, r, e) != 0) {
        return -1;
    }
    return delete_old(q, &from, lease->handle, e);
}

static struct sqs_record record_of_message(const struct queue_message *m,
                                           const struct sqs_lease *lease)
{
    return (struct sqs_record){.body = {m->body, m->body_len},
                               .id = m->id,
                               .key = m->key,
                               .group = lease->group,
                               .attempts = m->attempts,
                               .enqueued_ms = m->enqueued_ms};
}

static int sqs_nack(void *state, const struct queue_message *m, const struct queue_return *r,
                    struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_target target;
    struct sqs_lease lease;
    bool too_long = false;
    int64_t seconds = queue_sqs_seconds(r->delay_ms);
    if (check_lease(m, "nack", &lease, e) != 0 ||
        queue_sqs_target(q, m->lane, false, &target, e) != 0) {
        return -1;
    }
    if (!r->spend_attempt && seconds <= SQS_VISIBLE_MAX_S) {
        int rc = queue_sqs_hide(q, &target, lease.handle, seconds, &too_long, e);
        if (rc == 0 || !too_long) {
            return rc;
        }
    }
    struct sqs_record again = record_of_message(m, &lease);
    again.attempts += r->spend_attempt ? 1 : 0;
    again.reason = r->reason;
    again.delay_ms = r->delay_ms;
    return resend_and_delete(q, m, &lease, &target, &again, e);
}

static int sqs_dead_letter(void *state, const struct queue_message *m, const char *reason,
                           struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_target dead;
    struct sqs_lease lease;
    if (check_lease(m, "dead_letter", &lease, e) != 0 ||
        queue_sqs_target(q, m->lane, true, &dead, e) != 0) {
        return -1;
    }
    struct sqs_record dead_letter = record_of_message(m, &lease);
    dead_letter.reason = reason;
    dead_letter.lane = m->lane;
    dead_letter.dead_lettered_ms = clock_wall_ms();
    return resend_and_delete(q, m, &lease, &dead, &dead_letter, e);
}

/* --- ack, in batches --- */
struct ack_batch {
    const struct queue_message *m[SQS_BATCH_MAX];
    struct sqs_failure left[SQS_BATCH_MAX];
    size_t n;
};

static void write_deletes(const struct ack_batch *f, const struct sqs_target *t, struct buf *out)
{
    bool any = false;
    queue_sqs_begin(out, t);
    buf_append_cstr(out, ",\"Entries\":[");
    for (size_t i = 0; i < f->n; i++) {
        struct sqs_lease lease;
        if (f->left[i].failed && queue_sqs_lease(f->m[i], &lease)) {
            buf_printf(out, "%s{\"Id\":\"%zu\",\"ReceiptHandle\":", any ? "," : "", i);
            buf_append_json(out, slice_of(lease.handle));
            buf_append_byte(out, '}');
            any = true;
        }
    }
    buf_append_cstr(out, "]}");
}

/* Removes the deleted entries and those whose lease was lost from f. Returns the error of the rest,
 * or 0 if there is none. */
static int merge_delete_results(struct ack_batch *f, const struct sqs_target *t,
                                const struct sqs_failure *now, size_t *lost_count, struct err *e)
{
    const struct sqs_failure *worst = NULL;
    for (size_t i = 0; i < f->n; i++) {
        if (!f->left[i].failed) {
            continue;
        }
        f->left[i] = now[i];
        if (now[i].failed && queue_sqs_is_stale(now[i].code)) {
            f->left[i].failed = false;
            ++*lost_count;
        }
        worst = f->left[i].failed ? &f->left[i] : worst;
    }
    return worst == NULL ? 0
                         : err_set(e, queue_sqs_failure_class(worst), 0,
                                   "queue %s: DeleteMessageBatch: %s%s%s", t->name, worst->code,
                                   worst->message[0] != '\0' ? ": " : "", worst->message);
}

static int delete_batch(struct queue_sqs *q, struct ack_batch *f, size_t *lost_count, struct err *e)
{
    struct sqs_target target;
    if (queue_sqs_target(q, f->m[0]->lane, false, &target, e) != 0) {
        return -1;
    }
    for (int try = 1;; try++) {
        struct sqs_failure now[SQS_BATCH_MAX];
        json_t *reply;
        struct buf body;
        buf_init(&body, 256 * 1024);
        write_deletes(f, &target, &body);
        const struct sqs_call call = {
            .operation = "DeleteMessageBatch", .target = &target, .body = buf_slice(&body)};
        int rc = queue_sqs_send(q, &call, &reply, NULL, e);
        buf_fini(&body);
        if (rc == 0) {
            queue_sqs_failures(reply, f->n, now);
            json_decref(reply);
            rc = merge_delete_results(f, &target, now, lost_count, e);
        }
        if (rc == 0 || try == TRIES_MAX || e->class != ERR_RETRY) {
            return rc;
        }
    }
}

static int sqs_ack(void *state, const struct queue_message *m, size_t n, struct err *e)
{
    size_t lost_count = 0;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0;) {
        struct ack_batch f = {0};
        const char *lane = m[i].lane;
        for (; i < n && f.n < SQS_BATCH_MAX && strcmp(m[i].lane, lane) == 0; i++) {
            struct sqs_lease lease;
            struct err ignored;
            if (check_lease(&m[i], "ack", &lease, &ignored) != 0) {
                lost_count++;
                continue;
            }
            f.left[f.n].failed = true;
            f.m[f.n++] = &m[i];
        }
        rc = f.n > 0 ? delete_batch(state, &f, &lost_count, e) : 0;
    }
    if (rc == 0 && lost_count > 0) {
        return sqs_lease_lost(m, "ack", lost_count, n, e);
    }
    return rc;
}

const struct queue_ops queue_ops_sqs = {
    .scheme = "sqs",
    .over_aws = true,
    .can = QUEUE_FAIR,
    .open = sqs_open_queue,
    .close = sqs_close_queue,
    .put = queue_sqs_put,
    .poll = queue_sqs_poll,
    .poll_wait = sqs_poll_wait,
    .wake = sqs_wake,
    .extend = sqs_extend,
    .ack = sqs_ack,
    .nack = sqs_nack,
    .dead_letter = sqs_dead_letter,
    .depths = queue_sqs_depths,
    .admin = &queue_sqs_admin,
    .ping = sqs_ping,
    .check = queue_sqs_check,
};
