/*
 * Reports what happens to this host's VMs: what their networks refuse, one log line per VM and kind
 * (the metric counts all), errors of their disks, and that one is paused; at the start also the hosts
 * that runners need and that their VMs may not reach.
 *
 * One thread, which looks every few seconds; only for classes whose VMs run on this host.
 */
#ifndef MAYFLY_WORKER_VM_WATCH_H
#define MAYFLY_WORKER_VM_WATCH_H

#include "worker/worker.h"

struct vm_watch;

/* Whether a class has VMs on this host. */
bool vm_watch_needed(const struct worker *w);

MUST_CHECK int vm_watch_start(struct worker *w, struct vm_watch **out, struct err *e);
/* After w->working was raised. Safe with NULL. */
void vm_watch_join(struct vm_watch *n);

#endif
