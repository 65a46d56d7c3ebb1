/*
 * Conformance of a queue backend: putting, taking, waiting, what is refused, what outlives a close.
 */
#include "tests/conformance/queue_suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

/* --- shared --- */
bool lacks(const struct queue *q, enum queue_capability c)
{
    static const char *const names[] = {[QUEUE_FIND] = "find",
                                        [QUEUE_BROWSE] = "browse",
                                        [QUEUE_DEPTHS] = "exact depths",
                                        [QUEUE_FAIR] = "fair",
                                        [QUEUE_ORDERED] = "ordered"};
    if (queue_can(q, c)) {
        return false;
    }
    print_message("[  LIMIT   ] the backend does not have: %s\n", names[c]);
    return true;
}

struct limits {
    const char *scheme;
    const char *reasons[QUEUE_LIMITS]; /* NULL: it has no such limit */
};

static const struct limits backends[] = {
    {"sqs",
     {[QUEUE_TAKES_A_HANDLE_TWICE] = "within a lease's time SQS takes a receipt handle as often "
                                     "as it is shown, and deletes what is gone with success",
      [QUEUE_GIVES_TWICE] = "a standard queue delivers at least once",
      [QUEUE_HIDES_THE_DELAYED] = "a message that goes back with a delay stays in flight",
      [QUEUE_FAIR_BY_MEASURE] = "SQS prefers groups with few messages in flight, when it has "
                                "measured that another has many"}},
    {"kafka",
     {[QUEUE_GIVES_TWICE] = "a partition that moves brings what its last holder had not finished",
      [QUEUE_STATE_IN_PROCESS] = "Kafka knows members, not leases, and has no compare-and-set: a "
                                 "message goes to the member that holds its partition",
      [QUEUE_PUTS_IN_PARTS] = "a batch goes to several partitions"}},
    {"sqlite", {[QUEUE_ONE_MACHINE] = "a file belongs to one machine and its clock"}},
    {"memory",
     {[QUEUE_ONE_MACHINE] = "memory belongs to one machine and its clock",
      [QUEUE_ONE_PROCESS] = "memory belongs to one process"}},
};

bool limited(enum queue_limit limit)
{
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        const char *reason = backends[i].reasons[limit];
        if (reason != NULL && conformance_is(backends[i].scheme)) {
            print_message("[  LIMIT   ] %s\n", reason);
            return true;
        }
    }
    return false;
}

int64_t patience_ms(void)
{
    return limited(QUEUE_STATE_IN_PROCESS) ? 3000 : 0; /* a member may still be fetching */
}

struct queue *next_taker(const struct queue_fixture *f, struct queue *other)
{
    return limited(QUEUE_STATE_IN_PROCESS) ? f->q : other;
}

struct queue *must_open(const char *url)
{
    struct queue *q = NULL;
    struct err e;
    MUST(queue_open(url, &q, &e));
    return q;
}

struct queue *must_open_again(struct queue *q, const char *url)
{
    struct queue *again = conformance_is("memory") ? must_open(url) : NULL;
    queue_close(q);
    return again != NULL ? again : must_open(url);
}

int queue_fixture_setup(void **state)
{
    struct queue_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    conformance_store_init(&f->store);
    f->q = must_open(f->store.url);
    *state = f;
    return 0;
}

int queue_fixture_teardown(void **state)
{
    struct queue_fixture *f = *state;
    queue_close(f->q);
    conformance_store_fini(&f->store);
    free(f);
    return 0;
}

void must_put_item(struct queue *q, const struct queue_item *item)
{
    struct err e;
    MUST(queue_put(q, item, 1, &e));
}

void must_put(struct queue *q, const char *lane, const char *body)
{
    struct queue_item item = {.lane = lane, .body = slice_of(body), .key = "", .group = ""};
    must_put_item(q, &item);
}

