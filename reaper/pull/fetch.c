/* The payloads of the deliveries that wait, and what becomes of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/github/budget.h"
#include "common/github/webhook_report.h"
#include "common/job/publish.h"
#include "common/program/presence.h"
#include "reaper/delivery.h"
#include "reaper/pull/internal.h"

#define PAYLOAD_BYTES ((size_t)1024 * 1024) /* a workflow_job has about 12 kB */
#define REFUSALS_MAX 6 /* within half a minute or more: the payload will not come */

/* One delivery of a batch. */
struct fetched {
    struct seen_waiting *waiting;
    struct buf payload;
    int failed;
    struct err e;
    enum pull_result result;
    struct job_event event;
    bool launch;
    struct job_messages messages; /* of PULL_QUEUED */
};

struct batch {
    struct pull *pull;
    const struct config *config;
    struct fetched list[PULL_BATCH];
    size_t count;
    size_t next; /* atomic: the next payload to fetch */
};

/* --- payloads --- */

static void *fetch_payloads(void *arg)
{
    struct batch *b = arg;
    for (;;) {
        size_t i = __atomic_fetch_add(&b->next, 1, __ATOMIC_RELAXED);
        if (i >= b->count) {
            return NULL;
        }
        struct fetched *f = &b->list[i];
        f->failed = github_delivery_payload(b->pull->r->github, &b->pull->hook,
                                            f->waiting->entry.id, &f->payload, &f->e);
    }
}

/* Where threads cannot be started, this one fetches what they do not. */
static void fetch_all(struct batch *b)
{
    struct threads others = {.count = 0};
    struct err ignored = {0};
    size_t n = b->count < b->pull->fetch_threads ? b->count : b->pull->fetch_threads;
    if (n > 1) {
        (void)!threads_start(&others, n - 1, "a thread that fetches deliveries", fetch_payloads, b,
                             &ignored);
    }
    (void)fetch_payloads(b);
    threads_join(&others);
}

static void collect_batch(struct pull *p, size_t most, struct batch *b)
{
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < p->seen.waiting_count && b->count < most; i++) {
        struct seen_waiting *w = &p->seen.waiting[i];
        if (seen_is_handled(&p->seen, w->guid)) {
            w->done = true; /* an ingress accepted a later attempt meanwhile */
        } else if (w->next_ms <= now_ms) {
            struct fetched *f = &b->list[b->count++];
            f->waiting = w;
            buf_init(&f->payload, PAYLOAD_BYTES);
        }
    }
}

/* --- whether a launch is needed --- */

static bool is_in_queue(const struct pull *p, int64_t job_id)
{
    struct err ignored = {0};
    struct queue *q = p->r->queue;
    struct queue_entry *found = NULL;
    size_t n = 0;
    char key[24];
    (void)snprintf(key, sizeof key, "%" PRId64, job_id);
    if (!queue_can(q, QUEUE_FIND) || queue_can(q, QUEUE_SCANS) ||
        queue_find(q, key, 1, &found, &n, &ignored) != 0) {
        return false;
    }
    queue_entries_free(found, n);
    return n > 0;
}

/* What GitHub says of a job that was queued long ago. In doubt it waits: a surplus VM idles out. */
static bool waits_at_github(const struct pull *p, const struct job_event *ev)
{
    struct err ignored = {0};
    struct github_job now;
    const struct github_scope scope =
        github_scope_parse(ev->job.repository, ev->job.installation_id);
    return !github_budget_allows(p->r->github, &scope, GITHUB_RECONCILE, 1) ||
           github_get_job(p->r->github, ev->job.repository, ev->job.installation_id, ev->job.id,
                          &now, &ignored) != 0 ||
           delivery_job_waits(&now);
}

/* A job that the ledger knows beyond `seen` got its request: its event was put together with it. */
static bool launch_is_needed(const struct batch *b, const struct fetched *f)
{
    const struct pull *p = b->pull;
    const struct job_event *ev = &f->event;
    struct err ignored = {0};
    struct ledger_job known;
    bool is_old =
        clock_wall_ms() - f->waiting->entry.delivered_ms >= b->config->reaper.relaunch_after_ms;
    if (!f->waiting->doubtful && !is_old) {
        return true;
    }
    if (ledger_job_get(p->r->ledger, ev->job.id, &known, &ignored) == 0) {
        return known.state == JOB_SEEN;
    }
    if (f->waiting->doubtful && is_in_queue(p, ev->job.id)) {
        return false;
    }
    return !is_old || waits_at_github(p, ev);
}

/* --- one delivery --- */

static void judge_payload(struct batch *b, struct fetched *f)
{
    const struct github_delivery *d = &f->waiting->entry;
    const char *reason = "";
    enum webhook_verdict verdict =
        delivery_parse(d, buf_slice(&f->payload), b->config, &f->event, &reason);
    f->launch = verdict == WEBHOOK_LAUNCH;
    if (verdict == WEBHOOK_MALFORMED) {
        f->result = PULL_LOST;
        log_warn("delivery_malformed", LOG_STR("reason", reason), LOG_STR("delivery_id", d->guid),
                 LOG_STR("github_event", d->event));
    } else if (verdict == WEBHOOK_IGNORED) {
        f->result = PULL_IGNORED;
        if (f->event.job.id > 0 && f->event.action == JOB_ACTION_QUEUED) {
            webhook_report_ignored(b->config, &f->event, reason);
        }
    } else if (verdict == WEBHOOK_REFUSED) {
        f->result = PULL_REFUSED;
        webhook_report_refused(&f->event, reason);
    } else if (f->launch && !launch_is_needed(b, f)) {
        f->result = PULL_STALE;
        log_info("delivery_stale", LOG_STR("delivery_id", d->guid),
                 LOG_INT("job_id", f->event.job.id),
                 LOG_STR("reason", "its job is known already, or no longer waits"));
    } else {
        f->result = PULL_QUEUED;
    }
}

