#include "common/config/app_key.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/config/keys/pem.h"

#define KEY_BITS_MIN 2048
#define PEM_LIMIT_BYTES (64 * 1024)
#define FROM_GITHUB "give the .pem file that GitHub made for the App"

static bool contains(struct slice text, const char *part)
{
    return text.len > 0 && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* Appends the lines without what surrounds them. */
static void clean(struct slice text, struct buf *out)
{
    const char *line_end = memchr(text.ptr, '\n', text.len) == NULL ? "\\n" : "\n";
    size_t step = strlen(line_end);
    if (slice_starts_with(text, SLICE("\xef\xbb\xbf"))) {
        text = (struct slice){text.ptr + 3, text.len - 3};
    }
    while (text.len > 0) {
        const char *end = memmem(text.ptr, text.len, line_end, step);
        size_t len = end != NULL ? (size_t)(end - text.ptr) : text.len;
        size_t used = end != NULL ? len + step : len;
        struct slice line = slice_trim((struct slice){text.ptr, len});
        if (line.len > 0) {
            buf_append(out, line);
            buf_append_byte(out, '\n');
        }
        text = (struct slice){text.ptr + used, text.len - used};
    }
}

/* What people give instead of it; NULL: none of these. */
static const char *known_mistake(struct slice pem)
{
    static const struct {
        const char *part;
        const char *says;
    } mistakes[] = {
        {"-----BEGIN OPENSSH PRIVATE KEY-----", "is an OpenSSH key, not the App's: " FROM_GITHUB},
        {"-----BEGIN EC PRIVATE KEY-----", "is an EC key, and GitHub's are RSA: " FROM_GITHUB},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----",
         "is encrypted with a passphrase, which no program can type: decrypt it (openssl rsa -in "
         "OLD -out NEW)"},
        {"ENCRYPTED",
         "is encrypted with a passphrase, which no program can type: decrypt it (openssl rsa -in "
         "OLD -out NEW)"},
        {"-----BEGIN PUBLIC KEY-----", "is a public key: " FROM_GITHUB ", with the private key"},
        {"-----BEGIN RSA PUBLIC KEY-----",
         "is a public key: " FROM_GITHUB ", with the private key"},
        {"-----BEGIN CERTIFICATE-----", "is a certificate: " FROM_GITHUB ", with the private key"},
    };
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        if (contains(pem, mistakes[i].part)) {
            return mistakes[i].says;
        }
    }
    if (!contains(pem, "-----BEGIN ")) {
        return "is no private key in PEM: " FROM_GITHUB ", as file:PATH, its text, credential:NAME "
               "or kms:KEY";
    }
    return contains(pem, "-----END ") ? NULL
                                      : "is cut off: its line -----END … is missing: " FROM_GITHUB
                                        ", whole and with its line breaks";
}

static EVP_PKEY *parse(struct slice pem)
{
    bool encrypted = false; /* then it was named before */
    BIO *bio = BIO_new_mem_buf(pem.len > 0 ? pem.ptr : "", (int)pem.len);
    ASSERT(bio != NULL);
    EVP_PKEY *key = pem_private_key(bio, &encrypted);
    BIO_free(bio);
    return key;
}

static int read_clean(struct slice pem, EVP_PKEY **out, struct err *e)
{
    const char *mistake = known_mistake(pem);
    if (mistake != NULL) {
        return err_set(e, ERR_PERMANENT, 0, "%s", mistake);
    }
    EVP_PKEY *key = parse(pem);
    if (key == NULL) {
        return err_set(e, ERR_PERMANENT, 0,
                       "is damaged or cut off: " FROM_GITHUB ", whole and with its line breaks");
    }
    int bits = EVP_PKEY_get_bits(key);
    bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
    if (!rsa || bits < KEY_BITS_MIN) {
        EVP_PKEY_free(key);
        return rsa ? err_set(
                         e, ERR_PERMANENT, 0,
                         "is an RSA key of %d bits, and GitHub's have %d at least: " FROM_GITHUB,
                         bits, KEY_BITS_MIN)
                   : err_set(e, ERR_PERMANENT, 0, "is no RSA key: " FROM_GITHUB);
    }
    *out = key;
    return 0;
}

int app_key_read(struct slice pem, EVP_PKEY **out, struct err *e)
{
    struct buf text;
    buf_init(&text, PEM_LIMIT_BYTES);
    if (pem.len > 0) {
        clean(pem, &text);
    }
    int rc = text.failed ? err_set(e, ERR_PERMANENT, 0, "is too long for a key: " FROM_GITHUB)
                         : read_clean(buf_slice(&text), out, e);
    if (text.data != NULL) {
        explicit_bzero(text.data, text.cap);
    }
    buf_fini(&text);
    return rc;
}