struct queue_message must_take(struct queue *q, const char *lane, int64_t lease_ms)
{
    struct queue_message m = {0};
    size_t got = 0;
    struct err e;
    MUST(queue_receive(q, lane, 1, lease_ms, LONG_WAIT_MS, &m, &got, &e));
    assert_int_equal(got, 1);
    assert_string_equal(m.lane, lane);
    assert_true(m.id[0] != '\0' && m.receipt[0] != '\0');
    return m;
}

struct queue_message must_take_body(struct queue *q, const char *lane, int64_t lease_ms,
                                    const char *body)
{
    struct queue_message m = must_take(q, lane, lease_ms);
    assert_string_equal(m.body, body);
    return m;
}

void must_find_nothing(struct queue *q, const char *lane)
{
    struct queue_message m = {0};
    size_t got = 99;
    struct err e;
    MUST(queue_receive(q, lane, 1, HOUR_MS, 0, &m, &got, &e));
    assert_int_equal(got, 0);
}

void must_be_done(struct queue *q, struct queue_message *m)
{
    struct err e;
    MUST(queue_ack(q, m, 1, &e));
    queue_message_fini(m);
}

struct queue_depth must_depth(struct queue *q, const char *lane)
{
    struct queue_depth *all = NULL;
    size_t n = 0;
    struct err e;
    MUST(queue_depths(q, lane, &all, &n, &e));
    assert_int_equal(n, 1);
    struct queue_depth depth = all[0];
    assert_string_equal(depth.lane, lane);
    free(all);
    return depth;
}

/* --- put and take --- */
static void put_then_take_gives_the_same_message(void **state)
{
    struct queue_fixture *f = *state;
    const char body[] = "first\0second\xff";
    struct queue_item item = {.lane = "launch.small-1",
                              .body = {body, sizeof body},
                              .key = "9007199254740993",
                              .group = "octo/repo"};
    int64_t before = clock_wall_ms();
    must_put_item(f->q, &item);
    struct queue_message m = must_take(f->q, "launch.small-1", 60000);
    int64_t after = clock_wall_ms();
    assert_int_equal(m.body_len, sizeof body);
    assert_memory_equal(m.body, body, sizeof body);
    assert_int_equal(m.body[m.body_len], 0);
    assert_string_equal(m.key, "9007199254740993");
    assert_int_equal(m.attempts, 0);
    assert_in_range(m.enqueued_ms, before, after);
    assert_in_range(m.leased_until_ms, before + 60000, after + 60000);
    must_be_done(f->q, &m);
    must_find_nothing(f->q, "launch.small-1");
}

static void empty_and_largest_body_come_back_whole(void **state)
{
    struct queue_fixture *f = *state;
    char *body = malloc(QUEUE_BODY_MAX_BYTES);
    assert_non_null(body);
    for (size_t i = 0; i < QUEUE_BODY_MAX_BYTES; i++) {
        body[i] = (char)(i * 7 + i / 251);
    }
    must_put(f->q, "events", "");
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    assert_int_equal(m.body_len, 0);
    assert_non_null(m.body);
    must_be_done(f->q, &m);
    struct queue_item item = {
        .lane = "events", .body = {body, QUEUE_BODY_MAX_BYTES}, .key = "", .group = ""};
    must_put_item(f->q, &item);
    m = must_take(f->q, "events", HOUR_MS);
    assert_int_equal(m.body_len, QUEUE_BODY_MAX_BYTES);
    assert_memory_equal(m.body, body, QUEUE_BODY_MAX_BYTES);
    must_be_done(f->q, &m);
    free(body);
}

static void lanes_do_not_mix(void **state)
{
    struct queue_fixture *f = *state;
    must_put(f->q, "launch.a", "a");
    must_put(f->q, "launch.b", "b");
    must_find_nothing(f->q, "launch");
    must_find_nothing(f->q, "events");
    struct queue_message b = must_take_body(f->q, "launch.b", HOUR_MS, "b");
    must_find_nothing(f->q, "launch.b");
    struct queue_message a = must_take_body(f->q, "launch.a", HOUR_MS, "a");
    must_be_done(f->q, &a);
    must_be_done(f->q, &b);
}

