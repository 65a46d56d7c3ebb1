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

/* A waiter looks for itself once a second, whatever happens: after a jump of the wall clock what it
 * waits for may be due earlier than it thought. */
#define WAIT_SLICE_MS 1000
#define WATCH_REST_MS 100 /* between two questions while the log is quiet */
#define WATCH_BLIND_MS 5  /* the same where inotify is not to be had */
#define LANES_AT_ONCE 64

struct waiter { /* one thread's wait; on its stack, in the list under the lock */
    const char *lane;
    int64_t due_ms; /* wall clock; when it looks again of itself */
    bool woken;
    pthread_cond_t changed;
    struct waiter *next;
    struct waiter **link;
};

struct queue_waiters {
    struct sqlite_store *store;
    pthread_mutex_t lock;
    struct waiter *first; /* oldest first */
    struct waiter **last;
    bool ended;
    bool watching; /* the thread was started */
    bool stopping;
    pthread_t watcher;
    int nudge;   /* eventfd: someone waits, or stop */
    int changes; /* inotify on the log, or -1 */
};

/* --- looking --- */
struct look {
    const char *lane;
    int64_t limit;
    int64_t now;
    struct queue_prospect found;
};

static int look_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct look *l = arg;
    int64_t due;
    if (sqlite_number(db, &l->found.ready, 0, e,
                      "SELECT count(*) FROM "
                      "(SELECT 1 FROM messages WHERE lane = ?1 AND place = 0 LIMIT ?2)",
                      SQL_TEXT(l->lane), SQL_INT(l->limit)) != 0 ||
        sqlite_number(db, &due, 0, e,
                      "SELECT count(*) FROM (SELECT 1 FROM messages "
                      "WHERE lane = ?1 AND due_ms <= ?2 LIMIT ?3)",
                      SQL_TEXT(l->lane), SQL_INT(l->now), SQL_INT(l->limit)) != 0) {
        return -1;
    }
    l->found.ready += due;
    return sqlite_number(db, &l->found.due_ms, INT64_MAX, e,
                         "SELECT due_ms FROM messages WHERE lane = ?1 AND due_ms > ?2 "
                         "ORDER BY due_ms LIMIT 1",
                         SQL_TEXT(l->lane), SQL_INT(l->now));
}

int queue_sqlite_look(struct sqlite_store *store, const char *lane, int64_t limit,
                      struct queue_prospect *out, struct err *e)
{
    struct look l = {.lane = lane, .limit = limit, .now = clock_wall_ms()};
    if (sqlite_store_read(store, look_work, &l, e) != 0) {
        return -1;
    }
    *out = l.found;
    return 0;
}

/* --- the waiters --- */
struct queue_waiters *queue_waiters_new(struct sqlite_store *store)
{
    struct queue_waiters *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    w->store = store;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    w->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(w->nudge >= 0);
    w->changes = -1;
    return w;
}

static void nudge(struct queue_waiters *w)
{
    uint64_t one = 1;
    /* A counter that is full has been nudged enough. */
    ssize_t n = write(w->nudge, &one, sizeof one);
    (void)n;
}

void queue_waiters_free(struct queue_waiters *w)
{
    if (w == NULL) {
        return;
    }
    ASSERT(w->first == NULL);
    if (w->watching) {
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_mutex_unlock(&w->lock);
        nudge(w);
        (void)pthread_join(w->watcher, NULL);
    }
    close(w->nudge);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void wake(struct waiter *one)
{
    one->woken = true;
    pthread_cond_signal(&one->changed);
}

void queue_waiters_tell(struct queue_waiters *w, const char *lane, int64_t ready, int64_t due_ms)
{
    pthread_mutex_lock(&w->lock);
    for (struct waiter *one = w->first; one != NULL; one = one->next) {
        if (one->woken || strcmp(one->lane, lane) != 0) {
            continue;
        }
        if (ready > 0) {
            wake(one);
            ready--;
        } else if (due_ms < one->due_ms) {
            wake(one);
        }
    }
    pthread_mutex_unlock(&w->lock);
}

void queue_waiters_end(struct queue_waiters *w)
{
    pthread_mutex_lock(&w->lock);
    w->ended = true;
    for (struct waiter *one = w->first; one != NULL; one = one->next) {
        wake(one);
    }
    pthread_mutex_unlock(&w->lock);
}

/* --- the watcher, for what other processes put --- */
/* The distinct lanes that are waited for; the names are copied, since a waiter may leave. */
static size_t waited_lanes(struct queue_waiters *w, char lanes[][QUEUE_LANE_MAX + 1])
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

static void look_for_waiters(struct queue_waiters *w)
{
    char lanes[LANES_AT_ONCE][QUEUE_LANE_MAX + 1];
    size_t n = waited_lanes(w, lanes);
    for (size_t i = 0; i < n; i++) {
        struct queue_prospect p;
        struct err e;
        /* A store that cannot be read is for a take to tell. */
        if (queue_sqlite_look(w->store, lanes[i], 32, &p, &e) != 0) {
            p = (struct queue_prospect){.ready = 1, .due_ms = INT64_MAX};
        }
        queue_waiters_tell(w, lanes[i], p.ready, p.due_ms);
    }
}

/* inotify on the log; -1 if there is none to be had (its instances are limited per user). */
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

static bool drain(int fd)
{
    char events[4096];
    bool any = false;
    while (fd >= 0 && read(fd, events, sizeof events) > 0) {
        any = true;
    }
    return any;
}

/* Whether anyone waits, or the thread has to stop. */
static bool waited_for(struct queue_waiters *w, bool *stopping)
{
    pthread_mutex_lock(&w->lock);
    bool any = w->first != NULL;
    *stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return any;
}

static void sleep_until_something(struct queue_waiters *w, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = w->nudge, .events = POLLIN},
                            {.fd = w->changes, .events = POLLIN}};
    /* In the short sleeps after a write the log is not listened to: a busy one would end each. Nor
     * is it while nobody waits. */
    bool listen = timeout_ms >= WATCH_BLIND_MS;
    (void)poll(fds, listen ? 2 : 1, timeout_ms);
}

