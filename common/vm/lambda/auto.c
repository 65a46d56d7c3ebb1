/*
 * Limits that are `auto`: what the account's applied quotas allow. A rate is the least of all regions,
 * since one rate holds for all; the cap of a class is what its region's memory quota allows of its
 * VMs alone, and the fleet's what all regions hold of their largest VMs, so that no launch is refused
 * for memory.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/config/aws.h"
#include "common/vm/lambda/quotas.h"

/* The quotas of a region, and its largest VM. */
struct region {
    char name[64];
    struct lambda_quotas quotas;
    int64_t largest_mib;
};

struct regions {
    struct region list[16]; /* of more, the rest keeps its defaults */
    size_t count;
};

static struct region *find_region(struct regions *all, const char *name, struct err *e)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->list[i].name, name) == 0) {
            return &all->list[i];
        }
    }
    if (all->count == COUNT_OF(all->list)) {
        (void)err_set(e, ERR_PERMANENT, 0, "more than %zu regions", all->count);
        return NULL;
    }
    struct region *r = &all->list[all->count];
    *r = (struct region){.largest_mib = 0};
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    if (lambda_read_quotas(name, &r->quotas, e) != 0) {
        return NULL;
    }
    all->count++;
    return r;
}

static int64_t vms_of(const struct region *r, int64_t memory_mib)
{
    int64_t vms = (int64_t)(r->quotas.memory_mib / (double)(LAMBDA_MEMORY_FACTOR * memory_mib));
    return vms > 1 ? vms : 1;
}

/* Classes first: those that are not automatic keep their caps. */
static int read_class(struct config *c, size_t i, struct regions *all, struct err *e)
{
    struct config_class *class = &c->classes[i];
    char region[64];
    char path[48];
    int64_t mib = 0;
    if (!slice_to_cstr(lambda_region(lambda_settings_of(class)), region, sizeof region)) {
        return err_set(e, ERR_PERMANENT, 0, "class %s has no region", class->name);
    }
    struct region *r = find_region(all, region, e);
    if (r == NULL || lambda_image_memory(class, &mib, e) != 0) {
        return -1;
    }
    r->largest_mib = mib > r->largest_mib ? mib : r->largest_mib;
    (void)snprintf(path, sizeof path, "classes[%zu].max_vms", i);
    if (config_is_automatic(c, path)) {
        class->max_vms = vms_of(r, mib);
    }
    return 0;
}

static void lower(double *least, double value)
{
    *least = *least == 0 || value < *least ? value : *least;
}

/* What the other providers' classes may have, and what the regions hold. */
static int64_t fleet_cap(const struct config *c, const struct regions *all)
{
    int64_t vms = 0;
    for (size_t i = 0; i < c->class_count; i++) {
        vms += strcmp(c->classes[i].provider, lambda_config.name) != 0 ? c->classes[i].max_vms : 0;
    }
    for (size_t i = 0; i < all->count; i++) {
        vms += vms_of(&all->list[i], all->list[i].largest_mib);
    }
    return vms;
}

static void set_rate(const struct config *c, const char *setting, struct config_rate *rate,
                     double per_second, double burst)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s.per_second", setting);
    rate->per_second = config_is_automatic(c, path) ? per_second : rate->per_second;
    (void)snprintf(path, sizeof path, "%s.burst", setting);
    rate->burst = config_is_automatic(c, path) && burst >= 1 ? (int64_t)burst : rate->burst;
}

static void apply(struct config *c, const struct regions *all)
{
    struct lambda_quotas least = {0};
    for (size_t i = 0; i < all->count; i++) {
        const struct lambda_quotas *q = &all->list[i].quotas;
        lower(&least.run, q->run);
        lower(&least.run_burst, q->run_burst);
        lower(&least.terminate, q->terminate);
        lower(&least.terminate_burst, q->terminate_burst);
    }
    set_rate(c, "limits.launch_rate", &c->limits.launch_rate, least.run, least.run_burst);
    set_rate(c, "limits.terminate_rate", &c->limits.terminate_rate, least.terminate,
             least.terminate_burst);
    if (config_is_automatic(c, "limits.max_vms")) {
        c->limits.max_vms = fleet_cap(c, all);
    }
    log_info("quotas_applied", LOG_INT("max_vms", c->limits.max_vms),
             LOG_INT("launches_a_second", (int64_t)c->limits.launch_rate.per_second),
             LOG_INT("launch_burst", c->limits.launch_rate.burst),
             LOG_INT("terminations_a_second", (int64_t)c->limits.terminate_rate.per_second));
}

void lambda_apply_quotas(struct config *c)
{
    struct err e = {0};
    struct regions all = {.count = 0};
    config_aws_apply(&c->aws);
    for (size_t i = 0; i < c->class_count; i++) {
        if (strcmp(c->classes[i].provider, lambda_config.name) == 0 &&
            !config_class_is_retired(&c->classes[i]) && read_class(c, i, &all, &e) != 0) {
            log_warn("quotas_not_read", LOG_STR("class", c->classes[i].name), LOG_ERR(&e),
                     LOG_STR("action", "limits that are `auto` have their defaults until a restart "
                                       "or SIGHUP reads the quotas"));
            return;
        }
    }
    if (all.count > 0) {
        apply(c, &all);
    }
}
