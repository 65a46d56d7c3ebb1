/*
 * What `--check-config --online` says of a table, and that it changes nothing in it.
 */
#include "tests/unit/ledger/test_ledger_dynamo.h"

#define SAID_MAX 8192

struct said {
    char text[SAID_MAX]; /* "level asked: answer", a line each */
    int counts[LEDGER_CHECK_ERROR + 1];
};

static void hear(void *arg, enum ledger_finding level, const char *asked, const char *answer)
{
    static const char *const words[] = {[LEDGER_CHECK_OK] = "fine",
                                        [LEDGER_CHECK_WARNING] = "doubtful",
                                        [LEDGER_CHECK_ERROR] = "wrong"};
    struct said *s = arg;
    size_t at = strlen(s->text);
    (void)snprintf(s->text + at, sizeof s->text - at, "%s %s: %s\n", words[level], asked, answer);
    s->counts[level]++;
}

static void check(struct ledger *l, struct said *out)
{
    *out = (struct said){.text = ""};
    ledger_check(l, LEDGER_CHECK_ALL, hear, out);
}

static void assert_says(const struct said *s, const char *part)
{
    if (strstr(s->text, part) == NULL) {
        fail_msg("\"%s\" does not stand in\n%s", part, s->text);
    }
}

/* The stand-in answers so instead of its own. */
static void answer_with(const char *operation, const char *body)
{
    char fault[2048];
    (void)snprintf(fault, sizeof fault, "{\"operation\":\"%s\",\"status\":200,\"body\":%s}",
                   operation, body);
    dynamo_fixture_faults(fault);
}

static void table_as_it_should_be_is_told_and_left_alone(void **state)
{
    struct dynamo_fixture *f = *state;
    struct said said;
    check(f->l, &said);
    assert_int_equal(said.counts[LEDGER_CHECK_ERROR], 0);
    assert_int_equal(said.counts[LEDGER_CHECK_WARNING], 0);
    assert_says(&said, "fine DescribeTable: arn:aws:dynamodb:us-east-1:");
    assert_says(&said, "key pk (hash) and sk (range), index by_age of ix and age, ACTIVE");
    assert_says(&said, "fine DescribeTimeToLive: ENABLED on the attribute expires");
    assert_says(&said, "fine permissions: BatchGetItem, Query (table and index), PutItem");
    assert_int_equal(dynamo_fixture_items(f, "meta"), 1); /* the layout alone: nothing was put */
}

static void each_call_that_is_denied_is_named(void **state)
{
    static const char *const calls[] = {"PutItem", "UpdateItem", "DeleteItem", "BatchGetItem"};
    struct dynamo_fixture *f = *state;
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        struct said said;
        char fault[128];
        char part[128];
        (void)snprintf(fault, sizeof fault, "{\"operation\":\"%s\",\"preset\":\"denied\"}",
                       calls[i]);
        dynamo_fixture_faults(fault);
        check(f->l, &said);
        dynamo_fixture_faults(NULL);
        (void)snprintf(part, sizeof part, "wrong %s: %s: AccessDeniedException", calls[i],
                       calls[i]);
        assert_says(&said, part);
        assert_says(&said, "policy");
        assert_int_equal(said.counts[LEDGER_CHECK_ERROR], 1);
        assert_null(strstr(said.text, "permissions"));
    }
}

static void queries_of_table_and_index_are_two(void **state)
{
    struct dynamo_fixture *f = *state;
    struct said said;
    dynamo_fixture_faults("{\"operation\":\"Query\",\"preset\":\"denied\"}");
    check(f->l, &said);
    assert_says(&said, "wrong Query: Query: AccessDenied");
    assert_says(&said, "wrong Query of the index: Query: AccessDenied");
}

static void time_to_live_that_is_off_or_elsewhere_is_told(void **state)
{
    struct dynamo_fixture *f = *state;
    struct said said;
    answer_with("DescribeTimeToLive",
                "{\"TimeToLiveDescription\":{\"TimeToLiveStatus\":\"DISABLED\"}}");
    check(f->l, &said);
    dynamo_fixture_faults(NULL);
    assert_says(&said, "doubtful DescribeTimeToLive: time to live is DISABLED");
    answer_with("DescribeTimeToLive", "{\"TimeToLiveDescription\":{\"TimeToLiveStatus\":"
                                      "\"ENABLED\",\"AttributeName\":\"at\"}}");
    check(f->l, &said);
    dynamo_fixture_faults(NULL);
    assert_says(&said, "wrong DescribeTimeToLive: time to live is ENABLED on the attribute at");
    dynamo_fixture_faults("{\"operation\":\"DescribeTimeToLive\",\"preset\":\"denied\"}");
    check(f->l, &said);
    assert_says(&said, "doubtful DescribeTimeToLive: DescribeTimeToLive: AccessDenied");
    assert_int_equal(said.counts[LEDGER_CHECK_ERROR], 0);
}

#define TABLE(more)                                                                                \
    "{\"Table\":{\"TableArn\":\"arn:t\",\"TableStatus\":\"ACTIVE\"," more                          \
    "\"GlobalSecondaryIndexes\":[{\"IndexName\":\"by_age\",\"Projection\":{\"ProjectionType\":"    \
    "\"ALL\"}}]}}"

static void settings_that_cost_or_break_are_told(void **state)
{
    struct dynamo_fixture *f = *state;
    struct said said;
    answer_with("DescribeTable", TABLE("\"ProvisionedThroughput\":{\"WriteCapacityUnits\":100},"
                                       "\"Replicas\":[{\"RegionName\":\"eu-west-1\"}],"));
    check(f->l, &said);
    dynamo_fixture_faults(NULL);
    assert_says(&said, "doubtful DescribeTable: the index by_age projects ALL");
    assert_says(&said, "provisioned 100 write units a second: about 5806 jobs an hour");
    assert_says(&said, "wrong DescribeTable: it is a global table with 1 replicas");
    answer_with("DescribeTable",
                TABLE("\"BillingModeSummary\":{\"BillingMode\":\"PAY_PER_REQUEST\"},"
                      "\"ProvisionedThroughput\":{\"WriteCapacityUnits\":0},"
                      "\"OnDemandThroughput\":{\"MaxWriteRequestUnits\":10},"));
    check(f->l, &said);
    assert_says(&said, "at most 10 write units a second: about 580 jobs an hour");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(table_as_it_should_be_is_told_and_left_alone),
        DYNAMO_TEST(each_call_that_is_denied_is_named),
        DYNAMO_TEST(queries_of_table_and_index_are_two),
        DYNAMO_TEST(time_to_live_that_is_off_or_elsewhere_is_told),
        DYNAMO_TEST(settings_that_cost_or_break_are_told),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on DynamoDB: the online check", tests, NULL, NULL);
}
