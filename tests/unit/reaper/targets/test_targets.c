/* A class whose VMs run in several accounts and regions: each is listed by itself, and what is wrong
 * with one says nothing about the others. */
#include "common/fleet/reconcile.h"
#include "common/ledger/kinds.h"
#include "tests/unit/reaper/world.h"

#define TARGET(name, region)                                                                       \
    "{\"name\": \"" name "\", \"image\": \"arn:aws:lambda:" region                                 \
    ":123456789012:microvm-image:wide\"}"

const char world_config[] = WORLD_CONFIG(
    "\"reaper\": {\"vm_list_interval\": \"0s\", \"stale_runner_scan_interval\": \"10ms\","
    " \"confirm_after\": \"10ms\", \"startup_timeout\": \"5m\","
    " \"deadline_grace_period\": \"1s\", \"terminate_timeout\": \"1s\"}",
    "{\"name\": \"large\", \"labels\": [\"large\"], \"provider\": \"lambda\", \"max_vms\": 9,"
    " \"lambda\": {\"image\": \"arn:aws:lambda:us-west-2:123456789012:microvm-image:wide\"},"
    " \"max_duration\": \"2h\", \"targets\": [" TARGET("east", "us-east-1") ", " TARGET(
        "west",
        "us-west-2") "]}, {\"name\": \"narrow\", \"labels\": [\"narrow\"], \"provider\": "
                     "\"lambda\", \"max_vms\": 9, \"targets\": [{\"name\": \"south\", \"image\": "
                     "\"arn:aws:lambda:sa-east-1:123456789012:microvm-image:narrow\"}]}");

static struct ledger_vm *add_row(const char *name, const char *target)
{
    struct ledger_vm *vm = world_add_large_vm(name, VM_BUSY, 20 * MINUTE_MS);
    (void)snprintf(vm->target, sizeof vm->target, "%s", target);
    return vm;
}

static struct vm_info *add_machine(const char *place, const char *id)
{
    struct vm_info *vm = scripted_vms_add(place, id, VM_RUN_RUNNING);
    vm->name[0] = '\0';
    vm->started_ms = clock_wall_ms() - MINUTE_MS;
    return vm;
}

static void each_target_is_listed_by_itself(void **state)
{
    (void)state;
    sweep_times(1);
    assert_int_equal(calls_count("vm_list", "class=large@east cursor="), 1);
    assert_int_equal(calls_count("vm_list", "class=large@west cursor="), 1);
    assert_int_equal(calls_count("vm_list", "class=narrow@south cursor="), 1);
    assert_int_equal(calls_count("vm_list", NULL), 3);
}

static void vm_without_a_row_gets_one_of_its_target(void **state)
{
    struct ledger_vm vm;
    struct err e;
    char name[VM_NAME_SIZE];
    (void)state;
    struct vm_info *orphan = add_machine("large@west", "a");
    sweep_times(3);
    fleet_adopted_name(orphan, name);
    assert_int_equal(ledger_vm_get(world.ledger, name, &vm, &e), 0);
    assert_string_equal(vm.class_name, "large");
    assert_string_equal(vm.target, "west");
}

static void deadline_is_kept_at_the_vms_own_target(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_row("mf-c28ee50a-t-a", "west");
    (void)add_machine("large@west", "mf-c28ee50a-t-a");
    (void)world_add_runner_of(vm, true, true);
    world_pass(2 * HOUR_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(calls_count("vm_terminate", "class=large@west"), 1);
    assert_int_equal(calls_count("vm_terminate", NULL), 1);
}

/* Of a row that is older than the targets. */
static void deadline_of_a_former_vm_is_kept_where_the_class_launched(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_row("mf-c28ee50a-t-a", "");
    (void)add_machine("large@west", "mf-c28ee50a-t-a");
    (void)world_add_runner_of(vm, true, true);
    world_pass(2 * HOUR_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_int_equal(calls_count("vm_terminate", "class=large@west"), 1);
}

/* The VMs of the lost one are not missed, and those of the other one are looked after. */
static void target_that_is_lost_says_nothing_about_its_vms(void **state)
{
    (void)state;
    struct ledger_vm *there = add_row("mf-c28ee50a-t-a", "east");
    struct ledger_vm *missing = add_row("mf-c28ee50a-t-b", "west");
    (void)world_add_runner_of(there, false, false);
    (void)world_add_runner_of(missing, false, false);
    world_fail("vm_list", "class=large@east", ERR_RETRY);
    world_fail("vm_describe", "class=large@east", ERR_RETRY);
    sweep_times(20);
    assert_int_equal(missing->state, VM_GONE); /* not listed by a target that answers */
    assert_int_equal(there->state, VM_BUSY);
    assert_int_equal(calls_count("vm_terminate", "class=large@east"), 0);
}

/* A launch there that got no response is none of the VMs here. */
static void vm_without_a_row_gets_one_while_another_target_is_lost(void **state)
{
    struct ledger_vm vm;
    struct err e;
    char name[VM_NAME_SIZE];
    (void)state;
    struct ledger_vm *there = add_row("mf-c28ee50a-t-a", "east");
    there->state = VM_ENDING;
    there->vm_id[0] = '\0';
    there->ending_ms = clock_wall_ms();
    there->runner_id = 5;
    struct vm_info *orphan = add_machine("large@west", "a");
    world_fail("vm_list", "class=large@east", ERR_RETRY);
    sweep_times(3);
    fleet_adopted_name(orphan, name);
    assert_int_equal(ledger_vm_get(world.ledger, name, &vm, &e), 0);
    assert_string_equal(vm.target, "west");
    assert_int_equal(there->state, VM_ENDING);
}

/* Its class has lost that target, which another one still has. */
static void vm_at_another_classs_target_is_gone_after_its_deadline(void **state)
{
    (void)state;
    struct ledger_vm *vm = add_row("mf-c28ee50a-t-a", "south");
    sweep_times(2);
    assert_int_equal(vm->state, VM_BUSY);
    world_pass(vm->deadline_ms - clock_wall_ms() + 2 * SECOND_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
    assert_string_equal(vm->end_reason, "deadline: its target is not configured any more");
    assert_int_equal(calls_count("vm_terminate", NULL), 0);
}

/* Its class got targets, and its lambda.image was removed before that VM had ended. */
static void vm_where_its_class_launched_before_is_gone_after_its_deadline(void **state)
{
    struct ledger_cell notice;
    struct err e;
    (void)state;
    struct ledger_vm *vm = add_row("mf-c28ee50a-t-a", "");
    memcpy(vm->class_name, "narrow", sizeof "narrow");
    sweep_times(2);
    assert_int_equal(vm->state, VM_BUSY);
    assert_int_equal(
        ledger_cell_get(world.ledger, LEDGER_KIND_NOTICE, "sweep: narrow", &notice, &e), 0);
    assert_non_null(strstr(notice.value, "class narrow no longer has the image"));
    world_pass(vm->deadline_ms - clock_wall_ms() + 2 * SECOND_MS);
    sweep_times(1);
    assert_int_equal(vm->state, VM_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(each_target_is_listed_by_itself),
        CASE(vm_without_a_row_gets_one_of_its_target),
        CASE(deadline_is_kept_at_the_vms_own_target),
        CASE(deadline_of_a_former_vm_is_kept_where_the_class_launched),
        CASE(target_that_is_lost_says_nothing_about_its_vms),
        CASE(vm_without_a_row_gets_one_while_another_target_is_lost),
        CASE(vm_at_another_classs_target_is_gone_after_its_deadline),
        CASE(vm_where_its_class_launched_before_is_gone_after_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
