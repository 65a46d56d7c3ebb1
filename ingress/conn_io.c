/*
 * The bytes of plain connections.
 *
 * libevent 2.1's bufferevents read 4 KiB at a time, each after an ioctl, and change their epoll
 * interest several times a request: for a webhook of 12 kB that is a dozen system calls, and half
 * of the time besides the HMAC. So evhttp gets a bufferevent without a descriptor, which is no more
 * than two buffers and their callbacks; here its input is filled by one large read, and its output
 * is sent by one write at the end of the loop's turn. Read interest stays on, except while a peer
 * sends and evhttp accepts no data.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <sys/uio.h>

#include "ingress/conn.h"

/* Usually a whole delivery; a little less than 16 KiB, since libevent rounds a chunk with its
 * header up to a power of two. */
#define READ_BYTES (16 * 1024 - 128)

static bool is_retriable(void)
{
    return errno == EAGAIN || errno == EINTR;
}

/* The peer is gone, or has sent everything: evhttp ends the connection. */
static void report_end(struct conn *c, short what)
{
    bufferevent_trigger_event(c->bev, (short)(what | BEV_EVENT_EOF), 0);
}

static void pause_reading(struct conn *c)
{
    c->read_paused = true;
    event_del(c->readable);
}

/* evhttp may free the connection in here: it must not be used afterwards. */
static void read_input(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    struct evbuffer *input = bufferevent_get_input(c->bev);
    struct evbuffer_iovec space;
    (void)what;
    if (c->state == CONN_PROCESSING || c->state == CONN_WRITING ||
        evbuffer_get_length(input) > c->set->limits.input_limit_bytes) {
        pause_reading(c);
        return;
    }
    if (evbuffer_reserve_space(input, READ_BYTES, &space, 1) != 1) {
        report_end(c, BEV_EVENT_READING);
        return;
    }
    ssize_t n = readv(fd, &(struct iovec){space.iov_base, space.iov_len}, 1);
    space.iov_len = n > 0 ? (size_t)n : 0;
    if (evbuffer_commit_space(input, &space, 1) != 0 || n == 0 || (n < 0 && !is_retriable())) {
        report_end(c, BEV_EVENT_READING);
        return;
    }
    if (n > 0) {
        bufferevent_trigger(c->bev, EV_READ, 0);
    }
}

/* evhttp may free the connection in here. */
static void send_output(struct conn *c)
{
    struct evbuffer *output = bufferevent_get_output(c->bev);
    int n = evbuffer_write(output, c->fd);
    if (n < 0 && !is_retriable()) {
        report_end(c, BEV_EVENT_WRITING);
    } else if (evbuffer_get_length(output) > 0) {
        event_add(c->writable, NULL);
    } else if ((bufferevent_get_enabled(c->bev) & EV_WRITE) != 0) {
        bufferevent_trigger(c->bev, EV_WRITE, 0);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    send_output(arg);
}

void conn_flush(struct conn_set *set)
{
    struct conn *c;
    while ((c = TAILQ_FIRST(&set->unsent)) != NULL) {
        TAILQ_REMOVE(&set->unsent, c, unsent_link);
        c->unsent = false;
        if (event_pending(c->writable, EV_WRITE, NULL) == 0) {
            send_output(c);
        }
    }
}

bool conn_io_open(struct conn *c)
{
    if (bufferevent_setfd(c->bev, -1) != 0) {
        return false;
    }
    c->readable = event_new(c->set->base, c->fd, EV_READ | EV_PERSIST, read_input, c);
    c->writable = event_new(c->set->base, c->fd, EV_WRITE, on_writable, c);
    return c->readable != NULL && c->writable != NULL && event_add(c->readable, NULL) == 0;
}

void conn_io_close(struct conn *c)
{
    if (c->readable != NULL) {
        event_free(c->readable);
    }
    if (c->writable != NULL) {
        event_free(c->writable);
    }
}

void conn_io_resume(struct conn *c)
{
    if (c->read_paused) {
        c->read_paused = false;
        event_add(c->readable, NULL);
    }
}
