/*
 * Lost deliveries: what GitHub could not deliver is read out of its own log and put on the queue.
 * This is the second way of every 503, time-out and downtime of the ingress.
 *
 * A reading goes from the newest entry back to the mark that the last good one left in the ledger,
 * page by page, in each sweep a bounded number of calls and no longer than sweeps are apart: while
 * GitHub is slow, VMs past their deadline must not wait for it. An entry is lost if the attempt
 * failed and no later attempt of the same GUID succeeded; its payload is fetched and goes the way
 * of any delivery from there on. It came over TLS from GitHub's API, so there is no signature to
 * check. Where GitHub does not let us have the payload it is asked to deliver once more.
 *
 * Deliveries that we answered with 2xx need nothing: such an answer means that they are durable
 * (invariant 1), so what the log calls delivered was taken, whether or not anybody here remembers
 * it.
 *
 * Entries may appear in the log late, so the mark stays a margin behind and readings overlap. That
 * does no harm: the process remembers what it dealt with, by GUID, and where that is lost with it a
 * delivery that comes twice is as good as one. An entry that could not be dealt with keeps the mark
 * before it, so that the next reading meets it again.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/github/webhook.h"
#include "common/job/publish.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"

#define MARK "deliveries.seen_until_ms"
#define REMEMBERED_MS (3 * 24 * 3600 * 1000LL) /* GitHub's log goes no further back */
#define PAGE_MAX 100
#define PAYLOAD_BYTES ((size_t)8 * 1024 * 1024)
#define CALLS_LEAST 4 /* however slow: an entry that is never answered must not hold up all */

/* One sweep's part of a reading. */
struct reading {
    struct sweep *sweep;
    struct github_hook hook;
    struct deliveries_walk *walk;
    struct github_delivery page[PAGE_MAX];
    size_t page_count;
    bool lost[PAGE_MAX]; /* of the entries of the page: is to be recovered */
    int64_t calls_left;
    int64_t began_ms; /* monotonic */
    int64_t done;
};

/* What became of one entry. */
enum entry_end {
    ENTRY_SETTLED,
    ENTRY_MISSED, /* an error of its own: a later reading tries again */
    ENTRY_STOP,   /* nothing more in this sweep */
};

/* Whether the rest is the next sweep's. */
static bool is_enough(const struct reading *r)
{
    const struct config *c = r->sweep->config;
    bool late = clock_mono_ms() - r->began_ms >= c->reaper.interval_ms;
    return r->calls_left <= 0 || wakeup_raised(&r->sweep->reaper->stop) ||
           (late && c->reaper.deliveries.calls - r->calls_left >= CALLS_LEAST);
}

/* --- the memory of what was dealt with --- */

static bool settled_before(const struct reaper *r, const char *name)
{
    uint64_t h = hash_text(name);
    for (size_t i = 0; i < COUNT_OF(r->settled.names); i++) {
        if (r->settled.names[i] == h) {
            return true;
        }
    }
    return false;
}

static void remember(struct reaper *r, const char *name)
{
    r->settled.names[r->settled.next] = hash_text(name);
    r->settled.next = (r->settled.next + 1) % COUNT_OF(r->settled.names);
}

/* An attempt by itself: the GUID is not dealt with when GitHub was only asked to try again. */
static void attempt_name(const struct github_delivery *d, char *out, size_t size)
{
    (void)snprintf(out, size, "attempt-%lld", (long long)d->id);
}

/* --- later attempts of the same delivery --- */

/* The log tells later attempts first, and only they are redeliveries, so those are all that must be
 * kept in mind. Past its bound an entry may be recovered although a later attempt succeeded. */
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

/* A launch for a job that nobody needs any more would cost a VM: after an outage most `queued` and
 * their `completed` are lost together. In doubt it is launched; a surplus VM idles out. */
static bool still_wanted(struct reading *r, const struct job_event *ev,
                         const struct github_delivery *d)
{
    struct sweep *s = r->sweep;
    struct err e = {0};
    struct ledger_job known;
    struct github_job now;
    if (ledger_job_get(s->reaper->ledger, ev->job.id, &known, &e) == 0) {
        return known.state == JOB_SEEN || known.state == JOB_WAITING;
    }
    if (s->now_ms - d->delivered_ms < s->config->reaper.relaunch_after_ms) {
        return true;
    }
    r->calls_left--;
    if (github_get_job(s->reaper->github, ev->job.repository, ev->job.installation_id, ev->job.id,
                       &now, &e) != 0) {
        return true;
    }
    return strcmp(now.status, "completed") != 0 &&
           !(strcmp(now.status, "in_progress") == 0 && now.runner_id > 0);
}

