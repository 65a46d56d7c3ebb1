/* What the client does with a server whose certificate nobody vouches for. A case of its own, as it
 * needs a TLS server; what it must never see is the request. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/client.h"
#include "tests/lib/cmocka.h"

struct tls_server {
    SSL_CTX *ctx;
    int listen_fd;
    int port;
    pthread_t thread;
    bool saw_request;
    char ca_file[32]; /* its certificate, which vouches for itself */
};

/* Made out to 127.0.0.1's name "localhost" and signed by itself. */
static X509 *self_signed(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    assert_non_null(cert);
    X509_NAME *name = X509_get_subject_name(cert);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), -60));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                                (const unsigned char *)"localhost", -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(cert, name), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

/* One connection: if the handshake succeeds, a request is read and answered. */
static void *serve_once(void *arg)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    struct tls_server *s = arg;
    char request[4096];
    int fd = accept(s->listen_fd, NULL, NULL);
    SSL *ssl = SSL_new(s->ctx);
    if (fd >= 0 && ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1 &&
        SSL_read(ssl, request, sizeof request) > 0) {
        s->saw_request = true;
        (void)SSL_write(ssl, answer, (int)sizeof answer - 1);
    }
    SSL_free(ssl);
    (void)close(fd);
    return NULL;
}

static int set_up(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct tls_server *s = calloc(1, sizeof *s);
    assert_non_null(s);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *cert = self_signed(key);
    s->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(s->ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, key), 1);
    memcpy(s->ca_file, "/tmp/mayfly-ca-XXXXXX", sizeof "/tmp/mayfly-ca-XXXXXX");
    FILE *file = fdopen(mkstemp(s->ca_file), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    assert_int_equal(fclose(file), 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listen_fd, 1), 0);
    assert_int_equal(getsockname(s->listen_fd, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve_once, s), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct tls_server *s = *state;
    SSL_CTX_free(s->ctx);
    (void)close(s->listen_fd);
    (void)unlink(s->ca_file);
    (void)unsetenv("SSL_CERT_FILE");
    free(s);
    return 0;
}

static void an_unknown_certificate_ends_the_call_before_the_request(void **state)
{
    static const char *const headers[] = {"Authorization: Bearer sesame"};
    struct tls_server *s = *state;
    struct http_client *c = NULL;
    struct http_response r;
    struct err e;
    char url[64];
    const struct http_client_options o = {
        .user_agent = "t", .proxy = "", .connect_timeout_ms = 20000, .timeout_ms = 20000};
    (void)snprintf(url, sizeof url, "https://localhost:%d/", s->port);
    const struct http_request q = {
        .method = "GET", .url = url, .headers = headers, .header_count = 1};
    assert_int_equal(http_client_new(&o, &c, &e), 0);
    int rc = http_send(c, &q, &r, &e);
    http_client_free(c);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "certificate"));
    assert_false(s->saw_request);
}

/* Returns what http_send does; the request is read if it succeeds. */
static int call(struct tls_server *s, const char *ca_file, struct err *e)
{
    struct http_client *c = NULL;
    struct http_response r;
    char url[64];
    const struct http_client_options o = {.user_agent = "t",
                                          .proxy = "",
                                          .ca_file = ca_file,
                                          .ca_setting = "the.setting",
                                          .connect_timeout_ms = 20000,
                                          .timeout_ms = 20000};
    (void)snprintf(url, sizeof url, "https://localhost:%d/", s->port);
    const struct http_request q = {.method = "GET", .url = url};
    if (http_client_new(&o, &c, e) != 0) {
        return -1;
    }
    int rc = http_send(c, &q, &r, e);
    http_client_free(c);
    if (rc == 0) {
        http_response_fini(&r);
    }
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    return rc;
}

static void a_certificate_of_the_named_file_is_known(void **state)
{
    struct tls_server *s = *state;
    struct err e;
    (void)setenv("SSL_CERT_FILE", "/dev/null", 1); /* the setting comes first */
    assert_int_equal(call(s, s->ca_file, &e), 0);
    assert_true(s->saw_request);
}

static void a_certificate_of_the_environments_file_is_known(void **state)
{
    struct tls_server *s = *state;
    struct err e;
    (void)setenv("SSL_CERT_FILE", s->ca_file, 1);
    assert_int_equal(call(s, "", &e), 0);
    assert_true(s->saw_request);
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
    struct tls_server *s = *state;
    struct err e;
    assert_int_equal(call(s, "/no/such/file", &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "the.setting, /no/such/file"));
    assert_int_equal(call(s, s->ca_file, &e), 0); /* the server waits for one connection */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unknown_certificate_ends_the_call_before_the_request,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_certificate_of_the_named_file_is_known, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_certificate_of_the_environments_file_is_known, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_read_is_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
