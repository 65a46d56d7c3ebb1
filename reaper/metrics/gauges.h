/*
 * Reads the gauges of the whole fleet (fleet.h): those of the ledger, and those of the queue.
 *
 * Each sets every gauge of its group anew, or fails and sets some. For the thread that reads them.
 */
#ifndef MAYFLY_REAPER_METRICS_GAUGES_H
#define MAYFLY_REAPER_METRICS_GAUGES_H

#include "common/base/metrics.h"
#include "reaper/metrics/images.h"
#include "reaper/metrics/launchable.h"

#define FLEET_UNCONFIGURED "unconfigured" /* the class of all that are not in the configuration */

struct gauges_input {
    struct reaper *reaper;
    const struct config *config;
    const struct repository_vms *repositories;
    const struct image_times *images;
    struct metrics_group *gauges;
};
typedef int gauges_read_fn(const struct gauges_input *in, struct err *e);
gauges_read_fn gauges_read_ledger;
gauges_read_fn gauges_read_queue;

#endif
