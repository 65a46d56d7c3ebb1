#include "worker/launcher/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/protect.h"
#include "common/vm/launcher.h"
#include "common/vm/qemu/exec.h"

struct server {
    int fd;
    char supervisor[PATH_MAX]; /* "": not found, and `missing` says so */
    struct err missing;
    char ids[32]; /* "FIRST-LAST"; "": not set yet */
};

union message {
    struct vm_launcher_ids ids;
    struct vm_launcher_request request;
};

static const int from_terminal[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

static void handle_signals(void (*handler)(int))
{
    for (size_t i = 0; i < COUNT_OF(from_terminal); i++) {
        (void)signal(from_terminal[i], handler);
    }
    /* Those that it started are not waited for. */
    (void)signal(SIGCHLD, handler);
}

/* Dropping from the bounding set needs CAP_SETPCAP, which only root has here; in the unit it is
 * CapabilityBoundingSet=. */
static bool keep_two_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {
        {LAUNCHER_CAPABILITIES, LAUNCHER_CAPABILITIES, LAUNCHER_CAPABILITIES}};
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (cap != CAP_SETUID && cap != CAP_SETGID) {
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        }
    }
    return syscall(SYS_capset, &head, kept) == 0 &&
           prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* Nothing else of the worker's stays. Returns the socket, or -1. */
static int keep_one_descriptor(int fd)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null_fd >= 0 && i <= 2; i++) {
        (void)dup2(null_fd, i);
    }
    bool closed = own >= 0 && null_fd >= 0 &&
                  (own == 3 || close_range(3, (unsigned)own - 1, 0) == 0) &&
                  close_range((unsigned)own + 1, ~0U, 0) == 0;
    return closed ? own : -1;
}

/* --- messages -------------------------------------------------------------------------------- */

/* In a process of its own: whether the range's ends exist in this user namespace. */
static int try_ids(const struct id_range *range)
{
    int status = 0;
    (void)signal(SIGCHLD, SIG_DFL);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(setresgid(range->first, range->last, range->last) != 0 ||
                      setresuid(range->first, range->last, range->last) != 0
                  ? errno
                  : 0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    (void)signal(SIGCHLD, SIG_IGN);
    return pid < 0 ? EAGAIN : WIFEXITED(status) ? WEXITSTATUS(status) : EINVAL;
}

static void set_ids(struct server *s, const struct id_range *range)
{
    bool own = (geteuid() >= range->first && geteuid() <= range->last) ||
               (getegid() >= range->first && getegid() <= range->last);
    int errnum = own ? EEXIST : try_ids(range);
    if (errnum == 0) {
        (void)snprintf(s->ids, sizeof s->ids, "%u-%u", range->first, range->last);
    }
    (void)!send(s->fd, &errnum, sizeof errnum, MSG_NOSIGNAL);
}

NORETURN static void exec_supervisor(struct server *s, char *dir, int output)
{
    char word[] = "run";
    char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *const argv[] = {s->supervisor, word, dir, s->ids, NULL};
    char *const env[] = {path, NULL};
    struct err e = s->missing;
    handle_signals(SIG_DFL);
    (void)setsid();
    (void)dup2(output, 1);
    (void)dup2(output, 2);
    if (s->supervisor[0] != '\0' &&
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0) == 0 &&
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0) == 0) {
        (void)execve(argv[0], argv, env);
    }
    if (s->supervisor[0] != '\0') {
        (void)err_errno(&e, ERR_RETRY, errno, "the launcher cannot start %.200s", s->supervisor);
    }
    (void)dprintf(1, "ERR %s\n", e.message);
    _exit(1);
}

static void start_supervisor(struct server *s, struct vm_launcher_request *request, int output)
{
    request->dir[sizeof request->dir - 1] = '\0';
    pid_t pid = fork();
    if (pid == 0) {
        exec_supervisor(s, request->dir, output);
    }
    if (pid < 0) {
        (void)dprintf(output, "ERR the launcher cannot start a process: %s\n", strerror(errno));
    }
}

/* Returns the size; *out_fd is the descriptor that came along, or -1. */
static ssize_t receive(int fd, union message *m, int *out_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {.iov_base = m, .iov_len = sizeof *m};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    *out_fd = -1;
    if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
        memcpy(out_fd, CMSG_DATA(head), sizeof *out_fd);
    }
    return n;
}

NORETURN void launcher_serve(int fd)
{
    static struct server s; /* a path of 4 KiB, in a process of its own */
    static union message m;
    ssize_t n = 1;
    int output;
    protect_memory();
    handle_signals(SIG_IGN);
    (void)prctl(PR_SET_NAME, "mayfly-launcher", 0, 0, 0);
    s.fd = keep_one_descriptor(fd);
    if (s.fd < 0 || !keep_two_capabilities()) {
        _exit(1);
    }
    if (exec_find_supervisor(s.supervisor, sizeof s.supervisor, &s.missing) != 0) {
        s.supervisor[0] = '\0';
    }
    while (n > 0 || (n < 0 && errno == EINTR)) {
        n = receive(s.fd, &m, &output);
        if (n == (ssize_t)sizeof m.ids && s.ids[0] == '\0') {
            set_ids(&s, &m.ids.range);
        } else if (n == (ssize_t)sizeof m.request && s.ids[0] != '\0' && output >= 0) {
            start_supervisor(&s, &m.request, output);
        }
        if (output >= 0) {
            close(output);
        }
    }
    _exit(0);
}
