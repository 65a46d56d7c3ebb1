#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* Recounts the counters from the rows. Counters do not drift, since every transaction changes them
 * with the rows; but a table restored by hand, an edited or deleted item, or a bug could make them
 * wrong, and a slot that is counted without a VM would be lost permanently.
 *
 * A counter is corrected when two recounts find it wrong by the same number, and none between them
 * found otherwise. A recount is void for a counter that changed while the rows were read: slots
 * taken and released, and the changes of a pair or a repository, only grow, so an equal value means
 * no change. The correction is an addition, conditional on the value that was compared. */

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
    bool missing; /* there is no such counter, but rows that it would count */
};

struct recount {
    struct ledger_dynamo *l;
    struct ledger_list counters;
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
        c = ledger_list_add(&r->counters);
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

/* Of the fleet, and of every class and target that a slot was ever taken or freed of. */
static void add_slots_of(struct recount *r, json_t *item, const json_t *slots,
                         const struct ledger_dynamo_got *shards)
{
    const char *name;
    json_t *value;
    json_object_foreach(item, name, value)
    {
        int64_t taken = ledger_dynamo_read_number(slots, name);
        int64_t freed = ledger_dynamo_sum_of(shards, name);
        if (strncmp(name, "c.", 2) == 0) {
            add_slots(r, named(r, "slots of class %s", name + 2), name, taken, freed);
        } else if (strncmp(name, "t.", 2) == 0) {
            add_slots(r, named(r, "slots of target %s", name + 2), name, taken, freed);
        }
    }
}

static int read_slots(struct recount *r, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(r->l, "slots", "main");
    struct ledger_dynamo_got slots;
    struct ledger_dynamo_got shards;
    if (ledger_dynamo_get(r->l, &key, 1, &slots, e) != 0) {
        return -1;
    }
    if (ledger_dynamo_read_shards(r->l, false, &shards, e) != 0) {
        ledger_dynamo_got_fini(&slots);
        return -1;
    }
    add_slots(r, named(r, "slots of the fleet"), "f",
              ledger_dynamo_read_number(slots.items[0], "f"), ledger_dynamo_sum_of(&shards, "f"));
    add_slots_of(r, slots.items[0], slots.items[0], &shards);
    for (size_t i = 0; i < shards.count; i++) {
        add_slots_of(r, shards.items[i], slots.items[0], &shards);
    }
    ledger_dynamo_got_fini(&shards);
    ledger_dynamo_got_fini(&slots);
    return 0;
}

static void add_repository(struct recount *r, const char *repository, int64_t slots,
                           int64_t changes)
{
    struct counter *c = named(r, "slots of repository %s", repository);
    c->key = ledger_dynamo_key(r->l, "repo", "%s", repository);
    (void)snprintf(c->attribute, sizeof c->attribute, "n");
    (void)snprintf(c->guard, sizeof c->guard, "changes");
    c->guard_value = changes;
    c->value = slots;
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
        char repository[REPOSITORY_SIZE];
        ledger_dynamo_read_text(got.items[i], "sk", repository, sizeof repository);
        add_repository(r, repository, ledger_dynamo_read_number(got.items[i], "n"),
                       ledger_dynamo_read_number(got.items[i], "changes"));
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

/* --- counting the rows --- */
/* A deleted counter counts as 0. */
static void count_slot_of(struct recount *r, const char *kind, const char *name)
{
    char attribute[48];
    (void)snprintf(attribute, sizeof attribute, "%c.%s", kind[0], name);
    struct counter *c = named(r, "slots of %s %s", kind, name);
    if (c->guard[0] == '\0') {
        add_slots(r, c, attribute, 0, 0);
        c->missing = true;
    }
    c->counted++;
}

static void dynamo_count_slot(struct recount *r, const struct ledger_vm *vm)
{
    named(r, "slots of the fleet")->counted++;
    count_slot_of(r, "class", vm->class_name);
    if (vm->target[0] != '\0') {
        count_slot_of(r, "target", vm->target);
    }
    if (vm->repository[0] == '\0') {
        return; /* launched for no job */
    }
    struct counter *repository = named(r, "slots of repository %s", vm->repository);
    if (repository->guard[0] == '\0') {
        add_repository(r, vm->repository, 0, 0);
        repository->missing = true;
    }
    repository->counted++;
}

static int count_vms(struct recount *r, struct err *e)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    if (ledger_dynamo_vm_list(r->l, ~(1U << VM_GONE), "", SIZE_MAX, &vms, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        dynamo_count_slot(r, &vms[i]);
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
    if (now == NULL) {
        return before->missing;
    }
    return before->guard[0] != '\0' && now->guard_value == before->guard_value &&
           now->offset == before->offset && now->value == before->value &&
           now->moved_ms <= clock_wall_ms() - QUIET_MS;
}

static void note_sign(struct ledger_dynamo *l, const char *what, int64_t drift)
{
    if (l->sign_count < LEDGER_DYNAMO_SIGNS) {
        struct ledger_dynamo_sign *s = &l->signs[l->sign_count++];
        (void)snprintf(s->what, sizeof s->what, "%s", what);
        s->drift = drift;
    }
}

/* Returns whether this is the second finding. Records a first one; keeps one that this recount
 * could neither confirm nor refute. */
static bool second_sign(struct ledger_dynamo *l, const struct counter *c, bool still,
                        const struct ledger_dynamo_sign *old, size_t n)
{
    int64_t drift = c->counted - c->value;
    const struct ledger_dynamo_sign *was = NULL;
    for (size_t i = 0; i < n; i++) {
        was = strcmp(old[i].what, c->what) == 0 ? &old[i] : was;
    }
    if (!still && was != NULL) {
        note_sign(l, c->what, was->drift);
    }
    if (!still || drift == 0) {
        return false;
    }
    if (was == NULL || was->drift != drift) {
        note_sign(l, c->what, drift);
        return false;
    }
    return true;
}

static int correct_counter(struct ledger_dynamo *l, const struct counter *c, int64_t drift,
                           bool *held, struct err *e)
{
    struct ledger_dynamo_expr x;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_add(&x, c->attribute, drift);
    if (strcmp(c->guard, c->attribute) != 0) {
        ledger_dynamo_add(&x, c->guard, 1);
    }
    ledger_dynamo_if_number(&x, c->guard, "=", c->guard_value, c->guard_value == 0);
    int rc = ledger_dynamo_update_one(l, &c->key, &x, held, e);
    ledger_dynamo_expr_fini(&x);
    return rc;
}

static int dynamo_compare_recount(struct recount *before, struct recount *after,
                                  struct ledger_list *out, struct err *e)
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
        if (!second_sign(l, c, stood_still(after, c), old, old_count)) {
            continue;
        }
        if (correct_counter(l, c, drift, &held, e) != 0) {
            return -1;
        }
        if (held) {
            struct ledger_repair *r = ledger_list_add(out);
            (void)snprintf(r->what, sizeof r->what, "%s", c->what);
            r->was = c->value;
            r->is = c->counted;
        }
    }
    return 0;
}

/* Each kind of counter is read right before and after its rows, so that it rarely changes between.
 * */
static int recount(struct recount *before, struct recount *after, struct err *e)
{
    if (read_pairs(before, e) != 0 || read_slots(before, e) != 0 ||
        read_repositories(before, e) != 0 || count_vms(before, e) != 0 ||
        read_slots(after, e) != 0 || read_repositories(after, e) != 0 ||
        count_jobs(before, e) != 0) {
        return -1;
    }
    return read_pairs(after, e);
}

int ledger_dynamo_repair(void *state, struct ledger_repair **out, size_t *n, size_t *suspected,
                         struct err *e)
{
    struct ledger_dynamo *l = state;
    struct recount before = {.l = l, .counters = {.item_size = sizeof(struct counter)}};
    struct recount after = {.l = l, .counters = {.item_size = sizeof(struct counter)}};
    struct ledger_list corrected = {.item_size = sizeof(struct ledger_repair)};
    size_t signs = 0;
    int rc = recount(&before, &after, e);
    if (rc == 0) {
        pthread_mutex_lock(&l->signs_lock);
        rc = dynamo_compare_recount(&before, &after, &corrected, e);
        signs = l->sign_count;
        pthread_mutex_unlock(&l->signs_lock);
    }
    free(before.counters.items);
    free(after.counters.items);
    if (rc != 0) {
        free(corrected.items);
        return -1;
    }
    *out = corrected.items;
    *n = corrected.count;
    *suspected = signs;
    return 0;
}
