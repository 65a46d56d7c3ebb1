#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/vm/qemu/launch.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/qmp.h"
#include "common/vm/qemu/room.h"
#include "common/vm/qemu/state.h"

#define MIB ((int64_t)1 << 20)
#define FRAME_MAX 8192
#define ANSWER_MAX 1024
/* A restored VM responds within a second; a busy host gets more time. */
#define RESTORE_ANSWER_MS 20000
/* A VM without a payload ends by itself after the time that a launch may take. */
#define START_SLACK_MS 30000
/* Of a VM's control group above what is reserved for it: the kernel's own, and cached files. */
#define CGROUP_SLACK_MIB 128
#define ADDRESS_SLACK_MIB 8192
#define FILE_SLACK_MIB 256
#define BOOT_INSTEAD_MS 600000
#define RESTORES 2

/* In the order of QEMU_FD_KERNEL and those that follow it. */
static char **list_files(const struct vm_qemu *q, const struct qemu_saved *saved)
{
    const char *const paths[] = {q->image.kernel, q->image.initrd, q->image.disk,
                                 saved == NULL ? NULL : saved->disk,
                                 saved == NULL ? NULL : saved->state};
    char **files = calloc(COUNT_OF(paths) + 1, sizeof *files);
    ASSERT(files != NULL);
    for (size_t i = 0; i < COUNT_OF(paths) && paths[i] != NULL; i++) {
        files[i] = slice_dup(slice_of(paths[i]));
    }
    return files;
}

int qemu_start(const struct vm_qemu *q, const struct qemu_start *s, struct err *e)
{
    const struct qemu_args_in in = {.binary = q->binary,
                                    .image = &q->image,
                                    .accel = s->accel,
                                    .cpus = q->cpus,
                                    .memory_mib = q->memory_mib,
                                    .incoming = s->saved != NULL,
                                    .sandbox = q->sandbox,
                                    .shell = q->shell};
    char cgroup[128];
    int64_t memory = q->memory_mib * MIB;
    const struct qemu_amount most = qemu_host_most(q, s->accel);
    (void)snprintf(cgroup, sizeof cgroup, "%s", s->cgroup);
    struct qemu_launch launch = {
        .argv = qemu_args_build(&in),
        .gateway = qemu_network_gateway(q),
        .files = list_files(q, s->saved),
        .cgroup = cgroup,
        .console_limit_bytes = q->console_limit_bytes,
        .max_duration_ms = s->max_duration_ms,
        .start_ms = s->start_ms,
        .cpus = q->cpus,
        .memory_limit_bytes = most.memory + CGROUP_SLACK_MIB * MIB,
        /* A stand-in for QEMU under a sanitizer reserves terabytes of addresses. */
        .address_limit_bytes = MAYFLY_SANITIZED ? 0 : memory + ADDRESS_SLACK_MIB * MIB,
        /* Of a VM that is saved the state has its memory. */
        .file_limit_bytes = most.disk + (s->keep_run ? memory + FILE_SLACK_MIB * MIB : 0),
        .confine = q->confine,
        .shell = q->shell,
        .keep_run = s->keep_run,
    };
    int rc = qemu_launch_write(s->dir, &launch, e);
    qemu_args_free(launch.argv);
    qemu_args_free(launch.gateway);
    qemu_args_free(launch.files);
    return rc != 0 ? -1 : qemu_supervisor_start(q->supervisor, s->dir, e);
}

bool qemu_has_ended(const char *dir, struct err *e)
{
    struct qemu_exit_record exit;
    struct qemu_process_record process;
    struct err ignored;
    bool known = qemu_process_record_read(dir, &process, &ignored) == 0;
    bool alive = known && qemu_supervisor_alive(dir, &process);
    if (qemu_exit_record_read(dir, &exit, &ignored) == 0) {
        (void)err_set(e, ERR_RETRY, 0, "the VM ended: %s", exit.reason);
        return true;
    }
    if (!alive) {
        (void)err_set(e, ERR_RETRY, 0, "the VM vanished");
        return true;
    }
    return false;
}

/* --- the claim on a name -------------------------------------------------------------------- */

/* One launch, from the claim on its name to its end. */
struct launch {
    struct vm_qemu *q;
    const struct vm_spec *spec;
    char dir[PATH_MAX];
    char run_dir[PATH_MAX];
    const char *accel;
    int lock_fd; /* of this VM; -1: not claimed */
};

/* The directory exists. 1: it is the same VM and it runs or ran; 0: a remainder of a launch that
 * died, removed now. */
