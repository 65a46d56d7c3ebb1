#include "common/ledger/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/job/vm_name.h"
#include "common/ledger/front.h"
#include "common/ledger/job_list.h"
#include "common/ledger/list.h"
#include "common/ledger/steps.h"

#define NAME_TRIES 3 /* a random name is practically never in use already */
#define MASK_OF_STATES ((1U << (VM_GONE + 1)) - 1)

/* --- opening --- */
static const struct backend {
    const char *scheme;
    const struct ledger_ops *ops;
} backends[] = {
    {"sqlite", &ledger_ops_sqlite}, {"memory", &ledger_ops_sqlite},   {"redis", &ledger_ops_redis},
    {"rediss", &ledger_ops_redis},  {"dynamodb", &ledger_ops_dynamo},
};

/* A missing slot would only crash when it is called, so all are checked at open. */
static void check_slots(const struct ledger_ops *ops)
{
    void *slots[sizeof *ops / sizeof(void *)];
    memcpy(slots, ops, sizeof slots);
    for (size_t i = 0; i < COUNT_OF(slots); i++) {
        ASSERT(slots[i] != NULL);
    }
}

static const struct ledger_ops *ledger_backend_of(struct slice scheme)
{
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        if (slice_eq_cstr(scheme, backends[i].scheme)) {
            return backends[i].ops;
        }
    }
    return NULL;
}

static int open_ledger(const char *url, bool existing, struct ledger **out, struct err *e)
{
    struct slice scheme;
    struct slice rest;
    bool named = slice_cut(slice_of(url), ':', &scheme, &rest);
    scheme = named ? scheme : SLICE("");
    const struct ledger_ops *ops = ledger_backend_of(scheme);
    if (ops == NULL) {
        /* The rest of the URL may hold a password. */
        return err_set(e, ERR_PERMANENT, 0,
                       "no ledger \"%.*s\": write sqlite:///PATH, redis://HOST or dynamodb://TABLE",
                       SLICE_ARG(scheme));
    }
    check_slots(ops);
    void *state = NULL;
    if (ops->open(url, existing, &state, e) != 0) {
        return err_wrap(e, "ledger");
    }
    struct ledger *l = calloc(1, sizeof *l);
    ASSERT(l != NULL && pthread_mutex_init(&l->lock, NULL) == 0);
    l->ops = ops;
    l->state = state;
    l->store = (struct ledger_store){.ops = ops->txn, .state = state};
    *out = l;
    return 0;
}

int ledger_open(const char *url, struct ledger **out, struct err *e)
{
    return open_ledger(url, false, out, e);
}

int ledger_open_existing(const char *url, struct ledger **out, struct err *e)
{
    return open_ledger(url, true, out, e);
}

void ledger_close(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    l->ops->close(l->state);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* The calls of a store that is a service of AWS are counted by its client. */
int ledger_end_op(const struct ledger *l, enum ledger_op op, int64_t began_us, int rc,
                  const struct err *e)
{
    return l->ops == &ledger_ops_dynamo ? rc : ledger_metrics_op(op, began_us, rc, e);
}

void ledger_observe(struct ledger *l, ledger_observer_fn *observe, void *arg)
{
    ASSERT(l->store.observe == NULL);
    l->store.observe = observe;
    l->store.observe_arg = arg;
}

int ledger_ping(struct ledger *l, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_PING, began_us, l->ops->ping(l->state, e), e);
}

/* --- jobs --- */
static int check_scope_name(const char *scope, struct err *e)
{
    return ledger_check_text("scope", scope, sizeof((struct ledger_job *)0)->scope, e);
}

static int check_vm_name(const char *name, struct err *e)
{
    return ledger_check_text("VM", name, sizeof((struct ledger_vm *)0)->name, e);
}

int ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                       struct ledger_effect *out, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (ledger_check_event(ev, e) != 0 || check_scope_name(scope, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_APPLY_EVENT, began_us,
                         ledger_step_apply_event(&l->store, ev, scope, out, e), e);
}

int ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_JOB_GET, began_us, l->ops->job_get(l->state, job_id, out, e), e);
}

int ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                         const char *conclusion, const char *why, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (to != JOB_RUNNING && to != JOB_DONE && to != JOB_CANCELLED) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: a job cannot be reconciled to %s",
                       ledger_job_state_name(to));
    }
    return ledger_end_op(
        l, OP_RECONCILE_JOB, began_us,
        ledger_step_reconcile_job(&l->store, job_id, to, conclusion, why != NULL ? why : "", e), e);
}

