/*
 * Direct access to the rows of a ledger in memory: a test can set up states without the steps of
 * the ledger, and inspect the results. url: memory://NAME. A row is added if it does not exist; the
 * pointer is valid until rows of another URL are requested. Before each transaction of the process
 * the test's changes are written to the store, and after each the store's rows are read back
 * (--wrap of sqlite_store_*, which the library adds). Only for the test's thread, while no other
 * uses that ledger; at most MEMORY_ROWS_MAX of a kind.
 */
#ifndef MAYFLY_TEST_MEMORY_ROWS_H
#define MAYFLY_TEST_MEMORY_ROWS_H

#include "common/ledger/ledger.h"

#define MEMORY_ROWS_MAX 1024

struct ledger_vm *memory_vm(const char *url, const char *name);
struct ledger_job *memory_job(const char *url, int64_t id);

#endif
