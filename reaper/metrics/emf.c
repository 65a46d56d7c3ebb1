/* Source: AWS, "Specification: Embedded metric format", in the CloudWatch user guide. */
#include "reaper/metrics/emf.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/fleet/subject.h"
#include "common/job/lane.h"
#include "reaper/metrics/gauges.h"

#define NAMESPACE "Mayfly"
#define WAIT_MS 1000
#define ALL_LIMIT_BYTES (64 * EMF_DOCUMENT_MAX_BYTES)

/* How the values of several classes become the fleet's. */
enum fold { FOLD_SUM, FOLD_MAX };

/* One metric of a document, by its series: `series`, with the labels of the class (or lane) and
 * `state`. */
struct field {
    const char *name;
    const char *unit;
    const char *series;
    const char *state; /* NULL: the series has no such label */
    enum fold fold;
};

static const struct field class_fields[] = {
    {"jobs_waiting", "Count", "mayfly_fleet_jobs", "waiting", FOLD_SUM},
    {"jobs_running", "Count", "mayfly_fleet_jobs", "running", FOLD_SUM},
    {"vms_launched", "Count", "mayfly_fleet_vms", "launched", FOLD_SUM},
    {"vms_busy", "Count", "mayfly_fleet_vms", "busy", FOLD_SUM},
    {"slots_used", "Count", "mayfly_fleet_slots_used", NULL, FOLD_SUM},
    {"demand", "Count", "mayfly_fleet_demand", NULL, FOLD_SUM},
    {"supply", "Count", "mayfly_fleet_supply", NULL, FOLD_SUM},
    {"launchable_backlog", "Count", "mayfly_fleet_launchable_backlog", NULL, FOLD_SUM},
    {"oldest_wait", "Seconds", "mayfly_fleet_oldest_wait_seconds", NULL, FOLD_MAX},
    {"oldest_launchable_wait", "Seconds", "mayfly_fleet_oldest_launchable_wait_seconds", NULL,
     FOLD_MAX},
    {"runner_image_age", "Seconds", "mayfly_runner_image_age_seconds", NULL, FOLD_MAX},
    {"images_recalled", "Count", "mayfly_image_base_recalled", NULL, FOLD_SUM},
    {"images_rejected", "Count", "mayfly_image_rejected", NULL, FOLD_SUM},
};

/* Of the class's document alone. */
static const struct field slots_max = {"slots_max", "Count", "mayfly_fleet_slots_max", NULL,
                                       FOLD_SUM};
static const struct field lane_fields[] = {
    {"queue_depth", "Count", "mayfly_queue_depth", NULL, FOLD_SUM},
    {"queue_oldest_age", "Seconds", "mayfly_queue_oldest_age_seconds", NULL, FOLD_MAX},
};

/* Of the fleet's alone. */
static const struct field fleet_fields[] = {
    {"slots_max", "Count", "mayfly_fleet_vms_max", NULL, FOLD_SUM},
    {"workers", "Count", "mayfly_fleet_workers", NULL, FOLD_SUM},
    {"reapers", "Count", "mayfly_fleet_reapers", NULL, FOLD_SUM},
    {"dead_letters", "Count", "mayfly_dead_letters", NULL, FOLD_SUM},
    {"github_rate_remaining", "Count", "mayfly_github_rate_remaining", NULL, FOLD_SUM},
};
static const struct field circuits_open = {"circuits_open", "Count", "mayfly_circuits_open", NULL,
                                           FOLD_SUM};
static const struct field quota_use = {"quota_use", "None", "mayfly_quota_use_ratio", NULL,
                                       FOLD_MAX};
static const char *const quotas[] = {"vms", "github_calls"};
/* Moments, written as how long ago they were, or how far away they are: an alarm compares no clocks. */
static const struct field last_sweep_age = {
    "last_sweep_age", "Seconds", "mayfly_reaper_last_sweep_timestamp_seconds", NULL, FOLD_MAX};
