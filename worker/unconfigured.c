#include "worker/unconfigured.h"

#include <string.h>

#include "common/base/log.h"
#include "common/job/lane.h"
#include "common/job/scope.h"
#include "worker/returns.h"

/* GitHub gives the jobs of a set to no other runners. */
static bool is_of_removed_set(const struct config *c, const struct launch_request *r)
{
    char group[SCOPE_SIZE];
    bool fits = slice_to_cstr(scope_group(r->scope), group, sizeof group);
    return r->job.id == 0 && fits && scope_set(group) != NULL &&
           config_source_of(c, r->scope) == NULL;
}

bool request_is_configured(const struct config *c, const struct launch_request *r)
{
    return config_class_by_name(c, slice_of(r->class_name)) != NULL && !is_of_removed_set(c, r);
}

void return_unconfigured(struct worker *w, const struct config *c, const struct queue_message *m,
                         const struct launch_request *r)
{
    const struct queue_return back = {.delay_ms = circuits_park_max_ms(c),
                                      .reason = "its runner class is not configured any more"};
    const char *of_lane = launch_lane_class(m->lane);
    if (is_of_removed_set(c, r)) {
        log_info("launch_skipped", LOG_STR("class", r->class_name),
                 LOG_STR("reason", "its scale set is not among sources any more"));
        worker_ack(w, m);
    } else if (of_lane != NULL && strcmp(of_lane, r->class_name) == 0) {
        /* No trouble of the job, which waits as the rest of the lane does. */
        worker_nack(w, m, &back);
    } else { /* in another class's lane it would never be looked at again */
        worker_dead_letter(
            w, m, "its class is not configured here: add the class, then redrive this message");
    }
}
