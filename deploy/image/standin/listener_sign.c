#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#include "common/base/codec.h"
#include "deploy/image/standin/listener.h"

static bool push_number(OSSL_PARAM_BLD *to, const char *name, const unsigned char *bytes,
                        BIGNUM **kept)
{
    *kept = BN_bin2bn(bytes, KEY_BYTES, NULL);
    return *kept != NULL && OSSL_PARAM_BLD_push_BN(to, name, *kept) == 1;
}

static EVP_PKEY *load_key(const struct runner *r)
{
    BIGNUM *n = NULL;
    BIGNUM *e = NULL;
    BIGNUM *d = NULL;
    OSSL_PARAM *params = NULL;
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (build != NULL && push_number(build, OSSL_PKEY_PARAM_RSA_N, r->modulus, &n) &&
        push_number(build, OSSL_PKEY_PARAM_RSA_E, r->public_exponent, &e) &&
        push_number(build, OSSL_PKEY_PARAM_RSA_D, r->private_exponent, &d)) {
        params = OSSL_PARAM_BLD_to_param(build);
    }
    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) != 1) {
        key = NULL;
    }
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(context);
    BN_free(n);
    BN_free(e);
    BN_free(d);
    return key;
}

/* PS256's salt is as long as the hash. */
static bool use_pss(EVP_PKEY_CTX *context)
{
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

bool sign_jwt(const struct runner *r, const struct buf *text, struct buf *out)
{
    unsigned char signature[KEY_BYTES];
    size_t length = sizeof signature;
    EVP_PKEY_CTX *context = NULL; /* owned by md */
    EVP_PKEY *key = load_key(r);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok =
        key != NULL && md != NULL &&
        EVP_DigestSignInit(md, &context, EVP_sha256(), NULL, key) == 1 &&
        (!r->fips || use_pss(context)) &&
        EVP_DigestSign(md, signature, &length, (const unsigned char *)text->data, text->len) == 1;
    if (ok) {
        codec_base64url(out, (struct slice){(const char *)signature, length});
    }
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    return ok;
}
