

#include <stdio.h>

#include "ingress/dedupe.h"
#include "tests/lib/cmocka.h"

static void add_number(struct dedupe *d, int number)
{
    char guid[64];
    snprintf(guid, sizeof guid, "72d3162e-cc78-11e3-81ab-%012d", number);
    dedupe_add(d, guid);
}

static bool seen_number(struct dedupe *d, int number)
{
    char guid[64];
    snprintf(guid, sizeof guid, "72d3162e-cc78-11e3-81ab-%012d", number);
    return dedupe_seen(d, guid);
}

static void seen_only_what_was_added(void **state)
{
    struct dedupe *d = dedupe_new(8);
    assert_false(seen_number(d, 1));
    add_number(d, 1);
    assert_true(seen_number(d, 1));
    assert_false(seen_number(d, 2));
    dedupe_free(d);
}

static void full_memory_forgets_the_oldest(void **state)
{
    struct dedupe *d = dedupe_new(100);
    for (int i = 0; i < 1000; i++) {
        add_number(d, i);
        assert_true(seen_number(d, i));
        assert_true(i < 99 || seen_number(d, i - 99));
        assert_false(i >= 100 && seen_number(d, i - 100));
    }
    dedupe_free(d);
}

static void added_twice_takes_one_place(void **state)
{
    struct dedupe *d = dedupe_new(2);
    add_number(d, 1);
    add_number(d, 2);
    add_number(d, 2);
    add_number(d, 2);
    assert_true(seen_number(d, 1));
    dedupe_free(d);
}

static void no_entries_remember_nothing(void **state)
{
    struct dedupe *d = dedupe_new(0);
    add_number(d, 1);
    assert_false(seen_number(d, 1));
    dedupe_free(d);
    dedupe_free(NULL);
}

static void too_long_a_guid_is_not_remembered(void **state)
{
    const char *guid = "0123456789012345678901234567890123456789012345678901234567890123";
    struct dedupe *d = dedupe_new(4);
    dedupe_add(d, guid);
    assert_false(dedupe_seen(d, guid));
    dedupe_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seen_only_what_was_added),
        cmocka_unit_test(full_memory_forgets_the_oldest),
        cmocka_unit_test(added_twice_takes_one_place),
        cmocka_unit_test(no_entries_remember_nothing),
        cmocka_unit_test(too_long_a_guid_is_not_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
