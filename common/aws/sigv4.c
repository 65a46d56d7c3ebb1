#include "common/aws/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/codec.h"

#define DIGEST_BYTES 32
#define DIGEST_HEX (2 * DIGEST_BYTES + 1)
#define DATE_CHARS 17 /* "20150830T123600Z" and its NUL */
#define DAY_CHARS 8
#define PART_LIMIT_BYTES ((size_t)64 << 10)
#define CANONICAL_LIMIT_BYTES ((size_t)256 << 10)

/* --- digests ---------------------------------------------------------------------------------- */

static void sha256(struct slice s, unsigned char out[DIGEST_BYTES])
{
    unsigned length = 0;
    int ok = EVP_Digest(s.len > 0 ? s.ptr : "", s.len, out, &length, EVP_sha256(), NULL);
    ASSERT(ok == 1 && length == DIGEST_BYTES);
}

static void sha256_hex(struct slice s, char out[DIGEST_HEX])
{
    unsigned char digest[DIGEST_BYTES];
    sha256(s, digest);
    codec_hex(digest, sizeof digest, out);
}

static void hmac(struct slice key, struct slice text, unsigned char out[DIGEST_BYTES])
{
    unsigned length = 0;
    const unsigned char *mac = HMAC(EVP_sha256(), key.ptr, (int)key.len,
                                    (const unsigned char *)text.ptr, text.len, out, &length);
    ASSERT(mac != NULL && length == DIGEST_BYTES);
}

static struct slice digest_slice(const unsigned char digest[DIGEST_BYTES])
{
    return (struct slice){(const char *)digest, DIGEST_BYTES};
}

/* --- the signing key -------------------------------------------------------------------------- */

void sigv4_cache_init(struct sigv4_cache *c)
{
    *c = (struct sigv4_cache){0};
    ASSERT(pthread_mutex_init(&c->lock, NULL) == 0);
}

void sigv4_cache_fini(struct sigv4_cache *c)
{
    pthread_mutex_destroy(&c->lock);
    explicit_bzero(c->key, sizeof c->key);
    explicit_bzero(c->made_of, sizeof c->made_of);
}

static void derive_signing_key(const struct sigv4_signer *s, struct slice day,
                               unsigned char out[DIGEST_BYTES])
{
    unsigned char key[DIGEST_BYTES];
    struct buf first;
    buf_init(&first, PART_LIMIT_BYTES);
    buf_printf(&first, "AWS4%s", s->secret_key);
    hmac(buf_slice(&first), day, key);
    hmac(digest_slice(key), slice_of(s->region), out);
    hmac(digest_slice(out), slice_of(s->service), key);
    hmac(digest_slice(key), SLICE("aws4_request"), out);
    explicit_bzero(key, sizeof key);
    explicit_bzero(first.data, first.cap);
    buf_fini(&first);
}

static void signing_key(const struct sigv4_signer *s, struct slice day,
                        unsigned char out[DIGEST_BYTES])
{
    unsigned char made_of[DIGEST_BYTES];
    struct buf parts;
    if (s->cache == NULL) {
        derive_signing_key(s, day, out);
        return;
    }
    buf_init(&parts, 2 * PART_LIMIT_BYTES);
    buf_printf(&parts, "%s\n%.*s\n%s\n%s", s->secret_key, SLICE_ARG(day), s->region, s->service);
    sha256(buf_slice(&parts), made_of);
    explicit_bzero(parts.data, parts.cap);
    buf_fini(&parts);
    pthread_mutex_lock(&s->cache->lock);
    if (!s->cache->filled || memcmp(s->cache->made_of, made_of, sizeof made_of) != 0) {
        derive_signing_key(s, day, s->cache->key);
        memcpy(s->cache->made_of, made_of, sizeof made_of);
        s->cache->filled = true;
    }
    memcpy(out, s->cache->key, DIGEST_BYTES);
    pthread_mutex_unlock(&s->cache->lock);
}

