#include "common/fleet/circuits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/fleet/circuit_view.h"
#include "common/fleet/lone_jobs.h"

#define LOST_PROBE_MS 1000    /* until another process's probe has had a result, perhaps */
#define WIDEN_AT 3            /* narrower subjects that failed alike */
#define WIDEN_WINDOW_MS 60000 /* within this time */
#define TALLIES_MAX 1024
#define LANE_PARK_MS 1000 /* the lane receives nothing anyway, and another host's may go on */
#define PARK_STATED_MAX_MS (15LL * 60 * 1000) /* a limit of GitHub's says when it ends */
/* Thousands of parked messages of one subject come back one after another, so that they neither cost
 * much nor stand in front of others; no slower than a registration a time is allowed. */
#define RETURNS_APART_MS 50
#define RETURNS_SPREAD_MS (10LL * 60 * 1000)
#define OPEN_MAX 1000 /* circuits of repositories and groups, and as many again of installations */

/* What this process has seen fail, since the subject last worked. */
struct tally {
    char name[LEDGER_CELL_NAME];
    char parent[LEDGER_CELL_NAME];
    int64_t failures; /* in a row, of different jobs */
    int64_t last_job;
    int64_t runs; /* failures in a row */
    enum err_class class;
    int code;
    int64_t last_ms; /* monotonic */
    /* Monotonic: when it failed since the parent last worked, its own circuit not being open; 0:
     * never. That an open circuit's subject still fails says nothing about the parent. */
    int64_t alike_ms;
};

struct circuits {
    struct circuit_view *view;
    struct lone_jobs *lone;
    struct metric *opened[SUBJECT_CIRCUITS];
    pthread_mutex_t lock;
    /* Under the lock: */
    struct tally tallies[TALLIES_MAX];
    size_t tally_count;
    int64_t
        returns_ms[256]; /* monotonic, by hash of the subject: when the last parked one is back */
};

void circuits_refresh(struct circuits *cs)
{
    circuit_view_refresh(cs->view);
}

/* --- before a launch --- */

static bool is_probed_cheaply(enum subject s)
{
    return s == SUBJECT_GITHUB || s == SUBJECT_GITHUB_HERE || s == SUBJECT_CREDENTIALS ||
           s == SUBJECT_TARGET || s == SUBJECT_TARGET_HERE;
}

enum caller { LAUNCH, CALL };

static struct tally *find_tally_locked(struct circuits *cs, const char *name)
{
    for (size_t i = 0; i < cs->tally_count; i++) {
        if (strcmp(cs->tallies[i].name, name) == 0) {
            return &cs->tallies[i];
        }
    }
    return NULL;
}

/* The narrower subject of this launch, to which errors are laid first; NULL: none. */
static const char *narrower_name(const struct subjects *s, enum subject wider)
{
    bool grouped = s->names[SUBJECT_GROUP][0] != '\0';
    switch (wider) {
    case SUBJECT_INSTALLATION:
        return s->names[grouped ? SUBJECT_GROUP : SUBJECT_REPOSITORY];
    case SUBJECT_TARGET:
        return s->names[SUBJECT_CLASS];
    case SUBJECT_REPOSITORY:
    case SUBJECT_GROUP:
    case SUBJECT_LABELS:
    case SUBJECT_GITHUB:
    case SUBJECT_GITHUB_HERE:
    case SUBJECT_TARGET_HERE:
    case SUBJECT_CREDENTIALS:
    case SUBJECT_PROXY:
    case SUBJECT_CLASS:
    case SUBJECT_HOST:
    case SUBJECT_CIRCUITS:
    case SUBJECT_QUEUE:
    case SUBJECT_JOB:
        break;
    }
    return NULL;
}

/* Whether it is only the failures of others that stop this launch. */
static bool is_untried(struct circuits *cs, const struct subjects *s, enum subject wider,
                       const struct circuit *c)
{
    struct circuit own;
    const char *name = narrower_name(s, wider);
    if (c->widened == 0 || name == NULL || name[0] == '\0') {
        return false;
    }
    (void)circuit_view_get(cs->view, name, &own);
    pthread_mutex_lock(&cs->lock);
    bool failed = find_tally_locked(cs, name) != NULL;
    pthread_mutex_unlock(&cs->lock);
    return !failed && !circuit_is_open(&own, clock_wall_ms());
}

