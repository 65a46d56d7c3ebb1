/*
 * What the ledger in DynamoDB carries when many workers launch at once, by a model of DynamoDB (dynamo_model.h)
 * in which a transaction takes 10 ms, a read or a write of one item 5 ms, and conflicts are refused.
 *
 *   dynamo_bench [name=value …]
 *
 *   workers=20 threads=12      ledgers of their own, each with so many launch threads
 *   rate=90                    launch requests a second, evenly over the workers, at random times
 *   seconds=20                 how long they come
 *   organizations=20 targets=15 classes=2 repositories=60
 *   life=600                   ms from a VM's launch to its end
 *   fleet=0                    the fleet's cap; 0: a tenth more than are needed on average
 *
 * Every launch is whole: the job's delivery, reserve, registered, launched, in progress, completed, gone. Caps of
 * fleet, class and target are in force; a launch that meets one asks again after 20 ms, as a worker's message does.
 * Each request that is refused by another's is a conflict. The reference, in the same minute: the same launches
 * where nothing is refused and a transaction waits its turn at an item. It fails if a cap was passed, or if
 * less than 9 of 10 of the reference's launches were made, or if their p99 is more than LATER times its.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tests/bench/ledger/dynamo_model.h"
#include "tests/bench/ledger/ways.h"

#define THREADS_MAX 1024
#define SAMPLES_MAX 200000
#define AGAIN_MS 20
#define LATER 5
#define URL "dynamodb://bench?region=us-east-1&endpoint=http://127.0.0.1:1&prefix=b"

static struct {
    int64_t workers;
    int64_t threads;
    int64_t rate;
    int64_t seconds;
    int64_t organizations;
    int64_t targets;
    int64_t classes;
    int64_t repositories;
    int64_t life;
    int64_t fleet;
    int64_t launch_rate; /* of a target; 0: none */
} o = {.workers = 20,
       .threads = 12,
       .rate = 90,
       .seconds = 20,
       .organizations = 20,
       .targets = 15,
       .classes = 2,
       .repositories = 60,
       .life = 600,
       .launch_rate = 50};

/* --- the requests, as the queue's lane gives them out --- */
static struct {
    pthread_mutex_t lock;
    int64_t begun_us;
    int64_t next_us; /* when the next one comes */
    int64_t next_id;
    int64_t until_us;
    int64_t launched;
    int64_t satisfied;
    int64_t failed; /* calls that ended with an error */
    int64_t asked_again;
    int64_t late_us; /* the longest that a request waited for a thread */
    size_t samples;
    int64_t reserve_us[SAMPLES_MAX];
} run = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Waits for the next request and takes it. 0: there are no more. */
static int64_t next_request(void)
{
    (void)pthread_mutex_lock(&run.lock);
    int64_t at_us = run.next_us;
    int64_t id = at_us < run.until_us ? run.next_id++ : 0;
    run.next_us += (int64_t)((double)random_below(2000000) / (double)o.rate);
    (void)pthread_mutex_unlock(&run.lock);
    if (id == 0) {
        return 0;
    }
    int64_t late_us = clock_mono_us() - at_us;
    clock_sleep_until(at_us / 1000);
    (void)pthread_mutex_lock(&run.lock);
    run.late_us = late_us > run.late_us ? late_us : run.late_us;
    (void)pthread_mutex_unlock(&run.lock);
    return id;
}

static void keep_sample(int64_t us)
{
    (void)pthread_mutex_lock(&run.lock);
    if (run.samples < SAMPLES_MAX) {
        run.reserve_us[run.samples++] = us;
    }
    (void)pthread_mutex_unlock(&run.lock);
}

static void count(int64_t *what)
{
    (void)pthread_mutex_lock(&run.lock);
    (*what)++;
    (void)pthread_mutex_unlock(&run.lock);
}

/* --- one launch --- */
struct way {
    struct ledger *l;
    struct job_event ev;
    char scope[32];
    char target[24];
    struct ledger_caps caps;
};

static int64_t share(int64_t of, int64_t among)
{
    return (of + among - 1) / among * 5 / 4 + 2;
}

