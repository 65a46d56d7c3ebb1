/* What happens to a launch's message; and what its trouble says. */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ledger/give_ups.h"
#include "worker/idle/idle_launch.h"
#include "worker/launching.h"
#include "worker/returns.h"

static void count_outcome(const struct launching *l, const char *outcome)
{
    struct buf label;
    buf_init(&label, 256);
    metrics_label(&label, "class", l->request.class_name);
    metrics_label(&label, "outcome", outcome);
    metric_inc(metrics_counter("mayfly_worker_launches_total", label.data));
    buf_fini(&label);
}

static void add_to_timeline(const struct launching *l, const char *what, const char *detail)
{
    struct err e = {0};
    if (l->request.job.id == 0 && l->vm.name[0] == '\0') {
        return; /* neither a job nor a VM: there is no timeline */
    }
    if (ledger_log_event(l->worker->ledger, l->request.job.id, l->vm.name, what, detail, &e) != 0) {
        log_debug("timeline_write_failed", LOG_INT("job_id", l->request.job.id), LOG_ERR(&e));
    }
}

/* No VM is wanted: ack the message. While another worker's launch for this job is in progress,
 * return it instead, in case that worker dies. No capacity: return it, without spending an
 * attempt, unless it is for an idle VM. */
static void handle_not_reserved(struct launching *l)
{
    const struct ledger_reservation *r = &l->reservation;
    count_outcome(l, ledger_outcome_name(r->outcome));
    if (launch_wants_no_vm(l) && l->takeover.wait_ms > 0) {
        struct queue_return back = {.delay_ms = l->takeover.wait_ms,
                                    .reason =
                                        "another worker's launch for this job is in progress"};
        worker_nack(l->worker, l->message, &back);
        return;
    }
    if (launch_wants_no_vm(l) || idle_launch_is(&l->request)) {
        log_info("launch_skipped", LOG_INT("job_id", l->request.job.id),
                 LOG_STR("class", l->class->name),
                 LOG_STR("reason", ledger_outcome_name(r->outcome)), LOG_INT("demand", r->demand),
                 LOG_INT("supply", r->supply));
        worker_ack(l->worker, l->message);
        return;
    }
    struct queue_return back = {
        .delay_ms = returns_delay_ms(l->worker, l->config, r, l->request.job.repository),
        .reason = ledger_outcome_name(r->outcome)};
    worker_nack(l->worker, l->message, &back);
}

/* --- trouble --- */

/* Returns the message unspent, behind those never tried. */
void launch_park(struct launching *l, const struct circuits_stop *stop)
{
    char reason[LEDGER_CELL_NAME + CIRCUIT_WHY_SIZE + 16];
    char waits[LEDGER_CELL_NAME + 32];
    (void)snprintf(reason, sizeof reason, "waits for %s: %s", l->subjects.names[stop->subject],
                   stop->circuit.why);
    struct queue_return back = {
        .delay_ms = circuits_park_ms(l->worker->circuits, l->config, &l->subjects, stop),
        .reason = reason};
    count_outcome(l, "parked");
    (void)snprintf(waits, sizeof waits, "for %s, whose circuit is open",
                   l->subjects.names[stop->subject]);
    add_to_timeline(l, "waits", waits);
    worker_nack(l->worker, l->message, &back);
}

/* An attempt that was the last one is a dead letter. */
static enum treatment treat(const struct launching *l, const struct verdict *v)
{
    bool last = l->message->attempts + 1 >= l->config->retry.max_attempts;
    if (idle_launch_is(&l->request)) {
        return TREAT_WAIT;
    }
    return v->treatment == TREAT_ATTEMPT && last ? TREAT_PERMANENT : v->treatment;
}

/* What happened, for the job's timeline and its message; `mayflyctl why` knows a failed attempt by its
 * first word. */
static void describe_failure(const struct launching *l, const struct verdict *v,
                             const struct err *why, char *out, size_t size)
{
    if (v->treatment == TREAT_ATTEMPT) {
        bool alone = why->class != ERR_CONFLICT || why->from == ERR_FROM_GITHUB;
        (void)snprintf(out, size, "attempt %lld of %lld failed at %s%s: %s",
                       (long long)l->message->attempts + 1,
                       (long long)l->config->retry.max_attempts, l->step,
                       alone ? " (only this job is refused so)" : "", why->message);
    } else if (v->subject < SUBJECT_CIRCUITS) {
        (void)snprintf(out, size, "%s (waits for %s): %s", l->step, l->subjects.names[v->subject],
                       why->message);
    } else {
        (void)snprintf(out, size, "%s (about the %s): %s", l->step, subject_kind(v->subject),
                       why->message);
    }
}

