/*
 * Other programs: finding them, running them to their end, starting the one that keeps a VM.
 *
 * For the qemu provider alone. A started program gets a session, a small environment and default
 * signals of its own, never ours: the environment of a worker may hold a token. Every wait has a
 * deadline; what does not end by it is killed. Safe from any thread (posix_spawn, no fork).
 */
#ifndef MAYFLY_VM_QEMU_EXEC_H
#define MAYFLY_VM_QEMU_EXEC_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* The absolute path of a program named by a path or looked for in PATH. ERR_PERMANENT when it is
 * not there, with `package` (may be "") as the thing to install. */
MUST_CHECK int exec_find(const char *program, const char *package, char *out, size_t size,
                         struct err *e);

/* Where the supervisor is: beside this program, in the build tree, or as installed. */
MUST_CHECK int exec_find_supervisor(char *out, size_t size, struct err *e);

/* Runs argv (NULL at its end; argv[0] absolute) and appends to out what it writes to its standard
 * output and error until it closes them. ERR_RETRY when it does not end within timeout_ms or fails;
 * the message holds the beginning of its output. */
MUST_CHECK int exec_capture(const char *const *argv, int64_t timeout_ms, struct buf *out,
                            struct err *e);

#endif
