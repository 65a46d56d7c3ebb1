/*
 * How long a job takes from accepted (durable on the queue) to the provider being called, and how
 * many launches a second one worker manages, when GitHub and the provider cost nothing.
 *
 *   launch_bench DIRECTORY JOBS      prints one line of figures
 *
 * The worker's lanes, the queue and the ledger are the real ones on SQLite in DIRECTORY; a second
 * process plays the ingress. GitHub and the provider are answered by stand_ins.c at once. The
 * reference is the machine's own durable commit (one small file written and fsynced), measured in
 * the same minute.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/bench/launch/ingress_player.h"
#include "tests/bench/launch/stand_ins.h"
#include "worker/launch_pool.h"

#define JOBS_MAX 20000
#define PACED_PER_SECOND 100

/* Shared with the process that plays the ingress. */
struct board {
    int64_t accepted_us[JOBS_MAX + 1];
    int64_t called_us[JOBS_MAX + 1];
    int64_t launched;
};

static struct board *board;

static void launched(const char *vm_name)
{
    (void)vm_name;
    int64_t n = __atomic_add_fetch(&board->launched, 1, __ATOMIC_ACQ_REL);
    if (n <= JOBS_MAX) {
        board->called_us[n] = clock_mono_us();
    }
}

static bool wait_launched(const struct ingress_player *p, int64_t target, int64_t seconds)
{
    int64_t end = clock_mono_ms() + seconds * 1000;
    while (__atomic_load_n(&board->launched, __ATOMIC_ACQUIRE) < target) {
        if (clock_mono_ms() > end || ingress_player_failed(p)) {
            fprintf(stderr, "only %lld of %lld launched\n", (long long)board->launched,
                    (long long)target);
            return false;
        }
        clock_sleep_until(clock_mono_ms() + 2);
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Jobs are launched in the order they were accepted, but for the last few in flight: the n-th call
 * is held against the n-th acceptance. */
static void percentiles(int64_t n, double *p50_ms, double *p99_ms)
{
    int64_t *waits = calloc((size_t)n, sizeof *waits);
    ASSERT(waits != NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t wait = board->called_us[i + 1] - board->accepted_us[i + 1];
        waits[i] = wait > 0 ? wait : 0;
    }
    qsort(waits, (size_t)n, sizeof *waits, by_value);
    *p50_ms = (double)waits[n / 2] / 1000.0;
    *p99_ms = (double)waits[n * 99 / 100] / 1000.0;
    free(waits);
}

static struct config *make_config(const char *directory)
{
    char text[4096];
    struct err e = {0};
    struct config *c = NULL;
    (void)snprintf(
        text, sizeof text,
        "{\"queue\": \"sqlite://%s/queue.db\", \"ledger\": \"sqlite://%s/ledger.db\","
        " \"deployment\": \"bench\", \"github\": {\"token\": \"x\"},"
        " \"worker\": {\"launch_threads\": 4},"
        " \"limits\": {\"max_vms\": 1000000, \"launch_rate\": {\"per_second\": 0}},"
        " \"classes\": [{\"name\": \"small\", \"labels\": [\"self-hosted\"],"
        " \"provider\": \"qemu\", \"max_vms\": 1000000, \"qemu\": {\"image\": \"/none\"}}]}",
        directory, directory);
    if (config_parse(slice_of(text), "bench", CONFIG_FOR_WORKER, &c, NULL, &e) != 0) {
        fprintf(stderr, "config: %s\n", e.message);
        exit(1);
    }
    return c;
}

static bool measure(const struct ingress_player *p, int64_t jobs, double *p50, double *p99,
                    double *per_second)
{
    int64_t paced = jobs / 4 < 1000 ? jobs / 4 : 1000;
    ingress_player_put(p, 1, paced, PACED_PER_SECOND);
    if (!wait_launched(p, paced, 60 + paced / PACED_PER_SECOND)) {
        return false;
    }
    percentiles(paced, p50, p99);
    int64_t start = clock_mono_us();
    ingress_player_put(p, paced + 1, jobs - paced, 0);
    if (!wait_launched(p, jobs, 300)) {
        return false;
    }
    *per_second = (double)(jobs - paced) * 1e6 / (double)(clock_mono_us() - start);
    return true;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct worker w = {0};
    double p50 = 0;
    double p99 = 0;
    double per_second = 0;
    int64_t jobs = 0;
    if (argc != 3 || !slice_to_int64(slice_of(argv[2]), &jobs) || jobs < 40 || jobs > JOBS_MAX) {
        fprintf(stderr, "usage: launch_bench DIRECTORY JOBS (40 to %d)\n", JOBS_MAX);
        return 2;
    }
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(board != MAP_FAILED);
    stand_in_hooks.launched = launched;
    log_open("launch_bench", 2);
    log_set_level(LOG_WARN);
    struct config *c = make_config(argv[1]);
    struct ingress_player player =
        ingress_player_start(c->queue, "small", board->accepted_us, NULL);
    double reference = stand_in_durable_writes(argv[1]);
    wakeup_init(&w.intake);
    wakeup_init(&w.working);
    w.config = config_live_new(c, NULL, CONFIG_FOR_WORKER);
    if (queue_open(c->queue, &w.queue, &e) != 0 || ledger_open(c->ledger, &w.ledger, &e) != 0) {
        fprintf(stderr, "open: %s\n", e.message);
        return 1;
    }
    w.fleet = stand_in_fleet(w.ledger);
    w.circuits = circuits_new(w.ledger);
    w.pauses = pauses_new(w.ledger);
    struct launch_pool *launches = NULL;
    if (launch_pool_start(&w, c, &launches, &e) != 0) {
        fprintf(stderr, "start: %s\n", e.message);
        return 1;
    }
    bool good = measure(&player, jobs, &p50, &p99, &per_second);
    good = ingress_player_end(&player) && good;
    wakeup_raise(&w.intake);
    queue_interrupt(w.queue);
    launch_pool_join(launches);
    circuits_free(w.circuits);
    free(w.fleet);
    ledger_close(w.ledger);
    queue_close(w.queue);
    config_live_free(w.config);
    printf("bench: launch jobs=%lld accepted_to_called_p50_ms=%.2f p99_ms=%.2f launches_per_s=%.0f "
           "reference_durable_writes_per_s=%.0f ratio=%.3f\n",
           (long long)jobs, p50, p99, per_second, reference, per_second / reference);
    return good ? 0 : 1;
}
