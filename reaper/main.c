/*
 * mayfly-reaper: terminates VMs that outlive their time and repairs what was lost.
 *
 *   open: queue, ledger, GitHub, VM providers; start: the pull thread, those of
 *   scale sets, the sweep thread
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/liveness.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/program/claim.h"
#include "common/program/program.h"
#include "common/program/reload.h"
#include "common/program/stores.h"
#include "reaper/metrics/fleet.h"
#include "reaper/pull/pull.h"
#include "reaper/scale_sets/scale_sets.h"

struct mayfly_reaper {
    struct reaper reaper;
    struct stores stores;    /* the reaper's members, as they were opened */
    struct threads sweeper;  /* one, or none yet */
    struct pull *pull;       /* NULL: no delivery log is pulled */
    struct scale_sets *sets; /* NULL: there are none */
};

static void name_holder(struct reaper *r)
{
    char unique[17];
    random_hex(unique, 8);
    (void)snprintf(r->holder, sizeof r->holder, "%.32s/%s", fleet_host(r->fleet), unique);
}

static int open_reaper(void *self, struct config_live *live, const struct config *c, struct err *e)
{
    struct mayfly_reaper *m = self;
    struct stores *s = &m->stores;
    wakeup_init(&m->reaper.stop);
    if (stores_open(c, "mayfly-reaper", s, e) != 0) {
        return -1;
    }
    m->reaper.config = live;
    m->reaper.queue = s->queue;
    m->reaper.ledger = s->ledger;
    m->reaper.github = s->github;
    m->reaper.fleet = s->fleet;
    m->reaper.circuits = circuits_new(s->ledger);
    name_holder(&m->reaper);
    m->reaper.metrics = fleet_metrics_new(&m->reaper);
    m->pull = pull_new(&m->reaper);
    m->sets = scale_sets_new(&m->reaper);
    return 0;
}

static void close_reaper(void *self)
{
    struct mayfly_reaper *m = self;
    scale_sets_free(m->sets);
    pull_free(m->pull);
    fleet_metrics_free(m->reaper.metrics);
    signs_fini(&m->reaper.fleet_signs);
    signs_fini(&m->reaper.host_signs);
    free(m->reaper.rows);
    free(m->reaper.scans);
    reaper_free_recovery(&m->reaper);
    reaper_free_lost_jobs(&m->reaper);
    reaper_free_targets(&m->reaper);
    circuits_free(m->reaper.circuits);
    stores_close(&m->stores);
    wakeup_fini(&m->reaper.stop);
    *m = (struct mayfly_reaper){0};
}

static void *sweep_until_stopped(void *arg)
{
    struct reaper *r = arg;
    int64_t interval_ms;
    liveness_enter("the sweep thread", LIVENESS_LIMIT_MS);
    do {
        liveness_beat();
        sweep(r);
        const struct config *c = config_live_get(r->config);
        /* Jitter keeps several reapers from requesting the lease at the same moment. */
        interval_ms = c->reaper.interval_ms;
        interval_ms += (int64_t)random_below((uint64_t)interval_ms / 10 + 1);
        config_live_put(r->config, c);
    } while (!wakeup_sleep(&r->stop, interval_ms));
    liveness_leave();
    return NULL;
}

static int start_reaper(void *self, const struct config *c, struct err *e)
{
    struct mayfly_reaper *m = self;
    const struct presence_classes classes = stores_classes(&m->stores, c);
    bool stopped = false;
    if (presence_start(m->reaper.ledger, "mayfly-reaper", &m->stores.host, &classes,
                       &m->reaper.presence, e) != 0 ||
        host_claim(m->reaper.ledger, m->reaper.presence, &stopped, e) != 0) {
        return -1;
    }
    if (stopped) {
        return 0;
    }
    if (fleet_metrics_start(m->reaper.metrics, e) != 0 || pull_start(m->pull, e) != 0 ||
        scale_sets_start(m->sets, e) != 0) {
        return -1;
    }
    return threads_start(&m->sweeper, 1, "the sweep thread", sweep_until_stopped, &m->reaper, e);
}

static void drain_reaper(void *self, int64_t timeout_ms)
{
    struct mayfly_reaper *m = self;
    (void)timeout_ms; /* program_main ends the process after that time */
    wakeup_raise(&m->reaper.stop);
    fleet_interrupt(m->reaper.fleet);
    threads_join(&m->sweeper);
    pull_stop(m->pull);
    scale_sets_stop(m->sets);
    fleet_metrics_stop(m->reaper.metrics);
    reaper_release_leases(&m->reaper);
    presence_stop(m->reaper.presence);
}

static void reload_reaper(void *self)
{
    struct mayfly_reaper *m = self;
    const struct config *c = config_live_get(m->reaper.config);
    reload_stores(&m->stores, m->reaper.presence, c);
    config_live_put(m->reaper.config, c);
}

static bool reaper_is_ready(void *self, struct buf *why)
{
    const struct mayfly_reaper *m = self;
    return stores_ready(&m->stores, why);
}

static void refresh_reaper(void *self)
{
    const struct mayfly_reaper *m = self;
    fleet_metrics_check(m->reaper.metrics);
}

static struct program_settings reaper_settings(const struct config *c)
{
    return (struct program_settings){c->reaper.admin_listen, c->reaper.drain_timeout_ms};
}

int main(int argc, char **argv)
{
    static check_fn *const checks[] = {check_addresses, check_ports,  check_queue,
                                       check_ledger,    check_aws,    vm_check,
                                       check_github,    check_events, NULL};
    static const struct program program = {
        .name = "mayfly-reaper",
        .purpose = "terminates VMs that outlive their time and repairs what was lost",
        .who = CONFIG_FOR_REAPER,
        .checks = checks,
        .settings = reaper_settings,
        .open = open_reaper,
        .start = start_reaper,
        .drain = drain_reaper,
        .close = close_reaper,
        .ready = reaper_is_ready,
        .refresh = refresh_reaper,
        .reloaded = reload_reaper,
    };
    struct mayfly_reaper m = {0};
    vm_use_quotas();
    return program_main(&program, &m, argc, argv);
}
