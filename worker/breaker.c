#include "worker/breaker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#define VIEW_MS 1000 /* how old what we know of the marks may be */

struct breaker {
    struct ledger *ledger;
    char *class_name;
    char holder[33]; /* of the lease to try */
    struct metric *open;
    pthread_mutex_t lock;
    /* Under the lock: */
    int64_t seen_ms;       /* monotonic: when the marks were read; 0 never */
    int64_t failures;      /* in a row, as read or counted */
    int64_t open_until_ms; /* wall clock; 0: closed */
    bool may_try;          /* the lease is ours, no message was taken yet */
    char tried[64];        /* the message that is tried; "" none */
};

/* --- marks --- */

static const char *mark_name(const struct breaker *b, const char *what, char out[128])
{
    (void)snprintf(out, 128, "breaker.%s.%s", b->class_name, what);
    return out;
}

static int64_t mark_get(const struct breaker *b, const char *what)
{
    struct err e = {0};
    char name[128];
    int64_t value = 0;
    return ledger_mark_get(b->ledger, mark_name(b, what, name), &value, &e) == 0 ? value : 0;
}

static void mark_set(const struct breaker *b, const char *what, int64_t value)
{
    struct err e = {0};
    char name[128];
    if (ledger_mark_set(b->ledger, mark_name(b, what, name), value, &e) != 0) {
        log_warn("breaker_not_noted", LOG_STR("class", b->class_name), LOG_ERR(&e),
                 LOG_STR("next", "the next launch of the class notes it"));
    }
}

/* 0 when it cannot be counted. */
static int64_t mark_add(const struct breaker *b, const char *what)
{
    struct err e = {0};
    char name[128];
    int64_t value = 0;
    return ledger_mark_add(b->ledger, mark_name(b, what, name), 1, &value, &e) == 0 ? value : 0;
}

/* --- what is known --- */

static void set_view(struct breaker *b, int64_t failures, int64_t open_until_ms)
{
    b->failures = failures;
    b->open_until_ms = open_until_ms;
    metric_set(b->open, open_until_ms > 0 ? 1 : 0);
}

static void refresh(struct breaker *b)
{
    int64_t now = clock_mono_ms();
    if (b->seen_ms != 0 && now - b->seen_ms < VIEW_MS) {
        return;
    }
    set_view(b, mark_get(b, "failures"), mark_get(b, "open_until_ms"));
    b->seen_ms = now;
}

/* --- the one launch that is tried --- */

static bool lease_to_try(struct breaker *b, const struct config *c)
{
    struct err e = {0};
    char name[128];
    int64_t fence = 0;
    bool held = false;
    return ledger_lease(b->ledger, mark_name(b, "try", name), b->holder, c->worker.lease_ms, &held,
                        &fence, &e) == 0 &&
           held;
}

/* Returns whether that message was the one. */
static bool end_try(struct breaker *b, const char *message_id)
{
    struct err e = {0};
    char name[128];
    if (b->tried[0] == '\0' || !slice_eq_cstr(slice_of(b->tried), message_id)) {
        return false;
    }
    b->tried[0] = '\0';
    if (ledger_lease_release(b->ledger, mark_name(b, "try", name), b->holder, &e) != 0) {
        log_debug("breaker_lease_not_released", LOG_STR("class", b->class_name), LOG_ERR(&e));
    }
    return true;
}

static int64_t wait_locked(struct breaker *b, const struct config *c)
{
    refresh(b);
    if (b->open_until_ms == 0 || c->breaker.failures == 0) {
        return 0;
    }
    int64_t left = b->open_until_ms - clock_wall_ms();
    if (left > 0) {
        return left;
    }
    if (b->tried[0] != '\0') {
        return VIEW_MS;
    }
    b->may_try = lease_to_try(b, c);
    return b->may_try ? 0 : VIEW_MS;
}

int64_t breaker_wait_ms(struct breaker *b, const struct config *c)
{
    pthread_mutex_lock(&b->lock);
    int64_t wait_ms = wait_locked(b, c);
    pthread_mutex_unlock(&b->lock);
    return wait_ms;
}

void breaker_taken(struct breaker *b, const char *message_id)
{
    pthread_mutex_lock(&b->lock);
    if (b->may_try && b->open_until_ms > 0) {
        bool fits = slice_to_cstr(slice_of(message_id), b->tried, sizeof b->tried);
        (void)fits;
        log_info("breaker_tries", LOG_STR("class", b->class_name), LOG_STR("message", message_id));
    }
    b->may_try = false;
    pthread_mutex_unlock(&b->lock);
}

/* --- verdicts --- */

static void close_locked(struct breaker *b)
{
    bool was_open = b->open_until_ms > 0;
    mark_set(b, "failures", 0);
    mark_set(b, "opens", 0);
    mark_set(b, "job", 0);
    mark_set(b, "open_until_ms", 0);
    set_view(b, 0, 0);
    if (was_open) {
        log_info("breaker_closed", LOG_STR("class", b->class_name),
                 LOG_STR("why", "a launch was taken"));
    }
}

