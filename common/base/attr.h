/*
 * Compiler attributes and the assertion that all sources use.
 *
 * MUST_CHECK marks every fallible function: ignoring its result is a compile error in CI. PRINTF(f,
 * a) lets the compiler check format strings. ASSERT is always compiled in. It is for bugs of this
 * code only: data from a peer must never trigger one.
 */
#ifndef MAYFLY_BASE_ATTR_H
#define MAYFLY_BASE_ATTR_H

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define NORETURN __attribute__((noreturn))

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Aborts with file, line and the broken expectation on stderr. */
NORETURN void assert_failed(const char *expr, const char *file, int line);
#define ASSERT(expr) ((expr) ? (void)0 : assert_failed(#expr, __FILE__, __LINE__))

#endif
