/*
 * The parts of mayfly-vm-supervisor, the program that supervises one VM from its start to its end.
 *
 *   main.c     main, and the loop: console, status lines, deadlines, signals, clean-up
 *   confine.c  what QEMU and the gateway may open and do
 *   identity.c the user of the VM's processes
 *   start.c    starts the gateway and QEMU within their limits and with the rights of their user
 *   control.c  the socket on which others have the VM ended
 *   shell.c    the shells that people open in the VM
 *   shutdown.c how the guest is asked to shut down
 *   network.c  what the gateway reports: that it is ready, what it refused, why it ended
 *   monitor.c  what QEMU reports: errors of the disk, and that the VM is paused
 *   cgroup.c   the VM's control group, if a group is delegated to this process
 *   log.c      the console file that keeps its newest part
 *
 * One thread, one VM. It belongs to no session of the worker, so that it survives when the worker
 * is stopped, killed or replaced; it needs no other process to terminate its VM in time.
 */
#ifndef MAYFLY_WORKER_SUPERVISOR_SUPERVISOR_H
#define MAYFLY_WORKER_SUPERVISOR_SUPERVISOR_H

#include <poll.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/vm/qemu/control.h"
#include "common/vm/qemu/launch.h"
#include "common/vm/qemu/notice.h"
#include "common/vm/qemu/state.h"

struct supervisor_pipes {
    int console; /* the output of the VM's serial port */
    int stderr_; /* QEMU's standard error */
    int status;  /* the agent's status lines */
    int report;  /* the gateway's lines, and its standard error */
    int monitor; /* QMP */
    int shell;   /* the agent's port for shells; -1: the VM has none */
};

/* The VM's control group: supervisor, gateway and QEMU together. */
struct supervisor_cgroup {
    char dir[512];  /* "" : none */
    char home[512]; /* this process's group before */
};
/* Creates it with the launch's limits below the first group that is delegated to this process, and
 * enters it. Returns the cgroup.procs of its part for the others, opened for writing; -1 if there is
 * none, which is no error: the limits of the process apply either way. */
int supervisor_cgroup_enter(const char *mount, const char *own, const struct qemu_launch *launch,
                            struct supervisor_cgroup *out);
/* When the others have ended: goes back, and removes it. */
void supervisor_cgroup_leave(struct supervisor_cgroup *c);
/* Whether the kernel has killed a process in it, because its memory was used up. */
bool supervisor_cgroup_was_full(const struct supervisor_cgroup *c);
/* How often it has refused a process or thread. */
int64_t supervisor_cgroup_refused_processes(const struct supervisor_cgroup *c);

/* Takes a free id of the range "FIRST-LAST" as the real user and group of this process, for the VM's
 * processes. Files are used by the effective ones: the user stays, the group becomes that of the
 * directory if this process is in it. Gives up all other groups but KVM's, and the capabilities that
 * this took. Called before anything is read. After a failure this process ends. */
MUST_CHECK int supervisor_identity_take(const char *ids, const char *dir, struct err *e);
/* For others, when this VM has no process any more. */
void supervisor_identity_release(void);

/* The processes of one VM, each in a process group of its own. */
struct supervisor_processes {
    pid_t gateway; /* 0: not started */
    pid_t qemu;
    struct supervisor_cgroup cgroup;
    char shared_network[128]; /* why QEMU is in this process's network namespace; "": it is not */
};

/* Starts the gateway, then QEMU, in <dir>/run, joined by a socket. The read ends in *pipes are
 * non-blocking and owned by the caller. After a failure none of them runs. */
MUST_CHECK int supervisor_start(const char *dir, const struct qemu_launch *launch,
                                struct supervisor_pipes *pipes, struct supervisor_processes *out,
                                struct err *e);
/* The limits of this process itself, once it has started the others: what it needs, and no process. */
void supervisor_limit_itself(const struct qemu_launch *launch);
/* Where cgroup v2 is mounted, and this process's group in it; false if nowhere. */
MUST_CHECK bool supervisor_cgroup_find(char *mount, char *own, size_t size);

/* A file that keeps at least the newest half of limit_bytes and never more than limit_bytes. What
 * comes is a guest's and goes to people's terminals: it is escaped, but for the ends of lines. */
