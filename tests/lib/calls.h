/*
 * The calls that a test's subject makes: recorded with all their arguments, held up, made to fail,
 * or used to change the world at that moment.
 *
 * calls_queue.c and calls_ledger.c stand before the functions of the real fronts (the linker's
 * --wrap; mayfly_record() in CMake names the fronts), and the stand-ins scripted_*.c in the place
 * of whole interfaces. What stands behind a front is a real backend, as memory://NAME is; so what a
 * subject reads is what it and the test have written.
 *
 * Arguments are kept as one text, "vm=mf-t-small-1 to=ending reason=deadline"; each wrapper says
 * which. A call's number counts from 1, among the calls of its function whose arguments contain
 * `with` (NULL: all). Any thread may call; a test asks and plans from its own.
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
    const char *with;     /* for calls whose arguments contain it; NULL: for all */
    int skip;             /* so many of them are left alone first */
    int times;            /* and so many are not; 0: all that follow */
    /* What happens at such a call, in this order: */
    void (*happens)(void); /* the world changes */
    bool waits;            /* it waits until the plan is taken back */
    enum err_class fails;  /* ERR_NONE: it does not */
    int code;
    int64_t retry_after_ms;
    bool carried_out; /* it fails although it was done, as if its answer had been lost */
};

/* Forgets all calls and plans. */
void calls_reset(void);
/* Copied; its texts are borrowed until it is taken back. */
void calls_plan(const struct call_plan *p);
/* Takes back all plans and makes these instead, at one moment; calls that wait go on. */
void calls_replan(const struct call_plan *now, size_t n);

/* How many began. */
size_t calls_count(const char *function, const char *with);
/* How many have returned 0. */
size_t calls_done(const char *function, const char *with);
/* Waits until n of them began; the test fails after half a minute. */
void calls_wait_count(const char *function, const char *with, size_t n);
/* The arguments of the n-th; the test fails if there was none. Valid until calls_reset. */
const char *calls_args(const char *function, const char *with, size_t n);
/* All calls in order, as lines "function arguments", are this pattern of fnmatch's; else the test
 * fails. */
void calls_assert(const char *pattern);

/* --- for what stands before or in the place of an interface --- */
struct call {
    size_t number; /* among all calls */
    bool goes_on;  /* false: it fails, and *e says so */
    bool lost;     /* it is to fail when it was done */
    enum err_class fails;
    int code;
    int64_t retry_after_ms;
};

/* Records the call and lets happen what is planned for it. e may be NULL where the function cannot
 * fail. */
PRINTF(3, 4) struct call call_begin(const char *function, struct err *e, const char *format, ...);
/* Returns what the caller is to be given: rc, or -1. */
MUST_CHECK int call_end(const struct call *c, int rc, struct err *e);

#endif