/* --- the path --------------------------------------------------------------------------------- */

/* Removes empty and dot segments (RFC 3986, 5.2.4), as the service does. */
static void fold_path(struct slice path, struct buf *out)
{
    struct slice rest = path;
    struct slice segment;
    bool more = true;
    bool ends_with_slash = path.len > 0 && path.ptr[path.len - 1] == '/';
    while (more) {
        more = slice_cut(rest, '/', &segment, &rest);
        if (slice_eq_cstr(segment, "..")) {
            char removed = '\0';
            while (out->len > 0 && removed != '/') {
                removed = out->data[--out->len];
            }
        } else if (segment.len > 0 && !slice_eq_cstr(segment, ".")) {
            buf_append_byte(out, '/');
            buf_append(out, segment);
        }
    }
    if (out->len == 0 || ends_with_slash) {
        buf_append_byte(out, '/');
    }
}

static void append_canonical_path(struct slice path, struct buf *out)
{
    struct buf folded;
    struct slice rest;
    struct slice segment;
    bool more = true;
    buf_init(&folded, PART_LIMIT_BYTES);
    fold_path(path, &folded);
    rest = buf_slice(&folded);
    for (bool first = true; more; first = false) {
        more = slice_cut(rest, '/', &segment, &rest);
        if (!first) {
            buf_append_byte(out, '/');
        }
        codec_percent(out, segment);
    }
    out->failed = out->failed || folded.failed;
    buf_fini(&folded);
}

/* --- the query -------------------------------------------------------------------------------- */

struct parameter {
    struct buf key;
    struct buf value;
};

static int compare_slices(struct slice a, struct slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter > 0 ? memcmp(a.ptr, b.ptr, shorter) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_parameters(const void *a, const void *b)
{
    const struct parameter *x = a;
    const struct parameter *y = b;
    int order = compare_slices(buf_slice(&x->key), buf_slice(&y->key));
    return order != 0 ? order : compare_slices(buf_slice(&x->value), buf_slice(&y->value));
}

/* Appends the canonical encoding of a text. */
static bool append_canonical_text(struct slice s, struct buf *out)
{
    struct buf plain;
    buf_init(&plain, PART_LIMIT_BYTES);
    /* Some servers decode a bare plus as a space and others as a plus. */
    bool ok = (s.len == 0 || memchr(s.ptr, '+', s.len) == NULL) && codec_unform(&plain, s);
    if (ok) {
        codec_percent(out, buf_slice(&plain));
    }
    buf_fini(&plain);
    return ok && !out->failed;
}

static bool read_parameter(struct slice text, struct parameter *out)
{
    struct slice key;
    struct slice value;
    (void)slice_cut(text, '=', &key, &value);
    buf_init(&out->key, PART_LIMIT_BYTES);
    buf_init(&out->value, PART_LIMIT_BYTES);
    return append_canonical_text(key, &out->key) && append_canonical_text(value, &out->value);
}

static void append_parameters(const struct parameter *list, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            buf_append_byte(out, '&');
        }
        buf_append(out, buf_slice(&list[i].key));
        buf_append_byte(out, '=');
        buf_append(out, buf_slice(&list[i].value));
    }
}

static int append_query(struct slice query, struct buf *out, struct err *e)
{
    if (query.len == 0) {
        return 0;
    }
    struct parameter *list = calloc(SIGV4_PARAMETERS_MAX, sizeof *list);
    struct slice rest = query;
    struct slice text;
    size_t n = 0;
    bool ok = true;
    ASSERT(list != NULL);
    while (ok && rest.len > 0) {
        (void)slice_cut(rest, '&', &text, &rest);
        if (text.len > 0) {
            ok = n < SIGV4_PARAMETERS_MAX && read_parameter(text, &list[n]);
            n++;
        }
    }
    if (ok) {
        qsort(list, n, sizeof *list, compare_parameters);
        append_parameters(list, n, out);
    }
    for (size_t i = 0; i < SIGV4_PARAMETERS_MAX; i++) {
        buf_fini(&list[i].key);
        buf_fini(&list[i].value);
    }
    free(list);
    return ok ? 0
              : err_set(e, ERR_PERMANENT, 0,
                        "a query that cannot be signed: percent-encode each part (a space as %%20, "
                        "a plus as %%2B), and give at most %d parameters",
                        SIGV4_PARAMETERS_MAX);
}

