/*
 * A new version of an image that has become old, or that is to be made of another archive: the archive with
 * the newest release of GitHub's runner, and every member of the version in use again, as UpdateMicrovmImage
 * needs them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fs.h"
#include "common/base/printable.h"
#include "common/base/quantity.h"
#include "common/base/random.h"
#include "common/config/aws.h"
#include "common/ledger/images.h"
#include "common/vm/vm.h"
#include "deploy/image/lambda/publish/archive.h"
#include "deploy/image/lambda/publish/publish.h"
#include "deploy/image/lambda/publish/releases.h"

#define COMPLAINTS_MAX ((size_t)64 * 1024)
#define DAY_MS (INT64_C(24) * 3600 * 1000)
#define LEASE_MORE_MS 600000 /* beyond the waits for the build and its trial */

/* The image of one place: of a class, or of a class at one of its targets. */
struct renewal {
    const struct refresh_options *refresh;
    struct publish_options options; /* those of the command, and what the version had */
    struct images images;
    struct ledger *ledger;
    const char *place_name;
    const char *arn;
    const char *wanted; /* the archive that versions are to be made of; NULL: as the one in use */
    struct ledger_image image; /* version 0: none of its versions was launched yet */
    json_t *versions;          /* owned: as listed */
    const json_t *used; /* the newest one that can be launched and was not rejected; NULL: none */
    bool is_building;
    struct buf zip; /* what the new version is made of */
    struct buf dockerfile;
    bool is_another; /* zip has other contents than what `used` was made of */
    struct runner_release release;
    char sha256_hex[ARCHIVE_HASH_SIZE]; /* of the new version's archive */
    char place[1100];                   /* of S3, for it: "BUCKET/KEY" */
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

/* --- what there is --- */

/* A version that was rejected is renewed by nobody: the fleet launches an older one, which grows old meanwhile. */
static void take_used(struct renewal *r, const json_t *version)
{
    const char *name = member_text(version, "imageVersion");
    if (strcmp(member_text(version, "state"), "SUCCESSFUL") == 0 &&
        strcmp(member_text(version, "status"), "ACTIVE") == 0 &&
        !ledger_image_is_rejected(&r->image, name) &&
        (r->used == NULL || ledger_image_is_newer(name, member_text(r->used, "imageVersion")))) {
        r->used = version;
    }
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
        take_used(r, version);
    }
    return rc;
}

static const char *used_uri(const struct renewal *r)
{
    return member_text(json_object_get(r->used, "codeArtifact"), "uri");
}

/* place: "s3://BUCKET/KEY", or a file. */
static int read_archive(struct renewal *r, const char *place, struct buf *out, struct err *e)
{
    if (strncmp(place, "s3://", 5) == 0) {
        return images_download(&r->images, place + 5, out, e);
    }
    return fs_read(place, out, e);
}

/* Where the version in use has the same contents, its archive is the one with the newer runner. One whose
 * archive is gone has others. */
static int compare_archives(struct renewal *r, struct err *e)
{
    char wanted[ARCHIVE_HASH_SIZE];
    char used[ARCHIVE_HASH_SIZE];
    struct err ignored = {0};
    struct buf zip;
    if (archive_hash_contents(buf_slice(&r->zip), wanted, e) != 0) {
        return -1;
    }
    buf_init(&zip, PUBLISH_ZIP_MAX);
    r->is_another = strncmp(used_uri(r), "s3://", 5) != 0 ||
                    read_archive(r, used_uri(r), &zip, &ignored) != 0 ||
                    archive_hash_contents(buf_slice(&zip), used, &ignored) != 0 ||
                    strcmp(wanted, used) != 0;
    if (!r->is_another) {
        buf_reset(&r->zip);
        buf_append(&r->zip, buf_slice(&zip));
    }
    buf_fini(&zip);
    return 0;
}

