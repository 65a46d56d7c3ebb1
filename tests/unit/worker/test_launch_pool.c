/*
 * The launch threads of a worker with three classes: how many launches are in flight, and of which
 * class. Each launch is held when its VM is to be run, until the test lets it go on.
 */
#include <pthread.h>

#include "common/base/clock.h"
#include "tests/unit/worker/world.h"
#include "worker/lane.h"
#include "worker/launch.h"
#include "worker/launch_pool.h"

#define CLASSES 3
#define THREADS 9
#define SMALL "class=small "
#define LARGE "class=large "
#define OTHER "class=other "

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int may_end[CLASSES]; /* launches of a class; under the lock, as all */
    struct {
        const struct lane *lane;
        int polls; /* under way */
    } lanes[CLASSES];
    bool polled_twice; /* one by two threads at once */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct launch_pool *pool;
static int64_t patience_ms; /* of polls of a lane without a message */
static int64_t next_job;

/* --- in the threads of the pool --- */
static void hold(size_t class)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.may_end[class] == 0) {
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    gate.may_end[class]--;
    pthread_mutex_unlock(&gate.lock);
}

static void hold_small(void)
{
    hold(0);
}

static void hold_large(void)
{
    hold(1);
}

static void hold_other(void)
{
    hold(2);
}

static void count_poll(const struct lane *lane, int change)
{
    size_t i = 0;
    pthread_mutex_lock(&gate.lock);
    while (gate.lanes[i].lane != NULL && gate.lanes[i].lane != lane) {
        i++;
    }
    gate.lanes[i].lane = lane;
    gate.lanes[i].polls += change;
    gate.polled_twice = gate.polled_twice || gate.lanes[i].polls > 1;
    pthread_mutex_unlock(&gate.lock);
}

static _Thread_local const struct lane *polled; /* by this thread, at last */

static const char *lane_name(const struct lane *lane)
{
    return lane == polled ? "polled" : "another";
}

bool __real_lane_poll(struct lane *lane, const struct config *c, struct queue_message *m);
bool __wrap_lane_poll(struct lane *lane, const struct config *c, struct queue_message *m);
void __real_lane_reservation_ended(struct lane *lane);
void __wrap_lane_reservation_ended(struct lane *lane);
void __real_launch(struct worker *w, struct lane *lane, const struct config *c,
                   struct queue_message *m);
void __wrap_launch(struct worker *w, struct lane *lane, const struct config *c,
                   struct queue_message *m);
int64_t __wrap_queue_poll_wait_ms(const struct queue *q);

bool __wrap_lane_poll(struct lane *lane, const struct config *c, struct queue_message *m)
{
    count_poll(lane, 1);
    bool taken = __real_lane_poll(lane, c, m);
    count_poll(lane, -1);
    polled = lane;
    return taken;
}

void __wrap_lane_reservation_ended(struct lane *lane)
{
    (void)call_begin("lane_reservation_ended", NULL, "lane=%s", lane_name(lane));
    __real_lane_reservation_ended(lane);
}

void __wrap_launch(struct worker *w, struct lane *lane, const struct config *c,
                   struct queue_message *m)
{
    __real_launch(w, lane, c, m);
    (void)call_begin("launch_ended", NULL, "lane=%s id=%s", lane_name(lane), m->id);
}

int64_t __wrap_queue_poll_wait_ms(const struct queue *q)
{
    assert_ptr_equal(q, world.worker.queue);
    return patience_ms;
}

