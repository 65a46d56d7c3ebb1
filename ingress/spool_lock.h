/*
 * The lock that allows one ingress per spool. For spool.c only.
 *
 * An exclusive lock on a file beside the spool's, "<spool>.lock", held while the spool is open, so
 * that a second process with the same spool fails at its start: it would exceed the bounds and
 * break the order. It is a separate file, since SQLite's locks on the spool's file would end with
 * any descriptor of it that is closed. Symbolic links are resolved first, so that two names of one
 * spool share the lock. The kernel releases it when the process ends, however it ends; the file
 * stays, since removing it would let two processes each lock a file of that name. It holds the
 * owner's process id, for the error message only.
 */
#ifndef MAYFLY_INGRESS_SPOOL_LOCK_H
#define MAYFLY_INGRESS_SPOOL_LOCK_H

#include "common/base/attr.h"
#include "common/base/err.h"

/* Creates the directory if needed, and never waits. *fd: owned, the lock lasts until
 * spool_lock_release. ERR_CONFLICT: another process holds it. */
MUST_CHECK int spool_lock_acquire(const char *spool_path, int *fd, struct err *e);

/* -1 is fine. */
void spool_lock_release(int fd);

#endif
