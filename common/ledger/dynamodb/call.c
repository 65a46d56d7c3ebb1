#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* Single requests and their responses. */

#define THROTTLED_AGAIN_MS 1000
#define BODY_MAX (4 * 1024 * 1024)
#define GET_MAX 100 /* keys of one BatchGetItem */
#define PAGE_MAX 1000

/* --- waiting --- */
int64_t ledger_dynamo_deadline(const struct ledger_dynamo *l)
{
    return clock_mono_ms() + l->url.timeout_ms;
}

int ledger_dynamo_pause(int64_t deadline_ms, int round, enum ledger_dynamo_cause cause,
                        struct err *e)
{
    static const struct {
        int64_t base_ms;
        int64_t cap_ms;
    } pauses[] = {
        /* Who loses often must not fall behind those who come new: several transactions' time. */
        [CAUSE_RACE] = {4, 50},
        [CAUSE_UNCLEAR] = {4, 400},
        [CAUSE_THROTTLED] = {50, 2000},
    };
    bool throttled = cause == CAUSE_THROTTLED;
    int64_t until = clock_mono_ms() +
                    backoff_full_jitter_ms(pauses[cause].base_ms, pauses[cause].cap_ms, round);
    if (until > deadline_ms && throttled) {
        (void)err_set(
            e, ERR_THROTTLED, 0,
            "the ledger in DynamoDB: the table left a part of the request undone (%d "
            "tries): its throughput is used up: see Throttling in deploy/docs/dynamodb.md",
            round);
        e->retry_after_ms = THROTTLED_AGAIN_MS;
        return -1;
    }
    if (until > deadline_ms) {
        return err_set(e, ERR_RETRY, 0,
                       "the ledger in DynamoDB: the step was not through within its time (%d "
                       "tries): others changed the same rows, or the table answers slowly",
                       round);
    }
    clock_sleep_until(until);
    return 0;
}

/* --- calls --- */
/* What DynamoDB refuses permanently is about the table, the credentials or the endpoint, never about
 * the one job or VM of the call: rows have bounds of their own, far below DynamoDB's. */
static int lay_to_the_table(struct err *e)
{
    if (e->class == ERR_PERMANENT || e->class == ERR_NOT_FOUND) {
        e->class = ERR_AUTH;
    }
    return -1;
}

int ledger_dynamo_send(struct ledger_dynamo *l, const char *operation, const struct buf *body,
                       json_t **out, struct aws_refusal *refusal, struct err *e)
{
    struct aws_call call = {.operation = operation,
                            .target = "DynamoDB_20120810",
                            .content_type = "application/x-amz-json-1.0",
                            .body = buf_slice(body)};
    struct http_response r;
    json_error_t where;
    if (body->failed) {
        return err_set(e, ERR_PERMANENT, 0, "DynamoDB: %s: the request is too large", operation);
    }
    if (aws_send(l->aws, &call, &r, refusal, e) != 0) {
        return lay_to_the_table(e);
    }
    json_t *answer = json_loadb(r.body.data != NULL ? r.body.data : "", r.body.len, 0, &where);
    http_response_fini(&r);
    if (!json_is_object(answer)) {
        json_decref(answer);
        return err_set(e, ERR_RETRY, 0,
                       "DynamoDB: %s: the answer is no JSON object: check the endpoint and the "
                       "proxy",
                       operation);
    }
    if (out != NULL) {
        *out = answer;
    } else {
        json_decref(answer);
    }
    return 0;
}

