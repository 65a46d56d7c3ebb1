/* The agent's core against scripted runners. Time is handed in, so nothing here waits for it. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_scripts.h"
#include "deploy/image/agent/agent_core.h"
#include "tests/lib/cmocka.h"

#define NOW 1000000

struct bed {
    struct scripts scripts;
    struct agent_core core;
    struct buf status; /* status lines, each with a newline */
    struct buf output;
};

static void on_status(void *ctx, const char *line)
{
    struct bed *b = ctx;
    buf_printf(&b->status, "%s\n", line);
}

static void on_output(void *ctx, struct slice line)
{
    struct bed *b = ctx;
    buf_append(&b->output, line);
    buf_append_byte(&b->output, '\n');
}

static int set_up(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    scripts_open(&b->scripts);
    buf_init(&b->status, 4096);
    buf_init(&b->output, 1 << 20);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *b = *state;
    if (b->core.runner.pid > 0 && b->core.state != AGENT_ENDED) {
        kill(-b->core.runner.pid, SIGKILL);
        waitpid(b->core.runner.pid, NULL, 0);
    }
    agent_core_fini(&b->core);
    buf_fini(&b->status);
    buf_fini(&b->output);
    scripts_close(&b->scripts);
    free(b);
    return 0;
}

static struct payload usual(void)
{
    return (struct payload){.jit_config = SLICE("Y29uZmln"),
                            .idle_seconds = 60,
                            .max_duration_seconds = 600,
                            .runner_name = SLICE("test-runner")};
}

static int start_with(struct bed *b, const char *script, const struct payload *p, struct err *e)
{
    struct agent_options options = {.kill_grace_ms = 5000};
    const struct agent_sink sink = {on_status, on_output, b};
    struct buf packed;
    options.runner_path = scripts_write(&b->scripts, script);
    agent_core_init(&b->core, &options, &sink);
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    scripts_pack(p, &packed);
    int rc = agent_core_start(&b->core, buf_slice(&packed), NOW, e);
    buf_fini(&packed);
    return rc;
}

static void start(struct bed *b, const char *script)
{
    struct err e = {0};
    struct payload p = usual();
    assert_int_equal(start_with(b, script, &p, &e), 0);
}

/* Reads the runner's output until a status or output line holds `text`. */
static void await_text(struct bed *b, const struct buf *where, const char *text, int64_t now_ms)
{
    while (where->data == NULL || strstr(where->data, text) == NULL) {
        struct pollfd pfd = {.fd = b->core.runner.output_fd, .events = POLLIN};
        assert_true(pfd.fd >= 0); /* the output ended without it */
        assert_int_equal(poll(&pfd, 1, 30000), 1);
        agent_core_output(&b->core, now_ms);
    }
}

/* Waits until the runner has ended, leaves it to the core to reap, and lets it. */
static void await_end(struct bed *b, int64_t now_ms)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)b->core.runner.pid, &info, WEXITED | WNOWAIT), 0);
    agent_core_child(&b->core, now_ms);
    assert_int_equal(b->core.state, AGENT_ENDED);
}

static bool still_runs(const struct bed *b)
{
    siginfo_t info = {0};
    assert_int_equal(waitid(P_PID, (id_t)b->core.runner.pid, &info, WEXITED | WNOWAIT | WNOHANG),
                     0);
    return info.si_pid == 0;
}

/* --- how it ends --------------------------------------------------------------------------------
 */

static void runner_with_job_ends_job_done(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'Listening for Jobs'\n"
             "echo '2026-11-20 18:12:03Z: Running job: build'\n"
             "echo '2026-11-20 18:12:09Z: Job build completed with result: Succeeded'");
    await_end(b, NOW);
    assert_string_equal(b->status.data, "STARTED\nLISTENING\nJOB\nEXIT 0 job-done\n");
    assert_int_equal(agent_core_deadline(&b->core), INT64_MAX);
}

#define FAILING                                                                                    \
    "echo 'Listening for Jobs'\n"                                                                  \
    "echo '2026-11-20 18:12:03Z: Running job: build'\n"                                            \
    "echo '2026-11-20 18:12:09Z: Job build completed with result: Failed'"

static void start_held(struct bed *b, const char *script, int64_t max_seconds)
{
    struct err e = {0};
    siginfo_t info;
    struct payload p = usual();
    p.hold_seconds = 900;
    p.max_duration_seconds = max_seconds;
    assert_int_equal(start_with(b, script, &p, &e), 0);
    assert_int_equal(waitid(P_PID, (id_t)b->core.runner.pid, &info, WEXITED | WNOWAIT), 0);
    agent_core_child(&b->core, NOW);
}