static void plan(struct way *w, int64_t id)
{
    int64_t organization = id % o.organizations;
    w->ev = ways_event_of(id, JOB_ACTION_QUEUED, "");
    (void)snprintf(w->scope, sizeof w->scope, "org-%lld", (long long)organization);
    (void)snprintf(w->ev.job.repository, sizeof w->ev.job.repository, "org-%lld/r-%lld",
                   (long long)organization, (long long)(id % o.repositories));
    (void)snprintf(w->ev.job.class_name, sizeof w->ev.job.class_name, "class-%lld",
                   (long long)(id / o.organizations % o.classes));
    if (o.targets > 0) {
        (void)snprintf(w->target, sizeof w->target, "target-%lld",
                       (long long)random_below((uint64_t)o.targets));
    }
    w->caps = (struct ledger_caps){.fleet = o.fleet,
                                   .class_max = share(o.fleet, o.classes),
                                   .target_max = o.targets > 0 ? share(o.fleet, o.targets) : 0,
                                   .rate_per_second = (double)o.launch_rate,
                                   .rate_burst = 2 * o.launch_rate};
}

static int apply(struct way *w, enum job_action action, const char *runner)
{
    struct job_event ev = w->ev;
    struct ledger_effect effect;
    struct err e;
    ev.action = action;
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "%s",
                   action == JOB_ACTION_COMPLETED ? "success" : "");
    return ledger_apply_event(w->l, &ev, w->scope, &effect, &e);
}

/* As worker/launch.c, until it is written. */
static void must_apply(struct way *w, enum job_action action, const char *runner)
{
    while (apply(w, action, runner) != 0) {
        count(&run.failed);
    }
}

static void must_advance(struct ledger *l, const char *vm, enum ledger_vm_state to)
{
    struct ledger_advance a = {.vm = vm, .to = to, .runner_id = 1, .vm_id = "vm-1"};
    struct err e;
    while (ledger_vm_advance(l, &a, NULL, &e) != 0) {
        if (e.class == ERR_CONFLICT) {
            must(-1, &e);
        }
        count(&run.failed);
    }
}

static void reserve(struct way *w, struct ledger_reservation *out)
{
    struct launch_request request = launch_request_of(&w->ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = w->scope,
                               .caps = w->caps,
                               .deployment = "bench",
                               .provider = "lambda",
                               .host = "",
                               .target = w->target};
    struct err e;
    for (;;) {
        int64_t since = clock_mono_us();
        int rc = ledger_reserve(w->l, &r, out, &e);
        keep_sample(ways_lap(&since));
        if (rc != 0) {
            count(&run.failed);
        } else if (out->outcome == LEDGER_RESERVED || out->outcome == LEDGER_SATISFIED ||
                   out->outcome == LEDGER_OBSOLETE) {
            return;
        }
        count(&run.asked_again);
        clock_sleep_until(clock_mono_ms() + AGAIN_MS);
    }
}

static void launch(struct ledger *l, int64_t id)
{
    struct way w = {.l = l};
    struct ledger_reservation r;
    plan(&w, id);
    must_apply(&w, JOB_ACTION_QUEUED, "");
    reserve(&w, &r);
    if (r.outcome != LEDGER_RESERVED) {
        count(&run.satisfied); /* another's message launched a VM for it */
        must_apply(&w, JOB_ACTION_COMPLETED, "");
        return;
    }
    must_advance(l, r.vm.name, VM_REGISTERED);
    must_advance(l, r.vm.name, VM_LAUNCHED);
    count(&run.launched);
    must_apply(&w, JOB_ACTION_IN_PROGRESS, r.vm.name);
    clock_sleep_until(clock_mono_ms() + o.life);
    must_apply(&w, JOB_ACTION_COMPLETED, r.vm.name);
    must_advance(l, r.vm.name, VM_GONE);
}

static void *launch_thread(void *arg)
{
    for (int64_t id = next_request(); id != 0; id = next_request()) {
        launch(arg, id);
    }
    return NULL;
}

/* --- a run --- */
struct figures {
    double per_second;
    double p50_ms;
    double p99_ms;
};

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static double at_ms(double part)
{
    size_t i = (size_t)(part * (double)(run.samples - 1));
    return (double)run.reserve_us[i] / 1000.0;
}

static int64_t over_cap; /* of all runs */

