#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

static int dynamo_unknown_vm(const char *name, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "VM %s is not in the ledger", name);
}

/* --- get and list --- */
int ledger_dynamo_vm_get(void *state, const char *name, struct ledger_vm *out, struct err *e)
{
    struct ledger_dynamo_vm row;
    if (ledger_dynamo_find_vm(state, name, &row, e) != 0) {
        return -1;
    }
    if (!row.known) {
        return dynamo_unknown_vm(name, e);
    }
    *out = row.vm;
    return 0;
}

struct list {
    struct ledger_dynamo *l;
    unsigned mask;
    const char *after;
    size_t max;
    struct ledger_list vms;
};

#define PAGE 200

/* The first `max` of one partition that are of the mask. */
static int list_partition(struct list *a, const char *kind, unsigned shard, struct err *e)
{
    char pk[96];
    char after[336];
    size_t taken = 0;
    bool more = true;
    (void)snprintf(pk, sizeof pk, "%s:%s:%u", a->l->url.prefix, kind, shard);
    (void)snprintf(after, sizeof after, "%s", a->after[0] != '\0' ? a->after : " ");
    while (more && taken < a->max) {
        struct ledger_dynamo_query q = {.pk = pk, .how = ">", .sk = after, .max = PAGE};
        struct ledger_dynamo_got rows;
        int rc = ledger_dynamo_query(a->l, &q, &rows, e);
        if (rc != 0) {
            return -1;
        }
        more = rows.count == PAGE;
        for (size_t i = 0; rc == 0 && i < rows.count && taken < a->max; i++) {
            struct ledger_dynamo_vm row;
            rc = ledger_dynamo_unpack_vm(rows.items[i], &row, e);
            (void)snprintf(after, sizeof after, "%s", row.vm.name);
            if (rc == 0 && (a->mask >> (unsigned)row.vm.state & 1U) != 0) {
                *(struct ledger_vm *)ledger_list_add(&a->vms) = row.vm;
                taken++;
            }
        }
        ledger_dynamo_got_fini(&rows);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

static int dynamo_compare_by_name(const void *a, const void *b)
{
    const struct ledger_vm *x = a;
    const struct ledger_vm *y = b;
    return strcmp(x->name, y->name);
}

/* A VM that became gone during the read may appear in both places: the later one is valid. */
static void sort_and_cut(struct list *a)
{
    struct ledger_vm *vms = a->vms.items;
    size_t kept = 0;
    if (a->vms.count > 1) {
        qsort(vms, a->vms.count, sizeof *vms, dynamo_compare_by_name);
    }
    for (size_t i = 0; i < a->vms.count; i++) {
        bool again = kept > 0 && strcmp(vms[kept - 1].name, vms[i].name) == 0;
        if (!again) {
            vms[kept++] = vms[i];
        } else if (vms[i].state == VM_GONE) {
            vms[kept - 1] = vms[i];
        }
    }
    a->vms.count = kept < a->max ? kept : a->max;
}

/* Workers look for VMs that are ending all the time, while many are busy: the index knows those
 * few. One that has been ending for less than a moment may not be among them yet. */
static int list_ending(struct list *a, struct err *e)
{
    struct ledger_dynamo_walk walk = ledger_dynamo_walk(a->l, PAGE, 0, "ending");
    bool more = true;
    int rc = 0;
    (void)snprintf(walk.from, sizeof walk.from, "%s ", a->after); /* the next after it */
    while (rc == 0 && more && a->vms.count < a->max) {
        struct ledger_dynamo_got rows = {.count = 0};
        rc = ledger_dynamo_query_rows(a->l, &walk, &rows, e);
        more = rows.count == PAGE;
        for (size_t i = 0; rc == 0 && i < rows.count && a->vms.count < a->max; i++) {
            struct ledger_dynamo_vm row;
            rc = ledger_dynamo_unpack_vm(rows.items[i], &row, e);
            if (rc == 0 && row.known && row.vm.state == VM_ENDING) {
                *(struct ledger_vm *)ledger_list_add(&a->vms) = row.vm;
            }
        }
        ledger_dynamo_got_fini(&rows);
    }
    return rc;
}

static int list_partitions(struct list *a, struct err *e)
{
    bool live = (a->mask & ~(1U << VM_GONE)) != 0;
    bool gone = (a->mask & (1U << VM_GONE)) != 0;
    int rc = 0;
    for (unsigned s = 0; rc == 0 && s < LEDGER_DYNAMO_VM_SHARDS; s++) {
        rc = live ? list_partition(a, "vm", s, e) : 0;
        rc = rc == 0 && gone ? list_partition(a, "gone", s, e) : rc;
    }
    return rc;
}

int ledger_dynamo_vm_list(void *state, unsigned state_mask, const char *after, size_t max,
                          struct ledger_vm **out, size_t *n, struct err *e)
{
    struct list a = {.l = state,
                     .mask = state_mask,
                     .after = after,
                     .max = max,
                     .vms = {.item_size = sizeof(struct ledger_vm)}};
    int rc = state_mask == 1U << VM_ENDING ? list_ending(&a, e) : list_partitions(&a, e);
    if (rc != 0) {
        free(a.vms.items);
        return -1;
    }
    sort_and_cut(&a);
    *out = a.vms.items;
    *n = a.vms.count;
    return 0;
}

/* --- gone --- */
static int add_gone(const struct ledger_dynamo_got *rows, const struct ledger_gone *span,
                    struct ledger_list *vms, struct err *e)
{
    for (size_t i = 0; i < rows->count && vms->count < span->max; i++) {
        struct ledger_dynamo_vm row;
        if (ledger_dynamo_unpack_vm(rows->items[i], &row, e) != 0) {
            return -1;
        }
        if (row.known && row.vm.state == VM_GONE) {
            *(struct ledger_vm *)ledger_list_add(vms) = row.vm;
        }
    }
    return 0;
}

int ledger_dynamo_vms_gone(void *state, const struct ledger_gone *span, struct ledger_vm **out,
                           size_t *n, struct err *e)
{
    struct ledger_list vms = {.item_size = sizeof(struct ledger_vm)};
    struct ledger_dynamo_walk walk =
        ledger_dynamo_walk(state, PAGE, span->before_ms > 0 ? span->before_ms : 1, "gone");
    bool more = true;
    (void)snprintf(walk.from, sizeof walk.from, "%015lld", (long long)span->from_ms);
    while (more && vms.count < span->max) {
        struct ledger_dynamo_got rows = {.count = 0};
        int rc = ledger_dynamo_query_rows(state, &walk, &rows, e);
        more = rc == 0 && rows.count == PAGE;
        rc = rc == 0 ? add_gone(&rows, span, &vms, e) : rc;
        ledger_dynamo_got_fini(&rows);
        if (rc != 0) {
            free(vms.items);
            return -1;
        }
    }
    *out = vms.items;
    *n = vms.count;
    return 0;
}
