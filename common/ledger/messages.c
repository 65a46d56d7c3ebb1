#include "common/ledger/messages.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

PRINTF(3, 4)
static void say(struct ledger_line *out, const char *what, const char *fmt, ...)
{
    va_list ap;
    out->what = what;
    out->vm = "";
    va_start(ap, fmt);
    if (vsnprintf(out->detail, sizeof out->detail, fmt, ap) < 0) {
        out->detail[0] = '\0';
    }
    va_end(ap);
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text[0] != '\0' ? text : otherwise;
}

/* --- jobs --- */
static const char *whose(const struct ledger_job *job, bool ours)
{
    if (job->facts.runner_name[0] == '\0') {
        return "";
    }
    return ours ? ", a VM of ours" : ", which is not ours";
}

void ledger_word_noted(struct ledger_line *out, const struct ledger_job *job, const char *delivery,
                       bool ours)
{
    const char *runner = or_else(job->facts.runner_name, "without a name");
    delivery = or_else(delivery, "without an id");
    switch (job->state) {
    case JOB_SEEN:
        if (job->facts.class_name[0] == '\0') {
            say(out, "seen", "delivery %s: no class serves labels %s", delivery,
                or_else(job->facts.labels, "(none)"));
        } else {
            say(out, "held", "delivery %s: an environment's protection holds it back", delivery);
        }
        break;
    case JOB_WAITING:
        say(out, "queued", "delivery %s, class %s, labels %s", delivery, job->facts.class_name,
            or_else(job->facts.labels, "(none)"));
        break;
    case JOB_RUNNING:
        say(out, "running", "on runner %s%s", runner, whose(job, ours));
        break;
    case JOB_DONE:
        say(out, "done", "conclusion %s, ran on runner %s%s",
            or_else(job->facts.conclusion, "not given"), runner, whose(job, ours));
        break;
    case JOB_CANCELLED:
        say(out, "cancelled", "conclusion %s, no runner ever took it",
            or_else(job->facts.conclusion, "not given"));
        break;
    }
}

void ledger_word_settled(struct ledger_line *out, const struct ledger_job *job, const char *why)
{
    say(out, ledger_job_state_name(job->state), "found out by asking GitHub: %s",
        or_else(why, "no reason given"));
}

void ledger_word_relaunched(struct ledger_line *out, const struct ledger_job *job)
{
    say(out, "relaunch",
        "waited too long while more jobs wait than VMs are on their way: new launch message "
        "(no. %" PRId64 ")",
        job->relaunches);
}

/* --- VMs --- */
static void say_busy(struct ledger_line *out, const struct ledger_vm *vm)
{
    if (vm->job_id == 0) {
        say(out, "busy", "its runner took a job, says GitHub");
    } else if (vm->for_job == vm->job_id) {
        say(out, "busy", "runs job %" PRId64, vm->job_id);
    } else {
        say(out, "busy", "runs job %" PRId64 ", launched for job %" PRId64, vm->job_id,
            vm->for_job);
    }
}

void ledger_word_vm(struct ledger_line *out, const struct ledger_vm *vm, const char *reason)
{
    switch (vm->state) {
    case VM_RESERVED:
        say(out, "reserved", "for job %" PRId64, vm->for_job);
        break;
    case VM_REGISTERED:
        say(out, "registered", "runner id %" PRId64, vm->runner_id);
        break;
    case VM_LAUNCHED:
        say(out, "launched", "vm id %s", or_else(vm->vm_id, "not given"));
        break;
    case VM_BUSY:
        say_busy(out, vm);
        break;
    case VM_ENDING:
        say(out, "ending", "%s", or_else(vm->end_reason, "no reason given"));
        break;
    case VM_GONE:
        say(out, "gone", "%s",
            reason != NULL ? or_else(reason, "its slot is free") : "its slot is free");
        break;
    }
}

void ledger_word_late_launch(struct ledger_line *out, const struct ledger_vm *vm)
{
    say(out, "launched", "vm id %s (recorded when it was %s already)",
        or_else(vm->vm_id, "not given"), ledger_vm_state_name(vm->state));
}

/* --- reserving --- */
static void say_satisfied(struct ledger_line *out, const struct ledger_usage *u)
{
    say(out, "satisfied", "%" PRId64 " %s on %s way for %" PRId64 " waiting %s", u->supply,
        u->supply == 1 ? "VM is" : "VMs are", u->supply == 1 ? "its" : "their", u->demand,
        u->demand == 1 ? "job" : "jobs");
}

void ledger_word_reserved(struct ledger_line *out, const struct ledger_reserve *r,
                          const struct ledger_usage *u, const struct ledger_reservation *res)
{
    const char *class_name = r->request->class_name;
    switch (res->outcome) {
    case LEDGER_RESERVED:
        say(out, "reserved", "VM %s (demand %" PRId64 ", supply %" PRId64 ")", res->vm.name,
            u->demand, u->supply);
        break;
    case LEDGER_SATISFIED:
        say_satisfied(out, u);
        break;
    case LEDGER_OBSOLETE:
        out->what = NULL; /* the job's own lines say what it is */
        break;
    case LEDGER_FULL_FLEET:
        say(out, "waits",
            "the fleet is full: %" PRId64 " of %" PRId64 " VMs (limit limits.max_vms)",
            u->fleet_used, r->caps.fleet);
        break;
    case LEDGER_FULL_CLASS:
        say(out, "waits",
            "class %s is full: %" PRId64 " of %" PRId64 " VMs (limit classes.%s.max_vms)",
            class_name, u->class_used, r->caps.class_max, class_name);
        break;
    case LEDGER_FULL_REPOSITORY:
        say(out, "waits",
            "repository %s is full: %" PRId64 " of %" PRId64
            " VMs (limit limits.max_vms_per_repository)",
            r->request->job.repository, u->repository_used, r->caps.repository);
        break;
    case LEDGER_RATE:
        say(out, "waits",
            "launches are paced: the next one in %" PRId64
            " ms (limits limits.launch_rate, classes.%s.launch_rate)",
            res->wait_ms, class_name);
        break;
    }
}

struct ledger_change ledger_reserve_waits(const struct ledger_reserve *r, struct ledger_job *job,
                                          bool known, int64_t *told, int64_t now_ms,
                                          struct ledger_line *line)
{
    struct ledger_change change = ledger_rule_wait(job, known, r->request, r->scope, now_ms);
    line->what = NULL;
    if (change.state) {
        *told = 0;
        ledger_word_noted(line, job, r->request->delivery, false);
    }
    return change;
}

bool ledger_reserve_decides(const struct ledger_job *job, const struct ledger_usage *u)
{
    return job->state == JOB_WAITING || u->demand > u->supply;
}

bool ledger_reserve_tells(const struct ledger_reserve *r, const struct ledger_usage *u,
                          const struct ledger_reservation *res, int64_t *told,
                          struct ledger_line *line)
{
    bool reserved = res->outcome == LEDGER_RESERVED;
    bool waits = !reserved && res->outcome != LEDGER_SATISFIED;
    int64_t before = *told;
    int64_t bit = (int64_t)1 << res->outcome;
    line->what = NULL;
    if (r->request->job.id == 0 ? !reserved : waits && (before & bit) != 0) {
        return false;
    }
    *told = waits ? before | bit : 0;
    ledger_word_reserved(line, r, u, res);
    return *told != before;
}
