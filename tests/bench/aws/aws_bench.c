/*
 * What a launch costs a worker on Lambda MicroVMs when GitHub, the service and the network cost
 * nothing, with every call signed.
 *
 *   aws_bench QUEUE LEDGER CALLS JOBS      prints lines of figures
 *
 * 1. The provider alone: CALLS times vm_run, from eight threads. The reference, in the same minute
 *    and of the same bytes, is the plain HTTP client without a signature; the ratio is what
 * signing, JSON and judging leave of it, counted in time of the processor, so that the peer's own
 * speed does not matter.
 * 2. A worker's lane over QUEUE and LEDGER: how long a job takes from accepted (durable on the
 * queue) to its RunMicrovm at the service, at a steady pace; and how many it dispatches a second.
 *
 * The service is peer.c, the ingress a process that puts jobs. GitHub is github_stand_in.c.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/http/client.h"
#include "tests/bench/aws/peer.h"
#include "tests/bench/launch/ingress_player.h"
#include "worker/launch_pool.h"
#include "worker/terminators.h"

#define THREADS 8
#define PACED_PER_SECOND 100
#define IMAGE "arn:aws:lambda:us-east-1:123456789012:microvm-image:bench"
#define PAYLOAD_BYTES 2200 /* of a usual JIT configuration, packed */

static int64_t *accepted_us; /* shared with the ingress; by job */

/* --- what is measured --- */

