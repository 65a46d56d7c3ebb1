#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/ledger_dynamo.h"

/* Recounts what counters count, from the rows. Counters cannot drift, as every transaction changes
 * them with the rows; but a table restored by hand, an edited item or an error of ours could make
 * them wrong, and a slot that is counted for nothing is lost for ever.
 *
 * Two signs: a counter is mended when two recounts, one call after the other, find it wrong by the
 * same number. A recount is none if the counter moved while the rows were read; slots taken and
 * freed, and the changes of a pair or a repository, only ever grow: what looks the same has not
 * moved.
 * The correction is an addition, and holds only on the value that was judged. */

#define QUIET_MS 60000 /* a pair must be so old that the index shows its jobs */
#define PAGE 100

/* --- what is counted --- */
struct counter {
    char what[224]; /* for people, and the sign's name */
    struct ledger_dynamo_key key;
    char attribute[48];
    char guard[48]; /* the attribute that must not have moved */
    int64_t guard_value;
    int64_t offset; /* what stands elsewhere: value = attribute - offset */
    int64_t value;
    int64_t moved_ms; /* 0: not known */
    int64_t counted;
};

struct recount {
    struct ledger_dynamo *l;
    struct ledger_dynamo_list counters;
};

static struct counter *find(struct recount *r, const char *what)
{
    struct counter *all = r->counters.items;
    for (size_t i = 0; i < r->counters.count; i++) {
        if (strcmp(all[i].what, what) == 0) {
            return &all[i];
        }
    }
    return NULL;
}

PRINTF(2, 3) static struct counter *named(struct recount *r, const char *format, ...);
static struct counter *named(struct recount *r, const char *format, ...)
{
    char what[sizeof((struct counter *)0)->what];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    struct counter *c = find(r, what);
    if (c == NULL) {
        c = ledger_dynamo_list_add(&r->counters);
        (void)snprintf(c->what, sizeof c->what, "%s", what);
    }
    return c;
}

/* --- reading the counters --- */
static void add_slots(struct recount *r, struct counter *c, const char *attribute, int64_t taken,
                      int64_t freed)
{
    c->key = ledger_dynamo_key(r->l, "slots", "main");
    (void)snprintf(c->attribute, sizeof c->attribute, "%s", attribute);
    (void)snprintf(c->guard, sizeof c->guard, "%s", attribute);
    c->guard_value = taken;
    c->offset = freed;
    c->value = taken - freed;
}

static int read_slots(struct recount *r, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(r->l, "slots", "main");
    struct ledger_dynamo_got slots;
    struct ledger_dynamo_got shards;
    const char *name;
    json_t *value;
    if (ledger_dynamo_get(r->l, &key, 1, &slots, e) != 0) {
        return -1;
    }
    if (ledger_dynamo_read_shards(r->l, false, &shards, e) != 0) {
        ledger_dynamo_got_fini(&slots);
        return -1;
    }
    json_object_foreach(slots.items[0], name, value)
    {
        int64_t taken = ledger_dynamo_read_number(slots.items[0], name);
        int64_t freed = ledger_dynamo_sum_of(&shards, name);
        if (strcmp(name, "f") == 0) {
            add_slots(r, named(r, "slots of the fleet"), name, taken, freed);
        } else if (strncmp(name, "c.", 2) == 0) {
            add_slots(r, named(r, "slots of class %s", name + 2), name, taken, freed);
        }
    }
    ledger_dynamo_got_fini(&shards);
    ledger_dynamo_got_fini(&slots);
    return 0;
}

