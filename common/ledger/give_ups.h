/*
 * Jobs that are given up: they get a terminal answer at GitHub (reaper/give_up.c), where
 * reaper.give_up is on. A cell each, by the job's id.
 *
 *   asked ──> said ──> cancelled
 *
 *   asked      it is to be given up, for that reason: by a worker, whose attempts to launch it are used
 *              up, or by the reaper
 *   said       a check run says so at GitHub
 *   cancelled  GitHub has accepted to cancel its run
 *
 * A step is written after it was made, so that a crash repeats the last one; each may be repeated.
 * The cell is removed when the job does not wait any more. Blocking, any thread; errors are the
 * ledger's.
 */
#ifndef MAYFLY_LEDGER_GIVE_UPS_H
#define MAYFLY_LEDGER_GIVE_UPS_H

#include "common/ledger/ledger.h"

enum ledger_give_up_stage { GIVE_UP_ASKED, GIVE_UP_SAID, GIVE_UP_CANCELLED };

struct ledger_give_up {
    int64_t job_id;
    int64_t at_ms; /* wall clock: of the last step */
    enum ledger_give_up_stage stage;
    char why[400];
    int64_t version; /* of the cell */
};

/* Success too if it is there already, in any stage: then nothing is written. why: for people; cut. */
MUST_CHECK int ledger_give_up_ask(struct ledger *l, int64_t job_id, const char *why, struct err *e);
/* The next step of *g, which is updated. ERR_CONFLICT: it was changed meanwhile. */
MUST_CHECK int ledger_give_up_advance(struct ledger *l, struct ledger_give_up *g,
                                      enum ledger_give_up_stage to, struct err *e);
MUST_CHECK int ledger_give_up_remove(struct ledger *l, const struct ledger_give_up *g,
                                     struct err *e);
/* *out: owned, free(). One that cannot be read is left out. */
MUST_CHECK int ledger_give_up_list(struct ledger *l, struct ledger_give_up **out, size_t *n,
                                   struct err *e);

#endif