static void failed_job_is_held_until_its_time_is_over(void **state)
{
    struct bed *b = *state;
    start_held(b, FAILING, 0);
    assert_int_equal(b->core.state, AGENT_HELD);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 900000);
    agent_core_tick(&b->core, NOW + 899999);
    assert_int_equal(b->core.state, AGENT_HELD);
    agent_core_tick(&b->core, NOW + 900000);
    assert_string_equal(b->status.data, "STARTED\nLISTENING\nJOB\nHELD 900\nEXIT 0 job-done\n");
    assert_true(agent_core_ended_well(&b->core));
}

static void held_vm_ends_at_its_maximum_duration(void **state)
{
    struct bed *b = *state;
    start_held(b, FAILING, 100);
    assert_int_equal(b->core.state, AGENT_HELD);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 90000);
    agent_core_tick(&b->core, NOW + 90000);
    assert_int_equal(b->core.state, AGENT_ENDED);
}

static void held_vm_ends_when_asked_to(void **state)
{
    struct bed *b = *state;
    start_held(b, FAILING, 0);
    agent_core_child(&b->core, NOW); /* of a child of the job that has exited since */
    assert_int_equal(b->core.state, AGENT_HELD);
    agent_core_terminate(&b->core, NOW + 5);
    assert_int_equal(b->core.state, AGENT_ENDED);
}

static void job_that_did_not_fail_is_not_held(void **state)
{
    struct bed *b = *state;
    start_held(b,
               "echo 'Running job: x completed with result: Failed'\n"
               "echo 'Job x completed with result: Canceled'",
               0);
    assert_string_equal(b->status.data, "STARTED\nJOB\nEXIT 0 job-done\n");
}

static void runner_exit_code_ends_runner_failed(void **state)
{
    struct bed *b = *state;
    start(b, "exit 5");
    await_end(b, NOW);
    assert_string_equal(b->status.data, "STARTED\nEXIT 5 runner-failed\n");
}

static void runner_killed_ends_runner_killed(void **state)
{
    struct bed *b = *state;
    start(b, "kill -9 $$");
    await_end(b, NOW);
    assert_string_equal(b->status.data, "STARTED\nEXIT 137 runner-killed\n");
}

static void no_job_within_idle_ends_idle_timeout(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'Listening for Jobs'; exec sleep 1000");
    assert_int_equal(agent_core_deadline(&b->core), NOW + 60000);
    await_text(b, &b->status, "LISTENING", NOW + 10000);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 70000);
    agent_core_tick(&b->core, NOW + 69999);
    assert_int_equal(b->core.state, AGENT_STARTED);
    agent_core_tick(&b->core, NOW + 70000);
    assert_int_equal(b->core.state, AGENT_ENDING);
    await_end(b, NOW + 70001);
    assert_non_null(strstr(b->status.data, "EXIT 143 idle-timeout\n"));
}

static void runner_that_never_listens_ends_idle_timeout(void **state)
{
    struct bed *b = *state;
    start(b, "exec sleep 1000");
    agent_core_tick(&b->core, NOW + 60000);
    await_end(b, NOW + 60001);
    assert_string_equal(b->status.data, "STARTED\nEXIT 143 idle-timeout\n");
}

static void job_stops_the_idle_clock_until_it_is_over(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'Running job: x'; exec sleep 1000");
    await_text(b, &b->status, "JOB", NOW);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 580000);
    agent_core_tick(&b->core, NOW + 579999);
    assert_int_equal(b->core.state, AGENT_STARTED);
    agent_core_terminate(&b->core, NOW);
    await_end(b, NOW);
}

static void listener_that_comes_back_without_its_job_idles_out(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'Listening for Jobs'; echo 'Running job: x'; echo 'Listening for Jobs'\n"
             "exec sleep 1000");
    await_text(b, &b->status, "JOB\nLISTENING", NOW + 100000);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 160000);
    agent_core_tick(&b->core, NOW + 160000);
    await_end(b, NOW + 160001);
    assert_string_equal(b->status.data,
                        "STARTED\nLISTENING\nJOB\nLISTENING\nEXIT 143 runner-failed-in-job\n");
}

static void ghost_after_its_job_ends_idle_timeout(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'Running job: x'\necho 'Job x completed with result: Succeeded'\n"
             "exec sleep 1000");
    await_text(b, &b->output, "completed", NOW + 100000);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 160000);
    agent_core_tick(&b->core, NOW + 160000);
    await_end(b, NOW + 160001);
    assert_non_null(strstr(b->status.data, "idle-timeout"));
}

static void too_long_ends_max_duration(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'Running job: x'; exec sleep 1000");
    await_text(b, &b->status, "JOB", NOW);
    agent_core_tick(&b->core, NOW + 580000);
    await_end(b, NOW + 580001);
    assert_non_null(strstr(b->status.data, "EXIT 143 max-duration\n"));
}

