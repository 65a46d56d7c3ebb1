/*
 * Another's step between what a step of the DynamoDB ledger read and what it writes: each is made
 * to happen there, by holding the first one's transaction up in the stand-in.
 */
#include "tests/unit/ledger/test_ledger_dynamo.h"

#include <pthread.h>

/* Long enough for the other's step; a slow machine that needs longer fails the test, not hides. */
#define HELD_UP "[{\"operation\":\"%s\",\"delay_ms\":2000,\"times\":1}]"

struct first {
    struct dynamo_fixture *f;
    int64_t job_id;
    struct ledger_caps caps;
    struct ledger_reservation out;
    int rc;
    struct err e;
    int64_t faults_before;
    pthread_t thread;
};

static int reserve(struct ledger_dynamo *d, int64_t job_id, const struct ledger_caps *caps,
                   struct ledger_reservation *out, struct err *e)
{
    struct job_event ev = way_event(job_id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve ask = {.request = &request,
                                 .scope = "octo",
                                 .caps = *caps,
                                 .deployment = "test",
                                 .provider = "qemu",
                                 .host = "box",
                                 .target = "east-1"};
    char name[48];
    (void)snprintf(name, sizeof name, "mf-test-small-%lld", (long long)job_id);
    return ledger_ops_dynamo.reserve(d, &ask, name, name, out, e);
}

static void *reserve_first(void *arg)
{
    struct first *a = arg;
    a->rc = reserve(a->f->d, a->job_id, &a->caps, &a->out, &a->e);
    return NULL;
}

/* Returns when the operation has come to the stand-in, and waits there. */
static void begin_held_up(struct first *a, struct dynamo_fixture *f, int64_t job_id,
                          struct ledger_caps caps, const char *operation)
{
    char faults[128];
    (void)snprintf(faults, sizeof faults, HELD_UP, operation);
    *a = (struct first){.f = f, .job_id = job_id, .caps = caps};
    a->faults_before = dynamo_fixture_counter("faulted");
    dynamo_fixture_faults(faults);
    assert_int_equal(pthread_create(&a->thread, NULL, reserve_first, a), 0);
    while (dynamo_fixture_counter("faulted") == a->faults_before) {
    }
}

static void begin_reserving(struct first *a, struct dynamo_fixture *f, int64_t job_id,
                            struct ledger_caps caps)
{
    begin_held_up(a, f, job_id, caps, "TransactWriteItems");
}

static enum ledger_outcome outcome_of(struct first *a)
{
    assert_int_equal(pthread_join(a->thread, NULL), 0);
    must_succeed(a->rc, &a->e, "reserve");
    return a->out.outcome;
}

/* --- a lost answer, and another that built on what it was about --- */
struct adding {
    struct ledger *l;
    int64_t result;
    int rc;
    struct err e;
    pthread_t thread;
};

static void *add_five(void *arg)
{
    struct adding *a = arg;
    a->rc = ledger_counter_add(a->l, "cursor", 5, &a->result, &a->e);
    return NULL;
}

/* The row no longer bears the mark of the step whose answer was lost: DynamoDB's token alone tells
 * that it was made. */
static void lost_work_that_another_built_on_is_known_by_its_token(void **state)
{
    struct dynamo_fixture *f = *state;
    struct adding a = {.l = f->l};
    struct ledger *other = dynamo_fixture_open(f->url);
    int64_t number = 0;
    struct err e;
    dynamo_fixture_faults("[{\"operation\":\"TransactWriteItems\",\"late_ms\":2000,"
                          "\"drop\":true,\"times\":1}]");
    assert_int_equal(pthread_create(&a.thread, NULL, add_five, &a), 0);
    while (number == 0) {
        MUST(ledger_counter_get(other, "cursor", &number, &e));
    }
    MUST(ledger_counter_add(other, "cursor", 2, &number, &e));
    assert_int_equal(number, 7);
    assert_int_equal(pthread_join(a.thread, NULL), 0);
    must_succeed(a.rc, &a.e, "ledger_counter_add");
    assert_int_equal(a.result, 5);
    MUST(ledger_counter_get(f->l, "cursor", &number, &e));
    assert_int_equal(number, 7);
    ledger_close(other);
}

static struct ledger_dynamo_key pair_key(const struct dynamo_fixture *f)
{
    return ledger_dynamo_pair_key(f->d, "octo", "small");
}

static void supply_that_came_meanwhile_satisfies(void **state)
{
    struct dynamo_fixture *f = *state;
    struct first a;
    dynamo_fixture_add(f, pair_key(f), "d", 0);
    dynamo_fixture_add(f, pair_key(f), "s", 0);
    begin_reserving(&a, f, 1, way_caps());
    dynamo_fixture_add(f, pair_key(f), "s", 1);
    assert_int_equal(outcome_of(&a), LEDGER_SATISFIED);
    assert_int_equal(way_used(f->l), 0);
    assert_int_equal(dynamo_fixture_number(f, pair_key(f), "d"), 1);
}

static void supply_that_came_meanwhile_satisfies_a_job_that_waited(void **state)
{
    struct dynamo_fixture *f = *state;
    struct first a;
    way_note(f->l, 1, JOB_ACTION_QUEUED, "");
    begin_reserving(&a, f, 1, way_caps());
    dynamo_fixture_add(f, pair_key(f), "s", 1);
    assert_int_equal(outcome_of(&a), LEDGER_SATISFIED);
    assert_int_equal(way_used(f->l), 0);
}

static void surplus_that_another_counted_on_launches(void **state)
{
    struct dynamo_fixture *f = *state;
    struct first a;
    (void)way_reserve(f->l, 10, way_caps());
    way_note(f->l, 10, JOB_ACTION_COMPLETED, ""); /* its VM is surplus */
    begin_reserving(&a, f, 1, way_caps());
    assert_int_equal(way_reserve(f->l, 2, way_caps()).outcome, LEDGER_SATISFIED);
    assert_int_equal(outcome_of(&a), LEDGER_RESERVED);
    assert_int_equal(way_used(f->l), 2);
}

static void last_slot_that_went_meanwhile_is_not_given_again(void **state)
{
    static const enum ledger_outcome full[] = {LEDGER_FULL_FLEET, LEDGER_FULL_CLASS,
                                               LEDGER_FULL_REPOSITORY, LEDGER_FULL_TARGET};
    struct dynamo_fixture *f = *state;
    for (int64_t kind = 0; kind < (int64_t)COUNT_OF(full); kind++) {
        struct ledger_caps caps = way_caps();
        struct first a;
        caps.fleet = kind == 0 ? 1 : caps.fleet;
        caps.class_max = kind == 1 ? 2 : caps.class_max;
        caps.repository = kind == 2 ? 3 : 0;
        caps.target_max = kind == 3 ? 4 : 0;
        begin_reserving(&a, f, 1 + 10 * kind, caps);
        assert_int_equal(way_reserve_in(f->l, 2 + 10 * kind, "east-1", caps).outcome,
                         LEDGER_RESERVED);
        assert_int_equal(outcome_of(&a), full[kind]);
        assert_int_equal(way_used(f->l), kind + 1);
    }
}

/* Both saw it; the first one's write of the bucket comes too late. */
static void last_token_that_went_meanwhile_is_not_given_again(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_caps caps = way_caps();
    struct ledger_reservation out;
    struct first a;
    void *other = NULL;
    struct err e;
    caps.rate_per_second = 0.0001;
    caps.rate_burst = 2;
    MUST(ledger_ops_dynamo.open(f->url, false, &other, &e));
    struct ledger_dynamo *second = other;
    MUST(reserve(second, 10, &caps, &out, &e));
    begin_held_up(&a, f, 1, caps, "PutItem");
    MUST(reserve(second, 2, &caps, &out, &e));
    assert_int_equal(out.outcome, LEDGER_RESERVED);
    assert_int_equal(outcome_of(&a), LEDGER_RATE);
    assert_int_equal(way_used(f->l), 2);
    ledger_ops_dynamo.close(other);
}

/* A job that another moved on: the row is not what was read. The launch's token is given back. */
static void job_that_was_cancelled_meanwhile_stays_so(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_dynamo_key bucket = ledger_dynamo_key(f->d, "bucket", "launch@east-1");
    struct ledger_caps caps = way_caps();
    struct ledger_job job;
    struct first a;
    struct err e;
    caps.rate_per_second = 0.0001;
    caps.rate_burst = 2;
    begin_reserving(&a, f, 1, caps);
    assert_int_equal(dynamo_fixture_number(f, bucket, "tokens"), 1);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, "");
    assert_int_equal(outcome_of(&a), LEDGER_OBSOLETE);
    MUST(ledger_job_get(f->l, 1, &job, &e));
    assert_int_equal(job.state, JOB_CANCELLED);
    assert_int_equal(way_used(f->l), 0);
    assert_int_equal(dynamo_fixture_number(f, bucket, "tokens"), 2);
}

