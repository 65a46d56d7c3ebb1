/*
 * Durations and sizes as an operator writes them: one whole number and one unit, "90s", "512MiB".
 *
 * Durations have ms, s, m, h or d (a day is 24 hours) and are int64_t milliseconds; sizes have B,
 * KiB, MiB, GiB or TiB and are int64_t bytes. A number without a unit is refused, zero too: "0s".
 * Pure functions. The sentence about a refused value never holds the value itself, which may come
 * from where a secret was meant.
 */
#ifndef MAYFLY_BASE_QUANTITY_H
#define MAYFLY_BASE_QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/slice.h"

enum quantity_kind { QUANTITY_DURATION, QUANTITY_SIZE };

struct quantity {
    enum quantity_kind kind;
    int64_t min; /* >= 0 */
    int64_t max;
    const char *example; /* a good value, for the sentence; NULL takes the maximum */
};

#define QUANTITY_TEXT_SIZE 32

/* Reads `value` into *out. On failure returns false, leaves *out and appends a predicate, without
 * subject and full stop: "has no unit: …", "must be from 1s to 1h". `why`: borrowed, initialised.
 */
MUST_CHECK bool quantity_read(const struct quantity *q, struct slice value, int64_t *out,
                              struct buf *why);

/* Writes the exact amount in the largest unit that divides it: 90000 ms is "90s", 3600000 "1h", 0
 * "0s" or "0B". Returns `out`. */
const char *quantity_text(enum quantity_kind kind, int64_t amount, char out[QUANTITY_TEXT_SIZE]);

#endif
