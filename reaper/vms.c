/*
 * Rows compared with the providers' lists and GitHub's: VMs that ended by themselves, launches that
 * were never finished, VMs whose runner is gone or abandoned. VMs that are not listed are an
 * absence (absences.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/fleet/output.h"
#include "reaper/reaper.h"

#define IDLE_MS 20000           /* most runners have their job by then */
#define DESCRIBES_PER_SWEEP 100 /* of a service, a second's quota; the next sweep goes on */

struct judging {
    struct sweep *sweep;
    int describes_left;
};

static const char *provider_id(const struct sweep_listing *m, const struct ledger_vm *vm)
{
    return vm->vm_id[0] == '\0' && vm_is_named(m->provider) ? vm->name : vm->vm_id;
}

static const struct vm_info *find_listed(const struct sweep_listing *m, const char *id)
{
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->list[i].id, id) == 0) {
            return &m->list[i];
        }
    }
    return NULL;
}

static bool launch_recorded(const struct ledger_vm *vm)
{
    return vm->state == VM_LAUNCHED || vm->state == VM_BUSY;
}

static bool terminate_for(struct sweep *s, const struct ledger_vm *vm, const char *reason,
                          enum fleet_evidence evidence)
{
    struct fleet_termination how = {.reason = reason, .evidence = evidence, .failed = true};
    return sweep_terminate_vm(s, vm, &how);
}

/* A runner that is offline may have been online before, and have idled: then no job waits for one. */
static bool never_came(struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    if (vm->image_part == IMAGE_NO_PART || vm->busy_ms > 0 || vm->job_id > 0 ||
        ledger_jobs_waiting(s->reaper->ledger, vm->scope, vm->class_name, s->now_ms, 1, &jobs, &n,
                            &e) != 0) {
        return false;
    }
    free(jobs);
    return n > 0;
}

/* A list may lag behind a launch, but not by startup_timeout. A row without a VM id has nothing
 * that could be looked for. */
static bool is_missing(const struct sweep *s, const struct sweep_listing *m,
                       const struct ledger_vm *vm)
{
    int64_t since_ms = vm->launched_ms > 0 ? vm->launched_ms : vm->reserved_ms;
    return m->fresh && launch_recorded(vm) && provider_id(m, vm)[0] != '\0' &&
           m->began_ms > since_ms + s->config->reaper.startup_timeout_ms &&
           find_listed(m, provider_id(m, vm)) == NULL;
}

/* --- the provider says that it ended --- */

/* Whether to ask about the VM itself. A service's list may leave out what has ended, and is complete
 * every few minutes only: until then a VM whose runner got no job is suspect after a while. */
static bool may_have_ended(const struct sweep *s, const struct sweep_listing *m,
                           const struct ledger_vm *vm)
{
    if (vm_is_named(m->provider) || provider_id(m, vm)[0] == '\0') {
        const struct vm_info *listed = find_listed(m, provider_id(m, vm));
        return listed != NULL && listed->state == VM_RUN_ENDED;
    }
    if (!m->fresh) {
        return !m->failed && vm->state == VM_LAUNCHED && s->now_ms > vm->launched_ms + IDLE_MS;
    }
    const struct vm_info *listed = find_listed(m, provider_id(m, vm));
    return listed != NULL ? listed->state == VM_RUN_ENDED : vm->launched_ms < m->began_ms;
}

/* Returns whether the provider says that it has ended. */
static bool has_ended(struct judging *j, const struct sweep_listing *m, const struct ledger_vm *vm,
                      struct vm_info *info)
{
    struct err e = {0};
    if (!may_have_ended(j->sweep, m, vm) || (j->describes_left == 0 && !vm_is_named(m->provider))) {
        return false;
    }
    j->describes_left -= !vm_is_named(m->provider);
    if (vm_describe(m->provider, provider_id(m, vm), info, &e) == 0) {
        return info->state == VM_RUN_ENDED;
    }
    if (e.class != ERR_NOT_FOUND && !vm_is_named(m->provider)) {
        j->describes_left = 0; /* the next sweep asks again */
    }
    return false;
}

