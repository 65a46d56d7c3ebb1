#include "common/ledger/rules.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BIT(s) (1U << (unsigned)(s))
#define CLOCK_STEP_MS 60000 /* a larger step back means that a clock was set, not host skew */
#define FULL 1e15           /* above any burst: the first refill cuts it to the caller's burst */
#define FAR_MS 1e15
#define TOKEN_DUST 1e-6 /* so that rounding of refilled fractions causes no further wait */

/* --- states --- */
static const unsigned job_edges[] = {
    [JOB_SEEN] = BIT(JOB_WAITING) | BIT(JOB_RUNNING) | BIT(JOB_DONE) | BIT(JOB_CANCELLED),
    [JOB_WAITING] = BIT(JOB_RUNNING) | BIT(JOB_DONE) | BIT(JOB_CANCELLED),
    [JOB_RUNNING] = BIT(JOB_DONE),
    [JOB_DONE] = 0,
    [JOB_CANCELLED] = 0,
};

static const unsigned vm_edges[] = {
    [VM_RESERVED] = BIT(VM_REGISTERED) | BIT(VM_BUSY) | BIT(VM_ENDING),
    [VM_REGISTERED] = BIT(VM_LAUNCHED) | BIT(VM_BUSY) | BIT(VM_ENDING),
    [VM_LAUNCHED] = BIT(VM_BUSY) | BIT(VM_ENDING),
    [VM_BUSY] = BIT(VM_ENDING),
    [VM_ENDING] = BIT(VM_GONE),
    [VM_GONE] = 0,
};

bool ledger_job_edge(enum ledger_job_state from, enum ledger_job_state to)
{
    return (job_edges[from] & BIT(to)) != 0;
}

bool ledger_vm_edge(enum ledger_vm_state from, enum ledger_vm_state to)
{
    return (vm_edges[from] & BIT(to)) != 0;
}

int64_t ledger_count_slots(const struct ledger_count *count)
{
    int64_t used = 0;
    for (int s = VM_RESERVED; s < VM_GONE; s++) {
        used += count->vms[s];
    }
    return used;
}

const struct ledger_count *ledger_count_of(const struct ledger_count *counts, size_t n,
                                           const char *class_name)
{
    static const struct ledger_count none;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(counts[i].class_name, class_name) == 0) {
            return &counts[i];
        }
    }
    return &none;
}

bool ledger_job_has_ended(enum ledger_job_state s)
{
    return s == JOB_DONE || s == JOB_CANCELLED;
}

bool ledger_vm_has_slot(enum ledger_vm_state s)
{
    return s != VM_GONE;
}

const char *ledger_job_state_name(enum ledger_job_state s)
{
    static const char *const names[] = {
        [JOB_SEEN] = "seen", [JOB_WAITING] = "waiting",     [JOB_RUNNING] = "running",
        [JOB_DONE] = "done", [JOB_CANCELLED] = "cancelled",
    };
    return names[s];
}

const char *ledger_vm_state_name(enum ledger_vm_state s)
{
    static const char *const names[] = {
        [VM_RESERVED] = "reserved", [VM_REGISTERED] = "registered", [VM_LAUNCHED] = "launched",
        [VM_BUSY] = "busy",         [VM_ENDING] = "ending",         [VM_GONE] = "gone",
    };
    return names[s];
}

const char *ledger_outcome_name(enum ledger_outcome o)
{
    static const char *const names[] = {
        [LEDGER_RESERVED] = "reserved",
        [LEDGER_SATISFIED] = "satisfied",
        [LEDGER_OBSOLETE] = "obsolete",
        [LEDGER_FULL_FLEET] = "full_fleet",
        [LEDGER_FULL_CLASS] = "full_class",
        [LEDGER_FULL_REPOSITORY] = "full_repository",
        [LEDGER_RATE] = "rate",
        [LEDGER_FULL_TARGET] = "full_target",
    };
    return names[o];
}

static void copy_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from);
}

