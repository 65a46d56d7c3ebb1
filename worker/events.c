#include "worker/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/thread.h"
#include "common/github/scale_sets/scale_sets.h"
#include "common/job/lane.h"
#include "common/job/vm_name.h"
#include "common/job/vm_recorded.h"
#include "common/ledger/kinds.h"
#include "worker/displaced.h"
#include "worker/terminators.h"

#define BATCH 32
#define STORE_ERROR_PAUSE_MS 500
#define RETRY_BASE_MS 250
#define RETRY_MAX_MS 5000
#define JOBLESS_LOOK_MS 60000
#define GAP_APART_MS 5000

struct events {
    struct worker *worker;
    struct threads threads;
};

static void count_event(enum job_action action)
{
    struct buf label;
    buf_init(&label, 128);
    metrics_label(&label, "action", job_action_name(action));
    metric_inc(metrics_counter("mayfly_worker_events_total", label.data));
    buf_fini(&label);
}

/* A VM of the class has a job: the class gets some. Looked at once a minute. */
static void reset_jobless(struct worker *w, const char *class)
{
    int64_t *due_ms = &w->jobless_due_ms[hash_text(class) % WORKER_CLASSES];
    int64_t now = clock_mono_ms();
    char name[LEDGER_CELL_NAME];
    int64_t count = 0;
    struct err e = {0};
    if (now < __atomic_load_n(due_ms, __ATOMIC_RELAXED)) {
        return;
    }
    __atomic_store_n(due_ms, now + JOBLESS_LOOK_MS, __ATOMIC_RELAXED);
    (void)snprintf(name, sizeof name, LEDGER_COUNTER_JOBLESS "%s", class);
    if (ledger_counter_get(w->ledger, name, &count, &e) != 0 ||
        (count > 0 && ledger_counter_set(w->ledger, name, 0, &e) != 0)) {
        log_debug("notice_not_written", LOG_ERR(&e), LOG_STR("action", "the next job does it"));
    }
}

/* Deliveries have no numbers: what shows that one was lost, or is late, is the next one of its job. */
static bool shows_gap(const struct job_event *ev, const struct ledger_effect *effect)
{
    bool was_queued = effect->known_before && effect->before != JOB_SEEN;
    if (!effect->changed || ev->job.class_name[0] == '\0' || github_is_set_job(ev->job.id)) {
        return false; /* a scale set has no event of a queued job, and no delivery log */
    }
    return effect->after == JOB_RUNNING
               ? !was_queued
               : effect->after == JOB_DONE && (!was_queued || effect->before != JOB_RUNNING);
}

static void note_gap(struct worker *w)
{
    struct err e = {0};
    int64_t count = 0;
    int64_t now = clock_mono_ms();
    if (now < __atomic_load_n(&w->gap_due_ms, __ATOMIC_RELAXED)) {
        return;
    }
    __atomic_store_n(&w->gap_due_ms, now + GAP_APART_MS, __ATOMIC_RELAXED);
    if (ledger_counter_add(w->ledger, LEDGER_COUNTER_GAPS, 1, &count, &e) != 0) {
        log_debug("notice_not_written", LOG_ERR(&e), LOG_STR("action", "the next gap is noted"));
    }
}

/* One line for each job that starts or ends; the rest is detail. A runner that is no VM's has no
 * `vm`. */
static void log_job_event(const struct job_event *ev, const struct ledger_effect *effect)
{
    const struct job *job = &ev->job;
    const char *vm = effect->vm.name;
    if (effect->changed && effect->after == JOB_RUNNING) {
        log_info("job_started", LOG_INT("job_id", job->id), LOG_STR("vm", vm),
                 LOG_STR("class", job->class_name), LOG_STR("repository", job->repository),
                 LOG_STR("runner", job->runner_name), LOG_STR("delivery_id", ev->delivery));
    } else if (effect->changed && ev->action == JOB_ACTION_COMPLETED) {
        log_info("job_finished", LOG_INT("job_id", job->id), LOG_STR("vm", vm),
                 LOG_STR("class", job->class_name), LOG_STR("repository", job->repository),
                 LOG_STR("runner", job->runner_name), LOG_STR("conclusion", job->conclusion),
                 LOG_STR("state", ledger_job_state_name(effect->after)),
                 LOG_STR("delivery_id", ev->delivery));
    } else {
        log_debug("job_event", LOG_INT("job_id", job->id),
                  LOG_STR("webhook_action", job_action_name(ev->action)),
                  LOG_STR("state", ledger_job_state_name(effect->after)),
                  LOG_STR("class", job->class_name), LOG_STR("delivery_id", ev->delivery));
    }
}

