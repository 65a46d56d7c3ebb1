#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* One step's writes: collected, and committed in one transaction. */

#define BODY_MAX (4 * 1024 * 1024)
#define THROTTLED_AGAIN_MS 1000

void ledger_dynamo_begin(struct ledger_dynamo_txn *t, struct ledger_dynamo *l)
{
    memset(t, 0, sizeof *t);
    t->l = l;
    t->deadline_ms = ledger_dynamo_deadline(l);
    t->now_ms = clock_wall_ms();
    buf_init(&t->items, BODY_MAX);
    ledger_dynamo_version(t->version);
}

void ledger_dynamo_end(struct ledger_dynamo_txn *t)
{
    buf_fini(&t->items);
}

/* Discards the collected writes. A version belongs to one transaction. */
int ledger_dynamo_again(struct ledger_dynamo_txn *t, struct err *e)
{
    buf_reset(&t->items);
    ledger_dynamo_version(t->version);
    t->count = 0;
    t->proof.pk[0] = '\0';
    t->newborn = 0;
    t->taken = false;
    t->order = 0;
    t->pair_count = 0;
    t->sum_count = 0;
    t->frees = false;
    t->launch = (struct ledger_dynamo_launch){.taken = false};
    t->repository_count = 0;
    t->repository_cap = 0;
    if (ledger_dynamo_pause(t->deadline_ms, ++t->round, CAUSE_RACE, e) != 0) {
        return -1;
    }
    t->now_ms = clock_wall_ms();
    return 0;
}

/* --- gathering --- */
static void begin_item(struct ledger_dynamo_txn *t, const char *what)
{
    ASSERT(t->count < LEDGER_DYNAMO_ITEMS);
    buf_printf(&t->items, "%s{\"%s\":{\"TableName\":", t->count > 0 ? "," : "", what);
    buf_append_json(&t->items, slice_of(t->l->url.table));
    t->count++;
}

static void end_item(struct ledger_dynamo_txn *t, const struct ledger_dynamo_expr *x)
{
    ledger_dynamo_expr_render(x, &t->items);
    buf_append_cstr(&t->items, "}}");
}

void ledger_dynamo_put(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                       const struct buf *attributes, const struct ledger_dynamo_expr *x)
{
    begin_item(t, "Put");
    buf_append_cstr(&t->items, ",\"Item\":");
    ledger_dynamo_render_item(key, attributes, &t->items);
    end_item(t, x);
}

static void change(struct ledger_dynamo_txn *t, const char *what,
                   const struct ledger_dynamo_key *key, const struct ledger_dynamo_expr *x)
{
    begin_item(t, what);
    buf_append_cstr(&t->items, ",\"Key\":");
    ledger_dynamo_render_key(key, &t->items);
    end_item(t, x);
}

void ledger_dynamo_update(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                          const struct ledger_dynamo_expr *x)
{
    change(t, "Update", key, x);
}

void ledger_dynamo_delete(struct ledger_dynamo_txn *t, const struct ledger_dynamo_key *key,
                          const struct ledger_dynamo_expr *x)
{
    change(t, "Delete", key, x);
}

void ledger_dynamo_count(struct ledger_dynamo_txn *t, const char *name, int64_t by)
{
    for (size_t i = 0; i < t->sum_count; i++) {
        if (strcmp(t->sums[i].name, name) == 0) {
            t->sums[i].by += by;
            return;
        }
    }
    ASSERT(t->sum_count < LEDGER_DYNAMO_SUMS);
    struct ledger_dynamo_sum *s = &t->sums[t->sum_count++];
    (void)snprintf(s->name, sizeof s->name, "%s", name);
    s->by = by;
}

void ledger_dynamo_countf(struct ledger_dynamo_txn *t, int64_t by, const char *format, ...)
{
    char name[sizeof t->sums[0].name];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(name, sizeof name, format, ap);
    va_end(ap);
    ledger_dynamo_count(t, name, by);
}

struct ledger_dynamo_pair *ledger_dynamo_pair_of(struct ledger_dynamo_txn *t, const char *scope,
                                                 const char *class_name)
{
    for (size_t i = 0; i < t->pair_count; i++) {
        if (strcmp(t->pairs[i].scope, scope) == 0 &&
            strcmp(t->pairs[i].class_name, class_name) == 0) {
            return &t->pairs[i];
        }
    }
    ASSERT(t->pair_count < LEDGER_DYNAMO_PAIRS);
    struct ledger_dynamo_pair *p = &t->pairs[t->pair_count++];
    *p = (struct ledger_dynamo_pair){.demand = 0};
    (void)snprintf(p->scope, sizeof p->scope, "%s", scope);
    (void)snprintf(p->class_name, sizeof p->class_name, "%s", class_name);
    return p;
}

