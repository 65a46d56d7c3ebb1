#include "deploy/image/lambda/publish/publish.h"
#include "deploy/image/lambda/publish/archive.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/base/printable.h"
#include "common/base/random.h"

#define TOKEN_BYTES 16

/* --- the contents of an image ----------------------------------------------------------------- */

static json_t *hooks_of(const struct publish_options *o)
{
    json_t *vm = json_object();
    static const char *const names[] = {"run", "resume", "suspend", "terminate"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char timeout[40];
        snprintf(timeout, sizeof(timeout), "%sTimeoutInSeconds", names[i]);
        json_object_set_new(vm, names[i], json_string("ENABLED"));
        json_object_set_new(vm, timeout, json_integer(o->hook_seconds));
    }
    return json_pack("{s:I, s:o, s:{s:s, s:I, s:s, s:I}}", "port", (json_int_t)o->port,
                     "microvmHooks", vm, "microvmImageHooks", "ready", "ENABLED",
                     "readyTimeoutInSeconds", (json_int_t)o->ready_seconds, "validate", "ENABLED",
                     "validateTimeoutInSeconds", (json_int_t)o->validate_seconds);
}

struct slice publish_partition(const struct publish_options *o)
{
    struct slice arn, partition, rest;
    if (!slice_cut(slice_of(o->build_role), ':', &arn, &rest) || !slice_eq_cstr(arn, "arn") ||
        !slice_cut(rest, ':', &partition, &rest)) {
        return SLICE("aws");
    }
    return partition;
}

json_t *publish_egress(const struct publish_options *o, const char *region)
{
    char internet[200];
    json_t *list = json_array();
    for (size_t i = 0; i < o->egress_count; i++) {
        json_array_append_new(list, json_string(o->egress[i]));
    }
    if (o->egress_count == 0) {
        snprintf(internet, sizeof(internet),
                 "arn:%.*s:lambda:%s:aws:network-connector:aws-network-connector:INTERNET_EGRESS",
                 SLICE_ARG(publish_partition(o)), region);
        json_array_append_new(list, json_string(internet));
    }
    return list;
}

void publish_base_arn(const struct publish_options *o, const char *region, struct buf *out)
{
    buf_printf(out, "arn:%.*s:lambda:%s:aws:microvm-image:%s", SLICE_ARG(publish_partition(o)),
               region, o->base_image);
}

void publish_describe(const char *runner, const char *sha256_hex, char *out, size_t size)
{
    snprintf(out, size, "Mayfly %s%s%s, archive %.16s", MAYFLY_VERSION,
             runner[0] != '\0' ? ", runner " : "", runner, sha256_hex);
}

json_t *publish_spec(const struct publish_options *o, const char *region, const char *uri,
                     const char *sha256_hex)
{
    char description[160];
    struct buf base;
    buf_init(&base, 400);
    publish_base_arn(o, region, &base);
    publish_describe(o->runner_version, sha256_hex, description, sizeof(description));
    json_t *spec = json_pack(
        "{s:s, s:s, s:{s:s}, s:s, s:[{s:s}], s:[{s:I}], s:o, s:o}", "baseImageArn", base.data,
        "buildRoleArn", o->build_role, "codeArtifact", "uri", uri, "description",
        o->description != NULL ? o->description : description, "cpuConfigurations", "architecture",
        publish_architecture(o), "resources", "minimumMemoryInMiB", (json_int_t)o->memory_mib,
        "egressNetworkConnectors", publish_egress(o, region), "hooks", hooks_of(o));
    ASSERT(spec != NULL);
    buf_fini(&base);
    json_object_set_new(spec, "logging",
                        o->log_group != NULL
                            ? json_pack("{s:{s:s}}", "cloudWatch", "logGroup", o->log_group)
                            : json_pack("{s:{}}", "disabled"));
    if (o->base_version != NULL) {
        json_object_set_new(spec, "baseImageVersion", json_string(o->base_version));
    }
    if (o->docker) {
        json_object_set_new(spec, "additionalOsCapabilities", json_pack("[s]", "ALL"));
    }
    return spec;
}

static json_t *tags_of(const struct publish_options *o)
{
    json_t *tags = json_object();
    for (size_t i = 0; i < o->tag_count; i++) {
        struct slice key, value;
        slice_cut(slice_of(o->tags[i]), '=', &key, &value);
        char *name = slice_dup(key);
        json_object_set_new(tags, name, json_stringn(value.ptr, value.len));
        free(name);
    }
    return tags;
}

/* --- the steps -------------------------------------------------------------------------------- */

/* For the description; of a Dockerfile of somebody's own it may not be known. */
static void read_runner(struct slice zip, char out[32])
{
    struct err ignored = {0};
    struct buf dockerfile;
    buf_init(&dockerfile, ARCHIVE_DOCKERFILE_MAX);
    if (archive_read_dockerfile(zip, &dockerfile, &ignored) != 0 ||
        !slice_to_cstr(archive_arg(buf_slice(&dockerfile), "RUNNER_VERSION"), out, 32)) {
        out[0] = '\0';
    }
    buf_fini(&dockerfile);
}