/* Takes until `wanted` messages are there and marks each body's number; every one must be new. */
static void take_numbers(struct queue *q, const char *lane, size_t wanted, bool *seen)
{
    struct queue_message batch[16];
    struct err e;
    for (size_t total = 0; total < wanted;) {
        size_t got = 0;
        MUST(queue_receive(q, lane, 16, HOUR_MS, LONG_WAIT_MS, batch, &got, &e));
        assert_in_range(got, 1, 16);
        for (size_t i = 0; i < got; i++) {
            size_t number = strtoul(batch[i].body, NULL, 10);
            assert_true(number < wanted && !seen[number]);
            seen[number] = true;
        }
        MUST(queue_ack(q, batch, got, &e));
        for (size_t i = 0; i < got; i++) {
            queue_message_fini(&batch[i]);
        }
        total += got;
    }
}

static void largest_batch_arrives_whole(void **state)
{
    struct queue_fixture *f = *state;
    static char bodies[QUEUE_BATCH_MAX][8];
    static struct queue_item items[QUEUE_BATCH_MAX];
    bool seen[QUEUE_BATCH_MAX] = {0};
    struct err e;
    for (size_t i = 0; i < QUEUE_BATCH_MAX; i++) {
        (void)snprintf(bodies[i], sizeof bodies[i], "%zu", i);
        items[i] = (struct queue_item){
            .lane = "events", .body = slice_of(bodies[i]), .key = "", .group = ""};
    }
    MUST(queue_put(f->q, items, QUEUE_BATCH_MAX, &e));
    assert_int_equal(must_depth(f->q, "events").ready, QUEUE_BATCH_MAX);
    take_numbers(f->q, "events", QUEUE_BATCH_MAX, seen);
    must_find_nothing(f->q, "events");
}

static void take_gives_at_most_max(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_message m[3];
    size_t got = 0;
    struct err e;
    for (int i = 0; i < 3; i++) {
        must_put(f->q, "events", "x");
    }
    MUST(queue_receive(f->q, "events", 2, HOUR_MS, LONG_WAIT_MS, m, &got, &e));
    assert_in_range(got, 1, 2);
    for (size_t total = got; total < 3; total += got) {
        for (size_t i = 0; i < got; i++) {
            queue_message_fini(&m[i]);
        }
        MUST(queue_receive(f->q, "events", 2, HOUR_MS, LONG_WAIT_MS, m, &got, &e));
        assert_in_range(got, 1, 2);
    }
    for (size_t i = 0; i < got; i++) {
        queue_message_fini(&m[i]);
    }
    must_find_nothing(f->q, "events");
}

/* --- waiting --- */
struct taker {
    struct queue *q;
    const char *lane;
    struct queue_message m;
    size_t got;
    int rc;
    struct err e;
    pthread_t thread;
};

static void *take_in_thread(void *arg)
{
    struct taker *t = arg;
    t->rc = queue_receive(t->q, t->lane, 1, HOUR_MS, HOUR_MS, &t->m, &t->got, &t->e);
    return NULL;
}

static void wait_ends_with_a_put(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *other = must_open(f->store.url);
    struct queue *putters[] = {f->q, other};
    for (int i = 0; i < 20; i++) {
        struct taker t = {.q = f->q, .lane = "events"};
        assert_int_equal(pthread_create(&t.thread, NULL, take_in_thread, &t), 0);
        must_put(putters[i % 2], "events", "here");
        assert_int_equal(pthread_join(t.thread, NULL), 0);
        assert_int_equal(t.rc, 0);
        assert_int_equal(t.got, 1);
        must_be_done(f->q, &t.m);
    }
    queue_close(other);
}

