#include "reaper/metrics/launchable.h"

#include <stdlib.h>
#include <string.h>

#include "common/fleet/caps.h"
#include "common/fleet/places.h"

#define JOBS_READ 100 /* of each scope; younger ones are taken to be held by nothing of their own */
#define CLOCKS_DIFFER_MS 60000
#define SCOPES_READ 10 /* of each class; of further ones no job is read */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t free_slots(const struct launchable_query *q)
{
    return smaller(q->class->max_vms - q->class_used, q->config->limits.max_vms - q->fleet_used);
}

/* A circuit whose next probe is due lets one launch pass, which is no reason to count all that wait
 * for it as launchable. `job`: NULL, or whose scope counts too. */
static bool is_stopped_at(const struct launchable_query *q, const struct config_class *place,
                          const struct ledger_job *job)
{
    struct subjects s = {0};
    const struct vm_provider *p = fleet_provider(q->reaper->fleet, place->name);
    if (place->target != NULL && place->target->weight == 0) {
        return true;
    }
    if (p != NULL) {
        subjects_of_class(place, p, fleet_host(q->reaper->fleet), &s);
    }
    if (job != NULL) {
        const struct github_scope scope = github_scope_of(q->config, q->class, &job->facts);
        const char *group =
            scope.group[0] != '\0' ? scope.group : config_class_group(q->config, q->class);
        subjects_add_scope(&scope, q->class, group, job->facts.repository, &s);
    }
    return circuits_stop_of(q->reaper->circuits, &s).open;
}

static bool is_stopped(const struct launchable_query *q, const struct ledger_job *job)
{
    const struct config_class *const *places = NULL;
    size_t n = config_launch_places(q->config, q->class, &places);
    bool stopped = true;
    for (size_t i = 0; i < n && stopped; i++) {
        stopped = is_stopped_at(q, places[i], job);
    }
    return stopped;
}

static int64_t vms_of(const struct launchable_query *q, const char *repository)
{
    for (size_t i = 0; i < q->repositories->count; i++) {
        if (strcmp(q->repositories->list[i].name, repository) == 0) {
            return q->repositories->list[i].vms;
        }
    }
    return 0;
}

static bool is_held(const struct launchable_query *q, const struct ledger_job *job)
{
    int64_t cap = q->config->limits.max_vms_per_repository;
    return (cap > 0 && vms_of(q, job->facts.repository) >= cap) || is_stopped(q, job);
}

/* The VMs on their way are for the oldest jobs that nothing holds. */
static void count_jobs(const struct launchable_query *q, const struct ledger_balance *b,
                       const struct ledger_job *jobs, size_t n, struct launchable *out)
{
    int64_t supply = b->supply;
    int64_t held = 0;
    int64_t now_ms = ledger_now_ms(q->reaper->ledger);
    for (size_t i = 0; i < n; i++) {
        int64_t waited_ms = now_ms - jobs[i].waiting_ms;
        if (is_held(q, &jobs[i])) {
            held++;
        } else if (supply > 0) {
            supply--;
        } else if (waited_ms > out->oldest_wait_ms) {
            out->oldest_wait_ms = waited_ms;
        }
    }
    int64_t more = b->demand - held - b->supply;
    out->jobs += more > 0 ? more : 0;
}

static int count_scope(const struct launchable_query *q, const struct ledger_balance *b,
                       struct launchable *out, struct err *e)
{
    struct ledger_job *jobs = NULL;
    size_t n = 0;
    int64_t before_ms = ledger_now_ms(q->reaper->ledger) + CLOCKS_DIFFER_MS;
    if (ledger_jobs_waiting(q->reaper->ledger, b->scope, b->class_name, before_ms, JOBS_READ, &jobs,
                            &n, e) != 0) {
        return -1;
    }
    count_jobs(q, b, jobs, n, out);
    free(jobs);
    return 0;
}

static int count_scopes(const struct launchable_query *q, struct launchable *out, struct err *e)
{
    size_t read = 0;
    for (size_t i = 0; i < q->balance_count; i++) {
        const struct ledger_balance *b = &q->balances[i];
        if (strcmp(b->class_name, q->class->name) != 0 || b->demand <= b->supply) {
            continue;
        }
        if (read++ >= SCOPES_READ) {
            out->jobs += b->demand - b->supply;
        } else if (count_scope(q, b, out, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static bool has_backlog(const struct launchable_query *q)
{
    for (size_t i = 0; i < q->balance_count; i++) {
        const struct ledger_balance *b = &q->balances[i];
        if (strcmp(b->class_name, q->class->name) == 0 && b->demand > b->supply) {
            return true;
        }
    }
    return false;
}

/* Whether the class may launch now, and so may one of its targets. */
static int look_at_rates(const struct launchable_query *q, bool *has_token, struct err *e)
{
    struct reaper *r = q->reaper;
    struct ledger_capacity capacity;
    struct places_choice choice;
    const struct places_query any = {.fleet = r->fleet,
                                     .ledger = r->ledger,
                                     .circuits = r->circuits,
                                     .config = q->config,
                                     .class = q->class};
    struct ledger_caps caps = fleet_shared_caps(q->config, q->class);
    if (ledger_capacity(r->ledger, q->class->name, &caps, &capacity, e) != 0 ||
        places_choose(&any, &choice, e) != 0) {
        return -1;
    }
    *has_token = capacity.rate_wait_ms == 0 && choice.hold == PLACES_NOTHING;
    return 0;
}

int launchable_count(const struct launchable_query *q, struct launchable *out, struct err *e)
{
    bool has_token = false;
    *out = (struct launchable){0};
    if (q->paused || free_slots(q) <= 0 || !has_backlog(q)) {
        return 0;
    }
    circuits_refresh(q->reaper->circuits);
    if (is_stopped(q, NULL)) {
        return 0;
    }
    if (look_at_rates(q, &has_token, e) != 0) {
        return -1;
    }
    if (!has_token) {
        return 0;
    }
    struct launchable found = {0};
    if (count_scopes(q, &found, e) != 0) {
        return -1;
    }
    found.jobs = smaller(found.jobs, free_slots(q));
    found.oldest_wait_ms = found.jobs > 0 ? found.oldest_wait_ms : 0;
    *out = found;
    return 0;
}
