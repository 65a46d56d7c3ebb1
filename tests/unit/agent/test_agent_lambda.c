/* The whole agent as a program that serves the hooks of Lambda, this test for a platform. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_platform.h"
#include "common/base/fs.h"
#include "tests/lib/cmocka.h"

static const char *agent_path;

static void start_with(struct platform *b, const char *script, const char *const extra[2])
{
    platform_start(b, agent_path, script, extra);
}

static void start(struct platform *b, const char *script)
{
    static const char *const none[2] = {NULL, NULL};
    start_with(b, script, none);
}

static void finish(struct platform *b, int want_exit)
{
    agent_bed_finish(&b->agent, want_exit);
}

static void expect_status(const struct platform *b, const char *want)
{
    agent_expect_line(b->agent.status, want);
}

/* Asks as the platform does. The test's time-out is what ends a hook that never becomes ready. */
static void await_200(const struct platform *b, const char *hook)
{
    int status = 0;
    do {
        status = platform_call(b, hook, "");
        assert_true(status == 200 || status == 503);
        (void)sched_yield();
    } while (status != 200);
}

/* --- the cases ----------------------------------------------------------------------------------
 */

static void job_runs_and_the_agent_ends(void **state)
{
    struct platform b;
    start(&b, "echo 'Listening for Jobs'; echo 'Running job: 1'\n"
              "echo 'Job 1 completed with result: Succeeded'\n"
              "echo \"$ACTIONS_RUNNER_INPUT_JITCONFIG\" > seen");
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    expect_status(&b, "STARTED");
    expect_status(&b, "LISTENING");
    expect_status(&b, "JOB");
    expect_status(&b, "EXIT 0 job-done");
    scripts_expect(&b.agent.scripts, "seen", "Y29uZmln\n");
    finish(&b, 0);
}

static void repeated_run_is_fine_and_another_one_refused(void **state)
{
    struct platform b;
    start(&b, "echo once >> starts; echo 'Listening for Jobs'; exec sleep 1000");
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    assert_int_equal(platform_call_run(&b, "b3RoZXI="), 409);
    assert_int_equal(platform_call(&b, "run", "{}"), 409);
    expect_status(&b, "STARTED");
    expect_status(&b, "LISTENING");
    scripts_expect(&b.agent.scripts, "starts", "once\n");
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    expect_status(&b, "EXIT 143 terminated");
    finish(&b, 0);
}

static void run_without_a_payload_is_refused_and_the_next_one_works(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    assert_int_equal(platform_call(&b, "run", ""), 400);
    assert_int_equal(platform_call(&b, "run", "{\"microvmId\":\"microvm-1\"}"), 400);
    assert_int_equal(platform_call(&b, "run", "{\"runHookPayload\":"), 400);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 0 no-job");
    finish(&b, 0);
}

static void damaged_payload_is_refused_and_ends(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    assert_int_equal(platform_call(&b, "run", "{\"runHookPayload\":\"AQIDBAUG\"}"), 400);
    expect_status(&b, "EXIT 1 bad-payload");
    finish(&b, 1);
}

static void terminate_waits_for_the_runner_to_end(void **state)
{
    struct platform b;
    start(&b, "trap 'sleep 0.3; echo stopped > seen; exit 3' TERM\n"
              "echo 'Listening for Jobs'; while :; do sleep 0.05; done");
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    expect_status(&b, "STARTED");
    expect_status(&b, "LISTENING");
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    scripts_expect(&b.agent.scripts, "seen", "stopped\n"); /* it was there before the answer */
    expect_status(&b, "EXIT 3 terminated");
    finish(&b, 0);
}

static void terminate_without_a_runner_ends_at_once(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    finish(&b, 0);
}

static void suspended_runner_goes_on(void **state)
{
    struct platform b;
    start(&b, "echo 'Listening for Jobs'; while [ ! -e go ]; do sleep 0.05; done");
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    expect_status(&b, "STARTED");
    expect_status(&b, "LISTENING");
    assert_int_equal(platform_call(&b, "suspend", ""), 200);
    assert_int_equal(platform_call(&b, "resume", "{\"microvmId\":\"microvm-1\"}"), 200);
    char path[128];
    struct err e;
    snprintf(path, sizeof(path), "%s/go", b.agent.scripts.dir);
    assert_int_equal(fs_write_atomic(path, SLICE(""), 0644, &e), 0);
    expect_status(&b, "EXIT 0 no-job");
    finish(&b, 0);
}

