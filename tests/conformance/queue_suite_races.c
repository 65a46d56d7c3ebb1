/*
 * Conformance of a queue backend: two clients on one message at once, and leases that end
 * meanwhile.
 *
 * Who wins a race is open; that exactly one does, and that the message is then where the winner put
 * it, is not.
 */
#include "tests/conformance/queue_suite.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 25

/* --- one message, two verbs --- */
enum verb { VERB_DONE, VERB_RETRY, VERB_DELAY, VERB_BURY, VERB_EXTEND, VERB_KICK, VERB_DROP };

struct contender {
    struct queue *q;
    struct queue_message m; /* a copy that borrows its body */
    enum verb verb;
    pthread_barrier_t *start;
    int rc;
    struct err e;
    pthread_t thread;
};

static int act(struct contender *c)
{
    struct queue_return back = {.delay_ms = c->verb == VERB_DELAY ? HOUR_MS : 0, .reason = "race"};
    switch (c->verb) {
    case VERB_DONE:
        return queue_ack(c->q, &c->m, 1, &c->e);
    case VERB_RETRY:
    case VERB_DELAY:
        return queue_nack(c->q, &c->m, &back, &c->e);
    case VERB_BURY:
        return queue_dead_letter(c->q, &c->m, "race", &c->e);
    case VERB_EXTEND:
        return queue_extend(c->q, &c->m, HOUR_MS, &c->e);
    case VERB_KICK:
        return queue_redrive(c->q, c->m.id, &c->e);
    case VERB_DROP:
        return queue_delete(c->q, c->m.id, &c->e);
    }
    return -1;
}

static void *contend(void *arg)
{
    struct contender *c = arg;
    (void)pthread_barrier_wait(c->start);
    c->rc = act(c);
    return NULL;
}

