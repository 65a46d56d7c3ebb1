#include "common/ledger/dynamodb/dynamodb.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/url_options.h"

/* The URL, opening, and the table of calls. */

#define PREFIX_DEFAULT "mayfly"
#define TIMEOUT_DEFAULT_MS 10000
#define CONNECTIONS 64
#define CALL_MS 5000

/* --- the URL --- */
int ledger_dynamo_parse_url(const char *url, struct ledger_dynamo_url *out, struct err *e)
{
    struct slice scheme = SLICE("dynamodb://");
    struct slice rest = slice_of(url);
    struct slice table;
    struct slice options;
    struct ledger_dynamo_url u = {.prefix = PREFIX_DEFAULT, .timeout_ms = TIMEOUT_DEFAULT_MS};
    if (!slice_starts_with(rest, scheme)) {
        return err_set(e, ERR_PERMANENT, 0, "a DynamoDB URL begins with dynamodb://TABLE");
    }
    rest = (struct slice){rest.ptr + scheme.len, rest.len - scheme.len};
    (void)slice_cut(rest, '?', &table, &options);
    int64_t create = 0;
    const struct url_option named = {
        .name = "table", .text = u.table, .size = sizeof u.table, .identifier = true};
    const struct url_option known[] = {
        {.name = "region", .text = u.region, .size = sizeof u.region, .identifier = true},
        {.name = "endpoint", .text = u.endpoint, .size = sizeof u.endpoint},
        {.name = "prefix", .text = u.prefix, .size = sizeof u.prefix, .identifier = true},
        {.name = "timeout", .duration_ms = &u.timeout_ms, .least = 100, .most = 60000},
        {.name = "create", .number = &create, .least = 0, .most = 1}};
    const struct url_options all = {.store = "DynamoDB", .known = known, .count = COUNT_OF(known)};
    if (url_option_parse(all.store, &named, table, e) != 0 ||
        url_options_read(options, &all, e) != 0) {
        return -1;
    }
    u.create = create != 0;
    *out = u;
    return 0;
}

/* --- opening --- */
/* What the common table says otherwise. See also lay_to_the_table in call.c. */
static const struct aws_error_rule rules[] = {
    {"ConditionalCheckFailedException", ERR_CONFLICT, "it is read and decided anew"},
    {"TransactionCanceledException", ERR_CONFLICT, "it is read and decided anew"},
    {"TransactionConflictException", ERR_CONFLICT, "it is read and decided anew"},
    {"TransactionInProgressException", ERR_RETRY, "the same transaction is still at work"},
    {"ReplicatedWriteConflictException", ERR_RETRY, "try again"},
    {"ResourceNotFoundException", ERR_AUTH,
     "create the table and its index as deploy/docs/dynamodb.md says, or check the region"},
    {"ValidationException", ERR_AUTH,
     "check that the table and its index are as deploy/docs/dynamodb.md says"},
    {"ItemCollectionSizeLimitExceededException", ERR_AUTH, "the table must have no local index"},
    {NULL, ERR_NONE, NULL},
};

static void close_table(void *state)
{
    struct ledger_dynamo *l = state;
    aws_client_close(l->aws);
    ASSERT(pthread_mutex_destroy(&l->launching) == 0);
    ASSERT(pthread_mutex_destroy(&l->signs_lock) == 0);
    free(l);
}

static int open_table(const char *url, bool existing, void **out_state, struct err *e)
{
    struct ledger_dynamo_url u;
    if (ledger_dynamo_parse_url(url, &u, e) != 0) {
        return -1;
    }
    struct aws_client_options o = {
        .service = "dynamodb",
        .region = u.region,
        .endpoint = u.endpoint,
        .timeout_ms = u.timeout_ms < CALL_MS ? u.timeout_ms : CALL_MS,
        .max_idle = CONNECTIONS,
        .rules = rules,
    };
    struct aws_client *aws = NULL;
    if (aws_client_open(&o, &aws, e) != 0) {
        return -1;
    }
    struct ledger_dynamo *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && pthread_mutex_init(&l->launching, NULL) == 0 &&
           pthread_mutex_init(&l->signs_lock, NULL) == 0);
    l->aws = aws;
    l->url = u;
    l->url.create = u.create && !existing;
    if (ledger_dynamo_check_table(l, e) != 0) {
        close_table(l);
        return -1;
    }
    *out_state = l;
    return 0;
}

static int ping_table(void *state, struct err *e)
{
    struct ledger_dynamo_key key = ledger_dynamo_key(state, "meta", "meta");
    struct ledger_dynamo_got got;
    if (ledger_dynamo_get(state, &key, 1, &got, e) != 0) {
        return -1;
    }
    ledger_dynamo_got_fini(&got);
    return 0;
}

/* A table has no notifications. */
static void watch_table(void *state, ledger_released_fn *on_release, void *arg)
{
    (void)state;
    (void)on_release;
    (void)arg;
}

static bool watching_table(void *state)
{
    (void)state;
    return false;
}

const struct ledger_ops ledger_ops_dynamo = {
    .scheme = "dynamodb",
    .open = open_table,
    .close = close_table,
    .ping = ping_table,
    .txn = &ledger_dynamo_txn_ops,
    .job_get = ledger_dynamo_job_get,
    .job_page = ledger_dynamo_job_page,
    .reserve = ledger_dynamo_reserve,
    .capacity = ledger_dynamo_capacity,
    .targets_read = ledger_dynamo_targets_read,
    .release_seq = ledger_dynamo_release_seq,
    .watch_releases = watch_table,
    .watching = watching_table,
    .now = ledger_now_local,
    .history = ledger_history_unbroken,
    .balances = ledger_dynamo_balances,
    .scopes = ledger_dynamo_scopes,
    .vm_get = ledger_dynamo_vm_get,
    .vm_list = ledger_dynamo_vm_list,
    .vms_gone = ledger_dynamo_vms_gone,
    .timeline = ledger_dynamo_timeline,
    .rate_take = ledger_dynamo_rate_take,
    .rate_pause = ledger_dynamo_rate_pause,
    .cells = ledger_dynamo_cells,
    .counts = ledger_dynamo_counts,
    .tidy = ledger_dynamo_tidy,
    .repair = ledger_dynamo_repair,
    .check = ledger_dynamo_check,
};
