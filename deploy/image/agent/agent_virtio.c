#include "deploy/image/agent/agent_virtio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/payload/payload.h"

#define PORTS_DIR "/sys/class/virtio-ports"
#define LINE_MAX_BYTES 128
#define ANSWER_WAIT_MS 1000
#define HANG_UP_PAUSE_MS 2
#define HALF_FRAME_MS 1000

/* --- frames ----------------------------------------------------------------------------------- */

/* Removes a line from *in. False if it is incomplete; *too_long if it exceeds the limit. */
static bool next_frame_line(struct slice *in, struct slice *line, bool *too_long)
{
    size_t limit = in->len < LINE_MAX_BYTES ? in->len : LINE_MAX_BYTES;
    const char *nl = limit == 0 ? NULL : memchr(in->ptr, '\n', limit);
    if (nl == NULL) {
        *too_long = in->len >= LINE_MAX_BYTES;
        return false;
    }
    size_t n = (size_t)(nl - in->ptr);
    *line = (struct slice){in->ptr, n};
    in->ptr += n + 1;
    in->len -= n + 1;
    return true;
}

static bool is_hostname(struct slice s)
{
    if (s.len == 0 || s.len > FRAME_HOSTNAME_MAX || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-')) {
            return false;
        }
    }
    return true;
}

/* Parses the three lines after the payload into *out; NULL, or what is wrong. */
static const char *parse_trailer(const struct slice line[3], struct frame *out)
{
    if (!slice_to_int64(line[0], &out->wall_ms) || out->wall_ms <= 0) {
        return "bad-clock";
    }
    if (!is_hostname(line[1]) || !slice_to_cstr(line[1], out->hostname, sizeof(out->hostname))) {
        return "bad-hostname";
    }
    if (!codec_unhex(line[2], out->entropy, sizeof(out->entropy))) {
        return "bad-entropy";
    }
    return NULL;
}

/* Parses what follows a header with `len` bytes of payload. */
static enum frame_kind parse_body(struct slice rest, size_t len, struct frame *out,
                                  const char **out_reason, struct slice *out_rest)
{
    struct slice line[3];
    bool too_long = false;
    if (rest.len < len) {
        return FRAME_MORE;
    }
    struct frame frame = {.packed = {rest.ptr, len}};
    rest.ptr += len;
    rest.len -= len;
    for (size_t i = 0; i < COUNT_OF(line); i++) {
        if (!next_frame_line(&rest, &line[i], &too_long)) {
            *out_reason = "bad-frame";
            return too_long ? FRAME_BAD : FRAME_MORE;
        }
    }
    *out_reason = parse_trailer(line, &frame);
    if (*out_reason != NULL) {
        return FRAME_BAD;
    }
    *out = frame;
    *out_rest = rest;
    return FRAME_START;
}

enum frame_kind frame_parse(struct slice in, struct frame *out, size_t *out_used,
                            const char **out_reason)
{
    struct slice rest = in;
    struct slice header;
    bool too_long = false;
    int64_t len;
    if (!next_frame_line(&rest, &header, &too_long)) {
        *out_reason = "bad-header";
        return too_long ? FRAME_BAD : FRAME_MORE;
    }
    if (slice_eq_cstr(header, "MAYFLY1 END")) {
        *out_used = in.len - rest.len;
        return FRAME_END;
    }
    if (!slice_starts_with(header, SLICE("MAYFLY1 "))) {
        *out_reason = "bad-header";
        return FRAME_BAD;
    }
    if (!slice_to_int64((struct slice){header.ptr + 8, header.len - 8}, &len) || len < 1 ||
        len > PAYLOAD_PACKED_MAX) {
        *out_reason = "bad-length";
        return FRAME_BAD;
    }
    enum frame_kind kind = parse_body(rest, (size_t)len, out, out_reason, &rest);
    if (kind == FRAME_START) {
        *out_used = in.len - rest.len;
    }
    return kind;
}

/* --- the port --------------------------------------------------------------------------------- */

static bool port_has_name(const char *entry, const char *name)
{
    char path[300];
    struct buf text;
    struct err ignored;
    snprintf(path, sizeof(path), "%s/%s/name", PORTS_DIR, entry);
    buf_init(&text, 256);
    bool same =
        fs_read(path, &text, &ignored) == 0 && slice_eq_cstr(slice_trim(buf_slice(&text)), name);
    buf_fini(&text);
    return same;
}

int agent_port_find(const char *name, char *out, size_t size, struct err *e)
{
    DIR *dir = opendir(PORTS_DIR);
    int rc = -1;
    if (dir == NULL) {
        return err_errno(e, ERR_NOT_FOUND, errno, "no virtio-serial ports (%s)", PORTS_DIR);
    }
    for (struct dirent *d = readdir(dir); d != NULL && rc != 0; d = readdir(dir)) {
        if (d->d_name[0] != '.' && strlen(d->d_name) < size - 5 && port_has_name(d->d_name, name)) {
            snprintf(out, size, "/dev/%s", d->d_name);
            rc = 0;
        }
    }
    closedir(dir);
    return rc == 0 ? 0 : err_set(e, ERR_NOT_FOUND, 0, "no virtio-serial port named %s", name);
}

