#include "common/base/metrics.h"
#include "common/base/calls.h"
#include "common/ledger/front.h"

/* By what is done: an operator sees which kind is slow. */
static const char *const op_groups[OP_COUNT] = {
    [OP_PING] = "ping",         [OP_APPLY_EVENT] = "apply_event",
    [OP_JOB_GET] = "read",      [OP_RECONCILE_JOB] = "write",
    [OP_JOBS_WAITING] = "list", [OP_JOBS_RUNNING] = "list",
    [OP_JOBS_LIST] = "list",    [OP_JOB_RELAUNCHED] = "write",
    [OP_JOB_ASKED] = "write",   [OP_RESERVE] = "reserve",
    [OP_CAPACITY] = "read",     [OP_TARGETS] = "read",
    [OP_RELEASE_SEQ] = "read",  [OP_BALANCES] = "list",
    [OP_SCOPES] = "list",       [OP_VM_ADVANCE] = "write",
    [OP_VM_ADOPT] = "write",    [OP_VM_HEARTBEAT] = "write",
    [OP_VM_GET] = "read",       [OP_VM_LIST] = "list",
    [OP_LOG_EVENT] = "write",   [OP_TIMELINE] = "list",
    [OP_RATE] = "write",        [OP_LEASE] = "write",
    [OP_COUNTER] = "write",     [OP_CELL] = "cell",
    [OP_COUNTS] = "list",       [OP_TIDY] = "list",
    [OP_REPAIR] = "list",
};

int ledger_metrics_op(enum ledger_op op, int64_t began_us, int rc, const struct err *e)
{
    return calls_ended("ledger", op_groups[op], began_us, rc, e);
}

/* --- jobs and VMs --- */

struct times {
    const char *name;
    const int64_t *bounds_ms;
    size_t bound_count;
};

#define MINUTES(n) ((n)*INT64_C(60000))
#define HOURS(n) MINUTES(60 * (n))
/* At most 50 series a class together. */
static const int64_t wait_bounds_ms[] = {1000,       5000,        15000,   MINUTES(1),
                                         MINUTES(5), MINUTES(30), HOURS(6)};
static const int64_t online_bounds_ms[] = {2000, 5000, 15000, MINUTES(1), MINUTES(5)};
static const int64_t run_bounds_ms[] = {30000,       MINUTES(2), MINUTES(10),
                                        MINUTES(30), HOURS(2),   HOURS(6)};

static const struct times received_to_launched = {"mayfly_job_received_to_launched_seconds",
                                                  wait_bounds_ms, COUNT_OF(wait_bounds_ms)};
static const struct times launched_to_online = {"mayfly_job_launched_to_online_seconds",
                                                online_bounds_ms, COUNT_OF(online_bounds_ms)};
static const struct times queued_to_running = {"mayfly_job_queued_to_running_seconds",
                                               wait_bounds_ms, COUNT_OF(wait_bounds_ms)};
static const struct times job_duration = {"mayfly_job_duration_seconds", run_bounds_ms,
                                          COUNT_OF(run_bounds_ms)};
static const struct times vm_life = {"mayfly_vm_life_seconds", run_bounds_ms,
                                     COUNT_OF(run_bounds_ms)};

/* The clocks of two processes may differ: never negative. Of unknown times there is none. */
static void observe(const struct times *t, const char *class_name, int64_t from_ms, int64_t to_ms)
{
    struct buf label;
    if (from_ms <= 0 || to_ms <= 0 || class_name[0] == '\0') {
        return;
    }
    buf_init(&label, 256);
    metrics_label(&label, "class", class_name);
    metric_observe_ms(metrics_histogram(t->name, label.data, t->bounds_ms, t->bound_count),
                      to_ms > from_ms ? to_ms - from_ms : 0);
    buf_fini(&label);
}

/* The VM may have been launched before the job was there: then the job has not waited for a launch, and
 * how long the VM's runner took to come online is not known. A VM whose launch is not recorded yet was
 * launched by now. */
static void observe_start(const struct ledger_job *job, const struct ledger_vm *vm)
{
    const char *class_name = job->facts.class_name;
    int64_t launched_ms = vm->launched_ms > 0 ? vm->launched_ms : job->running_ms;
    observe(&received_to_launched, class_name, job->waiting_ms, launched_ms);
    if (vm->launched_ms > 0 && vm->launched_ms >= job->waiting_ms) {
        observe(&launched_to_online, class_name, vm->launched_ms, job->running_ms);
    }
}

void ledger_metrics_moved(const struct ledger_job *job, const struct ledger_vm *vm,
                          bool by_delivery)
{
    if (by_delivery && job != NULL && job->state == JOB_RUNNING) {
        observe(&queued_to_running, job->facts.class_name, job->waiting_ms, job->running_ms);
        if (vm != NULL && vm->state == VM_BUSY) {
            observe_start(job, vm);
        }
    }
    if (by_delivery && job != NULL && job->state == JOB_DONE) {
        observe(&job_duration, job->facts.class_name, job->running_ms, job->ended_ms);
    }
    if (vm != NULL && vm->state == VM_GONE) {
        observe(&vm_life, vm->class_name, vm->launched_ms, vm->gone_ms);
    }
}