static int fetch_archive(struct renewal *r, struct err *e)
{
    if (r->wanted != NULL) {
        return read_archive(r, r->wanted, &r->zip, e) != 0 ? -1 : compare_archives(r, e);
    }
    if (strncmp(used_uri(r), "s3://", 5) != 0) {
        return err_set(e, ERR_PERMANENT, 0, "version %s has no archive in S3: use --zip",
                       member_text(r->used, "imageVersion"));
    }
    return read_archive(r, used_uri(r), &r->zip, e);
}

static int read_release(struct renewal *r, struct err *e)
{
    char arch[16];
    struct slice named = archive_arg(buf_slice(&r->dockerfile), "RUNNER_ARCH");
    if (named.len == 0 || !slice_to_cstr(named, arch, sizeof arch)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "its Dockerfile has no line ARG RUNNER_ARCH=…: create the archive with "
                       "build-zip");
    }
    return releases_newest(r->refresh->api_url, arch, &r->release, e);
}

/* Whether another version of the base helps: not where the command names the recalled one. */
static bool base_is_recalled(struct renewal *r)
{
    struct err e = {0};
    bool recalled = false;
    const char *wanted = r->options.base_version;
    const char *base = member_text(r->used, "baseImageVersion");
    if (base[0] == '\0' || publish_base_status(&r->images, member_text(r->used, "baseImageArn"),
                                               base, &recalled, &e) != 0) {
        return false;
    }
    if (recalled) {
        printable_line(stderr,
                       "class %s: WARNING: version %s was built on version %s of the base image, "
                       "which is RECALLED%s",
                       r->place_name, member_text(r->used, "imageVersion"), base,
                       wanted != NULL && strcmp(wanted, base) == 0
                           ? ": name another one (--base-version)"
                           : "");
    }
    return recalled && (wanted == NULL || strcmp(wanted, base) != 0);
}

/* Whether the version was built, or its runner was replaced by a newer release, too long ago, or its base was
 * recalled. */
static bool is_old(struct renewal *r)
{
    char limit[QUANTITY_TEXT_SIZE];
    const int64_t now_ms = clock_wall_ms();
    const int64_t age_ms = now_ms - created_ms(r->used);
    struct slice runner = archive_arg(buf_slice(&r->dockerfile), "RUNNER_VERSION");
    bool has_newest = slice_eq_cstr(runner, r->release.version);
    bool late = !has_newest && r->release.published_ms > 0 &&
                now_ms - r->release.published_ms >= r->refresh->older_than_ms;
    bool old = age_ms >= r->refresh->older_than_ms || late || base_is_recalled(r);
    printable_line(stderr,
                   "class %s: version %s is %lld days old and has runner %.*s, the newest is %s; "
                   "renewed after %s%s",
                   r->place_name, member_text(r->used, "imageVersion"),
                   (long long)(age_ms / DAY_MS), SLICE_ARG(runner), r->release.version,
                   quantity_text(QUANTITY_DURATION, r->refresh->older_than_ms, limit),
                   old ? "" : ": nothing to do");
    return old;
}

static bool is_to_be_renewed(struct renewal *r)
{
    if (!r->is_another) {
        return is_old(r);
    }
    printable_line(stderr, "class %s: version %s was made of another archive than %s: renewed",
                   r->place_name, member_text(r->used, "imageVersion"), r->wanted);
    return true;
}

/* --- what is made --- */

/* Appends the folder of S3 that new archives are put into, with a slash at its end: the one that the command names, or that of
 * the archive which they are made from. */
static int name_folder(const struct renewal *r, struct buf *out, struct err *e)
{
    const char *from =
        r->wanted != NULL && strncmp(r->wanted, "s3://", 5) == 0 ? r->wanted : used_uri(r);
    if (r->options.bucket != NULL) {
        buf_printf(out, "%s/%s%s", r->options.bucket, r->options.prefix,
                   r->options.prefix[0] != '\0' ? "/" : "");
        return 0;
    }
    const char *slash = strrchr(from, '/');
    if (strncmp(from, "s3://", 5) != 0 || slash < from + 5) {
        return err_set(e, ERR_PERMANENT, 0, "\"%s\" names no object of S3: use --bucket", from);
    }
    buf_append(out, (struct slice){from + 5, (size_t)(slash - from) - 4});
    return 0;
}

