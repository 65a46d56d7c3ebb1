/*
 * The SQLite store and its file: made, migrated, refused, full, removed, damaged.
 */
#include "tests/unit/queue/test_sqlite_store.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Runs SQL on the file from outside of the store. */
static void by_hand(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void must_refuse(const char *path, const struct sqlite_schema *schema, enum err_class class,
                        const char *says)
{
    struct sqlite_store *s = NULL;
    struct err e;
    must_fail_saying(sqlite_store_open(path, schema, &s, &e), &e, class, says);
    assert_non_null(strstr(e.message, path));
    assert_null(s);
}

static void address_must_name_an_absolute_path(void **state)
{
    static const char *const bad[] = {"",           "sqlite", "sqlite:",       "sqlite://",
                                      "sqlite:///", "/x.db",  "sqlite://x.db", "redis://h/0",
                                      "memory://"};
    char path[32];
    struct err e;
    MUST(sqlite_store_path("sqlite:///var/x y.db", path, sizeof path, &e));
    assert_string_equal(path, "/var/x y.db");
    MUST(sqlite_store_path("memory://name", path, sizeof path, &e));
    assert_string_equal(path, "memory://name");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        must_fail_saying(sqlite_store_path(bad[i], path, sizeof path, &e), &e, ERR_PERMANENT,
                         "sqlite://");
    }
    must_fail_saying(
        sqlite_store_path("sqlite:///a/path/that/is/longer/than/the/room", path, sizeof path, &e),
        &e, ERR_PERMANENT, "too long");
    must_fail_saying(sqlite_store_path("sqlite:///q.db?timeout=3", path, sizeof path, &e), &e,
                     ERR_PERMANENT, "no options: remove what begins with '?'");
}

static void must_not_find(const char *path, const struct sqlite_schema *schema,
                          enum err_class class, const char *says)
{
    struct sqlite_store *s = NULL;
    struct err e;
    must_fail_saying(sqlite_store_open_existing(path, schema, &s, &e), &e, class, says);
    assert_null(s);
}

static void looking_makes_and_migrates_nothing(void **state)
{
    struct store_fixture *f = *state;
    char path[320];
    struct sqlite_store *s = NULL;
    struct err e;
    (void)snprintf(path, sizeof path, "%s/absent/notes.db", f->dir);
    must_not_find(path, &notes_v1, ERR_NOT_FOUND, "there is no");
    (void)snprintf(path, sizeof path, "%s/absent", f->dir);
    assert_int_equal(access(path, F_OK), -1);
    sqlite_store_close(must_open(f->path, &notes_v1));
    (void)snprintf(path, sizeof path, "%s-turn", f->path);
    assert_int_equal(unlink(path), 0);
    MUST(sqlite_store_open_existing(f->path, &notes_v1, &s, &e));
    sqlite_store_close(s);
    assert_int_equal(access(path, F_OK), -1);
    must_not_find(f->path, &notes_v2, ERR_CONFLICT, "has version 1, and this program reads 2");
    sqlite_store_close(must_open(f->path, &notes_v1)); /* it still has version 1 */
}

static void new_file_is_made_with_its_directory_and_not_for_all_eyes(void **state)
{
    struct store_fixture *f = *state;
    char path[320];
    struct stat st;
    mode_t before = umask(022);
    (void)snprintf(path, sizeof path, "%s/a/b/notes.db", f->dir);
    struct sqlite_store *s = must_open(path, &notes_v1);
    (void)umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_string_equal(sqlite_store_file(s), path);
    sqlite_store_close(s);
}

static int read_stars(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, -1, e, "SELECT stars FROM notes WHERE text = 'old'");
}

static void older_file_is_migrated_with_its_rows(void **state)
{
    struct store_fixture *f = *state;
    char text[] = "old";
    int64_t stars = 0;
    struct err e;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    MUST(sqlite_store_write(s, insert_note, text, &e));
    sqlite_store_close(s);
    s = must_open(f->path, &notes_v2);
    MUST(sqlite_store_read(s, read_stars, &stars, &e));
    assert_int_equal(stars, 7);
    sqlite_store_close(s);
    must_refuse(f->path, &notes_v1, ERR_PERMANENT, "has version 2; this program supports up to 1");
}

static void failed_migration_changes_nothing(void **state)
{
    struct store_fixture *f = *state;
    static const char *const broken_steps[] = {"", "CREATE TABLE more (n); ALTER nonsense"};
    struct sqlite_schema broken = notes_v1;
    char text[] = "kept";
    struct err e;
    broken.steps = broken_steps;
    broken.step_count = 2;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    MUST(sqlite_store_write(s, insert_note, text, &e));
    sqlite_store_close(s);
    must_refuse(f->path, &broken, ERR_AUTH, "step 1 to 2");
    s = must_open(f->path, &notes_v2);
    assert_int_equal(count_notes(s), 1);
    sqlite_store_close(s);
}

static void newer_file_is_refused_untouched(void **state)
{
    struct store_fixture *f = *state;
    char log_mode = 0;
    sqlite_store_close(must_open(f->path, &notes_v2));
    by_hand(f->path, "PRAGMA user_version = 99; PRAGMA journal_mode = DELETE");
    must_refuse(f->path, &notes_v2, ERR_PERMANENT, "has version 99; this program supports up to 2");
    /* Byte 18 of an SQLite file says 2 once it has a write-ahead log. */
    int fd = open(f->path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &log_mode, 1, 18), 1);
    close(fd);
    assert_int_equal(log_mode, 1);
}

