/*
 * The ingress's HTTP answers: status and a small JSON body.
 *
 * One table for the whole program (README, "Answers"): 202 queued; 200 valid but not for this
 * deployment, a duplicate, or a load balancer's question (/healthz); 400 malformed; 401 bad or
 * missing signature; 403 an address that may not send; 404; 405; 411; 413; 414; 415; 417; 431; 501;
 * 503 overloaded; 505. Pure values, any thread; reasons are static text.
 */
#ifndef MAYFLY_INGRESS_ANSWER_H
#define MAYFLY_INGRESS_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"

struct answer {
    int code;           /* HTTP status */
    const char *reason; /* for the body, the metrics and the log */
    bool close;         /* close the connection: what follows is in doubt, or not worth reading */
};

/* How it is sent. */
struct answer_form {
    bool is_head;          /* without the body */
    bool closes;           /* says Connection: close */
    bool keeps_alive_1_0;  /* says Connection: keep-alive, which HTTP/1.0 must hear */
    int64_t retry_after_s; /* with a 503 */
    const char *date;      /* of RFC 9110 */
};

/* Appends the whole answer: {"queued":true}, {"ignored":"ping"}, {"duplicate":true},
 * {"healthy":true}, {"error":"…"}. */
void answer_write(const struct answer *a, const struct answer_form *form, struct buf *out);

#endif
