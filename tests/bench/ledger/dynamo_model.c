#include "tests/bench/ledger/dynamo_model.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/aws/aws.h"
#include "common/base/attr.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "tests/bench/ledger/dynamo_expr.h"

#define BUCKETS 4096
#define ITEMS_MAX 100
#define GROUPS_MAX 64
#define RESPONSE_MAX (4 * 1024 * 1024)

/* --- the table --- */
struct item {
    char *key; /* pk and sk */
    size_t pk_len;
    json_t *attributes; /* NULL: there is none */
    const void *holder; /* the transaction that has prepared it */
    struct item *next;
};
struct group { /* VMs with a slot of a class, or of a target */
    char name[64];
    int64_t vms;
};
static struct {
    pthread_mutex_t lock;
    pthread_cond_t released;
    struct dynamo_model_options options;
    struct dynamo_model_counts counts;
    struct item *buckets[BUCKETS];
    int64_t vms;
    struct group groups[GROUPS_MAX];
    size_t group_count;
} model = {.lock = PTHREAD_MUTEX_INITIALIZER, .released = PTHREAD_COND_INITIALIZER};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, name), "S"));
    return text != NULL ? text : "";
}

static struct item *item_of(const json_t *key)
{
    char text[512];
    const char *pk = text_of(key, "pk");
    (void)snprintf(text, sizeof text, "%s %s", pk, text_of(key, "sk"));
    struct item **at = &model.buckets[hash_text(text) % BUCKETS];
    while (*at != NULL && strcmp((*at)->key, text) != 0) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        ASSERT(*at != NULL);
        (*at)->key = strdup(text);
        (*at)->pk_len = strlen(pk);
    }
    return *at;
}

/* --- the caps, by the rows themselves --- */
static int64_t *vms_of(const char *kind, const char *name)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%s %s", kind, name);
    for (size_t i = 0; i < model.group_count; i++) {
        if (strcmp(model.groups[i].name, text) == 0) {
            return &model.groups[i].vms;
        }
    }
    ASSERT(model.group_count < GROUPS_MAX);
    struct group *g = &model.groups[model.group_count++];
    *g = (struct group){.vms = 0};
    (void)snprintf(g->name, sizeof g->name, "%s", text);
    return &g->vms;
}

static void count_vm(const json_t *attributes, int by)
{
    int64_t *of_class = vms_of("class", text_of(attributes, "class"));
    const char *target = text_of(attributes, "target");
    int64_t *of_target = vms_of("target", target);
    model.vms += by;
    *of_class += by;
    *of_target += by;
    const struct dynamo_model_options *o = &model.options;
    bool over = model.vms > o->fleet_cap || *of_class > o->class_cap ||
                (target[0] != '\0' && *of_target > o->target_cap);
    model.counts.over_cap += by > 0 && over ? 1 : 0;
    model.counts.most_vms = model.vms > model.counts.most_vms ? model.vms : model.counts.most_vms;
}

/* Takes `attributes`. */
static void replace(struct item *at, json_t *attributes)
{
    bool vm = strstr(at->key, ":vm:") != NULL;
    if (vm && at->attributes == NULL && attributes != NULL) {
        count_vm(attributes, 1);
    } else if (vm && at->attributes != NULL && attributes == NULL) {
        count_vm(at->attributes, -1);
    }
    json_decref(at->attributes);
    at->attributes = attributes;
}

/* --- one write --- */
static const char *verb_of(const json_t *part, const json_t **request)
{
    static const char *const verbs[] = {"Put", "Update", "Delete"};
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        *request = json_object_get(part, verbs[i]);
        if (*request != NULL) {
            return verbs[i];
        }
    }
    abort();
}

static struct item *item_of_write(const json_t *request)
{
    const json_t *item = json_object_get(request, "Item");
    return item_of(item != NULL ? item : json_object_get(request, "Key"));
}

static void carry_out(const char *verb, const json_t *request, struct item *at)
{
    json_t *after = NULL;
    if (verb[0] == 'P') {
        after = json_deep_copy(json_object_get(request, "Item"));
    } else if (verb[0] == 'U') {
        after = at->attributes != NULL ? json_deep_copy(at->attributes)
                                       : json_deep_copy(json_object_get(request, "Key"));
        dynamo_expr_update(request, after);
    }
    replace(at, after);
}

static void let_pass(int64_t us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)nanosleep(&t, NULL);
}

/* --- transactions --- */
enum reason { NONE, CONFLICT, CONDITION };
struct transaction {
    const json_t *parts;
    size_t n;
    bool second_half[ITEMS_MAX];
    enum reason reasons[ITEMS_MAX];
    struct item *items[ITEMS_MAX];
};

