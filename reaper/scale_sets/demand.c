/*
 * How many VMs a set wants, and the launch requests for them.
 *
 * Jobs that GitHub has assigned and that do not run yet want a VM each. There are VMs for them: those that the ledger counts
 * as supply, less those that a message has named, whose job has begun although the ledger does not know it yet. What is
 * missing is requested on the class's lane, a request for each VM, without a job, and with the supply that is wanted in
 * all (`spare`): a worker launches for it only while the scope has less. So a request that is put twice, or that comes
 * late, launches nothing too many while the demand lasts.
 *
 * A request is outstanding until its VM has a row. One that vanished (it was not needed, or was dead-lettered) is noticed
 * by its lane: there cannot be more of them than messages in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/publish.h"
#include "common/program/presence.h"
#include "reaper/scale_sets/internal.h"

#define ROWS_PER_PAGE 500
#define REQUESTS_AT_ONCE 500    /* the rest follows with the next decision */
#define ESTIMATE_GRACE_MS 10000 /* where the queue only estimates how many messages there are */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t set_plan_requests(struct set_plan *p, const struct set_view *v)
{
    p->outstanding -= smaller(p->outstanding, v->appeared);
    if (v->lane >= 0 && v->now_ms - p->put_ms >= v->grace_ms) {
        p->outstanding = smaller(p->outstanding, v->lane);
    }
    int64_t missing = smaller(v->waiting - v->free - p->outstanding, REQUESTS_AT_ONCE);
    if (missing <= 0) {
        return 0;
    }
    p->outstanding += missing;
    p->put_ms = v->now_ms;
    return missing;
}

/* --- what there is --- */

struct rows {
    int64_t supply;
    int64_t free; /* of it */
    int64_t appeared;
};

static bool has_begun(const struct scale_set *s, const char *vm)
{
    for (size_t i = 0; i < SET_BEGUN_MAX; i++) {
        if (strcmp(s->begun[i], vm) == 0) {
            return true;
        }
    }
    return false;
}

static void count_row(const struct scale_set *s, const struct ledger_vm *vm, struct rows *rows)
{
    bool is_supply = vm->state != VM_BUSY && vm->state != VM_ENDING;
    if (strcmp(vm->scope, s->scope_name) != 0) {
        return;
    }
    rows->appeared += vm->reserved_ms > s->rows_until_ms ? 1 : 0;
    rows->supply += is_supply ? 1 : 0;
    rows->free += is_supply && !has_begun(s, vm->name) ? 1 : 0;
}

static int count_rows(struct scale_set *s, struct rows *rows, struct err *e)
{
    unsigned states = 1u << VM_RESERVED | 1u << VM_REGISTERED | 1u << VM_LAUNCHED | 1u << VM_BUSY;
    char after[VM_NAME_SIZE] = "";
    size_t n = ROWS_PER_PAGE;
    *rows = (struct rows){.supply = 0};
    while (n == ROWS_PER_PAGE) {
        struct ledger_vm *page = NULL;
        if (ledger_vm_list(s->r->ledger, states, after, ROWS_PER_PAGE, &page, &n, e) != 0) {
            return -1;
        }
        for (size_t i = 0; i < n; i++) {
            count_row(s, &page[i], rows);
        }
        if (n > 0) {
            memcpy(after, page[n - 1].name, sizeof after);
        }
        free(page);
    }
    return 0;
}

static int64_t count_messages(const struct scale_set *s)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    char lane[LAUNCH_LANE_SIZE];
    int64_t count = 0;
    if (queue_depths(s->r->queue, launch_lane(s->class_name, lane), &depths, &n, &e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        count += depths[i].ready + depths[i].delayed + depths[i].leased;
    }
    free(depths);
    return count;
}

/* --- what is wanted --- */

static int64_t most_vms(const struct config *c, const struct scale_set *s)
{
    const struct config_class *class = config_class_by_name(c, slice_of(s->class_name));
    return class != NULL ? smaller(class->max_vms, c->limits.max_vms) : 0;
}

/* A class that an operator has paused takes no further jobs. */
int set_capacity(struct scale_set *s, const struct config *c, int64_t *out, struct err *e)
{
    struct ledger_pause pause;
    if (ledger_pause_get(s->r->ledger, s->class_name, &pause, e) != 0) {
        return -1;
    }
    int64_t most = most_vms(c, s);
    *out = pause.since_ms > 0 ? smaller(s->statistics.assigned, most) : most;
    return 0;
}

static int put_requests(struct scale_set *s, int64_t count, int64_t spare, struct err *e)
{
    struct launch_request request = {.reason = "scale set",
                                     .requested_ms = clock_wall_ms(),
                                     .job.installation_id = s->scope.installation_id,
                                     .spare = spare};
    struct job_message message;
    struct queue_item items[QUEUE_BATCH_MAX];
    int rc = 0;
    memcpy(request.scope, s->scope_name, sizeof request.scope);
    memcpy(request.class_name, s->class_name, sizeof request.class_name);
    job_message_of_launch(&request, presence_format(s->r->presence), &message);
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        items[i] = job_message_item(&message);
    }
    for (int64_t left = count; left > 0 && rc == 0; left -= QUEUE_BATCH_MAX) {
        rc = queue_put(s->r->queue, items, (size_t)smaller(left, QUEUE_BATCH_MAX), e);
    }
    job_message_fini(&message);
    return rc;
}

int set_meet_demand(struct scale_set *s, const struct config *c, struct err *e)
{
    struct rows rows;
    int64_t now_ms = ledger_now_ms(s->r->ledger);
    if (count_rows(s, &rows, e) != 0) {
        return -1;
    }
    int64_t waiting = s->statistics.assigned - s->statistics.running;
    const struct set_view view = {.waiting = smaller(waiting, most_vms(c, s)),
                                  .free = rows.free,
                                  .appeared = s->decided_ms > 0 ? rows.appeared : 0,
                                  .lane = count_messages(s),
                                  .now_ms = clock_mono_ms(),
                                  .grace_ms =
                                      queue_can(s->r->queue, QUEUE_DEPTHS) ? 0 : ESTIMATE_GRACE_MS};
    struct set_plan plan = s->plan;
    int64_t count = set_plan_requests(&plan, &view);
    if (count > 0 && put_requests(s, count, view.waiting + rows.supply - rows.free, e) != 0) {
        return -1; /* some may have been put; those are not counted, and launch nothing too many */
    }
    s->plan = plan;
    s->rows_until_ms = now_ms;
    s->decided_ms = view.now_ms;
    metric_add(s->metrics.requests, count);
    if (count > 0) {
        log_info("scale_set_requested", LOG_STR("set", s->name), LOG_STR("scope", s->scope.name),
                 LOG_STR("class", s->class_name), LOG_INT("count", count),
                 LOG_INT("assigned", s->statistics.assigned),
                 LOG_INT("running", s->statistics.running), LOG_INT("free", rows.free));
    }
    return 0;
}
