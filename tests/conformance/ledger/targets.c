/*
 * Conformance of a ledger backend: targets, whose cap and rate all classes share that name them, and
 * requests for spare VMs.
 */
#include "tests/conformance/ledger_suite.h"

#include <pthread.h>
#include <stdio.h>

#define EAST "east-1"
#define WEST "west-1"

static struct ledger_reservation must_reserve_in(struct ledger *l, int64_t job_id,
                                                 const char *class_name, const char *target,
                                                 struct ledger_caps caps)
{
    struct job_event ev = queued(job_id);
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = ask(&request, caps);
    struct ledger_reservation out;
    struct err e;
    r.target = target;
    MUST(ledger_reserve(l, &r, &out, &e));
    return out;
}

static void must_come_out(struct ledger *l, int64_t job_id, const char *target,
                          struct ledger_caps caps, enum ledger_outcome expected)
{
    struct ledger_reservation r = must_reserve_in(l, job_id, "small", target, caps);
    assert_string_equal(ledger_outcome_name(r.outcome), ledger_outcome_name(expected));
    assert_string_equal(r.vm.target, expected == LEDGER_RESERVED ? target : "");
}

static int64_t used_of(struct ledger *l, const char *target)
{
    struct ledger_target_use use = {.name = target, .used = -1};
    struct err e;
    MUST(ledger_targets_read(l, &use, 1, &e));
    return use.used;
}

/* --- caps --- */
static void vm_has_its_target_until_it_is_gone(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_reserve_in(f->l, 1, "small", EAST, wide_caps()).vm;
    assert_string_equal(vm.target, EAST);
    bring(f->l, &vm, VM_GONE);
    assert_string_equal(must_see_vm(f->l, vm.name).target, EAST);
    assert_string_equal(must_get_vm(f->l, 2).target, "");
    must_be_consistent(f->l, 2);
}

static void cap_of_a_target_holds_for_all_its_classes(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.target_max = 2;
    struct ledger_vm vm = must_reserve_in(f->l, 1, "small", EAST, caps).vm;
    assert_int_equal(must_reserve_in(f->l, 2, "large", EAST, caps).outcome, LEDGER_RESERVED);
    must_come_out(f->l, 3, EAST, caps, LEDGER_FULL_TARGET);
    assert_int_equal(must_reserve_in(f->l, 4, "large", EAST, caps).outcome, LEDGER_FULL_TARGET);
    assert_int_equal(lines_of(f->l, 3, "waits",
                              "for a slot of target " EAST ": 2 of 2 VMs (max_vms of the target in "
                              "classes.small.targets)"),
                     1);
    must_come_out(f->l, 3, EAST, caps, LEDGER_FULL_TARGET);
    assert_int_equal(lines_of(f->l, 3, "waits", ""), 1); /* once */
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    must_come_out(f->l, 3, EAST, caps, LEDGER_FULL_TARGET); /* ending holds the slot */
    must_advance(f->l, vm.name, VM_GONE);
    assert_int_equal(used_of(f->l, EAST), 1);
    must_come_out(f->l, 3, EAST, caps, LEDGER_RESERVED);
    assert_int_equal(used_of(f->l, EAST), 2);
    must_be_consistent(f->l, 4);
}

static void full_target_leaves_the_others_alone(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.target_max = 1;
    must_come_out(f->l, 1, EAST, caps, LEDGER_RESERVED);
    must_come_out(f->l, 2, EAST, caps, LEDGER_FULL_TARGET);
    must_come_out(f->l, 2, WEST, caps, LEDGER_RESERVED);
    must_come_out(f->l, 3, "", caps, LEDGER_RESERVED); /* without a target no cap of one counts */
    must_come_out(f->l, 4, "", caps, LEDGER_RESERVED);
    caps.target_max = 0;
    must_come_out(f->l, 5, EAST, caps, LEDGER_RESERVED);
    assert_int_equal(used_of(f->l, EAST), 2);
    assert_int_equal(used_of(f->l, WEST), 1);
}