struct supervisor_log {
    char path[4096];
    char old_path[4096 + 8];
    int fd;
    int64_t half_bytes;
    int64_t written;
    int64_t dropped;    /* bytes, of the older part and for want of space */
    char unfinished[3]; /* of a character whose rest is still to come */
    size_t unfinished_len;
};
void supervisor_log_open(struct supervisor_log *log, const char *dir, int64_t limit_bytes);
void supervisor_log_write(struct supervisor_log *log, struct slice data);
void supervisor_log_close(struct supervisor_log *log);

/* What the gateway of a VM reported. */
struct supervisor_network {
    const char *dir;
    bool ready;
    bool failed;    /* it said why, in `last` */
    bool unsaid;    /* `notice` has something that no file has yet */
    char last[200]; /* its last line that was no report */
    char line[512];
    size_t line_len;
    bool seen[NET_KINDS];
    bool happened[QEMU_EVENTS];
    struct qemu_notice notice;
    int64_t write_at_ms; /* monotonic */
};
/* Takes output of the gateway. It is not trusted: what is no line of its protocol is kept as text. */
void supervisor_network_take(struct supervisor_network *n, struct slice data);
/* Waits until the gateway is ready; ERR_RETRY with its text when it is not in time, or ended. */
MUST_CHECK int supervisor_network_wait(struct supervisor_network *n, int report_fd, struct err *e);
/* Writes a notice if there is something to report and the last one was taken; not more often than
 * each second. Returns when to call again (monotonic). */
int64_t supervisor_network_publish(struct supervisor_network *n);
/* Writes what is left, together with a notice that nobody has taken. */
void supervisor_network_finish(struct supervisor_network *n);
/* Something else that happened to the VM, `count` times or bytes, for the same notice. */
void supervisor_network_event(struct supervisor_network *n, enum qemu_event event, int64_t count,
                              const char *text);

/* What QEMU reports about its VM. A VM that an error of its disk has paused is resumed when the file
 * system has space again, and ended when that takes too long; one that QEMU cannot run any more is
 * ended. One that was paused by hand stays so. */
struct supervisor_monitor {
    int fd;               /* -1: none; borrowed */
    int64_t paused_ms;    /* monotonic: since then; 0: it runs */
    int64_t try_ms;       /* monotonic: when it may be resumed */
    char status[24];      /* as QEMU calls it; "" : not yet known */
    char error[104];      /* the disk's last one */
    char end_reason[128]; /* "" : the VM may go on */
    size_t len;
    char line[4096]; /* the rest of a longer one is dropped */
};
/* Takes output of QEMU, which is not trusted, and responds to it. */
void supervisor_monitor_take(struct supervisor_monitor *m, struct slice data,
                             struct supervisor_network *n);
/* Resumes or gives up a paused VM if that is due; free_bytes: of its file system. Returns when to
 * call again (monotonic). */
int64_t supervisor_monitor_due(struct supervisor_monitor *m, int64_t now_ms, int64_t free_bytes);

/* The control socket (common/vm/qemu/control.h). */
#define SUPERVISOR_PEERS 8
struct supervisor_peer {
    int fd; /* -1: none */
    size_t len;
    char line[QEMU_CONTROL_LINE];
};
struct supervisor_control {
    int listen_fd;
    gid_t group; /* whose members are permitted; -1: none */
    unsigned next;
    struct supervisor_peer peers[SUPERVISOR_PEERS];
};
/* Listens on a socket of that name and mode, in the place of one that a former supervisor left; -1:
 * errno says why not. */
MUST_CHECK int supervisor_listen(int dir_fd, const char *name, mode_t mode);
/* A socket that a former supervisor left in `dir` is replaced. It is open until the process ends. */
MUST_CHECK int supervisor_control_open(struct supervisor_control *c, const char *dir,
                                       struct err *e);
/* Fills out[0 … SUPERVISOR_PEERS]; returns how many. */
size_t supervisor_control_fds(const struct supervisor_control *c, struct pollfd *out);
/* Serves who is connected, without blocking. True: one asked for the end, and has its response. */
MUST_CHECK bool supervisor_control_take(struct supervisor_control *c, struct qemu_end_request *out);

/* Asks the guest of the VM in `dir` to shut down, without waiting for anything: its agent, and by
 * the power button. The connections stay open until this process ends, since QEMU drops what it has
 * not yet read from one that was closed. */
void supervisor_ask_guest(const char *dir);

#endif
