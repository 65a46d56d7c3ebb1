/*
 * VMs that idle until a job comes (classes[].min_idle).
 *
 * A pool is the idle VMs of a class in one of its min_idle.scopes. Whatever VM idles there counts, for whichever
 * job it was launched. The worker keeps the pool full while jobs come: the launch request of a job that
 * an idle VM takes launches the next one (worker/idle/idle_launch.h). This task does the rest:
 *
 *   missing   What the pool and the lane lack is requested: launch requests without a job. Whether one is launched
 *             is decided when a worker receives it, by demand, supply and the configuration of that
 *             moment, so a request too many launches nothing. In a span of replace_after at most
 *             REQUESTS_FACTOR times what the pool needs is requested: VMs that end as soon as they
 *             were launched cost no more.
 *   old       GitHub drops a runner that idles for minutes. So one that is replace_after old is
 *             replaced: first another is launched, and its runner seen online; then the old one's
 *             registration is deleted, which GitHub refuses if it has got a job, and the VM
 *             terminated (FLEET_REQUESTED).
 *             At a cap there is no slot for another: there the old one ends first, one at a time.
 *   wanted    While jobs wait for slots of the class, or of the fleet, idle VMs that no job waits for are
 *             terminated in the same way, and nothing is requested until YIELD_MS after: jobs come first.
 *
 *   unwanted  Where none are wanted any more, by a schedule or a reload, those that were launched without a job, and
 *             that no job waits for, are terminated in the same way. Those of a scale set are not: its
 *             own demand decides.
 *
 * A class that an operator has paused is left alone.
 */
#include "reaper/idle/idle.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/job/publish.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"

#define REQUESTS_FACTOR 3
#define ASKED_PER_SWEEP 20 /* runners, whether they are online; the next sweep goes on */
#define ENDED_PER_SWEEP 20
#define YIELD_MS 60000

struct pool {
    const struct config_class *class;
    char scope[SCOPE_SIZE];
    int64_t wanted;
    int64_t demand;
    int64_t launching;
    int64_t fresh; /* idle, and younger than replace_after */
    int64_t old;
};

/* What the pools of a sweep share. */
struct keeping {
    struct sweep *sweep;
    int64_t messages; /* in the lane of the class in turn, which no pool is credited with yet */
    int64_t slots;    /* that the class in turn has left */
    int64_t given;    /* VMs that were terminated for waiting jobs */
    int64_t ended;
    int64_t asked;
};

/* --- counting --- */

static bool is_in(const struct pool *p, const struct ledger_vm *vm)
{
    return strcmp(vm->class_name, p->class->name) == 0 && strcmp(vm->scope, p->scope) == 0;
}

static int64_t since_ms(const struct ledger_vm *vm)
{
    return vm->registered_ms > 0 ? vm->registered_ms : vm->launched_ms;
}

static bool is_old(const struct sweep *s, const struct pool *p, const struct ledger_vm *vm)
{
    return s->now_ms >= since_ms(vm) + p->class->min_idle.replace_after_ms;
}

/* The ledger's spelling of a scope, if it knows it, for case is ignored in GitHub's names. */
static void spell_scope(const struct sweep *s, const char *written, char out[SCOPE_SIZE])
{
    struct slice found = slice_of(written);
    for (size_t i = 0; i < s->balance_count; i++) {
        struct slice one = slice_of(s->balances[i].scope);
        found = slice_eq_nocase(one, slice_of(written)) ? one : found;
    }
    ASSERT(slice_to_cstr(found, out, SCOPE_SIZE));
}

static struct pool measure_pool(const struct sweep *s, const struct config_class *class,
                                const char *scope)
{
    struct pool p = {.class = class};
    spell_scope(s, scope, p.scope);
    p.wanted = config_min_idle(class, p.scope, s->now_ms);
    for (size_t i = 0; i < s->balance_count; i++) {
        const struct ledger_balance *b = &s->balances[i];
        bool own = strcmp(b->class_name, class->name) == 0 && strcmp(b->scope, p.scope) == 0;
        p.demand += own ? b->demand : 0;
    }
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (is_in(&p, vm)) {
            p.launching += vm->state == VM_RESERVED || vm->state == VM_REGISTERED;
            p.fresh += vm->state == VM_LAUNCHED && !is_old(s, &p, vm);
            p.old += vm->state == VM_LAUNCHED && is_old(s, &p, vm);
        }
    }
    return p;
}

/* Messages in the lane are VMs to come. Without a count none is known, and the bound of requests holds. */
static int64_t count_messages(const struct sweep *s, const struct config_class *class)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t messages = 0;
    char lane[LAUNCH_LANE_SIZE];
    if (queue_depths(s->reaper->queue, launch_lane(class->name, lane), &depths, &n, &e) != 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        messages += depths[i].ready + depths[i].delayed;
    }
    free(depths);
    return messages;
}

