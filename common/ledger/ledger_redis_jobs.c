#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/ledger_redis.h"

#define PAGE 200

/* --- note --- */
struct note {
    const struct job_event *ev;
    const char *scope;
    struct ledger_effect effect;
    struct ledger_job job; /* after */
    struct ledger_vm vm;   /* after; name "" if none of ours */
};

/* What the delivery does to the VM whose runner it is about, if that is ours. */
static int note_vm(struct ledger_redis_txn *t, struct note *n, struct ledger_line *line,
                   int64_t now_ms, struct err *e)
{
    bool ours;
    const char *runner = ledger_rule_runner(n->ev, &n->job);
    line->what = NULL;
    memset(&n->vm, 0, sizeof n->vm);
    if (runner[0] == '\0') {
        return 0;
    }
    if (ledger_redis_load_vm(t, runner, &n->vm, &ours, e) != 0) {
        return -1;
    }
    if (!ours) {
        return 0;
    }
    struct ledger_vm before = n->vm;
    struct ledger_change change =
        ledger_rule_note_vm(&n->vm, &n->job, n->effect.changed, n->ev, now_ms);
    (void)snprintf(n->effect.vm, sizeof n->effect.vm, "%s", n->vm.name);
    n->effect.vm_changed = change.state;
    n->effect.vm_state = n->vm.state;
    if (change.state) {
        ledger_word_vm(line, &n->vm, NULL);
    }
    if (change.row) {
        ledger_redis_write_vm(&t->writes, &before, &n->vm);
    } else {
        n->vm = before;
    }
    return 0;
}

static int note_round(struct ledger_redis_txn *t, struct note *n, bool *done, struct err *e)
{
    struct ledger_line job_line = {.what = NULL};
    struct ledger_line vm_line;
    int64_t now_ms = ledger_redis_now(t->l);
    bool known;
    if (ledger_redis_load_job(t, n->ev->job.id, &n->job, &known, e) != 0) {
        return -1;
    }
    struct ledger_job before = n->job;
    n->effect = (struct ledger_effect){.known_before = known, .before = before.state};
    n->effect.changed = ledger_rule_note_job(&n->job, known, n->ev, n->scope, now_ms).state;
    n->effect.after = n->job.state;
    if (note_vm(t, n, &vm_line, now_ms, e) != 0) {
        return -1;
    }
    ledger_redis_write_job(&t->writes, known ? &before : NULL, &n->job);
    if (n->effect.changed) {
        ledger_redis_write_untold(&t->writes, n->job.facts.id);
        ledger_word_noted(&job_line, &n->job, n->ev, n->effect.vm[0] != '\0');
    }
    ledger_redis_write_line(&t->writes, n->job.facts.id, "", &job_line);
    ledger_redis_write_line(&t->writes, 0, n->effect.vm, &vm_line);
    return ledger_redis_commit(t, done, e);
}

int ledger_redis_note(void *state, const struct job_event *ev, const char *scope,
                      struct ledger_effect *out, struct err *e)
{
    struct note n = {.ev = ev, .scope = scope};
    struct ledger_redis_txn t;
    bool done = false;
    int rc;
    ledger_redis_begin(&t, state);
    do {
        rc = note_round(&t, &n, &done, e);
    } while (rc == 0 && !done && (rc = ledger_redis_again(&t, e)) == 0);
    ledger_redis_end(&t);
    if (rc != 0) {
        return -1;
    }
    ledger_redis_saw_job(state, &n.job);
    if (n.vm.name[0] != '\0') {
        ledger_redis_saw_vm(state, &n.vm);
    }
    *out = n.effect;
    return 0;
}

/* --- get --- */
static int unknown_job(int64_t id, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, 0, "the ledger knows no job %lld", (long long)id);
}

int ledger_redis_job_get(void *state, int64_t job_id, struct ledger_job *out, struct err *e)
{
    struct ledger_redis_name id = ledger_redis_id(job_id);
    struct ledger_redis_name name = ledger_redis_named("j%s", id.text);
    const char *words[] = {id.text, NULL};
    struct redis_reply *r = NULL;
    struct ledger_job job;
    if (ledger_redis_call(state, "HGET", "jobs", words, &r, e) != 0) {
        return -1;
    }
    struct slice row = redis_reply_bytes(r);
    int rc = row.len > 0 ? ledger_redis_unpack_job(row, &job, e) : unknown_job(job_id, e);
    ledger_redis_saw(state, name.text, row);
    redis_reply_free(r);
    if (rc == 0) {
        *out = job;
    }
    return rc;
}

/* --- one job, changed by the rules --- */
/* The job, which has to be there: *known false only in a round that will find out. */
static int need_job(struct ledger_redis_txn *t, int64_t id, struct ledger_job *out, bool *known,
                    bool *done, struct err *e)
{
    if (ledger_redis_load_job(t, id, out, known, e) != 0) {
        return -1;
    }
    if (*known) {
        return 0;
    }
    if (ledger_redis_commit(t, done, e) != 0) {
        return -1;
    }
    return *done ? unknown_job(id, e) : 0;
}

/* --- settle --- */
struct settle {
    int64_t id;
    enum ledger_job_state to;
    const char *why;
};

