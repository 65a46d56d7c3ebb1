#include "worker/returns.h"

#include "common/base/clock.h"
#include "common/base/hash.h"

#define RACE_DELAY_MS 20
#define FULL_DELAY_MS 1000
#define APART_MIN_MS 50 /* two returns of one repository: twenty a second in each worker */
#define APART_MAX_MS 500
#define DENSE_AFTER_MS (60 * 1000) /* later than this they come as close as they may */
#define DELAY_MAX_MS (15 * 60 * 1000)

/* A repository with many slots has one released more often. */
static int64_t apart_ms(int64_t cap)
{
    int64_t apart = FULL_DELAY_MS / (cap > 0 ? cap : 1);
    return apart < APART_MIN_MS ? APART_MIN_MS : apart > APART_MAX_MS ? APART_MAX_MS : apart;
}

/* Repositories with the same place in the table share their turns, which harms none. */
static int64_t next_turn_ms(struct worker *w, const char *repository, int64_t cap)
{
    int64_t *last_ms = &w->returned_ms[hash_text(repository) % WORKER_RETURNS];
    int64_t now = clock_mono_ms();
    int64_t last = __atomic_load_n(last_ms, __ATOMIC_RELAXED);
    int64_t at;
    do {
        at = last + (last > now + DENSE_AFTER_MS ? APART_MIN_MS : apart_ms(cap));
        at = at < now + FULL_DELAY_MS ? now + FULL_DELAY_MS : at;
        at = at > now + DELAY_MAX_MS ? now + DELAY_MAX_MS : at;
    } while (
        !__atomic_compare_exchange_n(last_ms, &last, at, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return at - now;
}

int64_t returns_delay_ms(struct worker *w, const struct config *c,
                         const struct ledger_reservation *r, const char *repository)
{
    switch (r->outcome) {
    case LEDGER_FULL_FLEET:
    case LEDGER_FULL_CLASS:
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