int ledger_dynamo_call(struct ledger_dynamo *l, const char *operation, const struct buf *body,
                       int64_t deadline_ms, json_t **out, struct aws_refusal *refusal,
                       struct err *e)
{
    for (int round = 1;; round++) {
        struct err slow;
        if (ledger_dynamo_send(l, operation, body, out, refusal, e) == 0) {
            return 0;
        }
        bool throttled = e->class == ERR_THROTTLED;
        if ((e->class != ERR_RETRY && !throttled) ||
            ledger_dynamo_pause(deadline_ms, round, throttled ? CAUSE_THROTTLED : CAUSE_UNCLEAR,
                                &slow) != 0) {
            return -1; /* the last error of DynamoDB says more than that the time is up */
        }
        if (refusal != NULL) {
            aws_refusal_fini(refusal);
        }
    }
}

/* --- attributes --- */
static const char *dynamo_json_text_of(const json_t *item, const char *name, size_t *len)
{
    const json_t *attribute = json_object_get(item, name);
    const json_t *value = json_object_get(attribute, "S");
    value = value != NULL ? value : json_object_get(attribute, "N");
    *len = json_string_length(value);
    return json_string_value(value);
}

struct slice ledger_dynamo_read_slice(const json_t *item, const char *name)
{
    size_t len = 0;
    const char *text = dynamo_json_text_of(item, name, &len);
    return (struct slice){text, text != NULL ? len : 0};
}

void ledger_dynamo_read_text(const json_t *item, const char *name, char *out, size_t size)
{
    struct slice s = ledger_dynamo_read_slice(item, name);
    s.len = s.len < size ? s.len : size - 1;
    if (!slice_to_cstr(s, out, size)) {
        out[0] = '\0';
    }
}

int64_t ledger_dynamo_read_number(const json_t *item, const char *name)
{
    int64_t n;
    return slice_to_int64(ledger_dynamo_read_slice(item, name), &n) ? n : 0;
}

double ledger_dynamo_read_real(const json_t *item, const char *name)
{
    char text[64];
    ledger_dynamo_read_text(item, name, text, sizeof text);
    return strtod(text, NULL);
}

/* --- what was read --- */
static void keep(struct ledger_dynamo_got *g, json_t *item)
{
    if (g->count == g->capacity) {
        size_t capacity = g->capacity == 0 ? 16 : g->capacity * 2;
        json_t **items = reallocarray(g->items, capacity, sizeof(json_t *));
        ASSERT(items != NULL);
        g->items = items;
        g->capacity = capacity;
    }
    g->items[g->count++] = json_incref(item);
}

void ledger_dynamo_got_fini(struct ledger_dynamo_got *g)
{
    for (size_t i = 0; i < g->count; i++) {
        json_decref(g->items[i]);
    }
    free(g->items);
    *g = (struct ledger_dynamo_got){.count = 0};
}

/* --- get --- */
static bool has_key(const json_t *item, const struct ledger_dynamo_key *key)
{
    return slice_eq_cstr(ledger_dynamo_read_slice(item, "sk"), key->sk) &&
           slice_eq_cstr(ledger_dynamo_read_slice(item, "pk"), key->pk);
}

/* Puts each item into the place of its key: the first one, where the index has a row twice. */
static void place(const json_t *items, const struct ledger_dynamo_key *keys, size_t n,
                  json_t **places)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        size_t k = 0;
        while (k < n && !has_key(item, &keys[k])) {
            k++;
        }
        if (k < n && places[k] == NULL) {
            places[k] = json_incref(item);
        }
    }
}

static bool is_among(const struct ledger_dynamo_key *key, const struct ledger_dynamo_key *keys,
                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key->sk, keys[i].sk) == 0 && strcmp(key->pk, keys[i].pk) == 0) {
            return true;
        }
    }
    return false;
}

/* DynamoDB rejects a batch that contains a key twice. */
static void render_gets(const struct ledger_dynamo *l, const struct ledger_dynamo_key *keys,
                        size_t n, struct buf *body)
{
    buf_append_cstr(body, "{\"RequestItems\":{");
    buf_append_json(body, slice_of(l->url.table));
    buf_append_cstr(body, ":{\"ConsistentRead\":true,\"Keys\":[");
    for (size_t i = 0; i < n; i++) {
        if (!is_among(&keys[i], keys, i)) {
            buf_append_cstr(body, i > 0 ? "," : "");
            ledger_dynamo_render_key(&keys[i], body);
        }
    }
    buf_append_cstr(body, "]}}}");
}

