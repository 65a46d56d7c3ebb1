/*
 * What one event of the stream has: the answer of `status`, the jobs that wait for longest with the cause
 * of each, and each class's launch latency.
 *
 * A cause takes as many calls as `why`, so that a snapshot finds those of CONSOLE_CAUSES jobs alone, in
 * turn, and has the others' from the snapshots before: what a snapshot costs depends neither on how many
 * jobs wait nor on how many people look.
 */
#include "common/base/version.h"
#include "deploy/ctl/app/app.h"
#include "deploy/ctl/console/console.h"

#define LATENCY_EVERY 5   /* snapshots */
#define FREE_POLL_MS 1000 /* of a queue where polls are not billed (queue_poll_wait_ms) */

static void forget_cause(struct snapshot *s, size_t i)
{
    json_decref(s->causes[i].why);
    s->causes[i].job = 0;
    s->causes[i].why = NULL;
}

void snapshot_fini(struct snapshot *s)
{
    json_decref(s->latency);
    s->latency = NULL;
    for (size_t i = 0; i < CONSOLE_WAITING_MAX; i++) {
        forget_cause(s, i);
    }
}

/* --- the jobs that wait for longest --- */

static int list_waiting(struct ctl *c, json_t **out, struct err *e)
{
    char limit[SLICE_INT64_SIZE];
    const struct ctl_given given[] = {{"--state", "waiting"}, {"--limit", limit}};
    json_t *page = NULL;
    (void)slice_write_int64(limit, CONSOLE_WAITING_MAX);
    c->given = given;
    c->given_count = COUNT_OF(given);
    int rc = ctl_jobs(c, &page, e);
    c->given = NULL;
    c->given_count = 0;
    if (rc != 0) {
        return -1;
    }
    *out = json_incref(json_object_get(page, "jobs"));
    json_decref(page);
    return 0;
}

/* What the list needs of an answer of `why`. */
static json_t *cause_of(const json_t *why)
{
    return json_pack("{s:O, s:O, s:O}", "reason", json_object_get(why, "reason"), "sentence",
                     json_object_get(why, "sentence"), "outcome", json_object_get(why, "outcome"));
}

static int find_cause(struct ctl *c, int64_t job, json_t **out, struct err *e)
{
    char id[SLICE_INT64_SIZE];
    char *words[] = {id};
    json_t *why = NULL;
    (void)slice_write_int64(id, job);
    c->argv = words;
    c->argc = 1;
    int rc = ctl_why(c, &why, e);
    c->argv = NULL;
    c->argc = 0;
    c->exit_code = 0;
    if (rc == 0) {
        *out = cause_of(why);
        json_decref(why);
    }
    return rc;
}

static size_t place_of(const struct snapshot *s, int64_t job)
{
    size_t i = 0;
    while (i < CONSOLE_WAITING_MAX && s->causes[i].job != job) {
        i++;
    }
    return i;
}

static bool is_listed(const json_t *jobs, int64_t job)
{
    size_t i;
    json_t *o;
    json_array_foreach(jobs, i, o)
    {
        if (ctl_int(o, "job") == job) {
            return true;
        }
    }
    return false;
}

/* Of the next jobs in turn; of one where calls are billed. */
static int find_causes(struct snapshot *s, struct ctl *c, const json_t *jobs, struct err *e)
{
    size_t n = json_array_size(jobs);
    size_t most = queue_poll_wait_ms(c->queue) > FREE_POLL_MS ? 1 : CONSOLE_CAUSES;
    for (size_t i = 0; i < CONSOLE_WAITING_MAX; i++) {
        if (s->causes[i].job != 0 && !is_listed(jobs, s->causes[i].job)) {
            forget_cause(s, i);
        }
    }
    for (size_t i = 0; i < most && i < n; i++) {
        int64_t job = ctl_int(json_array_get(jobs, s->next++ % n), "job");
        json_t *why = NULL;
        if (find_cause(c, job, &why, e) != 0) {
            return -1;
        }
        size_t place = place_of(s, job);
        place = place < CONSOLE_WAITING_MAX ? place : place_of(s, 0);
        ASSERT(place < CONSOLE_WAITING_MAX); /* those listed have places for all */
        forget_cause(s, place);
        s->causes[place].job = job;
        s->causes[place].why = why;
    }
    return 0;
}

static void add_causes(const struct snapshot *s, json_t *jobs)
{
    size_t i;
    json_t *o;
    json_array_foreach(jobs, i, o)
    {
        size_t place = place_of(s, ctl_int(o, "job"));
        json_object_set_new(o, "cause",
                            place < CONSOLE_WAITING_MAX ? json_incref(s->causes[place].why)
                                                        : json_null());
    }
}

static int add_waiting(struct snapshot *s, struct ctl *c, json_t *answer, struct err *e)
{
    json_t *jobs = NULL;
    if (list_waiting(c, &jobs, e) != 0) {
        return -1;
    }
    if (find_causes(s, c, jobs, e) != 0) {
        json_decref(jobs);
        return -1;
    }
    add_causes(s, jobs);
    json_object_set_new(answer, "waiting", jobs);
    return 0;
}

/* --- all of it --- */

static int add_latency(struct snapshot *s, struct ctl *c, json_t *answer, struct err *e)
{
    if (s->count % LATENCY_EVERY == 0 || s->latency == NULL) {
        json_t *latency = NULL;
        if (latency_build(c, &latency, e) != 0) {
            return -1;
        }
        json_decref(s->latency);
        s->latency = latency;
    }
    json_object_set(answer, "latency", s->latency);
    return 0;
}

int snapshot_build(struct snapshot *s, struct ctl *c, json_t **out, struct err *e)
{
    json_t *status = NULL;
    char web[APP_URL_SIZE];
    if (ctl_status(c, &status, e) != 0) {
        return -1;
    }
    bool has_web = app_web_of(c->config->github.api_url, web, sizeof web);
    json_t *answer = json_pack("{s:s, s:o, s:o}", "version", mayfly_version, "github",
                               has_web ? ctl_text(web) : json_null(), "status", status);
    if (add_waiting(s, c, answer, e) != 0 || add_latency(s, c, answer, e) != 0) {
        json_decref(answer);
        return -1;
    }
    s->count++;
    *out = answer;
    return 0;
}
