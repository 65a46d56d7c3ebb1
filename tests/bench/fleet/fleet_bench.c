/*
 * How many jobs a second a fleet of workers leads through their whole way, on one queue and ledger,
 * when GitHub and the provider cost nothing; and how soon a slot that is free is used again.
 *
 *   fleet_bench DIRECTORY STORE WORKERS JOBS CAP HOLD_MS KNOWN      prints one line of figures
 *
 * STORE: "sqlite", for files in DIRECTORY, or a Redis URL. Each worker is a process with all of a
 * worker's threads; this one plays ingress and GitHub: it puts the jobs, gives the n-th VM the n-th
 * job, and puts the two deliveries that tell of it, the second HOLD_MS later (half to one and a
 * half of it). At most CAP VMs are there at once. KNOWN ended jobs stand in the ledger beforehand.
 * A slot's delay is that of the storm: after the first CAP launches the n-th waits for the n-th
 * end. The reference is the machine's own durable write, measured in the same minute.
 */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/job/publish.h"
#include "tests/bench/fleet/lay.h"
#include "tests/bench/launch/stand_ins.h"
#include "tests/bench/ledger/ways.h"
#include "worker/events.h"
#include "worker/launch_pool.h"
#include "worker/terminators.h"

#define JOBS_MAX 100000
#define WORKERS_MAX 64
#define PUT_AT_ONCE 256
#define FIRST_ID 1000000000 /* above those of the known jobs */
#define KNOWN_MAX 10000000
#define PATIENCE_MS 300000

/* Shared by all processes. */
struct board {
    sem_t begin; /* once for each worker */
    sem_t end;
    sem_t news; /* a VM was launched, or is gone */
    int64_t launched;
    int64_t gone;
    int64_t launched_us[JOBS_MAX];
    int64_t gone_us[JOBS_MAX];
    char names[JOBS_MAX][VM_NAME_SIZE];
    bool named[JOBS_MAX];
};

struct plan {
    const char *directory;
    const char *store;
    int64_t workers;
    int64_t jobs;
    int64_t cap;
    int64_t hold_ms;
    int64_t known;
    struct config *config;
};

static struct board *board;

/* --- what the workers' processes tell --- */
static void on_launched(const char *vm_name)
{
    int64_t n = __atomic_fetch_add(&board->launched, 1, __ATOMIC_ACQ_REL);
    if (n < JOBS_MAX) {
        board->launched_us[n] = clock_mono_us();
        ASSERT(slice_to_cstr(slice_of(vm_name), board->names[n], sizeof board->names[n]));
        __atomic_store_n(&board->named[n], true, __ATOMIC_RELEASE);
    }
    sem_post(&board->news);
}

static void on_gone(void)
{
    int64_t n = __atomic_fetch_add(&board->gone, 1, __ATOMIC_ACQ_REL);
    if (n < JOBS_MAX) {
        board->gone_us[n] = clock_mono_us();
    }
    sem_post(&board->news);
}

/* --- a worker --- */
static void slot_freed(void *arg)
{
    struct worker *w = arg;
    wakeup_signal(&w->intake);
}

static void work(const struct plan *p)
{
    struct err e = {0};
    struct worker w = {.config = config_live_new(p->config, NULL, CONFIG_FOR_WORKER)};
    const struct config_worker *c = &p->config->worker;
    wakeup_init(&w.intake);
    wakeup_init(&w.working);
    must(queue_open(p->config->queue, &w.queue, &e), &e);
    must(ledger_open(p->config->ledger, &w.ledger, &e), &e);
    w.fleet = stand_in_fleet(w.ledger);
    w.circuits = circuits_new(w.ledger);
    w.pauses = pauses_new(w.ledger);
    while (sem_wait(&board->begin) != 0) {
    }
    ledger_watch_releases(w.ledger, slot_freed, &w);
    struct events *events = NULL;
    struct launch_pool *launches = NULL;
    must(terminators_start(&w, (size_t)c->terminate_threads, &w.terminators, &e), &e);
    must(events_start(&w, (size_t)c->event_consumer_threads, &events, &e), &e);
    must(launch_pool_start(&w, p->config, &launches, &e), &e);
    while (sem_wait(&board->end) != 0) {
    }
    wakeup_raise(&w.intake);
    queue_interrupt(w.queue);
    launch_pool_join(launches);
    events_join(events);
    wakeup_raise(&w.working);
    terminators_join(w.terminators);
    circuits_free(w.circuits);
    ledger_close(w.ledger);
    queue_close(w.queue);
    free(w.fleet);
    config_live_free(w.config);
    _exit(0);
}

/* --- the ingress's part, and GitHub's --- */
struct parcel {
    struct queue *q;
    struct queue_item items[PUT_AT_ONCE];
    struct job_messages messages[PUT_AT_ONCE]; /* each of one delivery */
    size_t n;
    size_t deliveries;
};

