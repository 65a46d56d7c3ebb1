/*
 * Shared by the files of `mayflyctl console`; no other file includes it.
 *
 * command.c reads the options and owns the server's thread, which is the command's own. guard.c decides
 * which requests are served, routes.c what a path means, feed.c reads the stores for the stream of
 * events on a thread of its own, and answers.c for all other requests on another one; snapshot.c,
 * latency.c and usual.c make what the commands do not; limits.c counts the limits that are reached. Neither
 * thread touches the server: they write
 * to its wake fd, and it takes what they have.
 */
#ifndef MAYFLY_DEPLOY_CTL_CONSOLE_CONSOLE_H
#define MAYFLY_DEPLOY_CTL_CONSOLE_CONSOLE_H

#include "common/base/buf.h"
#include "deploy/ctl/ctl.h"

#define CONSOLE_STREAMS_MAX 32 /* who looks at once; the next one is 503 with Retry-After */
/* Open at once; beyond it the oldest that is no stream is closed. */
#define CONSOLE_CONNECTIONS_MAX (CONSOLE_STREAMS_MAX + 64)
#define CONSOLE_STALL_MS 10000      /* a stream whose reader takes nothing for so long is closed */
#define CONSOLE_QUESTIONS_MAX 32    /* that wait for the stores; the next one is 503 */
#define CONSOLE_REPLY_SECONDS 30    /* for a response to be made and read */
#define CONSOLE_TARGET_SIZE 1024    /* of a path with its query; a longer one is 414 */
#define CONSOLE_EVERY_MS 1000       /* from snapshot to snapshot */
#define CONSOLE_WAITING_MAX 25      /* jobs in a snapshot, those that wait for longest */
#define CONSOLE_CAUSES 3            /* of them whose cause is found for one snapshot */
#define CONSOLE_JOBS_OF_LATENCY 100 /* newest that ended, and as many that run */
#define CONSOLE_JOBS_OF_USUAL 20    /* newest of a class whose timelines are read */
#define CONSOLE_ANSWER_LIMIT_BYTES ((size_t)8 << 20) /* beyond it: 503 */
#define CONSOLE_EVENT_LIMIT_BYTES ((size_t)1 << 20)  /* the same, as an event of trouble */
#define CONSOLE_PENDING_LIMIT_BYTES                                                                \
    ((size_t)64 << 20) /* that peers have not read; beyond it: 503 */
#define CONSOLE_TOKEN_MIN 16
#define CONSOLE_TOKEN_MAX 256

/* --- guard.c: pure --- */

#define GUARD_HOSTS_MAX 16
#define GUARD_HOST_SIZE 254

struct guard {
    char hosts[GUARD_HOSTS_MAX][GUARD_HOST_SIZE]; /* beside loopback */
    size_t host_count;
    char token[CONSOLE_TOKEN_MAX + 1]; /* ""; none is needed */
};
/* Adds the names of a list with commas. A failure is one of the command line. */
MUST_CHECK int guard_add_hosts(struct guard *g, const char *list, struct err *e);
/* Takes the token of a file's text. */
MUST_CHECK int guard_set_token(struct guard *g, struct slice text, struct err *e);
/* Whether browsers may name this host: "name", "name:port", "[::1]:port". */
bool guard_admits_host(const struct guard *g, struct slice host);
/* Whether a listening address ("127.0.0.1:0", "unix:/run/x") is reached from this host alone. */
MUST_CHECK int guard_is_local(const char *listen, bool *out, struct err *e);

/* 200, or why the request is refused. Files need no token: they are the same everywhere. */
struct guard_verdict {
    int status;
    const char *why; /* static */
};
struct http_request; /* common/http/request.h */
struct guard_verdict guard_judge(const struct guard *g, const struct http_request *r);

/* --- routes.c: pure --- */

struct console_file { /* of page/, compiled in */
    const char *path;
    const char *type;
    const char *etag; /* with its quotes */
    const unsigned char *bytes;
    size_t size;
};
extern const struct console_file console_files[];
extern const size_t console_file_count;
/* NULL: there is none. */
const struct console_file *console_file_of(struct slice path);

#define ROUTE_STREAM "/api/stream"
#define ROUTE_API "/api/"
#define ROUTE_METRICS "/metrics" /* needs the token, as the API does */
#define ROUTE_OPTIONS_MAX 6

