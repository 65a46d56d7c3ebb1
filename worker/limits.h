/*
 * The caps and rates of a class for the ledger, from the current configuration.
 */
#ifndef MAYFLY_WORKER_LIMITS_H
#define MAYFLY_WORKER_LIMITS_H

#include "common/config/config.h"
#include "common/ledger/ledger.h"

static inline struct ledger_caps limits_caps(const struct config *c,
                                             const struct config_class *class)
{
    return (struct ledger_caps){
        .fleet = c->limits.max_vms,
        .class_max = class->max_vms,
        .repository = c->limits.max_vms_per_repository,
        .rate_per_second = c->limits.launch_rate.per_second,
        .rate_burst = c->limits.launch_rate.burst,
        .class_rate_per_second = class->launch_rate.per_second,
        .class_rate_burst = class->launch_rate.burst,
    };
}

#endif
