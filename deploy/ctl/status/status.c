/*
 * `mayflyctl status [--watch]`: lanes, classes with their slots, demand and supply, dead letters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/job/lane.h"
#include "common/ledger/kinds.h"
#include "common/ledger/pauses.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/circuits.h"
#include "deploy/ctl/cli/stores.h"
#include "deploy/ctl/cli/watch.h"
#include "deploy/ctl/commands.h"
#include "deploy/ctl/status/status.h"
#include "deploy/ctl/status/targets.h"

#define WATCH_DEFAULT_MS 2000
#define WATCH_MIN_MS 100
#define WATCH_MAX_MS (3600LL * 1000)

static int add_lanes(struct ctl *c, json_t *answer, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    if (queue_depths(c->queue, NULL, &depths, &n, e) != 0) {
        return err_said_by(e, ERR_FROM_QUEUE);
    }
    json_t *lanes = json_array();
    for (size_t i = 0; i < n; i++) {
        const char *of = launch_lane_class(depths[i].lane);
        bool configured = of == NULL || config_class_by_name(c->config, slice_of(of)) != NULL;
        json_array_append_new(lanes, json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I}", "lane",
                                               ctl_text(depths[i].lane), "configured", configured,
                                               "ready", (json_int_t)depths[i].ready, "leased",
                                               (json_int_t)depths[i].leased, "delayed",
                                               (json_int_t)depths[i].delayed, "dead",
                                               (json_int_t)depths[i].dead, "oldest_ready_ms",
                                               (json_int_t)depths[i].oldest_ready_ms));
        dead += depths[i].dead;
    }
    free(depths);
    json_object_set_new(answer, "lanes", lanes);
    json_object_set_new(answer, "estimated", json_boolean(!queue_can(c->queue, QUEUE_DEPTHS)));
    json_object_set_new(answer, "dead", json_integer(dead));
    return 0;
}

/* class NULL: it is not configured. */
static json_t *class_entry(const struct ledger_count *count, const char *name,
                           const struct config_class *class)
{
    json_int_t slots = class != NULL ? class->max_vms : 0;
    json_int_t idle = class != NULL ? config_idle_wanted(class, clock_wall_ms()) : 0;
    json_int_t starting = count->vms[VM_RESERVED];
    starting += count->vms[VM_REGISTERED];
    starting += count->vms[VM_LAUNCHED];
    return json_pack(
        "{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "class", ctl_text(name),
        "configured", class != NULL, "slots_used", (json_int_t)ledger_count_slots(count), "slots",
        slots, "idle_wanted", idle, "vms_launched", (json_int_t)count->vms[VM_LAUNCHED],
        "jobs_waiting", (json_int_t)count->jobs[JOB_WAITING], "jobs_running",
        (json_int_t)count->jobs[JOB_RUNNING], "vms_starting", starting, "vms_busy",
        (json_int_t)count->vms[VM_BUSY], "vms_ending", (json_int_t)count->vms[VM_ENDING]);
}

static bool is_in_use(const struct ledger_count *count)
{
    return ledger_count_slots(count) > 0 || count->jobs[JOB_WAITING] > 0 ||
           count->jobs[JOB_RUNNING] > 0;
}

static int add_classes(struct ctl *c, json_t *answer, struct err *e)
{
    struct ledger_count *counts = NULL;
    size_t n = 0;
    int64_t fleet = 0;
    if (ledger_counts(c->ledger, &counts, &n, e) != 0) {
        return -1;
    }
    json_t *classes = json_array();
    for (size_t i = 0; i < c->config->class_count; i++) {
        const struct config_class *class = &c->config->classes[i];
        json_array_append_new(
            classes, class_entry(ledger_count_of(counts, n, class->name), class->name, class));
    }
    for (size_t i = 0; i < n; i++) {
        const struct slice name = slice_of(counts[i].class_name);
        fleet += ledger_count_slots(&counts[i]);
        if (name.len > 0 && config_class_by_name(c->config, name) == NULL &&
            is_in_use(&counts[i])) {
            json_array_append_new(classes, class_entry(&counts[i], counts[i].class_name, NULL));
        }
    }
    free(counts);
    json_object_set_new(answer, "classes", classes);
    json_object_set_new(answer, "fleet",
                        json_pack("{s:I, s:I}", "slots_used", (json_int_t)fleet, "slots",
                                  (json_int_t)c->config->limits.max_vms));
    return 0;
}

static json_t *class_of(const json_t *answer, const char *class_name)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "classes"), i, o)
    {
        if (strcmp(ctl_str(o, "class"), class_name) == 0) {
            return o;
        }
    }
    return NULL;
}

static bool is_full(const json_t *answer, const char *class_name)
{
    const json_t *class = class_of(answer, class_name);
    return class != NULL && ctl_int(class, "slots_used") >= ctl_int(class, "slots");
}

static int add_balances(struct ctl *c, json_t *answer, struct err *e)
{
    struct ledger_balance *b = NULL;
    size_t n = 0;
    int64_t now = clock_wall_ms();
    if (ledger_balances(c->ledger, &b, &n, e) != 0) {
        return -1;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        int64_t longest = b[i].oldest_waiting_ms > 0 ? now - b[i].oldest_waiting_ms : 0;
        bool for_a_slot = b[i].demand > b[i].supply && is_full(answer, b[i].class_name);
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:I, s:I, s:I, s:b}", "scope", ctl_text(b[i].scope),
                            "class", ctl_text(b[i].class_name), "demand", (json_int_t)b[i].demand,
                            "supply", (json_int_t)b[i].supply, "longest_wait_ms",
                            (json_int_t)longest, "waits_for_slot", for_a_slot));
    }
    free(b);
    json_object_set_new(answer, "balance", list);
    return 0;
}

