/*
 * `mayflyctl app import-key`: moves the App's private key into a key of AWS KMS, which signs with it
 * and never gives it away. Sources: AWS KMS developer guide, "Importing key material"; RFC 5649.
 *
 * In C, since the command line of OpenSSL cannot wrap a key so (AES key wrap with padding), and the
 * key need not become a file for it. Nothing plain leaves this process.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "common/aws/secrets.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/base/printable.h"
#include "common/base/random.h"
#include "common/config/app_key.h"
#include "deploy/ctl/app/app.h"
#include "deploy/ctl/app/kms.h"

#define PEM_LIMIT_BYTES ((size_t)64 * 1024)
#define WRAPPED_LIMIT_BYTES ((size_t)16 * 1024)
#define ALIAS "alias/mayfly-github-app"
#define BITS 2048
#define SIGN_TRIES 5
#define SIGN_PAUSE_MS 1000

static void wipe(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

/* --- the App's key --- */

static bool is_reference(const char *from)
{
    return strncmp(from, "ssm:", 4) == 0 || strncmp(from, "secretsmanager:", 15) == 0;
}

static int read_key(const char *from, EVP_PKEY **out, struct err *e)
{
    struct buf pem;
    buf_init(&pem, PEM_LIMIT_BYTES);
    int rc = is_reference(from) ? aws_secret_fetch(slice_of(from), &pem, e)
                                : fs_read_regular(from, &pem, e);
    if (rc == 0 && app_key_read(buf_slice(&pem), out, e) != 0) {
        rc = err_wrap(e, "%s", from);
    }
    wipe(&pem);
    if (rc == 0 && EVP_PKEY_get_bits(*out) != BITS) {
        EVP_PKEY_free(*out);
        *out = NULL;
        rc = err_set(e, ERR_PERMANENT, 0, "%s is no RSA key of %d bits, as GitHub's are", from,
                     BITS);
    }
    return rc;
}

/* --- wrapping --- */

static int broken(struct err *e)
{
    ERR_clear_error();
    return err_set(e, ERR_PERMANENT, 0, "OpenSSL could not wrap the key for KMS");
}

/* Appends the private key, PKCS #8 in DER, under the AES key. */
static bool append_wrapped_key(EVP_PKEY *key, const unsigned char aes[32], struct buf *out)
{
    unsigned char *der = NULL;
    unsigned char wrapped[8192];
    int first = 0;
    int last = 0;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    ASSERT(ctx != NULL);
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    bool good = len > 0 && len < (int)sizeof wrapped - 16 &&
                EVP_EncryptInit_ex(ctx, EVP_aes_256_wrap_pad(), NULL, aes, NULL) == 1 &&
                EVP_EncryptUpdate(ctx, wrapped, &first, der, len) == 1 &&
                EVP_EncryptFinal_ex(ctx, wrapped + first, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (der != NULL) {
        OPENSSL_cleanse(der, (size_t)len);
    }
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
    if (good) {
        buf_append(out, (struct slice){(const char *)wrapped, (size_t)(first + last)});
    }
    return good && !out->failed;
}

/* Appends the AES key under KMS's wrapping key: OAEP with SHA-256, also in its mask. */
static bool append_wrapped_aes(struct slice der, const unsigned char aes[32], struct buf *out)
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    unsigned char wrapped[1024];
    size_t len = sizeof wrapped;
    EVP_PKEY *public = d2i_PUBKEY(NULL, &at, (long)der.len);
    EVP_PKEY_CTX *ctx = public != NULL ? EVP_PKEY_CTX_new(public, NULL) : NULL;
    bool good = ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_get_size(public) <= (int)sizeof wrapped &&
                EVP_PKEY_encrypt(ctx, wrapped, &len, aes, 32) == 1;
    if (good) {
        buf_append(out, (struct slice){(const char *)wrapped, len});
    }
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(public);
    return good && !out->failed;
}

static int wrap(EVP_PKEY *key, struct slice wrapping_key, struct buf *out, struct err *e)
{
    unsigned char aes[32];
    random_bytes(aes, sizeof aes);
    bool good = append_wrapped_aes(wrapping_key, aes, out) && append_wrapped_key(key, aes, out);
    explicit_bzero(aes, sizeof aes);
    return good ? 0 : broken(e);
}

/* --- the import --- */

static int import(struct kms *kms, const char *id, EVP_PKEY *key, struct err *e)
{
    struct kms_import with;
    struct buf wrapped;
    if (kms_get_import(kms, id, &with, e) != 0) {
        return -1;
    }
    buf_init(&wrapped, WRAPPED_LIMIT_BYTES);
    int rc = wrap(key, buf_slice(&with.wrapping_key), &wrapped, e);
    if (rc == 0) {
        rc = kms_import(kms, id, &with, buf_slice(&wrapped), e);
    }
    wipe(&wrapped);
    kms_import_fini(&with);
    return rc;
}

