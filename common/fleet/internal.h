/*
 * What fleet.c and rates.c share; no other file includes it.
 *
 * A fleet_class is the `arg` of its provider's pace (vm.h), and so finds its fleet. Everything but
 * `calls` is set before threads start and never changes.
 */
#ifndef MAYFLY_FLEET_INTERNAL_H
#define MAYFLY_FLEET_INTERNAL_H

#include <pthread.h>

#include "common/base/metrics.h"
#include "common/base/wakeup.h"
#include "common/fleet/fleet.h"

struct fleet_class {
    struct fleet *fleet;
    char *name;
    struct vm_provider *provider;
    int64_t max_duration_ms;
};

struct fleet {
    struct ledger *ledger;
    struct github *github;
    struct fleet_class *classes;
    size_t class_count;
    char host[72];
    int64_t grace_ms; /* past a VM's maximum duration */
    /* Read at the start; a reload does not change them. */
    struct config_rate launch_rate;
    struct config_rate terminate_rate;
    struct config_rate describe_rate;
    struct config_rate list_rate;
    pthread_mutex_t slower; /* the next two */
    int list_halvings;      /* of list_rate, when the service last throttled a list */
    int64_t list_slower_ms; /* monotonic: when that was */
    struct wakeup calls;    /* raised by fleet_interrupt */
};

/* NULL if no class of that name is configured here. */
const struct fleet_class *fleet_class_find(const struct fleet *f, const char *name);

/* The pace of that class's provider. */
struct vm_pace fleet_pace_of(struct fleet_class *class);

#endif
