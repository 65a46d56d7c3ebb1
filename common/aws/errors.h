/*
 * Classifies responses of AWS: the error's name, and how to react to it.
 *
 * Services send a name in a header (x-amzn-errortype, x-amzn-query-error) or in the body (__type,
 * code; <Code> in XML), a message as message or Message, and sometimes how long to wait. One table
 * has the names that services share; a service's own rules (struct aws_error_rule) precede it. For
 * a name in neither the HTTP status decides, and an unknown one is transient.
 *
 * Pure functions that accept any bytes. Messages are made printable, truncated, and stripped of
 * long quotes, since a refusal may repeat what was sent.
 */
#ifndef MAYFLY_AWS_ERRORS_H
#define MAYFLY_AWS_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/aws/aws.h"

struct aws_answer {
    char name[80];     /* without a namespace; "" if the response was not the service's */
    char older[80];    /* the same error's name in the query protocol; "" without one */
    char message[300]; /* "" without one */
    char request_id[80];
    int64_t retry_after_ms; /* 0: not given */
    int64_t date_ms;        /* the response's Date; -1 without one */
};

void aws_answer_read(const struct http_response *r, struct aws_answer *out);

struct aws_verdict {
    enum err_class class;
    const char *hint;
};
/* rules: the service's own, the last with name NULL; may be NULL. */
struct aws_verdict aws_classify(const struct aws_answer *a, int status,
                                const struct aws_error_rule *rules);

/* The service rejects the request's time, or the signature, which a wrong clock may cause. */
bool aws_is_about_time(const struct aws_answer *a);
/* The credentials have expired, or are unknown or no longer known. */
bool aws_is_about_credentials(const struct aws_answer *a);

/* The text of the first element of that name in an XML text, entities decoded; false if there is
 * none or it contains elements. */
bool aws_xml_text(struct slice xml, const char *name, struct buf *out);

/* An HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110) in wall-clock ms; -1 if it is
 * invalid. */
int64_t aws_http_date(struct slice text);

#endif
