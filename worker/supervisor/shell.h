/*
 * The shells that people open in the VM, of a class with `shell: true`: what goes between the socket
 * QEMU_SHELL_SOCKET in the VM's directory and the port of the VM's agent, in the frames of
 * common/payload/shell_frame.h.
 *
 * One at a time; a second one is refused with who has the first. Permitted are root and the
 * supervisor's own user. What comes from the VM is a stranger's: it is read only while somebody has
 * a shell, and no faster than he reads; what the VM does not read stays here, up to two frames. So
 * neither side can make this process wait or grow. Who opened and closed shells is in the VM's
 * notices (common/vm/qemu/notice.h). One thread, which never blocks.
 */
#ifndef MAYFLY_WORKER_SUPERVISOR_SHELL_H
#define MAYFLY_WORKER_SUPERVISOR_SHELL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/payload/shell_frame.h"
#include "worker/supervisor/supervisor.h"

enum supervisor_shell_state {
    SHELL_FREE,
    SHELL_CONNECTED, /* nothing was asked yet */
    SHELL_OPENING,   /* the agent is to start a shell */
    SHELL_RUNNING,
    SHELL_LEAVING, /* it has ended; the client gets what is left */
};

struct supervisor_shell {
    int listen_fd; /* -1: the VM has no shell */
    int vm;        /* the port, which does not block */
    int client;    /* -1: none */
    enum supervisor_shell_state state;
    unsigned char session;
    bool awaits_taken;   /* input is on its way to the shell */
    bool broken;         /* the VM's end does not speak the protocol */
    int64_t since_ms;    /* monotonic: in this state, but LEAVING: in the one before */
    int64_t deadline_ms; /* of this state; INT64_MAX: none */
    unsigned uid;
    char who[96]; /* "alice (uid 1000)" */
    struct shell_bytes from_client;
    struct shell_bytes to_client;
    struct shell_bytes from_vm;
    struct shell_bytes to_vm;
};

/* vm: the port, borrowed; -1: nothing is opened. The socket is open until the process ends. */
MUST_CHECK int supervisor_shell_open(struct supervisor_shell *s, const char *dir, int vm,
                                     struct err *e);
/* Fills out[0 … SUPERVISOR_SHELL_FDS]; returns how many. */
#define SUPERVISOR_SHELL_FDS 3
size_t supervisor_shell_fds(const struct supervisor_shell *s, struct pollfd *out);
/* Moves what can be moved. Returns when to call again (monotonic). */
int64_t supervisor_shell_work(struct supervisor_shell *s, struct supervisor_network *n);
/* The VM has ended. */
void supervisor_shell_close(struct supervisor_shell *s, struct supervisor_network *n);

#endif
