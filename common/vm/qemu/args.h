/*
 * QEMU's command line, as a pure function of the VM's properties.
 *
 * A VM can only be restored with the same devices at the same addresses, so all devices are defined
 * here once and in one order; only the back ends (files, the network's far side) and -incoming may
 * differ between save and restore. Paths are relative to the VM's `run` directory, which is QEMU's
 * working directory: a socket's path has at most 107 bytes (sockaddr_un), a state directory may
 * have more. Never a secret: every user can read an argv.
 */
#ifndef MAYFLY_VM_QEMU_ARGS_H
#define MAYFLY_VM_QEMU_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/vm/proxy.h"
#include "common/vm/qemu/image.h"

/* Descriptors that the supervisor passes to QEMU besides 0 (nothing), 1 (console) and 2
 * (errors). */
#define QEMU_FD_STATUS 3
#define QEMU_FD_NETWORK 4
/* Files for reading, in the order of qemu_launch.files; the last two for a restore alone. QEMU's user
 * need not reach their paths. */
#define QEMU_FD_KERNEL 5
#define QEMU_FD_INITRD 6
#define QEMU_FD_DISK 7
#define QEMU_FD_SAVED_DISK 8
#define QEMU_FD_INCOMING 9
#define QEMU_FD_MONITOR 10 /* a second QMP, for the supervisor */
#define QEMU_FD_SHELL 11   /* the agent's port for shells, of a VM that has one */

/* Memory for the guest's code that TCG has translated; QEMU itself would take up to 1 GiB. */
#define QEMU_TCG_MIB 256

#define QEMU_PAYLOAD_SOCKET "payload.sock"
#define QEMU_QMP_SOCKET "qmp.sock"
#define QEMU_OVERLAY "overlay.qcow2"

struct qemu_args_in {
    const char *binary; /* absolute path */
    const struct qemu_image *image;
    const char *accel; /* "kvm" or "tcg" */
    int64_t cpus;
    int64_t memory_mib;
    bool incoming; /* restore from QEMU_FD_INCOMING, on the disk that was saved with it */
    bool sandbox;  /* the binary knows -sandbox */
    bool shell;    /* the VM has a port for shells */
};

/* A NULL-terminated array, owned by the caller (qemu_args_free). */
char **qemu_args_build(const struct qemu_args_in *in);
void qemu_args_free(char **argv);

/* Descriptors that the supervisor passes to the gateway. */
#define GATEWAY_FD_REPORT 3
#define GATEWAY_FD_STREAM 4

/* The command line of the gateway between the VM and the network (worker/gateway/main.c). */
struct qemu_gateway_in {
    const char *binary; /* absolute path */
    const char *mode;   /* "internet", "proxy", "none" */
    char *const *allow; /* as in the configuration */
    size_t allow_count;
    const struct vm_proxy *proxies; /* let through; the first is where the mode proxy leads */
    size_t proxy_count;
};
/* As qemu_args_build. */
char **qemu_gateway_args_build(const struct qemu_gateway_in *in);

#endif