static int settle_vm(struct ledger_redis_txn *t, const struct ledger_job *job, struct err *e)
{
    struct ledger_vm vm;
    struct ledger_line line;
    bool ours;
    if (job->facts.runner_name[0] == '\0') {
        return 0;
    }
    if (ledger_redis_load_vm(t, job->facts.runner_name, &vm, &ours, e) != 0) {
        return -1;
    }
    struct ledger_vm before = vm;
    if (!ours || !ledger_rule_settle_vm(&vm, job, ledger_redis_now(t->l)).state) {
        return 0;
    }
    ledger_word_vm(&line, &vm, NULL);
    ledger_redis_write_vm(&t->writes, &before, &vm);
    ledger_redis_write_line(&t->writes, 0, vm.name, &line);
    return 0;
}

static int settle_round(struct ledger_redis_txn *t, const struct settle *s, bool *done,
                        struct err *e)
{
    struct ledger_job job;
    struct ledger_line line;
    bool known;
    if (need_job(t, s->id, &job, &known, done, e) != 0) {
        return -1;
    }
    if (!known) {
        return 0;
    }
    struct ledger_job before = job;
    if (ledger_rule_settle(&job, s->to, ledger_redis_now(t->l))) {
        ledger_word_settled(&line, &job, s->why);
        ledger_redis_write_job(&t->writes, &before, &job);
        ledger_redis_write_untold(&t->writes, s->id);
        ledger_redis_write_line(&t->writes, s->id, "", &line);
        if (settle_vm(t, &job, e) != 0) {
            return -1;
        }
    }
    return ledger_redis_commit(t, done, e);
}

int ledger_redis_job_settle(void *state, int64_t job_id, enum ledger_job_state to, const char *why,
                            struct err *e)
{
    struct settle s = {.id = job_id, .to = to, .why = why};
    struct ledger_redis_txn t;
    bool done = false;
    int rc;
    ledger_redis_begin(&t, state);
    do {
        rc = settle_round(&t, &s, &done, e);
    } while (rc == 0 && !done && (rc = ledger_redis_again(&t, e)) == 0);
    ledger_redis_end(&t);
    return rc;
}

/* --- waiting too long --- */
static int read_waiting(const struct redis_reply *page, int64_t before_ms, size_t max,
                        struct ledger_list *jobs, struct err *e)
{
    for (size_t i = 0; i < ledger_redis_page_count(page) && jobs->count < max; i++) {
        struct slice id;
        struct slice row;
        struct ledger_job job;
        ledger_redis_page_at(page, i, &id, &row);
        if (row.len == 0) {
            continue;
        }
        if (ledger_redis_unpack_job(row, &job, e) != 0) {
            return -1;
        }
        if (job.relaunched_ms < before_ms) {
            *(struct ledger_job *)ledger_list_add(jobs) = job;
        }
    }
    return 0;
}

int ledger_redis_jobs_waiting(void *state, const struct ledger_waiting *query,
                              struct ledger_job **out, size_t *n, struct err *e)
{
    struct ledger_list jobs = {.item_size = sizeof(struct ledger_job)};
    struct ledger_redis_name key = ledger_redis_waiting_key(query->scope, query->class_name);
    int64_t before = ledger_redis_theirs(state, query->before_ms);
    struct ledger_redis_name to = ledger_redis_named("(%lld", (long long)before);
    struct ledger_redis_range range = {key.text, "jobs", "ZRANGEBYSCORE", "-inf", to.text, 0, PAGE};
    bool more = true;
    while (more && jobs.count < query->max) {
        struct redis_reply *page = NULL;
        int rc = ledger_redis_page(state, &range, &page, e);
        more = rc == 0 && ledger_redis_page_count(page) == PAGE;
        rc = rc == 0 ? read_waiting(page, before, query->max, &jobs, e) : rc;
        redis_reply_free(page);
        if (rc != 0) {
            free(jobs.items);
            return -1;
        }
        range.skip += PAGE;
    }
    *out = jobs.items;
    *n = jobs.count;
    return 0;
}

static int relaunched_round(struct ledger_redis_txn *t, int64_t id, bool *done, struct err *e)
{
    struct ledger_job job;
    struct ledger_line line;
    bool known;
    if (need_job(t, id, &job, &known, done, e) != 0) {
        return -1;
    }
    if (!known) {
        return 0;
    }
    struct ledger_job before = job;
    job.relaunched_ms = ledger_redis_now(t->l);
    job.relaunches++;
    ledger_word_relaunched(&line, &job);
    ledger_redis_write_job(&t->writes, &before, &job);
    ledger_redis_write_untold(&t->writes, id);
    ledger_redis_write_line(&t->writes, id, "", &line);
    return ledger_redis_commit(t, done, e);
}

int ledger_redis_job_relaunched(void *state, int64_t job_id, struct err *e)
{
    struct ledger_redis_txn t;
    bool done = false;
    int rc;
    ledger_redis_begin(&t, state);
    do {
        rc = relaunched_round(&t, job_id, &done, e);
    } while (rc == 0 && !done && (rc = ledger_redis_again(&t, e)) == 0);
    ledger_redis_end(&t);
    return rc;
}
