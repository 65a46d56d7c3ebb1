/* `mayflyctl why` of a run, and of a number that nobody here knows. */
#include "tests/lib/cmocka.h"

#include <string.h>

#include "common/ledger/kinds.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"
#include "tests/unit/ctl/why_bed.h"

/* Not by its number alone, which no call of GitHub's takes. */
static void number_is_looked_for_where_jobs_were(void **state)
{
    struct err e;
    json_t *answer = NULL;
    (void)state;
    (void)why_bed_at_github("queued", "gpu");
    (void)snprintf(why_bed_given, sizeof why_bed_given, "7");
    MUST(ctl_why(&why_bed_ctl, &answer, &e));
    assert_string_equal(ctl_str(answer, "reason"), "unknown_job");
    assert_non_null(strstr(ctl_str(answer, "sentence"), "give the URL of the job"));
    json_decref(answer);
    MUST(ledger_cell_put(why_bed_ctl.ledger, LEDGER_KIND_REPOSITORY, "acme/app", "11 1800000000000",
                         0, NULL, &e));
    MUST(ctl_why(&why_bed_ctl, &answer, &e));
    assert_string_equal(ctl_str(answer, "reason"), "labels_not_matched");
    json_decref(answer);
}

static void run_is_shown_job_by_job(void **state)
{
    static const char *const asked[] = {"7", "https://github.com/acme/app/actions/runs/7"};
    struct err e;
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        json_t *answer = NULL;
        assert_int_equal(why_bed_tear_down(state) + why_bed_set_up(state), 0);
        struct job_event ev = why_bed_event(i == 0 ? 70 : 7, JOB_ACTION_QUEUED, "small");
        ev.job.run_id = 7;
        why_bed_apply(&ev);
        (void)scripted_github_add_job(7, "queued");
        (void)snprintf(why_bed_given, sizeof why_bed_given, "%s", asked[i]);
        MUST(ctl_why(&why_bed_ctl, &answer, &e));
        const json_t *jobs = json_object_get(answer, "jobs");
        assert_int_equal(json_array_size(jobs), 1);
        assert_int_equal(ctl_int(json_array_get(jobs, 0), "job"), ev.job.id);
        assert_string_equal(ctl_str(json_array_get(jobs, 0), "reason"), "no_live_worker");
        assert_int_equal(why_bed_ctl.exit_code, WHY_NEEDS_A_PERSON);
        json_decref(answer);
    }
}

static void run_that_nobody_knows_is_an_error(void **state)
{
    struct err e;
    json_t *answer = NULL;
    (void)state;
    (void)snprintf(why_bed_given, sizeof why_bed_given,
                   "https://github.com/acme/app/actions/runs/9");
    must_fail_saying(ctl_why(&why_bed_ctl, &answer, &e), &e, ERR_NOT_FOUND, "run 9: none of its");
    assert_int_equal(why_bed_ctl.exit_code, WHY_UNKNOWN);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, why_bed_set_up, why_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(number_is_looked_for_where_jobs_were),
        CASE(run_is_shown_job_by_job),
        CASE(run_that_nobody_knows_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
