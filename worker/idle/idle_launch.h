/*
 * Launches of VMs that idle until a job comes (classes[].min_idle). They have no job, and spend no attempt.
 *
 * The launch request of a job for which no VM is wanted, since an idle one takes it, becomes a request for
 * another idle VM. So a pool is filled as fast as jobs use it, without a message or a sweep; the reaper
 * requests the rest (reaper/idle). A request that gets no slot is dropped: jobs come first, and the
 * reaper puts another one when slots are free.
 */
#ifndef MAYFLY_WORKER_IDLE_IDLE_LAUNCH_H
#define MAYFLY_WORKER_IDLE_IDLE_LAUNCH_H

#include "worker/lane.h"
#include "worker/worker.h"

bool idle_launch_is(const struct launch_request *r);

/* How many idle VMs an idle launch may leave: no more than the configuration of this moment wants, and as many
 * again while they are replaced. Of another request: as it is. */
void idle_launch_limit(const struct config_class *class, struct launch_request *r);

/* After `of_job` was reserved with the result that no VM is wanted: reserves one for the pool of its scope, if it
 * lacks one. True: *request and *out are the idle VM's. Not within a while after the class was at a cap, when
 * other jobs may wait for the slot. */
bool idle_launch_instead(struct worker *w, struct lane *lane, const struct config_class *class,
                         const struct ledger_reserve *of_job, struct launch_request *request,
                         struct ledger_reservation *out);

#endif
