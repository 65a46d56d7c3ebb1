/*
 * Redis' wire format: encoding arguments, reading replies, classifying errors.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/redis/internal.h"

/* --- arguments --- */
static void wire_bytes(struct buf *wire, struct slice s)
{
    buf_printf(wire, "$%zu\r\n", s.len);
    buf_append(wire, s);
    buf_append(wire, SLICE("\r\n"));
}

void redis_wire(struct buf *wire, const struct slice *args, size_t n, const struct redis_args *more)
{
    buf_printf(wire, "*%zu\r\n", n + (more != NULL ? more->count : 0));
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
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, value);
    redis_arg_text(a, text);
}

/* --- errors --- */
/* MISCONF: the server cannot write its files; usually its disk is full. Any code that is not listed
 * is transient: LOADING, BUSY, READONLY, CLUSTERDOWN, TRYAGAIN, MASTERDOWN, NOREPLICAS, MOVED, ASK,
 * UNBLOCKED, NOSCRIPT. */
static const struct {
    const char *code; /* the first word of the reply */
    enum err_class class;
} meanings[] = {
    {"OOM", ERR_CAPACITY},        {"MISCONF", ERR_CAPACITY}, {"NOAUTH", ERR_AUTH},
    {"WRONGPASS", ERR_AUTH},      {"NOPERM", ERR_PERMANENT}, {"WRONGTYPE", ERR_PERMANENT},
    {"CROSSSLOT", ERR_PERMANENT},
};

/* The "ERR …" replies that a retry does not change. */
static const char *const lasting[] = {"ERR unknown command",
                                      "ERR invalid password",
                                      "ERR wrong number of arguments",
                                      "ERR Protocol error",
                                      "ERR DB index",
                                      "ERR Error compiling script",
                                      "ERR Client sent AUTH",
                                      "ERR AUTH",
                                      "ERR WAITAOF cannot be used",
                                      "ERR unknown subcommand"};

static int reply_error(struct slice text, struct err *e)
{
    struct slice code;
    struct slice rest;
    enum err_class class = ERR_RETRY;
    (void)slice_cut(text, ' ', &code, &rest);
    for (size_t i = 0; i < COUNT_OF(meanings); i++) {
        class = slice_eq_cstr(code, meanings[i].code) ? meanings[i].class : class;
    }
    for (size_t i = 0; i < COUNT_OF(lasting); i++) {
        class = slice_starts_with(text, slice_of(lasting[i])) ? ERR_PERMANENT : class;
    }
    struct slice cut = {text.ptr, text.len > 400 ? 400 : text.len};
    return err_set(e, class, 0, "Redis replied: %.*s", SLICE_ARG(cut));
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
