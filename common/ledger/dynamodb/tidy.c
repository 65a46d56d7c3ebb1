#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

/* Deletes old rows. The index finds them; each is read again, and deleted with its counts only if
 * unchanged since; many in one transaction. */

#define BATCH 20 /* rows of one transaction, besides what counts them */

struct tidy {
    struct ledger_dynamo *l;
    int64_t before_ms;
    size_t max;
    int64_t removed;
};

/* --- rows found by their age --- */
struct batch {
    const struct tidy *tidy;
    const struct ledger_dynamo_key *keys;
    size_t n;
    int64_t removed; /* by the round */
};

/* Deletes the lines outside the row first: a crash in between leaves an old row without its oldest
 * lines. */
static int remove_lines(struct ledger_dynamo *l, const char *pk, struct err *e)
{
    struct ledger_dynamo_query q = {.pk = pk, .how = "begins_with", .sk = "line:"};
    struct ledger_dynamo_expr none;
    struct ledger_dynamo_got got;
    int rc = 0;
    if (ledger_dynamo_query(l, &q, &got, e) != 0) {
        return -1;
    }
    ledger_dynamo_expr_init(&none);
    for (size_t i = 0; rc == 0 && i < got.count; i++) {
        struct ledger_dynamo_key key;
        bool held;
        ledger_dynamo_read_text(got.items[i], "pk", key.pk, sizeof key.pk);
        ledger_dynamo_read_text(got.items[i], "sk", key.sk, sizeof key.sk);
        rc = ledger_dynamo_delete_one(l, &key, &none, &held, e);
    }
    ledger_dynamo_expr_fini(&none);
    ledger_dynamo_got_fini(&got);
    return rc;
}

static bool has_spilled(const struct ledger_dynamo_lines *lines)
{
    return lines->count > (int64_t)lines->n;
}

static int dynamo_remove_job(struct ledger_dynamo_txn *t, struct batch *b, json_t *item,
                             const struct ledger_dynamo_key *key, struct err *e)
{
    struct ledger_dynamo_job row;
    if (ledger_dynamo_unpack_job(item, &row, e) != 0) {
        return -1;
    }
    const struct ledger_job *j = &row.job;
    bool ended = ledger_job_has_ended(j->state) && j->ended_ms < b->tidy->before_ms;
    /* Jobs whose approval never came; a later delivery would create the row again. */
    bool forgotten = j->state == JOB_SEEN && j->updated_ms < b->tidy->before_ms;
    if (!row.known || (!ended && !forgotten)) {
        return 0;
    }
    if (has_spilled(&row.lines) && remove_lines(t->l, key->pk, e) != 0) {
        return -1;
    }
    ledger_dynamo_remove_job(t, &row);
    b->removed++;
    return 0;
}

static int dynamo_remove_vm(struct ledger_dynamo_txn *t, struct batch *b, json_t *item,
                            const struct ledger_dynamo_key *key, struct err *e)
{
    struct ledger_dynamo_vm row;
    char pk[160];
    (void)key;
    if (ledger_dynamo_unpack_vm(item, &row, e) != 0) {
        return -1;
    }
    if (!row.known || row.vm.state != VM_GONE || row.vm.gone_ms >= b->tidy->before_ms) {
        return 0;
    }
    (void)snprintf(pk, sizeof pk, "%s:lines:%s", t->l->url.prefix, row.vm.name);
    if (has_spilled(&row.lines) && remove_lines(t->l, pk, e) != 0) {
        return -1;
    }
    ledger_dynamo_remove_vm(t, &row);
    b->removed++;
    return 0;
}

typedef int remove_fn(struct ledger_dynamo_txn *t, struct batch *b, json_t *item,
                      const struct ledger_dynamo_key *key, struct err *e);

