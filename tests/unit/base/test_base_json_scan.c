/* The scanner with a table of its own, and the texts of strings. What it refuses is tested with the
 * table of webhooks (test_webhook_scan.c), and against jansson (fuzz_scan.c). */

#include "common/base/json_scan.h"
#include "tests/lib/cmocka.h"

enum { OUTER, INNER, LEAF, MEMBERS };

static const struct json_key in_inner[] = {{JSON_KEY("leaf"), LEAF, NULL}};
static const struct json_keys inner = {in_inner, COUNT_OF(in_inner)};
static const struct json_key in_outer[] = {{JSON_KEY("inner"), INNER, &inner}};
static const struct json_keys outer = {in_outer, COUNT_OF(in_outer)};
static const struct json_key in_top[] = {{JSON_KEY("outer"), OUTER, &outer}};
static const struct json_keys top = {in_top, COUNT_OF(in_top)};

static void members_of_a_nested_table_are_found_where_it_says(void **state)
{
    struct slice m[MEMBERS];
    const char *reason = "";
    assert_true(json_scan(SLICE("{\"leaf\":0,\"outer\":{\"leaf\":1,\"inner\":{\"leaf\":[2]}}}"),
                          &top, m, MEMBERS, &reason));
    assert_true(slice_eq_cstr(m[LEAF], "[2]"));
    assert_true(slice_eq_cstr(m[INNER], "{\"leaf\":[2]}"));
    assert_true(json_scan(SLICE("{\"outer\":{\"inner\":3}}"), &top, m, MEMBERS, &reason));
    assert_true(slice_eq_cstr(m[INNER], "3"));
    assert_null(m[LEAF].ptr);
    assert_false(json_scan(SLICE("{\"outer\":{\"inner\":{\"leaf\":1,\"leaf\":1}}}"), &top, m,
                           MEMBERS, &reason));
    assert_string_equal(reason, "duplicate_member");
}

static void text_of_a_string_is_decoded(void **state)
{
    static const struct {
        const char *raw, *text;
    } cases[] = {
        {"\"\"", ""},
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"a\\nb\\nc\"", "a\nb\nc"},
        {"\"\\u0001\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
         "\x01\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
        {"\"\\u00AF\\u00af\\uFaBc\\uABCD\"", "\xc2\xaf\xc2\xaf\xef\xaa\xbc\xea\xaf\x8d"},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
        {"\"\\uD83D\\uDE80x\"", "\xf0\x9f\x9a\x80x"},
        {"\"\xc3\xa9\\u00e9\"", "\xc3\xa9\xc3\xa9"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice raw = slice_of(cases[i].raw);
        struct buf text;
        buf_init(&text, raw.len);
        assert_true(json_is_text(raw));
        json_text(raw, &text);
        assert_false(text.failed);
        assert_true(slice_eq_cstr(buf_slice(&text), cases[i].text));
        assert_true(text.len <= raw.len - 2);
        buf_fini(&text);
    }
}

static void escapes_in_capitals_are_read_as_such(void **state)
{
    struct slice m[MEMBERS];
    const char *reason;
    assert_true(
        json_scan(SLICE("{\"x\":\"\\uD83D\\uDE80\\uABCD\\uEF00\"}"), &top, m, MEMBERS, &reason));
    assert_false(json_scan(SLICE("{\"x\":\"\\u00G0\"}"), &top, m, MEMBERS, &reason));
    assert_false(json_scan(SLICE("{\"x\":\"\\u00`0\"}"), &top, m, MEMBERS, &reason));
    assert_false(json_scan(SLICE("{\"x\":\"\\u00@0\"}"), &top, m, MEMBERS, &reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_a_nested_table_are_found_where_it_says),
        cmocka_unit_test(text_of_a_string_is_decoded),
        cmocka_unit_test(escapes_in_capitals_are_read_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
