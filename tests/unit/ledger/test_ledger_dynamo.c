/*
 * What only the DynamoDB ledger has: answers that are lost, throttling, transactions that meet,
 * answers in part; a table that is not its own; what its counters are kept in.
 */
#include "tests/unit/ledger/test_ledger_dynamo.h"

#include <pthread.h>

#include "common/base/clock.h"

#define LOST "\"drop\":true,\"work\":true" /* the work is done, the answer never comes */

static struct ledger_dynamo_key slots_key(const struct dynamo_fixture *f)
{
    return ledger_dynamo_key(f->d, "slots", "main");
}

static struct ledger_dynamo_key pair_key(const struct dynamo_fixture *f)
{
    return ledger_dynamo_pair_key(f->d, "octo", "small");
}

/* --- lost answers --- */
static void lost_answers_double_nothing(void **state)
{
    struct dynamo_fixture *f = *state;
    int64_t number = 0;
    struct err e;
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\"," LOST ",\"times\":1}");
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    assert_int_equal(way_used(f->l), 1);
    assert_int_equal(dynamo_fixture_number(f, pair_key(f), "d"), 1);
    assert_int_equal(dynamo_fixture_number(f, pair_key(f), "s"), 1);
    assert_int_equal(way_lines(f->l, 1, "reserved"), 1);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\"," LOST ",\"times\":2}");
    way_bring(f->l, r.vm.name, VM_GONE);
    MUST(ledger_release_seq(f->l, &number, &e));
    assert_int_equal(number, 1);
    assert_int_equal(way_used(f->l), 0);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\"," LOST ",\"times\":1}");
    MUST(ledger_counter_add(f->l, "cursor", 5, &number, &e));
    assert_int_equal(number, 5);
    MUST(ledger_counter_get(f->l, "cursor", &number, &e));
    assert_int_equal(number, 5);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\"," LOST ",\"times\":1}");
    MUST(ledger_log_event(f->l, 1, "", "retry", "once", &e));
    assert_int_equal(way_lines(f->l, 1, "retry"), 1);
}

/* What only speaks DynamoDB's protocol may not know its tokens, and DynamoDB forgets them. */
static void work_of_a_lost_answer_is_known_by_its_row_too(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_dynamo_txn t;
    struct ledger_dynamo_expr x;
    struct buf attributes;
    struct ledger_dynamo_key key = ledger_dynamo_key(f->d, "mark", "m");
    bool done = false;
    struct err e;
    ledger_dynamo_begin(&t, f->d);
    ledger_dynamo_expr_init(&x);
    buf_init(&attributes, 1024);
    ledger_dynamo_put_text(&attributes, "version", t.version);
    MUST(ledger_dynamo_put_one(f->d, &key, &attributes, "", &done, &e)); /* as if sent before */
    ledger_dynamo_if_version(&x, "");
    ledger_dynamo_put(&t, &key, &attributes, &x);
    t.proof = key;
    done = false;
    MUST(ledger_dynamo_commit(&t, &done, &e));
    assert_true(done);
    buf_fini(&attributes);
    ledger_dynamo_expr_fini(&x);
    ledger_dynamo_end(&t);
}

static void lost_answers_of_single_items_are_found_done(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_bucket b = {.name = "github:1", .per_second = 0.001, .burst = 5};
    bool held = false;
    int64_t number;
    int64_t again;
    struct err e;
    dynamo_fixture_faults("{\"operation\":\"PutItem\"," LOST ",\"times\":1}");
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &number, &e));
    assert_true(held);
    assert_int_equal(number, 1);
    MUST(ledger_lease(f->l, "sweep", "b", 60000, &held, &again, &e));
    assert_false(held);
    dynamo_fixture_faults("{\"operation\":\"PutItem\"," LOST ",\"times\":1}");
    MUST(ledger_lease_release(f->l, "sweep", "a", &e));
    MUST(ledger_lease(f->l, "sweep", "b", 60000, &held, &again, &e));
    assert_true(held);
    assert_int_equal(again, 2);
    dynamo_fixture_faults("{\"operation\":\"PutItem\"," LOST ",\"times\":1}");
    MUST(ledger_rate_take(f->l, &b, 2, &number, &e)); /* twice at worst, never too little */
    assert_int_equal(number, 0);
    MUST(ledger_rate_take(f->l, &b, 4, &number, &e));
    assert_true(number > 0);
}

