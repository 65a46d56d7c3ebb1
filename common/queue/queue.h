/*
 * The durable queue: lanes of messages, at least once, best-effort order.
 *
 * A lane is named by [a-z0-9.-], 1 to 64 characters: "events", or "launch.<class>". A message is
 * ready, leased (taken), delayed, or dead (buried). A lease that runs out makes it ready again;
 * once another took it, the holder of the old lease gets ERR_CONFLICT (until then it may still
 * finish). Attempts are counted by us in the record: a message that goes back for want of a slot,
 * or whose worker stopped, has spent none; a lease that ran out has spent one only if the holder
 * said so (queue_nack with spend).
 *
 *     put ──> ready ──take──> leased ──done──> (gone)
 *               ^                │ ├─retry(delay)──> delayed ──time──> ready
 *               └──lease over────┘ └─bury(reason)──> dead ──kick──> ready
 *
 * All calls block; a handle may be used from any number of threads. Success of a put means durable
 * (invariant 1). Errors: ERR_RETRY (store unreachable or busy), ERR_PERMANENT (bad argument, newer
 * file, full disk says ERR_CAPACITY), ERR_CONFLICT (the lease is no longer ours).
 *
 * What a store cannot do it says (queue_can); what SQS gives instead stands in sqs/sqs.c.
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

struct queue_item { /* one put */
    const char *lane;
    struct slice body;
    const char
        *key; /* what the message is about (the job id in decimal), for queue_find; "" none */
    int64_t delay_ms; /* 0: ready at once */
    const char
        *group; /* fairness hint: the repository; "" none. A backend without groups ignores it */
};

struct queue_message {
    char id[64]; /* of the message, for people and for the dead-letter commands */
    char lane[QUEUE_LANE_MAX + 1];
    char key[32];
    char *body; /* owned by the message, terminated; body_len bytes */
    size_t body_len;
    int64_t attempts;                 /* spent so far: 0 at the first take */
    int64_t enqueued_ms;              /* wall clock of the put */
    int64_t leased_until_ms;          /* wall clock */
    char receipt[QUEUE_RECEIPT_SIZE]; /* the backend's proof of the lease */
};
/* Frees what a message owns; fine on a zeroed one. */
void queue_message_fini(struct queue_message *m);

/* url: sqlite:///path/to/file, redis://… as common/redis/store.h says, sqs://… as
 * sqs/url.h says, or, for tests, memory://NAME. Creates and migrates as needed (SQS: only
 * with create=1); a file or a layout of a newer version is ERR_PERMANENT. */
MUST_CHECK int queue_open(const char *url, struct queue **out, struct err *e);
/* No call may be under way (queue_interrupt ends those that wait). NULL is fine. */
void queue_close(struct queue *q);

/* What not every store can do. Ask before, rather than read it from an error. */
enum queue_capability {
    QUEUE_FIND = 1,   /* queue_find */
    QUEUE_BROWSE = 2, /* queue_dead, queue_redrive and queue_delete */
    QUEUE_DEPTHS = 4, /* queue_depths counts exactly; else it estimates, and what was returned with
                         a delay may count as leased */
    QUEUE_FAIR = 8,   /* serves the groups of a lane in turn (queue_item.group) */
};
bool queue_can(const struct queue *q, enum queue_capability c);
/* The longest delay of a put or a retry; a longer one is ERR_PERMANENT. */
#define QUEUE_DELAY_MAX_MS (30LL * 24 * 3600 * 1000)

/* Durable on success. All or nothing, but on SQS: there, what was sent before a failure stays, so
 * that a put tried again doubles it (at least once). n in 1..QUEUE_BATCH_MAX. */
MUST_CHECK int queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);

/* Takes up to max ready messages of a lane for lease_ms, oldest first; waits up to wait_ms for the
 * first one. *got may be 0. The messages in out[0..*got) are owned by the caller. queue_interrupt
 * makes all present and later waits return at once (SQS: within the poll_wait of its URL). */
MUST_CHECK int queue_receive(struct queue *q, const char *lane, size_t max, int64_t lease_ms,
                             int64_t wait_ms, struct queue_message *out, size_t *got,
                             struct err *e);
void queue_interrupt(struct queue *q);
/* How long a take should wait for those who take in a loop: a second where looking costs nothing,
 * longer where each look is a request that somebody pays. */
int64_t queue_poll_wait_ms(const struct queue *q);

MUST_CHECK int queue_extend(struct queue *q, struct queue_message *m, int64_t lease_ms,
                            struct err *e);
/* Finishes every one of them whose lease is still ours; ERR_CONFLICT if that was not all of them.
 */
MUST_CHECK int queue_ack(struct queue *q, const struct queue_message *m, size_t n, struct err *e);

struct queue_return {
    int64_t delay_ms;
    bool spend_attempt;
    const char
        *reason; /* last error or cause of waiting, kept with the message; cut at 500 bytes */
};
MUST_CHECK int queue_nack(struct queue *q, const struct queue_message *m,
                          const struct queue_return *r, struct err *e);
MUST_CHECK int queue_dead_letter(struct queue *q, const struct queue_message *m, const char *reason,
                                 struct err *e);

/* --- for people: status, dead letters, "where is job N?"; what the queue cannot (queue_can) is
 * ERR_PERMANENT --- */
struct queue_depth {
    char lane[QUEUE_LANE_MAX + 1];
    int64_t ready;
    int64_t leased;
    int64_t delayed;
    int64_t dead;
    int64_t oldest_ready_ms; /* age of the oldest ready one; 0 none */
};
/* All lanes that hold messages, or the one asked for (zeros if it is empty). *out: owned, free().
 */
MUST_CHECK int queue_depths(struct queue *q, const char *lane_or_null, struct queue_depth **out,
                            size_t *n, struct err *e);

enum queue_place { QUEUE_READY, QUEUE_LEASED, QUEUE_DELAYED, QUEUE_DEAD };
struct queue_entry {
    struct queue_message message; /* without a receipt */
    enum queue_place place;
    int64_t due_ms;    /* ready again at (leased, delayed), wall clock */
    int64_t ahead;     /* ready messages before it in its lane; -1 unknown */
    int64_t buried_ms; /* dead: when; 0 otherwise */
    char reason[512];
};
/* Up to max entries, oldest first: the dead of a lane (NULL: all lanes), or those of one key. */
MUST_CHECK int queue_dead(struct queue *q, const char *lane_or_null, size_t max,
                          struct queue_entry **out, size_t *n, struct err *e);
MUST_CHECK int queue_find(struct queue *q, const char *key, size_t max, struct queue_entry **out,
                          size_t *n, struct err *e);
void queue_entries_free(struct queue_entry *entries, size_t n);

/* Buried back to ready with its attempts at zero; by message id. ERR_NOT_FOUND if it is not dead.
 */
MUST_CHECK int queue_redrive(struct queue *q, const char *id, struct err *e);
/* Removes a buried one for good. */
MUST_CHECK int queue_delete(struct queue *q, const char *id, struct err *e);

/* Looks at the store's own settings and appends a warning a line for each that could lose what a
 * put confirmed; for the start of a program. out: borrowed, initialised. */
MUST_CHECK int queue_check(struct queue *q, struct buf *out, struct err *e);

/* A cheap check that the store answers, for /readyz. */
MUST_CHECK int queue_ping(struct queue *q, struct err *e);

#endif
