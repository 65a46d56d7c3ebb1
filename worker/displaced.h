/*
 * Jobs whose VM another job took. Every VM is launched because of a job; GitHub gives it to any job of
 * its scope and labels. If that one is known here, its own launch request is launched for the other. If
 * its `queued` was lost, or it is of another class, nobody launches for the other: there is one VM less
 * for the same demand.
 */
#ifndef MAYFLY_WORKER_DISPLACED_H
#define MAYFLY_WORKER_DISPLACED_H

#include "worker/worker.h"

/* To be called with each event that was applied, once. Puts another launch request if the event took a
 * VM from the supply of its scope and class, and no job from the demand there. If that fails, the
 * reaper finds the shortage. `scope`: the event's job's. */
void displaced_relaunch(struct worker *w, const struct job_event *ev, const char *scope,
                        const struct ledger_effect *effect);

#endif
