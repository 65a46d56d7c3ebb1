#include "common/http/admin.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "common/http/readiness.h"
#include "common/http/request.h"
#include "common/net/listen_address.h"

#define CONNECTIONS_MAX 32
#define HEAD_SECONDS 2
#define CONNECTION_SECONDS 10
#define PAGE_LIMIT_BYTES (16u * 1024 * 1024)
#define WHY_LIMIT_BYTES 4096
#define ACCEPT_PAUSE_MS 100

/* No page takes a body, and who asks here by hand need not name a host. */
static const struct http_limits limits = {
    .head_bytes = 8192, .headers = 64, .body_bytes = 0, .host_is_needed = false};

/* A connection: reading -> sending -> closed. A peer that sends a byte a second holds its place for
 * HEAD_SECONDS at most, one that reads so for CONNECTION_SECONDS more. */
struct connection {
    struct admin *admin;
    struct connection *next;
    struct connection *prev;
    struct bufferevent *io;
    struct event *deadline;
    struct http_request request;
    uint64_t asked; /* its request is the n-th for /readyz; 0: for another page */
    bool is_head;
};

/* After admin_start everything but `readiness` belongs to the admin thread. */
struct admin {
    bool (*healthy)(void *arg, struct buf *why);
    void (*refresh)(void *arg);
    void *arg;
    struct event_base *base;
    struct evconnlistener *listener;
    struct event *wake_event;
    int wake_fd;   /* an eventfd: written by admin_stop, and when readiness is known */
    bool stopping; /* atomic */
    struct readiness *readiness;
    struct connection *connections;
    size_t connection_count;
    int port;   /* 0: a Unix socket */
    char *path; /* of that, removed at the end; else NULL */
    pthread_t thread;
    bool started;
};

/* A status: the page follows once `ready` has returned. */
#define PAGE_LATER 0

struct page {
    int status;
    const char *reason;
    const char *type;
    const char *allow; /* "" unless status is 405 */
    struct buf body;
};

/* --- connections --- */

