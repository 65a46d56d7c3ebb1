#include "tests/unit/reaper/world.h"

#include <stdlib.h>
#include <time.h>

#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/program/presence.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"

#define DAY_MS (24 * HOUR_MS)
#define FOR_EVER_MS (1000 * DAY_MS)
#define MARK "deliveries.seen_until_ms"

/* What calls_queue.c and calls_ledger.c stand before; what the world does itself is no call of the
 * reaper's. */
int __real_queue_put(struct queue *q, const struct queue_item *items, size_t n, struct err *e);
int __real_ledger_lease(struct ledger *l, const char *name, const char *holder, int64_t ttl_ms,
                        bool *held, int64_t *fence, struct err *e);

struct world world;
struct reaper reaper;

/* --- time --- */
static int64_t world_mono_us(void)
{
    return (world.now_ms - WORLD_BEGAN_MS + 1000000) * 1000;
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

/* Stands in for the one of common/base (see the CMakeLists). */
bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms);
bool __wrap_wakeup_sleep(struct wakeup *s, int64_t timeout_ms)
{
    world_pass(timeout_ms);
    return wakeup_raised(s);
}

void world_sweep(int times, int64_t apart_ms)
{
    for (int i = 0; i < times; i++) {
        sweep(&reaper);
        world_pass(apart_ms);
    }
}

void sweep_times(int times)
{
    world_sweep(times, 10);
}

/* --- the world and its reapers --- */
/* Rows of a scope as long as there is the ledger: the reaper looks for runners in both. */
static void add_scope(const char *name, int64_t installation_id)
{
    struct ledger_vm *vm = memory_vm(world.url, name);
    (void)snprintf(vm->scope, sizeof vm->scope, "%s", name);
    vm->installation_id = installation_id;
    vm->state = VM_GONE;
    vm->gone_ms = INT64_MAX;
}

static void open_stores(void)
{
    static int times;
    struct err e;
    (void)snprintf(world.url, sizeof world.url, "memory://reaper-%d", ++times);
    MUST(ledger_open(world.url, &world.ledger, &e));
    MUST(queue_open(world.url, &world.queue, &e));
    add_scope("acme", 11);
    add_scope("other", 22);
}

void world_add_reaper(struct reaper *r, const char *config_text, const char *holder)
{
    struct err e = {0};
    struct config *c = NULL;
    memset(r, 0, sizeof *r);
    MUST(config_parse(slice_of(config_text), "test", CONFIG_FOR_REAPER, &c, NULL, &e));
    MUST(fleet_open(c, "this-host", world.ledger, NULL, &r->fleet, &e));
    r->config = config_live_new(c, NULL, CONFIG_FOR_REAPER);
    (void)snprintf(r->holder, sizeof r->holder, "%s", holder);
    r->queue = world.queue;
    r->ledger = world.ledger;
    r->circuits = circuits_new(world.ledger);
    wakeup_init(&r->stop);
}

void world_close_reaper(struct reaper *r)
{
    wakeup_fini(&r->stop);
    circuits_free(r->circuits);
    fleet_close(r->fleet);
    config_live_free(r->config);
    signs_fini(&r->fleet_signs);
    signs_fini(&r->host_signs);
    free(r->rows);
    free(r->scans);
    reaper_free_recovery(r);
    reaper_free_lost_jobs(r);
    reaper_free_targets(r);
}

void world_begin(const char *config_text)
{
    static const struct clock_source source = {.mono_us = world_mono_us, .wall_ms = world_wall_ms};
    log_set_level(LOG_ERROR);
    clock_set_source(&source);
    world = (struct world){.now_ms = WORLD_BEGAN_MS};
    calls_reset();
    scripted_vms_reset();
    scripted_github_reset();
    open_stores();
    world_add_messages("launch.small", QUEUE_LEASED, "9999", 5);
    world_add_messages("launch.small", QUEUE_DEAD, "9999", 7);
    world_add_reaper(&reaper, config_text, "one");
}

