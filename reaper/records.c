/*
 * GitHub's runner records left over: registrations of ours whose VM is gone. GitHub removes the
 * record of a runner that ran its job; one that never did stays until somebody deletes it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "reaper/reaper.h"

struct search {
    struct sweep *sweep;
    struct github_scope scope;
    char prefix[40]; /* our runners' names begin with it */
    int64_t look;    /* number of this reading, shared by all reapers */
    int64_t done;
};

static bool has_live_row(struct sweep *s, const char *name)
{
    struct err e = {0};
    struct ledger_vm vm;
    if (ledger_vm_get(s->reaper->ledger, name, &vm, &e) == 0) {
        return vm.state != VM_GONE;
    }
    return e.class != ERR_NOT_FOUND; /* an unknown answer is no proof */
}

static void delete_record(struct search *search, const struct github_runner *seen)
{
    struct err e = {0};
    struct github_runner runner;
    struct github *g = search->sweep->reaper->github;
    if (github_get_runner(g, &search->scope, seen->id, &runner, &e) != 0 || runner.online ||
        runner.busy || !sweep_still_holds(search->sweep, NULL)) {
        return;
    }
    if (github_delete_runner(g, &search->scope, seen->id, &e) != 0) {
        log_warn("record_not_deleted", LOG_STR("runner", seen->name),
                 LOG_INT("runner_id", seen->id), LOG_ERR(&e),
                 LOG_STR("next", "a later sweep tries again"));
        return;
    }
    search->done++;
    log_info("record_deleted", LOG_STR("runner", seen->name), LOG_INT("runner_id", seen->id),
             LOG_STR("scope", search->scope.name), LOG_STR("why", "its VM is gone"));
}

static int look_at(void *arg, const struct github_runner *runner)
{
    struct search *search = arg;
    struct sweep *s = search->sweep;
    if (!slice_starts_with(slice_of(runner->name), slice_of(search->prefix)) || runner->online ||
        runner->busy || has_live_row(s, runner->name)) {
        return 0;
    }
    if (sweep_second_sign_of(s, "record", runner->name, search->look)) {
        delete_record(search, runner);
    }
    return stop_raised(&s->reaper->stop) || s->lost ? 1 : 0;
}

int sweep_records(struct sweep *s, int64_t *done, struct err *e)
{
    struct ledger_scope *scopes = NULL;
    size_t n = 0;
    int failed = 0;
    int64_t now = clock_mono_ms();
    if (!s->fleet.held || now < s->reaper->next_records_ms) {
        return 0;
    }
    s->reaper->next_records_ms = now + s->config->reaper.records_interval_ms;
    int64_t look = 0;
    if (ledger_mark_add(s->reaper->ledger, "records", 1, &look, e) != 0 ||
        ledger_scopes(s->reaper->ledger, &scopes, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        struct search search = {.sweep = s, .look = look};
        search.scope = github_scope_parse(scopes[i].name, scopes[i].installation_id);
        (void)snprintf(search.prefix, sizeof search.prefix, "mf-%s-", s->config->deployment);
        if (github_list_runners(s->reaper->github, &search.scope, look_at, &search, e) != 0) {
            failed = err_wrap(e, "the runners of %s could not be listed", scopes[i].name);
        }
        *done += search.done;
    }
    free(scopes);
    return failed;
}
