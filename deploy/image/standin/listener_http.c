#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "deploy/image/standin/listener.h"

struct connection {
    int fd;
    int wake_fd;
    int64_t deadline_ms;
    bool woken;
};

/* "http://host:port/path": the address, and what stands behind it. */
static bool split_url(struct slice url, struct sockaddr_in *address, struct slice *host,
                      struct slice *path)
{
    static const char scheme[] = "http://";
    char name[64];
    struct slice port = {NULL, 0};
    int64_t number = 80;
    if (!slice_starts_with(url, SLICE("http://"))) {
        return false;
    }
    url.ptr += sizeof scheme - 1;
    url.len -= sizeof scheme - 1;
    const char *slash = memchr(url.ptr, '/', url.len);
    host->ptr = url.ptr;
    host->len = slash == NULL ? url.len : (size_t)(slash - url.ptr);
    *path = slash == NULL ? SLICE("/") : (struct slice){slash, url.len - host->len};
    struct slice bare;
    if (slice_cut(*host, ':', &bare, &port) && !slice_to_range(port, 1, 65535, &number)) {
        return false;
    }
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
    return slice_to_cstr(bare, name, sizeof name) &&
           inet_pton(AF_INET, strcmp(name, "localhost") == 0 ? "127.0.0.1" : name,
                     &address->sin_addr) == 1;
}

static bool wait_for(struct connection *c, short events)
{
    struct pollfd p[] = {{.fd = c->fd, .events = events}, {.fd = c->wake_fd, .events = POLLIN}};
    for (;;) {
        int64_t left_ms = c->deadline_ms - clock_mono_ms();
        if (left_ms <= 0) {
            return false;
        }
        int n = poll(p, COUNT_OF(p), (int)left_ms);
        if (n > 0 && p[1].revents != 0) {
            c->woken = true;
            return false;
        }
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
}

static bool open_connection(struct connection *c, const struct sockaddr_in *address)
{
    int failure = 0;
    socklen_t size = sizeof failure;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        return false;
    }
    if (connect(c->fd, (const struct sockaddr *)address, sizeof *address) == 0) {
        return true;
    }
    return errno == EINPROGRESS && wait_for(c, POLLOUT) &&
           getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0;
}

static bool send_all(struct connection *c, struct slice data)
{
    while (data.len > 0) {
        ssize_t n = send(c->fd, data.ptr, data.len, MSG_NOSIGNAL);
        if (n > 0) {
            data.ptr += n;
            data.len -= (size_t)n;
        } else if (errno != EAGAIN || !wait_for(c, POLLOUT)) {
            return false;
        }
    }
    return true;
}

/* The value of a header in the head, trimmed; empty if it is not there. */
static struct slice header(struct slice head, const char *name)
{
    struct slice line;
    while (head.len > 0) {
        struct slice key;
        struct slice value;
        (void)slice_cut(head, '\n', &line, &head);
        if (slice_cut(line, ':', &key, &value) && slice_eq_nocase(key, slice_of(name))) {
            return slice_trim(value);
        }
    }
    return (struct slice){NULL, 0};
}

/* Moves the body of a whole answer to the front of *in; 0 if it is not whole or no answer. */
static int finish_answer(struct buf *in, bool ended)
{
    char *end = in->len == 0 ? NULL : memmem(in->data, in->len, "\r\n\r\n", 4);
    int64_t status;
    int64_t length;
    if (end == NULL || in->len < 12 || !slice_to_int64((struct slice){in->data + 9, 3}, &status)) {
        return 0;
    }
    size_t head = (size_t)(end - in->data) + 4;
    struct slice text = header((struct slice){in->data, head}, "content-length");
    if (status == 204 || status == 304) {
        length = 0;
    } else if (!slice_to_int64(text, &length)) {
        length = ended ? (int64_t)(in->len - head) : INT64_MAX;
    }
    if ((int64_t)(in->len - head) < length) {
        return 0;
    }
    memmove(in->data, in->data + head, (size_t)length);
    in->len = (size_t)length;
    in->data[in->len] = '\0';
    return (int)status;
}

static int receive_answer(struct connection *c, struct buf *out)
{
    char chunk[16384];
    for (;;) {
        ssize_t n = recv(c->fd, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EAGAIN) {
            if (!wait_for(c, POLLIN)) {
                return 0;
            }
            continue;
        }
        if (n > 0) {
            buf_append(out, (struct slice){chunk, (size_t)n});
        }
        int status = out->failed ? 0 : finish_answer(out, n == 0);
        if (status != 0 || n <= 0 || out->failed) {
            return status;
        }
    }
}

static void write_request(struct buf *out, const struct call *c, struct slice target,
                          struct slice host)
{
    size_t length = c->body == NULL ? 0 : c->body->len;
    buf_printf(out, "%s %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: mayfly-standin-runner\r\n",
               c->method, SLICE_ARG(target), SLICE_ARG(host));
    buf_printf(out, "Accept: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n",
               length);
    if (c->token != NULL) {
        buf_printf(out, "Authorization: Bearer %s\r\n", c->token);
    }
    if (c->type != NULL) {
        buf_printf(out, "Content-Type: %s\r\n", c->type);
    }
    buf_append_cstr(out, c->headers == NULL ? "" : c->headers);
    buf_append_cstr(out, "\r\n");
    if (length > 0) {
        buf_append(out, buf_slice(c->body));
    }
}

int http_call(const struct call *call, struct buf *out)
{
    const char *proxy = getenv("http_proxy");
    bool proxied = proxy != NULL && proxy[0] != '\0';
    struct connection c = {.fd = -1, .wake_fd = call->wake_fd};
    struct sockaddr_in address;
    struct sockaddr_in server;
    struct slice host;
    struct slice path;
    struct slice ignored[2];
    struct buf request;
    int status = 0;
    c.deadline_ms = clock_mono_ms() + call->timeout_ms;
    buf_reset(out);
    buf_init(&request, ANSWER_MAX);
    if (split_url(slice_of(call->url), &server, &host, &path) &&
        (!proxied || split_url(slice_of(proxy), &address, &ignored[0], &ignored[1]))) {
        write_request(&request, call, proxied ? slice_of(call->url) : path, host);
        if (open_connection(&c, proxied ? &address : &server) &&
            send_all(&c, buf_slice(&request))) {
            status = receive_answer(&c, out);
        }
    }
    if (c.fd >= 0) {
        close(c.fd);
    }
    buf_fini(&request);
    return c.woken ? CALL_WOKEN : status;
}

int http_json(const char *method, const char *url, const char *token, json_t *body, json_t **out)
{
    struct buf answer;
    struct buf text;
    struct call c = {
        .method = method, .url = url, .token = token, .timeout_ms = 30000, .wake_fd = -1};
    buf_init(&answer, ANSWER_MAX);
    buf_init(&text, ANSWER_MAX);
    if (body != NULL) {
        char *dumped = json_dumps(body, JSON_COMPACT);
        buf_append_cstr(&text, dumped);
        free(dumped);
        json_decref(body);
        c.type = "application/json; charset=utf-8";
        c.body = &text;
    }
    int status = http_call(&c, &answer);
    *out = answer.len > 0 ? json_loadb(answer.data, answer.len, 0, NULL) : NULL;
    buf_fini(&text);
    buf_fini(&answer);
    return status;
}
