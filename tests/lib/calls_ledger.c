/*
 * Wrappers of the ledger's front: see calls.h.
 */
#include "common/ledger/ledger.h"
#include "tests/lib/calls.h"

int __real_ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                             struct err *e);
int __wrap_ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                             struct err *e);
int __real_ledger_vm_advance_paced(struct ledger *l, const struct ledger_advance *a,
                                   const struct ledger_bucket *pace, int64_t *wait_ms,
                                   struct err *e);
int __wrap_ledger_vm_advance_paced(struct ledger *l, const struct ledger_advance *a,
                                   const struct ledger_bucket *pace, int64_t *wait_ms,
                                   struct err *e);
int __real_ledger_vm_adopt(struct ledger *l, const struct ledger_adoption *a, bool *added,
                           struct err *e);
int __wrap_ledger_vm_adopt(struct ledger *l, const struct ledger_adoption *a, bool *added,
                           struct err *e);
int __real_ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e);
int __wrap_ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e);
int __real_ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e);
int __wrap_ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e);

int __real_ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms,
                        bool *held, int64_t *fence, struct err *e);
int __wrap_ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms,
                        bool *held, int64_t *fence, struct err *e);
int __real_ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out, struct err *e);
int __wrap_ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out, struct err *e);
int __real_ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                          struct ledger_vm **out, size_t *n, struct err *e);
int __wrap_ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                          struct ledger_vm **out, size_t *n, struct err *e);
int __real_ledger_balances(struct ledger *l, struct ledger_balance **out, size_t *n, struct err *e);
int __wrap_ledger_balances(struct ledger *l, struct ledger_balance **out, size_t *n, struct err *e);
int __real_ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                                const char *conclusion, const char *why, struct err *e);
int __wrap_ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                                const char *conclusion, const char *why, struct err *e);
int __real_ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                            const char *detail, struct err *e);
int __wrap_ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                            const char *detail, struct err *e);
int __real_ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed,
                       struct err *e);
int __wrap_ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed,
                       struct err *e);
int __real_ledger_cell_get(struct ledger *l, const char *kind, const char *name,
                           struct ledger_cell *out, struct err *e);
int __wrap_ledger_cell_get(struct ledger *l, const char *kind, const char *name,
                           struct ledger_cell *out, struct err *e);
int __real_ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out, size_t *n,
                            struct err *e);
int __wrap_ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out, size_t *n,
                            struct err *e);
int __real_ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                           int64_t expected, int64_t *version, struct err *e);
int __wrap_ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                           int64_t expected, int64_t *version, struct err *e);
int __real_ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                              struct ledger_effect *out, struct err *e);
int __real_ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e);
int __wrap_ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                              struct ledger_effect *out, struct err *e);
int __wrap_ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e);
int __real_ledger_reserve(struct ledger *l, const struct ledger_reserve *r,
                          struct ledger_reservation *out, struct err *e);
int __wrap_ledger_reserve(struct ledger *l, const struct ledger_reserve *r,
                          struct ledger_reservation *out, struct err *e);
int __real_ledger_capacity(struct ledger *l, const char *class_name, const struct ledger_caps *caps,
                           struct ledger_capacity *out, struct err *e);
int __real_ledger_release_seq(struct ledger *l, int64_t *out, struct err *e);
int __wrap_ledger_capacity(struct ledger *l, const char *class_name, const struct ledger_caps *caps,
                           struct ledger_capacity *out, struct err *e);
int __wrap_ledger_release_seq(struct ledger *l, int64_t *out, struct err *e);

static const char *or_none(const char *text)
{
    return text != NULL ? text : "-";
}

int __wrap_ledger_vm_adopt(struct ledger *l, const struct ledger_adoption *a, bool *added,
                           struct err *e)
{
    struct call c = call_begin("ledger_vm_adopt", e, "vm=%s class=%s vm_id=%s", a->name,
                               a->class_name, a->vm_id);
    return call_end(&c, c.goes_on ? __real_ledger_vm_adopt(l, a, added, e) : -1, e);
}

