#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/id_range.h"
#include "common/base/random.h"
#include "worker/supervisor/supervisor.h"

/* Threads and processes that the user of one VM may have. */
#define PROCESSES_MAX 1024
#define GROUPS_MAX 1024

/* --- the groups ------------------------------------------------------------------------------ */

/* QEMU cannot leave a group that this process is in. It needs KVM's, unless that is root's. */
static bool keep_group_of_kvm(void)
{
    struct stat st;
    bool needed = stat("/dev/kvm", &st) == 0 && (st.st_mode & S_IRWXO) == 0 &&
                  (st.st_mode & S_IRGRP) != 0 && (st.st_mode & S_IWGRP) != 0 && st.st_gid != 0;
    return setgroups(needed ? 1 : 0, &st.st_gid) == 0;
}

/* The way to the directory may be open to its group alone, which the worker is in. */
static gid_t choose_group(const char *dir)
{
    gid_t groups[GROUPS_MAX];
    struct stat st;
    int count = getgroups(GROUPS_MAX, groups);
    if (stat(dir, &st) == 0) {
        for (int i = 0; i < count; i++) {
            if (groups[i] == st.st_gid) {
                return st.st_gid;
            }
        }
    }
    return getegid();
}

/* --- the user -------------------------------------------------------------------------------- */

static void set_process_limit(rlim_t soft)
{
    struct rlimit now;
    if (getrlimit(RLIMIT_NPROC, &now) == 0) {
        now.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
        (void)setrlimit(RLIMIT_NPROC, &now);
    }
}

/* A thread counts as a process; this one has more than one only with a sanitizer in it. */
static rlim_t own_threads(void)
{
    rlim_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *one; tasks != NULL && (one = readdir(tasks)) != NULL;) {
        count += one->d_name[0] != '.';
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return count > 0 ? count : 1;
}

/* The kernel counts the processes of a real user id, whichever program, container or host name they
 * are of. With a limit of one more than this process is, a fork succeeds if there is no other one: of
 * two processes that try the same id at once at most one sees that. */
static bool is_alone(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return pid > 0;
}

/* By its real id this process may start and end
 * processes of that user, and needs no right to do so. */
static int take_free_id(const struct id_range *range, gid_t group, struct err *e)
{
    uid_t user = geteuid();
    uint32_t count = range->last - range->first + 1;
    uint32_t start;
    random_bytes(&start, sizeof start);
    set_process_limit(own_threads() + 1);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = range->first + (start % count + i) % count;
        if (setresgid(id, group, group) != 0 || setresuid(id, user, user) != 0) {
            return err_errno(e, ERR_PERMANENT, errno, "cannot take user %u for the VM", id);
        }
        if (is_alone()) {
            set_process_limit(PROCESSES_MAX);
            return 0;
        }
    }
    return err_set(e, ERR_RETRY, EAGAIN,
                   "all user ids of worker.vm_uids (%u-%u) have processes, or this host has too "
                   "many: widen the range",
                   range->first, range->last);
}

static bool give_up_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
           syscall(SYS_capset, &head, none) == 0;
}

int supervisor_identity_take(const char *ids, const char *dir, struct err *e)
{
    struct id_range range;
    if (!id_range_parse(slice_of(ids), &range)) {
        return err_set(e, ERR_PERMANENT, 0, "\"%.40s\" is no range of user ids", ids);
    }
    gid_t group = choose_group(dir);
    if (!keep_group_of_kvm()) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot leave the worker's groups");
    }
    if (take_free_id(&range, group, e) != 0) {
        return -1;
    }
    return give_up_capabilities() && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
               ? 0
               : err_errno(e, ERR_PERMANENT, errno, "cannot give up the launcher's capabilities");
}

/* An init that does not wait for this process would keep the id in use. */
void supervisor_identity_release(void)
{
    (void)!setresuid(geteuid(), geteuid(), geteuid());
}
