/*
 * Stale runners: this deployment's registrations whose VM is gone. GitHub deletes the registration
 * of a runner that ran its job; one that never ran a job stays until somebody deletes it.
 */
#include <stdlib.h>

#include "common/base/log.h"
#include "common/job/vm_name.h"
#include "reaper/reaper.h"

struct search {
    struct sweep *sweep;
    struct github_scope scope;
    bool cut_short; /* the scan is incomplete */
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
    if (github_get_runner(g, &search->scope, seen->id, &runner, &e) != 0 || runner.online ||
        runner.busy || !sweep_still_holds(search->sweep, NULL)) {
        return;
    }
    if (github_delete_runner(g, &search->scope, seen->id, &e) != 0) {
        log_warn("stale_runner_delete_failed", LOG_STR("runner", seen->name),
                 LOG_INT("runner_id", seen->id), LOG_ERR(&e),
                 LOG_STR("action", "a later sweep tries again"));
        return;
    }
    search->repairs++;
    log_info("stale_runner_deleted", LOG_STR("runner", seen->name), LOG_INT("runner_id", seen->id),
             LOG_STR("scope", search->scope.name), LOG_STR("reason", "its VM no longer exists"));
}

static int check_runner(void *arg, const struct github_runner *runner)
{
    struct search *search = arg;
    struct sweep *s = search->sweep;
    struct sign_of sign = {SIGN_STALE_RUNNER, search->scope.name, runner->name};
    if (!vm_name_is_owned(runner->name, s->config->deployment) || runner->online || runner->busy) {
        return 0;
    }
    switch (find_row(s, runner->name)) {
    case ROW_LIVE:
        break;
    case ROW_UNKNOWN:
        signs_unsure(s->fleet.signs, &sign);
        break;
    case ROW_NONE:
        if (sweep_confirm_sign(s, NULL, &sign)) {
            delete_stale_runner(search, runner);
        }
        break;
    }
    search->cut_short = wakeup_raised(&s->reaper->stop) || s->lost || !s->fleet.held;
    return search->cut_short ? 1 : 0;
}

int64_t sweep_stale_runners_interval_ms(const struct sweep *s)
{
    return s->config->reaper.stale_runner_scan_interval_ms;
}

int sweep_stale_runners(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct ledger_scope *scopes = NULL;
    size_t n = 0;
    int failed = 0;
    if (ledger_scopes(s->reaper->ledger, &scopes, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        struct search search = {.sweep = s};
        search.scope = github_scope_parse(scopes[i].name, scopes[i].installation_id);
        if (github_list_runners(s->reaper->github, &search.scope, check_runner, &search, e) != 0) {
            failed = err_wrap(e, "the runners of %s could not be listed", scopes[i].name);
        } else if (!search.cut_short) {
            signs_scan_ended(s->fleet.signs, SIGN_STALE_RUNNER, search.scope.name);
        }
        *repairs += search.repairs;
    }
    free(scopes);
    return failed;
}
