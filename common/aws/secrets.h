/*
 * Values stored in AWS, fetched by a reference, and signing with a key in KMS.
 *
 *   ssm:NAME                        a parameter of the Systems Manager, decrypted
 *   secretsmanager:ARN[#json-key]   a secret, or one text in the JSON object that it holds
 *   kms:KEY                         a key that signs and never leaves KMS
 *
 * A name that is an ARN also gives the region. Reads are retried a few times while AWS does not
 * respond. Threading: any thread; a KMS key is constant once made. Failures: as aws_send's, named
 * by the reference; none contains a secret.
 */
#ifndef MAYFLY_AWS_SECRETS_H
#define MAYFLY_AWS_SECRETS_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* Appends the value to *out, without one newline at its end. */
MUST_CHECK int aws_secret_fetch(struct slice written, struct buf *out, struct err *e);

bool aws_kms_is(struct slice written);

struct aws_kms; /* an RSA key of KMS */
MUST_CHECK int aws_kms_open(struct slice written, struct aws_kms **out, struct err *e);
void aws_kms_close(struct aws_kms *k); /* NULL is allowed */
/* Appends the signature (RSASSA-PKCS1-v1_5 with SHA-256) of the text. One call of KMS. */
MUST_CHECK int aws_kms_sign(struct aws_kms *k, struct slice text, struct buf *out, struct err *e);

#endif
