/*
 * Whether the host has room for one more VM: what its live VMs may still grow is reserved, whether
 * they use it or not.
 *
 *   sum of what the live VMs and the new one may use at most
 *       <= overcommit * (what is free + what they use now - what the host keeps for itself)
 *
 * in memory and in disk, and no VM starts while less is free than the host keeps. With an overcommit
 * of 1 no VM can take from another, or from the stores, what was promised to them. What a VM may use
 * is in its record (state.h); it is reserved as long as the VM's directory has `run`. All classes
 * with one state directory are counted together, whichever process launches them: a launch looks and
 * writes its record under one lock (run.c), before it has a VM (room.h).
 */
#ifndef MAYFLY_VM_QEMU_ADMISSION_H
#define MAYFLY_VM_QEMU_ADMISSION_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* In bytes. */
struct qemu_amount {
    int64_t memory;
    int64_t disk;
};

struct qemu_host_use {
    int64_t vms;              /* those that live or start */
    int64_t processes;        /* of them, threads counted */
    struct qemu_amount most;  /* what they may use at most, together */
    struct qemu_amount now;   /* what they use of that */
    struct qemu_amount free;  /* what the host has left */
    struct qemu_amount total; /* what it has at all */
};

struct qemu_admission {
    double memory_overcommit;
    double disk_overcommit;
    struct qemu_amount kept; /* for the host: stores, logs, other programs */
};

/* Reads the records of all VMs below the state directory. ERR_RETRY. */
MUST_CHECK int qemu_host_use(const char *state_dir, struct qemu_host_use *out, struct err *e);

/* How much VMs of the host may use together. Pure. */
struct qemu_amount qemu_admission_limit(const struct qemu_admission *a,
                                        const struct qemu_host_use *use);

/* ERR_CAPACITY, "host full: …", when the VM has to wait for others to end; ERR_PERMANENT when the
 * host could never hold it. Pure. */
MUST_CHECK int qemu_admit(const struct qemu_admission *a, const struct qemu_host_use *use,
                          const struct qemu_amount *vm, struct err *e);

#endif
