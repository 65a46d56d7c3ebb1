/*
 * What GitHub says about the runner of a VM (invariant 9). A single response is only a reason to
 * read the runner list of the scope: GitHub answers 404 also when access is lost, and `busy` is
 * late by up to a minute. A list counts only if it was read to its last page within a minute.
 *
 *   online or busy   the VM is left to its agent, which knows from inside whether it idles
 *   offline          for the class's idle_timeout, and twice after that: abandoned. Its VM may be
 *                    terminated if its registration can be deleted (fleet.h, FLEET_SUSPECT)
 *   not listed       twice, and not found by its id: gone
 *
 * Lists are read every stale_runner_scan_interval. In the other sweeps nothing is known.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "reaper/reaper.h"

#define LIST_SPAN_MAX_MS 60000 /* a list that took longer is no view of one moment */

struct reading {
    struct sweep *sweep;
    struct sweep_runners *into;
    size_t room;
    bool cut_short;
};

static int add_runner(void *arg, const struct github_runner *runner)
{
    struct reading *r = arg;
    struct sweep_runners *l = r->into;
    if (l->count == r->room) {
        r->room = r->room == 0 ? 128 : r->room * 2;
        l->list = reallocarray(l->list, r->room, sizeof *l->list);
        ASSERT(l->list != NULL);
    }
    l->list[l->count++] = *runner;
    r->cut_short = wakeup_raised(&r->sweep->reaper->stop);
    return r->cut_short ? 1 : 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct github_runner *x = a;
    const struct github_runner *y = b;
    return strcmp(x->name, y->name);
}

static void read_list(struct sweep *s, struct sweep_runners *l)
{
    struct err e = {0};
    struct reading r = {.sweep = s, .into = l};
    struct github_scope scope = github_scope_parse(l->scope, l->installation_id);
    int64_t began_ms = clock_mono_ms();
    struct sweep_call call;
    if (!sweep_begin_github_call(s, l->scope, &call)) {
        return;
    }
    int rc = github_list_runners(s->reaper->github, &scope, add_runner, &r, &e);
    sweep_end_call(s, &call, rc, &e);
    if (rc != 0) {
        log_warn("runner_list_failed", LOG_STR("scope", l->scope), LOG_ERR(&e),
                 LOG_STR("action", "nothing is concluded about its runners; the next scan of the "
                                   "lists tries again"));
        return;
    }
    l->complete = !r.cut_short && clock_mono_ms() - began_ms <= LIST_SPAN_MAX_MS;
    if (l->count > 0) {
        qsort(l->list, l->count, sizeof *l->list, compare_names);
    }
}

const struct sweep_runners *sweep_runners_of(struct sweep *s, const char *scope_name,
                                             int64_t installation_id)
{
    /* All runner groups of an organization are in one list. */
    const struct github_scope of = github_scope_parse(scope_name, installation_id);
    const char *scope = of.name;
    if (!s->scans_runners || scope[0] == '\0') {
        return NULL;
    }
    for (size_t i = 0; i < s->runner_list_count; i++) {
        const struct sweep_runners *l = &s->runner_lists[i];
        if (l->installation_id == installation_id && strcmp(l->scope, scope) == 0) {
            return l->complete ? l : NULL;
        }
    }
    s->runner_lists =
        reallocarray(s->runner_lists, s->runner_list_count + 1, sizeof *s->runner_lists);
    ASSERT(s->runner_lists != NULL);
    struct sweep_runners *l = &s->runner_lists[s->runner_list_count++];
    *l = (struct sweep_runners){.installation_id = installation_id};
    ASSERT(slice_to_cstr(slice_of(scope), l->scope, sizeof l->scope));
    read_list(s, l);
    return l->complete ? l : NULL;
}

void sweep_free_runners(struct sweep *s)
{
    for (size_t i = 0; i < s->runner_list_count; i++) {
        free(s->runner_lists[i].list);
    }
    free(s->runner_lists);
}

const struct github_runner *sweep_find_runner(const struct sweep_runners *l, const char *name)
{
    struct github_runner key = {.id = 0};
    if (l->count == 0 || !slice_to_cstr(slice_of(name), key.name, sizeof key.name)) {
        return NULL;
    }
    return bsearch(&key, l->list, l->count, sizeof *l->list, compare_names);
}

/* --- one VM's runner --- */

static void keep_signs(struct sweep *s, const struct sweep_listing *m, const struct ledger_vm *vm)
{
    static const enum sign_kind kinds[] = {SIGN_RUNNER_OFFLINE, SIGN_RUNNER_ABANDONED,
                                           SIGN_RUNNER_GONE};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct sign_of sign = {kinds[i], m->class->name, vm->name};
        signs_unsure(sweep_lease_of(s, m->provider)->signs, &sign);
    }
}

/* The in_progress event was lost or is late. */
static void set_busy(struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct ledger_advance a = {.vm = vm->name, .to = VM_BUSY};
    bool changed = false;
    if (ledger_vm_advance(s->reaper->ledger, &a, &changed, &e) == 0 && changed) {
        log_info(
            "vm_busy_reconciled", LOG_STR("vm", vm->name),
            LOG_STR("reason", "GitHub reports its runner busy; the in_progress event was lost"));
    }
}

/* A list may skip a runner when others before it are removed while its pages are read. */
static bool may_be_found_by_id(struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct sweep_call call;
    struct github_runner runner;
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    if (!sweep_begin_github_call(s, vm->scope, &call)) {
        return true;
    }
    int rc = vm->runner_id > 0
                 ? github_get_runner(s->reaper->github, &scope, vm->runner_id, &runner, &e)
                 : github_find_runner(s->reaper->github, &scope, vm->name, &runner, &e);
    sweep_end_call(s, &call, rc, &e);
    return rc == 0 || e.class != ERR_NOT_FOUND;
}

enum runner_state sweep_judge_runner(struct sweep *s, const struct sweep_listing *m,
                                     const struct ledger_vm *vm)
{
    struct sign_of offline = {SIGN_RUNNER_OFFLINE, m->class->name, vm->name};
    struct sign_of abandoned = {SIGN_RUNNER_ABANDONED, m->class->name, vm->name};
    struct sign_of gone = {SIGN_RUNNER_GONE, m->class->name, vm->name};
    const struct sweep_runners *l = sweep_runners_of(s, vm->scope, vm->installation_id);
    if (l == NULL) {
        keep_signs(s, m, vm);
        return RUNNER_UNKNOWN;
    }
    const struct github_runner *runner = sweep_find_runner(l, vm->name);
    if (runner == NULL) {
        bool confirmed = sweep_confirm_sign(s, m->provider, &gone);
        return confirmed && !may_be_found_by_id(s, vm) ? RUNNER_GONE : RUNNER_UNKNOWN;
    }
    if (runner->busy && vm->state != VM_BUSY) {
        set_busy(s, vm);
    }
    if (runner->busy || runner->online) {
        return RUNNER_UP;
    }
    bool long_enough =
        sweep_confirm_sign_after(s, m->provider, &offline, m->class->idle_timeout_ms);
    return long_enough && sweep_confirm_sign(s, m->provider, &abandoned) ? RUNNER_ABANDONED
                                                                         : RUNNER_OFFLINE;
}

void sweep_runners_observed(struct sweep *s)
{
    if (!s->scans_runners) {
        return;
    }
    sweep_vms_observed(s, SIGN_RUNNER_OFFLINE, SCAN_ROWS);
    sweep_vms_observed(s, SIGN_RUNNER_ABANDONED, SCAN_ROWS);
    sweep_vms_observed(s, SIGN_RUNNER_GONE, SCAN_ROWS);
}