static void interrupt_ends_present_and_later_waits(void **state)
{
    struct queue_fixture *f = *state;
    struct taker t[3] = {{.q = f->q, .lane = "events"},
                         {.q = f->q, .lane = "events"},
                         {.q = f->q, .lane = "launch.small"}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&t[i].thread, NULL, take_in_thread, &t[i]), 0);
    }
    queue_interrupt(f->q);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(t[i].thread, NULL), 0);
        assert_int_equal(t[i].rc, 0);
        assert_int_equal(t[i].got, 0);
    }
    (void)take_in_thread(&t[0]);
    assert_int_equal(t[0].got, 0);
    /* What is there is still given. */
    must_put(f->q, "events", "late");
    (void)take_in_thread(&t[0]);
    assert_int_equal(t[0].got, 1);
    must_be_done(f->q, &t[0].m);
}

/* --- what is refused --- */
static void bad_items_are_refused_and_nothing_of_their_put_stays(void **state)
{
    struct queue_fixture *f = *state;
    char long_lane[QUEUE_LANE_MAX + 2];
    char *large = calloc(1, QUEUE_BODY_MAX_BYTES + 1);
    struct err e;
    memset(long_lane, 'a', sizeof long_lane - 1);
    long_lane[sizeof long_lane - 1] = '\0';
    const struct queue_item bad[] = {
        {.lane = "", .body = SLICE("x"), .key = ""},
        {.lane = NULL, .body = SLICE("x"), .key = ""},
        {.lane = "Events", .body = SLICE("x"), .key = ""},
        {.lane = "a lane", .body = SLICE("x"), .key = ""},
        {.lane = long_lane, .body = SLICE("x"), .key = ""},
        {.lane = "events", .body = {large, QUEUE_BODY_MAX_BYTES + 1}, .key = ""},
        {.lane = "events", .body = SLICE("x"), .key = "01234567890123456789012345678901"},
        {.lane = "events", .body = SLICE("x"), .key = "", .delay_ms = -1},
        {.lane = "events", .body = SLICE("x"), .key = "", .delay_ms = QUEUE_DELAY_MAX_MS + 1},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct queue_item items[3] = {{.lane = "events", .body = SLICE("good"), .key = ""},
                                      bad[i],
                                      {.lane = "events", .body = SLICE("good"), .key = ""}};
        must_fail(queue_put(f->q, items, 3, &e), &e, ERR_PERMANENT);
    }
    must_find_nothing(f->q, "events");
    free(large);
}

static void bad_numbers_are_refused(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_item item = {.lane = "events", .body = SLICE("x"), .key = ""};
    struct queue_message m = {0};
    size_t got = 0;
    struct err e;
    must_fail(queue_put(f->q, &item, 0, &e), &e, ERR_PERMANENT);
    must_fail(queue_put(f->q, &item, QUEUE_BATCH_MAX + 1, &e), &e, ERR_PERMANENT);
    must_fail(queue_receive(f->q, "events", 0, HOUR_MS, 0, &m, &got, &e), &e, ERR_PERMANENT);
    must_fail(queue_receive(f->q, "events", 1, 0, 0, &m, &got, &e), &e, ERR_PERMANENT);
    must_fail(queue_receive(f->q, "EVENTS", 1, HOUR_MS, 0, &m, &got, &e), &e, ERR_PERMANENT);
    must_put(f->q, "events", "x");
    m = must_take(f->q, "events", HOUR_MS);
    must_fail(queue_extend(f->q, &m, 0, &e), &e, ERR_PERMANENT);
    must_fail(queue_ack(f->q, &m, 0, &e), &e, ERR_PERMANENT);
    must_fail(queue_nack(f->q, &m, &(struct queue_return){.delay_ms = -5}, &e), &e, ERR_PERMANENT);
    must_be_done(f->q, &m);
}

static void unknown_address_is_refused(void **state)
{
    struct queue *q = NULL;
    struct err e;
    must_fail(queue_open("carrier-pigeon://loft", &q, &e), &e, ERR_PERMANENT);
    must_fail(queue_open("no address", &q, &e), &e, ERR_PERMANENT);
    assert_null(q);
}

