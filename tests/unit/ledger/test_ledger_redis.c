/*
 * What only the Redis ledger has: another clock than its callers', a server that goes away and
 * comes back, and steps that are counted in round trips.
 */
#include "tests/unit/ledger/test_ledger_redis.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/ledger/front.h"

/* --- a process whose clock is wrong --- */
static _Atomic int64_t skew_ms;

static int64_t true_wall_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t wrong_wall_ms(void)
{
    return true_wall_ms() + atomic_load(&skew_ms);
}

static int64_t true_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static const struct clock_source wrong_clock = {true_mono_us, wrong_wall_ms};

static void set_clock_wrong(int64_t by_ms)
{
    atomic_store(&skew_ms, by_ms);
    clock_set_source(&wrong_clock);
}

static void lease_is_timed_by_the_server_alone(void **state)
{
    struct redis_fixture *f = *state;
    bool held = false;
    int64_t fence;
    struct err e;
    set_clock_wrong(-60000);
    MUST(ledger_lease(f->l, "sweep", "slow", 30000, &held, &fence, &e));
    assert_true(held);
    set_clock_wrong(60000);
    MUST(ledger_lease(f->l, "sweep", "fast", 30000, &held, &fence, &e));
    assert_false(held);
}

static void tokens_are_not_minted_by_clocks_that_disagree(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger_bucket b = {.name = "github:1", .per_second = 0.01, .burst = 5};
    int given = 0;
    struct err e;
    for (int i = 0; i < 40; i++) {
        int64_t wait_ms;
        set_clock_wrong(i % 2 == 0 ? -60000 : 60000);
        MUST(ledger_rate_take(f->l, &b, 1, &wait_ms, &e));
        given += wait_ms == 0 ? 1 : 0;
    }
    assert_int_equal(given, 5);
}

static void bucket_that_hardly_fills_says_the_longest_wait(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger_bucket b = {.name = "slow", .per_second = 1e-15, .burst = 1};
    int64_t wait_ms = -1;
    struct err e;
    MUST(ledger_rate_take(f->l, &b, 1, &wait_ms, &e));
    assert_int_equal(wait_ms, 0);
    MUST(ledger_rate_take(f->l, &b, 1, &wait_ms, &e));
    assert_int_equal(wait_ms, INT64_C(1000000000000000)); /* as rules.c has it */
}

static void pause_is_as_long_as_its_caller_meant(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger_bucket b = {.name = "github:1"};
    int64_t wait_ms;
    struct err e;
    set_clock_wrong(-60000);
    MUST(ledger_rate_pause(f->l, "github:1", clock_wall_ms() + 50000, &e));
    set_clock_wrong(60000);
    MUST(ledger_rate_take(f->l, &b, 1, &wait_ms, &e));
    assert_in_range(wait_ms, 20000, 50000);
}

static void ages_are_told_in_the_callers_time(void **state)
{
    struct redis_fixture *f = *state;
    int64_t removed;
    struct err e;
    set_clock_wrong(60000);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, "");
    MUST(ledger_tidy(f->l, clock_wall_ms() - 30000, 10, &removed, &e));
    assert_int_equal(removed, 0); /* it ended just now, whatever the clocks say */
    set_clock_wrong(-60000);
    MUST(ledger_tidy(f->l, clock_wall_ms() + 30000, 10, &removed, &e));
    assert_int_equal(removed, 1);
}

static void rows_bear_the_servers_time(void **state)
{
    struct redis_fixture *f = *state;
    set_clock_wrong(60000);
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    int64_t off_ms = r.vm.reserved_ms - true_wall_ms();
    assert_in_range(off_ms + 20000, 0, 40000);
}

/* --- round trips --- */
static void way_of_a_job_is_one_round_trip_a_step(void **state)
{
    struct redis_fixture *f = *state;
    int64_t before = redis_fixture_scripts(f);
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    way_bring(f->l, r.vm.name, VM_LAUNCHED);
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, r.vm.name);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, r.vm.name);
    way_end(f->l, r.vm.name, VM_GONE);
    /* A script the server has not seen yet is sent once more. */
    assert_in_range(redis_fixture_scripts(f) - before, 6, 8);
}

