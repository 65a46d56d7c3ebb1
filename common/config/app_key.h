/*
 * The App's private key: the text that people store, and the key in it.
 *
 * Source: docs.github.com, "Managing private keys for GitHub Apps": an RSA key in PEM (PKCS #1).
 */
#ifndef MAYFLY_CONFIG_APP_KEY_H
#define MAYFLY_CONFIG_APP_KEY_H

#include <openssl/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* Reads an RSA key of at least 2048 bits (*out: EVP_PKEY_free). A byte order mark, CRLF, blanks
 * around lines, and "\n" written as two characters are what a copied key may have, and are no
 * fault. ERR_PERMANENT says what it is instead, without any of its text: "is …: …". */
MUST_CHECK int app_key_read(struct slice pem, EVP_PKEY **out, struct err *e);

#endif
