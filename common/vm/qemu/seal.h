/*
 * The seal of a snapshot: its files are read-only, and SHA256SUMS beside them has their hashes, as
 * sha256sum(1) writes and checks them.
 *
 * Every VM of a class starts from the snapshot, so a file that was changed (by a program, by a disk)
 * would be in all of them. Hashing it for each VM would cost more than a tenth of a restore; so it is
 * hashed before its first use by a process, and again when its inode, size, mtime or ctime is another
 * one. No user can set a file's ctime; only the worker's user, whose the files are, can write them.
 */
#ifndef MAYFLY_VM_QEMU_SEAL_H
#define MAYFLY_VM_QEMU_SEAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define QEMU_SAVED_DISK "disk.qcow2"
#define QEMU_SAVED_STATE "state"
#define QEMU_SAVED_FILES 3 /* these, and the overlay */

struct qemu_file_id {
    int64_t device, inode, size, mtime_ns, ctime_ns;
};

/* What this process found good; zeroed at first. */
struct qemu_seal {
    pthread_mutex_t lock;
    struct qemu_file_id good[QEMU_SAVED_FILES];
};
void qemu_seal_init(struct qemu_seal *s);
void qemu_seal_fini(struct qemu_seal *s);

/* Seals the snapshot in `dir`, whose overlay has the name `overlay` so far. ERR_RETRY. */
MUST_CHECK int qemu_seal_make(const char *dir, const char *overlay, struct err *e);

/* Whether the snapshot is as it was sealed. One thread hashes at a time. ERR_RETRY, naming the
 * file. */
MUST_CHECK int qemu_seal_check(struct qemu_seal *s, const char *dir, struct err *e);

#endif
