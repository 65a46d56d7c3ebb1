/*
 * The launch protocol, step by step: every call it makes, in order, and how the message ends.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/worker/launch_script.h"

/* --- what is called, in order --- */
#define RESERVE                                                                                    \
    "reserve job 42 of small in acme for t by hosted on 'here', at most 9/3/2, 1/s 2, 3/s 4\n"
#define DECIDED "slot decided\n"
#define REGISTER "register mf-1 in acme (5), labels self-hosted.., group Fleet\n"
#define REGISTERED "row mf-1 is registered as 77\n"
#define RUN "run mf-1 with token token-1 for 60000 ms\n"
#define RECORD "row mf-1 is launched as machine-1 until +60000\n"
#define UP_TO_REGISTER RESERVE DECIDED REGISTER
#define UP_TO_RUN UP_TO_REGISTER REGISTERED RUN
/* VM_RESERVED is 0, VM_REGISTERED 1. */
#define END_RESERVED                                                                               \
    "end mf-1, state 0, runner 0, machine '', grace 0, nothing runs: launch failed: scripted\n"
#define END_REGISTERED                                                                             \
    "end mf-1, state 1, runner 77, machine '', grace 0, nothing runs: launch failed: scripted\n"
#define END_UNKNOWN "end mf-1, state 1, runner 77, machine '', grace 0: launch failed: scripted\n"
#define END_MACHINE                                                                                \
    "end mf-1, state 1, runner 77, machine 'machine-1', grace 0: launch failed: scripted\n"

static void launch_smooth_makes_each_call_once_and_is_done(void **state)
{
    (void)state;
    assert_string_equal(script_calls_for(0, 0), UP_TO_RUN RECORD "done message-1 by receipt-0\n"
                                                                 "circuit: message-1 launched\n");
    assert_int_equal(script.extended, 0);
}

static void launch_of_the_other_class_has_its_own_limits_and_the_default_group(void **state)
{
    (void)state;
    assert_string_equal(
        script_calls_for(1, 0),
        "reserve job 42 of arm in acme for t by remote on '', at most 9/5/2, 1/s 2, 7/s 8\n" DECIDED
        "register mf-1 in acme (5), labels self-hosted.., group Default\n" REGISTERED RUN RECORD
        "done message-1 by receipt-0\n"
        "circuit: message-1 launched\n");
}

