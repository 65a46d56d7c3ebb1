/*
 * Ended jobs laid into a ledger beforehand, in bulk.
 *
 * One job goes its whole way through the ledger's own calls, so that its rows, lines and counts are
 * what a fleet leaves behind; these are then copied in the store, under other ids and names, a
 * thousand at a time. Through the calls alone, each step durable by itself, 100,000 jobs would take
 * minutes. Afterwards all of it is on the disk, so that nobody else pays for it.
 * lay_known_jobs is for a program without other threads; an error ends it. The rest is for lay*.c:
 * what they know of a store's format is the names of the columns and keys that hold ids and names.
 */
#ifndef MAYFLY_TESTS_BENCH_FLEET_LAY_H
#define MAYFLY_TESTS_BENCH_FLEET_LAY_H

#include <stdint.h>

#include "common/ledger/ledger.h"

/* url: of an empty ledger, which is made if it is a file. directory: where that file is. */
void lay_known_jobs(const char *url, const char *directory, int64_t known);

/* The job that is copied; its digits stand nowhere else in its rows. */
#define LAY_MODEL 900000001
#define LAY_AT_ONCE 1000

struct lay_name {
    char text[68];
};
/* The VM of the n-th copy; names spread like those that are drawn at random. */
struct lay_name lay_vm_name(int64_t n);

/* Copies 1 to n of the model, whose VM's name is given. */
void lay_in_sqlite(const char *path, const char *model_vm, int64_t n);
void lay_in_redis(const char *url, const char *model_vm, int64_t n);

#endif