static enum entry_end put_on_queue(struct reading *r, const struct github_delivery *d,
                                   const struct job_event *ev, bool launch)
{
    struct sweep *s = r->sweep;
    struct err e = {0};
    struct job_message message;
    if (!sweep_still_holds(s, NULL)) {
        return ENTRY_STOP;
    }
    job_message_of_delivery(ev, launch, presence_format(s->reaper->presence), &message);
    int failed = job_publish(s->reaper->queue, &message, &e);
    job_message_fini(&message);
    if (failed != 0) {
        log_warn("delivery_recovery_failed", LOG_STR("delivery_id", d->guid), LOG_ERR(&e),
                 LOG_STR("action", "the next sweep resumes at this delivery"));
        return ENTRY_STOP;
    }
    remember(s->reaper, d->guid);
    r->done++;
    log_info("delivery_recovered", LOG_STR("delivery_id", d->guid), LOG_INT("job_id", ev->job.id),
             LOG_STR("webhook_action", job_action_name(ev->action)), LOG_STR("lane", message.lane),
             LOG_INT("answered", d->status_code), LOG_INT("late_ms", s->now_ms - d->delivered_ms));
    return ENTRY_SETTLED;
}

static enum entry_end take_payload(struct reading *r, const struct github_delivery *d,
                                   struct slice payload)
{
    struct job_event ev;
    const char *reason = "";
    const struct webhook_request request = {.event = slice_of(d->event),
                                            .delivery = slice_of(d->guid),
                                            .content_type = SLICE("application/json"),
                                            .body = payload};
    enum webhook_verdict verdict = webhook_parse(&request, r->sweep->config, &ev, &reason);
    bool launch = verdict == WEBHOOK_LAUNCH;
    if (!launch && verdict != WEBHOOK_EVENT) {
        log_debug("delivery_not_matched", LOG_STR("delivery_id", d->guid),
                  LOG_STR("reason", reason));
        remember(r->sweep->reaper, d->guid);
        return ENTRY_SETTLED;
    }
    if (launch && !still_wanted(r, &ev, d)) {
        log_info("delivery_stale", LOG_STR("delivery_id", d->guid), LOG_INT("job_id", ev.job.id),
                 LOG_STR("reason", "its job is already running or completed"));
        remember(r->sweep->reaper, d->guid);
        return ENTRY_SETTLED;
    }
    return put_on_queue(r, d, &ev, launch);
}

static bool is_refusal(const struct err *e)
{
    return e->class == ERR_AUTH || e->class == ERR_NOT_FOUND || e->class == ERR_PERMANENT;
}

static enum entry_end put_off(const struct github_delivery *d, const struct err *e)
{
    log_warn("delivery_recovery_failed", LOG_STR("delivery_id", d->guid), LOG_ERR(e),
             LOG_STR("action", "a later read of the delivery log tries again"));
    return e->class == ERR_THROTTLED ? ENTRY_STOP : ENTRY_MISSED;
}

/* GitHub does not tell what it wanted to deliver: it shall try itself. A new attempt that fails has
 * an entry of its own, for which it is asked again. */
static enum entry_end ask_for_redelivery(struct reading *r, const struct github_delivery *d,
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
        r->done++;
        log_info("redelivery_requested", LOG_STR("delivery_id", d->guid),
                 LOG_STR("webhook_action", d->action), LOG_ERR(why));
        remember(r->sweep->reaper, attempt);
        return ENTRY_SETTLED;
    }
    if (!is_refusal(&e)) {
        return put_off(d, &e);
    }
    log_warn("delivery_lost", LOG_STR("delivery_id", d->guid), LOG_STR("webhook_action", d->action),
             LOG_ERR(&e),
             LOG_STR("action", "grant the App or token read and write access to webhooks, or "
                               "redeliver it in GitHub's settings"));
    remember(r->sweep->reaper, attempt);
    return ENTRY_SETTLED;
}

