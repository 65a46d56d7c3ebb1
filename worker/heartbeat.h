/*
 * The heartbeat of launches in flight: keeps their messages leased and their rows fresh.
 *
 *   heartbeat_begin -> heartbeat_step … -> heartbeat_set_row -> heartbeat_step … -> heartbeat_end
 *
 * A launch may last longer than worker.visibility_timeout. A thread of its own extends the message of every
 * launch in flight, and stamps the VM's row, each third of a lease; but only while the launch makes
 * progress: each step has a deadline, and so has the whole launch. After either the launch is left
 * alone, its lease runs out, and another worker takes the message. The reaper sees by the same
 * stamps that the row's worker is gone or hangs. Each of the two is done though the other's store
 * is down; heartbeat_holds needs both.
 *
 * Ownership: between begin and end the message's receipt belongs to the heartbeat, since extending
 * may change it; the other members may be read. heartbeat_end waits until no extension of that
 * message is under way and hands it back. The store is called without the lock, so that one slow
 * call delays no other thread but the one that ends that launch. Any number of threads may launch.
 */
#ifndef MAYFLY_WORKER_HEARTBEAT_H
#define MAYFLY_WORKER_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/worker.h"

struct heartbeat;

/* One launch in flight. Lives in its thread's frame; its members are the heartbeat's. */
struct heartbeat_launch {
    struct heartbeat_launch *next;
    struct queue_message *message;
    char vm[VM_NAME_SIZE];    /* the row that is stamped; "" none yet */
    const char *step;         /* a literal */
    int64_t lease_ms;         /* as it was taken, and as it is extended */
    int64_t last_ms;          /* monotonic: when the last successful heartbeat began */
    int64_t due_ms;           /* monotonic: the next heartbeat */
    int64_t step_deadline_ms; /* monotonic */
    int64_t deadline_ms;      /* monotonic: of the whole launch */
    bool beating;             /* the thread extends a copy of the message */
    bool lost;                /* the message or the row is another's */
    bool stuck;               /* past a deadline, and logged */
};

/* Borrows the worker's queue and ledger. Free: no launch may be in flight; ends the thread. */
struct heartbeat *heartbeat_new(struct worker *w);
void heartbeat_free(struct heartbeat *h);

/* Starts the thread, once; ERR_CAPACITY when there can be none. */
MUST_CHECK int heartbeat_start(struct heartbeat *h, struct err *e);

/* m was taken for lease_ms just now; its launch may take timeout_ms in all. Borrows m until end. */
void heartbeat_begin(struct heartbeat *h, struct heartbeat_launch *l, struct queue_message *m,
                     int64_t lease_ms, int64_t timeout_ms);
/* The launch goes on: this step may take limit_ms. */
void heartbeat_step(struct heartbeat *h, struct heartbeat_launch *l, const char *step,
                    int64_t limit_ms);
/* From now on this VM's row is stamped too; "": none any more. */
void heartbeat_set_row(struct heartbeat *h, struct heartbeat_launch *l, const char *vm);
/* Whether message and row are still this launch's: the last heartbeat is no older than a lease, and
 * none found them another's. *age_ms: how old that is. */
bool heartbeat_holds(struct heartbeat *h, struct heartbeat_launch *l, int64_t *age_ms);
/* The message is the caller's again. */
void heartbeat_end(struct heartbeat *h, struct heartbeat_launch *l);

/* What the thread does, once: every heartbeat that is due. Returns after how long the next one is,
 * in ms. */
int64_t heartbeat_round(struct heartbeat *h);

#endif
