/* The QMP client: what lines are, and how it copes with what a QEMU may send or not send. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <errno.h>
#include <fcntl.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/qemu/qmp.h"
#include "tests/lib/cmocka.h"

static void classify_tells_lines_apart(void **state)
{
    static const struct {
        const char *line;
        enum qmp_kind kind;
    } lines[] = {
        {"{\"QMP\": {\"version\": {}}}", QMP_GREETING},
        {"{\"event\": \"STOP\", \"data\": {}}", QMP_EVENT},
        {"{\"return\": {}}", QMP_RETURN},
        {"{\"return\": [1]}", QMP_RETURN},
        {"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}", QMP_ERROR},
        {"{\"error\": 1}", QMP_ERROR},
        {"{}", QMP_NONSENSE},
        {"[]", QMP_NONSENSE},
        {"", QMP_NONSENSE},
        {"{\"return\": ", QMP_NONSENSE},
        {"\xff\xfe", QMP_NONSENSE},
    };
    struct err e;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        assert_int_equal(qmp_classify(slice_of(lines[i].line), NULL, &e), lines[i].kind);
    }
    assert_int_equal(qmp_classify((struct slice){NULL, 0}, NULL, &e), QMP_NONSENSE);
}

static void classify_gives_return_and_words(void **state)
{
    struct buf out;
    struct err e;
    char text[16];
    buf_init(&out, 4096);
    assert_int_equal(
        qmp_classify(SLICE("{\"return\": {\"status\": \"running\", \"n\": 1}}"), &out, &e),
        QMP_RETURN);
    qmp_text_member(&out, "status", text, sizeof text);
    assert_string_equal(text, "running");
    qmp_text_member(&out, "n", text, sizeof text);
    assert_string_equal(text, "");
    qmp_text_member(&out, "missing", text, sizeof text);
    assert_string_equal(text, "");
    qmp_text_member(&out, "status", text, 4);
    assert_string_equal(text, "");
    buf_fini(&out);
    assert_int_equal(qmp_classify(SLICE("{\"error\": {\"desc\": \"disk on fire\"}}"), NULL, &e),
                     QMP_ERROR);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "disk on fire"));
}

/* --- against a server that says what it is told --------------------------------------------- */

struct server {
    char dir[64];
    int dir_fd;
    int listen_fd;
    pthread_t thread;
    const char *const *says; /* one text at the connection, then one for each line that comes */
    bool stays;              /* does not hang up after the last */
};

static void *serve(void *arg)
{
    const struct server *s = arg;
    char chunk[4096];
    int fd = accept(s->listen_fd, NULL, NULL);
    for (size_t i = 0; fd >= 0 && s->says[i] != NULL; i++) {
        (void)!send(fd, s->says[i], strlen(s->says[i]), MSG_NOSIGNAL);
        bool last = s->says[i + 1] == NULL && !s->stays;
        if (last || recv(fd, chunk, sizeof chunk, 0) <= 0) {
            break;
        }
    }
    close(fd);
    return NULL;
}

static void start(struct server *s, const char *const *says)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/mayfly-test-qmp-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->dir_fd = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/qmp.sock", s->dir);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listen_fd, 1), 0);
    s->says = says;
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
    struct err e;
    (void)shutdown(s->listen_fd, SHUT_RDWR);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    close(s->listen_fd);
    close(s->dir_fd);
    assert_int_equal(fs_remove_tree(s->dir, &e), 0);
}

#define GREETING "{\"QMP\": {}}\r\n"
#define DONE "{\"return\": {}}\r\n"
#define EVENT "{\"event\": \"X\"}\r\n"

static int64_t soon(void)
{
    return clock_mono_ms() + 10000;
}

