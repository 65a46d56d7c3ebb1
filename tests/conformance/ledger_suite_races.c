/*
 * Conformance of a ledger backend: two clients that do the same at the same moment, verb by verb.
 *
 * Each race is run many times between two handles, started together; whatever order the store gave
 * the two steps, exactly what one order allows must have come of it.
 */
#include "tests/conformance/ledger_suite.h"

#include <pthread.h>
#include <stdio.h>

#define RACES 40 /* where the store is fast */

/* --- two at once --- */
struct race;
typedef int step_fn(struct race *r, struct ledger *l, int who, struct err *e);

struct race {
    step_fn *step;
    struct ledger *l[2];
    int64_t id; /* the job's, or the round's number */
    int64_t rounds;
    char vm[VM_NAME_SIZE];
    int64_t got[2]; /* what the step put there */
    bool yes[2];
    pthread_barrier_t start;
};

struct runner {
    struct race *race;
    int who;
    int rc;
    struct err e;
    pthread_t thread;
};

static void *run(void *arg)
{
    struct runner *r = arg;
    (void)pthread_barrier_wait(&r->race->start);
    r->rc = r->race->step(r->race, r->race->l[r->who], r->who, &r->e);
    return NULL;
}

static void race_once(struct race *r, step_fn *both_do)
{
    struct runner both[2];
    r->step = both_do;
    r->got[0] = r->got[1] = 0;
    r->yes[0] = r->yes[1] = false;
    assert_int_equal(pthread_barrier_init(&r->start, NULL, 2), 0);
    for (int i = 0; i < 2; i++) {
        both[i] = (struct runner){.race = r, .who = i};
        assert_int_equal(pthread_create(&both[i].thread, NULL, run, &both[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(both[i].thread, NULL), 0);
        must_succeed(both[i].rc, &both[i].e, "race");
    }
    assert_int_equal(pthread_barrier_destroy(&r->start), 0);
}

static struct race begin(struct ledger_fixture *f)
{
    return (struct race){.l = {f->l, must_open(f->store.url)},
                         .rounds = ledger_times(f->store.url, RACES, 5)};
}

static void end(struct race *r)
{
    ledger_close(r->l[1]);
}

static void must_be_one(const struct race *r)
{
    assert_int_equal((r->yes[0] ? 1 : 0) + (r->yes[1] ? 1 : 0), 1);
}

/* --- note --- */
static int note(struct race *r, struct ledger *l, int who, const struct job_event *ev,
                struct err *e)
{
    struct ledger_effect effect;
    if (ledger_apply_event(l, ev, SCOPE, &effect, e) != 0) {
        return -1;
    }
    r->yes[who] = effect.changed;
    r->got[who] = effect.vm_changed ? 1 : 0;
    return 0;
}

static int note_queued(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct job_event ev = queued(r->id);
    return note(r, l, who, &ev, e);
}

static int note_in_progress(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct job_event ev = in_progress(r->id, r->vm);
    return note(r, l, who, &ev, e);
}

static int note_completed(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct job_event ev = completed(r->id, r->vm, "success");
    return note(r, l, who, &ev, e);
}

/* One says that it starts, the other that it is over. */
static int note_start_or_end(struct race *r, struct ledger *l, int who, struct err *e)
{
    return who == 0 ? note_in_progress(r, l, who, e) : note_completed(r, l, who, e);
}

static void one_delivery_noted_twice_at_once_counts_once(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        race_once(&r, note_queued);
        must_be_one(&r);
        (void)snprintf(r.vm, sizeof r.vm, "%s", must_get_vm(r.l[0], r.id).name);
        race_once(&r, note_in_progress);
        must_be_one(&r);
        assert_int_equal(r.got[0] + r.got[1], 1);
        race_once(&r, note_completed);
        must_be_one(&r);
        assert_int_equal(r.got[0] + r.got[1], 1);
        assert_int_equal(lines_of(r.l[0], r.id, "done", ""), 1);
        assert_int_equal(lines_of(r.l[0], r.id, "ending", ""), 1);
    }
    must_be_consistent(r.l[1], r.rounds);
    end(&r);
}

static void start_and_end_noted_at_once_end_the_vm(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        (void)snprintf(r.vm, sizeof r.vm, "%s", must_get_vm(r.l[0], r.id).name);
        race_once(&r, note_start_or_end);
        assert_int_equal(must_get(r.l[0], r.id).state, JOB_DONE);
        assert_int_equal(must_see_vm(r.l[1], r.vm).state, VM_ENDING);
        assert_int_equal(must_see_vm(r.l[1], r.vm).job_id, r.id);
    }
    must_be_consistent(r.l[0], r.rounds);
    end(&r);
}

