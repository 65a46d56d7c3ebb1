/* Randomness: bounds without bias, and the source that tests put in. */
#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/random.h"
#include "tests/lib/cmocka.h"

static void bytes_differ_from_call_to_call(void **state)
{
    char a[32];
    char b[32];
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    random_bytes(a, 0);
}

static void below_reaches_every_value_and_no_other(void **state)
{
    int seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t value = random_below(COUNT_OF(seen));
        assert_true(value < COUNT_OF(seen));
        seen[value]++;
    }
    /* Each is expected 1000 times; 600 is more than ten standard deviations off. */
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
        assert_true(seen[i] > 600);
    }
    assert_int_equal(random_below(1), 0);
}

static uint64_t queue[3];
static size_t taken;

static void queued_bytes(void *out, size_t size)
{
    assert_int_equal(size, sizeof queue[0]);
    assert_true(taken < COUNT_OF(queue));
    memcpy(out, &queue[taken++], size);
}

static void below_draws_again_what_would_favour_small_values(void **state)
{
    /* 2^64 - 1 is a multiple of 3, so its last value 2^64 - 1 stands alone. */
    queue[0] = UINT64_MAX;
    queue[1] = 5;
    taken = 0;
    random_set_source(queued_bytes);
    assert_int_equal(random_below(3), 2);
    assert_int_equal(taken, 2);
    random_set_source(NULL);
}

static void fixed_bytes(void *out, size_t size)
{
    memset(out, 0xa5, size);
}

static void hex_has_two_digits_a_byte(void **state)
{
    char text[129];
    random_set_source(fixed_bytes);
    random_hex(text, 3);
    assert_string_equal(text, "a5a5a5");
    random_hex(text, 64);
    assert_int_equal(strlen(text), 128);
    random_set_source(NULL);
    random_hex(text, 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_differ_from_call_to_call),
        cmocka_unit_test(below_reaches_every_value_and_no_other),
        cmocka_unit_test(below_draws_again_what_would_favour_small_values),
        cmocka_unit_test(hex_has_two_digits_a_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
