#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/fs.h"

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
    open_log_file(log);
}

/* A full disk loses console output, never the VM. */
void supervisor_log_write(struct supervisor_log *log, struct slice data)
{
    while (data.len > 0 && log->fd >= 0) {
        int64_t space = log->half_bytes - log->written;
        if (space <= 0) {
            close(log->fd);
            (void)rename(log->path, log->old_path);
            open_log_file(log);
            continue;
        }
        size_t part = (uint64_t)space < data.len ? (size_t)space : data.len;
        ssize_t n = write(log->fd, data.ptr, part);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        log->written += n;
        data.ptr += n;
        data.len -= (size_t)n;
    }
}

void supervisor_log_close(struct supervisor_log *log)
{
    if (log->fd >= 0) {
        close(log->fd);
        log->fd = -1;
    }
}
