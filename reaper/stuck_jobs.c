/*
 * Jobs that wait although runners of their scope and class idle. GitHub assigns a waiting job to an
 * idle runner of its scope and labels within seconds. If both last longer than the class's
 * relaunch_after, the ledger is wrong about one of them: usually about the job, whose `in_progress`
 * or `completed` event was lost. Such a job would count as demand forever and keep a VM that
 * another job could use; the relaunch task never checks it, since supply covers it. So its status
 * is read from GitHub, and the ledger is reconciled.
 *
 * A job that does wait according to GitHub is logged with what to check: a runner group that does
 * not admit its repository, or labels of the class that are not the runner's.
 *
 * The task runs once in the shortest relaunch_after of all classes and checks the oldest jobs only,
 * so its requests are bounded, however many jobs wait. It terminates no VM: an unneeded VM idles
 * out by itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "reaper/reaper.h"

#define JOBS_PER_CHECK 20 /* of one (scope, class); each costs a request to GitHub */

int64_t sweep_stuck_jobs_interval_ms(const struct sweep *s)
{
    int64_t shortest = s->config->reaper.relaunch_after_ms;
    for (size_t i = 0; i < s->config->class_count; i++) {
        int64_t base_ms = sweep_relaunch_after_ms(s, &s->config->classes[i]);
        shortest = base_ms < shortest ? base_ms : shortest;
    }
    return shortest;
}

/* VMs that have been without a job for longer than relaunch_after. */
static int64_t count_idle(const struct sweep *s, const char *scope,
                          const struct config_class *class)
{
    int64_t idle = 0;
    int64_t before_ms = s->now_ms - sweep_relaunch_after_ms(s, class);
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        bool idles = vm->state == VM_LAUNCHED && vm->launched_ms < before_ms;
        idle += idles && strcmp(vm->scope, scope) == 0 && strcmp(vm->class_name, class->name) == 0;
    }
    return idle;
}

static void report_stuck_job(struct sweep *s, const struct ledger_job *job, int64_t idle)
{
    static const char action[] =
        "check that the runner group admits the repository and that the class's labels include all "
        "of the job's runs-on labels; GitHub may also be slow";
    struct err e = {0};
    struct buf detail;
    buf_init(&detail, 300);
    buf_printf(&detail, "GitHub assigns it to none of the idle runners of its class: %s", action);
    log_warn("job_stuck_with_idle_runners", LOG_INT("job_id", job->facts.id),
             LOG_STR("class", job->facts.class_name), LOG_STR("repository", job->facts.repository),
             LOG_STR("scope", job->scope), LOG_INT("waiting_ms", s->now_ms - job->waiting_ms),
             LOG_INT("idle_vms", idle),
             LOG_STR("reason", "GitHub keeps the job queued although runners of its class idle"),
             LOG_STR("action", action));
    if (ledger_log_event(s->reaper->ledger, job->facts.id, "", "stuck_with_idle_runners",
                         detail.data, &e) != 0) {
        log_debug("timeline_write_failed", LOG_INT("job_id", job->facts.id), LOG_ERR(&e));
    }
    buf_fini(&detail);
}

static int check_waiting_jobs(struct sweep *s, const struct ledger_balance *b,
                              const struct config_class *class, int64_t *repairs, struct err *e)
{
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    int64_t idle = count_idle(s, b->scope, class);
    if (b->demand == 0 || idle == 0) {
        return 0;
    }
    if (ledger_jobs_waiting(s->reaper->ledger, b->scope, b->class_name,
                            s->now_ms - sweep_relaunch_after_ms(s, class), JOBS_PER_CHECK, &jobs,
                            &n, e) != 0) {
        return err_wrap(e, "jobs of %s, class %s, that wait although %lld VMs idle", b->scope,
                        b->class_name, (long long)idle);
    }
    for (size_t i = 0; i < n && sweep_still_holds(s, NULL); i++) {
        enum job_status status = sweep_job_status(s, &jobs[i]);
        *repairs += status == JOB_STATUS_NOT_WAITING ? 1 : 0;
        if (status == JOB_STATUS_WAITS) {
            report_stuck_job(s, &jobs[i], idle);
        }
    }
    free(jobs);
    return 0;
}

int sweep_stuck_jobs(struct sweep *s, int64_t *repairs, struct err *e)
{
    int failed = 0;
    if (sweep_read_balances(s, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < s->balance_count; i++) {
        const struct ledger_balance *b = &s->balances[i];
        const struct config_class *class = config_class_by_name(s->config, slice_of(b->class_name));
        if (class != NULL && check_waiting_jobs(s, b, class, repairs, e) != 0) {
            failed = -1;
        }
    }
    return failed;
}
