#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/errors.h"
#include "common/aws/sources.h"
#include "common/base/clock.h"

#define KEY_LIMIT_BYTES 512
#define TOKEN_LIMIT_BYTES ((size_t)32 << 10)

static void wipe_text(char *s)
{
    if (s != NULL) {
        explicit_bzero(s, strlen(s));
    }
    free(s);
}

void aws_keys_fini(struct aws_keys *k)
{
    free(k->access_key);
    wipe_text(k->secret_key);
    wipe_text(k->session_token);
    *k = (struct aws_keys){0};
}

void aws_keys_copy(const struct aws_keys *from, struct aws_keys *out)
{
    *out = *from;
    out->access_key = slice_dup(slice_of(from->access_key));
    out->secret_key = slice_dup(slice_of(from->secret_key));
    out->session_token = slice_dup(slice_of(from->session_token));
}

/* No spaces or control characters, so that it stays one value of one header. */
static bool is_printable(struct slice s, size_t limit)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] <= ' ' || s.ptr[i] >= 0x7f) {
            return false;
        }
    }
    return s.len <= limit;
}

int aws_keys_make(struct slice access_key, struct slice secret_key, struct slice token,
                  int64_t expires_ms, const char *source, struct aws_keys *out, struct err *e)
{
    if (access_key.len == 0 || secret_key.len == 0) {
        return err_set(e, ERR_AUTH, 0, "the access key's id or the secret key is missing");
    }
    if (!is_printable(access_key, KEY_LIMIT_BYTES / 4) ||
        memchr(access_key.ptr, '/', access_key.len) != NULL ||
        !is_printable(secret_key, KEY_LIMIT_BYTES) || !is_printable(token, TOKEN_LIMIT_BYTES)) {
        return err_set(e, ERR_AUTH, 0,
                       "a key or the session token is too long, or contains a space or a character "
                       "that no key has");
    }
    *out = (struct aws_keys){.access_key = slice_dup(access_key),
                             .secret_key = slice_dup(secret_key),
                             .session_token = slice_dup(token),
                             .expires_ms = expires_ms,
                             .source = source};
    return 0;
}

static struct slice json_member_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : (struct slice){NULL, 0};
}

/* A time as text, or as seconds since the epoch. 0: none; -1: invalid. */
static int64_t expiry_of(const json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (json_is_string(value)) {
        return clock_parse_utc(json_string_value(value));
    }
    double seconds = json_is_number(value) ? json_number_value(value) : -1;
    return isfinite(seconds) && seconds > 0 && seconds < 1e11 ? (int64_t)(seconds * 1000) : -1;
}

static int from_object(const json_t *object, const char *token_key, const char *source,
                       struct aws_keys *out, struct err *e)
{
    int64_t expires_ms = expiry_of(json_object_get(object, "Expiration"));
    if (expires_ms < 0) {
        return err_set(e, ERR_AUTH, 0, "the response's Expiration is not a time");
    }
    return aws_keys_make(json_member_text(object, "AccessKeyId"),
                         json_member_text(object, "SecretAccessKey"),
                         json_member_text(object, token_key), expires_ms, source, out, e);
}

int aws_keys_from_json(struct slice text, const char *token_key, const char *source,
                       struct aws_keys *out, struct err *e)
{
    json_t *object = text.len > 0 ? json_loadb(text.ptr, text.len, 0, NULL) : NULL;
    int rc = json_is_object(object) ? from_object(object, token_key, source, out, e)
                                    : err_set(e, ERR_AUTH, 0, "the response is not a JSON object");
    json_decref(object);
    return rc;
}

static int from_sts_json(struct slice text, const char *source, struct aws_keys *out, struct err *e)
{
    json_t *object = json_loadb(text.ptr, text.len, 0, NULL);
    const json_t *answer = json_object_get(object, "AssumeRoleResponse");
    const json_t *result = json_object_get(answer, "AssumeRoleResult");
    if (answer == NULL) {
        answer = json_object_get(object, "AssumeRoleWithWebIdentityResponse");
        result = json_object_get(answer, "AssumeRoleWithWebIdentityResult");
    }
    int rc = from_object(json_object_get(result, "Credentials"), "SessionToken", source, out, e);
    json_decref(object);
    return rc;
}

int aws_keys_from_sts(struct slice text, const char *source, struct aws_keys *out, struct err *e)
{
    static const char *const names[] = {"AccessKeyId", "SecretAccessKey", "SessionToken",
                                        "Expiration"};
    struct buf values[COUNT_OF(names)];
    bool all = true;
    text = slice_trim(text);
    if (text.len > 0 && text.ptr[0] == '{') {
        return from_sts_json(text, source, out, e);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        buf_init(&values[i], TOKEN_LIMIT_BYTES + 1);
        all = all && aws_xml_text(text, names[i], &values[i]) && values[i].len > 0;
    }
    int64_t expires_ms = all ? clock_parse_utc(values[3].data) : -1;
    int rc = expires_ms > 0 ? aws_keys_make(buf_slice(&values[0]), buf_slice(&values[1]),
                                            buf_slice(&values[2]), expires_ms, source, out, e)
                            : err_set(e, ERR_AUTH, 0, "the response contains no credentials");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (values[i].data != NULL) {
            explicit_bzero(values[i].data, values[i].cap);
        }
        buf_fini(&values[i]);
    }
    return rc;
}
