#include "common/vm/qemu/admission.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fs.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/state.h"

#define MIB ((int64_t)1 << 20)
#define BLOCK_BYTES 512 /* of st_blocks */

/* --- the decision --------------------------------------------------------------------------- */

static int64_t limit_of(double overcommit, int64_t unused, int64_t now, int64_t kept)
{
    int64_t capacity = unused + now - kept;
    return capacity <= 0 ? 0 : (int64_t)(overcommit * (double)capacity);
}

struct qemu_amount qemu_admission_limit(const struct qemu_admission *a,
                                        const struct qemu_host_use *use)
{
    return (struct qemu_amount){
        .memory = limit_of(a->memory_overcommit, use->free.memory, use->now.memory, a->kept.memory),
        .disk = limit_of(a->disk_overcommit, use->free.disk, use->now.disk, a->kept.disk)};
}

/* One of the two resources, for a decision and its words. */
struct resource {
    const char *name;
    const char *fix;
    int code;
    int64_t vm;
    int64_t most;
    int64_t unused;
    int64_t total;
    int64_t kept;
    int64_t limit;
};

static int admit_one(const struct resource *r, int64_t vms, struct err *e)
{
    if (r->vm > r->total - r->kept) {
        return err_set(e, ERR_PERMANENT, r->code,
                       "a VM may use %lld MiB of %s, more than this host has for VMs (%lld MiB, "
                       "%lld of them kept for the host): %s",
                       (long long)(r->vm / MIB), r->name, (long long)(r->total / MIB),
                       (long long)(r->kept / MIB), r->fix);
    }
    if (r->most + r->vm <= r->limit && r->unused >= r->kept) {
        return 0;
    }
    return err_set(e, ERR_CAPACITY, r->code,
                   "host full: a VM may use %lld MiB of %s, the %lld VMs here %lld MiB, of %lld "
                   "MiB for VMs (%lld MiB free): it waits until a VM ends; else %s",
                   (long long)(r->vm / MIB), r->name, (long long)vms, (long long)(r->most / MIB),
                   (long long)(r->limit / MIB), (long long)(r->unused / MIB), r->fix);
}

int qemu_admit(const struct qemu_admission *a, const struct qemu_host_use *use,
               const struct qemu_amount *vm, struct err *e)
{
    const struct qemu_amount limit = qemu_admission_limit(a, use);
    const struct resource memory = {.name = "memory",
                                    .fix = "lower qemu.memory or add memory",
                                    .code = ENOMEM,
                                    .vm = vm->memory,
                                    .most = use->most.memory,
                                    .unused = use->free.memory,
                                    .total = use->total.memory,
                                    .kept = a->kept.memory,
                                    .limit = limit.memory};
    const struct resource disk = {.name = "disk",
                                  .fix = "lower qemu.disk_size or make room in state_dir",
                                  .code = ENOSPC,
                                  .vm = vm->disk,
                                  .most = use->most.disk,
                                  .unused = use->free.disk,
                                  .total = use->total.disk,
                                  .kept = a->kept.disk,
                                  .limit = limit.disk};
    return admit_one(&memory, use->vms, e) != 0 ? -1 : admit_one(&disk, use->vms, e);
}

/* --- what VMs use now ----------------------------------------------------------------------- */

static int64_t occupied_bytes(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return lstat(qemu_path(path, dir, name), &st) == 0 ? (int64_t)st.st_blocks * BLOCK_BYTES : 0;
}

/* Memory that only this process has (proc(5), statm: resident pages, and those of files). Where /proc
 * hides other users' processes it is 0, so that the VM counts in full. */
static int64_t private_memory_bytes(pid_t pid)
{
    char path[64];
    struct buf text;
    struct err e;
    struct slice word;
    struct slice rest;
    int64_t resident = 0;
    int64_t of_files = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    buf_init(&text, 4096);
    if (fs_read(path, &text, &e) == 0) {
        (void)slice_cut(buf_slice(&text), ' ', &word, &rest);
        (void)slice_cut(rest, ' ', &word, &rest);
        (void)!slice_to_int64(word, &resident);
        (void)slice_cut(rest, ' ', &word, &rest);
        (void)!slice_to_int64(word, &of_files);
    }
    buf_fini(&text);
    return resident > of_files ? (resident - of_files) * sysconf(_SC_PAGESIZE) : 0;
}

