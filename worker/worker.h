/*
 * What the threads of mayfly-worker share.
 *
 *   events.c         takes lane `events`, notes each in the ledger, hands ended VMs to the terminators
 *   launch_pool.c    the launch threads, and share.c, the rule by which classes share them
 *   lane.c           one per class: takes a message only while the class has room
 *   launch.c         what happens to one launch message, from top to bottom
 *   heartbeat.c      keeps the messages and rows of launches in flight
 *   takeover.c       ends what a dead worker left of a job's launch
 *   terminators.c         ends VMs whose job is over, which frees their slots
 *   class_circuit.c  stops a class whose launches are refused
 *   outcome.c        the table that turns an error's class into retry, wait or bury
 *
 * The struct is set up by main before the threads start and torn down after they were joined; its
 * members are thread-safe or never change.
 */
#ifndef MAYFLY_WORKER_WORKER_H
#define MAYFLY_WORKER_WORKER_H

#include "common/base/metrics.h"
#include "common/base/wakeup.h"
#include "common/config/config.h"
#include "common/fleet/fleet.h"
#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"

struct terminators;
struct heartbeat;

struct worker {
    struct config_live *config;
    struct queue *queue;
    struct ledger *ledger;
    struct github *github;
    struct fleet *fleet;
    struct terminators *terminators;
    struct heartbeat *heartbeat; /* of the launches in flight */
    struct wakeup intake;        /* raised: take nothing more; woken: a slot was freed */
    struct wakeup working;       /* raised last: everything ends */
};

/* Nothing more is taken: raises w->intake and ends the waits of takes. */
void worker_stop_intake(struct worker *w);

/* Messages go back to their lane through here, so that a failure to do so is logged once and
 * counted; the lease then brings the message back. */
void worker_ack(struct worker *w, const struct queue_message *m);
void worker_nack(struct worker *w, const struct queue_message *m, const struct queue_return *r);
void worker_dead_letter(struct worker *w, const struct queue_message *m, const char *reason);
/* A message that could not be decoded: one of a newer format is returned, unspent, for a worker
 * that can read it; what nobody can read is buried. */
void worker_reject(struct worker *w, const struct queue_message *m, const struct err *why);

#endif
