#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/github/webhook.h"
#include "common/github/webhook_report.h"
#include "ingress/exchange.h"
#include "ingress/loop_internal.h"
#include "ingress/request_head.h"
#include "ingress/stats.h"

#define SPOOL_GRACE_MS 3000
#define REASON_LIMIT_BYTES 4096
/* Of a header whose sender is not known. */
#define LOGGED_MAX_BYTES 64

/* What to do with a request. */
struct decision {
    bool queue;     /* `event` goes to the intake, for the events lane */
    bool launch;    /* and for the launch lane of its class */
    bool placed;    /* it has its place there; otherwise it waits for one */
    int64_t format; /* of its record */
    struct job_event event;
    struct answer answer; /* if `queue` is false */
};

/* --- log lines --- */

static struct slice shortened(struct slice s)
{
    return (struct slice){s.ptr, s.len < LOGGED_MAX_BYTES ? s.len : LOGGED_MAX_BYTES};
}

static void log_delivery(enum log_level level, const char *event, const struct request_head *h,
                         const struct answer *a)
{
    log_write(level, event, LOG_INT("status", a->code), LOG_STR("reason", a->reason),
              LOG_SLICE("delivery_id", shortened(h->delivery)),
              LOG_SLICE("github_event", shortened(h->event)), (struct log_field){0});
}

void request_log_refusal(const struct request_head *h, const struct answer *a)
{
    log_delivery(LOG_DEBUG, "request_rejected", h, a);
}

void request_log_sender(const struct ip_address *client, const struct answer *a)
{
    char text[IP_ADDRESS_TEXT];
    ip_address_text(client, text);
    log_warn("sender_refused", LOG_STR("client", text), LOG_INT("status", a->code),
             LOG_STR("reason", a->reason));
}

void request_log_unreadable(const struct http_request *r, const struct answer *a)
{
    log_debug("request_rejected", LOG_INT("status", a->code), LOG_STR("reason", a->reason),
              LOG_STR("error", r->why));
}

/* --- a delivery in the intake --- */

static struct pending *pending_new(struct loop *l, const struct decision *o)
{
    struct pending *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    struct delivery *d = &p->delivery;
    job_messages_of_delivery(&o->event, o->launch, o->format, &d->messages);
    d->home = &l->mailbox;
    d->submitted_us = clock_mono_us();
    memcpy(d->guid, o->event.delivery, sizeof d->guid);
    p->launch = o->launch;
    p->job_id = o->event.job.id;
    memcpy(p->class_name, o->event.job.class_name, sizeof p->class_name);
    memcpy(p->repository, o->event.job.repository, sizeof p->repository);
    return p;
}

static void pending_free(struct pending *p)
{
    job_messages_fini(&p->delivery.messages);
    free(p);
}

/* Reserves a place in the intake, from this loop's share. */
static bool reserve_place(struct loop *l)
{
    if (l->with_intake >= l->bounds.in_flight || !intake_reserve(l->shared.intake)) {
        return false;
    }
    l->with_intake++;
    return true;
}

/* The delivery has its place. */
static void add_to_outgoing(struct loop *l, struct pending *p)
{
    TAILQ_INSERT_TAIL(&l->waiting, p, link);
    *l->outgoing_last = &p->delivery;
    l->outgoing_last = &p->delivery.next;
}

static void submit_delivery(struct loop *l, struct conn *c, const struct decision *o)
{
    const struct job_event *ev = &o->event;
    struct pending *p = pending_new(l, o);
    p->conn = c;
    c->watcher = &p->conn;
    log_debug("delivery_verified", LOG_STR("delivery_id", ev->delivery),
              LOG_INT("job_id", ev->job.id), LOG_STR("webhook_action", job_action_name(ev->action)),
              LOG_STR("lane", p->delivery.messages.list[0].lane));
    if (o->placed) {
        add_to_outgoing(l, p);
    } else {
        TAILQ_INSERT_TAIL(&l->admission_queue, p, link);
        l->admission_queue_length++;
        stats_admission_wait();
    }
    event_active(l->turn_event, 0, 0);
}

