/*
 * What keeps QEMU and the gateway, taken over by a guest, from files and processes of their own user:
 * the only protection where all VMs share the worker's user, the second where each has its own.
 *
 *   files      landlock, as far as the kernel has it: the VM's `run`, the files that it was given, the
 *              system's programs and libraries, /dev/kvm. Version 4 on (Linux 6.7): no TCP for QEMU;
 *              6 on (Linux 6.12): no abstract socket of others, no signal to them
 *   processes  a seccomp filter: no signal to others, no look into them, no limits for them, no new
 *              process, and for QEMU no connection to a socket. The gateway adds a stricter one:
 *              worker/gateway/confine.c
 *
 * Not refused: names, sizes and times of files (stat), and what /proc shows without opening a file.
 */
#ifndef MAYFLY_WORKER_SUPERVISOR_CONFINE_H
#define MAYFLY_WORKER_SUPERVISOR_CONFINE_H

#include <stdbool.h>

#include "common/base/attr.h"

struct confined {
    const char *path; /* of the program */
    int program_fd;   /* the same, open; -1: it cannot be */
    bool is_gateway;  /* else QEMU */
    bool own_user;
};

/* In the child, in its working directory, with no_new_privs set; until its end. */
MUST_CHECK bool confine_child(const struct confined *c);

#endif
