#include "common/http/server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/net/listen_address.h"

#define HEAD_BYTES 8192
#define HEADERS_MAX 64
#define HEAD_SECONDS 2
#define ACCEPT_PAUSE_MS 100
#define LATE_MS 2000 /* a reader may be busy; what it takes then is no sign that it is gone */

enum phase {
    READING,   /* its head */
    WAITING,   /* for its response */
    SENDING,   /* the response, and then until the peer closes */
    STREAMING, /* events, without an end */
};

/* A peer that sends a byte a second holds its place for HEAD_SECONDS at most, one that reads so for
 * `reply_seconds` more. */
struct http_exchange {
    struct http_server *server;
    struct http_exchange *next; /* the newest first */
    struct http_exchange *prev;
    struct bufferevent *io;
    struct event *deadline;
    struct http_request request;
    uint64_t id;
    enum phase phase;
    int64_t read_ms; /* of a stream: when its peer had last read all */
    bool is_head;
};

struct http_server {
    struct http_server_options o;
    struct http_limits limits;
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *wake_event;
    int wake_fd;
    struct http_exchange *exchanges;
    size_t count;
    size_t streams;
    uint64_t last_id;
    int port;
    char *path; /* of a Unix socket, removed at the end; else NULL */
};

/* --- connections --- */

static void exchange_close(struct http_exchange *x)
{
    struct http_server *s = x->server;
    if (x->prev != NULL) {
        x->prev->next = x->next;
    } else {
        s->exchanges = x->next;
    }
    if (x->next != NULL) {
        x->next->prev = x->prev;
    }
    s->count--;
    s->streams -= x->phase == STREAMING ? 1 : 0;
    bufferevent_free(x->io);
    event_free(x->deadline);
    free(x);
}

static void report_limit(const struct http_server *s, const char *limit)
{
    if (s->o.on_limit != NULL) {
        s->o.on_limit(s->o.arg, limit);
    }
}

/* A peer that has its response, and does not close, keeps nobody waiting. */
static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct http_exchange *x = arg;
    bool has_all = x->phase == SENDING && evbuffer_get_length(bufferevent_get_output(x->io)) == 0;
    (void)fd;
    (void)what;
    if (!has_all) {
        report_limit(x->server, x->phase == READING ? HTTP_LIMIT_HEAD : HTTP_LIMIT_RESPONSE_TIME);
    }
    exchange_close(x);
}

static void on_error(struct bufferevent *io, short what, void *arg)
{
    (void)io;
    (void)what;
    exchange_close(arg);
}

/* The response is sent. Shut down first, and close when the peer closes or the deadline expires:
 * closing with unread bytes would reset the connection, and the peer could lose the response. */
static void on_sent(struct bufferevent *io, void *arg)
{
    (void)arg;
    (void)shutdown(bufferevent_getfd(io), SHUT_WR);
    (void)bufferevent_enable(io, EV_READ);
}

/* While the response is sent: a peer that has closed its sending side still reads the response.
 * on_sent reads again and finds the end once more. */
static void on_event_while_sending(struct bufferevent *io, short what, void *arg)
{
    if ((what & BEV_EVENT_EOF) != 0 && evbuffer_get_length(bufferevent_get_output(io)) > 0) {
        (void)bufferevent_disable(io, EV_READ);
        return;
    }
    exchange_close(arg);
}

/* A peer that has closed its sending side still reads the response; it is found gone when it is
 * sent, or at the deadline. */
static void on_event_while_waiting(struct bufferevent *io, short what, void *arg)
{
    if ((what & BEV_EVENT_EOF) != 0) {
        (void)bufferevent_disable(io, EV_READ);
        return;
    }
    exchange_close(arg);
}

static void drop_input(struct bufferevent *io, void *arg)
{
    (void)arg;
    struct evbuffer *in = bufferevent_get_input(io);
    (void)evbuffer_drain(in, evbuffer_get_length(in));
}

static void set_deadline(struct http_exchange *x, int seconds)
{
    struct timeval deadline = {.tv_sec = seconds};
    ASSERT(evtimer_add(x->deadline, &deadline) == 0);
}

