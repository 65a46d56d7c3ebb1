#include "tests/unit/reaper/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/ledger/ledger_programs.h"
#include "common/program/presence.h"
#include "tests/lib/calls.h"

struct world world;

static int64_t world_mono_us(void)
{
    return (world.now_ms - 1800000000000 + 1000000) * 1000;
}

static int64_t world_wall_ms(void)
{
    return world.now_ms;
}

/* Stands in for the C library's (see the CMakeLists): the clock that goes on in suspend. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts);
int __real_clock_gettime(clockid_t clock, struct timespec *ts);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (clock != CLOCK_BOOTTIME) {
        return __real_clock_gettime(clock, ts);
    }
    int64_t ms = world.now_ms + world.boot_extra_ms;
    *ts = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return 0;
}

void world_pass(int64_t ms)
{
    world.now_ms += ms;
}

static int64_t counter(const char *name, const char *task)
{
    char label[64];
    (void)snprintf(label, sizeof label, "duty=\"%s\"", task);
    return metric_value(metrics_counter(name, "", label));
}

int64_t world_task_done(const char *task)
{
    return counter("mayfly_reaper_mended_total", task);
}

int64_t world_task_errors(const char *task)
{
    return counter("mayfly_reaper_duty_failures_total", task);
}

/* Stands in for the one of common/base (see the CMakeLists). */
bool __wrap_stop_sleep(struct stop *s, int64_t timeout_ms);
bool __wrap_stop_sleep(struct stop *s, int64_t timeout_ms)
{
    world_pass(timeout_ms);
    return stop_raised(s);
}

int world_called(enum world_call call, struct err *e)
{
    world.calls[call]++;
    if (world.event != NULL && call == world.event_call && world.calls[call] == world.event_at) {
        world.event();
    }
    return world.fails[call] != ERR_NONE ? err_set(e, world.fails[call], 0, "scripted") : 0;
}

static void reset(void)
{
    static const struct clock_source source = {.mono_us = world_mono_us, .wall_ms = world_wall_ms};
    clock_set_source(&source);
    memset(&world, 0, sizeof world);
    world.now_ms = 1800000000000;
    world.lease_fence = 1;
    world.page_size = 100;
    world.lease_is_ours = true;
    world.machines_told = true;
}

void world_add_reaper(struct reaper *r, const char *config_text, const char *holder)
{
    struct err e = {0};
    struct config *c = NULL;
    memset(r, 0, sizeof *r);
    ASSERT(config_parse(slice_of(config_text), "test", CONFIG_FOR_REAPER, &c, NULL, &e) == 0);
    r->config = config_live_new(c, NULL, CONFIG_FOR_REAPER);
    (void)snprintf(r->holder, sizeof r->holder, "%s", holder);
    r->queue = world_queue;
    stop_init(&r->stop);
}

void world_begin(struct reaper *r, const char *config_text)
{
    log_set_level(LOG_ERROR);
    reset();
    calls_reset();
    world_empty_queue();
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 5);
    world_add_messages("launch.small", QUEUE_DEAD, "9999", 7);
    world_add_reaper(r, config_text, "one");
    world.reaper = r;
}

void world_end(struct reaper *r)
{
    stop_fini(&r->stop);
    config_live_free(r->config);
    signs_fini(&r->fleet_signs);
    signs_fini(&r->host_signs);
}

struct ledger_vm *world_add_vm(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    struct ledger_vm *vm = &world.vms[world.vm_count++];
    int64_t then = clock_wall_ms() - age_ms;
    (void)snprintf(vm->name, sizeof vm->name, "%s", name);
    (void)snprintf(vm->class_name, sizeof vm->class_name, "small");
    (void)snprintf(vm->scope, sizeof vm->scope, "acme");
    (void)snprintf(vm->provider, sizeof vm->provider, "qemu");
    (void)snprintf(vm->host, sizeof vm->host, "here");
    vm->state = state;
    vm->installation_id = 11;
    vm->runner_id = 1000 + (int64_t)world.vm_count;
    vm->for_job = 5000 + (int64_t)world.vm_count;
    vm->reserved_ms = then;
    vm->heartbeat_ms = then;
    vm->launched_ms = then;
    vm->ending_ms = then;
    if (state >= VM_LAUNCHED) {
        (void)snprintf(vm->vm_id, sizeof vm->vm_id, "id-%.100s", name);
        vm->deadline_ms = then + 3600 * 1000;
    }
    return vm;
}

struct vm_info *world_add_machine(const char *name, enum vm_run_state state)
{
    struct vm_info *m = &world.machines[world.machine_count];
    world.machine_class[world.machine_count++] = "small";
    (void)snprintf(m->id, sizeof m->id, "id-%s", name);
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->state = state;
    return m;
}

struct ledger_vm *world_add_large_vm(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_vm(name, state, age_ms);
    memcpy(vm->class_name, "large", 6);
    memcpy(vm->provider, "lambda", 7);
    vm->host[0] = '\0';
    return vm;
}

struct vm_info *world_add_large_machine(const char *name, enum vm_run_state state)
{
    struct vm_info *m = world_add_machine(name, state);
    world.machine_class[world.machine_count - 1] = "large";
    m->name[0] = '\0';
    return m;
}

