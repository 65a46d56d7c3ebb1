/*
 * What a step costs on DynamoDB, what it leaves of an item that a newer version wrote, and how it
 * fails at one that is no row.
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

static int reserve(struct dynamo_fixture *f, const char *vm_name, struct ledger_reservation *out,
                   struct err *e)
{
    struct job_event ev = way_event(2, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve r = {.request = &request,
                               .scope = "octo",
                               .caps = way_caps(),
                               .deployment = "test",
                               .provider = "qemu",
                               .host = "box",
                               .target = ""};
    return ledger_ops_dynamo.reserve(f->d, &r, vm_name, vm_name, out, e);
}

static void row_that_is_none_is_an_error_and_left_alone(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_dynamo_key key = ledger_dynamo_job_key(f->d, 2);
    struct job_event ev = way_event(2, JOB_ACTION_COMPLETED, "");
    struct ledger_effect effect;
    struct ledger_job job;
    struct ledger_vm vm;
    struct ledger_reservation out = {.wait_ms = 5};
    struct err e;
    dynamo_fixture_add(f, key, "state", 99);
    dynamo_fixture_add(f, ledger_dynamo_vm_key(f->d, "mf-test"), "state", 99);
    must_fail(ledger_job_get(f->l, 2, &job, &e), &e, ERR_PERMANENT);
    must_fail(ledger_apply_event(f->l, &ev, "octo", &effect, &e), &e, ERR_PERMANENT);
    must_fail(reserve(f, "mf-other", &out, &e), &e, ERR_PERMANENT);
    assert_int_equal(out.wait_ms, 5);
    must_fail(ledger_vm_get(f->l, "mf-test", &vm, &e), &e, ERR_PERMANENT);
    must_fail(ledger_vm_heartbeat(f->l, "mf-test", &e), &e, ERR_PERMANENT);
    assert_int_equal(dynamo_fixture_number(f, key, "state"), 99);
}

static void name_that_is_taken_is_a_conflict(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_vm vm = way_reserve(f->l, 1, way_caps()).vm;
    struct ledger_reservation out = {.wait_ms = 5};
    struct ledger_job job;
    struct err e;
    must_fail_saying(reserve(f, vm.name, &out, &e), &e, ERR_CONFLICT, vm.name);
    assert_int_equal(out.wait_ms, 5);
    must_fail(ledger_job_get(f->l, 2, &job, &e), &e, ERR_NOT_FOUND);
}

static void row_that_others_change_time_and_again_is_given_up(void **state)
{
    struct dynamo_fixture *f = *state;
    char url[600];
    int64_t n = 5;
    struct err e;
    (void)snprintf(url, sizeof url, "%s&timeout=300ms", f->url);
    struct ledger *hasty = dynamo_fixture_open(url);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\",\"reasons\":["
                          "\"ConditionalCheckFailed\"]}");
    must_fail_saying(ledger_counter_add(hasty, "opens", 1, &n, &e), &e, ERR_RETRY,
                     "not through within its time");
    assert_int_equal(n, 5);
    ledger_close(hasty);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(launch_and_completed_are_few_round_trips),
        DYNAMO_TEST(lease_is_renewed_in_two_requests_and_looked_at_without_a_write),
        DYNAMO_TEST(attributes_of_a_newer_version_are_kept),
        DYNAMO_TEST(row_that_is_none_is_an_error_and_left_alone),
        DYNAMO_TEST(name_that_is_taken_is_a_conflict),
        DYNAMO_TEST(row_that_others_change_time_and_again_is_given_up),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("steps on dynamodb", tests, NULL, NULL);
}
