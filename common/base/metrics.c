#include "common/base/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/metrics_table.h"

#define BOUNDS_MAX (METRICS_BUCKETS_MAX - 1)

struct metric {
    const struct metric_row *row;
    char *labels;
    int64_t value;               /* counter, gauge; observations of a histogram */
    bool thousandths;            /* of the value; atomic */
    struct metrics_group *group; /* NULL: it is always shown */
    uint64_t round;              /* of the group, that set it last; atomic */
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

struct metric *metrics_group_gauge(struct metrics_group *g, const char *name, const char *labels)
{
    pthread_mutex_lock(&lock);
    struct metric *m = insert_metric(METRIC_GAUGE, name, labels);
    ASSERT(m->group == NULL || m->group == g);
    m->group = g;
    pthread_mutex_unlock(&lock);
    return m;
}

void metrics_group_hide(struct metrics_group *g)
{
    __atomic_store_n(&g->shown, false, __ATOMIC_RELEASE);
}

void metrics_group_show(struct metrics_group *g)
{
    __atomic_add_fetch(&g->round, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&g->shown, true, __ATOMIC_RELEASE);
}

/* While a round is being made its gauges are newer than the last complete one. */
static bool is_shown(const struct metric *m)
{
    const struct metrics_group *g = m->group;
    return g == NULL || (__atomic_load_n(&g->shown, __ATOMIC_ACQUIRE) &&
                         __atomic_load_n(&m->round, __ATOMIC_ACQUIRE) >=
                             __atomic_load_n(&g->round, __ATOMIC_ACQUIRE));
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
    if (m->group != NULL) {
        uint64_t next = __atomic_load_n(&m->group->round, __ATOMIC_RELAXED) + 1;
        __atomic_store_n(&m->round, next, __ATOMIC_RELEASE);
    }
}

void metric_set_thousandths(struct metric *m, int64_t value)
{
    __atomic_store_n(&m->thousandths, true, __ATOMIC_RELAXED);
    metric_set(m, value);
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

bool metrics_shown(const char *name, const char *labels, int64_t *thousandths)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < metric_count && !found; i++) {
        const struct metric *m = metrics[i];
        found = compare_metric(m, name, labels) == 0 && is_shown(m);
        if (found) {
            bool fine = __atomic_load_n(&m->thousandths, __ATOMIC_RELAXED);
            *thousandths = metric_value(m) * (fine ? 1 : 1000);
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* --- rendering --- */

/* Without trailing zeros, as Prometheus's own libraries write numbers: 0.005, 2.5, 60. */
static void append_decimal(struct buf *out, int64_t value, int decimals)
{
    int64_t unit = 1;
    for (int i = 0; i < decimals; i++) {
        unit *= 10;
    }
    int64_t fraction = value % unit;
    buf_printf(out, "%s%lld", value < 0 && value / unit == 0 ? "-" : "", (long long)(value / unit));
    fraction = fraction < 0 ? -fraction : fraction;
    if (fraction == 0) {
        return;
    }
    while (fraction % 10 == 0) {
        fraction /= 10;
        decimals--;
    }
    buf_printf(out, ".%0*lld", decimals, (long long)fraction);
}

/* le: in milliseconds; -1: +Inf; LE_NONE: no label. */
#define LE_NONE INT64_MIN
static void append_name(struct buf *out, const struct metric *m, const char *suffix, int64_t le_ms)
{
    bool has_labels = m->labels[0] != '\0';
    buf_printf(out, "%s%s", m->row->name, suffix);
    if (!has_labels && le_ms == LE_NONE) {
        return;
    }
    buf_printf(out, "{%s", m->labels);
    if (le_ms != LE_NONE) {
        buf_append_cstr(out, has_labels ? ",le=\"" : "le=\"");
        if (le_ms < 0) {
            buf_append_cstr(out, "+Inf");
        } else {
            append_decimal(out, le_ms, 3);
        }
        buf_append_byte(out, '"');
    }
    buf_append_byte(out, '}');
}

static void render_line(struct buf *out, const struct metric *m, const char *suffix, int64_t le_ms,
                        int64_t value, int decimals)
{
    append_name(out, m, suffix, le_ms);
    buf_append_byte(out, ' ');
    append_decimal(out, value, decimals);
    buf_append_byte(out, '\n');
}

static void render_histogram(struct buf *out, const struct metric *m)
{
    int64_t below = 0;
    for (size_t i = 0; i < m->bound_count; i++) {
        below += __atomic_load_n(&m->buckets[i], __ATOMIC_RELAXED);
        render_line(out, m, "_bucket", m->bounds_ms[i], below, 0);
    }
    /* An observation may be in its bucket and not yet in the count; a reader must never see a
     * bucket above +Inf. */
    int64_t count = metric_value(m);
    count = count < below ? below : count;
    render_line(out, m, "_bucket", -1, count, 0);
    render_line(out, m, "_sum", LE_NONE, __atomic_load_n(&m->sum_us, __ATOMIC_RELAXED), 6);
    render_line(out, m, "_count", LE_NONE, count, 0);
}

static void render_metric(struct buf *out, const struct metric *m)
{
    if (m->row->type == METRIC_HISTOGRAM) {
        render_histogram(out, m);
    } else {
        bool thousandths = __atomic_load_n(&m->thousandths, __ATOMIC_RELAXED);
        render_line(out, m, "", LE_NONE, metric_value(m), thousandths ? 3 : 0);
    }
}

void metrics_render(struct buf *out)
{
    const struct metric_row *last = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < metric_count; i++) {
        const struct metric *m = metrics[i];
        if (!is_shown(m)) {
            continue;
        }
        if (m->row != last) {
            buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", m->row->name, m->row->help,
                       m->row->name, metric_type_name(m->row->type));
        }
        last = m->row;
        render_metric(out, m);
    }
    pthread_mutex_unlock(&lock);
}
