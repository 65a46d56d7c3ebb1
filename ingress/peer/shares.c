#include "ingress/peer/shares.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/random.h"

#define BUCKET_BITS_MIN 4
#define BUCKET_BITS_MAX 20
#define V6_PEER_BITS 64

__extension__ typedef unsigned __int128 wide;

struct share {
    struct share *next; /* in its bucket */
    struct shares *home;
    uint64_t peer; /* its address, or the first half of it */
    bool v6;
    size_t connections; /* under the lock */
    size_t bytes;       /* atomic */
};

struct shares {
    struct shares_limits limits;
    size_t bytes; /* atomic */
    pthread_mutex_t lock;
    struct share **buckets;
    unsigned bucket_bits;
    size_t count;
    wide factor; /* random, as the next one */
    wide term;
};

/* --- the table ---------------------------------------------------------------------------------- */

struct shares *shares_new(const struct shares_limits *limits)
{
    struct shares *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->limits = *limits;
    s->bucket_bits = BUCKET_BITS_MIN;
    while (((size_t)1 << s->bucket_bits) < limits->connections &&
           s->bucket_bits < BUCKET_BITS_MAX) {
        s->bucket_bits++;
    }
    s->buckets = calloc((size_t)1 << s->bucket_bits, sizeof(struct share *));
    ASSERT(s->buckets != NULL && pthread_mutex_init(&s->lock, NULL) == 0);
    random_bytes(&s->factor, sizeof s->factor);
    random_bytes(&s->term, sizeof s->term);
    return s;
}

void shares_free(struct shares *s)
{
    if (s == NULL) {
        return;
    }
    ASSERT(s->count == 0 && shares_bytes(s) == 0);
    pthread_mutex_destroy(&s->lock);
    free(s->buckets);
    free(s);
}

static uint64_t peer_number(const struct ip_address *a)
{
    uint64_t number = 0;
    for (size_t i = 0; i < (a->v6 ? V6_PEER_BITS / 8 : 4); i++) {
        number = number << 8 | a->bytes[i];
    }
    return number;
}

/* Peers choose their addresses, so that a known function would let them meet in one bucket.
 * Multiply-shift with random numbers (Dietzfelbinger 1996): whatever two peers are chosen, they
 * share a bucket with the probability of any two. */
static struct share **bucket_of(struct shares *s, uint64_t peer)
{
    return &s->buckets[(size_t)((s->factor * peer + s->term) >> (128 - s->bucket_bits))];
}

/* The place of the peer's account in its bucket, or of the NULL at its end. */
static struct share **find_place(struct shares *s, const struct ip_address *a, uint64_t peer)
{
    struct share **at = bucket_of(s, peer);
    while (*at != NULL && ((*at)->peer != peer || (*at)->v6 != a->v6)) {
        at = &(*at)->next;
    }
    return at;
}

static struct share *add_account(struct shares *s, struct share **place, const struct ip_address *a,
                                 uint64_t peer)
{
    struct share *share = calloc(1, sizeof *share);
    ASSERT(share != NULL);
    *share = (struct share){.home = s, .peer = peer, .v6 = a->v6};
    *place = share;
    s->count++;
    return share;
}

struct share *shares_join(struct shares *s, const struct ip_address *peer)
{
    struct ip_address a = ip_address_unmapped(peer);
    uint64_t number = peer_number(&a);
    pthread_mutex_lock(&s->lock);
    struct share **place = find_place(s, &a, number);
    struct share *share = *place;
    if (share != NULL && share->connections >= s->limits.peer_connections) {
        share = NULL;
    } else {
        share = share != NULL ? share : add_account(s, place, &a, number);
        share->connections++;
    }
    pthread_mutex_unlock(&s->lock);
    return share;
}

void shares_leave(struct share *share)
{
    struct shares *s = share->home;
    pthread_mutex_lock(&s->lock);
    ASSERT(share->connections > 0);
    share->connections--;
    if (share->connections == 0) {
        struct share **at = bucket_of(s, share->peer);
        while (*at != share) {
            at = &(*at)->next;
        }
        ASSERT(__atomic_load_n(&share->bytes, __ATOMIC_RELAXED) == 0);
        *at = share->next;
        free(share);
        s->count--;
    }
    pthread_mutex_unlock(&s->lock);
}

const struct share *shares_find(struct shares *s, const struct ip_address *peer)
{
    struct ip_address a = ip_address_unmapped(peer);
    pthread_mutex_lock(&s->lock);
    const struct share *share = *find_place(s, &a, peer_number(&a));
    pthread_mutex_unlock(&s->lock);
    return share;
}

size_t shares_count(struct shares *s)
{
    pthread_mutex_lock(&s->lock);
    size_t count = s->count;
    pthread_mutex_unlock(&s->lock);
    return count;
}

/* --- bytes -------------------------------------------------------------------------------------- */

/* Adds n unless the sum would exceed the limit. Never above it, not even for a moment, which would
 * refuse others. */
static bool add_within(size_t *sum, size_t n, size_t limit)
{
    size_t now = __atomic_load_n(sum, __ATOMIC_RELAXED);
    do {
        if (n > limit || now > limit - n) {
            return false;
        }
    } while (
        !__atomic_compare_exchange_n(sum, &now, now + n, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static void subtract(size_t *sum, size_t n)
{
    size_t before = __atomic_fetch_sub(sum, n, __ATOMIC_RELAXED);
    ASSERT(before >= n);
}

enum shares_verdict shares_reserve(struct shares *s, struct share *share, size_t n)
{
    if (share != NULL && !add_within(&share->bytes, n, s->limits.peer_bytes)) {
        return SHARES_PEER_FULL;
    }
    if (!add_within(&s->bytes, n, s->limits.bytes)) {
        if (share != NULL) {
            subtract(&share->bytes, n);
        }
        return SHARES_FULL;
    }
    return SHARES_GRANTED;
}

void shares_release(struct shares *s, struct share *share, size_t n)
{
    subtract(&s->bytes, n);
    if (share != NULL) {
        subtract(&share->bytes, n);
    }
}

size_t shares_bytes(const struct shares *s)
{
    return __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);
}
