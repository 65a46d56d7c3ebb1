#include "reaper/metrics/fleet.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "reaper/metrics/emf.h"
#include "reaper/metrics/gauges.h"

#define READ_EVERY_MS 10000
/* Where its depths are estimates: there each read is billed, or slow. */
#define READ_QUEUE_EVERY_MS 60000
#define STALE_ROUNDS 6

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
    struct image_times images; /* the reading thread's, as the next two */
    struct emf_writer emf;
    int64_t emf_due_ms; /* monotonic */
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

static void set_observed(const struct part *p)
{
    struct buf label;
    buf_init(&label, 64);
    metrics_label(&label, "store", p->store);
    metric_set_thousandths(
        metrics_group_gauge(&observed, "mayfly_fleet_observed_timestamp_seconds", label.data),
        p->read_wall_ms);
    buf_fini(&label);
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
                set_observed(parts[i]);
            }
        }
        metrics_group_show(&observed);
    } else {
        hide_all_locked(m);
    }
    pthread_mutex_unlock(&m->lock);
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

static bool read_part(struct fleet_metrics *m, struct part *p, gauges_read_fn *read,
                      const struct config *c)
{
    struct err e = {0};
    struct repository_vms repositories;
    if (clock_mono_ms() < p->due_ms || !holds_lease(m)) {
        return false;
    }
    p->due_ms = clock_mono_ms() + p->every_ms;
    copy_repositories(m, &repositories);
    const struct gauges_input in = {.reaper = m->reaper,
                                    .config = c,
                                    .repositories = &repositories,
                                    .images = &m->images,
                                    .gauges = p->gauges};
    int rc = read(&in, &e);
    free(repositories.list);
    if (rc != 0) {
        log_debug("fleet_metrics_not_read", LOG_STR("store", p->store), LOG_ERR(&e),
                  LOG_STR("action", "the gauges vanish if it lasts; they are read again soon"));
        return false;
    }
    finish_round(m, p);
    return true;
}

/* With values that were read just now, and by the holder of the lease. */
static void write_emf(struct fleet_metrics *m, const struct config *c)
{
    if (c->metrics.emf && clock_mono_ms() >= m->emf_due_ms && holds_lease(m)) {
        m->emf_due_ms = clock_mono_ms() + EMF_EVERY_MS;
        emf_write(&m->emf, c, clock_wall_ms());
    }
}

void fleet_metrics_read(struct fleet_metrics *m)
{
    const struct config *c = config_live_get(m->reaper->config);
    if (holds_lease(m)) {
        image_times_refresh(&m->images, m->reaper->ledger, c);
    }
    (void)read_part(m, &m->queue, gauges_read_queue, c);
    bool read = read_part(m, &m->ledger, gauges_read_ledger, c);
    fleet_metrics_check(m);
    if (read) {
        write_emf(m, c);
    }
    config_live_put(m->reaper->config, c);
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
    m->emf = (struct emf_writer){.fd = STDOUT_FILENO};
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
        image_times_fini(&m->images);
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
