/*
 * A cache in which one thread fetches what is missing while the others wait for it.
 *
 * Keys and values are short texts: installation tokens, installation ids, runner groups. A value
 * has two times (wall clock): until `fresh_ms` it is handed out; from then to `valid_ms` it still
 * is, while one thread renews it, and also when the renewal fails; after that it is gone. Those who
 * waited for a fetch that failed get its error instead of asking again one by one. Bounded: past
 * CACHE_ENTRIES_MAX the entry that expires first goes. Values are wiped when they go. Any thread.
 */
#ifndef MAYFLY_GITHUB_CACHE_H
#define MAYFLY_GITHUB_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define CACHE_ENTRIES_MAX 1024
#define CACHE_KEY_BYTES 320

struct github_cache;

/* What a fetch brings. `value` is initialised and empty. */
struct github_fetched {
    struct buf value;
    int64_t fresh_ms;
    int64_t valid_ms;
};
typedef int github_fetch_fn(void *arg, struct github_fetched *out, struct err *e);

struct github_cache *github_cache_new(void);
void github_cache_free(struct github_cache *c);

/* Appends the value of `key` to *out, from the cache or by one call of `fetch` (without the lock).
 * Waits for a fetch under way. *cached (may be NULL) says whether it was there before this call.
 */
MUST_CHECK int github_cache_get(struct github_cache *c, const char *key, github_fetch_fn *fetch,
                                void *arg, struct buf *out, bool *cached, struct err *e);

/* Forgets `key` if its value still is this one: a newer one, fetched meanwhile, stays. */
void github_cache_drop(struct github_cache *c, const char *key, struct slice value);

/* How many threads wait for somebody else's fetch now: for tests. */
size_t github_cache_waiting(struct github_cache *c);

#endif
