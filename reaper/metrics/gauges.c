#include "reaper/metrics/gauges.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/github/budget.h"
#include "common/job/lane.h"
#include "common/ledger/images.h"
#include "common/ledger/pauses.h"
#include "common/ledger/programs.h"

#define LIVE_INTERVALS 4 /* a program without a heartbeat for so long counts as dead */
#define LIVE_MARGIN_MS 10000

/* --- setting gauges --- */

static struct metric *gauge_of(struct metrics_group *g, const char *name, const char *key,
                               const char *value, const char *state)
{
    struct buf labels;
    buf_init(&labels, 512);
    if (key != NULL) {
        metrics_label(&labels, key, value);
    }
    if (state != NULL) {
        metrics_label(&labels, "state", state);
    }
    struct metric *gauge = metrics_group_gauge(g, name, labels.len > 0 ? labels.data : "");
    buf_fini(&labels);
    return gauge;
}

static void set_plain(struct metrics_group *g, const char *name, int64_t value)
{
    metric_set(gauge_of(g, name, NULL, NULL, NULL), value);
}

static void set_by(struct metrics_group *g, const char *name, const char *key, const char *of,
                   int64_t value)
{
    metric_set(gauge_of(g, name, key, of, NULL), value);
}

static void set_seconds(struct metrics_group *g, const char *name, const char *key, const char *of,
                        int64_t ms)
{
    metric_set_thousandths(gauge_of(g, name, key, of, NULL), ms > 0 ? ms : 0);
}

/* --- the ledger --- */

/* Of one class, or of all that are not configured. */
struct class_sums {
    const struct config_class *class; /* NULL: of those */
    int64_t jobs[JOB_CANCELLED + 1];
    int64_t vms[VM_GONE + 1];
    int64_t slots;
    int64_t demand;
    int64_t supply;
    int64_t oldest_ms;
};

struct reading {
    const struct config *config;
    struct ledger_count *counts;
    size_t count_count;
    struct ledger_balance *balances;
    size_t balance_count;
    struct ledger_program *programs;
    size_t program_count;
    struct ledger_pause *pauses;
    size_t pause_count;
    struct ledger_image *images;
    size_t image_count;
    struct class_sums *classes; /* one more than configured: the last one is of all others */
    int64_t fleet_used;
};

static struct class_sums *sums_of(struct reading *r, const char *class_name)
{
    size_t i = 0;
    while (i < r->config->class_count && strcmp(r->config->classes[i].name, class_name) != 0) {
        i++;
    }
    return &r->classes[i];
}

static void add_count(struct reading *r, const struct ledger_count *c)
{
    struct class_sums *s = sums_of(r, c->class_name);
    for (int i = 0; i <= JOB_CANCELLED; i++) {
        s->jobs[i] += c->jobs[i];
    }
    for (int i = 0; i <= VM_GONE; i++) {
        s->vms[i] += c->vms[i];
        s->slots += i < VM_GONE ? c->vms[i] : 0;
        r->fleet_used += i < VM_GONE ? c->vms[i] : 0;
    }
}

static void add_balance(struct reading *r, const struct ledger_balance *b)
{
    struct class_sums *s = sums_of(r, b->class_name);
    s->demand += b->demand;
    s->supply += b->supply;
    if (b->oldest_waiting_ms > 0 && (s->oldest_ms == 0 || b->oldest_waiting_ms < s->oldest_ms)) {
        s->oldest_ms = b->oldest_waiting_ms;
    }
}

static void sum_up(struct reading *r)
{
    r->classes = calloc(r->config->class_count + 1, sizeof *r->classes);
    ASSERT(r->classes != NULL);
    for (size_t i = 0; i < r->config->class_count; i++) {
        r->classes[i].class = &r->config->classes[i];
    }
    for (size_t i = 0; i < r->count_count; i++) {
        if (r->counts[i].class_name[0] != '\0') { /* else jobs that are not for us */
            add_count(r, &r->counts[i]);
        }
    }
    for (size_t i = 0; i < r->balance_count; i++) {
        add_balance(r, &r->balances[i]);
    }
}

