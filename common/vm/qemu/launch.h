/*
 * The instructions for a supervisor: what to start in a VM's directory, and within which limits.
 *
 * The provider writes launch.json, and mayfly-vm-supervisor (main.c) reads it. The supervisor is a
 * small program of its own: a fork without exec in a worker full of threads would not be safe, and
 * it must not share memory with the worker that it outlives. Nothing secret is in the file.
 *
 * The supervisor writes "OK\n" to its standard output once QEMU has been started and process.json
 * is written, or "ERR <text>\n". From then on it copies the console and the agent's status lines
 * into bounded files, terminates the VM at its deadline or when it is asked to (control.h), and when
 * QEMU has ended removes `run` and writes exit.json. QEMU never outlives its supervisor (PR_SET_PDEATHSIG).
 */
#ifndef MAYFLY_VM_QEMU_LAUNCH_H
#define MAYFLY_VM_QEMU_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/vm/qemu/state.h"

struct qemu_launch {
    char **argv;    /* NULL-terminated */
    char **gateway; /* the gateway's, likewise */
    char **files;   /* NULL-terminated: what QEMU gets as QEMU_FD_KERNEL and so on */
    char *cgroup;   /* name of the control group to create, if permitted; "": none */
    int64_t console_limit_bytes;
    int64_t max_duration_ms;
    int64_t
        start_ms; /* terminated if the agent has not reported STARTED by then; 0: no such limit */
    int64_t cpus;
    int64_t memory_limit_bytes;  /* of the control group */
    int64_t address_limit_bytes; /* RLIMIT_AS; 0: none */
    int64_t file_limit_bytes;    /* RLIMIT_FSIZE */
    bool confine;                /* QEMU, as far as the system permits */
    bool shell;                  /* the VM has a port for shells */
    bool keep_run;               /* the starting process removes `run` */
};

MUST_CHECK int qemu_launch_write(const char *dir, const struct qemu_launch *launch, struct err *e);
/* *out is owned by the caller (qemu_launch_fini). */
MUST_CHECK int qemu_launch_read(const char *dir, struct qemu_launch *out, struct err *e);
void qemu_launch_fini(struct qemu_launch *launch);

/* Removes the control group of a VM, with its parts (worker/supervisor/cgroup.c), where they have no
 * processes. */
void qemu_cgroup_remove(const char *dir);

/* Runs the supervisor program for a directory that holds launch.json, through the launcher if this
 * process has one (common/vm/launcher.h), and waits for its response.
 * ERR_RETRY with the supervisor's message; then nothing of it runs. */
MUST_CHECK int qemu_supervisor_start(const char *supervisor, const char *dir, struct err *e);

/* Whether the VM's supervisor lives. */
MUST_CHECK bool qemu_supervisor_alive(const char *dir, const struct qemu_process_record *process);

/* Ends the VM in `dir` and returns when its processes have ended; success too when nothing runs. Its
 * supervisor is asked to end it (control.h). If that does not respond, or has left a process behind,
 * the VM's control group is killed, which its owner may, the worker; ERR_RETRY when nothing helps. */
MUST_CHECK int qemu_supervisor_stop(const char *dir, int64_t grace_ms, struct err *e);

#endif
