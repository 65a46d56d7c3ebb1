/*
 * The first source that has credentials is used: the environment (AWS_ACCESS_KEY_ID …), the profile
 * of the shared config and credentials files (keys, role_arn with source_profile or
 * credential_source, credential_process, web_identity_token_file), AWS_WEB_IDENTITY_TOKEN_FILE, the
 * container's endpoint (relative and full URI, token and token file), EC2's metadata (IMDSv2). All
 * clients of the process share one instance, and one more for each role that some of them assume with
 * these. One thread renews each; meanwhile calls use the current keys.
 *
 * Threading: any thread. Failures: ERR_AUTH, naming each source that was tried and why it has none;
 * ERR_RETRY if a source exists but does not respond. Only the access key's id and the source's name
 * are ever logged or part of a message.
 */
#ifndef MAYFLY_AWS_CREDENTIALS_H
#define MAYFLY_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct aws_credentials; /* shared by the process, reference-counted */

struct aws_keys { /* a copy; wipe it with aws_keys_fini */
    char *access_key;
    char *secret_key;
    char *session_token; /* "": none */
    int64_t expires_ms;  /* wall clock; 0: never */
    const char *source;  /* for messages: "environment", "container", …; static */
};
void aws_keys_fini(struct aws_keys *k);

/* The shared instance, made for its first user and freed with its last. Looks up nothing yet. */
struct aws_credentials *aws_credentials_acquire(void);
/* That of a role, which the process's own credentials assume by STS in that region; "": these
 * themselves. */
struct aws_credentials *aws_credentials_acquire_role(const char *role_arn, const char *region);
void aws_credentials_release(struct aws_credentials *c);

/* The current keys. If there are none that are valid, looks them up, or waits for the thread that
 * does. */
MUST_CHECK int aws_credentials_get(struct aws_credentials *c, struct aws_keys *out, struct err *e);

/* Reports that AWS refused these keys as expired or unknown: unless they were renewed since, they
 * are looked up again. Returns whether to retry with aws_credentials_get. */
bool aws_credentials_refused(struct aws_credentials *c, const char *access_key);

#endif
