#include "deploy/image/agent/agent_warm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/slice.h"
#include "deploy/image/agent/agent_child.h"

#define REPORT_MAX 512 /* written at once, so that it is read at once */
#define PASSED "passed"
#define ABORTED 134 /* 128 + SIGABRT */

/* --- in the child ----------------------------------------------------------------------------- */

struct round {
    const struct agent_warm_options *options;
    char bin[300]; /* the runner's programs */
    char listener[320];
    int report_fd; /* open while the child runs */
};

/* Reads a file; returns how many bytes of `left` it used. */
static size_t touch_file(const char *path, size_t left)
{
    static char chunk[65536];
    struct stat st;
    size_t total = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return 0;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        for (ssize_t n = 1; n > 0 && total<left; total += n> 0 ? (size_t)n : 0) {
            n = read(fd, chunk, sizeof(chunk));
        }
    }
    close(fd);
    return total;
}

static size_t touch_directory(const char *path, size_t left)
{
    size_t total = 0;
    char file[600];
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }
    for (struct dirent *d = readdir(dir); d != NULL && total < left; d = readdir(dir)) {
        int n = snprintf(file, sizeof(file), "%s/%s", path, d->d_name);
        if (n > 0 && (size_t)n < sizeof(file)) {
            total += touch_file(file, left - total);
        }
    }
    closedir(dir);
    return total;
}

static void touch_all(const char *runner_bin)
{
    static const char *const tools[] = {"/bin/bash",
                                        "/bin/sh",
                                        "/usr/bin/git",
                                        "/usr/bin/tar",
                                        "/usr/bin/docker",
                                        "/usr/bin/dockerd",
                                        "/usr/bin/containerd",
                                        "/usr/bin/runc",
                                        "/usr/libexec/git-core/git-remote-https",
                                        "/usr/lib/git-core/git-remote-https"};
    size_t total = touch_directory(runner_bin, WARM_MAX_BYTES);
    for (size_t i = 0; i < COUNT_OF(tools) && total < WARM_MAX_BYTES; i++) {
        total += touch_file(tools[i], WARM_MAX_BYTES - total);
    }
    log_info("warm_read", LOG_INT("bytes", (int64_t)total));
}

static int report(const struct round *r, const char *format, ...) PRINTF(2, 3);

static int report(const struct round *r, const char *format, ...)
{
    char text[REPORT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ssize_t ignored = write(r->report_fd, text, strlen(text));
    (void)ignored;
    return 0;
}

/* In a child of the round; its result is the exit status. */
typedef int step_fn(const struct round *r);

static int access_runner(const struct round *r)
{
    return agent_child_become(r->options->user) && access(r->options->runner_path, X_OK) == 0
               ? 0
               : errno;
}

static int exec_listener(const struct round *r)
{
    return agent_child_exec(r->listener, "warmup", r->options->user, NULL);
}

static int exec_check(const struct round *r)
{
    return agent_child_exec(r->options->check, NULL, NULL, NULL);
}

/* The exit status, or 128 + the signal that ended it. */
static int run_step(const struct round *r, step_fn *fn)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(fn(r));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return 127;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_round(const void *ctx)
{
    const struct round *r = ctx;
    const struct agent_warm_options *o = r->options;
    int code = run_step(r, access_runner);
    if (code != 0) {
        return report(r, "%s cannot be executed by the runner's user: %s", o->runner_path,
                      strerror(code));
    }
    if (access(r->listener, X_OK) != 0) {
        return report(r, "%s cannot be executed: %s", r->listener, strerror(errno));
    }
    code = run_step(r, exec_listener);
    if (code != 0) {
        return report(r, "%s warmup ended with %d%s", r->listener, code,
                      code == ABORTED ? ": it aborted, as it does where libicu is missing" : "");
    }
    code = o->check == NULL ? 0 : run_step(r, exec_check);
    if (code != 0) {
        return report(r, "%s ended with %d", o->check, code);
    }
    if (o->read_files) {
        touch_all(r->bin);
    }
    return report(r, PASSED);
}

/* --- in the agent ----------------------------------------------------------------------------- */

void agent_warm_init(struct agent_warm *w)
{
    *w = (struct agent_warm){.state = WARM_COLD, .report_fd = -1};
}

static void end_round(struct agent_warm *w, enum warm_state state)
{
    w->state = state;
    w->pid = 0;
    if (w->report_fd >= 0) {
        close(w->report_fd);
        w->report_fd = -1;
    }
}

void agent_warm_stop(struct agent_warm *w)
{
    if (w->state == WARM_RUNNING) {
        agent_child_kill(w->pid);
        end_round(w, WARM_FAILED);
    }
}

static int start_round(struct agent_warm *w, const struct agent_warm_options *options,
                       struct err *e)
{
    struct round r = {.options = options};
    char copy[256];
    int fd[2];
    if (!slice_to_cstr(slice_of(options->runner_path), copy, sizeof(copy))) {
        return err_set(e, ERR_PERMANENT, 0, "%.60s…: the path is too long", options->runner_path);
    }
    snprintf(r.bin, sizeof(r.bin), "%s/bin", dirname(copy));
    snprintf(r.listener, sizeof(r.listener), "%s/Runner.Listener", r.bin);
    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make a pipe");
    }
    r.report_fd = fd[1];
    w->pid = agent_child_start(run_round, &r, e);
    close(fd[1]);
    w->report_fd = fd[0];
    return w->pid > 0 ? 0 : -1;
}

static void begin_round(struct agent_warm *w, const struct agent_warm_options *options,
                        int64_t now_ms)
{
    struct err e = {0};
    if (start_round(w, options, &e) != 0) {
        log_error("warm_failed", LOG_STR("reason", e.message));
        end_round(w, WARM_FAILED);
        return;
    }
    w->state = WARM_RUNNING;
    w->started_ms = now_ms;
    w->deadline_ms = now_ms + options->limit_ms;
}

static void take_report(struct agent_warm *w, struct slice text, int64_t now_ms)
{
    if (slice_eq_cstr(text, PASSED)) {
        log_info("warm_finished", LOG_INT("duration_ms", now_ms - w->started_ms));
        end_round(w, WARM_PASSED);
    } else {
        log_error("warm_failed",
                  LOG_SLICE("reason", text.len > 0 ? text : SLICE("the warm-up was killed")));
        end_round(w, WARM_FAILED);
    }
}

enum warm_state agent_warm_poll(struct agent_warm *w, const struct agent_warm_options *options,
                                int64_t now_ms)
{
    char text[REPORT_MAX];
    if (w->state == WARM_COLD) {
        begin_round(w, options, now_ms);
    }
    if (w->state != WARM_RUNNING) {
        return w->state;
    }
    ssize_t n = read(w->report_fd, text, sizeof(text));
    if (n >= 0) {
        take_report(w, (struct slice){text, (size_t)n}, now_ms);
    } else if (now_ms >= w->deadline_ms) {
        log_error("warm_timeout", LOG_INT("limit_ms", options->limit_ms));
        agent_warm_stop(w);
    }
    return w->state;
}
