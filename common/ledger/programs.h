/*
 * The programs that use the ledger, and the record format that all of them can read.
 *
 * Each worker and reaper reports its version once a minute, in a cell of its own. From these
 * reports `mayflyctl upgrade finish` determines whether every program can read a newer record
 * format (common/job/record.h), and raises the format that they write. A report expires after five
 * minutes. Blocking, any thread; errors are the ledger's.
 */
#ifndef MAYFLY_LEDGER_PROGRAMS_H
#define MAYFLY_LEDGER_PROGRAMS_H

#include "common/ledger/ledger.h"

#define LEDGER_REPORT_INTERVAL_MS 60000
#define LEDGER_REPORT_VALID_MS (5 * LEDGER_REPORT_INTERVAL_MS)

struct ledger_program {
    char id[LEDGER_CELL_NAME]; /* of the process: "mayfly-worker/<host>/<unique>" */
    char version[32];
    int64_t oldest_format; /* that it can read */
    int64_t newest_format;
    int64_t at_ms; /* wall clock of the reporter */
};

/* p->at_ms is ignored; the report gets the present time. */
MUST_CHECK int ledger_program_report(struct ledger *l, const struct ledger_program *p,
                                     struct err *e);
/* Removes the process's report when it exits. */
MUST_CHECK int ledger_program_leave(struct ledger *l, const char *id, struct err *e);
/* All reports that have not expired. *out: owned, free(). */
MUST_CHECK int ledger_program_list(struct ledger *l, struct ledger_program **out, size_t *n,
                                   struct err *e);
/* Removes expired reports. */
MUST_CHECK int ledger_program_tidy(struct ledger *l, struct err *e);

/* The format in which all programs write records; 1 if it was never raised. */
MUST_CHECK int ledger_format_get(struct ledger *l, int64_t *out, struct err *e);
/* Never lowers it: records of that format may still be on the queue. */
MUST_CHECK int ledger_format_raise(struct ledger *l, int64_t format, struct err *e);

#endif
