/*
 * A queue in the memory of one process, for tests: memory://NAME. All handles of a name share it,
 * and it stays until the process ends. Small and simple: one list under one lock, in the order of
 * the puts.
 *
 * A lease or a delay is `until_ms`: past it a message is ready, which nobody has to notice. The
 * receipt is the message's number and how often it was leased or returned; one that was extended
 * says until when, and an older one stays good.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/stop.h"
#include "common/queue/queue_backend.h"

struct message {
    struct message *next;
    struct queue_message m; /* without a receipt */
    uint64_t lease;
    bool leased; /* and not yet finished, though perhaps over */
    int64_t until_ms;
    uint64_t turn;     /* among those that are ready: a returned message goes to the end */
    int64_t buried_ms; /* 0: not dead */
    char reason[512];
};

struct store {
    struct store *next;
    char *name;
    pthread_mutex_t lock; /* what follows */
    struct message *first;
    uint64_t numbers; /* given so far */
    uint64_t turns;
    struct stop changed; /* woken by whatever may make a message ready */
};

struct handle {
    struct store *store;
    atomic_bool interrupted;
};

static pthread_mutex_t stores_lock = PTHREAD_MUTEX_INITIALIZER;
static struct store *stores; /* under stores_lock; only added to */

static struct store *store_of(const char *name)
{
    pthread_mutex_lock(&stores_lock);
    struct store *s = stores;
    while (s != NULL && strcmp(s->name, name) != 0) {
        s = s->next;
    }
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        ASSERT(s != NULL);
        s->name = strdup(name);
        ASSERT(s->name != NULL && pthread_mutex_init(&s->lock, NULL) == 0);
        stop_init(&s->changed);
        s->next = stores;
        stores = s;
    }
    pthread_mutex_unlock(&stores_lock);
    return s;
}

static int open_memory(const char *url, void **out_state, struct err *e)
{
    static const char scheme[] = "memory://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0 || url[sizeof scheme - 1] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "\"%s\" is no queue in memory: write memory://NAME",
                       url);
    }
    struct handle *h = calloc(1, sizeof *h);
    ASSERT(h != NULL);
    h->store = store_of(url + sizeof scheme - 1);
    *out_state = h;
    return 0;
}

static void close_memory(void *state)
{
    free(state);
}

static struct store *locked(void *state)
{
    struct store *s = ((struct handle *)state)->store;
    pthread_mutex_lock(&s->lock);
    return s;
}

static void unlock(struct store *s, bool changed)
{
    pthread_mutex_unlock(&s->lock);
    if (changed) {
        stop_wake(&s->changed);
    }
}

static enum queue_place place_of(const struct message *m, int64_t now_ms)
{
    if (m->buried_ms != 0) {
        return QUEUE_DEAD;
    }
    if (m->until_ms <= now_ms) {
        return QUEUE_READY;
    }
    return m->leased ? QUEUE_LEASED : QUEUE_DELAYED;
}

/* Whether a is given out before b; both are ready. */
static bool goes_before(const struct message *a, const struct message *b)
{
    return a->until_ms != b->until_ms ? a->until_ms < b->until_ms : a->turn < b->turn;
}

/* Without a receipt. */
static struct queue_message copy_of(const struct message *m)
{
    struct queue_message copy = m->m;
    copy.body = malloc(m->m.body_len + 1);
    ASSERT(copy.body != NULL);
    memcpy(copy.body, m->m.body, m->m.body_len + 1);
    return copy;
}

/* --- put and take --- */
static struct message *message_of(struct store *s, const struct queue_item *item, int64_t now_ms)
{
    struct message *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    (void)snprintf(m->m.id, sizeof m->m.id, "%" PRIu64, ++s->numbers);
    (void)snprintf(m->m.lane, sizeof m->m.lane, "%s", item->lane);
    (void)snprintf(m->m.key, sizeof m->m.key, "%s", item->key != NULL ? item->key : "");
    m->m.body = calloc(1, item->body.len + 1);
    ASSERT(m->m.body != NULL);
    if (item->body.len > 0) {
        memcpy(m->m.body, item->body.ptr, item->body.len);
    }
    m->m.body_len = item->body.len;
    m->m.enqueued_ms = now_ms;
    m->until_ms = now_ms + item->delay_ms;
    m->turn = ++s->turns;
    return m;
}

