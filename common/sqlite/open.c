#include "common/sqlite/open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/random.h"

/* The size that a restarted log is truncated to: about its usual maximum, see store.c. */
#define LOG_LIMIT_BYTES (10 * 1024 * 1024)

/* Waits between 0.1 and 2 ms. An fsync on a good disk takes less, and POSIX locks have no queue, so
 * a waiter succeeds only by polling often at random times. */
static void pause_busy(int count)
{
    int64_t ceiling_us = count < 5 ? 100 << count : 2000;
    struct timespec ts = {0, (long)(50 + random_below((uint64_t)ceiling_us)) * 1000};
    (void)nanosleep(&ts, NULL);
}

static int on_busy(void *arg, int count)
{
    struct sqlite_db *db = arg;
    if (clock_mono_us() >= db->busy_until_us) {
        return 0;
    }
    if (db->turn_held != NULL) {
        sqlite_turn_await_end(db->turn_held, db->ends_seen);
        db->ends_seen = sqlite_turn_ends(db->turn_held);
    } else {
        pause_busy(count);
    }
    return 1;
}

static bool get_directory(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash != NULL ? (size_t)(slash - path) : 0;
    return len > 0 && slice_to_cstr((struct slice){path, len}, out, size);
}

/* SQLite would open it for reading, without an error until the first write. */
static int check_writable(const char *path, struct err *e)
{
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 &&
        faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0) {
        return err_errno(e, ERR_AUTH, errno,
                         "%s is read-only for user %u: give it to the programs' user or group "
                         "(chown, chmod), or mount its file system for writing",
                         path, (unsigned)geteuid());
    }
    return 0;
}

/* Creates the file with the intended mode; the log and its index inherit it. Does not open an
 * existing file: closing any descriptor of it would release the POSIX locks that another handle of
 * this process holds. */
