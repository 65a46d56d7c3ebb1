#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/vm/qemu/exec.h"
#include "common/vm/qemu/launch.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/qmp.h"
#include "common/vm/qemu/state.h"

#define QEMU_IMG_MS 30000
#define SAVE_MS 120000
#define PAUSE_MS 5
#define KEY_BYTES 20
#define UNUSED_DAYS 7
#define OVERLAY_NEW "overlay.new"

int qemu_overlay_create(const struct vm_qemu *q, const char *base, bool base_is_qcow2,
                        const char *path, struct err *e)
{
    char size[32];
    struct buf said;
    (void)snprintf(size, sizeof size, "%lld", (long long)q->disk_bytes);
    const char *argv[] = {q->qemu_img, "create", "-q",
                          "-f",        "qcow2",  "-b",
                          base,        "-F",     base_is_qcow2 ? "qcow2" : "raw",
                          path,        size,     NULL};
    buf_init(&said, 65536);
    int rc = exec_capture(argv, QEMU_IMG_MS, &said, e);
    buf_fini(&said);
    return rc;
}

/* --- one boot, up to READY ------------------------------------------------------------------ */

/* Waits for the agent's READY in the status file; polls, since another process appends to the file
 * and the wait takes seconds. */
static int wait_ready(const char *dir, int64_t deadline_ms, struct err *e)
{
    struct qemu_agent_status said;
    for (;;) {
        qemu_agent_status_read(dir, &said);
        if (said.ready) {
            return 0;
        }
        if (qemu_has_ended(dir, e)) {
            return -1;
        }
        int64_t now = clock_mono_ms();
        if (now >= deadline_ms) {
            return err_set(e, ERR_RETRY, ETIMEDOUT,
                           "the image did not come up in time (see console.log; a slow host needs "
                           "a longer qemu.boot_timeout)");
        }
        clock_sleep_until(now + PAUSE_MS);
    }
}

/* Its own user's alone, also where the state directory is shared. */
static int make_saved_dir(const struct vm_qemu *q, struct err *e)
{
    if (fs_mkdirs(q->saved_dir, 0700, e) != 0) {
        return -1;
    }
    return chmod(q->saved_dir, 0700) == 0
               ? 0
               : err_errno(e, ERR_RETRY, errno, "cannot use %s: it is another user's",
                           q->saved_dir);
}

/* A directory like a VM's, for a boot whose result is kept or deleted. */
static int boot_until_ready(const struct vm_qemu *q, const char *dir, const char *accel,
                            int64_t timeout_ms, struct err *e)
{
    char run_dir[PATH_MAX];
    char overlay[PATH_MAX];
    const struct qemu_start start = {.dir = dir,
                                     .accel = accel,
                                     .cgroup = "",
                                     .max_duration_ms = timeout_ms + SAVE_MS,
                                     .keep_run = true};
    (void)qemu_path(overlay, qemu_path(run_dir, dir, "run"), QEMU_OVERLAY);
    if (fs_mkdirs(run_dir, 0700, e) != 0 ||
        qemu_overlay_create(q, q->image.disk, q->image.disk_is_qcow2, overlay, e) != 0 ||
        qemu_start(q, &start, e) != 0) {
        return -1;
    }
    return wait_ready(dir, clock_mono_ms() + timeout_ms, e);
}

int qemu_saved_try_boot(const struct vm_qemu *q, const char *accel, int64_t timeout_ms,
                        struct err *e)
{
    char dir[PATH_MAX];
    char name[32] = ".try-";
    struct err ignored;
    random_hex(name + 5, 8);
    (void)qemu_path(dir, q->saved_dir, name);
    int rc = make_saved_dir(q, e) != 0 ? -1 : boot_until_ready(q, dir, accel, timeout_ms, e);
    if (qemu_supervisor_stop(dir, 0, &ignored) == 0) {
        (void)!fs_remove_tree(dir, &ignored);
    }
    return rc;
}

/* --- saving --------------------------------------------------------------------------------- */