static int put(void *state, const struct queue_item *items, size_t n, struct err *e)
{
    struct store *s = locked(state);
    struct message **end = &s->first;
    int64_t now_ms = clock_wall_ms();
    (void)e;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    for (size_t i = 0; i < n; i++) {
        *end = message_of(s, &items[i], now_ms);
        end = &(*end)->next;
    }
    unlock(s, true);
    return 0;
}

/* The next one of a lane, NULL if none is ready. */
static struct message *next_ready(struct store *s, const char *lane, int64_t now_ms)
{
    struct message *best = NULL;
    for (struct message *m = s->first; m != NULL; m = m->next) {
        if (strcmp(m->m.lane, lane) == 0 && place_of(m, now_ms) == QUEUE_READY &&
            (best == NULL || goes_before(m, best))) {
            best = m;
        }
    }
    return best;
}

static size_t take_ready(struct store *s, const struct queue_want *w, struct queue_message *out)
{
    int64_t now_ms = clock_wall_ms();
    size_t n = 0;
    for (struct message *m; n < w->max && (m = next_ready(s, w->lane, now_ms)) != NULL; n++) {
        m->leased = true;
        m->until_ms = now_ms + w->lease_ms;
        m->lease++;
        out[n] = copy_of(m);
        out[n].leased_until_ms = m->until_ms;
        (void)snprintf(out[n].receipt, sizeof out[n].receipt, "%s.%" PRIu64, m->m.id, m->lease);
    }
    return n;
}

/* How long nothing of the lane becomes ready by itself, at most timeout_ms. */
static int64_t quiet_ms(struct store *s, const char *lane, int64_t timeout_ms)
{
    int64_t now_ms = clock_wall_ms();
    for (const struct message *m = s->first; m != NULL; m = m->next) {
        if (strcmp(m->m.lane, lane) == 0 && m->buried_ms == 0 &&
            m->until_ms - now_ms < timeout_ms) {
            timeout_ms = m->until_ms > now_ms ? m->until_ms - now_ms : 0;
        }
    }
    return timeout_ms;
}

static int poll_memory(void *state, const struct queue_want *w, struct queue_message *out,
                       size_t *got, struct err *e)
{
    struct handle *h = state;
    int64_t until_ms = clock_mono_ms() + w->wait_ms;
    (void)e;
    for (;;) {
        uint64_t seen = stop_wakes(&h->store->changed);
        int64_t left_ms = until_ms - clock_mono_ms();
        struct store *s = locked(state);
        *got = take_ready(s, w, out);
        int64_t quiet = quiet_ms(s, w->lane, left_ms);
        unlock(s, false);
        if (*got > 0 || left_ms <= 0 || atomic_load(&h->interrupted)) {
            return 0;
        }
        (void)stop_wait(&h->store->changed, seen, quiet);
    }
}

static void wake(void *state)
{
    struct handle *h = state;
    atomic_store(&h->interrupted, true);
    stop_wake(&h->store->changed);
}

/* --- the holder of a lease --- */
/* Where the leased message stands in the list, NULL if the lease is another's by now. */
static struct message **held(struct store *s, const struct queue_message *receipt)
{
    char text[QUEUE_RECEIPT_SIZE];
    size_t len = strcspn(receipt->receipt, "+");
    for (struct message **at = &s->first; *at != NULL; at = &(*at)->next) {
        (void)snprintf(text, sizeof text, "%s.%" PRIu64, (*at)->m.id, (*at)->lease);
        if ((*at)->leased && strlen(text) == len && memcmp(text, receipt->receipt, len) == 0) {
            return at;
        }
    }
    return NULL;
}

static int lost(const struct queue_message *m, struct err *e)
{
    return err_set(e, ERR_CONFLICT, 0, "the lease of message %s is over", m->id);
}

