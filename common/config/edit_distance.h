/*
 * How far a mistyped name is from a known one, for "did you mean …?". Pure function.
 */
#ifndef MAYFLY_CONFIG_EDIT_DISTANCE_H
#define MAYFLY_CONFIG_EDIT_DISTANCE_H

#include <stddef.h>

#include "common/base/slice.h"

#define EDIT_DISTANCE_MAX_BYTES 64

/* Insertions, deletions, changes and swaps of neighbours. Longer texts: SIZE_MAX. */
size_t edit_distance(struct slice a, struct slice b);

#endif
