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

#define VIEW_MS 1000          /* maximum age of the copy */
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
    bool alike;      /* failed since the parent last worked */
};

struct seen {
    char name[LEDGER_CELL_NAME];
    struct circuit circuit;
};

struct circuits {
    struct ledger *ledger;
    struct metric *open[SUBJECT_CIRCUITS];
    struct metric *opened[SUBJECT_CIRCUITS];
    pthread_mutex_t lock;
    /* Under the lock: */
    struct seen *view;
    size_t view_count;
    int64_t read_ms; /* monotonic; 0: never */
    struct tally tallies[TALLIES_MAX];
    size_t tally_count;
    int64_t
        returns_ms[256]; /* monotonic, by hash of the subject: when the last parked one is back */
};

/* --- the copy of the records --- */

static struct seen *find_seen(struct circuits *cs, const char *name)
{
    for (size_t i = 0; i < cs->view_count; i++) {
        if (strcmp(cs->view[i].name, name) == 0) {
            return &cs->view[i];
        }
    }
    return NULL;
}

static void count_open_locked(struct circuits *cs)
{
    int64_t now = clock_wall_ms();
    for (enum subject s = 0; s < SUBJECT_CIRCUITS; s++) {
        size_t len = strlen(subject_kind(s));
        int64_t open = 0;
        for (size_t i = 0; i < cs->view_count; i++) {
            const struct seen *v = &cs->view[i];
            bool of_kind = strncmp(v->name, subject_kind(s), len) == 0 && v->name[len] == ':';
            open += of_kind && circuit_is_open(&v->circuit, now) ? 1 : 0;
        }
        metric_set(cs->open[s], open);
    }
}

static void set_seen(struct circuits *cs, const char *name, const struct circuit *c)
{
    pthread_mutex_lock(&cs->lock);
    struct seen *v = find_seen(cs, name);
    if (v == NULL && c->since_ms > 0) {
        cs->view = realloc(cs->view, (cs->view_count + 1) * sizeof *cs->view);
        ASSERT(cs->view != NULL);
        v = &cs->view[cs->view_count++];
        (void)snprintf(v->name, sizeof v->name, "%s", name);
    }
    if (v != NULL) {
        v->circuit = *c;
    }
    count_open_locked(cs);
    pthread_mutex_unlock(&cs->lock);
}

/* The copy of it; closed if there is none. */
static void get_seen(struct circuits *cs, const char *name, struct circuit *out)
{
    pthread_mutex_lock(&cs->lock);
    const struct seen *v = name[0] != '\0' ? find_seen(cs, name) : NULL;
    *out = v != NULL ? v->circuit : (struct circuit){0};
    pthread_mutex_unlock(&cs->lock);
}

static void take_list(struct circuits *cs, const struct ledger_cell *cells, size_t n)
{
    struct seen *view = calloc(n + 1, sizeof *view);
    ASSERT(view != NULL);
    for (size_t i = 0; i < n; i++) {
        memcpy(view[i].name, cells[i].name, sizeof view[i].name);
        circuit_decode(cells[i].value, &view[i].circuit);
    }
    pthread_mutex_lock(&cs->lock);
    free(cs->view);
    cs->view = view;
    cs->view_count = n;
    count_open_locked(cs);
    pthread_mutex_unlock(&cs->lock);
}

void circuits_refresh(struct circuits *cs)
{
    struct err e = {0};
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    int64_t now = clock_mono_ms();
    pthread_mutex_lock(&cs->lock);
    bool fresh = cs->read_ms != 0 && now - cs->read_ms < VIEW_MS;
    cs->read_ms = fresh ? cs->read_ms : now;
    pthread_mutex_unlock(&cs->lock);
    if (fresh) {
        return;
    }
    if (ledger_cell_list(cs->ledger, CIRCUIT_KIND, &cells, &n, &e) != 0) {
        log_warn("circuits_not_read", LOG_ERR(&e),
                 LOG_STR("action", "the circuits that were read before hold until then"));
        return;
    }
    take_list(cs, cells, n);
    free(cells);
}

/* --- changes of a record --- */
struct step {
    enum circuit_change (*apply)(struct circuit *c, const struct step *s);
    const char *holder;
    int64_t now_ms;
    int64_t until_ms;
    struct circuit_opening opening;
    int64_t was_open_ms; /* out, of a close */
};

