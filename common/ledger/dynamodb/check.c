#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/ledger/dynamodb/dynamodb.h"

/* Checks what opening the table does not: its settings, its time to live, and whether these
 * credentials permit every call of the ledger. Each test write has a condition that is never true,
 * so it is authorized but not executed. */

#define UNITS_OF_A_JOB 62 /* deploy/docs/dynamodb.md */
#define UNITS_MOST INT64_C(1000000000)
#define ANSWER_MAX 900
#define TTL_ATTRIBUTE "expires"
#define NEVER "attribute_exists(%s) AND attribute_not_exists(%s)"

struct look {
    struct ledger_dynamo *l;
    ledger_report_fn *say;
    void *arg;
};

PRINTF(4, 5)
static void say(const struct look *k, enum ledger_finding level, const char *asked,
                const char *format, ...)
{
    char answer[ANSWER_MAX];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(answer, sizeof answer, format, ap);
    va_end(ap);
    k->say(k->arg, level, asked, answer);
}

static const char *dynamo_describe_text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

/* --- the table --- */
static void look_at_index(const struct look *k, const json_t *table)
{
    const json_t *index = ledger_dynamo_find_index(table);
    const char *projection =
        dynamo_describe_text_of(json_object_get(index, "Projection"), "ProjectionType");
    if (projection[0] != '\0' && strcmp(projection, "KEYS_ONLY") != 0) {
        say(k, LEDGER_CHECK_WARNING, "DescribeTable",
            "the index " LEDGER_DYNAMO_INDEX " projects %s, and only keys are read of it: each "
            "write is paid for once more; make it anew with KEYS_ONLY (deploy/docs/dynamodb.md)",
            projection);
    }
}

static void look_at_throughput(const struct look *k, const json_t *table)
{
    const json_t *given = json_object_get(table, "ProvisionedThroughput");
    const json_t *most = json_object_get(table, "OnDemandThroughput");
    const char *mode =
        dynamo_describe_text_of(json_object_get(table, "BillingModeSummary"), "BillingMode");
    int64_t units = json_integer_value(json_object_get(given, "WriteCapacityUnits"));
    int64_t limit = json_integer_value(json_object_get(most, "MaxWriteRequestUnits"));
    const char *kind = "provisioned";
    if (strcmp(mode, "PAY_PER_REQUEST") == 0) {
        units = limit;
        kind = "at most";
    }
    units = units < UNITS_MOST ? units : UNITS_MOST;
    if (units > 0) {
        say(k, LEDGER_CHECK_WARNING, "DescribeTable",
            "%s %" PRId64 " write units a second: about %" PRId64
            " jobs an hour, and what is above that waits; "
            "PAY_PER_REQUEST without a limit has none",
            kind, units, units * 3600 / UNITS_OF_A_JOB);
    }
}

static void look_at_table(const struct look *k)
{
    struct err e = {0};
    json_t *answer = NULL;
    if (ledger_dynamo_describe(k->l, &answer, NULL, &e) != 0) {
        say(k, LEDGER_CHECK_ERROR, "DescribeTable", "%s", e.message);
        return;
    }
    const json_t *table = json_object_get(answer, "Table");
    const json_t *replicas = json_object_get(table, "Replicas");
    say(k, LEDGER_CHECK_OK, "DescribeTable",
        "%s: key pk (hash) and sk (range), index " LEDGER_DYNAMO_INDEX
        " of ix and age, %s, deletion protection %s",
        dynamo_describe_text_of(table, "TableArn"), dynamo_describe_text_of(table, "TableStatus"),
        json_is_true(json_object_get(table, "DeletionProtectionEnabled")) ? "on" : "off");
    look_at_index(k, table);
    look_at_throughput(k, table);
    if (json_array_size(replicas) > 0) {
        say(k, LEDGER_CHECK_ERROR, "DescribeTable",
            "it is a global table with %zu replicas: two regions would each give away the last "
            "slot; use a table of one region",
            json_array_size(replicas));
    }
    json_decref(answer);
}

