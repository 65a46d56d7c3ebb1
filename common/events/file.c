/*
 * The sink that appends lines to a file. Each batch is one write, so that several programs can
 * share the file. When the path names another file, or none (rotation), it is opened anew. A line
 * that a full disk cut is left as it is: the next write begins a new line and repeats it whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/events/record.h"
#include "common/events/sink.h"

#define FILE_MODE 0640

struct event_file {
    char *path;
    int fd; /* -1: not open */
    struct stat opened;
    bool in_line; /* the file ends within a line */
    struct buf batch;
};

static int file_open(const struct sink_target *target, struct sink *sink, void **out, struct err *e)
{
    struct event_file *f = calloc(1, sizeof *f);
    (void)sink;
    (void)e;
    ASSERT(f != NULL);
    f->path = strdup(target->url);
    ASSERT(f->path != NULL);
    f->fd = -1;
    buf_init(&f->batch, (size_t)SINK_BATCH_MAX * (EVENT_MAX_BYTES + 2));
    *out = f;
    return 0;
}

static void close_descriptor(struct event_file *f)
{
    if (f->fd >= 0) {
        close(f->fd);
    }
    f->fd = -1;
}

static void file_close(void *state)
{
    struct event_file *f = state;
    close_descriptor(f);
    buf_fini(&f->batch);
    free(f->path);
    free(f);
}

/* Whether a file that another process left ends within a line. False if that cannot be read. */
static bool ends_within_line(const char *path, const struct stat *st)
{
    char last = '\n';
    if (!S_ISREG(st->st_mode) || st->st_size == 0) {
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (pread(fd, &last, 1, st->st_size - 1) != 1) {
            last = '\n';
        }
        close(fd);
    }
    return last != '\n';
}

/* O_NONBLOCK: a pipe that nobody reads must not hold the thread. */
static int open_for_append(const char *path, int more, struct err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK | more, FILE_MODE);
    if (fd < 0) {
        return err_set(e, ERR_RETRY, errno, "cannot open %s for appending: %s", path,
                       strerror(errno));
    }
    return fd;
}

static int open_events_file(struct event_file *f, struct err *e)
{
    f->fd = open_for_append(f->path, O_CREAT, e);
    if (f->fd < 0) {
        return -1;
    }
    if (fstat(f->fd, &f->opened) != 0) {
        close_descriptor(f);
        return err_set(e, ERR_RETRY, errno, "cannot read the state of %s", f->path);
    }
    f->in_line = ends_within_line(f->path, &f->opened);
    return 0;
}

static void close_if_rotated(void *state)
{
    struct event_file *f = state;
    struct stat now;
    if (f->fd >= 0 && (stat(f->path, &now) != 0 || now.st_ino != f->opened.st_ino ||
                       now.st_dev != f->opened.st_dev)) {
        close_descriptor(f);
    }
}

/* How many whole lines are in the first `bytes` of the batch. */
static size_t whole_lines(const struct sink_record *records, size_t n, size_t bytes)
{
    size_t i = 0;
    while (i < n && records[i].json.len + 1 <= bytes) {
        bytes -= records[i].json.len + 1;
        i++;
    }
    return i;
}

static size_t file_write(void *state, const struct sink_record *records, size_t n, struct err *e)
{
    struct event_file *f = state;
    close_if_rotated(f);
    if (f->fd < 0 && open_events_file(f, e) != 0) {
        return 0;
    }
    size_t before = f->in_line ? 1 : 0;
    buf_reset(&f->batch);
    buf_append(&f->batch, (struct slice){"\n", before});
    for (size_t i = 0; i < n; i++) {
        buf_append(&f->batch, records[i].json);
        buf_append_byte(&f->batch, '\n');
    }
    ASSERT(!f->batch.failed);
    ssize_t written = write(f->fd, f->batch.data, f->batch.len);
    int code = errno;
    if (written < 0) {
        (void)err_set(e, ERR_RETRY, code, "cannot write to %s: %s", f->path, strerror(code));
        if (code != EAGAIN && code != EINTR) {
            close_descriptor(f); /* opened anew, in case it was the file and not the disk */
        }
        return 0;
    }
    size_t bytes = (size_t)written > before ? (size_t)written - before : 0;
    if (written > 0) {
        f->in_line = f->batch.data[written - 1] != '\n';
    }
    if ((size_t)written < f->batch.len) {
        (void)err_set(e, ERR_RETRY, 0, "%s took only a part of the records: is its disk full?",
                      f->path);
        return whole_lines(records, n, bytes);
    }
    return n;
}

static int64_t file_flush(void *state, int64_t timeout_ms)
{
    (void)state;
    (void)timeout_ms;
    return 0;
}

const struct sink_ops sink_ops_file = {
    .name = "file",
    .open = file_open,
    .write = file_write,
    .idle = close_if_rotated,
    .flush = file_flush,
    .close = file_close,
};
