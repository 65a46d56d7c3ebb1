/*
 * The leases of a sweep, and the fence before each irreversible step.
 *
 * A lease alone does not stop a process that was frozen while it held it: the process resumes with
 * rows that it read long ago, while another one sweeps. So the time since the lease was requested
 * is measured again before each such step, by every clock (monotonic time stops while the host is
 * suspended, boot time while a guest is paused, and the wall clock is set afterwards): the largest
 * difference counts. A lease that is granted with another fence than the sweep began with was held
 * by another process in between, so the sweep's data is stale: the sweep ends. What remains is a
 * freeze between this check and the step itself, within microseconds, and every step may be
 * repeated.
 */
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "reaper/metrics/fleet.h"

/* Advances while the host is suspended. */
static int64_t boot_ms(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_BOOTTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct sweep_moment sweep_moment_now(void)
{
    return (struct sweep_moment){clock_mono_ms(), boot_ms(), clock_wall_ms()};
}

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t sweep_moment_passed_ms(const struct sweep_moment *since)
{
    struct sweep_moment now = sweep_moment_now();
    int64_t passed = largest(now.mono_ms - since->mono_ms, now.boot_ms - since->boot_ms);
    return largest(passed, now.wall_ms - since->wall_ms);
}

/* Counted from before the request: the store's own count began later. */
static int64_t lease_left_ms(const struct sweep *s, const struct sweep_lease *l)
{
    return s->config->reaper.lease_duration_ms - sweep_moment_passed_ms(&l->requested);
}

static void lose_lease(struct sweep *s, const struct sweep_lease *l, int64_t fence)
{
    s->lost = true;
    metric_inc(metrics_counter("mayfly_reaper_leases_lost_total", ""));
    log_warn("lease_lost", LOG_STR("lease", l->name), LOG_INT("fence", fence),
             LOG_INT("fence_before", l->fence),
             LOG_STR("action", "this sweep stops; the new lease holder continues"));
}

/* If the ledger fails, nothing is held: sweeps pause until it is available. The gauges do no harm: they
 * stay until the lease that was granted last is over. */
static void acquire_or_renew(struct sweep *s, struct sweep_lease *l)
{
    struct err e = {0};
    int64_t fence = 0;
    struct sweep_moment before = sweep_moment_now();
    bool held = false;
    if (ledger_lease(s->reaper->ledger, l->name, s->reaper->holder,
                     s->config->reaper.lease_duration_ms, &held, &fence, &e) != 0) {
        log_warn("lease_check_failed", LOG_STR("lease", l->name), LOG_ERR(&e),
                 LOG_STR("action", "sweeps are paused until the ledger is available"));
        l->held = false;
        return;
    }
    if (l == &s->fleet) {
        fleet_metrics_set_lease(s->reaper->metrics, held ? &before : NULL,
                                s->config->reaper.lease_duration_ms);
    }
    if (l->fence != 0 && (!held || fence != l->fence)) {
        lose_lease(s, l, fence);
    }
    l->held = held && !s->lost;
    l->requested = before;
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

static void acquire_lease(struct sweep *s, struct sweep_lease *l)
{
    acquire_or_renew(s, l);
    if (l->held) {
        signs_begin(l->signs, l->fence);
    }
}

/* Without classes whose VMs are bound to a host, this host's lease is not needed. */
static bool has_host_bound_vms(const struct sweep *s)
{
    for (size_t i = 0; i < s->config->class_count; i++) {
        const struct vm_provider *p = fleet_provider(s->reaper->fleet, s->config->classes[i].name);
        if (p != NULL && vm_host_bound(p)) {
            return true;
        }
    }
    return false;
}

bool sweep_acquire_leases(struct sweep *s)
{
    name_leases(s);
    acquire_lease(s, &s->fleet);
    if (has_host_bound_vms(s)) {
        acquire_lease(s, &s->host);
    }
    return s->fleet.held || s->host.held;
}

struct sweep_lease *sweep_lease_of(struct sweep *s, const struct vm_provider *p)
{
    return p != NULL && vm_host_bound(p) ? &s->host : &s->fleet;
}

/* A lease that was not held when the rows were read is left for the next sweep. One with most of
 * its time left is not renewed: with a slow or distant ledger a sweep that renewed its leases
 * before each task would do little else. */
bool sweep_renew_leases(struct sweep *s)
{
    struct sweep_lease *const leases[] = {&s->fleet, &s->host};
    for (size_t i = 0; i < COUNT_OF(leases); i++) {
        if (!s->lost && leases[i]->held &&
            lease_left_ms(s, leases[i]) * 3 < s->config->reaper.lease_duration_ms * 2) {
            acquire_or_renew(s, leases[i]);
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
    if (lease_left_ms(s, l) * 3 < s->config->reaper.lease_duration_ms) {
        acquire_or_renew(s, l);
    }
    return !s->lost && l->held && lease_left_ms(s, l) > 0;
}