static bool is_used(const struct class_sums *s)
{
    return s->class != NULL || s->slots > 0 || s->demand > 0 || s->jobs[JOB_RUNNING] > 0;
}

static void set_states(struct metrics_group *g, const struct class_sums *s, const char *class_name)
{
    for (int i = JOB_SEEN; i <= JOB_RUNNING; i++) {
        metric_set(gauge_of(g, "mayfly_fleet_jobs", "class", class_name,
                            ledger_job_state_name((enum ledger_job_state)i)),
                   s->jobs[i]);
    }
    for (int i = VM_RESERVED; i < VM_GONE; i++) {
        metric_set(gauge_of(g, "mayfly_fleet_vms", "class", class_name,
                            ledger_vm_state_name((enum ledger_vm_state)i)),
                   s->vms[i]);
    }
}

static void set_image_age(const struct gauges_input *in, const char *class_name)
{
    int64_t built_ms = image_built_ms(in->images, class_name);
    int recalled = image_base_recalled(in->images, class_name);
    if (recalled >= 0) {
        set_by(in->gauges, "mayfly_image_base_recalled", "class", class_name, recalled);
    }
    if (built_ms > 0) {
        set_seconds(in->gauges, "mayfly_runner_image_age_seconds", "class", class_name,
                    clock_wall_ms() - built_ms);
    }
}

/* Only of classes that keep some, so that a fleet without them has no such series. */
static void set_idle(const struct gauges_input *in, const struct config_class *class)
{
    int64_t wanted = config_idle_wanted(class, clock_wall_ms());
    if (class->min_idle.count > 0) {
        set_by(in->gauges, "mayfly_fleet_idle_wanted", "class", class->name, wanted);
    }
}

static void set_image_ages(const struct gauges_input *in)
{
    for (size_t i = 0; i < in->config->place_count; i++) {
        set_image_age(in, in->config->places[i]->name);
    }
}

static void set_class(const struct gauges_input *in, const struct class_sums *s)
{
    struct metrics_group *g = in->gauges;
    const char *name = s->class != NULL ? s->class->name : FLEET_UNCONFIGURED;
    int64_t wait_ms = s->oldest_ms > 0 ? ledger_now_ms(in->reaper->ledger) - s->oldest_ms : 0;
    set_states(g, s, name);
    set_by(g, "mayfly_fleet_slots_used", "class", name, s->slots);
    set_by(g, "mayfly_fleet_demand", "class", name, s->demand);
    set_by(g, "mayfly_fleet_supply", "class", name, s->supply);
    set_seconds(g, "mayfly_fleet_oldest_wait_seconds", "class", name, wait_ms);
    if (s->class != NULL) {
        set_idle(in, s->class);
        set_by(g, "mayfly_fleet_slots_max", "class", name, s->class->max_vms);
    }
}

/* A rejection shows until another version is good. */
static void set_images(const struct gauges_input *in, const struct reading *r)
{
    for (size_t i = 0; i < r->image_count; i++) {
        const struct ledger_image *image = &r->images[i];
        bool rejected = image->by_rule && image->rejected_ms > image->good_since_ms;
        if (config_place_by_name(r->config, image->class_name) == NULL) {
            continue;
        }
        set_by(in->gauges, "mayfly_image_rejected", "class", image->class_name, rejected ? 1 : 0);
        if (image->canary[0] != '\0') {
            set_by(in->gauges, "mayfly_image_canary_jobs", "class", image->class_name, image->jobs);
            set_by(in->gauges, "mayfly_image_canary_failures", "class", image->class_name,
                   image->failures);
        }
    }
}

static int set_launchable(const struct gauges_input *in, const struct reading *r,
                          const struct class_sums *s, struct err *e)
{
    struct launchable found;
    const struct launchable_query q = {
        .reaper = in->reaper,
        .config = r->config,
        .class = s->class,
        .balances = r->balances,
        .balance_count = r->balance_count,
        .repositories = in->repositories,
        .class_used = s->slots,
        .fleet_used = r->fleet_used,
        .paused = ledger_pause_of(r->pauses, r->pause_count, s->class->name) != NULL};
    if (launchable_count(&q, &found, e) != 0) {
        return -1;
    }
    set_by(in->gauges, "mayfly_fleet_launchable_backlog", "class", s->class->name, found.jobs);
    set_seconds(in->gauges, "mayfly_fleet_oldest_launchable_wait_seconds", "class", s->class->name,
                found.oldest_wait_ms);
    return 0;
}

