#include "deploy/ctl/shell/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/printable.h"
#include "common/payload/shell_frame.h"

#define CTRL_BRACKET 0x1d
#define INPUT_BYTES 1024
#define WHY_BYTES 400

struct session {
    int socket;
    bool terminal;
    struct termios before;
    int signals;
    bool input_ended; /* of a pipe */
    bool ended;
    bool failed;
    int exit_code;
    char why[WHY_BYTES]; /* of a failure */
    struct shell_keys keys;
    struct shell_bytes in;
    struct shell_bytes out;
    size_t shown; /* of the body of the DATA at the front of `in` */
};

/* --- keys ------------------------------------------------------------------------------------- */

bool shell_keys_take(struct shell_keys *k, struct slice in, char *out, size_t *out_len)
{
    *out_len = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == CTRL_BRACKET || (k->tilde && c == '.')) {
            return false;
        }
        if (k->tilde) {
            k->tilde = false;
            out[(*out_len)++] = '~';
            if (c == '~') {
                k->in_line = true;
                continue;
            }
        } else if (c == '~' && !k->in_line) {
            k->tilde = true;
            continue;
        }
        out[(*out_len)++] = c;
        k->in_line = c != '\r' && c != '\n';
    }
    return true;
}

/* --- the terminal ----------------------------------------------------------------------------- */

static void put_size(struct session *s)
{
    struct winsize size;
    char text[32];
    if (s->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        (void)!shell_frame_put(&s->out, SHELL_RESIZE, 0,
                               shell_size_write(size.ws_row, size.ws_col, text));
    }
}

static void put_request(struct session *s, const char *who)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    const char *term = getenv("TERM");
    char text[128];
    struct shell_open o = {.terminal = s->terminal};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    o.rows = size.ws_row;
    o.columns = size.ws_col;
    (void)snprintf(o.term, sizeof o.term, "%s", term != NULL ? term : "dumb");
    (void)snprintf(o.who, sizeof o.who, "%s", who);
    (void)!shell_frame_put(&s->out, SHELL_OPEN, 0, shell_open_write(&o, text));
}

static int watch_signals(struct session *s, struct err *e)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGWINCH);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals >= 0 ? 0 : err_errno(e, ERR_RETRY, errno, "cannot watch for signals");
}

static int enter_terminal(struct session *s, struct err *e)
{
    s->terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    if (!s->terminal) {
        return 0;
    }
    if (tcgetattr(STDIN_FILENO, &s->before) != 0) {
        s->terminal = false;
        return err_errno(e, ERR_RETRY, errno, "cannot read the terminal's settings");
    }
    struct termios raw = s->before;
    cfmakeraw(&raw);
    fputs(
        "A shell of root in the VM. What you see is a stranger's: believe and paste nothing of it. "
        "It ends with ~. at the start of a line, or Ctrl-].\n",
        stderr);
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0
               ? 0
               : err_errno(e, ERR_RETRY, errno, "cannot set the terminal");
}

static void leave_terminal(const struct session *s)
{
    if (s->terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &s->before);
        fputs("\r\nThe shell is closed.\n", stderr);
    }
}

/* --- from here -------------------------------------------------------------------------------- */

static bool has_room_for_input(const struct session *s)
{
    return !s->input_ended &&
           shell_bytes_left(&s->out) >= (size_t)SHELL_HEAD_BYTES + 2 * INPUT_BYTES + 1 + 64;
}

static void read_input(struct session *s)
{
    char chunk[INPUT_BYTES];
    char typed[2 * INPUT_BYTES + 1];
    size_t len;
    ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    struct slice data = {chunk, n > 0 ? (size_t)n : 0};
    if (data.len == 0) {
        s->input_ended = true;
        s->ended = s->terminal;
        (void)!shell_frame_put(&s->out, SHELL_INPUT_END, 0, SLICE(""));
        return;
    }
    if (s->terminal) {
        s->ended = !shell_keys_take(&s->keys, data, typed, &len);
        data = (struct slice){typed, len};
    }
    if (data.len > 0) {
        (void)!shell_frame_put(&s->out, SHELL_DATA, 0, data);
    }
}

static void write_socket(struct session *s)
{
    ssize_t n = send(s->socket, s->out.data, s->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        shell_bytes_drop(&s->out, (size_t)n);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        s->out.len = 0; /* the reason is still to be read */
        s->input_ended = true;
    }
}

static void read_signals(struct session *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGWINCH) {
            put_size(s);
        } else {
            s->ended = true;
            s->exit_code = 128 + (int)info.ssi_signo;
        }
    }
}