/* The object is named by its content, so that a version identifies what it was built from. */
static int upload_archive(struct images *im, struct publish_options *o, char sha256_hex[65],
                          struct buf *out_uri, struct err *e)
{
    struct buf zip, key;
    buf_init(&zip, PUBLISH_ZIP_MAX);
    buf_init(&key, 1024);
    int rc = fs_read(o->zip, &zip, e);
    if (rc == 0 && !slice_starts_with(buf_slice(&zip), SLICE("PK\x03\x04"))) {
        rc = err_set(e, ERR_PERMANENT, 0, "%s is not a zip archive: create one with build-zip",
                     o->zip);
    }
    if (rc == 0) {
        archive_hash(buf_slice(&zip), sha256_hex);
        read_runner(buf_slice(&zip), o->runner_version);
        buf_printf(&key, "%s%s%s-%.16s.zip", o->prefix, o->prefix[0] != '\0' ? "/" : "", o->name,
                   sha256_hex);
        buf_printf(out_uri, "s3://%s/%s", o->bucket, key.data);
        fprintf(stderr, "uploading %zu bytes to %s\n", zip.len, out_uri->data);
        rc = images_upload(im, o->bucket, key.data, buf_slice(&zip), sha256_hex, e);
    }
    buf_fini(&key);
    buf_fini(&zip);
    return rc;
}

void publish_set_token(json_t *body)
{
    char token[2 * TOKEN_BYTES + 1];
    random_hex(token, TOKEN_BYTES);
    json_object_set_new(body, "clientToken", json_string(token));
}

/* Creates an image, or a new version of an existing one; the token makes repetitions idempotent. */
static int submit_image(struct images *im, const struct publish_options *o, const char *arn,
                        const char *uri, const char *sha256_hex, json_t **out, struct err *e)
{
    struct buf path;
    json_t *body = publish_spec(o, aws_client_region(im->lambda), uri, sha256_hex);
    publish_set_token(body);
    buf_init(&path, 4096);
    int rc;
    if (arn == NULL) {
        json_object_set_new(body, "name", json_string(o->name));
        if (o->tag_count > 0) {
            json_object_set_new(body, "tags", tags_of(o));
        }
        rc = images_call(im, "CreateMicrovmImage", "POST", "/microvm-images", body, out, e);
    } else {
        images_path(&path, arn, NULL);
        rc = images_call(im, "UpdateMicrovmImage", "PUT", path.data, body, out, e);
    }
    buf_fini(&path);
    json_decref(body);
    return rc;
}

static const char *string_member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

int publish_await(struct images *im, const struct publish_options *o, const json_t *submitted,
                  json_t **out, struct err *e)
{
    bool tried = false;
    const char *arn = string_member(submitted, "imageArn");
    const char *version = string_member(submitted, "imageVersion");
    json_t *built = NULL;
    if (arn[0] == '\0' || version[0] == '\0') {
        return err_set(e, ERR_RETRY, 0, "the response contains no image or version");
    }
    printable_line(stderr, "%s, version %s", arn, version);
    if (publish_wait(im, o, arn, version, &built, e) != 0) {
        return -1;
    }
    int rc = o->trial == PUBLISH_NO_TRY ? 0 : publish_try(im, o, arn, version, &tried, e);
    if (rc == 0) {
        *out = json_pack("{s:s, s:s, s:s, s:s, s:b}", "imageArn", arn, "imageVersion", version,
                         "state", string_member(built, "state"), "status",
                         string_member(built, "status"), "tried", tried);
    }
    json_decref(built);
    return rc;
}

int publish(struct images *im, const struct publish_options *wished, json_t **out, struct err *e)
{
    struct publish_options copy = *wished;
    struct publish_options *o = &copy;
    struct buf uri;
    char sha256_hex[65];
    char *arn = NULL;
    json_t *submitted = NULL;
    buf_init(&uri, 2048);
    int rc = publish_check_architecture(im, o, e);
    if (rc == 0) {
        rc = upload_archive(im, o, sha256_hex, &uri, e);
    }
    if (rc == 0) {
        rc = images_find(im, o->name, &arn, e);
    }
    if (rc == 0) {
        fprintf(stderr, "%s the image %s\n", arn == NULL ? "creating" : "updating", o->name);
        rc = submit_image(im, o, arn, uri.data, sha256_hex, &submitted, e);
    }
    if (rc == 0) {
        rc = publish_await(im, o, submitted, out, e);
    }
    json_decref(submitted);
    free(arn);
    buf_fini(&uri);
    return rc;
}

/* --- versions --------------------------------------------------------------------------------- */

static int find_image(struct images *im, const char *name, char **out_arn, struct err *e)
{
    if (images_find(im, name, out_arn, e) != 0) {
        return -1;
    }
    return *out_arn != NULL ? 0
                            : err_set(e, ERR_NOT_FOUND, 0, "there is no image %s in %s", name,
                                      aws_client_region(im->lambda));
}

int publish_set_status(struct images *im, const char *arn, const char *version, const char *status,
                       json_t **out, struct err *e)
{
    struct buf path;
    json_t *body = json_pack("{s:s}", "status", status);
    buf_init(&path, 4096);
    images_path(&path, arn, version);
    int rc = images_call(im, "UpdateMicrovmImageVersion", "PATCH", path.data, body, out, e);
    buf_fini(&path);
    json_decref(body);
    return rc;
}

int publish_switch(struct images *im, const char *name, const char *version, const char *status,
                   json_t **out, struct err *e)
{
    char *arn = NULL;
    int rc = find_image(im, name, &arn, e);
    if (rc == 0) {
        rc = publish_set_status(im, arn, version, status, out, e);
    }
    free(arn);
    return rc;
}

int publish_versions(struct images *im, const char *name, json_t **out, struct err *e)
{
    struct buf path;
    char *arn = NULL;
    buf_init(&path, 4096);
    int rc = find_image(im, name, &arn, e);
    if (rc == 0) {
        images_path(&path, arn, NULL);
        buf_append_cstr(&path, "/versions");
        rc = images_list(im, "ListMicrovmImageVersions", path.data, out, e);
    }
    buf_fini(&path);
    free(arn);
    return rc;
}
