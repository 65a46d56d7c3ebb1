/*
 * Redis' wire format: encoding arguments, reading replies, classifying errors.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/redis/internal.h"

/* --- arguments --- */
static void wire_bytes(struct buf *wire, struct slice s)
{
    buf_append_byte(wire, '$');
    buf_append_int(wire, (int64_t)s.len);
    buf_append(wire, SLICE("\r\n"));
    buf_append(wire, s);
    buf_append(wire, SLICE("\r\n"));
}

void redis_wire(struct buf *wire, const struct slice *args, size_t n, const struct redis_args *more)
{
    buf_append_byte(wire, '*');
    buf_append_int(wire, (int64_t)(n + (more != NULL ? more->count : 0)));
    buf_append(wire, SLICE("\r\n"));
    for (size_t i = 0; i < n; i++) {
        wire_bytes(wire, args[i]);
    }
    if (more != NULL) {
        buf_append(wire, buf_slice(&more->wire));
    }
}

void redis_args_init(struct redis_args *a)
{
    buf_init(&a->wire, REDIS_ARGS_MAX_BYTES);
    a->count = 0;
}

void redis_args_fini(struct redis_args *a)
{
    buf_fini(&a->wire);
    a->count = 0;
}

void redis_args_reset(struct redis_args *a)
{
    buf_reset(&a->wire);
    a->count = 0;
}

void redis_arg(struct redis_args *a, struct slice bytes)
{
    wire_bytes(&a->wire, bytes);
    a->count++;
}

void redis_arg_text(struct redis_args *a, const char *text)
{
    redis_arg(a, slice_of(text));
}

void redis_arg_int(struct redis_args *a, int64_t value)
{
    char digits[SLICE_INT64_SIZE];
    redis_arg(a, (struct slice){digits, slice_write_int64(digits, value)});
}

/* --- errors --- */
/* What a reply's first words mean. All of it is about the server, none about a job or a message: so
 * no reply is ERR_PERMANENT. One that only a person can end is ERR_AUTH. A reply that is not listed
 * is transient: BUSY, TRYAGAIN, MOVED, ASK, UNBLOCKED, NOSCRIPT and the unknown ones. */
#define FIX_USER "check the user and the password in the URL"
#define FIX_ACL "allow it to this user: see \"users\" in deploy/docs/redis.md"
#define FIX_SERVER "check that the URL leads to Redis 7 or newer, or Valkey, with all its commands"
static const struct {
    const char *text; /* how the reply begins */
    enum err_class class;
    int code;
    const char *fix;
} meanings[] = {
    {"OOM", ERR_CAPACITY, 0,
     "its memory (maxmemory) is full: raise maxmemory; what frees memory goes on meanwhile"},
    {"MISCONF", ERR_CAPACITY, 0,
     "it cannot write its files: free space on its disk, and see its log"},
    {"LOADING", ERR_RETRY, 0, "it is still reading its data"},
    {"READONLY", ERR_RETRY, 0,
     "it is a replica: use the primary's address; a fail-over ends this by itself"},
    {"MASTERDOWN", ERR_RETRY, 0, "it is a replica that has lost its primary: check the primary"},
    {"NOREPLICAS", ERR_RETRY, 0, "it has fewer replicas than min-replicas-to-write: check them"},
    {"CLUSTERDOWN", ERR_RETRY, 0, "a part of the cluster is down: check its nodes"},
    {"NOAUTH", ERR_AUTH, 0, FIX_USER},
    {"WRONGPASS", ERR_AUTH, 0, FIX_USER},
    {"ERR invalid password", ERR_AUTH, 0, FIX_USER},
    {"ERR Client sent AUTH", ERR_AUTH, 0, FIX_USER},
    {"ERR AUTH", ERR_AUTH, 0, FIX_USER},
    {"NOPERM", ERR_AUTH, EACCES, FIX_ACL},
    {"ERR The user executing the script can't", ERR_AUTH, EACCES, FIX_ACL},
    {"ERR unknown command", ERR_AUTH, EACCES, FIX_SERVER},
    {"ERR unknown subcommand", ERR_AUTH, EACCES, FIX_SERVER},
    {"ERR wrong number of arguments", ERR_AUTH, 0, FIX_SERVER},
    {"ERR Protocol error", ERR_AUTH, 0, FIX_SERVER},
    {"ERR Error compiling script", ERR_AUTH, 0, FIX_SERVER},
    {"ERR DB index", ERR_AUTH, 0, "check the database's number in the URL"},
    {"ERR SELECT is not allowed", ERR_AUTH, 0, "a cluster has database 0 only: name no other"},
    {"ERR WAITAOF cannot be used", ERR_AUTH, 0,
     "set appendonly yes, or remove wait_aof from the URL"},
    {"CROSSSLOT", ERR_AUTH, 0, FIX_SERVER},
    {"WRONGTYPE", ERR_AUTH, 0,
     "another program uses the same keys: give this deployment a prefix of its own"},
};