/* --- from the VM ------------------------------------------------------------------------------ */

static void fail(struct session *s, struct slice why)
{
    struct buf text;
    buf_init(&text, sizeof s->why * PRINTABLE_GROWTH);
    why.len = why.len < sizeof s->why - 1 ? why.len : sizeof s->why - 1;
    printable_append(&text, why);
    (void)snprintf(s->why, sizeof s->why, "%.*s", SLICE_ARG(buf_slice(&text)));
    buf_fini(&text);
    s->failed = s->ended = true;
}

/* What is left of it stays. Returns whether all of it was written. */
static bool show(struct session *s, struct slice body)
{
    ssize_t n = write(STDOUT_FILENO, body.ptr + s->shown, body.len - s->shown);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        s->ended = true; /* nobody reads it any more */
    }
    s->shown += n > 0 ? (size_t)n : 0;
    if (s->shown < body.len) {
        return false;
    }
    s->shown = 0;
    return true;
}

/* Whether the frame is done with. */
static bool take_frame(struct session *s, const struct shell_frame *f, bool may_write)
{
    int64_t code = 1;
    if (f->type == SHELL_DATA) {
        return f->body.len == 0 || (may_write && show(s, f->body));
    }
    if (f->type == SHELL_FAILED) {
        fail(s, f->body);
    } else if (f->type == SHELL_EXITED) {
        (void)!slice_to_range(f->body, 0, 255, &code);
        s->exit_code = (int)code;
        s->ended = true;
    }
    return true;
}

/* One DATA at a time: what was written may have filled the reader's pipe. */
static void take_frames(struct session *s, bool may_write)
{
    struct shell_frame f;
    size_t used = 0;
    while (!s->ended) {
        switch (shell_frame_parse(&s->in, &f, &used)) {
        case SHELL_INCOMPLETE:
            return;
        case SHELL_INVALID:
            fail(s, SLICE("the VM's supervisor does not speak this program's protocol"));
            return;
        case SHELL_PARSED:
            break;
        }
        if (!take_frame(s, &f, may_write)) {
            return;
        }
        may_write = may_write && f.type != SHELL_DATA;
        shell_bytes_drop(&s->in, used);
    }
}

static void read_socket(struct session *s)
{
    ssize_t n = recv(s->socket, s->in.data + s->in.len, shell_bytes_left(&s->in), MSG_DONTWAIT);
    if (n > 0) {
        s->in.len += (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        take_frames(s, true);
        if (!s->ended) {
            fail(s, SLICE("the connection to the VM has ended"));
        }
    }
}

/* Whether output waits for its reader. */
static bool has_output(const struct session *s)
{
    struct shell_frame f;
    size_t used;
    return shell_frame_parse(&s->in, &f, &used) == SHELL_PARSED;
}

static void run_turn(struct session *s)
{
    bool output = has_output(s);
    struct pollfd p[] = {
        {.fd = s->signals, .events = POLLIN},
        {.fd = has_room_for_input(s) ? STDIN_FILENO : -1, .events = POLLIN},
        {.fd = s->socket,
         .events = (short)((output ? 0 : POLLIN) | (s->out.len > 0 ? POLLOUT : 0))},
        {.fd = output ? STDOUT_FILENO : -1, .events = POLLOUT}};
    if (output && s->out.len == 0) {
        p[2].fd = -1; /* one that has hung up would be seen at once, and there is more to show */
    }
    if (poll(p, COUNT_OF(p), -1) < 0) {
        return;
    }
    read_signals(s);
    if (p[1].revents != 0) {
        read_input(s);
    }
    if (s->out.len > 0) {
        write_socket(s);
    }
    if (!output && p[2].revents != 0) {
        read_socket(s);
    }
    take_frames(s, p[3].revents != 0);
}

int shell_session_run(int socket, const char *who, int *exit_code, struct err *e)
{
    static struct session s; /* too large for the stack */
    s = (struct session){.socket = socket, .signals = -1};
    int rc = watch_signals(&s, e);
    if (rc == 0) {
        rc = enter_terminal(&s, e);
    }
    put_request(&s, who);
    while (rc == 0 && !s.ended) {
        run_turn(&s);
    }
    leave_terminal(&s);
    if (s.signals >= 0) {
        close(s.signals);
    }
    if (rc == 0 && s.failed) {
        rc = err_set(e, ERR_CONFLICT, 0, "%s", s.why);
    }
    *exit_code = s.exit_code;
    return rc;
}