/* GitHub's word that it gave the VM a job may come later than the VM's end: a job that kills its VM must not count
 * against the image. *sure: that it has had the time to come. */
static bool image_failed(struct sweep *s, const struct sweep_listing *m, const struct ledger_vm *vm,
                         const struct vm_info *ended, bool *sure)
{
    struct sign_of sign = {SIGN_IMAGE_FAILED, m->class->name, vm->name};
    bool had_job = vm->busy_ms > 0 || vm->job_id > 0;
    bool failed = !had_job && (sweep_sign_is_known(s, m->provider, &sign) ||
                               sweep_image_failed(s, m, vm, ended->reason, ended->ended_ms));
    *sure = !failed || sweep_confirm_sign(s, m->provider, &sign);
    return failed;
}

static bool terminate_ended(struct sweep *s, const struct sweep_listing *m,
                            const struct ledger_vm *vm, const struct vm_info *ended)
{
    char reason[sizeof ended->reason + 32];
    bool sure;
    (void)snprintf(reason, sizeof reason, "the VM ended: %s",
                   ended->reason[0] != '\0' ? ended->reason : "no reason given");
    struct fleet_termination how = {.reason = reason,
                                    .evidence = FLEET_OVER,
                                    .failed = !fleet_ended_well(ended->reason),
                                    .image_failed = image_failed(s, m, vm, ended, &sure)};
    bool terminated = sure && sweep_terminate_vm(s, vm, &how);
    if (terminated) {
        sweep_vm_ended(s, m, vm, ended->reason, ended->ended_ms);
    }
    return terminated;
}

/* --- its runner --- */

/* A VM that may start, or whose runner has just got a job, is left alone: lists lag. */
static bool is_old_enough(const struct sweep *s, const struct ledger_vm *vm)
{
    int64_t since_ms = vm->busy_ms > vm->launched_ms ? vm->busy_ms : vm->launched_ms;
    return s->now_ms > since_ms + s->config->reaper.startup_timeout_ms;
}

/* GitHub's word about its job ends it or holds it: running_jobs.c asks, if the event was lost. */
static bool may_be_held(const struct ledger_vm *vm)
{
    return vm->hold_ms > 0 && vm->state == VM_BUSY && vm->job_id > 0;
}

static bool terminate_without_runner(struct sweep *s, const struct sweep_listing *m,
                                     const struct ledger_vm *vm)
{
    bool terminated = false;
    struct fleet_termination abandoned = {.reason = "its runner is offline and has no job",
                                          .evidence = FLEET_SUSPECT,
                                          .failed = true};
    switch (sweep_judge_runner(s, m, vm)) {
    case RUNNER_GONE:
        terminated = !may_be_held(vm) &&
                     terminate_for(s, vm, "its runner is gone at GitHub", FLEET_RUNNER_GONE);
        break;
    case RUNNER_ABANDONED:
        abandoned.image_failed = never_came(s, vm);
        terminated = sweep_terminate_vm(s, vm, &abandoned);
        break;
    case RUNNER_UP:
    case RUNNER_OFFLINE:
    case RUNNER_UNKNOWN:
        break;
    }
    if (terminated) {
        sweep_vm_ended(s, m, vm, "", 0);
    }
    return terminated;
}

/* --- a launch whose worker is dead --- */

static bool is_unfinished(const struct sweep *s, const struct ledger_vm *vm)
{
    bool launching = vm->state == VM_RESERVED || vm->state == VM_REGISTERED;
    int64_t limit_ms = ledger_heartbeat_limit_ms(s->config->worker.visibility_timeout_ms);
    return launching && ledger_now_ms(s->reaper->ledger) > vm->heartbeat_ms + limit_ms;
}

