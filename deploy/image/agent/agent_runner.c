#include "deploy/image/agent/agent_runner.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "deploy/image/agent/agent_child.h"
#include "deploy/image/agent/agent_env.h"

/* So that a runner that prints without a pause keeps nothing else waiting. */
#define READS_A_TURN 4

void agent_runner_init(struct agent_runner *r)
{
    *r = (struct agent_runner){.output_fd = -1};
    buf_init(&r->line, RUNNER_LINE_MAX);
}

static void close_output(struct agent_runner *r)
{
    if (r->output_fd >= 0) {
        close(r->output_fd);
        r->output_fd = -1;
    }
}

void agent_runner_fini(struct agent_runner *r)
{
    close_output(r);
    buf_fini(&r->line);
}

/* --- starting --------------------------------------------------------------------------------- */

struct launch {
    const char *path;
    char directory[256];
    const struct agent_user *user;
    char **environment;
    int output[2]; /* the runner's output: read end, write end */
    int report[2]; /* carries the errno of a failed exec; closed by a successful one */
};

/* Runs in the child; only async-signal-safe calls. */
NORETURN static void run_child(const struct launch *l, int null_fd)
{
    sigset_t none;
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    char *argv[2] = {NULL, NULL};
    union {
        const char *in;
        char *out;
    } path = {.in = l->path};
    argv[0] = path.out;
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++) {
        (void)sigaction(s, &dfl, NULL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() >= 0 && dup2(null_fd, 0) >= 0 && dup2(l->output[1], 1) >= 0 &&
        dup2(l->output[1], 2) >= 0 && agent_child_become(l->user) && chdir(l->directory) == 0) {
        execve(l->path, argv, l->environment);
    }
    int errnum = errno;
    ssize_t ignored = write(l->report[1], &errnum, sizeof(errnum));
    (void)ignored;
    _exit(127);
}

static void close_pair(int fd[2])
{
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0) {
            close(fd[i]);
        }
        fd[i] = -1;
    }
}

/* Forks, and waits until the child has executed the runner. Returns its pid, or -1 with *e
 * filled. */
static pid_t spawn_runner(struct launch *l, struct err *e)
{
    int errnum = 0;
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = null_fd < 0 ? -1 : fork();
    if (pid == 0) {
        run_child(l, null_fd);
    }
    if (pid < 0) {
        err_errno(e, ERR_PERMANENT, errno, "cannot start the runner");
    }
    if (null_fd >= 0) {
        close(null_fd);
    }
    if (pid < 0) {
        return -1;
    }
    close(l->report[1]);
    l->report[1] = -1;
    ssize_t n;
    do {
        n = read(l->report[0], &errnum, sizeof(errnum));
    } while (n < 0 && errno == EINTR);
    if (n != 0) {
        (void)waitpid(pid, NULL, 0);
        return err_errno(e, ERR_PERMANENT, errnum, "cannot run %s", l->path);
    }
    return pid;
}

int agent_runner_start(struct agent_runner *r, const char *path, const struct agent_user *user,
                       const struct payload *payload, struct err *e)
{
    struct launch l = {.path = path, .user = user, .output = {-1, -1}, .report = {-1, -1}};
    struct agent_env env;
    char copy[sizeof(l.directory)];
    int rc = -1;
    agent_env_init(&env, user, payload);
    /* GitHub's run.sh forwards signals to the listener only if this is set. */
    agent_env_put(&env, "RUNNER_MANUALLY_TRAP_SIG", SLICE("1"));
    agent_env_put(&env, "ACTIONS_RUNNER_INPUT_JITCONFIG", payload->jit_config);
    l.environment = agent_env_entries(&env);
    if (l.environment == NULL || !slice_to_cstr(slice_of(path), copy, sizeof(copy))) {
        err_set(e, ERR_PERMANENT, 0, "the payload's values are not valid in an environment");
        goto out;
    }
    snprintf(l.directory, sizeof(l.directory), "%s", dirname(copy));
    if (pipe2(l.output, O_CLOEXEC) != 0 || pipe2(l.report, O_CLOEXEC) != 0 ||
        fcntl(l.output[0], F_SETFL, O_NONBLOCK) != 0) {
        err_errno(e, ERR_RETRY, errno, "cannot make a pipe");
        goto out;
    }
    pid_t pid = spawn_runner(&l, e);
    if (pid < 0) {
        goto out;
    }
    r->pid = pid;
    r->output_fd = l.output[0];
    l.output[0] = -1;
    rc = 0;
out:
    close_pair(l.output);
    close_pair(l.report);
    agent_env_fini(&env);
    return rc;
}

