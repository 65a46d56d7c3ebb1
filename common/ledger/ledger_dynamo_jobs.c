#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/ledger_dynamo.h"

#define PAGE 100

/* --- note --- */
struct note {
    const struct job_event *ev;
    const char *scope;
    struct ledger_effect effect;
    struct ledger_dynamo_job job; /* after */
    struct ledger_dynamo_vm vm;   /* after; not known if none of ours */
};

/* What the delivery does to the VM whose runner it is about, if that is ours. */
static int note_vm(struct ledger_dynamo_txn *t, struct note *n, struct ledger_vm *before,
                   struct ledger_change *change, struct err *e)
{
    const char *runner = ledger_rule_runner(n->ev, &n->job.job);
    bool loaded = strcmp(runner, n->ev->job.runner_name) == 0;
    *change = (struct ledger_change){false, false};
    if (runner[0] == '\0') {
        n->vm.known = false;
        return 0;
    }
    if (!loaded && ledger_dynamo_load_vm(t, runner, &n->vm, e) != 0) {
        return -1;
    }
    if (!n->vm.known) {
        return 0;
    }
    *before = n->vm.vm;
    *change = ledger_rule_note_vm(&n->vm.vm, &n->job.job, n->effect.changed, n->ev, t->now_ms);
    (void)snprintf(n->effect.vm, sizeof n->effect.vm, "%s", n->vm.vm.name);
    n->effect.vm_changed = change->state;
    n->effect.vm_state = n->vm.vm.state;
    return 0;
}

static int note_round(struct ledger_dynamo_txn *t, struct note *n, bool *done, struct err *e)
{
    struct ledger_line job_line = {.what = NULL};
    struct ledger_line vm_line = {.what = NULL};
    struct ledger_change vm_change;
    struct ledger_vm vm_before;
    if (ledger_dynamo_load_both(t, n->ev->job.id, n->ev->job.runner_name, &n->job, &n->vm, e) !=
        0) {
        return -1;
    }
    bool known = n->job.known;
    struct ledger_job before = n->job.job;
    n->effect = (struct ledger_effect){.known_before = known, .before = before.state};
    struct ledger_change change =
        ledger_rule_note_job(&n->job.job, known, n->ev, n->scope, t->now_ms);
    n->effect.changed = change.state;
    n->effect.after = n->job.job.state;
    if (note_vm(t, n, &vm_before, &vm_change, e) != 0) {
        return -1;
    }
    if (change.state) {
        n->job.told = 0;
        ledger_word_noted(&job_line, &n->job.job, n->ev, n->vm.known);
        (void)ledger_dynamo_tell_job(t, &n->job, "", &job_line);
    }
    if (vm_change.state) {
        ledger_word_vm(&vm_line, &n->vm.vm, NULL);
        (void)ledger_dynamo_tell_vm(t, &n->vm, &vm_line);
    }
    bool related = n->vm.known && vm_change.row && n->vm.vm.job_id == n->job.job.facts.id;
    if (related) {
        ledger_dynamo_relate(&n->job, n->vm.vm.name);
    }
    if (vm_change.row) {
        ledger_dynamo_write_vm(t, &vm_before, &n->vm);
    }
    if (change.row || related) {
        ledger_dynamo_write_job(t, known ? &before : NULL, &n->job);
    }
    return ledger_dynamo_commit(t, done, e);
}

int ledger_dynamo_note(void *state, const struct job_event *ev, const char *scope,
                       struct ledger_effect *out, struct err *e)
{
    struct note n = {.ev = ev, .scope = scope};
    struct ledger_dynamo_txn t;
    bool done = false;
    int rc;
    ledger_dynamo_begin(&t, state);
    do {
        rc = note_round(&t, &n, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
    if (rc == 0) {
        *out = n.effect;
    }
    return rc;
}

/* --- get --- */
static int unknown_job(int64_t id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "the ledger knows no job %lld", (long long)id);
}

int ledger_dynamo_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct ledger_dynamo_job row;
    if (ledger_dynamo_find_job(state, job_id, &row, e) != 0) {
        return -1;
    }
    if (!row.known) {
        return unknown_job(job_id, e);
    }
    *out = row.job;
    return 0;
}

/* --- settle --- */
struct settle {
    int64_t id;
    enum ledger_job_state to;
    const char *why;
};

static int settle_vm(struct ledger_dynamo_txn *t, const struct ledger_job *job, struct err *e)
{
    struct ledger_dynamo_vm row;
    struct ledger_line line;
    if (job->facts.runner_name[0] == '\0') {
        return 0;
    }
    if (ledger_dynamo_load_vm(t, job->facts.runner_name, &row, e) != 0) {
        return -1;
    }
    struct ledger_vm before = row.vm;
    if (!row.known || !ledger_rule_settle_vm(&row.vm, job, t->now_ms).state) {
        return 0;
    }
    ledger_word_vm(&line, &row.vm, NULL);
    (void)ledger_dynamo_tell_vm(t, &row, &line);
    ledger_dynamo_write_vm(t, &before, &row);
    return 0;
}