/* --- counters, as items --- */
/* An expression compares attributes and adds nothing to them. So the demand is compared with what was
 * read, and the supply with that and the spare: it holds less often than it could, never wrongly. */
static void put_spare_condition(struct ledger_dynamo_expr *x, const struct ledger_dynamo_pair *p)
{
    struct ledger_dynamo_word d = ledger_dynamo_name(x, "d");
    struct ledger_dynamo_word s = ledger_dynamo_name(x, "s");
    struct ledger_dynamo_word seen = ledger_dynamo_number(x, p->demand_seen);
    struct ledger_dynamo_word wanted = ledger_dynamo_number(x, p->demand_seen + p->spare);
    if (p->holds == DEMAND_BELOW_SUPPLY) {
        ledger_dynamo_if(x, "%s <= %s AND %s > %s", d.text, seen.text, s.text, wanted.text);
    } else {
        ledger_dynamo_if(x, "attribute_not_exists(%s) OR (%s >= %s AND %s %s %s)", d.text, d.text,
                         seen.text, s.text,
                         p->holds == DEMAND_ABOVE_SUPPLY ? "<" : "<=", wanted.text);
    }
}

static void put_demand_condition(struct ledger_dynamo_expr *x, const struct ledger_dynamo_pair *p)
{
    enum ledger_dynamo_demand holds = p->holds;
    if (holds == DEMAND_ANY) {
        return;
    }
    if (p->spare > 0) {
        put_spare_condition(x, p);
        return;
    }
    struct ledger_dynamo_word d = ledger_dynamo_name(x, "d");
    struct ledger_dynamo_word s = ledger_dynamo_name(x, "s");
    switch (holds) {
    case DEMAND_ABOVE_SUPPLY:
        ledger_dynamo_if(x, "%s > %s", d.text, s.text);
        break;
    case DEMAND_NOT_BELOW_SUPPLY:
        ledger_dynamo_if(x, "attribute_not_exists(%s) OR %s >= %s", d.text, d.text, s.text);
        break;
    case DEMAND_BELOW_SUPPLY:
        ledger_dynamo_if(x, "%s < %s", d.text, s.text);
        break;
    case DEMAND_ANY:
        break;
    }
}

/* Demand and supply both fall by one when a VM starts a waiting job: their difference, on which
 * decisions depend, stays. So this is counted in a separate item and conflicts with no launch. */
static void flush_both(struct ledger_dynamo_txn *t, const struct ledger_dynamo_pair *p)
{
    struct ledger_dynamo_expr x;
    struct ledger_dynamo_key key = ledger_dynamo_pair_shard_key(
        t->l, p->scope, p->class_name, (unsigned)random_below(LEDGER_DYNAMO_PAIR_SHARDS));
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_set_text(&x, "scope", p->scope);
    ledger_dynamo_set_text(&x, "class", p->class_name);
    ledger_dynamo_add(&x, "b", -p->demand);
    ledger_dynamo_update(t, &key, &x);
    ledger_dynamo_expr_fini(&x);
}

static void flush_pair(struct ledger_dynamo_txn *t, const struct ledger_dynamo_pair *p)
{
    struct ledger_dynamo_expr x;
    bool both = p->demand < 0 && p->demand == p->supply && p->vms == 0;
    if (both && p->holds == DEMAND_ANY) {
        flush_both(t, p);
        return;
    }
    if (p->demand == 0 && p->supply == 0 && p->vms == 0 && p->holds == DEMAND_ANY) {
        return;
    }
    struct ledger_dynamo_key key = ledger_dynamo_pair_key(t->l, p->scope, p->class_name);
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_set_text(&x, "scope", p->scope);
    ledger_dynamo_set_text(&x, "class", p->class_name);
    ledger_dynamo_set_number(&x, "changed", t->now_ms);
    if (p->installation_id > 0) {
        ledger_dynamo_set_number(&x, "install", p->installation_id);
        ledger_dynamo_set_number(&x, "installed", t->now_ms);
    }
    /* Always all of them: conditions compare what must be there. */
    ledger_dynamo_add(&x, "d", p->demand);
    ledger_dynamo_add(&x, "s", p->supply);
    ledger_dynamo_add(&x, "vms", p->vms);
    ledger_dynamo_add(&x, "n", 1);
    put_demand_condition(&x, p);
    ledger_dynamo_update(t, &key, &x);
    ledger_dynamo_expr_fini(&x);
}

/* In a random item, so that transactions rarely conflict there. Releases go where launches look for
 * them, all else where only those look who count. */
