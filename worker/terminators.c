#include "worker/terminators.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/thread.h"

#define PENDING_MAX 1024
#define SCAN_INTERVAL_MS 2000 /* between two scans for VMs that no process terminates */
#define SCAN_BATCH 64
#define LEDGER_ERROR_PAUSE_MS 1000

struct pending {
    struct ledger_vm vm;
    bool has_turn; /* at the provider's rate: a token was taken */
};

struct terminators {
    struct worker *worker;
    struct wakeup wake; /* woken with every row added */
    pthread_mutex_t lock;
    struct pending pending[PENDING_MAX]; /* a ring */
    size_t first;
    size_t count;
    int64_t next_scan_ms;          /* monotonic */
    char scan_after[VM_NAME_SIZE]; /* the next scan continues behind that name */
    struct metric *terminated;
    struct metric *failed;
    struct threads threads;
};

static void add_pending(struct terminators *s, const struct ledger_vm *vm, bool has_turn)
{
    pthread_mutex_lock(&s->lock);
    if (s->count < PENDING_MAX) {
        s->pending[(s->first + s->count++) % PENDING_MAX] =
            (struct pending){.vm = *vm, .has_turn = has_turn};
    }
    pthread_mutex_unlock(&s->lock);
    wakeup_signal(&s->wake);
}

void terminators_add(struct terminators *s, const struct ledger_vm *vm)
{
    add_pending(s, vm, false);
}

static bool pop_pending(struct terminators *s, struct pending *out)
{
    pthread_mutex_lock(&s->lock);
    bool some = s->count > 0;
    if (some) {
        *out = s->pending[s->first];
        s->first = (s->first + 1) % PENDING_MAX;
        s->count--;
    }
    pthread_mutex_unlock(&s->lock);
    return some;
}

static int take_turn(struct terminators *s, const struct ledger_vm *vm, int64_t *wait_ms,
                     struct err *e)
{
    char place[PLACE_NAME_SIZE];
    const struct config *c = config_live_get(s->worker->config);
    const struct config_rate rate = c->limits.terminate_rate;
    fleet_place_of(s->worker->fleet, vm, place);
    config_live_put(s->worker->config, c);
    return fleet_terminate_turn(s->worker->fleet, place, &rate, wait_ms, e);
}

/* Waits for a rate token; false when the worker stops first. If the ledger fails, the check is
 * repeated: without a count no VM is terminated faster. */
static bool wait_for_terminate_turn(struct terminators *s, const struct ledger_vm *vm)
{
    for (;;) {
        struct err e = {0};
        int64_t wait_ms = 0;
        if (take_turn(s, vm, &wait_ms, &e) != 0) {
            log_warn("rate_limit_check_failed", LOG_STR("class", vm->class_name), LOG_ERR(&e),
                     LOG_STR("action", "the check is repeated in 1 second"));
            wait_ms = LEDGER_ERROR_PAUSE_MS;
        }
        if (wait_ms == 0) {
            return true;
        }
        if (wakeup_sleep(&s->worker->working, wait_ms)) {
            return false;
        }
    }
}

static void report_failure(struct terminators *s, const struct ledger_vm *vm, const struct err *e)
{
    if (e->class == ERR_CONFLICT) { /* the reaper was faster */
        log_debug("vm_terminate_failed", LOG_STR("vm", vm->name), LOG_ERR(e),
                  LOG_STR("action", "none: another process terminated it"));
        return;
    }
    metric_inc(s->failed);
    if (e->class == ERR_THROTTLED) {
        terminators_add(s, vm); /* tried again at the provider's rate */
    }
    log_warn("vm_terminate_failed", LOG_STR("vm", vm->name), LOG_STR("vm_id", vm->vm_id),
             LOG_ERR(e), LOG_STR("action", "the worker retries within seconds, the reaper later"));
}

/* Whether a scan may find the row: by then the process that was to terminate the VM has not. */
static bool is_overdue(const struct ledger_vm *vm, int64_t grace_ms)
{
    return clock_wall_ms() - ledger_vm_end_due_ms(vm) > grace_ms + SCAN_INTERVAL_MS;
}

/* While many VMs wait for the provider's rate another process's scan finds some of them too: no token
 * is spent on a VM that has been terminated meanwhile. */
static bool is_gone(struct terminators *s, const struct ledger_vm *vm, int64_t grace_ms)
{
    struct err e = {0};
    struct ledger_vm now;
    return is_overdue(vm, grace_ms) && ledger_vm_get(s->worker->ledger, vm->name, &now, &e) == 0 &&
           now.state == VM_GONE;
}

/* No thread waits for a target in trouble, so that the VMs of the others end: a scan finds its VMs again,
 * and so does the reaper. */
static bool is_target_away(const struct terminators *s, const struct ledger_vm *vm)
{
    const struct vm_provider *p = fleet_provider_of(s->worker->fleet, vm);
    struct subjects of = {0};
    if (p == NULL || vm->target[0] == '\0') {
        return false;
    }
    subjects_add_target(p, fleet_host(s->worker->fleet), &of);
    return circuits_stop_calls(s->worker->circuits, &of);
}

/* The row is as old as its entry here. Provider and ledger know its current state, and both steps
 * may be repeated. */
