#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* --- counts --- */
static struct ledger_count *dynamo_count_of(struct ledger_list *list, const char *class_name)
{
    struct ledger_count *all = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(all[i].class_name, class_name) == 0) {
            return &all[i];
        }
    }
    struct ledger_count *c = ledger_list_add(list);
    (void)snprintf(c->class_name, sizeof c->class_name, "%s", class_name);
    return c;
}

/* "j1.small": jobs waiting of class small. */
static void dynamo_add_count(struct ledger_list *list, const char *name, int64_t n)
{
    size_t state = (size_t)(name[0] != '\0' ? name[1] - '0' : 0);
    if ((name[0] != 'j' && name[0] != 'v') || name[1] < '0' || name[1] > '9' || name[2] != '.') {
        return;
    }
    struct ledger_count *c = dynamo_count_of(list, name + 3);
    if (name[0] == 'j' && state < COUNT_OF(c->jobs)) {
        c->jobs[state] += n;
    } else if (name[0] == 'v' && state < COUNT_OF(c->vms)) {
        c->vms[state] += n;
    }
}

static bool is_empty(const struct ledger_count *c)
{
    int64_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(c->jobs); i++) {
        sum += c->jobs[i];
    }
    for (size_t i = 0; i < COUNT_OF(c->vms); i++) {
        sum += c->vms[i];
    }
    return sum == 0;
}

static int dynamo_compare_by_class(const void *a, const void *b)
{
    const struct ledger_count *x = a;
    const struct ledger_count *y = b;
    return strcmp(x->class_name, y->class_name);
}

static void add_counts_of(struct ledger_list *list, const struct ledger_dynamo_got *got)
{
    for (size_t i = 0; i < got->count; i++) {
        const char *name;
        json_t *value;
        json_object_foreach(got->items[i], name, value)
        {
            dynamo_add_count(list, name, ledger_dynamo_read_number(got->items[i], name));
        }
    }
}

int ledger_dynamo_counts(void *state, struct ledger_count **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_count)};
    struct ledger_dynamo_key keys[LEDGER_DYNAMO_COUNTS];
    struct ledger_dynamo_got shards;
    struct ledger_dynamo_got counts;
    size_t kept = 0;
    for (unsigned i = 0; i < LEDGER_DYNAMO_COUNTS; i++) {
        keys[i] = ledger_dynamo_count_key(state, i);
    }
    if (ledger_dynamo_read_shards(state, false, &shards, e) != 0) {
        return -1;
    }
    if (ledger_dynamo_get(state, keys, COUNT_OF(keys), &counts, e) != 0) {
        ledger_dynamo_got_fini(&shards);
        return -1;
    }
    add_counts_of(&list, &shards);
    add_counts_of(&list, &counts);
    ledger_dynamo_got_fini(&counts);
    ledger_dynamo_got_fini(&shards);
    struct ledger_count *all = list.items;
    for (size_t i = 0; i < list.count; i++) {
        if (!is_empty(&all[i])) {
            all[kept++] = all[i];
        }
    }
    if (kept > 1) {
        qsort(all, kept, sizeof *all, dynamo_compare_by_class);
    }
    *out = all;
    *n = kept;
    return 0;
}

/* --- demand and supply of every pair --- */
static struct ledger_dynamo_total *total_of(struct ledger_list *list, const json_t *item)
{
    struct ledger_dynamo_total wanted = {.demand = 0};
    struct ledger_dynamo_total *all = list->items;
    ledger_dynamo_read_text(item, "scope", wanted.scope, sizeof wanted.scope);
    ledger_dynamo_read_text(item, "class", wanted.class_name, sizeof wanted.class_name);
    /* Items come in the order of their keys: a pair's stand together, nearly always. */
    for (size_t i = list->count; i > 0; i--) {
        if (strcmp(all[i - 1].scope, wanted.scope) == 0 &&
            strcmp(all[i - 1].class_name, wanted.class_name) == 0) {
            return &all[i - 1];
        }
    }
    struct ledger_dynamo_total *t = ledger_list_add(list);
    *t = wanted;
    return t;
}

static int dynamo_compare_by_pair(const void *a, const void *b)
{
    const struct ledger_dynamo_total *x = a;
    const struct ledger_dynamo_total *y = b;
    int scopes = strcmp(x->scope, y->scope);
    return scopes != 0 ? scopes : strcmp(x->class_name, y->class_name);
}

