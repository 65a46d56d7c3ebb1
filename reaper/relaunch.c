/*
 * A job that waits although too few VMs are on their way gets a new launch message. This covers
 * everything that can fail between a launch message and a running job: lost VMs, runners that another
 * job got, removed registrations, lost messages.
 *
 * A launch message is not its job's property: a worker that receives the message of a job that runs
 * already launches for another that waits. So the shortage is counted for a class as a whole: its
 * demand, less its supply, less the messages in its lane. A job whose own message served another
 * needs none as long as there are enough messages, and at a cap the lane is long. The count may err
 * only if several scopes share a class, since a VM of one scope cannot run the other's jobs; in
 * that case a job without a message that has waited OVERDUE_FACTOR times its relaunch_after is
 * relaunched regardless. Where the queue only estimates how many messages there are, a lane that is
 * not empty lacks none: behind a cap all of its jobs wait, and a few percent of them are many.
 *
 * Messages of a repository at its cap launch nothing, so while there is one, each other job's own
 * message decides. The jobs of that repository wait for its slots. Where the queue cannot search,
 * no job's own message is known and the count decides all the same.
 *
 * The shortage is what matters, not how long it lasts: a sweep that sees it launches, unless the job
 * has begun to wait so recently that its message may not be counted yet. But a job is relaunched at
 * most LEDGER_QUICK_RELAUNCHES times so; after that relaunch_after apart. While its VMs go to others,
 * or idle and end, each wait is twice the one before. If they do neither they were lost, and a longer
 * wait would only outlast the fault.
 *
 * A class that an operator has paused lacks nothing: its messages wait in its lane.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/fleet/relaunch_wait.h"
#include "common/job/publish.h"
#include "common/ledger/kinds.h"
#include "common/program/presence.h"
#include "reaper/reaper.h"

#define JOBS_PER_SWEEP                                                                             \
    100 /* that are checked, of one (scope, class); each costs a request to GitHub */
#define JOBS_LOOKED_AT 1000 /* of the waiting ones, most of which may need nothing */
#define OVERDUE_FACTOR 10

int64_t sweep_relaunch_after_ms(const struct sweep *s, const struct config_class *class)
{
    return fleet_relaunch_after_ms(s->config, class);
}

