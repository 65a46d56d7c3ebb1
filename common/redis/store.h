/*
 * One Redis (7 or newer, or Valkey 8) as a store: connections, scripts, replies, notes, errors.
 *
 * For backends alone; what the keys mean is theirs. A pool of connections, each used by one call at
 * a time; a call borrows one, or makes one, and every call has a deadline. A step that must be
 * atomic is one Lua script, which reads the server's TIME: processes' clocks never meet. All keys
 * of a deployment begin with one hash tag, so in a cluster they share a slot; the store follows
 * that slot when it moves.
 *
 * Threading: any thread may call redis_store_*; a reply or a subscription has one owner.
 * Failures: unreachable, too slow, loading, busy or failing over ERR_RETRY (the step may have
 * happened all the same: steps must be safe to repeat); while the pause after a failed connect
 * lasts, calls fail at once and say in retry_after_ms when it ends. Full memory or disk
 * ERR_CAPACITY; refused password ERR_AUTH; a forbidden command or a foreign key ERR_PERMANENT.
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
struct redis_reply;        /* an answer or a part of one; accessors take NULL as nil */
struct redis_subscription; /* one channel, on a connection of its own */

/* --- opening --- */
/* url: redis://[user[:password]@]host[:port][/db][?option=value&…], rediss:// for TLS (the system's
 * authorities), or redis:///path/to/socket. User, password and path may hold %XX. Options:
 *   prefix=NAME         the deployment, [A-Za-z0-9._-], at most 64; "mayfly"
 *   db=N                the database, for a socket
 *   timeout=DURATION    of a call, 100ms to 1m; 5s
 *   connections=N       at most so many besides subscriptions, 1 to 1024; 64
 *   wait_replicas=N     redis_store_write waits until N replicas have the write; 0
 *   wait_aof=1          redis_store_write waits for the server's fsync (Redis 7.2 or newer); 0
 *   ca=PATH cert=PATH key=PATH   PEM files, for TLS
 * Connects once, so that a wrong address or password is told at the start: ERR_PERMANENT for a bad
 * url and a server that is too old, else the failures above. Messages never hold the password. */
MUST_CHECK int redis_store_open(const char *url, struct redis_store **out, struct err *e);
/* No call may be under way and every subscription closed. NULL is fine. */
void redis_store_close(struct redis_store *s);

/* "{mayfly:<prefix>}": what all keys and channels of the deployment begin with; every script gets
 * it as KEYS[1]. A backend appends ":q:…" (queue) or ":l:…" (ledger). Valid until close. */
const char *redis_store_root(const struct redis_store *s);

/* "host:port" or the socket's path, for messages. Valid until close. */
const char *redis_store_server(const struct redis_store *s);

/* Whether the server answers within the deadline. */
MUST_CHECK int redis_store_ping(struct redis_store *s, struct err *e);

/* Reads the server's settings that durability rests on (appendonly, appendfsync, maxmemory-policy)
 * and appends a warning a line for each that may lose what was confirmed, or that cannot be read.
 * out: borrowed, initialised. An error only where the server does not answer. */
MUST_CHECK int redis_store_check(struct redis_store *s, struct buf *out, struct err *e);

/* --- arguments --- */
struct redis_args { /* a run of arguments; reusable after redis_args_reset */
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
    const char *name; /* for messages: "queue take" */
    const char *text; /* Lua; "#!lua flags=allow-oom" in its first line where it frees memory */
};

/* One command: its name is the first argument. *out: owned, redis_reply_free. An error reply fails
 * the call. */
MUST_CHECK int redis_store_call(struct redis_store *s, const struct redis_args *args,
                                struct redis_reply **out, struct err *e);

/* EVALSHA with KEYS = {root} and ARGV = args; a server that does not know the script (restarted,
 * failed over) is given it first. Strings go in and out as bytes; Lua numbers come back as
 * integers, cut; false and nil as nil. */
MUST_CHECK int redis_store_eval(struct redis_store *s, const struct redis_script *script,
                                const struct redis_args *args, struct redis_reply **out,
                                struct err *e);

/* The same for a script that writes what a caller will rely on: with wait_replicas or wait_aof set,
 * success means that the replicas, or the disk, have it too. If they do not in time, ERR_RETRY:
 * written, but not confirmed. */
MUST_CHECK int redis_store_write(struct redis_store *s, const struct redis_script *script,
                                 const struct redis_args *args, struct redis_reply **out,
                                 struct err *e);

/* --- replies: what a peer sent; none of these asserts on it --- */
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

/* --- notes: pub/sub --- */
/* A script publishes with redis.pcall('PUBLISH', KEYS[1] .. ':q:wake', …): pcall, so that a user
 * without the right to the channel can still write. Notes may be lost (an outage, a slow reader);
 * they spare polling and nothing rests on them. */
enum redis_note {
    REDIS_NOTE_MESSAGE, /* *payload is one */
    REDIS_NOTE_FRESH,   /* subscribed, or again after an outage: notes may have been missed */
    REDIS_NOTE_LOST,    /* no subscription at present: poll until the next REDIS_NOTE_FRESH */
    REDIS_NOTE_TIMEOUT,
    REDIS_NOTE_ENDED, /* redis_subscription_end was called */
};

/* Does not connect yet: the first redis_subscription_next does. channel: what follows the root, as
 * in ":q:wake". */
struct redis_subscription *redis_subscription_open(struct redis_store *s, const char *channel);
/* No next may be under way. NULL is fine. */
void redis_subscription_close(struct redis_subscription *u);

/* Waits up to timeout_ms for the next note; reconnects and subscribes again by itself, with
 * back-off. payload: valid until the next call, empty unless REDIS_NOTE_MESSAGE. */
enum redis_note redis_subscription_next(struct redis_subscription *u, int64_t timeout_ms,
                                        struct slice *payload);
/* Ends the present and all later next; from any thread. */
void redis_subscription_end(struct redis_subscription *u);

#endif
