#include "common/sqlite/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "common/base/streak.h"
#include "common/sqlite/checkpointer.h"
#include "common/sqlite/internal.h"
#include "common/sqlite/open.h"
#include "common/sqlite/turn.h"

#define COMBINE_MAX 64 /* works in one transaction */
/* When the log has grown by LOG_PAGES (4 MiB), its pages are moved into the file beside further commits.
 * That never catches up with them, so the first commit after it moves the rest while no process
 * writes, and the next one begins the log anew. For readers it waits LOG_WAIT_MS; if they remain, or
 * the thread of the first step is missing or slow, all of it is tried again LOG_PAGES later. A log of
 * LOG_PAGES_TRUNCATE is also truncated. */
#define LOG_PAGES 1000
#define LOG_PAGES_TRUNCATE 8000
#define LOG_WAIT_MS 50

/* One thread's call of sqlite_store_write; on its stack. */
struct work {
    sqlite_work_fn *run;
    void *arg;
    struct err *error;
    int result;
    bool finished;
    bool leads; /* this thread has become the leader */
    pthread_cond_t changed;
    struct work *next;
};

struct sqlite_store {
    char *path;
    struct sqlite_db writer;    /* the leader's */
    struct sqlite_turn *turn;   /* the leader's; NULL: not available */
    struct checkpointer *mover; /* the leader's */
    pthread_mutex_t queue_lock;
    struct work *first; /* under queue_lock */
    struct work **last;
    bool led;
    pthread_mutex_t read_lock;
    struct sqlite_db reader; /* under read_lock */
    struct streak writes;
    struct metric *commits;
    struct metric *works;
};

const char *sqlite_store_file(const struct sqlite_store *s)
{
    return s->path;
}

int sqlite_store_path(const char *url, char *out, size_t size, struct err *e)
{
    struct slice scheme = SLICE("sqlite://");
    struct slice u = slice_of(url);
    size_t begin = sqlite_in_memory(url) == NULL ? scheme.len : 0;
    if (begin > 0 && (!slice_starts_with(u, scheme) || u.len < begin + 2 || u.ptr[begin] != '/')) {
        return err_set(e, ERR_PERMANENT, 0,
                       "\"%s\" is not the URL of an SQLite file: write sqlite:///path/to/file",
                       url);
    }
    size_t path_len = strcspn(u.ptr + begin, "?");
    if (begin > 0 && begin + path_len < u.len) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the SQLite URL has no options: remove what begins with '?' after \"%.*s\"",
                       (int)(begin + path_len), url);
    }
    if (u.len - begin >= size) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "the path in \"%.80s…\" is too long", url);
    }
    memcpy(out, u.ptr + begin, u.len - begin + 1);
    return 0;
}

/* --- opening and closing --- */
static void move_rest(struct sqlite_db *db, const char *name, int pages)
{
    int mode = pages < LOG_PAGES_TRUNCATE ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_TRUNCATE;
    db->busy_until_us = clock_mono_us() + LOG_WAIT_MS * 1000;
    db->log_tried_pages = pages;
    /* The commit is durable whether or not the checkpoint succeeds. */
    (void)sqlite3_wal_checkpoint_v2(db->handle, name, mode, NULL, NULL);
}

static int after_commit(void *arg, sqlite3 *handle, const char *name, int pages)
{
    struct sqlite_store *s = arg;
    struct sqlite_db *db = &s->writer;
    enum checkpointer_state mover = checkpointer_poll(s->mover);
    (void)handle;
    if (pages < db->log_tried_pages) {
        db->log_tried_pages = 0; /* the log was restarted */
    }
    int grown = pages - db->log_tried_pages;
    bool is_due = grown >= 2 * LOG_PAGES || (mover == CHECKPOINTER_MOVED && grown > 0);
    bool begins = !is_due && grown >= LOG_PAGES && mover == CHECKPOINTER_IDLE;
    if (is_due || (begins && !checkpointer_begin(s->mover))) {
        move_rest(db, name, pages);
    }
    return SQLITE_OK;
}

