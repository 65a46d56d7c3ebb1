#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/sqlite/sqlite.h"

/* --- counts in use --- */
struct places { /* whose counts are read; "": none of that kind */
    const char *scope;
    const char *class_name;
    const char *repository;
    const char *target;
};

static int load_usage(struct sqlite_db *db, const struct places *of, struct ledger_usage *out,
                      struct err *e)
{
    /* The states below '5' (gone) hold a slot. */
    static const char sql[] =
        "SELECT (SELECT n FROM tally WHERE kind = 'demand' AND a = ?1 AND b = ?2),"
        " (SELECT n FROM tally WHERE kind = 'supply' AND a = ?1 AND b = ?2),"
        " (SELECT sum(n) FROM tally WHERE kind = 'vm' AND b < '5'),"
        " (SELECT sum(n) FROM tally WHERE kind = 'vm' AND a = ?2 AND b < '5'),"
        " (SELECT n FROM tally WHERE kind = 'repository' AND a = ?3 AND b = ''),"
        " (SELECT n FROM tally WHERE kind = 'target' AND a = ?4 AND b = '')";
    struct sqlite_rows *r = sqlite_query(db, sql, SQL_TEXT(of->scope), SQL_TEXT(of->class_name),
                                         SQL_TEXT(of->repository), SQL_TEXT(of->target));
    bool row;
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    *out = (struct ledger_usage){
        .demand = sqlite_int(r, 0),
        .supply = sqlite_int(r, 1),
        .fleet_used = sqlite_int(r, 2),
        .class_used = sqlite_int(r, 3),
        .repository_used = sqlite_int(r, 4),
        .target_used = sqlite_int(r, 5),
    };
    sqlite_rows_end(r);
    return 0;
}

/* --- the two buckets that a launch takes from --- */
struct launch_rate {
    char fleet_bucket[LEDGER_BUCKET_SIZE]; /* or the target's */
    char class_bucket[LEDGER_BUCKET_SIZE];
    struct ledger_bucket_row fleet; /* refilled, nothing spent */
    struct ledger_bucket_row class;
    int64_t wait_ms;
    bool set_back; /* the clock was set back: write the rows even if nothing is spent */
};

static int load_launch_rate(struct sqlite_db *db, const struct places *of,
                            const struct ledger_caps *caps, struct launch_rate *out, struct err *e)
{
    int64_t now_ms = clock_wall_ms();
    *out = (struct launch_rate){.wait_ms = 0};
    ledger_bucket_of_launch(of->target, out->fleet_bucket);
    (void)snprintf(out->class_bucket, sizeof out->class_bucket, LEDGER_BUCKET_CLASS "%s",
                   of->class_name);
    if (ledger_sqlite_load_bucket(db, out->fleet_bucket, &out->fleet, e) != 0 ||
        ledger_sqlite_load_bucket(db, out->class_bucket, &out->class, e) != 0) {
        return -1;
    }
    out->set_back = ledger_rule_clock_set_back(&out->fleet, now_ms) ||
                    ledger_rule_clock_set_back(&out->class, now_ms);
    ledger_rule_bucket_refill(&out->fleet, caps->rate_per_second, caps->rate_burst, now_ms);
    ledger_rule_bucket_refill(&out->class, caps->class_rate_per_second, caps->class_rate_burst,
                              now_ms);
    int64_t fleet_ms = ledger_rule_bucket_wait(&out->fleet, caps->rate_per_second, 1, now_ms);
    int64_t class_ms = ledger_rule_bucket_wait(&out->class, caps->class_rate_per_second, 1, now_ms);
    out->wait_ms = fleet_ms > class_ms ? fleet_ms : class_ms;
    return 0;
}