/* What was freed between two reads counts: the fleet is not called full for it. */
static void slot_freed_while_caps_were_looked_at_is_used(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_caps caps = way_caps();
    struct ledger_reservation r = way_reserve(f->l, 1, caps);
    struct first a;
    way_end(f->l, r.vm.name, VM_ENDING);
    caps.fleet = 1;
    int64_t before = dynamo_fixture_counter("faulted");
    dynamo_fixture_faults("[{\"operation\":\"BatchGetItem\",\"late_ms\":2000,\"times\":1}]");
    a = (struct first){.f = f, .job_id = 2, .caps = caps};
    assert_int_equal(pthread_create(&a.thread, NULL, reserve_first, &a), 0);
    while (dynamo_fixture_counter("faulted") == before) {
    }
    way_end(f->l, r.vm.name, VM_GONE);
    assert_int_equal(outcome_of(&a), LEDGER_RESERVED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(lost_work_that_another_built_on_is_known_by_its_token),
        DYNAMO_TEST(supply_that_came_meanwhile_satisfies),
        DYNAMO_TEST(supply_that_came_meanwhile_satisfies_a_job_that_waited),
        DYNAMO_TEST(surplus_that_another_counted_on_launches),
        DYNAMO_TEST(last_slot_that_went_meanwhile_is_not_given_again),
        DYNAMO_TEST(last_token_that_went_meanwhile_is_not_given_again),
        DYNAMO_TEST(job_that_was_cancelled_meanwhile_stays_so),
        DYNAMO_TEST(slot_freed_while_caps_were_looked_at_is_used),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on DynamoDB: in between", tests, NULL, NULL);
}
