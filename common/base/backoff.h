/*
 * Exponential back-off with full jitter, as a pure function of the attempt and a random number.
 *
 * Full jitter (each wait uniform between zero and the exponential ceiling) spreads simultaneous
 * retries best; see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
#ifndef MAYFLY_BASE_BACKOFF_H
#define MAYFLY_BASE_BACKOFF_H

#include <stdint.h>

/* The ceiling before attempt number `attempt` (1 = first retry): min(cap_ms, base_ms *
 * 2^(attempt-1)). base_ms >= 1, cap_ms >= base_ms, attempt >= 1 (smaller counts as 1). */
int64_t backoff_ceiling_ms(int64_t base_ms, int64_t cap_ms, int attempt);

/* A wait in [1, ceiling] ms drawn with common/base/random. */
int64_t backoff_full_jitter_ms(int64_t base_ms, int64_t cap_ms, int attempt);

#endif
