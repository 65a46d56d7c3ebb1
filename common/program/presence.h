/*
 * A program's entry in the ledger: a thread that reports once a minute the process's version and
 * the record formats it reads, and reads the format in which records are to be written.
 *
 * See common/ledger/programs.h. The ledger is borrowed. A report is valid for several intervals, so
 * a failed one is repeated by the next.
 */
#ifndef MAYFLY_PROGRAM_PRESENCE_H
#define MAYFLY_PROGRAM_PRESENCE_H

#include "common/ledger/ledger.h"

struct presence;

/* `program` and `host` identify the process to operators. */
MUST_CHECK int presence_start(struct ledger *l, const char *program, const char *host,
                              struct presence **out, struct err *e);
/* Joins the thread and deletes the report. NULL is fine. */
void presence_stop(struct presence *p);

/* The format to write records in: the ledger's, but never one that this build cannot write; 1 until
 * it was read. Any thread. */
int64_t presence_format(const struct presence *p);

#endif