/* --- reserve --- */
static int reserve_the_last_slot(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct job_event ev = queued(2 * r->id + who);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve ask_for = ask(&request, wide_caps());
    struct ledger_reservation out;
    ask_for.caps.fleet = r->id; /* one slot more than in use */
    if (ledger_reserve(l, &ask_for, &out, e) != 0) {
        return -1;
    }
    r->yes[who] = out.outcome == LEDGER_RESERVED;
    r->got[who] = out.outcome;
    return 0;
}

static void last_slot_raced_for_is_given_once(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        race_once(&r, reserve_the_last_slot);
        must_be_one(&r);
        assert_int_equal(r.got[r.yes[0] ? 1 : 0], LEDGER_FULL_FLEET);
        assert_int_equal(slots_used(r.l[0]), r.id);
    }
    must_be_consistent(r.l[1], 2 * r.rounds + 1);
    end(&r);
}

static int reserve_same(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct job_event ev = queued(r->id);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve ask_for = ask(&request, wide_caps());
    struct ledger_reservation out;
    if (ledger_reserve(l, &ask_for, &out, e) != 0) {
        return -1;
    }
    r->yes[who] = out.outcome == LEDGER_RESERVED;
    r->got[who] = out.outcome;
    return 0;
}

static void one_message_taken_twice_gives_one_vm(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        race_once(&r, reserve_same);
        must_be_one(&r);
        assert_int_equal(r.got[r.yes[0] ? 1 : 0], LEDGER_SATISFIED);
    }
    must_be_consistent(r.l[0], r.rounds);
    end(&r);
}

/* A delivery that the job was cancelled, against its launch. */
static int reserve_or_cancel(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct job_event ev = completed(r->id, "", "cancelled");
    return who == 0 ? reserve_same(r, l, who, e) : note(r, l, who, &ev, e);
}

static void cancelled_while_reserved_stays_consistent(void **state)
{
    struct race r = begin(*state);
    int64_t supply = 0;
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        race_once(&r, reserve_or_cancel);
        supply += r.got[0] == LEDGER_RESERVED ? 1 : 0;
        assert_int_equal(must_get(r.l[0], r.id).state, JOB_CANCELLED);
        assert_int_equal(must_balance(r.l[0]).demand, 0);
        assert_int_equal(must_balance(r.l[0]).supply, supply);
    }
    must_be_consistent(r.l[1], r.rounds);
    end(&r);
}

/* --- advance --- */
static int advance_to(struct race *r, struct ledger *l, int who, enum ledger_vm_state to,
                      struct err *e)
{
    struct ledger_advance a = step(r->vm, to);
    return ledger_vm_advance(l, &a, &r->yes[who], e);
}

static int advance_registered(struct race *r, struct ledger *l, int who, struct err *e)
{
    return advance_to(r, l, who, VM_REGISTERED, e);
}

static int advance_ending(struct race *r, struct ledger *l, int who, struct err *e)
{
    return advance_to(r, l, who, VM_ENDING, e);
}

static int advance_gone(struct race *r, struct ledger *l, int who, struct err *e)
{
    return advance_to(r, l, who, VM_GONE, e);
}

/* The launch is recorded while a delivery ends the VM. */
static int launch_or_complete(struct race *r, struct ledger *l, int who, struct err *e)
{
    return who == 0 ? advance_to(r, l, who, VM_LAUNCHED, e) : note_completed(r, l, who, e);
}

static void step_of_a_vm_taken_twice_is_made_once(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        int64_t freed;
        struct err e;
        (void)snprintf(r.vm, sizeof r.vm, "%s", must_get_vm(r.l[0], r.id).name);
        race_once(&r, advance_registered);
        must_be_one(&r);
        race_once(&r, launch_or_complete);
        assert_int_equal(must_see_vm(r.l[0], r.vm).state, VM_ENDING);
        assert_string_equal(must_see_vm(r.l[1], r.vm).vm_id, "vm-1");
        race_once(&r, advance_ending);
        assert_false(r.yes[0] || r.yes[1]);
        race_once(&r, advance_gone);
        must_be_one(&r);
        MUST(ledger_release_seq(r.l[0], &freed, &e));
        assert_int_equal(freed, r.id);
    }
    must_be_consistent(r.l[1], r.rounds);
    end(&r);
}

/* --- what the reaper does --- */
static int settle_or_complete(struct race *r, struct ledger *l, int who, struct err *e)
{
    return who == 0 ? ledger_reconcile_job(l, r->id, JOB_DONE, NULL, "race", e)
                    : note_completed(r, l, who, e);
}

