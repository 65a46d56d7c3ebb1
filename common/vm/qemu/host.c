#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/fs.h"
#include "common/vm/launcher.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/exec.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/state.h"

#define PROBE_MS 15000
#define PROBE_OUTPUT ((size_t)1 << 20)
#define KVM_TRY_MS 20000
#define MIB ((int64_t)1 << 20)
/* Memory of a VM besides the guest's: QEMU's own (60 to 90 seen), its supervisor, its gateway. */
#define OVERHEAD_MIB 128

int qemu_lock(const char *path, int *out_fd, struct err *e)
{
    int fd = fs_create(path, O_RDWR, 0644);
    if (fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot open the lock %s", path);
    }
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            int errnum = errno;
            close(fd);
            return err_errno(e, ERR_RETRY, errnum, "cannot lock %s", path);
        }
    }
    *out_fd = fd;
    return 0;
}

static int output_of(const char *program, const char *option, struct buf *out, struct err *e)
{
    const char *argv[] = {program, option, NULL};
    if (exec_capture(argv, PROBE_MS, out, e) != 0) {
        e->class = ERR_PERMANENT;
        return -1;
    }
    return 0;
}

int qemu_host_probe(struct vm_qemu *q, const char *binary, struct err *e)
{
    char name[64];
    struct buf text;
    struct slice line;
    struct slice rest;
    int rc = -1;

    (void)snprintf(name, sizeof name, "qemu-system-%s", q->image.arch);
    buf_init(&text, PROBE_OUTPUT);
    if (exec_find(*binary == '\0' ? name : binary,
                  strcmp(q->image.arch, "x86_64") == 0 ? "qemu-system-x86" : "qemu-system-arm",
                  q->binary, sizeof q->binary, e) != 0 ||
        exec_find("qemu-img", "qemu-utils", q->qemu_img, sizeof q->qemu_img, e) != 0 ||
        exec_find_supervisor(q->supervisor, sizeof q->supervisor, e) != 0 ||
        exec_find_gateway(q->supervisor, q->gateway, sizeof q->gateway, e) != 0 ||
        output_of(q->binary, "--version", &text, e) != 0) {
        goto out;
    }
    (void)slice_cut(buf_slice(&text), '\n', &line, &rest);
    if (!slice_to_cstr(slice_trim(line), q->qemu_version, sizeof q->qemu_version)) {
        (void)err_set(e, ERR_PERMANENT, 0, "%s --version says nothing we understand", q->binary);
        goto out;
    }
    buf_reset(&text);
    if (output_of(q->binary, "--help", &text, e) != 0) {
        goto out;
    }
    q->sandbox = text.len > 0 && strstr(text.data, "-sandbox on") != NULL;
    rc = 0;
out:
    buf_fini(&text);
    return rc;
}

/* --- capacity --- */

/* What qcow2 needs to describe a disk, and the records of a VM. */
#define DISK_SLACK(disk_bytes) ((disk_bytes) / 1024 + 2 * MIB)

struct qemu_amount qemu_host_most(const struct vm_qemu *q, const char *accel)
{
    int64_t emulator_mib = OVERHEAD_MIB + (strcmp(accel, "tcg") == 0 ? QEMU_TCG_MIB : 0);
    return (struct qemu_amount){.memory = (q->memory_mib + emulator_mib) * MIB,
                                .disk = q->disk_bytes + DISK_SLACK(q->disk_bytes) +
                                        q->console_limit_bytes};
}

int qemu_host_room(const struct vm_qemu *q, const struct qemu_amount *most, struct err *e)
{
    struct qemu_host_use use;
    return qemu_host_use(q->state_dir, &use, e) != 0 ? -1
                                                     : qemu_admit(&q->admission, &use, most, e);
}

static void open_gauges(struct qemu_gauges *g, const char *class_name, const char *resource)
{
    struct buf labels;
    buf_init(&labels, 512);
    metrics_label(&labels, "class", class_name);
    metrics_label(&labels, "resource", resource);
    ASSERT(!labels.failed);
    g->limit = metrics_gauge("mayfly_vm_capacity_limit_bytes", labels.data);
    g->reserved = metrics_gauge("mayfly_vm_capacity_reserved_bytes", labels.data);
    g->used = metrics_gauge("mayfly_vm_capacity_used_bytes", labels.data);
    buf_fini(&labels);
}

void qemu_host_gauges(struct vm_qemu *q, const char *class_name)
{
    open_gauges(&q->memory_gauges, class_name, "memory");
    open_gauges(&q->disk_gauges, class_name, "disk");
    struct buf labels;
    buf_init(&labels, 512);
    metrics_label(&labels, "class", class_name);
    q->processes = metrics_gauge("mayfly_vm_processes", labels.data);
    buf_fini(&labels);
}

