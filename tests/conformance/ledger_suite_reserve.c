/*
 * Conformance of a ledger backend: reserving, its caps and its rate, demand and supply, room.
 */
#include "tests/conformance/ledger_suite.h"

#include <stdio.h>

static void must_come_out(struct ledger *l, struct job_event ev, struct ledger_caps caps,
                          enum ledger_outcome expected)
{
    struct ledger_reservation r = must_reserve(l, ev, caps);
    assert_string_equal(ledger_outcome_name(r.outcome), ledger_outcome_name(expected));
    assert_int_equal(r.vm.name[0] != '\0', expected == LEDGER_RESERVED);
}

static struct job_event of_class(struct job_event ev, const char *class_name)
{
    (void)snprintf(ev.job.class_name, sizeof ev.job.class_name, "%s", class_name);
    return ev;
}

static struct job_event of_repository(struct job_event ev, const char *repository)
{
    (void)snprintf(ev.job.repository, sizeof ev.job.repository, "%s", repository);
    return ev;
}

/* --- the row --- */
static void reserved_vm_has_its_row_and_name(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_reservation r = must_reserve(f->l, queued(1), wide_caps());
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    assert_int_equal(r.demand, 1);
    assert_int_equal(r.supply, 0);
    assert_int_equal(strncmp(r.vm.name, "mf-2d50e50a-test-small-", 23), 0);
    assert_int_equal(strlen(r.vm.name), 23 + 12);
    assert_int_equal(strspn(r.vm.name + 23, "0123456789abcdef"), 12);
    struct ledger_vm vm = must_see_vm(f->l, r.vm.name);
    assert_string_equal(vm.client_token, vm.name);
    assert_string_equal(r.vm.client_token, vm.name);
    assert_string_equal(vm.provider, "qemu");
    assert_string_equal(vm.class_name, "small");
    assert_string_equal(vm.scope, SCOPE);
    assert_string_equal(vm.repository, "octo/app");
    assert_string_equal(vm.host, "box1");
    assert_int_equal(vm.state, VM_RESERVED);
    assert_int_equal(vm.for_job, 1);
    assert_int_equal(vm.job_id, 0);
    assert_int_equal(vm.installation_id, 99);
    assert_int_equal(vm.reserved_ms, START_MS);
    assert_int_equal(must_get(f->l, 1).state, JOB_WAITING);
}

static void names_are_never_the_same_and_never_too_long(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev_a = of_class(queued(1), "a-class-with-quite-a-long-name-x");
    struct job_event ev_b = of_class(queued(2), "a-class-with-quite-a-long-name-x");
    struct launch_request a = launch_request_of(&ev_a);
    struct launch_request b = launch_request_of(&ev_b);
    struct ledger_reserve ask_a = ask(&a, wide_caps());
    struct ledger_reserve ask_b = ask(&b, wide_caps());
    struct ledger_reservation first;
    struct ledger_reservation second;
    struct err e;
    ask_a.deployment = ask_b.deployment = "a-deployment-of-20-c";
    MUST(ledger_reserve(f->l, &ask_a, &first, &e));
    MUST(ledger_reserve(f->l, &ask_b, &second, &e));
    assert_int_equal(strlen(first.vm.name), 64);
    assert_string_not_equal(first.vm.name, second.vm.name);
    assert_string_not_equal(first.vm.client_token, second.vm.client_token);
}

static void bad_requests_are_refused(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev = queued(1);
    struct ledger_reservation out;
    struct err e;
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = ask(&request, wide_caps());
    r.deployment = "Test_1";
    must_fail(ledger_reserve(f->l, &r, &out, &e), &e, ERR_PERMANENT);
    r = ask(&request, wide_caps());
    r.scope = "";
    must_fail(ledger_reserve(f->l, &r, &out, &e), &e, ERR_PERMANENT);
    r = ask(&request, wide_caps());
    r.caps.rate_per_second = -1;
    must_fail(ledger_reserve(f->l, &r, &out, &e), &e, ERR_PERMANENT);
    r = ask(&request, wide_caps());
    request.class_name[0] = '\0';
    must_fail(ledger_reserve(f->l, &r, &out, &e), &e, ERR_PERMANENT);
    struct ledger_job job;
    must_fail(ledger_job_get(f->l, 1, &job, &e), &e, ERR_NOT_FOUND);
}

