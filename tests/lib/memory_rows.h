/*
 * Rows of a ledger in memory, put there as they are: what a test's subject finds need not have come
 * about by steps of the ledger. For the test's own thread, while no other works on that ledger.
 */
#ifndef MAYFLY_TEST_MEMORY_ROWS_H
#define MAYFLY_TEST_MEMORY_ROWS_H

#include "common/ledger/ledger.h"

/* In the place of the row of that name. url: memory://NAME. */
void memory_put_vm(const char *url, const struct ledger_vm *vm);

#endif
