#include "deploy/image/agent/agent_warm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/slice.h"
#include "deploy/image/agent/agent_child.h"

/* --- in the child ----------------------------------------------------------------------------- */

struct round {
    const struct agent_warm_options *options;
    char bin[300]; /* the runner's programs */
    int done_fd;   /* open while the child runs */
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

static int exec_listener(const struct agent_warm_options *options, const char *listener)
{
    return agent_child_exec(listener, "warmup", options->user, NULL);
}

static void run_listener(const struct round *r)
{
    char listener[sizeof(r->bin) + 32];
    int status = 0;
    snprintf(listener, sizeof(listener), "%s/Runner.Listener", r->bin);
    if (access(listener, X_OK) != 0) {
        log_warn("warm_no_listener", LOG_STR("path", listener));
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        _exit(exec_listener(r->options, listener));
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        log_warn("warm_listener_failed", LOG_STR("path", listener), LOG_INT("status", status));
    }
}

static int run_round(const void *ctx)
{
    const struct round *r = ctx;
    run_listener(r);
    touch_all(r->bin);
    return 0;
}

/* --- in the agent ----------------------------------------------------------------------------- */

void agent_warm_init(struct agent_warm *w)
{
    *w = (struct agent_warm){.state = WARM_COLD, .done_fd = -1};
}

static void end_round(struct agent_warm *w)
{
    w->state = WARM_DONE;
    w->pid = 0;
    if (w->done_fd >= 0) {
        close(w->done_fd);
        w->done_fd = -1;
    }
}

void agent_warm_stop(struct agent_warm *w)
{
    if (w->state == WARM_RUNNING) {
        (void)kill(-w->pid, SIGKILL);
    }
    end_round(w);
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
    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make a pipe");
    }
    r.done_fd = fd[1];
    w->pid = agent_child_start(run_round, &r, e);
    close(fd[1]);
    w->done_fd = fd[0];
    return w->pid > 0 ? 0 : -1;
}

static void begin_round(struct agent_warm *w, const struct agent_warm_options *options,
                        int64_t now_ms)
{
    struct err e = {0};
    if (start_round(w, options, &e) != 0) {
        log_warn("warm_failed", LOG_ERR(&e));
        end_round(w);
        return;
    }
    w->state = WARM_RUNNING;
    w->started_ms = now_ms;
    w->deadline_ms = now_ms + options->limit_ms;
}

bool agent_warm_poll(struct agent_warm *w, const struct agent_warm_options *options, int64_t now_ms)
{
    char byte;
    if (w->state == WARM_COLD) {
        begin_round(w, options, now_ms);
    }
    if (w->state == WARM_RUNNING && read(w->done_fd, &byte, 1) == 0) {
        log_info("warm_finished", LOG_INT("duration_ms", now_ms - w->started_ms));
        end_round(w);
    } else if (w->state == WARM_RUNNING && now_ms >= w->deadline_ms) {
        log_warn("warm_timeout", LOG_INT("limit_ms", options->limit_ms));
        agent_warm_stop(w);
    }
    return w->state == WARM_DONE;
}
