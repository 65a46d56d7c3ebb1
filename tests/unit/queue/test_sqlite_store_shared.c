/*
 * The SQLite store's file among several processes: busy, written in turn, its log.
 */
#include "tests/unit/queue/test_sqlite_store.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/sqlite/checkpointer.h"
#include "common/sqlite/turn.h"

/* --- busy --- */
struct fast_clock {
    int64_t began_us;
};
static struct fast_clock fast;

static int64_t real_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Two hundred times as fast: the five seconds of patience are over in 25 ms. */
static int64_t fast_mono_us(void)
{
    return fast.began_us + (real_mono_us() - fast.began_us) * 200;
}

static int64_t real_wall_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

/* Another process that holds the write lock from when it says so until it is told to let go. */
struct holder {
    pid_t pid;
    int said;
    int tell;
};

static void hold_lock(struct holder *h, const char *path)
{
    int said[2];
    int tell[2];
    char c;
    assert_int_equal(pipe(said), 0);
    assert_int_equal(pipe(tell), 0);
    h->pid = fork();
    assert_true(h->pid >= 0);
    if (h->pid == 0) {
        sqlite3 *db = NULL;
        close(tell[1]);
        bool held = sqlite3_open(path, &db) == SQLITE_OK &&
                    sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
        if (write(said[1], held ? "y" : "n", 1) != 1 || read(tell[0], &c, 1) < 0) {
            _exit(1);
        }
        (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        _exit(0);
    }
    close(said[1]);
    close(tell[0]);
    h->said = said[0];
    h->tell = tell[1];
    assert_int_equal(read(h->said, &c, 1), 1);
    assert_int_equal(c, 'y');
}

static void let_go(struct holder *h)
{
    int status = 0;
    close(h->tell);
    assert_int_equal(waitpid(h->pid, &status, 0), h->pid);
    assert_int_equal(status, 0);
    close(h->said);
}

struct late_write {
    const char *path;
    struct sqlite_store *s;
    int rc;
    struct err e;
};

static void *write_late(void *arg)
{
    struct late_write *w = arg;
    char text[] = "late";
    w->rc = sqlite_store_write(w->s, insert_note, text, &w->e);
    return NULL;
}

static void busy_file_is_waited_for_and_then_told(void **state)
{
    struct store_fixture *f = *state;
    const struct clock_source source = {fast_mono_us, real_wall_ms};
    struct holder h;
    pthread_t thread;
    char text[] = "busy";
    struct err e;
    /* The file must be there, but not open here, when the other process is made. */
    sqlite_store_close(must_open(f->path, &notes_v1));
    hold_lock(&h, f->path);
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    fast.began_us = real_mono_us();
    clock_set_source(&source);
    int rc = sqlite_store_write(s, insert_note, text, &e);
    clock_set_source(NULL);
    must_fail_saying(rc, &e, ERR_RETRY, "locked");
    assert_int_equal(count_notes(s), 0); /* reading goes on meanwhile */
    struct late_write w = {.s = s};
    assert_int_equal(pthread_create(&thread, NULL, write_late, &w), 0);
    let_go(&h);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(w.rc, 0);
    assert_int_equal(count_notes(s), 1);
    sqlite_store_close(s);
}

/* --- in turn --- */
#define TURNS 60
#define WRITERS 3
#define LONG_US 1000

/* A transaction as long as on a disk that takes its time, wherever this test runs. */
static int insert_slowly(struct sqlite_db *db, void *arg, struct err *e)
{
    int64_t end_us = real_mono_us() + LONG_US;
    while (real_mono_us() < end_us) {
    }
    (void)arg;
    return sqlite_exec(db, e, "INSERT INTO notes (text) VALUES (NULL)");
}

/* A process that writes without a pause until it is killed. */
static pid_t write_on_and_on(const char *path, sqlite_work_fn *work)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct err e;
        struct sqlite_store *s = NULL;
        if (sqlite_store_open(path, &notes_v1, &s, &e) != 0) {
            _exit(1);
        }
        while (sqlite_store_write(s, work, NULL, &e) == 0) {
        }
        _exit(1);
    }
    return pid;
}

static int count_then_insert(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, -1, e, "SELECT count(*) FROM notes") == 0
               ? insert_slowly(db, NULL, e)
               : -1;
}

static int by_number(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Three processes write on and on; each write of a fourth comes after one of each of them. */
static void processes_that_write_on_and_on_let_others_in(void **state)
{
    struct store_fixture *f = *state;
    struct err e;
    int64_t overtaken[TURNS];
    pid_t pids[WRITERS];
    sqlite_store_close(must_open(f->path, &notes_v1));
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = write_on_and_on(f->path, insert_slowly);
    }
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    while (count_notes(s) < 10 * WRITERS) {
    }
    for (int i = 0; i < TURNS; i++) {
        int64_t before = count_notes(s);
        MUST(sqlite_store_write(s, count_then_insert, &overtaken[i], &e));
        overtaken[i] -= before;
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(kill(pids[i], SIGKILL), 0);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    }
    qsort(overtaken, TURNS, sizeof overtaken[0], by_number);
    /* Whoever barges in is overtaken by nobody most of the time, and now and then by hundreds. */
    assert_in_range(overtaken[TURNS / 2], WRITERS - 1, 2 * WRITERS);
    sqlite_store_close(s);
}

