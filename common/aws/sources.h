/*
 * Where credentials come from: one function a source, and the order in which they are asked.
 *
 * A source that is not set up answers ERR_NOT_FOUND with the reason in a few words, and the next
 * one is asked. One that is set up and fails ends the search: the next might be somebody else. Its
 * class is then ERR_AUTH when an operator must act, ERR_RETRY when it did not answer.
 *
 * Threading: any thread; each call looks anew and shares nothing. All block, within bounds of their
 * own (seconds; credential_process half a minute). *out is owned by the caller (aws_keys_fini) and
 * untouched on failure. No message holds a secret, nor what a peer said but an error's name.
 */
#ifndef MAYFLY_AWS_SOURCES_H
#define MAYFLY_AWS_SOURCES_H

#include "common/aws/credentials.h"
#include "common/aws/profile.h"
#include "common/base/buf.h"

/* All of them, in order. The message names each that was asked and why it has none. */
MUST_CHECK int aws_sources_find(struct aws_keys *out, struct err *e);

MUST_CHECK int aws_source_environment(struct aws_keys *out, struct err *e);
MUST_CHECK int aws_source_profile(struct aws_keys *out, struct err *e);      /* role.c */
MUST_CHECK int aws_source_web_identity(struct aws_keys *out, struct err *e); /* by environment */
MUST_CHECK int aws_source_container(struct aws_keys *out, struct err *e);    /* metadata.c */
MUST_CHECK int aws_source_instance(struct aws_keys *out, struct err *e);     /* metadata.c */

/* The keys of one profile, with the roles it leads through. */
MUST_CHECK int aws_role_keys(const struct aws_profiles *p, const char *profile,
                             struct aws_keys *out, struct err *e);

/* --- keys.c --- */

/* Copies what a source said, and refuses what could not be sent in a header. expires_ms: 0 never.
 */
MUST_CHECK int aws_keys_make(struct slice access_key, struct slice secret_key, struct slice token,
                             int64_t expires_ms, const char *source, struct aws_keys *out,
                             struct err *e);
/* From a JSON object's AccessKeyId, SecretAccessKey, Expiration and `token_key`. */
MUST_CHECK int aws_keys_from_json(struct slice text, const char *token_key, const char *source,
                                  struct aws_keys *out, struct err *e);
/* From an answer of STS, in XML or JSON. */
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
/* AssumeRoleWithWebIdentity with the token that the file holds now. */
MUST_CHECK int aws_sts_web_identity(const struct aws_role *role, const char *token_file,
                                    const char *source, struct aws_keys *out, struct err *e);

/* --- process.c --- */

/* Runs a command line without a shell (aws_process_split) and reads what it prints. */
MUST_CHECK int aws_process_keys(const char *command, struct aws_keys *out, struct err *e);
/* The words of a command line: blanks part them, quotes and backslashes keep them together as a
 * POSIX shell's do; nothing is expanded. NULL-terminated and owned (aws_process_free); NULL if a
 * quote is open, there is no word, or there are more than 64. */
char **aws_process_split(const char *command);
void aws_process_free(char **words);
/* As aws_process_keys, with a time and a size to try. */
struct aws_process_bounds {
    int64_t timeout_ms;
    size_t output_bytes;
};
MUST_CHECK int aws_process_run(const char *command, const struct aws_process_bounds *bounds,
                               struct buf *out, struct err *e);

/* --- metadata.c --- */

/* Whether a container's full URI may be asked: https, or a host that cannot be far away. */
bool aws_container_uri_is_near(const char *uri);
/* The region that the container's or instance's metadata tell; ERR_NOT_FOUND. *out is owned. */
MUST_CHECK int aws_metadata_region(char **out, struct err *e);

#endif
