/*
 * Conformance of a ledger backend: long random histories, against a model of a few arrays.
 *
 * The seed is printed; MAYFLY_SEED=n runs that history alone.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdio.h>

#include "common/base/random.h"

#define JOBS 8
#define VMS 64
#define STEPS 300 /* where the store is fast */
#define FLEET_CAP 5
#define HISTORIES 8
#define NOBODY (-1)
#define FOREIGN (-2)

enum { UNKNOWN = -1 };

struct model_job {
    int state;    /* enum ledger_job_state, or UNKNOWN */
    int runner;   /* a VM's index, NOBODY or FOREIGN */
    int ended_at; /* the step */
};
struct model_vm {
    char name[VM_NAME_SIZE];
    enum ledger_vm_state state;
    int64_t job;
    int reserved_at; /* the step */
};
struct model {
    struct ledger *l;
    int now; /* the step */
    uint64_t random;
    struct model_job jobs[JOBS]; /* ids from 1 */
    struct model_vm vms[VMS];
    int vm_count;
};

/* xorshift64: the same history for the same seed everywhere. */
static int draw(struct model *m, int below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (int)(m->random % (uint64_t)below);
}

static bool over(int state)
{
    return state == JOB_DONE || state == JOB_CANCELLED;
}

/* --- what the model does --- */
static int model_next(const struct model_job *j, enum job_action action, bool is_held, int runner)
{
    switch (action) {
    case JOB_ACTION_QUEUED:
    case JOB_ACTION_WAITING:
        if (is_held || action == JOB_ACTION_WAITING) {
            return j->state == UNKNOWN ? JOB_SEEN : j->state;
        }
        return j->state < JOB_WAITING ? JOB_WAITING : j->state;
    case JOB_ACTION_IN_PROGRESS:
        return j->state < JOB_RUNNING ? JOB_RUNNING : j->state;
    case JOB_ACTION_COMPLETED:
        break;
    }
    if (over(j->state)) {
        return j->state;
    }
    bool had = runner != NOBODY || j->runner != NOBODY || j->state == JOB_RUNNING;
    return had ? JOB_DONE : JOB_CANCELLED;
}

static void model_vm_hears(struct model_vm *v, int64_t id, const struct model_job *j, bool moved,
                           bool starts)
{
    bool is_later = !moved && over(j->state) && v->reserved_at > j->ended_at;
    if (v->state >= VM_ENDING) {
        v->job = v->job == 0 ? id : v->job;
    } else if (over(j->state)) {
        if ((v->job == 0 && !is_later) || v->job == id) {
            v->state = VM_ENDING;
            v->job = id;
        }
    } else if (starts) {
        if (v->state != VM_BUSY || v->job == 0 || moved) {
            v->job = id;
        }
        v->state = VM_BUSY;
    }
}

static void model_note(struct model *m, int64_t id, enum job_action action, bool is_held,
                       int runner)
{
    struct model_job *j = &m->jobs[id - 1];
    int next = model_next(j, action, is_held, runner);
    bool moved = next != j->state;
    j->state = next;
    j->ended_at = moved && over(next) ? m->now : j->ended_at;
    if (runner != NOBODY && (moved || j->runner == NOBODY)) {
        j->runner = runner;
    }
    int named = runner != NOBODY ? runner : j->runner;
    bool tells = action == JOB_ACTION_IN_PROGRESS || action == JOB_ACTION_COMPLETED;
    if (tells && named >= 0) {
        model_vm_hears(&m->vms[named], id, j, moved, action == JOB_ACTION_IN_PROGRESS);
    }
}

static int model_count_jobs(const struct model *m, int state)
{
    int n = 0;
    for (int i = 0; i < JOBS; i++) {
        n += m->jobs[i].state == state ? 1 : 0;
    }
    return n;
}

static int model_count_vms(const struct model *m, enum ledger_vm_state below)
{
    int n = 0;
    for (int i = 0; i < m->vm_count; i++) {
        n += m->vms[i].state < below ? 1 : 0;
    }
    return n;
}

