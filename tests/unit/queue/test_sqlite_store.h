/*
 * What the parts of the SQLite store's test share: a fresh path and a small schema.
 */
#ifndef MAYFLY_TEST_SQLITE_STORE_H
#define MAYFLY_TEST_SQLITE_STORE_H

#include "common/sqlite/store.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

struct store_fixture {
    char dir[256];
    char path[300];
};
int store_fixture_setup(void **state);
int store_fixture_teardown(void **state);
#define STORE_TEST(f)                                                                              \
    cmocka_unit_test_setup_teardown(f, store_fixture_setup, store_fixture_teardown)

extern const struct sqlite_schema notes_v1; /* notes (id, text) */
extern const struct sqlite_schema notes_v2; /* the same with a column `stars`, 7 in old rows */

struct sqlite_store *must_open(const char *path, const struct sqlite_schema *schema);
/* A work: inserts the text that arg points to. */
int insert_note(struct sqlite_db *db, void *arg, struct err *e);
int64_t count_notes(struct sqlite_store *s);

extern const struct CMUnitTest store_file_tests[];
extern const size_t store_file_test_count;
extern const struct CMUnitTest store_memory_tests[];
extern const size_t store_memory_test_count;
extern const struct CMUnitTest store_shared_tests[];
extern const size_t store_shared_test_count;

#endif
