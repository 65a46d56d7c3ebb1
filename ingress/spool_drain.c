#include "ingress/spool_drain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define LEASE_MS 1

/* A batch being moved. */
struct drain_batch {
    struct queue *file;
    struct queue *to;
    struct queue_message messages[QUEUE_BATCH_MAX];
    struct queue_item items[QUEUE_BATCH_MAX];
    char lanes[QUEUE_BATCH_MAX][QUEUE_LANE_MAX + 1];
    char groups[QUEUE_BATCH_MAX][160];
    uint64_t tickets[QUEUE_BATCH_MAX];
    struct err errors[QUEUE_BATCH_MAX]; /* of messages enqueued one by one */
    size_t n;
};

void spool_wrap(const struct queue_item *item, uint64_t ticket, struct buf *out)
{
    const char *group = item->group != NULL ? item->group : "";
    buf_append_cstr(out, item->lane);
    buf_append_byte(out, '\n');
    buf_append(out, (struct slice){group, strcspn(group, "\n")});
    buf_printf(out, "\n%" PRIx64 "\n", ticket);
    buf_append(out, item->body);
}

static void copy_slice(struct slice s, char *out, size_t size)
{
    size_t len = s.len < size ? s.len : size - 1;
    memcpy(out, s.ptr, len);
    out[len] = '\0';
}

/* An invalid envelope gets an empty lane, which every queue permanently refuses. */
static void unwrap_envelope(struct drain_batch *l, size_t i)
{
    const struct queue_message *m = &l->messages[i];
    struct slice lane = {0};
    struct slice group = {0};
    struct slice ticket = {0};
    struct slice rest = {m->body, m->body_len};
    char digits[24];
    l->lanes[i][0] = l->groups[i][0] = '\0';
    l->tickets[i] = 0;
    if (slice_cut(rest, '\n', &lane, &rest) && lane.len <= QUEUE_LANE_MAX &&
        slice_cut(rest, '\n', &group, &rest) && slice_cut(rest, '\n', &ticket, &rest)) {
        copy_slice(lane, l->lanes[i], sizeof l->lanes[i]);
        copy_slice(group, l->groups[i], sizeof l->groups[i]);
        copy_slice(ticket, digits, sizeof digits);
        l->tickets[i] = strtoull(digits, NULL, 16);
    }
    l->items[i] = (struct queue_item){
        .lane = l->lanes[i], .body = rest, .key = m->key, .group = l->groups[i]};
}

int spool_count(struct queue *file, int64_t *out, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    if (queue_depths(file, SPOOL_LANE, &depths, &n, e) != 0) {
        return -1;
    }
    *out = n > 0 ? depths[0].ready + depths[0].leased + depths[0].delayed : 0;
    free(depths);
    return 0;
}

int64_t spool_oldest_ms(struct queue *file)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t age = 0;
    if (queue_depths(file, SPOOL_LANE, &depths, &n, &e) == 0 && n > 0) {
        age = depths[0].oldest_ready_ms;
    }
    free(depths);
    return clock_wall_ms() - age;
}

/* A conflict only means that the message was moved twice. */
static int ack_moved(struct drain_batch *l, size_t first, size_t n, struct spool_moved *out,
                     struct err *e)
{
    if (queue_ack(l->file, &l->messages[first], n, e) != 0 && e->class != ERR_CONFLICT) {
        return err_wrap(e, "spool");
    }
    out->count += n;
    return 0;
}

static int dead_letter_one(struct drain_batch *l, size_t i, struct spool_moved *out, struct err *e)
{
    log_error("spool_message_dead_lettered", LOG_STR("key", l->messages[i].key),
              LOG_ERR(&l->errors[i]),
              LOG_STR("action", "it is kept in the spool file as a dead letter, with its error"));
    if (queue_dead_letter(l->file, &l->messages[i], l->errors[i].message, e) != 0 &&
        e->class != ERR_CONFLICT) {
        return err_wrap(e, "spool");
    }
    out->count++;
    return 0;
}

/* One by one. A permanent error may be the queue's fault as well as the message's: the message is
 * dead-lettered only if the queue accepted another one, or if its envelope is invalid. */
static int move_singly(struct drain_batch *l, size_t n, struct spool_moved *out, struct err *e)
{
    bool queue_works = false;
    for (size_t i = 0; i < n; i++) {
        l->errors[i] = (struct err){0};
        if (queue_put(l->to, &l->items[i], 1, &l->errors[i]) == 0) {
            queue_works = true;
            if (ack_moved(l, i, 1, out, e) != 0) {
                return -1;
            }
        } else if (l->errors[i].class != ERR_PERMANENT) {
            *e = l->errors[i];
            return -1;
        }
    }
    size_t remaining = 0;
    for (size_t i = 0; i < n; i++) {
        if (l->errors[i].class == ERR_NONE) {
            continue;
        }
        if (!queue_works && l->lanes[i][0] != '\0') {
            *e = l->errors[i];
            remaining++;
        } else if (dead_letter_one(l, i, out, e) != 0) {
            return -1;
        }
    }
    return remaining == 0 ? 0 : -1;
}

/* The first messages whose puts, handed over while they were stuck, have come to the same: returns
 * their number. A put's messages lie together in the file, so there are few such runs. */
static size_t first_run(const struct drain_batch *l, struct enqueue_pool *puts,
                        enum enqueue_outcome *out)
{
    size_t n = 1;
    *out = enqueue_outcome(puts, l->tickets[0]);
    while (n < l->n && enqueue_outcome(puts, l->tickets[n]) == *out) {
        n++;
    }
    return n;
}

static int put_first(struct drain_batch *l, size_t n, struct spool_moved *out, struct err *e)
{
    int64_t begun_us = clock_mono_us();
    int result = queue_put(l->to, l->items, n, e);
    out->put_us = clock_mono_us() - begun_us;
    if (result == 0) {
        return ack_moved(l, 0, n, out, e);
    }
    return e->class == ERR_PERMANENT ? move_singly(l, n, out, e) : -1;
}

static int move_batch(struct drain_batch *l, struct enqueue_pool *puts, struct spool_moved *out,
                      struct err *e)
{
    enum enqueue_outcome outcome;
    for (size_t i = 0; i < l->n; i++) {
        unwrap_envelope(l, i);
    }
    size_t n = first_run(l, puts, &outcome);
    if (outcome == ENQUEUE_PENDING) {
        return 0;
    }
    return outcome == ENQUEUE_CONFIRMED ? ack_moved(l, 0, n, out, e) : put_first(l, n, out, e);
}

int spool_move(struct queue *file, struct queue *to, struct enqueue_pool *puts, size_t max,
               struct spool_moved *out, struct err *e)
{
    struct drain_batch *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && max >= 1 && max <= QUEUE_BATCH_MAX);
    l->file = file;
    l->to = to;
    *out = (struct spool_moved){0};
    int result = queue_receive(file, SPOOL_LANE, max, LEASE_MS, 0, l->messages, &l->n, e);
    if (result != 0) {
        (void)err_wrap(e, "spool");
    } else if (l->n == 0) {
        int64_t begun_us = clock_mono_us();
        result = queue_ping(to, e);
        out->put_us = clock_mono_us() - begun_us;
    } else {
        out->received = l->n;
        out->oldest_ms = l->messages[0].enqueued_ms;
        result = move_batch(l, puts, out, e);
    }
    for (size_t i = 0; i < l->n; i++) {
        queue_message_fini(&l->messages[i]);
    }
    free(l);
    return result;
}