static bool verifies(EVP_PKEY *key, struct slice text, struct slice signature)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ASSERT(ctx != NULL);
    bool good = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(ctx, (const unsigned char *)signature.ptr, signature.len,
                                 (const unsigned char *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

/* As worker and reaper sign. A key that was imported a moment ago may not be known everywhere. */
static int try_signature(const char *arn, EVP_PKEY *key, struct err *e)
{
    struct aws_kms *signer = NULL;
    struct buf ref;
    struct buf signature;
    char text[33];
    random_hex(text, 16);
    buf_init(&ref, 2100);
    buf_init(&signature, 1024);
    buf_printf(&ref, "kms:%s", arn);
    int rc = aws_kms_open(buf_slice(&ref), &signer, e);
    for (int i = 0; rc == 0 && i < SIGN_TRIES; i++) {
        buf_reset(&signature);
        rc = aws_kms_sign(signer, slice_of(text), &signature, e);
        if (rc == 0 || i == SIGN_TRIES - 1) {
            break;
        }
        clock_sleep_until(clock_mono_ms() + SIGN_PAUSE_MS);
        rc = 0;
    }
    if (rc == 0 && !verifies(key, slice_of(text), buf_slice(&signature))) {
        rc = err_set(e, ERR_PERMANENT, 0, "%s signs with another key than the App's", arn);
    }
    aws_kms_close(signer);
    buf_fini(&signature);
    buf_fini(&ref);
    return rc;
}

static bool is_same_key(EVP_PKEY *key, struct slice der)
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    EVP_PKEY *theirs = d2i_PUBKEY(NULL, &at, (long)der.len);
    bool same = theirs != NULL && EVP_PKEY_eq(key, theirs) == 1;
    EVP_PKEY_free(theirs);
    ERR_clear_error();
    return same;
}

/* What is there already is compared, never replaced: a key of KMS takes one material alone. */
static int import_if_needed(struct kms *kms, const struct kms_key *k, EVP_PKEY *key, bool *had_it,
                            struct err *e)
{
    struct buf public;
    *had_it = strcmp(k->state, "Enabled") == 0;
    if (strcmp(k->state, "PendingImport") == 0) {
        return import(kms, k->arn, key, e);
    }
    if (!*had_it) {
        return err_set(e, ERR_PERMANENT, 0, "%s is in the state %s: enable it, or name another",
                       k->arn, k->state);
    }
    buf_init(&public, WRAPPED_LIMIT_BYTES);
    int rc = kms_get_public(kms, k->arn, &public, e);
    if (rc == 0 && !is_same_key(key, buf_slice(&public))) {
        rc = err_set(e, ERR_CONFLICT, 0,
                     "%s holds another key: for a new key of the App make a new one with another "
                     "--alias",
                     k->arn);
    }
    buf_fini(&public);
    return rc;
}

static int find_or_make(struct kms *kms, struct ctl *c, struct kms_key *out, struct err *e)
{
    const char *given = ctl_option(c, "--key");
    const char *alias = ctl_option(c, "--alias");
    alias = alias != NULL ? alias : ALIAS;
    if (given != NULL) {
        return kms_describe(kms, given, out, e);
    }
    if (strncmp(alias, "alias/", 6) != 0) {
        c->exit_code = CTL_EXIT_USAGE;
        return err_set(e, ERR_PERMANENT, 0, "--alias must begin with alias/");
    }
    int rc = kms_describe(kms, alias, out, e);
    return rc != 0 && e->class == ERR_NOT_FOUND ? kms_make(kms, alias, out, e) : rc;
}

static int import_into(struct kms *kms, struct ctl *c, EVP_PKEY *key, json_t **out, struct err *e)
{
    struct kms_key k;
    bool had_it = false;
    if (find_or_make(kms, c, &k, e) != 0) {
        return -1;
    }
    if (strcmp(k.spec, "RSA_2048") != 0 || strcmp(k.usage, "SIGN_VERIFY") != 0 ||
        strcmp(k.origin, "EXTERNAL") != 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "%s is %s, %s, %s: it must be RSA_2048, SIGN_VERIFY, EXTERNAL", k.arn,
                       k.spec, k.usage, k.origin);
    }
    if (import_if_needed(kms, &k, key, &had_it, e) != 0 || try_signature(k.arn, key, e) != 0) {
        return -1;
    }
    *out = json_pack("{s:s, s:b, s:s+}", "key", k.arn, "imported_before", had_it, "private_key",
                     "kms:", k.arn);
    return 0;
}

int ctl_app_import_key(struct ctl *c, json_t **out, struct err *e)
{
    EVP_PKEY *key = NULL;
    struct kms *kms = NULL;
    if (read_key(c->argv[0], &key, e) != 0) {
        return -1;
    }
    int rc = kms_open(ctl_option(c, "--key"), &kms, e);
    if (rc == 0) {
        rc = import_into(kms, c, key, out, e);
    }
    kms_close(kms);
    EVP_PKEY_free(key);
    return rc != 0 ? err_said_by(e, ERR_FROM_KMS) : 0;
}

void ctl_app_import_key_print(const json_t *answer)
{
    printable_line(stdout, "%s %s the App's key, and signs with it", ctl_str(answer, "key"),
                   json_is_true(json_object_get(answer, "imported_before")) ? "held already"
                                                                            : "now holds");
    printable_line(stdout, "1. The configuration's line: private_key: \"%s\"",
                   ctl_str(answer, "private_key"));
    printable_line(stdout, "2. Allow kms:Sign on it to the roles of worker and reaper alone "
                           "(deploy/aws/policies)");
    printable_line(stdout,
                   "3. Delete the copy that it was imported from: KMS gives it to nobody, and "
                   "GitHub makes a new one at any time");
}
