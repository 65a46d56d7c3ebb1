/* The life of a program, in a process of its own: what is asked here is what a container's platform
 * sees. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/program/program.h"
#include "tests/lib/cmocka.h"

#define CONFIG                                                                                     \
    "{\"queue\": \"sqlite:///nowhere/queue.db\", \"ledger\": \"sqlite:///nowhere/ledger.db\","     \
    " \"github\": {\"webhook_secrets\": [\"a webhook secret\"]},"                                  \
    " \"ingress\": {\"admin_listen\": \"127.0.0.1:0\", \"drain_timeout\": \"%ds\"},"               \
    " \"classes\": [{\"name\": \"small\", \"labels\": [\"self-hosted\"],"                          \
    " \"provider\": \"qemu\", \"qemu\": {\"image\": \"/nowhere\"}}]}"

/* The program under test: it writes its steps to its log and waits at a gate while it drains. */
static struct {
    bool open_fails;
    bool start_fails;
    bool ends_late;
    bool is_stuck; /* a loop of it */
    int drain_seconds;
    int gate; /* drain returns at the end of this pipe */
} plan = {.drain_seconds = 600};

/* By the log, so that the order of all lines is kept. */
PRINTF(1, 2) static void log_step(const char *fmt, ...)
{
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_info("step", LOG_STR("step", text));
}

static int open_it(void *self, struct config_live *live, const struct config *c, struct err *e)
{
    assert_ptr_equal(self, &plan);
    assert_non_null(live);
    assert_int_equal(c->ingress.drain_timeout_ms, plan.drain_seconds * 1000);
    log_step("step open");
    return plan.open_fails ? err_set(e, ERR_PERMANENT, 0, "no such store") : 0;
}

static int start_it(void *self, const struct config *c, struct err *e)
{
    (void)self;
    (void)c;
    log_step("step start");
    if (plan.is_stuck) {
        int64_t until_ms = clock_mono_ms() + 2;
        liveness_enter("the stand-in's loop", 1);
        while (clock_mono_ms() < until_ms) {
            sched_yield();
        }
    }
    return plan.start_fails ? err_set(e, ERR_PERMANENT, 0, "no such port") : 0;
}

static void drain_it(void *self, int64_t timeout_ms)
{
    char none;
    (void)self;
    log_step("step drain %lld", (long long)timeout_ms);
    assert_int_equal(read(plan.gate, &none, 1), 0);
}

static void close_it(void *self)
{
    (void)self;
    log_step("step close");
}

static bool is_ready(void *self, struct buf *why)
{
    (void)self;
    (void)why;
    return true;
}

static struct program_settings settings(const struct config *c)
{
    return (struct program_settings){c->ingress.admin_listen, c->ingress.drain_timeout_ms};
}

static const struct program program = {
    .name = "mayfly-stand-in",
    .purpose = "stands in for a daemon",
    .who = CONFIG_FOR_INGRESS,
    .settings = settings,
    .open = open_it,
    .start = start_it,
    .drain = drain_it,
    .close = close_it,
    .ready = is_ready,
};

/* The process, as its parent holds it. */
struct child {
    pid_t pid;
    FILE *log;
    int gate; /* closed: the drain ends */
    char line[8192];
};

/* What program_main left on the stack is gone. */
static void overwrite_stack(void)
{
    volatile char bytes[16384];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = 0;
    }
}

/* The thread that limits the drain is blocked in its wait for a signal, or not there yet. It has
 * taken the second SIGHUP only after what it did about the first. */
static void hang_up_twice(void)
{
    for (int i = 0; i < 2; i++) {
        sigset_t pending;
        assert_int_equal(kill(getpid(), SIGHUP), 0);
        do {
            sched_yield();
            assert_int_equal(sigpending(&pending), 0);
        } while (sigismember(&pending, SIGHUP) == 1);
    }
}

static void run_child(int log_fd, int gate)
{
    char *argv[] = {(char[]){"mayfly-stand-in"}, NULL};
    char config[1024];
    int n = snprintf(config, sizeof config, CONFIG, plan.drain_seconds);
    assert_in_range(n, 1, sizeof config - 1);
    plan.gate = gate;
    assert_true(dup2(log_fd, STDERR_FILENO) == STDERR_FILENO);
    assert_int_equal(setenv("MAYFLY_CONFIG", config, 1), 0);
    int code = program_main(&program, &plan, 1, argv);
    if (plan.ends_late) {
        overwrite_stack();
        hang_up_twice();
    }
    _exit(code);
}

