#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/ledger/memory/memory.h"

/* --- counts in use --- */
static struct ledger_usage usage_of(struct ledger_memory *m, const char *scope,
                                    const char *class_name, const char *repository)
{
    struct ledger_usage u = {.demand = 0};
    const struct ledger_memory_job *jobs = m->jobs.items;
    const struct ledger_vm *vms = m->vms.items;
    for (size_t i = 0; i < m->jobs.count; i++) {
        const struct ledger_job *j = &jobs[i].job;
        u.demand += j->state == JOB_WAITING && strcmp(j->scope, scope) == 0 &&
                    strcmp(j->facts.class_name, class_name) == 0;
    }
    for (size_t i = 0; i < m->vms.count; i++) {
        const struct ledger_vm *vm = &vms[i];
        bool same_class = strcmp(vm->class_name, class_name) == 0;
        if (ledger_vm_has_slot(vm->state)) {
            u.supply += same_class && strcmp(vm->scope, scope) == 0 && vm->state < VM_BUSY;
            u.fleet_used++;
            u.class_used += same_class;
            u.repository_used += strcmp(vm->repository, repository) == 0;
        }
    }
    return u;
}

/* --- rate buckets --- */
static struct ledger_bucket_row bucket_row(struct ledger_memory *m, const char *name)
{
    struct ledger_bucket_row row;
    const struct ledger_memory_bucket *b = ledger_memory_find(&m->buckets, name, NULL, 0);
    if (b != NULL) {
        return b->row;
    }
    ledger_rule_bucket_new(&row, clock_wall_ms());
    return row;
}

static void save_bucket(struct ledger_memory *m, const char *name,
                        const struct ledger_bucket_row *row)
{
    ((struct ledger_memory_bucket *)ledger_memory_need(&m->buckets, name, NULL, 0))->row = *row;
}

int ledger_memory_rate_take(void *state, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    int64_t now_ms = clock_wall_ms();
    struct ledger_bucket_row row = bucket_row(m, b->name);
    bool set_back = ledger_rule_clock_set_back(&row, now_ms);
    (void)e;
    ledger_rule_bucket_refill(&row, b->per_second, b->burst, now_ms);
    *wait_ms = ledger_rule_bucket_wait(&row, b->per_second, cost, now_ms);
    if (*wait_ms == 0) {
        ledger_rule_bucket_spend(&row, b->per_second, cost);
    }
    if (b->per_second > 0 && (*wait_ms == 0 || set_back)) {
        save_bucket(m, b->name, &row);
    }
    ledger_memory_unlock(m);
    return 0;
}

int ledger_memory_rate_pause(void *state, const char *name, int64_t until_ms, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    struct ledger_bucket_row row = bucket_row(m, name);
    (void)e;
    if (row.paused_until_ms < until_ms) {
        row.paused_until_ms = until_ms;
        save_bucket(m, name, &row);
    }
    ledger_memory_unlock(m);
    return 0;
}

/* --- the two buckets that a launch takes from --- */
struct launch_rate {
    char names[2][64];
    double per_second[2];
    struct ledger_bucket_row rows[2]; /* refilled, nothing spent */
    int64_t wait_ms;
    bool set_back; /* the clock was: the rows are written though nothing is spent */
};

static void load_launch_rate(struct ledger_memory *m, const char *class_name,
                             const struct ledger_caps *caps, struct launch_rate *out)
{
    int64_t now_ms = clock_wall_ms();
    const int64_t bursts[2] = {caps->rate_burst, caps->class_rate_burst};
    *out = (struct launch_rate){
        .names = {LEDGER_BUCKET_LAUNCH},
        .per_second = {caps->rate_per_second, caps->class_rate_per_second},
    };
    (void)snprintf(out->names[1], sizeof out->names[1], LEDGER_BUCKET_CLASS "%s", class_name);
    for (size_t i = 0; i < 2; i++) {
        out->rows[i] = bucket_row(m, out->names[i]);
        out->set_back = out->set_back || ledger_rule_clock_set_back(&out->rows[i], now_ms);
        ledger_rule_bucket_refill(&out->rows[i], out->per_second[i], bursts[i], now_ms);
        int64_t wait_ms = ledger_rule_bucket_wait(&out->rows[i], out->per_second[i], 1, now_ms);
        out->wait_ms = wait_ms > out->wait_ms ? wait_ms : out->wait_ms;
    }
}

static void save_launch_rate(struct ledger_memory *m, const struct launch_rate *rate)
{
    for (size_t i = 0; i < 2; i++) {
        if (rate->per_second[i] > 0) {
            save_bucket(m, rate->names[i], &rate->rows[i]);
        }
    }
}

