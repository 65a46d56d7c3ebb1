#include "common/base/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/metrics_table.h"

#define BOUNDS_MAX 16

struct metric {
    const struct metric_row *row;
    char *labels;
    int64_t value; /* counter, gauge; observations of a histogram */
    int64_t sum_us;
    const int64_t *bounds_ms;
    size_t bound_count;
    int64_t buckets[BOUNDS_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *metrics[METRICS_MAX];
static size_t metric_count;

static int compare_metric(const struct metric *m, const char *name, const char *labels)
{
    int by_name = strcmp(m->row->name, name);
    return by_name != 0 ? by_name : strcmp(m->labels, labels);
}

/* Kept sorted, so that rendering needs no work; registering is rare. */
static struct metric *insert_metric(enum metric_type type, const char *name, const char *labels)
{
    size_t i = 0;
    while (i < metric_count && compare_metric(metrics[i], name, labels) < 0) {
        i++;
    }
    if (i < metric_count && compare_metric(metrics[i], name, labels) == 0) {
        ASSERT(metrics[i]->row->type == type);
        return metrics[i];
    }
    const struct metric_row *row = metrics_table_find(name);
    ASSERT(row != NULL && row->type == type && metric_row_has_labels(row, labels));
    ASSERT(metric_count < METRICS_MAX);
    struct metric *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    *m = (struct metric){.row = row, .labels = slice_dup(slice_of(labels))};
    memmove(&metrics[i + 1], &metrics[i], (metric_count - i) * sizeof(struct metric *));
    metrics[i] = m;
    metric_count++;
    return m;
}

struct metric *metrics_counter(const char *name, const char *labels)
{
    pthread_mutex_lock(&lock);
    struct metric *m = insert_metric(METRIC_COUNTER, name, labels);
    pthread_mutex_unlock(&lock);
    return m;
}

struct metric *metrics_gauge(const char *name, const char *labels)
{
    pthread_mutex_lock(&lock);
    struct metric *m = insert_metric(METRIC_GAUGE, name, labels);
    pthread_mutex_unlock(&lock);
    return m;
}

struct metric *metrics_histogram(const char *name, const char *labels, const int64_t *bounds_ms,
                                 size_t n)
{
    ASSERT(n <= BOUNDS_MAX);
    pthread_mutex_lock(&lock);
    struct metric *m = insert_metric(METRIC_HISTOGRAM, name, labels);
    if (m->bounds_ms == NULL) { /* only if new: other threads may be updating a known one */
        m->bounds_ms = bounds_ms;
        m->bound_count = n;
    }
    pthread_mutex_unlock(&lock);
    return m;
}

void metrics_label(struct buf *out, const char *key, const char *value)
{
    if (out->len > 0) {
        buf_append_byte(out, ',');
    }
    buf_printf(out, "%s=\"", key);
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            buf_append_cstr(out, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\') {
            buf_append_byte(out, '\\');
        }
        buf_append_byte(out, *value);
    }
    buf_append_byte(out, '"');
}

void metric_add(struct metric *m, int64_t n)
{
    __atomic_fetch_add(&m->value, n, __ATOMIC_RELAXED);
}

void metric_inc(struct metric *m)
{
    metric_add(m, 1);
}

void metric_set(struct metric *m, int64_t value)
{
    __atomic_store_n(&m->value, value, __ATOMIC_RELAXED);
}

void metric_observe_us(struct metric *m, int64_t us)
{
    for (size_t i = 0; i < m->bound_count; i++) {
        if (us <= m->bounds_ms[i] * 1000) {
            __atomic_fetch_add(&m->buckets[i], 1, __ATOMIC_RELAXED);
            break;
        }
    }
    __atomic_fetch_add(&m->sum_us, us, __ATOMIC_RELAXED);
    metric_add(m, 1);
}

void metric_observe_ms(struct metric *m, int64_t ms)
{
    metric_observe_us(m, ms * 1000);
}

int64_t metric_value(const struct metric *m)
{
    return __atomic_load_n(&m->value, __ATOMIC_RELAXED);
}

static void render_plain(struct buf *out, const struct metric *m, const char *suffix,
                         const char *extra_label, int64_t value)
{
    buf_printf(out, "%s%s", m->row->name, suffix);
    if (m->labels[0] != '\0' || extra_label[0] != '\0') {
        buf_printf(out, "{%s%s%s}", m->labels,
                   m->labels[0] != '\0' && extra_label[0] != '\0' ? "," : "", extra_label);
    }
    buf_printf(out, " %lld\n", (long long)value);
}

static void render_sum(struct buf *out, const struct metric *m)
{
    int64_t us = __atomic_load_n(&m->sum_us, __ATOMIC_RELAXED);
    buf_printf(out, "%s_sum", m->row->name);
    if (m->labels[0] != '\0') {
        buf_printf(out, "{%s}", m->labels);
    }
    buf_printf(out, " %lld.%06lld\n", (long long)(us / 1000000), (long long)(us % 1000000));
}

static void render_histogram(struct buf *out, const struct metric *m)
{
    int64_t below = 0;
    for (size_t i = 0; i < m->bound_count; i++) {
        char le[48];
        struct buf label;
        below += __atomic_load_n(&m->buckets[i], __ATOMIC_RELAXED);
        buf_init(&label, sizeof le);
        buf_printf(&label, "le=\"%lld.%03lld\"", (long long)(m->bounds_ms[i] / 1000),
                   (long long)(m->bounds_ms[i] % 1000));
        render_plain(out, m, "_bucket", label.data, below);
        buf_fini(&label);
    }
    /* An observation may be in its bucket and not yet in the count; a reader must never see a
     * bucket above +Inf. */
    int64_t count = metric_value(m);
    count = count < below ? below : count;
    render_plain(out, m, "_bucket", "le=\"+Inf\"", count);
    render_sum(out, m);
    render_plain(out, m, "_count", "", count);
}

void metrics_render(struct buf *out)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < metric_count; i++) {
        const struct metric *m = metrics[i];
        if (i == 0 || metrics[i - 1]->row != m->row) {
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->row->name, m->row->help,
                       m->row->name, metric_type_name(m->row->type));
        }
        if (m->row->type == METRIC_HISTOGRAM) {
            render_histogram(out, m);
        } else {
            render_plain(out, m, "", "", metric_value(m));
        }
    }
    pthread_mutex_unlock(&lock);
}