static void foreign_files_are_refused(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_schema ledger = notes_v1;
    ledger.what = "ledger";
    ledger.application_id = 0x4d667432;
    sqlite_store_close(must_open(f->path, &notes_v1));
    must_refuse(f->path, &ledger, ERR_PERMANENT, "not a Mayfly ledger");
    char path[320];
    (void)snprintf(path, sizeof path, "%s/foreign.db", f->dir);
    by_hand(path, "CREATE TABLE customers (name)");
    must_refuse(path, &notes_v1, ERR_PERMANENT, "not a Mayfly notes");
    (void)snprintf(path, sizeof path, "%s/text.db", f->dir);
    FILE *text = fopen(path, "w");
    assert_non_null(text);
    for (int i = 0; i < 500; i++) {
        (void)fputs("this is no database\n", text);
    }
    assert_int_equal(fclose(text), 0);
    must_refuse(path, &notes_v1, ERR_AUTH, "not an SQLite database");
    struct sqlite_store *s = NULL;
    struct err e;
    must_fail_saying(sqlite_store_open("/proc/no/such.db", &notes_v1, &s, &e), &e, ERR_PERMANENT,
                     "/proc/no");
}

/* --- full --- */
static int limit_pages(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    return sqlite_exec(db, e, "PRAGMA max_page_count = 12");
}

static int lift_limit(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    return sqlite_exec(db, e, "PRAGMA max_page_count = 1000000");
}

static int insert_much(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    return sqlite_exec(db, e, "INSERT INTO notes (text) VALUES (hex(zeroblob(100000)))");
}

struct full_write {
    struct sqlite_store *s;
    bool much;
    int number;
    int unexpected;
    pthread_t thread;
};

static void *write_into_full(void *arg)
{
    struct full_write *w = arg;
    for (int i = 0; i < 20; i++) {
        char text[32];
        struct err e = {0};
        (void)snprintf(text, sizeof text, "%d-%d", w->number, i);
        int rc = sqlite_store_write(w->s, w->much ? insert_much : insert_note, text, &e);
        w->unexpected += w->much ? rc == 0 || e.class != ERR_CAPACITY : rc != 0;
    }
    return NULL;
}

static void full_file_refuses_what_does_not_fit_and_nothing_else(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct full_write w[4];
    struct err e;
    MUST(sqlite_store_write(s, limit_pages, NULL, &e));
    for (int i = 0; i < 4; i++) {
        w[i] = (struct full_write){s, i % 2 == 0, i, 0, 0};
        assert_int_equal(pthread_create(&w[i].thread, NULL, write_into_full, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        assert_int_equal(w[i].unexpected, 0);
    }
    assert_int_equal(count_notes(s), 40);
    MUST(sqlite_store_write(s, lift_limit, NULL, &e));
    MUST(sqlite_store_write(s, insert_much, NULL, &e));
    assert_int_equal(count_notes(s), 41);
    sqlite_store_close(s);
}

/* --- removed, damaged, large --- */
static void removed_file_is_told_by_every_call(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    int64_t version;
    char text[] = "lost";
    struct err e;
    MUST(sqlite_store_ping(s, &e));
    assert_int_equal(unlink(f->path), 0);
    must_fail_saying(sqlite_store_write(s, insert_note, text, &e), &e, ERR_AUTH, "removed");
    must_fail_saying(sqlite_store_ping(s, &e), &e, ERR_AUTH, "removed");
    must_fail_saying(sqlite_store_version(s, &version, &e), &e, ERR_AUTH, "removed");
    sqlite_store_close(s);
}

static void damaged_file_is_told(void **state)
{
    struct store_fixture *f = *state;
    char noise[4096];
    struct err e;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    for (int i = 0; i < 30; i++) {
        char text[600];
        (void)snprintf(text, sizeof text, "%0500d", i);
        MUST(sqlite_store_write(s, insert_note, text, &e));
    }
    sqlite_store_close(s);
    memset(noise, 0xee, sizeof noise);
    int fd = open(f->path, O_WRONLY);
    assert_true(fd >= 0);
    for (off_t page = 1; page < 7; page++) {
        assert_int_equal(pwrite(fd, noise, sizeof noise, page * 4096), sizeof noise);
    }
    close(fd);
    s = must_open(f->path, &notes_v1);
    char text[] = "after";
    must_fail_saying(sqlite_store_write(s, insert_note, text, &e), &e, ERR_AUTH, "damaged");
    must_fail_saying(sqlite_store_write(s, insert_note, text, &e), &e, ERR_AUTH, "damaged");
    sqlite_store_close(s);
}

const struct CMUnitTest store_file_tests[] = {
    STORE_TEST(address_must_name_an_absolute_path),
    STORE_TEST(looking_makes_and_migrates_nothing),
    STORE_TEST(new_file_is_made_with_its_directory_and_not_for_all_eyes),
    STORE_TEST(older_file_is_migrated_with_its_rows),
    STORE_TEST(failed_migration_changes_nothing),
    STORE_TEST(newer_file_is_refused_untouched),
    STORE_TEST(foreign_files_are_refused),
    STORE_TEST(full_file_refuses_what_does_not_fit_and_nothing_else),
    STORE_TEST(removed_file_is_told_by_every_call),
    STORE_TEST(damaged_file_is_told),
};
const size_t store_file_test_count = COUNT_OF(store_file_tests);
