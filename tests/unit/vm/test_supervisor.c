/* The supervisor's parts: the console file, the control group, the reports of the gateway. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    assert_int_equal(log.dropped, 300 - (int64_t)(now.len + old.len));
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

/* A guest's console and QEMU's messages are read on a terminal. */
static void log_escapes_what_acts_on_a_terminal(void **state)
{
    static struct supervisor_log log;
    struct buf now;
    supervisor_log_open(&log, dir, 1000);
    supervisor_log_write(&log, SLICE("one\r\n\x1b]0;title\a two\x7f\n"));
    supervisor_log_write(&log, SLICE("in pieces: \xe2\x80"));
    supervisor_log_write(&log, SLICE("\xaegnp \xc2"));
    supervisor_log_write(&log, SLICE("\x9b"
                                     "1m \xf0\x9f"));
    supervisor_log_write(&log, SLICE("\x99\x82 \xc3\xa9 \xff\r"));
    supervisor_log_write(&log, SLICE("\n\r"));
    supervisor_log_write(&log, SLICE("over\n"));
    supervisor_log_close(&log);
    read_file("console.log", &now);
    assert_string_equal(now.data,
                        "one\n\\u001b]0;title\\u0007 two\\u007f\n"
                        "in pieces: \\u202egnp \\u009b1m \xf0\x9f\x99\x82 \xc3\xa9 \xef\xbf\xbd\n"
                        "\\rover\n");
    buf_fini(&now);
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
    struct supervisor_cgroup made;
    struct qemu_launch launch = launch_in(name);
    struct stat st;
    char path[768];
    make_group("system.slice/worker.service", "cpu memory pids");
    assert_int_equal(supervisor_cgroup_enter(dir, "/system.slice/worker.service", &launch, &made),
                     -1);
    assert_string_equal(made.dir, "");
    assert_false(supervisor_cgroup_was_full(&made));
    (void)snprintf(path, sizeof path, "%s/system.slice/worker.service/mayfly-vm-1", dir);
    assert_int_equal(stat(path, &st), -1);
}

static void put_in_group(const char *file, const char *text)
{
    char path[768];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/worker.service/mayfly-vm-1/%s", dir, file);
    assert_int_equal(fs_write_atomic(path, slice_of(text), 0644, &e), 0);
}

static void assert_in_group(const char *file, const char *expected)
{
    char name[256];
    struct buf text;
    (void)snprintf(name, sizeof name, "worker.service/mayfly-vm-1/%s", file);
    read_file(name, &text);
    assert_string_equal(text.data, expected);
    buf_fini(&text);
}

/* As the kernel makes it. */
static void make_vm_group(void)
{
    static const char *const files[] = {
        "memory.max",      "memory.swap.max",        "pids.max",
        "cpu.max",         "cgroup.subtree_control", "supervisor/cgroup.procs",
        "vm/cgroup.procs", "vm/memory.oom.group"};
    make_group("worker.service/mayfly-vm-1/supervisor", "");
    make_group("worker.service/mayfly-vm-1/vm", "");
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        put_in_group(files[i], "");
    }
}

/* Below the group that was delegated stands the worker's own, which has processes; the VM's group
 * is made beside it. The kernel makes a group's files; here they are not there at first, so that
 * entering fails and the group is removed again. */
static void cgroup_is_made_beside_the_worker(void **state)
{
    char name[] = "mayfly-vm-1";
    char path[768];
    struct stat st;
    struct supervisor_cgroup made;
    struct qemu_launch launch = launch_in(name);
    make_group("worker.service/main", "");
    make_group("worker.service", "cpu memory pids");
    if (!delegate("worker.service")) {
        skip(); /* no user attributes on this file system */
    }
    assert_int_equal(supervisor_cgroup_enter(dir, "/worker.service/main", &launch, &made), -1);
    assert_string_equal(made.dir, "");
    (void)snprintf(path, sizeof path, "%s/worker.service/mayfly-vm-1", dir);
    assert_int_equal(stat(path, &st), -1);
    make_vm_group();
    int fd = supervisor_cgroup_enter(dir, "/worker.service/main", &launch, &made);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "0", 1), 1);
    close(fd);
    assert_string_equal(made.dir, path);
    assert_in_group("memory.max", "1048576");
    assert_in_group("memory.swap.max", "0");
    assert_in_group("pids.max", "512");
    assert_in_group("cpu.max", "250000 100000");
    /* The supervisor is counted with its VM, and outlives it when their memory is used up. */
    assert_in_group("cgroup.subtree_control", "+memory");
    assert_in_group("supervisor/cgroup.procs", "0");
    assert_in_group("vm/cgroup.procs", "0");
    assert_in_group("vm/memory.oom.group", "1");
}

