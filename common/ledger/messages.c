#include "common/ledger/messages.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/clock.h"

PRINTF(3, 4)
static void set_line(struct ledger_line *out, const char *what, const char *fmt, ...)
{
    char whole[2 * JOB_LABELS_SIZE];
    va_list ap;
    out->what = what;
    out->vm = "";
    va_start(ap, fmt);
    int n = vsnprintf(whole, sizeof whole, fmt, ap);
    va_end(ap);
    slice_shorten(n < 0 ? "" : whole, out->detail, sizeof out->detail);
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text[0] != '\0' ? text : otherwise;
}

/* --- jobs --- */
static const char *runner_owner(const struct ledger_job *job, bool known_vm)
{
    if (job->facts.runner_name[0] == '\0') {
        return "";
    }
    return known_vm ? ", a VM of this deployment" : ", not a VM of this deployment";
}

void ledger_line_job(struct ledger_line *out, const struct ledger_job *job, const char *delivery,
                     bool known_vm)
{
    const char *runner = or_else(job->facts.runner_name, "without a name");
    delivery = or_else(delivery, "without an id");
    switch (job->state) {
    case JOB_SEEN:
        if (job->facts.class_name[0] == '\0') {
            set_line(out, "seen", "delivery %s: no class matches labels %s", delivery,
                     or_else(job->facts.labels, "(none)"));
        } else {
            set_line(out, "held", "delivery %s: held back by an environment's protection",
                     delivery);
        }
        break;
    case JOB_WAITING:
        set_line(out, "queued", "delivery %s, class %s, labels %s", delivery, job->facts.class_name,
                 or_else(job->facts.labels, "(none)"));
        break;
    case JOB_RUNNING:
        set_line(out, "running", "on runner %s%s", runner, runner_owner(job, known_vm));
        break;
    case JOB_DONE:
        set_line(out, "done", "conclusion %s, ran on runner %s%s",
                 or_else(job->facts.conclusion, "not given"), runner, runner_owner(job, known_vm));
        break;
    case JOB_CANCELLED:
        set_line(out, "cancelled", "conclusion %s, never had a runner",
                 or_else(job->facts.conclusion, "not given"));
        break;
    }
}

void ledger_line_reconciled(struct ledger_line *out, const struct ledger_job *job, const char *why)
{
    set_line(out, ledger_job_state_name(job->state), "reconciled with GitHub: %s",
             or_else(why, "no reason given"));
}

void ledger_line_relaunched(struct ledger_line *out, const struct ledger_job *job)
{
    set_line(out, "relaunch", "demand exceeds supply: launch request no. %" PRId64 " put",
             job->relaunches);
}

/* --- VMs --- */
static void set_made_line(struct ledger_line *out, const struct ledger_vm *vm)
{
    if (vm->for_job == 0) {
        set_line(out, "reserved", "without a job");
    } else {
        set_line(out, "reserved", "for job %" PRId64, vm->for_job);
    }
}

static void set_busy_line(struct ledger_line *out, const struct ledger_vm *vm)
{
    if (vm->job_id == 0) {
        set_line(out, "busy", "GitHub reports its runner as busy");
    } else if (vm->for_job == vm->job_id || vm->for_job == 0) {
        set_line(out, "busy", "runs job %" PRId64, vm->job_id);
    } else {
        set_line(out, "busy", "runs job %" PRId64 ", launched for job %" PRId64, vm->job_id,
                 vm->for_job);
    }
}

static void set_ending_line(struct ledger_line *out, const struct ledger_vm *vm)
{
    const char *reason = or_else(vm->end_reason, "no reason given");
    char until[32];
    if (vm->hold_ms > 0) {
        clock_format_utc(ledger_vm_held_until_ms(vm), until, sizeof until);
        set_line(out, "ending", "%s; held until %s, for people to look into it", reason, until);
    } else {
        set_line(out, "ending", "%s", reason);
    }
}

void ledger_line_vm(struct ledger_line *out, const struct ledger_vm *vm, const char *reason)
{
    switch (vm->state) {
    case VM_RESERVED:
        set_made_line(out, vm);
        break;
    case VM_REGISTERED:
        set_line(out, "registered", "runner id %" PRId64 "%s%s%s%s%s", vm->runner_id,
                 vm->image_version[0] != '\0' ? ", image version " : "", vm->image_version,
                 vm->image_part == IMAGE_IS_CANARY ? " (canary)" : "",
                 vm->target[0] != '\0' ? ", target " : "", vm->target);
        break;
    case VM_LAUNCHED:
        set_line(out, "launched", "vm id %s", or_else(vm->vm_id, "not given"));
        break;
    case VM_BUSY:
        set_busy_line(out, vm);
        break;
    case VM_ENDING:
        set_ending_line(out, vm);
        break;
    case VM_GONE:
        set_line(out, "gone", "%s",
                 reason != NULL ? or_else(reason, "its slot is free") : "its slot is free");
        break;
    }
}