static int check_existing(struct launch *l, struct err *e)
{
    struct qemu_vm_record record;
    struct qemu_agent_status said;
    struct err ignored;
    if (qemu_vm_record_read(l->dir, &record, &ignored) == 0) {
        if (strcmp(record.token, l->spec->client_token) != 0) {
            return err_set(e, ERR_CONFLICT, EEXIST,
                           "VM %s already exists: it was requested with another token",
                           l->spec->name);
        }
        qemu_agent_status_read(l->dir, &said);
        if (said.started || qemu_marked(l->dir, "accepted")) {
            return 1;
        }
    }
    if (qemu_supervisor_stop(l->dir, 0, e) != 0 || fs_remove_tree(l->dir, e) != 0) {
        return -1;
    }
    return 0;
}

static void unlock_vm(struct launch *l)
{
    if (l->lock_fd >= 0) {
        close(l->lock_fd);
        l->lock_fd = -1;
    }
}

/* The room that was kept for a launch of this class; which one, is all the same. NULL: none is. */
static struct qemu_room *take_kept_room(struct vm_qemu *q)
{
    pthread_mutex_lock(&q->lock);
    struct qemu_room *room = q->rooms;
    q->rooms = room == NULL ? NULL : room->next;
    pthread_mutex_unlock(&q->lock);
    return room;
}

static int take_room(struct launch *l, struct qemu_room *room, struct err *e)
{
    struct qemu_vm_record record;
    if (qemu_vm_record_read(room->dir, &record, e) != 0) {
        return -1;
    }
    record.started_ms = clock_wall_ms();
    (void)snprintf(record.name, sizeof record.name, "%s", l->spec->name);
    (void)snprintf(record.token, sizeof record.token, "%s", l->spec->client_token);
    (void)snprintf(record.image, sizeof record.image, "%.99s %.99s", l->q->image.name,
                   l->q->image.version);
    return qemu_vm_record_write(room->dir, &record, e) != 0
               ? -1
               : qemu_room_become(room, l->dir, &l->lock_fd, e);
}

/* With the lock of the host's VMs, and the room kept for it, if any: taken. */
static int claim_name_locked(struct launch *l, struct qemu_room *room, struct err *e)
{
    struct stat st;
    int rc = 0;
    if (stat(l->dir, &st) == 0) {
        l->lock_fd = qemu_room_lock(l->dir, e);
        rc = l->lock_fd < 0 ? -1 : check_existing(l, e);
        unlock_vm(l);
    }
    if (rc == 0 && room == NULL) {
        rc = qemu_room_new(l->q, l->accel, &room, e);
    }
    if (rc != 0 || take_room(l, room, e) != 0) {
        qemu_room_free(room);
        return rc != 0 ? rc : -1;
    }
    return 0;
}

/* 0: this launch owns the name, holds its lock, and has reserved what its VM may use. 1: it exists
 * with this token. Under the lock of the host's VMs, so that two launches do not count on the same
 * memory, and no process sees a directory between its creation and its locking. */
static int claim_name(struct launch *l, struct err *e)
{
    char path[PATH_MAX];
    int host_lock;
    struct qemu_room *room = take_kept_room(l->q);
    if (qemu_lock(qemu_path(path, l->q->state_dir, ".lock"), &host_lock, e) != 0) {
        qemu_room_free(room);
        return -1;
    }
    int rc = claim_name_locked(l, room, e);
    close(host_lock);
    return rc;
}

/* --- one start ------------------------------------------------------------------------------ */

static int copy_file(const char *from, const char *to, struct err *e)
{
    char chunk[65536];
    ssize_t n = -1;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out >= 0) {
        while ((n = read(in, chunk, sizeof chunk)) > 0) {
            if (write(out, chunk, (size_t)n) != n) {
                n = -1;
                break;
            }
        }
    }
    int errnum = errno;
    if (in >= 0) {
        close(in);
    }
    if (out >= 0) {
        close(out);
    }
    if (n != 0) {
        return err_errno(e, errnum == ENOSPC ? ERR_CAPACITY : ERR_RETRY, errnum,
                         "cannot copy %s to %s", from, to);
    }
    return 0;
}

/* The frame of the payload port: see deploy/image/agent. */
static void build_frame(const struct launch *l, struct buf *out)
{
    unsigned char entropy[32];
    char hex[sizeof entropy * 2 + 1];
    random_bytes(entropy, sizeof entropy);
    codec_hex(entropy, sizeof entropy, hex);
    buf_printf(out, "MAYFLY1 %zu\n", l->spec->payload.len);
    buf_append(out, l->spec->payload);
    buf_printf(out, "%lld\n%s\n%s\n", (long long)clock_wall_ms(), l->spec->name, hex);
    explicit_bzero(hex, sizeof hex);
}