static bool is_live(const struct ledger_program *p, int64_t now_ms)
{
    return now_ms - p->at_ms < LIVE_INTERVALS * p->interval_ms + LIVE_MARGIN_MS;
}

static void set_programs(struct metrics_group *g, const struct reading *r)
{
    int64_t now_ms = clock_wall_ms();
    int64_t workers = 0;
    int64_t reapers = 0;
    for (size_t i = 0; i < r->program_count; i++) {
        bool live = is_live(&r->programs[i], now_ms);
        workers += live && strcmp(r->programs[i].program, "mayfly-worker") == 0 ? 1 : 0;
        reapers += live && strcmp(r->programs[i].program, "mayfly-reaper") == 0 ? 1 : 0;
    }
    set_plain(g, "mayfly_fleet_workers", workers);
    set_plain(g, "mayfly_fleet_reapers", reapers);
}

static void set_circuits(const struct gauges_input *in)
{
    circuits_refresh(in->reaper->circuits);
    for (enum subject s = 0; s < SUBJECT_CIRCUITS; s++) {
        set_by(in->gauges, "mayfly_circuits_open", "subject", subject_kind(s),
               circuits_open_count(in->reaper->circuits, s));
    }
}

/* --- targets --- */

static bool place_is_stopped(const struct gauges_input *in, const struct config_class *place)
{
    struct subjects s = {0};
    const struct vm_provider *p = fleet_provider(in->reaper->fleet, place->name);
    if (p == NULL) {
        return false;
    }
    subjects_of_class(place, p, fleet_host(in->reaper->fleet), &s);
    for (enum subject k = 0; k < SUBJECT_CIRCUITS; k++) {
        if (k != SUBJECT_CLASS && k != SUBJECT_TARGET) {
            s.names[k][0] = '\0'; /* also others', or of this host alone */
        }
    }
    return circuits_stop_of(in->reaper->circuits, &s).open;
}

/* Whether no class may launch there. */
static bool target_is_stopped(const struct gauges_input *in, const char *name)
{
    const struct config *c = in->config;
    bool stopped = true;
    for (size_t i = 0; i < c->target_place_count && stopped; i++) {
        const struct config_class *place = &c->target_places[i];
        stopped = strcmp(place->target->name, name) != 0 || place_is_stopped(in, place);
    }
    return stopped;
}

static void set_target(const struct gauges_input *in, const struct ledger_target_use *use)
{
    const struct config_target *t = config_target_by_name(in->config, use->name);
    int64_t max = t->max_vms > 0 ? t->max_vms : in->config->limits.max_vms;
    set_by(in->gauges, "mayfly_target_vms", "target", use->name, use->used);
    set_by(in->gauges, "mayfly_target_vms_max", "target", use->name, max);
    set_by(in->gauges, "mayfly_target_stopped", "target", use->name,
           target_is_stopped(in, use->name));
}

static bool has_use(const struct ledger_target_use *uses, size_t n, const char *name)
{
    size_t i = 0;
    while (i < n && strcmp(uses[i].name, name) != 0) {
        i++;
    }
    return i < n;
}

/* After set_circuits, which reads them. */
static int set_targets(const struct gauges_input *in, struct err *e)
{
    const struct config *c = in->config;
    size_t n = 0;
    struct ledger_target_use *uses = calloc(c->target_place_count + 1, sizeof *uses);
    ASSERT(uses != NULL);
    for (size_t i = 0; i < c->target_place_count; i++) {
        const char *name = c->target_places[i].target->name;
        if (!has_use(uses, n, name)) {
            uses[n++] = (struct ledger_target_use){.name = name};
        }
    }
    int rc = n > 0 ? ledger_targets_read(in->reaper->ledger, uses, n, e) : 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        set_target(in, &uses[i]);
    }
    free(uses);
    return rc;
}

