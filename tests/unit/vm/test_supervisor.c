/* The supervisor's parts: the console file, the control group, the way to the proxy. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "tests/lib/cmocka.h"
#include "worker/supervisor/supervisor.h"

static char dir[256];

static int make_dir(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-supervisor-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **state)
{
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void read_file(const char *name, struct buf *out)
{
    char path[768];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    buf_init(out, 65536);
    if (fs_read(path, out, &e) != 0) {
        buf_reset(out);
    }
}

static void log_keeps_the_newest_part(void **state)
{
    static struct supervisor_log log;
    struct buf now;
    struct buf old;
    char expected[128];
    char both[128];
    supervisor_log_open(&log, dir, 20);
    for (int i = 0; i < 100; i++) {
        char text[8];
        int n = snprintf(text, sizeof text, "%02d,", i);
        supervisor_log_write(&log, (struct slice){text, (size_t)n});
    }
    supervisor_log_close(&log);
    supervisor_log_close(&log);
    read_file("console.log", &now);
    read_file("console.log.1", &old);
    assert_true(now.len + old.len >= 10 && now.len + old.len <= 20);
    (void)snprintf(both, sizeof both, "%s%s", old.data, now.data);
    (void)snprintf(expected, sizeof expected, "92,93,94,95,96,97,98,99,");
    assert_string_equal(both, expected + strlen(expected) - strlen(both));
    buf_fini(&now);
    buf_fini(&old);
}

static void log_one_write_beyond_the_cap_keeps_its_end(void **state)
{
    static struct supervisor_log log;
    struct buf now;
    struct buf old;
    supervisor_log_open(&log, dir, 8);
    supervisor_log_write(&log, SLICE("abcdefghijklmnopqrstuvwxyz"));
    supervisor_log_close(&log);
    read_file("console.log", &now);
    read_file("console.log.1", &old);
    assert_string_equal(old.data, "uvwx");
    assert_string_equal(now.data, "yz");
    buf_fini(&now);
    buf_fini(&old);
}

/* --- the control group, on a tree that looks like one --------------------------------------- */

static void make_group(const char *path, const char *controllers)
{
    char name[768];
    struct err e;
    (void)snprintf(name, sizeof name, "%s/%s", dir, path);
    assert_int_equal(fs_mkdirs(name, 0755, &e), 0);
    (void)snprintf(name, sizeof name, "%s/%s/cgroup.subtree_control", dir, path);
    assert_int_equal(fs_write_atomic(name, slice_of(controllers), 0644, &e), 0);
}

static bool delegate(const char *path)
{
    char name[768];
    (void)snprintf(name, sizeof name, "%s/%s", dir, path);
    return setxattr(name, "user.delegate", "1", 1, 0) == 0;
}

static struct qemu_launch launch_in(char *cgroup)
{
    return (struct qemu_launch){.cgroup = cgroup, .cpus = 2, .memory_limit_bytes = 1 << 20};
}

static void cgroup_not_delegated_is_left_alone(void **state)
{
    char name[] = "mayfly-vm-1";
    char out[512] = "x";
    struct qemu_launch launch = launch_in(name);
    struct stat st;
    char path[768];
    make_group("system.slice/worker.service", "cpu memory pids");
    assert_int_equal(
        supervisor_cgroup_make(dir, "/system.slice/worker.service", &launch, out, sizeof out), -1);
    assert_string_equal(out, "");
    (void)snprintf(path, sizeof path, "%s/system.slice/worker.service/mayfly-vm-1", dir);
    assert_int_equal(stat(path, &st), -1);
}

/* Below the group that was delegated stands the worker's own, which has processes; the VM's group
 * is made beside it. The kernel makes a group's files; here they are not there, so that entering
 * fails and the group is removed again. */
