#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/memory/memory.h"

/* Jobs, VMs and their timelines: what is read of them, counted of them, and removed. */

#define LIST(name) offsetof(struct ledger_memory, name)

struct ledger_memory_job *ledger_memory_job(struct ledger_memory *m, int64_t id)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        struct ledger_memory_job *row = ledger_memory_at(&m->jobs, i);
        if (row->job.facts.id == id) {
            return row;
        }
    }
    return NULL;
}

int ledger_memory_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    const struct ledger_memory_job *row = ledger_memory_job(m, job_id);
    int rc = row != NULL
                 ? 0
                 : err_set(e, ERR_NOT_FOUND, 0, "the ledger knows no job %lld", (long long)job_id);
    *out = rc == 0 ? row->job : *out;
    ledger_memory_unlock(m);
    return rc;
}

int ledger_memory_vm_get(void *state, const char *name, struct ledger_vm *out, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    const struct ledger_vm *vm = ledger_memory_find(&m->vms, name, NULL, 0);
    int rc = vm != NULL ? 0 : err_set(e, ERR_NOT_FOUND, 0, "the ledger knows no VM %s", name);
    *out = rc == 0 ? *vm : *out;
    ledger_memory_unlock(m);
    return rc;
}

/* --- lists of rows --- */
static bool waits_too_long(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_job *j = item;
    const struct ledger_waiting *q = arg;
    (void)m;
    return j->state == JOB_WAITING && strcmp(j->scope, q->scope) == 0 &&
           strcmp(j->facts.class_name, q->class_name) == 0 && j->waiting_ms < q->before_ms &&
           j->relaunched_ms < q->before_ms;
}

static int by_age(const void *a, const void *b)
{
    const struct ledger_job *x = a;
    const struct ledger_job *y = b;
    int ages = (x->waiting_ms > y->waiting_ms) - (x->waiting_ms < y->waiting_ms);
    return ages != 0 ? ages : (x->facts.id > y->facts.id) - (x->facts.id < y->facts.id);
}

int ledger_memory_jobs_waiting(void *state, const struct ledger_waiting *q, struct ledger_job **out,
                               size_t *n, struct err *e)
{
    const struct ledger_memory_pick p = {LIST(jobs), waits_too_long, q, sizeof(struct ledger_job),
                                         by_age,     q->max};
    (void)e;
    return ledger_memory_pick(state, &p, out, n);
}

struct vm_query {
    unsigned mask;
    const char *after;
};

static bool is_listed(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_vm *vm = item;
    const struct vm_query *q = arg;
    (void)m;
    return (q->mask & (1U << vm->state)) != 0 && strcmp(vm->name, q->after) > 0;
}

int ledger_memory_vm_list(void *state, unsigned state_mask, const char *after, size_t max,
                          struct ledger_vm **out, size_t *n, struct err *e)
{
    const struct vm_query q = {state_mask, after};
    const struct ledger_memory_pick p = {
        LIST(vms), is_listed, &q, sizeof(struct ledger_vm), ledger_memory_by_text, max};
    (void)e;
    return ledger_memory_pick(state, &p, out, n);
}

static bool is_named_cell(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_cell *cell = item;
    const char *const *names = arg; /* kind, and name or NULL */
    (void)m;
    return strcmp(cell->kind, names[0]) == 0 &&
           (names[1] == NULL || strcmp(cell->name, names[1]) == 0);
}

int ledger_memory_cells(void *state, const char *kind, const char *name, struct ledger_cell **out,
                        size_t *n, struct err *e)
{
    const char *const names[] = {kind, name};
    const struct ledger_memory_pick p = {
        LIST(cells), is_named_cell, names, sizeof(struct ledger_cell), NULL, SIZE_MAX};
    (void)e;
    return ledger_memory_pick(state, &p, out, n);
}

/* --- the timeline --- */
struct subject { /* a job, or with job 0 a VM by itself */
    int64_t job_id;
    const char *vm;
};

static bool is_about(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_entry *entry = item;
    const struct subject *s = arg;
    (void)m;
    return entry->job_id == s->job_id && (s->job_id != 0 || strcmp(entry->vm, s->vm) == 0);
}

static bool is_that(struct ledger_memory *m, const void *item, const void *arg)
{
    (void)m;
    return item == arg;
}

void ledger_memory_add_line(struct ledger_memory *m, int64_t job_id, const char *vm,
                            const struct ledger_line *line)
{
    const struct subject s = {job_id, vm};
    const struct ledger_entry *last = NULL;
    const void *given_up = NULL;
    size_t count = 0;
    if (line->what == NULL) {
        return;
    }
    for (size_t i = 0; i < m->entries.count; i++) {
        if (is_about(m, ledger_memory_at(&m->entries, i), &s)) {
            last = ledger_memory_at(&m->entries, i);
            given_up = count++ == LEDGER_LINES_FIRST ? last : given_up;
        }
    }
    if (last != NULL && strcmp(last->what, line->what) == 0 &&
        strcmp(last->detail, line->detail) == 0) {
        return;
    }
    if (count >= LEDGER_LINES_MAX) {
        (void)ledger_memory_remove(m, &m->entries, is_that, given_up, 1);
    }
    struct ledger_entry *entry = ledger_list_add(&m->entries);
    entry->at_ms = clock_wall_ms();
    entry->job_id = job_id;
    (void)snprintf(entry->vm, sizeof entry->vm, "%s", vm);
    (void)snprintf(entry->what, sizeof entry->what, "%s", line->what);
    (void)snprintf(entry->detail, sizeof entry->detail, "%s", line->detail);
}

