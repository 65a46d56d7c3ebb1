#include "worker/former_classes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/job/lane.h"

static int64_t count_messages(const struct queue_depth *lanes, size_t n, const char *class_name)
{
    for (size_t i = 0; i < n; i++) {
        const char *of = launch_lane_class(lanes[i].lane);
        if (of != NULL && strcmp(of, class_name) == 0) {
            return lanes[i].ready + lanes[i].leased + lanes[i].delayed;
        }
    }
    return 0;
}

static size_t report(const char *class_name, int64_t vms, int64_t jobs, int64_t messages)
{
    if (vms + jobs + messages == 0) {
        return 0;
    }
    log_warn("class_unknown_in_use", LOG_STR("class", class_name), LOG_INT("vms", vms),
             LOG_INT("jobs", jobs), LOG_INT("messages", messages),
             LOG_STR("action",
                     "its VMs hold their slots until they end or their deadlines pass; its "
                     "jobs wait: configure it again, or run mayflyctl class retire"));
    return 1;
}

static bool is_counted(const struct ledger_count *counts, size_t n, const char *class_name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(counts[i].class_name, class_name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_former(const struct config *c, const char *class_name)
{
    return class_name[0] != '\0' && config_class_by_name(c, slice_of(class_name)) == NULL;
}

size_t former_classes_check(struct worker *w, const struct config *c)
{
    struct ledger_count *counts = NULL;
    struct queue_depth *lanes = NULL;
    struct err ignored = {0};
    size_t n = 0;
    size_t lane_count = 0;
    size_t warned = 0;
    if (ledger_counts(w->ledger, &counts, &n, &ignored) != 0) {
        n = 0;
    }
    if (queue_depths(w->queue, NULL, &lanes, &lane_count, &ignored) != 0) {
        lane_count = 0;
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = counts[i].class_name;
        if (is_former(c, name)) {
            warned += report(name, ledger_count_slots(&counts[i]), counts[i].jobs[JOB_WAITING],
                             count_messages(lanes, lane_count, name));
        }
    }
    for (size_t i = 0; i < lane_count; i++) {
        const char *name = launch_lane_class(lanes[i].lane);
        if (name != NULL && is_former(c, name) && !is_counted(counts, n, name)) {
            warned += report(name, 0, 0, count_messages(&lanes[i], 1, name));
        }
    }
    free(counts);
    free(lanes);
    return warned;
}
