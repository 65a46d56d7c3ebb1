#include "common/queue/sqlite/wait.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/thread.h"
#include "common/queue/queue.h"

/* A waiter polls at least once a second: after a jump of the wall clock a message may be due
 * earlier than the waiter computed. */
#define WAIT_SLICE_MS 1000
#define WATCH_INTERVAL_MS 100 /* between two polls of the version while the log is quiet */
#define WATCH_POLL_MS 5       /* the same without inotify */
#define LANES_AT_ONCE 64

struct waiter { /* one thread's wait; on its stack, in the list under the lock */
    const char *lane;
    int64_t due_ms; /* wall clock; when it polls again by itself */
    bool woken;
    pthread_cond_t changed;
    struct waiter *next;
    struct waiter **link;
};

struct queue_sqlite_waiters {
    struct sqlite_store *store;
    pthread_mutex_t lock;
    struct waiter *first; /* oldest first */
    struct waiter **last;
    bool interrupted;
    bool watching; /* the thread was started */
    bool stopping;
    pthread_t watcher;
    int wakeup;  /* eventfd: a thread waits, or stop */
    int changes; /* inotify on the log, or -1 */
};

/* --- the state of a lane --- */
struct peek {
    const char *lane;
    int64_t limit;
    int64_t now;
    struct queue_sqlite_outlook found;
};

static int peek_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct peek *l = arg;
    int64_t due;
    if (sqlite_number(db, &l->found.ready, 0, e,
                      "SELECT count(*) FROM "
                      "(SELECT 1 FROM messages WHERE lane = ?1 AND place = 0 LIMIT ?2)",
                      SQL_TEXT(l->lane), SQL_INT(l->limit)) != 0 ||
        sqlite_number(db, &due, 0, e,
                      "SELECT count(*) FROM (SELECT 1 FROM messages "
                      "WHERE lane = ?1 AND (due_ms <= ?2 OR due_ms > ?4) LIMIT ?3)",
                      SQL_TEXT(l->lane), SQL_INT(l->now), SQL_INT(l->limit),
                      SQL_INT(l->now + QUEUE_DELAY_MAX_MS)) != 0) {
        return -1;
    }
    l->found.ready += due;
    return sqlite_number(db, &l->found.due_ms, INT64_MAX, e,
                         "SELECT due_ms FROM messages WHERE lane = ?1 AND due_ms > ?2 "
                         "ORDER BY due_ms LIMIT 1",
                         SQL_TEXT(l->lane), SQL_INT(l->now));
}

int queue_sqlite_peek(struct sqlite_store *store, const char *lane, int64_t limit,
                      struct queue_sqlite_outlook *out, struct err *e)
{
    struct peek l = {.lane = lane, .limit = limit, .now = clock_wall_ms()};
    if (sqlite_store_read(store, peek_work, &l, e) != 0) {
        return -1;
    }
    *out = l.found;
    return 0;
}

/* --- the waiters --- */
struct queue_sqlite_waiters *queue_sqlite_waiters_new(struct sqlite_store *store)
{
    struct queue_sqlite_waiters *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->store = store;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    w->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(w->wakeup >= 0);
    w->changes = -1;
    return w;
}

static void wake_watcher(struct queue_sqlite_waiters *w)
{
    uint64_t one = 1;
    /* A full counter has woken the thread already. */
    ssize_t n = write(w->wakeup, &one, sizeof one);
    (void)n;
}