/* --- time to live --- */
static void judge_time_to_live(const struct look *k, const json_t *ttl)
{
    const char *asked = "DescribeTimeToLive";
    const char *status = dynamo_describe_text_of(ttl, "TimeToLiveStatus");
    const char *attribute = dynamo_describe_text_of(ttl, "AttributeName");
    bool on = strcmp(status, "ENABLED") == 0 || strcmp(status, "ENABLING") == 0;
    if (!on) {
        say(k, LEDGER_CHECK_WARNING, asked,
            "time to live is %s: rows that no reaper deletes stay; enable it on the "
            "attribute " TTL_ATTRIBUTE " (deploy/docs/dynamodb.md)",
            status[0] != '\0' ? status : "not known");
    } else if (strcmp(attribute, TTL_ATTRIBUTE) != 0) {
        say(k, LEDGER_CHECK_ERROR, asked,
            "time to live is %s on the attribute %s, by which rows in use may vanish: disable it, "
            "and enable it on " TTL_ATTRIBUTE,
            status, attribute);
    } else {
        say(k, LEDGER_CHECK_OK, asked, "%s on the attribute %s", status, attribute);
    }
}

static void look_at_time_to_live(const struct look *k)
{
    struct err e = {0};
    struct buf body;
    json_t *answer = NULL;
    ledger_dynamo_begin_body(k->l, &body);
    buf_append_byte(&body, '}');
    if (ledger_dynamo_call(k->l, "DescribeTimeToLive", &body, ledger_dynamo_deadline(k->l), &answer,
                           NULL, &e) == 0) {
        judge_time_to_live(k, json_object_get(answer, "TimeToLiveDescription"));
    } else {
        say(k, LEDGER_CHECK_WARNING, "DescribeTimeToLive", "%s", e.message);
    }
    buf_fini(&body);
    json_decref(answer);
}

/* --- permissions --- */
static int try_write(struct ledger_dynamo *l, const char *operation, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(l, "meta", "check");
    struct ledger_dynamo_expr x;
    struct buf none;
    bool held = false;
    int rc;
    buf_init(&none, 16);
    ledger_dynamo_expr_init(&x);
    struct ledger_dynamo_word pk = ledger_dynamo_name(&x, "pk");
    ledger_dynamo_if(&x, NEVER, pk.text, pk.text);
    if (strcmp(operation, "PutItem") == 0) {
        rc = ledger_dynamo_put_if(l, &key, &none, &x, &held, e);
    } else if (strcmp(operation, "UpdateItem") == 0) {
        ledger_dynamo_add(&x, "n", 1);
        rc = ledger_dynamo_update_one(l, &key, &x, &held, e);
    } else {
        rc = ledger_dynamo_delete_one(l, &key, &x, &held, e);
    }
    ledger_dynamo_expr_fini(&x);
    buf_fini(&none);
    return rc;
}

static int try_query(struct ledger_dynamo *l, bool index, struct err *e)
{
    struct ledger_dynamo_got got;
    char pk[64];
    (void)snprintf(pk, sizeof pk, "%s:%s", l->url.prefix, index ? "ended" : "meta");
    struct ledger_dynamo_query q = {.index = index, .pk = pk, .max = 1};
    if (ledger_dynamo_query(l, &q, &got, e) != 0) {
        return -1;
    }
    ledger_dynamo_got_fini(&got);
    return 0;
}

static int try_get(struct ledger_dynamo *l, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(l, "meta", "meta");
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(l, &key, 1, &got, e) != 0) {
        return -1;
    }
    ledger_dynamo_got_fini(&got);
    return 0;
}

static int try_call(struct ledger_dynamo *l, const char *operation, struct err *e)
{
    if (strcmp(operation, "BatchGetItem") == 0) {
        return try_get(l, e);
    }
    if (strncmp(operation, "Query", 5) == 0) {
        return try_query(l, strcmp(operation, "Query of the index") == 0, e);
    }
    return try_write(l, operation, e);
}

static void look_at_permissions(const struct look *k)
{
    static const char *const calls[] = {"BatchGetItem", "Query",      "Query of the index",
                                        "PutItem",      "UpdateItem", "DeleteItem"};
    size_t allowed = 0;
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        struct err e = {0};
        if (try_call(k->l, calls[i], &e) == 0) {
            allowed++;
        } else {
            say(k, LEDGER_CHECK_ERROR, calls[i], "%s", e.message);
        }
    }
    if (allowed == COUNT_OF(calls)) {
        say(k, LEDGER_CHECK_OK, "permissions",
            "BatchGetItem, Query (table and index), PutItem, UpdateItem and DeleteItem are "
            "allowed, and with them TransactWriteItems");
    }
}

/* Of durability there is nothing to check: the service keeps what it has confirmed. */
void ledger_dynamo_check(void *state, enum ledger_check what, ledger_report_fn *say_to, void *arg)
{
    struct look k = {.l = state, .say = say_to, .arg = arg};
    if (what == LEDGER_CHECK_DURABILITY) {
        return;
    }
    look_at_table(&k);
    look_at_time_to_live(&k);
    look_at_permissions(&k);
}
