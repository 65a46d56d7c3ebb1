#include "worker/launching.h"

#include <stdio.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/fleet/caps.h"
#include "common/fleet/output.h"
#include "common/job/lane.h"
#include "common/payload/payload.h"
#include "worker/hand_over.h"
#include "worker/idle/idle_launch.h"
#include "worker/launch_image.h"
#include "worker/launch_payload.h"
#include "worker/old_request.h"
#include "worker/reconcile.h"
#include "worker/unconfigured.h"

/* The limit of a step that makes a call or two to the ledger or GitHub, with their retries. Only
 * the step that runs the VM may use the rest of the launch's time. */
#define STEP_LIMIT_MS 60000
#define TERMINATE_GRACE_MS 0 /* the VM of a failed launch runs no job */
#define WRITE_AGAIN_MS 100 /* the first delay after the ledger refused a write, doubled each time */
#define WRITE_AGAIN_MAX_MS 5000
#define THROTTLED_TRIES 3 /* of the call that runs the VM */
#define THROTTLED_WAIT_MAX_MS 30000
#define THROTTLED_JITTER_MS 1000 /* so that launches that were throttled together come apart */

static struct vm_provider *provider_of(const struct launching *l);
static void release_lane(struct launching *l);
static void begin_anew(struct launching *l);
static int reserve_slot(struct launching *l, bool *reserved, struct err *e);
static int check_room(struct launching *l, struct err *e);
static int choose_image(struct launching *l, struct err *e);
static int register_runner(struct launching *l, struct err *e);
static int pack_payload(struct launching *l, struct err *e);
static int run_vm(struct launching *l, struct err *e);
static int record_vm(struct launching *l, struct err *e);
static void roll_back(struct launching *l, const struct err *why);

/* --- the protocol --- */

/* Steps 2 to 5: this launch owns the slot and the row. */
static int launch_vm(struct launching *l, struct err *e)
{
    if (reconcile_check(l->worker, l->place, e) != 0 || check_room(l, e) != 0 ||
        choose_image(l, e) != 0 || register_runner(l, e) != 0 || pack_payload(l, e) != 0 ||
        run_vm(l, e) != 0 || record_vm(l, e) != 0) {
        return -1;
    }
    return 0;
}

/* The whole protocol at one place. */
static enum launch_result launch_there(struct launching *l, struct err *e)
{
    bool reserved = false;
    int failed = reserve_slot(l, &reserved, e);
    release_lane(l);
    if (reserved) {
        failed = launch_vm(l, e);
        if (l->has_room) {
            vm_room_release(provider_of(l));
        }
        if (failed != 0) {
            roll_back(l, e);
        }
    }
    return failed != 0 ? LAUNCH_FAILED : reserved ? LAUNCH_DONE : LAUNCH_NOT_RESERVED;
}

/* Place after place, as long as only the place is to blame. */
static enum launch_result launch_somewhere(struct launching *l, struct err *e)
{
    for (;;) {
        enum launch_result result = launch_there(l, e);
        if (result == LAUNCH_FAILED) {
            launch_judge(l, e);
        }
        circuits_leave(l->worker->circuits, &l->subjects, l->holder);
        if (result == LAUNCH_DONE || !launch_go_elsewhere(l, result, e)) {
            return result;
        }
        begin_anew(l);
    }
}

/* From the received message to its ack, nack or dead letter. The heartbeat keeps the message leased
 * while the launch is in progress. */
static void launch_job(struct launching *l)
{
    struct err e = {0};
    struct circuits_stop stop;
    enum launch_finding found = launch_find_place(l, &stop, &e);
    if (found == LAUNCH_STOPPED) {
        release_lane(l);
        launch_park(l, &stop);
        return;
    }
    heartbeat_begin(l->worker->heartbeat, &l->heartbeat, l->message,
                    l->config->worker.visibility_timeout_ms, l->config->reaper.startup_timeout_ms);
    enum launch_result result = found == LAUNCH_HELD ? LAUNCH_NOT_RESERVED : LAUNCH_FAILED;
    if (found == LAUNCH_FOUND) {
        result = launch_somewhere(l, &e);
    } else if (found == LAUNCH_UNKNOWN) {
        launch_judge(l, &e);
    }
    release_lane(l);
    heartbeat_end(l->worker->heartbeat, &l->heartbeat);
    launch_close(l, result, &e);
}

/* Where the runner registers. A request with a job follows the current configuration, not the one
 * at the time of the request. */
static void find_scope(struct launching *l)
{
    const struct job *job = &l->request.job;
    l->scope = job->id != 0 ? github_scope_of(l->config, l->class, job)
                            : github_scope_parse(l->request.scope, job->installation_id);
    scope_name_make(l->scope.name, l->scope.group, l->scope_name);
    l->group = config_scope_group(l->config, l->class, l->scope_name);
}

