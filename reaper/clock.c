/*
 * A wall clock that is set forward makes every VM look older than its deadline, also those of other
 * hosts. Boot time shows the step: ages are judged without it, until the clock is set back or has
 * kept the new time for so long that it is right, as after the first synchronisation.
 */
#include "common/base/log.h"
#include "reaper/reaper.h"

#define STEP_MS 60000
#define BELIEVED_AFTER_MS (15LL * 60 * 1000)

int64_t sweep_wall_ms(struct reaper *r)
{
    struct sweep_moment now = sweep_moment_now();
    int64_t ahead_ms = (now.wall_ms - r->last.wall_ms) - (now.boot_ms - r->last.boot_ms);
    bool first = r->last.boot_ms == 0;
    if (!first && ahead_ms > STEP_MS && r->ahead_since_ms == 0) {
        r->ahead_since_ms = now.boot_ms;
        log_warn("clock_set_forward", LOG_INT("ahead_ms", ahead_ms),
                 LOG_STR("action", "deadlines and ages are judged by the time before the step for "
                                   "15 minutes; correct this host's clock if it is wrong, or VMs "
                                   "that are not past their deadline are terminated then"));
    }
    bool believed = now.boot_ms - r->ahead_since_ms >= BELIEVED_AFTER_MS;
    if (first || ahead_ms <= STEP_MS || believed) {
        r->last = now;
        r->ahead_since_ms = 0;
        return now.wall_ms;
    }
    return now.wall_ms - ahead_ms;
}
