#include "ingress/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/fs.h"

struct tls {
    pthread_mutex_t lock;
    SSL_CTX *context; /* guarded by lock */
};

static int openssl_err(struct err *e, const char *what, const char *path)
{
    char text[256];
    unsigned long code = ERR_get_error();
    ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return err_set(e, ERR_PERMANENT, 0, "%s %s: %s", what, path, text);
}

/* HTTP/1.1 only, whatever a client offers (RFC 7301). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, alpn, sizeof alpn - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int configure(SSL_CTX *context, const char *certificate, const char *key, struct err *e)
{
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(context, 0) != 1 ||
        SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) {
        return openssl_err(e, "TLS", "settings");
    }
    if (fs_check_regular(certificate, e) != 0 || fs_check_regular(key, e) != 0) {
        return -1;
    }
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1) {
        return openssl_err(e, "certificate", certificate);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return openssl_err(e, "key", key);
    }
    return 0;
}

static SSL_CTX *new_context(const char *certificate, const char *key, struct err *e)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    ASSERT(context != NULL);
    if (configure(context, certificate, key, e) != 0) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

int tls_open(const char *certificate, const char *key, struct tls **out, struct err *e)
{
    SSL_CTX *context = new_context(certificate, key, e);
    if (context == NULL) {
        return -1;
    }
    struct tls *t = calloc(1, sizeof *t);
    ASSERT(t != NULL && pthread_mutex_init(&t->lock, NULL) == 0);
    t->context = context;
    *out = t;
    return 0;
}

void tls_close(struct tls *t)
{
    if (t == NULL) {
        return;
    }
    SSL_CTX_free(t->context);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

int tls_reload(struct tls *t, const char *certificate, const char *key, struct err *e)
{
    SSL_CTX *context = new_context(certificate, key, e);
    if (context == NULL) {
        return -1;
    }
    pthread_mutex_lock(&t->lock);
    SSL_CTX *old = t->context;
    t->context = context;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old); /* sessions in use hold a reference */
    return 0;
}

SSL *tls_session(struct tls *t)
{
    pthread_mutex_lock(&t->lock);
    SSL *ssl = SSL_new(t->context);
    pthread_mutex_unlock(&t->lock);
    return ssl;
}