static int save_launch_rate(struct sqlite_db *db, const struct ledger_caps *caps,
                            const struct launch_rate *rate, struct err *e)
{
    if (caps->rate_per_second > 0 &&
        ledger_sqlite_save_bucket(db, rate->fleet_bucket, &rate->fleet, e) != 0) {
        return -1;
    }
    if (caps->class_rate_per_second > 0) {
        return ledger_sqlite_save_bucket(db, rate->class_bucket, &rate->class, e);
    }
    return 0;
}

/* Spends a token of both buckets, or of neither. */
static int spend_launch_rate(struct sqlite_db *db, const struct places *of,
                             const struct ledger_caps *caps, int64_t *wait_ms, struct err *e)
{
    struct launch_rate rate;
    if (load_launch_rate(db, of, caps, &rate, e) != 0) {
        return -1;
    }
    *wait_ms = rate.wait_ms;
    if (rate.wait_ms == 0) {
        ledger_rule_bucket_spend(&rate.fleet, caps->rate_per_second, 1);
        ledger_rule_bucket_spend(&rate.class, caps->class_rate_per_second, 1);
    } else if (!rate.set_back) {
        return 0;
    }
    return save_launch_rate(db, caps, &rate, e);
}

/* --- reserve --- */
struct reserve {
    const struct ledger_reserve *r;
    const char *vm_name;
    const char *client_token;
    struct ledger_reservation out;
};

/* Records the job as waiting, unless it is further on. */
static int sqlite_record_waiting(struct sqlite_db *db, struct reserve *a,
                                 struct ledger_sqlite_job *row, struct err *e)
{
    const struct ledger_reserve *r = a->r;
    struct ledger_line line;
    if (r->request->job.id == 0) {
        memset(row, 0, sizeof *row);
        return 0;
    }
    if (ledger_sqlite_load_job(db, r->request->job.id, row, e) != 0) {
        return -1;
    }
    a->out.queued = (struct ledger_queued){.known_before = row->known, .before = row->job.state};
    struct ledger_change change = ledger_reserve_apply_wait(
        r, &row->job, row->known, &row->waits_logged, clock_wall_ms(), &line);
    a->out.queued.moved = change.state;
    if (change.row && ledger_sqlite_save_job(db, row, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, r->request->job.id, "", &line, e);
}

static struct places places_of(const struct ledger_reserve *r)
{
    return (struct places){.scope = r->scope,
                           .class_name = r->request->class_name,
                           .repository = r->request->job.repository,
                           .target = r->target};
}

static int sqlite_decide_reserve(struct sqlite_db *db, const struct ledger_reserve *r,
                                 const struct ledger_usage *usage, struct ledger_reservation *out,
                                 struct err *e)
{
    struct places of = places_of(r);

