#include "common/aws/secrets.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/codec.h"

#define TYPE "application/x-amz-json-1.1"
#define BODY_LIMIT_BYTES 8192
#define VALUE_LIMIT_BYTES ((size_t)128 << 10)
#define SIGNATURE_LIMIT_BYTES 2048
#define TRIES 4
#define TRY_BASE_MS 200
#define TRY_CAP_MS 2000

#define SSM SLICE("ssm:")
#define SECRETS SLICE("secretsmanager:")
#define KMS SLICE("kms:")

static const struct aws_error_rule ssm_rules[] = {
    {"ParameterNotFound", ERR_NOT_FOUND, "create the parameter, or check its name and the region"},
    {"ParameterVersionNotFound", ERR_NOT_FOUND, "check the version in the name"},
    {"InvalidKeyId", ERR_AUTH, "check the KMS key that the parameter is encrypted with"},
    {NULL, ERR_NONE, NULL}};
static const struct aws_error_rule secrets_rules[] = {
    {"ResourceNotFoundException", ERR_NOT_FOUND, "create the secret, or check its name and region"},
    {"DecryptionFailure", ERR_AUTH,
     "allow kms:Decrypt on the key that the secret is encrypted with"},
    {NULL, ERR_NONE, NULL}};
static const struct aws_error_rule kms_rules[] = {
    {"NotFoundException", ERR_NOT_FOUND, "check the key's id and the region"},
    {"DisabledException", ERR_AUTH, "enable the key"},
    {"KMSInvalidStateException", ERR_AUTH, "the key is pending deletion or import: check it"},
    {"InvalidKeyUsageException", ERR_PERMANENT,
     "create an RSA key of 2048 bits for signing and verifying, with GitHub's key imported"},
    {"KeyUnavailableException", ERR_RETRY, "try again"},
    {"DependencyTimeoutException", ERR_RETRY, "try again"},
    {"KMSInternalException", ERR_RETRY, "try again"},
    {NULL, ERR_NONE, NULL}};

/* --- references ------------------------------------------------------------------------------- */

static struct slice strip_prefix(struct slice s, struct slice prefix)
{
    return (struct slice){s.ptr + prefix.len, s.len - prefix.len};
}

bool aws_kms_is(struct slice written)
{
    return slice_starts_with(written, KMS);
}

/* The region in arn:partition:service:region:…; "" if the name is not an ARN. */
static void region_of(struct slice name, char *out, size_t size)
{
    struct slice part = {NULL, 0};
    out[0] = '\0';
    if (!slice_starts_with(name, SLICE("arn:"))) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        (void)slice_cut(name, ':', &part, &name);
    }
    if (!slice_to_cstr(part, out, size)) {
        out[0] = '\0';
    }
}

static int open_service(const char *service, const struct aws_error_rule *rules, struct slice name,
                        struct aws_client **out, struct err *e)
{
    char region[64];
    region_of(name, region, sizeof region);
    struct aws_client_options o = {.service = service, .region = region, .rules = rules};
    return aws_client_open(&o, out, e);
}

/* --- one call --------------------------------------------------------------------------------- */

