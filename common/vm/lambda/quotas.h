/*
 * The account's applied quotas on MicroVMs, from Service Quotas. Blocks; any thread.
 */
#ifndef MAYFLY_VM_LAMBDA_QUOTAS_H
#define MAYFLY_VM_LAMBDA_QUOTAS_H

#include "common/vm/lambda/check.h"
#include "common/vm/lambda/settings.h"

#define LAMBDA_MEMORY_FACTOR 4 /* a VM counts this many times its size */

struct lambda_quotas {
    double memory_mib;
    double run; /* calls a second */
    double run_burst;
    double terminate;
    double terminate_burst;
};
/* role_arn: of the account; NULL or "": the process's own. */
MUST_CHECK int lambda_read_quotas(const char *region, const char *role_arn,
                                  struct lambda_quotas *out, struct err *e);

#endif
