#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* Rate buckets. Each is an item that is read, decided by the rules, and put if its version is
 * unchanged. A put whose response was lost may take a token twice, which is harmless. */

/* --- one item, until it holds --- */
typedef bool change_fn(void *arg, const json_t *item, const char *version, struct buf *attributes);

/* `change` says what the item becomes; false: it stays as it is. */
static int change_item(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                       change_fn *change, void *arg, struct err *e)
{
    int64_t deadline_ms = ledger_dynamo_deadline(l);
    for (int round = 1;; round++) {
        struct ledger_dynamo_got got;
        char version[LEDGER_DYNAMO_VERSION];
        char was[LEDGER_DYNAMO_VERSION];
        struct buf attributes;
        bool held = true;
        if (ledger_dynamo_get(l, key, 1, &got, e) != 0) {
            return -1;
        }
        buf_init(&attributes, 16 * 1024);
        ledger_dynamo_version(version);
        ledger_dynamo_read_text(got.items[0], "version", was, sizeof was);
        bool write = change(arg, got.items[0], version, &attributes);
        int rc = write ? ledger_dynamo_put_one(l, key, &attributes, was, &held, e) : 0;
        buf_fini(&attributes);
        ledger_dynamo_got_fini(&got);
        if (rc != 0 || held) {
            return rc;
        }
        if (ledger_dynamo_pause(deadline_ms, round, CAUSE_RACE, e) != 0) {
            return -1;
        }
    }
}

/* --- rate buckets --- */
void ledger_dynamo_unpack_bucket(const json_t *item, int64_t now_ms,
                                 struct ledger_dynamo_bucket *out)
{
    *out = (struct ledger_dynamo_bucket){.version = ""};
    if (item == NULL) {
        ledger_rule_bucket_new(&out->row, now_ms);
        return;
    }
    out->row = (struct ledger_bucket_row){
        .tokens = ledger_dynamo_read_real(item, "tokens"),
        .at_ms = ledger_dynamo_read_number(item, "at"),
        .paused_until_ms = ledger_dynamo_read_number(item, "paused"),
    };
    ledger_dynamo_read_text(item, "version", out->version, sizeof out->version);
}

void ledger_dynamo_pack_bucket(const struct ledger_bucket_row *row, const char *version,
                               struct buf *attributes)
{
    ledger_dynamo_put_real(attributes, "tokens", row->tokens);
    /* Spelled out even if zero: conditions compare it. */
    buf_printf(attributes, ",\"at\":{\"N\":\"%lld\"}", (long long)row->at_ms);
    ledger_dynamo_put_number(attributes, "paused", row->paused_until_ms);
    ledger_dynamo_put_text(attributes, "version", version);
}

struct take {
    const struct ledger_bucket *bucket;
    int64_t cost;
    int64_t wait_ms;
};

static bool take_tokens(void *arg, const json_t *item, const char *version, struct buf *attributes)
{
    struct take *t = arg;
    const struct ledger_bucket *b = t->bucket;
    struct ledger_dynamo_bucket bucket;
    int64_t now_ms = clock_wall_ms();
    ledger_dynamo_unpack_bucket(item, now_ms, &bucket);
    bool set_back = ledger_rule_clock_set_back(&bucket.row, now_ms);
    ledger_rule_bucket_refill(&bucket.row, b->per_second, b->burst, now_ms);
    t->wait_ms = ledger_rule_bucket_wait(&bucket.row, b->per_second, t->cost, now_ms);
    if (t->wait_ms == 0) {
        ledger_rule_bucket_spend(&bucket.row, b->per_second, t->cost);
    } else if (!set_back) {
        return false;
    }
    ledger_dynamo_pack_bucket(&bucket.row, version, attributes);
    return b->per_second > 0;
}

int ledger_dynamo_rate_take(void *state, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e)
{
    struct take t = {.bucket = b, .cost = cost};
    struct ledger_dynamo_key key = ledger_dynamo_key(state, "bucket", "%s", b->name);
    if (change_item(state, &key, take_tokens, &t, e) != 0) {
        return -1;
    }
    *wait_ms = t.wait_ms;
    return 0;
}

struct pause {
    int64_t until_ms;
};

static bool pause_bucket(void *arg, const json_t *item, const char *version, struct buf *attributes)
{
    const struct pause *p = arg;
    struct ledger_dynamo_bucket bucket;
    ledger_dynamo_unpack_bucket(item, clock_wall_ms(), &bucket);
    if (bucket.row.paused_until_ms >= p->until_ms) {
        return false;
    }
    bucket.row.paused_until_ms = p->until_ms;
    ledger_dynamo_pack_bucket(&bucket.row, version, attributes);
    return true;
}

int ledger_dynamo_rate_pause(void *state, const char *name, int64_t until_ms, struct err *e)
{
    struct pause p = {.until_ms = until_ms};
    struct ledger_dynamo_key key = ledger_dynamo_key(state, "bucket", "%s", name);
    return change_item(state, &key, pause_bucket, &p, e);
}

/* --- the two buckets of a launch --- */
void ledger_dynamo_rate_begin(struct ledger_dynamo_rate *rate, const struct ledger_dynamo *l,
                              const char *target, const char *class_name,
                              const struct ledger_caps *caps)
{
    *rate = (struct ledger_dynamo_rate){
        .per_second = {caps->rate_per_second, caps->class_rate_per_second},
        .burst = {caps->rate_burst, caps->class_rate_burst},
    };
    ledger_bucket_of_launch(target, rate->names[0]);
    (void)snprintf(rate->names[1], sizeof rate->names[1], LEDGER_BUCKET_CLASS "%s", class_name);
    for (size_t i = 0; i < 2; i++) {
        rate->keys[i] = ledger_dynamo_key(l, "bucket", "%s", rate->names[i]);
    }
}