static void write_listener(const struct platform *b, const char *body)
{
    char path[128];
    struct err e;
    snprintf(path, sizeof(path), "%s/bin", b->agent.scripts.dir);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof(path), "%s/bin/Runner.Listener", b->agent.scripts.dir);
    assert_int_equal(fs_write_atomic(path, slice_of(body), 0755, &e), 0);
}

/* As await_200; returns the first status that is not 503. */
static int await_result(const struct platform *b, const char *hook)
{
    int status = 503;
    while (status == 503) {
        status = platform_call(b, hook, "");
        (void)sched_yield();
    }
    return status;
}

static void ready_and_validate_warm_the_runner_once_each(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    write_listener(&b, "#!/bin/sh\necho \"$@\" >> \"${0%/*}/../warmups\"\n");
    assert_int_equal(platform_call(&b, "ready", ""), 503); /* it has just begun */
    await_200(&b, "ready");
    assert_int_equal(platform_call(&b, "ready", ""), 200);
    await_200(&b, "validate");
    assert_int_equal(platform_call(&b, "validate", ""), 200);
    scripts_expect(&b.agent.scripts, "warmups", "warmup\nwarmup\n");
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    finish(&b, 0);
}

/* Not ready, at once and for all further calls, and the log says why. */
static void expect_not_ready(const struct platform *b, const char *reason)
{
    char line[1024];
    assert_int_equal(await_result(b, "ready"), 500);
    platform_await_log(b, "warm_", line, sizeof(line));
    assert_non_null(strstr(line, reason));
    assert_int_equal(platform_call(b, "ready", ""), 500);
    assert_int_equal(platform_call(b, "terminate", ""), 200);
}

static void image_without_a_listener_is_not_ready(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    expect_not_ready(&b, "Runner.Listener cannot be executed: No such file");
    finish(&b, 0);
}

static void image_without_libicu_is_not_ready(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    write_listener(&b, "#!/bin/sh\nkill -ABRT $$\n");
    expect_not_ready(&b, "warmup ended with 134: it aborted, as it does where libicu is missing");
    finish(&b, 0);
}

static void image_whose_listener_fails_is_not_ready(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    write_listener(&b, "#!/bin/sh\nexit 3\n");
    expect_not_ready(&b, "warmup ended with 3");
    finish(&b, 0);
}

static void image_whose_run_sh_is_no_program_is_not_ready(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    write_listener(&b, "#!/bin/sh\n");
    assert_int_equal(chmod(b.agent.scripts.path, 0644), 0);
    expect_not_ready(&b, "run.sh cannot be executed by the runner's user: Permission denied");
    finish(&b, 0);
}

static void warm_up_that_hangs_is_not_ready(void **state)
{
    struct platform b;
    static const char *const quick[2] = {"--warm-ms", "1"};
    start_with(&b, "exit 0", quick);
    write_listener(&b, "#!/bin/sh\nexec sleep 1000\n");
    expect_not_ready(&b, "warm_timeout");
    finish(&b, 0);
}

/* With a listener that works, and a check with that text. */
static void start_with_check(struct platform *b, struct scripts *check, const char *text)
{
    scripts_open(check);
    const char *const extra[2] = {"--check", scripts_write(check, text)};
    start_with(b, "exit 0", extra);
    write_listener(b, "#!/bin/sh\n");
}

static void validate_runs_the_images_check_and_ready_does_not(void **state)
{
    struct platform b;
    struct scripts check;
    start_with_check(&b, &check, "echo checked >> \"${0%/*}/seen\"");
    await_200(&b, "ready");
    assert_int_equal(platform_call(&b, "validate", ""), 503);
    await_200(&b, "validate");
    scripts_expect(&check, "seen", "checked\n");
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    finish(&b, 0);
    scripts_close(&check);
}

static void check_that_fails_fails_validate(void **state)
{
    struct platform b;
    struct scripts check;
    start_with_check(&b, &check, "exit 4");
    await_200(&b, "ready");
    assert_int_equal(await_result(&b, "validate"), 500);
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    finish(&b, 0);
    scripts_close(&check);
}

/* --- a trial ------------------------------------------------------------------------------------
 */

#define TRIAL_BODY "{\"microvmId\":\"microvm-1\",\"runHookPayload\":\"" PAYLOAD_TRIAL "\"}"

static void trial_of_an_image_that_works_is_200_and_starts_no_runner(void **state)
{
    struct platform b;
    start(&b, "echo started > seen");
    write_listener(&b, "#!/bin/sh\necho \"$@\" >> \"${0%/*}/../warmups\"\n");
    assert_int_equal(platform_call(&b, "run", TRIAL_BODY), 200);
    assert_int_equal(platform_call(&b, "run", TRIAL_BODY), 200);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 409);
    scripts_expect(&b.agent.scripts, "warmups", "warmup\n");
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    expect_status(&b, "EXIT 0 terminated");
    finish(&b, 0);
}

