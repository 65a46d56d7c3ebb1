/*
 * VMs past their deadline, which is evidence of its own; and VMs that stay `ending` too long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/output.h"
#include "common/ledger/hosts.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"

/* A row whose launch was never recorded has no deadline: it gets one from its class. */
static int64_t deadline_of(const struct sweep *s, const struct ledger_vm *vm)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    if (vm->deadline_ms > 0 || class == NULL) {
        return vm->deadline_ms;
    }
    return vm->reserved_ms + class->max_duration_ms;
}

/* A row whose VM id is unknown (fleet.h): there is no VM to terminate, and unconfirmed_launches.c
 * releases its slot. */
static bool keeps_its_slot(const struct sweep *s, const struct ledger_vm *vm)
{
    return vm->state == VM_ENDING && fleet_vm_id_unknown(s->reaper->fleet, vm);
}

int sweep_deadlines(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct fleet_termination how = {.reason = "deadline: it ran longer than max_duration",
                                    .evidence = FLEET_OVER,
                                    .failed = true};
    (void)e;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        int64_t deadline = deadline_of(s, vm);
        if (deadline > 0 && s->now_ms > deadline + s->config->reaper.deadline_grace_period_ms &&
            !keeps_its_slot(s, vm) && sweep_may_act_on(s, vm) && sweep_terminate_vm(s, vm, &how)) {
            (*repairs)++;
        }
    }
    return 0;
}

int sweep_terminations(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct fleet_termination how = {.evidence = FLEET_OVER};
    for (size_t i = 0; i < s->vm_count; i++) {
        struct ledger_vm vm = s->vms[i];
        bool late = s->now_ms > ledger_vm_end_due_ms(&vm) + s->config->reaper.terminate_timeout_ms;
        if (vm.state != VM_ENDING || !late || keeps_its_slot(s, &vm) || !sweep_may_act_on(s, &vm)) {
            continue;
        }
        if (ledger_vm_get(s->reaper->ledger, vm.name, &vm, e) != 0) {
            return -1;
        }
        if (vm.state == VM_ENDING && sweep_terminate_vm(s, &vm, &how)) {
            (*repairs)++;
        }
    }
    return 0;
}

/* --- VMs that no program can reach --- */
/*
 * Rows of VMs that no program can reach: of a host whose programs have no heartbeat, and of a class
 * that is not configured any more. The machine's, or the supervisor's own limit ends such a VM at its
 * deadline; once deadline and grace have passed, its row is gone, with a warning, and its slot is free.
 * A deadline is evidence of its own; before it nothing is concluded from silence (invariant 9).
 *
 * And the reaper that cannot reach the VMs of the worker beside it, since each has another host id.
 */
#define LONGEST_DURATION_MS                                                                        \
    (5LL * 24 * 3600 * 1000) /* the most that classes[].max_duration may be */

struct programs {
    struct ledger_program *list;
    size_t count;
};

static bool has_heartbeat(const struct programs *all, const char *host)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->list[i].is_host && strcmp(all->list[i].host, host) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a program that beats knows the class. */
static bool is_known_class(const struct programs *all, const char *class_name)
{
    for (size_t i = 0; i < all->count; i++) {
        if (ledger_program_has_class(&all->list[i], class_name)) {
            return true;
        }
    }
    return false;
}

static const char host_is_silent[] = "its host has no heartbeat";
static const char class_is_unknown[] = "its class is not configured any more";
static const char target_is_unknown[] = "its target is not configured any more";
static const char image_is_unknown[] = "where its class launched before is not configured any more";

/* Whether its class is configured, and where. */
static bool class_is_configured(const struct sweep *s, const struct ledger_vm *vm, bool *there)
{
    *there = false;
    for (size_t i = 0; i < s->config->place_count && !*there; i++) {
        *there = config_place_is_of(s->config->places[i], vm->class_name, vm->target);
    }
    return config_class_by_name(s->config, slice_of(vm->class_name)) != NULL;
}

