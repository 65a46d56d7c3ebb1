/*
 * The durable queue: lanes of messages, delivered at least once, in best-effort order.
 *
 * A lane's name is 1 to 64 characters of [a-z0-9.-]: "events", or "launch.<class>". A message is
 * ready, leased (received), delayed, or dead. When a lease expires, the message is ready again. Its
 * holder can still ack it until another process receives it; after that the holder gets
 * ERR_CONFLICT. Attempts are counted in the message's record, not by the store: a message that is
 * returned for lack of a slot, or whose worker stopped, has spent none. An expired lease spends no
 * attempt; only a nack with spend_attempt does.
 *
 *     put ──> ready ──receive──> leased ──ack──> (deleted)
 *               ^                  │ ├─nack(delay)──> delayed ──due──> ready
 *               └──lease expires───┘ └─dead_letter──> dead ──redrive──> ready
 *
 * All calls block; a handle may be used from any number of threads. A put that returns 0 is durable
 * (invariant 1). Errors: the store's trouble, which ends some time and which the caller waits for,
 * is ERR_RETRY (unreachable, busy, unclear), ERR_THROTTLED, ERR_CAPACITY (full) or ERR_AUTH (until an
 * operator acts: permissions, a queue that does not exist, a damaged file). ERR_CONFLICT: the caller
 * no longer holds the lease. ERR_NOT_FOUND: no dead letter has the id. ERR_PERMANENT: the argument,
 * or a message that this queue never takes.
 *
 * queue_can reports what a store cannot do. sqs/sqs.c describes where SQS differs.
 */
#ifndef MAYFLY_QUEUE_QUEUE_H
#define MAYFLY_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define QUEUE_LANE_MAX 64
#define QUEUE_BODY_MAX_BYTES (64 * 1024)
#define QUEUE_BATCH_MAX 1024
#define QUEUE_ATTEMPTS_MAX 1000000 /* a larger count is reported as this */
#define QUEUE_RECEIPT_SIZE 1280    /* SQS documents handles of up to 1024 characters */

struct queue;

struct queue_item { /* one message to put */
    const char *lane;
    struct slice body;
    const char *key;  /* for queue_find: the job id in decimal; "" none */
    int64_t delay_ms; /* 0: ready at once */
    const char
        *group; /* whose it is: the repository; "" or NULL none. Ignored without QUEUE_FAIR */
};

struct queue_message {
    char id[64]; /* for logs and for the dead-letter commands */
    char lane[QUEUE_LANE_MAX + 1];
    char key[32];
    char *body; /* owned by the message, terminated; body_len bytes */
    size_t body_len;
    int64_t attempts;                 /* spent so far; 0 on the first receive */
    int64_t enqueued_ms;              /* wall clock of the put */
    int64_t leased_until_ms;          /* wall clock */
    char receipt[QUEUE_RECEIPT_SIZE]; /* the backend's proof of the lease */
};
/* Frees what a message owns; a zeroed message is fine. */
void queue_message_fini(struct queue_message *m);

/* url: sqlite:///path/to/file, redis://… (common/redis/store.h), sqs://… (sqs/url.h), or, for
 * tests, memory://NAME. Creates and migrates the store as needed (SQS: only with create=1). A file
 * or a key layout of a newer version is ERR_PERMANENT. */
MUST_CHECK int queue_open(const char *url, struct queue **out, struct err *e);
/* The same for mayflyctl and the checks, which look and repair: creates and migrates nothing at the
 * open; ERR_NOT_FOUND if no program has made it, ERR_CONFLICT if the daemons would migrate it. (A lane
 * that a put needs is made as ever.) */
MUST_CHECK int queue_open_existing(const char *url, struct queue **out, struct err *e);
/* No call may be in progress (queue_interrupt ends those that wait). NULL is fine. */
void queue_close(struct queue *q);

/* What not every store can do. Check it first; do not infer it from an error. */
enum queue_capability {
    QUEUE_FIND = 1,   /* queue_find */
    QUEUE_BROWSE = 2, /* queue_dead, queue_redrive and queue_delete */
    QUEUE_DEPTHS = 4, /* queue_depths is exact. Without it, depths are estimates, and a message
                         returned with a delay may count as leased */
    QUEUE_SCANS = 16, /* find, and the dead letters, read whole topics: for people only */
    QUEUE_FAIR = 8,   /* receives from the groups of a lane in turn, a message of each, however many
                           of each there are (queue_item.group). SQS does it by measuring */
    QUEUE_ORDERED =
        32, /* receives a group's messages in one order: as they were put, and a returned
                           one behind those that were there; without QUEUE_FAIR, a lane's. Without it
                           the order is the store's own (SQS), or one of each partition (Kafka) */
    QUEUE_PARTITIONED = 64, /* a lane is divided among its consumers: a message waits for its own */
};
bool queue_can(const struct queue *q, enum queue_capability c);
/* The longest delay of a put or a nack; a longer one is ERR_PERMANENT. */
#define QUEUE_DELAY_MAX_MS (30LL * 24 * 3600 * 1000)

