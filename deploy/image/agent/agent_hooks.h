/*
 * The hook server: a small HTTP server on one port, for the platform that runs the VM.
 *
 *     READING ──a whole request──> the hook's result ──> READING (keep-alive) or CLOSING ──> closed
 *        │                           └──"later"──> HELD ──agent_hooks_answer──> as above
 *        └──malformed, too large, too slow──> refused ──> CLOSING
 *
 * Everything is bounded: HOOKS_CONNECTIONS_MAX connections (a new one evicts the one that has been
 * reading the longest, so that the platform can always connect), REQUEST_MAX bytes, a deadline for
 * a whole request. Non-blocking; the agent's loop waits on its descriptor. The platform calls from
 * the VM's own loopback: another peer, or a request that was forwarded to it, is answered 403. Once
 * it runs, a job may call too: nothing is trusted. One thread.
 */
#ifndef MAYFLY_AGENT_HOOKS_H
#define MAYFLY_AGENT_HOOKS_H

#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "deploy/image/agent/agent_request.h"

#define HOOKS_CONNECTIONS_MAX 32
#define HOOKS_LOGGED_MAX 100 /* lines about calls in a VM's life: a job may call without end */

enum agent_hook {
    HOOK_READY,
    HOOK_VALIDATE,
    HOOK_RUN,
    HOOK_RESUME,
    HOOK_SUSPEND,
    HOOK_TERMINATE,
    HOOK_COUNT, /* the number of hooks */
};

const char *agent_hook_name(enum agent_hook hook);

/* Returns the HTTP status, or HOOK_LATER: agent_hooks_answer sends it. body: valid during the
 * call. */
#define HOOK_LATER 0
typedef int agent_hook_fn(void *ctx, enum agent_hook hook, struct slice body);

struct agent_hooks_options {
    const char *address; /* "0.0.0.0" */
    int port;            /* 0: any free port */
    int64_t request_ms;  /* for a whole request, and for an idle connection */
    int64_t held_ms;     /* for a response after HOOK_LATER */
    agent_hook_fn *fn;
    void *ctx;
};

enum hooks_state { HOOKS_FREE, HOOKS_READING, HOOKS_HELD, HOOKS_CLOSING };

struct hooks_connection {
    enum hooks_state state;
    int fd;
    bool local;       /* from this VM's loopback */
    bool holds_back;  /* the client keeps its body until it is asked for it */
    int64_t since_ms; /* monotonic: end of the last request, or start of the connection */
    int64_t deadline_ms;
    enum agent_hook held;
    bool keep_alive;             /* of the held request */
    struct http_request request; /* at the front of the input */
    struct buf input;
};

struct agent_hooks {
    struct agent_hooks_options options;
    int epoll_fd; /* readable: agent_hooks_work has something to do */
    int listen_fd;
    int port;   /* the port it listens on */
    int logged; /* lines about calls */
    struct hooks_connection connections[HOOKS_CONNECTIONS_MAX];
};

/* ERR_PERMANENT: the address is invalid, or in use. */
MUST_CHECK int agent_hooks_open(struct agent_hooks *h, const struct agent_hooks_options *options,
                                struct err *e);
void agent_hooks_close(struct agent_hooks *h);
/* Whether one more call is logged; the last one that is not says so. */
MUST_CHECK bool agent_hooks_may_log(struct agent_hooks *h);

/* Handles pending events, without blocking. */
void agent_hooks_work(struct agent_hooks *h, int64_t now_ms);
/* When agent_hooks_work is due without an event; INT64_MAX: never. */
int64_t agent_hooks_deadline(const struct agent_hooks *h);

/* Responds to all requests held for that hook. */
void agent_hooks_answer(struct agent_hooks *h, enum agent_hook hook, int status, int64_t now_ms);

#endif