    out->outcome = ledger_rule_reserve(usage, &r->caps);
    if (out->outcome != LEDGER_RESERVED) {
        return 0;
    }
    if (spend_launch_rate(db, &of, &r->caps, &out->wait_ms, e) != 0) {
        return -1;
    }
    if (out->wait_ms > 0) {
        out->outcome = LEDGER_RATE;
    }
    return 0;
}

static int sqlite_add_reserved_vm(struct sqlite_db *db, struct reserve *a, struct err *e)
{
    ledger_rule_new_vm(&a->out.vm, a->r, a->vm_name, a->client_token, clock_wall_ms());
    return ledger_sqlite_add_vm(db, &a->out.vm, e);
}

static int sqlite_write_outcome(struct sqlite_db *db, const struct reserve *a,
                                const struct ledger_usage *usage, struct ledger_sqlite_job *row,
                                struct err *e)
{
    struct ledger_line line;
    int64_t job_id = a->r->request->job.id;
    bool changed = ledger_reserve_line(a->r, usage, &a->out, &row->waits_logged, &line);
    if (changed && job_id != 0 && ledger_sqlite_save_job(db, row, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, job_id, a->out.vm.name, &line, e);
}

static int reserve_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct reserve *a = arg;
    const struct ledger_reserve *r = a->r;
    struct ledger_sqlite_job row;
    struct ledger_usage usage;
    struct places of = places_of(r);
    a->out = (struct ledger_reservation){.outcome = LEDGER_OBSOLETE};
    if (sqlite_record_waiting(db, a, &row, e) != 0 || load_usage(db, &of, &usage, e) != 0) {
        return -1;
    }
    usage.spare = r->request->spare;
    a->out.demand = usage.demand;
    a->out.supply = usage.supply;
    if (!ledger_reserve_is_needed(&row.job, &usage)) {
        return 0;
    }
    if (sqlite_decide_reserve(db, r, &usage, &a->out, e) != 0) {
        return -1;
    }
    if (a->out.outcome == LEDGER_RESERVED && sqlite_add_reserved_vm(db, a, e) != 0) {
        return -1;
    }
    return sqlite_write_outcome(db, a, &usage, &row, e);
}

int ledger_sqlite_reserve(void *state, const struct ledger_reserve *r, const char *vm_name,
                          const char *client_token, struct ledger_reservation *out, struct err *e)
{
    struct reserve a = {.r = r, .vm_name = vm_name, .client_token = client_token};
    if (sqlite_store_write(ledger_sqlite_store(state), reserve_work, &a, e) != 0) {
        return -1;
    }
    *out = a.out;
    return 0;
}

/* --- capacity --- */
struct capacity {
    struct places of;
    const struct ledger_caps *caps;
    struct ledger_capacity out;
    bool set_back;
};

static int capacity_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct capacity *a = arg;
    struct ledger_usage usage;
    struct launch_rate rate;
    if (load_usage(db, &a->of, &usage, e) != 0 ||
        load_launch_rate(db, &a->of, a->caps, &rate, e) != 0) {
        return -1;
    }
    a->out = (struct ledger_capacity){.fleet_used = usage.fleet_used,
                                      .class_used = usage.class_used,
                                      .rate_wait_ms = rate.wait_ms};
    a->set_back = rate.set_back;
    return 0;
}

/* Otherwise a bucket that was empty when the clock was set back would not refill until the clock
 * has caught up. */
static int save_rate_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct capacity *a = arg;
    struct launch_rate rate;
    if (load_launch_rate(db, &a->of, a->caps, &rate, e) != 0) {
        return -1;
    }
    return save_launch_rate(db, a->caps, &rate, e);
}

int ledger_sqlite_capacity(void *state, const char *class_name, const struct ledger_caps *caps,
                           struct ledger_capacity *out, struct err *e)
{
    struct capacity a = {
        .of = {.scope = "", .class_name = class_name, .repository = "", .target = ""},
        .caps = caps};
    struct sqlite_store *store = ledger_sqlite_store(state);
    if (sqlite_store_read(store, capacity_work, &a, e) != 0) {
        return -1;
    }
    if (a.set_back && sqlite_store_write(store, save_rate_work, &a, e) != 0) {
        return -1;
    }
    *out = a.out;
    return 0;
}

/* --- targets --- */
struct targets {
    struct ledger_target_use *at;
    size_t n;
    bool set_back;
    bool save; /* the buckets whose clock was set back */
};

static int target_work(struct sqlite_db *db, struct targets *a, struct ledger_target_use *t,
                       struct err *e)
{
    static const char sql[] = "SELECT n FROM tally WHERE kind = 'target' AND a = ?1 AND b = ''";
    struct ledger_bucket_row bucket;
    char name[LEDGER_BUCKET_SIZE];
    int64_t now_ms = clock_wall_ms();
    struct sqlite_rows *r = sqlite_query(db, sql, SQL_TEXT(t->name));
    bool row;
    t->used = 0;
    if (sqlite_next(r, &row, e) != 0) {
        return -1;
    }
    if (row) {
        t->used = sqlite_int(r, 0);
        sqlite_rows_end(r);
    }
    ledger_bucket_of_launch(t->name, name);
    if (ledger_sqlite_load_bucket(db, name, &bucket, e) != 0) {
        return -1;
    }
    bool set_back = t->rate_per_second > 0 && ledger_rule_clock_set_back(&bucket, now_ms);
    a->set_back = a->set_back || set_back;
    ledger_rule_bucket_refill(&bucket, t->rate_per_second, t->rate_burst, now_ms);
    t->rate_wait_ms = ledger_rule_bucket_wait(&bucket, t->rate_per_second, 1, now_ms);
    return set_back && a->save ? ledger_sqlite_save_bucket(db, name, &bucket, e) : 0;
}

