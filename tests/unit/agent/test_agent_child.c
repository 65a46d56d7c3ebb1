/* A child is killed whenever that is, with what it has started. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deploy/image/agent/agent_child.h"
#include "tests/lib/cmocka.h"

static int wait_for_ever(const void *ctx)
{
    int fd = *(const int *)ctx;
    if (fork() == 0 && fork() == 0) {
        (void)!write(fd, "x", 1);
    }
    while (pause() < 0) {
    }
    return 0;
}

/* The read end of a pipe that is open as long as one of them runs. */
static pid_t start(int *out_fd)
{
    struct err e = {0};
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = agent_child_start(wait_for_ever, &fd[1], &e);
    assert_true(pid > 0);
    close(fd[1]);
    *out_fd = fd[0];
    return pid;
}

static void expect_dead(pid_t pid, int fd)
{
    int status = 0;
    char byte;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (read(fd, &byte, 1) > 0) {
    }
    close(fd);
}

static void one_that_has_no_session_yet_is_killed(void **state)
{
    for (int i = 0; i < 100; i++) {
        int fd;
        pid_t pid = start(&fd);
        agent_child_kill(pid);
        expect_dead(pid, fd);
    }
}

static void its_children_die_with_it(void **state)
{
    int fd;
    char byte;
    pid_t pid = start(&fd);
    assert_int_equal(read(fd, &byte, 1), 1); /* a grandchild runs */
    agent_child_kill(pid);
    expect_dead(pid, fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_has_no_session_yet_is_killed),
        cmocka_unit_test(its_children_die_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
