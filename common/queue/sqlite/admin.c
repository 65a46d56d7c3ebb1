/*
 * The queue on one SQLite file: depths, dead letters, search by key.
 *
 * Everything except redrive and delete uses the store's reading connection and blocks no other
 * process.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/sqlite/internal.h"

#define LANES_MAX 4096 /* lanes in one result */
/* Messages of a lane that are due and that nobody has received since: of more, the rest counts as what
 * it was. */
#define DUE_COUNTED 10000

int queue_sqlite_id(const char *id, int64_t *out, struct err *e)
{
    if (!slice_to_int64(slice_of(id), out) || *out <= 0) {
        return err_set(e, ERR_NOT_FOUND, 0, "\"%.80s\" is not a message id: an id is a number", id);
    }
    return 0;
}

/* --- depths --- */
struct depths {
    const char *lane; /* NULL: all */
    int64_t now;
    struct queue_depth *all;
    size_t count;
    size_t index; /* of the lane whose due messages are read */
};

static struct queue_depth *find_or_add_depth(struct depths *d, const char *lane)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->all[i].lane, lane) == 0) {
            return &d->all[i];
        }
    }
    if (d->count == LANES_MAX) {
        return NULL;
    }
    d->all = realloc(d->all, (d->count + 1) * sizeof *d->all);
    ASSERT(d->all != NULL);
    struct queue_depth *added = &d->all[d->count++];
    *added = (struct queue_depth){0};
    ASSERT(slice_to_cstr(slice_of(lane), added->lane, sizeof added->lane));
    return added;
}

static void add_oldest(struct queue_depth *depth, int64_t age_ms)
{
    depth->oldest_ready_ms = age_ms > depth->oldest_ready_ms ? age_ms : depth->oldest_ready_ms;
}

static int64_t *count_in(struct queue_depth *depth, enum queue_place place)
{
    switch (place) {
    case QUEUE_READY:
        return &depth->ready;
    case QUEUE_LEASED:
        return &depth->leased;
    case QUEUE_DELAYED:
        return &depth->delayed;
    case QUEUE_DEAD:
        break;
    }
    return &depth->dead;
}

static void add_count(struct sqlite_rows *r, void *arg)
{
    struct depths *d = arg;
    char lane[QUEUE_LANE_MAX + 1];
    sqlite_text(r, 0, lane, sizeof lane);
    struct queue_depth *depth = find_or_add_depth(d, lane);
    enum queue_place place = (enum queue_place)sqlite_int(r, 1);
    if (depth == NULL) {
        return;
    }
    *count_in(depth, place) = sqlite_int(r, 2);
}

static void add_oldest_ready(struct sqlite_rows *r, void *arg)
{
    struct depths *d = arg;
    if (sqlite_int(r, 0) != 0) {
        add_oldest(&d->all[d->index], d->now - sqlite_int(r, 0));
    }
}

static void add_due(struct sqlite_rows *r, void *arg)
{
    struct depths *d = arg;
    struct queue_depth *depth = &d->all[d->index];
    int64_t n = sqlite_int(r, 1);
    *count_in(depth, (enum queue_place)sqlite_int(r, 0)) -= n;
    depth->ready += n;
    add_oldest(depth, d->now - sqlite_int(r, 2));
}

/* Of the first messages of each group in a lane's order. */
#define OLDEST_READY                                                                               \
    "WITH RECURSIVE groups (name) AS ("                                                            \
    "  SELECT min(in_group) FROM messages WHERE place = 0 AND lane = ?1 UNION ALL"                 \
    "  SELECT (SELECT min(in_group) FROM messages WHERE place = 0 AND lane = ?1"                   \
    "    AND in_group > name) FROM groups WHERE name IS NOT NULL LIMIT 10000) "                    \
    "SELECT min((SELECT enqueued_ms FROM messages WHERE place = 0 AND lane = ?1"                   \
    "  AND in_group = name ORDER BY " QUEUE_SQLITE_TURN " LIMIT 1)) FROM groups"

/* Reads what puts and the triggers counted, and the oldest of each lane. A message that is due counts as ready:
 * the next receive makes it so. */
