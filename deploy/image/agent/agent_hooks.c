#include "deploy/image/agent/agent_hooks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"

#define HOOKS_PREFIX "/aws/lambda-microvms/runtime/v1/"
#define CLOSING_MS 1000
#define BACKLOG 64
/* Most bytes read from one connection at a time, so that others are served too. */
#define READS_A_TURN 8

/* The platform's own client is not held to a Host. */
static const struct http_limits limits = {
    .head_bytes = 8192, .headers = 64, .body_bytes = REQUEST_BODY_MAX, .host_is_needed = false};
/* Of one request on the wire, including the lines of its chunks. */
#define INPUT_MAX ((size_t)2 * REQUEST_BODY_MAX)

static const char *const names[HOOK_COUNT] = {
    [HOOK_READY] = "ready",   [HOOK_VALIDATE] = "validate", [HOOK_RUN] = "run",
    [HOOK_RESUME] = "resume", [HOOK_SUSPEND] = "suspend",   [HOOK_TERMINATE] = "terminate",
};

const char *agent_hook_name(enum agent_hook hook)
{
    ASSERT((size_t)hook < COUNT_OF(names));
    return names[hook];
}

/* --- connections ------------------------------------------------------------------------------ */

/* The transitions in the header's diagram. */
static const bool allowed[HOOKS_CLOSING + 1][HOOKS_CLOSING + 1] = {
    [HOOKS_FREE] = {[HOOKS_READING] = true},
    [HOOKS_READING] =
        {[HOOKS_READING] = true, [HOOKS_HELD] = true, [HOOKS_CLOSING] = true, [HOOKS_FREE] = true},
    [HOOKS_HELD] = {[HOOKS_READING] = true, [HOOKS_CLOSING] = true, [HOOKS_FREE] = true},
    [HOOKS_CLOSING] = {[HOOKS_FREE] = true},
};

static void set_state(struct hooks_connection *c, enum hooks_state state, int64_t deadline_ms)
{
    ASSERT(allowed[c->state][state]);
    c->state = state;
    c->deadline_ms = deadline_ms;
}

static void wipe_input(struct hooks_connection *c)
{
    if (c->input.data != NULL) {
        explicit_bzero(c->input.data, c->input.cap); /* a payload is a secret */
    }
    buf_fini(&c->input);
}

static void close_connection(struct hooks_connection *c)
{
    set_state(c, HOOKS_FREE, INT64_MAX);
    close(c->fd); /* which removes it from epoll */
    c->fd = -1;
    wipe_input(c);
}