static void run_race(struct contender *pair)
{
    pthread_barrier_t start;
    assert_int_equal(pthread_barrier_init(&start, NULL, 2), 0);
    for (size_t i = 0; i < 2; i++) {
        pair[i].start = &start;
        assert_int_equal(pthread_create(&pair[i].thread, NULL, contend, &pair[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(pair[i].thread, NULL), 0);
    }
    pthread_barrier_destroy(&start);
}

/* The lane must hold what the winning verb leaves of the one message, and then be emptied. */
static void check_and_clear(struct queue *q, enum verb winner, const char *id)
{
    struct queue_depth d = must_depth(q, "events");
    struct err e;
    assert_int_equal(d.leased, 0);
    assert_int_equal(d.ready, winner == VERB_RETRY || winner == VERB_KICK);
    assert_int_equal(d.delayed, winner == VERB_DELAY);
    assert_int_equal(d.dead, winner == VERB_BURY);
    if (d.ready > 0) {
        struct queue_message m = must_take(q, "events", HOUR_MS);
        must_be_done(q, &m);
    }
    if (d.dead > 0) {
        MUST(queue_delete(q, id, &e));
    }
}

/* Both may have won: then nothing is lost, but what both put somewhere is there twice. */
static void check_at_least_once(struct queue *q, const struct contender *pair, const char *id)
{
    bool both = pair[0].rc == 0 && pair[1].rc == 0;
    bool done = false;
    for (size_t i = 0; i < 2; i++) {
        done =
            done || (pair[i].rc == 0 && (pair[i].verb == VERB_DONE || pair[i].verb == VERB_DROP));
    }
    struct queue_depth d = must_depth(q, "events");
    struct err e;
    assert_in_range(d.ready + d.leased + d.delayed + d.dead, done ? 0 : 1, both ? 2 : 1);
    for (int64_t i = 0; i < d.ready; i++) {
        struct queue_message m = must_take(q, "events", HOUR_MS);
        must_be_done(q, &m);
    }
    for (int64_t i = 0; i < d.dead; i++) {
        MUST(queue_delete(q, id, &e));
    }
    d = must_depth(q, "events");
    assert_int_equal(d.ready + d.leased + d.delayed + d.dead, 0);
}

/* dead: the message is buried first. loser: what the one who came second must hear. */
static void race_verbs(struct queue_fixture *f, enum verb a, enum verb b, bool dead,
                       enum err_class loser)
{
    struct queue *opened = must_open(f->store.url);
    struct queue *other = dead ? opened : next_taker(f, opened);
    bool twice = limited(dead ? QUEUE_STATE_IN_PROCESS : QUEUE_TAKES_A_HANDLE_TWICE);
    for (int round = 0; round < ROUNDS; round++) {
        struct err e;
        must_put(f->q, "events", "contended");
        struct queue_message m = must_take(f->q, "events", HOUR_MS);
        if (dead) {
            MUST(queue_dead_letter(f->q, &m, "to be raced for", &e));
        }
        struct contender pair[2] = {{.q = f->q, .m = m, .verb = a},
                                    {.q = other, .m = m, .verb = b}};
        run_race(pair);
        assert_in_range((pair[0].rc == 0) + (pair[1].rc == 0), 1, twice ? 2 : 1);
        size_t lost = pair[0].rc == 0 ? 1 : 0;
        if (pair[lost].rc != 0) {
            must_fail(pair[lost].rc, &pair[lost].e, loser);
        }
        if (twice) {
            check_at_least_once(f->q, pair, m.id);
        } else {
            check_and_clear(f->q, pair[1 - lost].verb, m.id);
        }
        queue_message_fini(&m);
    }
    queue_close(opened);
}

static void two_who_end_one_lease_cannot_both_succeed(void **state)
{
    static const enum verb verbs[] = {VERB_DONE, VERB_RETRY, VERB_BURY};
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        for (size_t k = i; k < COUNT_OF(verbs); k++) {
            race_verbs(*state, verbs[i], verbs[k], false, ERR_CONFLICT);
        }
    }
}

static void two_who_raise_or_drop_one_dead_cannot_both_succeed(void **state)
{
    race_verbs(*state, VERB_KICK, VERB_KICK, true, ERR_NOT_FOUND);
    race_verbs(*state, VERB_KICK, VERB_DROP, true, ERR_NOT_FOUND);
    race_verbs(*state, VERB_DROP, VERB_DROP, true, ERR_NOT_FOUND);
}

/* Given back and then held again, or the other way round: it is there once, and can be finished. */
static void finish_wherever(struct queue *q, const struct queue_message *m)
{
    struct queue_depth d = must_depth(q, "events");
    struct err e;
    assert_int_equal(d.ready + d.leased, 1);
    assert_int_equal(d.delayed + d.dead, 0);
    if (d.ready > 0) {
        struct queue_message again = must_take(q, "events", HOUR_MS);
        must_be_done(q, &again);
    } else {
        MUST(queue_ack(q, m, 1, &e));
    }
}

static void extend_beside_an_end_never_brings_the_message_back(void **state)
{
    static const enum verb verbs[] = {VERB_DONE, VERB_RETRY, VERB_BURY};
    struct queue_fixture *f = *state;
    struct queue *opened = must_open(f->store.url);
    struct queue *other = next_taker(f, opened);
    bool twice = limited(QUEUE_TAKES_A_HANDLE_TWICE);
    for (int round = 0; round < 3 * ROUNDS; round++) {
        enum verb ending = verbs[round % 3];
        must_put(f->q, "events", "contended");
        struct queue_message m = must_take(f->q, "events", HOUR_MS);
        struct contender pair[2] = {{.q = f->q, .m = m, .verb = VERB_EXTEND},
                                    {.q = other, .m = m, .verb = ending}};
        run_race(pair);
        must_succeed(pair[1].rc, &pair[1].e, "the end of a lease that is ours");
        if (pair[0].rc != 0) {
            must_fail(pair[0].rc, &pair[0].e, ERR_CONFLICT);
        }
        if (twice && ending == VERB_RETRY && pair[0].rc == 0) {
            finish_wherever(f->q, &m);
        } else {
            check_and_clear(f->q, ending, m.id);
        }
        queue_message_fini(&m);
    }
    queue_close(opened);
}

static void delay_beside_a_delay_leaves_one_message(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *opened = must_open(f->store.url);
    struct queue *other = next_taker(f, opened);
    bool twice = limited(QUEUE_TAKES_A_HANDLE_TWICE);
    bool hidden = limited(QUEUE_HIDES_THE_DELAYED);
    for (int round = 0; round < ROUNDS; round++) {
        must_put(f->q, "events", "contended");
        struct queue_message m = must_take(f->q, "events", HOUR_MS);
        struct contender pair[2] = {{.q = f->q, .m = m, .verb = VERB_DELAY},
                                    {.q = other, .m = m, .verb = VERB_DELAY}};
        run_race(pair);
        assert_in_range((pair[0].rc == 0) + (pair[1].rc == 0), 1, twice ? 2 : 1);
        struct queue_depth d = must_depth(f->q, "events");
        assert_int_equal(hidden ? d.leased : d.delayed, round + 1);
        assert_int_equal(d.ready + d.dead + (hidden ? d.delayed : d.leased), 0);
        queue_message_fini(&m);
    }
    queue_close(opened);
}

/* --- leases that end in the middle --- */
#define HASTY 6
#define HASTY_MESSAGES 120

struct hasty { /* what the threads share, under the lock */
    pthread_mutex_t lock;
    int finished[HASTY_MESSAGES];
    int left;
    int conflicts;
    const char *trouble;
};

struct hasty_taker {
    struct queue *q;
    struct hasty *shared;
    pthread_t thread;
};

static bool all_finished(struct hasty *h)
{
    pthread_mutex_lock(&h->lock);
    bool all = h->left == 0 || h->trouble != NULL;
    pthread_mutex_unlock(&h->lock);
    return all;
}

static void note_finish(struct hasty *h, const struct queue_message *m, int rc, const struct err *e)
{
    pthread_mutex_lock(&h->lock);
    if (rc == 0) {
        h->finished[strtoul(m->body, NULL, 10) % HASTY_MESSAGES]++;
        h->left--;
    } else if (e->class == ERR_CONFLICT) {
        h->conflicts++;
    } else {
        h->trouble = "done failed";
    }
    pthread_mutex_unlock(&h->lock);
}

/* Leases of 1 to 3 ms run out before, while and after the message is finished. */
static void *take_hastily(void *arg)
{
    struct hasty_taker *t = arg;
    for (int turn = 0; !all_finished(t->shared); turn++) {
        struct queue_message m[3];
        size_t got = 0;
        struct err e;
        if (queue_receive(t->q, "events", 3, 1 + turn % 3, 20, m, &got, &e) != 0) {
            pthread_mutex_lock(&t->shared->lock);
            t->shared->trouble = "take failed";
            pthread_mutex_unlock(&t->shared->lock);
            return NULL;
        }
        for (size_t i = 0; i < got; i++) {
            /* Some are extended first, which may come too late as well. */
            int rc = turn % 2 == 0 ? queue_extend(t->q, &m[i], 2, &e) : 0;
            rc = rc == 0 ? queue_ack(t->q, &m[i], 1, &e) : rc;
            note_finish(t->shared, &m[i], rc, &e);
            queue_message_fini(&m[i]);
        }
    }
    return NULL;
}

static void leases_ending_mid_call_still_finish_each_message_once(void **state)
{
    struct queue_fixture *f = *state;
    struct queue *opened = must_open(f->store.url);
    struct queue *other = next_taker(f, opened);
    struct hasty shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = HASTY_MESSAGES};
    struct hasty_taker takers[HASTY];
    for (int i = 0; i < HASTY_MESSAGES; i++) {
        char body[16];
        (void)snprintf(body, sizeof body, "%d", i);
        must_put(f->q, "events", body);
    }
    for (size_t i = 0; i < HASTY; i++) {
        takers[i] = (struct hasty_taker){.q = i % 2 == 0 ? f->q : other, .shared = &shared};
        assert_int_equal(pthread_create(&takers[i].thread, NULL, take_hastily, &takers[i]), 0);
    }
    for (size_t i = 0; i < HASTY; i++) {
        assert_int_equal(pthread_join(takers[i].thread, NULL), 0);
    }
    assert_null(shared.trouble);
    for (int i = 0; i < HASTY_MESSAGES; i++) {
        assert_int_equal(shared.finished[i], 1);
    }
    struct queue_depth d = must_depth(f->q, "events");
    assert_int_equal(d.ready + d.leased + d.delayed + d.dead, 0);
    queue_close(opened);
}

const struct CMUnitTest queue_race_tests[] = {
    QUEUE_TEST(two_who_end_one_lease_cannot_both_succeed),
    QUEUE_TEST(two_who_raise_or_drop_one_dead_cannot_both_succeed),
    QUEUE_TEST(extend_beside_an_end_never_brings_the_message_back),
    QUEUE_TEST(delay_beside_a_delay_leaves_one_message),
    QUEUE_TEST(leases_ending_mid_call_still_finish_each_message_once),
};
const size_t queue_race_test_count = COUNT_OF(queue_race_tests);