/* NOLINTNEXTLINE(readability-function-size): its parameters are what ledger.h promises */
int ledger_jobs_waiting(struct ledger *l, const char *scope, const char *class_name,
                        int64_t before_ms, size_t max, struct ledger_job **out, size_t *n,
                        struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_waiting query = {
        .scope = scope, .class_name = class_name, .before_ms = before_ms, .max = max};
    return ledger_end_op(l, OP_JOBS_WAITING, began_us,
                         ledger_list_waiting(l->ops, l->state, &query, out, n, e), e);
}

int ledger_job_relaunched(struct ledger *l, int64_t job_id, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_JOB_RELAUNCHED, began_us,
                         ledger_step_relaunched(&l->store, job_id, e), e);
}

int ledger_jobs_running(struct ledger *l, int64_t from_ms, int64_t before_ms, size_t max,
                        struct ledger_job **out, size_t *n, struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_running query = {.from_ms = from_ms, .before_ms = before_ms, .max = max};
    return ledger_end_op(l, OP_JOBS_RUNNING, began_us,
                         ledger_list_running(l->ops, l->state, &query, out, n, e), e);
}

int ledger_jobs_list(struct ledger *l, const struct ledger_jobs_query *query,
                     struct ledger_job **out, size_t *n, char next[LEDGER_CURSOR_SIZE],
                     struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_JOBS_LIST, began_us,
                         ledger_list_jobs(l->ops, l->state, query, out, n, next, e), e);
}

int ledger_job_asked(struct ledger *l, int64_t job_id, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_JOB_ASKED, began_us, ledger_step_asked(&l->store, job_id, e), e);
}

/* --- reserving --- */
int ledger_reserve(struct ledger *l, const struct ledger_reserve *r, struct ledger_reservation *out,
                   struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (ledger_check_reserve(r, e) != 0) {
        return -1;
    }
    struct ledger_reserve request = *r;
    if (r->request->job.id == 0) {
        request.caps.repository = 0;
    }
    request.target = r->target != NULL ? r->target : "";
    if (request.target[0] == '\0') {
        request.caps.target_max = 0;
    }
    int rc = -1;
    for (int i = 0; i < NAME_TRIES; i++) {
        char name[VM_NAME_SIZE];
        vm_name_make(r->deployment, r->request->class_name, name);
        /* The client token is the name, so that two run calls for one row launch one VM. */
        rc = l->ops->reserve(l->state, &request, name, name, out, e);
        if (rc == 0 || e->class != ERR_CONFLICT) {
            break;
        }
    }
    if (rc == 0 && out->outcome == LEDGER_OBSOLETE && r->request->job.id == 0) {
        out->outcome = LEDGER_SATISFIED; /* without a job, OBSOLETE has no meaning */
    }
    if (rc == 0) {
        ledger_step_reserved(&l->store, &request, out);
    }
    return ledger_end_op(l, OP_RESERVE, began_us, rc, e);
}

int ledger_capacity(struct ledger *l, const char *class_name, const struct ledger_caps *caps,
                    struct ledger_capacity *out, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_CAPACITY, began_us,
                         l->ops->capacity(l->state, class_name, caps, out, e), e);
}

int ledger_targets_read(struct ledger *l, struct ledger_target_use *targets, size_t n,
                        struct err *e)
{
    int64_t began_us = clock_mono_us();
    for (size_t i = 0; i < n; i++) {
        if (ledger_check_target(targets[i].name, targets[i].rate_per_second, e) != 0) {
            return -1;
        }
    }
    return ledger_end_op(l, OP_TARGETS, began_us,
                         n > 0 ? l->ops->targets_read(l->state, targets, n, e) : 0, e);
}

int ledger_release_seq(struct ledger *l, int64_t *out, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_RELEASE_SEQ, began_us, l->ops->release_seq(l->state, out, e), e);
}

void ledger_watch_releases(struct ledger *l, ledger_released_fn *on_release, void *arg)
{
    l->ops->watch_releases(l->state, on_release, arg);
}

bool ledger_watching(struct ledger *l)
{
    return l->ops->watching(l->state);
}

int64_t ledger_now_ms(struct ledger *l)
{
    return l->ops->now(l->state);
}

int ledger_history(struct ledger *l, char out[LEDGER_HISTORY_SIZE], struct err *e)
{
    return l->ops->history(l->state, out, e);
}

int ledger_balances(struct ledger *l, struct ledger_balance **out, size_t *n, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_BALANCES, began_us, l->ops->balances(l->state, out, n, e), e);
}

int ledger_scopes(struct ledger *l, struct ledger_scope **out, size_t *n, struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_scope *all = NULL;
    size_t count = 0;
    int rc = ledger_end_op(l, OP_SCOPES, began_us, l->ops->scopes(l->state, &all, &count, e), e);
    if (rc == 0) {
        *out = all;
        *n = ledger_list_merge_scopes(all, count);
    }
    return rc;
}

