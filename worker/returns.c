#include "worker/returns.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/random.h"

#define RACE_DELAY_MS 20
#define FULL_DELAY_MS 1000
#define APART_MIN_MS 50 /* two returns of one repository: twenty a second in each worker */
#define APART_MAX_MS 500
#define DENSE_AFTER_MS (60 * 1000) /* later than this they come as close as they may */
#define DELAY_MAX_MS (15 * 60 * 1000)
#define PLACES 8 /* for one repository to choose from */

/* A repository with many slots has one released more often. */
static int64_t apart_ms(int64_t cap)
{
    int64_t apart = FULL_DELAY_MS / (cap > 0 ? cap : 1);
    return apart < APART_MIN_MS ? APART_MIN_MS : apart > APART_MAX_MS ? APART_MAX_MS : apart;
}

/* Its own place of the PLACES, or the one whose last message is back first. A
 * repository that loses its place begins again: its messages come closer together, but no repository
 * waits for another. */
static struct worker_return *place_of(struct worker *w, uint64_t hash)
{
    struct worker_return *places =
        &w->returns[(hash ^ hash >> 40) % (WORKER_RETURNS / PLACES) * PLACES];
    struct worker_return *found = places;
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].repository == hash) {
            return &places[i];
        }
        found = places[i].at_ms < found->at_ms ? &places[i] : found;
    }
    *found = (struct worker_return){.repository = hash};
    return found;
}

static int64_t next_turn_ms(struct worker *w, const char *repository, int64_t cap)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t key; /* random, so that nobody can choose names that share places */
    int64_t now = clock_mono_ms();
    (void)pthread_mutex_lock(&lock);
    if (key == 0) {
        random_bytes(&key, sizeof key);
    }
    struct worker_return *place = place_of(w, hash_bytes(key, slice_of(repository)));
    int64_t last = place->at_ms;
    int64_t at = last + (last > now + DENSE_AFTER_MS ? APART_MIN_MS : apart_ms(cap));
    at = at < now + FULL_DELAY_MS ? now + FULL_DELAY_MS : at;
    at = at > now + DELAY_MAX_MS ? now + DELAY_MAX_MS : at;
    place->at_ms = at;
    (void)pthread_mutex_unlock(&lock);
    return at - now;
}

int64_t returns_delay_ms(struct worker *w, const struct config *c,
                         const struct ledger_reservation *r, const char *repository)
{
    switch (r->outcome) {
    case LEDGER_FULL_FLEET:
    case LEDGER_FULL_CLASS:
    case LEDGER_FULL_TARGET:
        return RACE_DELAY_MS;
    case LEDGER_RATE:
        return r->wait_ms > 0 ? r->wait_ms : FULL_DELAY_MS;
    case LEDGER_FULL_REPOSITORY:
    case LEDGER_RESERVED:
    case LEDGER_SATISFIED:
    case LEDGER_OBSOLETE:
        break;
    }
    return next_turn_ms(w, repository, c->limits.max_vms_per_repository);
}