static int wait_saved(struct qmp *qmp, int64_t deadline_ms, struct err *e)
{
    char status[32];
    char why[200];
    struct buf answer;
    int rc = -1;
    buf_init(&answer, 65536);
    for (;;) {
        buf_reset(&answer);
        if (qmp_call(qmp, "query-migrate", NULL, deadline_ms, &answer, e) != 0) {
            break;
        }
        qmp_text_member(&answer, "status", status, sizeof status);
        if (strcmp(status, "completed") == 0) {
            rc = 0;
            break;
        }
        if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0) {
            qmp_text_member(&answer, "error-desc", why, sizeof why);
            (void)err_set(e, ERR_RETRY, 0, "QEMU could not save the snapshot: %s", why);
            break;
        }
        if (clock_mono_ms() >= deadline_ms) {
            (void)err_set(e, ERR_RETRY, ETIMEDOUT, "QEMU did not save the snapshot in time");
            break;
        }
        clock_sleep_until(clock_mono_ms() + PAUSE_MS);
    }
    buf_fini(&answer);
    return rc;
}

/* The VM is saved while it runs, so that a restored one runs by itself. */
static int save_state(const char *dir, const char *state_path, struct err *e)
{
    char path[PATH_MAX];
    struct qmp *qmp = NULL;
    int64_t deadline_ms = clock_mono_ms() + SAVE_MS;
    int rc = -1;
    int run_fd = open(qemu_path(path, dir, "run"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    int state_fd = open(state_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (run_fd < 0 || state_fd < 0) {
        (void)err_errno(e, ERR_RETRY, errno, "cannot open %s", run_fd < 0 ? path : state_path);
    } else if (qmp_open(run_fd, deadline_ms, &qmp, e) == 0 &&
               qmp_call(qmp, "migrate-set-parameters", "{\"max-bandwidth\":17179869184}",
                        deadline_ms, NULL, e) == 0 &&
               qmp_give_fd(qmp, state_fd, "state", deadline_ms, e) == 0 &&
               qmp_call(qmp, "migrate", "{\"uri\":\"fd:state\"}", deadline_ms, NULL, e) == 0 &&
               wait_saved(qmp, deadline_ms, e) == 0) {
        rc = qmp_call(qmp, "quit", NULL, deadline_ms, NULL, e);
    }
    qmp_close(qmp);
    if (run_fd >= 0) {
        close(run_fd);
    }
    if (state_fd >= 0) {
        close(state_fd);
    }
    return rc;
}

/* Boots in `work`, saves, and leaves the saved disk and state there. */
static int create_snapshot_in(const struct vm_qemu *q, const char *accel, const char *work,
                              struct err *e)
{
    char run_overlay[PATH_MAX];
    char disk[PATH_MAX];
    char state[PATH_MAX];

    (void)qemu_path(run_overlay, work, "run/" QEMU_OVERLAY);
    (void)qemu_path(disk, work, QEMU_SAVED_DISK);
    (void)qemu_path(state, work, QEMU_SAVED_STATE);
    if (boot_until_ready(q, work, accel, q->boot_timeout_ms, e) != 0 ||
        save_state(work, state, e) != 0 || qemu_supervisor_stop(work, 0, e) != 0) {
        return -1;
    }
    if (rename(run_overlay, disk) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot keep the disk of the snapshot %s", work);
    }
    return fs_remove_tree(qemu_path(run_overlay, work, "run"), e);
}

static void saved_key(const struct vm_qemu *q, const char *accel, char *out)
{
    char digest[65];
    struct buf text;
    buf_init(&text, 16384);
    buf_printf(&text, "2\n%s\n%s\n%s\n%s\n%lld\n%lld\n%lld\n%s\n%d%s", q->image.identity, q->binary,
               q->qemu_version, accel, (long long)q->cpus, (long long)q->memory_mib,
               (long long)q->disk_bytes, q->network, q->sandbox, q->shell ? "\nshell" : "");
    qemu_digest(buf_slice(&text), digest);
    buf_fini(&text);
    memcpy(out, digest, KEY_BYTES);
    out[KEY_BYTES] = '\0';
}

static bool complete_snapshot(struct qemu_saved *s)
{
    struct stat st;
    if (access(s->state, R_OK) != 0 || stat(s->overlay, &st) != 0) {
        return false;
    }
    s->inode = st.st_ino;
    return true;
}

static void locate_snapshot(const struct vm_qemu *q, const char *key, struct qemu_saved *out)
{
    (void)qemu_path(out->dir, q->saved_dir, key);
    (void)qemu_path(out->disk, out->dir, QEMU_SAVED_DISK);
    (void)qemu_path(out->state, out->dir, QEMU_SAVED_STATE);
    (void)qemu_path(out->overlay, out->dir, QEMU_OVERLAY);
}

/* Snapshots that no VM was restored from for days: images and versions that no longer exist. Every
 * use renews the directory's own time; a running VM keeps its files open. */
static void delete_old_snapshots(const struct vm_qemu *q)
{
    DIR *dir = opendir(q->saved_dir);
    const struct dirent *entry;
    time_t oldest = (time_t)(clock_wall_ms() / 1000) - (time_t)UNUSED_DAYS * 86400;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        struct stat st;
        struct err e;
        (void)qemu_path(path, q->saved_dir, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_mtime < oldest) {
            (void)!fs_remove_tree(path, &e);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}

/* With the lock held. The overlay is created last, in place, so a directory with an overlay is
 * complete. */
static int create_snapshot(const struct vm_qemu *q, const char *accel, const char *key,
                           const struct qemu_saved *s, struct err *e)
{
    char work[PATH_MAX];
    char name[KEY_BYTES + 8];
    char fresh[PATH_MAX];
    struct err ignored;
    int rc = -1;

    delete_old_snapshots(q);
    (void)snprintf(name, sizeof name, ".%s.new", key);
    (void)qemu_path(work, q->saved_dir, name);
    (void)qemu_path(fresh, s->dir, OVERLAY_NEW);
    /* The remainder of a killed process: its supervisor may still run. */
    if (qemu_supervisor_stop(work, 0, e) != 0 || fs_remove_tree(work, e) != 0 ||
        fs_remove_tree(s->dir, e) != 0 || fs_mkdirs(work, 0700, e) != 0) {
        return -1;
    }
    if (create_snapshot_in(q, accel, work, e) == 0) {
        if (rename(work, s->dir) != 0) {
            (void)err_errno(e, ERR_RETRY, errno, "cannot move the snapshot to %s", s->dir);
        } else if (qemu_overlay_create(q, s->disk, true, fresh, e) == 0 &&
                   qemu_seal_make(s->dir, OVERLAY_NEW, e) == 0) {
            rc = rename(fresh, s->overlay) == 0
                     ? 0
                     : err_errno(e, ERR_RETRY, errno, "cannot write %s", s->overlay);
        }
    }
    if (qemu_supervisor_stop(work, 0, &ignored) == 0) {
        (void)!fs_remove_tree(work, &ignored);
    }
    return rc;
}

static int find_or_create_snapshot(const struct vm_qemu *q, const char *accel,
                                   struct qemu_saved *out, struct err *e)
{
    char key[KEY_BYTES + 1];
    char lock_name[KEY_BYTES + 8];
    char lock_path[PATH_MAX];
    int lock;
    int rc = make_saved_dir(q, e);
    if (rc != 0) {
        return -1;
    }
    saved_key(q, accel, key);
    locate_snapshot(q, key, out);
    if (!complete_snapshot(out)) {
        (void)snprintf(lock_name, sizeof lock_name, "%s.lock", key);
        if (qemu_lock(qemu_path(lock_path, q->saved_dir, lock_name), &lock, e) != 0) {
            return -1;
        }
        if (!complete_snapshot(out)) {
            rc = create_snapshot(q, accel, key, out, e);
            if (rc == 0 && !complete_snapshot(out)) {
                rc = err_set(e, ERR_RETRY, ENOENT, "%s was removed meanwhile", out->dir);
            }
        }
        close(lock);
    }
    return rc == 0 ? 0 : err_wrap(e, "creating the snapshot");
}

int qemu_saved_get(struct vm_qemu *q, const char *accel, struct qemu_saved *out, struct err *e)
{
    if (find_or_create_snapshot(q, accel, out, e) != 0) {
        return -1;
    }
    if (qemu_seal_check(&q->seal, out->dir, e) != 0) {
        if (e->code == EBADMSG) {
            metric_inc(q->snapshots_refused);
            pthread_mutex_lock(&q->lock);
            (void)snprintf(q->snapshot_refused, sizeof q->snapshot_refused, "%.255s", e->message);
            pthread_mutex_unlock(&q->lock);
        }
        return -1;
    }
    (void)utimensat(AT_FDCWD, out->dir, NULL, 0);
    return 0;
}

bool qemu_saved_exists(const struct vm_qemu *q, const char *accel)
{
    char key[KEY_BYTES + 1];
    struct qemu_saved found;
    saved_key(q, accel, key);
    locate_snapshot(q, key, &found);
    return complete_snapshot(&found);
}

void qemu_saved_discard(const struct qemu_saved *seen)
{
    struct stat st;
    if (stat(seen->overlay, &st) == 0 && st.st_ino == seen->inode) {
        (void)unlink(seen->overlay);
    }
}
