/*
 * The parts of the ledger's conformance suite, and what they share.
 *
 * Each part is an array of cmocka tests that ledger_suite.c runs together. A test gets a fixture
 * with a fresh, empty ledger, open once, and a wall clock that only the test moves, the store's
 * too; child processes have the system's. Nothing here knows a backend.
 */
#ifndef MAYFLY_LEDGER_SUITE_H
#define MAYFLY_LEDGER_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ledger/ledger.h"
#include "tests/conformance/conformance.h"
#include "tests/lib/must.h"

#define SCOPE "octo"
#define START_MS 1800000000000LL
#define HOUR_MS (3600LL * 1000)

struct ledger_fixture {
    struct conformance_store store;
    struct ledger *l;
};
int ledger_fixture_setup(void **state);
int ledger_fixture_teardown(void **state);

#define LEDGER_TEST(f)                                                                             \
    cmocka_unit_test_setup_teardown(f, ledger_fixture_setup, ledger_fixture_teardown)

extern const struct CMUnitTest ledger_job_tests[];
extern const size_t ledger_job_test_count;
extern const struct CMUnitTest ledger_order_tests[];
extern const size_t ledger_order_test_count;
extern const struct CMUnitTest ledger_observer_tests[];
extern const size_t ledger_observer_test_count;
extern const struct CMUnitTest ledger_vm_tests[];
extern const size_t ledger_vm_test_count;
extern const struct CMUnitTest ledger_reserve_tests[];
extern const size_t ledger_reserve_test_count;
extern const struct CMUnitTest ledger_shared_tests[];
extern const size_t ledger_shared_test_count;
extern const struct CMUnitTest ledger_cell_tests[];
extern const size_t ledger_cell_test_count;
extern const struct CMUnitTest ledger_people_tests[];
extern const size_t ledger_people_test_count;
extern const struct CMUnitTest ledger_model_tests[];
extern const size_t ledger_model_test_count;
extern const struct CMUnitTest ledger_total_tests[];
extern const size_t ledger_total_test_count;
extern const struct CMUnitTest ledger_target_tests[];
extern const size_t ledger_target_test_count;
extern const struct CMUnitTest ledger_process_tests[];
extern const size_t ledger_process_test_count;
extern const struct CMUnitTest ledger_race_tests[];
extern const size_t ledger_race_test_count;
extern const struct conformance_child ledger_children[];

/* --- the clock --- */
void clock_at(int64_t ms); /* START_MS + ms */
void clock_system(void);   /* for threads and processes that race */

struct ledger *must_open(const char *url);
/* Closes it and opens it anew; where all is lost with the last handle, in memory, the other way
 * about. */
struct ledger *must_open_again(struct ledger *l, const char *url);
/* Whether stores of the URL's scheme tell of freed slots. */
bool ledger_store_tells(const char *url);
/* How often to do what is done `many` times to find rare interleavings and long histories: a tenth
 * of it where each call goes over HTTP to an emulator that takes milliseconds, at least `least`. */
int ledger_times(const char *url, int many, int least);

/* A delivery about a job of class "small" in octo/app that wants a runner, is held back, … */
struct job_event queued(int64_t job_id);
struct job_event held(int64_t job_id);    /* queued, status waiting */
struct job_event waiting(int64_t job_id); /* the action waiting */
struct job_event in_progress(int64_t job_id, const char *runner);
struct job_event completed(int64_t job_id, const char *runner, const char *conclusion);

struct ledger_effect must_apply(struct ledger *l, struct job_event ev);
struct ledger_job must_get(struct ledger *l, int64_t job_id);

struct ledger_caps wide_caps(void); /* no limit that a test meets */
struct ledger_reserve ask(const struct launch_request *request, struct ledger_caps caps);
struct ledger_reservation must_reserve(struct ledger *l, struct job_event ev,
                                       struct ledger_caps caps);
/* Reserves for a new job and fails unless that gives a VM. */
struct ledger_vm must_get_vm(struct ledger *l, int64_t job_id);
struct ledger_vm must_see_vm(struct ledger *l, const char *name);
/* Takes the VM, which is reserved, to that state along the edges. */
void bring(struct ledger *l, const struct ledger_vm *vm, enum ledger_vm_state to);
/* One step; returns whether the state moved. */
bool must_advance(struct ledger *l, const char *vm, enum ledger_vm_state to);
/* What a step needs besides its state. */
struct ledger_advance step(const char *vm, enum ledger_vm_state to);

/* Of (SCOPE, "small"). */
struct ledger_balance must_balance(struct ledger *l);
int64_t slots_used(struct ledger *l);
/* How often the job's timeline has that line; "" for any detail. */
int lines_of(struct ledger *l, int64_t job_id, const char *what, const char *detail);

/* Counts every row by itself, and compares with what the ledger says it counted. Job ids from 1 to
 * max_job may exist. */
void must_be_consistent(struct ledger *l, int64_t max_job);

#endif
