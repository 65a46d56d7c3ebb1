/*
 * Conformance of a queue backend: what the holder of a lease may do, and what an old one may not.
 *
 * Time is not slept away: a message whose lease or delay runs out is waited for with a take.
 */
#include "tests/conformance/queue_suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

static struct queue_return back(int64_t delay_ms, bool spend, const char *reason)
{
    return (struct queue_return){.delay_ms = delay_ms, .spend_attempt = spend, .reason = reason};
}

/* The one entry of a key. */
static struct queue_entry must_find(struct queue *q, const char *key)
{
    struct queue_entry *entries = NULL;
    size_t n = 0;
    struct err e;
    MUST(queue_find(q, key, 10, &entries, &n, &e));
    assert_int_equal(n, 1);
    struct queue_entry one = entries[0];
    free(entries);
    return one;
}

static void must_refuse_all_but_done(struct queue *q, struct queue_message *old)
{
    struct queue_return r = back(0, true, "late");
    struct err e;
    must_fail(queue_extend(q, old, HOUR_MS, &e), &e, ERR_CONFLICT);
    must_fail(queue_nack(q, old, &r, &e), &e, ERR_CONFLICT);
    must_fail(queue_dead_letter(q, old, "late", &e), &e, ERR_CONFLICT);
}

static void must_refuse_old_lease(struct queue *q, struct queue_message *old)
{
    struct err e;
    must_refuse_all_but_done(q, old);
    must_fail(queue_ack(q, old, 1, &e), &e, ERR_CONFLICT);
}

static void leased_message_is_not_given_again(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *other = must_open(f->store.url);
    must_put(f->q, "events", "once");
    struct queue_message m = must_take_body(f->q, "events", HOUR_MS, "once");
    must_find_nothing(f->q, "events");
    must_find_nothing(next_taker(f, other), "events");
    must_be_done(f->q, &m);
    queue_close(other);
}

static void expired_lease_goes_to_the_next_and_its_holder_is_refused(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *opened = must_open(f->store.url);
    struct queue *other = next_taker(f, opened);
    must_put(f->q, "events", "slow");
    struct queue_message old = must_take_body(f->q, "events", 30, "slow");
    struct queue_message new = must_take_body(other, "events", HOUR_MS, "slow");
    assert_string_equal(old.id, new.id);
    assert_string_not_equal(old.receipt, new.receipt);
    assert_int_equal(new.attempts, 0); /* a lease that ran out spends nothing of itself */
    assert_int_equal(new.enqueued_ms, old.enqueued_ms);
    must_refuse_old_lease(f->q, &old);
    must_be_done(other, &new);
    must_refuse_old_lease(f->q, &old);
    must_find_nothing(f->q, "events");
    queue_message_fini(&old);
    queue_close(opened);
}

static void extended_lease_outlasts_one_that_was_not(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *opened = must_open(f->store.url);
    struct queue *other = next_taker(f, opened);
    struct queue_message m[2] = {0};
    struct err e;
    must_put(f->q, "events", "0");
    must_put(f->q, "events", "1");
    m[0] = must_take(f->q, "events", 700);
    m[1] = must_take(f->q, "events", 700);
    int64_t before = clock_wall_ms();
    MUST(queue_extend(f->q, &m[0], HOUR_MS, &e));
    assert_in_range(m[0].leased_until_ms, before + HOUR_MS, clock_wall_ms() + HOUR_MS);
    /* The other one's end is the sign that the first lease would be over as well. */
    struct queue_message again = must_take_body(other, "events", HOUR_MS, m[1].body);
    must_find_nothing(other, "events");
    must_be_done(f->q, &m[0]);
    must_be_done(other, &again);
    queue_message_fini(&m[1]);
    queue_close(opened);
}

static void done_twice_is_a_conflict(void **state)
{
    struct queue_fixture *f = *state;
    struct err e;
    must_put(f->q, "events", "x");
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    MUST(queue_ack(f->q, &m, 1, &e));
    if (limited(QUEUE_TAKES_A_HANDLE_TWICE)) {
        must_refuse_all_but_done(f->q, &m);
        MUST(queue_ack(f->q, &m, 1, &e));
    } else {
        must_refuse_old_lease(f->q, &m);
    }
    must_find_nothing(f->q, "events");
    queue_message_fini(&m);
}

