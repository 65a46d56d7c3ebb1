#include "worker/launch.h"

#include <stdio.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/fleet/caps.h"
#include "common/fleet/output.h"
#include "common/job/lane.h"
#include "common/ledger/give_ups.h"
#include "common/payload/payload.h"
#include "worker/hand_over.h"
#include "worker/heartbeat.h"
#include "worker/launch_image.h"
#include "worker/launch_payload.h"
#include "worker/old_request.h"
#include "worker/reconcile.h"
#include "worker/returns.h"
#include "worker/takeover.h"

/* The limit of a step that makes a call or two to the ledger or GitHub, with their retries. Only
 * the step that runs the VM may use the rest of the launch's time. */
#define STEP_LIMIT_MS 60000
#define TERMINATE_GRACE_MS 0 /* the VM of a failed launch runs no job */
#define WRITE_AGAIN_MS 100 /* the first delay after the ledger refused a write, doubled each time */
#define WRITE_AGAIN_MAX_MS 5000
#define THROTTLED_TRIES 3 /* of the call that runs the VM */
#define THROTTLED_WAIT_MAX_MS 30000
#define THROTTLED_JITTER_MS 1000 /* so that launches that were throttled together come apart */

/* One launch in progress. */
struct launching {
    struct worker *worker;
    struct lane *lane;
    const struct config *config;
    const struct config_class *class;
    struct queue_message *message;
    struct heartbeat_launch heartbeat;
    struct launch_request request;
    struct github_scope scope;
    char scope_name[SCOPE_SIZE]; /* as the ledger counts it */
    const char *group;           /* of runners, where it registers */
    struct subjects subjects;    /* what this launch depends on */
    char holder[33];             /* of the circuits that it probes */
    const char *step;            /* the current step, or the one that failed */
    struct ledger_reservation reservation;
    struct takeover takeover; /* other workers' launches for the job, when no VM is wanted */
    struct ledger_vm vm;
    struct image_choice image;
    bool image_failed; /* the launch shows that the image's version does not work */
    struct github_jit jit;
    struct buf payload;
    struct buf console; /* the end of it, of a VM that failed to start */
    int64_t started_us;
    int64_t run_at_ms; /* monotonic: not before */
    bool has_room;     /* of its host, which is to be used or released */
    bool vm_may_run;   /* the provider got the request and did not refuse it */
};

static int reserve_slot(struct launching *l, bool *reserved, struct err *e);
static int check_room(struct launching *l, struct err *e);
static int choose_image(struct launching *l, struct err *e);
static int register_runner(struct launching *l, struct err *e);
static int pack_payload(struct launching *l, struct err *e);
static int run_vm(struct launching *l, struct err *e);
static int record_vm(struct launching *l, struct err *e);
static void roll_back(struct launching *l, const struct err *why);
static bool is_stopped(struct launching *l, struct circuits_stop *stop);
static void park(struct launching *l, const struct circuits_stop *stop);
static void handle_not_reserved(struct launching *l);
static void handle_failure(struct launching *l, const struct err *why);
static void handle_success(struct launching *l);

/* --- the protocol --- */

/* Steps 2 to 5: this launch owns the slot and the row. */
static int launch_vm(struct launching *l, struct err *e)
{
    if (reconcile_check(l->worker, l->class, e) != 0 || check_room(l, e) != 0 ||
        choose_image(l, e) != 0 || register_runner(l, e) != 0 || pack_payload(l, e) != 0 ||
        run_vm(l, e) != 0 || record_vm(l, e) != 0) {
        return -1;
    }
    return 0;
}

/* From the received message to its ack, nack or dead letter. The heartbeat keeps the message leased
 * while the launch is in progress. */
static void launch_job(struct launching *l)
{
    struct err e = {0};
    struct circuits_stop stop;
    bool reserved = false;
    if (is_stopped(l, &stop)) {
        lane_reservation_ended(l->lane);
        park(l, &stop);
        return;
    }
    heartbeat_begin(l->worker->heartbeat, &l->heartbeat, l->message,
                    l->config->worker.visibility_timeout_ms, l->config->reaper.startup_timeout_ms);
    int failed = reserve_slot(l, &reserved, &e);
    lane_reservation_ended(l->lane);
    if (reserved) {
        failed = launch_vm(l, &e);
        if (l->has_room) {
            vm_room_release(fleet_provider(l->worker->fleet, l->class->name));
        }
        if (failed != 0) {
            roll_back(l, &e);
        }
    }
    heartbeat_end(l->worker->heartbeat, &l->heartbeat);
    if (failed != 0) {
        handle_failure(l, &e);
    } else if (!reserved) {
        handle_not_reserved(l);
    } else {
        handle_success(l);
    }
    circuits_leave(l->worker->circuits, &l->subjects, l->holder);
}

