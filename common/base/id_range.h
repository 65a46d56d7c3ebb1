/*
 * A range of user and group ids, written "FIRST-LAST". Plain value.
 */
#ifndef MAYFLY_BASE_ID_RANGE_H
#define MAYFLY_BASE_ID_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

/* Below are the ids of the system's own users. */
#define ID_RANGE_MIN 1000
#define ID_RANGE_MAX INT64_C(4294967293)
#define ID_RANGE_COUNT_MAX 65536

struct id_range {
    uint32_t first;
    uint32_t last;
};

MUST_CHECK bool id_range_parse(struct slice text, struct id_range *out);

#endif
