#include "common/base/calls.h"

#include <pthread.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"

#define OTHERS 2 /* one for all further successes, one for all further failures */
#define NAME_BYTES_MAX 64

static const int64_t ok_bounds_ms[] = {5, 50, 500, 5000};

struct series {
    char service[NAME_BYTES_MAX];
    char operation[NAME_BYTES_MAX];
    enum err_class outcome;
    struct metric *seconds;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock: */
static struct series all[CALLS_OK_MAX + CALLS_FAILED_MAX];
static size_t count;
static size_t ok_count;
static struct metric *others[OTHERS];

static struct metric *open_series(const char *service, const char *operation, const char *outcome)
{
    struct buf labels;
    bool ok = strcmp(outcome, "ok") == 0;
    buf_init(&labels, 512);
    metrics_label(&labels, "service", service);
    metrics_label(&labels, "operation", operation);
    metrics_label(&labels, "outcome", outcome);
    struct metric *m = metrics_histogram("mayfly_call_seconds", labels.data, ok_bounds_ms,
                                         ok ? COUNT_OF(ok_bounds_ms) : 0);
    buf_fini(&labels);
    return m;
}

static struct metric *other_locked(bool ok)
{
    struct metric **m = &others[ok ? 0 : 1];
    if (*m == NULL) {
        *m = open_series("other", "other", ok ? "ok" : "failed");
    }
    return *m;
}

static struct metric *find_or_add_locked(const char *service, const char *operation,
                                         enum err_class outcome)
{
    bool ok = outcome == ERR_NONE;
    for (size_t i = 0; i < count; i++) {
        const struct series *s = &all[i];
        if (s->outcome == outcome && strcmp(s->operation, operation) == 0 &&
            strcmp(s->service, service) == 0) {
            return s->seconds;
        }
    }
    if (ok ? ok_count == CALLS_OK_MAX : count - ok_count == CALLS_FAILED_MAX) {
        return other_locked(ok);
    }
    struct series *s = &all[count++];
    ok_count += ok ? 1 : 0;
    *s = (struct series){.outcome = outcome};
    ASSERT(slice_to_cstr(slice_of(service), s->service, sizeof s->service) &&
           slice_to_cstr(slice_of(operation), s->operation, sizeof s->operation));
    s->seconds = open_series(service, operation, ok ? "ok" : err_class_name(outcome));
    return s->seconds;
}

void calls_observe(const char *service, const char *operation, enum err_class outcome, int64_t us)
{
    pthread_mutex_lock(&lock);
    struct metric *m = find_or_add_locked(service, operation, outcome);
    pthread_mutex_unlock(&lock);
    metric_observe_us(m, us);
}

int calls_ended(const char *service, const char *operation, int64_t began_us, int rc,
                const struct err *e)
{
    calls_observe(service, operation, rc == 0 ? ERR_NONE : e->class, clock_mono_us() - began_us);
    return rc;
}