/* Durable on success. All or nothing, except on SQS: there, the messages sent before a failure
 * stay, so a repeated put duplicates them (at least once). n in 1..QUEUE_BATCH_MAX. */
MUST_CHECK int queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);

/* Receives up to max ready messages of a lane and leases them for lease_ms. They come as they were
 * put; one that was returned, delayed or redriven goes behind those never tried that are there by
 * then; one whose lease expired keeps its place (but see QUEUE_ORDERED). Waits up
 * to wait_ms for the first one; *got may be 0. The caller owns the messages in out[0..*got).
 * queue_interrupt makes all present and later waits return at once (SQS: within the poll_wait of
 * its URL). */
MUST_CHECK int queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms,
                             int64_t wait_ms, struct queue_message *out, size_t *got,
                             struct err *e);
void queue_interrupt(struct queue *q);
/* Says that the caller receives from the lane again as soon as a cap allows it. A store that gives
 * parts of a lane to its receivers (Kafka) would else leave them to others after a while. */
void queue_keep(struct queue *q, const char *lane);
/* The wait_ms to use in a receive loop: a second where a poll costs nothing, longer where each poll
 * is a billed request. */
int64_t queue_poll_wait_ms(const struct queue *q);

MUST_CHECK int queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms,
                            struct err *e);
/* Deletes each of the n messages whose lease the caller still holds. ERR_CONFLICT if any lease was
 * lost; the others are deleted all the same. */
MUST_CHECK int queue_ack(struct queue *q, const struct queue_message *m, size_t n, struct err *e);

struct queue_return {
    int64_t delay_ms;
    bool spend_attempt;
    const char *reason; /* last error or cause of waiting, stored; cut at 500 bytes; may be NULL */
};
MUST_CHECK int queue_nack(struct queue *q, const struct queue_message *m,
                          const struct queue_return *r, struct err *e);
/* m->attempts: how many were spent; the caller has counted the last. */
MUST_CHECK int queue_dead_letter(struct queue *q, const struct queue_message *m, const char *reason,
                                 struct err *e);

/* --- status, dead letters, search; a call that the store cannot do is ERR_PERMANENT --- */
struct queue_depth {
    char lane[QUEUE_LANE_MAX + 1];
    int64_t ready;
    int64_t leased;
    int64_t delayed;
    int64_t dead;
    int64_t oldest_ready_ms; /* age of the oldest ready one; 0 none */
};
/* All lanes that hold messages, or the requested one (zeros if it is empty). *out: owned, free().
 */
MUST_CHECK int queue_depths(struct queue *q, const char *lane_or_null, struct queue_depth **out,
                            size_t *n, struct err *e);

enum queue_place { QUEUE_READY, QUEUE_LEASED, QUEUE_DELAYED, QUEUE_DEAD };
struct queue_entry {
    struct queue_message message; /* without a receipt */
    enum queue_place place;
    int64_t due_ms;           /* leased, delayed: when it is ready again, wall clock */
    int64_t ahead;            /* ready messages before it in its lane and group; -1 unknown */
    int64_t dead_lettered_ms; /* dead: when, wall clock; else 0 */
    char reason[512];
};
/* Up to max entries, oldest first: the dead letters of a lane (NULL: all lanes), or all messages
 * with one key. *out: owned, queue_entries_free. */
MUST_CHECK int queue_dead(struct queue *q, const char *lane_or_null, size_t max,
                          struct queue_entry **out, size_t *n, struct err *e);
MUST_CHECK int queue_find(struct queue *q, const char *key, size_t max, struct queue_entry **out,
                          size_t *n, struct err *e);
void queue_entries_free(struct queue_entry *entries, size_t n);

/* Moves the dead letter with this message id back to ready, with its attempts at zero.
 * ERR_NOT_FOUND if no dead letter has the id. */
MUST_CHECK int queue_redrive(struct queue *q, const char *id, struct err *e);
/* Deletes the dead letter with this message id permanently. Errors: as queue_redrive. */
MUST_CHECK int queue_delete(struct queue *q, const char *id, struct err *e);

/* What to do with one dead letter. */
enum queue_verdict { QUEUE_LEAVE, QUEUE_REDRIVE, QUEUE_DELETE, QUEUE_STOP };
typedef enum queue_verdict queue_judge_fn(void *arg, const struct queue_entry *entry);
/* Calls judge for every dead letter of all lanes, without a limit, and does what it returns;
 * QUEUE_STOP ends the call with success. judge must not call the queue; a dead letter may come
 * twice. One that another process took meanwhile is passed over. *done: how many were redriven or
 * deleted, also after a failure. */
MUST_CHECK int queue_judge_dead(struct queue *q, queue_judge_fn *judge, void *arg, int64_t *done,
                                struct err *e);

/* Checks the store's own settings at program start. Appends one line of warning for each setting
 * that could lose a confirmed message. dead_letters: this program gives messages up, so what keeps
 * them is checked too; one that only puts needs no access to it. out: borrowed, initialised. */
MUST_CHECK int queue_check(struct queue *q, bool dead_letters, struct buf *out, struct err *e);

/* A cheap check that the store responds, for /readyz. */
MUST_CHECK int queue_ping(struct queue *q, struct err *e);

#endif
