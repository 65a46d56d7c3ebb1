#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* --- counts in use --- */
enum { AT_JOB, AT_PAIR, AT_SLOTS, AT_REPO, AT_RATE, AT_PAIR_SHARDS = AT_RATE + 2 };
#define AT_SHARDS (AT_PAIR_SHARDS + LEDGER_DYNAMO_PAIR_SHARDS)
#define KEYS (AT_SHARDS + LEDGER_DYNAMO_SHARDS)

struct seen {
    struct ledger_usage usage;
    int64_t fleet_freed;
    int64_t class_freed;
    int64_t target_freed;
    int64_t demand_stored; /* as the pair's item has it */
};

struct reserve {
    const struct ledger_reserve *r;
    const char *vm_name;
    const char *client_token;
    struct ledger_dynamo_job job; /* after */
    struct ledger_dynamo_vm vm;   /* the new one */
    struct ledger_dynamo_rate rate;
    bool has_tokens; /* of its buckets */
    struct seen seen;
    struct ledger_reservation out;
};

static int read_all(struct ledger_dynamo_txn *t, const struct ledger_reserve *r,
                    const struct ledger_dynamo_rate *rate, struct ledger_dynamo_got *out,
                    struct err *e)
{
    struct ledger_dynamo_key keys[KEYS];
    const char *class_name = r->request->class_name;
    keys[AT_JOB] = ledger_dynamo_job_key(t->l, r->request->job.id);
    keys[AT_PAIR] = ledger_dynamo_pair_key(t->l, r->scope, class_name);
    keys[AT_SLOTS] = ledger_dynamo_key(t->l, "slots", "main");
    /* Without a job no repository's count is asked for; "-" names none. */
    const char *repository = r->request->job.id != 0 ? r->request->job.repository : "-";
    keys[AT_REPO] = ledger_dynamo_key(t->l, "repo", "%s", repository);
    keys[AT_RATE] = rate->keys[0];
    keys[AT_RATE + 1] = rate->keys[1];
    for (unsigned i = 0; i < LEDGER_DYNAMO_PAIR_SHARDS; i++) {
        keys[AT_PAIR_SHARDS + i] = ledger_dynamo_pair_shard_key(t->l, r->scope, class_name, i);
    }
    for (unsigned i = 0; i < LEDGER_DYNAMO_SHARDS; i++) {
        keys[AT_SHARDS + i] = ledger_dynamo_shard_key(t->l, i);
    }
    return ledger_dynamo_get(t->l, keys, KEYS, out, e);
}

static int64_t add_up(json_t *const *items, size_t n, const char *name)
{
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += ledger_dynamo_read_number(items[i], name);
    }
    return sum;
}

#define COUNTER_SIZE 64
static void class_counter(const char *class_name, char out[COUNTER_SIZE])
{
    (void)snprintf(out, COUNTER_SIZE, "c.%s", class_name);
}

static void target_counter(const char *target, char out[COUNTER_SIZE])
{
    (void)snprintf(out, COUNTER_SIZE, "t.%s", target);
}

/* Released slots are counted separately from taken ones, and both only grow: a slightly old count
 * of releases makes a fleet look fuller than it is, never emptier. */
static void read_freed(json_t *const *shards, const struct ledger_reserve *r, json_t *slots,
                       struct seen *out)
{
    char of_class[COUNTER_SIZE];
    char of_target[COUNTER_SIZE];
    class_counter(r->request->class_name, of_class);
    target_counter(r->target, of_target);
    out->fleet_freed = add_up(shards, LEDGER_DYNAMO_SHARDS, "f");
    out->class_freed = add_up(shards, LEDGER_DYNAMO_SHARDS, of_class);
    out->target_freed = add_up(shards, LEDGER_DYNAMO_SHARDS, of_target);
    out->usage.fleet_used = ledger_dynamo_read_number(slots, "f") - out->fleet_freed;
    out->usage.class_used = ledger_dynamo_read_number(slots, of_class) - out->class_freed;
    out->usage.target_used = ledger_dynamo_read_number(slots, of_target) - out->target_freed;
}