/* Requests the unprocessed keys (size, throttling) again. */
static bool render_rest(const json_t *answer, struct buf *body)
{
    const json_t *rest = json_object_get(answer, "UnprocessedKeys");
    if (json_object_size(rest) == 0) {
        return false;
    }
    char *text = json_dumps(rest, JSON_COMPACT);
    ASSERT(text != NULL);
    buf_reset(body);
    buf_printf(body, "{\"RequestItems\":%s}", text);
    free(text);
    return true;
}

static int get_some(struct ledger_dynamo *l, const struct ledger_dynamo_key *keys, size_t n,
                    json_t **places, struct err *e)
{
    int64_t deadline_ms = ledger_dynamo_deadline(l);
    bool more = true;
    int rc = 0;
    struct buf body;
    buf_init(&body, BODY_MAX);
    render_gets(l, keys, n, &body);
    for (int round = 1; rc == 0 && more; round++) {
        json_t *answer = NULL;
        rc = ledger_dynamo_call(l, "BatchGetItem", &body, deadline_ms, &answer, NULL, e);
        const json_t *responses = json_object_get(answer, "Responses");
        place(json_object_get(responses, l->url.table), keys, n, places);
        more = render_rest(answer, &body);
        json_decref(answer);
        if (rc == 0 && more) {
            rc = ledger_dynamo_pause(deadline_ms, round, CAUSE_THROTTLED, e);
        }
    }
    buf_fini(&body);
    return rc;
}

int ledger_dynamo_get(struct ledger_dynamo *l, const struct ledger_dynamo_key *keys, size_t n,
                      struct ledger_dynamo_got *out, struct err *e)
{
    struct ledger_dynamo_got got = {.count = n, .capacity = n};
    int rc = 0;
    got.items = calloc(n > 0 ? n : 1, sizeof(json_t *));
    ASSERT(got.items != NULL);
    for (size_t at = 0; rc == 0 && at < n; at += GET_MAX) {
        size_t some = n - at < GET_MAX ? n - at : GET_MAX;
        rc = get_some(l, keys + at, some, got.items + at, e);
    }
    if (rc != 0) {
        ledger_dynamo_got_fini(&got);
        return -1;
    }
    *out = got;
    return 0;
}

/* --- query --- */
static void render_query(const struct ledger_dynamo *l, const struct ledger_dynamo_query *q,
                         size_t limit, const json_t *after, struct buf *body)
{
    struct ledger_dynamo_expr x;
    ledger_dynamo_expr_init(&x);
    struct ledger_dynamo_word pk = ledger_dynamo_name(&x, q->index ? "ix" : "pk");
    struct ledger_dynamo_word pk_is = ledger_dynamo_text(&x, q->pk);
    buf_append_cstr(body, "{\"TableName\":");
    buf_append_json(body, slice_of(l->url.table));
    buf_printf(body, ",\"KeyConditionExpression\":\"%s = %s", pk.text, pk_is.text);
    if (q->how != NULL) {
        struct ledger_dynamo_word sk = ledger_dynamo_name(&x, q->index ? "age" : "sk");
        struct ledger_dynamo_word value = ledger_dynamo_text(&x, q->sk);
        bool begins = strcmp(q->how, "begins_with") == 0;
        buf_printf(body, begins ? " AND begins_with(%s%s%s)" : " AND %s %s %s", sk.text,
                   begins ? ", " : q->how, value.text);
        if (q->to != NULL) {
            buf_printf(body, " AND %s", ledger_dynamo_text(&x, q->to).text);
        }
    }
    buf_append_byte(body, '"');
    ledger_dynamo_expr_render(&x, body);
    ledger_dynamo_expr_fini(&x);
    if (q->index) {
        buf_append_cstr(body, ",\"IndexName\":\"" LEDGER_DYNAMO_INDEX "\"");
    } else if (!q->eventually) {
        buf_append_cstr(body, ",\"ConsistentRead\":true");
    }
    if (q->newest_first) {
        buf_append_cstr(body, ",\"ScanIndexForward\":false");
    }
    buf_printf(body, ",\"Limit\":%zu", limit);
    if (after != NULL) {
        char *text = json_dumps(after, JSON_COMPACT);
        ASSERT(text != NULL);
        buf_printf(body, ",\"ExclusiveStartKey\":%s", text);
        free(text);
    }
    buf_append_byte(body, '}');
}

