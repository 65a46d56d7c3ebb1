/*
 * What the tests of the Redis ledger share: a server that with_redis started, and ledgers in it.
 *
 * A program of these tests is called with the server's URL and the command that kills and restarts
 * it. Each ledger gets a deployment of its own, so no test sees another's rows.
 */
#ifndef MAYFLY_TEST_LEDGER_REDIS_H
#define MAYFLY_TEST_LEDGER_REDIS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/ledger.h"
#include "common/redis/store.h"
#include "tests/lib/must.h"
#include "tests/unit/ledger/ledger_way.h"

struct redis_fixture {
    char url[512]; /* of this test's own deployment */
    struct ledger *l;
    struct redis_store *store; /* the same keys, for looking behind the ledger */
};
/* From main: URL and command. Returns whether they were given. */
bool redis_fixture_start(int argc, char **argv);
int redis_fixture_setup(void **state);
int redis_fixture_teardown(void **state);
struct ledger *redis_fixture_open(const struct redis_fixture *f);
/* Kills the server and waits for the next one, which has its files. */
void redis_fixture_restart(void);

/* One plain command; key: behind ":l:", or NULL for none. The number it answers. */
int64_t redis_fixture_call(struct redis_fixture *f, const char *command, const char *key,
                           const char *a, const char *b);
/* How often the server has run that command so far, in scripts too. */
int64_t redis_fixture_commands(struct redis_fixture *f, const char *command);
/* How many scripts the server has run so far. */
int64_t redis_fixture_scripts(struct redis_fixture *f);

#define REDIS_TEST(f)                                                                              \
    cmocka_unit_test_setup_teardown(f, redis_fixture_setup, redis_fixture_teardown)

#endif
