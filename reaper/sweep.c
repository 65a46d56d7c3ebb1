#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/github/budget.h"
#include "reaper/metrics/fleet.h"

#define ROWS_PER_PAGE 500
#define TURN_WAIT_MAX_MS 5000 /* after that the next sweep continues */

enum task_lease { UNDER_ANY, UNDER_FLEET };

#define TASKS_OF_ROWS 4 /* the first ones need nothing but rows */

/* Deadlines first, whatever else fails. Tasks that jobs wait for come before tasks that page
 * through GitHub's lists and wait for its rate limits. `relaunch` comes before every other reader
 * of the balances, because it counts messages before it reads them. `totals` comes before `retention`,
 * which deletes what it counts. */
static const struct task {
    const char *name;
    sweep_task_fn *run;
    sweep_interval_fn *interval_ms; /* NULL: every sweep */
    enum task_lease lease;
} tasks[] = {
    {"deadlines", sweep_deadlines, NULL, UNDER_ANY},
    {"terminations", sweep_terminations, NULL, UNDER_ANY},
    {"unreachable", sweep_unreachable, NULL, UNDER_ANY},
    {"requests", sweep_requests, NULL, UNDER_ANY},
    {"vms", sweep_vms, NULL, UNDER_ANY},
    {"unconfirmed_launches", sweep_unconfirmed_launches, NULL, UNDER_ANY},
    {"absences", sweep_absences, NULL, UNDER_ANY},
    {"relaunch", sweep_relaunch, NULL, UNDER_FLEET},
    {"idle_vms", sweep_idle_vms, NULL, UNDER_ANY},
    {"give_up", sweep_give_up, sweep_give_up_interval_ms, UNDER_FLEET},
    {"stuck_jobs", sweep_stuck_jobs, sweep_stuck_jobs_interval_ms, UNDER_FLEET},
    {"running_jobs", sweep_running_jobs, sweep_running_jobs_interval_ms, UNDER_FLEET},
    {"stale_runners", sweep_stale_runners, NULL, UNDER_FLEET},
    {"images", sweep_images, sweep_images_interval_ms, UNDER_FLEET},
    {"vm_logs", sweep_vm_logs, NULL, UNDER_ANY},
    {"dead_letters", sweep_dead_letters, sweep_dead_letters_interval_ms, UNDER_FLEET},
    {"totals", sweep_totals, sweep_totals_interval_ms, UNDER_FLEET},
    {"retention", sweep_retention, NULL, UNDER_FLEET},
    {"counters", sweep_counters, sweep_counters_interval_ms, UNDER_FLEET},
    {"recovery", sweep_recovery, NULL, UNDER_FLEET},
    {"deliveries", sweep_deliveries, sweep_deliveries_interval_ms, UNDER_FLEET},
    {"lost_jobs", sweep_lost_jobs, NULL, UNDER_FLEET},
};
_Static_assert(COUNT_OF(tasks) == REAPER_TASKS, "a clock for each task");

/* --- what a sweep may act on --- */

bool sweep_holds_lease_for(const struct sweep *s, const struct vm_provider *p)
{
    return vm_host_bound(p) ? s->host.held : s->fleet.held;
}

bool sweep_may_act_on(const struct sweep *s, const struct ledger_vm *vm)
{
    const struct vm_provider *p = fleet_provider_of(s->reaper->fleet, vm);
    return p != NULL && fleet_reaches(s->reaper->fleet, vm) && sweep_holds_lease_for(s, p);
}

/* --- what a sweep reads --- */

static int list_rows(struct sweep *s, struct err *e)
{
    unsigned live = ~(1u << VM_GONE);
    char after[VM_NAME_SIZE] = "";
    for (;;) {
        struct ledger_vm *page = NULL;
        size_t n = 0;
        if (ledger_vm_list(s->reaper->ledger, live, after, ROWS_PER_PAGE, &page, &n, e) != 0) {
            return -1;
        }
        struct ledger_vm *all = realloc(s->vms, (s->vm_count + n + 1) * sizeof *all);
        ASSERT(all != NULL);
        s->vms = all;
        if (n > 0) {
            memcpy(all + s->vm_count, page, n * sizeof *all);
            memcpy(after, page[n - 1].name, sizeof after);
            s->vm_count += n;
        }
        free(page);
        if (n < ROWS_PER_PAGE) {
            return 0;
        }
    }
}

int sweep_read_balances(struct sweep *s, struct err *e)
{
    if (!s->balances_read &&
        ledger_balances(s->reaper->ledger, &s->balances, &s->balance_count, e) != 0) {
        return -1;
    }
    s->balances_read = true;
    return 0;
}

int sweep_read_pauses(struct sweep *s, struct err *e)
{
    if (!s->pauses_read &&
        ledger_pause_list(s->reaper->ledger, &s->pauses, &s->pause_count, e) != 0) {
        return -1;
    }
    s->pauses_read = true;
    return 0;
}