static int settle_round(struct ledger_dynamo_txn *t, const struct settle *s, bool *done,
                        struct err *e)
{
    struct ledger_dynamo_job row;
    struct ledger_line line;
    if (ledger_dynamo_load_job(t, s->id, &row, e) != 0) {
        return -1;
    }
    if (!row.known) {
        return unknown_job(s->id, e);
    }
    struct ledger_job before = row.job;
    if (!ledger_rule_settle(&row.job, s->to, t->now_ms)) {
        *done = true;
        return 0;
    }
    row.told = 0;
    ledger_word_settled(&line, &row.job, s->why);
    (void)ledger_dynamo_tell_job(t, &row, "", &line);
    if (settle_vm(t, &row.job, e) != 0) {
        return -1;
    }
    ledger_dynamo_write_job(t, &before, &row);
    return ledger_dynamo_commit(t, done, e);
}

int ledger_dynamo_job_settle(void *state, int64_t job_id, enum ledger_job_state to, const char *why,
                             struct err *e)
{
    struct settle s = {.id = job_id, .to = to, .why = why};
    struct ledger_dynamo_txn t;
    bool done = false;
    int rc;
    ledger_dynamo_begin(&t, state);
    do {
        rc = settle_round(&t, &s, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
    return rc;
}

/* --- waiting too long --- */
static int read_waiting(const struct ledger_dynamo_got *rows, const struct ledger_waiting *q,
                        struct ledger_list *jobs, struct err *e)
{
    for (size_t i = 0; i < rows->count && jobs->count < q->max; i++) {
        struct ledger_dynamo_job row;
        if (ledger_dynamo_unpack_job(rows->items[i], &row, e) != 0) {
            return -1;
        }
        /* The index shows what was; the row says what is. */
        if (row.known && row.job.state == JOB_WAITING && row.job.waiting_ms < q->before_ms &&
            row.job.relaunched_ms < q->before_ms && strcmp(row.job.scope, q->scope) == 0 &&
            strcmp(row.job.facts.class_name, q->class_name) == 0) {
            *(struct ledger_job *)ledger_list_add(jobs) = row.job;
        }
    }
    return 0;
}

static int by_waiting(const void *a, const void *b)
{
    const struct ledger_job *x = a;
    const struct ledger_job *y = b;
    int older = (x->waiting_ms > y->waiting_ms) - (x->waiting_ms < y->waiting_ms);
    return older != 0 ? older : (x->facts.id > y->facts.id) - (x->facts.id < y->facts.id);
}

int ledger_dynamo_jobs_waiting(void *state, const struct ledger_waiting *query,
                               struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_dynamo *l = state;
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    struct ledger_dynamo_walk walk = ledger_dynamo_walk(l, PAGE, query->before_ms, "waiting:%s|%s",
                                                        query->scope, query->class_name);
    bool more = true;
    int rc = 0;
    while (rc == 0 && more && jobs.count < query->max) {
        struct ledger_dynamo_got rows = {.count = 0};
        rc = ledger_dynamo_query_rows(l, &walk, &rows, e);
        rc = rc == 0 ? read_waiting(&rows, query, &jobs, e) : rc;
        more = rows.count == PAGE;
        ledger_dynamo_got_fini(&rows);
    }
    if (rc != 0) {
        free(jobs.items);
        return -1;
    }
    if (jobs.count > 1) {
        qsort(jobs.items, jobs.count, jobs.item_size, by_waiting);
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

static int relaunched_round(struct ledger_dynamo_txn *t, int64_t id, bool *done, struct err *e)
{
    struct ledger_dynamo_job row;
    struct ledger_line line;
    if (ledger_dynamo_load_job(t, id, &row, e) != 0) {
        return -1;
    }
    if (!row.known) {
        return unknown_job(id, e);
    }
    struct ledger_job before = row.job;
    row.job.relaunched_ms = t->now_ms;
    row.job.relaunches++;
    row.told = 0;
    ledger_word_relaunched(&line, &row.job);
    (void)ledger_dynamo_tell_job(t, &row, "", &line);
    ledger_dynamo_write_job(t, &before, &row);
    return ledger_dynamo_commit(t, done, e);
}

int ledger_dynamo_job_relaunched(void *state, int64_t job_id, struct err *e)
{
    struct ledger_dynamo_txn t;
    bool done = false;
    int rc;
    ledger_dynamo_begin(&t, state);
    do {
        rc = relaunched_round(&t, job_id, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
    return rc;
}