/* --- what stays --- */
static void everything_outlives_a_close(void **state)
{
    struct queue_fixture *f = *state;
    struct err e;
    struct queue_item later = {
        .lane = "events", .body = SLICE("delayed"), .key = "", .delay_ms = HOUR_MS};
    must_put(f->q, "events", "dead");
    struct queue_message dead = must_take_body(f->q, "events", HOUR_MS, "dead");
    MUST(queue_dead_letter(f->q, &dead, "broken", &e));
    must_put(f->q, "events", "leased");
    struct queue_message leased = must_take_body(f->q, "events", HOUR_MS, "leased");
    must_put(f->q, "events", "ready");
    must_put_item(f->q, &later);
    f->q = must_open_again(f->q, f->store.url);
    struct queue_depth d = must_depth(f->q, "events");
    bool lease_ends = limited(QUEUE_STATE_IN_PROCESS);
    assert_int_equal(d.ready, lease_ends ? 2 : 1);
    assert_int_equal(d.leased, lease_ends ? 0 : 1);
    assert_int_equal(d.delayed, 1);
    assert_int_equal(d.dead, 1);
    if (lease_ends) {
        queue_message_fini(&leased);
        leased = must_take(f->q, "events", HOUR_MS);
    }
    struct queue_message ready = must_take(f->q, "events", HOUR_MS);
    /* A partition is in order, the lane is not. */
    assert_string_equal(ready.body, strcmp(leased.body, "ready") == 0 ? "leased" : "ready");
    must_be_done(f->q, &ready);
    must_find_nothing(f->q, "events");
    must_be_done(f->q, &leased); /* the lease, too, outlived it */
    queue_message_fini(&dead);
}

/* --- order --- */
static void must_take_all(const struct queue_fixture *f, const char *const *bodies, size_t n)
{
    bool seen[8] = {false};
    bool in_any_order = lacks(f->q, QUEUE_ORDERED);
    assert_in_range(n, 1, COUNT_OF(seen));
    for (size_t i = 0; i < n; i++) {
        struct queue_message m = must_take(f->q, "events", HOUR_MS);
        size_t k = i;
        if (in_any_order) {
            for (k = 0; k < n && (seen[k] || strcmp(m.body, bodies[k]) != 0);) {
                k++;
            }
            assert_in_range(k, 0, n - 1);
        }
        assert_string_equal(m.body, bodies[k]);
        seen[k] = true;
        must_be_done(f->q, &m);
    }
    must_find_nothing(f->q, "events");
}

static void returned_message_goes_behind_those_never_tried(void **state)
{
    static const char *const before[] = {"at once", "later", "untried", "untried, too"};
    static const char *const after[] = {"untried", "untried, too", "at once", "new", "later"};
    struct queue_fixture *f = *state;
    struct queue_message m[2];
    struct err e;
    for (size_t i = 0; i < COUNT_OF(m); i++) {
        must_put(f->q, "events", before[i]);
        m[i] = must_take_body(f->q, "events", HOUR_MS, before[i]);
    }
    must_put(f->q, "events", before[2]);
    must_put(f->q, "events", before[3]);
    MUST(queue_nack(f->q, &m[0], &(struct queue_return){.reason = "no slot"}, &e));
    MUST(queue_nack(f->q, &m[1], &(struct queue_return){.delay_ms = 1, .spend_attempt = true}, &e));
    must_put(f->q, "events", "new");
    must_take_all(f, after, COUNT_OF(after));
    queue_message_fini(&m[0]);
    queue_message_fini(&m[1]);
}

/* --- fair share --- */
static void put_many(struct queue *q, const char *group, int n)
{
    for (int i = 0; i < n; i++) {
        char body[64];
        (void)snprintf(body, sizeof body, "%s %d", group, i);
        struct queue_item item = {
            .lane = "events", .body = slice_of(body), .key = "", .group = group};
        must_put_item(q, &item);
    }
}

static bool is_of_group(const struct queue_message *m, const char *group)
{
    return strncmp(m->body, group, strlen(group)) == 0;
}