/* Why nobody reaches the VM, one of these; NULL: somebody may. */
static const char *why_unreachable(const struct sweep *s, const struct programs *all,
                                   const struct ledger_vm *vm)
{
    bool there;
    if (vm->host[0] != '\0' && strcmp(vm->host, fleet_host(s->reaper->fleet)) != 0 &&
        !has_heartbeat(all, vm->host)) {
        return host_is_silent;
    }
    if (fleet_provider_of(s->reaper->fleet, vm) != NULL) {
        return NULL;
    }
    if (class_is_configured(s, vm, &there) && !there) { /* its target may be another class's */
        return vm->target[0] != '\0' ? target_is_unknown : image_is_unknown;
    }
    if (!is_known_class(all, vm->class_name)) {
        return class_is_unknown;
    }
    return NULL;
}

/* When a VM of that row must have ended. None was started for a row that is only reserved. */
static int64_t last_moment_of(const struct sweep *s, const struct ledger_vm *vm)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    if (vm->deadline_ms > 0) {
        return vm->deadline_ms;
    }
    if (vm->state == VM_RESERVED) {
        return vm->reserved_ms + s->config->reaper.startup_timeout_ms;
    }
    return vm->reserved_ms + (class != NULL ? class->max_duration_ms : LONGEST_DURATION_MS);
}

static bool set_gone(struct sweep *s, struct ledger_vm *vm, const char *why)
{
    struct err e = {0};
    char reason[96];
    (void)snprintf(reason, sizeof reason, "deadline: %s", why);
    struct ledger_advance a = {.vm = vm->name, .to = VM_ENDING, .reason = reason, .seen = vm};
    struct ledger_advance gone = {.vm = vm->name, .to = VM_GONE};
    if (!sweep_still_holds(s, NULL)) {
        return false;
    }
    if ((vm->state != VM_ENDING && ledger_vm_advance(s->reaper->ledger, &a, NULL, &e) != 0) ||
        ledger_vm_advance(s->reaper->ledger, &gone, NULL, &e) != 0) {
        log_debug("vm_terminate_failed", LOG_STR("vm", vm->name), LOG_STR("reason", reason),
                  LOG_ERR(&e), LOG_STR("action", "the next sweep tries again"));
        return false;
    }
    log_warn("vm_presumed_gone", LOG_STR("vm", vm->name), LOG_STR("class", vm->class_name),
             LOG_STR("host", vm->host), LOG_INT("job_id", vm->job_id),
             LOG_STR("state", ledger_vm_state_name(vm->state)), LOG_STR("reason", why),
             LOG_STR("action", "its slot is free: its deadline and the grace period have passed"));
    fleet_output_say_unreachable(s->reaper->fleet, vm, why);
    vm->state = VM_GONE;
    return true;
}

/* The host, class or target that keeps it out of reach. */
static const char *name_of(const struct ledger_vm *vm, const char *why)
{
    return why == host_is_silent      ? vm->host
           : why == target_is_unknown ? vm->target
                                      : vm->class_name;
}

static const char *state_of(const char *why)
{
    return why == host_is_silent     ? "has no heartbeat"
           : why == image_is_unknown ? "no longer has the image that it had before its targets"
                                     : "is not configured any more";
}

static const char *advice_of(const char *why)
{
    return why == host_is_silent ? "; if it is gone permanently: mayflyctl host forget "
           : why == target_is_unknown
               ? "; put it back with weight 0, and they end when their jobs do"
           : why == image_is_unknown ? "; put it back, and they end when their jobs do"
                                     : "";
}

