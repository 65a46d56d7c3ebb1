#include "reaper/pull/pull.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/github/budget.h"
#include "common/github/webhook_report.h"
#include "common/ledger/kinds.h"
#include "reaper/pull/internal.h"

#define LEASE "pull"
#define NOTICE LEASE ": GitHub's delivery log"
#define LEASE_INTERVALS 3
#define LEASE_MARGIN_MS 2000 /* above the time of one call to GitHub */
#define FETCH_THREADS PULL_BATCH
#define RETRY_BASE_MS 1000
#define RETRY_MAX_MS 30000
#define SAVE_EVERY_MS 10000
#define AWAY_FAILURES 3    /* in a row, before they are reported */
#define AWAY_WAIT_MS 30000 /* a wait that is reported */
#define TURN_MIN_MS 10

/* --- life --- */

static struct metric *result_metric(enum pull_result result)
{
    static const char *const names[PULL_RESULTS] = {[PULL_QUEUED] = "queued",
                                                    [PULL_IGNORED] = "ignored",
                                                    [PULL_REFUSED] = "refused",
                                                    [PULL_STALE] = "stale",
                                                    [PULL_LOST] = "lost"};
    struct buf label;
    buf_init(&label, 64);
    metrics_label(&label, "result", names[result]);
    struct metric *m = metrics_counter("mayfly_reaper_pulled_total", label.data);
    buf_fini(&label);
    return m;
}

static void register_metrics(struct pull_metrics *m)
{
    static const int64_t bounds_ms[] = {1000,  2500,   5000,   10000,  30000,
                                        60000, 300000, 900000, 3600000};
    for (enum pull_result i = 0; i < PULL_RESULTS; i++) {
        m->results[i] = result_metric(i);
    }
    m->waiting = metrics_gauge("mayfly_reaper_pull_waiting", "");
    m->oldest_age = metrics_gauge("mayfly_reaper_pull_oldest_age_seconds", "");
    m->last_read = metrics_gauge("mayfly_reaper_pull_last_read_timestamp_seconds", "");
    m->delay =
        metrics_histogram("mayfly_reaper_pull_delay_seconds", "", bounds_ms, COUNT_OF(bounds_ms));
    webhook_report_open();
}

struct pull *pull_new(struct reaper *r)
{
    const struct config *c = config_live_get(r->config);
    struct github_hook hook;
    bool wanted = c->github.pull_interval_ms > 0 && github_hook_of(c, &hook);
    config_live_put(r->config, c);
    if (!wanted) {
        return NULL;
    }
    struct pull *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    p->r = r;
    p->hook = hook;
    p->fetch_threads = FETCH_THREADS;
    p->records.ledger = r->ledger;
    if (hook.id == 0) {
        (void)snprintf(p->records.log, sizeof p->records.log, "app");
    } else {
        (void)snprintf(p->records.log, sizeof p->records.log, "%" PRId64, hook.id);
    }
    seen_init(&p->seen);
    register_metrics(&p->metrics);
    return p;
}

void pull_free(struct pull *p)
{
    if (p != NULL) {
        seen_fini(&p->seen);
        records_fini(&p->records);
        free(p);
    }
}

/* --- the lease --- */

static int64_t lease_ms(const struct config *c)
{
    int64_t least = c->github.timeout_ms + LEASE_MARGIN_MS;
    int64_t ms = LEASE_INTERVALS * c->github.pull_interval_ms;
    return ms > least ? ms : least;
}

/* What this process knows is as old as its lease: another one has gone on since. */
static void lose_lease(struct pull *p, int64_t fence)
{
    metric_inc(metrics_counter("mayfly_reaper_leases_lost_total", ""));
    log_warn("lease_lost", LOG_STR("lease", LEASE), LOG_INT("fence", fence),
             LOG_INT("fence_before", p->fence),
             LOG_STR("action", "the new lease holder continues"));
}

static void forget_all(struct pull *p)
{
    seen_clear(&p->seen);
    p->loaded = false;
    p->walk.under_way = false;
    p->unrecorded_count = 0;
    p->reached_ms = 0;
    p->saved_ms = 0;
    p->due_ms = 0;
    p->failures = 0;
    p->paced = false;
}

static void request_lease(struct pull *p, const struct config *c)
{
    struct err e = {0};
    struct sweep_moment before = sweep_moment_now();
    int64_t fence = 0;
    bool held = false;
    bool had = p->held;
    if (ledger_lease(p->r->ledger, LEASE, p->r->holder, lease_ms(c), &held, &fence, &e) != 0) {
        log_warn("lease_check_failed", LOG_STR("lease", LEASE), LOG_ERR(&e),
                 LOG_STR("action", "nothing is pulled until the ledger is available"));
        p->held = false;
        return;
    }
    p->held = held;
    p->requested = before;
    if (p->loaded && (!held || fence != p->fence)) {
        if (had) {
            lose_lease(p, fence);
        }
        forget_all(p);
        p->held = false; /* for this turn, which began with what is forgotten */
    }
    p->fence = fence;
}

