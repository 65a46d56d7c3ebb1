/*
 * What a MicroVM wrote, in CloudWatch Logs.
 *
 * Only where the class has lambda.log_group, and only where this program may read that group
 * (logs:GetLogEvents); no launch depends on it. One call, of LAMBDA_OUTPUT_TIMEOUT_MS at most; after
 * one that got no useful response none is made for a minute, so that many VMs that fail together do
 * not hold up who looks at them. Any thread.
 */
#ifndef MAYFLY_VM_VM_LAMBDA_OUTPUT_H
#define MAYFLY_VM_VM_LAMBDA_OUTPUT_H

#include "common/base/buf.h"
#include "common/vm/lambda/settings.h"

#define LAMBDA_OUTPUT_TIMEOUT_MS 3000
#define LAMBDA_OUTPUT_PAUSE_MS 60000
#define LAMBDA_OUTPUT_EVENTS 100

struct lambda_output;

/* NULL without a log group. region: the class's. */
MUST_CHECK int lambda_output_open(const char *log_group, const char *region, const char *role_arn,
                                  struct lambda_output **out, struct err *e);
void lambda_output_close(struct lambda_output *o);

/* Appends the last `limit` bytes of the newest LAMBDA_OUTPUT_EVENTS lines of the VM that was launched
 * with that name; o may be NULL. ERR_NOT_FOUND: there is nothing (yet), and where it would be. */
MUST_CHECK int lambda_output_read(struct lambda_output *o, const char *name, size_t limit,
                                  struct buf *out, struct err *e);

#endif
