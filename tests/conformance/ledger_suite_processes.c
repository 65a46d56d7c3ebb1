/*
 * Conformance of a ledger backend: threads and processes that race, and processes that are killed.
 */
#include "tests/conformance/ledger_suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"

#define IDS_EACH 2000 /* job ids of one child, where the store is fast */
#define CAP 3

static int64_t ids_each(const char *url)
{
    return ledger_times(url, IDS_EACH, 1);
}

/* --- one life after another --- */
struct lives {
    struct ledger *l;
    int64_t first_id;
    void (*say)(const char *what, const char *vm); /* after each step; may be NULL */
};

static void nap(void)
{
    struct timespec t = {0, (long)random_below(2000000)};
    (void)nanosleep(&t, NULL);
}

/* Asks until the job's message is done with. Returns whether a VM is ours. */
static int reserve_until_decided(struct ledger *l, const struct job_event *ev, struct ledger_vm *vm,
                                 struct err *e)
{
    struct ledger_caps caps = wide_caps();
    struct launch_request request = launch_request_of(ev);
    struct ledger_reserve r = ask(&request, caps);
    r.caps.fleet = CAP;
    for (;;) {
        struct ledger_reservation out;
        if (ledger_reserve(l, &r, &out, e) != 0) {
            return -1;
        }
        if (out.outcome == LEDGER_RESERVED) {
            *vm = out.vm;
            return 1;
        }
        if (out.outcome == LEDGER_SATISFIED || out.outcome == LEDGER_OBSOLETE) {
            return 0;
        }
        nap();
    }
}

static int end_job(struct ledger *l, int64_t id, const char *runner, struct err *e)
{
    struct ledger_effect effect;
    struct job_event ev = completed(id, runner, runner[0] != '\0' ? "success" : "cancelled");
    return ledger_apply_event(l, &ev, SCOPE, &effect, e);
}

static int run_and_end(struct ledger *l, int64_t id, const char *vm, struct err *e)
{
    struct ledger_effect effect;
    struct ledger_advance registered = step(vm, VM_REGISTERED);
    struct ledger_advance launched = step(vm, VM_LAUNCHED);
    struct ledger_advance gone = step(vm, VM_GONE);
    struct job_event ev = in_progress(id, vm);
    if (ledger_vm_advance(l, &registered, NULL, e) != 0 ||
        ledger_vm_advance(l, &launched, NULL, e) != 0 ||
        ledger_apply_event(l, &ev, SCOPE, &effect, e) != 0 || end_job(l, id, vm, e) != 0) {
        return -1;
    }
    return ledger_vm_advance(l, &gone, NULL, e);
}

/* One job from its launch message to the end of its VM. */
static int live(const struct lives *s, int64_t id, struct err *e)
{
    struct job_event ev = queued(id);
    struct ledger_vm vm;
    int got = reserve_until_decided(s->l, &ev, &vm, e);
    if (got < 0) {
        return -1;
    }
    if (got == 0) {
        return end_job(s->l, id, "", e);
    }
    if (s->say != NULL) {
        s->say("reserved", vm.name);
    }
    if (run_and_end(s->l, id, vm.name, e) != 0) {
        return -1;
    }
    if (s->say != NULL) {
        s->say("gone", vm.name);
    }
    return 0;
}

/* --- children --- */
static int child_failed(const char *doing, const struct err *e)
{
    fprintf(stderr, "child: %s: %s\n", doing, e->message);
    return 1;
}

static void say_line(const char *what, const char *vm)
{
    char text[128];
    int n = snprintf(text, sizeof text, "%s %s\n", what, vm);
    ssize_t written = write(STDOUT_FILENO, text, (size_t)n);
    (void)written;
}

/* A test that failed leaves no child behind. */
static int open_in_child(const char *url, struct ledger **out, struct err *e)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    return ledger_open(url, out, e);
}

/* A child whose wall clock is wrong by so much. */
static int64_t skew_ms;

