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

#include "common/vm/qemu/image.h"

/* Descriptors that the supervisor passes to QEMU besides 0 (nothing), 1 (console) and 2
 * (errors). */
#define QEMU_FD_STATUS 3
#define QEMU_FD_INCOMING 4

#define QEMU_PAYLOAD_SOCKET "payload.sock"
#define QEMU_QMP_SOCKET "qmp.sock"
#define QEMU_OVERLAY "overlay.qcow2"

struct qemu_args_in {
    const char *binary; /* absolute path */
    const struct qemu_image *image;
    const char *accel; /* "kvm" or "tcg" */
    int64_t cpus;
    int64_t memory_mib;
    const char *proxy_host; /* NULL: the network is open */
    const char *proxy_port;
    const char *supervisor; /* absolute path; carries the connections to the proxy */
    bool incoming;          /* restore from QEMU_FD_INCOMING */
    bool sandbox;           /* the binary knows -sandbox */
};

/* A NULL-terminated array, owned by the caller (qemu_args_free). */
char **qemu_args_build(const struct qemu_args_in *in);
void qemu_args_free(char **argv);

#endif