/* --- reads that are late --- */
static void decisions_see_what_was_just_written(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_caps one = {.fleet = 1, .class_max = 1};
    struct ledger_bucket b = {.name = "github:1", .per_second = 0.001, .burst = 1};
    struct ledger_balance *balances = NULL;
    struct ledger_vm *vms = NULL;
    size_t n = 0;
    int64_t number = 0;
    bool held = false;
    struct err e;
    dynamo_fixture_lag(60000);
    struct ledger_reservation r = way_reserve(f->l, 1, one);
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    assert_int_equal(way_reserve(f->l, 2, one).outcome, LEDGER_FULL_FLEET);
    assert_int_equal(way_used(f->l), 1);
    MUST(ledger_vm_list(f->l, 1U << VM_RESERVED, "", 10, &vms, &n, &e));
    free(vms);
    assert_int_equal(n, 1);
    MUST(ledger_balances(f->l, &balances, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(balances[0].demand, 2);
    free(balances);
    assert_int_equal(way_lines(f->l, 1, "reserved"), 1);
    way_bring(f->l, r.vm.name, VM_GONE);
    assert_int_equal(way_reserve(f->l, 2, one).outcome, LEDGER_RESERVED);
    MUST(ledger_rate_take(f->l, &b, 1, &number, &e));
    assert_int_equal(number, 0);
    MUST(ledger_rate_take(f->l, &b, 1, &number, &e));
    assert_true(number > 0);
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &number, &e));
    MUST(ledger_lease(f->l, "sweep", "b", 60000, &held, &number, &e));
    assert_false(held);
}

/* --- throttling, and transactions that meet --- */
static void throttled_and_cancelled_steps_come_through(void **state)
{
    struct dynamo_fixture *f = *state;
    int64_t fence;
    bool held = false;
    struct err e;
    dynamo_fixture_faults(
        "[{\"operation\":\"TransactWriteItems\",\"preset\":\"throttle\",\"times\":2},"
        "{\"operation\":\"TransactWriteItems\",\"reasons\":[\"None\",\"TransactionConflict\"],"
        "\"times\":2},"
        "{\"operation\":\"TransactWriteItems\",\"preset\":\"in-progress\",\"times\":1},"
        "{\"operation\":\"TransactWriteItems\",\"preset\":\"internal\",\"times\":1},"
        "{\"operation\":\"TransactWriteItems\",\"drop\":\"before\",\"times\":1},"
        "{\"operation\":\"TransactWriteItems\",\"reasons\":[\"ThrottlingError\"],\"times\":1},"
        "{\"operation\":\"BatchGetItem\",\"preset\":\"throttling-exception\",\"times\":2},"
        "{\"operation\":\"BatchGetItem\",\"unprocessed\":3,\"times\":2},"
        "{\"operation\":\"Query\",\"preset\":\"request-limit\",\"times\":1},"
        "{\"operation\":\"PutItem\",\"preset\":\"conflict\",\"times\":1}]");
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    assert_int_equal(r.outcome, LEDGER_RESERVED);
    way_bring(f->l, r.vm.name, VM_BUSY);
    MUST(ledger_lease(f->l, "sweep", "a", 60000, &held, &fence, &e));
    assert_true(held);
    assert_int_equal(way_used(f->l), 1);
    assert_int_equal(dynamo_fixture_number(f, slots_key(f), "f"), 1);
    assert_int_equal(dynamo_fixture_number(f, pair_key(f), "s"), 0);
}