/* Whether a slot of the class's would be used by such a job. */
static bool would_take_slot(const struct sweep *s, const struct config_class *class,
                            const struct ledger_balance *b, bool fleet_full)
{
    const struct config_class *of = config_class_by_name(s->config, slice_of(b->class_name));
    if (of == NULL || b->demand <= b->supply || sweep_class_is_paused(s, of->name)) {
        return false;
    }
    return of == class || (fleet_full && sweep_class_slots(s, of) > 0);
}

/* Jobs without a VM that the class's idle VMs keep a slot from. */
static int64_t count_blocked_jobs(const struct sweep *s, const struct config_class *class)
{
    int64_t blocked = 0;
    bool fleet_full = sweep_fleet_slots(s) <= 0;
    if (!fleet_full && sweep_class_slots(s, class) > 0) {
        return 0;
    }
    for (size_t i = 0; i < s->balance_count; i++) {
        const struct ledger_balance *b = &s->balances[i];
        blocked += would_take_slot(s, class, b, fleet_full) ? b->demand - b->supply : 0;
    }
    return blocked;
}

/* --- asking --- */

/* False: the answer is not known. */
static bool ask_runner(struct keeping *k, const struct ledger_vm *vm, struct github_runner *out)
{
    struct err e = {0};
    struct sweep_call call;
    const struct github_scope scope = github_scope_parse(vm->scope, vm->installation_id);
    if (k->asked++ >= ASKED_PER_SWEEP ||
        !sweep_begin_runner_question(k->sweep, &scope, GITHUB_RECONCILE, 1, &call)) {
        return false;
    }
    int rc = github_get_runner(k->sweep->reaper->github, &scope, vm->runner_id, out, &e);
    sweep_end_call(k->sweep, &call, rc, &e);
    return rc == 0;
}

/* --- terminating --- */

/* The oldest that idles and is behind `after`, by age and then by name. */
static const struct ledger_vm *find_oldest(const struct sweep *s, const struct pool *p,
                                           const struct ledger_vm *after)
{
    const struct ledger_vm *oldest = NULL;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        bool behind = after == NULL || since_ms(vm) > since_ms(after) ||
                      (since_ms(vm) == since_ms(after) && strcmp(vm->name, after->name) > 0);
        bool may_end = p->wanted > 0 || vm->for_job == 0;
        if (is_in(p, vm) && vm->state == VM_LAUNCHED && behind && may_end &&
            sweep_may_act_on(s, vm) &&
            (oldest == NULL || since_ms(vm) < since_ms(oldest) ||
             (since_ms(vm) == since_ms(oldest) && strcmp(vm->name, oldest->name) < 0))) {
            oldest = vm;
        }
    }
    return oldest;
}

static void count_ended(const struct pool *p, const char *reason)
{
    struct buf label;
    buf_init(&label, 200);
    metrics_label(&label, "class", p->class->name);
    metrics_label(&label, "reason", reason);
    metric_inc(metrics_counter("mayfly_reaper_idle_vms_ended_total", label.data));
    buf_fini(&label);
}

/* It is old, and others of its pool came online: its image may be the reason. Only where that counts. */
static bool never_came(struct keeping *k, const struct pool *p, const struct ledger_vm *vm)
{
    struct github_runner runner;
    return vm->image_part != IMAGE_NO_PART && is_old(k->sweep, p, vm) &&
           ask_runner(k, vm, &runner) && !runner.online && !runner.busy;
}

/* Terminates up to `most` of the pool, the oldest first. One whose runner has a job is spared. */
static int64_t end_vms(struct keeping *k, const struct pool *p, int64_t most, const char *label,
                       const char *reason)
{
    const struct ledger_vm *vm = NULL;
    int64_t ended = 0;
    for (int64_t i = 0; i < most && k->ended < ENDED_PER_SWEEP; i++) {
        vm = find_oldest(k->sweep, p, vm);
        if (vm == NULL) {
            break;
        }
        const struct fleet_termination how = {
            .reason = reason, .evidence = FLEET_REQUESTED, .image_failed = never_came(k, p, vm)};
        k->ended++;
        if (sweep_terminate_vm(k->sweep, vm, &how)) {
            count_ended(p, label);
            ended++;
        }
    }
    return ended;
}

static void make_room(struct keeping *k, const struct pool *p, int64_t blocked)
{
    int64_t idle = p->fresh + p->old - p->demand;
    int64_t most = blocked < idle ? blocked : idle;
    int64_t given = end_vms(k, p, most, "slot", "idle: a job waits for its slot");
    k->given += given;
    k->sweep->reaper->idle.yielded_ms =
        given > 0 ? clock_mono_ms() : k->sweep->reaper->idle.yielded_ms;
}