static int depths_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct depths *d = arg;
    struct sqlite_value lane = d->lane != NULL ? SQL_TEXT(d->lane) : SQL_NULL();
    d->count = 0;
    if (d->lane != NULL) {
        (void)find_or_add_depth(d, d->lane);
    }
    struct sqlite_rows *counts = sqlite_query(
        db, "SELECT lane, place, n FROM tally WHERE n > 0 AND (?1 IS NULL OR lane = ?1)", lane);
    int rc = sqlite_each(counts, add_count, d, e);
    for (d->index = 0; rc == 0 && d->index < d->count; d->index++) {
        rc = sqlite_each(sqlite_query(db, OLDEST_READY, SQL_TEXT(d->all[d->index].lane)),
                         add_oldest_ready, d, e);
        if (rc != 0) {
            break;
        }
        struct sqlite_rows *due =
            sqlite_query(db,
                         "SELECT place, count(*), min(enqueued_ms) FROM (SELECT place, enqueued_ms "
                         "FROM messages WHERE lane = ?1 AND due_ms <= ?2 LIMIT ?3) GROUP BY place",
                         SQL_TEXT(d->all[d->index].lane), SQL_INT(d->now), SQL_INT(DUE_COUNTED));
        rc = sqlite_each(due, add_due, d, e);
    }
    return rc;
}

static int sqlite_compare_lanes(const void *a, const void *b)
{
    return strcmp(((const struct queue_depth *)a)->lane, ((const struct queue_depth *)b)->lane);
}

int queue_sqlite_depths(void *state, const char *lane, struct queue_depth **out, size_t *n,
                        struct err *e)
{
    struct queue_sqlite *q = state;
    struct depths d = {.lane = lane, .now = clock_wall_ms()};
    if (sqlite_store_read(q->store, depths_work, &d, e) != 0) {
        free(d.all);
        return -1;
    }
    if (d.count > 1) {
        qsort(d.all, d.count, sizeof *d.all, sqlite_compare_lanes);
    }
    *out = d.all;
    *n = d.count;
    return 0;
}

/* --- entries --- */
struct search {
    const char *lane; /* dead letters of; NULL all */
    const char *key;  /* entries of; NULL: dead letters */
    size_t max;
    int64_t now;
    struct queue_entry *entries;
    size_t count;
};

#define ENTRY_COLUMNS                                                                              \
    "id, lane, key, attempts, enqueued_ms, body, place, due_ms, dead_lettered_ms, reason"

static void sqlite_read_entry(struct sqlite_rows *r, void *arg)
{
    struct search *s = arg;
    s->entries = realloc(s->entries, (s->count + 1) * sizeof *s->entries);
    ASSERT(s->entries != NULL);
    struct queue_entry *entry = &s->entries[s->count++];
    *entry = (struct queue_entry){.ahead = -1};
    queue_sqlite_message(r, &entry->message);
    entry->place = (enum queue_place)sqlite_int(r, 6);
    entry->due_ms = sqlite_int(r, 7);
    entry->dead_lettered_ms = sqlite_int(r, 8);
    sqlite_text(r, 9, entry->reason, sizeof entry->reason);
    if (entry->due_ms != 0 && entry->due_ms <= s->now) {
        entry->place = QUEUE_READY;
        entry->due_ms = 0;
    }
    if (entry->place == QUEUE_LEASED) {
        entry->message.leased_until_ms = entry->due_ms;
    }
}

#define TURN_WHEN_DUE "iif(place = 2, 9223372036854775807, " QUEUE_SQLITE_TURN ")"

/* Only a ready message has others ahead of it. */
static int count_ahead(struct sqlite_db *db, struct queue_entry *entry, int64_t now, struct err *e)
{
    int64_t id;
    if (entry->place != QUEUE_READY) {
        return 0;
    }
    if (queue_sqlite_id(entry->message.id, &id, e) != 0) {
        return -1;
    }
    /* A delayed message that is due gets the last turn with the next receive. */
    return sqlite_number(
        db, &entry->ahead, 0, e,
        "SELECT (SELECT count(*) FROM messages AS m WHERE lane = ?1 AND place = 0 "
        "AND in_group = me.in_group AND (" QUEUE_SQLITE_TURN ", id) < (me.turn, ?2)) + "
        "(SELECT count(*) FROM messages AS m WHERE lane = ?1 AND due_ms <= ?3 "
        "AND in_group = me.in_group AND (" TURN_WHEN_DUE ", id) < (me.turn, ?2)) "
        "FROM (SELECT " TURN_WHEN_DUE " AS turn, in_group FROM messages WHERE id = ?2) AS me",
        SQL_TEXT(entry->message.lane), SQL_INT(id), SQL_INT(now));
}

static void free_entries(struct search *s)
{
    queue_entries_free(s->entries, s->count);
    s->entries = NULL;
    s->count = 0;
}

