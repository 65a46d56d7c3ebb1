#include "common/ledger/steps.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/cells.h"
#include "common/ledger/front.h"
#include "common/ledger/images.h"
#include "common/ledger/kinds.h"

static int load_existing_job(struct ledger_txn *t, int64_t id, struct ledger_job *out,
                             struct err *e)
{
    bool known;
    if (t->ops->job(t, id, "", out, &known, e) != 0) {
        return -1;
    }
    return known ? 0 : err_set(e, ERR_NOT_FOUND, 0, "job %lld is not in the ledger", (long long)id);
}

static int load_existing_vm(struct ledger_txn *t, const char *name, struct ledger_vm *out,
                            struct err *e)
{
    bool known;
    if (t->ops->vm(t, name, out, &known, e) != 0) {
        return -1;
    }
    return known ? 0 : err_set(e, ERR_NOT_FOUND, 0, "VM %s is not in the ledger", name);
}

/* --- what a step changed --- */
/* A step moves at most one job and one VM. */
struct step_changes {
    int64_t at_ms;
    bool by_delivery; /* which says when it happened */
    bool job_moved;
    const char *job_from;
    struct ledger_job job; /* after */
    struct ledger_line job_line;
    bool vm_moved;
    const char *vm_from;
    struct ledger_vm vm;
    struct ledger_line vm_line;
};

/* At the start of a step, which may be called several times. */
static void begin_changes(struct step_changes *c, const struct ledger_txn *t)
{
    c->at_ms = t->now_ms;
    c->job_moved = false;
    c->vm_moved = false;
}

/* Writes a job whose state moved, with its line. before NULL: it is new. */
static int write_moved_job(struct ledger_txn *t, struct step_changes *c,
                           const struct ledger_job *before, const struct ledger_job *after,
                           const struct ledger_line *line, struct err *e)
{
    c->job_moved = true;
    c->job_from = before != NULL ? ledger_job_state_name(before->state) : "";
    c->job = *after;
    c->job_line = *line;
    return t->ops->write_job(t, before, after, true, line, e);
}

static int write_moved_vm(struct ledger_txn *t, struct step_changes *c,
                          const struct ledger_vm *before, const struct ledger_vm *after,
                          const struct ledger_line *line, struct err *e)
{
    c->vm_moved = true;
    c->vm_from = before != NULL ? ledger_vm_state_name(before->state) : "";
    c->vm = *after;
    c->vm_line = *line;
    return t->ops->write_vm(t, before, after, line, e);
}

/* What the end of a VM says about the version of its image. Most VMs say nothing, and cost no read. */
static int count_for_image(struct ledger_txn *t, const struct ledger_vm *vm, bool failed,
                           const char *why, struct err *e)
{
    struct ledger_image image;
    struct ledger_cell cell = {.kind = LEDGER_KIND_IMAGE};
    char place[PLACE_NAME_SIZE];
    if (vm->state != VM_ENDING || vm->image_part == IMAGE_NO_PART) {
        return 0;
    }
    place_name_make(vm->class_name, vm->target, place);
    (void)snprintf(cell.name, sizeof cell.name, "%s", place);
    if (t->ops->cell(t, &cell, e) != 0) {
        return -1;
    }
    ledger_image_decode(&cell, &image);
    if (cell.version == 0 || !(failed ? ledger_image_count_failure(&image, vm, why, t->now_ms)
                                      : ledger_image_count_job(&image, vm, t->now_ms))) {
        return 0;
    }
    ledger_image_encode(&image, cell.value);
    return ledger_write_next_version(t, &cell, e);
}

static void report_changes(const struct ledger_store *s, const struct step_changes *c)
{
    const struct ledger_transition job = {
        .at_ms = c->at_ms,
        .job = &c->job,
        .from = c->job_from,
        .to = ledger_job_state_name(c->job.state),
        .reason = c->job_line.detail,
    };
    const struct ledger_transition vm = {
        .at_ms = c->at_ms,
        .vm = &c->vm,
        .from = c->vm_from,
        .to = ledger_vm_state_name(c->vm.state),
        .reason = c->vm_line.detail,
    };
    if (c->job_moved) {
        s->observe(s->observe_arg, &job);
    }
    if (c->vm_moved) {
        s->observe(s->observe_arg, &vm);
    }
}

/* Runs a step; what it changed is passed on when it is committed. */
static int run_reported(const struct ledger_store *s, ledger_step_fn *step, void *arg,
                        const struct step_changes *c, struct err *e)
{
    if (s->ops->run(s->state, step, arg, e) != 0) {
        return -1;
    }
    ledger_metrics_moved(c->job_moved ? &c->job : NULL, c->vm_moved ? &c->vm : NULL,
                         c->by_delivery);
    if (s->observe != NULL) {
        report_changes(s, c);
    }
    return 0;
}