void world_end(void)
{
    world_close_reaper(&reaper);
    queue_close(world.queue);
    ledger_close(world.ledger);
}

int world_set_up(void **state)
{
    world_begin(world_config);
    return 0;
}

int world_tear_down(void **state)
{
    world_end();
    return 0;
}

void world_anew(void)
{
    world_end();
    world_begin(world_config);
}

int64_t presence_format(const struct presence *p)
{
    (void)p;
    return 1;
}

const struct ledger_program *presence_self(const struct presence *p)
{
    (void)p;
    return &world.self;
}

void world_beat(const char *id)
{
    int64_t version = 0;
    struct err e;
    struct ledger_program p = {
        .version = "1", .oldest_format = 1, .newest_format = 1, .is_host = true};
    (void)snprintf(p.id, sizeof p.id, "%s", id);
    MUST(ledger_program_beat(world.ledger, &p, &version, &e));
}

static int64_t counter(const char *name, const char *task)
{
    char label[64];
    (void)snprintf(label, sizeof label, "task=\"%s\"", task);
    return metric_value(metrics_counter(name, label));
}

int64_t world_task_done(const char *task)
{
    return counter("mayfly_reaper_repairs_total", task);
}

int64_t world_task_errors(const char *task)
{
    return counter("mayfly_reaper_task_errors_total", task);
}

/* --- what happens --- */
void world_fail(const char *function, const char *with, enum err_class class)
{
    calls_plan(&(struct call_plan){.function = function, .with = with, .fails = class});
}

void world_heal(void)
{
    calls_replan(NULL, 0);
}

void world_happens(const char *function, const char *with, int at, void (*event)(void))
{
    calls_plan(&(struct call_plan){
        .function = function, .with = with, .skip = at - 1, .times = 1, .happens = event});
}

/* --- the ledger --- */
const char *world_host_lease(void)
{
    static char name[96];
    (void)snprintf(name, sizeof name, "sweep/%.80s", fleet_host(reaper.fleet));
    return name;
}

static void release(const char *name, const char *holder)
{
    struct err e;
    MUST(ledger_lease_release(world.ledger, name, holder, &e));
}

void world_take_lease(const char *name)
{
    struct err e;
    bool held = false;
    int64_t fence = 0;
    release(name, reaper.holder);
    MUST(__real_ledger_lease(world.ledger, name, "another", FOR_EVER_MS, &held, &fence, &e));
    assert_true(held);
}

void world_take_leases(void)
{
    world_take_lease("sweep");
    world_take_lease(world_host_lease());
}

void world_give_leases_back(void)
{
    release("sweep", "another");
    release(world_host_lease(), "another");
}

int64_t world_mark(void)
{
    struct err e;
    int64_t ms = -1;
    MUST(ledger_counter_get(world.ledger, MARK, &ms, &e));
    return ms;
}

void world_set_mark(int64_t ms)
{
    struct err e;
    MUST(ledger_counter_set(world.ledger, MARK, ms, &e));
}

void world_set_recovered(void)
{
    struct err e;
    char value[64];
    (void)snprintf(value, sizeof value, "%lld - none 0", (long long)world.now_ms);
    MUST(ledger_cell_put(world.ledger, "recovery", "fleet", value, 0, NULL, &e));
}

/* Where counts cannot go wrong by themselves there is nothing to correct: here there always is. */
int __wrap_ledger_repair(struct ledger *l, struct ledger_repair **out, size_t *n, size_t *suspected,
                         struct err *e);
int __wrap_ledger_repair(struct ledger *l, struct ledger_repair **out, size_t *n, size_t *suspected,
                         struct err *e)
{
    struct call c = call_begin("ledger_repair", e, "%s", "");
    (void)l;
    if (c.goes_on) {
        *out = calloc(1, sizeof **out);
        ASSERT(*out != NULL);
        **out = (struct ledger_repair){.what = "slots of the fleet", .was = 3, .is = 2};
        *n = 1;
        *suspected = world.repair_suspects;
    }
    return call_end(&c, 0, e);
}

