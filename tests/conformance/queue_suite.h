/*
 * The parts of the queue's conformance suite, and what they share.
 *
 * Each part is an array of cmocka tests that queue_suite.c runs together. A test gets a fixture
 * with a fresh, empty queue, open once; it opens further handles of the same URL itself.
 */
#ifndef MAYFLY_QUEUE_SUITE_H
#define MAYFLY_QUEUE_SUITE_H

#include <stdbool.h>

#include "common/queue/queue.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/must.h"

#define HOUR_MS (3600LL * 1000)
#define LONG_WAIT_MS 30000 /* for a wait that must end by what it waits for */

struct queue_fixture {
    struct conformance_store store;
    struct queue *q;
};
int queue_fixture_setup(void **state);
int queue_fixture_teardown(void **state);

#define QUEUE_TEST(f)                                                                              \
    cmocka_unit_test_setup_teardown(f, queue_fixture_setup, queue_fixture_teardown)

extern const struct CMUnitTest queue_lease_tests[];
extern const size_t queue_lease_test_count;
extern const struct CMUnitTest queue_people_tests[];
extern const size_t queue_people_test_count;
extern const struct CMUnitTest queue_process_tests[];
extern const size_t queue_process_test_count;
extern const struct CMUnitTest queue_race_tests[];
extern const size_t queue_race_test_count;
extern const struct CMUnitTest queue_machine_tests[];
extern const size_t queue_machine_test_count;
conformance_child_fn queue_child_skewed;
conformance_child_fn queue_child_insist;
extern const struct conformance_child queue_children[];

/* What a store's own contract withholds from its backend. A test that meets such a limit asserts on
 * what is promised instead, and the limit is told with its reason. */
enum queue_limit {
    QUEUE_TAKES_A_HANDLE_TWICE,
    QUEUE_GIVES_TWICE,
    QUEUE_HIDES_THE_DELAYED,
    QUEUE_ONE_MACHINE,
    QUEUE_ONE_PROCESS,
    QUEUE_STATE_IN_PROCESS,
    QUEUE_PUTS_IN_PARTS,
    QUEUE_FAIR_BY_MEASURE,
    QUEUE_LIMITS
};
bool limited(enum queue_limit limit);
/* How long a receive has to find nothing before nothing is there. */
int64_t patience_ms(void);
/* Who takes what f->q leaves: another handle, where handles share a lane's leases. */
struct queue *next_taker(const struct queue_fixture *f, struct queue *other);
/* The same for what a backend says it cannot do. */
bool lacks(const struct queue *q, enum queue_capability c);

/* Each fails the test with the error's message where a call that has to succeed does not. */
struct queue *must_open(const char *url);
/* Closes it and opens it anew; where all is lost with the last handle, in memory, the other way
 * about. */
struct queue *must_open_again(struct queue *q, const char *url);
void must_put(struct queue *q, const char *lane, const char *body);
void must_put_item(struct queue *q, const struct queue_item *item);
/* Takes one, waiting LONG_WAIT_MS for it. */
struct queue_message must_take(struct queue *q, const char *lane, int64_t lease_ms);
/* Takes one and compares its body. */
struct queue_message must_take_body(struct queue *q, const char *lane, int64_t lease_ms,
                                    const char *body);
void must_find_nothing(struct queue *q, const char *lane);
void must_be_done(struct queue *q, struct queue_message *m); /* and frees it */
struct queue_depth must_depth(struct queue *q, const char *lane);

#endif