/* --- the test's side --- */
static void let_end(size_t class, int n)
{
    pthread_mutex_lock(&gate.lock);
    gate.may_end[class] += n;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void put(const char *class_name, int n)
{
    char lane[64];
    (void)snprintf(lane, sizeof lane, "launch.%s", class_name);
    for (int i = 0; i < n; i++) {
        world_put_queued(lane, class_name, ++next_job);
    }
}

/* Caps and rates let everything be launched. */
static int set_up(void **state)
{
    static void (*const holds[CLASSES])(void) = {hold_small, hold_large, hold_other};
    static const char *const with[CLASSES] = {SMALL, LARGE, OTHER};
    int rc = world_set_up(state);
    clock_set_source(NULL); /* polls end */
    struct config *c = world.config;
    const struct config_rate fast = {.per_second = 1000, .burst = 1000};
    c->limits.max_vms = 1000;
    c->limits.max_vms_per_repository = 1000;
    c->limits.launch_rate = fast;
    memset(gate.may_end, 0, sizeof gate.may_end);
    memset(gate.lanes, 0, sizeof gate.lanes);
    gate.polled_twice = false;
    patience_ms = 10;
    next_job = 0;
    assert_int_equal(c->class_count, CLASSES);
    for (size_t i = 0; i < CLASSES; i++) {
        c->classes[i].max_vms = 1000;
        c->classes[i].launch_rate = fast;
        calls_plan(&(struct call_plan){.function = "vm_run", .with = with[i], .happens = holds[i]});
    }
    return rc;
}

static void start(int64_t threads)
{
    struct err e = {0};
    world.config->worker.launch_threads = threads;
    MUST(launch_pool_start(&world.worker, world.config, &pool, &e));
}

/* Launches in flight end, and their messages with them; nothing more is received. */
static void stop(void)
{
    worker_stop_intake(&world.worker);
    for (size_t i = 0; i < CLASSES; i++) {
        let_end(i, 1000);
    }
    launch_pool_join(pool);
    pool = NULL;
    assert_false(gate.polled_twice);
    size_t launches = calls_count("ledger_reserve", NULL);
    assert_int_equal(calls_done("queue_ack", NULL), launches);
    assert_int_equal(calls_count("lane_reservation_ended", "lane=polled"), launches);
    assert_int_equal(calls_count("launch_ended", "lane=polled"), launches);
    assert_null(world.worker.heartbeat);
}

static int tear_down(void **state)
{
    stop();
    return world_tear_down(state);
}

/* The threads of the other lanes have come back since, and were free to go elsewhere. */
static void wait_polls(const char *lane)
{
    calls_wait_count("queue_receive", lane, calls_count("queue_receive", lane) + 3);
}

static void one_class_may_use_all_threads_but_one_for_each_of_the_others(void **state)
{
    start(THREADS);
    put("small", 100);
    calls_wait_count("vm_run", SMALL, THREADS - (CLASSES - 1));
    wait_polls("lane=launch.large ");
    wait_polls("lane=launch.other ");
    assert_int_equal(calls_count("vm_run", NULL), THREADS - (CLASSES - 1));
    put("large", 1);
    calls_wait_count("vm_run", LARGE, 1); /* though all of the first's go on */
    put("other", 1);
    calls_wait_count("vm_run", OTHER, 1);
    assert_int_equal(calls_count("vm_run", NULL), THREADS);
    assert_int_equal(calls_count("vm_run", SMALL), THREADS - (CLASSES - 1));
}

static void idle_threads_launch_while_the_others_wait_in_their_lanes(void **state)
{
    patience_ms = 600000;
    start(THREADS);
    calls_wait_count("queue_receive", NULL, CLASSES);
    put("small", 100);
    calls_wait_count("vm_run", SMALL, THREADS - (CLASSES - 1));
}

/* Two of five threads are free, and the launches of all classes are equally many. */
static void free_threads_go_round_the_lanes(void **state)
{
    start(CLASSES + 2);
    put("small", 3);
    let_end(0, 3);
    calls_wait_count("launch_ended", NULL, 3);
    put("small", 1);
    put("large", 1);
    put("other", 1);
    calls_wait_count("vm_run", NULL, 3 + CLASSES);
    wait_polls("lane=launch.small ");
    wait_polls("lane=launch.large ");
    wait_polls("lane=launch.other ");
    put("small", 1);
    calls_wait_count("vm_run", SMALL, 3 + 2);
    put("other", 1);
    calls_wait_count("vm_run", OTHER, 2);
}

static void class_with_work_wins_back_its_share(void **state)
{
    start(THREADS);
    put("small", 100);
    calls_wait_count("vm_run", SMALL, THREADS - (CLASSES - 1));
    put("large", 100);
    calls_wait_count("vm_run", LARGE, 1);
    let_end(0, 3);
    /* What is beyond both shares goes to either, as their polls come. */
    calls_wait_count("vm_run", LARGE, THREADS / CLASSES);
}

static void freed_thread_serves_the_next_message(void **state)
{
    start(CLASSES);
    put("small", 20);
    for (size_t i = 1; i <= 20; i++) {
        char ended[64];
        calls_wait_count("vm_run", SMALL, i);
        assert_int_equal(calls_count("vm_run", SMALL), i);
        let_end(0, 1);
        calls_wait_count("launch_ended", NULL, i);
        (void)snprintf(ended, sizeof ended, "lane=polled %s", calls_args("queue_ack", NULL, i));
        assert_string_equal(calls_args("launch_ended", NULL, i), ended);
    }
}

static void stopped_pool_takes_no_more(void **state)
{
    start(CLASSES);
    put("small", 20);
    calls_wait_count("vm_run", SMALL, 1);
    worker_stop_intake(&world.worker);
    let_end(0, 1000);
    calls_wait_count("launch_ended", NULL, 1);
    stop();
    assert_int_equal(calls_count("vm_run", NULL), 1);
}

/* A reload retires a class, or brings it back. */
static void retired_class_has_no_thread_until_it_comes_back(void **state)
{
    struct err e;
    world.config->classes[1].max_vms = 0;
    start(CLASSES - 1);
    put("large", 1);
    put("small", 1);
    calls_wait_count("vm_run", SMALL, 1);
    wait_polls("lane=launch.other ");
    assert_int_equal(calls_count("queue_receive", "lane=launch.large "), 0);
    world.config->classes[1].max_vms = 1000;
    must_fail(launch_pool_reload(pool, world.config, &e), &e, ERR_CAPACITY);
    assert_non_null(strstr(e.message, "worker.launch_threads is 2"));
    assert_non_null(strstr(e.message, "large"));
    assert_int_equal(calls_count("queue_receive", "lane=launch.large "), 0);
    let_end(0, 1);
    world.config->classes[0].max_vms = 0;
    MUST(launch_pool_reload(pool, world.config, &e));
    calls_wait_count("vm_run", LARGE, 1);
}

static void pool_without_threads_does_not_start(void **state)
{
    struct err e = {0};
    world.config->worker.launch_threads = THREADS;
    forbid_threads();
    int rc = launch_pool_start(&world.worker, world.config, &pool, &e);
    allow_threads();
    must_fail(rc, &e, ERR_CAPACITY);
    assert_null(pool);
    assert_true(wakeup_raised(&world.worker.intake));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(one_class_may_use_all_threads_but_one_for_each_of_the_others),
        CASE(idle_threads_launch_while_the_others_wait_in_their_lanes),
        CASE(free_threads_go_round_the_lanes),
        CASE(class_with_work_wins_back_its_share),
        CASE(freed_thread_serves_the_next_message),
        CASE(stopped_pool_takes_no_more),
        CASE(retired_class_has_no_thread_until_it_comes_back),
        CASE(pool_without_threads_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
