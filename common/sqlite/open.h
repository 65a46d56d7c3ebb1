/*
 * Opening the two connections of an SQLite store and migrating its file.
 *
 * For store.c and turn.c alone. On failure the connection is left for sqlite_db_close.
 */
#ifndef MAYFLY_SQLITE_OPEN_H
#define MAYFLY_SQLITE_OPEN_H

#include "common/sqlite/internal.h"

/* SQLite gives the log and its index the mode of the file. */
#define SQLITE_FILE_MODE 0660 /* less the umask, where the directory is not shared (fs.h) */

/* The NAME of "memory://NAME"; NULL for anything else. */
const char *sqlite_in_memory(const char *path);

/* Creates the file if needed, turns WAL on and migrates. Rejects a file of another program or of a
 * newer version before changing anything in it. db->path and db->what are set. */
MUST_CHECK int sqlite_open_writer(struct sqlite_db *db, const struct sqlite_schema *schema,
                                  struct err *e);
/* The same of a file that is there and up to date, for a program that must make nothing:
 * ERR_NOT_FOUND without it, ERR_PERMANENT for an older version. ERR_AUTH if this process's user
 * would leave files beside it that its owner cannot use. */
MUST_CHECK int sqlite_open_existing(struct sqlite_db *db, const struct sqlite_schema *schema,
                                    struct err *e);
MUST_CHECK int sqlite_open_reader(struct sqlite_db *db, struct err *e);

#endif
