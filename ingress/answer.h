/*
 * The ingress's HTTP answers: status and a small JSON body.
 *
 * One table for the whole program (README, "Answers"): 202 queued; 200 valid but not for this
 * deployment, a duplicate, or a load
 * balancer's question (/healthz); 400 malformed; 401 bad or missing signature; 404; 405; 411; 413 and
 * 417 (by evhttp itself); 415; 503 overloaded. Pure values, any thread; reasons are static text.
 */
#ifndef MAYFLY_INGRESS_ANSWER_H
#define MAYFLY_INGRESS_ANSWER_H

#include <stdbool.h>

#include "common/base/buf.h"

struct answer {
    int code;           /* HTTP status */
    const char *reason; /* for the body, the metrics and the log */
    bool close;         /* close the connection: its framing is in doubt */
};

/* The status's phrase (RFC 9110). */
const char *answer_phrase(int code);

/* Appends the body: {"queued":true}, {"ignored":"ping"}, {"duplicate":true}, {"healthy":true}, {"error":"…"}. */
void answer_body(const struct answer *a, struct buf *out);

#endif
