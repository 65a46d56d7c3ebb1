#include "worker/supervisor/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"

#define TURNS 8
#define ASK_MS 5000    /* for a client to say what it wants */
#define START_MS 10000 /* for the agent to start a shell, under load */
#define LEAVE_MS 5000  /* for a client to read what is left */
#define ROOM_FOR_CLOSE 64
#define ROOM_FOR_LAST 512 /* why a session has failed */

static void set_state(struct supervisor_shell *s, enum supervisor_shell_state state,
                      int64_t deadline_ms)
{
    if (state != SHELL_LEAVING) {
        s->since_ms = clock_mono_ms();
    }
    s->state = state;
    s->deadline_ms = deadline_ms == INT64_MAX ? INT64_MAX : clock_mono_ms() + deadline_ms;
}

static void drop_client(struct supervisor_shell *s)
{
    if (s->client >= 0) {
        close(s->client);
        s->client = -1;
    }
    s->from_client.len = 0;
    s->to_client.len = 0;
    set_state(s, SHELL_FREE, INT64_MAX);
}

/* --- the ends of a session -------------------------------------------------------------------- */

static void note_closed(const struct supervisor_shell *s, struct supervisor_network *n)
{
    char text[160];
    (void)snprintf(text, sizeof text, "%s, after %" PRId64 " s", s->who,
                   (clock_mono_ms() - s->since_ms) / 1000);
    supervisor_network_event(n, QEMU_EVENT_SHELL_CLOSED, 1, text);
}

/* The frame that says so is on its way to the client. */
static void end_session(struct supervisor_shell *s, struct supervisor_network *n)
{
    if (s->state == SHELL_RUNNING) {
        note_closed(s, n);
    }
    set_state(s, SHELL_LEAVING, LEAVE_MS);
}

static void ask_vm_to_close(struct supervisor_shell *s)
{
    if (s->state == SHELL_OPENING || s->state == SHELL_RUNNING) {
        (void)!shell_frame_put(&s->to_vm, SHELL_CLOSE, s->session, SLICE(""));
    }
}

static void fail_session(struct supervisor_shell *s, struct supervisor_network *n, const char *why)
{
    ask_vm_to_close(s);
    (void)!shell_frame_put(&s->to_client, SHELL_FAILED, 0, slice_of(why));
    end_session(s, n);
}

static void lose_client(struct supervisor_shell *s, struct supervisor_network *n)
{
    ask_vm_to_close(s);
    if (s->state == SHELL_RUNNING) {
        note_closed(s, n);
    }
    drop_client(s);
}

/* --- who may ---------------------------------------------------------------------------------- */

static void refuse(int fd, const char *why)
{
    struct shell_bytes out = {.len = 0};
    if (shell_frame_put(&out, SHELL_FAILED, 0, slice_of(why))) {
        (void)!send(fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(fd);
}

static bool is_permitted(int fd, unsigned *uid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return false;
    }
    *uid = peer.uid;
    return peer.uid == 0 || peer.uid == geteuid();
}

static void accept_client(struct supervisor_shell *s)
{
    char why[200];
    unsigned uid = 0;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return;
    }
    if (!is_permitted(fd, &uid)) {
        (void)snprintf(why, sizeof why, "user %u is neither root nor the worker's user (%u)", uid,
                       (unsigned)geteuid());
        refuse(fd, why);
    } else if (s->client >= 0) {
        (void)snprintf(why, sizeof why,
                       "one at a time: %s has had the VM's shell open for %" PRId64 " s", s->who,
                       (clock_mono_ms() - s->since_ms) / 1000);
        refuse(fd, why);
    } else if (s->broken) {
        refuse(fd, "the VM's end of its shell sent what no agent sends: no shell is to be had");
    } else {
        s->client = fd;
        s->uid = uid;
        (void)snprintf(s->who, sizeof s->who, "uid %u", uid);
        set_state(s, SHELL_CONNECTED, ASK_MS);
    }
}

/* --- from the client -------------------------------------------------------------------------- */

