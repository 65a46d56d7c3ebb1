/*
 * What the DynamoDB ledger decides by conditional writes, held against rules.c.
 */
#include "tests/unit/ledger/ledger_by_rules.h"
#include "tests/unit/ledger/test_ledger_dynamo.h"

#define STEPS 240 /* each is two requests or more */

static void buckets_in_a_table_are_those_of_the_rules(void **state)
{
    struct dynamo_fixture *f = *state;
    ledger_buckets_by_rules(f->l, STEPS);
}

static void leases_in_a_table_are_those_of_the_rules(void **state)
{
    struct dynamo_fixture *f = *state;
    ledger_leases_by_rules(f->l, STEPS);
}

static void reservations_in_a_table_are_those_of_the_rules(void **state)
{
    struct dynamo_fixture *f = *state;
    ledger_reservations_by_rules(f->l, STEPS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(buckets_in_a_table_are_those_of_the_rules),
        DYNAMO_TEST(leases_in_a_table_are_those_of_the_rules),
        DYNAMO_TEST(reservations_in_a_table_are_those_of_the_rules),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on DynamoDB: rules", tests, NULL, NULL);
}
