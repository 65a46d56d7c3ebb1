#include "deploy/ctl/cost/prices.h"

#include <stdlib.h>

#include "common/base/attr.h"
#include "common/base/slice.h"
#include "common/config/provider.h"

#define HOUR_MS 3600000.0
#define MIB_S_OF_GB_HOUR (1024.0 * 3600)

/* --- GitHub-hosted runners --- */
/* GitHub's published prices of Linux runners since January 2026, USD a minute, the smallest first. */
struct hosted {
    double vcpus;
    double minute;
};
static const struct hosted hosted_x64[] = {{1, 0.002},  {2, 0.006},  {4, 0.012},  {8, 0.022},
                                           {16, 0.042}, {32, 0.082}, {64, 0.162}, {96, 0.252}};
static const struct hosted hosted_arm64[] = {{2, 0.005},  {4, 0.008},  {8, 0.014},
                                             {16, 0.026}, {32, 0.050}, {64, 0.098}};

double cost_github_minute(bool arm64, double vcpus)
{
    const struct hosted *list = arm64 ? hosted_arm64 : hosted_x64;
    size_t n = arm64 ? COUNT_OF(hosted_arm64) : COUNT_OF(hosted_x64);
    size_t i = 0;
    while (i + 1 < n && list[i].vcpus < vcpus) {
        i++;
    }
    return list[i].minute;
}

static bool has_label(const struct config_class *class, const char *label)
{
    for (size_t i = 0; i < class->labels.count; i++) {
        if (slice_eq_nocase(slice_of(class->labels.items[i]), slice_of(label))) {
            return true;
        }
    }
    return false;
}

/* What its labels say; else a service's VMs are arm64, and those of a host of one's own x64. */
static bool is_arm64(const struct config_class *class)
{
    if (class == NULL || has_label(class, "x64")) {
        return false;
    }
    return has_label(class, "arm64") || config_calls_service(class);
}

static void add_hosted(struct cost_money *m, const struct config_class *class,
                       const struct ledger_total *t)
{
    const char *own = class != NULL ? class->cost.github_minute : "";
    int64_t sized_ms = t->vm_ms - t->unsized_ms;
    if (own[0] != '\0') {
        m->github_usd = (double)t->job_minutes * strtod(own, NULL);
    } else if (sized_ms > 0) {
        double vcpus = (double)t->vcpu_ms / (double)sized_ms;
        m->github_usd = (double)t->job_minutes * cost_github_minute(is_arm64(class), vcpus);
    } else {
        m->uncompared_minutes = t->job_minutes;
    }
}

/* --- the VMs --- */
struct cost_money cost_of(const struct config_class *class, const struct ledger_total *t)
{
    struct config_price price;
    struct cost_money m = {.unpriced_ms = t->unsized_ms};
    if (class != NULL && config_price_of(class, &price)) {
        m.usd = (double)t->vcpu_ms / HOUR_MS * price.vcpu_hour +
                (double)t->mib_s / MIB_S_OF_GB_HOUR * price.gb_hour;
        m.unpriced_ms = price.vcpu_hour > 0 || price.gb_hour > 0 ? t->unsized_ms : 0;
    } else {
        m.unpriced_ms = t->vm_ms;
    }
    add_hosted(&m, class, t);
    return m;
}

void cost_add(struct cost_money *sum, const struct cost_money *more)
{
    sum->usd += more->usd;
    sum->github_usd += more->github_usd;
    sum->unpriced_ms += more->unpriced_ms;
    sum->uncompared_minutes += more->uncompared_minutes;
}
