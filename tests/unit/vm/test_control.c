/* The control socket of a VM: its requests, who may ask, and the asker's side. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "tests/lib/cmocka.h"
#include "worker/supervisor/supervisor.h"

#define GROUP ((gid_t)61001)
#define USER ((uid_t)61002)
#define OTHER_USER ((uid_t)61003)

static char dir[256];
static char vm[300];
static struct supervisor_control control;

static int make_vm(void **state)
{
    struct err e;
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-control-XXXXXX");
    if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0) {
        return -1;
    }
    (void)snprintf(vm, sizeof vm, "%s/vms", dir);
    if (fs_mkdirs(vm, 0700, &e) != 0) {
        return -1;
    }
    (void)snprintf(vm, sizeof vm, "%s/vms/vm-1", dir);
    return fs_mkdirs(vm, 0755, &e);
}

/* As deploy/systemd/mayfly.tmpfiles.conf makes it; only root can. */
static int make_vm_of_group(void **state)
{
    char path[300];
    if (make_vm(state) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/vms", dir);
    return geteuid() != 0 || (chown(path, 0, GROUP) == 0 && chmod(path, 02770) == 0 &&
                              chown(vm, OTHER_USER, GROUP) == 0 && chmod(vm, 02770) == 0)
               ? 0
               : -1;
}

static void close_control(void)
{
    for (size_t i = 0; i < COUNT_OF(control.peers); i++) {
        if (control.peers[i].fd >= 0) {
            close(control.peers[i].fd);
            control.peers[i].fd = -1;
        }
    }
    close(control.listen_fd);
    control.listen_fd = -1;
}

static int remove_vm(void **state)
{
    struct err e;
    close_control();
    return fs_remove_tree(dir, &e);
}

static void open_control(void)
{
    struct err e;
    assert_int_equal(supervisor_control_open(&control, vm, &e), 0);
}

static int connect_to_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.90s/control", vm);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int must_connect(void)
{
    int fd = connect_to_control();
    assert_true(fd >= 0);
    return fd;
}

static void write_to(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* What was sent back so far; "closed" at the end of the connection. */
static const char *response_of(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[n < 0 ? 0 : n] = '\0';
    return n == 0 ? "closed" : text;
}

static void request_is_strict(void **state)
{
    static const char *const bad[] = {"",
                                      "END",
                                      "END 5",
                                      "END 5 ",
                                      "END  5 a",
                                      "END -1 a",
                                      "END x a",
                                      "end 5 a",
                                      "END 5 a b",
                                      "END 5 A",
                                      "END 5 a\rb",
                                      "END +5 a",
                                      "END 86400001 a",
                                      "END 5 a_b",
                                      "STOP 5 a",
                                      "END 5 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    struct qemu_end_request r = {.grace_ms = 7};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(qemu_end_request_parse(slice_of(bad[i]), &r));
    }
    assert_int_equal(r.grace_ms, 7);
    assert_true(qemu_end_request_parse(SLICE("END 5000 max-duration"), &r));
    assert_int_equal(r.grace_ms, 5000);
    assert_string_equal(r.reason, "max-duration");
}

static void request_is_taken_in_parts(void **state)
{
    struct qemu_end_request r;
    open_control();
    int fd = must_connect();
    assert_false(supervisor_control_take(&control, &r));
    write_to(fd, "END 100");
    assert_false(supervisor_control_take(&control, &r));
    write_to(fd, "0 terminated\n");
    assert_true(supervisor_control_take(&control, &r));
    assert_int_equal(r.grace_ms, 1000);
    assert_string_equal(r.reason, "terminated");
    assert_string_equal(response_of(fd), "OK\n");
    assert_false(supervisor_control_take(&control, &r));
    assert_string_equal(response_of(fd), ""); /* it stays connected */
    close(fd);
}

static void what_is_no_request_is_refused(void **state)
{
    static const char *const bad[] = {
        "KILL\n", "END\n", "\n",
        "a line that has no end and more bytes than any request may have, so that it ends here"};
    struct qemu_end_request r;
    open_control();
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int fd = must_connect();
        write_to(fd, bad[i]);
        assert_false(supervisor_control_take(&control, &r));
        assert_string_equal(response_of(fd), "ERR this is no request\n");
        close(fd);
    }
}

static void silent_connections_keep_nobody_out(void **state)
{
    int silent[3 * SUPERVISOR_PEERS];
    struct qemu_end_request r;
    open_control();
    for (size_t i = 0; i < COUNT_OF(silent); i++) {
        silent[i] = must_connect();
        assert_false(supervisor_control_take(&control, &r));
    }
    int fd = must_connect();
    write_to(fd, "END 0 terminated\n");
    assert_true(supervisor_control_take(&control, &r));
    assert_string_equal(response_of(fd), "OK\n");
    assert_string_equal(response_of(silent[0]), "closed");
    for (size_t i = 0; i < COUNT_OF(silent); i++) {
        close(silent[i]);
    }
    close(fd);
}

/* --- other users ----------------------------------------------------------------------------- */

/* Asks as another user and writes the response, or the reason that it cannot connect, to `out`. */
static void ask_as(uid_t user, gid_t primary, gid_t supplementary, char *out, size_t size)
{
    struct qemu_end_request r;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = setgroups(1, &supplementary) == 0 && setgid(primary) == 0 && setuid(user) == 0;
        int fd = ok ? connect_to_control() : -1;
        const char *said = fd < 0 ? strerror(errno) : "connected";
        (void)!write(fds[1], said, strlen(said));
        if (fd >= 0) {
            (void)!write(fd, "END 0 terminated\n", 17);
            (void)!recv(fd, &r, 1, MSG_PEEK);
            said = response_of(fd);
            (void)!write(fds[1], said, strlen(said));
        }
        _exit(0);
    }
    close(fds[1]);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        (void)!supervisor_control_take(&control, &r);
        (void)poll(NULL, 0, 1);
    }
    ssize_t n = read(fds[0], out, size - 1);
    out[n < 0 ? 0 : n] = '\0';
    close(fds[0]);
}

