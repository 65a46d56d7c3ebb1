#include "common/base/codec.h"

#include <stdint.h>
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char base64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void codec_hex(const void *bytes, size_t size, char *out)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = hex_digits[p[i] >> 4];
        out[2 * i + 1] = hex_digits[p[i] & 15];
    }
    out[2 * size] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool codec_unhex(struct slice text, void *out, size_t size)
{
    unsigned char *p = out;
    if (text.len != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (hex_value(text.ptr[i]) < 0) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        p[i] = (unsigned char)(hex_value(text.ptr[2 * i]) * 16 + hex_value(text.ptr[2 * i + 1]));
    }
    return true;
}

static void encode_base64(struct buf *out, struct slice bytes, const char *alphabet, bool padded)
{
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        unsigned char in[3] = {0};
        memcpy(in, bytes.ptr + i, n);
        uint32_t word = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        char text[4];
        for (size_t k = 0; k < 4; k++) {
            text[k] = k <= n ? alphabet[word >> (18 - 6 * k) & 63] : '=';
        }
        buf_append(out, (struct slice){text, padded ? 4 : n + 1});
    }
}

void codec_base64(struct buf *out, struct slice bytes)
{
    encode_base64(out, bytes, base64_std, true);
}

void codec_base64url(struct buf *out, struct slice bytes)
{
    encode_base64(out, bytes, base64_url, false);
}

static int base64_value(char c)
{
    const char *at = c == '\0' ? NULL : strchr(base64_std, c);
    return at == NULL ? -1 : (int)(at - base64_std);
}

/* One group of four; returns the number of bytes in it, 0 if it is not canonical. */
static size_t decode_group(const char *text, bool last, char *out)
{
    int pad = (text[3] == '=') + (text[3] == '=' && text[2] == '=');
    uint32_t word = 0;
    if (pad > 0 && !last) {
        return 0;
    }
    for (int k = 0; k < 4; k++) {
        int v = k >= 4 - pad ? 0 : base64_value(text[k]);
        if (v < 0) {
            return 0;
        }
        word = word << 6 | (uint32_t)v;
    }
    if ((pad == 1 && (word & 0xff) != 0) || (pad == 2 && (word & 0xffff) != 0)) {
        return 0;
    }
    out[0] = (char)(word >> 16);
    out[1] = (char)(word >> 8);
    out[2] = (char)word;
    return (size_t)(3 - pad);
}

/* Removes what was appended since the buffer was `before` long. */
static void truncate_to(struct buf *out, size_t before)
{
    out->len = before;
    if (out->data != NULL) {
        out->data[before] = '\0';
    }
}

bool codec_unbase64(struct buf *out, struct slice text)
{
    size_t before = out->len;
    if (text.len % 4 != 0 || out->failed) {
        return false;
    }
    for (size_t i = 0; i < text.len; i += 4) {
        char bytes[3];
        size_t n = decode_group(text.ptr + i, i + 4 == text.len, bytes);
        buf_append(out, (struct slice){bytes, n});
        if (n == 0 || out->failed) {
            truncate_to(out, before);
            return false;
        }
    }
    return true;
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void codec_percent(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (is_unreserved(s.ptr[i])) {
            buf_append_byte(out, s.ptr[i]);
        } else {
            buf_printf(out, "%%%02X", (unsigned char)s.ptr[i]);
        }
    }
}

bool codec_unform(struct buf *out, struct slice s)
{
    size_t before = out->len;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (s.len - i < 3 || hex_value(s.ptr[i + 1]) < 0 || hex_value(s.ptr[i + 2]) < 0) {
                truncate_to(out, before);
                return false;
            }
            c = (char)(hex_value(s.ptr[i + 1]) * 16 + hex_value(s.ptr[i + 2]));
            i += 2;
        }
        buf_append_byte(out, c);
    }
    return !out->failed;
}

bool codec_unpercent(struct slice s, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            if (s.len - i < 3 || !codec_unhex((struct slice){s.ptr + i + 1, 2}, &c, 1)) {
                return false;
            }
            i += 2;
        }
        if (n + 1 >= size || c == '\0') {
            return false;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}
