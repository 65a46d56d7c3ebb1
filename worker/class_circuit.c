#include "worker/class_circuit.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/random.h"
#include "common/ledger/circuit.h"

#define VIEW_MS 1000 /* maximum age of the cached record */

struct class_circuit {
    struct ledger *ledger;
    char *class_name;
    char subject[LEDGER_CELL_NAME];
    char holder[33]; /* of the probe */
    struct metric *open;
    pthread_mutex_t lock;
    /* Under the lock: */
    struct circuit view;
    int64_t seen_ms;  /* monotonic: when the record was read; 0 never */
    bool may_probe;   /* this process holds the probe and has no message for it yet */
    char probing[64]; /* id of the message that is the probe; "" none */
};

/* A change of the record, and its arguments. */
struct step {
    enum circuit_change (*apply)(struct circuit *c, const struct step *s);
    const char *holder;
    int64_t now_ms;
    int64_t until_ms;
    int64_t job_id;
    struct circuit_limits limits;
};

static enum circuit_change begin_probe(struct circuit *c, const struct step *s)
{
    return circuit_begin_probe(c, s->holder, s->until_ms, s->now_ms);
}

static enum circuit_change extend_probe(struct circuit *c, const struct step *s)
{
    return circuit_extend_probe(c, s->holder, s->until_ms);
}

static enum circuit_change drop_probe(struct circuit *c, const struct step *s)
{
    return circuit_drop_probe(c, s->holder);
}

static enum circuit_change apply_refusal(struct circuit *c, const struct step *s)
{
    return circuit_refused(c, &s->limits, s->job_id, s->holder, s->now_ms);
}

static enum circuit_change apply_success(struct circuit *c, const struct step *s)
{
    (void)s;
    return circuit_succeeded(c);
}

static enum circuit_change apply_step(struct circuit *c, void *arg)
{
    const struct step *s = arg;
    return s->apply(c, s);
}

/* --- the cached record --- */

static void set_view(struct class_circuit *cc, const struct circuit *c)
{
    cc->view = *c;
    cc->seen_ms = clock_mono_ms();
    metric_set(cc->open, circuit_is_open(c) ? 1 : 0);
}

static void refresh_view(struct class_circuit *cc)
{
    struct err e = {0};
    struct circuit c;
    int64_t now = clock_mono_ms();
    if (cc->seen_ms != 0 && now - cc->seen_ms < VIEW_MS) {
        return;
    }
    if (circuit_load(cc->ledger, cc->subject, &c, &e) != 0) {
        c = (struct circuit){0};
    }
    set_view(cc, &c);
}

/* Applies the step to the record. If the ledger fails, nothing changes. */
static enum circuit_change update_circuit(struct class_circuit *cc, struct step *s)
{
    struct err e = {0};
    struct circuit c;
    enum circuit_change did;
    if (circuit_update(cc->ledger, cc->subject, apply_step, s, &c, &did, &e) != 0) {
        log_warn("circuit_not_updated", LOG_STR("subject", cc->subject), LOG_ERR(&e),
                 LOG_STR("action", "the next launch of the class updates it"));
        return CIRCUIT_UNCHANGED;
    }
    set_view(cc, &c);
    return did;
}

/* --- before a message is received --- */

static int64_t wait_locked(struct class_circuit *cc, const struct config *c)
{
    refresh_view(cc);
    if (!circuit_is_open(&cc->view) || c->circuit.failure_threshold == 0) {
        return 0;
    }
    int64_t now = clock_wall_ms();
    bool held_here = slice_eq_cstr(slice_of(cc->view.probe), cc->holder);
    int64_t wait_ms = circuit_wait_ms(&cc->view, now);
    if (wait_ms > 0 && held_here && cc->may_probe) {
        return 0; /* the probe has no message yet */
    }
    if (wait_ms > 0) {
        return wait_ms;
    }
    struct step s = {.apply = begin_probe,
                     .holder = cc->holder,
                     .now_ms = now,
                     .until_ms = now + c->worker.visibility_timeout_ms};
    cc->may_probe = cc->probing[0] == '\0' && update_circuit(cc, &s) != CIRCUIT_UNCHANGED;
    return cc->may_probe ? 0 : VIEW_MS;
}

int64_t class_circuit_wait_ms(struct class_circuit *cc, const struct config *c)
{
    pthread_mutex_lock(&cc->lock);
    int64_t wait_ms = wait_locked(cc, c);
    pthread_mutex_unlock(&cc->lock);
    return wait_ms;
}

/* A probe lasts one lease until it has a message, and then as long as a launch may take: the next
 * one must not begin while this one's VM boots. */
