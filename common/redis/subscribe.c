/*
 * A subscription to one channel, on a connection of its own.
 *
 * A connection that dies without a word (a power cut, a firewall that forgets) would be waited on
 * for ever, so an idle one is pinged, and given up when nothing comes back.
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
    struct redis_reply *last; /* owns the payload handed out */
    bool told_lost;
    int failures;
    int64_t not_before; /* monotonic: of the next connect */
    int64_t heard;      /* monotonic: last byte */
    int64_t pinged;
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
static void lose(struct redis_subscription *u)
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

/* Why it failed does not matter here: the store's calls tell it, and this goes on trying. */
static void subscribe(struct redis_subscription *u)
{
    struct err e;
    int64_t deadline = clock_mono_ms() + CONNECT_MS;
    struct slice words[] = {SLICE("SUBSCRIBE"), slice_of(u->channel)};
    if (redis_pool_connect(redis_store_pool(u->store), deadline, &u->conn, &e) != 0) {
        u->conn = NULL;
        lose(u);
        return;
    }
    u->heard = clock_mono_ms();
    u->pinged = u->heard;
    if (send_words(u, words, COUNT_OF(words), deadline) != 0) {
        lose(u);
    }
}

static void ping_if_quiet(struct redis_subscription *u)
{
    struct slice words[] = {SLICE("PING")};
    int64_t now = clock_mono_ms();
    if (now - u->heard > SILENCE_MS) {
        lose(u);
        return;
    }
    if (now - u->heard > PING_EVERY_MS && now - u->pinged > PING_EVERY_MS) {
        u->pinged = now;
        if (send_words(u, words, COUNT_OF(words), now + CONNECT_MS) != 0) {
            lose(u);
        }
    }
}

/* --- notes --- */
/* What the next reply that has arrived means; REDIS_NOTE_TIMEOUT if there is none to tell. */
static enum redis_note read_note(struct redis_subscription *u, struct slice *payload)
{
    for (;;) {
        struct err e;
        redis_reply_free(u->last);
        u->last = NULL;
        if (redis_conn_next(u->conn, &u->last, &e) != 0) {
            lose(u);
            return REDIS_NOTE_TIMEOUT;
        }
        if (u->last == NULL) {
            return REDIS_NOTE_TIMEOUT;
        }
        struct slice kind = redis_reply_bytes(redis_reply_at(u->last, 0));
        if (slice_eq_cstr(kind, "message")) {
            *payload = redis_reply_bytes(redis_reply_at(u->last, 2));
            return REDIS_NOTE_MESSAGE;
        }
        if (slice_eq_cstr(kind, "subscribe")) {
            u->failures = 0;
            u->told_lost = false;
            return REDIS_NOTE_FRESH;
        }
        if (redis_reply_check(u->last, &e) != 0) { /* no right to the channel, or not yet */
            lose(u);
            return REDIS_NOTE_TIMEOUT;
        }
    }
}

/* Sleeps until the socket has something, the subscription ends, or until_mono. */
static void sleep_until(struct redis_subscription *u, int64_t until_mono)
{
    struct pollfd fds[2] = {
        {.fd = u->end, .events = POLLIN},
        {.fd = u->conn != NULL ? redis_conn_fd(u->conn) : -1, .events = POLLIN}};
    int64_t left = until_mono - clock_mono_ms();
    left = left < 0 ? 0 : left;
    (void)poll(fds, 2, left > PING_EVERY_MS ? PING_EVERY_MS : (int)left);
}

static void take_in(struct redis_subscription *u)
{
    struct err e;
    bool some = false;
    if (redis_conn_fill(u->conn, &some, &e) != 0) {
        lose(u);
    } else if (some) {
        u->heard = clock_mono_ms();
    }
}

/* One turn; REDIS_NOTE_TIMEOUT if it has nothing to tell yet. */
static enum redis_note turn(struct redis_subscription *u, int64_t until_mono, struct slice *payload)
{
    if (u->conn == NULL && clock_mono_ms() >= u->not_before) {
        subscribe(u);
    }
    if (u->conn == NULL) {
        if (!u->told_lost) {
            u->told_lost = true;
            return REDIS_NOTE_LOST;
        }
        sleep_until(u, until_mono < u->not_before ? until_mono : u->not_before);
        return REDIS_NOTE_TIMEOUT;
    }
    enum redis_note note = read_note(u, payload);
    if (note != REDIS_NOTE_TIMEOUT || u->conn == NULL) {
        return note;
    }
    sleep_until(u, until_mono);
    take_in(u);
    if (u->conn != NULL) {
        ping_if_quiet(u);
    }
    return REDIS_NOTE_TIMEOUT;
}

enum redis_note redis_subscription_next(struct redis_subscription *u, int64_t timeout_ms,
                                        struct slice *payload)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    *payload = (struct slice){0};
    for (;;) {
        if (atomic_load(&u->ended)) {
            return REDIS_NOTE_ENDED;
        }
        enum redis_note note = turn(u, until, payload);
        if (note != REDIS_NOTE_TIMEOUT) {
            return note;
        }
        if (clock_mono_ms() >= until && !atomic_load(&u->ended)) {
            return REDIS_NOTE_TIMEOUT;
        }
    }
}
