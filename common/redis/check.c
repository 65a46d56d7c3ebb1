/*
 * What a Redis server must be, asked at the open, and what its settings leave to be desired.
 */
#include <stdio.h>
#include <string.h>

#include "common/redis/pool.h"

#define VERSION_LEAST 7

/* One command of up to four words. *out NULL where the server forbids it or does not know it. */
static int ask(struct redis_store *s, const char *const *words, struct redis_reply **out,
               struct err *e)
{
    struct redis_args args;
    *out = NULL;
    redis_args_init(&args);
    for (; *words != NULL; words++) {
        redis_arg_text(&args, *words);
    }
    int rc = redis_store_call(s, &args, out, e);
    redis_args_fini(&args);
    return rc != 0 && e->class == ERR_PERMANENT ? 0 : rc;
}

/* The value of "name:value\r\n" in an INFO text; empty if it is not there. */
static struct slice info_value(struct slice info, const char *name)
{
    while (info.len > 0) {
        struct slice line;
        struct slice key;
        struct slice value;
        struct slice rest;
        (void)slice_cut(info, '\n', &line, &rest);
        if (slice_cut(slice_trim(line), ':', &key, &value) && slice_eq_cstr(key, name)) {
            return value;
        }
        info = rest;
    }
    return (struct slice){0};
}

/* --- at the open --- */
static int check_version(struct redis_store *s, struct err *e)
{
    static const char *const words[] = {"INFO", "server", NULL};
    struct redis_reply *reply;
    struct slice major;
    struct slice minor;
    int64_t number;
    if (ask(s, words, &reply, e) != 0) {
        return -1;
    }
    struct slice version = info_value(redis_reply_bytes(reply), "redis_version");
    int rc = 0;
    if (slice_cut(version, '.', &major, &minor) && slice_to_int64(major, &number) &&
        number < VERSION_LEAST) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "Redis at %s is version %.*s; Mayfly needs Redis 7 or newer, or Valkey",
                     redis_store_server(s), SLICE_ARG(version));
    }
    redis_reply_free(reply);
    return rc;
}

static int check_waitaof(struct redis_store *s, struct err *e)
{
    static const char *const words[] = {"COMMAND", "INFO", "waitaof", NULL};
    struct redis_reply *reply;
    if (!redis_store_url(s)->wait_aof) {
        return 0;
    }
    if (ask(s, words, &reply, e) != 0) {
        return -1;
    }
    bool absent = redis_reply_count(reply) == 1 && redis_reply_count(redis_reply_at(reply, 0)) == 0;
    redis_reply_free(reply);
    if (absent) {
        return err_set(e, ERR_PERMANENT, 0,
                       "Redis at %s has no WAITAOF: leave wait_aof out, or use Redis 7.2 or newer",
                       redis_store_server(s));
    }
    return 0;
}

int redis_store_greet(struct redis_store *s, struct err *e)
{
    if (redis_store_ping(s, e) != 0 || check_version(s, e) != 0) {
        return -1;
    }
    return check_waitaof(s, e);
}

/* --- warnings --- */
static int check_info(struct redis_store *s, struct buf *out, struct err *e)
{
    static const char *const words[] = {"INFO", "everything", NULL};
    struct redis_reply *reply;
    if (ask(s, words, &reply, e) != 0) {
        return -1;
    }
    struct slice info = redis_reply_bytes(reply);
    struct slice policy = info_value(info, "maxmemory_policy");
    if (info.len == 0) {
        buf_append_cstr(out, "INFO is forbidden to us: whether appendonly is on and "
                             "maxmemory-policy is noeviction cannot be checked\n");
    } else {
        if (!slice_eq_cstr(info_value(info, "aof_enabled"), "1")) {
            buf_append_cstr(out, "appendonly is off: when the server ends, everything since its "
                                 "last snapshot is lost, though GitHub was told it is safe; set "
                                 "appendonly yes\n");
        }
        if (!slice_eq_cstr(policy, "noeviction")) {
            buf_printf(out,
                       "maxmemory-policy is %.*s: a server short of memory may throw jobs away; "
                       "set noeviction\n",
                       SLICE_ARG(policy));
        }
    }
    redis_reply_free(reply);
    return 0;
}

static int check_fsync(struct redis_store *s, struct buf *out, struct err *e)
{
    static const char *const words[] = {"CONFIG", "GET", "appendfsync", NULL};
    struct redis_reply *reply;
    if (redis_store_url(s)->wait_aof) {
        return 0; /* each write waits for its fsync, however often the server does one */
    }
    if (ask(s, words, &reply, e) != 0) {
        return -1;
    }
    struct slice fsync = redis_reply_bytes(redis_reply_at(reply, 1));
    if (fsync.len == 0) {
        buf_append_cstr(out, "CONFIG is forbidden to us: whether appendfsync is always cannot be "
                             "checked\n");
    } else if (!slice_eq_cstr(fsync, "always")) {
        buf_printf(out,
                   "appendfsync is %.*s: when the server's machine fails, what was confirmed in "
                   "the last moments (about a second with everysec) is lost; set always, or "
                   "wait_aof=1 in the URL\n",
                   SLICE_ARG(fsync));
    }
    redis_reply_free(reply);
    return 0;
}

int redis_store_check(struct redis_store *s, struct buf *out, struct err *e)
{
    if (check_info(s, out, e) != 0) {
        return -1;
    }
    return check_fsync(s, out, e);
}
