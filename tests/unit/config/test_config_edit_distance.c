#include "common/config/edit_distance.h"

#include <stdint.h>
#include <string.h>

#include "tests/lib/cmocka.h"

static void edit_distance_counts_changes_and_swaps(void **state)
{
    assert_int_equal(edit_distance(SLICE(""), SLICE("")), 0);
    assert_int_equal(edit_distance(SLICE("abc"), SLICE("")), 3);
    assert_int_equal(edit_distance(SLICE(""), SLICE("ab")), 2);
    assert_int_equal(edit_distance(SLICE("kitten"), SLICE("sitting")), 3);
    assert_int_equal(edit_distance(SLICE("labels"), SLICE("lables")), 1);
    assert_int_equal(edit_distance(SLICE("abcdef"), SLICE("badcfe")), 3);
}

static void long_texts_are_far_away(void **state)
{
    char text[EDIT_DISTANCE_MAX_BYTES + 2] = "";
    memset(text, 'x', sizeof text - 1);
    assert_true(edit_distance(slice_of(text), slice_of(text)) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edit_distance_counts_changes_and_swaps),
        cmocka_unit_test(long_texts_are_far_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
