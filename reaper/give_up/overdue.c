/*
 * Jobs that have waited for too long, and not because of anything wider than themselves.
 *
 * An outage, a cap, a pause or a backlog costs time and never a job (invariant 7). So a job counts as
 * overdue only if it was seen to be launchable, sweep after sweep, for the last tenth of
 * reaper.give_up_after (CLEAR_MAX_MS at most), and waits all the same: its class is configured, not
 * paused, below its caps, without messages that wait, and has a worker; its repository is below its
 * cap; no circuit that its launch depends on is open. While a VM is on its way to it, it is left. What
 * is seen is forgotten with the lease, so another reaper begins anew.
 *
 * That nothing is known to be in trouble is no evidence that the class works (invariant 9): VMs may start
 * and never come online, and GitHub may give no runner a job. So it is given up only if meanwhile, in the
 * later half of its wait, another job of its class and scope has begun to run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/job/lane.h"
#include "common/ledger/programs.h"
#include "reaper/give_up/give_up.h"

#define CLEAR_SHARE 10
#define CLEAR_MAX_MS (10 * 60000)

struct programs {
    struct ledger_program *list;
    size_t count;
};

static bool has_worker(const struct programs *all, const char *class_name)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct ledger_program *p = &all->list[i];
        if (strcmp(p->program, "mayfly-worker") == 0 && !p->waiting &&
            ledger_program_has_class(p, class_name)) {
            return true;
        }
    }
    return false;
}

/* Messages that no worker has received, or that went back to wait for a slot of their repository, for
 * the launch rate or for a circuit. */
static bool has_backlog(const struct sweep *s, const char *class_name)
{
    struct err ignored = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    char lane[LAUNCH_LANE_SIZE];
    bool backlog = false;
    if (queue_depths(s->reaper->queue, launch_lane(class_name, lane), &depths, &n, &ignored) != 0) {
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        backlog = backlog || depths[i].ready > 0 || depths[i].delayed > 0;
    }
    free(depths);
    return backlog;
}

/* A host's own trouble, as other hosts have it, keeps launches from them too. */
static bool has_host_trouble(const struct sweep *s)
{
    static const enum subject of_hosts[] = {SUBJECT_HOST, SUBJECT_GITHUB_HERE, SUBJECT_CREDENTIALS,
                                            SUBJECT_PROXY, SUBJECT_TARGET_HERE};
    bool trouble = false;
    for (size_t i = 0; i < COUNT_OF(of_hosts); i++) {
        trouble = trouble || circuits_open_count(s->reaper->circuits, of_hosts[i]) > 0;
    }
    return trouble;
}

/* Where VMs are bound to a host, so is the circuit of their class: that of any class counts. */
static bool class_launches(const struct sweep *s, const struct programs *all,
                           const struct config_class *class)
{
    const struct vm_provider *p = fleet_provider(s->reaper->fleet, class->name);
    bool trouble = !fleet_serves(s->reaper->fleet, class->name) ||
                   (p != NULL && vm_host_bound(p) &&
                    circuits_open_count(s->reaper->circuits, SUBJECT_CLASS) > 0);
    return !trouble && !sweep_class_is_paused(s, class->name) && sweep_free_slots(s, class) > 0 &&
           has_worker(all, class->name) && !has_backlog(s, class->name);
}

static bool is_capped(const struct sweep *s, const char *repository)
{
    int64_t cap = s->config->limits.max_vms_per_repository;
    int64_t used = 0;
    for (size_t i = 0; cap > 0 && i < s->vm_count; i++) {
        used += s->vms[i].state != VM_GONE && strcasecmp(s->vms[i].repository, repository) == 0;
    }
    return cap > 0 && used >= cap;
}

static bool is_stopped(const struct sweep *s, const struct ledger_job *job,
                       const struct config_class *class)
{
    const struct github_scope scope = github_scope_of(s->config, class, &job->facts);
    const char *mapped = config_mapped_group(s->config, job->facts.repository);
    const char *group = mapped[0] != '\0' ? mapped : config_class_group(s->config, class);
    const struct config_class *const *places = NULL;
    size_t n = config_launch_places(s->config, class, &places);
    bool stopped = false;
    for (size_t i = 0; i < n; i++) { /* a launch that any of them keeps waiting is no one's fault */
        const struct vm_provider *p = fleet_provider(s->reaper->fleet, places[i]->name);
        struct subjects of = {0};
        if (p != NULL) {
            subjects_of_class(places[i], p, fleet_host(s->reaper->fleet), &of);
        }
        subjects_add_scope(&scope, class, group, job->facts.repository, &of);
        const struct circuits_stop stop = circuits_stop_of(s->reaper->circuits, &of);
        stopped = stopped || p == NULL || stop.wait_ms > 0 || stop.open;
    }
    return stopped || n == 0;
}

