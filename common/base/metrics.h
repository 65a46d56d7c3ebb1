/*
 * Metrics in the Prometheus text format (version 0.0.4): counters, gauges, histograms.
 *
 * A metric is registered once (same name and labels give the same metric) and lives until the
 * process ends; the number of metrics is bounded by METRICS_MAX, past which registering aborts:
 * names and label values must come from the code or the configuration, never from a peer. Updating
 * is lock-free, from any thread. Registering and rendering take a lock.
 */
#ifndef MAYFLY_BASE_METRICS_H
#define MAYFLY_BASE_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

#define METRICS_MAX 4096
/* Of a histogram, le="+Inf" included. */
#define METRICS_BUCKETS_MAX 10

struct metric;

/* name: one from metrics_table.h, which has its help; an unknown name or other labels abort.
 * labels: "" or the inside of the braces, e.g. class="small" (copied; metrics_label builds it). */
struct metric *metrics_counter(const char *name, const char *labels);
struct metric *metrics_gauge(const char *name, const char *labels);
/* bounds_ms: ascending upper bounds in milliseconds (static storage, n < METRICS_BUCKETS_MAX),
 * rendered in seconds. */
struct metric *metrics_histogram(const char *name, const char *labels, const int64_t *bounds_ms,
                                 size_t n);

/* Appends key="value" with the value escaped, a comma before it unless out is empty. */
void metrics_label(struct buf *out, const char *key, const char *value);

void metric_add(struct metric *m, int64_t n); /* counters (n >= 0) and gauges */
void metric_inc(struct metric *m);
void metric_set(struct metric *m, int64_t value); /* gauges */
/* The same with three decimals: 1500 is rendered as 1.5. Of one metric always, or never; a counter
 * whose count is kept elsewhere (processor time) may be set too. */
void metric_set_thousandths(struct metric *m, int64_t value);
void metric_observe_ms(struct metric *m, int64_t ms);
void metric_observe_us(struct metric *m, int64_t us);
int64_t metric_value(const struct metric *m); /* for tests and status pages */

/* Gauges that are known only at times (what only the holder of a lease may say), and together. They
 * are rendered while the group is shown, and only those that its last round has set: what a round
 * leaves out has vanished. Zero it; static or for as long as the process. One thread makes rounds;
 * any may hide the group. */
struct metrics_group {
    uint64_t round; /* the last complete one; atomic */
    bool shown;     /* atomic */
};
/* A gauge of that group. Always of the same one. */
struct metric *metrics_group_gauge(struct metrics_group *g, const char *name, const char *labels);
void metrics_group_hide(struct metrics_group *g);
/* The round is complete: its gauges are shown, until the next is or the group is hidden. */
void metrics_group_show(struct metrics_group *g);

/* Whether a gauge or counter of that name and these labels is shown, and its value, in thousandths. */
bool metrics_shown(const char *name, const char *labels, int64_t *thousandths);

/* Appends everything that is shown, sorted by name. */
void metrics_render(struct buf *out);

#endif
