/* Lines for a screen: how wide a text is, where it is cut, what colour does to it. */
#include <stdlib.h>
#include <string.h>

#include "deploy/ctl/cli/screen.h"
#include "tests/lib/cmocka.h"

static void width_counts_columns(void **state)
{
    assert_int_equal(screen_width(SLICE("")), 0);
    assert_int_equal(screen_width(SLICE("abc")), 3);
    assert_int_equal(screen_width(SLICE("für")), 3);
    assert_int_equal(screen_width(SLICE("日本")), 4);
    assert_int_equal(screen_width(SLICE("e\xcc\x81")), 1); /* a combining accent */
    assert_int_equal(screen_width(SLICE("🚀x")), 3);
    assert_int_equal(screen_width(SLICE("\033[31mred\033[0m")), 3);
    assert_int_equal(screen_width(SLICE("\xef\xbf\xbd")), 1); /* what stands for no UTF-8 */
}

static void assert_fit(const char *text, size_t columns, const char *expected)
{
    struct buf out;
    buf_init(&out, 256);
    screen_fit(&out, slice_of(text), columns);
    assert_string_equal(out.data, expected);
    assert_true(columns == 0 || screen_width(buf_slice(&out)) <= columns);
    buf_fini(&out);
}

static void long_text_is_cut_with_an_ellipsis(void **state)
{
    assert_fit("abcdef", 6, "abcdef");
    assert_fit("abcdef", 0, "abcdef");
    assert_fit("abcdef", 5, "abcd…");
    assert_fit("abcdef", 1, "…");
    assert_fit("日本語", 5, "日本…");
    assert_fit("日本語", 4, "日…"); /* no half of a character */
    assert_fit("\033[31mabcdef\033[0m", 3, "\033[31mab…\033[0m");
}

static void environment_gives_width_and_no_terminal_no_colour(void **state)
{
    struct screen s;
    setenv("COLUMNS", "9", 1);
    screen_init(&s);
    assert_int_equal(s.columns, 9);
    screen_add(&s, STYLE_BAD, "bad\033[2J %s", "text");
    screen_end_line(&s);
    assert_string_equal(s.out.data, "bad\\u001…\n");
    screen_fini(&s);
    setenv("COLUMNS", "wide", 1);
    screen_init(&s);
    assert_int_equal(s.columns, 0);
    screen_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(width_counts_columns),
        cmocka_unit_test(long_text_is_cut_with_an_ellipsis),
        cmocka_unit_test(environment_gives_width_and_no_terminal_no_colour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
