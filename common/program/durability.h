/*
 * Warnings at start about settings of a store that can lose what it has confirmed.
 *
 * One log line `store_durability_warning` for each, and `store_check_failed` where they could not be
 * read. No program refuses to run for them.
 */
#ifndef MAYFLY_PROGRAM_DURABILITY_H
#define MAYFLY_PROGRAM_DURABILITY_H

#include <stdbool.h>

#include "common/base/slice.h"
#include "common/queue/queue.h"

/* dead_letters: as queue_check. */
void durability_warn_of_queue(struct queue *q, bool dead_letters);
/* One warning; `store`: "queue" or "ledger". */
void durability_warn(const char *store, struct slice warning);

#endif