static void flush_sums(struct ledger_dynamo_txn *t)
{
    struct ledger_dynamo_expr x;
    struct ledger_dynamo_key key =
        t->frees ? ledger_dynamo_shard_key(t->l, (unsigned)random_below(LEDGER_DYNAMO_SHARDS))
                 : ledger_dynamo_count_key(t->l, (unsigned)random_below(LEDGER_DYNAMO_COUNTS));
    bool any = false;
    ledger_dynamo_expr_init(&x);
    for (size_t i = 0; i < t->sum_count; i++) {
        if (t->sums[i].by != 0) {
            ledger_dynamo_add(&x, t->sums[i].name, t->sums[i].by);
            any = true;
        }
    }
    if (any) {
        ledger_dynamo_update(t, &key, &x);
    }
    ledger_dynamo_expr_fini(&x);
}

static void flush_launch(struct ledger_dynamo_txn *t)
{
    struct ledger_dynamo_expr x;
    struct ledger_dynamo_key key = ledger_dynamo_key(t->l, "slots", "main");
    char of_class[sizeof t->launch.class_name + 2];
    char of_target[sizeof t->launch.target + 2];
    (void)snprintf(of_class, sizeof of_class, "c.%s", t->launch.class_name);
    (void)snprintf(of_target, sizeof of_target, "t.%s", t->launch.target);
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_add(&x, "f", 1);
    ledger_dynamo_add(&x, of_class, 1);
    ledger_dynamo_if_number(&x, "f", "<", t->launch.fleet_most, true);
    ledger_dynamo_if_number(&x, of_class, "<", t->launch.class_most, true);
    if (t->launch.target[0] != '\0') {
        ledger_dynamo_add(&x, of_target, 1);
        ledger_dynamo_if_number(&x, of_target, "<", t->launch.target_most, true);
    }
    ledger_dynamo_update(t, &key, &x);
    ledger_dynamo_expr_fini(&x);
}

static void flush_repository(struct ledger_dynamo_txn *t, const struct ledger_dynamo_repository *r)
{
    struct ledger_dynamo_expr x;
    struct ledger_dynamo_key key = ledger_dynamo_key(t->l, "repo", "%s", r->name);
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_add(&x, "n", r->by);
    ledger_dynamo_add(&x, "changes", 1);
    if (t->repository_cap > 0) {
        ledger_dynamo_if_number(&x, "n", "<", t->repository_cap, true);
    }
    ledger_dynamo_update(t, &key, &x);
    ledger_dynamo_expr_fini(&x);
}

static void flush(struct ledger_dynamo_txn *t)
{
    for (size_t i = 0; i < t->pair_count; i++) {
        flush_pair(t, &t->pairs[i]);
    }
    flush_sums(t);
    if (t->launch.taken) {
        flush_launch(t);
    }
    for (size_t i = 0; i < t->repository_count; i++) {
        flush_repository(t, &t->repositories[i]);
    }
}

/* --- committing --- */
/* Ordered by priority, for a transaction that was cancelled for several reasons. */
enum verdict {
    DONE,
    BUSY,      /* another transaction was at the same items */
    UNCLEAR,   /* no answer, or DynamoDB's own trouble */
    THROTTLED, /* an item's partition, or the table, has no capacity left */
    MOVED,     /* a condition no longer holds */
    FAILED
};

static enum verdict judge_reason(const char *code)
{
    static const struct {
        const char *code;
        enum verdict verdict;
    } table[] = {
        {"ConditionalCheckFailed", MOVED},
        {"ProvisionedThroughputExceeded", THROTTLED},
        {"ThrottlingError", THROTTLED},
        {"ValidationError", FAILED},
        {"ItemCollectionSizeLimitExceeded", FAILED},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (strcmp(code, table[i].code) == 0) {
            return table[i].verdict;
        }
    }
    return BUSY; /* TransactionConflict, and what is not known */
}

/* The error of a cancelled transaction says "cancelled"; what for is among its reasons. */
static void explain(enum verdict v, const json_t *reason, struct err *e)
{
    const char *code = json_string_value(json_object_get(reason, "Code"));
    const char *message = json_string_value(json_object_get(reason, "Message"));
    if (v == THROTTLED) {
        (void)err_set(e, ERR_THROTTLED, 0,
                      "DynamoDB: TransactWriteItems: %s: %.200s: see Throttling in "
                      "deploy/docs/dynamodb.md",
                      code, message != NULL ? message : "");
        e->retry_after_ms = THROTTLED_AGAIN_MS;
    } else if (v == FAILED) {
        (void)err_set(e, ERR_AUTH, 0,
                      "DynamoDB: TransactWriteItems: %s: %.200s: the table, or an item in it, is "
                      "not as deploy/docs/dynamodb.md says",
                      code, message != NULL ? message : "");
    }
}