/* The only setter of a job's state. at_ms: when it happened, as far as known. */
static void job_set_state(struct ledger_job *job, enum ledger_job_state to, int64_t at_ms)
{
    job->state = to;
    switch (to) {
    case JOB_SEEN:
        break;
    case JOB_WAITING:
        job->waiting_ms = at_ms;
        break;
    case JOB_RUNNING:
        job->running_ms = at_ms;
        break;
    case JOB_DONE:
    case JOB_CANCELLED:
        job->ended_ms = at_ms;
        break;
    }
}

/* The only setter of a VM's state. */
static void vm_set_state(struct ledger_vm *vm, enum ledger_vm_state to, int64_t now_ms)
{
    ASSERT(ledger_vm_edge(vm->state, to));
    vm->state = to;
    int64_t *const since[] = {
        [VM_RESERVED] = &vm->reserved_ms, [VM_REGISTERED] = &vm->registered_ms,
        [VM_LAUNCHED] = &vm->launched_ms, [VM_BUSY] = &vm->busy_ms,
        [VM_ENDING] = &vm->ending_ms,     [VM_GONE] = &vm->gone_ms,
    };
    *since[to] = now_ms;
}

/* --- jobs --- */
/* The three functions below return whether they changed the field. */
static bool set_number_if_unknown(int64_t *field, int64_t value)
{
    bool changed = *field == 0 && value > 0;
    *field = changed ? value : *field;
    return changed;
}

static bool set_text(char *field, size_t size, const char *value)
{
    bool changed = strcmp(field, value) != 0;
    if (changed) {
        copy_text(field, size, value);
    }
    return changed;
}

static bool set_text_if_unknown(char *field, size_t size, const char *value)
{
    return field[0] == '\0' && set_text(field, size, value);
}

/* Fills in the facts that the row lacks. Class and scope of a job that still needs a runner are
 * replaced, since the configuration may have changed. */
static bool fill_unknown_facts(struct ledger_job *job, const struct job *from, const char *scope,
                               bool wants_runner)
{
    struct job *to = &job->facts;
    bool changed = to->id != from->id;
    to->id = from->id;
    changed |= set_number_if_unknown(&to->run_id, from->run_id);
    changed |= set_number_if_unknown(&to->run_attempt, from->run_attempt);
    changed |= set_number_if_unknown(&to->installation_id, from->installation_id);
    changed |= set_number_if_unknown(&to->created_ms, from->created_ms);
    changed |= set_text_if_unknown(to->repository, sizeof to->repository, from->repository);
    changed |= set_text_if_unknown(to->organization, sizeof to->organization, from->organization);
    changed |= set_text_if_unknown(to->name, sizeof to->name, from->name);
    changed |= set_text_if_unknown(to->workflow, sizeof to->workflow, from->workflow);
    changed |= set_text_if_unknown(to->labels, sizeof to->labels, from->labels);
    if (wants_runner && job->state <= JOB_WAITING) {
        changed |= set_text(to->class_name, sizeof to->class_name, from->class_name);
        changed |= set_text(job->scope, sizeof job->scope, scope);
    }
    changed |= set_text_if_unknown(to->class_name, sizeof to->class_name, from->class_name);
    changed |= set_text_if_unknown(job->scope, sizeof job->scope, scope);
    return changed;
}

static bool move_job(struct ledger_job *job, bool known, enum ledger_job_state to, int64_t at_ms,
                     int64_t now_ms)
{
    if (known && !ledger_job_edge(job->state, to)) {
        return false;
    }
    job_set_state(job, to, at_ms);
    job->updated_ms = now_ms;
    return true;
}

/* When the delivery was received, which may be long before it is processed. */
static int64_t event_time(int64_t received_ms, int64_t now_ms)
{
    return received_ms > 0 && received_ms < now_ms ? received_ms : now_ms;
}

