/*
 * `mayflyctl why JOB`: the one reason for which a job waits, and its timeline from its delivery to
 * the end of its VM; of a run, a line for each of its jobs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/fleet/output.h"
#include "deploy/ctl/why.h"

#define RUN_SEARCH_MAX 500 /* jobs of each kind that are looked at for those of a run */

static void add_job(const struct why_facts *f, json_t *answer)
{
    const struct ledger_job *j = &f->job;
    json_object_set_new(answer, "state", ctl_text(ledger_job_state_name(j->state)));
    json_object_set_new(answer, "name", ctl_text(j->facts.name));
    json_object_set_new(answer, "workflow", ctl_text(j->facts.workflow));
    json_object_set_new(answer, "repository", ctl_text(j->facts.repository));
    json_object_set_new(answer, "class", ctl_text(j->facts.class_name));
    json_object_set_new(answer, "labels", ctl_text(j->facts.labels));
    json_object_set_new(answer, "run", json_integer(j->facts.run_id));
    json_object_set_new(answer, "runner", ctl_text(j->facts.runner_name));
    json_object_set_new(answer, "target", ctl_text(f->target));
    json_object_set_new(answer, "conclusion", ctl_text(j->facts.conclusion));
    json_object_set_new(answer, "created_at", ctl_time(j->facts.created_ms));
    json_object_set_new(answer, "received_at", ctl_time(j->waiting_ms));
    json_object_set_new(answer, "waited_ms", json_integer(why_waited_ms(j, f->now_ms)));
    int64_t ran = j->ended_ms > 0 ? j->ended_ms : f->now_ms;
    json_object_set_new(answer, "ran_ms",
                        json_integer(j->running_ms > 0 ? ran - j->running_ms : 0));
}

static const char *outcome_name(enum why_outcome outcome)
{
    switch (outcome) {
    case WHY_WAITS:
        return "waits";
    case WHY_NEEDS_A_PERSON:
        return "needs_a_person";
    case WHY_UNKNOWN:
        return "unknown";
    case WHY_RUNS_OR_ENDED:
        break;
    }
    return "runs_or_ended";
}

static json_t *answer_of(const struct why_facts *f, enum why_outcome *outcome)
{
    const struct why_reason *reason = why_find_reason(f);
    struct buf sentence;
    json_t *answer =
        json_pack("{s:I, s:b, s:s, s:s}", "job", (json_int_t)f->id, "known", why_is_known(f),
                  "reason", reason->name, "outcome", outcome_name(reason->outcome));
    buf_init(&sentence, WHY_TEXT_LIMIT_BYTES);
    reason->say(f, &sentence);
    json_object_set_new(answer, "sentence", ctl_text(sentence.data));
    buf_fini(&sentence);
    if (f->in_ledger) {
        add_job(f, answer);
    }
    json_object_set_new(answer, "timeline", why_timeline(f));
    *outcome = reason->outcome;
    return answer;
}

/* *known: queue, ledger or GitHub know it. */
static int answer_job(struct ctl *c, struct why_github *g, const struct why_target *t,
                      json_t **answer, enum why_outcome *outcome, struct err *e)
{
    struct why_facts *f = calloc(1, sizeof *f);
    ASSERT(f != NULL);
    int rc = why_gather(c, g, t, f, e);
    if (rc == 0) {
        *answer = answer_of(f, outcome);
    }
    why_facts_fini(f);
    free(f);
    return rc;
}

/* --- the jobs of a run --- */

struct found_jobs {
    int64_t *ids;
    size_t count;
};

static void take_jobs_of_run(struct found_jobs *found, const struct ledger_job *jobs, size_t n,
                             int64_t run)
{
    for (size_t i = 0; i < n; i++) {
        if (jobs[i].facts.run_id == run && found->count < WHY_RUN_JOBS_MAX) {
            found->ids[found->count++] = jobs[i].facts.id;
        }
    }
}

