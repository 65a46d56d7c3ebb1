/*
 * How long a job without a VM waits for another launch request: the rule of reaper/relaunch.c, which
 * `mayflyctl why` shows. Pure.
 */
#ifndef MAYFLY_FLEET_RELAUNCH_WAIT_H
#define MAYFLY_FLEET_RELAUNCH_WAIT_H

#include "common/config/config.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"

#define FLEET_RELAUNCH_DOUBLINGS_MAX 5
#define FLEET_RELAUNCH_QUICK_MS 5000           /* until a job's message is counted for certain */
#define FLEET_RELAUNCH_QUICK_ESTIMATE_MS 15000 /* the same, of a queue that estimates its depths */

static inline int64_t fleet_relaunch_after_ms(const struct config *c,
                                              const struct config_class *class)
{
    return class->relaunch_after_ms > 0 ? class->relaunch_after_ms : c->reaper.relaunch_after_ms;
}

static inline int64_t fleet_relaunch_quick_ms(const struct config *c,
                                              const struct config_class *class,
                                              const struct queue *q)
{
    int64_t quick =
        queue_can(q, QUEUE_DEPTHS) ? FLEET_RELAUNCH_QUICK_MS : FLEET_RELAUNCH_QUICK_ESTIMATE_MS;
    int64_t most = fleet_relaunch_after_ms(c, class);
    return quick < most ? quick : most;
}

/* Since the job began to wait or was last relaunched. in_vain: its VMs went to others, or idled and
 * ended. */
static inline int64_t fleet_relaunch_wait_ms(const struct ledger_job *job, int64_t quick_ms,
                                             int64_t after_ms, bool in_vain)
{
    int64_t doublings = job->relaunches - LEDGER_QUICK_RELAUNCHES + 1;
    if (doublings <= 0) {
        return quick_ms;
    }
    doublings = doublings < FLEET_RELAUNCH_DOUBLINGS_MAX ? doublings : FLEET_RELAUNCH_DOUBLINGS_MAX;
    return in_vain ? after_ms << doublings : after_ms;
}

static inline int64_t fleet_relaunch_since_ms(const struct ledger_job *job)
{
    return job->waiting_ms > job->relaunched_ms ? job->waiting_ms : job->relaunched_ms;
}

#endif