/* *out (initialised): the archive of the new version; r->place and r->sha256_hex are set. */
static int make_archive(struct renewal *r, struct buf *out, struct err *e)
{
    struct buf place;
    buf_init(&place, sizeof r->place - 1);
    int rc = archive_put_runner(buf_slice(&r->zip), r->release.version, r->release.sha256, out, e);
    if (rc == 0) {
        rc = name_folder(r, &place, e);
    }
    if (rc == 0) {
        archive_hash(buf_slice(out), r->sha256_hex);
        buf_printf(&place, "%s-%.16s.zip", r->options.name, r->sha256_hex);
        rc = place.failed ? err_set(e, ERR_PERMANENT, 0, "the archive's name is too long") : 0;
    }
    if (rc == 0) {
        (void)snprintf(r->place, sizeof r->place, "%s", place.data);
    }
    buf_fini(&place);
    return rc;
}

static int upload_archive(struct renewal *r, struct slice zip, struct err *e)
{
    struct slice bucket;
    struct slice key;
    char name[64];
    if (!slice_cut(slice_of(r->place), '/', &bucket, &key) ||
        !slice_to_cstr(bucket, name, sizeof name)) {
        return err_set(e, ERR_PERMANENT, 0, "\"%s\" names no object of S3", r->place);
    }
    return images_upload(&r->images, name, key.ptr, zip, r->sha256_hex, e);
}

/* Whether a young version of the same archive did not work: it was rejected, or its trial failed, or somebody made it
 * INACTIVE. To build it again each day would try it with some jobs each day. */
static bool was_refused(const struct renewal *r)
{
    size_t i;
    const json_t *version;
    json_array_foreach(r->versions, i, version)
    {
        const char *name = member_text(version, "imageVersion");
        const char *uri = member_text(json_object_get(version, "codeArtifact"), "uri");
        bool refused = strcmp(member_text(version, "state"), "SUCCESSFUL") == 0 &&
                       (strcmp(member_text(version, "status"), "ACTIVE") != 0 ||
                        ledger_image_is_rejected(&r->image, name));
        if (refused && strncmp(uri, "s3://", 5) == 0 && strcmp(uri + 5, r->place) == 0 &&
            clock_wall_ms() - created_ms(version) < r->refresh->older_than_ms) {
            printable_line(stderr,
                           "class %s: version %s was made of the same, and was rejected or is "
                           "INACTIVE: nothing to do before there is another archive or runner "
                           "(--if-older-than 0s builds it again)",
                           r->place_name, name);
            return true;
        }
    }
    return false;
}

/* Every member that an update takes: one that is left out is reset. The base becomes the newest
 * unless the command names a version. */
static json_t *spec_of(const struct renewal *r)
{
    static const char *const members[] = {"baseImageArn",
                                          "buildRoleArn",
                                          "logging",
                                          "cpuConfigurations",
                                          "resources",
                                          "egressNetworkConnectors",
                                          "hooks",
                                          "additionalOsCapabilities",
                                          "environmentVariables",
                                          "kmsKeyIdentifier"};
    char description[160];
    char uri[sizeof r->place + 5];
    json_t *spec = json_object();
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        json_t *value = json_object_get(r->used, members[i]);
        if (value != NULL && !json_is_null(value)) {
            json_object_set(spec, members[i], value);
        }
    }
    publish_describe(r->release.version, r->sha256_hex, description, sizeof description);
    json_object_set_new(spec, "description", json_string(description));
    (void)snprintf(uri, sizeof uri, "s3://%s", r->place);
    json_object_set_new(spec, "codeArtifact", json_pack("{s:s}", "uri", uri));
    if (r->options.base_version != NULL) {
        json_object_set_new(spec, "baseImageVersion", json_string(r->options.base_version));
    }
    return spec;
}

