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