static const struct field credentials_left = {"credentials_left", "Seconds",
                                              "mayfly_aws_credentials_expiry_timestamp_seconds",
                                              NULL, FOLD_MAX};

/* --- a document --- */

struct document {
    struct buf definitions;
    struct buf values;
};

static void document_init(struct document *d)
{
    buf_init(&d->definitions, EMF_DOCUMENT_MAX_BYTES);
    buf_init(&d->values, EMF_DOCUMENT_MAX_BYTES);
}

static void document_fini(struct document *d)
{
    buf_fini(&d->definitions);
    buf_fini(&d->values);
}

static void add_value(struct document *d, const struct field *f, int64_t thousandths)
{
    buf_printf(&d->definitions, "%s{\"Name\":\"%s\",\"Unit\":\"%s\"}",
               d->definitions.len > 0 ? "," : "", f->name, f->unit);
    buf_printf(&d->values, ",\"%s\":%lld.%03lld", f->name, (long long)(thousandths / 1000),
               (long long)(thousandths % 1000));
}

/* key NULL: the series has no such label. */
static bool read_series(const struct field *f, const char *key, const char *value,
                        int64_t *thousandths)
{
    struct buf labels;
    buf_init(&labels, 512);
    if (key != NULL) {
        metrics_label(&labels, key, value);
    }
    if (f->state != NULL) {
        metrics_label(&labels, "state", f->state);
    }
    bool shown = metrics_shown(f->series, labels.len > 0 ? labels.data : "", thousandths);
    buf_fini(&labels);
    return shown;
}

static void add_series(struct document *d, const struct field *f, const char *key,
                       const char *value)
{
    int64_t thousandths;
    if (read_series(f, key, value, &thousandths)) {
        add_value(d, f, thousandths);
    }
}

/* class_name NULL: the fleet's. */
static void append_document(struct buf *out, const struct document *d, const struct config *c,
                            const char *class_name, int64_t now_ms)
{
    if (d->definitions.len == 0) {
        return;
    }
    buf_printf(out,
               "{\"_aws\":{\"Timestamp\":%lld,\"CloudWatchMetrics\":[{\"Namespace\":\"" NAMESPACE
               "\",\"Dimensions\":[[\"deployment\"%s]],\"Metrics\":[",
               (long long)now_ms, class_name != NULL ? ",\"class\"" : "");
    buf_append(out, buf_slice(&d->definitions));
    buf_append_cstr(out, "]}]},\"deployment\":");
    buf_append_json(out, slice_of(c->deployment));
    if (class_name != NULL) {
        buf_append_cstr(out, ",\"class\":");
        buf_append_json(out, slice_of(class_name));
    }
    buf_append(out, buf_slice(&d->values));
    buf_append_cstr(out, "}\n");
}

static void append_class(struct buf *out, const struct config *c, const char *class_name,
                         int64_t now_ms)
{
    struct document d;
    char lane[LAUNCH_LANE_SIZE];
    document_init(&d);
    for (size_t i = 0; i < COUNT_OF(class_fields); i++) {
        add_series(&d, &class_fields[i], "class", class_name);
    }
    add_series(&d, &slots_max, "class", class_name);
    for (size_t i = 0; i < COUNT_OF(lane_fields); i++) {
        add_series(&d, &lane_fields[i], "lane", launch_lane(class_name, lane));
    }
    append_document(out, &d, c, class_name, now_ms);
    document_fini(&d);
}

/* --- the fleet's --- */

struct folded {
    int64_t thousandths;
    bool shown;
};

static void fold_series(struct folded *all, const struct field *f, const char *key,
                        const char *value)
{
    int64_t one;
    if (!read_series(f, key, value, &one)) {
        return;
    }
    bool takes = f->fold == FOLD_SUM || one > all->thousandths;
    all->thousandths =
        f->fold == FOLD_SUM ? all->thousandths + one : (takes ? one : all->thousandths);
    all->shown = true;
}

static void add_folded(struct document *d, const struct field *f, const struct folded *all)
{
    if (all->shown) {
        add_value(d, f, all->thousandths);
    }
}

