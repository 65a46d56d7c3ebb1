/*
 * Small files: reading one whole, writing one atomically, making a directory path.
 *
 * For configuration, keys and state records, never for data of unbounded size. Errors name the path
 * and what to do. Safe from any thread.
 *
 * A directory that is setgid and in which its group has all rights is shared by programs of several
 * users: what is made in it is of its group, mode 0660 and 02770, whatever the umask.
 */
#ifndef MAYFLY_BASE_FS_H
#define MAYFLY_BASE_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* Appends the whole file to out; a file over out's limit is ERR_PERMANENT, a missing one
 * ERR_NOT_FOUND. Reads pipes and /proc files too. */
MUST_CHECK int fs_read(const char *path, struct buf *out, struct err *e);

/* The same, of a file or pipe that must be read within that time: ERR_PERMANENT if a pipe's writer does
 * not write. */
MUST_CHECK int fs_read_within(const char *path, int64_t timeout_ms, struct buf *out, struct err *e);
/* The same, of a regular file alone: a FIFO, a device or a directory is ERR_PERMANENT, and blocks
 * nothing. */
MUST_CHECK int fs_read_regular(const char *path, struct buf *out, struct err *e);
/* Only that check, for what a library opens. */
MUST_CHECK int fs_check_regular(const char *path, struct err *e);

/* Writes beside the target, fsyncs, renames over it and fsyncs the directory: after a crash the
 * file is the old one or the new one. */
MUST_CHECK int fs_write_atomic(const char *path, struct slice data, mode_t mode, struct err *e);

/* Makes a file that does not exist, with exactly this mode, whole and fsynced before it has its name;
 * ERR_CONFLICT if the path exists: of several that make it at once, one succeeds. */
MUST_CHECK int fs_write_new(const char *path, struct slice data, mode_t mode, struct err *e);

/* open(2) with O_CREAT and O_CLOEXEC, of a file that others may use where its directory is shared. */
MUST_CHECK int fs_create(const char *path, int flags, mode_t mode);

/* mkdir(2), of a directory that others may use where its own is shared. */
MUST_CHECK int fs_mkdir(const char *path, mode_t mode);
/* mkdir -p. */
MUST_CHECK int fs_mkdirs(const char *path, mode_t mode, struct err *e);

/* rm -r of a directory that this program made; never follows a symlink. A missing path is
 * success. */
MUST_CHECK int fs_remove_tree(const char *path, struct err *e);

#endif
