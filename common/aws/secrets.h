/*
 * Secrets that AWS keeps: fetched by what is written in their place, and a key of KMS that signs.
 *
 *   ssm:NAME                        a parameter of the Systems Manager, decrypted
 *   secretsmanager:ARN[#json-key]   a secret, or one text in the JSON object that it holds
 *   kms:KEY                         a key that signs and never leaves KMS
 *
 * A name that is an ARN tells the region too. Reads are tried again a few times while AWS does not
 * answer. Threading: any thread; a kms key is constant after its making. Failures: as aws_send's,
 * named by what is written; none holds a secret.
 */
#ifndef MAYFLY_AWS_SECRETS_H
#define MAYFLY_AWS_SECRETS_H

#include <stdbool.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* Appends the value to *out, less one line end at its end. */
MUST_CHECK int aws_secret_fetch(struct slice written, struct buf *out, struct err *e);

bool aws_kms_is(struct slice written);

struct aws_kms; /* an RSA key of KMS */
MUST_CHECK int aws_kms_open(struct slice written, struct aws_kms **out, struct err *e);
void aws_kms_close(struct aws_kms *k); /* NULL is fine */
/* Appends the signature (RSASSA-PKCS1-v1_5 with SHA-256) of the text. One call of KMS. */
MUST_CHECK int aws_kms_sign(struct aws_kms *k, struct slice text, struct buf *out, struct err *e);

#endif
