#include "deploy/image/agent/agent_shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "deploy/image/agent/agent_child.h"
#include "deploy/image/agent/agent_env.h"

#define TURNS 16 /* a call of `work` moves so much at most: the loop has other work */
#define RETRY_MS 250
#define REPLY_BYTES 512 /* kept for the replies to what the host sends */

/* --- what is waited on ------------------------------------------------------------------------ */

/* A descriptor that has hung up is an event whatever is asked for: one that is not waited on is
 * removed. */
static void wait_on(struct agent_shell *s, struct agent_shell_end *end, uint32_t events)
{
    struct epoll_event ev = {.events = events};
    if (end->fd < 0 || end->events == events) {
        return;
    }
    int op = events == 0 ? EPOLL_CTL_DEL : end->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(s->epoll_fd, op, end->fd, &ev) == 0) {
        end->events = events;
    }
}

static void close_end(struct agent_shell *s, struct agent_shell_end *end)
{
    if (end->fd >= 0) {
        wait_on(s, end, 0);
        close(end->fd);
        end->fd = -1;
    }
}

static bool has_room_to_reply(const struct agent_shell *s)
{
    return shell_bytes_left(&s->to_host) >= REPLY_BYTES;
}

static void wait_for_work(struct agent_shell *s)
{
    uint32_t port = s->to_host.len > 0 ? EPOLLOUT : 0;
    port |= has_room_to_reply(s) ? EPOLLIN : 0;
    wait_on(s, &s->port, s->retry_ms == INT64_MAX ? port : 0);
    wait_on(s, &s->input, s->pending_len > 0 ? EPOLLOUT : 0);
    wait_on(s, &s->output, s->to_host.len == 0 ? EPOLLIN : 0);
}

/* --- a session -------------------------------------------------------------------------------- */

static void reply(struct agent_shell *s, enum shell_type type, const char *text)
{
    /* There is room: no frame of the host is handled without (has_room_to_reply). */
    (void)!shell_frame_put(&s->to_host, type, s->session, slice_of(text));
}

static void end_session(struct agent_shell *s)
{
    close_end(s, &s->input);
    close_end(s, &s->output);
    if (s->pid > 0) {
        (void)kill(-s->pid, SIGHUP);
        (void)kill(s->pid, SIGKILL);
        log_info("shell_ended", LOG_INT("pid", s->pid));
    }
    s->pid = 0;
    s->open = false;
    s->exited = false;
    s->input_ends = false;
    s->pending_len = 0;
}

static void fail_session(struct agent_shell *s, const char *what)
{
    char text[200];
    (void)snprintf(text, sizeof text, "the VM's agent cannot %s: %s", what, strerror(errno));
    reply(s, SHELL_FAILED, text);
    end_session(s);
}

/* What the child gets: one terminal by its name, or two pipes. */
struct shell_child {
    char terminal[64]; /* "": the pipes */
    int input;
    int output;
    const struct agent_user *user; /* NULL: the agent's own */
    const char *term;
};

static bool take_terminal(const struct shell_child *c)
{
    int fd = open(c->terminal, O_RDWR | O_CLOEXEC | O_NOCTTY);
    return fd >= 0 && ioctl(fd, TIOCSCTTY, 0) == 0 && dup2(fd, 0) == 0 && dup2(fd, 1) == 1 &&
           dup2(fd, 2) == 2;
}

static bool take_pipes(const struct shell_child *c)
{
    return dup2(c->input, 0) == 0 && dup2(c->output, 1) == 1 && dup2(c->output, 2) == 2;
}

/* A login shell is one whose name begins with a dash. */
static int exec_shell(const void *ctx)
{
    const struct shell_child *c = ctx;
    struct agent_env env;
    char bash[] = "-bash";
    char sh[] = "-sh";
    char *const as_bash[] = {bash, NULL};
    char *const as_sh[] = {sh, NULL};
    agent_env_init(&env, c->user, NULL);
    if (getenv("TERM") == NULL) {
        agent_env_put(&env, "TERM", slice_of(c->term));
    }
    char **entries = agent_env_entries(&env);
    if (entries == NULL || !(c->terminal[0] != '\0' ? take_terminal(c) : take_pipes(c))) {
        return 126;
    }
    if (c->user == NULL || chdir(c->user->home) != 0) {
        (void)!chdir("/");
    }
    (void)execve("/bin/bash", as_bash, entries);
    (void)execve("/bin/sh", as_sh, entries);
    return 127;
}