static enum ledger_job_state state_after_event(const struct ledger_job *job,
                                               const struct job_event *ev)
{
    switch (ev->action) {
    case JOB_ACTION_QUEUED:
    case JOB_ACTION_WAITING:
        /* No runner will be launched for a job without a class. */
        return job_event_wants_runner(ev) && ev->job.class_name[0] != '\0' ? JOB_WAITING : JOB_SEEN;
    case JOB_ACTION_IN_PROGRESS:
        return JOB_RUNNING;
    case JOB_ACTION_COMPLETED:
        break;
    }
    bool had_runner = ev->runner_id > 0 || ev->job.runner_name[0] != '\0' ||
                      job->facts.runner_name[0] != '\0' || job->state == JOB_RUNNING;
    return had_runner ? JOB_DONE : JOB_CANCELLED;
}

struct ledger_change ledger_rule_apply_to_job(struct ledger_job *job, bool known,
                                              const struct job_event *ev, const char *scope,
                                              int64_t now_ms)
{
    enum ledger_job_state to = state_after_event(job, ev);
    bool changed = fill_unknown_facts(job, &ev->job, scope, to == JOB_WAITING);
    bool moved = move_job(job, known, to, event_time(ev->received_ms, now_ms), now_ms);
    if (moved && ev->job.runner_name[0] != '\0') {
        copy_text(job->facts.runner_name, sizeof job->facts.runner_name, ev->job.runner_name);
    }
    changed |= set_text_if_unknown(job->facts.runner_name, sizeof job->facts.runner_name,
                                   ev->job.runner_name);
    if (ev->action == JOB_ACTION_COMPLETED) {
        changed |= set_text_if_unknown(job->facts.conclusion, sizeof job->facts.conclusion,
                                       ev->job.conclusion);
    }
    return (struct ledger_change){.row = changed || moved, .state = moved};
}

struct ledger_change ledger_rule_wait(struct ledger_job *job, bool known,
                                      const struct launch_request *r, const char *scope,
                                      int64_t now_ms)
{
    if (r->job.id == 0) {
        return (struct ledger_change){false, false};
    }
    bool changed = fill_unknown_facts(job, &r->job, scope, true);
    bool moved = move_job(job, known, JOB_WAITING, event_time(r->requested_ms, now_ms), now_ms);
    return (struct ledger_change){.row = changed || moved, .state = moved};
}

bool ledger_rule_reconcile_job(struct ledger_job *job, enum ledger_job_state to, int64_t now_ms)
{
    if (to == JOB_CANCELLED && (job->state == JOB_RUNNING || job->facts.runner_name[0] != '\0')) {
        to = JOB_DONE;
    }
    return move_job(job, true, to, now_ms, now_ms);
}

/* --- VMs --- */
const char *ledger_rule_runner(const struct job_event *ev, const struct ledger_job *job)
{
    if (ev->action != JOB_ACTION_IN_PROGRESS && ev->action != JOB_ACTION_COMPLETED) {
        return "";
    }
    return ev->job.runner_name[0] != '\0' ? ev->job.runner_name : job->facts.runner_name;
}

static struct ledger_change end_after_job(struct ledger_vm *vm, const struct ledger_job *job,
                                          int64_t now_ms)
{
    vm->job_id = job->facts.id;
    (void)snprintf(vm->end_reason, sizeof vm->end_reason, "job completed: %s",
                   job->facts.conclusion[0] != '\0' ? job->facts.conclusion
                                                    : "no conclusion given");
    if (strcmp(job->facts.conclusion, "failure") != 0) {
        vm->hold_ms = 0;
    }
    vm_set_state(vm, VM_ENDING, now_ms);
    return (struct ledger_change){.row = true, .state = true};
}

