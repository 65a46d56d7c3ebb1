#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/redis/redis.h"

/* --- hashes of numbers --- */
/* Calls each with every field and its number. */
typedef void field_fn(void *arg, struct slice field, int64_t n);

static int each_field(struct ledger_redis *l, const char *key, field_fn *fn, void *arg,
                      struct err *e)
{
    struct redis_reply *r = NULL;
    if (ledger_redis_call(l, "HGETALL", key, NULL, &r, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i + 1 < redis_reply_count(r); i += 2) {
        fn(arg, redis_reply_bytes(redis_reply_at(r, i)),
           redis_reply_int(redis_reply_at(r, i + 1), 0));
    }
    redis_reply_free(r);
    return 0;
}

static void cut(struct slice s, char *out, size_t size)
{
    if (!slice_to_cstr(s, out, size)) {
        out[0] = '\0';
    }
}

/* --- counts --- */
static void redis_add_count(void *arg, struct slice field, int64_t n)
{
    struct ledger_list *list = arg;
    struct slice kind;
    struct slice class_name;
    struct slice state;
    struct ledger_count *c = NULL;
    int64_t s;
    if (!slice_cut(field, '\0', &kind, &field) || !slice_cut(field, '\0', &class_name, &state) ||
        !slice_to_int64(state, &s) || s < 0) {
        return;
    }
    struct ledger_count *all = list->items;
    for (size_t i = 0; i < list->count && c == NULL; i++) {
        c = slice_eq_cstr(class_name, all[i].class_name) ? &all[i] : NULL;
    }
    if (c == NULL) {
        c = ledger_list_add(list);
        cut(class_name, c->class_name, sizeof c->class_name);
    }
    if (slice_eq_cstr(kind, "j") && s < (int64_t)COUNT_OF(c->jobs)) {
        c->jobs[s] = n;
    } else if (slice_eq_cstr(kind, "v") && s < (int64_t)COUNT_OF(c->vms)) {
        c->vms[s] = n;
    }
}

static int redis_compare_by_class(const void *a, const void *b)
{
    const struct ledger_count *x = a;
    const struct ledger_count *y = b;
    return strcmp(x->class_name, y->class_name);
}

int ledger_redis_counts(void *state, struct ledger_count **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_count)};
    if (each_field(state, "counts", redis_add_count, &list, e) != 0) {
        return -1;
    }
    if (list.count > 1) {
        qsort(list.items, list.count, list.item_size, redis_compare_by_class);
    }
    *out = list.items;
    *n = list.count;
    return 0;
}

/* --- balances --- */
static struct ledger_balance *balance_of(struct ledger_list *list, struct slice pair)
{
    struct slice scope;
    struct slice class_name;
    struct ledger_balance *all = list->items;
    (void)slice_cut(pair, '\0', &scope, &class_name);
    for (size_t i = 0; i < list->count; i++) {
        if (slice_eq_cstr(scope, all[i].scope) && slice_eq_cstr(class_name, all[i].class_name)) {
            return &all[i];
        }
    }
    struct ledger_balance *b = ledger_list_add(list);
    cut(scope, b->scope, sizeof b->scope);
    cut(class_name, b->class_name, sizeof b->class_name);
    return b;
}

static void add_demand(void *arg, struct slice pair, int64_t n)
{
    balance_of(arg, pair)->demand = n;
}

static void add_supply(void *arg, struct slice pair, int64_t n)
{
    balance_of(arg, pair)->supply = n;
}

static int redis_compare_by_pair(const void *a, const void *b)
{
    const struct ledger_balance *x = a;
    const struct ledger_balance *y = b;
    int scopes = strcmp(x->scope, y->scope);
    return scopes != 0 ? scopes : strcmp(x->class_name, y->class_name);
}

static int redis_read_oldest(struct ledger_redis *l, struct ledger_balance *b, struct err *e)
{
    static const char *const first[] = {"0", "0", "WITHSCORES", NULL};
    struct ledger_redis_name key = ledger_redis_waiting_key(b->scope, b->class_name);
    struct redis_reply *r = NULL;
    if (ledger_redis_call(l, "ZRANGE", key.text, first, &r, e) != 0) {
        return -1;
    }
    b->oldest_waiting_ms = redis_reply_int(redis_reply_at(r, 1), 0);
    if (redis_reply_count(r) == 0) {
        b->demand = 0; /* the last one was served since it was counted */
    }
    redis_reply_free(r);
    return 0;
}

int ledger_redis_balances(void *state, struct ledger_balance **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_balance)};
    int rc = each_field(state, "demand", add_demand, &list, e);
    rc = rc == 0 ? each_field(state, "supply", add_supply, &list, e) : rc;
    struct ledger_balance *all = list.items;
    size_t kept = 0;
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        rc = all[i].demand > 0 ? redis_read_oldest(state, &all[i], e) : 0;
        if (rc == 0 && (all[i].demand > 0 || all[i].supply > 0)) {
            all[kept++] = all[i];
        }
    }
    if (rc != 0) {
        free(list.items);
        return -1;
    }
    if (kept > 1) {
        qsort(all, kept, sizeof *all, redis_compare_by_pair);
    }
    *out = all;
    *n = kept;
    return 0;
}

