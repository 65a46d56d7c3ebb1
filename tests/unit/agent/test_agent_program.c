/* The whole agent as a program, its payload port a unix socket that this test listens on. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent_bed.h"
#include "tests/lib/cmocka.h"

#define TRAILER                                                                                    \
    "1795199586123\ntest-runner\n"                                                                 \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

static const char *agent_path;

struct bed {
    struct agent_bed agent; /* its console is what is read */
    int port;               /* the host's end */
    struct buf frame;       /* of a job */
};

static int listen_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void make_frame(struct buf *out, int64_t max_seconds)
{
    const struct payload p = {.jit_config = SLICE("Y29uZmln"),
                              .https_proxy = SLICE("http://10.0.2.100:3128"),
                              .idle_seconds = 600,
                              .max_duration_seconds = max_seconds};
    struct buf packed;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    scripts_pack(&p, &packed);
    buf_init(out, 8192);
    buf_printf(out, "MAYFLY1 %zu\n", packed.len);
    buf_append(out, buf_slice(&packed));
    buf_append_cstr(out, TRAILER);
    buf_fini(&packed);
}

/* Until the agent is ready for its frame. prepare: NULL for none. */
static void start_beside(struct bed *b, const char *script, int64_t max_seconds,
                         const char *prepare)
{
    char path[96];
    const char *const options[] = {
        "--payload", path, "--no-power-off", prepare ? "--prepare" : NULL, prepare, NULL};
    agent_bed_init(&b->agent, script);
    make_frame(&b->frame, max_seconds);
    snprintf(path, sizeof(path), "%s/port", b->agent.scripts.dir);
    int listener = listen_at(path);
    agent_bed_start(&b->agent, agent_path, STDOUT_FILENO, options);
    b->port = accept(listener, NULL, NULL);
    assert_true(b->port >= 0);
    close(listener);
    agent_expect_prefix(b->agent.status, "READY ");
}

static void start_with(struct bed *b, const char *script, int64_t max_seconds)
{
    start_beside(b, script, max_seconds, NULL);
}

static void start(struct bed *b, const char *script)
{
    start_with(b, script, 0);
}

static void finish(struct bed *b, int want_exit)
{
    agent_bed_finish(&b->agent, want_exit);
    close(b->port);
    buf_fini(&b->frame);
}

static void send_text(const struct bed *b, struct slice text)
{
    assert_int_equal(send(b->port, text.ptr, text.len, MSG_NOSIGNAL), text.len);
}

static void expect_status(const struct bed *b, const char *want)
{
    agent_expect_line(b->agent.status, want);
}

/* What the agent says to the host when that was sent. */
static void expect_answer(const struct bed *b, struct slice text, const char *want)
{
    send_text(b, text);
    agent_expect_line(b->port, want);
}

static void frame_in_pieces_runs_the_job(void **state)
{
    struct bed b;
    start(&b, "echo 'Listening for Jobs'; echo 'Running job: 1'\n"
              "echo 'Job 1 completed with result: Succeeded'\n"
              "echo \"config $ACTIONS_RUNNER_INPUT_JITCONFIG\"");
    for (size_t i = 0; i < b.frame.len; i++) {
        send_text(&b, (struct slice){b.frame.data + i, 1});
    }
    agent_expect_line(b.port, "OK");
    expect_status(&b, "STARTED");
    expect_status(&b, "LISTENING");
    expect_status(&b, "JOB");
    expect_status(&b, "EXIT 0 job-done");
    agent_expect_line(b.agent.output, "Listening for Jobs");
    agent_expect_line(b.agent.output, "Running job: 1");
    agent_expect_line(b.agent.output, "Job 1 completed with result: Succeeded");
    agent_expect_line(b.agent.output, "config Y29uZmln");
    finish(&b, 0);
}

static void malformed_frame_is_answered_and_the_next_one_works(void **state)
{
    struct bed b;
    start(&b, "exit 3");
    expect_answer(&b, SLICE("MAYFLY1 -5\n"), "ERR bad-length");
    expect_answer(&b, SLICE("GET / HTTP/1.1\r\n\r\n"), "ERR bad-header");
    expect_answer(&b, buf_slice(&b.frame), "OK");
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 3 runner-failed");
    finish(&b, 1);
}

static void second_frame_is_refused_and_end_ends(void **state)
{
    struct bed b;
    start(&b, "exec sleep 1000");
    expect_answer(&b, buf_slice(&b.frame), "OK");
    expect_answer(&b, buf_slice(&b.frame), "ERR already-started");
    expect_answer(&b, SLICE("MAYFLY1 END\n"), "OK");
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 143 terminated");
    finish(&b, 0);
}

static void damaged_payload_is_refused_and_ends(void **state)
{
    struct bed b;
    start(&b, "exit 0");
    send_text(&b, SLICE("MAYFLY1 4\nAQID" TRAILER));
    agent_expect_prefix(b.port, "ERR bad-payload: ");
    expect_status(&b, "EXIT 1 bad-payload");
    finish(&b, 1);
}

static void flood_without_a_frame_is_answered(void **state)
{
    struct bed b;
    static char noise[20000];
    memset(noise, 'x', sizeof(noise));
    start(&b, "exit 0");
    expect_answer(&b, (struct slice){noise, sizeof(noise)}, "ERR bad-header");
    assert_int_equal(kill(b.agent.pid, SIGTERM), 0);
    expect_status(&b, "EXIT 0 terminated");
    finish(&b, 0);
}

