#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/base/syscall_filter.h"
#include "worker/gateway/gateway.h"

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

static void build_filter(struct syscall_filter *f)
{
    static const uint32_t families[] = {AF_INET, AF_INET6, AF_NETLINK};
    const uint32_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    syscall_filter_begin(f);
#ifdef __x86_64__
    syscall_filter_allow_without_bits(f, SYS_open, 1, writing);
#endif
    syscall_filter_allow_without_bits(f, SYS_openat, 2, writing);
    syscall_filter_allow_values(f, SYS_socket, 0, families, COUNT_OF(families));
    syscall_filter_deny_all(f, denied, COUNT_OF(denied));
}

int confine_process(struct err *e)
{
    struct syscall_filter f;
    build_filter(&f);
    /* Another process of the same user may not look into this one. A sanitizer has threads of its own,
     * which trace this process and write reports: there is no filter then. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        (!MAYFLY_SANITIZED && syscall_filter_install(&f) != 0)) {
        return err_errno(e, ERR_PERMANENT, errno,
                         "the VM's gateway cannot give up its rights (the kernel needs seccomp)");
    }
    return 0;
}