/* Renewed when less than two thirds of its time are left. */
static bool hold_lease(struct pull *p, const struct config *c)
{
    if (!p->held || sweep_moment_passed_ms(&p->requested) * 3 > lease_ms(c)) {
        request_lease(p, c);
    }
    return p->held;
}

bool pull_still_holds(struct pull *p, const struct config *c)
{
    return hold_lease(p, c) && sweep_moment_passed_ms(&p->requested) < lease_ms(c);
}

/* --- what a lease begins with, and where it is left --- */

static int load(struct pull *p, const struct config *c, struct err *e)
{
    int64_t seen_until_ms = 0;
    seen_clear(&p->seen);
    p->records.fence = p->fence;
    p->records.next = 0;
    if (ledger_counter_get(p->r->ledger, LEDGER_COUNTER_SEEN_UNTIL, &seen_until_ms, e) != 0 ||
        records_load(&p->records, &p->seen, e) != 0) {
        return -1;
    }
    p->saved_ms = seen_until_ms;
    p->floor_ms = seen_until_ms > 0 ? seen_until_ms - c->reaper.deliveries.overlap_ms
                                    : clock_wall_ms() - c->reaper.deliveries.initial_lookback_ms;
    p->first = true;
    p->loaded = true;
    log_info("pull_began", LOG_STR("log", p->records.log), LOG_INT("fence", p->fence),
             LOG_INT("since_ms", p->floor_ms));
    return 0;
}

/* Everything delivered until then is handled; 0: not known. */
static int64_t handled_until_ms(const struct pull *p)
{
    int64_t oldest_ms = seen_oldest_ms(&p->seen);
    return oldest_ms > 0 && oldest_ms <= p->reached_ms ? oldest_ms - 1 : p->reached_ms;
}

/* It never goes back: another reaper may have moved it while this one was slow. */
static int save(struct pull *p, const struct config *c, struct err *e)
{
    int64_t until_ms = handled_until_ms(p);
    int64_t now_ms = clock_mono_ms();
    int64_t saved_ms = 0;
    if (until_ms <= p->saved_ms || now_ms < p->save_due_ms || p->unrecorded_count > 0 ||
        !pull_still_holds(p, c)) {
        return 0;
    }
    if (ledger_counter_get(p->r->ledger, LEDGER_COUNTER_SEEN_UNTIL, &saved_ms, e) != 0 ||
        (saved_ms < until_ms &&
         ledger_counter_set(p->r->ledger, LEDGER_COUNTER_SEEN_UNTIL, until_ms, e) != 0)) {
        return -1;
    }
    p->saved_ms = saved_ms < until_ms ? until_ms : saved_ms;
    p->save_due_ms = now_ms + SAVE_EVERY_MS;
    p->floor_ms = until_ms - c->reaper.deliveries.overlap_ms;
    seen_forget_before(&p->seen, p->floor_ms);
    return records_trim(&p->records, p->floor_ms, e);
}

/* --- calls to GitHub, and trouble --- */

size_t pull_calls_allowed(struct pull *p, size_t most)
{
    int64_t pause_ms = 0;
    int64_t now_ms = clock_mono_ms();
    if (now_ms < p->not_before_ms) {
        return 0;
    }
    int64_t n = github_intake_calls(p->r->github, &p->hook, (int64_t)most, &pause_ms);
    if (pause_ms > 0) {
        p->not_before_ms = now_ms + pause_ms;
    }
    if ((pause_ms > 0) != p->paced) {
        p->paced = pause_ms > 0;
        log_info_limited(p->paced ? "pull_paced" : "pull_unpaced",
                         LOG_INT("waiting", (int64_t)p->seen.waiting_count),
                         LOG_INT("pause_ms", pause_ms));
    }
    return (size_t)n;
}

int64_t pull_retry_wait_ms(const struct config *c, int tries)
{
    int64_t base_ms =
        c->github.pull_interval_ms < RETRY_BASE_MS ? c->github.pull_interval_ms : RETRY_BASE_MS;
    return backoff_ceiling_ms(base_ms, RETRY_MAX_MS, tries) / 2 +
           backoff_full_jitter_ms(base_ms, RETRY_MAX_MS, tries) / 2;
}

/* For `mayflyctl status`; "" removes it. */
static void set_notice(struct pull *p, const char *text)
{
    struct err ignored = {0};
    struct ledger_cell cell;
    if (strcmp(p->notice, text) == 0 ||
        ledger_cell_get(p->r->ledger, LEDGER_KIND_NOTICE, NOTICE, &cell, &ignored) != 0) {
        return;
    }
    bool nothing = text[0] == '\0' && cell.version == 0;
    if (nothing ||
        ledger_cell_put(p->r->ledger, LEDGER_KIND_NOTICE, NOTICE, text[0] != '\0' ? text : NULL,
                        cell.version, NULL, &ignored) == 0) {
        (void)snprintf(p->notice, sizeof p->notice, "%s", text);
    }
}

