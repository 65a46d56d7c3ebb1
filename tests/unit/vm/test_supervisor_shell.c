/* Shells as the supervisor passes them: this test is the VM's agent and mayflyctl. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/cmocka.h"
#include "worker/supervisor/shell.h"

#define MANY 2000

struct end {
    int fd;
    struct shell_bytes in;
};

struct bed {
    char dir[64];
    struct supervisor_shell shell;
    struct supervisor_network network;
    struct end vm;
};

static void open_bed(struct bed *b)
{
    struct err e = {0};
    int ends[2];
    memset(b, 0, sizeof *b);
    (void)snprintf(b->dir, sizeof b->dir, "/tmp/mayfly-shell-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    b->vm.fd = ends[0];
    assert_int_equal(supervisor_shell_open(&b->shell, b->dir, ends[1], &e), 0);
}

static void close_bed(struct bed *b)
{
    char path[96];
    supervisor_shell_close(&b->shell, &b->network);
    close(b->shell.listen_fd);
    close(b->shell.vm);
    close(b->vm.fd);
    (void)snprintf(path, sizeof path, "%s/shell", b->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(b->dir), 0);
}

static void work(struct bed *b)
{
    for (int i = 0; i < 4; i++) {
        (void)supervisor_shell_work(&b->shell, &b->network);
    }
}

static void send_frame(struct end *to, enum shell_type type, unsigned char session,
                       const char *body)
{
    struct shell_bytes out = {.len = 0};
    assert_true(shell_frame_put(&out, type, session, slice_of(body)));
    assert_int_equal(send(to->fd, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
}

/* The next frame; 0 if there is none, its body as text in `body` of 4097 bytes. */
static int next_frame(struct end *from, unsigned char *session, char *body)
{
    struct shell_frame f;
    size_t used;
    ssize_t n =
        recv(from->fd, from->in.data + from->in.len, shell_bytes_left(&from->in), MSG_DONTWAIT);
    from->in.len += n > 0 ? (size_t)n : 0;
    if (shell_frame_parse(&from->in, &f, &used) != SHELL_PARSED) {
        return 0;
    }
    *session = f.session;
    assert_true(slice_to_cstr(f.body, body, SHELL_BODY_MAX + 1));
    shell_bytes_drop(&from->in, used);
    return (int)f.type;
}

static void expect(struct bed *b, struct end *at, enum shell_type type, const char *body)
{
    unsigned char session;
    char got[SHELL_BODY_MAX + 1];
    work(b);
    assert_int_equal(next_frame(at, &session, got), (int)type);
    if (body != NULL) {
        assert_non_null(strstr(got, body));
    }
}

static struct end connect_client(struct bed *b)
{
    struct end client = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/shell", b->dir);
    assert_int_equal(connect(client.fd, (struct sockaddr *)&address, sizeof address), 0);
    return client;
}

/* A client with a shell. */
static struct end open_client(struct bed *b, const char *who)
{
    char request[64];
    struct end client = connect_client(b);
    (void)snprintf(request, sizeof request, "pipe 24 80 dumb %s", who);
    send_frame(&client, SHELL_OPEN, 0, request);
    expect(b, &b->vm, SHELL_OPEN, "pipe 24 80 dumb -");
    send_frame(&b->vm, SHELL_STARTED, b->shell.session, "");
    expect(b, &client, SHELL_STARTED, NULL);
    return client;
}

static int64_t count_of(const struct bed *b, enum qemu_event event)
{
    return b->network.notice.events[event].count;
}

static void shell_is_passed_on_and_noted(void **state)
{
    static struct bed b;
    char uid[32];
    (void)state;
    open_bed(&b);
    struct end client = open_client(&b, "alice@box");
    send_frame(&client, SHELL_DATA, 0, "ls\n");
    expect(&b, &b.vm, SHELL_DATA, "ls\n");
    send_frame(&b.vm, SHELL_TAKEN, b.shell.session, "");
    send_frame(&b.vm, SHELL_DATA, b.shell.session, "file");
    expect(&b, &client, SHELL_DATA, "file");
    assert_int_equal(count_of(&b, QEMU_EVENT_SHELL_CLOSED), 0);
    send_frame(&b.vm, SHELL_EXITED, b.shell.session, "3");
    expect(&b, &client, SHELL_EXITED, "3");
    work(&b);
    assert_int_equal(recv(client.fd, uid, 1, 0), 0); /* it is closed */
    assert_int_equal(count_of(&b, QEMU_EVENT_SHELL_OPENED), 1);
    assert_int_equal(count_of(&b, QEMU_EVENT_SHELL_CLOSED), 1);
    (void)snprintf(uid, sizeof uid, "alice@box (uid %u)", (unsigned)geteuid());
    assert_string_equal(b.network.notice.events[QEMU_EVENT_SHELL_OPENED].text, uid);
    close(client.fd);
    close_bed(&b);
}

