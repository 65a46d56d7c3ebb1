/*
 * The bytes of connections, plain or over TLS, on the sockets themselves.
 *
 * libevent's bufferevents read 4 KiB at a time, each after an ioctl, and change their epoll interest
 * several times a request. Here a delivery is one read and its answer one write; interest in input
 * stays, except while a peer sends ahead of its answers.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingress/conn.h"

/* While lingering; beyond it the peer is not waited for. */
#define DROP_MAX_BYTES ((size_t)2 * 1024 * 1024)

static bool is_retriable(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* --- plain --- */

static size_t recv_plain(struct conn *c, char *into, size_t size)
{
    ssize_t n = recv(c->fd, into, size, 0);
    if (n == 0 || (n < 0 && !is_retriable())) {
        conn_close(c, NULL);
    }
    return n > 0 ? (size_t)n : 0;
}

/* How much was sent; c is closed if it cannot be. */
static size_t send_plain(struct conn *c, struct slice bytes)
{
    ssize_t n = send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (n < 0 && !is_retriable()) {
        conn_close(c, NULL);
    }
    return n > 0 ? (size_t)n : 0;
}

/* --- TLS --- */

/* Whether the session goes on later. */
static bool tls_waits(struct conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return true;
    case SSL_ERROR_WANT_WRITE:
        (void)event_add(&c->writable, NULL);
        return true;
    default:
        return false;
    }
}

/* All that is there, since what OpenSSL has read already makes no socket readable. */
static size_t recv_tls(struct conn *c, char *into, size_t size)
{
    size_t total = 0;
    ERR_clear_error();
    while (total < size) {
        size_t n = 0;
        int result = SSL_read_ex(c->ssl, into + total, size - total, &n);
        total += n;
        if (result == 1) {
            continue;
        }
        if (!tls_waits(c, result) && total == 0) {
            conn_close(c, NULL);
        }
        return total;
    }
    event_active(&c->readable, EV_READ, 0);
    return total;
}

static size_t send_tls(struct conn *c, struct slice bytes)
{
    size_t n = 0;
    ERR_clear_error();
    int result = SSL_write_ex(c->ssl, bytes.ptr, bytes.len, &n);
    if (result != 1 && !tls_waits(c, result)) {
        conn_close(c, NULL);
        return 0;
    }
    return n;
}

/* --- either --- */

size_t conn_recv(struct conn *c, char *into, size_t size)
{
    return c->ssl != NULL ? recv_tls(c, into, size) : recv_plain(c, into, size);
}

static size_t send_now(struct conn *c, struct slice bytes)
{
    return c->ssl != NULL ? send_tls(c, bytes) : send_plain(c, bytes);
}

bool conn_send(struct conn *c, struct slice bytes)
{
    size_t n = c->out.len == 0 ? send_now(c, bytes) : 0;
    if (c->state == CONN_CLOSED) {
        return false;
    }
    if (n == bytes.len) {
        return true;
    }
    buf_append(&c->out, (struct slice){bytes.ptr + n, bytes.len - n});
    (void)event_add(&c->writable, NULL);
    return false;
}

static void send_rest(struct conn *c)
{
    size_t n = send_now(c, buf_slice(&c->out));
    if (c->state == CONN_CLOSED) {
        return;
    }
    if (n < c->out.len) {
        struct buf rest;
        buf_init(&rest, c->out.limit_bytes);
        buf_append(&rest, (struct slice){c->out.data + n, c->out.len - n});
        buf_fini(&c->out);
        c->out = rest;
        (void)event_add(&c->writable, NULL);
        return;
    }
    buf_fini(&c->out);
    if (c->state == CONN_WRITING) {
        c->set->handler->answered(c);
    }
}

bool conn_in_handshake(const struct conn *c)
{
    return c->ssl != NULL && SSL_in_init(c->ssl) == 1;
}

void conn_end_output(struct conn *c)
{
    if (c->ssl != NULL) {
        (void)SSL_shutdown(c->ssl);
    }
    (void)shutdown(c->fd, SHUT_WR);
}

/* Of the raw stream, whatever is in it. */
static void drop_input(struct conn *c)
{
    char waste[8192];
    ssize_t n = recv(c->fd, waste, sizeof waste, 0);
    c->dropped += n > 0 ? (size_t)n : 0;
    if (n == 0 || (n < 0 && !is_retriable()) || c->dropped > DROP_MAX_BYTES) {
        conn_close(c, NULL);
    }
}

/* --- events --- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    (void)fd;
    (void)what;
    if (c->state == CONN_LINGERING) {
        drop_input(c);
    } else if (c->state == CONN_PROCESSING || c->state == CONN_WRITING) {
        conn_pause(c);
    } else {
        c->set->handler->read(c);
    }
}

/* Or a TLS session has waited to write before it reads on. */
static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    if (c->out.len > 0) {
        send_rest(c);
    } else {
        on_readable(fd, what, arg);
    }
}

void conn_pause(struct conn *c)
{
    c->read_paused = true;
    (void)event_del(&c->readable);
}

void conn_resume(struct conn *c)
{
    if (c->read_paused) {
        c->read_paused = false;
        (void)event_add(&c->readable, NULL);
    }
    if (c->ssl != NULL && SSL_has_pending(c->ssl) == 1) {
        event_active(&c->readable, EV_READ, 0);
    }
}

void conn_io_open(struct conn *c)
{
    ASSERT(event_assign(&c->readable, c->set->base, c->fd, EV_READ | EV_PERSIST, on_readable, c) ==
           0);
    ASSERT(event_assign(&c->writable, c->set->base, c->fd, EV_WRITE, on_writable, c) == 0);
    ASSERT(event_add(&c->readable, NULL) == 0);
    if (c->ssl != NULL) {
        ASSERT(SSL_set_fd(c->ssl, c->fd) == 1);
        SSL_set_accept_state(c->ssl);
    }
}

void conn_io_close(struct conn *c)
{
    (void)event_del(&c->readable);
    (void)event_del(&c->writable);
    SSL_free(c->ssl);
    c->ssl = NULL;
    (void)close(c->fd);
}
