#include "worker/launch_pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/thread.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/launch.h"
#include "worker/share.h"

struct launch_pool {
    struct worker *worker;
    struct lane **lanes; /* one per class, in the order of the configuration */
    size_t lane_count;
    size_t thread_count;
    struct threads threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    struct share_class *shares; /* one per lane */
    size_t idle;                /* threads without a lane */
    uint64_t picks;
    bool stopping;
};

static int pick_locked(const struct launch_pool *p)
{
    return share_pick(p->shares, p->lane_count, p->thread_count, p->idle);
}

/* Waits for a lane that this thread may poll; false when the intake has stopped. */
static bool begin_poll(struct launch_pool *p, size_t *out_lane)
{
    int lane = -1;
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (!p->stopping && !wakeup_raised(&p->worker->intake) && (lane = pick_locked(p)) < 0) {
        pthread_cond_wait(&p->changed, &p->lock);
    }
    if (lane >= 0) {
        *out_lane = (size_t)lane;
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
    while (begin_poll(p, &i)) {
        struct queue_message m = {0};
        const struct config *c = config_live_get(w->config);
        bool received = lane_poll(p->lanes[i], c, &m);
        end_poll(p, i, received);
        if (received) {
            /* A poll may wait long: use a configuration that was reloaded meanwhile. */
            config_live_put(w->config, c);
            c = config_live_get(w->config);
            launch(w, p->lanes[i], c, &m);
            end_launch(p, i);
        }
        queue_message_fini(&m);
        config_live_put(w->config, c);
    }
    return NULL;
}

int launch_pool_start(struct worker *w, const struct config *c, struct launch_pool **out,
                      struct err *e)
{
    struct launch_pool *p = calloc(1, sizeof *p);
    ASSERT(p != NULL && c->class_count > 0);
    ASSERT(pthread_mutex_init(&p->lock, NULL) == 0 && pthread_cond_init(&p->changed, NULL) == 0);
    p->worker = w;
    p->thread_count = (size_t)c->worker.launch_threads;
    p->lanes = calloc(c->class_count, sizeof(struct lane *));
    p->shares = calloc(c->class_count, sizeof p->shares[0]);
    ASSERT(p->lanes != NULL && p->shares != NULL);
    for (; p->lane_count < c->class_count; p->lane_count++) {
        p->lanes[p->lane_count] = lane_new(w, &c->classes[p->lane_count]);
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
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->shares);
    free(p->lanes);
    free(p);
}