/* What is asked of the stores. */
struct route_call {
    const struct ctl_command *command; /* NULL: usual.c's, of the class */
    char *argv[1];
    int argc;
    struct ctl_given given[ROUTE_OPTIONS_MAX];
    int given_count;
    char text[CONSOLE_TARGET_SIZE]; /* holds the values */
};
/* Reads "/api/jobs?class=small". ERR_NOT_FOUND: there is no such path; ERR_PERMANENT: a parameter. */
MUST_CHECK int route_read(struct slice path, struct slice query, struct route_call *out,
                          struct err *e);

/* --- snapshot.c, latency.c, usual.c: what is read of the stores --- */

/* What is kept from one snapshot to the next. Zero it to begin. */
struct snapshot {
    uint64_t count;
    json_t *latency;
    struct {
        int64_t job;
        json_t *why;
    } causes[CONSOLE_WAITING_MAX];
    size_t next; /* whose cause is found next */
};
void snapshot_fini(struct snapshot *s);
MUST_CHECK int snapshot_build(struct snapshot *s, struct ctl *c, json_t **out, struct err *e);

/* Of each class how long its jobs waited until they ran: {class, jobs, median_ms, p90_ms}. */
json_t *latency_of(const struct ledger_job *jobs, size_t n);
MUST_CHECK int latency_build(struct ctl *c, json_t **out, struct err *e);

/* The steps of a class's newest jobs: how long after its receipt each usually came. */
MUST_CHECK int usual_build(struct ctl *c, const char *class_name, json_t **out, struct err *e);

/* --- limits.c: any thread --- */

/* Beside those of common/http/server.h. */
#define CONSOLE_LIMIT_VIEWERS "viewers"   /* CONSOLE_STREAMS_MAX */
#define CONSOLE_LIMIT_REQUESTS "requests" /* CONSOLE_QUESTIONS_MAX */
#define CONSOLE_LIMIT_RESPONSE "response" /* CONSOLE_ANSWER_LIMIT_BYTES */
#define CONSOLE_LIMIT_SNAPSHOT "snapshot" /* CONSOLE_EVENT_LIMIT_BYTES */
void console_metrics_begin(void);         /* shows all of them, as 0 */
void console_limit_reached(const char *limit);
void console_show_viewers(size_t n);

/* --- feed.c --- */

struct feed;
/* c: its own, with the configuration alone. */
MUST_CHECK int feed_start(const struct ctl *c, int64_t every_ms, int wake_fd, struct feed **out,
                          struct err *e);
void feed_stop(struct feed *f); /* waits for a call in progress; NULL is fine */
/* How many look: nothing is read while it is 0. */
void feed_set_viewers(struct feed *f, size_t viewers);
/* Appends the newest event; false if there was none since the call before. */
bool feed_take(struct feed *f, struct buf *out);
/* Appends the newest event to show at once; nothing if there is none, or it is old. */
void feed_append_last(struct feed *f, struct buf *out);
/* "event: NAME\ndata: …\n\n"; data: one line. */
void feed_append_event(struct buf *out, const char *name, struct slice data);

/* --- answers.c --- */

struct answers;
struct answer {
    uint64_t id;
    int status;
    struct buf body;
};
MUST_CHECK int answers_start(const struct ctl *c, int wake_fd, struct answers **out, struct err *e);
void answers_stop(struct answers *a); /* waits for a call in progress; NULL is fine */
/* False: CONSOLE_QUESTIONS_MAX wait. target: a path with its query. */
MUST_CHECK bool answers_ask(struct answers *a, uint64_t id, const char *target);
/* *out: owned, buf_fini its body. False: there is none yet. */
MUST_CHECK bool answers_take(struct answers *a, struct answer *out);

/* --- server.c --- */

struct console;
struct console_options {
    const char *listen;
    const struct guard *guard; /* borrowed */
    const struct ctl *ctl;     /* the configuration alone is used */
    int64_t every_ms;
};
MUST_CHECK int console_open(const struct console_options *o, struct console **out, struct err *e);
int console_port(const struct console *s);
void console_run(struct console *s);  /* until console_stop */
void console_stop(struct console *s); /* from any thread */
void console_close(struct console *s);

#endif