struct ledger_change ledger_rule_apply_to_vm(struct ledger_vm *vm, const struct ledger_job *job,
                                             bool job_moved, const struct job_event *ev,
                                             int64_t now_ms)
{
    struct ledger_change change = {.row = set_number_if_unknown(&vm->runner_id, ev->runner_id)};
    if (vm->state == VM_ENDING || vm->state == VM_GONE) {
        change.row |= set_number_if_unknown(&vm->job_id, job->facts.id);
        return change;
    }
    /* A job's `completed` comes again when failed jobs of its run are re-run: it is not about a VM
     * that began after the job's end. */
    bool other_job = (vm->job_id != 0 && vm->job_id != job->facts.id) ||
                     (vm->job_id == 0 && !job_moved && ledger_job_has_ended(job->state) &&
                      vm->reserved_ms > job->ended_ms);
    if (ledger_job_has_ended(job->state)) {
        return other_job ? change : end_after_job(vm, job, now_ms);
    }
    if (ev->action != JOB_ACTION_IN_PROGRESS) {
        return change;
    }
    change.state = vm->state != VM_BUSY;
    if (change.state) {
        vm_set_state(vm, VM_BUSY, now_ms);
    }
    /* GitHub may take a runner from one job and assign another job to it. */
    if (change.state || vm->job_id == 0 || (other_job && job_moved)) {
        vm->job_id = job->facts.id;
        change.row = true;
        if (job->facts.repository[0] != '\0') {
            (void)set_text(vm->repository, sizeof vm->repository, job->facts.repository);
        }
    }
    return change;
}

struct ledger_change ledger_rule_reconcile_vm(struct ledger_vm *vm, const struct ledger_job *job,
                                              int64_t now_ms)
{
    if (vm->state != VM_BUSY || vm->job_id != job->facts.id || !ledger_job_has_ended(job->state)) {
        return (struct ledger_change){false, false};
    }
    return end_after_job(vm, job, now_ms);
}

static int advance_conflict(const struct ledger_vm *vm, const struct ledger_advance *a,
                            struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0, "VM %s is %s and cannot become %s", vm->name,
                   ledger_vm_state_name(vm->state), ledger_vm_state_name(a->to));
}

/* Records the provider's result, whether or not the state moves. */
static int record_launch(struct ledger_vm *vm, const struct ledger_advance *a, int64_t now_ms,
                         struct ledger_change *out, struct err *e)
{
    const char *vm_id = a->vm_id != NULL ? a->vm_id : "";
    if (vm_id[0] != '\0' && vm->vm_id[0] != '\0' && strcmp(vm->vm_id, vm_id) != 0) {
        return err_set(e, ERR_CONFLICT, 0, "VM %s already has the id %s, not %s", vm->name,
                       vm->vm_id, vm_id);
    }
    if (vm_id[0] != '\0' && vm->vm_id[0] == '\0') {
        copy_text(vm->vm_id, sizeof vm->vm_id, vm_id);
        out->row = true;
    }
    if (a->deadline_ms > 0 && vm->deadline_ms == 0) {
        vm->deadline_ms = a->deadline_ms;
        out->row = true;
    }
    if (out->row && vm->launched_ms == 0) {
        vm->launched_ms = now_ms;
    }
    return 0;
}

static void end_hold(struct ledger_vm *vm, const char *reason)
{
    vm->hold_ms = 0;
    slice_shorten(reason, vm->end_reason, sizeof vm->end_reason);
}

int ledger_rule_advance(struct ledger_vm *vm, const struct ledger_advance *a, int64_t now_ms,
                        struct ledger_change *out, struct err *e)
{
    *out = (struct ledger_change){false, false};
    bool raced = vm->state == VM_BUSY || vm->state == VM_ENDING;
    bool there = vm->state == a->to;
    if (!there && !ledger_vm_edge(vm->state, a->to) && !(a->to == VM_LAUNCHED && raced)) {
        return advance_conflict(vm, a, e);
    }
    if (!there && a->seen != NULL && !ledger_vm_is_still(vm, a->seen)) {
        return err_set(e, ERR_CONFLICT, 0, "VM %s is %s and has changed since it was read",
                       vm->name, ledger_vm_state_name(vm->state));
    }
    if (a->to == VM_LAUNCHED && record_launch(vm, a, now_ms, out, e) != 0) {
        return -1;
    }
    bool releases = there && a->to == VM_ENDING && a->reason != NULL && a->seen == NULL;
    if (releases && vm->hold_ms > 0) {
        end_hold(vm, a->reason);
        out->row = true;
    }
    if (there || (a->to == VM_LAUNCHED && raced)) {
        return 0;
    }
    if (a->runner_id > 0) {
        vm->runner_id = a->runner_id;
    }
    if (a->to == VM_REGISTERED && a->image_version != NULL) {
        slice_shorten(a->image_version, vm->image_version, sizeof vm->image_version);
        vm->image_part = a->image_part;
    }
    if (a->reason != NULL && (a->to == VM_ENDING || a->to == VM_GONE)) {
        slice_shorten(a->reason, vm->end_reason, sizeof vm->end_reason);
    }
    if (a->to == VM_ENDING) {
        vm->hold_ms = 0;
    }
    vm_set_state(vm, a->to, now_ms);
    *out = (struct ledger_change){.row = true, .state = true};
    return 0;
}

