/*
 * Classes whose VMs end again and again without ever having had a job.
 *
 * A runner whose version GitHub no longer serves registers, listens, and is given no work; one whose
 * labels or group match no job does the same. No error shows it: VMs idle, end, and are launched
 * again. So such ends are counted in the ledger, per class and in a row; a VM of the class that has
 * a job sets the count back. From LEDGER_JOBLESS_MANY on, the log, `mayflyctl status` and
 * `mayflyctl why` say so.
 */
#include <string.h>

#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/ledger/kinds.h"
#include "reaper/reaper.h"

static bool had_job(const struct ledger_vm *vm)
{
    return vm->busy_ms > 0 || vm->job_id > 0;
}

/* The agent's reasons (deploy/image/README.md), so that the metric has no other labels. */
static const char *known_reason(const char *reason)
{
    static const char *const known[] = {
        "job-done",       "no-job",        "registration-gone", "session-conflict",
        "runner-too-old", "runner-failed", "runner-killed",     "runner-failed-in-job",
        "idle-timeout",   "max-duration",  "bad-payload",       "not-unique",
        "terminated"};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(reason, known[i]) == 0) {
            return known[i];
        }
    }
    return "other";
}

static void count_labelled(const char *name, const char *key, const char *value)
{
    struct buf label;
    buf_init(&label, 200);
    metrics_label(&label, key, value);
    metric_inc(metrics_counter(name, label.data));
    buf_fini(&label);
}

static const char *counter_name(const char *class, struct buf *out)
{
    buf_printf(out, "%s%s", LEDGER_COUNTER_JOBLESS, class);
    return out->data;
}

/* In the log at 4, 8, 16, … of them. */
static void report_count(const struct ledger_vm *vm, int64_t count)
{
    if (count >= LEDGER_JOBLESS_MANY && (count & (count - 1)) == 0) {
        log_warn("class_gets_no_jobs", LOG_STR("class", vm->class_name), LOG_INT("vms", count),
                 LOG_STR("vm", vm->name), LOG_STR("action", LEDGER_JOBLESS_ACTION));
    }
}

/* A provider that cannot say why leaves the time: a VM that failed ends before it has idled. When it is looked at
 * does not matter, where the provider says when it ended. */
static bool idled(const struct sweep *s, const struct sweep_listing *m, const struct ledger_vm *vm,
                  const char *reason, int64_t ended_ms)
{
    const int64_t until_ms = ended_ms > 0 && ended_ms < s->now_ms ? ended_ms : s->now_ms;
    bool too_old = strcmp(reason, "runner-too-old") == 0;
    if (too_old || vm->for_job == 0) { /* one without a job was launched to idle */
        return too_old;
    }
    if (strcmp(reason, "idle-timeout") == 0) {
        return true;
    }
    return strcmp(reason, "job-done") != 0 && vm->launched_ms > 0 &&
           until_ms - vm->launched_ms >= m->class->idle_timeout_ms;
}

/* It ended, or was left without a runner, before it had idled: its image may be the reason. */
bool sweep_image_failed(const struct sweep *s, const struct sweep_listing *m,
                        const struct ledger_vm *vm, const char *reason, int64_t ended_ms)
{
    static const char *const other_reasons[] = {"idle-timeout", "registration-gone",
                                                "job-done",     "session-conflict",
                                                "terminated",   "max-duration"};
    bool other = false;
    for (size_t i = 0; i < COUNT_OF(other_reasons); i++) {
        other |= strcmp(reason, other_reasons[i]) == 0;
    }
    return vm->image_part != IMAGE_NO_PART && !had_job(vm) && !other &&
           (strcmp(reason, "runner-too-old") == 0 || !idled(s, m, vm, reason, ended_ms));
}

void sweep_vm_ended(struct sweep *s, const struct sweep_listing *m, const struct ledger_vm *vm,
                    const char *reason, int64_t ended_ms)
{
    struct err e = {0};
    struct buf name;
    int64_t count = 0;
    count_labelled("mayfly_reaper_vm_ends_total", "reason", known_reason(reason));
    if (had_job(vm) || !idled(s, m, vm, reason, ended_ms)) {
        return;
    }
    count_labelled("mayfly_reaper_vms_without_job_total", "class", vm->class_name);
    buf_init(&name, LEDGER_CELL_NAME);
    if (ledger_counter_add(s->reaper->ledger, counter_name(vm->class_name, &name), 1, &count, &e) ==
        0) {
        report_count(vm, count);
    } else {
        log_debug("notice_not_written", LOG_ERR(&e), LOG_STR("action", "the next such VM counts"));
    }
    buf_fini(&name);
}

static bool has_job(const struct sweep *s, const char *class)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        if (strcmp(s->vms[i].class_name, class) == 0 && had_job(&s->vms[i])) {
            return true;
        }
    }
    return false;
}

void sweep_report_jobless(struct sweep *s)
{
    for (size_t i = 0; i < s->listing_count; i++) {
        const struct sweep_listing *m = &s->listings[i];
        const char *class_name = config_place_class_name(m->class);
        struct err e = {0};
        struct buf name;
        int64_t count = 0;
        buf_init(&name, LEDGER_CELL_NAME);
        int rc = ledger_counter_get(s->reaper->ledger, counter_name(class_name, &name), &count, &e);
        if (rc == 0 && count > 0 && has_job(s, class_name)) {
            rc = ledger_counter_set(s->reaper->ledger, name.data, 0, &e);
            count = 0;
        }
        if (rc != 0) {
            log_debug("notice_not_written", LOG_ERR(&e),
                      LOG_STR("action", "the next scan of the runner lists writes it"));
        } else if (count >= LEDGER_JOBLESS_MANY) {
            struct buf subject;
            buf_init(&subject, LEDGER_CELL_NAME);
            buf_printf(&subject, "no jobs, %s", class_name);
            sweep_notice(s, m->provider, subject.data,
                         "class %s: the last %lld VMs ended without ever having had a job: %s",
                         class_name, (long long)count, LEDGER_JOBLESS_ACTION);
            buf_fini(&subject);
        }
        buf_fini(&name);
    }
}