static void open_shell(struct supervisor_shell *s, struct supervisor_network *n,
                       const struct shell_frame *f)
{
    struct shell_open o;
    char text[128];
    if (f->type != SHELL_OPEN || !shell_open_read(f->body, &o)) {
        fail_session(s, n, "this is no request for a shell");
        return;
    }
    (void)snprintf(s->who, sizeof s->who, "%.60s (uid %u)", o.who, s->uid);
    (void)snprintf(o.who, sizeof o.who, "-");
    s->session++;
    s->awaits_taken = false;
    if (!shell_frame_put(&s->to_vm, SHELL_OPEN, s->session, shell_open_write(&o, text))) {
        fail_session(s, n, "the VM does not read from its shell's port");
        return;
    }
    set_state(s, SHELL_OPENING, START_MS);
}

/* False: later. */
static bool pass_to_vm(struct supervisor_shell *s, const struct shell_frame *f)
{
    bool is_input = f->type == SHELL_DATA || f->type == SHELL_INPUT_END;
    if (s->state == SHELL_OPENING || (is_input && s->awaits_taken) ||
        shell_bytes_left(&s->to_vm) < SHELL_HEAD_BYTES + f->body.len + ROOM_FOR_CLOSE) {
        return false;
    }
    if (is_input || f->type == SHELL_RESIZE) {
        (void)!shell_frame_put(&s->to_vm, f->type, s->session, f->body);
        s->awaits_taken = s->awaits_taken || f->type == SHELL_DATA;
    }
    return true;
}

/* Whether it handled a frame. */
static bool handle_client(struct supervisor_shell *s, struct supervisor_network *n)
{
    struct shell_frame f;
    size_t used = 0;
    if (s->state == SHELL_FREE || s->state == SHELL_LEAVING) {
        return false;
    }
    switch (shell_frame_parse(&s->from_client, &f, &used)) {
    case SHELL_INCOMPLETE:
        return false;
    case SHELL_INVALID:
        fail_session(s, n, "this is no request for a shell");
        return false;
    case SHELL_PARSED:
        break;
    }
    if (s->state == SHELL_CONNECTED) {
        open_shell(s, n, &f);
    } else if (!pass_to_vm(s, &f)) {
        return false;
    }
    shell_bytes_drop(&s->from_client, used);
    return true;
}

/* One that has hung up is seen though nothing is read from it. */
static bool has_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static bool read_client(struct supervisor_shell *s, struct supervisor_network *n)
{
    size_t room = shell_bytes_left(&s->from_client);
    if (s->client < 0 || s->state == SHELL_LEAVING) {
        return false;
    }
    ssize_t got =
        room == 0 ? -1
                  : recv(s->client, s->from_client.data + s->from_client.len, room, MSG_DONTWAIT);
    if (got > 0) {
        s->from_client.len += (size_t)got;
    } else if (got == 0 || has_hung_up(s->client)) {
        lose_client(s, n);
    }
    return got > 0;
}

/* --- from the VM ------------------------------------------------------------------------------ */

static void take_from_vm(struct supervisor_shell *s, struct supervisor_network *n,
                         const struct shell_frame *f)
{
    if (f->type == SHELL_TAKEN) {
        s->awaits_taken = false;
        return;
    }
    if (f->type == SHELL_STARTED && s->state == SHELL_OPENING) {
        set_state(s, SHELL_RUNNING, INT64_MAX);
        supervisor_network_event(n, QEMU_EVENT_SHELL_OPENED, 1, s->who);
    }
    (void)!shell_frame_put(&s->to_client, f->type, 0, f->body); /* there is room: read_vm */
    if (f->type == SHELL_EXITED || f->type == SHELL_FAILED) {
        end_session(s, n);
    }
}

static bool has_room_for_vm(const struct supervisor_shell *s)
{
    return shell_bytes_left(&s->to_client) >= SHELL_FRAME_MAX + ROOM_FOR_LAST;
}

/* Whether a frame was handled, which needs a client. */
static bool handle_vm(struct supervisor_shell *s, struct supervisor_network *n)
{
    struct shell_frame f;
    size_t used = 0;
    bool is_open = s->state == SHELL_OPENING || s->state == SHELL_RUNNING;
    if (!is_open || !has_room_for_vm(s)) {
        return false;
    }
    switch (shell_frame_parse(&s->from_vm, &f, &used)) {
    case SHELL_INCOMPLETE:
        return false;
    case SHELL_INVALID:
        s->broken = true;
        s->from_vm.len = 0;
        fail_session(s, n, "the VM's end of its shell sent what no agent sends");
        return false;
    case SHELL_PARSED:
        break;
    }
    if (f.session == s->session) { /* else of a session before, or of nobody */
        take_from_vm(s, n, &f);
    }
    shell_bytes_drop(&s->from_vm, used);
    return true;
}

