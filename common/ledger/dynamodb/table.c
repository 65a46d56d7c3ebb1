#include <inttypes.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/dynamodb/dynamodb.h"

/* The table: created if the URL says so, and checked before it is used. */

#define MADE_WITHIN_MS 120000
#define LOOK_MS 500

void ledger_dynamo_begin_body(const struct ledger_dynamo *l, struct buf *body)
{
    buf_init(body, 16 * 1024);
    buf_append_cstr(body, "{\"TableName\":");
    buf_append_json(body, slice_of(l->url.table));
}

/* --- looking --- */
/* Whether the schema's keys are `hash` and `range`. */
static bool keys_are(const json_t *schema, const char *hash, const char *range)
{
    size_t i;
    json_t *key;
    int right = 0;
    json_array_foreach(schema, i, key)
    {
        const char *name = json_string_value(json_object_get(key, "AttributeName"));
        const char *type = json_string_value(json_object_get(key, "KeyType"));
        if (name != NULL && type != NULL) {
            right += strcmp(type, "HASH") == 0 && strcmp(name, hash) == 0 ? 1 : 0;
            right += strcmp(type, "RANGE") == 0 && strcmp(name, range) == 0 ? 1 : 0;
        }
    }
    return right == 2 && json_array_size(schema) == 2;
}

static bool is_text(const json_t *table, const char *attribute)
{
    size_t i;
    json_t *a;
    json_array_foreach(json_object_get(table, "AttributeDefinitions"), i, a)
    {
        const char *name = json_string_value(json_object_get(a, "AttributeName"));
        const char *type = json_string_value(json_object_get(a, "AttributeType"));
        if (name != NULL && type != NULL && strcmp(name, attribute) == 0) {
            return strcmp(type, "S") == 0;
        }
    }
    return false;
}

const json_t *ledger_dynamo_find_index(const json_t *table)
{
    size_t i;
    json_t *index;
    json_array_foreach(json_object_get(table, "GlobalSecondaryIndexes"), i, index)
    {
        const char *name = json_string_value(json_object_get(index, "IndexName"));
        if (name != NULL && strcmp(name, LEDGER_DYNAMO_INDEX) == 0) {
            return index;
        }
    }
    return NULL;
}

static bool has_status(const json_t *object, const char *member, const char *status)
{
    const char *is = json_string_value(json_object_get(object, member));
    return is != NULL && strcmp(is, status) == 0;
}

/* `*ready`: it can be used now. */
static int dynamo_check_table(const struct ledger_dynamo *l, const json_t *table, bool *ready,
                              struct err *e)
{
    const json_t *index = ledger_dynamo_find_index(table);
    if (!keys_are(json_object_get(table, "KeySchema"), "pk", "sk") || !is_text(table, "pk") ||
        !is_text(table, "sk")) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "the DynamoDB table %s is not the ledger's: its key must be pk (hash, S) "
            "and sk (range, S); name another table, or create it as deploy/docs/dynamodb.md "
            "says",
            l->url.table);
    }
    if (index == NULL || !keys_are(json_object_get(index, "KeySchema"), "ix", "age") ||
        !is_text(table, "ix") || !is_text(table, "age")) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the DynamoDB table %s lacks the global index " LEDGER_DYNAMO_INDEX
                       " with the key ix (hash, S) and age (range, S): add it, as "
                       "deploy/docs/dynamodb.md says",
                       l->url.table);
    }
    bool is_there =
        has_status(table, "TableStatus", "ACTIVE") || has_status(table, "TableStatus", "UPDATING");
    *ready = is_there && !has_status(index, "IndexStatus", "CREATING");
    return 0;
}

int ledger_dynamo_describe(struct ledger_dynamo *l, json_t **out, struct aws_refusal *refusal,
                           struct err *e)
{
    struct buf body;
    ledger_dynamo_begin_body(l, &body);
    buf_append_byte(&body, '}');
    int rc =
        ledger_dynamo_call(l, "DescribeTable", &body, ledger_dynamo_deadline(l), out, refusal, e);
    buf_fini(&body);
    return rc;
}

/* `*found` false: there is no such table. */
static int look(struct ledger_dynamo *l, bool *found, bool *ready, struct err *e)
{
    struct aws_refusal refusal = {.status = 0};
    json_t *answer = NULL;
    int rc = ledger_dynamo_describe(l, &answer, &refusal, e);
    *found = rc == 0;
    *ready = false;
    if (rc == 0) {
        rc = dynamo_check_table(l, json_object_get(answer, "Table"), ready, e);
    } else if (strcmp(refusal.name, "ResourceNotFoundException") == 0) {
        rc = 0;
    }
    aws_refusal_fini(&refusal);
    json_decref(answer);
    return rc;
}