static int search_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct search *s = arg;
    struct sqlite_value max = SQL_INT((int64_t)s->max);
    struct sqlite_rows *r;
    free_entries(s);
    if (s->key != NULL) {
        r = sqlite_query(db,
                         "SELECT " ENTRY_COLUMNS " FROM messages "
                         "WHERE key = ?1 AND key <> '' ORDER BY id LIMIT ?2",
                         SQL_TEXT(s->key), max);
    } else {
        r = sqlite_query(db,
                         "SELECT " ENTRY_COLUMNS " FROM messages INDEXED BY messages_dead "
                         "WHERE place = 3 AND (?1 IS NULL OR lane = ?1) ORDER BY id LIMIT ?2",
                         s->lane != NULL ? SQL_TEXT(s->lane) : SQL_NULL(), max);
    }
    if (sqlite_each(r, sqlite_read_entry, s, e) != 0) {
        return -1;
    }
    for (size_t i = 0; s->key != NULL && i < s->count; i++) {
        if (count_ahead(db, &s->entries[i], s->now, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int run_search(struct queue_sqlite *q, struct search *s, struct queue_entry **out, size_t *n,
                      struct err *e)
{
    s->now = clock_wall_ms();
    if (sqlite_store_read(q->store, search_work, s, e) != 0) {
        free_entries(s);
        return -1;
    }
    *out = s->entries;
    *n = s->count;
    return 0;
}

static int sqlite_dead(void *state, const char *lane, size_t max, struct queue_entry **out,
                       size_t *n, struct err *e)
{
    struct search s = {.lane = lane, .max = max};
    return run_search(state, &s, out, n, e);
}

static int sqlite_find(void *state, const char *key, size_t max, struct queue_entry **out,
                       size_t *n, struct err *e)
{
    struct search s = {.key = key, .max = max};
    return run_search(state, &s, out, n, e);
}

/* --- redrive and delete --- */
struct by_id {
    int64_t id;
    char lane[QUEUE_LANE_MAX + 1];
    bool found;
};

static int load_dead_lane(struct sqlite_db *db, struct by_id *b, struct err *e)
{
    struct sqlite_rows *r =
        sqlite_query(db, "SELECT lane FROM messages WHERE id = ?1 AND place = 3", SQL_INT(b->id));
    if (sqlite_next(r, &b->found, e) != 0) {
        return -1;
    }
    if (b->found) {
        sqlite_text(r, 0, b->lane, sizeof b->lane);
        sqlite_rows_end(r);
    }
    return 0;
}

static int redrive_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct by_id *b = arg;
    if (load_dead_lane(db, b, e) != 0) {
        return -1;
    }
    return sqlite_exec(db, e,
                       "UPDATE messages SET place = 0, attempts = 0, dead_lettered_ms = 0, "
                       "turn = " QUEUE_SQLITE_LAST_TURN " WHERE id = ?1 AND place = 3",
                       SQL_INT(b->id));
}

static int delete_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct by_id *b = arg;
    if (load_dead_lane(db, b, e) != 0) {
        return -1;
    }
    return sqlite_exec(db, e, "DELETE FROM messages WHERE id = ?1 AND place = 3", SQL_INT(b->id));
}

static int sqlite_change_dead(struct queue_sqlite *q, const char *id, sqlite_work_fn *work,
                              struct by_id *b, struct err *e)
{
    if (queue_sqlite_id(id, &b->id, e) != 0 || sqlite_store_write(q->store, work, b, e) != 0) {
        return -1;
    }
    if (!b->found) {
        return err_set(e, ERR_NOT_FOUND, 0, "no dead letter has the id %s", id);
    }
    return 0;
}

static int sqlite_redrive(void *state, const char *id, struct err *e)
{
    struct queue_sqlite *q = state;
    struct by_id b;
    if (sqlite_change_dead(q, id, redrive_work, &b, e) != 0) {
        return -1;
    }
    queue_sqlite_waiters_notify(q->waiters, b.lane, 1, INT64_MAX);
    return 0;
}

static int sqlite_delete(void *state, const char *id, struct err *e)
{
    struct by_id b;
    return sqlite_change_dead(state, id, delete_work, &b, e);
}

const struct queue_admin_ops queue_sqlite_admin = {
    .dead = sqlite_dead,
    .find = sqlite_find,
    .redrive = sqlite_redrive,
    .delete = sqlite_delete,
};
