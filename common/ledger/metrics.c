#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/ledger/front.h"

static const char *const op_names[OP_COUNT] = {
    [OP_PING] = "ping",
    [OP_APPLY_EVENT] = "apply_event",
    [OP_JOB_GET] = "job_get",
    [OP_RECONCILE_JOB] = "reconcile_job",
    [OP_JOBS_WAITING] = "jobs_waiting",
    [OP_JOBS_RUNNING] = "jobs_running",
    [OP_JOB_RELAUNCHED] = "job_relaunched",
    [OP_JOB_ASKED] = "job_asked",
    [OP_RESERVE] = "reserve",
    [OP_CAPACITY] = "capacity",
    [OP_RELEASE_SEQ] = "release_seq",
    [OP_BALANCES] = "balances",
    [OP_SCOPES] = "scopes",
    [OP_VM_ADVANCE] = "vm_advance",
    [OP_VM_ADOPT] = "vm_adopt",
    [OP_VM_HEARTBEAT] = "vm_heartbeat",
    [OP_VM_GET] = "vm_get",
    [OP_VM_LIST] = "vm_list",
    [OP_LOG_EVENT] = "log_event",
    [OP_TIMELINE] = "timeline",
    [OP_RATE] = "rate",
    [OP_LEASE] = "lease",
    [OP_COUNTER] = "counter",
    [OP_CELL] = "cell",
    [OP_COUNTS] = "counts",
    [OP_TIDY] = "tidy",
    [OP_REPAIR] = "repair",
};
static const int64_t bounds_ms[] = {5, 25, 100, 500, 1000, 2500, 10000};

/* Written once under `once`, then only read. */
static struct metric *latency[OP_COUNT];
static struct metric *errors[OP_COUNT];
static struct metric *outcomes[LEDGER_RATE + 1];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void register_all(void)
{
    struct buf label;
    buf_init(&label, 128);
    for (size_t i = 0; i < OP_COUNT; i++) {
        buf_reset(&label);
        metrics_label(&label, "op", op_names[i]);
        latency[i] = metrics_histogram("mayfly_ledger_op_seconds", label.data, bounds_ms,
                                       COUNT_OF(bounds_ms));
        errors[i] = metrics_counter("mayfly_ledger_errors_total", label.data);
    }
    for (int o = 0; o <= LEDGER_RATE; o++) {
        buf_reset(&label);
        metrics_label(&label, "outcome", ledger_outcome_name((enum ledger_outcome)o));
        outcomes[o] = metrics_counter("mayfly_ledger_reserve_total", label.data);
    }
    buf_fini(&label);
}

void ledger_metrics_init(void)
{
    (void)pthread_once(&once, register_all);
}

int ledger_metrics_op(enum ledger_op op, int64_t began_us, int rc)
{
    metric_observe_us(latency[op], clock_mono_us() - began_us);
    if (rc != 0) {
        metric_inc(errors[op]);
    }
    return rc;
}

void ledger_metrics_outcome(enum ledger_outcome o)
{
    metric_inc(outcomes[o]);
}