/* Writes nothing while all is well, which is at every launch but the first after a refusal. */
void breaker_launched(struct breaker *b, const char *message_id)
{
    pthread_mutex_lock(&b->lock);
    (void)end_try(b, message_id);
    refresh(b);
    if (b->failures > 0 || b->open_until_ms > 0) {
        close_locked(b);
    }
    pthread_mutex_unlock(&b->lock);
}

void breaker_no_verdict(struct breaker *b, const char *message_id)
{
    pthread_mutex_lock(&b->lock);
    (void)end_try(b, message_id);
    pthread_mutex_unlock(&b->lock);
}

static int64_t pause_ms(const struct config_breaker *c, int64_t opens)
{
    int64_t pause = c->pause_ms;
    for (int64_t i = 1; i < opens && pause < c->max_pause_ms; i++) {
        pause *= 2;
    }
    return pause < c->max_pause_ms ? pause : c->max_pause_ms;
}

static void open_locked(struct breaker *b, const struct config *c, bool first,
                        const struct err *why)
{
    int64_t opens = mark_add(b, "opens");
    int64_t pause = pause_ms(&c->breaker, opens);
    int64_t until = clock_wall_ms() + pause;
    char text[40];
    mark_set(b, "open_until_ms", until);
    set_view(b, b->failures, until);
    clock_format_utc(until, text, sizeof text);
    if (first) {
        log_warn("breaker_opened", LOG_STR("class", b->class_name),
                 LOG_INT("refused_in_a_row", b->failures), LOG_ERR(why), LOG_STR("until", text),
                 LOG_STR("next", "the class's jobs wait; one launch is tried then, and mending the "
                                 "cause is enough to start it again"));
    } else {
        log_info("breaker_stays_open", LOG_STR("class", b->class_name), LOG_ERR(why),
                 LOG_STR("until", text));
    }
}

/* The count goes up for a job that is not the one counted last. */
static bool count_locked(struct breaker *b, int64_t job_id)
{
    if (mark_get(b, "job") == job_id) {
        return false;
    }
    int64_t failures = mark_add(b, "failures");
    if (failures == 0) {
        return false;
    }
    mark_set(b, "job", job_id);
    b->failures = failures;
    return true;
}

/* Past the limit and not yet stopped: another worker is about to stop it, or the limit was lowered.
 * Either way it is stopped now, and the pause does not double for that. */
static void follow_locked(struct breaker *b, const struct config *c)
{
    int64_t until = clock_wall_ms() + c->breaker.pause_ms;
    mark_set(b, "open_until_ms", until);
    set_view(b, b->failures, until);
}

/* Of workers that count at once exactly one reaches the limit. */
static void judge_locked(struct breaker *b, const struct config *c, bool tried, int64_t job_id,
                         const struct err *why)
{
    b->seen_ms = 0;
    refresh(b);
    bool counted = count_locked(b, job_id);
    bool reached = counted && b->failures == c->breaker.failures;
    if (tried || reached) {
        open_locked(b, c, reached, why);
    } else if (counted && b->failures > c->breaker.failures && b->open_until_ms == 0) {
        follow_locked(b, c);
    }
}

struct breaker_refusal breaker_refused(struct breaker *b, const struct config *c,
                                       const char *message_id, int64_t job_id,
                                       const struct err *why)
{
    struct breaker_refusal out = {.stopped = false};
    pthread_mutex_lock(&b->lock);
    bool tried = end_try(b, message_id);
    if (c->breaker.failures > 0) {
        judge_locked(b, c, tried, job_id, why);
        int64_t left = b->open_until_ms - clock_wall_ms();
        out.stopped = b->open_until_ms > 0;
        /* Behind those that were not tried yet: a job that nobody will ever take must not be the
         * one that is tried each time. */
        out.delay_ms = (left > 0 ? left : 0) + c->breaker.pause_ms;
    }
    pthread_mutex_unlock(&b->lock);
    return out;
}

bool breaker_counts(const struct err *e)
{
    return e->class == ERR_PERMANENT || e->class == ERR_AUTH || e->class == ERR_NOT_FOUND;
}

/* --- life --- */

struct breaker *breaker_new(struct ledger *ledger, const char *class_name)
{
    struct breaker *b = calloc(1, sizeof *b);
    struct buf label;
    ASSERT(b != NULL && pthread_mutex_init(&b->lock, NULL) == 0);
    b->ledger = ledger;
    b->class_name = slice_dup(slice_of(class_name));
    random_hex(b->holder, sizeof b->holder / 2);
    buf_init(&label, 256);
    metrics_label(&label, "class", class_name);
    b->open = metrics_gauge("mayfly_worker_breaker_open",
                            "1 while launches of the class are stopped because they were refused.",
                            label.data);
    buf_fini(&label);
    return b;
}

void breaker_free(struct breaker *b)
{
    if (b == NULL) {
        return;
    }
    pthread_mutex_destroy(&b->lock);
    free(b->class_name);
    free(b);
}
