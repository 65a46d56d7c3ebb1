/*
 * A program's heartbeat in the ledger: a thread that writes who the process is and where it runs, and
 * reads the format in which records are to be written, and whether its host is drained.
 *
 * See common/ledger/programs.h. The ledger is borrowed. A heartbeat is valid for several intervals, so
 * a failed one is repeated by the next.
 */
#ifndef MAYFLY_PROGRAM_PRESENCE_H
#define MAYFLY_PROGRAM_PRESENCE_H

#include "common/config/config.h"
#include "common/ledger/programs.h"
#include "common/program/host.h"

struct presence;

/* The classes that the process serves: the configured ones, without those for which `serves` returns
 * false (their provider could not be opened). `serves` may be NULL. */
struct presence_classes {
    const struct config *config;
    bool (*serves)(const void *arg, const char *class_name);
    const void *arg;
};

/* `program`: "mayfly-worker". Writes the first heartbeat, if the ledger lets it. */
MUST_CHECK int presence_start(struct ledger *l, const char *program, const struct host *host,
                              const struct presence_classes *classes, struct presence **out,
                              struct err *e);
/* Joins the thread and deletes the heartbeat. NULL is fine. */
void presence_stop(struct presence *p);

/* From the next heartbeat on. */
void presence_set_waiting(struct presence *p, bool waiting);

/* Whether a heartbeat has been written. Any thread. */
bool presence_written(const struct presence *p);

/* After a reload: the next heartbeat names them. Any thread. */
void presence_set_classes(struct presence *p, const struct presence_classes *classes);

/* The heartbeat, without its classes. Valid until presence_stop. */
const struct ledger_program *presence_self(const struct presence *p);

/* The format to write records in: the ledger's, but never one that this build cannot write; 1 until
 * it was read. Any thread. */
int64_t presence_format(const struct presence *p);
/* Whether an operator drained this host: it launches no VM of its own. Any thread. */
bool presence_drained(const struct presence *p);

#endif
