/*
 * What totals (common/ledger/totals.h) cost, and what GitHub's own runners would have cost. Both are estimates: of a VM
 * its baseline is known and what it used above that is not. Pure functions; any thread.
 */
#ifndef MAYFLY_DEPLOY_CTL_COST_PRICES_H
#define MAYFLY_DEPLOY_CTL_COST_PRICES_H

#include "common/config/config.h"
#include "common/ledger/totals.h"

struct cost_money {
    double usd;                 /* of the VMs, as far as their price is known */
    double github_usd;          /* of the same jobs on GitHub-hosted runners */
    int64_t unpriced_ms;        /* VM time that is not in usd: of an unknown size or price */
    int64_t uncompared_minutes; /* minutes of jobs that are not in github_usd */
};
/* class: of the totals; NULL: it is not configured any more, and its price is unknown. */
struct cost_money cost_of(const struct config_class *class, const struct ledger_total *total);
void cost_add(struct cost_money *sum, const struct cost_money *more);

/* USD a minute of the smallest GitHub-hosted Linux runner with at least so many vCPUs, or of the largest one. */
double cost_github_minute(bool arm64, double vcpus);

#endif
