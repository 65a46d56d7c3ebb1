/*
 * TLS for the listening side, by OpenSSL: one context, replaced as a whole when the certificate is
 * renewed.
 *
 * TLS 1.2 and 1.3, forward secrecy only. No tickets and no session cache: GitHub does not resume,
 * and a full handshake is cheaper without them. tls_reload may run concurrently with tls_session.
 */
#ifndef MAYFLY_INGRESS_TLS_H
#define MAYFLY_INGRESS_TLS_H

#include <openssl/types.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct tls;

/* Paths of PEM files: the certificate with its chain, and its key. */
MUST_CHECK int tls_open(const char *certificate, const char *key, struct tls **out, struct err *e);
void tls_close(struct tls *t); /* NULL is fine */

/* Reads the files again; on failure the old ones stay in use. */
MUST_CHECK int tls_reload(struct tls *t, const char *certificate, const char *key, struct err *e);

/* The server's side of a new connection; owned by the caller, NULL when out of memory. */
SSL *tls_session(struct tls *t);

#endif
