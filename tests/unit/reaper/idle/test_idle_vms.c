/*
 * VMs that idle until a job comes: what is requested, what is replaced, and what gives way to jobs.
 */
#include <stdlib.h>

#include "common/ledger/images.h"
#include "common/ledger/kinds.h"
#include "common/ledger/pauses.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

/* It is a Friday, 08:00 UTC. */
const char world_config[] =
    WORLD_CONFIG("\"limits\": {\"max_vms\": 8}, \"reaper\": {\"vm_list_interval\": \"0s\", "
                 "\"stale_runner_scan_interval\": \"1h\"}",
                 WORLD_SMALL("\"max_vms\": 6, \"min_idle\": {\"count\": 2, \"scopes\": "
                             "[\"acme\"], "
                             "\"schedule\": [\"fri 07:00-09:00\"], \"replace_after\": "
                             "\"90s\"}") ", " WORLD_LARGE("\"max_vms\": 2"));

#define OLD_MS (91 * SECOND_MS)

static struct ledger_vm *add_idle(const char *name, int64_t age_ms, bool online)
{
    struct ledger_vm *vm = world_add_running(name, VM_LAUNCHED, age_ms);
    (void)world_add_runner_of(vm, online, false);
    return vm;
}

static struct launch_request put_request(int i)
{
    struct err e;
    struct launch_request r;
    MUST(launch_request_decode(slice_of(world_put(i, "body")), &r, &e));
    return r;
}

/* Jobs are relaunched, too. */
static int count_idle_requests(void)
{
    int n = 0;
    for (int i = 0; i < world_puts(); i++) {
        n += strcmp(put_request(i).reason, "min_idle") == 0;
    }
    return n;
}

/* --- what is missing --- */

static void missing_vms_are_requested_once(void **state)
{
    (void)state;
    world_sweep(3, SECOND_MS);
    assert_int_equal(world_puts(), 2);
    assert_string_equal(world_put(0, "lane"), "launch.small");
    assert_string_equal(world_put(0, "key"), "");
    struct launch_request r = put_request(1);
    assert_string_equal(r.scope, "acme");
    assert_string_equal(r.class_name, "small");
    assert_string_equal(r.reason, "min_idle");
    assert_int_equal(r.requested_ms, WORLD_BEGAN_MS);
    assert_int_equal(r.spare, 2);
    assert_int_equal(r.job.id, 0);
    assert_int_equal(r.job.installation_id, 0);
}

