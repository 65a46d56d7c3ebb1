/*
 * TLS of a Redis connection: OpenSSL on a socket that does not block.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "common/redis/internal.h"

void redis_tls_reason(char *out, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    if (code == 0) {
        (void)snprintf(out, size, "the connection was closed");
    } else {
        ERR_error_string_n(code, out, size);
    }
    ERR_clear_error();
}

int redis_tls_context(const struct redis_url *u, SSL_CTX **out, struct err *e)
{
    char reason[256];
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    ASSERT(context != NULL);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    int ok = u->ca[0] != '\0' ? SSL_CTX_load_verify_locations(context, u->ca, NULL)
                              : SSL_CTX_set_default_verify_paths(context);
    const char *what = "the CA certificates (ca)";
    if (ok == 1 && u->cert[0] != '\0') {
        what = "the client certificate (cert) and its key (key)";
        ok = SSL_CTX_use_certificate_chain_file(context, u->cert) == 1 &&
             SSL_CTX_use_PrivateKey_file(context, u->key[0] != '\0' ? u->key : u->cert,
                                         SSL_FILETYPE_PEM) == 1;
    }
    if (ok != 1) {
        redis_tls_reason(reason, sizeof reason);
        SSL_CTX_free(context);
        return err_set(e, ERR_PERMANENT, 0, "cannot load %s for TLS to Redis: %s", what, reason);
    }
    *out = context;
    return 0;
}

/* --- a socket whose writes raise no SIGPIPE --- */
static int fd_of(BIO *b)
{
    return (int)(intptr_t)BIO_get_data(b);
}

static bool would_block(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int bio_write(BIO *b, const char *bytes, int len)
{
    BIO_clear_retry_flags(b);
    ssize_t n = send(fd_of(b), bytes, (size_t)len, MSG_NOSIGNAL);
    if (would_block(n)) {
        BIO_set_retry_write(b);
    }
    return (int)n;
}

static int bio_read(BIO *b, char *bytes, int len)
{
    BIO_clear_retry_flags(b);
    ssize_t n = recv(fd_of(b), bytes, (size_t)len, 0);
    if (would_block(n)) {
        BIO_set_retry_read(b);
    }
    return (int)n;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
    (void)b;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/* Created once per process: OpenSSL has a bounded number of BIO types. */
static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
    ASSERT(method != NULL);
    ASSERT(BIO_meth_set_write(method, bio_write) == 1);
    ASSERT(BIO_meth_set_read(method, bio_read) == 1);
    ASSERT(BIO_meth_set_ctrl(method, bio_ctrl) == 1);
}

SSL *redis_tls_new(SSL_CTX *context, int fd, const char *host)
{
    unsigned char address[16];
    ASSERT(pthread_once(&method_once, make_method) == 0);
    SSL *ssl = SSL_new(context);
    BIO *bio = BIO_new(method);
    ASSERT(ssl != NULL && bio != NULL);
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        ASSERT(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1);
    } else {
        ASSERT(SSL_set1_host(ssl, host) == 1);
        /* OpenSSL copies the name, but its macro casts const away. */
        char *name = slice_dup(slice_of(host));
        (void)SSL_set_tlsext_host_name(ssl, name);
        free(name);
    }
    SSL_set_connect_state(ssl);
    return ssl;
}