static bool is_loopback(const struct sockaddr_in *peer)
{
    return peer->sin_family == AF_INET && (ntohl(peer->sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
}

static void accept_connection(struct agent_hooks *h, struct hooks_connection *c, int fd,
                              int64_t now_ms)
{
    set_state(c, HOOKS_READING, now_ms + h->options.request_ms);
    c->fd = fd;
    c->since_ms = now_ms;
    c->holds_back = false;
    http_request_begin(&c->request);
    buf_init(&c->input, INPUT_MAX);
}

bool agent_hooks_may_log(struct agent_hooks *h)
{
    if (h->logged > HOOKS_LOGGED_MAX) {
        return false;
    }
    if (h->logged++ == HOOKS_LOGGED_MAX) {
        log_warn("hook_log_ended", LOG_INT("limit", HOOKS_LOGGED_MAX));
        return false;
    }
    return true;
}

/* A free slot; if there is none, evicts the connection that has been reading the longest. */
static struct hooks_connection *find_place(struct agent_hooks *h)
{
    struct hooks_connection *oldest = NULL;
    for (size_t i = 0; i < COUNT_OF(h->connections); i++) {
        struct hooks_connection *c = &h->connections[i];
        if (c->state == HOOKS_FREE) {
            return c;
        }
        if (c->state == HOOKS_CLOSING ||
            (c->state == HOOKS_READING && (oldest == NULL || c->since_ms < oldest->since_ms))) {
            oldest = c;
        }
    }
    if (oldest != NULL) {
        if (agent_hooks_may_log(h)) {
            log_warn("hook_connection_evicted", LOG_INT("limit", HOOKS_CONNECTIONS_MAX));
        }
        close_connection(oldest);
    }
    return oldest;
}

static void accept_all(struct agent_hooks *h, int64_t now_ms)
{
    for (int i = 0; i < BACKLOG; i++) {
        struct sockaddr_in peer = {.sin_family = AF_UNSPEC};
        socklen_t size = sizeof(peer);
        int fd =
            accept4(h->listen_fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct hooks_connection *c = find_place(h);
        if (c == NULL) {
            close(fd); /* all of them wait for the agent's response */
            continue;
        }
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        accept_connection(h, c, fd, now_ms);
        c->local = is_loopback(&peer);
        if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
            close_connection(c);
        }
    }
}

/* --- responses -------------------------------------------------------------------------------- */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{200, "OK"},
                   {400, "Bad Request"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {408, "Request Timeout"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {417, "Expectation Failed"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {503, "Service Unavailable"},
                   {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Error";
}

/* A response fits the socket's buffer. A peer that reads none of many responses loses the
 * connection. */
static bool write_answer(const struct hooks_connection *c, int status, bool keep_alive)
{
    char text[256];
    int n = snprintf(
        text, sizeof(text), "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n%s%sConnection: %s\r\n\r\n",
        status, reason_of(status), status == 405 ? "Allow: POST\r\n" : "",
        status == 503 ? "Retry-After: 1\r\n" : "", keep_alive ? "keep-alive" : "close");
    return send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n;
}

/* The peer may still be sending after the last response; closing now could discard the response. */
static void send_response(const struct agent_hooks *h, struct hooks_connection *c, int status,
                          bool keep_alive, int64_t now_ms)
{
    if (!write_answer(c, status, keep_alive)) {
        close_connection(c);
    } else if (keep_alive) {
        set_state(c, HOOKS_READING, now_ms + h->options.request_ms);
        c->since_ms = now_ms;
    } else {
        set_state(c, HOOKS_CLOSING, now_ms + CLOSING_MS);
        wipe_input(c);
        shutdown(c->fd, SHUT_WR);
    }
}

/* --- requests --------------------------------------------------------------------------------- */

static bool find_hook(struct slice path, enum agent_hook *out)
{
    if (!slice_starts_with(path, SLICE(HOOKS_PREFIX))) {
        return false;
    }
    path.ptr += sizeof(HOOKS_PREFIX) - 1;
    path.len -= sizeof(HOOKS_PREFIX) - 1;
    if (path.len > 0 && path.ptr[path.len - 1] == '/') {
        path.len--;
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (slice_eq_cstr(path, names[i])) {
            *out = (enum agent_hook)i;
            return true;
        }
    }
    return false;
}

static void drop_front(struct buf *b, size_t n)
{
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    explicit_bzero(b->data + b->len, b->cap - b->len);
}

/* The request at the front of the input is answered, or will be: the next one begins behind it. */
static void drop_request(struct hooks_connection *c)
{
    drop_front(&c->input, c->request.used);
    http_request_begin(&c->request);
}

static void on_request(struct agent_hooks *h, struct hooks_connection *c, int64_t now_ms)
{
    const struct http_request *r = &c->request;
    bool keep_alive = r->keeps_alive;
    bool forwarded = agent_request_is_forwarded(r);
    enum agent_hook hook;
    int status = 404;
    if (!c->local || forwarded) {
        status = 403;
        if (agent_hooks_may_log(h)) {
            log_warn("hook_request_refused", LOG_BOOL("local", c->local),
                     LOG_BOOL("forwarded", forwarded));
        }
    } else if (find_hook(r->path, &hook)) {
        status =
            slice_eq_cstr(r->method, "POST") ? h->options.fn(h->options.ctx, hook, r->body) : 405;
    }
    drop_request(c);
    if (status == HOOK_LATER) {
        set_state(c, HOOKS_HELD, now_ms + h->options.held_ms);
        c->held = hook;
        c->keep_alive = keep_alive;
    } else {
        send_response(h, c, status, keep_alive, now_ms);
    }
}

/* A client that sent "Expect: 100-continue" keeps its body back until then. */
static void ask_for_body(struct hooks_connection *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->holds_back) {
        c->holds_back = false;
        /* If it does not fit, the request ends at its deadline. */
        (void)!send(c->fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* Handles the requests in the input. */
static void take_requests(struct agent_hooks *h, struct hooks_connection *c, int64_t now_ms)
{
    while (c->state == HOOKS_READING && c->input.len > 0) {
        switch (http_request_read(&c->request, &limits, c->input.data, &c->input.len)) {
        case HTTP_READ_MORE:
            ask_for_body(c);
            return;
        case HTTP_READ_HEAD:
            c->holds_back = c->request.waits_for_body;
            break;
        case HTTP_READ_WHOLE:
            c->holds_back = false;
            on_request(h, c, now_ms);
            break;
        case HTTP_READ_BAD:
            log_debug("hook_request_rejected", LOG_INT("status", c->request.status),
                      LOG_STR("reason", c->request.why));
            send_response(h, c, c->request.status, false, now_ms);
            break;
        }
    }
}

void agent_hooks_answer(struct agent_hooks *h, enum agent_hook hook, int status, int64_t now_ms)
{
    for (size_t i = 0; i < COUNT_OF(h->connections); i++) {
        struct hooks_connection *c = &h->connections[i];
        if (c->state == HOOKS_HELD && c->held == hook) {
            send_response(h, c, status, c->keep_alive, now_ms);
            take_requests(h, c, now_ms);
        }
    }
}

/* While a response is held, or after the last one, input is only read for its end. */
static bool read_input(struct hooks_connection *c)
{
    char chunk[4096];
    size_t free_bytes = c->state == HOOKS_CLOSING ? sizeof(chunk) : INPUT_MAX - c->input.len;
    size_t want = free_bytes < sizeof(chunk) ? free_bytes : sizeof(chunk);
    ssize_t n = want == 0 ? 0 : recv(c->fd, chunk, want, 0);
    if (n > 0 && c->state != HOOKS_CLOSING) {
        buf_append(&c->input, (struct slice){chunk, (size_t)n});
        explicit_bzero(chunk, (size_t)n);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        close_connection(c);
    }
    return n > 0;
}

static void on_connection_readable(struct agent_hooks *h, struct hooks_connection *c,
                                   int64_t now_ms)
{
    for (int i = 0; i < READS_A_TURN && c->state != HOOKS_FREE && read_input(c); i++) {
        if (c->state == HOOKS_READING) {
            take_requests(h, c, now_ms);
        }
    }
}

static void expire_connections(struct agent_hooks *h, int64_t now_ms)
{
    for (size_t i = 0; i < COUNT_OF(h->connections); i++) {
        struct hooks_connection *c = &h->connections[i];
        if (c->state == HOOKS_FREE || now_ms < c->deadline_ms) {
            continue;
        }
        if (c->state == HOOKS_READING && c->input.len > 0) {
            send_response(h, c, 408, false, now_ms);
        } else if (c->state == HOOKS_HELD) {
            send_response(h, c, 503, false, now_ms);
        } else {
            close_connection(c);
        }
    }
}

void agent_hooks_work(struct agent_hooks *h, int64_t now_ms)
{
    struct epoll_event ev[HOOKS_CONNECTIONS_MAX + 1];
    int n = epoll_wait(h->epoll_fd, ev, COUNT_OF(ev), 0);
    for (int i = 0; i < n; i++) {
        struct hooks_connection *c = ev[i].data.ptr;
        if (c != NULL && c->state != HOOKS_FREE) {
            on_connection_readable(h, c, now_ms);
        }
    }
    /* Last, so that no event of an evicted connection reaches its successor. */
    accept_all(h, now_ms);
    expire_connections(h, now_ms);
}

int64_t agent_hooks_deadline(const struct agent_hooks *h)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < COUNT_OF(h->connections); i++) {
        const struct hooks_connection *c = &h->connections[i];
        if (c->state != HOOKS_FREE && c->deadline_ms < first) {
            first = c->deadline_ms;
        }
    }
    return first;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static int listen_for_hooks(struct agent_hooks *h, struct err *e)
{
    const struct agent_hooks_options *o = &h->options;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    socklen_t size = sizeof(addr);
    const int on = 1;
    if (inet_pton(AF_INET, o->address, &addr.sin_addr) != 1) {
        return err_set(e, ERR_PERMANENT, 0, "%s is not an IPv4 address to listen on", o->address);
    }
    h->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (h->listen_fd < 0 ||
        setsockopt(h->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(h->listen_fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(h->listen_fd, BACKLOG) != 0 ||
        getsockname(h->listen_fd, (struct sockaddr *)&addr, &size) != 0) {
        return err_errno(e, ERR_PERMANENT, errno, "cannot listen on %s:%d", o->address, o->port);
    }
    h->port = ntohs(addr.sin_port);
    return 0;
}

int agent_hooks_open(struct agent_hooks *h, const struct agent_hooks_options *options,
                     struct err *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    *h = (struct agent_hooks){.options = *options, .epoll_fd = -1, .listen_fd = -1};
    for (size_t i = 0; i < COUNT_OF(h->connections); i++) {
        h->connections[i].fd = -1;
        h->connections[i].deadline_ms = INT64_MAX;
    }
    if (listen_for_hooks(h, e) != 0) {
        agent_hooks_close(h);
        return -1;
    }
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (h->epoll_fd < 0 || epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->listen_fd, &ev) != 0) {
        err_errno(e, ERR_PERMANENT, errno, "cannot watch the hooks' port");
        agent_hooks_close(h);
        return -1;
    }
    return 0;
}

void agent_hooks_close(struct agent_hooks *h)
{
    for (size_t i = 0; i < COUNT_OF(h->connections); i++) {
        if (h->connections[i].state != HOOKS_FREE) {
            close_connection(&h->connections[i]);
        }
    }
    if (h->listen_fd >= 0) {
        close(h->listen_fd);
        h->listen_fd = -1;
    }
    if (h->epoll_fd >= 0) {
        close(h->epoll_fd);
        h->epoll_fd = -1;
    }
}