static bool begins_with_words(struct slice text, const char *words)
{
    size_t len = strlen(words);
    return slice_starts_with(text, slice_of(words)) &&
           (text.len == len || text.ptr[len] == ' ' || strchr(words, ' ') != NULL);
}

static int reply_error(struct slice text, struct err *e)
{
    struct slice cut = {text.ptr, text.len > 400 ? 400 : text.len};
    for (size_t i = 0; i < COUNT_OF(meanings); i++) {
        if (begins_with_words(text, meanings[i].text)) {
            return err_set(e, meanings[i].class, meanings[i].code, "Redis replied: %.*s: %s",
                           SLICE_ARG(cut), meanings[i].fix);
        }
    }
    return err_set(e, ERR_RETRY, 0, "Redis replied: %.*s", SLICE_ARG(cut));
}

/* --- replies --- */
static const redisReply *inside(const struct redis_reply *r)
{
    return (const redisReply *)(const void *)r;
}

void redis_reply_free(struct redis_reply *r)
{
    if (r != NULL) {
        freeReplyObject(r);
    }
}

bool redis_reply_is_error(const struct redis_reply *r, const char *code)
{
    const redisReply *i = inside(r);
    size_t len = strlen(code);
    return i != NULL && i->type == REDIS_REPLY_ERROR && i->len >= len &&
           memcmp(i->str, code, len) == 0 && (i->len == len || i->str[len] == ' ');
}

int redis_reply_check(const struct redis_reply *r, struct err *e)
{
    if (r == NULL || inside(r)->type != REDIS_REPLY_ERROR) {
        return 0;
    }
    return reply_error((struct slice){inside(r)->str, inside(r)->len}, e);
}

size_t redis_reply_count(const struct redis_reply *r)
{
    return r != NULL && inside(r)->type == REDIS_REPLY_ARRAY ? inside(r)->elements : 0;
}

const struct redis_reply *redis_reply_at(const struct redis_reply *r, size_t i)
{
    return i < redis_reply_count(r) ? (const void *)inside(r)->element[i] : NULL;
}

struct slice redis_reply_bytes(const struct redis_reply *r)
{
    const redisReply *i = inside(r);
    if (i == NULL || (i->type != REDIS_REPLY_STRING && i->type != REDIS_REPLY_STATUS)) {
        return (struct slice){0};
    }
    return (struct slice){i->str, i->len};
}

int64_t redis_reply_int(const struct redis_reply *r, int64_t otherwise)
{
    int64_t value;
    if (r != NULL && inside(r)->type == REDIS_REPLY_INTEGER) {
        return inside(r)->integer;
    }
    return slice_to_int64(redis_reply_bytes(r), &value) ? value : otherwise;
}

void redis_reply_text(const struct redis_reply *r, char *out, size_t size)
{
    struct slice s = redis_reply_bytes(r);
    s.len = s.len > size - 1 ? size - 1 : s.len;
    if (!slice_to_cstr(s, out, size)) {
        out[0] = '\0';
    }
}
