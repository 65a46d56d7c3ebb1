/* Shared by the files of this folder and their tests; scale_sets.h says what each does. */
#ifndef MAYFLY_REAPER_SCALE_SETS_INTERNAL_H
#define MAYFLY_REAPER_SCALE_SETS_INTERNAL_H

#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "common/github/scale_sets/scale_sets.h"
#include "reaper/scale_sets/scale_sets.h"

/* The launch requests of a set that are on their way. */
struct set_plan {
    int64_t outstanding;
    int64_t put_ms; /* monotonic: the last were put */
};

/* What a decision is made of. */
struct set_view {
    int64_t waiting;  /* jobs that are assigned and do not run */
    int64_t free;     /* VMs for them: on their way, or idle */
    int64_t appeared; /* VMs, since the last decision */
    int64_t lane;     /* messages in the class's lane; -1: unknown */
    int64_t now_ms;   /* monotonic */
    int64_t grace_ms; /* a request is a VM or in the lane after this */
};

/* How many more requests to put; they count as put. A pure function. */
int64_t set_plan_requests(struct set_plan *p, const struct set_view *v);

struct set_metrics {
    struct metric *assigned;
    struct metric *running;
    struct metric *session;
    struct metric *messages;
    struct metric *requests;
    struct metric *errors;
};

#define SET_BEGUN_MAX 1024

/* One set. Its thread owns it. */
struct scale_set {
    struct reaper *r;
    struct threads thread;
    char name[SCOPE_GROUP_SIZE];
    char class_name[CLASS_NAME_SIZE];
    char group[SCOPE_GROUP_SIZE]; /* of runners, that it is in */
    struct github_scope scope;
    char scope_name[SCOPE_SIZE]; /* as the ledger counts it */
    char lease[LEDGER_CELL_NAME];
    bool held;
    struct sweep_moment requested;      /* the lease */
    struct github_set_session *session; /* NULL: none is open */
    struct github_set_statistics statistics;
    struct set_plan plan;
    int64_t decided_ms;          /* monotonic; 0: not since the lease was acquired */
    int64_t rows_until_ms;       /* rows reserved before were counted, by the ledger's clock */
    char (*begun)[VM_NAME_SIZE]; /* runners that messages have named, the last SET_BEGUN_MAX */
    size_t begun_next;
    int failures;              /* in a row */
    bool away;                 /* and that was logged */
    int64_t conflict_since_ms; /* monotonic: another session lives; 0: none does */
    char notice[LEDGER_CELL_VALUE];
    struct set_metrics metrics;
};

/* Requests what VMs are missing. ERR_*: of the stores. */
MUST_CHECK int set_meet_demand(struct scale_set *s, const struct config *c, struct err *e);
/* Jobs that the set takes at most, running ones included. */
MUST_CHECK int set_capacity(struct scale_set *s, const struct config *c, int64_t *out,
                            struct err *e);

/* --- session.c --- */

void *set_poll_until_stopped(void *arg);
/* Ends the session, and gives the lease back. */
void set_release(struct scale_set *s);
/* One turn of the thread, for tests: returns how long to wait before the next. */
int64_t set_turn(struct scale_set *s);

#endif
