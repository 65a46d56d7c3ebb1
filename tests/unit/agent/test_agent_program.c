/* The whole agent as a program, its payload port a unix socket that this test listens on. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent_scripts.h"

#define TRAILER                                                                                    \
    "1795199586123\ntest-runner\n"                                                                 \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

static const char *agent_path;

struct bed {
    struct scripts scripts;
    pid_t pid;
    int port;   /* the host's end */
    int status; /* where status lines come out */
    int console;
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

static void run_agent(const struct bed *b, const char *socket_path, int status, int console)
{
    char status_path[32];
    snprintf(status_path, sizeof(status_path), "/dev/fd/%d", status);
    if (dup2(console, 1) >= 0) {
        execl(agent_path, "mayfly-agent", "--payload", socket_path, "--status", status_path,
              "--runner", b->scripts.path, "--user", "", "--no-unique", "--no-power-off",
              (char *)NULL);
    }
    _exit(126);
}

static void start(struct bed *b, const char *script)
{
    char path[96];
    int status[2], console[2];
    scripts_open(&b->scripts);
    scripts_write(&b->scripts, script);
    snprintf(path, sizeof(path), "%s/port", b->scripts.dir);
    int listener = listen_at(path);
    assert_int_equal(pipe(status), 0);
    assert_int_equal(pipe2(console, O_CLOEXEC), 0);
    assert_int_equal(fcntl(status[0], F_SETFD, FD_CLOEXEC), 0);
    b->pid = fork();
    assert_true(b->pid >= 0);
    if (b->pid == 0) {
        run_agent(b, path, status[1], console[1]);
    }
    close(status[1]);
    close(console[1]);
    b->status = status[0];
    b->console = console[0];
    b->port = accept(listener, NULL, NULL);
    assert_true(b->port >= 0);
    close(listener);
}

static void read_line(int fd, char *out, size_t size)
{
    size_t n = 0;
    for (;;) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&pfd, 1, 30000), 1);
        assert_true(n + 1 < size);
        assert_int_equal(read(fd, out + n, 1), 1);
        if (out[n] == '\n') {
            break;
        }
        n++;
    }
    out[n] = '\0';
}

static void expect_line(int fd, const char *want)
{
    char line[512];
    read_line(fd, line, sizeof(line));
    assert_string_equal(line, want);
}

static void expect_prefix(int fd, const char *want)
{
    char line[512];
    read_line(fd, line, sizeof(line));
    assert_memory_equal(line, want, strlen(want));
}

static void send_text(const struct bed *b, struct slice text)
{
    assert_int_equal(send(b->port, text.ptr, text.len, MSG_NOSIGNAL), text.len);
}

static void make_frame(struct buf *out)
{
    const struct payload p = {.jit_config = SLICE("Y29uZmln"), .idle_seconds = 600};
    struct buf packed;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    scripts_pack(&p, &packed);
    buf_init(out, 8192);
    buf_printf(out, "MAYFLY1 %zu\n", packed.len);
    buf_append(out, buf_slice(&packed));
    buf_append_cstr(out, TRAILER);
    buf_fini(&packed);
}

static void finish(struct bed *b, int want_exit)
{
    int status;
    assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), want_exit);
    close(b->port);
    close(b->status);
    close(b->console);
    scripts_close(&b->scripts);
}

static void frame_in_pieces_runs_the_job(void **state)
{
    (void)state;
    struct bed b;
    struct buf frame;
    start(&b, "echo 'Listening for Jobs'; echo 'Running job: 1'\n"
              "echo \"config $ACTIONS_RUNNER_INPUT_JITCONFIG\"");
    make_frame(&frame);
    expect_prefix(b.status, "READY ");
    for (size_t i = 0; i < frame.len; i++) {
        send_text(&b, (struct slice){frame.data + i, 1});
    }
    expect_line(b.port, "OK");
    expect_line(b.status, "STARTED");
    expect_line(b.status, "LISTENING");
    expect_line(b.status, "JOB");
    expect_line(b.status, "EXIT 0 job-done");
    expect_line(b.console, "Listening for Jobs");
    expect_line(b.console, "Running job: 1");
    expect_line(b.console, "config Y29uZmln");
    buf_fini(&frame);
    finish(&b, 0);
}

