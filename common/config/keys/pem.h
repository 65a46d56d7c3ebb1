/*
 * A private key out of PEM text, without ever asking for a passphrase.
 */
#ifndef MAYFLY_CONFIG_KEYS_PEM_H
#define MAYFLY_CONFIG_KEYS_PEM_H

#include <openssl/types.h>
#include <stdbool.h>

/* NULL if it holds none that can be read; *encrypted: since it has a passphrase. Clears OpenSSL's
 * error queue. */
EVP_PKEY *pem_private_key(BIO *from, bool *encrypted);

#endif