static void set_quotas(const struct gauges_input *in, const struct reading *r)
{
    struct github_rate rate;
    int64_t max = r->config->limits.max_vms;
    metric_set_thousandths(gauge_of(in->gauges, "mayfly_quota_use_ratio", "quota", "vms", NULL),
                           max > 0 ? r->fleet_used * 1000 / max : 1000);
    if (github_lowest_rate(in->reaper->github, &rate)) {
        metric_set_thousandths(
            gauge_of(in->gauges, "mayfly_quota_use_ratio", "quota", "github_calls", NULL),
            1000 - rate.left * 1000 / rate.limit);
    }
}

static int set_classes(const struct gauges_input *in, const struct reading *r, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < r->config->place_count; i++) {
        set_image_age(in, r->config->places[i]->name);
    }
    for (size_t i = 0; i <= r->config->class_count && rc == 0; i++) {
        if (is_used(&r->classes[i])) {
            set_class(in, &r->classes[i]);
        }
        if (r->classes[i].class != NULL) {
            rc = set_launchable(in, r, &r->classes[i], e);
        }
    }
    return rc;
}

int gauges_read_ledger(const struct gauges_input *in, struct err *e)
{
    const struct config *c = in->config;
    struct ledger *l = in->reaper->ledger;
    struct reading r = {.config = c};
    int rc = -1;
    if (ledger_counts(l, &r.counts, &r.count_count, e) == 0 &&
        ledger_balances(l, &r.balances, &r.balance_count, e) == 0 &&
        ledger_program_list(l, &r.programs, &r.program_count, e) == 0 &&
        ledger_pause_list(l, &r.pauses, &r.pause_count, e) == 0 &&
        ledger_image_list(l, &r.images, &r.image_count, e) == 0) {
        sum_up(&r);
        set_images(in, &r);
        rc = set_classes(in, &r, e);
        set_plain(in->gauges, "mayfly_fleet_vms_max", c->limits.max_vms);
        set_programs(in->gauges, &r);
        set_image_ages(in);
        set_circuits(in);
        rc = rc == 0 ? set_targets(in, e) : rc;
        set_quotas(in, &r);
    }
    free(r.classes);
    free(r.images);
    free(r.pauses);
    free(r.programs);
    free(r.balances);
    free(r.counts);
    return rc;
}

/* --- the queue --- */

/* Lanes of former classes count together. */
static const char *label_of_lane(const struct config *c, const char *lane)
{
    const char *class = launch_lane_class(lane);
    return class == NULL || config_class_by_name(c, slice_of(class)) != NULL ? lane
                                                                             : FLEET_UNCONFIGURED;
}

/* Of all lanes with that label. Those without messages are not in the list. */
static void set_lane(struct metrics_group *g, const struct config *c,
                     const struct queue_depth *depths, size_t n, const char *label)
{
    int64_t depth = 0;
    int64_t oldest_ms = 0;
    for (size_t i = 0; i < n; i++) {
        const struct queue_depth *d = &depths[i];
        if (strcmp(label_of_lane(c, d->lane), label) == 0) {
            depth += d->ready + d->delayed;
            oldest_ms = d->oldest_ready_ms > oldest_ms ? d->oldest_ready_ms : oldest_ms;
        }
    }
    set_by(g, "mayfly_queue_depth", "lane", label, depth);
    set_seconds(g, "mayfly_queue_oldest_age_seconds", "lane", label, oldest_ms);
}

int gauges_read_queue(const struct gauges_input *in, struct err *e)
{
    const struct config *c = in->config;
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    bool former = false;
    if (queue_depths(in->reaper->queue, NULL, &depths, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        dead += depths[i].dead;
        former = former || strcmp(label_of_lane(c, depths[i].lane), FLEET_UNCONFIGURED) == 0;
    }
    set_plain(in->gauges, "mayfly_dead_letters", dead);
    set_lane(in->gauges, c, depths, n, EVENTS_LANE);
    for (size_t i = 0; i < c->class_count; i++) {
        char lane[LAUNCH_LANE_SIZE];
        set_lane(in->gauges, c, depths, n, launch_lane(c->classes[i].name, lane));
    }
    if (former) {
        set_lane(in->gauges, c, depths, n, FLEET_UNCONFIGURED);
    }
    free(depths);
    return 0;
}