static void register_metrics(struct sqlite_store *s, const char *what)
{
    struct buf label;
    buf_init(&label, 256);
    metrics_label(&label, "store", what);
    s->commits = metrics_counter("mayfly_sqlite_commits_total", label.data);
    s->works = metrics_counter("mayfly_sqlite_write_ops_total", label.data);
    buf_fini(&label);
}

static int open_store(const char *path, const struct sqlite_schema *schema, bool existing,
                      struct sqlite_store **out, struct err *e)
{
    /* Two threads may open one new file: see create_file on closing descriptors. */
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
    struct sqlite_store *s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    s->path = slice_dup(slice_of(path));
    s->last = &s->first;
    s->writer = (struct sqlite_db){.what = schema->what, .path = s->path};
    s->reader = s->writer;
    pthread_mutex_init(&s->queue_lock, NULL);
    pthread_mutex_init(&s->read_lock, NULL);
    streak_init(&s->writes);
    register_metrics(s, schema->what);
    pthread_mutex_lock(&opening);
    int rc = existing ? sqlite_open_existing(&s->writer, schema, e)
                      : sqlite_open_writer(&s->writer, schema, e);
    if (rc == 0) {
        rc = sqlite_open_reader(&s->reader, e);
    }
    pthread_mutex_unlock(&opening);
    if (rc != 0) {
        sqlite_store_close(s);
        return -1;
    }
    if (sqlite_in_memory(path) == NULL) {
        s->turn = existing ? sqlite_turn_open_existing(path) : sqlite_turn_open(path);
    }
    s->mover = checkpointer_new(schema->what, s->path);
    (void)sqlite3_wal_hook(s->writer.handle, after_commit, s);
    *out = s;
    return 0;
}

int sqlite_store_open(const char *path, const struct sqlite_schema *schema,
                      struct sqlite_store **out, struct err *e)
{
    return open_store(path, schema, false, out, e);
}

int sqlite_store_open_existing(const char *path, const struct sqlite_schema *schema,
                               struct sqlite_store **out, struct err *e)
{
    return open_store(path, schema, true, out, e);
}

void sqlite_store_close(struct sqlite_store *s)
{
    if (s == NULL) {
        return;
    }
    ASSERT(s->first == NULL && !s->led);
    checkpointer_free(s->mover);
    sqlite_db_close(&s->reader);
    /* The last connection of all processes moves the log into the file and removes it. */
    sqlite_db_close(&s->writer);
    sqlite_turn_close(s->turn);
    pthread_mutex_destroy(&s->queue_lock);
    pthread_mutex_destroy(&s->read_lock);
    streak_fini(&s->writes);
    free(s->path);
    free(s);
}

/* --- transactions --- */
static int exec_control(struct sqlite_db *db, const char *sql, const char *doing, struct err *e)
{
    struct sqlite_rows *r = sqlite_query(db, sql);
    bool row = true;
    while (row) {
        if (sqlite_next(r, &row, e) != 0) {
            return err_wrap(e, "cannot %s", doing);
        }
    }
    return 0;
}

static void roll_back(struct sqlite_db *db)
{
    struct err ignored;
    sqlite_db_end_all(db);
    /* SQLite rolls back by itself after some errors (a full disk). */
    if (sqlite3_get_autocommit(db->handle) == 0) {
        (void)exec_control(db, "ROLLBACK", "roll back", &ignored);
    }
}

/* SQLite keeps using a file that was removed or replaced, and its commits are then lost. */
static int check_in_place(struct sqlite_db *db, struct err *e)
{
    int moved = 0;
    int rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (rc == SQLITE_OK && moved != 0) {
        return err_set(e, ERR_AUTH, ENOENT,
                       "the %s file %s was removed or replaced while it was open; restart the "
                       "programs that use it",
                       db->what, db->path);
    }
    return 0;
}

/* An I/O error may be the first sign that the file was removed: then returns that error. Returns
 * rc.
 */
