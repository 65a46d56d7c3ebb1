/*
 * Probes that are no launch: whether GitHub, this host's credentials for it, or a provider's target
 * that was in trouble works again. They register no runner and run no VM.
 */
#ifndef MAYFLY_WORKER_PROBE_H
#define MAYFLY_WORKER_PROBE_H

#include "worker/worker.h"

/* Makes the probes that are due for what a launch of the class depends on, if no other process does,
 * and records the results. Each is one call, with that service's time limit. */
void probe_due(struct worker *w, const struct config *c, const char *class_name,
               const struct subjects *s);

#endif
