/*
 * One connection to a Redis server: connecting, writing and reading with a deadline.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/redis/internal.h"

#define READ_BYTES (16 * 1024) /* the largest TLS record, so that no part of one stays in OpenSSL */
#define REPLY_MAX_BYTES (256LL * 1024 * 1024)
#define REPLY_MAX_ELEMENTS (1 << 24) /* memory for them is reserved before the first one comes */

struct redis_conn {
    redisContext *context; /* only its socket and its reader are used */
    SSL *tls;              /* NULL without */
    char server[300];      /* for messages */
    int64_t pending_bytes; /* read since the last whole reply */
};

/* --- waiting --- */
static int deadline_error(const struct redis_conn *c, const char *doing, struct err *e)
{
    return err_set(e, ERR_RETRY, ETIMEDOUT, "Redis at %s: %s took longer than the deadline",
                   c->server, doing);
}

/* Waits until the socket is ready for `events`. */
static int wait_for_socket(const struct redis_conn *c, short events, int64_t deadline_mono,
                           const char *doing, struct err *e)
{
    for (;;) {
        struct pollfd fd = {.fd = c->context->fd, .events = events};
        int64_t left = deadline_mono - clock_mono_ms();
        int n = left <= 0 ? 0 : poll(&fd, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return deadline_error(c, doing, e);
        }
        if (errno != EINTR) {
            return err_errno(e, ERR_RETRY, errno, "Redis at %s: poll", c->server);
        }
    }
}

static int closed_error(const struct redis_conn *c, struct err *e)
{
    return err_set(e, ERR_RETRY, ECONNRESET, "Redis at %s closed the connection", c->server);
}

/* After an incomplete TLS call: sets *events to wait for, or returns the error. */
static int tls_wants(const struct redis_conn *c, int rc, short *events, struct err *e)
{
    char reason[256];
    int why = SSL_get_error(c->tls, rc);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        *events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return 0;
    }
    if (why == SSL_ERROR_ZERO_RETURN) {
        return closed_error(c, e);
    }
    redis_tls_reason(reason, sizeof reason);
    return err_set(e, ERR_RETRY, 0, "Redis at %s: TLS failed: %s", c->server, reason);
}

/* --- writing and reading --- */
/* *n: bytes written, or 0 and *events to wait for. */
static int write_some(struct redis_conn *c, struct slice bytes, size_t *n, short *events,
                      struct err *e)
{
    *n = 0;
    *events = POLLOUT;
    if (c->tls != NULL) {
        int rc = SSL_write(c->tls, bytes.ptr, bytes.len > INT_MAX ? INT_MAX : (int)bytes.len);
        *n = rc > 0 ? (size_t)rc : 0;
        return rc > 0 ? 0 : tls_wants(c, rc, events, e);
    }
    ssize_t sent = send(c->context->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        return err_errno(e, ERR_RETRY, errno, "Redis at %s: cannot write", c->server);
    }
    *n = sent > 0 ? (size_t)sent : 0;
    return 0;
}

int redis_conn_send(struct redis_conn *c, struct slice wire, int64_t deadline_mono, struct err *e)
{
    while (wire.len > 0) {
        size_t n;
        short events;
        if (write_some(c, wire, &n, &events, e) != 0 ||
            (n == 0 && wait_for_socket(c, events, deadline_mono, "writing a command", e) != 0)) {
            return -1;
        }
        wire.ptr += n;
        wire.len -= n;
    }
    return 0;
}

/* *n: bytes read, or 0 and *events to wait for. */
static int read_some(struct redis_conn *c, char *out, size_t size, size_t *n, short *events,
                     struct err *e)
{
    *n = 0;
    *events = POLLIN;
    if (c->tls != NULL) {
        int rc = SSL_read(c->tls, out, (int)size);
        *n = rc > 0 ? (size_t)rc : 0;
        return rc > 0 ? 0 : tls_wants(c, rc, events, e);
    }
    ssize_t got = recv(c->context->fd, out, size, 0);
    if (got == 0) {
        return closed_error(c, e);
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        return err_errno(e, ERR_RETRY, errno, "Redis at %s: cannot read", c->server);
    }
    *n = got > 0 ? (size_t)got : 0;
    return 0;
}

static int fill_reader(struct redis_conn *c, bool *some, short *events, struct err *e)
{
    char bytes[READ_BYTES];
    size_t n;
    if (read_some(c, bytes, sizeof bytes, &n, events, e) != 0) {
        return -1;
    }
    *some = n > 0;
    c->pending_bytes += (int64_t)n;
    if (c->pending_bytes > REPLY_MAX_BYTES) {
        return err_set(e, ERR_RETRY, 0, "Redis at %s sent a reply of more than %lld bytes",
                       c->server, REPLY_MAX_BYTES);
    }
    if (n > 0 && redisReaderFeed(c->context->reader, bytes, n) != REDIS_OK) {
        return err_set(e, ERR_RETRY, 0, "Redis at %s: %s", c->server, c->context->reader->errstr);
    }
    return 0;
}

int redis_conn_fill(struct redis_conn *c, bool *some, struct err *e)
{
    short events;
    return fill_reader(c, some, &events, e);
}

int redis_conn_next(struct redis_conn *c, struct redis_reply **out, struct err *e)
{
    void *reply = NULL;
    if (redisReaderGetReply(c->context->reader, &reply) != REDIS_OK) {
        return err_set(e, ERR_RETRY, 0, "%s does not speak Redis' protocol: %s", c->server,
                       c->context->reader->errstr);
    }
    if (reply != NULL) {
        c->pending_bytes = 0;
    }
    *out = reply;
    return 0;
}

