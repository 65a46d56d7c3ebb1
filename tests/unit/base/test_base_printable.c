/* Text of others: nothing of it acts on a terminal or deceives a reader. */
#include <stdlib.h>
#include <string.h>

#include "common/base/printable.h"
#include "tests/lib/cmocka.h"

/* ESC, BEL, newline, DEL, C1's CSI (U+009B), RLO (U+202E), and a byte that is no UTF-8. */
#define HOSTILE "\x1b[2J\a\n\x7f\xc2\x9b\xe2\x80\xae\xff."
#define SHOWN "\\u001b[2J\\u0007\\n\\u007f\\u009b\\u202e\xef\xbf\xbd."

static void assert_shown(struct slice in, const char *expected)
{
    struct buf b;
    buf_init(&b, 1000);
    printable_append(&b, in);
    buf_append_byte(&b, '|');
    assert_memory_equal(b.data, expected, strlen(expected));
    assert_int_equal(b.len, strlen(expected) + 1);
    buf_fini(&b);
}

static void control_characters_are_escaped(void **state)
{
    assert_shown(SLICE(HOSTILE), SHOWN);
    assert_shown(SLICE("\t\r\b\f\0"), "\\t\\r\\b\\f\\u0000");
}

static void all_of_c1_and_of_bidirectional_text_are_escaped(void **state)
{
    static const unsigned ranges[][2] = {{0x80, 0x9f},     {0x61c, 0x61c},   {0x200e, 0x200f},
                                         {0x2028, 0x202e}, {0x2066, 0x2069}, {0, 0}};
    for (size_t i = 0; ranges[i][0] != 0; i++) {
        for (unsigned c = ranges[i][0]; c <= ranges[i][1]; c++) {
            char two[] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
            char three[] = {(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)),
                            (char)(0x80 | (c & 0x3f))};
            char expected[8];
            (void)snprintf(expected, sizeof expected, "\\u%04x", c);
            assert_shown(c < 0x800 ? (struct slice){two, 2} : (struct slice){three, 3}, expected);
        }
    }
}

static void what_is_harmless_stays(void **state)
{
    static const char *const texts[] = {
        "",
        " !\"\\~",
        "\xc2\xa0\xc3\xbc\xd8\x9b\xd8\x9d", /* beside C1, beside U+061C */
        "\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
        "\xf0\x9f\x90\x9b",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_shown(slice_of(texts[i]), texts[i]);
    }
}

static void json_string_escapes_the_same(void **state)
{
    struct buf b;
    buf_init(&b, 1000);
    buf_append_json(&b, SLICE(HOSTILE));
    assert_string_equal(b.data, "\"" SHOWN "\"");
    buf_fini(&b);
}

static void line_stays_one_line_and_lines_stay_lines(void **state)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    printable_line(to, "a%sb", HOSTILE);
    printable_line(to, "%s", "");
    printable_lines(to, SLICE("c\x1b\nd"));
    assert_int_equal(fclose(to), 0);
    assert_string_equal(text, "a" SHOWN "b\n\nc\\u001b\nd\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(all_of_c1_and_of_bidirectional_text_are_escaped),
        cmocka_unit_test(what_is_harmless_stays),
        cmocka_unit_test(json_string_escapes_the_same),
        cmocka_unit_test(line_stays_one_line_and_lines_stay_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
