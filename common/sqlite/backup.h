/*
 * A copy of one SQLite store's file, as of one moment, while programs write to it.
 */
#ifndef MAYFLY_SQLITE_BACKUP_H
#define MAYFLY_SQLITE_BACKUP_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* Copies the file of `url` (sqlite:///path) to the new file `to`, mode 0600, which is on disk and
 * whole when this returned 0; on failure nothing of it is left. what: "queue" or "ledger", for
 * messages. mark: an SQL statement that is
 * run in the copy alone; NULL: none. *bytes: the copy's size. ERR_CONFLICT if `to` exists, ERR_NOT_FOUND if the store does
 * not; else as the store's failures. Writers are not held up. Source: sqlite.org/lang_vacuum.html,
 * "VACUUM with an INTO clause". */
MUST_CHECK int sqlite_backup(const char *url, const char *what, const char *to, const char *mark,
                             int64_t *bytes, struct err *e);

#endif