static void send_parcel(struct parcel *p)
{
    struct err e = {0};
    if (p->n > 0) {
        must(queue_put(p->q, p->items, p->n, &e), &e);
    }
    for (size_t i = 0; i < p->deliveries; i++) {
        job_messages_fini(&p->messages[i]);
    }
    p->n = 0;
    p->deliveries = 0;
}

static void add(struct parcel *p, int64_t job, enum job_action action, const char *runner)
{
    struct job_event ev = ways_event_of(job, action, runner);
    if (p->n + JOB_DELIVERY_MESSAGES_MAX > PUT_AT_ONCE) {
        send_parcel(p);
    }
    struct job_messages *m = &p->messages[p->deliveries++];
    ev.received_ms = clock_wall_ms();
    job_messages_of_delivery(&ev, job_event_wants_runner(&ev), 1, m);
    p->n += job_messages_items(m, &p->items[p->n]);
}

/* Half to one and a half of hold_ms, evenly, the same in every run. */
static int64_t held_us(const struct plan *p, int64_t n)
{
    return p->hold_ms * (500 + n * 7919 % 1001);
}

static void wait_news(int64_t until_us)
{
    struct timespec until;
    int64_t us = until_us - clock_mono_us();
    int64_t wall_us = clock_wall_ms() * 1000 + (us > 0 ? us : 0);
    until.tv_sec = (time_t)(wall_us / 1000000);
    until.tv_nsec = (long)(wall_us % 1000000) * 1000;
    if (sem_timedwait(&board->news, &until) == 0) {
        while (sem_trywait(&board->news) == 0) {
        }
    }
}

/* Sends the `completed` of those whose time is over; returns when the next one's is. */
static int64_t complete_due(const struct plan *p, struct parcel *parcel, bool *over, int64_t *first,
                            int64_t known)
{
    int64_t next_us = clock_mono_us() + 1000000;
    for (int64_t n = *first; n < known; n++) {
        int64_t due_us = board->launched_us[n] + held_us(p, n);
        if (!over[n] && due_us <= clock_mono_us()) {
            add(parcel, FIRST_ID + n, JOB_ACTION_COMPLETED, board->names[n]);
            over[n] = true;
        } else if (!over[n] && due_us < next_us) {
            next_us = due_us;
        }
    }
    while (*first < known && over[*first]) {
        ++*first;
    }
    return next_us;
}

static bool play_outside(const struct plan *p, struct parcel *parcel)
{
    static bool over[JOBS_MAX];
    int64_t first = 0; /* all before it are over */
    int64_t seen = 0;
    int64_t give_up_ms = clock_mono_ms() + PATIENCE_MS;
    while (__atomic_load_n(&board->gone, __ATOMIC_ACQUIRE) < p->jobs) {
        while (seen < p->jobs && __atomic_load_n(&board->named[seen], __ATOMIC_ACQUIRE)) {
            add(parcel, FIRST_ID + seen, JOB_ACTION_IN_PROGRESS, board->names[seen]);
            seen++;
        }
        int64_t next_us = complete_due(p, parcel, over, &first, seen);
        send_parcel(parcel);
        if (clock_mono_ms() > give_up_ms) {
            fprintf(stderr, "fleet_bench: %lld launched, %lld gone, of %lld jobs\n",
                    (long long)board->launched, (long long)board->gone, (long long)p->jobs);
            return false;
        }
        wait_news(next_us);
    }
    return true;
}

