/*
 * What the tests of the DynamoDB ledger share: the stand-in that with_dynamodb started, ledgers in
 * it, a way to its faults, and one behind the ledger.
 *
 * A program of these tests is called with the table's URL and the stand-in's address. Each test
 * gets a deployment of its own, so none sees another's rows; faults are taken back at its end.
 */
#ifndef MAYFLY_TEST_LEDGER_DYNAMO_H
#define MAYFLY_TEST_LEDGER_DYNAMO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/dynamodb/dynamodb.h"
#include "common/ledger/ledger.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_way.h"

struct dynamo_fixture {
    char url[512]; /* of this test's own deployment */
    struct ledger *l;
    struct ledger_dynamo *d; /* another handle of it, for looking behind the ledger */
};
/* From main: URL and address. Returns whether they were given. */
bool dynamo_fixture_start(int argc, char **argv);
int dynamo_fixture_setup(void **state);
int dynamo_fixture_teardown(void **state);
struct ledger *dynamo_fixture_open(const char *url);
/* The table's URL with another table's name; "" as it is. */
void dynamo_fixture_url(const char *table, const char *more, char *out, size_t size);

/* Adds faults, JSON as tests/fakes/dynamodb/README.md says; NULL takes all back. */
void dynamo_fixture_faults(const char *json);
/* Reads that are not consistent, and all of the index, tell what was so long ago. */
void dynamo_fixture_lag(int ms);
/* How many requests the stand-in has counted under that name, or of that operation. */
int64_t dynamo_fixture_counter(const char *name);
int64_t dynamo_fixture_calls(const char *operation);

/* An attribute of an item as it is in the table; 0 if there is none. */
int64_t dynamo_fixture_number(struct dynamo_fixture *f, struct ledger_dynamo_key key,
                              const char *attribute);
/* Adds to an attribute behind the ledger's back. */
void dynamo_fixture_add(struct dynamo_fixture *f, struct ledger_dynamo_key key,
                        const char *attribute, int64_t by);
/* How many items the partition has; pk without the prefix. */
size_t dynamo_fixture_items(struct dynamo_fixture *f, const char *pk);

#define DYNAMO_TEST(f)                                                                             \
    cmocka_unit_test_setup_teardown(f, dynamo_fixture_setup, dynamo_fixture_teardown)

#endif
