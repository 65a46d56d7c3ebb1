#include "common/ledger/totals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/ledger/kinds.h"
#include "common/ledger/list.h"
#include "common/ledger/total_cells.h"

#define BATCH 500       /* VMs of one batch, but for those of the same millisecond */
#define BATCH_MAX 65536 /* that many in one millisecond; the rest of it is not counted */
#define TRIES_MAX 8     /* of a compare-and-set, against conflicts */
#define MINUTE_MS 60000
#define DAY_MS (24 * 3600 * 1000LL)

/* --- what a VM adds --- */
static int64_t not_below_zero(int64_t n)
{
    return n > 0 ? n : 0;
}

/* A VM whose end was not seen was ended by its provider, at its deadline. */
static int64_t end_of(const struct ledger_vm *vm)
{
    return vm->deadline_ms > 0 && vm->deadline_ms < vm->gone_ms ? vm->deadline_ms : vm->gone_ms;
}

static void add_job(struct ledger_total *total, const struct ledger_vm *vm,
                    const struct ledger_job *job)
{
    int64_t from_ms = job != NULL && job->running_ms > 0 ? job->running_ms : vm->busy_ms;
    int64_t to_ms = job != NULL && job->ended_ms > 0 ? job->ended_ms : vm->ending_ms;
    int64_t minutes = from_ms > 0 && to_ms > from_ms ? (to_ms - from_ms - 1) / MINUTE_MS + 1 : 1;
    total->jobs++;
    total->job_minutes += minutes;
    if (job != NULL && job->waiting_ms > 0) {
        total->queue_ms += not_below_zero(job->running_ms - job->waiting_ms);
    }
}

bool ledger_total_add_vm(struct ledger_total *total, const struct ledger_vm *vm,
                         const struct ledger_job *job, const struct ledger_vm_size *size)
{
    int64_t from_ms = vm->launched_ms > 0 ? vm->launched_ms : vm->busy_ms;
    if (from_ms == 0) {
        return false;
    }
    int64_t lived_ms = not_below_zero(end_of(vm) - from_ms);
    total->vms++;
    total->vm_ms += lived_ms;
    total->vcpu_ms += lived_ms * size->milli_vcpus / 1000;
    total->mib_s += lived_ms * size->mib / 1000;
    total->unsized_ms += size->milli_vcpus == 0 && size->mib == 0 ? lived_ms : 0;
    if (vm->job_id != 0) {
        add_job(total, vm, job);
    }
    return true;
}

void ledger_total_add(struct ledger_total *total, const struct ledger_total *more)
{
    total->vms += more->vms;
    total->jobs += more->jobs;
    total->vm_ms += more->vm_ms;
    total->vcpu_ms += more->vcpu_ms;
    total->mib_s += more->mib_s;
    total->unsized_ms += more->unsized_ms;
    total->queue_ms += more->queue_ms;
    total->job_minutes += more->job_minutes;
}

/* --- a batch --- */
/* Batch `number` has the VMs that became gone from from_ms on and before to_ms. from_ms == to_ms: it was added. */
struct batch {
    int64_t version; /* of its cell */
    int64_t number;
    int64_t from_ms;
    int64_t to_ms;
};

static int read_batch(struct ledger *l, struct batch *out, struct err *e)
{
    struct ledger_cell cell;
    int64_t numbers[3];
    if (ledger_cell_get(l, LEDGER_KIND_TOTALS_BATCH, LEDGER_TOTALS_FLEET, &cell, e) != 0) {
        return -1;
    }
    *out = (struct batch){.version = cell.version};
    if (ledger_read_numbers(cell.value, numbers, COUNT_OF(numbers))) {
        out->number = numbers[0];
        out->from_ms = numbers[1];
        out->to_ms = numbers[2];
    }
    return 0;
}

static int write_batch(struct ledger *l, struct batch *b, struct err *e)
{
    char value[LEDGER_CELL_VALUE];
    (void)snprintf(value, sizeof value, "%" PRId64 " %" PRId64 " %" PRId64, b->number, b->from_ms,
                   b->to_ms);
    return ledger_cell_put(l, LEDGER_KIND_TOTALS_BATCH, LEDGER_TOTALS_FLEET, value, b->version,
                           &b->version, e);
}

