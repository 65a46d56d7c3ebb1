/*
 * What the checks of the provider `lambda` tell each other; for common/check alone.
 */
#ifndef MAYFLY_CHECK_CHECK_LAMBDA_H
#define MAYFLY_CHECK_CHECK_LAMBDA_H

#include "common/check/check.h"

/* A class as far as it could be asked about. */
struct check_lambda_class {
    const struct config_class *class;
    char region[64];
    int64_t memory_mib; /* of the version it runs; 0 unknown */
};

/* The account's quotas in every region of these classes, against what the configuration wants. */
void check_lambda_quotas(struct check *c, const struct check_lambda_class *classes, size_t n);

/* Whether anything here calls AWS. */
bool check_uses_aws(const struct config *c);

#endif
