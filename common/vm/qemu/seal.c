#include "common/vm/qemu/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/state.h"

#define SUMS "SHA256SUMS"
#define SUMS_MAX 1024
#define HEX_SIZE 65
#define CHUNK ((size_t)1 << 18)

static const char *const names[QEMU_SAVED_FILES] = {QEMU_SAVED_DISK, QEMU_SAVED_STATE,
                                                    QEMU_OVERLAY};

void qemu_seal_init(struct qemu_seal *s)
{
    *s = (struct qemu_seal){.good = {{.inode = 0}}};
    (void)pthread_mutex_init(&s->lock, NULL);
}

void qemu_seal_fini(struct qemu_seal *s)
{
    (void)pthread_mutex_destroy(&s->lock);
}

/* --- one file -------------------------------------------------------------------------------- */

static int64_t in_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct qemu_file_id id_of(const struct stat *st)
{
    return (struct qemu_file_id){.device = (int64_t)st->st_dev,
                                 .inode = (int64_t)st->st_ino,
                                 .size = st->st_size,
                                 .mtime_ns = in_ns(st->st_mtim),
                                 .ctime_ns = in_ns(st->st_ctim)};
}

static bool same_id(const struct qemu_file_id *a, const struct qemu_file_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

static int hash_to_end(int fd, EVP_MD_CTX *hash)
{
    char *chunk = malloc(CHUNK);
    ASSERT(chunk != NULL);
    ssize_t n;
    while ((n = read(fd, chunk, CHUNK)) != 0) {
        if (n > 0) {
            ASSERT(EVP_DigestUpdate(hash, chunk, (size_t)n) == 1);
        } else if (errno != EINTR) {
            break;
        }
    }
    free(chunk);
    return n == 0 ? 0 : -1;
}

static int hash_open_file(int fd, char *hex)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    ASSERT(hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    int rc = hash_to_end(fd, hash);
    if (rc == 0) {
        ASSERT(EVP_DigestFinal_ex(hash, digest, &len) == 1);
        codec_hex(digest, len, hex);
    }
    EVP_MD_CTX_free(hash);
    return rc;
}

/* The hash, and the identity that the file had before and after it was read. */
static int hash_file(const char *path, char *hex, struct qemu_file_id *id, struct err *e)
{
    struct stat before;
    struct stat after;
    int rc = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &before) != 0 || hash_open_file(fd, hex) != 0 ||
        fstat(fd, &after) != 0) {
        (void)err_errno(e, ERR_RETRY, errno, "cannot read %s", path);
    } else {
        struct qemu_file_id now = id_of(&after);
        *id = id_of(&before);
        rc = same_id(id, &now) ? 0
                               : err_set(e, ERR_RETRY, EBUSY, "%s changes while it is read", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int make_read_only(const char *path, struct err *e)
{
    return chmod(path, 0444) == 0 ? 0 : err_errno(e, ERR_RETRY, errno, "cannot seal %s", path);
}

/* --- the snapshot ---------------------------------------------------------------------------- */

int qemu_seal_make(const char *dir, const char *overlay, struct err *e)
{
    const char *const files[QEMU_SAVED_FILES] = {QEMU_SAVED_DISK, QEMU_SAVED_STATE, overlay};
    char path[PATH_MAX];
    char hex[HEX_SIZE];
    struct qemu_file_id id;
    struct buf sums;
    int rc = 0;
    buf_init(&sums, SUMS_MAX);
    for (size_t i = 0; rc == 0 && i < QEMU_SAVED_FILES; i++) {
        (void)qemu_path(path, dir, files[i]);
        rc = make_read_only(path, e) != 0 || hash_file(path, hex, &id, e) != 0 ? -1 : 0;
        if (rc == 0) {
            buf_printf(&sums, "%s  %s\n", hex, names[i]);
        }
    }
    if (rc == 0) {
        rc = fs_write_atomic(qemu_path(path, dir, SUMS), buf_slice(&sums), 0444, e) != 0
                 ? -1
                 : make_read_only(path, e);
    }
    buf_fini(&sums);
    return rc;
}

/* Empty if the file is not listed. */
static struct slice sealed_hash(struct slice sums, const char *name)
{
    struct slice line;
    struct slice hash;
    struct slice rest;
    while (sums.len > 0) {
        (void)slice_cut(sums, '\n', &line, &sums);
        (void)slice_cut(line, ' ', &hash, &rest);
        if (slice_eq_cstr(slice_trim(rest), name)) {
            return hash;
        }
    }
    return SLICE("");
}

static int check_file(const char *dir, const char *name, struct slice sums,
                      struct qemu_file_id *good, struct err *e)
{
    char path[PATH_MAX];
    char hex[HEX_SIZE];
    struct stat st;
    struct qemu_file_id id;
    if (lstat(qemu_path(path, dir, name), &st) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot look at %s", path);
    }
    id = id_of(&st);
    if (same_id(&id, good)) {
        return 0;
    }
    if (hash_file(path, hex, &id, e) != 0) {
        return -1;
    }
    struct slice sealed = sealed_hash(sums, name);
    if (!slice_eq_cstr(sealed, hex)) {
        return err_set(e, ERR_RETRY, EBADMSG,
                       "%s is not what was saved: its SHA-256 is %.16s…, " SUMS " has %.*s…", path,
                       hex, (int)(sealed.len < 16 ? sealed.len : 16), sealed.ptr);
    }
    *good = id;
    return 0;
}

int qemu_seal_check(struct qemu_seal *s, const char *dir, struct err *e)
{
    char path[PATH_MAX];
    struct buf sums;
    buf_init(&sums, SUMS_MAX);
    (void)pthread_mutex_lock(&s->lock);
    int rc = fs_read(qemu_path(path, dir, SUMS), &sums, e);
    for (size_t i = 0; rc == 0 && i < QEMU_SAVED_FILES; i++) {
        rc = check_file(dir, names[i], buf_slice(&sums), &s->good[i], e);
    }
    (void)pthread_mutex_unlock(&s->lock);
    buf_fini(&sums);
    if (rc != 0) {
        e->class = ERR_RETRY;
    }
    return rc;
}