/* --- scopes --- */
static void redis_add_scope(void *arg, struct slice name, int64_t installation_id)
{
    struct ledger_scope *s = ledger_list_add(arg);
    cut(name, s->name, sizeof s->name);
    s->installation_id = installation_id;
}

static int redis_compare_by_name(const void *a, const void *b)
{
    const struct ledger_scope *x = a;
    const struct ledger_scope *y = b;
    return strcmp(x->name, y->name);
}

int ledger_redis_scopes(void *state, struct ledger_scope **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_scope)};
    if (each_field(state, "scopes", redis_add_scope, &list, e) != 0) {
        return -1;
    }
    if (list.count > 1) {
        qsort(list.items, list.count, list.item_size, redis_compare_by_name);
    }
    *out = list.items;
    *n = list.count;
    return 0;
}

/* --- tidy --- */
struct kind {
    const char *index;
    const char *hash;
    int (*remove)(struct ledger_redis_txn *t, struct slice name, struct slice row, struct err *e);
};

static int redis_remove_job(struct ledger_redis_txn *t, struct slice name, struct slice row,
                            struct err *e)
{
    struct ledger_job job;
    (void)name;
    if (ledger_redis_unpack_job(row, &job, NULL, e) != 0) {
        return -1;
    }
    ledger_redis_write_job(&t->writes, &job, NULL);
    return 0;
}

static int redis_remove_vm(struct ledger_redis_txn *t, struct slice name, struct slice row,
                           struct err *e)
{
    struct ledger_vm vm;
    (void)name;
    if (ledger_redis_unpack_vm(row, &vm, NULL, e) != 0) {
        return -1;
    }
    ledger_redis_write_vm(&t->writes, &vm, NULL);
    return 0;
}

static int remove_bucket(struct ledger_redis_txn *t, struct slice name, struct slice row,
                         struct err *e)
{
    (void)row;
    (void)e;
    LEDGER_REDIS_WRITE(&t->writes, "HDEL", SLICE("buckets"), name);
    LEDGER_REDIS_WRITE(&t->writes, "ZREM", SLICE("bucket_ages"), name);
    return 0;
}

static const struct kind kinds[] = {
    {"gone", "vms", redis_remove_vm},
    {"ended", "jobs", redis_remove_job},
    {"seen", "jobs",
     redis_remove_job}, /* an approval that never came: a delivery would make it anew */
    {"bucket_ages", "buckets", remove_bucket},
};

/* Works out how to remove what the page shows. A name without a row leaves the index. */
static int remove_page(struct ledger_redis_txn *t, const struct kind *k,
                       const struct redis_reply *page, struct err *e)
{
    for (size_t i = 0; i < ledger_redis_page_count(page); i++) {
        struct slice name;
        struct slice row;
        ledger_redis_page_at(page, i, &name, &row);
        ledger_redis_guard(t, k->hash, name, row);
        if (row.len == 0) {
            LEDGER_REDIS_WRITE(&t->writes, "ZREM", slice_of(k->index), name);
        } else if (k->remove(t, name, row, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* One round of at most LEDGER_REDIS_GUARDS; *n: how many the index had; *done: they are gone. */
static int tidy_round(struct ledger_redis_txn *t, const struct kind *k, const char *to, size_t max,
                      size_t *n, bool *done, struct err *e)
{
    struct ledger_redis_range range = {k->index,
                                       k->hash,
                                       "ZRANGEBYSCORE",
                                       "-inf",
                                       to,
                                       0,
                                       max < LEDGER_REDIS_GUARDS ? max : LEDGER_REDIS_GUARDS};
    struct redis_reply *page = NULL;
    if (ledger_redis_page(t->l, &range, &page, e) != 0) {
        return -1;
    }
    *n = ledger_redis_page_count(page);
    int rc = remove_page(t, k, page, e);
    redis_reply_free(page);
    return rc == 0 && *n > 0 ? ledger_redis_commit(t, done, e) : rc;
}

static int tidy_kind(struct ledger_redis *l, const struct kind *k, const char *to, size_t max,
                     int64_t *removed, struct err *e)
{
    struct ledger_redis_txn t;
    size_t left = max;
    size_t n = 1;
    int rc = 0;
    ledger_redis_begin(&t, l);
    while (rc == 0 && left > 0 && n > 0) {
        bool done = false;
        rc = tidy_round(&t, k, to, left, &n, &done, e);
        if (rc == 0 && done) {
            t.rounds = 0;
            left -= n;
            *removed += (int64_t)n;
        }
        rc = rc == 0 ? ledger_redis_again(&t, e) : rc;
    }
    ledger_redis_end(&t);
    return rc;
}

int ledger_redis_tidy(void *state, int64_t before_ms, size_t max, int64_t *removed, struct err *e)
{
    struct ledger_redis_name to =
        ledger_redis_named("(%lld", (long long)ledger_redis_server_ms(state, before_ms));
    int64_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (tidy_kind(state, &kinds[i], to.text, max, &sum, e) != 0) {
            return -1;
        }
    }
    *removed = sum;
    return 0;
}