/* A launch does not hear of them: they are within the time of its step. */
static void conflicts_of_a_reservation_are_tried_again_and_cost_one_token(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_caps caps = way_caps();
    caps.rate_per_second = 0.0001;
    caps.rate_burst = 4;
    int64_t before = dynamo_fixture_calls("TransactWriteItems");
    dynamo_fixture_faults("[{\"operation\":\"TransactWriteItems\",\"reasons\":[\"None\","
                          "\"TransactionConflict\"],\"times\":20},"
                          "{\"operation\":\"PutItem\",\"preset\":\"conflict\",\"times\":4}]");
    assert_int_equal(way_reserve(f->l, 1, caps).outcome, LEDGER_RESERVED);
    assert_int_equal(dynamo_fixture_calls("TransactWriteItems") - before, 21);
    assert_int_equal(way_used(f->l), 1);
    assert_int_equal(
        dynamo_fixture_number(f, ledger_dynamo_key(f->d, "bucket", "launch"), "tokens"), 3);
}

static void all_items_of_a_batch_come_however_few_at_a_time(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_dynamo_key keys[130];
    struct ledger_dynamo_got got;
    struct err e;
    for (int i = 0; i < (int)COUNT_OF(keys); i++) {
        keys[i] = ledger_dynamo_key(f->d, "test", "%d", i);
        if (i % 3 != 0) {
            dynamo_fixture_add(f, keys[i], "n", i);
        }
    }
    dynamo_fixture_faults("{\"operation\":\"BatchGetItem\",\"unprocessed\":60,\"times\":2}");
    MUST(ledger_dynamo_get(f->d, keys, COUNT_OF(keys), &got, &e));
    assert_int_equal(got.count, COUNT_OF(keys));
    for (int i = 0; i < (int)COUNT_OF(keys); i++) {
        assert_int_equal(ledger_dynamo_read_number(got.items[i], "n"), i % 3 != 0 ? i : 0);
        assert_int_equal(got.items[i] != NULL, i % 3 != 0);
    }
    ledger_dynamo_got_fini(&got);
}

/* DynamoDB refuses a batch with a key twice; the index may tell a row that moves in it twice. */
static void key_that_is_asked_for_twice_is_read_once(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_dynamo_key keys[3];
    struct ledger_dynamo_got got;
    struct err e;
    for (int i = 0; i < (int)COUNT_OF(keys); i++) {
        keys[i] = ledger_dynamo_key(f->d, "test", "%d", i % 2);
        dynamo_fixture_add(f, keys[i], "n", 1);
    }
    MUST(ledger_dynamo_get(f->d, keys, COUNT_OF(keys), &got, &e));
    assert_int_equal(ledger_dynamo_read_number(got.items[0], "n"), 2);
    assert_int_equal(ledger_dynamo_read_number(got.items[1], "n"), 1);
    assert_null(got.items[2]);
    ledger_dynamo_got_fini(&got);
}

