/*
 * Checks of a Redis server: the requirements at open, and warnings about its settings.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/redis/pool.h"

#define VERSION_LEAST 7

/* One command. *out NULL if the server forbids it or does not support it. */
static int call_if_permitted(struct redis_store *s, const char *const *words,
                             struct redis_reply **out, struct err *e)
{
    struct redis_args args;
    *out = NULL;
    redis_args_init(&args);
    for (; *words != NULL; words++) {
        redis_arg_text(&args, *words);
    }
    int rc = redis_store_call(s, &args, out, e);
    redis_args_fini(&args);
    return rc != 0 && e->class == ERR_AUTH && e->code == EACCES ? 0 : rc;
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

int redis_store_history(struct redis_store *s, char *out, size_t size, struct err *e)
{
    static const char *const words[] = {"INFO", "replication", NULL};
    struct redis_reply *reply;
    if (call_if_permitted(s, words, &reply, e) != 0) {
        return -1;
    }
    if (!slice_to_cstr(info_value(redis_reply_bytes(reply), "master_replid"), out, size)) {
        out[0] = '\0';
    }
    redis_reply_free(reply);
    return 0;
}

/* --- at the open --- */
static int check_version(struct redis_store *s, struct err *e)
{
    static const char *const words[] = {"INFO", "server", NULL};
    struct redis_reply *reply;
    struct slice major;
    struct slice minor;
    int64_t number;
    if (call_if_permitted(s, words, &reply, e) != 0) {
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
    if (call_if_permitted(s, words, &reply, e) != 0) {
        return -1;
    }
    bool absent = redis_reply_count(reply) == 1 && redis_reply_count(redis_reply_at(reply, 0)) == 0;
    redis_reply_free(reply);
    if (absent) {
        return err_set(e, ERR_PERMANENT, 0,
                       "Redis at %s has no WAITAOF: remove wait_aof, or use Redis 7.2 or newer",
                       redis_store_server(s));
    }
    return 0;
}

/* Without PING, which a server refuses that cannot write its files: it can be read all the same. */
int redis_store_greet(struct redis_store *s, struct err *e)
{
    return check_version(s, e) != 0 || check_waitaof(s, e) != 0 ? -1 : 0;
}

/* --- warnings --- */
static int check_info(struct redis_store *s, struct buf *out, struct err *e)
{
    static const char *const words[] = {"INFO", "everything", NULL};
    struct redis_reply *reply;
    if (call_if_permitted(s, words, &reply, e) != 0) {
        return -1;
    }
    struct slice info = redis_reply_bytes(reply);
    struct slice policy = info_value(info, "maxmemory_policy");
    if (info.len == 0) {
        buf_append_cstr(out, "INFO is forbidden: cannot check that appendonly is on and "
                             "maxmemory-policy is noeviction\n");
    } else {
        if (!slice_eq_cstr(info_value(info, "aof_enabled"), "1")) {
            buf_append_cstr(out,
                            "appendonly is off: when the server stops, all jobs since its last "
                            "snapshot are lost, although GitHub got a 2xx for them; set "
                            "appendonly yes\n");
        }
        if (!slice_eq_cstr(policy, "noeviction")) {
            buf_printf(out,
                       "maxmemory-policy is %.*s: a server short of memory may evict jobs; set "
                       "noeviction\n",
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
    if (call_if_permitted(s, words, &reply, e) != 0) {
        return -1;
    }
    struct slice fsync = redis_reply_bytes(redis_reply_at(reply, 1));
    if (fsync.len == 0) {
        buf_append_cstr(out, "CONFIG is forbidden: cannot check that appendfsync is always\n");
    } else if (!slice_eq_cstr(fsync, "always")) {
        buf_printf(out,
                   "appendfsync is %.*s: when the server's host fails, the last confirmed writes "
                   "(about a second of them with everysec) are lost; set always, or wait_aof=1 in "
                   "the URL\n",
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
