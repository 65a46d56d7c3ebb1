/*
 * What is usual of a class: how long after the receipt of a job each step of its VM came, in the median
 * of the newest jobs that have run. A job that got another one's VM is left out: the steps of that began
 * before it was received, or for another reason.
 */
#include <stdlib.h>
#include <string.h>

#include "deploy/ctl/console/console.h"

#define LOOKED_AT (2 * CONSOLE_JOBS_OF_USUAL) /* some ran on others' VMs */

/* In their order; a program that knows more of a VM's start logs more of them. */
static const char *const steps[] = {"reserved", "registered", "launched",
                                    "booted",   "online",     "running"};

struct usual {
    int64_t ms[COUNT_OF(steps)][CONSOLE_JOBS_OF_USUAL];
    size_t count[COUNT_OF(steps)];
    size_t jobs;
};

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static size_t step_named(const char *what)
{
    size_t i = 0;
    while (i < COUNT_OF(steps) && strcmp(what, steps[i]) != 0) {
        i++;
    }
    return i;
}

/* When the VM that ran the job took each step; 0: it is not known. */
static void read_steps(const struct ledger_job *j, const struct ledger_entry *lines, size_t n,
                       int64_t at_ms[COUNT_OF(steps)])
{
    for (size_t i = 0; i < n; i++) {
        size_t step = step_named(lines[i].what);
        if (step < COUNT_OF(steps) && strcmp(lines[i].vm, j->facts.runner_name) == 0 &&
            at_ms[step] == 0) {
            at_ms[step] = lines[i].at_ms;
        }
    }
    at_ms[step_named("running")] = j->running_ms;
}

static void add_job(struct usual *u, const struct ledger_job *j, const int64_t *at_ms)
{
    if (at_ms[0] < j->waiting_ms) { /* without a slot, or with another's */
        return;
    }
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        if (at_ms[i] >= j->waiting_ms) {
            u->ms[i][u->count[i]++] = at_ms[i] - j->waiting_ms;
        }
    }
    u->jobs++;
}

static int read_job(struct ctl *c, struct usual *u, const struct ledger_job *j, struct err *e)
{
    struct ledger_entry *lines = NULL;
    size_t n = 0;
    int64_t at_ms[COUNT_OF(steps)] = {0};
    if (j->running_ms == 0 || j->waiting_ms == 0 || j->facts.runner_name[0] == '\0') {
        return 0;
    }
    if (ledger_timeline(c->ledger, j->facts.id, &lines, &n, e) != 0) {
        return -1;
    }
    read_steps(j, lines, n, at_ms);
    add_job(u, j, at_ms);
    free(lines);
    return 0;
}

static json_t *describe(struct usual *u, const char *class_name)
{
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        size_t n = u->count[i];
        if (n > 0) {
            qsort(u->ms[i], n, sizeof u->ms[i][0], compare_times);
            json_array_append_new(list, json_pack("{s:s, s:I}", "what", steps[i], "after_ms",
                                                  (json_int_t)u->ms[i][n / 2]));
        }
    }
    return json_pack("{s:o, s:I, s:o}", "class", ctl_text(class_name), "jobs", (json_int_t)u->jobs,
                     "steps", list);
}

int usual_build(struct ctl *c, const char *class_name, json_t **out, struct err *e)
{
    const struct ledger_jobs_query query = {
        .states = 1U << JOB_DONE, .class_name = class_name, .after = "", .max = LOOKED_AT};
    struct usual *u = calloc(1, sizeof *u);
    struct ledger_job *jobs = NULL;
    char next[LEDGER_CURSOR_SIZE];
    size_t n = 0;
    ASSERT(u != NULL);
    int rc = ledger_jobs_list(c->ledger, &query, &jobs, &n, next, e);
    for (size_t i = 0; rc == 0 && i < n && u->jobs < CONSOLE_JOBS_OF_USUAL; i++) {
        rc = read_job(c, u, &jobs[i], e);
    }
    if (rc == 0) {
        *out = describe(u, class_name);
    } else {
        rc = err_said_by(e, ERR_FROM_LEDGER);
    }
    free(jobs);
    free(u);
    return rc;
}
