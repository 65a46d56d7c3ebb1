/*
 * Rows of a ledger in memory, as they are: what a test's subject finds need not have come about by
 * steps of the ledger, and what it did is looked at. url: memory://NAME. A row is added if there is
 * none; it is valid and in its place until rows of another URL are asked for. What the test wrote
 * into rows is carried into the store before each transaction of the process, and what the store
 * holds back into the rows after each (--wrap of sqlite_store_*, which the library brings along).
 * For the test's own thread, while no other works on that ledger; at most MEMORY_ROWS_MAX of a
 * kind.
 */
#ifndef MAYFLY_TEST_MEMORY_ROWS_H
#define MAYFLY_TEST_MEMORY_ROWS_H

#include "common/ledger/ledger.h"

#define MEMORY_ROWS_MAX 1024

struct ledger_vm *memory_vm(const char *url, const char *name);
struct ledger_job *memory_job(const char *url, int64_t id);

#endif
