/*
 * A program's presence in the ledger: a thread that reports once a minute what this process is and
 * which record formats it reads, and reads in which format records are to be written.
 *
 * See common/ledger/programs.h. The ledger is borrowed. A round that fails is repeated by
 * the next one: the report is valid for several.
 */
#ifndef MAYFLY_PROGRAM_PRESENCE_H
#define MAYFLY_PROGRAM_PRESENCE_H

#include "common/ledger/ledger.h"

struct presence;

/* `program` and `host` name the process for people. */
MUST_CHECK int presence_start(struct ledger *l, const char *program, const char *host,
                              struct presence **out, struct err *e);
/* Joins the thread and withdraws the report. NULL is fine. */
void presence_stop(struct presence *p);

/* The format to write records in: the ledger's, but never one that this build cannot write; 1 until
 * the ledger has answered. Any thread. */
int64_t presence_format(const struct presence *p);

#endif
