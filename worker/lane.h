/*
 * The launch lane of one class: when a message may be received from it.
 *
 * A message that cannot be launched is not received (invariant 5): the one thread that polls the
 * lane waits until the class has capacity (a free slot and a rate token in the ledger, less the
 * messages that were received and have no slot yet), is not paused, and its circuit is not open.
 * The launch pool lets one thread at a time poll a lane; the other functions may be called from any
 * thread.
 */
#ifndef MAYFLY_WORKER_LANE_H
#define MAYFLY_WORKER_LANE_H

#include "worker/class_circuit.h"
#include "worker/worker.h"

struct lane;

struct lane *lane_new(struct worker *w, const char *class_name);
void lane_free(struct lane *lane);

/* One poll: waits for capacity and for a message, at most about as long as one poll of the queue.
 * Returns whether *m holds a message: then lane_reservation_ended and lane_launch_ended must
 * follow. */
bool lane_poll(struct lane *lane, const struct config *c, struct queue_message *m);
/* The received message has its slot, or will not get one. */
void lane_reservation_ended(struct lane *lane);
/* The launch of that message has ended, with any result. */
void lane_launch_ended(struct lane *lane, const struct queue_message *m);

/* The class's circuit; valid as long as the lane. */
struct class_circuit *lane_circuit(struct lane *lane);
/* No polls before that (monotonic ms), because of a quota or a rate limit of GitHub or the
 * provider. */
void lane_pause_until(struct lane *lane, int64_t mono_ms);

#endif