/* Where the runner registers. A request with a job follows the current configuration, not the one
 * at the time of the request. */
static void find_scope(struct launching *l)
{
    const struct job *job = &l->request.job;
    l->scope = job->id != 0 ? github_scope_of(l->config, l->class, job)
                            : github_scope_parse(l->request.scope, job->installation_id);
    scope_name_make(l->scope.name, l->scope.group, l->scope_name);
    l->group = l->scope.group[0] != '\0' ? l->scope.group : config_class_group(l->config, l->class);
}

/* A reload has removed the class since its lane was polled: no trouble of the job, which waits as the
 * rest of the lane does. A request in another class's lane would never be looked at again. */
static void handle_unknown_class(struct worker *w, const struct config *c,
                                 const struct queue_message *m, const char *class_name)
{
    const struct queue_return back = {.delay_ms = circuits_park_max_ms(c),
                                      .reason = "its runner class is not configured any more"};
    const char *of_lane = launch_lane_class(m->lane);
    if (of_lane != NULL && strcmp(of_lane, class_name) == 0) {
        worker_nack(w, m, &back);
    } else {
        worker_dead_letter(
            w, m, "its class is not configured here: add the class, then redrive this message");
    }
}

void launch(struct worker *w, struct lane *lane, const struct config *c, struct queue_message *m)
{
    struct err e = {0};
    struct launching l = {.worker = w, .lane = lane, .config = c, .message = m};
    l.started_us = clock_mono_us();
    buf_init(&l.payload, PAYLOAD_PACKED_MAX);
    buf_init(&l.console, FLEET_OUTPUT_RAW_MAX);
    if (launch_request_decode((struct slice){m->body, m->body_len}, &l.request, &e) != 0) {
        lane_reservation_ended(lane);
        worker_reject(w, m, &e);
        return;
    }
    l.class = config_class_by_name(c, slice_of(l.request.class_name));
    if (l.class == NULL) {
        lane_reservation_ended(lane);
        handle_unknown_class(w, c, m, l.request.class_name);
        return;
    }
    find_scope(&l);
    l.subjects = *lane_subjects(lane);
    subjects_add_scope(&l.scope, l.class, l.group, l.request.job.repository, &l.subjects);
    random_hex(l.holder, sizeof l.holder / 2);
    launch_job(&l);
    github_jit_fini(&l.jit);
    if (l.payload.data != NULL) {
        explicit_bzero(l.payload.data, l.payload.len); /* it holds the runner's credentials */
    }
    buf_fini(&l.payload);
    buf_fini(&l.console);
}

/* --- the steps --- */

static int64_t launch_time_left_ms(const struct launching *l)
{
    int64_t spent_ms = (clock_mono_us() - l->started_us) / 1000;
    return l->config->reaper.startup_timeout_ms - spent_ms;
}

static void begin_step(struct launching *l, const char *step, int64_t limit_ms)
{
    l->step = step;
    heartbeat_step(l->worker->heartbeat, &l->heartbeat, step, limit_ms);
}

static void works(struct launching *l, unsigned subjects)
{
    circuits_succeeded(l->worker->circuits, &l->subjects, subjects);
}

/* What the other side has answered is written until it is written (invariant 4), as long as the
 * launch owns its message and its row. A row that is not there was lost with its ledger. `stop`
 * ends it before. */
static int advance(struct launching *l, const struct ledger_advance *a, struct wakeup *stop,
                   struct err *e)
{
    int64_t age_ms;
    int64_t wait_ms = 0;
    for (int attempt = 1;; attempt++) {
        int rc = a->to == VM_REGISTERED
                     ? fleet_advance_registered(l->worker->fleet, l->class->name,
                                                &l->config->limits.launch_rate, a, &wait_ms, e)
                     : ledger_vm_advance(l->worker->ledger, a, NULL, e);
        if (rc == 0) {
            l->run_at_ms = clock_mono_ms() + wait_ms;
            return 0;
        }
        if (e->class == ERR_CONFLICT || e->class == ERR_NOT_FOUND || wakeup_raised(stop) ||
            !heartbeat_still_held(l->worker->heartbeat, &l->heartbeat, &age_ms)) {
            return err_said_by(e, ERR_FROM_LEDGER);
        }
        (void)wakeup_sleep(stop, backoff_ceiling_ms(WRITE_AGAIN_MS, WRITE_AGAIN_MAX_MS, attempt));
    }
}

