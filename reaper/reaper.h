/*
 * What the parts of mayfly-reaper share: the stores, and one sweep over them.
 *
 *   sweep.c      the order of the duties; each is isolated from the others' errors
 *   deadlines.c  VMs past their deadline; VMs that are ending for too long
 *   machines.c   rows whose machine ended or vanished, launches that never came up
 *   strays.c     machines of ours without a row
 *   records.c    GitHub registrations left over
 *   balance.c    jobs that wait although nothing is on its way for them
 *   tidy.c       old rows and logs
 *
 * A deadline is a sign of its own; everything else needs two signs (two sweeps) and a fresh read
 * before a VM is ended (invariant 9). One thread sweeps; nothing here is shared with another.
 */
#ifndef MAYFLY_REAPER_REAPER_H
#define MAYFLY_REAPER_REAPER_H

#include "common/base/stop.h"
#include "common/config/config.h"
#include "common/github/github.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"
#include "common/vm/fleet.h"

struct reaper {
    struct config_live *config;
    struct queue *queue;
    struct ledger *ledger;
    struct github *github;
    struct fleet *fleet;
    struct stop stop;
    char holder[64];         /* this process, as a lease knows it */
    int64_t last_sweep_ms;   /* wall clock of the last whole sweep; atomic; 0 none */
    int64_t next_records_ms; /* monotonic: GitHub's records are read more rarely */
};

/* What machines a class has, by its provider's word at the start of the sweep. */
struct sweep_machines {
    const struct config_class *class;
    struct vm_provider *provider;
    struct vm_info *list;
    size_t count;
    bool known; /* false: the provider did not answer, nothing may be concluded */
};

struct sweep {
    struct reaper *reaper;
    const struct config *config;
    int64_t number;        /* of this sweep, growing, shared by all reapers */
    int64_t now_ms;        /* wall clock at its start */
    bool holds_fleet;      /* the lease for what is the fleet's */
    bool holds_host;       /* the lease for what is bound to this host */
    struct ledger_vm *vms; /* all rows that hold a slot, read before the machines */
    size_t vm_count;
    struct sweep_machines *machines; /* one per class */
    size_t machines_count;
};

/* One whole sweep, or nothing if others hold the leases. Logs and counts what it did. */
void sweep(struct reaper *r);

/* A duty: does its part, adds what it mended to *done. An error ends this duty only. */
typedef int sweep_duty_fn(struct sweep *s, int64_t *done, struct err *e);
sweep_duty_fn sweep_deadlines;
sweep_duty_fn sweep_endings;
sweep_duty_fn sweep_machines;
sweep_duty_fn sweep_strays;
sweep_duty_fn sweep_records;
sweep_duty_fn sweep_balance;
sweep_duty_fn sweep_tidy;

/* Whether this sweep may touch the VM of that row, or the machines of that provider. */
bool sweep_may_touch(const struct sweep *s, const struct ledger_vm *vm);
bool sweep_may_use(const struct sweep *s, const struct vm_provider *p);

/* The machines of a class as listed; NULL if they are not known. */
const struct sweep_machines *sweep_machines_of(const struct sweep *s, const char *class_name);

/* Notes a sign against a subject; true at the second one. */
bool sweep_second_sign(struct sweep *s, const char *kind, const char *subject);
void sweep_acquit(struct sweep *s, const char *kind, const char *subject);

/* Ends the VM at the provider's pace, and logs it. Returns whether it is gone. */
bool sweep_end_vm(struct sweep *s, const struct ledger_vm *vm, const struct fleet_end *how);
/* Waits for a token of the provider's terminate rate; false when the sweep should give up for now.
 */
bool sweep_pace(struct sweep *s, const char *provider);

#endif
