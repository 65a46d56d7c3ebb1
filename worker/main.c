/*
 * mayfly-worker: takes jobs from the queue and launches a VM for each, within all limits.
 */
#include <stdlib.h>

#include "common/base/log.h"
#include "common/check/check.h"
#include "common/config/program.h"
#include "common/http/admin.h"
#include "worker/enders.h"
#include "worker/events.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/worker.h"

static int check_online(const struct config *c, bool json)
{
    static check_fn *const checks[] = {
        check_queue, check_ledger, check_slot_poll, check_aws, check_lambda, check_github, NULL};
    return check_all(c, checks, json, stdout);
}

static const struct program program = {
    .name = "mayfly-worker",
    .purpose = "takes GitHub Actions jobs from the queue and launches a VM for each",
    .who = CONFIG_FOR_WORKER,
    .check_online = check_online,
};

struct threads {
    struct events *events;
    struct lane **lanes;
    size_t lane_count;
};

static int open_stores(struct worker *w, const struct config *c, struct err *e)
{
    if (queue_open(c->queue, &w->queue, e) != 0 || ledger_open(c->ledger, &w->ledger, e) != 0 ||
        github_open(c, w->ledger, &w->github, e) != 0 ||
        fleet_open(c, w->ledger, w->github, &w->fleet, e) != 0) {
        return -1;
    }
    return 0;
}

static void close_stores(struct worker *w)
{
    fleet_close(w->fleet);
    github_close(w->github);
    ledger_close(w->ledger);
    queue_close(w->queue);
}

static void slot_freed(void *arg)
{
    struct worker *w = arg;
    stop_wake(&w->intake);
}

static int start_threads(struct worker *w, const struct config *c, struct threads *t, struct err *e)
{
    w->heartbeat = heartbeat_new(w);
    if (heartbeat_start(w->heartbeat, e) != 0) {
        heartbeat_free(w->heartbeat);
        return -1;
    }
    ledger_watch_freed(w->ledger, slot_freed, w);
    w->enders = enders_start(w, (size_t)c->worker.end_threads);
    t->events = events_start(w, (size_t)c->worker.event_threads);
    t->lanes = calloc(c->class_count, sizeof(struct lane *));
    ASSERT(t->lanes != NULL);
    for (; t->lane_count < c->class_count; t->lane_count++) {
        t->lanes[t->lane_count] = lane_start(w, c->classes[t->lane_count].name);
    }
    return 0;
}

/* Intake first; what is under way finishes; the enders last, since they free slots for others. */
static void stop_threads(struct worker *w, struct threads *t)
{
    stop_raise(&w->intake);
    queue_interrupt(w->queue);
    for (size_t i = 0; i < t->lane_count; i++) {
        lane_join(t->lanes[i]);
    }
    free(t->lanes);
    heartbeat_stop(w->heartbeat);
    heartbeat_free(w->heartbeat);
    events_join(t->events);
    stop_raise(&w->working);
    fleet_interrupt(w->fleet);
    enders_join(w->enders);
}

static bool is_ready(void *arg, struct buf *why)
{
    struct worker *w = arg;
    struct err e = {0};
    if (queue_ping(w->queue, &e) == 0 && ledger_ping(w->ledger, &e) == 0) {
        return true;
    }
    buf_append_cstr(why, e.message);
    return false;
}

/* Of a store's address the scheme alone is told: the rest may hold a password. */
static struct slice scheme_of(const char *url)
{
    struct slice scheme;
    struct slice rest;
    return slice_cut(slice_of(url), ':', &scheme, &rest) ? scheme : SLICE("");
}

static int run(struct worker *w, const struct config *c, struct err *e)
{
    struct threads threads = {0};
    struct admin *admin = NULL;
    struct admin_options options = {.listen = c->worker.admin_listen, .ready = is_ready, .arg = w};
    if (open_stores(w, c, e) != 0 || admin_start(&options, &admin, e) != 0) {
        return -1;
    }
    if (start_threads(w, c, &threads, e) != 0) {
        admin_stop(admin);
        return -1;
    }
    log_info("started", LOG_STR("version", MAYFLY_VERSION),
             LOG_INT("admin_port", admin_port(admin)), LOG_INT("classes", (int64_t)c->class_count),
             LOG_SLICE("queue", scheme_of(c->queue)), LOG_SLICE("ledger", scheme_of(c->ledger)),
             LOG_STR("host", fleet_host(w->fleet)));
    program_wait(&program, w->config, NULL, NULL);
    program_draining(&program, c->worker.drain_seconds);
    stop_threads(w, &threads);
    admin_stop(admin);
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct worker w = {0};
    int exit_code = 0;
    if (program_start(&program, argc, argv, &w.config, &exit_code) == PROGRAM_EXIT) {
        return exit_code;
    }
    stop_init(&w.intake);
    stop_init(&w.working);
    const struct config *c = config_live_get(w.config);
    if (run(&w, c, &e) != 0) {
        log_error("cannot_start", LOG_ERR(&e));
        exit_code = 1;
    } else {
        log_info("stopped", LOG_INT("exit_code", exit_code));
    }
    close_stores(&w);
    config_live_put(w.config, c);
    config_live_free(w.config);
    stop_fini(&w.working);
    stop_fini(&w.intake);
    return exit_code;
}
