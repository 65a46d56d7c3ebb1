/*
 * Shared by the files of reaper/pull and their tests; no other file includes it.
 */
#ifndef MAYFLY_REAPER_PULL_INTERNAL_H
#define MAYFLY_REAPER_PULL_INTERNAL_H

#include "common/base/metrics.h"
#include "reaper/pull/pull.h"
#include "reaper/pull/records.h"
#include "reaper/pull/seen.h"

#define PULL_BATCH 8 /* payloads fetched at once, and put on the queue together */
_Static_assert(PULL_BATCH <= RECORDS_BATCH_MAX, "one record for each batch");

enum pull_result { PULL_QUEUED, PULL_IGNORED, PULL_REFUSED, PULL_STALE, PULL_LOST, PULL_RESULTS };

struct pull_metrics {
    struct metric *results[PULL_RESULTS];
    struct metric *waiting;
    struct metric *oldest_age;
    struct metric *last_read;
    struct metric *delay;
};

/* One reading of the log, newest entry first; it may take several turns. */
struct pull_walk {
    bool under_way;
    bool deep; /* it goes back as far as entries may appear late */
    char cursor[GITHUB_CURSOR_BYTES];
    int64_t until_ms;  /* GitHub's clock, as the next */
    int64_t newest_ms; /* of its first page; 0: none seen yet */
};

struct pull {
    struct reaper *r; /* borrowed */
    struct threads thread;
    struct github_hook hook;
    size_t fetch_threads;
    struct pull_metrics metrics;

    /* the lease */
    bool held;
    int64_t fence;
    struct sweep_moment requested; /* before it was requested last */
    bool loaded;                   /* what follows is of this lease */

    struct seen seen;
    struct records records;
    struct seen_handled unrecorded[RECORDS_BATCH_MAX]; /* handled, and not yet in a record */
    size_t unrecorded_count;

    struct pull_walk walk;
    bool first;         /* no reading is complete yet under this lease */
    int64_t floor_ms;   /* older entries need nothing */
    int64_t reached_ms; /* the last complete reading's newest entry; 0: none */
    int64_t saved_ms;   /* LEDGER_COUNTER_SEEN_UNTIL, as far as it is known; 0: none */

    /* monotonic */
    int64_t due_ms;
    int64_t deep_due_ms;
    int64_t save_due_ms;
    int64_t not_before_ms;          /* no call before: GitHub's limit, or trouble */
    bool paced;                     /* GitHub's hourly limit spreads the calls */
    int failures;                   /* in a row */
    bool away;                      /* trouble was reported */
    char notice[LEDGER_CELL_VALUE]; /* as it stands in the ledger; "": none */
};

/* Whether the lease is certainly held, renewed if necessary: before anything is put or written. */
bool pull_still_holds(struct pull *p, const struct config *c);
/* How many calls to GitHub may be made now, of so many. */
size_t pull_calls_allowed(struct pull *p, size_t most);
/* The wait after a failed try, the first of which is 1. */
int64_t pull_retry_wait_ms(const struct config *c, int tries);

/* --- log.c --- */
bool pull_log_is_due(const struct pull *p);
MUST_CHECK int pull_read_log(struct pull *p, const struct config *c, struct err *e);

/* --- fetch.c --- */
/* One batch. *more: another one could follow at once. */
MUST_CHECK int pull_fetch(struct pull *p, const struct config *c, bool *more, struct err *e);
/* Writes what is handled and not recorded. */
MUST_CHECK int pull_record(struct pull *p, struct err *e);

#endif
