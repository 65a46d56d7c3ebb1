/*
 * mayfly-publish-image: an archive of build-zip becomes a version of a MicroVM image.
 *
 * Uploads to S3, calls CreateMicrovmImage or UpdateMicrovmImage, then waits and prints each state,
 * and on failure the reason of every failed build. One VM of the new version is then tried; if it
 * does not start, the version is made INACTIVE. All properties of an image are flags, since an
 * update replaces all of them. Progress goes to standard error, the result as one JSON object to
 * standard output. One thread, blocking calls; the caller owns all results.
 */
#ifndef MAYFLY_PUBLISH_PUBLISH_H
#define MAYFLY_PUBLISH_PUBLISH_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/aws/aws.h"
#include "common/base/attr.h"
#include "common/base/err.h"

#define PUBLISH_LIST_MAX 64
#define PUBLISH_ZIP_MAX ((size_t)256 << 20)

enum publish_trial { PUBLISH_TRY_IF_PERMITTED, PUBLISH_TRY, PUBLISH_NO_TRY };

struct publish_options {
    const char *name; /* of the image */
    const char *zip;
    const char *bucket;
    const char *prefix; /* of the object's key; without a slash at either end */
    const char *build_role;
    const char *architecture; /* "arm64" or "x86_64" */
    const char *region;       /* NULL: found as by AWS's tools */
    const char *base_image;   /* the name of Lambda's */
    const char *base_version; /* NULL: the newest */
    const char *description;  /* NULL: the archive's digest */
    const char *log_group;    /* NULL: no logs */
    const char *egress[PUBLISH_LIST_MAX];
    size_t egress_count;                /* 0: the internet */
    const char *tags[PUBLISH_LIST_MAX]; /* "KEY=VALUE", of a new image */
    size_t tag_count;
    int64_t memory_mib;
    int64_t port;
    int64_t ready_seconds;
    int64_t validate_seconds;
    int64_t hook_seconds; /* run, resume, suspend, terminate */
    int64_t wait_seconds;
    int64_t try_seconds; /* until a VM that is tried runs */
    int64_t poll_ms;
    char runner_version[32]; /* publish fills it in, from the archive; "" unknown */
    bool docker;             /* all OS capabilities */
    enum publish_trial trial;
};

/* Of the command refresh, which takes all else from the version that it renews. */
struct refresh_options {
    const char *config; /* NULL: as config_load finds it */
    const char *classes
        [PUBLISH_LIST_MAX]; /* "PLACE" or "PLACE=ARCHIVE", a class or CLASS@TARGET; none: all of the provider lambda */
    size_t class_count;
    const char
        *zip; /* a file or "s3://BUCKET/KEY"; NULL: the archive of the version that is renewed */
    const char *api_url; /* of GitHub's releases */
    int64_t older_than_ms;
    int64_t keep;    /* so many newest versions are not deleted */
    int *out_signal; /* that ended it; 0: none */
};

/* --- the calls (images.c) --- */
struct images {
    struct aws_client *lambda;
    struct aws_client *s3;
    sigset_t caught; /* signals that images_pause catches; they must be blocked */
    int signal;      /* the newest that it caught; 0: none */
};

/* endpoint: of Lambda's service; NULL or "": as AWS's tools find it. role_arn: that all calls assume; NULL or
 * "": none. */
MUST_CHECK int images_open(struct images *im, const char *region, const char *endpoint,
                           const char *role_arn, struct err *e);
void images_close(struct images *im);

/* Returns after ms, or at once when a signal is caught: true then. A call is not repeated after one. */
bool images_pause(struct images *im, int64_t ms);

/* The bytes go to s3://bucket/key; sha256_hex is theirs. */
MUST_CHECK int images_upload(struct images *im, const char *bucket, const char *key,
                             struct slice bytes, const char *sha256_hex, struct err *e);

/* *out (initialised): the object's bytes. place: "BUCKET/KEY". */
MUST_CHECK int images_download(struct images *im, const char *place, struct buf *out,
                               struct err *e);

/* The image's ARN, owned by the caller; *out is NULL if there is no image of that name. */
MUST_CHECK int images_find(struct images *im, const char *name, char **out_arn, struct err *e);

/* One call of the service: path behind /2025-09-09, body NULL for none. *out is
 * owned by the caller (json_decref) and never NULL. */
MUST_CHECK int images_call(struct images *im, const char *operation, const char *method,
                           const char *path, const json_t *body, json_t **out, struct err *e);

/* The items of all pages of a list, an array owned by the caller. */
MUST_CHECK int images_list(struct images *im, const char *operation, const char *path, json_t **out,
                           struct err *e);

/* Appends "/microvm-images/<percent-encoded arn>", and "/versions/<version>" unless version is NULL. */
void images_path(struct buf *out, const char *arn, const char *version);

