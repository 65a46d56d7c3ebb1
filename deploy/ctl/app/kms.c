#include "deploy/ctl/app/kms.h"

#include <jansson.h>
#include <stdlib.h>

#include "common/aws/aws.h"
#include "common/base/codec.h"
#include "deploy/ctl/ctl.h"

#define BODY_LIMIT_BYTES ((size_t)64 * 1024)
#define TIMEOUT_MS 30000 /* KMS makes a wrapping key */
#define VALUE_LIMIT_BYTES ((size_t)16 * 1024)

static const struct aws_error_rule rules[] = {
    {"NotFoundException", ERR_NOT_FOUND, "check the key's id and the region"},
    {"AlreadyExistsException", ERR_CONFLICT, "another run made it a moment ago: run this again"},
    {"KMSInvalidStateException", ERR_CONFLICT, "its state does not allow it: look at the key"},
    {"IncorrectKeyMaterialException", ERR_CONFLICT,
     "it held another key before, and takes no other: give another --alias"},
    {"ExpiredImportTokenException", ERR_RETRY, "run this again"},
    {NULL, ERR_NONE, NULL}};

struct kms {
    struct aws_client *client;
};

/* The fourth part of arn:partition:kms:region:…; "" of what is none. */
static void region_of(struct slice name, char *out, size_t size)
{
    struct slice part = {NULL, 0};
    bool is_arn = slice_starts_with(name, SLICE("arn:"));
    for (int i = 0; i < 4; i++) {
        (void)slice_cut(name, ':', &part, &name);
    }
    if (!slice_to_cstr(is_arn ? part : SLICE(""), out, size)) {
        out[0] = '\0';
    }
}

int kms_open(const char *key, struct kms **out, struct err *e)
{
    char region[64];
    region_of(slice_of(key), region, sizeof region);
    const struct aws_client_options options = {
        .service = "kms", .region = region, .rules = rules, .timeout_ms = TIMEOUT_MS};
    struct kms *k = calloc(1, sizeof *k);
    ASSERT(k != NULL);
    if (aws_client_open(&options, &k->client, e) != 0) {
        free(k);
        return -1;
    }
    *out = k;
    return 0;
}

void kms_close(struct kms *k)
{
    if (k != NULL) {
        aws_client_close(k->client);
        free(k);
    }
}

/* Sends `request` (a reference that it takes). *out is owned (json_decref). */
static int call(struct kms *k, const char *operation, json_t *request, json_t **out, struct err *e)
{
    struct http_response r;
    char *text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    ASSERT(text != NULL);
    const struct aws_call call = {.operation = operation,
                                  .target = "TrentService",
                                  .content_type = "application/x-amz-json-1.1",
                                  .body = slice_of(text)};
    int rc = aws_send(k->client, &call, &r, NULL, e);
    free(text);
    if (rc != 0) {
        return -1;
    }
    *out = r.body.len > 0 ? json_loadb(r.body.data, r.body.len, 0, NULL) : json_object();
    http_response_fini(&r);
    return *out != NULL ? 0
                        : err_set(e, ERR_RETRY, 0, "%s: no JSON: check the endpoint", operation);
}

static int read_key(const json_t *answer, struct kms_key *out, struct err *e)
{
    const json_t *m = json_object_get(answer, "KeyMetadata");
    const char *spec = ctl_str(m, "KeySpec");
    spec = spec[0] != '\0' ? spec : ctl_str(m, "CustomerMasterKeySpec");
    bool good = slice_to_cstr(slice_of(ctl_str(m, "Arn")), out->arn, sizeof out->arn) &&
                slice_to_cstr(slice_of(ctl_str(m, "KeyState")), out->state, sizeof out->state) &&
                slice_to_cstr(slice_of(spec), out->spec, sizeof out->spec) &&
                slice_to_cstr(slice_of(ctl_str(m, "KeyUsage")), out->usage, sizeof out->usage) &&
                slice_to_cstr(slice_of(ctl_str(m, "Origin")), out->origin, sizeof out->origin);
    return good && out->arn[0] != '\0'
               ? 0
               : err_set(e, ERR_RETRY, 0, "KMS describes no key: check the endpoint");
}

