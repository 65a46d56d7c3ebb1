/*
 * The daily totals of what VMs used (common/ledger/totals.h): adds the VMs that have ended, with the size that their
 * provider says they had, and deletes totals that are too old.
 */
#include "reaper/totals/totals.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "reaper/reaper.h"

#define INTERVAL_MS (60 * 1000LL)
#define BATCHES_PER_SWEEP 10
#define DELETED_PER_SWEEP 1000
#define KNOWN_FOR_MS (60 * 60 * 1000LL)   /* a version's size does not change; a setting may */
#define UNKNOWN_FOR_MS (10 * 60 * 1000LL) /* the image or the permission may come */
#define REPORT_INTERVAL_MS (60 * 60 * 1000LL)

int64_t sweep_totals_interval_ms(const struct sweep *s)
{
    (void)s;
    return INTERVAL_MS;
}

/* --- sizes --- */
static struct reaper_size *known_size(struct reaper_sizes *sizes, const struct ledger_vm *vm)
{
    for (size_t i = 0; i < COUNT_OF(sizes->list); i++) {
        struct reaper_size *s = &sizes->list[i];
        if (strcmp(s->class_name, vm->class_name) == 0 && strcmp(s->target, vm->target) == 0 &&
            strcmp(s->version, vm->image_version) == 0) {
            return s;
        }
    }
    return NULL;
}

static struct reaper_size *new_size(struct reaper_sizes *sizes, const struct ledger_vm *vm)
{
    struct reaper_size *s = &sizes->list[sizes->next++ % COUNT_OF(sizes->list)];
    *s = (struct reaper_size){.until_ms = 0};
    (void)snprintf(s->class_name, sizeof s->class_name, "%s", vm->class_name);
    (void)snprintf(s->target, sizeof s->target, "%s", vm->target);
    (void)snprintf(s->version, sizeof s->version, "%s", vm->image_version);
    return s;
}

/* What may be known in a moment is waited for; else the VM counts without a size. */
static int ask_size(const struct sweep *s, const struct ledger_vm *vm, struct ledger_vm_size *out,
                    struct err *e)
{
    char place[PLACE_NAME_SIZE];
    fleet_place_of(s->reaper->fleet, vm, place);
    const struct config_class *class = config_place_by_name(s->config, place);
    struct vm_size size = {.milli_vcpus = 0};
    if (class != NULL && vm_size_of(class, vm->image_version, &size, e) != 0 &&
        (e->class == ERR_RETRY || e->class == ERR_THROTTLED || e->class == ERR_CAPACITY)) {
        return -1;
    }
    *out = (struct ledger_vm_size){.milli_vcpus = size.milli_vcpus, .mib = size.memory_mib};
    return 0;
}

static int size_of_vm(void *arg, const struct ledger_vm *vm, struct ledger_vm_size *out,
                      struct err *e)
{
    struct sweep *s = arg;
    struct reaper_sizes *sizes = &s->reaper->sizes;
    struct reaper_size *known = known_size(sizes, vm);
    int64_t now_ms = clock_mono_ms();
    if (known == NULL || now_ms >= known->until_ms) {
        struct ledger_vm_size size;
        if (ask_size(s, vm, &size, e) != 0) {
            return -1;
        }
        known = known != NULL ? known : new_size(sizes, vm);
        known->size = size;
        known->until_ms = now_ms + (size.mib > 0 ? KNOWN_FOR_MS : UNKNOWN_FOR_MS);
    }
    *out = known->size;
    return 0;
}

/* --- the task --- */
static void report_full(struct sweep *s, int64_t vms)
{
    struct reaper_sizes *sizes = &s->reaper->sizes;
    int64_t now_ms = clock_mono_ms();
    metric_add(metrics_counter("mayfly_reaper_cost_vms_other_total", ""), vms);
    if (vms == 0 ||
        (sizes->full_reported_ms != 0 && now_ms < sizes->full_reported_ms + REPORT_INTERVAL_MS)) {
        return;
    }
    sizes->full_reported_ms = now_ms;
    log_warn("cost_totals_full", LOG_INT("limit", LEDGER_TOTALS_PER_DAY), LOG_INT("vms", vms),
             LOG_STR("action", "none: until the day ends, repositories without a total count as "
                               "\"other\" in mayflyctl cost"));
}

int sweep_totals(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct ledger *l = s->reaper->ledger;
    struct ledger_totals_step step = {.more = true};
    int64_t removed = 0;
    (void)repairs; /* nothing was wrong */
    for (int i = 0; i < BATCHES_PER_SWEEP && step.more; i++) {
        if (!sweep_still_holds(s, NULL)) {
            return 0;
        }
        if (ledger_totals_count(l, ledger_now_ms(l), size_of_vm, s, &step, e) != 0) {
            return -1;
        }
        metric_add(metrics_counter("mayfly_reaper_cost_vms_total", ""), step.counted);
        report_full(s, step.other);
    }
    s->next_run_ms = step.more ? 0 : s->next_run_ms;
    return ledger_totals_tidy(l, ledger_now_ms(l), DELETED_PER_SWEEP, &removed, e);
}