static void cgroup_is_made_beside_the_worker(void **state)
{
    char name[] = "mayfly-vm-1";
    char out[512] = "x";
    char path[768];
    struct err e;
    struct qemu_launch launch = launch_in(name);
    make_group("worker.service/main", "");
    make_group("worker.service", "cpu memory pids");
    if (!delegate("worker.service")) {
        skip(); /* no user attributes on this file system */
    }
    assert_int_equal(supervisor_cgroup_make(dir, "/worker.service/main", &launch, out, sizeof out),
                     -1);
    assert_string_equal(out, "");
    make_group("worker.service", "cpu memory pids");
    (void)snprintf(path, sizeof path, "%s/worker.service/mayfly-vm-1", dir);
    assert_int_equal(fs_mkdirs(path, 0755, &e), 0);
    static const char *const files[] = {"cgroup.procs", "memory.max", "pids.max", "cpu.max"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        (void)snprintf(path, sizeof path, "%s/worker.service/mayfly-vm-1/%s", dir, files[i]);
        assert_int_equal(fs_write_atomic(path, SLICE(""), 0644, &e), 0);
    }
    int fd = supervisor_cgroup_make(dir, "/worker.service/main", &launch, out, sizeof out);
    assert_true(fd >= 0);
    close(fd);
    (void)snprintf(path, sizeof path, "%s/worker.service/mayfly-vm-1", dir);
    assert_string_equal(out, path);
    struct buf text;
    read_file("worker.service/mayfly-vm-1/memory.max", &text);
    assert_string_equal(text.data, "1048576");
    buf_fini(&text);
    read_file("worker.service/mayfly-vm-1/cpu.max", &text);
    assert_string_equal(text.data, "250000 100000");
    buf_fini(&text);
}

/* --- the way to the proxy ------------------------------------------------------------------- */

static int listen_anywhere(char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(port, 8, "%d", (int)ntohs(address.sin_port));
    return fd;
}

static size_t read_all(int fd, char *out, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len < size && (n = read(fd, out + len, size - len)) > 0) {
        len += (size_t)n;
    }
    return len;
}

static pid_t start_connect(int vm_end, int other, const char *port)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(other);
        (void)dup2(vm_end, 0);
        (void)dup2(vm_end, 1);
        if (vm_end > 1) {
            close(vm_end);
        }
        _exit(supervisor_connect("127.0.0.1", port));
    }
    close(vm_end);
    return pid;
}

static void connect_carries_both_ways_and_both_ends(void **state)
{
    char port[8];
    int vm[2];
    int status;
    static char request[300000];
    static char got[300000];
    int listener = listen_anywhere(port);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vm), 0);
    pid_t pid = start_connect(vm[0], vm[1], port);
    int proxy = accept(listener, NULL, NULL);
    assert_true(proxy >= 0);
    memset(request, 'q', sizeof request);
    /* More than all buffers hold: it must flow while it is written. */
    pid_t writer = fork();
    if (writer == 0) {
        size_t done = 0;
        while (done < sizeof request) {
            ssize_t n = write(vm[1], request + done, sizeof request - done);
            done += n > 0 ? (size_t)n : 0;
        }
        (void)shutdown(vm[1], SHUT_WR);
        _exit(0);
    }
    assert_int_equal(read_all(proxy, got, sizeof got), sizeof request);
    assert_int_equal(read(proxy, got, 1), 0); /* the end of the request came through */
    assert_int_equal(write(proxy, "answer", 6), 6);
    close(proxy);
    assert_int_equal(read_all(vm[1], got, sizeof got), 6);
    assert_memory_equal(got, "answer", 6);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(vm[1]);
    close(listener);
}

static void connect_vm_gone_ends_it(void **state)
{
    char port[8];
    int vm[2];
    int status;
    int listener = listen_anywhere(port);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vm), 0);
    pid_t pid = start_connect(vm[0], vm[1], port);
    int proxy = accept(listener, NULL, NULL);
    close(vm[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    close(proxy);
    close(listener);
}

static void connect_to_nobody_fails(void **state)
{
    char port[8];
    int vm[2];
    int status;
    int listener = listen_anywhere(port);
    close(listener);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vm), 0);
    pid_t pid = start_connect(vm[0], vm[1], port);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    close(vm[1]);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(log_keeps_the_newest_part),
        IN_DIR(log_one_write_beyond_the_cap_keeps_its_end),
        IN_DIR(cgroup_not_delegated_is_left_alone),
        IN_DIR(cgroup_is_made_beside_the_worker),
        cmocka_unit_test(connect_carries_both_ways_and_both_ends),
        cmocka_unit_test(connect_vm_gone_ends_it),
        cmocka_unit_test(connect_to_nobody_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
