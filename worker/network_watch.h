/*
 * Reports what the networks of this host's VMs refuse: one log line per VM and kind (the metric
 * counts all), and at the start the hosts that runners need and that their VMs may not reach.
 *
 * One thread, which looks every few seconds; only for classes whose VMs run on this host.
 */
#ifndef MAYFLY_WORKER_NETWORK_WATCH_H
#define MAYFLY_WORKER_NETWORK_WATCH_H

#include "worker/worker.h"

struct network_watch;

MUST_CHECK int network_watch_start(struct worker *w, struct network_watch **out, struct err *e);
/* After w->working was raised. Safe with NULL. */
void network_watch_join(struct network_watch *n);

#endif
