/*
 * Checks the settings of the provider `lambda` with the service (check.h).
 */
#ifndef MAYFLY_VM_LAMBDA_CHECK_H
#define MAYFLY_VM_LAMBDA_CHECK_H

#include "common/check/check.h"

/* All classes with this provider: image and version, permissions, quotas. */
void lambda_check(struct check *c);

/* --- for the files of the check only --- */

/* A class, with what could be read about it. */
struct lambda_check_class {
    const struct config_class *class;
    char region[64];
    int64_t memory_mib; /* of the version it runs; 0 unknown */
};

/* The account's quotas in every region of these classes, compared with the configuration. */
void lambda_check_quotas(struct check *c, const struct lambda_check_class *classes, size_t n);

#endif
