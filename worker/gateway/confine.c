#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/gateway/gateway.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the gateway's filter knows x86-64 and arm64"
#endif

/* Each of them fails with EPERM. Whatever takes this process over starts no program, sees no other
 * process, writes no file and makes no socket but of IP. */
static const int denied[] = {
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_tkill,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_openat2,
    SYS_truncate,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_mkdirat,
    SYS_symlinkat,
    SYS_linkat,
    SYS_mknodat,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_memfd_create,
    SYS_listen,
    SYS_open_by_handle_at,
    SYS_move_mount,
    SYS_fsopen,
    SYS_personality,
    SYS_swapon,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef __x86_64__
    SYS_creat,
    SYS_unlink,
    SYS_rename,
    SYS_mkdir,
    SYS_rmdir,
    SYS_symlink,
    SYS_link,
    SYS_mknod,
    SYS_chmod,
    SYS_chown,
    SYS_fork,
    SYS_vfork,
    SYS_lchown,
#endif
};

static const int families[] = {AF_INET, AF_INET6, AF_NETLINK};

#define RULES_MAX 160
#define ARGUMENT(n) (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n)) /* its low half */
#define RETURN_ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define RETURN_EPERM BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

struct filter {
    struct sock_filter rules[RULES_MAX];
    unsigned short count;
};

static void add_rule(struct filter *f, struct sock_filter rule)
{
    ASSERT(f->count < RULES_MAX);
    f->rules[f->count++] = rule;
}

static void load(struct filter *f, uint32_t offset)
{
    add_rule(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

/* Skips so many rules unless the loaded value is this one. */
static void unless_equal_skip(struct filter *f, uint32_t value, uint8_t skip)
{
    add_rule(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip));
}

/* This call may open files for reading only. */
static void allow_reading(struct filter *f, int call, unsigned flags_argument)
{
    unless_equal_skip(f, (uint32_t)call, 4);
    load(f, ARGUMENT(flags_argument));
    add_rule(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
                                             O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 1));
    add_rule(f, (struct sock_filter)RETURN_EPERM);
    add_rule(f, (struct sock_filter)RETURN_ALLOW);
}

static void allow_families(struct filter *f)
{
    unless_equal_skip(f, SYS_socket, (uint8_t)(2 + 2 * COUNT_OF(families)));
    load(f, ARGUMENT(0));
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        unless_equal_skip(f, (uint32_t)families[i], 1);
        add_rule(f, (struct sock_filter)RETURN_ALLOW);
    }
    add_rule(f, (struct sock_filter)RETURN_EPERM);
}

static void build_filter(struct filter *f)
{
    load(f, offsetof(struct seccomp_data, arch));
    unless_equal_skip(f, ARCHITECTURE, 1);
    add_rule(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0));
    add_rule(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    load(f, offsetof(struct seccomp_data, nr));
#ifdef __x86_64__
    /* The x32 interface has the same calls under other numbers. */
    add_rule(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));
    add_rule(f, (struct sock_filter)RETURN_EPERM);
    allow_reading(f, SYS_open, 1);
    load(f, offsetof(struct seccomp_data, nr));
#endif
    allow_reading(f, SYS_openat, 2);
    load(f, offsetof(struct seccomp_data, nr));
    allow_families(f);
    load(f, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT_OF(denied); i++) {
        unless_equal_skip(f, (uint32_t)denied[i], 1);
        add_rule(f, (struct sock_filter)RETURN_EPERM);
    }
    add_rule(f, (struct sock_filter)RETURN_ALLOW);
}

int confine_process(struct err *e)
{
    struct filter f = {.count = 0};
    build_filter(&f);
    const struct sock_fprog program = {.len = f.count, .filter = f.rules};
    /* Another process of the same user may not look into this one. A sanitizer has threads of its own,
     * which trace this process and write reports: there is no filter then. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        (!MAYFLY_SANITIZED && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)) {
        return err_errno(e, ERR_PERMANENT, errno,
                         "the VM's gateway cannot give up its rights (the kernel needs seccomp)");
    }
    return 0;
}