void qemu_host_measure(const struct vm_qemu *q)
{
    struct qemu_host_use use;
    struct err ignored;
    if (qemu_host_use(q->state_dir, &use, &ignored) != 0) {
        return; /* a launch fails with the reason */
    }
    const struct qemu_amount limit = qemu_admission_limit(&q->admission, &use);
    metric_set(q->processes, use.processes);
    metric_set(q->memory_gauges.limit, limit.memory);
    metric_set(q->memory_gauges.reserved, use.most.memory);
    metric_set(q->memory_gauges.used, use.now.memory);
    metric_set(q->disk_gauges.limit, limit.disk);
    metric_set(q->disk_gauges.reserved, use.most.disk);
    metric_set(q->disk_gauges.used, use.now.disk);
}

/* --- KVM ------------------------------------------------------------------------------------ */

bool qemu_kvm_plausible(const char *arch, struct slice cpuinfo, const char *device)
{
    struct utsname host;
    struct slice line;
    struct slice word;
    if (uname(&host) != 0 || strcmp(host.machine, arch) != 0 || access(device, R_OK | W_OK) != 0) {
        return false;
    }
    if (strcmp(arch, "x86_64") != 0) {
        return true;
    }
    /* Without these a KVM emulates the guest's kernel instruction by instruction, far slower than
     * TCG does (seen with kvm_pvm in nested clouds). */
    while (cpuinfo.len > 0) {
        (void)slice_cut(cpuinfo, '\n', &line, &cpuinfo);
        if (!slice_starts_with(line, SLICE("flags"))) {
            continue;
        }
        while (line.len > 0) {
            (void)slice_cut(line, ' ', &word, &line);
            if (slice_eq_cstr(word, "vmx") || slice_eq_cstr(word, "svm")) {
                return true;
            }
        }
    }
    return false;
}

/* VMs with users of their own are in the device's group, unless that is root's
 * (worker/supervisor/identity.c). */
static bool is_for_vm_users(const char *device)
{
    struct stat st;
    return !vm_launcher_present() ||
           (stat(device, &st) == 0 &&
            ((st.st_mode & S_IWOTH) != 0 || ((st.st_mode & S_IWGRP) != 0 && st.st_gid != 0)));
}

static bool plausible_here(const struct vm_qemu *q)
{
    struct buf text;
    struct err e;
    buf_init(&text, (size_t)8 << 20);
    if (fs_read("/proc/cpuinfo", &text, &e) != 0) {
        buf_reset(&text);
    }
    bool yes = is_for_vm_users("/dev/kvm") &&
               qemu_kvm_plausible(q->image.arch, buf_slice(&text), "/dev/kvm");
    buf_fini(&text);
    return yes;
}

/* A verdict on KVM is valid for one kernel and one QEMU. */
static void verdict_key(const struct vm_qemu *q, char *out, size_t size)
{
    struct utsname host;
    bool known = uname(&host) == 0;
    (void)snprintf(out, size, "%s | %s", known ? host.release : "?", q->qemu_version);
}

static bool read_verdict(const char *path, const char *key, const char **out)
{
    struct buf text;
    struct err e;
    bool known = false;
    buf_init(&text, 4096);
    if (fs_read(path, &text, &e) == 0) {
        json_t *tree = json_loadb(text.data, text.len, 0, NULL);
        const char *of = json_string_value(json_object_get(tree, "of"));
        const char *accel = json_string_value(json_object_get(tree, "accel"));
        if (of != NULL && accel != NULL && strcmp(of, key) == 0) {
            *out = strcmp(accel, "kvm") == 0 ? "kvm" : "tcg";
            known = true;
        }
        json_decref(tree);
    }
    buf_fini(&text);
    return known;
}

static void write_verdict(const char *path, const char *key, const char *accel)
{
    struct err e;
    json_t *tree = json_pack("{s:s,s:s}", "of", key, "accel", accel);
    char *text = tree == NULL ? NULL : json_dumps(tree, 0);
    json_decref(tree);
    /* Not stored: then KVM is tried again next time. */
    (void)!(text == NULL || fs_write_atomic(path, slice_of(text), 0644, &e));
    free(text);
}

int qemu_host_accel(const struct vm_qemu *q, const char **out, struct err *e)
{
    char path[PATH_MAX];
    char lock_path[PATH_MAX];
    char key[320];
    struct err why;
    int lock;

    if (strcmp(q->accel, "auto") != 0) {
        *out = strcmp(q->accel, "kvm") == 0 ? "kvm" : "tcg";
        return 0;
    }
    if (!plausible_here(q)) {
        *out = "tcg";
        return 0;
    }
    (void)qemu_path(path, q->state_dir, "accel.json");
    verdict_key(q, key, sizeof key);
    if (read_verdict(path, key, out)) {
        return 0;
    }
    if (qemu_lock(qemu_path(lock_path, q->state_dir, "accel.lock"), &lock, e) != 0) {
        return -1;
    }
    if (!read_verdict(path, key, out)) {
        int64_t bound = q->boot_timeout_ms < KVM_TRY_MS ? q->boot_timeout_ms : KVM_TRY_MS;
        *out = qemu_saved_try_boot(q, "kvm", bound, &why) == 0 ? "kvm" : "tcg";
        write_verdict(path, key, *out);
    }
    close(lock);
    return 0;
}
