/*
 * What a step of the ledger costs, and whether it costs more the more jobs the ledger knows.
 *
 *   ledger_bench DIRECTORY|URL [KNOWN …]      (default: 100 100000)
 *
 * For each number a new ledger in DIRECTORY (of SQLite), or behind the URL with a deployment of its
 * own (redis://…, a server that is new), is filled with so many ended jobs, each with a VM that
 * is gone; then jobs are led through their whole way, by one thread and by many, and the reads are
 * timed. A launch is what a worker does of that way: reserve, registered, launched, and the two
 * deliveries. With "waiting=N" before a number, N jobs wait meanwhile for a class that is full.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/ledger/ledger.h"

#define FILLERS 32
#define WAYS 300      /* one thread */
#define WAYS_EACH 100 /* each of the many */
#define MANY 16
#define READS 2000

static void must(int rc, const struct err *e)
{
    if (rc != 0) {
        fprintf(stderr, "ledger_bench: %s\n", e->message);
        exit(1);
    }
}

/* --- one job's way --- */
enum part { RESERVE, REGISTER, LAUNCH, START, COMPLETE, GO, PARTS };
static const char *const part_names[PARTS] = {
    "reserve", "registered", "launched", "in_progress", "completed", "gone",
};

struct worker {
    struct ledger *l;
    int64_t first_id;
    int64_t count;
    int64_t us[PARTS]; /* sums */
    pthread_t thread;
};

static struct job_event event_of(int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = {.action = action,
                           .job_id = id,
                           .run_id = id,
                           .run_attempt = 1,
                           .repository = "octo/app",
                           .organization = "octo",
                           .name = "build",
                           .delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958",
                           .status = "queued",
                           .labels = "self-hosted,linux,x64,microvm",
                           .class_name = "small"};
    (void)snprintf(ev.runner_name, sizeof ev.runner_name, "%s", runner);
    (void)snprintf(ev.conclusion, sizeof ev.conclusion, "%s",
                   action == JOB_ACTION_COMPLETED ? "success" : "");
    return ev;
}

static void advance(struct ledger *l, const char *vm, enum ledger_vm_state to)
{
    struct ledger_advance a = {.vm = vm, .to = to, .runner_id = 1, .vm_id = "vm-1"};
    struct err e;
    must(ledger_vm_advance(l, &a, NULL, &e), &e);
}

static void note(struct ledger *l, int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = event_of(id, action, runner);
    struct ledger_effect effect;
    struct err e;
    must(ledger_note(l, &ev, "octo", &effect, &e), &e);
}

/* Returns false if a VM for others satisfied it. */
static bool reserve(struct ledger *l, int64_t id, struct ledger_vm *vm)
{
    struct job_event ev = event_of(id, JOB_ACTION_QUEUED, "");
    struct ledger_reserve r = {.job = &ev,
                               .scope = "octo",
                               .caps = {.fleet = 1000,
                                        .class_max = 1000,
                                        .repository = 1000,
                                        .rate_per_second = 1e6,
                                        .rate_burst = 1000000,
                                        .class_rate_per_second = 1e6,
                                        .class_rate_burst = 1000000},
                               .deployment = "bench",
                               .provider = "qemu",
                               .host = "box"};
    struct ledger_reservation out;
    struct err e;
    must(ledger_reserve(l, &r, &out, &e), &e);
    *vm = out.vm;
    return out.outcome == LEDGER_RESERVED;
}

static int64_t lap(int64_t *since)
{
    int64_t now = clock_mono_us();
    int64_t took = now - *since;
    *since = now;
    return took;
}

static void go_the_way(struct worker *w, int64_t id)
{
    struct ledger_vm vm;
    int64_t since = clock_mono_us();
    bool ours = reserve(w->l, id, &vm);
    w->us[RESERVE] += lap(&since);
    if (!ours) {
        note(w->l, id, JOB_ACTION_COMPLETED, "");
        return;
    }
    advance(w->l, vm.name, VM_REGISTERED);
    w->us[REGISTER] += lap(&since);
    advance(w->l, vm.name, VM_LAUNCHED);
    w->us[LAUNCH] += lap(&since);
    note(w->l, id, JOB_ACTION_IN_PROGRESS, vm.name);
    w->us[START] += lap(&since);
    note(w->l, id, JOB_ACTION_COMPLETED, vm.name);
    w->us[COMPLETE] += lap(&since);
    advance(w->l, vm.name, VM_GONE);
    w->us[GO] += lap(&since);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int64_t i = 0; i < w->count; i++) {
        go_the_way(w, w->first_id + i);
    }
    return NULL;
}

