#include "worker/launch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/payload/payload.h"
#include "common/vm/vm_proxy.h"
#include "worker/limits.h"
#include "worker/outcome.h"

/* A message that met a full cap. Of the class's and the fleet's, a lane asks before it takes one:
 * another worker was faster, and the lane is not taken before the next slot is free. The message is
 * to be there by then, else it is the last of a burst that waits. A repository's cap no lane knows
 * of, and the next look at it must not come at once. */
#define RACE_DELAY_MS 20
#define FULL_DELAY_MS 1000
#define END_GRACE_MS 0 /* of a VM whose launch failed: nothing runs on it */

/* One launch on its way. */
struct launching {
    struct worker *worker;
    struct lane *lane;
    const struct config *config;
    const struct config_class *class;
    struct queue_message *message;
    struct job_event job;
    struct github_scope scope;
    struct ledger_vm vm;
    struct github_jit jit;
    struct buf payload;
    int64_t started_us;
    bool something_may_run; /* the provider was asked, and did not refuse */
};

static int reserve(struct launching *l, struct ledger_reservation *r, struct err *e);
static int register_runner(struct launching *l, struct err *e);
static int pack_payload(struct launching *l, struct err *e);
static int run_vm(struct launching *l, struct err *e);
static int record(struct launching *l, struct err *e);
static void abandon(struct launching *l, const struct err *why);
static void settle_unreserved(struct launching *l, const struct ledger_reservation *r);
static void settle_failed(struct launching *l, const char *step, const struct err *why);
static void settle_launched(struct launching *l);

/* Steps 2 to 5 of the protocol, for a VM whose slot and row are ours. */
static int bring_up(struct launching *l, const char **step, struct err *e)
{
    *step = "register";
    if (register_runner(l, e) != 0) {
        return -1;
    }
    *step = "pack";
    if (pack_payload(l, e) != 0) {
        return -1;
    }
    *step = "run";
    if (run_vm(l, e) != 0) {
        return -1;
    }
    *step = "record";
    return record(l, e);
}

static void launch_job(struct launching *l)
{
    struct err e = {0};
    struct ledger_reservation r;
    const char *step = "reserve";
    int reserved = reserve(l, &r, &e);
    lane_reserved(l->lane);
    if (reserved != 0) {
        settle_failed(l, step, &e);
        return;
    }
    if (r.outcome != LEDGER_RESERVED) {
        settle_unreserved(l, &r);
        return;
    }
    l->vm = r.vm;
    if (bring_up(l, &step, &e) != 0) {
        abandon(l, &e);
        settle_failed(l, step, &e);
        return;
    }
    settle_launched(l);
}

void launch(struct worker *w, struct lane *lane, const struct config *c, struct queue_message *m)
{
    struct err e = {0};
    struct launching l = {.worker = w, .lane = lane, .config = c, .message = m};
    l.started_us = clock_mono_us();
    buf_init(&l.payload, PAYLOAD_PACKED_MAX);
    if (job_event_decode((struct slice){m->body, m->body_len}, &l.job, &e) != 0) {
        lane_reserved(lane);
        worker_bury(w, m, e.message);
        return;
    }
    l.class = config_class_by_name(c, slice_of(l.job.class_name));
    if (l.class == NULL) {
        lane_reserved(lane);
        worker_bury(w, m,
                    "its class is not configured here: add the class, then kick this message");
        return;
    }
    l.scope = github_scope_of(c, l.job.repository, l.job.organization, l.job.installation_id);
    launch_job(&l);
    github_jit_fini(&l.jit);
    if (l.payload.data != NULL) {
        explicit_bzero(l.payload.data, l.payload.len); /* it holds the runner's key */
    }
    buf_fini(&l.payload);
}

/* --- the steps --- */

static int reserve(struct launching *l, struct ledger_reservation *r, struct err *e)
{
    struct ledger_reserve ask = {
        .job = &l->job,
        .scope = l->scope.name,
        .caps = limits_caps(l->config, l->class),
        .deployment = l->config->deployment,
        .provider = l->class->provider,
        .host = vm_host_bound(fleet_provider(l->worker->fleet, l->class->name))
                    ? fleet_host(l->worker->fleet)
                    : "",
    };
    return ledger_reserve(l->worker->ledger, &ask, r, e);
}

