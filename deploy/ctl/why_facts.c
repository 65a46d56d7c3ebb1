/* Gathers what is known about one job, once, for the table of reasons. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/fleet/caps.h"
#include "common/fleet/places.h"
#include "common/job/lane.h"
#include "common/ledger/hosts.h"
#include "common/ledger/kinds.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/why.h"

#define FOUND_MAX 16
#define VM_PAGE 500
#define LIVE_INTERVALS 4 /* heartbeats that a program may miss; the ledger lists it for longer */

/* --- the queue --- */

/* The message that decides: one that can still launch, else a dead letter, else the job's event. */
static int rank_of(const struct queue_entry *q)
{
    bool launches = launch_lane_class(q->message.lane) != NULL;
    return launches && q->place != QUEUE_DEAD ? 3 : launches ? 2 : q->place != QUEUE_DEAD ? 1 : 0;
}

/* A job without a row is known by its message. */
static void read_message(struct why_facts *f, const struct queue_message *m)
{
    struct launch_request request;
    struct err e;
    if (!f->in_ledger && launch_lane_class(m->lane) != NULL &&
        launch_request_decode((struct slice){m->body, m->body_len}, &request, &e) == 0 &&
        request.job.id == f->id) {
        f->job.facts = request.job;
        f->job.waiting_ms = request.requested_ms;
    }
}

