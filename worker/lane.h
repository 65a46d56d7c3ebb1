/*
 * The launch lane of one class: when a message may be received from it.
 *
 * A message that cannot be launched is not received (invariant 5): the one thread that polls the
 * lane waits until the class has capacity (a free slot and a rate token in the ledger, less the
 * messages that were received and have no slot yet), the ledger knows the class's VMs
 * (reconcile.h), no operator has paused the class, and no circuit is open of what all of its launches
 * depend on (the class, its provider's target, GitHub, …).
 * The launch pool lets one thread at a time poll a lane; the other functions may be called from any
 * thread.
 */
#ifndef MAYFLY_WORKER_LANE_H
#define MAYFLY_WORKER_LANE_H

#include "worker/worker.h"

struct lane;

struct lane *lane_new(struct worker *w, const struct config_class *class);
void lane_free(struct lane *lane);
const char *lane_class(const struct lane *lane);

/* One poll: waits for capacity and for a message, at most about as long as one poll of the queue.
 * Returns whether *m holds a message: then lane_reservation_ended must follow. */
bool lane_poll(struct lane *lane, const struct config *c, struct queue_message *m);
/* The received message has its slot, or will not get one. */
void lane_reservation_ended(struct lane *lane);
/* The places, by their order in the class, that no launch may go to yet: the ledger may not know their
 * VMs. */
uint64_t lane_unknown_places(const struct lane *lane);

/* A line in the timeline of a job whose request was in the lane since then (wall clock) and has its
 * slot now: what it waited for (lane_waits.h). None if that was nothing. Any thread. */
void lane_log_waits(struct lane *lane, int64_t job_id, const char *vm, int64_t since_ms);
/* Whether class, fleet or all targets were seen at their cap within that time. Any thread. */
bool lane_was_full(const struct lane *lane, int64_t within_ms);
/* Since when the ledger knows all jobs and VMs (struct fleet_knowledge), as the last poll that received
 * a message saw it. */
int64_t lane_known_since_ms(const struct lane *lane);

#endif
