/*
 * The SQLite store in the memory of the process: who shares it, and until when.
 */
#include "tests/unit/queue/test_sqlite_store.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "memory://notes/of all"

static void write_note(struct sqlite_store *s, const char *text)
{
    char note[32];
    struct err e;
    (void)snprintf(note, sizeof note, "%s", text);
    MUST(sqlite_store_write(s, insert_note, note, &e));
}

static void handles_of_a_name_share_it_until_the_last_closes(void **state)
{
    struct err e;
    int64_t before = -1;
    int64_t after = -1;
    struct sqlite_store *a = must_open(NAME, &notes_v1);
    struct sqlite_store *b = must_open(NAME, &notes_v1);
    MUST(sqlite_store_version(b, &before, &e));
    write_note(a, "one");
    MUST(sqlite_store_version(b, &after, &e));
    assert_int_not_equal(before, after);
    MUST(sqlite_store_ping(b, &e));
    assert_int_equal(count_notes(b), 1);
    sqlite_store_close(a);
    write_note(b, "two");
    a = must_open(NAME, &notes_v1);
    assert_int_equal(count_notes(a), 2);
    sqlite_store_close(b);
    sqlite_store_close(a);
    a = must_open(NAME, &notes_v1);
    assert_int_equal(count_notes(a), 0);
    sqlite_store_close(a);
}

static void another_name_and_another_schema_are_apart(void **state)
{
    struct sqlite_schema other = notes_v1;
    other.what = "others";
    other.application_id++;
    struct sqlite_store *mine = must_open(NAME, &notes_v1);
    struct sqlite_store *of_name = must_open(NAME "?", &notes_v1);
    struct sqlite_store *of_schema = must_open(NAME, &other);
    write_note(mine, "one");
    assert_int_equal(count_notes(of_name), 0);
    assert_int_equal(count_notes(of_schema), 0);
    sqlite_store_close(of_schema);
    sqlite_store_close(of_name);
    sqlite_store_close(mine);
}

static void nothing_is_written_to_the_disk(void **state)
{
    struct store_fixture *f = *state;
    char url[400];
    (void)snprintf(url, sizeof url, "memory://%s", f->path);
    struct sqlite_store *s = must_open(url, &notes_v1);
    write_note(s, "one");
    assert_string_equal(sqlite_store_file(s), url);
    sqlite_store_close(s);
    assert_int_equal(rmdir(f->dir), 0); /* that is, it is empty */
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

/* --- threads --- */
#define WRITERS 4
#define NOTES 200

struct writer {
    struct sqlite_store *store; /* shared by two threads */
    int number;
    int failures;
};

/* cmocka's assertions are for the test's own thread. */
static void *write_and_read(void *arg)
{
    struct writer *w = arg;
    for (int i = 0; i < NOTES; i++) {
        char note[32];
        int64_t version;
        struct err e;
        (void)snprintf(note, sizeof note, "%d.%d", w->number, i);
        w->failures += sqlite_store_write(w->store, insert_note, note, &e) != 0;
        w->failures += sqlite_store_version(w->store, &version, &e) != 0;
        w->failures += sqlite_store_ping(w->store, &e) != 0;
    }
    return NULL;
}

/* A commit waits for readers, and readers for a writer; nobody waits for ever. */
static void threads_with_handles_of_their_own_wait_for_each_other(void **state)
{
    struct sqlite_store *stores[WRITERS / 2];
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        stores[i] = must_open(NAME, &notes_v1);
    }
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.store = stores[i / 2], .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(writers[i].failures, 0);
    }
    assert_int_equal(count_notes(stores[0]), WRITERS * NOTES);
    for (size_t i = 0; i < COUNT_OF(stores); i++) {
        sqlite_store_close(stores[i]);
    }
}

const struct CMUnitTest store_memory_tests[] = {
    cmocka_unit_test(handles_of_a_name_share_it_until_the_last_closes),
    cmocka_unit_test(another_name_and_another_schema_are_apart),
    STORE_TEST(nothing_is_written_to_the_disk),
    cmocka_unit_test(threads_with_handles_of_their_own_wait_for_each_other),
};
const size_t store_memory_test_count = COUNT_OF(store_memory_tests);
