#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* --- the two buckets that a launch takes from --- */
struct launch_rate {
    struct ledger_dynamo_key keys[2]; /* the fleet's or the target's, the class's */
    struct ledger_dynamo_bucket was[2];
    struct ledger_bucket_row now[2]; /* refilled, nothing spent */
    double per_second[2];
    int64_t burst[2];
    int64_t wait_ms;
    bool set_back; /* the clock was: the rows want writing though nothing is spent */
};

static void rate_keys(const struct ledger_dynamo *l, const char *target, const char *class_name,
                      struct ledger_dynamo_key keys[2])
{
    char bucket[LEDGER_BUCKET_SIZE];
    ledger_bucket_of_launch(target, bucket);
    keys[0] = ledger_dynamo_key(l, "bucket", "%s", bucket);
    keys[1] = ledger_dynamo_key(l, "bucket", LEDGER_BUCKET_CLASS "%s", class_name);
}

static void read_rate(json_t *const items[2], const struct ledger_dynamo_key keys[2],
                      const struct ledger_caps *caps, int64_t now_ms, struct launch_rate *out)
{
    *out = (struct launch_rate){
        .keys = {keys[0], keys[1]},
        .per_second = {caps->rate_per_second, caps->class_rate_per_second},
        .burst = {caps->rate_burst, caps->class_rate_burst},
    };
    for (size_t i = 0; i < 2; i++) {
        ledger_dynamo_unpack_bucket(items[i], now_ms, &out->was[i]);
        out->now[i] = out->was[i].row;
        out->set_back = out->set_back || ledger_rule_clock_set_back(&out->now[i], now_ms);
        ledger_rule_bucket_refill(&out->now[i], out->per_second[i], out->burst[i], now_ms);
        int64_t wait = ledger_rule_bucket_wait(&out->now[i], out->per_second[i], 1, now_ms);
        out->wait_ms = wait > out->wait_ms ? wait : out->wait_ms;
    }
}

/* Under contention each launch would find the bucket changed by the one before. A token can be
 * taken without a refill: if the bucket's time is still the one that was read, its tokens have only
 * become fewer, and if the refill would not have filled it, the result is the same. */
#define SPEND_BESIDE_MS 250
#define TOKEN_DUST 1e-6

static bool can_spend_beside(const struct ledger_dynamo_txn *t, const struct launch_rate *rate,
                             size_t i)
{
    int64_t age_ms = t->now_ms - rate->was[i].row.at_ms;
    return rate->was[i].version[0] != '\0' && age_ms >= 0 && age_ms <= SPEND_BESIDE_MS &&
           rate->was[i].row.tokens + rate->per_second[i] * (double)age_ms / 1000.0 <=
               (double)rate->burst[i] &&
           clock_mono_ms() < atomic_load(&t->l->contended_ms);
}

static void spend_beside(struct ledger_dynamo_txn *t, const struct launch_rate *rate, size_t i)
{
    struct ledger_dynamo_expr x;
    int64_t age_ms = t->now_ms - rate->was[i].row.at_ms;
    double refill = rate->per_second[i] * (double)age_ms / 1000.0;
    ledger_dynamo_expr_init(&x);
    struct ledger_dynamo_word tokens = ledger_dynamo_name(&x, "tokens");
    struct ledger_dynamo_word one = ledger_dynamo_number(&x, 1);
    struct ledger_dynamo_word least = ledger_dynamo_real(&x, 1 - refill - TOKEN_DUST);
    buf_printf(&x.set, "%s = %s - %s", tokens.text, tokens.text, one.text);
    ledger_dynamo_set_text(&x, "version", t->version);
    ledger_dynamo_if(&x, "%s >= %s", tokens.text, least.text);
    ledger_dynamo_if_number(&x, "at", "=", rate->was[i].row.at_ms, false);
    ledger_dynamo_if_number(&x, "paused", "<=", t->now_ms, true);
    ledger_dynamo_update(t, &rate->keys[i], &x);
    ledger_dynamo_expr_fini(&x);
}

static void write_bucket(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                         const struct ledger_bucket_row *row, const char *version_before)
{
    struct ledger_dynamo_expr x;
    struct buf attributes;
    buf_init(&attributes, 1024);
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_pack_bucket(row, t->version, &attributes);
    ledger_dynamo_if_version(&x, version_before);
    ledger_dynamo_put(t, key, &attributes, &x);
    ledger_dynamo_expr_fini(&x);
    buf_fini(&attributes);
}

/* Spends a token of both buckets, or of neither. */
static void write_rate(struct ledger_dynamo_txn *t, const struct launch_rate *rate)
{
    for (size_t i = 0; i < 2; i++) {
        struct ledger_bucket_row row = rate->now[i];
        if (rate->per_second[i] <= 0) {
            continue;
        }
        if (rate->wait_ms == 0 && can_spend_beside(t, rate, i)) {
            spend_beside(t, rate, i);
            continue;
        }
        if (rate->wait_ms == 0) {
            ledger_rule_bucket_spend(&row, rate->per_second[i], 1);
        }
        write_bucket(t, &rate->keys[i], &row, rate->was[i].version);
    }
}

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
    struct launch_rate rate;
    struct seen seen;
    struct ledger_reservation out;
};

