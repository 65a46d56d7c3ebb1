/* What a person types into `mayflyctl shell`. */
#include <string.h>

#include "deploy/ctl/shell/session.h"
#include "tests/lib/cmocka.h"

/* What is passed on of these pieces, ended by NULL; NULL if the session ends. */
static const char *pass_on(const char *const *pieces)
{
    static char all[256];
    struct shell_keys k = {.in_line = false};
    size_t len = 0;
    for (; *pieces != NULL; pieces++) {
        size_t n;
        if (!shell_keys_take(&k, slice_of(*pieces), all + len, &n)) {
            return NULL;
        }
        len += n;
    }
    all[len] = '\0';
    return all;
}

static void text_is_passed_on(void **state)
{
    (void)state;
    assert_string_equal(pass_on((const char *[]){"ls -l ~.\r", "a~", ".\r", NULL}),
                        "ls -l ~.\ra~.\r");
}

static void tilde_and_dot_at_line_start_end_it(void **state)
{
    (void)state;
    assert_null(pass_on((const char *[]){"~.", NULL}));
    assert_null(pass_on((const char *[]){"ls\r", "~", ".", NULL}));
    assert_null(pass_on((const char *[]){"ls\n~.", NULL}));
}

static void other_keys_after_a_tilde_are_passed_on(void **state)
{
    (void)state;
    assert_string_equal(pass_on((const char *[]){"~/bin/x\r", NULL}), "~/bin/x\r");
    assert_string_equal(pass_on((const char *[]){"~", "~.\r", NULL}), "~.\r");
    assert_string_equal(pass_on((const char *[]){"~\r", "x", NULL}), "~\rx");
}

static void bracket_ends_it_anywhere(void **state)
{
    (void)state;
    assert_null(pass_on((const char *[]){"half a line\x1d", NULL}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_passed_on),
        cmocka_unit_test(tilde_and_dot_at_line_start_end_it),
        cmocka_unit_test(other_keys_after_a_tilde_are_passed_on),
        cmocka_unit_test(bracket_ends_it_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
