/* Errors: messages that are always terminated, classes that have a word. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "tests/lib/cmocka.h"

static void set_fills_all_and_says_failure(void **state)
{
    struct err e;
    memset(&e, 0x5a, sizeof e);
    assert_int_equal(err_set(&e, ERR_THROTTLED, 429, "%s said %d", "GitHub", 429), -1);
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.code, 429);
    assert_int_equal(e.retry_after_ms, 0);
    assert_string_equal(e.message, "GitHub said 429");
}

static void long_message_is_cut_and_terminated(void **state)
{
    struct err e;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&e, ERR_RETRY, 0, "%s", text);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
    err_wrap(&e, "%s", text);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
    err_errno(&e, ERR_RETRY, ENOENT, "%s", text);
    assert_non_null(strstr(e.message, "No such file"));
}

static void set_may_quote_the_message_it_replaces(void **state)
{
    struct err e;
    err_set(&e, ERR_RETRY, 1, "disk full");
    err_set(&e, ERR_PERMANENT, 2, "gave up: %s", e.message);
    assert_string_equal(e.message, "gave up: disk full");
}

static void errno_is_explained_and_kept_as_code(void **state)
{
    struct err e;
    assert_int_equal(err_errno(&e, ERR_NOT_FOUND, ENOENT, "cannot open %s", "/x"), -1);
    assert_int_equal(e.code, ENOENT);
    assert_string_equal(e.message, "cannot open /x: No such file or directory");
}

static void wrap_puts_context_before_and_keeps_the_rest(void **state)
{
    struct err e;
    err_set(&e, ERR_THROTTLED, 403, "slow down");
    e.retry_after_ms = 60000;
    assert_int_equal(err_wrap(&e, "runner %d", 7), -1);
    assert_string_equal(e.message, "runner 7: slow down");
    assert_int_equal(e.class, ERR_THROTTLED);
    assert_int_equal(e.code, 403);
    assert_int_equal(e.retry_after_ms, 60000);
}

static void each_class_has_its_word(void **state)
{
    for (int i = ERR_NONE; i <= ERR_CONFLICT; i++) {
        assert_string_not_equal(err_class_name((enum err_class)i), "unknown");
        for (int k = ERR_NONE; k < i; k++) {
            assert_string_not_equal(err_class_name((enum err_class)i),
                                    err_class_name((enum err_class)k));
        }
    }
    assert_string_equal(err_class_name(ERR_NOT_FOUND), "not_found");
    assert_string_equal(err_class_name((enum err_class)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_all_and_says_failure),
        cmocka_unit_test(long_message_is_cut_and_terminated),
        cmocka_unit_test(set_may_quote_the_message_it_replaces),
        cmocka_unit_test(errno_is_explained_and_kept_as_code),
        cmocka_unit_test(wrap_puts_context_before_and_keeps_the_rest),
        cmocka_unit_test(each_class_has_its_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
