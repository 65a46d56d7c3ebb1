/*
 * The fleet as a worker and a reaper see it: the providers of all classes, and the one way to end a
 * VM.
 *
 * Ending is a protocol over GitHub, the provider and the ledger, the same for whoever ends a VM:
 * its registration is deleted first when no job is known on it (GitHub refuses that for a busy
 * runner, which is the proof that it must not be ended), then the machine, then the row. Each step
 * may be repeated. A handle may be used from any number of threads; what it is made of is borrowed.
 */
#ifndef MAYFLY_VM_FLEET_H
#define MAYFLY_VM_FLEET_H

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

struct fleet_end {
    const char *reason; /* for the row and the timeline */
    int64_t grace_ms;   /* how long it may take to end by itself */
    bool spare_if_busy; /* delete the registration first, and leave the VM alone if GitHub says busy
                         */
};
/* Moves the row to ending, ends the machine, moves the row to gone: the slot is free on success.
 * ERR_CONFLICT: GitHub says that its runner is busy (only with spare_if_busy), nothing was ended.
 * ERR_RETRY and others: the row stays `ending`, try again. */
MUST_CHECK int fleet_end_vm(struct fleet *f, const struct ledger_vm *vm,
                            const struct fleet_end *how, struct err *e);

#endif