static void table_that_stays_throttled_is_told_and_nothing_is_done(void **state)
{
    struct dynamo_fixture *f = *state;
    char url[600];
    struct ledger_effect effect;
    struct job_event ev = way_event(1, JOB_ACTION_QUEUED, "");
    struct ledger_job job;
    struct err e;
    (void)snprintf(url, sizeof url, "%s&timeout=300ms", f->url);
    struct ledger *hasty = dynamo_fixture_open(url);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\",\"preset\":\"throttle\"}");
    must_fail_saying(ledger_apply_event(hasty, &ev, "octo", &effect, &e), &e, ERR_THROTTLED,
                     "TransactWriteItems");
    dynamo_fixture_faults(NULL);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\",\"reasons\":["
                          "\"TransactionConflict\"]}");
    must_fail_saying(ledger_apply_event(hasty, &ev, "octo", &effect, &e), &e, ERR_RETRY,
                     "not through within its time");
    dynamo_fixture_faults(NULL);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\",\"reasons\":["
                          "\"TransactionConflict\",\"ProvisionedThroughputExceeded\"]}");
    must_fail_saying(ledger_apply_event(hasty, &ev, "octo", &effect, &e), &e, ERR_THROTTLED,
                     "ProvisionedThroughputExceeded");
    assert_true(e.retry_after_ms > 0);
    dynamo_fixture_faults(NULL);
    dynamo_fixture_faults("{\"operation\":\"BatchGetItem\",\"unprocessed\":100}");
    must_fail_saying(ledger_job_get(hasty, 1, &job, &e), &e, ERR_THROTTLED, "throughput");
    dynamo_fixture_faults(NULL);
    dynamo_fixture_faults("{\"operation\":\"TransactWriteItems\",\"times\":1,\"reasons\":["
                          "\"ConditionalCheckFailed\",\"ValidationError\"]}");
    must_fail_saying(ledger_apply_event(hasty, &ev, "octo", &effect, &e), &e, ERR_AUTH,
                     "ValidationError");
    dynamo_fixture_faults(NULL);
    must_fail_saying(ledger_job_get(f->l, 1, &job, &e), &e, ERR_NOT_FOUND, "1");
    dynamo_fixture_faults("{\"operation\":\"*\",\"preset\":\"denied\"}");
    must_fail_saying(ledger_job_get(f->l, 1, &job, &e), &e, ERR_AUTH, "BatchGetItem");
    dynamo_fixture_faults(NULL);
    ledger_close(hasty);
}

/* --- many at once, with everything going wrong --- */
#define CAP 3
#define LIVES 6

struct racer {
    const char *url;
    int64_t first_id;
    int64_t most; /* slots seen in use */
    struct err e;
    int rc;
    pthread_t thread;
};

static int reserve_until_decided(struct ledger *l, struct racer *r, int64_t id,
                                 struct ledger_reservation *out)
{
    struct job_event ev = way_event(id, JOB_ACTION_QUEUED, "");
    struct ledger_caps caps = {.fleet = CAP, .class_max = CAP, .repository = CAP};
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve ask = {.request = &request,
                                 .scope = "octo",
                                 .caps = caps,
                                 .deployment = "test",
                                 .provider = "qemu",
                                 .host = "box"};
    do {
        struct ledger_capacity room;
        if (ledger_reserve(l, &ask, out, &r->e) != 0 ||
            ledger_capacity(l, "small", &caps, &room, &r->e) != 0) {
            return -1;
        }
        r->most = room.fleet_used > r->most ? room.fleet_used : r->most;
    } while (out->outcome >= LEDGER_FULL_FLEET);
    return 0;
}

static int live(struct ledger *l, struct racer *r, int64_t id)
{
    struct ledger_reservation got;
    struct ledger_effect effect;
    if (reserve_until_decided(l, r, id, &got) != 0) {
        return -1;
    }
    const char *vm = got.outcome == LEDGER_RESERVED ? got.vm.name : "";
    struct job_event begins = way_event(id, JOB_ACTION_IN_PROGRESS, vm);
    struct job_event ends = way_event(id, JOB_ACTION_COMPLETED, vm);
    struct ledger_advance gone = {.vm = vm, .to = VM_GONE};
    if (vm[0] != '\0' && ledger_apply_event(l, &begins, "octo", &effect, &r->e) != 0) {
        return -1;
    }
    if (ledger_apply_event(l, &ends, "octo", &effect, &r->e) != 0) {
        return -1;
    }
    return vm[0] != '\0' ? ledger_vm_advance(l, &gone, NULL, &r->e) : 0;
}

static void *race(void *arg)
{
    struct racer *r = arg;
    struct ledger *l = NULL;
    r->rc = ledger_open(r->url, &l, &r->e);
    for (int64_t i = 0; i < LIVES && r->rc == 0; i++) {
        r->rc = live(l, r, r->first_id + i);
    }
    ledger_close(l);
    return NULL;
}