static int replace_by_file_gone(struct sqlite_db *db, int rc, struct err *e)
{
    struct err gone;
    if (rc != 0 && e->class == ERR_RETRY && check_in_place(db, &gone) != 0) {
        *e = gone;
    }
    return rc;
}

enum work_end { WORK_KEPT, WORK_UNDONE, WORK_TRANSACTION_LOST };

static enum work_end run_in_savepoint(struct sqlite_db *db, struct work *w)
{
    w->result = exec_control(db, "SAVEPOINT work", "begin", w->error);
    if (w->result == 0) {
        w->result = w->run(db, w->arg, w->error);
    }
    sqlite_db_end_all(db);
    if (sqlite3_get_autocommit(db->handle) != 0) {
        return WORK_TRANSACTION_LOST;
    }
    struct err ignored;
    if (w->result != 0 && exec_control(db, "ROLLBACK TO work", "roll back", &ignored) != 0) {
        return WORK_TRANSACTION_LOST;
    }
    if (exec_control(db, "RELEASE work", "end", &ignored) != 0) {
        return WORK_TRANSACTION_LOST;
    }
    return w->result == 0 ? WORK_KEPT : WORK_UNDONE;
}

static int begin_write(struct sqlite_store *s, struct err *e)
{
    struct sqlite_db *db = &s->writer;
    if (sqlite_turn_take(s->turn)) {
        db->turn_held = s->turn;
        db->ends_seen = sqlite_turn_ends(s->turn);
    }
    db->busy_until_us = clock_mono_us() + SQLITE_STORE_BUSY_MS * 1000;
    int rc = exec_control(db, "BEGIN IMMEDIATE", "begin a transaction", e);
    if (db->turn_held != NULL) {
        db->turn_held = NULL;
        sqlite_turn_give(s->turn);
    }
    return rc;
}

static void roll_back_write(struct sqlite_store *s)
{
    roll_back(&s->writer);
    sqlite_turn_notify_end(s->turn);
}

static int commit_write(struct sqlite_store *s, int64_t works, struct err *e)
{
    if (exec_control(&s->writer, "COMMIT", "commit", e) != 0) {
        roll_back_write(s);
        return -1;
    }
    sqlite_turn_notify_end(s->turn);
    metric_inc(s->commits);
    metric_add(s->works, works);
    return check_in_place(&s->writer, e);
}

static void run_alone(struct sqlite_store *s, struct work *w)
{
    w->result = begin_write(s, w->error);
    if (w->result != 0) {
        return;
    }
    w->result = w->run(&s->writer, w->arg, w->error);
    sqlite_db_end_all(&s->writer);
    if (w->result != 0) {
        roll_back_write(s);
        return;
    }
    w->result = commit_write(s, 1, w->error);
}

/* Executes all of them in one transaction; false if that failed as a whole and changed nothing. */
static bool run_together(struct sqlite_store *s, struct work *works, int64_t count)
{
    struct err error;
    if (begin_write(s, &error) != 0) {
        for (struct work *w = works; w != NULL; w = w->next) {
            w->result = -1;
            *w->error = error;
        }
        return true;
    }
    for (struct work *w = works; w != NULL; w = w->next) {
        if (run_in_savepoint(&s->writer, w) == WORK_TRANSACTION_LOST) {
            roll_back_write(s);
            return false;
        }
    }
    return commit_write(s, count, &error) == 0;
}

/* Whether the store is in trouble, and not the caller. */
static bool is_of_store(const struct err *e)
{
    return e->class == ERR_RETRY || e->class == ERR_CAPACITY || e->class == ERR_AUTH;
}

/* For sqlite_store_ping. wrote: the batch has changed the file; one that has not proves nothing. */
static void note_write(struct sqlite_store *s, const struct work *w, bool wrote)
{
    if (w->result != 0 && is_of_store(w->error)) {
        streak_failure(&s->writes, w->error);
    } else if (w->result == 0 && wrote) {
        streak_success(&s->writes);
    }
}

