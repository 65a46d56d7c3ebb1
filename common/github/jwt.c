#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "common/base/codec.h"
#include "common/base/random.h"
#include "common/github/internal.h"

#define JTI_BYTES 16
#define SIGNATURE_BYTES_MAX 2048 /* RSA of 16384 bits, OpenSSL's maximum */

struct github_signer *github_signer_hold(struct github *g, struct github_identity *i)
{
    pthread_mutex_lock(&g->lock);
    struct github_signer *s = i->signer;
    s->holders++;
    pthread_mutex_unlock(&g->lock);
    return s;
}

void github_signer_free(struct github_signer *s)
{
    if (s != NULL) {
        EVP_PKEY_free(s->key);
        aws_kms_close(s->kms);
        free(s);
    }
}

void github_signer_drop(struct github *g, struct github_signer *s)
{
    pthread_mutex_lock(&g->lock);
    bool last = --s->holders == 0;
    pthread_mutex_unlock(&g->lock);
    if (last) {
        github_signer_free(s);
    }
}

static void append_claims(struct buf *text, const char *app_id, int64_t now_ms)
{
    char jti[2 * JTI_BYTES + 1];
    struct buf claims;
    int64_t issued_s = now_ms / 1000 - 60;
    random_hex(jti, JTI_BYTES);
    buf_init(&claims, 1024);
    buf_printf(&claims,
               "{\"iat\":%" PRId64 ",\"exp\":%" PRId64 ",\"jti\":\"%s\",\"iss\":", issued_s,
               issued_s + 600, jti);
    buf_append_json(&claims, slice_of(app_id));
    buf_append_byte(&claims, '}');
    text->failed = text->failed || claims.failed;
    codec_base64url(text, buf_slice(&claims));
    buf_fini(&claims);
}

static int sign_here(EVP_PKEY *key, struct slice text, struct buf *out, struct err *e)
{
    unsigned char signature[SIGNATURE_BYTES_MAX];
    size_t length = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ASSERT(ctx != NULL);
    int ok =
        EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestSign(ctx, signature, &length, (const unsigned char *)text.ptr, text.len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
        return err_set(e, ERR_PERMANENT, 0,
                       "signing with github.app.private_key failed: give the .pem file that GitHub "
                       "made for the App");
    }
    buf_append(out, (struct slice){(const char *)signature, length});
    return 0;
}

static int sign_by_kms(struct aws_kms *kms, struct slice text, struct buf *out, struct err *e)
{
    if (aws_kms_sign(kms, text, out, e) == 0) {
        return 0;
    }
    /* That there is no such key must not look like an installation that does not exist. */
    e->class = e->class == ERR_NOT_FOUND ? ERR_AUTH : e->class;
    (void)err_said_by(e, ERR_FROM_KMS);
    return err_wrap(e, "KMS did not sign for GitHub: github.app.private_key");
}

int github_jwt_sign(const struct github_signer *signer, const char *app_id, int64_t now_ms,
                    struct buf *out, struct err *e)
{
    int rc = -1;
    struct buf text;
    struct buf signature;
    buf_init(&text, 4096);
    buf_init(&signature, SIGNATURE_BYTES_MAX);
    codec_base64url(&text, SLICE("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"));
    buf_append_byte(&text, '.');
    append_claims(&text, app_id, now_ms);
    if (text.failed) {
        (void)err_set(e, ERR_PERMANENT, 0, "github.app.id is too long: give the App's id");
        goto out;
    }
    rc = signer->kms != NULL ? sign_by_kms(signer->kms, buf_slice(&text), &signature, e)
                             : sign_here(signer->key, buf_slice(&text), &signature, e);
    if (rc == 0) {
        buf_append(out, buf_slice(&text));
        buf_append_byte(out, '.');
        codec_base64url(out, buf_slice(&signature));
    }
out:
    buf_fini(&signature);
    buf_fini(&text);
    return rc;
}
