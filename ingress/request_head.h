/*
 * A request's head, and whether its body may come.
 *
 * All that can be judged without the body is judged when the head is complete, cheapest first, and
 * before anything of the body is kept (invariant 2): path, method, content type, length, presence
 * and form of the signature. Pure functions; slices borrow from the request.
 */
#ifndef MAYFLY_INGRESS_REQUEST_HEAD_H
#define MAYFLY_INGRESS_REQUEST_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/slice.h"
#include "common/http/request.h"
#include "ingress/answer.h"
#include "ingress/peer/forwarded.h"

/* Of a header that occurs twice, the first; but those of proxies are joined. */
struct request_head {
    struct slice content_type;
    struct slice signature; /* X-Hub-Signature-256 */
    struct slice event;     /* X-GitHub-Event */
    struct slice delivery;  /* X-GitHub-Delivery */
    struct forwarded_lines forwarded;
    struct forwarded_lines x_forwarded_for;
};

void request_head_read(struct slice headers, struct request_head *out);

enum head_verdict {
    HEAD_IS_WEBHOOK, /* its body is to be read and verified */
    HEAD_ASKS_HEALTH,
    HEAD_REFUSED, /* with the answer */
};

/* `r` after HTTP_READ_HEAD. */
enum head_verdict request_head_judge(const struct http_request *r, const struct request_head *h,
                                     struct slice our_path, size_t max_body_bytes,
                                     struct answer *refusal);

/* The answer to what the reader refused. */
struct answer request_head_refusal(const struct http_request *r);

#endif