int __wrap_ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                             struct err *e)
{
    struct call c = call_begin("ledger_vm_advance", e,
                               "vm=%s to=%s runner_id=%lld vm_id=%s deadline_ms=%lld reason=%s",
                               a->vm, ledger_vm_state_name(a->to), (long long)a->runner_id,
                               or_none(a->vm_id), (long long)a->deadline_ms, or_none(a->reason));
    return call_end(&c, c.goes_on ? __real_ledger_vm_advance(l, a, changed, e) : -1, e);
}

/* To who counts them, the same call. */
int __wrap_ledger_vm_advance_paced(struct ledger *l, const struct ledger_advance *a,
                                   const struct ledger_bucket *pace, int64_t *wait_ms,
                                   struct err *e)
{
    struct call c = call_begin("ledger_vm_advance", e,
                               "vm=%s to=%s runner_id=%lld vm_id=%s deadline_ms=%lld reason=%s "
                               "pace=%s %g:%lld",
                               a->vm, ledger_vm_state_name(a->to), (long long)a->runner_id,
                               or_none(a->vm_id), (long long)a->deadline_ms, or_none(a->reason),
                               pace->name, pace->per_second, (long long)pace->burst);
    return call_end(&c, c.goes_on ? __real_ledger_vm_advance_paced(l, a, pace, wait_ms, e) : -1, e);
}

int __wrap_ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e)
{
    struct call c = call_begin("ledger_rate_take", e, "name=%s per_second=%g burst=%lld cost=%lld",
                               b->name, b->per_second, (long long)b->burst, (long long)cost);
    return call_end(&c, c.goes_on ? __real_ledger_rate_take(l, b, cost, wait_ms, e) : -1, e);
}

int __wrap_ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e)
{
    struct call c =
        call_begin("ledger_rate_pause", e, "name=%s until_ms=%lld", name, (long long)until_ms);
    return call_end(&c, c.goes_on ? __real_ledger_rate_pause(l, name, until_ms, e) : -1, e);
}

int __wrap_ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms,
                        bool *held, int64_t *fence, struct err *e)
{
    struct call c = call_begin("ledger_lease", e, "name=%s holder=%s ttl_ms=%lld", name, holder,
                               (long long)ttl_ms);
    return call_end(
        &c, c.goes_on ? __real_ledger_lease(l, name, holder, ttl_ms, held, fence, e) : -1, e);
}

int __wrap_ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out, struct err *e)
{
    struct call c = call_begin("ledger_vm_get", e, "vm=%s", name);
    return call_end(&c, c.goes_on ? __real_ledger_vm_get(l, name, out, e) : -1, e);
}

int __wrap_ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                          struct ledger_vm **out, size_t *n, struct err *e)
{
    struct call c =
        call_begin("ledger_vm_list", e, "states=%#x after=%s max=%zu", state_mask, after, max);
    return call_end(
        &c, c.goes_on ? __real_ledger_vm_list(l, state_mask, after, max, out, n, e) : -1, e);
}

int __wrap_ledger_balances(struct ledger *l, struct ledger_balance **out, size_t *n, struct err *e)
{
    struct call c = call_begin("ledger_balances", e, "%s", "");
    return call_end(&c, c.goes_on ? __real_ledger_balances(l, out, n, e) : -1, e);
}

int __wrap_ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                                const char *conclusion, const char *why, struct err *e)
{
    struct call c = call_begin("ledger_reconcile_job", e, "job=%lld to=%s why=%s",
                               (long long)job_id, ledger_job_state_name(to), why);
    return call_end(
        &c, c.goes_on ? __real_ledger_reconcile_job(l, job_id, to, conclusion, why, e) : -1, e);
}

int __wrap_ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                            const char *detail, struct err *e)
{
    struct call c = call_begin("ledger_log_event", e, "job=%lld vm=%s what=%s detail=%s",
                               (long long)job_id, vm, what, detail);
    return call_end(&c, c.goes_on ? __real_ledger_log_event(l, job_id, vm, what, detail, e) : -1,
                    e);
}

