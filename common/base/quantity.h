/*
 * Durations and sizes in configuration and on the command line: a number and its unit, "90s",
 * "1.5h", "512MiB", or several with falling units, "1h30m".
 *
 * Durations have ms, s, m, h or d (a day is 24 hours) and are int64_t milliseconds; sizes have B,
 * KiB, MiB, GiB or TiB and are int64_t bytes. A number without a unit is an error, zero too: write
 * "0s". A fraction must give a whole number of the smallest unit. Pure functions. The message about an invalid value never contains the value, which may be a
 * misplaced secret.
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
    const char *example; /* a good value, for the message; NULL: the maximum */
};

#define QUANTITY_TEXT_SIZE 32

/* Reads `value` into *out. On failure returns false, leaves *out unchanged and appends a predicate
 * without subject and full stop to `why` (borrowed, initialised): "has no unit: …", "must be from
 * 1s to 1h". */
MUST_CHECK bool quantity_read(const struct quantity *q, struct slice value, int64_t *out,
                              struct buf *why);

/* Writes the exact amount in the largest unit that divides it: 90000 ms is "90s", 3600000 "1h", 0
 * "0s" or "0B". Returns `out`. */
const char *quantity_text(enum quantity_kind kind, int64_t amount, char out[QUANTITY_TEXT_SIZE]);

#endif