static void launch_not_reserved_is_done_or_goes_back_unspent(void **state)
{
    (void)state;
    const struct {
        enum ledger_outcome outcome;
        int64_t wait_ms;
        const char *calls;
    } cases[] = {
        /* Else the last jobs of a burst wait for long beside slots that are free. */
        {LEDGER_FULL_FLEET, 250, "return message-1 by receipt-0 in 20 ms: full_fleet\n"},
        {LEDGER_FULL_CLASS, 250, "return message-1 by receipt-0 in 20 ms: full_class\n"},
        {LEDGER_FULL_REPOSITORY, 250,
         "return message-1 by receipt-0 in 1000 ms: full_repository\n"},
        {LEDGER_RATE, 250, "return message-1 by receipt-0 in 250 ms: rate\n"},
        {LEDGER_RATE, 0, "return message-1 by receipt-0 in 1000 ms: rate\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char expected[400];
        script_again();
        script.reservation.outcome = cases[i].outcome;
        script.reservation.wait_ms = cases[i].wait_ms;
        (void)snprintf(expected, sizeof expected, RESERVE DECIDED "%s", cases[i].calls);
        assert_string_equal(script_calls_for(0, 2), expected);
    }
}

#define RETRIED(step, vm)                                                                          \
    "timeline 42 '" vm "' retry: " step " (attempt 1 of 3): scripted\n"                            \
    "return message-1 by receipt-0 in -1 ms, spent: " step " (attempt 1 of 3): scripted\n"

/* Only an answer that was lost leaves room for doubt whether a machine runs. */
static void launch_failed_at_any_step_is_undone_and_retried(void **state)
{
    (void)state;
    const struct {
        enum step step;
        bool left_nothing;
        const char *calls;
    } cases[] = {
        {STEP_RESERVE, false, RESERVE DECIDED RETRIED("reserve", "")},
        {STEP_REGISTER, false, UP_TO_REGISTER END_RESERVED RETRIED("register", "mf-1")},
        {STEP_ADVANCE_REGISTERED, false,
         UP_TO_REGISTER REGISTERED END_REGISTERED RETRIED("register", "mf-1")},
        {STEP_RUN, false, UP_TO_RUN END_UNKNOWN RETRIED("run", "mf-1")},
        {STEP_RUN, true, UP_TO_RUN END_REGISTERED RETRIED("run", "mf-1")},
        {STEP_RECORD, false, UP_TO_RUN RECORD END_MACHINE RETRIED("record", "mf-1")},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        script_again();
        script.fail[cases[i].step] = ERR_RETRY;
        script.left_nothing = cases[i].left_nothing;
        assert_string_equal(script_calls_for(0, 0), cases[i].calls);
    }
}

/* The VM that satisfies the demand may be one that a dead worker never started. */
static void launch_satisfied_is_done_unless_its_job_is_being_launched(void **state)
{
    (void)state;
    const struct {
        struct takeover earlier;
        bool fails;
        const char *calls;
    } cases[] = {
        {{false, 0}, false, DECIDED "done message-1 by receipt-0\n"},
        {{false, 4321},
         false,
         DECIDED "return message-1 by receipt-0 in 4321 ms: another worker's launch for this job "
                 "goes on\n"},
        {{true, 0},
         false,
         RESERVE DECIDED REGISTER REGISTERED RUN RECORD "done message-1 by receipt-0\n"
                                                        "circuit: message-1 launched\n"},
        {{false, 0}, true, DECIDED RETRIED("reserve", "")},
    };
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
        char expected[1000];
        script_again();
        script.reservation.outcome = i % 2 == 0 ? LEDGER_SATISFIED : LEDGER_OBSOLETE;
        script.earlier = cases[i / 2].earlier;
        script.takeover_fails = cases[i / 2].fails;
        (void)snprintf(expected, sizeof expected, RESERVE "take over for job 42 in acme\n%s",
                       cases[i / 2].calls);
        assert_string_equal(script_calls_for(0, 0), expected);
    }
}

static void slot_of_a_failed_launch_is_announced_unless_it_is_still_held(void **state)
{
    (void)state;
    script.fail[STEP_REGISTER] = ERR_RETRY;
    uint64_t before = stop_wakes(&script.worker.intake);
    (void)script_calls_for(0, 0);
    assert_int_equal(stop_wakes(&script.worker.intake), before + 1);
    script.rollback_fails = true;
    (void)script_calls_for(0, 0);
    assert_int_equal(stop_wakes(&script.worker.intake), before + 1);
}

static void launch_is_retried_no_sooner_than_the_other_side_asked(void **state)
{
    (void)state;
    script.fail[STEP_RUN] = ERR_RETRY;
    script.retry_after_ms = 7000;
    assert_non_null(strstr(script_calls_for(0, 0), "in 7000 ms, spent: run (attempt 1 of 3)"));
}