/* How many messages come before the group's next one, all returned to the queue's end. */
static int messages_before(struct queue *q, const char *group)
{
    struct queue_return back = {.reason = "the repository is full"};
    struct err e;
    for (int before = 0;; before++) {
        struct queue_message m = must_take(q, "events", HOUR_MS);
        bool found = is_of_group(&m, group);
        if (found) {
            must_be_done(q, &m);
            return before;
        }
        MUST(queue_nack(q, &m, &back, &e));
        queue_message_fini(&m);
        assert_in_range(before, 0, 50);
    }
}

static void groups_are_served_in_turn(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_message all[8] = {0};
    size_t got = 0;
    size_t of_noisy = 0;
    struct err e;
    if (lacks(f->q, QUEUE_FAIR) || limited(QUEUE_FAIR_BY_MEASURE)) {
        return;
    }
    put_many(f->q, "acme/noisy", 40);
    assert_int_equal(messages_before(f->q, "acme/noisy"), 0);
    put_many(f->q, "acme/quiet", 3);
    put_many(f->q, "zeta/other", 1);
    for (int i = 0; i < 2; i++) {
        assert_in_range(messages_before(f->q, "acme/quiet"), 0, 2);
    }
    assert_in_range(messages_before(f->q, "zeta/other"), 0, 2);
    put_many(f->q, "a/first", 1);
    MUST(queue_receive(f->q, "events", COUNT_OF(all), HOUR_MS, 0, all, &got, &e));
    assert_int_equal(got, COUNT_OF(all));
    for (size_t i = 0; i < got; i++) {
        of_noisy += is_of_group(&all[i], "acme/noisy") ? 1 : 0;
        must_be_done(f->q, &all[i]);
    }
    assert_int_equal(of_noisy, COUNT_OF(all) - 2); /* each of the others has its turn */
}

static void ping_answers(void **state)
{
    struct queue_fixture *f = *state;
    struct err e;
    MUST(queue_ping(f->q, &e));
}

static const struct CMUnitTest basic_tests[] = {
    QUEUE_TEST(put_then_take_gives_the_same_message),
    QUEUE_TEST(empty_and_largest_body_come_back_whole),
    QUEUE_TEST(lanes_do_not_mix),
    QUEUE_TEST(largest_batch_arrives_whole),
    QUEUE_TEST(take_gives_at_most_max),
    QUEUE_TEST(wait_ends_with_a_put),
    QUEUE_TEST(interrupt_ends_present_and_later_waits),
    QUEUE_TEST(bad_items_are_refused_and_nothing_of_their_put_stays),
    QUEUE_TEST(bad_numbers_are_refused),
    QUEUE_TEST(unknown_address_is_refused),
    QUEUE_TEST(everything_outlives_a_close),
    QUEUE_TEST(returned_message_goes_behind_those_never_tried),
    QUEUE_TEST(groups_are_served_in_turn),
    QUEUE_TEST(ping_answers),
};

int main(int argc, char **argv)
{
    int child = conformance_start(argc, argv, queue_children);
    if (child >= 0) {
        return child;
    }
    int failed = _cmocka_run_group_tests("queue", basic_tests, COUNT_OF(basic_tests), NULL, NULL);
    failed += _cmocka_run_group_tests("queue leases", queue_lease_tests, queue_lease_test_count,
                                      NULL, NULL);
    failed += _cmocka_run_group_tests("queue for people", queue_people_tests,
                                      queue_people_test_count, NULL, NULL);
    failed +=
        _cmocka_run_group_tests("queue races", queue_race_tests, queue_race_test_count, NULL, NULL);
    if (!limited(QUEUE_ONE_PROCESS)) {
        failed += _cmocka_run_group_tests("queue processes", queue_process_tests,
                                          queue_process_test_count, NULL, NULL);
    }
    if (!limited(QUEUE_ONE_MACHINE)) {
        failed += _cmocka_run_group_tests("queue on several machines", queue_machine_tests,
                                          queue_machine_test_count, NULL, NULL);
    }
    return failed == 0 ? 0 : 1;
}