static void trial_of_an_image_that_does_not_work_is_500(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    write_listener(&b, "#!/bin/sh\nexit 134\n");
    assert_int_equal(platform_call(&b, "run", TRIAL_BODY), 500);
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    finish(&b, 0);
}

static void run_ends_a_warm_up_that_is_under_way(void **state)
{
    struct platform b;
    start(&b, "exit 0");
    write_listener(&b, "#!/bin/sh\nexec sleep 1000\n");
    assert_int_equal(platform_call(&b, "ready", ""), 503);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    finish(&b, 0);
}

static void prepare_is_started_with_the_runner(void **state)
{
    struct platform b;
    struct scripts other;
    scripts_open(&other);
    const char *const extra[2] = {
        "--prepare",
        scripts_write(&other, "echo \"${ACTIONS_RUNNER_INPUT_JITCONFIG-none} $HTTPS_PROXY\" > "
                              "\"${0%/*}/prepared.new\"; "
                              "mv \"${0%/*}/prepared.new\" \"${0%/*}/prepared\"\n"
                              "exec sleep 1000")};
    char script[256];
    snprintf(script, sizeof(script), "while [ ! -e %s/prepared ]; do sleep 0.05; done", other.dir);
    start_with(&b, script, extra);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 0 no-job");
    /* The config is the runner's alone; Docker needs the proxy, too. */
    scripts_expect(&other, "prepared", "none http://10.0.2.100:3128\n");
    finish(&b, 0);
    scripts_close(&other);
}

static void log_that_nobody_reads_delays_no_hook(void **state)
{
    struct platform b;
    struct scripts other;
    scripts_open(&other);
    const char *const extra[2] = {"--prepare", scripts_write(&other, "exec yes 'a line' >&2")};
    start_with(&b, "exec sleep 1000", extra);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    expect_status(&b, "STARTED");
    agent_await_full(b.agent.output);
    assert_int_equal(platform_call(&b, "suspend", ""), 200);
    assert_int_equal(platform_call(&b, "resume", ""), 200);
    assert_int_equal(platform_call(&b, "terminate", ""), 200);
    expect_status(&b, "EXIT 143 terminated");
    finish(&b, 0);
    scripts_close(&other);
}

static void tls_greeting_does_not_take_it_down(void **state)
{
    struct platform b;
    char line[256];
    start(&b, "exit 0");
    int fd = platform_dial(&b);
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
    agent_read_line(fd, line, sizeof(line));
    assert_string_equal(line, "HTTP/1.1 400 Bad Request\r");
    close(fd);
    assert_int_equal(platform_call_run(&b, "Y29uZmln"), 200);
    finish(&b, 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: test_agent_lambda MAYFLY-AGENT\n", stderr);
        return 2;
    }
    agent_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_runs_and_the_agent_ends),
        cmocka_unit_test(repeated_run_is_fine_and_another_one_refused),
        cmocka_unit_test(run_without_a_payload_is_refused_and_the_next_one_works),
        cmocka_unit_test(damaged_payload_is_refused_and_ends),
        cmocka_unit_test(terminate_waits_for_the_runner_to_end),
        cmocka_unit_test(terminate_without_a_runner_ends_at_once),
        cmocka_unit_test(suspended_runner_goes_on),
        cmocka_unit_test(ready_and_validate_warm_the_runner_once_each),
        cmocka_unit_test(image_without_a_listener_is_not_ready),
        cmocka_unit_test(image_without_libicu_is_not_ready),
        cmocka_unit_test(image_whose_listener_fails_is_not_ready),
        cmocka_unit_test(image_whose_run_sh_is_no_program_is_not_ready),
        cmocka_unit_test(warm_up_that_hangs_is_not_ready),
        cmocka_unit_test(validate_runs_the_images_check_and_ready_does_not),
        cmocka_unit_test(check_that_fails_fails_validate),
        cmocka_unit_test(trial_of_an_image_that_works_is_200_and_starts_no_runner),
        cmocka_unit_test(trial_of_an_image_that_does_not_work_is_500),
        cmocka_unit_test(run_ends_a_warm_up_that_is_under_way),
        cmocka_unit_test(prepare_is_started_with_the_runner),
        cmocka_unit_test(log_that_nobody_reads_delays_no_hook),
        cmocka_unit_test(tls_greeting_does_not_take_it_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
