/* Shells of the agent, with a socket in place of the virtio port: this test is the host. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "deploy/image/agent/agent_shell.h"
#include "tests/lib/cmocka.h"

#define WAIT_MS 30000

struct bed {
    struct agent_shell shell;
    int host;
    struct shell_bytes in;
    char output[65536]; /* of the present session */
    size_t output_len;
    char exit_code[16]; /* "": it has not exited */
    int taken;
    int started;
    int failed;
};

static void open_bed(struct bed *b)
{
    struct err e = {0};
    int ends[2];
    memset(b, 0, sizeof *b);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    b->host = ends[0];
    assert_int_equal(agent_shell_init(&b->shell, ends[1], &e), 0);
}

static void close_bed(struct bed *b)
{
    agent_shell_fini(&b->shell);
    close(b->host);
    while (waitpid(-1, NULL, 0) > 0) {
    }
}

static void send_frame(struct bed *b, enum shell_type type, unsigned char session, const char *body)
{
    struct shell_bytes out = {.len = 0};
    assert_true(shell_frame_put(&out, type, session, slice_of(body)));
    assert_int_equal(send(b->host, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
}

static void open_shell(struct bed *b, unsigned char session, bool terminal)
{
    struct shell_open o = {
        .terminal = terminal, .rows = 33, .columns = 44, .term = "vt100", .who = "-"};
    char text[128];
    (void)shell_open_write(&o, text);
    send_frame(b, SHELL_OPEN, session, text);
    b->output_len = 0;
    b->exit_code[0] = '\0';
}

static void take_frame(struct bed *b, const struct shell_frame *f)
{
    switch (f->type) {
    case SHELL_STARTED:
        b->started++;
        break;
    case SHELL_TAKEN:
        b->taken++;
        break;
    case SHELL_DATA:
        if (b->output_len + f->body.len < sizeof b->output) {
            memcpy(b->output + b->output_len, f->body.ptr, f->body.len);
            b->output_len += f->body.len;
            b->output[b->output_len] = '\0';
        }
        break;
    case SHELL_EXITED:
        assert_true(slice_to_cstr(f->body, b->exit_code, sizeof b->exit_code));
        break;
    case SHELL_FAILED:
        b->failed++;
        break;
    case SHELL_OPEN:
    case SHELL_INPUT_END:
    case SHELL_RESIZE:
    case SHELL_CLOSE:
        fail_msg("the agent sent %c", (char)f->type);
    }
}

static void read_host(struct bed *b)
{
    struct shell_frame frame;
    size_t used;
    ssize_t n = recv(b->host, b->in.data + b->in.len, shell_bytes_left(&b->in), 0);
    b->in.len += n > 0 ? (size_t)n : 0;
    while (shell_frame_parse(&b->in, &frame, &used) == SHELL_PARSED) {
        take_frame(b, &frame);
        shell_bytes_drop(&b->in, used);
    }
}

/* One turn of the agent's loop. */
static void turn(struct bed *b, bool reads)
{
    int status;
    struct pollfd p[] = {{.fd = b->shell.epoll_fd, .events = POLLIN},
                         {.fd = reads ? b->host : -1, .events = POLLIN}};
    (void)poll(p, 2, 10);
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        agent_shell_reaped(&b->shell, pid, status);
    }
    agent_shell_work(&b->shell, clock_mono_ms());
    if (reads) {
        read_host(b);
    }
}

#define UNTIL(b, condition)                                                                        \
    do {                                                                                           \
        int64_t until_ms = clock_mono_ms() + WAIT_MS;                                              \
        while (!(condition)) {                                                                     \
            if (clock_mono_ms() >= until_ms)                                                       \
                fail_msg("output %s, exit %s, taken %d", (b)->output, (b)->exit_code, (b)->taken); \
            turn(b, true);                                                                         \
        }                                                                                          \
    } while (0)

static void commands_from_a_pipe_are_run(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 7, false);
    send_frame(&b, SHELL_DATA, 7, "echo $((6*7))\ntest -t 0 || exit 3\n");
    UNTIL(&b, b.exit_code[0] != '\0');
    assert_string_equal(b.exit_code, "3");
    assert_non_null(strstr(b.output, "42\n"));
    assert_int_equal(b.started, 1);
    assert_int_equal(b.taken, 1);
    close_bed(&b);
}

static void end_of_input_ends_shell(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, false);
    send_frame(&b, SHELL_DATA, 1, "cat; echo last");
    send_frame(&b, SHELL_INPUT_END, 1, "");
    UNTIL(&b, b.exit_code[0] != '\0');
    assert_string_equal(b.exit_code, "0");
    assert_non_null(strstr(b.output, "last\n"));
    close_bed(&b);
}

static void terminal_has_size_and_hangs_up(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, true);
    send_frame(&b, SHELL_DATA, 1, "stty -echo; tty; stty size\n");
    UNTIL(&b, strstr(b.output, "33 44") != NULL);
    assert_non_null(strstr(b.output, "/dev/pts/"));
    send_frame(&b, SHELL_RESIZE, 1, "50 60");
    send_frame(&b, SHELL_DATA, 1, "stty size\n");
    UNTIL(&b, strstr(b.output, "50 60") != NULL);
    send_frame(&b, SHELL_DATA, 1, "exit 4\n");
    UNTIL(&b, b.exit_code[0] != '\0');
    assert_string_equal(b.exit_code, "4");
    close_bed(&b);
}