static bool no_vm_is_wanted(const struct launching *l)
{
    return l->reservation.outcome == LEDGER_SATISFIED || l->reservation.outcome == LEDGER_OBSOLETE;
}

/* Step 1: reserve a slot and a row in the ledger, if a VM is wanted and the caps allow it. */
static int reserve_slot(struct launching *l, bool *reserved, struct err *e)
{
    struct vm_provider *p = fleet_provider(l->worker->fleet, l->class->name);
    struct ledger_reserve request = {
        .request = &l->request,
        .scope = l->scope_name,
        .caps = fleet_caps(l->config, l->class),
        .deployment = l->config->deployment,
        .provider = l->class->provider,
        .host = vm_host_bound(p) ? fleet_host(l->worker->fleet) : "",
        .hold_ms = l->class->hold_on_failure_ms,
    };
    begin_step(l, "reserve", STEP_LIMIT_MS);
    old_request_check(l->worker, &l->request, l->scope_name, lane_known_since_ms(l->lane));
    do {
        l->takeover = (struct takeover){.ended = false};
        if (ledger_reserve(l->worker->ledger, &request, &l->reservation, e) != 0) {
            return err_said_by(e, ERR_FROM_LEDGER);
        }
        /* No VM is wanted, perhaps only because a dead worker's launch still counts as supply. */
        if (no_vm_is_wanted(l) && takeover_dead_launch(l->worker, l->config, &l->request,
                                                       l->scope_name, &l->takeover, e) != 0) {
            return err_said_by(e, ERR_FROM_LEDGER);
        }
    } while (l->takeover.ended);
    *reserved = l->reservation.outcome == LEDGER_RESERVED;
    if (*reserved) {
        l->vm = l->reservation.vm;
        heartbeat_set_row(l->worker->heartbeat, &l->heartbeat, l->vm.name);
        lane_log_waits(l->lane, l->request.job.id, l->vm.name, l->request.requested_ms);
    }
    return 0;
}

static int check_room(struct launching *l, struct err *e)
{
    begin_step(l, "room", STEP_LIMIT_MS);
    l->has_room = vm_room(fleet_provider(l->worker->fleet, l->class->name), e) == 0;
    return l->has_room ? 0 : -1;
}

/* Which version of the class's image the VM is launched from: the row has it before the VM exists. */
static int choose_image(struct launching *l, struct err *e)
{
    begin_step(l, "image", STEP_LIMIT_MS);
    return launch_image_choose(l->worker, l->class, l->message, &l->request, l->vm.name, &l->image,
                               e);
}

/* Step 2: register a runner at GitHub that runs one job (JIT config). Its id is in the row before a
 * VM may exist. Launches reserved one after the other come out of GitHub together, more than the
 * provider's service takes at once: so the write takes each one's start time too. */
static int register_runner(struct launching *l, struct err *e)
{
    struct github_register request = {
        .scope = &l->scope, .name = l->vm.name, .labels = &l->class->labels, .group = l->group};
    begin_step(l, "register", STEP_LIMIT_MS);
    if (github_register_runner(l->worker->github, &request, &l->jit, e) != 0) {
        return -1;
    }
    l->vm.runner_id = l->jit.runner_id;
    works(l, SUBJECTS_OF_GITHUB);
    struct ledger_advance a = {.vm = l->vm.name,
                               .to = VM_REGISTERED,
                               .runner_id = l->jit.runner_id,
                               .image_version = l->image.version,
                               .image_part = l->image.part};
    begin_step(l, "register", launch_time_left_ms(l));
    return advance(l, &a, &l->worker->intake, e);
}

/* Step 3: pack what the VM's agent gets: the runner's registration, and its limits. */
static int pack_payload(struct launching *l, struct err *e)
{
    begin_step(l, "pack", STEP_LIMIT_MS);
    return launch_pack_payload(l->class, l->jit.config, l->vm.name, &l->payload, e);
}

/* Other processes treat a launch without a heartbeat for a whole lease as dead: its message and its
 * slot may be another worker's by now. A worker that was frozen must not launch a VM on them. */
static int check_still_owned(struct launching *l, struct err *e)
{
    int64_t age_ms;
    if (heartbeat_still_held(l->worker->heartbeat, &l->heartbeat, &age_ms)) {
        return 0;
    }
    return err_set(
        e, ERR_RETRY, VM_RUN_NOTHING,
        "the launch lost its message or its row before its VM was requested: its last "
        "heartbeat was %lld ms ago, worker.visibility_timeout is %lld ms; it starts again",
        (long long)age_ms, (long long)l->config->worker.visibility_timeout_ms);
}