/* --- jobs that the ledger knows before their requests come --- */
/* Each request gets a VM whatever the order of requests and events, and a second one of a job none. */
static void jobs_known_by_their_events_get_a_vm_each(void **state)
{
    struct ledger_fixture *f = *state;
    for (int64_t i = 1; i <= 4; i++) {
        (void)must_apply(f->l, queued(i));
    }
    must_come_out(f->l, queued(2), wide_caps(), LEDGER_RESERVED);
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(3, vm.name)); /* the VM of 1 runs 3 */
    must_come_out(f->l, queued(3), wide_caps(), LEDGER_RESERVED);
    must_come_out(f->l, queued(3), wide_caps(),
                  LEDGER_RESERVED); /* for 4, whose own then gets none */
    must_come_out(f->l, queued(4), wide_caps(), LEDGER_SATISFIED);
    (void)must_apply(f->l, queued(3)); /* late */
    must_come_out(f->l, queued(1), wide_caps(), LEDGER_SATISFIED);
    assert_int_equal(must_balance(f->l).demand, 3);
    assert_int_equal(must_balance(f->l).supply, 3);
    must_be_consistent(f->l, 4);
}

static void event_behind_its_request_changes_nothing(void **state)
{
    struct ledger_fixture *f = *state;
    must_come_out(f->l, queued(1), wide_caps(), LEDGER_RESERVED);
    clock_at(1000);
    struct ledger_effect effect = must_apply(f->l, queued(1));
    assert_true(effect.known_before);
    assert_false(effect.changed);
    assert_int_equal(must_balance(f->l).demand, 1);
    assert_int_equal(lines_of(f->l, 1, "queued", ""), 1);
}

/* --- requests without a job --- */
static struct ledger_reservation reserve_without_a_job(struct ledger *l, struct ledger_caps caps)
{
    struct launch_request request = {.class_name = "small", .reason = "warm"};
    struct ledger_reserve r = ask(&request, caps);
    struct ledger_reservation out;
    struct err e;
    MUST(ledger_reserve(l, &r, &out, &e));
    return out;
}

static void request_without_a_job_serves_whoever_waits(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    assert_int_equal(reserve_without_a_job(f->l, caps).outcome, LEDGER_SATISFIED);
    (void)must_apply(f->l, queued(1));
    (void)must_apply(f->l, queued(2));
    caps.repository = 1;
    struct ledger_reservation one = reserve_without_a_job(f->l, caps);
    struct ledger_reservation two = reserve_without_a_job(f->l, caps);
    assert_int_equal(one.outcome, LEDGER_RESERVED);
    assert_int_equal(one.demand, 2);
    assert_int_equal(two.outcome, LEDGER_RESERVED);
    assert_int_equal(two.supply, 1);
    assert_int_equal(reserve_without_a_job(f->l, caps).outcome, LEDGER_SATISFIED);
    struct ledger_vm vm = must_see_vm(f->l, one.vm.name);
    assert_int_equal(vm.for_job, 0);
    assert_string_equal(vm.repository, "");
    assert_string_equal(vm.class_name, "small");
    assert_string_equal(vm.scope, "octo");
    struct ledger_job job;
    struct err e;
    must_fail(ledger_job_get(f->l, 0, &job, &e), &e, ERR_NOT_FOUND);
}

static void request_without_a_job_meets_the_caps_and_asks_no_job(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    (void)must_apply(f->l, queued(1));
    caps.fleet = 0;
    assert_int_equal(reserve_without_a_job(f->l, caps).outcome, LEDGER_FULL_FLEET);
    assert_int_equal(lines_of(f->l, 1, "waits", ""), 0);
    assert_int_equal(must_get(f->l, 1).state, JOB_WAITING);
}