static int register_runner(struct launching *l, struct err *e)
{
    const char *group =
        l->class->runner_group[0] != '\0' ? l->class->runner_group : l->config->github.runner_group;
    struct github_register ask = {
        .scope = &l->scope, .name = l->vm.name, .labels = &l->class->labels, .group = group};
    if (github_register_runner(l->worker->github, &ask, &l->jit, e) != 0) {
        return -1;
    }
    l->vm.runner_id = l->jit.runner_id;
    struct ledger_advance a = {
        .vm = l->vm.name, .to = VM_REGISTERED, .runner_id = l->jit.runner_id};
    return ledger_vm_advance(l->worker->ledger, &a, NULL, e);
}

static int pack_payload(struct launching *l, struct err *e)
{
    struct vm_proxy_env proxy;
    vm_proxy_env_of(l->class, &proxy);
    struct payload p = {
        .jit_config = slice_of(l->jit.config),
        .runner_name = slice_of(l->vm.name),
        .http_proxy = slice_of(proxy.http),
        .https_proxy = slice_of(proxy.https),
        .no_proxy = slice_of(proxy.no_proxy),
        .idle_seconds = l->class->idle_seconds,
        .max_duration_seconds = l->class->max_duration_seconds,
    };
    return payload_pack(&p, &l->payload, e);
}

/* A row that stands still for longer than a lease is taken for one whose worker died, and its slot
 * may be another's: a worker that was frozen meanwhile must not launch on it. */
static int still_ours(const struct launching *l, struct err *e)
{
    int64_t took_ms = (clock_mono_us() - l->started_us) / 1000;
    if (took_ms <= l->config->worker.lease_ms) {
        return 0;
    }
    return err_set(e, ERR_RETRY, VM_RUN_NOTHING,
                   "the launch stood still for %lld ms before its VM was asked for, longer than "
                   "worker.lease_ms (%lld): it begins anew",
                   (long long)took_ms, (long long)l->config->worker.lease_ms);
}

static int run_vm(struct launching *l, struct err *e)
{
    if (still_ours(l, e) != 0) {
        return -1;
    }
    struct vm_spec spec = {
        .name = l->vm.name,
        .client_token = l->vm.client_token,
        .payload = buf_slice(&l->payload),
        .max_duration_ms = l->class->max_duration_seconds * 1000,
    };
    l->something_may_run = true;
    int rc = vm_run(fleet_provider(l->worker->fleet, l->class->name), &spec, l->vm.vm_id, e);
    if (rc != 0) {
        l->something_may_run = !vm_run_left_nothing(e);
    }
    return rc;
}

static int record(struct launching *l, struct err *e)
{
    struct ledger_advance a = {
        .vm = l->vm.name,
        .to = VM_LAUNCHED,
        .vm_id = l->vm.vm_id,
        .deadline_ms = clock_wall_ms() + l->class->max_duration_seconds * 1000,
    };
    return ledger_vm_advance(l->worker->ledger, &a, NULL, e);
}

/* Takes back what a failed launch left: registration, machine, row. What cannot be taken back now
 * stays a row in state `ending`, which the reaper works off. */
static void abandon(struct launching *l, const struct err *why)
{
    struct err e = {0};
    char reason[96];
    (void)snprintf(reason, sizeof reason, "launch failed: %.70s", why->message);
    struct fleet_end how = {
        .reason = reason, .grace_ms = END_GRACE_MS, .nothing_runs = !l->something_may_run};
    l->vm.state = l->vm.runner_id > 0 ? VM_REGISTERED : VM_RESERVED;
    if (fleet_end_vm(l->worker->fleet, &l->vm, &how, &e) != 0) {
        log_warn("abandon_incomplete", LOG_STR("vm", l->vm.name), LOG_INT("job", l->job.job_id),
                 LOG_ERR(&e), LOG_STR("next", "the reaper ends what is left of it"));
        return;
    }
    stop_wake(&l->worker->intake); /* its slot is free */
}

/* --- how a message ends --- */

static void count(const struct launching *l, const char *outcome)
{
    struct buf label;
    buf_init(&label, 256);
    metrics_label(&label, "class", l->job.class_name);
    metrics_label(&label, "outcome", outcome);
    metric_inc(metrics_counter("mayfly_worker_launches_total",
                               "Launch messages by how their handling ended.", label.data));
    buf_fini(&label);
}

static void tell(const struct launching *l, const char *what, const char *detail)
{
    struct err e = {0};
    if (ledger_tell(l->worker->ledger, l->job.job_id, l->vm.name, what, detail, &e) != 0) {
        log_debug("timeline_not_written", LOG_INT("job", l->job.job_id), LOG_ERR(&e));
    }
}

