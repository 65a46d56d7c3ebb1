#include "worker/worker.h"

#include "common/base/log.h"

void worker_stop_intake(struct worker *w)
{
    stop_raise(&w->intake);
    queue_interrupt(w->queue);
}

/* ERR_CONFLICT is a lease that ran out: the message is somebody else's by now, as it should be. */
static void report(const struct queue_message *m, const char *verb, const struct err *e)
{
    if (e->class != ERR_CONFLICT) {
        log_warn("message_not_settled", LOG_STR("verb", verb), LOG_STR("lane", m->lane),
                 LOG_STR("message", m->id), LOG_STR("job", m->key), LOG_ERR(e),
                 LOG_STR("next", "its lease runs out and it is taken again"));
    }
}

void worker_done(struct worker *w, const struct queue_message *m)
{
    struct err e = {0};
    if (queue_done(w->queue, m, 1, &e) != 0) {
        report(m, "done", &e);
    }
}

void worker_return(struct worker *w, const struct queue_message *m, const struct queue_return *r)
{
    struct err e = {0};
    if (queue_retry(w->queue, m, r, &e) != 0) {
        report(m, "retry", &e);
    }
}

void worker_bury(struct worker *w, const struct queue_message *m, const char *reason)
{
    struct err e = {0};
    log_error("message_buried", LOG_STR("lane", m->lane), LOG_STR("message", m->id),
              LOG_STR("job", m->key), LOG_INT("attempts", m->attempts), LOG_STR("reason", reason),
              LOG_STR("next", "mend the cause, then: mayflyctl dead kick <message>"));
    if (queue_bury(w->queue, m, reason, &e) != 0) {
        report(m, "bury", &e);
    }
}
