#include "ingress/spool_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/slice.h"

#define SUFFIX ".lock"

static int too_long(const char *spool_path, struct err *e)
{
    return err_set(e, ERR_PERMANENT, 0, "the spool's path is too long: %s", spool_path);
}

/* The spool's directory, created if it does not exist, without symbolic links. */
static int real_directory(const char *spool_path, size_t length, char *out, struct err *e)
{
    char directory[PATH_MAX];
    if (!slice_to_cstr((struct slice){spool_path, length}, directory, sizeof directory)) {
        return too_long(spool_path, e);
    }
    if (fs_mkdirs(directory, 0750, e) != 0) {
        return -1;
    }
    if (realpath(directory, out) == NULL) {
        return err_errno(e, ERR_PERMANENT, errno, "the spool's directory %s", directory);
    }
    return 0;
}

/* The lock's path for the file that spool_path resolves to. */
static int lock_path(const char *spool_path, char *out, size_t size, struct err *e)
{
    char real[PATH_MAX];
    int n = 0;
    if (realpath(spool_path, real) != NULL) {
        n = snprintf(out, size, "%s" SUFFIX, real);
    } else {
        const char *slash = strrchr(spool_path, '/');
        size_t length = slash != NULL ? (size_t)(slash - spool_path) : 0;
        if (slash == NULL) {
            return err_set(e, ERR_PERMANENT, 0, "the spool's path is not absolute: %s", spool_path);
        }
        if (real_directory(spool_path, length > 0 ? length : 1, real, e) != 0) {
            return -1;
        }
        n = snprintf(out, size, "%s%s" SUFFIX, real, slash);
    }
    return n > 0 && (size_t)n < size ? 0 : too_long(spool_path, e);
}

/* The error names the process that holds the lock, if the file contains it. */
static int set_conflict(const char *spool_path, const char *path, int fd, struct err *e)
{
    char owner[24] = "";
    int64_t pid = 0;
    ssize_t n = pread(fd, owner, sizeof owner - 1, 0);
    if (n < 1 || !slice_to_int64((struct slice){owner, (size_t)n}, &pid)) {
        pid = 0;
    }
    return err_set(e, ERR_CONFLICT, 0,
                   "the spool %s belongs to a running ingress (process %lld holds %s): give each "
                   "ingress an ingress.spool.path of its own, or stop that one first",
                   spool_path, (long long)pid, path);
}

static void write_owner(int fd)
{
    char owner[24];
    int n = snprintf(owner, sizeof owner, "%lld", (long long)getpid());
    /* For the error message only; on a full disk it may be missing. */
    if (ftruncate(fd, 0) == 0 && n > 0) {
        ssize_t written = pwrite(fd, owner, (size_t)n, 0);
        (void)written;
    }
}

int spool_lock_acquire(const char *spool_path, int *fd, struct err *e)
{
    char path[PATH_MAX + sizeof SUFFIX];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (lock_path(spool_path, path, sizeof path, e) != 0) {
        return -1;
    }
    int opened = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);
    if (opened < 0) {
        return err_errno(e, errno == ENOSPC ? ERR_CAPACITY : ERR_PERMANENT, errno,
                         "cannot open the spool's lock %s", path);
    }
    if (fcntl(opened, F_OFD_SETLK, &lock) != 0) {
        int errnum = errno;
        int result = errnum == EAGAIN || errnum == EACCES
                         ? set_conflict(spool_path, path, opened, e)
                         : err_errno(e, ERR_PERMANENT, errnum, "cannot lock %s", path);
        close(opened);
        return result;
    }
    write_owner(opened);
    *fd = opened;
    return 0;
}

void spool_lock_release(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}
