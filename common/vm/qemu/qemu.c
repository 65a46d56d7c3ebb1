#include "common/vm/qemu/qemu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/payload/payload.h"
#include "common/vm/qemu/launch.h"
#include "common/vm/qemu/settings.h"
#include "common/vm/qemu/state.h"

#define MIB ((int64_t)1 << 20)
#define LAUNCHING_MS 5000

/* --- open and close ------------------------------------------------------------------------- */

static void vm_qemu_close(void *state)
{
    struct vm_qemu *q = state;
    if (q != NULL) {
        while (q->rooms != NULL) {
            vm_qemu_room_release(q);
        }
        (void)pthread_mutex_destroy(&q->lock);
        qemu_image_fini(&q->image);
        free(q->accel);
        qemu_network_close(q);
        qemu_seal_fini(&q->seal);
        free(q);
    }
}

static int open_directories(struct vm_qemu *q, const struct config_class *class,
                            const char *deployment, struct err *e)
{
    char name[128];
    if (fs_mkdirs(class->state_dir, 0755, e) != 0) {
        return -1;
    }
    if (realpath(class->state_dir, q->state_dir) == NULL) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot use %s", class->state_dir);
    }
    int n = snprintf(name, sizeof name, "%s.%s", deployment, class->name);
    /* Leaves space for the longest name of a VM and of its files. */
    if (n < 0 || (size_t)n >= sizeof name || strlen(q->state_dir) > PATH_MAX - 512) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "%s is too long", q->state_dir);
    }
    (void)qemu_path(q->vms_dir, q->state_dir, name);
    (void)qemu_path(q->saved_dir, q->state_dir, "saved");
    return fs_mkdirs(q->vms_dir, 0700, e);
}

static void open_settings(struct vm_qemu *q, const struct qemu_settings *s)
{
    q->accel = slice_dup(slice_of(s->accel));
    q->cpus = s->cpus;
    q->memory_mib = (s->memory_bytes + MIB - 1) / MIB;
    q->console_limit_bytes = s->max_console_size_bytes;
    q->admission = (struct qemu_admission){
        .memory_overcommit = s->memory_overcommit,
        .disk_overcommit = s->disk_overcommit,
        .kept = {.memory = s->reserved_memory_bytes, .disk = s->reserved_disk_bytes}};
    q->boot_timeout_ms = s->boot_timeout_ms;
    q->restore = s->restore;
    q->confine = s->confine;
    atomic_init(&q->boot_until_ms, INT64_MIN);
    (void)pthread_mutex_init(&q->lock, NULL);
    qemu_seal_init(&q->seal);
    q->snapshots_refused = metrics_counter("mayfly_vm_snapshots_refused_total", "");
    q->started_by_restore = metrics_counter("mayfly_vm_starts_total", "mode=\"restore\"");
    q->started_by_boot = metrics_counter("mayfly_vm_starts_total", "mode=\"boot\"");
}

static int vm_qemu_open(const struct config_class *class, const char *deployment, void **out_state,
                        struct err *e)
{
    struct vm_qemu *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    const struct qemu_settings *settings = qemu_settings_of(class);
    open_settings(q, settings);
    q->shell = class->shell;
    qemu_host_gauges(q, class->name);
    if (qemu_image_load(settings->image, &q->image, e) != 0 ||
        qemu_host_probe(q, settings->binary, e) != 0 ||
        open_directories(q, class, deployment, e) != 0 || qemu_network_open(q, class, e) != 0) {
        vm_qemu_close(q);
        return -1;
    }
    q->disk_bytes = settings->disk_size_bytes;
    if (q->disk_bytes == 0) {
        q->disk_bytes = q->image.disk_bytes;
    }
    if (q->disk_bytes < q->image.disk_bytes) {
        (void)err_set(e, ERR_PERMANENT, 0,
                      "class %s: qemu.disk_size is smaller than the image's disk of %lld MiB",
                      class->name, (long long)((q->image.disk_bytes + MIB - 1) / MIB));
        vm_qemu_close(q);
        return -1;
    }
    *out_state = q;
    return 0;
}

/* --- reading a VM's state --- */

static void set_ended(struct vm_info *info, const struct qemu_exit_record *exit)
{
    info->state = VM_RUN_ENDED;
    info->ended_ms = exit->ended_ms;
    (void)snprintf(info->reason, sizeof info->reason, "%s", exit->reason);
}

static void set_alive(struct vm_info *info, const char *dir)
{
    struct qemu_agent_status said;
    qemu_agent_status_read(dir, &said);
    bool up = said.started || qemu_marked(dir, "accepted");
    /* That it ends is not taken from its status lines: a job may have written them. */
    info->state = qemu_marked(dir, "ending") ? VM_RUN_ENDING : up ? VM_RUN_RUNNING : VM_RUN_PENDING;
}

