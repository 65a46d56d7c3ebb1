#include "common/github/budget.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/github/internal.h"
#include "common/ledger/ledger.h"

#define AT_ONCE 4 /* this part of the share may be used at once */
#define HOUR_S 3600.0
#define WAITED_US 50000 /* longer than a ledger takes */

const char *github_purpose_name(enum github_purpose p)
{
    static const char *const names[] = {"launch", "early_end", "reconcile"};
    return names[p];
}

void github_budget_observe(struct github *g, struct github_bucket *b,
                           const struct github_verdict *v)
{
    struct github_rate lowest;
    pthread_mutex_lock(&g->lock);
    if (v->limit > 0) {
        b->limit = v->limit;
        b->left = !b->shared && v->reset_ms > 0 ? v->remaining : -1;
        b->reset_ms = v->reset_ms;
    }
    pthread_mutex_unlock(&g->lock);
    if (github_lowest_rate(g, &lowest)) {
        metric_set(metrics_gauge("mayfly_github_rate_remaining", ""), lowest.left);
        metric_set(metrics_gauge("mayfly_github_rate_limit", ""), lowest.limit);
        metric_set(metrics_gauge("mayfly_github_rate_reset_timestamp_seconds", ""),
                   lowest.reset_ms / 1000);
    }
}

bool github_lowest_rate(struct github *g, struct github_rate *out)
{
    bool found = false;
    int64_t now_ms = clock_wall_ms();
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < g->bucket_count; i++) {
        const struct github_bucket *b = &g->buckets[i];
        if (b->limit > 0 && b->left >= 0 && now_ms < b->reset_ms &&
            (!found || b->left * out->limit < out->left * b->limit)) {
            *out = (struct github_rate){b->limit, b->left, b->reset_ms};
            found = true;
        }
    }
    pthread_mutex_unlock(&g->lock);
    return found;
}

/* The share as a bucket, and whether GitHub says that little is left. False: no limit is known. */
static bool share_of(struct github *g, const char *name, struct ledger_bucket *out, bool *low)
{
    struct github_bucket *b = github_bucket(g, name);
    pthread_mutex_lock(&g->lock);
    double limit = (double)b->limit;
    *low = b->left >= 0 && clock_wall_ms() < b->reset_ms &&
           (double)b->left < limit * (double)g->reserve_percent / 100;
    pthread_mutex_unlock(&g->lock);
    double share = limit * (double)g->reconcile_percent / 100;
    out->burst = (int64_t)(share / AT_ONCE);
    out->burst = out->burst > 0 ? out->burst : 1;
    out->per_second = (share - (double)out->burst) / HOUR_S;
    return limit > 0;
}

/* More calls than the bucket holds, as for a very long list: it is emptied, and closed until it has
 * refilled for the rest. */
static void close_for_rest(struct github *g, const struct ledger_bucket *b, int64_t rest)
{
    struct err ignored = {0};
    if (rest > 0 && b->per_second > 0) {
        int64_t ms = (int64_t)((double)rest / b->per_second * 1000);
        (void)!ledger_rate_pause(g->ledger, b->name, clock_wall_ms() + ms, &ignored);
    }
}

/* Without the ledger the call itself fails, with an error that says so. */
static bool take(struct github *g, const struct ledger_bucket *b, int64_t calls, int64_t *out_ms)
{
    struct err ignored = {0};
    int64_t wait_ms = 0;
    int64_t now = calls < b->burst ? calls : b->burst;
    if (ledger_rate_take(g->ledger, b, now, &wait_ms, &ignored) != 0) {
        return true;
    }
    if (wait_ms == 0) {
        close_for_rest(g, b, calls - now);
    }
    *out_ms = wait_ms;
    return wait_ms == 0;
}

static void count_deferred(enum github_purpose purpose)
{
    struct buf labels;
    buf_init(&labels, 64);
    metrics_label(&labels, "purpose", github_purpose_name(purpose));
    metric_inc(metrics_counter("mayfly_github_deferred_total", labels.data));
    buf_fini(&labels);
}

/* *wait_ms: until the budget has so many calls; 0 not known. */
static bool take_from_budget(struct github *g, const struct github_scope *s,
                             enum github_purpose purpose, int64_t calls, int64_t *wait_ms)
{
    char of[GITHUB_BUCKET_NAME];
    char name[GITHUB_BUCKET_NAME + 16];
    struct ledger_bucket b = {.name = name};
    bool low = false;
    *wait_ms = 0;
    if (purpose == GITHUB_LAUNCH || calls <= 0 || g->ledger == NULL ||
        !github_known_bucket(g, s, of) || !share_of(g, of, &b, &low)) {
        return true;
    }
    (void)snprintf(name, sizeof name, "reconcile/%s", of);
    if ((low && purpose != GITHUB_EARLY_END) || !take(g, &b, calls, wait_ms)) {
        count_deferred(purpose);
        return false;
    }
    return true;
}