static int connect_unix(const char *path, struct err *e)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (!slice_to_cstr(slice_of(path), addr.sun_path, sizeof(addr.sun_path))) {
        return err_set(e, ERR_PERMANENT, 0, "%s: the path is too long for a socket", path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
        err_errno(e, ERR_RETRY, errno, "cannot connect to %s", path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

void agent_port_init(struct agent_port *p, int fd)
{
    struct stat st;
    *p = (struct agent_port){.fd = fd, .may_return = fstat(fd, &st) == 0 && S_ISCHR(st.st_mode)};
    buf_init(&p->input, FRAME_MAX);
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) {
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
}

int agent_port_open(struct agent_port *p, const char *path, struct err *e)
{
    struct stat st;
    int fd;
    if (stat(path, &st) != 0) {
        return err_errno(e, ERR_NOT_FOUND, errno, "cannot open %s", path);
    }
    if (S_ISSOCK(st.st_mode)) {
        fd = connect_unix(path, e);
        if (fd < 0) {
            return -1;
        }
    } else {
        int mode = S_ISREG(st.st_mode) ? O_RDONLY : O_RDWR;
        fd = open(path, mode | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0) {
            return err_errno(e, ERR_PERMANENT, errno, "cannot open %s", path);
        }
    }
    agent_port_init(p, fd);
    return 0;
}

void agent_port_fini(struct agent_port *p)
{
    if (p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
    if (p->input.data != NULL) {
        explicit_bzero(p->input.data, p->input.cap);
    }
    buf_fini(&p->input);
}

/* Discards a partial frame when the host has been disconnected for a while. Not at once: the first
 * bytes of a host may arrive before its connection is signalled (wait_writable). */
static void record_hang_up(struct agent_port *p, int64_t now_ms)
{
    if (p->hung_up_ms == 0) {
        p->hung_up_ms = now_ms;
    } else if (now_ms - p->hung_up_ms >= HALF_FRAME_MS) {
        buf_reset(&p->input);
    }
}

enum port_read agent_port_read(struct agent_port *p)
{
    char chunk[4096];
    if (p->fd < 0) {
        return PORT_GONE;
    }
    ssize_t n = read(p->fd, chunk, sizeof(chunk));
    if (n > 0) {
        buf_append(&p->input, (struct slice){chunk, (size_t)n});
        explicit_bzero(chunk, sizeof(chunk));
        p->hung_up_ms = 0;
        return PORT_BYTES;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        p->hung_up_ms = 0;
        return PORT_NOTHING;
    }
    if (p->may_return) {
        record_hang_up(p, clock_mono_ms());
        return PORT_NOTHING;
    }
    agent_port_fini(p);
    return PORT_GONE;
}

void agent_port_drop(struct agent_port *p, size_t n)
{
    ASSERT(n <= p->input.len);
    memmove(p->input.data, p->input.data + n, p->input.len - n);
    p->input.len -= n;
    p->input.failed = false;
    explicit_bzero(p->input.data + p->input.len, n);
}

/* Waits until the port is writable. A virtio port can deliver the host's bytes before the kernel
 * reports the host as connected: until then it looks hung up, so a hang-up is waited out too. */
static bool wait_writable(const struct agent_port *p, int64_t until_ms)
{
    struct pollfd pfd = {.fd = p->fd, .events = POLLOUT};
    int64_t now = clock_mono_ms();
    while (now < until_ms) {
        int n = poll(&pfd, 1, (int)(until_ms - now));
        if (n > 0 && (pfd.revents & POLLOUT) != 0) {
            return true;
        }
        if (n > 0 && !p->may_return) {
            return false;
        }
        now = clock_mono_ms();
        clock_sleep_until(now + HANG_UP_PAUSE_MS);
    }
    return false;
}

void agent_port_answer(struct agent_port *p, const char *line)
{
    char text[256];
    int64_t until_ms = clock_mono_ms() + ANSWER_WAIT_MS;
    int len = snprintf(text, sizeof(text), "%.240s\n", line);
    struct slice rest = {text, len > 0 ? (size_t)len : 0};
    while (p->fd >= 0 && rest.len > 0) {
        ssize_t n = send(p->fd, rest.ptr, rest.len, MSG_NOSIGNAL);
        if (n < 0 && errno == ENOTSOCK) {
            n = write(p->fd, rest.ptr, rest.len);
        }
        if (n > 0) {
            rest.ptr += n;
            rest.len -= (size_t)n;
        } else if ((n < 0 && errno != EAGAIN && errno != EINTR) || !wait_writable(p, until_ms)) {
            return;
        }
    }
}
