/*
 * Runner classes for which an operator has paused the launching of VMs (`mayflyctl pause`): a cell
 * each, by the class's name.
 *
 * While a class is paused no worker receives its launch requests, so its jobs wait and spend nothing;
 * the ingress queues more, its VMs run on, and those that idle take jobs. The reaper relaunches
 * none of its jobs. Workers read the cells once a second (common/fleet/pauses.h). Blocking, any
 * thread; errors are the ledger's.
 */
#ifndef MAYFLY_LEDGER_PAUSES_H
#define MAYFLY_LEDGER_PAUSES_H

#include "common/ledger/ledger.h"

struct ledger_pause {
    char class_name[CLASS_NAME_SIZE];
    int64_t since_ms; /* wall clock; 0: it is not paused */
    char by[100];     /* "user@host", without spaces */
    char reason[320]; /* what the operator gave; "" nothing */
};

/* A class that is not paused is a success with since_ms 0. */
MUST_CHECK int ledger_pause_get(struct ledger *l, const char *class_name, struct ledger_pause *out,
                                struct err *e);
/* Pauses a class since now, with `by` and `reason`, which are cut to their sizes. One that is paused
 * already stays paused since then, and gets the reason if there is one. *out: the pause after it;
 * *began: whether the class was not paused before. */
MUST_CHECK int ledger_pause_begin(struct ledger *l, const char *class_name, const char *by,
                                  const char *reason, struct ledger_pause *out, bool *began,
                                  struct err *e);
/* *was: the pause that ended; since_ms 0: there was none. */
MUST_CHECK int ledger_pause_end(struct ledger *l, const char *class_name, struct ledger_pause *was,
                                struct err *e);
/* *out: owned, free(). */
MUST_CHECK int ledger_pause_list(struct ledger *l, struct ledger_pause **out, size_t *n,
                                 struct err *e);
/* The class's pause in a list; NULL: it is not paused. */
const struct ledger_pause *ledger_pause_of(const struct ledger_pause *list, size_t n,
                                           const char *class_name);

#endif
