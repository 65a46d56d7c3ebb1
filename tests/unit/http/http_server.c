#include "tests/unit/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512
#define REQUESTS_MAX 4096

struct link {
    struct http_server *server;
    int fd;
    int number;
    pthread_t thread;
};

struct http_server {
    served_fn *handler;
    void *arg;
    int listen_fd;
    int stop_fd; /* readable for ever once the server stops */
    char url[64];
    pthread_t thread;
    pthread_mutex_t turn; /* held while the handler runs */
    pthread_mutex_t lock; /* over what follows */
    struct link *links[CONNECTIONS_MAX];
    size_t link_count;
    struct served_request *requests[REQUESTS_MAX];
    size_t request_count;
};

/* Waits for bytes or the end of the server. */
static bool readable(const struct http_server *s, int fd)
{
    struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) < 0) {
    }
    return fds[1].revents == 0;
}

static bool receive_more(const struct link *l, struct buf *in)
{
    char chunk[4096];
    if (!readable(l->server, l->fd)) {
        return false;
    }
    ssize_t n = recv(l->fd, chunk, sizeof chunk, 0);
    if (n <= 0) {
        return false;
    }
    buf_append(in, (struct slice){chunk, (size_t)n});
    return !in->failed;
}

static void read_start_line(struct slice line, struct served_request *q)
{
    struct slice method;
    struct slice target;
    struct slice version;
    slice_cut(line, ' ', &method, &target);
    slice_cut(target, ' ', &target, &version);
    ASSERT(slice_to_cstr(method, q->method, sizeof q->method));
    ASSERT(slice_to_cstr(target, q->target, sizeof q->target));
}

const char *served_header(const struct served_request *q, const char *name)
{
    static _Thread_local char value[32768];
    struct slice rest = buf_slice(&q->headers);
    struct slice line;
    struct slice key;
    struct slice text;
    while (rest.len > 0) {
        slice_cut(rest, '\n', &line, &rest);
        if (slice_cut(line, ':', &key, &text) && slice_eq_nocase(key, slice_of(name))) {
            ASSERT(slice_to_cstr(slice_trim(text), value, sizeof value));
            return value;
        }
    }
    return "";
}

/* One request from the connection; false when it is over. What is behind it stays in `in`. */
static bool receive(const struct link *l, struct buf *in, struct served_request *q)
{
    struct slice first;
    struct slice rest;
    int64_t length = 0;
    const char *end = NULL;
    while (in->len == 0 || (end = strstr(in->data, "\r\n\r\n")) == NULL) {
        if (!receive_more(l, in)) {
            return false;
        }
    }
    size_t head = (size_t)(end - in->data) + 4;
    slice_cut((struct slice){in->data, head - 2}, '\n', &first, &rest);
    read_start_line(slice_trim(first), q);
    buf_append(&q->headers, rest);
    bool has_length = slice_to_int64(slice_of(served_header(q, "Content-Length")), &length);
    while (has_length && in->len < head + (size_t)length) {
        if (!receive_more(l, in)) {
            return false;
        }
    }
    buf_append(&q->body, (struct slice){in->data + head, (size_t)length});
    size_t used = head + (size_t)length;
    memmove(in->data, in->data + used, in->len - used + 1);
    in->len -= used;
    return true;
}

static void record(struct http_server *s, struct served_request *q)
{
    pthread_mutex_lock(&s->lock);
    ASSERT(s->request_count < REQUESTS_MAX);
    s->requests[s->request_count++] = q;
    pthread_mutex_unlock(&s->lock);
}

static bool send_all(int fd, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = send(fd, s.ptr, s.len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        s.ptr += n;
        s.len -= (size_t)n;
    }
    return true;
}