static void launch_and_completed_are_few_round_trips(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger_vm vm = way_launch(f->l, 1); /* by now the server knows the scripts */
    way_complete(f->l, 1, vm.name);
    int64_t before = redis_fixture_scripts(f);
    vm = way_launch(f->l, 2);
    assert_int_equal(redis_fixture_scripts(f) - before, 5);
    way_note(f->l, 2, JOB_ACTION_IN_PROGRESS, vm.name);
    before = redis_fixture_scripts(f);
    way_complete(f->l, 2, vm.name);
    assert_int_equal(redis_fixture_scripts(f) - before, 3);
}

static void lease_is_renewed_in_one_round_trip_and_looked_at_without_a_write(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger *other = redis_fixture_open(f);
    bool held;
    int64_t fence;
    struct err e;
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &fence, &e));
    MUST(ledger_lease(other, "sweep", "b", 60000, &held, &fence, &e));
    assert_false(held);
    int64_t before = redis_fixture_scripts(f);
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &fence, &e));
    assert_true(held);
    assert_int_equal(redis_fixture_scripts(f) - before, 1);
    MUST(ledger_lease(other, "sweep", "b", 60000, &held, &fence, &e));
    before = redis_fixture_scripts(f);
    int64_t writes = redis_fixture_commands(f, "hset");
    MUST(ledger_lease(other, "sweep", "b", 60000, &held, &fence, &e));
    assert_false(held);
    assert_int_equal(redis_fixture_scripts(f) - before, 1);
    assert_int_equal(redis_fixture_commands(f, "hset"), writes);
    ledger_close(other);
}

static void step_on_rows_of_another_process_is_two_round_trips(void **state)
{
    struct redis_fixture *f = *state;
    struct ledger *other = redis_fixture_open(f);
    struct ledger_effect effect;
    struct err e;
    for (int64_t id = 1; id <= 2; id++) {
        struct ledger_reservation r = way_reserve(f->l, id, way_caps());
        struct job_event starts = way_event(id, JOB_ACTION_IN_PROGRESS, r.vm.name);
        int64_t before = redis_fixture_scripts(f);
        MUST(ledger_apply_event(other, &starts, "octo", &effect, &e));
        assert_true(effect.vm_changed);
        assert_int_equal(redis_fixture_scripts(f) - before, 2);
    }
    ledger_close(other);
}

#define WORKERS 8
#define JOBS_EACH 50
#define CAP 20

struct worker {
    struct ledger *l;
    int64_t first;
    int reserved;
    bool failed;
    pthread_t thread;
};

static void *reserve_many(void *arg)
{
    struct worker *w = arg;
    for (int64_t i = 0; i < JOBS_EACH; i++) {
        struct job_event ev = way_event(w->first + i, JOB_ACTION_QUEUED, "");
        struct launch_request request = launch_request_of(&ev);
        struct ledger_reserve r = {.request = &request,
                                   .scope = "octo",
                                   .caps = way_caps(),
                                   .deployment = "test",
                                   .provider = "qemu",
                                   .host = "box"};
        struct ledger_reservation out;
        struct err e;
        r.caps.fleet = CAP;
        if (ledger_reserve(w->l, &r, &out, &e) != 0) {
            w->failed = true;
            return NULL;
        }
        w->reserved += out.outcome == LEDGER_RESERVED ? 1 : 0;
    }
    return NULL;
}

static void eight_workers_reserve_in_one_round_trip_each(void **state)
{
    struct redis_fixture *f = *state;
    struct worker w[WORKERS];
    int reserved = 0;
    int64_t before = redis_fixture_scripts(f);
    for (int i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){.l = redis_fixture_open(f), .first = 1 + i * JOBS_EACH};
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&w[i].thread, NULL, reserve_many, &w[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        assert_false(w[i].failed);
        reserved += w[i].reserved;
        ledger_close(w[i].l);
    }
    int64_t ran = redis_fixture_scripts(f) - before;
    assert_int_equal(reserved, CAP);
    assert_in_range(ran, WORKERS * JOBS_EACH,
                    WORKERS * (JOBS_EACH + 3)); /* and each one's opening */
}