static struct figures report(const char *name, int64_t took_us)
{
    struct dynamo_model_counts c = dynamo_model_counts();
    qsort(run.reserve_us, run.samples, sizeof run.reserve_us[0], compare);
    struct figures f = {.per_second = (double)run.launched * 1e6 / (double)took_us,
                        .p50_ms = at_ms(0.5),
                        .p99_ms = at_ms(0.99)};
    double n = (double)(run.launched > 0 ? run.launched : 1);
    over_cap += c.over_cap;
    printf("%s: %.0f launches/s, reserve p50 %.0f ms, p99 %.0f ms, longest %.0f ms\n", name,
           f.per_second, f.p50_ms, f.p99_ms, at_ms(1));
    printf(
        "  a launch: %.2f conflicts, %.2f conditions that failed, %.1f transactions, %.1f writes "
        "of one item, %.1f reads\n",
        (double)c.conflicts / n, (double)c.conditions / n, (double)c.transactions / n,
        (double)c.writes / n, (double)c.reads / n);
    printf("  over a cap %lld, most VMs %lld of %lld, asked again %lld, errors %lld, satisfied by "
           "others %lld, latest start %.0f ms\n",
           (long long)c.over_cap, (long long)c.most_vms, (long long)o.fleet,
           (long long)run.asked_again, (long long)run.failed, (long long)run.satisfied,
           (double)run.late_us / 1000.0);
    return f;
}

static struct figures measure(const char *name, bool conflicts)
{
    static struct ledger *ledgers[THREADS_MAX];
    static pthread_t threads[THREADS_MAX];
    const struct dynamo_model_options m = {.read_us = 5000,
                                           .transaction_us = 10000,
                                           .conflicts = conflicts,
                                           .fleet_cap = o.fleet,
                                           .class_cap = share(o.fleet, o.classes),
                                           .target_cap =
                                               share(o.fleet, o.targets > 0 ? o.targets : 1)};
    int64_t n = o.workers * o.threads;
    struct err e;
    dynamo_model_reset(&m);
    for (int64_t i = 0; i < o.workers; i++) {
        must(ledger_open(URL, &ledgers[i], &e), &e);
    }
    run.begun_us = run.next_us = clock_mono_us();
    run.until_us = run.begun_us + o.seconds * 1000000;
    run.next_id = 1;
    run.launched = run.satisfied = run.failed = run.asked_again = run.late_us = 0;
    run.samples = 0;
    for (int64_t i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, launch_thread, ledgers[i % o.workers]) != 0) {
            abort();
        }
    }
    for (int64_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    int64_t took_us = clock_mono_us() - run.begun_us - o.life * 1000;
    for (int64_t i = 0; i < o.workers; i++) {
        ledger_close(ledgers[i]);
    }
    return report(name, took_us);
}

static void read_option(const char *text)
{
    const struct {
        const char *name;
        int64_t *value;
    } known[] = {{"workers", &o.workers},
                 {"threads", &o.threads},
                 {"rate", &o.rate},
                 {"seconds", &o.seconds},
                 {"organizations", &o.organizations},
                 {"targets", &o.targets},
                 {"classes", &o.classes},
                 {"repositories", &o.repositories},
                 {"life", &o.life},
                 {"fleet", &o.fleet},
                 {"launch_rate", &o.launch_rate}};
    const char *equals = strchr(text, '=');
    for (size_t i = 0; equals != NULL && i < COUNT_OF(known); i++) {
        if (strncmp(known[i].name, text, (size_t)(equals - text)) == 0) {
            *known[i].value = strtoll(equals + 1, NULL, 10);
            return;
        }
    }
    fprintf(stderr, "dynamo_bench: %s: see the beginning of dynamo_bench.c\n", text);
    exit(2);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        read_option(argv[i]);
    }
    if (o.workers * o.threads > THREADS_MAX) {
        fprintf(stderr, "dynamo_bench: at most %d threads in all\n", THREADS_MAX);
        return 2;
    }
    if (o.fleet == 0) {
        o.fleet = o.rate * (o.life + 150) / 1000 * 11 / 10 + 2;
    }
    printf("%lld workers of %lld threads, %lld requests/s, %lld organizations, %lld targets\n",
           (long long)o.workers, (long long)o.threads, (long long)o.rate,
           (long long)o.organizations, (long long)o.targets);
    struct figures with = measure("conflicts as the service has them", true);
    struct figures without = measure("reference, nothing refused", false);
    double launches = with.per_second / without.per_second;
    double later = with.p99_ms / without.p99_ms;
    bool good = over_cap == 0 && launches >= 0.9 && later <= LATER;
    printf("%s: of the reference %.2f of its launches/s, reserve p99 x%.2f, over a cap %lld\n",
           good ? "ok" : "failed", launches, later, (long long)over_cap);
    return good ? 0 : 1;
}