/* A full fleet is checked twice, so that slots released between the two reads count. */
static int look_again_if_full(struct ledger_dynamo_txn *t, struct reserve *s, json_t *slots,
                              struct err *e)
{
    struct ledger_dynamo_got shards;
    if (s->out.outcome != LEDGER_FULL_FLEET && s->out.outcome != LEDGER_FULL_CLASS &&
        s->out.outcome != LEDGER_FULL_TARGET) {
        return 0;
    }
    if (ledger_dynamo_read_shards(t->l, false, &shards, e) != 0) {
        return -1;
    }
    json_t *items[LEDGER_DYNAMO_SHARDS] = {NULL};
    for (size_t i = 0; i < shards.count && i < COUNT_OF(items); i++) {
        items[i] = shards.items[i];
    }
    read_freed(items, s->r, slots, &s->seen);
    ledger_dynamo_got_fini(&shards);
    s->out.outcome = ledger_rule_reserve(&s->seen.usage, &s->r->caps);
    return 0;
}

/* --- deciding --- */
/* Returns whether the job's row changed. */
static bool dynamo_write_outcome(struct ledger_dynamo_txn *t, struct reserve *s)
{
    struct ledger_line line;
    bool changed = ledger_reserve_line(s->r, &s->seen.usage, &s->out, &s->job.waits_logged, &line);
    if (s->r->request->job.id == 0) {
        (void)ledger_dynamo_log_vm(t, &s->vm, &line);
        return false;
    }
    return ledger_dynamo_log_job(t, &s->job, s->out.vm.name, &line) || changed;
}

/* The conditions on demand and supply at the time of the commit. `added`: whether this transaction
 * counts the job. */
static enum ledger_dynamo_demand condition_of(enum ledger_outcome outcome, int64_t added)
{
    if (outcome == LEDGER_RESERVED) {
        return added > 0 ? DEMAND_NOT_BELOW_SUPPLY : DEMAND_ABOVE_SUPPLY;
    }
    /* Its message is done with then: two that count on the same surplus must not both be. */
    return outcome == LEDGER_SATISFIED && added > 0 ? DEMAND_BELOW_SUPPLY : DEMAND_ANY;
}

static void launch(struct ledger_dynamo_txn *t, struct reserve *s)
{
    const struct ledger_caps *caps = &s->r->caps;
    memset(&s->vm, 0, sizeof s->vm);
    ledger_rule_new_vm(&s->vm.vm, s->r, s->vm_name, s->client_token, t->now_ms);
    s->out.vm = s->vm.vm;
    t->launch = (struct ledger_dynamo_launch){
        .taken = true,
        .fleet_most = caps->fleet + s->seen.fleet_freed,
        .class_most = caps->class_max + s->seen.class_freed,
        .target_most = caps->target_max > 0 ? caps->target_max + s->seen.target_freed : INT64_MAX,
    };
    (void)snprintf(t->launch.target, sizeof t->launch.target, "%s", s->vm.vm.target);
    (void)snprintf(t->launch.class_name, sizeof t->launch.class_name, "%s", s->vm.vm.class_name);
    t->repository_cap = caps->repository;
    if (s->job.job.facts.id != 0) {
        ledger_dynamo_relate(&s->job, s->vm_name);
    }
}

/* Once in a step, however often its transaction has to be decided anew. */
static int get_tokens(struct ledger_dynamo *l, struct reserve *s, struct err *e)
{
    if (s->has_tokens) {
        return 0;
    }
    if ((s->rate.wait_ms == 0 ? ledger_dynamo_rate_spend(l, &s->rate, e)
                              : ledger_dynamo_rate_repair(l, &s->rate, e)) != 0) {
        return -1;
    }
    s->has_tokens = s->rate.wait_ms == 0;
    return 0;
}

static int dynamo_decide_reserve(struct ledger_dynamo_txn *t, struct reserve *s, json_t *slots,
                                 struct err *e)
{
    s->out.outcome = ledger_rule_reserve(&s->seen.usage, &s->r->caps);
    if (look_again_if_full(t, s, slots, e) != 0) {
        return -1;
    }
    if (s->out.outcome != LEDGER_RESERVED) {
        return 0;
    }
    if (get_tokens(t->l, s, e) != 0) {
        return -1;
    }
    if (!s->has_tokens) {
        s->out.outcome = LEDGER_RATE;
        s->out.wait_ms = s->rate.wait_ms;
        return 0;
    }
    launch(t, s);
    return 0;
}

