/*
 * The queue on one SQLite file: put, receive, and the calls of a lease's holder.
 *
 * A lease is the pair of the message's id, which is never reused, and the row's lease number, which
 * grows with every change of holder; an old holder's pair matches no row. Leases and delays end by
 * the wall clock, which all processes of the host share. If the clock jumps forward, leases expire
 * early: a message may be processed twice, and its first holder gets ERR_CONFLICT. If it jumps
 * back, what is due later than in a minute is due earlier by that much, by the first process that
 * notices it. Neither loses a message. Deleted rows leave
 * free pages that later puts use, so the file keeps its maximum size; auto_vacuum would only move
 * pages that are needed again.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/queue/sqlite/internal.h"

#define CLOCK_STEP_MS 60000
#define GROUP_SIZE 256
#define DUE_AT_ONCE 1024 /* expired leases and delays made ready by one receive */

/* place: enum queue_place. due_ms is set only for places that a message leaves by time. */
static const char *const steps[] = {
    "CREATE TABLE messages ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  lane TEXT NOT NULL,"
    "  place INTEGER NOT NULL CHECK (place BETWEEN 0 AND 3),"
    "  due_ms INTEGER CHECK ((due_ms IS NOT NULL) = (place IN (1, 2))),"
    "  lease INTEGER NOT NULL DEFAULT 0,"
    "  attempts INTEGER NOT NULL DEFAULT 0,"
    "  enqueued_ms INTEGER NOT NULL,"
    "  dead_lettered_ms INTEGER NOT NULL DEFAULT 0,"
    "  key TEXT NOT NULL,"
    "  reason TEXT NOT NULL DEFAULT '',"
    "  body BLOB NOT NULL) STRICT;"
    "CREATE INDEX messages_ready ON messages (place, lane) WHERE place = 0;"
    "CREATE INDEX messages_due ON messages (lane, due_ms, place) WHERE due_ms IS NOT NULL;"
    "CREATE INDEX messages_dead ON messages (place, lane) WHERE place = 3;"
    "CREATE INDEX messages_key ON messages (key) WHERE key <> '';",
    /* A lane's order: a message has its turn by its id, or, when it was returned, delayed or
     * redriven, after all that had been put by then (QUEUE_SQLITE_LAST_TURN). */
    "ALTER TABLE messages ADD COLUMN turn INTEGER;"
    "DROP INDEX messages_ready;"
    "CREATE INDEX messages_ready ON messages (place, lane, " QUEUE_SQLITE_TURN ") WHERE place = 0;",
    /* The groups of a lane are served in the order of their names, one message of each; served: the
     * last one. */
    "ALTER TABLE messages ADD COLUMN in_group TEXT NOT NULL DEFAULT '';"
    "DROP INDEX messages_ready;"
    "CREATE INDEX messages_ready ON messages (place, lane, in_group, " QUEUE_SQLITE_TURN
    ") WHERE place = 0;"
    "CREATE TABLE lanes (lane TEXT PRIMARY KEY, served TEXT NOT NULL) STRICT, WITHOUT ROWID;",
    /* How many messages are in each place of a lane, so that nobody has to count them; and what finds the
     * oldest ones. */
    "CREATE TABLE tally (lane TEXT NOT NULL, place INTEGER NOT NULL, n INTEGER NOT NULL,"
    "  PRIMARY KEY (lane, place)) STRICT, WITHOUT ROWID;"
    "INSERT INTO tally SELECT lane, place, count(*) FROM messages GROUP BY lane, place;"
    "CREATE TRIGGER message_added AFTER INSERT ON messages BEGIN"
    "  INSERT INTO tally VALUES (NEW.lane, NEW.place, 1) ON CONFLICT DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER message_moved AFTER UPDATE OF place ON messages"
    "  WHEN OLD.place <> NEW.place BEGIN"
    "  UPDATE tally SET n = n - 1 WHERE lane = OLD.lane AND place = OLD.place;"
    "  INSERT INTO tally VALUES (NEW.lane, NEW.place, 1) ON CONFLICT DO UPDATE SET n = n + 1;"
    "END;"
    "CREATE TRIGGER message_removed AFTER DELETE ON messages BEGIN"
    "  UPDATE tally SET n = n - 1 WHERE lane = OLD.lane AND place = OLD.place;"
    "END;"
    "CREATE INDEX messages_oldest ON messages (lane, id) WHERE place = 0;"
    "DROP INDEX messages_dead;"
    "CREATE INDEX messages_dead ON messages (place, id) WHERE place = 3;",
    /* Each index and trigger costs every put. A put counts its messages itself; the oldest message of a
     * lane is found by its groups. */
    "DROP TRIGGER message_added;"
    "DROP INDEX messages_oldest;"
    "DROP INDEX messages_ready;"
    "CREATE INDEX messages_ready ON messages (lane, in_group, " QUEUE_SQLITE_TURN
    ") WHERE place = 0;",
};