static void short_max_duration_keeps_a_tenth_for_the_grace(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    struct payload p = usual();
    p.idle_seconds = 0;
    p.max_duration_seconds = 60;
    assert_int_equal(start_with(b, "exec sleep 1000", &p, &e), 0);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 54000);
    agent_core_terminate(&b->core, NOW);
    await_end(b, NOW);
}

static void zero_seconds_mean_never(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    struct payload p = usual();
    p.idle_seconds = 0;
    p.max_duration_seconds = 0;
    assert_int_equal(start_with(b, "exec sleep 1000", &p, &e), 0);
    assert_int_equal(agent_core_deadline(&b->core), INT64_MAX);
    agent_core_terminate(&b->core, NOW);
    await_end(b, NOW);
    assert_string_equal(b->status.data, "STARTED\nEXIT 143 terminated\n");
}

static void runner_that_ignores_term_is_killed(void **state)
{
    struct bed *b = *state;
    start(b, "trap '' TERM; echo 'Listening for Jobs'; while :; do sleep 1000; done");
    await_text(b, &b->status, "LISTENING", NOW);
    agent_core_terminate(&b->core, NOW);
    assert_int_equal(b->core.state, AGENT_ENDING);
    assert_int_equal(agent_core_deadline(&b->core), NOW + 5000);
    agent_core_terminate(&b->core, NOW + 1);
    agent_core_tick(&b->core, NOW + 4999);
    assert_true(still_runs(b));
    agent_core_tick(&b->core, NOW + 5000);
    await_end(b, NOW + 5001);
    assert_non_null(strstr(b->status.data, "EXIT 137 terminated\n"));
}

static void what_the_job_left_behind_is_killed(void **state)
{
    struct bed *b = *state;
    siginfo_t info = {0};
    struct buf pid_text;
    int64_t pid;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        skip(); /* qemu-user does not know it; every kernel does */
    }
    /* -m gives the sleeper a process group of its own, as a job's shell may. */
    start(b, "set -m; sleep 1000 > /dev/null 2>&1 & echo $! > left; exit 0");
    await_end(b, NOW);
    buf_init(&pid_text, 64);
    scripts_read(&b->scripts, "left", &pid_text);
    assert_true(slice_to_int64(slice_trim(buf_slice(&pid_text)), &pid));
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    assert_int_equal(info.si_code, CLD_KILLED);
    assert_int_equal(info.si_status, SIGKILL);
    buf_fini(&pid_text);
}

/* --- how it starts ------------------------------------------------------------------------------
 */

static void runner_gets_the_payload_and_the_images_environment(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    struct payload p = usual();
    p.jit_config = SLICE("c2VjcmV0IGNvbmZpZw==");
    p.https_proxy = SLICE("http://10.0.2.100:3128");
    p.no_proxy = SLICE("localhost");
    assert_int_equal(setenv("JAVA_HOME", "/opt/java", 1), 0);
    assert_int_equal(setenv("ACTIONS_RUNNER_INPUT_JITCONFIG", "another's", 1), 0);
    assert_int_equal(start_with(b, "env > seen; echo \"$0 $#\" > args; cat > stdin", &p, &e), 0);
    await_end(b, NOW);
    struct buf seen;
    buf_init(&seen, 65536);
    scripts_read(&b->scripts, "seen", &seen);
    assert_non_null(strstr(seen.data, "ACTIONS_RUNNER_INPUT_JITCONFIG=c2VjcmV0IGNvbmZpZw==\n"));
    assert_null(strstr(seen.data, "another's"));
    assert_non_null(strstr(seen.data, "https_proxy=http://10.0.2.100:3128\n"));
    assert_non_null(strstr(seen.data, "HTTPS_PROXY=http://10.0.2.100:3128\n"));
    assert_non_null(strstr(seen.data, "no_proxy=localhost\n"));
    assert_null(strstr(seen.data, "http_proxy=\n"));
    assert_non_null(strstr(seen.data, "JAVA_HOME=/opt/java\n"));
    scripts_read(&b->scripts, "args", &seen);
    assert_non_null(strstr(seen.data, "/run.sh 0\n"));
    scripts_read(&b->scripts, "stdin", &seen);
    assert_int_equal(seen.len, 0);
    buf_fini(&seen);
}

