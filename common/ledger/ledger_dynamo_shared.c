#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/ledger_dynamo.h"

/* Rate buckets, leases and marks: the small things that all processes share. Each is an item
 * that is read, decided on by the rules, and put if it is still the same version. A put whose
 * answer was lost is found done when the item is read again; only a token may be taken twice by it,
 * which is no harm. */

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

/* --- leases --- */
struct lease {
    const char *holder;
    int64_t ttl_ms;
    bool held;
    int64_t fence;
};

static void put_lease(const struct ledger_lease_row *row, const char *version,
                      struct buf *attributes)
{
    ledger_dynamo_put_text(attributes, "holder", row->holder);
    ledger_dynamo_put_number(attributes, "until", row->until_ms);
    ledger_dynamo_put_number(attributes, "fence", row->fence);
    ledger_dynamo_put_text(attributes, "version", version);
}

static void read_lease(const json_t *item, struct ledger_lease_row *out)
{
    *out = (struct ledger_lease_row){.until_ms = ledger_dynamo_read_number(item, "until"),
                                     .fence = ledger_dynamo_read_number(item, "fence")};
    ledger_dynamo_read_text(item, "holder", out->holder, sizeof out->holder);
}

static bool take_lease(void *arg, const json_t *item, const char *version, struct buf *attributes)
{
    struct lease *l = arg;
    struct ledger_lease_row row;
    read_lease(item, &row);
    l->held = ledger_rule_lease(&row, l->holder, l->ttl_ms, clock_wall_ms());
    l->fence = row.fence;
    put_lease(&row, version, attributes);
    return l->held;
}

int ledger_dynamo_lease(void *state, const char *name, const char *holder, int64_t ttl_ms,
                        bool *held, int64_t *fence, struct err *e)
{
    struct lease l = {.holder = holder, .ttl_ms = ttl_ms};
    struct ledger_dynamo_key key = ledger_dynamo_key(state, "lease", "%s", name);
    if (change_item(state, &key, take_lease, &l, e) != 0) {
        return -1;
    }
    *held = l.held;
    *fence = l.fence;
    return 0;
}

/* The item stays, so that the fence goes on growing. */
static bool release_lease(void *arg, const json_t *item, const char *version,
                          struct buf *attributes)
{
    const struct lease *l = arg;
    struct ledger_lease_row row;
    read_lease(item, &row);
    if (strcmp(row.holder, l->holder) != 0) {
        return false;
    }
    row.holder[0] = '\0';
    row.until_ms = 0;
    put_lease(&row, version, attributes);
    return true;
}

int ledger_dynamo_lease_release(void *state, const char *name, const char *holder, struct err *e)
{
    struct lease l = {.holder = holder};
    struct ledger_dynamo_key key = ledger_dynamo_key(state, "lease", "%s", name);
    return change_item(state, &key, release_lease, &l, e);
}

/* --- marks --- */
int ledger_dynamo_mark_get(void *state, const char *name, int64_t *out, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(state, "mark", "%s", name);
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(state, &key, 1, &got, e) != 0) {
        return -1;
    }
    *out = ledger_dynamo_read_number(got.items[0], "value");
    ledger_dynamo_got_fini(&got);
    return 0;
}

struct mark {
    const char *name;
    bool add;
    int64_t value; /* to set or to add */
    int64_t result;
};

/* A transaction, which knows its own work again: a number must not be added twice. */
static int mark_round(struct ledger_dynamo_txn *t, struct mark *m, bool *done, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(t->l, "mark", "%s", m->name);
    struct ledger_dynamo_got got;
    struct ledger_dynamo_expr x;
    struct buf attributes;
    char was[LEDGER_DYNAMO_VERSION];
    if (ledger_dynamo_get(t->l, &key, 1, &got, e) != 0) {
        return -1;
    }
    uint64_t before = m->add ? (uint64_t)ledger_dynamo_read_number(got.items[0], "value") : 0;
    m->result = (int64_t)(before + (uint64_t)m->value);
    ledger_dynamo_read_text(got.items[0], "version", was, sizeof was);
    ledger_dynamo_got_fini(&got);
    buf_init(&attributes, 1024);
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_put_number(&attributes, "value", m->result);
    ledger_dynamo_put_text(&attributes, "version", t->version);
    ledger_dynamo_if_version(&x, was);
    ledger_dynamo_put(t, &key, &attributes, &x);
    t->proof = key;
    ledger_dynamo_expr_fini(&x);
    buf_fini(&attributes);
    return ledger_dynamo_commit(t, done, e);
}

static int mark(void *state, struct mark *m, struct err *e)
{
    struct ledger_dynamo_txn t;
    bool done = false;
    int rc;
    ledger_dynamo_begin(&t, state);
    do {
        rc = mark_round(&t, m, &done, e);
    } while (rc == 0 && !done && (rc = ledger_dynamo_again(&t, e)) == 0);
    ledger_dynamo_end(&t);
    return rc;
}

int ledger_dynamo_mark_set(void *state, const char *name, int64_t value, struct err *e)
{
    struct mark m = {.name = name, .value = value};
    return mark(state, &m, e);
}

int ledger_dynamo_mark_add(void *state, const char *name, int64_t n, int64_t *out, struct err *e)
{
    struct mark m = {.name = name, .add = true, .value = n};
    if (mark(state, &m, e) != 0) {
        return -1;
    }
    *out = m.result;
    return 0;
}