/* --- nothing that was counted stays when nothing is left --- */
static void ledger_emptied_leaves_no_key_but_its_few_own(void **state)
{
    struct redis_fixture *f = *state;
    int64_t removed;
    struct err e;
    for (int64_t id = 1; id <= 100; id++) {
        struct ledger_reservation r = way_reserve(f->l, id, way_caps());
        MUST(ledger_log_event(f->l, id, r.vm.name, "retry", "x", &e));
        way_note(f->l, id + 1000, JOB_ACTION_IN_PROGRESS, r.vm.name);
        way_note(f->l, id + 1000, JOB_ACTION_COMPLETED, r.vm.name);
        way_note(f->l, id, JOB_ACTION_COMPLETED, "");
        way_end(f->l, r.vm.name, VM_GONE);
    }
    MUST(ledger_tidy(f->l, clock_wall_ms() + 1000000, 1000, &removed, &e));
    assert_int_equal(removed, 300);
    static const char *const empty[] = {"jobs",
                                        "vms",
                                        "told",
                                        "demand",
                                        "supply",
                                        "slots",
                                        "gone",
                                        "ended",
                                        "seen",
                                        "live",
                                        "names",
                                        "counts",
                                        "scopes",
                                        "scope_vms",
                                        "repositories",
                                        "lines:j:00000000000000000001",
                                        "job_vms:00000000000000000001",
                                        "buckets"};
    for (size_t i = 0; i < COUNT_OF(empty); i++) {
        assert_int_equal(redis_fixture_call(f, "EXISTS", empty[i], NULL, NULL), 0);
    }
    assert_int_equal(redis_fixture_call(f, "HLEN", "meta", NULL, NULL), 3); /* format, freed, seq */
}

/* --- a server that goes away --- */
struct life {
    struct ledger *l;
    int64_t first;
    atomic_bool *stop;
    int64_t ended;      /* VMs whose end was confirmed */
    enum err_class odd; /* an error that is not "try again" */
    char message[256];
    pthread_t thread;
};

/* Whether to try the step again, as the programs do until the server is there again. */
static bool again(struct life *s, int rc, const struct err *e)
{
    if (rc == 0) {
        return false;
    }
    if (e->class != ERR_RETRY) {
        s->odd = e->class;
        (void)snprintf(s->message, sizeof s->message, "%.255s", e->message);
        atomic_store(s->stop, true); /* nobody waits for what this life would have done */
        return false;
    }
    clock_sleep_until(clock_mono_ms() + 2);
    return true;
}

static bool keep_noting(struct life *s, int64_t id, enum job_action action, const char *runner)
{
    struct job_event ev = way_event(id, action, runner);
    struct ledger_effect effect;
    struct err e;
    while (again(s, ledger_apply_event(s->l, &ev, "octo", &effect, &e), &e)) {
    }
    return s->odd == ERR_NONE;
}

static bool keep_moving(struct life *s, const char *name, enum ledger_vm_state to)
{
    struct ledger_advance move = {.vm = name, .to = to};
    struct err e;
    while (again(s, ledger_vm_advance(s->l, &move, NULL, &e), &e)) {
    }
    return s->odd == ERR_NONE;
}

/* A reservation whose answer was lost leaves a VM that nobody launches. Its supply would satisfy
 * every later job of the class, so it is ended here, as the reaper does. */
static bool end_unanswered(struct life *s, int64_t id)
{
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    struct err e;
    while (again(s, ledger_vm_list(s->l, 1U << VM_RESERVED, "", 1000, &vms, &n, &e), &e)) {
    }
    for (size_t i = 0; i < n && s->odd == ERR_NONE; i++) {
        (void)(vms[i].for_job == id && keep_moving(s, vms[i].name, VM_ENDING) &&
               keep_moving(s, vms[i].name, VM_GONE));
    }
    free(vms);
    return s->odd == ERR_NONE;
}

