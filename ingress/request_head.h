/*
 * What a request's head says, and whether it may go on to its body's verification.
 *
 * evhttp has read the head and the body when this looks; it is lax where smugglers live, so the
 * framing headers are read again strictly. No signature is computed here and nothing of the body is
 * looked at (invariant 2). Pure functions; slices borrow from evhttp's request.
 */
#ifndef MAYFLY_INGRESS_REQUEST_HEAD_H
#define MAYFLY_INGRESS_REQUEST_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/slice.h"
#include "ingress/answer.h"

struct request_head {
    bool is_post;
    bool has_nul;      /* a NUL byte somewhere in the request */
    struct slice path; /* without the query */
    struct slice content_length;
    size_t content_lengths; /* how often the header stands there */
    struct slice transfer_encoding;
    struct slice content_type;
    struct slice signature; /* X-Hub-Signature-256 */
    struct slice event;     /* X-GitHub-Event */
    struct slice delivery;  /* X-GitHub-Delivery */
    size_t body_bytes;      /* that evhttp has read */
};

/* Takes note of one header. */
void request_head_note(struct request_head *h, const char *name, const char *value);

/* True to go on; false with the answer otherwise. */
bool request_head_check(const struct request_head *h, struct slice our_path, struct answer *out);

#endif
