#include "common/config/keys/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* OpenSSL would prompt for it on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return 0;
}

EVP_PKEY *pem_private_key(BIO *from, bool *encrypted)
{
    *encrypted = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(from, NULL, no_passphrase, encrypted);
    ERR_clear_error();
    return key;
}
