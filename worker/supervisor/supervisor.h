/*
 * The parts of mayfly-vm-supervisor, the program that supervises one VM from its start to its end.
 *
 *   main.c     main, and the loop: console, status lines, deadlines, signals, clean-up
 *   start.c    starts QEMU within its limits and with the rights of its user
 *   cgroup.c   the VM's control group, if a group is delegated to this process
 *   log.c      the console file that keeps its newest part
 *   connect.c  carries one connection of a VM of a closed network to the proxy
 *
 * One thread, one VM. It belongs to no session of the worker, so that it survives when the worker
 * is stopped, killed or replaced; it needs no other process to terminate its VM in time.
 */
#ifndef MAYFLY_WORKER_SUPERVISOR_SUPERVISOR_H
#define MAYFLY_WORKER_SUPERVISOR_SUPERVISOR_H

#include <stddef.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/vm/qemu/launch.h"
#include "common/vm/qemu/state.h"

struct supervisor_pipes {
    int console; /* the output of the VM's serial port */
    int stderr_; /* QEMU's standard error */
    int status;  /* the agent's status lines */
};

/* Starts QEMU in <dir>/run. The read ends in *pipes are non-blocking and owned by the caller.
 * `cgroup` gets the path of the VM's control group, or "" (512 bytes). */
MUST_CHECK int supervisor_start_qemu(const char *dir, const struct qemu_launch *launch,
                                     struct supervisor_pipes *pipes, char *cgroup, pid_t *out_pid,
                                     struct err *e);

/* Creates a control group with the launch's limits below the first group that is delegated to this
 * process, and returns its cgroup.procs opened for writing. -1, and "" in *out, if there is none,
 * which is no error: the limits of the process apply either way. size >= 512. */
int supervisor_cgroup_make(const char *mount, const char *own, const struct qemu_launch *launch,
                           char *out, size_t size);
/* Where cgroup v2 is mounted, and this process's group in it; false if nowhere. */
MUST_CHECK bool supervisor_cgroup_find(char *mount, char *own, size_t size);

/* A file that keeps at least the newest half of limit_bytes and never more than limit_bytes. */
struct supervisor_log {
    char path[4096];
    char old_path[4096 + 8];
    int fd;
    int64_t half_bytes;
    int64_t written;
};
void supervisor_log_open(struct supervisor_log *log, const char *dir, int64_t limit_bytes);
void supervisor_log_write(struct supervisor_log *log, struct slice data);
void supervisor_log_close(struct supervisor_log *log);

/* Copies between the connection on descriptors 0 and 1 and host:port until both ends are closed.
 * Returns the program's exit code. */
int supervisor_connect(const char *host, const char *port);

#endif