int kms_describe(struct kms *k, const char *id, struct kms_key *out, struct err *e)
{
    json_t *answer = NULL;
    if (call(k, "DescribeKey", json_pack("{s:s}", "KeyId", id), &answer, e) != 0) {
        return -1;
    }
    int rc = read_key(answer, out, e);
    json_decref(answer);
    return rc;
}

int kms_make(struct kms *k, const char *alias, struct kms_key *out, struct err *e)
{
    json_t *answer = NULL;
    json_t *request =
        json_pack("{s:s, s:s, s:s, s:s}", "KeySpec", "RSA_2048", "KeyUsage", "SIGN_VERIFY",
                  "Origin", "EXTERNAL", "Description", "Mayfly: the private key of the GitHub App");
    if (call(k, "CreateKey", request, &answer, e) != 0) {
        return -1;
    }
    int rc = read_key(answer, out, e);
    json_decref(answer);
    answer = NULL;
    if (rc == 0) {
        request = json_pack("{s:s, s:s}", "AliasName", alias, "TargetKeyId", out->arn);
        rc = call(k, "CreateAlias", request, &answer, e);
        json_decref(answer);
        if (rc != 0) {
            return err_wrap(e, "%s was made and has no alias: go on with --key", out->arn);
        }
    }
    return rc;
}

static int read_base64(const json_t *answer, const char *key, struct buf *out, struct err *e)
{
    return codec_unbase64(out, slice_of(ctl_str(answer, key))) && out->len > 0
               ? 0
               : err_set(e, ERR_RETRY, 0, "KMS's answer has no %s: check the endpoint", key);
}

int kms_get_public(struct kms *k, const char *id, struct buf *out, struct err *e)
{
    json_t *answer = NULL;
    if (call(k, "GetPublicKey", json_pack("{s:s}", "KeyId", id), &answer, e) != 0) {
        return -1;
    }
    int rc = read_base64(answer, "PublicKey", out, e);
    json_decref(answer);
    return rc;
}

int kms_get_import(struct kms *k, const char *id, struct kms_import *out, struct err *e)
{
    json_t *answer = NULL;
    json_t *request = json_pack("{s:s, s:s, s:s}", "KeyId", id, "WrappingAlgorithm",
                                "RSA_AES_KEY_WRAP_SHA_256", "WrappingKeySpec", "RSA_3072");
    if (call(k, "GetParametersForImport", request, &answer, e) != 0) {
        return -1;
    }
    buf_init(&out->token, VALUE_LIMIT_BYTES);
    buf_init(&out->wrapping_key, VALUE_LIMIT_BYTES);
    buf_append_cstr(&out->token, ctl_str(answer, "ImportToken"));
    int rc = read_base64(answer, "PublicKey", &out->wrapping_key, e);
    json_decref(answer);
    if (rc != 0 || out->token.failed || out->token.len == 0) {
        kms_import_fini(out);
        return rc != 0 ? -1 : err_set(e, ERR_RETRY, 0, "KMS's answer has no ImportToken");
    }
    return 0;
}

void kms_import_fini(struct kms_import *i)
{
    buf_fini(&i->token);
    buf_fini(&i->wrapping_key);
}

int kms_import(struct kms *k, const char *id, const struct kms_import *with, struct slice wrapped,
               struct err *e)
{
    json_t *answer = NULL;
    struct buf material;
    buf_init(&material, BODY_LIMIT_BYTES);
    codec_base64(&material, wrapped);
    json_t *request = json_pack("{s:s, s:s, s:s, s:s}", "KeyId", id, "ImportToken",
                                with->token.data, "EncryptedKeyMaterial", material.data,
                                "ExpirationModel", "KEY_MATERIAL_DOES_NOT_EXPIRE");
    int rc = call(k, "ImportKeyMaterial", request, &answer, e);
    json_decref(answer);
    buf_fini(&material);
    return rc;
}