bool sweep_class_is_paused(const struct sweep *s, const char *class_name)
{
    return ledger_pause_of(s->pauses, s->pause_count, class_name) != NULL;
}

/* --- signs and terminations --- */

bool sweep_confirm_sign_after(struct sweep *s, const struct vm_provider *p,
                              const struct sign_of *sign, int64_t after_ms)
{
    const struct sweep_lease *l = sweep_lease_of(s, p);
    return !s->lost && l->held && signs_see(l->signs, sign, clock_mono_ms(), after_ms);
}

bool sweep_confirm_sign(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign)
{
    return sweep_confirm_sign_after(s, p, sign, s->config->reaper.confirm_after_ms);
}

bool sweep_sign_is_known(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign)
{
    return signs_young(sweep_lease_of(s, p)->signs, sign, clock_mono_ms(), INT64_MAX);
}

bool sweep_sign_is_young(struct sweep *s, const struct vm_provider *p, const struct sign_of *sign)
{
    return signs_young(sweep_lease_of(s, p)->signs, sign, clock_mono_ms(),
                       s->config->reaper.confirm_after_ms);
}

static bool was_scanned(const struct sweep_listing *m, enum scan_of scan)
{
    switch (scan) {
    case SCAN_ROWS:
        return sweep_judges_rows(m);
    case SCAN_KNOWN_LIST:
        return m->known;
    case SCAN_FRESH_LIST:
        break;
    }
    return m->fresh;
}

void sweep_vms_observed(struct sweep *s, enum sign_kind kind, enum scan_of scan)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        const struct sweep_lease *l = sweep_lease_of(s, m->provider);
        if (was_scanned(m, scan) && l->held && !s->lost) {
            signs_scan_ended(l->signs, kind, m->class->name);
        }
    }
}

bool sweep_terminate_turn(struct sweep *s, const char *place)
{
    const struct config_rate *rate = &s->config->limits.terminate_rate;
    if (sweep_target_is_away(s, fleet_provider(s->reaper->fleet, place))) {
        return false;
    }
    for (int64_t waited = 0; waited < TURN_WAIT_MAX_MS;) {
        struct err e = {0};
        int64_t wait_ms = 0;
        if (fleet_terminate_turn(s->reaper->fleet, place, rate, &wait_ms, &e) != 0) {
            log_warn("rate_limit_check_failed", LOG_STR("class", place), LOG_ERR(&e),
                     LOG_STR("action", "the next sweep tries again"));
            return false;
        }
        if (wait_ms == 0) {
            return true;
        }
        if (wakeup_sleep(&s->reaper->stop, wait_ms)) {
            return false;
        }
        waited += wait_ms;
    }
    return false;
}

/* Later tasks of this sweep see that the row holds no slot and needs no second termination. */
static void set_row_gone(struct sweep *s, const char *name)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        if (strcmp(s->vms[i].name, name) == 0) {
            s->vms[i].state = VM_GONE;
        }
    }
}

/* Whether GitHub must consent. A row that was only reserved has no runner. */
static bool needs_github(const struct ledger_vm *vm, const struct fleet_termination *how)
{
    return (how->evidence == FLEET_SUSPECT || how->evidence == FLEET_REQUESTED) &&
           !how->nothing_runs && vm->state != VM_RESERVED && vm->state != VM_ENDING;
}

