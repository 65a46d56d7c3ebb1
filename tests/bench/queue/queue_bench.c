/*
 * What the sqlite queue does per second, how soon a waiting take learns of a put, and what waiting
 * costs. Prints a table; asserts nothing: the numbers belong to the machine.
 *
 *     queue_bench MS-PER-ROW [DIRECTORY]
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/metrics.h"
#include "common/queue/queue.h"

#define BODY_BYTES 700
#define THREADS_MAX 16
#define WAKES 300
#define DEEP 100000

static char body[BODY_BYTES];
static char dir[256];
static char url[300];
static int64_t row_ms;

static void check(int rc, const struct err *e)
{
    if (rc != 0) {
        fprintf(stderr, "queue_bench: %s\n", e->message);
        exit(1);
    }
}

static struct queue *open_queue(void)
{
    struct queue *q = NULL;
    struct err e;
    check(queue_open(url, &q, &e), &e);
    return q;
}

static void fill(struct queue *q, size_t n)
{
    struct queue_item items[QUEUE_BATCH_MAX];
    struct err e;
    for (size_t i = 0; i < QUEUE_BATCH_MAX; i++) {
        items[i] = (struct queue_item){
            .lane = "events", .body = {body, BODY_BYTES}, .key = "1234567890", .group = ""};
    }
    for (; n > 0; n -= n < QUEUE_BATCH_MAX ? n : QUEUE_BATCH_MAX) {
        check(queue_put(q, items, n < QUEUE_BATCH_MAX ? n : QUEUE_BATCH_MAX, &e), &e);
    }
}

/* --- throughput --- */
enum work { PUTS, TAKES, RETURNS }; /* put; take and ack; take and nack */
struct hand {
    struct queue *q;
    size_t batch;
    enum work does;
    int64_t until_ms;
    int64_t messages;
    pthread_t thread;
};

static int64_t take_and_finish(struct queue *q, size_t batch)
{
    struct queue_message m[128];
    size_t got = 0;
    struct err e;
    check(queue_receive(q, "events", batch, 60000, 0, m, &got, &e), &e);
    if (got > 0) {
        check(queue_ack(q, m, got, &e), &e);
    }
    for (size_t i = 0; i < got; i++) {
        queue_message_fini(&m[i]);
    }
    return (int64_t)got;
}

static int64_t take_and_return(struct queue *q, size_t batch)
{
    static const struct queue_return back = {.reason = "no slot"};
    struct queue_message m[128];
    size_t got = 0;
    struct err e;
    check(queue_receive(q, "events", batch, 60000, 0, m, &got, &e), &e);
    for (size_t i = 0; i < got; i++) {
        check(queue_nack(q, &m[i], &back, &e), &e);
        queue_message_fini(&m[i]);
    }
    return (int64_t)got;
}

static void *work(void *arg)
{
    struct hand *h = arg;
    while (clock_mono_ms() < h->until_ms) {
        if (h->does == TAKES) {
            h->messages += take_and_finish(h->q, h->batch);
        } else if (h->does == RETURNS) {
            h->messages += take_and_return(h->q, h->batch);
        } else {
            fill(h->q, h->batch);
            h->messages += (int64_t)h->batch;
        }
    }
    return NULL;
}

static int64_t cpu_us(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000L + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static void measure(const char *what, struct queue *q, size_t threads, size_t batch, enum work does)
{
    struct hand hands[THREADS_MAX];
    struct metric *commits = metrics_counter("mayfly_sqlite_commits_total", "store=\"queue\"");
    int64_t messages = 0;
    int64_t commits_before = metric_value(commits);
    int64_t began_us = clock_mono_us();
    int64_t cpu_before = cpu_us();
    for (size_t i = 0; i < threads; i++) {
        hands[i] = (struct hand){q, batch, does, clock_mono_ms() + row_ms, 0, 0};
        (void)pthread_create(&hands[i].thread, NULL, work, &hands[i]);
    }
    for (size_t i = 0; i < threads; i++) {
        (void)pthread_join(hands[i].thread, NULL);
        messages += hands[i].messages;
    }
    double seconds = (double)(clock_mono_us() - began_us) / 1e6;
    double n = messages > 0 ? (double)messages : 1;
    printf(
        "%-14s threads=%-2zu batch=%-4zu %9.0f messages/s %8.0f commits/s %6.1f cpu_us/message\n",
        what, threads, batch, (double)messages / seconds,
        (double)(metric_value(commits) - commits_before) / seconds,
        (double)(cpu_us() - cpu_before) / n);
}

static void throughput(void)
{
    static const size_t shapes[][2] = {{1, 1}, {8, 1}, {1, 32}, {1, 128}};
    struct queue *q = open_queue();
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        measure("put", q, shapes[i][0], shapes[i][1], PUTS);
    }
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        fill(q, (size_t)row_ms * 20); /* more than a row can take */
        measure("take+done", q, shapes[i][0], shapes[i][1], TAKES);
    }
    queue_close(q);
}