/* --- the headers ------------------------------------------------------------------------------ */

struct header {
    struct buf name; /* lower case */
    struct slice value;
    size_t place; /* keeps the order of lines with the same name */
};

static int compare_headers(const void *a, const void *b)
{
    const struct header *x = a;
    const struct header *y = b;
    int order = compare_slices(buf_slice(&x->name), buf_slice(&y->name));
    return order != 0 ? order : (x->place > y->place) - (x->place < y->place);
}

static bool has_line_break(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == '\0') {
            return true;
        }
    }
    return false;
}

static bool read_header(struct slice line, size_t place, struct header *out)
{
    struct slice name;
    buf_init(&out->name, 256);
    out->place = place;
    bool ok = slice_cut(line, ':', &name, &out->value) && name.len > 0 && !has_line_break(line);
    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.ptr[i];
        ok = c > ' ' && c < 0x7f;
        buf_append_byte(&out->name, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    out->value = slice_trim(out->value);
    return ok && !out->name.failed;
}

/* Collapses runs of spaces. */
static void append_value(struct slice value, struct buf *out)
{
    for (size_t i = 0; i < value.len; i++) {
        bool repeats = i > 0 && value.ptr[i] == ' ' && value.ptr[i - 1] == ' ';
        if (!repeats) {
            buf_append_byte(out, value.ptr[i]);
        }
    }
}

struct header_list {
    struct header items[SIGV4_HEADERS_MAX + 2];
    size_t count;
};

static void append_headers(struct header_list *l, struct buf *lines, struct buf *names)
{
    qsort(l->items, l->count, sizeof l->items[0], compare_headers);
    for (size_t i = 0; i < l->count; i++) {
        struct slice name = buf_slice(&l->items[i].name);
        if (i > 0 && slice_eq(name, buf_slice(&l->items[i - 1].name))) {
            buf_append_byte(lines, ',');
        } else {
            buf_printf(lines, "%s%.*s:", i > 0 ? "\n" : "", SLICE_ARG(name));
            buf_printf(names, "%s%.*s", i > 0 ? ";" : "", SLICE_ARG(name));
        }
        append_value(l->items[i].value, lines);
    }
    buf_append_byte(lines, '\n');
}

static bool has_token(const struct sigv4_signer *s)
{
    return s->session_token != NULL && s->session_token[0] != '\0';
}

/* The headers of the request and, unless date is NULL, the two that signing adds. */
static int parse_headers(const struct sigv4_signer *s, const struct sigv4_request *r,
                         const char *date, struct header_list *out, struct err *e)
{
    bool ok = r->header_count <= SIGV4_HEADERS_MAX;
    *out = (struct header_list){0};
    for (size_t i = 0; ok && i < r->header_count; i++) {
        ok = read_header(slice_of(r->headers[i]), i, &out->items[out->count++]);
    }
    if (!ok) {
        return err_set(e, ERR_PERMANENT, 0,
                       "headers that cannot be signed: each must be one line, \"Name: value\", and "
                       "there may be %d",
                       SIGV4_HEADERS_MAX);
    }
    if (date == NULL) {
        return 0;
    }
    struct header *added = &out->items[out->count++];
    *added = (struct header){.value = slice_of(date)};
    buf_init(&added->name, 256);
    buf_append_cstr(&added->name, "x-amz-date");
    if (has_token(s)) {
        added = &out->items[out->count++];
        *added = (struct header){.value = slice_of(s->session_token)};
        buf_init(&added->name, 256);
        buf_append_cstr(&added->name, "x-amz-security-token");
    }
    return 0;
}

static void header_list_fini(struct header_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        buf_fini(&l->items[i].name);
    }
}

