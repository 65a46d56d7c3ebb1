/*
 * When a message that met a full cap comes back.
 *
 * The lane checks the caps of class and fleet before it receives a message, so there another worker
 * was faster: the lane receives nothing before a slot is released, and the message must be ready
 * again by then. No lane checks a repository's cap. Its messages come back one after the other, so
 * that one is there soon after a slot of the repository is released, and that a thousand of them
 * cost no more than a few each second; the more there are, the longer each one waits.
 */
#ifndef MAYFLY_WORKER_RETURNS_H
#define MAYFLY_WORKER_RETURNS_H

#include "worker/worker.h"

/* The delay of a message that got no slot, for a job of the repository. Any thread. */
int64_t returns_delay_ms(struct worker *w, const struct config *c,
                         const struct ledger_reservation *r, const char *repository);

#endif