/* A cap that no other target would change is reported first. */
static void target_is_the_last_cap(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps all = {.fleet = 1,
                              .class_max = 1,
                              .repository = 1,
                              .target_max = 1,
                              .rate_per_second = 0.001,
                              .rate_burst = 1};
    must_come_out(f->l, 1, EAST, all, LEDGER_RESERVED);
    must_come_out(f->l, 2, EAST, all, LEDGER_FULL_FLEET);
    all.fleet = 2;
    must_come_out(f->l, 2, EAST, all, LEDGER_FULL_CLASS);
    all.class_max = 2;
    must_come_out(f->l, 2, EAST, all, LEDGER_FULL_REPOSITORY);
    all.repository = 2;
    must_come_out(f->l, 2, EAST, all, LEDGER_FULL_TARGET);
    all.target_max = 2;
    must_come_out(f->l, 2, EAST, all, LEDGER_RATE);
    assert_int_equal(lines_of(f->l, 2, "waits", ""), 5);
}

static void adopted_vm_counts_for_its_target(void **state)
{
    struct ledger_fixture *f = *state;
    const struct ledger_adoption a = {.name = "adopted-1",
                                      .class_name = "small",
                                      .provider = "lambda",
                                      .host = "",
                                      .target = EAST,
                                      .vm_id = "microvm-7",
                                      .started_ms = START_MS - 5000,
                                      .deadline_ms = START_MS + HOUR_MS};
    struct ledger_caps caps = wide_caps();
    bool added;
    struct err e;
    caps.target_max = 1;
    MUST(ledger_vm_adopt(f->l, &a, &added, &e));
    assert_string_equal(must_see_vm(f->l, "adopted-1").target, EAST);
    must_come_out(f->l, 1, EAST, caps, LEDGER_FULL_TARGET);
    must_advance(f->l, "adopted-1", VM_ENDING);
    must_advance(f->l, "adopted-1", VM_GONE);
    must_come_out(f->l, 1, EAST, caps, LEDGER_RESERVED);
}

/* --- two at once --- */
struct racer {
    struct ledger *l;
    int64_t job_id;
    pthread_barrier_t *start;
    struct ledger_reservation out;
    int rc;
    struct err e;
};

static void *reserve_the_last(void *arg)
{
    struct racer *r = arg;
    struct job_event ev = queued(r->job_id);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_caps caps = wide_caps();
    caps.target_max = 1;
    struct ledger_reserve reserve = ask(&request, caps);
    reserve.target = EAST;
    (void)pthread_barrier_wait(r->start);
    r->rc = ledger_reserve(r->l, &reserve, &r->out, &r->e);
    return NULL;
}

static void last_slot_of_a_target_is_reserved_once(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger *other = must_open(f->store.url);
    int rounds = ledger_times(f->store.url, 40, 5);
    for (int64_t i = 0; i < rounds; i++) {
        pthread_barrier_t start;
        pthread_t thread;
        struct racer a = {.l = f->l, .job_id = 2 * i + 1, .start = &start};
        struct racer b = {.l = other, .job_id = 2 * i + 2, .start = &start};
        assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
        assert_int_equal(pthread_create(&thread, NULL, reserve_the_last, &a), 0);
        (void)reserve_the_last(&b);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(pthread_barrier_destroy(&start), 0);
        must_succeed(a.rc, &a.e, "race");
        must_succeed(b.rc, &b.e, "race");
        struct racer *got = a.out.outcome == LEDGER_RESERVED ? &a : &b;
        struct racer *not = got == &a ? &b : &a;
        assert_int_equal(got->out.outcome, LEDGER_RESERVED);
        assert_int_equal(not ->out.outcome, LEDGER_FULL_TARGET);
        bring(f->l, &got->out.vm, VM_GONE);
        (void)must_apply(f->l, completed(a.job_id, "", "cancelled"));
        (void)must_apply(f->l, completed(b.job_id, "", "cancelled"));
        assert_int_equal(used_of(other, EAST), 0);
    }
    ledger_close(other);
}

/* --- rate --- */
static void rate_of_a_target_is_taken_in_place_of_the_fleets(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.rate_per_second = 1;
    caps.rate_burst = 1;
    must_come_out(f->l, 1, EAST, caps, LEDGER_RESERVED);
    struct ledger_reservation r = must_reserve_in(f->l, 2, "small", EAST, caps);
    assert_int_equal(r.outcome, LEDGER_RATE);
    assert_int_equal(r.wait_ms, 1000);
    assert_int_equal(lines_of(f->l, 2, "waits",
                              "for a launch token: the next is there in 1000 ms (launch_rate of "
                              "target " EAST
                              " in classes.small.targets, classes.small.launch_rate)"),
                     1);
    assert_int_equal(must_reserve_in(f->l, 3, "large", EAST, caps).outcome, LEDGER_RATE);
    must_come_out(f->l, 4, WEST, caps, LEDGER_RESERVED);
    must_come_out(f->l, 5, "", caps, LEDGER_RESERVED); /* the fleet's has its own token */
    clock_at(1000);
    must_come_out(f->l, 2, EAST, caps, LEDGER_RESERVED);
}