/* Adds a page; *after: where the next one begins, owned; NULL at the end. */
static int query_page(struct ledger_dynamo *l, const struct ledger_dynamo_query *q, size_t limit,
                      json_t **after, struct ledger_dynamo_got *got, struct err *e)
{
    json_t *answer = NULL;
    struct buf body;
    size_t i;
    json_t *item;
    buf_init(&body, BODY_MAX);
    render_query(l, q, limit, *after, &body);
    int rc = ledger_dynamo_call(l, "Query", &body, ledger_dynamo_deadline(l), &answer, NULL, e);
    buf_fini(&body);
    if (rc != 0) {
        return -1;
    }
    json_array_foreach(json_object_get(answer, "Items"), i, item)
    {
        keep(got, item);
    }
    json_decref(*after);
    *after = json_incref(json_object_get(answer, "LastEvaluatedKey"));
    json_decref(answer);
    return 0;
}

int ledger_dynamo_query(struct ledger_dynamo *l, const struct ledger_dynamo_query *q,
                        struct ledger_dynamo_got *out, struct err *e)
{
    struct ledger_dynamo_got got = {.count = 0};
    json_t *after = NULL;
    int rc;
    do {
        size_t left = q->max == 0 ? PAGE_MAX : q->max - got.count;
        rc = query_page(l, q, left < PAGE_MAX ? left : PAGE_MAX, &after, &got, e);
    } while (rc == 0 && after != NULL && (q->max == 0 || got.count < q->max));
    json_decref(after);
    if (rc != 0) {
        ledger_dynamo_got_fini(&got);
        return -1;
    }
    *out = got;
    return 0;
}

/* --- a walk along the index --- */
struct ledger_dynamo_walk ledger_dynamo_walk(const struct ledger_dynamo *l, size_t max,
                                             int64_t before_ms, const char *ix_format, ...)
{
    struct ledger_dynamo_walk w = {.from = "0", .to = "~", .max = max};
    va_list ap;
    int len = snprintf(w.ix, sizeof w.ix, "%s:", l->url.prefix);
    va_start(ap, ix_format);
    (void)vsnprintf(w.ix + len, sizeof w.ix - (size_t)len, ix_format, ap);
    va_end(ap);
    if (before_ms > 0) {
        (void)snprintf(w.to, sizeof w.to, "%015lld", (long long)before_ms);
    }
    return w;
}

int ledger_dynamo_query_keys(struct ledger_dynamo *l, struct ledger_dynamo_walk *w,
                             struct ledger_dynamo_key **out, size_t *n, struct err *e)
{
    struct ledger_dynamo_query q = {
        .index = true, .pk = w->ix, .how = "BETWEEN", .sk = w->from, .to = w->to, .max = w->max};
    struct ledger_dynamo_got found;
    if (strcmp(w->from, w->to) > 0) {
        *out = NULL; /* all was seen */
        *n = 0;
        return 0;
    }
    if (ledger_dynamo_query(l, &q, &found, e) != 0) {
        return -1;
    }
    struct ledger_dynamo_key *keys = calloc(found.count + 1, sizeof *keys);
    ASSERT(keys != NULL);
    for (size_t i = 0; i < found.count; i++) {
        ledger_dynamo_read_text(found.items[i], "pk", keys[i].pk, sizeof keys[i].pk);
        ledger_dynamo_read_text(found.items[i], "sk", keys[i].sk, sizeof keys[i].sk);
    }
    if (found.count > 0) {
        struct slice last = ledger_dynamo_read_slice(found.items[found.count - 1], "age");
        (void)snprintf(w->from, sizeof w->from, "%.*s ", SLICE_ARG(last)); /* the next after it */
    }
    *out = keys;
    *n = found.count;
    ledger_dynamo_got_fini(&found);
    return 0;
}