/* Stands in the first place of the line, which is the file's second byte. */
static int stand_in_line(const struct store_fixture *f)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 1};
    char beside[320];
    (void)snprintf(beside, sizeof beside, "%s-turn", f->path);
    int fd = open(beside, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    return fd;
}

static void free_turn_is_not_taken_before_one_who_waits(void **state)
{
    struct store_fixture *f = *state;
    const struct clock_source source = {fast_mono_us, real_wall_ms};
    struct sqlite_turn *t = sqlite_turn_open(f->path);
    assert_non_null(t);
    int other = stand_in_line(f);
    fast.began_us = real_mono_us();
    clock_set_source(&source);
    bool overtook = sqlite_turn_take(t);
    clock_set_source(NULL);
    assert_false(overtook);
    close(other);
    assert_true(sqlite_turn_take(t));
    sqlite_turn_close(t);
}

static void holder_of_the_turn_that_is_frozen_stops_nobody(void **state)
{
    struct store_fixture *f = *state;
    const struct clock_source source = {fast_mono_us, real_wall_ms};
    char text[] = "after all";
    struct err e;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct sqlite_turn *frozen = sqlite_turn_open(f->path);
    assert_true(sqlite_turn_take(frozen));
    fast.began_us = real_mono_us();
    clock_set_source(&source);
    int rc = sqlite_store_write(s, insert_note, text, &e);
    clock_set_source(NULL);
    MUST(rc);
    assert_int_equal(count_notes(s), 1);
    /* Whoever gave up waiting left the line: the turn is free as soon as it is given back. */
    sqlite_turn_give(frozen);
    struct sqlite_turn *other = sqlite_turn_open(f->path);
    assert_true(sqlite_turn_take(other));
    sqlite_turn_close(other);
    sqlite_turn_close(frozen);
    sqlite_store_close(s);
}

/* What the bells are made of: one process counts, another one sees it. */
static void end_of_a_transaction_is_told_to_other_processes(void **state)
{
    struct store_fixture *f = *state;
    char text[] = "told";
    struct err e;
    sqlite_store_close(must_open(f->path, &notes_v1));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sqlite_store *s = must_open(f->path, &notes_v1);
        _exit(sqlite_store_write(s, insert_note, text, &e) == 0 ? 0 : 1);
    }
    struct sqlite_turn *t = sqlite_turn_open(f->path);
    assert_non_null(t);
    uint32_t seen = 0;
    while (seen == 0) { /* forever, where nobody tells */
        sqlite_turn_await_end(t, seen);
        seen = sqlite_turn_ends(t);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(sqlite_turn_ends(t), 1);
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    assert_int_equal(sqlite_store_write(s, insert_note, text, &e), -1); /* it is there already */
    assert_int_equal(sqlite_turn_ends(t), 2);
    sqlite_store_close(s);
    sqlite_turn_close(t);
}

static int take_turn_without_bells(const char *path)
{
    const struct rlimit nothing = {0, RLIM_INFINITY};
    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_FSIZE, &nothing) != 0) {
        return 1;
    }
    struct sqlite_turn *t = sqlite_turn_open(path);
    struct sqlite_turn *other = sqlite_turn_open(path);
    if (t == NULL || other == NULL || !sqlite_turn_take(t) || sqlite_turn_take(other)) {
        return 2;
    }
    sqlite_turn_await_end(t, sqlite_turn_ends(t));
    sqlite_turn_notify_end(t);
    sqlite_turn_give(t);
    return sqlite_turn_ends(t) == 0 && sqlite_turn_take(other) ? 0 : 3;
}