/* One that has idled for longer gets no job from GitHub either. */
bool give_up_has_vm(const struct sweep *s, int64_t job_id)
{
    int64_t young_ms = s->config->reaper.startup_timeout_ms;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        bool starts = vm->state < VM_LAUNCHED ||
                      (vm->state == VM_LAUNCHED && s->now_ms - vm->launched_ms < young_ms);
        if (vm->for_job == job_id && starts) {
            return true;
        }
    }
    return false;
}

static int64_t clear_ms(const struct sweep *s)
{
    int64_t share_ms = s->config->reaper.give_up_after_ms / CLEAR_SHARE;
    return share_ms < CLEAR_MAX_MS ? share_ms : CLEAR_MAX_MS;
}

/* A class, and the newest of its jobs that ran and ended. */
struct class_looked_at {
    const struct config_class *class;
    struct ledger_job *ended; /* owned */
    size_t ended_count;
};

/* Whether a job of its class and scope has begun to run since then: an ended one, or one that runs. */
static bool has_run_since(const struct sweep *s, const struct class_looked_at *of,
                          const char *scope, int64_t since_ms)
{
    bool ran = false;
    for (size_t i = 0; i < of->ended_count; i++) {
        const struct ledger_job *j = &of->ended[i];
        ran = ran || (j->running_ms >= since_ms && strcmp(j->scope, scope) == 0);
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        ran = ran || (vm->busy_ms >= since_ms && strcmp(vm->class_name, of->class->name) == 0 &&
                      strcmp(vm->scope, scope) == 0);
    }
    return ran;
}

static int look_at(struct sweep *s, const struct ledger_job *job, const struct class_looked_at *of,
                   struct err *e)
{
    char id[24];
    char why[160];
    (void)snprintf(id, sizeof id, "%lld", (long long)job->facts.id);
    const struct sign_of sign = {SIGN_OVERDUE, of->class->name, id};
    int64_t waited_ms = s->now_ms - job->waiting_ms;
    if (is_capped(s, job->facts.repository) || is_stopped(s, job, of->class) ||
        !sweep_confirm_sign_after(s, NULL, &sign, clear_ms(s)) ||
        give_up_has_vm(s, job->facts.id) ||
        !has_run_since(s, of, job->scope, s->now_ms - waited_ms / 2)) {
        return 0;
    }
    (void)snprintf(why, sizeof why,
                   "it has waited %lld s for a runner (reaper.give_up_after), and its class is not "
                   "in trouble",
                   (long long)(waited_ms / 1000));
    return ledger_give_up_ask(s->reaper->ledger, job->facts.id, why, e);
}

static bool is_overdue(const struct sweep *s, const struct ledger_job *job)
{
    return s->now_ms - job->waiting_ms >= s->config->reaper.give_up_after_ms;
}

static int list_jobs(struct sweep *s, const struct config_class *class, unsigned states, size_t max,
                     struct ledger_job **out, size_t *n, struct err *e)
{
    const struct ledger_jobs_query query = {
        .states = states, .class_name = class->name, .after = "", .max = max};
    char next[LEDGER_CURSOR_SIZE];
    return ledger_jobs_list(s->reaper->ledger, &query, out, n, next, e);
}

static int look_at_class(struct sweep *s, const struct config_class *class, struct err *e)
{
    struct class_looked_at of = {.class = class};
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    int rc = list_jobs(s, class, 1U << JOB_WAITING, GIVE_UP_LOOKED_AT, &jobs, &n, e);
    if (rc == 0 && n > 0 && is_overdue(s, &jobs[0])) { /* the oldest one is the first */
        rc = list_jobs(s, class, 1U << JOB_DONE, GIVE_UP_ENDED, &of.ended, &of.ended_count, e);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (is_overdue(s, &jobs[i])) {
            rc = look_at(s, &jobs[i], &of, e);
        }
    }
    free(of.ended);
    free(jobs);
    return rc;
}

int give_up_find_overdue(struct sweep *s, struct err *e)
{
    struct programs all = {.count = 0};
    if (sweep_read_pauses(s, e) != 0 ||
        ledger_program_list(s->reaper->ledger, &all.list, &all.count, e) != 0) {
        return -1;
    }
    circuits_refresh(s->reaper->circuits);
    bool trouble = has_host_trouble(s);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->config->class_count; i++) {
        const struct config_class *class = &s->config->classes[i];
        if (!trouble && class_launches(s, &all, class)) {
            rc = look_at_class(s, class, e);
        }
        if (rc == 0) { /* what this sweep did not see launchable begins anew */
            signs_scan_ended(sweep_lease_of(s, NULL)->signs, SIGN_OVERDUE, class->name);
        }
    }
    free(all.list);
    return rc;
}
