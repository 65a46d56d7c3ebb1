/*
 * The programs that use the ledger: their heartbeats, and the record format that all of them can
 * read.
 *
 * Each worker and reaper keeps a heartbeat in a cell of its own: who it is, where it runs, its classes.
 * From these `mayflyctl upgrade finish` determines whether every program can read a newer record
 * format (common/job/record.h), and raises the format that they write; and reapers, which host is
 * gone. A heartbeat that is not renewed is listed for 30 intervals, at most five minutes: clocks
 * may differ.
 * Blocking, any thread; errors are the ledger's.
 */
#ifndef MAYFLY_LEDGER_PROGRAMS_H
#define MAYFLY_LEDGER_PROGRAMS_H

#include "common/ledger/ledger.h"

#define LEDGER_HEARTBEATS_VALID 30
#define LEDGER_HEARTBEAT_VALID_MS 300000 /* at most */
#define LEDGER_HEARTBEATS_PER_TTL 3
#define LEDGER_PROGRAM_CLASSES 480

struct ledger_program {
    char id[LEDGER_CELL_NAME]; /* of the process: "mayfly-worker/<host>/<unique>" */
    char program[24];          /* the parts of the id; "" if it has none */
    char host[72];
    char version[32];
    int64_t oldest_format; /* that it can read */
    int64_t newest_format;
    int64_t at_ms;       /* wall clock of the process at its last heartbeat */
    int64_t interval_ms; /* between two heartbeats; 0: an older version's */
    bool is_host;        /* `host` is the id of a host that runs VMs itself, else a host's name */
    bool waiting;        /* another process has its host id (common/program/claim.h) */
    char host_name[65];
    char boot_id[40];
    char pid_namespace[24];
    char
        classes[LEDGER_PROGRAM_CLASSES]; /* separated by commas; ends in ",..." if there are more */
};

/* p->at_ms and the parts of the id are ignored: the heartbeat gets the present time. *version: the
 * cell's, as the last call left it, 0 before the first; with it a heartbeat is one write. */
MUST_CHECK int ledger_program_beat(struct ledger *l, const struct ledger_program *p,
                                   int64_t *version, struct err *e);
/* Removes the process's heartbeat when it exits. */
MUST_CHECK int ledger_program_leave(struct ledger *l, const char *id, struct err *e);
/* All heartbeats that have not expired. *out: owned, free(). */
MUST_CHECK int ledger_program_list(struct ledger *l, struct ledger_program **out, size_t *n,
                                   struct err *e);
/* Whether it names the class, or may: the list of one with many classes is cut. */
bool ledger_program_has_class(const struct ledger_program *p, const char *class_name);
/* Removes expired heartbeats. */
MUST_CHECK int ledger_program_tidy(struct ledger *l, struct err *e);

/* The format in which all programs write records; 1 if it was never raised. */
MUST_CHECK int ledger_format_get(struct ledger *l, int64_t *out, struct err *e);
/* Never lowers it: records of that format may still be on the queue. */
MUST_CHECK int ledger_format_raise(struct ledger *l, int64_t format, struct err *e);

#endif
