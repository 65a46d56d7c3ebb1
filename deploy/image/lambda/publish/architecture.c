#include <string.h>

#include "common/base/codec.h"
#include "deploy/image/lambda/publish/publish.h"

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

const char *publish_architecture(const struct publish_options *o)
{
    return strcmp(o->architecture, "x86_64") == 0 ? "X86_64" : "ARM_64";
}

/* Whether the build takes `version` rather than `best`: the one asked for, or the newest that may be
 * used. */
static bool is_better(const struct publish_options *o, const json_t *version, const json_t *best)
{
    if (o->base_version != NULL) {
        return strcmp(member_text(version, "imageVersion"), o->base_version) == 0;
    }
    const char *status = member_text(version, "status");
    return (status[0] == '\0' || strcmp(status, "AVAILABLE") == 0) &&
           (best == NULL || json_number_value(json_object_get(version, "createdAt")) >
                                json_number_value(json_object_get(best, "createdAt")));
}

/* The version of the base image that the build will use, owned by the caller; NULL if none is listed. */
static int find_base_version(struct images *im, const struct publish_options *o, const char *base,
                             json_t **out, struct err *e)
{
    struct buf path;
    json_t *versions = NULL;
    json_t *best = NULL;
    buf_init(&path, 4096);
    buf_append_cstr(&path, "/managed-microvm-images/");
    codec_percent(&path, slice_of(base));
    buf_append_cstr(&path, "/versions");
    int rc = images_list(im, "ListManagedMicrovmImageVersions", path.data, &versions, e);
    for (size_t i = 0; rc == 0 && i < json_array_size(versions); i++) {
        json_t *version = json_array_get(versions, i);
        if (is_better(o, version, best)) {
            best = version;
        }
    }
    if (rc == 0) {
        *out = json_incref(best);
    }
    json_decref(versions);
    buf_fini(&path);
    return rc;
}

int publish_base_status(struct images *im, const char *base_arn, const char *version,
                        bool *out_recalled, struct err *e)
{
    const struct publish_options named = {.base_version = version};
    json_t *found = NULL;
    if (find_base_version(im, &named, base_arn, &found, e) != 0) {
        return -1;
    }
    *out_recalled = strcmp(member_text(found, "status"), "RECALLED") == 0;
    json_decref(found);
    return 0;
}

/* Appends the architectures that the version lists, for the message; true if `wanted` is one. */
static bool lists_architecture(const json_t *version, const char *wanted, struct buf *out)
{
    const json_t *list = json_object_get(version, "supportedCpuConfigurations");
    bool listed = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = member_text(json_array_get(list, i), "architecture");
        buf_printf(out, "%s%s", i == 0 ? "" : ", ", name);
        listed = listed || strcmp(name, wanted) == 0;
    }
    if (out->len == 0) {
        buf_append_cstr(out, "none");
    }
    return listed;
}

int publish_check_architecture(struct images *im, const struct publish_options *o, struct err *e)
{
    const char *wanted = publish_architecture(o);
    const char *region = aws_client_region(im->lambda);
    struct buf base, listed;
    json_t *version = NULL;
    if (strcmp(wanted, "ARM_64") == 0) {
        return 0;
    }
    buf_init(&base, 400);
    buf_init(&listed, 400);
    publish_base_arn(o, region, &base);
    int rc = find_base_version(im, o, base.data, &version, e);
    if (rc != 0) {
        err_wrap(e,
                 "nothing was uploaded, since it could not be read whether %s takes %s "
                 "(lambda:ListManagedMicrovmImageVersions must be allowed)",
                 region, wanted);
    } else if (version == NULL) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "nothing was uploaded: ListManagedMicrovmImageVersions lists no version %s of "
                     "%s in %s; leave --base-version out, or name one that is listed",
                     o->base_version != NULL ? o->base_version : "that is AVAILABLE", base.data,
                     region);
    } else if (!lists_architecture(version, wanted, &listed)) {
        rc =
            err_set(e, ERR_PERMANENT, 0,
                    "nothing was uploaded: %s does not take %s (version %s of the base image lists "
                    "as its architectures: %s); build the archive for arm64, or publish in a "
                    "region that lists %s",
                    region, wanted, member_text(version, "imageVersion"), listed.data, wanted);
    }
    json_decref(version);
    buf_fini(&listed);
    buf_fini(&base);
    return rc;
}