static void note_failure(struct pull *p, const struct config *c, const struct err *e)
{
    char text[LEDGER_CELL_VALUE];
    int64_t wait_ms = pull_retry_wait_ms(c, ++p->failures);
    wait_ms = e->retry_after_ms > 0 ? e->retry_after_ms : wait_ms;
    p->not_before_ms = clock_mono_ms() + wait_ms;
    bool passes = e->class == ERR_RETRY || e->class == ERR_THROTTLED;
    if (passes && p->failures < AWAY_FAILURES && wait_ms < AWAY_WAIT_MS) {
        log_debug("pull_retry", LOG_ERR(e), LOG_INT("wait_ms", wait_ms));
        return;
    }
    if (!p->away) {
        log_warn("pull_failed", LOG_ERR(e), LOG_INT("waiting", (int64_t)p->seen.waiting_count),
                 LOG_STR("action", "what GitHub sends meanwhile is read when the call succeeds"));
    }
    p->away = true;
    (void)snprintf(text, sizeof text, "GitHub's delivery log is not pulled: %s; jobs wait",
                   e->message);
    set_notice(p, text);
}

static void note_success(struct pull *p)
{
    if (p->away) {
        log_info("pull_resumed", LOG_INT("waiting", (int64_t)p->seen.waiting_count));
    }
    p->away = false;
    p->failures = 0;
    set_notice(p, "");
}

/* --- the thread --- */

/* What is due. *more: the rest follows at once. */
static int work(struct pull *p, const struct config *c, bool *more, struct err *e)
{
    *more = false;
    if (!p->loaded && load(p, c, e) != 0) {
        return -1;
    }
    if (pull_log_is_due(p) && pull_read_log(p, c, e) != 0) {
        return -1;
    }
    if (p->held && pull_fetch(p, c, more, e) != 0) {
        return -1;
    }
    return p->held ? save(p, c, e) : 0;
}

static void show_state(const struct pull *p)
{
    int64_t oldest_ms = p->held ? seen_oldest_ms(&p->seen) : 0;
    int64_t age_ms = oldest_ms > 0 ? clock_wall_ms() - oldest_ms : 0;
    metric_set(p->metrics.waiting, p->held ? (int64_t)p->seen.waiting_count : 0);
    metric_set(p->metrics.oldest_age, age_ms > 0 ? age_ms / 1000 : 0);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_turn_ms(const struct pull *p, const struct config *c, bool more)
{
    int64_t now_ms = clock_mono_ms();
    int64_t at_ms = more || p->walk.under_way ? now_ms : p->due_ms;
    for (size_t i = 0; i < p->seen.waiting_count; i++) {
        at_ms = earlier(at_ms, p->seen.waiting[i].next_ms);
    }
    if (p->unrecorded_count > 0) {
        at_ms = now_ms;
    }
    at_ms = at_ms > p->not_before_ms ? at_ms : p->not_before_ms;
    at_ms = earlier(at_ms, now_ms + lease_ms(c) / 3); /* to renew it */
    int64_t least_ms = more ? 0 : TURN_MIN_MS;
    return at_ms - now_ms > least_ms ? at_ms - now_ms : least_ms;
}

static int64_t turn(struct pull *p, const struct config *c)
{
    struct err e = {0};
    bool more = false;
    if (!hold_lease(p, c)) {
        show_state(p);
        return c->github.pull_interval_ms;
    }
    if (clock_mono_ms() >= p->not_before_ms) {
        if (work(p, c, &more, &e) == 0) {
            note_success(p);
        } else if (p->held) {
            note_failure(p, c, &e);
        }
    }
    show_state(p);
    return next_turn_ms(p, c, more);
}

int64_t pull_turn(struct pull *p)
{
    const struct config *c = config_live_get(p->r->config);
    int64_t wait_ms = turn(p, c);
    config_live_put(p->r->config, c);
    return wait_ms;
}

static void *pull_until_stopped(void *arg)
{
    struct pull *p = arg;
    int64_t wait_ms = 0;
    liveness_enter("the pull thread", LIVENESS_LIMIT_MS);
    do {
        liveness_beat();
        wait_ms = pull_turn(p);
    } while (!wakeup_sleep(&p->r->stop, wait_ms));
    liveness_leave();
    return NULL;
}

int pull_start(struct pull *p, struct err *e)
{
    return p == NULL ? 0
                     : threads_start(&p->thread, 1, "the pull thread", pull_until_stopped, p, e);
}

void pull_stop(struct pull *p)
{
    struct err e = {0};
    if (p == NULL) {
        return;
    }
    threads_join(&p->thread);
    if (ledger_lease_release(p->r->ledger, LEASE, p->r->holder, &e) != 0) {
        log_warn("lease_release_failed", LOG_ERR(&e),
                 LOG_STR("action", "the lease expires by itself"));
    }
}
