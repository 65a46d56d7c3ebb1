#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/messages.h"
#include "common/ledger/rules.h"

#define NOW 1800000000000LL

/* --- edges --- */
static void job_edges_lead_forward_only(void **state)
{
    (void)state;
    for (int from = JOB_SEEN; from <= JOB_CANCELLED; from++) {
        for (int to = JOB_SEEN; to <= JOB_CANCELLED; to++) {
            bool allowed = ledger_job_edge((enum ledger_job_state)from, (enum ledger_job_state)to);
            assert_false(allowed && to <= from);
            assert_false(allowed && ledger_job_has_ended((enum ledger_job_state)from));
        }
    }
    assert_false(ledger_job_edge(JOB_RUNNING, JOB_CANCELLED));
}

static void vm_edges_lead_forward_and_end_once(void **state)
{
    (void)state;
    for (int from = VM_RESERVED; from <= VM_GONE; from++) {
        for (int to = VM_RESERVED; to <= VM_GONE; to++) {
            bool allowed = ledger_vm_edge((enum ledger_vm_state)from, (enum ledger_vm_state)to);
            assert_false(allowed && to <= from);
            assert_int_equal(allowed && to == VM_GONE, from == VM_ENDING && to == VM_GONE);
        }
        assert_int_equal(ledger_vm_edge((enum ledger_vm_state)from, VM_ENDING), from < VM_ENDING);
        assert_int_equal(ledger_vm_has_slot((enum ledger_vm_state)from), from != VM_GONE);
    }
}

/* --- times --- */
static void time_of_receipt_counts_unless_it_lies_ahead(void **state)
{
    (void)state;
    struct job_event ev = {.job.id = 1, .action = JOB_ACTION_QUEUED, .job.class_name = "small"};
    struct ledger_job job = {.facts.id = 0};
    ev.received_ms = NOW - 50;
    assert_true(ledger_rule_apply_to_job(&job, false, &ev, "o", NOW).state);
    assert_int_equal(job.waiting_ms, NOW - 50);
    ev.received_ms = NOW + 50; /* another host's clock */
    job = (struct ledger_job){.facts.id = 0};
    assert_true(ledger_rule_apply_to_job(&job, false, &ev, "o", NOW).state);
    assert_int_equal(job.waiting_ms, NOW);
}

/* --- what a late delivery tells --- */
static struct job_event delivery_of(enum job_action action, const char *runner)
{
    struct job_event ev = {.action = action, .job = {.id = 1}};
    (void)snprintf(ev.job.runner_name, sizeof ev.job.runner_name, "%s", runner);
    return ev;
}

static void runner_of_the_delivery_that_moves_the_job_is_the_jobs(void **state)
{
    (void)state;
    struct ledger_job job = {.facts = {.id = 1, .runner_name = "first"}, .state = JOB_RUNNING};
    struct job_event ev = delivery_of(JOB_ACTION_COMPLETED, "second");
    assert_true(ledger_rule_apply_to_job(&job, true, &ev, "o", NOW).state);
    assert_string_equal(job.facts.runner_name, "second");
    ev = delivery_of(JOB_ACTION_IN_PROGRESS, "third"); /* it comes late and moves nothing */
    assert_false(ledger_rule_apply_to_job(&job, true, &ev, "o", NOW).state);
    assert_string_equal(job.facts.runner_name, "second");
}

static void launch_recorded_again_keeps_its_first_deadline(void **state)
{
    (void)state;
    struct ledger_vm vm = {.name = "vm", .state = VM_REGISTERED};
    struct ledger_advance a = {.vm = "vm", .to = VM_LAUNCHED, .vm_id = "i"};
    struct ledger_change change;
    struct err e;
    assert_int_equal(ledger_rule_advance(&vm, &a, NOW, &change, &e), 0);
    assert_int_equal(vm.deadline_ms, 0); /* none was given */
    assert_int_equal(ledger_rule_advance(&vm, &a, NOW, &change, &e), 0);
    assert_false(change.row);
    a.deadline_ms = NOW + 10;
    assert_int_equal(ledger_rule_advance(&vm, &a, NOW, &change, &e), 0);
    assert_true(change.row);
    assert_int_equal(vm.deadline_ms, NOW + 10);
    a.deadline_ms = NOW + 99;
    assert_int_equal(ledger_rule_advance(&vm, &a, NOW, &change, &e), 0);
    assert_false(change.row);
    assert_int_equal(vm.deadline_ms, NOW + 10);
}

