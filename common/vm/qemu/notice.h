/*
 * What the supervisor of a VM has to report: what the VM's network refused, by kind, and what
 * happened to the VM.
 *
 * A notice is a file in the VM's directory. Its supervisor writes one when none is there, with all
 * that came up since the last; whoever removes it has it, so that each count is reported once
 * however many processes look.
 */
#ifndef MAYFLY_VM_QEMU_NOTICE_H
#define MAYFLY_VM_QEMU_NOTICE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/vm/qemu/net_policy.h"

struct qemu_refused {
    int64_t count;
    bool first;    /* of its kind from this VM */
    char text[80]; /* "tcp 169.254.169.254 80" */
};

/* What happened to the VM besides. */
enum qemu_event {
    QEMU_EVENT_IO_ERROR, /* its disk failed a request */
    QEMU_EVENT_PAUSED,
    QEMU_EVENT_RESUMED,
    QEMU_EVENT_CONSOLE_DROPPED, /* counted in bytes: older output, for newer */
    QEMU_EVENT_STATUS_DROPPED,  /* counted in bytes: what came above the limit */
    QEMU_EVENT_PROCESS_LIMIT,   /* its control group refused a process or thread */
    QEMU_EVENT_SHELL_OPENED,
    QEMU_EVENT_SHELL_CLOSED,
    QEMU_EVENTS
};
const char *qemu_event_name(enum qemu_event e); /* "io_error", "paused", … */

struct qemu_notice {
    struct qemu_refused refused[NET_KINDS];
    struct qemu_refused events[QEMU_EVENTS];
    char shared_network[128]; /* why QEMU has no network namespace of its own; "": it has */
};

/* 1: written; 0: the last one is still there, and nothing was written. */
MUST_CHECK int qemu_notice_write(const char *dir, const struct qemu_notice *n, struct err *e);
/* Takes the VM's notice, if there is one. */
MUST_CHECK bool qemu_notice_take(const char *dir, struct qemu_notice *out);

#endif