static void pause_of_a_targets_bucket_holds_its_launches_alone(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    MUST(ledger_rate_pause(f->l, "launch@" EAST, START_MS + 3000, &e));
    MUST(ledger_rate_pause(f->l, "launch", START_MS + 9000, &e));
    must_come_out(f->l, 1, EAST, wide_caps(), LEDGER_RATE);
    must_come_out(f->l, 2, WEST, wide_caps(), LEDGER_RESERVED);
    must_come_out(f->l, 3, "", wide_caps(), LEDGER_RATE);
    clock_at(3000);
    must_come_out(f->l, 1, EAST, wide_caps(), LEDGER_RESERVED);
}

/* --- reading --- */
static void targets_are_read_together(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_target_use use[] = {{.name = WEST, .rate_per_second = 1, .rate_burst = 1},
                                      {.name = EAST, .rate_per_second = 0.5, .rate_burst = 2},
                                      {.name = "north-1", .used = 7, .rate_wait_ms = 7}};
    struct ledger_caps caps = wide_caps();
    struct err e;
    caps.rate_per_second = 0.5;
    caps.rate_burst = 2;
    must_come_out(f->l, 1, EAST, caps, LEDGER_RESERVED);
    must_come_out(f->l, 2, EAST, caps, LEDGER_RESERVED);
    must_come_out(f->l, 3, WEST, caps, LEDGER_RESERVED);
    for (int again = 0; again < 2; again++) { /* reading takes nothing */
        MUST(ledger_targets_read(f->l, use, COUNT_OF(use), &e));
        assert_int_equal(use[0].used, 1);
        assert_int_equal(use[1].used, 2);
        assert_int_equal(use[2].used, 0);
        assert_int_equal(use[0].rate_wait_ms, 0);
        assert_int_equal(use[1].rate_wait_ms, 2000);
        assert_int_equal(use[2].rate_wait_ms, 0);
    }
    MUST(ledger_rate_pause(f->l, "launch@north-1", START_MS + 3000, &e));
    MUST(ledger_targets_read(f->l, use + 2, 1, &e));
    assert_int_equal(use[2].rate_wait_ms, 3000);
    MUST(ledger_targets_read(f->l, NULL, 0, &e));
}

static void rate_of_a_target_recovers_when_the_clock_was_set_back(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_target_use use = {.name = EAST, .rate_per_second = 1, .rate_burst = 1};
    struct ledger_caps caps = wide_caps();
    struct err e;
    caps.rate_per_second = 1;
    caps.rate_burst = 1;
    must_come_out(f->l, 1, EAST, caps, LEDGER_RESERVED);
    clock_at(-HOUR_MS);
    MUST(ledger_targets_read(f->l, &use, 1, &e));
    assert_int_equal(use.rate_wait_ms, 1000); /* nothing minted */
    clock_at(-HOUR_MS + 1000);
    MUST(ledger_targets_read(f->l, &use, 1, &e));
    assert_int_equal(use.rate_wait_ms, 0);
}

static void bad_targets_are_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev = queued(1);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = ask(&request, wide_caps());
    struct ledger_target_use use = {.name = ""};
    struct ledger_reservation out;
    struct err e;
    r.target = "a-name-of-more-than-thirty-nine-characters";
    must_fail(ledger_reserve(f->l, &r, &out, &e), &e, ERR_PERMANENT);
    must_fail(ledger_targets_read(f->l, &use, 1, &e), &e, ERR_PERMANENT);
    use.name = r.target;
    must_fail(ledger_targets_read(f->l, &use, 1, &e), &e, ERR_PERMANENT);
    use = (struct ledger_target_use){.name = EAST, .rate_per_second = -1};
    must_fail(ledger_targets_read(f->l, &use, 1, &e), &e, ERR_PERMANENT);
}

/* --- spare VMs --- */
static struct ledger_reservation must_ask_for_spare(struct ledger *l, int64_t spare,
                                                    struct ledger_caps caps)
{
    struct launch_request request = {.class_name = "small", .reason = "idle", .spare = spare};
    struct ledger_reserve r = ask(&request, caps);
    struct ledger_reservation out;
    struct err e;
    MUST(ledger_reserve(l, &r, &out, &e));
    return out;
}

