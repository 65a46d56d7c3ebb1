#include "deploy/ctl/ctl.h"
#include "tests/lib/cmocka.h"

static void job_is_read_from_an_id_or_a_url(void **state)
{
    static const struct {
        const char *given;
        int64_t id; /* 0: refused */
    } cases[] = {
        {"1", 1},
        {"100520616165", 100520616165},
        {"https://github.com/octo/app/actions/runs/42/job/100520616165", 100520616165},
        {"https://github.com/octo/app/actions/runs/42/job/7?pr=3", 7},
        {"https://github.com/octo/app/actions/runs/42/job/7#step:3:14", 7},
        {"https://github.com/octo/app/actions/runs/42/job/7/", 7},
        {"https://ghe.example.com/octo/job/actions/runs/42/job/7", 7},
        {"https://api.github.com/repos/octo/app/actions/jobs/9", 9},
        {"https://api.github.com/repos/octo/job/actions/jobs/9", 9},
        {"https://github.com/octo/app/actions/runs/42/job/77?next=/job/88", 77},
        {"https://github.com/octo/app/actions/runs/42#/job/88", 0},
        {"https://github.com/octo/app/actions/runs/42", 0},
        {"https://github.com/octo/app/actions/runs/42/job/", 0},
        {"https://github.com/octo/app/actions/runs/42/job/x7", 0},
        {"", 0},
        {"0", 0},
        {"-5", 0},
        {"7x", 0},
        {"99999999999999999999", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err e = {0};
        int64_t id = -1;
        int rc = ctl_read_job(cases[i].given, &id, &e);
        assert_int_equal(rc, cases[i].id > 0 ? 0 : -1);
        assert_int_equal(id, cases[i].id > 0 ? cases[i].id : -1);
        assert_int_equal(e.class, cases[i].id > 0 ? ERR_NONE : ERR_PERMANENT);
    }
}

static void text_is_kept_except_what_is_no_utf8(void **state)
{
    json_t *text = ctl_text("job \033\n\xff ü \"\\");
    assert_string_equal(json_string_value(text), "job \033\n\xef\xbf\xbd ü \"\\");
    json_decref(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_is_read_from_an_id_or_a_url),
        cmocka_unit_test(text_is_kept_except_what_is_no_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
