/*
 * The lanes of the queue: "events" for facts about jobs and VMs, "launch.<class>" for launch requests.
 * Pure functions, any thread.
 */
#ifndef MAYFLY_JOB_LANE_H
#define MAYFLY_JOB_LANE_H

#include "common/job/job.h"

#define EVENTS_LANE "events"
#define LAUNCH_LANE_SIZE (sizeof "launch." - 1 + CLASS_NAME_SIZE)

/* Writes the class's lane and returns it. `class_name` is shorter than CLASS_NAME_SIZE. */
const char *launch_lane(const char *class_name, char out[LAUNCH_LANE_SIZE]);
/* The class of a launch lane, a part of `lane`; NULL if it is not a launch lane. */
const char *launch_lane_class(const char *lane);

#endif
