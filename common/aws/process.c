#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/aws/sources.h"
#include "common/base/clock.h"

#define WORDS_MAX 64
#define COMMAND_LIMIT_BYTES 8192
#define TIMEOUT_MS 30000
#define OUTPUT_LIMIT_BYTES ((size_t)64 << 10)

/* --- the command line ------------------------------------------------------------------------- */

void aws_process_free(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        free(words[i]);
    }
    free(words);
}

/* Reads one word from *at, which is not a space; false if a quote is not closed. */
static bool next_argument(const char **at, struct buf *out)
{
    char quote = '\0';
    const char *c = *at;
    for (; *c != '\0' && (quote != '\0' || strchr(" \t\n", *c) == NULL); c++) {
        bool opens = quote == '\0' && (*c == '\'' || *c == '"');
        if (opens || *c == quote) {
            quote = opens ? *c : '\0';
            continue;
        }
        /* Within double quotes a backslash escapes only these two; within single quotes nothing. */
        bool escapes = *c == '\\' && c[1] != '\0' &&
                       (quote == '\0' || (quote == '"' && (c[1] == '"' || c[1] == '\\')));
        c += escapes ? 1 : 0;
        buf_append_byte(out, *c);
    }
    *at = c;
    return quote == '\0' && !out->failed;
}

char **aws_process_split(const char *command)
{
    char **words = calloc(WORDS_MAX + 1, sizeof *words);
    size_t n = 0;
    bool ok = true;
    const char *at = command + strspn(command, " \t\n");
    ASSERT(words != NULL);
    while (ok && *at != '\0') {
        struct buf word;
        buf_init(&word, COMMAND_LIMIT_BYTES);
        buf_append_cstr(&word, "");
        ok = n < WORDS_MAX && next_argument(&at, &word);
        if (ok) {
            words[n++] = buf_take(&word);
        }
        buf_fini(&word);
        at += strspn(at, " \t\n");
    }
    if (!ok || n == 0) {
        aws_process_free(words);
        return NULL;
    }
    return words;
}

/* --- the process ------------------------------------------------------------------------------ */

/* In its own process group, so that all its processes can be killed; with default signals and only
 * the pipe open. Its stderr may contain secrets and is discarded. */
static int spawn_command(char **words, int out_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t pipe_signal; /* Mayfly's programs ignore it, which would be inherited */
    int failed = posix_spawn_file_actions_init(&actions);
    ASSERT(failed == 0 && posix_spawnattr_init(&attributes) == 0);
    (void)sigemptyset(&none);
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    failed = posix_spawnattr_setsigmask(&attributes, &none) |
             posix_spawnattr_setsigdefault(&attributes, &pipe_signal) |
             posix_spawnattr_setpgroup(&attributes, 0) |
             posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                       POSIX_SPAWN_SETPGROUP) |
             posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) |
             posix_spawn_file_actions_adddup2(&actions, out_fd, 1) |
             posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) |
             posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    ASSERT(failed == 0);
    failed = posix_spawnp(pid, words[0], &actions, &attributes, words, environ);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Waits until the descriptor is readable or at its end; false when the time has expired. */
static bool wait_readable(int fd, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (;;) {
        int64_t left_ms = deadline_ms - clock_mono_ms();
        int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n > 0 || (n == 0 && left_ms <= 0)) {
            return n > 0;
        }
    }
}

static bool read_output(int fd, int64_t deadline_ms, struct buf *out)
{
    char chunk[4096];
    ssize_t n = -1;
    while (n != 0) {
        if (!wait_readable(fd, deadline_ms)) {
            return false;
        }
        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        buf_append(out, (struct slice){chunk, n > 0 ? (size_t)n : 0});
        if (out->failed) {
            return false;
        }
    }
    explicit_bzero(chunk, sizeof chunk);
    return true;
}

/* Kills the remaining processes of the group and reaps the child. */
static int kill_and_reap(pid_t pid, bool in_time, int64_t deadline_ms)
{
    int status = 0;
    int pidfd = in_time ? pidfd_open(pid, 0) : -1;
    bool ended = pidfd >= 0 && wait_readable(pidfd, deadline_ms);
    if (pidfd >= 0) {
        (void)close(pidfd);
    }
    if (!ended) {
        (void)kill(-pid, SIGKILL);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return ended ? status : -1;
}

static int check_result(const char *name, int status, const struct buf *out, struct err *e)
{
    if (out->failed) {
        return err_set(e, ERR_AUTH, 0, "credential_process %.100s printed more than %zu bytes",
                       name, out->limit_bytes);
    }
    if (status == -1) {
        return err_set(e, ERR_RETRY, 0, "credential_process %.100s did not finish in time", name);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return err_set(e, ERR_AUTH, 0, "credential_process %.100s failed (%s %d): run it by hand",
                       name, WIFEXITED(status) ? "status" : "signal",
                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    }
    return 0;
}

static int run_words(char **words, const struct aws_process_bounds *bounds, struct buf *out,
                     struct err *e)
{
    int fds[2];
    pid_t pid = 0;
    int64_t deadline_ms = clock_mono_ms() + bounds->timeout_ms;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return err_errno(e, ERR_RETRY, errno, "credential_process: cannot create a pipe");
    }
    int failed = spawn_command(words, fds[1], &pid);
    (void)close(fds[1]);
    if (failed != 0) {
        (void)close(fds[0]);
        return err_errno(e, ERR_AUTH, failed, "credential_process %.100s cannot be started",
                         words[0]);
    }
    bool in_time = read_output(fds[0], deadline_ms, out);
    (void)close(fds[0]);
    return check_result(words[0], kill_and_reap(pid, in_time, deadline_ms), out, e);
}

int aws_process_run(const char *command, const struct aws_process_bounds *bounds, struct buf *out,
                    struct err *e)
{
    char **words = aws_process_split(command);
    if (words == NULL) {
        return err_set(
            e, ERR_AUTH, 0,
            "credential_process is not a command line: check its quotes (no shell parses "
            "it)");
    }
    int rc = run_words(words, bounds, out, e);
    aws_process_free(words);
    return rc;
}

static bool has_version(struct slice text)
{
    json_t *object = text.len > 0 ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
    bool ok = json_integer_value(json_object_get(object, "Version")) == 1;
    json_decref(object);
    return ok;
}

int aws_process_keys(const char *command, struct aws_keys *out, struct err *e)
{
    static const struct aws_process_bounds bounds = {TIMEOUT_MS, OUTPUT_LIMIT_BYTES};
    struct buf text;
    buf_init(&text, bounds.output_bytes);
    int rc = aws_process_run(command, &bounds, &text, e);
    if (rc == 0 && !has_version(buf_slice(&text))) {
        rc =
            err_set(e, ERR_AUTH, 0,
                    "credential_process did not print a JSON object with \"Version\": 1: run it by "
                    "hand");
    }
    if (rc == 0 &&
        aws_keys_from_json(buf_slice(&text), "SessionToken", "credential_process", out, e) != 0) {
        rc = err_wrap(e, "credential_process");
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap);
    }
    buf_fini(&text);
    return rc;
}
