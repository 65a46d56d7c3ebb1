/*
 * Which waiting jobs could be launched at once.
 *
 * Pure but for a few reads of the ledger: the oldest jobs of each scope that lacks VMs. For the thread
 * that reads the fleet's gauges.
 */
#ifndef MAYFLY_REAPER_METRICS_LAUNCHABLE_H
#define MAYFLY_REAPER_METRICS_LAUNCHABLE_H

#include "reaper/reaper.h"

/* How many VMs each repository has, as the last sweep read them. */
struct repository_vms {
    struct repository_count {
        char name[REPOSITORY_SIZE];
        int64_t vms;
    } * list;
    size_t count;
};

/* What could be launched now of a class. */
struct launchable {
    int64_t jobs;
    int64_t oldest_wait_ms;
};
struct launchable_query {
    struct reaper *reaper;
    const struct config *config;
    const struct config_class *class;
    const struct ledger_balance *balances; /* of all classes */
    size_t balance_count;
    const struct repository_vms *repositories;
    int64_t class_used; /* slots */
    int64_t fleet_used;
    bool paused;
};
/* Waiting jobs beyond the VMs on their way, that no cap, rate, pause or open circuit holds. */
MUST_CHECK int launchable_count(const struct launchable_query *q, struct launchable *out,
                                struct err *e);

#endif
