/*
 * The paused classes (common/ledger/pauses.h) as this process last read them: at most a second ago.
 *
 * What a lane asks before it receives a message, so that all lanes of a process together cost one
 * read a second. A process that cannot read them launches nothing: the same ledger holds the slots.
 * Any thread.
 */
#ifndef MAYFLY_FLEET_PAUSES_H
#define MAYFLY_FLEET_PAUSES_H

#include "common/ledger/pauses.h"

struct pauses;

/* Borrows the ledger. */
struct pauses *pauses_new(struct ledger *ledger);
void pauses_free(struct pauses *p);

/* *out: the class's pause; since_ms 0: it is not paused. Errors: the ledger's. */
MUST_CHECK int pauses_get(struct pauses *p, const char *class_name, struct ledger_pause *out,
                          struct err *e);

#endif