static void set_size(const struct agent_shell *s, int64_t rows, int64_t columns)
{
    const struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    if (s->terminal && s->output.fd >= 0 && rows > 0 && columns > 0) {
        (void)ioctl(s->output.fd, TIOCSWINSZ, &size);
    }
}

static bool open_terminal(struct agent_shell *s, struct shell_child *c)
{
    s->output.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    return s->output.fd >= 0 && grantpt(s->output.fd) == 0 && unlockpt(s->output.fd) == 0 &&
           ptsname_r(s->output.fd, c->terminal, sizeof c->terminal) == 0 &&
           (s->input.fd = fcntl(s->output.fd, F_DUPFD_CLOEXEC, 0)) >= 0;
}

/* Only this process's ends do not block. */
static bool open_pipes(struct agent_shell *s, struct shell_child *c)
{
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0) {
        return false;
    }
    c->input = in[0];
    s->input.fd = in[1];
    if (pipe2(out, O_CLOEXEC) != 0) {
        return false;
    }
    s->output.fd = out[0];
    c->output = out[1];
    return fcntl(s->input.fd, F_SETFL, O_NONBLOCK) == 0 &&
           fcntl(s->output.fd, F_SETFL, O_NONBLOCK) == 0;
}

static void close_child_ends(const struct shell_child *c)
{
    if (c->input >= 0) {
        close(c->input);
    }
    if (c->output >= 0) {
        close(c->output);
    }
}

static void open_session(struct agent_shell *s, const struct shell_frame *f)
{
    struct shell_open o;
    struct agent_user root;
    struct err e = {0};
    struct shell_child child = {.input = -1, .output = -1};
    end_session(s);
    s->session = f->session;
    s->open = true;
    if (!shell_open_read(f->body, &o)) {
        errno = EPROTO;
        fail_session(s, "read the request");
        return;
    }
    s->terminal = o.terminal;
    child.term = o.term;
    child.user = geteuid() == 0 && agent_user_load("root", &root, &e) == 0 ? &root : NULL;
    bool opened = o.terminal ? open_terminal(s, &child) : open_pipes(s, &child);
    if (opened) {
        set_size(s, o.rows, o.columns);
        s->pid = agent_child_start(exec_shell, &child, &e);
    }
    if (!opened || s->pid < 0) {
        s->pid = 0;
        fail_session(s, opened ? "start a shell" : "open a terminal");
    } else {
        log_info("shell_started", LOG_INT("pid", s->pid));
        reply(s, SHELL_STARTED, "");
    }
    close_child_ends(&child);
}

