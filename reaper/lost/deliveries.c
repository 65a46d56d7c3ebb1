/*
 * Lost deliveries: what GitHub could not deliver is read from its delivery log and enqueued. This
 * recovers from every 503, timeout and downtime of the ingress.
 *
 * A pass goes from the newest entry back to the time that the last complete pass stored in the
 * ledger, page by page. Each sweep makes a bounded number of requests and takes no longer than
 * reaper.interval: while GitHub is slow, VMs past their deadline must not wait for it. A delivery
 * is lost if an attempt failed and no later attempt of the same GUID succeeded; its payload is
 * fetched and handled like any delivery. It came over TLS from GitHub's API, so there is no
 * signature to verify. If GitHub refuses the payload, a redelivery is requested.
 *
 * With github.pull all of this is left to pull/, and the stored time too; the log is then read here for
 * a lost ledger alone.
 *
 * Deliveries that got a 2xx need nothing: a 2xx means that they are durable (invariant 1), whether
 * or not any process remembers them.
 *
 * Entries may appear in the log late, so the stored time stays an overlap behind and passes
 * overlap. That does no harm: the process remembers what it handled, by GUID; after a restart a
 * delivery may be enqueued twice, which has no effect. An entry that could not be handled holds the
 * stored time before it, so that the next pass meets it again.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/github/budget.h"
#include "common/github/webhook_report.h"
#include "common/job/publish.h"
#include "common/ledger/kinds.h"
#include "common/program/presence.h"
#include "reaper/delivery.h"
#include "reaper/reaper.h"

#define REMEMBERED_MS (3 * 24 * 3600 * 1000LL) /* GitHub's log goes back no further */
#define PAGE_MAX 100
#define PAYLOAD_BYTES ((size_t)8 * 1024 * 1024)
#define CALLS_MIN 4 /* however slow: one request that times out must not block the rest */

/* One sweep's part of a pass. */
struct reading {
    struct sweep *sweep;
    struct github_hook hook;
    struct deliveries_walk *walk;
    struct github_delivery page[PAGE_MAX];
    size_t page_count;
    bool lost[PAGE_MAX]; /* the entry is to be recovered */
    int64_t calls_left;
    int64_t began_ms; /* monotonic */
    int64_t repairs;
};

/* The result for one entry. */
enum entry_end {
    ENTRY_HANDLED,
    ENTRY_MISSED, /* an error about this entry: a later pass tries again */
    ENTRY_STOP,   /* this sweep stops here */
};

/* Whether the rest is left to the next sweep. */
static bool budget_is_spent(const struct reading *r)
{
    const struct config *c = r->sweep->config;
    bool late = clock_mono_ms() - r->began_ms >= c->reaper.interval_ms;
    return r->calls_left <= 0 || wakeup_raised(&r->sweep->reaper->stop) ||
           (late && c->reaper.deliveries.calls - r->calls_left >= CALLS_MIN);
}

/* --- deliveries handled recently --- */

static bool handled_before(const struct reaper *r, const char *name)
{
    uint64_t h = hash_text(name);
    for (size_t i = 0; i < COUNT_OF(r->recent.names); i++) {
        if (r->recent.names[i] == h) {
            return true;
        }
    }
    return false;
}

static void remember_handled(struct reaper *r, const char *name)
{
    r->recent.names[r->recent.next] = hash_text(name);
    r->recent.next = (r->recent.next + 1) % COUNT_OF(r->recent.names);
}

/* One attempt: a requested redelivery does not mean that the GUID is handled. */
static void attempt_name(const struct github_delivery *d, char *out, size_t size)
{
    (void)snprintf(out, size, "attempt-%lld", (long long)d->id);
}

/* --- later attempts of the same delivery --- */

/* The log lists later attempts first, and only redeliveries can be later attempts, so only those
 * are remembered. Beyond the bound an entry may be recovered although a later attempt succeeded. */