static void members_of_the_group_are_served_and_others_are_not(void **state)
{
    char said[512];
    if (geteuid() != 0) {
        skip();
    }
    open_control();
    ask_as(USER, GROUP, USER, said, sizeof said);
    assert_string_equal(said, "connectedOK\n");
    ask_as(USER, USER, GROUP, said, sizeof said);
    assert_string_equal(said, "connectedOK\n");
    ask_as(0, 0, 0, said, sizeof said);
    assert_string_equal(said, "connectedOK\n");
    ask_as(USER, USER, USER, said, sizeof said);
    assert_string_equal(said, "Permission denied");
}

/* The files' modes are one lock; the check of the peer holds without them. */
static void others_are_refused_though_they_can_connect(void **state)
{
    char said[512];
    char path[320];
    if (geteuid() != 0) {
        skip();
    }
    open_control();
    (void)snprintf(path, sizeof path, "%s/vms", dir);
    assert_int_equal(chmod(path, 02775), 0);
    assert_int_equal(chmod(vm, 02775), 0);
    (void)snprintf(path, sizeof path, "%s/control", vm);
    assert_int_equal(chmod(path, 0666), 0);
    ask_as(USER, USER, USER, said, sizeof said);
    assert_memory_equal(said, "connectedERR user 61002 is neither", 34);
    /* A group that the directory is not writable to has no say. */
    (void)snprintf(path, sizeof path, "%s/vms", dir);
    assert_int_equal(chmod(path, 02755), 0);
    close_control();
    open_control();
    (void)snprintf(path, sizeof path, "%s/control", vm);
    assert_int_equal(chmod(path, 0666), 0);
    ask_as(USER, GROUP, GROUP, said, sizeof said);
    assert_memory_equal(said, "connectedERR user 61002 is neither", 34);
}

/* --- the asker's side ------------------------------------------------------------------------ */

static void end_where_nobody_listens_is_success(void **state)
{
    struct err e;
    char gone[320];
    assert_int_equal(qemu_control_end(vm, 0, "terminated", &e), 0);
    (void)snprintf(gone, sizeof gone, "%s/not-there", vm);
    assert_int_equal(qemu_control_end(gone, 0, "terminated", &e), 0);
    open_control(); /* a supervisor that was killed leaves its socket */
    close_control();
    assert_int_equal(qemu_control_end(vm, 0, "terminated", &e), 0);
}

struct asker {
    pthread_t thread;
    int rc;
    struct err e;
};

static void *ask_in_thread(void *arg)
{
    struct asker *a = arg;
    a->rc = qemu_control_end(vm, 0, "terminated", &a->e);
    return NULL;
}

static void end_is_over_when_the_supervisor_is_gone(void **state)
{
    struct asker a;
    struct qemu_end_request r;
    open_control();
    assert_int_equal(pthread_create(&a.thread, NULL, ask_in_thread, &a), 0);
    while (!supervisor_control_take(&control, &r)) {
        (void)poll(NULL, 0, 1);
    }
    /* Its connection makes room for others: it asks again. */
    close(control.peers[0].fd);
    control.peers[0].fd = -1;
    while (!supervisor_control_take(&control, &r)) {
        (void)poll(NULL, 0, 1);
    }
    close_control();
    assert_int_equal(pthread_join(a.thread, NULL), 0);
    assert_int_equal(a.rc, 0);
}

static void end_that_is_refused_says_by_whom(void **state)
{
    struct asker a;
    open_control();
    assert_int_equal(pthread_create(&a.thread, NULL, ask_in_thread, &a), 0);
    struct pollfd p = {.fd = control.listen_fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60000), 1);
    int fd = accept4(control.listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    write_to(fd, "ERR not you\n");
    assert_int_equal(pthread_join(a.thread, NULL), 0);
    close(fd);
    assert_int_equal(a.rc, -1);
    assert_int_equal(a.e.class, ERR_AUTH);
    assert_non_null(strstr(a.e.message, "refused: ERR not you"));
}

#define ON_VM(test) cmocka_unit_test_setup_teardown(test, make_vm, remove_vm)
#define ON_VM_OF_GROUP(test) cmocka_unit_test_setup_teardown(test, make_vm_of_group, remove_vm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_is_strict),
        ON_VM(request_is_taken_in_parts),
        ON_VM(what_is_no_request_is_refused),
        ON_VM(silent_connections_keep_nobody_out),
        ON_VM_OF_GROUP(members_of_the_group_are_served_and_others_are_not),
        ON_VM_OF_GROUP(others_are_refused_though_they_can_connect),
        ON_VM(end_where_nobody_listens_is_success),
        ON_VM(end_is_over_when_the_supervisor_is_gone),
        ON_VM(end_that_is_refused_says_by_whom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
