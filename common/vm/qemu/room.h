/*
 * Room on this host for a VM that is about to start: a launch has it before a runner is registered.
 *
 * It is a directory beside those of the VMs, `.room-<random>`, whose vm.json has what the VM may use,
 * and whose lock the launch holds. So every process of the host counts it (admission.h), and it is
 * gone with a process that is killed. The VM's directory is this one, renamed.
 */
#ifndef MAYFLY_VM_QEMU_ROOM_H
#define MAYFLY_VM_QEMU_ROOM_H

#include <limits.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct vm_qemu;

struct qemu_room {
    struct qemu_room *next;
    int lock_fd;
    char dir[PATH_MAX];
};

/* Under the lock of the host's VMs. *out: qemu_room_free. ERR_CAPACITY, ERR_PERMANENT as
 * qemu_admit; ERR_RETRY. */
MUST_CHECK int qemu_room_new(const struct vm_qemu *q, const char *accel, struct qemu_room **out,
                             struct err *e);
/* Gives the room up. */
void qemu_room_free(struct qemu_room *r);

/* The VM `dir` gets the room. Takes r on success; *out_lock_fd holds the VM's lock. */
MUST_CHECK int qemu_room_become(struct qemu_room *r, const char *dir, int *out_lock_fd,
                                struct err *e);

/* The lock of a VM's directory; -1: another process has it, with *e. */
MUST_CHECK int qemu_room_lock(const char *dir, struct err *e);

#endif