static const struct sqlite_schema schema = {
    .what = "queue",
    .application_id = 0x4d665131, /* "MfQ1" */
    .steps = steps,
    .step_count = COUNT_OF(steps),
};

static int sqlite_open_queue(const char *url, bool existing, void **out_state, struct err *e)
{
    char path[PATH_MAX];
    struct sqlite_store *store;
    if (sqlite_store_path(url, path, sizeof path, e) != 0 ||
        (existing ? sqlite_store_open_existing(path, &schema, &store, e)
                  : sqlite_store_open(path, &schema, &store, e)) != 0) {
        return -1;
    }
    struct queue_sqlite *q = calloc(1, sizeof *q);
    ASSERT(q != NULL);
    q->store = store;
    q->waiters = queue_sqlite_waiters_new(store);
    q->offset_ms = clock_wall_ms() - clock_mono_ms();
    *out_state = q;
    return 0;
}

static void sqlite_close_queue(void *state)
{
    struct queue_sqlite *q = state;
    queue_sqlite_waiters_free(q->waiters);
    sqlite_store_close(q->store);
    free(q);
}

/* --- put --- */
struct put {
    const struct queue_item *items;
    size_t n;
};

/* OR FAIL: what it has written before an error is undone with the transaction, so that SQLite need not
 * keep a journal of the statement. */
#define INSERT                                                                                     \
    "INSERT OR FAIL INTO messages (lane, place, due_ms, enqueued_ms, key, body, in_group) VALUES "
#define ROW "(?, ?, ?, ?, ?, ?, ?)"
#define ROW_VALUES 7
#define FOUR_ROWS ROW "," ROW "," ROW "," ROW
#define ROWS_AT_ONCE 16
static const char insert_one[] = INSERT ROW;
static const char insert_many[] = INSERT FOUR_ROWS "," FOUR_ROWS "," FOUR_ROWS "," FOUR_ROWS;

static void set_row(struct sqlite_value *row, const struct queue_item *item, int64_t now)
{
    bool delayed = item->delay_ms > 0;
    row[0] = SQL_TEXT(item->lane);
    row[1] = SQL_INT(delayed ? QUEUE_DELAYED : QUEUE_READY);
    row[2] = delayed ? SQL_INT(now + item->delay_ms) : SQL_NULL();
    row[3] = SQL_INT(now);
    row[4] = SQL_TEXT(item->key);
    row[5] = SQL_BLOB(item->body);
    row[6] = SQL_TEXT(item->group != NULL ? item->group : "");
}

static int insert_items(struct sqlite_db *db, const struct put *p, struct err *e)
{
    struct sqlite_value values[ROWS_AT_ONCE * ROW_VALUES];
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < p->n;) {
        bool many = p->n - i >= ROWS_AT_ONCE;
        size_t rows = many ? ROWS_AT_ONCE : 1;
        for (size_t k = 0; k < rows; k++) {
            set_row(&values[k * ROW_VALUES], &p->items[i + k], now);
        }
        if (sqlite_exec_list(db, e, many ? insert_many : insert_one, values, rows * ROW_VALUES) !=
            0) {
            return -1;
        }
        i += rows;
    }
    return 0;
}

