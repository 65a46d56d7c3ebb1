/*
 * Hook requests of Lambda: whose they are, and the JSON of the run hook's body.
 *
 * Pure functions over a request that common/http/request.h has read. Not included: sockets and
 * deadlines (agent_hooks.h), and the meaning of a hook (agent_lambda.h). Safe from any thread.
 */
#ifndef MAYFLY_AGENT_REQUEST_H
#define MAYFLY_AGENT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/http/request.h"

#define REQUEST_BODY_MAX 32768
#define REQUEST_MICROVM_ID_MAX 128

/* Not the platform's: for another host, or through a public endpoint. The platform's own calls have
 * a local host and no request id. */
bool agent_request_is_forwarded(const struct http_request *r);

struct agent_run_body {
    char microvm_id[REQUEST_MICROVM_ID_MAX + 1]; /* "" if absent */
    bool has_payload;
};

/* The body of the run hook, {"microvmId": …, "runHookPayload": …}, other members ignored; appends
 * the payload to `payload`. A body that is not a JSON object is the payload itself, as in AWS's
 * documentation. False: neither. */
MUST_CHECK bool agent_run_body_parse(struct slice in, struct agent_run_body *out,
                                     struct buf *payload);

#endif