static void wipe_response(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

/* Retries; only for calls that change nothing. */
static int send_with_retries(struct aws_client *c, const struct aws_call *call,
                             struct http_response *out, struct err *e)
{
    int rc = aws_send(c, call, out, NULL, e);
    for (int i = 1; i < TRIES && rc != 0 && (e->class == ERR_RETRY || e->class == ERR_THROTTLED);
         i++) {
        clock_sleep_until(clock_mono_ms() + backoff_full_jitter_ms(TRY_BASE_MS, TRY_CAP_MS, i));
        rc = aws_send(c, call, out, NULL, e);
    }
    return rc;
}

static int no_value(const char *operation, struct err *e)
{
    return err_set(e, ERR_RETRY, 0, "%s: the response contains no value: check the endpoint",
                   operation);
}

static int append_text_value(const char *operation, const json_t *text, struct buf *out,
                             struct err *e)
{
    if (!json_is_string(text)) {
        return no_value(operation, e);
    }
    buf_append(out, (struct slice){json_string_value(text), json_string_length(text)});
    return out->failed ? err_set(e, ERR_PERMANENT, 0, "%s: the value is too long", operation) : 0;
}

static int append_base64(const char *operation, const json_t *text, struct buf *out, struct err *e)
{
    struct slice s = {json_string_value(text), json_string_length(text)};
    return json_is_string(text) && codec_unbase64(out, s) ? 0 : no_value(operation, e);
}

/* Sends a JSON body and reads the answer. *out is owned (json_decref). */
static int call_json(struct aws_client *c, const char *target, const char *operation,
                     const struct buf *body, json_t **out, struct err *e)
{
    struct http_response r;
    const struct aws_call call = {
        .operation = operation, .target = target, .content_type = TYPE, .body = buf_slice(body)};
    if (body->failed) {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT, "%s: the name is too long", operation);
    }
    if (send_with_retries(c, &call, &r, e) != 0) {
        return -1;
    }
    *out = json_loadb(r.body.data != NULL ? r.body.data : "", r.body.len, 0, NULL);
    http_response_fini(&r);
    return *out != NULL ? 0 : no_value(operation, e);
}

/* --- parameters and secrets ------------------------------------------------------------------- */

static int fetch_parameter(struct slice name, struct buf *out, struct err *e)
{
    struct aws_client *c = NULL;
    json_t *answer = NULL;
    struct buf body;
    if (open_service("ssm", ssm_rules, name, &c, e) != 0) {
        return -1;
    }
    buf_init(&body, BODY_LIMIT_BYTES);
    buf_append_cstr(&body, "{\"Name\":");
    buf_append_json(&body, name);
    buf_append_cstr(&body, ",\"WithDecryption\":true}");
    int rc = call_json(c, "AmazonSSM", "GetParameter", &body, &answer, e);
    if (rc == 0) {
        rc = append_text_value(
            "GetParameter", json_object_get(json_object_get(answer, "Parameter"), "Value"), out, e);
    }
    json_decref(answer);
    buf_fini(&body);
    aws_client_close(c);
    return rc;
}

/* Appends one member of a secret that is a JSON object. */
static int append_json_member(const struct buf *secret, struct slice key, struct buf *out,
                              struct err *e)
{
    char name[256];
    json_t *object = json_loadb(secret->data != NULL ? secret->data : "", secret->len, 0, NULL);
    const json_t *value =
        slice_to_cstr(key, name, sizeof name) ? json_object_get(object, name) : NULL;
    int rc = 0;
    if (!json_is_object(object)) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "the secret is not a JSON object: remove the # and what follows it");
    } else if (!json_is_string(value)) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "the secret's JSON object has no text \"%.*s\": check the text after #",
                     SLICE_ARG(key));
    } else {
        rc = append_text_value("GetSecretValue", value, out, e);
    }
    json_decref(object);
    return rc;
}

static int read_secret(const json_t *answer, struct slice key, struct buf *out, struct err *e)
{
    struct buf secret;
    const json_t *text = json_object_get(answer, "SecretString");
    buf_init(&secret, VALUE_LIMIT_BYTES);
    int rc = text != NULL ? append_text_value("GetSecretValue", text, &secret, e)
                          : append_base64("GetSecretValue", json_object_get(answer, "SecretBinary"),
                                          &secret, e);
    if (rc == 0 && key.len > 0) {
        rc = append_json_member(&secret, key, out, e);
    } else if (rc == 0) {
        buf_append(out, buf_slice(&secret));
    }
    wipe_response(&secret);
    return rc;
}

static int fetch_secret(struct slice written, struct buf *out, struct err *e)
{
    struct aws_client *c = NULL;
    json_t *answer = NULL;
    struct buf body;
    struct slice name;
    struct slice key;
    (void)slice_cut(written, '#', &name, &key);
    if (open_service("secretsmanager", secrets_rules, name, &c, e) != 0) {
        return -1;
    }
    buf_init(&body, BODY_LIMIT_BYTES);
    buf_append_cstr(&body, "{\"SecretId\":");
    buf_append_json(&body, name);
    buf_append_byte(&body, '}');
    int rc = call_json(c, "secretsmanager", "GetSecretValue", &body, &answer, e);
    if (rc == 0) {
        rc = read_secret(answer, key, out, e);
    }
    json_decref(answer);
    buf_fini(&body);
    aws_client_close(c);
    return rc;
}

