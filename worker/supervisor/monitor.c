#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/vm/qemu/qmp.h"
#include "worker/supervisor/supervisor.h"

/* A resumed VM repeats the request that failed; with less it would be paused again at once. */
#define RESUME_BYTES ((int64_t)64 << 20)
#define TRY_EVERY_MS 1000
#define PAUSE_MAX_MS 300000

/* A line that does not fit into the socket is lost: the next STOP or try repeats it. */
static void send_command(const struct supervisor_monitor *m, const char *name)
{
    char text[64];
    int n = snprintf(text, sizeof text, "{\"execute\":\"%s\"}\n", name);
    (void)!send(m->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void take_io_error(struct supervisor_monitor *m, const struct qmp_news *news,
                          struct supervisor_network *n)
{
    (void)snprintf(m->error, sizeof m->error, "%s: %s", news->operation, news->reason);
    supervisor_network_event(n, QEMU_EVENT_IO_ERROR, 1, m->error);
}

static void take_stop(struct supervisor_monitor *m)
{
    if (m->paused_ms == 0) {
        m->paused_ms = clock_mono_ms();
        m->status[0] = '\0';
    }
    send_command(m, "query-status");
}

static void take_status(struct supervisor_monitor *m, const struct qmp_news *news,
                        struct supervisor_network *n)
{
    char text[160];
    bool is_new = m->paused_ms != 0 && strcmp(news->status, "running") != 0 &&
                  strcmp(news->status, m->status) != 0;
    if (!is_new) {
        return;
    }
    memcpy(m->status, news->status, sizeof m->status);
    m->try_ms = clock_mono_ms();
    (void)snprintf(text, sizeof text, "%s%s%s", m->status, m->error[0] == '\0' ? "" : ": ",
                   m->error);
    supervisor_network_event(n, QEMU_EVENT_PAUSED, 1, text);
    if (strcmp(m->status, "internal-error") == 0) {
        (void)snprintf(m->end_reason, sizeof m->end_reason,
                       "paused: QEMU cannot run it any more (internal-error)");
    }
}

static void take_resume(struct supervisor_monitor *m, struct supervisor_network *n)
{
    char text[64];
    if (m->paused_ms != 0 && m->status[0] != '\0') {
        (void)snprintf(text, sizeof text, "after %lld s",
                       (long long)((clock_mono_ms() - m->paused_ms) / 1000));
        supervisor_network_event(n, QEMU_EVENT_RESUMED, 1, text);
    }
    m->paused_ms = 0;
    m->status[0] = '\0';
}

static void take_line(struct supervisor_monitor *m, struct supervisor_network *n)
{
    struct qmp_news news;
    struct slice line = {m->line, m->len};
    struct err ignored;
    if (qmp_classify(line, NULL, &ignored) == QMP_GREETING) {
        send_command(m, "qmp_capabilities");
        return;
    }
    qmp_news_of(line, &news);
    if (strcmp(news.event, "BLOCK_IO_ERROR") == 0) {
        take_io_error(m, &news, n);
    } else if (strcmp(news.event, "STOP") == 0) {
        take_stop(m);
    } else if (strcmp(news.event, "RESUME") == 0) {
        take_resume(m, n);
    } else if (news.status[0] != '\0') {
        take_status(m, &news, n);
    }
}

void supervisor_monitor_take(struct supervisor_monitor *m, struct slice data,
                             struct supervisor_network *n)
{
    for (size_t i = 0; i < data.len; i++) {
        if (data.ptr[i] == '\n') {
            take_line(m, n);
            m->len = 0;
        } else if (m->len < sizeof m->line) {
            m->line[m->len++] = data.ptr[i];
        }
    }
}

int64_t supervisor_monitor_due(struct supervisor_monitor *m, int64_t now_ms, int64_t free_bytes)
{
    if (m->paused_ms == 0 || strcmp(m->status, "io-error") != 0) {
        return INT64_MAX;
    }
    if (now_ms - m->paused_ms >= PAUSE_MAX_MS) {
        (void)snprintf(m->end_reason, sizeof m->end_reason, "paused for %d s: %s",
                       PAUSE_MAX_MS / 1000, m->error[0] == '\0' ? m->status : m->error);
        return INT64_MAX;
    }
    if (now_ms < m->try_ms) {
        return m->try_ms;
    }
    if (free_bytes >= RESUME_BYTES) {
        send_command(m, "cont");
    }
    m->try_ms = now_ms + TRY_EVERY_MS;
    return m->try_ms;
}
