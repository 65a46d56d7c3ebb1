/*
 * A request's head, and whether its body may be verified.
 *
 * evhttp has read the head and the body before; it is lax where request smuggling is possible, so
 * the framing headers are checked again strictly. No signature is computed here and the body is not
 * read (invariant 2). Pure functions; slices borrow from evhttp's request.
 */
#ifndef MAYFLY_INGRESS_REQUEST_HEAD_H
#define MAYFLY_INGRESS_REQUEST_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/slice.h"
#include "ingress/answer.h"

struct request_head {
    bool is_post;
    bool is_get;
    bool has_nul;      /* a NUL byte somewhere in the request */
    struct slice path; /* without the query */
    struct slice content_length;
    size_t content_lengths; /* how often the header occurs */
    struct slice transfer_encoding;
    struct slice content_type;
    struct slice signature; /* X-Hub-Signature-256 */
    struct slice event;     /* X-GitHub-Event */
    struct slice delivery;  /* X-GitHub-Delivery */
    size_t body_bytes;      /* that evhttp has read */
};

/* Adds one header. */
void request_head_add(struct request_head *h, const char *name, const char *value);

/* Whether a load balancer asks for the health of this process: GET /healthz. */
bool request_head_asks_health(const struct request_head *h, struct answer *healthy);

/* True if the body may be verified; otherwise false, with the answer. */
bool request_head_check(const struct request_head *h, struct slice our_path, struct answer *out);

#endif
