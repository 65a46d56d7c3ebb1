#include "common/config/keys/tls_pair.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/fs.h"
#include "common/config/keys/pem.h"

static BIO *open_file(const char *path, struct err *e)
{
    if (fs_check_regular(path, e) != 0) {
        return NULL;
    }
    BIO *bio = BIO_new_file(path, "r");
    if (bio == NULL) {
        int failed = errno;
        ERR_clear_error();
        (void)err_errno(e, ERR_PERMANENT, failed, "cannot open %s", path);
    }
    return bio;
}

static X509 *read_certificate(const char *path, struct err *e)
{
    BIO *bio = open_file(path, e);
    if (bio == NULL) {
        return NULL;
    }
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    ERR_clear_error();
    if (x == NULL) {
        (void)err_set(e, ERR_PERMANENT, 0,
                      "%s begins with no certificate in PEM: give the server's own certificate, "
                      "followed by the authorities between it and the root",
                      path);
    }
    return x;
}

static EVP_PKEY *read_key(const char *path, struct err *e)
{
    bool encrypted = false;
    BIO *bio = open_file(path, e);
    if (bio == NULL) {
        return NULL;
    }
    EVP_PKEY *key = pem_private_key(bio, &encrypted);
    BIO_free(bio);
    if (key == NULL && encrypted) {
        (void)err_set(e, ERR_PERMANENT, 0,
                      "%s is encrypted with a passphrase, which no program can type: decrypt it "
                      "(openssl pkey -in OLD -out NEW)",
                      path);
    } else if (key == NULL) {
        (void)err_set(e, ERR_PERMANENT, 0, "%s is no private key in PEM", path);
    }
    return key;
}

static int64_t not_after_ms(const X509 *x)
{
    struct tm tm;
    return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) * 1000 : 0;
}

int tls_pair_check(const char *certificate, const char *key, int64_t *until_ms,
                   enum tls_half *at_fault, struct err *e)
{
    int rc = -1;
    *at_fault = TLS_CERTIFICATE;
    X509 *x = read_certificate(certificate, e);
    if (x == NULL) {
        return -1;
    }
    *at_fault = TLS_KEY;
    *until_ms = not_after_ms(x);
    EVP_PKEY *private_key = read_key(key, e);
    if (private_key != NULL) {
        rc = X509_check_private_key(x, private_key) == 1
                 ? 0
                 : err_set(e, ERR_PERMANENT, 0,
                           "%s is not the key of the certificate in %s: give the key that it was "
                           "made with",
                           key, certificate);
        ERR_clear_error();
    }
    EVP_PKEY_free(private_key);
    X509_free(x);
    return rc;
}