/* Of a shell that reads nothing, and has taken one DATA. */
static void fill_pipe(struct bed *b, const char *block)
{
    for (int i = 2; b->shell.pending_len == 0; i++) {
        send_frame(b, SHELL_DATA, 1, block);
        UNTIL(b, b->taken == i || b->shell.pending_len > 0);
    }
}

static void close_ends_shell_that_reads_nothing(void **state)
{
    static struct bed b;
    char big[SHELL_BODY_MAX + 1];
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, false);
    send_frame(&b, SHELL_DATA, 1, "exec sleep 1000\n");
    UNTIL(&b, b.taken == 1);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    fill_pipe(&b, big);
    pid_t pid = b.shell.pid;
    assert_true(pid > 0);
    send_frame(&b, SHELL_CLOSE, 1, "");
    UNTIL(&b, !b.shell.open && kill(pid, 0) != 0 && errno == ESRCH);
    assert_string_equal(b.exit_code, "");
    close_bed(&b);
}

static void next_shell_is_a_fresh_one(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, false);
    send_frame(&b, SHELL_DATA, 1, "x=5; sleep 1000; echo never\n");
    UNTIL(&b, b.taken == 1);
    pid_t former = b.shell.pid;
    open_shell(&b, 2, false);
    send_frame(&b, SHELL_DATA, 1, "echo of the former\n");
    send_frame(&b, SHELL_DATA, 2, "echo \"[$x]\"; exit\n");
    UNTIL(&b, b.exit_code[0] != '\0' && kill(former, 0) != 0);
    assert_string_equal(b.output, "[]\n");
    close_bed(&b);
}

static void host_that_does_not_read_is_waited_for(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, false);
    send_frame(&b, SHELL_DATA, 1, "exec yes\n");
    UNTIL(&b, b.output_len > 0);
    for (int i = 0; i < 200; i++) {
        turn(&b, false);
    }
    assert_true(b.shell.to_host.len > 0);
    send_frame(&b, SHELL_CLOSE, 1, "");
    for (int i = 0; i < 200 && b.shell.open; i++) {
        turn(&b, false);
    }
    assert_false(b.shell.open);
    close_bed(&b);
}

static void nonsense_ends_the_session(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, false);
    UNTIL(&b, b.started == 1);
    assert_int_equal(send(b.host, "nonsense", 8, MSG_NOSIGNAL), 8);
    UNTIL(&b, !b.shell.open);
    send_frame(&b, SHELL_OPEN, 2, "terminal x");
    UNTIL(&b, b.failed == 1);
    open_shell(&b, 3, false);
    send_frame(&b, SHELL_INPUT_END, 3, "");
    UNTIL(&b, b.exit_code[0] != '\0');
    close_bed(&b);
}

static void host_that_ends_ends_the_shell(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    open_shell(&b, 1, true);
    UNTIL(&b, b.started == 1);
    assert_int_equal(shutdown(b.host, SHUT_RDWR), 0);
    for (int i = 0; i < 1000 && b.shell.port.fd >= 0; i++) {
        turn(&b, false);
    }
    assert_int_equal(b.shell.port.fd, -1);
    assert_false(b.shell.open);
    close_bed(&b);
}

static void frames_that_are_invalid_are_refused(void **state)
{
    struct shell_bytes in = {.len = 4, .data = "D\0\xff\xff"};
    struct shell_frame frame;
    struct shell_open o = {.rows = 1, .columns = 2, .term = "a b", .who = "some body"};
    char text[128];
    size_t used;
    (void)state;
    assert_int_equal(shell_frame_parse(&in, &frame, &used), SHELL_INVALID);
    in = (struct shell_bytes){.len = 1, .data = "q"};
    assert_int_equal(shell_frame_parse(&in, &frame, &used), SHELL_INVALID);
    in = (struct shell_bytes){.len = 5, .data = "D\1\0\2x"};
    assert_int_equal(shell_frame_parse(&in, &frame, &used), SHELL_INCOMPLETE);
    assert_true(shell_open_read(shell_open_write(&o, text), &o));
    assert_string_equal(o.term, "dumb");
    assert_string_equal(o.who, "-");
    assert_false(shell_open_read(SLICE("terminal 1 2 xterm me more"), &o));
    assert_false(shell_open_read(SLICE("terminal 1 20000 xterm me"), &o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_from_a_pipe_are_run),
        cmocka_unit_test(end_of_input_ends_shell),
        cmocka_unit_test(terminal_has_size_and_hangs_up),
        cmocka_unit_test(close_ends_shell_that_reads_nothing),
        cmocka_unit_test(next_shell_is_a_fresh_one),
        cmocka_unit_test(host_that_does_not_read_is_waited_for),
        cmocka_unit_test(nonsense_ends_the_session),
        cmocka_unit_test(host_that_ends_ends_the_shell),
        cmocka_unit_test(frames_that_are_invalid_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