static void cgroup_that_killed_is_known_to_be_full(void **state)
{
    struct supervisor_cgroup made = {.dir = ""};
    make_vm_group();
    (void)snprintf(made.dir, sizeof made.dir, "%s/worker.service/mayfly-vm-1", dir);
    assert_false(supervisor_cgroup_was_full(&made));
    put_in_group("memory.events", "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\n");
    assert_false(supervisor_cgroup_was_full(&made));
    put_in_group("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n");
    assert_true(supervisor_cgroup_was_full(&made));
}

static void cgroup_counts_the_processes_that_it_refused(void **state)
{
    struct supervisor_cgroup made = {.dir = ""};
    make_vm_group();
    (void)snprintf(made.dir, sizeof made.dir, "%s/worker.service/mayfly-vm-1", dir);
    assert_int_equal(supervisor_cgroup_refused_processes(&made), 0);
    put_in_group("pids.events", "max 12\n");
    assert_int_equal(supervisor_cgroup_refused_processes(&made), 12);
}

/* It goes back to where it was, and nothing of the group is left. */
static void cgroup_that_is_left_is_removed(void **state)
{
    struct supervisor_cgroup made = {.dir = ""};
    struct stat st;
    char path[768];
    struct buf text;
    struct err e;
    make_group("worker.service/main", "");
    (void)snprintf(made.home, sizeof made.home, "%s/worker.service/main", dir);
    (void)snprintf(path, sizeof path, "%s/cgroup.procs", made.home);
    assert_int_equal(fs_write_atomic(path, SLICE(""), 0644, &e), 0);
    (void)snprintf(made.dir, sizeof made.dir, "%s/worker.service/mayfly-vm-1", dir);
    (void)snprintf(path, sizeof path, "%s/vm", made.dir);
    assert_int_equal(fs_mkdirs(path, 0755, &e), 0);
    (void)snprintf(path, sizeof path, "%s/supervisor", made.dir);
    assert_int_equal(fs_mkdirs(path, 0755, &e), 0);
    (void)snprintf(path, sizeof path, "%s", made.dir);
    supervisor_cgroup_leave(&made);
    assert_int_equal(stat(path, &st), -1);
    read_file("worker.service/main/cgroup.procs", &text);
    assert_string_equal(text.data, "0");
    buf_fini(&text);
}

/* --- what the gateway reports ---------------------------------------------------------------- */

static struct supervisor_network network_in_dir(void)
{
    return (struct supervisor_network){.dir = dir};
}

static void take(struct supervisor_network *n, const char *text)
{
    supervisor_network_take(n, slice_of(text));
}

static void refusals_become_a_notice_that_is_taken_once(void **state)
{
    struct supervisor_network n = network_in_dir();
    struct qemu_notice notice;
    take(&n, "REFUSED private 2 tcp 10.1.2.3 ");
    take(&n, "443\nREFUSED private 3 tcp 10.9.9.9 80\nREFUSED loopback 1 udp 127.0.0.1 53\n");
    assert_int_equal(supervisor_network_publish(&n), INT64_MAX);
    assert_true(qemu_notice_take(dir, &notice));
    assert_false(qemu_notice_take(dir, &notice));
    assert_int_equal(notice.refused[NET_PRIVATE].count, 5);
    assert_true(notice.refused[NET_PRIVATE].first);
    assert_string_equal(notice.refused[NET_PRIVATE].text, "tcp 10.1.2.3 443");
    assert_int_equal(notice.refused[NET_LOOPBACK].count, 1);
    assert_int_equal(notice.refused[NET_LINK_LOCAL].count, 0);
}

static void notice_that_is_not_taken_waits_and_is_joined(void **state)
{
    struct supervisor_network n = network_in_dir();
    struct qemu_notice notice;
    take(&n, "REFUSED private 2 tcp 10.1.2.3 443\n");
    assert_int_equal(supervisor_network_publish(&n), INT64_MAX);
    take(&n, "REFUSED private 3 tcp 10.9.9.9 80\nREFUSED packet 1 ip 0.0.0.0 0\n");
    n.write_at_ms = 0;
    assert_true(supervisor_network_publish(&n) < INT64_MAX);
    supervisor_network_finish(&n);
    assert_true(qemu_notice_take(dir, &notice));
    assert_int_equal(notice.refused[NET_PRIVATE].count, 5);
    assert_true(notice.refused[NET_PRIVATE].first);
    assert_string_equal(notice.refused[NET_PRIVATE].text, "tcp 10.1.2.3 443");
    assert_int_equal(notice.refused[NET_PACKET].count, 1);
    take(&n, "REFUSED private 1 tcp 10.1.2.3 443\n");
    supervisor_network_finish(&n);
    assert_true(qemu_notice_take(dir, &notice));
    assert_false(notice.refused[NET_PRIVATE].first);
}

