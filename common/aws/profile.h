/*
 * The shared config and credentials files (~/.aws/config, ~/.aws/credentials), read into one table.
 *
 * The format: "Shared config and credentials files" in the AWS SDKs and Tools reference guide.
 * Sections `[default]`, `[profile NAME]`, `[services NAME]` in the config file, `[NAME]` in the
 * credentials file, whose values win; `key = value` lines; indented lines below a key without a
 * value are keys of their own, known as "key.subkey". Lines that are none of these are left alone,
 * as other tools do, since the files belong to all of them.
 *
 * Threading: none; a value. Failures: a file that cannot be read, or is over its bounds
 * (ERR_PERMANENT); a missing file is an empty one. Bytes from outside: takes any.
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
    char *key;     /* lower case; "" marks that the section is there */
    char *value;   /* may be a secret */
};

struct aws_profiles {
    struct aws_profile_entry *entries;
    size_t count;
    size_t room;
};

/* Adds a file's text to *p, which is zeroed at first. What comes later wins. */
MUST_CHECK int aws_profiles_parse(struct aws_profiles *p, enum aws_file_kind kind,
                                  struct slice text, struct err *e);
/* Both files, from where AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, or HOME, say they are. */
MUST_CHECK int aws_profiles_load(struct aws_profiles *out, struct err *e);
void aws_profiles_fini(struct aws_profiles *p);

/* Whether there is a section for this profile. */
bool aws_profile_is_there(const struct aws_profiles *p, const char *profile);
/* A profile's value; NULL if it has none or an empty one. Valid until the table changes. */
const char *aws_profile_get(const struct aws_profiles *p, const char *profile, const char *key);
/* endpoint_url of a service ("secrets_manager") by the profile's `services`, else the profile's
 * own. */
const char *aws_profile_endpoint(const struct aws_profiles *p, const char *profile,
                                 const char *service);

/* The profile that is asked for: aws.profile, AWS_PROFILE, else "default". *named (may be NULL):
 * somebody named it. */
const char *aws_profile_name(bool *named);

#endif
