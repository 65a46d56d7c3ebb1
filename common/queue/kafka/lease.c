/*
 * What those who receive from a lane call: receive, and the calls of a lease's holder.
 *
 * A lease lives in this process alone. While the process is a member of the group, nobody else gets
 * the message; when it is not, or the partition moved, the receipt is worth nothing (ERR_CONFLICT).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/queue/kafka/lane.h"

#define POLL_ONCE_MS 250 /* a receive that does not wait still gives one fetch its time */
#define AHEAD_TIMES 8    /* receives that find what they want without a fetch */
#define AHEAD_MOST 512

/* --- receipts: "<handle>.<partition>.<offset>.<lease>" --- */
void kafka_lane_receipt(const struct kafka_lane *lane, const struct hand_message *held, char *out)
{
    (void)snprintf(out, QUEUE_RECEIPT_SIZE, "%016" PRIx64 ".%" PRId32 ".%" PRId64 ".%" PRIu64,
                   lane->nonce, held->partition, held->offset, held->lease);
}

/* What the receipt stands for; NULL: nothing, any more. */
static struct hand_message *find_locked(struct kafka_lane *lane, const char *receipt)
{
    char handle[24];
    struct slice part;
    struct slice rest = slice_of(receipt);
    int64_t numbers[3];
    (void)snprintf(handle, sizeof handle, "%016" PRIx64, lane->nonce);
    if (!slice_cut(rest, '.', &part, &rest) || !slice_eq_cstr(part, handle)) {
        return NULL;
    }
    for (size_t i = 0; i < 3; i++) {
        (void)slice_cut(rest, '.', &part, &rest);
        if (!slice_to_int64(part, &numbers[i]) || numbers[i] < 0) {
            return NULL;
        }
    }
    return numbers[0] <= INT32_MAX
               ? hand_find(&lane->hand, (int32_t)numbers[0], numbers[1], (uint64_t)numbers[2])
               : NULL;
}

/* As find_locked; what another thread is putting elsewhere is not the caller's. */
static struct hand_message *find_unclaimed_locked(struct kafka_lane *lane, const char *receipt)
{
    struct hand_message *held = find_locked(lane, receipt);
    return held != NULL && held->state != HAND_CLAIMED ? held : NULL;
}

static int conflict(const struct kafka_lane *lane, struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0,
                   "the message of topic %s is not leased by this process any more: its lease "
                   "expired, or its partition went to another member of the group",
                   lane->topic);
}

/* --- receive --- */
static size_t lease_locked(struct kafka_lane *lane, const struct queue_receive_args *w,
                           struct queue_message *out)
{
    size_t got = 0;
    struct hand_message *held;
    (void)hand_expire(&lane->hand, clock_mono_ms());
    while (got < w->max &&
           (held = hand_lease(&lane->hand, clock_mono_ms() + w->lease_ms)) != NULL) {
        struct kafka_record r;
        struct queue_message *m = &out[got++];
        kafka_record_read(held->record, &r);
        kafka_record_message(&r, m);
        kafka_copy(m->lane, sizeof m->lane, lane->name);
        held->until_wall_ms = m->leased_until_ms = clock_wall_ms() + w->lease_ms;
        kafka_lane_receipt(lane, held, m->receipt);
    }
    return got;
}

/* Without a wait: as long as it takes to join the group, then as long as a fetch takes. */
static int64_t deadline_locked(const struct kafka_lane *lane, const struct queue_receive_args *w,
                               int64_t began_ms)
{
    if (w->wait_ms > 0) {
        return began_ms + w->wait_ms;
    }
    if (lane->joined_ms == 0) {
        return began_ms + kafka_cluster_timeout_ms(lane->queue->cluster);
    }
    return (lane->joined_ms > began_ms ? lane->joined_ms : began_ms) + POLL_ONCE_MS;
}

static bool wait_locked(struct kafka_lane *lane, const struct queue_receive_args *w,
                        int64_t began_ms)
{
    int64_t left_ms = deadline_locked(lane, w, began_ms) - clock_mono_ms();
    if (left_ms <= 0 || (w->wait_ms > 0 && atomic_load(&lane->queue->interrupted))) {
        return false;
    }
    int64_t until_us = cond_deadline_us(left_ms < POLL_ONCE_MS ? left_ms : POLL_ONCE_MS);
    (void)cond_wait_until(&lane->changed, &lane->lock, until_us);
    return true;
}

/* Librdkafka joins again by itself, and says nothing meanwhile. */
static int fail_if_cut_off_locked(struct kafka_lane *lane, struct err *e)
{
    struct err trouble;
    if (lane->joined_ms != 0 || atomic_load(&lane->queue->interrupted) ||
        !kafka_cluster_trouble(lane->queue->cluster, &trouble)) {
        return 0;
    }
    (void)kafka_error(lane->queue->cluster, RD_KAFKA_RESP_ERR__TRANSPORT, "receive", e);
    return err_wrap(e, "topic %s", lane->topic);
}

