/*
 * `mayflyctl vm terminate`: a VM that an operator wants terminated, unless it runs a job. Only GitHub
 * knows that for certain, and mayflyctl has no access to it.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/ledger/kinds.h"
#include "reaper/reaper.h"

#define GIVE_UP_MS 600000 /* GitHub or the provider did not respond for so long */

static void remove_request(struct sweep *s, const struct ledger_cell *request)
{
    struct err e = {0};
    if (ledger_cell_put(s->reaper->ledger, request->kind, request->name, NULL, request->version,
                        NULL, &e) != 0) {
        log_debug("terminate_request_not_removed", LOG_STR("vm", request->name), LOG_ERR(&e));
    }
}

static bool is_too_old(const struct sweep *s, const struct ledger_cell *request)
{
    int64_t at_ms = 0;
    return !slice_to_int64(slice_of(request->value), &at_ms) || s->now_ms > at_ms + GIVE_UP_MS;
}

/* Whether nothing is left to do: it ends, or it runs a job. */
static bool is_decided(const struct ledger_vm *vm)
{
    return vm->state == VM_BUSY || vm->state == VM_ENDING || vm->state == VM_GONE;
}

/* Returns whether the VM was terminated. */
static bool handle_request(struct sweep *s, const struct ledger_cell *request, struct err *e)
{
    static const struct fleet_termination how = {.reason = "requested with mayflyctl vm terminate",
                                                 .evidence = FLEET_REQUESTED};
    struct ledger_vm vm;
    bool done = false;
    if (ledger_vm_get(s->reaper->ledger, request->name, &vm, e) != 0) {
        if (e->class == ERR_NOT_FOUND) {
            remove_request(s, request);
        }
        return false;
    }
    if (!is_decided(&vm) && sweep_may_act_on(s, &vm)) {
        done = sweep_terminate_vm(s, &vm, &how);
        if (ledger_vm_get(s->reaper->ledger, request->name, &vm, e) != 0) {
            return done;
        }
    }
    if (is_decided(&vm)) {
        remove_request(s, request);
    } else if (is_too_old(s, request)) {
        log_warn("terminate_request_expired", LOG_STR("vm", request->name),
                 LOG_STR("action", "none: request it again, or with --force"));
        remove_request(s, request);
    }
    return done;
}

int sweep_requests(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct ledger_cell *requests = NULL;
    size_t n = 0;
    if (ledger_cell_list(s->reaper->ledger, LEDGER_KIND_TERMINATE, &requests, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        struct err ignored = {0};
        *repairs += handle_request(s, &requests[i], &ignored);
    }
    free(requests);
    return 0;
}
