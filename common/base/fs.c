#include "common/base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"

static int fail_open(const char *path, struct err *e)
{
    return err_errno(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_PERMANENT, errno,
                     "cannot open %s for reading", path);
}

/* Before each read of a descriptor that does not block. */
static int wait_readable(int fd, const char *path, int64_t until_ms, struct err *e)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t left_ms = until_ms - clock_mono_ms();
    if (until_ms == 0 || (left_ms > 0 && poll(&p, 1, (int)left_ms) != 0)) {
        return 0;
    }
    return err_set(e, ERR_PERMANENT, ETIMEDOUT, "%s: whatever writes to it does not write", path);
}

/* Takes fd. until_ms: 0 for one that may block. */
static int read_to_end(int fd, const char *path, int64_t until_ms, struct buf *out, struct err *e)
{
    char chunk[16384];
    ssize_t n = 1;
    int rc = 0;
    while (n != 0 && !out->failed && rc == 0) { /* a device or a pipe may never end */
        rc = wait_readable(fd, path, until_ms, e);
        n = rc == 0 ? read(fd, chunk, sizeof chunk) : 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            rc = err_errno(e, errno == EISDIR ? ERR_PERMANENT : ERR_RETRY, errno, "cannot read %s",
                           path);
        }
        buf_append(out, (struct slice){chunk, n > 0 ? (size_t)n : 0});
    }
    close(fd);
    if (rc == 0 && out->failed) {
        return err_set(e, ERR_PERMANENT, 0, "%s is larger than the %zu bytes allowed", path,
                       out->limit_bytes);
    }
    return rc;
}

int fs_read(const char *path, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? fail_open(path, e) : read_to_end(fd, path, 0, out, e);
}

int fs_read_within(const char *path, int64_t timeout_ms, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? fail_open(path, e)
                  : read_to_end(fd, path, clock_mono_ms() + timeout_ms, out, e);
}

int fs_check_regular(const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return fail_open(path, e);
    }
    return S_ISREG(st.st_mode) ? 0
                               : err_set(e, ERR_PERMANENT, 0, "%s is %s: name a regular file", path,
                                         S_ISDIR(st.st_mode)    ? "a directory"
                                         : S_ISFIFO(st.st_mode) ? "a FIFO, which may never end"
                                         : S_ISSOCK(st.st_mode) ? "a socket"
                                                                : "a device, which may never end");
}

int fs_read_regular(const char *path, struct buf *out, struct err *e)
{
    return fs_check_regular(path, e) != 0 ? -1 : fs_read(path, out, e);
}

static int write_all(int fd, struct slice data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -1;
        }
        data.ptr += n;
        data.len -= (size_t)n;
    }
    return fsync(fd);
}

static bool get_directory_of(const char *path, char *out)
{
    const char *slash = strrchr(path, '/');
    struct slice dir = slash == NULL   ? SLICE(".")
                       : slash == path ? SLICE("/")
                                       : (struct slice){path, (size_t)(slash - path)};
    return slice_to_cstr(dir, out, PATH_MAX);
}

static void sync_directory_of(const char *path)
{
    char dir[PATH_MAX];
    int fd = get_directory_of(path, dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

static bool is_in_shared_directory(const char *path)
{
    char dir[PATH_MAX];
    struct stat st;
    const mode_t shared = S_ISGID | S_IRWXG;
    return get_directory_of(path, dir) && stat(dir, &st) == 0 && (st.st_mode & shared) == shared;
}

int fs_create(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CREAT | O_CLOEXEC, mode);
    if (fd >= 0 && is_in_shared_directory(path)) {
        (void)fchmod(fd, 0660); /* EPERM: its owner did so */
    }
    return fd;
}

/* The group came with the parent's setgid bit, and so did the bit. Where it must be set anew, since the
 * umask took rights away, that fails in a unit with RestrictSUIDSGID=, whose UMask= must not. */
int fs_mkdir(const char *path, mode_t mode)
{
    struct stat st;
    bool shared = is_in_shared_directory(path);
    if (mkdir(path, shared ? S_IRWXU | S_IRWXG : mode) != 0) {
        return -1;
    }
    if (shared && stat(path, &st) == 0 && (st.st_mode & S_IRWXG) != S_IRWXG) {
        (void)chmod(path, 02770);
    }
    return 0;
}

/* A unique name beside it for each write, so that two threads never share a partly written file. */
static int name_temp(const char *path, char out[PATH_MAX], struct err *e)
{
    static unsigned writes;
    int n = snprintf(out, PATH_MAX, "%s.%d-%u.new", path, (int)getpid(),
                     __atomic_add_fetch(&writes, 1, __ATOMIC_RELAXED));
    if (n < 0 || n >= PATH_MAX) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "the path %s is too long", path);
    }
    return 0;
}

/* Closes fd. On failure errno is set. */
static int write_and_close(int fd, struct slice data)
{
    int failed = write_all(fd, data);
    int errnum = errno;
    if (close(fd) != 0 && failed == 0) {
        return -1;
    }
    errno = errnum;
    return failed;
}

int fs_write_atomic(const char *path, struct slice data, mode_t mode, struct err *e)
{
    char temp[PATH_MAX];
    if (name_temp(path, temp, e) != 0) {
        return -1;
    }
    int fd = fs_create(temp, O_WRONLY | O_TRUNC, mode);
    if (fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot create %s", temp);
    }
    if (write_and_close(fd, data) != 0 || rename(temp, path) != 0) {
        int errnum = errno;
        (void)unlink(temp);
        return err_errno(e, ERR_RETRY, errnum, "cannot write %s", path);
    }
    sync_directory_of(path);
    return 0;
}

int fs_write_new(const char *path, struct slice data, mode_t mode, struct err *e)
{
    char temp[PATH_MAX];
    if (name_temp(path, temp, e) != 0) {
        return -1;
    }
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot create %s", temp);
    }
    bool made = fchmod(fd, mode) == 0;
    made = write_and_close(fd, data) == 0 && made && link(temp, path) == 0;
    int errnum = errno;
    (void)unlink(temp);
    sync_directory_of(path);
    return made ? 0
                : err_errno(e, errnum == EEXIST ? ERR_CONFLICT : ERR_RETRY, errnum,
                            "cannot create %s", path);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int fs_mkdirs(const char *path, mode_t mode, struct err *e)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "\"%s\" is not a usable directory name",
                       path);
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (fs_mkdir(part, mode) != 0 && errno != EEXIST) {
            return err_errno(e, ERR_PERMANENT, errno, "cannot create the directory %s", part);
        }
    }
    if (!is_directory(path)) {
        return err_errno(e, ERR_PERMANENT, ENOTDIR, "cannot create the directory %s", path);
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

int fs_remove_tree(const char *path, struct err *e)
{
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
        return err_errno(e, ERR_RETRY, errno, "cannot remove %s", path);
    }
    return 0;
}
