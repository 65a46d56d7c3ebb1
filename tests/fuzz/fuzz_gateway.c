/* Any bytes where QEMU, the gateway or a guest's console may put them: the first byte chooses the reader, the second the size of the pieces, the
 * rest is what arrives. However it is cut, the same comes of it: whole frames, a report's words that are printable, a console's lines
 * without what acts on a terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "tests/fuzz/fuzz.h"
#include "worker/gateway/gateway.h"
#include "worker/supervisor/supervisor.h"

#define LONGEST_FRAME 69632 /* of QEMU */
#define LOG_BYTES 1000000

static char directory[64];

static void remove_directory(void)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/console.log", directory);
    (void)unlink(path);
    (void)rmdir(directory);
}

static void make_directory(void)
{
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof directory, "/tmp/mayfly-fuzz-XXXXXX");
        ASSERT(mkdtemp(directory) != NULL);
        ASSERT(atexit(remove_directory) == 0);
    }
}

/* --- QEMU's frames --- */

struct frames {
    struct slice left; /* what was sent and is not yet seen in a frame */
};

static size_t length_of(struct slice s)
{
    const unsigned char *at = (const unsigned char *)s.ptr;
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

static void skip(struct slice *s, size_t n)
{
    n = n < s->len ? n : s->len;
    s->ptr += n;
    s->len -= n;
}

/* Frames that are too long for a guest are passed over. */
static void pass_long_frames(struct slice *left)
{
    while (left->len >= 4 && length_of(*left) > NET_FRAME_MAX &&
           length_of(*left) <= LONGEST_FRAME) {
        skip(left, 4 + length_of(*left));
    }
}

static void check_next_frame(const uint8_t *frame, size_t len, void *arg)
{
    struct frames *f = arg;
    pass_long_frames(&f->left);
    ASSERT(f->left.len >= 4 + len && length_of(f->left) == len && len > 0 && len <= NET_FRAME_MAX);
    ASSERT(memcmp(f->left.ptr + 4, frame, len) == 0);
    skip(&f->left, 4 + len);
}

static void try_frames(struct slice text, size_t piece)
{
    struct frames f = {.left = text};
    int pair[2];
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    struct stream *s = stream_new(pair[0]);
    bool open = true;
    while (open && text.len > 0) {
        size_t n = text.len < piece ? text.len : piece;
        ASSERT(write(pair[1], text.ptr, n) == (ssize_t)n);
        skip(&text, n);
        open = stream_read(s, check_next_frame, &f);
    }
    pass_long_frames(&f.left);
    size_t next = f.left.len >= 4 ? length_of(f.left) : 1;
    ASSERT(open ? f.left.len < 4 || f.left.len < 4 + next : next == 0 || next > LONGEST_FRAME);
    stream_free(s);
    close(pair[1]);
}

/* --- the gateway's report --- */

static void check_printable(const char *text, size_t size)
{
    const char *end = memchr(text, '\0', size);
    ASSERT(end != NULL);
    for (const char *at = text; at < end; at++) {
        ASSERT(*at >= ' ' && *at <= '~');
    }
}

static void try_report(struct slice text, size_t piece)
{
    static struct supervisor_network n;
    static struct supervisor_network whole;
    n = (struct supervisor_network){0};
    whole = (struct supervisor_network){0};
    supervisor_network_take(&whole, text);
    while (text.len > 0) {
        size_t part = text.len < piece ? text.len : piece;
        supervisor_network_take(&n, (struct slice){text.ptr, part});
        skip(&text, part);
    }
    ASSERT(memcmp(&n, &whole, sizeof n) == 0);
    check_printable(n.last, sizeof n.last);
    for (size_t kind = 0; kind < NET_KINDS; kind++) {
        check_printable(n.notice.refused[kind].text, sizeof n.notice.refused[kind].text);
        ASSERT(n.notice.refused[kind].count >= 0);
    }
}

/* --- a guest's console --- */

static void log_in_pieces(struct slice text, size_t piece, struct buf *out)
{
    static struct supervisor_log log;
    struct err e;
    supervisor_log_open(&log, directory, LOG_BYTES);
    while (text.len > 0) {
        size_t part = text.len < piece ? text.len : piece;
        supervisor_log_write(&log, (struct slice){text.ptr, part});
        skip(&text, part);
    }
    supervisor_log_close(&log);
    ASSERT(fs_read(log.path, out, &e) == 0);
}

static void try_console(struct slice text, size_t piece)
{
    struct buf whole;
    struct buf pieces;
    make_directory();
    buf_init(&whole, LOG_BYTES);
    buf_init(&pieces, LOG_BYTES);
    log_in_pieces(text, text.len + 1, &whole);
    log_in_pieces(text, piece, &pieces);
    ASSERT(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    for (size_t i = 0; i < whole.len; i++) {
        unsigned char c = (unsigned char)whole.data[i];
        ASSERT(c == '\n' || (c >= ' ' && c != 0x7f));
    }
    buf_fini(&whole);
    buf_fini(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct slice, size_t) = {try_frames, try_report, try_console};
    if (size < 2) {
        return 0;
    }
    struct slice text = {(const char *)data + 2, size - 2};
    readers[data[0] % (sizeof readers / sizeof readers[0])](text, (size_t)data[1] + 1);
    return 0;
}
