/*
 * A new version of an image that has become old: the members of the newest version are sent again, as
 * UpdateMicrovmImage needs all of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/base/quantity.h"
#include "common/config/aws.h"
#include "common/vm/vm.h"
#include "deploy/image/lambda/publish/publish.h"

#define COMPLAINTS_MAX ((size_t)64 * 1024)
#define DAY_MS (INT64_C(24) * 3600 * 1000)

/* One class's image. */
struct renewal {
    const struct refresh_options *refresh;
    struct publish_options options; /* those of the command, and what the version had */
    struct images images;
    const char *class_name;
    const char *arn;
    json_t *versions;     /* owned: as listed */
    const json_t *newest; /* the newest one that can be launched; NULL: none */
    bool is_building;
};

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static int64_t created_ms(const json_t *version)
{
    return (int64_t)(json_number_value(json_object_get(version, "createdAt")) * 1000);
}

static int read_versions(struct renewal *r, struct err *e)
{
    struct buf path;
    size_t i;
    const json_t *version;
    buf_init(&path, 4096);
    images_path(&path, r->arn, NULL);
    buf_append_cstr(&path, "/versions");
    int rc = images_list(&r->images, "ListMicrovmImageVersions", path.data, &r->versions, e);
    buf_fini(&path);
    json_array_foreach(r->versions, i, version)
    {
        const char *state = member_text(version, "state");
        r->is_building |= strcmp(state, "PENDING") == 0 || strcmp(state, "IN_PROGRESS") == 0;
        if (strcmp(state, "SUCCESSFUL") == 0 &&
            strcmp(member_text(version, "status"), "ACTIVE") == 0 &&
            (r->newest == NULL || created_ms(version) > created_ms(r->newest))) {
            r->newest = version;
        }
    }
    return rc;
}

/* Every member that an update takes: one that is left out is reset. */
static json_t *spec_of(const json_t *version)
{
    static const char *const members[] = {"baseImageArn",
                                          "buildRoleArn",
                                          "description",
                                          "codeArtifact",
                                          "logging",
                                          "cpuConfigurations",
                                          "resources",
                                          "egressNetworkConnectors",
                                          "hooks",
                                          "additionalOsCapabilities",
                                          "environmentVariables",
                                          "kmsKeyIdentifier"};
    json_t *spec = json_object();
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        json_t *value = json_object_get(version, members[i]);
        if (value != NULL && !json_is_null(value)) {
            json_object_set(spec, members[i], value);
        }
    }
    return spec;
}

/* What the wait and the trial need to know of it. */
static void take_options(struct renewal *r)
{
    const json_t *egress = json_object_get(r->newest, "egressNetworkConnectors");
    const json_t *logs = json_object_get(json_object_get(r->newest, "logging"), "cloudWatch");
    struct publish_options *o = &r->options;
    o->build_role = member_text(r->newest, "buildRoleArn");
    o->log_group = json_string_value(json_object_get(logs, "logGroup"));
    o->egress_count = 0;
    for (size_t i = 0; i < json_array_size(egress) && i < PUBLISH_LIST_MAX; i++) {
        o->egress[o->egress_count++] = json_string_value(json_array_get(egress, i));
    }
}

static int update_image(struct renewal *r, json_t **out, struct err *e)
{
    struct buf path;
    json_t *submitted = NULL;
    json_t *body = spec_of(r->newest);
    buf_init(&path, 4096);
    images_path(&path, r->arn, NULL);
    take_options(r);
    publish_set_token(body);
    int rc = images_call(&r->images, "UpdateMicrovmImage", "PUT", path.data, body, &submitted, e);
    if (rc == 0) {
        rc = publish_await(&r->images, &r->options, submitted, out, e);
    }
    buf_fini(&path);
    json_decref(body);
    json_decref(submitted);
    return rc;
}