/* A launch leaves a circuit whose probe is no launch to whoever polls a lane. */
static int64_t wait_of(const struct circuit *c, enum subject s, enum caller caller, bool untried,
                       int64_t now_ms)
{
    int64_t wait_ms = untried ? circuit_untried_wait_ms(c, now_ms) : circuit_wait_ms(c, now_ms);
    if (caller == CALL) {
        return c->needs_launch == 0 ? wait_ms : 0;
    }
    bool cheap = is_probed_cheaply(s) && c->needs_launch == 0;
    return wait_ms == 0 && cheap && circuit_is_open(c, now_ms) ? LOST_PROBE_MS : wait_ms;
}

static struct circuits_stop stop_of(struct circuits *cs, const struct subjects *s,
                                    enum caller caller)
{
    struct circuits_stop out = {.subject = SUBJECT_JOB};
    int64_t now = clock_wall_ms();
    bool open = false;
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        struct circuit c;
        (void)circuit_view_get(cs->view, s->names[i], &c);
        open = open || circuit_is_open(&c, now);
        bool untried = caller == LAUNCH && is_untried(cs, s, i, &c);
        int64_t wait_ms = wait_of(&c, i, caller, untried, now);
        if (wait_ms > out.wait_ms) {
            out = (struct circuits_stop){
                .wait_ms = wait_ms, .subject = i, .untried = untried, .circuit = c};
        }
    }
    out.open = open;
    return out;
}

struct circuits_stop circuits_stop_of(struct circuits *cs, const struct subjects *s)
{
    return stop_of(cs, s, LAUNCH);
}

static bool stops_lane(const struct circuits_stop *stop)
{
    return stop->wait_ms > 0 && (SUBJECT_BIT(stop->subject) & SUBJECTS_OF_LANE) != 0;
}

/* Until the next probe, but not for long if nobody knows whether it succeeds, or it runs now. */
static int64_t away_ms(const struct config *c, const struct circuits_stop *stop)
{
    int64_t most_ms = circuits_park_max_ms(c);
    if (stops_lane(stop)) {
        most_ms = LANE_PARK_MS;
    } else if (stop->circuit.probe_until_ms > clock_wall_ms()) {
        most_ms = c->circuit.open_duration_ms < most_ms ? c->circuit.open_duration_ms : most_ms;
    } else if (stop->circuit.stated != 0) {
        most_ms = PARK_STATED_MAX_MS;
    }
    return stop->wait_ms < most_ms ? stop->wait_ms : most_ms;
}

static int64_t *last_return(struct circuits *cs, const char *name)
{
    return &cs->returns_ms[hash_text(name) % COUNT_OF(cs->returns_ms)];
}

int64_t circuits_park_ms(struct circuits *cs, const struct config *c, const struct subjects *s,
                         const struct circuits_stop *stop)
{
    int64_t wait_ms = away_ms(c, stop);
    if (stops_lane(stop) || stop->untried) {
        return wait_ms;
    }
    int64_t *last_ms = last_return(cs, s->names[stop->subject]);
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&cs->lock);
    int64_t at_ms = now + wait_ms;
    if (at_ms < *last_ms + RETURNS_APART_MS) {
        at_ms = *last_ms + RETURNS_APART_MS;
    }
    at_ms = at_ms < now + wait_ms + RETURNS_SPREAD_MS ? at_ms : now + wait_ms + RETURNS_SPREAD_MS;
    *last_ms = at_ms > *last_ms ? at_ms : *last_ms;
    pthread_mutex_unlock(&cs->lock);
    return at_ms - now;
}