/* --- the queue --- */
bool __real_queue_can(const struct queue *q, enum queue_capability c);
bool __wrap_queue_can(const struct queue *q, enum queue_capability c);
bool __wrap_queue_can(const struct queue *q, enum queue_capability c)
{
    return __real_queue_can(q, c) && !(c == QUEUE_FIND && world.queue_cannot_find) &&
           !(c == QUEUE_DEPTHS && world.queue_estimates);
}

static void place_one(const char *lane, enum queue_place place, const char *key)
{
    struct err e = {0};
    struct queue_message m = {.id = ""};
    size_t got = 0;
    const struct queue_item item = {.lane = lane,
                                    .body = SLICE("{}"),
                                    .key = key,
                                    .delay_ms = place == QUEUE_DELAYED ? DAY_MS : 0};
    MUST(__real_queue_put(world.queue, &item, 1, &e));
    if (place == QUEUE_LEASED || place == QUEUE_DEAD) {
        ASSERT(queue_receive(world.queue, lane, 1, DAY_MS, 0, &m, &got, &e) == 0 && got == 1);
        ASSERT(strcmp(m.key, key) == 0); /* nothing was ready before it */
        ASSERT(place == QUEUE_LEASED || queue_dead_letter(world.queue, &m, "test", &e) == 0);
        queue_message_fini(&m);
    }
}

void world_add_messages(const char *lane, enum queue_place place, const char *key, int n)
{
    for (int i = 0; i < n; i++) {
        place_one(lane, place, key);
    }
}

/* A queue of another name in the place of this one. */
void world_empty_queue(void)
{
    static int times;
    char url[64];
    struct err e = {0};
    queue_close(world.queue);
    (void)snprintf(url, sizeof url, "memory://reaper-empty-%d", ++times);
    MUST(queue_open(url, &world.queue, &e));
    reaper.queue = world.queue;
}

int world_puts(void)
{
    return (int)calls_done("queue_put", NULL);
}

const char *world_put(int i, const char *field)
{
    static char value[QUEUE_BODY_MAX_BYTES];
    char begin[16];
    const char *args = calls_args("queue_put", NULL, (size_t)i + 1);
    (void)snprintf(begin, sizeof begin, "%s=", field);
    const char *from = strstr(args, begin);
    ASSERT(from != NULL);
    from += strlen(begin);
    size_t len = strcmp(field, "body") == 0 ? strlen(from) - 1 : strcspn(from, " ");
    ASSERT(slice_to_cstr((struct slice){from, len}, value, sizeof value));
    return value;
}

int world_puts_for(int64_t job_id)
{
    char key[32];
    int n = 0;
    (void)snprintf(key, sizeof key, "%lld", (long long)job_id);
    for (int i = 0; i < world_puts(); i++) {
        n += strcmp(world_put(i, "key"), key) == 0 ? 1 : 0;
    }
    return n;
}

/* --- rows and VMs --- */
struct ledger_vm *world_add_vm(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    struct ledger_vm *vm = memory_vm(world.url, name);
    int64_t then = clock_wall_ms() - age_ms;
    (void)snprintf(vm->class_name, sizeof vm->class_name, "small");
    (void)snprintf(vm->scope, sizeof vm->scope, "acme");
    (void)snprintf(vm->provider, sizeof vm->provider, "qemu");
    (void)snprintf(vm->host, sizeof vm->host, "%s", fleet_host(reaper.fleet));
    vm->state = state;
    vm->installation_id = 11;
    vm->for_job = 5000 + ++world.vms;
    vm->reserved_ms = then;
    vm->heartbeat_ms = then;
    if (state >= VM_REGISTERED) {
        vm->runner_id = 1000 + world.vms;
        vm->registered_ms = then;
    }
    if (state >= VM_LAUNCHED) {
        (void)snprintf(vm->vm_id, sizeof vm->vm_id, "id-%.100s", name);
        vm->deadline_ms = then + HOUR_MS;
        vm->launched_ms = then;
    }
    vm->ending_ms = state >= VM_ENDING ? then : 0;
    vm->gone_ms = state == VM_GONE ? then : 0;
    return vm;
}