static int64_t wait_of(const struct ledger_reservation *r)
{
    if (r->outcome == LEDGER_RATE && r->wait_ms > 0) {
        return r->wait_ms;
    }
    bool raced = r->outcome == LEDGER_FULL_FLEET || r->outcome == LEDGER_FULL_CLASS;
    return raced ? RACE_DELAY_MS : FULL_DELAY_MS;
}

static void settle_unreserved(struct launching *l, const struct ledger_reservation *r)
{
    count(l, ledger_outcome_name(r->outcome));
    if (r->outcome == LEDGER_SATISFIED || r->outcome == LEDGER_OBSOLETE) {
        log_info("launch_not_needed", LOG_INT("job", l->job.job_id),
                 LOG_STR("class", l->class->name), LOG_STR("why", ledger_outcome_name(r->outcome)),
                 LOG_INT("demand", r->demand), LOG_INT("supply", r->supply));
        worker_done(l->worker, l->message);
        return;
    }
    struct queue_return back = {.delay_ms = wait_of(r), .reason = ledger_outcome_name(r->outcome)};
    worker_return(l->worker, l->message, &back);
}

/* A refusal counts against the class where GitHub or the provider spoke it; while it is stopped,
 * its jobs wait, whatever the table says. */
static void ask_breaker(struct launching *l, const char *step, const struct err *why,
                        struct outcome *o)
{
    bool spoken = strcmp(step, "reserve") != 0 && strcmp(step, "record") != 0;
    if (!spoken || !breaker_counts(why)) {
        return;
    }
    struct breaker_refusal r =
        breaker_refused(lane_breaker(l->lane), l->config, l->message->id, l->job.job_id, why);
    if (r.stopped) {
        *o = (struct outcome){.action = OUTCOME_WAIT, .delay_ms = r.delay_ms};
    }
}

static void settle_failed(struct launching *l, const char *step, const struct err *why)
{
    struct outcome o = outcome_of(why, l->message->attempts, &l->config->retry);
    char detail[300];
    ask_breaker(l, step, why, &o);
    (void)snprintf(detail, sizeof detail, "%s (attempt %lld of %lld): %.220s", step,
                   (long long)l->message->attempts + 1, (long long)l->config->retry.max_attempts,
                   why->message);
    count(l, outcome_name(o.action));
    tell(l, outcome_name(o.action), detail);
    log_warn("launch_failed", LOG_INT("job", l->job.job_id), LOG_STR("class", l->class->name),
             LOG_STR("vm", l->vm.name), LOG_STR("step", step),
             LOG_STR("next", outcome_name(o.action)), LOG_INT("delay_ms", o.delay_ms),
             LOG_INT("attempts", l->message->attempts + 1), LOG_ERR(why));
    if (o.pause_class) {
        lane_pause_until(l->lane, clock_mono_ms() + o.delay_ms);
    }
    if (o.action == OUTCOME_BURY) {
        worker_bury(l->worker, l->message, detail);
        return;
    }
    struct queue_return back = {
        .delay_ms = o.delay_ms, .spend_attempt = o.action == OUTCOME_RETRY, .reason = detail};
    worker_return(l->worker, l->message, &back);
}

static void settle_launched(struct launching *l)
{
    static const int64_t bounds_ms[] = {5,    10,   25,   50,    100,   250,   500,
                                        1000, 2500, 5000, 10000, 30000, 60000, 300000};
    struct buf label;
    int64_t now = clock_wall_ms();
    worker_done(l->worker, l->message);
    breaker_launched(lane_breaker(l->lane), l->message->id);
    count(l, "launched");
    buf_init(&label, 256);
    metrics_label(&label, "class", l->class->name);
    metric_observe_us(metrics_histogram("mayfly_worker_launch_seconds",
                                        "From taking a launch message to the VM's acceptance.",
                                        label.data, bounds_ms, COUNT_OF(bounds_ms)),
                      clock_mono_us() - l->started_us);
    metric_observe_ms(metrics_histogram("mayfly_worker_accepted_to_launched_seconds",
                                        "From the ingress accepting the delivery to the VM's "
                                        "acceptance, waiting for slots included.",
                                        label.data, bounds_ms, COUNT_OF(bounds_ms)),
                      now - l->job.received_ms);
    buf_fini(&label);
    log_info("vm_launched", LOG_INT("job", l->job.job_id), LOG_STR("class", l->class->name),
             LOG_STR("vm", l->vm.name), LOG_STR("vm_id", l->vm.vm_id),
             LOG_STR("repository", l->job.repository), LOG_INT("runner_id", l->vm.runner_id),
             LOG_INT("launch_ms", (clock_mono_us() - l->started_us) / 1000),
             LOG_INT("since_received_ms", now - l->job.received_ms));
}