void request_submit(struct loop *l)
{
    struct delivery *list = l->outgoing;
    l->outgoing = NULL;
    l->outgoing_last = &l->outgoing;
    if (list != NULL) {
        intake_submit(l->shared.intake, list);
    }
}

/* Answers a delivery that was removed from its list, if its connection is still there. */
static void answer_pending(struct pending *p, const struct answer *a)
{
    struct conn *c = p->conn;
    p->conn = NULL;
    p->answered = true;
    if (c == NULL) {
        stats_answer(a->code, a->reason);
        return;
    }
    c->watcher = NULL;
    exchange_answer(c, a);
    exchange_go_on(c);
}

static struct answer answer_for(enum delivery_result result)
{
    switch (result) {
    case DELIVERY_QUEUED:
        return (struct answer){202, "queued", false};
    case DELIVERY_SPOOLED:
        return (struct answer){202, "spooled", false};
    case DELIVERY_REFUSED:
        return (struct answer){503, "spool_full", false};
    case DELIVERY_LATE:
        return (struct answer){503, "queue_slow", false};
    case DELIVERY_FAILED:
        break;
    }
    return (struct answer){503, "queue_failed", false};
}

/* Whether or not GitHub still waits for the answer: the job is durable. */
static void log_accepted(const struct pending *p, const struct answer *a)
{
    if (p->launch && a->code == 202) {
        log_info("job_accepted", LOG_INT("job_id", p->job_id), LOG_STR("class", p->class_name),
                 LOG_STR("repository", p->repository), LOG_STR("stored", a->reason),
                 LOG_STR("delivery_id", p->delivery.guid));
    }
}

void request_finish(struct loop *l, struct pending *p)
{
    const struct answer answer = answer_for(p->delivery.result);
    log_accepted(p, &answer);
    if (!p->answered) {
        TAILQ_REMOVE(&l->waiting, p, link);
        answer_pending(p, &answer);
        if (answer.code == 202) {
            stats_accepted(clock_mono_us() - p->delivery.submitted_us);
        }
    }
    l->with_intake--;
    intake_release(l->shared.intake);
    pending_free(p);
}

/* --- the admission queue --- */

static void leave_admission_queue(struct loop *l, struct pending *p)
{
    TAILQ_REMOVE(&l->admission_queue, p, link);
    l->admission_queue_length--;
}

/* For a delivery that never reached the intake. */
static void reject_overloaded(struct loop *l, struct pending *p)
{
    const struct answer overloaded = {503, "overloaded", false};
    leave_admission_queue(l, p);
    answer_pending(p, &overloaded);
    pending_free(p);
}

void request_admit_waiting(struct loop *l)
{
    struct pending *p;
    while ((p = TAILQ_FIRST(&l->admission_queue)) != NULL) {
        if (p->conn == NULL) {
            reject_overloaded(l, p);
        } else if (reserve_place(l)) {
            leave_admission_queue(l, p);
            add_to_outgoing(l, p);
        } else {
            break;
        }
    }
}

static void expire_admission_queue(struct loop *l, int64_t now_us)
{
    int64_t wait_ms = l->shared.config->ingress.admission_timeout_ms;
    struct pending *p;
    while ((p = TAILQ_FIRST(&l->admission_queue)) != NULL &&
           p->delivery.submitted_us <= now_us - wait_ms * 1000) {
        log_warn("delivery_rejected", LOG_STR("delivery_id", p->delivery.guid),
                 LOG_INT("waited_ms", wait_ms),
                 LOG_INT("waiting", (int64_t)l->admission_queue_length));
        reject_overloaded(l, p);
    }
}

void request_expire(struct loop *l, int64_t now_us)
{
    const struct answer slow = {503, "queue_slow", false};
    const struct config_ingress *c = &l->shared.config->ingress;
    /* At its deadline an enqueue is abandoned for the spool, which then needs a moment to write. */
    int64_t spool_ms = c->spool_path[0] != '\0' ? SPOOL_GRACE_MS : 0;
    int64_t before_us = now_us - (c->enqueue_timeout_ms + spool_ms) * 1000;
    struct pending *p;
    expire_admission_queue(l, now_us);
    while ((p = TAILQ_FIRST(&l->waiting)) != NULL && p->delivery.submitted_us <= before_us) {
        log_warn("enqueue_timeout", LOG_STR("delivery_id", p->delivery.guid),
                 LOG_INT("enqueue_timeout_ms", c->enqueue_timeout_ms));
        TAILQ_REMOVE(&l->waiting, p, link);
        answer_pending(p, &slow);
    }
}