/* Spends a token of both, or of neither; how long until that can be. */
static int64_t spend_launch_rate(struct ledger_memory *m, const struct ledger_reserve *r)
{
    struct launch_rate rate;
    load_launch_rate(m, r->request->class_name, &r->caps, &rate);
    for (size_t i = 0; rate.wait_ms == 0 && i < 2; i++) {
        ledger_rule_bucket_spend(&rate.rows[i], rate.per_second[i], 1);
    }
    if (rate.wait_ms == 0 || rate.set_back) {
        save_launch_rate(m, &rate);
    }
    return rate.wait_ms;
}

/* --- reserve --- */
/* The job waits from now on, unless it is further on. NULL: the request has none. */
static struct ledger_memory_job *note_waiting(struct ledger_memory *m,
                                              const struct ledger_reserve *r)
{
    int64_t id = r->request->job.id;
    struct ledger_memory_job *row = ledger_memory_job(m, id);
    bool known = row != NULL;
    struct ledger_line line;
    if (id == 0) {
        return NULL;
    }
    row = known ? row : ledger_list_add(&m->jobs);
    if (ledger_rule_wait(&row->job, known, r->request, r->scope, clock_wall_ms()).state) {
        row->told = 0;
        ledger_word_noted(&line, &row->job, r->request->delivery, false);
        ledger_memory_add_line(m, id, "", &line);
    }
    return row;
}

/* Every cause of waiting is told once, however often the message comes back. Of a request without a
 * job only the new VM has a timeline. */
static void tell_outcome(struct ledger_memory *m, const struct ledger_reserve *r,
                         const struct ledger_usage *usage, const struct ledger_reservation *res,
                         struct ledger_memory_job *row)
{
    struct ledger_line line;
    bool waits = res->outcome != LEDGER_RESERVED && res->outcome != LEDGER_SATISFIED;
    int64_t bit = (int64_t)1 << res->outcome;
    if (row == NULL ? res->outcome != LEDGER_RESERVED : waits && (row->told & bit) != 0) {
        return;
    }
    if (row != NULL) {
        row->told = waits ? row->told | bit : 0;
    }
    ledger_word_reserved(&line, r, usage, res);
    ledger_memory_add_line(m, r->request->job.id, res->vm.name, &line);
}

static void decide(struct ledger_memory *m, const struct ledger_reserve *r, const char *vm_name,
                   const char *client_token, struct ledger_reservation *res)
{
    struct ledger_memory_job *row = note_waiting(m, r);
    struct ledger_usage usage =
        usage_of(m, r->scope, r->request->class_name, r->request->job.repository);
    *res = (struct ledger_reservation){
        .outcome = LEDGER_OBSOLETE, .demand = usage.demand, .supply = usage.supply};
    /* A job that went to a machine launched for another leaves that other one waiting, whose own
     * message may be gone: this message is its occasion. */
    if ((row == NULL || row->job.state != JOB_WAITING) && usage.demand <= usage.supply) {
        return;
    }
    res->outcome = ledger_rule_reserve(&usage, &r->caps);
    if (res->outcome == LEDGER_RESERVED && (res->wait_ms = spend_launch_rate(m, r)) > 0) {
        res->outcome = LEDGER_RATE;
    }
    if (res->outcome == LEDGER_RESERVED) {
        ledger_rule_new_vm(&res->vm, r, vm_name, client_token, clock_wall_ms());
        *(struct ledger_vm *)ledger_list_add(&m->vms) = res->vm;
    }
    tell_outcome(m, r, &usage, res, row);
}

int ledger_memory_reserve(void *state, const struct ledger_reserve *r, const char *vm_name,
                          const char *client_token, struct ledger_reservation *out, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    bool taken = ledger_memory_find(&m->vms, vm_name, NULL, 0) != NULL;
    if (!taken) {
        decide(m, r, vm_name, client_token, out);
    }
    ledger_memory_unlock(m);
    return taken ? err_set(e, ERR_CONFLICT, 0, "there is a VM %s already", vm_name) : 0;
}

/* --- room --- */
int ledger_memory_room(void *state, const char *class_name, const struct ledger_caps *caps,
                       struct ledger_room *out, struct err *e)
{
    struct ledger_memory *m = ledger_memory_lock(state);
    struct ledger_usage usage = usage_of(m, "", class_name, "");
    struct launch_rate rate;
    (void)e;
    load_launch_rate(m, class_name, caps, &rate);
    if (rate.set_back) {
        save_launch_rate(m, &rate);
    }
    *out = (struct ledger_room){.fleet_used = usage.fleet_used,
                                .class_used = usage.class_used,
                                .rate_wait_ms = rate.wait_ms};
    ledger_memory_unlock(m);
    return 0;
}
