

#include <jansson.h>
#include <string.h>

#include "common/github/webhook_scan.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/github/webhook_body.h"

static const char *reason_of(struct slice text)
{
    struct webhook_scan scan;
    const char *reason = "";
    return webhook_scan(text, &scan, &reason) ? "accepted" : reason;
}

static void scan_githubs_body_finds_every_member(void **state)
{
    struct webhook_scan scan;
    struct buf body;
    const char *reason = "";
    const struct webhook_body queued = webhook_body_queued();
    buf_init(&body, 65536);
    webhook_body_append(&body, &queued);
    assert_true(webhook_scan(buf_slice(&body), &scan, &reason));
    assert_true(slice_eq_cstr(scan.member[MEMBER_ACTION], "\"queued\""));
    assert_true(slice_eq_cstr(scan.member[MEMBER_JOB_ID], "100520616165"));
    assert_true(slice_eq_cstr(scan.member[MEMBER_JOB_RUN_ID], "33714470481"));
    assert_true(slice_eq_cstr(scan.member[MEMBER_JOB_LABELS], queued.labels));
    assert_true(slice_eq_cstr(scan.member[MEMBER_JOB_NAME], queued.name));
    assert_true(slice_eq_cstr(scan.member[MEMBER_JOB_WORKFLOW_NAME], queued.workflow_name));
    assert_true(slice_eq_cstr(scan.member[MEMBER_REPOSITORY_FULL_NAME], "\"octo-org/octo-repo\""));
    assert_true(slice_eq_cstr(scan.member[MEMBER_ORGANIZATION_LOGIN], "\"octo-org\""));
    assert_true(slice_eq_cstr(scan.member[MEMBER_INSTALLATION_ID], "6003001"));
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        assert_non_null(scan.member[i].ptr);
    }
    buf_fini(&body);
}

/* Every text cut short, and every text with one byte changed, is judged as jansson judges it, or
 * more strictly. */
static void scan_damaged_body_is_never_laxer_than_jansson(void **state)
{
    static const char marks[] = {'\0', '"', '\\', '{', ']', ',', '9', 'e', (char)0xc3, (char)0xff};
    const char text[] = "{\"action\":\"a\\u00e9\",\"workflow_job\":{\"id\":-0.5e3,\"labels\":[true,"
                        "\"\xc3\xa9\"]},\"n\":[1E+2,0,null,false,{}],\"installation\":{\"id\":12}}";
    char copy[sizeof text];
    size_t accepted = 0;
    for (size_t at = 0; at < sizeof text - 1; at++) {
        for (size_t m = 0; m <= sizeof marks; m++) {
            size_t len = m == sizeof marks ? at : sizeof text - 1;
            memcpy(copy, text, sizeof text);
            copy[at] = m == sizeof marks ? copy[at] : marks[m];
            if (strcmp(reason_of((struct slice){copy, len}), "accepted") == 0) {
                json_t *whole = json_loadb(copy, len, 0, NULL);
                assert_true(json_is_object(whole));
                json_decref(whole);
                accepted++;
            }
        }
    }
    assert_true(accepted > 50);
}

static void scan_what_jansson_refuses_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "[]",
        "null",
        "\"x\"",
        "{",
        "{}}",
        "{} x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":\"\x01\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\xc0\x80\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf4\x90\x80\x80\"}",
        "{\"a\":\"\xe2\x82\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":nul}",
        "{\"a\":nullx}",
        "{\"a\":True}",
        "\xef\xbb\xbf{}",
        "{\"a\":\"unended",
        "{\"a\":\"unended\\",
        "{\"a\":\"unended\\u",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        json_t *whole = json_loads(texts[i], 0, NULL);
        assert_false(json_is_object(whole));
        json_decref(whole);
        assert_string_not_equal(reason_of(slice_of(texts[i])), "accepted");
    }
}

static void scan_a_nul_in_the_text_is_refused(void **state)
{
    static const char in_string[] = "{\"a\":\"b\0c\"}";
    static const char behind[] = "{}\0";
    assert_string_equal(reason_of((struct slice){in_string, sizeof in_string - 1}), "not_json");
    assert_string_equal(reason_of((struct slice){behind, sizeof behind - 1}), "not_json");
}

static void scan_odd_but_valid_is_accepted(void **state)
{
    static const char *const texts[] = {
        "{}",
        " \t\r\n{ } \n",
        "{\"\":{\"\":[]}}",
        "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
        "{\"a\":-0,\"b\":0.0,\"c\":1e-999999999,\"d\":1E5}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude80\x7f\"}",
        "{\"x\":1,\"x\":2}",
        "{\"workflow_job\":{\"steps\":[{\"id\":1,\"id\":2}]}}",
        "{\"workflow_job\":null,\"repository\":[],\"installation\":7}",
        /* jansson refuses these, and JSON does not. */
        "{\"a\":1e400,\"b\":-1e400,\"c\":9223372036854775808,\"d\":-99999999999999999999}",
        "{\"a\":\"\\u0000\",\"\\u0000\":1}",
        "{\"a\":\"\\ud800\",\"b\":\"\\ud800\\ud800\",\"c\":\"\\udc00\",\"d\":\"\\ud800x\"}",
        "{\"workflow_job\":{\"id\":99999999999999999999}}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_string_equal(reason_of(slice_of(texts[i])), "accepted");
    }
}

