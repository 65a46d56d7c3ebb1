/* The options of a store's URL. */
#include <string.h>

#include "common/base/url_options.h"
#include "tests/lib/cmocka.h"

static struct values {
    int64_t number;
    int64_t wait_ms;
    char text[8];
    char word[4];
    char other[16];
} v;

static int take_other(void *arg, struct slice name, struct slice value, struct err *e)
{
    struct values *into = arg;
    if (!slice_starts_with(name, SLICE("lane."))) {
        return 1;
    }
    return slice_to_cstr(value, into->other, sizeof into->other)
               ? 0
               : err_set(e, ERR_PERMANENT, 0, "its own refusal");
}

static int read_options(const char *query, struct err *e)
{
    const struct url_option known[] = {
        {.name = "number", .number = &v.number, .least = 1, .most = 20},
        {.name = "wait", .duration_ms = &v.wait_ms, .least = 100, .most = 60000},
        {.name = "text", .text = v.text, .size = sizeof v.text},
        {.name = "word", .text = v.word, .size = sizeof v.word, .identifier = true}};
    const struct url_options o = {.store = "Test",
                                  .known = known,
                                  .count = COUNT_OF(known),
                                  .other = take_other,
                                  .arg = &v,
                                  .others = "lane.<name>"};
    v = (struct values){.number = 7, .wait_ms = 5000};
    return url_options_read(slice_of(query), &o, e);
}

static void good_options_are_taken(void **state)
{
    struct err e;
    assert_int_equal(read_options("", &e), 0);
    assert_int_equal(v.number, 7);
    assert_int_equal(v.wait_ms, 5000);
    assert_int_equal(read_options("wait=250ms", &e), 0);
    assert_int_equal(v.wait_ms, 250);
    assert_int_equal(read_options("&number=20&&text=a%2Fb+c&word=x-1&lane.x=q=1&", &e), 0);
    assert_int_equal(v.number, 20);
    assert_string_equal(v.text, "a/b+c");
    assert_string_equal(v.word, "x-1");
    assert_string_equal(v.other, "q=1");
    assert_int_equal(read_options("number=1&text", &e), 0);
    assert_int_equal(v.number, 1);
    assert_string_equal(v.text, "");
    assert_int_equal(read_options("number=1&number=2", &e), 0);
    assert_int_equal(v.number, 2);
}

static void bad_options_are_refused_by_name_without_their_value(void **state)
{
    static const struct {
        const char *query;
        const char *says;
    } bad[] = {
        {"number=0", "the Test URL's number must be a number from 1 to 20"},
        {"number=21", "the Test URL's number must be a number from 1 to 20"},
        {"number=", "the Test URL's number must be a number from 1 to 20"},
        {"number=5x", "the Test URL's number must be a number from 1 to 20"},
        {"wait=5", "the Test URL's wait has no unit: write a number and its unit (ms, s, m, "
                   "h or d), such as 5s, 1.5h or 1h30m, from 100ms to 1m"},
        {"wait=61s", "the Test URL's wait must be from 100ms to 1m"},
        {"text=12345678", "the Test URL's text is too long or has a bad %XX"},
        {"text=%zz", "the Test URL's text is too long or has a bad %XX"},
        {"word=", "the Test URL's word must have 1 to 3 letters, digits, '.', '_' or '-'"},
        {"word=a%20", "the Test URL's word must have 1 to 3 letters, digits, '.', '_' or '-'"},
        {"lane.x=0123456789abcdef", "its own refusal"},
        {"text=a&nothing=secret",
         "the Test URL has no option \"nothing\": known are number, wait, text, word, lane.<name>"},
        {"=1", "the Test URL has no option \"\": known are number, wait, text, word, lane.<name>"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e;
        assert_int_equal(read_options(bad[i].query, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_string_equal(e.message, bad[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_options_are_taken),
        cmocka_unit_test(bad_options_are_refused_by_name_without_their_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
