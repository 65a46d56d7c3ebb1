#include "common/github/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#define RENEWAL_PAUSE_MS 10000

/* A fetch is either finished (fetching false) or one thread's. `round` counts the finished ones, so
 * that a waiting thread knows when the one it waited for is over. An entry that is being fetched or
 * waited for (users > 0) stays where it is. */
struct entry {
    char *key;
    char *value; /* NULL: none */
    size_t value_len;
    int64_t fresh_ms;
    int64_t valid_ms;
    uint64_t round;
    bool fetching;
    size_t users;
    struct err failure; /* of the last round; class ERR_NONE when it succeeded */
};

struct github_cache {
    pthread_mutex_t lock; /* over everything here */
    pthread_cond_t finished;
    struct entry *entries[CACHE_ENTRIES_MAX];
    size_t count;
    size_t waiting;
};

struct github_cache *github_cache_new(void)
{
    struct github_cache *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&c->finished, NULL) == 0);
    return c;
}

static void forget_value(struct entry *n)
{
    if (n->value != NULL) {
        explicit_bzero(n->value, n->value_len);
        free(n->value);
    }
    n->value = NULL;
    n->value_len = 0;
    n->fresh_ms = 0;
    n->valid_ms = 0;
}

static void entry_free(struct entry *n)
{
    forget_value(n);
    free(n->key);
    free(n);
}

void github_cache_free(struct github_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->count; i++) {
        ASSERT(c->entries[i]->users == 0);
        entry_free(c->entries[i]);
    }
    pthread_cond_destroy(&c->finished);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static struct entry *find(struct github_cache *c, const char *key)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->entries[i]->key, key) == 0) {
            return c->entries[i];
        }
    }
    return NULL;
}

/* Lets the unused entry go that expires first. */
static void evict(struct github_cache *c)
{
    size_t victim = c->count;
    for (size_t i = 0; i < c->count; i++) {
        const struct entry *n = c->entries[i];
        if (n->users == 0 && (victim == c->count || n->valid_ms < c->entries[victim]->valid_ms)) {
            victim = i;
        }
    }
    ASSERT(victim < c->count); /* there are fewer threads than entries */
    entry_free(c->entries[victim]);
    c->entries[victim] = c->entries[--c->count];
}

static struct entry *find_or_add(struct github_cache *c, const char *key)
{
    struct entry *n = find(c, key);
    if (n != NULL) {
        return n;
    }
    if (c->count == CACHE_ENTRIES_MAX) {
        evict(c);
    }
    n = calloc(1, sizeof *n);
    ASSERT(n != NULL);
    n->key = slice_dup(slice_of(key));
    c->entries[c->count++] = n;
    return n;
}

static void store(struct entry *n, struct github_fetched *got)
{
    forget_value(n);
    n->value_len = got->value.len;
    n->value = buf_take(&got->value);
    n->fresh_ms = got->fresh_ms;
    n->valid_ms = got->valid_ms;
}

/* A renewal failed and the value is good for a while: not every call shall try again at once. */
static void postpone(struct entry *n)
{
    int64_t later_ms = clock_wall_ms() + RENEWAL_PAUSE_MS;
    if (n->value != NULL) {
        n->fresh_ms = later_ms < n->valid_ms ? later_ms : n->valid_ms;
    }
}

/* With the lock held on entry and on return, and without it in between. */
static void fetch_now(struct github_cache *c, struct entry *n, github_fetch_fn *fetch, void *arg)
{
    struct github_fetched got = {.fresh_ms = 0};
    struct err failure = {.class = ERR_NONE};
    n->fetching = true;
    pthread_mutex_unlock(&c->lock);
    buf_init(&got.value, (size_t)64 * 1024);
    int rc = fetch(arg, &got, &failure);
    ASSERT(rc != 0 || !got.value.failed);
    pthread_mutex_lock(&c->lock);
    if (rc == 0) {
        store(n, &got);
    } else {
        postpone(n);
    }
    if (got.value.data != NULL) {
        explicit_bzero(got.value.data, got.value.cap);
    }
    buf_fini(&got.value);
    n->failure = failure;
    if (rc == 0) {
        n->failure.class = ERR_NONE;
    }
    n->fetching = false;
    n->round++;
    pthread_cond_broadcast(&c->finished);
}

static bool still_valid(const struct entry *n)
{
    return n->value != NULL && clock_wall_ms() < n->valid_ms;
}

static void wait_for_round(struct github_cache *c, const struct entry *n)
{
    uint64_t round = n->round;
    c->waiting++;
    while (n->round == round) {
        pthread_cond_wait(&c->finished, &c->lock);
    }
    c->waiting--;
}

/* Makes the value there, if it can be. Returns whether it was before. */
static bool provide(struct github_cache *c, struct entry *n, github_fetch_fn *fetch, void *arg)
{
    if (n->value != NULL && clock_wall_ms() < n->fresh_ms) {
        return true;
    }
    if (n->fetching && still_valid(n)) {
        return true;
    }
    if (n->fetching) {
        wait_for_round(c, n);
        return false;
    }
    fetch_now(c, n, fetch, arg);
    return n->failure.class != ERR_NONE && still_valid(n);
}

int github_cache_get(struct github_cache *c, const char *key, github_fetch_fn *fetch, void *arg,
                     struct buf *out, bool *cached, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    struct entry *n = find_or_add(c, key);
    n->users++;
    bool before = provide(c, n, fetch, arg);
    if (cached != NULL) {
        *cached = before;
    }
    if (n->value != NULL && (n->failure.class == ERR_NONE || still_valid(n))) {
        buf_append(out, (struct slice){n->value, n->value_len});
    } else if (n->failure.class != ERR_NONE) {
        *e = n->failure;
        rc = -1;
    } else {
        rc = err_set(e, ERR_RETRY, 0, "what was fetched was dropped at once: try again");
    }
    n->users--;
    pthread_mutex_unlock(&c->lock);
    return rc;
}

void github_cache_drop(struct github_cache *c, const char *key, struct slice value)
{
    pthread_mutex_lock(&c->lock);
    struct entry *n = find(c, key);
    if (n != NULL && n->value != NULL && slice_eq((struct slice){n->value, n->value_len}, value)) {
        forget_value(n);
    }
    pthread_mutex_unlock(&c->lock);
}

size_t github_cache_waiting(struct github_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t waiting = c->waiting;
    pthread_mutex_unlock(&c->lock);
    return waiting;
}