/* A row that was only reserved has neither a runner nor a VM. */
static bool terminate_unfinished(struct sweep *s, const struct sweep_listing *m,
                                 const struct ledger_vm *vm)
{
    static const char reason[] = "its launch was not completed";
    struct sign_of sign = {SIGN_LAUNCH_UNFINISHED, m->class->name, vm->name};
    bool confirmed = sweep_confirm_sign(s, m->provider, &sign);
    if (vm->state == VM_RESERVED) {
        return confirmed && terminate_for(s, vm, reason, FLEET_SUSPECT);
    }
    switch (sweep_judge_runner(s, m, vm)) {
    case RUNNER_GONE:
        return confirmed && terminate_for(s, vm, reason, FLEET_RUNNER_GONE);
    case RUNNER_OFFLINE:
    case RUNNER_ABANDONED:
        return confirmed && terminate_for(s, vm, reason, FLEET_SUSPECT);
    case RUNNER_UP:
    case RUNNER_UNKNOWN:
        break;
    }
    return false;
}

static bool check_row(struct judging *j, const struct sweep_listing *m, const struct ledger_vm *vm)
{
    struct sweep *s = j->sweep;
    struct vm_info ended;
    if (is_unfinished(s, vm)) {
        return terminate_unfinished(s, m, vm);
    }
    if (!launch_recorded(vm)) {
        return false;
    }
    if (has_ended(j, m, vm, &ended)) {
        return terminate_ended(s, m, vm, &ended);
    }
    bool judged = is_old_enough(s, vm) || is_missing(s, m, vm);
    return judged && !ledger_vm_is_adopted(vm) && terminate_without_runner(s, m, vm);
}

int sweep_vms(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct judging j = {.sweep = s, .describes_left = DESCRIBES_PER_SWEEP};
    size_t first = s->vm_count > 0 ? s->reaper->next_described % s->vm_count : 0;
    bool exhausted = false;
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        size_t at = (first + i) % s->vm_count;
        const struct ledger_vm *vm = &s->vms[at];
        const struct sweep_listing *m = sweep_class_of(s, vm);
        if (m != NULL && sweep_judges_rows(m) && sweep_may_act_on(s, vm) && check_row(&j, m, vm)) {
            (*repairs)++;
        }
        if (j.describes_left == 0 && !exhausted) {
            exhausted = true;
            s->reaper->next_described = at + 1;
        }
    }
    sweep_vms_observed(s, SIGN_LAUNCH_UNFINISHED, SCAN_ROWS);
    if (!exhausted) { /* else some were not asked about */
        sweep_vms_observed(s, SIGN_IMAGE_FAILED, SCAN_ROWS);
    }
    return 0;
}

/* --- VMs that are not listed --- */

/* The provider is asked about the VM itself when it is first missed, and right before the absence
 * counts as confirmed. */
static bool is_confirmed_missing(struct sweep *s, const struct sweep_listing *m,
                                 const struct ledger_vm *vm)
{
    struct err e = {0};
    struct vm_info info;
    struct sign_of sign = {SIGN_VM_VANISHED, m->class->name, vm->name};
    struct signs *signs = sweep_lease_of(s, m->provider)->signs;
    if (!sweep_sign_is_young(s, m->provider, &sign)) {
        int rc = vm_describe(m->provider, provider_id(m, vm), &info, &e);
        if (rc == 0) {
            return false;
        }
        if (e.class != ERR_NOT_FOUND) {
            signs_unsure(signs, &sign);
            return false;
        }
    }
    sweep_list_soon(s, m);
    return sweep_confirm_sign(s, m->provider, &sign);
}

void sweep_collect_missing_vms(struct sweep *s, struct absences *out)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        const struct sweep_listing *m = sweep_listing_of(s, vm);
        if (m != NULL && sweep_may_act_on(s, vm) && is_missing(s, m, vm) &&
            is_confirmed_missing(s, m, vm)) {
            absences_add(out, &(struct absence){.listing = m, .vm = vm, .subject = vm->name});
        }
    }
    sweep_vms_observed(s, SIGN_VM_VANISHED, SCAN_FRESH_LIST);
}

bool sweep_terminate_missing_vm(struct sweep *s, const struct ledger_vm *vm)
{
    /* Of an adopted one nobody knows the runner. */
    enum fleet_evidence evidence = ledger_vm_is_adopted(vm) ? FLEET_OVER : FLEET_SUSPECT;
    return terminate_for(s, vm, "the provider no longer knows the VM", evidence);
}