static bool has_yielded(const struct sweep *s)
{
    int64_t yielded_ms = s->reaper->idle.yielded_ms;
    return yielded_ms > 0 && clock_mono_ms() < yielded_ms + YIELD_MS;
}

/* --- replacing --- */

static bool was_online(const struct reaper_idle *idle, uint64_t runner)
{
    for (size_t i = 0; i < COUNT_OF(idle->online); i++) {
        if (idle->online[i] == runner) {
            return true;
        }
    }
    return false;
}

static bool is_online(struct keeping *k, const struct ledger_vm *vm)
{
    struct github_runner runner;
    struct reaper_idle *idle = &k->sweep->reaper->idle;
    uint64_t key = hash_text(vm->name);
    if (was_online(idle, key)) {
        return true;
    }
    if (!ask_runner(k, vm, &runner) || !runner.online || runner.busy) {
        return false;
    }
    idle->online[idle->next_online++ % COUNT_OF(idle->online)] = key;
    return true;
}

/* Fresh VMs whose runners are online; no more than `enough` are looked for. */
static int64_t count_online(struct keeping *k, const struct pool *p, int64_t enough)
{
    const struct sweep *s = k->sweep;
    int64_t online = 0;
    for (size_t i = 0; i < s->vm_count && online < enough; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        bool fresh = is_in(p, vm) && vm->state == VM_LAUNCHED && !is_old(s, p, vm);
        online += fresh && is_online(k, vm);
    }
    return online;
}

static void replace_old(struct keeping *k, const struct pool *p)
{
    static const char reason[] = "idle: another one has replaced it";
    int64_t idle = p->fresh + p->old;
    int64_t least = p->wanted + p->demand;
    if (p->old > 0 && idle > least) {
        int64_t surplus = count_online(k, p, least) + p->old - least;
        (void)end_vms(k, p, surplus < p->old ? surplus : p->old, "replaced", reason);
    } else if (p->old > 0 && idle > p->demand && k->slots <= 0 && p->launching == 0) {
        (void)end_vms(k, p, 1, "replaced", "idle: another one needs its slot to replace it");
    }
}

/* --- requesting --- */

static int64_t needed(const struct pool *p)
{
    return p->wanted + (p->old < p->wanted ? p->old : p->wanted);
}

static struct reaper_idle_pool *find_memory(struct sweep *s, const struct pool *p)
{
    struct reaper_idle *idle = &s->reaper->idle;
    uint64_t key = hash_bytes(hash_text(p->class->name), slice_of(p->scope));
    for (size_t i = 0; i < COUNT_OF(idle->pools); i++) {
        if (idle->pools[i].key == key) {
            return &idle->pools[i];
        }
    }
    struct reaper_idle_pool *m = &idle->pools[idle->next_pool++ % COUNT_OF(idle->pools)];
    *m = (struct reaper_idle_pool){.key = key, .since_ms = clock_mono_ms()};
    return m;
}

/* How many may be requested in the current span. */
static int64_t count_allowed(struct reaper_idle_pool *m, const struct pool *p)
{
    if (clock_mono_ms() >= m->since_ms + p->class->min_idle.replace_after_ms) {
        m->since_ms = clock_mono_ms();
        m->requested = 0;
    }
    return REQUESTS_FACTOR * p->wanted - m->requested;
}

/* That of VMs there, if there are any, so that all of them count for one installation; else the worker looks it
 * up. */
static int64_t known_installation(const struct sweep *s, const struct pool *p)
{
    for (size_t i = 0; i < s->vm_count; i++) {
        if (s->vms[i].installation_id > 0 && strcmp(s->vms[i].scope, p->scope) == 0) {
            return s->vms[i].installation_id;
        }
    }
    return 0;
}

static int publish_request(struct sweep *s, const struct pool *p, struct err *e)
{
    struct job_message message;
    struct launch_request request = {.reason = LAUNCH_MIN_IDLE,
                                     .requested_ms = clock_wall_ms(),
                                     .spare = needed(p),
                                     .job = {.installation_id = known_installation(s, p)}};
    memcpy(request.scope, p->scope, sizeof request.scope);
    ASSERT(slice_to_cstr(slice_of(p->class->name), request.class_name, sizeof request.class_name));
    job_message_of_launch(&request, presence_format(s->reaper->presence), &message);
    int failed = job_publish(s->reaper->queue, &message, e);
    job_message_fini(&message);
    return failed;
}