static int read_all(struct ledger_dynamo_txn *t, const struct ledger_reserve *r,
                    struct ledger_dynamo_got *out, struct err *e)
{
    struct ledger_dynamo_key keys[KEYS];
    const char *class_name = r->request->class_name;
    keys[AT_JOB] = ledger_dynamo_job_key(t->l, r->request->job.id);
    keys[AT_PAIR] = ledger_dynamo_pair_key(t->l, r->scope, class_name);
    keys[AT_SLOTS] = ledger_dynamo_key(t->l, "slots", "main");
    /* Without a job no repository's count is asked for; "-" names none. */
    const char *repository = r->request->job.id != 0 ? r->request->job.repository : "-";
    keys[AT_REPO] = ledger_dynamo_key(t->l, "repo", "%s", repository);
    rate_keys(t->l, r->target, class_name, &keys[AT_RATE]);
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
    s->out.wait_ms = s->rate.wait_ms;
    if (s->rate.wait_ms > 0) {
        s->out.outcome = LEDGER_RATE;
    }
    if (s->rate.wait_ms == 0 || s->rate.set_back) {
        write_rate(t, &s->rate);
    }
    if (s->out.outcome == LEDGER_RESERVED) {
        launch(t, s);
    }
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
    struct ledger_dynamo_key keys[2];
    rate_keys(t->l, r->target, r->request->class_name, keys);
    read_rate(got->items + AT_RATE, keys, &r->caps, t->now_ms, &s->rate);
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
    if (read_all(t, s->r, &got, e) != 0) {
        return -1;
    }
    int rc = dynamo_reserve_round(t, s, &got, done, e);
    ledger_dynamo_got_fini(&got);
    if (rc == 0 && !*done && t->taken) {
        return err_set(e, ERR_CONFLICT, 0, "there is a VM %s already", s->vm_name);
    }
    if (rc == 0 && !*done) {
        atomic_store(&t->l->contended_ms, clock_mono_ms() + 4 * SPEND_BESIDE_MS);
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
    ledger_dynamo_begin(&t, state);
    do {
        rc = reserve_once(&t, &s, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
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

/* Otherwise a bucket that was empty when the clock was set back would not refill until the clock
 * has caught up. A conflict means that another process has corrected it. */
static int repair_bucket(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                         const struct ledger_bucket_row *row, const char *version_before,
                         struct err *e)
{
    char version[LEDGER_DYNAMO_VERSION];
    struct buf attributes;
    bool held;
    buf_init(&attributes, 1024);
    ledger_dynamo_version(version);
    ledger_dynamo_pack_bucket(row, version, &attributes);
    int rc = ledger_dynamo_put_one(l, key, &attributes, version_before, &held, e);
    buf_fini(&attributes);
    return rc;
}

static int repair_rate(struct ledger_dynamo *l, const struct launch_rate *rate, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        if (rate->set_back && rate->per_second[i] > 0) {
            rc = repair_bucket(l, &rate->keys[i], &rate->now[i], rate->was[i].version, e);
        }
    }
    return rc;
}

/* Slots taken are read before slots released, so that the difference never exceeds the real use. */
int ledger_dynamo_capacity(void *state, const char *class_name, const struct ledger_caps *caps,
                           struct ledger_capacity *out, struct err *e)
{
    struct ledger_dynamo *l = state;
    struct ledger_dynamo_got shards = {.count = 0};
    struct ledger_dynamo_got got = {.count = 0};
    struct ledger_dynamo_key keys[3];
    struct launch_rate rate;
    char of_class[COUNTER_SIZE];
    class_counter(class_name, of_class);
    keys[0] = ledger_dynamo_key(l, "slots", "main");
    rate_keys(l, "", class_name, &keys[1]);
    if (ledger_dynamo_get(l, keys, COUNT_OF(keys), &got, e) != 0) {
        return -1;
    }
    int rc = ledger_dynamo_read_shards(l, false, &shards, e);
    if (rc == 0) {
        read_rate(got.items + 1, &keys[1], caps, clock_wall_ms(), &rate);
        rc = repair_rate(l, &rate, e);
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
static int read_target(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                       const json_t *item, struct ledger_target_use *t, struct err *e)
{
    struct ledger_dynamo_bucket bucket;
    int64_t now_ms = clock_wall_ms();
    ledger_dynamo_unpack_bucket(item, now_ms, &bucket);
    bool set_back = t->rate_per_second > 0 && ledger_rule_clock_set_back(&bucket.row, now_ms);
    ledger_rule_bucket_refill(&bucket.row, t->rate_per_second, t->rate_burst, now_ms);
    t->rate_wait_ms = ledger_rule_bucket_wait(&bucket.row, t->rate_per_second, 1, now_ms);
    return set_back ? repair_bucket(l, key, &bucket.row, bucket.version, e) : 0;
}

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
        rc = read_target(l, &keys[1 + i], got.items[1 + i], &targets[i], e);
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
