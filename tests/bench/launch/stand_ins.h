/*
 * The fleet's machines and the disk's own speed, for benches that drive a worker's real threads:
 * what they ask of the provider is answered at once, at no cost.
 *
 * Defined at link time in the place of common/vm (github_stand_in.c is GitHub). A bench sets the
 * hooks before the threads start; they are called from any thread and process that it forks.
 */
#ifndef MAYFLY_TESTS_BENCH_LAUNCH_STAND_INS_H
#define MAYFLY_TESTS_BENCH_LAUNCH_STAND_INS_H

#include "common/fleet/fleet.h"
#include "common/ledger/ledger.h"

struct stand_in_hooks {
    void (*launched)(const char *vm_name); /* the provider was asked for it */
    void (*gone)(void);                    /* a VM was ended and its row is gone; NULL is fine */
};
extern struct stand_in_hooks stand_in_hooks;

/* A fleet whose VMs can be ended: their rows go to `gone`. Borrows the ledger; free() it. */
struct fleet *stand_in_fleet(struct ledger *l);

/* Small durable writes a second of the disk under that directory, now: the reference of a minute.
 */
double stand_in_durable_writes(const char *directory);

#endif