/* What the wait and the trial need to know of it. */
static void take_options(struct renewal *r)
{
    const json_t *egress = json_object_get(r->used, "egressNetworkConnectors");
    const json_t *logs = json_object_get(json_object_get(r->used, "logging"), "cloudWatch");
    struct publish_options *o = &r->options;
    o->build_role = member_text(r->used, "buildRoleArn");
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
    json_t *body = spec_of(r);
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

/* *out stays NULL where what would be made was refused. */
static int make_version(struct renewal *r, json_t **out, struct err *e)
{
    struct buf zip;
    buf_init(&zip, PUBLISH_ZIP_MAX);
    int rc = make_archive(r, &zip, e);
    if (rc == 0 && !was_refused(r)) {
        rc = upload_archive(r, buf_slice(&zip), e);
        if (rc == 0) {
            rc = update_image(r, out, e);
        }
    }
    buf_fini(&zip);
    return rc;
}

/* --- the ledger --- */

static bool offer(struct ledger_image *i, void *arg)
{
    return i->version != 0 && ledger_image_offer(i, arg, clock_wall_ms());
}

/* The reaper would find it too. A class that has launched nothing yet begins with the newest. */
static void record_canary(struct renewal *r, const json_t *result)
{
    struct err e = {0};
    struct ledger_image after;
    char version[LEDGER_IMAGE_VERSION];
    (void)snprintf(version, sizeof version, "%s", member_text(result, "imageVersion"));
    if (ledger_image_change(r->ledger, r->place_name, offer, version, &after, &e) != 0) {
        printable_line(stderr, "the ledger does not have version %s yet, the reaper finds it: %s",
                       version, e.message);
    }
}

static bool is_in_use(const char *version, const void *arg)
{
    const struct ledger_image *i = arg;
    return strcmp(version, i->good) == 0 || strcmp(version, i->canary) == 0 ||
           strcmp(version, i->former) == 0;
}

static void prune(struct renewal *r)
{
    struct err e = {0};
    struct ledger_image i;
    if (ledger_image_get(r->ledger, r->place_name, &i, &e) != 0 ||
        prune_versions(&r->images, r->arn, (size_t)r->refresh->keep, is_in_use, &i, &e) != 0) {
        printable_line(stderr, "old versions stay for now: %s", e.message);
    }
}

/* --- a place --- */

/* *out stays NULL where nothing is to be done. */
static int renew(struct renewal *r, json_t **out, struct err *e)
{
    if (ledger_image_get(r->ledger, r->place_name, &r->image, e) != 0 || read_versions(r, e) != 0) {
        return -1;
    }
    if (r->is_building) {
        printable_line(stderr, "class %s: a version of its image is being built: nothing to do",
                       r->place_name);
        return 0;
    }
    if (r->used == NULL) {
        return err_set(e, ERR_NOT_FOUND, 0,
                       "%s has no ACTIVE version to renew: publish one (mayfly-publish-image "
                       "publish)",
                       r->arn);
    }
    if (fetch_archive(r, e) != 0 ||
        archive_read_dockerfile(buf_slice(&r->zip), &r->dockerfile, e) != 0 ||
        read_release(r, e) != 0) {
        return -1;
    }
    int rc = 0;
    if (is_to_be_renewed(r)) {
        rc = make_version(r, out, e);
        if (*out != NULL) {
            record_canary(r, *out);
        }
    }
    if (rc == 0) {
        prune(r);
    }
    return rc;
}

/* One run at a time for each place, of all hosts. */
static int renew_alone(struct renewal *r, json_t **out, struct err *e)
{
    char name[LEDGER_CELL_NAME];
    char holder[33];
    bool held = false;
    int64_t fence;
    struct err ignored = {0};
    const int64_t ttl_ms =
        (r->options.wait_seconds + r->options.try_seconds) * 1000 + LEASE_MORE_MS;
    random_hex(holder, sizeof holder / 2);
    (void)snprintf(name, sizeof name, "publish/%s", r->place_name);
    if (ledger_lease(r->ledger, name, holder, ttl_ms, &held, &fence, e) != 0) {
        return -1;
    }
    if (!held) {
        printable_line(stderr, "class %s: another run renews its image: nothing to do",
                       r->place_name);
        return 0;
    }
    int rc = renew(r, out, e);
    (void)!ledger_lease_release(r->ledger, name, holder, &ignored);
    return rc;
}

/* *out_zip: the archive that the command names for it, or NULL. */
static bool is_wanted(const struct refresh_options *r, const struct config_class *place,
                      const char **out_zip)
{
    struct vm_image image;
    bool wanted = r->class_count == 0;
    *out_zip = r->zip;
    for (size_t i = 0; i < r->class_count; i++) {
        struct slice name;
        struct slice zip;
        bool has_zip = slice_cut(slice_of(r->classes[i]), '=', &name, &zip);
        if (slice_eq_cstr(name, place->name) ||
            slice_eq_cstr(name, config_place_class_name(place))) {
            wanted = true;
            *out_zip = has_zip ? zip.ptr : r->zip;
        }
    }
    return wanted && vm_image_of(place, &image);
}

static int renew_place(const struct refresh_options *r, const struct publish_options *o,
                       struct ledger *ledger, const struct config_class *place, json_t *results,
                       struct err *e)
{
    struct renewal renewal = {
        .refresh = r, .options = *o, .ledger = ledger, .place_name = place->name};
    struct vm_image image;
    json_t *result = NULL;
    ASSERT(vm_image_of(place, &image));
    if (image.pinned[0] != '\0') {
        printable_line(stderr,
                       "class %s: its configuration names version %s of the image: nothing to do",
                       place->name, image.pinned);
        return 0;
    }
    (void)is_wanted(r, place, &renewal.wanted);
    renewal.arn = image.id;
    renewal.options.name = image.name;
    if (images_open(&renewal.images, image.region, image.endpoint, image.role_arn, e) != 0) {
        return -1;
    }
    buf_init(&renewal.zip, PUBLISH_ZIP_MAX);
    buf_init(&renewal.dockerfile, ARCHIVE_DOCKERFILE_MAX);
    int rc = renew_alone(&renewal, &result, e);
    if (result != NULL) {
        json_object_set_new(result, "class", json_string(config_place_class_name(place)));
        if (place->target != NULL) {
            json_object_set_new(result, "target", json_string(place->target->name));
        }
        json_array_append_new(results, result);
    }
    *r->out_signal = renewal.images.signal;
    buf_fini(&renewal.zip);
    buf_fini(&renewal.dockerfile);
    json_decref(renewal.versions);
    images_close(&renewal.images);
    return rc == 0 ? 0 : err_wrap(e, "class %s", place->name);
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

/* One that fails keeps no other from being renewed; the first error is returned. */
static int renew_places(const struct refresh_options *r, const struct publish_options *o,
                        const struct config *c, json_t *results, struct err *e)
{
    struct ledger *ledger = NULL;
    size_t places = 0;
    int rc = 0;
    if (ledger_open(c->ledger, &ledger, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < c->place_count && *r->out_signal == 0; i++) {
        struct err failure;
        const char *zip;
        if (!is_wanted(r, c->places[i], &zip)) {
            continue;
        }
        places++;
        if (renew_place(r, o, ledger, c->places[i], results, &failure) != 0 && rc == 0) {
            *e = failure;
            rc = -1;
        }
    }
    ledger_close(ledger);
    if (places == 0) {
        rc = err_set(e, ERR_NOT_FOUND, 0,
                     "the configuration has no %sclass with the provider lambda%s",
                     r->class_count > 0 ? "such " : "", r->class_count > 0 ? ": see --class" : "");
    }
    return rc;
}

int refresh(const struct refresh_options *r, const struct publish_options *o, json_t **out,
            struct err *e)
{
    struct config *c = NULL;
    json_t *results = json_array();
    int rc = load_config(r->config, &c, e);
    if (rc == 0) {
        rc = renew_places(r, o, c, results, e);
    }
    config_free(c);
    if (rc != 0 || json_array_size(results) == 0) {
        json_decref(results);
        return rc;
    }
    *out = results;
    return 0;
}