/* Whether both are counted together. */
static bool same_place(const struct queue_item *a, const struct queue_item *b)
{
    return (a->delay_ms > 0) == (b->delay_ms > 0) && strcmp(a->lane, b->lane) == 0;
}

/* A put has few lanes, so that the first of a place is found soon. */
static int count_items(struct sqlite_db *db, const struct put *p, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct queue_item *item = &p->items[i];
        int64_t n = 0;
        size_t first = 0;
        while (!same_place(&p->items[first], item)) {
            first++;
        }
        for (size_t k = i; first == i && k < p->n; k++) {
            n += same_place(&p->items[k], item);
        }
        if (n > 0 && sqlite_exec(db, e,
                                 "INSERT INTO tally VALUES (?1, ?2, ?3) "
                                 "ON CONFLICT DO UPDATE SET n = n + excluded.n",
                                 SQL_TEXT(item->lane),
                                 SQL_INT(item->delay_ms > 0 ? QUEUE_DELAYED : QUEUE_READY),
                                 SQL_INT(n)) != 0) {
            return -1;
        }
    }
    return 0;
}

static int put_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const struct put *p = arg;
    return insert_items(db, p, e) != 0 ? -1 : count_items(db, p, e);
}

static int sqlite_put(void *state, const struct queue_item *items, size_t n, struct err *e)
{
    struct queue_sqlite *q = state;
    struct put p = {items, n};
    if (sqlite_store_write(q->store, put_work, &p, e) != 0) {
        return -1;
    }
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < n; i++) {
        bool delayed = items[i].delay_ms > 0;
        queue_sqlite_waiters_notify(q->waiters, items[i].lane, delayed ? 0 : 1,
                                    delayed ? now + items[i].delay_ms : INT64_MAX);
    }
    return 0;
}

/* --- receive --- */
struct receive {
    const char *lane;
    size_t max;
    int64_t lease_ms;
    struct queue_message *out;
    size_t got;
    char served[GROUP_SIZE]; /* the group of the last one */
};

static void free_received(struct receive *t)
{
    for (size_t i = 0; i < t->got; i++) {
        queue_message_fini(&t->out[i]);
    }
    t->got = 0;
}

void queue_sqlite_message(struct sqlite_rows *r, struct queue_message *m)
{
    *m = (struct queue_message){0};
    sqlite_text(r, 0, m->id, sizeof m->id);
    sqlite_text(r, 1, m->lane, sizeof m->lane);
    sqlite_text(r, 2, m->key, sizeof m->key);
    m->attempts = sqlite_int(r, 3);
    m->enqueued_ms = sqlite_int(r, 4);
    struct slice body = sqlite_bytes(r, 5);
    m->body = slice_dup(body);
    m->body_len = body.len;
}

/* A message that is due later than any delay can be was returned by a clock that was ahead. */
static int make_due_ready(struct sqlite_db *db, const char *lane, int64_t now, struct err *e)
{
    return sqlite_exec(db, e,
                       "UPDATE messages SET place = 0, due_ms = NULL, "
                       "turn = iif(place = 2, " QUEUE_SQLITE_LAST_TURN ", turn) WHERE id IN ("
                       "  SELECT id FROM messages WHERE lane = ?1 AND (due_ms <= ?2 OR due_ms > ?4)"
                       "  ORDER BY due_ms LIMIT ?3)",
                       SQL_TEXT(lane), SQL_INT(now), SQL_INT(DUE_AT_ONCE),
                       SQL_INT(now + QUEUE_DELAY_MAX_MS));
}

