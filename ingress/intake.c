#include "ingress/intake.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/cond.h"
#include "common/base/liveness.h"
#include "common/base/log.h"
#include "common/base/streak.h"
#include "common/base/thread.h"
#include "ingress/stats.h"

#define COMMIT_THREADS_MAX 64
/* Where commits take longer, the time is the queue's and not this host's: deliveries that arrive during
 * one do not wait for its end. */
#define PARALLEL_US 20000
/* A commit costs as much as many deliveries. One that follows another at once, for fewer deliveries
 * than GATHER_ENOUGH, waits for more of them: for those that the last one's answers bring. */
#define GATHER_ENOUGH 16
#define GATHER_MAX_US 500
#define GATHER_SHARE 4 /* of the time that a commit takes */

struct intake {
    struct intake_options o;
    int64_t in_flight; /* atomic */
    struct streak commits;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    pthread_cond_t gathered;
    struct delivery *first; /* guarded by lock, as the rest */
    struct delivery **last;
    int64_t waiting; /* in that list */
    int sleeping;
    int committing;
    bool gathering;
    int64_t commit_us; /* of a commit: the average of the last ones */
    int64_t moved_us;  /* when a commit last began or ended */
    bool stopping;
    struct threads threads; /* main thread only */
};

/* The working memory of one commit thread. */
struct batch {
    struct delivery *deliveries[INTAKE_BATCH_MAX];
    struct queue_item items[QUEUE_BATCH_MAX];
    size_t count;        /* of deliveries */
    int64_t commit_us;   /* how long they took */
    int64_t deadline_us; /* of the delivery that has waited longest */
};

bool intake_reserve(struct intake *in)
{
    if (__atomic_add_fetch(&in->in_flight, 1, __ATOMIC_RELAXED) <= in->o.max_in_flight) {
        return true;
    }
    intake_release(in);
    return false;
}

void intake_release(struct intake *in)
{
    __atomic_sub_fetch(&in->in_flight, 1, __ATOMIC_RELAXED);
}

int64_t intake_in_flight(const struct intake *in)
{
    return __atomic_load_n(&in->in_flight, __ATOMIC_RELAXED);
}

/* For a put that is stuck: half of the places are taken. */
static bool is_crowded(void *arg)
{
    const struct intake *in = arg;
    return intake_in_flight(in) >= (in->o.max_in_flight + 1) / 2;
}

bool intake_is_failing(struct intake *in, struct err *e)
{
    return streak_lasts(&in->commits, e);
}

/* Under the lock. One thread commits, and what arrives meanwhile becomes its next batch; another one
 * helps if that batch is full already, or if commits are slow, or this one is. */
static bool needs_committer(const struct intake *in)
{
    return in->committing == 0 || in->waiting >= in->o.batch || in->commit_us > PARALLEL_US ||
           clock_mono_us() - in->moved_us > PARALLEL_US;
}

void intake_tick(struct intake *in)
{
    pthread_mutex_lock(&in->lock);
    bool wake = in->first != NULL && in->sleeping > 0 && needs_committer(in);
    pthread_mutex_unlock(&in->lock);
    if (wake) {
        pthread_cond_signal(&in->arrived);
    }
}

void intake_submit(struct intake *in, struct delivery *list)
{
    pthread_mutex_lock(&in->lock);
    *in->last = list;
    for (; *in->last != NULL; in->waiting++) {
        in->last = &(*in->last)->next;
    }
    /* A busy commit thread checks the list again before it sleeps. The signal is sent without the
     * lock, so that the woken thread does not block on it. */
    bool wake = in->sleeping > 0 && needs_committer(in);
    bool enough = in->gathering && in->waiting >= GATHER_ENOUGH;
    pthread_mutex_unlock(&in->lock);
    if (wake) {
        pthread_cond_signal(&in->arrived);
    }
    if (enough) {
        pthread_cond_signal(&in->gathered);
    }
}

