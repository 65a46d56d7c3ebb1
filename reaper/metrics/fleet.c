#include "reaper/metrics/fleet.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "common/github/budget.h"
#include "common/job/lane.h"
#include "common/ledger/pauses.h"
#include "common/ledger/programs.h"

#define READ_EVERY_MS 10000
#define READ_QUEUE_EVERY_MS                                                                        \
    60000 /* where its depths are estimates: there each read is billed, or slow */
#define STALE_ROUNDS 6
#define LIVE_INTERVALS 4 /* a program without a heartbeat for so long counts as dead */
#define UNCONFIGURED "unconfigured"

/* What is read together, and vanishes together. */
struct part {
    const char *store;
    struct metrics_group *gauges;
    int64_t every_ms;
    int64_t due_ms;  /* monotonic; the reading thread's */
    int64_t read_ms; /* monotonic: the last success. Under the lock */
    int64_t read_wall_ms;
};

/* A gauge has one group for as long as the process. */
static struct metrics_group ledger_gauges;
static struct metrics_group queue_gauges;
static struct metrics_group observed;

struct fleet_metrics {
    struct reaper *reaper;
    struct wakeup wake;
    struct threads thread;
    struct part ledger;
    struct part queue;
    pthread_mutex_t lock;
    /* Under the lock: */
    bool held;
    struct sweep_moment since;
    int64_t duration_ms;
    struct repository_vms repositories;
};

/* --- the lease --- */

static bool holds_lease_locked(const struct fleet_metrics *m)
{
    return m->held && sweep_moment_passed_ms(&m->since) < m->duration_ms;
}

static bool holds_lease(struct fleet_metrics *m)
{
    pthread_mutex_lock(&m->lock);
    bool holds = holds_lease_locked(m);
    pthread_mutex_unlock(&m->lock);
    return holds;
}

static void hide_part_locked(struct part *p)
{
    metrics_group_hide(p->gauges);
    p->read_ms = 0;
}

static void hide_all_locked(struct fleet_metrics *m)
{
    hide_part_locked(&m->ledger);
    hide_part_locked(&m->queue);
    metrics_group_hide(&observed);
}

void fleet_metrics_set_lease(struct fleet_metrics *m, const struct sweep_moment *since,
                             int64_t duration_ms)
{
    if (m == NULL) {
        return;
    }
    pthread_mutex_lock(&m->lock);
    bool began = since != NULL && !m->held;
    m->held = since != NULL;
    if (m->held) {
        m->since = *since;
        m->duration_ms = duration_ms;
    } else {
        hide_all_locked(m);
    }
    pthread_mutex_unlock(&m->lock);
    if (began) {
        wakeup_signal(&m->wake);
    }
}

static void check_part_locked(struct part *p)
{
    if (p->read_ms != 0 && clock_mono_ms() - p->read_ms > p->every_ms * STALE_ROUNDS) {
        hide_part_locked(p);
    }
}

void fleet_metrics_check(struct fleet_metrics *m)
{
    if (m == NULL) {
        return;
    }
    pthread_mutex_lock(&m->lock);
    if (!holds_lease_locked(m)) {
        hide_all_locked(m);
    }
    check_part_locked(&m->ledger);
    check_part_locked(&m->queue);
    pthread_mutex_unlock(&m->lock);
}

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

static void set_plain(struct part *p, const char *name, int64_t value)
{
    metric_set(gauge_of(p->gauges, name, NULL, NULL, NULL), value);
}

static void set_by(struct part *p, const char *name, const char *key, const char *of, int64_t value)
{
    metric_set(gauge_of(p->gauges, name, key, of, NULL), value);
}

static void set_seconds(struct part *p, const char *name, const char *key, const char *of,
                        int64_t ms)
{
    metric_set_thousandths(gauge_of(p->gauges, name, key, of, NULL), ms > 0 ? ms : 0);
}

