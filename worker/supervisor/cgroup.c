#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fs.h"

#define PATH_BYTES 480
#define MAX_PROCESSES 512

static bool write_value(const char *dir, const char *file, const char *value)
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = write(fd, value, strlen(value));
    close(fd);
    return n == (ssize_t)strlen(value);
}

static bool has_value(const char *dir, const char *file, const char *value)
{
    char path[PATH_BYTES + 64];
    struct buf text;
    struct err e;
    struct slice head;
    bool found = false;
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    buf_init(&text, 65536);
    if (fs_read(path, &text, &e) == 0) {
        struct slice rest = slice_trim(buf_slice(&text));
        while (!found && rest.len > 0) {
            (void)slice_cut(rest, ' ', &head, &rest);
            found = slice_eq_cstr(head, value);
        }
    }
    buf_fini(&text);
    return found;
}

/* systemd sets one of these attributes on the groups that it delegates (Delegate=yes). Other groups
 * belong to somebody else. */
static bool is_delegated(const char *dir)
{
    static const char *const names[] = {"user.delegate", "trusted.delegate"};
    char value[4];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (getxattr(dir, names[i], value, sizeof value) == 1 && value[0] == '1') {
            return true;
        }
    }
    return false;
}

static bool enable_controllers(const char *dir)
{
    if (!is_delegated(dir)) {
        return false;
    }
    static const char *const wanted[] = {"+memory", "+pids", "+cpu"};
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        if (!has_value(dir, "cgroup.subtree_control", wanted[i] + 1)) {
            (void)write_value(dir, "cgroup.subtree_control", wanted[i]);
        }
    }
    return has_value(dir, "cgroup.subtree_control", "memory");
}

bool supervisor_cgroup_find(char *mount, char *own, size_t size)
{
    struct buf text;
    struct err e;
    struct slice line;
    struct slice rest;
    bool found = false;

    buf_init(&text, (size_t)1 << 20);
    /* proc(5): field 5 is the mount point; after " - " comes the file system's type. */
    if (fs_read("/proc/self/mountinfo", &text, &e) == 0) {
        rest = buf_slice(&text);
        while (!found && rest.len > 0) {
            (void)slice_cut(rest, '\n', &line, &rest);
            if (memmem(line.ptr, line.len, " - cgroup2 ", 11) == NULL) {
                continue;
            }
            struct slice field = {"", 0};
            for (int i = 0; i < 5; i++) {
                (void)slice_cut(line, ' ', &field, &line);
            }
            found = slice_to_cstr(field, mount, size);
        }
    }
    buf_reset(&text);
    bool placed = false;
    if (found && fs_read("/proc/self/cgroup", &text, &e) == 0) {
        rest = buf_slice(&text);
        while (!placed && rest.len > 0) {
            (void)slice_cut(rest, '\n', &line, &rest);
            if (slice_starts_with(line, SLICE("0::/"))) {
                placed = slice_to_cstr((struct slice){line.ptr + 3, line.len - 3}, own, size);
            }
        }
    }
    buf_fini(&text);
    return placed;
}

/* One that grows beyond its memory loses QEMU and the gateway together, and keeps this process, which
 * says so. */
static void set_cgroup_limits(const char *dir, const struct qemu_launch *launch)
{
    char value[64];
    (void)snprintf(value, sizeof value, "%" PRId64, launch->memory_limit_bytes);
    (void)write_value(dir, "memory.max", value);
    (void)write_value(dir, "memory.swap.max", "0");
    (void)snprintf(value, sizeof value, "%d", MAX_PROCESSES);
    (void)write_value(dir, "pids.max", value);
    /* A quota per period, both in microseconds; half a CPU is for QEMU's own work. */
    (void)snprintf(value, sizeof value, "%" PRId64 " 100000", launch->cpus * 100000 + 50000);
    (void)write_value(dir, "cpu.max", value);
    (void)write_value(dir, "cgroup.subtree_control", "+memory");
}

