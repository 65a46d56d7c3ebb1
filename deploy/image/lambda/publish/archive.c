#include "deploy/image/lambda/publish/archive.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/base/codec.h"

/* PKWARE's APPNOTE.TXT, 4.3: local headers with data, the central directory, its end. */
#define LOCAL_MARK 0x04034b50U
#define LOCAL_SIZE 30
#define CENTRAL_MARK 0x02014b50U
#define CENTRAL_SIZE 46
#define END_MARK 0x06054b50U
#define END_SIZE 22
#define COMMENT_MAX 65535
#define HAS_DESCRIPTOR 0x0008U
#define IS_ENCRYPTED 0x0001U
#define STORED 0
#define DEFLATED 8
#define NAME "Dockerfile"

static uint32_t read_number(const char *p, int bytes)
{
    uint32_t n = 0;
    for (int i = bytes - 1; i >= 0; i--) {
        n = n << 8 | (unsigned char)p[i];
    }
    return n;
}

static void write_number(char *p, uint32_t n, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        p[i] = (char)(n >> (8 * i) & 0xff);
    }
}

/* An entry of the central directory, whose parts lie within the archive. */
struct entry {
    const char *central;
    size_t central_len;
    struct slice name;
    struct slice data; /* as stored */
    uint32_t method;
    uint32_t size; /* when inflated */
};

struct directory {
    struct slice zip;
    size_t at; /* of the next entry */
    uint32_t left;
};

static int refuse(struct err *e, const char *what)
{
    return err_set(e, ERR_PERMANENT, 0, "the archive %s: create one with build-zip", what);
}

static int open_directory(struct slice zip, struct directory *out, struct err *e)
{
    for (size_t back = END_SIZE; back <= zip.len && back <= END_SIZE + COMMENT_MAX; back++) {
        const char *end = zip.ptr + zip.len - back;
        if (read_number(end, 4) == END_MARK) {
            *out = (struct directory){
                .zip = zip, .at = read_number(end + 16, 4), .left = read_number(end + 10, 2)};
            return 0;
        }
    }
    return refuse(e, "is not a zip archive");
}

/* Whether so many bytes lie there. */
static bool holds(const struct directory *d, size_t at, size_t len)
{
    return at <= d->zip.len && len <= d->zip.len - at;
}

static int read_local(const struct directory *d, struct entry *entry, struct err *e)
{
    size_t at = read_number(entry->central + 42, 4);
    size_t len = read_number(entry->central + 20, 4);
    if (!holds(d, at, LOCAL_SIZE) || read_number(d->zip.ptr + at, 4) != LOCAL_MARK) {
        return refuse(e, "is damaged");
    }
    at += LOCAL_SIZE + read_number(d->zip.ptr + at + 26, 2) + read_number(d->zip.ptr + at + 28, 2);
    if (!holds(d, at, len)) {
        return refuse(e, "is damaged");
    }
    entry->data = (struct slice){d->zip.ptr + at, len};
    return 0;
}

/* d->left must not be 0. */
static int next_entry(struct directory *d, struct entry *out, struct err *e)
{
    const char *p = d->zip.ptr + d->at;
    if (!holds(d, d->at, CENTRAL_SIZE) || read_number(p, 4) != CENTRAL_MARK) {
        return refuse(e, "is damaged");
    }
    size_t name = read_number(p + 28, 2);
    *out = (struct entry){.central = p,
                          .central_len =
                              CENTRAL_SIZE + name + read_number(p + 30, 2) + read_number(p + 32, 2),
                          .name = {p + CENTRAL_SIZE, name},
                          .method = read_number(p + 10, 2),
                          .size = read_number(p + 24, 4)};
    if (!holds(d, d->at, out->central_len)) {
        return refuse(e, "is damaged");
    }
    bool usable = (read_number(p + 8, 2) & IS_ENCRYPTED) == 0 &&
                  (out->method == STORED || out->method == DEFLATED) && out->size != UINT32_MAX;
    if (!usable) {
        return refuse(e, "has an entry that is encrypted, or too large, or packed in another way");
    }
    d->at += out->central_len;
    d->left--;
    return read_local(d, out, e);
}