static void malformed_frame_is_answered_and_the_next_one_works(void **state)
{
    (void)state;
    struct bed b;
    struct buf frame;
    start(&b, "exit 3");
    make_frame(&frame);
    expect_prefix(b.status, "READY ");
    send_text(&b, SLICE("MAYFLY1 -5\n"));
    expect_line(b.port, "ERR bad-length");
    send_text(&b, SLICE("GET / HTTP/1.1\r\n\r\n"));
    expect_line(b.port, "ERR bad-header");
    send_text(&b, buf_slice(&frame));
    expect_line(b.port, "OK");
    expect_line(b.status, "STARTED");
    expect_line(b.status, "EXIT 3 runner-failed");
    buf_fini(&frame);
    finish(&b, 1);
}

static void second_frame_is_refused_and_end_ends(void **state)
{
    (void)state;
    struct bed b;
    struct buf frame;
    start(&b, "exec sleep 1000");
    make_frame(&frame);
    expect_prefix(b.status, "READY ");
    send_text(&b, buf_slice(&frame));
    expect_line(b.port, "OK");
    send_text(&b, buf_slice(&frame));
    expect_line(b.port, "ERR already-started");
    send_text(&b, SLICE("MAYFLY1 END\n"));
    expect_line(b.port, "OK");
    expect_line(b.status, "STARTED");
    expect_line(b.status, "EXIT 143 terminated");
    buf_fini(&frame);
    finish(&b, 1);
}

static void damaged_payload_is_refused_and_ends(void **state)
{
    (void)state;
    struct bed b;
    start(&b, "exit 0");
    expect_prefix(b.status, "READY ");
    send_text(&b, SLICE("MAYFLY1 4\nAQID" TRAILER));
    expect_prefix(b.port, "ERR bad-payload: ");
    expect_line(b.status, "EXIT 1 bad-payload");
    finish(&b, 1);
}

static void flood_without_a_frame_is_answered(void **state)
{
    (void)state;
    struct bed b;
    static char noise[20000];
    memset(noise, 'x', sizeof(noise));
    start(&b, "exit 0");
    expect_prefix(b.status, "READY ");
    send_text(&b, (struct slice){noise, sizeof(noise)});
    expect_line(b.port, "ERR bad-header");
    assert_int_equal(kill(b.pid, SIGTERM), 0);
    expect_line(b.status, "EXIT 0 terminated");
    finish(&b, 1);
}

static void host_that_leaves_for_good_ends_the_wait(void **state)
{
    (void)state;
    struct bed b;
    start(&b, "exit 0");
    expect_prefix(b.status, "READY ");
    assert_int_equal(shutdown(b.port, SHUT_RDWR), 0);
    expect_line(b.status, "EXIT 0 terminated");
    finish(&b, 1);
}

static void sigterm_ends_the_runner(void **state)
{
    (void)state;
    struct bed b;
    struct buf frame;
    start(&b, "exec sleep 1000");
    make_frame(&frame);
    expect_prefix(b.status, "READY ");
    send_text(&b, buf_slice(&frame));
    expect_line(b.port, "OK");
    assert_int_equal(kill(b.pid, SIGTERM), 0);
    expect_line(b.status, "STARTED");
    expect_line(b.status, "EXIT 143 terminated");
    buf_fini(&frame);
    finish(&b, 1);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: test_agent_program MAYFLY-AGENT\n", stderr);
        return 2;
    }
    agent_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_in_pieces_runs_the_job),
        cmocka_unit_test(malformed_frame_is_answered_and_the_next_one_works),
        cmocka_unit_test(second_frame_is_refused_and_end_ends),
        cmocka_unit_test(damaged_payload_is_refused_and_ends),
        cmocka_unit_test(flood_without_a_frame_is_answered),
        cmocka_unit_test(host_that_leaves_for_good_ends_the_wait),
        cmocka_unit_test(sigterm_ends_the_runner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