/* `added`: by how much this transaction raises the demand. */
static void read_usage(const struct ledger_dynamo_got *got, const struct ledger_reserve *r,
                       int64_t added, struct seen *out)
{
    json_t *const *items = got->items;
    int64_t both = add_up(items + AT_PAIR_SHARDS, LEDGER_DYNAMO_PAIR_SHARDS, "b");
    out->demand_stored = ledger_dynamo_read_number(items[AT_PAIR], "d");
    out->usage = (struct ledger_usage){
        .demand = out->demand_stored - both + added,
        .spare = r->request->spare,
        .supply = ledger_dynamo_read_number(items[AT_PAIR], "s") - both,
        .repository_used = ledger_dynamo_read_number(items[AT_REPO], "n"),
    };
    read_freed(items + AT_SHARDS, r, items[AT_SLOTS], out);
}

static int64_t not_below_zero(int64_t n)
{
    return n > 0 ? n : 0;
}

static int dynamo_reserve_round(struct ledger_dynamo_txn *t, struct reserve *s,
                                const struct ledger_dynamo_got *got, bool *done, struct err *e)
{
    const struct ledger_reserve *r = s->r;
    struct ledger_line line;
    if (ledger_dynamo_unpack_job(got->items[AT_JOB], &s->job, e) != 0) {
        return -1;
    }
    bool known = s->job.known;
    struct ledger_job before = s->job.job;
    t->order = s->job.order;
    struct ledger_change change =
        ledger_reserve_apply_wait(r, &s->job.job, known, &s->job.waits_logged, t->now_ms, &line);
    (void)ledger_dynamo_log_job(t, &s->job, "", &line);
    bool write = change.row;
    bool waited = known && before.state == JOB_WAITING && strcmp(before.scope, r->scope) == 0 &&
                  strcmp(before.facts.class_name, r->request->class_name) == 0;
    int64_t added = s->job.job.state == JOB_WAITING && !waited ? 1 : 0;
    read_usage(got, r, added, &s->seen);
    ledger_dynamo_rate_read(&s->rate, got->items + AT_RATE, t->now_ms);
    s->out = (struct ledger_reservation){.outcome = LEDGER_OBSOLETE,
                                         .demand = not_below_zero(s->seen.usage.demand),
                                         .supply = not_below_zero(s->seen.usage.supply),
                                         .queued = {change.state, known, before.state}};
    if (ledger_reserve_is_needed(&s->job.job, &s->seen.usage)) {
        if (dynamo_decide_reserve(t, s, got->items[AT_SLOTS], e) != 0) {
            return -1;
        }
        write = dynamo_write_outcome(t, s) || write;
    }
    enum ledger_dynamo_demand holds = condition_of(s->out.outcome, added);
    if (holds != DEMAND_ANY) {
        struct ledger_dynamo_pair *p = ledger_dynamo_pair_of(t, r->scope, r->request->class_name);
        p->holds = holds;
        p->spare = r->request->spare;
        p->demand_seen = s->seen.demand_stored;
    }
    if (write) {
        ledger_dynamo_write_job(t, known ? &before : NULL, &s->job);
    }
    if (s->out.outcome == LEDGER_RESERVED) {
        ledger_dynamo_write_vm(t, NULL, &s->vm);
    }
    return ledger_dynamo_commit(t, done, e);
}

static int reserve_once(struct ledger_dynamo_txn *t, struct reserve *s, bool *done, struct err *e)
{
    struct ledger_dynamo_got got;
    if (read_all(t, s->r, &s->rate, &got, e) != 0) {
        return -1;
    }
    int rc = dynamo_reserve_round(t, s, &got, done, e);
    ledger_dynamo_got_fini(&got);
    if (rc == 0 && !*done && t->taken) {
        return err_set(e, ERR_CONFLICT, 0, "there is a VM %s already", s->vm_name);
    }
    return rc;
}

