#include "tests/bench/ledger/ways.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"

void must(int rc, const struct err *e)
{
    if (rc != 0) {
        fprintf(stderr, "bench: %s\n", e->message);
        exit(1);
    }
}

/* --- one job's way --- */
struct job_event ways_event_of(int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = {.action = action,
                           .job.id = id,
                           .job.run_id = id,
                           .job.run_attempt = 1,
                           .job.repository = "octo/app",
                           .job.organization = "octo",
                           .job.name = "build",
                           .delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958",
                           .status = "queued",
                           .job.labels = "self-hosted,linux,x64,microvm",
                           .job.class_name = "small"};
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    (void)snprintf(ev.job.conclusion, sizeof ev.job.conclusion, "%s",
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
    struct job_event ev = ways_event_of(id, action, runner);
    struct ledger_effect effect;
    struct err e;
    must(ledger_apply_event(l, &ev, "octo", &effect, &e), &e);
}

/* Returns false if a VM for others satisfied it. */
static bool reserve(struct ledger *l, int64_t id, struct ledger_vm *vm)
{
    struct job_event ev = ways_event_of(id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
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

int64_t ways_lap(int64_t *since)
{
    int64_t now = clock_mono_us();
    int64_t took = now - *since;
    *since = now;
    return took;
}

static void go_the_way(struct ways *w, int64_t id)
{
    struct ledger_vm vm;
    int64_t since = clock_mono_us();
    bool ours = reserve(w->l, id, &vm);
    w->us[RESERVE] += ways_lap(&since);
    if (!ours) {
        note(w->l, id, JOB_ACTION_COMPLETED, "");
        return;
    }
    advance(w->l, vm.name, VM_REGISTERED);
    w->us[REGISTER] += ways_lap(&since);
    advance(w->l, vm.name, VM_LAUNCHED);
    w->us[LAUNCH] += ways_lap(&since);
    note(w->l, id, JOB_ACTION_IN_PROGRESS, vm.name);
    w->us[START] += ways_lap(&since);
    note(w->l, id, JOB_ACTION_COMPLETED, vm.name);
    w->us[COMPLETE] += ways_lap(&since);
    advance(w->l, vm.name, VM_GONE);
    w->us[GO] += ways_lap(&since);
}

void *ways_go(void *arg)
{
    struct ways *w = arg;
    for (int64_t i = 0; i < w->count; i++) {
        go_the_way(w, w->first_id + i);
    }
    return NULL;
}

/* --- many at once --- */
int64_t ways_go_many(struct ledger *l, int threads, int64_t each, int64_t first_id)
{
    struct ways w[WAYS_THREADS_MAX];
    int64_t began = clock_mono_us();
    ASSERT(threads <= WAYS_THREADS_MAX);
    for (int i = 0; i < threads; i++) {
        w[i] = (struct ways){.l = l, .first_id = first_id + i * each, .count = each};
        if (pthread_create(&w[i].thread, NULL, ways_go, &w[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(w[i].thread, NULL);
    }
    return clock_mono_us() - began;
}
