/*
 * What the DynamoDB ledger's requests are made of: its URL, its keys, its expressions, its lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/dynamodb/dynamodb.h"

static const struct ledger_dynamo handle = {.url = {.prefix = "p"}};

/* --- the URL --- */
static void url_gives_table_and_options(void **state)
{
    struct ledger_dynamo_url u;
    struct err e;
    (void)state;
    assert_int_equal(ledger_dynamo_parse_url("dynamodb://mayfly-prod", &u, &e), 0);
    assert_string_equal(u.table, "mayfly-prod");
    assert_string_equal(u.prefix, "mayfly");
    assert_string_equal(u.region, "");
    assert_string_equal(u.endpoint, "");
    assert_false(u.create);
    assert_int_equal(u.timeout_ms, 10000);
    assert_int_equal(ledger_dynamo_parse_url("dynamodb://t?region=eu-west-1&prefix=blue_1&create=1"
                                             "&endpoint=http%3A//h:1&timeout=500ms",
                                             &u, &e),
                     0);
    assert_string_equal(u.region, "eu-west-1");
    assert_string_equal(u.prefix, "blue_1");
    assert_string_equal(u.endpoint, "http://h:1");
    assert_int_equal(u.timeout_ms, 500);
    assert_true(u.create);
}

static void bad_url_is_refused_with_what_is_wrong(void **state)
{
    static const struct {
        const char *url;
        const char *says;
    } bad[] = {
        {"dynamodb://", "table"},
        {"dynamodb://a/b", "table"},
        {"dynamodb://t?prefix=", "prefix"},
        {"dynamodb://t?prefix=a:b", "prefix"},
        {"dynamodb://t?prefix=aaaaaaaaaabbbbbbbbbbccccccccccddddddddddx", "prefix"},
        {"dynamodb://t?timeout=99ms", "timeout"},
        {"dynamodb://t?timeout=soon", "timeout"},
        {"dynamodb://t?create=yes", "create"},
        {"dynamodb://t?endpoint=%zz", "endpoint"},
        {"dynamodb://t?colour=red", "colour"},
        {"sqlite://t", "dynamodb://TABLE"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct ledger_dynamo_url u;
        struct err e;
        assert_int_equal(ledger_dynamo_parse_url(bad[i].url, &u, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_non_null(strstr(e.message, bad[i].says));
    }
}

/* --- keys --- */
static void keys_are_those_of_the_layout(void **state)
{
    (void)state;
    struct ledger_dynamo_key k = ledger_dynamo_job_key(&handle, 42);
    assert_string_equal(k.pk, "p:job:42");
    assert_string_equal(k.sk, "row");
    k = ledger_dynamo_pair_shard_key(&handle, "octo", "small", 3);
    assert_string_equal(k.pk, "p:pair");
    assert_string_equal(k.sk, "octo|small|3");
    /* Where a row is found is part of the layout: these never change. */
    k = ledger_dynamo_vm_key(&handle, "mf-test-small-0123456789ab");
    assert_string_equal(k.pk, "p:vm:6");
    assert_string_equal(k.sk, "mf-test-small-0123456789ab");
    k = ledger_dynamo_gone_key(&handle, "mf-test-small-0123456789ab");
    assert_string_equal(k.pk, "p:gone:6");
}

/* --- expressions --- */
static void must_render(struct ledger_dynamo_expr *x, const char *expected)
{
    struct buf out;
    buf_init(&out, 4096);
    ledger_dynamo_expr_render(x, &out);
    assert_string_equal(out.data != NULL ? out.data : "", expected);
    assert_false(out.failed);
    buf_fini(&out);
    ledger_dynamo_expr_fini(x);
}

static void empty_expression_adds_nothing(void **state)
{
    struct ledger_dynamo_expr x;
    (void)state;
    ledger_dynamo_expr_init(&x);
    must_render(&x, "");
}

static void update_has_its_clauses_and_placeholders_for_every_word(void **state)
{
    struct ledger_dynamo_expr x;
    (void)state;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_set_text(&x, "name", "a \"b\"");
    ledger_dynamo_set_number(&x, "at", -5);
    ledger_dynamo_add(&x, "c.small", 1);
    ledger_dynamo_add(&x, "f", -2);
    must_render(&x, ",\"UpdateExpression\":\"SET #n0=:v1,#n2=:v3 ADD #n4 :v5,#n6 :v7\""
                    ",\"ExpressionAttributeNames\":{\"#n0\":\"name\",\"#n2\":\"at\",\"#n4\":"
                    "\"c.small\",\"#n6\":\"f\"},\"ExpressionAttributeValues\":{"
                    "\":v1\":{\"S\":\"a \\\"b\\\"\"},\":v3\":{\"N\":\"-5\"},\":v5\":{\"N\":\"1\"},"
                    "\":v7\":{\"N\":\"-2\"}}");
}

static void conditions_are_joined_each_in_parentheses(void **state)
{
    struct ledger_dynamo_expr x;
    (void)state;
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_if_number(&x, "f", "<", 10, true);
    ledger_dynamo_if_version(&x, "abc");
    must_render(&x, ",\"ConditionExpression\":\"(attribute_not_exists(#n0) OR #n0 < :v1) AND "
                    "(#n2 = :v3)\",\"ExpressionAttributeNames\":{\"#n0\":\"f\",\"#n2\":"
                    "\"version\"},\"ExpressionAttributeValues\":{\":v1\":{\"N\":\"10\"},\":v3\":{"
                    "\"S\":\"abc\"}}");
    ledger_dynamo_expr_init(&x);
    ledger_dynamo_if_version(&x, "");
    must_render(&x, ",\"ConditionExpression\":\"(attribute_not_exists(#n0))\","
                    "\"ExpressionAttributeNames\":{\"#n0\":\"pk\"}");
}

static void attributes_leave_out_what_is_empty(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 1024);
    ledger_dynamo_put_text(&b, "a", "");
    ledger_dynamo_put_number(&b, "b", 0);
    assert_int_equal(b.len, 0);
    ledger_dynamo_put_number(&b, "b", INT64_MIN);
    ledger_dynamo_put_text(&b, "a", "x\xff");
    ledger_dynamo_put_real(&b, "t", 0.1);
    assert_string_equal(b.data, "\"b\":{\"N\":\"-9223372036854775808\"},\"a\":{\"S\":\"x\xef\xbf"
                                "\xbd\"},\"t\":{\"N\":\"0.10000000000000001\"}");
    buf_fini(&b);
}

/* --- lines --- */
static void lines_come_back_as_they_went_and_cannot_be_forged(void **state)
{
    struct ledger_dynamo_line lines[2] = {
        {.order = 5,
         .at_ms = 7,
         .vm = "mf-a",
         .what = "retry",
         .detail = "x\x1e\x1f"
                   "9\ny"},
        {.order = 6, .at_ms = 8, .what = "queued"},
    };
    struct ledger_dynamo_line back[LEDGER_DYNAMO_TAIL];
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    ledger_dynamo_pack_lines(lines, 2, &b);
    assert_int_equal(ledger_dynamo_unpack_lines(buf_slice(&b), back), 2);
    assert_int_equal(back[0].order, 5);
    assert_int_equal(back[0].at_ms, 7);
    assert_string_equal(back[0].vm, "mf-a");
    assert_string_equal(back[0].what, "retry");
    assert_string_equal(back[0].detail, "x  9\ny"); /* lines of a console stay lines */
    assert_string_equal(back[1].what, "queued");
    assert_string_equal(back[1].detail, "");
    buf_fini(&b);
    assert_int_equal(ledger_dynamo_unpack_lines(SLICE("nonsense\x1e\x1e"), back), 0);
    assert_int_equal(ledger_dynamo_unpack_lines(SLICE("cut short"), back), 0);
}

static void more_lines_than_fit_are_left_out(void **state)
{
    struct ledger_dynamo_line line = {.order = 1, .at_ms = 1, .what = "w"};
    struct ledger_dynamo_line back[LEDGER_DYNAMO_TAIL];
    struct buf b;
    (void)state;
    buf_init(&b, 64 * 1024);
    for (int i = 0; i < 3 * LEDGER_DYNAMO_TAIL; i++) {
        ledger_dynamo_pack_lines(&line, 1, &b);
    }
    assert_int_equal(ledger_dynamo_unpack_lines(buf_slice(&b), back), LEDGER_DYNAMO_TAIL);
    buf_fini(&b);
}

static void vms_of_a_job_keep_the_first_and_the_newest(void **state)
{
    struct ledger_dynamo_job *row = test_calloc(1, sizeof *row);
    char name[68];
    (void)state;
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "vm-%d", i);
        ledger_dynamo_relate(row, name);
        ledger_dynamo_relate(row, name);
    }
    assert_int_equal(row->vm_count, LEDGER_DYNAMO_JOB_VMS);
    assert_string_equal(row->vms[0], "vm-0");
    assert_string_equal(row->vms[LEDGER_DYNAMO_JOB_VMS / 2 - 1], "vm-31");
    assert_string_equal(row->vms[LEDGER_DYNAMO_JOB_VMS / 2], "vm-68");
    assert_string_equal(row->vms[LEDGER_DYNAMO_JOB_VMS - 1], "vm-99");
    test_free(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url_gives_table_and_options),
        cmocka_unit_test(bad_url_is_refused_with_what_is_wrong),
        cmocka_unit_test(keys_are_those_of_the_layout),
        cmocka_unit_test(empty_expression_adds_nothing),
        cmocka_unit_test(update_has_its_clauses_and_placeholders_for_every_word),
        cmocka_unit_test(conditions_are_joined_each_in_parentheses),
        cmocka_unit_test(attributes_leave_out_what_is_empty),
        cmocka_unit_test(lines_come_back_as_they_went_and_cannot_be_forged),
        cmocka_unit_test(more_lines_than_fit_are_left_out),
        cmocka_unit_test(vms_of_a_job_keep_the_first_and_the_newest),
    };
    return cmocka_run_group_tests_name("ledger on DynamoDB: requests", tests, NULL, NULL);
}
