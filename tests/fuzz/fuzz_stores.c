/* Any bytes where a store, or who configures one, may put them: the first byte chooses the reader,
 * the rest is its text. What is accepted keeps its bounds; a row that was read can be written, and
 * reads as the same row again. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "common/kafka/client.h"
#include "common/ledger/dynamodb/dynamodb.h"
#include "common/ledger/redis/redis.h"
#include "common/ledger/sqlite/sqlite.h"
#include "common/queue/sqs/internal.h"
#include "common/redis/internal.h"
#include "tests/fuzz/fuzz.h"

#define REPLY_DEPTH_MAX 16

/* --- URLs --- */

static void try_redis_url(const char *url)
{
    static struct redis_url u;
    struct err e;
    if (redis_url_parse(url, &u, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT);
        return;
    }
    ASSERT((u.host[0] == '\0') != (u.socket[0] == '\0'));
    ASSERT(u.host[0] == '\0' || (u.port >= 1 && u.port <= 65535));
    ASSERT(u.user[0] == '\0' || u.password[0] != '\0');
    ASSERT(u.prefix[0] != '\0' && u.connections >= 1 && u.db >= 0 && u.timeout_ms >= 100);
}

/* SASL is left out: it opens the file or the credentials that the URL names. */
static void try_kafka_url(const char *url)
{
    struct kafka_cluster *c = NULL;
    struct err e;
    if (strstr(url, "sasl") != NULL) {
        return;
    }
    if (kafka_cluster_new(url, NULL, 0, &c, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT);
        return;
    }
    kafka_cluster_free(c);
}

static void try_dynamo_url(const char *url)
{
    static struct ledger_dynamo_url u;
    struct err e;
    ASSERT(ledger_dynamo_parse_url(url, &u, &e) == 0 || e.class == ERR_PERMANENT);
}

/* Each lane's queue has a name that SQS takes, and a queue by prefix leads back to its lane. */
static void try_sqs_url(const char *url)
{
    struct sqs_url u;
    struct err e;
    char name[SQS_ADDRESS_SIZE];
    char lane[QUEUE_LANE_MAX + 1];
    if (sqs_url_parse(url, &u, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT);
        return;
    }
    for (int dead = 0; dead < 2; dead++) {
        if (sqs_url_queue(&u, "launch.small", dead != 0, name, &e) != 0) {
            ASSERT(e.class == ERR_PERMANENT);
        } else if (u.named_count == 0) {
            ASSERT(strlen(name) <= SQS_NAME_MAX);
            ASSERT(sqs_url_lane(&u, name, lane) == (dead == 0));
            ASSERT(dead != 0 || strcmp(lane, "launch.small") == 0);
        }
    }
    sqs_url_fini(&u);
}

static void try_urls(struct slice text)
{
    char *url = slice_dup(text);
    try_sqs_url(url);
    try_dynamo_url(url);
    try_redis_url(url);
    try_kafka_url(url);
    free(url);
}

/* --- SQS --- */

static void try_message(struct slice text)
{
    static struct sqs_received r;
    json_t *o = json_loadb(text.len > 0 ? text.ptr : "", text.len, JSON_ALLOW_NUL, NULL);
    if (o == NULL || !queue_sqs_read(o, "launch.small", &r)) {
        json_decref(o);
        return;
    }
    struct sqs_lease lease;
    ASSERT(r.m.body != NULL && r.m.body[r.m.body_len] == '\0');
    ASSERT(r.m.attempts >= 0 && r.m.enqueued_ms >= 0 && r.dead_lettered_ms >= 0 && r.due_ms >= 0);
    if (r.handle[0] != '\0') {
        queue_sqs_receipt(&r.m, r.group, r.handle, 7);
        ASSERT(queue_sqs_lease(&r.m, &lease) && lease.until_mono_ms == 7);
        ASSERT(strcmp(lease.handle, r.handle) == 0 && strcmp(lease.group, r.group) == 0);
    }
    queue_message_fini(&r.m);
    json_decref(o);
}

static void try_receipt(struct slice text)
{
    static struct queue_message m;
    struct sqs_lease lease;
    if (slice_to_cstr(text, m.receipt, sizeof m.receipt) && queue_sqs_lease(&m, &lease)) {
        ASSERT(lease.handle > m.receipt && lease.handle[0] != '\0');
        ASSERT(lease.handle < m.receipt + sizeof m.receipt);
    }
}

/* --- Redis --- */

static void walk_reply(const struct redis_reply *r, int depth)
{
    char word[16];
    struct err e;
    struct slice bytes = redis_reply_bytes(r);
    redis_reply_text(r, word, sizeof word);
    ASSERT(strlen(word) <= bytes.len);
    ASSERT(redis_reply_check(r, &e) == 0 || (e.class != ERR_PERMANENT && e.class != ERR_NONE));
    (void)redis_reply_int(r, -1);
    ASSERT(redis_reply_at(r, redis_reply_count(r)) == NULL);
    for (size_t i = 0; depth < REPLY_DEPTH_MAX && i < redis_reply_count(r); i++) {
        walk_reply(redis_reply_at(r, i), depth + 1);
    }
}

/* hiredis reserves memory for as many elements as an array says to have; the client limits that where
 * hiredis can (common/redis/conn.c). */
