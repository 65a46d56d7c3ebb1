/*
 * Before the ledger's front: see calls.h.
 */
#include "common/ledger/ledger.h"
#include "tests/lib/calls.h"

int __real_ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                             struct err *e);
int __wrap_ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                             struct err *e);
int __real_ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e);
int __wrap_ledger_rate_take(struct ledger *l, const struct ledger_bucket *b, int64_t cost,
                            int64_t *wait_ms, struct err *e);
int __real_ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e);
int __wrap_ledger_rate_pause(struct ledger *l, const char *name, int64_t until_ms, struct err *e);

static const char *or_none(const char *text)
{
    return text != NULL ? text : "-";
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