/* --- a delivery --- */
struct apply {
    struct step_changes changes;
    const struct job_event *ev;
    const char *scope;
    struct ledger_effect effect;
};

/* Applies the delivery to the VM of its runner, if that VM is in the ledger. */
static int apply_to_vm(struct ledger_txn *t, struct apply *a, const struct ledger_job *job,
                       struct ledger_vm *before, struct ledger_change *change, struct err *e)
{
    bool known = false;
    struct ledger_effect *effect = &a->effect;
    const char *runner = ledger_rule_runner(a->ev, job);
    *change = (struct ledger_change){false, false};
    if (runner[0] == '\0') {
        return 0;
    }
    if (t->ops->vm(t, runner, before, &known, e) != 0) {
        return -1;
    }
    if (!known) {
        return 0;
    }
    effect->vm = *before;
    *change = ledger_rule_apply_to_vm(&effect->vm, job, effect->changed, a->ev, t->now_ms);
    effect->vm_changed = change->state;
    return 0;
}

static int write_applied_job(struct ledger_txn *t, struct apply *a, const struct ledger_job *before,
                             const struct ledger_job *job, const struct ledger_change *change,
                             struct err *e)
{
    struct ledger_line line = {.what = NULL};
    if (change->state) {
        ledger_line_job(&line, job, a->ev->delivery, a->effect.vm.name[0] != '\0');
        return write_moved_job(t, &a->changes, before, job, &line, e);
    }
    return change->row ? t->ops->write_job(t, before, job, false, &line, e) : 0;
}

static int apply_event(struct ledger_txn *t, void *arg, struct err *e)
{
    struct apply *a = arg;
    struct ledger_job before;
    struct ledger_vm vm_before;
    struct ledger_change vm_change;
    struct ledger_line vm_line;
    const struct ledger_line none = {.what = NULL};
    bool known;
    begin_changes(&a->changes, t);
    if (t->ops->job(t, a->ev->job.id, a->ev->job.runner_name, &before, &known, e) != 0) {
        return -1;
    }
    struct ledger_job job = before;
    struct ledger_change change = ledger_rule_apply_to_job(&job, known, a->ev, a->scope, t->now_ms);
    a->effect = (struct ledger_effect){
        .known_before = known, .before = before.state, .changed = change.state, .after = job.state};
    if (apply_to_vm(t, a, &job, &vm_before, &vm_change, e) != 0) {
        return -1;
    }
    if (write_applied_job(t, a, known ? &before : NULL, &job, &change, e) != 0) {
        return -1;
    }
    if (vm_change.state) {
        ledger_line_vm(&vm_line, &a->effect.vm, NULL);
        return write_moved_vm(t, &a->changes, &vm_before, &a->effect.vm, &vm_line, e) == 0
                   ? count_for_image(t, &a->effect.vm, false, "", e)
                   : -1;
    }
    return vm_change.row ? t->ops->write_vm(t, &vm_before, &a->effect.vm, &none, e) : 0;
}

int ledger_step_apply_event(const struct ledger_store *s, const struct job_event *ev,
                            const char *scope, struct ledger_effect *out, struct err *e)
{
    struct apply a = {.changes = {.by_delivery = true}, .ev = ev, .scope = scope};
    if (run_reported(s, apply_event, &a, &a.changes, e) != 0) {
        return -1;
    }
    *out = a.effect;
    return 0;
}

/* --- the status that GitHub's API reports --- */
struct reconcile {
    struct step_changes changes;
    int64_t id;
    enum ledger_job_state to;
    const char *conclusion; /* NULL: unknown */
    const char *why;
};

/* Ends the VM that was busy with a job that has ended. */
static int reconcile_vm(struct ledger_txn *t, struct step_changes *changes,
                        const struct ledger_job *job, struct err *e)
{
    struct ledger_vm before;
    struct ledger_line line;
    bool known;
    if (job->facts.runner_name[0] == '\0') {
        return 0;
    }
    if (t->ops->vm(t, job->facts.runner_name, &before, &known, e) != 0) {
        return -1;
    }
    struct ledger_vm vm = before;
    if (!known || !ledger_rule_reconcile_vm(&vm, job, t->now_ms).state) {
        return 0;
    }
    ledger_line_vm(&line, &vm, NULL);
    return write_moved_vm(t, changes, &before, &vm, &line, e) == 0
               ? count_for_image(t, &vm, false, "", e)
               : -1;
}

