/*
 * The credentials of the process: found in AWS's usual order, renewed before they expire.
 *
 * Order, the first that has some: the environment (AWS_ACCESS_KEY_ID …), the profile of the shared
 * config and credentials files (keys, role_arn with source_profile or credential_source,
 * credential_process, web_identity_token_file), AWS_WEB_IDENTITY_TOKEN_FILE, the container's
 * endpoint (relative and full URI, token and token file), EC2's metadata (IMDSv2). One instance per
 * process, shared by all clients, one thread that renews while calls go on with what they have.
 *
 * Threading: any thread. Failures: ERR_AUTH, naming each source that was asked and why it gave
 * none; ERR_RETRY when a source is there and does not answer now. Nothing here is ever logged or
 * part of a message but the access key's id and the source's name.
 */
#ifndef MAYFLY_AWS_CREDENTIALS_H
#define MAYFLY_AWS_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct aws_credentials; /* the process's, counted by its users */

struct aws_keys { /* a copy; wipe it with aws_keys_fini */
    char *access_key;
    char *secret_key;
    char *session_token; /* "" : none */
    int64_t expires_ms;  /* wall clock; 0: never */
    const char *source;  /* for messages: "environment", "container", …; static */
};
void aws_keys_fini(struct aws_keys *k);

/* The shared instance, made by the first and freed with the last. Does not look yet. */
struct aws_credentials *aws_credentials_acquire(void);
void aws_credentials_release(struct aws_credentials *c);

/* The keys of now; looks them up, or waits for whoever does, if there are none that hold yet. */
MUST_CHECK int aws_credentials_get(struct aws_credentials *c, struct aws_keys *out, struct err *e);

/* AWS refused these as expired or unknown: unless they were renewed since, they are looked up anew.
 * Returns whether another try with aws_credentials_get makes sense. */
bool aws_credentials_refused(struct aws_credentials *c, const char *access_key);

#endif
