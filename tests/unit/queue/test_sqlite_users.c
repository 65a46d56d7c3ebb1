/*
 * One SQLite file of programs that run as different users, in a setgid directory of a group that they
 * all belong to: whoever creates the file, its log and its index, the others use them.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/sqlite/store.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define GROUP 64990 /* the group of the directory; nobody's primary one */
#define USERS 3
#define SKIPPED 77

static const mode_t umasks[USERS] = {0007, 0022, 0077};

static const char *const steps[] = {"CREATE TABLE notes (id INTEGER PRIMARY KEY, author INTEGER)"};
static const struct sqlite_schema notes = {"notes", 0x4d667432, steps, 1};

struct shared {
    char dir[64];
    char path[96];
};

static int setup(void **state)
{
    struct shared *s = calloc(1, sizeof *s);
    assert_non_null(s);
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/mayfly-users-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof s->path, "%s/notes.db", s->dir);
    assert_int_equal(chown(s->dir, 0, GROUP), 0);
    assert_int_equal(chmod(s->dir, 02770), 0);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct shared *s = *state;
    struct err e;
    assert_int_equal(fs_remove_tree(s->dir, &e), 0);
    free(s);
    return 0;
}

static int insert_author(struct sqlite_db *db, void *arg, struct err *e)
{
    const int64_t *author = arg;
    return sqlite_exec(db, e, "INSERT INTO notes (author) VALUES (?1)", SQL_INT(*author));
}

static int count_notes(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, -1, e, "SELECT count(*) FROM notes");
}

static uid_t id_of(int user)
{
    return (uid_t)(GROUP + 1 + user);
}

static bool become(int user, gid_t group)
{
    uid_t id = id_of(user);
    (void)umask(umasks[user]);
    return setgroups(1, &group) == 0 && setgid(id) == 0 && setuid(id) == 0;
}

/* In a child: opens the file, writes, reads, and closes it once the other end of `hold` is closed. */
static int use_file(const char *path, int user, int ready, int hold)
{
    struct sqlite_store *s = NULL;
    struct err e = {0};
    int64_t author = user;
    int64_t count = 0;
    char byte = 0;
    if (sqlite_store_open(path, &notes, &s, &e) != 0 ||
        sqlite_store_write(s, insert_author, &author, &e) != 0 ||
        sqlite_store_read(s, count_notes, &count, &e) != 0) {
        fprintf(stderr, "user %d: %s\n", user, e.message);
        return 1;
    }
    if (write(ready, &byte, 1) != 1 || read(hold, &byte, 1) != 0) {
        return 2;
    }
    sqlite_store_close(s);
    return 0;
}

struct program {
    pid_t pid;
    int hold;
};

/* Returns when it has written, with the file open, or failed. */
static struct program start_program(const char *path, int user, gid_t group)
{
    int ready[2];
    int hold[2];
    char byte;
    assert_int_equal(pipe(ready) | pipe(hold), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(hold[1]);
        _exit(become(user, group) ? use_file(path, user, ready[1], hold[0]) : 3);
    }
    close(ready[1]);
    close(hold[0]);
    (void)!read(ready[0], &byte, 1);
    close(ready[0]);
    return (struct program){pid, hold[1]};
}

static int end_program(struct program p)
{
    int status = 0;
    close(p.hold);
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void assert_shared(const struct shared *s, uid_t creator)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-turn"};
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        char path[128];
        struct stat st;
        (void)snprintf(path, sizeof path, "%s%s", s->path, suffixes[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0660);
        assert_int_equal(st.st_gid, GROUP);
        if (i == 1 || i == 2) {
            assert_int_equal(st.st_uid, creator);
        }
    }
}

/* `first` opens the file, and keeps it open while the others use it. The last one to close it
 * removes log and index, so that the next first one creates them. */
static void use_by_all(const struct shared *s, int first, uid_t creator)
{
    struct program programs[USERS];
    programs[0] = start_program(s->path, first, GROUP);
    for (int i = 1; i < USERS; i++) {
        programs[i] = start_program(s->path, (first + i) % USERS, GROUP);
    }
    assert_shared(s, creator);
    /* The last one first: it has copies of the others' pipes. */
    for (int i = USERS - 1; i >= 0; i--) {
        assert_int_equal(end_program(programs[i]), 0);
    }
}

static void file_is_used_by_all_whoever_creates_it(struct shared *s, int creator)
{
    for (int i = 0; i < USERS; i++) {
        int first = (creator + i) % USERS;
        use_by_all(s, first, id_of(first));
    }
    struct sqlite_store *store = NULL;
    struct err e;
    int64_t count = 0;
    MUST(sqlite_store_open(s->path, &notes, &store, &e));
    MUST(sqlite_store_read(store, count_notes, &count, &e));
    sqlite_store_close(store);
    assert_int_equal(count, USERS * USERS);
}

static void file_of_the_first_user_is_used_by_all(void **state)
{
    file_is_used_by_all_whoever_creates_it(*state, 0);
}

static void file_of_the_second_user_is_used_by_all(void **state)
{
    file_is_used_by_all_whoever_creates_it(*state, 1);
}

static void file_of_the_third_user_is_used_by_all(void **state)
{
    file_is_used_by_all_whoever_creates_it(*state, 2);
}

/* mayflyctl as root, before any program ran. */
static void file_of_root_is_used_by_all(void **state)
{
    struct shared *s = *state;
    struct sqlite_store *store = NULL;
    struct err e;
    mode_t before = umask(0077);
    MUST(sqlite_store_open(s->path, &notes, &store, &e));
    (void)umask(before);
    use_by_all(s, 0, 0);
    sqlite_store_close(store);
}

static void user_outside_of_the_group_is_refused(void **state)
{
    struct shared *s = *state;
    use_by_all(s, 0, id_of(0));
    assert_int_equal(end_program(start_program(s->path, 1, GROUP + 100)), 1);
}

int main(void)
{
    if (geteuid() != 0) {
        fprintf(stderr, "SKIPPED: only root can become several users: run it as root\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(file_of_the_first_user_is_used_by_all, setup, teardown),
        cmocka_unit_test_setup_teardown(file_of_the_second_user_is_used_by_all, setup, teardown),
        cmocka_unit_test_setup_teardown(file_of_the_third_user_is_used_by_all, setup, teardown),
        cmocka_unit_test_setup_teardown(file_of_root_is_used_by_all, setup, teardown),
        cmocka_unit_test_setup_teardown(user_outside_of_the_group_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
