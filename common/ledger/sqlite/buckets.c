#include "common/base/clock.h"
#include "common/ledger/sqlite/sqlite.h"

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
