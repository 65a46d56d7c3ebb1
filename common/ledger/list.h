/*
 * A list that grows while a backend gathers the items of an answer.
 *
 * For the backends alone. The items lie behind one another in memory that is the caller's to free,
 * also when nothing came of the answer; `room` and `item_size` are not to be changed once there is
 * an item. How many there can be is bounded by the caller; where memory ends, the program does. Not
 * for two threads at once.
 */
#ifndef MAYFLY_LEDGER_LIST_H
#define MAYFLY_LEDGER_LIST_H

#include <stddef.h>

struct ledger_list {
    void *items;
    size_t count;
    size_t room;
    size_t item_size; /* set by the caller, all else zero at first */
};

/* A zeroed item at its end, valid until the next one. */
void *ledger_list_add(struct ledger_list *l);
/* Empties it, for a step that runs again. */
void ledger_list_reset(struct ledger_list *l);

#endif
