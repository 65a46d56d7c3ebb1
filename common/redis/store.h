/*
 * One Redis server (7 or newer, or Valkey 8) as a store: connections, scripts, replies, pub/sub,
 * errors.
 *
 * For backends alone, which own the keys. Each call borrows a connection of a pool, or opens one,
 * and has a deadline. An atomic step is one Lua script, which reads the server's TIME, so
 * processes' clocks are never compared. All keys of a deployment begin with one hash tag, so in a
 * cluster they share a slot; the store follows that slot when it moves.
 *
 * Threading: any thread may call redis_store_*; a reply or a subscription has one owner.
 * Failures: unreachable, too slow, loading, busy or failing over is ERR_RETRY; the step may have
 * been executed, so steps must be safe to repeat. During the back-off after a failed connect, calls
 * fail at once with retry_after_ms. Full memory or disk is ERR_CAPACITY. What a person must end is
 * ERR_AUTH: a rejected password, a forbidden command (code EACCES), a key of another type. No reply
 * of the server is ERR_PERMANENT, since none is about one job or message.
 */
#ifndef MAYFLY_REDIS_STORE_H
#define MAYFLY_REDIS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

struct redis_store;        /* one server, one deployment's keys */
struct redis_reply;        /* a reply or a part of one; accessors treat NULL as nil */
struct redis_subscription; /* one channel, on a connection of its own */

/* --- opening --- */
/* url: redis://[user[:password]@]host[:port][/db][?option=value&…], rediss:// for TLS (the system's
 * authorities), or redis:///path/to/socket. User, password and path may hold %XX. Options:
 *   prefix=NAME         the deployment, [A-Za-z0-9._-], at most 64; "mayfly"
 *   db=N                the database, for a socket
 *   timeout=DURATION    of a call, 100ms to 1m; 5s
 *   connections=N       the maximum, without subscriptions, 1 to 1024; 64
 *   wait_replicas=N     redis_store_write waits until N replicas have the write; 0
 *   wait_aof=1          redis_store_write waits for the server's fsync (Redis 7.2 or newer); 0
 *   ca=PATH cert=PATH key=PATH   PEM files, for TLS
 * Connects once, so that a wrong address or password fails at open. ERR_PERMANENT for a malformed
 * url or a server that is too old, else the failures above. Messages never contain the password. */
MUST_CHECK int redis_store_open(const char *url, struct redis_store **out, struct err *e);
/* No call may be in progress, and every subscription must be closed. NULL is fine. */
void redis_store_close(struct redis_store *s);

/* "{mayfly:<prefix>}", the prefix of all keys and channels of the deployment; every script gets it
 * as KEYS[1]. A backend appends ":q:…" (queue) or ":l:…" (ledger). Valid until close. */
const char *redis_store_root(const struct redis_store *s);

/* "host:port" or the socket's path, for messages. Valid until close. */
const char *redis_store_server(const struct redis_store *s);

/* Checks that the server responds within the deadline. */
MUST_CHECK int redis_store_ping(struct redis_store *s, struct err *e);

/* Reads the server's settings for durability (appendonly, appendfsync, maxmemory-policy) and
 * appends one line of warning for each that may lose confirmed writes, or that cannot be read. out:
 * borrowed, initialised. Fails only if the server does not respond. */
MUST_CHECK int redis_store_check(struct redis_store *s, struct buf *out, struct err *e);

/* Names the history of the data that the server has: a replica that takes over continues it under
 * another name, and so does a server that restarts, since either may lack the last writes. "" if the
 * user may not call INFO. size: at least 41. */
MUST_CHECK int redis_store_history(struct redis_store *s, char *out, size_t size, struct err *e);

/* --- arguments --- */
struct redis_args { /* a list of arguments; reusable after redis_args_reset */
    struct buf wire;
    size_t count;
};
#define REDIS_ARGS_MAX_BYTES (256 * 1024 * 1024)

