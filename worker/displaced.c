#include "worker/displaced.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/publish.h"

static bool took_supply(const struct ledger_effect *effect)
{
    const struct ledger_vm *vm = &effect->vm;
    return effect->vm_changed &&
           (vm->state == VM_BUSY || (vm->state == VM_ENDING && vm->busy_ms == 0));
}

static bool took_demand(const struct job_event *ev, const char *scope,
                        const struct ledger_effect *effect)
{
    return effect->known_before && effect->before == JOB_WAITING &&
           strcmp(ev->job.class_name, effect->vm.class_name) == 0 &&
           strcmp(scope, effect->vm.scope) == 0;
}

static int put_request(struct worker *w, const struct ledger_job *job, struct err *e)
{
    struct job_message message;
    struct launch_request request = {
        .reason = "displaced", .requested_ms = clock_wall_ms(), .job = job->facts};
    memcpy(request.class_name, job->facts.class_name, sizeof request.class_name);
    job_message_of_launch(&request, RECORD_OLDEST_FORMAT, &message);
    int failed = job_publish(w->queue, &message, e);
    job_message_fini(&message);
    return failed;
}

/* A job that runs by now has got a third job's VM: whose request it is does not matter to a launch. */
static bool is_left_to_reaper(const struct ledger_job *job)
{
    return job->state == JOB_WAITING && job->relaunches >= LEDGER_QUICK_RELAUNCHES;
}

void displaced_relaunch(struct worker *w, const struct job_event *ev, const char *scope,
                        const struct ledger_effect *effect)
{
    struct err e = {0};
    struct ledger_job job;
    int64_t displaced = effect->vm.for_job;
    if (!took_supply(effect) || took_demand(ev, scope, effect) || displaced == 0 ||
        displaced == ev->job.id) {
        return;
    }
    int failed = ledger_job_get(w->ledger, displaced, &job, &e);
    if (failed == 0 && is_left_to_reaper(&job)) {
        return;
    }
    failed = failed == 0 ? put_request(w, &job, &e) : failed;
    if (failed == 0 && job.state == JOB_WAITING) {
        failed = ledger_job_relaunched(w->ledger, displaced, &e);
    }
    if (failed != 0) {
        return; /* the reaper finds that a VM is missing */
    }
    log_info("job_displaced", LOG_INT("job_id", displaced), LOG_INT("taken_by", ev->job.id),
             LOG_STR("vm", effect->vm.name), LOG_STR("class", effect->vm.class_name),
             LOG_STR("scope", effect->vm.scope));
}