/* Its credentials are in the configuration and in the payload. */
static void forget_runner(struct launching *l)
{
    github_jit_fini(&l->jit);
    l->jit = (struct github_jit){.runner_id = 0};
    if (l->payload.data != NULL) {
        explicit_bzero(l->payload.data, l->payload.len);
    }
    l->payload.len = 0;
}

/* Another place: another row and token, and another runner. */
static void begin_anew(struct launching *l)
{
    forget_runner(l);
    l->vm = (struct ledger_vm){.runner_id = 0};
    l->console.len = 0;
    l->run_at_ms = 0;
    l->has_room = false;
    l->vm_may_run = false;
    l->image_failed = false;
}

static struct vm_provider *provider_of(const struct launching *l)
{
    return fleet_provider(l->worker->fleet, l->place->name);
}

/* Once: the lane counts messages that may still need a slot. */
static void release_lane(struct launching *l)
{
    if (!l->lane_knows) {
        lane_reservation_ended(l->lane);
    }
    l->lane_knows = true;
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
    if (!request_is_configured(c, &l.request)) {
        lane_reservation_ended(lane);
        return_unconfigured(w, c, m, &l.request);
        return;
    }
    find_scope(&l);
    random_hex(l.holder, sizeof l.holder / 2);
    launch_job(&l);
    forget_runner(&l);
    buf_fini(&l.payload);
    buf_fini(&l.console);
}

/* --- the steps --- */

int64_t launch_time_left_ms(const struct launching *l)
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

static const struct config_rate *launch_rate_of(const struct launching *l)
{
    return l->place->target != NULL ? &l->place->target->launch_rate
                                    : &l->config->limits.launch_rate;
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
                     ? fleet_advance_registered(l->worker->fleet, l->place->name, launch_rate_of(l),
                                                a, &wait_ms, e)
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

bool launch_wants_no_vm(const struct launching *l)
{
    return l->reservation.outcome == LEDGER_SATISFIED || l->reservation.outcome == LEDGER_OBSOLETE;
}

/* Step 1: reserve a slot and a row in the ledger, if a VM is wanted and the caps allow it. */
static int reserve_slot(struct launching *l, bool *reserved, struct err *e)
{
    struct vm_provider *p = provider_of(l);
    struct ledger_reserve request = {
        .request = &l->request,
        .scope = l->scope_name,
        .caps = fleet_caps(l->config, l->place),
        .deployment = l->config->deployment,
        .provider = l->class->provider,
        .host = vm_host_bound(p) ? fleet_host(l->worker->fleet) : "",
        .target = config_place_target(l->place),
        .hold_ms = l->class->hold_on_failure_ms,
    };
    begin_step(l, "reserve", STEP_LIMIT_MS);
    idle_launch_limit(l->class, &l->request);
    old_request_check(l->worker, &l->request, l->scope_name, lane_known_since_ms(l->lane));
    do {
        l->takeover = (struct takeover){.ended = false};
        if (ledger_reserve(l->worker->ledger, &request, &l->reservation, e) != 0) {
            return err_said_by(e, ERR_FROM_LEDGER);
        }
        /* No VM is wanted, perhaps only because a dead worker's launch still counts as supply. */
        if (launch_wants_no_vm(l) && takeover_dead_launch(l->worker, l->config, &l->request,
                                                          l->scope_name, &l->takeover, e) != 0) {
            return err_said_by(e, ERR_FROM_LEDGER);
        }
    } while (l->takeover.ended);
    if (launch_wants_no_vm(l) && l->takeover.wait_ms == 0) {
        (void)idle_launch_instead(l->worker, l->lane, l->class, &request, &l->request,
                                  &l->reservation);
    }
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
    l->has_room = vm_room(provider_of(l), e) == 0;
    return l->has_room ? 0 : -1;
}

/* Which version of the class's image the VM is launched from: the row has it before the VM exists. */
static int choose_image(struct launching *l, struct err *e)
{
    begin_step(l, "image", STEP_LIMIT_MS);
    return launch_image_choose(l->worker, l->place, l->message, &l->request, l->vm.name, &l->image,
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
    places_call_began(l->worker->fleet, l->place->name);
    int rc = vm_run(provider_of(l), spec, l->vm.vm_id, e);
    places_call_ended(l->worker->fleet, l->place->name,
                      rc == 0 || e->class != ERR_RETRY || e->code > 0);
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
    /* A class with several targets has another place to try. */
    int tries = l->class->target_count > 1 ? 1 : THROTTLED_TRIES;
    int rc = run_vm_once(l, &spec, e);
    for (int try = 1; rc != 0 && try < tries && e->class == ERR_THROTTLED; try++) {
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
        l->image_failed = launch_image_failed(l->worker, l->place, &l->image, e);
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
