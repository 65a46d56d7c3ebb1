/*
 * The schedule of a class's min_idle: parts of the week, in UTC.
 *
 * An item is "DAYS HH:MM-HH:MM", or one of the two: "mon-fri 07:00-19:00", "sat-sun", "22:00-06:00".
 * DAYS is a day or two with a dash, from the first to the second, which may pass the week's end. A time
 * range includes its begin and not its end; one that ends earlier than it begins passes midnight, and
 * belongs to the day on which it begins. Without DAYS it is of every day, without times of the whole
 * day. Pure functions, any thread.
 */
#ifndef MAYFLY_CONFIG_IDLE_MIN_IDLE_H
#define MAYFLY_CONFIG_IDLE_MIN_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

/* NULL, or what is wrong with the item, for a complaint. */
const char *schedule_trouble(struct slice item);
/* Whether the item, which has no trouble, contains that moment (wall clock). */
bool schedule_contains(struct slice item, int64_t at_ms);

#endif
