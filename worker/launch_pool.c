#include "worker/launch_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/liveness.h"
#include "common/base/metrics.h"
#include "common/base/thread.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/launch.h"
#include "worker/share.h"

struct former_lane {
    struct former_lane *next;
    struct lane *lane;
};

struct launch_pool {
    struct worker *worker;
    size_t thread_count;
    struct metric *launching;
    struct threads threads;
    struct former_lane *former; /* replaced by a reload; threads may still launch from them */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    struct lane **lanes;        /* one per class, never fewer */
    struct share_class *shares; /* one per lane */
    int64_t *openings;          /* config_class.opening, for which the lane was made */
    size_t lane_count;
    size_t idle; /* threads without a lane */
    uint64_t picks;
    bool stopping;
};

static int pick_locked(const struct launch_pool *p)
{
    return share_pick(p->shares, p->lane_count, p->thread_count, p->idle);
}

/* Waits for a lane that this thread may poll; false when the intake has stopped. */
static bool begin_poll(struct launch_pool *p, size_t *out_lane, struct lane **out)
{
    int lane = -1;
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (!p->stopping && !wakeup_raised(&p->worker->intake) && (lane = pick_locked(p)) < 0) {
        liveness_rest();
        pthread_cond_wait(&p->changed, &p->lock);
        liveness_beat();
    }
    if (lane >= 0) {
        *out_lane = (size_t)lane;
        *out = p->lanes[lane];
        p->shares[lane].polled = true;
        p->shares[lane].picked = ++p->picks;
    }
    p->idle--;
    if (pick_locked(p) >= 0) {
        pthread_cond_signal(&p->changed); /* for the next waiting thread */
    }
    pthread_mutex_unlock(&p->lock);
    return lane >= 0;
}

static void end_poll(struct launch_pool *p, size_t lane, bool received)
{
    pthread_mutex_lock(&p->lock);
    p->shares[lane].polled = false;
    p->shares[lane].has_work = received;
    p->shares[lane].launching += received ? 1 : 0;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void end_launch(struct launch_pool *p, size_t lane)
{
    pthread_mutex_lock(&p->lock);
    p->shares[lane].launching--;
    pthread_mutex_unlock(&p->lock);
}

static void *launch_until_stopped(void *arg)
{
    struct launch_pool *p = arg;
    struct worker *w = p->worker;
    size_t i = 0;
    struct lane *lane = NULL;
    liveness_enter("a launch thread", LIVENESS_LIMIT_MS);
    while (begin_poll(p, &i, &lane)) {
        liveness_beat();
        struct queue_message m = {0};
        const struct config *c = config_live_get(w->config);
        bool received = lane_poll(lane, c, &m);
        end_poll(p, i, received);
        if (received) {
            /* A poll may wait long: use a configuration that was reloaded meanwhile. */
            config_live_put(w->config, c);
            c = config_live_get(w->config);
            metric_add(p->launching, 1);
            launch(w, lane, c, &m);
            metric_add(p->launching, -1);
            end_launch(p, i);
        }
        queue_message_fini(&m);
        config_live_put(w->config, c);
    }
    liveness_leave();
    return NULL;
}

/* --- the classes --- */

static size_t find_lane(const struct launch_pool *p, const char *class_name)
{
    size_t i = 0;
    while (i < p->lane_count && strcmp(lane_class(p->lanes[i]), class_name) != 0) {
        i++;
    }
    return i;
}

static void replace_lane_locked(struct launch_pool *p, size_t i, const struct config_class *class)
{
    struct former_lane *former = calloc(1, sizeof *former);
    ASSERT(former != NULL);
    *former = (struct former_lane){.next = p->former, .lane = p->lanes[i]};
    p->former = former;
    p->lanes[i] = lane_new(p->worker, class);
    p->openings[i] = class->opening;
}

static void add_lane_locked(struct launch_pool *p, const struct config_class *class)
{
    size_t n = p->lane_count + 1;
    p->lanes = reallocarray(p->lanes, n, sizeof(struct lane *));
    p->shares = reallocarray(p->shares, n, sizeof p->shares[0]);
    p->openings = reallocarray(p->openings, n, sizeof p->openings[0]);
    ASSERT(p->lanes != NULL && p->shares != NULL && p->openings != NULL);
    p->lanes[p->lane_count] = lane_new(p->worker, class);
    p->shares[p->lane_count] = (struct share_class){.retired = true};
    p->openings[p->lane_count] = class->opening;
    p->lane_count = n;
}

static size_t count_served_locked(const struct launch_pool *p)
{
    size_t served = 0;
    for (size_t i = 0; i < p->lane_count; i++) {
        served += !p->shares[i].retired;
    }
    return served;
}

static int serve_class_locked(struct launch_pool *p, const struct config_class *class,
                              struct err *e)
{
    size_t i = find_lane(p, class->name);
    if (i == p->lane_count) {
        add_lane_locked(p, class);
    } else if (p->openings[i] != class->opening) {
        replace_lane_locked(p, i, class);
    }
    if (p->shares[i].retired && count_served_locked(p) == p->thread_count) {
        return err_set(e, ERR_CAPACITY, 0,
                       "worker.launch_threads is %zu, which is too few for class %s: raise it and "
                       "restart this worker",
                       p->thread_count, class->name);
    }
    p->shares[i].retired = false;
    return 0;
}

int launch_pool_reload(struct launch_pool *p, const struct config *c, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->lane_count; i++) {
        const struct config_class *class =
            config_class_by_name(c, slice_of(lane_class(p->lanes[i])));
        p->shares[i].retired |= class == NULL || config_class_is_retired(class);
    }
    for (size_t i = 0; i < c->class_count; i++) {
        const struct config_class *class = &c->classes[i];
        if (!config_class_is_retired(class) && fleet_serves(p->worker->fleet, class->name) &&
            serve_class_locked(p, class, e) != 0) {
            rc = -1;
        }
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int launch_pool_start(struct worker *w, const struct config *c, struct launch_pool **out,
                      struct err *e)
{
    struct launch_pool *p = calloc(1, sizeof *p);
    ASSERT(p != NULL);
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_cond_init(&p->changed, NULL) == 0);
    p->worker = w;
    p->thread_count = (size_t)c->worker.launch_threads;
    p->launching = metrics_gauge("mayfly_worker_launches_in_progress", "");
    metric_set(metrics_gauge("mayfly_worker_launch_threads", ""), c->worker.launch_threads);
    w->heartbeat = NULL;
    if (launch_pool_reload(p, c, e) != 0) {
        launch_pool_join(p);
        return -1;
    }
    w->heartbeat = heartbeat_new(w);
    if (heartbeat_start(w->heartbeat, e) != 0 ||
        threads_start(&p->threads, p->thread_count, "a thread of worker.launch_threads",
                      launch_until_stopped, p, e) != 0) {
        worker_stop_intake(w);
        launch_pool_join(p);
        return -1;
    }
    *out = p;
    return 0;
}

void launch_pool_join(struct launch_pool *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    threads_join(&p->threads);
    heartbeat_free(p->worker->heartbeat);
    p->worker->heartbeat = NULL;
    for (size_t i = 0; i < p->lane_count; i++) {
        lane_free(p->lanes[i]);
    }
    while (p->former != NULL) {
        struct former_lane *first = p->former;
        p->former = first->next;
        lane_free(first->lane);
        free(first);
    }
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->openings);
    free(p->shares);
    free(p->lanes);
    free(p);
}
