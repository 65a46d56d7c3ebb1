/*
 * What an answer of AWS means: its error's name, and what that name says is to be done now.
 *
 * Services tell a name in a header (x-amzn-errortype, x-amzn-query-error) or in the body (__type,
 * code; <Code> in XML), a message as message or Message, and sometimes how long to wait. One table
 * holds the names that services share; a service's own come before it (struct aws_error_rule). A
 * name that is in neither is judged by the HTTP status, and an unknown one is transient.
 *
 * Pure functions over bytes from outside: they take any. Messages are made printable, cut, and rid
 * of long quotes, since a refusal may repeat what was sent.
 */
#ifndef MAYFLY_AWS_ERRORS_H
#define MAYFLY_AWS_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/aws/aws.h"

struct aws_answer {
    char name[80];     /* without a namespace; "" if the answer was none of the service's */
    char older[80];    /* the same error's name in the query protocol; "" without one */
    char message[300]; /* "" without one */
    char request_id[80];
    int64_t retry_after_ms; /* 0: not told */
    int64_t date_ms;        /* the answer's Date; -1 without one */
};

void aws_answer_read(const struct http_response *r, struct aws_answer *out);

struct aws_verdict {
    enum err_class class;
    const char *mend;
};
/* rules: the service's own, NULL-named last; may be NULL. */
struct aws_verdict aws_judge(const struct aws_answer *a, int status,
                             const struct aws_error_rule *rules);

/* The service holds our clock to be wrong, or the signature, which may have that cause. */
bool aws_is_about_time(const struct aws_answer *a);
/* The credentials have expired, or are not known (any more). */
bool aws_is_about_credentials(const struct aws_answer *a);

/* The text of the first element of that name in an XML text, entities decoded; false if there is
 * none or it holds further elements. */
bool aws_xml_text(struct slice xml, const char *name, struct buf *out);

/* An HTTP date ("Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110); -1 if it is none. */
int64_t aws_http_date(struct slice text);

#endif