static void connection_close(struct connection *c)
{
    struct admin *a = c->admin;
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        a->connections = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    a->connection_count--;
    bufferevent_free(c->io);
    event_free(c->deadline);
    free(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    connection_close(arg);
}

static void on_error(struct bufferevent *io, short what, void *arg)
{
    (void)io;
    (void)what;
    connection_close(arg);
}

/* The response is sent. Shut down first, and close when the peer closes or the deadline expires:
 * closing with unread bytes would reset the connection, and the peer could lose the response. */
static void on_sent(struct bufferevent *io, void *arg)
{
    struct connection *c = arg;
    (void)shutdown(bufferevent_getfd(c->io), SHUT_WR);
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
    connection_close(arg);
}

/* A peer that has closed its sending side still reads the response; it is found gone when it is
 * sent, or at the deadline. */
static void on_event_while_asking(struct bufferevent *io, short what, void *arg)
{
    if ((what & BEV_EVENT_EOF) != 0) {
        (void)bufferevent_disable(io, EV_READ);
        return;
    }
    connection_close(arg);
}

static void drop_input(struct bufferevent *io, void *arg)
{
    (void)arg;
    struct evbuffer *in = bufferevent_get_input(io);
    (void)evbuffer_drain(in, evbuffer_get_length(in));
}

/* --- pages --- */

static void page_set(struct page *p, int status, const char *reason, const char *text)
{
    p->status = status;
    p->reason = reason;
    buf_append_cstr(&p->body, text);
}

static void page_metrics(struct admin *a, struct page *p)
{
    if (a->refresh != NULL) {
        a->refresh(a->arg);
    }
    p->type = "text/plain; version=0.0.4; charset=utf-8";
    page_set(p, 200, "OK", "");
    metrics_render(&p->body);
    if (p->body.failed) {
        buf_reset(&p->body);
        page_set(p, 500, "Internal Server Error", "the metrics are larger than the page limit\n");
    }
}

/* 200 with `good`, or 503 with `bad` and the reason. */
static void page_verdict(struct page *p, bool is_good, const char *good, const char *bad,
                         const char *why)
{
    if (is_good) {
        page_set(p, 200, "OK", good);
    } else {
        page_set(p, 503, "Service Unavailable", bad);
        buf_append_cstr(&p->body, why);
        buf_append_byte(&p->body, '\n');
    }
}

static void page_health(struct admin *a, struct page *p)
{
    struct buf why;
    buf_init(&why, WHY_LIMIT_BYTES);
    bool is_healthy = a->healthy == NULL || a->healthy(a->arg, &why);
    page_verdict(p, is_healthy, "ok\n", "stuck: ", why.len > 0 ? why.data : "");
    buf_fini(&why);
}

static void page_route(struct admin *a, struct slice path, struct page *p)
{
    if (slice_eq_cstr(path, "/metrics")) {
        page_metrics(a, p);
    } else if (slice_eq_cstr(path, "/healthz")) {
        page_health(a, p);
    } else if (slice_eq_cstr(path, "/readyz")) {
        p->status = PAGE_LATER;
    } else {
        page_set(p, 404, "Not Found", "there is /metrics, /healthz and /readyz\n");
    }
}

static void page_for(struct admin *a, const struct http_request *r, struct page *p)
{
    if (!slice_eq_cstr(r->method, "HEAD") && !slice_eq_cstr(r->method, "GET")) {
        p->allow = "GET, HEAD";
        page_set(p, 405, "Method Not Allowed", "only GET and HEAD are supported\n");
        return;
    }
    page_route(a, r->path, p);
}

static void page_refused(const struct http_request *r, struct page *p)
{
    bool is_long = r->status == 414 || r->status == 431;
    page_set(p, is_long ? r->status : 400, is_long ? "Request Too Large" : "Bad Request", r->why);
    buf_append_byte(&p->body, '\n');
}

static void send_page(struct connection *c, const struct page *p)
{
    struct evbuffer *out = bufferevent_get_output(c->io);
    bufferevent_setcb(c->io, drop_input, on_sent, on_event_while_sending, c);
    int n = evbuffer_add_printf(out,
                                "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                                "%s%s%sCache-Control: no-store\r\nConnection: close\r\n\r\n",
                                p->status, p->reason, p->type, p->body.len,
                                p->allow[0] != '\0' ? "Allow: " : "", p->allow,
                                p->allow[0] != '\0' ? "\r\n" : "");
    ASSERT(n > 0);
    if (!c->is_head) {
        ASSERT(evbuffer_add(out, p->body.data, p->body.len) == 0);
    }
}

static void page_init(struct page *p)
{
    *p = (struct page){.type = "text/plain; charset=utf-8", .allow = ""};
    buf_init(&p->body, PAGE_LIMIT_BYTES);
}

/* What arrives while the page is awaited is dropped; a peer that leaves ends the connection. */
static void send_response(struct connection *c, enum http_read read)
{
    struct timeval deadline = {.tv_sec = CONNECTION_SECONDS};
    struct page p;
    page_init(&p);
    if (read == HTTP_READ_BAD) {
        page_refused(&c->request, &p);
    } else {
        c->is_head = slice_eq_cstr(c->request.method, "HEAD");
        page_for(c->admin, &c->request, &p);
    }
    ASSERT(evtimer_add(c->deadline, &deadline) == 0);
    drop_input(c->io, c);
    if (p.status == PAGE_LATER) {
        bufferevent_setcb(c->io, drop_input, NULL, on_event_while_asking, c);
        c->asked = readiness_ask(c->admin->readiness);
    } else {
        send_page(c, &p);
    }
    buf_fini(&p.body);
}

static void send_readiness(struct admin *a)
{
    char why[READINESS_WHY_BYTES];
    bool is_ready = false;
    struct page p;
    uint64_t answered = readiness_answer(a->readiness, &is_ready, why);
    page_init(&p);
    page_verdict(&p, is_ready, "ready\n", "not ready: ", why);
    for (struct connection *c = a->connections; c != NULL; c = c->next) {
        if (c->asked > 0 && c->asked <= answered) {
            c->asked = 0;
            send_page(c, &p);
        }
    }
    buf_fini(&p.body);
}

static void on_request_bytes(struct bufferevent *io, void *arg)
{
    struct connection *c = arg;
    struct evbuffer *in = bufferevent_get_input(io);
    size_t length = evbuffer_get_length(in);
    char *bytes = (char *)evbuffer_pullup(in, -1);
    if (bytes == NULL) {
        return;
    }
    enum http_read read = http_request_read(&c->request, &limits, bytes, &length);
    if (read != HTTP_READ_MORE) {
        send_response(c, read);
    }
}

/* --- the listener and the thread --- */

/* Who came first, of those that may be waiting for nothing. */
static struct connection *oldest(const struct admin *a)
{
    struct connection *c = a->connections;
    while (c->next != NULL) {
        c = c->next;
    }
    return c;
}

/* At the limit the oldest connection gives way: idle peers must not keep a probe waiting. */
static void on_admin_accept(struct evconnlistener *listener, evutil_socket_t fd,
                            struct sockaddr *peer, int peer_len, void *arg)
{
    struct admin *a = arg;
    struct timeval deadline = {.tv_sec = HEAD_SECONDS};
    (void)listener;
    (void)peer;
    (void)peer_len;
    if (a->connection_count >= CONNECTIONS_MAX) {
        connection_close(oldest(a));
    }
    struct connection *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->admin = a;
    http_request_begin(&c->request);
    c->io = bufferevent_socket_new(a->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->deadline = evtimer_new(a->base, on_deadline, c);
    ASSERT(c->io != NULL && c->deadline != NULL);
    c->next = a->connections;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    a->connections = c;
    a->connection_count++;
    bufferevent_setwatermark(c->io, EV_READ, 0, 2 * limits.head_bytes);
    bufferevent_setcb(c->io, on_request_bytes, NULL, on_error, c);
    ASSERT(evtimer_add(c->deadline, &deadline) == 0);
    ASSERT(bufferevent_enable(c->io, EV_READ | EV_WRITE) == 0);
}

/* Probably out of descriptors: a pause keeps the thread from spinning. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    (void)listener;
    (void)arg;
    clock_sleep_until(clock_mono_ms() + ACCEPT_PAUSE_MS);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct admin *a = arg;
    uint64_t wakes;
    (void)what;
    (void)!read(fd, &wakes, sizeof wakes);
    if (__atomic_load_n(&a->stopping, __ATOMIC_ACQUIRE)) {
        (void)event_base_loopbreak(a->base);
    } else {
        send_readiness(a);
    }
}

static void *run_event_loop(void *arg)
{
    struct admin *a = arg;
    (void)event_base_dispatch(a->base);
    return NULL;
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

static int open_socket(const struct sockaddr_storage *address, socklen_t size)
{
    int on = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        !bind_socket(fd, address, size) || listen(fd, CONNECTIONS_MAX) != 0) {
        int errnum = errno;
        (void)close(fd);
        errno = errnum;
        return -1;
    }
    return fd;
}

static int listen_on(struct admin *a, const char *text, struct err *e)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    if (listen_address_resolve("admin address", text, &address, &size, e) != 0) {
        return -1;
    }
    listen_address_clear(&address, size);
    int fd = open_socket(&address, size);
    if (fd < 0) {
        return err_errno(e, ERR_PERMANENT, errno,
                         "admin address %s: cannot listen there; choose another in the "
                         "configuration (admin_listen)",
                         text);
    }
    ASSERT(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    a->port = listen_address_port(&address);
    a->path =
        listen_address_path(text) != NULL ? slice_dup(slice_of(listen_address_path(text))) : NULL;
    a->listener = evconnlistener_new(a->base, on_admin_accept, a, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    ASSERT(a->listener != NULL);
    evconnlistener_set_error_cb(a->listener, on_accept_failed);
    return 0;
}

static int start_threads(const struct admin_options *o, struct admin *a, struct err *e)
{
    a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (a->wake_fd < 0) {
        return err_errno(e, ERR_RETRY, errno, "admin port: cannot create an eventfd");
    }
    a->wake_event = event_new(a->base, a->wake_fd, EV_READ | EV_PERSIST, on_wake, a);
    ASSERT(a->wake_event != NULL && event_add(a->wake_event, NULL) == 0);
    if (readiness_start(o, a->wake_fd, &a->readiness, e) != 0 ||
        thread_start(&a->thread, "the admin thread", run_event_loop, a, e) != 0) {
        return -1;
    }
    a->started = true;
    return 0;
}

static void stop_threads(struct admin *a)
{
    const uint64_t one = 1;
    __atomic_store_n(&a->stopping, true, __ATOMIC_RELEASE);
    if (a->started) {
        ASSERT(write(a->wake_fd, &one, sizeof one) == (ssize_t)sizeof one);
        pthread_join(a->thread, NULL);
    }
    readiness_stop(a->readiness);
}

/* Also frees a half-started one. */
static void free_admin(struct admin *a)
{
    stop_threads(a);
    struct evconnlistener *listener = a->listener;
    a->listener = NULL;
    for (struct connection *c = a->connections, *next; c != NULL; c = next) {
        next = c->next;
        connection_close(c);
    }
    if (listener != NULL) {
        evconnlistener_free(listener);
    }
    if (a->path != NULL) {
        (void)unlink(a->path);
        free(a->path);
    }
    if (a->wake_event != NULL) {
        event_free(a->wake_event);
    }
    if (a->wake_fd >= 0) {
        (void)close(a->wake_fd);
    }
    event_base_free(a->base);
    free(a);
}

int admin_start(const struct admin_options *o, struct admin **out, struct err *e)
{
    if (o->listen[0] == '\0') {
        *out = NULL;
        return 0;
    }
    struct admin *a = calloc(1, sizeof *a);
    ASSERT(a != NULL);
    *a = (struct admin){.healthy = o->healthy, .refresh = o->refresh, .arg = o->arg, .wake_fd = -1};
    a->base = event_base_new();
    ASSERT(a->base != NULL);
    if (listen_on(a, o->listen, e) != 0 || start_threads(o, a, e) != 0) {
        free_admin(a);
        return -1;
    }
    *out = a;
    return 0;
}

int admin_port(const struct admin *a)
{
    return a != NULL ? a->port : 0;
}

void admin_stop(struct admin *a)
{
    if (a != NULL) {
        free_admin(a);
    }
}
