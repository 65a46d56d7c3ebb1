#include <string.h>

#include "common/base/codec.h"
#include "common/base/random.h"
#include "deploy/image/standin/listener.h"

#define HASH_BYTES 32
#define BLOCK_BYTES 64
#define WORD_BYTES 8
#define WORD_BITS 64
#define WORDS (KEY_BYTES / WORD_BYTES)

/* --- SHA-256 (FIPS 180-4) --------------------------------------------------------------------- */

static const uint32_t sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64];
    uint32_t v[8];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)p[i * 4] << 24 | (uint32_t)p[i * 4 + 1] << 16 |
               (uint32_t)p[i * 4 + 2] << 8 | p[i * 4 + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
        uint32_t t1 = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + sha_k[i] + w[i];
        uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
        uint32_t t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) {
        h[i] += v[i];
    }
}

static void sha256(const unsigned char *data, size_t len, unsigned char out[HASH_BYTES])
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char last[2 * BLOCK_BYTES] = {0};
    size_t whole = len / BLOCK_BYTES * BLOCK_BYTES;
    size_t rest = len - whole;
    size_t tail = rest < BLOCK_BYTES - 8 ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    for (size_t i = 0; i < whole; i += BLOCK_BYTES) {
        sha_block(h, data + i);
    }
    if (rest > 0) {
        memcpy(last, data + whole, rest);
    }
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++) {
        last[tail - 1 - (size_t)i] = (unsigned char)((uint64_t)len * 8 >> (8 * i));
    }
    for (size_t i = 0; i < tail; i += BLOCK_BYTES) {
        sha_block(h, last + i);
    }
    for (int i = 0; i < HASH_BYTES; i++) {
        out[i] = (unsigned char)(h[i / 4] >> (24 - i % 4 * 8));
    }
}

/* --- modular exponentiation (Montgomery), least significant word first ------------------------ */

__extension__ typedef unsigned __int128 wide_t;

static void words_of(const unsigned char *bytes, uint64_t *out)
{
    for (int i = 0; i < WORDS; i++) {
        out[i] = 0;
        for (int k = 0; k < WORD_BYTES; k++) {
            out[i] = out[i] << 8 | bytes[KEY_BYTES - (i + 1) * WORD_BYTES + k];
        }
    }
}

static bool at_least(const uint64_t *a, const uint64_t *b)
{
    for (int i = WORDS - 1; i >= 0; i--) {
        if (a[i] != b[i]) {
            return a[i] > b[i];
        }
    }
    return true;
}

static void subtract(uint64_t *a, const uint64_t *b)
{
    wide_t borrow = 0;
    for (int i = 0; i < WORDS; i++) {
        wide_t difference = (wide_t)a[i] - b[i] - borrow;
        a[i] = (uint64_t)difference;
        borrow = difference >> 127;
    }
}

/* out = a * b / 2^2048 mod n; n_inverse = -1/n mod 2^64. */
static void multiply(uint64_t *out, const uint64_t *a, const uint64_t *b, const uint64_t *n,
                     uint64_t n_inverse)
{
    uint64_t t[WORDS + 2] = {0};
    for (int i = 0; i < WORDS; i++) {
        wide_t carry = 0;
        for (int k = 0; k < WORDS; k++) {
            carry += t[k] + (wide_t)a[k] * b[i];
            t[k] = (uint64_t)carry;
            carry >>= WORD_BITS;
        }
        carry += t[WORDS];
        t[WORDS] = (uint64_t)carry;
        t[WORDS + 1] = (uint64_t)(carry >> WORD_BITS);
        uint64_t m = t[0] * n_inverse;
        carry = (t[0] + (wide_t)m * n[0]) >> WORD_BITS;
        for (int k = 1; k < WORDS; k++) {
            carry += t[k] + (wide_t)m * n[k];
            t[k - 1] = (uint64_t)carry;
            carry >>= WORD_BITS;
        }
        carry += t[WORDS];
        t[WORDS - 1] = (uint64_t)carry;
        t[WORDS] = t[WORDS + 1] + (uint64_t)(carry >> WORD_BITS);
    }
    if (t[WORDS] != 0 || at_least(t, n)) {
        subtract(t, n);
    }
    memcpy(out, t, WORDS * sizeof t[0]);
}