/* The round is shown only if the lease is still held. */
static void finish_round(struct fleet_metrics *m, struct part *p)
{
    pthread_mutex_lock(&m->lock);
    if (holds_lease_locked(m)) {
        p->read_ms = clock_mono_ms();
        p->read_wall_ms = clock_wall_ms();
        metrics_group_show(p->gauges);
        struct part *const parts[] = {&m->ledger, &m->queue};
        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            if (parts[i]->read_wall_ms != 0) {
                metric_set_thousandths(gauge_of(&observed,
                                                "mayfly_fleet_observed_timestamp_seconds", "store",
                                                parts[i]->store, NULL),
                                       parts[i]->read_wall_ms);
            }
        }
        metrics_group_show(&observed);
    } else {
        hide_all_locked(m);
    }
    pthread_mutex_unlock(&m->lock);
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

static void set_states(struct part *p, const struct class_sums *s, const char *class_name)
{
    for (int i = JOB_SEEN; i <= JOB_RUNNING; i++) {
        metric_set(gauge_of(p->gauges, "mayfly_fleet_jobs", "class", class_name,
                            ledger_job_state_name((enum ledger_job_state)i)),
                   s->jobs[i]);
    }
    for (int i = VM_RESERVED; i < VM_GONE; i++) {
        metric_set(gauge_of(p->gauges, "mayfly_fleet_vms", "class", class_name,
                            ledger_vm_state_name((enum ledger_vm_state)i)),
                   s->vms[i]);
    }
}

static void set_class(struct fleet_metrics *m, const struct class_sums *s)
{
    struct part *p = &m->ledger;
    const char *name = s->class != NULL ? s->class->name : UNCONFIGURED;
    int64_t wait_ms = s->oldest_ms > 0 ? ledger_now_ms(m->reaper->ledger) - s->oldest_ms : 0;
    set_states(p, s, name);
    set_by(p, "mayfly_fleet_slots_used", "class", name, s->slots);
    set_by(p, "mayfly_fleet_demand", "class", name, s->demand);
    set_by(p, "mayfly_fleet_supply", "class", name, s->supply);
    set_seconds(p, "mayfly_fleet_oldest_wait_seconds", "class", name, wait_ms);
    if (s->class != NULL) {
        set_by(p, "mayfly_fleet_slots_max", "class", name, s->class->max_vms);
    }
}

static int set_launchable(struct fleet_metrics *m, const struct reading *r,
                          const struct class_sums *s, const struct repository_vms *repositories,
                          struct err *e)
{
    struct launchable found;
    const struct launchable_query q = {
        .reaper = m->reaper,
        .config = r->config,
        .class = s->class,
        .balances = r->balances,
        .balance_count = r->balance_count,
        .repositories = repositories,
        .class_used = s->slots,
        .fleet_used = r->fleet_used,
        .paused = ledger_pause_of(r->pauses, r->pause_count, s->class->name) != NULL};
    if (launchable_count(&q, &found, e) != 0) {
        return -1;
    }
    set_by(&m->ledger, "mayfly_fleet_launchable_backlog", "class", s->class->name, found.jobs);
    set_seconds(&m->ledger, "mayfly_fleet_oldest_launchable_wait_seconds", "class", s->class->name,
                found.oldest_wait_ms);
    return 0;
}

static bool is_live(const struct ledger_program *p, int64_t now_ms)
{
    return now_ms - p->at_ms < LIVE_INTERVALS * p->interval_ms + READ_EVERY_MS;
}

static void set_programs(struct part *p, const struct reading *r)
{
    int64_t now_ms = clock_wall_ms();
    int64_t workers = 0;
    int64_t reapers = 0;
    for (size_t i = 0; i < r->program_count; i++) {
        bool live = is_live(&r->programs[i], now_ms);
        workers += live && strcmp(r->programs[i].program, "mayfly-worker") == 0 ? 1 : 0;
        reapers += live && strcmp(r->programs[i].program, "mayfly-reaper") == 0 ? 1 : 0;
    }
    set_plain(p, "mayfly_fleet_workers", workers);
    set_plain(p, "mayfly_fleet_reapers", reapers);
}

