/*
 * The queue on Amazon SQS: what the holder of a lease does, and what SQS makes of the contract.
 *
 * One standard queue a lane and one for its dead letters (sqs/url.h). SQS never changes a
 * message: what has to remember something (an attempt spent, a reason, the burial) is sent anew and
 * the old one deleted after it, so a crash between the two leaves it twice, never lost. Before that
 * the old one is hidden for as long as both may take, which also finds out whether the lease holds.
 *
 * The contract, as far as SQS has it:
 * - Times are whole seconds, rounded up; a lease is 12 hours at most, extensions included.
 * - A lease that ran out by our own clock is refused without asking, even if nobody took it since.
 *   Within its time SQS does not tell a handle used twice from one used once: a second done or
 *   retry may succeed and change nothing, and two holders of one handle may both succeed.
 * - A return that spends nothing keeps no reason, and waits hidden: depths count it as leased.
 * - Depths are SQS's estimates, without the age of the oldest; nothing can be searched for.
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
    sqs_pool_free(q->crew);
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

/* The lane that stands for all of them: the one that every program needs. */
static const char *first_lane(const struct queue_sqs *q)
{
    return q->config.prefix[0] != '\0' ? EVENTS_LANE : q->config.named[0].lane;
}

static int sqs_open_queue(const char *url, void **out_state, struct err *e)
{
    struct sqs_target target;
    struct queue_sqs *q = new_state();
    if (sqs_url_parse(url, &q->config, e) != 0 || open_client(q, e) != 0 ||
        queue_sqs_target(q, first_lane(q), false, &target, e) != 0) {
        sqs_close_queue(q);
        return -1;
    }
    q->crew = sqs_pool_new((size_t)q->config.senders);
    *out_state = q;
    return 0;
}

static void sqs_wake(void *state)
{
    struct queue_sqs *q = state;
    pthread_mutex_lock(&q->lock);
    q->ended = true;
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

/* --- one message's steps --- */
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

int queue_sqs_send_one(struct queue_sqs *q, const struct sqs_target *t, const struct sqs_record *r,
                       struct err *e)
{
    struct buf body;
    buf_init(&body, SQS_REQUEST_MAX_BYTES);
    queue_sqs_begin(&body, t);
    (void)queue_sqs_write(r, &body);
    buf_append_byte(&body, '}');
    ASSERT(!body.failed);
    int rc = simple_call(q, "SendMessage", t, &body, NULL, e);
    buf_fini(&body);
    return rc;
}

static void write_handle(struct buf *out, const struct sqs_target *t, const char *handle)
{
    buf_init(out, 16 * 1024);
    queue_sqs_begin(out, t);
    buf_append_cstr(out, ",\"ReceiptHandle\":");
    buf_append_json(out, slice_of(handle));
}

/* An old handle's refusal comes by a common name; only its words are about the handle. */
static void judge_handle(const struct aws_refusal *r, bool *too_long, struct err *e)
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
        judge_handle(&refusal, too_long, e);
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
        judge_handle(&refusal, &ignored, e);
    }
    aws_refusal_fini(&refusal);
    buf_fini(&body);
    return rc;
}

/* --- what the holder of a lease does --- */
static int lost(const struct queue_message *m, const char *call, size_t lost_count, size_t n,
                struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0,
                   "%s: the lease of %zu of %zu messages (%s of %s first) ran out", call,
                   lost_count, n, m->id, m->lane);
}

/* A lease that is ours as far as we know. */
static int hold(const struct queue_message *m, const char *call, struct sqs_lease *out,
                struct err *e)
{
    return queue_sqs_lease(m, out) && clock_mono_ms() < out->until_mono_ms ? 0
                                                                           : lost(m, call, 1, 1, e);
}

static int sqs_extend(void *state, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_target target;
    struct sqs_lease lease;
    char handle[SQS_HANDLE_MAX + 1];
    bool too_long;
    int64_t seconds = queue_sqs_seconds(lease_ms);
    if (hold(m, "extend", &lease, e) != 0 || queue_sqs_target(q, m->lane, false, &target, e) != 0) {
        return -1;
    }
    if (queue_sqs_hide(q, &target, lease.handle, seconds, &too_long, e) != 0) {
        return -1;
    }
    m->leased_until_ms = clock_wall_ms() + seconds * 1000;
    /* The receipt is written over; the handle is a part of it. */
    ASSERT(slice_to_cstr(slice_of(lease.handle), handle, sizeof handle));
    queue_sqs_receipt(m, lease.group, handle, clock_mono_ms() + seconds * 1000);
    return 0;
}

