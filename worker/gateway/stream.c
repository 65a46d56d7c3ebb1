#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/gateway/gateway.h"

#define LENGTH_SIZE ((size_t)4)
/* The longest frame that QEMU sends (NET_BUFSIZE in its net/net.h). */
#define LENGTH_MAX 69632
#define INPUT_SIZE ((size_t)65536)
#define OUTPUT_SIZE ((size_t)1 << 20)

struct stream {
    int fd;
    bool broken;
    size_t skip; /* bytes of a frame that is too long */
    size_t in_len;
    size_t out_start;
    size_t out_end;
    uint8_t in[INPUT_SIZE];
    uint8_t out[OUTPUT_SIZE];
};

struct stream *stream_new(int fd)
{
    struct stream *s = malloc(sizeof *s);
    ASSERT(s != NULL);
    s->fd = fd;
    s->broken = false;
    s->skip = 0;
    s->in_len = 0;
    s->out_start = 0;
    s->out_end = 0;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return s;
}

void stream_free(struct stream *s)
{
    if (s != NULL) {
        close(s->fd);
        free(s);
    }
}

static size_t length_at(const uint8_t *at)
{
    return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* Takes whole frames from the beginning of the input; the rest is moved there. */
static void take_frames(struct stream *s, stream_frame_fn *take, void *arg)
{
    size_t at = 0;
    while (!s->broken) {
        size_t rest = s->in_len - at;
        if (s->skip > 0) {
            size_t part = s->skip < rest ? s->skip : rest;
            s->skip -= part;
            at += part;
            rest -= part;
        }
        if (rest < LENGTH_SIZE || s->skip > 0) {
            break;
        }
        size_t len = length_at(s->in + at);
        if (len == 0 || len > LENGTH_MAX) {
            s->broken = true;
        } else if (len > NET_FRAME_MAX) {
            at += LENGTH_SIZE;
            s->skip = len;
        } else if (rest < LENGTH_SIZE + len) {
            break;
        } else {
            take(s->in + at + LENGTH_SIZE, len, arg);
            at += LENGTH_SIZE + len;
        }
    }
    memmove(s->in, s->in + at, s->in_len - at);
    s->in_len -= at;
}

bool stream_read(struct stream *s, stream_frame_fn *take, void *arg)
{
    ssize_t n = read(s->fd, s->in + s->in_len, INPUT_SIZE - s->in_len);
    if (n > 0) {
        s->in_len += (size_t)n;
        take_frames(s, take, arg);
        return !s->broken;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

void stream_send(struct stream *s, const uint8_t *frame, size_t len)
{
    if (s->out_end + LENGTH_SIZE + len > OUTPUT_SIZE && s->out_start > 0) {
        memmove(s->out, s->out + s->out_start, s->out_end - s->out_start);
        s->out_end -= s->out_start;
        s->out_start = 0;
    }
    if (len > LENGTH_MAX || s->out_end + LENGTH_SIZE + len > OUTPUT_SIZE) {
        return;
    }
    uint8_t *at = s->out + s->out_end;
    at[0] = 0;
    at[1] = (uint8_t)(len >> 16);
    at[2] = (uint8_t)(len >> 8);
    at[3] = (uint8_t)len;
    memcpy(at + LENGTH_SIZE, frame, len);
    s->out_end += LENGTH_SIZE + len;
}

bool stream_flush(struct stream *s)
{
    while (s->out_start < s->out_end) {
        ssize_t n = write(s->fd, s->out + s->out_start, s->out_end - s->out_start);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        s->out_start += (size_t)n;
    }
    s->out_start = 0;
    s->out_end = 0;
    return true;
}

bool stream_has_output(const struct stream *s)
{
    return s->out_start < s->out_end;
}