/* Under the lock. */
static void gather(struct intake *in)
{
    int64_t us =
        in->commit_us / GATHER_SHARE < GATHER_MAX_US ? in->commit_us / GATHER_SHARE : GATHER_MAX_US;
    int64_t until_us = cond_deadline_us(0) + us;
    bool in_time = true;
    in->gathering = true;
    while (in_time && in->waiting < GATHER_ENOUGH && !in->stopping) {
        in_time = cond_wait_until(&in->gathered, &in->lock, until_us);
    }
    in->gathering = false;
}

/* Under the lock. */
static void take_batch(struct intake *in, struct batch *b)
{
    size_t max = (size_t)in->o.batch;
    while (in->first != NULL && b->count < max) {
        struct delivery *d = in->first;
        in->first = d->next;
        d->next = NULL;
        b->deliveries[b->count++] = d;
    }
    in->waiting -= (int64_t)b->count;
    if (in->first == NULL) {
        in->last = &in->first;
    }
}

/* Blocks until there is a delivery; false when the intake stops and none is left. *b: the batch that
 * this thread has committed, empty at first. */
static bool next_batch(struct intake *in, struct batch *b)
{
    pthread_mutex_lock(&in->lock);
    if (b->count > 0) {
        in->commit_us += (b->commit_us - in->commit_us) / 4;
        if (in->first != NULL && in->waiting < GATHER_ENOUGH && !in->gathering) {
            gather(in);
        }
        in->committing--;
    }
    b->count = 0;
    while (in->first == NULL && !in->stopping) {
        in->sleeping++;
        liveness_rest();
        pthread_cond_wait(&in->arrived, &in->lock);
        liveness_beat();
        in->sleeping--;
    }
    take_batch(in, b);
    in->committing += b->count > 0;
    in->moved_us = clock_mono_us();
    bool wake = in->first != NULL && in->sleeping > 0 && needs_committer(in);
    pthread_mutex_unlock(&in->lock);
    if (wake) {
        pthread_cond_signal(&in->arrived);
    }
    return b->count > 0;
}

/* The one place where deliveries become durable: on the queue, or in the spool if the queue is slow
 * or unavailable. Returns the result for all of them. */
static enum delivery_result intake_commit(struct intake *in, struct batch *b,
                                          struct delivery *const *list, size_t n, struct err *e)
{
    int64_t begun_us = clock_mono_us();
    bool spooled = false;
    int result;
    size_t items = 0;
    for (size_t i = 0; i < n; i++) {
        items += job_messages_items(&list[i]->messages, &b->items[items]);
    }
    if (in->o.spool != NULL) {
        const struct spool_caller caller = {b->deadline_us, is_crowded, in};
        result = spool_commit(in->o.spool, b->items, items, &caller, &spooled, e);
    } else {
        result = queue_put(in->o.queue, b->items, items, e);
        if (result != 0) {
            stats_enqueue_failed();
        }
    }
    stats_commit(clock_mono_us() - begun_us, (int64_t)n);
    if (result == 0) {
        streak_success(&in->commits);
    } else {
        streak_failure(&in->commits, e);
        bool spool_is_full = in->o.spool != NULL && e->class == ERR_CAPACITY;
        return spool_is_full ? DELIVERY_REFUSED : DELIVERY_FAILED;
    }
    return spooled ? DELIVERY_SPOOLED : DELIVERY_QUEUED;
}

static bool is_durable(enum delivery_result r)
{
    return r == DELIVERY_QUEUED || r == DELIVERY_SPOOLED;
}

/* One by one, so that a delivery that can never be enqueued fails alone. */
static void commit_singly(struct intake *in, struct batch *b, struct delivery **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        list[i]->result = intake_commit(in, b, &list[i], 1, &e);
        if (!is_durable(list[i]->result)) {
            log_error("enqueue_failed", LOG_STR("delivery_id", list[i]->guid), LOG_ERR(&e));
        }
    }
}

