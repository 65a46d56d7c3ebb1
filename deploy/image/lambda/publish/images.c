#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/backoff.h"
#include "common/base/codec.h"
#include "common/base/printable.h"
#include "deploy/image/lambda/publish/publish.h"

#define API "/2025-09-09"
#define CALL_MS 30000
#define UPLOAD_MS (30 * 60 * 1000)
#define TRIES 6
#define BACKOFF_BASE_MS 500
#define BACKOFF_CAP_MS 10000
#define PAGES_MAX 1000

static const struct aws_error_rule rules[] = {
    {"ServiceQuotaExceededException", ERR_CAPACITY,
     "the account's quota for images, builds or VMs is exhausted: delete old images, end VMs, or "
     "request a higher quota"},
    {"InsufficientCapacityException", ERR_CAPACITY, "the region has no room at the moment"},
    {"ConflictException", ERR_CONFLICT,
     "the image is being built or was changed meanwhile: wait for it and publish again"},
    {NULL, ERR_NONE, NULL}};

int images_open(struct images *im, const char *region, const char *endpoint, const char *role_arn,
                struct err *e)
{
    const struct aws_client_options lambda = {.service = "lambda",
                                              .region = region,
                                              .endpoint = endpoint,
                                              .role_arn = role_arn,
                                              .timeout_ms = CALL_MS,
                                              .rules = rules};
    *im = (struct images){.lambda = NULL};
    sigemptyset(&im->caught);
    if (aws_client_open(&lambda, &im->lambda, e) != 0) {
        return -1;
    }
    const struct aws_client_options s3 = {.service = "s3",
                                          .region = aws_client_region(im->lambda),
                                          .role_arn = role_arn,
                                          .timeout_ms = UPLOAD_MS};
    if (aws_client_open(&s3, &im->s3, e) != 0) {
        images_close(im);
        return -1;
    }
    return 0;
}

void images_close(struct images *im)
{
    aws_client_close(im->lambda);
    aws_client_close(im->s3);
    im->lambda = NULL;
    im->s3 = NULL;
}

bool images_pause(struct images *im, int64_t ms)
{
    const struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int caught = sigtimedwait(&im->caught, NULL, &left);
    if (caught > 0) {
        im->signal = caught;
    }
    return caught > 0;
}

/* Retries until a final result. Every call may be repeated: reads, uploads and terminations are
 * idempotent, all else has a client token. */
static int send_image_call(struct images *im, struct aws_client *c, const struct aws_call *call,
                           struct http_response *out, struct err *e)
{
    for (int attempt = 1;; attempt++) {
        if (aws_send(c, call, out, NULL, e) == 0) {
            return 0;
        }
        if ((e->class != ERR_RETRY && e->class != ERR_THROTTLED) || attempt == TRIES) {
            return -1;
        }
        int64_t wait_ms = backoff_full_jitter_ms(BACKOFF_BASE_MS, BACKOFF_CAP_MS, attempt);
        printable_line(stderr, "again in %lld ms: %s",
                       (long long)(wait_ms > e->retry_after_ms ? wait_ms : e->retry_after_ms),
                       e->message);
        if (images_pause(im, wait_ms > e->retry_after_ms ? wait_ms : e->retry_after_ms)) {
            return -1;
        }
    }
}

int images_upload(struct images *im, const char *bucket, const char *key, struct slice bytes,
                  const char *sha256_hex, struct err *e)
{
    struct http_response r;
    char path[1200], header[128];
    /* Path-style, since no certificate covers a bucket with dots; the key needs no encoding. */
    int n = snprintf(path, sizeof(path), "/%s/%s", bucket, key);
    snprintf(header, sizeof(header), "X-Amz-Content-Sha256: %s", sha256_hex);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return err_set(e, ERR_PERMANENT, 0, "the names of bucket and object are too long");
    }
    const struct aws_call call = {.operation = "PutObject",
                                  .method = "PUT",
                                  .content_type = "application/zip",
                                  .header = header,
                                  .path = slice_of(path),
                                  .body = bytes};
    if (send_image_call(im, im->s3, &call, &r, e) != 0) {
        return err_wrap(e,
                        "cannot upload to s3://%s/%s (the bucket must be in %s, and s3:PutObject "
                        "allowed)",
                        bucket, key, aws_client_region(im->s3));
    }
    http_response_fini(&r);
    return 0;
}

