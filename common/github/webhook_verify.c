#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>

#include "common/base/codec.h"
#include "common/github/webhook.h"

#define DIGEST_BYTES 32

/* Creating an HMAC context costs more than hashing a small body, so each thread caches one.
 * `context_key` and `hmac` are written once, before any thread's pthread_once returns, and never
 * again. helgrind does not know that pthread_once orders this, and reports their use as a race. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t context_key;
static EVP_MAC *hmac;

static void free_context(void *context)
{
    EVP_MAC_CTX_free(context);
}

static void create_thread_key(void)
{
    ASSERT(pthread_key_create(&context_key, free_context) == 0);
    hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    ASSERT(hmac != NULL);
}

static EVP_MAC_CTX *thread_context(void)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    ASSERT(pthread_once(&once, create_thread_key) == 0);
    EVP_MAC_CTX *context = pthread_getspecific(context_key);
    if (context == NULL) {
        context = EVP_MAC_CTX_new(hmac);
        ASSERT(context != NULL && EVP_MAC_CTX_set_params(context, params) == 1);
        ASSERT(pthread_setspecific(context_key, context) == 0);
    }
    return context;
}

static bool is_signed_by(struct slice body, const unsigned char *claimed, struct slice secret)
{
    unsigned char digest[DIGEST_BYTES];
    size_t size = 0;
    EVP_MAC_CTX *context = thread_context();
    /* With an empty key anyone could sign. */
    if (secret.len == 0 ||
        EVP_MAC_init(context, (const unsigned char *)secret.ptr, secret.len, NULL) != 1 ||
        EVP_MAC_update(context, (const unsigned char *)body.ptr, body.len) != 1 ||
        EVP_MAC_final(context, digest, &size, sizeof digest) != 1) {
        return false;
    }
    return size == DIGEST_BYTES && CRYPTO_memcmp(digest, claimed, DIGEST_BYTES) == 0;
}

bool webhook_signature_parse(struct slice header, unsigned char out[32])
{
    const struct slice prefix = SLICE("sha256=");
    if (!slice_starts_with(header, prefix)) {
        return false;
    }
    return codec_unhex((struct slice){header.ptr + prefix.len, header.len - prefix.len}, out,
                       DIGEST_BYTES);
}

bool webhook_verify(struct slice body, struct slice signature, const struct config_list *secrets)
{
    unsigned char claimed[DIGEST_BYTES];
    bool valid = false;
    if (!webhook_signature_parse(signature, claimed)) {
        return false;
    }
    for (size_t i = 0; i < secrets->count; i++) {
        /* Checks all secrets: the time taken must not reveal which one matched. */
        valid = is_signed_by(body, claimed, slice_of(secrets->items[i])) || valid;
    }
    return valid;
}
