#include "common/github/webhook_report.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/github/webhook.h"

static struct metric *unrouted(enum config_mismatch why)
{
    struct buf label;
    buf_init(&label, 128);
    metrics_label(&label, "reason", config_mismatch_name(why));
    struct metric *m = metrics_counter("mayfly_jobs_unrouted_total", label.data);
    buf_fini(&label);
    return m;
}

void webhook_report_open(void)
{
    for (enum config_mismatch m = CONFIG_NO_LABELS; m <= CONFIG_LABELS_IN_ONE; m++) {
        (void)unrouted(m);
    }
}

void webhook_report_ignored(const struct config *c, const struct job_event *ev, const char *reason)
{
    struct config_nearest nearest;
    struct buf hint;
    if (strcmp(reason, WEBHOOK_REASON_LABELS) != 0 &&
        strcmp(reason, WEBHOOK_REASON_NO_LABELS) != 0) {
        log_info_limited("job_ignored", LOG_INT("job_id", ev->job.id),
                         LOG_STR("repository", ev->job.repository), LOG_STR("reason", reason),
                         LOG_STR("delivery_id", ev->delivery));
        return;
    }
    config_nearest_class(c, ev->job.labels, &nearest);
    metric_inc(unrouted(nearest.shares_defaults_only ? CONFIG_NO_COMMON_LABEL : nearest.mismatch));
    buf_init(&hint, 2048);
    config_nearest_describe(&nearest, &hint);
    log_info_limited("job_ignored", LOG_INT("job_id", ev->job.id),
                     LOG_STR("repository", ev->job.repository), LOG_STR("reason", reason),
                     LOG_STR("labels", ev->job.labels),
                     LOG_STR("nearest_class", nearest.class != NULL ? nearest.class->name : ""),
                     LOG_SLICE("label", nearest.label), LOG_SLICE("hint", buf_slice(&hint)),
                     LOG_STR("delivery_id", ev->delivery));
    buf_fini(&hint);
}

void webhook_report_refused(const struct job_event *ev, const char *reason)
{
    log_warn("job_refused", LOG_INT("job_id", ev->job.id),
             LOG_STR("repository", ev->job.repository), LOG_STR("class", ev->job.class_name),
             LOG_STR("reason", reason), LOG_STR("delivery_id", ev->delivery));
}