/* A lane that nobody has served for long. */
static void deep_lane(void)
{
    struct queue *q = open_queue();
    fill(q, DEEP);
    measure("deep take+nack", q, 1, 1, RETURNS);
    measure("deep take+nack", q, 1, 32, RETURNS);
    measure("deep take+done", q, 1, 1, TAKES);
    measure("deep take+done", q, 1, 128, TAKES);
    queue_close(q);
}

/* --- waking --- */
static int compare(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Takes WAKES messages whose body is the time of their put; prints how late it learnt of them. */
static void take_wakes(const char *what, struct queue *q)
{
    int64_t late_us[WAKES];
    struct err e;
    for (size_t i = 0; i < WAKES; i++) {
        struct queue_message m;
        size_t got = 0;
        while (got == 0) {
            check(queue_receive(q, "launch.wake", 1, 60000, 60000, &m, &got, &e), &e);
        }
        late_us[i] = clock_mono_us() - strtoll(m.body, NULL, 10);
        check(queue_ack(q, &m, 1, &e), &e);
        queue_message_fini(&m);
    }
    qsort(late_us, WAKES, sizeof late_us[0], compare);
    printf("%-12s put called -> taken: p50 %lld us, p99 %lld us, max %lld us\n", what,
           (long long)late_us[WAKES / 2], (long long)late_us[WAKES * 99 / 100],
           (long long)late_us[WAKES - 1]);
    (void)fflush(stdout);
}

static void *put_wakes(void *arg)
{
    struct queue *q = arg;
    struct err e;
    for (size_t i = 0; i < WAKES; i++) {
        char now[32];
        /* A pace at which the taker is waiting again. */
        clock_sleep_until(clock_mono_ms() + 3 + (int64_t)(i % 9));
        (void)snprintf(now, sizeof now, "%lld", (long long)clock_mono_us());
        struct queue_item item = {
            .lane = "launch.wake", .body = slice_of(now), .key = "", .group = ""};
        check(queue_put(q, &item, 1, &e), &e);
    }
    return NULL;
}

static void waking(void)
{
    pthread_t putter;
    (void)fflush(stdout);
    pid_t pid = fork(); /* before any handle is open here: they do not survive it */
    if (pid == 0) {
        struct queue *theirs = open_queue();
        (void)put_wakes(theirs);
        queue_close(theirs);
        _exit(0);
    }
    struct queue *q = open_queue();
    take_wakes("other proc.", q);
    (void)waitpid(pid, NULL, 0);
    (void)pthread_create(&putter, NULL, put_wakes, q);
    take_wakes("same proc.", q);
    (void)pthread_join(putter, NULL);
    queue_close(q);
}

/* --- idling --- */
static void *wait_idly(void *arg)
{
    struct hand *h = arg;
    struct queue_message m;
    size_t got = 0;
    struct err e;
    char lane[QUEUE_LANE_MAX];
    (void)snprintf(lane, sizeof lane, "launch.idle-%zu", h->batch);
    check(queue_receive(h->q, lane, 1, 60000, 3600000, &m, &got, &e), &e);
    return NULL;
}

static void idling(void)
{
    struct hand hands[8];
    struct queue *q = open_queue();
    for (size_t i = 0; i < 8; i++) {
        hands[i] = (struct hand){.q = q, .batch = i / 2};
        (void)pthread_create(&hands[i].thread, NULL, wait_idly, &hands[i]);
    }
    int64_t settled_ms = clock_mono_ms() + 200;
    while (clock_mono_ms() < settled_ms) {
        clock_sleep_until(settled_ms);
    }
    int64_t cpu_before = cpu_us();
    int64_t began_us = clock_mono_us();
    int64_t until_ms = clock_mono_ms() + 3 * row_ms;
    while (clock_mono_ms() < until_ms) {
        clock_sleep_until(until_ms);
    }
    printf("%-12s 8 waiting takes cost %.3f %% of a core\n", "idle",
           100.0 * (double)(cpu_us() - cpu_before) / (double)(clock_mono_us() - began_us));
    queue_interrupt(q);
    for (size_t i = 0; i < 8; i++) {
        (void)pthread_join(hands[i].thread, NULL);
    }
    queue_close(q);
}

int main(int argc, char **argv)
{
    struct err e;
    row_ms = argc > 1 ? strtoll(argv[1], NULL, 10) : 1000;
    (void)snprintf(dir, sizeof dir, "%s/mayfly-bench-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    (void)snprintf(url, sizeof url, "sqlite://%s/queue.db", dir);
    memset(body, 'x', sizeof body);
    waking();
    idling();
    throughput();
    deep_lane();
    check(fs_remove_tree(dir, &e), &e);
    return 0;
}
