#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits.h>
#include <poll.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "deploy/image/standin/standin_runner.h"
#include "tests/fakes/qemu/fake_qemu.h"

#define LINE_MAX_BYTES 4096
#define RUNNER_FAILED 1

struct runner {
    pid_t pid;
    int output;
    bool has_job;
    int64_t idle_deadline_ms; /* INT64_MAX: none */
};

NORETURN static void be_listener(const struct payload *payload, pid_t parent, int output)
{
    char *argv[] = {slice_dup(SLICE("Runner.Listener")), slice_dup(SLICE("run")),
                    slice_dup(SLICE("--in-place")), NULL};
    char *config = slice_dup(payload->jit_config);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(output, 1);
    (void)close_range(3, ~0U, 0);
    (void)clearenv();
    (void)setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    (void)setenv("ACTIONS_RUNNER_INPUT_JITCONFIG", config, 1);
    exit(getppid() == parent ? standin_runner(3, argv) : 1);
}

static bool start_listener(struct runner *r, const struct payload *payload)
{
    int fds[2];
    pid_t parent = getpid();
    (void)fflush(stdout);
    if (pipe(fds) != 0) {
        return false;
    }
    r->pid = fork();
    if (r->pid == 0) {
        be_listener(payload, parent, fds[1]);
    }
    close(fds[1]);
    r->output = fds[0];
    return r->pid > 0;
}

/* Without the time: "2026-11-20 18:12:03Z: ". */
static void take_line(struct runner *r, char *line)
{
    const char *text = strstr(line, "Z: ");
    text = text == NULL ? line : text + 3;
    (void)printf("%s\n", line);
    (void)fflush(stdout);
    if (strcmp(text, "Listening for Jobs") == 0) {
        fake_status("LISTENING");
    } else if (strncmp(text, "Running job:", strlen("Running job:")) == 0) {
        r->has_job = true;
        r->idle_deadline_ms = INT64_MAX;
        fake_status("JOB");
        if (fake_fault("die-mid-job!", NULL)) {
            (void)raise(SIGKILL);
        }
    }
}

static void take_lines(struct runner *r, struct buf *in)
{
    char line[LINE_MAX_BYTES];
    char *newline;
    while (in->len > 0 && (newline = memchr(in->data, '\n', in->len)) != NULL) {
        size_t len = (size_t)(newline - in->data);
        (void)!slice_to_cstr((struct slice){in->data, len}, line, sizeof line);
        memmove(in->data, newline + 1, in->len - len - 1);
        in->len -= len + 1;
        take_line(r, line);
    }
}

/* False when the listener has ended. */
static bool follow_listener(struct runner *r, struct buf *in)
{
    char chunk[LINE_MAX_BYTES];
    struct pollfd p = {.fd = r->output, .events = POLLIN};
    int64_t left_ms = r->idle_deadline_ms == INT64_MAX ? -1 : r->idle_deadline_ms - clock_mono_ms();
    if (left_ms < -1) {
        left_ms = 0;
    }
    int n = poll(&p, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
    if (n == 0 && r->idle_deadline_ms <= clock_mono_ms()) {
        (void)kill(r->pid, SIGKILL);
        fake_power_off(0, "idle-timeout");
    }
    if (n <= 0) {
        return true;
    }
    ssize_t len = read(r->output, chunk, sizeof chunk);
    if (len > 0) {
        buf_append(in, (struct slice){chunk, (size_t)len});
        take_lines(r, in);
    }
    return len > 0;
}

/* As a job that writes to the console and to the status port: that its VM has ended well, and more than
 * is kept. */
static void say_false_end(void)
{
    char noise[128];
    memset(noise, 'x', sizeof noise - 1);
    noise[sizeof noise - 1] = '\0';
    fake_status("EXIT 0 job-done");
    (void)printf("EXIT 0 job-done\n");
    for (int i = 0; i < 1024; i++) {
        fake_status(noise);
        (void)printf("%s\n", noise);
    }
    (void)fflush(stdout);
}

NORETURN void fake_runner(struct payload *payload)
{
    struct runner r = {.idle_deadline_ms = INT64_MAX};
    struct buf in;
    int status = 0;
    buf_init(&in, (size_t)1 << 16);
    if (payload->idle_seconds > 0) {
        r.idle_deadline_ms = clock_mono_ms() + payload->idle_seconds * 1000;
    }
    if (fake_fault("false-end", NULL)) {
        say_false_end();
    }
    if (!start_listener(&r, payload)) {
        fake_power_off(RUNNER_FAILED, "runner-failed");
    }
    payload_fini(payload);
    while (follow_listener(&r, &in)) {
    }
    (void)waitpid(r.pid, &status, 0);
    if (WIFEXITED(status) && (WEXITSTATUS(status) <= 1 || WEXITSTATUS(status) == 5)) {
        fake_power_off(0, "job-done"); /* as run-helper.sh has it */
    }
    fake_power_off(RUNNER_FAILED, "runner-failed");
}