/* One that is held is terminated when its time is over, by whoever finds its row. */
static void end_or_hold(struct worker *w, const struct ledger_vm *vm)
{
    char until[32];
    if (ledger_vm_held_until_ms(vm) == 0) {
        terminators_add(w->terminators, vm);
        return;
    }
    clock_format_utc(ledger_vm_held_until_ms(vm), until, sizeof until);
    metric_inc(metrics_counter("mayfly_worker_vms_held_total", ""));
    log_info("vm_held", LOG_STR("vm", vm->name), LOG_INT("job_id", vm->job_id),
             LOG_STR("class", vm->class_name), LOG_STR("host", vm->host), LOG_STR("until", until),
             LOG_STR("reason", vm->end_reason));
}

static void report_effect(struct worker *w, const struct job_event *ev,
                          const struct ledger_effect *effect)
{
    if (effect->changed || effect->vm_changed) { /* not a delivery that came again */
        count_event(ev->action);
    }
    log_job_event(ev, effect);
    if (effect->vm_changed && effect->vm.state == VM_BUSY) {
        reset_jobless(w, effect->vm.class_name);
    }
    if (effect->vm_changed && effect->vm.state == VM_ENDING) {
        end_or_hold(w, &effect->vm);
    }
}

/* Returns false: the message is not to be acknowledged. */
static bool return_event(struct worker *w, const struct queue_message *m, const struct err *why)
{
    struct queue_return back = {.delay_ms = backoff_full_jitter_ms(RETRY_BASE_MS, RETRY_MAX_MS, 3),
                                .reason = why->message};
    worker_nack(w, m, &back);
    return false;
}

/* A launching worker could not write what the provider answered. A row that is gone needs no id:
 * the reaper finds its VM by the provider's list. */
static bool record_vm(struct worker *w, const struct vm_recorded *r, const struct queue_message *m)
{
    struct err e = {0};
    const struct ledger_advance a = {
        .vm = r->name, .to = VM_LAUNCHED, .vm_id = r->vm_id, .deadline_ms = r->deadline_ms};
    int rc = ledger_vm_advance(w->ledger, &a, NULL, &e);
    if (rc == 0) {
        log_info("vm_recorded_late", LOG_STR("vm", r->name), LOG_STR("vm_id", r->vm_id));
        return true;
    }
    if (e.class == ERR_CONFLICT || e.class == ERR_NOT_FOUND) {
        log_warn("vm_record_obsolete", LOG_STR("vm", r->name), LOG_STR("vm_id", r->vm_id),
                 LOG_ERR(&e), LOG_STR("action", "the reaper treats the VM as one without a row"));
        return true;
    }
    log_warn("event_apply_failed", LOG_STR("vm", r->name), LOG_ERR(&e),
             LOG_STR("action", "the message is redelivered within seconds"));
    return return_event(w, m, &e);
}

/* An event that no class accepts concerns us if its runner is ours or its job is known: most such jobs
 * wait for runners of others. */
static int is_unknown(struct worker *w, const struct config *c, const struct job_event *ev,
                      bool *unknown, struct err *e)
{
    struct ledger_job job;
    *unknown = false;
    if (ev->job.class_name[0] != '\0' || vm_name_is_owned(ev->job.runner_name, c->deployment) ||
        ledger_job_get(w->ledger, ev->job.id, &job, e) == 0) {
        return 0;
    }
    *unknown = e->class == ERR_NOT_FOUND;
    return *unknown ? 0 : -1;
}

static bool apply_job_event(struct worker *w, const struct config *c, const struct job_event *ev,
                            const struct queue_message *m)
{
    struct err e = {0};
    struct ledger_effect effect;
    bool unknown = false;
    char scope[SCOPE_SIZE];
    const struct github_scope of =
        github_scope_of(c, config_class_by_name(c, slice_of(ev->job.class_name)), &ev->job);
    scope_name_make(of.name, of.group, scope);
    int rc = is_unknown(w, c, ev, &unknown, &e);
    if (unknown) {
        return true;
    }
    if (rc != 0 || ledger_apply_event(w->ledger, ev, scope, &effect, &e) != 0) {
        log_warn("event_apply_failed", LOG_INT("job_id", ev->job.id), LOG_ERR(&e),
                 LOG_STR("action", "the message is redelivered within seconds"));
        return return_event(w, m, &e);
    }
    report_effect(w, ev, &effect);
    displaced_relaunch(w, ev, scope, &effect);
    if (shows_gap(ev, &effect)) {
        note_gap(w);
    }
    if (!github_is_set_job(ev->job.id)) {
        repositories_note(&w->repositories, w->ledger, ev->job.repository, ev->job.installation_id);
    }
    return true;
}