static void damaged_payload_ends_bad_payload(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    struct agent_options options = {.runner_path = "/bin/true"};
    const struct agent_sink sink = {on_status, on_output, b};
    agent_core_init(&b->core, &options, &sink);
    assert_int_equal(agent_core_start(&b->core, SLICE("bm9uc2Vuc2U="), NOW, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(b->core.state, AGENT_ENDED);
    assert_string_equal(b->status.data, "EXIT 1 bad-payload\n");
}

static void config_that_is_no_environment_value_is_refused(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    struct payload p = usual();
    p.jit_config = SLICE("with\0nul");
    assert_int_equal(start_with(b, "exit 0", &p, &e), -1);
    assert_string_equal(b->status.data, "EXIT 127 runner-failed\n");
}

static void missing_runner_ends_runner_failed(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    struct agent_options options = {.runner_path = "/nonexistent/run.sh"};
    const struct agent_sink sink = {on_status, on_output, b};
    struct payload p = usual();
    struct buf packed;
    agent_core_init(&b->core, &options, &sink);
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    scripts_pack(&p, &packed);
    assert_int_equal(agent_core_start(&b->core, buf_slice(&packed), NOW, &e), -1);
    assert_non_null(strstr(e.message, "/nonexistent/run.sh"));
    assert_string_equal(b->status.data, "EXIT 127 runner-failed\n");
    buf_fini(&packed);
}

static void second_payload_is_a_conflict(void **state)
{
    struct bed *b = *state;
    struct err e = {0};
    start(b, "exec sleep 1000");
    assert_int_equal(agent_core_start(&b->core, SLICE("any"), NOW, &e), -1);
    assert_int_equal(e.class, ERR_CONFLICT);
    assert_int_equal(b->core.state, AGENT_STARTED);
    agent_core_terminate(&b->core, NOW);
    await_end(b, NOW);
}

static void terminate_while_waiting_ends_at_once(void **state)
{
    struct bed *b = *state;
    struct agent_options options = {.runner_path = "/bin/true"};
    const struct agent_sink sink = {on_status, on_output, b};
    agent_core_init(&b->core, &options, &sink);
    agent_core_terminate(&b->core, NOW);
    assert_string_equal(b->status.data, "EXIT 0 terminated\n");
}

/* --- its output ---------------------------------------------------------------------------------
 */

static void long_lines_are_cut(void **state)
{
    struct bed *b = *state;
    start(b, "i=0; while [ $i -lt 300 ]; do printf '0123456789012345'; i=$((i + 1)); done\n"
             "echo; echo short; printf 'no newline'");
    await_end(b, NOW);
    char *nl = strchr(b->output.data, '\n');
    assert_non_null(nl);
    assert_int_equal(nl - b->output.data, RUNNER_LINE_MAX);
    assert_string_equal(nl, "\nshort\nno newline\n");
}

static void last_lines_behind_a_full_pipe_count(void **state)
{
    struct bed *b = *state;
    start(b, "i=0; while [ $i -lt 60 ]; do printf '%1000s\\n' x; i=$((i + 1)); done\n"
             "echo 'Running job: x'; echo 'Job x completed with result: Succeeded'");
    await_end(b, NOW);
    assert_string_equal(b->status.data, "STARTED\nJOB\nEXIT 0 job-done\n");
}

static void words_inside_a_line_are_no_progress(void **state)
{
    struct bed *b = *state;
    start(b, "echo 'a step says: Running job: x'; echo 'not Listening for Jobs'\n"
             "echo 'Listening for Jobs now'");
    await_end(b, NOW);
    assert_string_equal(b->status.data, "STARTED\nEXIT 0 no-job\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(runner_with_job_ends_job_done),
        CASE(failed_job_is_held_until_its_time_is_over),
        CASE(held_vm_ends_at_its_maximum_duration),
        CASE(held_vm_ends_when_asked_to),
        CASE(job_that_did_not_fail_is_not_held),
        CASE(runner_exit_code_ends_runner_failed),
        CASE(runner_killed_ends_runner_killed),
        CASE(no_job_within_idle_ends_idle_timeout),
        CASE(runner_that_never_listens_ends_idle_timeout),
        CASE(job_stops_the_idle_clock_until_it_is_over),
        CASE(listener_that_comes_back_without_its_job_idles_out),
        CASE(ghost_after_its_job_ends_idle_timeout),
        CASE(too_long_ends_max_duration),
        CASE(short_max_duration_keeps_a_tenth_for_the_grace),
        CASE(zero_seconds_mean_never),
        CASE(runner_that_ignores_term_is_killed),
        CASE(what_the_job_left_behind_is_killed),
        CASE(runner_gets_the_payload_and_the_images_environment),
        CASE(damaged_payload_ends_bad_payload),
        CASE(config_that_is_no_environment_value_is_refused),
        CASE(missing_runner_ends_runner_failed),
        CASE(second_payload_is_a_conflict),
        CASE(terminate_while_waiting_ends_at_once),
        CASE(long_lines_are_cut),
        CASE(last_lines_behind_a_full_pipe_count),
        CASE(words_inside_a_line_are_no_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
