/*
 * Other programs: finds them, runs them to their end, starts the VM supervisor.
 *
 * For the qemu provider only. A started program gets a session, a small environment and default
 * signals of its own, never the worker's: a worker's environment may hold a token. Every wait has a
 * deadline; a program that has not ended by then is killed. Safe from any thread (posix_spawn, no
 * fork).
 */
#ifndef MAYFLY_VM_QEMU_EXEC_H
#define MAYFLY_VM_QEMU_EXEC_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* The absolute path of a program that is a path or is found in PATH. ERR_PERMANENT when it does not
 * exist, with `package` (may be "") as the thing to install. */
MUST_CHECK int exec_find(const char *program, const char *package, char *out, size_t size,
                         struct err *e);

/* The supervisor's path: beside this program, in the build tree, or as installed. */
MUST_CHECK int exec_find_supervisor(char *out, size_t size, struct err *e);

/* The gateway's path: beside the supervisor. */
MUST_CHECK int exec_find_gateway(const char *supervisor, char *out, size_t size, struct err *e);

/* Reads from fd until its other end is closed; false at the deadline (monotonic). */
MUST_CHECK bool exec_read_output(int fd, int64_t deadline_ms, struct buf *out);

/* Runs argv (NULL at its end; argv[0] absolute) and appends to out what it writes to its standard
 * output and error until it closes them. ERR_RETRY when it does not end within timeout_ms or fails;
 * the message holds the beginning of its output. */
MUST_CHECK int exec_capture(const char *const *argv, int64_t timeout_ms, struct buf *out,
                            struct err *e);

#endif
