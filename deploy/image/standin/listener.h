/*
 * A stand-in for GitHub's runner, for images and VMs that are tested with tests/fakes/github: the program Runner.Listener.
 *
 * It speaks the runner's protocol (flow V2) over plain HTTP to numeric addresses or through http_proxy, prints the lines
 * and exits with the codes of the real one, and takes one job: a shell script. Like the real one it is two processes, a
 * listener that polls and a worker that runs the job; a third one renews the job. Where the real one waits for half a
 * minute before it tries again, this one waits for a second.
 */
#ifndef STANDIN_LISTENER_H
#define STANDIN_LISTENER_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"

#define KEY_BYTES 256 /* RSA, 2,048 bits */
#define ANSWER_MAX ((size_t)4 << 20)
#define RETRY_MS 1000

/* What the listener exits with; run-helper.sh knows these. */
enum { EXIT_DONE = 0, EXIT_TERMINATED = 1, EXIT_RETRY = 2, EXIT_CONFLICT = 5, EXIT_OLD = 7 };

struct runner {
    char root[PATH_MAX]; /* where .runner and the others go; "": nowhere */
    char name[128];
    char work[128];
    char broker[512]; /* these addresses end in a slash */
    char authorization[512];
    char client_id[128];
    bool fips;
    int64_t agent_id;
    unsigned char modulus[KEY_BYTES];
    unsigned char public_exponent[KEY_BYTES];
    unsigned char private_exponent[KEY_BYTES];
    char token[2048];
    char session[64];
};

struct job {
    char name[256];
    char id[64];
    char plan[64];
    char step[64];
    char number[64]; /* of the message */
    char request[64];
    char run[512];
    char results[512];
    char token[4096];
    char *command; /* owned */
};

/* listener_config.c: reads ACTIONS_RUNNER_INPUT_JITCONFIG, writes its files to root, and removes it from the environment. */
bool runner_configure(struct runner *r);
void runner_remove_files(const struct runner *r);
bool json_take(json_t *object, const char *key, char *out, size_t size);
/* A member, whatever the case of its name. */
json_t *json_find(json_t *object, const char *key);

/* listener_sign.c: appends the signature of text, base64url: PS256 or RS256. False: the key is none. */
bool sign_jwt(const struct runner *r, const struct buf *text, struct buf *out);

/* listener_http.c */
struct call {
    const char *method;
    const char *url;
    const char *token;   /* NULL: none */
    const char *type;    /* of the body */
    const char *headers; /* further ones, each with its line's end; or NULL */
    const struct buf *body;
    int64_t timeout_ms;
    int wake_fd; /* readable: give up; -1: none */
};
#define CALL_WOKEN (-1)
/* The status; 0 when there was no answer; CALL_WOKEN. *out is the body. */
int http_call(const struct call *c, struct buf *out);
/* As http_call with a JSON body (owned, freed; NULL: none); the answer's JSON is *out, NULL if it is none. */
int http_json(const char *method, const char *url, const char *token, json_t *body, json_t **out);

/* listener_job.c: in processes of their own; neither returns. */
NORETURN void job_work(const struct runner *r, const struct job *job);
NORETURN void job_renew_for_ever(const struct job *job);
bool job_renew(const struct job *job); /* up to 5 tries */
bool job_complete(const struct job *job, const char *conclusion);

/* Prints a line with the time, as the real one does. */
PRINTF(1, 2) void say(const char *format, ...);

/* A worker's exit codes. */
enum { JOB_SUCCEEDED = 100, JOB_FAILED = 101, JOB_CANCELED = 102 };

#endif