/* *out stays NULL where nothing is to be done. */
static int renew(struct renewal *r, json_t **out, struct err *e)
{
    if (read_versions(r, e) != 0) {
        return -1;
    }
    if (r->newest == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "%s has no ACTIVE version to renew: publish one (mayfly-publish-image "
                       "publish)",
                       r->arn);
    }
    const char *version = member_text(r->newest, "imageVersion");
    int64_t age_ms = clock_wall_ms() - created_ms(r->newest);
    if (r->is_building) {
        printable_line(stderr, "class %s: a version of its image is being built: nothing to do",
                       r->class_name);
        return 0;
    }
    if (age_ms < r->refresh->older_than_ms) {
        char limit[QUANTITY_TEXT_SIZE];
        printable_line(stderr,
                       "class %s: version %s is %lld days old, and renewed after %s: nothing to do",
                       r->class_name, version, (long long)(age_ms / DAY_MS),
                       quantity_text(QUANTITY_DURATION, r->refresh->older_than_ms, limit));
        return 0;
    }
    printable_line(stderr, "class %s: version %s is %lld days old", r->class_name, version,
                   (long long)(age_ms / DAY_MS));
    return update_image(r, out, e);
}

static int renew_class(const struct refresh_options *r, const struct publish_options *o,
                       const struct config_class *class, int *out_signal, json_t *results,
                       struct err *e)
{
    struct renewal renewal = {.refresh = r, .options = *o, .class_name = class->name};
    struct vm_image image;
    json_t *result = NULL;
    ASSERT(vm_image_of(class, &image));
    renewal.arn = image.id;
    renewal.options.name = image.name;
    if (images_open(&renewal.images, image.region, image.endpoint, e) != 0) {
        return -1;
    }
    int rc = renew(&renewal, &result, e);
    if (result != NULL) {
        json_object_set_new(result, "class", json_string(class->name));
        json_array_append_new(results, result);
    }
    *out_signal = renewal.images.signal;
    json_decref(renewal.versions);
    images_close(&renewal.images);
    return rc == 0 ? 0 : err_wrap(e, "class %s", class->name);
}

static bool is_wanted(const struct refresh_options *r, const struct config_class *class)
{
    struct vm_image image;
    bool wanted = r->class_count == 0;
    for (size_t i = 0; i < r->class_count; i++) {
        wanted |= strcmp(r->classes[i], class->name) == 0;
    }
    return wanted && vm_image_of(class, &image);
}

/* As mayflyctl reads it: without the credentials of GitHub's App, which only the daemons need. */
static int load_config(const char *path, struct config **out, struct err *e)
{
    struct buf complaints;
    buf_init(&complaints, COMPLAINTS_MAX);
    config_aws_use();
    int rc = config_load(path, CONFIG_FOR_CTL, out, &complaints, e);
    if (rc != 0 && complaints.len > 0) {
        printable_lines(stderr, buf_slice(&complaints));
    } else if (rc == 0) {
        config_aws_apply(&(*out)->aws);
    }
    buf_fini(&complaints);
    return rc;
}

int refresh(const struct refresh_options *r, const struct publish_options *o, int *out_signal,
            json_t **out, struct err *e)
{
    struct config *c = NULL;
    json_t *results = json_array();
    size_t classes = 0;
    int rc = load_config(r->config, &c, e);
    for (size_t i = 0; rc == 0 && i < c->class_count; i++) {
        if (is_wanted(r, &c->classes[i])) {
            classes++;
            rc = renew_class(r, o, &c->classes[i], out_signal, results, e);
        }
    }
    if (rc == 0 && classes == 0) {
        rc = err_set(e, ERR_NOT_FOUND, 0,
                     "the configuration has no %sclass with the provider lambda%s",
                     r->class_count > 0 ? "such " : "", r->class_count > 0 ? ": see --class" : "");
    }
    config_free(c);
    if (rc != 0 || json_array_size(results) == 0) {
        json_decref(results);
        return rc;
    }
    *out = results;
    return 0;
}