/* Returns whether the message is to be acknowledged; otherwise it was returned or dead-lettered. */
static bool apply_event(struct worker *w, const struct config *c, const struct queue_message *m)
{
    struct err e = {0};
    struct err ignored = {0};
    struct job_event ev;
    struct vm_recorded vm;
    struct slice body = {m->body, m->body_len};
    if (job_event_decode(body, &ev, &e) == 0) {
        return apply_job_event(w, c, &ev, m);
    }
    if (vm_recorded_decode(body, &vm, &ignored) == 0) {
        return record_vm(w, &vm, m);
    }
    worker_reject(w, m, &e);
    return false;
}

static void ack_applied(struct worker *w, const struct queue_message *applied, size_t n)
{
    struct err e = {0};
    if (n > 0 && queue_ack(w->queue, applied, n, &e) != 0 && e.class != ERR_CONFLICT) {
        log_warn("event_ack_failed", LOG_INT("count", (int64_t)n), LOG_ERR(&e),
                 LOG_STR("action", "the messages are redelivered when their leases expire; "
                                   "applying them twice is harmless"));
    }
}

/* The ledger is slow: the remaining messages would outlive their leases. */
static void extend_leases(struct worker *w, const struct config *c, struct queue_message *rest,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        if (queue_extend(w->queue, &rest[i], c->worker.visibility_timeout_ms, &e) != 0) {
            log_warn("lease_extend_failed", LOG_STR("lane", rest[i].lane),
                     LOG_STR("message_id", rest[i].id), LOG_ERR(&e),
                     LOG_STR("action", "the message may be applied twice, which is harmless"));
        }
    }
}

/* Handles a batch within its leases, however long that takes: after a third of a lease the applied
 * messages are acknowledged and the rest is extended. */
static void handle_batch(struct worker *w, const struct config *c, struct queue_message *batch,
                         size_t got)
{
    struct queue_message applied[BATCH]; /* copies that own nothing */
    size_t n = 0;
    int64_t extend_at_ms = clock_mono_ms() + c->worker.visibility_timeout_ms / 3;
    for (size_t i = 0; i < got; i++) {
        liveness_beat();
        if (clock_mono_ms() >= extend_at_ms) {
            ack_applied(w, applied, n);
            n = 0;
            extend_at_ms = clock_mono_ms() + c->worker.visibility_timeout_ms / 3;
            extend_leases(w, c, &batch[i], got - i);
        }
        if (apply_event(w, c, &batch[i])) {
            applied[n++] = batch[i];
        }
    }
    ack_applied(w, applied, n);
}

static void *consume_until_stopped(void *arg)
{
    struct events *s = arg;
    struct worker *w = s->worker;
    liveness_enter("an event consumer", LIVENESS_LIMIT_MS);
    while (!wakeup_raised(&w->intake)) {
        liveness_beat();
        struct err e = {0};
        struct queue_message batch[BATCH] = {0};
        size_t got = 0;
        const struct config *c = config_live_get(w->config);
        if (queue_receive(w->queue, EVENTS_LANE, BATCH, c->worker.visibility_timeout_ms,
                          queue_poll_wait_ms(w->queue), batch, &got, &e) != 0) {
            log_warn("receive_failed", LOG_STR("lane", EVENTS_LANE), LOG_ERR(&e),
                     LOG_STR("action", "receiving is retried in 500 ms"));
            (void)wakeup_sleep(&w->intake, STORE_ERROR_PAUSE_MS);
        }
        handle_batch(w, c, batch, got);
        for (size_t i = 0; i < got; i++) {
            queue_message_fini(&batch[i]);
        }
        config_live_put(w->config, c);
    }
    liveness_leave();
    return NULL;
}

int events_start(struct worker *w, size_t threads, struct events **out, struct err *e)
{
    struct events *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->worker = w;
    if (threads_start(&s->threads, threads, "a thread of worker.event_consumer_threads",
                      consume_until_stopped, s, e) != 0) {
        worker_stop_intake(w);
        events_join(s);
        return -1;
    }
    *out = s;
    return 0;
}

void events_join(struct events *s)
{
    if (s != NULL) {
        threads_join(&s->threads);
        free(s);
    }
}