/* A line of the job, or one that names a VM which was launched for it or ran it. */
static bool belongs(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_entry *entry = item;
    const int64_t *id = arg;
    const struct ledger_vm *vm = ledger_memory_find(&m->vms, entry->vm, NULL, 0);
    return (*id != 0 && entry->job_id == *id) ||
           (vm != NULL && (vm->for_job == *id || (*id != 0 && vm->job_id == *id)));
}

int ledger_memory_timeline(void *state, int64_t job_id, struct ledger_entry **out, size_t *n,
                           struct err *e)
{
    const struct ledger_memory_pick p = {
        LIST(entries), belongs, &job_id, sizeof(struct ledger_entry), NULL, SIZE_MAX};
    (void)e;
    return ledger_memory_pick(state, &p, out, n);
}

/* --- counts --- */
/* Makes a list of the rows and gives it to the caller. */
static int count_rows(void *state, size_t item_size,
                      void (*add_job)(struct ledger_list *l, const struct ledger_job *j),
                      void (*add_vm)(struct ledger_list *l, const struct ledger_vm *vm), void *out,
                      size_t *n)
{
    struct ledger_list found = {.item_size = item_size};
    struct ledger_memory *m = ledger_memory_lock(state);
    for (size_t i = 0; add_job != NULL && i < m->jobs.count; i++) {
        add_job(&found, ledger_memory_at(&m->jobs, i));
    }
    for (size_t i = 0; i < m->vms.count; i++) {
        add_vm(&found, ledger_memory_at(&m->vms, i));
    }
    ledger_memory_unlock(m);
    if (found.count > 0) {
        qsort(found.items, found.count, found.item_size, ledger_memory_by_text);
    }
    memcpy(out, &found.items, sizeof found.items);
    *n = found.count;
    return 0;
}

static struct ledger_balance *balance_of(struct ledger_list *l, const char *scope,
                                         const char *class_name)
{
    return ledger_memory_need(l, scope, class_name, offsetof(struct ledger_balance, class_name));
}

static void add_demand(struct ledger_list *l, const struct ledger_job *j)
{
    if (j->state == JOB_WAITING) {
        struct ledger_balance *b = balance_of(l, j->scope, j->facts.class_name);
        if (b->demand++ == 0 || j->waiting_ms < b->oldest_waiting_ms) {
            b->oldest_waiting_ms = j->waiting_ms;
        }
    }
}

static void add_supply(struct ledger_list *l, const struct ledger_vm *vm)
{
    if (vm->state < VM_BUSY) {
        balance_of(l, vm->scope, vm->class_name)->supply++;
    }
}

int ledger_memory_balances(void *state, struct ledger_balance **out, size_t *n, struct err *e)
{
    (void)e;
    return count_rows(state, sizeof **out, add_demand, add_supply, out, n);
}

static void add_scope(struct ledger_list *l, const struct ledger_vm *vm)
{
    struct ledger_scope *s = ledger_memory_need(l, vm->scope, NULL, 0);
    s->installation_id = vm->installation_id > 0 ? vm->installation_id : s->installation_id;
}

int ledger_memory_scopes(void *state, struct ledger_scope **out, size_t *n, struct err *e)
{
    (void)e;
    return count_rows(state, sizeof **out, NULL, add_scope, out, n);
}

static void count_job(struct ledger_list *l, const struct ledger_job *j)
{
    ((struct ledger_count *)ledger_memory_need(l, j->facts.class_name, NULL, 0))->jobs[j->state]++;
}

static void count_vm(struct ledger_list *l, const struct ledger_vm *vm)
{
    ((struct ledger_count *)ledger_memory_need(l, vm->class_name, NULL, 0))->vms[vm->state]++;
}

int ledger_memory_counts(void *state, struct ledger_count **out, size_t *n, struct err *e)
{
    (void)e;
    return count_rows(state, sizeof **out, count_job, count_vm, out, n);
}

/* --- tidying: what is older than *arg --- */
static bool is_old_vm(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_vm *vm = item;
    const struct subject s = {0, vm->name};
    bool old = vm->state == VM_GONE && vm->gone_ms < *(const int64_t *)arg;
    if (old) {
        (void)ledger_memory_remove(m, &m->entries, is_about, &s, SIZE_MAX);
    }
    return old;
}

/* It is over; or it was only seen, and an approval never came: a later delivery would make the row
 * anew. */
static bool is_old_job(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_job *j = item;
    const struct subject s = {j->facts.id, ""};
    int64_t before_ms = *(const int64_t *)arg;
    bool old = ledger_job_over(j->state) ? j->ended_ms < before_ms
                                         : j->state == JOB_SEEN && j->updated_ms < before_ms;
    if (old) {
        (void)ledger_memory_remove(m, &m->entries, is_about, &s, SIZE_MAX);
    }
    return old;
}

static bool is_old_bucket(struct ledger_memory *m, const void *item, const void *arg)
{
    const struct ledger_bucket_row *row = &((const struct ledger_memory_bucket *)item)->row;
    (void)m;
    return row->at_ms < *(const int64_t *)arg && row->paused_until_ms < *(const int64_t *)arg;
}

int ledger_memory_tidy(void *state, int64_t before_ms, size_t max, int64_t *removed, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    (void)e;
    *removed = (int64_t)(ledger_memory_remove(m, &m->vms, is_old_vm, &before_ms, max) +
                         ledger_memory_remove(m, &m->jobs, is_old_job, &before_ms, max) +
                         ledger_memory_remove(m, &m->buckets, is_old_bucket, &before_ms, max));
    ledger_memory_unlock(m);
    return 0;
}
