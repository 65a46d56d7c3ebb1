#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/protect.h"
#include "common/base/syscall_filter.h"
#include "common/vm/qemu/args.h"
#include "worker/supervisor/confine.h"

/* --- files: landlock(7) ---------------------------------------------------------------------- */

/* Of newer kernels than the headers that this is built with may be from. */
#define FS_V1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)     /* version 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14)  /* 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define NET_TCP UINT64_C(3)              /* 4 */
#define SCOPES UINT64_C(3)               /* 6: abstract sockets, signals */

#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_PROGRAM (FS_READ | LANDLOCK_ACCESS_FS_EXECUTE)
#define FS_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
/* The rights that a file can have. */
#define FS_OF_FILES                                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | FS_WRITE | FS_IOCTL_DEV)

struct ruleset {
    int fd;
    uint64_t handled;
};

/* As struct landlock_ruleset_attr of the newest version: an older kernel takes it if what it does not
 * know is 0. */
struct ruleset_attr {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
};

static uint64_t handled_files(int version)
{
    return FS_V1 | (version >= 2 ? FS_REFER : 0) | (version >= 3 ? FS_TRUNCATE : 0) |
           (version >= 5 ? FS_IOCTL_DEV : 0);
}

/* What is not there needs no rule. */
static void allow_fd(const struct ruleset *r, int fd, uint64_t access)
{
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        struct landlock_path_beneath_attr rule = {
            .allowed_access =
                access & r->handled & (S_ISDIR(st.st_mode) ? ~UINT64_C(0) : FS_OF_FILES),
            .parent_fd = fd};
        (void)syscall(SYS_landlock_add_rule, r->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
}

static void allow_path(const struct ruleset *r, const char *path, uint64_t access)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    allow_fd(r, fd, access);
    if (fd >= 0) {
        close(fd);
    }
}

static void allow_program(const struct ruleset *r, const struct confined *c)
{
    static const char *const everybody[] = {"/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"};
    static const char *const beside[] = {"", "/../lib", "/../share"};
    const char *slash = strrchr(c->path, '/');
    char path[4096];
    for (size_t i = 0; i < COUNT_OF(everybody); i++) {
        allow_path(r, everybody[i], FS_PROGRAM);
    }
    for (size_t i = 0; slash != NULL && i < COUNT_OF(beside); i++) {
        int n = snprintf(path, sizeof path, "%.*s%s", (int)(slash - c->path), c->path, beside[i]);
        if (n > 1 && (size_t)n < sizeof path) {
            allow_path(r, path, FS_PROGRAM);
        }
    }
    allow_fd(r, c->program_fd, FS_PROGRAM);
    allow_path(r, "/dev/null", FS_READ | FS_WRITE);
    allow_path(r, "/dev/urandom", FS_READ);
}

static void allow_vm(const struct ruleset *r)
{
    char path[32];
    allow_path(r, ".",
               FS_READ | FS_WRITE | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE);
    for (int fd = QEMU_FD_KERNEL; fd <= QEMU_FD_INCOMING; fd++) {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        allow_path(r, path, FS_READ);
    }
    allow_path(r, "/dev/kvm", FS_READ | FS_WRITE | FS_IOCTL_DEV);
}

/* Where it looks names up. /etc as a whole, in which resolv.conf may be replaced, only where the
 * worker's own files in it are another user's. */
static void allow_resolver(const struct ruleset *r, bool own_user)
{
    static const char *const paths[] = {
        "/etc/resolv.conf",     "/etc/hosts",          "/etc/nsswitch.conf",
        "/etc/host.conf",       "/etc/gai.conf",       "/etc/services",
        "/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        allow_path(r, paths[i], FS_READ);
    }
    if (own_user) {
        allow_path(r, "/etc", FS_READ);
    }
}

static bool restrict_files(const struct confined *c)
{
    int version = protect_landlock_abi();
    const struct ruleset_attr attr = {.fs = handled_files(version),
                                      .net = version >= 4 && !c->is_gateway ? NET_TCP : 0,
                                      .scoped = version >= 6 ? SCOPES : 0};
    if (version == 0) {
        return true; /* the worker has logged it */
    }
    size_t size = version >= 6 ? sizeof attr : version >= 4 ? 16 : 8;
    struct ruleset r = {.fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0),
                        .handled = attr.fs};
    if (r.fd < 0) {
        return false;
    }
    allow_program(&r, c);
    if (c->is_gateway) {
        allow_resolver(&r, c->own_user);
    } else {
        allow_vm(&r);
    }
    bool done = syscall(SYS_landlock_restrict_self, r.fd, 0) == 0;
    close(r.fd);
    return done;
}

/* --- processes: seccomp(2) -------------------------------------------------------------------- */

/* Each of them fails with EPERM: signals to others, a look into them, new processes, and names in the
 * directory that another program might follow. */
static const int denied[] = {
    SYS_kill,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_pidfd_getfd,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_symlinkat,
    SYS_linkat,
    SYS_renameat2,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef __x86_64__
    SYS_fork,
    SYS_vfork,
    SYS_mkdir,
    SYS_mknod,
    SYS_symlink,
    SYS_link,
    SYS_rename,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
#endif
};

static void build_filter(struct syscall_filter *f, bool is_gateway)
{
    const uint32_t self = (uint32_t)getpid();
    const uint32_t caller = 0;
    syscall_filter_begin(f);
    /* Threads of its own, and signals to them. The C library takes clone when there is no clone3,
     * whose flags a filter cannot see. */
    syscall_filter_deny(f, SYS_clone3, ENOSYS);
    syscall_filter_allow_with_bits(f, SYS_clone, 0, CLONE_THREAD);
    syscall_filter_allow_values(f, SYS_tgkill, 0, &self, 1);
    /* Limits of another process end it as a signal does. */
    syscall_filter_allow_values(f, SYS_prlimit64, 0, &caller, 1);
    /* Signals by way of a file's owner. */
    syscall_filter_deny_value(f, SYS_fcntl, 1, F_SETOWN);
    syscall_filter_deny_value(f, SYS_fcntl, 1, F_SETOWN_EX);
    syscall_filter_deny_value(f, SYS_ioctl, 1, 0x8901); /* FIOSETOWN */
    syscall_filter_deny_value(f, SYS_ioctl, 1, 0x8902); /* SIOCSPGRP */
    syscall_filter_deny_all(f, denied, COUNT_OF(denied));
    if (!is_gateway) { /* which makes no Unix socket, by its own filter */
        /* Landlock does not see sockets that have a path. */
        syscall_filter_deny(f, SYS_connect, EPERM);
    }
}

bool confine_child(const struct confined *c)
{
    struct syscall_filter f;
    if (MAYFLY_SANITIZED) {
        return true; /* a sanitizer has processes of its own, and looks at /proc */
    }
    build_filter(&f, c->is_gateway);
    return restrict_files(c) && syscall_filter_install(&f) == 0;
}
