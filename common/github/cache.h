/*
 * A cache in which one thread fetches a missing value while the others wait for it.
 *
 * Keys and values are short texts: installation tokens, installation ids, runner groups. A value
 * has two times (wall clock). Until `fresh_ms` it is returned as it is; from then to `valid_ms` it
 * is still returned while one thread renews it, and also if the renewal fails; after that it has
 * expired. Threads that waited for a failed fetch get its error and do not fetch again one by one.
 * Above CACHE_ENTRIES_MAX the entry that expires first is evicted. Removed values are wiped. Any
 * thread.
 */
#ifndef MAYFLY_GITHUB_CACHE_H
#define MAYFLY_GITHUB_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

#define CACHE_ENTRIES_MAX 1024
#define CACHE_KEY_BYTES 320

struct github_cache;

/* The result of a fetch. `value` is initialised and empty. */
struct github_fetched {
    struct buf value;
    int64_t fresh_ms;
    int64_t valid_ms;
};
typedef int github_fetch_fn(void *arg, struct github_fetched *out, struct err *e);

struct github_cache *github_cache_new(void);
void github_cache_free(struct github_cache *c);

/* Appends the value of `key` to *out, from the cache or by one call of `fetch` (without the lock).
 * Waits for a fetch in progress. *cached (may be NULL): whether it was cached before this call. */
MUST_CHECK int github_cache_get(struct github_cache *c, const char *key, github_fetch_fn *fetch,
                                void *arg, struct buf *out, bool *cached, struct err *e);

/* Appends the value of `key` to *out if it is there and valid; makes no call. */
bool github_cache_peek(struct github_cache *c, const char *key, struct buf *out);

/* How long ago this value of `key` was fetched (wall clock); INT64_MAX if it is not there now. */
int64_t github_cache_age_ms(struct github_cache *c, const char *key, struct slice value);

/* Removes `key` if it still has this value: a newer one, fetched meanwhile, stays. */
void github_cache_drop(struct github_cache *c, const char *key, struct slice value);

/* The number of threads that wait for another thread's fetch; for tests. */
size_t github_cache_waiting(struct github_cache *c);

#endif