static void remove_at(struct message **at)
{
    struct message *m = *at;
    *at = m->next;
    queue_message_fini(&m->m);
    free(m);
}

static int extend(void *state, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct store *s = locked(state);
    struct message **at = held(s, m);
    if (at != NULL) {
        (*at)->until_ms = clock_wall_ms() + lease_ms;
        m->leased_until_ms = (*at)->until_ms;
        (void)snprintf(m->receipt, sizeof m->receipt, "%s.%" PRIu64 "+%" PRId64, m->id,
                       (*at)->lease, m->leased_until_ms);
    }
    unlock(s, at != NULL);
    return at != NULL ? 0 : lost(m, e);
}

static int done(void *state, const struct queue_message *m, size_t n, struct err *e)
{
    struct store *s = locked(state);
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        struct message **at = held(s, &m[i]);
        if (at != NULL) {
            remove_at(at);
        } else {
            rc = lost(&m[i], e);
        }
    }
    unlock(s, false);
    return rc;
}

/* The lease is over; the message is ready from until_ms, or dead from buried_ms. */
static int give_back(void *state, const struct queue_message *m, const struct queue_return *r,
                     bool dead, struct err *e)
{
    struct store *s = locked(state);
    struct message **at = held(s, m);
    if (at != NULL) {
        struct message *back = *at;
        int64_t now_ms = clock_wall_ms();
        back->leased = false;
        back->until_ms = now_ms + r->delay_ms;
        back->turn = ++s->turns;
        back->buried_ms = dead ? now_ms : 0;
        back->m.attempts += r->spend_attempt ? 1 : 0;
        (void)snprintf(back->reason, sizeof back->reason, "%s", r->reason != NULL ? r->reason : "");
    }
    unlock(s, at != NULL);
    return at != NULL ? 0 : lost(m, e);
}

static int retry(void *state, const struct queue_message *m, const struct queue_return *r,
                 struct err *e)
{
    return give_back(state, m, r, false, e);
}

static int bury(void *state, const struct queue_message *m, const char *reason, struct err *e)
{
    struct queue_return r = {.reason = reason};
    return give_back(state, m, &r, true, e);
}

/* --- for people --- */
static struct queue_depth *depth_of(struct queue_depth **all, size_t *n, const char *lane)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp((*all)[i].lane, lane) == 0) {
            return &(*all)[i];
        }
    }
    *all = reallocarray(*all, *n + 1, sizeof **all);
    ASSERT(*all != NULL);
    struct queue_depth *d = &(*all)[(*n)++];
    *d = (struct queue_depth){.ready = 0};
    (void)snprintf(d->lane, sizeof d->lane, "%s", lane);
    return d;
}

static void count(struct queue_depth *d, const struct message *m, int64_t now_ms)
{
    int64_t *const places[] = {[QUEUE_READY] = &d->ready,
                               [QUEUE_LEASED] = &d->leased,
                               [QUEUE_DELAYED] = &d->delayed,
                               [QUEUE_DEAD] = &d->dead};
    enum queue_place place = place_of(m, now_ms);
    ++*places[place];
    if (place == QUEUE_READY && now_ms - m->until_ms > d->oldest_ready_ms) {
        d->oldest_ready_ms = now_ms - m->until_ms;
    }
}

static int depths(void *state, const char *lane, struct queue_depth **out, size_t *n, struct err *e)
{
    struct store *s = locked(state);
    int64_t now_ms = clock_wall_ms();
    struct queue_depth *all = NULL;
    size_t count_all = 0;
    (void)e;
    if (lane != NULL) {
        (void)depth_of(&all, &count_all, lane);
    }
    for (const struct message *m = s->first; m != NULL; m = m->next) {
        if (lane == NULL || strcmp(m->m.lane, lane) == 0) {
            count(depth_of(&all, &count_all, m->m.lane), m, now_ms);
        }
    }
    unlock(s, false);
    *out = all;
    *n = count_all;
    return 0;
}

