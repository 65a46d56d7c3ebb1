#include "common/fleet/lone_jobs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#define OUTWEIGHED 3

/* A subject that others must have shown to work. */
struct place {
    char name[LEDGER_CELL_NAME]; /* "": none */
    bool worked;                 /* since the job's last failure */
};

struct lone {
    int64_t job;
    enum subject subject; /* that the failure was laid to */
    enum err_from from;
    enum err_class class;
    int code;
    struct place narrowest; /* its group or repository, or its class */
    struct place labels;
    int rounds;
    int64_t others_worked; /* launches, since it was first refused so */
    int64_t others_failed;
    int64_t last_ms; /* monotonic */
};

struct lone_jobs {
    pthread_mutex_t lock;
    /* Under the lock: */
    struct lone list[LONE_JOBS_MAX];
    size_t count;
};

/* Only who understood a request can refuse it. */
static bool is_refusal(const struct verdict *v, const struct err *e)
{
    bool of_launch = v->subject == SUBJECT_REPOSITORY || v->subject == SUBJECT_GROUP ||
                     v->subject == SUBJECT_LABELS || v->subject == SUBJECT_CLASS;
    return v->treatment == TREAT_WAIT && of_launch && e->code > 0 &&
           (e->class == ERR_PERMANENT || e->class == ERR_AUTH || e->class == ERR_NOT_FOUND ||
            e->class == ERR_CONFLICT);
}

static bool is_same(const struct lone *one, const struct subjects *s, const struct verdict *v,
                    const struct err *e)
{
    return one->subject == v->subject && one->from == e->from && one->class == e->class &&
           one->code == e->code && strcmp(one->labels.name, s->names[SUBJECT_LABELS]) == 0;
}

static struct lone *find_job(struct lone_jobs *l, int64_t job)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->list[i].job == job) {
            return &l->list[i];
        }
    }
    return NULL;
}

/* A new entry, or that of the job that failed least recently. */
static struct lone *add_job(struct lone_jobs *l)
{
    if (l->count < LONE_JOBS_MAX) {
        return &l->list[l->count++];
    }
    struct lone *oldest = &l->list[0];
    for (size_t i = 1; i < l->count; i++) {
        oldest = l->list[i].last_ms < oldest->last_ms ? &l->list[i] : oldest;
    }
    return oldest;
}

static void begin_counting(struct lone *one, const struct subjects *s, const struct verdict *v,
                           int64_t job, const struct err *e)
{
    bool by_provider = v->subject == SUBJECT_CLASS;
    enum subject at = by_provider                          ? SUBJECT_CLASS
                      : s->names[SUBJECT_GROUP][0] != '\0' ? SUBJECT_GROUP
                                                           : SUBJECT_REPOSITORY;
    *one = (struct lone){
        .job = job, .subject = v->subject, .from = e->from, .class = e->class, .code = e->code};
    memcpy(one->narrowest.name, s->names[at], sizeof one->narrowest.name);
    memcpy(one->labels.name, s->names[SUBJECT_LABELS], sizeof one->labels.name);
    one->labels.worked = by_provider;
}

/* Whether others worked everywhere where this one was refused. */
static bool count_round(struct lone *one)
{
    bool alone = one->narrowest.worked && one->labels.worked;
    if (alone) {
        one->rounds++;
        one->narrowest.worked = false;
        one->labels.worked = one->subject == SUBJECT_CLASS;
    }
    return alone && one->rounds >= LONE_ROUNDS &&
           one->others_worked >= OUTWEIGHED * one->others_failed;
}

static const char *place_of(const struct lone *one)
{
    return one->subject == SUBJECT_LABELS ? one->labels.name : one->narrowest.name;
}

static void count_for_others(struct lone_jobs *l, const struct subjects *s, const struct verdict *v,
                             int64_t job)
{
    for (size_t i = 0; i < l->count; i++) {
        struct lone *one = &l->list[i];
        one->others_failed += one->job != job && one->subject == v->subject &&
                              strcmp(place_of(one), s->names[v->subject]) == 0;
    }
}

bool lone_jobs_failed(struct lone_jobs *l, const struct subjects *s, const struct verdict *v,
                      int64_t job_id, const struct err *why)
{
    bool own = false;
    if (job_id == 0 || v->subject >= SUBJECT_CIRCUITS) {
        return false;
    }
    pthread_mutex_lock(&l->lock);
    count_for_others(l, s, v, job_id);
    struct lone *one = find_job(l, job_id);
    if (!is_refusal(v, why)) {
        if (one != NULL) {
            *one = l->list[--l->count];
        }
    } else if (one != NULL && is_same(one, s, v, why)) {
        own = count_round(one);
        one->last_ms = clock_mono_ms();
    } else {
        one = one != NULL ? one : add_job(l);
        begin_counting(one, s, v, job_id, why);
        one->last_ms = clock_mono_ms();
    }
    pthread_mutex_unlock(&l->lock);
    return own;
}

void lone_jobs_worked(struct lone_jobs *l, const struct subjects *s, unsigned subjects)
{
    bool labels = (subjects & SUBJECT_BIT(SUBJECT_LABELS)) != 0;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->count; i++) {
        struct lone *one = &l->list[i];
        one->labels.worked = one->labels.worked ||
                             (labels && strcmp(one->labels.name, s->names[SUBJECT_LABELS]) == 0);
        for (enum subject k = 0; k < SUBJECT_CIRCUITS; k++) {
            bool works = (subjects & SUBJECT_BIT(k)) != 0;
            one->narrowest.worked =
                one->narrowest.worked || (works && strcmp(one->narrowest.name, s->names[k]) == 0);
            one->others_worked +=
                works && k == one->subject && strcmp(place_of(one), s->names[k]) == 0;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

struct lone_jobs *lone_jobs_new(void)
{
    struct lone_jobs *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && pthread_mutex_init(&l->lock, NULL) == 0);
    return l;
}

void lone_jobs_free(struct lone_jobs *l)
{
    if (l != NULL) {
        pthread_mutex_destroy(&l->lock);
        free(l);
    }
}