static void done_of_a_batch_finishes_what_is_still_ours(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_message m[3] = {0};
    struct err e;
    for (int i = 0; i < 3; i++) {
        must_put(f->q, "events", "x");
        m[i] = must_take(f->q, "events", HOUR_MS);
    }
    MUST(queue_ack(f->q, &m[1], 1, &e));
    if (limited(QUEUE_TAKES_A_HANDLE_TWICE)) {
        MUST(queue_ack(f->q, m, 3, &e));
    } else {
        must_fail(queue_ack(f->q, m, 3, &e), &e, ERR_CONFLICT);
    }
    struct queue_depth d = must_depth(f->q, "events");
    assert_int_equal(d.ready + d.leased + d.delayed + d.dead, 0);
    for (int i = 0; i < 3; i++) {
        queue_message_fini(&m[i]);
    }
}

static void forged_receipt_is_a_conflict(void **state)
{
    struct queue_fixture *f = *state;
    static const char *const forged[] = {"", ".", "1", "1.", "1.0", "1.2", "x.y", "1.1.1"};
    must_put(f->q, "events", "x");
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    for (size_t i = 0; i < COUNT_OF(forged); i++) {
        struct queue_message copy = m;
        (void)snprintf(copy.receipt, sizeof copy.receipt, "%s", forged[i]);
        if (strcmp(copy.receipt, m.receipt) != 0) {
            must_refuse_old_lease(f->q, &copy);
        }
    }
    must_be_done(f->q, &m);
}

static void retry_without_delay_spends_only_if_told(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_return keep = back(0, false, "no slot");
    struct queue_return spend = back(0, true, "it failed");
    struct err e;
    must_put(f->q, "events", "x");
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    MUST(queue_nack(f->q, &m, &keep, &e));
    if (!limited(QUEUE_TAKES_A_HANDLE_TWICE)) {
        must_refuse_old_lease(f->q, &m);
    }
    queue_message_fini(&m);
    m = must_take(f->q, "events", HOUR_MS);
    assert_int_equal(m.attempts, 0);
    MUST(queue_nack(f->q, &m, &spend, &e));
    queue_message_fini(&m);
    m = must_take(f->q, "events", HOUR_MS);
    assert_int_equal(m.attempts, 1);
    must_be_done(f->q, &m);
}

static void retry_with_delay_comes_back_when_due_and_keeps_its_reason(void **state)
{
    struct queue_fixture *f = *state;
    struct queue_item item = {.lane = "events", .body = SLICE("x"), .key = "42"};
    struct queue_return hour = back(HOUR_MS, true, "GitHub answered 502");
    struct err e;
    must_put_item(f->q, &item);
    struct queue_message m = must_take(f->q, "events", HOUR_MS);
    int64_t before = clock_wall_ms();
    MUST(queue_nack(f->q, &m, &hour, &e));
    must_find_nothing(f->q, "events");
    if (lacks(f->q, QUEUE_FIND)) {
        assert_int_equal(must_depth(f->q, "events").delayed, 1);
    } else {
        struct queue_entry entry = must_find(f->q, "42");
        assert_int_equal(entry.place, QUEUE_DELAYED);
        assert_in_range(entry.due_ms, before + HOUR_MS, clock_wall_ms() + HOUR_MS);
        assert_string_equal(entry.reason, "GitHub answered 502");
        assert_int_equal(entry.message.attempts, 1);
        queue_message_fini(&entry.message);
    }
    queue_message_fini(&m);
    /* A shorter delay of another message ends by itself. */
    struct queue_return short_while = back(30, false, NULL);
    must_put(f->q, "launch.a", "y");
    m = must_take(f->q, "launch.a", HOUR_MS);
    MUST(queue_nack(f->q, &m, &short_while, &e));
    queue_message_fini(&m);
    m = must_take_body(f->q, "launch.a", HOUR_MS, "y");
    must_be_done(f->q, &m);
}

