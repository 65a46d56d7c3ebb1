#include "worker/heartbeat.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/thread.h"

#define IDLE_MS 1000 /* the longest sleep */

struct heartbeat {
    struct worker *worker;
    struct wakeup stop;    /* woken when a launch begins */
    struct threads thread; /* one, once started */
    pthread_mutex_t lock;
    pthread_cond_t sent;                /* a heartbeat ended */
    struct heartbeat_launch *in_flight; /* under the lock, as all of its entries */
};

/* --- called by the launch threads --- */

void heartbeat_begin(struct heartbeat *h, struct heartbeat_launch *l, struct queue_message *m,
                     int64_t lease_ms, int64_t timeout_ms)
{
    int64_t now = clock_mono_ms();
    *l = (struct heartbeat_launch){.message = m,
                                   .step = "begin",
                                   .lease_ms = lease_ms,
                                   .last_ms = now,
                                   .due_ms = now + lease_ms / 3,
                                   .step_deadline_ms = now + timeout_ms,
                                   .deadline_ms = now + timeout_ms};
    pthread_mutex_lock(&h->lock);
    l->next = h->in_flight;
    h->in_flight = l;
    pthread_mutex_unlock(&h->lock);
    wakeup_signal(&h->stop);
}

void heartbeat_step(struct heartbeat *h, struct heartbeat_launch *l, const char *step,
                    int64_t limit_ms)
{
    pthread_mutex_lock(&h->lock);
    l->step = step;
    l->step_deadline_ms = clock_mono_ms() + limit_ms;
    l->stuck = false;
    pthread_mutex_unlock(&h->lock);
}

void heartbeat_set_row(struct heartbeat *h, struct heartbeat_launch *l, const char *vm)
{
    pthread_mutex_lock(&h->lock);
    ASSERT(slice_to_cstr(slice_of(vm), l->vm, sizeof l->vm));
    pthread_mutex_unlock(&h->lock);
}

bool heartbeat_still_held(struct heartbeat *h, struct heartbeat_launch *l, int64_t *age_ms)
{
    pthread_mutex_lock(&h->lock);
    *age_ms = clock_mono_ms() - l->last_ms;
    bool holds = !l->lost && *age_ms <= l->lease_ms;
    pthread_mutex_unlock(&h->lock);
    return holds;
}

void heartbeat_end(struct heartbeat *h, struct heartbeat_launch *l)
{
    pthread_mutex_lock(&h->lock);
    while (l->sending) {
        pthread_cond_wait(&h->sent, &h->lock);
    }
    struct heartbeat_launch **link = &h->in_flight;
    while (*link != l) {
        link = &(*link)->next;
    }
    *link = l->next;
    pthread_mutex_unlock(&h->lock);
}

/* --- the heartbeat thread --- */

/* Past a deadline a launch gets no heartbeats until its next step begins. */
static bool is_within_deadlines(struct heartbeat_launch *l, int64_t now)
{
    if (now < l->step_deadline_ms && now < l->deadline_ms) {
        return true;
    }
    if (!l->stuck) {
        log_warn("launch_stuck", LOG_STR("message_id", l->message->id), LOG_STR("vm", l->vm),
                 LOG_STR("step", l->step),
                 LOG_STR("action", "its lease is no longer extended; the job is launched again "
                                   "when the lease expires"));
    }
    l->stuck = true;
    return false;
}

/* The launch that is due first; NULL if none needs a heartbeat. */
static struct heartbeat_launch *next_due(struct heartbeat *h, int64_t now)
{
    struct heartbeat_launch *first = NULL;
    for (struct heartbeat_launch *l = h->in_flight; l != NULL; l = l->next) {
        if (!l->lost && is_within_deadlines(l, now) &&
            (first == NULL || l->due_ms < first->due_ms)) {
            first = l;
        }
    }
    return first;
}

/* An outage of one store must not make the other one believe that the launch is dead. But if the
 * message was lost, the row is not stamped. 0: both stores have the heartbeat. */