/* Where a batch ends of which `vms` are the first BATCH: before the last one's millisecond, since others of it may
 * follow; if that is also the first one's, behind it. */
static int64_t end_of_batch(const struct ledger_vm *vms, size_t n)
{
    int64_t last_ms = vms[n - 1].gone_ms;
    return last_ms > vms[0].gone_ms ? last_ms : last_ms + 1;
}

/* Records the next batch. *any: there is one. */
static int begin_batch(struct ledger *l, struct batch *b, int64_t before_ms, bool *any,
                       struct err *e)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    *any = false;
    if (b->to_ms > before_ms + DAY_MS) { /* the clock was wrong, and was set back */
        b->from_ms = b->to_ms = before_ms;
        return write_batch(l, b, e);
    }
    if (ledger_vms_gone(l, b->to_ms, before_ms, BATCH, &vms, &n, e) != 0) {
        return -1;
    }
    *any = n > 0;
    if (n > 0) {
        b->number++;
        b->from_ms = b->to_ms;
        b->to_ms = n < BATCH ? before_ms : end_of_batch(vms, n);
    }
    free(vms);
    return n > 0 ? write_batch(l, b, e) : 0;
}

/* --- the totals of a batch --- */
struct part {
    char day[LEDGER_DAY_SIZE];
    struct ledger_total total;
};

static struct ledger_total *part_of(struct ledger_list *parts, const char *day,
                                    const char *class_name, const char *repository)
{
    struct part *all = parts->items;
    for (size_t i = parts->count; i-- > 0;) {
        struct part *p = &all[i];
        if (strcmp(p->total.repository, repository) == 0 &&
            strcmp(p->total.class_name, class_name) == 0 && strcmp(p->day, day) == 0) {
            return &p->total;
        }
    }
    struct part *p = ledger_list_add(parts);
    (void)snprintf(p->day, sizeof p->day, "%s", day);
    (void)snprintf(p->total.class_name, sizeof p->total.class_name, "%s", class_name);
    (void)snprintf(p->total.repository, sizeof p->total.repository, "%s", repository);
    return &p->total;
}

struct measure {
    struct ledger *l;
    ledger_vm_size_fn *size;
    void *arg;
    char oldest[LEDGER_DAY_SIZE]; /* the first day that is kept */
    struct ledger_list parts;     /* of struct part */
    int64_t counted;
};

static int add_vm(struct measure *m, const struct ledger_vm *vm, struct err *e)
{
    char day[LEDGER_DAY_SIZE];
    struct ledger_vm_size size = {0};
    struct ledger_job job;
    struct ledger_total one = {.vms = 0};
    bool has_job = vm->job_id != 0;
    ledger_total_day_of(vm->gone_ms, day);
    if (strcmp(day, m->oldest) < 0) {
        return 0;
    }
    if (has_job && ledger_job_get(m->l, vm->job_id, &job, e) != 0) {
        if (e->class != ERR_NOT_FOUND) {
            return -1;
        }
        has_job = false;
    }
    if (m->size(m->arg, vm, &size, e) != 0) {
        return -1;
    }
    if (ledger_total_add_vm(&one, vm, has_job ? &job : NULL, &size)) {
        ledger_total_add(part_of(&m->parts, day, vm->class_name, vm->repository), &one);
        m->counted++;
    }
    return 0;
}

static int measure_batch(struct measure *m, const struct batch *b, struct err *e)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    if (ledger_vms_gone(m->l, b->from_ms, b->to_ms, BATCH_MAX, &vms, &n, e) != 0) {
        return -1;
    }
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = add_vm(m, &vms[i], e);
    }
    free(vms);
    return rc;
}