int redis_conn_read(struct redis_conn *c, int64_t deadline_mono, struct redis_reply **out,
                    struct err *e)
{
    for (;;) {
        struct redis_reply *reply;
        short events = POLLIN;
        bool some;
        if (redis_conn_next(c, &reply, e) != 0) {
            return -1;
        }
        if (reply != NULL) {
            *out = reply;
            return 0;
        }
        if (fill_reader(c, &some, &events, e) != 0 ||
            (!some && wait_for_socket(c, events, deadline_mono, "a reply", e) != 0)) {
            return -1;
        }
    }
}

bool redis_conn_stale(struct redis_conn *c)
{
    char byte;
    ssize_t n = recv(c->context->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    /* Without TLS an idle connection has nothing to read; with TLS there may be a session ticket.
     * */
    return n == 0 || (n > 0 && c->tls == NULL) || (n < 0 && errno != EAGAIN && errno != EINTR);
}

int redis_conn_fd(const struct redis_conn *c)
{
    return c->context->fd;
}

/* --- connecting --- */
static struct timeval time_left(int64_t deadline_mono)
{
    int64_t left = deadline_mono - clock_mono_ms();
    left = left < 1 ? 1 : left;
    return (struct timeval){left / 1000, (left % 1000) * 1000};
}

static int connect_socket(struct redis_conn *c, const struct redis_place *p, int64_t deadline_mono,
                          struct err *e)
{
    bool local = p->url->socket[0] != '\0';
    c->context = local ? redisConnectUnixWithTimeout(p->url->socket, time_left(deadline_mono))
                       : redisConnectWithTimeout(p->host, p->port, time_left(deadline_mono));
    ASSERT(c->context != NULL);
    if (c->context->err != 0) {
        return err_set(e, ERR_RETRY, 0, "cannot connect to Redis at %s: %s", c->server,
                       c->context->errstr);
    }
    int flags = fcntl(c->context->fd, F_GETFL);
    ASSERT(flags >= 0 && fcntl(c->context->fd, F_SETFL, flags | O_NONBLOCK) == 0);
    ASSERT(fcntl(c->context->fd, F_SETFD, FD_CLOEXEC) == 0);
    if (!local) {
        (void)redisEnableKeepAlive(c->context);
    }
#ifdef REDIS_READER_MAX_ARRAY_ELEMENTS /* not in Debian 12's, which takes what the server says */
    c->context->reader->maxelements = REPLY_MAX_ELEMENTS;
#endif
    return 0;
}

static int do_tls_handshake(struct redis_conn *c, const struct redis_place *p,
                            int64_t deadline_mono, struct err *e)
{
    if (p->tls == NULL) {
        return 0;
    }
    c->tls = redis_tls_new(p->tls, c->context->fd, p->host);
    for (;;) {
        short events = POLLIN;
        int rc = SSL_connect(c->tls);
        if (rc == 1) {
            return 0;
        }
        if (tls_wants(c, rc, &events, e) != 0) {
            /* A retry does not make a certificate valid. */
            if (SSL_get_verify_result(c->tls) != X509_V_OK) {
                return err_set(e, ERR_AUTH, 0, "Redis at %s: invalid certificate: %s", c->server,
                               X509_verify_cert_error_string(SSL_get_verify_result(c->tls)));
            }
            return -1;
        }
        if (wait_for_socket(c, events, deadline_mono, "the TLS handshake", e) != 0) {
            return -1;
        }
    }
}

static int run_command(struct redis_conn *c, const struct slice *args, size_t n,
                       int64_t deadline_mono, struct err *e)
{
    struct redis_reply *reply = NULL;
    struct buf wire;
    buf_init(&wire, 4096);
    redis_wire(&wire, args, n, NULL);
    int rc = redis_conn_send(c, buf_slice(&wire), deadline_mono, e);
    if (rc == 0) {
        rc = redis_conn_read(c, deadline_mono, &reply, e);
    }
    if (rc == 0) {
        rc = redis_reply_check(reply, e);
    }
    redis_reply_free(reply);
    buf_fini(&wire);
    return rc;
}

static int authenticate(struct redis_conn *c, const struct redis_url *u, int64_t deadline_mono,
                        struct err *e)
{
    char db[16];
    if (u->password[0] != '\0') {
        struct slice args[3] = {SLICE("AUTH"), slice_of(u->user), slice_of(u->password)};
        args[1] = u->user[0] != '\0' ? args[1] : args[2];
        if (run_command(c, args, u->user[0] != '\0' ? 3 : 2, deadline_mono, e) != 0) {
            return err_wrap(e, "AUTH");
        }
    }
    if (u->db != 0) {
        (void)snprintf(db, sizeof db, "%d", u->db);
        struct slice args[2] = {SLICE("SELECT"), slice_of(db)};
        if (run_command(c, args, 2, deadline_mono, e) != 0) {
            return err_wrap(e, "SELECT %d", u->db);
        }
    }
    return 0;
}

int redis_conn_open(const struct redis_place *p, int64_t deadline_mono, struct redis_conn **out,
                    struct err *e)
{
    struct redis_conn *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    if (p->url->socket[0] != '\0') {
        (void)snprintf(c->server, sizeof c->server, "%s", p->url->socket);
    } else {
        (void)snprintf(c->server, sizeof c->server, "%s:%d", p->host, p->port);
    }
    if (connect_socket(c, p, deadline_mono, e) != 0 ||
        do_tls_handshake(c, p, deadline_mono, e) != 0 ||
        authenticate(c, p->url, deadline_mono, e) != 0) {
        redis_conn_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void redis_conn_close(struct redis_conn *c)
{
    if (c == NULL) {
        return;
    }
    SSL_free(c->tls);
    if (c->context != NULL) {
        redisFree(c->context);
    }
    free(c);
}