/* The wait until the next question: 1 ms after a write, then a quarter of the time since, so that a
 * slow fsync is learnt of a quarter late at most; until the log was quiet for so long that what was
 * written must have been committed or given up. */
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

static void *watch(void *arg)
{
    struct queue_waiters *w = arg;
    int64_t seen = -1;
    int64_t quiet_ms = WATCH_REST_MS;
    bool stopping = false;
    w->changes = watch_log(w->store);
    while (!stopping) {
        struct err e;
        int64_t version = -1;
        bool written = drain(w->changes);
        (void)drain(w->nudge);
        if (!waited_for(w, &stopping)) {
            if (!stopping) {
                sleep_until_something(w, -1);
            }
            continue;
        }
        if (sqlite_store_version(w->store, &version, &e) != 0 || version != seen) {
            seen = version;
            look_for_waiters(w);
        }
        sleep_until_something(
            w, next_wait_ms(&quiet_ms, written, w->changes >= 0 ? WATCH_REST_MS : WATCH_BLIND_MS));
    }
    if (w->changes >= 0) {
        close(w->changes);
    }
    return NULL;
}

/* --- waiting --- */
static void start_watching(struct queue_waiters *w)
{
    /* Without the thread the slices still find what other processes put. */
    if (!w->watching) {
        struct err e;
        w->watching = thread_start(&w->watcher, "the thread that watches the queue's file", watch,
                                   w, &e) == 0;
    } else if (w->first == NULL) {
        nudge(w);
    }
}

static void enter(struct queue_waiters *w, struct waiter *one)
{
    one->link = w->last;
    *w->last = one;
    w->last = &one->next;
}

static void leave(struct queue_waiters *w, struct waiter *one)
{
    *one->link = one->next;
    if (one->next != NULL) {
        one->next->link = one->link;
    } else {
        w->last = one->link;
    }
}

/* How long until it should look again; also what is to be told when something comes due earlier. */
static int64_t patience_ms(struct waiter *one, const struct queue_prospect *p, int64_t timeout_ms)
{
    int64_t ms = timeout_ms < WAIT_SLICE_MS ? timeout_ms : WAIT_SLICE_MS;
    int64_t now = clock_wall_ms();
    if (p->due_ms < now + ms) {
        ms = p->due_ms > now ? p->due_ms - now : 0;
    }
    one->due_ms = now + ms;
    return ms;
}

static void sleep_on(struct queue_waiters *w, struct waiter *one, int64_t ms)
{
    int64_t until_us = cond_deadline_us(ms);
    while (!one->woken && !w->ended && cond_wait_until(&one->changed, &w->lock, until_us)) {
    }
}

void queue_waiters_wait(struct queue_waiters *w, const char *lane, int64_t timeout_ms)
{
    struct waiter one = {.lane = lane, .due_ms = INT64_MAX};
    struct queue_prospect p = {.due_ms = INT64_MAX};
    struct err e;
    cond_init(&one.changed);
    pthread_mutex_lock(&w->lock);
    start_watching(w);
    enter(w, &one);
    pthread_mutex_unlock(&w->lock);
    /* Entered first, then looked: what is put after the look finds the waiter in the list. */
    int rc = queue_sqlite_look(w->store, lane, 1, &p, &e);
    pthread_mutex_lock(&w->lock);
    if (rc == 0 && p.ready == 0) {
        sleep_on(w, &one, patience_ms(&one, &p, timeout_ms));
    }
    leave(w, &one);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&one.changed);
}