void redis_args_init(struct redis_args *a);
void redis_args_fini(struct redis_args *a); /* fine on a zeroed one */
void redis_args_reset(struct redis_args *a);
void redis_arg(struct redis_args *a, struct slice bytes); /* copies; may hold any byte */
void redis_arg_text(struct redis_args *a, const char *text);
void redis_arg_int(struct redis_args *a, int64_t value);

/* --- calls --- */
struct redis_script { /* of static storage */
    const char *name; /* for messages: "queue receive" */
    const char *text; /* Lua; starts with "#!lua flags=allow-oom" if it frees memory */
};

/* One command; the first argument is its name. *out: owned, redis_reply_free. An error reply fails
 * the call. */
MUST_CHECK int redis_store_call(struct redis_store *s, const struct redis_args *args,
                                struct redis_reply **out, struct err *e);

/* EVALSHA with KEYS = {root} and ARGV = args; loads the script first if the server does not have it
 * (restart, failover). Strings are bytes in both directions; Lua numbers are truncated to integers;
 * false and nil become nil. */
MUST_CHECK int redis_store_eval(struct redis_store *s, const struct redis_script *script,
                                const struct redis_args *args, struct redis_reply **out,
                                struct err *e);

/* The same for a script whose writes must be durable: with wait_replicas or wait_aof, success means
 * that the replicas, or the disk, have them too. If not in time, ERR_RETRY: written, but not
 * confirmed. */
MUST_CHECK int redis_store_write(struct redis_store *s, const struct redis_script *script,
                                 const struct redis_args *args, struct redis_reply **out,
                                 struct err *e);

/* --- replies: a peer's data, on which no accessor asserts --- */
void redis_reply_free(struct redis_reply *r);
/* -1 with the mapped error if it is an error reply. */
MUST_CHECK int redis_reply_check(const struct redis_reply *r, struct err *e);
/* Elements of an array; 0 for anything else. */
size_t redis_reply_count(const struct redis_reply *r);
/* The i-th element, borrowed; NULL if there is none. */
const struct redis_reply *redis_reply_at(const struct redis_reply *r, size_t i);
/* An integer, or a string that holds one; else `otherwise`. */
int64_t redis_reply_int(const struct redis_reply *r, int64_t otherwise);
/* A string's bytes, borrowed; empty for anything else. */
struct slice redis_reply_bytes(const struct redis_reply *r);
/* Copies a string and terminates it, cut at size - 1; "" for anything else, also with a NUL in it.
 */
void redis_reply_text(const struct redis_reply *r, char *out, size_t size);

/* --- pub/sub --- */
/* A script publishes with redis.pcall('PUBLISH', KEYS[1] .. ':q:wake', …): pcall, so that a user
 * without permission for the channel can still write. Messages may be lost (an outage, a slow
 * reader); they only save polling. */
enum redis_event {
    REDIS_EVENT_MESSAGE,    /* *payload is the message */
    REDIS_EVENT_SUBSCRIBED, /* also after an outage: messages may have been missed */
    REDIS_EVENT_LOST,       /* not subscribed: poll until the next REDIS_EVENT_SUBSCRIBED */
    REDIS_EVENT_TIMEOUT,
    REDIS_EVENT_ENDED, /* redis_subscription_end was called */
};

/* Does not connect; the first redis_subscription_next does. channel: appended to the root:
 * ":q:wake". */
struct redis_subscription *redis_subscription_open(struct redis_store *s, const char *channel);
/* No redis_subscription_next may be in progress. NULL is fine. */
void redis_subscription_close(struct redis_subscription *u);

/* Waits up to timeout_ms for the next event; reconnects and subscribes again by itself, with
 * back-off. payload: valid until the next call, empty unless REDIS_EVENT_MESSAGE. */
enum redis_event redis_subscription_next(struct redis_subscription *u, int64_t timeout_ms,
                                         struct slice *payload);
/* Makes the present and all later redis_subscription_next return; from any thread. */
void redis_subscription_end(struct redis_subscription *u);

#endif