/* The leader executes the queued writes and sets their results. */
static void lead_batch(struct sqlite_store *s)
{
    struct work *works = s->first;
    struct work *end = works;
    int64_t count = 1;
    for (; end->next != NULL && count < COMBINE_MAX; count++) {
        end = end->next;
    }
    s->first = end->next;
    if (s->first == NULL) {
        s->last = &s->first;
    }
    end->next = NULL;
    pthread_mutex_unlock(&s->queue_lock);
    int changes = sqlite3_total_changes(s->writer.handle);
    /* If one of them breaks the whole transaction (the disk filled up), each gets a transaction of
     * its own, so that the others succeed. */
    if (count == 1 || !run_together(s, works, count)) {
        for (struct work *w = works; w != NULL; w = w->next) {
            run_alone(s, w);
        }
    }
    for (struct work *w = works; w != NULL; w = w->next) {
        w->result = replace_by_file_gone(&s->writer, w->result, w->error);
        note_write(s, w, sqlite3_total_changes(s->writer.handle) != changes);
    }
    pthread_mutex_lock(&s->queue_lock);
    for (struct work *w = works; w != NULL;) {
        struct work *next = w->next; /* w is gone once its thread sees `finished` */
        w->finished = true;
        pthread_cond_signal(&w->changed);
        w = next;
    }
    s->led = s->first != NULL;
    if (s->led) {
        s->first->leads = true;
        pthread_cond_signal(&s->first->changed);
    }
}

int sqlite_store_write(struct sqlite_store *s, sqlite_work_fn *run, void *arg, struct err *e)
{
    struct work w = {.run = run, .arg = arg, .error = e, .changed = PTHREAD_COND_INITIALIZER};
    pthread_mutex_lock(&s->queue_lock);
    *s->last = &w;
    s->last = &w.next;
    if (!s->led) {
        s->led = true;
        w.leads = true;
    }
    while (!w.leads && !w.finished) {
        pthread_cond_wait(&w.changed, &s->queue_lock);
    }
    if (!w.finished) {
        lead_batch(s);
    }
    pthread_mutex_unlock(&s->queue_lock);
    pthread_cond_destroy(&w.changed);
    return w.result;
}

static int read_locked(struct sqlite_store *s, sqlite_work_fn *run, void *arg, struct err *e)
{
    struct sqlite_db *db = &s->reader;
    db->busy_until_us = clock_mono_us() + SQLITE_STORE_BUSY_MS * 1000;
    if (check_in_place(db, e) != 0 || exec_control(db, "BEGIN", "begin reading", e) != 0) {
        return -1;
    }
    int rc = run(db, arg, e);
    /* Nothing was written, so a rollback is enough. */
    roll_back(db);
    return rc;
}

int sqlite_store_read(struct sqlite_store *s, sqlite_work_fn *run, void *arg, struct err *e)
{
    pthread_mutex_lock(&s->read_lock);
    int rc = replace_by_file_gone(&s->reader, read_locked(s, run, arg, e), e);
    pthread_mutex_unlock(&s->read_lock);
    return rc;
}

int sqlite_store_version(struct sqlite_store *s, int64_t *out, struct err *e)
{
    pthread_mutex_lock(&s->read_lock);
    s->reader.busy_until_us = clock_mono_us() + SQLITE_STORE_BUSY_MS * 1000;
    int rc = check_in_place(&s->reader, e);
    if (rc == 0) {
        rc = sqlite_number(&s->reader, out, 0, e, "PRAGMA data_version");
        rc = replace_by_file_gone(&s->reader, rc, e);
    }
    pthread_mutex_unlock(&s->read_lock);
    return rc;
}

static int read_version(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, 0, e, "PRAGMA user_version");
}

int sqlite_store_ping(struct sqlite_store *s, struct err *e)
{
    int64_t version;
    if (streak_lasts(&s->writes, e)) {
        return -1;
    }
    return sqlite_store_read(s, read_version, &version, e);
}
