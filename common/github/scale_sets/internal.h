/*
 * Shared by the files of this folder, and their tests: connection.c leads to the service, call.c makes one call of it, parse.c reads
 * its responses, scale_sets.c has the operations.
 */
#ifndef MAYFLY_GITHUB_SCALE_SETS_INTERNAL_H
#define MAYFLY_GITHUB_SCALE_SETS_INTERNAL_H

#include "common/github/internal.h"
#include "common/github/scale_sets/scale_sets.h"

#define SET_URL_BYTES 2048
#define SET_BODY_BYTES 4096
#define SET_API_VERSION "6.0-preview"

/* The service's address for a scope, without a slash at its end, and the token for it. */
struct set_connection {
    struct buf url;
    struct buf token; /* a secret */
};
void set_connection_fini(struct set_connection *c);
/* From the cache until a minute before the token expires. */
MUST_CHECK int set_connection_get(struct github *g, const struct github_scope *s,
                                  struct set_connection *out, struct err *e);
void set_connection_drop(struct github *g, const struct github_scope *s,
                         const struct set_connection *c);
/* Who serves the scope's owner: any of them is at its server. */
MUST_CHECK int set_identity(struct github *g, const struct github_scope *s,
                            struct github_identity **out, struct err *e);
/* When a JWT expires, wall clock; -1 if it does not say. */
int64_t set_token_expires_ms(struct slice jwt);
/* Appends the scope's page on the web, by the API's address. */
MUST_CHECK int set_web_url(const char *api_url, const struct github_scope *s, struct buf *out,
                           struct err *e);

struct set_call {
    const char *operation; /* of mayfly_call_seconds; NULL: not counted there */
    const char *method;
    const char *path; /* of the service, with its query if it has one */
    struct slice body;
    size_t limit_bytes;
    int64_t timeout_ms; /* 0: the client's */
};
/* One call with the admin token; a 401 is repeated with a new one. As github_call. */
MUST_CHECK int set_call(struct github *g, const struct github_scope *s, const struct set_call *call,
                        struct http_response *out, struct err *e);

/* One request with that credential ("Bearer x"), whatever it is for. */
struct set_request {
    const char *operation;
    const char *method;
    const char *url;
    const char *scheme; /* "Bearer" */
    struct slice token;
    const char *header; /* another one; NULL: none */
    struct slice body;
    size_t limit_bytes;
    int64_t timeout_ms;
    http_wait_fn *wait; /* NULL: none */
    void *wait_arg;
};
MUST_CHECK int set_send(struct github *g, const struct set_request *q, struct http_response *out,
                        struct err *e);

/* --- parse.c: all accept any bytes; ERR_RETRY for what is no such response --- */

/* Without the byte order mark that the service's texts may begin with. */
struct slice set_text(const struct http_response *r);
MUST_CHECK int set_parse_connection(struct slice body, struct set_connection *out, struct err *e);
/* The id of the first of a list; 0 if it is empty. */
MUST_CHECK int set_parse_first_id(struct slice body, int64_t *id, struct err *e);
MUST_CHECK int set_parse_id(struct slice body, int64_t *id, struct err *e);
struct set_session_facts {
    char id[64];
    struct buf url;
    struct buf token; /* a secret */
    struct github_set_statistics statistics;
};
void set_session_facts_fini(struct set_session_facts *f);
MUST_CHECK int set_parse_session(struct slice body, struct set_session_facts *out, struct err *e);
MUST_CHECK int set_parse_message(struct slice body, struct github_set_message *out, struct err *e);
MUST_CHECK int set_parse_jit(struct slice body, struct github_jit *out, struct err *e);

#endif