static bool has_later_attempt(struct deliveries_walk *w, const struct github_delivery *d)
{
    struct deliveries_attempt this = {hash_text(d->guid), d->id};
    bool known = false;
    for (size_t i = 0; i < w->again_count; i++) {
        if (w->again[i].guid == this.guid && w->again[i].id > this.id) {
            return true;
        }
        known = known || w->again[i].id == this.id;
    }
    if (d->redelivery && !known && w->again_count < COUNT_OF(w->again)) {
        w->again[w->again_count++] = this;
    }
    return false;
}

/* --- one lost delivery --- */

/* A launch for a job that has ended would cost a VM: after an outage most `queued` events and their
 * `completed` are lost together. In doubt it is launched; a surplus VM idles out. */
static bool launch_is_needed(struct reading *r, const struct job_event *ev,
                             const struct github_delivery *d)
{
    struct sweep *s = r->sweep;
    struct err e = {0};
    struct ledger_job known;
    struct github_job now;
    struct sweep_call call;
    if (ledger_job_get(s->reaper->ledger, ev->job.id, &known, &e) == 0) {
        return known.state == JOB_SEEN || known.state == JOB_WAITING;
    }
    if (s->now_ms - d->delivered_ms < s->config->reaper.relaunch_after_ms) {
        return true;
    }
    const struct github_scope scope =
        github_scope_parse(ev->job.repository, ev->job.installation_id);
    if (!sweep_begin_question(s, &scope, GITHUB_RECONCILE, 1, &call)) {
        return true; /* it waits in the queue until GitHub is asked for its runner */
    }
    r->calls_left--;
    int rc = github_get_job(s->reaper->github, ev->job.repository, ev->job.installation_id,
                            ev->job.id, &now, &e);
    sweep_end_call(s, &call, rc, &e);
    if (rc != 0) {
        return true;
    }
    return delivery_job_waits(&now);
}