static bool has_huge_array(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t digits = 0;
        while (text.ptr[i] == '*' && i + 1 + digits < text.len &&
               isdigit((unsigned char)text.ptr[i + 1 + digits])) {
            digits++;
        }
        if (digits > 5) {
            return true;
        }
    }
    return false;
}

static void try_reply(struct slice text)
{
    void *reply = NULL;
    if (has_huge_array(text)) {
        return;
    }
    redisReader *reader = redisReaderCreate();
    ASSERT(reader != NULL);
    if (redisReaderFeed(reader, text.ptr, text.len) == REDIS_OK) {
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
            walk_reply(reply, 0);
            redis_reply_free(reply);
            reply = NULL;
        }
    }
    redisReaderFree(reader);
}

static void try_redis_job(struct slice text)
{
    static struct ledger_job job;
    static struct ledger_job again;
    static struct ledger_redis_more more;
    static struct ledger_redis_row row;
    struct err e;
    more.len = 0;
    if (ledger_redis_unpack_job(text, &job, &more, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT);
        return;
    }
    ASSERT(job.state <= JOB_CANCELLED);
    ledger_redis_pack_job(&job, &more, &row);
    ASSERT(ledger_redis_unpack_job((struct slice){row.bytes, row.len}, &again, NULL, &e) == 0);
    ASSERT(memcmp(&job, &again, sizeof job) == 0);
}

static void try_redis_vm(struct slice text)
{
    static struct ledger_vm vm;
    static struct ledger_vm again;
    static struct ledger_redis_more more;
    static struct ledger_redis_row row;
    struct err e;
    more.len = 0;
    if (ledger_redis_unpack_vm(text, &vm, &more, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT);
        return;
    }
    ASSERT(vm.state <= VM_GONE);
    ledger_redis_pack_vm(&vm, &more, &row);
    ASSERT(ledger_redis_unpack_vm((struct slice){row.bytes, row.len}, &again, NULL, &e) == 0);
    ASSERT(memcmp(&vm, &again, sizeof vm) == 0);
}

/* --- SQLite --- */

/* Four values of any type, again and again, as the columns of a row. */
static const char row_sql[] =
    "SELECT ?1, ?2, ?3, ?4, ?1, ?2, ?3, ?4, ?1, ?2, ?3, ?4, ?1, ?2, ?3, ?4,"
    " ?1, ?2, ?3, ?4, ?1, ?2, ?3, ?4, ?1, ?2, ?3, ?4, ?1, ?2, ?3, ?4";

static struct sqlite_value next_value(struct slice *text)
{
    struct slice part;
    (void)slice_cut(*text, '\n', &part, text);
    struct sqlite_value v = {.type = SQL_TYPE_TEXT, .bytes = part};
    int64_t number = 0;
    if (part.len > 0 && part.ptr[0] == 'x') {
        v.type = SQL_TYPE_BLOB;
    } else if (part.len > 0 && part.ptr[0] == '.') {
        v = SQL_REAL(1e300);
    } else if (part.len == 0) {
        v = SQL_NULL();
    } else if (slice_to_int64(part, &number)) {
        v = SQL_INT(number);
    }
    return v;
}

static int read_rows(struct sqlite_db *db, void *arg, struct err *e)
{
    static struct ledger_sqlite_job job;
    static struct ledger_vm vm;
    struct slice text = *(const struct slice *)arg;
    bool row = false;
    struct sqlite_value a = next_value(&text);
    struct sqlite_value b = next_value(&text);
    struct sqlite_value c = next_value(&text);
    struct sqlite_value d = next_value(&text);
    struct sqlite_rows *r = sqlite_query(db, row_sql, a, b, c, d);
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    ASSERT(row);
    bool job_read = ledger_sqlite_read_job(r, &job);
    bool vm_read = ledger_sqlite_read_vm(r, &vm);
    ASSERT(!job_read || job.job.state <= JOB_CANCELLED);
    ASSERT(!vm_read || vm.state <= VM_GONE);
    for (size_t i = 0; i < ledger_vm_columns.count; i++) {
        const struct ledger_column *column = &ledger_vm_columns.at[i];
        ASSERT(column->kind != LEDGER_TEXT ||
               memchr(ledger_column_space(column, &vm), '\0', column->size) != NULL);
    }
    sqlite_rows_end(r);
    return 0;
}

static void try_sqlite_row(struct slice text)
{
    static const char *const steps[] = {"CREATE TABLE t (x);"};
    static const struct sqlite_schema schema = {
        .what = "fuzz", .application_id = 1, .steps = steps, .step_count = COUNT_OF(steps)};
    static struct sqlite_store *store; /* for the life of the process */
    struct err e;
    if (store == NULL) {
        ASSERT(sqlite_store_open("memory://fuzz-stores", &schema, &store, &e) == 0);
    }
    int rc = sqlite_store_read(store, read_rows, &text, &e);
    ASSERT(rc == 0 || e.class != ERR_NONE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct slice) = {
        try_urls, try_message, try_receipt, try_reply, try_redis_job, try_redis_vm, try_sqlite_row};
    if (size > 0) {
        readers[data[0] % COUNT_OF(readers)]((struct slice){(const char *)data + 1, size - 1});
    }
    return 0;
}
