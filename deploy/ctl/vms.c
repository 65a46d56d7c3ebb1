/*
 * `mayflyctl vms` and `mayflyctl vm terminate VM [--force]`.
 *
 * A VM that runs a job is spared. The ledger says so, or GitHub, to which the reaper has access: it
 * gets a request through the ledger, and this command waits for what it decides. With --force the
 * row becomes `ending`, and the workers or the reaper terminate the VM whatever it does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/ledger/hosts.h"
#include "common/ledger/kinds.h"
#include "deploy/ctl/ctl.h"

#define PAGE 500
#define POLL_MS 200

struct hosts {
    struct ledger_host *list;
    size_t count;
};

/* "": it has no row, or the VM is run by a service. */
static const char *name_of_host(const struct hosts *hosts, const char *id)
{
    for (size_t i = 0; i < hosts->count; i++) {
        if (strcmp(hosts->list[i].id, id) == 0) {
            return hosts->list[i].name;
        }
    }
    return "";
}

static json_t *describe(const struct ledger_vm *vm, const struct hosts *hosts)
{
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "vm",
        ctl_text(vm->name), "state", ledger_vm_state_name(vm->state), "class",
        ctl_text(vm->class_name), "target", ctl_text(vm->target), "scope", ctl_text(vm->scope),
        "repository", ctl_text(vm->repository), "provider", ctl_text(vm->provider), "for_job",
        (json_int_t)vm->for_job, "job", (json_int_t)vm->job_id, "vm_id", ctl_text(vm->vm_id),
        "image_version", ctl_text(vm->image_version), "host", ctl_text(vm->host), "host_name",
        ctl_text(name_of_host(hosts, vm->host)), "age_ms",
        (json_int_t)(clock_wall_ms() - vm->reserved_ms), "deadline", ctl_time(vm->deadline_ms),
        "held_until", ctl_time(ledger_vm_held_until_ms(vm)));
}

static int add_vms(struct ctl *c, const struct hosts *hosts, json_t *list, struct err *e)
{
    unsigned live = ~(1u << VM_GONE);
    char after[VM_NAME_SIZE] = "";
    for (;;) {
        struct ledger_vm *vms = NULL;
        size_t n = 0;
        if (ledger_vm_list(c->ledger, live, after, PAGE, &vms, &n, e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < n; i++) {
            json_array_append_new(list, describe(&vms[i], hosts));
            memcpy(after, vms[i].name, sizeof after);
        }
        free(vms);
        if (n < PAGE) {
            return 0;
        }
    }
}

int ctl_vms(struct ctl *c, json_t **out, struct err *e)
{
    struct hosts hosts = {.list = NULL};
    json_t *list = json_array();
    int rc = ledger_host_list(c->ledger, &hosts.list, &hosts.count, e);
    rc = rc == 0 ? add_vms(c, &hosts, list, e) : rc;
    free(hosts.list);
    if (rc != 0) {
        json_decref(list);
        return -1;
    }
    *out = list;
    return 0;
}

static bool any_has_target(const json_t *answer)
{
    size_t i;
    json_t *o;
    json_array_foreach(answer, i, o)
    {
        if (ctl_str(o, "target")[0] != '\0') {
            return true;
        }
    }
    return false;
}

void ctl_vms_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    char age[24];
    char target[TARGET_NAME_SIZE + 1];
    int target_columns = any_has_target(answer) ? 16 : 0;
    printable_line(stdout, "%-44s %-11s %-14s %-*s%-24s %14s %9s  %s", "VM", "STATE", "CLASS",
                   target_columns, target_columns > 0 ? "TARGET" : "", "SCOPE", "JOB", "AGE",
                   "HOST");
    json_array_foreach(answer, i, o)
    {
        const char *host = ctl_str(o, "host_name");
        host = host[0] != '\0' ? host : ctl_str(o, "host");
        (void)snprintf(target, sizeof target, "%s%s", ctl_str(o, "target"),
                       target_columns > 0 ? " " : "");
        printable_line(stdout, "%-44s %-11s %-14s %-*s%-24s %14lld %9s  %s", ctl_str(o, "vm"),
                       ctl_str(o, "held_until")[0] != '\0' ? "held" : ctl_str(o, "state"),
                       ctl_str(o, "class"), target_columns, target, ctl_str(o, "scope"),
                       (long long)ctl_int(o, "job"), ctl_duration(ctl_int(o, "age_ms"), age),
                       host[0] != '\0' ? host : "-");
    }
}