struct github_runner *world_add_runner(const char *name, bool online, bool busy)
{
    struct github_runner *r = &world.runners[world.runner_count];
    world.runner_scope[world.runner_count++] = "acme";
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    r->id = 1000 + (int64_t)world.runner_count;
    r->online = online;
    r->busy = busy;
    return r;
}

struct ledger_job *world_add_job(int64_t id, const char *github_status)
{
    struct ledger_job *j = &world.jobs[world.job_count];
    struct github_job *g = &world.github_jobs[world.job_count++];
    *j = (struct ledger_job){.facts.id = id,
                             .facts.run_id = 10 * id,
                             .facts.run_attempt = 2,
                             .facts.installation_id = 11,
                             .facts.created_ms = 1790000000000,
                             .facts.organization = "acme",
                             .facts.name = "build",
                             .facts.labels = "self-hosted,linux",
                             .state = JOB_WAITING};
    j->waiting_ms = clock_wall_ms() - 3600 * 1000;
    (void)snprintf(j->facts.class_name, sizeof j->facts.class_name, "small");
    (void)snprintf(j->scope, sizeof j->scope, "acme");
    (void)snprintf(j->facts.repository, sizeof j->facts.repository, "acme/app");
    g->id = id;
    (void)snprintf(g->status, sizeof g->status, "%s", github_status);
    return j;
}

/* --- the ledger --- */
static struct world_lease *lease_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(world.leases); i++) {
        struct world_lease *l = &world.leases[i];
        if (l->name[0] == '\0') {
            (void)snprintf(l->name, sizeof l->name, "%s", name);
        }
        if (strcmp(l->name, name) == 0) {
            return l;
        }
    }
    abort(); /* a lease too many */
}

int ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms, bool *held,
                 int64_t *fence, struct err *e)
{
    struct world_lease *lease = lease_of(name);
    (void)l;
    world.lease_calls++;
    if (world.lease_fails) {
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    bool was_its = strcmp(lease->holder, holder) == 0;
    *held = world.lease_is_ours &&
            (world.lease_of_another == NULL || strcmp(name, world.lease_of_another) != 0) &&
            (was_its || lease->holder[0] == '\0' || lease->until_ms <= world.now_ms);
    if (*held) {
        lease->changes += lease->ttl_ms > 0 && !was_its ? 1 : 0;
        lease->ttl_ms = ttl_ms;
        lease->until_ms = world.now_ms + ttl_ms;
        (void)snprintf(lease->holder, sizeof lease->holder, "%s", holder);
    }
    *fence = world.lease_fence + lease->changes;
    return 0;
}

int ledger_lease_release(struct ledger *l, const char *name, const char *holder, struct err *e)
{
    struct world_lease *lease = lease_of(name);
    (void)l;
    (void)e;
    if (strcmp(lease->holder, holder) == 0) {
        lease->holder[0] = '\0';
    }
    return 0;
}

/* There is one; under any other name there is nothing. */
static bool is_the_mark(const char *name)
{
    return strcmp(name, "deliveries.seen_until_ms") == 0;
}

int ledger_mark_get(struct ledger *l, const char *name, int64_t *out, struct err *e)
{
    (void)l;
    (void)e;
    *out = is_the_mark(name) ? world.mark_ms : 0;
    return 0;
}

int ledger_mark_set(struct ledger *l, const char *name, int64_t value, struct err *e)
{
    (void)l;
    (void)e;
    world.mark_ms = is_the_mark(name) ? value : world.mark_ms;
    return 0;
}

int ledger_job_get(struct ledger *l, int64_t job_id, struct ledger_job *out, struct err *e)
{
    (void)l;
    if (world.known_job == NULL || world.known_job->facts.id != job_id) {
        return err_set(e, ERR_NOT_FOUND, 0, "no job");
    }
    *out = *world.known_job;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ledger_vm *)a)->name, ((const struct ledger_vm *)b)->name);
}

int ledger_vm_list(struct ledger *l, unsigned state_mask, const char *after, size_t max,
                   struct ledger_vm **out, size_t *n, struct err *e)
{
    static struct ledger_vm rows[WORLD_MAX];
    (void)l;
    if (world.ledger_fails_on_list) {
        return err_set(e, ERR_RETRY, 0, "scripted");
    }
    *out = calloc(WORLD_MAX, sizeof **out);
    *n = 0;
    memcpy(rows, world.vms, sizeof rows);
    qsort(rows, world.vm_count, sizeof rows[0], by_name);
    for (size_t i = 0; i < world.vm_count && *n < max; i++) {
        if (strcmp(rows[i].name, after) > 0 && (state_mask & (1u << rows[i].state)) != 0) {
            (*out)[(*n)++] = rows[i];
        }
    }
    return 0;
}

struct ledger_vm *world_row(const char *name)
{
    for (size_t i = 0; i < world.vm_count; i++) {
        if (strcmp(world.vms[i].name, name) == 0) {
            return &world.vms[i];
        }
    }
    return NULL;
}

