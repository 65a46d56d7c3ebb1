/*
 * Takeover of a dead worker's launches by the worker that holds a job's message now.
 *
 * A launching row counts as supply. If its worker died, the messages that return when their leases
 * expire would be acknowledged for a VM that nobody starts any more, and a job would wait until the
 * reaper has terminated the row and requested another launch. So before a message is acknowledged
 * because enough VMs exist:
 *   - A row of its scope and class without a heartbeat for too long is noted in its timeline, and,
 *     if it stays silent for a third of a lease more, terminated: while the ledger refuses writes,
 *     living workers fall silent too. Its runner's
 *     registration is deleted first, which GitHub refuses if it runs a job after all: then the row
 *     is busy, and no supply. A row of another host must be terminated on that host. A row that
 *     cannot be terminated here, or not now, hides no other; if no other is left, the message is
 *     kept and tried again after the heartbeat limit, so that many messages do not call GitHub all
 *     the time.
 *   - While the launch that was reserved for this very job continues, the message is kept: it is
 *     what returns if that launch's worker dies, too.
 */
#ifndef MAYFLY_WORKER_TAKEOVER_H
#define MAYFLY_WORKER_TAKEOVER_H

#include "worker/worker.h"

struct takeover {
    bool ended;      /* a row no longer counts as supply: reserve again */
    int64_t wait_ms; /* the job's own launch continues, or a row could not be terminated: try again
                  * after this long */
};
/* Scope and class of the request select the VMs that are the job's supply. */
MUST_CHECK int takeover_dead_launch(struct worker *w, const struct config *c,
                                    const struct launch_request *request, const char *scope,
                                    struct takeover *out, struct err *e);

#endif