/* --- the steps (publish.c) --- */
/* *out: {"imageArn", "imageVersion", "state", "status", "tried"}, owned by the caller. */
MUST_CHECK int publish(struct images *im, const struct publish_options *o, json_t **out,
                       struct err *e);

/* status: "ACTIVE" or "INACTIVE". */
MUST_CHECK int publish_set_status(struct images *im, const char *arn, const char *version,
                                  const char *status, json_t **out, struct err *e);
/* The same of the image of that name. */
MUST_CHECK int publish_switch(struct images *im, const char *name, const char *version,
                              const char *status, json_t **out, struct err *e);

/* *out: the versions, newest first, an array of {"imageVersion", "state", "status", …}. */
MUST_CHECK int publish_versions(struct images *im, const char *name, json_t **out, struct err *e);

/* Waits until the version that CreateMicrovmImage or UpdateMicrovmImage returned is built, and tries it.
 * *out as that of publish. */
MUST_CHECK int publish_await(struct images *im, const struct publish_options *o,
                             const json_t *submitted, json_t **out, struct err *e);

/* A random clientToken, which makes a call idempotent. */
void publish_set_token(json_t *body);

/* The common members of CreateMicrovmImage and UpdateMicrovmImage; owned by the caller. */
json_t *publish_spec(const struct publish_options *o, const char *region, const char *uri,
                     const char *sha256_hex);

/* "aws", "aws-us-gov", …: that of the build role, which is in the same one. */
struct slice publish_partition(const struct publish_options *o);

/* Appends the ARN of the managed image that the image is built on. */
void publish_base_arn(const struct publish_options *o, const char *region, struct buf *out);

/* The description of a version, from which others read which runner it has; runner "": unknown. */
void publish_describe(const char *runner, const char *sha256_hex, char *out, size_t size);

/* The network connectors of the VMs; owned by the caller. */
json_t *publish_egress(const struct publish_options *o, const char *region);

/* --- the architecture (architecture.c) --- */
/* As the service names it: "ARM_64", "X86_64". */
const char *publish_architecture(const struct publish_options *o);

/* ERR_PERMANENT unless the version of the base image that the build will use lists the architecture
 * in this region. arm64, which every region has, is not looked up. */
MUST_CHECK int publish_check_architecture(struct images *im, const struct publish_options *o,
                                          struct err *e);

/* Whether AWS has recalled that version of a managed image: what was built on it is to be built anew. */
MUST_CHECK int publish_base_status(struct images *im, const char *base_arn, const char *version,
                                   bool *out_recalled, struct err *e);

/* --- a trial (try.c) --- */
/* A version is ACTIVE, and may be launched, as soon as it is built: an INACTIVE one could not be
 * tried. Launches one VM of it with PAYLOAD_TRIAL, waits until it is RUNNING (its run hook was 200),
 * and terminates it. If it does not start, makes the version INACTIVE and fails with the reason. If
 * the trial itself is refused, prints that and succeeds with *out_tried false, unless it is
 * PUBLISH_TRY. INT, TERM and HUP end the trial as one that failed; im->signal is then not 0. */
MUST_CHECK int publish_try(struct images *im, const struct publish_options *o, const char *arn,
                           const char *version, bool *out_tried, struct err *e);

/* --- renewing (refresh.c) --- */
/* Makes a new version of each class's image, at each of its targets, that is older than refresh->older_than_ms, or was made of another
 * archive than the wanted one, with what the version had and the newest that its base and its packages are;
 * prints a line for each. The first failure is returned. *out: the new versions, an array as publish's results; NULL where there is none. */
MUST_CHECK int refresh(const struct refresh_options *r, const struct publish_options *o,
                       json_t **out, struct err *e);

/* --- old versions (prune.c) --- */
typedef bool prune_in_use_fn(const char *version, const void *arg);
struct prune {
    size_t keep;
    const json_t *running; /* the service's VMs of the image */
    prune_in_use_fn *in_use;
    const void *arg;
};
/* Deletes versions, but the newest `keep`, those that VMs run, those that are being built or deleted, and those that
 * in_use names. What the service refuses is printed and left to the next call. */
MUST_CHECK int prune_versions(struct images *im, const char *arn, size_t keep,
                              prune_in_use_fn *in_use, const void *arg, struct err *e);

/* --- waiting (wait.c) --- */
/* Waits until the version is SUCCESSFUL; *out is then the version as the service returned it.
 * ERR_PERMANENT if it FAILED, with the failed builds printed; ERR_RETRY when the time has
 * expired. */
MUST_CHECK int publish_wait(struct images *im, const struct publish_options *o, const char *arn,
                            const char *version, json_t **out, struct err *e);

#endif