void agent_shell_reaped(void *ctx, pid_t pid, int status)
{
    struct agent_shell *s = ctx;
    if (pid == s->pid) {
        s->pid = 0;
        s->exited = true;
        s->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

/* --- from the host ---------------------------------------------------------------------------- */

static void take_data(struct agent_shell *s, struct slice data)
{
    if (s->pending_len > 0 || s->input.fd < 0 || s->input_ends) {
        reply(s, SHELL_TAKEN, ""); /* more than was asked for, or nobody reads it */
        return;
    }
    memcpy(s->pending, data.ptr, data.len);
    s->pending_len = data.len;
    if (data.len == 0) {
        reply(s, SHELL_TAKEN, "");
    }
}

static void handle_frame(struct agent_shell *s, const struct shell_frame *f)
{
    int64_t rows;
    int64_t columns;
    if (f->type == SHELL_OPEN) {
        open_session(s, f);
    } else if (!s->open || f->session != s->session) {
        return;
    } else if (f->type == SHELL_DATA) {
        take_data(s, f->body);
    } else if (f->type == SHELL_INPUT_END) {
        s->input_ends = !s->terminal;
    } else if (f->type == SHELL_RESIZE && shell_size_read(f->body, &rows, &columns)) {
        set_size(s, rows, columns);
    } else if (f->type == SHELL_CLOSE) {
        end_session(s);
    }
}

/* Whether it handled one, which may have closed the port. */
static bool handle_next(struct agent_shell *s)
{
    struct shell_frame frame;
    size_t used = 0;
    if (!has_room_to_reply(s)) {
        return false;
    }
    switch (shell_frame_parse(&s->from_host, &frame, &used)) {
    case SHELL_PARSED:
        handle_frame(s, &frame);
        shell_bytes_drop(&s->from_host, used);
        return true;
    case SHELL_INCOMPLETE:
        return false;
    case SHELL_INVALID:
        break;
    }
    shell_bytes_drop(&s->from_host, s->from_host.len);
    end_session(s);
    return true;
}

/* The supervisor has ended, and the VM does soon; or a snapshot was restored. */
static void lose_host(struct agent_shell *s, int64_t now_ms)
{
    end_session(s);
    s->from_host.len = 0;
    s->to_host.len = 0;
    wait_on(s, &s->port, 0);
    s->retry_ms = now_ms + RETRY_MS;
    if (!s->port_may_return) {
        close_end(s, &s->port);
        s->retry_ms = INT64_MAX;
    }
}

static bool read_port(struct agent_shell *s, int64_t now_ms)
{
    bool pauses = s->retry_ms != INT64_MAX && now_ms < s->retry_ms;
    if (s->port.fd < 0 || pauses || !has_room_to_reply(s)) {
        return false;
    }
    ssize_t n =
        read(s->port.fd, s->from_host.data + s->from_host.len, shell_bytes_left(&s->from_host));
    if (n > 0) {
        s->retry_ms = INT64_MAX;
        s->from_host.len += (size_t)n;
        while (handle_next(s)) {
        }
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        s->retry_ms = INT64_MAX;
        return false;
    }
    lose_host(s, now_ms);
    return false;
}

/* --- to and from the shell -------------------------------------------------------------------- */

static bool write_input(struct agent_shell *s)
{
    if (s->input.fd < 0 || (s->pending_len == 0 && !s->input_ends) || !has_room_to_reply(s)) {
        return false;
    }
    if (s->pending_len == 0) {
        close_end(s, &s->input);
        return true;
    }
    ssize_t n = write(s->input.fd, s->pending, s->pending_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n < 0) { /* nobody reads it any more */
        close_end(s, &s->input);
        n = (ssize_t)s->pending_len;
    }
    s->pending_len -= (size_t)n;
    memmove(s->pending, s->pending + n, s->pending_len);
    if (s->pending_len == 0) {
        reply(s, SHELL_TAKEN, "");
    }
    return true;
}

/* Whether there was something to read. */
static bool read_output(struct agent_shell *s)
{
    char chunk[SHELL_BODY_MAX];
    if (s->output.fd < 0 || s->to_host.len > 0) {
        return false;
    }
    ssize_t n = read(s->output.fd, chunk, sizeof chunk);
    if (n > 0) {
        (void)!shell_frame_put(&s->to_host, SHELL_DATA, s->session,
                               (struct slice){chunk, (size_t)n});
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_end(s, &s->output);
    }
    return false;
}

/* Once its shell has exited and the last of its output is read. What it left in the background keeps
 * no session open. */
static void finish_session(struct agent_shell *s)
{
    char code[16];
    if (s->open && s->exited && s->to_host.len == 0) {
        (void)snprintf(code, sizeof code, "%d", s->exit_code);
        reply(s, SHELL_EXITED, code);
        end_session(s);
    }
}

static bool write_port(struct agent_shell *s)
{
    if (s->port.fd < 0 || s->to_host.len == 0) {
        return false;
    }
    ssize_t n = write(s->port.fd, s->to_host.data, s->to_host.len);
    if (n > 0) {
        shell_bytes_drop(&s->to_host, (size_t)n);
    }
    return n > 0;
}

void agent_shell_work(struct agent_shell *s, int64_t now_ms)
{
    if (s->epoll_fd < 0) {
        return;
    }
    for (int i = 0; i < TURNS; i++) {
        bool moved = read_port(s, now_ms);
        while (handle_next(s)) {
        }
        moved = write_input(s) || moved;
        bool more = read_output(s);
        if (!more) {
            finish_session(s);
        }
        if (!write_port(s) && !moved && !more) {
            break;
        }
    }
    wait_for_work(s);
}

int64_t agent_shell_deadline(const struct agent_shell *s)
{
    return s->epoll_fd < 0 ? INT64_MAX : s->retry_ms;
}

int agent_shell_init(struct agent_shell *s, int port, struct err *e)
{
    struct stat st;
    *s = (struct agent_shell){.epoll_fd = -1,
                              .port = {.fd = port},
                              .retry_ms = INT64_MAX,
                              .input = {.fd = -1},
                              .output = {.fd = -1}};
    if (port < 0) {
        return 0;
    }
    s->port_may_return = fstat(port, &st) == 0 && S_ISCHR(st.st_mode);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->epoll_fd < 0) {
        err_errno(e, ERR_PERMANENT, errno, "cannot wait for shells");
        agent_shell_fini(s);
        return -1;
    }
    wait_for_work(s);
    return 0;
}

void agent_shell_fini(struct agent_shell *s)
{
    end_session(s);
    close_end(s, &s->port);
    if (s->epoll_fd >= 0) {
        close(s->epoll_fd);
        s->epoll_fd = -1;
    }
}