static int reconcile_job(struct ledger_txn *t, void *arg, struct err *e)
{
    struct reconcile *r = arg;
    struct ledger_job before;
    struct ledger_line line;
    begin_changes(&r->changes, t);
    if (load_existing_job(t, r->id, &before, e) != 0) {
        return -1;
    }
    struct ledger_job job = before;
    if (!ledger_rule_reconcile_job(&job, r->to, t->now_ms)) {
        return 0;
    }
    if (r->conclusion != NULL && job.facts.conclusion[0] == '\0') {
        slice_shorten(r->conclusion, job.facts.conclusion, sizeof job.facts.conclusion);
    }
    ledger_line_reconciled(&line, &job, r->why);
    if (write_moved_job(t, &r->changes, &before, &job, &line, e) != 0) {
        return -1;
    }
    return reconcile_vm(t, &r->changes, &job, e);
}

int ledger_step_reconcile_job(const struct ledger_store *s, int64_t job_id,
                              enum ledger_job_state to, const char *conclusion, const char *why,
                              struct err *e)
{
    struct reconcile r = {.id = job_id, .to = to, .conclusion = conclusion, .why = why};
    return run_reported(s, reconcile_job, &r, &r.changes, e);
}

/* --- relaunched --- */
static int record_relaunch(struct ledger_txn *t, void *arg, struct err *e)
{
    const int64_t *id = arg;
    struct ledger_job before;
    struct ledger_line line;
    if (load_existing_job(t, *id, &before, e) != 0) {
        return -1;
    }
    struct ledger_job job = before;
    job.relaunched_ms = t->now_ms;
    job.relaunches++;
    ledger_line_relaunched(&line, &job);
    return t->ops->write_job(t, &before, &job, true, &line, e);
}

int ledger_step_relaunched(const struct ledger_store *s, int64_t job_id, struct err *e)
{
    return s->ops->run(s->state, record_relaunch, &job_id, e);
}

/* --- asked about --- */
static int record_question(struct ledger_txn *t, void *arg, struct err *e)
{
    const int64_t *id = arg;
    struct ledger_job before;
    const struct ledger_line none = {.what = NULL};
    if (load_existing_job(t, *id, &before, e) != 0) {
        return -1;
    }
    struct ledger_job job = before;
    job.updated_ms = t->now_ms;
    return before.state == JOB_RUNNING ? t->ops->write_job(t, &before, &job, false, &none, e) : 0;
}

int ledger_step_asked(const struct ledger_store *s, int64_t job_id, struct err *e)
{
    return s->ops->run(s->state, record_question, &job_id, e);
}

/* --- advance --- */
struct advance {
    struct step_changes changes;
    const struct ledger_advance *to;
    const struct ledger_bucket *pace; /* NULL: none */
    bool changed;
    int64_t wait_ms;
};

static int advance_vm(struct ledger_txn *t, void *arg, struct err *e)
{
    struct advance *a = arg;
    struct ledger_vm before;
    struct ledger_change change;
    struct ledger_line line;
    begin_changes(&a->changes, t);
    a->wait_ms = 0;
    if (load_existing_vm(t, a->to->vm, &before, e) != 0) {
        return -1;
    }
    struct ledger_vm vm = before;
    if (ledger_rule_advance(&vm, a->to, t->now_ms, &change, e) != 0) {
        return -1;
    }
    a->changed = change.state;
    if (!change.row) {
        return 0;
    }
    if (change.state) {
        ledger_line_vm(&line, &vm, a->to->reason);
        if (write_moved_vm(t, &a->changes, &before, &vm, &line, e) != 0) {
            return -1;
        }
        if (a->to->image_failed) {
            return count_for_image(t, &vm, true, vm.end_reason, e);
        }
        return a->pace != NULL ? ledger_take_start(t, a->pace, &a->wait_ms, e) : 0;
    }
    if (a->to->to == VM_ENDING) { /* it was held */
        ledger_line_vm(&line, &vm, NULL);
    } else {
        ledger_line_late_launch(&line, &vm);
    }
    return t->ops->write_vm(t, &before, &vm, &line, e);
}

int ledger_step_advance(const struct ledger_store *s, const struct ledger_advance *to,
                        bool *changed, struct err *e)
{
    struct advance a = {.to = to};
    if (run_reported(s, advance_vm, &a, &a.changes, e) != 0) {
        return -1;
    }
    *changed = a.changed;
    return 0;
}

int ledger_step_advance_paced(const struct ledger_store *s, const struct ledger_advance *to,
                              const struct ledger_bucket *pace, int64_t *wait_ms, struct err *e)
{
    struct advance a = {.to = to, .pace = pace->per_second > 0 ? pace : NULL};
    if (run_reported(s, advance_vm, &a, &a.changes, e) != 0) {
        return -1;
    }
    *wait_ms = a.wait_ms;
    return 0;
}

/* --- a VM without a row --- */
struct adopt {
    struct step_changes changes;
    const struct ledger_adoption *of;
    bool added;
};