void queue_sqlite_waiters_free(struct queue_sqlite_waiters *w)
{
    if (w == NULL) {
        return;
    }
    ASSERT(w->first == NULL);
    if (w->watching) {
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_mutex_unlock(&w->lock);
        wake_watcher(w);
        (void)pthread_join(w->watcher, NULL);
    }
    close(w->wakeup);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void wake_waiter(struct waiter *one)
{
    one->woken = true;
    pthread_cond_signal(&one->changed);
}

void queue_sqlite_waiters_notify(struct queue_sqlite_waiters *w, const char *lane, int64_t ready,
                                 int64_t due_ms)
{
    pthread_mutex_lock(&w->lock);
    for (struct waiter *one = w->first; one != NULL; one = one->next) {
        if (one->woken || strcmp(one->lane, lane) != 0) {
            continue;
        }
        if (ready > 0) {
            wake_waiter(one);
            ready--;
        } else if (due_ms < one->due_ms) {
            wake_waiter(one);
        }
    }
    pthread_mutex_unlock(&w->lock);
}

void queue_sqlite_waiters_interrupt(struct queue_sqlite_waiters *w)
{
    pthread_mutex_lock(&w->lock);
    w->interrupted = true;
    for (struct waiter *one = w->first; one != NULL; one = one->next) {
        wake_waiter(one);
    }
    pthread_mutex_unlock(&w->lock);
}

/* --- the watcher, for what other processes put --- */
/* The distinct lanes that have waiters; the names are copied, since a waiter may leave. */
static size_t waited_lanes(struct queue_sqlite_waiters *w, char lanes[][QUEUE_LANE_MAX + 1])
{
    size_t n = 0;
    pthread_mutex_lock(&w->lock);
    for (struct waiter *one = w->first; one != NULL && n < LANES_AT_ONCE; one = one->next) {
        size_t i = 0;
        while (i < n && strcmp(lanes[i], one->lane) != 0) {
            i++;
        }
        if (i == n && slice_to_cstr(slice_of(one->lane), lanes[n], QUEUE_LANE_MAX + 1)) {
            n++;
        }
    }
    pthread_mutex_unlock(&w->lock);
    return n;
}

static void peek_for_waiters(struct queue_sqlite_waiters *w)
{
    char lanes[LANES_AT_ONCE][QUEUE_LANE_MAX + 1];
    size_t n = waited_lanes(w, lanes);
    for (size_t i = 0; i < n; i++) {
        struct queue_sqlite_outlook p;
        struct err e;
        /* The woken receive returns the store's error. */
        if (queue_sqlite_peek(w->store, lanes[i], 32, &p, &e) != 0) {
            p = (struct queue_sqlite_outlook){.ready = 1, .due_ms = INT64_MAX};
        }
        queue_sqlite_waiters_notify(w, lanes[i], p.ready, p.due_ms);
    }
}

/* inotify on the log; -1 if it is not available (its instances are limited per user). */
static int watch_log(struct sqlite_store *store)
{
    char path[4200];
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    int n = snprintf(path, sizeof path, "%s-wal", sqlite_store_file(store));
    if (fd >= 0 &&
        (n < 0 || (size_t)n >= sizeof path || inotify_add_watch(fd, path, IN_MODIFY) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool discard_events(int fd)
{
    char events[4096];
    bool any = false;
    while (fd >= 0 && read(fd, events, sizeof events) > 0) {
        any = true;
    }
    return any;
}

/* Returns whether a thread waits. *stopping: the watcher must stop. */
static bool has_waiters(struct queue_sqlite_waiters *w, bool *stopping)
{
    pthread_mutex_lock(&w->lock);
    bool any = w->first != NULL;
    *stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return any;
}

static void sleep_until_event(struct queue_sqlite_waiters *w, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = w->wakeup, .events = POLLIN},
                            {.fd = w->changes, .events = POLLIN}};
    /* inotify is ignored in the short sleeps after a write, each of which a busy log would end, and
     * while nobody waits. */
    bool listen = timeout_ms >= WATCH_POLL_MS;
    (void)poll(fds, listen ? 2 : 1, timeout_ms);
}

/* The wait until the next poll of the version: 1 ms after a write, then a quarter of the time since
 * the write, so that a commit with a slow fsync is detected at most a quarter late; then rest_ms,
 * when the log was quiet for so long that the write must have been committed or rolled back. */
static int next_wait_ms(int64_t *quiet_ms, bool written, int rest_ms)
{
    if (written) {
        *quiet_ms = 0;
    }
    int64_t wait_ms = *quiet_ms / 4 > 1 ? *quiet_ms / 4 : 1;
    if (*quiet_ms >= rest_ms || wait_ms > rest_ms) {
        wait_ms = rest_ms;
    }
    *quiet_ms += wait_ms;
    return (int)wait_ms;
}

static void *run_watcher(void *arg)
{
    struct queue_sqlite_waiters *w = arg;
    int64_t seen = -1;
    int64_t quiet_ms = WATCH_INTERVAL_MS;
    bool stopping = false;
    w->changes = watch_log(w->store);
    while (!stopping) {
        struct err e;
        int64_t version = -1;
        bool written = discard_events(w->changes);
        (void)discard_events(w->wakeup);
        if (!has_waiters(w, &stopping)) {
            if (!stopping) {
                sleep_until_event(w, -1);
            }
            continue;
        }
        if (sqlite_store_version(w->store, &version, &e) != 0 || version != seen) {
            seen = version;
            peek_for_waiters(w);
        }
        sleep_until_event(w, next_wait_ms(&quiet_ms, written,
                                          w->changes >= 0 ? WATCH_INTERVAL_MS : WATCH_POLL_MS));
    }
    if (w->changes >= 0) {
        close(w->changes);
    }
    return NULL;
}

/* --- waiting --- */
static void start_watcher(struct queue_sqlite_waiters *w)
{
    /* Without the thread, the poll once a second still finds what other processes put. */
    if (!w->watching) {
        struct err e;
        w->watching = thread_start(&w->watcher, "the thread that watches the queue's file",
                                   run_watcher, w, &e) == 0;
    } else if (w->first == NULL) {
        wake_watcher(w);
    }
}

static void add_waiter(struct queue_sqlite_waiters *w, struct waiter *one)
{
    one->link = w->last;
    *w->last = one;
    w->last = &one->next;
}

static void remove_waiter(struct queue_sqlite_waiters *w, struct waiter *one)
{
    *one->link = one->next;
    if (one->next != NULL) {
        one->next->link = one->link;
    } else {
        w->last = one->link;
    }
}

/* How long the waiter sleeps at most; sets due_ms, by which an earlier message wakes it. */
static int64_t waiter_sleep_ms(struct waiter *one, const struct queue_sqlite_outlook *p,
                               int64_t timeout_ms)
{
    int64_t ms = timeout_ms < WAIT_SLICE_MS ? timeout_ms : WAIT_SLICE_MS;
    int64_t now = clock_wall_ms();
    if (p->due_ms < now + ms) {
        ms = p->due_ms > now ? p->due_ms - now : 0;
    }
    one->due_ms = now + ms;
    return ms;
}

static void sleep_until_woken(struct queue_sqlite_waiters *w, struct waiter *one, int64_t ms)
{
    int64_t until_us = cond_deadline_us(ms);
    while (!one->woken && !w->interrupted && cond_wait_until(&one->changed, &w->lock, until_us)) {
    }
}

void queue_sqlite_waiters_wait(struct queue_sqlite_waiters *w, const char *lane, int64_t timeout_ms)
{
    struct waiter one = {.lane = lane, .due_ms = INT64_MAX};
    struct queue_sqlite_outlook p = {.due_ms = INT64_MAX};
    struct err e;
    cond_init(&one.changed);
    pthread_mutex_lock(&w->lock);
    start_watcher(w);
    add_waiter(w, &one);
    pthread_mutex_unlock(&w->lock);
    /* Added before it reads: a put after the read finds the waiter in the list. */
    int rc = queue_sqlite_peek(w->store, lane, 1, &p, &e);
    pthread_mutex_lock(&w->lock);
    if (rc == 0 && p.ready == 0) {
        sleep_until_woken(w, &one, waiter_sleep_ms(&one, &p, timeout_ms));
    }
    remove_waiter(w, &one);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&one.changed);
}