static bool wants_vm(const struct supervisor_shell *s)
{
    return (s->state == SHELL_OPENING || s->state == SHELL_RUNNING) && has_room_for_vm(s) &&
           shell_bytes_left(&s->from_vm) > 0;
}

static bool read_vm(struct supervisor_shell *s)
{
    if (!wants_vm(s)) {
        return false;
    }
    ssize_t n =
        recv(s->vm, s->from_vm.data + s->from_vm.len, shell_bytes_left(&s->from_vm), MSG_DONTWAIT);
    s->from_vm.len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* --- the loop --------------------------------------------------------------------------------- */

static bool flush(int fd, struct shell_bytes *b)
{
    ssize_t n = fd < 0 || b->len == 0 ? 0 : send(fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        shell_bytes_drop(b, (size_t)n);
    }
    return n > 0;
}

static void enforce_deadline(struct supervisor_shell *s, struct supervisor_network *n)
{
    if (s->state == SHELL_LEAVING && (s->to_client.len == 0 || has_hung_up(s->client))) {
        drop_client(s);
    }
    if (clock_mono_ms() < s->deadline_ms) {
        return;
    }
    if (s->state == SHELL_OPENING) {
        fail_session(s, n,
                     "no shell was started within 10 s: the agent of the VM's image is older than "
                     "this program, or it does not run any more");
    } else {
        drop_client(s);
    }
}

int64_t supervisor_shell_work(struct supervisor_shell *s, struct supervisor_network *n)
{
    if (s->listen_fd < 0) {
        return INT64_MAX;
    }
    accept_client(s);
    for (int i = 0; i < TURNS; i++) {
        bool moved = read_client(s, n);
        while (handle_client(s, n)) {
            moved = true;
        }
        moved = flush(s->vm, &s->to_vm) || moved;
        moved = read_vm(s) || moved;
        while (handle_vm(s, n)) {
            moved = true;
        }
        moved = flush(s->client, &s->to_client) || moved;
        if (!moved) {
            break;
        }
    }
    enforce_deadline(s, n);
    return s->deadline_ms;
}

size_t supervisor_shell_fds(const struct supervisor_shell *s, struct pollfd *out)
{
    bool reads = s->state != SHELL_LEAVING && shell_bytes_left(&s->from_client) > 0;
    out[0] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
    out[1] = (struct pollfd){
        .fd = s->client,
        .events = (short)(POLLRDHUP | (reads ? POLLIN : 0) | (s->to_client.len > 0 ? POLLOUT : 0))};
    /* A port of which nothing is wanted is not watched: it may have hung up. */
    short vm = (short)((wants_vm(s) ? POLLIN : 0) | (s->to_vm.len > 0 ? POLLOUT : 0));
    out[2] = (struct pollfd){.fd = vm != 0 ? s->vm : -1, .events = vm};
    return SUPERVISOR_SHELL_FDS;
}

int supervisor_shell_open(struct supervisor_shell *s, const char *dir, int vm, struct err *e)
{
    *s = (struct supervisor_shell){
        .listen_fd = -1, .vm = vm, .client = -1, .deadline_ms = INT64_MAX};
    if (vm < 0) {
        return 0;
    }
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    s->listen_fd = dir_fd < 0 ? -1 : supervisor_listen(dir_fd, QEMU_SHELL_SOCKET, 0600);
    int errnum = errno;
    if (dir_fd >= 0) {
        close(dir_fd);
    }
    return s->listen_fd >= 0
               ? 0
               : err_errno(e, ERR_RETRY, errnum, "cannot listen on %s/" QEMU_SHELL_SOCKET, dir);
}

void supervisor_shell_close(struct supervisor_shell *s, struct supervisor_network *n)
{
    if (s->client >= 0) {
        fail_session(s, n, "the VM has ended");
        (void)flush(s->client, &s->to_client);
        drop_client(s);
    }
}