static int64_t system_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t skewed_wall_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + skew_ms;
}

static const struct clock_source skewed_clock = {system_mono_us, skewed_wall_ms};

static void skew_clock(const char *by_ms)
{
    skew_ms = strtoll(by_ms, NULL, 10);
    clock_set_source(&skewed_clock);
}

/* live WHO ROUNDS [SKEW]: so many lives, one after another (0: until killed, told line by line). */
static int child_live(const char *url, int argc, char **argv)
{
    struct lives s = {.l = NULL};
    struct err e = {.message = "usage"};
    if (argc == 3) {
        skew_clock(argv[2]);
    }
    if (argc < 2 || open_in_child(url, &s.l, &e) != 0) {
        return child_failed("open", &e);
    }
    int64_t rounds = strtoll(argv[1], NULL, 10);
    s.first_id = 1 + strtoll(argv[0], NULL, 10) * ids_each(url);
    s.say = rounds == 0 ? say_line : NULL;
    for (int64_t i = 0; rounds == 0 ? i < ids_each(url) : i < rounds; i++) {
        if (live(&s, s.first_id + i, &e) != 0) {
            return child_failed("live", &e);
        }
    }
    ledger_close(s.l);
    return 0;
}

/* lease HOLDER TTL: waits for the lease, says its fence, when it got it and until when, stays. */
static int child_lease(const char *url, int argc, char **argv)
{
    struct ledger *l = NULL;
    struct err e = {.message = "usage"};
    bool held = false;
    int64_t fence = 0;
    int64_t now_ms = 0;
    char line[96];
    if (argc != 2 || open_in_child(url, &l, &e) != 0) {
        return child_failed("open", &e);
    }
    int64_t ttl_ms = strtoll(argv[1], NULL, 10);
    while (!held) {
        now_ms = clock_wall_ms();
        if (ledger_lease(l, "sweep", argv[0], ttl_ms, &held, &fence, &e) != 0) {
            return child_failed("lease", &e);
        }
        nap();
    }
    (void)snprintf(line, sizeof line, "%lld %lld %lld", (long long)fence, (long long)now_ms,
                   (long long)now_ms + ttl_ms);
    say_line("held", line);
    for (;;) {
        (void)pause();
    }
}

/* swap HOLDER ROUNDS SKEW: so often takes the lease, says its fence, asks again, gives it back. */
static int child_swap(const char *url, int argc, char **argv)
{
    struct ledger *l = NULL;
    struct err e = {.message = "usage"};
    if (argc != 3) {
        return child_failed("swap", &e);
    }
    skew_clock(argv[2]);
    if (open_in_child(url, &l, &e) != 0) {
        return child_failed("open", &e);
    }
    for (int64_t left = strtoll(argv[1], NULL, 10); left > 0;) {
        bool held = false;
        bool still = false;
        int64_t fence[2];
        char line[32];
        if (ledger_lease(l, "sweep", argv[0], 1000, &held, &fence[0], &e) != 0 ||
            (held && ledger_lease(l, "sweep", argv[0], 1000, &still, &fence[1], &e) != 0)) {
            return child_failed("lease", &e);
        }
        if (held && still && fence[0] == fence[1]) { /* it may act */
            (void)snprintf(line, sizeof line, "%lld", (long long)fence[0]);
            say_line("held", line);
            left--;
        }
        if (held && ledger_lease_release(l, "sweep", argv[0], &e) != 0) {
            return child_failed("release", &e);
        }
        nap();
    }
    ledger_close(l);
    return 0;
}

const struct conformance_child ledger_children[] = {
    {"live", child_live}, {"lease", child_lease}, {"swap", child_swap}, {NULL, NULL}};

/* --- an observer that never stops looking --- */
struct observer {
    struct ledger *l;
    _Atomic bool stop;
    _Atomic int64_t most;
    _Atomic int64_t looks;
    _Atomic bool failed;
    pthread_t thread;
};

