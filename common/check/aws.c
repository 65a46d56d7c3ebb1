/* Checks AWS: the identity of the credentials, the region, and the identity of each role that targets assume. */
#include <jansson.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/aws/credentials.h"
#include "common/aws/errors.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/check/check.h"
#include "common/config/provider.h"
#include "common/job/job.h"

#define SUBJECT "aws"
#define ASKED "sts:GetCallerIdentity"
#define ARN_MAX 512
#define TIMEOUT_MS 10000

static bool has_prefix(const char *text, const char *with)
{
    return slice_starts_with(slice_of(text), slice_of(with));
}

static bool class_uses_aws(const struct config_class *class)
{
    const struct config_provider *p = config_provider_find(class->provider);
    return p != NULL && p->aws_region != NULL;
}

/* Whether anything in the configuration uses AWS. */
static bool uses_aws(const struct config *c)
{
    for (size_t i = 0; i < c->class_count; i++) {
        if (class_uses_aws(&c->classes[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < c->github.app_count; i++) {
        if (has_prefix(c->github.apps[i].key, "kms:")) {
            return true;
        }
    }
    return has_prefix(c->queue, "sqs:") || has_prefix(c->ledger, "dynamodb:") ||
           has_prefix(c->github.app_key, "kms:");
}

/* STS responds in XML, or in JSON if the request accepts it. */
static bool read_json_arn(struct slice text, char *out, size_t size)
{
    json_t *root = json_loadb(text.len > 0 ? text.ptr : "", text.len, 0, NULL);
    const json_t *result = json_object_get(json_object_get(root, "GetCallerIdentityResponse"),
                                           "GetCallerIdentityResult");
    const char *arn = json_string_value(json_object_get(result, "Arn"));
    bool found = arn != NULL && slice_to_cstr(slice_of(arn), out, size);
    json_decref(root);
    return found;
}

static bool read_arn(struct slice text, char *out, size_t size)
{
    struct buf arn;
    buf_init(&arn, ARN_MAX);
    bool found = (aws_xml_text(text, "Arn", &arn) && slice_to_cstr(buf_slice(&arn), out, size)) ||
                 read_json_arn(text, out, size);
    buf_fini(&arn);
    return found;
}

static void report_identity(struct check *c, const char *subject, const struct aws_client *sts,
                            struct slice answer)
{
    char arn[ARN_MAX];
    struct check_finding f = {.level = CHECK_OK, .subject = subject, .request = ASKED};
    if (read_arn(answer, arn, sizeof arn)) {
        check_say(c, &f, "calls are made as %s, in region %s", arn, aws_client_region(sts));
        return;
    }
    f.level = CHECK_WARN;
    f.hint = "check the endpoint of sts";
    check_say(c, &f, "the response contains no identity");
}

/* Reports when the keys expire. */
static void check_keys(struct check *c)
{
    struct err e = {0};
    struct aws_keys keys;
    struct aws_credentials *all = aws_credentials_acquire();
    const struct check_finding f = {
        .level = CHECK_OK, .subject = SUBJECT, .request = "credentials"};
    if (aws_credentials_get(all, &keys, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, "credentials", &e);
    } else {
        char until[40] = "";
        if (keys.expires_ms > 0) {
            clock_format_utc(keys.expires_ms, until, sizeof until);
        }
        check_say(c, &f, "access key %s from the %s, %s%s", keys.access_key, keys.source,
                  until[0] != '\0' ? "valid until " : "without expiry", until);
        aws_keys_fini(&keys);
    }
    aws_credentials_release(all);
}

/* In the process's region, or without one in that of a class. */
static int open_sts(struct check *c, struct aws_client **out, struct err *e)
{
    struct aws_client_options options = {.service = "sts", .timeout_ms = TIMEOUT_MS};
    if (aws_client_open(&options, out, e) == 0) {
        return 0;
    }
    for (size_t i = 0; i < c->config->place_count; i++) {
        const struct config_class *class = c->config->places[i];
        char region[64];
        if (!class_uses_aws(class)) {
            continue;
        }
        struct slice named = config_provider_find(class->provider)->aws_region(class->settings);
        if (named.len > 0 && slice_to_cstr(named, region, sizeof region)) {
            options.region = region;
            return aws_client_open(&options, out, e);
        }
    }
    return -1;
}

static int ask_identity(struct aws_client *sts, struct http_response *answer, struct err *e)
{
    const struct aws_call call = {.operation = "GetCallerIdentity",
                                  .content_type = "application/x-www-form-urlencoded",
                                  .body = SLICE("Action=GetCallerIdentity&Version=2011-06-15")};
    return aws_send(sts, &call, answer, NULL, e);
}

static void check_identity(struct check *c)
{
    struct err e = {0};
    struct aws_client *sts = NULL;
    struct http_response answer;
    if (open_sts(c, &sts, &e) != 0 || ask_identity(sts, &answer, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, ASKED, &e);
    } else {
        report_identity(c, SUBJECT, sts, buf_slice(&answer.body));
        http_response_fini(&answer);
    }
    aws_client_close(sts);
}

/* --- the roles of targets --- */

static void check_role(struct check *c, const struct config_class *place)
{
    struct err e = {0};
    struct aws_client *sts = NULL;
    struct http_response answer;
    char subject[TARGET_NAME_SIZE + 16];
    char region[64] = "";
    struct slice named = config_provider_find(place->provider)->aws_region(place->settings);
    (void)!slice_to_cstr(named, region, sizeof region);
    (void)snprintf(subject, sizeof subject, "target %s", place->target->name);
    const struct aws_client_options options = {.service = "sts",
                                               .region = region,
                                               .role_arn = place->target->role_arn,
                                               .timeout_ms = TIMEOUT_MS};
    if (aws_client_open(&options, &sts, &e) != 0 || ask_identity(sts, &answer, &e) != 0) {
        const struct check_finding f = {
            .level = CHECK_FAIL,
            .subject = subject,
            .request = ASKED,
            .hint = "its role must trust the role that this program has, which must be allowed "
                    "sts:AssumeRole on it (deploy/docs/targets.md)"};
        check_say(c, &f, "%s", e.message);
    } else {
        report_identity(c, subject, sts, buf_slice(&answer.body));
        http_response_fini(&answer);
    }
    aws_client_close(sts);
}

static bool is_first_of_its_target(const struct config *c, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(c->target_places[k].target->name, c->target_places[i].target->name) == 0) {
            return false;
        }
    }
    return true;
}

/* The ingress calls no target. */
static void check_roles(struct check *c)
{
    for (size_t i = 0; c->who != CONFIG_FOR_INGRESS && i < c->config->target_place_count; i++) {
        const struct config_class *place = &c->config->target_places[i];
        if (place->target->role_arn[0] != '\0' && class_uses_aws(place) &&
            is_first_of_its_target(c->config, i)) {
            check_role(c, place);
        }
    }
}

void check_aws(struct check *c)
{
    if (uses_aws(c->config)) {
        check_keys(c);
        check_identity(c);
        check_roles(c);
    }
}
