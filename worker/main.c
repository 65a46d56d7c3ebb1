/*
 * mayfly-worker: receives jobs from the queue and launches a VM for each, within all limits.
 *
 *   first: the launcher, a process of its own, while there is one thread
 *   open:  queue, ledger, GitHub, VM providers
 *   start: heartbeat, terminators, event consumers, launch threads, the watch of VMs' networks
 */

#include <unistd.h>

#include "common/base/log.h"
#include "common/base/protect.h"
#include "common/program/claim.h"
#include "common/program/program.h"
#include "common/program/reload.h"
#include "common/program/stores.h"
#include "worker/events.h"
#include "worker/former_classes.h"
#include "worker/launch_pool.h"
#include "worker/launcher/launcher.h"
#include "worker/neighbours.h"
#include "worker/terminators.h"
#include "worker/vm_watch.h"
#include "worker/worker.h"

struct mayfly_worker {
    struct worker worker;
    struct stores stores; /* the worker's members, as they were opened */
    struct events *events;
    struct launch_pool *launches;
    struct vm_watch *vm_watch;
    struct launcher launcher;
};

static void give_vms_users(struct mayfly_worker *m, const struct config *c)
{
    int64_t landlock = protect_landlock_abi();
    if (!vm_watch_needed(&m->worker)) {
        launcher_close(&m->launcher);
    } else if (launcher_open(&m->launcher, c->worker.vm_uids)) {
        log_info("vms_have_users", LOG_STR("uids", c->worker.vm_uids),
                 LOG_INT("landlock_abi", landlock));
    } else {
        log_warn("vms_share_user", LOG_INT("uid", (int64_t)geteuid()),
                 LOG_STR("reason", m->launcher.why), LOG_INT("landlock_abi", landlock),
                 LOG_STR("action", "a VM whose emulator is taken over is kept from this user's "
                                   "files and processes by landlock and seccomp alone"));
    }
}

/* GitHub gives an organization's VMs to any repository of their runner group. */
static void warn_of_loose_caps(const struct config *c)
{
    if (c->limits.max_vms_per_repository > 0 &&
        (config_uses_scope(c, CONFIG_ORGANIZATION) || config_uses_scope(c, CONFIG_ENTERPRISE))) {
        log_warn(
            "repository_cap_best_effort",
            LOG_INT("max_vms_per_repository", c->limits.max_vms_per_repository),
            LOG_STR("reason", "runners register with an organization, and GitHub gives them to "
                              "any repository that their runner group admits"),
            LOG_STR("action", "for a cap that holds, let classes have the scope repository, or "
                              "give the repository a runner group of its own in "
                              "github.groups"));
    }
}

static int open_worker(void *self, struct config_live *live, const struct config *c, struct err *e)
{
    struct mayfly_worker *m = self;
    struct stores *s = &m->stores;
    wakeup_init(&m->worker.intake);
    wakeup_init(&m->worker.working);
    if (stores_open(c, "mayfly-worker", s, e) != 0) {
        return -1;
    }
    m->worker.config = live;
    m->worker.queue = s->queue;
    m->worker.ledger = s->ledger;
    m->worker.github = s->github;
    m->worker.fleet = s->fleet;
    m->worker.circuits = circuits_new(s->ledger);
    m->worker.pauses = pauses_new(s->ledger);
    m->worker.images = class_images_new(s->ledger);
    give_vms_users(m, c);
    return 0;
}

static void close_worker(void *self)
{
    struct mayfly_worker *m = self;
    circuits_free(m->worker.circuits);
    m->worker.circuits = NULL;
    pauses_free(m->worker.pauses);
    m->worker.pauses = NULL;
    class_images_free(m->worker.images);
    m->worker.images = NULL;
    stores_close(&m->stores);
    wakeup_fini(&m->worker.working);
    wakeup_fini(&m->worker.intake);
}

static void wake_lanes(void *arg)
{
    struct worker *w = arg;
    wakeup_signal(&w->intake);
}

static int start_worker(void *self, const struct config *c, struct err *e)
{
    struct mayfly_worker *m = self;
    struct worker *w = &m->worker;
    ledger_watch_releases(w->ledger, wake_lanes, w);
    const struct presence_classes classes = stores_classes(&m->stores, c);
    bool stopped = false;
    if (presence_start(w->ledger, "mayfly-worker", &m->stores.host, &classes, &w->presence, e) !=
            0 ||
        host_claim(w->ledger, w->presence, &stopped, e) != 0) {
        return -1;
    }
    if (stopped) {
        return 0;
    }
    if (terminators_start(w, (size_t)c->worker.terminate_threads, &w->terminators, e) != 0 ||
        events_start(w, (size_t)c->worker.event_consumer_threads, &m->events, e) != 0 ||
        launch_pool_start(w, c, &m->launches, e) != 0 || vm_watch_start(w, &m->vm_watch, e) != 0) {
        return -1;
    }
    (void)neighbours_check(w, c);
    warn_of_loose_caps(c);
    (void)former_classes_check(w, c);
    return 0;
}

/* Intake first; launches in flight finish; the terminators last, since they release slots for
 * others. */
static void drain_worker(void *self, int64_t timeout_ms)
{
    struct mayfly_worker *m = self;
    (void)timeout_ms; /* program_main ends the process after that time */
    worker_stop_intake(&m->worker);
    launch_pool_join(m->launches);
    events_join(m->events);
    wakeup_raise(&m->worker.working);
    fleet_interrupt(m->worker.fleet);
    terminators_join(m->worker.terminators);
    vm_watch_join(m->vm_watch);
    presence_stop(m->worker.presence);
}

static void reload_worker(void *self)
{
    struct mayfly_worker *m = self;
    struct err e = {0};
    const struct config *c = config_live_get(m->worker.config);
    reload_stores(&m->stores, m->worker.presence, c);
    /* Without launches it was stopped before it began. */
    if (m->launches != NULL && launch_pool_reload(m->launches, c, &e) != 0) {
        log_warn("config_restart_required", LOG_ERR(&e),
                 LOG_STR("action", "its jobs wait for other workers or for the restart"));
    }
    config_live_put(m->worker.config, c);
}

static bool worker_is_ready(void *self, struct buf *why)
{
    const struct mayfly_worker *m = self;
    return stores_ready(&m->stores, why);
}

static struct program_settings worker_settings(const struct config *c)
{
    return (struct program_settings){c->worker.admin_listen, c->worker.drain_timeout_ms};
}

int main(int argc, char **argv)
{
    static check_fn *const checks[] = {check_addresses, check_ports, check_queue, check_ledger,
                                       check_slot_poll, check_aws,   vm_check,    check_github,
                                       check_events,    NULL};
    static const struct program program = {
        .name = "mayfly-worker",
        .purpose = "receives GitHub Actions jobs from the queue and launches a VM for each",
        .who = CONFIG_FOR_WORKER,
        .checks = checks,
        .settings = worker_settings,
        .open = open_worker,
        .start = start_worker,
        .drain = drain_worker,
        .close = close_worker,
        .ready = worker_is_ready,
        .reloaded = reload_worker,
    };
    struct mayfly_worker m = {0};
    launcher_fork(&m.launcher);
    vm_use_quotas();
    return program_main(&program, &m, argc, argv);
}