/* --- responses --- */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {414, "URI Too Long"},
        {421, "Misdirected Request"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (known[i].status == status) {
            return known[i].reason;
        }
    }
    return "Error";
}

static void add_head(struct http_exchange *x, const struct http_page *p, bool has_end)
{
    struct evbuffer *out = bufferevent_get_output(x->io);
    int n = evbuffer_add_printf(
        out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\n%s%sConnection: close\r\n", p->status,
        reason_of(p->status), p->type, x->server->o.headers, p->headers != NULL ? p->headers : "");
    ASSERT(n > 0);
    if (has_end) {
        ASSERT(evbuffer_add_printf(out, "Content-Length: %zu\r\n", p->body.len) > 0);
    }
    ASSERT(evbuffer_add(out, "\r\n", 2) == 0);
}

static size_t pending_bytes(const struct http_server *s)
{
    size_t bytes = 0;
    for (const struct http_exchange *x = s->exchanges; x != NULL; x = x->next) {
        bytes += evbuffer_get_length(bufferevent_get_output(x->io));
    }
    return bytes;
}

void http_exchange_reply(struct http_exchange *x, const struct http_page *p)
{
    static const struct http_page full = {
        .status = 503, .type = "text/plain; charset=utf-8", .headers = "Retry-After: 5\r\n"};
    const struct http_server *s = x->server;
    if (pending_bytes(s) + p->body.len > s->o.pending_bytes) {
        report_limit(s, HTTP_LIMIT_UNREAD);
        p = &full;
    }
    bufferevent_setcb(x->io, drop_input, on_sent, on_event_while_sending, x);
    x->phase = SENDING;
    add_head(x, p, true);
    if (!x->is_head && p->body.len > 0) {
        ASSERT(evbuffer_add(bufferevent_get_output(x->io), p->body.ptr, p->body.len) == 0);
    }
    set_deadline(x, s->o.reply_seconds);
}

static void refuse(struct http_exchange *x)
{
    const struct http_request *r = &x->request;
    bool is_long = r->status == 414 || r->status == 431;
    char text[160];
    if (is_long) {
        report_limit(x->server, HTTP_LIMIT_HEAD);
    }
    (void)snprintf(text, sizeof text, "%s\n", r->why);
    http_exchange_reply(x, &(struct http_page){.status = is_long ? r->status : 400,
                                               .type = "text/plain; charset=utf-8",
                                               .body = slice_of(text)});
}

/* --- streams --- */

static void on_stream_sent(struct bufferevent *io, void *arg)
{
    struct http_exchange *x = arg;
    (void)io;
    x->read_ms = clock_mono_ms();
}

static void on_stream_error(struct bufferevent *io, short what, void *arg)
{
    struct http_exchange *x = arg;
    if ((what & BEV_EVENT_ERROR) != 0 && errno == ETIMEDOUT) {
        report_limit(x->server, HTTP_LIMIT_STALLED);
    }
    on_error(io, what, arg);
}

