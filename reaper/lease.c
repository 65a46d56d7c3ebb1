/*
 * The leases of a sweep, and the fence before each act.
 *
 * A lease alone does not stop a process that was frozen while it held it: it wakes up and goes on
 * where it was, with rows it read long ago, while another one sweeps. So before every act the time
 * since the lease was asked for is measured anew, by each clock there is (monotonic time stands
 * still while a machine is suspended, boot time while a guest is paused, and the wall clock is set
 * afterwards): the one that moved most counts. A lease that comes back with another fence than the
 * sweep began with was somebody else's in between, so what the sweep knows is worth nothing: it
 * ends. What remains is a freeze between this look and the act itself, a matter of microseconds,
 * and every act is one that may be repeated.
 */
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "reaper/reaper.h"

/* Goes on while the machine is suspended. */
static int64_t boot_ms(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_BOOTTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static struct sweep_moment moment(void)
{
    return (struct sweep_moment){clock_mono_ms(), boot_ms(), clock_wall_ms()};
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Counted from before the lease was asked for: the store's own count began later. */
static int64_t left_ms(const struct sweep *s, const struct sweep_lease *l)
{
    struct sweep_moment now = moment();
    int64_t passed = largest(now.mono_ms - l->asked.mono_ms, now.boot_ms - l->asked.boot_ms);
    passed = largest(passed, now.wall_ms - l->asked.wall_ms);
    return s->config->reaper.lease_duration_ms - passed;
}

static void lose(struct sweep *s, const struct sweep_lease *l, int64_t fence)
{
    s->lost = true;
    metric_inc(metrics_counter("mayfly_reaper_leases_lost_total", ""));
    log_warn("lease_lost", LOG_STR("lease", l->name), LOG_INT("fence", fence),
             LOG_INT("fence_before", l->fence),
             LOG_STR("action", "this sweep stops; the new lease holder continues"));
}

/* Takes or renews. Without an answer nothing is held: the sweep rests until the ledger is back. */
static void ask(struct sweep *s, struct sweep_lease *l)
{
    struct err e = {0};
    int64_t fence = 0;
    struct sweep_moment before = moment();
    bool held = false;
    if (ledger_lease(s->reaper->ledger, l->name, s->reaper->holder,
                     s->config->reaper.lease_duration_ms, &held, &fence, &e) != 0) {
        log_warn("lease_check_failed", LOG_STR("lease", l->name), LOG_ERR(&e),
                 LOG_STR("action", "sweeps are paused until the ledger is available"));
        l->held = false;
        return;
    }
    if (l->fence != 0 && (!held || fence != l->fence)) {
        lose(s, l, fence);
    }
    l->held = held && !s->lost;
    l->asked = before;
    if (l->held) {
        l->fence = fence;
    }
}

static void name_leases(struct sweep *s)
{
    (void)snprintf(s->fleet.name, sizeof s->fleet.name, "sweep");
    int n = snprintf(s->host.name, sizeof s->host.name, "sweep/%s", fleet_host(s->reaper->fleet));
    ASSERT(n > 0);
    s->fleet.signs = &s->reaper->fleet_signs;
    s->host.signs = &s->reaper->host_signs;
}

void reaper_release_leases(struct reaper *r)
{
    struct sweep s = {.reaper = r};
    struct err e = {0};
    name_leases(&s);
    if (ledger_lease_release(r->ledger, s.fleet.name, r->holder, &e) != 0 ||
        ledger_lease_release(r->ledger, s.host.name, r->holder, &e) != 0) {
        log_warn("lease_release_failed", LOG_ERR(&e),
                 LOG_STR("action", "the lease expires by itself"));
    }
}

static void take(struct sweep *s, struct sweep_lease *l)
{
    ask(s, l);
    if (l->held) {
        signs_begin(l->signs, l->fence);
    }
}

/* Where no class has machines that are bound to a host, there is nothing of this host's to sweep.
 */
static bool has_machines_here(const struct sweep *s)
{
    for (size_t i = 0; i < s->config->class_count; i++) {
        const struct vm_provider *p = fleet_provider(s->reaper->fleet, s->config->classes[i].name);
        if (p != NULL && vm_host_bound(p)) {
            return true;
        }
    }
    return false;
}

bool sweep_take_leases(struct sweep *s)
{
    name_leases(s);
    take(s, &s->fleet);
    if (has_machines_here(s)) {
        take(s, &s->host);
    }
    return s->fleet.held || s->host.held;
}

struct sweep_lease *sweep_lease_of(struct sweep *s, const struct vm_provider *p)
{
    return p != NULL && vm_host_bound(p) ? &s->host : &s->fleet;
}

/* A lease that was not ours when the rows were read is left for the next sweep. One that has most
 * of its time left is not asked for: where the ledger is far away, or answers slowly, a sweep that
 * renewed its leases before each task would do little else. */
bool sweep_renew_leases(struct sweep *s)
{
    struct sweep_lease *const leases[] = {&s->fleet, &s->host};
    for (size_t i = 0; i < COUNT_OF(leases); i++) {
        if (!s->lost && leases[i]->held &&
            left_ms(s, leases[i]) * 3 < s->config->reaper.lease_duration_ms * 2) {
            ask(s, leases[i]);
        }
    }
    return !s->lost && (s->fleet.held || s->host.held);
}

bool sweep_still_holds(struct sweep *s, const struct vm_provider *p)
{
    struct sweep_lease *l = sweep_lease_of(s, p);
    if (s->lost || !l->held) {
        return false;
    }
    if (left_ms(s, l) * 3 < s->config->reaper.lease_duration_ms) {
        ask(s, l);
    }
    return !s->lost && l->held && left_ms(s, l) > 0;
}
