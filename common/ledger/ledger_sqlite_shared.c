#include <math.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/ledger_sqlite.h"

/* Rate buckets, leases and marks: the small things that all processes share. */

/* --- rate buckets --- */
int ledger_sqlite_load_bucket(struct sqlite_db *db, const char *name, struct ledger_bucket_row *out,
                              struct err *e)
{
    static const char sql[] = "SELECT tokens, at_ms, paused_until_ms FROM buckets WHERE name = ?1";
    struct sqlite_rows *r = sqlite_query(db, sql, SQL_TEXT(name));
    bool row;
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    if (!row) {
        ledger_rule_bucket_new(out, clock_wall_ms());
        return 0;
    }
    *out = (struct ledger_bucket_row){.tokens = sqlite_real(r, 0),
                                      .at_ms = sqlite_int(r, 1),
                                      .paused_until_ms = sqlite_int(r, 2)};
    sqlite_rows_end(r);
    return 0;
}

int ledger_sqlite_save_bucket(struct sqlite_db *db, const char *name,
                              const struct ledger_bucket_row *row, struct err *e)
{
    static const char sql[] =
        "INSERT INTO buckets (name, tokens, at_ms, paused_until_ms) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (name) DO UPDATE SET tokens = ?2, at_ms = ?3, paused_until_ms = ?4";
    return sqlite_exec(db, e, sql, SQL_TEXT(name), SQL_REAL(row->tokens), SQL_INT(row->at_ms),
                       SQL_INT(row->paused_until_ms));
}

struct take {
    const struct ledger_bucket *bucket;
    int64_t cost;
    int64_t wait_ms;
};

static int take_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct take *t = arg;
    const struct ledger_bucket *b = t->bucket;
    struct ledger_bucket_row row;
    int64_t now_ms = clock_wall_ms();
    if (ledger_sqlite_load_bucket(db, b->name, &row, e) != 0) {
        return -1;
    }
    bool set_back = ledger_rule_clock_set_back(&row, now_ms);
    ledger_rule_bucket_refill(&row, b->per_second, b->burst, now_ms);
    t->wait_ms = ledger_rule_bucket_wait(&row, b->per_second, t->cost, now_ms);
    if (t->wait_ms == 0) {
        ledger_rule_bucket_spend(&row, b->per_second, t->cost);
    } else if (!set_back) {
        return 0;
    }
    return b->per_second > 0 ? ledger_sqlite_save_bucket(db, b->name, &row, e) : 0;
}

int ledger_sqlite_rate_take(void *state, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e)
{
    struct take t = {.bucket = b, .cost = cost};
    if (sqlite_store_write(ledger_sqlite_store(state), take_work, &t, e) != 0) {
        return -1;
    }
    *wait_ms = t.wait_ms;
    return 0;
}

struct pause {
    const char *name;
    int64_t until_ms;
};

static int pause_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const struct pause *p = arg;
    struct ledger_bucket_row row;
    if (ledger_sqlite_load_bucket(db, p->name, &row, e) != 0) {
        return -1;
    }
    if (row.paused_until_ms >= p->until_ms) {
        return 0;
    }
    row.paused_until_ms = p->until_ms;
    return ledger_sqlite_save_bucket(db, p->name, &row, e);
}

int ledger_sqlite_rate_pause(void *state, const char *name, int64_t until_ms, struct err *e)
{
    struct pause p = {.name = name, .until_ms = until_ms};
    return sqlite_store_write(ledger_sqlite_store(state), pause_work, &p, e);
}

/* --- leases --- */
struct lease {
    const char *name;
    const char *holder;
    int64_t ttl_ms;
    bool held;
    int64_t fence;
};

static int load_lease(struct sqlite_db *db, const char *name, struct ledger_lease_row *out,
                      struct err *e)
{
    static const char sql[] = "SELECT holder, until_ms, fence FROM leases WHERE name = ?1";
    struct sqlite_rows *r = sqlite_query(db, sql, SQL_TEXT(name));
    bool row;
    *out = (struct ledger_lease_row){.fence = 0};
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    if (row) {
        sqlite_text(r, 0, out->holder, sizeof out->holder);
        out->until_ms = sqlite_int(r, 1);
        out->fence = sqlite_int(r, 2);
        sqlite_rows_end(r);
    }
    return 0;
}