static bool may_launch(struct sweep *s, const struct pool *p)
{
    bool away = p->class->target_count == 0 &&
                sweep_target_is_away(s, fleet_provider(s->reaper->fleet, p->class->name));
    return s->fleet.held && !away && !sweep_github_is_away(s, p->scope);
}

/* Jobs that wait bring their own requests. */
static int request_missing(struct keeping *k, const struct pool *p, struct err *e)
{
    struct sweep *s = k->sweep;
    int64_t idle = p->launching + p->fresh + p->old - p->demand;
    int64_t missing = needed(p) - (idle > 0 ? idle : 0);
    int64_t credited = missing < k->messages ? missing : k->messages;
    int64_t put = 0;
    if (missing <= 0 || !may_launch(s, p)) {
        return 0;
    }
    k->messages -= credited;
    struct reaper_idle_pool *m = find_memory(s, p);
    int64_t allowed = count_allowed(m, p);
    int failed = 0;
    while (put < missing - credited && put < k->slots && put < allowed && failed == 0 &&
           sweep_still_holds(s, NULL)) {
        failed = publish_request(s, p, e);
        put += failed == 0;
    }
    m->requested += put;
    k->slots -= put;
    if (put > 0) {
        log_info("idle_vms_requested", LOG_STR("class", p->class->name), LOG_STR("scope", p->scope),
                 LOG_INT("requests", put), LOG_INT("idle", p->fresh + p->old),
                 LOG_INT("wanted", p->wanted));
    }
    return failed;
}

/* --- unwanted ones --- */

static const struct config_class *class_of_unwanted(const struct sweep *s,
                                                    const struct ledger_vm *vm)
{
    const struct config_class *class = config_class_by_name(s->config, slice_of(vm->class_name));
    bool of_set = slice_starts_with(scope_group(vm->scope), SLICE("set:"));
    bool unwanted = class != NULL && vm->state == VM_LAUNCHED && vm->for_job == 0 && !of_set &&
                    config_min_idle(class, vm->scope, s->now_ms) == 0;
    return unwanted ? class : NULL;
}

static bool is_first(const struct sweep *s, size_t i)
{
    const struct ledger_vm *vm = &s->vms[i];
    for (size_t k = 0; k < i; k++) {
        if (strcmp(s->vms[k].scope, vm->scope) == 0 &&
            strcmp(s->vms[k].class_name, vm->class_name) == 0 &&
            class_of_unwanted(s, &s->vms[k]) != NULL) {
            return false;
        }
    }
    return true;
}

static int end_unwanted(struct keeping *k, struct err *e)
{
    struct sweep *s = k->sweep;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct config_class *class = class_of_unwanted(s, &s->vms[i]);
        if (class == NULL || !is_first(s, i)) {
            continue;
        }
        if (sweep_read_pauses(s, e) != 0 || sweep_read_balances(s, e) != 0) {
            return -1;
        }
        if (!sweep_class_is_paused(s, class->name)) {
            const struct pool p = measure_pool(s, class, s->vms[i].scope);
            (void)end_vms(k, &p, p.fresh + p.old - p.demand, "unwanted",
                          "idle: none is kept any more");
        }
    }
    return 0;
}

/* --- the task --- */

static int keep_class(struct keeping *k, const struct config_class *class, struct err *e)
{
    struct sweep *s = k->sweep;
    const struct config_list *scopes = &class->min_idle.scopes;
    int failed = 0;
    k->messages = count_messages(s, class);
    k->slots = sweep_free_slots(s, class);
    for (size_t i = 0; i < scopes->count; i++) {
        const struct pool p = measure_pool(s, class, scopes->items[i]);
        int64_t blocked = count_blocked_jobs(s, class) - k->given;
        if (blocked > 0) {
            make_room(k, &p, blocked);
            continue;
        }
        replace_old(k, &p);
        failed = !has_yielded(s) && request_missing(k, &p, e) != 0 ? -1 : failed;
    }
    return failed;
}

int sweep_idle_vms(struct sweep *s, int64_t *repairs, struct err *e)
{
    struct keeping k = {.sweep = s};
    int failed = 0;
    (void)repairs; /* nothing was wrong */
    for (size_t i = 0; i < s->config->class_count; i++) {
        const struct config_class *class = &s->config->classes[i];
        if (config_idle_wanted(class, s->now_ms) == 0) {
            continue;
        }
        if (sweep_read_pauses(s, e) != 0 || sweep_read_balances(s, e) != 0) {
            return -1;
        }
        if (!sweep_class_is_paused(s, class->name) && keep_class(&k, class, e) != 0) {
            failed = err_wrap(e, "idle VMs of class %s", class->name);
        }
    }
    return end_unwanted(&k, e) != 0 ? -1 : failed;
}
