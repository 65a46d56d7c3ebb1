/*
 * Intercepts the calls of the code under test: records their arguments, blocks them, makes them
 * fail, or changes state at that moment.
 *
 * calls_queue.c and calls_ledger.c wrap the functions of the real fronts (the linker's --wrap;
 * mayfly_record() in CMake names the fronts); scripted_*.c replace whole interfaces. Behind a
 * wrapped front is a real backend, such as memory://NAME, so the code under test reads what it and
 * the test have written.
 *
 * Arguments are recorded as one text, "vm=mf-t-small-1 to=ending reason=deadline"; see each
 * wrapper. Calls are numbered from 1, among the calls of a function whose arguments contain `with`
 * (NULL: all). Any thread may call; a test queries and plans from its own thread.
 */
#ifndef MAYFLY_TEST_CALLS_H
#define MAYFLY_TEST_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* --- for tests --- */
struct call_plan {
    const char *function; /* "ledger_vm_advance" */
    const char *with;     /* applies to calls whose arguments contain it; NULL: to all */
    int skip;             /* number of first calls that it skips */
    int times;            /* number of calls that it then applies to; 0: all */
    /* The effects on such a call, in this order: */
    void (*happens)(void); /* changes the test's state */
    bool waits;            /* blocks the call until the plan is removed */
    enum err_class fails;  /* ERR_NONE: it does not fail */
    int code;
    enum err_from from; /* 0: as the stand-in says */
    bool of_this_host;
    int64_t retry_after_ms;
    bool carried_out; /* it fails although it was carried out, as if the response was lost */
};

/* Removes all recorded calls and plans. */
void calls_reset(void);
/* Adds a plan (copied; its texts are borrowed until it is removed). */
void calls_plan(const struct call_plan *p);
/* Replaces all plans atomically; blocked calls continue. */
void calls_replan(const struct call_plan *now, size_t n);

/* The number of calls that began. */
size_t calls_count(const char *function, const char *with);
/* The number of calls that returned 0. */
size_t calls_done(const char *function, const char *with);
/* Waits until n calls began; the test fails after half a minute. */
void calls_wait_count(const char *function, const char *with, size_t n);
/* The arguments of the n-th call; the test fails if there was none. Valid until calls_reset. */
const char *calls_args(const char *function, const char *with, size_t n);
/* All calls in order, as lines "function arguments", must match this fnmatch pattern; else the test
 * fails. */
void calls_assert(const char *pattern);

/* --- for wrappers and stand-ins --- */
struct call {
    size_t number; /* among all calls */
    bool goes_on;  /* false: it fails with *e */
    bool lost;     /* it fails after it was carried out */
    enum err_class fails;
    int code;
    enum err_from from;
    bool of_this_host;
    int64_t retry_after_ms;
};

/* Records the call and applies its plans. e may be NULL if the function cannot fail. */
PRINTF(3, 4) struct call call_begin(const char *function, struct err *e, const char *format, ...);
/* Returns the result for the caller: rc, or -1. */
MUST_CHECK int call_end(const struct call *c, int rc, struct err *e);

#endif
