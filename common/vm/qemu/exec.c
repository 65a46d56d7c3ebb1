#include "common/vm/qemu/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define OUTPUT_IN_MESSAGE 300

static const char *search_path(void)
{
    const char *path = getenv("PATH");
    return path == NULL || *path == '\0' ? DEFAULT_PATH : path;
}

int exec_find(const char *program, const char *package, char *out, size_t size, struct err *e)
{
    struct slice rest = slice_of(search_path());
    char real[PATH_MAX];
    struct slice dir;
    if (strchr(program, '/') != NULL) {
        if (access(program, X_OK) == 0 && realpath(program, real) != NULL &&
            slice_to_cstr(slice_of(real), out, size)) {
            return 0;
        }
        return err_set(e, ERR_PERMANENT, errno, "%s does not exist or is not executable", program);
    }
    while (rest.len > 0) {
        (void)slice_cut(rest, ':', &dir, &rest);
        int n = snprintf(out, size, "%.*s/%s", SLICE_ARG(dir), program);
        if (n > 0 && (size_t)n < size && out[0] == '/' && access(out, X_OK) == 0) {
            return 0;
        }
    }
    return err_set(e, ERR_PERMANENT, ENOENT, "%s is not in PATH%s%s", program,
                   *package == '\0' ? "" : ": install the package ", package);
}

int exec_find_supervisor(char *out, size_t size, struct err *e)
{
    static const char *const places[] = {"", "../libexec/mayfly/", "../worker/supervisor/",
                                         "../../worker/supervisor/", "../../../worker/supervisor/"};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len < 0 ? 0 : len] = '\0';
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash != NULL && i < COUNT_OF(places); i++) {
        int n = snprintf(out, size, "%.*s%smayfly-vm-supervisor", (int)(slash + 1 - self), self,
                         places[i]);
        if (n > 0 && (size_t)n < size && access(out, X_OK) == 0) {
            return 0;
        }
    }
    int n = snprintf(out, size, "%s/mayfly-vm-supervisor", MAYFLY_LIBEXEC);
    if (n > 0 && (size_t)n < size && access(out, X_OK) == 0) {
        return 0;
    }
    return err_set(
        e, ERR_PERMANENT, ENOENT,
        "mayfly-vm-supervisor is neither beside this program nor in %s: reinstall Mayfly",
        MAYFLY_LIBEXEC);
}

int exec_find_gateway(const char *supervisor, char *out, size_t size, struct err *e)
{
    const char *slash = strrchr(supervisor, '/');
    int n = snprintf(out, size, "%.*smayfly-vm-net",
                     slash == NULL ? 0 : (int)(slash + 1 - supervisor), supervisor);
    if (n > 0 && (size_t)n < size && access(out, X_OK) == 0) {
        return 0;
    }
    return err_set(e, ERR_PERMANENT, ENOENT,
                   "mayfly-vm-net, the gateway of every VM's network, is not beside %s: reinstall "
                   "Mayfly",
                   supervisor);
}

static int spawn_program(const char *const *argv, int output, pid_t *pid)
{
    char path_entry[4096];
    char *env[] = {path_entry, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    sigset_t all;

    int n = snprintf(path_entry, sizeof path_entry, "PATH=%s", search_path());
    if (n < 0 || (size_t)n >= sizeof path_entry) {
        env[0] = NULL;
    }
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_adddup2(&actions, output, 2);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    /* posix_spawn has char *const[] for historical reasons and does not write to them. */
    union {
        const char *const *in;
        char *const *out;
    } args = {argv};
    int errnum = posix_spawn(pid, argv[0], &actions, &attr, args.out, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return errnum;
}

bool exec_read_output(int fd, int64_t deadline_ms, struct buf *out)
{
    char chunk[4096];
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR)) {
            return false;
        }
        if (p.revents == 0) {
            continue;
        }
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0) {
            return true;
        }
        if (n > 0) {
            buf_append(out, (struct slice){chunk, (size_t)n});
        } else if (errno != EINTR) {
            return false;
        }
    }
}

/* The exit status from waitpid; 0 if another part of the process reaps its children. */
static int wait_exit(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return 0;
        }
    }
    return status;
}

int exec_capture(const char *const *argv, int64_t timeout_ms, struct buf *out, struct err *e)
{
    int pipe_fds[2];
    pid_t pid;
    size_t before = out->len;

    if (pipe2(pipe_fds, O_CLOEXEC) != 0) {
        return err_errno(e, ERR_RETRY, errno, "cannot make a pipe to run %s", argv[0]);
    }
    int errnum = spawn_program(argv, pipe_fds[1], &pid);
    close(pipe_fds[1]);
    if (errnum != 0) {
        close(pipe_fds[0]);
        return err_errno(e, errnum == EAGAIN || errnum == ENOMEM ? ERR_CAPACITY : ERR_RETRY, errnum,
                         "cannot start %s", argv[0]);
    }
    bool ended = exec_read_output(pipe_fds[0], clock_mono_ms() + timeout_ms, out);
    close(pipe_fds[0]);
    if (!ended) {
        (void)kill(-pid, SIGKILL);
    }
    int status = wait_exit(pid);
    if (!ended) {
        return err_set(e, ERR_RETRY, ETIMEDOUT, "%s did not end within %lld ms", argv[0],
                       (long long)timeout_ms);
    }
    if (status != 0) {
        struct slice said = slice_trim((struct slice){out->data + before, out->len - before});
        said.len = said.len > OUTPUT_IN_MESSAGE ? OUTPUT_IN_MESSAGE : said.len;
        return err_set(e, ERR_RETRY, WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
                       "%s failed: %.*s", argv[0], SLICE_ARG(said));
    }
    return 0;
}