/* --- VMs --- */
int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                      struct err *e)
{
    int64_t began_us = clock_mono_us();
    bool moved = false;
    if (ledger_check_advance(a, e) != 0) {
        return -1;
    }
    int rc = ledger_step_advance(&l->store, a, &moved, e);
    if (rc == 0 && changed != NULL) {
        *changed = moved;
    }
    return ledger_end_op(l, OP_VM_ADVANCE, began_us, rc, e);
}

int ledger_vm_advance_paced(struct ledger *l, const struct ledger_advance *a,
                            const struct ledger_bucket *pace, int64_t *wait_ms, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (ledger_check_advance(a, e) != 0 || ledger_check_bucket(pace, 1, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_VM_ADVANCE, began_us,
                         ledger_step_advance_paced(&l->store, a, pace, wait_ms, e), e);
}

int ledger_vm_adopt(struct ledger *l, const struct ledger_adoption *a, bool *added, struct err *e)
{
    int64_t began_us = clock_mono_us();
    bool new_row = false;
    if (check_vm_name(a->name, e) != 0) {
        return -1;
    }
    if (a->vm_id[0] == '\0' || a->class_name[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "an adopted VM has an id and a class");
    }
    struct ledger_adoption adoption = *a;
    adoption.target = a->target != NULL ? a->target : "";
    int rc = ledger_end_op(l, OP_VM_ADOPT, began_us,
                           ledger_step_adopt(&l->store, &adoption, &new_row, e), e);
    *added = rc == 0 ? new_row : *added;
    return rc;
}

int ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (check_vm_name(name, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_VM_HEARTBEAT, began_us, ledger_step_heartbeat(&l->store, name, e),
                         e);
}

int ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (check_vm_name(name, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_VM_GET, began_us, l->ops->vm_get(l->state, name, out, e), e);
}

int ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                   struct ledger_vm **out, size_t *n, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_VM_LIST, began_us,
                         l->ops->vm_list(l->state, state_mask & MASK_OF_STATES,
                                         after != NULL ? after : "", max, out, n, e),
                         e);
}

int ledger_vms_gone(struct ledger *l, int64_t from_ms, int64_t before_ms, size_t max,
                    struct ledger_vm **out, size_t *n, struct err *e)
{
    int64_t began_us = clock_mono_us();
    struct ledger_gone span = {.from_ms = from_ms, .before_ms = before_ms, .max = max};
    return ledger_end_op(l, OP_VM_LIST, began_us, l->ops->vms_gone(l->state, &span, out, n, e), e);
}

/* --- timeline --- */
int ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                     const char *detail, struct err *e)
{
    int64_t began_us = clock_mono_us();
    const char *name = vm != NULL ? vm : "";
    if (job_id == 0 && name[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0, "ledger: a timeline's line needs a job or a VM");
    }
    if ((name[0] != '\0' && check_vm_name(name, e) != 0) ||
        ledger_check_text("what", what, sizeof((struct ledger_entry *)0)->what, e) != 0) {
        return -1;
    }
    return ledger_end_op(
        l, OP_LOG_EVENT, began_us,
        ledger_step_log_event(&l->store, job_id, name, what, detail != NULL ? detail : "", e), e);
}

int ledger_timeline(struct ledger *l, int64_t job_id, struct ledger_entry **out, size_t *n,
                    struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_TIMELINE, began_us, l->ops->timeline(l->state, job_id, out, n, e),
                         e);
}

/* --- rate buckets, leases --- */
int ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                     int64_t *wait_ms, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (ledger_check_bucket(b, cost, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_RATE, began_us, l->ops->rate_take(l->state, b, cost, wait_ms, e), e);
}

int ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (ledger_check_text("bucket", name, 128, e) != 0) {
        return -1;
    }
    return ledger_end_op(l, OP_RATE, began_us, l->ops->rate_pause(l->state, name, until_ms, e), e);
}

/* --- administration --- */
int ledger_counts(struct ledger *l, struct ledger_count **out, size_t *n, struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_COUNTS, began_us, l->ops->counts(l->state, out, n, e), e);
}

int ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed, struct err *e)
{
    int64_t began_us = clock_mono_us();
    if (max == 0) {
        return err_set(e, ERR_PERMANENT, 0, "ledger: tidy needs a max of at least 1 row");
    }
    return ledger_end_op(l, OP_TIDY, began_us, l->ops->tidy(l->state, before_ms, max, removed, e),
                         e);
}

void ledger_check(struct ledger *l, enum ledger_check what, ledger_report_fn *report, void *arg)
{
    l->ops->check(l->state, what, report, arg);
}

int ledger_repair(struct ledger *l, struct ledger_repair **out, size_t *n, size_t *suspected,
                  struct err *e)
{
    int64_t began_us = clock_mono_us();
    return ledger_end_op(l, OP_REPAIR, began_us, l->ops->repair(l->state, out, n, suspected, e), e);
}
