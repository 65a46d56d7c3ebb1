/*
 * `mayflyctl status`: lanes, classes with their slots, demand and supply, dead letters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/ledger/kinds.h"
#include "common/ledger/programs.h"
#include "deploy/ctl/circuits.h"
#include "deploy/ctl/ctl.h"

static int add_lanes(struct ctl *c, json_t *answer, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    if (queue_depths(c->queue, NULL, &depths, &n, e) != 0) {
        return -1;
    }
    json_t *lanes = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(
            lanes,
            json_pack("{s:o, s:I, s:I, s:I, s:I, s:I}", "lane", ctl_text(depths[i].lane), "ready",
                      (json_int_t)depths[i].ready, "leased", (json_int_t)depths[i].leased,
                      "delayed", (json_int_t)depths[i].delayed, "dead", (json_int_t)depths[i].dead,
                      "oldest_ready_ms", (json_int_t)depths[i].oldest_ready_ms));
        dead += depths[i].dead;
    }
    free(depths);
    json_object_set_new(answer, "lanes", lanes);
    json_object_set_new(answer, "estimated", json_boolean(!queue_can(c->queue, QUEUE_DEPTHS)));
    json_object_set_new(answer, "dead", json_integer(dead));
    return 0;
}

static const struct ledger_count *count_of(const struct ledger_count *counts, size_t n,
                                           const char *class_name)
{
    static const struct ledger_count none;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(counts[i].class_name, class_name) == 0) {
            return &counts[i];
        }
    }
    return &none;
}

static int64_t slots_of(const struct ledger_count *count)
{
    int64_t used = 0;
    for (int s = VM_RESERVED; s < VM_GONE; s++) {
        used += count->vms[s];
    }
    return used;
}

static json_t *class_entry(const struct ledger_count *count, const char *name, int64_t slots,
                           bool configured)
{
    json_int_t starting = count->vms[VM_RESERVED];
    starting += count->vms[VM_REGISTERED];
    starting += count->vms[VM_LAUNCHED];
    return json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "class", ctl_text(name),
                     "configured", configured, "slots_used", (json_int_t)slots_of(count), "slots",
                     (json_int_t)slots, "jobs_waiting", (json_int_t)count->jobs[JOB_WAITING],
                     "jobs_running", (json_int_t)count->jobs[JOB_RUNNING], "vms_starting", starting,
                     "vms_busy", (json_int_t)count->vms[VM_BUSY], "vms_ending",
                     (json_int_t)count->vms[VM_ENDING]);
}

static bool is_in_use(const struct ledger_count *count)
{
    return slots_of(count) > 0 || count->jobs[JOB_WAITING] > 0 || count->jobs[JOB_RUNNING] > 0;
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
        json_array_append_new(classes, class_entry(count_of(counts, n, class->name), class->name,
                                                   class->max_vms, true));
    }
    for (size_t i = 0; i < n; i++) {
        const struct slice name = slice_of(counts[i].class_name);
        fleet += slots_of(&counts[i]);
        if (name.len > 0 && config_class_by_name(c->config, name) == NULL &&
            is_in_use(&counts[i])) {
            json_array_append_new(classes, class_entry(&counts[i], counts[i].class_name, 0, false));
        }
    }
    free(counts);
    json_object_set_new(answer, "classes", classes);
    json_object_set_new(answer, "fleet",
                        json_pack("{s:I, s:I}", "slots_used", (json_int_t)fleet, "slots",
                                  (json_int_t)c->config->limits.max_vms));
    return 0;
}

static bool is_full(const json_t *answer, const char *class_name)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "classes"), i, o)
    {
        if (strcmp(ctl_str(o, "class"), class_name) == 0) {
            return ctl_int(o, "slots_used") >= ctl_int(o, "slots");
        }
    }
    return false;
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

static bool is_among(const struct ledger_program *programs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(programs[i].program, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Programs that do not run cannot say so. */
static int add_absent_programs(struct ctl *c, json_t *notices, struct err *e)
{
    struct ledger_program *programs = NULL;
    size_t n = 0;
    if (ledger_program_list(c->ledger, &programs, &n, e) != 0) {
        return -1;
    }
    if (!is_among(programs, n, "mayfly-worker")) {
        json_array_append_new(notices, json_string("no mayfly-worker has a heartbeat in this "
                                                   "ledger: while none runs, no VM is launched"));
    }
    if (!is_among(programs, n, "mayfly-reaper")) {
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
    return add_absent_programs(c, list, e);
}

int ctl_status(struct ctl *c, json_t **out, struct err *e)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "deployment", ctl_text(c->config->deployment));
    if (add_lanes(c, answer, e) != 0 || add_classes(c, answer, e) != 0 ||
        add_balances(c, answer, e) != 0 || ctl_add_circuits(c, answer, e) != 0 ||
        add_notices(c, answer, e) != 0) {
        json_decref(answer);
        return -1;
    }
    *out = answer;
    return 0;
}

