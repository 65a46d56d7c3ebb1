/*
 * The jobs of one repository as GitHub lists them: what reading them leaves from sweep to sweep.
 */
#ifndef MAYFLY_REAPER_LOST_JOB_LISTS_H
#define MAYFLY_REAPER_LOST_JOB_LISTS_H

#include "common/github/github.h"

enum job_lists_stage { LISTS_QUEUED_RUNS, LISTS_RUNNING_RUNS, LISTS_JOBS };

struct job_lists {
    bool under_way;
    char repository[REPOSITORY_SIZE];
    int64_t installation_id;
    enum job_lists_stage stage;
    int page;               /* of the list that is read, from 1 on */
    char created_until[24]; /* where the runs go on behind the most that one query names; "": not */
    char oldest[24];        /* of the runs of this query */
    struct github_run *runs;
    size_t run_count;
    size_t next_run;
};

/* Begins to read that repository. */
void job_lists_begin(struct job_lists *l, const char *repository, int64_t installation_id);
/* Whatever was begun. Fine when nothing was. */
void job_lists_end(struct job_lists *l);

struct sweep;
struct sweep_call;

enum job_lists_result {
    JOB_LISTS_DONE,
    JOB_LISTS_PAUSED,  /* this sweep may make no more calls: the next one goes on */
    JOB_LISTS_REFUSED, /* GitHub does not let us read them (*e) */
    JOB_LISTS_FAILED,  /* *e; it may be tried again */
};
/* Reads on: the runs that are queued or in progress, then the jobs of each. The ledger gets those
 * that it does not know, and those that are further on than it knows; a queued one gets a launch
 * request. `ledger_lost`: also those so young that their delivery may be on its way. Adds to
 * *repairs. */
enum job_lists_result sweep_read_job_lists(struct sweep *s, struct job_lists *l, bool ledger_lost,
                                           int64_t *repairs, struct err *e);

/* Whether this sweep has time for one more call that finds lost jobs. */
bool sweep_may_reconcile(struct sweep *s);
/* The same, and whether the call may be made now: within the circuits and the budget of GitHub's
 * calls (sweep_begin_question). If so, sweep_end_call must follow. */
bool sweep_begin_reconcile_call(struct sweep *s, const char *place, int64_t installation_id,
                                struct sweep_call *call);

#endif