static enum circuit_change begin_probe(struct circuit *c, const struct step *s)
{
    return circuit_begin_probe(c, s->holder, s->until_ms, s->now_ms);
}

static enum circuit_change drop_probe(struct circuit *c, const struct step *s)
{
    return circuit_drop_probe(c, s->holder);
}

static enum circuit_change open_it(struct circuit *c, const struct step *s)
{
    return circuit_open(c, &s->opening, s->holder, s->now_ms);
}

static enum circuit_change hasten_it(struct circuit *c, const struct step *s)
{
    return circuit_hasten(c, s->now_ms);
}

static enum circuit_change close_it(struct circuit *c, const struct step *s)
{
    return circuit_close(c, s->now_ms);
}

static enum circuit_change apply_step(struct circuit *c, void *arg)
{
    struct step *s = arg;
    s->was_open_ms = c->since_ms > 0 ? s->now_ms - c->since_ms : 0;
    return s->apply(c, s);
}

/* If the ledger fails, nothing changes; *out is that of the last copy then. */
static enum circuit_change update(struct circuits *cs, const char *name, struct step *s,
                                  struct circuit *out)
{
    struct err e = {0};
    enum circuit_change did;
    s->now_ms = clock_wall_ms();
    if (circuit_update(cs->ledger, name, apply_step, s, out, &did, &e) != 0) {
        log_warn("circuit_not_updated", LOG_STR("subject", name), LOG_ERR(&e),
                 LOG_STR("action", "the next launch that depends on the subject updates it"));
        get_seen(cs, name, out);
        return CIRCUIT_UNCHANGED;
    }
    set_seen(cs, name, out);
    return did;
}

/* --- before a launch --- */

static bool is_probed_cheaply(enum subject s)
{
    return s == SUBJECT_GITHUB || s == SUBJECT_CREDENTIALS || s == SUBJECT_TARGET;
}

/* A circuit whose probe is no launch waits for whoever polls a lane. */
static int64_t wait_of(const struct circuit *c, enum subject s, int64_t now_ms)
{
    int64_t wait_ms = circuit_wait_ms(c, now_ms);
    bool cheap = is_probed_cheaply(s) && c->needs_launch == 0;
    return wait_ms == 0 && cheap && circuit_is_open(c, now_ms) ? LOST_PROBE_MS : wait_ms;
}