bool sweep_terminate_vm(struct sweep *s, const struct ledger_vm *vm,
                        const struct fleet_termination *how)
{
    struct err e = {0};
    const struct vm_provider *p = fleet_provider_of(s->reaper->fleet, vm);
    struct fleet_termination now = *how;
    now.leave_registration = sweep_github_is_away(s, vm->scope);
    bool asks = needs_github(vm, how);
    char place[PLACE_NAME_SIZE];
    fleet_place_of(s->reaper->fleet, vm, place);
    if ((now.leave_registration && asks) || (asks && !sweep_may_ask_runner(s)) ||
        !sweep_terminate_turn(s, place) || !sweep_still_holds(s, p)) {
        return false;
    }
    if (fleet_terminate_vm(s->reaper->fleet, vm, &now, &e) != 0) {
        sweep_termination_failed(s, vm, &e);
        if (github_budget_refused(&e)) {
            const struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
            sweep_defer(s, &scope);
            return false;
        }
        if (e.class == ERR_CONFLICT || fleet_lacks_evidence(&e)) {
            log_debug(
                "vm_terminate_failed", LOG_STR("vm", vm->name), LOG_STR("reason", how->reason),
                LOG_ERR(&e),
                LOG_STR("action",
                        "none: its runner is up or not found, or another process was faster"));
            return false;
        }
        log_warn("vm_terminate_failed", LOG_STR("vm", vm->name), LOG_STR("vm_id", vm->vm_id),
                 LOG_STR("class", vm->class_name), LOG_STR("reason", how->reason), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep tries again"));
        return false;
    }
    log_info("vm_terminated", LOG_STR("vm", vm->name), LOG_STR("vm_id", vm->vm_id),
             LOG_STR("class", vm->class_name), LOG_INT("job_id", vm->job_id),
             LOG_STR("state", ledger_vm_state_name(vm->state)), LOG_STR("reason", how->reason),
             LOG_INT("lived_ms", clock_wall_ms() - vm->reserved_ms));
    set_row_gone(s, vm->name);
    if (vm_host_bound(p)) {
        circuits_host_freed(s->reaper->circuits, fleet_host(s->reaper->fleet));
    }
    return true;
}

/* --- the sweep --- */

static struct metric *task_metric(const char *task, bool failed)
{
    struct buf label;
    buf_init(&label, 128);
    metrics_label(&label, "task", task);
    struct metric *m = failed ? metrics_counter("mayfly_reaper_task_errors_total", label.data)
                              : metrics_counter("mayfly_reaper_repairs_total", label.data);
    buf_fini(&label);
    return m;
}

static void run_task(struct sweep *s, const struct task *t, int64_t *due_ms)
{
    struct err e = {0};
    int64_t repairs = 0;
    if (wakeup_raised(&s->reaper->stop) || clock_mono_ms() < *due_ms || !sweep_renew_leases(s) ||
        (t->lease == UNDER_FLEET && !s->fleet.held)) {
        return;
    }
    liveness_beat();
    s->next_run_ms = t->interval_ms != NULL ? t->interval_ms(s) : 0;
    int failed = t->run(s, &repairs, &e);
    *due_ms = clock_mono_ms() + s->next_run_ms;
    metric_add(task_metric(t->name, false), repairs);
    if (failed != 0) {
        metric_inc(task_metric(t->name, true));
        log_warn(
            "task_failed", LOG_STR("task", t->name), LOG_ERR(&e),
            LOG_STR("action", "the other tasks continue; this one runs again when it is next due"));
    }
}

void sweep_run_at_once(struct sweep *s, sweep_task_fn *task)
{
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        s->reaper->due_ms[i] = tasks[i].run == task ? 0 : s->reaper->due_ms[i];
    }
}

static void free_sweep(struct sweep *s)
{
    sweep_keep_listings(s);
    free(s->listings);
    sweep_free_runners(s);
    free(s->scopes.list);
    free(s->notices);
    free(s->balances);
    free(s->pauses);
    free(s->vms);
}

/* A sweep that lost its lease is not complete. */
static void record_complete_sweep(const struct sweep *s, int64_t started_ms)
{
    if (!s->lost) {
        __atomic_store_n(&s->reaper->last_sweep_ms, clock_wall_ms(), __ATOMIC_RELEASE);
        metric_set(metrics_gauge("mayfly_reaper_last_sweep_timestamp_seconds", ""),
                   clock_wall_ms() / 1000);
        log_debug("sweep_finished", LOG_INT("vms", (int64_t)s->vm_count),
                  LOG_INT("duration_ms", clock_mono_ms() - started_ms));
    }
}

/* Deadlines and requests do not wait for a provider's list. */
static void run_tasks(struct sweep *s)
{
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        if (i == TASKS_OF_ROWS) {
            sweep_list_vms(s);
        }
        if (tasks[i].run == sweep_deliveries && sweep_misses_deliveries(s)) {
            s->reaper->due_ms[i] = 0;
        }
        run_task(s, &tasks[i], &s->reaper->due_ms[i]);
    }
}

void sweep(struct reaper *r)
{
    struct err e = {0};
    const struct config *c = config_live_get(r->config);
    struct sweep s = {.reaper = r,
                      .config = c,
                      .now_ms = sweep_wall_ms(r),
                      .status_check_offset = r->status_check_offset};
    int64_t started = clock_mono_ms();
    r->status_check_offset = 0;
    bool acquired = sweep_acquire_leases(&s);
    metric_set(metrics_gauge("mayfly_reaper_leader", ""), s.fleet.held ? 1 : 0);
    if (!acquired) {
        config_live_put(r->config, c);
        return;
    }
    if (list_rows(&s, &e) != 0) {
        log_warn("sweep_failed", LOG_ERR(&e), LOG_STR("action", "the next sweep tries again"));
    } else {
        fleet_metrics_set_rows(r->metrics, s.vms, s.vm_count);
        sweep_begin_runner_scan(&s);
        run_tasks(&s);
        sweep_end_runner_scan(&s);
        sweep_report_jobless(&s);
        sweep_report_deferred(&s);
        sweep_write_notices(&s);
        sweep_remember_rows(&s);
        record_complete_sweep(&s, started);
    }
    free_sweep(&s);
    config_live_put(r->config, c);
}