void ledger_dynamo_rate_read(struct ledger_dynamo_rate *rate, json_t *const items[2],
                             int64_t now_ms)
{
    rate->wait_ms = 0;
    rate->set_back = false;
    for (size_t i = 0; i < 2; i++) {
        ledger_dynamo_unpack_bucket(items[i], now_ms, &rate->was[i]);
        rate->now[i] = rate->was[i].row;
        rate->set_back = rate->set_back || ledger_rule_clock_set_back(&rate->now[i], now_ms);
        ledger_rule_bucket_refill(&rate->now[i], rate->per_second[i], rate->burst[i], now_ms);
        int64_t wait = ledger_rule_bucket_wait(&rate->now[i], rate->per_second[i], 1, now_ms);
        rate->wait_ms = wait > rate->wait_ms ? wait : rate->wait_ms;
    }
}

/* *held is true also if a response was lost, and the request that was sent again for it found the first
 * one's work. */
static int put_bucket(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                      const struct ledger_bucket_row *row, const char *version_before, bool *held,
                      struct err *e)
{
    char version[LEDGER_DYNAMO_VERSION];
    struct buf attributes;
    struct ledger_dynamo_got got;
    buf_init(&attributes, 1024);
    ledger_dynamo_version(version);
    ledger_dynamo_pack_bucket(row, version, &attributes);
    int rc = ledger_dynamo_put_one(l, key, &attributes, version_before, held, e);
    buf_fini(&attributes);
    if (rc == 0 && !*held && (rc = ledger_dynamo_get(l, key, 1, &got, e)) == 0) {
        *held = slice_eq_cstr(ledger_dynamo_read_slice(got.items[0], "version"), version);
        ledger_dynamo_got_fini(&got);
    }
    return rc;
}

/* What was read is enough unless others were at the bucket since. */
static int take_one_token(struct ledger_dynamo *l, struct ledger_dynamo_rate *rate, size_t i,
                          struct err *e)
{
    struct ledger_bucket_row row = rate->now[i];
    const struct ledger_bucket bucket = {
        .name = rate->names[i], .per_second = rate->per_second[i], .burst = rate->burst[i]};
    bool held;
    ledger_rule_bucket_spend(&row, bucket.per_second, 1);
    if (put_bucket(l, &rate->keys[i], &row, rate->was[i].version, &held, e) != 0) {
        return -1;
    }
    return held ? 0 : ledger_dynamo_rate_take(l, &bucket, 1, &rate->wait_ms, e);
}

bool ledger_dynamo_is_out(const struct err *e)
{
    return e->class == ERR_RETRY || e->class == ERR_THROTTLED;
}

static void give_back_token(struct ledger_dynamo *l, const struct ledger_dynamo_rate *rate,
                            size_t i)
{
    struct ledger_dynamo_expr x;
    struct err ignored = {0};
    bool held;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_add(&x, "tokens", 1);
    ledger_dynamo_if(&x, "attribute_exists(%s)", ledger_dynamo_name(&x, "tokens").text);
    int rc = ledger_dynamo_update_one(l, &rate->keys[i], &x, &held, &ignored);
    (void)rc;
    ledger_dynamo_expr_fini(&x);
}

static void give_back_tokens(struct ledger_dynamo *l, const struct ledger_dynamo_rate *rate,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rate->per_second[i] > 0) {
            give_back_token(l, rate, i);
        }
    }
}

int ledger_dynamo_rate_spend(struct ledger_dynamo *l, struct ledger_dynamo_rate *rate,
                             struct err *e)
{
    for (size_t i = 0; i < 2; i++) {
        int rc = rate->per_second[i] > 0 ? take_one_token(l, rate, i, e) : 0;
        if (rc != 0 || rate->wait_ms > 0) {
            if (rc == 0 || !ledger_dynamo_is_out(e)) {
                give_back_tokens(l, rate, i);
            }
            return rc;
        }
    }
    return 0;
}

void ledger_dynamo_rate_give_back(struct ledger_dynamo *l, const struct ledger_dynamo_rate *rate)
{
    give_back_tokens(l, rate, 2);
}

/* That another process has changed it meanwhile is as good. */
int ledger_dynamo_rate_repair(struct ledger_dynamo *l, const struct ledger_dynamo_rate *rate,
                              struct err *e)
{
    bool held;
    int rc = 0;
    for (size_t i = 0; i < 2 && rc == 0; i++) {
        if (rate->set_back && rate->per_second[i] > 0) {
            rc = put_bucket(l, &rate->keys[i], &rate->now[i], rate->was[i].version, &held, e);
        }
    }
    return rc;
}

int ledger_dynamo_rate_of_target(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                                 const json_t *item, struct ledger_target_use *t, struct err *e)
{
    struct ledger_dynamo_bucket bucket;
    int64_t now_ms = clock_wall_ms();
    bool held;
    ledger_dynamo_unpack_bucket(item, now_ms, &bucket);
    bool set_back = t->rate_per_second > 0 && ledger_rule_clock_set_back(&bucket.row, now_ms);
    ledger_rule_bucket_refill(&bucket.row, t->rate_per_second, t->rate_burst, now_ms);
    t->rate_wait_ms = ledger_rule_bucket_wait(&bucket.row, t->rate_per_second, 1, now_ms);
    return set_back ? put_bucket(l, key, &bucket.row, bucket.version, &held, e) : 0;
}