static void spare_vms_are_launched_beyond_the_demand(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm first = must_ask_for_spare(f->l, 2, wide_caps()).vm;
    assert_string_not_equal(first.name, "");
    assert_int_equal(must_ask_for_spare(f->l, 2, wide_caps()).outcome, LEDGER_RESERVED);
    struct ledger_reservation third = must_ask_for_spare(f->l, 2, wide_caps());
    assert_int_equal(third.outcome, LEDGER_SATISFIED);
    assert_int_equal(third.demand, 0);
    assert_int_equal(third.supply, 2);
    /* A job that waits takes one of them: another is wanted. */
    (void)must_apply(f->l, queued(1));
    assert_int_equal(must_reserve(f->l, queued(1), wide_caps()).outcome, LEDGER_SATISFIED);
    assert_int_equal(must_ask_for_spare(f->l, 2, wide_caps()).outcome, LEDGER_RESERVED);
    assert_int_equal(must_ask_for_spare(f->l, 2, wide_caps()).outcome, LEDGER_SATISFIED);
    bring(f->l, &first, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, first.name));
    assert_int_equal(lines_of(f->l, 1, "reserved", ""), 1); /* the VM's own */
    assert_int_equal(must_ask_for_spare(f->l, 2, wide_caps()).outcome, LEDGER_SATISFIED);
    assert_int_equal(must_ask_for_spare(f->l, 0, wide_caps()).outcome, LEDGER_SATISFIED);
    must_be_consistent(f->l, 1);
}

static void spare_is_told_and_meets_the_caps(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.fleet = 1;
    struct ledger_vm vm = must_ask_for_spare(f->l, 3, caps).vm;
    assert_int_equal(must_ask_for_spare(f->l, 3, caps).outcome, LEDGER_FULL_FLEET);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, queued(1));
    (void)must_apply(f->l, in_progress(1, vm.name));
    char detail[200];
    (void)snprintf(detail, sizeof detail, "VM %s (demand 0, supply 0, spare 3)", vm.name);
    assert_int_equal(lines_of(f->l, 1, "reserved", detail), 1);
}

/* A message that carries both is a job's that also wants some ready behind it. */
static void spare_of_a_jobs_request_counts_too(void **state)
{
    struct ledger_fixture *f = *state;
    static const enum ledger_outcome expected[] = {LEDGER_RESERVED, LEDGER_RESERVED,
                                                   LEDGER_SATISFIED};
    struct job_event ev = queued(1);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = ask(&request, wide_caps());
    struct err e;
    request.spare = 1;
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        struct ledger_reservation out;
        MUST(ledger_reserve(f->l, &r, &out, &e));
        assert_int_equal(out.outcome, expected[i]);
    }
    ev = queued(2);
    request = launch_request_of(&ev);
    struct ledger_reservation out;
    MUST(ledger_reserve(f->l, &r, &out, &e)); /* demand 2, supply 2 */
    assert_int_equal(out.outcome, LEDGER_SATISFIED);
    request.spare = -1;
    must_fail(ledger_reserve(f->l, &r, &out, &e), &e, ERR_PERMANENT);
}

const struct CMUnitTest ledger_target_tests[] = {
    LEDGER_TEST(vm_has_its_target_until_it_is_gone),
    LEDGER_TEST(cap_of_a_target_holds_for_all_its_classes),
    LEDGER_TEST(full_target_leaves_the_others_alone),
    LEDGER_TEST(target_is_the_last_cap),
    LEDGER_TEST(adopted_vm_counts_for_its_target),
    LEDGER_TEST(last_slot_of_a_target_is_reserved_once),
    LEDGER_TEST(rate_of_a_target_is_taken_in_place_of_the_fleets),
    LEDGER_TEST(pause_of_a_targets_bucket_holds_its_launches_alone),
    LEDGER_TEST(targets_are_read_together),
    LEDGER_TEST(rate_of_a_target_recovers_when_the_clock_was_set_back),
    LEDGER_TEST(bad_targets_are_refused),
    LEDGER_TEST(spare_vms_are_launched_beyond_the_demand),
    LEDGER_TEST(spare_is_told_and_meets_the_caps),
    LEDGER_TEST(spare_of_a_jobs_request_counts_too),
};
const size_t ledger_target_test_count = COUNT_OF(ledger_target_tests);