static int relaunch(struct race *r, struct ledger *l, int who, struct err *e)
{
    (void)who;
    return ledger_job_relaunched(l, r->id, e);
}

static void settled_and_completed_at_once_ends_once(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        (void)snprintf(r.vm, sizeof r.vm, "%s", must_get_vm(r.l[0], r.id).name);
        race_once(&r, relaunch);
        assert_int_equal(must_get(r.l[0], r.id).relaunches, 2);
        (void)must_apply(r.l[1], in_progress(r.id, r.vm));
        race_once(&r, settle_or_complete);
        assert_int_equal(must_get(r.l[1], r.id).state, JOB_DONE);
        assert_int_equal(lines_of(r.l[0], r.id, "done", ""), 1);
        assert_int_equal(lines_of(r.l[0], r.id, "ending", ""), 1);
    }
    must_be_consistent(r.l[0], r.rounds);
    end(&r);
}

static int tell_same(struct race *r, struct ledger *l, int who, struct err *e)
{
    (void)who;
    return ledger_log_event(l, r->id, "", "retry", "the same", e);
}

static int tell_own(struct race *r, struct ledger *l, int who, struct err *e)
{
    return ledger_log_event(l, r->id, "", "retry", who == 0 ? "mine" : "yours", e);
}

static void lines_told_at_once_are_all_kept_and_not_doubled(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        (void)must_apply(r.l[0], queued(r.id));
        race_once(&r, tell_same);
        assert_int_equal(lines_of(r.l[0], r.id, "retry", ""), 1);
        race_once(&r, tell_own);
        assert_int_equal(lines_of(r.l[1], r.id, "retry", ""), 3);
    }
    end(&r);
}

static int tidy_all(struct race *r, struct ledger *l, int who, struct err *e)
{
    return ledger_tidy(l, START_MS + HOUR_MS, 1000, &r->got[who], e);
}

static void tidied_twice_at_once_removes_each_row_once(void **state)
{
    struct race r = begin(*state);
    for (int64_t round = 0; round * 8 < r.rounds; round++) {
        for (int64_t id = 1; id <= 100; id++) {
            (void)must_apply(r.l[0], completed(id, "", "cancelled"));
        }
        race_once(&r, tidy_all);
        assert_int_equal(r.got[0] + r.got[1], 100);
        must_be_consistent(r.l[1], 100);
    }
    end(&r);
}

/* --- what all share --- */
static int take_token(struct race *r, struct ledger *l, int who, struct err *e)
{
    struct ledger_bucket b = {.name = "github:1", .per_second = 1, .burst = 1};
    int rc = ledger_rate_take(l, &b, 1, &r->got[who], e);
    r->yes[who] = r->got[who] == 0;
    return rc;
}

static int pause_bucket(struct race *r, struct ledger *l, int who, struct err *e)
{
    return ledger_rate_pause(l, "github:2", START_MS + r->id * 2000 + who * 500, e);
}

static void tokens_and_pauses_raced_for_come_out_right(void **state)
{
    struct race r = begin(*state);
    struct ledger_bucket b = {.name = "github:2"};
    int64_t wait_ms;
    struct err e;
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        clock_at(r.id * 1000);
        race_once(&r, take_token);
        must_be_one(&r);
        assert_int_equal(r.got[r.yes[0] ? 1 : 0], 1000);
        race_once(&r, pause_bucket);
        MUST(ledger_rate_take(r.l[0], &b, 1, &wait_ms, &e));
        assert_int_equal(wait_ms, r.id * 1000 + 500);
    }
    end(&r);
}

static int take_lease(struct race *r, struct ledger *l, int who, struct err *e)
{
    return ledger_lease(l, "sweep", who == 0 ? "a" : "b", 1000, &r->yes[who], &r->got[who], e);
}

/* The lease runs out in the very moment in which its holder renews and another asks for it. */
static void lease_that_runs_out_in_the_middle_has_one_holder(void **state)
{
    struct race r = begin(*state);
    int64_t fence = 0;
    int holder = -1;
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        clock_at(r.id * 1000);
        race_once(&r, take_lease);
        must_be_one(&r);
        int now = r.yes[0] ? 0 : 1;
        assert_int_equal(r.got[0], r.got[1]); /* the loser is told whom it has to fear */
        assert_true(now == holder ? r.got[0] == fence : r.got[0] > fence);
        fence = r.got[0];
        holder = now;
    }
    end(&r);
}

static int give_back_or_take(struct race *r, struct ledger *l, int who, struct err *e)
{
    return who == 0 ? ledger_lease_release(l, "sweep", "a", e) : take_lease(r, l, who, e);
}