static int64_t threads_of(pid_t pid)
{
    char path[64];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    /* As many links as it has directories, and two (proc(5)). */
    return pid > 0 && stat(path, &st) == 0 && st.st_nlink > 2 ? (int64_t)st.st_nlink - 2 : 0;
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void add_vm(const char *dir, struct qemu_host_use *out)
{
    struct qemu_vm_record record;
    struct qemu_process_record process;
    struct err ignored;
    bool starts = qemu_is_being_launched(dir);
    bool runs = qemu_process_record_read(dir, &process, &ignored) == 0 &&
                proc_id_alive(&process.supervisor);
    if ((!starts && !runs) || qemu_vm_record_read(dir, &record, &ignored) != 0) {
        return; /* the remainder of a launch that died grows no more */
    }
    int64_t disk = occupied_bytes(dir, "run/" QEMU_OVERLAY) + occupied_bytes(dir, "console.log") +
                   occupied_bytes(dir, "console.log.1");
    int64_t memory = runs && process.qemu.pid > 0 ? private_memory_bytes(process.qemu.pid) : 0;
    out->vms++;
    out->processes += runs ? threads_of(process.qemu.pid) + threads_of(process.supervisor.pid) : 0;
    out->most.memory += record.most.memory;
    out->most.disk += record.most.disk;
    out->now.memory += at_most(memory, record.most.memory);
    out->now.disk += at_most(disk, record.most.disk);
}

/* --- what the host has ---------------------------------------------------------------------- */

static int64_t meminfo_bytes(struct slice text, const char *key)
{
    struct slice line;
    int64_t kib = 0;
    while (text.len > 0) {
        (void)slice_cut(text, '\n', &line, &text);
        if (slice_starts_with(line, slice_of(key))) {
            struct slice number =
                slice_trim((struct slice){line.ptr + strlen(key), line.len - strlen(key)});
            (void)slice_cut(number, ' ', &number, &line);
            (void)!slice_to_int64(number, &kib);
            break;
        }
    }
    return kib * 1024;
}

static int read_memory(struct qemu_host_use *out, struct err *e)
{
    struct buf text;
    buf_init(&text, 65536);
    int rc = fs_read("/proc/meminfo", &text, e);
    if (rc == 0) {
        out->free.memory = meminfo_bytes(buf_slice(&text), "MemAvailable:");
        out->total.memory = meminfo_bytes(buf_slice(&text), "MemTotal:");
    }
    buf_fini(&text);
    return rc;
}

static int read_disk(const char *state_dir, struct qemu_host_use *out, struct err *e)
{
    struct statvfs fs;
    if (statvfs(state_dir, &fs) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot look at the disk of %s", state_dir);
    }
    out->free.disk = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    out->total.disk = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
    return 0;
}

typedef void each_fn(const char *path, struct qemu_host_use *out);

/* Calls back for each entry. */
static int for_each_entry(const char *dir, each_fn *each, struct qemu_host_use *out, struct err *e)
{
    const struct dirent *entry;
    DIR *d = opendir(dir);
    if (d == NULL) {
        return err_errno(e, ERR_RETRY, errno, "cannot list %s", dir);
    }
    while ((errno = 0, entry = readdir(d)) != NULL) {
        char path[PATH_MAX];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(qemu_path(path, dir, entry->d_name), out);
        }
    }
    int errnum = errno;
    closedir(d);
    return errnum == 0 ? 0 : err_errno(e, ERR_RETRY, errnum, "cannot list %s", dir);
}

static void look_at_vm(const char *dir, struct qemu_host_use *out)
{
    char path[PATH_MAX];
    struct stat st;
    /* Room for a launch, or one that is claimed, has no `run` yet. */
    if (lstat(qemu_path(path, dir, "run"), &st) == 0 || qemu_is_being_launched(dir)) {
        add_vm(dir, out);
    }
}

static void look_at_class(const char *dir, struct qemu_host_use *out)
{
    struct err e;
    const char *name = strrchr(dir, '/') + 1;
    if (name[0] == '.' || strchr(name, '.') == NULL) {
        return; /* snapshots, and files of the provider */
    }
    (void)!for_each_entry(dir, look_at_vm, out, &e);
}

int qemu_host_use(const char *state_dir, struct qemu_host_use *out, struct err *e)
{
    *out = (struct qemu_host_use){.vms = 0};
    /* VMs first: what one takes in between is then missing in what is free, and not seen twice. */
    return for_each_entry(state_dir, look_at_class, out, e) != 0 || read_memory(out, e) != 0 ||
                   read_disk(state_dir, out, e) != 0
               ? -1
               : 0;
}