/* --- the figures --- */
static int by_value(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static void report(const struct plan *p, int64_t took_us, double cpu_s, double reference)
{
    static int64_t delays[JOBS_MAX];
    int64_t n = 0;
    for (; n + p->cap < p->jobs; n++) {
        int64_t delay = board->launched_us[n + p->cap] - board->gone_us[n];
        delays[n] = delay > 0 ? delay : 0;
    }
    double per_s = (double)p->jobs * 1e6 / (double)took_us;
    qsort(delays, (size_t)n, sizeof delays[0], by_value);
    printf("bench: fleet: store=%s workers=%lld jobs=%lld cap=%lld hold_ms=%lld known=%lld "
           "jobs_per_s=%.0f cpu_ms_per_job=%.2f slot_p50_ms=%.1f slot_p99_ms=%.1f "
           "reference_durable_writes_per_s=%.0f ratio=%.3f\n",
           strncmp(p->store, "redis", 5) == 0 ? "redis" : "sqlite", (long long)p->workers,
           (long long)p->jobs, (long long)p->cap, (long long)p->hold_ms, (long long)p->known, per_s,
           cpu_s * 1000 / (double)p->jobs, n > 0 ? (double)delays[n / 2] / 1000 : 0,
           n > 0 ? (double)delays[n * 99 / 100] / 1000 : 0, reference, per_s / reference);
}

/* --- the run --- */
static struct config *make_config(const struct plan *p)
{
    char text[4096];
    char queue[512];
    char ledger[512];
    struct err e = {0};
    struct config *c = NULL;
    if (strcmp(p->store, "sqlite") == 0) {
        (void)snprintf(queue, sizeof queue, "sqlite://%s/queue.db", p->directory);
        (void)snprintf(ledger, sizeof ledger, "sqlite://%s/ledger.db", p->directory);
    } else {
        (void)snprintf(queue, sizeof queue, "%s", p->store);
        (void)snprintf(ledger, sizeof ledger, "%s", p->store);
    }
    (void)snprintf(
        text, sizeof text,
        "{\"queue\": \"%s\", \"ledger\": \"%s\", \"deployment\": \"bench\","
        " \"github\": {\"token\": \"x\"}, \"worker\": {\"terminate_grace_period\": \"0s\"},"
        " \"limits\": {\"max_vms\": %lld, \"launch_rate\": {\"per_second\": 0}},"
        " \"classes\": [{\"name\": \"small\", \"labels\": [\"self-hosted\"],"
        " \"provider\": \"qemu\", \"max_vms\": %lld, \"qemu\": {\"image\": \"/none\"}}]}",
        queue, ledger, (long long)p->cap, (long long)p->cap);
    must(config_parse(slice_of(text), "bench", CONFIG_FOR_WORKER, &c, NULL, &e), &e);
    return c;
}

static void put_jobs(const struct plan *p, struct parcel *parcel)
{
    for (int64_t i = 0; i < p->jobs; i++) {
        add(parcel, FIRST_ID + i, JOB_ACTION_QUEUED, "");
    }
    send_parcel(parcel);
}

static double children_cpu_s(void)
{
    struct rusage u;
    ASSERT(getrusage(RUSAGE_CHILDREN, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static bool run(const struct plan *p)
{
    static struct parcel parcel;
    struct err e = {0};
    pid_t pids[WORKERS_MAX];
    bool good = true;
    double reference = stand_in_durable_writes(p->directory);
    for (int64_t i = 0; i < p->workers; i++) {
        pids[i] = fork();
        ASSERT(pids[i] >= 0);
        if (pids[i] == 0) {
            work(p);
        }
    }
    must(queue_open(p->config->queue, &parcel.q, &e), &e);
    put_jobs(p, &parcel);
    int64_t began_us = clock_mono_us();
    for (int64_t i = 0; i < p->workers; i++) {
        sem_post(&board->begin);
    }
    good = play_outside(p, &parcel);
    int64_t took_us = clock_mono_us() - began_us;
    for (int64_t i = 0; i < p->workers; i++) {
        sem_post(&board->end);
    }
    for (int64_t i = 0; i < p->workers; i++) {
        int status = 0;
        good = waitpid(pids[i], &status, 0) == pids[i] && status == 0 && good;
    }
    queue_close(parcel.q);
    report(p, took_us, children_cpu_s(), reference);
    return good;
}

static bool read_plan(int argc, char **argv, struct plan *p)
{
    const struct {
        int64_t *number;
        int64_t min;
        int64_t max;
    } numbers[] = {
        {&p->workers, 1, WORKERS_MAX}, {&p->jobs, 1, JOBS_MAX},   {&p->cap, 1, 1000000},
        {&p->hold_ms, 0, 60000},       {&p->known, 0, KNOWN_MAX},
    };
    if (argc != 3 + (int)COUNT_OF(numbers)) {
        return false;
    }
    p->directory = argv[1];
    p->store = argv[2];
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        if (!slice_to_int64(slice_of(argv[3 + i]), numbers[i].number) ||
            *numbers[i].number < numbers[i].min || *numbers[i].number > numbers[i].max) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct plan p = {0};
    if (!read_plan(argc, argv, &p)) {
        fprintf(stderr, "usage: fleet_bench DIRECTORY sqlite|URL WORKERS JOBS CAP HOLD_MS KNOWN\n");
        return 2;
    }
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(board != MAP_FAILED);
    ASSERT(sem_init(&board->begin, 1, 0) == 0 && sem_init(&board->end, 1, 0) == 0 &&
           sem_init(&board->news, 1, 0) == 0);
    stand_in_hooks = (struct stand_in_hooks){.launched = on_launched, .gone = on_gone};
    log_open("fleet_bench", 2);
    log_set_level(LOG_WARN);
    p.config = make_config(&p);
    /* Before any thread that stays: the workers' processes are forked later. */
    lay_known_jobs(p.config->ledger, p.directory, p.known);
    return run(&p) ? 0 : 1;
}
