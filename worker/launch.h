/*
 * One launch message, from its receipt to its ack, nack or dead letter:
 *
 *   1 reserve    ledger    a slot within the caps, and the VM's row, in one transaction
 *   2 register   GitHub    a runner that may run one job (JIT config); its id goes into the row
 *   3 pack       -         the payload of the VM's agent: the JIT config and the VM's limits
 *   4 run        provider  the VM, with the row's client token
 *   5 record     ledger    the VM's id and its deadline go into the row
 *
 * The row exists before the registration, and has its id before a VM may exist, so that the reaper
 * can clean up after a crash at any point. If a step from 2 to 5 fails, registration, VM and row
 * are removed at once. If the queue fails to ack, nack or dead-letter the message, its lease
 * expires and it is delivered again; the count of demand and supply keeps it from launching twice.
 */
#ifndef MAYFLY_WORKER_LAUNCH_H
#define MAYFLY_WORKER_LAUNCH_H

#include "worker/lane.h"
#include "worker/worker.h"

/* Handles m, received from the lane of a class; calls lane_reservation_ended once. Borrows all. */
void launch(struct worker *w, struct lane *lane, const struct config *c, struct queue_message *m);

#endif