static void launch_throttled_or_over_quota_pauses_the_class_and_spends_nothing(void **state)
{
    (void)state;
    const struct {
        enum step step;
        enum err_class class;
        int64_t retry_after_ms;
        const char *calls;
    } cases[] = {
        {STEP_REGISTER, ERR_THROTTLED, 9000,
         UP_TO_REGISTER END_RESERVED
         "timeline 42 'mf-1' wait: register (attempt 1001 of 3): scripted\n"
         "pause the class for 9000 ms\n"
         "return message-1 by receipt-0 in 9000 ms: register (attempt 1001 of 3): scripted\n"},
        {STEP_RUN, ERR_CAPACITY, 0,
         UP_TO_RUN END_REGISTERED
         "timeline 42 'mf-1' wait: run (attempt 1001 of 3): scripted\n"
         "pause the class for 5000 ms\n"
         "return message-1 by receipt-0 in 5000 ms: run (attempt 1001 of 3): scripted\n"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        script_again();
        script.fail[cases[i].step] = cases[i].class;
        script.retry_after_ms = cases[i].retry_after_ms;
        assert_string_equal(script_calls_for(0, 1000), cases[i].calls);
    }
}

static void launch_permanent_or_out_of_attempts_is_buried(void **state)
{
    (void)state;
    script.fail[STEP_RUN] = ERR_PERMANENT;
    assert_string_equal(script_calls_for(0, 0), UP_TO_RUN END_REGISTERED
                        "circuit: message-1 of job 42 refused: scripted\n"
                        "timeline 42 'mf-1' bury: run (attempt 1 of 3): scripted\n"
                        "bury message-1: run (attempt 1 of 3): scripted\n");
    script_again();
    script.fail[STEP_RUN] = ERR_RETRY;
    assert_string_equal(script_calls_for(0, 2), UP_TO_RUN END_UNKNOWN
                        "timeline 42 'mf-1' bury: run (attempt 3 of 3): scripted\n"
                        "bury message-1: run (attempt 3 of 3): scripted\n");
}

static void launch_refused_while_its_class_is_stopped_waits_unspent(void **state)
{
    (void)state;
    script.fail[STEP_RUN] = ERR_PERMANENT;
    script.refusal = (struct class_circuit_refusal){.stopped = true, .delay_ms = 7000};
    assert_string_equal(
        script_calls_for(0, 2), UP_TO_RUN END_REGISTERED
        "circuit: message-1 of job 42 refused: scripted\n"
        "timeline 42 'mf-1' wait: run (attempt 3 of 3): scripted\n"
        "return message-1 by receipt-0 in 7000 ms: run (attempt 3 of 3): scripted\n");
}

static void launch_refused_by_the_ledger_says_nothing_about_the_class(void **state)
{
    (void)state;
    const enum step steps[] = {STEP_RESERVE, STEP_RECORD};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        script_again();
        script.fail[steps[i]] = ERR_PERMANENT;
        const char *calls = script_calls_for(0, 0);
        assert_null(strstr(calls, "circuit"));
        assert_non_null(strstr(calls, "bury message-1"));
    }
}

static void launch_unreadable_is_rejected_and_of_an_unknown_class_buried_untouched(void **state)
{
    (void)state;
    assert_non_null(strstr(script_calls_for_body("{\"v\":"), DECIDED "reject message-1: "));
    script_again();
    struct job_event ev = {.action = JOB_ACTION_QUEUED, .job.id = 42, .job.run_id = 1};
    struct buf body;
    memcpy(ev.status, "queued", 7);
    memcpy(ev.job.repository, "acme/app", 9);
    memcpy(ev.job.class_name, "medium", 7);
    buf_init(&body, 65536);
    struct launch_request request = launch_request_of(&ev);
    launch_request_encode(&request, 1, &body);
    const char *calls = script_calls_for_body(body.data);
    buf_fini(&body);
    assert_string_equal(calls,
                        DECIDED "bury message-1: its class is not configured here: add the class, "
                                "then kick this message\n");
}

static void launch_without_a_job_goes_by_the_scope_of_the_request(void **state)
{
    (void)state;
    const char *const request =
        "{\"v\":1,\"scope\":\"warm\",\"class\":\"small\",\"reason\":\"warm\",\"installation\":6}";
    const char *calls = script_calls_for_body(request);
    assert_non_null(strstr(calls, "reserve job 0 of small in warm for t by hosted"));
    assert_non_null(strstr(calls, "register mf-1 in warm (6), "));
    script_again();
    script.fail[STEP_RESERVE] = ERR_RETRY;
    calls = script_calls_for_body(request);
    assert_null(strstr(calls, "timeline"));
    assert_non_null(strstr(calls, "return message-1"));
}

