/*
 * Jobs that are given up, where reaper.give_up is on: each gets a terminal answer at GitHub.
 *
 * overdue.c finds those that have waited reaper.give_up_after in all although nothing wider than the
 * job is in trouble; a worker adds those whose own data cannot be launched. answer.c says so in a check
 * run, and cancels the run as soon as no other job of it runs or can still run: GitHub cancels
 * runs, not jobs. Each step is recorded after it was made (common/ledger/give_ups.h); a crash
 * repeats the last one, which does no harm: the newest check run of a name is the one that GitHub
 * shows, and a run that is over cannot be cancelled.
 */
#ifndef MAYFLY_REAPER_GIVE_UP_H
#define MAYFLY_REAPER_GIVE_UP_H

#include "common/ledger/give_ups.h"
#include "reaper/reaper.h"

#define GIVE_UP_QUESTIONS 20  /* jobs that a sweep asks GitHub about; the next one goes on */
#define GIVE_UP_LOOKED_AT 100 /* the oldest waiting ones of a class, in a sweep */
#define GIVE_UP_ENDED 100     /* the newest ended ones, which show that a class works */

/* Asks for those that are overdue. */
MUST_CHECK int give_up_find_overdue(struct sweep *s, struct err *e);

/* Whether a VM that was launched for the job is on its way to it: not longer than startup_timeout. */
bool give_up_has_vm(const struct sweep *s, int64_t job_id);

#endif
