/* Buffers: the ceiling, the failure mark, JSON strings. */
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "tests/lib/cmocka.h"

static void append_grows_and_stays_terminated(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 100; i++) {
        buf_append(&b, SLICE("ab"));
        assert_int_equal(strlen(b.data), b.len);
    }
    buf_append_byte(&b, 'c');
    buf_append_cstr(&b, "de");
    buf_printf(&b, "-%d", 7);
    assert_int_equal(b.len, 205);
    assert_string_equal(b.data + 198, "abcde-7");
    assert_false(b.failed);
    buf_fini(&b);
    buf_fini(&b);
}

static void numbers_are_decimal(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    buf_append_int(&b, 0);
    buf_append_byte(&b, ' ');
    buf_append_int(&b, 1090);
    buf_append_byte(&b, ' ');
    buf_append_int(&b, INT64_MIN);
    buf_append_byte(&b, ' ');
    buf_append_int(&b, INT64_MAX);
    assert_string_equal(b.data, "0 1090 -9223372036854775808 9223372036854775807");
    buf_fini(&b);
}

static void append_past_the_ceiling_adds_nothing_and_marks(void **state)
{
    struct buf b;
    buf_init(&b, 4);
    buf_append(&b, SLICE("abcd"));
    assert_false(b.failed);
    buf_append(&b, SLICE("e"));
    assert_true(b.failed);
    assert_string_equal(b.data, "abcd");
    /* Even what would fit is refused then, so that nothing is left out of the middle. */
    buf_reset(&b);
    assert_false(b.failed);
    buf_append(&b, SLICE("abc"));
    buf_printf(&b, "%s", "long");
    buf_append(&b, SLICE("d"));
    assert_true(b.failed);
    assert_string_equal(b.data, "abc");
    buf_fini(&b);
}

static void slice_of_an_empty_buffer_is_empty(void **state)
{
    struct buf b;
    buf_init(&b, 4);
    assert_int_equal(buf_slice(&b).len, 0);
    buf_append_cstr(&b, "ab");
    assert_true(slice_eq_cstr(buf_slice(&b), "ab"));
    buf_fini(&b);
    struct buf zero = {0};
    buf_fini(&zero);
}

static void take_moves_the_content_out(void **state)
{
    struct buf b;
    buf_init(&b, 10);
    char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    free(empty);
    buf_append_cstr(&b, "abc");
    char *text = buf_take(&b);
    assert_string_equal(text, "abc");
    assert_int_equal(b.len, 0);
    buf_append_cstr(&b, "d");
    assert_string_equal(b.data, "d");
    assert_string_equal(text, "abc");
    free(text);
    buf_fini(&b);
}

static void assert_json(struct slice in, const char *expected)
{
    struct buf b;
    buf_init(&b, 1000);
    buf_append_json(&b, in);
    assert_string_equal(b.data, expected);
    buf_fini(&b);
}

static void json_string_is_escaped(void **state)
{
    assert_json(SLICE(""), "\"\"");
    assert_json((struct slice){NULL, 0}, "\"\"");
    assert_json(SLICE("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
    assert_json(SLICE("\b\t\n\f\r"), "\"\\b\\t\\n\\f\\r\"");
    assert_json(SLICE("\x00\x01\x1f\x7f"), "\"\\u0000\\u0001\\u001f\\u007f\"");
    assert_json(SLICE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x9b"),
                "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x9b\"");
}

#define REPLACED "\xef\xbf\xbd"

static void json_string_replaces_what_is_no_utf8(void **state)
{
    assert_json(SLICE("a\xff"
                      "b"),
                "\"a" REPLACED "b\"");
    assert_json(SLICE("\x80"), "\"" REPLACED "\"");
    assert_json(SLICE("\xc0\xaf"), "\"" REPLACED REPLACED "\""); /* overlong */
    assert_json(SLICE("\xe0\x80\xaf"), "\"" REPLACED REPLACED REPLACED "\"");
    assert_json(SLICE("\xed\xa0\x80"), "\"" REPLACED REPLACED REPLACED "\""); /* surrogate */
    assert_json(SLICE("\xf4\x90\x80\x80"), "\"" REPLACED REPLACED REPLACED REPLACED "\"");
    assert_json(SLICE("\xe2\x82"), "\"" REPLACED REPLACED "\""); /* cut off */
    assert_json(SLICE("\xf0\x9f\x90"), "\"" REPLACED REPLACED REPLACED "\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_grows_and_stays_terminated),
        cmocka_unit_test(numbers_are_decimal),
        cmocka_unit_test(append_past_the_ceiling_adds_nothing_and_marks),
        cmocka_unit_test(slice_of_an_empty_buffer_is_empty),
        cmocka_unit_test(take_moves_the_content_out),
        cmocka_unit_test(json_string_is_escaped),
        cmocka_unit_test(json_string_replaces_what_is_no_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
