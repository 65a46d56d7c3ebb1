/* The world's fleet: its providers, their machines, and the ends of VMs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/reaper/world.h"

/* --- the fleet and its machines --- */
static struct vm_provider providers[] = {{"small"}, {"large"}};

struct vm_provider *fleet_provider(const struct fleet *f, const char *class_name)
{
    (void)f;
    for (size_t i = 0; i < COUNT_OF(providers); i++) {
        if (strcmp(class_name, providers[i].class_name) == 0) {
            return &providers[i];
        }
    }
    return NULL;
}

bool fleet_reaches(const struct fleet *f, const struct ledger_vm *vm)
{
    const struct vm_provider *p = fleet_provider(f, vm->class_name);
    return p != NULL && (!vm_host_bound(p) || strcmp(vm->host, "here") == 0);
}

const char *fleet_host(const struct fleet *f)
{
    (void)f;
    return "here";
}

bool fleet_machine_unknown(const struct fleet *f, const struct ledger_vm *vm)
{
    return !vm_host_bound(fleet_provider(f, vm->class_name)) && vm->state != VM_RESERVED &&
           vm->vm_id[0] == '\0';
}

int64_t fleet_hold_ms(const struct fleet *f, const struct ledger_vm *vm)
{
    return fleet_machine_unknown(f, vm) ? world.hold_ms : 0;
}

int fleet_end_vm(struct fleet *f, const struct ledger_vm *vm, const struct fleet_end *how,
                 struct err *e)
{
    (void)f;
    world.lease_calls_at_end = world.lease_calls;
    world.end_times_ms[world.end_tries++] = world.now_ms;
    if (world.end_fails_every > 0 && world.end_tries % world.end_fails_every == 0) {
        return err_set(e, ERR_THROTTLED, 429, "scripted");
    }
    if (fleet_machine_unknown(f, vm) && !how->nothing_runs) {
        return err_set(e, ERR_RETRY, 0, "held");
    }
    for (size_t i = 0; how->spare_if_busy && i < world.runner_count; i++) {
        if (world.runners[i].id == vm->runner_id && world.runners[i].busy) {
            return err_set(e, ERR_CONFLICT, 422, "busy");
        }
    }
    struct ledger_vm *gone = world_row(vm->name);
    ASSERT(gone != NULL);
    gone->state = VM_GONE;
    struct world_end *end = &world.ends[world.ended++];
    *end =
        (struct world_end){.spare_if_busy = how->spare_if_busy, .nothing_runs = how->nothing_runs};
    (void)snprintf(end->vm, sizeof end->vm, "%s", vm->name);
    (void)snprintf(end->reason, sizeof end->reason, "%s", how->reason != NULL ? how->reason : "");
    (void)snprintf(world.last_end_reason, sizeof world.last_end_reason, "%s",
                   how->reason != NULL ? how->reason : "");
    return 0;
}

int fleet_may_end(struct fleet *f, const char *class_name, const struct config_rate *rate,
                  int64_t *wait_ms, struct err *e)
{
    (void)f;
    (void)class_name;
    if (world_called(CALL_RATE_TAKE, e) != 0) {
        return -1;
    }
    *wait_ms = 0;
    if (!world.rate_limited) {
        return 0;
    }
    world.rate_tokens += (double)(world.now_ms - world.rate_seen_ms) * rate->per_second / 1000;
    world.rate_seen_ms = world.now_ms;
    if (world.rate_tokens > (double)rate->burst) {
        world.rate_tokens = (double)rate->burst;
    }
    if (world.rate_tokens < 1) {
        *wait_ms = (int64_t)((1 - world.rate_tokens) * 1000 / rate->per_second) + 1;
        return 0;
    }
    world.rate_tokens -= 1;
    return 0;
}

bool vm_host_bound(const struct vm_provider *p)
{
    return strcmp(p->class_name, "small") == 0 && !world.unnamed;
}

bool vm_is_named(const struct vm_provider *p)
{
    return vm_host_bound(p);
}

int vm_list(struct vm_provider *p, struct vm_info **out, size_t *n, struct err *e)
{
    if (!world.machines_told ||
        (world.silent_class != NULL && strcmp(world.silent_class, p->class_name) == 0)) {
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    *out = calloc(WORLD_MAX, sizeof **out);
    *n = 0;
    for (size_t i = 0; i < world.machine_count; i++) {
        if (strcmp(world.machine_class[i], p->class_name) == 0) {
            (*out)[(*n)++] = world.machines[i];
        }
    }
    return 0;
}

static struct vm_info *machine_of(const struct vm_provider *p, const char *id)
{
    for (size_t i = 0; i < world.machine_count; i++) {
        if (strcmp(world.machines[i].id, id) == 0 &&
            strcmp(world.machine_class[i], p->class_name) == 0) {
            return &world.machines[i];
        }
    }
    return NULL;
}

int vm_describe(struct vm_provider *p, const char *id, struct vm_info *out, struct err *e)
{
    if (world_called(CALL_DESCRIBE, e) != 0) {
        return -1;
    }
    const struct vm_info *m = machine_of(p, id);
    if (m == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "no machine");
    }
    *out = *m;
    return 0;
}

int vm_terminate(struct vm_provider *p, const char *id, int64_t grace_ms, struct err *e)
{
    struct vm_info *m = machine_of(p, id);
    if (m == NULL || grace_ms != 0) {
        return err_set(e, ERR_NOT_FOUND, 0, "no machine");
    }
    world.terminated++;
    (void)snprintf(world.terminated_id, sizeof world.terminated_id, "%s", id);
    m->state = world.end_does_nothing ? m->state : VM_RUN_ENDED;
    return 0;
}

int vm_forget(struct vm_provider *p, const char *id, struct err *e)
{
    if (machine_of(p, id) == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "no machine");
    }
    world.forgotten++;
    (void)snprintf(world.forgotten_id, sizeof world.forgotten_id, "%s", id);
    return 0;
}