static enum ledger_outcome model_reserve(struct model *m, int64_t id)
{
    struct model_job *j = &m->jobs[id - 1];
    j->state = j->state < JOB_WAITING ? JOB_WAITING : j->state;
    if (model_count_jobs(m, JOB_WAITING) <= model_count_vms(m, VM_BUSY)) {
        return j->state == JOB_WAITING ? LEDGER_SATISFIED : LEDGER_OBSOLETE;
    }
    return model_count_vms(m, VM_GONE) < FLEET_CAP ? LEDGER_RESERVED : LEDGER_FULL_FLEET;
}

/* --- both, and compared --- */
static void compare_job(const struct model *m, int64_t id)
{
    struct ledger_job job;
    struct err e;
    int expected = m->jobs[id - 1].state;
    if (expected == UNKNOWN) {
        must_fail(ledger_job_get(m->l, id, &job, &e), &e, ERR_NOT_FOUND);
        return;
    }
    MUST(ledger_job_get(m->l, id, &job, &e));
    assert_int_equal(job.state, expected);
}

static void compare_vm(const struct model *m, int i)
{
    struct ledger_vm vm = must_see_vm(m->l, m->vms[i].name);
    assert_int_equal(vm.state, m->vms[i].state);
    assert_int_equal(vm.job_id, m->vms[i].job);
}

static void compare_all(const struct model *m)
{
    for (int64_t id = 1; id <= JOBS; id++) {
        compare_job(m, id);
    }
    for (int i = 0; i < m->vm_count; i++) {
        compare_vm(m, i);
    }
    assert_int_equal(must_balance(m->l).demand, model_count_jobs(m, JOB_WAITING));
    assert_int_equal(must_balance(m->l).supply, model_count_vms(m, VM_BUSY));
    assert_int_equal(slots_used(m->l), model_count_vms(m, VM_GONE));
}

static void step_note(struct model *m, int64_t id)
{
    enum job_action action = (enum job_action)draw(m, 4);
    bool is_held = draw(m, 3) == 0;
    int runner = NOBODY;
    if (action == JOB_ACTION_IN_PROGRESS || (action == JOB_ACTION_COMPLETED && draw(m, 3) > 0)) {
        runner = m->vm_count > 0 && draw(m, 4) > 0 ? draw(m, m->vm_count) : FOREIGN;
    }
    const char *name = runner >= 0 ? m->vms[runner].name : runner == FOREIGN ? "elsewhere" : "";
    struct job_event ev = action == JOB_ACTION_QUEUED      ? (is_held ? held(id) : queued(id))
                          : action == JOB_ACTION_WAITING   ? waiting(id)
                          : action == JOB_ACTION_COMPLETED ? completed(id, name, "success")
                                                           : in_progress(id, name);
    (void)must_apply(m->l, ev);
    model_note(m, id, action, is_held, runner);
    if (runner >= 0) {
        compare_vm(m, runner);
    }
}

static void step_reserve(struct model *m, int64_t id)
{
    struct ledger_caps caps = wide_caps();
    caps.fleet = FLEET_CAP;
    struct ledger_reservation r = must_reserve(m->l, queued(id), caps);
    assert_string_equal(ledger_outcome_name(r.outcome), ledger_outcome_name(model_reserve(m, id)));
    if (r.outcome == LEDGER_RESERVED) {
        assert_true(m->vm_count < VMS);
        struct model_vm *v = &m->vms[m->vm_count++];
        *v = (struct model_vm){.state = VM_RESERVED, .reserved_at = m->now};
        (void)snprintf(v->name, sizeof v->name, "%s", r.vm.name);
    }
}

static void step_advance(struct model *m)
{
    struct model_vm *v = &m->vms[draw(m, m->vm_count)];
    enum ledger_vm_state to = (enum ledger_vm_state)draw(m, 6);
    struct ledger_advance a = step(v->name, to);
    struct err e;
    int rc = ledger_vm_advance(m->l, &a, NULL, &e);
    bool next = to == v->state + 1 || (to == VM_ENDING && v->state < VM_ENDING) ||
                (to == VM_BUSY && v->state < VM_BUSY);
    bool late_launch = to == VM_LAUNCHED && (v->state == VM_BUSY || v->state == VM_ENDING);
    if (next) {
        v->state = to;
    }
    assert_int_equal(rc, next || late_launch || to == v->state ? 0 : -1);
}

