/*
 * The queue on Redis: put, receive, and the calls of a lease's holder.
 *
 * This file only passes arguments to the scripts (redis/scripts.c) and reads their results. A lease
 * is the pair of the message's id and the record's lease number, which grows with every change of
 * holder. After an outage in the middle of a call the step may have happened: a repeated put makes
 * a second message (at least once), a repeated receive leaves leases that expire, and any other
 * repeated call finds the lease lost (ERR_CONFLICT) or the message gone (ERR_NOT_FOUND). Nothing is
 * lost.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/queue/redis/internal.h"

/* --- opening --- */
static int read_version(struct redis_store *store, int64_t *version, struct err *e)
{
    struct redis_args args;
    struct redis_reply *reply = NULL;
    char key[128];
    (void)snprintf(key, sizeof key, "%s:q:version", redis_store_root(store));
    redis_args_init(&args);
    redis_arg_text(&args, "GET");
    redis_arg_text(&args, key);
    int rc = redis_store_call(store, &args, &reply, e);
    *version = redis_reply_int(reply, 0);
    redis_reply_free(reply);
    redis_args_fini(&args);
    return rc;
}

static int write_version(struct redis_store *store, int64_t *version, struct err *e)
{
    struct redis_args args;
    struct redis_reply *reply = NULL;
    redis_args_init(&args);
    redis_arg_int(&args, QUEUE_REDIS_VERSION);
    int rc = redis_store_write(store, &queue_script_open, &args, &reply, e);
    *version = redis_reply_int(reply, 0);
    redis_reply_free(reply);
    redis_args_fini(&args);
    return rc;
}

/* Writes only into a new queue: programs must be able to start while the server refuses writes. */
static int check_queue_layout(struct redis_store *store, bool existing, struct err *e)
{
    int64_t version = 0;
    if (read_version(store, &version, e) != 0) {
        return -1;
    }
    if (version == 0 && existing) {
        return err_set(
            e, ERR_NOT_FOUND, 0,
            "there is no queue of %s on Redis at %s: its prefix or database in the "
            "configuration is wrong, or no daemon has run with it yet or since it was emptied",
            redis_store_root(store), redis_store_server(store));
    }
    if (version == 0 && write_version(store, &version, e) != 0) {
        return -1;
    }
    if (version != QUEUE_REDIS_VERSION) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the queue of %s on Redis at %s has key layout %lld; this version supports "
                       "only %d: run the newer version",
                       redis_store_root(store), redis_store_server(store), (long long)version,
                       QUEUE_REDIS_VERSION);
    }
    return 0;
}

static int redis_open_queue(const char *url, bool existing, void **out_state, struct err *e)
{
    struct redis_store *store;
    if (redis_store_open(url, &store, e) != 0) {
        return -1;
    }
    if (check_queue_layout(store, existing, e) != 0) {
        redis_store_close(store);
        return -1;
    }
    struct queue_redis *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    q->store = store;
    q->waiters = queue_redis_waiters_new(store);
    *out_state = q;
    return 0;
}

static void redis_close_queue(void *state)
{
    struct queue_redis *q = state;
    queue_redis_waiters_free(q->waiters);
    redis_store_close(q->store);
    free(q);
}

/* --- put --- */
#define ITEM_BYTES 160 /* of a message's arguments, beside its body */

static void reserve_args(struct redis_args *args, const struct queue_item *items, size_t n)
{
    size_t bytes = n * ITEM_BYTES;
    for (size_t i = 0; i < n; i++) {
        bytes += items[i].body.len;
    }
    buf_reserve(&args->wire, bytes);
}

static int redis_put(void *state, const struct queue_item *items, size_t n, struct err *e)
{
    struct queue_redis *q = state;
    struct redis_args args;
    struct redis_reply *reply = NULL;
    redis_args_init(&args);
    reserve_args(&args, items, n);
    for (size_t i = 0; i < n; i++) {
        redis_arg_text(&args, items[i].lane);
        redis_arg_text(&args, items[i].key);
        redis_arg_text(&args, items[i].group);
        redis_arg_int(&args, items[i].delay_ms);
        redis_arg(&args, items[i].body);
    }
    int rc = redis_store_write(q->store, &queue_script_put, &args, &reply, e);
    redis_reply_free(reply);
    redis_args_fini(&args);
    return rc;
}

/* --- receive --- */
void queue_redis_message(const struct redis_reply *r, struct queue_message *m)
{
    struct slice body = redis_reply_bytes(redis_reply_at(r, 5));
    *m = (struct queue_message){0};
    redis_reply_text(redis_reply_at(r, 0), m->id, sizeof m->id);
    redis_reply_text(redis_reply_at(r, 1), m->lane, sizeof m->lane);
    redis_reply_text(redis_reply_at(r, 2), m->key, sizeof m->key);
    m->attempts = redis_reply_int(redis_reply_at(r, 3), 0);
    m->enqueued_ms = redis_reply_int(redis_reply_at(r, 4), 0);
    m->body = slice_dup(body);
    m->body_len = body.len;
}

static size_t read_received(const struct redis_reply *reply, struct queue_message *out, size_t max)
{
    const struct redis_reply *all = redis_reply_at(reply, 2);
    size_t n = redis_reply_count(all);
    n = n < max ? n : max;
    for (size_t i = 0; i < n; i++) {
        const struct redis_reply *one = redis_reply_at(all, i);
        queue_redis_message(one, &out[i]);
        out[i].leased_until_ms = redis_reply_int(redis_reply_at(reply, 1), 0);
        (void)snprintf(out[i].receipt, sizeof out[i].receipt, "%s.%" PRId64, out[i].id,
                       redis_reply_int(redis_reply_at(one, 6), 0));
    }
    return n;
}