/* Prepares a half. Returns whether nothing is in its way. */
static bool prepare(struct transaction *t, bool second)
{
    bool good = true;
    (void)pthread_mutex_lock(&model.lock);
    for (size_t i = 0; i < t->n; i++) {
        const json_t *request;
        (void)verb_of(json_array_get(t->parts, i), &request);
        struct item *at = item_of_write(request);
        if (t->second_half[i] != second) {
            continue;
        }
        while (!model.options.conflicts && at->holder != NULL) {
            (void)pthread_cond_wait(&model.released, &model.lock);
        }
        t->items[i] = at;
        if (at->holder != NULL) {
            t->reasons[i] = CONFLICT;
        } else if (!dynamo_expr_holds(request, at->attributes)) {
            t->reasons[i] = CONDITION;
        } else {
            at->holder = t;
        }
        good = good && t->reasons[i] == NONE;
    }
    (void)pthread_mutex_unlock(&model.lock);
    return good;
}

static void release(struct transaction *t, bool commit)
{
    (void)pthread_mutex_lock(&model.lock);
    for (size_t i = 0; i < t->n; i++) {
        struct item *at = t->items[i];
        if (at == NULL || at->holder != t) {
            continue;
        }
        if (commit) {
            const json_t *request;
            const char *verb = verb_of(json_array_get(t->parts, i), &request);
            carry_out(verb, request, at);
        }
        at->holder = NULL;
    }
    (void)pthread_cond_broadcast(&model.released);
    (void)pthread_mutex_unlock(&model.lock);
}

static json_t *reasons_of(const struct transaction *t)
{
    static const char *const codes[] = {[NONE] = "None",
                                        [CONFLICT] = "TransactionConflict",
                                        [CONDITION] = "ConditionalCheckFailed"};
    json_t *list = json_array();
    bool conflict = false;
    bool condition = false;
    for (size_t i = 0; i < t->n; i++) {
        (void)json_array_append_new(list, json_pack("{s:s}", "Code", codes[t->reasons[i]]));
        conflict = conflict || t->reasons[i] == CONFLICT;
        condition = condition || t->reasons[i] == CONDITION;
    }
    (void)pthread_mutex_lock(&model.lock);
    model.counts.conflicts += conflict ? 1 : 0;
    model.counts.conditions += condition ? 1 : 0;
    (void)pthread_mutex_unlock(&model.lock);
    return json_pack("{s:s,s:o}", "__type", "TransactionCanceledException", "CancellationReasons",
                     list);
}

/* Returns the refusal, or NULL. */
static json_t *transact(const json_t *body)
{
    struct transaction t = {.parts = json_object_get(body, "TransactItems")};
    int64_t us = model.options.transaction_us;
    t.n = json_array_size(t.parts);
    ASSERT(t.n <= ITEMS_MAX);
    for (size_t i = 0; i < t.n; i++) {
        /* Where nothing is refused, all at once: halves could wait for each other. */
        t.second_half[i] = model.options.conflicts && random_below(2) == 1;
    }
    let_pass(us / 5);
    bool good = prepare(&t, false);
    if (good) {
        let_pass(us / 5);
        good = prepare(&t, true);
    }
    if (good) {
        let_pass(us / 2);
    }
    release(&t, good);
    let_pass(us / 10);
    (void)pthread_mutex_lock(&model.lock);
    model.counts.transactions++;
    (void)pthread_mutex_unlock(&model.lock);
    return good ? NULL : reasons_of(&t);
}

/* --- single items --- */
static json_t *write_one(const char *verb, const json_t *body)
{
    const char *refusal = NULL;
    let_pass(model.options.read_us / 2);
    (void)pthread_mutex_lock(&model.lock);
    struct item *at = item_of_write(body);
    while (!model.options.conflicts && at->holder != NULL) {
        (void)pthread_cond_wait(&model.released, &model.lock);
    }
    model.counts.writes++;
    if (at->holder != NULL) {
        refusal = "TransactionConflictException";
        model.counts.conflicts++;
    } else if (!dynamo_expr_holds(body, at->attributes)) {
        refusal = "ConditionalCheckFailedException";
        model.counts.conditions++;
    } else {
        carry_out(verb, body, at);
    }
    (void)pthread_mutex_unlock(&model.lock);
    let_pass(model.options.read_us / 2);
    return refusal != NULL ? json_pack("{s:s}", "__type", refusal) : NULL;
}

static json_t *batch_get(const json_t *body)
{
    json_t *all = json_array();
    const char *table;
    json_t *wanted;
    size_t i;
    json_t *key;
    json_t *tables = json_object();
    (void)pthread_mutex_lock(&model.lock);
    model.counts.reads++;
    json_object_foreach(json_object_get(body, "RequestItems"), table, wanted)
    {
        json_array_foreach(json_object_get(wanted, "Keys"), i, key)
        {
            const struct item *at = item_of(key);
            if (at->attributes != NULL) {
                (void)json_array_append_new(all, json_deep_copy(at->attributes));
            }
        }
        (void)json_object_set(tables, table, all);
    }
    (void)pthread_mutex_unlock(&model.lock);
    json_decref(all);
    return json_pack("{s:o,s:{}}", "Responses", tables, "UnprocessedKeys");
}