static enum entry_end recover(struct reading *r, const struct github_delivery *d)
{
    struct err e = {0};
    struct buf payload;
    char attempt[40];
    enum entry_end end;
    attempt_name(d, attempt, sizeof attempt);
    if (settled_before(r->sweep->reaper, d->guid) || settled_before(r->sweep->reaper, attempt)) {
        return ENTRY_SETTLED;
    }
    if (is_enough(r)) {
        return ENTRY_STOP;
    }
    buf_init(&payload, PAYLOAD_BYTES);
    r->calls_left--;
    if (github_delivery_payload(r->sweep->reaper->github, &r->hook, d->id, &payload, &e) == 0) {
        end = take_payload(r, d, buf_slice(&payload));
    } else {
        end = is_refusal(&e) ? ask_for_redelivery(r, d, &e) : put_off(d, &e);
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

/* What came after the reading began is the next one's: else a page that grows at its top would
 * never be done. */
static void begin_at_newest(struct reading *r)
{
    for (size_t i = 0; i < r->page_count; i++) {
        if (r->page[i].delivered_ms > r->walk->newest_ms) {
            r->walk->newest_ms = r->page[i].delivered_ms;
        }
    }
}

static void find_lost(struct reading *r)
{
    for (size_t i = 0; i < r->page_count; i++) {
        const struct github_delivery *d = &r->page[i];
        bool superseded = has_later_attempt(r->walk, d);
        r->lost[i] = !d->ok && !superseded && strcmp(d->event, "workflow_job") == 0 &&
                     d->delivered_ms >= r->walk->until_ms && d->delivered_ms <= r->walk->newest_ms;
    }
}

/* The oldest first, as they would have come. True when the page is done. */
static bool recover_page(struct reading *r)
{
    for (size_t i = r->page_count; i > 0; i--) {
        const struct github_delivery *d = &r->page[i - 1];
        enum entry_end end = r->lost[i - 1] ? recover(r, d) : ENTRY_SETTLED;
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

/* --- the reading --- */

static int begin(struct sweep *s, struct deliveries_walk *w, struct err *e)
{
    const struct config_deliveries *c = &s->config->reaper.deliveries;
    int64_t mark = 0;
    if (ledger_counter_get(s->reaper->ledger, MARK, &mark, e) != 0) {
        return -1;
    }
    int64_t until_ms = mark > 0 ? mark - c->overlap_ms : s->now_ms - c->initial_lookback_ms;
    int64_t oldest_ms = s->now_ms - REMEMBERED_MS;
    memset(w, 0, sizeof *w);
    w->under_way = true;
    w->fence = s->fleet.fence;
    w->until_ms = until_ms > oldest_ms ? until_ms : oldest_ms;
    return 0;
}

/* GitHub's clock, as it stands in the log, not ours: they may differ. The mark never goes back. */
static int finish(struct sweep *s, struct deliveries_walk *w, struct err *e)
{
    int64_t mark = 0;
    int64_t reached = w->missed_ms > 0 ? w->missed_ms : w->newest_ms;
    w->under_way = false;
    if (reached == 0 || !sweep_still_holds(s, NULL)) {
        return 0;
    }
    if (ledger_counter_get(s->reaper->ledger, MARK, &mark, e) != 0) {
        return -1;
    }
    return reached > mark ? ledger_counter_set(s->reaper->ledger, MARK, reached, e) : 0;
}

/* One page. *more: there is another, and it may be read in this sweep. */
static int read_page(struct reading *r, bool *more, struct err *e)
{
    struct deliveries_walk *w = r->walk;
    char next[GITHUB_CURSOR_BYTES];
    *more = false;
    r->page_count = 0;
    r->calls_left--;
    if (github_list_deliveries(r->sweep->reaper->github, &r->hook, w->cursor, copy_entry, r, next,
                               e) != 0) {
        w->under_way = !is_refusal(e); /* a cursor may wear out: then from the newest again */
        return -1;
    }
    if (w->newest_ms == 0) {
        begin_at_newest(r);
    }
    find_lost(r);
    if (!recover_page(r)) {
        return 0;
    }
    bool reached = r->page_count == 0 || r->page[r->page_count - 1].delivered_ms < w->until_ms;
    if (reached || next[0] == '\0') {
        return finish(r->sweep, w, e);
    }
    memcpy(w->cursor, next, sizeof next);
    *more = !is_enough(r);
    return 0;
}

static bool can_read(struct sweep *s, struct github_hook *hook)
{
    if (github_hook_of(s->config, hook)) {
        return true;
    }
    if (!s->reaper->deliveries_told) {
        s->reaper->deliveries_told = true;
        log_info(
            "delivery_log_unavailable",
            LOG_STR("reason",
                    "github.token cannot read an App's delivery log, and github.hook is not set"),
            LOG_STR("action", "failed deliveries are not recovered automatically; set github.app "
                              "or github.hook"));
    }
    return false;
}

int64_t sweep_deliveries_interval_ms(const struct sweep *s)
{
    return s->config->reaper.deliveries.interval_ms;
}

int sweep_deliveries(struct sweep *s, int64_t *done, struct err *e)
{
    struct deliveries_walk *w = &s->reaper->walk;
    struct reading r = {.sweep = s,
                        .walk = w,
                        .calls_left = s->config->reaper.deliveries.calls,
                        .began_ms = clock_mono_ms()};
    if (!can_read(s, &r.hook)) {
        return 0;
    }
    /* Under another fence somebody else read on, or began anew. */
    w->under_way = w->under_way && w->fence == s->fleet.fence;
    if (!w->under_way && begin(s, w, e) != 0) {
        return -1;
    }
    bool more = true;
    int failed = 0;
    while (more && failed == 0) {
        failed = read_page(&r, &more, e);
    }
    *done += r.done;
    s->again_ms = w->under_way ? 0 : s->again_ms; /* the next sweep goes on */
    return failed;
}
