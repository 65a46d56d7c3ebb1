#include "worker/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One direction of the connection. */
struct stream {
    int from;
    int to;
    char data[65536];
    size_t start;
    size_t end;
    bool read_done;
    bool write_done;
};

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *list = NULL;
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return -1;
    }
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static bool is_transient(void)
{
    return errno == EAGAIN || errno == EINTR;
}

static void read_stream(struct stream *s)
{
    ssize_t n = read(s->from, s->data, sizeof s->data);
    if (n > 0) {
        s->start = 0;
        s->end = (size_t)n;
    } else if (n == 0 || !is_transient()) {
        s->read_done = true;
    }
}

static void write_stream(struct stream *s)
{
    ssize_t n = write(s->to, s->data + s->start, s->end - s->start);
    if (n > 0) {
        s->start += (size_t)n;
    } else if (n < 0 && !is_transient()) {
        s->read_done = true;
        s->start = s->end;
    }
}

/* Copies what is ready, and forwards the end of the stream when all data before it is written. */
static void forward(struct stream *s, short from_events, short to_events)
{
    if (s->start == s->end && !s->read_done && (from_events & (POLLIN | POLLHUP | POLLERR)) != 0) {
        read_stream(s);
    }
    if (s->start < s->end && (to_events & (POLLOUT | POLLHUP | POLLERR)) != 0) {
        write_stream(s);
    }
    if (s->start == s->end && s->read_done && !s->write_done) {
        s->write_done = true;
        (void)shutdown(s->to, SHUT_WR);
    }
}

static short poll_events(const struct stream *in, const struct stream *out)
{
    bool reads = in->start == in->end && !in->read_done;
    bool writes = out->start < out->end;
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

int supervisor_connect(const char *host, const char *port)
{
    static struct stream up = {.from = 0};
    static struct stream down = {.to = 0};
    (void)signal(SIGPIPE, SIG_IGN);
    int fd = dial(host, port);
    if (fd < 0) {
        return 1;
    }
    up.to = fd;
    down.from = fd;
    (void)fcntl(0, F_SETFL, O_NONBLOCK);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    while (!up.write_done || !down.write_done) {
        struct pollfd p[2] = {{.fd = 0, .events = poll_events(&up, &down)},
                              {.fd = fd, .events = poll_events(&down, &up)}};
        if (poll(p, 2, -1) < 0 && errno != EINTR) {
            return 1;
        }
        /* The VM's side is closed: nobody can receive the rest. */
        if ((p[0].revents & (POLLHUP | POLLERR)) != 0 && (p[0].revents & POLLIN) == 0) {
            return 0;
        }
        forward(&up, p[0].revents, p[1].revents);
        forward(&down, p[1].revents, p[0].revents);
    }
    return 0;
}
