#include "common/vm/qemu/room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/state.h"

#define PREFIX ".room-"
#define MIB ((int64_t)1 << 20)

int qemu_room_lock(const char *dir, struct err *e)
{
    char path[PATH_MAX];
    int fd = fs_create(qemu_path(path, dir, "lock"), O_RDWR, 0644);
    if (fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot open the lock %s", path);
    }
    if (fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}) != 0) {
        close(fd);
        return err_set(e, ERR_RETRY, EWOULDBLOCK, "another process is launching VM %s",
                       strrchr(dir, '/') + 1);
    }
    return fd;
}

/* A launch that saves the class's snapshot first fills the host with that too. */
static struct qemu_amount most_of_launch(const struct vm_qemu *q, const char *accel)
{
    struct qemu_amount most = qemu_host_most(q, accel);
    if (q->restore && !qemu_saved_exists(q, accel)) {
        most.disk += q->memory_mib * MIB;
    }
    return most;
}

/* Of processes that were killed. */
static void remove_abandoned(const struct vm_qemu *q)
{
    const struct dirent *entry;
    DIR *vms = opendir(q->vms_dir);
    while (vms != NULL && (entry = readdir(vms)) != NULL) {
        char path[PATH_MAX];
        struct err ignored;
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
            !qemu_is_being_launched(qemu_path(path, q->vms_dir, entry->d_name))) {
            (void)!fs_remove_tree(path, &ignored);
        }
    }
    if (vms != NULL) {
        closedir(vms);
    }
}

static int make_directory(struct qemu_room *r, const struct qemu_amount *most, struct err *e)
{
    const struct qemu_vm_record record = {.most = *most};
    if (fs_mkdir(r->dir, 0700) != 0) {
        return err_errno(e, errno == ENOSPC ? ERR_CAPACITY : ERR_RETRY, errno,
                         "cannot make the directory %s", r->dir);
    }
    r->lock_fd = qemu_room_lock(r->dir, e);
    return r->lock_fd < 0 ? -1 : qemu_vm_record_write(r->dir, &record, e);
}

int qemu_room_new(const struct vm_qemu *q, const char *accel, struct qemu_room **out, struct err *e)
{
    char name[32] = PREFIX;
    const struct qemu_amount most = most_of_launch(q, accel);
    remove_abandoned(q);
    if (qemu_host_room(q, &most, e) != 0) {
        return -1;
    }
    struct qemu_room *r = calloc(1, sizeof *r);
    ASSERT(r != NULL);
    r->lock_fd = -1;
    random_hex(name + strlen(PREFIX), 8);
    (void)qemu_path(r->dir, q->vms_dir, name);
    if (make_directory(r, &most, e) != 0) {
        qemu_room_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void qemu_room_free(struct qemu_room *r)
{
    struct err ignored;
    if (r != NULL) {
        (void)!fs_remove_tree(r->dir, &ignored);
        if (r->lock_fd >= 0) {
            close(r->lock_fd);
        }
        free(r);
    }
}

int qemu_room_become(struct qemu_room *r, const char *dir, int *out_lock_fd, struct err *e)
{
    if (rename(r->dir, dir) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot move %s to %s", r->dir, dir);
    }
    *out_lock_fd = r->lock_fd;
    free(r);
    return 0;
}
