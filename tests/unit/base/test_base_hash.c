/* The hash: its values stand in stores, and so never change. */

#include "common/base/hash.h"
#include "tests/lib/cmocka.h"

static void hash_is_fnv_1a(void **state)
{
    assert_true(hash_text("") == 0xcbf29ce484222325U);
    assert_true(hash_text("a") == 0xaf63dc4c8601ec8cU);
    assert_true(hash_text("foobar") == 0x85944171f73967e8U);
    assert_true(hash_bytes(HASH_START, SLICE("\xff\0")) == 0x0a99a607b6f60beaU);
}

static void hash_goes_on_where_another_ended(void **state)
{
    assert_true(hash_bytes(hash_text("foo"), SLICE("bar")) == hash_text("foobar"));
    assert_false(hash_bytes(1, SLICE("a")) == hash_bytes(2, SLICE("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_fnv_1a),
        cmocka_unit_test(hash_goes_on_where_another_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