static void print_classes(const json_t *answer)
{
    size_t i;
    json_t *o;
    printable_line(stdout, "%-20s %9s %8s %8s %9s %6s %7s", "CLASS", "SLOTS", "WAITING", "RUNNING",
                   "STARTING", "BUSY", "ENDING");
    json_array_foreach(json_object_get(answer, "classes"), i, o)
    {
        char slots[32];
        (void)snprintf(slots, sizeof slots, "%lld/%lld", (long long)ctl_int(o, "slots_used"),
                       (long long)ctl_int(o, "slots"));
        printable_line(stdout, "%-20s %9s %8lld %8lld %9lld %6lld %7lld%s", ctl_str(o, "class"),
                       slots, (long long)ctl_int(o, "jobs_waiting"),
                       (long long)ctl_int(o, "jobs_running"), (long long)ctl_int(o, "vms_starting"),
                       (long long)ctl_int(o, "vms_busy"), (long long)ctl_int(o, "vms_ending"),
                       json_is_true(json_object_get(o, "configured")) ? "" : "  not configured");
    }
    printable_line(stdout, "%s", "");
}

static void print_lanes(const json_t *answer)
{
    size_t i;
    json_t *o;
    char age[24];
    printable_line(stdout, "%-28s %7s %7s %8s %6s %10s%s", "LANE", "READY", "LEASED", "DELAYED",
                   "DEAD", "OLDEST",
                   json_is_true(json_object_get(answer, "estimated")) ? "  (estimates of the queue)"
                                                                      : "");
    json_array_foreach(json_object_get(answer, "lanes"), i, o)
    {
        printable_line(stdout, "%-28s %7lld %7lld %8lld %6lld %10s", ctl_str(o, "lane"),
                       (long long)ctl_int(o, "ready"), (long long)ctl_int(o, "leased"),
                       (long long)ctl_int(o, "delayed"), (long long)ctl_int(o, "dead"),
                       ctl_duration(ctl_int(o, "oldest_ready_ms"), age));
    }
}

static void print_balance(const json_t *answer)
{
    size_t i;
    json_t *o;
    char wait[24];
    json_array_foreach(json_object_get(answer, "balance"), i, o)
    {
        if (i == 0) {
            printable_line(stdout, "%s", "");
        }
        printable_line(
            stdout, "%s, class %s: demand %lld, supply %lld, longest wait %s%s%s",
            ctl_str(o, "scope"), ctl_str(o, "class"), (long long)ctl_int(o, "demand"),
            (long long)ctl_int(o, "supply"), ctl_duration(ctl_int(o, "longest_wait_ms"), wait),
            json_is_true(json_object_get(o, "waits_for_slot"))
                ? "; the rest waits for a slot of class "
                : "",
            json_is_true(json_object_get(o, "waits_for_slot")) ? ctl_str(o, "class") : "");
    }
}

void ctl_status_print(const json_t *answer)
{
    size_t i;
    json_t *o;
    const json_t *fleet = json_object_get(answer, "fleet");
    printable_line(stdout, "deployment %s: %lld of %lld slots in use, %lld dead letters",
                   ctl_str(answer, "deployment"), (long long)ctl_int(fleet, "slots_used"),
                   (long long)ctl_int(fleet, "slots"), (long long)ctl_int(answer, "dead"));
    printable_line(stdout, "%s", "");
    json_array_foreach(json_object_get(answer, "notices"), i, o)
    {
        printable_line(stdout, "! %s", json_string_value(o));
    }
    print_classes(answer);
    print_lanes(answer);
    print_balance(answer);
    ctl_circuits_print(answer);
}