/* The ledger has no index of runs: the oldest jobs that run or wait are looked at. */
static int search_ledger(struct ctl *c, int64_t run, struct found_jobs *found, struct err *e)
{
    struct ledger_balance *b = NULL;
    struct ledger_job *jobs = NULL;
    size_t scopes = 0;
    size_t n = 0;
    int64_t until_ms = clock_wall_ms() + 1;
    int rc = ledger_jobs_running(c->ledger, 0, until_ms, RUN_SEARCH_MAX, &jobs, &n, e);
    take_jobs_of_run(found, jobs, rc == 0 ? n : 0, run);
    free(jobs);
    rc = rc != 0 ? rc : ledger_balances(c->ledger, &b, &scopes, e);
    for (size_t i = 0; rc == 0 && i < scopes; i++) {
        jobs = NULL;
        if (b[i].demand > 0) {
            rc = ledger_jobs_waiting(c->ledger, b[i].scope, b[i].class_name, until_ms,
                                     RUN_SEARCH_MAX, &jobs, &n, e);
            take_jobs_of_run(found, jobs, rc == 0 ? n : 0, run);
            free(jobs);
        }
    }
    free(b);
    return rc;
}

/* GitHub knows all of them, if it can be asked. `unasked`: why not. */
static int find_jobs(struct ctl *c, struct why_github *g, const struct why_target *t,
                     struct found_jobs *found, struct err *unasked, struct err *e)
{
    *unasked = (struct err){0};
    if (t->repository[0] != '\0' &&
        why_ask_for_run(c, g, t->repository, t->run, &found->ids, &found->count, unasked) == 0) {
        return 0;
    }
    found->ids = calloc(WHY_RUN_JOBS_MAX, sizeof found->ids[0]);
    ASSERT(found->ids != NULL);
    return search_ledger(c, t->run, found, e);
}

static int answer_run(struct ctl *c, struct why_github *g, const struct why_target *t,
                      json_t **answer, enum why_outcome *outcome, struct err *e)
{
    struct found_jobs found = {.count = 0};
    struct err unasked;
    json_t *list = json_array();
    int rc = find_jobs(c, g, t, &found, &unasked, e);
    *outcome = WHY_RUNS_OR_ENDED;
    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        enum why_outcome one = WHY_RUNS_OR_ENDED;
        struct why_target job = *t;
        json_t *o = NULL;
        job.job = found.ids[i];
        rc = answer_job(c, g, &job, &o, &one, e);
        *outcome = one > *outcome ? one : *outcome;
        (void)json_array_append_new(list, o);
    }
    if (rc == 0 && found.count == 0) {
        c->exit_code = WHY_UNKNOWN;
        rc = err_set(
            e, ERR_NOT_FOUND, 0,
            "run %lld: none of its jobs waits or runs here%s%.300s: give the URL of one of "
            "its jobs",
            (long long)t->run, unasked.message[0] != '\0' ? ", and GitHub: " : "", unasked.message);
    }
    free(found.ids);
    *answer = json_pack("{s:I, s:o}", "run", (json_int_t)t->run, "jobs", list);
    if (rc != 0) {
        json_decref(*answer);
    }
    return rc;
}

/* --- the command --- */

/* A number may be a job's or a run's: nobody knows such a job, and there is a run. */
static int answer_number(struct ctl *c, struct why_github *g, const struct why_target *t,
                         json_t **answer, enum why_outcome *outcome, struct err *e)
{
    struct found_jobs found = {.ids = calloc(WHY_RUN_JOBS_MAX, sizeof(int64_t))};
    ASSERT(found.ids != NULL);
    int rc = answer_job(c, g, t, answer, outcome, e);
    if (rc == 0 && *outcome == WHY_UNKNOWN) {
        rc = search_ledger(c, t->run, &found, e);
        if (rc != 0 || found.count > 0) {
            json_decref(*answer);
            rc = rc != 0 ? rc : answer_run(c, g, t, answer, outcome, e);
        }
    }
    free(found.ids);
    return rc;
}

