#include "agent_bed.h"
#include "tests/lib/cmocka.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

#define OWN_OPTIONS_MAX 12

void agent_bed_init(struct agent_bed *b, const char *script)
{
    scripts_open(&b->scripts);
    scripts_write(&b->scripts, script);
}

/* In the child: never returns. */
static void run(const char *program, const char *runner, int status, const char *const *options)
{
    char status_path[32];
    const char *argv[9 + OWN_OPTIONS_MAX] = {
        "mayfly-agent", "--status", status_path, "--runner", runner, "--user", "", "--no-unique"};
    union {
        const char **in;
        char *const *out;
    } args = {.in = argv};
    for (size_t i = 0; i < OWN_OPTIONS_MAX && options[i] != NULL; i++) {
        argv[8 + i] = options[i];
    }
    (void)snprintf(status_path, sizeof status_path, "/dev/fd/%d", status);
    execv(program, args.out);
    _exit(126);
}

void agent_bed_start(struct agent_bed *b, const char *program, int output,
                     const char *const *options)
{
    int status[2], said[2];
    assert_int_equal(pipe(status), 0);
    assert_int_equal(pipe2(said, O_CLOEXEC), 0);
    assert_int_equal(fcntl(status[0], F_SETFD, FD_CLOEXEC), 0);
    b->pid = fork();
    assert_true(b->pid >= 0);
    if (b->pid == 0) {
        if (dup2(said[1], output) >= 0) {
            run(program, b->scripts.path, status[1], options);
        }
        _exit(126);
    }
    close(status[1]);
    close(said[1]);
    b->status = status[0];
    b->output = said[0];
}

void agent_bed_finish(struct agent_bed *b, int want_exit)
{
    int status;
    assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), want_exit);
    close(b->status);
    close(b->output);
    scripts_close(&b->scripts);
}

void agent_await_full(int fd)
{
    int64_t until_ms = clock_mono_ms() + 30000;
    int room = fcntl(fd, F_GETPIPE_SZ);
    int have = 0;
    /* A page may have an unused rest. */
    while (have < room / 2) {
        assert_int_equal(ioctl(fd, FIONREAD, &have), 0);
        assert_true(clock_mono_ms() < until_ms);
        clock_sleep_until(clock_mono_ms() + 10);
    }
    for (int before = -1; before != have;) {
        before = have;
        clock_sleep_until(clock_mono_ms() + 200);
        assert_int_equal(ioctl(fd, FIONREAD, &have), 0);
    }
}

void agent_read_line(int fd, char *out, size_t size)
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

void agent_expect_line(int fd, const char *want)
{
    char line[512];
    agent_read_line(fd, line, sizeof line);
    assert_string_equal(line, want);
}

void agent_expect_prefix(int fd, const char *want)
{
    char line[512];
    agent_read_line(fd, line, sizeof line);
    assert_memory_equal(line, want, strlen(want));
}