static void delayed_put_comes_when_due(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *other = must_open(f->store.url);
    struct queue_item soon = {.lane = "events", .body = SLICE("soon"), .key = "", .delay_ms = 40};
    struct queue_item late = {
        .lane = "events", .body = SLICE("late"), .key = "", .delay_ms = HOUR_MS};
    must_put_item(other, &late);
    must_find_nothing(f->q, "events");
    int64_t before = clock_wall_ms();
    must_put_item(other, &soon);
    struct queue_message m = must_take_body(f->q, "events", HOUR_MS, "soon");
    assert_true(clock_wall_ms() >= before + 40);
    must_be_done(f->q, &m);
    must_find_nothing(f->q, "events");
    assert_int_equal(must_depth(f->q, "events").delayed, 1);
    queue_close(other);
}

/* --- races --- */
#define RACERS 8
#define RACE_MESSAGES 400

struct race {
    struct queue *q;
    int *times; /* taken, by number; shared, under lock */
    pthread_mutex_t *lock;
    int *left;
    bool may_move; /* a message may go to the other handle meanwhile */
    const char *trouble;
    pthread_t thread;
};

static bool one_left(struct race *r)
{
    pthread_mutex_lock(r->lock);
    bool any = *r->left > 0;
    pthread_mutex_unlock(r->lock);
    return any;
}

static void *race(void *arg)
{
    struct race *r = arg;
    while (one_left(r)) {
        struct queue_message m[4];
        size_t got = 0;
        struct err e;
        if (queue_receive(r->q, "events", 4, HOUR_MS, 1000, m, &got, &e) != 0) {
            r->trouble = "take failed";
            return NULL;
        }
        for (size_t i = 0; i < got; i++) {
            pthread_mutex_lock(r->lock);
            int *times = &r->times[strtoul(m[i].body, NULL, 10) % RACE_MESSAGES];
            *r->left -= ++*times == 1 ? 1 : 0;
            pthread_mutex_unlock(r->lock);
            if (queue_ack(r->q, &m[i], 1, &e) != 0 && !(r->may_move && e.class == ERR_CONFLICT)) {
                r->trouble = "done failed";
            }
            queue_message_fini(&m[i]);
        }
    }
    return NULL;
}

static void two_handles_never_lease_one_message_twice(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *other = must_open(f->store.url);
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int times[RACE_MESSAGES] = {0};
    int left = RACE_MESSAGES;
    struct race racers[RACERS];
    bool may_move = limited(QUEUE_STATE_IN_PROCESS);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] =
            (struct race){i % 2 == 0 ? f->q : other, times, &lock, &left, may_move, NULL, 0};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACE_MESSAGES; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%d", i);
        must_put(i % 3 == 0 ? other : f->q, "events", body);
    }
    for (size_t i = 0; i < RACERS; i++) {
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
        assert_null(racers[i].trouble);
    }
    /* Each handle that joins moves partitions once. */
    int most = may_move ? 3 : limited(QUEUE_GIVES_TWICE) ? 2 : 1;
    for (int i = 0; i < RACE_MESSAGES; i++) {
        assert_in_range(times[i], 1, most);
    }
    if (!may_move) {
        must_find_nothing(f->q, "events");
    }
    queue_close(other);
}

const struct CMUnitTest queue_lease_tests[] = {
    QUEUE_TEST(leased_message_is_not_given_again),
    QUEUE_TEST(expired_lease_goes_to_the_next_and_its_holder_is_refused),
    QUEUE_TEST(extended_lease_outlasts_one_that_was_not),
    QUEUE_TEST(done_twice_is_a_conflict),
    QUEUE_TEST(done_of_a_batch_finishes_what_is_still_ours),
    QUEUE_TEST(forged_receipt_is_a_conflict),
    QUEUE_TEST(retry_without_delay_spends_only_if_told),
    QUEUE_TEST(retry_with_delay_comes_back_when_due_and_keeps_its_reason),
    QUEUE_TEST(delayed_put_comes_when_due),
    QUEUE_TEST(two_handles_never_lease_one_message_twice),
};
const size_t queue_lease_test_count = COUNT_OF(queue_lease_tests);
