/*
 * Reads the hook requests of Lambda: HTTP/1.x as far as a hook needs it, and the JSON of its body.
 *
 * Pure functions over the bytes read so far, strict and bounded: a head of at most REQUEST_HEAD_MAX
 * bytes, a body of at most REQUEST_BODY_MAX, by length or in chunks. Whatever cannot become a
 * request is refused as soon as that is seen, with the status to answer: a TLS greeting at its
 * first byte. Not here: sockets and deadlines (agent_hooks.h), and what a hook means
 * (agent_lambda.h). Safe from any thread.
 */
#ifndef MAYFLY_AGENT_REQUEST_H
#define MAYFLY_AGENT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/slice.h"

#define REQUEST_HEAD_MAX 8192
#define REQUEST_BODY_MAX 32768
/* The most bytes that one request may have on the wire: chunks cost some on top. */
#define REQUEST_MAX (REQUEST_HEAD_MAX + 2 * REQUEST_BODY_MAX)
#define REQUEST_MICROVM_ID_MAX 128

enum request_read {
    REQUEST_MORE,  /* not whole yet: read on */
    REQUEST_WHOLE, /* *out is filled */
    REQUEST_BAD,   /* it can never become one; out->status says how to refuse it */
};

struct agent_request {
    struct slice method; /* both borrow from the input */
    struct slice target;
    bool keep_alive;
    size_t used; /* bytes of the input that it took, when whole */
    int status;  /* when bad: 400, 413, 431, 501 or 505 */
};

/* Looks at the front of `in`; `body` is reset, and holds the body when the request is whole. It
 * needs a ceiling of REQUEST_BODY_MAX. */
enum request_read agent_request_parse(struct slice in, struct agent_request *out, struct buf *body);

struct agent_run_body {
    char microvm_id[REQUEST_MICROVM_ID_MAX + 1]; /* "" if it is not told */
    bool has_payload;
};

/* The body of the run hook, {"microvmId": …, "runHookPayload": …}, other members passed over; its
 * payload is appended to `payload`. A body that is no JSON object is taken for the payload itself,
 * which is how AWS's own pages have it. False: neither. */
MUST_CHECK bool agent_run_body_parse(struct slice in, struct agent_run_body *out,
                                     struct buf *payload);

#endif
