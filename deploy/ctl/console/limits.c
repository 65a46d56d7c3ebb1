#include "common/base/metrics.h"
#include "common/http/server.h"
#include "deploy/ctl/console/console.h"

static const char *const limits[] = {
    HTTP_LIMIT_CONNECTIONS, HTTP_LIMIT_HEAD,        HTTP_LIMIT_RESPONSE_TIME,
    HTTP_LIMIT_STALLED,     HTTP_LIMIT_UNREAD,      CONSOLE_LIMIT_REQUESTS,
    CONSOLE_LIMIT_RESPONSE, CONSOLE_LIMIT_SNAPSHOT, CONSOLE_LIMIT_VIEWERS,
};

static struct metric *counter_of(const char *limit)
{
    struct buf label;
    buf_init(&label, 64);
    metrics_label(&label, "limit", limit);
    struct metric *m = metrics_counter("mayfly_console_limits_reached_total", label.data);
    buf_fini(&label);
    return m;
}

void console_metrics_begin(void)
{
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        (void)counter_of(limits[i]);
    }
    console_show_viewers(0);
}

void console_limit_reached(const char *limit)
{
    metric_inc(counter_of(limit));
}

void console_show_viewers(size_t n)
{
    metric_set(metrics_gauge("mayfly_console_viewers", ""), (int64_t)n);
}