/* One notice for each of them, by the first of its rows. */
static void report(struct sweep *s, const struct programs *all, size_t first)
{
    const struct ledger_vm *of = &s->vms[first];
    const char *why = why_unreachable(s, all, of);
    const char *name = name_of(of, why);
    size_t count = 0;
    int64_t last_ms = 0;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (vm->state == VM_GONE || why_unreachable(s, all, vm) != why ||
            strcmp(name_of(vm, why), name) != 0) {
            continue;
        }
        if (i < first) {
            return;
        }
        count++;
        last_ms = last_moment_of(s, vm) > last_ms ? last_moment_of(s, vm) : last_ms;
    }
    int64_t left_ms = last_ms + s->config->reaper.deadline_grace_period_ms - s->now_ms;
    sweep_notice(s, NULL, name,
                 "%s %s %s: %zu VMs are out of reach and hold their slots until their deadlines, "
                 "the last for %lld s%s%s",
                 why == host_is_silent      ? "host"
                 : why == target_is_unknown ? "target"
                                            : "class",
                 name, state_of(why), count, (long long)(left_ms > 0 ? left_ms / 1000 : 0),
                 advice_of(why), why == host_is_silent ? name : "");
}

static bool has_reaper(const struct programs *all, const char *host)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->list[i].program, "mayfly-reaper") == 0 &&
            strcmp(all->list[i].host, host) == 0) {
            return true;
        }
    }
    return false;
}

/* A reaper beside a worker with another host id, and without a reaper that has the same, would look
 * for its VMs on another host. */
static void check_own_host(struct sweep *s, const struct programs *all)
{
    struct reaper *r = s->reaper;
    const struct ledger_program *self = r->presence != NULL ? presence_self(r->presence) : NULL;
    for (size_t i = 0; self != NULL && self->is_host && i < all->count; i++) {
        const struct ledger_program *p = &all->list[i];
        if (!p->is_host || strcmp(p->host, self->host) == 0 || p->boot_id[0] == '\0' ||
            strcmp(p->boot_id, self->boot_id) != 0 || strcmp(p->program, "mayfly-worker") != 0 ||
            has_reaper(all, p->host)) {
            continue;
        }
        sweep_notice(s, NULL, p->id,
                     "the worker on %s has the host id %s, and the reaper on the same machine %s: "
                     "the reaper cannot reach the worker's VMs until both have one state_dir",
                     p->host_name, p->host, self->host);
        if (strcmp(r->other_host, p->host) != 0) {
            (void)snprintf(r->other_host, sizeof r->other_host, "%s", p->host);
            log_warn("host_ids_differ", LOG_STR("host", self->host), LOG_STR("other_host", p->host),
                     LOG_STR("other_program", p->id),
                     LOG_STR("action",
                             "VMs of that worker are left alone by this reaper: give both "
                             "programs one state_dir"));
        }
    }
}

/* A host that is gone, without rows, and that nobody drained. */
static int remove_idle_hosts(struct sweep *s, const struct programs *all, struct err *e)
{
    struct ledger_host *hosts = NULL;
    size_t n = 0;
    if (ledger_host_list(s->reaper->ledger, &hosts, &n, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        bool used = hosts[i].drained_ms != 0 || has_heartbeat(all, hosts[i].id);
        for (size_t k = 0; k < s->vm_count && !used; k++) {
            used = strcmp(s->vms[k].host, hosts[i].id) == 0;
        }
        rc = used ? 0 : ledger_host_remove(s->reaper->ledger, hosts[i].id, e);
    }
    free(hosts);
    return rc;
}

int sweep_unreachable(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct programs all = {.count = 0};
    if (ledger_program_list(s->reaper->ledger, &all.list, &all.count, e) != 0) {
        return -1;
    }
    check_own_host(s, &all);
    for (size_t i = 0; s->fleet.held && i < s->vm_count; i++) {
        struct ledger_vm *vm = &s->vms[i];
        const char *why = vm->state != VM_GONE ? why_unreachable(s, &all, vm) : NULL;
        int64_t end_ms = last_moment_of(s, vm) + s->config->reaper.deadline_grace_period_ms;
        if (why != NULL && s->now_ms > end_ms) {
            *repairs += set_gone(s, vm, why);
        }
        if (why != NULL && vm->state != VM_GONE) {
            report(s, &all, i);
        }
    }
    int rc = s->fleet.held ? remove_idle_hosts(s, &all, e) : 0;
    free(all.list);
    return rc;
}
