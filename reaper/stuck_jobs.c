/*
 * Jobs that wait although runners of their scope and class idle. GitHub assigns a waiting job to an
 * idle runner of its scope and labels within seconds. If both last longer than the class's
 * relaunch_after (or half of its idle_timeout), the ledger is wrong about one of them: usually about the job, whose `in_progress`
 * or `completed` event was lost. Such a job would count as demand forever and keep a VM that
 * another job could use; the relaunch task never checks it, since supply covers it. So its status
 * is read from GitHub, and the ledger is reconciled.
 *
 * Of a job that does wait according to GitHub it is asked whether the runner group admits its
 * repository; the log and the job's timeline say which group does not, or what else to check.
 *
 * The task runs once in the shortest of these times of all classes and checks the oldest jobs only,
 * so its requests are bounded, however many jobs wait. It terminates no VM: an unneeded VM idles
 * out by itself. A class that an operator has paused is left alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/ledger/kinds.h"
#include "reaper/reaper.h"

#define JOBS_PER_CHECK 20  /* of one (scope, class); each costs a request to GitHub */
#define GROUPS_PER_CHECK 3 /* questions about groups, each for another repository */

/* A VM must be found idle before it ends for being so. */
static int64_t idles_too_long_ms(const struct sweep *s, const struct config_class *class)
{
    int64_t relaunch_ms = sweep_relaunch_after_ms(s, class);
    return relaunch_ms < class->idle_timeout_ms / 2 ? relaunch_ms : class->idle_timeout_ms / 2;
}

int64_t sweep_stuck_jobs_interval_ms(const struct sweep *s)
{
    int64_t shortest = s->config->reaper.relaunch_after_ms;
    for (size_t i = 0; i < s->config->class_count; i++) {
        int64_t base_ms = idles_too_long_ms(s, &s->config->classes[i]);
        shortest = base_ms < shortest ? base_ms : shortest;
    }
    return shortest;
}

/* VMs that have been without a job for that long. */
static int64_t count_idle(const struct sweep *s, const char *scope,
                          const struct config_class *class)
{
    int64_t idle = 0;
    int64_t before_ms = s->now_ms - idles_too_long_ms(s, class);
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        bool idles = vm->state == VM_LAUNCHED && vm->launched_ms < before_ms;
        idle += idles && strcmp(vm->scope, scope) == 0 && strcmp(vm->class_name, class->name) == 0;
    }
    return idle;
}

/* The group that does not admit the job's repository; NULL: it is admitted, or that is not known. */
static const char *group_that_refuses(struct sweep *s, const struct ledger_job *job,
                                      const struct config_class *class, size_t *asked)
{
    struct err e = {0};
    struct sweep_call call;
    bool admits = true;
    const struct github_scope scope = github_scope_of(s->config, class, &job->facts);
    const char *mapped = config_mapped_group(s->config, job->facts.repository);
    const char *group = mapped[0] != '\0' ? mapped : config_class_group(s->config, class);
    if (scope.is_repository || *asked == GROUPS_PER_CHECK ||
        !sweep_begin_question(s, &scope, GITHUB_RECONCILE, 1, &call)) {
        return NULL;
    }
    (*asked)++;
    int rc =
        github_group_admits(s->reaper->github, &scope, group, job->facts.repository, &admits, &e);
    sweep_end_call(s, &call, rc, &e);
    return rc == 0 && !admits ? group : NULL;
}

static void add_to_timeline(struct sweep *s, const struct ledger_job *job, const char *what,
                            const char *detail)
{
    struct err e = {0};
    if (ledger_log_event(s->reaper->ledger, job->facts.id, "", what, detail, &e) != 0) {
        log_debug("timeline_write_failed", LOG_INT("job_id", job->facts.id), LOG_ERR(&e));
    }
}

static void report_stuck_job(struct sweep *s, const struct ledger_job *job, int64_t idle,
                             const char *group)
{
    char action[400] = "check that the class's labels include all of the job's runs-on labels; "
                       "GitHub may also be slow";
    char detail[460];
    if (group != NULL) {
        (void)snprintf(action, sizeof action,
                       "runner group \"%.100s\" does not admit %.140s: admit it (GitHub: "
                       "organization settings, Actions, Runner groups), or map it to another group "
                       "in github.groups",
                       group, job->facts.repository);
    }
    (void)snprintf(detail, sizeof detail, "%s%s",
                   group != NULL ? ""
                                 : "GitHub assigns it to none of the idle runners of its class: ",
                   action);
    log_warn("job_stuck_with_idle_runners", LOG_INT("job_id", job->facts.id),
             LOG_STR("class", job->facts.class_name), LOG_STR("repository", job->facts.repository),
             LOG_STR("scope", job->scope), LOG_INT("waiting_ms", s->now_ms - job->waiting_ms),
             LOG_INT("idle_vms", idle),
             LOG_STR("reason", "GitHub keeps the job queued although runners of its class idle"),
             LOG_STR("action", action));
    add_to_timeline(s, job, group != NULL ? LEDGER_NOT_ADMITTED : "stuck_with_idle_runners",
                    detail);
}

static int check_waiting_jobs(struct sweep *s, const struct ledger_balance *b,
                              const struct config_class *class, int64_t *repairs, struct err *e)
{
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    size_t asked = 0;
    int64_t idle = count_idle(s, b->scope, class);
    if (b->demand == 0 || idle == 0) {
        return 0;
    }
    if (ledger_jobs_waiting(s->reaper->ledger, b->scope, b->class_name,
                            s->now_ms - idles_too_long_ms(s, class), JOBS_PER_CHECK, &jobs, &n,
                            e) != 0) {
        return err_wrap(e, "jobs of %s, class %s, that wait although %lld VMs idle", b->scope,
                        b->class_name, (long long)idle);
    }
    for (size_t i = 0; i < n && sweep_still_holds(s, NULL); i++) {
        enum job_status status = sweep_job_status(s, &jobs[i]);
        *repairs += status == JOB_STATUS_NOT_WAITING ? 1 : 0;
        if (status == JOB_STATUS_WAITS) {
            report_stuck_job(s, &jobs[i], idle, group_that_refuses(s, &jobs[i], class, &asked));
        }
    }
    free(jobs);
    return 0;
}

int sweep_stuck_jobs(struct sweep *s, int64_t *repairs, struct err *e)
{
    int failed = 0;
    if (sweep_read_pauses(s, e) != 0 || sweep_read_balances(s, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < s->balance_count; i++) {
        const struct ledger_balance *b = &s->balances[i];
        const struct config_class *class = config_class_by_name(s->config, slice_of(b->class_name));
        bool paused = sweep_class_is_paused(s, b->class_name);
        if (class != NULL && !paused && check_waiting_jobs(s, b, class, repairs, e) != 0) {
            failed = -1;
        }
    }
    return failed;
}
