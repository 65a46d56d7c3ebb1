#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/printable.h"

static void drop_older_half(struct supervisor_log *log)
{
    struct stat st;
    log->dropped += stat(log->old_path, &st) == 0 ? st.st_size : 0;
    (void)rename(log->path, log->old_path);
}

static void open_log_file(struct supervisor_log *log)
{
    log->fd = fs_create(log->path, O_WRONLY | O_TRUNC | O_NOFOLLOW, 0640);
    log->written = 0;
}

void supervisor_log_open(struct supervisor_log *log, const char *dir, int64_t limit_bytes)
{
    (void)snprintf(log->path, sizeof log->path, "%s/console.log", dir);
    (void)snprintf(log->old_path, sizeof log->old_path, "%s.1", log->path);
    log->half_bytes = limit_bytes / 2 > 0 ? limit_bytes / 2 : 1;
    log->unfinished_len = 0;
    log->dropped = 0;
    open_log_file(log);
}

/* A full disk loses console output, never the VM. */
static void write_escaped(struct supervisor_log *log, struct slice data)
{
    while (data.len > 0 && log->fd >= 0) {
        int64_t space = log->half_bytes - log->written;
        if (space <= 0) {
            close(log->fd);
            drop_older_half(log);
            open_log_file(log);
            continue;
        }
        size_t part = (uint64_t)space < data.len ? (size_t)space : data.len;
        ssize_t n = write(log->fd, data.ptr, part);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        log->written += n;
        data.ptr += n;
        data.len -= (size_t)n;
    }
    log->dropped += (int64_t)data.len;
}

/* Ends of lines stay; a console has CR LF. */
static void escape_lines(struct buf *out, struct slice text)
{
    struct slice line;
    while (text.len > 0) {
        bool ends = slice_cut(text, '\n', &line, &text);
        if (ends && line.len > 0 && line.ptr[line.len - 1] == '\r') {
            line.len--;
        }
        printable_append(out, line);
        if (ends) {
            buf_append_byte(out, '\n');
        }
    }
}

void supervisor_log_write(struct supervisor_log *log, struct slice data)
{
    struct buf text;
    struct buf shown;
    buf_init(&text, sizeof log->unfinished + data.len);
    buf_append(&text, (struct slice){log->unfinished, log->unfinished_len});
    buf_append(&text, data);
    struct slice whole = buf_slice(&text);
    bool cr = whole.len > 0 && whole.ptr[whole.len - 1] == '\r';
    log->unfinished_len = cr ? 1 : printable_unfinished(whole);
    whole.len -= log->unfinished_len;
    if (log->unfinished_len > 0) {
        memcpy(log->unfinished, whole.ptr + whole.len, log->unfinished_len);
    }
    buf_init(&shown, whole.len * PRINTABLE_GROWTH + 1);
    escape_lines(&shown, whole);
    write_escaped(log, buf_slice(&shown));
    buf_fini(&shown);
    buf_fini(&text);
}

void supervisor_log_close(struct supervisor_log *log)
{
    if (log->fd >= 0) {
        close(log->fd);
        log->fd = -1;
    }
}