struct watch {
    const char *dir;
    struct err *e;
};

static bool vm_has_exited(void *arg)
{
    const struct watch *w = arg;
    return qemu_has_ended(w->dir, w->e);
}

static int read_agent_response(const struct launch *l, int fd, int64_t deadline_ms, struct err *e)
{
    struct buf in;
    struct slice line;
    struct err why;
    buf_init(&in, ANSWER_MAX);
    int rc = qemu_read_line(fd, &in, &line, deadline_ms, e);
    if (rc != 0) {
        /* The supervisor's record says more than a closed connection. */
        int64_t until = clock_mono_ms() + 1000;
        while (e->code == ECONNRESET && clock_mono_ms() < until) {
            if (qemu_has_ended(l->dir, &why)) {
                *e = why;
                break;
            }
            clock_sleep_until(clock_mono_ms() + 5);
        }
    } else if (slice_starts_with(line, SLICE("ERR"))) {
        rc = err_set(e, ERR_PERMANENT, 0, "the agent refused the payload: %.*s", SLICE_ARG(line));
    } else if (!slice_eq_cstr(line, "OK")) {
        rc = err_set(e, ERR_RETRY, 0, "the agent sent an invalid response");
    }
    buf_fini(&in);
    return rc;
}

/* The port accepts data before the agent reads it. */
static int send_payload(const struct launch *l, int64_t timeout_ms, struct err *e)
{
    struct err why = {.class = ERR_NONE};
    struct watch w = {l->dir, &why};
    struct buf text;
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    int fd = -1;
    int rc = -1;
    int run_fd = open(l->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (run_fd < 0) {
        return qemu_has_ended(l->dir, e)
                   ? -1
                   : err_errno(e, ERR_RETRY, ENOENT, "cannot open %s", l->run_dir);
    }
    buf_init(&text, FRAME_MAX);
    build_frame(l, &text);
    if (qemu_connect(run_fd, QEMU_PAYLOAD_SOCKET, deadline_ms, vm_has_exited, &w, &fd, e) == 0) {
        if (qemu_send(fd, buf_slice(&text), deadline_ms, e) == 0) {
            rc = read_agent_response(l, fd, deadline_ms, e);
        }
        close(fd);
    } else if (why.class != ERR_NONE) {
        *e = why;
    }
    explicit_bzero(text.data, text.len);
    buf_fini(&text);
    close(run_fd);
    return rc;
}

static int record_start_mode(const struct launch *l, const char *mode, struct err *e)
{
    struct qemu_vm_record record;
    if (qemu_vm_record_read(l->dir, &record, e) != 0) {
        return -1;
    }
    (void)snprintf(record.mode, sizeof record.mode, "%s", mode);
    (void)snprintf(record.accel, sizeof record.accel, "%s", l->accel);
    record.most = qemu_host_most(l->q, l->accel);
    record.started_ms = clock_wall_ms();
    return qemu_vm_record_write(l->dir, &record, e);
}

/* Starts it by a restore (saved) or a boot (NULL) and sends the payload. After a failure the VM is
 * stopped, and the directory is as before. */
static int start_once(const struct launch *l, const struct qemu_saved *saved, struct err *e)
{
    char overlay[PATH_MAX];
    char cgroup[128];
    char path[PATH_MAX];
    struct err ignored;
    int64_t timeout_ms = saved != NULL ? RESTORE_ANSWER_MS : l->q->boot_timeout_ms;
    (void)snprintf(cgroup, sizeof cgroup, "mayfly-%s", l->spec->name);
    const struct qemu_start start = {.dir = l->dir,
                                     .accel = l->accel,
                                     .saved = saved,
                                     .cgroup = cgroup,
                                     .max_duration_ms = l->spec->max_duration_ms,
                                     .start_ms = timeout_ms + START_SLACK_MS};

    (void)qemu_path(overlay, l->run_dir, QEMU_OVERLAY);
    if (qemu_marked(l->dir, "ending")) {
        return err_set(e, ERR_RETRY, ECANCELED, "VM %s was terminated during its launch",
                       l->spec->name);
    }
    if (record_start_mode(l, saved != NULL ? "restore" : "boot", e) == 0 &&
        fs_mkdirs(l->run_dir, 0770, e) == 0 &&
        (saved != NULL ? copy_file(saved->overlay, overlay, e)
                       : qemu_overlay_create(l->q, l->q->image.disk, l->q->image.disk_is_qcow2,
                                             overlay, e)) == 0 &&
        qemu_start(l->q, &start, e) == 0 && send_payload(l, timeout_ms, e) == 0 &&
        qemu_mark(l->dir, "accepted", e) == 0) {
        return 0;
    }
    if (qemu_supervisor_stop(l->dir, 0, &ignored) == 0) {
        (void)!fs_remove_tree(l->run_dir, &ignored);
        (void)unlink(qemu_path(path, l->dir, "process.json"));
        (void)unlink(qemu_path(path, l->dir, "exit.json"));
    }
    return -1;
}

static int restore_once(const struct launch *l, struct qemu_saved *saved, struct err *e)
{
    if (qemu_saved_get(l->q, l->accel, saved, e) != 0 || start_once(l, saved, e) != 0) {
        return -1;
    }
    metric_inc(l->q->started_by_restore);
    return 0;
}

/* Whether another attempt in another way can help. */
static bool may_retry(const struct launch *l, const struct err *e)
{
    return e->class == ERR_RETRY && !qemu_marked(l->dir, "ending");
}

/* Restore; if that fails, once more with a new snapshot; if that fails too, boot, and do not
 * restore for a while. A restore that was only too slow says nothing against the snapshot: to
 * create a new one would only add load to a busy host. */
static int start_with_fallbacks(const struct launch *l, struct err *e)
{
    struct vm_qemu *q = l->q;
    for (int i = 0; i < RESTORES && q->restore && clock_mono_ms() >= atomic_load(&q->boot_until_ms);
         i++) {
        struct qemu_saved saved = {.inode = 0};
        if (restore_once(l, &saved, e) == 0) {
            return 0;
        }
        if (!may_retry(l, e)) {
            return -1;
        }
        bool last = i == RESTORES - 1;
        if (e->code != ETIMEDOUT || last) {
            qemu_saved_discard(&saved);
        }
        if (last) {
            atomic_store(&q->boot_until_ms, clock_mono_ms() + BOOT_INSTEAD_MS);
        }
    }
    if (start_once(l, NULL, e) != 0) {
        return -1;
    }
    metric_inc(q->started_by_boot);
    return 0;
}

int vm_qemu_room(void *state, struct err *e)
{
    struct vm_qemu *q = state;
    const char *accel;
    char path[PATH_MAX];
    int host_lock;
    struct qemu_room *room = NULL;
    if (qemu_host_accel(q, &accel, e) != 0 ||
        qemu_lock(qemu_path(path, q->state_dir, ".lock"), &host_lock, e) != 0) {
        return -1;
    }
    int rc = qemu_room_new(q, accel, &room, e);
    close(host_lock);
    if (rc == 0) {
        pthread_mutex_lock(&q->lock);
        room->next = q->rooms;
        q->rooms = room;
        pthread_mutex_unlock(&q->lock);
    }
    return rc;
}

void vm_qemu_room_release(void *state)
{
    qemu_room_free(take_kept_room(state));
}

/* What the last attempt wrote, before it is deleted. */
static void keep_console(const struct launch *l)
{
    struct buf *out = l->spec->console;
    struct err ignored;
    if (out != NULL) {
        (void)!vm_qemu_console(l->q, l->spec->name, l->spec->name, out->limit_bytes - out->len, out,
                               &ignored);
    }
}

int vm_qemu_run(void *state, const struct vm_spec *spec, char *out_id, struct err *e)
{
    struct launch l = {.q = state, .spec = spec, .lock_fd = -1};
    struct err ignored;

    (void)qemu_path(l.dir, l.q->vms_dir, spec->name);
    (void)qemu_path(l.run_dir, l.dir, "run");
    if (qemu_host_accel(l.q, &l.accel, e) != 0) {
        vm_qemu_room_release(state);
        return -1;
    }
    int claimed = claim_name(&l, e);
    if (claimed < 0) {
        return -1;
    }
    int rc = 0;
    if (claimed == 0) {
        rc = start_with_fallbacks(&l, e);
        if (rc != 0 && qemu_supervisor_stop(l.dir, 0, &ignored) == 0) {
            keep_console(&l);
            (void)!fs_remove_tree(l.dir, &ignored);
        }
        unlock_vm(&l);
    }
    if (rc == 0) {
        (void)snprintf(out_id, VM_ID_MAX + 1, "%s", spec->name);
    }
    return rc;
}