static void set_circuits(struct fleet_metrics *m)
{
    circuits_refresh(m->reaper->circuits);
    for (enum subject s = 0; s < SUBJECT_CIRCUITS; s++) {
        set_by(&m->ledger, "mayfly_circuits_open", "subject", subject_kind(s),
               circuits_open_count(m->reaper->circuits, s));
    }
}

static void set_quotas(struct fleet_metrics *m, const struct reading *r)
{
    struct github_rate rate;
    int64_t max = r->config->limits.max_vms;
    metric_set_thousandths(
        gauge_of(m->ledger.gauges, "mayfly_quota_use_ratio", "quota", "vms", NULL),
        max > 0 ? r->fleet_used * 1000 / max : 1000);
    if (github_lowest_rate(m->reaper->github, &rate)) {
        metric_set_thousandths(
            gauge_of(m->ledger.gauges, "mayfly_quota_use_ratio", "quota", "github_calls", NULL),
            1000 - rate.left * 1000 / rate.limit);
    }
}

static void copy_repositories(struct fleet_metrics *m, struct repository_vms *out)
{
    pthread_mutex_lock(&m->lock);
    out->count = m->repositories.count;
    out->list = calloc(out->count + 1, sizeof *out->list);
    ASSERT(out->list != NULL);
    if (out->count > 0) {
        memcpy(out->list, m->repositories.list, out->count * sizeof *out->list);
    }
    pthread_mutex_unlock(&m->lock);
}

static int set_classes(struct fleet_metrics *m, const struct reading *r, struct err *e)
{
    struct repository_vms repositories;
    int rc = 0;
    copy_repositories(m, &repositories);
    for (size_t i = 0; i <= r->config->class_count && rc == 0; i++) {
        if (is_used(&r->classes[i])) {
            set_class(m, &r->classes[i]);
        }
        if (r->classes[i].class != NULL) {
            rc = set_launchable(m, r, &r->classes[i], &repositories, e);
        }
    }
    free(repositories.list);
    return rc;
}

static int read_ledger(struct fleet_metrics *m, const struct config *c, struct err *e)
{
    struct ledger *l = m->reaper->ledger;
    struct reading r = {.config = c};
    int rc = -1;
    if (ledger_counts(l, &r.counts, &r.count_count, e) == 0 &&
        ledger_balances(l, &r.balances, &r.balance_count, e) == 0 &&
        ledger_program_list(l, &r.programs, &r.program_count, e) == 0 &&
        ledger_pause_list(l, &r.pauses, &r.pause_count, e) == 0) {
        sum_up(&r);
        rc = set_classes(m, &r, e);
        set_plain(&m->ledger, "mayfly_fleet_vms_max", c->limits.max_vms);
        set_programs(&m->ledger, &r);
        set_circuits(m);
        set_quotas(m, &r);
    }
    free(r.classes);
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
    return class == NULL || config_class_by_name(c, slice_of(class)) != NULL ? lane : UNCONFIGURED;
}

/* Of all lanes with that label. Those without messages are not in the list. */
static void set_lane(struct part *p, const struct config *c, const struct queue_depth *depths,
                     size_t n, const char *label)
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
    set_by(p, "mayfly_queue_depth", "lane", label, depth);
    set_seconds(p, "mayfly_queue_oldest_age_seconds", "lane", label, oldest_ms);
}

