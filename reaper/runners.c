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
 * A complete list costs a call for each hundred runners. So an installation's lists are read once in
 * stale_runner_scan_interval up to ten pages, and more rarely the more they have (by default 10,000
 * runners every ten minutes), but sooner when something that only lists decide was met, as far as the budget
 * goes (common/github/budget.h). All tasks of a sweep share what it read. Between two readings VMs that
 * should have a job or have ended are asked about one by one: the answer brings the next reading nearer, or
 * shows that a job runs.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/github/budget.h"
#include "reaper/reaper.h"

#define RUNNERS_PER_PAGE 100
#define PAGES_PER_INTERVAL 10
#define LIST_SPAN_MAX_MS 60000 /* a list that took longer is no view of one moment */

/* --- when lists are read --- */

static struct reaper_scan *find_scan(struct reaper *r, int64_t installation_id)
{
    for (size_t i = 0; i < r->scan_count; i++) {
        if (r->scans[i].installation_id == installation_id) {
            return &r->scans[i];
        }
    }
    r->scans = reallocarray(r->scans, r->scan_count + 1, sizeof *r->scans);
    ASSERT(r->scans != NULL);
    struct reaper_scan *scan = &r->scans[r->scan_count++];
    *scan = (struct reaper_scan){.installation_id = installation_id, .reads = true};
    return scan;
}

void sweep_begin_runner_scan(struct sweep *s)
{
    struct reaper *r = s->reaper;
    int64_t now_ms = clock_mono_ms();
    s->scans_runners = now_ms >= r->runners_due_ms;
    if (!s->scans_runners) {
        return;
    }
    r->runners_due_ms = now_ms + s->config->reaper.stale_runner_scan_interval_ms;
    for (size_t i = 0; i < r->scan_count; i++) {
        r->scans[i].reads = now_ms >= r->scans[i].due_ms;
    }
}

bool sweep_scans_installation(struct sweep *s, int64_t installation_id)
{
    return s->scans_runners && find_scan(s->reaper, installation_id)->reads;
}

void sweep_count_pages(struct sweep *s, int64_t installation_id, int64_t pages)
{
    struct reaper_scan *scan = find_scan(s->reaper, installation_id);
    if (scan->pages == 0) {
        scan->began_ms = clock_mono_ms();
    }
    scan->pages += pages;
}

void sweep_read_runners_soon(struct sweep *s, int64_t installation_id)
{
    struct reaper *r = s->reaper;
    for (size_t i = 0; i < r->scan_count; i++) {
        if (installation_id == ALL_INSTALLATIONS ||
            r->scans[i].installation_id == installation_id) {
            r->scans[i].soon = true;
        }
    }
}

void sweep_end_runner_scan(struct sweep *s)
{
    struct reaper *r = s->reaper;
    for (size_t i = 0; s->scans_runners && i < r->scan_count; i++) {
        struct reaper_scan *scan = &r->scans[i];
        if (scan->pages > 0) {
            int64_t interval_ms = s->config->reaper.stale_runner_scan_interval_ms;
            scan->due_ms = scan->began_ms + interval_ms * scan->pages / PAGES_PER_INTERVAL;
        }
        if (scan->soon) {
            scan->due_ms = 0;
        }
        if (scan->due_ms < scan->not_before_ms) {
            scan->due_ms = scan->not_before_ms;
        }
        scan->pages = 0;
        scan->soon = false;
    }
}

/* --- a list --- */

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
    if (!sweep_begin_question(s, &scope, GITHUB_RECONCILE, 1, &call)) {
        l->later = !sweep_github_is_away(s, l->scope);
        return;
    }
    int rc = github_list_runners(s->reaper->github, &scope, GITHUB_RECONCILE, add_runner, &r, &e);
    sweep_end_call(s, &call, rc, &e);
    sweep_count_pages(s, l->installation_id, (int64_t)l->count / RUNNERS_PER_PAGE + 1);
    if (rc != 0 && github_budget_refused(&e)) {
        l->later = true;
        find_scan(s->reaper, l->installation_id)->not_before_ms =
            clock_mono_ms() + e.retry_after_ms;
        sweep_defer(s, &scope);
        return;
    }
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