static void take_ready(struct sqlite_rows *r, void *arg)
{
    struct receive *t = arg;
    struct queue_message *m = &t->out[t->got++];
    queue_sqlite_message(r, m);
    (void)snprintf(m->receipt, sizeof m->receipt, "%s.%" PRId64, m->id, sqlite_int(r, 6) + 1);
    sqlite_text(r, 7, t->served, sizeof t->served);
}

#define NEXT_READY                                                                                 \
    "SELECT id, lane, key, attempts, enqueued_ms, body, lease, in_group FROM messages "            \
    "WHERE lane = ?1 AND place = 0 AND in_group "
#define IN_TURN " ?2 ORDER BY in_group, " QUEUE_SQLITE_TURN ", id LIMIT 1"

/* The first message of the group after the one that was served last; after the last group, of the
 * first. */
static int take_next(struct sqlite_db *db, struct receive *t, struct err *e)
{
    size_t before = t->got;
    struct sqlite_rows *r =
        sqlite_query(db, NEXT_READY ">" IN_TURN, SQL_TEXT(t->lane), SQL_TEXT(t->served));
    if (sqlite_each(r, take_ready, t, e) != 0) {
        return -1;
    }
    if (t->got == before) {
        r = sqlite_query(db, NEXT_READY ">=" IN_TURN, SQL_TEXT(t->lane), SQL_TEXT(""));
        return sqlite_each(r, take_ready, t, e);
    }
    return 0;
}

static int lease_one(struct sqlite_db *db, struct queue_message *m, int64_t until, struct err *e)
{
    int64_t id;
    if (queue_sqlite_id(m->id, &id, e) != 0) {
        return -1;
    }
    m->leased_until_ms = until;
    return sqlite_exec(db, e,
                       "UPDATE messages SET place = 1, due_ms = ?2, lease = lease + 1 "
                       "WHERE id = ?1",
                       SQL_INT(id), SQL_INT(until));
}

static int load_served(struct sqlite_db *db, struct receive *t, struct err *e)
{
    bool found = false;
    struct sqlite_rows *r =
        sqlite_query(db, "SELECT served FROM lanes WHERE lane = ?1", SQL_TEXT(t->lane));
    t->served[0] = '\0';
    if (sqlite_next(r, &found, e) != 0) {
        return -1;
    }
    if (found) {
        sqlite_text(r, 0, t->served, sizeof t->served);
        sqlite_rows_end(r);
    }
    return 0;
}

static int store_served(struct sqlite_db *db, const struct receive *t, struct err *e)
{
    return sqlite_exec(db, e,
                       "INSERT INTO lanes VALUES (?1, ?2) "
                       "ON CONFLICT DO UPDATE SET served = ?2 WHERE served <> ?2",
                       SQL_TEXT(t->lane), SQL_TEXT(t->served));
}

static int receive_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct receive *t = arg;
    int64_t now = clock_wall_ms();
    free_received(t);
    if (make_due_ready(db, t->lane, now, e) != 0 || load_served(db, t, e) != 0) {
        return -1;
    }
    for (size_t before = SIZE_MAX; t->got < t->max && t->got != before;) {
        before = t->got;
        if (take_next(db, t, e) != 0 ||
            (t->got > before && lease_one(db, &t->out[before], now + t->lease_ms, e) != 0)) {
            return -1;
        }
    }
    return t->got > 0 ? store_served(db, t, e) : 0;
}

static int follow_clock_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const int64_t *back_ms = arg;
    return sqlite_exec(db, e, "UPDATE messages SET due_ms = max(due_ms - ?1, ?2) WHERE due_ms > ?2",
                       SQL_INT(*back_ms), SQL_INT(clock_wall_ms() + CLOCK_STEP_MS));
}