/* Only a directory that certainly does not exist is the absence of the VM. */
static int find_vm_dir(const char *dir, const char *id, struct err *e)
{
    struct stat st;
    if (lstat(dir, &st) == 0) {
        return S_ISDIR(st.st_mode)
                   ? 0
                   : err_set(e, ERR_NOT_FOUND, ENOTDIR, "there is no VM %s here", id);
    }
    return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_RETRY, errno,
                     "the state of VM %s cannot be read", id);
}

/* The order of the reads matters: when a VM ends meanwhile, its exit record is written before its
 * supervisor is gone. */
static int read_vm_state(const struct vm_qemu *q, const char *id, struct vm_info *out,
                         struct err *e)
{
    char dir[PATH_MAX];
    struct stat st;
    struct qemu_vm_record record = {.started_ms = 0};
    struct qemu_process_record process;
    struct qemu_exit_record exit;
    struct err ignored;
    struct vm_info info = {.state = VM_RUN_PENDING};

    if (find_vm_dir(qemu_path(dir, q->vms_dir, id), id, e) != 0) {
        return -1;
    }
    bool launching = qemu_is_being_launched(dir);
    bool recorded = qemu_process_record_read(dir, &process, &ignored) == 0;
    if (!recorded && ignored.class != ERR_NOT_FOUND && ignored.code != 0) {
        return err_set(e, ERR_RETRY, ignored.code, "%s", ignored.message);
    }
    bool alive = recorded && qemu_supervisor_alive(dir, &process);
    bool ended = qemu_exit_record_read(dir, &exit, &ignored) == 0;
    (void)!qemu_vm_record_read(dir, &record, &ignored);
    (void)snprintf(info.id, sizeof info.id, "%s", id);
    (void)snprintf(info.name, sizeof info.name, "%.64s", id);
    info.started_ms = record.started_ms;
    if (launching) {
        info.state = VM_RUN_PENDING;
    } else if (ended) {
        set_ended(&info, &exit);
    } else if (alive) {
        set_alive(&info, dir);
    } else if (lstat(dir, &st) != 0) {
        return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no VM %s here", id);
    } else {
        exit = (struct qemu_exit_record){.reason = "vanished"};
        set_ended(&info, &exit);
    }
    *out = info;
    return 0;
}

static int vm_qemu_describe(void *state, const char *id, struct vm_info *out, struct err *e)
{
    return read_vm_state(state, id, out, e);
}

static int vm_qemu_list(struct vm_list_page *page, struct err *e)
{
    const struct vm_qemu *q = page->states[0];
    const struct dirent *entry;
    int rc = 0;
    DIR *dir = opendir(q->vms_dir);
    if (dir == NULL) {
        return err_errno(e, ERR_RETRY, errno, "cannot list %s", q->vms_dir);
    }
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        struct vm_info vm;
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (read_vm_state(q, entry->d_name, &vm, e) == 0) {
            vm_listing_add(page->listing, 0, &vm);
        } else if (e->class != ERR_NOT_FOUND) { /* it ended and was deleted meanwhile */
            rc = -1;
        }
    }
    if (rc == 0 && errno != 0) {
        rc = err_errno(e, ERR_RETRY, errno, "cannot list %s", q->vms_dir);
    }
    closedir(dir);
    return rc;
}

/* --- termination --- */

/* The launch sees the file `ending`, stops, and cleans up itself. */
static int wait_for_launcher(const char *dir, int64_t grace_ms, struct err *e)
{
    int64_t deadline_ms = clock_mono_ms() + grace_ms + LAUNCHING_MS;
    struct qemu_process_record process;
    struct err ignored;
    while (qemu_is_being_launched(dir) && qemu_process_record_read(dir, &process, &ignored) != 0) {
        if (clock_mono_ms() >= deadline_ms) {
            return err_set(e, ERR_RETRY, EBUSY, "the VM is being launched");
        }
        clock_sleep_until(clock_mono_ms() + 10);
    }
    return 0;
}

static void leave_exit_record(const char *dir, const char *reason)
{
    struct qemu_exit_record record = {.ended_ms = clock_wall_ms(), .status = -1};
    struct stat st;
    struct err ignored;
    if (qemu_exit_record_read(dir, &record, &ignored) != 0 && stat(dir, &st) == 0) {
        (void)snprintf(record.reason, sizeof record.reason, "%s", reason);
        (void)!qemu_exit_record_write(dir, &record, &ignored);
    }
}

static int vm_qemu_terminate(void *state, const char *id, int64_t grace_ms, struct err *e)
{
    const struct vm_qemu *q = state;
    char dir[PATH_MAX];
    char path[PATH_MAX];
    struct qemu_process_record process;
    struct err ignored;
    const char *reason = "vanished";

    /* On a full disk there is no mark, and a VM is ended none the less: that makes room. A launch
     * must see it. */
    if (qemu_mark(qemu_path(dir, q->vms_dir, id), "ending", &ignored) != 0 &&
        (ignored.class == ERR_NOT_FOUND || ignored.code != ENOSPC || qemu_is_being_launched(dir))) {
        return ignored.class == ERR_NOT_FOUND ? 0 : (*e = ignored, -1);
    }
    if (wait_for_launcher(dir, grace_ms, e) != 0) {
        return -1;
    }
    if (qemu_process_record_read(dir, &process, &ignored) == 0 &&
        qemu_supervisor_alive(dir, &process)) {
        reason = "terminated";
    }
    if (qemu_supervisor_stop(dir, grace_ms, e) != 0) {
        return -1;
    }
    leave_exit_record(dir, reason);
    return fs_remove_tree(qemu_path(path, dir, "run"), e);
}