static int create_file(const char *path, struct err *e)
{
    char dir[PATH_MAX];
    if (get_directory(path, dir, sizeof dir) && access(dir, F_OK) != 0 &&
        fs_mkdirs(dir, 0750, e) != 0) {
        return -1;
    }
    int fd = fs_create(path, O_RDWR | O_EXCL, SQLITE_FILE_MODE);
    if (fd < 0 && errno != EEXIST) {
        return err_errno(e, errno == ENOSPC ? ERR_CAPACITY : ERR_PERMANENT, errno,
                         "cannot create %s", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0 ? 0 : check_writable(path, e);
}

const char *sqlite_in_memory(const char *path)
{
    static const char scheme[] = "memory://";
    size_t len = sizeof scheme - 1;
    return strncmp(path, scheme, len) == 0 && path[len] != '\0' ? path + len : NULL;
}

/* Statistics of memory that nobody reads take a lock with each allocation. */
static void configure_library(void)
{
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int open_connection(struct sqlite_db *db, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ASSERT(pthread_once(&once, configure_library) == 0);
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    const char *name = sqlite_in_memory(db->path);
    int rc;
    if (name == NULL) {
        rc = sqlite3_open_v2(db->path, &db->handle, flags, NULL);
    } else {
        /* A name that begins with a slash is shared. */
        char shared[PATH_MAX];
        (void)snprintf(shared, sizeof shared, "/%s/%s", db->what, name);
        rc = sqlite3_open_v2(shared, &db->handle, flags | SQLITE_OPEN_CREATE, "memdb");
    }
    if (rc != SQLITE_OK) {
        return sqlite_db_error(db, rc, "open", e);
    }
    (void)sqlite3_extended_result_codes(db->handle, 1);
    db->busy_until_us = clock_mono_us() + SQLITE_STORE_BUSY_MS * 1000;
    (void)sqlite3_busy_handler(db->handle, on_busy, db);
    return 0;
}

static int run_script(struct sqlite_db *db, const char *sql, const char *doing, struct err *e)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_db_error(db, rc, doing, e);
}

/* *version: the file's. Rejects a file of another program or of a newer version. */
static int check_identity(struct sqlite_db *db, const struct sqlite_schema *schema,
                          int64_t *version, struct err *e)
{
    int64_t id;
    int64_t tables;
    if (sqlite_number(db, version, 0, e, "PRAGMA user_version") != 0 ||
        sqlite_number(db, &id, 0, e, "PRAGMA application_id") != 0 ||
        sqlite_number(db, &tables, 0, e, "SELECT count(*) FROM sqlite_master") != 0) {
        return -1;
    }
    if (id != (int64_t)schema->application_id && (id != 0 || *version != 0 || tables != 0)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "%s is an SQLite file, but not a Mayfly %s: use another file for the %s",
                       db->path, schema->what, schema->what);
    }
    if (*version > schema->step_count) {
        return err_set(
            e, ERR_PERMANENT, 0,
            "the %s file %s has version %lld; this program supports up to %d: run a newer "
            "Mayfly, or use a new file",
            schema->what, db->path, (long long)*version, schema->step_count);
    }
    return 0;
}

/* In one transaction, since another process may migrate the file between two queries. */
static int check_file(struct sqlite_db *db, const struct sqlite_schema *schema, int64_t *version,
                      struct err *e)
{
    struct err ignored;
    if (run_script(db, "BEGIN", "read", e) != 0) {
        return -1;
    }
    int rc = check_identity(db, schema, version, e);
    sqlite_db_end_all(db);
    (void)run_script(db, "ROLLBACK", "read", &ignored);
    return rc;
}

/* Turning WAL on takes an exclusive lock for which SQLite calls no busy handler. */
static int turn_wal_on(struct sqlite_db *db, struct err *e)
{
    int count = 0;
    for (;;) {
        char mode[16] = "";
        bool row = false;
        struct sqlite_rows *r = sqlite_query(db, "PRAGMA journal_mode=WAL");
        int rc = sqlite_next(r, &row, e);
        if (rc == 0 && row) {
            sqlite_text(r, 0, mode, sizeof mode);
            sqlite_rows_end(r);
        }
        if (rc == 0 && strcmp(mode, "wal") == 0) {
            return 0;
        }
        if (rc == 0) {
            return err_set(e, ERR_PERMANENT, 0,
                           "the %s file %s cannot use a write-ahead log (it stays in mode \"%s\"): "
                           "move it to a local file system",
                           db->what, db->path, mode);
        }
        if (e->class != ERR_RETRY || clock_mono_us() >= db->busy_until_us) {
            return -1;
        }
        pause_busy(count++);
    }
}

static int migrate_locked(struct sqlite_db *db, const struct sqlite_schema *schema, struct err *e)
{
    char sql[96];
    int64_t version;
    /* Checked again under the lock: another process may have migrated the file meanwhile. */
    if (check_identity(db, schema, &version, e) != 0) {
        return -1;
    }
    if (version == schema->step_count) {
        return 0;
    }
    for (int64_t i = version; i < schema->step_count; i++) {
        if (run_script(db, schema->steps[i], "migrate", e) != 0) {
            return err_wrap(e, "step %lld to %lld", (long long)i, (long long)i + 1);
        }
    }
    (void)snprintf(sql, sizeof sql, "PRAGMA application_id=%lld; PRAGMA user_version=%d",
                   (long long)schema->application_id, schema->step_count);
    return run_script(db, sql, "migrate", e);
}

static int migrate(struct sqlite_db *db, const struct sqlite_schema *schema, struct err *e)
{
    struct err ignored;
    if (run_script(db, "BEGIN IMMEDIATE", "migrate", e) != 0) {
        return -1;
    }
    if (migrate_locked(db, schema, e) != 0 || run_script(db, "COMMIT", "migrate", e) != 0) {
        sqlite_db_end_all(db);
        (void)run_script(db, "ROLLBACK", "roll back", &ignored);
        return -1;
    }
    return 0;
}

static int set_up(struct sqlite_db *db, struct err *e)
{
    char sql[96];
    if (sqlite_in_memory(db->path) == NULL && turn_wal_on(db, e) != 0) {
        return -1;
    }
    (void)snprintf(sql, sizeof sql, "PRAGMA synchronous=FULL; PRAGMA journal_size_limit=%d",
                   LOG_LIMIT_BYTES);
    return run_script(db, sql, "set up", e);
}

int sqlite_open_writer(struct sqlite_db *db, const struct sqlite_schema *schema, struct err *e)
{
    int64_t version;
    bool file = sqlite_in_memory(db->path) == NULL;
    ASSERT(schema->application_id != 0 && schema->application_id <= INT32_MAX);
    if ((file && create_file(db->path, e) != 0) || open_connection(db, e) != 0 ||
        check_file(db, schema, &version, e) != 0 || set_up(db, e) != 0) {
        return -1;
    }
    return version == schema->step_count ? 0 : migrate(db, schema, e);
}

/* SQLite makes the log and its index beside the file while it is open, and after a crash they stay:
 * with the file's mode, of the user of this process. (Of root it gives them to the file's owner.) In
 * a shared directory they get the directory's group. */
static int check_user(const struct sqlite_db *db, const struct stat *file, struct err *e)
{
    char dir[PATH_MAX];
    struct stat in;
    uid_t me = geteuid();
    if (me == 0 || me == file->st_uid) {
        return 0;
    }
    bool shared = get_directory(db->path, dir, sizeof dir) && stat(dir, &in) == 0 &&
                  (in.st_mode & S_ISGID) != 0 && in.st_gid == file->st_gid;
    if (access(db->path, R_OK | W_OK) == 0 && shared) {
        return 0;
    }
    return err_set(
        e, ERR_AUTH, 0,
        "the %s file %s belongs to the user with id %lld, and this process runs as %lld: "
        "run it as the owner (sudo -u), or as root",
        db->what, db->path, (long long)file->st_uid, (long long)me);
}

static int check_exists(const struct sqlite_db *db, struct err *e)
{
    struct stat st;
    if (stat(db->path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return err_set(e, ERR_NOT_FOUND, errno,
                       "there is no %s file %s: its path in the configuration is wrong, or no "
                       "daemon has run with it yet",
                       db->what, db->path);
    }
    if (stat(db->path, &st) != 0) {
        return err_errno(e, ERR_AUTH, errno, "cannot reach the %s file %s", db->what, db->path);
    }
    return check_writable(db->path, e) != 0 ? -1 : check_user(db, &st, e);
}

int sqlite_open_existing(struct sqlite_db *db, const struct sqlite_schema *schema, struct err *e)
{
    int64_t version;
    if (sqlite_in_memory(db->path) != NULL) {
        return sqlite_open_writer(db, schema, e);
    }
    if (check_exists(db, e) != 0 || open_connection(db, e) != 0 ||
        check_file(db, schema, &version, e) != 0) {
        return -1;
    }
    if (version == schema->step_count) {
        return set_up(db, e);
    }
    return err_set(
        e, ERR_CONFLICT, 0,
        "the %s file %s has version %lld, and this program reads %d: start the daemons of "
        "this release, which migrate it, or run the program of their release",
        db->what, db->path, (long long)version, schema->step_count);
}

int sqlite_open_reader(struct sqlite_db *db, struct err *e)
{
    if (open_connection(db, e) != 0) {
        return -1;
    }
    return run_script(db, "PRAGMA query_only=ON", "set up", e);
}
