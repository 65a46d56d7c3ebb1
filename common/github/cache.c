#include "common/github/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

#define RENEWAL_PAUSE_MS 10000

/* At most one thread fetches an entry (`fetching`). `round` counts finished fetches, so that a
 * waiting thread detects the end of the one it waits for. An entry in use by threads that fetch or
 * wait (users > 0) is not moved or removed. */
struct entry {
    char *key;
    char *value; /* NULL: none */
    size_t value_len;
    int64_t fetched_ms;
    int64_t fresh_ms;
    int64_t valid_ms;
    uint64_t round;
    bool fetching;
    size_t users;
    struct err failure; /* of the last fetch; class ERR_NONE if it succeeded */
};

struct github_cache {
    pthread_mutex_t lock; /* protects all members */
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

static struct entry *find_entry(struct github_cache *c, const char *key)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->entries[i]->key, key) == 0) {
            return c->entries[i];
        }
    }
    return NULL;
}

/* Evicts the unused entry that expires first. */
static void evict_entry(struct github_cache *c)
{
    size_t victim = c->count;
    for (size_t i = 0; i < c->count; i++) {
        const struct entry *n = c->entries[i];
        if (n->users == 0 && (victim == c->count || n->valid_ms < c->entries[victim]->valid_ms)) {
            victim = i;
        }
    }
    ASSERT(victim < c->count); /* there are more entries than threads */
    entry_free(c->entries[victim]);
    c->entries[victim] = c->entries[--c->count];
}

static struct entry *find_or_add(struct github_cache *c, const char *key)
{
    struct entry *n = find_entry(c, key);
    if (n != NULL) {
        return n;
    }
    if (c->count == CACHE_ENTRIES_MAX) {
        evict_entry(c);
    }
    n = calloc(1, sizeof *n);
    ASSERT(n != NULL);
    n->key = slice_dup(slice_of(key));
    c->entries[c->count++] = n;
    return n;
}

static void store_value(struct entry *n, struct github_fetched *got)
{
    forget_value(n);
    n->value_len = got->value.len;
    n->value = buf_take(&got->value);
    n->fetched_ms = clock_wall_ms();
    n->fresh_ms = got->fresh_ms;
    n->valid_ms = got->valid_ms;
}

/* After a failed renewal of a value that is still valid: delays the next attempt, so that not every
 * call retries. */
static void postpone_renewal(struct entry *n)
{
    int64_t later_ms = clock_wall_ms() + RENEWAL_PAUSE_MS;
    if (n->value != NULL) {
        n->fresh_ms = later_ms < n->valid_ms ? later_ms : n->valid_ms;
    }
}

/* The lock is held on entry and on return, but not in between. */
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
        store_value(n, &got);
    } else {
        postpone_renewal(n);
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

bool github_cache_peek(struct github_cache *c, const char *key, struct buf *out)
{
    pthread_mutex_lock(&c->lock);
    const struct entry *n = find_entry(c, key);
    bool found = n != NULL && still_valid(n);
    if (found) {
        buf_append(out, (struct slice){n->value, n->value_len});
    }
    pthread_mutex_unlock(&c->lock);
    return found;
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

/* Ensures a value if possible. Returns whether it was cached before. */
static bool ensure_value(struct github_cache *c, struct entry *n, github_fetch_fn *fetch, void *arg)
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
    bool before = ensure_value(c, n, fetch, arg);
    if (cached != NULL) {
        *cached = before;
    }
    if (n->value != NULL && (n->failure.class == ERR_NONE || still_valid(n))) {
        buf_append(out, (struct slice){n->value, n->value_len});
    } else if (n->failure.class != ERR_NONE) {
        *e = n->failure;
        rc = -1;
    } else {
        rc = err_set(e, ERR_RETRY, 0, "the fetched value was invalidated at once: try again");
    }
    n->users--;
    pthread_mutex_unlock(&c->lock);
    return rc;
}

static bool has_value(const struct entry *n, struct slice value)
{
    return n != NULL && n->value != NULL && slice_eq((struct slice){n->value, n->value_len}, value);
}

int64_t github_cache_age_ms(struct github_cache *c, const char *key, struct slice value)
{
    pthread_mutex_lock(&c->lock);
    const struct entry *n = find_entry(c, key);
    int64_t age_ms = has_value(n, value) ? clock_wall_ms() - n->fetched_ms : INT64_MAX;
    pthread_mutex_unlock(&c->lock);
    return age_ms;
}

void github_cache_drop(struct github_cache *c, const char *key, struct slice value)
{
    pthread_mutex_lock(&c->lock);
    struct entry *n = find_entry(c, key);
    if (has_value(n, value)) {
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
