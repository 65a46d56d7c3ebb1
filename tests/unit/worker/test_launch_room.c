/* Launches on a host that has no room: the class's VMs run on this host. */
#include "tests/unit/worker/launch_bed.h"

static int set_up(void **state)
{
    (void)state;
    return launch_bed_set_up("small");
}

static void launch_small(void)
{
    world_put_queued("launch.small", "small", 42);
    launch_bed_next("launch.small", 0);
}

/* Until a VM of the host ends; and nothing was registered for it. */
static void launch_on_a_full_host_waits_and_spends_nothing(void **state)
{
    struct circuit c;
    struct err e;
    const char *host = lane.subjects.names[SUBJECT_HOST];
    (void)state;
    calls_plan(&(struct call_plan){.function = "vm_room", .fails = ERR_CAPACITY, .times = 1});
    launch_small();
    assert_int_equal(calls_count("github_register_runner", NULL), 0);
    assert_int_equal(calls_count("vm_run", NULL), 0);
    assert_int_equal(calls_done("queue_nack", "reason=room (waits for host:"), 1);
    assert_int_equal(calls_count("queue_nack", "spent"), 0);
    MUST(circuit_load(world.worker.ledger, host, &c, &e));
    assert_true(circuit_wait_ms(&c, world.now_ms) > 0);
    circuits_host_freed(world.worker.circuits, fleet_host(world.worker.fleet));
    MUST(circuit_load(world.worker.ledger, host, &c, &e));
    assert_int_equal(circuit_wait_ms(&c, world.now_ms), 0);
    launch_small();
    assert_int_equal(calls_done("queue_ack", NULL), 1);
    assert_int_equal(calls_count("vm_room_release", NULL), 0);
}

/* Its run would have taken it. */
static void room_of_a_launch_that_fails_before_its_run_is_released(void **state)
{
    (void)state;
    calls_plan(&(struct call_plan){.function = "github_register_runner", .fails = ERR_RETRY});
    launch_small();
    assert_int_equal(calls_count("vm_run", NULL), 0);
    assert_int_equal(calls_count("vm_room_release", NULL), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, launch_bed_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_on_a_full_host_waits_and_spends_nothing),
        CASE(room_of_a_launch_that_fails_before_its_run_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
