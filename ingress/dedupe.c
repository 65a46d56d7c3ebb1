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

struct entry {
    char guid[GUID_BYTES];
    uint32_t next; /* in the chain of its bucket */
};

struct dedupe {
    pthread_mutex_t lock; /* guards all below */
    struct entry *ring;
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
    d->buckets = malloc(buckets * sizeof d->buckets[0]);
    ASSERT(d->ring != NULL && d->buckets != NULL);
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
    free(d->buckets);
    free(d);
}

/* A final mix, since the low bits choose the bucket. */
static uint32_t *guid_bucket(const struct dedupe *d, const char *guid)
{
    uint64_t hash = hash_bytes(d->seed, slice_of(guid));
    hash ^= hash >> 32;
    return &d->buckets[hash & d->bucket_mask];
}

static bool find_locked(const struct dedupe *d, const char *guid)
{
    for (uint32_t i = *guid_bucket(d, guid); i != NONE; i = d->ring[i].next) {
        if (strcmp(d->ring[i].guid, guid) == 0) {
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
    pthread_mutex_lock(&d->lock);
    bool seen = find_locked(d, guid);
    pthread_mutex_unlock(&d->lock);
    return seen;
}

static void forget_locked(struct dedupe *d, uint32_t index)
{
    uint32_t *link = guid_bucket(d, d->ring[index].guid);
    while (*link != index) {
        ASSERT(*link != NONE);
        link = &d->ring[*link].next;
    }
    *link = d->ring[index].next;
}

static void add_locked(struct dedupe *d, const char *guid, size_t len)
{
    uint32_t index = (uint32_t)d->oldest;
    if (d->count == d->capacity) {
        forget_locked(d, index);
        metric_inc(d->forgotten);
    } else {
        d->count++;
    }
    d->oldest = (d->oldest + 1) % d->capacity;
    uint32_t *bucket = guid_bucket(d, guid);
    memcpy(d->ring[index].guid, guid, len + 1);
    d->ring[index].next = *bucket;
    *bucket = index;
}

void dedupe_add(struct dedupe *d, const char *guid)
{
    size_t len = strlen(guid);
    if (d->capacity == 0 || len >= GUID_BYTES) {
        return;
    }
    pthread_mutex_lock(&d->lock);
    if (!find_locked(d, guid)) {
        add_locked(d, guid, len);
    }
    pthread_mutex_unlock(&d->lock);
}