/* --- many at once --- */
/* Returns microseconds. */
static int64_t run_many(struct ledger *l, int threads, int64_t each, int64_t first_id)
{
    struct worker w[FILLERS];
    int64_t began = clock_mono_us();
    for (int i = 0; i < threads; i++) {
        w[i] = (struct worker){.l = l, .first_id = first_id + i * each, .count = each};
        if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(w[i].thread, NULL);
    }
    return clock_mono_us() - began;
}

/* --- the measures --- */
static void time_reads(struct ledger *l)
{
    struct ledger_caps caps = {.fleet = 1000, .class_max = 1000};
    struct ledger_room room;
    struct ledger_count *counts = NULL;
    struct ledger_balance *balances = NULL;
    int64_t freed;
    size_t n;
    struct err e;
    int64_t since = clock_mono_us();
    for (int i = 0; i < READS; i++) {
        must(ledger_room(l, "small", &caps, &room, &e), &e);
    }
    printf("  room      %7.1f us\n", (double)lap(&since) / READS);
    for (int i = 0; i < READS; i++) {
        must(ledger_freed(l, &freed, &e), &e);
    }
    printf("  freed     %7.1f us\n", (double)lap(&since) / READS);
    for (int i = 0; i < READS; i++) {
        must(ledger_counts(l, &counts, &n, &e), &e);
        free(counts);
    }
    printf("  counts    %7.1f us\n", (double)lap(&since) / READS);
    for (int i = 0; i < READS; i++) {
        must(ledger_balances(l, &balances, &n, &e), &e);
        free(balances);
    }
    printf("  balances  %7.1f us\n", (double)lap(&since) / READS);
}

/* All but the end of the VM. */
static int64_t launch_us(const struct worker *w)
{
    int64_t sum = 0;
    for (int p = 0; p < GO; p++) {
        sum += w->us[p];
    }
    return sum;
}

static void measure(struct ledger *l, int64_t known, int64_t waiting)
{
    struct worker one = {.l = l, .first_id = known + waiting + 1, .count = WAYS};
    int64_t began = clock_mono_us();
    (void)work(&one);
    int64_t took = clock_mono_us() - began;
    printf("%lld known jobs, %lld waiting\n", (long long)known, (long long)waiting);
    printf("  1 thread   %6.0f steps/s\n", (double)WAYS * (double)PARTS * 1e6 / (double)took);
    printf("    %-12s %7.1f us\n", "a launch", (double)launch_us(&one) / WAYS);
    for (int p = 0; p < PARTS; p++) {
        printf("    %-12s %7.1f us\n", part_names[p], (double)one.us[p] / WAYS);
    }
    took = run_many(l, MANY, WAYS_EACH, known + waiting + WAYS + 1);
    printf("  %d threads %6.0f steps/s\n", MANY,
           (double)(MANY * WAYS_EACH) * (double)PARTS * 1e6 / (double)took);
    time_reads(l);
}

static void bench(const char *dir, int64_t known, int64_t waiting)
{
    char url[512];
    struct ledger *l = NULL;
    struct err e;
    bool redis = strncmp(dir, "redis", 5) == 0;
    if (redis) {
        (void)snprintf(url, sizeof url, "%s?prefix=known-%lld-%lld", dir, (long long)known,
                       (long long)waiting);
    } else {
        (void)snprintf(url, sizeof url, "sqlite://%s/known-%lld-%lld/ledger.db", dir,
                       (long long)known, (long long)waiting);
    }
    must(ledger_open(url, &l, &e), &e);
    (void)run_many(l, FILLERS, (known + FILLERS - 1) / FILLERS, 1);
    for (int64_t i = 0; i < waiting; i++) {
        struct job_event ev = event_of(known + 100 + i, JOB_ACTION_QUEUED, "");
        struct ledger_effect effect;
        (void)snprintf(ev.class_name, sizeof ev.class_name, "full");
        must(ledger_note(l, &ev, "octo", &effect, &e), &e);
    }
    measure(l, known + 100, waiting);
    ledger_close(l);
    if (redis) {
        return;
    }
    (void)snprintf(url, sizeof url, "%s/known-%lld-%lld", dir, (long long)known,
                   (long long)waiting);
    must(fs_remove_tree(url, &e), &e);
}

int main(int argc, char **argv)
{
    int64_t waiting = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: %s DIRECTORY|URL [waiting=N] [KNOWN …]\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "waiting=", 8) == 0) {
            waiting = strtoll(argv[i] + 8, NULL, 10);
        } else {
            bench(argv[1], strtoll(argv[i], NULL, 10), waiting);
        }
    }
    if (argc == 2) {
        bench(argv[1], 100, 0);
        bench(argv[1], 100000, 0);
    }
    return 0;
}