/* The real user of a supervisor is its VM's, to whom the directory is closed. */
static void notice_of_a_vm_with_a_user_waits_too(void **state)
{
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(setresuid(65534, 0, 0), 0);
    notice_that_is_not_taken_waits_and_is_joined(state);
    assert_int_equal(setresuid(0, 0, 0), 0);
}

static void output_that_is_no_report_is_kept_as_text(void **state)
{
    static const char *const bad[] = {"REFUSED everything 1 tcp 1.1.1.1 1\n",
                                      "REFUSED private 0 tcp 1.1.1.1 1\n",
                                      "REFUSED private x tcp 1.1.1.1 1\n", "REFUSED\n", "READY?\n"};
    struct supervisor_network n = network_in_dir();
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        take(&n, bad[i]);
        assert_memory_equal(n.last, bad[i], strlen(bad[i]) - 1);
        assert_false(n.unsaid);
        assert_false(n.ready);
    }
    take(&n, "a\033[31mb\n");
    assert_string_equal(n.last, "a?[31mb");
    for (int i = 0; i < 100; i++) {
        take(&n, "no newline in all of this");
    }
    take(&n, "\nREADY\n");
    assert_true(n.ready);
}

/* Writes to a pipe and closes it, then waits for the gateway at its other end. */
static int wait_for(const char *output, struct err *e)
{
    struct supervisor_network n = network_in_dir();
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(write(fds[1], output, strlen(output)), strlen(output));
    close(fds[1]);
    int rc = supervisor_network_wait(&n, fds[0], e);
    close(fds[0]);
    return rc;
}

static void gateway_that_is_not_ready_is_an_error_with_its_text(void **state)
{
    struct err e;
    assert_int_equal(wait_for("READY\n", &e), 0);
    assert_int_equal(wait_for("ERR no seccomp here\n", &e), -1);
    assert_string_equal(e.message, "the gateway of its network did not start: no seccomp here");
    assert_int_equal(wait_for("", &e), -1);
    assert_string_equal(e.message,
                        "the gateway of its network did not start: it ended without a word");
}

/* --- what QEMU reports ------------------------------------------------------------------------ */

#define STOPPED "{\"event\": \"STOP\"}\r\n"
#define STATUS(text) "{\"return\": {\"status\": \"" text "\", \"running\": false}}\r\n"
#define DISK_FULL                                                                                  \
    "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"operation\": \"write\", \"action\": \"stop\", "  \
    "\"nospace\": true, \"reason\": \"No space left on device\"}}\r\n"
#define SPACE ((int64_t)1 << 30)

struct monitored {
    struct supervisor_monitor m;
    struct supervisor_network n;
    int qemu_fd;
};

static void monitored_init(struct monitored *q)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *q = (struct monitored){.m = {.fd = fds[0]}, .n = network_in_dir(), .qemu_fd = fds[1]};
}

static void monitored_fini(struct monitored *q)
{
    close(q->m.fd);
    close(q->qemu_fd);
}

static void qemu_says(struct monitored *q, const char *text)
{
    supervisor_monitor_take(&q->m, slice_of(text), &q->n);
}

