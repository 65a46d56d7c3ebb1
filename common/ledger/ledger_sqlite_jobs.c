#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/ledger/ledger_sqlite.h"

/* --- note --- */
struct note {
    const struct job_event *ev;
    const char *scope;
    struct ledger_effect effect;
};

/* What the delivery does to the VM whose runner it is about, if that is ours. */
static int note_vm(struct sqlite_db *db, struct note *n, const struct ledger_job *job,
                   struct ledger_line *line, int64_t now_ms, struct err *e)
{
    struct ledger_vm vm;
    bool ours;
    const char *runner = ledger_rule_runner(n->ev, job);
    line->what = NULL;
    if (runner[0] == '\0') {
        return 0;
    }
    if (ledger_sqlite_load_vm(db, runner, &vm, &ours, e) != 0) {
        return -1;
    }
    if (!ours) {
        return 0;
    }
    struct ledger_change change = ledger_rule_note_vm(&vm, job, n->effect.changed, n->ev, now_ms);
    (void)snprintf(n->effect.vm, sizeof n->effect.vm, "%s", vm.name);
    n->effect.vm_changed = change.state;
    n->effect.vm_state = vm.state;
    if (change.state) {
        ledger_word_vm(line, &vm, NULL);
    }
    return change.row ? ledger_sqlite_save_vm(db, &vm, e) : 0;
}

static int note_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct note *n = arg;
    struct ledger_sqlite_job row;
    struct ledger_line job_line = {.what = NULL};
    struct ledger_line vm_line;
    int64_t now_ms = clock_wall_ms();
    if (ledger_sqlite_load_job(db, n->ev->job.id, &row, e) != 0) {
        return -1;
    }
    n->effect = (struct ledger_effect){.known_before = row.known, .before = row.job.state};
    struct ledger_change change =
        ledger_rule_note_job(&row.job, row.known, n->ev, n->scope, now_ms);
    n->effect.changed = change.state;
    n->effect.after = row.job.state;
    row.told = n->effect.changed ? 0 : row.told;
    if (note_vm(db, n, &row.job, &vm_line, now_ms, e) != 0) {
        return -1;
    }
    if (change.row && ledger_sqlite_save_job(db, &row, e) != 0) {
        return -1;
    }
    if (n->effect.changed) {
        ledger_word_noted(&job_line, &row.job, n->ev, n->effect.vm[0] != '\0');
    }
    if (ledger_sqlite_add_line(db, n->ev->job.id, "", &job_line, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, 0, n->effect.vm, &vm_line, e);
}

int ledger_sqlite_note(void *state, const struct job_event *ev, const char *scope,
                       struct ledger_effect *out, struct err *e)
{
    struct note n = {.ev = ev, .scope = scope};
    if (sqlite_store_write(ledger_sqlite_store(state), note_work, &n, e) != 0) {
        return -1;
    }
    *out = n.effect;
    return 0;
}

/* --- get --- */
struct get {
    int64_t id;
    struct ledger_sqlite_job row;
};

static int get_work(struct sqlite_db *db, void *arg, struct err *e)
{
    struct get *g = arg;
    return ledger_sqlite_need_job(db, g->id, &g->row, e);
}

int ledger_sqlite_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct get g = {.id = job_id};
    if (sqlite_store_read(ledger_sqlite_store(state), get_work, &g, e) != 0) {
        return -1;
    }
    *out = g.row.job;
    return 0;
}

/* --- settle --- */
struct settle {
    int64_t id;
    enum ledger_job_state to;
    const char *why;
};

static int settle_vm(struct sqlite_db *db, const struct ledger_job *job, int64_t now_ms,
                     struct err *e)
{
    struct ledger_vm vm;
    struct ledger_line line;
    bool ours;
    if (ledger_sqlite_load_vm(db, job->facts.runner_name, &vm, &ours, e) != 0) {
        return -1;
    }
    if (!ours || !ledger_rule_settle_vm(&vm, job, now_ms).state) {
        return 0;
    }
    ledger_word_vm(&line, &vm, NULL);
    if (ledger_sqlite_save_vm(db, &vm, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, 0, vm.name, &line, e);
}

static int settle_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const struct settle *s = arg;
    struct ledger_sqlite_job row;
    struct ledger_line line;
    int64_t now_ms = clock_wall_ms();
    if (ledger_sqlite_need_job(db, s->id, &row, e) != 0) {
        return -1;
    }
    if (!ledger_rule_settle(&row.job, s->to, now_ms)) {
        return 0;
    }
    row.told = 0;
    ledger_word_settled(&line, &row.job, s->why);
    if (ledger_sqlite_save_job(db, &row, e) != 0 ||
        ledger_sqlite_add_line(db, s->id, "", &line, e) != 0) {
        return -1;
    }
    return settle_vm(db, &row.job, now_ms, e);
}

int ledger_sqlite_job_settle(void *state, int64_t job_id, enum ledger_job_state to, const char *why,
                             struct err *e)
{
    struct settle s = {.id = job_id, .to = to, .why = why};
    return sqlite_store_write(ledger_sqlite_store(state), settle_work, &s, e);
}

/* --- waiting too long --- */
struct waiting {
    const struct ledger_waiting *query;
    struct ledger_list jobs;
};

static void add_job(struct sqlite_rows *r, void *arg)
{
    struct ledger_sqlite_job row;
    ledger_sqlite_read_job(r, &row);
    *(struct ledger_job *)ledger_list_add(arg) = row.job;
}

static int waiting_work(struct sqlite_db *db, void *arg, struct err *e)
{
    static const char sql[] =
        "SELECT " LEDGER_SQLITE_JOB " FROM jobs WHERE state = 1 AND scope = ?1 AND class_name = ?2 "
        "AND waiting_ms < ?3 AND relaunched_ms < ?3 ORDER BY waiting_ms, id LIMIT ?4";
    struct waiting *w = arg;
    struct sqlite_rows *r =
        sqlite_query(db, sql, SQL_TEXT(w->query->scope), SQL_TEXT(w->query->class_name),
                     SQL_INT(w->query->before_ms), SQL_INT((int64_t)w->query->max));
    ledger_list_reset(&w->jobs);
    return sqlite_each(r, add_job, &w->jobs, e);
}

int ledger_sqlite_jobs_waiting(void *state, const struct ledger_waiting *query,
                               struct ledger_job **out, size_t *n, struct err *e)
{
    struct waiting w = {.query = query, .jobs = {.item_size = sizeof(struct ledger_job)}};
    if (sqlite_store_read(ledger_sqlite_store(state), waiting_work, &w, e) != 0) {
        free(w.jobs.items);
        return -1;
    }
    *out = w.jobs.items;
    *n = w.jobs.count;
    return 0;
}

static int relaunched_work(struct sqlite_db *db, void *arg, struct err *e)
{
    const int64_t *id = arg;
    struct ledger_sqlite_job row;
    struct ledger_line line;
    if (ledger_sqlite_need_job(db, *id, &row, e) != 0) {
        return -1;
    }
    row.job.relaunched_ms = clock_wall_ms();
    row.job.relaunches++;
    row.told = 0;
    ledger_word_relaunched(&line, &row.job);
    if (ledger_sqlite_save_job(db, &row, e) != 0) {
        return -1;
    }
    return ledger_sqlite_add_line(db, *id, "", &line, e);
}

int ledger_sqlite_job_relaunched(void *state, int64_t job_id, struct err *e)
{
    return sqlite_store_write(ledger_sqlite_store(state), relaunched_work, &job_id, e);
}