void class_circuit_received(struct class_circuit *cc, const struct config *c,
                            const char *message_id)
{
    struct step s = {.apply = extend_probe,
                     .holder = cc->holder,
                     .until_ms = clock_wall_ms() + c->reaper.startup_timeout_ms +
                                 c->worker.visibility_timeout_ms};
    pthread_mutex_lock(&cc->lock);
    if (cc->may_probe && circuit_is_open(&cc->view)) {
        ASSERT(slice_to_cstr(slice_of(message_id), cc->probing, sizeof cc->probing));
        log_info("circuit_half_open", LOG_STR("subject", cc->subject),
                 LOG_STR("class", cc->class_name), LOG_STR("message_id", message_id));
        (void)update_circuit(cc, &s);
    }
    cc->may_probe = false;
    pthread_mutex_unlock(&cc->lock);
}

/* --- results --- */

/* Returns whether that message was the probe; afterwards it is not. */
static bool end_probing(struct class_circuit *cc, const char *message_id)
{
    bool was = cc->probing[0] != '\0' && slice_eq_cstr(slice_of(cc->probing), message_id);
    cc->probing[0] = was ? '\0' : cc->probing[0];
    return was;
}

void class_circuit_record_success(struct class_circuit *cc, const char *message_id)
{
    struct step s = {.apply = apply_success};
    pthread_mutex_lock(&cc->lock);
    (void)end_probing(cc, message_id);
    refresh_view(cc);
    if ((cc->view.failures > 0 || circuit_is_open(&cc->view)) &&
        update_circuit(cc, &s) == CIRCUIT_CLOSED) {
        log_info("circuit_closed", LOG_STR("subject", cc->subject),
                 LOG_STR("class", cc->class_name), LOG_STR("reason", "a launch succeeded"));
    }
    pthread_mutex_unlock(&cc->lock);
}

void class_circuit_release_probe(struct class_circuit *cc, const char *message_id)
{
    struct step s = {.apply = drop_probe, .holder = cc->holder};
    pthread_mutex_lock(&cc->lock);
    if (end_probing(cc, message_id)) {
        (void)update_circuit(cc, &s);
    }
    pthread_mutex_unlock(&cc->lock);
}

static void log_refusal(const struct class_circuit *cc, enum circuit_change did,
                        const struct err *why)
{
    char until[40];
    clock_format_utc(cc->view.open_until_ms, until, sizeof until);
    if (did == CIRCUIT_OPENED) {
        log_warn("circuit_opened", LOG_STR("subject", cc->subject),
                 LOG_STR("class", cc->class_name), LOG_INT("refused_in_a_row", cc->view.failures),
                 LOG_ERR(why), LOG_STR("until", until),
                 LOG_STR("action", "jobs of the class wait; fix the cause: one probe launch is "
                                   "made at that time, and closes the circuit if it succeeds"));
    } else if (did == CIRCUIT_REOPENED) {
        log_info("circuit_reopened", LOG_STR("subject", cc->subject),
                 LOG_STR("class", cc->class_name), LOG_ERR(why), LOG_STR("until", until));
    }
}

struct class_circuit_refusal class_circuit_record_refusal(struct class_circuit *cc,
                                                          const struct config *c,
                                                          const char *message_id, int64_t job_id,
                                                          const struct err *why)
{
    struct class_circuit_refusal out = {.stopped = false};
    struct step s = {.apply = apply_refusal,
                     .now_ms = clock_wall_ms(),
                     .job_id = job_id,
                     .limits = {.failures = c->circuit.failure_threshold,
                                .pause_ms = c->circuit.open_duration_ms,
                                .max_pause_ms = c->circuit.max_open_duration_ms}};
    pthread_mutex_lock(&cc->lock);
    s.holder = end_probing(cc, message_id) ? cc->holder : "";
    if (c->circuit.failure_threshold > 0) {
        log_refusal(cc, update_circuit(cc, &s), why);
        int64_t left = cc->view.open_until_ms - s.now_ms;
        out.stopped = circuit_is_open(&cc->view);
        /* Behind the messages that were not tried yet: a job that can never be launched must not be
         * the probe each time. */
        out.delay_ms = (left > 0 ? left : 0) + c->circuit.open_duration_ms;
    }
    pthread_mutex_unlock(&cc->lock);
    return out;
}

bool class_circuit_is_refusal(const struct err *e)
{
    return e->class == ERR_PERMANENT || e->class == ERR_AUTH || e->class == ERR_NOT_FOUND;
}

/* --- lifetime --- */

struct class_circuit *class_circuit_new(struct ledger *ledger, const char *class_name)
{
    struct class_circuit *cc = calloc(1, sizeof *cc);
    struct buf label;
    ASSERT(cc != NULL && pthread_mutex_init(&cc->lock, NULL) == 0);
    cc->ledger = ledger;
    cc->class_name = slice_dup(slice_of(class_name));
    circuit_subject_of_class(class_name, cc->subject);
    random_hex(cc->holder, sizeof cc->holder / 2);
    buf_init(&label, 256);
    metrics_label(&label, "class", class_name);
    cc->open = metrics_gauge("mayfly_worker_circuit_open", label.data);
    buf_fini(&label);
    return cc;
}

void class_circuit_free(struct class_circuit *cc)
{
    if (cc == NULL) {
        return;
    }
    pthread_mutex_destroy(&cc->lock);
    free(cc->class_name);
    free(cc);
}
