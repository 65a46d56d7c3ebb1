/*
 * Which host this process runs on, as the ledger knows it.
 *
 * A host exists only where a class is configured whose VMs run on their worker's host. It is a random
 * id in <state_dir>/host-id, made by the first program that starts there, so that a host that is
 * renamed stays the same, and one that is replaced by another of the same name does not become it.
 * Other processes have no stable id: their host's name stands in for it.
 */
#ifndef MAYFLY_PROGRAM_HOST_H
#define MAYFLY_PROGRAM_HOST_H

#include "common/config/config.h"

#define HOST_ID_DIGITS 32

struct host {
    bool has_id;   /* else `id` is the name */
    char id[72];   /* HOST_ID_DIGITS hexadecimal digits */
    char name[65]; /* gethostname(2) */
    char boot_id[40];
    char pid_namespace[24]; /* "" if unknown */
};

/* Reads the id, and makes it if there is none. ERR_PERMANENT: the file is not an id, or cannot be
 * read. */
MUST_CHECK int host_open(const struct config *c, struct host *out, struct err *e);

#endif
