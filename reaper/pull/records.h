/*
 * What pulling leaves in the ledger: for each batch that the queue has confirmed a cell (LEDGER_KIND_PULLED)
 * with the hashes of its GUIDs, until LEDGER_COUNTER_SEEN_UNTIL has passed it. The cells of another hook's
 * log are removed. One thread, under the lease.
 */
#ifndef MAYFLY_REAPER_PULL_RECORDS_H
#define MAYFLY_REAPER_PULL_RECORDS_H

#include "common/ledger/ledger.h"
#include "reaper/pull/seen.h"

#define RECORDS_BATCH_MAX 40 /* what a cell holds */

struct record {
    char name[64];
    int64_t version;
    int64_t until_ms; /* of its newest delivery */
};

struct records {
    struct ledger *ledger;
    char log[32];  /* which log: "app", or a hook's id */
    int64_t fence; /* of the lease: makes names unique */
    int64_t next;
    struct record *list;
    size_t count;
};

void records_fini(struct records *r);
/* Reads all that is there, and adds what was handled to `seen`. */
MUST_CHECK int records_load(struct records *r, struct seen *seen, struct err *e);
/* One batch of 1 to RECORDS_BATCH_MAX. */
MUST_CHECK int records_add(struct records *r, const struct seen_handled *batch, size_t n,
                           struct err *e);
/* Removes those whose deliveries are all older. */
MUST_CHECK int records_trim(struct records *r, int64_t before_ms, struct err *e);

#endif