static void counts_are_right_whatever_goes_wrong(void **state)
{
    struct dynamo_fixture *f = *state;
    struct racer r[4];
    int64_t freed;
    struct ledger_balance *b = NULL;
    size_t n = 0;
    struct err e;
    dynamo_fixture_faults("[{\"operation\":\"TransactWriteItems\"," LOST ",\"probability\":0.15},"
                          "{\"operation\":\"TransactWriteItems\",\"drop\":\"before\","
                          "\"probability\":0.1},"
                          "{\"operation\":\"TransactWriteItems\",\"preset\":\"throttle\","
                          "\"probability\":0.1},"
                          "{\"operation\":\"TransactWriteItems\",\"reasons\":["
                          "\"TransactionConflict\"],\"probability\":0.2},"
                          "{\"operation\":\"BatchGetItem\",\"unprocessed\":1,\"probability\":0.2}"
                          "]");
    for (size_t i = 0; i < COUNT_OF(r); i++) {
        r[i] = (struct racer){.url = f->url, .first_id = 1 + (int64_t)i * 100};
        assert_int_equal(pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(r); i++) {
        assert_int_equal(pthread_join(r[i].thread, NULL), 0);
        must_succeed(r[i].rc, &r[i].e, "race");
        assert_in_range(r[i].most, 0, CAP);
    }
    dynamo_fixture_faults(NULL);
    MUST(ledger_release_seq(f->l, &freed, &e));
    assert_int_equal(dynamo_fixture_number(f, slots_key(f), "f"), freed);
    assert_true(freed > 0 && freed <= (int64_t)COUNT_OF(r) * LIVES);
    assert_int_equal(way_used(f->l), 0);
    assert_int_equal(dynamo_fixture_number(f, ledger_dynamo_key(f->d, "repo", "octo/app"), "n"), 0);
    MUST(ledger_balances(f->l, &b, &n, &e));
    assert_int_equal(n, 0);
    free(b);
}

/* --- what the launches of many processes meet at --- */
static void step_that_changes_no_decision_leaves_hot_items_alone(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_balance *b = NULL;
    size_t n = 0;
    struct err e;
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    assert_int_equal(dynamo_fixture_number(f, pair_key(f), "n"), 1);
    way_bring(f->l, r.vm.name, VM_LAUNCHED);
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, r.vm.name);
    MUST(ledger_balances(f->l, &b, &n, &e));
    assert_int_equal(n, 0);
    free(b);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, r.vm.name);
    way_end(f->l, r.vm.name, VM_GONE);
    assert_int_equal(dynamo_fixture_number(f, pair_key(f), "n"), 1);
    assert_int_equal(dynamo_fixture_number(f, slots_key(f), "f"), 1);
    assert_int_equal(way_used(f->l), 0);
}

/* As many as the rules give. */
static void launches_that_race_for_tokens_take_no_more_than_there_are(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_caps caps = way_caps();
    struct ledger_reservation out = {.outcome = LEDGER_RATE};
    caps.rate_per_second = 0.01; /* so that no machine is slow enough to see the next token come */
    caps.rate_burst = 4;
    (void)way_reserve(f->l, 1, caps);
    int64_t given = 1;
    for (int64_t id = 2; id <= 8; id++) {
        struct job_event ev = way_event(id, JOB_ACTION_QUEUED, "");
        struct launch_request request = launch_request_of(&ev);
        struct ledger_reserve ask = {.request = &request,
                                     .scope = "octo",
                                     .caps = caps,
                                     .deployment = "test",
                                     .provider = "qemu",
                                     .host = "box",
                                     .target = ""};
        char name[40];
        struct err e;
        (void)snprintf(name, sizeof name, "mf-test-small-%lld", (long long)id);
        MUST(ledger_ops_dynamo.reserve(f->d, &ask, name, name, &out, &e));
        given += out.outcome == LEDGER_RESERVED ? 1 : 0;
    }
    assert_int_equal(out.outcome, LEDGER_RATE);
    assert_in_range(out.wait_ms, 1, 100000);
    assert_int_equal(given, 4);
    assert_int_equal(way_used(f->l), given);
}

