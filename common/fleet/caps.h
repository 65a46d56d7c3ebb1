/*
 * The caps and rates of a class at a place for the ledger, from the current configuration.
 */
#ifndef MAYFLY_FLEET_CAPS_H
#define MAYFLY_FLEET_CAPS_H

#include "common/config/config.h"
#include "common/ledger/ledger.h"

#define FLEET_BURST_MARGIN 2

/* What may be spent of a service's published rate. A call reaches the service a varying time after its
 * token or start time was taken: calls come closer together than these. The service's burst absorbs
 * that, unless ours uses it up. */
static inline struct config_rate fleet_service_rate(struct config_rate published)
{
    int64_t burst = published.burst - FLEET_BURST_MARGIN;
    return (struct config_rate){published.per_second, burst > 1 ? burst : 1};
}

static inline struct ledger_caps fleet_caps(const struct config *c,
                                            const struct config_class *place)
{
    const struct config_target *t = place->target;
    struct config_rate rate = t != NULL ? t->launch_rate : c->limits.launch_rate;
    rate = config_calls_service(place) ? fleet_service_rate(rate) : rate;
    return (struct ledger_caps){
        .fleet = c->limits.max_vms,
        .class_max = config_place_class(place)->max_vms, /* a quota may have set it */
        .repository = c->limits.max_vms_per_repository,
        .target_max = t != NULL ? t->max_vms : 0,
        .rate_per_second = rate.per_second,
        .rate_burst = rate.burst,
        .class_rate_per_second = place->launch_rate.per_second,
        .class_rate_burst = place->launch_rate.burst,
    };
}

/* What all places of a class share; each target has a rate of its own. */
static inline struct ledger_caps fleet_shared_caps(const struct config *c,
                                                   const struct config_class *class)
{
    struct ledger_caps caps = fleet_caps(c, class);
    caps.rate_per_second = class->target_count > 0 ? 0 : caps.rate_per_second;
    return caps;
}

#endif
