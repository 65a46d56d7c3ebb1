/*
 * A bounded ring between the threads that log and the descriptor that lines go to; log.c's own.
 *
 * Writing to a pipe that nobody reads blocks, and with it everything that waits for the writer. A
 * thread of its own writes, so that only it waits:
 *
 *     log_write --whole line--> ring (LOG_RING_BYTES) --whole lines--> writer thread --> descriptor
 *
 * A line that finds no space, or whose write fails, is dropped and counted in
 * `mayfly_log_lines_dropped_total`; when the descriptor accepts lines again, `log_lines_dropped` says
 * how many are missing. The oldest lines are kept: they say how the trouble began. Up to PIPE_BUF
 * bytes of whole lines are one write, which a pipe takes whole or not at all. A process that ends by
 * a signal such as SIGSEGV or by abort(3) waits at most LOG_CRASH_WAIT_MS for what is in the ring.
 * One ring a process. It does not survive fork(2): the child has no writer thread.
 */
#ifndef MAYFLY_BASE_LOG_RING_H
#define MAYFLY_BASE_LOG_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define LOG_LINE_MAX_BYTES ((size_t)8192)
#define LOG_RING_BYTES ((size_t)1 << 20)
#define LOG_CRASH_WAIT_MS 500

/* Starts the writer thread. ERR_CAPACITY as thread_start. */
MUST_CHECK int log_ring_start(int fd, struct err *e);
/* Waits at most timeout_ms until all lines are written, and stops; false if some are not. Lines that
 * come later are dropped. Without a start it does nothing. */
bool log_ring_stop(int64_t timeout_ms);
/* False if there is no ring, and the caller is to write. Otherwise the line, with its newline and of
 * at most LOG_LINE_MAX_BYTES, is in the ring or dropped. Never blocks on the descriptor. Any
 * thread. */
bool log_ring_put(struct slice line);

#endif
