/* Launch latency: how long jobs waited from their receipt until they ran, of the newest ones. */
#include <stdlib.h>
#include <string.h>

#include "deploy/ctl/console/console.h"

struct waits { /* of a class */
    const char *class_name;
    int64_t *ms;
    size_t count;
};

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static struct waits *waits_of(struct waits *all, size_t *count, const char *class_name, size_t n)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(all[i].class_name, class_name) == 0) {
            return &all[i];
        }
    }
    struct waits *w = &all[(*count)++];
    *w = (struct waits){.class_name = class_name, .ms = calloc(n, sizeof(int64_t))};
    ASSERT(w->ms != NULL);
    return w;
}

static json_t *describe(struct waits *w)
{
    qsort(w->ms, w->count, sizeof w->ms[0], compare_times);
    return json_pack("{s:o, s:I, s:I, s:I}", "class", ctl_text(w->class_name), "jobs",
                     (json_int_t)w->count, "median_ms", (json_int_t)w->ms[w->count / 2], "p90_ms",
                     (json_int_t)w->ms[w->count * 9 / 10]);
}

json_t *latency_of(const struct ledger_job *jobs, size_t n)
{
    struct waits *all = calloc(n + 1, sizeof *all);
    size_t count = 0;
    json_t *list = json_array();
    ASSERT(all != NULL);
    for (size_t i = 0; i < n; i++) {
        const struct ledger_job *j = &jobs[i];
        if (j->waiting_ms > 0 && j->running_ms >= j->waiting_ms) {
            struct waits *w = waits_of(all, &count, j->facts.class_name, n);
            w->ms[w->count++] = j->running_ms - j->waiting_ms;
        }
    }
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(list, describe(&all[i]));
        free(all[i].ms);
    }
    free(all);
    return list;
}

static int read_jobs(struct ctl *c, unsigned states, struct ledger_job *jobs, size_t *n,
                     struct err *e)
{
    const struct ledger_jobs_query query = {
        .states = states, .after = "", .max = CONSOLE_JOBS_OF_LATENCY};
    struct ledger_job *found = NULL;
    char next[LEDGER_CURSOR_SIZE];
    size_t count = 0;
    if (ledger_jobs_list(c->ledger, &query, &found, &count, next, e) != 0) {
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    if (count > 0) {
        memcpy(jobs + *n, found, count * sizeof *found);
    }
    *n += count;
    free(found);
    return 0;
}

int latency_build(struct ctl *c, json_t **out, struct err *e)
{
    struct ledger_job *jobs = calloc((size_t)2 * CONSOLE_JOBS_OF_LATENCY, sizeof *jobs);
    size_t n = 0;
    ASSERT(jobs != NULL);
    int rc = read_jobs(c, 1U << JOB_RUNNING, jobs, &n, e) != 0 ||
                     read_jobs(c, 1U << JOB_DONE, jobs, &n, e) != 0
                 ? -1
                 : 0;
    if (rc == 0) {
        *out = latency_of(jobs, n);
    }
    free(jobs);
    return rc;
}