/* The kernel takes small events for an hour from a peer that reads none, or that is gone without a word. */
static void limit_silence(const struct http_exchange *x)
{
    unsigned ms = (unsigned)(x->server->o.stall_ms + LATE_MS);
    (void)setsockopt(bufferevent_getfd(x->io), IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

bool http_exchange_stream(struct http_exchange *x, const struct http_page *p)
{
    struct http_server *s = x->server;
    if (s->streams >= s->o.streams) {
        return false;
    }
    if (x->is_head) {
        http_exchange_reply(x, &(struct http_page){.status = 200, .type = p->type});
        return true;
    }
    bufferevent_setcb(x->io, drop_input, on_stream_sent, on_stream_error, x);
    limit_silence(x);
    ASSERT(event_del(x->deadline) == 0);
    x->phase = STREAMING;
    x->read_ms = clock_mono_ms();
    s->streams++;
    add_head(x, p, false);
    ASSERT(evbuffer_add(bufferevent_get_output(x->io), p->body.ptr, p->body.len) == 0);
    return true;
}

void http_server_push(struct http_server *s, struct slice event)
{
    int64_t now_ms = clock_mono_ms();
    for (struct http_exchange *x = s->exchanges, *next; x != NULL; x = next) {
        next = x->next;
        struct evbuffer *out = bufferevent_get_output(x->io);
        if (x->phase != STREAMING) {
            continue;
        }
        if (evbuffer_get_length(out) == 0) {
            ASSERT(evbuffer_add(out, event.ptr, event.len) == 0);
        } else if (now_ms - x->read_ms > s->o.stall_ms) {
            report_limit(s, HTTP_LIMIT_STALLED);
            exchange_close(x);
        }
    }
}

size_t http_server_streams(const struct http_server *s)
{
    return s->streams;
}

/* --- requests --- */

uint64_t http_exchange_id(const struct http_exchange *x)
{
    return x->id;
}

struct http_exchange *http_server_find(struct http_server *s, uint64_t id)
{
    struct http_exchange *x = s->exchanges;
    while (x != NULL && x->id != id) {
        x = x->next;
    }
    return x;
}

static void on_request_bytes(struct bufferevent *io, void *arg)
{
    struct http_exchange *x = arg;
    struct http_server *s = x->server;
    struct evbuffer *in = bufferevent_get_input(io);
    size_t length = evbuffer_get_length(in);
    char *bytes = (char *)evbuffer_pullup(in, -1);
    if (bytes == NULL) {
        return;
    }
    enum http_read read = http_request_read(&x->request, &s->limits, bytes, &length);
    if (read == HTTP_READ_MORE) {
        return;
    }
    set_deadline(x, s->o.reply_seconds);
    if (read == HTTP_READ_BAD) {
        refuse(x);
    } else {
        x->phase = WAITING;
        x->is_head = slice_eq_cstr(x->request.method, "HEAD");
        bufferevent_setcb(io, drop_input, NULL, on_event_while_waiting, x);
        s->o.on_request(s->o.arg, x, &x->request);
    }
    drop_input(io, x); /* what arrives from now on is dropped, too */
}

/* --- the listener --- */

/* Who came first, of those that may be waiting for nothing. */
static struct http_exchange *oldest(const struct http_server *s)
{
    struct http_exchange *found = NULL;
    for (struct http_exchange *x = s->exchanges; x != NULL; x = x->next) {
        found = x->phase != STREAMING ? x : found;
    }
    return found;
}

/* At the limit the oldest connection gives way: idle peers must not keep a probe waiting. */
static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int peer_len, void *arg)
{
    struct http_server *s = arg;
    (void)listener;
    (void)peer;
    (void)peer_len;
    if (s->count >= s->o.connections) {
        report_limit(s, HTTP_LIMIT_CONNECTIONS);
        exchange_close(oldest(s));
    }
    struct http_exchange *x = calloc(1, sizeof *x);
    ASSERT(x != NULL);
    x->server = s;
    x->id = ++s->last_id;
    http_request_begin(&x->request);
    x->io = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    x->deadline = evtimer_new(s->base, on_deadline, x);
    ASSERT(x->io != NULL && x->deadline != NULL);
    x->next = s->exchanges;
    if (x->next != NULL) {
        x->next->prev = x;
    }
    s->exchanges = x;
    s->count++;
    bufferevent_setwatermark(x->io, EV_READ, 0, (size_t)2 * HEAD_BYTES);
    bufferevent_setcb(x->io, on_request_bytes, NULL, on_error, x);
    set_deadline(x, HEAD_SECONDS);
    ASSERT(bufferevent_enable(x->io, EV_READ | EV_WRITE) == 0);
}

/* Probably out of descriptors: a pause keeps the thread from spinning. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    (void)listener;
    (void)arg;
    clock_sleep_until(clock_mono_ms() + ACCEPT_PAUSE_MS);
}

/* A Unix socket is for its owner and group, whatever the umask; before it is bound, the mode of its
 * descriptor keeps others out (Linux). */
static bool bind_socket(int fd, const struct sockaddr_storage *address, socklen_t size)
{
    struct sockaddr_un un;
    if (address->ss_family != AF_UNIX) {
        return bind(fd, (const struct sockaddr *)address, size) == 0;
    }
    memcpy(&un, address, sizeof un);
    return fchmod(fd, 0660) == 0 && bind(fd, (const struct sockaddr *)address, size) == 0 &&
           chmod(un.sun_path, 0660) == 0;
}

static int open_socket(const struct sockaddr_storage *address, socklen_t size, int backlog)
{
    int on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        !bind_socket(fd, address, size) || listen(fd, backlog) != 0) {
        int errnum = errno;
        (void)close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static int listen_on(struct http_server *s, struct err *e)
{
    const char *text = s->o.listen;
    struct sockaddr_storage address;
    socklen_t size = 0;
    if (listen_address_resolve(s->o.what, text, &address, &size, e) != 0) {
        return -1;
    }
    listen_address_clear(&address, size);
    int fd = open_socket(&address, size, (int)s->o.connections);
    if (fd < 0) {
        return err_errno(e, ERR_PERMANENT, errno, "%s %s: cannot listen there; %s", s->o.what, text,
                         s->o.hint);
    }
    ASSERT(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    s->port = listen_address_port(&address);
    s->path =
        listen_address_path(text) != NULL ? slice_dup(slice_of(listen_address_path(text))) : NULL;
    s->listener = evconnlistener_new(s->base, on_accept, s, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    ASSERT(s->listener != NULL);
    evconnlistener_set_error_cb(s->listener, on_accept_failed);
    return 0;
}

/* --- the server --- */

/* Added to the wakes that the eventfd counts. So whoever stops the server needs nothing of it any more once
 * the loop knows. */
#define STOP ((uint64_t)1 << 32)

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct http_server *s = arg;
    uint64_t wakes = 0;
    (void)what;
    (void)!read(fd, &wakes, sizeof wakes);
    if (wakes >= STOP) {
        (void)event_base_loopbreak(s->base);
    } else if (s->o.on_wake != NULL) {
        s->o.on_wake(s->o.arg);
    }
}

static int open_wake(struct http_server *s, struct err *e)
{
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "%s: cannot create an eventfd", s->o.what);
    }
    s->wake_event = event_new(s->base, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
    ASSERT(s->wake_event != NULL && event_add(s->wake_event, NULL) == 0);
    return 0;
}

int http_server_open(const struct http_server_options *o, struct http_server **out, struct err *e)
{
    struct http_server *s = calloc(1, sizeof *s);
    ASSERT(s != NULL && o->connections > o->streams);
    *s = (struct http_server){.o = *o,
                              .limits = {.head_bytes = HEAD_BYTES,
                                         .headers = HEADERS_MAX,
                                         .host_is_needed = o->host_is_needed},
                              .base = event_base_new(),
                              .wake_fd = -1};
    ASSERT(s->base != NULL);
    if (listen_on(s, e) != 0 || open_wake(s, e) != 0) {
        http_server_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_run(struct http_server *s)
{
    (void)event_base_dispatch(s->base);
}

int http_server_wake_fd(const struct http_server *s)
{
    return s->wake_fd;
}

void http_server_stop(struct http_server *s)
{
    const uint64_t stop = STOP;
    ASSERT(write(s->wake_fd, &stop, sizeof stop) == (ssize_t)sizeof stop);
}

void http_server_close(struct http_server *s)
{
    if (s == NULL) {
        return;
    }
    for (struct http_exchange *x = s->exchanges, *next; x != NULL; x = next) {
        next = x->next;
        exchange_close(x);
    }
    if (s->listener != NULL) {
        evconnlistener_free(s->listener);
    }
    if (s->path != NULL) {
        (void)unlink(s->path);
        free(s->path);
    }
    if (s->wake_event != NULL) {
        event_free(s->wake_event);
    }
    if (s->wake_fd >= 0) {
        (void)close(s->wake_fd);
    }
    event_base_free(s->base);
    free(s);
}
