/*
 * The records of a VM: its state directory, and which of its processes live.
 *
 *   <state_dir>/<deployment>.<class>/<vm name>/
 *     lock          held (F_OFD_SETLK) by the process that is launching the VM
 *     vm.json       by the launcher: version, name, token, image, how it started
 *     launch.json   by the launcher, for the supervisor: command line and limits (qemu/launch.h)
 *     process.json  by the supervisor: its own and QEMU's identity
 *     accepted      by the launcher: the agent has accepted the payload
 *     ending        by the process that requested the termination
 *     status        the agent's lines; console.log, console.log.1: the newest part of the console
 *     control       the supervisor's socket (qemu/control.h)
 *     shell         its socket for shells, of a class with `shell: true` (worker/supervisor/shell.h)
 *     notice.json   by the supervisor, removed by whoever reads it (qemu/notice.h)
 *     exit.json     by the supervisor, when everything has ended: time, reason
 *     run/          QEMU's own: overlay.qcow2 and the sockets; removed when it has ended
 *   <state_dir>/<deployment>.<class>/.room-<random>/   lock and vm.json of a launch without a VM (room.h)
 *
 * Each file has one writer and is replaced atomically, so that any process of the host may read at
 * any time. A process is identified by its pid, its start time and the boot, so that a reused pid
 * is never mistaken for it.
 */
#ifndef MAYFLY_VM_QEMU_STATE_H
#define MAYFLY_VM_QEMU_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/job/job.h"
#include "common/vm/qemu/admission.h"

#define QEMU_RECORD_VERSION 1

struct proc_id {
    pid_t pid; /* 0: none */
    int64_t start_ticks;
    char boot[40];
};

/* False when there is no such process, or it is a zombie. */
MUST_CHECK bool proc_id_of(pid_t pid, struct proc_id *out);
bool proc_id_alive(const struct proc_id *id);
/* A pidfd of exactly that process, or -1 when it no longer exists. */
int proc_id_open(const struct proc_id *id);
/* Waits until the process behind a pidfd has ended; false at the deadline. */
bool proc_wait(int pidfd, int64_t deadline_ms);

struct qemu_vm_record {
    char name[VM_NAME_SIZE];
    char token[VM_NAME_SIZE];
    char image[200];
    char mode[16]; /* "restore" or "boot" */
    char accel[8];
    int64_t started_ms;
    struct qemu_amount most; /* what it may use: reserved while it lives */
};

struct qemu_process_record {
    struct proc_id supervisor;
    struct proc_id qemu;
    char cgroup[512]; /* the VM's own cgroup directory; "" : none */
};

struct qemu_exit_record {
    int64_t ended_ms;
    int status; /* from waitpid; -1 unknown */
    char reason[128];
};

/* Records in the VM's directory. Reading: ERR_NOT_FOUND when it does not exist, ERR_PERMANENT when
 * it is damaged or of another version. Writing: ERR_RETRY. */
MUST_CHECK int qemu_vm_record_read(const char *dir, struct qemu_vm_record *out, struct err *e);
MUST_CHECK int qemu_vm_record_write(const char *dir, const struct qemu_vm_record *r, struct err *e);
MUST_CHECK int qemu_process_record_read(const char *dir, struct qemu_process_record *out,
                                        struct err *e);
MUST_CHECK int qemu_process_record_write(const char *dir, const struct qemu_process_record *r,
                                         struct err *e);
MUST_CHECK int qemu_exit_record_read(const char *dir, struct qemu_exit_record *out, struct err *e);
MUST_CHECK int qemu_exit_record_write(const char *dir, const struct qemu_exit_record *r,
                                      struct err *e);

/* Whether a process holds the VM's lock; tests it without acquiring it, since a reader must never
 * block a launcher. Reading suffices: it is of another user than the reaper's. */
bool qemu_is_being_launched(const char *dir);

/* Flags: empty files. */
MUST_CHECK int qemu_mark(const char *dir, const char *name, struct err *e);
MUST_CHECK bool qemu_marked(const char *dir, const char *name);

/* The agent's status so far, from its lines. `reason` of the last "EXIT <code> <reason>", with
 * non-printable characters replaced by '?'; "" if none. Pure. */
struct qemu_agent_status {
    bool ready;
    bool started;
    bool exited;
    char reason[128];
};
void qemu_agent_status_parse(struct slice text, struct qemu_agent_status *out);
/* The same from the VM's `status` file; empty when it cannot be read. */
void qemu_agent_status_read(const char *dir, struct qemu_agent_status *out);

/* "<dir>/<name>" into out, which holds PATH_MAX bytes; a path that is too long ends as "" and every
 * use of it fails with its own message. Returns out. */
const char *qemu_path(char *out, const char *dir, const char *name);

#endif