static bool live_once(struct life *s, int64_t id)
{
    struct job_event ev = way_event(id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = way_caps(),
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box"};
    struct ledger_reservation out = {.outcome = LEDGER_OBSOLETE};
    bool unanswered = false;
    struct err e;
    while (again(s, ledger_reserve(s->l, &r, &out, &e), &e)) {
        unanswered = true;
    }
    bool mine = out.outcome == LEDGER_RESERVED;
    if (s->odd != ERR_NONE || (mine && !keep_noting(s, id, JOB_ACTION_IN_PROGRESS, out.vm.name)) ||
        !keep_noting(s, id, JOB_ACTION_COMPLETED, mine ? out.vm.name : "") ||
        (mine && !keep_moving(s, out.vm.name, VM_GONE))) {
        return false;
    }
    s->ended += mine ? 1 : 0;
    return !unanswered || end_unanswered(s, id);
}

static void *live_on(void *arg)
{
    struct life *s = arg;
    int64_t id = s->first;
    while (!atomic_load(s->stop) && live_once(s, id)) {
        id++;
    }
    return NULL;
}

static void must_add_up(struct redis_fixture *f)
{
    struct ledger_vm *vms = NULL;
    struct ledger_count *counts = NULL;
    size_t n = 0;
    size_t classes = 0;
    int64_t rows[6] = {0};
    struct ledger_caps caps = way_caps();
    struct ledger_capacity room;
    struct err e;
    MUST(ledger_vm_list(f->l, ~0U, "", 1000000, &vms, &n, &e));
    for (size_t i = 0; i < n; i++) {
        rows[vms[i].state]++;
    }
    free(vms);
    MUST(ledger_counts(f->l, &counts, &classes, &e));
    assert_int_equal(classes, 1);
    assert_memory_equal(counts[0].vms, rows, sizeof rows);
    free(counts);
    MUST(ledger_capacity(f->l, "small", &caps, &room, &e));
    assert_int_equal(room.fleet_used, (int64_t)n - rows[VM_GONE]);
}

#define LIVES 4
#define RESTARTS 4

static void server_killed_in_the_middle_loses_nothing_confirmed(void **state)
{
    struct redis_fixture *f = *state;
    struct life s[LIVES];
    atomic_bool stop = false;
    int64_t ended = 0;
    int64_t freed;
    struct err e;
    for (int i = 0; i < LIVES; i++) {
        s[i] = (struct life){.l = f->l, .first = 1 + i * 1000000LL, .stop = &stop};
        assert_int_equal(pthread_create(&s[i].thread, NULL, live_on, &s[i]), 0);
    }
    for (int i = 0; i < RESTARTS && !atomic_load(&stop); i++) {
        int64_t before = 0;
        MUST(ledger_release_seq(f->l, &before, &e));
        do { /* until they live again */
            freed = before;
            if (ledger_release_seq(f->l, &freed, &e) != 0) {
                freed = before;
            }
        } while (freed < before + 20 && !atomic_load(&stop));
        redis_fixture_restart();
        while (ledger_ping(f->l, &e) != 0) {
            assert_string_equal(err_class_name(e.class), err_class_name(ERR_RETRY));
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < LIVES; i++) {
        assert_int_equal(pthread_join(s[i].thread, NULL), 0);
    }
    for (int i = 0; i < LIVES; i++) {
        if (s[i].odd != ERR_NONE) {
            fail_msg("%s: %s", err_class_name(s[i].odd), s[i].message);
        }
        ended += s[i].ended;
    }
    MUST(ledger_release_seq(f->l, &freed, &e));
    assert_true(freed >= ended && ended > 0); /* each confirmed end is there */
    must_add_up(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        REDIS_TEST(lease_is_timed_by_the_server_alone),
        REDIS_TEST(tokens_are_not_minted_by_clocks_that_disagree),
        REDIS_TEST(bucket_that_hardly_fills_says_the_longest_wait),
        REDIS_TEST(pause_is_as_long_as_its_caller_meant),
        REDIS_TEST(ages_are_told_in_the_callers_time),
        REDIS_TEST(rows_bear_the_servers_time),
        REDIS_TEST(way_of_a_job_is_one_round_trip_a_step),
        REDIS_TEST(launch_and_completed_are_few_round_trips),
        REDIS_TEST(lease_is_renewed_in_one_round_trip_and_looked_at_without_a_write),
        REDIS_TEST(step_on_rows_of_another_process_is_two_round_trips),
        REDIS_TEST(eight_workers_reserve_in_one_round_trip_each),
        REDIS_TEST(ledger_emptied_leaves_no_key_but_its_few_own),
        REDIS_TEST(server_killed_in_the_middle_loses_nothing_confirmed),
    };
    if (!redis_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on redis", tests, NULL, NULL);
}