static int vm_qemu_forget(void *state, const char *id, struct err *e)
{
    const struct vm_qemu *q = state;
    char dir[PATH_MAX];
    struct vm_info info;
    if (read_vm_state(q, id, &info, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    if (info.state != VM_RUN_ENDED) {
        return err_set(e, ERR_CONFLICT, EBUSY, "VM %s has not ended: terminate it first", id);
    }
    (void)qemu_path(dir, q->vms_dir, id);
    /* QEMU may outlive a vanished supervisor for a moment. */
    return qemu_supervisor_stop(dir, 0, e) != 0 ? -1 : fs_remove_tree(dir, e);
}

/* --- the console ---------------------------------------------------------------------------- */

static void append_tail(const char *path, size_t limit, struct buf *out)
{
    char chunk[8192];
    struct stat st;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        size_t skip = (size_t)st.st_size > limit ? (size_t)st.st_size - limit : 0;
        size_t left = (size_t)st.st_size - skip;
        (void)lseek(fd, (off_t)skip, SEEK_SET);
        while (left > 0 && (n = read(fd, chunk, left < sizeof chunk ? left : sizeof chunk)) > 0) {
            buf_append(out, (struct slice){chunk, (size_t)n});
            left -= (size_t)n;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

int vm_qemu_console(void *state, const char *id, const char *name, size_t limit, struct buf *out,
                    struct err *e)
{
    const struct vm_qemu *q = state;
    (void)name; /* the id is the name */
    char dir[PATH_MAX];
    char path[PATH_MAX];
    char old_path[PATH_MAX];
    struct stat st;
    (void)qemu_path(dir, q->vms_dir, id);
    (void)qemu_path(path, dir, "console.log");
    (void)qemu_path(old_path, dir, "console.log.1");
    if (stat(path, &st) != 0) {
        return err_set(e, ERR_NOT_FOUND, ENOENT, "there is no console of a VM %s", id);
    }
    if ((size_t)st.st_size < limit) {
        append_tail(old_path, limit - (size_t)st.st_size, out);
    }
    append_tail(path, limit, out);
    return out->failed ? err_set(e, ERR_PERMANENT, 0, "the console does not fit") : 0;
}

static const char *vm_qemu_directory(const void *state)
{
    const struct vm_qemu *q = state;
    return q->state_dir;
}

int vm_qemu_image_built(const struct config_class *class, const char *version, int64_t *built_ms,
                        struct err *e)
{
    (void)version;
    return qemu_image_built(qemu_settings_of(class)->image, built_ms, e);
}

int vm_qemu_size(const struct config_class *class, const char *version, struct vm_size *out,
                 struct err *e)
{
    const struct qemu_settings *s = qemu_settings_of(class);
    (void)version;
    (void)e;
    out->milli_vcpus = 1000 * s->cpus;
    out->memory_mib = (s->memory_bytes + MIB - 1) / MIB;
    return 0;
}

int vm_qemu_image_runner(const struct config_class *class, char out[VM_RUNNER_VERSION],
                         struct err *e)
{
    struct qemu_image image = {0};
    if (qemu_image_load(qemu_settings_of(class)->image, &image, e) != 0) {
        return -1;
    }
    struct slice version = slice_of(image.runner_version);
    int rc = version.len > 0 && slice_to_cstr(version, out, VM_RUNNER_VERSION)
                 ? 0
                 : err_set(e, ERR_NOT_FOUND, 0, "the image's runner_version is not known");
    qemu_image_fini(&image);
    return rc;
}

const struct vm_ops vm_ops_qemu = {
    .name = "qemu",
    .host_bound = true,
    .named = true,
    .payload_max = PAYLOAD_PACKED_MAX,
    .open = vm_qemu_open,
    .close = vm_qemu_close,
    .room = vm_qemu_room,
    .room_release = vm_qemu_room_release,
    .run = vm_qemu_run,
    .terminate = vm_qemu_terminate,
    .describe = vm_qemu_describe,
    .forget = vm_qemu_forget,
    .list = vm_qemu_list,
    .console = vm_qemu_console,
    .check = vm_qemu_check,
    .image_built = vm_qemu_image_built,
    .shell = vm_qemu_shell,
    .image_runner = vm_qemu_image_runner,
    .size = vm_qemu_size,
    .refuses = vm_qemu_refuses,
    .notices = vm_qemu_notices,
    .directory = vm_qemu_directory,
};
