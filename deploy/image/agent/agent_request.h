/*
 * Parses the hook requests of Lambda: the part of HTTP/1.x that hooks need, and the JSON of the
 * body.
 *
 * Pure functions over the bytes read so far, strict and bounded: a head of at most REQUEST_HEAD_MAX
 * bytes, a body of at most REQUEST_BODY_MAX, by length or in chunks. Bytes that cannot become a
 * request are rejected as early as possible, with the status to return: a TLS handshake at its
 * first byte. The target comes without scheme and host. Not included: sockets and deadlines (agent_hooks.h), and the meaning of a hook
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
/* Most bytes of one request on the wire, including the overhead of chunks. */
#define REQUEST_MAX (REQUEST_HEAD_MAX + 2 * REQUEST_BODY_MAX)
#define REQUEST_MICROVM_ID_MAX 128

enum request_read {
    REQUEST_MORE,  /* incomplete: read more */
    REQUEST_WHOLE, /* *out is filled */
    REQUEST_BAD,   /* invalid; out->status is the status to return */
};

struct agent_request {
    struct slice method; /* both borrow from the input */
    struct slice target;
    bool keep_alive;
    bool expects_continue; /* also with REQUEST_MORE: the client waits before it sends the body */
    bool forwarded;        /* not the platform's: for another host, or through a public endpoint */
    size_t used;           /* its length in the input, if complete */
    int status;            /* if invalid: 400, 413, 417, 431, 501 or 505 */
};

/* Parses the front of `in`. `body`, whose limit must be REQUEST_BODY_MAX, is reset and has the body
 * if the request is complete. */
enum request_read agent_request_parse(struct slice in, struct agent_request *out, struct buf *body);

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