void ledger_line_late_launch(struct ledger_line *out, const struct ledger_vm *vm)
{
    set_line(out, "launched", "vm id %s (recorded when it was %s already)",
             or_else(vm->vm_id, "not given"), ledger_vm_state_name(vm->state));
}

void ledger_line_adopted(struct ledger_line *out, const struct ledger_vm *vm)
{
    set_line(out, "adopted", "vm id %s is listed and had no row", vm->vm_id);
}

/* --- reserving --- */
static void set_reserved_line(struct ledger_line *out, const struct ledger_usage *u, const char *vm)
{
    char spare[48] = "";
    if (u->spare > 0) {
        (void)snprintf(spare, sizeof spare, ", spare %" PRId64, u->spare);
    }
    set_line(out, "reserved", "VM %s (demand %" PRId64 ", supply %" PRId64 "%s)", vm, u->demand,
             u->supply, spare);
}

static void set_rate_line(struct ledger_line *out, const struct ledger_reserve *r, int64_t wait_ms)
{
    const char *class_name = r->request->class_name;
    if (r->target[0] != '\0') {
        set_line(out, "waits",
                 "for a launch token: the next is there in %" PRId64
                 " ms (launch_rate of target %s in classes.%s.targets, classes.%s.launch_rate)",
                 wait_ms, r->target, class_name, class_name);
    } else {
        set_line(out, "waits",
                 "for a launch token: the next is there in %" PRId64
                 " ms (limits.launch_rate, classes.%s.launch_rate)",
                 wait_ms, class_name);
    }
}

void ledger_line_reserve(struct ledger_line *out, const struct ledger_reserve *r,
                         const struct ledger_usage *u, const struct ledger_reservation *res)
{
    const char *class_name = r->request->class_name;
    switch (res->outcome) {
    case LEDGER_RESERVED:
        set_reserved_line(out, u, res->vm.name);
        break;
    case LEDGER_SATISFIED:
        set_line(out, "satisfied",
                 "demand %" PRId64 ", supply %" PRId64 ": enough VMs are starting or idle",
                 u->demand, u->supply);
        break;
    case LEDGER_OBSOLETE:
        out->what = NULL; /* the job's other lines show its state */
        break;
    case LEDGER_FULL_FLEET:
        set_line(out, "waits",
                 "for a slot: the fleet is full, %" PRId64 " of %" PRId64 " VMs (limits.max_vms)",
                 u->fleet_used, r->caps.fleet);
        break;
    case LEDGER_FULL_CLASS:
        set_line(out, "waits",
                 "for a slot of class %s: %" PRId64 " of %" PRId64 " VMs (classes.%s.max_vms)",
                 class_name, u->class_used, r->caps.class_max, class_name);
        break;
    case LEDGER_FULL_REPOSITORY:
        set_line(out, "waits",
                 "for a slot of repository %s: %" PRId64 " of %" PRId64
                 " VMs (limits.max_vms_per_repository)",
                 r->request->job.repository, u->repository_used, r->caps.repository);
        break;
    case LEDGER_RATE:
        set_rate_line(out, r, res->wait_ms);
        break;
    case LEDGER_FULL_TARGET:
        set_line(out, "waits",
                 "for a slot of target %s: %" PRId64 " of %" PRId64
                 " VMs (max_vms of the target in classes.%s.targets)",
                 r->target, u->target_used, r->caps.target_max, class_name);
        break;
    }
}

struct ledger_change ledger_reserve_apply_wait(const struct ledger_reserve *r,
                                               struct ledger_job *job, bool known,
                                               int64_t *reported, int64_t now_ms,
                                               struct ledger_line *line)
{
    struct ledger_change change = ledger_rule_wait(job, known, r->request, r->scope, now_ms);
    line->what = NULL;
    if (change.state) {
        *reported = 0;
        ledger_line_job(line, job, r->request->delivery, false);
    }
    return change;
}

bool ledger_reserve_is_needed(const struct ledger_job *job, const struct ledger_usage *u)
{
    return job->state == JOB_WAITING || !ledger_rule_is_satisfied(u);
}

bool ledger_reserve_line(const struct ledger_reserve *r, const struct ledger_usage *u,
                         const struct ledger_reservation *res, int64_t *reported,
                         struct ledger_line *line)
{
    bool reserved = res->outcome == LEDGER_RESERVED;
    bool waits = !reserved && res->outcome != LEDGER_SATISFIED;
    int64_t before = *reported;
    int64_t bit = (int64_t)1 << res->outcome;
    line->what = NULL;
    if (r->request->job.id == 0 ? !reserved : waits && (before & bit) != 0) {
        return false;
    }
    *reported = waits ? before | bit : 0;
    ledger_line_reserve(line, r, u, res);
    return *reported != before;
}
