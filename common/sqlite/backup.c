#include "common/sqlite/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/sqlite/internal.h"

#define BACKUP_MODE 0600

static int open_source(struct sqlite_db *db, struct err *e)
{
    if (access(db->path, F_OK) != 0) {
        return err_errno(e, ERR_NOT_FOUND, errno, "there is no %s file %s to copy", db->what,
                         db->path);
    }
    int rc =
        sqlite3_open_v2(db->path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        return sqlite_db_error(db, rc, "open", e);
    }
    (void)sqlite3_extended_result_codes(db->handle, 1);
    (void)sqlite3_busy_timeout(db->handle, SQLITE_STORE_BUSY_MS);
    return 0;
}

/* SQLite accepts an empty file, which thus has its mode from the start. */
static int create_copy(const char *path, struct err *e)
{
    int fd = fs_create(path, O_WRONLY | O_EXCL, BACKUP_MODE);
    if (fd < 0) {
        return err_errno(e, errno == ENOSPC ? ERR_CAPACITY : ERR_PERMANENT, errno,
                         "cannot create %s", path);
    }
    close(fd);
    return 0;
}

static int sync_path(const char *path, int flags, struct err *e)
{
    int fd = open(path, flags | O_CLOEXEC);
    int rc = fd >= 0 ? fsync(fd) : -1;
    int failed = errno;
    if (fd >= 0) {
        close(fd);
    }
    return rc == 0 ? 0 : err_errno(e, ERR_RETRY, failed, "cannot flush %s", path);
}

/* link() refuses an existing file, which rename() would replace. */
static int publish_copy(const char *made, const char *to, int64_t *bytes, struct err *e)
{
    char directory[PATH_MAX];
    struct stat st;
    const char *slash = strrchr(to, '/');
    (void)snprintf(directory, sizeof directory, "%.*s", slash != NULL ? (int)(slash - to + 1) : 1,
                   slash != NULL ? to : ".");
    if (sync_path(made, O_RDONLY, e) != 0) {
        return -1;
    }
    if (stat(made, &st) != 0 || link(made, to) != 0) {
        return err_errno(e, errno == EEXIST ? ERR_CONFLICT : ERR_RETRY, errno,
                         "cannot put the copy at %s", to);
    }
    *bytes = st.st_size;
    return sync_path(directory, O_RDONLY | O_DIRECTORY, e);
}

static int copy_into(struct sqlite_db *db, const char *made, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db->handle, "VACUUM INTO ?1", -1, &statement, NULL);
    rc = rc == SQLITE_OK ? sqlite3_bind_text(statement, 1, made, -1, SQLITE_STATIC) : rc;
    rc = rc == SQLITE_OK ? sqlite3_step(statement) : rc;
    int failed = rc == SQLITE_DONE ? 0 : sqlite_db_error(db, rc, "copy", e);
    (void)sqlite3_finalize(statement);
    return failed;
}

static int mark_copy(const char *made, const char *what, const char *mark, struct err *e)
{
    struct sqlite_db db = {.what = what, .path = made};
    if (mark == NULL) {
        return 0;
    }
    int rc = sqlite3_open_v2(made, &db.handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    rc = rc == SQLITE_OK ? sqlite3_exec(db.handle, mark, NULL, NULL, NULL) : rc;
    int failed = rc == SQLITE_OK ? 0 : sqlite_db_error(&db, rc, "mark the copy of", e);
    sqlite_db_close(&db);
    return failed;
}

int sqlite_backup(const char *url, const char *what, const char *to, const char *mark,
                  int64_t *bytes, struct err *e)
{
    char path[PATH_MAX];
    char made[PATH_MAX];
    struct sqlite_db db = {.what = what, .path = path};
    if (sqlite_store_path(url, path, sizeof path, e) != 0) {
        return -1;
    }
    if ((size_t)snprintf(made, sizeof made, "%s.%d.part", to, (int)getpid()) >= sizeof made) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "the path %.80s… is too long", to);
    }
    if (access(to, F_OK) == 0) {
        return err_set(e, ERR_CONFLICT, EEXIST, "%s exists: a backup replaces no file", to);
    }
    if (create_copy(made, e) != 0) {
        return -1;
    }
    int rc = open_source(&db, e);
    rc = rc == 0 ? copy_into(&db, made, e) : rc;
    rc = rc == 0 ? mark_copy(made, what, mark, e) : rc;
    rc = rc == 0 ? publish_copy(made, to, bytes, e) : rc;
    sqlite_db_close(&db);
    (void)unlink(made);
    return rc;
}
