/*
 * The launch lane of one class: when a message may be taken from it.
 *
 * A message is never taken that cannot be launched (invariant 5): the one thread that polls the
 * lane waits until the class has room (a free slot and a rate token as the ledger counts them, less
 * what was taken and has not reserved yet), is not paused and not stopped by its circuit. The
 * launch pool sees to it that one thread at a time polls; the rest is safe from any thread.
 */
#ifndef MAYFLY_WORKER_LANE_H
#define MAYFLY_WORKER_LANE_H

#include "worker/class_circuit.h"
#include "worker/worker.h"

struct lane;

struct lane *lane_new(struct worker *w, const char *class_name);
void lane_free(struct lane *lane);

/* One look for a message; waits for room and for a message, about as long as a poll of the queue at
 * most. Returns whether *m holds one: then lane_reserved and lane_launch_ended must follow. */
bool lane_poll(struct lane *lane, const struct config *c, struct queue_message *m);
/* The taken message has its slot, or will not have one. */
void lane_reserved(struct lane *lane);
/* Whatever became of it. */
void lane_launch_ended(struct lane *lane, const struct queue_message *m);

/* The class's circuit, as long as the lane. */
struct class_circuit *lane_circuit(struct lane *lane);
/* No polls before that (monotonic ms), for a quota or a rate limit of the other side. */
void lane_pause_until(struct lane *lane, int64_t mono_ms);

#endif