/* out = base^exponent mod n. */
static void power(const unsigned char *base, const unsigned char *exponent,
                  const unsigned char *modulus, unsigned char *out)
{
    uint64_t n[WORDS];
    uint64_t x[WORDS];
    uint64_t result[WORDS] = {0};
    uint64_t square[WORDS] = {0}; /* 2^4096 mod n */
    uint64_t one[WORDS] = {1};
    uint64_t inverse = 1;
    words_of(modulus, n);
    words_of(base, x);
    for (int i = 0; i < 6; i++) {
        inverse *= 2 - n[0] * inverse;
    }
    inverse = 0 - inverse;
    subtract(square, n); /* 2^2048 - n, below n since its top bit is set */
    for (int i = 0; i < 2048; i++) {
        bool over = square[WORDS - 1] >> 63 != 0;
        for (int k = WORDS - 1; k > 0; k--) {
            square[k] = square[k] << 1 | square[k - 1] >> 63;
        }
        square[0] <<= 1;
        if (over || at_least(square, n)) {
            subtract(square, n);
        }
    }
    multiply(x, x, square, n, inverse);
    multiply(result, one, square, n, inverse);
    for (int bit = 0; bit < KEY_BYTES * 8; bit++) {
        multiply(result, result, result, n, inverse);
        if (exponent[bit / 8] >> (7 - bit % 8) & 1) {
            multiply(result, result, x, n, inverse);
        }
    }
    multiply(result, result, one, n, inverse);
    for (int i = 0; i < KEY_BYTES; i++) {
        out[KEY_BYTES - 1 - i] = (unsigned char)(result[i / WORD_BYTES] >> (i % WORD_BYTES * 8));
    }
}

/* --- encodings (RFC 8017) --------------------------------------------------------------------- */

static void encode_pkcs1(const unsigned char *hash, unsigned char *out)
{
    static const unsigned char head[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                         0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    size_t tail = sizeof head + HASH_BYTES;
    memset(out, 0xff, KEY_BYTES);
    out[0] = 0;
    out[1] = 1;
    out[KEY_BYTES - tail - 1] = 0;
    memcpy(out + KEY_BYTES - tail, head, sizeof head);
    memcpy(out + KEY_BYTES - HASH_BYTES, hash, HASH_BYTES);
}

/* With a salt as long as the hash. */
static void encode_pss(const unsigned char *hash, unsigned char *out)
{
    enum { MASKED = KEY_BYTES - HASH_BYTES - 1 };
    unsigned char text[8 + 2 * HASH_BYTES] = {0};
    unsigned char seed[HASH_BYTES + 4];
    unsigned char mask[HASH_BYTES];
    memcpy(text + 8, hash, HASH_BYTES);
    random_bytes(text + 8 + HASH_BYTES, HASH_BYTES);
    sha256(text, sizeof text, seed);
    memset(out, 0, KEY_BYTES);
    out[MASKED - HASH_BYTES - 1] = 1;
    memcpy(out + MASKED - HASH_BYTES, text + 8 + HASH_BYTES, HASH_BYTES);
    for (size_t i = 0; i < MASKED; i++) {
        if (i % HASH_BYTES == 0) {
            seed[HASH_BYTES] = seed[HASH_BYTES + 1] = seed[HASH_BYTES + 2] = 0;
            seed[HASH_BYTES + 3] = (unsigned char)(i / HASH_BYTES);
            sha256(seed, sizeof seed, mask);
        }
        out[i] ^= mask[i % HASH_BYTES];
    }
    out[0] &= 0x7f;
    memcpy(out + MASKED, seed, HASH_BYTES);
    out[KEY_BYTES - 1] = 0xbc;
}

void sign_jwt(const struct runner *r, const struct buf *text, struct buf *out)
{
    unsigned char hash[HASH_BYTES];
    unsigned char encoded[KEY_BYTES];
    unsigned char signature[KEY_BYTES];
    sha256((const unsigned char *)text->data, text->len, hash);
    if (r->fips) {
        encode_pss(hash, encoded);
    } else {
        encode_pkcs1(hash, encoded);
    }
    power(encoded, r->exponent, r->modulus, signature);
    codec_base64url(out, (struct slice){(const char *)signature, sizeof signature});
}