static int run_vm_once(struct launching *l, const struct vm_spec *spec, struct err *e)
{
    if (check_still_owned(l, e) != 0) {
        return -1;
    }
    l->vm_may_run = true;
    l->has_room = false; /* the run takes it */
    int rc = vm_run(fleet_provider(l->worker->fleet, l->class->name), spec, l->vm.vm_id, e);
    l->vm_may_run = rc == 0 || !vm_run_left_nothing(e);
    return rc;
}

/* Step 4: run the VM. A throttled call is repeated when the service wants it, since all else is
 * done. The next step records the provider's response. */
static int run_vm(struct launching *l, struct err *e)
{
    const struct vm_spec spec = {
        .name = l->vm.name,
        .client_token = l->vm.client_token,
        .image_version = l->image.version,
        .payload = buf_slice(&l->payload),
        .max_duration_ms = l->class->max_duration_ms,
        .console = &l->console,
    };
    begin_step(l, "run", launch_time_left_ms(l));
    int64_t early_ms = l->run_at_ms - clock_mono_ms();
    if (early_ms > 0) {
        (void)wakeup_sleep(&l->worker->working, early_ms);
    }
    int rc = run_vm_once(l, &spec, e);
    for (int try = 1; rc != 0 && try < THROTTLED_TRIES && e->class == ERR_THROTTLED; try++) {
        int64_t wait_ms = e->retry_after_ms +
                          backoff_full_jitter_ms(THROTTLED_JITTER_MS, THROTTLED_WAIT_MAX_MS, try);
        if (wait_ms > THROTTLED_WAIT_MAX_MS || wakeup_sleep(&l->worker->intake, wait_ms)) {
            break;
        }
        rc = run_vm_once(l, &spec, e);
    }
    if (rc == 0 || e->from == ERR_FROM_PROVIDER) { /* it let through this, and the registration */
        works(l, SUBJECT_BIT(SUBJECT_PROXY));
    }
    if (rc == 0) {
        works(l, SUBJECTS_OF_PROVIDER);
    } else {
        l->image_failed = launch_image_failed(l->worker, l->class, &l->image, e);
    }
    return rc;
}

/* Step 5: record the VM's id and its deadline in the row. It is never dropped: nothing else leads to
 * the VM. While ledger and queue are both away nothing can be launched, so this thread has nothing
 * better to do than to try again, also while the worker drains: worker.drain_timeout ends that. */
static int record_vm(struct launching *l, struct err *e)
{
    struct ledger_advance a = {
        .vm = l->vm.name,
        .to = VM_LAUNCHED,
        .vm_id = l->vm.vm_id,
        .deadline_ms = clock_wall_ms() + l->class->max_duration_ms,
    };
    struct wakeup *stop = &l->worker->working;
    begin_step(l, "record", launch_time_left_ms(l));
    while (advance(l, &a, stop, e) != 0) {
        if (e->class == ERR_CONFLICT) {
            return -1; /* the row is another's, or gone: this VM must end */
        }
        if (e->class == ERR_NOT_FOUND && reconcile_restore_row(l->worker, &l->vm, &a, e) == 0) {
            return 0;
        }
        if (hand_over_vm(l->worker, &a)) {
            return 0;
        }
        if (wakeup_sleep(stop, WRITE_AGAIN_MAX_MS)) {
            return -1;
        }
    }
    return 0;
}

/* Removes what a failed launch left: registration, VM, row. What cannot be removed now stays a row
 * in state `ending`, which the reaper terminates. A VM that was launched, and could not be recorded
 * for a while, may be at work by now: it is spared then. l->step stays the one that failed. */