/* The repositories at their cap, sorted; the names are the rows'. */
struct capped {
    const char **names;
    size_t count;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool can_search(const struct sweep *s)
{
    return queue_can(s->reaper->queue, QUEUE_FIND) && !queue_can(s->reaper->queue, QUEUE_SCANS);
}

/* None where the queue cannot search. */
static void find_capped(const struct sweep *s, struct capped *out)
{
    size_t n = 0;
    int64_t cap = can_search(s) ? s->config->limits.max_vms_per_repository : 0;
    *out = (struct capped){.names = calloc(s->vm_count + 1, sizeof *out->names)};
    ASSERT(out->names != NULL);
    for (size_t i = 0; cap > 0 && i < s->vm_count; i++) {
        if (s->vms[i].state != VM_GONE && s->vms[i].repository[0] != '\0') {
            out->names[n++] = s->vms[i].repository;
        }
    }
    if (n > 1) {
        qsort(out->names, n, sizeof *out->names, compare_texts);
    }
    for (size_t i = 0, same = 0; i < n; i++) {
        const char *name = out->names[i];
        same = i > 0 && strcmp(name, out->names[i - 1]) == 0 ? same + 1 : 1;
        bool is_last = i + 1 == n || strcmp(name, out->names[i + 1]) != 0;
        if (is_last && (int64_t)same >= cap) {
            out->names[out->count++] = name;
        }
    }
}

static bool is_capped(const struct capped *capped, const char *repository)
{
    return capped->count > 0 && bsearch(&repository, capped->names, capped->count,
                                        sizeof *capped->names, compare_texts) != NULL;
}

/* Where a job's own message is. */
enum own {
    OWN_NONE,
    OWN_IN_LANE,    /* ready or delayed: subtract_messages() counted it */
    OWN_OUT_OF_LANE /* a worker has received it, or it is dead-lettered */
};

/* The jobs that VMs without a job were launched for, sorted. */
struct supplied {
    int64_t *jobs;
    size_t count;
};

static int compare_jobs(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static bool is_supply(const struct ledger_vm *vm)
{
    return vm->state == VM_RESERVED || vm->state == VM_REGISTERED || vm->state == VM_LAUNCHED;
}

static void find_supplied(const struct sweep *s, struct supplied *out)
{
    *out = (struct supplied){.jobs = calloc(s->vm_count + 1, sizeof *out->jobs)};
    ASSERT(out->jobs != NULL);
    for (size_t i = 0; i < s->vm_count; i++) {
        if (is_supply(&s->vms[i])) {
            out->jobs[out->count++] = s->vms[i].for_job;
        }
    }
    if (out->count > 1) {
        qsort(out->jobs, out->count, sizeof *out->jobs, compare_jobs);
    }
}

/* Some other job lacks one, then. */
static bool is_supplied(const struct supplied *supplied, int64_t job)
{
    return supplied->count > 0 && bsearch(&job, supplied->jobs, supplied->count,
                                          sizeof *supplied->jobs, compare_jobs) != NULL;
}

/* The launch messages that one class lacks. */
struct shortage {
    const struct config_class *class;
    const struct capped *capped;
    const struct supplied *supplied;
    int64_t missing; /* of all scopes; negative: a surplus */
    int64_t scopes;  /* scopes whose demand exceeds their supply */
    int64_t out;     /* received messages that are not yet assigned to a job */
    int64_t busy_ms; /* of the scope in turn: when a VM last got a job; 0: none of the live ones */
    bool jobless;    /* the class's VMs idle and end */
    bool covered;    /* messages are ready, so slots that are free get used */
};

/* A queue that cannot search returns only how many messages are received: each stands for one
 * job. */
static enum own own_by_count(struct shortage *shortage)
{
    if (shortage->out <= 0) {
        return OWN_NONE;
    }
    shortage->out--;
    return OWN_OUT_OF_LANE;
}

static enum own find_own(struct sweep *s, struct shortage *shortage, const struct ledger_job *job)
{
    struct err e = {0};
    struct queue_entry *entries = NULL;
    size_t n = 0;
    enum own found = OWN_NONE;
    char key[32];
    if (!can_search(s)) {
        return own_by_count(shortage);
    }
    (void)snprintf(key, sizeof key, "%lld", (long long)job->facts.id);
    if (queue_find(s->reaper->queue, key, 8, &entries, &n, &e) != 0) {
        return OWN_IN_LANE;
    }
    for (size_t i = 0; i < n; i++) {
        bool in_lane = entries[i].place == QUEUE_READY || entries[i].place == QUEUE_DELAYED;
        if (launch_lane_class(entries[i].message.lane) != NULL && found != OWN_IN_LANE) {
            found = in_lane ? OWN_IN_LANE : OWN_OUT_OF_LANE;
        }
    }
    queue_entries_free(entries, n);
    return found;
}

static int publish_request(struct sweep *s, const struct ledger_job *job, struct err *e)
{
    struct job_message message;
    struct launch_request request = {
        .reason = "relaunch", .requested_ms = clock_wall_ms(), .job = job->facts};
    memcpy(request.class_name, job->facts.class_name, sizeof request.class_name);
    job_message_of_launch(&request, presence_format(s->reaper->presence), &message);
    int failed = job_publish(s->reaper->queue, &message, e);
    job_message_fini(&message);
    return failed;
}

static int relaunch_job(struct sweep *s, const struct ledger_job *job, struct err *e)
{
    int failed = publish_request(s, job, e);
    if (failed == 0) {
        failed = ledger_job_relaunched(s->reaper->ledger, job->facts.id, e);
    }
    if (failed == 0) {
        log_info("job_relaunched", LOG_INT("job_id", job->facts.id),
                 LOG_STR("class", job->facts.class_name), LOG_STR("scope", job->scope),
                 LOG_INT("waiting_ms", s->now_ms - job->waiting_ms),
                 LOG_INT("relaunches", job->relaunches + 1));
    }
    return failed;
}

static bool any_target_has_room(const struct sweep *s, const struct config_class *class)
{
    bool room = class->target_count == 0;
    for (size_t i = 0; i < class->target_count && !room; i++) {
        const struct config_target *t = &class->targets[i];
        int64_t used = 0;
        for (size_t k = 0; k < s->vm_count; k++) {
            used += s->vms[k].state != VM_GONE && strcmp(s->vms[k].target, t->name) == 0;
        }
        room = t->weight > 0 && (t->max_vms == 0 || used < t->max_vms);
    }
    return room;
}

/* One that this sweep terminated holds none. */
static int64_t count_used(const struct sweep *s, const char *class_name)
{
    int64_t used = 0;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        used +=
            vm->state != VM_GONE && (class_name == NULL || strcmp(vm->class_name, class_name) == 0);
    }
    return used;
}

int64_t sweep_fleet_slots(const struct sweep *s)
{
    return s->config->limits.max_vms - count_used(s, NULL);
}

int64_t sweep_class_slots(const struct sweep *s, const struct config_class *class)
{
    int64_t of_class = class->max_vms - count_used(s, class->name);
    return of_class > 0 && !any_target_has_room(s, class) ? 0 : of_class;
}

int64_t sweep_free_slots(const struct sweep *s, const struct config_class *class)
{
    int64_t of_fleet = sweep_fleet_slots(s);
    int64_t of_class = sweep_class_slots(s, class);
    return of_class < of_fleet ? of_class : of_fleet;
}

/* Messages that were received for VMs of the class that exist already: they are acknowledged when the
 * VM's launch is over. */
static int64_t count_launching(const struct sweep *s, const struct config_class *class)
{
    int64_t n = 0;
    for (size_t i = 0; i < s->vm_count; i++) {
        bool launching = s->vms[i].state == VM_RESERVED || s->vms[i].state == VM_REGISTERED;
        n += launching && strcmp(s->vms[i].class_name, class->name) == 0;
    }
    return n;
}

/* Messages in the lane reduce the shortage. If the queue cannot count them, each job's own message
 * decides. */
static void subtract_messages(const struct sweep *s, struct shortage *shortage)
{
    struct err e = {0};
    struct queue_depth *depths = NULL;
    size_t n = 0;
    char lane[LAUNCH_LANE_SIZE];
    if (queue_depths(s->reaper->queue, launch_lane(shortage->class->name, lane), &depths, &n, &e) !=
        0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        shortage->missing -= depths[i].ready + depths[i].delayed;
        shortage->out += depths[i].leased;
        shortage->covered = shortage->covered || depths[i].ready > 0;
    }
    free(depths);
    shortage->out -= count_launching(s, shortage->class);
}

/* No VM of the class has got a job lately: they idle, and end. */
static bool is_jobless(const struct sweep *s, const struct config_class *class)
{
    struct err e = {0};
    char name[LEDGER_CELL_NAME];
    int64_t count = 0;
    (void)snprintf(name, sizeof name, LEDGER_COUNTER_JOBLESS "%s", class->name);
    return ledger_counter_get(s->reaper->ledger, name, &count, &e) == 0 &&
           count >= LEDGER_QUICK_RELAUNCHES;
}

static int64_t last_busy_ms(const struct sweep *s, const struct ledger_balance *b)
{
    int64_t last = 0;
    for (size_t i = 0; i < s->vm_count; i++) {
        const struct ledger_vm *vm = &s->vms[i];
        if (vm->busy_ms > last && strcmp(vm->class_name, b->class_name) == 0 &&
            strcmp(vm->scope, b->scope) == 0) {
            last = vm->busy_ms;
        }
    }
    return last;
}

static int64_t quick_after_ms(const struct sweep *s, const struct config_class *class)
{
    return fleet_relaunch_quick_ms(s->config, class, s->reaper->queue);
}

static bool has_waited(const struct sweep *s, const struct shortage *shortage,
                       const struct ledger_job *job)
{
    bool in_vain = shortage->jobless || shortage->busy_ms >= job->relaunched_ms;
    int64_t wait_ms = fleet_relaunch_wait_ms(job, quick_after_ms(s, shortage->class),
                                             sweep_relaunch_after_ms(s, shortage->class), in_vain);
    return s->now_ms - fleet_relaunch_since_ms(job) >= wait_ms;
}

/* Whether a job without a message of its own is to be relaunched. */
static bool is_due(const struct sweep *s, const struct shortage *shortage,
                   const struct ledger_job *job)
{
    if (is_capped(shortage->capped, job->facts.repository) ||
        is_supplied(shortage->supplied, job->facts.id) || !has_waited(s, shortage, job)) {
        return false;
    }
    if (shortage->capped->count > 0) {
        return true;
    }
    int64_t overdue_ms = s->now_ms - OVERDUE_FACTOR * sweep_relaunch_after_ms(s, shortage->class);
    return shortage->missing > 0 || (shortage->scopes > 1 && job->waiting_ms < overdue_ms);
}

/* Each VM may be an older job's. */
static size_t jobs_to_look_at(int64_t supply)
{
    return supply < JOBS_LOOKED_AT - JOBS_PER_SWEEP ? (size_t)supply + JOBS_PER_SWEEP
                                                    : JOBS_LOOKED_AT;
}

static int relaunch_scope(struct sweep *s, const struct ledger_balance *b,
                          struct shortage *shortage, int64_t *repairs, struct err *e)
{
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    int failed = 0;
    int64_t missing = b->demand - b->supply;
    bool capped = shortage->capped->count > 0;
    if (missing <= 0 || (shortage->missing <= 0 && shortage->scopes < 2 && !capped)) {
        return 0;
    }
    if (ledger_jobs_waiting(s->reaper->ledger, b->scope, b->class_name,
                            s->now_ms - quick_after_ms(s, shortage->class),
                            capped ? JOBS_LOOKED_AT : jobs_to_look_at(b->supply), &jobs, &n,
                            e) != 0) {
        return -1;
    }
    shortage->busy_ms = last_busy_ms(s, b);
    int64_t checks = 0;
    for (size_t i = 0; i < n && missing > 0 && failed == 0 && checks < JOBS_PER_SWEEP; i++) {
        enum own own =
            is_due(s, shortage, &jobs[i]) ? find_own(s, shortage, &jobs[i]) : OWN_IN_LANE;
        if (own == OWN_IN_LANE) {
            continue;
        }
        /* In any case: a job that no longer waits was counted as demand. */
        shortage->missing--;
        missing--;
        checks++;
        enum job_status status =
            own == OWN_OUT_OF_LANE ? JOB_STATUS_NOT_WAITING : sweep_job_status(s, &jobs[i]);
        if (status == JOB_STATUS_NOT_WAITING || status == JOB_STATUS_UNKNOWN) {
            continue; /* if the status is unavailable, launch: a surplus VM idles out */
        }
        if (!sweep_still_holds(s, NULL)) {
            break;
        }
        failed = relaunch_job(s, &jobs[i], e);
        *repairs += failed == 0 ? 1 : 0;
    }
    free(jobs);
    return failed;
}

static bool is_of(const struct ledger_balance *b, const struct config_class *class)
{
    return strcmp(b->class_name, class->name) == 0;
}

static int relaunch_class(struct sweep *s, struct shortage *shortage, int64_t *repairs,
                          struct err *e)
{
    int failed = 0;
    for (size_t i = 0; i < s->balance_count; i++) {
        const struct ledger_balance *b = &s->balances[i];
        if (is_of(b, shortage->class) && b->demand > b->supply) {
            shortage->missing += b->demand - b->supply;
            shortage->scopes++;
        }
    }
    if (shortage->covered && !queue_can(s->reaper->queue, QUEUE_DEPTHS)) {
        shortage->missing = shortage->missing < 0 ? shortage->missing : 0;
    }
    shortage->jobless = shortage->missing > 0 && is_jobless(s, shortage->class);
    for (size_t i = 0; i < s->balance_count && shortage->scopes > 0; i++) {
        const struct ledger_balance *b = &s->balances[i];
        if (is_of(b, shortage->class) && relaunch_scope(s, b, shortage, repairs, e) != 0) {
            failed = err_wrap(e, "relaunch of jobs of %s, class %s", b->scope, b->class_name);
        }
    }
    return failed;
}

int sweep_relaunch(struct sweep *s, int64_t *repairs, struct err *e)
{
    size_t n = 0;
    int failed = 0;
    struct capped capped;
    struct supplied supplied;
    if (sweep_read_pauses(s, e) != 0) {
        return -1;
    }
    struct shortage *shortages = calloc(s->config->class_count, sizeof *shortages);
    ASSERT(shortages != NULL);
    find_capped(s, &capped);
    find_supplied(s, &supplied);
    /* All messages before the balances (see sweep_read_balances). */
    for (size_t i = 0; i < s->config->class_count; i++) {
        const struct config_class *class = &s->config->classes[i];
        /* At a cap a job waits for a slot and needs no second message. */
        if (sweep_free_slots(s, class) > 0 && !sweep_class_is_paused(s, class->name)) {
            shortages[n].class = class;
            shortages[n].capped = &capped;
            shortages[n].supplied = &supplied;
            subtract_messages(s, &shortages[n++]);
        }
    }
    failed = n > 0 ? sweep_read_balances(s, e) : 0;
    for (size_t i = 0; i < n && s->balances_read; i++) {
        failed = relaunch_class(s, &shortages[i], repairs, e) != 0 ? -1 : failed;
    }
    free(capped.names);
    free(supplied.jobs);
    free(shortages);
    return failed;
}