/* On a disk that is full when the file is made. */
static void turn_is_taken_without_bells_as_well(void **state)
{
    struct store_fixture *f = *state;
    int status = -1;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(take_turn_without_bells(f->path));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void store_without_turns_works_as_well(void **state)
{
    struct store_fixture *f = *state;
    char beside[320];
    char text[] = "alone";
    struct err e;
    (void)snprintf(beside, sizeof beside, "%s-turn", f->path);
    assert_int_equal(mkdir(beside, 0700), 0);
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    MUST(sqlite_store_write(s, insert_note, text, &e));
    assert_int_equal(count_notes(s), 1);
    sqlite_store_close(s);
}

/* --- its log --- */
/* A text that reads as a number would become one, and be short. */
static int replace_all(struct sqlite_db *db, void *arg, struct err *e)
{
    (void)arg;
    return sqlite_exec(db, e, "DELETE FROM other") != 0
               ? -1
               : sqlite_exec(db, e, "INSERT INTO other SELECT 'x' || hex(zeroblob(200000))");
}

static int64_t log_bytes(const struct store_fixture *f)
{
    char wal[320];
    struct stat st;
    (void)snprintf(wal, sizeof wal, "%s-wal", f->path);
    assert_int_equal(stat(wal, &st), 0);
    return st.st_size;
}

static void log_stays_bounded_and_pages_are_used_again(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct stat st;
    struct err e;
    for (int i = 0; i < 60; i++) { /* 24 MB in all, of which 0.4 MB live */
        MUST(sqlite_store_write(s, replace_all, NULL, &e));
    }
    assert_in_range(log_bytes(f), 0, 11 * 1024 * 1024);
    sqlite_store_close(s);
    assert_int_equal(stat(f->path, &st), 0);
    assert_in_range(st.st_size, 0, 2 * 1024 * 1024);
}

static void log_is_moved_beside_the_store(void **state)
{
    struct store_fixture *f = *state;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    struct checkpointer *c = checkpointer_new("notes", f->path);
    struct stat before, after;
    struct err e;
    MUST(
        sqlite_store_write(s, replace_all, NULL, &e)); /* 0.4 MB: too little for the store itself */
    assert_int_equal(stat(f->path, &before), 0);
    assert_int_equal(checkpointer_poll(c), CHECKPOINTER_IDLE);
    assert_true(checkpointer_begin(c));
    while (checkpointer_poll(c) != CHECKPOINTER_MOVED) {
        (void)sched_yield();
    }
    assert_int_equal(checkpointer_poll(c), CHECKPOINTER_IDLE);
    assert_int_equal(stat(f->path, &after), 0);
    assert_in_range(after.st_size, before.st_size + 300 * 1024, 2 * 1024 * 1024);
    checkpointer_free(c);
    sqlite_store_close(s);
}

/* Repeats a write that returned "busy": the other process writes without a pause, and on a busy machine
 * the lock may not be free within the store's timeout. */
static void write_in_turn(struct sqlite_store *s)
{
    struct err e;
    while (sqlite_store_write(s, replace_all, NULL, &e) != 0) {
        assert_int_equal(e.class, ERR_RETRY);
    }
}

/* Beside one that writes on and on there is always a commit more than was moved into the file. */
static void log_that_several_write_stays_as_short(void **state)
{
    struct store_fixture *f = *state;
    sqlite_store_close(must_open(f->path, &notes_v1));
    pid_t other = write_on_and_on(f->path, replace_all);
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    int64_t longest = 0;
    for (int i = 0; i < 100; i++) { /* with the other's about 80 MB in all */
        write_in_turn(s);
        longest = log_bytes(f) > longest ? log_bytes(f) : longest;
    }
    assert_int_equal(kill(other, SIGKILL), 0);
    assert_int_equal(waitpid(other, NULL, 0), other);
    assert_in_range(longest, 4 * 1024 * 1024, 16 * 1024 * 1024);
    sqlite_store_close(s);
}

/* Each look at this clock is a millisecond later than the one before. */
static int64_t looks;
static int64_t looked_mono_us(void)
{
    return ++looks * 1000;
}

static void log_that_a_reader_holds_grows_until_the_reader_ends(void **state)
{
    struct store_fixture *f = *state;
    const struct clock_source source = {looked_mono_us, real_wall_ms};
    struct err e;
    sqlite3 *reader = NULL;
    struct sqlite_store *s = must_open(f->path, &notes_v1);
    MUST(sqlite_store_write(s, replace_all, NULL, &e));
    assert_int_equal(sqlite3_open(f->path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM other", NULL, NULL, NULL),
                     SQLITE_OK);
    clock_set_source(&source);
    for (int i = 0; i < 40; i++) { /* 16 MB */
        MUST(sqlite_store_write(s, replace_all, NULL, &e));
    }
    clock_set_source(NULL);
    assert_in_range(log_bytes(f), 12 * 1024 * 1024, 24 * 1024 * 1024);
    /* A commit looks at it a few times; some of them waited up to 50 ms for the reader, not thirty. */
    assert_in_range(looks, 40, 800);
    assert_int_equal(sqlite3_close(reader), SQLITE_OK);
    for (int i = 0; i < 20; i++) {
        MUST(sqlite_store_write(s, replace_all, NULL, &e));
    }
    assert_in_range(log_bytes(f), 0, 11 * 1024 * 1024);
    sqlite_store_close(s);
}

const struct CMUnitTest store_shared_tests[] = {
    STORE_TEST(busy_file_is_waited_for_and_then_told),
    STORE_TEST(processes_that_write_on_and_on_let_others_in),
    STORE_TEST(free_turn_is_not_taken_before_one_who_waits),
    STORE_TEST(holder_of_the_turn_that_is_frozen_stops_nobody),
    STORE_TEST(end_of_a_transaction_is_told_to_other_processes),
    STORE_TEST(turn_is_taken_without_bells_as_well),
    STORE_TEST(store_without_turns_works_as_well),
    STORE_TEST(log_stays_bounded_and_pages_are_used_again),
    STORE_TEST(log_is_moved_beside_the_store),
    STORE_TEST(log_that_several_write_stays_as_short),
    STORE_TEST(log_that_a_reader_holds_grows_until_the_reader_ends),
};
const size_t store_shared_test_count = COUNT_OF(store_shared_tests);
