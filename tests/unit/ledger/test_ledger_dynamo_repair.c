/*
 * Recounting: what the DynamoDB ledger corrects, and that it corrects nothing that is right.
 */
#include "tests/unit/ledger/test_ledger_dynamo.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/base/clock.h"

/* --- a clock that is ahead: what was just written is quiet already --- */
static _Atomic int64_t ahead_ms;

static int64_t later_wall_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + atomic_load(&ahead_ms);
}

static int64_t true_mono_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static const struct clock_source later_clock = {true_mono_us, later_wall_ms};

static void pass_minutes(int minutes)
{
    atomic_fetch_add(&ahead_ms, minutes * 60000LL);
    clock_set_source(&later_clock);
}

/* --- calls --- */
static size_t suspected; /* by the last repair */

static size_t repair(struct ledger *l, struct ledger_repair *first)
{
    struct ledger_repair *mended = NULL;
    size_t n = 0;
    struct err e;
    MUST(ledger_repair(l, &mended, &n, &suspected, &e));
    if (n > 0 && first != NULL) {
        *first = mended[0];
    }
    free(mended);
    return n;
}

static struct ledger_dynamo_key slots_key(const struct dynamo_fixture *f)
{
    return ledger_dynamo_key(f->d, "slots", "main");
}

/* Some of everything: a VM in each state, and a job in each. */
static void populate(struct dynamo_fixture *f)
{
    for (int64_t s = VM_REGISTERED; s <= VM_GONE; s++) {
        const char *target = s == VM_BUSY ? "east-1" : "";
        struct ledger_reservation r = way_reserve_in(f->l, s, target, way_caps());
        assert_int_equal(r.outcome, LEDGER_RESERVED);
        way_bring(f->l, r.vm.name, (enum ledger_vm_state)s);
        if (s == VM_BUSY) {
            way_note(f->l, s, JOB_ACTION_IN_PROGRESS, r.vm.name);
        }
    }
    way_note(f->l, 20, JOB_ACTION_QUEUED, "");
    way_note(f->l, 21, JOB_ACTION_COMPLETED, "");
}

static void right_counts_are_left_alone(void **state)
{
    struct dynamo_fixture *f = *state;
    populate(f);
    pass_minutes(2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(repair(f->l, NULL), 0);
    }
    assert_int_equal(way_used(f->l), 4);
}

static void wrong_counts_are_mended_at_the_second_sign(void **state)
{
    static const struct {
        const char *what;
        const char *attribute;
    } wrong[] = {
        {"slots of the fleet", "f"},           {"slots of class small", "c.small"},
        {"slots of repository octo/app", "n"}, {"demand of octo, class small", "d"},
        {"supply of octo, class small", "s"},  {"slots of target east-1", "t.east-1"},
    };
    struct dynamo_fixture *f = *state;
    const struct ledger_dynamo_key keys[] = {
        slots_key(f),
        slots_key(f),
        ledger_dynamo_key(f->d, "repo", "octo/app"),
        ledger_dynamo_pair_key(f->d, "octo", "small"),
        ledger_dynamo_pair_key(f->d, "octo", "small"),
        slots_key(f),
    };
    populate(f);
    pass_minutes(2);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct ledger_repair first;
        int64_t right = dynamo_fixture_number(f, keys[i], wrong[i].attribute);
        dynamo_fixture_add(f, keys[i], wrong[i].attribute, i % 2 == 0 ? 2 : -1);
        assert_int_equal(repair(f->l, NULL), 0);
        assert_int_equal(suspected, 1);
        assert_int_equal(repair(f->l, &first), 1);
        assert_int_equal(suspected, 0);
        assert_string_equal(first.what, wrong[i].what);
        assert_int_equal(first.was - first.is, i % 2 == 0 ? 2 : -1);
        assert_int_equal(dynamo_fixture_number(f, keys[i], wrong[i].attribute), right);
        assert_int_equal(repair(f->l, NULL), 0);
    }
    assert_int_equal(way_used(f->l), 4);
}

static void sign_that_changed_is_a_first_one(void **state)
{
    struct dynamo_fixture *f = *state;
    populate(f);
    dynamo_fixture_add(f, slots_key(f), "f", 1);
    assert_int_equal(repair(f->l, NULL), 0);
    dynamo_fixture_add(f, slots_key(f), "f", 1);
    assert_int_equal(repair(f->l, NULL), 0);
    assert_int_equal(repair(f->l, NULL), 1);
}