static void scan_wanted_member_twice_is_refused(void **state)
{
    static const char *const texts[] = {
        "{\"action\":\"queued\",\"action\":\"completed\"}",
        "{\"workflow_job\":{\"id\":1,\"id\":2}}",
        "{\"workflow_job\":{},\"workflow_job\":null}",
        "{\"repository\":{\"full_name\":\"a/b\",\"full_name\":\"c/d\"}}",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_string_equal(reason_of(slice_of(texts[i])), "duplicate_member");
    }
}

static void scan_escaped_key_is_the_key_that_it_says(void **state)
{
    struct webhook_scan scan;
    const char *reason = "";
    assert_true(webhook_scan(SLICE("{\"\\u0061ct\\u0069on\":1,\"workflow_job\":{\"i\\u0064\":2},"
                                   "\"acti\\u006Fn\\n\":3,\"\\u0161ction\":4,\"actio\\/\":5,"
                                   "\"sender\":{\"\\u0069d\":6}}"),
                             &scan, &reason));
    assert_true(slice_eq_cstr(scan.member[MEMBER_ACTION], "1"));
    assert_true(slice_eq_cstr(scan.member[MEMBER_JOB_ID], "2"));
    assert_string_equal(reason_of(SLICE("{\"action\":1,\"\\u0061ction\":1}")), "duplicate_member");
}

static void scan_same_keys_elsewhere_are_not_taken(void **state)
{
    struct webhook_scan scan;
    const char *reason = "";
    assert_true(
        webhook_scan(SLICE("{\"sender\":{\"workflow_job\":{\"id\":1},\"action\":2},\"id\":3,"
                           "\"workflow_job\":[{\"id\":4}],\"full_name\":\"a/b\"}"),
                     &scan, &reason));
    assert_null(scan.member[MEMBER_ACTION].ptr);
    assert_null(scan.member[MEMBER_JOB_ID].ptr);
    assert_null(scan.member[MEMBER_REPOSITORY_FULL_NAME].ptr);
    assert_non_null(scan.member[MEMBER_JOB].ptr);
}

static void scan_too_deep_is_refused(void **state)
{
    struct buf text;
    buf_init(&text, 4096);
    for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX; depth++) {
        buf_reset(&text);
        buf_append_cstr(&text, "{\"a\":");
        for (int i = 0; i < depth; i++) {
            buf_append_byte(&text, '[');
        }
        for (int i = 0; i < depth; i++) {
            buf_append_byte(&text, ']');
        }
        buf_append_byte(&text, '}');
        assert_string_equal(reason_of(buf_slice(&text)),
                            depth < JSON_DEPTH_MAX ? "accepted" : "too_deep");
    }
    buf_fini(&text);
}

/* Strings of every length, so that every way out of the wide steps is taken, with each byte that
 * needs a look at each place. */
static void scan_special_byte_at_every_place_is_seen(void **state)
{
    static const char specials[] = {'"', '\\', 0x1f, '\n', (char)0x80, (char)0xff};
    char text[128] = "{\"a\":\"";
    for (size_t len = 0; len < 80; len++) {
        memset(text + 6, 'x', len);
        memcpy(text + 6 + len, "\"}", 2);
        assert_string_equal(reason_of((struct slice){text, len + 8}), "accepted");
        for (size_t at = 0; at < len; at++) {
            for (size_t k = 0; k < sizeof specials; k++) {
                text[6 + at] = specials[k];
                assert_string_equal(reason_of((struct slice){text, len + 8}), "not_json");
            }
            text[6 + at] = 'x';
        }
    }
}

static void scan_strings_lists_elements(void **state)
{
    struct slice found[4];
    size_t n = 0;
    assert_true(json_scan_strings(SLICE("[ \"a\" , \"\" ,\"c\\\"]\"]"), found, 4, &n));
    assert_int_equal(n, 3);
    assert_true(slice_eq_cstr(found[2], "\"c\\\"]\""));
    assert_true(json_scan_strings(SLICE("[ ]"), found, 4, &n));
    assert_int_equal(n, 0);
    assert_false(json_scan_strings(SLICE("[\"a\",1]"), found, 4, &n));
    assert_false(json_scan_strings(SLICE("\"a\""), found, 4, &n));
    assert_false(json_scan_strings(SLICE("[\"a\",\"b\"]"), found, 1, &n));
    assert_false(json_scan_strings((struct slice){NULL, 0}, found, 4, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_githubs_body_finds_every_member),
        cmocka_unit_test(scan_damaged_body_is_never_laxer_than_jansson),
        cmocka_unit_test(scan_what_jansson_refuses_is_refused),
        cmocka_unit_test(scan_a_nul_in_the_text_is_refused),
        cmocka_unit_test(scan_odd_but_valid_is_accepted),
        cmocka_unit_test(scan_wanted_member_twice_is_refused),
        cmocka_unit_test(scan_escaped_key_is_the_key_that_it_says),
        cmocka_unit_test(scan_same_keys_elsewhere_are_not_taken),
        cmocka_unit_test(scan_too_deep_is_refused),
        cmocka_unit_test(scan_special_byte_at_every_place_is_seen),
        cmocka_unit_test(scan_strings_lists_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