static void advance_does_what_its_edge_allows(void **state)
{
    (void)state;
    const struct {
        const char *why;
        enum ledger_vm_state from;
        const char *known_as;
        int64_t launched_ms;
        struct ledger_advance to;
        int rc;
        struct ledger_change change;
        struct ledger_vm after; /* what it is about */
    } cases[] = {
        {"registered",
         VM_RESERVED,
         "",
         0,
         {.to = VM_REGISTERED, .runner_id = 7},
         0,
         {true, true},
         {.state = VM_REGISTERED, .runner_id = 7}},
        {"launched",
         VM_REGISTERED,
         "",
         0,
         {.to = VM_LAUNCHED, .vm_id = "i", .deadline_ms = 9},
         0,
         {true, true},
         {.state = VM_LAUNCHED,
          .vm_id = "i",
          .runner_id = 5,
          .deadline_ms = 9,
          .launched_ms = NOW}},
        {"launched, no id",
         VM_REGISTERED,
         "",
         0,
         {.to = VM_LAUNCHED},
         0,
         {true, true},
         {.state = VM_LAUNCHED, .runner_id = 5, .launched_ms = NOW}},
        {"launched already",
         VM_LAUNCHED,
         "i",
         3,
         {.to = VM_LAUNCHED, .vm_id = "i"},
         0,
         {false, false},
         {.state = VM_LAUNCHED, .vm_id = "i", .runner_id = 5, .launched_ms = 3}},
        {"launched already, no id",
         VM_LAUNCHED,
         "i",
         3,
         {.to = VM_LAUNCHED},
         0,
         {false, false},
         {.state = VM_LAUNCHED, .vm_id = "i", .runner_id = 5, .launched_ms = 3}},
        {"launched as another",
         VM_LAUNCHED,
         "i",
         3,
         {.to = VM_LAUNCHED, .vm_id = "j"},
         -1,
         {false, false},
         {.state = VM_LAUNCHED, .vm_id = "i", .runner_id = 5, .launched_ms = 3}},
        {"busy before it was recorded",
         VM_BUSY,
         "",
         0,
         {.to = VM_LAUNCHED, .vm_id = "i"},
         0,
         {true, false},
         {.state = VM_BUSY, .vm_id = "i", .runner_id = 5, .launched_ms = NOW}},
        {"busy, nothing new",
         VM_BUSY,
         "",
         0,
         {.to = VM_LAUNCHED},
         0,
         {false, false},
         {.state = VM_BUSY, .runner_id = 5}},
        {"busy, its deadline came late",
         VM_BUSY,
         "i",
         3,
         {.to = VM_LAUNCHED, .deadline_ms = 9},
         0,
         {true, false},
         {.state = VM_BUSY, .vm_id = "i", .runner_id = 5, .deadline_ms = 9, .launched_ms = 3}},
        {"ending before it was recorded",
         VM_ENDING,
         "",
         0,
         {.to = VM_LAUNCHED, .vm_id = "i"},
         0,
         {true, false},
         {.state = VM_ENDING, .vm_id = "i", .runner_id = 5, .launched_ms = NOW}},
        {"gone before it was recorded",
         VM_GONE,
         "",
         0,
         {.to = VM_LAUNCHED, .vm_id = "i"},
         -1,
         {false, false},
         {.state = VM_GONE, .runner_id = 5}},
        {"backwards",
         VM_BUSY,
         "",
         0,
         {.to = VM_REGISTERED},
         -1,
         {false, false},
         {.state = VM_BUSY, .runner_id = 5}},
        {"busy, with a reason",
         VM_LAUNCHED,
         "i",
         3,
         {.to = VM_BUSY, .reason = "why"},
         0,
         {true, true},
         {.state = VM_BUSY, .vm_id = "i", .runner_id = 5, .launched_ms = 3}},
        {"ending, with a reason",
         VM_LAUNCHED,
         "i",
         3,
         {.to = VM_ENDING, .reason = "why"},
         0,
         {true, true},
         {.state = VM_ENDING, .vm_id = "i", .runner_id = 5, .launched_ms = 3, .end_reason = "why"}},
        {"ending, without",
         VM_LAUNCHED,
         "i",
         3,
         {.to = VM_ENDING},
         0,
         {true, true},
         {.state = VM_ENDING, .vm_id = "i", .runner_id = 5, .launched_ms = 3}},
        {"gone, with a reason",
         VM_ENDING,
         "i",
         3,
         {.to = VM_GONE, .reason = "why"},
         0,
         {true, true},
         {.state = VM_GONE, .vm_id = "i", .runner_id = 5, .launched_ms = 3, .end_reason = "why"}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ledger_vm vm = {
            .state = cases[i].from, .runner_id = 5, .launched_ms = cases[i].launched_ms};
        struct ledger_change change;
        struct err e;
        (void)snprintf(vm.vm_id, sizeof vm.vm_id, "%s", cases[i].known_as);
        int rc = ledger_rule_advance(&vm, &cases[i].to, NOW, &change, &e);
        const struct ledger_vm *after = &cases[i].after;
        if (rc != cases[i].rc || (rc != 0 && e.class != ERR_CONFLICT) ||
            change.row != cases[i].change.row || change.state != cases[i].change.state ||
            vm.state != after->state || vm.runner_id != after->runner_id ||
            vm.deadline_ms != after->deadline_ms || vm.launched_ms != after->launched_ms ||
            strcmp(vm.vm_id, after->vm_id) != 0 || strcmp(vm.end_reason, after->end_reason) != 0) {
            fail_msg("%s: %d, %s \"%s\" \"%s\" launched %lld", cases[i].why, rc,
                     ledger_vm_state_name(vm.state), vm.vm_id, vm.end_reason,
                     (long long)vm.launched_ms);
        }
    }
}

/* --- reserve --- */
static void reserve_order_is_demand_fleet_class_repository(void **state)
{
    (void)state;
    struct ledger_usage u = {
        .demand = 2, .supply = 2, .fleet_used = 9, .class_used = 9, .repository_used = 9};
    struct ledger_caps caps = {.fleet = 9, .class_max = 9, .repository = 9};
    assert_int_equal(ledger_rule_reserve(&u, &caps), LEDGER_SATISFIED);
    u.supply = 1;
    assert_int_equal(ledger_rule_reserve(&u, &caps), LEDGER_FULL_FLEET);
    caps.fleet = 10;
    assert_int_equal(ledger_rule_reserve(&u, &caps), LEDGER_FULL_CLASS);
    caps.class_max = 10;
    assert_int_equal(ledger_rule_reserve(&u, &caps), LEDGER_FULL_REPOSITORY);
    caps.repository = 0;
    assert_int_equal(ledger_rule_reserve(&u, &caps), LEDGER_RESERVED);
}

/* --- buckets --- */
static void bucket_of_no_burst_counts_as_one(void **state)
{
    (void)state;
    struct ledger_bucket_row row;
    ledger_rule_bucket_new(&row, NOW);
    ledger_rule_bucket_refill(&row, 1, 0, NOW);
    assert_int_equal(ledger_rule_bucket_wait(&row, 1, 1, NOW), 0);
    ledger_rule_bucket_spend(&row, 1, 1);
    assert_int_equal(ledger_rule_bucket_wait(&row, 1, 1, NOW), 1000);
}

/* --- paces --- */
static void starts_come_in_a_burst_and_then_at_the_rate(void **state)
{
    (void)state;
    static const int64_t ms[] = {0, 0, 0, 200, 400, 600};
    int64_t next_us = 0;
    for (size_t i = 0; i < COUNT_OF(ms); i++) {
        assert_int_equal(ledger_rule_start(&next_us, 5, 3, NOW), ms[i] * 1000);
    }
    assert_int_equal(ledger_rule_start(&next_us, 5, 3, NOW + 800), 0);
    assert_int_equal(ledger_rule_start(&next_us, 5, 3, NOW + 900), 100000);
    for (int i = 0; i < 3; i++) { /* no time is made up for beyond the burst */
        assert_int_equal(ledger_rule_start(&next_us, 5, 3, NOW + 5000), 0);
    }
    assert_int_equal(ledger_rule_start(&next_us, 5, 3, NOW + 5000), 200000);
}

static void start_of_a_clock_that_was_set_back_is_now(void **state)
{
    (void)state;
    int64_t next_us = (NOW + 60001) * 1000;
    assert_int_equal(ledger_rule_start(&next_us, 1, 1, NOW), 0);
    assert_int_equal(ledger_rule_start(&next_us, 1, 1, NOW), 1000000);
    next_us = (NOW + 60000) * 1000;
    assert_int_equal(ledger_rule_start(&next_us, 1, 1, NOW), 60000000);
}

static void bucket_wait_is_exact_and_enough(void **state)
{
    (void)state;
    static const double rates[] = {0.01, 0.3, 1, 3, 7, 15, 999, 100000};
    for (size_t i = 0; i < COUNT_OF(rates); i++) {
        struct ledger_bucket_row row;
        int64_t now = NOW;
        ledger_rule_bucket_new(&row, now);
        ledger_rule_bucket_refill(&row, rates[i], 1, now);
        for (int taken = 0; taken < 200; taken++) {
            int64_t wait = ledger_rule_bucket_wait(&row, rates[i], 1, now);
            now += wait;
            ledger_rule_bucket_refill(&row, rates[i], 1, now);
            assert_int_equal(ledger_rule_bucket_wait(&row, rates[i], 1, now), 0);
            ledger_rule_bucket_spend(&row, rates[i], 1);
        }
    }
}

static void bucket_that_hardly_fills_says_a_long_wait(void **state)
{
    (void)state;
    struct ledger_bucket_row row;
    ledger_rule_bucket_new(&row, NOW);
    ledger_rule_bucket_refill(&row, 1e-300, 1, NOW);
    ledger_rule_bucket_spend(&row, 1e-300, 1);
    assert_true(ledger_rule_bucket_wait(&row, 1e-300, 1, NOW) > 0);
}

/* --- words --- */
static void words_fit_and_say_who_waits(void **state)
{
    (void)state;
    struct job_event ev = {.job.id = 1, .job.repository = "octo/app", .job.class_name = "small"};
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {
        .request = &request, .target = "", .caps = {.fleet = 10, .class_max = 4, .repository = 2}};
    struct ledger_usage u = {
        .demand = 3, .supply = 2, .fleet_used = 10, .class_used = 4, .repository_used = 2};
    struct ledger_reservation res = {.outcome = LEDGER_FULL_FLEET};
    struct ledger_line line;
    ledger_line_reserve(&line, &r, &u, &res);
    assert_string_equal(line.what, "waits");
    assert_string_equal(line.detail,
                        "for a slot: the fleet is full, 10 of 10 VMs (limits.max_vms)");
    res.outcome = LEDGER_FULL_REPOSITORY;
    ledger_line_reserve(&line, &r, &u, &res);
    assert_string_equal(line.detail, "for a slot of repository octo/app: 2 of 2 VMs ("
                                     "limits.max_vms_per_repository)");
    res = (struct ledger_reservation){.outcome = LEDGER_RATE, .wait_ms = 200};
    ledger_line_reserve(&line, &r, &u, &res);
    assert_non_null(strstr(line.detail, "in 200 ms"));
    res.outcome = LEDGER_OBSOLETE;
    ledger_line_reserve(&line, &r, &u, &res);
    assert_null(line.what);
    struct ledger_job job = {.facts.id = 1, .state = JOB_WAITING, .facts.class_name = "small"};
    memset(job.facts.labels, 'l', sizeof job.facts.labels - 1);
    ledger_line_job(&line, &job, ev.delivery, false);
    assert_int_equal(strlen(line.detail), sizeof line.detail - 1);
}

/* It was written by a clock a day ahead, or that of those who wait was set back since. */
static void lease_of_a_clock_ahead_ends_when_it_is_not_renewed_for_its_ttl(void **state)
{
    struct ledger_lease_row row = {.fence = 0};
    const int64_t now = 1800000000000;
    (void)state;
    assert_true(ledger_rule_lease(&row, "a", 60000, now + 86400000, 0));
    assert_false(ledger_rule_lease(&row, "b", 1, now, 0));
    assert_false(ledger_rule_lease(&row, "b", 1, now, 59999));
    assert_true(ledger_rule_lease(&row, "b", 1000, now, 60000));
    assert_int_equal(row.fence, 2);
    assert_int_equal(row.until_ms, now + 1000);
    /* One that can be as it says ends as it says, however long it was seen. */
    assert_false(ledger_rule_lease(&row, "c", 1, now, 60000));
    assert_false(ledger_rule_lease(&row, "c", 1, now + 999, 60000));
    assert_true(ledger_rule_lease(&row, "c", 1, now + 1000, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lease_of_a_clock_ahead_ends_when_it_is_not_renewed_for_its_ttl),
        cmocka_unit_test(job_edges_lead_forward_only),
        cmocka_unit_test(vm_edges_lead_forward_and_end_once),
        cmocka_unit_test(time_of_receipt_counts_unless_it_lies_ahead),
        cmocka_unit_test(runner_of_the_delivery_that_moves_the_job_is_the_jobs),
        cmocka_unit_test(launch_recorded_again_keeps_its_first_deadline),
        cmocka_unit_test(advance_does_what_its_edge_allows),
        cmocka_unit_test(reserve_order_is_demand_fleet_class_repository),
        cmocka_unit_test(bucket_of_no_burst_counts_as_one),
        cmocka_unit_test(starts_come_in_a_burst_and_then_at_the_rate),
        cmocka_unit_test(start_of_a_clock_that_was_set_back_is_now),
        cmocka_unit_test(bucket_wait_is_exact_and_enough),
        cmocka_unit_test(bucket_that_hardly_fills_says_a_long_wait),
        cmocka_unit_test(words_fit_and_say_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
