/* The answer of `mayflyctl status` for people. */
#include <stdio.h>
#include <string.h>

#include "deploy/ctl/status/status.h"
#include "deploy/ctl/status/targets.h"

#define BAR_CELLS 20
#define NOT_CONFIGURED "class not configured"

static void add_head(const json_t *answer, struct screen *s)
{
    const json_t *fleet = json_object_get(answer, "fleet");
    int64_t dead = ctl_int(answer, "dead");
    int64_t workers = ctl_int(answer, "workers");
    int64_t reapers = ctl_int(answer, "reapers");
    screen_add(s, STYLE_BOLD, "deployment %s", ctl_str(answer, "deployment"));
    screen_add(s, STYLE_PLAIN, ": %lld of %lld slots in use, ",
               (long long)ctl_int(fleet, "slots_used"), (long long)ctl_int(fleet, "slots"));
    screen_add(s, dead > 0 ? STYLE_BAD : STYLE_PLAIN, "%lld dead letters", (long long)dead);
    screen_add(s, STYLE_PLAIN, ", ");
    screen_add(s, workers > 0 ? STYLE_PLAIN : STYLE_BAD, "%lld workers", (long long)workers);
    screen_add(s, STYLE_PLAIN, ", ");
    screen_add(s, reapers > 0 ? STYLE_PLAIN : STYLE_BAD, "%lld reapers", (long long)reapers);
    screen_end_line(s);
}

static void add_notices(const json_t *answer, struct screen *s)
{
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(answer, "notices"), i, o)
    {
        screen_add(s, STYLE_WARN, "! %s", json_string_value(o));
        screen_end_line(s);
    }
    json_array_foreach(json_object_get(answer, "circuits"), i, o)
    {
        int64_t wait_ms = ctl_int(o, "next_probe_in_ms");
        char in[24];
        screen_add(s, STYLE_BAD, "! circuit open since %s: %s", ctl_str(o, "open_since"),
                   ctl_str(o, "subject"));
        screen_add(s, STYLE_PLAIN, "; the next probe is %s%s; it said: %s",
                   wait_ms > 0 ? "in " : "due", wait_ms > 0 ? ctl_duration(wait_ms, in) : "",
                   ctl_str(o, "why"));
        screen_end_line(s);
    }
}

/* --- classes --- */

/* How many cells of the bar `amount` of `all` takes, at most BAR_CELLS: one at least if it is not 0. */
static size_t cells_of(int64_t amount, int64_t all)
{
    if (amount <= 0 || all <= 0) {
        return 0;
    }
    if (amount >= all) {
        return all < BAR_CELLS ? (size_t)all : BAR_CELLS;
    }
    size_t cells = (size_t)(all <= BAR_CELLS ? amount : (amount * BAR_CELLS + all / 2) / all);
    return cells > 0 ? cells : 1;
}

static void add_cells(struct screen *s, enum screen_style style, char cell, size_t count,
                      size_t *left)
{
    char text[BAR_CELLS + 1] = "";
    count = count < *left ? count : *left;
    for (size_t i = 0; i < count; i++) {
        text[i] = cell;
    }
    *left -= count;
    if (count > 0) {
        screen_add(s, style, "%s", text);
    }
}

/* A cell a slot, of 20 at most: '#' runs a job, '=' starts or idles, '-' ends, '.' is free. */
static void add_bar(const json_t *o, struct screen *s)
{
    int64_t slots = ctl_int(o, "slots");
    int64_t used = ctl_int(o, "slots_used");
    int64_t all = used > slots ? used : slots;
    size_t left = cells_of(all, all);
    int pad = BAR_CELLS - (int)left;
    screen_add(s, STYLE_PLAIN, "[");
    add_cells(s, STYLE_GOOD, '#', cells_of(ctl_int(o, "vms_busy"), all), &left);
    add_cells(s, STYLE_WARN, '=', cells_of(ctl_int(o, "vms_starting"), all), &left);
    add_cells(s, STYLE_DIM, '-', cells_of(ctl_int(o, "vms_ending"), all), &left);
    add_cells(s, STYLE_DIM, '.', left, &left);
    screen_add(s, STYLE_PLAIN, "]%*s", pad, "");
}

static void add_class_notes(const json_t *o, struct screen *s)
{
    const json_t *pause = json_object_get(o, "paused");
    if (!json_is_true(json_object_get(o, "configured"))) {
        screen_add(s, STYLE_WARN, "  not configured");
    } else if (ctl_int(o, "slots") == 0) {
        screen_add(s, STYLE_WARN, "  retired");
    }
    if (ctl_int(o, "idle_wanted") > 0) {
        screen_add(s, STYLE_PLAIN, "  keeps %lld idle, has %lld",
                   (long long)ctl_int(o, "idle_wanted"), (long long)ctl_int(o, "vms_launched"));
    }
    if (pause != NULL) {
        const char *reason = ctl_str(pause, "reason");
        screen_add(s, STYLE_WARN, "  paused since %s by %s%s%s", ctl_str(pause, "since"),
                   ctl_str(pause, "by"), reason[0] != '\0' ? ": " : "", reason);
    }
}