static void terminate_one(struct terminators *s, const struct pending *p, int64_t grace_ms)
{
    struct err e = {0};
    const struct ledger_vm *vm = &p->vm;
    struct fleet_termination how = {.grace_ms = grace_ms, .evidence = FLEET_OVER};
    if (!fleet_reaches(s->worker->fleet, vm) || is_target_away(s, vm) ||
        (!p->has_turn && (is_gone(s, vm, grace_ms) || !wait_for_terminate_turn(s, vm)))) {
        return;
    }
    if (fleet_terminate_vm(s->worker->fleet, vm, &how, &e) != 0) {
        report_failure(s, vm, &e);
        return;
    }
    metric_inc(s->terminated);
    if (vm_host_bound(fleet_provider_of(s->worker->fleet, vm))) {
        circuits_host_freed(s->worker->circuits, fleet_host(s->worker->fleet));
    }
    wakeup_signal(&s->worker->intake);
    log_info("vm_terminated", LOG_STR("vm", vm->name), LOG_INT("job_id", vm->job_id),
             LOG_STR("class", vm->class_name), LOG_STR("reason", vm->end_reason),
             LOG_INT("lived_ms", clock_wall_ms() - vm->reserved_ms));
}

/* A VM that is held ends itself in time, or because somebody shut it down: its slot is free then. */
static bool has_ended_itself(const struct terminators *s, const struct ledger_vm *vm)
{
    struct err ignored;
    struct vm_info info;
    struct vm_provider *p = fleet_provider_of(s->worker->fleet, vm);
    return ledger_vm_held_until_ms(vm) > 0 && p != NULL && vm_host_bound(p) &&
           vm_describe(p, vm->vm_id[0] != '\0' ? vm->vm_id : vm->name, &info, &ignored) == 0 &&
           info.state == VM_RUN_ENDED;
}

/* Whether this thread does the next scan, and where it begins. */
static bool scan_is_due(struct terminators *s, char after[VM_NAME_SIZE])
{
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&s->lock);
    bool due = now >= s->next_scan_ms;
    if (due) {
        s->next_scan_ms = now + SCAN_INTERVAL_MS;
        memcpy(after, s->scan_after, sizeof s->scan_after);
    }
    pthread_mutex_unlock(&s->lock);
    return due;
}

static void record_scan_position(struct terminators *s, const char *after)
{
    pthread_mutex_lock(&s->lock);
    (void)!slice_to_cstr(slice_of(after), s->scan_after, sizeof s->scan_after);
    pthread_mutex_unlock(&s->lock);
}

/* Now and then one thread looks for VMs that have been `ending` for longer than their grace period:
 * left by a process that died, or by a failure. Those that have no turn at once are left: where the
 * rate is used up, VMs are overdue in other processes' hands. Each scan continues where the last one ended, so
 * that rows of other hosts, and rows without a VM id (which the reaper handles), do not hide the
 * rest. */
static void scan_for_leftovers(struct terminators *s, int64_t grace_ms)
{
    struct err e = {0};
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    char after[VM_NAME_SIZE];
    if (!scan_is_due(s, after) ||
        ledger_vm_list(s->worker->ledger, 1u << VM_ENDING, after, SCAN_BATCH, &vms, &n, &e) != 0) {
        return; /* the lanes log a failing ledger */
    }
    for (size_t i = 0; i < n; i++) {
        int64_t wait_ms = 0;
        if (fleet_reaches(s->worker->fleet, &vms[i]) &&
            (is_overdue(&vms[i], grace_ms) || has_ended_itself(s, &vms[i])) &&
            !fleet_vm_id_unknown(s->worker->fleet, &vms[i]) && !is_target_away(s, &vms[i]) &&
            take_turn(s, &vms[i], &wait_ms, &e) == 0 && wait_ms == 0) {
            add_pending(s, &vms[i], true);
        }
    }
    record_scan_position(s, n == SCAN_BATCH ? vms[n - 1].name : "");
    free(vms);
}

static void *terminate_until_stopped(void *arg)
{
    struct terminators *s = arg;
    struct worker *w = s->worker;
    liveness_enter("a termination thread", LIVENESS_LIMIT_MS);
    while (!wakeup_raised(&w->working)) {
        liveness_beat();
        struct pending p;
        uint64_t seen = wakeup_count(&s->wake);
        const struct config *c = config_live_get(w->config);
        int64_t grace_ms = c->worker.terminate_grace_period_ms;
        config_live_put(w->config, c);
        if (pop_pending(s, &p)) {
            terminate_one(s, &p, grace_ms);
            continue;
        }
        scan_for_leftovers(s, grace_ms);
        (void)wakeup_wait(&s->wake, seen, SCAN_INTERVAL_MS);
    }
    liveness_leave();
    return NULL;
}

int terminators_start(struct worker *w, size_t threads, struct terminators **out, struct err *e)
{
    struct terminators *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->worker = w;
    wakeup_init(&s->wake);
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    s->terminated = metrics_counter("mayfly_worker_vms_terminated_total", "");
    s->failed = metrics_counter("mayfly_worker_vm_terminate_errors_total", "");
    if (threads_start(&s->threads, threads, "a thread of worker.terminate_threads",
                      terminate_until_stopped, s, e) != 0) {
        wakeup_raise(&w->working);
        terminators_join(s);
        return -1;
    }
    *out = s;
    return 0;
}

void terminators_join(struct terminators *s)
{
    if (s == NULL) {
        return;
    }
    wakeup_raise(&s->wake);
    threads_join(&s->threads);
    wakeup_fini(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