static void host_that_leaves_for_good_ends_the_wait(void **state)
{
    struct bed b;
    start(&b, "exit 0");
    assert_int_equal(shutdown(b.port, SHUT_RDWR), 0);
    expect_status(&b, "EXIT 0 terminated");
    finish(&b, 0);
}

static void sigterm_ends_the_runner(void **state)
{
    struct bed b;
    start(&b, "exec sleep 1000");
    expect_answer(&b, buf_slice(&b.frame), "OK");
    assert_int_equal(kill(b.agent.pid, SIGTERM), 0);
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 143 terminated");
    finish(&b, 0);
}

/* The host reads neither console nor log; the agent must not wait for it. */
static void start_flood(struct bed *b, int64_t max_seconds)
{
    start_with(b, "echo 'Listening for Jobs'; echo 'Running job: 1'; exec yes 'a line of a job'",
               max_seconds);
    expect_answer(b, buf_slice(&b->frame), "OK");
    expect_status(b, "STARTED");
    expect_status(b, "LISTENING");
    expect_status(b, "JOB");
    agent_await_full(b->agent.output);
}

static void console_that_nobody_reads_delays_no_request(void **state)
{
    struct bed b;
    start_flood(&b, 0);
    expect_answer(&b, SLICE("MAYFLY1 END\n"), "OK");
    expect_status(&b, "EXIT 143 terminated");
    finish(&b, 0);
}

static void console_that_nobody_reads_delays_no_signal(void **state)
{
    struct bed b;
    start_flood(&b, 0);
    assert_int_equal(kill(b.agent.pid, SIGTERM), 0);
    expect_status(&b, "EXIT 143 terminated");
    finish(&b, 0);
}

static void console_that_nobody_reads_delays_no_deadline(void **state)
{
    struct bed b;
    start_flood(&b, 3);
    expect_status(&b, "EXIT 143 max-duration");
    finish(&b, 1);
}

static void console_that_is_closed_ends_nothing(void **state)
{
    struct bed b;
    start(&b, "echo 'Listening for Jobs'; echo 'Running job: 1'; read -r _ < go\n"
              "echo 'Job 1 completed with result: Succeeded'");
    char path[128];
    (void)snprintf(path, sizeof path, "%s/go", b.agent.scripts.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    close(b.agent.output);
    b.agent.output = open(path, O_RDWR | O_CLOEXEC);
    expect_answer(&b, buf_slice(&b.frame), "OK");
    expect_status(&b, "STARTED");
    expect_status(&b, "LISTENING");
    expect_status(&b, "JOB");
    assert_int_equal(write(b.agent.output, "\n", 1), 1);
    expect_status(&b, "EXIT 0 job-done");
    finish(&b, 0);
}

static void process_in_a_session_of_its_own_ends_too(void **state)
{
    struct bed b;
    char path[128];
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        skip(); /* qemu-user has no such call, so the agent cannot find what lost its parent */
    }
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    start(&b, "setsid sh -c 'exec > held; : > up; exec sleep 1000' &\n"
              "while [ ! -e up ]; do sleep 0.05; done");
    (void)snprintf(path, sizeof path, "%s/held", b.agent.scripts.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct pollfd held = {.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    assert_true(held.fd >= 0);
    expect_answer(&b, buf_slice(&b.frame), "OK");
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 0 no-job");
    finish(&b, 0);
    assert_int_equal(poll(&held, 1, 10000), 1); /* nobody has it open any more */
    assert_true((held.revents & POLLHUP) != 0);
    close(held.fd);
}

static void prepare_has_the_proxies_and_not_the_config(void **state)
{
    struct bed b;
    struct scripts other;
    char script[256];
    scripts_open(&other);
    const char *prepare =
        scripts_write(&other, "echo \"${ACTIONS_RUNNER_INPUT_JITCONFIG-none} $HTTPS_PROXY\" > "
                              "\"${0%/*}/prepared.new\"; "
                              "mv \"${0%/*}/prepared.new\" \"${0%/*}/prepared\"\n"
                              "exec sleep 1000");
    snprintf(script, sizeof(script), "while [ ! -e %s/prepared ]; do sleep 0.05; done", other.dir);
    start_beside(&b, script, 0, prepare);
    send_text(&b, buf_slice(&b.frame));
    agent_expect_line(b.port, "OK");
    expect_status(&b, "STARTED");
    expect_status(&b, "EXIT 0 no-job");
    scripts_expect(&other, "prepared", "none http://10.0.2.100:3128\n");
    finish(&b, 0);
    scripts_close(&other);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: test_agent_program MAYFLY-AGENT\n", stderr);
        return 2;
    }
    agent_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_in_a_session_of_its_own_ends_too),
        cmocka_unit_test(prepare_has_the_proxies_and_not_the_config),
        cmocka_unit_test(frame_in_pieces_runs_the_job),
        cmocka_unit_test(malformed_frame_is_answered_and_the_next_one_works),
        cmocka_unit_test(second_frame_is_refused_and_end_ends),
        cmocka_unit_test(damaged_payload_is_refused_and_ends),
        cmocka_unit_test(flood_without_a_frame_is_answered),
        cmocka_unit_test(host_that_leaves_for_good_ends_the_wait),
        cmocka_unit_test(sigterm_ends_the_runner),
        cmocka_unit_test(console_that_nobody_reads_delays_no_request),
        cmocka_unit_test(console_that_nobody_reads_delays_no_signal),
        cmocka_unit_test(console_that_nobody_reads_delays_no_deadline),
        cmocka_unit_test(console_that_is_closed_ends_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
