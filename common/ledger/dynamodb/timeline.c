#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

/* --- reading --- */
struct numbered {
    int64_t order;
    struct ledger_entry entry;
};

struct reading {
    struct ledger_dynamo *l;
    int64_t job_id;
    struct ledger_list lines;
};

/* Whose lines: a job's (vm ""), or a VM's by itself (job 0); and of a job's only those that name
 * `only_vm`, unless NULL. */
struct subject {
    int64_t job_id;
    const char *vm;
    const char *only_vm;
};

static void add_lines(struct reading *a, const struct subject *s, int64_t count, int64_t first,
                      const struct ledger_dynamo_line *lines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t seq = first + (int64_t)i;
        bool kept =
            seq < LEDGER_LINES_FIRST || seq >= count - (LEDGER_LINES_MAX - LEDGER_LINES_FIRST);
        if (!kept || (s->only_vm != NULL && strcmp(lines[i].vm, s->only_vm) != 0)) {
            continue;
        }
        struct numbered *out = ledger_list_add(&a->lines);
        out->order = lines[i].order;
        out->entry = (struct ledger_entry){.at_ms = lines[i].at_ms, .job_id = s->job_id};
        (void)snprintf(out->entry.vm, sizeof out->entry.vm, "%s",
                       s->job_id != 0 ? lines[i].vm : s->vm);
        (void)snprintf(out->entry.what, sizeof out->entry.what, "%s", lines[i].what);
        (void)snprintf(out->entry.detail, sizeof out->entry.detail, "%s", lines[i].detail);
    }
}

/* The row's own, and those it gave to items of their own; these are older than its first. */
static int read_lines(struct reading *a, const struct subject *s,
                      const struct ledger_dynamo_lines *tail, struct err *e)
{
    int64_t own = tail->count - (int64_t)tail->n;
    struct ledger_dynamo_got chunks = {.count = 0};
    char pk[160];
    add_lines(a, s, tail->count, own, tail->tail, tail->n);
    if (own == 0) {
        return 0;
    }
    if (s->job_id != 0) {
        (void)snprintf(pk, sizeof pk, "%s:job:%" PRId64, a->l->url.prefix, s->job_id);
    } else {
        (void)snprintf(pk, sizeof pk, "%s:lines:%s", a->l->url.prefix, s->vm);
    }
    struct ledger_dynamo_query q = {.pk = pk, .how = "begins_with", .sk = "line:"};
    if (ledger_dynamo_query(a->l, &q, &chunks, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < chunks.count; i++) {
        struct ledger_dynamo_line lines[LEDGER_DYNAMO_TAIL];
        int64_t first = ledger_dynamo_read_number(chunks.items[i], "first");
        size_t n =
            ledger_dynamo_unpack_lines(ledger_dynamo_read_slice(chunks.items[i], "lines"), lines);
        if (first < own) { /* else it was spilled after the row was read */
            add_lines(a, s, tail->count, first, lines, n);
        }
    }
    ledger_dynamo_got_fini(&chunks);
    return 0;
}

/* Lines of another job that name the VM. */
static int read_other_job(struct reading *a, int64_t job_id, const char *vm, struct err *e)
{
    struct ledger_dynamo_job row;
    struct subject s = {.job_id = job_id, .vm = "", .only_vm = vm};
    if (job_id == 0 || job_id == a->job_id) {
        return 0;
    }
    if (ledger_dynamo_find_job(a->l, job_id, &row, e) != 0) {
        return -1;
    }
    return row.known ? read_lines(a, &s, &row.lines, e) : 0;
}

static int dynamo_read_vm(struct reading *a, const char *name, struct err *e)
{
    struct ledger_dynamo_vm row;
    struct subject s = {.vm = name};
    if (ledger_dynamo_find_vm(a->l, name, &row, e) != 0) {
        return -1;
    }
    if (!row.known || (row.vm.for_job != a->job_id && row.vm.job_id != a->job_id)) {
        return 0;
    }
    if (read_lines(a, &s, &row.lines, e) != 0 || read_other_job(a, row.vm.for_job, name, e) != 0) {
        return -1;
    }
    return row.vm.job_id != row.vm.for_job ? read_other_job(a, row.vm.job_id, name, e) : 0;
}

static int by_order(const void *a, const void *b)
{
    const struct numbered *x = a;
    const struct numbered *y = b;
    int order = (x->order > y->order) - (x->order < y->order);
    return order != 0 ? order : (x->entry.job_id > 0 ? 0 : 1) - (y->entry.job_id > 0 ? 0 : 1);
}

/* Two VMs may share a job whose lines name both. */
static bool same_line(const struct numbered *x, const struct numbered *y)
{
    return x->order == y->order && x->entry.job_id == y->entry.job_id &&
           strcmp(x->entry.vm, y->entry.vm) == 0 && strcmp(x->entry.what, y->entry.what) == 0;
}

static void sort_out(struct reading *a, struct ledger_list *entries)
{
    const struct numbered *lines = a->lines.items;
    if (a->lines.count > 1) {
        qsort(a->lines.items, a->lines.count, sizeof *lines, by_order);
    }
    for (size_t i = 0; i < a->lines.count; i++) {
        if (i == 0 || !same_line(&lines[i], &lines[i - 1])) {
            *(struct ledger_entry *)ledger_list_add(entries) = lines[i].entry;
        }
    }
}

int ledger_dynamo_timeline(void *state, int64_t job_id, struct ledger_entry **out, size_t *n,
                           struct err *e)
{
    struct reading a = {
        .l = state, .job_id = job_id, .lines = {.item_size = sizeof(struct numbered)}};
    struct ledger_list entries = {.item_size = sizeof(struct ledger_entry)};
    struct subject s = {.job_id = job_id, .vm = ""};
    struct ledger_dynamo_job row;
    int rc = ledger_dynamo_find_job(a.l, job_id, &row, e);
    if (rc == 0 && row.known) {
        rc = read_lines(&a, &s, &row.lines, e);
        for (size_t i = 0; rc == 0 && i < row.vm_count; i++) {
            rc = dynamo_read_vm(&a, row.vms[i], e);
        }
    }
    if (rc == 0) {
        sort_out(&a, &entries);
        *out = entries.items;
        *n = entries.count;
    }
    free(a.lines.items);
    return rc;
}