/* --- output ----------------------------------------------------------------------------------- */

static void give_line(struct agent_runner *r, runner_line_fn *fn, void *ctx)
{
    struct slice line = buf_slice(&r->line);
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    fn(ctx, line);
    buf_reset(&r->line);
}

static void take_bytes(struct agent_runner *r, struct slice bytes, runner_line_fn *fn, void *ctx)
{
    while (bytes.len > 0) {
        struct slice head, tail;
        bool ended = slice_cut(bytes, '\n', &head, &tail);
        size_t free_bytes = r->line.limit_bytes - r->line.len;
        buf_append(&r->line,
                   (struct slice){head.ptr, head.len < free_bytes ? head.len : free_bytes});
        if (ended) {
            give_line(r, fn, ctx);
        }
        bytes = tail;
    }
}

void agent_runner_read(struct agent_runner *r, runner_line_fn *fn, void *ctx)
{
    char chunk[4096];
    for (int i = 0; i < READS_A_TURN && r->output_fd >= 0; i++) {
        ssize_t n = read(r->output_fd, chunk, sizeof(chunk));
        if (n > 0) {
            take_bytes(r, (struct slice){chunk, (size_t)n}, fn, ctx);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            close_output(r);
            if (r->line.len > 0) {
                give_line(r, fn, ctx);
            }
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

/* --- ending ----------------------------------------------------------------------------------- */

struct process {
    pid_t pid;
    pid_t parent;
    pid_t session;
    bool doomed;
};

/* The second and fourth field after the command's name in /proc/PID/stat. */
static bool read_process(const char *name, struct process *out)
{
    char path[300];
    struct buf text;
    struct err ignored;
    struct slice field;
    int64_t numbers[5] = {0}; /* "", state, parent, group, session */
    int64_t pid;
    snprintf(path, sizeof(path), "/proc/%s/stat", name);
    buf_init(&text, 4096);
    bool ok = slice_to_int64(slice_of(name), &pid) && fs_read(path, &text, &ignored) == 0;
    /* A command may contain spaces and parentheses; the last one ends it. */
    const char *end = ok ? memrchr(text.data, ')', text.len) : NULL;
    struct slice rest = end == NULL ? SLICE("") : slice_of(end + 1);
    for (int i = 0; i < 5; i++) {
        slice_cut(rest, ' ', &field, &rest);
        ok = (i < 2 || slice_to_int64(field, &numbers[i])) && ok;
    }
    buf_fini(&text);
    *out = (struct process){
        .pid = (pid_t)pid, .parent = (pid_t)numbers[2], .session = (pid_t)numbers[4]};
    return ok;
}

/* Owned by the caller. */
static struct process *list_processes(size_t *count)
{
    struct process *list = NULL;
    struct process one;
    DIR *proc = opendir("/proc");
    *count = 0;
    for (struct dirent *d = proc == NULL ? NULL : readdir(proc); d != NULL; d = readdir(proc)) {
        if (isdigit((unsigned char)d->d_name[0]) && read_process(d->d_name, &one)) {
            list = reallocarray(list, *count + 1, sizeof(*list));
            ASSERT(list != NULL);
            list[(*count)++] = one;
        }
    }
    if (proc != NULL) {
        closedir(proc);
    }
    return list;
}

static bool is_doomed(const struct process *list, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].pid == pid) {
            return list[i].doomed;
        }
    }
    return false;
}

/* A job may make sessions of its own. What has lost its parent is this process's child, which is a
 * subreaper. */
static void kill_descendants(pid_t session)
{
    size_t count;
    struct process *list = list_processes(&count);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            struct process *p = &list[i];
            if (!p->doomed && (p->session == session || p->parent == getpid() ||
                               is_doomed(list, count, p->parent))) {
                p->doomed = more = true;
                (void)kill(p->pid, SIGKILL);
            }
        }
    }
    free(list);
}

void agent_runner_stop(const struct agent_runner *r)
{
    if (r->pid > 0) {
        (void)kill(r->pid, SIGTERM);
    }
}

void agent_runner_kill(const struct agent_runner *r)
{
    if (getpid() == 1) {
        (void)kill(-1, SIGKILL);
    } else if (r->pid > 0) {
        (void)kill(-r->pid, SIGKILL);
        kill_descendants(r->pid);
    }
}

bool agent_runner_reap(struct agent_runner *r, int *out_code)
{
    bool ended = false;
    int status;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        if (pid == r->pid) {
            *out_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            ended = true;
        } else if (r->reaped != NULL) {
            r->reaped(r->reaped_ctx, pid, status);
        }
    }
    return ended;
}