static void whatever_idles_or_is_launching_is_counted_unless_a_job_waits_for_it(void **state)
{
    (void)state;
    (void)add_idle("mf-c28ee50a-t-a", SECOND_MS, true);
    (void)world_add_vm("mf-c28ee50a-t-b", VM_REGISTERED, SECOND_MS);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    world_add_demand("acme", 1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

static void vms_of_another_scope_or_class_or_that_are_busy_are_not_counted(void **state)
{
    (void)state;
    struct ledger_vm *other = add_idle("mf-c28ee50a-t-a", SECOND_MS, true);
    memcpy(other->scope, "other", 6);
    (void)world_add_large_vm("mf-c28ee50a-t-b", VM_LAUNCHED, SECOND_MS);
    (void)world_add_running("mf-c28ee50a-t-c", VM_BUSY, SECOND_MS);
    sweep(&reaper);
    assert_int_equal(world_puts(), 2);
}

static void messages_of_jobs_are_vms_to_come(void **state)
{
    (void)state;
    world_add_messages("launch.small", QUEUE_READY, "77", 1);
    world_add_messages("launch.small", QUEUE_DELAYED, "78", 1);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
}

static void no_more_is_requested_than_slots_are_free(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-%d", i);
        (void)world_add_running(name, VM_BUSY, SECOND_MS);
    }
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
}

/* Where the lane's depth is not known, or the VMs end at once. */
static void requests_are_bounded_in_each_span_of_replace_after(void **state)
{
    (void)state;
    world_fail("queue_depths", NULL, ERR_RETRY);
    world_sweep(9, SECOND_MS);
    assert_int_equal(world_puts(), 6);
    world_pass(90 * SECOND_MS);
    world_sweep(9, SECOND_MS);
    assert_int_equal(world_puts(), 12);
}

static void none_are_requested_at_other_times_or_of_a_paused_class(void **state)
{
    struct ledger_pause p;
    struct err e;
    bool began;
    (void)state;
    world_empty_queue();
    MUST(ledger_pause_begin(world.ledger, "small", "me", "", &p, &began, &e));
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    MUST(ledger_pause_end(world.ledger, "small", &p, &e));
    world_pass(HOUR_MS);
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
    world_pass(7 * 24 * HOUR_MS - 30 * MINUTE_MS);
    world_sweep(2, SECOND_MS);
    assert_int_equal(world_puts(), 2);
}

static void another_reaper_with_the_lease_is_left_to_it(void **state)
{
    (void)state;
    world_take_lease("sweep");
    sweep(&reaper);
    assert_int_equal(world_puts(), 0);
}

static void request_that_cannot_be_put_is_a_failure_and_put_later(void **state)
{
    (void)state;
    int64_t before = world_task_errors("idle_vms");
    world_fail("queue_put", NULL, ERR_RETRY);
    sweep(&reaper);
    assert_int_equal(world_task_errors("idle_vms") - before, 1);
    world_heal();
    sweep(&reaper);
    assert_int_equal(world_puts(), 2);
}

/* --- what is old --- */

static void old_vm_ends_once_another_is_online(void **state)
{
    (void)state;
    struct ledger_vm *old = add_idle("mf-c28ee50a-t-a", OLD_MS, true);
    (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    sweep(&reaper);
    assert_int_equal(world_puts(), 1);
    assert_int_equal(put_request(0).spare, 3);
    assert_int_equal(put_request(0).job.installation_id, 11);
    world_assert_nothing_ended();
    struct ledger_vm *new = add_idle("mf-c28ee50a-t-c", SECOND_MS, false);
    sweep(&reaper);
    world_assert_nothing_ended(); /* it boots */
    world_add_runner_of(new, true, false);
    scripted_github.runners[2].online = true;
    sweep(&reaper);
    assert_int_equal(old->state, VM_GONE);
    assert_string_equal(old->end_reason, "idle: another one has replaced it");
    assert_int_equal(scripted_github.deleted, 1);
    assert_int_equal(world_ended(), 1);
}

/* A canary that no job gets, because its runner never comes, must not pass for one that works. */
static void old_vm_of_a_canary_whose_runner_never_came_is_a_failure_of_its_image(void **state)
{
    (void)state;
    for (int online = 0; online < 2; online++) {
        world_anew();
        struct ledger_vm *old = add_idle("mf-c28ee50a-t-a", OLD_MS, online == 1);
        (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
        (void)add_idle("mf-c28ee50a-t-c", SECOND_MS, true);
        struct ledger_image canary = {.class_name = "small", .good = "1.0", .canary = "2.0"};
        struct err e;
        MUST(ledger_image_put(world.ledger, &canary, &e));
        memcpy(old->image_version, "2.0", 4);
        old->image_part = IMAGE_IS_CANARY;
        sweep(&reaper);
        assert_int_equal(old->state, VM_GONE);
        MUST(ledger_image_get(world.ledger, "small", &canary, &e));
        assert_int_equal(canary.failures, 1 - online);
        assert_int_equal(canary.jobs, 0);
    }
}

static void runner_that_was_seen_online_is_not_asked_about_again(void **state)
{
    (void)state;
    struct ledger_vm *old = add_idle("mf-c28ee50a-t-a", OLD_MS, true);
    (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    (void)add_idle("mf-c28ee50a-t-c", SECOND_MS, true);
    world_fail("github_delete_runner", NULL, ERR_RETRY);
    world_sweep(3, SECOND_MS);
    assert_int_equal(old->state, VM_LAUNCHED);
    char about[32];
    (void)snprintf(about, sizeof about, "id=%d", 1002);
    assert_int_equal(calls_count("github_get_runner", about), 1);
}

static void old_vm_whose_runner_has_a_job_is_spared(void **state)
{
    (void)state;
    struct ledger_vm *old = add_idle("mf-c28ee50a-t-a", OLD_MS, true);
    (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    (void)add_idle("mf-c28ee50a-t-c", SECOND_MS, true);
    scripted_github.runners[0].busy = true;
    sweep(&reaper);
    assert_int_equal(old->state, VM_BUSY);
    world_assert_nothing_ended();
}

static void old_vm_that_a_job_waits_for_stays(void **state)
{
    (void)state;
    (void)add_idle("mf-c28ee50a-t-a", OLD_MS, true);
    (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    (void)add_idle("mf-c28ee50a-t-c", SECOND_MS, true);
    world_add_demand("acme", 1);
    sweep(&reaper);
    world_assert_nothing_ended();
}

static void old_vms_stay_while_github_is_not_asked(void **state)
{
    (void)state;
    (void)add_idle("mf-c28ee50a-t-a", OLD_MS, true);
    (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    (void)add_idle("mf-c28ee50a-t-c", SECOND_MS, true);
    scripted_github.refuses[GITHUB_RECONCILE] = true;
    sweep(&reaper);
    world_assert_nothing_ended();
}

/* --- what is unwanted --- */

static void vms_without_a_job_end_at_other_times_unless_one_waits_for_them(void **state)
{
    (void)state;
    world_pass(HOUR_MS);
    struct ledger_vm *of_job = add_idle("mf-c28ee50a-t-a", OLD_MS, true);
    struct ledger_vm *first = add_idle("mf-c28ee50a-t-b", 2 * SECOND_MS, true);
    struct ledger_vm *second = add_idle("mf-c28ee50a-t-c", SECOND_MS, true);
    struct ledger_vm *of_set = add_idle("mf-c28ee50a-t-d", SECOND_MS, true);
    first->for_job = 0;
    second->for_job = 0;
    of_set->for_job = 0;
    memcpy(of_set->scope, "acme#set:blue", sizeof "acme#set:blue");
    world_add_demand("acme", 2);
    sweep(&reaper);
    assert_int_equal(first->state, VM_GONE);
    assert_string_equal(first->end_reason, "idle: none is kept any more");
    assert_int_equal(second->state, VM_LAUNCHED);
    sweep(&reaper);
    assert_int_equal(second->state, VM_LAUNCHED);
    assert_int_equal(of_job->state, VM_LAUNCHED);
    assert_int_equal(of_set->state, VM_LAUNCHED);
    assert_int_equal(world_puts(), 0);
}

/* --- what gives way --- */

static void fill_fleet(int busy)
{
    for (int i = 0; i < busy; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-busy%d", i);
        (void)world_add_running(name, VM_BUSY, SECOND_MS);
    }
}

static void idle_vm_gives_its_slot_to_a_job_of_another_scope(void **state)
{
    (void)state;
    struct ledger_vm *a = add_idle("mf-c28ee50a-t-a", 2 * SECOND_MS, true);
    struct ledger_vm *b = add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    fill_fleet(4);
    sweep(&reaper);
    world_assert_nothing_ended();
    world_add_demand("other", 1);
    sweep(&reaper);
    assert_int_equal(a->state, VM_GONE);
    assert_string_equal(a->end_reason, "idle: a job waits for its slot");
    assert_int_equal(b->state, VM_LAUNCHED);
    assert_int_equal(world_puts(), 0);
}

/* Else they would take turns. */
static void none_is_requested_soon_after_one_has_given_its_slot(void **state)
{
    (void)state;
    (void)add_idle("mf-c28ee50a-t-a", 2 * SECOND_MS, true);
    fill_fleet(5);
    world_add_demand("other", 1);
    sweep(&reaper);
    assert_int_equal(world_ended(), 1);
    world_move(memory_vm(world.url, "mf-c28ee50a-t-busy0"), VM_GONE);
    world_move(memory_vm(world.url, "mf-c28ee50a-t-busy1"), VM_GONE);
    world_sweep(3, SECOND_MS);
    assert_int_equal(count_idle_requests(), 0);
    world_pass(MINUTE_MS);
    sweep(&reaper);
    assert_int_equal(count_idle_requests(), 2);
}

static void job_that_its_own_class_has_no_slot_for_takes_none_of_another(void **state)
{
    (void)state;
    (void)add_idle("mf-c28ee50a-t-a", 2 * SECOND_MS, true);
    (void)add_idle("mf-c28ee50a-t-b", SECOND_MS, true);
    fill_fleet(4);
    for (int i = 0; i < 2; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "mf-c28ee50a-t-l%d", i);
        (void)world_add_large_vm(name, VM_BUSY, SECOND_MS);
        (void)world_add_large_machine(name, VM_RUN_RUNNING);
    }
    struct ledger_job *job = world_add_job(42, "queued");
    memcpy(job->facts.class_name, "large", 6);
    memcpy(job->scope, "other", 6);
    sweep(&reaper);
    world_assert_nothing_ended();
}

static void old_vm_at_a_cap_ends_first_and_alone(void **state)
{
    (void)state;
    struct ledger_vm *a = add_idle("mf-c28ee50a-t-a", OLD_MS + SECOND_MS, true);
    struct ledger_vm *b = add_idle("mf-c28ee50a-t-b", OLD_MS, true);
    fill_fleet(4);
    sweep(&reaper);
    assert_int_equal(a->state, VM_GONE);
    assert_int_equal(b->state, VM_LAUNCHED);
    assert_int_equal(world_puts(), 0);
    sweep(&reaper);
    assert_int_equal(b->state, VM_LAUNCHED);
    assert_int_equal(world_puts(), 1);
}

static void idle_vm_that_a_job_of_its_own_waits_for_keeps_its_slot(void **state)
{
    (void)state;
    (void)add_idle("mf-c28ee50a-t-a", 2 * SECOND_MS, true);
    fill_fleet(5);
    world_add_demand("other", 1);
    world_add_demand("acme", 1);
    sweep(&reaper);
    world_assert_nothing_ended();
}

static void job_of_another_class_gets_a_slot_of_the_fleet(void **state)
{
    (void)state;
    struct ledger_vm *a = add_idle("mf-c28ee50a-t-a", 2 * SECOND_MS, true);
    fill_fleet(5);
    (void)world_add_large_vm("mf-c28ee50a-t-l1", VM_BUSY, SECOND_MS);
    (void)world_add_large_machine("mf-c28ee50a-t-l1", VM_RUN_RUNNING);
    world_add_demand("other", 1);
    struct ledger_job *job = world_add_job(42, "queued");
    memcpy(job->facts.class_name, "large", 6);
    memcpy(job->scope, "other", 6);
    sweep(&reaper);
    assert_int_equal(a->state, VM_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(missing_vms_are_requested_once),
        CASE(whatever_idles_or_is_launching_is_counted_unless_a_job_waits_for_it),
        CASE(vms_of_another_scope_or_class_or_that_are_busy_are_not_counted),
        CASE(messages_of_jobs_are_vms_to_come),
        CASE(no_more_is_requested_than_slots_are_free),
        CASE(requests_are_bounded_in_each_span_of_replace_after),
        CASE(none_are_requested_at_other_times_or_of_a_paused_class),
        CASE(another_reaper_with_the_lease_is_left_to_it),
        CASE(request_that_cannot_be_put_is_a_failure_and_put_later),
        CASE(old_vm_ends_once_another_is_online),
        CASE(old_vm_of_a_canary_whose_runner_never_came_is_a_failure_of_its_image),
        CASE(runner_that_was_seen_online_is_not_asked_about_again),
        CASE(old_vm_whose_runner_has_a_job_is_spared),
        CASE(old_vm_that_a_job_waits_for_stays),
        CASE(old_vms_stay_while_github_is_not_asked),
        CASE(vms_without_a_job_end_at_other_times_unless_one_waits_for_them),
        CASE(idle_vm_gives_its_slot_to_a_job_of_another_scope),
        CASE(none_is_requested_soon_after_one_has_given_its_slot),
        CASE(job_that_its_own_class_has_no_slot_for_takes_none_of_another),
        CASE(old_vm_at_a_cap_ends_first_and_alone),
        CASE(idle_vm_that_a_job_of_its_own_waits_for_keeps_its_slot),
        CASE(job_of_another_class_gets_a_slot_of_the_fleet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
