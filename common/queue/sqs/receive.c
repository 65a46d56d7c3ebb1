/*
 * The queue on SQS: taking, by long polls.
 *
 * Each ReceiveMessage is paid for, so SQS does the waiting, up to poll_wait at once; and of
 * the threads that wait for one idle lane only one asks, the others wait for its answer. While a
 * lane has messages all of them ask. A poll under way cannot be called off without losing what it
 * would bring until its lease is over; so an interrupt ends the waits for a turn at once, and a
 * poll when its seconds are over. A message whose delay is not over yet (delays over 15 minutes) is
 * hidden again for the rest of it, unseen by the caller.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/queue/sqs/internal.h"

#define EMPTY_POLL_MS 250 /* one that brought nothing lasts so long at least, whoever answers */

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

static int read_messages(const struct sqs_receive *r, const json_t *answer,
                         struct sqs_received *out, size_t *got, struct err *e)
{
    size_t i;
    json_t *one;
    size_t n = 0;
    size_t strange = 0;
    json_array_foreach(json_object_get(answer, "Messages"), i, one)
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
            "queue %s: ReceiveMessage: %zu messages without handle, id, body or time: is "
            "the endpoint SQS's?",
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

/* --- one take --- */
/* Hides it until it is due. A failure only means that it comes again when this lease ends. */
static void put_off(struct queue_sqs *q, const struct sqs_target *t, const struct sqs_received *r)
{
    struct err e;
    bool too_long;
    int64_t seconds = queue_sqs_seconds(r->due_ms - aws_wall_ms());
    seconds = seconds < SQS_VISIBLE_MAX_S ? seconds : SQS_VISIBLE_MAX_S;
    int ignored = queue_sqs_hide(q, t, r->handle, seconds, &too_long, &e);
    (void)ignored;
}

static int take(struct queue_sqs *q, const struct queue_want *w, int64_t wait_s,
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
    size_t taken = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (all[i].due_ms > aws_wall_ms()) {
            put_off(q, &target, &all[i]);
            queue_message_fini(&all[i].m);
            continue;
        }
        struct queue_message *m = &out[taken++];
        *m = all[i].m;
        m->leased_until_ms = clock_wall_ms() + lease_s * 1000;
        queue_sqs_receipt(m, all[i].group, all[i].handle, clock_mono_ms() + lease_s * 1000);
    }
    free(all);
    *got = taken;
    return rc;
}

/* --- whose turn it is to ask --- */
/* Whether it may ask, and is to wait in SQS; false when the time is over first. */
static bool begin_poll(struct queue_sqs *q, struct sqs_lane *l, int64_t until_ms)
{
    pthread_mutex_lock(&q->lock);
    while (l->polls > 0 && !l->busy && !q->ended && clock_mono_ms() < until_ms) {
        (void)cond_wait_until(&q->changed, &q->lock, until_ms * 1000);
    }
    bool mine = !q->ended && (l->polls == 0 || l->busy);
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

static void sleep_here(struct queue_sqs *q, int64_t until_ms)
{
    pthread_mutex_lock(&q->lock);
    while (!q->ended && clock_mono_ms() < until_ms) {
        (void)cond_wait_until(&q->changed, &q->lock, until_ms * 1000);
    }
    pthread_mutex_unlock(&q->lock);
}

static int long_poll(struct queue_sqs *q, const struct queue_want *w, struct queue_message *out,
                     size_t *got, struct err *e)
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
    int rc = take(q, w, wait_s > 0 ? wait_s : 0, out, got, e);
    end_poll(q, l, rc == 0 && *got > 0);
    if (rc == 0 && *got == 0) {
        sleep_here(q, began_ms + EMPTY_POLL_MS);
    }
    return rc;
}

int queue_sqs_poll(void *state, const struct queue_want *w, struct queue_message *out, size_t *got,
                   struct err *e)
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
    int rc = take(q, w, 0, out, got, e);
    if (rc == 0 && *got == 0) {
        sleep_here(q, until_ms); /* less than a second is none that SQS could wait */
    }
    return rc;
}
