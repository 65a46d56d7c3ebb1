/* The warning about host-bound VMs on a queue that divides its lanes. */
#include "common/ledger/programs.h"
#include "tests/unit/worker/world.h"
#include "worker/neighbours.h"

static bool partitioned;

bool __wrap_queue_can(const struct queue *q, enum queue_capability c);

bool __wrap_queue_can(const struct queue *q, enum queue_capability c)
{
    assert_ptr_equal(q, world.worker.queue);
    return c == QUEUE_PARTITIONED && partitioned;
}

static void report(const char *program, const char *host)
{
    int64_t version = 0;
    struct ledger_program p = {.version = "1", .oldest_format = 1, .newest_format = 1};
    struct err e;
    (void)snprintf(p.id, sizeof p.id, "%s/%s/%p", program, host, (const void *)host);
    MUST(ledger_program_beat(world.worker.ledger, &p, &version, &e));
}

static void only_workers_of_other_hosts_on_such_a_queue_are_warned_of(void **state)
{
    (void)state;
    partitioned = true;
    assert_false(neighbours_check(&world.worker, world.config));
    report("mayfly-worker", fleet_host(world.worker.fleet)); /* this host */
    report("mayfly-reaper", "elsewhere");
    assert_false(neighbours_check(&world.worker, world.config));
    report("mayfly-worker", "elsewhere");
    assert_true(neighbours_check(&world.worker, world.config));
    partitioned = false;
    assert_false(neighbours_check(&world.worker, world.config));
    partitioned = true;
    world_fail("ledger_cell_list", ERR_RETRY);
    assert_false(neighbours_check(&world.worker, world.config));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_workers_of_other_hosts_on_such_a_queue_are_warned_of,
                                        world_set_up, world_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
