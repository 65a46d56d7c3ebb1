/*
 * The queue on SQS: receiving, by long polls.
 *
 * Each ReceiveMessage is billed, so SQS does the waiting, up to poll_wait at a time. Of the threads
 * that wait for one idle lane only one polls, and the others wait for its result; while a lane has
 * messages, all of them poll. A poll in progress cannot be cancelled without hiding its messages
 * until their lease expires. So an interrupt ends the waits for a turn at once, but a poll only
 * when its time is over. A message that is not due yet (delays over 15 minutes) is hidden again for
 * the rest of its delay and not returned.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/queue/sqs/internal.h"

#define EMPTY_POLL_MS                                                                              \
    250 /* the least duration of an empty poll, so that no server causes a busy loop */

/* --- a receive --- */
static void write_receive(const struct sqs_receive *r, struct buf *out)
{
    queue_sqs_begin(out, r->target);
    buf_printf(out,
               ",\"MaxNumberOfMessages\":%zu,\"VisibilityTimeout\":%" PRId64
               ",\"WaitTimeSeconds\":%" PRId64 ",\"MessageAttributeNames\":[\"All\"],"
               "\"MessageSystemAttributeNames\":[\"SentTimestamp\",\"MessageGroupId\"]}",
               r->max, r->hide_s, r->wait_s);
}

static int read_messages(const struct sqs_receive *r, const json_t *response,
                         struct sqs_received *out, size_t *got, struct err *e)
{
    size_t i;
    json_t *one;
    size_t n = 0;
    size_t strange = 0;
    json_array_foreach(json_object_get(response, "Messages"), i, one)
    {
        if (n < r->max && queue_sqs_read(one, r->lane, &out[n])) {
            n++;
        } else {
            strange++;
        }
    }
    if (n == 0 && strange > 0) {
        return err_set(
            e, ERR_RETRY, 0,
            "queue %s: ReceiveMessage: %zu messages without handle, id, body or time: check that "
            "the endpoint is SQS",
            r->target->name, strange);
    }
    *got = n;
    return 0;
}

int queue_sqs_receive(struct queue_sqs *q, const struct sqs_receive *r, struct sqs_received *out,
                      size_t *got, struct err *e)
{
    json_t *reply;
    struct buf body;
    buf_init(&body, 4096);
    write_receive(r, &body);
    const struct sqs_call call = {.operation = "ReceiveMessage",
                                  .target = r->target,
                                  .body = buf_slice(&body),
                                  .wait_s = r->wait_s};
    int rc = queue_sqs_send(q, &call, &reply, NULL, e);
    buf_fini(&body);
    if (rc != 0) {
        return -1;
    }
    rc = read_messages(r, reply, out, got, e);
    json_decref(reply);
    return rc;
}

/* --- one poll --- */
/* After a failure the message is received again when this lease expires. */
static void hide_until_due(struct queue_sqs *q, const struct sqs_target *t,
                           const struct sqs_received *r)
{
    struct err e;
    bool too_long;
    int64_t seconds = queue_sqs_seconds(r->due_ms - aws_wall_ms());
    seconds = seconds < SQS_VISIBLE_MAX_S ? seconds : SQS_VISIBLE_MAX_S;
    int ignored = queue_sqs_hide(q, t, r->handle, seconds, &too_long, &e);
    (void)ignored;
}

static int receive_due(struct queue_sqs *q, const struct queue_receive_args *w, int64_t wait_s,
                       struct queue_message *out, size_t *got, struct err *e)
{
    struct sqs_target target;
    struct sqs_received *all;
    size_t n = 0;
    int64_t lease_s = queue_sqs_seconds(w->lease_ms);
    if (queue_sqs_target(q, w->lane, false, &target, e) != 0) {
        return -1;
    }
    all = calloc(SQS_BATCH_MAX, sizeof *all);
    ASSERT(all != NULL);
    const struct sqs_receive receive = {.target = &target,
                                        .lane = w->lane,
                                        .max = w->max < SQS_BATCH_MAX ? w->max : SQS_BATCH_MAX,
                                        .hide_s = lease_s,
                                        .wait_s = wait_s};
    int rc = queue_sqs_receive(q, &receive, all, &n, e);
    size_t returned = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (all[i].due_ms > aws_wall_ms()) {
            hide_until_due(q, &target, &all[i]);
            queue_message_fini(&all[i].m);
            continue;
        }
        struct queue_message *m = &out[returned++];
        *m = all[i].m;
        m->leased_until_ms = clock_wall_ms() + lease_s * 1000;
        queue_sqs_receipt(m, all[i].group, all[i].handle, clock_mono_ms() + lease_s * 1000);
    }
    free(all);
    *got = returned;
    return rc;
}

/* --- which thread polls --- */
/* Waits for a turn to poll; false if until_ms or an interrupt comes first. */
static bool begin_poll(struct queue_sqs *q, struct sqs_lane *l, int64_t until_ms)
{
    pthread_mutex_lock(&q->lock);
    while (l->polls > 0 && !l->busy && !q->interrupted && clock_mono_ms() < until_ms) {
        (void)cond_wait_until(&q->changed, &q->lock, until_ms * 1000);
    }
    bool mine = !q->interrupted && (l->polls == 0 || l->busy);
    if (mine) {
        l->polls++;
    }
    pthread_mutex_unlock(&q->lock);
    return mine;
}

static void end_poll(struct queue_sqs *q, struct sqs_lane *l, bool found)
{
    pthread_mutex_lock(&q->lock);
    l->polls--;
    l->busy = found;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static void sleep_until(struct queue_sqs *q, int64_t until_ms)
{
    pthread_mutex_lock(&q->lock);
    while (!q->interrupted && clock_mono_ms() < until_ms) {
        (void)cond_wait_until(&q->changed, &q->lock, until_ms * 1000);
    }
    pthread_mutex_unlock(&q->lock);
}

static int long_poll(struct queue_sqs *q, const struct queue_receive_args *w,
                     struct queue_message *out, size_t *got, struct err *e)
{
    struct sqs_lane *l = queue_sqs_lane(q, w->lane);
    int64_t began_ms = clock_mono_ms();
    int64_t until_ms = began_ms + w->wait_ms;
    *got = 0;
    if (!begin_poll(q, l, until_ms)) {
        return 0;
    }
    int64_t wait_ms = until_ms - clock_mono_ms();
    int64_t wait_s = (wait_ms < q->config.poll_wait_ms ? wait_ms : q->config.poll_wait_ms) / 1000;
    int rc = receive_due(q, w, wait_s > 0 ? wait_s : 0, out, got, e);
    end_poll(q, l, rc == 0 && *got > 0);
    if (rc == 0 && *got == 0) {
        sleep_until(q, began_ms + EMPTY_POLL_MS);
    }
    return rc;
}

int queue_sqs_poll(void *state, const struct queue_receive_args *w, struct queue_message *out,
                   size_t *got, struct err *e)
{
    struct queue_sqs *q = state;
    if (w->lease_ms > SQS_VISIBLE_MAX_S * 1000LL) {
        return err_set(e, ERR_PERMANENT, 0, "SQS leases a message for 12 hours at most, not %lld s",
                       (long long)(w->lease_ms / 1000));
    }
    if (w->wait_ms >= 1000) {
        return long_poll(q, w, out, got, e);
    }
    int64_t until_ms = clock_mono_ms() + w->wait_ms;
    int rc = receive_due(q, w, 0, out, got, e);
    if (rc == 0 && *got == 0) {
        sleep_until(q, until_ms); /* SQS cannot wait for less than a second */
    }
    return rc;
}
