/*
 * The fleet as a worker and a reaper see it: the providers of all classes, and the one way to end a
 * VM.
 *
 * Ending is a protocol over GitHub, the provider and the ledger, the same for whoever ends a VM:
 * its registration is deleted first when no job is known on it (GitHub refuses that for a busy
 * runner, which is the proof that it must not be ended), then the machine, then the row. Each step
 * may be repeated. A handle may be used from any number of threads; what it is made of is borrowed.
 *
 * A machine without an id: a crash after the provider was asked and before its answer was written,
 * or an answer that was lost for good, leaves a row without a machine's id. Where machines carry
 * our names (vm_is_named) that is no loss. Elsewhere nothing leads from the row to its machine: the
 * launch cannot be replayed, since its payload is a secret that is kept nowhere, and lists tell no
 * token. Such a row becomes `ending` and keeps its slot, so that no cap is exceeded, and its
 * machine is left alone, for it may be running a job; until somebody knows that none runs
 * (fleet_end.nothing_runs): a list of the provider's machines shows none that fits the row
 * (reaper/unconfirmed_launches.c), which ends the machine once it is older than its class allows.
 */
#ifndef MAYFLY_FLEET_FLEET_H
#define MAYFLY_FLEET_FLEET_H

#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/vm/vm.h"

struct fleet;

/* Opens the provider of every class; host: this host's name, for providers bound to it. */
MUST_CHECK int fleet_open(const struct config *c, struct ledger *ledger, struct github *github,
                          struct fleet **out, struct err *e);
void fleet_close(struct fleet *f);

/* This host's name as it stands in the rows of host-bound VMs. */
const char *fleet_host(const struct fleet *f);

/* NULL if no class of that name is configured here. */
struct vm_provider *fleet_provider(const struct fleet *f, const char *class_name);

/* Whether this process can reach the VM of that row: its class is known, and it is not bound to
 * another host. */
bool fleet_reaches(const struct fleet *f, const struct ledger_vm *vm);

struct fleet_termination {
    const char *reason; /* for the row and the timeline */
    int64_t grace_ms;   /* how long it may take to end by itself */
    bool unless_busy;   /* it may be alive: leave it alone unless the row is still as it was read;
                           delete the registration first, and leave the VM alone if GitHub says
                           busy, which its row then says, too */
    bool nothing_runs;  /* no machine of this row runs, for certain: the provider was not asked or
                           refused, or its list shows none that could be this one */
};
/* Moves the row to ending, ends the machine, moves the row to gone: the slot is free on success.
 * ERR_CONFLICT: its row moved on, or GitHub says that its runner is busy (only with unless_busy);
 * nothing was ended.
 * Without unless_busy a machine whose id is in *vm is ended though its row is gone.
 * ERR_RETRY and others: the row stays `ending`, try again (not before retry_after_ms, if told). */
MUST_CHECK int fleet_terminate_vm(struct fleet *f, const struct ledger_vm *vm,
                                  const struct fleet_termination *how, struct err *e);

/* --- the providers' rates, shared by all processes through the ledger --- */

/* A turn to end one VM of that class, at `rate` (limits.terminate_rate) over all that its
 * provider's service counts together: *wait_ms 0: it is taken, call fleet_terminate_vm or vm_terminate
 * now; else nothing was taken, ask again then. fleet_terminate_vm takes no turn by itself, since its
 * caller may have to look once more after the wait. Reads of a service (describe, list) wait for
 * their turns by themselves, 5 s at most (then ERR_RETRY). When the service refuses a call as too
 * fast, its kind of call gets no turn for as long as the service said, but
 * no longer than its bucket takes to be full again, in any process. */
MUST_CHECK int fleet_terminate_turn(struct fleet *f, const char *class_name,
                                    const struct config_rate *rate, int64_t *wait_ms,
                                    struct err *e);

/* For the end of a program: reads that wait for their turn, now and later, do so no more. */
void fleet_interrupt(struct fleet *f);

/* Whether a machine may run for that row whose id nobody knows. No call is made. */
bool fleet_vm_id_unknown(const struct fleet *f, const struct ledger_vm *vm);

/* How long such a machine may yet be at work: until the row has been `ending` for the class's
 * max_duration and reaper.deadline_grace_period. 0: no longer, if the provider keeps its word,
 * or there is none. No call is made. */
int64_t fleet_slot_hold_ms(const struct fleet *f, const struct ledger_vm *vm);

#endif
