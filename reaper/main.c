/*
 * mayfly-reaper: ends VMs that outlive their time and repairs what was lost.
 */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/check/check.h"
#include "common/config/program.h"
#include "common/http/admin.h"
#include "reaper/reaper.h"

static int check_online(const struct config *c, bool json)
{
    static check_fn *const checks[] = {check_queue,  check_ledger, check_aws,
                                       check_lambda, check_github, NULL};
    return check_all(c, checks, json, stdout);
}

static const struct program program = {
    .name = "mayfly-reaper",
    .purpose = "ends VMs that outlive their time and repairs what was lost",
    .who = CONFIG_FOR_REAPER,
    .check_online = check_online,
};

static int open_stores(struct reaper *r, const struct config *c, struct err *e)
{
    if (queue_open(c->queue, &r->queue, e) != 0 || ledger_open(c->ledger, &r->ledger, e) != 0 ||
        github_open(c, r->ledger, &r->github, e) != 0 ||
        fleet_open(c, r->ledger, r->github, &r->fleet, e) != 0) {
        return -1;
    }
    return 0;
}

static void close_stores(struct reaper *r)
{
    fleet_close(r->fleet);
    github_close(r->github);
    ledger_close(r->ledger);
    queue_close(r->queue);
}

static void name_holder(struct reaper *r)
{
    char unique[17];
    random_hex(unique, 8);
    (void)snprintf(r->holder, sizeof r->holder, "%.32s/%s", fleet_host(r->fleet), unique);
}

static bool is_ready(void *arg, struct buf *why)
{
    struct reaper *r = arg;
    struct err e = {0};
    if (queue_ping(r->queue, &e) == 0 && ledger_ping(r->ledger, &e) == 0) {
        return true;
    }
    buf_append_cstr(why, e.message);
    return false;
}

static void *sweep_until_stopped(void *arg)
{
    struct reaper *r = arg;
    int64_t interval_ms;
    do {
        sweep(r);
        const struct config *c = config_live_get(r->config);
        /* A little jitter keeps several reapers from asking for the lease in step. */
        interval_ms = c->reaper.interval_ms;
        interval_ms += (int64_t)random_below((uint64_t)interval_ms / 10 + 1);
        config_live_put(r->config, c);
    } while (!stop_sleep(&r->stop, interval_ms));
    return NULL;
}

static void release_leases(struct reaper *r)
{
    struct err e = {0};
    char host_lease[96];
    (void)snprintf(host_lease, sizeof host_lease, "sweep/%s", fleet_host(r->fleet));
    if (ledger_lease_release(r->ledger, "sweep", r->holder, &e) != 0 ||
        ledger_lease_release(r->ledger, host_lease, r->holder, &e) != 0) {
        log_warn("lease_not_released", LOG_ERR(&e), LOG_STR("next", "it ends by itself"));
    }
}

static int run(struct reaper *r, const struct config *c, struct err *e)
{
    pthread_t thread;
    struct admin *admin = NULL;
    struct admin_options options = {.listen = c->reaper.admin_listen, .ready = is_ready, .arg = r};
    if (open_stores(r, c, e) != 0 || admin_start(&options, &admin, e) != 0) {
        return -1;
    }
    name_holder(r);
    ASSERT(pthread_create(&thread, NULL, sweep_until_stopped, r) == 0);
    log_info("started", LOG_STR("version", MAYFLY_VERSION),
             LOG_INT("admin_port", admin_port(admin)),
             LOG_INT("interval_ms", c->reaper.interval_ms), LOG_STR("holder", r->holder));
    program_wait(&program, r->config, NULL, NULL);
    program_draining(&program, c->worker.drain_seconds);
    stop_raise(&r->stop);
    fleet_interrupt(r->fleet);
    pthread_join(thread, NULL);
    release_leases(r);
    admin_stop(admin);
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct reaper r = {0};
    int exit_code = 0;
    if (program_start(&program, argc, argv, &r.config, &exit_code) == PROGRAM_EXIT) {
        return exit_code;
    }
    stop_init(&r.stop);
    const struct config *c = config_live_get(r.config);
    if (run(&r, c, &e) != 0) {
        log_error("cannot_start", LOG_ERR(&e));
        exit_code = 1;
    } else {
        log_info("stopped", LOG_INT("exit_code", exit_code));
    }
    close_stores(&r);
    config_live_put(r.config, c);
    config_live_free(r.config);
    stop_fini(&r.stop);
    return exit_code;
}