static int gather_queue(struct ctl *c, struct why_facts *f, struct err *e)
{
    struct queue_entry *entries = NULL;
    size_t n = 0;
    size_t best = 0;
    char key[32];
    f->unsearched = !queue_can(c->queue, QUEUE_FIND);
    if (f->unsearched) {
        return 0;
    }
    (void)snprintf(key, sizeof key, "%lld", (long long)f->id);
    if (queue_find(c->queue, key, FOUND_MAX, &entries, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 1; i < n; i++) {
        best = rank_of(&entries[i]) > rank_of(&entries[best]) ? i : best;
    }
    f->in_queue = n > 0 && rank_of(&entries[best]) > (f->in_ledger ? 1 : 0);
    if (f->in_queue) {
        read_message(f, &entries[best].message);
        f->entry = entries[best];
        f->entry.message.body = NULL;
    }
    queue_entries_free(entries, n);
    return 0;
}

static int gather_lane(struct ctl *c, struct why_facts *f, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    char lane[LAUNCH_LANE_SIZE];
    if (f->class_name[0] == '\0' ||
        queue_depths(c->queue, launch_lane(f->class_name, lane), &depths, &n, e) != 0) {
        return f->class_name[0] == '\0' ? 0 : -1;
    }
    f->lane = n > 0 ? depths[0] : f->lane;
    free(depths);
    return 0;
}

/* --- who works --- */

static bool is_live(const struct ledger_program *p, int64_t now_ms)
{
    int64_t interval = p->interval_ms > 0 ? p->interval_ms : LEDGER_HEARTBEAT_VALID_MS;
    return !p->waiting && now_ms - p->at_ms <= LIVE_INTERVALS * interval;
}

static int add_worker(struct ctl *c, struct why_facts *f, const struct ledger_program *p,
                      struct err *e)
{
    struct ledger_host host = {.drained_ms = 0};
    bool bound = f->class != NULL && !config_calls_service(f->class);
    f->workers.of_any_class++;
    if (f->class_name[0] != '\0' && !ledger_program_has_class(p, f->class_name)) {
        return 0;
    }
    f->workers.count++;
    if (p->is_host && bound && ledger_host_get(c->ledger, p->host, &host, e) != 0) {
        return -1;
    }
    f->workers.drained += host.drained_ms != 0;
    return 0;
}

static int gather_programs(struct ctl *c, struct why_facts *f, struct err *e)
{
    struct ledger_program *all = NULL;
    size_t n = 0;
    int rc = ledger_program_list(c->ledger, &all, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (!is_live(&all[i], f->now_ms)) {
            continue;
        }
        f->workers.reapers += strcmp(all[i].program, "mayfly-reaper") == 0;
        if (strcmp(all[i].program, "mayfly-worker") == 0) {
            rc = add_worker(c, f, &all[i], e);
        }
    }
    free(all);
    return rc;
}

/* --- capacity --- */

static void add_target(const struct config *c, const struct config_target *t,
                       const struct ledger_target_use *u, struct why_places *out)
{
    int64_t most = t->max_vms > 0 ? t->max_vms : c->limits.max_vms;
    if (u->used >= most) {
        out->full++;
        out->used += u->used;
        out->most += most;
    } else if (u->rate_wait_ms > 0) {
        bool first = out->without_token++ == 0 || u->rate_wait_ms < out->token_in_ms;
        out->token_in_ms = first ? u->rate_wait_ms : out->token_in_ms;
    }
}

/* What the choice of a target goes by (common/fleet/places.h). */
static int gather_targets(struct ctl *c, struct why_facts *f, struct err *e)
{
    const struct config_class *const *places = NULL;
    const struct config_target *targets[PLACES_MAX];
    struct ledger_target_use uses[PLACES_MAX];
    struct ctl_circuit *circuits = NULL;
    size_t circuit_count = 0;
    size_t n = f->class->target_count > 0 ? config_launch_places(c->config, f->class, &places) : 0;
    size_t asked = 0;
    if (n == 0) {
        return 0;
    }
    if (ctl_circuits(c, &circuits, &circuit_count, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n && i < PLACES_MAX; i++) {
        const struct config_class *place = places[i];
        const struct ledger_caps caps = fleet_caps(c->config, place);
        bool stopped = ctl_circuit_of_place(circuits, circuit_count, place) != NULL;
        f->places.count += place->target->weight > 0;
        f->places.stopped += place->target->weight > 0 && stopped;
        if (place->target->weight > 0 && !stopped) {
            targets[asked] = place->target;
            uses[asked++] = (struct ledger_target_use){.name = place->target->name,
                                                       .rate_per_second = caps.rate_per_second,
                                                       .rate_burst = caps.rate_burst};
        }
    }
    free(circuits);
    if (asked > 0 && ledger_targets_read(c->ledger, uses, asked, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < asked; i++) {
        add_target(c->config, targets[i], &uses[i], &f->places);
    }
    return 0;
}

static int gather_capacity(struct ctl *c, struct why_facts *f, struct err *e)
{
    char name[LEDGER_CELL_NAME];
    if (f->class == NULL) {
        return 0;
    }
    f->caps = fleet_shared_caps(c->config, f->class);
    (void)snprintf(name, sizeof name, LEDGER_COUNTER_JOBLESS "%s", f->class->name);
    return ledger_pause_get(c->ledger, f->class->name, &f->pause, e) != 0 ||
                   ledger_capacity(c->ledger, f->class->name, &f->caps, &f->used, e) != 0 ||
                   ledger_counter_get(c->ledger, name, &f->jobless, e) != 0 ||
                   gather_targets(c, f, e) != 0 ||
                   ctl_circuit_of_job(c, &f->job.facts, f->class, &f->circuit, e) != 0
               ? -1
               : 0;
}

static int gather_balance(struct ctl *c, struct why_facts *f, struct err *e)
{
    struct ledger_balance *b = NULL;
    size_t n = 0;
    if (ledger_balances(c->ledger, &b, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(b[i].scope, f->job.scope) == 0 && strcmp(b[i].class_name, f->class_name) == 0) {
            f->demand = b[i].demand;
            f->supply = b[i].supply;
        }
    }
    free(b);
    return 0;
}

/* --- VMs --- */

/* GitHub gives a job to an idle runner within seconds: the reaper's limit (reaper/stuck_jobs.c). */
static int64_t idles_too_long_ms(const struct why_facts *f)
{
    int64_t relaunch_ms = fleet_relaunch_after_ms(f->config, f->class);
    return relaunch_ms < f->class->idle_timeout_ms / 2 ? relaunch_ms
                                                       : f->class->idle_timeout_ms / 2;
}

/* From a slot to the job, of those at work. */
struct usual {
    int64_t ms[WHY_VMS_MAX];
    size_t count;
};

static void add_launched(struct why_facts *f, const struct ledger_vm *vm)
{
    int64_t idle_ms = f->now_ms - vm->launched_ms;
    bool idles = f->class != NULL && idle_ms > idles_too_long_ms(f);
    f->vms.newest_ms =
        f->vms.launched == 0 || idle_ms < f->vms.newest_ms ? idle_ms : f->vms.newest_ms;
    f->vms.launched++;
    f->vms.idle += idles;
    f->vms.idle_ms = idle_ms > f->vms.idle_ms ? idle_ms : f->vms.idle_ms;
}

static void add_vm(struct why_facts *f, struct usual *usual, const struct ledger_vm *vm)
{
    f->vms.of_repository += strcasecmp(vm->repository, f->job.facts.repository) == 0;
    if (strcmp(vm->class_name, f->class_name) != 0) {
        return;
    }
    if (vm->state == VM_BUSY && vm->for_job == vm->job_id && vm->busy_ms > vm->reserved_ms) {
        usual->ms[usual->count++] = vm->busy_ms - vm->reserved_ms;
    }
    if (strcmp(vm->scope, f->job.scope) != 0) {
        return;
    }
    f->vms.busy_ms = vm->busy_ms > f->vms.busy_ms ? vm->busy_ms : f->vms.busy_ms;
    if (vm->state == VM_LAUNCHED) {
        add_launched(f, vm);
    } else if (vm->state != VM_BUSY && vm->state != VM_ENDING) {
        f->vms.starting++;
    }
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static int gather_vms(struct ctl *c, struct why_facts *f, struct err *e)
{
    unsigned holds_slot = (1U << VM_GONE) - 1;
    struct usual *usual = calloc(1, sizeof *usual);
    char after[VM_NAME_SIZE] = "";
    size_t n = VM_PAGE;
    int rc = 0;
    ASSERT(usual != NULL);
    for (size_t seen = 0; rc == 0 && n == VM_PAGE && seen < WHY_VMS_MAX; seen += n) {
        struct ledger_vm *page = NULL;
        rc = ledger_vm_list(c->ledger, holds_slot, after, VM_PAGE, &page, &n, e);
        for (size_t i = 0; rc == 0 && i < n; i++) {
            add_vm(f, usual, &page[i]);
            memcpy(after, page[i].name, sizeof after);
        }
        free(page);
    }
    if (usual->count > 0) {
        qsort(usual->ms, usual->count, sizeof usual->ms[0], compare_times);
        f->vms.usual_ms = usual->ms[usual->count / 2];
    }
    free(usual);
    return rc;
}

/* Its timeline names the VMs that were launched for it. */
static int gather_own_vm(struct ctl *c, struct why_facts *f, struct err *e)
{
    const char *name = "";
    struct ledger_vm vm;
    for (size_t i = f->timeline_count; i-- > 0 && name[0] == '\0';) {
        const struct ledger_entry *t = &f->timeline[i];
        name = t->job_id == f->id && strcmp(t->what, "reserved") == 0 ? t->vm : "";
    }
    if (name[0] == '\0') {
        return 0;
    }
    if (ledger_vm_get(c->ledger, name, &vm, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    if (vm.for_job == f->id && vm.state < VM_BUSY) {
        f->vms.own = vm;
    }
    return 0;
}

/* Where it runs or ran, or where a VM starts for it. The row may be gone. */
static int gather_target(struct ctl *c, struct why_facts *f, struct err *e)
{
    struct ledger_vm vm = f->vms.own;
    const char *runner = f->job.facts.runner_name;
    if (vm.name[0] == '\0' && runner[0] != '\0' && ledger_vm_get(c->ledger, runner, &vm, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    memcpy(f->target, vm.target, sizeof f->target);
    return 0;
}

/* --- all of it --- */

bool why_is_known(const struct why_facts *f)
{
    return f->in_ledger || f->in_queue;
}

bool why_lacks_vm(const struct why_facts *f)
{
    bool with_worker = f->in_queue && f->entry.place == QUEUE_LEASED;
    return f->vms.own.name[0] == '\0' && !with_worker && (!f->in_ledger || f->supply < f->demand);
}

int64_t why_waited_ms(const struct ledger_job *j, int64_t now_ms)
{
    int64_t until_ms = j->running_ms > 0 ? j->running_ms : j->ended_ms > 0 ? j->ended_ms : now_ms;
    return j->waiting_ms > 0 && until_ms > j->waiting_ms ? until_ms - j->waiting_ms : 0;
}

static bool is_waiting(const struct why_facts *f)
{
    return f->in_ledger ? f->job.state == JOB_WAITING : f->in_queue;
}

/* It costs calls: only where queue and ledger do not say enough. */
static void gather_github(struct ctl *c, struct why_github *g, const struct why_target *target,
                          struct why_facts *f)
{
    const char *repository =
        f->job.facts.repository[0] != '\0' ? f->job.facts.repository : target->repository;
    bool unclear = is_waiting(f) && f->class != NULL && !why_lacks_vm(f);
    f->is_admitted = true;
    if (!why_is_known(f) || unclear) {
        why_ask_for_job(c, g, repository, f->id, &f->github);
    }
    if (unclear && f->vms.idle > 0) {
        f->is_admitted = why_ask_admission(c, g, &f->job, f->class, f->group);
    }
}

static int gather_waiting(struct ctl *c, struct why_facts *f, struct err *e)
{
    return gather_lane(c, f, e) != 0 || gather_programs(c, f, e) != 0 ||
                   gather_capacity(c, f, e) != 0 || gather_balance(c, f, e) != 0 ||
                   gather_vms(c, f, e) != 0 || gather_own_vm(c, f, e) != 0
               ? -1
               : 0;
}

static void find_class(struct ctl *c, struct why_facts *f)
{
    f->class_name = f->job.facts.class_name;
    if (f->class_name[0] == '\0' && f->in_queue) {
        const char *of_lane = launch_lane_class(f->entry.message.lane);
        f->class_name = of_lane != NULL ? of_lane : "";
    }
    f->class = config_class_by_name(c->config, slice_of(f->class_name));
}

int why_gather(struct ctl *c, struct why_github *g, const struct why_target *target,
               struct why_facts *out, struct err *e)
{
    struct why_facts *f = out;
    *f = (struct why_facts){
        .config = c->config, .id = target->job, .now_ms = clock_wall_ms(), .is_admitted = true};
    (void)config_ctl(c->config, f->ctl);
    f->in_ledger = ledger_job_get(c->ledger, f->id, &f->job, e) == 0;
    if (!f->in_ledger && e->class != ERR_NOT_FOUND) {
        return -1;
    }
    if (!f->in_ledger) {
        f->job = (struct ledger_job){.state = JOB_WAITING};
    }
    if (gather_queue(c, f, e) != 0 ||
        ledger_timeline(c->ledger, f->id, &f->timeline, &f->timeline_count, e) != 0) {
        return -1;
    }
    find_class(c, f);
    if (is_waiting(f) && gather_waiting(c, f, e) != 0) {
        return -1;
    }
    gather_github(c, g, target, f);
    return gather_target(c, f, e);
}

void why_facts_fini(struct why_facts *f)
{
    free(f->timeline);
    f->timeline = NULL;
}
