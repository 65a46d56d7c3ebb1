/* Slices: comparing, cutting, and parsing what a peer sent. */
#include <stdlib.h>
#include <string.h>

#include "common/base/slice.h"
#include "tests/lib/cmocka.h"

static void comparing_takes_length_and_bytes(void **state)
{
    assert_true(slice_eq(SLICE("ab"), SLICE("ab")));
    assert_false(slice_eq(SLICE("ab"), SLICE("abc")));
    assert_false(slice_eq(SLICE("ab"), SLICE("aB")));
    assert_true(slice_eq((struct slice){NULL, 0}, SLICE("")));
    assert_true(slice_eq_cstr(SLICE("x"), "x"));
    assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
}

static void comparing_without_case_folds_ascii_only(void **state)
{
    assert_true(slice_eq_nocase(SLICE("Self-Hosted"), SLICE("sELF-hOSTED")));
    assert_false(slice_eq_nocase(SLICE("\xc3\x84"), SLICE("\xc3\xa4")));
    assert_false(slice_eq_nocase(SLICE("["), SLICE("{")));
    assert_false(slice_eq_nocase(SLICE("@"), SLICE("`")));
    assert_false(slice_eq_nocase(SLICE("a"), SLICE("ab")));
}

static void prefix_is_found_only_at_the_start(void **state)
{
    assert_true(slice_starts_with(SLICE("sha256=ab"), SLICE("sha256=")));
    assert_true(slice_starts_with(SLICE("a"), SLICE("")));
    assert_false(slice_starts_with(SLICE("sha25"), SLICE("sha256=")));
    assert_false(slice_starts_with((struct slice){NULL, 0}, SLICE("a")));
}

static void trim_removes_white_space_at_both_ends(void **state)
{
    assert_true(slice_eq_cstr(slice_trim(SLICE(" \t\r\na b\n ")), "a b"));
    assert_int_equal(slice_trim(SLICE(" \n ")).len, 0);
    assert_int_equal(slice_trim((struct slice){NULL, 0}).len, 0);
}

static void cut_divides_at_the_first_separator(void **state)
{
    struct slice head;
    struct slice tail;
    assert_true(slice_cut(SLICE("a/b/c"), '/', &head, &tail));
    assert_true(slice_eq_cstr(head, "a") && slice_eq_cstr(tail, "b/c"));
    assert_true(slice_cut(SLICE("a/"), '/', &head, &tail));
    assert_true(slice_eq_cstr(head, "a") && tail.len == 0);
    assert_false(slice_cut(SLICE("abc"), '/', &head, &tail));
    assert_true(slice_eq_cstr(head, "abc") && tail.len == 0);
    assert_false(slice_cut((struct slice){NULL, 0}, '/', &head, &tail));
}

static void whole_numbers_are_parsed_wholly_or_not_at_all(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"100520616165", true, 100520616165},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"0x1", false, 0},
        {"--1", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t value = 4711;
        assert_int_equal(slice_to_int64(slice_of(cases[i].text), &value), cases[i].good);
        assert_true(value == (cases[i].good ? cases[i].value : 4711));
    }
}

static void copy_to_a_terminated_text_fits_or_is_empty(void **state)
{
    char out[4] = "zzz";
    assert_true(slice_to_cstr(SLICE("abc"), out, sizeof out));
    assert_string_equal(out, "abc");
    assert_false(slice_to_cstr(SLICE("abcd"), out, sizeof out));
    assert_string_equal(out, "");
    assert_false(slice_to_cstr(SLICE("a\0b"), out, sizeof out));
    assert_string_equal(out, "");
    assert_true(slice_to_cstr((struct slice){NULL, 0}, out, 1));
}

static void shortened_text_ends_at_a_word(void **state)
{
    static const struct {
        const char *text;
        const char *short_text; /* of 15 bytes */
    } cases[] = {
        {"", ""},
        {"fourteen bytes", "fourteen bytes"},
        {"fifteen is long", "fifteen is..."},
        {"fifteen long ones", "fifteen..."},
        {"abcdefghijklmnop", "abcdefghijk..."},
        {"a bcdefghijklmnop", "a bcdefghij..."},
        {"abcdefghij\xc3\xa4klm", "abcdefghij..."},
    };
    char out[15];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        slice_shorten(cases[i].text, out, sizeof out);
        assert_string_equal(out, cases[i].short_text);
    }
}

static void dup_is_terminated_and_own(void **state)
{
    char *copy = slice_dup((struct slice){"abcdef", 3});
    assert_string_equal(copy, "abc");
    free(copy);
    copy = slice_dup(slice_of(NULL));
    assert_string_equal(copy, "");
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparing_takes_length_and_bytes),
        cmocka_unit_test(comparing_without_case_folds_ascii_only),
        cmocka_unit_test(prefix_is_found_only_at_the_start),
        cmocka_unit_test(trim_removes_white_space_at_both_ends),
        cmocka_unit_test(cut_divides_at_the_first_separator),
        cmocka_unit_test(whole_numbers_are_parsed_wholly_or_not_at_all),
        cmocka_unit_test(copy_to_a_terminated_text_fits_or_is_empty),
        cmocka_unit_test(shortened_text_ends_at_a_word),
        cmocka_unit_test(dup_is_terminated_and_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
