/* An output whose reader does not read: nothing here may wait for it, so a failure hangs. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "deploy/image/agent/agent_output.h"
#include "tests/lib/cmocka.h"

#define LINE "a line of thirty-two characters\n"
#define LINES 20000 /* more than a pipe and the output hold */

static struct buf logged;

static void keep_line(void *ctx, struct slice line)
{
    buf_append(ctx, line);
}

static void init_pipe(struct agent_output *o, int fd[2])
{
    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    agent_output_init(o, fd[1], "console");
    buf_init(&logged, 65536);
    log_set_writer(keep_line, &logged);
}

static void fini_pipe(struct agent_output *o, int fd[2])
{
    log_set_writer(NULL, NULL);
    agent_output_fini(o);
    buf_fini(&logged);
    close(fd[0]);
    close(fd[1]);
}

/* Reads what is there, and lets the output write the rest; returns the whole lines read. */
static int64_t read_all(struct agent_output *o, int fd)
{
    char chunk[4096];
    int64_t bytes = 0;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    for (ssize_t n = 1; n > 0;) {
        n = read(fd, chunk, sizeof chunk);
        bytes += n > 0 ? n : 0;
        agent_output_flush(o);
        if (n < 0 && o->held.len > 0) {
            n = 1;
        }
    }
    assert_int_equal(bytes % (int64_t)strlen(LINE), 0);
    return bytes / (int64_t)strlen(LINE);
}

static void lines_beyond_the_limit_are_dropped_and_counted_once(void **state)
{
    struct agent_output o;
    int fd[2];
    char want[64];
    init_pipe(&o, fd);
    for (int i = 0; i < LINES; i++) {
        agent_output_line(&o, SLICE(LINE));
    }
    assert_int_equal(logged.len, 0); /* nobody has read yet */
    int64_t got = read_all(&o, fd[0]);
    assert_in_range(got, 1, LINES - 1);
    (void)snprintf(want, sizeof want, "\"output\":\"console\",\"lines\":%lld}",
                   (long long)(LINES - got));
    assert_non_null(strstr(logged.data, "\"msg\":\"output_dropped\""));
    assert_non_null(strstr(logged.data, want));
    buf_reset(&logged);
    agent_output_line(&o, SLICE(LINE));
    assert_int_equal(read_all(&o, fd[0]), 1);
    assert_int_equal(logged.len, 0);
    fini_pipe(&o, fd);
}

static void reader_that_is_gone_costs_nothing(void **state)
{
    struct agent_output o;
    int fd[2];
    init_pipe(&o, fd);
    close(fd[0]);
    fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)signal(SIGPIPE, SIG_IGN); /* as in the agent */
    for (int i = 0; i < LINES; i++) {
        agent_output_line(&o, SLICE(LINE));
    }
    assert_int_equal(o.fd, -1);
    assert_int_equal(o.held.len, 0);
    fini_pipe(&o, fd);
}

static void descriptor_of_the_children_blocks_as_before(void **state)
{
    struct agent_output o;
    int fd[2];
    init_pipe(&o, fd);
    assert_int_equal(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
    fini_pipe(&o, fd);
}

static void drain_ends_without_a_reader(void **state)
{
    struct agent_output o;
    int fd[2];
    init_pipe(&o, fd);
    for (int i = 0; i < LINES; i++) {
        agent_output_line(&o, SLICE(LINE));
    }
    agent_output_drain(&o, 50);
    assert_true(o.held.len > 0);
    fini_pipe(&o, fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_beyond_the_limit_are_dropped_and_counted_once),
        cmocka_unit_test(reader_that_is_gone_costs_nothing),
        cmocka_unit_test(descriptor_of_the_children_blocks_as_before),
        cmocka_unit_test(drain_ends_without_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
