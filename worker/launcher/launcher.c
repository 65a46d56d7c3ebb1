#include "worker/launcher/launcher.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/attr.h"
#include "common/vm/launcher.h"
#include "worker/launcher/serve.h"

static bool may_change_ids(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
    return syscall(SYS_capget, &head, caps) == 0 &&
           (caps[0].effective & LAUNCHER_CAPABILITIES) == LAUNCHER_CAPABILITIES;
}

/* Root keeps its own: its files may be other users'. */
static void give_up_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    if (geteuid() != 0) {
        int failed = prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
                     syscall(SYS_capset, &head, none) != 0;
        ASSERT(!failed);
    }
}

static void set_absent(struct launcher *l, const char *why)
{
    if (l->fd >= 0) {
        close(l->fd);
    }
    *l = (struct launcher){.fd = -1, .why = why};
}

void launcher_fork(struct launcher *l)
{
    int fds[2];
    *l = (struct launcher){.fd = -1,
                           .why = "the worker has not the capabilities CAP_SETUID and "
                                  "CAP_SETGID"};
    if (may_change_ids()) {
        bool paired = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0;
        pid_t pid = paired ? fork() : -1;
        if (pid == 0) {
            launcher_serve(fds[1]);
        }
        if (paired) {
            close(fds[1]);
            l->fd = fds[0];
        }
        if (pid < 0) {
            set_absent(l, "the launcher could not be forked");
        }
    }
    give_up_capabilities();
}

void launcher_close(struct launcher *l)
{
    set_absent(l, "no class has VMs on this host");
}

bool launcher_open(struct launcher *l, const char *uids)
{
    struct vm_launcher_ids ids;
    int errnum = 0;
    if (l->fd < 0) {
        return false;
    }
    if (!id_range_parse(slice_of(uids), &ids.range)) {
        set_absent(l, "worker.vm_uids is empty");
        return false;
    }
    bool sent = send(l->fd, &ids, sizeof ids, MSG_NOSIGNAL) == (ssize_t)sizeof ids &&
                recv(l->fd, &errnum, sizeof errnum, 0) == (ssize_t)sizeof errnum;
    if (!sent || errnum != 0) {
        set_absent(l, !sent              ? "the launcher does not respond"
                      : errnum == EEXIST ? "worker.vm_uids contains the worker's own user or group"
                                         : "the ids of worker.vm_uids do not exist in this user "
                                           "namespace (/proc/self/uid_map)");
        return false;
    }
    vm_launcher_use(l->fd);
    return true;
}