static void add_circuits(struct document *d)
{
    struct folded all = {0};
    for (enum subject s = 0; s < SUBJECT_CIRCUITS; s++) {
        fold_series(&all, &circuits_open, "subject", subject_kind(s));
    }
    add_folded(d, &circuits_open, &all);
}

static void add_quotas(struct document *d)
{
    struct folded all = {0};
    for (size_t i = 0; i < COUNT_OF(quotas); i++) {
        fold_series(&all, &quota_use, "quota", quotas[i]);
    }
    add_folded(d, &quota_use, &all);
}

static void add_moment(struct document *d, const struct field *f, bool is_past, int64_t now_ms)
{
    int64_t at_ms; /* thousandths of seconds */
    if (read_series(f, NULL, NULL, &at_ms) && at_ms > 0) {
        int64_t ms = is_past ? now_ms - at_ms : at_ms - now_ms;
        add_value(d, f, ms > 0 ? ms : 0);
    }
}

/* Any reaper has these; the document is the lease holder's. */
static void add_moments(struct document *d, int64_t now_ms)
{
    if (d->definitions.len > 0) {
        add_moment(d, &last_sweep_age, true, now_ms);
        add_moment(d, &credentials_left, false, now_ms);
    }
}

static void append_fleet(struct buf *out, const struct config *c, int64_t now_ms)
{
    struct document d;
    document_init(&d);
    for (size_t i = 0; i < COUNT_OF(class_fields); i++) {
        struct folded all = {0};
        for (size_t k = 0; k < c->class_count; k++) {
            fold_series(&all, &class_fields[i], "class", c->classes[k].name);
        }
        fold_series(&all, &class_fields[i], "class", FLEET_UNCONFIGURED);
        add_folded(&d, &class_fields[i], &all);
    }
    for (size_t i = 0; i < COUNT_OF(fleet_fields); i++) {
        add_series(&d, &fleet_fields[i], NULL, NULL);
    }
    add_circuits(&d);
    add_quotas(&d);
    for (size_t i = 0; i < COUNT_OF(lane_fields); i++) { /* the lane that nothing may hold up */
        add_series(&d, &lane_fields[i], "lane", EVENTS_LANE);
    }
    add_moments(&d, now_ms);
    append_document(out, &d, c, NULL, now_ms);
    document_fini(&d);
}

void emf_append(struct buf *out, const struct config *c, int64_t now_ms)
{
    append_fleet(out, c, now_ms);
    for (size_t i = 0; i < c->class_count; i++) {
        append_class(out, c, c->classes[i].name, now_ms);
    }
}

/* --- writing --- */

/* A pipe that is ready for writing takes PIPE_BUF bytes at once. */
static bool write_all(int fd, struct slice s)
{
    while (s.len > 0) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, WAIT_MS) != 1 || (p.revents & POLLOUT) == 0) {
            return false;
        }
        ssize_t n = write(fd, s.ptr, s.len < PIPE_BUF ? s.len : PIPE_BUF);
        if (n <= 0) {
            return false;
        }
        s.ptr += n;
        s.len -= (size_t)n;
    }
    return true;
}

static void report_dropped(struct emf_writer *w)
{
    metric_inc(metrics_counter("mayfly_emf_dropped_total", ""));
    if (!w->warned) {
        log_warn("emf_dropped",
                 LOG_STR("action", "CloudWatch misses these values; the next ones are written in a "
                                   "minute"));
    }
    w->warned = true;
}

void emf_write(struct emf_writer *w, const struct config *c, int64_t now_ms)
{
    struct buf all;
    buf_init(&all, ALL_LIMIT_BYTES);
    if (w->broken) { /* the cut line is ended, so that the next one is whole */
        buf_append_byte(&all, '\n');
    }
    emf_append(&all, c, now_ms);
    bool written = write_all(w->fd, buf_slice(&all));
    w->broken = !written;
    if (written) {
        w->warned = false;
    } else {
        report_dropped(w);
    }
    buf_fini(&all);
}
