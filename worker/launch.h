/*
 * What happens to one launch message: the protocol over ledger, GitHub and provider.
 *
 *   reserve a slot and a row -> register a one-job runner -> pack its payload -> run a VM -> record
 *
 * The message is always settled: done, returned, or buried; if the store refuses even that, its
 * lease brings it back, and the count of demand and supply keeps it from launching twice.
 */
#ifndef MAYFLY_WORKER_LAUNCH_H
#define MAYFLY_WORKER_LAUNCH_H

#include "worker/lane.h"
#include "worker/worker.h"

/* Handles m, taken from the lane of a class; calls lane_reserved once. Borrows everything. */
void launch(struct worker *w, struct lane *lane, const struct config *c, struct queue_message *m);

#endif
