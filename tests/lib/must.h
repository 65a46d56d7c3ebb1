/*
 * Calls that must succeed, and calls that must fail in a certain way, in tests that use cmocka.
 *
 * For functions that return 0, or -1 and a struct err. With another result the running test fails
 * at the caller's line, with the call and the error's message. Only for the thread that runs the
 * test, like cmocka's own assertions.
 */
#ifndef MAYFLY_TEST_MUST_H
#define MAYFLY_TEST_MUST_H

#include "common/base/err.h"

/* The call fills the caller's `e`. */
#define MUST(call) must_succeed((call), &e, #call)
/* For a stored result: `what` names the call. */
#define must_succeed(rc, e, what) must_succeed_at((rc), (e), (what), __FILE__, __LINE__)
void must_succeed_at(int rc, const struct err *e, const char *what, const char *file, int line);

/* rc must be -1 with an error of that class and a message. */
#define must_fail(rc, e, class) must_fail_saying((rc), (e), (class), "")
/* The same, and the message must contain `says`. */
#define must_fail_saying(rc, e, class, says)                                                       \
    must_fail_at((rc), (e), (class), (says), __FILE__, __LINE__)
void must_fail_at(int rc, const struct err *e, enum err_class class, const char *says,
                  const char *file, int line);

/* Makes every later thread start fail: each would need a stack larger than the address space. */
void forbid_threads(void);
void allow_threads(void);

#endif