static struct child begin(void)
{
    struct child c = {0};
    int log_fds[2];
    int gate_fds[2];
    assert_int_equal(pipe(log_fds), 0);
    assert_int_equal(pipe(gate_fds), 0);
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        close(gate_fds[1]);
        run_child(log_fds[1], gate_fds[0]);
    }
    close(log_fds[1]);
    close(gate_fds[0]);
    c.gate = gate_fds[1];
    c.log = fdopen(log_fds[0], "r");
    assert_non_null(c.log);
    return c;
}

/* Reads on to the line that holds `text`. */
static const char *wait_line(struct child *c, const char *text)
{
    while (fgets(c->line, sizeof c->line, c->log) != NULL) {
        if (strstr(c->line, text) != NULL) {
            return c->line;
        }
    }
    fail_msg("it ended without %s", text);
    return NULL;
}

static int end(struct child *c)
{
    int status = 0;
    if (c->gate >= 0) {
        close(c->gate);
    }
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    fclose(c->log);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int admin_port_of(struct child *c)
{
    const char *at = strstr(wait_line(c, "\"started\""), "\"admin_port\":");
    assert_non_null(at);
    int port = (int)strtol(at + strlen("\"admin_port\":"), NULL, 10);
    assert_in_range(port, 1, 65535);
    return port;
}

/* What a page of the admin port answers, status line and body. */
static void ask_page(int port, const char *path, char *out, size_t size)
{
    char request[128];
    int request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n\r\n", path);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    size_t length = 0;
    ssize_t n;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(write(fd, request, (size_t)request_length), request_length);
    while (length < size - 1 && (n = read(fd, out + length, size - 1 - length)) > 0) {
        length += (size_t)n;
    }
    out[length] = '\0';
    close(fd);
}

static void ask_ready(int port, char *out, size_t size)
{
    ask_page(port, "/readyz", out, size);
}

/* What `--health` with such a configuration returns, in a process of its own. */
static int ask_health(const char *configuration)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char *argv[] = {(char[]){"mayfly-stand-in"}, (char[]){"--health"}, NULL};
        if (setenv("MAYFLY_CONFIG", configuration, 1) != 0 ||
            setenv("http_proxy", "http://127.0.0.1:1", 1) != 0) {
            _exit(99);
        }
        _exit(program_main(&program, &plan, 2, argv));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A configuration with which nothing could start: only the port counts. */
static int ask_health_at(int port)
{
    char configuration[256];
    (void)snprintf(configuration, sizeof configuration,
                   "queue: no queue\nclasses: 7\n"
                   "github: {webhook_secrets: [\"ssm:/away\"]}\n"
                   "ingress: {admin_listen: \"0.0.0.0:%d\", listen: {}}\n",
                   port);
    return ask_health(configuration);
}

static void health_is_green_while_it_runs_and_while_it_drains(void **state)
{
    char answer[1024];
    struct child c = begin();
    int port = admin_port_of(&c);
    assert_int_equal(ask_health_at(port), 0);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    (void)wait_line(&c, "step drain 600000");
    ask_page(port, "/healthz", answer, sizeof answer);
    assert_non_null(strstr(answer, "200"));
    assert_int_equal(ask_health_at(port), 0);
    assert_int_equal(end(&c), 0);
    assert_int_equal(ask_health_at(port), 1);
}

static void health_of_a_stuck_loop_is_red_until_it_drains(void **state)
{
    char answer[1024];
    plan.is_stuck = true;
    struct child c = begin();
    plan.is_stuck = false;
    int port = admin_port_of(&c);
    ask_page(port, "/healthz", answer, sizeof answer);
    assert_non_null(strstr(answer, "503"));
    assert_non_null(strstr(answer, "stuck: the stand-in's loop has not moved for"));
    assert_non_null(strstr(wait_line(&c, "\"loop_stuck\""), "the stand-in's loop"));
    assert_int_equal(ask_health_at(port), 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    (void)wait_line(&c, "step drain 600000");
    assert_int_equal(ask_health_at(port), 0);
    assert_int_equal(end(&c), 0);
}

static void health_without_an_admin_port_exits_2(void **state)
{
    assert_int_equal(ask_health("ingress: {admin_listen: \"\"}"), 2);
}

static void readyz_is_green_until_sigterm_and_red_while_draining(void **state)
{
    char answer[1024];
    struct child c = begin();
    int port = admin_port_of(&c);
    ask_ready(port, answer, sizeof answer);
    assert_non_null(strstr(answer, "200"));
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    (void)wait_line(&c, "step drain 600000");
    ask_ready(port, answer, sizeof answer);
    assert_non_null(strstr(answer, "503"));
    assert_non_null(strstr(answer, "draining"));
    close(c.gate);
    c.gate = -1;
    (void)wait_line(&c, "step close");
    (void)wait_line(&c, "\"stopped\"");
    assert_int_equal(end(&c), 0);
}

static void second_signal_ends_the_drain_at_once(void **state)
{
    struct child c = begin();
    (void)admin_port_of(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    (void)wait_line(&c, "step drain");
    assert_int_equal(kill(c.pid, SIGINT), 0);
    assert_non_null(strstr(wait_line(&c, "drain_interrupted"), "second signal"));
    int status = 0;
    assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    fclose(c.log);
    close(c.gate);
}

/* Whether the child logs something (or ends) within that time. */
static bool logs_within(const struct child *c, int ms)
{
    struct pollfd log = {.fd = fileno(c->log), .events = POLLIN};
    return poll(&log, 1, ms) != 0;
}

/* A SIGHUP comes more often than the drain may take (a second of it, and the grace): if each began
 * its time anew it would never end. */
static void sighup_during_the_drain_neither_ends_nor_prolongs_it(void **state)
{
    plan.drain_seconds = 1;
    struct child c = begin();
    plan.drain_seconds = 600;
    (void)admin_port_of(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    (void)wait_line(&c, "step drain 1000");
    int sent = 0;
    while (!logs_within(&c, 100)) {
        assert_int_equal(kill(c.pid, SIGHUP), 0);
        if (++sent == 300) {
            (void)kill(c.pid, SIGKILL);
        }
    }
    assert_in_range(sent, 1, 299);
    assert_non_null(strstr(wait_line(&c, "drain_interrupted"), "timeout"));
    assert_int_equal(waitpid(c.pid, &(int){0}, 0), c.pid);
    fclose(c.log);
    close(c.gate);
}

/* The thread that limits the drain may run once more after program_main returned. */
static void process_that_ends_late_is_not_ended_by_the_drain(void **state)
{
    plan.ends_late = true;
    struct child c = begin();
    plan.ends_late = false;
    (void)admin_port_of(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    (void)wait_line(&c, "step drain");
    close(c.gate);
    c.gate = -1;
    (void)wait_line(&c, "\"stopped\"");
    assert_int_equal(end(&c), 0);
}

static void start_that_fails_is_drained_closed_and_exits_1(void **state)
{
    plan.start_fails = true;
    struct child c = begin();
    plan.start_fails = false;
    (void)wait_line(&c, "step drain 0");
    close(c.gate);
    c.gate = -1;
    assert_non_null(strstr(wait_line(&c, "startup_failed"), "no such port"));
    (void)wait_line(&c, "step close");
    assert_int_equal(end(&c), 1);
}

static void open_that_fails_is_closed_and_exits_1(void **state)
{
    plan.open_fails = true;
    struct child c = begin();
    plan.open_fails = false;
    (void)wait_line(&c, "step open");
    /* The next line: nothing was started, and so nothing is drained. */
    assert_non_null(fgets(c.line, sizeof c.line, c.log));
    assert_non_null(strstr(c.line, "startup_failed"));
    (void)wait_line(&c, "step close");
    assert_int_equal(end(&c), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readyz_is_green_until_sigterm_and_red_while_draining),
        cmocka_unit_test(health_is_green_while_it_runs_and_while_it_drains),
        cmocka_unit_test(health_of_a_stuck_loop_is_red_until_it_drains),
        cmocka_unit_test(health_without_an_admin_port_exits_2),
        cmocka_unit_test(second_signal_ends_the_drain_at_once),
        cmocka_unit_test(sighup_during_the_drain_neither_ends_nor_prolongs_it),
        cmocka_unit_test(process_that_ends_late_is_not_ended_by_the_drain),
        cmocka_unit_test(start_that_fails_is_drained_closed_and_exits_1),
        cmocka_unit_test(open_that_fails_is_closed_and_exits_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