int ledger_vm_get(struct ledger *l, const char *name, struct ledger_vm *out, struct err *e)
{
    (void)l;
    if (world_called(CALL_VM_GET, e) != 0) {
        return -1;
    }
    const struct ledger_vm *vm = world_row(name);
    if (vm == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "no row");
    }
    *out = *vm;
    return 0;
}

int ledger_vm_advance(struct ledger *l, const struct ledger_advance *a, bool *changed,
                      struct err *e)
{
    struct ledger_vm *vm = world_row(a->vm);
    (void)l;
    (void)changed;
    if (vm == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0, "no row");
    }
    vm->state = a->to;
    return 0;
}

static void add_balance(struct ledger_balance *list, size_t *n, const char *scope,
                        const char *class_name, int64_t demand, int64_t supply)
{
    if (demand > 0 || supply > 0) {
        struct ledger_balance *b = &list[(*n)++];
        *b = (struct ledger_balance){.demand = demand, .supply = supply};
        (void)snprintf(b->scope, sizeof b->scope, "%s", scope);
        (void)snprintf(b->class_name, sizeof b->class_name, "%s", class_name);
    }
}

int ledger_balances(struct ledger *l, struct ledger_balance **out, size_t *n, struct err *e)
{
    (void)l;
    if (world.calls[CALL_BALANCES] == 0) {
        world.depths_before_balances = calls_count("queue_depths", NULL);
    }
    if (world_called(CALL_BALANCES, e) != 0) {
        return -1;
    }
    *out = calloc(3, sizeof **out);
    *n = 0;
    add_balance(*out, n, "acme", "small", world.demand, world.supply);
    add_balance(*out, n, "other", "small", world.demand_elsewhere, world.supply_elsewhere);
    add_balance(*out, n, "acme", "large", world.demand_large, 0);
    return 0;
}

int ledger_jobs_waiting(struct ledger *l, const char *scope, const char *class_name,
                        int64_t before_ms, size_t max, struct ledger_job **out, size_t *n,
                        struct err *e)
{
    (void)l;
    (void)e;
    *out = calloc(WORLD_MAX, sizeof **out);
    *n = 0;
    for (size_t i = 0; i < world.job_count && *n < max; i++) {
        if (strcmp(world.jobs[i].scope, scope) == 0 &&
            strcmp(world.jobs[i].facts.class_name, class_name) == 0 &&
            world.jobs[i].waiting_ms < before_ms && world.jobs[i].relaunched_ms < before_ms) {
            (*out)[(*n)++] = world.jobs[i];
        }
    }
    return 0;
}

int ledger_log_event(struct ledger *l, int64_t job_id, const char *vm, const char *what,
                     const char *detail, struct err *e)
{
    (void)l;
    (void)vm;
    (void)detail;
    (void)e;
    world.told++;
    world.told_job = job_id;
    (void)snprintf(world.told_what, sizeof world.told_what, "%s", what);
    return 0;
}

int ledger_job_relaunched(struct ledger *l, int64_t job_id, struct err *e)
{
    (void)l;
    (void)e;
    for (size_t i = 0; i < world.job_count; i++) {
        if (world.jobs[i].facts.id == job_id) {
            world.jobs[i].relaunched_ms = clock_wall_ms();
        }
    }
    return 0;
}

int ledger_reconcile_job(struct ledger *l, int64_t job_id, enum ledger_job_state to,
                         const char *why, struct err *e)
{
    (void)l;
    (void)e;
    world.settled++;
    world.settled_job = job_id;
    world.settled_to = to;
    (void)snprintf(world.settled_why, sizeof world.settled_why, "%s", why);
    return 0;
}

int ledger_scopes(struct ledger *l, struct ledger_scope **out, size_t *n, struct err *e)
{
    (void)l;
    (void)e;
    *out = calloc(2, sizeof **out);
    (*out)[0] = (struct ledger_scope){.name = "acme", .installation_id = 11};
    (*out)[1] = (struct ledger_scope){.name = "other", .installation_id = 22};
    *n = 2;
    return 0;
}

int ledger_tidy(struct ledger *l, int64_t before_ms, size_t max, int64_t *removed, struct err *e)
{
    (void)l;
    (void)max;
    (void)e;
    world.tidied_before_ms = before_ms;
    *removed = 0;
    return 0;
}

int ledger_program_tidy(struct ledger *l, struct err *e)
{
    (void)l;
    (void)e;
    return 0;
}

int64_t presence_format(const struct presence *p)
{
    (void)p;
    return 1;
}

int ledger_repair(struct ledger *l, struct ledger_repair **out, size_t *n, size_t *suspected,
                  struct err *e)
{
    (void)l;
    world.repair_calls++;
    if (world.repair_fails) {
        return err_set(e, ERR_RETRY, 0, "the store does not answer");
    }
    *out = calloc(1, sizeof **out);
    ASSERT(*out != NULL);
    **out = (struct ledger_repair){.what = "slots of the fleet", .was = 3, .is = 2};
    *n = 1;
    *suspected = world.repair_suspects;
    return 0;
}

const char *ledger_vm_state_name(enum ledger_vm_state s)
{
    (void)s;
    return "state";
}
