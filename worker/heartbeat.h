/*
 * The heartbeat of launches in flight: keeps their messages leased and their rows fresh.
 *
 *   heartbeat_begin -> heartbeat_step... -> heartbeat_set_row -> heartbeat_step... -> heartbeat_end
 *
 * A launch may last longer than worker.visibility_timeout. One thread extends the message of every
 * launch in flight, and stamps the VM's row, each third of a lease; but only while the launch makes
 * progress: each step has a deadline, and so has the whole launch. After either the launch gets no
 * heartbeats, its lease expires, and another worker receives the message. The stamps also show the
 * reaper that the row's worker is dead or hangs. Message and row are each updated even if the
 * other's store is unavailable; heartbeat_still_held needs both.
 *
 * Ownership: between begin and end the message's receipt belongs to the heartbeat, since extending
 * may change it; the other members may be read. heartbeat_end waits until no extension of that
 * message is in progress and returns it. The store is called without the lock, so a slow call
 * delays no other thread but the one that ends that launch. Any number of threads may launch.
 */
#ifndef MAYFLY_WORKER_HEARTBEAT_H
#define MAYFLY_WORKER_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/worker.h"

struct heartbeat;

/* One launch in flight. Lives in its thread's frame; its members belong to the heartbeat. */
struct heartbeat_launch {
    struct heartbeat_launch *next;
    struct queue_message *message;
    char vm[VM_NAME_SIZE];    /* the row that is stamped; "" none yet */
    const char *step;         /* a literal */
    int64_t lease_ms;         /* of the receive, and of each extension */
    int64_t last_ms;          /* monotonic: when the last successful heartbeat began */
    int64_t due_ms;           /* monotonic: the next heartbeat */
    int64_t step_deadline_ms; /* monotonic */
    int64_t deadline_ms;      /* monotonic: of the whole launch */
    bool sending;             /* the thread is extending a copy of the message */
    bool lost;                /* another worker has the message or the row */
    bool stuck;               /* past a deadline, and logged */
};

/* Borrows the worker's queue and ledger. Free: no launch may be in flight; stops the thread. */
struct heartbeat *heartbeat_new(struct worker *w);
void heartbeat_free(struct heartbeat *h);

/* Starts the thread, once; ERR_CAPACITY when it cannot be created. */
MUST_CHECK int heartbeat_start(struct heartbeat *h, struct err *e);

/* m was received just now with a lease of lease_ms; its launch may take timeout_ms in all. Borrows
 * m until heartbeat_end. */
void heartbeat_begin(struct heartbeat *h, struct heartbeat_launch *l, struct queue_message *m,
                     int64_t lease_ms, int64_t timeout_ms);
/* The launch begins a step, which may take limit_ms. */
void heartbeat_step(struct heartbeat *h, struct heartbeat_launch *l, const char *step,
                    int64_t limit_ms);
/* From now on this VM's row is stamped too; "": no row any more. */
void heartbeat_set_row(struct heartbeat *h, struct heartbeat_launch *l, const char *vm);
/* Whether the launch still holds its message and its row: the last heartbeat is no older than a
 * lease, and none found them taken over. *age_ms: the age of the last heartbeat. */
bool heartbeat_still_held(struct heartbeat *h, struct heartbeat_launch *l, int64_t *age_ms);
/* The message belongs to the caller again. */
void heartbeat_end(struct heartbeat *h, struct heartbeat_launch *l);

/* One pass of the thread: sends every heartbeat that is due. Returns the time until the next one,
 * in ms. */
int64_t heartbeat_send_due(struct heartbeat *h);

#endif