static int adopt_vm(struct ledger_txn *t, void *arg, struct err *e)
{
    struct adopt *a = arg;
    struct ledger_vm before;
    struct ledger_vm vm;
    struct ledger_line line;
    bool known = false;
    begin_changes(&a->changes, t);
    if (t->ops->vm(t, a->of->name, &before, &known, e) != 0) {
        return -1;
    }
    a->added = !known;
    if (known) {
        return 0;
    }
    ledger_rule_adopted_vm(&vm, a->of, t->now_ms);
    ledger_line_adopted(&line, &vm);
    return write_moved_vm(t, &a->changes, NULL, &vm, &line, e);
}

int ledger_step_adopt(const struct ledger_store *s, const struct ledger_adoption *of, bool *added,
                      struct err *e)
{
    struct adopt a = {.of = of};
    if (run_reported(s, adopt_vm, &a, &a.changes, e) != 0) {
        return -1;
    }
    *added = a.added;
    return 0;
}

/* --- the heartbeat of a launch --- */
static int record_heartbeat(struct ledger_txn *t, void *arg, struct err *e)
{
    const char *name = arg;
    struct ledger_vm before;
    struct ledger_change change;
    struct ledger_line none = {.what = NULL};
    if (load_existing_vm(t, name, &before, e) != 0) {
        return -1;
    }
    struct ledger_vm vm = before;
    if (ledger_rule_heartbeat(&vm, t->now_ms, &change, e) != 0) {
        return -1;
    }
    return change.row ? t->ops->write_vm(t, &before, &vm, &none, e) : 0;
}

int ledger_step_heartbeat(const struct ledger_store *s, const char *vm, struct err *e)
{
    char name[sizeof((struct ledger_vm *)NULL)->name];
    return slice_to_cstr(slice_of(vm), name, sizeof name)
               ? s->ops->run(s->state, record_heartbeat, name, e)
               : err_set(e, ERR_PERMANENT, 0, "ledger: a VM's name is too long");
}

/* --- a line of the timeline --- */
struct log_event {
    int64_t job_id;
    const char *vm;
    struct ledger_line line;
};

/* A line is deleted with its row, so the row must exist. */
static int add_line(struct ledger_txn *t, void *arg, struct err *e)
{
    const struct log_event *a = arg;
    struct ledger_job job;
    struct ledger_vm vm;
    if (a->job_id != 0) {
        return load_existing_job(t, a->job_id, &job, e) != 0
                   ? -1
                   : t->ops->write_job(t, &job, &job, false, &a->line, e);
    }
    return load_existing_vm(t, a->vm, &vm, e) != 0 ? -1
                                                   : t->ops->write_vm(t, &vm, &vm, &a->line, e);
}

int ledger_step_log_event(const struct ledger_store *s, int64_t job_id, const char *vm,
                          const char *what, const char *detail, struct err *e)
{
    struct log_event a = {.job_id = job_id, .vm = vm, .line = {.what = what}};
    a.line.vm = job_id != 0 ? vm : "";
    slice_shorten(detail, a.line.detail, sizeof a.line.detail);
    return s->ops->run(s->state, add_line, &a, e);
}

/* --- reserving --- */
/* The job as its row is now: nothing of it is known that its request does not say. */
static void report_queued(const struct ledger_store *s, const struct ledger_reserve *r,
                          const struct ledger_reservation *res, int64_t at_ms)
{
    struct step_changes c = {.at_ms = at_ms, .job_moved = true};
    c.job_from = res->queued.known_before ? ledger_job_state_name(res->queued.before) : "";
    (void)ledger_rule_wait(&c.job, false, r->request, r->scope, at_ms);
    ledger_line_job(&c.job_line, &c.job, r->request->delivery, false);
    report_changes(s, &c);
}

static void report_reserved(const struct ledger_store *s, const struct ledger_reserve *r,
                            const struct ledger_reservation *res)
{
    const struct ledger_usage usage = {.demand = res->demand, .supply = res->supply};
    struct step_changes c = {.at_ms = res->vm.reserved_ms, .vm_moved = true, .vm_from = ""};
    c.vm = res->vm;
    ledger_line_reserve(&c.vm_line, r, &usage, res);
    report_changes(s, &c);
}

void ledger_step_reserved(const struct ledger_store *s, const struct ledger_reserve *r,
                          const struct ledger_reservation *res)
{
    bool reserved = res->outcome == LEDGER_RESERVED;
    if (s->observe == NULL) {
        return;
    }
    if (res->queued.moved) {
        report_queued(s, r, res, reserved ? res->vm.reserved_ms : clock_wall_ms());
    }
    if (reserved) {
        report_reserved(s, r, res);
    }
}
