#include <string.h>

#include "common/aws/internal.h"
#include "common/aws/sources.h"

#define CHAIN_MAX 8

/* The chain of profiles from the requested one. */
struct chain {
    const struct aws_profiles *profiles;
    const char *names[CHAIN_MAX];
    size_t count;
};

static int keys_of(struct chain *c, const char *profile, struct aws_keys *out, struct err *e);

static const char *get_setting(const struct chain *c, const char *profile, const char *key)
{
    return aws_profile_get(c->profiles, profile, key);
}

static bool was_visited(const struct chain *c, const char *profile)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(c->names[i], profile) == 0) {
            return true;
        }
    }
    return false;
}

/* --- the kinds of credentials in a profile ---------------------------------------------------- */

static bool has_static_keys(const struct chain *c, const char *profile)
{
    return get_setting(c, profile, "aws_access_key_id") != NULL ||
           get_setting(c, profile, "aws_secret_access_key") != NULL;
}

static int static_keys(const struct chain *c, const char *profile, struct aws_keys *out,
                       struct err *e)
{
    return aws_keys_make(slice_of(get_setting(c, profile, "aws_access_key_id")),
                         slice_of(get_setting(c, profile, "aws_secret_access_key")),
                         slice_of(get_setting(c, profile, "aws_session_token")), 0, "profile", out,
                         e);
}

static int keys_of_source(const char *name, struct aws_keys *out, struct err *e)
{
    if (strcmp(name, "Environment") == 0) {
        return aws_source_environment(out, e);
    }
    if (strcmp(name, "EcsContainer") == 0) {
        return aws_source_container(out, e);
    }
    if (strcmp(name, "Ec2InstanceMetadata") == 0) {
        return aws_source_instance(out, e);
    }
    return err_set(e, ERR_AUTH, 0,
                   "credential_source must be Environment, EcsContainer or Ec2InstanceMetadata");
}

/* Gets the keys that assume a profile's role. */
static int source_keys(struct chain *c, const char *profile, struct aws_keys *out, struct err *e)
{
    const char *source_profile = get_setting(c, profile, "source_profile");
    const char *source = get_setting(c, profile, "credential_source");
    if ((source_profile == NULL) == (source == NULL)) {
        return err_set(e, ERR_AUTH, 0,
                       "role_arn needs one of source_profile, credential_source and "
                       "web_identity_token_file");
    }
    if (source != NULL) {
        int rc = keys_of_source(source, out, e);
        return rc == 0 ? 0 : err_wrap(e, "credential_source %.32s", source);
    }
    if (strcmp(source_profile, profile) == 0 && has_static_keys(c, profile)) {
        return static_keys(c, profile, out, e);
    }
    if (was_visited(c, source_profile)) {
        return err_set(e, ERR_AUTH, 0, "source_profile leads in a circle, to %.64s again",
                       source_profile);
    }
    return keys_of(c, source_profile, out, e);
}

static int assume_profile_role(struct chain *c, const char *profile, const struct aws_role *role,
                               struct aws_keys *out, struct err *e)
{
    struct aws_keys with = {0};
    const char *token_file = get_setting(c, profile, "web_identity_token_file");
    if (token_file != NULL) {
        return aws_sts_web_identity(role, token_file, "profile", out, e);
    }
    if (get_setting(c, profile, "mfa_serial") != NULL) {
        return err_set(e, ERR_AUTH, 0, "it has mfa_serial, which needs a person to enter a code");
    }
    if (source_keys(c, profile, &with, e) != 0) {
        e->class = e->class == ERR_NOT_FOUND ? ERR_AUTH : e->class;
        return -1;
    }
    int rc = aws_sts_assume(role, &with, out, e);
    aws_keys_fini(&with);
    return rc;
}

/* In a profile that is another one's source, keys take precedence over a role. */
static int keys_in(struct chain *c, const char *profile, struct aws_keys *out, struct err *e)
{
    const struct aws_role role = {.arn = get_setting(c, profile, "role_arn"),
                                  .session_name = get_setting(c, profile, "role_session_name"),
                                  .external_id = get_setting(c, profile, "external_id"),
                                  .duration = get_setting(c, profile, "duration_seconds"),
                                  .region = get_setting(c, profile, "region")};
    bool is_source = c->count > 1;
    const char *process = get_setting(c, profile, "credential_process");
    if (role.arn != NULL && !(is_source && has_static_keys(c, profile))) {
        return assume_profile_role(c, profile, &role, out, e);
    }
    if (has_static_keys(c, profile)) {
        return static_keys(c, profile, out, e);
    }
    if (process != NULL) {
        return aws_process_keys(process, out, e);
    }
    if (get_setting(c, profile, "sso_session") != NULL ||
        get_setting(c, profile, "sso_account_id") != NULL) {
        return err_set(e, ERR_AUTH, 0,
                       "it uses SSO, which needs a person to sign in: give it a credential_process "
                       "(aws configure export-credentials)");
    }
    return err_set(e, is_source ? ERR_AUTH : ERR_NOT_FOUND, 0, "it contains no credentials");
}

static int keys_of(struct chain *c, const char *profile, struct aws_keys *out, struct err *e)
{
    int rc = -1;
    if (c->count == CHAIN_MAX) {
        (void)err_set(e, ERR_AUTH, 0, "source_profile leads through more than %d", CHAIN_MAX);
    } else if (!aws_profile_is_there(c->profiles, profile)) {
        (void)err_set(e, ERR_NOT_FOUND, 0, "not found in the shared files");
    } else {
        c->names[c->count++] = profile;
        rc = keys_in(c, profile, out, e);
    }
    return rc == 0 ? 0 : err_wrap(e, "profile %.64s", profile);
}

int aws_role_keys(const struct aws_profiles *p, const char *profile, struct aws_keys *out,
                  struct err *e)
{
    struct chain c = {.profiles = p};
    return keys_of(&c, profile, out, e);
}

/* --- the requested profile -------------------------------------------------------------------- */

int aws_source_profile(struct aws_keys *out, struct err *e)
{
    struct aws_profiles profiles = {0};
    bool named = false;
    const char *profile = aws_profile_name(&named);
    if (aws_profiles_load(&profiles, e) != 0) {
        e->class = e->class == ERR_RETRY ? ERR_RETRY : ERR_AUTH;
        return -1;
    }
    int rc = aws_role_keys(&profiles, profile, out, e);
    bool there = aws_profile_is_there(&profiles, profile);
    aws_profiles_fini(&profiles);
    /* If a profile was named, no other source is used. */
    if (rc != 0 && e->class == ERR_NOT_FOUND && named && !there) {
        e->class = ERR_AUTH;
    }
    return rc;
}
