/*
 * mayfly_call_seconds: how long each call to a service took, and how it ended.
 *
 * A call is counted where it leaves the program, once: by the client of GitHub and by that of AWS (SQS
 * and DynamoDB too), and by the fronts of queue and ledger where the store is no service of AWS.
 * Operations are grouped, so that a person can read them and their number stays small. A failure has
 * no buckets, only its count and its time. When CALLS_OK_MAX operations have succeeded, or
 * CALLS_FAILED_MAX have failed in different ways, further ones are counted as service="other": so a
 * process has at most 250 series of calls. Any thread.
 */
#ifndef MAYFLY_BASE_CALLS_H
#define MAYFLY_BASE_CALLS_H

#include <stdint.h>

#include "common/base/err.h"

#define CALLS_OK_MAX 24
#define CALLS_FAILED_MAX 24

/* The outcome is ERR_NONE ("ok"), or the class of the error. service, operation: static. */
void calls_observe(const char *service, const char *operation, enum err_class outcome, int64_t us);

/* The same for a function that returned rc: 0, or -1 with *e. Returns rc. */
int calls_ended(const char *service, const char *operation, int64_t began_us, int rc,
                const struct err *e);

#endif
