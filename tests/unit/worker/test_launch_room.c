/* Launches on a host that has no room: the class's VMs run on this host. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/worker/world.h"

#include "common/job/launch_request.h"
#include "worker/heartbeat.h"
#include "worker/lane.h"
#include "worker/launch.h"

struct lane {
    struct subjects subjects;
};

static struct lane lane;

void lane_reservation_ended(struct lane *l)
{
    assert_ptr_equal(l, &lane);
}

const struct subjects *lane_subjects(const struct lane *l)
{
    return &l->subjects;
}

int64_t lane_known_since_ms(const struct lane *l)
{
    (void)l;
    return 0;
}

static int set_up(void **state)
{
    int rc = world_set_up(state);
    subjects_of_class(config_class_by_name(world.config, SLICE("small")),
                      fleet_provider(world.worker.fleet, "small"), fleet_host(world.worker.fleet),
                      &lane.subjects);
    world.worker.heartbeat = heartbeat_new(&world.worker);
    return rc;
}

static int tear_down(void **state)
{
    heartbeat_free(world.worker.heartbeat);
    return world_tear_down(state);
}

static void launch_small(void)
{
    struct job_event ev = {.action = JOB_ACTION_QUEUED,
                           .status = "queued",
                           .job = {.id = 42,
                                   .run_id = 1,
                                   .run_attempt = 1,
                                   .installation_id = 11,
                                   .repository = "acme/app",
                                   .organization = "acme",
                                   .class_name = "small"}};
    struct launch_request request = launch_request_of(&ev);
    struct buf body;
    buf_init(&body, 65536);
    launch_request_encode(&request, 1, &body);
    world_put("launch.small", body.data);
    buf_fini(&body);
    struct queue_message m = world_take("launch.small");
    launch(&world.worker, &lane, world.config, &m);
    queue_message_fini(&m);
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(launch_on_a_full_host_waits_and_spends_nothing),
        CASE(room_of_a_launch_that_fails_before_its_run_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