static int inflate_entry(const struct entry *entry, struct buf *out, struct err *e)
{
    if (entry->size > ARCHIVE_DOCKERFILE_MAX) {
        return refuse(e, "has a Dockerfile above 1 MiB");
    }
    if (entry->method == STORED) {
        buf_append(out, entry->data);
        return 0;
    }
    char *text = malloc(entry->size + 1);
    ASSERT(text != NULL);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)entry->data.ptr,
                  .avail_in = (uInt)entry->data.len,
                  .next_out = (Bytef *)text,
                  .avail_out = entry->size + 1};
    ASSERT(inflateInit2(&z, -MAX_WBITS) == Z_OK);
    int end = inflate(&z, Z_FINISH);
    bool whole = end == Z_STREAM_END && z.total_out == entry->size;
    (void)inflateEnd(&z);
    if (whole) {
        buf_append(out, (struct slice){text, entry->size});
    }
    free(text);
    return whole ? 0 : refuse(e, "is damaged");
}

int archive_read_dockerfile(struct slice zip, struct buf *out, struct err *e)
{
    struct directory d;
    if (open_directory(zip, &d, e) != 0) {
        return -1;
    }
    while (d.left > 0) {
        struct entry entry;
        if (next_entry(&d, &entry, e) != 0) {
            return -1;
        }
        if (slice_eq_cstr(entry.name, NAME)) {
            return inflate_entry(&entry, out, e);
        }
    }
    return refuse(e, "has no Dockerfile at its root");
}

/* --- writing --- */

static void append_local(struct buf *out, const char *central, struct slice name, struct slice data)
{
    char head[LOCAL_SIZE] = {0};
    write_number(head, LOCAL_MARK, 4);
    memcpy(head + 4, central + 6, 22); /* version to uncompressed size, the same in both */
    write_number(head + 6, read_number(head + 6, 2) & ~HAS_DESCRIPTOR, 2);
    write_number(head + 26, (uint32_t)name.len, 2);
    buf_append(out, (struct slice){head, sizeof head});
    buf_append(out, name);
    buf_append(out, data);
}

/* Appends the entry, and to `directory` its line of the central directory. */
static void append_entry(struct buf *out, struct buf *directory, const struct entry *entry,
                         const struct slice *replacement)
{
    char head[CENTRAL_SIZE];
    memcpy(head, entry->central, sizeof head);
    write_number(head + 8, read_number(head + 8, 2) & ~HAS_DESCRIPTOR, 2);
    write_number(head + 42, (uint32_t)out->len, 4);
    if (replacement != NULL) {
        uLong crc = crc32(0, (const Bytef *)replacement->ptr, (uInt)replacement->len);
        write_number(head + 10, STORED, 2);
        write_number(head + 16, (uint32_t)crc, 4);
        write_number(head + 20, (uint32_t)replacement->len, 4);
        write_number(head + 24, (uint32_t)replacement->len, 4);
    }
    append_local(out, head, entry->name, replacement != NULL ? *replacement : entry->data);
    buf_append(directory, (struct slice){head, sizeof head});
    buf_append(directory,
               (struct slice){entry->central + CENTRAL_SIZE, entry->central_len - CENTRAL_SIZE});
}

static void append_end(struct buf *out, const struct buf *directory, uint32_t entries)
{
    char end[END_SIZE] = {0};
    write_number(end, END_MARK, 4);
    write_number(end + 8, entries, 2);
    write_number(end + 10, entries, 2);
    write_number(end + 12, (uint32_t)directory->len, 4);
    write_number(end + 16, (uint32_t)out->len, 4);
    buf_append(out, buf_slice(directory));
    buf_append(out, (struct slice){end, sizeof end});
}