static double cpu_seconds(void)
{
    struct rusage u;
    ASSERT(getrusage(RUSAGE_SELF, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct figures {
    double per_second;
    double per_cpu_second;
    double connections_per_1000;
};

/* One way to make a call. */
struct way {
    int (*call)(const struct way *w, int64_t n, struct err *e);
    struct vm_provider *provider;
    struct http_client *http;
    char url[96];
    char payload[PAYLOAD_BYTES + 1];
};

struct share {
    const struct way *way;
    int64_t first;
    int64_t count;
};

static int call_provider(const struct way *w, int64_t n, struct err *e)
{
    char token[40];
    char id[VM_ID_MAX + 1];
    (void)snprintf(token, sizeof token, "mf-bench-arm-%lld", (long long)n);
    const struct vm_spec spec = {.name = token,
                                 .client_token = token,
                                 .payload = slice_of(w->payload),
                                 .max_duration_ms = 3600000};
    return vm_run(w->provider, &spec, id, e);
}

/* The same bytes, without a signature, a JSON library or a judgement. */
static int call_plainly(const struct way *w, int64_t n, struct err *e)
{
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Accept: application/json"};
    struct http_response answer;
    char body[PAYLOAD_BYTES + 512];
    (void)snprintf(body, sizeof body,
                   "{\"clientToken\":\"mf-bench-arm-%lld\",\"egressNetworkConnectors\":[\"arn:aws:"
                   "lambda:us-east-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS\"]"
                   ",\"imageIdentifier\":\"" IMAGE "\",\"logging\":{\"disabled\":{}},"
                   "\"maximumDurationInSeconds\":3600,\"runHookPayload\":\"%s\"}",
                   (long long)n, w->payload);
    const struct http_request q = {.method = "POST",
                                   .url = w->url,
                                   .headers = headers,
                                   .header_count = COUNT_OF(headers),
                                   .body = slice_of(body)};
    if (http_send(w->http, &q, &answer, e) != 0) {
        return -1;
    }
    http_response_fini(&answer);
    return 0;
}

static void *make_share(void *arg)
{
    const struct share *s = arg;
    for (int64_t i = 0; i < s->count; i++) {
        struct err e = {0};
        if (s->way->call(s->way, s->first + i, &e) != 0) {
            (void)fprintf(stderr, "call: %s\n", e.message);
            exit(1);
        }
    }
    return NULL;
}

static struct figures measure(const struct way *w, const struct peer *peer, int64_t calls)
{
    pthread_t threads[THREADS];
    struct share shares[THREADS];
    int64_t connections = peer_connections(peer);
    int64_t begun_us = clock_mono_us();
    double begun_cpu = cpu_seconds();
    for (int i = 0; i < THREADS; i++) {
        shares[i] = (struct share){w, i * (calls / THREADS), calls / THREADS};
        ASSERT(pthread_create(&threads[i], NULL, make_share, &shares[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    int64_t each = calls / THREADS;
    double made = (double)(each * THREADS);
    connections = peer_connections(peer) - connections;
    return (struct figures){.per_second = made * 1e6 / (double)(clock_mono_us() - begun_us),
                            .per_cpu_second = made / (cpu_seconds() - begun_cpu),
                            .connections_per_1000 = (double)connections * 1000.0 / made};
}

static struct config *make_config(const char *endpoint, const char *queue, const char *ledger)
{
    char text[4096];
    struct err e = {0};
    struct config *c = NULL;
    (void)snprintf(
        text, sizeof text,
        "{\"queue\": \"%s\", \"ledger\": \"%s\", \"deployment\": \"bench\","
        " \"github\": {\"token\": \"x\"}, \"worker\": {\"launch_threads\": %d},"
        " \"limits\": {\"max_vms\": 1000000, \"launch_rate\": {\"per_second\": 0}},"
        " \"classes\": [{\"name\": \"arm\", \"labels\": [\"self-hosted\"], \"max_vms\": 1000000,"
        " \"provider\": \"lambda\", \"lambda\": {\"endpoint\": \"%s\", \"image\": \"" IMAGE
        "\"}}]}",
        queue, ledger, THREADS, endpoint);
    if (config_parse(slice_of(text), "bench", CONFIG_FOR_WORKER, &c, NULL, &e) != 0) {
        (void)fprintf(stderr, "config: %s\n", e.message);
        exit(1);
    }
    return c;
}

static void bench_provider(const struct config *c, const struct peer *peer, int64_t calls)
{
    struct err e = {0};
    struct way signed_way = {.call = call_provider};
    struct way plain_way = {.call = call_plainly};
    const struct http_client_options options = {.user_agent = "mayfly/bench",
                                                .proxy = "",
                                                .connect_timeout_ms = 5000,
                                                .timeout_ms = 10000,
                                                .max_idle = 64};
    memset(signed_way.payload, 'a', PAYLOAD_BYTES);
    memset(plain_way.payload, 'a', PAYLOAD_BYTES);
    (void)snprintf(plain_way.url, sizeof plain_way.url, "%s/2025-09-09/microvms", peer->url);
    if (vm_open(&c->classes[0], "bench", &signed_way.provider, &e) != 0 ||
        http_client_new(&options, &plain_way.http, &e) != 0) {
        (void)fprintf(stderr, "open: %s\n", e.message);
        exit(1);
    }
    (void)measure(&plain_way, peer, calls / 10); /* warm */
    struct figures plain = measure(&plain_way, peer, calls);
    struct figures ours = measure(&signed_way, peer, calls);
    printf("bench: aws_provider calls=%lld signed_per_cpu_s=%.0f signed_per_s=%.0f "
           "connections_per_1000_calls=%.1f reference_plain_per_cpu_s=%.0f ratio=%.3f\n",
           (long long)calls, ours.per_cpu_second, ours.per_second, ours.connections_per_1000,
           plain.per_cpu_second, ours.per_cpu_second / plain.per_cpu_second);
    vm_close(signed_way.provider);
    http_client_free(plain_way.http);
}

/* --- the worker --- */

static bool wait_for_requests(const struct ingress_player *p, const struct peer *peer,
                              int64_t target)
{
    int64_t end = clock_mono_ms() + 120000;
    while (peer_requests(peer) < target && clock_mono_ms() < end && !ingress_player_failed(p)) {
        clock_sleep_until(clock_mono_ms() + 2);
    }
    return peer_requests(peer) >= target;
}

static int by_value(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Jobs are launched in the order they were accepted, but for the last few in flight: the n-th
 * request is held against the n-th acceptance. */
static void percentiles(const struct peer *peer, int64_t before, int64_t n, double *p50,
                        double *p99)
{
    int64_t *waits = calloc((size_t)n, sizeof *waits);
    ASSERT(waits != NULL);
    for (int64_t i = 0; i < n; i++) {
        int64_t wait = peer->board->seen_us[before + i + 1] - accepted_us[i + 1];
        waits[i] = wait > 0 ? wait : 0;
    }
    qsort(waits, (size_t)n, sizeof *waits, by_value);
    int64_t half = n / 2;
    int64_t most = n * 99 / 100;
    *p50 = (double)waits[half] / 1000.0;
    *p99 = (double)waits[most] / 1000.0;
    free(waits);
}

static bool drive(const struct ingress_player *p, const struct peer *peer, const char *queue,
                  int64_t jobs)
{
    double p50 = 0;
    double p99 = 0;
    int64_t before = peer_requests(peer);
    int64_t paced = jobs / 3;
    ingress_player_put(p, 1, paced, PACED_PER_SECOND);
    bool good = wait_for_requests(p, peer, before + paced);
    percentiles(peer, before, paced, &p50, &p99);
    int64_t start_us = clock_mono_us();
    double start_cpu = cpu_seconds();
    ingress_player_put(p, paced + 1, jobs - paced, 0);
    good = good && wait_for_requests(p, peer, before + jobs);
    double n = (double)(jobs - paced);
    double seconds = (double)(clock_mono_us() - start_us) / 1e6;
    double cpu = cpu_seconds() - start_cpu;
    printf("bench: aws_worker queue=%.*s jobs=%lld accepted_to_runmicrovm_p50_ms=%.2f p99_ms=%.2f "
           "dispatches_per_s=%.0f dispatches_per_cpu_s=%.0f\n",
           (int)strcspn(queue, ":"), queue, (long long)jobs, p50, p99, n / seconds, n / cpu);
    return good;
}

static bool bench_worker(const struct ingress_player *p, struct config *c, const struct peer *peer,
                         int64_t jobs)
{
    struct err e = {0};
    struct worker w = {0};
    wakeup_init(&w.intake);
    wakeup_init(&w.working);
    w.config = config_live_new(c, NULL, CONFIG_FOR_WORKER);
    if (queue_open(c->queue, &w.queue, &e) != 0 || ledger_open(c->ledger, &w.ledger, &e) != 0 ||
        fleet_open(c, "this-host", w.ledger, NULL, &w.fleet, &e) != 0) {
        (void)fprintf(stderr, "open: %s\n", e.message);
        exit(1);
    }
    w.circuits = circuits_new(w.ledger);
    w.pauses = pauses_new(w.ledger);
    struct launch_pool *launches = NULL;
    if (launch_pool_start(&w, c, &launches, &e) != 0) {
        (void)fprintf(stderr, "start: %s\n", e.message);
        exit(1);
    }
    bool good = drive(p, peer, c->queue, jobs);
    wakeup_raise(&w.intake);
    queue_interrupt(w.queue);
    launch_pool_join(launches);
    circuits_free(w.circuits);
    fleet_close(w.fleet);
    ledger_close(w.ledger);
    queue_close(w.queue);
    config_live_free(w.config);
    return good;
}

int main(int argc, char **argv)
{
    struct peer peer;
    int64_t calls = 0;
    int64_t jobs = 0;
    if (argc != 5 || !slice_to_int64(slice_of(argv[3]), &calls) ||
        !slice_to_int64(slice_of(argv[4]), &jobs) || calls < 80 || jobs < 30 ||
        2 * calls + calls / 10 + jobs > PEER_TIMES_MAX) {
        (void)fprintf(stderr, "usage: aws_bench QUEUE LEDGER CALLS JOBS\n");
        return 2;
    }
    ASSERT(setenv("AWS_ACCESS_KEY_ID", "AKIDBENCH", 0) == 0 &&
           setenv("AWS_SECRET_ACCESS_KEY", "bench-secret", 0) == 0);
    log_open("aws_bench", STDERR_FILENO);
    log_set_level(LOG_WARN);
    accepted_us = mmap(NULL, (size_t)(jobs + 2) * sizeof *accepted_us, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(accepted_us != MAP_FAILED);
    struct ingress_player player =
        ingress_player_start(argv[1], "arm", accepted_us, peer_leave_core_0);
    peer_start(&peer);
    struct config *c = make_config(peer.url, argv[1], argv[2]);
    bench_provider(c, &peer, calls);
    bool good = bench_worker(&player, c, &peer, jobs);
    good = ingress_player_end(&player) && good;
    peer_stop(&peer);
    return good ? 0 : 1;
}
