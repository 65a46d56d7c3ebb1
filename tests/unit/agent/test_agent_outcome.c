/* What the runner's lines and exit code say about its end. */
#include <string.h>

#include "common/base/attr.h"
#include "deploy/image/agent/agent_outcome.h"
#include "tests/lib/cmocka.h"

#define LINES_MAX 6

struct end {
    const char *lines[LINES_MAX];
    int exit_code;
    int want_code;
    const char *want;
};

static void expect_ends(const struct end *ends, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct agent_outcome o;
        int code = -1;
        agent_outcome_init(&o);
        for (size_t k = 0; k < LINES_MAX && ends[i].lines[k] != NULL; k++) {
            (void)agent_outcome_line(&o, slice_of(ends[i].lines[k]));
        }
        const char *reason = agent_reason_name(agent_outcome_of(&o, ends[i].exit_code, &code));
        assert_string_equal(reason, ends[i].want);
        assert_int_equal(code, ends[i].want_code);
    }
}

static void job_done_needs_a_job(void **state)
{
    static const struct end ends[] = {
        {{"Listening for Jobs", "2026-11-20 18:12:03Z: Running job: a",
          "2026-11-20 18:12:09Z: Job a completed with result: Failed"},
         0,
         0,
         "job-done"},
        {{"Running job: a", "Job a completed with result: Succeeded"}, 1, 1, "job-done"},
        {{"Listening for Jobs"}, 0, 0, "no-job"},
        {{NULL}, 0, 0, "no-job"},
    };
    expect_ends(ends, COUNT_OF(ends));
}

static void end_before_a_job_has_its_own_reason(void **state)
{
    static const struct end ends[] = {
        {{NULL}, 127, 127, "runner-failed"},
        {{"helper: exit with terminated error, no retry"}, 0, 1, "runner-failed"},
        {{"helper: unknown error code: 134"}, 0, 134, "runner-failed"},
        {{"helper: unknown error code: 137 "}, 0, 137, "runner-killed"},
        {{"Listening for Jobs"}, 137, 137, "runner-killed"},
        {{"helper: unknown error code: many"}, 0, 0, "no-job"},
        {{"helper: unknown error code: 99999"}, 0, 0, "no-job"},
    };
    expect_ends(ends, COUNT_OF(ends));
}

static void end_in_a_job_has_its_own_reason(void **state)
{
    static const struct end ends[] = {
        {{"Running job: a"}, 0, 0, "runner-failed-in-job"},
        {{"Running job: a", "helper: unknown error code: 139"}, 0, 139, "runner-failed-in-job"},
        {{"Running job: a", "helper: unknown error code: 137"}, 0, 137, "runner-killed"},
        {{"Running job: a", "Listening for Jobs"}, 0, 0, "runner-failed-in-job"},
        {{"Running job: a", "Listening for Jobs",
          "The runner no longer exists on the server. Cleaning up"},
         0,
         0,
         "runner-failed-in-job"},
    };
    expect_ends(ends, COUNT_OF(ends));
}

static void what_github_refused_has_its_own_reason(void **state)
{
    static const struct end ends[] = {
        {{"Listening for Jobs", "The runner no longer exists on the server. Cleaning up"},
         0,
         0,
         "registration-gone"},
        {{"Failed to create a session. The runner registration has been deleted from the server",
          "helper: exit with terminated error"},
         0,
         1,
         "registration-gone"},
        {{"2026-11-20 18:12:03Z: A session for this runner already exists.",
          "helper: exit with Session Conflict error"},
         0,
         5,
         "session-conflict"},
        {{"A session for this runner already exists.", "Listening for Jobs"}, 0, 0, "no-job"},
        {{"Runner version v2.300.0 is deprecated and cannot receive messages.",
          "helper: exit with terminated error"},
         0,
         1,
         "runner-too-old"},
    };
    expect_ends(ends, COUNT_OF(ends));
}

static void events_are_told_apart(void **state)
{
    struct agent_outcome o;
    agent_outcome_init(&o);
    assert_int_equal(agent_outcome_line(&o, SLICE("Listening for Jobs")), EVENT_LISTENING);
    assert_int_equal(agent_outcome_line(&o, SLICE("Running job: x")), EVENT_JOB_STARTED);
    assert_int_equal(agent_outcome_line(&o, SLICE("Job x completed with result: Canceled")),
                     EVENT_JOB_OVER);
    assert_int_equal(agent_outcome_line(&o, SLICE("a step says: Running job: x")), EVENT_OTHER);
    assert_int_equal(agent_outcome_line(&o, SLICE("Listening for Jobs now")), EVENT_OTHER);
    assert_int_equal(agent_outcome_line(&o, SLICE("")), EVENT_OTHER);
}

/* A listener that is started again may never get to listen. */
static void listener_that_ends_in_a_job_is_idle(void **state)
{
    struct agent_outcome o;
    int code = -1;
    agent_outcome_init(&o);
    assert_int_equal(agent_outcome_line(&o, SLICE("Restarting runner...")), EVENT_OTHER);
    assert_int_equal(agent_outcome_line(&o, SLICE("Running job: x")), EVENT_JOB_STARTED);
    assert_int_equal(agent_outcome_line(&o, SLICE("Restarting runner...")), EVENT_JOB_OVER);
    assert_int_equal(agent_outcome_of(&o, 0, &code), AGENT_FAILED_IN_JOB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_that_ends_in_a_job_is_idle),
        cmocka_unit_test(job_done_needs_a_job),
        cmocka_unit_test(end_before_a_job_has_its_own_reason),
        cmocka_unit_test(end_in_a_job_has_its_own_reason),
        cmocka_unit_test(what_github_refused_has_its_own_reason),
        cmocka_unit_test(events_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