static void assert_commands(struct monitored *q, const char *expected)
{
    char text[512] = "";
    ssize_t n = recv(q->qemu_fd, text, sizeof text - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    assert_string_equal(text, expected);
}

static void error_of_the_disk_is_reported_and_pauses_nothing(void **state)
{
    struct monitored q;
    monitored_init(&q);
    qemu_says(&q, "{\"QMP\": {\"version\": {}}}\r\n{\"return\": {}}\r\n");
    assert_commands(&q, "{\"execute\":\"qmp_capabilities\"}\n");
    qemu_says(&q, DISK_FULL DISK_FULL);
    assert_commands(&q, "");
    assert_int_equal(q.n.notice.events[QEMU_EVENT_IO_ERROR].count, 2);
    assert_true(q.n.notice.events[QEMU_EVENT_IO_ERROR].first);
    assert_string_equal(q.n.notice.events[QEMU_EVENT_IO_ERROR].text,
                        "write: No space left on device");
    assert_int_equal(supervisor_monitor_due(&q.m, 1000, 0), INT64_MAX);
    monitored_fini(&q);
}

static void vm_paused_by_its_disk_goes_on_when_there_is_space(void **state)
{
    struct monitored q;
    monitored_init(&q);
    qemu_says(&q, DISK_FULL STOPPED);
    assert_commands(&q, "{\"execute\":\"query-status\"}\n");
    qemu_says(&q, STATUS("io-error"));
    assert_string_equal(q.n.notice.events[QEMU_EVENT_PAUSED].text,
                        "io-error: write: No space left on device");
    int64_t now_ms = q.m.try_ms;
    assert_int_equal(supervisor_monitor_due(&q.m, now_ms, 1 << 20), now_ms + 1000);
    assert_commands(&q, "");
    assert_int_equal(supervisor_monitor_due(&q.m, now_ms + 999, SPACE), now_ms + 1000);
    assert_commands(&q, "");
    (void)supervisor_monitor_due(&q.m, now_ms + 1000, SPACE);
    assert_commands(&q, "{\"execute\":\"cont\"}\n");
    qemu_says(&q, "{\"return\": {}}\r\n{\"event\": \"RESUME\"}\r\n");
    assert_int_equal(supervisor_monitor_due(&q.m, now_ms + 400000, SPACE), INT64_MAX);
    assert_string_equal(q.m.end_reason, "");
    assert_int_equal(q.n.notice.events[QEMU_EVENT_RESUMED].count, 1);
    monitored_fini(&q);
}

static void vm_paused_by_its_disk_for_too_long_is_ended(void **state)
{
    struct monitored q;
    monitored_init(&q);
    qemu_says(&q, DISK_FULL STOPPED STATUS("io-error"));
    (void)supervisor_monitor_due(&q.m, q.m.paused_ms + 299999, 0);
    assert_string_equal(q.m.end_reason, "");
    (void)supervisor_monitor_due(&q.m, q.m.paused_ms + 300000, SPACE);
    assert_string_equal(q.m.end_reason, "paused for 300 s: write: No space left on device");
    monitored_fini(&q);
}

static void vm_that_qemu_cannot_run_is_ended_and_one_paused_by_hand_is_not(void **state)
{
    struct monitored q;
    monitored_init(&q);
    qemu_says(&q, STOPPED STATUS("internal-error"));
    assert_memory_equal(q.m.end_reason, "paused: QEMU cannot run it any more", 35);
    monitored_fini(&q);
    monitored_init(&q);
    qemu_says(&q, STOPPED STATUS("paused"));
    assert_int_equal(supervisor_monitor_due(&q.m, q.m.paused_ms + 400000, SPACE), INT64_MAX);
    assert_string_equal(q.m.end_reason, "");
    assert_string_equal(q.n.notice.events[QEMU_EVENT_PAUSED].text, "paused");
    monitored_fini(&q);
}

static void lines_of_qemu_that_mean_nothing_change_nothing(void **state)
{
    static const char *const bad[] = {
        "\n",       "{}\n", "[1]\n", "\"STOP\"\n", "{\"event\": 1}\n", "{\"event\": \"STOP\"\n",
        "\377\0x\n"};
    struct monitored q;
    monitored_init(&q);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        qemu_says(&q, bad[i]);
    }
    for (int i = 0; i < 10000; i++) {
        qemu_says(&q, "a line without an end, ");
    }
    qemu_says(&q, "\n");
    assert_int_equal(q.m.paused_ms, 0);
    assert_false(q.n.unsaid);
    qemu_says(&q, STOPPED STATUS("a\\u001b[31mb"));
    assert_string_equal(q.n.notice.events[QEMU_EVENT_PAUSED].text, "a?[31mb");
    monitored_fini(&q);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(log_keeps_the_newest_part),
        IN_DIR(log_one_write_beyond_the_cap_keeps_its_end),
        IN_DIR(log_escapes_what_acts_on_a_terminal),
        IN_DIR(cgroup_not_delegated_is_left_alone),
        IN_DIR(cgroup_is_made_beside_the_worker),
        IN_DIR(cgroup_that_killed_is_known_to_be_full),
        IN_DIR(cgroup_counts_the_processes_that_it_refused),
        IN_DIR(cgroup_that_is_left_is_removed),
        IN_DIR(refusals_become_a_notice_that_is_taken_once),
        IN_DIR(notice_that_is_not_taken_waits_and_is_joined),
        IN_DIR(notice_of_a_vm_with_a_user_waits_too),
        cmocka_unit_test(output_that_is_no_report_is_kept_as_text),
        cmocka_unit_test(error_of_the_disk_is_reported_and_pauses_nothing),
        cmocka_unit_test(vm_paused_by_its_disk_goes_on_when_there_is_space),
        cmocka_unit_test(vm_paused_by_its_disk_for_too_long_is_ended),
        cmocka_unit_test(vm_that_qemu_cannot_run_is_ended_and_one_paused_by_hand_is_not),
        cmocka_unit_test(lines_of_qemu_that_mean_nothing_change_nothing),
        cmocka_unit_test(gateway_that_is_not_ready_is_an_error_with_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
