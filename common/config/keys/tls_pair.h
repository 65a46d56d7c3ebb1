/*
 * The ingress's certificate and its key, as files: whether they are a pair, and until when.
 */
#ifndef MAYFLY_CONFIG_KEYS_TLS_PAIR_H
#define MAYFLY_CONFIG_KEYS_TLS_PAIR_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

enum tls_half { TLS_CERTIFICATE, TLS_KEY };
/* Reads both PEM files. *until_ms: the certificate's notAfter, wall clock. ERR_PERMANENT with the
 * half that is at fault: a file that cannot be read, is no PEM, is encrypted, or a key that is not
 * the certificate's. Never prompts. */
MUST_CHECK int tls_pair_check(const char *certificate, const char *key, int64_t *until_ms,
                              enum tls_half *at_fault, struct err *e);

#endif
