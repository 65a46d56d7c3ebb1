/*
 * What the Redis ledger's scripts decide in Lua, held against rules.c.
 */
#include "tests/unit/ledger/ledger_by_rules.h"
#include "tests/unit/ledger/test_ledger_redis.h"

#define STEPS 1500

static void buckets_in_lua_are_those_of_the_rules(void **state)
{
    struct redis_fixture *f = *state;
    ledger_buckets_by_rules(f->l, STEPS);
}

static void leases_in_lua_are_those_of_the_rules(void **state)
{
    struct redis_fixture *f = *state;
    ledger_leases_by_rules(f->l, STEPS);
}

static void reservations_in_lua_are_those_of_the_rules(void **state)
{
    struct redis_fixture *f = *state;
    ledger_reservations_by_rules(f->l, STEPS);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        REDIS_TEST(buckets_in_lua_are_those_of_the_rules),
        REDIS_TEST(leases_in_lua_are_those_of_the_rules),
        REDIS_TEST(reservations_in_lua_are_those_of_the_rules),
    };
    if (!redis_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on redis: rules", tests, NULL, NULL);
}
