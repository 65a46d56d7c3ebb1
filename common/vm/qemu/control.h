/*
 * The control socket of a VM: how another process has it ended.
 *
 * Its supervisor listens on `control` in the VM's directory from before QEMU starts until the VM
 * has ended, and takes one request per connection:
 *
 *   "END <grace in ms> <reason>\n"   the guest is asked to shut down, and killed after the grace
 *
 * The response is "OK\n", and the connection stays open until the supervisor has ended; or
 * "ERR <text>\n" and the end of the connection. Permitted are root, the supervisor's own user, and
 * members of the group to which the directory of the VMs is writable. So no process needs a right
 * to signal a VM's processes, and the users that run programs and VMs may all be different ones.
 */
#ifndef MAYFLY_VM_QEMU_CONTROL_H
#define MAYFLY_VM_QEMU_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define QEMU_CONTROL_SOCKET "control"
#define QEMU_SHELL_SOCKET "shell" /* of a VM with shells: worker/supervisor/shell.h */
#define QEMU_CONTROL_LINE 64
#define QEMU_GRACE_MAX_MS INT64_C(86400000)

struct qemu_end_request {
    int64_t grace_ms;
    char reason[32]; /* of a-z and '-' */
};

/* A request's line, without its newline. Pure. */
MUST_CHECK bool qemu_end_request_parse(struct slice line, struct qemu_end_request *out);

/* Whether a supervisor listens in `dir`: it does from before its VM starts until it ends. For who
 * cannot see it in /proc, which may be hidden from other users. True when that cannot be known. */
MUST_CHECK bool qemu_control_listens(const char *dir);

/* Has the VM in `dir` ended by its supervisor, and waits until that has ended too: for the grace
 * and some seconds. Success too when no supervisor listens there. ERR_RETRY with ETIMEDOUT when it
 * does not respond or end in time; ERR_AUTH when this user may not. */
MUST_CHECK int qemu_control_end(const char *dir, int64_t grace_ms, const char *reason,
                                struct err *e);

#endif