static void lease_released_late_is_not_its_next_holders(void **state)
{
    struct race r = begin(*state);
    struct err e;
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        int64_t mine;
        bool held;
        clock_at(r.id * 10000);
        MUST(ledger_lease(r.l[0], "sweep", "a", 1000, &held, &mine, &e));
        assert_true(held);
        clock_at(r.id * 10000 + 1000); /* it slept past its end */
        race_once(&r, give_back_or_take);
        assert_true(r.yes[1]);
        assert_true(r.got[1] > mine);
        MUST(ledger_lease_release(r.l[0], "sweep", "a", &e));
        MUST(ledger_lease(r.l[0], "sweep", "a", 1000, &held, &mine, &e));
        assert_false(held); /* so it may do nothing on what it knew */
        assert_int_equal(mine, r.got[1]);
    }
    end(&r);
}

static int add_to_mark(struct race *r, struct ledger *l, int who, struct err *e)
{
    return ledger_counter_add(l, "cursor", 1 + who, &r->got[who], e);
}

static void marks_raced_for_come_out_right(void **state)
{
    struct race r = begin(*state);
    for (r.id = 1; r.id <= r.rounds; r.id++) {
        race_once(&r, add_to_mark);
        int64_t most = r.got[0] > r.got[1] ? r.got[0] : r.got[1];
        assert_int_equal(most, 3 * r.id);
    }
    end(&r);
}

/* --- told of freed slots --- */
struct ear {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int64_t heard;
};

static void hear(void *arg)
{
    struct ear *ear = arg;
    pthread_mutex_lock(&ear->lock);
    ear->heard++;
    pthread_cond_broadcast(&ear->cond);
    pthread_mutex_unlock(&ear->lock);
}

/* Where the store tells, it tells; where it cannot, the counter does. */
static void slot_freed_by_another_is_heard_of(void **state)
{
    struct ledger_fixture *f = *state;
    struct ear ear = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct ledger *watcher = must_open(f->store.url);
    int64_t freed;
    struct err e;
    ledger_watch_releases(watcher, hear, &ear);
    pthread_mutex_lock(&ear.lock);
    while (ledger_store_tells(f->store.url) && ear.heard == 0) {
        pthread_cond_wait(&ear.cond, &ear.lock); /* that it listens */
    }
    pthread_mutex_unlock(&ear.lock);
    assert_int_equal(ledger_watching(watcher), ledger_store_tells(f->store.url));
    for (int64_t id = 1; id <= 10; id++) {
        struct ledger_vm vm = must_get_vm(f->l, id);
        pthread_mutex_lock(&ear.lock);
        int64_t before = ear.heard;
        pthread_mutex_unlock(&ear.lock);
        bring(f->l, &vm, VM_GONE);
        pthread_mutex_lock(&ear.lock);
        while (ledger_watching(watcher) && ear.heard == before) {
            pthread_cond_wait(&ear.cond, &ear.lock);
        }
        pthread_mutex_unlock(&ear.lock);
        MUST(ledger_release_seq(watcher, &freed, &e));
        assert_int_equal(freed, id);
    }
    ledger_close(watcher);
    assert_int_equal(pthread_cond_destroy(&ear.cond), 0);
    assert_int_equal(pthread_mutex_destroy(&ear.lock), 0);
}

const struct CMUnitTest ledger_race_tests[] = {
    LEDGER_TEST(one_delivery_noted_twice_at_once_counts_once),
    LEDGER_TEST(start_and_end_noted_at_once_end_the_vm),
    LEDGER_TEST(last_slot_raced_for_is_given_once),
    LEDGER_TEST(one_message_taken_twice_gives_one_vm),
    LEDGER_TEST(cancelled_while_reserved_stays_consistent),
    LEDGER_TEST(step_of_a_vm_taken_twice_is_made_once),
    LEDGER_TEST(settled_and_completed_at_once_ends_once),
    LEDGER_TEST(lines_told_at_once_are_all_kept_and_not_doubled),
    LEDGER_TEST(tidied_twice_at_once_removes_each_row_once),
    LEDGER_TEST(tokens_and_pauses_raced_for_come_out_right),
    LEDGER_TEST(lease_that_runs_out_in_the_middle_has_one_holder),
    LEDGER_TEST(lease_released_late_is_not_its_next_holders),
    LEDGER_TEST(marks_raced_for_come_out_right),
    LEDGER_TEST(slot_freed_by_another_is_heard_of),
};
const size_t ledger_race_test_count = COUNT_OF(ledger_race_tests);
