#include "worker/idle/idle_launch.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define REPLACED_FACTOR 2
#define AFTER_CAP_MS 30000

bool idle_launch_is(const struct launch_request *r)
{
    return r->job.id == 0 && strcmp(r->reason, LAUNCH_MIN_IDLE) == 0;
}

void idle_launch_limit(const struct config_class *class, struct launch_request *r)
{
    int64_t most = REPLACED_FACTOR * config_min_idle(class, r->scope, clock_wall_ms());
    if (idle_launch_is(r) && r->spare > most) {
        r->spare = most;
    }
}

bool idle_launch_instead(struct worker *w, struct lane *lane, const struct config_class *class,
                         const struct ledger_reserve *of_job, struct launch_request *request,
                         struct ledger_reservation *out)
{
    struct err e = {0};
    struct ledger_reservation reservation;
    struct ledger_reserve reserve = *of_job;
    struct launch_request idle = {.reason = LAUNCH_MIN_IDLE,
                                  .requested_ms = clock_wall_ms(),
                                  .job.installation_id = request->job.installation_id};
    idle.spare = config_min_idle(class, of_job->scope, idle.requested_ms);
    if (request->job.id == 0 || idle.spare == 0 || lane_was_full(lane, AFTER_CAP_MS)) {
        return false;
    }
    ASSERT(slice_to_cstr(slice_of(of_job->scope), idle.scope, sizeof idle.scope));
    memcpy(idle.class_name, request->class_name, sizeof idle.class_name);
    reserve.request = &idle;
    if (ledger_reserve(w->ledger, &reserve, &reservation, &e) != 0) {
        log_debug("idle_vm_not_reserved", LOG_STR("class", class->name), LOG_ERR(&e),
                  LOG_STR("action", "the reaper requests it"));
        return false;
    }
    if (reservation.outcome != LEDGER_RESERVED) {
        return false;
    }
    *request = idle;
    *out = reservation;
    return true;
}
