#include "worker/takeover.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

#define PAGE 256
#define RETRY_MS 1000 /* what could not be ended now */

/* What the launching rows say of a job. */
struct search {
    const struct fleet *fleet;
    const struct launch_request *request;
    const char *scope;
    int64_t silent_since_ms; /* a last heartbeat before that: its worker is dead */
    struct ledger_vm dead;   /* of the job's scope and class; no name: none */
    bool elsewhere;          /* such a row is another host's, and only that host can end it */
    int64_t own_ms; /* last heartbeat of the launch that was reserved for the job; 0 none */
};

static void look_at(struct search *s, const struct ledger_vm *vm)
{
    bool supplies =
        strcmp(vm->scope, s->scope) == 0 && strcmp(vm->class_name, s->request->class_name) == 0;
    if (supplies && vm->heartbeat_ms < s->silent_since_ms) {
        s->dead = fleet_reaches(s->fleet, vm) ? *vm : s->dead;
        s->elsewhere |= !fleet_reaches(s->fleet, vm);
    } else if (vm->for_job == s->request->job.id && vm->for_job > 0) {
        s->own_ms = vm->heartbeat_ms;
    }
}

static int look_at_all(struct ledger *ledger, struct search *s, struct err *e)
{
    char after[sizeof s->dead.name] = "";
    size_t n = PAGE;
    while (n == PAGE && s->dead.name[0] == '\0') {
        struct ledger_vm *vms = NULL;
        if (ledger_vm_list(ledger, 1u << VM_RESERVED | 1u << VM_REGISTERED, after, PAGE, &vms, &n,
                           e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < n; i++) {
            look_at(s, &vms[i]);
            memcpy(after, vms[i].name, sizeof after);
        }
        free(vms);
    }
    return 0;
}

static bool end_row(struct worker *w, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct fleet_end how = {.reason = "its worker died; the launch begins anew",
                            .spare_if_busy = true};
    if (fleet_end_vm(w->fleet, vm, &how, &e) == 0) {
        log_info("launch_taken_over", LOG_STR("vm", vm->name), LOG_INT("job", vm->for_job),
                 LOG_INT("silent_ms", clock_wall_ms() - vm->heartbeat_ms));
        return true;
    }
    /* Another worker was faster, or its runner is busy after all: nothing that is wrong. */
    if (e.class != ERR_CONFLICT) {
        log_warn("launch_not_taken_over", LOG_STR("vm", vm->name), LOG_INT("job", vm->for_job),
                 LOG_ERR(&e), LOG_STR("action", "it is looked at again in a second"));
    }
    return false;
}

int takeover_dead_launch(struct worker *w, const struct config *c,
                         const struct launch_request *request, const char *scope,
                         struct takeover *out, struct err *e)
{
    int64_t limit_ms = ledger_heartbeat_limit_ms(c->worker.lease_ms);
    int64_t now = clock_wall_ms();
    struct search s = {
        .fleet = w->fleet, .request = request, .scope = scope, .silent_since_ms = now - limit_ms};
    *out = (struct takeover){.ended = false};
    if (look_at_all(w->ledger, &s, e) != 0) {
        return -1;
    }
    if (s.dead.name[0] != '\0') {
        out->ended = end_row(w, &s.dead);
        out->wait_ms = out->ended ? 0 : RETRY_MS;
    } else if (s.own_ms > 0) {
        out->wait_ms = s.own_ms + limit_ms - now + 1;
    } else if (s.elsewhere) {
        out->wait_ms = limit_ms;
    }
    return 0;
}