static void *look(void *arg)
{
    struct observer *o = arg;
    struct ledger_caps caps = wide_caps();
    while (!atomic_load(&o->stop)) {
        struct ledger_capacity room;
        struct err e;
        if (ledger_capacity(o->l, "small", &caps, &room, &e) != 0) {
            atomic_store(&o->failed, true);
            break;
        }
        if (room.fleet_used > atomic_load(&o->most)) {
            atomic_store(&o->most, room.fleet_used);
        }
        atomic_fetch_add(&o->looks, 1);
    }
    return NULL;
}

static void observe(struct observer *o, const char *url)
{
    *o = (struct observer){.l = must_open(url)};
    assert_int_equal(pthread_create(&o->thread, NULL, look, o), 0);
}

static void must_never_have_exceeded(struct observer *o)
{
    atomic_store(&o->stop, true);
    assert_int_equal(pthread_join(o->thread, NULL), 0);
    ledger_close(o->l);
    assert_false(atomic_load(&o->failed));
    assert_true(atomic_load(&o->looks) > 0);
    assert_in_range(atomic_load(&o->most), 1, CAP);
}

static void must_be_over(struct ledger *l, int64_t max_job)
{
    assert_int_equal(must_balance(l).demand, 0);
    assert_int_equal(must_balance(l).supply, 0);
    assert_int_equal(slots_used(l), 0);
    must_be_consistent(l, max_job);
}

/* --- races --- */
#define CHILDREN 4
#define ROUNDS 25 /* where the store is fast */

static void write_rounds(const char *url, int many, char *out, size_t size)
{
    (void)snprintf(out, size, "%d", ledger_times(url, many, 4));
}

static void processes_that_race_never_exceed_the_cap(void **state)
{
    struct ledger_fixture *f = *state;
    struct conformance_process p[CHILDREN];
    struct observer o;
    clock_system();
    observe(&o, f->store.url);
    for (int i = 0; i < CHILDREN; i++) {
        char who[16];
        char rounds[16];
        (void)snprintf(who, sizeof who, "%d", i);
        write_rounds(f->store.url, ROUNDS, rounds, sizeof rounds);
        const char *args[] = {who, rounds, NULL};
        conformance_spawn(&p[i], "live", f->store.url, args);
    }
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(conformance_wait(&p[i]), 0);
    }
    must_never_have_exceeded(&o);
    must_be_over(f->l, CHILDREN * ids_each(f->store.url));
}

/* --- clocks that disagree --- */
static const char *const skews[] = {"-60000", "0", "60000"};

static void processes_with_skewed_clocks_never_exceed_the_cap(void **state)
{
    struct ledger_fixture *f = *state;
    struct conformance_process p[COUNT_OF(skews)];
    struct observer o;
    clock_system();
    observe(&o, f->store.url);
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        char who[24];
        char rounds[16];
        (void)snprintf(who, sizeof who, "%zu", i);
        write_rounds(f->store.url, ROUNDS, rounds, sizeof rounds);
        const char *args[] = {who, rounds, skews[i], NULL};
        conformance_spawn(&p[i], "live", f->store.url, args);
    }
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        assert_int_equal(conformance_wait(&p[i]), 0);
    }
    must_never_have_exceeded(&o);
    must_be_over(f->l, (int64_t)COUNT_OF(skews) * ids_each(f->store.url));
}

#define FENCES_MAX 4096

/* Whoever acts on a fence is the only one that ever does. */
static void skewed_clocks_never_give_one_fence_to_two(void **state)
{
    struct ledger_fixture *f = *state;
    struct conformance_process p[COUNT_OF(skews)];
    static char holder_of[FENCES_MAX];
    clock_system();
    memset(holder_of, 0, sizeof holder_of);
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        char who[24];
        char rounds[16];
        (void)snprintf(who, sizeof who, "%zu", i);
        write_rounds(f->store.url, 30, rounds, sizeof rounds);
        const char *args[] = {who, rounds, skews[i], NULL};
        conformance_spawn(&p[i], "swap", f->store.url, args);
    }
    for (size_t i = 0; i < COUNT_OF(skews); i++) {
        while (conformance_read_line(&p[i])) {
            int64_t fence = strtoll(p[i].line + 5, NULL, 10);
            assert_in_range(fence, 1, FENCES_MAX - 1);
            assert_int_equal(holder_of[fence], 0);
            holder_of[fence] = 1;
        }
        assert_int_equal(conformance_wait(&p[i]), 0);
    }
}

