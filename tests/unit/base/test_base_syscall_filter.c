/* Each kind of rule decides about its call and no other. In a child, since a filter stays. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/syscall_filter.h"
#include "tests/lib/cmocka.h"

#define NO_FILTER 200

/* 0, or the line of the first check that failed. */
typedef int checks_fn(struct syscall_filter *f);

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            return __LINE__;                                                                       \
        }                                                                                          \
    } while (0)

static bool install(struct syscall_filter *f)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall_filter_install(f) == 0;
}

static bool fails(long rc, int errnum)
{
    return rc == -1 && errno == errnum;
}

static void run_in_child(checks_fn *checks)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        struct syscall_filter f;
        syscall_filter_begin(&f);
        _exit(checks(&f));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_FILTER) {
        skip(); /* a kernel or a container without seccomp */
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int check_denied(struct syscall_filter *f)
{
    static const int calls[] = {SYS_getsid, SYS_getpgid};
    syscall_filter_deny(f, SYS_getppid, ENOSYS);
    syscall_filter_deny_all(f, calls, COUNT_OF(calls));
    if (!install(f)) {
        return NO_FILTER;
    }
    CHECK(fails(syscall(SYS_getppid), ENOSYS));
    CHECK(fails(syscall(SYS_getsid, 0), EPERM));
    CHECK(fails(syscall(SYS_getpgid, 0), EPERM));
    CHECK(syscall(SYS_getuid) >= 0);
    return 0;
}

static int check_values(struct syscall_filter *f)
{
    static const uint32_t families[] = {AF_UNIX, AF_INET};
    syscall_filter_deny_value(f, SYS_fcntl, 1, F_GETFL);
    syscall_filter_allow_values(f, SYS_socket, 0, families, COUNT_OF(families));
    syscall_filter_deny(f, SYS_getppid, EPERM);
    if (!install(f)) {
        return NO_FILTER;
    }
    CHECK(fails(syscall(SYS_fcntl, 0, F_GETFL), EPERM));
    CHECK(syscall(SYS_fcntl, 0, F_GETFD) >= 0);
    CHECK(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0) >= 0);
    CHECK(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0) >= 0);
    CHECK(fails(syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0), EPERM));
    CHECK(
        fails(syscall(SYS_getppid), EPERM)); /* the rules behind those that looked at an argument */
    return 0;
}

static int check_bits(struct syscall_filter *f)
{
    syscall_filter_allow_without_bits(f, SYS_openat, 2, O_WRONLY | O_RDWR);
    syscall_filter_allow_with_bits(f, SYS_pipe2, 1, O_CLOEXEC);
    syscall_filter_deny(f, SYS_getppid, EPERM);
    int fds[2];
    if (!install(f)) {
        return NO_FILTER;
    }
    CHECK(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY) >= 0);
    CHECK(fails(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_WRONLY), EPERM));
    CHECK(fails(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC), EPERM));
    CHECK(syscall(SYS_pipe2, fds, O_CLOEXEC | O_NONBLOCK) == 0);
    CHECK(fails(syscall(SYS_pipe2, fds, O_NONBLOCK), EPERM));
    CHECK(fails(syscall(SYS_getppid), EPERM));
    return 0;
}

static void denied_calls_fail_with_their_errno(void **state)
{
    (void)state;
    run_in_child(check_denied);
}

static void values_of_an_argument_decide(void **state)
{
    (void)state;
    run_in_child(check_values);
}

static void bits_of_an_argument_decide(void **state)
{
    (void)state;
    run_in_child(check_bits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(denied_calls_fail_with_their_errno),
        cmocka_unit_test(values_of_an_argument_decide),
        cmocka_unit_test(bits_of_an_argument_decide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
