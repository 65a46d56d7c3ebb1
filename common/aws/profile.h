/*
 * The shared config and credentials files (~/.aws/config, ~/.aws/credentials), read into one table.
 *
 * The format: "Shared config and credentials files" in the AWS SDKs and Tools reference guide.
 * Sections `[default]`, `[profile NAME]`, `[services NAME]` in the config file, `[NAME]` in the
 * credentials file, whose values take precedence; `key = value` lines; indented lines below a key
 * without a value are separate keys, named "key.subkey". Other lines are ignored, since other tools
 * use the files too.
 *
 * Not thread-safe; a plain value. Failures: a file that cannot be read, or exceeds its limits
 * (ERR_PERMANENT); a missing file counts as empty. Any bytes are accepted.
 */
#ifndef MAYFLY_AWS_PROFILE_H
#define MAYFLY_AWS_PROFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"

#define AWS_FILE_LIMIT_BYTES ((size_t)1 << 20)
#define AWS_PROFILE_ENTRIES_MAX 8192

enum aws_file_kind { AWS_FILE_CONFIG, AWS_FILE_CREDENTIALS };

struct aws_profile_entry {
    char *section; /* "profile NAME", "services NAME" */
    char *key;     /* lower case; "" for the section itself */
    char *value;   /* may be a secret */
};

struct aws_profiles {
    struct aws_profile_entry *entries;
    size_t count;
    size_t capacity;
};

/* Adds a file's text to *p, which must be zeroed at first. Later values take precedence. */
MUST_CHECK int aws_profiles_parse(struct aws_profiles *p, enum aws_file_kind kind,
                                  struct slice text, struct err *e);
/* Reads both files, at AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, or below HOME. */
MUST_CHECK int aws_profiles_load(struct aws_profiles *out, struct err *e);
void aws_profiles_fini(struct aws_profiles *p);

/* Whether there is a section for this profile. */
bool aws_profile_is_there(const struct aws_profiles *p, const char *profile);
/* Valid until the table changes. */
const char *aws_profile_get(const struct aws_profiles *p, const char *profile, const char *key);
/* endpoint_url of a service ("secrets_manager") by the profile's `services`, else the profile's
 * own. */
const char *aws_profile_endpoint(const struct aws_profiles *p, const char *profile,
                                 const char *service);

/* The profile to use: aws.profile, AWS_PROFILE, else "default". *named (may be NULL): whether one
 * of the two named it. */
const char *aws_profile_name(bool *named);

#endif