/* Whether it waits for a probe that this caller can be. */
static bool is_half_open(const struct circuit *c, enum caller caller, bool untried)
{
    int64_t now = clock_wall_ms();
    int64_t wait_ms = untried ? circuit_untried_wait_ms(c, now) : circuit_wait_ms(c, now);
    return circuit_is_open(c, now) && wait_ms == 0 && (caller == LAUNCH || c->needs_launch == 0);
}

static bool take_probe(struct circuits *cs, const char *name, const char *holder, bool untried,
                       int64_t until_ms)
{
    struct circuit_step s = {.apply = circuit_step_begin_probe,
                             .holder = holder,
                             .untried = untried,
                             .until_ms = until_ms};
    struct circuit c;
    bool took = circuit_view_update(cs->view, name, &s, &c) == CIRCUIT_COUNTED;
    if (took) {
        log_info("circuit_half_open", LOG_STR("subject", name), LOG_STR("probe", holder));
    }
    /* It may have been closed meanwhile. */
    return took || !circuit_is_open(&c, s.now_ms);
}

/* Takes the probes of those that are half-open, all or none. */
static void take_probes(struct circuits *cs, const struct subjects *s, enum caller caller,
                        const char *holder, int64_t until_ms, struct circuits_stop *stop)
{
    for (enum subject i = 0; i < SUBJECT_CIRCUITS && stop->wait_ms == 0; i++) {
        struct circuit c;
        (void)circuit_view_get(cs->view, s->names[i], &c);
        bool untried = caller == LAUNCH && is_untried(cs, s, i, &c);
        if (is_half_open(&c, caller, untried) &&
            !take_probe(cs, s->names[i], holder, untried, until_ms)) {
            *stop = (struct circuits_stop){.wait_ms = LOST_PROBE_MS, .subject = i};
        }
    }
    if (stop->wait_ms > 0) {
        circuits_leave(cs, s, holder);
    }
}

int64_t circuits_enter(struct circuits *cs, const struct subjects *s, const char *holder,
                       int64_t until_ms, struct circuits_stop *out)
{
    *out = stop_of(cs, s, LAUNCH);
    take_probes(cs, s, LAUNCH, holder, until_ms, out);
    return out->wait_ms;
}

int64_t circuits_enter_call(struct circuits *cs, const struct subjects *s, const char *holder,
                            int64_t until_ms, struct circuits_stop *out)
{
    *out = stop_of(cs, s, CALL);
    take_probes(cs, s, CALL, holder, until_ms, out);
    return out->wait_ms;
}

bool circuits_begin_probe(struct circuits *cs, const struct subjects *s, enum subject subject,
                          const char *holder, int64_t until_ms)
{
    const char *name = s->names[subject];
    struct circuit_step step = {
        .apply = circuit_step_begin_probe, .holder = holder, .until_ms = until_ms};
    struct circuit c;
    (void)circuit_view_get(cs->view, name, &c);
    return is_half_open(&c, CALL, false) &&
           circuit_view_update(cs->view, name, &step, &c) == CIRCUIT_COUNTED;
}

bool circuits_is_probe(struct circuits *cs, const struct subjects *s, const char *holder)
{
    bool any = false;
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        struct circuit c;
        (void)circuit_view_get(cs->view, s->names[i], &c);
        any = any || (holder[0] != '\0' && strcmp(c.probe, holder) == 0);
    }
    return any;
}

bool circuits_stop_calls(struct circuits *cs, const struct subjects *s)
{
    bool any = false;
    int64_t now = clock_wall_ms();
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        struct circuit c;
        (void)circuit_view_get(cs->view, s->names[i], &c);
        any = any || (circuit_is_open(&c, now) && c.needs_launch == 0);
    }
    return any;
}

void circuits_leave(struct circuits *cs, const struct subjects *s, const char *holder)
{
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        struct circuit_step step = {.apply = circuit_step_drop_probe, .holder = holder};
        struct circuit c;
        (void)circuit_view_get(cs->view, s->names[i], &c);
        if (strcmp(c.probe, holder) == 0) {
            (void)circuit_view_update(cs->view, s->names[i], &step, &c);
        }
    }
}

/* --- successes --- */