bool github_budget_allows(struct github *g, const struct github_scope *s,
                          enum github_purpose purpose, int64_t calls)
{
    int64_t wait_ms = 0;
    return take_from_budget(g, s, purpose, calls, &wait_ms);
}

int github_budget_later(const struct github_scope *s, struct err *e)
{
    (void)err_set(e, ERR_THROTTLED, GITHUB_LATER,
                  "GitHub is asked about %s later: reconciling has used its share of the hourly "
                  "limit (github.reconcile_percent, github.reserve_percent)",
                  s->name);
    return err_said_by(e, ERR_FROM_GITHUB);
}

int github_budget_take(struct github *g, const struct github_scope *s, enum github_purpose purpose,
                       int64_t calls, struct err *e)
{
    int64_t wait_ms = 0;
    if (take_from_budget(g, s, purpose, calls, &wait_ms)) {
        return 0;
    }
    (void)github_budget_later(s, e);
    e->retry_after_ms = wait_ms;
    return -1;
}

/* --- intake from the delivery log --- */

int64_t github_pace_calls(const struct github_hour *h, int64_t most, int64_t *pause_ms)
{
    int64_t usable = h->left - h->kept;
    int64_t rest_ms = h->until_reset_ms > 0 ? h->until_reset_ms : 1;
    double even = (double)(h->limit - h->kept) * (double)rest_ms / (HOUR_S * 1000);
    int64_t at_once = usable - (int64_t)(even / 2);
    *pause_ms = 0;
    if (usable <= 0) {
        *pause_ms = rest_ms;
        return 0;
    }
    if (at_once >= 1) {
        return at_once < most ? at_once : most;
    }
    *pause_ms = rest_ms / usable;
    return 1;
}

int64_t github_intake_calls(struct github *g, const struct github_hook *h, int64_t most,
                            int64_t *pause_ms)
{
    char of[GITHUB_BUCKET_NAME] = GITHUB_APP_BUCKET;
    int64_t now_ms = clock_wall_ms();
    *pause_ms = 0;
    if (h->id != 0 && !github_known_bucket(g, &h->scope, of)) {
        return most;
    }
    const struct github_bucket *b = github_bucket(g, of);
    pthread_mutex_lock(&g->lock);
    bool known = b->limit > 0 && b->left >= 0 && now_ms < b->reset_ms;
    int64_t percent = g->reserve_percent + (h->id != 0 ? g->reconcile_percent : 0);
    const struct github_hour hour = {.limit = b->limit,
                                     .left = b->left,
                                     .kept = b->limit * (percent < 99 ? percent : 99) / 100,
                                     .until_reset_ms = b->reset_ms - now_ms};
    pthread_mutex_unlock(&g->lock);
    return known ? github_pace_calls(&hour, most, pause_ms) : most;
}

/* --- registrations --- */

static int take_registration(struct github *g, const struct ledger_bucket *b, const char *limit,
                             const char *setting, struct err *e)
{
    int64_t begun_us = clock_mono_us();
    int rc = github_take(g, b, setting, e);
    if (rc != 0 || clock_mono_us() - begun_us > WAITED_US) {
        struct buf labels;
        buf_init(&labels, 64);
        metrics_label(&labels, "limit", limit);
        metric_inc(metrics_counter("mayfly_github_registration_waits_total", labels.data));
        buf_fini(&labels);
    }
    return rc == 0 ? 0 : err_said_by(e, e->from == ERR_FROM_LEDGER ? e->from : ERR_FROM_GITHUB);
}

/* Whether it never allows more than the other. */
static bool is_narrower(const struct config_rate *r, const struct config_rate *than)
{
    return r->per_second > 0 && r->per_second <= than->per_second && r->burst <= than->burst;
}

int github_registration_turn(struct github *g, struct github_identity *i,
                             const struct github_scope *s, struct err *e)
{
    char of[GITHUB_BUCKET_NAME];
    char name[SCOPE_SIZE + 16];
    size_t apps = github_serving(g, s);
    const struct config_rate all = {g->jit_rate.per_second * (double)apps,
                                    g->jit_rate.burst * (int64_t)apps};
    struct ledger_bucket jit = {name, g->jit_rate.per_second, g->jit_rate.burst};
    struct ledger_bucket owner = {name, g->registration_rate.per_second,
                                  g->registration_rate.burst};
    if (jit.per_second > 0 && github_bucket_of(g, i, s, of)) {
        (void)snprintf(name, sizeof name, "jit/%s", of);
        if (take_registration(g, &jit, "jit", "github.jit_rate", e) != 0) {
            return -1;
        }
    }
    if (owner.per_second > 0 && !is_narrower(&all, &g->registration_rate)) {
        (void)snprintf(name, sizeof name, "registrations/%s", s->name);
        return take_registration(g, &owner, "owner", "github.registration_rate", e);
    }
    return 0;
}
