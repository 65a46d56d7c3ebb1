/*
 * What a queue backend implements. For the front (queue.c) and the backends alone.
 *
 * The front checks arguments and owns the waiting policy and the metrics; a backend only
 * translates. The contracts of the calls are in queue.h; differences are stated at the types here.
 */
#ifndef MAYFLY_QUEUE_BACKEND_H
#define MAYFLY_QUEUE_BACKEND_H

#include "common/queue/queue.h"

/* existing: creates nothing; ERR_NOT_FOUND if there is no store. */
typedef int queue_open_fn(const char *url, bool existing, void **out_state, struct err *e);
typedef void queue_close_fn(void *state);
typedef int queue_put_fn(void *state, const struct queue_item *items, size_t n, struct err *e);
/* One attempt; does not wait. */
typedef int queue_receive_fn(void *state, const char *lane, size_t max, int64_t lease_ms,
                             struct queue_message *out, size_t *got, struct err *e);
/* Waits until a receive from the lane may find a message, or timeout_ms passed; may return early.
 * */
typedef void queue_wait_fn(void *state, const char *lane, int64_t timeout_ms);
/* Replaces receive and wait for a store that waits itself because each poll is billed. As
 * queue_receive, waiting up to wait_ms (0: one poll). May return early with no message, but not in
 * a busy loop. */
struct queue_receive_args {
    const char *lane;
    size_t max;
    int64_t lease_ms;
    int64_t wait_ms;
};
typedef int queue_poll_fn(void *state, const struct queue_receive_args *w,
                          struct queue_message *out, size_t *got, struct err *e);
typedef int64_t queue_poll_wait_fn(const void *state);
typedef void queue_keep_fn(void *state, const char *lane); /* see queue_keep */
typedef void queue_wake_fn(void *state); /* makes all present and later waits return */
typedef int queue_extend_fn(void *state, struct queue_message *m, int64_t lease_ms, struct err *e);
typedef int queue_ack_fn(void *state, const struct queue_message *m, size_t n, struct err *e);
typedef int queue_nack_fn(void *state, const struct queue_message *m, const struct queue_return *r,
                          struct err *e);
typedef int queue_dead_letter_fn(void *state, const struct queue_message *m, const char *reason,
                                 struct err *e);
typedef int queue_depths_fn(void *state, const char *lane, struct queue_depth **out, size_t *n,
                            struct err *e);
typedef int queue_dead_fn(void *state, const char *lane, size_t max, struct queue_entry **out,
                          size_t *n, struct err *e);
typedef int queue_find_fn(void *state, const char *key, size_t max, struct queue_entry **out,
                          size_t *n, struct err *e);
typedef int queue_by_id_fn(void *state, const char *id, struct err *e);
typedef int queue_judge_dead_fn(void *state, queue_judge_fn *judge, void *arg, int64_t *done,
                                struct err *e);
typedef int queue_ping_fn(void *state, struct err *e);
typedef int queue_check_fn(void *state, bool dead_letters, struct buf *out, struct err *e);

/* For mayflyctl and the reaper. A backend that cannot search has no `find`; one that cannot browse
 * has no admin operations at all. The front returns the error for a missing one. */
struct queue_admin_ops {
    queue_dead_fn *dead; /* dead, redrive and delete: QUEUE_BROWSE */
    queue_by_id_fn *redrive;
    queue_by_id_fn *delete;
    queue_judge_dead_fn *judge_dead; /* NULL: the front lists, and redrives or deletes singly */
    queue_find_fn *find;             /* QUEUE_FIND; or NULL */
};

struct queue_ops {
    const char *scheme; /* for error messages: "sqlite" */
    bool over_aws;      /* the client of AWS counts its calls */
    unsigned can;       /* QUEUE_DEPTHS, QUEUE_FAIR, QUEUE_SCANS; `admin` determines the others */
    queue_open_fn *open;
    queue_close_fn *close;
    queue_put_fn *put;
    queue_receive_fn *receive; /* either receive and wait, or poll */
    queue_wait_fn *wait;
    queue_poll_fn *poll;
    queue_poll_wait_fn *poll_wait; /* NULL: a second */
    queue_keep_fn *keep;           /* NULL: a lane belongs to nobody */
    queue_wake_fn *wake;
    queue_extend_fn *extend;
    queue_ack_fn *ack;
    queue_nack_fn *nack;
    queue_dead_letter_fn *dead_letter;
    queue_depths_fn *depths;
    const struct queue_admin_ops *admin; /* NULL: none */
    queue_ping_fn *ping;
    queue_check_fn *check; /* NULL: the store has no settings of its own to check */
};

/* The backends there are (backends.c). */
struct queue_backend {
    const char *scheme;  /* of the URL */
    const char *example; /* a URL for error messages; NULL: this scheme is not suggested */
    const struct queue_ops *ops;
};
extern const struct queue_backend queue_backends[];
extern const size_t queue_backend_count;

#endif
