/*
 * The way of a job through a ledger, for the tests of any of its backends: what a step needs, with
 * the usual values, and steps that must succeed.
 *
 * A job is of class "small", repository octo/app, scope octo; its VM is for QEMU. A step that fails
 * fails the running cmocka test; what a test of races does in its threads is its own.
 */
#ifndef MAYFLY_TEST_LEDGER_WAY_H
#define MAYFLY_TEST_LEDGER_WAY_H

#include "common/ledger/ledger.h"

struct job_event way_event(int64_t id, enum job_action action, const char *runner);
struct ledger_caps way_caps(void); /* none that is met */
struct ledger_reservation way_reserve(struct ledger *l, int64_t id, struct ledger_caps caps);
struct ledger_reservation way_reserve_in(struct ledger *l, int64_t id, const char *target,
                                         struct ledger_caps caps);
void way_note(struct ledger *l, int64_t id, enum job_action action, const char *runner);
/* To registered, launched, busy and so on, one after the other; the VM is reserved. */
void way_bring(struct ledger *l, const char *vm, enum ledger_vm_state to);
void way_end(struct ledger *l, const char *vm, enum ledger_vm_state to); /* ending or gone */
/* What a worker asks of the ledger for one launch: room, reserve, registered, a token of the
 * provider's rate, launched. Returns the VM's row. */
struct ledger_vm way_launch(struct ledger *l, int64_t id);
/* And for a job that is completed: the delivery, a token for terminating, gone. */
void way_complete(struct ledger *l, int64_t id, const char *vm);
int64_t way_used(struct ledger *l);
int way_lines(struct ledger *l, int64_t job_id, const char *what);

#endif