/* --- a table that is not the ledger's --- */
static void create_other_table(struct dynamo_fixture *f, const char *name, const char *range,
                               const char *index)
{
    struct buf body;
    struct err e;
    buf_init(&body, 4096);
    buf_printf(&body,
               "{\"TableName\":\"%s\",\"BillingMode\":\"PAY_PER_REQUEST\","
               "\"AttributeDefinitions\":[{\"AttributeName\":\"pk\",\"AttributeType\":\"S\"},"
               "{\"AttributeName\":\"%s\",\"AttributeType\":\"S\"}],\"KeySchema\":["
               "{\"AttributeName\":\"pk\",\"KeyType\":\"HASH\"},"
               "{\"AttributeName\":\"%s\",\"KeyType\":\"RANGE\"}]%s}",
               name, range, range, index);
    MUST(ledger_dynamo_call(f->d, "CreateTable", &body, ledger_dynamo_deadline(f->d), NULL, NULL,
                            &e));
    buf_fini(&body);
}

static void table_of_others_is_refused_with_what_to_do(void **state)
{
    struct dynamo_fixture *f = *state;
    char name[80];
    char url[512];
    struct ledger *l = NULL;
    struct err e;
    (void)snprintf(name, sizeof name, "missing-%s", f->d->url.prefix);
    dynamo_fixture_url(name, "&create=0", url, sizeof url);
    must_fail_saying(ledger_open(url, &l, &e), &e, ERR_PERMANENT, "there is no DynamoDB");
    assert_non_null(strstr(e.message, "deploy/docs/dynamodb.md"));
    (void)snprintf(name, sizeof name, "keys-%s", f->d->url.prefix);
    create_other_table(f, name, "sort", "");
    dynamo_fixture_url(name, "", url, sizeof url);
    must_fail_saying(ledger_open(url, &l, &e), &e, ERR_PERMANENT, "its key must be pk");
    (void)snprintf(name, sizeof name, "index-%s", f->d->url.prefix);
    create_other_table(f, name, "sk", "");
    dynamo_fixture_url(name, "", url, sizeof url);
    must_fail_saying(ledger_open(url, &l, &e), &e, ERR_PERMANENT, "lacks the global index");
    assert_null(l);
}

static void newer_layout_is_left_alone(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger *l = NULL;
    struct err e;
    dynamo_fixture_add(f, ledger_dynamo_key(f->d, "meta", "meta"), "layout", 1);
    must_fail_saying(ledger_open(f->url, &l, &e), &e, ERR_PERMANENT, "upgrade");
}

/* --- what stands in the table --- */
static void only_what_ended_may_expire(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    struct ledger_dynamo_key job = ledger_dynamo_job_key(f->d, 1);
    struct ledger_dynamo_key live = ledger_dynamo_vm_key(f->d, r.vm.name);
    struct ledger_dynamo_key gone = ledger_dynamo_gone_key(f->d, r.vm.name);
    way_bring(f->l, r.vm.name, VM_BUSY);
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, r.vm.name);
    assert_int_equal(dynamo_fixture_number(f, job, "id"), 1);
    assert_int_equal(dynamo_fixture_number(f, job, "expires"), 0);
    assert_int_equal(dynamo_fixture_number(f, live, "expires"), 0);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, r.vm.name);
    assert_int_equal(dynamo_fixture_number(f, live, "expires"), 0);
    way_end(f->l, r.vm.name, VM_GONE);
    int64_t year_s = clock_wall_ms() / 1000 + 365LL * 24 * 3600;
    assert_true(dynamo_fixture_number(f, job, "expires") > year_s);
    assert_true(dynamo_fixture_number(f, gone, "expires") > year_s);
    assert_int_equal(dynamo_fixture_number(f, live, "for"), 0);
    assert_int_equal(dynamo_fixture_number(f, gone, "for"), 1);
}