int images_download(struct images *im, const char *place, struct buf *out, struct err *e)
{
    struct http_response r;
    char path[1200];
    int n = snprintf(path, sizeof(path), "/%s", place);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return err_set(e, ERR_PERMANENT, 0, "the names of bucket and object are too long");
    }
    /* Of an empty body. */
    const struct aws_call call = {
        .operation = "GetObject",
        .method = "GET",
        .header = "X-Amz-Content-Sha256: "
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        .path = slice_of(path)};
    if (send_image_call(im, im->s3, &call, &r, e) != 0) {
        return err_wrap(e, "cannot read s3://%s (s3:GetObject must be allowed)", place);
    }
    buf_append(out, buf_slice(&r.body));
    http_response_fini(&r);
    return 0;
}

int images_call(struct images *im, const char *operation, const char *method, const char *path,
                const json_t *body, json_t **out, struct err *e)
{
    struct http_response r;
    struct buf whole;
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    buf_init(&whole, 8192);
    buf_printf(&whole, API "%s", path);
    struct slice called, query;
    slice_cut(buf_slice(&whole), '?', &called, &query);
    const struct aws_call call = {.operation = operation,
                                  .method = method,
                                  .path = called,
                                  .query = query,
                                  .body = slice_of(text)};
    int rc = whole.failed ? err_set(e, ERR_PERMANENT, 0, "%s: the path is too long", operation)
                          : send_image_call(im, im->lambda, &call, &r, e);
    buf_fini(&whole);
    free(text);
    if (rc != 0) {
        return -1;
    }
    /* TerminateMicrovm returns nothing. */
    json_t *answer = r.body.len == 0 ? json_object() : json_loadb(r.body.data, r.body.len, 0, NULL);
    http_response_fini(&r);
    if (!json_is_object(answer)) {
        json_decref(answer);
        return err_set(e, ERR_RETRY, 0, "%s: the response is not a JSON object", operation);
    }
    *out = answer;
    return 0;
}

void images_path(struct buf *out, const char *arn, const char *version)
{
    buf_append_cstr(out, "/microvm-images/");
    codec_percent(out, slice_of(arn));
    if (version != NULL) {
        buf_append_cstr(out, "/versions/");
        codec_percent(out, slice_of(version));
    }
}

/* An empty page may not be the last. */
int images_list(struct images *im, const char *operation, const char *path, json_t **out,
                struct err *e)
{
    struct buf paged;
    json_t *items = json_array();
    bool more = true;
    int rc = 0;
    buf_init(&paged, 8192);
    buf_append_cstr(&paged, path);
    size_t len = paged.len;
    for (int page = 0; rc == 0 && more; page++) {
        json_t *answer = NULL;
        rc = images_call(im, operation, "GET", paged.data, NULL, &answer, e);
        json_array_extend(items, json_object_get(answer, "items"));
        const char *next = json_string_value(json_object_get(answer, "nextToken"));
        more = next != NULL && page < PAGES_MAX;
        paged.len = len;
        if (more) {
            buf_append_cstr(&paged, strchr(path, '?') != NULL ? "&nextToken=" : "?nextToken=");
            codec_percent(&paged, slice_of(next));
        }
        json_decref(answer);
    }
    buf_fini(&paged);
    if (rc != 0) {
        json_decref(items);
        return -1;
    }
    *out = items;
    return 0;
}

/* --- finding one by its name ------------------------------------------------------------------ */

static char *arn_in(const json_t *items, const char *name)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *found = json_string_value(json_object_get(item, "name"));
        const char *arn = json_string_value(json_object_get(item, "imageArn"));
        if (found != NULL && arn != NULL && strcmp(found, name) == 0) {
            return slice_dup(slice_of(arn));
        }
    }
    return NULL;
}

/* The filter matches parts of names too. */
int images_find(struct images *im, const char *name, char **out_arn, struct err *e)
{
    struct buf path;
    json_t *items = NULL;
    buf_init(&path, 4096);
    buf_append_cstr(&path, "/microvm-images?nameFilter=");
    codec_percent(&path, slice_of(name));
    int rc = images_list(im, "ListMicrovmImages", path.data, &items, e);
    if (rc == 0) {
        *out_arn = arn_in(items, name);
    }
    json_decref(items);
    buf_fini(&path);
    return rc;
}
