/*
 * Stale runners: this deployment's registrations whose VM is gone. GitHub deletes the registration
 * of a runner that ran its job; one that never ran a job stays until somebody deletes it.
 *
 * They are looked for in the scopes that the ledger knows. In a sweep that met VMs without rows, as a
 * ledger that was lost leaves them, in all scopes: while such a registration is there, none of those
 * VMs is judged (quiet.c).
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/job/vm_name.h"
#include "reaper/reaper.h"

struct search {
    struct sweep *sweep;
    struct github_scope scope;
    int64_t repairs;
};

enum row_seen { ROW_NONE, ROW_LIVE, ROW_UNKNOWN };

static enum row_seen find_row(struct sweep *s, const char *name)
{
    struct err e = {0};
    struct ledger_vm vm;
    if (ledger_vm_get(s->reaper->ledger, name, &vm, &e) == 0) {
        return vm.state != VM_GONE ? ROW_LIVE : ROW_NONE;
    }
    return e.class == ERR_NOT_FOUND ? ROW_NONE : ROW_UNKNOWN;
}

static void delete_stale_runner(struct search *search, const struct github_runner *seen)
{
    struct err e = {0};
    struct github_runner runner;
    struct github *g = search->sweep->reaper->github;
    struct sweep_call call;
    if (!sweep_begin_runner_question(search->sweep, &search->scope, GITHUB_RECONCILE, 2, &call)) {
        return;
    }
    int rc = github_get_runner(g, &search->scope, seen->id, &runner, &e);
    sweep_end_call(search->sweep, &call, rc, &e);
    if (rc != 0 || runner.online || runner.busy || !sweep_still_holds(search->sweep, NULL)) {
        return;
    }
    if (github_delete_runner(g, &search->scope, seen->id, &e) != 0) {
        if (e.class == ERR_NOT_FOUND || e.class == ERR_CONFLICT) {
            return; /* it was removed meanwhile, or got a job */
        }
        log_warn("stale_runner_delete_failed", LOG_STR("runner", seen->name),
                 LOG_INT("runner_id", seen->id), LOG_ERR(&e),
                 LOG_STR("action", "a later sweep tries again"));
        return;
    }
    search->repairs++;
    log_info("stale_runner_deleted", LOG_STR("runner", seen->name), LOG_INT("runner_id", seen->id),
             LOG_STR("scope", search->scope.name), LOG_STR("reason", "its VM no longer exists"));
}

/* A VM without a row, which orphans.c judges by this registration. */
static bool has_listed_vm(const struct sweep *s, const char *name)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        for (size_t k = 0; k < m->count; k++) {
            if (m->list[k].state != VM_RUN_ENDED && strcmp(m->list[k].name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void check_runner(struct search *search, const struct github_runner *runner)
{
    struct sweep *s = search->sweep;
    struct sign_of sign = {SIGN_STALE_RUNNER, search->scope.name, runner->name};
    if (!vm_name_is_owned(runner->name, s->config->deployment) || runner->online || runner->busy) {
        return;
    }
    switch (find_row(s, runner->name)) {
    case ROW_LIVE:
        break;
    case ROW_UNKNOWN:
        signs_unsure(s->fleet.signs, &sign);
        break;
    case ROW_NONE:
        if (!has_listed_vm(s, runner->name) && sweep_confirm_sign(s, NULL, &sign)) {
            delete_stale_runner(search, runner);
        }
        break;
    }
}

/* Returns whether all of them were checked. */
static bool check_runners(struct search *search, const struct sweep_runners *l)
{
    const struct sweep *s = search->sweep;
    for (size_t i = 0; i < l->count; i++) {
        check_runner(search, &l->list[i]);
        if (wakeup_raised(&s->reaper->stop) || s->lost || !s->fleet.held) {
            return false;
        }
    }
    return true;
}

static int check_scope(struct sweep *s, const struct ledger_scope *scope, int64_t *repairs,
                       struct err *e)
{
    struct search search = {.sweep = s};
    bool later = false;
    const struct sweep_runners *l =
        sweep_runners_of(s, scope->name, scope->installation_id, &later);
    search.scope = github_scope_parse(scope->name, scope->installation_id);
    if (l == NULL) { /* a stop ended the list, or peers.c has reported that GitHub is unavailable */
        return later || wakeup_raised(&s->reaper->stop) || sweep_github_is_away(s, scope->name)
                   ? 0
                   : err_set(e, ERR_RETRY, 0, "the runners of %s could not be listed", scope->name);
    }
    if (check_runners(&search, l)) {
        signs_scan_ended(s->fleet.signs, SIGN_STALE_RUNNER, search.scope.name);
    }
    *repairs += search.repairs;
    return 0;
}

static int check_scopes(struct sweep *s, const struct ledger_scope *list, size_t n,
                        int64_t *repairs, struct err *e)
{
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        failed = check_scope(s, &list[i], repairs, e) != 0 ? -1 : failed;
    }
    return failed;
}

int sweep_stale_runners(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct ledger_scope *known = NULL;
    size_t n = 0;
    if (!s->scans_runners) {
        return 0;
    }
    if (s->scopes.read) { /* a VM without a row was met */
        return check_scopes(s, s->scopes.list, s->scopes.count, repairs, e);
    }
    if (ledger_scopes(s->reaper->ledger, &known, &n, e) != 0) {
        return -1;
    }
    int failed = check_scopes(s, known, n, repairs, e);
    free(known);
    return failed;
}