/* --- one request --- */

static void set_answer(struct decision *o, int code, const char *reason)
{
    o->answer = (struct answer){code, reason, false};
}

/* Accepts the delivery into the intake or the admission queue, or rejects it. */
static void admit_delivery(struct loop *l, const struct request_head *h, struct decision *o)
{
    /* A free place belongs to the first delivery in the admission queue. */
    o->placed = l->admission_queue_length == 0 && reserve_place(l);
    o->queue = o->placed || l->shared.config->ingress.admission_timeout_ms > 0;
    if (!o->queue) {
        set_answer(o, 503, "overloaded");
        log_delivery(LOG_WARN, "delivery_rejected", h, &o->answer);
    }
}

static void ignore_delivery(const struct request_head *h, const struct config *config,
                            const char *reason, struct decision *o)
{
    const struct job_event *ev = &o->event;
    set_answer(o, 200, reason);
    if (strcmp(reason, "job_null") == 0) {
        /* A rare error of GitHub's, logged each time. */
        log_delivery(LOG_WARN, "delivery_unexpected", h, &o->answer);
    } else if (ev->job.id > 0 && ev->action == JOB_ACTION_QUEUED) {
        webhook_report_ignored(config, ev, reason);
    } else {
        log_delivery(LOG_DEBUG, "delivery_ignored", h, &o->answer);
    }
}

/* Handles a request with a valid signature. */
static void process_verified(struct loop *l, const struct request_head *h, struct slice body,
                             const struct config *config, struct decision *o)
{
    const struct webhook_request r = {h->event, h->delivery, h->content_type, body};
    const char *reason = "";
    enum webhook_verdict verdict = webhook_parse(&r, config, &o->event, &reason);
    if (verdict == WEBHOOK_MALFORMED) {
        set_answer(o, 400, reason);
        log_delivery(LOG_WARN, "delivery_malformed", h, &o->answer);
    } else if (verdict == WEBHOOK_IGNORED) {
        ignore_delivery(h, config, reason, o);
    } else if (verdict == WEBHOOK_REFUSED) {
        set_answer(o, 200, reason);
        webhook_report_refused(&o->event, reason);
    } else if (dedupe_seen(l->shared.dedupe, o->event.delivery)) {
        set_answer(o, 200, "duplicate");
        log_delivery(LOG_INFO, "delivery_duplicate", h, &o->answer);
    } else {
        o->launch = verdict == WEBHOOK_LAUNCH;
        o->format = config->ingress.record_format;
        admit_delivery(l, h, o);
    }
}

/* For load balancers, on the port that they serve: no signature, and no log line. */
struct answer request_health(const struct loop *l)
{
    struct buf why;
    buf_init(&why, REASON_LIMIT_BYTES);
    bool is_healthy = l->draining || liveness_check(&why);
    buf_fini(&why);
    return is_healthy ? (struct answer){200, "healthy", false}
                      : (struct answer){503, "stuck", true};
}

/* Invariant 2: the head was good; now the signature, and only then the body. */
void request_process(struct loop *l, struct conn *c, const struct request_head *h,
                     struct slice body)
{
    struct decision decision = {.queue = false};
    const struct config *config = config_live_get(l->shared.live);
    if (webhook_verify(body, h->signature, &config->github.webhook_secrets)) {
        process_verified(l, h, body, config, &decision);
    } else {
        set_answer(&decision, 401, "bad_signature");
        log_delivery(LOG_WARN, "delivery_unsigned", h, &decision.answer);
    }
    config_live_put(l->shared.live, config);
    if (decision.queue) {
        submit_delivery(l, c, &decision);
    } else {
        exchange_answer(c, &decision.answer);
    }
}