int ledger_dynamo_totals(struct ledger_dynamo *l, struct ledger_dynamo_total **out, size_t *n,
                         struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_dynamo_total)};
    struct ledger_dynamo_got got;
    char pk[64];
    (void)snprintf(pk, sizeof pk, "%s:pair", l->url.prefix);
    struct ledger_dynamo_query q = {.pk = pk};
    if (ledger_dynamo_query(l, &q, &got, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < got.count; i++) {
        const json_t *item = got.items[i];
        struct ledger_dynamo_total *t = total_of(&list, item);
        int64_t both = ledger_dynamo_read_number(item, "b");
        t->both += both;
        t->demand += ledger_dynamo_read_number(item, "d") - both;
        t->supply += ledger_dynamo_read_number(item, "s") - both;
        t->vms += ledger_dynamo_read_number(item, "vms");
        t->changes += ledger_dynamo_read_number(item, "n");
        t->changed_ms += ledger_dynamo_read_number(item, "changed");
        t->installation_id += ledger_dynamo_read_number(item, "install");
        t->installed_ms += ledger_dynamo_read_number(item, "installed");
    }
    ledger_dynamo_got_fini(&got);
    if (list.count > 1) {
        qsort(list.items, list.count, list.item_size, dynamo_compare_by_pair);
    }
    *out = list.items;
    *n = list.count;
    return 0;
}

/* --- balances --- */
#define OLDEST_LOOKED_AT 10

/* The index lags: of the oldest it shows, some may have been served since; one that it does not
 * show yet waits since just now. */
static int dynamo_read_oldest(struct ledger_dynamo *l, struct ledger_balance *b, struct err *e)
{
    struct ledger_dynamo_got rows;
    struct ledger_dynamo_walk walk =
        ledger_dynamo_walk(l, OLDEST_LOOKED_AT, 0, "waiting:%s|%s", b->scope, b->class_name);
    int rc = 0;
    if (ledger_dynamo_query_rows(l, &walk, &rows, e) != 0) {
        return -1;
    }
    b->oldest_waiting_ms = 0;
    for (size_t i = 0; rc == 0 && i < rows.count && b->oldest_waiting_ms == 0; i++) {
        struct ledger_dynamo_job row;
        rc = ledger_dynamo_unpack_job(rows.items[i], &row, e);
        if (rc == 0 && row.known && row.job.state == JOB_WAITING) {
            b->oldest_waiting_ms = row.job.waiting_ms;
        }
    }
    ledger_dynamo_got_fini(&rows);
    if (b->oldest_waiting_ms == 0) {
        b->oldest_waiting_ms = clock_wall_ms();
    }
    return rc;
}

int ledger_dynamo_balances(void *state, struct ledger_balance **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_balance)};
    struct ledger_dynamo_total *totals = NULL;
    size_t count = 0;
    int rc = ledger_dynamo_totals(state, &totals, &count, e);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct ledger_dynamo_total *t = &totals[i];
        if (t->demand <= 0 && t->supply <= 0) {
            continue;
        }
        struct ledger_balance *b = ledger_list_add(&list);
        (void)snprintf(b->scope, sizeof b->scope, "%s", t->scope);
        (void)snprintf(b->class_name, sizeof b->class_name, "%s", t->class_name);
        b->demand = t->demand > 0 ? t->demand : 0;
        b->supply = t->supply > 0 ? t->supply : 0;
        rc = b->demand > 0 ? dynamo_read_oldest(state, b, e) : 0;
    }
    free(totals);
    if (rc != 0) {
        free(list.items);
        return -1;
    }
    *out = list.items;
    *n = list.count;
    return 0;
}

/* --- scopes: those of pairs that rows of VMs stand in --- */
int ledger_dynamo_scopes(void *state, struct ledger_scope **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_scope)};
    struct ledger_dynamo_total *totals = NULL;
    size_t count = 0;
    int64_t newest_ms = 0;
    if (ledger_dynamo_totals(state, &totals, &count, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        const struct ledger_dynamo_total *t = &totals[i];
        struct ledger_scope *all = list.items;
        struct ledger_scope *last = list.count > 0 ? &all[list.count - 1] : NULL;
        if (t->vms <= 0) {
            continue;
        }
        if (last == NULL || strcmp(last->name, t->scope) != 0) {
            last = ledger_list_add(&list);
            (void)snprintf(last->name, sizeof last->name, "%s", t->scope);
            newest_ms = 0;
        }
        if (t->installed_ms > newest_ms) {
            last->installation_id = t->installation_id;
            newest_ms = t->installed_ms;
        }
    }
    free(totals);
    *out = list.items;
    *n = list.count;
    return 0;
}
