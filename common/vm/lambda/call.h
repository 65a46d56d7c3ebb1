/*
 * Calls of the AWS Lambda MicroVMs service (REST JSON, API version 2025-09-09), for the provider
 * `lambda` and for checks of its settings.
 *
 * It adds what common/aws does not know about this service: its paths, and what its errors mean for
 * a runner class. A call is sent once; only the caller knows whether it may be repeated. A client
 * is constant after its creation and may be used from any number of threads. Errors: as in aws.h,
 * with the setting or the quota to check; a launch without an image or an ACTIVE version of it is
 * ERR_PERMANENT. No message contains a payload.
 */
#ifndef MAYFLY_VM_VM_LAMBDA_CALL_H
#define MAYFLY_VM_VM_LAMBDA_CALL_H

#include <stdbool.h>

#include "common/aws/aws.h"
#include "common/vm/lambda/settings.h"

/* ERR_PERMANENT with the expected format if the class's image is not the ARN of a MicroVM image. */
MUST_CHECK int lambda_check_image(const struct config_class *class, struct err *e);

/* A client at the class's endpoint and region (the image's region by default); close it with
 * aws_client_close. */
MUST_CHECK int lambda_client_open(const struct config_class *class, struct aws_client **out,
                                  struct err *e);

struct lambda_call {
    const char *operation; /* "RunMicrovm"; for messages, and decides what "not found" means */
    const char *method;
    struct slice path;  /* below the version, percent-encoded: "/microvms/<id>" */
    struct slice query; /* percent-encoded; empty for none */
    struct slice body;  /* JSON; empty for none */
};

/* *out is owned by the caller on success (http_response_fini). role_denied (may be NULL): on
 * failure, whether the service refused because iam:PassRole is missing, which also happens for a
 * while after it was granted. */
MUST_CHECK int lambda_send(struct aws_client *c, const struct lambda_call *call,
                           struct http_response *out, bool *role_denied, struct err *e);

#endif