/* Until the client closes, or the server is stopped. */
static bool send_trickle(const struct link *l)
{
    struct pollfd p = {.fd = l->server->stop_fd, .events = POLLIN};
    bool open = send_all(l->fd, SLICE("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    while (open && poll(&p, 1, 5) == 0) {
        open = send_all(l->fd, SLICE("1\r\n \r\n"));
    }
    return false;
}

static bool send_answer(const struct link *l, const struct served_request *q,
                        const struct served_answer *a)
{
    struct buf out;
    if (a->silent) {
        while (readable(l->server, l->server->stop_fd)) {
        }
        return false;
    }
    if (a->hang_up) {
        return false;
    }
    if (a->trickle) {
        return send_trickle(l);
    }
    buf_init(&out, (size_t)64 * 1024 * 1024);
    buf_printf(&out, "HTTP/1.1 %d Scripted\r\nContent-Length: %zu\r\n", a->status, a->body.len);
    buf_append(&out, buf_slice(&a->headers));
    buf_append_cstr(&out, "\r\n");
    if (strcmp(q->method, "HEAD") != 0) {
        buf_append(&out, buf_slice(&a->body));
    }
    bool ok = send_all(l->fd, buf_slice(&out));
    buf_fini(&out);
    return ok;
}

static bool serve_one(const struct link *l, struct buf *in)
{
    struct http_server *s = l->server;
    struct served_request *q = calloc(1, sizeof *q);
    struct served_answer a = {.status = 200};
    ASSERT(q != NULL);
    buf_init(&q->headers, (size_t)1024 * 1024);
    buf_init(&q->body, (size_t)8 * 1024 * 1024);
    buf_init(&a.headers, (size_t)1024 * 1024);
    buf_init(&a.body, (size_t)32 * 1024 * 1024);
    q->connection = l->number;
    bool ok = receive(l, in, q);
    if (ok) {
        record(s, q);
        pthread_mutex_lock(&s->turn);
        s->handler(s->arg, q, &a);
        pthread_mutex_unlock(&s->turn);
        ok = send_answer(l, q, &a);
    } else {
        buf_fini(&q->headers);
        buf_fini(&q->body);
        free(q);
    }
    buf_fini(&a.headers);
    buf_fini(&a.body);
    return ok;
}

static void *serve(void *arg)
{
    struct link *l = arg;
    struct buf in;
    buf_init(&in, (size_t)8 * 1024 * 1024);
    while (serve_one(l, &in)) {
    }
    buf_fini(&in);
    (void)shutdown(l->fd, SHUT_RDWR);
    return NULL;
}

static void add_link(struct http_server *s, int fd)
{
    struct link *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && s->link_count < CONNECTIONS_MAX);
    *l = (struct link){.server = s, .fd = fd, .number = (int)s->link_count + 1};
    s->links[s->link_count++] = l;
    ASSERT(pthread_create(&l->thread, NULL, serve, l) == 0);
}

static void *accept_all(void *arg)
{
    struct http_server *s = arg;
    while (readable(s, s->listen_fd)) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            add_link(s, fd);
        }
    }
    return NULL;
}

struct http_server *http_server_start(served_fn *handler, void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct http_server *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->handler = handler;
    s->arg = arg;
    ASSERT(pthread_mutex_init(&s->turn, NULL) == 0 && pthread_mutex_init(&s->lock, NULL) == 0);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(s->stop_fd >= 0 && s->listen_fd >= 0);
    ASSERT(bind(s->listen_fd, (struct sockaddr *)&at, sizeof at) == 0);
    ASSERT(listen(s->listen_fd, 128) == 0);
    ASSERT(getsockname(s->listen_fd, (struct sockaddr *)&at, &len) == 0);
    (void)snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    ASSERT(pthread_create(&s->thread, NULL, accept_all, s) == 0);
    return s;
}

static void forget(struct http_server *s)
{
    for (size_t i = 0; i < s->link_count; i++) {
        ASSERT(pthread_join(s->links[i]->thread, NULL) == 0);
        (void)close(s->links[i]->fd);
        free(s->links[i]);
    }
    for (size_t i = 0; i < s->request_count; i++) {
        buf_fini(&s->requests[i]->headers);
        buf_fini(&s->requests[i]->body);
        free(s->requests[i]);
    }
}

void http_server_stop(struct http_server *s)
{
    uint64_t one = 1;
    ASSERT(write(s->stop_fd, &one, sizeof one) == (ssize_t)sizeof one);
    ASSERT(pthread_join(s->thread, NULL) == 0);
    forget(s);
    (void)close(s->listen_fd);
    (void)close(s->stop_fd);
    pthread_mutex_destroy(&s->turn);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

const char *http_server_url(const struct http_server *s)
{
    return s->url;
}

void http_server_release(struct http_server *s)
{
    pthread_mutex_unlock(&s->turn);
}

void http_server_regain(struct http_server *s)
{
    pthread_mutex_lock(&s->turn);
}

size_t http_server_count(struct http_server *s, const char *prefix)
{
    size_t count = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->request_count; i++) {
        char line[1100];
        (void)snprintf(line, sizeof line, "%s %s", s->requests[i]->method, s->requests[i]->target);
        count += slice_starts_with(slice_of(line), slice_of(prefix)) ? 1 : 0;
    }
    pthread_mutex_unlock(&s->lock);
    return count;
}

const struct served_request *http_server_request(struct http_server *s, size_t n)
{
    pthread_mutex_lock(&s->lock);
    ASSERT(n < s->request_count);
    const struct served_request *q = s->requests[n];
    pthread_mutex_unlock(&s->lock);
    return q;
}