static json_t *query(const json_t *body)
{
    const json_t *values = json_object_get(body, "ExpressionAttributeValues");
    const char *pk = text_of(values, ":v1");
    json_t *all = json_array();
    ASSERT(json_object_size(values) == 1 && json_object_get(body, "IndexName") == NULL);
    (void)pthread_mutex_lock(&model.lock);
    model.counts.reads++;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct item *at = model.buckets[i]; at != NULL; at = at->next) {
            if (at->attributes != NULL && at->pk_len == strlen(pk) &&
                strncmp(at->key, pk, at->pk_len) == 0) {
                (void)json_array_append_new(all, json_deep_copy(at->attributes));
            }
        }
    }
    (void)pthread_mutex_unlock(&model.lock);
    return json_pack("{s:o}", "Items", all);
}

static json_t *describe(void)
{
    return json_pack(
        "{s:{s:s,s:[{s:s,s:s},{s:s,s:s}],s:[{s:s,s:s},{s:s,s:s},{s:s,s:s},{s:s,s:s}],"
        "s:[{s:s,s:s,s:[{s:s,s:s},{s:s,s:s}]}]}}",
        "Table", "TableStatus", "ACTIVE", "KeySchema", "AttributeName", "pk", "KeyType", "HASH",
        "AttributeName", "sk", "KeyType", "RANGE", "AttributeDefinitions", "AttributeName", "pk",
        "AttributeType", "S", "AttributeName", "sk", "AttributeType", "S", "AttributeName", "ix",
        "AttributeType", "S", "AttributeName", "age", "AttributeType", "S",
        "GlobalSecondaryIndexes", "IndexName", "by_age", "IndexStatus", "ACTIVE", "KeySchema",
        "AttributeName", "ix", "KeyType", "HASH", "AttributeName", "age", "KeyType", "RANGE");
}

/* --- the calls --- */
/* The answer, or with *refused the error. */
static json_t *answer(const char *operation, const json_t *body, bool *refused)
{
    json_t *error = NULL;
    *refused = false;
    if (strcmp(operation, "BatchGetItem") == 0 || strcmp(operation, "Query") == 0) {
        let_pass(model.options.read_us);
        return operation[0] == 'B' ? batch_get(body) : query(body);
    }
    if (strcmp(operation, "DescribeTable") == 0) {
        return describe();
    }
    if (strcmp(operation, "TransactWriteItems") == 0) {
        error = transact(body);
    } else {
        ASSERT(strstr(operation, "Item") != NULL);
        error = write_one(operation, body);
    }
    *refused = error != NULL;
    return error != NULL ? error : json_object();
}

int __wrap_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e);

int __wrap_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e)
{
    json_error_t where;
    bool refused;
    json_t *body = json_loadb(call->body.ptr, call->body.len, 0, &where);
    (void)c;
    ASSERT(body != NULL);
    json_t *said = answer(call->operation, body, &refused);
    char *text = json_dumps(said, JSON_COMPACT);
    const char *name = json_string_value(json_object_get(said, "__type"));
    ASSERT(text != NULL);
    *out = (struct http_response){.status = refused ? 400 : 200};
    if (refusal != NULL) {
        *refusal = (struct aws_refusal){.status = refused ? 400 : 0};
        buf_init(&refusal->body, RESPONSE_MAX);
    }
    if (!refused) {
        buf_init(&out->body, RESPONSE_MAX);
        buf_append_cstr(&out->body, text);
    } else if (refusal != NULL) {
        (void)snprintf(refusal->name, sizeof refusal->name, "%s", name);
        buf_append_cstr(&refusal->body, text);
    }
    int rc = refused ? err_set(e, ERR_CONFLICT, 400, "%s: %s", call->operation, name) : 0;
    free(text);
    json_decref(said);
    json_decref(body);
    return rc;
}

void dynamo_model_reset(const struct dynamo_model_options *o)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (model.buckets[i] != NULL) {
            struct item *at = model.buckets[i];
            model.buckets[i] = at->next;
            json_decref(at->attributes);
            free(at->key);
            free(at);
        }
    }
    model.options = *o;
    model.counts = (struct dynamo_model_counts){.transactions = 0};
    model.vms = 0;
    model.group_count = 0;
}

struct dynamo_model_counts dynamo_model_counts(void)
{
    (void)pthread_mutex_lock(&model.lock);
    struct dynamo_model_counts counts = model.counts;
    (void)pthread_mutex_unlock(&model.lock);
    return counts;
}
