/*
 * `mayflyctl jobs [--class CLASS] [--repository OWNER/NAME] [--run ID] [--state STATE,…] [--after CURSOR]
 * [--limit N]`: a page of the jobs that the ledger knows (ledger_jobs_list).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/printable.h"
#include "deploy/ctl/ctl.h"

#define LIMIT_DEFAULT 100
#define STATE_NAMES "seen, waiting, running, done, cancelled; ended, for the last two"

/* 0: there is no such state. */
static unsigned states_named(struct slice name)
{
    if (slice_eq_cstr(name, "ended")) {
        return 1u << JOB_DONE | 1u << JOB_CANCELLED;
    }
    for (enum ledger_job_state s = JOB_SEEN; s <= JOB_CANCELLED; s++) {
        if (slice_eq_cstr(name, ledger_job_state_name(s))) {
            return 1u << s;
        }
    }
    return 0;
}

static int read_states(const char *given, unsigned *out, struct err *e)
{
    struct slice rest = slice_of(given);
    *out = 0;
    do {
        struct slice name;
        (void)slice_cut(rest, ',', &name, &rest);
        unsigned states = states_named(name);
        if (states == 0) {
            return err_set(e, ERR_PERMANENT, 0, "--state %.60s: the states are " STATE_NAMES,
                           given);
        }
        *out |= states;
    } while (rest.len > 0);
    return 0;
}

static int read_query(struct ctl *c, struct ledger_jobs_query *out, struct err *e)
{
    int64_t limit;
    const char *after = ctl_option(c, "--after");
    const char *state = ctl_option(c, "--state");
    *out = (struct ledger_jobs_query){.states = ~0u,
                                      .class_name = ctl_option(c, "--class"),
                                      .repository = ctl_option(c, "--repository"),
                                      .after = after != NULL ? after : ""};
    if (ctl_option_number(c, "--limit", 1, LEDGER_JOBS_MAX, LIMIT_DEFAULT, &limit, e) != 0 ||
        ctl_option_number(c, "--run", 1, INT64_MAX, 0, &out->run_id, e) != 0) {
        return -1;
    }
    out->max = (size_t)limit;
    if (state != NULL && read_states(state, &out->states, e) != 0) {
        c->exit_code = CTL_EXIT_USAGE;
        return -1;
    }
    return 0;
}

static int64_t since_ms(const struct ledger_job *job)
{
    switch (job->state) {
    case JOB_WAITING:
        return job->waiting_ms;
    case JOB_RUNNING:
        return job->running_ms;
    case JOB_DONE:
    case JOB_CANCELLED:
        return job->ended_ms;
    case JOB_SEEN:
        break;
    }
    return job->updated_ms;
}

static json_t *describe(const struct ledger_job *job, int64_t now_ms)
{
    const struct job *f = &job->facts;
    return json_pack(
        "{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o, s:o, "
        "s:I}",
        "job", (json_int_t)f->id, "state", ledger_job_state_name(job->state), "class",
        ctl_text(f->class_name), "repository", ctl_text(f->repository), "name", ctl_text(f->name),
        "workflow", ctl_text(f->workflow), "labels", ctl_text(f->labels), "scope",
        ctl_text(job->scope), "run", (json_int_t)f->run_id, "run_attempt",
        (json_int_t)f->run_attempt, "created_at", ctl_time(f->created_ms), "waiting_since",
        ctl_time(job->waiting_ms), "running_since", ctl_time(job->running_ms), "ended_at",
        ctl_time(job->ended_ms), "age_ms", (json_int_t)(now_ms - since_ms(job)), "runner",
        ctl_text(f->runner_name), "conclusion", ctl_text(f->conclusion), "relaunches",
        (json_int_t)job->relaunches);
}

/* Of the configuration, or of a job or a VM that is known. */
static int check_class(struct ctl *c, const char *class_name, struct err *e)
{
    struct ledger_count *counts = NULL;
    size_t n = 0;
    bool known =
        class_name == NULL || config_class_by_name(c->config, slice_of(class_name)) != NULL;
    if (known) {
        return 0;
    }
    if (ledger_counts(c->ledger, &counts, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        known |= strcmp(counts[i].class_name, class_name) == 0;
    }
    free(counts);
    return known ? 0 : ctl_refuse_class(c, class_name, e);
}

int ctl_jobs(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_jobs_query query;
    struct ledger_job *jobs = NULL;
    char next[LEDGER_CURSOR_SIZE];
    size_t n = 0;
    if (read_query(c, &query, e) != 0 || check_class(c, query.class_name, e) != 0 ||
        ledger_jobs_list(c->ledger, &query, &jobs, &n, next, e) != 0) {
        return -1;
    }
    json_t *list = json_array();
    int64_t now_ms = ledger_now_ms(c->ledger);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, describe(&jobs[i], now_ms));
    }
    free(jobs);
    *out = json_pack("{s:o, s:o}", "jobs", list, "next",
                     next[0] != '\0' ? ctl_text(next) : json_null());
    return 0;
}

void ctl_jobs_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    char age[24];
    const char *next = ctl_str(answer, "next");
    printable_line(stdout, "%-14s %-9s %-16s %9s %-32s %s", "JOB", "STATE", "CLASS", "AGE",
                   "REPOSITORY", "NAME");
    json_array_foreach(json_object_get(answer, "jobs"), i, o)
    {
        printable_line(stdout, "%-14lld %-9s %-16s %9s %-32s %s", (long long)ctl_int(o, "job"),
                       ctl_str(o, "state"), ctl_str(o, "class"),
                       ctl_duration(ctl_int(o, "age_ms"), age), ctl_str(o, "repository"),
                       ctl_str(o, "name"));
    }
    if (next[0] != '\0') {
        printable_line(stdout, "there may be more: the same command with --after %s", next);
    }
}