static int targets_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct targets *a = arg;
    a->set_back = false;
    for (size_t i = 0; i < a->n; i++) {
        if (target_work(db, a, &a->at[i], e) != 0) {
            return -1;
        }
    }
    return 0;
}

int ledger_sqlite_targets_read(void *state, struct ledger_target_use *targets, size_t n,
                               struct err *e)
{
    struct targets a = {.at = targets, .n = n};
    struct sqlite_store *store = ledger_sqlite_store(state);
    if (sqlite_store_read(store, targets_work, &a, e) != 0) {
        return -1;
    }
    a.save = a.set_back;
    return a.save ? sqlite_store_write(store, targets_work, &a, e) : 0;
}

static int release_seq_work(struct sqlite_db *db, void *arg, struct err *e)
{
    return sqlite_number(db, arg, 0, e,
                         "SELECT n FROM tally WHERE kind = 'freed' AND a = '' AND b = ''");
}

int ledger_sqlite_release_seq(void *state, int64_t *out, struct err *e)
{
    int64_t freed;
    if (sqlite_store_read(ledger_sqlite_store(state), release_seq_work, &freed, e) != 0) {
        return -1;
    }
    *out = freed;
    return 0;
}

/* --- balances --- */
static void add_balance(struct sqlite_rows *r, void *arg)
{
    struct ledger_balance *b = ledger_list_add(arg);
    sqlite_text(r, 0, b->scope, sizeof b->scope);
    sqlite_text(r, 1, b->class_name, sizeof b->class_name);
    b->demand = sqlite_int(r, 2);
    b->supply = sqlite_int(r, 3);
    b->oldest_waiting_ms = sqlite_int(r, 4);
}

static int balances_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] =
        "SELECT a, b, sum(CASE kind WHEN 'demand' THEN n ELSE 0 END),"
        " sum(CASE kind WHEN 'supply' THEN n ELSE 0 END),"
        " (SELECT min(waiting_ms) FROM jobs WHERE state = 1 AND scope = a AND class_name = b)"
        " FROM tally WHERE kind IN ('demand', 'supply') AND n > 0 GROUP BY a, b ORDER BY a, b";
    ledger_list_reset(arg);
    return sqlite_each(sqlite_query(db, sql), add_balance, arg, e);
}

int ledger_sqlite_balances(void *state, struct ledger_balance **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_balance)};
    if (sqlite_store_read(ledger_sqlite_store(state), balances_work, &list, e) != 0) {
        free(list.items);
        return -1;
    }
    *out = list.items;
    *n = list.count;
    return 0;
}

static void sqlite_add_scope(struct sqlite_rows *r, void *arg)
{
    struct ledger_scope *scope = ledger_list_add(arg);
    sqlite_text(r, 0, scope->name, sizeof scope->name);
    scope->installation_id = sqlite_int(r, 1);
}

static int scopes_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] = "SELECT name, installation_id FROM scopes ORDER BY name";
    ledger_list_reset(arg);
    return sqlite_each(sqlite_query(db, sql), sqlite_add_scope, arg, e);
}

int ledger_sqlite_scopes(void *state, struct ledger_scope **out, size_t *n, struct err *e)
{
    struct ledger_list list = {.item_size = sizeof(struct ledger_scope)};
    if (sqlite_store_read(ledger_sqlite_store(state), scopes_work, &list, e) != 0) {
        free(list.items);
        return -1;
    }
    *out = list.items;
    *n = list.count;
    return 0;
}