int ledger_rule_heartbeat(struct ledger_vm *vm, int64_t now_ms, struct ledger_change *out,
                          struct err *e)
{
    *out = (struct ledger_change){false, false};
    if (vm->state == VM_ENDING || vm->state == VM_GONE) {
        return err_set(e, ERR_CONFLICT, 0, "VM %s is %s: its launch must stop", vm->name,
                       ledger_vm_state_name(vm->state));
    }
    if (vm->state == VM_RESERVED || vm->state == VM_REGISTERED) {
        vm->heartbeat_ms = now_ms;
        out->row = true;
    }
    return 0;
}

/* --- reserving --- */
enum ledger_outcome ledger_rule_reserve(const struct ledger_usage *u,
                                        const struct ledger_caps *caps)
{
    if (ledger_rule_is_satisfied(u)) {
        return LEDGER_SATISFIED;
    }
    if (u->fleet_used >= caps->fleet) {
        return LEDGER_FULL_FLEET;
    }
    if (u->class_used >= caps->class_max) {
        return LEDGER_FULL_CLASS;
    }
    if (caps->repository > 0 && u->repository_used >= caps->repository) {
        return LEDGER_FULL_REPOSITORY;
    }
    if (caps->target_max > 0 && u->target_used >= caps->target_max) {
        return LEDGER_FULL_TARGET;
    }
    return LEDGER_RESERVED;
}

void ledger_rule_new_vm(struct ledger_vm *vm, const struct ledger_reserve *r, const char *name,
                        const char *client_token, int64_t now_ms)
{
    *vm = (struct ledger_vm){
        .installation_id = r->request->job.installation_id,
        .for_job = r->request->job.id,
        .state = VM_RESERVED,
        .reserved_ms = now_ms,
        .heartbeat_ms = now_ms,
        .hold_ms = r->hold_ms,
    };
    copy_text(vm->name, sizeof vm->name, name);
    copy_text(vm->client_token, sizeof vm->client_token, client_token);
    copy_text(vm->provider, sizeof vm->provider, r->provider);
    copy_text(vm->class_name, sizeof vm->class_name, r->request->class_name);
    copy_text(vm->scope, sizeof vm->scope, r->scope);
    copy_text(vm->repository, sizeof vm->repository, r->request->job.repository);
    copy_text(vm->host, sizeof vm->host, r->host);
    copy_text(vm->target, sizeof vm->target, r->target);
}

void ledger_rule_adopted_vm(struct ledger_vm *vm, const struct ledger_adoption *a, int64_t now_ms)
{
    int64_t started_ms = a->started_ms > 0 ? a->started_ms : now_ms;
    *vm = (struct ledger_vm){
        .state = VM_BUSY,
        .reserved_ms = started_ms,
        .launched_ms = started_ms,
        .busy_ms = started_ms,
        .heartbeat_ms = now_ms,
        .deadline_ms = a->deadline_ms,
    };
    copy_text(vm->name, sizeof vm->name, a->name);
    copy_text(vm->client_token, sizeof vm->client_token, a->name); /* unique */
    copy_text(vm->provider, sizeof vm->provider, a->provider);
    copy_text(vm->class_name, sizeof vm->class_name, a->class_name);
    copy_text(vm->host, sizeof vm->host, a->host);
    copy_text(vm->target, sizeof vm->target, a->target);
    copy_text(vm->vm_id, sizeof vm->vm_id, a->vm_id);
}