static int read_queue(struct fleet_metrics *m, const struct config *c, struct err *e)
{
    struct queue_depth *depths = NULL;
    size_t n = 0;
    int64_t dead = 0;
    bool former = false;
    if (queue_depths(m->reaper->queue, NULL, &depths, &n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        dead += depths[i].dead;
        former = former || strcmp(label_of_lane(c, depths[i].lane), UNCONFIGURED) == 0;
    }
    set_plain(&m->queue, "mayfly_dead_letters", dead);
    set_lane(&m->queue, c, depths, n, EVENTS_LANE);
    for (size_t i = 0; i < c->class_count; i++) {
        char lane[LAUNCH_LANE_SIZE];
        set_lane(&m->queue, c, depths, n, launch_lane(c->classes[i].name, lane));
    }
    if (former) {
        set_lane(&m->queue, c, depths, n, UNCONFIGURED);
    }
    free(depths);
    return 0;
}

/* --- the rows of a sweep --- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct repository_count *)a)->name,
                  ((const struct repository_count *)b)->name);
}

static size_t merge_counts(struct repository_count *list, size_t n)
{
    size_t kept = 0;
    qsort(list, n, sizeof *list, compare_names);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(list[kept - 1].name, list[i].name) == 0) {
            list[kept - 1].vms++;
        } else {
            list[kept++] = list[i];
        }
    }
    return kept;
}

void fleet_metrics_set_rows(struct fleet_metrics *m, const struct ledger_vm *rows, size_t n)
{
    if (m == NULL) {
        return;
    }
    struct repository_vms now = {.list = calloc(n + 1, sizeof *now.list)};
    ASSERT(now.list != NULL);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].repository[0] != '\0') {
            struct repository_count *one = &now.list[now.count++];
            (void)snprintf(one->name, sizeof one->name, "%s", rows[i].repository);
            one->vms = 1;
        }
    }
    now.count = merge_counts(now.list, now.count);
    pthread_mutex_lock(&m->lock);
    free(m->repositories.list);
    m->repositories = now;
    pthread_mutex_unlock(&m->lock);
}

/* --- reading --- */

typedef int read_fn(struct fleet_metrics *m, const struct config *c, struct err *e);

static void read_part(struct fleet_metrics *m, struct part *p, read_fn *read,
                      const struct config *c)
{
    struct err e = {0};
    if (clock_mono_ms() < p->due_ms || !holds_lease(m)) {
        return;
    }
    p->due_ms = clock_mono_ms() + p->every_ms;
    if (read(m, c, &e) != 0) {
        log_debug("fleet_metrics_not_read", LOG_STR("store", p->store), LOG_ERR(&e),
                  LOG_STR("action", "the gauges vanish if it lasts; they are read again soon"));
        return;
    }
    finish_round(m, p);
}

void fleet_metrics_read(struct fleet_metrics *m)
{
    const struct config *c = config_live_get(m->reaper->config);
    read_part(m, &m->ledger, read_ledger, c);
    read_part(m, &m->queue, read_queue, c);
    config_live_put(m->reaper->config, c);
    fleet_metrics_check(m);
}

static void *read_until_stopped(void *arg)
{
    struct fleet_metrics *m = arg;
    while (!wakeup_raised(&m->wake)) {
        uint64_t seen = wakeup_count(&m->wake);
        fleet_metrics_read(m);
        (void)wakeup_wait(&m->wake, seen, READ_EVERY_MS);
    }
    return NULL;
}

/* --- lifetime --- */

struct fleet_metrics *fleet_metrics_new(struct reaper *r)
{
    struct fleet_metrics *m = calloc(1, sizeof *m);
    ASSERT(m != NULL && pthread_mutex_init(&m->lock, NULL) == 0);
    m->reaper = r;
    m->ledger =
        (struct part){.store = "ledger", .gauges = &ledger_gauges, .every_ms = READ_EVERY_MS};
    m->queue = (struct part){.store = "queue",
                             .gauges = &queue_gauges,
                             .every_ms = queue_can(r->queue, QUEUE_DEPTHS) ? READ_EVERY_MS
                                                                           : READ_QUEUE_EVERY_MS};
    wakeup_init(&m->wake);
    return m;
}

void fleet_metrics_free(struct fleet_metrics *m)
{
    if (m != NULL) {
        wakeup_fini(&m->wake);
        pthread_mutex_destroy(&m->lock);
        free(m->repositories.list);
        free(m);
    }
}

int fleet_metrics_start(struct fleet_metrics *m, struct err *e)
{
    return threads_start(&m->thread, 1, "the thread that reads the fleet's gauges",
                         read_until_stopped, m, e);
}

void fleet_metrics_stop(struct fleet_metrics *m)
{
    if (m != NULL) {
        wakeup_raise(&m->wake);
        threads_join(&m->thread);
        fleet_metrics_set_lease(m, NULL, 0);
    }
}