static int extend_and_stamp(struct worker *w, struct queue_message *m, int64_t lease_ms,
                            const char *vm, bool *extended, bool *row_lost, struct err *e)
{
    struct err row = {0};
    int rc = queue_extend(w->queue, m, lease_ms, e);
    *extended = rc == 0;
    *row_lost = false;
    bool lost = rc != 0 && e->class == ERR_CONFLICT;
    if (vm[0] == '\0' || lost || ledger_vm_heartbeat(w->ledger, vm, &row) == 0) {
        return rc;
    }
    if (rc == 0 || row.class == ERR_CONFLICT) {
        *e = row;
    }
    *row_lost = row.class == ERR_CONFLICT;
    return -1;
}

/* Extends a copy, so that the store is called without the lock, and stores the new receipt. A row that the
 * launch has left meanwhile, to be tried elsewhere with another one, says nothing about it. */
static void send_heartbeat(struct heartbeat *h, struct heartbeat_launch *l)
{
    struct err e = {0};
    int64_t began_ms = clock_mono_ms();
    struct queue_message copy = *l->message;
    char vm[sizeof l->vm];
    memcpy(vm, l->vm, sizeof vm);
    l->sending = true;
    pthread_mutex_unlock(&h->lock);
    bool extended;
    bool row_lost;
    int rc = extend_and_stamp(h->worker, &copy, l->lease_ms, vm, &extended, &row_lost, &e);
    pthread_mutex_lock(&h->lock);
    l->sending = false;
    bool left = row_lost && strcmp(vm, l->vm) != 0;
    rc = left && extended ? 0 : rc;
    l->lost = rc != 0 && e.class == ERR_CONFLICT && !left;
    l->due_ms = began_ms + l->lease_ms / 3;
    if (extended) {
        memcpy(l->message->receipt, copy.receipt, sizeof copy.receipt);
        l->message->leased_until_ms = copy.leased_until_ms;
    }
    if (rc == 0) {
        l->last_ms = began_ms;
    } else {
        l->due_ms =
            clock_mono_ms() + l->lease_ms / 10; /* several attempts before the lease expires */
        log_warn("heartbeat_failed", LOG_STR("message_id", copy.id), LOG_STR("vm", vm),
                 LOG_ERR(&e));
    }
    pthread_cond_broadcast(&h->sent);
}

int64_t heartbeat_send_due(struct heartbeat *h)
{
    int64_t wait_ms = IDLE_MS;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        int64_t now = clock_mono_ms();
        struct heartbeat_launch *l = next_due(h, now);
        if (l == NULL || l->due_ms > now) {
            wait_ms = l != NULL && l->due_ms - now < wait_ms ? l->due_ms - now : wait_ms;
            break;
        }
        send_heartbeat(h, l);
    }
    pthread_mutex_unlock(&h->lock);
    return wait_ms;
}

/* --- lifetime --- */

static void *beat_until_stopped(void *arg)
{
    struct heartbeat *h = arg;
    bool stopped = false;
    while (!stopped) {
        uint64_t seen = wakeup_count(&h->stop);
        stopped = wakeup_wait(&h->stop, seen, heartbeat_send_due(h));
    }
    return NULL;
}

struct heartbeat *heartbeat_new(struct worker *w)
{
    struct heartbeat *h = calloc(1, sizeof *h);
    ASSERT(h != NULL && pthread_mutex_init(&h->lock, NULL) == 0 &&
           pthread_cond_init(&h->sent, NULL) == 0);
    h->worker = w;
    wakeup_init(&h->stop);
    return h;
}

void heartbeat_free(struct heartbeat *h)
{
    if (h == NULL) {
        return;
    }
    wakeup_raise(&h->stop);
    threads_join(&h->thread);
    pthread_cond_destroy(&h->sent);
    pthread_mutex_destroy(&h->lock);
    wakeup_fini(&h->stop);
    free(h);
}

int heartbeat_start(struct heartbeat *h, struct err *e)
{
    return threads_start(&h->thread, 1, "the heartbeat thread", beat_until_stopped, h, e);
}