static int batch_round(struct ledger_dynamo_txn *t, struct batch *b, remove_fn *remove, bool *done,
                       struct err *e)
{
    struct ledger_dynamo_got rows;
    int rc = 0;
    b->removed = 0;
    if (ledger_dynamo_get(t->l, b->keys, b->n, &rows, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < b->n; i++) {
        rc = remove(t, b, rows.items[i], &b->keys[i], e);
    }
    ledger_dynamo_got_fini(&rows);
    return rc == 0 ? ledger_dynamo_commit(t, done, e) : rc;
}

static int remove_batch(struct batch *b, remove_fn *remove, struct err *e)
{
    struct ledger_dynamo_txn t;
    bool done = false;
    int rc;
    ledger_dynamo_begin(&t, b->tidy->l);
    do {
        rc = batch_round(&t, b, remove, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
    return rc;
}

static int tidy_rows(struct tidy *a, const char *what, remove_fn *remove, struct err *e)
{
    struct ledger_dynamo_walk walk =
        ledger_dynamo_walk(a->l, BATCH, a->before_ms > 0 ? a->before_ms : 1, "%s", what);
    size_t left = a->max;
    size_t n = 1;
    int rc = 0;
    while (rc == 0 && left > 0 && n > 0) {
        struct ledger_dynamo_key *keys = NULL;
        walk.max = left < BATCH ? left : BATCH;
        rc = ledger_dynamo_query_keys(a->l, &walk, &keys, &n, e);
        struct batch b = {.tidy = a, .keys = keys, .n = n};
        if (rc == 0 && n > 0) {
            rc = remove_batch(&b, remove, e);
            a->removed += b.removed;
            left -= (size_t)b.removed;
        }
        free(keys);
    }
    return rc;
}

/* --- buckets: few enough to look at them all --- */
static bool is_idle(const json_t *item, int64_t before_ms)
{
    return ledger_dynamo_read_number(item, "at") < before_ms &&
           ledger_dynamo_read_number(item, "paused") < before_ms;
}

static int tidy_buckets(struct tidy *a, struct err *e)
{
    char pk[64];
    struct ledger_dynamo_got got;
    size_t left = a->max;
    int rc = 0;
    (void)snprintf(pk, sizeof pk, "%s:bucket", a->l->url.prefix);
    struct ledger_dynamo_query q = {.pk = pk};
    if (ledger_dynamo_query(a->l, &q, &got, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < got.count && left > 0; i++) {
        struct ledger_dynamo_key key;
        struct ledger_dynamo_expr x;
        char version[LEDGER_DYNAMO_VERSION];
        bool held = false;
        if (!is_idle(got.items[i], a->before_ms)) {
            continue;
        }
        ledger_dynamo_read_text(got.items[i], "pk", key.pk, sizeof key.pk);
        ledger_dynamo_read_text(got.items[i], "sk", key.sk, sizeof key.sk);
        ledger_dynamo_read_text(got.items[i], "version", version, sizeof version);
        ledger_dynamo_expr_init(&x);
        ledger_dynamo_if_version(&x, version);
        rc = ledger_dynamo_delete_one(a->l, &key, &x, &held, e);
        ledger_dynamo_expr_fini(&x);
        a->removed += rc == 0 && held ? 1 : 0;
        left -= held ? 1 : 0;
    }
    ledger_dynamo_got_fini(&got);
    return rc;
}

/* --- counters of what is no more: repositories, scopes and classes come and go --- */
static int drop_repositories(struct ledger_dynamo *l, struct err *e)
{
    char pk[64];
    struct ledger_dynamo_got got;
    int rc = 0;
    (void)snprintf(pk, sizeof pk, "%s:repo", l->url.prefix);
    struct ledger_dynamo_query q = {.pk = pk, .eventually = true};
    if (ledger_dynamo_query(l, &q, &got, e) != 0) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < got.count; i++) {
        struct ledger_dynamo_key key;
        struct ledger_dynamo_expr x;
        bool held;
        if (ledger_dynamo_read_number(got.items[i], "n") != 0) {
            continue;
        }
        ledger_dynamo_read_text(got.items[i], "pk", key.pk, sizeof key.pk);
        ledger_dynamo_read_text(got.items[i], "sk", key.sk, sizeof key.sk);
        ledger_dynamo_expr_init(&x);
        ledger_dynamo_if_number(&x, "n", "=", 0, false);
        rc = ledger_dynamo_delete_one(l, &key, &x, &held, e);
        ledger_dynamo_expr_fini(&x);
    }
    ledger_dynamo_got_fini(&got);
    return rc;
}

/* Deletes all of a pair's items if none has changed; on a conflict the next tidy does. */
static int drop_pair(struct ledger_dynamo *l, const struct ledger_dynamo_total *total,
                     struct err *e)
{
    struct ledger_dynamo_key keys[1 + LEDGER_DYNAMO_PAIR_SHARDS];
    struct ledger_dynamo_got got;
    struct ledger_dynamo_txn t;
    bool done;
    keys[0] = ledger_dynamo_pair_key(l, total->scope, total->class_name);
    for (unsigned i = 0; i < LEDGER_DYNAMO_PAIR_SHARDS; i++) {
        keys[1 + i] = ledger_dynamo_pair_shard_key(l, total->scope, total->class_name, i);
    }
    if (ledger_dynamo_get(l, keys, COUNT_OF(keys), &got, e) != 0) {
        return -1;
    }
    int64_t both = 0;
    ledger_dynamo_begin(&t, l);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct ledger_dynamo_expr x;
        int64_t own = ledger_dynamo_read_number(got.items[i], i == 0 ? "n" : "b");
        both += i > 0 ? own : 0;
        ledger_dynamo_expr_init(&x);
        ledger_dynamo_if_number(&x, i == 0 ? "n" : "b", "=", own, got.items[i] == NULL);
        ledger_dynamo_delete(&t, &keys[i], &x);
        ledger_dynamo_expr_fini(&x);
    }
    bool zero = ledger_dynamo_read_number(got.items[0], "d") == both &&
                ledger_dynamo_read_number(got.items[0], "s") == both &&
                ledger_dynamo_read_number(got.items[0], "vms") == 0;
    int rc = zero ? ledger_dynamo_commit(&t, &done, e) : 0;
    ledger_dynamo_end(&t);
    ledger_dynamo_got_fini(&got);
    return rc;
}

static int drop_pairs(struct ledger_dynamo *l, int64_t before_ms, struct err *e)
{
    struct ledger_dynamo_total *totals = NULL;
    size_t n = 0;
    int rc = ledger_dynamo_totals(l, &totals, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct ledger_dynamo_total *t = &totals[i];
        if (t->demand == 0 && t->supply == 0 && t->vms == 0 && t->changed_ms < before_ms) {
            rc = drop_pair(l, t, e);
        }
    }
    free(totals);
    return rc;
}

int ledger_dynamo_tidy(void *state, int64_t before_ms, size_t max, int64_t *removed, struct err *e)
{
    struct tidy a = {.l = state, .before_ms = before_ms, .max = max};
    if (tidy_rows(&a, "gone", dynamo_remove_vm, e) != 0 ||
        tidy_rows(&a, "ended", dynamo_remove_job, e) != 0 ||
        tidy_rows(&a, "seen", dynamo_remove_job, e) != 0 || tidy_buckets(&a, e) != 0 ||
        drop_repositories(a.l, e) != 0 || drop_pairs(a.l, before_ms, e) != 0) {
        return -1;
    }
    *removed = a.removed;
    return 0;
}
