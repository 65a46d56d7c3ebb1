/*
 * A worker for tests: a queue and a ledger in memory (tests/lib/memory_rows.h), the real fleet over
 * scripted providers (scripted_vms.h), and a scripted GitHub (scripted_github.h). Its calls are
 * recorded, fail as planned, or change the world at their moment (calls.h).
 *
 * The clock moves only by what a test adds to world.now_ms.
 */
#ifndef MAYFLY_TESTS_WORKER_WORLD_H
#define MAYFLY_TESTS_WORKER_WORLD_H

#include <stdio.h>
#include <string.h>

#include "tests/lib/calls.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/memory_rows.h"
#include "tests/lib/must.h"
#include "tests/lib/scripted_github.h"
#include "tests/lib/scripted_vms.h"
#include "worker/worker.h"

#define WORLD_BEGAN_MS 1800000000000
#define LEASE_MS 30000    /* worker.visibility_timeout */
#define TIMEOUT_MS 300000 /* reaper.startup_timeout */

extern struct world {
    int64_t now_ms;        /* of the wall clock; the monotonic one is at an hour at first */
    char url[32];          /* of queue and ledger, for memory_rows.h */
    struct config *config; /* may be changed; class 0 is small, bound to its host, 1 is large,
                              2 is other */
    struct worker worker;  /* without its threads */
} world;

/* More classes of its configuration, ", {…}"; "" unless a test sets it before. */
extern const char *world_more_classes;

/* An empty world, and its end; for cmocka. */
int world_set_up(void **state);
int world_tear_down(void **state);

/* Messages, without a record of the calls. */
void world_put(const char *lane, const char *body);
/* Puts the request of a queued job of acme/app on a lane of the queue. */
void world_put_queued(const char *lane_name, const char *class_name, int64_t job_id);
struct queue_message world_take(const char *lane);

/* When the class's VMs were last compared with the rows: now, at first; negative: never. */
void world_reconcile(const char *class_name, int64_t age_ms);

/* What the worker's first look at silent rows leaves, a third of a lease ago. */
void world_note_silent_rows(void);

/* Each call of that function fails so, until world_heal reverts that and all other plans. */
void world_fail(const char *function, enum err_class class);
void world_heal(void);

#endif
