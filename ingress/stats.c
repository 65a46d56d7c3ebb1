#include "ingress/stats.h"

#include <pthread.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/metrics.h"

#define SERIES_MAX 128

/* One counter of the family; reasons are static text, so that pointers identify them. */
struct series {
    int code;
    const char *reason;
    struct metric *metric;
};

static const int64_t latency_bounds_ms[] = {1, 5, 10, 25, 50, 100, 250, 1000, 5000};
/* Sizes in the unit of a histogram's bounds: one delivery is a "second". */
static const int64_t batch_bounds[] = {1000, 4000, 16000, 64000, 256000, 1024000};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct metric *commit_seconds;
static struct metric *batch_size;
static struct metric *enqueue_errors;
static struct metric *spooled;
static struct metric *spool_refused;
static struct metric *spool_active;
static struct metric *spool_messages;
static struct metric *spool_age;
static struct metric *accept_seconds;
static struct metric *admission_waits;
static struct metric *in_flight;
static struct metric *connections;

static pthread_mutex_t series_lock = PTHREAD_MUTEX_INITIALIZER;
/* Entries below series_count never change. It is atomic and grows under series_lock; its release
 * and acquire order an entry before each read of it without the lock. helgrind does not know
 * atomics, and reports the reads in find_series as a race. */
static struct series series[SERIES_MAX];
static size_t series_count;

static struct metric *labelled(const char *name, const char *reason)
{
    struct buf label;
    buf_init(&label, 128);
    metrics_label(&label, "reason", reason);
    struct metric *m = metrics_counter(name, label.data);
    buf_fini(&label);
    return m;
}

static void register_ingress_metrics(void)
{
    commit_seconds = metrics_histogram("mayfly_ingress_commit_seconds", "", latency_bounds_ms,
                                       COUNT_OF(latency_bounds_ms));
    batch_size =
        metrics_histogram("mayfly_ingress_batch_size", "", batch_bounds, COUNT_OF(batch_bounds));
    enqueue_errors = metrics_counter("mayfly_ingress_enqueue_errors_total", "");
    spooled = metrics_counter("mayfly_ingress_spooled_total", "");
    spool_refused = metrics_counter("mayfly_ingress_spool_refused_total", "");
    spool_active = metrics_gauge("mayfly_ingress_spool_active", "");
    spool_messages = metrics_gauge("mayfly_ingress_spool_messages", "");
    spool_age = metrics_gauge("mayfly_ingress_spool_oldest_age_seconds", "");
    accept_seconds = metrics_histogram("mayfly_ingress_accept_seconds", "", latency_bounds_ms,
                                       COUNT_OF(latency_bounds_ms));
    admission_waits = metrics_counter("mayfly_ingress_admission_waits_total", "");
    in_flight = metrics_gauge("mayfly_ingress_in_flight", "");
    connections = metrics_gauge("mayfly_ingress_connections", "");
}

void stats_open(void)
{
    ASSERT(pthread_once(&once, register_ingress_metrics) == 0);
}

static struct metric *find_series(int code, const char *reason, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (series[i].code == code && series[i].reason == reason) {
            return series[i].metric;
        }
    }
    return NULL;
}

static struct metric *register_answer(int code, const char *reason)
{
    struct buf labels;
    struct buf number;
    buf_init(&labels, 256);
    buf_init(&number, 16);
    buf_printf(&number, "%d", code);
    metrics_label(&labels, "status", number.data);
    metrics_label(&labels, "reason", reason);
    struct metric *m = metrics_counter("mayfly_ingress_deliveries_total", labels.data);
    buf_fini(&labels);
    buf_fini(&number);
    return m;
}

static struct metric *add_series(int code, const char *reason)
{
    pthread_mutex_lock(&series_lock);
    size_t count = __atomic_load_n(&series_count, __ATOMIC_RELAXED);
    struct metric *m = find_series(code, reason, count);
    if (m == NULL) {
        m = register_answer(code, reason);
        if (count < SERIES_MAX) {
            series[count] = (struct series){code, reason, m};
            __atomic_store_n(&series_count, count + 1, __ATOMIC_RELEASE);
        }
    }
    pthread_mutex_unlock(&series_lock);
    return m;
}

void stats_answer(int code, const char *reason)
{
    size_t count = __atomic_load_n(&series_count, __ATOMIC_ACQUIRE);
    struct metric *m = find_series(code, reason, count);
    metric_inc(m != NULL ? m : add_series(code, reason));
}

void stats_commit(int64_t took_us, int64_t batch)
{
    stats_open();
    metric_observe_us(commit_seconds, took_us);
    metric_observe_ms(batch_size, batch * 1000);
}

void stats_enqueue_failed(void)
{
    stats_open();
    metric_inc(enqueue_errors);
}

void stats_spooled(int64_t messages)
{
    stats_open();
    metric_add(spooled, messages);
}

void stats_spool_refused(int64_t messages)
{
    stats_open();
    metric_add(spool_refused, messages);
}

void stats_spool_active(bool active)
{
    stats_open();
    metric_set(spool_active, active ? 1 : 0);
}

void stats_spool(int64_t messages, int64_t oldest_age_ms)
{
    stats_open();
    metric_set(spool_messages, messages);
    metric_set(spool_age, oldest_age_ms / 1000);
}

void stats_admission_wait(void)
{
    stats_open();
    metric_inc(admission_waits);
}

void stats_accepted(int64_t took_us)
{
    stats_open();
    metric_observe_us(accept_seconds, took_us);
}

void stats_connections(int64_t change)
{
    stats_open();
    metric_add(connections, change);
}

void stats_closed(const char *why)
{
    metric_inc(labelled("mayfly_ingress_connections_closed_total", why));
}

void stats_accept_paused(const char *why)
{
    metric_inc(labelled("mayfly_ingress_accept_paused_total", why));
}

void stats_in_flight(int64_t now)
{
    stats_open();
    metric_set(in_flight, now);
}