static int redis_receive(void *state, const char *lane, size_t max, int64_t lease_ms,
                         struct queue_message *out, size_t *got, struct err *e)
{
    struct queue_redis *q = state;
    struct redis_args args;
    struct redis_reply *reply = NULL;
    int64_t announced = queue_redis_announced(q->waiters, lane);
    redis_args_init(&args);
    redis_arg_text(&args, lane);
    redis_arg_int(&args, (int64_t)max);
    redis_arg_int(&args, lease_ms);
    int rc = redis_store_eval(q->store, &queue_script_receive, &args, &reply, e);
    if (rc == 0) {
        *got = read_received(reply, out, max);
        if (*got < max) {
            queue_redis_emptied(q->waiters, lane, announced,
                                redis_reply_int(redis_reply_at(reply, 0), -1));
        }
    }
    redis_reply_free(reply);
    redis_args_fini(&args);
    return rc;
}

static void redis_wait(void *state, const char *lane, int64_t timeout_ms)
{
    struct queue_redis *q = state;
    queue_redis_wait(q->waiters, lane, timeout_ms);
}

static void redis_wake(void *state)
{
    struct queue_redis *q = state;
    queue_redis_waiters_interrupt(q->waiters);
}

/* --- calls of a lease's holder --- */
/* The lease's two numbers; zeros, which match no record, if the receipt is malformed. */
static void append_receipt(struct redis_args *args, const struct queue_message *m)
{
    struct slice left;
    struct slice right;
    int64_t id = 0;
    int64_t lease = 0;
    if (!slice_cut(slice_of(m->receipt), '.', &left, &right) || !slice_to_int64(left, &id) ||
        !slice_to_int64(right, &lease) || id <= 0 || lease <= 0) {
        id = 0;
        lease = 0;
    }
    redis_arg_int(args, id);
    redis_arg_int(args, lease);
}

/* Runs a script that returns one number. */
static int eval_for_number(struct queue_redis *q, const struct redis_script *script,
                           struct redis_args *args, int64_t *number, struct err *e)
{
    struct redis_reply *reply = NULL;
    int rc = redis_store_write(q->store, script, args, &reply, e);
    *number = redis_reply_int(reply, 0);
    redis_reply_free(reply);
    redis_args_fini(args);
    return rc;
}

static int redis_lease_lost(const struct queue_message *m, int64_t lost_count, size_t n,
                            struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0,
                   "the lease of %lld of %zu messages (first: %s of %s) expired and was taken over",
                   (long long)lost_count, n, m->id, m->lane);
}

static int redis_ack(void *state, const struct queue_message *m, size_t n, struct err *e)
{
    struct redis_args args;
    int64_t lost_count;
    redis_args_init(&args);
    for (size_t i = 0; i < n; i++) {
        append_receipt(&args, &m[i]);
    }
    if (eval_for_number(state, &queue_script_ack, &args, &lost_count, e) != 0) {
        return -1;
    }
    return lost_count > 0 ? redis_lease_lost(m, lost_count, n, e) : 0;
}

static int redis_extend(void *state, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct redis_args args;
    int64_t until;
    redis_args_init(&args);
    append_receipt(&args, m);
    redis_arg_int(&args, lease_ms);
    if (eval_for_number(state, &queue_script_extend, &args, &until, e) != 0) {
        return -1;
    }
    if (until == 0) {
        return redis_lease_lost(m, 1, 1, e);
    }
    m->leased_until_ms = until;
    return 0;
}

static int redis_nack(void *state, const struct queue_message *m, const struct queue_return *r,
                      struct err *e)
{
    struct redis_args args;
    int64_t held;
    redis_args_init(&args);
    append_receipt(&args, m);
    redis_arg_int(&args, r->delay_ms);
    redis_arg_int(&args, r->spend_attempt ? 1 : 0);
    redis_arg_int(&args, r->reason != NULL ? 1 : 0);
    redis_arg_text(&args, r->reason);
    if (eval_for_number(state, &queue_script_nack, &args, &held, e) != 0) {
        return -1;
    }
    return held == 0 ? redis_lease_lost(m, 1, 1, e) : 0;
}

static int redis_dead_letter(void *state, const struct queue_message *m, const char *reason,
                             struct err *e)
{
    struct redis_args args;
    int64_t held;
    redis_args_init(&args);
    append_receipt(&args, m);
    redis_arg_text(&args, reason);
    redis_arg_int(&args, m->attempts);
    if (eval_for_number(state, &queue_script_dead_letter, &args, &held, e) != 0) {
        return -1;
    }
    return held == 0 ? redis_lease_lost(m, 1, 1, e) : 0;
}

static int redis_ping(void *state, struct err *e)
{
    struct queue_redis *q = state;
    return redis_store_ping(q->store, e);
}

static int redis_check(void *state, bool dead_letters, struct buf *out, struct err *e)
{
    (void)dead_letters; /* in the same keys */
    struct queue_redis *q = state;
    return redis_store_check(q->store, out, e);
}

const struct queue_ops queue_ops_redis = {
    .scheme = "redis",
    .can = QUEUE_DEPTHS | QUEUE_ORDERED | QUEUE_FAIR,
    .open = redis_open_queue,
    .close = redis_close_queue,
    .put = redis_put,
    .receive = redis_receive,
    .wait = redis_wait,
    .wake = redis_wake,
    .extend = redis_extend,
    .ack = redis_ack,
    .nack = redis_nack,
    .dead_letter = redis_dead_letter,
    .depths = queue_redis_depths,
    .admin = &queue_redis_admin,
    .ping = redis_ping,
    .check = redis_check,
};