/* The old one goes; if it does not, it comes again, and is done twice. */
static int delete_old(struct queue_sqs *q, const struct sqs_target *t, const char *handle,
                      struct err *e)
{
    for (int try = 1;; try++) {
        if (queue_sqs_delete(q, t, handle, e) == 0) {
            return 0;
        }
        if (try == TRIES_MAX || e->class != ERR_RETRY) {
            return err_wrap(e, "the message was sent anew, and its old copy stays");
        }
    }
}

/* Sends it anew as `r` says and deletes the old one, if the lease still holds. */
static int replace(struct queue_sqs *q, const struct queue_message *m,
                   const struct sqs_lease *lease, const struct sqs_target *to,
                   const struct sqs_record *r, struct err *e)
{
    struct sqs_target from;
    bool too_long;
    if (queue_sqs_target(q, m->lane, false, &from, e) != 0) {
        return -1;
    }
    /* One held for 12 hours by now cannot be hidden longer, but still be replaced. */
    int64_t steps_s = queue_sqs_seconds((1 + TRIES_MAX) * q->config.timeout_ms);
    if (queue_sqs_hide(q, &from, lease->handle, steps_s, &too_long, e) != 0 && !too_long) {
        return -1;
    }
    if (queue_sqs_send_one(q, to, r, e) != 0) {
        return -1;
    }
    return delete_old(q, &from, lease->handle, e);
}

static struct sqs_record record_of(const struct queue_message *m, const struct sqs_lease *lease)
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
    if (hold(m, "retry", &lease, e) != 0 || queue_sqs_target(q, m->lane, false, &target, e) != 0) {
        return -1;
    }
    if (!r->spend_attempt && seconds <= SQS_VISIBLE_MAX_S) {
        int rc = queue_sqs_hide(q, &target, lease.handle, seconds, &too_long, e);
        if (rc == 0 || !too_long) {
            return rc;
        }
    }
    struct sqs_record again = record_of(m, &lease);
    again.attempts += r->spend_attempt ? 1 : 0;
    again.reason = r->reason;
    again.delay_ms = r->delay_ms;
    return replace(q, m, &lease, &target, &again, e);
}

static int sqs_dead_letter(void *state, const struct queue_message *m, const char *reason,
                           struct err *e)
{
    struct queue_sqs *q = state;
    struct sqs_target dead;
    struct sqs_lease lease;
    if (hold(m, "bury", &lease, e) != 0 || queue_sqs_target(q, m->lane, true, &dead, e) != 0) {
        return -1;
    }
    struct sqs_record grave = record_of(m, &lease);
    grave.reason = reason;
    grave.lane = m->lane;
    grave.buried_ms = clock_wall_ms();
    return replace(q, m, &lease, &dead, &grave, e);
}

/* --- done, in batches --- */
struct finish {
    const struct queue_message *m[SQS_BATCH_MAX];
    struct sqs_failure left[SQS_BATCH_MAX];
    size_t n;
};

static void write_deletes(const struct finish *f, const struct sqs_target *t, struct buf *out)
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

/* Takes out what is finished and what is lost; the error of the rest, or 0 if there is none. */
static int sort_out(struct finish *f, const struct sqs_target *t, const struct sqs_failure *now,
                    size_t *lost_count, struct err *e)
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

static int delete_batch(struct queue_sqs *q, struct finish *f, size_t *lost_count, struct err *e)
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
            rc = sort_out(f, &target, now, lost_count, e);
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
        struct finish f = {0};
        const char *lane = m[i].lane;
        for (; i < n && f.n < SQS_BATCH_MAX && strcmp(m[i].lane, lane) == 0; i++) {
            struct sqs_lease lease;
            struct err ignored;
            if (hold(&m[i], "done", &lease, &ignored) != 0) {
                lost_count++;
                continue;
            }
            f.left[f.n].failed = true;
            f.m[f.n++] = &m[i];
        }
        rc = f.n > 0 ? delete_batch(state, &f, &lost_count, e) : 0;
    }
    if (rc == 0 && lost_count > 0) {
        return lost(m, "done", lost_count, n, e);
    }
    return rc;
}

const struct queue_ops queue_ops_sqs = {
    .scheme = "sqs",
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