/* Of each class: the longest wait of all scopes. */
static void add_longest_waits(json_t *answer)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "classes"), i, o)
    {
        json_object_set_new(o, "longest_wait_ms", json_integer(0));
    }
    json_array_foreach(json_object_get(answer, "balance"), i, o)
    {
        json_t *class = class_of(answer, ctl_str(o, "class"));
        int64_t wait_ms = ctl_int(o, "longest_wait_ms");
        if (class != NULL && wait_ms > ctl_int(class, "longest_wait_ms")) {
            json_object_set_new(class, "longest_wait_ms", json_integer(wait_ms));
        }
    }
}

static int add_pauses(struct ctl *c, json_t *answer, struct err *e)
{
    struct ledger_pause *pauses = NULL;
    size_t n = 0;
    if (ledger_pause_list(c->ledger, &pauses, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *class = class_of(answer, pauses[i].class_name);
        if (class != NULL) {
            json_object_set_new(class, "paused",
                                json_pack("{s:o, s:o, s:o}", "since", ctl_time(pauses[i].since_ms),
                                          "by", ctl_text(pauses[i].by), "reason",
                                          ctl_text(pauses[i].reason)));
        }
    }
    free(pauses);
    return 0;
}

static int count_programs(const struct ledger_program *programs, size_t n, const char *name)
{
    int count = 0;
    for (size_t i = 0; i < n; i++) {
        count += strcmp(programs[i].program, name) == 0 ? 1 : 0;
    }
    return count;
}

/* Programs that do not run cannot say so. */
static int add_programs(struct ctl *c, json_t *answer, json_t *notices, struct err *e)
{
    struct ledger_program *programs = NULL;
    size_t n = 0;
    if (ledger_program_list(c->ledger, &programs, &n, e) != 0) {
        return -1;
    }
    int workers = count_programs(programs, n, "mayfly-worker");
    int reapers = count_programs(programs, n, "mayfly-reaper");
    json_object_set_new(answer, "workers", json_integer(workers));
    json_object_set_new(answer, "reapers", json_integer(reapers));
    if (workers == 0) {
        json_array_append_new(notices, json_string("no mayfly-worker has a heartbeat in this "
                                                   "ledger: while none runs, no VM is launched"));
    }
    if (reapers == 0) {
        json_array_append_new(notices,
                              json_string("no mayfly-reaper has a heartbeat in this ledger: while "
                                          "none runs, nothing that was lost is found, and "
                                          "no deadline is kept"));
    }
    free(programs);
    return 0;
}

/* What the reapers want an operator to know, and what they cannot say. */
static int add_notices(struct ctl *c, json_t *answer, struct err *e)
{
    struct ledger_cell *cells = NULL;
    size_t n = 0;
    if (ledger_cell_list(c->ledger, LEDGER_KIND_NOTICE, &cells, &n, e) != 0) {
        return -1;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, ctl_text(cells[i].value));
    }
    free(cells);
    json_object_set_new(answer, "notices", list);
    return add_programs(c, answer, list, e);
}

int ctl_status(struct ctl *c, json_t **out, struct err *e)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "deployment", ctl_text(c->config->deployment));
    json_object_set_new(answer, "at", ctl_time(clock_wall_ms()));
    if (add_lanes(c, answer, e) != 0 || add_classes(c, answer, e) != 0 ||
        add_balances(c, answer, e) != 0 || add_pauses(c, answer, e) != 0 ||
        ctl_add_circuits(c, answer, e) != 0 || ctl_add_targets(c, answer, e) != 0 ||
        add_notices(c, answer, e) != 0) {
        json_decref(answer);
        return err_said_by(e, ERR_FROM_LEDGER);
    }
    add_longest_waits(answer);
    *out = answer;
    return 0;
}

static int watch_status(struct ctl *c, struct err *e)
{
    struct watch w = {
        .needs = CTL_QUEUE | CTL_LEDGER, .build = ctl_status, .render = ctl_status_render};
    const char *given = ctl_option(c, "--watch");
    if (given[0] == '\0') {
        w.period_ms = WATCH_DEFAULT_MS;
    } else if (ctl_option_duration(c, "--watch", WATCH_MIN_MS, WATCH_MAX_MS, WATCH_DEFAULT_MS,
                                   &w.period_ms, e) != 0) {
        return -1;
    }
    return watch_run(c, &w, e);
}

int ctl_status_run(struct ctl *c, struct err *e)
{
    json_t *answer = NULL;
    if (ctl_option(c, "--watch") != NULL) {
        return watch_status(c, e);
    }
    if (ctl_open_stores(c, CTL_QUEUE | CTL_LEDGER, e) != 0 || ctl_status(c, &answer, e) != 0) {
        return -1;
    }
    if (c->json) {
        ctl_json_print(answer);
    } else {
        ctl_status_print(answer);
    }
    json_decref(answer);
    return 0;
}
