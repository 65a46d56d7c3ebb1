#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/random.h"
#include "deploy/ctl/app/app.h"

#define RESERVED_BYTES 16384 /* of each file: more than any of them needs */
#define MODE 0600

static const char *const names[APP_PARTS] = {
    [APP_ID] = "app-id", [APP_KEY] = "app.pem", [APP_WEBHOOK_SECRET] = "webhook-secret"};

struct file {
    char path[PATH_MAX];
    char temp[PATH_MAX]; /* beside it; "": it has its own name, or was not made */
    int fd;
};

struct files {
    struct app_keep keep;
    char directory[PATH_MAX];
    struct file of[APP_PARTS];
};

/* --- before the App is made --- */

/* The room is taken now, so that the disk cannot be full later. */
static int reserve(struct file *f, struct err *e)
{
    f->fd = open(f->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE);
    if (f->fd < 0) {
        int errnum = errno;
        f->temp[0] = '\0';
        return err_errno(e, ERR_PERMANENT, errnum, "cannot create a file for %s", f->path);
    }
    int errnum = fchmod(f->fd, MODE) != 0 ? errno : posix_fallocate(f->fd, 0, RESERVED_BYTES);
    if (errnum == 0 && fsync(f->fd) != 0) {
        errnum = errno;
    }
    return errnum == 0 ? 0 : err_errno(e, ERR_CAPACITY, errnum, "there is no room for %s", f->path);
}

static int prepare(struct files *all, enum app_part part, struct err *e)
{
    struct file *f = &all->of[part];
    struct stat st;
    char random[17];
    random_hex(random, 8);
    int n = snprintf(f->path, sizeof f->path, "%s/%s", all->directory, names[part]);
    int m = snprintf(f->temp, sizeof f->temp, "%s/.%s.%s", all->directory, names[part], random);
    if (n < 0 || m < 0 || (size_t)n >= sizeof f->path || (size_t)m >= sizeof f->temp) {
        f->temp[0] = '\0';
        return err_set(e, ERR_PERMANENT, 0, "--output is too long a path");
    }
    if (lstat(f->path, &st) == 0) {
        f->temp[0] = '\0';
        return err_set(e, ERR_CONFLICT, 0,
                       "%s exists, and is never replaced: give another --output, or remove it if "
                       "no App needs it",
                       f->path);
    }
    return reserve(f, e);
}

static int make_directory(const char *directory, char out[PATH_MAX], struct err *e)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot create the directory %s", directory);
    }
    return realpath(directory, out) != NULL
               ? 0
               : err_errno(e, ERR_PERMANENT, errno, "cannot use the directory %s", directory);
}

/* --- after --- */

static int write_whole(const struct file *f, struct slice value, struct err *e)
{
    size_t done = 0;
    while (done < value.len) {
        ssize_t n = pwrite(f->fd, value.ptr + done, value.len - done, (off_t)done);
        if (n < 0 && errno != EINTR) {
            return err_errno(e, ERR_PERMANENT, errno, "cannot write %s", f->temp);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (ftruncate(f->fd, (off_t)value.len) != 0 || fsync(f->fd) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot write %s", f->temp);
    }
    return 0;
}

/* What cannot get its name is left under the other one: GitHub shows the key only once. */
static int give_name(struct file *f, struct err *e)
{
    if (link(f->temp, f->path) != 0) {
        int errnum = errno;
        (void)err_errno(e, ERR_PERMANENT, errnum, "cannot create %s; what it should hold is in %s",
                        f->path, f->temp);
        f->temp[0] = '\0';
        return -1;
    }
    (void)unlink(f->temp);
    f->temp[0] = '\0';
    return 0;
}

static int sync_directory(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc =
        fd < 0 || fsync(fd) != 0 ? err_errno(e, ERR_PERMANENT, errno, "cannot sync %s", path) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static int store(struct app_keep *k, const struct slice values[APP_PARTS], struct err *e)
{
    struct files *all = (struct files *)k;
    struct err later = {0};
    int rc = 0;
    for (int i = 0; i < APP_PARTS; i++) {
        if (write_whole(&all->of[i], values[i], e) != 0) {
            return -1;
        }
    }
    for (int i = 0; i < APP_PARTS; i++) {
        if (give_name(&all->of[i], rc == 0 ? e : &later) != 0) {
            rc = -1;
        }
    }
    return rc == 0 ? sync_directory(all->directory, e) : -1;
}

static void close_files(struct app_keep *k)
{
    struct files *all = (struct files *)k;
    for (int i = 0; i < APP_PARTS; i++) {
        if (all->of[i].fd >= 0) {
            (void)close(all->of[i].fd);
        }
        if (all->of[i].temp[0] != '\0') {
            (void)unlink(all->of[i].temp);
        }
    }
    free(all);
}

static const struct app_keep_ops files_ops = {.store = store, .close = close_files};

int app_keep_in_files(const char *directory, struct app_keep **out, struct err *e)
{
    struct files *all = calloc(1, sizeof *all);
    ASSERT(all != NULL);
    all->keep.ops = &files_ops;
    for (int i = 0; i < APP_PARTS; i++) {
        all->of[i].fd = -1;
    }
    int rc = make_directory(directory, all->directory, e);
    for (int i = 0; i < APP_PARTS && rc == 0; i++) {
        struct buf ref;
        rc = prepare(all, (enum app_part)i, e);
        buf_init(&ref, PATH_MAX + 8);
        buf_printf(&ref, "file:%s", all->of[i].path);
        all->keep.refs[i] = buf_take(&ref);
    }
    if (rc != 0) {
        app_keep_close(&all->keep);
        return -1;
    }
    *out = &all->keep;
    return 0;
}

void app_keep_close(struct app_keep *k)
{
    if (k != NULL) {
        for (int i = 0; i < APP_PARTS; i++) {
            free(k->refs[i]);
        }
        k->ops->close(k);
    }
}
