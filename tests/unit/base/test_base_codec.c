/* Hex, base64, percent-encoding: published vectors, and the strictness of the decoders. */
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "tests/lib/cmocka.h"

static void hex_is_lower_case_and_comes_back(void **state)
{
    char text[9];
    unsigned char bytes[4] = {0x00, 0x7f, 0xab, 0xff};
    unsigned char back[4];
    codec_hex(bytes, 4, text);
    assert_string_equal(text, "007fabff");
    assert_true(codec_unhex(SLICE("007FabFf"), back, 4));
    assert_memory_equal(bytes, back, 4);
}

static void unhex_refuses_all_but_exact_digits(void **state)
{
    static const char *const bad[] = {"",         "007fab",   "007fabff0",
                                      "007fabfg", "0x7fabff", "007fab f"};
    unsigned char out[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(codec_unhex(slice_of(bad[i]), out, 4));
    }
    assert_memory_equal(out, "\1\2\3\4", 4);
}

/* RFC 4648, section 10. */
static const char *const vectors[][2] = {{"", ""},
                                         {"f", "Zg=="},
                                         {"fo", "Zm8="},
                                         {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="},
                                         {"fooba", "Zm9vYmE="},
                                         {"foobar", "Zm9vYmFy"}};

static void base64_gives_the_published_vectors_both_ways(void **state)
{
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct buf b;
        buf_init(&b, 100);
        codec_base64(&b, slice_of(vectors[i][0]));
        assert_true(slice_eq_cstr(buf_slice(&b), vectors[i][1]));
        buf_reset(&b);
        assert_true(codec_unbase64(&b, slice_of(vectors[i][1])));
        assert_true(slice_eq_cstr(buf_slice(&b), vectors[i][0]));
        buf_fini(&b);
    }
}

static void base64url_has_its_alphabet_and_no_padding(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    codec_base64url(&b, SLICE("\xfb\xff\xfe"));
    buf_append_byte(&b, ' ');
    codec_base64url(&b, SLICE("f"));
    assert_string_equal(b.data, "-__- Zg");
    buf_reset(&b);
    codec_base64(&b, SLICE("\xfb\xff\xfe"));
    assert_string_equal(b.data, "+//+");
    buf_fini(&b);
}

static void every_byte_survives_base64(void **state)
{
    char bytes[256];
    struct buf text;
    struct buf back;
    buf_init(&text, 1000);
    buf_init(&back, 1000);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)i;
    }
    codec_base64(&text, (struct slice){bytes, sizeof bytes});
    assert_true(codec_unbase64(&back, buf_slice(&text)));
    assert_int_equal(back.len, sizeof bytes);
    assert_memory_equal(back.data, bytes, sizeof bytes);
    buf_fini(&text);
    buf_fini(&back);
}

static void unbase64_refuses_what_is_not_canonical(void **state)
{
    static const struct slice bad[] = {
        {"Zg", 2},    {"Zg=", 3},  {"Z===", 4}, {"====", 4},   {"Zg==Zg==", 8},
        {"Zh==", 4},  {"Zm9=", 4}, {"Zm 9", 4}, {"Zm9v\n", 5}, {"-__-", 4},
        {"Zm\0v", 4}, {"Zm=v", 4}, {"=m9v", 4},
    };
    struct buf b;
    buf_init(&b, 100);
    buf_append_cstr(&b, "before");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(codec_unbase64(&b, bad[i]));
        assert_int_equal(b.len, 6);
    }
    /* The good groups before the bad one are taken back, and the text is terminated there. */
    assert_false(codec_unbase64(&b, SLICE("Zm9vZm9v!!!!")));
    assert_string_equal(b.data, "before");
    buf_fini(&b);
}

static void unbase64_past_the_ceiling_fails(void **state)
{
    struct buf b;
    buf_init(&b, 4);
    assert_false(codec_unbase64(&b, SLICE("Zm9vYmFy")));
    assert_int_equal(b.len, 0);
    assert_true(b.failed);
    buf_fini(&b);
}

static void percent_leaves_only_unreserved_characters(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    codec_percent(&b, SLICE("aZ09-._~ /:?\xc3\xa4%+"));
    assert_string_equal(b.data, "aZ09-._~%20%2F%3A%3F%C3%A4%25%2B");
    buf_fini(&b);
}

static void percent_text_is_decoded_and_a_plus_is_itself(void **state)
{
    char out[8];
    assert_true(codec_unpercent(SLICE("a+%2b%2F%c3"), out, sizeof out));
    assert_string_equal(out, "a++/\xc3");
    assert_true(codec_unpercent(SLICE(""), out, sizeof out));
    assert_string_equal(out, "");
    assert_true(codec_unpercent(SLICE("%31234567"), out, sizeof out));
    assert_string_equal(out, "1234567");
}

static void percent_text_that_is_bad_or_too_long_is_refused(void **state)
{
    static const struct slice bad[] = {{"%", 1},   {"a%2", 3}, {"%zz", 3},      {"%2g", 3},
                                       {"%00", 3}, {"a\0", 2}, {"12345678", 8}, {"%2B2", 2}};
    char out[8];
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(codec_unpercent(bad[i], out, sizeof out));
    }
}

static void form_text_is_decoded(void **state)
{
    struct buf b;
    buf_init(&b, 100);
    assert_true(codec_unform(&b, SLICE("a+b%2B%7b%7D%00")));
    assert_true(slice_eq(buf_slice(&b), SLICE("a b+{}\0")));
    buf_fini(&b);
}

static void form_text_with_a_bad_escape_leaves_nothing(void **state)
{
    static const char *const bad[] = {"abc%", "abc%2", "abc%2g", "%%41"};
    struct buf b;
    buf_init(&b, 100);
    buf_append_cstr(&b, "before");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(codec_unform(&b, slice_of(bad[i])));
        assert_string_equal(b.data, "before");
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_is_lower_case_and_comes_back),
        cmocka_unit_test(unhex_refuses_all_but_exact_digits),
        cmocka_unit_test(base64_gives_the_published_vectors_both_ways),
        cmocka_unit_test(base64url_has_its_alphabet_and_no_padding),
        cmocka_unit_test(every_byte_survives_base64),
        cmocka_unit_test(unbase64_refuses_what_is_not_canonical),
        cmocka_unit_test(unbase64_past_the_ceiling_fails),
        cmocka_unit_test(percent_leaves_only_unreserved_characters),
        cmocka_unit_test(percent_text_is_decoded_and_a_plus_is_itself),
        cmocka_unit_test(percent_text_that_is_bad_or_too_long_is_refused),
        cmocka_unit_test(form_text_is_decoded),
        cmocka_unit_test(form_text_with_a_bad_escape_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
