/*
 * An observer of the ledger: a function that is called for each change of a job's or a VM's state
 * that this handle's calls committed, where the timeline's line about it is written.
 *
 * Not a second timeline: a transition is passed on once, after the commit, and only by the process
 * that made it. One whose commit was confirmed to nobody (the store's reply was lost) is not passed
 * on. Lines that change no state (a wait, a failed launch, a relaunch) are not transitions.
 *
 * Threading: called on the thread that called the ledger, before that call returns. So it must be
 * quick, must not block, and must not call the ledger. The transition is borrowed for that time.
 */
#ifndef MAYFLY_LEDGER_OBSERVER_H
#define MAYFLY_LEDGER_OBSERVER_H

#include "common/ledger/ledger.h"

struct ledger_transition {
    int64_t at_ms;                /* wall clock, as the store stamped the row */
    const struct ledger_job *job; /* the row after; NULL: a VM's transition */
    const struct ledger_vm *vm;   /* the row after; NULL: a job's transition */
    const char *from;             /* the state's name; "": the row is new */
    const char *to;
    const char *reason; /* the detail of the timeline's line; may be "" */
};

typedef void ledger_observer_fn(void *arg, const struct ledger_transition *t);

/* Call it at most once per handle, before the handle is shared. */
void ledger_observe(struct ledger *l, ledger_observer_fn *observe, void *arg);

#endif