struct ledger_vm *world_add_large_vm(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_vm(name, state, age_ms);
    memcpy(vm->class_name, "large", 6);
    memcpy(vm->provider, "lambda", 7);
    vm->host[0] = '\0';
    return vm;
}

struct ledger_vm *world_add_unanswered(const char *name, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_large_vm(name, VM_ENDING, age_ms);
    vm->vm_id[0] = '\0';
    vm->launched_ms = 0;
    vm->deadline_ms = 0;
    return vm;
}

struct github_runner *world_add_runner_of(const struct ledger_vm *vm, bool online, bool busy)
{
    struct github_runner *r = scripted_github_add_runner(vm->name, online, busy);
    r->id = vm->runner_id;
    return r;
}

struct ledger_vm *world_add_missing(const char *name, enum ledger_vm_state state)
{
    struct ledger_vm *vm = world_add_vm(name, state, 301 * SECOND_MS);
    (void)world_add_runner_of(vm, false, false);
    return vm;
}

void world_move(struct ledger_vm *vm, enum ledger_vm_state to)
{
    vm->state = to;
    vm->ending_ms = to == VM_ENDING ? clock_wall_ms() : vm->ending_ms;
    vm->gone_ms = to == VM_GONE ? clock_wall_ms() : 0;
}

struct vm_info *world_list_vm(const char *name, enum vm_run_state state)
{
    return scripted_vms_add("small", name, state);
}

struct vm_info *world_add_large_machine(const char *name, enum vm_run_state state)
{
    struct vm_info *m = scripted_vms_add("large", name, state);
    m->name[0] = '\0';
    return m;
}

struct ledger_vm *world_add_running(const char *name, enum ledger_vm_state state, int64_t age_ms)
{
    (void)world_list_vm(name, VM_RUN_RUNNING);
    return world_add_vm(name, state, age_ms);
}

struct ledger_vm *world_add_supply(const char *scope, int n)
{
    struct ledger_vm *vm = NULL;
    for (int i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-supply-%d", i);
        vm = world_add_running(name, VM_LAUNCHED, SECOND_MS);
        (void)snprintf(vm->scope, sizeof vm->scope, "%s", scope);
    }
    return vm;
}

struct ledger_job *world_add_job(int64_t id, const char *github_status)
{
    struct ledger_job *j = memory_job(world.url, id);
    (void)scripted_github_add_job(id, github_status);
    *j = (struct ledger_job){.facts = {.id = id,
                                       .run_id = 10 * id,
                                       .run_attempt = 2,
                                       .installation_id = 11,
                                       .created_ms = 1790000000000,
                                       .repository = "acme/app",
                                       .organization = "acme",
                                       .name = "build",
                                       .workflow = "CI",
                                       .labels = "self-hosted,linux",
                                       .class_name = "small"},
                             .scope = "acme",
                             .state = JOB_WAITING,
                             .waiting_ms = clock_wall_ms() - HOUR_MS};
    return j;
}

void world_add_demand(const char *scope, int64_t n)
{
    static int64_t id = 1000000;
    for (int64_t i = 0; i < n; i++) {
        struct ledger_job *j = memory_job(world.url, ++id);
        (void)snprintf(j->scope, sizeof j->scope, "%s", scope);
        (void)snprintf(j->facts.class_name, sizeof j->facts.class_name, "small");
        j->state = JOB_WAITING;
        j->waiting_ms = clock_wall_ms();
    }
}

int world_ended(void)
{
    return (int)calls_done("ledger_vm_advance", " to=gone ");
}

void world_assert_nothing_ended(void)
{
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
    assert_int_equal(calls_count("vm_forget", NULL), 0);
    assert_int_equal(calls_count("github_delete_runner", NULL), 0);
    assert_int_equal(calls_count("ledger_vm_advance", " to=ending "), 0);
    assert_int_equal(calls_count("ledger_vm_advance", " to=gone "), 0);
}