/* --- the signature ---------------------------------------------------------------------------- */

static void format_date(int64_t wall_ms, char out[DATE_CHARS])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    ASSERT(gmtime_r(&seconds, &tm) != NULL);
    size_t n = strftime(out, DATE_CHARS, "%Y%m%dT%H%M%SZ", &tm);
    ASSERT(n == DATE_CHARS - 1);
}

static int append_canonical_request(const struct sigv4_signer *s, const struct sigv4_request *r,
                                    const char *date, struct buf *out, struct buf *names,
                                    struct err *e)
{
    struct header_list headers;
    char body[DIGEST_HEX];
    int rc = parse_headers(s, r, date, &headers, e);
    if (rc == 0) {
        buf_printf(out, "%s\n", r->method);
        append_canonical_path(r->path, out);
        buf_append_byte(out, '\n');
        rc = append_query(r->query, out, e);
    }
    if (rc == 0) {
        buf_append_byte(out, '\n');
        append_headers(&headers, out, names);
        sha256_hex(r->body, body);
        buf_printf(out, "\n%s\n%s", names->data, body);
    }
    if (rc == 0 && (out->failed || names->failed)) {
        rc = err_set(e, ERR_PERMANENT, 0, "path, query and headers are too long to be signed");
    }
    header_list_fini(&headers);
    return rc;
}

int sigv4_canonical(const struct sigv4_signer *s, const struct sigv4_request *r, int64_t wall_ms,
                    struct buf *out, struct err *e)
{
    char date[DATE_CHARS];
    struct buf names;
    buf_init(&names, PART_LIMIT_BYTES);
    format_date(wall_ms, date);
    int rc = append_canonical_request(s, r, date, out, &names, e);
    buf_fini(&names);
    return rc;
}

static void sign_text(const struct sigv4_signer *s, const char *date, struct slice request,
                      struct slice scope, char out[DIGEST_HEX])
{
    unsigned char key[DIGEST_BYTES];
    unsigned char signature[DIGEST_BYTES];
    char digest[DIGEST_HEX];
    struct buf text;
    sha256_hex(request, digest);
    buf_init(&text, PART_LIMIT_BYTES);
    buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n%.*s\n%s", date, SLICE_ARG(scope), digest);
    signing_key(s, (struct slice){date, DAY_CHARS}, key);
    hmac(digest_slice(key), buf_slice(&text), signature);
    codec_hex(signature, sizeof signature, out);
    explicit_bzero(key, sizeof key);
    buf_fini(&text);
}

