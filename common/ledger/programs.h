/*
 * Which programs work on the ledger, and the record format they all can read.
 *
 * Each worker and reaper reports what it is once a minute, into a cell of its own. From these
 * reports `mayflyctl upgrade finish` knows whether every program can read a newer record format
 * (common/job/record.h), and raises the format that they write. A report is void five minutes after
 * it was made. Blocking, any thread; errors are the ledger's.
 */
#ifndef MAYFLY_LEDGER_PROGRAMS_H
#define MAYFLY_LEDGER_PROGRAMS_H

#include "common/ledger/ledger.h"

#define LEDGER_REPORT_INTERVAL_MS 60000
#define LEDGER_REPORT_VALID_MS (5 * LEDGER_REPORT_INTERVAL_MS)

struct ledger_program {
    char id[LEDGER_CELL_NAME]; /* of this process: "mayfly-worker/<host>/<unique>" */
    char version[32];
    int64_t oldest_format; /* of those that it reads */
    int64_t newest_format;
    int64_t at_ms; /* wall clock of the reporter */
};

/* at_ms is set to the present. */
MUST_CHECK int ledger_program_report(struct ledger *l, const struct ledger_program *p,
                                     struct err *e);
/* The process ends: nobody has to wait for it any longer. */
MUST_CHECK int ledger_program_leave(struct ledger *l, const char *id, struct err *e);
/* All reports that are not void. *out: owned, free(). */
MUST_CHECK int ledger_program_list(struct ledger *l, struct ledger_program **out, size_t *n,
                                   struct err *e);
/* Removes those that are void. */
MUST_CHECK int ledger_program_tidy(struct ledger *l, struct err *e);

/* The format in which workers and reapers write records; 1 if it was never raised. */
MUST_CHECK int ledger_format_get(struct ledger *l, int64_t *out, struct err *e);
/* Never lowers it: what was written in it may still be on the queue. */
MUST_CHECK int ledger_format_raise(struct ledger *l, int64_t format, struct err *e);

#endif