static void delete_item(struct dynamo_fixture *f, struct ledger_dynamo_key key)
{
    struct ledger_dynamo_expr none;
    bool held;
    struct err e;
    ledger_dynamo_expr_init(&none);
    MUST(ledger_dynamo_delete_one(f->d, &key, &none, &held, &e));
    ledger_dynamo_expr_fini(&none);
}

/* Without them, slots would be given away that are in use. */
static void deleted_counters_are_made_anew_from_the_rows(void **state)
{
    struct dynamo_fixture *f = *state;
    const struct ledger_dynamo_key repository = ledger_dynamo_key(f->d, "repo", "octo/app");
    populate(f);
    delete_item(f, slots_key(f));
    delete_item(f, repository);
    for (unsigned i = 0; i < LEDGER_DYNAMO_SHARDS; i++) {
        delete_item(f, ledger_dynamo_shard_key(f->d, i));
    }
    assert_int_equal(repair(f->l, NULL), 0);
    assert_int_equal(suspected, 4);
    assert_int_equal(repair(f->l, NULL), 4);
    assert_int_equal(way_used(f->l), 4);
    assert_int_equal(dynamo_fixture_number(f, repository, "n"), 4);
    assert_int_equal(dynamo_fixture_number(f, slots_key(f), "t.east-1"), 1);
    assert_int_equal(repair(f->l, NULL), 0);
}

/* The index may be behind by so much; a job it does not show yet is not missing. */
static void demand_that_just_moved_is_not_judged(void **state)
{
    struct dynamo_fixture *f = *state;
    struct ledger_dynamo_key pair = ledger_dynamo_pair_key(f->d, "octo", "small");
    way_note(f->l, 1, JOB_ACTION_QUEUED, "");
    dynamo_fixture_add(f, pair, "d", 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(repair(f->l, NULL), 0);
    }
    pass_minutes(2);
    assert_int_equal(repair(f->l, NULL), 0);
    way_note(f->l, 2, JOB_ACTION_QUEUED, ""); /* moves: no sign, and none taken back */
    assert_int_equal(repair(f->l, NULL), 0);
    assert_int_equal(suspected, 1);
    pass_minutes(2);
    assert_int_equal(repair(f->l, NULL), 1);
    assert_int_equal(dynamo_fixture_number(f, pair, "d"), 2);
}

/* --- beside a fleet that works --- */
struct fleet {
    const char *url;
    struct ledger_dynamo *handle; /* instead of it */
    _Atomic bool stop;
    int rc;
    size_t mended;
    struct err e;
    pthread_t thread;
};

static int live(struct ledger *l, int64_t id, struct err *e)
{
    struct job_event ev = way_event(id, JOB_ACTION_QUEUED, "");
    struct launch_request request = launch_request_of(&ev);
    struct ledger_reserve ask = {.request = &request,
                                 .scope = "octo",
                                 .caps = way_caps(),
                                 .deployment = "test",
                                 .provider = "qemu",
                                 .host = "box"};
    struct ledger_reservation r;
    struct ledger_effect effect;
    if (ledger_reserve(l, &ask, &r, e) != 0) {
        return -1;
    }
    struct job_event ends = way_event(id, JOB_ACTION_COMPLETED, r.vm.name);
    struct ledger_advance gone = {.vm = r.vm.name, .to = VM_GONE};
    return ledger_apply_event(l, &ends, "octo", &effect, e) == 0
               ? ledger_vm_advance(l, &gone, NULL, e)
               : -1;
}

static void *work(void *arg)
{
    struct fleet *w = arg;
    struct ledger *l = NULL;
    w->rc = ledger_open(w->url, &l, &w->e);
    for (int64_t id = 1000; w->rc == 0 && !atomic_load(&w->stop); id++) {
        w->rc = live(l, id, &w->e);
    }
    ledger_close(l);
    return NULL;
}

static void fleet_that_works_is_not_corrected(void **state)
{
    struct dynamo_fixture *f = *state;
    struct fleet w = {.url = f->url};
    populate(f);
    assert_int_equal(pthread_create(&w.thread, NULL, work, &w), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(repair(f->l, NULL), 0);
    }
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(w.thread, NULL), 0);
    must_succeed(w.rc, &w.e, "work");
    assert_int_equal(way_used(f->l), 4);
    assert_int_equal(repair(f->l, NULL), 0);
    assert_int_equal(repair(f->l, NULL), 0);
}

/* --- two reapers, of which the second has not heard that it is no longer the one --- */
static void *repair_once(void *arg)
{
    struct fleet *w = arg;
    struct ledger_repair *mended = NULL;
    size_t signs = 0;
    w->rc = ledger_ops_dynamo.repair(w->handle, &mended, &w->mended, &signs, &w->e);
    free(mended);
    return NULL;
}