int ledger_dynamo_reserve(void *state, const struct ledger_reserve *r, const char *vm_name,
                          const char *client_token, struct ledger_reservation *out, struct err *e)
{
    struct reserve s = {.r = r, .vm_name = vm_name, .client_token = client_token};
    struct ledger_dynamo_txn t;
    bool done = false;
    int rc;
    ledger_dynamo_rate_begin(&s.rate, state, r->target, r->request->class_name, &r->caps);
    ledger_dynamo_begin(&t, state);
    do {
        rc = reserve_once(&t, &s, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
    bool wanted = rc == 0 && s.out.outcome == LEDGER_RESERVED;
    if (s.has_tokens && !wanted && (rc == 0 || !ledger_dynamo_is_out(e))) {
        ledger_dynamo_rate_give_back(state, &s.rate);
    }
    if (rc == 0) {
        *out = s.out;
    }
    return rc;
}

/* --- capacity --- */
int ledger_dynamo_read_shards(struct ledger_dynamo *l, bool eventually,
                              struct ledger_dynamo_got *out, struct err *e)
{
    char pk[64];
    (void)snprintf(pk, sizeof pk, "%s:shard", l->url.prefix);
    struct ledger_dynamo_query q = {.pk = pk, .eventually = eventually};
    return ledger_dynamo_query(l, &q, out, e);
}

int64_t ledger_dynamo_sum_of(const struct ledger_dynamo_got *shards, const char *name)
{
    return add_up(shards->items, shards->count, name);
}

/* Slots taken are read before slots released, so that the difference never exceeds the real use. */
int ledger_dynamo_capacity(void *state, const char *class_name, const struct ledger_caps *caps,
                           struct ledger_capacity *out, struct err *e)
{
    struct ledger_dynamo *l = state;
    struct ledger_dynamo_got shards = {.count = 0};
    struct ledger_dynamo_got got = {.count = 0};
    struct ledger_dynamo_key keys[3];
    struct ledger_dynamo_rate rate;
    char of_class[COUNTER_SIZE];
    class_counter(class_name, of_class);
    keys[0] = ledger_dynamo_key(l, "slots", "main");
    ledger_dynamo_rate_begin(&rate, l, "", class_name, caps);
    keys[1] = rate.keys[0];
    keys[2] = rate.keys[1];
    if (ledger_dynamo_get(l, keys, COUNT_OF(keys), &got, e) != 0) {
        return -1;
    }
    int rc = ledger_dynamo_read_shards(l, false, &shards, e);
    if (rc == 0) {
        ledger_dynamo_rate_read(&rate, got.items + 1, clock_wall_ms());
        rc = ledger_dynamo_rate_repair(l, &rate, e);
    }
    if (rc == 0) {
        *out = (struct ledger_capacity){
            .fleet_used = not_below_zero(ledger_dynamo_read_number(got.items[0], "f") -
                                         ledger_dynamo_sum_of(&shards, "f")),
            .class_used = not_below_zero(ledger_dynamo_read_number(got.items[0], of_class) -
                                         ledger_dynamo_sum_of(&shards, of_class)),
            .rate_wait_ms = rate.wait_ms,
        };
    }
    ledger_dynamo_got_fini(&shards);
    ledger_dynamo_got_fini(&got);
    return rc;
}

/* --- targets --- */
/* As ledger_dynamo_capacity. */
int ledger_dynamo_targets_read(void *state, struct ledger_target_use *targets, size_t n,
                               struct err *e)
{
    struct ledger_dynamo *l = state;
    struct ledger_dynamo_got shards = {.count = 0};
    struct ledger_dynamo_got got = {.count = 0};
    struct ledger_dynamo_key *keys = calloc(n + 1, sizeof *keys);
    ASSERT(keys != NULL);
    keys[0] = ledger_dynamo_key(l, "slots", "main");
    for (size_t i = 0; i < n; i++) {
        char bucket[LEDGER_BUCKET_SIZE];
        ledger_bucket_of_launch(targets[i].name, bucket);
        keys[1 + i] = ledger_dynamo_key(l, "bucket", "%s", bucket);
    }
    int rc = ledger_dynamo_get(l, keys, n + 1, &got, e);
    rc = rc == 0 ? ledger_dynamo_read_shards(l, false, &shards, e) : rc;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char of_target[COUNTER_SIZE];
        target_counter(targets[i].name, of_target);
        targets[i].used = not_below_zero(ledger_dynamo_read_number(got.items[0], of_target) -
                                         ledger_dynamo_sum_of(&shards, of_target));
        rc = ledger_dynamo_rate_of_target(l, &keys[1 + i], got.items[1 + i], &targets[i], e);
    }
    ledger_dynamo_got_fini(&shards);
    ledger_dynamo_got_fini(&got);
    free(keys);
    return rc;
}

int ledger_dynamo_release_seq(void *state, int64_t *out, struct err *e)
{
    struct ledger_dynamo_got shards;
    if (ledger_dynamo_read_shards(state, true, &shards, e) != 0) {
        return -1;
    }
    *out = ledger_dynamo_sum_of(&shards, "f");
    ledger_dynamo_got_fini(&shards);
    return 0;
}