static enum entry_end enqueue_delivery(struct reading *r, const struct github_delivery *d,
                                       const struct job_event *ev, bool launch)
{
    struct sweep *s = r->sweep;
    struct err e = {0};
    struct job_messages messages;
    if (!sweep_still_holds(s, NULL)) {
        return ENTRY_STOP;
    }
    job_messages_of_delivery(ev, launch, presence_format(s->reaper->presence), &messages);
    int failed = job_publish_all(s->reaper->queue, &messages, &e);
    job_messages_fini(&messages);
    if (failed != 0) {
        log_warn("delivery_recovery_failed", LOG_STR("delivery_id", d->guid), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep resumes at this delivery"));
        return ENTRY_STOP;
    }
    remember_handled(s->reaper, d->guid);
    r->repairs++;
    log_info("delivery_recovered", LOG_STR("delivery_id", d->guid), LOG_INT("job_id", ev->job.id),
             LOG_STR("webhook_action", job_action_name(ev->action)),
             LOG_STR("lane", messages.list[0].lane), LOG_INT("answered", d->status_code),
             LOG_INT("late_ms", s->now_ms - d->delivered_ms));
    return ENTRY_HANDLED;
}

static enum entry_end handle_payload(struct reading *r, const struct github_delivery *d,
                                     struct slice payload)
{
    struct job_event ev;
    const char *reason = "";
    enum webhook_verdict verdict = delivery_parse(d, payload, r->sweep->config, &ev, &reason);
    bool launch = verdict == WEBHOOK_LAUNCH;
    if (verdict == WEBHOOK_REFUSED) {
        webhook_report_refused(&ev, reason);
        remember_handled(r->sweep->reaper, d->guid);
        return ENTRY_HANDLED;
    }
    if (!launch && verdict != WEBHOOK_EVENT) {
        log_debug("delivery_not_matched", LOG_STR("delivery_id", d->guid),
                  LOG_STR("reason", reason));
        remember_handled(r->sweep->reaper, d->guid);
        return ENTRY_HANDLED;
    }
    if (launch && !launch_is_needed(r, &ev, d)) {
        log_info("delivery_stale", LOG_STR("delivery_id", d->guid), LOG_INT("job_id", ev.job.id),
                 LOG_STR("reason", "its job is already running or completed"));
        remember_handled(r->sweep->reaper, d->guid);
        return ENTRY_HANDLED;
    }
    return enqueue_delivery(r, d, &ev, launch);
}

static bool is_refusal(const struct err *e)
{
    return e->class == ERR_AUTH || e->class == ERR_NOT_FOUND || e->class == ERR_PERMANENT;
}

static enum entry_end postpone_delivery(const struct github_delivery *d, const struct err *e)
{
    log_warn("delivery_recovery_failed", LOG_STR("delivery_id", d->guid), LOG_ERR(e),
             LOG_STR("action", "a later read of the delivery log tries again"));
    return e->class == ERR_THROTTLED ? ENTRY_STOP : ENTRY_MISSED;
}

/* GitHub does not return the payload, so it is asked to deliver again. A new attempt that fails has
 * an entry of its own, for which another one is requested. */
static enum entry_end request_redelivery(struct reading *r, const struct github_delivery *d,
                                         const struct err *why)
{
    struct err e = {0};
    char attempt[40];
    attempt_name(d, attempt, sizeof attempt);
    if (!sweep_still_holds(r->sweep, NULL)) {
        return ENTRY_STOP;
    }
    r->calls_left--;
    if (github_redeliver(r->sweep->reaper->github, &r->hook, d->id, &e) == 0) {
        r->repairs++;
        log_info("redelivery_requested", LOG_STR("delivery_id", d->guid),
                 LOG_STR("webhook_action", d->action), LOG_ERR(why));
        remember_handled(r->sweep->reaper, attempt);
        return ENTRY_HANDLED;
    }
    if (!is_refusal(&e)) {
        return postpone_delivery(d, &e);
    }
    log_warn("delivery_lost", LOG_STR("delivery_id", d->guid), LOG_STR("webhook_action", d->action),
             LOG_ERR(&e),
             LOG_STR("action", "grant the App or token read and write access to webhooks, or "
                               "redeliver it in GitHub's settings"));
    remember_handled(r->sweep->reaper, attempt);
    return ENTRY_HANDLED;
}

static bool hook_budget_allows(struct reading *r)
{
    bool allowed =
        github_budget_allows(r->sweep->reaper->github, &r->hook.scope, GITHUB_RECONCILE, 1);
    if (!allowed) {
        sweep_defer(r->sweep, &r->hook.scope);
    }
    return allowed;
}

static enum entry_end recover_delivery(struct reading *r, const struct github_delivery *d)
{
    struct err e = {0};
    struct buf payload;
    char attempt[40];
    enum entry_end end;
    attempt_name(d, attempt, sizeof attempt);
    if (handled_before(r->sweep->reaper, d->guid) || handled_before(r->sweep->reaper, attempt)) {
        return ENTRY_HANDLED;
    }
    if (budget_is_spent(r) || (r->hook.id != 0 && !hook_budget_allows(r))) {
        return ENTRY_STOP;
    }
    buf_init(&payload, PAYLOAD_BYTES);
    r->calls_left--;
    if (github_delivery_payload(r->sweep->reaper->github, &r->hook, d->id, &payload, &e) == 0) {
        end = handle_payload(r, d, buf_slice(&payload));
    } else {
        end = is_refusal(&e) ? request_redelivery(r, d, &e) : postpone_delivery(d, &e);
    }
    buf_fini(&payload);
    return end;
}

/* --- one page --- */

static int copy_entry(void *arg, const struct github_delivery *d)
{
    struct reading *r = arg;
    r->page[r->page_count++] = *d;
    return r->page_count < PAGE_MAX ? 0 : 1;
}

/* Entries that arrive after the pass began belong to the next one; otherwise a page that grows at
 * its top would never end. */
static void begin_at_newest(struct reading *r)
{
    for (size_t i = 0; i < r->page_count; i++) {
        if (r->page[i].delivered_ms > r->walk->newest_ms) {
            r->walk->newest_ms = r->page[i].delivered_ms;
        }
    }
}

static int find_lost(struct reading *r, struct err *e)
{
    bool pulls = r->sweep->config->github.pull_interval_ms > 0;
    for (size_t i = 0; i < r->page_count; i++) {
        const struct github_delivery *d = &r->page[i];
        bool superseded = has_later_attempt(r->walk, d);
        bool wanted = false;
        if (r->walk->recovers && sweep_recovery_see(r->sweep, d, &wanted, e) != 0) {
            return -1;
        }
        r->lost[i] = (wanted || (!d->ok && !pulls)) && !superseded &&
                     strcmp(d->event, "workflow_job") == 0 &&
                     d->delivered_ms >= r->walk->until_ms && d->delivered_ms <= r->walk->newest_ms;
    }
    return 0;
}

/* The oldest first, in the order of the deliveries. True when the whole page was handled. */
static bool recover_page(struct reading *r)
{
    for (size_t i = r->page_count; i > 0; i--) {
        const struct github_delivery *d = &r->page[i - 1];
        enum entry_end end = r->lost[i - 1] ? recover_delivery(r, d) : ENTRY_HANDLED;
        if (end == ENTRY_STOP) {
            return false;
        }
        if (end == ENTRY_MISSED &&
            (r->walk->missed_ms == 0 || d->delivered_ms < r->walk->missed_ms)) {
            r->walk->missed_ms = d->delivered_ms;
        }
    }
    return true;
}

/* --- the pass --- */

static int begin_walk(struct sweep *s, struct deliveries_walk *w, struct err *e)
{
    const struct config_deliveries *c = &s->config->reaper.deliveries;
    int64_t seen_until_ms = 0;
    if (ledger_counter_get(s->reaper->ledger, LEDGER_COUNTER_SEEN_UNTIL, &seen_until_ms, e) != 0) {
        return -1;
    }
    int64_t until_ms =
        seen_until_ms > 0 ? seen_until_ms - c->overlap_ms : s->now_ms - c->initial_lookback_ms;
    int64_t oldest_ms = s->now_ms - REMEMBERED_MS;
    const struct recovery *recovery = &s->reaper->recovery;
    bool recovers = recovery->stage == RECOVERY_LOG || recovery->stage == RECOVERY_PAYLOADS;
    if (recovers && sweep_recovery_begin_log(s, e) != 0) {
        return -1;
    }
    until_ms = recovers && recovery->since_ms < until_ms ? recovery->since_ms : until_ms;
    memset(w, 0, sizeof *w);
    w->under_way = true;
    w->recovers = recovers;
    w->fence = s->fleet.fence;
    w->until_ms = until_ms > oldest_ms ? until_ms : oldest_ms;
    return 0;
}

/* By GitHub's clock, as in the log, which may differ from this host's. The stored time never goes
 * back. */
static int finish_walk(struct sweep *s, struct deliveries_walk *w, struct err *e)
{
    int64_t seen_until_ms = 0;
    int64_t reached = w->missed_ms > 0 ? w->missed_ms : w->newest_ms;
    w->under_way = false;
    if (!sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (w->recovers && sweep_recovery_log_read(s, e) != 0) {
        return -1;
    }
    if (reached == 0 || s->config->github.pull_interval_ms > 0) {
        return 0;
    }
    if (ledger_counter_get(s->reaper->ledger, LEDGER_COUNTER_SEEN_UNTIL, &seen_until_ms, e) != 0) {
        return -1;
    }
    return reached > seen_until_ms
               ? ledger_counter_set(s->reaper->ledger, LEDGER_COUNTER_SEEN_UNTIL, reached, e)
               : 0;
}

/* The log of the App's own hook is no installation's, and spends none of its budget. */
static bool begin_hook_call(struct reading *r, struct sweep_call *call)
{
    return r->hook.id != 0
               ? sweep_begin_question(r->sweep, &r->hook.scope, GITHUB_RECONCILE, 1, call)
               : sweep_begin_github_call(r->sweep, "", call);
}

/* One page. *more: there is another, and this sweep may read it. */
static int read_log_page(struct reading *r, bool *more, struct err *e)
{
    struct deliveries_walk *w = r->walk;
    struct sweep_call call;
    char next[GITHUB_CURSOR_BYTES];
    *more = false;
    r->page_count = 0;
    if (!begin_hook_call(r, &call)) {
        return 0; /* the next sweep continues */
    }
    r->calls_left--;
    int rc = github_list_deliveries(r->sweep->reaper->github, &r->hook, w->cursor, copy_entry, r,
                                    next, e);
    sweep_end_call(r->sweep, &call, rc, e);
    if (rc != 0) {
        w->under_way = !is_refusal(e); /* a cursor may expire: then from the newest again */
        return -1;
    }
    if (w->newest_ms == 0) {
        begin_at_newest(r);
    }
    if (find_lost(r, e) != 0) {
        return -1;
    }
    if (!recover_page(r)) {
        return 0;
    }
    bool reached = r->page_count == 0 || r->page[r->page_count - 1].delivered_ms < w->until_ms;
    if (reached || next[0] == '\0') {
        return finish_walk(r->sweep, w, e);
    }
    memcpy(w->cursor, next, sizeof next);
    *more = !budget_is_spent(r);
    return 0;
}

static bool has_delivery_log(struct sweep *s, struct github_hook *hook)
{
    if (github_hook_of(s->config, hook)) {
        return true;
    }
    if (!s->reaper->no_log_reported) {
        s->reaper->no_log_reported = true;
        log_info(
            "delivery_log_unavailable",
            LOG_STR("reason",
                    "github.token cannot read an App's delivery log, and github.hook is not set"),
            LOG_STR("action", "failed deliveries are not recovered automatically; set github.app "
                              "or github.hook"));
    }
    return false;
}

/* Where deliveries are pulled (pull/), those that failed come that way. What is left is a ledger that was
 * lost, whose repositories the log names. */
static bool is_left_to_pull(const struct sweep *s)
{
    enum recovery_stage stage = s->reaper->recovery.stage;
    return s->config->github.pull_interval_ms > 0 && stage != RECOVERY_LOG &&
           stage != RECOVERY_PAYLOADS;
}

bool sweep_misses_deliveries(struct sweep *s)
{
    struct err e = {0};
    int64_t gaps = 0;
    if (!s->fleet.held ||
        ledger_counter_get(s->reaper->ledger, LEDGER_COUNTER_GAPS, &gaps, &e) != 0) {
        return false;
    }
    bool grew = gaps != s->reaper->gaps_seen;
    s->reaper->gaps_seen = gaps;
    return grew;
}

int64_t sweep_deliveries_interval_ms(const struct sweep *s)
{
    return s->config->reaper.deliveries.interval_ms;
}

int sweep_deliveries(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct deliveries_walk *w = &s->reaper->walk;
    struct reading r = {.sweep = s,
                        .walk = w,
                        .calls_left = s->config->reaper.deliveries.calls,
                        .began_ms = clock_mono_ms()};
    if (!has_delivery_log(s, &r.hook) || is_left_to_pull(s)) {
        return 0;
    }
    /* Under another fence another reaper continued the pass or began a new one. */
    w->under_way = w->under_way && w->fence == s->fleet.fence;
    if (!w->under_way && begin_walk(s, w, e) != 0) {
        return -1;
    }
    bool more = true;
    int failed = 0;
    while (more && failed == 0) {
        failed = read_log_page(&r, &more, e);
    }
    *repairs += r.repairs;
    s->next_run_ms = w->under_way ? 0 : s->next_run_ms; /* the next sweep continues */
    return failed;
}
