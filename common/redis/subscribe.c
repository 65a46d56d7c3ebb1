/*
 * A subscription to one channel, on a connection of its own.
 *
 * A connection that dies silently (a power cut, a firewall's idle timeout) would never be noticed,
 * so an idle one is pinged, and closed if no reply arrives.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/redis/pool.h"

#define CONNECT_MS 2000
#define PING_EVERY_MS 10000
#define SILENCE_MS 25000
#define PAUSE_BASE_MS 50
#define PAUSE_CAP_MS 2000

struct redis_subscription {
    struct redis_store *store;
    char channel[192];
    struct redis_conn *conn;  /* NULL: none at present */
    struct redis_reply *last; /* owns the returned payload */
    bool reported_lost;
    int failures;
    int64_t not_before;  /* monotonic: of the next connect */
    int64_t received_ms; /* monotonic: of the last byte */
    int64_t pinged_ms;
    int end; /* eventfd: readable once ended */
    atomic_bool ended;
};

struct redis_subscription *redis_subscription_open(struct redis_store *s, const char *channel)
{
    struct redis_subscription *u = calloc(1, sizeof *u);
    ASSERT(u != NULL);
    u->store = s;
    int n = snprintf(u->channel, sizeof u->channel, "%s%s", redis_store_root(s), channel);
    ASSERT(n > 0 && (size_t)n < sizeof u->channel);
    u->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(u->end >= 0);
    return u;
}

void redis_subscription_close(struct redis_subscription *u)
{
    if (u == NULL) {
        return;
    }
    redis_reply_free(u->last);
    redis_conn_close(u->conn);
    close(u->end);
    free(u);
}

void redis_subscription_end(struct redis_subscription *u)
{
    uint64_t one = 1;
    atomic_store(&u->ended, true);
    ssize_t n = write(u->end, &one, sizeof one);
    (void)n;
}

/* --- the connection --- */
static void drop_connection(struct redis_subscription *u)
{
    redis_conn_close(u->conn);
    u->conn = NULL;
    u->failures++;
    u->not_before =
        clock_mono_ms() + backoff_full_jitter_ms(PAUSE_BASE_MS, PAUSE_CAP_MS, u->failures);
}

static int send_words(struct redis_subscription *u, const struct slice *words, size_t n,
                      int64_t deadline_mono)
{
    struct buf wire;
    struct err e;
    buf_init(&wire, 4096);
    redis_wire(&wire, words, n, NULL);
    int rc = redis_conn_send(u->conn, buf_slice(&wire), deadline_mono, &e);
    buf_fini(&wire);
    return rc;
}

/* Errors are ignored: the store's calls return them, and the next step tries again. */
static void subscribe(struct redis_subscription *u)
{
    struct err e;
    int64_t deadline = clock_mono_ms() + CONNECT_MS;
    struct slice words[] = {SLICE("SUBSCRIBE"), slice_of(u->channel)};
    if (redis_pool_connect(redis_store_pool(u->store), deadline, &u->conn, &e) != 0) {
        u->conn = NULL;
        drop_connection(u);
        return;
    }
    u->received_ms = clock_mono_ms();
    u->pinged_ms = u->received_ms;
    if (send_words(u, words, COUNT_OF(words), deadline) != 0) {
        drop_connection(u);
    }
}

static void ping_if_quiet(struct redis_subscription *u)
{
    struct slice words[] = {SLICE("PING")};
    int64_t now = clock_mono_ms();
    if (now - u->received_ms > SILENCE_MS) {
        drop_connection(u);
        return;
    }
    if (now - u->received_ms > PING_EVERY_MS && now - u->pinged_ms > PING_EVERY_MS) {
        u->pinged_ms = now;
        if (send_words(u, words, COUNT_OF(words), now + CONNECT_MS) != 0) {
            drop_connection(u);
        }
    }
}

/* --- events --- */
/* The event of the next reply that has arrived; REDIS_EVENT_TIMEOUT if there is none. */
static enum redis_event read_event(struct redis_subscription *u, struct slice *payload)
{
    for (;;) {
        struct err e;
        redis_reply_free(u->last);
        u->last = NULL;
        if (redis_conn_next(u->conn, &u->last, &e) != 0) {
            drop_connection(u);
            return REDIS_EVENT_TIMEOUT;
        }
        if (u->last == NULL) {
            return REDIS_EVENT_TIMEOUT;
        }
        struct slice kind = redis_reply_bytes(redis_reply_at(u->last, 0));
        if (slice_eq_cstr(kind, "message")) {
            *payload = redis_reply_bytes(redis_reply_at(u->last, 2));
            return REDIS_EVENT_MESSAGE;
        }
        if (slice_eq_cstr(kind, "subscribe")) {
            u->failures = 0;
            u->reported_lost = false;
            return REDIS_EVENT_SUBSCRIBED;
        }
        if (redis_reply_check(u->last, &e) != 0) { /* no permission for the channel, or loading */
            drop_connection(u);
            return REDIS_EVENT_TIMEOUT;
        }
    }
}

/* Sleeps until the socket is readable, the subscription ends, or until_mono. */
static void wait_for_input(struct redis_subscription *u, int64_t until_mono)
{
    struct pollfd fds[2] = {
        {.fd = u->end, .events = POLLIN},
        {.fd = u->conn != NULL ? redis_conn_fd(u->conn) : -1, .events = POLLIN}};
    int64_t left = until_mono - clock_mono_ms();
    left = left < 0 ? 0 : left;
    (void)poll(fds, 2, left > PING_EVERY_MS ? PING_EVERY_MS : (int)left);
}

static void read_socket(struct redis_subscription *u)
{
    struct err e;
    bool some = false;
    if (redis_conn_fill(u->conn, &some, &e) != 0) {
        drop_connection(u);
    } else if (some) {
        u->received_ms = clock_mono_ms();
    }
}

/* One step of connecting, reading or waiting; REDIS_EVENT_TIMEOUT if there is no event yet. */
static enum redis_event step(struct redis_subscription *u, int64_t until_mono,
                             struct slice *payload)
{
    if (u->conn == NULL && clock_mono_ms() >= u->not_before) {
        subscribe(u);
    }
    if (u->conn == NULL) {
        if (!u->reported_lost) {
            u->reported_lost = true;
            return REDIS_EVENT_LOST;
        }
        wait_for_input(u, until_mono < u->not_before ? until_mono : u->not_before);
        return REDIS_EVENT_TIMEOUT;
    }
    enum redis_event event = read_event(u, payload);
    if (event != REDIS_EVENT_TIMEOUT || u->conn == NULL) {
        return event;
    }
    wait_for_input(u, until_mono);
    read_socket(u);
    if (u->conn != NULL) {
        ping_if_quiet(u);
    }
    return REDIS_EVENT_TIMEOUT;
}

enum redis_event redis_subscription_next(struct redis_subscription *u, int64_t timeout_ms,
                                         struct slice *payload)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    *payload = (struct slice){0};
    for (;;) {
        if (atomic_load(&u->ended)) {
            return REDIS_EVENT_ENDED;
        }
        enum redis_event event = step(u, until, payload);
        if (event != REDIS_EVENT_TIMEOUT) {
            return event;
        }
        if (clock_mono_ms() >= until && !atomic_load(&u->ended)) {
            return REDIS_EVENT_TIMEOUT;
        }
    }
}