static int read_repositories(struct recount *r, struct err *e)
{
    char pk[64];
    struct ledger_dynamo_got got;
    (void)snprintf(pk, sizeof pk, "%s:repo", r->l->url.prefix);
    struct ledger_dynamo_query q = {.pk = pk};
    if (ledger_dynamo_query(r->l, &q, &got, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < got.count; i++) {
        char repository[144];
        ledger_dynamo_read_text(got.items[i], "sk", repository, sizeof repository);
        struct counter *c = named(r, "slots of repository %s", repository);
        c->key = ledger_dynamo_key(r->l, "repo", "%s", repository);
        (void)snprintf(c->attribute, sizeof c->attribute, "n");
        (void)snprintf(c->guard, sizeof c->guard, "changes");
        c->guard_value = ledger_dynamo_read_number(got.items[i], "changes");
        c->value = ledger_dynamo_read_number(got.items[i], "n");
    }
    ledger_dynamo_got_fini(&got);
    return 0;
}

static void add_pair(struct recount *r, const struct ledger_dynamo_total *t, const char *kind,
                     const char *attribute, int64_t value)
{
    struct counter *c = named(r, "%s of %s, class %s", kind, t->scope, t->class_name);
    c->key = ledger_dynamo_pair_key(r->l, t->scope, t->class_name);
    (void)snprintf(c->attribute, sizeof c->attribute, "%s", attribute);
    (void)snprintf(c->guard, sizeof c->guard, "n");
    c->guard_value = t->changes;
    c->offset = t->both;
    c->value = value;
    c->moved_ms = attribute[0] == 'd' ? t->changed_ms : 0;
}

static int read_pairs(struct recount *r, struct err *e)
{
    struct ledger_dynamo_total *totals = NULL;
    size_t n = 0;
    if (ledger_dynamo_totals(r->l, &totals, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        add_pair(r, &totals[i], "demand", "d", totals[i].demand);
        add_pair(r, &totals[i], "supply", "s", totals[i].supply);
    }
    free(totals);
    return 0;
}

static int read_counters(struct recount *r, struct err *e)
{
    if (read_slots(r, e) != 0 || read_repositories(r, e) != 0) {
        return -1;
    }
    return read_pairs(r, e);
}

/* --- counting the rows --- */
static int count_vms(struct recount *r, struct err *e)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    if (ledger_dynamo_vm_list(r->l, ~(1U << VM_GONE), "", SIZE_MAX, &vms, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        named(r, "slots of the fleet")->counted++;
        named(r, "slots of class %s", vms[i].class_name)->counted++;
        named(r, "slots of repository %s", vms[i].repository)->counted++;
        if (vms[i].state < VM_BUSY) {
            named(r, "supply of %s, class %s", vms[i].scope, vms[i].class_name)->counted++;
        }
    }
    free(vms);
    return 0;
}

static int count_waiting(struct recount *r, const struct ledger_dynamo_total *t, struct err *e)
{
    struct ledger_dynamo_walk walk =
        ledger_dynamo_walk(r->l, PAGE, 0, "waiting:%s|%s", t->scope, t->class_name);
    bool more = true;
    int rc = 0;
    struct counter *c = named(r, "demand of %s, class %s", t->scope, t->class_name);
    while (rc == 0 && more) {
        struct ledger_dynamo_got rows = {.count = 0};
        rc = ledger_dynamo_query_rows(r->l, &walk, &rows, e);
        more = rows.count == PAGE;
        for (size_t i = 0; rc == 0 && i < rows.count; i++) {
            struct ledger_dynamo_job row;
            rc = ledger_dynamo_unpack_job(rows.items[i], &row, e);
            c->counted += row.known && row.job.state == JOB_WAITING ? 1 : 0;
        }
        ledger_dynamo_got_fini(&rows);
    }
    return rc;
}

static int count_jobs(struct recount *r, struct err *e)
{
    struct ledger_dynamo_total *totals = NULL;
    size_t n = 0;
    int rc = ledger_dynamo_totals(r->l, &totals, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = count_waiting(r, &totals[i], e);
    }
    free(totals);
    return rc;
}

/* --- judging --- */
/* Whether the counter is where it was before the rows were read. */
static bool stood_still(struct recount *after, const struct counter *before)
{
    const struct counter *now = find(after, before->what);
    return now != NULL && before->guard[0] != '\0' && now->guard_value == before->guard_value &&
           now->offset == before->offset && now->value == before->value &&
           now->moved_ms <= clock_wall_ms() - QUIET_MS;
}

/* Takes note of the sign; returns whether it is the second. */
static bool second_sign(struct ledger_dynamo *l, const struct ledger_dynamo_sign *old, size_t n,
                        const char *what, int64_t drift)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(old[i].what, what) == 0 && old[i].drift == drift) {
            return true;
        }
    }
    if (l->sign_count < LEDGER_DYNAMO_SIGNS) {
        struct ledger_dynamo_sign *s = &l->signs[l->sign_count++];
        (void)snprintf(s->what, sizeof s->what, "%s", what);
        s->drift = drift;
    }
    return false;
}

static int mend(struct ledger_dynamo *l, const struct counter *c, int64_t drift, bool *held,
                struct err *e)
{
    struct ledger_dynamo_expr x;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_add(&x, c->attribute, drift);
    if (strcmp(c->guard, c->attribute) != 0) {
        ledger_dynamo_add(&x, c->guard, 1);
    }
    ledger_dynamo_if_number(&x, c->guard, "=", c->guard_value, false);
    int rc = ledger_dynamo_update_one(l, &c->key, &x, held, e);
    ledger_dynamo_expr_fini(&x);
    return rc;
}

static int judge(struct recount *before, struct recount *after, struct ledger_dynamo_list *out,
                 struct err *e)
{
    struct ledger_dynamo *l = before->l;
    struct ledger_dynamo_sign old[LEDGER_DYNAMO_SIGNS];
    struct counter *all = before->counters.items;
    size_t old_count = l->sign_count;
    memcpy(old, l->signs, sizeof old);
    l->sign_count = 0;
    for (size_t i = 0; i < before->counters.count; i++) {
        const struct counter *c = &all[i];
        int64_t drift = c->counted - c->value;
        bool held = false;
        if (drift == 0 || !stood_still(after, c) ||
            !second_sign(l, old, old_count, c->what, drift)) {
            continue;
        }
        if (mend(l, c, drift, &held, e) != 0) {
            return -1;
        }
        if (held) {
            struct ledger_repair *r = ledger_dynamo_list_add(out);
            (void)snprintf(r->what, sizeof r->what, "%s", c->what);
            r->was = c->value;
            r->is = c->counted;
        }
    }
    return 0;
}

int ledger_dynamo_repair(void *state, struct ledger_repair **out, size_t *n, struct err *e)
{
    struct ledger_dynamo *l = state;
    struct recount before = {.l = l, .counters = {.item_size = sizeof(struct counter)}};
    struct recount after = {.l = l, .counters = {.item_size = sizeof(struct counter)}};
    struct ledger_dynamo_list mended = {.item_size = sizeof(struct ledger_repair)};
    int rc = read_counters(&before, e);
    rc = rc == 0 ? count_vms(&before, e) : rc;
    rc = rc == 0 ? count_jobs(&before, e) : rc;
    rc = rc == 0 ? read_counters(&after, e) : rc;
    if (rc == 0) {
        pthread_mutex_lock(&l->signs_lock);
        rc = judge(&before, &after, &mended, e);
        pthread_mutex_unlock(&l->signs_lock);
    }
    free(before.counters.items);
    free(after.counters.items);
    if (rc != 0) {
        free(mended.items);
        return -1;
    }
    *out = mended.items;
    *n = mended.count;
    return 0;
}
