/*
 * Every metric that a program of Mayfly exports: its name, type, labels and help.
 *
 * Registering a metric that is not in the table, or with other labels, aborts (metrics.c); a row
 * that no program uses fails tests/lint. The page deploy/docs/metrics.md is generated from it.
 */
#ifndef MAYFLY_BASE_METRICS_TABLE_H
#define MAYFLY_BASE_METRICS_TABLE_H

#include <stdbool.h>

#include "common/base/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
    const char *name; /* "mayfly_<area>_<what>_<unit|total>" */
    enum metric_type type;
    const char *labels; /* their names, separated by one space, in the order of registration */
    const char *help;   /* one or two sentences; for a limit, the effect of reaching it */
};

extern const struct metric_row metrics_table[];
extern const size_t metrics_table_count;

const char *metric_type_name(enum metric_type type);
/* NULL if there is none of that name. */
const struct metric_row *metrics_table_find(const char *name);
/* Whether `labels`, as metrics_label builds them, have the names of the row's labels. */
bool metric_row_has_labels(const struct metric_row *row, const char *labels);

/* Appends the reference page. */
void metrics_reference(struct buf *out);

#endif