static json_t *answer_of(const struct ledger_vm *vm, const char *what)
{
    char did[400];
    (void)snprintf(did, sizeof did, "VM %s (%s, job %lld) %s", vm->name,
                   ledger_vm_state_name(vm->state), (long long)vm->job_id, what);
    return json_pack("{s:o, s:o}", "vm", ctl_text(vm->name), "did", ctl_text(did));
}

/* `seen`: only if the row is still so. */
static int set_ending(struct ctl *c, const struct ledger_vm *vm, const struct ledger_vm *seen,
                      json_t **out, struct err *e)
{
    struct ledger_advance a = {.vm = vm->name,
                               .to = VM_ENDING,
                               .reason = "requested with mayflyctl vm terminate",
                               .seen = seen};
    if (ledger_vm_advance(c->ledger, &a, NULL, e) != 0) {
        return err_wrap(e, "VM %s is past ending, or has just changed", vm->name);
    }
    *out = answer_of(vm, "is marked to end; a worker or the reaper ends it within seconds");
    return 0;
}

static int set_spared(const struct ledger_vm *vm, struct err *e)
{
    char job[40] = "a job";
    if (vm->job_id != 0) {
        (void)snprintf(job, sizeof job, "job %lld", (long long)vm->job_id);
    }
    return err_set(e, ERR_CONFLICT, 0,
                   "VM %s runs %s and was not terminated; with --force it is, and the job fails",
                   vm->name, job);
}

static int put_request(struct ctl *c, const char *vm, struct err *e)
{
    struct ledger_cell request;
    char now[24];
    (void)snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    if (ledger_cell_get(c->ledger, LEDGER_KIND_TERMINATE, vm, &request, e) != 0) {
        return -1;
    }
    return ledger_cell_put(c->ledger, LEDGER_KIND_TERMINATE, vm, now, request.version, NULL, e);
}

/* The reaper decides in its next sweep. */
static int wait_for_decision(struct ctl *c, struct ledger_vm *vm, json_t **out, struct err *e)
{
    int64_t until_ms = clock_mono_ms() + 3 * c->config->reaper.interval_ms;
    for (;;) {
        if (ledger_vm_get(c->ledger, c->argv[0], vm, e) != 0) {
            return -1;
        }
        if (vm->state == VM_BUSY) {
            return set_spared(vm, e);
        }
        if (vm->state == VM_ENDING || vm->state == VM_GONE) {
            *out = answer_of(vm, "is terminated");
            return 0;
        }
        if (clock_mono_ms() >= until_ms) {
            *out = answer_of(vm, "is requested to be terminated; the reaper has not decided yet: "
                                 "see mayflyctl vms, and vm_terminate_failed in its log");
            return 0;
        }
        clock_sleep_until(clock_mono_ms() + POLL_MS);
    }
}

int ctl_vm_terminate(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_vm vm;
    if (ledger_vm_get(c->ledger, c->argv[0], &vm, e) != 0) {
        return err_wrap(e, "no VM %s (mayflyctl vms lists them)", c->argv[0]);
    }
    if (ctl_option(c, "--force") != NULL || ledger_vm_held_until_ms(&vm) > 0) {
        return set_ending(c, &vm, NULL, out, e);
    }
    if (vm.state == VM_BUSY) {
        return set_spared(&vm, e);
    }
    if (vm.state == VM_RESERVED) { /* it has no runner */
        return set_ending(c, &vm, &vm, out, e);
    }
    return put_request(c, vm.name, e) == 0 ? wait_for_decision(c, &vm, out, e) : -1;
}