int kafka_lane_receive(struct kafka_lane *lane, const struct queue_receive_args *w,
                       struct queue_message *out, size_t *got, struct err *e)
{
    int64_t began_ms = clock_mono_ms();
    size_t n = 0;
    int rc = 0;
    pthread_mutex_lock(&lane->lock);
    lane->waiting++;
    lane->wanted_ms = began_ms;
    if (AHEAD_TIMES * w->max > lane->ahead) {
        lane->ahead = AHEAD_TIMES * w->max < AHEAD_MOST ? AHEAD_TIMES * w->max : AHEAD_MOST;
    }
    if (!lane->subscribed) {
        kafka_lane_end_poll_locked(lane);
    }
    do {
        n = lease_locked(lane, w, out);
        if (n == 0 && lane->trouble.class != ERR_NONE) {
            *e = lane->trouble;
            lane->trouble.class = ERR_NONE;
            rc = -1;
        }
    } while (n == 0 && rc == 0 && wait_locked(lane, w, began_ms));
    if (n == 0 && rc == 0) {
        rc = fail_if_cut_off_locked(lane, e);
    }
    lane->wanted_ms = clock_mono_ms();
    lane->waiting--;
    pthread_cond_signal(&lane->room);
    if (lane->full && hand_count(&lane->hand, HAND_ANY_PARTITION, HAND_READY) <= lane->ahead / 2) {
        kafka_lane_end_poll_locked(lane); /* fetch on */
    }
    pthread_mutex_unlock(&lane->lock);
    *got = n;
    return rc;
}

void kafka_lane_keep(struct kafka_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->wanted_ms = clock_mono_ms();
    pthread_mutex_unlock(&lane->lock);
}

void kafka_lane_wake(struct kafka_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    pthread_cond_broadcast(&lane->changed);
    pthread_mutex_unlock(&lane->lock);
}

/* --- the holder's calls --- */
int kafka_lane_extend(struct kafka_lane *lane, struct queue_message *m, int64_t lease_ms,
                      struct err *e)
{
    pthread_mutex_lock(&lane->lock);
    struct hand_message *held = find_unclaimed_locked(lane, m->receipt);
    if (held != NULL) {
        held->state = HAND_LEASED;
        held->until_ms = clock_mono_ms() + lease_ms;
        held->until_wall_ms = m->leased_until_ms = clock_wall_ms() + lease_ms;
    }
    pthread_mutex_unlock(&lane->lock);
    return held != NULL ? 0 : conflict(lane, e);
}

static void finish_locked(struct kafka_lane *lane, struct hand_message *held)
{
    rd_kafka_message_destroy(hand_remove(&lane->hand, held));
}

int kafka_lane_ack(struct kafka_lane *lane, const struct queue_message *m, struct err *e)
{
    pthread_mutex_lock(&lane->lock);
    struct hand_message *held = find_unclaimed_locked(lane, m->receipt);
    if (held != NULL) {
        finish_locked(lane, held);
    }
    pthread_mutex_unlock(&lane->lock);
    return held != NULL ? 0 : conflict(lane, e);
}

int kafka_lane_move(struct kafka_lane *lane, const struct queue_message *m,
                    const struct kafka_outgoing *out, struct err *e)
{
    pthread_mutex_lock(&lane->lock);
    struct hand_message *held = find_unclaimed_locked(lane, m->receipt);
    if (held != NULL) {
        held->state = HAND_CLAIMED;
    }
    pthread_mutex_unlock(&lane->lock);
    if (held == NULL) {
        return conflict(lane, e);
    }
    int rc = kafka_produce(lane->queue, out, 1, e);
    pthread_mutex_lock(&lane->lock);
    held = find_locked(lane, m->receipt); /* NULL: the partition moved, it comes twice */
    if (held != NULL && rc == 0) {
        finish_locked(lane, held);
    } else if (held != NULL) {
        held->state = HAND_LEASED;
    }
    pthread_mutex_unlock(&lane->lock);
    return rc;
}

/* --- for depths --- */
bool kafka_lane_counts(struct kafka_lane *lane, int32_t partition, int64_t *next, int64_t *ready,
                       int64_t *leased)
{
    pthread_mutex_lock(&lane->lock);
    (void)hand_expire(&lane->hand, clock_mono_ms());
    struct hand_partition *p = hand_partition(&lane->hand, partition);
    bool known = p != NULL && p->next >= 0;
    if (known) {
        *next = p->next;
        *ready = (int64_t)hand_count(&lane->hand, partition, HAND_READY);
        *leased = (int64_t)(hand_count(&lane->hand, partition, HAND_LEASED) +
                            hand_count(&lane->hand, partition, HAND_CLAIMED));
    }
    pthread_mutex_unlock(&lane->lock);
    return known;
}

enum kafka_place kafka_lane_place(struct kafka_lane *lane, int32_t partition, int64_t offset,
                                  int64_t *due_ms)
{
    enum kafka_place place = KAFKA_UNKNOWN;
    pthread_mutex_lock(&lane->lock);
    (void)hand_expire(&lane->hand, clock_mono_ms());
    struct hand_partition *p = hand_partition(&lane->hand, partition);
    if (p != NULL && offset < p->next) {
        const struct hand_message *held = hand_at(&lane->hand, partition, offset);
        place = held == NULL                ? KAFKA_FINISHED
                : held->state == HAND_READY ? KAFKA_READY
                                            : KAFKA_LEASED;
        *due_ms = held != NULL ? held->until_wall_ms : 0;
    }
    pthread_mutex_unlock(&lane->lock);
    return place;
}