static int64_t ahead_of(struct store *s, const struct message *one, int64_t now_ms)
{
    int64_t ahead = 0;
    for (const struct message *m = s->first; m != NULL; m = m->next) {
        ahead += strcmp(m->m.lane, one->m.lane) == 0 && place_of(m, now_ms) == QUEUE_READY &&
                 goes_before(m, one);
    }
    return ahead;
}

static struct queue_entry entry_of(struct store *s, const struct message *m, int64_t now_ms)
{
    struct queue_entry entry = {.message = copy_of(m), .place = place_of(m, now_ms)};
    bool later = entry.place == QUEUE_LEASED || entry.place == QUEUE_DELAYED;
    entry.due_ms = later ? m->until_ms : 0;
    entry.ahead = entry.place == QUEUE_READY ? ahead_of(s, m, now_ms) : -1;
    entry.buried_ms = m->buried_ms;
    (void)snprintf(entry.reason, sizeof entry.reason, "%s", m->reason);
    return entry;
}

struct pick { /* which messages are listed: NULL is any */
    const char *lane;
    const char *key;
    bool dead;
};

static bool picks(const struct pick *p, const struct message *m)
{
    return (p->lane == NULL || strcmp(m->m.lane, p->lane) == 0) &&
           (p->key == NULL || strcmp(m->m.key, p->key) == 0) && (!p->dead || m->buried_ms != 0);
}

static void list(void *state, const struct pick *p, size_t max, struct queue_entry **out, size_t *n)
{
    struct store *s = locked(state);
    int64_t now_ms = clock_wall_ms();
    *out = NULL;
    *n = 0;
    for (const struct message *m = s->first; m != NULL && *n < max; m = m->next) {
        if (picks(p, m)) {
            *out = reallocarray(*out, *n + 1, sizeof **out);
            ASSERT(*out != NULL);
            (*out)[(*n)++] = entry_of(s, m, now_ms);
        }
    }
    unlock(s, false);
}

static int dead(void *state, const char *lane, size_t max, struct queue_entry **out, size_t *n,
                struct err *e)
{
    (void)e;
    list(state, &(struct pick){.lane = lane, .dead = true}, max, out, n);
    return 0;
}

static int find(void *state, const char *key, size_t max, struct queue_entry **out, size_t *n,
                struct err *e)
{
    (void)e;
    list(state, &(struct pick){.key = key}, max, out, n);
    return 0;
}

static struct message **dead_at(struct store *s, const char *id)
{
    for (struct message **at = &s->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->buried_ms != 0 && strcmp((*at)->m.id, id) == 0) {
            return at;
        }
    }
    return NULL;
}

static int not_dead(const char *id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "no message %s is among the dead letters", id);
}

static int kick(void *state, const char *id, struct err *e)
{
    struct store *s = locked(state);
    struct message **at = dead_at(s, id);
    if (at != NULL) {
        (*at)->buried_ms = 0;
        (*at)->until_ms = clock_wall_ms();
        (*at)->turn = ++s->turns;
        (*at)->m.attempts = 0;
    }
    unlock(s, at != NULL);
    return at != NULL ? 0 : not_dead(id, e);
}

static int drop(void *state, const char *id, struct err *e)
{
    struct store *s = locked(state);
    struct message **at = dead_at(s, id);
    if (at != NULL) {
        remove_at(at);
    }
    unlock(s, false);
    return at != NULL ? 0 : not_dead(id, e);
}

static int ping(void *state, struct err *e)
{
    (void)state;
    (void)e;
    return 0;
}

static const struct queue_admin_ops admin = {
    .dead = dead, .find = find, .kick = kick, .drop = drop};

const struct queue_ops queue_ops_memory = {
    .scheme = "memory",
    .can = QUEUE_DEPTHS,
    .open = open_memory,
    .close = close_memory,
    .put = put,
    .poll = poll_memory,
    .wake = wake,
    .extend = extend,
    .done = done,
    .retry = retry,
    .bury = bury,
    .depths = depths,
    .admin = &admin,
    .ping = ping,
};