/* It may contain the session token. */
static void wipe_and_free(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

static void scope_of(const struct sigv4_signer *s, const char *date, struct buf *out)
{
    buf_init(out, PART_LIMIT_BYTES);
    buf_printf(out, "%.8s/%s/%s/aws4_request", date, s->region, s->service);
}

static void fill_lines(const struct sigv4_signer *s, const char *date, struct slice request,
                       const char *names, struct sigv4_lines *out)
{
    char signature[DIGEST_HEX];
    struct buf scope;
    scope_of(s, date, &scope);
    sign_text(s, date, request, buf_slice(&scope), signature);
    struct buf line;
    buf_init(&line, sizeof out->date);
    buf_printf(&line, "X-Amz-Date: %s", date);
    bool fits = slice_to_cstr(buf_slice(&line), out->date, sizeof out->date);
    ASSERT(fits);
    buf_fini(&line);
    buf_init(&out->token, PART_LIMIT_BYTES);
    if (has_token(s)) {
        buf_printf(&out->token, "X-Amz-Security-Token: %s", s->session_token);
    }
    buf_init(&out->authorization, 2 * PART_LIMIT_BYTES);
    buf_printf(&out->authorization,
               "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
               s->access_key, scope.data, names, signature);
    buf_fini(&scope);
}

int sigv4_sign(const struct sigv4_signer *s, const struct sigv4_request *r, int64_t wall_ms,
               struct sigv4_lines *out, struct err *e)
{
    char date[DATE_CHARS];
    struct buf request;
    struct buf names;
    buf_init(&request, CANONICAL_LIMIT_BYTES);
    buf_init(&names, PART_LIMIT_BYTES);
    format_date(wall_ms, date);
    int rc = append_canonical_request(s, r, date, &request, &names, e);
    if (rc == 0) {
        struct sigv4_lines lines;
        fill_lines(s, date, buf_slice(&request), names.data, &lines);
        if (lines.token.failed || lines.authorization.failed) {
            rc = err_set(e, ERR_PERMANENT, 0,
                         "the credentials are too long to be sent: check their source");
            sigv4_lines_fini(&lines);
        } else {
            *out = lines;
        }
    }
    wipe_and_free(&request);
    buf_fini(&names);
    return rc;
}

void sigv4_lines_fini(struct sigv4_lines *l)
{
    wipe_and_free(&l->token);
    buf_fini(&l->authorization);
}

/* --- a presigned URL -------------------------------------------------------------------------- */

/* "&NAME=VALUE", encoded. */
static void append_parameter(struct buf *out, const char *name, struct slice value)
{
    buf_printf(out, "&%s=", name);
    codec_percent(out, value);
}

static void append_signing_parameters(const struct sigv4_signer *s, const char *date,
                                      struct slice scope, int expires_s, struct buf *out)
{
    struct buf credential;
    buf_init(&credential, PART_LIMIT_BYTES);
    buf_printf(&credential, "%s/%.*s", s->access_key, SLICE_ARG(scope));
    append_parameter(out, "X-Amz-Algorithm", SLICE("AWS4-HMAC-SHA256"));
    append_parameter(out, "X-Amz-Credential", buf_slice(&credential));
    append_parameter(out, "X-Amz-Date", slice_of(date));
    buf_printf(out, "&X-Amz-Expires=%d", expires_s);
    if (has_token(s)) {
        append_parameter(out, "X-Amz-Security-Token", slice_of(s->session_token));
    }
    append_parameter(out, "X-Amz-SignedHeaders", SLICE("host"));
    out->failed = out->failed || credential.failed;
    buf_fini(&credential);
}

int sigv4_presign(const struct sigv4_signer *s, const struct sigv4_request *r, int expires_s,
                  int64_t wall_ms, struct buf *out, struct err *e)
{
    char date[DATE_CHARS];
    char signature[DIGEST_HEX];
    struct sigv4_request signed_request = *r;
    struct buf scope;
    struct buf query;
    struct buf names;
    struct buf request;
    ASSERT(r->header_count == 1 && expires_s > 0);
    buf_init(&query, CANONICAL_LIMIT_BYTES);
    buf_init(&names, PART_LIMIT_BYTES);
    buf_init(&request, CANONICAL_LIMIT_BYTES);
    format_date(wall_ms, date);
    scope_of(s, date, &scope);
    buf_append(&query, r->query);
    append_signing_parameters(s, date, buf_slice(&scope), expires_s, &query);
    signed_request.query = buf_slice(&query);
    int rc = append_canonical_request(s, &signed_request, NULL, &request, &names, e);
    if (rc == 0) {
        sign_text(s, date, buf_slice(&request), buf_slice(&scope), signature);
        rc = append_query(buf_slice(&query), out, e);
        buf_printf(out, "&X-Amz-Signature=%s", signature);
    }
    if (rc == 0 && (out->failed || query.failed)) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "the credentials are too long to be sent: check their source");
    }
    wipe_and_free(&request);
    wipe_and_free(&query);
    buf_fini(&names);
    buf_fini(&scope);
    return rc;
}