static struct sweep_runners *find_list(struct sweep *s, const char *scope, int64_t installation_id)
{
    for (size_t i = 0; i < s->runner_list_count; i++) {
        struct sweep_runners *l = &s->runner_lists[i];
        if (l->installation_id == installation_id && strcmp(l->scope, scope) == 0) {
            return l;
        }
    }
    s->runner_lists =
        reallocarray(s->runner_lists, s->runner_list_count + 1, sizeof *s->runner_lists);
    ASSERT(s->runner_lists != NULL);
    struct sweep_runners *l = &s->runner_lists[s->runner_list_count++];
    *l = (struct sweep_runners){.installation_id = installation_id};
    ASSERT(slice_to_cstr(slice_of(scope), l->scope, sizeof l->scope));
    l->later = !sweep_scans_installation(s, installation_id);
    if (!l->later) {
        read_list(s, l);
    }
    return l;
}

const struct sweep_runners *sweep_runners_of(struct sweep *s, const char *scope_name,
                                             int64_t installation_id, bool *later)
{
    /* All runner groups of an organization are in one list. */
    const struct github_scope of = github_scope_parse(scope_name, installation_id);
    bool reads = s->scans_runners && of.name[0] != '\0';
    const struct sweep_runners *l = reads ? find_list(s, of.name, installation_id) : NULL;
    if (later != NULL) {
        *later = l == NULL || l->later;
    }
    return l != NULL && l->complete ? l : NULL;
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

static int get_runner(struct sweep *s, const struct ledger_vm *vm, struct github_runner *out,
                      struct err *e)
{
    const struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    return vm->runner_id > 0 ? github_get_runner(s->reaper->github, &scope, vm->runner_id, out, e)
                             : github_find_runner(s->reaper->github, &scope, vm->name, out, e);
}

/* A list may skip a runner when others before it are removed while its pages are read. */
static bool may_be_found_by_id(struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct sweep_call call;
    struct github_runner runner;
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    if (!sweep_begin_runner_question(s, &scope, GITHUB_EARLY_END, 1, &call)) {
        return true;
    }
    int rc = get_runner(s, vm, &runner, &e);
    sweep_end_call(s, &call, rc, &e);
    return rc == 0 || e.class != ERR_NOT_FOUND;
}

/* A VM of a scope whose list a later sweep reads. One that is busy has its time; any other should have
 * a job or have ended by now. Returns whether its runner is up. */
static bool is_found_up(struct sweep *s, const struct ledger_vm *vm)
{
    struct err e = {0};
    struct sweep_call call;
    struct github_runner runner;
    struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    if (vm->state == VM_BUSY || vm->state == VM_GONE ||
        !sweep_begin_runner_question(s, &scope, GITHUB_EARLY_END, 1, &call)) {
        return false;
    }
    int rc = get_runner(s, vm, &runner, &e);
    sweep_end_call(s, &call, rc, &e);
    bool up = rc == 0 && (runner.busy || runner.online);
    if (rc == 0 && runner.busy) {
        set_busy(s, vm);
    }
    if (!up && (rc == 0 || e.class == ERR_NOT_FOUND)) {
        sweep_read_runners_soon(s, vm->installation_id);
    }
    return up;
}

enum runner_state sweep_judge_runner(struct sweep *s, const struct sweep_listing *m,
                                     const struct ledger_vm *vm)
{
    struct sign_of offline = {SIGN_RUNNER_OFFLINE, m->class->name, vm->name};
    struct sign_of abandoned = {SIGN_RUNNER_ABANDONED, m->class->name, vm->name};
    struct sign_of gone = {SIGN_RUNNER_GONE, m->class->name, vm->name};
    bool later = false;
    const struct sweep_runners *l = sweep_runners_of(s, vm->scope, vm->installation_id, &later);
    if (l == NULL) {
        if (s->scans_runners && later && is_found_up(s, vm)) {
            return RUNNER_UP;
        }
        keep_signs(s, m, vm);
        return RUNNER_UNKNOWN;
    }
    const struct github_runner *runner = sweep_find_runner(l, vm->name);
    if (runner == NULL || !(runner->busy || runner->online)) {
        sweep_read_runners_soon(s, vm->installation_id);
    }
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
