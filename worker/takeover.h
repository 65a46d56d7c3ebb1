/*
 * What a dead worker left of its launches, taken over by who holds the message of a job now.
 *
 * A launching row counts as supply. If its worker died, the messages that come back when their
 * leases run out would be acknowledged for a VM that nobody starts any more, and a job would wait
 * until the reaper has ended the row and asked for another launch. So before a message is
 * acknowledged because enough VMs are there:
 *   - a row of its scope and class that had no heartbeat for too long is ended. Its runner's
 *     registration is deleted first, which GitHub refuses if it runs a job after all: then the row
 *     is busy, and no supply. A row of another host is that host's to end. A row that cannot be
 *     ended here, or not now, hides no other; if it is all there is, the message is kept, and
 *     looked at again after the limit of a heartbeat, so that many messages do not ask GitHub all
 *     the time;
 *   - while the launch that was reserved for this very job goes on, the message is kept: it is what
 *     comes back if that launch's worker dies, too.
 */
#ifndef MAYFLY_WORKER_TAKEOVER_H
#define MAYFLY_WORKER_TAKEOVER_H

#include "worker/worker.h"

struct takeover {
    bool ended; /* a row launches no more: reserve again */
    int64_t
        wait_ms; /* the job's own launch goes on, or a row could not be ended: look again then */
};
/* scope and class: whose VMs are the job's supply. */
MUST_CHECK int takeover_dead_launch(struct worker *w, const struct config *c,
                                    const struct launch_request *request, const char *scope,
                                    struct takeover *out, struct err *e);

#endif