/* The job that its runner takes shows the VM's lines from its beginning on. */
static void vm_without_a_job_of_its_own_tells_its_life_to_the_one_it_runs(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, queued(1));
    struct ledger_vm vm = reserve_without_a_job(f->l, wide_caps()).vm;
    assert_int_equal(lines_of(f->l, 1, "reserved", ""), 0);
    bring(f->l, &vm, VM_LAUNCHED);
    (void)must_apply(f->l, in_progress(1, vm.name));
    assert_int_equal(lines_of(f->l, 1, "reserved", ""), 1);
    assert_int_equal(lines_of(f->l, 1, "launched", ""), 1);
    (void)must_apply(f->l, completed(1, vm.name, "success"));
    must_advance(f->l, vm.name, VM_GONE);
    assert_int_equal(must_see_vm(f->l, vm.name).for_job, 0);
}

/* --- demand and supply --- */
static void message_again_is_satisfied(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_get_vm(f->l, 1);
    must_come_out(f->l, queued(1), wide_caps(), LEDGER_SATISFIED);
    assert_int_equal(
        lines_of(f->l, 1, "satisfied", "demand 1, supply 1: enough VMs are starting or idle"), 1);
    (void)must_get_vm(f->l, 2);
    must_come_out(f->l, queued(1), wide_caps(), LEDGER_SATISFIED);
    assert_int_equal(
        lines_of(f->l, 1, "satisfied", "demand 2, supply 2: enough VMs are starting or idle"), 1);
}

static void supply_left_by_a_cancelled_job_satisfies_the_next(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_get_vm(f->l, 1);
    (void)must_apply(f->l, completed(1, "", "cancelled"));
    must_come_out(f->l, queued(2), wide_caps(), LEDGER_SATISFIED);
    must_come_out(f->l, queued(3), wide_caps(), LEDGER_RESERVED);
}

static void supply_lost_is_launched_again(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_vm vm = must_get_vm(f->l, 1);
    bring(f->l, &vm, VM_LAUNCHED);
    must_advance(f->l, vm.name, VM_ENDING);
    must_come_out(f->l, queued(1), wide_caps(), LEDGER_RESERVED);
}

static void supply_of_another_scope_or_class_does_not_count(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev = queued(2);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve other = ask(&request, wide_caps());
    struct ledger_reservation out;
    struct err e;
    (void)must_get_vm(f->l, 1);
    (void)must_apply(f->l, completed(1, "", "cancelled")); /* one surplus of (octo, small) */
    other.scope = "elsewhere";
    MUST(ledger_reserve(f->l, &other, &out, &e));
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    must_come_out(f->l, of_class(queued(3), "large"), wide_caps(), LEDGER_RESERVED);
    must_come_out(f->l, queued(4), wide_caps(), LEDGER_SATISFIED);
}