static enum verdict judge_reasons(struct ledger_dynamo_txn *t, const struct aws_refusal *refusal,
                                  struct err *e)
{
    json_error_t where;
    size_t i;
    json_t *reason;
    enum verdict v = BUSY;
    json_t *body = json_loadb(refusal->body.data != NULL ? refusal->body.data : "",
                              refusal->body.len, 0, &where);
    json_array_foreach(json_object_get(body, "CancellationReasons"), i, reason)
    {
        const char *code = json_string_value(json_object_get(reason, "Code"));
        enum verdict this = code != NULL ? judge_reason(code) : BUSY;
        t->taken = t->taken || (this == MOVED && i + 1 == t->newborn);
        if (this > v) {
            v = this;
            explain(v, reason, e);
        }
    }
    json_decref(body);
    return v;
}

/* All launches of one process write the item of slots. They commit one after another, since
 * DynamoDB cancels concurrent transactions on one item. */
static int send_in_turn(struct ledger_dynamo_txn *t, const struct buf *body,
                        struct aws_refusal *refusal, struct err *e)
{
    if (t->launch.taken) {
        pthread_mutex_lock(&t->l->launching);
    }
    int rc = ledger_dynamo_send(t->l, "TransactWriteItems", body, NULL, refusal, e);
    if (t->launch.taken) {
        pthread_mutex_unlock(&t->l->launching);
    }
    return rc;
}

static enum verdict try_once(struct ledger_dynamo_txn *t, const struct buf *body, struct err *e)
{
    struct aws_refusal refusal = {.status = 0};
    enum verdict v = FAILED;
    if (send_in_turn(t, body, &refusal, e) == 0) {
        v = DONE;
    } else if (strcmp(refusal.name, "TransactionCanceledException") == 0) {
        v = judge_reasons(t, &refusal, e);
    } else if (e->class == ERR_RETRY || e->class == ERR_THROTTLED) {
        v = e->class == ERR_THROTTLED ? THROTTLED : UNCLEAR;
    }
    aws_refusal_fini(&refusal);
    return v;
}

/* A failed condition may be due to this transaction itself: a response may be lost, and the HTTP
 * client repeats a request whose connection broke. DynamoDB remembers a transaction's token for ten
 * minutes; a row's version identifies the transaction permanently, and in compatible stores too. */
static int check_own_version(struct ledger_dynamo_txn *t, bool *already_committed, struct err *e)
{
    struct ledger_dynamo_got got;
    *already_committed = false;
    if (t->proof.pk[0] == '\0') {
        return 0;
    }
    if (ledger_dynamo_get(t->l, &t->proof, 1, &got, e) != 0) {
        return -1;
    }
    *already_committed =
        slice_eq_cstr(ledger_dynamo_read_slice(got.items[0], "version"), t->version);
    ledger_dynamo_got_fini(&got);
    return 0;
}

static void render_body(const struct ledger_dynamo_txn *t, struct buf *body)
{
    buf_init(body, BODY_MAX + 1024);
    buf_printf(body, "{\"ClientRequestToken\":\"%s\",\"TransactItems\":[", t->version);
    buf_append(body, buf_slice(&t->items));
    buf_append_cstr(body, "]}");
    body->failed = body->failed || t->items.failed;
}

/* Until it succeeds or a condition fails, the same transaction is sent again with the same token,
 * which DynamoDB executes at most once. A new one would be safe only if this one was certainly not
 * executed, which no response can show: the HTTP client may have sent it twice. */
static int send_until_known(struct ledger_dynamo_txn *t, const struct buf *body, bool *done,
                            struct err *e)
{
    for (int round = 1;; round++) {
        struct err slow;
        enum verdict v = try_once(t, body, e);
        if (v == FAILED) {
            return -1;
        }
        if (v == MOVED) {
            return check_own_version(t, done, e);
        }
        if (v == DONE) {
            *done = true;
            return 0;
        }
        enum ledger_dynamo_cause cause = v == THROTTLED ? CAUSE_THROTTLED
                                         : v == UNCLEAR ? CAUSE_UNCLEAR
                                                        : CAUSE_RACE;
        if (ledger_dynamo_pause(t->deadline_ms, round, cause, &slow) != 0) {
            if (e->class == ERR_CONFLICT) {
                *e = slow; /* what is busy now is not in conflict with what was asked */
            }
            return -1;
        }
    }
}

int ledger_dynamo_commit(struct ledger_dynamo_txn *t, bool *done, struct err *e)
{
    struct buf body;
    flush(t);
    if (t->count == 0) {
        *done = true;
        return 0;
    }
    render_body(t, &body);
    int rc = send_until_known(t, &body, done, e);
    buf_fini(&body);
    if (rc == 0 && *done) {
        t->taken = false;
    }
    return rc;
}
