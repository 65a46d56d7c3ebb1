#include "ingress/dedupe.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/hash.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#define GUID_BYTES 64
#define NONE UINT32_MAX

/* Of the GUID at the same index. Apart from it, so that a search stays in the processor's cache. */
struct link {
    uint32_t hash;
    uint32_t next; /* in the chain of its bucket */
};

struct dedupe {
    pthread_mutex_t lock; /* guards all below */
    char (*ring)[GUID_BYTES];
    struct link *links;
    size_t capacity;
    size_t count;
    size_t oldest; /* the entry that the next one replaces once the ring is full */
    uint32_t *buckets;
    size_t bucket_mask;
    struct metric *forgotten;
    uint64_t seed; /* of the hash, so that no peer can choose colliding GUIDs */
};

struct dedupe *dedupe_new(size_t entries)
{
    struct dedupe *d = calloc(1, sizeof *d);
    size_t buckets = 1;
    ASSERT(d != NULL && entries < NONE);
    ASSERT(pthread_mutex_init(&d->lock, NULL) == 0);
    if (entries == 0) {
        return d;
    }
    while (buckets < entries) {
        buckets *= 2;
    }
    d->forgotten = metrics_counter("mayfly_ingress_dedupe_forgotten_total", "");
    d->capacity = entries;
    d->bucket_mask = buckets - 1;
    d->ring = calloc(entries, sizeof d->ring[0]);
    d->links = calloc(entries, sizeof d->links[0]);
    d->buckets = malloc(buckets * sizeof d->buckets[0]);
    ASSERT(d->ring != NULL && d->links != NULL && d->buckets != NULL);
    for (size_t i = 0; i < buckets; i++) {
        d->buckets[i] = NONE;
    }
    random_bytes(&d->seed, sizeof d->seed);
    return d;
}

void dedupe_free(struct dedupe *d)
{
    if (d == NULL) {
        return;
    }
    pthread_mutex_destroy(&d->lock);
    free(d->ring);
    free(d->links);
    free(d->buckets);
    free(d);
}

/* A final mix, since the low bits choose the bucket. */
static uint32_t hash_of(const struct dedupe *d, struct slice guid)
{
    uint64_t hash = hash_bytes(d->seed, guid);
    return (uint32_t)(hash ^ (hash >> 32));
}

static uint32_t *bucket_of(const struct dedupe *d, uint32_t hash)
{
    return &d->buckets[hash & d->bucket_mask];
}

static bool find_locked(const struct dedupe *d, const char *guid, uint32_t hash)
{
    for (uint32_t i = *bucket_of(d, hash); i != NONE; i = d->links[i].next) {
        if (d->links[i].hash == hash && strcmp(d->ring[i], guid) == 0) {
            return true;
        }
    }
    return false;
}

bool dedupe_seen(struct dedupe *d, const char *guid)
{
    if (d->capacity == 0) {
        return false;
    }
    uint32_t hash = hash_of(d, slice_of(guid));
    pthread_mutex_lock(&d->lock);
    bool seen = find_locked(d, guid, hash);
    pthread_mutex_unlock(&d->lock);
    return seen;
}

static void forget_locked(struct dedupe *d, uint32_t index)
{
    uint32_t *link = bucket_of(d, d->links[index].hash);
    while (*link != index) {
        ASSERT(*link != NONE);
        link = &d->links[*link].next;
    }
    *link = d->links[index].next;
}

static void add_locked(struct dedupe *d, struct slice guid, uint32_t hash)
{
    uint32_t index = (uint32_t)d->oldest;
    if (d->count == d->capacity) {
        forget_locked(d, index);
        metric_inc(d->forgotten);
    } else {
        d->count++;
    }
    d->oldest = (d->oldest + 1) % d->capacity;
    uint32_t *bucket = bucket_of(d, hash);
    memcpy(d->ring[index], guid.ptr, guid.len);
    d->ring[index][guid.len] = '\0';
    d->links[index] = (struct link){.hash = hash, .next = *bucket};
    *bucket = index;
}

void dedupe_add(struct dedupe *d, const char *guid)
{
    struct slice text = slice_of(guid);
    if (d->capacity == 0 || text.len >= GUID_BYTES) {
        return;
    }
    uint32_t hash = hash_of(d, text);
    pthread_mutex_lock(&d->lock);
    if (!find_locked(d, guid, hash)) {
        add_locked(d, text, hash);
    }
    pthread_mutex_unlock(&d->lock);
}