/* --- rate buckets --- */
static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void ledger_bucket_of_launch(const char *target, char out[LEDGER_BUCKET_SIZE])
{
    (void)snprintf(out, LEDGER_BUCKET_SIZE, "%s%s",
                   target[0] != '\0' ? LEDGER_BUCKET_TARGET : LEDGER_BUCKET_LAUNCH, target);
}

void ledger_rule_bucket_new(struct ledger_bucket_row *row, int64_t now_ms)
{
    *row = (struct ledger_bucket_row){.tokens = FULL, .at_ms = now_ms};
}

bool ledger_rule_clock_set_back(const struct ledger_bucket_row *row, int64_t now_ms)
{
    return row->at_ms - now_ms > CLOCK_STEP_MS;
}

void ledger_rule_bucket_refill(struct ledger_bucket_row *row, double per_second, int64_t burst,
                               int64_t now_ms)
{
    if (per_second <= 0) {
        return;
    }
    int64_t elapsed_ms = max64(0, now_ms - row->at_ms);
    row->tokens += (double)elapsed_ms * per_second / 1000.0;
    if (elapsed_ms > 0 || ledger_rule_clock_set_back(row, now_ms)) {
        row->at_ms = now_ms;
    }
    row->tokens = fmin(row->tokens, (double)max64(1, burst));
}

int64_t ledger_rule_bucket_wait(const struct ledger_bucket_row *row, double per_second,
                                int64_t cost, int64_t now_ms)
{
    int64_t pause_ms = max64(0, row->paused_until_ms - now_ms);
    double missing = (double)cost - row->tokens;
    if (per_second <= 0 || missing <= TOKEN_DUST) {
        return pause_ms;
    }
    double ms = ceil(missing / per_second * 1000.0 - TOKEN_DUST) + (double)(row->at_ms - now_ms);
    return max64(pause_ms, ms < FAR_MS ? max64(1, (int64_t)ms) : (int64_t)FAR_MS);
}

void ledger_rule_bucket_spend(struct ledger_bucket_row *row, double per_second, int64_t cost)
{
    if (per_second > 0) {
        row->tokens = fmax(0, row->tokens - (double)cost);
    }
}

/* --- paces --- */
int64_t ledger_rule_start(int64_t *next_us, double per_second, int64_t burst, int64_t now_ms)
{
    const int64_t now_us = now_ms * 1000;
    const double interval_us = 1e6 / per_second;
    const int64_t ahead_us = (int64_t)(interval_us * (double)max64(0, burst - 1));
    bool set_back = *next_us - now_us > CLOCK_STEP_MS * 1000;
    int64_t due_us = set_back ? now_us : max64(*next_us, now_us);
    *next_us = due_us + (int64_t)interval_us;
    return max64(0, due_us - ahead_us - now_us);
}

/* --- leases --- */
static bool lease_has_ended(const struct ledger_lease_row *row, int64_t now_ms,
                            int64_t unchanged_ms)
{
    bool clock_was_ahead = row->until_ms > now_ms && row->until_ms - now_ms > row->ttl_ms;
    return clock_was_ahead ? unchanged_ms >= row->ttl_ms : row->until_ms <= now_ms;
}

bool ledger_rule_lease(struct ledger_lease_row *row, const char *holder, int64_t ttl_ms,
                       int64_t now_ms, int64_t unchanged_ms)
{
    bool is_holder = strcmp(row->holder, holder) == 0;
    if (!is_holder && row->holder[0] != '\0' && !lease_has_ended(row, now_ms, unchanged_ms)) {
        return false;
    }
    if (!is_holder) {
        copy_text(row->holder, sizeof row->holder, holder);
        row->fence++;
    }
    row->until_ms = now_ms + ttl_ms;
    row->ttl_ms = ttl_ms;
    return true;
}
