/*
 * Sources of credentials: one function per source, and the order in which they are tried.
 *
 * A source that is not configured returns ERR_NOT_FOUND with a short reason, and the next one is
 * tried. One that is configured and fails ends the search, because the next might have another
 * identity. Its class is then ERR_AUTH if an operator must act, ERR_RETRY if it did not respond.
 *
 * Threading: any thread; each call is a new lookup and shares nothing. All block, with limits of
 * their own (seconds; credential_process half a minute). *out is owned by the caller
 * (aws_keys_fini) and untouched on failure. No message contains a secret, or more of a peer's
 * response than an error's name.
 */
#ifndef MAYFLY_AWS_SOURCES_H
#define MAYFLY_AWS_SOURCES_H

#include "common/aws/credentials.h"
#include "common/aws/profile.h"
#include "common/base/buf.h"

/* Tries all of them in order. The message names each and why it has none. */
MUST_CHECK int aws_sources_find(struct aws_keys *out, struct err *e);

MUST_CHECK int aws_source_environment(struct aws_keys *out, struct err *e);
MUST_CHECK int aws_source_profile(struct aws_keys *out, struct err *e);      /* role.c */
MUST_CHECK int aws_source_web_identity(struct aws_keys *out, struct err *e); /* by environment */
MUST_CHECK int aws_source_container(struct aws_keys *out, struct err *e);    /* metadata.c */
MUST_CHECK int aws_source_instance(struct aws_keys *out, struct err *e);     /* metadata.c */

/* The keys of one profile, through its chain of roles. */
MUST_CHECK int aws_role_keys(const struct aws_profiles *p, const char *profile,
                             struct aws_keys *out, struct err *e);

/* --- keys.c --- */

/* Copies a source's values, and rejects what could not be sent in a header. expires_ms: 0 never. */
MUST_CHECK int aws_keys_make(struct slice access_key, struct slice secret_key, struct slice token,
                             int64_t expires_ms, const char *source, struct aws_keys *out,
                             struct err *e);
/* From a JSON object's AccessKeyId, SecretAccessKey, Expiration and `token_key`. */
MUST_CHECK int aws_keys_from_json(struct slice text, const char *token_key, const char *source,
                                  struct aws_keys *out, struct err *e);
/* From a response of STS, in XML or JSON. */
MUST_CHECK int aws_keys_from_sts(struct slice text, const char *source, struct aws_keys *out,
                                 struct err *e);
void aws_keys_copy(const struct aws_keys *from, struct aws_keys *out);

/* --- sts.c --- */

struct aws_role {
    const char *arn;
    const char *session_name; /* NULL: "mayfly" */
    const char *external_id;  /* NULL: none */
    const char *duration;     /* seconds; NULL: the service's hour */
    const char *region;       /* NULL: the process's */
};
/* AssumeRole with these keys. */
MUST_CHECK int aws_sts_assume(const struct aws_role *role, const struct aws_keys *with,
                              struct aws_keys *out, struct err *e);
/* AssumeRoleWithWebIdentity with the token currently in the file. */
MUST_CHECK int aws_sts_web_identity(const struct aws_role *role, const char *token_file,
                                    const char *source, struct aws_keys *out, struct err *e);

/* --- process.c --- */

/* Runs a command line without a shell (aws_process_split) and reads what it prints. */
MUST_CHECK int aws_process_keys(const char *command, struct aws_keys *out, struct err *e);
/* Splits a command line into words at spaces, with quotes and backslashes as in a POSIX shell;
 * nothing is expanded. NULL-terminated and owned (aws_process_free); NULL if a quote is not closed,
 * there is no word, or there are more than 64. */
char **aws_process_split(const char *command);
void aws_process_free(char **words);
/* As aws_process_keys, with these limits; for tests. */
struct aws_process_bounds {
    int64_t timeout_ms;
    size_t output_bytes;
};
MUST_CHECK int aws_process_run(const char *command, const struct aws_process_bounds *bounds,
                               struct buf *out, struct err *e);

/* --- metadata.c --- */

/* Whether a container's full URI is allowed: https, or a loopback or link-local host. */
bool aws_container_uri_is_near(const char *uri);
/* The region from the container's or instance's metadata, or ERR_NOT_FOUND. *out is owned. */
MUST_CHECK int aws_metadata_region(char **out, struct err *e);

#endif