struct circuits_stop circuits_stop_of(struct circuits *cs, const struct subjects *s)
{
    struct circuits_stop out = {.subject = SUBJECT_JOB};
    int64_t now = clock_wall_ms();
    pthread_mutex_lock(&cs->lock);
    for (enum subject i = 0; i < SUBJECT_CIRCUITS && cs->view_count > 0; i++) {
        const struct seen *v = s->names[i][0] != '\0' ? find_seen(cs, s->names[i]) : NULL;
        if (v != NULL && wait_of(&v->circuit, i, now) > out.wait_ms) {
            out = (struct circuits_stop){
                .wait_ms = wait_of(&v->circuit, i, now), .subject = i, .circuit = v->circuit};
        }
    }
    pthread_mutex_unlock(&cs->lock);
    return out;
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
    if (stops_lane(stop)) {
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

static bool seen_half_open(struct circuits *cs, const char *name)
{
    int64_t now = clock_wall_ms();
    struct circuit c;
    get_seen(cs, name, &c);
    return circuit_is_open(&c, now) && circuit_wait_ms(&c, now) == 0;
}

static bool take_probe(struct circuits *cs, const char *name, const char *holder, int64_t until_ms)
{
    struct step s = {.apply = begin_probe, .holder = holder, .until_ms = until_ms};
    struct circuit c;
    bool took = update(cs, name, &s, &c) == CIRCUIT_COUNTED;
    if (took) {
        log_info("circuit_half_open", LOG_STR("subject", name), LOG_STR("probe", holder));
    }
    /* It may have been closed meanwhile. */
    return took || !circuit_is_open(&c, s.now_ms);
}

int64_t circuits_enter(struct circuits *cs, const struct subjects *s, const char *holder,
                       int64_t until_ms, struct circuits_stop *out)
{
    *out = circuits_stop_of(cs, s);
    for (enum subject i = 0; i < SUBJECT_CIRCUITS && out->wait_ms == 0; i++) {
        if (seen_half_open(cs, s->names[i]) && !take_probe(cs, s->names[i], holder, until_ms)) {
            *out = (struct circuits_stop){.wait_ms = LOST_PROBE_MS, .subject = i};
        }
    }
    if (out->wait_ms > 0) {
        circuits_leave(cs, s, holder);
    }
    return out->wait_ms;
}

bool circuits_begin_probe(struct circuits *cs, const struct subjects *s, enum subject subject,
                          const char *holder, int64_t until_ms)
{
    const char *name = s->names[subject];
    struct step step = {.apply = begin_probe, .holder = holder, .until_ms = until_ms};
    struct circuit c;
    get_seen(cs, name, &c);
    return seen_half_open(cs, name) && c.needs_launch == 0 &&
           update(cs, name, &step, &c) == CIRCUIT_COUNTED;
}

void circuits_leave(struct circuits *cs, const struct subjects *s, const char *holder)
{
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        struct step step = {.apply = drop_probe, .holder = holder};
        struct circuit c;
        get_seen(cs, s->names[i], &c);
        if (strcmp(c.probe, holder) == 0) {
            (void)update(cs, s->names[i], &step, &c);
        }
    }
}

/* --- successes --- */

static void forget_tally_locked(struct circuits *cs, const char *name)
{
    for (size_t i = 0; i < cs->tally_count; i++) {
        struct tally *t = &cs->tallies[i];
        if (strcmp(t->parent, name) == 0) {
            t->alike = false;
        }
        if (strcmp(t->name, name) == 0) {
            *t = cs->tallies[--cs->tally_count];
            i--;
        }
    }
}

void circuits_succeeded(struct circuits *cs, const struct subjects *s, unsigned subjects)
{
    for (enum subject i = 0; i < SUBJECT_CIRCUITS; i++) {
        const char *name = s->names[i];
        if ((subjects & SUBJECT_BIT(i)) == 0 || name[0] == '\0') {
            continue;
        }
        pthread_mutex_lock(&cs->lock);
        forget_tally_locked(cs, name);
        *last_return(cs, name) = 0;
        const struct seen *v = find_seen(cs, name);
        bool record = v != NULL && v->circuit.since_ms > 0;
        pthread_mutex_unlock(&cs->lock);
        struct step step = {.apply = close_it};
        struct circuit c;
        if (record && update(cs, name, &step, &c) == CIRCUIT_CLOSED) {
            log_info("circuit_closed", LOG_STR("subject", name),
                     LOG_INT("open_ms", step.was_open_ms));
        }
    }
}

void circuits_host_freed(struct circuits *cs, const char *host)
{
    struct subjects s = {0};
    struct step step = {.apply = hasten_it};
    struct circuit c;
    subjects_add_host(host, &s);
    get_seen(cs, s.names[SUBJECT_HOST], &c);
    if (circuit_wait_ms(&c, clock_wall_ms()) > 0) {
        (void)update(cs, s.names[SUBJECT_HOST], &step, &c);
    }
}

/* --- failures --- */

static struct tally *tally_locked(struct circuits *cs, const struct subjects *s, enum subject kind)
{
    size_t oldest = 0;
    for (size_t i = 0; i < cs->tally_count; i++) {
        if (strcmp(cs->tallies[i].name, s->names[kind]) == 0) {
            return &cs->tallies[i];
        }
        oldest = cs->tallies[i].last_ms < cs->tallies[oldest].last_ms ? i : oldest;
    }
    enum subject parent = subject_parent(kind);
    size_t at = cs->tally_count < TALLIES_MAX ? cs->tally_count++ : oldest;
    struct tally *t = &cs->tallies[at];
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
                                          enum subject kind)
{
    struct tally *t = tally_locked(cs, f->subjects, kind);
    t->failures += t->failures == 0 || t->last_job != f->job_id ? 1 : 0;
    t->last_job = f->job_id;
    t->runs++;
    t->class = f->why->class;
    t->code = f->why->code;
    t->last_ms = clock_mono_ms();
    t->alike = true;
    return t;
}

/* Whether so many of the parent's subjects have failed like this one that it is the parent's. */
static bool is_the_parents_locked(const struct circuits *cs, const struct tally *one)
{
    int alike = 0;
    for (size_t i = 0; i < cs->tally_count && one->parent[0] != '\0'; i++) {
        const struct tally *t = &cs->tallies[i];
        bool same = t->alike && t->class == one->class && t->code == one->code &&
                    strcmp(t->parent, one->parent) == 0;
        alike += same && one->last_ms - t->last_ms < WIDEN_WINDOW_MS ? 1 : 0;
    }
    return alike >= WIDEN_AT;
}

/* Probes that are no launch cost little, and a quota becomes free at any time. */
static int64_t longest_pause_ms(const struct config *c, const struct verdict *v,
                                const struct err *why)
{
    bool cheap = !v->needs_launch && is_probed_cheaply(v->subject);
    return cheap || why->class == ERR_CAPACITY ? circuits_park_max_ms(c)
                                               : c->circuit.max_open_duration_ms;
}

static void open_circuit(struct circuits *cs, const struct failure *f, const struct verdict *v)
{
    char until[40];
    struct circuit now;
    const char *name = f->subjects->names[v->subject];
    struct step step = {.apply = open_it,
                        .holder = f->holder,
                        .opening = {.pause_ms = f->config->circuit.open_duration_ms,
                                    .max_pause_ms = longest_pause_ms(f->config, v, f->why),
                                    .wait_ms = f->why->retry_after_ms,
                                    .needs_launch = v->needs_launch,
                                    .why = f->why->message}};
    enum circuit_change did = update(cs, name, &step, &now);
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
    bool narrowest = s == SUBJECT_REPOSITORY || s == SUBJECT_GROUP;
    return narrowest ? OPEN_MAX : s == SUBJECT_INSTALLATION ? (size_t)2 * OPEN_MAX : SIZE_MAX;
}

/* Counts the failure towards the subject, and opens its circuit if that is due. Returns whether it
 * is the wider subject's failure too. *runs: failures in a row. */
static bool count_and_open(struct circuits *cs, const struct failure *f, const struct verdict *v,
                           int64_t *runs)
{
    pthread_mutex_lock(&cs->lock);
    const struct tally *t = count_failure_locked(cs, f, v->subject);
    const struct seen *seen = find_seen(cs, t->name);
    bool probed =
        seen != NULL && f->holder[0] != '\0' && strcmp(seen->circuit.probe, f->holder) == 0;
    bool widen = is_the_parents_locked(cs, t);
    bool full = cs->view_count >= bound_of(v->subject) && seen == NULL;
    bool open = v->at_once || probed || t->failures >= f->config->circuit.failure_threshold;
    *runs = t->runs;
    pthread_mutex_unlock(&cs->lock);
    if (open && !full) {
        open_circuit(cs, f, v);
    }
    return widen || (open && full && v->subject != SUBJECT_INSTALLATION);
}

/* The subject, and those wider ones whose failure it is too. */
static int64_t count_upwards(struct circuits *cs, const struct failure *f, struct verdict v)
{
    int64_t runs = 0;
    bool wider = f->config->circuit.failure_threshold > 0;
    while (wider && v.subject < SUBJECT_CIRCUITS && f->subjects->names[v.subject][0] != '\0') {
        int64_t here = 0;
        wider = count_and_open(cs, f, &v, &here);
        runs = runs == 0 ? here : runs;
        v = (struct verdict){.subject = subject_parent(v.subject), .at_once = true};
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

/* --- lifetime --- */

struct circuits *circuits_new(struct ledger *ledger)
{
    struct circuits *cs = calloc(1, sizeof *cs);
    ASSERT(cs != NULL && pthread_mutex_init(&cs->lock, NULL) == 0);
    cs->ledger = ledger;
    for (enum subject s = 0; s < SUBJECT_CIRCUITS; s++) {
        struct buf label;
        buf_init(&label, 128);
        metrics_label(&label, "subject", subject_kind(s));
        cs->open[s] = metrics_gauge("mayfly_circuits_open", label.data);
        cs->opened[s] = metrics_counter("mayfly_circuits_opened_total", label.data);
        buf_fini(&label);
    }
    return cs;
}

void circuits_free(struct circuits *cs)
{
    if (cs != NULL) {
        pthread_mutex_destroy(&cs->lock);
        free(cs->view);
        free(cs);
    }
}