static void second_client_is_told_who_has_it(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    struct end first = open_client(&b, "alice");
    struct end second = connect_client(&b);
    expect(&b, &second, SHELL_FAILED, "one at a time: alice (uid ");
    close(second.fd);
    close(first.fd);
    expect(&b, &b.vm, SHELL_CLOSE, NULL);
    struct end third = open_client(&b, "bob");
    assert_int_equal(count_of(&b, QEMU_EVENT_SHELL_OPENED), 2);
    assert_non_null(strstr(b.network.notice.events[QEMU_EVENT_SHELL_OPENED].text, "; bob (uid "));
    close(third.fd);
    work(&b);
    close_bed(&b);
}

static void input_waits_for_the_shell_and_close_does_not(void **state)
{
    static struct bed b;
    unsigned char session;
    char body[SHELL_BODY_MAX + 1];
    (void)state;
    open_bed(&b);
    struct end client = open_client(&b, "alice");
    send_frame(&client, SHELL_DATA, 0, "one");
    send_frame(&client, SHELL_DATA, 0, "two");
    expect(&b, &b.vm, SHELL_DATA, "one");
    work(&b);
    assert_int_equal(next_frame(&b.vm, &session, body), 0);
    close(client.fd);
    expect(&b, &b.vm, SHELL_CLOSE, NULL);
    close_bed(&b);
}

/* A VM that floods is not read for a client that does not read, nor for none. */
static void flood_is_left_in_the_vm(void **state)
{
    static struct bed b;
    struct shell_bytes out;
    char block[1001];
    (void)state;
    open_bed(&b);
    struct end client = open_client(&b, "alice");
    memset(block, 'y', sizeof block - 1);
    block[sizeof block - 1] = '\0';
    bool full = false;
    for (int i = 0; i < MANY && !full; i++) {
        out.len = 0;
        assert_true(shell_frame_put(&out, SHELL_DATA, b.shell.session, slice_of(block)));
        ssize_t n = send(b.vm.fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        full = n < 0;
        work(&b);
    }
    assert_true(full);
    struct pollfd p[SUPERVISOR_SHELL_FDS];
    assert_int_equal(supervisor_shell_fds(&b.shell, p), SUPERVISOR_SHELL_FDS);
    assert_int_equal(p[2].fd, -1);
    close(client.fd);
    work(&b);
    assert_int_equal(b.shell.state, SHELL_FREE);
    assert_int_equal(supervisor_shell_fds(&b.shell, p), SUPERVISOR_SHELL_FDS);
    assert_int_equal(p[2].fd, -1);
    close_bed(&b);
}

static void nonsense_of_the_vm_ends_its_shells(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    struct end client = open_client(&b, "alice");
    assert_int_equal(send(b.vm.fd, "\x1b[2J hello", 10, 0), 10);
    expect(&b, &client, SHELL_FAILED, "sent what no agent sends");
    close(client.fd);
    work(&b);
    client = connect_client(&b);
    expect(&b, &client, SHELL_FAILED, "no shell is to be had");
    close(client.fd);
    close_bed(&b);
}

static void frames_of_another_session_are_dropped(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    struct end client = open_client(&b, "alice");
    send_frame(&b.vm, SHELL_DATA, (unsigned char)(b.shell.session - 1), "of the one before");
    send_frame(&b.vm, SHELL_DATA, b.shell.session, "mine");
    expect(&b, &client, SHELL_DATA, "mine");
    close(client.fd);
    close_bed(&b);
}

static void client_that_asks_for_no_shell_is_refused(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    struct end client = connect_client(&b);
    send_frame(&client, SHELL_DATA, 0, "ls");
    expect(&b, &client, SHELL_FAILED, "no request");
    close(client.fd);
    assert_int_equal(count_of(&b, QEMU_EVENT_SHELL_OPENED), 0);
    close_bed(&b);
}

static void vm_that_ends_says_so(void **state)
{
    static struct bed b;
    (void)state;
    open_bed(&b);
    struct end client = open_client(&b, "alice");
    supervisor_shell_close(&b.shell, &b.network);
    expect(&b, &client, SHELL_FAILED, "the VM has ended");
    assert_int_equal(count_of(&b, QEMU_EVENT_SHELL_CLOSED), 1);
    close(client.fd);
    close_bed(&b);
}

static void socket_is_of_its_user_alone(void **state)
{
    static struct bed b;
    struct stat st;
    char path[96];
    (void)state;
    open_bed(&b);
    (void)snprintf(path, sizeof path, "%s/shell", b.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    close_bed(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shell_is_passed_on_and_noted),
        cmocka_unit_test(second_client_is_told_who_has_it),
        cmocka_unit_test(input_waits_for_the_shell_and_close_does_not),
        cmocka_unit_test(flood_is_left_in_the_vm),
        cmocka_unit_test(nonsense_of_the_vm_ends_its_shells),
        cmocka_unit_test(frames_of_another_session_are_dropped),
        cmocka_unit_test(client_that_asks_for_no_shell_is_refused),
        cmocka_unit_test(vm_that_ends_says_so),
        cmocka_unit_test(socket_is_of_its_user_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