static void forget_tally_locked(struct circuits *cs, const char *name)
{
    for (size_t i = 0; i < cs->tally_count; i++) {
        struct tally *t = &cs->tallies[i];
        if (strcmp(t->parent, name) == 0) {
            t->alike_ms = 0;
        }
        if (strcmp(t->name, name) == 0) {
            *t = cs->tallies[--cs->tally_count];
            i--;
        }
    }
}

static void close_those(struct circuits *cs, const struct subjects *s, enum caller caller,
                        unsigned subjects)
{
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        const char *name = s->names[i];
        if ((subjects & SUBJECT_BIT(i)) == 0 || name[0] == '\0') {
            continue;
        }
        struct circuit_step step = {.apply = circuit_step_close};
        struct circuit c;
        pthread_mutex_lock(&cs->lock);
        forget_tally_locked(cs, name);
        *last_return(cs, name) = 0;
        pthread_mutex_unlock(&cs->lock);
        bool record = circuit_view_get(cs->view, name, &c) && c.since_ms > 0 &&
                      (caller == LAUNCH || c.needs_launch == 0);
        if (record && circuit_view_update(cs->view, name, &step, &c) == CIRCUIT_CLOSED) {
            log_info("circuit_closed", LOG_STR("subject", name),
                     LOG_INT("open_ms", step.was_open_ms));
        }
    }
}

void circuits_succeeded(struct circuits *cs, const struct subjects *s, unsigned subjects)
{
    lone_jobs_worked(cs->lone, s, subjects);
    close_those(cs, s, LAUNCH, subjects);
}

void circuits_call_succeeded(struct circuits *cs, const struct subjects *s, unsigned subjects)
{
    close_those(cs, s, CALL, subjects);
}

void circuits_host_freed(struct circuits *cs, const char *host)
{
    struct subjects s = {0};
    struct circuit_step step = {.apply = circuit_step_hasten};
    struct circuit c;
    subjects_add_host(host, &s);
    (void)circuit_view_get(cs->view, s.names[SUBJECT_HOST], &c);
    if (circuit_wait_ms(&c, clock_wall_ms()) > 0) {
        (void)circuit_view_update(cs->view, s.names[SUBJECT_HOST], &step, &c);
    }
}

/* --- failures --- */

struct verdict circuits_verdict(struct circuits *cs, const struct subjects *s,
                                bool scope_is_repository, int64_t job_id, const struct err *why)
{
    const struct verdict v = verdict_of(why, scope_is_repository);
    bool own = lone_jobs_failed(cs->lone, s, &v, job_id, why);
    return own ? (struct verdict){.subject = SUBJECT_JOB, .treatment = TREAT_ATTEMPT} : v;
}

static struct tally *tally_locked(struct circuits *cs, const struct subjects *s, enum subject kind)
{
    size_t oldest = 0;
    struct tally *t = find_tally_locked(cs, s->names[kind]);
    if (t != NULL) {
        return t;
    }
    for (size_t i = 0; i < cs->tally_count; i++) {
        oldest = cs->tallies[i].last_ms < cs->tallies[oldest].last_ms ? i : oldest;
    }
    enum subject parent = subject_parent(kind);
    t = &cs->tallies[cs->tally_count < TALLIES_MAX ? cs->tally_count++ : oldest];
    *t = (struct tally){.failures = 0};
    memcpy(t->name, s->names[kind], sizeof t->name);
    if (parent != SUBJECT_JOB) {
        memcpy(t->parent, s->names[parent], sizeof t->parent);
    }
    return t;
}

/* One failure, of the launch of a job or of a probe. */
struct failure {
    const struct config *config;
    const struct subjects *subjects;
    int64_t job_id;
    const char *holder;
    const struct err *why;
};

static struct tally *count_failure_locked(struct circuits *cs, const struct failure *f,
                                          enum subject kind, bool open)
{
    struct tally *t = tally_locked(cs, f->subjects, kind);
    t->failures += t->failures == 0 || t->last_job != f->job_id ? 1 : 0;
    t->last_job = f->job_id;
    t->runs++;
    t->class = f->why->class;
    t->code = f->why->code;
    t->last_ms = clock_mono_ms();
    t->alike_ms = open ? t->alike_ms : t->last_ms;
    return t;
}