/* `dir`/`name`, whose cgroup.procs is opened for writing; -1. */
static int make_part(const char *dir, const char *name)
{
    char path[PATH_BYTES + 320];
    char procs[sizeof path + 16];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
    return mkdir(path, 0755) == 0 || errno == EEXIST ? open(procs, O_WRONLY | O_CLOEXEC) : -1;
}

/* The group of the VM has no processes itself (cgroups(7), "no internal processes"): this process is
 * in `supervisor`, the others are in `vm`. */
static int make_vm_group(const char *parent, const struct qemu_launch *launch,
                         struct supervisor_cgroup *out)
{
    int n = snprintf(out->dir, sizeof out->dir, "%s/%s", parent, launch->cgroup);
    if (n < 0 || (size_t)n >= sizeof out->dir || (mkdir(out->dir, 0755) != 0 && errno != EEXIST)) {
        out->dir[0] = '\0';
        return -1;
    }
    set_cgroup_limits(out->dir, launch);
    int own_fd = make_part(out->dir, "supervisor");
    int vm_fd = make_part(out->dir, "vm");
    bool entered = own_fd >= 0 && vm_fd >= 0 && write(own_fd, "0", 1) == 1;
    if (own_fd >= 0) {
        close(own_fd);
    }
    if (!entered) {
        if (vm_fd >= 0) {
            close(vm_fd);
        }
        supervisor_cgroup_leave(out);
        return -1;
    }
    char vm[sizeof out->dir + 4];
    (void)snprintf(vm, sizeof vm, "%s/vm", out->dir);
    (void)write_value(vm, "memory.oom.group", "1");
    return vm_fd;
}

/* This process's own group holds processes (itself and the worker), and such a group cannot have
 * children with controllers; with systemd's DelegateSubgroup= its parent can. */
int supervisor_cgroup_enter(const char *mount, const char *own, const struct qemu_launch *launch,
                            struct supervisor_cgroup *out)
{
    char dir[PATH_BYTES];
    *out = (struct supervisor_cgroup){.dir = ""};
    int n = snprintf(dir, sizeof dir, "%s%s", mount, own);
    if (launch->cgroup[0] == '\0' || n < 0 || (size_t)n >= sizeof dir) {
        return -1;
    }
    (void)snprintf(out->home, sizeof out->home, "%s", dir);
    if (enable_controllers(dir)) {
        return make_vm_group(dir, launch, out);
    }
    char *slash = strrchr(dir, '/');
    if (slash == NULL || (size_t)(slash - dir) <= strlen(mount)) {
        return -1;
    }
    *slash = '\0';
    return enable_controllers(dir) ? make_vm_group(dir, launch, out) : -1;
}

/* Where the worker's group is gone this process stays, and the group goes with the VM's directory. */
void supervisor_cgroup_leave(struct supervisor_cgroup *c)
{
    if (c->dir[0] != '\0') {
        (void)write_value(c->home, "cgroup.procs", "0");
        qemu_cgroup_remove(c->dir);
        c->dir[0] = '\0';
    }
}

/* The number behind the key in one of the group's files of events; 0 if there is none. */
static int64_t count_of_events(const struct supervisor_cgroup *c, const char *file,
                               struct slice key)
{
    char path[sizeof c->dir + 32];
    struct buf text;
    struct err e;
    struct slice line;
    int64_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", c->dir, file);
    buf_init(&text, 4096);
    if (c->dir[0] != '\0' && fs_read(path, &text, &e) == 0) {
        struct slice rest = buf_slice(&text);
        while (rest.len > 0) {
            (void)slice_cut(rest, '\n', &line, &rest);
            if (slice_starts_with(line, key)) {
                (void)!slice_to_int64((struct slice){line.ptr + key.len, line.len - key.len},
                                      &count);
            }
        }
    }
    buf_fini(&text);
    return count;
}

bool supervisor_cgroup_was_full(const struct supervisor_cgroup *c)
{
    return count_of_events(c, "memory.events", SLICE("oom_kill ")) > 0;
}

int64_t supervisor_cgroup_refused_processes(const struct supervisor_cgroup *c)
{
    return count_of_events(c, "pids.events", SLICE("max "));
}
