/*
 * Every step of the DynamoDB ledger while one of its requests is refused, or its answer is lost:
 * see ledger_faults.h. Each ledger has a table of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/random.h"
#include "tests/unit/ledger/ledger_faults.h"
#include "tests/unit/ledger/test_ledger_dynamo.h"

#define DUMP_MAX ((size_t)4 * 1024 * 1024)

/* --- the request that fails --- */
static int fails_at; /* counted from 1; 0: none does */
static bool loses;   /* the answer to a write, not the request */
static enum err_class fails_as;
static struct faults_seen seen;

static bool is_read(const char *operation)
{
    return strcmp(operation, "BatchGetItem") == 0 || strcmp(operation, "Query") == 0;
}

int __real_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e);
int __wrap_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e);

int __wrap_aws_send(struct aws_client *c, const struct aws_call *call, struct http_response *out,
                    struct aws_refusal *refusal, struct err *e)
{
    bool write = !is_read(call->operation);
    int number = ++seen.all;
    seen.writes += write ? 1 : 0;
    bool fails = loses ? write && seen.writes == fails_at : number == fails_at;
    if (!fails || loses) {
        int rc = __real_aws_send(c, call, out, refusal, e);
        if (!fails || rc != 0) {
            return rc;
        }
        http_response_fini(out);
    }
    if (refusal != NULL) {
        *refusal = (struct aws_refusal){.status = 0};
    }
    return err_set(e, fails_as, 0, "%s: the test lets it fail", call->operation);
}

static struct faults_seen arm(int n)
{
    struct faults_seen before = seen;
    seen = (struct faults_seen){.all = 0};
    fails_at = n;
    return before;
}

/* --- tables --- */
static struct ledger_dynamo *behind; /* the present table, beside the ledger */

static struct ledger *open_new(void)
{
    char unique[17];
    char url[512];
    random_hex(unique, 8);
    dynamo_fixture_url(unique, "", url, sizeof url);
    struct ledger *l = dynamo_fixture_open(url);
    if (behind == NULL) {
        void *raw = NULL;
        struct err e;
        MUST(ledger_ops_dynamo.open(url, false, &raw, &e));
        behind = raw;
    }
    (void)snprintf(behind->url.table, sizeof behind->url.table, "%s", unique);
    return l;
}

static json_t *ask(const char *operation, const char *more)
{
    struct buf body;
    json_t *answer = NULL;
    struct err e;
    ledger_dynamo_begin_body(behind, &body);
    buf_printf(&body, "%s}", more);
    MUST(ledger_dynamo_send(behind, operation, &body, &answer, NULL, &e));
    buf_fini(&body);
    return answer;
}

static void close_and_remove(struct ledger *l)
{
    json_decref(ask("DeleteTable", ""));
    ledger_close(l);
}

/* --- rows --- */
/* Counters are in any of their shards: it is their sum that counts. */
static bool add_up(json_t *sums, const char *of, const json_t *item)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)item, name, value)
    {
        const char *number = json_string_value(json_object_get(value, "N"));
        char key[512];
        if (number != NULL) {
            (void)snprintf(key, sizeof key, "%s %s", of, name);
            int64_t sum = json_integer_value(json_object_get(sums, key)) + atoll(number);
            assert_int_equal(json_object_set_new(sums, key, json_integer(sum)), 0);
        }
    }
    return true;
}

static bool is_shard(const json_t *item, json_t *sums)
{
    char pk[160];
    char sk[336];
    ledger_dynamo_read_text(item, "pk", pk, sizeof pk);
    ledger_dynamo_read_text(item, "sk", sk, sizeof sk);
    const char *kind = strchr(pk, ':') + 1;
    char *last = strrchr(sk, '|');
    if (strcmp(kind, "shard") == 0 || strncmp(kind, "count:", 6) == 0) {
        return add_up(sums, "shard", item);
    }
    if (strcmp(kind, "pair") == 0 && json_object_get(item, "b") != NULL) {
        *last = '\0';
        return add_up(sums, sk, item);
    }
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *dump(void)
{
    json_t *answer = ask("Scan", ",\"ConsistentRead\":true");
    json_t *items = json_object_get(answer, "Items");
    json_t *sums = json_object();
    size_t n = 0;
    size_t i;
    json_t *item;
    struct buf out;
    buf_init(&out, DUMP_MAX);
    assert_null(json_object_get(answer, "LastEvaluatedKey"));
    char **lines = calloc(json_array_size(items) + 1, sizeof *lines);
    assert_non_null(lines);
    json_array_foreach(items, i, item)
    {
        (void)json_object_del(item, "version"); /* a random word */
        if (!is_shard(item, sums)) {
            lines[n++] = json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS);
        }
    }
    lines[n++] = json_dumps(sums, JSON_COMPACT | JSON_SORT_KEYS);
    qsort(lines, n, sizeof *lines, by_text);
    for (i = 0; i < n; i++) {
        buf_printf(&out, "%s\n", lines[i]);
        free(lines[i]);
    }
    free(lines);
    json_decref(sums);
    json_decref(answer);
    char *text = slice_dup(buf_slice(&out));
    buf_fini(&out);
    return text;
}

/* --- cases --- */
static struct faults_store store = {.open = open_new,
                                    .close = close_and_remove,
                                    .dump = dump,
                                    .arm = arm,
                                    .fails = ERR_AUTH,
                                    .repairs = true,
                                    .in_parts = true,
                                    .tokens_apart = true,
                                    .slow = true};

static void step_of_which_a_request_is_refused_changes_nothing(void **state)
{
    (void)state;
    loses = false;
    fails_as = ERR_AUTH; /* not tried again */
    faults_refuse(&store);
}

static void step_of_which_an_answer_is_lost_can_be_repeated(void **state)
{
    (void)state;
    loses = true;
    fails_as = ERR_AUTH;
    faults_lose(&store);
}

static void step_of_which_an_answer_is_lost_asks_again_itself(void **state)
{
    (void)state;
    loses = true;
    fails_as = ERR_RETRY;
    struct faults_store patient = store;
    patient.asks_again = true;
    faults_lose(&patient);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_of_which_a_request_is_refused_changes_nothing),
        cmocka_unit_test(step_of_which_an_answer_is_lost_can_be_repeated),
        cmocka_unit_test(step_of_which_an_answer_is_lost_asks_again_itself),
    };
    if (argc == 4 && strcmp(argv[3], "some") == 0) {
        store.one_in = 5;
        argc = 3;
    }
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    int failed = cmocka_run_group_tests_name("ledger on dynamodb: faults", tests, NULL, NULL);
    if (behind != NULL) {
        ledger_ops_dynamo.close(behind);
    }
    return failed;
}
