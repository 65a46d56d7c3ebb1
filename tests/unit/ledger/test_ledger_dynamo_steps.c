/*
 * What a step costs on DynamoDB, and what it leaves of an item that a newer version wrote.
 */
#include "tests/unit/ledger/test_ledger_dynamo.h"

/* --- round trips: a read and a write for each step --- */
static int64_t writes_made(void)
{
    return dynamo_fixture_calls("TransactWriteItems") + dynamo_fixture_calls("PutItem") +
           dynamo_fixture_calls("UpdateItem") + dynamo_fixture_calls("DeleteItem");
}

static int64_t requests_made(void)
{
    return writes_made() + dynamo_fixture_calls("BatchGetItem") + dynamo_fixture_calls("GetItem") +
           dynamo_fixture_calls("Query");
}

static void launch_and_completed_are_few_round_trips(void **state)
{
    struct dynamo_fixture *f = *state;
    int64_t before = requests_made();
    struct ledger_vm vm = way_launch(f->l, 1);
    assert_int_equal(requests_made() - before, 10); /* of 5 steps */
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, vm.name);
    before = requests_made();
    way_complete(f->l, 1, vm.name);
    assert_int_equal(requests_made() - before, 6); /* of 3 steps */
}

static void lease_is_renewed_in_two_requests_and_looked_at_without_a_write(void **state)
{
    struct dynamo_fixture *f = *state;
    bool held;
    int64_t fence;
    struct err e;
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &fence, &e));
    int64_t before = requests_made();
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &fence, &e));
    assert_true(held);
    assert_int_equal(requests_made() - before, 2);
    before = requests_made();
    int64_t writes = writes_made();
    MUST(ledger_lease(f->l, "sweep", "b", 60000, &held, &fence, &e));
    assert_false(held);
    assert_int_equal(requests_made() - before, 1);
    assert_int_equal(writes_made(), writes);
}

static void attributes_of_a_newer_version_are_kept(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    dynamo_fixture_add(f, ledger_dynamo_job_key(f->d, 1), "future", 5);
    dynamo_fixture_add(f, ledger_dynamo_vm_key(f->d, r.vm.name), "future", 7);
    way_bring(f->l, r.vm.name, VM_LAUNCHED);
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, r.vm.name);
    assert_int_equal(dynamo_fixture_number(f, ledger_dynamo_vm_key(f->d, r.vm.name), "future"), 7);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, r.vm.name);
    way_end(f->l, r.vm.name, VM_GONE);
    assert_int_equal(dynamo_fixture_number(f, ledger_dynamo_job_key(f->d, 1), "future"), 5);
    assert_int_equal(dynamo_fixture_number(f, ledger_dynamo_gone_key(f->d, r.vm.name), "future"),
                     7);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(launch_and_completed_are_few_round_trips),
        DYNAMO_TEST(lease_is_renewed_in_two_requests_and_looked_at_without_a_write),
        DYNAMO_TEST(attributes_of_a_newer_version_are_kept),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("steps on dynamodb", tests, NULL, NULL);
}