static void count_is_mended_once_by_two(void **state)
{
    struct dynamo_fixture *f = *state;
    struct fleet slow = {.handle = f->d};
    int64_t faulted;
    populate(f);
    dynamo_fixture_add(f, slots_key(f), "f", 2);
    assert_int_equal(repair(f->l, NULL), 0);
    (void)repair_once(&slow);
    must_succeed(slow.rc, &slow.e, "repair");
    faulted = dynamo_fixture_counter("faulted");
    dynamo_fixture_faults("[{\"operation\":\"UpdateItem\",\"delay_ms\":2000,\"times\":1}]");
    assert_int_equal(pthread_create(&slow.thread, NULL, repair_once, &slow), 0);
    while (dynamo_fixture_counter("faulted") == faulted) {
    }
    assert_int_equal(repair(f->l, NULL), 1);
    assert_int_equal(pthread_join(slow.thread, NULL), 0);
    must_succeed(slow.rc, &slow.e, "repair");
    assert_int_equal(slow.mended, 0);
    assert_int_equal(way_used(f->l), 4);
}

/* --- a counter that moved and came back while the rows were read --- */
static void *repair_slowly(void *arg)
{
    struct fleet *w = arg;
    struct ledger *l = NULL;
    struct ledger_repair *mended = NULL;
    size_t n = 0;
    size_t signs = 0;
    w->rc = ledger_open(w->url, &l, &w->e);
    for (int i = 0; w->rc == 0 && i < 2; i++) {
        w->rc = ledger_repair(l, &mended, &n, &signs, &w->e);
        free(mended);
        w->mended += n;
    }
    ledger_close(l);
    return NULL;
}

static void wait_for_queries(int64_t n)
{
    while (dynamo_fixture_calls("Query") < n) {
    }
}

static void end_at_once(struct ledger *l, const char *vm)
{
    way_end(l, vm, VM_ENDING);
    way_end(l, vm, VM_GONE);
}

/* Counters are read, a VM comes, the rows are read, the VM goes, counters are read again. */
static void counter_that_moved_and_came_back_is_not_judged(void **state)
{
    struct dynamo_fixture *f = *state;
    struct fleet w = {.url = f->url};
    const int64_t counters = 3;        /* queries for them: pairs, shards, repositories */
    const int64_t rest = 2 + counters; /* the counters again, the pairs and the jobs of one */
    end_at_once(f->l, way_reserve(f->l, 1, way_caps()).vm.name);
    way_note(f->l, 1, JOB_ACTION_COMPLETED, "");
    int64_t base = dynamo_fixture_calls("Query");
    dynamo_fixture_faults("{\"operation\":\"Query\",\"late_ms\":150}");
    assert_int_equal(pthread_create(&w.thread, NULL, repair_slowly, &w), 0);
    for (int64_t id = 2; id <= 3; id++) {
        wait_for_queries(base + counters);
        struct ledger_reservation r = way_reserve(f->l, id, way_caps());
        wait_for_queries(base + counters + LEDGER_DYNAMO_VM_SHARDS);
        end_at_once(f->l, r.vm.name);
        way_note(f->l, id, JOB_ACTION_COMPLETED, "");
        base += counters + LEDGER_DYNAMO_VM_SHARDS + rest;
    }
    assert_int_equal(pthread_join(w.thread, NULL), 0);
    must_succeed(w.rc, &w.e, "repair");
    assert_int_equal(dynamo_fixture_calls("Query"), base);
    assert_int_equal(w.mended, 0);
    dynamo_fixture_faults(NULL);
    assert_int_equal(way_used(f->l), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DYNAMO_TEST(right_counts_are_left_alone),
        DYNAMO_TEST(wrong_counts_are_mended_at_the_second_sign),
        DYNAMO_TEST(sign_that_changed_is_a_first_one),
        DYNAMO_TEST(deleted_counters_are_made_anew_from_the_rows),
        DYNAMO_TEST(demand_that_just_moved_is_not_judged),
        DYNAMO_TEST(fleet_that_works_is_not_corrected),
        DYNAMO_TEST(counter_that_moved_and_came_back_is_not_judged),
        DYNAMO_TEST(count_is_mended_once_by_two),
    };
    if (!dynamo_fixture_start(argc, argv)) {
        return 2;
    }
    return cmocka_run_group_tests_name("ledger on DynamoDB: recounts", tests, NULL, NULL);
}
