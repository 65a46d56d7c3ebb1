/*
 * The launch threads of a worker with three classes: how many launches are in flight, and of which
 * class. Lanes and launches are scripted: a launch lasts until the test ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/launch.h"
#include "worker/launch_pool.h"

#define CLASSES 3
#define THREADS 9

struct lane {
    int waiting; /* messages */
    int polls;   /* under way */
    int most_polls;
    int launching;
    int end; /* launches that may end */
    int ended;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lane lanes[CLASSES];
    struct worker worker;
    bool stopping;
} script = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static char names[CLASSES][2] = {"a", "b", "c"};

struct lane *lane_new(struct worker *w, const char *class_name)
{
    assert_ptr_equal(w, &script.worker);
    return &script.lanes[class_name[0] - 'a'];
}

void lane_free(struct lane *lane)
{
    assert_int_equal(lane->launching, 0);
}

bool lane_poll(struct lane *lane, const struct config *c, struct queue_message *m)
{
    struct timespec soon;
    (void)c;
    pthread_mutex_lock(&script.lock);
    lane->polls++;
    lane->most_polls = lane->polls > lane->most_polls ? lane->polls : lane->most_polls;
    if (lane->waiting == 0 && !script.stopping) { /* as a poll of the queue, but shorter */
        (void)clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 20 * 1000000;
        soon.tv_sec += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&script.changed, &script.lock, &soon);
    }
    bool taken = lane->waiting > 0 && !script.stopping;
    lane->waiting -= taken ? 1 : 0;
    lane->polls--;
    pthread_mutex_unlock(&script.lock);
    (void)snprintf(m->id, sizeof m->id, "message");
    return taken;
}

void launch(struct worker *w, struct lane *lane, const struct config *c, struct queue_message *m)
{
    (void)c;
    assert_ptr_equal(w, &script.worker);
    assert_string_equal(m->id, "message");
    pthread_mutex_lock(&script.lock);
    lane->launching++;
    pthread_cond_broadcast(&script.changed);
    while (lane->end == 0) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    lane->end--;
    lane->launching--;
    pthread_mutex_unlock(&script.lock);
}

void lane_launch_ended(struct lane *lane, const struct queue_message *m)
{
    assert_string_equal(m->id, "message");
    pthread_mutex_lock(&script.lock);
    lane->ended++;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
}

struct heartbeat *heartbeat_new(struct worker *w)
{
    return (struct heartbeat *)w; /* never looked into */
}

void heartbeat_free(struct heartbeat *h)
{
    assert_ptr_equal(h, &script.worker);
}

int heartbeat_start(struct heartbeat *h, struct err *e)
{
    assert_ptr_equal(h, &script.worker);
    (void)e;
    return 0;
}

void worker_stop_intake(struct worker *w)
{
    (void)w;
    fail();
}

void queue_message_fini(struct queue_message *m)
{
    (void)m;
}

/* --- the test's side --- */

static void wait_for(int *what, int value)
{
    pthread_mutex_lock(&script.lock);
    while (*what != value) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    pthread_mutex_unlock(&script.lock);
}

static void wait_for_at_least(const int *what, int value)
{
    pthread_mutex_lock(&script.lock);
    while (*what < value) {
        pthread_cond_wait(&script.changed, &script.lock);
    }
    pthread_mutex_unlock(&script.lock);
}

static void add(int *what, int n)
{
    pthread_mutex_lock(&script.lock);
    *what += n;
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
}

static int in_flight(void)
{
    pthread_mutex_lock(&script.lock);
    int n = script.lanes[0].launching + script.lanes[1].launching + script.lanes[2].launching;
    pthread_mutex_unlock(&script.lock);
    return n;
}

static struct launch_pool *start(int64_t threads)
{
    struct err e = {0};
    struct launch_pool *p = NULL;
    struct config *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->worker.launch_threads = threads;
    c->classes = calloc(CLASSES, sizeof c->classes[0]);
    assert_non_null(c->classes);
    for (; c->class_count < CLASSES; c->class_count++) {
        c->classes[c->class_count].name = slice_dup(slice_of(names[c->class_count]));
    }
    memset(script.lanes, 0, sizeof script.lanes);
    script.stopping = false;
    stop_init(&script.worker.intake);
    script.worker.config = config_live_new(c, NULL, CONFIG_FOR_WORKER);
    assert_int_equal(launch_pool_start(&script.worker, c, &p, &e), 0);
    return p;
}

static void stop(struct launch_pool *p)
{
    stop_raise(&script.worker.intake);
    pthread_mutex_lock(&script.lock);
    script.stopping = true;
    for (int i = 0; i < CLASSES; i++) {
        script.lanes[i].end = 1000;
        assert_in_range(script.lanes[i].most_polls, 0, 1);
    }
    pthread_cond_broadcast(&script.changed);
    pthread_mutex_unlock(&script.lock);
    launch_pool_join(p);
    assert_int_equal(in_flight(), 0);
    config_live_free(script.worker.config);
    stop_fini(&script.worker.intake);
}

static void one_class_may_use_all_threads_but_one_for_each_of_the_others(void **state)
{
    (void)state;
    struct launch_pool *p = start(THREADS);
    struct lane *a = &script.lanes[0];
    add(&a->waiting, 100);
    wait_for(&a->launching, THREADS - (CLASSES - 1));
    add(&script.lanes[1].waiting, 1);
    wait_for(&script.lanes[1].launching, 1); /* though all of the first's go on */
    add(&script.lanes[2].waiting, 1);
    wait_for(&script.lanes[2].launching, 1);
    assert_int_equal(in_flight(), THREADS);
    assert_int_equal(a->launching, THREADS - (CLASSES - 1));
    stop(p);
}

static void class_with_work_wins_back_its_share(void **state)
{
    (void)state;
    struct launch_pool *p = start(THREADS);
    struct lane *a = &script.lanes[0];
    struct lane *b = &script.lanes[1];
    add(&a->waiting, 100);
    wait_for(&a->launching, THREADS - (CLASSES - 1));
    add(&b->waiting, 100);
    wait_for(&b->launching, 1);
    add(&a->end, 3);
    /* What is beyond both shares goes to either, as their polls come. */
    wait_for_at_least(&b->launching, THREADS / CLASSES);
    stop(p);
}

static void freed_thread_serves_the_next_message(void **state)
{
    (void)state;
    struct launch_pool *p = start(CLASSES);
    struct lane *a = &script.lanes[0];
    add(&a->waiting, 20);
    for (int i = 1; i <= 20; i++) {
        wait_for(&a->launching, 1);
        add(&a->end, 1);
        wait_for(&a->ended, i);
    }
    stop(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_class_may_use_all_threads_but_one_for_each_of_the_others),
        cmocka_unit_test(class_with_work_wins_back_its_share),
        cmocka_unit_test(freed_thread_serves_the_next_message),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
