/*
 * What a VM provider adds to the configuration: its section of settings below classes[], checks of
 * them, and what other code must know of them without knowing the provider.
 *
 * Each provider exports one config_provider; common/vm/providers.c lists them. None of it calls the
 * provider, so that a program which only reads the configuration links no provider's client.
 */
#ifndef MAYFLY_CONFIG_PROVIDER_H
#define MAYFLY_CONFIG_PROVIDER_H

#include "common/config/setting.h"

struct config_reading;

/* A class whose provider's settings are checked, after all settings have been read. */
struct config_class_check {
    struct config_reading *reading;
    const struct config *config;
    size_t index; /* in config->classes */
};

/* Whether the configuration is read for one of these programs (FOR_…). */
bool config_check_asks(const struct config_class_check *c, unsigned programs);
/* Adds "what: fix" about that key of the class ("proxy.http"), unless there is a complaint about it
 * already. */
PRINTF(3, 4)
void config_check_complain(const struct config_class_check *c, const char *key, const char *fmt,
                           ...);

/* The same about what is allowed, and hardly meant. */
PRINTF(3, 4)
void config_check_warn(const struct config_class_check *c, const char *key, const char *fmt, ...);

/* USD for an hour of one vCPU, and of 1 GiB of memory. */
struct config_price {
    double vcpu_hour;
    double gb_hour;
};

struct config_provider {
    const char *name;               /* a value of classes[].provider, and the section's name */
    size_t size;                    /* of the struct of its settings */
    const struct setting *settings; /* keys "classes[].<name>.…"; offsets in that struct */
    size_t setting_count;
    /* Checks settings that depend on each other. */
    void (*check)(const struct config_class_check *c);
    /* Whether the VMs' network reaches nothing except the class's proxy. NULL: never. */
    bool (*is_closed)(const void *settings);
    /* What a setting names on this host, now: another number, and a reload opens the provider anew.
     * NULL: settings are compared as they are written. */
    uint64_t (*revision)(const void *settings);
    /* The AWS region that it calls; empty: the process's. NULL: it does not call AWS. */
    struct slice (*aws_region)(const void *settings);
    /* Appends the domain of its service's rates and quotas (vm_domain). NULL: it has none, since its
     * VMs run on the host that launches them. */
    void (*domain)(const void *settings, struct buf *out);
    /* The settings for a class's target: allocated, with the strings of both. NULL: its classes have no
     * targets. */
    void *(*at_target)(const void *settings, const struct config_target *target);
    /* Whether the settings themselves name a place, where the class launched before it had targets; and
     * whether that is this target. NULL: they name none beside targets. */
    bool (*has_own_place)(const void *settings);
    bool (*is_own_place)(const void *settings, const struct config_target *target);
    /* What its VMs cost by the provider's published prices; false: unknown, as for a new region. NULL: nothing,
     * since their host is paid for whether they run or not. */
    bool (*price)(const void *settings, struct config_price *out);
};

extern const struct config_provider *const config_providers[];
extern const size_t config_provider_count;
extern const char config_provider_names[];   /* the same, separated by one space */
extern const char config_provider_default[]; /* of a class that names none */

/* What the class's VMs cost: its own settings, else its provider's prices. False: a part is unknown. */
bool config_price_of(const struct config_class *class, struct config_price *out);

/* NULL if there is none of that name. */
const struct config_provider *config_provider_find(const char *name);

#endif
