/*
 * What the threads of mayfly-worker share.
 *
 *   events.c         receives lane `events`, applies them to the ledger, passes VMs to terminators
 *   displaced.c      another launch request for a job whose VM an unknown one took
 *   former_classes.c warns of classes that are not configured any more
 *   launch_pool.c    the launch threads, and share.c, the rule by which classes share them
 *   lane.c           one per class: receives a message only while the class has capacity
 *   reconcile.c      the VMs of a class that the ledger does not know, before any is launched
 *   old_request.c    requests that are older than what the ledger knows
 *   launch.c         the launch protocol of one message, from top to bottom
 *   launch_image.c   which version of the class's image a launch uses
 *   hand_over.c      the id of a VM that was launched while the ledger was away
 *   idle/            launches of VMs that idle until a job comes
 *   returns.c        when a message that met a full cap comes back
 *   heartbeat.c      keeps the messages and rows of launches in flight
 *   takeover.c       terminates what a dead worker left of a job's launch
 *   terminators.c    terminates VMs whose job has ended, which releases their slots
 *   neighbours.c     warns of hosts that wait for each other
 *   launcher/        the process that gives VMs their users
 *   vm_watch.c       reports what happens to this host's VMs
 *   probe.c          whether GitHub or a target that was in trouble works again
 *
 * main sets the struct up before the threads start and tears it down after they are joined; its
 * members are thread-safe or never change.
 */
#ifndef MAYFLY_WORKER_WORKER_H
#define MAYFLY_WORKER_WORKER_H

#include "common/base/metrics.h"
#include "common/base/wakeup.h"
#include "common/config/config.h"
#include "common/fleet/circuits.h"
#include "common/fleet/class_images.h"
#include "common/fleet/fleet.h"
#include "common/fleet/pauses.h"
#include "common/fleet/repositories.h"
#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"

struct terminators;
struct presence;
struct heartbeat;

#define WORKER_SILENT_ROWS 4096
#define WORKER_RETURNS 1024
#define WORKER_CLASSES 64

/* Of one repository: when the last of its messages comes back. */
struct worker_return {
    uint64_t repository; /* its hash */
    int64_t at_ms;       /* monotonic; 0: no repository yet */
};

struct worker {
    struct config_live *config;
    struct queue *queue;
    struct ledger *ledger;
    struct github *github;
    struct fleet *fleet;
    struct circuits *circuits;
    struct pauses *pauses;
    struct class_images *images;
    struct presence *presence; /* NULL in tests */
    struct terminators *terminators;
    struct heartbeat *heartbeat;                      /* of the launches in flight */
    _Atomic uint64_t silent_rows[WORKER_SILENT_ROWS]; /* what takeover.c has noted */
    struct worker_return returns[WORKER_RETURNS];     /* for returns.c */
    int64_t jobless_due_ms[WORKER_CLASSES];           /* atomic; by class, for events.c */
    int64_t gap_due_ms;                               /* atomic, monotonic; for events.c */
    struct repositories_noted repositories;           /* of events, for the reaper */
    struct wakeup intake;  /* raised: receive nothing more; woken: a slot was released */
    struct wakeup working; /* raised last: all threads end */
};

/* Stops receiving: raises w->intake and interrupts the waiting receives. */
void worker_stop_intake(struct worker *w);

/* Each logs a failure once; the lease then expires and the message is delivered again. */
void worker_ack(struct worker *w, const struct queue_message *m);
void worker_nack(struct worker *w, const struct queue_message *m, const struct queue_return *r);
void worker_dead_letter(struct worker *w, const struct queue_message *m, const char *reason);
/* A message that could not be decoded: a newer format is returned, unspent, for a worker that can
 * read it; any other is dead-lettered. */
void worker_reject(struct worker *w, const struct queue_message *m, const struct err *why);

#endif
