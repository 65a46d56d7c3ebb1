/*
 * Jobs whose deliveries left no trace: what searching for them leaves from sweep to sweep
 * (jobs.c).
 */
#ifndef MAYFLY_REAPER_LOST_JOBS_H
#define MAYFLY_REAPER_LOST_JOBS_H

#include "common/fleet/repositories.h"
#include "reaper/lost/job_lists.h"

/* The search through all repositories of an installation; the first four are in the ledger. */
struct lost_jobs_rotation {
    int64_t began_ms; /* wall clock; 0: not read from the ledger yet */
    int64_t page;     /* of its repositories, from 1 on */
    int64_t index;    /* of the next one, on that page */
    int64_t done;     /* repositories, of all pages */
    int64_t total;    /* as GitHub says */
    char (*names)[REPOSITORY_SIZE];
    size_t name_count;
    bool more;   /* pages */
    bool loaded; /* names and more are of that page */
};

/* One installation has one share of calls. */
struct lost_jobs_installation {
    int64_t id;                  /* 0: a personal token's */
    char owner[SCOPE_SIZE];      /* "": GitHub does not list it, so that it has no rotation */
    struct job_lists lists;      /* under way: the repository that is read */
    bool of_rotation;            /* `lists` is */
    bool round;                  /* through the repositories with jobs lately */
    char after[REPOSITORY_SIZE]; /* the last one of this round */
    int64_t round_due_ms;        /* monotonic: when the next one begins */
    int64_t round_done_ms;       /* monotonic: when the last one ended */
    struct lost_jobs_rotation rotation;
    size_t refused; /* repositories of this round whose jobs may not be listed */
    size_t refused_before;
};

struct lost_jobs {
    struct repository_seen *active; /* with jobs lately, by name */
    size_t active_count;
    int64_t active_due_ms; /* monotonic: when they are read again */
    struct lost_jobs_installation *installations;
    size_t installation_count;
    size_t first;                 /* the one that the next sweep begins with */
    int64_t installations_due_ms; /* monotonic: the next list of them */
    char refusal[400];            /* GitHub's, of one repository; "": none was reported */
};

struct reaper;
void reaper_free_lost_jobs(struct reaper *r);

#endif
