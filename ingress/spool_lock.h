/*
 * One ingress a spool: the lock that says so. For spool.c alone.
 *
 * An exclusive lock on a file beside the spool's, "<spool>.lock", held as long as the spool is
 * open, so that a second process with the same spool is refused at its start: it would pass the
 * bounds and break the order. A file of its own, since SQLite's locks on the spool's file would end
 * with any descriptor of it that is closed. Symbolic links are followed first, so that two names of
 * one spool meet. The kernel lets go of it when the process ends, however it ends; the file stays,
 * since removing it would let two processes each lock a file of that name. It holds the owner's
 * process id, for the error alone.
 */
#ifndef MAYFLY_INGRESS_SPOOL_LOCK_H
#define MAYFLY_INGRESS_SPOOL_LOCK_H

#include "common/base/attr.h"
#include "common/base/err.h"

/* Makes the directory if need be, and never waits. *fd: owned, the lock lasts until
 * spool_lock_release. ERR_CONFLICT: another holds it. */
MUST_CHECK int spool_lock_take(const char *spool_path, int *fd, struct err *e);

/* -1 is fine. */
void spool_lock_release(int fd);

#endif