/* Whether so many of the parent's subjects have failed like this one that it is the parent's. */
static bool is_the_parents_locked(const struct circuits *cs, const struct tally *one)
{
    int alike = 0;
    if (one->parent[0] == '\0' || one->alike_ms != one->last_ms) {
        return false;
    }
    for (size_t i = 0; i < cs->tally_count; i++) {
        const struct tally *t = &cs->tallies[i];
        bool same = t->alike_ms != 0 && t->class == one->class && t->code == one->code &&
                    strcmp(t->parent, one->parent) == 0;
        alike += same && one->last_ms - t->alike_ms < WIDEN_WINDOW_MS ? 1 : 0;
    }
    return alike >= WIDEN_AT;
}

/* It was the probe of the wider subject too, whose circuit others like it have opened. */
static bool was_probe_of_the_wider(struct circuits *cs, const struct failure *f, enum subject s)
{
    struct circuit c;
    enum subject wider = subject_parent(s);
    if (wider >= SUBJECT_CIRCUITS || f->holder[0] == '\0') {
        return false;
    }
    (void)circuit_view_get(cs->view, f->subjects->names[wider], &c);
    return c.widened != 0 && strcmp(c.probe, f->holder) == 0;
}

/* Probes that are no launch cost little, and a quota becomes free at any time. */
static int64_t longest_pause_ms(const struct config *c, const struct verdict *v,
                                const struct err *why)
{
    bool cheap = !v->needs_launch && is_probed_cheaply(v->subject);
    return cheap || why->class == ERR_CAPACITY ? circuits_park_max_ms(c)
                                               : c->circuit.max_open_duration_ms;
}

static void open_circuit(struct circuits *cs, const struct failure *f, const struct verdict *v,
                         bool widened)
{
    char until[40];
    struct circuit now;
    const char *name = f->subjects->names[v->subject];
    struct circuit_step step = {.apply = circuit_step_open,
                                .holder = f->holder,
                                .opening = {.pause_ms = f->config->circuit.open_duration_ms,
                                            .max_pause_ms = longest_pause_ms(f->config, v, f->why),
                                            .wait_ms = f->why->retry_after_ms,
                                            .needs_launch = v->needs_launch,
                                            .widened = widened,
                                            .why = f->why->message}};
    enum circuit_change did = circuit_view_update(cs->view, name, &step, &now);
    if (did == CIRCUIT_OPENED) {
        clock_format_utc(now.open_until_ms, until, sizeof until);
        metric_inc(cs->opened[v->subject]);
        log_warn("circuit_opened", LOG_STR("subject", name), LOG_ERR(f->why),
                 LOG_STR("until", until),
                 LOG_STR("action", "what depends on it waits and spends nothing; fix the cause: "
                                   "one probe is made at that time, and closes the circuit if it "
                                   "succeeds"));
    } else if (did == CIRCUIT_REOPENED) {
        clock_format_utc(now.open_until_ms, until, sizeof until);
        log_info("circuit_reopened", LOG_STR("subject", name), LOG_ERR(f->why),
                 LOG_STR("until", until));
    }
}

/* Beyond it a repository's or group's trouble opens its installation's circuit, and an
 * installation's none: GitHub's would stop everyone. The configuration bounds the others. */
static size_t bound_of(enum subject s)
{
    bool narrowest = s == SUBJECT_REPOSITORY || s == SUBJECT_GROUP || s == SUBJECT_LABELS;
    return narrowest ? OPEN_MAX : s == SUBJECT_INSTALLATION ? (size_t)2 * OPEN_MAX : SIZE_MAX;
}

/* Counts the failure towards the subject, and opens its circuit if that is due. Returns whether it
 * is the wider subject's failure too. *runs: failures in a row. */
