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

static bool write_word(const char *dir, const char *file, const char *word)
{
    char path[PATH_BYTES + 64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = write(fd, word, strlen(word));
    close(fd);
    return n == (ssize_t)strlen(word);
}

static bool has_word(const char *dir, const char *file, const char *word)
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
            found = slice_eq_cstr(head, word);
        }
    }
    buf_fini(&text);
    return found;
}

/* systemd marks what it hands over (Delegate=yes) with one of these attributes; dividing anything
 * else would be meddling with somebody else's tree. */
static bool delegated(const char *dir)
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

static bool can_divide(const char *dir)
{
    if (!delegated(dir)) {
        return false;
    }
    static const char *const wanted[] = {"+memory", "+pids", "+cpu"};
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        if (!has_word(dir, "cgroup.subtree_control", wanted[i] + 1)) {
            (void)write_word(dir, "cgroup.subtree_control", wanted[i]);
        }
    }
    return has_word(dir, "cgroup.subtree_control", "memory");
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

static void set_bounds(const char *dir, const struct qemu_launch *launch)
{
    char word[64];
    (void)snprintf(word, sizeof word, "%" PRId64, launch->memory_limit_bytes);
    (void)write_word(dir, "memory.max", word);
    (void)write_word(dir, "memory.swap.max", "0");
    (void)write_word(dir, "memory.oom.group", "1");
    (void)snprintf(word, sizeof word, "%d", MAX_PROCESSES);
    (void)write_word(dir, "pids.max", word);
    /* A quota per period, both in microseconds; half a CPU is for QEMU's own work. */
    (void)snprintf(word, sizeof word, "%" PRId64 " 100000", launch->cpus * 100000 + 50000);
    (void)write_word(dir, "cpu.max", word);
}

static int make_below(const char *parent, const struct qemu_launch *launch, char *out, size_t size)
{
    char procs[PATH_BYTES + 256];
    int n = snprintf(out, size, "%s/%s", parent, launch->cgroup);
    if (n < 0 || (size_t)n >= size || (mkdir(out, 0755) != 0 && errno != EEXIST)) {
        out[0] = '\0';
        return -1;
    }
    set_bounds(out, launch);
    (void)snprintf(procs, sizeof procs, "%s/cgroup.procs", out);
    int fd = open(procs, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)rmdir(out);
        out[0] = '\0';
    }
    return fd;
}

/* Our own group holds processes (ourselves), and such a group cannot be divided (cgroups(7), "no
 * internal processes"); with systemd's DelegateSubgroup= the one above it can. */
int supervisor_cgroup_make(const char *mount, const char *own, const struct qemu_launch *launch,
                           char *out, size_t size)
{
    char dir[PATH_BYTES];
    out[0] = '\0';
    int n = snprintf(dir, sizeof dir, "%s%s", mount, own);
    if (launch->cgroup[0] == '\0' || n < 0 || (size_t)n >= sizeof dir) {
        return -1;
    }
    if (can_divide(dir)) {
        return make_below(dir, launch, out, size);
    }
    char *slash = strrchr(dir, '/');
    if (slash == NULL || (size_t)(slash - dir) <= strlen(mount)) {
        return -1;
    }
    *slash = '\0';
    return can_divide(dir) ? make_below(dir, launch, out, size) : -1;
}
