#include "common/sqlite/checkpointer.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/thread.h"
#include "common/sqlite/open.h"

struct checkpointer {
    struct sqlite_db db; /* the thread's, once it runs */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum checkpointer_state state; /* under lock, as the rest */
    bool stopping;
    bool started; /* the store's */
    pthread_t thread;
};

struct checkpointer *checkpointer_new(const char *what, const char *path)
{
    struct checkpointer *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    c->db = (struct sqlite_db){.what = what, .path = path};
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0 && pthread_cond_init(&c->changed, NULL) == 0);
    return c;
}

/* A passive checkpoint waits for nobody: it moves what no reader needs, and nothing while another
 * process moves. */
static void *move_until_stopped(void *arg)
{
    struct checkpointer *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        if (c->state != CHECKPOINTER_MOVES) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        (void)sqlite3_wal_checkpoint_v2(c->db.handle, "main", SQLITE_CHECKPOINT_PASSIVE, NULL,
                                        NULL);
        pthread_mutex_lock(&c->lock);
        c->state = CHECKPOINTER_MOVED;
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* A connection that has read nothing does not know that the file has a log, and moves nothing. */
static bool open_log(struct checkpointer *c)
{
    struct err ignored;
    return sqlite_open_reader(&c->db, &ignored) == 0 &&
           sqlite3_exec(c->db.handle, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL) ==
               SQLITE_OK;
}

static bool start(struct checkpointer *c)
{
    struct err ignored;
    c->started = open_log(c) && thread_start(&c->thread, "the thread that moves an SQLite log",
                                             move_until_stopped, c, &ignored) == 0;
    if (!c->started) {
        sqlite_db_close(&c->db);
    }
    return c->started;
}

enum checkpointer_state checkpointer_poll(struct checkpointer *c)
{
    pthread_mutex_lock(&c->lock);
    enum checkpointer_state state = c->state;
    c->state = state == CHECKPOINTER_MOVED ? CHECKPOINTER_IDLE : state;
    pthread_mutex_unlock(&c->lock);
    return state;
}

bool checkpointer_begin(struct checkpointer *c)
{
    if (!c->started && !start(c)) {
        return false;
    }
    pthread_mutex_lock(&c->lock);
    c->state = CHECKPOINTER_MOVES;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_signal(&c->changed);
    return true;
}

void checkpointer_free(struct checkpointer *c)
{
    if (c == NULL) {
        return;
    }
    if (c->started) {
        pthread_mutex_lock(&c->lock);
        c->stopping = true;
        pthread_mutex_unlock(&c->lock);
        pthread_cond_signal(&c->changed);
        ASSERT(pthread_join(c->thread, NULL) == 0);
        sqlite_db_close(&c->db);
    }
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
