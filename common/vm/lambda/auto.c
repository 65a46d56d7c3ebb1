/*
 * Limits that are `auto`: what the accounts' applied quotas allow. Those of a target are its account's
 * and region's. A rate of the whole fleet is the least of all regions, since one rate holds for all; the
 * cap of a class is what the memory quotas of its places allow of its VMs alone, and the fleet's what all
 * regions hold of their largest VMs, so that no launch is refused for memory. While a region cannot be
 * read the caps are what the others hold.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/config/aws.h"
#include "common/job/vm_name.h"
#include "common/vm/lambda/quotas.h"

/* The quotas of an account's region, and its largest VM. */
struct region {
    char name[64];
    const char *role_arn; /* "": the process's own account */
    struct lambda_quotas quotas;
    int64_t largest_mib;
    bool failed; /* they could not be read: not asked again for each class there */
    struct err why;
};

struct regions {
    struct region list[64]; /* of more, the rest keeps its defaults */
    size_t count;
};

static const char *role_of(const struct lambda_settings *s)
{
    return s->role_arn != NULL ? s->role_arn : "";
}

/* NULL: it has not been asked. */
static struct region *find_region(struct regions *all, const struct lambda_settings *s)
{
    for (size_t i = 0; i < all->count; i++) {
        struct region *known = &all->list[i];
        if (slice_eq_cstr(lambda_region(s), known->name) &&
            strcmp(known->role_arn, role_of(s)) == 0) {
            return known;
        }
    }
    return NULL;
}

static struct region *read_region(struct regions *all, const struct lambda_settings *s,
                                  struct err *e)
{
    struct region *known = find_region(all, s);
    char name[sizeof all->list[0].name];
    if (known != NULL && known->failed) {
        *e = known->why;
        return NULL;
    }
    if (known != NULL) {
        return known;
    }
    if (!slice_to_cstr(lambda_region(s), name, sizeof name)) {
        (void)err_set(e, ERR_PERMANENT, 0, "it has no region");
        return NULL;
    }
    if (all->count == COUNT_OF(all->list)) {
        (void)err_set(e, ERR_PERMANENT, 0, "more than %zu regions", all->count);
        return NULL;
    }
    struct region *r = &all->list[all->count++];
    *r = (struct region){.role_arn = role_of(s)};
    memcpy(r->name, name, sizeof r->name);
    r->failed = lambda_read_quotas(name, r->role_arn, &r->quotas, &r->why) != 0;
    *e = r->why;
    return r->failed ? NULL : r;
}

static int64_t vms_of(const struct region *r, int64_t memory_mib)
{
    int64_t vms = (int64_t)(r->quotas.memory_mib / (double)(LAMBDA_MEMORY_FACTOR * memory_mib));
    return vms > 1 ? vms : 1;
}

/* --- reading --- */

static bool is_ours(const struct config_class *class)
{
    return strcmp(class->provider, lambda_config.name) == 0 && !config_class_is_retired(class);
}

/* *vms: how many of the class's VMs its account and region hold. */
static int read_place(const struct config_class *place, struct regions *all, int64_t *vms,
                      struct err *e)
{
    int64_t mib = 0;
    struct region *r = read_region(all, lambda_settings_of(place), e);
    if (r == NULL || lambda_image_memory(place, &mib, e) != 0) {
        return -1;
    }
    r->largest_mib = mib > r->largest_mib ? mib : r->largest_mib;
    *vms = vms_of(r, mib);
    return 0;
}

/* Those that could not be read keep their defaults; the others have theirs, and a class what they allow. */
static void report_unread(struct config *c, const struct config_class *place, const struct err *e)
{
    c->quotas_unread = true;
    log_warn("quotas_not_read", LOG_STR("class", place->name), LOG_ERR(e),
             LOG_STR("action",
                     "limits that are `auto` leave it out, or have their defaults, until a "
                     "restart, SIGHUP, or tomorrow's reading"));
}

/* Classes first: those that are not automatic keep their caps. */
static void read_class(struct config *c, size_t i, struct regions *all)
{
    struct config_class *class = &c->classes[i];
    const struct config_class *const *places = NULL;
    size_t n = config_launch_places(c, class, &places);
    char path[48];
    int64_t sum = 0;
    for (size_t k = 0; k < n; k++) {
        struct err e = {0};
        int64_t vms = 0;
        if (read_place(places[k], all, &vms, &e) != 0) {
            report_unread(c, places[k], &e);
        }
        sum += vms;
    }
    (void)snprintf(path, sizeof path, "classes[%zu].max_vms", i);
    if (config_is_automatic(c, path) && sum > 0) {
        class->max_vms = sum;
    }
}

/* --- applying --- */

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
        vms += all->list[i].largest_mib > 0 ? vms_of(&all->list[i], all->list[i].largest_mib) : 0;
    }
    return vms;
}

static void set_rate(const struct config *c, const char *setting, struct config_rate *rate,
                     double per_second, double burst)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s.per_second", setting);
    rate->per_second = config_is_automatic(c, path) ? per_second : rate->per_second;
    (void)snprintf(path, sizeof path, "%s.burst", setting);
    rate->burst = config_is_automatic(c, path) && burst >= 1 ? (int64_t)burst : rate->burst;
}

/* Of its account and region, whose largest VM may be another class's. */
static void apply_to_target(const struct config *c, size_t i, size_t k, struct regions *all)
{
    struct config_target *t = &c->classes[i].targets[k];
    char place[PLACE_NAME_SIZE];
    char path[128];
    place_name_make(c->classes[i].name, t->name, place);
    const struct lambda_settings *s = lambda_settings_of(config_place_by_name(c, place));
    const struct region *r = find_region(all, s);
    if (r == NULL || r->failed) {
        return;
    }
    (void)snprintf(path, sizeof path, "classes[%zu].targets[%zu].launch_rate", i, k);
    set_rate(c, path, &t->launch_rate, r->quotas.run, r->quotas.run_burst);
    (void)snprintf(path, sizeof path, "classes[%zu].targets[%zu].max_vms", i, k);
    if (config_is_automatic(c, path) && r->largest_mib > 0) {
        t->max_vms = vms_of(r, r->largest_mib);
    }
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

/* The rates keep their defaults, for one holds for all regions. The fleet's cap must not, nor a class's: a
 * fleet of many regions would launch almost nothing if one is lost while a program starts or reloads. */
static void apply_known_part(struct config *c, const struct regions *all)
{
    int64_t known = fleet_cap(c, all);
    if (config_is_automatic(c, "limits.max_vms") && known > c->limits.max_vms) {
        c->limits.max_vms = known;
    }
}

void lambda_apply_quotas(struct config *c)
{
    struct regions all = {.count = 0};
    config_aws_apply(&c->aws);
    for (size_t i = 0; i < c->class_count; i++) {
        if (is_ours(&c->classes[i])) {
            read_class(c, i, &all);
        }
    }
    for (size_t i = 0; i < c->class_count; i++) {
        for (size_t k = 0; is_ours(&c->classes[i]) && k < c->classes[i].target_count; k++) {
            apply_to_target(c, i, k, &all);
        }
    }
    if (c->quotas_unread) {
        apply_known_part(c, &all);
    } else if (all.count > 0) {
        apply(c, &all);
    }
}