static int save_lease(struct sqlite_db *db, const char *name, const struct ledger_lease_row *row,
                      struct err *e)
{
    static const char sql[] =
        "INSERT INTO leases (name, holder, until_ms, fence) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (name) DO UPDATE SET holder = ?2, until_ms = ?3, fence = ?4";
    return sqlite_exec(db, e, sql, SQL_TEXT(name), SQL_TEXT(row->holder), SQL_INT(row->until_ms),
                       SQL_INT(row->fence));
}

static int lease_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct lease *l = arg;
    struct ledger_lease_row row;
    if (load_lease(db, l->name, &row, e) != 0) {
        return -1;
    }
    l->held = ledger_rule_lease(&row, l->holder, l->ttl_ms, clock_wall_ms());
    l->fence = row.fence;
    return l->held ? save_lease(db, l->name, &row, e) : 0;
}

int ledger_sqlite_lease(void *state, const char *name, const char *holder, int64_t ttl_ms,
                        bool *held, int64_t *fence, struct err *e)
{
    struct lease l = {.name = name, .holder = holder, .ttl_ms = ttl_ms};
    if (sqlite_store_write(ledger_sqlite_store(state), lease_work, &l, e) != 0) {
        return -1;
    }
    *held = l.held;
    *fence = l.fence;
    return 0;
}

/* The row stays, so that the fence goes on growing. */
static int release_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const struct lease *l = arg;
    return sqlite_exec(db, e,
                       "UPDATE leases SET holder = '', until_ms = 0 WHERE name = ?1 AND "
                       "holder = ?2",
                       SQL_TEXT(l->name), SQL_TEXT(l->holder));
}

int ledger_sqlite_lease_release(void *state, const char *name, const char *holder, struct err *e)
{
    struct lease l = {.name = name, .holder = holder};
    return sqlite_store_write(ledger_sqlite_store(state), release_work, &l, e);
}

/* --- marks --- */
struct mark {
    const char *name;
    int64_t value; /* in: to set or to add; out: what it is */
    int64_t result;
};

static int mark_get_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct mark *m = arg;
    return sqlite_number(db, &m->result, 0, e, "SELECT value FROM marks WHERE name = ?1",
                         SQL_TEXT(m->name));
}

static int mark_set_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const struct mark *m = arg;
    return sqlite_exec(db, e,
                       "INSERT INTO marks (name, value) VALUES (?1, ?2) "
                       "ON CONFLICT (name) DO UPDATE SET value = ?2",
                       SQL_TEXT(m->name), SQL_INT(m->value));
}

static int mark_add_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct mark *m = arg;
    return sqlite_number(db, &m->result, 0, e,
                         "INSERT INTO marks (name, value) VALUES (?1, ?2) "
                         "ON CONFLICT (name) DO UPDATE SET value = value + ?2 RETURNING value",
                         SQL_TEXT(m->name), SQL_INT(m->value));
}

int ledger_sqlite_mark_get(void *state, const char *name, int64_t *out, struct err *e)
{
    struct mark m = {.name = name};
    if (sqlite_store_read(ledger_sqlite_store(state), mark_get_work, &m, e) != 0) {
        return -1;
    }
    *out = m.result;
    return 0;
}

int ledger_sqlite_mark_set(void *state, const char *name, int64_t value, struct err *e)
{
    struct mark m = {.name = name, .value = value};
    return sqlite_store_write(ledger_sqlite_store(state), mark_set_work, &m, e);
}

int ledger_sqlite_mark_add(void *state, const char *name, int64_t n, int64_t *out, struct err *e)
{
    struct mark m = {.name = name, .value = n};
    if (sqlite_store_write(ledger_sqlite_store(state), mark_add_work, &m, e) != 0) {
        return -1;
    }
    *out = m.result;
    return 0;
}