/* A refusal that concerns all of them (credentials, permissions) is none of the delivery's. */
static bool is_refused(const struct err *e)
{
    return e->class == ERR_NOT_FOUND || e->class == ERR_PERMANENT;
}

static void judge(struct batch *b, struct fetched *f)
{
    struct seen_waiting *w = f->waiting;
    if (f->failed == 0) {
        judge_payload(b, f);
        return;
    }
    w->tries++;
    w->refusals += is_refused(&f->e);
    w->next_ms = clock_mono_ms() + pull_retry_wait_ms(b->config, w->tries);
    if (w->refusals >= REFUSALS_MAX) {
        f->failed = 0;
        f->result = PULL_LOST;
        log_warn("delivery_lost", LOG_STR("delivery_id", w->entry.guid),
                 LOG_STR("webhook_action", w->entry.action), LOG_ERR(&f->e),
                 LOG_STR("action", "none: if its job still waits, the search of the job lists "
                                   "(reaper.job_scan_interval) finds it"));
    }
}

/* --- the queue --- */

static size_t collect_items(struct batch *b,
                            struct queue_item out[PULL_BATCH * JOB_DELIVERY_MESSAGES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct fetched *f = &b->list[i];
        if (f->failed == 0 && f->result == PULL_QUEUED) {
            job_messages_of_delivery(&f->event, f->launch, presence_format(b->pull->r->presence),
                                     &f->messages);
            n += job_messages_items(&f->messages, out + n);
        }
    }
    return n;
}

static int enqueue(struct batch *b, struct err *e)
{
    struct queue_item items[PULL_BATCH * JOB_DELIVERY_MESSAGES_MAX];
    size_t n = collect_items(b, items);
    if (n == 0) {
        return 0;
    }
    if (!pull_still_holds(b->pull, b->config)) {
        return err_set(e, ERR_CONFLICT, 0, "the lease of pulling is lost");
    }
    return queue_put(b->pull->r->queue, items, n, e);
}

static void log_queued(const struct fetched *f)
{
    const struct job *j = &f->event.job;
    if (f->launch) {
        log_info("job_accepted", LOG_INT("job_id", j->id), LOG_STR("class", j->class_name),
                 LOG_STR("repository", j->repository), LOG_STR("stored", "pulled"),
                 LOG_STR("delivery_id", f->event.delivery));
    } else {
        log_debug("delivery_pulled", LOG_STR("delivery_id", f->event.delivery),
                  LOG_INT("job_id", j->id),
                  LOG_STR("webhook_action", job_action_name(f->event.action)));
    }
}

/* The queue has confirmed the batch. */
static void finish_batch(struct batch *b)
{
    struct pull *p = b->pull;
    for (size_t i = 0; i < b->count; i++) {
        struct fetched *f = &b->list[i];
        const struct github_delivery *d = &f->waiting->entry;
        if (f->failed != 0) {
            continue;
        }
        metric_inc(p->metrics.results[f->result]);
        if (f->result == PULL_QUEUED) {
            log_queued(f);
            metric_observe_ms(p->metrics.delay, clock_wall_ms() - d->delivered_ms);
        }
        f->waiting->done = true;
        seen_handle(&p->seen, f->waiting->guid, d->delivered_ms);
        p->unrecorded[p->unrecorded_count++] =
            (struct seen_handled){f->waiting->guid, d->delivered_ms};
    }
    seen_remove_done(&p->seen);
}

int pull_record(struct pull *p, struct err *e)
{
    if (p->unrecorded_count > 0 &&
        records_add(&p->records, p->unrecorded, p->unrecorded_count, e) != 0) {
        return -1;
    }
    p->unrecorded_count = 0;
    return 0;
}

/* The error of a batch of which nothing came. One that is about a single delivery is that one's alone. */
static int trouble_of(const struct batch *b, struct err *e)
{
    const struct err *worst = NULL;
    for (size_t i = 0; i < b->count; i++) {
        const struct fetched *f = &b->list[i];
        if (f->failed == 0) {
            return 0;
        }
        if (!is_refused(&f->e) && (worst == NULL || f->e.retry_after_ms > worst->retry_after_ms)) {
            worst = &f->e;
        }
    }
    if (worst == NULL) {
        return 0;
    }
    *e = *worst;
    return -1;
}

static void free_batch(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        buf_fini(&b->list[i].payload);
        job_messages_fini(&b->list[i].messages);
    }
}

int pull_fetch(struct pull *p, const struct config *c, bool *more, struct err *e)
{
    struct batch b = {.pull = p, .config = c};
    size_t most = p->seen.waiting_count < PULL_BATCH ? p->seen.waiting_count : PULL_BATCH;
    *more = false;
    if (pull_record(p, e) != 0) {
        return -1;
    }
    most = most > 0 ? pull_calls_allowed(p, most) : 0;
    collect_batch(p, most, &b);
    fetch_all(&b);
    for (size_t i = 0; i < b.count; i++) {
        judge(&b, &b.list[i]);
    }
    int rc = trouble_of(&b, e);
    if (rc == 0 && enqueue(&b, e) == 0) {
        *more = b.count > 0;
        finish_batch(&b);
        rc = pull_record(p, e);
    } else {
        rc = -1;
    }
    free_batch(&b);
    return rc;
}
