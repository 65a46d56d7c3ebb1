/*
 * Calls that must succeed, and calls that must fail in a certain way, in tests that use cmocka.
 *
 * For calls in the manner of this house: 0 or -1 and a struct err. Where it is otherwise the
 * running test fails at the caller's line, with what was called and what the error says. For the
 * thread that runs the test alone, as cmocka's own assertions are.
 */
#ifndef MAYFLY_TEST_MUST_H
#define MAYFLY_TEST_MUST_H

#include "common/base/err.h"

/* The call fills the caller's `e`. */
#define MUST(call) must_succeed((call), &e, #call)
/* For a result that was kept: `what` tells what it is of. */
#define must_succeed(rc, e, what) must_succeed_at((rc), (e), (what), __FILE__, __LINE__)
void must_succeed_at(int rc, const struct err *e, const char *what, const char *file, int line);

/* rc must be -1 with an error of that class and a message. */
#define must_fail(rc, e, class) must_fail_saying((rc), (e), (class), "")
/* The same, and `says` must stand in the message. */
#define must_fail_saying(rc, e, class, says)                                                       \
    must_fail_at((rc), (e), (class), (says), __FILE__, __LINE__)
void must_fail_at(int rc, const struct err *e, enum err_class class, const char *says,
                  const char *file, int line);

/* From now on no thread can be started: each would need a stack that no machine has room for. */
void forbid_threads(void);
void allow_threads(void);

#endif
