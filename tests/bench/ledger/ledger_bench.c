/*
 * What a step of the ledger costs, and whether it costs more the more jobs the ledger knows.
 *
 *   ledger_bench DIRECTORY|URL [KNOWN …]      (default: 100 100000)
 *
 * For each number a new ledger in DIRECTORY (of SQLite), or behind the URL with a deployment of its
 * own (redis://…, a server that is new), is filled with so many ended jobs, each with a VM that
 * is gone; then jobs are led through their whole way, by one thread and by many, and the reads are
 * timed, each also as a multiple of what it took in the run's first ledger. A launch is what a worker does of that way: reserve, registered, launched, and the two
 * deliveries. With "waiting=N" before a number, N jobs wait meanwhile for a class that is full.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "tests/bench/ledger/ways.h"

#define WAYS 300      /* one thread */
#define WAYS_EACH 100 /* each of the many */
#define MANY 16
#define READS 2000
#define PAGES 200

static const char *const part_names[PARTS] = {
    "reserve", "registered", "launched", "in_progress", "completed", "gone",
};

/* --- the measures --- */
static void read_room(struct ledger *l)
{
    struct ledger_caps caps = {.fleet = 1000, .class_max = 1000};
    struct ledger_capacity room;
    struct err e;
    must(ledger_capacity(l, "small", &caps, &room, &e), &e);
}

static void read_release_seq(struct ledger *l)
{
    int64_t freed;
    struct err e;
    must(ledger_release_seq(l, &freed, &e), &e);
}

static void read_counts(struct ledger *l)
{
    struct ledger_count *counts = NULL;
    size_t n;
    struct err e;
    must(ledger_counts(l, &counts, &n, &e), &e);
    free(counts);
}

static void read_balances(struct ledger *l)
{
    struct ledger_balance *balances = NULL;
    size_t n;
    struct err e;
    must(ledger_balances(l, &balances, &n, &e), &e);
    free(balances);
}

static void read_page(struct ledger *l, unsigned states, const char *class_name)
{
    struct ledger_jobs_query q = {
        .states = states, .class_name = class_name, .after = "", .max = 100};
    struct ledger_job *jobs = NULL;
    char next[LEDGER_CURSOR_SIZE];
    size_t n;
    struct err e;
    must(ledger_jobs_list(l, &q, &jobs, &n, next, &e), &e);
    free(jobs);
}

static void read_jobs(struct ledger *l)
{
    read_page(l, ~0u, NULL);
}

static void read_ended(struct ledger *l)
{
    read_page(l, 1u << JOB_DONE | 1u << JOB_CANCELLED, NULL);
}

/* The longest page: of a class that has none. */
static void read_ended_of_none(struct ledger *l)
{
    read_page(l, 1u << JOB_DONE | 1u << JOB_CANCELLED, "none");
}

static void read_vms(struct ledger *l)
{
    struct ledger_vm *vms = NULL;
    size_t n;
    struct err e;
    must(ledger_vm_list(l, ~(1u << VM_GONE), "", 500, &vms, &n, &e), &e);
    free(vms);
}

static void read_timeline(struct ledger *l)
{
    struct ledger_entry *lines = NULL;
    size_t n;
    struct err e;
    must(ledger_timeline(l, 1, &lines, &n, &e), &e);
    free(lines);
}

/* What is read often, and what `mayflyctl` reads. reference_us: of the first ledger of this run, which
 * the others are compared with. */
static struct reading {
    const char *name;
    void (*read)(struct ledger *l);
    int times;
    double reference_us;
} readings[] = {
    {"room", read_room, READS, 0},
    {"freed", read_release_seq, READS, 0},
    {"counts", read_counts, READS, 0},
    {"balances", read_balances, READS, 0},
    {"100 jobs", read_jobs, PAGES, 0},
    {"100 ended jobs", read_ended, PAGES, 0},
    {"ended jobs of no class", read_ended_of_none, PAGES, 0},
    {"VMs with a slot", read_vms, PAGES, 0},
    {"timeline", read_timeline, PAGES, 0},
};

static void time_reads(struct ledger *l)
{
    for (size_t i = 0; i < COUNT_OF(readings); i++) {
        struct reading *r = &readings[i];
        int64_t since = clock_mono_us();
        for (int k = 0; k < r->times; k++) {
            r->read(l);
        }
        double us = (double)ways_lap(&since) / r->times;
        r->reference_us = r->reference_us > 0 ? r->reference_us : us;
        printf("  %-22s %9.1f us  x%.2f\n", r->name, us, us / r->reference_us);
    }
}

/* All but the end of the VM. */
static int64_t launch_us(const struct ways *w)
{
    int64_t sum = 0;
    for (int p = 0; p < GO; p++) {
        sum += w->us[p];
    }
    return sum;
}

static void measure(struct ledger *l, int64_t known, int64_t waiting)
{
    struct ways one = {.l = l, .first_id = known + waiting + 1, .count = WAYS};
    int64_t began = clock_mono_us();
    (void)ways_go(&one);
    int64_t took = clock_mono_us() - began;
    printf("%lld known jobs, %lld waiting\n", (long long)known, (long long)waiting);
    printf("  1 thread   %6.0f steps/s\n", (double)WAYS * (double)PARTS * 1e6 / (double)took);
    printf("    %-12s %7.1f us\n", "a launch", (double)launch_us(&one) / WAYS);
    for (int p = 0; p < PARTS; p++) {
        printf("    %-12s %7.1f us\n", part_names[p], (double)one.us[p] / WAYS);
    }
    took = ways_go_many(l, MANY, WAYS_EACH, known + waiting + WAYS + 1);
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
    (void)ways_go_many(l, WAYS_THREADS_MAX, (known + WAYS_THREADS_MAX - 1) / WAYS_THREADS_MAX, 1);
    for (int64_t i = 0; i < waiting; i++) {
        struct job_event ev = ways_event_of(known + 100 + i, JOB_ACTION_QUEUED, "");
        struct ledger_effect effect;
        (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "full");
        must(ledger_apply_event(l, &ev, "octo", &effect, &e), &e);
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