int ledger_dynamo_query_rows(struct ledger_dynamo *l, struct ledger_dynamo_walk *w,
                             struct ledger_dynamo_got *out, struct err *e)
{
    struct ledger_dynamo_key *keys = NULL;
    size_t n = 0;
    if (ledger_dynamo_query_keys(l, w, &keys, &n, e) != 0) {
        return -1;
    }
    int rc = ledger_dynamo_get(l, keys, n, out, e);
    free(keys);
    return rc;
}

/* --- one item --- */
static int write_one(struct ledger_dynamo *l, const char *operation, const struct buf *body,
                     bool *held, struct err *e)
{
    struct aws_refusal refusal = {.status = 0};
    int rc = ledger_dynamo_call(l, operation, body, ledger_dynamo_deadline(l), NULL, &refusal, e);
    *held = rc == 0;
    if (rc != 0 && (strcmp(refusal.name, "ConditionalCheckFailedException") == 0 ||
                    strcmp(refusal.name, "TransactionConflictException") == 0)) {
        rc = 0;
    }
    aws_refusal_fini(&refusal);
    return rc;
}

static void begin_one(const struct ledger_dynamo *l, struct buf *body)
{
    buf_init(body, BODY_MAX);
    buf_append_cstr(body, "{\"TableName\":");
    buf_append_json(body, slice_of(l->url.table));
}

int ledger_dynamo_put_if(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                         const struct buf *attributes, const struct ledger_dynamo_expr *x,
                         bool *held, struct err *e)
{
    struct buf body;
    begin_one(l, &body);
    buf_append_cstr(&body, ",\"Item\":");
    ledger_dynamo_render_item(key, attributes, &body);
    ledger_dynamo_expr_render(x, &body);
    buf_append_byte(&body, '}');
    int rc = write_one(l, "PutItem", &body, held, e);
    buf_fini(&body);
    return rc;
}

int ledger_dynamo_put_one(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                          const struct buf *attributes, const char *version, bool *held,
                          struct err *e)
{
    struct ledger_dynamo_expr x;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_if_version(&x, version);
    int rc = ledger_dynamo_put_if(l, key, attributes, &x, held, e);
    ledger_dynamo_expr_fini(&x);
    return rc;
}

static int change_one(struct ledger_dynamo *l, const char *operation,
                      const struct ledger_dynamo_key *key, const struct ledger_dynamo_expr *x,
                      bool *held, struct err *e)
{
    struct buf body;
    begin_one(l, &body);
    buf_append_cstr(&body, ",\"Key\":");
    ledger_dynamo_render_key(key, &body);
    ledger_dynamo_expr_render(x, &body);
    buf_append_byte(&body, '}');
    int rc = write_one(l, operation, &body, held, e);
    buf_fini(&body);
    return rc;
}

int ledger_dynamo_update_one(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                             const struct ledger_dynamo_expr *x, bool *held, struct err *e)
{
    return change_one(l, "UpdateItem", key, x, held, e);
}

int ledger_dynamo_delete_one(struct ledger_dynamo *l, const struct ledger_dynamo_key *key,
                             const struct ledger_dynamo_expr *x, bool *held, struct err *e)
{
    return change_one(l, "DeleteItem", key, x, held, e);
}