/* If several processes do it, a message is due early, but no lease ends within the minute. */
static int follow_clock(struct queue_sqlite *q, struct err *e)
{
    int64_t offset_ms = clock_wall_ms() - clock_mono_ms();
    int64_t before_ms = __atomic_exchange_n(&q->offset_ms, offset_ms, __ATOMIC_RELAXED);
    int64_t back_ms = before_ms - offset_ms;
    if (back_ms <= CLOCK_STEP_MS) {
        return 0;
    }
    if (sqlite_store_write(q->store, follow_clock_work, &back_ms, e) != 0) {
        __atomic_store_n(&q->offset_ms, before_ms, __ATOMIC_RELAXED);
        return -1;
    }
    return 0;
}

static int sqlite_receive(void *state, const char *lane, size_t max, int64_t lease_ms,
                          struct queue_message *out, size_t *got, struct err *e)
{
    struct queue_sqlite *q = state;
    struct receive t = {.lane = lane, .max = max, .lease_ms = lease_ms, .out = out};
    struct queue_sqlite_outlook outlook;
    /* A read blocks no other process; most receives from an idle queue end here. */
    if (follow_clock(q, e) != 0 || queue_sqlite_peek(q->store, lane, 1, &outlook, e) != 0) {
        return -1;
    }
    if (outlook.ready == 0) {
        *got = 0;
        return 0;
    }
    if (sqlite_store_write(q->store, receive_work, &t, e) != 0) {
        free_received(&t);
        return -1;
    }
    *got = t.got;
    return 0;
}

static void sqlite_wait(void *state, const char *lane, int64_t timeout_ms)
{
    struct queue_sqlite *q = state;
    queue_sqlite_waiters_wait(q->waiters, lane, timeout_ms);
}

static void sqlite_wake(void *state)
{
    struct queue_sqlite *q = state;
    queue_sqlite_waiters_interrupt(q->waiters);
}

/* --- calls of a lease's holder --- */
struct lease_change {
    const struct queue_message *messages;
    size_t n;
    size_t lost;        /* messages whose lease the caller no longer holds */
    int64_t until;      /* extend, nack: due_ms; 0: at once */
    bool spend;         /* nack */
    const char *reason; /* NULL keeps it */
};

/* The lease's two numbers; zeros, which match no row, if the receipt is malformed. */
static void parse_receipt(const struct queue_message *m, int64_t *id, int64_t *lease)
{
    struct slice left;
    struct slice right;
    if (!slice_cut(slice_of(m->receipt), '.', &left, &right) || !slice_to_int64(left, id) ||
        !slice_to_int64(right, lease) || *lease <= 0) {
        *id = 0;
        *lease = 0;
    }
}

static int ack_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct lease_change *h = arg;
    h->lost = 0;
    for (size_t i = 0; i < h->n; i++) {
        int64_t id;
        int64_t lease;
        parse_receipt(&h->messages[i], &id, &lease);
        if (sqlite_exec(db, e, "DELETE FROM messages WHERE id = ?1 AND lease = ?2", SQL_INT(id),
                        SQL_INT(lease)) != 0) {
            return -1;
        }
        h->lost += sqlite_changes(db) == 0;
    }
    return 0;
}

static int extend_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct lease_change *h = arg;
    int64_t id;
    int64_t lease;
    parse_receipt(h->messages, &id, &lease);
    if (sqlite_exec(db, e,
                    "UPDATE messages SET place = 1, due_ms = ?3 WHERE id = ?1 AND lease = ?2",
                    SQL_INT(id), SQL_INT(lease), SQL_INT(h->until)) != 0) {
        return -1;
    }
    h->lost = sqlite_changes(db) == 0;
    return 0;
}

static int nack_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct lease_change *h = arg;
    int64_t id;
    int64_t lease;
    parse_receipt(h->messages, &id, &lease);
    if (sqlite_exec(db, e,
                    "UPDATE messages SET place = ?3, due_ms = ?4, lease = lease + 1, "
                    "attempts = attempts + ?5, reason = coalesce(?6, reason), "
                    "turn = " QUEUE_SQLITE_LAST_TURN " "
                    "WHERE id = ?1 AND lease = ?2",
                    SQL_INT(id), SQL_INT(lease),
                    SQL_INT(h->until > 0 ? QUEUE_DELAYED : QUEUE_READY),
                    h->until > 0 ? SQL_INT(h->until) : SQL_NULL(), SQL_INT(h->spend),
                    h->reason != NULL ? SQL_TEXT(h->reason) : SQL_NULL()) != 0) {
        return -1;
    }
    h->lost = sqlite_changes(db) == 0;
    return 0;
}

