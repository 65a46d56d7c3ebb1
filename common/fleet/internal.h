/*
 * What fleet.c and rates.c share; no other file includes it.
 *
 * A fleet_class is the `arg` of its provider's pace (vm.h), and so finds its fleet. Classes are only
 * added, by one thread, and a provider that was replaced stays open: any thread may still use it.
 */
#ifndef MAYFLY_FLEET_INTERNAL_H
#define MAYFLY_FLEET_INTERNAL_H

#include <pthread.h>

#include "common/base/metrics.h"
#include "common/base/wakeup.h"
#include "common/fleet/fleet.h"

struct fleet_former {
    struct fleet_former *next;
    struct vm_provider *provider;
};

struct fleet_class {
    struct fleet_class *next; /* set before the class is published */
    struct fleet *fleet;
    char *name;
    struct vm_provider *_Atomic provider;
    _Atomic bool has_former; /* rows of the class without a target are of VMs here */
    _Atomic int64_t max_duration_ms;
    _Atomic int64_t calls;    /* that launch VMs, in flight (places.h) */
    _Atomic int64_t heard_ms; /* monotonic: when one was answered, or the first of them began */
    /* Of the thread that reloads: */
    int64_t opening; /* config_class.opening of the provider */
    struct fleet_former *former;
};

struct fleet {
    struct ledger *ledger;
    struct github *github;
    struct fleet_class *_Atomic classes; /* the newest first */
    char host[72];
    int64_t grace_ms; /* past a VM's maximum duration */
    /* Read at the start; a reload does not change them. */
    struct config_rate launch_rate;
    struct config_rate terminate_rate;
    struct config_rate describe_rate;
    struct config_rate list_rate;
    pthread_mutex_t slower;   /* the next four */
    int list_halvings;        /* of list_rate, when the service last throttled a list */
    int64_t list_slower_ms;   /* monotonic: when that was */
    int64_t outputs_since_ms; /* monotonic: output.c's minute, and how many it kept in it */
    int outputs;
    struct wakeup calls; /* raised by fleet_interrupt */
};

/* NULL if no place of that name is configured here. */
struct fleet_class *fleet_class_find(const struct fleet *f, const char *name);
/* Where the row's VM is. */
const struct fleet_class *fleet_class_of(const struct fleet *f, const struct ledger_vm *vm);

/* Every class: for (c = fleet_first_class(f); c != NULL; c = c->next). */
const struct fleet_class *fleet_first_class(const struct fleet *f);

/* The pace of that class's provider. */
struct vm_pace fleet_pace_of(struct fleet_class *class);

#endif