static void commit_list(struct intake *in, struct batch *b, struct delivery **list, size_t n)
{
    struct err e = {0};
    b->deadline_us = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        int64_t deadline_us = list[i]->submitted_us + in->o.enqueue_timeout_ms * 1000;
        b->deadline_us = deadline_us < b->deadline_us ? deadline_us : b->deadline_us;
    }
    enum delivery_result result = intake_commit(in, b, list, n, &e);
    for (size_t i = 0; i < n; i++) {
        list[i]->result = result;
    }
    if (!is_durable(result) && e.class == ERR_PERMANENT && n > 1) {
        commit_singly(in, b, list, n);
    } else if (!is_durable(result)) {
        log_error("enqueue_failed", LOG_INT("deliveries", (int64_t)n), LOG_ERR(&e));
    }
    for (size_t i = 0; i < n; i++) {
        if (is_durable(list[i]->result)) {
            dedupe_add(in->o.dedupe, list[i]->guid);
        }
    }
}

/* Moves deliveries past their deadline behind the rest; returns how many remain to enqueue. */
static size_t separate_late(struct intake *in, struct batch *b)
{
    int64_t oldest_us = clock_mono_us() - in->o.enqueue_timeout_ms * 1000;
    size_t remaining = b->count;
    for (size_t i = 0; i < remaining;) {
        struct delivery *d = b->deliveries[i];
        if (d->submitted_us >= oldest_us) {
            i++;
            continue;
        }
        d->result = DELIVERY_LATE;
        b->deliveries[i] = b->deliveries[--remaining];
        b->deliveries[remaining] = d;
    }
    return remaining;
}

/* Returns all deliveries of a batch, with one post for each mailbox. */
static void return_deliveries(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct delivery *list = b->deliveries[i];
        struct delivery **last = NULL;
        if (list == NULL) {
            continue;
        }
        last = &list->next;
        for (size_t k = i + 1; k < b->count; k++) {
            if (b->deliveries[k] != NULL && b->deliveries[k]->home == list->home) {
                *last = b->deliveries[k];
                last = &b->deliveries[k]->next;
                b->deliveries[k] = NULL;
            }
        }
        mailbox_post(list->home, list);
    }
}

static void *commit_until_stopped(void *arg)
{
    struct intake *in = arg;
    struct batch *b = calloc(1, sizeof *b);
    ASSERT(b != NULL);
    liveness_enter("a commit thread", LIVENESS_LIMIT_MS);
    while (next_batch(in, b)) {
        liveness_beat();
        int64_t begun_us = clock_mono_us();
        size_t n = in->o.spool != NULL ? b->count : separate_late(in, b);
        if (n > 0) {
            commit_list(in, b, b->deliveries, n);
        }
        b->commit_us = clock_mono_us() - begun_us;
        return_deliveries(b);
    }
    liveness_leave();
    free(b);
    return NULL;
}

int intake_start(const struct intake_options *o, struct intake **out, struct err *e)
{
    ASSERT(o->commit_threads >= 1 && o->commit_threads <= COMMIT_THREADS_MAX);
    ASSERT(o->batch >= 1 && o->batch <= INTAKE_BATCH_MAX);
    struct intake *in = calloc(1, sizeof *in);
    ASSERT(in != NULL);
    in->o = *o;
    in->last = &in->first;
    streak_init(&in->commits);
    ASSERT(pthread_mutex_init(&in->lock, NULL) == 0 && pthread_cond_init(&in->arrived, NULL) == 0);
    cond_init(&in->gathered);
    if (threads_start(&in->threads, (size_t)o->commit_threads, "a thread of ingress.commit_threads",
                      commit_until_stopped, in, e) != 0) {
        intake_stop(in);
        return -1;
    }
    *out = in;
    return 0;
}

void intake_stop(struct intake *in)
{
    if (in == NULL) {
        return;
    }
    pthread_mutex_lock(&in->lock);
    in->stopping = true;
    pthread_cond_broadcast(&in->arrived);
    pthread_cond_broadcast(&in->gathered);
    pthread_mutex_unlock(&in->lock);
    threads_join(&in->threads);
    pthread_cond_destroy(&in->arrived);
    pthread_cond_destroy(&in->gathered);
    pthread_mutex_destroy(&in->lock);
    streak_fini(&in->commits);
    free(in);
}