/* A pasted value often ends with a newline, which is not part of it. */
static void drop_line_end(struct buf *b)
{
    for (const char *end = "\n\r"; *end != '\0'; end++) {
        if (b->len > 0 && b->data[b->len - 1] == *end) {
            b->data[--b->len] = '\0';
        }
    }
}

int aws_secret_fetch(struct slice written, struct buf *out, struct err *e)
{
    struct buf value;
    bool ssm = slice_starts_with(written, SSM);
    struct slice name = strip_prefix(written, ssm ? SSM : SECRETS);
    if (name.len == 0 || name.ptr[0] == '#') {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT, "a name is missing: write %s",
                       ssm ? "ssm:NAME" : "secretsmanager:ARN[#json-key]");
    }
    buf_init(&value, VALUE_LIMIT_BYTES);
    int rc = ssm ? fetch_parameter(name, &value, e) : fetch_secret(name, &value, e);
    drop_line_end(&value);
    bool nul = value.len > 0 && memchr(value.data, '\0', value.len) != NULL;
    if (rc == 0 && nul) {
        rc = err_set(e, ERR_PERMANENT, 0, "the value contains a NUL byte: store a text");
    } else if (rc == 0) {
        buf_append(out, buf_slice(&value));
    }
    wipe_response(&value);
    return rc == 0 ? 0
                   : err_wrap(e, "%.*s", written.len > 160 ? 160 : (int)written.len, written.ptr);
}

/* --- KMS -------------------------------------------------------------------------------------- */

struct aws_kms {
    struct aws_client *client;
    char *key;
};

int aws_kms_open(struct slice written, struct aws_kms **out, struct err *e)
{
    struct aws_client *c = NULL;
    struct slice key = strip_prefix(written, KMS);
    if (key.len == 0) {
        return err_set(e, ERR_PERMANENT, HTTP_NOT_SENT,
                       "kms: needs a key's ARN, id or alias: write kms:KEY");
    }
    if (open_service("kms", kms_rules, key, &c, e) != 0) {
        return -1;
    }
    struct aws_kms *k = calloc(1, sizeof *k);
    ASSERT(k != NULL);
    k->client = c;
    k->key = slice_dup(key);
    *out = k;
    return 0;
}

void aws_kms_close(struct aws_kms *k)
{
    if (k == NULL) {
        return;
    }
    aws_client_close(k->client);
    free(k->key);
    free(k);
}

/* Only the digest leaves this host. */
static void append_request(const struct aws_kms *k, struct slice text, struct buf *body)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    int ok =
        EVP_Digest(text.len > 0 ? text.ptr : "", text.len, digest, &length, EVP_sha256(), NULL);
    ASSERT(ok == 1);
    buf_append_cstr(body, "{\"KeyId\":");
    buf_append_json(body, slice_of(k->key));
    buf_append_cstr(body, ",\"Message\":\"");
    codec_base64(body, (struct slice){(const char *)digest, length});
    buf_append_cstr(body, "\",\"MessageType\":\"DIGEST\",\"SigningAlgorithm\":"
                          "\"RSASSA_PKCS1_V1_5_SHA_256\"}");
}

int aws_kms_sign(struct aws_kms *k, struct slice text, struct buf *out, struct err *e)
{
    json_t *answer = NULL;
    struct buf body;
    struct buf signature;
    buf_init(&body, BODY_LIMIT_BYTES);
    buf_init(&signature, SIGNATURE_LIMIT_BYTES);
    append_request(k, text, &body);
    int rc = call_json(k->client, "TrentService", "Sign", &body, &answer, e);
    if (rc == 0) {
        rc = append_base64("Sign", json_object_get(answer, "Signature"), &signature, e);
    }
    if (rc == 0) {
        buf_append(out, buf_slice(&signature));
    }
    json_decref(answer);
    buf_fini(&signature);
    buf_fini(&body);
    return rc == 0 ? 0 : err_wrap(e, "kms:%.160s", k->key);
}