/* A rate of GitHub's calls that the fleet keeps itself is no failure; the timeline names it. */
static void log_failure(const struct launching *l, const struct verdict *v, const char *action,
                        int64_t delay_ms, const struct err *why)
{
    if (why->class == ERR_THROTTLED && why->code <= 0 && why->from != ERR_FROM_PROVIDER) {
        return;
    }
    log_warn("launch_failed", LOG_INT("job_id", l->request.job.id),
             LOG_STR("class", l->place != NULL ? l->place->name : l->class->name),
             LOG_STR("vm", l->vm.name), LOG_STR("step", l->step),
             LOG_STR("subject", v->subject < SUBJECT_CIRCUITS ? l->subjects.names[v->subject]
                                                              : subject_kind(v->subject)),
             LOG_STR("action", action), LOG_INT("delay_ms", delay_ms),
             LOG_INT("attempts", l->message->attempts + (v->treatment == TREAT_WAIT ? 0 : 1)),
             LOG_ERR(why));
}

/* Only errors about the job itself come here. Before the dead letter, so that no crash loses it. */
static void ask_to_give_up(const struct launching *l, const char *why)
{
    struct err e = {0};
    if (l->config->reaper.give_up && l->request.job.id != 0 &&
        ledger_give_up_ask(l->worker->ledger, l->request.job.id, why, &e) != 0) {
        log_debug("give_up_not_recorded", LOG_INT("job_id", l->request.job.id), LOG_ERR(&e),
                  LOG_STR("action", "the job waits until it is overdue"));
    }
}

/* By the table of fleet/verdict.c: only an error about the job itself spends an attempt. */
void launch_judge(struct launching *l, const struct err *why)
{
    l->verdict = circuits_verdict(l->worker->circuits, &l->subjects, l->scope.is_repository,
                                  l->request.job.id, why);
    l->delay_ms = circuits_failed(l->worker->circuits, l->config, &l->subjects, &l->verdict,
                                  l->request.job.id, l->holder, why);
}

void launch_report_elsewhere(const struct launching *l, const struct config_class *next,
                             const struct err *why)
{
    char detail[sizeof why->message + 2 * PLACE_NAME_SIZE + LEDGER_CELL_NAME + 100];
    (void)snprintf(detail, sizeof detail, "tried at %s: at %s %s failed (about %s): %s", next->name,
                   l->place->name, l->step, l->subjects.names[l->verdict.subject], why->message);
    count_outcome(l, "elsewhere");
    add_to_timeline(l, "elsewhere", detail);
    log_failure(l, &l->verdict, "elsewhere", 0, why);
}

static void handle_failure(struct launching *l, const struct err *why)
{
    enum treatment t = treat(l, &l->verdict);
    char detail[sizeof why->message + LEDGER_CELL_NAME + 100];
    describe_failure(l, &l->verdict, why, detail, sizeof detail);
    count_outcome(l, treatment_name(t));
    add_to_timeline(l, treatment_name(t), detail);
    log_failure(l, &l->verdict, treatment_name(t), l->delay_ms, why);
    if (t == TREAT_PERMANENT) {
        ask_to_give_up(l, detail);
        l->message->attempts++;
        worker_dead_letter(l->worker, l->message, detail);
        return;
    }
    struct queue_return back = {
        .delay_ms = l->delay_ms, .spend_attempt = t == TREAT_ATTEMPT, .reason = detail};
    worker_nack(l->worker, l->message, &back);
}

static void handle_success(struct launching *l)
{
    int64_t launch_us = clock_mono_us() - l->started_us;
    int64_t since_received_ms = clock_wall_ms() - l->request.requested_ms;
    worker_ack(l->worker, l->message);
    count_outcome(l, "launched");
    log_info("vm_launched", LOG_INT("job_id", l->request.job.id), LOG_STR("class", l->class->name),
             LOG_STR("target", config_place_target(l->place)), LOG_STR("vm", l->vm.name),
             LOG_STR("vm_id", l->vm.vm_id), LOG_STR("repository", l->request.job.repository),
             LOG_STR("delivery_id", l->request.delivery), LOG_INT("runner_id", l->vm.runner_id),
             LOG_INT("launch_ms", launch_us / 1000),
             LOG_INT("since_received_ms", since_received_ms));
}

void launch_close(struct launching *l, enum launch_result result, const struct err *why)
{
    switch (result) {
    case LAUNCH_DONE:
        handle_success(l);
        break;
    case LAUNCH_NOT_RESERVED:
        handle_not_reserved(l);
        break;
    case LAUNCH_FAILED:
        handle_failure(l, why);
        break;
    }
}