struct racer {
    struct lives lives;
    int rounds;
    struct err e;
    int rc;
    pthread_t thread;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < r->rounds && r->rc == 0; i++) {
        r->rc = live(&r->lives, r->lives.first_id + i, &r->e);
    }
    return NULL;
}

static void threads_on_two_handles_never_exceed_the_cap(void **state)
{
    struct ledger_fixture *f = *state;
    struct racer r[6];
    struct observer o;
    clock_system();
    struct ledger *second = must_open(f->store.url);
    observe(&o, f->store.url);
    for (size_t i = 0; i < COUNT_OF(r); i++) {
        r[i] = (struct racer){
            .lives = {.l = i % 2 == 0 ? f->l : second, .first_id = 1 + (int64_t)i * 25},
            .rounds = ledger_times(f->store.url, 20, 4)};
        assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(r); i++) {
        assert_int_equal(pthread_join(r[i].thread, NULL), 0);
        must_succeed(r[i].rc, &r[i].e, "race");
    }
    must_never_have_exceeded(&o);
    ledger_close(second);
    must_be_over(f->l, (int64_t)COUNT_OF(r) * 25);
}

struct taker {
    struct ledger *l;
    int64_t taken;
    int rc;
    pthread_t thread;
};

static void *take_tokens(void *arg)
{
    struct taker *t = arg;
    struct ledger_bucket b = {.name = "github:1", .per_second = 0.001, .burst = 50};
    for (int i = 0; i < 40 && t->rc == 0; i++) {
        int64_t wait_ms;
        struct err e;
        t->rc = ledger_rate_take(t->l, &b, 1, &wait_ms, &e);
        t->taken += t->rc == 0 && wait_ms == 0 ? 1 : 0;
    }
    return NULL;
}

