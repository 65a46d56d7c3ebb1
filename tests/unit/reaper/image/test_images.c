/* What the reaper counts against the versions of an image, and what it does with one that was rejected. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ledger/images.h"
#include "tests/lib/must.h"
#include "tests/unit/reaper/world.h"

const char world_config[] =
    WORLD_CONFIG("\"reaper\": {\"vm_list_interval\": \"0s\", \"stale_runner_scan_interval\": "
                 "\"10ms\", \"confirm_after\": \"1m\", \"startup_timeout\": \"5m\"}",
                 WORLD_LARGE("\"max_vms\": 40, \"max_duration\": \"1h\", \"idle_timeout\": "
                             "\"10m\"") ", " WORLD_SMALL("\"max_vms\": 40"));

static struct ledger_image see(void)
{
    struct err e;
    struct ledger_image i;
    MUST(ledger_image_get(reaper.ledger, "large", &i, &e));
    return i;
}

static void put(struct ledger_image *i)
{
    struct err e;
    MUST(ledger_image_put(reaper.ledger, i, &e));
}

/* 4.0 is tried beside 3.0. */
static void begin_canary(void)
{
    (void)scripted_vms_add_version("3.0", true);
    (void)scripted_vms_add_version("4.0", true);
    struct ledger_image i = {.class_name = "large"};
    ledger_image_begin(&i, SCRIPTED_IMAGE, "3.0", 1);
    assert_true(ledger_image_offer(&i, "4.0", 2));
    put(&i);
}

static struct ledger_vm *add_canary(const char *name, enum vm_run_state state, int64_t age_ms)
{
    struct ledger_vm *vm = world_add_large_vm(name, VM_LAUNCHED, age_ms);
    (void)snprintf(vm->image_version, sizeof vm->image_version, "4.0");
    vm->image_part = IMAGE_IS_CANARY;
    (void)world_add_large_machine(name, state);
    return vm;
}

static void vm_that_ended_without_a_job_counts_when_that_is_certain(void **state)
{
    (void)state;
    begin_canary();
    /* Its idle timeout will have passed then: it was not so when the VM ended. */
    struct ledger_vm *vm = add_canary("vm-1", VM_RUN_ENDED, 10 * MINUTE_MS - 30 * SECOND_MS);
    world_sweep(5, 10 * SECOND_MS);
    assert_int_equal(vm->state, VM_LAUNCHED);
    assert_int_equal(see().failures, 0);
    world_sweep(3, 10 * SECOND_MS);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(see().failures, 1);
    world_sweep(3, 10 * SECOND_MS);
    assert_int_equal(see().failures, 1);
}

/* The list that shows its end may be late: it ended long before its idle timeout all the same. */
static void vm_that_is_looked_at_late_counts_by_when_it_ended(void **state)
{
    (void)state;
    for (int minutes = 1; minutes < 20; minutes += 10) {
        world_anew();
        begin_canary();
        struct ledger_vm *vm = add_canary("vm-1", VM_RUN_ENDED, 30 * MINUTE_MS);
        scripted_vms.list[0].info.ended_ms = vm->launched_ms + minutes * MINUTE_MS;
        world_sweep(10, 10 * SECOND_MS);
        assert_int_equal(vm->state, VM_GONE);
        assert_int_equal(see().failures, minutes == 1);
    }
}

/* A job that kills its VM at once, before GitHub's event has come. */
static void job_that_kills_its_vm_does_not_count_against_the_image(void **state)
{
    (void)state;
    begin_canary();
    struct ledger_vm *vm = add_canary("vm-1", VM_RUN_ENDED, MINUTE_MS);
    world_sweep(2, 10 * SECOND_MS);
    world_move(vm, VM_BUSY);
    vm->busy_ms = clock_wall_ms();
    world_sweep(10, 10 * SECOND_MS);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(see().failures, 0);
}

/* A VM that is no part of a comparison waits for nothing. */
static void vm_of_no_comparison_ends_at_once(void **state)
{
    (void)state;
    begin_canary();
    struct ledger_vm *vm = add_canary("vm-1", VM_RUN_ENDED, MINUTE_MS);
    vm->image_part = IMAGE_NO_PART;
    world_sweep(1, SECOND_MS);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(see().failures, 0);
}

