/*
 * The operations of AWS KMS by which the App's key is imported; for import_key.c alone. One thread.
 * Failures: as aws_send's.
 */
#ifndef MAYFLY_DEPLOY_CTL_APP_KMS_H
#define MAYFLY_DEPLOY_CTL_APP_KMS_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct kms;
/* `key`: an ARN gives the region; NULL: the environment's. */
MUST_CHECK int kms_open(const char *key, struct kms **out, struct err *e);
void kms_close(struct kms *k); /* NULL is fine */

struct kms_key {
    char arn[2048];
    char state[40]; /* "Enabled", "PendingImport", … */
    char spec[24];
    char usage[24];
    char origin[24];
};
/* `id`: an id, an ARN, or alias/NAME. */
MUST_CHECK int kms_describe(struct kms *k, const char *id, struct kms_key *out, struct err *e);
/* Makes a key without material, and its alias. */
MUST_CHECK int kms_make(struct kms *k, const char *alias, struct kms_key *out, struct err *e);
/* Appends the public key, DER. */
MUST_CHECK int kms_get_public(struct kms *k, const char *id, struct buf *out, struct err *e);

struct kms_import {
    struct buf token;        /* base64, as it is sent back */
    struct buf wrapping_key; /* DER */
};
MUST_CHECK int kms_get_import(struct kms *k, const char *id, struct kms_import *out, struct err *e);
void kms_import_fini(struct kms_import *i);
MUST_CHECK int kms_import(struct kms *k, const char *id, const struct kms_import *with,
                          struct slice wrapped, struct err *e);

#endif