static void add_classes(const json_t *answer, struct screen *s)
{
    size_t i;
    json_t *o;
    screen_end_line(s);
    screen_add(s, STYLE_BOLD, "%-20s %-22s %9s %8s %9s %8s %9s %7s", "CLASS", "SLOTS", "USED",
               "WAITING", "LONGEST", "RUNNING", "STARTING", "ENDING");
    screen_end_line(s);
    json_array_foreach(json_object_get(answer, "classes"), i, o)
    {
        char used[32];
        char wait[24] = "-";
        int64_t waiting = ctl_int(o, "jobs_waiting");
        bool full = ctl_int(o, "slots_used") >= ctl_int(o, "slots");
        (void)snprintf(used, sizeof used, "%lld/%lld", (long long)ctl_int(o, "slots_used"),
                       (long long)ctl_int(o, "slots"));
        screen_add(s, STYLE_PLAIN, "%-20s ", ctl_str(o, "class"));
        add_bar(o, s);
        screen_add(s, full && waiting > 0 ? STYLE_WARN : STYLE_PLAIN, " %9s", used);
        screen_add(s, waiting > 0 ? STYLE_BOLD : STYLE_PLAIN, " %8lld", (long long)waiting);
        if (ctl_int(o, "longest_wait_ms") > 0) {
            (void)ctl_duration(ctl_int(o, "longest_wait_ms"), wait);
        }
        screen_add(s, STYLE_PLAIN, " %9s %8lld %9lld %7lld", wait,
                   (long long)ctl_int(o, "jobs_running"), (long long)ctl_int(o, "vms_starting"),
                   (long long)ctl_int(o, "vms_ending"));
        add_class_notes(o, s);
        screen_end_line(s);
    }
}

static void add_targets(const json_t *answer, struct screen *s)
{
    if (json_array_size(json_object_get(answer, "targets")) > 0) {
        screen_end_line(s);
        ctl_targets_render(answer, false, s); /* the circuits are listed above */
    }
}

/* --- lanes, and who waits --- */

static bool is_empty_lane(const json_t *o)
{
    return ctl_int(o, "ready") == 0 && ctl_int(o, "leased") == 0 && ctl_int(o, "delayed") == 0 &&
           ctl_int(o, "dead") == 0;
}

static void add_lane_header(const json_t *answer, struct screen *s)
{
    bool estimated = json_is_true(json_object_get(answer, "estimated"));
    screen_end_line(s);
    screen_add(s, STYLE_BOLD, "%-28s %7s %7s %8s %6s %10s%s", "LANE", "READY", "LEASED", "DELAYED",
               "DEAD", "OLDEST", estimated ? "  (estimates of the queue)" : "");
    screen_end_line(s);
}

static void add_lanes(const json_t *answer, struct screen *s)
{
    size_t i;
    json_t *o;
    bool any = false;
    json_array_foreach(json_object_get(answer, "lanes"), i, o)
    {
        char age[24] = "-";
        if (is_empty_lane(o)) {
            continue;
        }
        if (!any) {
            add_lane_header(answer, s);
            any = true;
        }
        if (ctl_int(o, "oldest_ready_ms") > 0) {
            (void)ctl_duration(ctl_int(o, "oldest_ready_ms"), age);
        }
        screen_add(s, STYLE_PLAIN, "%-28s %7lld %7lld %8lld", ctl_str(o, "lane"),
                   (long long)ctl_int(o, "ready"), (long long)ctl_int(o, "leased"),
                   (long long)ctl_int(o, "delayed"));
        screen_add(s, ctl_int(o, "dead") > 0 ? STYLE_BAD : STYLE_PLAIN, " %6lld",
                   (long long)ctl_int(o, "dead"));
        screen_add(s, STYLE_PLAIN, " %10s", age);
        if (!json_is_true(json_object_get(o, "configured"))) {
            screen_add(s, STYLE_WARN, "  " NOT_CONFIGURED);
        }
        screen_end_line(s);
    }
}

static void add_waits(const json_t *answer, struct screen *s)
{
    size_t i;
    json_t *o;
    bool any = false;
    json_array_foreach(json_object_get(answer, "balance"), i, o)
    {
        char wait[24];
        if (ctl_int(o, "demand") == 0) {
            continue;
        }
        if (!any) {
            screen_end_line(s);
            any = true;
        }
        screen_add(s, STYLE_PLAIN, "%s, class %s: demand %lld, supply %lld, longest wait %s",
                   ctl_str(o, "scope"), ctl_str(o, "class"), (long long)ctl_int(o, "demand"),
                   (long long)ctl_int(o, "supply"),
                   ctl_duration(ctl_int(o, "longest_wait_ms"), wait));
        if (json_is_true(json_object_get(o, "waits_for_slot"))) {
            screen_add(s, STYLE_WARN, "; the rest waits for a slot of class %s",
                       ctl_str(o, "class"));
        }
        screen_end_line(s);
    }
}

void ctl_status_render(const json_t *answer, struct screen *s)
{
    add_head(answer, s);
    add_notices(answer, s);
    add_classes(answer, s);
    add_targets(answer, s);
    add_lanes(answer, s);
    add_waits(answer, s);
}

void ctl_status_print(const json_t *answer)
{
    struct screen s;
    screen_init(&s);
    ctl_status_render(answer, &s);
    (void)fwrite(s.out.data, 1, s.out.len, stdout);
    screen_fini(&s);
}