int __wrap_ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed,
                       struct err *e)
{
    struct call c =
        call_begin("ledger_tidy", e, "before_ms=%lld max=%zu", (long long)before_ms, max);
    return call_end(&c, c.goes_on ? __real_ledger_tidy(l, before_ms, max, removed, e) : -1, e);
}

int __wrap_ledger_cell_get(struct ledger *l, const char *kind, const char *name,
                           struct ledger_cell *out, struct err *e)
{
    struct call c = call_begin("ledger_cell_get", e, "kind=%s name=%s", kind, name);
    return call_end(&c, c.goes_on ? __real_ledger_cell_get(l, kind, name, out, e) : -1, e);
}

int __wrap_ledger_cell_list(struct ledger *l, const char *kind, struct ledger_cell **out, size_t *n,
                            struct err *e)
{
    struct call c = call_begin("ledger_cell_list", e, "kind=%s", kind);
    return call_end(&c, c.goes_on ? __real_ledger_cell_list(l, kind, out, n, e) : -1, e);
}

int __wrap_ledger_cell_put(struct ledger *l, const char *kind, const char *name, const char *value,
                           int64_t expected, int64_t *version, struct err *e)
{
    struct call c = call_begin("ledger_cell_put", e, "kind=%s name=%s value=%s expected=%lld", kind,
                               name, or_none(value), (long long)expected);
    return call_end(
        &c, c.goes_on ? __real_ledger_cell_put(l, kind, name, value, expected, version, e) : -1, e);
}

int __wrap_ledger_apply_event(struct ledger *l, const struct job_event *ev, const char *scope,
                              struct ledger_effect *out, struct err *e)
{
    struct call c =
        call_begin("ledger_apply_event", e, "job=%lld scope=%s", (long long)ev->job.id, scope);
    return call_end(&c, c.goes_on ? __real_ledger_apply_event(l, ev, scope, out, e) : -1, e);
}

int __wrap_ledger_vm_heartbeat(struct ledger *l, const char *name, struct err *e)
{
    struct call c = call_begin("ledger_vm_heartbeat", e, "vm=%s", name);
    return call_end(&c, c.goes_on ? __real_ledger_vm_heartbeat(l, name, e) : -1, e);
}

/* "caps=9/3/2 rates=1:2,3:4": of the fleet, the class and the repository; of fleet and class */
#define CAPS_FORMAT "caps=%lld/%lld/%lld rates=%g:%lld,%g:%lld"
#define CAPS_ARGS(c)                                                                               \
    (long long)(c)->fleet, (long long)(c)->class_max, (long long)(c)->repository,                  \
        (c)->rate_per_second, (long long)(c)->rate_burst, (c)->class_rate_per_second,              \
        (long long)(c)->class_rate_burst

int __wrap_ledger_reserve(struct ledger *l, const struct ledger_reserve *r,
                          struct ledger_reservation *out, struct err *e)
{
    struct call c =
        call_begin("ledger_reserve", e,
                   "job=%lld class=%s scope=%s deployment=%s provider=%s host=%s " CAPS_FORMAT,
                   (long long)r->request->job.id, r->request->class_name, r->scope, r->deployment,
                   r->provider, r->host, CAPS_ARGS(&r->caps));
    return call_end(&c, c.goes_on ? __real_ledger_reserve(l, r, out, e) : -1, e);
}

int __wrap_ledger_capacity(struct ledger *l, const char *class_name, const struct ledger_caps *caps,
                           struct ledger_capacity *out, struct err *e)
{
    struct call c =
        call_begin("ledger_capacity", e, "class=%s " CAPS_FORMAT, class_name, CAPS_ARGS(caps));
    return call_end(&c, c.goes_on ? __real_ledger_capacity(l, class_name, caps, out, e) : -1, e);
}

int __wrap_ledger_release_seq(struct ledger *l, int64_t *out, struct err *e)
{
    struct call c = call_begin("ledger_release_seq", e, "%s", "");
    return call_end(&c, c.goes_on ? __real_ledger_release_seq(l, out, e) : -1, e);
}