int archive_replace_dockerfile(struct slice zip, struct slice dockerfile, struct buf *out,
                               struct err *e)
{
    struct directory d;
    struct buf directory;
    if (open_directory(zip, &d, e) != 0) {
        return -1;
    }
    uint32_t entries = d.left;
    int rc = 0;
    buf_init(&directory, zip.len + 1);
    while (rc == 0 && d.left > 0) {
        struct entry entry;
        rc = next_entry(&d, &entry, e);
        if (rc == 0) {
            append_entry(out, &directory, &entry,
                         slice_eq_cstr(entry.name, NAME) ? &dockerfile : NULL);
        }
    }
    if (rc == 0) {
        append_end(out, &directory, entries);
    }
    if (rc == 0 && (out->failed || directory.failed)) {
        rc = refuse(e, "is too large");
    }
    buf_fini(&directory);
    return rc;
}

/* --- the Dockerfile --- */

/* Whether the line is "ARG name=…"; its value without quotes then. */
static bool is_arg(struct slice line, const char *name, struct slice *value)
{
    struct slice key;
    if (!slice_starts_with(line, SLICE("ARG ")) ||
        !slice_cut((struct slice){line.ptr + 4, line.len - 4}, '=', &key, value) ||
        !slice_eq_cstr(key, name)) {
        return false;
    }
    if (value->len >= 2 && value->ptr[0] == '"' && value->ptr[value->len - 1] == '"') {
        *value = (struct slice){value->ptr + 1, value->len - 2};
    }
    return true;
}

struct slice archive_arg(struct slice dockerfile, const char *name)
{
    struct slice line;
    struct slice value;
    while (dockerfile.len > 0) {
        (void)slice_cut(dockerfile, '\n', &line, &dockerfile);
        if (is_arg(line, name, &value)) {
            return value;
        }
    }
    return (struct slice){NULL, 0};
}

void archive_set_arg(struct slice dockerfile, const char *name, const char *value, struct buf *out)
{
    struct slice line;
    struct slice before;
    while (dockerfile.len > 0) {
        bool ended = slice_cut(dockerfile, '\n', &line, &dockerfile);
        if (is_arg(line, name, &before)) {
            buf_printf(out, "ARG %s=\"%s\"", name, value);
        } else {
            buf_append(out, line);
        }
        buf_append_cstr(out, ended ? "\n" : "");
    }
}

/* --- the runner --- */

int archive_put_runner(struct slice zip, const char *version, const char *sha256, struct buf *out,
                       struct err *e)
{
    struct buf dockerfile;
    struct buf named;
    struct buf whole;
    buf_init(&dockerfile, ARCHIVE_DOCKERFILE_MAX);
    buf_init(&named, ARCHIVE_DOCKERFILE_MAX);
    buf_init(&whole, ARCHIVE_DOCKERFILE_MAX);
    int rc = archive_read_dockerfile(zip, &dockerfile, e);
    if (rc == 0) {
        archive_set_arg(buf_slice(&dockerfile), "RUNNER_VERSION", version, &named);
        archive_set_arg(buf_slice(&named), "RUNNER_SHA256", sha256, &whole);
        rc = archive_replace_dockerfile(zip, buf_slice(&whole), out, e);
    }
    buf_fini(&whole);
    buf_fini(&named);
    buf_fini(&dockerfile);
    return rc;
}

void archive_hash(struct slice zip, char out_hex[ARCHIVE_HASH_SIZE])
{
    unsigned char digest[32];
    ASSERT(EVP_Digest(zip.ptr, zip.len, digest, NULL, EVP_sha256(), NULL) == 1);
    codec_hex(digest, sizeof digest, out_hex);
}

int archive_hash_contents(struct slice zip, char out_hex[ARCHIVE_HASH_SIZE], struct err *e)
{
    struct buf without;
    buf_init(&without, zip.len + ARCHIVE_DOCKERFILE_MAX);
    int rc = archive_put_runner(zip, "", "", &without, e);
    if (rc == 0) {
        archive_hash(buf_slice(&without), out_hex);
    }
    buf_fini(&without);
    return rc;
}