/* --- launches that last --- */

static void launch_longer_than_its_lease_keeps_its_message(void **state)
{
    (void)state;
    script.takes_ms[STEP_REGISTER] = 50000;
    script.takes_ms[STEP_RUN] = 180000;
    assert_string_equal(script_calls_for(0, 0), UP_TO_RUN RECORD "done message-1 by receipt-23\n"
                                                                 "circuit: message-1 launched\n");
    assert_int_equal(script.extended, 23);
    assert_int_equal(script.stamped, 23);
}

static void launch_whose_heart_stopped_past_its_lease_asks_for_no_vm(void **state)
{
    (void)state;
    script.heart_stops = true;
    script.takes_ms[STEP_REGISTER] = LEASE_MS;
    assert_non_null(strstr(script_calls_for(0, 0), RUN));
    script_again();
    script.heart_stops = true;
    script.takes_ms[STEP_REGISTER] = LEASE_MS + 1;
    const char *calls = script_calls_for(0, 0);
    assert_null(strstr(calls, RUN));
    assert_non_null(strstr(calls, "end mf-1, state 1, runner 77, machine '', grace 0, nothing runs"
                                  ": launch failed: the launch lost its message"));
    assert_non_null(strstr(calls, "return message-1 by receipt-0 in -1 ms, spent: run"));
}

static void launch_whose_message_became_anothers_asks_for_no_vm(void **state)
{
    (void)state;
    script.extension_lost = true;
    script.takes_ms[STEP_REGISTER] = LEASE_MS / 2;
    assert_null(strstr(script_calls_for(0, 0), RUN));
    assert_int_equal(script.stamped, 0);
    script_again();
    script.row_lost = true;
    script.takes_ms[STEP_REGISTER] = LEASE_MS / 2;
    assert_null(strstr(script_calls_for(0, 0), RUN));
}

static void launch_that_hangs_is_kept_until_its_step_or_its_timeout_is_over(void **state)
{
    (void)state;
    script.takes_ms[STEP_REGISTER] = 600000;
    assert_null(strstr(script_calls_for(0, 0), RUN));
    assert_int_equal(script.extended, 5); /* at 10 to 50 s: the step may take 60 */
    script_again();
    script.takes_ms[STEP_RUN] = 600000;
    (void)script_calls_for(0, 0);
    assert_int_equal(script.extended, 29); /* at 10 to 290 s of 300 */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, script_set_up, script_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_smooth_makes_each_call_once_and_is_done),
        CASE(launch_of_the_other_class_has_its_own_limits_and_the_default_group),
        CASE(launch_not_reserved_is_done_or_goes_back_unspent),
        CASE(launch_failed_at_any_step_is_undone_and_retried),
        CASE(launch_satisfied_is_done_unless_its_job_is_being_launched),
        CASE(slot_of_a_failed_launch_is_announced_unless_it_is_still_held),
        CASE(launch_is_retried_no_sooner_than_the_other_side_asked),
        CASE(launch_throttled_or_over_quota_pauses_the_class_and_spends_nothing),
        CASE(launch_permanent_or_out_of_attempts_is_buried),
        CASE(launch_refused_while_its_class_is_stopped_waits_unspent),
        CASE(launch_refused_by_the_ledger_says_nothing_about_the_class),
        CASE(launch_unreadable_is_rejected_and_of_an_unknown_class_buried_untouched),
        CASE(launch_without_a_job_goes_by_the_scope_of_the_request),
        CASE(launch_longer_than_its_lease_keeps_its_message),
        CASE(launch_whose_heart_stopped_past_its_lease_asks_for_no_vm),
        CASE(launch_whose_message_became_anothers_asks_for_no_vm),
        CASE(launch_that_hangs_is_kept_until_its_step_or_its_timeout_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