int ctl_why(struct ctl *c, json_t **out, struct err *e)
{
    struct why_target t;
    struct why_github g = {.github = NULL};
    enum why_outcome outcome = WHY_RUNS_OR_ENDED;
    if (why_read_target(c->argv[0], &t, e) != 0) {
        return -1;
    }
    int rc = t.job == 0       ? answer_run(c, &g, &t, out, &outcome, e)
             : t.job == t.run ? answer_number(c, &g, &t, out, &outcome, e)
                              : answer_job(c, &g, &t, out, &outcome, e);
    why_github_close(&g);
    if (rc == 0) {
        c->exit_code = (int)outcome;
    }
    return rc;
}

/* --- as text --- */

/* The lines of a console, each escaped by itself. */
static void print_console(const char *text)
{
    struct slice rest = slice_of(text);
    struct slice line;
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest);
        printable_line(stdout, "      | %.*s", SLICE_ARG(line));
    }
}

static void print_timeline(const json_t *answer)
{
    size_t i;
    json_t *o;
    char since[24];
    bool went_before = false; /* a part of the same console */
    json_array_foreach(json_object_get(answer, "timeline"), i, o)
    {
        char repeated[80] = "";
        if (ctl_int(o, "times") > 1) {
            (void)snprintf(repeated, sizeof repeated, " (%lld times, last at %s)",
                           (long long)ctl_int(o, "times"), ctl_str(o, "last_at"));
        }
        bool console = strcmp(ctl_str(o, "what"), FLEET_OUTPUT_LINE) == 0;
        if (!console || !went_before) {
            printable_line(stdout, "  %s  +%-8s %-14s %s%s%s%s", ctl_str(o, "at"),
                           ctl_duration(ctl_int(o, "since_last_ms"), since), ctl_str(o, "what"),
                           ctl_str(o, "vm"), ctl_str(o, "vm")[0] != '\0' ? ": " : "",
                           console ? "" : ctl_str(o, "detail"), repeated);
        }
        print_console(console ? ctl_str(o, "detail") : "");
        went_before = console;
    }
}

static void print_run(const json_t *answer)
{
    size_t i;
    json_t *o;
    printable_line(stdout, "run %lld: %zu jobs", (long long)ctl_int(answer, "run"),
                   json_array_size(json_object_get(answer, "jobs")));
    json_array_foreach(json_object_get(answer, "jobs"), i, o)
    {
        printable_line(stdout, "  job %lld \"%s\": %s: %s", (long long)ctl_int(o, "job"),
                       ctl_str(o, "name"), ctl_str(o, "reason"), ctl_str(o, "sentence"));
    }
}

void ctl_why_print(const json_t *answer)
{
    char waited[24];
    char ran[24];
    if (json_object_get(answer, "jobs") != NULL) {
        print_run(answer);
        return;
    }
    printable_line(stdout, "job %lld: %s", (long long)ctl_int(answer, "job"),
                   ctl_str(answer, "state")[0] != '\0' ? ctl_str(answer, "state")
                                                       : "not in the ledger");
    if (json_object_get(answer, "state") != NULL) {
        const char *workflow = ctl_str(answer, "workflow");
        printable_line(stdout, "  \"%s\" of %s%s%s%s, class %s, labels %s", ctl_str(answer, "name"),
                       ctl_str(answer, "repository"), workflow[0] != '\0' ? ", workflow \"" : "",
                       workflow, workflow[0] != '\0' ? "\"" : "", ctl_str(answer, "class"),
                       ctl_str(answer, "labels"));
        const char *target = ctl_str(answer, "target");
        printable_line(stdout, "  waited %s, ran %s%s%s",
                       ctl_duration(ctl_int(answer, "waited_ms"), waited),
                       ctl_duration(ctl_int(answer, "ran_ms"), ran),
                       target[0] != '\0' ? ", its VM at target " : "", target);
    }
    printable_line(stdout, "  %s: %s", ctl_str(answer, "reason"), ctl_str(answer, "sentence"));
    printable_line(stdout, "%s", "");
    print_timeline(answer);
}
