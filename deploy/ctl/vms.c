/*
 * `mayflyctl vms` and `mayflyctl vm terminate VM`.
 *
 * Ending is asked for in the ledger (the row goes to `ending`); the workers and the reaper, who
 * have the rights and the reach, carry it out within seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "deploy/ctl/ctl.h"

#define PAGE 500

static json_t *describe(const struct ledger_vm *vm)
{
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:I, s:I, s:o, s:o, s:I, s:o}", "vm", vm->name,
                     "state", ledger_vm_state_name(vm->state), "class", vm->class_name, "scope",
                     ctl_text(vm->scope), "repository", ctl_text(vm->repository), "provider",
                     vm->provider, "for_job", (json_int_t)vm->for_job, "job",
                     (json_int_t)vm->job_id, "vm_id", ctl_text(vm->vm_id), "host",
                     ctl_text(vm->host), "age_ms", (json_int_t)(clock_wall_ms() - vm->reserved_ms),
                     "deadline", ctl_time(vm->deadline_ms));
}

int ctl_vms(struct ctl *c, json_t **out, struct err *e)
{
    unsigned live = ~(1u << VM_GONE);
    char after[VM_NAME_SIZE] = "";
    json_t *list = json_array();
    for (;;) {
        struct ledger_vm *vms = NULL;
        size_t n = 0;
        if (ledger_vm_list(c->ledger, live, after, PAGE, &vms, &n, e) != 0) {
            json_decref(list);
            return -1;
        }
        for (size_t i = 0; i < n; i++) {
            json_array_append_new(list, describe(&vms[i]));
            memcpy(after, vms[i].name, sizeof after);
        }
        free(vms);
        if (n < PAGE) {
            *out = list;
            return 0;
        }
    }
}

void ctl_vms_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    char age[24];
    printf("%-44s %-11s %-14s %-24s %14s %9s\n", "VM", "STATE", "CLASS", "SCOPE", "JOB", "AGE");
    json_array_foreach(answer, i, o)
    {
        printf("%-44s %-11s %-14s %-24s %14lld %9s\n", ctl_str(o, "vm"), ctl_str(o, "state"),
               ctl_str(o, "class"), ctl_str(o, "scope"), (long long)ctl_int(o, "job"),
               ctl_duration(ctl_int(o, "age_ms"), age));
    }
}

int ctl_vm_terminate(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_vm vm;
    char did[400];
    struct ledger_advance a = {
        .vm = c->argv[0], .to = VM_ENDING, .reason = "requested with mayflyctl vm terminate"};
    if (ledger_vm_get(c->ledger, c->argv[0], &vm, e) != 0) {
        return err_wrap(e, "no VM %s (mayflyctl vms lists them)", c->argv[0]);
    }
    if (ledger_vm_advance(c->ledger, &a, NULL, e) != 0) {
        return err_wrap(e, "VM %s is past ending", c->argv[0]);
    }
    (void)snprintf(did, sizeof did,
                   "VM %s (%s, job %lld) is marked to end; a worker or the reaper ends it within "
                   "seconds",
                   vm.name, ledger_vm_state_name(vm.state), (long long)vm.job_id);
    *out = json_pack("{s:o, s:o}", "vm", ctl_text(vm.name), "did", ctl_text(did));
    return 0;
}
