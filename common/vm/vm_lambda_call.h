/*
 * One call of the AWS Lambda MicroVMs service (REST JSON, API version 2025-09-09), for the provider
 * `lambda` alone.
 *
 * lambda_send makes the request, sends it once and judges the answer: success is an HTTP 200, all
 * else an error of the class that one table gives for the service's name of it, with the request's
 * id and what to do in its message. It never repeats a call: whether that is safe only the caller
 * knows. lambda_changed_nothing tells whether a failed call surely had no effect. A service struct
 * is constant after its making and may be used from any number of threads. No message holds a
 * payload.
 */
#ifndef MAYFLY_VM_VM_LAMBDA_CALL_H
#define MAYFLY_VM_VM_LAMBDA_CALL_H

#include <stdbool.h>

#include "common/http/client.h"

struct lambda_service {
    struct http_client *http;
    char *endpoint; /* without a slash at its end */
    char *region;
};

struct lambda_call {
    const char *operation; /* "RunMicrovm"; for messages, and decides what "not found" means */
    const char *method;
    struct slice target; /* path below the version, and query: "/microvms?maxResults=5" */
    struct slice body;   /* JSON; empty for none */
};

/* *out is owned by the caller on success (http_response_fini). */
MUST_CHECK int lambda_send(const struct lambda_service *s, const struct lambda_call *c,
                           struct http_response *out, struct err *e);

/* Whether the failed call surely changed nothing: it never left this host, or the service refused
 * it in so many words. */
bool lambda_changed_nothing(const struct err *e);

#endif
