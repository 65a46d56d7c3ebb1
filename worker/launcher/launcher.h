/*
 * The launcher: the one process of a worker that may give a VM a user id of its own.
 *
 *   worker ----fork, before anything is read----> launcher: CAP_SETUID, CAP_SETGID, nothing else
 *     | gives up its capabilities                   |
 *     | the range of ids, once: launcher_open       |
 *     | "start the supervisor of this directory"    +--fork, exec--> mayfly-vm-supervisor, which takes
 *     |                                                              an id that is free, and gives up
 *                                                                    both (worker/supervisor/identity.c)
 *
 * It reads no file and no network, and parses nothing: messages have a fixed size
 * (common/vm/launcher.h), and the range cannot be changed once it is set. A worker that is taken over
 * can have it start supervisors with users of that range, no other program and no other user. It ends
 * when the worker ends. There is no seccomp filter: a filter would be the VMs' too.
 */
#ifndef MAYFLY_WORKER_LAUNCHER_LAUNCHER_H
#define MAYFLY_WORKER_LAUNCHER_LAUNCHER_H

#include <stdbool.h>

struct launcher {
    int fd;          /* -1: there is none */
    const char *why; /* there is none; static text */
};

/* Called first in main, while there is one thread. Forks the launcher if this process has the
 * capabilities. Then this process has none, unless it is root. */
void launcher_fork(struct launcher *l);

/* Has VMs run as users of this range ("FIRST-LAST"; "": as the worker's). True if they will; else the
 * launcher ends, and l->why says why. */
bool launcher_open(struct launcher *l, const char *uids);
/* Ends it, for a worker without VMs on this host. */
void launcher_close(struct launcher *l);

#endif
