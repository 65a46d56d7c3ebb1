#include "worker/worker.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/record.h"

/* A message of a newer format waits half its age: at first an upgraded worker receives it soon, and
 * a backlog of any length leaves the lane to what this worker can read. */
#define NEWER_FORMAT_DELAY_MIN_MS 5000
#define NEWER_FORMAT_DELAY_MAX_MS (5 * 60 * 1000)

void worker_stop_intake(struct worker *w)
{
    wakeup_raise(&w->intake);
    queue_interrupt(w->queue);
}

/* The job of the message; 0: none. */
static int64_t job_id_of(const struct queue_message *m)
{
    int64_t id = 0;
    return slice_to_int64(slice_of(m->key), &id) ? id : 0;
}

/* ERR_CONFLICT is an expired lease: another worker has the message by now, as intended. */
static void report_update_failure(const struct queue_message *m, const char *verb,
                                  const struct err *e)
{
    if (e->class != ERR_CONFLICT) {
        log_warn("message_update_failed", LOG_STR("verb", verb), LOG_STR("lane", m->lane),
                 LOG_STR("message_id", m->id), LOG_INT("job_id", job_id_of(m)), LOG_ERR(e),
                 LOG_STR("action", "the message is redelivered when its lease expires"));
    }
}

void worker_ack(struct worker *w, const struct queue_message *m)
{
    struct err e = {0};
    if (queue_ack(w->queue, m, 1, &e) != 0) {
        report_update_failure(m, "ack", &e);
    }
}

void worker_nack(struct worker *w, const struct queue_message *m, const struct queue_return *r)
{
    struct err e = {0};
    if (queue_nack(w->queue, m, r, &e) != 0) {
        report_update_failure(m, "nack", &e);
    }
}

void worker_dead_letter(struct worker *w, const struct queue_message *m, const char *reason)
{
    struct err e = {0};
    char ctl[CONFIG_CTL_SIZE];
    char action[sizeof m->id + sizeof ctl + 64];
    const struct config *c = w->config != NULL ? config_live_get(w->config) : NULL;
    (void)snprintf(action, sizeof action, "fix the cause, then: %s dlq redrive %s",
                   config_ctl(c, ctl), m->id);
    if (c != NULL) {
        config_live_put(w->config, c);
    }
    log_error("message_dead_lettered", LOG_STR("lane", m->lane), LOG_STR("message_id", m->id),
              LOG_INT("job_id", job_id_of(m)), LOG_INT("attempts", m->attempts),
              LOG_STR("reason", reason), LOG_STR("action", action));
    if (queue_dead_letter(w->queue, m, reason, &e) != 0) {
        report_update_failure(m, "dead-letter", &e);
    }
}

static int64_t newer_format_delay_ms(const struct queue_message *m)
{
    int64_t delay_ms = (clock_wall_ms() - m->enqueued_ms) / 2;
    delay_ms = delay_ms < NEWER_FORMAT_DELAY_MAX_MS ? delay_ms : NEWER_FORMAT_DELAY_MAX_MS;
    return delay_ms > NEWER_FORMAT_DELAY_MIN_MS ? delay_ms : NEWER_FORMAT_DELAY_MIN_MS;
}

void worker_reject(struct worker *w, const struct queue_message *m, const struct err *why)
{
    if (why->code != RECORD_NEWER_FORMAT) {
        worker_dead_letter(w, m, why->message);
        return;
    }
    struct queue_return back = {.delay_ms = newer_format_delay_ms(m), .reason = why->message};
    metric_inc(metrics_counter("mayfly_worker_newer_version_total", ""));
    log_warn("newer_version", LOG_STR("lane", m->lane), LOG_STR("message_id", m->id),
             LOG_INT("job_id", job_id_of(m)), LOG_INT("delay_ms", back.delay_ms), LOG_ERR(why),
             LOG_STR("hint", "upgrade this worker; until then, set ingress.record_format to the "
                             "format that it reads"));
    worker_nack(w, m, &back);
}