static void call_skips_events_and_returns(void **state)
{
    static const char *const says[] = {EVENT GREETING, EVENT DONE EVENT,
                                       "{\"return\": {\"status\"", /* in pieces */
                                       NULL};
    struct server s = {.stays = false};
    struct qmp *q;
    struct err e;
    start(&s, says);
    assert_int_equal(qmp_open(s.dir_fd, soon(), &q, &e), 0);
    /* The answer never gets whole: the server hangs up after it. */
    assert_int_equal(qmp_call(q, "query-status", NULL, soon(), NULL, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_memory_equal(e.message, "query-status: ", 14);
    qmp_close(q);
    stop(&s);
}

static void call_refused_tells_qemus_words(void **state)
{
    static const char *const says[] = {GREETING, DONE, "{\"error\": {\"desc\": \"not now\"}}\r\n",
                                       DONE, NULL};
    struct server s = {.stays = false};
    struct qmp *q;
    struct err e;
    start(&s, says);
    assert_int_equal(qmp_open(s.dir_fd, soon(), &q, &e), 0);
    assert_int_equal(qmp_call(q, "migrate", "{\"uri\":\"fd:x\"}", soon(), NULL, &e), -1);
    assert_non_null(strstr(e.message, "not now"));
    assert_int_equal(qmp_call(q, "quit", NULL, soon(), NULL, &e), 0);
    qmp_close(q);
    stop(&s);
}

static void open_bad_greetings_are_refused(void **state)
{
    static const char *const greetings[][2] = {
        {"HTTP/1.1 400 Bad Request\r\n", NULL}, {DONE, NULL}, {"\n", NULL}};
    struct server s = {.stays = false};
    struct qmp *q = NULL;
    struct err e;
    for (size_t i = 0; i < COUNT_OF(greetings); i++) {
        start(&s, greetings[i]);
        assert_int_equal(qmp_open(s.dir_fd, soon(), &q, &e), -1);
        assert_int_equal(e.class, ERR_RETRY);
        assert_null(q);
        stop(&s);
    }
}

static void open_silent_server_ends_at_the_deadline(void **state)
{
    static const char *const says[] = {"{\"QMP\":", NULL};
    struct server s = {.stays = true};
    struct qmp *q = NULL;
    struct err e;
    start(&s, says);
    assert_int_equal(qmp_open(s.dir_fd, clock_mono_ms() + 50, &q, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "in time"));
    stop(&s);
}

static bool gone_at_once(void *arg)
{
    (*(int *)arg)++;
    return true;
}

static void connect_to_nobody_ends(void **state)
{
    char dir[] = "/tmp/mayfly-test-qmp-XXXXXX";
    struct err e;
    int fd = -1;
    int asked = 0;
    assert_non_null(mkdtemp(dir));
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(qemu_connect(dir_fd, "x.sock", clock_mono_ms(), NULL, NULL, &fd, &e), -1);
    assert_int_equal(qemu_connect(dir_fd, "x.sock", soon(), gone_at_once, &asked, &fd, &e), -1);
    assert_int_equal(asked, 1);
    assert_int_equal(fd, -1);
    assert_int_equal(e.class, ERR_RETRY);
    close(dir_fd);
    assert_int_equal(rmdir(dir), 0);
}

/* A QEMU that was taken over links its own socket to another VM's. */
static void connect_does_not_follow_a_link(void **state)
{
    static const char *const says[] = {GREETING, NULL};
    struct server s = {0};
    struct err e;
    int fd = -1;
    start(&s, says);
    assert_int_equal(symlinkat("qmp.sock", s.dir_fd, "payload.sock"), 0);
    assert_int_equal(qemu_connect(s.dir_fd, "payload.sock", soon(), NULL, NULL, &fd, &e), -1);
    assert_int_equal(e.code, ELOOP);
    assert_int_equal(qemu_connect(s.dir_fd, "qmp.sock", soon(), NULL, NULL, &fd, &e), 0);
    close(fd);
    stop(&s);
}

static void read_line_too_long_is_refused(void **state)
{
    int fds[2];
    struct buf in;
    struct slice line;
    struct err e;
    char text[256];
    memset(text, 'x', sizeof text);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(write(fds[1], text, sizeof text), sizeof text);
    buf_init(&in, 100);
    assert_int_equal(qemu_read_line(fds[0], &in, &line, soon(), &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    buf_fini(&in);
    close(fds[0]);
    close(fds[1]);
}

static void read_line_gives_one_after_the_other(void **state)
{
    int fds[2];
    struct buf in;
    struct slice line;
    struct err e;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(write(fds[1], "one\r\ntwo\n", 9), 9);
    buf_init(&in, 100);
    assert_int_equal(qemu_read_line(fds[0], &in, &line, soon(), &e), 0);
    assert_true(slice_eq_cstr(line, "one"));
    qemu_line_done(&in);
    assert_int_equal(qemu_read_line(fds[0], &in, &line, soon(), &e), 0);
    assert_true(slice_eq_cstr(line, "two"));
    qemu_line_done(&in);
    close(fds[1]);
    assert_int_equal(qemu_read_line(fds[0], &in, &line, soon(), &e), -1);
    buf_fini(&in);
    close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classify_tells_lines_apart),
        cmocka_unit_test(classify_gives_return_and_words),
        cmocka_unit_test(call_skips_events_and_returns),
        cmocka_unit_test(call_refused_tells_qemus_words),
        cmocka_unit_test(open_bad_greetings_are_refused),
        cmocka_unit_test(open_silent_server_ends_at_the_deadline),
        cmocka_unit_test(connect_to_nobody_ends),
        cmocka_unit_test(connect_does_not_follow_a_link),
        cmocka_unit_test(read_line_too_long_is_refused),
        cmocka_unit_test(read_line_gives_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