static void tokens_raced_for_are_given_once(void **state)
{
    struct ledger_fixture *f = *state;
    struct taker t[3];
    int64_t taken = 0;
    struct ledger *second = must_open(f->store.url);
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        t[i] = (struct taker){.l = i == 0 ? f->l : second};
        assert_int_equal(pthread_create(&t[i].thread, NULL, take_tokens, &t[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        assert_int_equal(pthread_join(t[i].thread, NULL), 0);
        assert_int_equal(t[i].rc, 0);
        taken += t[i].taken;
    }
    ledger_close(second);
    assert_int_equal(taken, 50);
}

/* --- the lease of a process that was killed --- */
static void lease_of_a_killed_holder_goes_on_after_its_time(void **state)
{
    struct ledger_fixture *f = *state;
    struct conformance_process a;
    struct conformance_process b;
    const char *args_a[] = {"a", "700", NULL};
    const char *args_b[] = {"b", "700", NULL};
    long long fence[2];
    long long at;
    long long until;
    char *rest;
    conformance_spawn(&a, "lease", f->store.url, args_a);
    assert_true(conformance_read_line(&a));
    fence[0] = strtoll(a.line + 5, &rest, 10);
    (void)strtoll(rest, &rest, 10);
    until = strtoll(rest, NULL, 10);
    conformance_spawn(&b, "lease", f->store.url, args_b);
    assert_int_equal(kill(a.pid, SIGKILL), 0);
    assert_int_equal(conformance_wait(&a), -SIGKILL);
    assert_true(conformance_read_line(&b));
    fence[1] = strtoll(b.line + 5, &rest, 10);
    at = strtoll(rest, NULL, 10);
    assert_true(fence[1] > fence[0]);
    /* b reads its clock before it asks, so a little earlier than the ledger does. */
    assert_true(at >= until - 100);
    assert_int_equal(kill(b.pid, SIGKILL), 0);
    assert_int_equal(conformance_wait(&b), -SIGKILL);
}

/* --- killed in the middle --- */
#define KILLS 6 /* where the store is fast */
#define NAMES_MAX 2000

struct told {
    char reserved[NAMES_MAX][VM_NAME_SIZE];
    size_t reserved_count;
    char gone[NAMES_MAX][VM_NAME_SIZE];
    size_t gone_count;
};

static void hear(struct told *t, const char *line)
{
    if (strncmp(line, "reserved ", 9) == 0) {
        assert_true(t->reserved_count < NAMES_MAX);
        (void)snprintf(t->reserved[t->reserved_count++], 68, "%.67s", line + 9);
    } else {
        assert_int_equal(strncmp(line, "gone ", 5), 0);
        assert_true(t->gone_count < NAMES_MAX);
        (void)snprintf(t->gone[t->gone_count++], 68, "%.67s", line + 5);
    }
}

static void kill_in_the_middle(struct conformance_process *p, int lines, struct told *t)
{
    for (int i = 0; i < lines; i++) {
        assert_true(conformance_read_line(p));
        hear(t, p->line);
    }
    nap();
    assert_int_equal(kill(p->pid, SIGKILL), 0);
    while (conformance_read_line(p)) {
        hear(t, p->line);
    }
    assert_int_equal(conformance_wait(p), -SIGKILL);
}

/* What a reaper would do with what the killed one left. */
static void clear_up(struct ledger *l)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_vm_list(l, ~0U & ~(1U << VM_GONE), "", 1000, &vms, &n, &e));
    assert_in_range(n, 0, CAP);
    for (size_t i = 0; i < n; i++) {
        struct ledger_advance a = step(vms[i].name, VM_ENDING);
        MUST(ledger_vm_advance(l, &a, NULL, &e));
        must_advance(l, vms[i].name, VM_GONE);
    }
    free(vms);
}

static void killed_process_leaves_what_it_had_confirmed_and_consistent_rows(void **state)
{
    struct ledger_fixture *f = *state;
    struct told *t = calloc(1, sizeof *t);
    assert_non_null(t);
    clock_system();
    for (int i = 0; i < ledger_times(f->store.url, KILLS, 2); i++) {
        struct conformance_process p;
        char who[16];
        (void)snprintf(who, sizeof who, "%d", i);
        const char *args[] = {who, "0", NULL};
        conformance_spawn(&p, "live", f->store.url, args);
        kill_in_the_middle(&p, 5 + 7 * i, t);
        must_be_consistent(f->l, (i + 1) * ids_each(f->store.url));
        clear_up(f->l);
    }
    for (size_t i = 0; i < t->reserved_count; i++) {
        assert_string_equal(must_see_vm(f->l, t->reserved[i]).name, t->reserved[i]);
    }
    for (size_t i = 0; i < t->gone_count; i++) {
        assert_int_equal(must_see_vm(f->l, t->gone[i]).state, VM_GONE);
    }
    free(t);
    assert_int_equal(slots_used(f->l), 0);
}

const struct CMUnitTest ledger_process_tests[] = {
    LEDGER_TEST(processes_that_race_never_exceed_the_cap),
    LEDGER_TEST(processes_with_skewed_clocks_never_exceed_the_cap),
    LEDGER_TEST(skewed_clocks_never_give_one_fence_to_two),
    LEDGER_TEST(threads_on_two_handles_never_exceed_the_cap),
    LEDGER_TEST(tokens_raced_for_are_given_once),
    LEDGER_TEST(lease_of_a_killed_holder_goes_on_after_its_time),
    LEDGER_TEST(killed_process_leaves_what_it_had_confirmed_and_consistent_rows),
};
const size_t ledger_process_test_count = COUNT_OF(ledger_process_tests);
