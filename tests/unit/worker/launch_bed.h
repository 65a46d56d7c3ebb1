/*
 * A launch in the world of world.h: its lane alone is scripted. Each end of a reservation is recorded
 * as "lane_reservation_ended".
 */
#ifndef MAYFLY_TESTS_WORKER_LAUNCH_BED_H
#define MAYFLY_TESTS_WORKER_LAUNCH_BED_H

#include "tests/unit/worker/world.h"
#include "worker/lane.h"
#include "worker/launch.h"

struct lane {
    struct subjects subjects; /* of its class, for the tests */
    uint64_t unknown_places;
    int64_t known_since_ms;
    bool was_full;
};
extern struct lane lane;

/* A world with a heartbeat, and the lane of a class. */
int launch_bed_set_up(const char *class_name);
int launch_bed_tear_down(void **state);

/* What a launch of that class depends on. */
void launch_bed_subjects(const char *class_name, struct subjects *out);

/* Launches the next request there, as if it had spent so many attempts more. */
void launch_bed_next(const char *lane_name, int64_t attempts);

#endif