static void roll_back(struct launching *l, const struct err *why)
{
    struct err e = {0};
    char reason[sizeof why->message + 16];
    (void)snprintf(reason, sizeof reason, "launch failed: %s", why->message);
    struct fleet_termination how = {.reason = reason,
                                    .grace_ms = TERMINATE_GRACE_MS,
                                    .evidence =
                                        l->vm.vm_id[0] != '\0' ? FLEET_REQUESTED : FLEET_OVER,
                                    .nothing_runs = !l->vm_may_run,
                                    .image_failed = l->image_failed};
    fleet_output_keep_text(l->worker->fleet, l->vm.name, buf_slice(&l->console));
    heartbeat_step(l->worker->heartbeat, &l->heartbeat, "roll back", STEP_LIMIT_MS);
    heartbeat_set_row(l->worker->heartbeat, &l->heartbeat, ""); /* the row is about to end */
    l->vm.state = l->vm.runner_id > 0 ? VM_REGISTERED : VM_RESERVED;
    if (fleet_terminate_vm(l->worker->fleet, &l->vm, &how, &e) != 0) {
        log_warn("launch_rollback_incomplete", LOG_STR("vm", l->vm.name),
                 LOG_INT("job_id", l->request.job.id), LOG_ERR(&e),
                 LOG_STR("action", "the reaper cleans up what is left"));
        return;
    }
    wakeup_signal(&l->worker->intake); /* its slot was released */
}

/* --- what happens to the message --- */

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
 * attempt. */
static void handle_not_reserved(struct launching *l)
{
    const struct ledger_reservation *r = &l->reservation;
    count_outcome(l, ledger_outcome_name(r->outcome));
    if (no_vm_is_wanted(l) && l->takeover.wait_ms > 0) {
        struct queue_return back = {.delay_ms = l->takeover.wait_ms,
                                    .reason =
                                        "another worker's launch for this job is in progress"};
        worker_nack(l->worker, l->message, &back);
        return;
    }
    if (no_vm_is_wanted(l)) {
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

/* Whether a circuit stops this launch. Where one is half-open, this launch is its probe. */
static bool is_stopped(struct launching *l, struct circuits_stop *stop)
{
    int64_t until_ms = clock_wall_ms() + l->config->worker.visibility_timeout_ms;
    return circuits_enter(l->worker->circuits, &l->subjects, l->holder, until_ms, stop) > 0;
}

/* Returns the message unspent, behind those never tried. */
static void park(struct launching *l, const struct circuits_stop *stop)
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
static void log_failure(const struct launching *l, const struct verdict *v, enum treatment t,
                        int64_t delay_ms, const struct err *why)
{
    if (why->class == ERR_THROTTLED && why->code <= 0 && why->from != ERR_FROM_PROVIDER) {
        return;
    }
    log_warn("launch_failed", LOG_INT("job_id", l->request.job.id),
             LOG_STR("class", l->class->name), LOG_STR("vm", l->vm.name), LOG_STR("step", l->step),
             LOG_STR("subject", v->subject < SUBJECT_CIRCUITS ? l->subjects.names[v->subject]
                                                              : subject_kind(v->subject)),
             LOG_STR("action", treatment_name(t)), LOG_INT("delay_ms", delay_ms),
             LOG_INT("attempts", l->message->attempts + (t == TREAT_WAIT ? 0 : 1)), LOG_ERR(why));
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
static void handle_failure(struct launching *l, const struct err *why)
{
    struct verdict v = circuits_verdict(l->worker->circuits, &l->subjects, l->scope.is_repository,
                                        l->request.job.id, why);
    enum treatment t = treat(l, &v);
    char detail[sizeof why->message + LEDGER_CELL_NAME + 100];
    int64_t delay_ms = circuits_failed(l->worker->circuits, l->config, &l->subjects, &v,
                                       l->request.job.id, l->holder, why);
    describe_failure(l, &v, why, detail, sizeof detail);
    count_outcome(l, treatment_name(t));
    add_to_timeline(l, treatment_name(t), detail);
    log_failure(l, &v, t, delay_ms, why);
    if (t == TREAT_PERMANENT) {
        ask_to_give_up(l, detail);
        l->message->attempts++;
        worker_dead_letter(l->worker, l->message, detail);
        return;
    }
    struct queue_return back = {
        .delay_ms = delay_ms, .spend_attempt = t == TREAT_ATTEMPT, .reason = detail};
    worker_nack(l->worker, l->message, &back);
}

static void handle_success(struct launching *l)
{
    int64_t launch_us = clock_mono_us() - l->started_us;
    int64_t since_received_ms = clock_wall_ms() - l->request.requested_ms;
    worker_ack(l->worker, l->message);
    count_outcome(l, "launched");
    log_info("vm_launched", LOG_INT("job_id", l->request.job.id), LOG_STR("class", l->class->name),
             LOG_STR("vm", l->vm.name), LOG_STR("vm_id", l->vm.vm_id),
             LOG_STR("repository", l->request.job.repository),
             LOG_STR("delivery_id", l->request.delivery), LOG_INT("runner_id", l->vm.runner_id),
             LOG_INT("launch_ms", launch_us / 1000),
             LOG_INT("since_received_ms", since_received_ms));
}