/* --- adding them --- */
/* Takes a place for a new total of the day. A crash before it is used loses the place. */
static int take_room(struct ledger *l, const char *day, bool *room, struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        int64_t rows = 0;
        char value[24];
        if (ledger_cell_get(l, LEDGER_KIND_TOTALS, day, &cell, e) != 0) {
            return -1;
        }
        (void)ledger_read_numbers(cell.value, &rows, 1);
        *room = rows < LEDGER_TOTALS_PER_DAY;
        if (!*room) {
            return 0;
        }
        (void)snprintf(value, sizeof value, "%" PRId64, rows + 1);
        if (ledger_cell_put(l, LEDGER_KIND_TOTALS, day, value, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

/* Adds to one total, once per batch. *full: the day has no room for a new one. full NULL: it needs none. */
static int add_part(struct ledger *l, const struct part *p, int64_t batch, bool *full,
                    struct err *e)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct ledger_cell cell;
        struct ledger_total sum;
        int64_t last_batch = 0;
        bool room = true;
        if (ledger_total_cell_get(l, p->day, &p->total, &cell, e) != 0) {
            return -1;
        }
        ledger_total_decode(&cell, &sum, &last_batch);
        if (cell.version != 0 && last_batch >= batch) {
            return 0;
        }
        if (cell.version == 0 && full != NULL && take_room(l, p->day, &room, e) != 0) {
            return -1;
        }
        if (!room) {
            *full = true;
            return 0;
        }
        ledger_total_add(&sum, &p->total);
        ledger_total_encode(&sum, batch, cell.value);
        if (ledger_cell_put(l, cell.kind, cell.name, cell.value, cell.version, NULL, e) == 0) {
            return 0;
        }
        if (e->class != ERR_CONFLICT) {
            return -1;
        }
    }
    return -1;
}

/* What has no room goes to the totals of LEDGER_TOTAL_OTHER, and these come last: once they have the batch, all others have,
 * so that a repetition finds the same ones without room. */
static int add_parts(struct ledger *l, const struct ledger_list *parts, int64_t batch,
                     int64_t *other_vms, struct err *e)
{
    const struct part *all = parts->items;
    struct ledger_list other = {.item_size = sizeof(struct part)};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < parts->count; i++) {
        bool full = false;
        rc = add_part(l, &all[i], batch, &full, e);
        if (rc == 0 && full) {
            ledger_total_add(
                part_of(&other, all[i].day, all[i].total.class_name, LEDGER_TOTAL_OTHER),
                &all[i].total);
            *other_vms += all[i].total.vms;
        }
    }
    const struct part *rest = other.items;
    for (size_t i = 0; rc == 0 && i < other.count; i++) {
        rc = add_part(l, &rest[i], batch, NULL, e);
    }
    free(other.items);
    return rc;
}

/* Another process that has added it meanwhile may have begun the next one. */
static int end_batch(struct ledger *l, struct batch *b, struct err *e)
{
    b->from_ms = b->to_ms;
    return write_batch(l, b, e) == 0 || e->class == ERR_CONFLICT ? 0 : -1;
}

int ledger_totals_count(struct ledger *l, int64_t now_ms, ledger_vm_size_fn *size, void *arg,
                        struct ledger_totals_step *out, struct err *e)
{
    struct batch b;
    struct measure m = {
        .l = l, .size = size, .arg = arg, .parts = {.item_size = sizeof(struct part)}};
    const int64_t before_ms = now_ms - LEDGER_TOTALS_LAG_MS;
    int64_t other = 0;
    bool any = true;
    *out = (struct ledger_totals_step){.counted = 0};
    ledger_total_day_of(now_ms - LEDGER_TOTAL_DAYS * DAY_MS, m.oldest);
    if (read_batch(l, &b, e) != 0) {
        return -1;
    }
    if (b.from_ms == b.to_ms && begin_batch(l, &b, before_ms, &any, e) != 0) {
        return e->class == ERR_CONFLICT ? 0 : -1; /* another process is at it */
    }
    int rc = any ? measure_batch(&m, &b, e) : 0;
    rc = rc == 0 ? add_parts(l, &m.parts, b.number, &other, e) : rc;
    rc = rc == 0 && any ? end_batch(l, &b, e) : rc;
    free(m.parts.items);
    if (rc == 0) {
        *out = (struct ledger_totals_step){
            .counted = m.counted, .other = other, .more = any && b.to_ms < before_ms};
    }
    return rc;
}

int ledger_totals_until(struct ledger *l, int64_t *out_ms, struct err *e)
{
    struct batch b;
    if (read_batch(l, &b, e) != 0) {
        return -1;
    }
    *out_ms = b.from_ms;
    return 0;
}