static void lines_are_kept_in_a_bounded_number_of_items(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_entry *lines = NULL;
    size_t n = 0;
    int64_t removed;
    char detail[320];
    struct err e;
    way_note(f->l, 1, JOB_ACTION_QUEUED, "");
    for (int i = 1; i < 420; i++) {
        (void)snprintf(detail, sizeof detail, "no. %d", i);
        MUST(ledger_log_event(f->l, 1, "", "retry", detail, &e));
    }
    assert_in_range(dynamo_fixture_items(f, "job:1"), 2, 1 + 5 + LEDGER_DYNAMO_RING);
    MUST(ledger_timeline(f->l, 1, &lines, &n, &e));
    assert_int_equal(n, 200);
    assert_string_equal(lines[49].detail, "no. 49");
    for (size_t i = 50; i < n; i++) {
        (void)snprintf(detail, sizeof detail, "no. %zu", 420 - n + i);
        assert_string_equal(lines[i].detail, detail);
    }
    free(lines);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, "");
    MUST(ledger_tidy(f->l, clock_wall_ms() + 1000, 10, &removed, &e));
    assert_int_equal(removed, 1);
    assert_int_equal(dynamo_fixture_items(f, "job:1"), 0);
}

static void tidy_drops_counters_of_what_is_no_more(void **state)
{
    struct dynamo_fixture *f = *state;
    int64_t removed;
    struct err e;
    struct ledger_reservation r = way_reserve(f->l, 1, way_caps());
    way_bring(f->l, r.vm.name, VM_LAUNCHED);
    way_note(f->l, 1, JOB_ACTION_IN_PROGRESS, r.vm.name);
    MUST(ledger_tidy(f->l, clock_wall_ms() + 1000, 10, &removed, &e));
    assert_int_equal(dynamo_fixture_items(f, "repo"), 1);
    assert_true(dynamo_fixture_items(f, "pair") > 0);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, r.vm.name);
    way_end(f->l, r.vm.name, VM_GONE);
    MUST(ledger_tidy(f->l, clock_wall_ms() + 1000, 10, &removed, &e));
    assert_int_equal(removed, 2);
    assert_int_equal(dynamo_fixture_items(f, "repo"), 0);
    assert_int_equal(dynamo_fixture_items(f, "pair"), 0);
    assert_int_equal(way_reserve(f->l, 2, way_caps()).outcome, LEDGER_RESERVED);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(lost_answers_double_nothing),
        DYNAMO_TEST(work_of_a_lost_answer_is_known_by_its_row_too),
        DYNAMO_TEST(lost_answers_of_single_items_are_found_done),
        DYNAMO_TEST(decisions_see_what_was_just_written),
        DYNAMO_TEST(throttled_and_cancelled_steps_come_through),
        DYNAMO_TEST(conflicts_of_a_reservation_are_tried_again_and_cost_one_token),
        DYNAMO_TEST(all_items_of_a_batch_come_however_few_at_a_time),
        DYNAMO_TEST(key_that_is_asked_for_twice_is_read_once),
        DYNAMO_TEST(table_that_stays_throttled_is_told_and_nothing_is_done),
        DYNAMO_TEST(counts_are_right_whatever_goes_wrong),
        DYNAMO_TEST(step_that_changes_no_decision_leaves_hot_items_alone),
        DYNAMO_TEST(launches_that_race_for_tokens_take_no_more_than_there_are),
        DYNAMO_TEST(table_of_others_is_refused_with_what_to_do),
        DYNAMO_TEST(newer_layout_is_left_alone),
        DYNAMO_TEST(only_what_ended_may_expire),
        DYNAMO_TEST(lines_are_kept_in_a_bounded_number_of_items),
        DYNAMO_TEST(tidy_drops_counters_of_what_is_no_more),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on DynamoDB", tests, NULL, NULL);
}