static bool count_and_open(struct circuits *cs, const struct failure *f, const struct verdict *v,
                           bool widened, int64_t *runs)
{
    struct circuit seen;
    bool known = circuit_view_get(cs->view, f->subjects->names[v->subject], &seen);
    bool probed = f->holder[0] != '\0' && strcmp(seen.probe, f->holder) == 0;
    bool full = !known && circuit_view_count(cs->view) >= bound_of(v->subject);
    bool widen = was_probe_of_the_wider(cs, f, v->subject);
    bool was_open = circuit_is_open(&seen, clock_wall_ms());
    pthread_mutex_lock(&cs->lock);
    const struct tally *t = count_failure_locked(cs, f, v->subject, was_open);
    widen = is_the_parents_locked(cs, t) || widen;
    bool open = v->at_once || probed || t->failures >= f->config->circuit.failure_threshold;
    *runs = t->runs;
    pthread_mutex_unlock(&cs->lock);
    if (open && !full) {
        open_circuit(cs, f, v, widened);
    }
    return widen || (open && full && v->subject != SUBJECT_INSTALLATION);
}

/* What launches were refused by may let other calls pass. */
static bool is_shown_by_launches_alone(enum subject wider)
{
    return wider == SUBJECT_INSTALLATION || wider == SUBJECT_TARGET;
}

/* The subject, and those wider ones whose failure it is too. */
static int64_t count_upwards(struct circuits *cs, const struct failure *f, struct verdict v)
{
    int64_t runs = 0;
    bool widened = false;
    bool wider = f->config->circuit.failure_threshold > 0;
    while (wider && v.subject < SUBJECT_CIRCUITS && f->subjects->names[v.subject][0] != '\0') {
        int64_t here = 0;
        wider = count_and_open(cs, f, &v, widened, &here);
        runs = runs == 0 ? here : runs;
        widened = true;
        enum subject parent = subject_parent(v.subject);
        v = (struct verdict){
            .subject = parent, .at_once = true, .needs_launch = is_shown_by_launches_alone(parent)};
    }
    return runs;
}

int64_t circuits_failed(struct circuits *cs, const struct config *c, const struct subjects *s,
                        const struct verdict *verdict, int64_t job_id, const char *holder,
                        const struct err *why)
{
    const struct failure f = {c, s, job_id, holder, why};
    int64_t runs = count_upwards(cs, &f, *verdict);
    struct circuits_stop stop = circuits_stop_of(cs, s);
    if (stop.wait_ms > 0) {
        return away_ms(c, &stop);
    }
    int64_t park_ms = circuits_park_max_ms(c);
    int64_t most_ms = c->retry.max_delay_ms < park_ms ? c->retry.max_delay_ms : park_ms;
    int64_t base_ms = c->retry.base_delay_ms < most_ms ? c->retry.base_delay_ms : most_ms;
    int64_t wait_ms = backoff_full_jitter_ms(base_ms, most_ms, runs < 60 ? (int)runs : 60);
    return wait_ms > why->retry_after_ms ? wait_ms : why->retry_after_ms;
}

int64_t circuits_open_count(struct circuits *cs, enum subject kind)
{
    return circuit_view_open(cs->view, kind);
}

/* --- lifetime --- */

struct circuits *circuits_new(struct ledger *ledger)
{
    struct circuits *cs = calloc(1, sizeof *cs);
    ASSERT(cs != NULL && pthread_mutex_init(&cs->lock, NULL) == 0);
    cs->view = circuit_view_new(ledger);
    cs->lone = lone_jobs_new();
    for (enum subject s = 0; s < SUBJECT_CIRCUITS; s++) {
        struct buf label;
        buf_init(&label, 128);
        metrics_label(&label, "subject", subject_kind(s));
        cs->opened[s] = metrics_counter("mayfly_circuits_opened_total", label.data);
        buf_fini(&label);
    }
    return cs;
}

void circuits_free(struct circuits *cs)
{
    if (cs != NULL) {
        pthread_mutex_destroy(&cs->lock);
        circuit_view_free(cs->view);
        lone_jobs_free(cs->lone);
        free(cs);
    }
}
