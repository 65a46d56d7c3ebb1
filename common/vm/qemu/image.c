#include "common/vm/qemu/image.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/payload/payload.h"

#define IMAGE_JSON_MAX 65536

void qemu_digest(struct slice text, char *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    int ok = EVP_Digest(text.ptr, text.len, digest, &len, EVP_sha256(), NULL);
    ASSERT(ok == 1 && len == 32);
    codec_hex(digest, len, out);
}

void qemu_image_fini(struct qemu_image *image)
{
    free(image->name);
    free(image->version);
    free(image->arch);
    free(image->kernel);
    free(image->initrd);
    free(image->disk);
    free(image->cmdline);
    free(image->runner_version);
    *image = (struct qemu_image){0};
}

static int text_member(const json_t *tree, const char *key, const char *path, char **out,
                       struct err *e)
{
    const char *value = json_string_value(json_object_get(tree, key));
    if (value == NULL || *value == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "%s: \"%s\" must be a text that is not empty", path,
                       key);
    }
    *out = slice_dup(slice_of(value));
    return 0;
}

/* A file of the image: its absolute path; its size and time go into the identity. */
static int file_member(const json_t *tree, const char *key, const char *directory, char **out,
                       struct buf *identity, struct err *e)
{
    const char *name = json_string_value(json_object_get(tree, key));
    char path[PATH_MAX];
    struct stat st;
    if (name == NULL || *name == '\0' || strchr(name, '/') != NULL || name[0] == '.') {
        return err_set(e, ERR_PERMANENT, 0,
                       "%s/image.json: \"%s\" must be the name of a file in that directory",
                       directory, key);
    }
    int n = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "%s/%s is too long", directory, name);
    }
    if (stat(path, &st) != 0) {
        return err_errno(e, ERR_PERMANENT, errno,
                         "the image's %s %s cannot be used (build the image again)", key, path);
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        return err_set(e, ERR_PERMANENT, 0, "the image's %s %s is no file or empty", key, path);
    }
    buf_printf(identity, "\n%s %lld %lld.%09ld", path, (long long)st.st_size,
               (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    *out = slice_dup(slice_of(path));
    return 0;
}

static uint64_t big_endian(const unsigned char *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The size the guest will see: of a qcow2 file from its header (docs/interop/qcow2.txt in QEMU:
 * magic at 0, version at 4, virtual size at 24), of any other file its own. */
static int read_disk(struct qemu_image *image, struct err *e)
{
    unsigned char head[32] = {0};
    struct stat st;
    int fd = open(image->disk, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int errnum = errno;
        if (fd >= 0) {
            close(fd);
        }
        return err_errno(e, ERR_PERMANENT, errnum, "cannot read the base disk %s", image->disk);
    }
    ssize_t n = read(fd, head, sizeof head);
    close(fd);
    image->disk_is_qcow2 = n == (ssize_t)sizeof head && memcmp(head, "QFI\xfb", 4) == 0;
    image->disk_bytes = image->disk_is_qcow2 ? (int64_t)big_endian(head + 24, 8) : st.st_size;
    if (image->disk_bytes <= 0 || image->disk_bytes > (int64_t)1 << 50 ||
        (image->disk_is_qcow2 && big_endian(head + 4, 4) < 2)) {
        return err_set(e, ERR_PERMANENT, 0, "the base disk %s has no usable size", image->disk);
    }
    return 0;
}

/* QEMU's name of the architecture; Debian's is accepted too. */
static int normalize_arch(struct qemu_image *image, const char *path, struct err *e)
{
    static const char *const known[][2] = {
        {"x86_64", "x86_64"}, {"amd64", "x86_64"}, {"aarch64", "aarch64"}, {"arm64", "aarch64"}};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(image->arch, known[i][0]) == 0) {
            free(image->arch);
            image->arch = slice_dup(slice_of(known[i][1]));
            return 0;
        }
    }
    return err_set(e, ERR_PERMANENT, 0, "%s: \"arch\" is \"%s\", not amd64 or arm64", path,
                   image->arch);
}

/* An agent of another release refuses the payload, and its VM ends (`bad-payload`). */
static int check_protocol(const json_t *tree, const char *path, struct err *e)
{
    const json_t *protocol = json_object_get(tree, "protocol");
    if (protocol == NULL || json_integer_value(protocol) == PAYLOAD_VERSION) {
        return 0;
    }
    return err_set(e, ERR_PERMANENT, 0,
                   "%s: its agent has protocol %lld, this program %d: build the image again with "
                   "this release, or use the former one (mayfly-build-runner-image --use)",
                   path, (long long)json_integer_value(protocol), PAYLOAD_VERSION);
}

static int read_members(const json_t *tree, const char *directory, const char *path,
                        struct buf *identity, struct qemu_image *image, struct err *e)
{
    const char *runner = json_string_value(json_object_get(tree, "runner_version"));
    image->runner_version = slice_dup(slice_of(runner != NULL ? runner : ""));
    if (check_protocol(tree, path, e) != 0 ||
        text_member(tree, "name", path, &image->name, e) != 0 ||
        text_member(tree, "version", path, &image->version, e) != 0 ||
        text_member(tree, "arch", path, &image->arch, e) != 0 ||
        text_member(tree, "cmdline", path, &image->cmdline, e) != 0 ||
        file_member(tree, "kernel", directory, &image->kernel, identity, e) != 0 ||
        file_member(tree, "initrd", directory, &image->initrd, identity, e) != 0 ||
        file_member(tree, "disk", directory, &image->disk, identity, e) != 0 ||
        read_disk(image, e) != 0) {
        return -1;
    }
    return normalize_arch(image, path, e);
}

int qemu_image_built(const char *directory, int64_t *built_ms, struct err *e)
{
    char path[PATH_MAX + 16];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/image.json", directory);
    if (stat(path, &st) != 0) {
        return err_errno(e, ERR_NOT_FOUND, errno, "there is no image at %s", directory);
    }
    *built_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 0;
}

int qemu_image_load(const char *directory, struct qemu_image *out, struct err *e)
{
    struct qemu_image image = {0};
    char real[PATH_MAX];
    char path[PATH_MAX + 16];
    struct buf text;
    struct buf identity;
    json_error_t where;
    json_t *tree = NULL;
    int rc = -1;

    buf_init(&text, IMAGE_JSON_MAX);
    buf_init(&identity, IMAGE_JSON_MAX + (size_t)4 * PATH_MAX);
    if (realpath(directory, real) == NULL) {
        (void)err_errno(e, ERR_PERMANENT, errno, "there is no image at %s", directory);
        goto out;
    }
    (void)snprintf(path, sizeof path, "%s/image.json", real);
    if (fs_read(path, &text, e) != 0) {
        e->class = ERR_PERMANENT;
        goto out;
    }
    tree = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(tree)) {
        (void)err_set(e, ERR_PERMANENT, 0, "%s:%d: %s", path, tree == NULL ? where.line : 1,
                      tree == NULL ? where.text : "an object is wanted");
        goto out;
    }
    buf_append(&identity, buf_slice(&text));
    if (read_members(tree, real, path, &identity, &image, e) != 0) {
        goto out;
    }
    qemu_digest(buf_slice(&identity), image.identity);
    *out = image;
    image = (struct qemu_image){0};
    rc = 0;
out:
    qemu_image_fini(&image);
    json_decref(tree);
    buf_fini(&identity);
    buf_fini(&text);
    return rc;
}