/* --- making --- */
static int create(struct ledger_dynamo *l, struct err *e)
{
    struct aws_refusal refusal = {.status = 0};
    struct buf body;
    ledger_dynamo_begin_body(l, &body);
    buf_append_cstr(&body,
                    ",\"BillingMode\":\"PAY_PER_REQUEST\",\"AttributeDefinitions\":["
                    "{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},"
                    "{\"AttributeName\":\"sk\",\"AttributeType\":\"S\"},"
                    "{\"AttributeName\":\"ix\",\"AttributeType\":\"S\"},"
                    "{\"AttributeName\":\"age\",\"AttributeType\":\"S\"}],\"KeySchema\":["
                    "{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"},"
                    "{\"AttributeName\":\"sk\",\"KeyType\":\"RANGE\"}],\"GlobalSecondaryIndexes\":["
                    "{\"IndexName\":\"" LEDGER_DYNAMO_INDEX "\",\"KeySchema\":["
                    "{\"AttributeName\":\"ix\",\"KeyType\":\"HASH\"},"
                    "{\"AttributeName\":\"age\",\"KeyType\":\"RANGE\"}],"
                    "\"Projection\":{\"ProjectionType\":\"KEYS_ONLY\"}}]}");
    int rc =
        ledger_dynamo_call(l, "CreateTable", &body, ledger_dynamo_deadline(l), NULL, &refusal, e);
    if (rc != 0 && strcmp(refusal.name, "ResourceInUseException") == 0) {
        rc = 0; /* another process makes it, or has */
    }
    aws_refusal_fini(&refusal);
    buf_fini(&body);
    return rc;
}

/* The second process gets an error, or changes nothing. */
static int expire(struct ledger_dynamo *l, struct err *e)
{
    struct aws_refusal refusal = {.status = 0};
    struct buf body;
    ledger_dynamo_begin_body(l, &body);
    buf_append_cstr(&body, ",\"TimeToLiveSpecification\":{\"AttributeName\":\"expires\","
                           "\"Enabled\":true}}");
    int rc = ledger_dynamo_call(l, "UpdateTimeToLive", &body, ledger_dynamo_deadline(l), NULL,
                                &refusal, e);
    if (rc != 0 && (strcmp(refusal.name, "ValidationException") == 0 ||
                    strcmp(refusal.name, "ResourceInUseException") == 0)) {
        rc = 0;
    }
    aws_refusal_fini(&refusal);
    buf_fini(&body);
    return rc;
}

static int create_and_wait(struct ledger_dynamo *l, struct err *e)
{
    int64_t until_ms = clock_mono_ms() + MADE_WITHIN_MS;
    bool found = false;
    bool ready = false;
    if (create(l, e) != 0) {
        return -1;
    }
    while (!ready) {
        if (clock_mono_ms() > until_ms) {
            return err_set(e, ERR_RETRY, 0, "the DynamoDB table %s is still not ready",
                           l->url.table);
        }
        if (look(l, &found, &ready, e) != 0) {
            return -1;
        }
        if (!ready) {
            clock_sleep_until(clock_mono_ms() + LOOK_MS);
        }
    }
    return expire(l, e);
}

/* --- the layout --- */
static int write_layout(struct ledger_dynamo *l, const struct ledger_dynamo_key *key, bool *held,
                        struct err *e)
{
    struct buf attributes;
    char version[LEDGER_DYNAMO_VERSION];
    buf_init(&attributes, 256);
    ledger_dynamo_version(version);
    ledger_dynamo_put_number(&attributes, "layout", LEDGER_DYNAMO_LAYOUT);
    ledger_dynamo_put_text(&attributes, "version", version);
    int rc = ledger_dynamo_put_one(l, key, &attributes, "", held, e);
    buf_fini(&attributes);
    return rc;
}

static int read_layout(struct ledger_dynamo *l, const struct ledger_dynamo_key *key, int64_t *out,
                       struct err *e)
{
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(l, key, 1, &got, e) != 0) {
        return -1;
    }
    *out = ledger_dynamo_read_number(got.items[0], "layout");
    ledger_dynamo_got_fini(&got);
    return 0;
}

static int check_layout(struct ledger_dynamo *l, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(l, "meta", "meta");
    int64_t layout = 0;
    bool held = false;
    if (read_layout(l, &key, &layout, e) != 0) {
        return -1;
    }
    if (layout == 0 &&
        (write_layout(l, &key, &held, e) != 0 || read_layout(l, &key, &layout, e) != 0)) {
        return -1;
    }
    if (layout != LEDGER_DYNAMO_LAYOUT) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the ledger %s in the DynamoDB table %s has layout %" PRId64
                       ", and this program knows %d: upgrade the program",
                       l->url.prefix, l->url.table, layout, LEDGER_DYNAMO_LAYOUT);
    }
    return 0;
}

int ledger_dynamo_check_table(struct ledger_dynamo *l, struct err *e)
{
    bool found = false;
    bool ready = false;
    if (look(l, &found, &ready, e) != 0) {
        return -1;
    }
    if (!ready && l->url.create && create_and_wait(l, e) != 0) {
        return -1;
    }
    if (!found && !l->url.create) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "there is no DynamoDB table %s in %s (%s): create it as deploy/docs/dynamodb.md "
            "says, or check the ledger's URL and the region",
            l->url.table, aws_client_region(l->aws), aws_client_endpoint(l->aws));
    }
    if (!ready && !l->url.create) {
        return err_set(e, ERR_RETRY, 0,
                       "the DynamoDB table %s, or its index, is still being made: try again",
                       l->url.table);
    }
    return check_layout(l, e);
}