static int dead_letter_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct lease_change *h = arg;
    int64_t id;
    int64_t lease;
    parse_receipt(h->messages, &id, &lease);
    if (sqlite_exec(db, e,
                    "UPDATE messages SET place = 3, due_ms = NULL, lease = lease + 1, "
                    "dead_lettered_ms = ?3, reason = ?4, attempts = ?5 "
                    "WHERE id = ?1 AND lease = ?2",
                    SQL_INT(id), SQL_INT(lease), SQL_INT(clock_wall_ms()), SQL_TEXT(h->reason),
                    SQL_INT(h->messages->attempts)) != 0) {
        return -1;
    }
    h->lost = sqlite_changes(db) == 0;
    return 0;
}

static int change_leased(struct queue_sqlite *q, sqlite_work_fn *work, struct lease_change *h,
                         struct err *e)
{
    if (sqlite_store_write(q->store, work, h, e) != 0) {
        return -1;
    }
    if (h->lost > 0) {
        return err_set(e, ERR_CONFLICT, 0,
                       "the lease of %zu of %zu messages (first: %s of %s) expired and was taken "
                       "over",
                       h->lost, h->n, h->messages[0].id, h->messages[0].lane);
    }
    return 0;
}

static int sqlite_ack(void *state, const struct queue_message *m, size_t n, struct err *e)
{
    struct lease_change h = {.messages = m, .n = n};
    return change_leased(state, ack_work, &h, e);
}

static int sqlite_extend(void *state, struct queue_message *m, int64_t lease_ms, struct err *e)
{
    struct lease_change h = {.messages = m, .n = 1, .until = clock_wall_ms() + lease_ms};
    if (change_leased(state, extend_work, &h, e) != 0) {
        return -1;
    }
    m->leased_until_ms = h.until;
    return 0;
}

static int sqlite_nack(void *state, const struct queue_message *m, const struct queue_return *r,
                       struct err *e)
{
    struct queue_sqlite *q = state;
    struct lease_change h = {.messages = m,
                             .n = 1,
                             .until = r->delay_ms > 0 ? clock_wall_ms() + r->delay_ms : 0,
                             .spend = r->spend_attempt,
                             .reason = r->reason};
    if (change_leased(q, nack_work, &h, e) != 0) {
        return -1;
    }
    queue_sqlite_waiters_notify(q->waiters, m->lane, h.until > 0 ? 0 : 1,
                                h.until > 0 ? h.until : INT64_MAX);
    return 0;
}

static int sqlite_dead_letter(void *state, const struct queue_message *m, const char *reason,
                              struct err *e)
{
    struct lease_change h = {.messages = m, .n = 1, .reason = reason};
    return change_leased(state, dead_letter_work, &h, e);
}

static int sqlite_ping(void *state, struct err *e)
{
    struct queue_sqlite *q = state;
    return sqlite_store_ping(q->store, e);
}

const struct queue_ops queue_ops_sqlite = {
    .scheme = "sqlite",
    .can = QUEUE_DEPTHS | QUEUE_ORDERED | QUEUE_FAIR,
    .open = sqlite_open_queue,
    .close = sqlite_close_queue,
    .put = sqlite_put,
    .receive = sqlite_receive,
    .wait = sqlite_wait,
    .wake = sqlite_wake,
    .extend = sqlite_extend,
    .ack = sqlite_ack,
    .nack = sqlite_nack,
    .dead_letter = sqlite_dead_letter,
    .depths = queue_sqlite_depths,
    .admin = &queue_sqlite_admin,
    .ping = sqlite_ping,
};