/* A runner group that repositories are mapped to is a scope of its own, of the same place. */
static void supply_of_another_runner_group_does_not_count(void **state)
{
    struct ledger_fixture *f = *state;
    struct job_event ev = queued(2);
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve other = ask(&request, wide_caps());
    struct ledger_reservation out;
    struct ledger_effect effect;
    struct ledger_balance *b = NULL;
    size_t n = 0;
    struct err e;
    (void)must_get_vm(f->l, 1);
    (void)must_apply(f->l, completed(1, "", "cancelled")); /* one surplus of (octo, small) */
    other.scope = SCOPE "#Quiet group | 1";
    MUST(ledger_reserve(f->l, &other, &out, &e));
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    assert_string_equal(out.vm.scope, other.scope);
    ev = queued(3);
    MUST(ledger_apply_event(f->l, &ev, other.scope, &effect, &e));
    MUST(ledger_balances(f->l, &b, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(b[0].scope, SCOPE);
    assert_int_equal(b[0].demand, 0);
    assert_int_equal(b[0].supply, 1);
    assert_string_equal(b[1].scope, other.scope);
    assert_int_equal(b[1].demand, 2);
    assert_int_equal(b[1].supply, 1);
    free(b);
    must_come_out(f->l, queued(4), wide_caps(), LEDGER_SATISFIED);
}

static void job_whose_class_changed_is_demand_of_the_new_one(void **state)
{
    struct ledger_fixture *f = *state;
    (void)must_apply(f->l, queued(1));
    must_come_out(f->l, of_class(queued(1), "large"), wide_caps(), LEDGER_RESERVED);
    assert_int_equal(must_balance(f->l).demand, 0);
    assert_string_equal(must_get(f->l, 1).facts.class_name, "large");
    must_be_consistent(f->l, 1);
}

/* --- caps --- */
static void caps_hold_exactly(void **state)
{
    struct ledger_fixture *f = *state;
    static const enum ledger_outcome full[] = {LEDGER_FULL_FLEET, LEDGER_FULL_CLASS,
                                               LEDGER_FULL_REPOSITORY};
    for (int64_t kind = 0; kind < 3; kind++) {
        struct ledger_caps caps = wide_caps();
        int64_t used = slots_used(f->l);
        struct job_event ev = of_repository(queued(10 * (kind + 1)), kind == 2 ? "octo/r" : "o/x");
        struct ledger_vm first = {.for_job = 0};
        caps.fleet = kind == 0 ? used + 3 : caps.fleet;
        caps.class_max = kind == 1 ? used + 3 : caps.class_max;
        caps.repository = kind == 2 ? 3 : 0;
        for (int64_t i = 0; i < 3; i++, ev.job.id++) {
            struct ledger_reservation r = must_reserve(f->l, ev, caps);
            assert_int_equal(r.outcome, LEDGER_RESERVED);
            first = i == 0 ? r.vm : first;
        }
        must_come_out(f->l, ev, caps, full[kind]);
        must_advance(f->l, first.name, VM_ENDING);
        must_come_out(f->l, ev, caps, full[kind]); /* ending holds the slot */
        must_advance(f->l, first.name, VM_GONE);
        must_come_out(f->l, ev, caps, LEDGER_RESERVED);
        ev.job.id++;
        must_come_out(f->l, ev, caps, full[kind]);
    }
    must_be_consistent(f->l, 40);
}

static void cap_of_a_repository_leaves_others_alone(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.repository = 1;
    must_come_out(f->l, of_repository(queued(1), "octo/a"), caps, LEDGER_RESERVED);
    must_come_out(f->l, of_repository(queued(2), "octo/a"), caps, LEDGER_FULL_REPOSITORY);
    must_come_out(f->l, of_repository(queued(3), "octo/b"), caps, LEDGER_RESERVED);
}

/* GitHub may give a VM to another repository of its scope: it counts where it runs. */
static void cap_of_a_repository_counts_the_vms_that_run_its_jobs(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.repository = 1;
    (void)must_apply(f->l, of_repository(queued(2), "octo/b"));
    struct ledger_reservation a = must_reserve(f->l, of_repository(queued(1), "octo/a"), caps);
    assert_int_equal(a.outcome, LEDGER_RESERVED);
    bring(f->l, &a.vm, VM_LAUNCHED);
    (void)must_apply(f->l, of_repository(in_progress(2, a.vm.name), "octo/b"));
    assert_string_equal(must_see_vm(f->l, a.vm.name).repository, "octo/b");
    must_come_out(f->l, of_repository(queued(3), "octo/b"), caps, LEDGER_FULL_REPOSITORY);
    struct ledger_reservation again = must_reserve(f->l, of_repository(queued(1), "octo/a"), caps);
    assert_int_equal(again.outcome, LEDGER_RESERVED);
    must_come_out(f->l, of_repository(queued(4), "octo/a"), caps, LEDGER_FULL_REPOSITORY);
    (void)must_apply(f->l, of_repository(in_progress(2, a.vm.name), "octo/b")); /* once */
    assert_true(must_advance(f->l, a.vm.name, VM_ENDING));
    assert_true(must_advance(f->l, a.vm.name, VM_GONE));
    bring(f->l, &again.vm, VM_LAUNCHED);
    (void)must_apply(f->l, of_repository(in_progress(1, again.vm.name), "octo/a"));
    must_come_out(f->l, of_repository(queued(3), "octo/b"), caps, LEDGER_RESERVED);
    must_come_out(f->l, of_repository(queued(4), "octo/a"), caps, LEDGER_FULL_REPOSITORY);
    must_be_consistent(f->l, 5);
}

static void causes_are_told_in_their_order(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps all = {
        .fleet = 1, .class_max = 1, .repository = 1, .rate_per_second = 0.001, .rate_burst = 1};
    must_come_out(f->l, queued(1), all, LEDGER_RESERVED);
    must_come_out(f->l, queued(1), all, LEDGER_SATISFIED); /* before any cap */
    must_come_out(f->l, queued(2), all, LEDGER_FULL_FLEET);
    all.fleet = 2;
    must_come_out(f->l, queued(2), all, LEDGER_FULL_CLASS);
    all.class_max = 2;
    must_come_out(f->l, queued(2), all, LEDGER_FULL_REPOSITORY);
    all.repository = 2;
    must_come_out(f->l, queued(2), all, LEDGER_RATE);
}

static void cap_lowered_below_what_is_used_is_full(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    (void)must_get_vm(f->l, 1);
    (void)must_get_vm(f->l, 2);
    caps.class_max = 1;
    must_come_out(f->l, queued(3), caps, LEDGER_FULL_CLASS);
}

static void waiting_is_told_once_for_each_cause(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps by_class = wide_caps();
    struct ledger_caps by_fleet = wide_caps();
    (void)must_get_vm(f->l, 1);
    by_class.class_max = 1;
    by_fleet.fleet = 1;
    for (int i = 0; i < 5; i++) {
        must_come_out(f->l, queued(2), by_class, LEDGER_FULL_CLASS);
        must_come_out(f->l, queued(2), by_fleet, LEDGER_FULL_FLEET);
    }
    assert_int_equal(lines_of(f->l, 2, "waits", ""), 2);
    assert_int_equal(
        lines_of(f->l, 2, "waits", "for a slot of class small: 1 of 1 VMs (classes.small.max_vms)"),
        1);
    assert_int_equal(must_get(f->l, 2).state, JOB_WAITING);
}

/* --- rate --- */
static void rate_gives_its_burst_and_then_paces(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.rate_per_second = 2;
    caps.rate_burst = 3;
    for (int64_t id = 1; id <= 3; id++) {
        must_come_out(f->l, queued(id), caps, LEDGER_RESERVED);
    }
    struct ledger_reservation r = must_reserve(f->l, queued(4), caps);
    assert_int_equal(r.outcome, LEDGER_RATE);
    assert_int_equal(r.wait_ms, 500);
    clock_at(499);
    assert_int_equal(must_reserve(f->l, queued(4), caps).wait_ms, 1);
    clock_at(500);
    must_come_out(f->l, queued(4), caps, LEDGER_RESERVED);
    must_come_out(f->l, queued(5), caps, LEDGER_RATE);
}

static int64_t must_register_paced(struct ledger *l, const char *vm)
{
    static const struct ledger_bucket pace = {"run/lambda", 2, 3};
    const struct ledger_advance a = {.vm = vm, .to = VM_REGISTERED, .runner_id = 7};
    int64_t wait_ms = -1;
    struct err e;
    MUST(ledger_vm_advance_paced(l, &a, &pace, &wait_ms, &e));
    return wait_ms;
}

static void vms_start_at_the_pace_whenever_they_were_reserved(void **state)
{
    static const int64_t waits_ms[] = {0, 0, 0, 500, 1000};
    struct ledger_fixture *f = *state;
    struct ledger_vm vms[COUNT_OF(waits_ms) + 1];
    for (size_t i = 0; i < COUNT_OF(vms); i++) {
        vms[i] = must_reserve(f->l, queued((int64_t)i + 1), wide_caps()).vm;
    }
    for (size_t i = 0; i < COUNT_OF(waits_ms); i++) {
        assert_int_equal(must_register_paced(f->l, vms[i].name), waits_ms[i]);
    }
    assert_int_equal(must_register_paced(f->l, vms[0].name), 0); /* it is registered: takes none */
    clock_at(1250);
    assert_int_equal(must_register_paced(f->l, vms[COUNT_OF(waits_ms)].name), 250);
}

static void rate_of_fleet_and_class_are_taken_together_or_not_at_all(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.rate_per_second = 0.001;
    caps.rate_burst = 2;
    caps.class_rate_per_second = 1;
    caps.class_rate_burst = 1;
    must_come_out(f->l, queued(1), caps, LEDGER_RESERVED);
    for (int i = 0; i < 5; i++) {
        must_come_out(f->l, queued(2), caps, LEDGER_RATE); /* spends none of the fleet's */
    }
    must_come_out(f->l, of_class(queued(3), "large"), caps, LEDGER_RESERVED);
    must_come_out(f->l, of_class(queued(4), "huge"), caps, LEDGER_RATE); /* spends none of huge's */
    caps.rate_per_second = 0;
    must_come_out(f->l, of_class(queued(4), "huge"), caps, LEDGER_RESERVED);
}

static void full_cap_spends_no_token(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    struct ledger_caps full = wide_caps();
    caps.rate_per_second = full.rate_per_second = 0.001;
    caps.rate_burst = full.rate_burst = 1;
    full.class_max = 0;
    must_come_out(f->l, queued(1), full, LEDGER_FULL_CLASS);
    must_come_out(f->l, queued(1), caps, LEDGER_RESERVED);
}

static void pause_of_the_launch_buckets_holds_launches(void **state)
{
    struct ledger_fixture *f = *state;
    struct err e;
    MUST(ledger_rate_pause(f->l, "launch.small", START_MS + 3000, &e));
    struct ledger_reservation r = must_reserve(f->l, queued(1), wide_caps());
    assert_int_equal(r.outcome, LEDGER_RATE);
    assert_int_equal(r.wait_ms, 3000);
    must_come_out(f->l, of_class(queued(2), "large"), wide_caps(), LEDGER_RESERVED);
    MUST(ledger_rate_pause(f->l, "launch", START_MS + 5000, &e));
    must_come_out(f->l, of_class(queued(3), "large"), wide_caps(), LEDGER_RATE);
    clock_at(5000);
    must_come_out(f->l, queued(1), wide_caps(), LEDGER_RESERVED);
}

/* --- room --- */
static void room_tells_what_reserve_would_meet(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    struct ledger_capacity room;
    struct err e;
    caps.rate_per_second = 1;
    caps.rate_burst = 2;
    caps.class_rate_per_second = 0.5;
    caps.class_rate_burst = 1;
    MUST(ledger_capacity(f->l, "small", &caps, &room, &e));
    assert_int_equal(room.fleet_used + room.class_used + room.rate_wait_ms, 0);
    must_come_out(f->l, queued(1), caps, LEDGER_RESERVED);
    must_come_out(f->l, of_class(queued(2), "large"), caps, LEDGER_RESERVED);
    MUST(ledger_capacity(f->l, "small", &caps, &room, &e));
    assert_int_equal(room.fleet_used, 2);
    assert_int_equal(room.class_used, 1);
    assert_int_equal(room.rate_wait_ms, 2000); /* the class's is the slower */
    MUST(ledger_capacity(f->l, "small", &caps, &room, &e));
    assert_int_equal(room.rate_wait_ms, 2000); /* looking takes nothing */
    MUST(ledger_capacity(f->l, "huge", &caps, &room, &e));
    assert_int_equal(room.class_used, 0);
    assert_int_equal(room.rate_wait_ms, 1000);
}

static void room_recovers_when_the_clock_was_set_back(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    struct ledger_capacity room;
    struct err e;
    caps.rate_per_second = 1;
    caps.rate_burst = 1;
    must_come_out(f->l, queued(1), caps, LEDGER_RESERVED);
    clock_at(-HOUR_MS);
    MUST(ledger_capacity(f->l, "small", &caps, &room, &e));
    assert_int_equal(room.rate_wait_ms, 1000); /* nothing minted */
    clock_at(-HOUR_MS + 1000);
    MUST(ledger_capacity(f->l, "small", &caps, &room, &e));
    assert_int_equal(room.rate_wait_ms, 0);
}

static void reserve_recovers_when_the_clock_was_set_back(void **state)
{
    struct ledger_fixture *f = *state;
    struct ledger_caps caps = wide_caps();
    caps.rate_per_second = 1;
    caps.rate_burst = 1;
    assert_int_equal(must_reserve(f->l, queued(1), caps).outcome, LEDGER_RESERVED);
    clock_at(-HOUR_MS);
    assert_int_equal(must_reserve(f->l, queued(2), caps).outcome, LEDGER_RATE);
    clock_at(-HOUR_MS + 1000); /* nobody asked for room in between */
    assert_int_equal(must_reserve(f->l, queued(2), caps).outcome, LEDGER_RESERVED);
}

const struct CMUnitTest ledger_reserve_tests[] = {
    LEDGER_TEST(jobs_known_by_their_events_get_a_vm_each),
    LEDGER_TEST(event_behind_its_request_changes_nothing),
    LEDGER_TEST(reserved_vm_has_its_row_and_name),
    LEDGER_TEST(names_are_never_the_same_and_never_too_long),
    LEDGER_TEST(bad_requests_are_refused),
    LEDGER_TEST(request_without_a_job_serves_whoever_waits),
    LEDGER_TEST(request_without_a_job_meets_the_caps_and_asks_no_job),
    LEDGER_TEST(vm_without_a_job_of_its_own_tells_its_life_to_the_one_it_runs),
    LEDGER_TEST(message_again_is_satisfied),
    LEDGER_TEST(supply_left_by_a_cancelled_job_satisfies_the_next),
    LEDGER_TEST(supply_lost_is_launched_again),
    LEDGER_TEST(supply_of_another_scope_or_class_does_not_count),
    LEDGER_TEST(supply_of_another_runner_group_does_not_count),
    LEDGER_TEST(job_whose_class_changed_is_demand_of_the_new_one),
    LEDGER_TEST(caps_hold_exactly),
    LEDGER_TEST(cap_of_a_repository_leaves_others_alone),
    LEDGER_TEST(cap_of_a_repository_counts_the_vms_that_run_its_jobs),
    LEDGER_TEST(causes_are_told_in_their_order),
    LEDGER_TEST(cap_lowered_below_what_is_used_is_full),
    LEDGER_TEST(waiting_is_told_once_for_each_cause),
    LEDGER_TEST(rate_gives_its_burst_and_then_paces),
    LEDGER_TEST(vms_start_at_the_pace_whenever_they_were_reserved),
    LEDGER_TEST(rate_of_fleet_and_class_are_taken_together_or_not_at_all),
    LEDGER_TEST(full_cap_spends_no_token),
    LEDGER_TEST(pause_of_the_launch_buckets_holds_launches),
    LEDGER_TEST(room_tells_what_reserve_would_meet),
    LEDGER_TEST(room_recovers_when_the_clock_was_set_back),
    LEDGER_TEST(reserve_recovers_when_the_clock_was_set_back),
};
const size_t ledger_reserve_test_count = COUNT_OF(ledger_reserve_tests);