/* Its agent never started the runner: the VM runs, and no session is ever opened. */
static void runner_that_never_comes_counts_while_a_job_waits(void **state)
{
    for (int waits = 0; waits < 2; waits++) {
        world_anew();
        begin_canary();
        struct ledger_vm *vm = add_canary("vm-1", VM_RUN_RUNNING, 20 * MINUTE_MS);
        (void)world_add_runner_of(vm, false, false);
        if (waits == 1) {
            struct ledger_job *job = world_add_job(77, "queued");
            memcpy(job->facts.class_name, "large", sizeof "large");
        }
        for (int i = 0; i < 60 && vm->state == VM_LAUNCHED; i++) {
            world_sweep(1, 30 * SECOND_MS);
        }
        assert_int_not_equal(vm->state, VM_LAUNCHED);
        assert_int_equal(see().failures, waits);
    }
    (void)state;
}

static struct ledger_image reject_canary(void)
{
    begin_canary();
    struct ledger_image i = see();
    assert_true(ledger_image_reject(&i, "4.0", true, "its VMs never came", clock_wall_ms()));
    put(&i);
    return see();
}

static void rejected_version_is_made_inactive_once(void **state)
{
    (void)state;
    (void)reject_canary();
    world_sweep(3, SECOND_MS);
    assert_int_equal(calls_count("vm_image_deactivate", "class=large version=4.0"), 1);
    assert_false(scripted_vms.versions[1].active);
    assert_int_equal(see().news, IMAGE_NO_NEWS);
    /* An operator activates it again, and it stays so. */
    scripted_vms.versions[1].active = true;
    world_sweep(3, SECOND_MS);
    assert_int_equal(calls_count("vm_image_deactivate", NULL), 1);
    assert_string_equal(see().canary, "");
}

static void service_that_does_not_answer_is_asked_again_and_one_that_refuses_is_not(void **state)
{
    (void)state;
    (void)reject_canary();
    world_fail("vm_image_deactivate", NULL, ERR_RETRY);
    world_sweep(3, SECOND_MS);
    assert_int_equal(see().news, IMAGE_REJECTED);
    world_heal();
    world_sweep(1, SECOND_MS);
    assert_false(scripted_vms.versions[1].active);
    assert_int_equal(see().news, IMAGE_NO_NEWS);

    world_anew();
    (void)reject_canary();
    world_fail("vm_image_deactivate", NULL, ERR_AUTH);
    world_sweep(3, SECOND_MS);
    assert_int_equal(calls_count("vm_image_deactivate", NULL), 1);
    assert_int_equal(see().news, IMAGE_NO_NEWS);
    assert_true(scripted_vms.versions[1].active);
    assert_string_equal(see().canary, "");
}

/* The next version is there already: both are logged, and neither hides the other. */
static void rejection_is_seen_though_the_next_canary_begins_in_the_same_sweep(void **state)
{
    (void)state;
    (void)reject_canary();
    (void)scripted_vms_add_version("5.0", true);
    world_sweep(1, SECOND_MS);
    assert_int_equal(calls_count("vm_image_deactivate", "class=large version=4.0"), 1);
    assert_string_equal(see().canary, "5.0");
    assert_int_equal(see().news, IMAGE_NO_NEWS);
}

static void ledger_that_was_lost_does_not_begin_with_a_rejected_version(void **state)
{
    (void)state;
    (void)reject_canary();
    world_sweep(1, SECOND_MS);
    const struct vm_image_version *newest =
        vm_image_newest(scripted_vms.versions, scripted_vms.version_count, NULL, NULL);
    assert_string_equal(newest->name, "3.0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(vm_that_ended_without_a_job_counts_when_that_is_certain),
        CASE(vm_that_is_looked_at_late_counts_by_when_it_ended),
        CASE(job_that_kills_its_vm_does_not_count_against_the_image),
        CASE(vm_of_no_comparison_ends_at_once),
        CASE(runner_that_never_comes_counts_while_a_job_waits),
        CASE(rejected_version_is_made_inactive_once),
        CASE(service_that_does_not_answer_is_asked_again_and_one_that_refuses_is_not),
        CASE(rejection_is_seen_though_the_next_canary_begins_in_the_same_sweep),
        CASE(ledger_that_was_lost_does_not_begin_with_a_rejected_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