static void step_settle(struct model *m, int64_t id)
{
    struct model_job *j = &m->jobs[id - 1];
    static const enum ledger_job_state ways[] = {JOB_RUNNING, JOB_DONE, JOB_CANCELLED};
    enum ledger_job_state to = ways[draw(m, 3)];
    struct err e;
    if (j->state == UNKNOWN) {
        must_fail(ledger_reconcile_job(m->l, id, to, NULL, "model", &e), &e, ERR_NOT_FOUND);
        return;
    }
    MUST(ledger_reconcile_job(m->l, id, to, NULL, "model", &e));
    if (over(j->state) || (j->state == JOB_RUNNING && to == JOB_RUNNING)) {
        return;
    }
    bool had = j->runner != NOBODY || j->state == JOB_RUNNING;
    j->state = to == JOB_CANCELLED && had ? (int)JOB_DONE : (int)to;
    j->ended_at = over(j->state) ? m->now : 0;
    if (over(j->state) && j->runner >= 0) {
        struct model_vm *v = &m->vms[j->runner];
        v->state = v->state == VM_BUSY && v->job == id ? VM_ENDING : v->state;
    }
}

static void take_step(struct model *m)
{
    int64_t id = 1 + draw(m, JOBS);
    int what = draw(m, 10);
    if (what < 4) {
        step_note(m, id);
    } else if (what < 6 && m->vm_count < VMS) {
        step_reserve(m, id);
    } else if (what < 9 && m->vm_count > 0) {
        step_advance(m);
    } else {
        step_settle(m, id);
    }
    compare_job(m, id);
}

static void live_through(struct ledger *l, uint64_t seed, int steps)
{
    struct model m = {.l = l, .random = seed * 2654435761U + 88172645463325252ULL};
    int64_t removed;
    struct err e;
    print_message("model: MAYFLY_SEED=%llu\n", (unsigned long long)seed);
    for (int i = 0; i < JOBS; i++) {
        m.jobs[i] = (struct model_job){.state = UNKNOWN, .runner = NOBODY};
    }
    for (int i = 0; i < steps; i++) {
        clock_at(i * 10);
        m.now = i;
        take_step(&m);
        if (i % 20 == 0) {
            compare_all(&m);
        }
    }
    compare_all(&m);
    must_be_consistent(l, JOBS);
    /* Leave an empty ledger for the next history. */
    for (int64_t id = 1; id <= JOBS; id++) {
        (void)must_apply(l, completed(id, "", "cancelled"));
    }
    for (int i = 0; i < m.vm_count; i++) {
        if (m.vms[i].state != VM_GONE) {
            struct ledger_advance a = step(m.vms[i].name, VM_ENDING);
            MUST(ledger_vm_advance(l, &a, NULL, &e));
            must_advance(l, m.vms[i].name, VM_GONE);
        }
    }
    MUST(ledger_tidy(l, START_MS + HOUR_MS, 1000, &removed, &e));
    assert_int_equal(removed, JOBS + m.vm_count);
    must_be_consistent(l, JOBS);
}

static void random_histories_agree_with_the_model(void **state)
{
    struct ledger_fixture *f = *state;
    const char *chosen = getenv("MAYFLY_SEED");
    int steps = ledger_times(f->store.url, STEPS, STEPS / 2);
    if (chosen != NULL) {
        live_through(f->l, strtoull(chosen, NULL, 10), steps);
        return;
    }
    for (int seed = ledger_times(f->store.url, HISTORIES, 1); seed > 0; seed--) {
        live_through(f->l, (uint64_t)seed, steps);
    }
    live_through(f->l, random_below(1000000), steps);
}

const struct CMUnitTest ledger_model_tests[] = {
    LEDGER_TEST(random_histories_agree_with_the_model),
};
const size_t ledger_model_test_count = COUNT_OF(ledger_model_tests);
